//! Counting results: over a span for the API, by the hour for whoever starts and wants to know how things stand.
//!
//! Blocks that lie wholly inside what is asked for are counted from the directory; only those that straddle an end of it
//! are unpacked. Hours whose rollups are made are counted from these alone.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::check::{CheckResult, Reason};
use crate::model::id::{RegionName, ServiceId};
use crate::model::time::Timestamp;
use crate::store::blocks::BlockRef;
use crate::store::codec::{Block, Summary, Unpacked, us};
use crate::store::columns::Damage;
use crate::store::connection::StoreError;
use crate::store::directory::{DirectoryEntry, hour_start};
use crate::store::results::{Inner, Results, Series, SeriesKey, Snapshot, hour_of};
use crate::store::rollup_codec::HourCounts;
use crate::store::values::corrupt;

/// Straddling blocks read at once.
const FETCH: usize = 64;
/// Hours that [`Results::newest`] counts.
const NEWEST_HOURS: i64 = 24;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    pub checks: u64,
    /// Most frequent first.
    pub failures: Vec<(Reason, u64)>,
    /// Most failures first.
    pub services: Vec<ServiceCount>,
    /// Failing or retried checks whose attempts and evidence were left out.
    pub omitted_details: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServiceCount {
    pub service: ServiceId,
    pub checks: u64,
    pub failures: u64,
}

/// How one service stands in one region.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewestResult {
    pub service: ServiceId,
    pub region: RegionName,
    /// Without attempts and evidence; `None` where it was forgotten between two reads.
    pub newest: Option<CheckResult>,
    /// The last 24 hours that have results, oldest first.
    pub hours: Vec<HourCount>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HourCount {
    pub hour: Timestamp,
    pub checks: u64,
    pub failures: u64,
}

impl Results {
    /// Counts the checks that began at `since` or later and before `until`.
    pub async fn statistics(&self, since: Timestamp, until: Timestamp) -> Result<Statistics, StoreError> {
        let mut all = Summary::default();
        let mut services: BTreeMap<ServiceId, Summary> = BTreeMap::new();
        let snapshot = self.inner.snapshot(None);
        let last = until.0.saturating_sub(1);
        self.inner
            .count(&snapshot, since.0, last, |(service, _), _, counted| {
                all.merge(counted);
                services.entry(*service).or_default().merge(counted);
            })
            .await?;
        let mut failures: Vec<(Reason, u64)> =
            all.failures.iter().filter_map(|(code, count)| Some((Reason::from_code(*code)?, *count))).collect();
        failures.sort_by_key(|(reason, count)| (std::cmp::Reverse(*count), *reason));
        let mut services: Vec<ServiceCount> = services
            .into_iter()
            .map(|(service, counted)| ServiceCount { service, checks: counted.checks, failures: counted.failed() })
            .collect();
        services.sort_by_key(|count| (std::cmp::Reverse(count.failures), count.service));
        Ok(Statistics { checks: all.checks, failures, services, omitted_details: all.omitted })
    }

    /// The newest result of each series and its last 24 hours by the hour: what a board is rebuilt from on start.
    pub async fn newest(&self) -> Result<Vec<NewestResult>, StoreError> {
        let snapshot = self.inner.snapshot(None);
        let now = self.inner.clock.now();
        let first = hour_start(hour_of(now.0) - (NEWEST_HOURS - 1)).0;
        let mut hours: BTreeMap<SeriesKey, BTreeMap<i64, (u64, u64)>> = BTreeMap::new();
        self.inner
            .count(&snapshot, first, i64::MAX, |series, hour, counted| {
                let (checks, failures) = hours.entry(series.clone()).or_default().entry(hour).or_default();
                *checks += counted.checks;
                *failures += counted.failed();
            })
            .await?;
        let mut newest = Vec::new();
        for ((service, region), series) in &snapshot.tails {
            let key = (*service, region.clone());
            let counts = hours.remove(&key).unwrap_or_default().into_iter();
            let counts = counts.map(|(hour, (checks, failures))| HourCount { hour: hour_start(hour), checks, failures });
            let result = self.inner.newest_of(&snapshot, &key, series).await?;
            if result.is_none() && counts.len() == 0 {
                continue;
            }
            newest.push(NewestResult { service: *service, region: region.clone(), newest: result, hours: counts.collect() });
        }
        Ok(newest)
    }
}

