//! The results: what is held in memory of them, and how it is opened. The parts are in files of their own: appending in
//! `journal`, packing in `seal`, reading in `query` and `statistics`, forgetting in `retention`.
//!
//! **Invariants.**
//! - A lock on [`Memory`] is never held across an await and never for longer than a pass over the series.
//! - `Memory::visible` moves on under the same lock that takes packed rows out of a tail. A reader that takes tails and
//!   `visible` together and then leaves out blocks with a higher serial sees every result once, however long it reads.
//! - One task writes the journal at a time, and one task the blocks.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use crate::clock::Clock;
use crate::config::sections::StoreSettings;
use crate::model::id::{RegionName, ServiceId};
use crate::model::time::{Timestamp, micros};
use crate::store::connection::{Database, StoreError};
use crate::store::directory::OpenDirectory;
use crate::store::journal::{BatchKey, JournalWriter, Pending};
use crate::store::roll::Due;
use crate::store::seal::SealPlan;
use crate::store::tail::SeriesTail;
use crate::store::values::{int, record, rows};

pub const HOUR_US: i64 = 3_600_000_000;

/// Cheap to share by `Arc`.
#[derive(Debug)]
pub struct Results {
    pub(super) inner: Arc<Inner>,
}

#[derive(Debug)]
pub(super) struct Inner {
    pub database: Arc<Database>,
    pub clock: Clock,
    pub limits: Limits,
    /// Blocks that end later than this have their failures by themselves too.
    pub failing_after: i64,
    pub memory: Mutex<Memory>,
    pub queue: Mutex<VecDeque<Pending>>,
    pub writer: tokio::sync::Mutex<JournalWriter>,
    pub sealer: tokio::sync::Mutex<Sealer>,
}

#[derive(Clone, Debug)]
pub(super) struct Limits {
    pub block_results: usize,
    pub block_span: i64,
    /// The longest span of any block in the store, also of those made under other settings.
    pub longest_span: i64,
    pub journal_bytes: u64,
    pub retain_results: Duration,
    pub retain_details: Duration,
    pub retain_minutes: Duration,
    pub details_per_hour: u32,
}

/// One service in one region.
pub(super) type SeriesKey = (ServiceId, RegionName);

#[derive(Debug, Default)]
pub(super) struct Memory {
    pub series: BTreeMap<SeriesKey, Series>,
    /// Blocks up to this serial are to be read; what later ones hold is still in the tails.
    pub visible: u64,
    /// Batches in the journal by position.
    pub entries: BTreeMap<u64, Entry>,
    /// The hours blocks end in.
    pub hours: BTreeSet<i64>,
    /// Batches whose results all lie in blocks: to be deleted.
    pub spent: Vec<Entry>,
    /// Hours whose rollups are to be made.
    pub due: Arc<Due>,
    /// Services whose results are let go of, now and whenever they come.
    pub purged: HashSet<ServiceId>,
    pub status: StoreStatus,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Series {
    pub tail: Arc<SeriesTail>,
    /// Since when the oldest result of the tail waits to be packed.
    pub waiting_since: Timestamp,
    /// Results that came with batches up to this position are in blocks, or purged.
    pub sealed_through: u64,
    /// Blocks up to this serial were purged.
    pub purged: u64,
    /// When the newest result in a block began; `None` where there is no block.
    pub latest_sealed: Option<i64>,
}

#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub key: BatchKey,
    pub bytes: u64,
    /// Results of it that are in no block yet.
    pub left: usize,
}

/// In the place of a region, marks the row of a service that was purged. No region is named so.
pub(super) const PURGED: &str = "";

#[derive(Debug, Default)]
pub(super) struct Sealer {
    /// Of the newest block in the store.
    pub serial: u64,
    /// Serials are taken from here; higher than `serial` after a transaction whose outcome was not told.
    pub next: u64,
    /// Transactions whose outcome was not told.
    pub unresolved: Vec<SealPlan>,
    /// Directory records that still take entries, by hour.
    pub open: BTreeMap<i64, OpenDirectory>,
    /// From where expired details are looked for next.
    pub details_from: Option<SeriesKey>,
}

/// What a person or a metric wants to know of the store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoreStatus {
    pub series: usize,
    pub journal_batches: usize,
    pub journal_bytes: u64,
    /// Results in no block yet, and the memory they take.
    pub tail_results: usize,
    pub tail_bytes: usize,
    /// Since start.
    pub batches_appended: u64,
    pub batches_repeated: u64,
    pub results_appended: u64,
    pub blocks_sealed: u64,
    pub results_sealed: u64,
    pub block_bytes: u64,
    pub details_omitted: u64,
    /// Blocks whose bytes were read for pages of results; of these, those that had to be unpacked, and those of which the
    /// failures alone were.
    pub blocks_read: u64,
    pub blocks_unpacked: u64,
    pub blocks_skimmed: u64,
    pub last_seal: Option<Timestamp>,
    pub last_error: Option<String>,
}

/// Tails and the serial that belongs to them, taken at one instant.
pub(super) struct Snapshot {
    pub tails: Vec<(SeriesKey, Series)>,
    pub visible: u64,
    pub hours: BTreeSet<i64>,
    pub due: Arc<Due>,
    /// Blocks of a series up to a serial that were purged but may still be named.
    purged: HashMap<SeriesKey, u64>,
}

impl Snapshot {
    /// Whether all of a series was let go of.
    pub fn is_purged(&self, key: &SeriesKey) -> bool {
        self.purged.contains_key(key)
    }

