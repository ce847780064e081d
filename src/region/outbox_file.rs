//! The outbox on disk: batches the hub has not acknowledged, in one redb file.
//!
//! A batch is a row `(boot, number) → bytes`; a commit is synced before it returns. The file outlives the actors that use
//! it. It is bounded in bytes and age: what must go goes oldest first and is counted by its results.
//!
//! The engine takes nothing more once a write or a sync has failed, until it is opened again. So a failure closes it and
//! the next call opens the same file, as the same boot: what was committed is there, and a commit may be tried again,
//! since a row is named by its key.
//!
//! **Invariants.** Boots rise with every start, even after the clock went back. Numbers rise by one within a boot. A row is
//! removed when the hub has it, when it was refused (then it is kept aside), or when it was dropped and counted.

use std::path::Path;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use redb::{Database, Durability, ReadTransaction, ReadableDatabase, ReadableTable, TableDefinition, TableError};
use thiserror::Error;
use tracing::info;

use crate::model::id::Boot;
use crate::model::time::{Timestamp, micros};

/// `(boot, number)` → `(made_at µs, results, bytes)`.
const BATCHES: TableDefinition<(u64, u64), (i64, u64, &[u8])> = TableDefinition::new("batches");
/// Batches the hub said it will never take: `(boot, number)` → `(results, bytes)`.
const ASIDE: TableDefinition<(u64, u64), (u64, &[u8])> = TableDefinition::new("aside");
/// `boot` of the last open; `dropped`: results dropped since that boot began.
const COUNTERS: TableDefinition<&str, u64> = TableDefinition::new("counters");
/// Bytes of refused batches that are kept; beyond it the oldest are dropped.
const ASIDE_AT_MOST: u64 = 64 << 20;

#[derive(Debug, Error)]
pub enum OutboxError {
    #[error("outbox {path} is in use by another process")]
    InUse { path: String },
    #[error("outbox {path} cannot be opened")]
    Open {
        path: String,
        #[source]
        source: redb::Error,
    },
    #[error("outbox cannot be read or written")]
    Engine(#[source] redb::Error),
}

fn engine(err: impl Into<redb::Error>) -> OutboxError {
    OutboxError::Engine(err.into())
}

/// Opens the engine, at the start and again after each failure.
pub type Opener = Box<dyn Fn() -> Result<Database, redb::DatabaseError> + Send + Sync>;

pub struct OutboxFile {
    opener: Opener,
    /// `None` after a failure, until the next call opens it again.
    engine: Mutex<Option<Engine>>,
    boot: Boot,
    /// What the committed rows add up to, so that a bound costs nothing to ask.
    depth: Mutex<Depth>,
}

struct Engine {
    database: Database,
    /// Bytes of the refused batches.
    aside: u64,
}

/// One batch as it lies in the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredBatch {
    pub boot: Boot,
    pub number: u64,
    pub made_at: Timestamp,
    pub results: u64,
    pub bytes: Vec<u8>,
}

/// What lies in the outbox.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Depth {
    pub batches: u64,
    pub results: u64,
    pub bytes: u64,
    pub oldest: Option<Timestamp>,
}

/// One commit: what is added, what has been refused and acknowledged meanwhile, what the bounds allow.
#[derive(Debug)]
pub struct Commit {
    pub batch: Option<(u64, Timestamp, u64, Vec<u8>)>,
    pub acknowledged: Option<(Boot, u64)>,
    pub refused: Option<(Boot, u64)>,
    pub max_bytes: u64,
    /// Batches made before this are dropped.
    pub keep_since: Timestamp,
}

impl OutboxFile {
    /// Opens or makes the file, and begins a new boot.
    pub fn open(path: &Path, now: Timestamp) -> Result<OutboxFile, OutboxError> {
        let (file, shown) = (path.to_owned(), path.display().to_string());
        let opener: Opener = Box::new(move || Database::builder().set_cache_size(4 << 20).create(&file));
        OutboxFile::open_with(opener, now).map_err(|err| match err {
            OutboxError::Engine(redb::Error::DatabaseAlreadyOpen) => OutboxError::InUse { path: shown },
            OutboxError::Engine(source) => OutboxError::Open { path: shown, source },
            other => other,
        })
    }

