//! One connection to SurrealDB, embedded or remote.
//!
//! The embedded engine runs on a datastore of our own making: through the public `connect` its caches would grow to half of
//! the machine's memory and its shutdown could not be awaited.
//!
//! **Invariants.** Every statement's error is raised, every call has a time limit, and a text is run again after a conflict
//! only if nothing of it can have been committed.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, RwLock};
use std::time::Duration;

use rand::Rng;
use surrealdb::engine::any::{self, Any};
use surrealdb::engine::local::Db;
use surrealdb::opt::Config;
use surrealdb::opt::auth::Root;
use surrealdb::types::{QueryError, Value, Variables};
use surrealdb::{IndexedResults, Surreal};
use surrealdb_cnf::ConfigMap;
use surrealdb_core::kvs::Datastore;
use thiserror::Error;
use tokio::runtime::Runtime;

use crate::clock::Clock;
use crate::config::sections::StoreSettings;

/// The engine's parser and planner recurse deeply.
const STACK: usize = 16 << 20;
const NAMESPACE: &str = "probemesh";
const DATABASE: &str = "main";
/// No call of the embedded engine takes longer; slices are made so that none comes near it.
const CALL_LIMIT: Duration = Duration::from_secs(30);
/// A server that does not answer in this time is away.
const SERVER_LIMIT: Duration = Duration::from_secs(10);
/// How often a text is run at most while it meets conflicts.
const CONFLICT_TRIES: u32 = 6;

#[derive(Clone, Debug, Error)]
pub enum StoreError {
    #[error("data folder {} is in use by another probemesh", path.display())]
    AlreadyOpen { path: PathBuf },
    #[error("data folder {} cannot be written: {message}", path.display())]
    ReadOnly { path: PathBuf, message: String },
    #[error("no space is left for the store: {message}")]
    Full { message: String },
    #[error("store {url} cannot be reached: {message}")]
    Unreachable { url: String, message: String },
    #[error("store {url} refused the user name or password")]
    Refused { url: String },
    #[error("migration {name} is not the one this store was made with; this program and this store do not belong together")]
    Drift { name: String },
    #[error("store was written by a newer probemesh (it has migration {found}, this program knows {known})")]
    Newer { found: i64, known: i64 },
    #[error("store met another writer at each of {CONFLICT_TRIES} tries")]
    Conflict,
    #[error("store did not answer in time")]
    Timeout,
    #[error("store is closed")]
    Closed,
    #[error("store refused a query: {message}")]
    Query { message: String },
    #[error("{what} cannot be read back from the store: {message}")]
    Corrupt { what: &'static str, message: String },
    #[error("store is written by another probemesh")]
    Foreign,
    #[error("batch cannot be stored: {message}")]
    Batch { message: String },
    #[error("page cursor is not one this store gave out")]
    Cursor,
}

impl StoreError {
    /// Whether the same call may succeed later, once whatever is wrong with the store was put right. Only what is wrong with
    /// the call itself never passes: a batch refused for another reason would be a batch lost.
    pub fn passing(&self) -> bool {
        !matches!(self, StoreError::Batch { .. } | StoreError::Cursor)
    }
}

/// An open database. Share it by `Arc`.
#[derive(Debug)]
pub struct Database {
    /// Where it is, for messages: the folder or the URL.
    place: String,
    engine: RwLock<Option<Engine>>,
}

#[derive(Clone)]
enum Engine {
    Embedded { datastore: Arc<Datastore>, db: Arc<Surreal<Db>>, threads: Arc<Threads> },
    Remote(Arc<Surreal<Any>>),
}

/// The engine syncs its log to disk in the middle of a task. On threads of its own that holds up nobody's timers.
struct Threads {
    runtime: Option<Runtime>,
    /// Set while it is open: an engine that is forgotten is closed all the same.
    open: Mutex<Option<Arc<Datastore>>>,
}

impl Threads {
    fn start() -> std::io::Result<Threads> {
        let mut runtime = tokio::runtime::Builder::new_multi_thread();
        runtime.worker_threads(2).thread_name("store").thread_stack_size(STACK).enable_all();
        Ok(Threads { runtime: Some(runtime.build()?), open: Mutex::default() })
    }

