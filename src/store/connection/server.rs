//! One connection to a SurrealDB server: what it is made of, how it is made, whether it lives.
//!
//! It signs in and names its namespace and database when it is made, so it makes no difference whether the one before was lost
//! with the network or with the server.
//!
//! **Invariant.** With a connection end all tasks the client library runs for it, and nothing they had queued is sent.

use std::sync::Mutex;
use std::time::Duration;

use rustls::ClientConfig;
use surrealdb::Surreal;
use surrealdb::engine::any::{self, Any};
use surrealdb::opt::Config;
use surrealdb::opt::auth::{Database, Root};
use tokio::runtime::Runtime;
use url::Url;

use crate::clock::Clock;
use crate::config::sections::StoreSettings;
use crate::probe::tls::{certificates, system_roots, trusting};
use crate::store::connection::{DATABASE, NAMESPACE, StoreError, one_line};

/// From the first byte to a database that is signed in to and chosen.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);
/// A server that answers nothing for so long is away.
pub const SILENCE: Duration = Duration::from_secs(4);
/// A ping that waits so long makes us look whether anybody is there.
const KNOCK_AFTER: Duration = Duration::from_millis(500);
/// Calls that may wait to be sent; more wait outside, for their own limit.
const QUEUE: usize = 256;
/// Decoding nests as deeply as what is decoded.
const STACK: usize = 8 << 20;

/// What a connection is made of.
pub struct Place {
    /// As it was given; for messages.
    pub url: String,
    /// Without the path.
    server: String,
    host: String,
    port: u16,
    namespace: String,
    database: String,
    credentials: Option<(String, String)>,
    tls: Option<ClientConfig>,
}

pub struct Connection {
    pub db: Surreal<Any>,
    threads: Mutex<Option<Threads>>,
}

/// What all tasks of one connection run on: they end where they stand when this does.
struct Threads(Option<Runtime>);

/// What a ping found.
pub enum Pulse {
    Alive,
    Silent,
    Broken(String),
}

impl Connection {
    /// What its tasks had queued is never sent.
    pub fn end(&self) {
        self.threads.lock().expect("no holder panics").take();
    }

    pub async fn ping(&self, place: &Place) -> Pulse {
        let ping = async { self.db.query("RETURN 1").await?.check() };
        tokio::select! {
            answer = tokio::time::timeout(SILENCE, ping) => match answer {
                Ok(Ok(_)) => Pulse::Alive,
                Ok(Err(error)) => Pulse::Broken(one_line(&error.to_string())),
                Err(_) => Pulse::Silent,
            },
            // The library waits for a server that is gone as for one that thinks.
            gone = place.gone() => Pulse::Broken(gone),
        }
    }
}

impl Threads {
    fn start() -> std::io::Result<Threads> {
        let mut runtime = tokio::runtime::Builder::new_multi_thread();
        runtime.worker_threads(1).thread_name("store-link").thread_stack_size(STACK).enable_all();
        runtime.build().map(|runtime| Threads(Some(runtime)))
    }