    /// Begins a new boot in the file `opener` opens.
    pub fn open_with(opener: Opener, now: Timestamp) -> Result<OutboxFile, OutboxError> {
        let database = opener().map_err(engine)?;
        let write = database.begin_write().map_err(engine)?;
        let boot = {
            let mut counters = write.open_table(COUNTERS).map_err(engine)?;
            let last = counters.get("boot").map_err(engine)?.map_or(0, |boot| boot.value());
            // Milliseconds of the wall clock, so that a lost file does not bring old boots back; above the last in any case.
            let boot = (last + 1).max(u64::try_from(now.0 / 1000).unwrap_or(0));
            counters.insert("boot", boot).map_err(engine)?;
            counters.insert("dropped", 0).map_err(engine)?;
            boot
        };
        write.commit().map_err(engine)?;
        let (depth, aside) = measure(&database)?;
        let engine = Mutex::new(Some(Engine { database, aside }));
        Ok(OutboxFile { opener, engine, boot: Boot(boot), depth: Mutex::new(depth) })
    }

    pub fn boot(&self) -> Boot {
        self.boot
    }

    /// Applies one commit durably; returns how many results the bounds made it drop. One that failed may be tried again.
    pub fn commit(&self, commit: Commit) -> Result<u64, OutboxError> {
        self.with_engine(|open| self.apply(open, &commit))
    }

    /// The batches behind `(boot, number)`, at most so many and so many bytes together; the first of them in any case.
    pub fn next_batches_after(&self, position: (Boot, u64), most: usize, bytes: usize) -> Result<Vec<StoredBatch>, OutboxError> {
        self.with_engine(|open| {
            let read = open.database.begin_read().map_err(engine)?;
            let (mut found, mut size) = (Vec::new(), 0);
            let Some(batches) = table(&read, BATCHES)? else { return Ok(found) };
            for row in batches.range((position.0.0, position.1 + 1)..).map_err(engine)? {
                let (key, value) = row.map_err(engine)?;
                let ((boot, number), (made_at, results, data)) = (key.value(), value.value());
                size += data.len();
                if !found.is_empty() && (found.len() >= most || size > bytes) {
                    break;
                }
                found.push(StoredBatch { boot: Boot(boot), number, made_at: Timestamp(made_at), results, bytes: data.to_vec() });
            }
            Ok(found)
        })
    }

    /// What lies here now.
    pub fn depth(&self) -> Depth {
        *self.depth.lock().expect("no holder panics")
    }

    fn with_engine<T>(&self, work: impl FnOnce(&mut Engine) -> Result<T, OutboxError>) -> Result<T, OutboxError> {
        let mut engine = self.engine.lock().expect("no holder panics");
        let outcome = self.opened(&mut engine).and_then(work);
        if outcome.is_err() {
            *engine = None;
        }
        outcome
    }

