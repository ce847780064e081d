//! The link to a SurrealDB server.
//!
//! The client library reconnects by itself, but while it does, every call waits in its queue; a peer that went silent it does
//! not notice at all, and what waited too long for its caller is sent all the same once the server is back. So the link is kept
//! here: a keeper pings the server; a connection that breaks or falls silent is thrown away whole, with the threads its tasks
//! run on and all that was queued; calls fail at once until the next one stands.
//!
//! Each connection signs in anew and names its namespace and database, so it makes no difference whether the network failed
//! or the server was started again.
//!
//! **Invariants.** A call ends within [`CALL_LIMIT`], and within [`SILENCE`] and a pause of when the server fell silent. Nothing
//! is sent on a connection that was given up; what was sent before may be carried out, and its caller was told `Unreachable` or
//! `Timeout`.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rand::Rng;
use rustls::ClientConfig;
use surrealdb::engine::any::{self, Any};
use surrealdb::opt::Config;
use surrealdb::opt::auth::{Database, Root};
use surrealdb::types::Variables;
use surrealdb::{IndexedResults, Surreal};
use tokio::runtime::Runtime;
use tokio::sync::{Notify, watch};
use tracing::{info, warn};
use url::Url;

use crate::clock::Clock;
use crate::config::sections::StoreSettings;
use crate::probe::tls::{certificates, system_roots};
use crate::store::connection::{DATABASE, NAMESPACE, StoreError, one_line};
use crate::supervise::Task;

/// No statement may take longer.
const CALL_LIMIT: Duration = Duration::from_secs(10);
/// From the first byte to a database that is signed in to and chosen.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);
/// A server that answers nothing for so long is away.
const SILENCE: Duration = Duration::from_secs(4);
/// A ping that waits so long makes us look whether anybody is there.
const KNOCK_AFTER: Duration = Duration::from_millis(500);
const PING_EVERY: Duration = Duration::from_secs(1);
/// Between two tries to connect.
const PAUSE_FIRST: Duration = Duration::from_millis(100);
const PAUSE_AT_MOST: Duration = Duration::from_secs(3);
/// Calls that may wait to be sent; more wait outside, for their own limit.
const QUEUE: usize = 256;
/// Decoding nests as deeply as what is decoded.
const STACK: usize = 8 << 20;

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

/// What a connection is made of.
struct Place {
    /// As it was given; for messages.
    url: String,
    /// Without the path.
    server: String,
    host: String,
    port: u16,
    namespace: String,
    database: String,
    credentials: Option<(String, String)>,
    tls: Option<ClientConfig>,
}

#[derive(Clone)]
enum Link {
    Up(Arc<Connection>),
    Away(StoreError),
}

struct Connection {
    db: Surreal<Any>,
    threads: Mutex<Option<Threads>>,
}

/// What all tasks of one connection run on: they end where they stand when this does.
struct Threads(Option<Runtime>);

/// What a ping found.
enum Pulse {
    Alive,
    Silent,
    Broken(String),
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

impl Connection {
    /// What its tasks had queued is never sent.
    fn end(&self) {
        self.threads.lock().expect("no holder panics").take();
    }

    async fn ping(&self, place: &Place) -> Pulse {
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
    let mut told = None;
    for attempt in 0u32.. {
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
        clock.sleep(pause).await;
    }
    unreachable!("it is tried for ever")
}

/// One try, on threads of its own.
async fn connect(place: &Place) -> Result<Connection, StoreError> {
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
    let url = place.url.clone();
    Err(match failure {
        Failure::Away(message) => place.unreachable(&message),
        Failure::Refused => StoreError::Refused { url },
        Failure::Version(message) => StoreError::Version { url, message },
    })
}

enum Failure {
    Away(String),
    Refused,
    Version(String),
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
    let away = |error: surrealdb::Error| Failure::Away(error.to_string());
    let db = any::connect((server, config)).with_capacity(QUEUE).await.map_err(|error| {
        let message = error.to_string();
        if message.contains("server version") { Failure::Version(message) } else { Failure::Away(message) }
    })?;
    if let Some((username, password)) = credentials {
        let root = Root { username: username.clone(), password: password.clone() };
        if let Err(refused) = db.signin(root).await {
            if refused.is_connection() {
                return Err(away(refused));
            }
            // A user of this one database does as well.
            let own = Database { namespace: namespace.clone(), database: database.clone(), username, password };
            db.signin(own).await.map_err(|error| if error.is_connection() { away(error) } else { Failure::Refused })?;
        }
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
    fn new(url: &str, settings: &StoreSettings) -> Result<Place, StoreError> {
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

    fn unreachable(&self, message: &str) -> StoreError {
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
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = builder.map_err(|error| bad(error.to_string()))?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}
