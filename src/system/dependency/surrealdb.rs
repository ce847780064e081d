//! SurrealDB: the store's own connection, or any other server: a log-in where there is a password, its health, its version.

use crate::config::sections::StoreSettings;
use crate::config::system::{DependencyPlace, DependencySettings};
use crate::probe::protocol::{Dialer, Server, Step, Steps, Trouble, excerpt};
use crate::store::connection::server::{Place, visit};
use crate::store::connection::{Database, StoreError};

pub async fn own(database: &Database, steps: &Steps) -> Result<Option<String>, Trouble> {
    steps.reach(Step::Protocol);
    database.query("RETURN 1", Vec::new()).await.map_err(trouble)?;
    database.version().await.map(Some).map_err(trouble)
}

pub async fn greet(
    dialer: &Dialer,
    server: &Server,
    place: &DependencyPlace,
    settings: &DependencySettings,
    store: &StoreSettings,
    steps: &Steps,
) -> Result<Option<String>, Trouble> {
    // Whether anybody is there is known sooner, and in better words, from a connection of our own.
    drop(dialer.connect(server, steps).await?);
    steps.reach(Step::Protocol);
    let settings = StoreSettings {
        url: Some(place.url.to_string()),
        username: settings.login.user.clone(),
        password: settings.login.password.clone(),
        ca: settings.tls.ca.as_ref().map(Into::into),
        ..store.clone()
    };
    let place = Place::new(place.url.as_str(), &settings).map_err(trouble)?;
    visit(&place).await.map(Some).map_err(trouble)
}

fn trouble(error: StoreError) -> Trouble {
    match error {
        StoreError::Refused { .. } => Trouble::auth("the server refuses the user name or password"),
        StoreError::Unreachable { message, .. } if message.contains("certificate") => Trouble::new(Step::Tls, excerpt(&message)),
        StoreError::Unreachable { message, .. } => Trouble::protocol(excerpt(&message)),
        StoreError::Version { message, .. } => Trouble::protocol(format!("it is not a SurrealDB 3 server: {}", excerpt(&message))),
        other => Trouble::protocol(excerpt(&other.to_string())),
    }
}
