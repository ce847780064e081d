//! One connection to SurrealDB: the embedded engine, or a server.
//!
//! Everything above it is the same for both. [`embedded`] runs the engine in this process; [`remote`] keeps a link to a
//! server, made of one connection ([`server`]) after the other, and says at once that the server is away instead of waiting for it.
//!
//! **Invariants.** Every statement's error is raised, every call has a time limit, and a text is run again after a conflict
//! only if nothing of it can have been committed.

pub mod embedded;
pub mod remote;
pub mod server;

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, RwLock};
use std::time::Duration;

use rand::Rng;
use surrealdb::IndexedResults;
use surrealdb::types::{QueryError, Value, Variables};
use thiserror::Error;
use tokio::sync::watch;

use crate::clock::Clock;
use crate::config::sections::StoreSettings;
use crate::store::connection::embedded::Embedded;
use crate::store::connection::remote::Remote;

/// Where results lie in a server that names nothing else in its URL.
pub const NAMESPACE: &str = "probemesh";
pub const DATABASE: &str = "main";
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
    #[error("store {url} is not a SurrealDB 3 server: {message}")]
    Version { url: String, message: String },
    #[error("store.ca cannot be used: {message}")]
    Authority { message: String },
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

    /// Whether the store may be there a moment later without anyone doing anything about it.
    pub fn away(&self) -> bool {
        matches!(self, StoreError::Unreachable { .. } | StoreError::Timeout)
    }
}

/// An open database. Share it by `Arc`.
#[derive(Debug)]
pub struct Database {
    /// Where it is, for messages: the folder or the URL.
    place: String,
    engine: RwLock<Option<Engine>>,
    asked: AtomicU64,
}

#[derive(Clone, Debug)]
enum Engine {
    Embedded(Arc<Embedded>),
    Remote(Arc<Remote>),
}

impl Database {
    /// Opens what the settings name: a folder of the embedded engine, memory alone, or a server.
    pub async fn open(settings: &StoreSettings) -> Result<Database, StoreError> {
        let (place, engine) = match settings.url.as_deref() {
            None => {
                let folder = settings.data_dir.join("db");
                std::fs::create_dir_all(&folder).map_err(|error| folder_error(&folder, &error.to_string()))?;
                let engine = Embedded::open(format!("surrealkv://{}?sync=every", folder.display()), settings).await;
                let engine = engine.map_err(|error| folder_error(&folder, &error))?;
                (folder.display().to_string(), Engine::Embedded(Arc::new(engine)))
            }
            Some("mem://" | "memory") => {
                let engine = Embedded::open("memory".to_owned(), settings).await.map_err(|message| StoreError::Query { message })?;
                ("mem://".to_owned(), Engine::Embedded(Arc::new(engine)))
            }
            Some(url) => (url.to_owned(), Engine::Remote(Arc::new(Remote::open(url, settings).await?))),
        };
        Ok(Database { place, engine: RwLock::new(Some(engine)), asked: AtomicU64::new(0) })
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
            self.asked.fetch_add(1, Ordering::Relaxed);
            let engine = self.engine.read().expect("no holder panics").clone().ok_or(StoreError::Closed)?;
            let (text, variables) = (text.to_owned(), variables.clone());
            let answer = match engine {
                Engine::Embedded(embedded) => embedded.query(text, variables).await?.map_err(|error| self.classify(&error)),
                Engine::Remote(remote) => remote.query(text, variables).await?.map_err(|error| self.classify(&error)),
            };
            match answer.and_then(|results| self.check(results)) {
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

    /// How many texts were sent to it: each is a way there and back.
    pub fn asked(&self) -> u64 {
        self.asked.load(Ordering::Relaxed)
    }

    /// The version of the engine, as it tells itself.
    pub async fn version(&self) -> Result<String, StoreError> {
        let engine = self.engine.read().expect("no holder panics").clone().ok_or(StoreError::Closed)?;
        match engine {
            Engine::Embedded(embedded) => embedded.version().await,
            Engine::Remote(remote) => remote.version().await,
        }
    }

    /// Closes the database and waits for it: the write-ahead log is flushed and the lock on the folder given back. Calls
    /// from here on fail with `Closed`; closing twice is nothing.
    pub async fn shutdown(&self) -> Result<(), StoreError> {
        let engine = self.engine.write().expect("no holder panics").take();
        match engine {
            Some(Engine::Embedded(embedded)) => embedded.close().await.map_err(|message| StoreError::Query { message: one_line(&message) }),
            Some(Engine::Remote(remote)) => {
                remote.close();
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// Rises whenever it became unknown what some call has done: kept copies of what the store holds are to be read again.
    /// The embedded engine answers every call, so there it never does.
    pub fn doubts(&self) -> Option<watch::Receiver<u64>> {
        match self.engine.read().expect("no holder panics").as_ref() {
            Some(Engine::Remote(remote)) => Some(remote.doubts()),
            _ => None,
        }
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
