//! Sealing: what waits in the tails is packed into blocks, and the journal behind it is dropped.
//!
//! A series is due when it fills a block, when its results span or have waited a block's span, or when the journal is over
//! its bound and this series holds its oldest batches. One call does one slice of work, so that it can be called between
//! other things.
//!
//! **Invariants.**
//! - One transaction writes the blocks of a series, the position it is sealed through, and the directory. After a crash at
//!   any instant the journal gives back exactly the results that are in no block.
//! - As with the journal, each transaction moves a head from the serial this process believes in, so that an outcome that
//!   was not told is found out before anything is packed again.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use surrealdb::types::Value;

use crate::model::id::RegionName;
use crate::model::time::{Timestamp, micros};
use crate::store::codec::{self, Failing, Packable, Summary, order};
use crate::store::connection::StoreError;
use crate::store::directory::{DirectoryEntry, OpenDirectory, add_entries, listed};
use crate::store::journal::{journal_id, untold};
use crate::store::results::{Inner, Memory, Results, Sealer, SeriesKey, hour_of};
use crate::store::roll::due_row;
use crate::store::tail::SeriesTail;
use crate::store::values::{array, bytes, corrupt, int, object, record, record_of, rows, text, unsigned};

/// Blocks of one call, about.
const SLICE_BLOCKS: usize = 64;
/// Batches deleted from the journal by one call.
const SLICE_BATCHES: usize = 500;
/// Hours whose directory records stay open.
const OPEN_HOURS: usize = 8;
/// Transactions of untold outcome that are remembered.
const UNRESOLVED: usize = 8;

/// What one call did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sealed {
    pub blocks: usize,
    pub results: usize,
    /// Batches dropped from the journal.
    pub batches: usize,
    /// There is more to do now.
    pub more: bool,
}

/// One transaction of the sealer.
#[derive(Debug)]
pub(super) struct SealPlan {
    /// The head's serial after it.
    end: u64,
    /// Found in the head, it tells that this transaction committed.
    mark: u64,
    /// Each series with the position it is sealed through and the start of its newest result.
    series: Vec<(SeriesKey, u64, i64)>,
    open: BTreeMap<i64, OpenDirectory>,
    hours: Vec<i64>,
    /// Hours of series whose rollups are to be made, or made again.
    due: BTreeSet<(i64, SeriesKey)>,
    spent: usize,
    sealed: Sealed,
    bytes: u64,
}

struct NewBlock {
    entry: DirectoryEntry,
    data: Vec<u8>,
    failing: Failing,
}