    fn opened<'a>(&self, slot: &'a mut MutexGuard<Option<Engine>>) -> Result<&'a mut Engine, OutboxError> {
        if slot.is_none() {
            let database = (self.opener)().map_err(engine)?;
            let (depth, aside) = measure(&database)?;
            *self.depth.lock().expect("no holder panics") = depth;
            info!(waiting = depth.results, "outbox opened again");
            **slot = Some(Engine { database, aside });
        }
        Ok(slot.as_mut().expect("it was filled just now"))
    }

    fn apply(&self, open: &mut Engine, commit: &Commit) -> Result<u64, OutboxError> {
        let mut write = open.database.begin_write().map_err(engine)?;
        write.set_durability(Durability::Immediate).map_err(engine)?;
        let (mut depth, mut aside) = (self.depth(), open.aside);
        let dropped = {
            let mut batches = write.open_table(BATCHES).map_err(engine)?;
            let mut dropped = 0;
            // First of all: an acknowledgement of what comes behind a refused batch covers its number too.
            if let Some((boot, number)) = commit.refused {
                let row = batches.remove((boot.0, number)).map_err(engine)?.map(|row| (row.value().1, row.value().2.to_vec()));
                if let Some((results, bytes)) = row {
                    depth.less(results, bytes.len());
                    let mut kept = write.open_table(ASIDE).map_err(engine)?;
                    kept.insert((boot.0, number), (results, bytes.as_slice())).map_err(engine)?;
                    aside += bytes.len() as u64;
                    while aside > ASIDE_AT_MOST {
                        let Some((_, oldest)) = kept.pop_first().map_err(engine)? else { break };
                        aside -= oldest.value().1.len() as u64;
                        dropped += oldest.value().0;
                    }
                }
            }
            if let Some((boot, through)) = commit.acknowledged {
                for row in batches.extract_from_if((0, 0)..=(boot.0, through), |_, _| true).map_err(engine)? {
                    let (_, value) = row.map_err(engine)?;
                    depth.less(value.value().1, value.value().2.len());
                }
            }
            if let Some((number, made_at, results, bytes)) = &commit.batch {
                // A try that seemed to fail may have left its row.
                if let Some(row) = batches.insert((self.boot.0, *number), (made_at.0, *results, bytes.as_slice())).map_err(engine)? {
                    depth.less(row.value().1, row.value().2.len());
                }
                depth.batches += 1;
                depth.results += results;
                depth.bytes += bytes.len() as u64;
            }
            dropped += drop_beyond(&mut batches, &mut depth, commit.max_bytes, commit.keep_since)?;
            if dropped > 0 {
                let mut counters = write.open_table(COUNTERS).map_err(engine)?;
                let before = counters.get("dropped").map_err(engine)?.map_or(0, |count| count.value());
                counters.insert("dropped", before + dropped).map_err(engine)?;
            }
            depth.oldest = batches.first().map_err(engine)?.map(|(_, value)| Timestamp(value.value().0));
            dropped
        };
        write.commit().map_err(engine)?;
        open.aside = aside;
        *self.depth.lock().expect("no holder panics") = depth;
        Ok(dropped)
    }
}

impl Depth {
    fn less(&mut self, results: u64, bytes: usize) {
        self.batches -= 1;
        self.results -= results;
        self.bytes -= bytes as u64;
    }
}

/// A table, or `None` before its first row was written.
fn table<K: redb::Key + 'static, V: redb::Value + 'static>(
    read: &ReadTransaction,
    definition: TableDefinition<K, V>,
) -> Result<Option<redb::ReadOnlyTable<K, V>>, OutboxError> {
    match read.open_table(definition) {
        Ok(table) => Ok(Some(table)),
        Err(TableError::TableDoesNotExist(_)) => Ok(None),
        Err(err) => Err(engine(err)),
    }
}

/// What lies in the file, and the bytes of the refused batches.
fn measure(database: &Database) -> Result<(Depth, u64), OutboxError> {
    let read = database.begin_read().map_err(engine)?;
    let (mut depth, mut aside) = (Depth::default(), 0);
    if let Some(batches) = table(&read, BATCHES)? {
        for row in batches.iter().map_err(engine)? {
            let (_, value) = row.map_err(engine)?;
            let (made_at, results, bytes) = value.value();
            depth.batches += 1;
            depth.results += results;
            depth.bytes += bytes.len() as u64;
            depth.oldest.get_or_insert(Timestamp(made_at));
        }
    }
    if let Some(kept) = table(&read, ASIDE)? {
        for row in kept.iter().map_err(engine)? {
            aside += row.map_err(engine)?.1.value().1.len() as u64;
        }
    }
    Ok((depth, aside))
}

/// Drops the oldest batches until both bounds hold; returns the results dropped.
fn drop_beyond(
    batches: &mut redb::Table<(u64, u64), (i64, u64, &'static [u8])>,
    depth: &mut Depth,
    max_bytes: u64,
    keep_since: Timestamp,
) -> Result<u64, OutboxError> {
    let mut dropped = 0;
    loop {
        let first =
            batches.first().map_err(engine)?.map(|(key, value)| (key.value(), value.value().0, value.value().1, value.value().2.len()));
        let Some((key, made_at, results, bytes)) = first else { return Ok(dropped) };
        if depth.bytes <= max_bytes && made_at >= keep_since.0 {
            return Ok(dropped);
        }
        batches.remove(key).map_err(engine)?;
        depth.less(results, bytes);
        dropped += results;
    }
}

/// The instant before which batches are too old.
pub fn keep_since(now: Timestamp, max_age: Duration) -> Timestamp {
    Timestamp(now.0.saturating_sub(micros(max_age)))
}

#[cfg(test)]
mod tests;