impl Inner {
    /// Counts what began within the bounds, both included: `count` is told series, hour and a summary, several times each.
    /// Latencies in these are not to be relied on.
    async fn count(
        &self,
        snapshot: &Snapshot,
        first: i64,
        last: i64,
        mut count: impl FnMut(&SeriesKey, i64, &Summary) + Send,
    ) -> Result<(), StoreError> {
        if first > last {
            return Ok(());
        }
        for (key, series) in &snapshot.tails {
            // What the tail holds makes its hours unsettled, so none of it is counted twice.
            count_tail(key, series, first, last, &mut count);
        }
        let settled = self.settled(snapshot, first, last).await?;
        for (hour, counts) in &settled {
            for (key, counted) in counts.iter().filter(|(key, _)| !snapshot.is_purged(key)) {
                let failures = counted.failures.iter().map(|(reason, count)| (reason.code(), *count)).collect();
                let (checks, omitted) = (counted.checks, counted.omitted);
                count(key, *hour, &Summary { checks, failures, omitted, ..Summary::default() });
            }
        }
        let hours: Vec<i64> =
            snapshot.hours.range(hour_of(first)..=hour_of(last.saturating_add(self.limits.longest_span))).copied().collect();
        let mut straddling: Vec<DirectoryEntry> = Vec::new();
        let counted = |hour: i64| settled.contains_key(&hour) || hour < hour_of(first) || hour > hour_of(last);
        for hour in hours {
            // Blocks that end in this hour began no earlier than this.
            let earliest = hour_of(hour_start(hour).0.saturating_sub(self.limits.longest_span));
            if (earliest..=hour).all(counted) {
                continue;
            }
            for entry in self.directory(snapshot, hour, hour).await? {
                if entry.end < first || entry.start > last || (hour_of(entry.start)..=hour).all(counted) {
                    continue;
                }
                // Within one hour it is that hour's, whole.
                if entry.start >= first && entry.end <= last && hour_of(entry.start) == hour {
                    count(&entry.series(), hour, &entry.summary);
                } else {
                    straddling.push(entry);
                }
            }
        }
        for entries in straddling.chunks(FETCH) {
            self.count_blocks(entries, first, last, &settled, &mut count).await?;
        }
        Ok(())
    }

    /// The counts of the hours that lie wholly within the bounds and have nothing left to be rolled up.
    async fn settled(&self, snapshot: &Snapshot, first: i64, last: i64) -> Result<BTreeMap<i64, HourCounts>, StoreError> {
        let from = hour_of(first.saturating_sub(1)).saturating_add(1);
        let to = hour_of(last.saturating_add(1)).saturating_sub(1);
        if from > to {
            return Ok(BTreeMap::new());
        }
        let mut settled = self.hour_counts(from, to).await?;
        settled.retain(|hour, _| !snapshot.due.contains_key(hour));
        for (_, series) in &snapshot.tails {
            let waiting: BTreeSet<i64> = series.tail.rows().iter().map(|row| hour_of(row.started)).collect();
            settled.retain(|hour, _| !waiting.contains(hour));
        }
        Ok(settled)
    }

    async fn count_blocks(
        &self,
        entries: &[DirectoryEntry],
        first: i64,
        last: i64,
        settled: &BTreeMap<i64, HourCounts>,
        count: &mut (impl FnMut(&SeriesKey, i64, &Summary) + Send),
    ) -> Result<(), StoreError> {
        let mut blocks: Vec<BlockRef> = entries
            .iter()
            .map(|entry| BlockRef {
                service: entry.service,
                region: entry.region.clone(),
                start: entry.start,
                end: entry.end,
                serial: entry.serial,
                data: None,
            })
            .collect();
        self.fill(blocks.iter_mut()).await?;
        for block in blocks {
            let Some(data) = block.data else { continue };
            let key = (block.service, block.region);
            let mut hours: BTreeMap<i64, Summary> = BTreeMap::new();
            let rows = Block::parse(&data).and_then(|block| block.tally()).map_err(|damage| corrupt("block", damage))?;
            let wanted = |started: i64| (first..=last).contains(&started) && !settled.contains_key(&hour_of(started));
            for row in rows.into_iter().filter(|row| wanted(row.started)) {
                hours.entry(hour_of(row.started)).or_default().add(0, row.reason, row.omitted);
            }
            for (hour, summary) in hours {
                count(&key, hour, &summary);
            }
        }
        Ok(())
    }

    async fn newest_of(&self, snapshot: &Snapshot, key: &SeriesKey, series: &Series) -> Result<Option<CheckResult>, StoreError> {
        let rows = series.tail.rows().iter().enumerate();
        let waiting = rows.max_by_key(|(_, row)| row.started);
        if let Some((row, known)) = waiting
            && series.latest_sealed.is_none_or(|latest| known.started >= latest)
        {
            return Ok(Some(series.tail.result(key.0, &key.1, row).result));
        }
        let Some(latest) = series.latest_sealed else { return Ok(None) };
        for block in self.blocks_of(key, latest, latest).await? {
            let Some(data) = block.data.filter(|_| snapshot.shows(key, block.serial)) else { continue };
            let block = unpack(&data, key)?;
            if let Some(last) = block.rows().checked_sub(1) {
                return block.result(last).map(Some).map_err(|damage| corrupt("block", damage));
            }
        }
        Ok(waiting.map(|(row, _)| series.tail.result(key.0, &key.1, row).result))
    }
}

fn count_tail(key: &SeriesKey, series: &Series, first: i64, last: i64, count: &mut impl FnMut(&SeriesKey, i64, &Summary)) {
    let mut hours: BTreeMap<i64, Summary> = BTreeMap::new();
    for (row, known) in series.tail.rows().iter().enumerate().filter(|(_, row)| (first..=last).contains(&row.started)) {
        let summary = hours.entry(hour_of(known.started)).or_default();
        if known.failed {
            let result = series.tail.result(key.0, &key.1, row).result;
            summary.add(us(result.latency) as u64, result.failure.map(|failure| failure.reason), known.omitted);
        } else {
            summary.add(0, None, known.omitted);
        }
    }
    for (hour, summary) in hours {
        count(key, hour, &summary);
    }
}

fn unpack(data: &[u8], key: &SeriesKey) -> Result<Unpacked, StoreError> {
    let damaged = |damage: Damage| corrupt("block", damage);
    Block::parse(data).map_err(damaged)?.unpack(key.0, key.1.clone()).map_err(damaged)
}