type Due = (SeriesKey, Arc<SeriesTail>);
type Values = Vec<(&'static str, Value)>;

impl Results {
    /// Does one slice of sealing. An actor calls it about once a second, and at once while there is more.
    pub async fn seal(&self, now: Timestamp) -> Result<Sealed, StoreError> {
        let inner = self.inner.clone();
        // In a task of its own: a caller that goes away must not leave a transaction without what follows it.
        let task = tokio::spawn(async move {
            let mut sealer = inner.sealer.lock().await;
            let outcome = inner.seal_slice(&mut sealer, now).await;
            outcome.map_err(|error| inner.noted(error))
        });
        task.await.unwrap_or(Err(StoreError::Closed))
    }
}

impl Inner {
    async fn seal_slice(&self, sealer: &mut Sealer, now: Timestamp) -> Result<Sealed, StoreError> {
        if !sealer.unresolved.is_empty() {
            self.resolve_seals(sealer).await?;
        }
        let Some((plan, values)) = self.prepare(sealer, now).await? else { return Ok(Sealed::default()) };
        let (sealed, end) = (plan.sealed, plan.end);
        sealer.next = end;
        let Err(error) = self.database.query(SEAL, values).await else {
            self.apply_seal(sealer, plan, now);
            return Ok(sealed);
        };
        sealer.unresolved.push(plan);
        if untold(&error) {
            return Err(error);
        }
        match self.resolve_seals(sealer).await {
            Ok(true) if sealer.serial == end => Ok(sealed),
            Ok(true) => Ok(Sealed { more: true, ..Sealed::default() }),
            Ok(false) => {
                sealer.unresolved.pop();
                Err(error)
            }
            Err(StoreError::Foreign) => Err(StoreError::Foreign),
            Err(_) => Err(error),
        }
    }

    /// Packs what is due and makes the transaction that stores it; `None`: nothing is due.
    async fn prepare(&self, sealer: &Sealer, now: Timestamp) -> Result<Option<(SealPlan, Values)>, StoreError> {
        let (due, more) = self.due(now);
        let spent: Vec<Value> = self.memory().spent.iter().take(SLICE_BATCHES).map(|entry| journal_id(&entry.key)).collect();
        if due.is_empty() && spent.is_empty() {
            return Ok(None);
        }
        let latest: Vec<Option<i64>> = {
            let memory = self.memory();
            due.iter().map(|(key, _)| memory.series.get(key).and_then(|series| series.latest_sealed)).collect()
        };
        let series: Vec<_> = due
            .iter()
            .zip(latest)
            .map(|((key, tail), latest)| {
                let through = tail.rows().last().map_or(0, |row| row.position);
                (key.clone(), through, latest.map_or(tail.latest(), |latest| latest.max(tail.latest())))
            })
            .collect();
        let limits = self.limits.clone();
        let next = sealer.next.max(sealer.serial);
        let packed = tokio::task::spawn_blocking(move || pack(&due, next, limits.block_results, limits.block_span));
        let blocks = packed.await.map_err(|error| corrupt("tail", error))?;
        let mut open = sealer.open.clone();
        let changed = add_entries(&mut open, blocks.iter().map(|block| block.entry.clone()).collect());
        let sealed = Sealed {
            blocks: blocks.len(),
            results: blocks.iter().map(|block| block.entry.summary.checks as usize).sum(),
            batches: spent.len(),
            more: more || spent.len() == SLICE_BATCHES,
        };
        let plan = SealPlan {
            // A call that only drops batches moves the head too.
            end: blocks.last().map_or(next + 1, |block| block.entry.serial),
            mark: rand::random(),
            hours: changed.iter().map(|(hour, _)| *hour).collect(),
            spent: spent.len(),
            due: blocks
                .iter()
                .flat_map(|block| (hour_of(block.entry.start)..=hour_of(block.entry.end)).map(|hour| (hour, block.entry.series())))
                .collect(),
            bytes: blocks.iter().map(|block| block.data.len() as u64).sum(),
            series,
            open,
            sealed,
        };
        let values = self.seal_values(sealer.serial, &plan, blocks, &changed, spent);
        Ok(Some((plan, values)))
    }

    /// The series to be packed now, those that hold the oldest batches first, and whether others are left.
    fn due(&self, now: Timestamp) -> (Vec<Due>, bool) {
        let memory = self.memory();
        let over = memory.entries.values().map(|entry| entry.bytes).sum::<u64>() > self.limits.journal_bytes;
        let mut due: Vec<(bool, u64, &SeriesKey, &Arc<SeriesTail>)> = Vec::new();
        for (key, series) in &memory.series {
            let Some(first) = series.tail.rows().first() else { continue };
            let full = series.tail.rows().len() >= self.limits.block_results;
            let long = series.tail.latest().saturating_sub(series.tail.earliest()) >= self.limits.block_span;
            let old = micros(now.since(series.waiting_since)) >= self.limits.block_span;
            let ripe = full || long || old;
            if ripe || over {
                due.push((!ripe, first.position, key, &series.tail));
            }
        }
        due.sort_unstable_by_key(|(unripe, position, key, _)| (*unripe, *position, *key));
        // Over its bound, the journal is freed from its oldest batch on, whatever is ripe.
        if over {
            due.sort_unstable_by_key(|(_, position, key, _)| (*position, *key));
        }
        let mut blocks = 0;
        let mut taken = Vec::new();
        let all = due.len();
        for (_, _, key, tail) in due {
            if blocks >= SLICE_BLOCKS {
                break;
            }
            blocks += tail.rows().len().div_ceil(self.limits.block_results);
            taken.push((key.clone(), tail.clone()));
        }
        let more = taken.len() < all;
        (taken, more)
    }

    fn seal_values(
        &self,
        serial: u64,
        plan: &SealPlan,
        blocks: Vec<NewBlock>,
        changed: &[(i64, OpenDirectory)],
        spent: Vec<Value>,
    ) -> Values {
        let failing: Vec<Value> = blocks.iter().filter_map(failing_row).collect();
        let blocks = blocks
            .into_iter()
            .map(|block| object([("id", block_id("block", &block.entry)), ("data", bytes(block.data))]))
            .collect::<Vec<_>>();
        let series = plan.series.iter().map(|((service, region), through, latest)| {
            object([
                ("id", record_of("series", vec![int(service.0.into()), text(&region.0)])),
                ("sealed_through", unsigned(*through)),
                ("latest", int(*latest)),
                ("purged", int(0)),
            ])
        });
        vec![
            ("head", record("seal_head", 1)),
            ("expected", unsigned(serial)),
            ("end", unsigned(plan.end)),
            ("mark", unsigned(plan.mark)),
            ("span", int(self.limits.longest_span)),
            ("blocks", array(blocks)),
            ("failing", array(failing)),
            ("series", array(series)),
            ("directories", array(changed.iter().map(|(hour, open)| open.row(*hour)))),
            ("hours", array(plan.hours.iter().map(|hour| object([("id", record("directory_hour", *hour))])))),
            ("due", array(plan.due.iter().map(|(hour, key)| due_row(*hour, key, plan.end)))),
            ("spent", array(spent)),
        ]
    }

    /// Asks the head which of the transactions of untold outcome has committed; `false`: none of them.
    pub async fn resolve_seals(&self, sealer: &mut Sealer) -> Result<bool, StoreError> {
        let many = sealer.unresolved.len().saturating_sub(UNRESOLVED);
        sealer.unresolved.drain(..many);
        let mut answer = self.database.query("SELECT * FROM seal_head", vec![]).await?;
        let head = rows(&mut answer, 0)?.pop();
        let (serial, mark) = match head {
            Some(row) => (row.unsigned("serial")?, row.unsigned("mark")?),
            None => (0, 0),
        };
        if serial == sealer.serial {
            return Ok(false);
        }
        let index = sealer.unresolved.iter().position(|plan| plan.mark == mark).ok_or(StoreError::Foreign)?;
        let plan = sealer.unresolved.swap_remove(index);
        sealer.unresolved.clear();
        self.apply_seal(sealer, plan, self.clock.now());
        Ok(true)
    }

    /// Takes what a transaction packed out of the tails, and shows its blocks instead.
    fn apply_seal(&self, sealer: &mut Sealer, plan: SealPlan, now: Timestamp) {
        sealer.serial = plan.end;
        sealer.next = plan.end;
        sealer.open = plan.open;
        while sealer.open.len() > OPEN_HOURS {
            sealer.open.pop_first();
        }
        let mut memory = self.memory();
        for (key, through, latest) in plan.series {
            memory.take_sealed(&key, through, now);
            if let Some(series) = memory.series.get_mut(&key) {
                series.latest_sealed = Some(latest);
            }
        }
        memory.spent.drain(..plan.spent);
        memory.release_spent();
        memory.hours.extend(plan.hours);
        let due = Arc::make_mut(&mut memory.due);
        for (hour, key) in plan.due {
            due.entry(hour).or_default().insert(key);
        }
        memory.visible = plan.end;
        memory.status.blocks_sealed += plan.sealed.blocks as u64;
        memory.status.results_sealed += plan.sealed.results as u64;
        memory.status.block_bytes += plan.bytes;
        memory.status.last_seal = Some(now);
    }
}

impl Memory {
    /// Drops the rows of a tail up to a position and counts them off their batches.
    pub fn take_sealed(&mut self, key: &SeriesKey, through: u64, now: Timestamp) {
        let Some(series) = self.series.get_mut(key) else { return };
        for row in series.tail.rows().iter().take_while(|row| row.position <= through) {
            if let Some(entry) = self.entries.get_mut(&row.position) {
                entry.left -= 1;
            }
        }
        series.tail = Arc::new(series.tail.after(key.0, &key.1, through));
        series.waiting_since = now;
        series.sealed_through = series.sealed_through.max(through);
    }

    /// Batches with nothing left to pack are to be deleted.
    pub fn release_spent(&mut self) {
        let spent = self.entries.extract_if(.., |_, entry| entry.left == 0).map(|(_, entry)| entry);
        self.spent.extend(spent);
    }
}

const SEAL: &str = "BEGIN;
    IF ($head.serial ?? 0) != $expected { THROW 'blocks were written by another writer' };
    UPSERT $head SET serial = $end, span = $span, mark = $mark RETURN NONE;
    IF array::len($blocks) > 0 {
        INSERT INTO block $blocks RETURN NONE;
        INSERT INTO failing $failing RETURN NONE;
        INSERT INTO series $series
            ON DUPLICATE KEY UPDATE sealed_through = $input.sealed_through, latest = $input.latest RETURN NONE;
        INSERT INTO directory $directories ON DUPLICATE KEY UPDATE data = $input.data RETURN NONE;
        INSERT IGNORE INTO directory_hour $hours RETURN NONE;
        INSERT INTO rollup_due $due ON DUPLICATE KEY UPDATE serial = $input.serial RETURN NONE;
    };
    IF array::len($spent) > 0 { DELETE $spent RETURN NONE };
    COMMIT";

/// What is kept of a block's failures beside it; `None`: it has none.
fn failing_row(block: &NewBlock) -> Option<Value> {
    let id = ("id", block_id("failing", &block.entry));
    match &block.failing {
        Failing::None => None,
        Failing::Few(data) => Some(object([id, ("data", bytes(data.clone()))])),
        Failing::Many => Some(object([id])),
    }
}

fn block_id(table: &str, entry: &DirectoryEntry) -> Value {
    let key = vec![int(entry.service.0.into()), text(&entry.region.0), int(entry.end), int(entry.start), unsigned(entry.serial)];
    record_of(table, key)
}

/// Packs whole tails; serials go on from `serial`.
fn pack(due: &[Due], mut serial: u64, most: usize, span: i64) -> Vec<NewBlock> {
    let mut blocks = Vec::new();
    for ((service, region), tail) in due {
        let mut results: Vec<Packable> = (0..tail.rows().len()).map(|row| tail.result(*service, region, row)).collect();
        results.sort_by(|one, other| order(&one.result).cmp(&order(&other.result)));
        for part in split(&results, most, span) {
            serial += 1;
            blocks.push(new_block(part, region, serial));
        }
    }
    blocks
}

/// Cuts ordered results so that no part is too many or too long, those that could be in one part as evenly as may be.
fn split(results: &[Packable], most: usize, span: i64) -> Vec<&[Packable]> {
    let mut parts = Vec::new();
    let mut rest = results;
    while let Some(first) = rest.first() {
        let within = |row: &Packable| row.result.started_at.0.saturating_sub(first.result.started_at.0) <= span;
        let fits = rest.partition_point(within);
        let count = fits.div_ceil(fits.div_ceil(most));
        let (part, others) = rest.split_at(count);
        parts.push(part);
        rest = others;
    }
    parts
}

fn new_block(results: &[Packable], region: &RegionName, serial: u64) -> NewBlock {
    let mut summary = Summary::default();
    for Packable { result, omitted } in results {
        summary.add(codec::us(result.latency) as u64, result.failure.as_ref().map(|failure| failure.reason), *omitted);
    }
    let started = |row: &Packable| row.result.started_at.0;
    let start = results.first().map_or(0, started);
    let end = results.last().map_or(0, started);
    let service = results.first().map_or(crate::model::id::ServiceId(0), |row| row.result.service);
    let failures = listed(results.iter().map(|row| &row.result));
    let entry = DirectoryEntry { service, region: region.clone(), start, end, serial, summary, failures };
    NewBlock { entry, data: codec::encode(results), failing: codec::encode_failing(results) }
}

#[cfg(test)]
impl Inner {
    /// A transaction that is carried out and never told of.
    pub async fn seal_unheard(&self, sealer: &mut Sealer, now: Timestamp) {
        let (plan, values) = self.prepare(sealer, now).await.unwrap().expect("something is due");
        sealer.next = plan.end;
        self.database.query(SEAL, values).await.unwrap();
        sealer.unresolved.push(plan);
    }
}
