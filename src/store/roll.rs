//! Making rollups: an hour of a series at a time, from all its results, once they are in blocks.
//!
//! The transaction that seals results marks the hours they lie in as due; the one that writes an hour's rollups takes the
//! mark away. So whatever comes late, or twice, or is cut off in between, an hour is made from what the blocks hold, or is
//! still marked and made anew.
//!
//! **Invariant.** An hour without a mark, and without results in the tail of its series, has the rollups of exactly the
//! results in its blocks.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use surrealdb::types::Value;

use crate::aggregate::rollup::{DAY, HOUR, Part, Rule, joined, minutes};
use crate::aggregate::verdict::Turn;
use crate::model::check::CheckResult;
use crate::model::id::{RegionName, ServiceId};
use crate::model::time::{Timestamp, micros};
use crate::store::blocks::BlockRef;
use crate::store::codec::{Block, order};
use crate::store::columns::Damage;
use crate::store::connection::StoreError;
use crate::store::directory::decode as decode_directory;
use crate::store::results::{Inner, Results, Sealer, SeriesKey, hour_of, service_id};
use crate::store::rollup_codec::{HourCounts, Parts, SeriesCount, decode, decode_counts, encode, encode_counts};
use crate::store::values::{array, bytes, corrupt, int, object, record, record_of, rows, text, unsigned};

/// Hours of series made by one transaction: their bytes stay far below what the engine takes at once.
const SLICE: usize = 24;
/// For the results of a service that is gone.
const USUAL_RULE: Rule = Rule { gap: Duration::from_secs(300), failure: 1, success: 1 };

/// How time in a state is reckoned for a service at an instant; `None` for one that is not known any more.
pub type Rules = Arc<dyn Fn(ServiceId, Timestamp) -> Option<Rule> + Send + Sync>;

/// Hours from the epoch with the series whose rollups are to be made.
pub(super) type Due = BTreeMap<i64, BTreeSet<SeriesKey>>;

/// What one call did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rolled {
    /// Services whose rollups are new.
    pub services: BTreeSet<ServiceId>,
    pub hours: usize,
    /// There is more to do now.
    pub more: bool,
}

/// One series and hour as it is made.
struct Made {
    key: SeriesKey,
    minutes: Parts,
    hours: Parts,
    count: SeriesCount,
    /// The hour after it stands on how this one ends, and that has changed.
    next_is_due: bool,
}

impl Results {
    /// Makes a slice of the rollups that are due. An actor calls it with sealing.
    pub async fn roll(&self, now: Timestamp, rules: Rules) -> Result<Rolled, StoreError> {
        let inner = self.inner.clone();
        // In a task of its own: a caller that goes away must not leave a transaction without what follows it.
        let task = tokio::spawn(async move {
            let mut sealer = inner.sealer.lock().await;
            let outcome = inner.roll_slice(&mut sealer, now, &rules).await;
            outcome.map_err(|error| inner.noted(error))
        });
        task.await.unwrap_or(Err(StoreError::Closed))
    }
}

impl Inner {
    /// On start: the marks, and a mark for every hour of blocks that are older than marks.
    pub async fn load_due(&self) -> Result<(), StoreError> {
        let mut answer = self.database.query("SELECT * FROM rollup_start; SELECT id FROM rollup_due", vec![]).await?;
        let started = !rows(&mut answer, 0)?.is_empty();
        let mut due = Due::new();
        for row in rows(&mut answer, 1)? {
            let key = row.key()?;
            due.entry(key.int(0)?).or_default().insert((service_id(key.int(1)?)?, RegionName::from(key.text(2)?)));
        }
        if !started {
            let hours: Vec<i64> = self.memory().hours.iter().copied().collect();
            for hour in hours {
                for record in self.directory_records(hour, hour).await? {
                    let entries = decode_directory(&record.data).map_err(|error| corrupt("directory", error))?;
                    let marks: BTreeSet<(i64, SeriesKey)> = entries
                        .iter()
                        .flat_map(|entry| (hour_of(entry.start)..=hour_of(entry.end)).map(|hour| (hour, entry.series())))
                        .collect();
                    let values = vec![("due", array(marks.iter().map(|(hour, key)| due_row(*hour, key, 0))))];
                    self.database.query(MARK, values).await?;
                    for (hour, key) in marks {
                        due.entry(hour).or_default().insert(key);
                    }
                }
            }
            self.database.query("UPSERT $id RETURN NONE", vec![("id", record("rollup_start", 1))]).await?;
        }
        self.memory().due = Arc::new(due);
        Ok(())
    }

