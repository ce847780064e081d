//! The link to a SurrealDB server.
//!
//! The client library reconnects by itself, but while it does, every call waits in its queue; a peer that went silent it does
//! not notice at all, and what waited too long for its caller is sent all the same once the server is back. So the link is kept
//! here: a keeper pings the server; a connection that breaks or falls silent is thrown away whole, with the threads its tasks
//! run on and all that was queued; calls fail at once until the next one stands.
//!
//! **Invariants.** A call ends within [`CALL_LIMIT`], and within [`SILENCE`] and a second of when the server fell silent. Nothing
//! is sent on a connection that was given up; what was sent before may be carried out, and its caller was told `Unreachable` or
//! `Timeout`.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rand::Rng;
use surrealdb::IndexedResults;
use surrealdb::types::Variables;
use tokio::sync::{Notify, watch};
use tracing::{info, warn};

use crate::clock::Clock;
use crate::config::sections::StoreSettings;
use crate::store::connection::StoreError;
use crate::store::connection::server::{Connection, Place, Pulse, SILENCE, connect};
use crate::supervise::Task;

/// No statement may take longer.
const CALL_LIMIT: Duration = Duration::from_secs(10);
const PING_EVERY: Duration = Duration::from_secs(1);
/// Between two tries to connect.
const PAUSE_FIRST: Duration = Duration::from_millis(100);
const PAUSE_AT_MOST: Duration = Duration::from_secs(3);

pub struct Remote {
    shared: Arc<Shared>,
    keeper: Mutex<Option<Task>>,
}

struct Shared {
    place: Place,
    link: watch::Sender<Link>,
    /// A call failed in a way that makes the connection doubtful.
    suspect: Notify,
    /// Counts the answers of any kind: a sign of life.
    answered: AtomicU64,
    doubts: watch::Sender<u64>,
}

#[derive(Clone)]
enum Link {
    Up(Arc<Connection>),
    Away(StoreError),
}

impl std::fmt::Debug for Remote {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "Remote({})", self.shared.place.url)
    }
}

impl Remote {
    /// Connects once; from then on the link is kept until `close`.
    pub async fn open(url: &str, settings: &StoreSettings) -> Result<Remote, StoreError> {
        let place = Place::new(url, settings)?;
        let connection = Arc::new(connect(&place).await?);
        let (link, doubts) = (watch::Sender::new(Link::Up(connection.clone())), watch::Sender::new(0));
        let shared = Arc::new(Shared { place, link, suspect: Notify::new(), answered: AtomicU64::new(0), doubts });
        let keeper = Task::spawn(keep(shared.clone(), connection));
        Ok(Remote { shared, keeper: Mutex::new(Some(keeper)) })
    }

    /// The inner error is the server's or the client library's.
    pub async fn query(&self, text: String, variables: Variables) -> Result<surrealdb::Result<IndexedResults>, StoreError> {
        let mut link = self.shared.link.subscribe();
        let connection = match &*link.borrow_and_update() {
            Link::Up(connection) => connection.clone(),
            Link::Away(error) => return Err(error.clone()),
        };
        let call = async { connection.db.query(text).bind(variables).await };
        let answer = tokio::select! {
            answer = tokio::time::timeout(CALL_LIMIT, call) => answer,
            // Given up while the call was on its way.
            _ = link.changed() => {
                self.shared.doubt();
                return Err(match &*link.borrow() {
                    Link::Away(error @ StoreError::Unreachable { .. }) => error.clone(),
                    _ => self.shared.place.unreachable("the connection was lost"),
                });
            }
        };
        match answer {
            Ok(Ok(results)) => {
                self.shared.answered.fetch_add(1, Ordering::Relaxed);
                Ok(Ok(results))
            }
            // An error of the whole call and not of one of its statements: a text that cannot be read, or a session that is lost.
            Ok(Err(error)) => {
                if !error.is_connection() && matches!(connection.ping(&self.shared.place).await, Pulse::Alive) {
                    return Ok(Err(error));
                }
                self.shared.doubt();
                self.shared.suspect.notify_one();
                Err(self.shared.place.unreachable(&error.to_string()))
            }
            Err(_) => {
                self.shared.doubt();
                self.shared.suspect.notify_one();
                Err(StoreError::Timeout)
            }
        }
    }

    pub async fn version(&self) -> Result<String, StoreError> {
        let link = self.shared.link.borrow().clone();
        let connection = match link {
            Link::Up(connection) => connection,
            Link::Away(error) => return Err(error),
        };
        let version = tokio::time::timeout(CALL_LIMIT, connection.db.version()).await.map_err(|_| StoreError::Timeout)?;
        version.map(|version| version.to_string()).map_err(|error| self.shared.place.unreachable(&error.to_string()))
    }

    pub fn close(&self) {
        self.keeper.lock().expect("no holder panics").take();
        let last = self.shared.link.send_replace(Link::Away(StoreError::Closed));
        if let Link::Up(connection) = last {
            connection.end();
        }
    }

    pub fn doubts(&self) -> watch::Receiver<u64> {
        self.shared.doubts.subscribe()
    }
}

impl Drop for Remote {
    fn drop(&mut self) {
        self.close();
    }
}

impl Shared {
    fn doubt(&self) {
        self.doubts.send_modify(|count| *count += 1);
    }
}

/// Replaces the connection whenever it is lost. Each loss and each return is one line of the log, and so is each new reason.
async fn keep(shared: Arc<Shared>, mut connection: Arc<Connection>) {
    let (clock, url) = (Clock::real(), shared.place.url.clone());
    loop {
        let lost = watch_over(&shared, &connection, &clock).await;
        let began = clock.steady();
        warn!(url, reason = lost, "store is away: results wait with the nodes, the api answers 503");
        shared.link.send_replace(Link::Away(shared.place.unreachable(&lost)));
        connection.end();
        connection = Arc::new(reconnect(&shared, &clock).await);
        shared.link.send_replace(Link::Up(connection.clone()));
        shared.doubt();
        info!(url, away_ms = (clock.steady() - began).as_millis() as u64, "store is back");
    }
}

/// Ends when the connection is good for nothing any more, with the reason.
async fn watch_over(shared: &Shared, connection: &Connection, clock: &Clock) -> String {
    loop {
        tokio::select! {
            () = clock.sleep(PING_EVERY) => {}
            () = shared.suspect.notified() => {}
        }
        let answered = shared.answered.load(Ordering::Relaxed);
        match connection.ping(&shared.place).await {
            Pulse::Alive => {}
            // Behind large answers on a thin line a ping waits long; they are as good as its own.
            Pulse::Silent if shared.answered.load(Ordering::Relaxed) != answered => {}
            Pulse::Silent => return format!("no answer within {} s", SILENCE.as_secs()),
            Pulse::Broken(reason) => return reason,
        }
    }
}

async fn reconnect(shared: &Shared, clock: &Clock) -> Connection {
    let (mut told, mut attempt) = (None, 0u32);
    loop {
        match connect(&shared.place).await {
            Ok(connection) => return connection,
            Err(error) => {
                // That it cannot be reached was said when it was lost.
                let kind = std::mem::discriminant(&error);
                if !error.away() && told != Some(kind) {
                    warn!(url = shared.place.url, "{error}; it is tried again");
                }
                told = Some(kind);
                shared.link.send_replace(Link::Away(error));
            }
        }
        let most = PAUSE_FIRST.saturating_mul(1 << attempt.min(10)).min(PAUSE_AT_MOST);
        let pause = most.mul_f64(rand::rng().random_range(0.5..=1.0));
        attempt = attempt.saturating_add(1);
        clock.sleep(pause).await;
    }
}