    /// Whether a block belongs to what was there at the instant of the snapshot.
    pub fn shows(&self, key: &SeriesKey, serial: u64) -> bool {
        serial <= self.visible && self.purged.get(key).is_none_or(|purged| serial > *purged)
    }
}

impl Results {
    /// Reads where the journal and the blocks stand, and what in the journal is in no block yet.
    pub async fn open(database: Arc<Database>, settings: &StoreSettings, clock: Clock) -> Result<Results, StoreError> {
        let block_span = micros(settings.block_span).max(1);
        let mut answer = database.query("SELECT * FROM seal_head", vec![]).await?;
        let head = rows(&mut answer, 0)?.pop();
        let (serial, span) = match &head {
            Some(row) => (row.unsigned("serial")?, row.int("span")?),
            None => (0, 0),
        };
        let limits = Limits {
            block_results: settings.block_results.clamp(1, crate::store::columns::MOST_ROWS),
            block_span,
            longest_span: span.max(block_span),
            journal_bytes: settings.journal_max_bytes,
            retain_results: settings.retain_results,
            retain_details: settings.retain_details,
            retain_minutes: settings.retain_minutes,
            details_per_hour: settings.details_per_hour,
        };
        let mut memory = Memory { visible: serial, ..Memory::default() };
        let mut answer = database.query("SELECT * FROM series", vec![]).await?;
        for row in rows(&mut answer, 0)? {
            let key = row.key()?;
            let name = (service_id(key.int(0)?)?, RegionName::from(key.text(1)?));
            if &*name.1.0 == PURGED {
                memory.purged.insert(name.0);
                continue;
            }
            let latest = row.int("latest")?;
            let series = Series {
                sealed_through: row.unsigned("sealed_through")?,
                purged: row.unsigned("purged")?,
                latest_sealed: (latest != i64::MIN).then_some(latest),
                ..Series::default()
            };
            memory.series.insert(name, series);
        }
        let mut answer = database.query("SELECT * FROM directory_hour", vec![]).await?;
        for row in rows(&mut answer, 0)? {
            memory.hours.insert(row.key_number()?);
        }
        let newest = memory.series.values().filter_map(|series| series.latest_sealed).max();
        let inner = Inner {
            failing_after: failing_after(&database, newest).await?,
            database,
            clock,
            limits,
            memory: Mutex::new(memory),
            queue: Mutex::default(),
            writer: tokio::sync::Mutex::default(),
            sealer: tokio::sync::Mutex::new(Sealer { serial, next: serial, ..Sealer::default() }),
        };
        inner.replay().await?;
        inner.load_due().await?;
        inner.count_known_details().await?;
        Ok(Results { inner: Arc::new(inner) })
    }

    pub fn status(&self) -> StoreStatus {
        let memory = self.inner.memory();
        StoreStatus {
            series: memory.series.len(),
            journal_batches: memory.entries.len() + memory.spent.len(),
            journal_bytes: memory.journal_bytes(),
            tail_results: memory.series.values().map(|series| series.tail.rows().len()).sum(),
            tail_bytes: memory.series.values().map(|series| series.tail.size()).sum(),
            ..memory.status.clone()
        }
    }
}

impl Memory {
    pub fn journal_bytes(&self) -> u64 {
        self.entries.values().chain(&self.spent).map(|entry| entry.bytes).sum()
    }
}

impl Inner {
    pub fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().expect("no holder panics")
    }

    /// The series of one service, or all of them.
    pub fn snapshot(&self, service: Option<ServiceId>) -> Snapshot {
        let memory = self.memory();
        let tails: Vec<(SeriesKey, Series)> = match service {
            None => memory.series.iter().map(|(key, series)| (key.clone(), series.clone())).collect(),
            Some(service) => {
                let from = Bound::Included((service, RegionName::from("")));
                let series = memory.series.range((from, Bound::Unbounded)).take_while(|((other, _), _)| *other == service);
                series.map(|(key, series)| (key.clone(), series.clone())).collect()
            }
        };
        let purged = tails.iter().filter(|(_, series)| series.purged > 0).map(|(key, series)| (key.clone(), series.purged)).collect();
        Snapshot { tails, visible: memory.visible, hours: memory.hours.clone(), due: memory.due.clone(), purged }
    }

    /// Keeps an error for the status and hands it on.
    pub fn noted(&self, error: StoreError) -> StoreError {
        self.memory().status.last_error = Some(error.to_string());
        error
    }
}

/// Blocks up to this instant were written before failures lay by themselves; where nobody has said yet, those up to the newest.
async fn failing_after(database: &Database, newest: Option<i64>) -> Result<i64, StoreError> {
    let mut answer = database.query("SELECT * FROM failing_head", vec![]).await?;
    if let Some(row) = rows(&mut answer, 0)?.pop() {
        return row.int("after");
    }
    let after = newest.unwrap_or(i64::MIN);
    let values = vec![("id", record("failing_head", 1)), ("after", int(after))];
    database.query("CREATE $id SET after = $after RETURN NONE", values).await?;
    Ok(after)
}

pub(super) fn service_id(number: i64) -> Result<ServiceId, StoreError> {
    u32::try_from(number).map(ServiceId).map_err(|_| crate::store::values::corrupt("key", format!("service {number}")))
}

/// The hour an instant lies in, counted from the epoch.
pub(super) fn hour_of(us: i64) -> i64 {
    us.div_euclid(HOUR_US)
}