    async fn roll_slice(&self, sealer: &mut Sealer, now: Timestamp, rules: &Rules) -> Result<Rolled, StoreError> {
        if !sealer.unresolved.is_empty() {
            self.resolve_seals(sealer).await?;
        }
        let Some((hour, keys, more)) = self.ripe(now) else { return Ok(Rolled::default()) };
        let start = hour.saturating_mul(HOUR);
        // Its blocks may be forgotten already: what was made of them stays as it is.
        let forgotten = start.saturating_add(HOUR) <= now.minus(self.limits.retain_results).0;
        let made = match forgotten {
            true => Vec::new(),
            false => self.make(hour, &keys, now, rules).await?,
        };
        let values = self.roll_values(sealer.serial, hour, &keys, &made).await?;
        self.database.query(ROLL, values).await?;
        let services = made.iter().map(|made| made.key.0).collect();
        let mut memory = self.memory();
        let due = Arc::make_mut(&mut memory.due);
        if let Some(left) = due.get_mut(&hour) {
            left.retain(|key| !keys.contains(key));
            if left.is_empty() {
                due.remove(&hour);
            }
        }
        for made in made.into_iter().filter(|made| made.next_is_due) {
            due.entry(hour + 1).or_default().insert(made.key);
        }
        Ok(Rolled { services, hours: keys.len(), more })
    }

    /// The oldest hour with marks of series that have nothing of it in their tails, some of these, and whether there are more.
    fn ripe(&self, now: Timestamp) -> Option<(i64, Vec<SeriesKey>, bool)> {
        let memory = self.memory();
        let ended = memory.due.range(..hour_of(now.0));
        let mut found: Option<(i64, Vec<SeriesKey>)> = None;
        for (hour, keys) in ended {
            let within = |started: i64| hour_of(started) == *hour;
            let waits =
                |key: &&SeriesKey| memory.series.get(*key).is_none_or(|series| !series.tail.rows().iter().any(|row| within(row.started)));
            let mut ripe = keys.iter().filter(waits);
            match &found {
                None => {
                    let some: Vec<SeriesKey> = ripe.by_ref().take(SLICE).cloned().collect();
                    let more = ripe.next().is_some();
                    match (some.is_empty(), more) {
                        (true, _) => {}
                        (false, true) => return Some((*hour, some, true)),
                        (false, false) => found = Some((*hour, some)),
                    }
                }
                Some((first, some)) if ripe.next().is_some() => return Some((*first, some.clone(), true)),
                Some(_) => {}
            }
        }
        found.map(|(hour, some)| (hour, some, false))
    }