    /// Runs there; `None`: it did not come to its end.
    async fn run<T: Send + 'static>(&self, work: impl Future<Output = T> + Send + 'static) -> Option<T> {
        self.0.as_ref()?.spawn(work).await.ok()
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        // Waiting for a runtime is not allowed on threads that run tasks.
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

/// One try, on threads of its own.
pub async fn connect(place: &Place) -> Result<Connection, StoreError> {
    let threads = Threads::start().map_err(|error| place.unreachable(&error.to_string()))?;
    let connecting = threads.run(open(
        (place.server.clone(), place.tls.clone()),
        (place.namespace.clone(), place.database.clone()),
        place.credentials.clone(),
    ));
    let failure = match tokio::time::timeout(CONNECT_LIMIT, connecting).await {
        Ok(Some(Ok(db))) => return Ok(Connection { db, threads: Mutex::new(Some(threads)) }),
        Ok(Some(Err(failure))) => failure,
        Ok(None) => Failure::Away("its task failed".to_owned()),
        Err(_) => Failure::Away(format!("no answer within {} s", CONNECT_LIMIT.as_secs())),
    };
    Err(failure.of(place))
}

/// Looks in on a server as anyone who has these credentials, or none, and gives its version.
pub async fn visit(place: &Place) -> Result<String, StoreError> {
    let threads = Threads::start().map_err(|error| place.unreachable(&error.to_string()))?;
    let ((server, tls), credentials) = ((place.server.clone(), place.tls.clone()), place.credentials.clone());
    let (namespace, database) = (place.namespace.clone(), place.database.clone());
    let visited = threads.run(async move {
        let config = tls.map_or_else(Config::new, |tls| Config::new().rustls(tls));
        let db = connected(server, config).await?;
        if let Some(credentials) = credentials {
            sign_in(&db, credentials, namespace, database).await?;
        }
        db.health().await.map_err(away)?;
        db.version().await.map(|version| version.to_string()).map_err(away)
    });
    visited.await.unwrap_or_else(|| Err(Failure::Away("its task failed".to_owned()))).map_err(|failure| failure.of(place))
}

enum Failure {
    Away(String),
    Refused,
    Version(String),
}

impl Failure {
    fn of(self, place: &Place) -> StoreError {
        let url = place.url.clone();
        match self {
            Failure::Away(message) => place.unreachable(&message),
            Failure::Refused => StoreError::Refused { url },
            Failure::Version(message) => StoreError::Version { url, message },
        }
    }
}

fn away(error: surrealdb::Error) -> Failure {
    Failure::Away(error.to_string())
}

async fn connected(server: String, config: Config) -> Result<Surreal<Any>, Failure> {
    any::connect((server, config)).with_capacity(QUEUE).await.map_err(|error| {
        let message = error.to_string();
        if message.contains("server version") { Failure::Version(message) } else { Failure::Away(message) }
    })
}

async fn sign_in(db: &Surreal<Any>, (username, password): (String, String), namespace: String, database: String) -> Result<(), Failure> {
    let root = Root { username: username.clone(), password: password.clone() };
    let Err(refused) = db.signin(root).await else { return Ok(()) };
    if refused.is_connection() {
        return Err(away(refused));
    }
    // A user of this one database does as well.
    let own = Database { namespace, database, username, password };
    let signed = db.signin(own).await.map_err(|error| if error.is_connection() { away(error) } else { Failure::Refused });
    signed.map(drop)
}

async fn open(
    (server, tls): (String, Option<ClientConfig>),
    (namespace, database): (String, String),
    credentials: Option<(String, String)>,
) -> Result<Surreal<Any>, Failure> {
    let mut config = Config::new();
    if let Some(tls) = tls {
        config = config.rustls(tls);
    }
    let db = connected(server, config).await?;
    if let Some(credentials) = credentials {
        sign_in(&db, credentials, namespace.clone(), database.clone()).await?;
    }
    db.use_ns(namespace).use_db(database).await.map_err(away)?;
    // Signed in as nobody, the server lets us come as far as this.
    let allowed = async { db.query("INFO FOR DB").await?.check() };
    match allowed.await {
        Ok(_) => Ok(db),
        Err(error) if error.is_connection() => Err(away(error)),
        Err(error) if error.is_not_allowed() => Err(Failure::Refused),
        Err(error) => Err(away(error)),
    }
}

impl Place {
    pub fn new(url: &str, settings: &StoreSettings) -> Result<Place, StoreError> {
        let unreachable = |message: &str| StoreError::Unreachable { url: url.to_owned(), message: message.to_owned() };
        let mut server = Url::parse(url).map_err(|error| unreachable(&error.to_string()))?;
        let path: Vec<String> = server.path().split('/').filter(|part| !part.is_empty()).map(str::to_owned).collect();
        server.set_path("/");
        let mut path = path.into_iter();
        Ok(Place {
            url: url.to_owned(),
            namespace: path.next().unwrap_or_else(|| NAMESPACE.to_owned()),
            database: path.next().unwrap_or_else(|| DATABASE.to_owned()),
            credentials: settings.username.clone().zip(settings.password.clone()),
            tls: if server.scheme() == "wss" { Some(tls(settings)?) } else { None },
            host: server.host_str().unwrap_or_default().trim_matches(['[', ']']).to_owned(),
            port: server.port_or_known_default().unwrap_or(8000),
            server: server.to_string(),
        })
    }

    /// Ends when nobody listens at the server's address, with the reason.
    async fn gone(&self) -> String {
        Clock::real().sleep(KNOCK_AFTER).await;
        match tokio::net::TcpStream::connect((self.host.as_str(), self.port)).await {
            Err(error) => one_line(&error.to_string()),
            Ok(stream) => {
                drop(stream);
                std::future::pending().await
            }
        }
    }

    pub fn unreachable(&self, message: &str) -> StoreError {
        StoreError::Unreachable { url: self.url.clone(), message: one_line(message) }
    }
}

/// The system's roots, and the authority the settings name.
fn tls(settings: &StoreSettings) -> Result<ClientConfig, StoreError> {
    let bad = |message: String| StoreError::Authority { message };
    let mut roots = system_roots();
    if let Some(path) = &settings.ca {
        for certificate in certificates(&path.display().to_string(), "store.ca").map_err(bad)? {
            roots.add(certificate).map_err(|error| bad(error.to_string()))?;
        }
    }
    trusting(roots).map_err(|error| bad(error.to_string()))
}
