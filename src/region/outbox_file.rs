//! The outbox on disk: batches the hub has not acknowledged, in one redb file.
//!
//! A batch is a row `(boot, number) → bytes`; a commit is synced before it returns. The file outlives the actors that use
//! it. It is bounded in bytes and age: what must go goes oldest first and is counted by its results.
//!
//! **Invariants.** Boots rise with every open, even after the clock went back. Numbers rise by one within a boot. A row is
//! removed when the hub has it, when it was refused (then it is kept aside), or when it was dropped and counted.

use std::path::Path;
use std::sync::Mutex;
use std::time::Duration;

use redb::{Database, Durability, ReadableDatabase, ReadableTable, TableDefinition};
use thiserror::Error;

use crate::model::id::Boot;
use crate::model::time::{Timestamp, micros};

/// `(boot, number)` → `(made_at µs, results, bytes)`.
const BATCHES: TableDefinition<(u64, u64), (i64, u64, &[u8])> = TableDefinition::new("batches");
/// Batches the hub said it will never take.
const REFUSED: TableDefinition<(u64, u64), &[u8]> = TableDefinition::new("refused");
/// `boot` of the last open; `dropped`: results dropped since that boot began.
const COUNTERS: TableDefinition<&str, u64> = TableDefinition::new("counters");

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

#[derive(Debug)]
pub struct OutboxFile {
    database: Database,
    boot: Boot,
    /// What the committed rows add up to, so that a bound costs nothing to ask.
    depth: Mutex<Depth>,
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

/// One commit: what is added, what has been acknowledged meanwhile, what the bounds allow.
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
        let shown = || path.display().to_string();
        let database = Database::builder().set_cache_size(4 << 20).create(path).map_err(|err| match err {
            redb::DatabaseError::DatabaseAlreadyOpen => OutboxError::InUse { path: shown() },
            other => OutboxError::Open { path: shown(), source: other.into() },
        })?;
        let write = database.begin_write().map_err(engine)?;
        let boot = {
            write.open_table(BATCHES).map_err(engine)?;
            write.open_table(REFUSED).map_err(engine)?;
            let mut counters = write.open_table(COUNTERS).map_err(engine)?;
            let last = counters.get("boot").map_err(engine)?.map_or(0, |boot| boot.value());
            // Milliseconds of the wall clock, so that a lost file does not bring old boots back; above the last in any case.
            let boot = (last + 1).max(u64::try_from(now.0 / 1000).unwrap_or(0));
            counters.insert("boot", boot).map_err(engine)?;
            counters.insert("dropped", 0).map_err(engine)?;
            boot
        };
        write.commit().map_err(engine)?;
        let depth = Mutex::new(measure(&database)?);
        Ok(OutboxFile { database, boot: Boot(boot), depth })
    }

    pub fn boot(&self) -> Boot {
        self.boot
    }

    /// Applies one commit durably; returns how many results the bounds made it drop.
    pub fn commit(&self, commit: Commit) -> Result<u64, OutboxError> {
        let mut write = self.database.begin_write().map_err(engine)?;
        write.set_durability(Durability::Immediate).map_err(engine)?;
        let mut depth = self.depth();
        let dropped = {
            let mut batches = write.open_table(BATCHES).map_err(engine)?;
            if let Some((boot, through)) = commit.acknowledged {
                for row in batches.extract_from_if((0, 0)..=(boot.0, through), |_, _| true).map_err(engine)? {
                    let (_, value) = row.map_err(engine)?;
                    depth.less(value.value().1, value.value().2.len());
                }
            }
            if let Some((boot, number)) = commit.refused {
                let bytes = batches.remove((boot.0, number)).map_err(engine)?.map(|row| {
                    depth.less(row.value().1, row.value().2.len());
                    row.value().2.to_vec()
                });
                if let Some(bytes) = bytes {
                    write.open_table(REFUSED).map_err(engine)?.insert((boot.0, number), bytes.as_slice()).map_err(engine)?;
                }
            }
            if let Some((number, made_at, results, bytes)) = &commit.batch {
                batches.insert((self.boot.0, *number), (made_at.0, *results, bytes.as_slice())).map_err(engine)?;
                depth.batches += 1;
                depth.results += results;
                depth.bytes += bytes.len() as u64;
            }
            let dropped = drop_beyond(&mut batches, &mut depth, commit.max_bytes, commit.keep_since)?;
            if dropped > 0 {
                let mut counters = write.open_table(COUNTERS).map_err(engine)?;
                let before = counters.get("dropped").map_err(engine)?.map_or(0, |count| count.value());
                counters.insert("dropped", before + dropped).map_err(engine)?;
            }
            depth.oldest = batches.first().map_err(engine)?.map(|(_, value)| Timestamp(value.value().0));
            dropped
        };
        write.commit().map_err(engine)?;
        *self.depth.lock().expect("no holder panics") = depth;
        Ok(dropped)
    }

    /// The first batch behind `(boot, number)`.
    pub fn next_after(&self, position: (Boot, u64)) -> Result<Option<StoredBatch>, OutboxError> {
        let read = self.database.begin_read().map_err(engine)?;
        let batches = read.open_table(BATCHES).map_err(engine)?;
        let mut range = batches.range((position.0.0, position.1 + 1)..).map_err(engine)?;
        let Some(row) = range.next() else { return Ok(None) };
        let (key, value) = row.map_err(engine)?;
        let ((boot, number), (made_at, results, bytes)) = (key.value(), value.value());
        Ok(Some(StoredBatch { boot: Boot(boot), number, made_at: Timestamp(made_at), results, bytes: bytes.to_vec() }))
    }

    /// What lies here now.
    pub fn depth(&self) -> Depth {
        *self.depth.lock().expect("no holder panics")
    }
}

