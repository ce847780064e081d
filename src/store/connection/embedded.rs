//! The engine inside this process.
//!
//! It runs on a datastore of our own making: through the public `connect` its caches would grow to half of the machine's
//! memory and its shutdown could not be awaited.
//!
//! **Invariant.** A datastore that was opened is closed, also when whoever held it forgot: its lock on the folder goes with it.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use surrealdb::engine::local::Db;
use surrealdb::types::Variables;
use surrealdb::{IndexedResults, Surreal};
use surrealdb_cnf::ConfigMap;
use surrealdb_core::kvs::Datastore;
use tokio::runtime::Runtime;

use crate::config::sections::StoreSettings;
use crate::store::connection::{DATABASE, NAMESPACE, StoreError};

/// The engine's parser and planner recurse deeply.
const STACK: usize = 16 << 20;
/// No call takes longer; slices are made so that none comes near it.
const CALL_LIMIT: Duration = Duration::from_secs(30);

/// What is left to do with a datastore that is open.
///
/// The datastore's own type does not show here: it is so deep that every future that reaches it would have the compiler prove
/// anew, for a quarter of a second each time, that it may be sent.
#[rocket::async_trait]
trait Opened: Send + Sync {
    async fn shut(&self) -> Result<(), String>;
}

#[rocket::async_trait]
impl Opened for Datastore {
    async fn shut(&self) -> Result<(), String> {
        self.shutdown().await.map_err(|error| error.to_string())
    }
}

pub struct Embedded {
    datastore: Mutex<Option<Arc<dyn Opened>>>,
    db: Mutex<Option<Arc<Surreal<Db>>>>,
    threads: Threads,
}

impl std::fmt::Debug for Embedded {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Embedded")
    }
}

/// The engine syncs its log to disk in the middle of a task. On threads of its own that holds up nobody's timers.
struct Threads {
    runtime: Option<Runtime>,
    /// Set while it is open: an engine that is forgotten is closed all the same.
    open: Mutex<Option<Arc<dyn Opened>>>,
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
                    let _ = runtime.block_on(datastore.shut());
                    drop(datastore);
                };
                let _ = std::thread::Builder::new().name("store-close".to_owned()).stack_size(STACK).spawn(closing);
            }
        }
    }
}

impl Embedded {
    /// `path` as the engine writes it: `memory` or `surrealkv://…`.
    pub async fn open(path: String, settings: &StoreSettings) -> Result<Embedded, String> {
        let threads = Threads::start().map_err(|error| error.to_string())?;
        let config = ConfigMap::empty()
            .with_key_value("surrealkv_block_cache_capacity", settings.block_cache_bytes.to_string())
            .with_key_value("surrealkv_max_memtable_size", settings.memtable_bytes.to_string());
        let (datastore, db) = threads.run(open(path, config)).await.unwrap_or_else(|| Err("its threads ended".to_owned()))?;
        *threads.open.lock().expect("no holder panics") = Some(datastore.clone());
        Ok(Embedded { datastore: Mutex::new(Some(datastore)), db: Mutex::new(Some(Arc::new(db))), threads })
    }

    /// The inner error is the engine's own.
    pub async fn query(&self, text: String, variables: Variables) -> Result<surrealdb::Result<IndexedResults>, StoreError> {
        let db = self.db.lock().expect("no holder panics").clone().ok_or(StoreError::Closed)?;
        let run = self.threads.run(async move { db.query(text).bind(variables).await });
        tokio::time::timeout(CALL_LIMIT, run).await.map_err(|_| StoreError::Timeout)?.ok_or(StoreError::Closed)
    }

    pub async fn version(&self) -> Result<String, StoreError> {
        let db = self.db.lock().expect("no holder panics").clone().ok_or(StoreError::Closed)?;
        let version = self.threads.run(async move { db.version().await }).await.ok_or(StoreError::Closed)?;
        version.map(|version| version.to_string()).map_err(|error| StoreError::Query { message: error.to_string() })
    }

    /// Flushes the write-ahead log and gives the lock back.
    pub async fn close(&self) -> Result<(), String> {
        self.threads.open.lock().expect("no holder panics").take();
        let db = self.db.lock().expect("no holder panics").take();
        let Some(datastore) = self.datastore.lock().expect("no holder panics").take() else { return Ok(()) };
        let closed = self.threads.run(async move {
            drop(db);
            let closed = datastore.shut().await;
            drop(datastore);
            closed
        });
        closed.await.unwrap_or(Ok(()))
    }
}

async fn open(path: String, config: ConfigMap) -> Result<(Arc<dyn Opened>, Surreal<Db>), String> {
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