    /// Runs to its end there, even if who waits here goes away.
    async fn run<T: Send + 'static>(&self, work: impl Future<Output = T> + Send + 'static) -> Option<T> {
        self.runtime.as_ref()?.spawn(work).await.ok()
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        let Some(runtime) = self.runtime.take() else { return };
        match self.open.lock().expect("no holder panics").take() {
            // Waiting for a runtime is not allowed on threads that run tasks, and all that matters was awaited before.
            None => runtime.shutdown_background(),
            Some(datastore) => {
                // It must be closed where it ran; a thread that cannot be had leaves the lock to the end of the process.
                let closing = move || {
                    let _ = runtime.block_on(datastore.shutdown());
                    drop(datastore);
                };
                let _ = std::thread::Builder::new().name("store-close".to_owned()).stack_size(STACK).spawn(closing);
            }
        }
    }
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(match self {
            Engine::Embedded { .. } => "Embedded",
            Engine::Remote(_) => "Remote",
        })
    }
}

impl Database {
    /// Opens what the settings name: a folder of the embedded engine, memory alone, or a server.
    pub async fn open(settings: &StoreSettings) -> Result<Database, StoreError> {
        let (place, engine) = match settings.url.as_deref() {
            None => {
                let folder = settings.data_dir.join("db");
                std::fs::create_dir_all(&folder).map_err(|error| folder_error(&folder, &error.to_string()))?;
                let engine = embedded(format!("surrealkv://{}?sync=every", folder.display()), settings).await;
                (folder.display().to_string(), engine.map_err(|error| folder_error(&folder, &error))?)
            }
            Some("mem://" | "memory") => {
                let engine = embedded("memory".to_owned(), settings).await.map_err(|message| StoreError::Query { message })?;
                ("mem://".to_owned(), engine)
            }
            Some(url) => (url.to_owned(), remote(url, settings).await?),
        };
        Ok(Database { place, engine: RwLock::new(Some(engine)) })
    }

    /// Where it is: the folder or the URL.
    pub fn place(&self) -> &str {
        &self.place
    }