    async fn make(&self, hour: i64, keys: &[SeriesKey], now: Timestamp, rules: &Rules) -> Result<Vec<Made>, StoreError> {
        let mut blocks = self.hour_blocks(hour, keys).await?;
        let start = hour.saturating_mul(HOUR);
        let day = start.div_euclid(DAY) * DAY;
        let stored = self.hour_rollups(keys, &[day - DAY, day]).await?;
        let mut all = Vec::new();
        for key in keys {
            let Some(blocks) = blocks.remove(key) else { continue };
            let before = stored.get(&(key.clone(), day - DAY));
            let mut hours = stored.get(&(key.clone(), day)).cloned().unwrap_or_default();
            let old = hours.get(&start).map(|part| part.held);
            let previous = hours.range(..start).next_back().or_else(|| before.and_then(|parts| parts.iter().next_back()));
            let rule = old.map(|held| held.rule).or_else(|| rules(key.0, Timestamp(start)));
            let rule = rule.or(previous.map(|(_, part)| part.held.rule)).unwrap_or(USUAL_RULE);
            let from = previous.map_or(Turn::UNHEARD, |(_, part)| part.held.turn);
            let packed = key.clone();
            // Unpacked one series after the other, on a thread where it holds nobody up.
            let unpacked = tokio::task::spawn_blocking(move || {
                let mut results = Vec::new();
                let mut omitted = 0;
                for data in blocks {
                    omitted += take_rows(&data, &packed, start, start.saturating_add(HOUR), &mut results)?;
                }
                results.sort_by(|one, other| order(one).cmp(&order(other)));
                Ok::<_, StoreError>((minutes(&results, rule, from), omitted))
            });
            let (minutes, omitted) = unpacked.await.map_err(|error| corrupt("block", error))??;
            let Some(part) = joined(minutes.values()) else { continue };
            let stands = rule.failure.max(rule.success) > 1 && old.is_none_or(|old| old.turn != part.held.turn);
            let next_is_due = stands && hour + 1 < hour_of(now.0);
            let count = SeriesCount { checks: part.rollup.checks, failures: part.rollup.failures.clone(), omitted };
            hours.insert(start, part);
            all.push(Made { key: key.clone(), minutes, hours, count, next_is_due });
        }
        Ok(all)
    }

    /// The blocks of some series that hold results of one hour.
    async fn hour_blocks(&self, hour: i64, keys: &[SeriesKey]) -> Result<BTreeMap<SeriesKey, Vec<Bytes>>, StoreError> {
        let snapshot = self.snapshot(None);
        let last = hour_of((hour + 1).saturating_mul(HOUR).saturating_add(self.limits.longest_span));
        let wanted: BTreeSet<&SeriesKey> = keys.iter().collect();
        let (from, to) = (hour.saturating_mul(HOUR), (hour + 1).saturating_mul(HOUR));
        let mut blocks: Vec<BlockRef> = Vec::new();
        for entry in self.directory(&snapshot, hour, last).await? {
            if entry.start < to && entry.end >= from && wanted.contains(&entry.series()) {
                blocks.push(BlockRef {
                    service: entry.service,
                    region: entry.region,
                    start: entry.start,
                    end: entry.end,
                    serial: entry.serial,
                    data: None,
                });
            }
        }
        let mut found: BTreeMap<SeriesKey, Vec<Bytes>> = BTreeMap::new();
        for blocks in blocks.chunks_mut(128) {
            self.fill(blocks.iter_mut()).await?;
            for block in blocks {
                if let Some(data) = block.data.take() {
                    found.entry((block.service, block.region.clone())).or_default().push(data);
                }
            }
        }
        Ok(found)
    }

    /// The stored hours of these series on these days.
    async fn hour_rollups(&self, keys: &[SeriesKey], days: &[i64]) -> Result<BTreeMap<(SeriesKey, i64), Parts>, StoreError> {
        let ids = array(keys.iter().flat_map(|key| days.iter().map(|day| part_id("rollup_hour", key, *day))));
        let mut answer = self.database.query("SELECT * FROM $ids", vec![("ids", ids)]).await?;
        let mut found = BTreeMap::new();
        for row in rows(&mut answer, 0)? {
            let key = row.key()?;
            let series = (service_id(key.int(0)?)?, RegionName::from(key.text(1)?));
            let parts = decode(&row.bytes("data")?).map_err(|error| corrupt("rollup", error))?;
            found.insert((series, key.int(2)?), parts);
        }
        Ok(found)
    }

