//! A start whose store is away: the hub waits for it, and says so.
//!
//! People are told in the log, once; programs by 503 with the reason on every path, `/healthz` alone saying that the process
//! lives. What waiting does not mend, such as a password that is refused, ends the start as ever.

use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rocket::http::Status;
use rocket::{Request, Shutdown};
use tokio::task::JoinHandle;
use tracing::{info, warn};

use crate::api::error::ApiError;
use crate::api::health;
use crate::clock::Clock;
use crate::config::Config;
use crate::hub::serve::launch_error;
use crate::hub::{Hub, own_url};
use crate::store::connection::StoreError;
use crate::store::services::ServicesError;
use crate::store::users::UsersError;
use crate::telemetry::health::HealthLog;

const PAUSE: Duration = Duration::from_secs(1);

/// Starts the hub, as soon as its store is there; `None`: it was told to end before that.
pub async fn start(
    config: &Config,
    clock: &Clock,
    health: &HealthLog,
    mut ended: Pin<&mut impl Future<Output = &'static str>>,
) -> anyhow::Result<Option<Hub>> {
    let mut waiting: Option<Waiting> = None;
    loop {
        let started = tokio::select! {
            started = Hub::start(config.clone(), clock.clone(), health.clone()) => started,
            signal = &mut ended => {
                info!(signal, "ended before the store was there");
                return Ok(None);
            }
        };
        let err = match started {
            Ok(hub) => {
                if let Some(waiting) = waiting {
                    waiting.end().await;
                    info!("store is there, the hub starts");
                }
                return Ok(Some(hub));
            }
            Err(err) => err,
        };
        let Some(reason) = away(&err) else {
            if let Some(waiting) = waiting {
                waiting.end().await;
            }
            return Err(err);
        };
        match &waiting {
            Some(waiting) => *waiting.reason.0.lock().expect("no holder panics") = reason,
            None => {
                warn!("{reason}; the hub waits for it");
                waiting = Some(Waiting::start(config, reason).await?);
            }
        }
        tokio::select! {
            () = clock.sleep(PAUSE) => {}
            signal = &mut ended => {
                info!(signal, "ended before the store was there");
                return Ok(None);
            }
        }
    }
}

/// Why the store is away, where that is what went wrong.
fn away(err: &anyhow::Error) -> Option<String> {
    let store = err.chain().find_map(|cause| {
        cause
            .downcast_ref::<StoreError>()
            .or_else(|| match cause.downcast_ref::<ServicesError>() {
                Some(ServicesError::Store(store)) => Some(store),
                _ => None,
            })
            .or_else(|| match cause.downcast_ref::<UsersError>() {
                Some(UsersError::Store(store)) => Some(store),
                _ => None,
            })
    });
    // What one that was killed had under way may come between; the next try reads it.
    store.filter(|store| store.away() || matches!(store, StoreError::Foreign)).map(ToString::to_string)
}

/// What answers in the hub's place.
struct Waiting {
    reason: Reason,
    shutdown: Shutdown,
    server: JoinHandle<Result<rocket::Rocket<rocket::Ignite>, rocket::Error>>,
}

#[derive(Clone)]
struct Reason(Arc<Mutex<String>>);

impl Waiting {
    async fn start(config: &Config, reason: String) -> anyhow::Result<Waiting> {
        let reason = Reason(Arc::new(Mutex::new(reason)));
        // The hub wants its port as soon as the store is there.
        let figment = config.rocket.clone().merge(("shutdown.grace", 0)).merge(("shutdown.mercy", 0));
        let rocket = rocket::custom(figment)
            .manage(reason.clone())
            .mount("/", rocket::routes![health::alive])
            .register("/", rocket::catchers![unavailable]);
        let rocket = rocket.ignite().await.map_err(|err| anyhow::anyhow!("web server is not well configured: {}", err.kind()))?;
        let shutdown = rocket.shutdown();
        let mut server = tokio::spawn(rocket.launch());
        // A port that is taken is told now, and not once the store is there.
        if let Ok(launched) = tokio::time::timeout(Duration::from_millis(200), &mut server).await {
            return Err(launch_error(launched, &own_url(config)?));
        }
        Ok(Waiting { reason, shutdown, server })
    }

    async fn end(self) {
        self.shutdown.notify();
        let _ = tokio::time::timeout(Duration::from_secs(2), self.server).await;
    }
}

#[rocket::catch(default)]
fn unavailable(_: Status, request: &Request<'_>) -> ApiError {
    let reason = request.rocket().state::<Reason>().map(|reason| reason.0.lock().expect("no holder panics").clone());
    ApiError::unavailable(reason.unwrap_or_default())
}