    /// Runs one SurrealQL text with bound values. The first error of any of its statements is raised; a text that is one
    /// statement or one `BEGIN … COMMIT` is run again when it meets a conflict.
    pub async fn query(&self, text: &str, values: Vec<(&'static str, Value)>) -> Result<IndexedResults, StoreError> {
        let mut variables = Variables::new();
        for (name, value) in values {
            variables.insert(name, value);
        }
        let trimmed = text.trim().trim_end_matches(';');
        let whole = trimmed.starts_with("BEGIN") || !trimmed.contains(';');
        for attempt in 0..CONFLICT_TRIES {
            let engine = self.engine.read().expect("no holder panics").clone().ok_or(StoreError::Closed)?;
            let limit = if matches!(engine, Engine::Embedded { .. }) { CALL_LIMIT } else { SERVER_LIMIT };
            let (text, variables) = (text.to_owned(), variables.clone());
            let run = async {
                match engine {
                    Engine::Embedded { db, threads, .. } => threads.run(async move { db.query(text).bind(variables).await }).await,
                    Engine::Remote(db) => Some(db.query(text).bind(variables).await),
                }
            };
            let answer = tokio::time::timeout(limit, run).await.map_err(|_| StoreError::Timeout)?.ok_or(StoreError::Closed)?;
            match answer.map_err(|error| self.classify(&error)).and_then(|results| self.check(results)) {
                Err(StoreError::Conflict) if whole && attempt + 1 < CONFLICT_TRIES => {
                    let most = 2_u64 << attempt;
                    let pause = Duration::from_micros(rand::rng().random_range(0..=most * 1000));
                    // The engine's own time, whatever clock the program runs by.
                    Clock::real().sleep(pause).await;
                }
                outcome => return outcome,
            }
        }
        Err(StoreError::Conflict)
    }

    /// Closes the database and waits for it: the write-ahead log is flushed and the lock on the folder given back. Calls
    /// from here on fail with `Closed`; closing twice is nothing.
    pub async fn shutdown(&self) -> Result<(), StoreError> {
        let engine = self.engine.write().expect("no holder panics").take();
        let Some(Engine::Embedded { datastore, db, threads }) = engine else { return Ok(()) };
        threads.open.lock().expect("no holder panics").take();
        let closed = threads.run(async move {
            drop(db);
            let closed = datastore.shutdown().await;
            drop(datastore);
            closed
        });
        closed.await.unwrap_or(Ok(())).map_err(|error| StoreError::Query { message: one_line(&error.to_string()) })
    }

    /// The error that says most: in a failed transaction all other statements say only that they were not run.
    fn check(&self, mut results: IndexedResults) -> Result<IndexedResults, StoreError> {
        let mut errors: Vec<(usize, surrealdb::Error)> = results.take_errors().into_iter().collect();
        if errors.is_empty() {
            return Ok(results);
        }
        errors.sort_by_key(|(index, error)| {
            let follows = matches!(error.query_details(), Some(QueryError::NotExecuted | QueryError::Cancelled));
            (follows || error.message().contains("not executed due to"), *index)
        });
        Err(self.classify(&errors[0].1))
    }

    fn classify(&self, error: &surrealdb::Error) -> StoreError {
        let text = error.to_string();
        let message = one_line(&text);
        match error.query_details() {
            Some(QueryError::TransactionConflict) => return StoreError::Conflict,
            Some(QueryError::TimedOut { .. }) => return StoreError::Timeout,
            _ => {}
        }
        if text.contains("can be retried") {
            return StoreError::Conflict;
        }
        if error.is_connection() {
            return StoreError::Unreachable { url: self.place.clone(), message };
        }
        if text.contains("No space left") || text.contains("Disk quota exceeded") {
            return StoreError::Full { message };
        }
        if text.contains("Read-only file system") || text.contains("Permission denied") {
            return StoreError::ReadOnly { path: PathBuf::from(&self.place), message };
        }
        StoreError::Query { message }
    }
}

async fn embedded(path: String, settings: &StoreSettings) -> Result<Engine, String> {
    let threads = Threads::start().map_err(|error| error.to_string())?;
    let config = ConfigMap::empty()
        .with_key_value("surrealkv_block_cache_capacity", settings.block_cache_bytes.to_string())
        .with_key_value("surrealkv_max_memtable_size", settings.memtable_bytes.to_string());
    let opened = threads.run(open_embedded(path, config)).await.unwrap_or_else(|| Err("its threads ended".to_owned()));
    opened.map(|(datastore, db)| {
        *threads.open.lock().expect("no holder panics") = Some(datastore.clone());
        Engine::Embedded { datastore, db: Arc::new(db), threads: Arc::new(threads) }
    })
}

async fn open_embedded(path: String, config: ConfigMap) -> Result<(Arc<Datastore>, Surreal<Db>), String> {
    let datastore = Datastore::builder()
        .with_config(config)
        .with_query_timeout(Some(CALL_LIMIT))
        .without_maintenance_tasks()
        .build_with_path(&path)
        .await
        .map_err(|error| error.to_string())?;
    let opened = async {
        datastore.check_version().await.map_err(|error| error.to_string())?;
        datastore.bootstrap().await.map_err(|error| error.to_string())?;
        datastore.start_maintenance_tasks();
        let db = Surreal::<Db>::unstable_from_datastore(datastore.clone(), None).await.map_err(|error| error.to_string())?;
        db.use_ns(NAMESPACE).use_db(DATABASE).await.map_err(|error| error.to_string())?;
        Ok(db)
    };
    let outcome: Result<Surreal<Db>, String> = opened.await;
    match outcome {
        Ok(db) => Ok((datastore, db)),
        Err(error) => {
            let _ = datastore.shutdown().await;
            Err(error)
        }
    }
}

async fn remote(url: &str, settings: &StoreSettings) -> Result<Engine, StoreError> {
    let unreachable = |message: String| StoreError::Unreachable { url: url.to_owned(), message: one_line(&message) };
    let connect = async {
        let db = any::connect((url, Config::new())).await.map_err(|error| unreachable(error.to_string()))?;
        if let (Some(username), Some(password)) = (&settings.username, &settings.password) {
            let root = Root { username: username.clone(), password: password.clone() };
            db.signin(root).await.map_err(|error| match error.is_connection() {
                true => unreachable(error.to_string()),
                false => StoreError::Refused { url: url.to_owned() },
            })?;
        }
        db.use_ns(NAMESPACE).use_db(DATABASE).await.map_err(|error| unreachable(error.to_string()))?;
        Ok(Engine::Remote(Arc::new(db)))
    };
    let late = || unreachable(format!("no answer within {} s", SERVER_LIMIT.as_secs()));
    tokio::time::timeout(SERVER_LIMIT, connect).await.unwrap_or_else(|_| Err(late()))
}

fn folder_error(folder: &std::path::Path, message: &str) -> StoreError {
    let path = folder.to_owned();
    let line = one_line(message);
    if message.contains("already locked") {
        return StoreError::AlreadyOpen { path };
    }
    if message.contains("No space left") || message.contains("Disk quota exceeded") {
        return StoreError::Full { message: line };
    }
    if message.contains("Read-only file system") || message.contains("Permission denied") || message.contains("Not a directory") {
        return StoreError::ReadOnly { path, message: line };
    }
    StoreError::Query { message: line }
}

/// The first line of a message, and no more than a log line should carry.
fn one_line(message: &str) -> String {
    message.lines().next().unwrap_or_default().chars().take(300).collect()
}