    async fn roll_values(
        &self,
        serial: u64,
        hour: i64,
        keys: &[SeriesKey],
        made: &[Made],
    ) -> Result<Vec<(&'static str, Value)>, StoreError> {
        let start = hour.saturating_mul(HOUR);
        let day = start.div_euclid(DAY) * DAY;
        let mut counts = self.hour_counts(hour, hour).await?.remove(&hour).unwrap_or_default();
        let row = |table: &str, key: &SeriesKey, at: i64, data: Vec<u8>| object([("id", part_id(table, key, at)), ("data", bytes(data))]);
        let (mut of_minutes, mut of_hours, mut of_days, mut next) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for made in made {
            of_minutes.push(row("rollup_minute", &made.key, start, encode(&made.minutes)));
            of_hours.push(row("rollup_hour", &made.key, day, encode(&made.hours)));
            let whole: Option<Part> = joined(made.hours.values());
            of_days.extend(whole.map(|whole| row("rollup_day", &made.key, day, encode([(&day, &whole)]))));
            counts.insert(made.key.clone(), made.count.clone());
            if made.next_is_due {
                next.push(due_row(hour + 1, &made.key, serial));
            }
        }
        Ok(vec![
            ("head", record("seal_head", 1)),
            ("expected", unsigned(serial)),
            ("minutes", array(of_minutes)),
            ("hours", array(of_hours)),
            ("days", array(of_days)),
            ("hour", record_of("hour_count", vec![int(hour)])),
            ("counts", bytes(encode_counts(&counts))),
            ("done", array(keys.iter().map(|key| due_id(hour, key)))),
            ("next", array(next)),
        ])
    }

    /// What all series came to, by the hour, both ends included.
    pub async fn hour_counts(&self, first: i64, last: i64) -> Result<BTreeMap<i64, HourCounts>, StoreError> {
        let values = vec![("from", int(first)), ("to", int(last.saturating_add(1)))];
        let mut answer = self.database.query("SELECT * FROM hour_count:[$from]..[$to]", values).await?;
        let mut found = BTreeMap::new();
        for row in rows(&mut answer, 0)? {
            let counts = decode_counts(&row.bytes("data")?).map_err(|error| corrupt("hour count", error))?;
            found.insert(row.key()?.int(0)?, counts);
        }
        Ok(found)
    }
}

/// Adds the rows of a block that began in a window, and says how many of them have lost their details.
pub(super) fn take_rows(data: &[u8], key: &SeriesKey, from: i64, to: i64, into: &mut Vec<CheckResult>) -> Result<u64, StoreError> {
    let damaged = |damage: Damage| corrupt("block", damage);
    let block = Block::parse(data).map_err(damaged)?.unpack(key.0, key.1.clone()).map_err(damaged)?;
    let mut omitted = 0;
    for row in (0..block.rows()).filter(|row| (from..to).contains(&block.started(*row))) {
        omitted += u64::from(block.omitted(row));
        into.push(block.result(row).map_err(damaged)?);
    }
    Ok(omitted)
}

pub(super) fn part_id(table: &str, (service, region): &SeriesKey, at: i64) -> Value {
    record_of(table, vec![int(service.0.into()), text(&region.0), int(at)])
}

/// Its serial makes two transactions that touch the same mark meet.
pub(super) fn due_row(hour: i64, key: &SeriesKey, serial: u64) -> Value {
    object([("id", due_id(hour, key)), ("serial", unsigned(serial))])
}

fn due_id(hour: i64, (service, region): &SeriesKey) -> Value {
    record_of("rollup_due", vec![int(hour), int(service.0.into()), text(&region.0)])
}

pub(super) fn longest_hold(gap: Duration) -> i64 {
    micros(crate::aggregate::verdict::silence(gap))
}

const MARK: &str = "INSERT INTO rollup_due $due ON DUPLICATE KEY UPDATE serial = $input.serial RETURN NONE";

const ROLL: &str = "BEGIN;
    IF ($head.serial ?? 0) != $expected { THROW 'blocks were written by another writer' };
    IF array::len($minutes) > 0 {
        INSERT INTO rollup_minute $minutes ON DUPLICATE KEY UPDATE data = $input.data RETURN NONE;
        INSERT INTO rollup_hour $hours ON DUPLICATE KEY UPDATE data = $input.data RETURN NONE;
        INSERT INTO rollup_day $days ON DUPLICATE KEY UPDATE data = $input.data RETURN NONE;
        UPSERT $hour SET data = $counts RETURN NONE;
    };
    DELETE $done RETURN NONE;
    IF array::len($next) > 0 {
        INSERT INTO rollup_due $next ON DUPLICATE KEY UPDATE serial = $input.serial RETURN NONE;
    };
    COMMIT";