impl Depth {
    fn less(&mut self, results: u64, bytes: usize) {
        self.batches -= 1;
        self.results -= results;
        self.bytes -= bytes as u64;
    }
}

fn measure(database: &Database) -> Result<Depth, OutboxError> {
    let read = database.begin_read().map_err(engine)?;
    let batches = read.open_table(BATCHES).map_err(engine)?;
    let mut depth = Depth::default();
    for row in batches.iter().map_err(engine)? {
        let (_, value) = row.map_err(engine)?;
        let (made_at, results, bytes) = value.value();
        depth.batches += 1;
        depth.results += results;
        depth.bytes += bytes.len() as u64;
        depth.oldest.get_or_insert(Timestamp(made_at));
    }
    Ok(depth)
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
mod tests {
    use super::*;

    fn add(file: &OutboxFile, number: u64, at: i64, size: usize) -> u64 {
        let batch = Some((number, Timestamp(at), 10, vec![7; size]));
        file.commit(Commit { batch, acknowledged: None, refused: None, max_bytes: 10_000, keep_since: Timestamp(at - 1000) }).unwrap()
    }

    #[test]
    fn batches_come_back_in_order_and_go_when_acknowledged() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("outbox.redb");
        let first = OutboxFile::open(&path, Timestamp(5_000_000)).unwrap();
        assert_eq!(first.boot(), Boot(5000));
        assert_eq!((add(&first, 1, 10, 100), add(&first, 2, 20, 100)), (0, 0));
        drop(first);
        // The clock went back: the boot rises all the same.
        let second = OutboxFile::open(&path, Timestamp(0)).unwrap();
        assert_eq!(second.boot(), Boot(5001));
        assert_eq!(add(&second, 1, 30, 100), 0);
        let walk: Vec<(u64, u64)> =
            std::iter::successors(second.next_after((Boot(0), 0)).unwrap(), |last| second.next_after((last.boot, last.number)).unwrap())
                .map(|batch| (batch.boot.0, batch.number))
                .collect();
        assert_eq!(walk, [(5000, 1), (5000, 2), (5001, 1)]);
        second
            .commit(Commit { batch: None, acknowledged: Some((Boot(5000), 2)), refused: None, max_bytes: 10_000, keep_since: Timestamp(0) })
            .unwrap();
        assert_eq!(second.next_after((Boot(0), 0)).unwrap().map(|batch| batch.boot), Some(Boot(5001)));
        assert_eq!(second.depth(), Depth { batches: 1, results: 10, bytes: 100, oldest: Some(Timestamp(30)) });
    }

    #[test]
    fn beyond_its_bounds_the_oldest_go_and_are_counted() {
        let folder = tempfile::tempdir().unwrap();
        let file = OutboxFile::open(&folder.path().join("outbox.redb"), Timestamp(1_000_000)).unwrap();
        let dropped: u64 = (1..=10).map(|number| add(&file, number, 100 + number as i64, 2000)).sum();
        let depth = file.depth();
        assert!(depth.bytes <= 10_000 && depth.bytes >= 6_000, "{depth:?}");
        assert_eq!(dropped, (10 - depth.batches) * 10);
        // By age: everything older than a thousand microseconds.
        assert_eq!(add(&file, 11, 5_000, 10), depth.results);
        assert_eq!(file.depth().batches, 1);
    }

    #[test]
    fn a_second_process_is_told_so() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("outbox.redb");
        let _first = OutboxFile::open(&path, Timestamp(0)).unwrap();
        assert!(matches!(OutboxFile::open(&path, Timestamp(0)), Err(OutboxError::InUse { .. })));
    }

    #[test]
    fn a_refused_batch_is_kept_aside() {
        let folder = tempfile::tempdir().unwrap();
        let file = OutboxFile::open(&folder.path().join("outbox.redb"), Timestamp(1_000)).unwrap();
        add(&file, 1, 10, 50);
        file.commit(Commit {
            batch: None,
            acknowledged: None,
            refused: Some((file.boot(), 1)),
            max_bytes: 10_000,
            keep_since: Timestamp(0),
        })
        .unwrap();
        assert_eq!(file.next_after((Boot(0), 0)).unwrap(), None);
        let read = file.database.begin_read().unwrap();
        assert!(read.open_table(REFUSED).unwrap().get((1, 1)).unwrap().is_some());
    }
}
