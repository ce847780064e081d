//! Reading rollups. What is not made yet, the running hour above all, is made here on the way from blocks and tails, so that
//! a reader never knows where the one ends and the other begins.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::aggregate::rollup::{DAY, HOUR, Held, MINUTE, Part, Rollup, Rule, Times, floor, joined, minutes, times};
use crate::aggregate::verdict::Turn;
use crate::model::check::CheckResult;
use crate::model::id::{RegionName, ServiceId};
use crate::model::span::{Span, clipped, total, union};
use crate::model::time::Timestamp;
use crate::store::codec::order;
use crate::store::connection::StoreError;
use crate::store::results::{Inner, Results, Series, SeriesKey, Snapshot, hour_of};
use crate::store::roll::{longest_hold, take_rows};
use crate::store::rollup_codec::{Parts, decode};
use crate::store::values::{corrupt, int, rows, text};

/// A state is looked for so far back at most, where a schedule has long gaps.
pub(super) const LOOK_BACK: i64 = 7 * DAY;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resolution {
    Minute,
    Hour,
    Day,
}

impl Resolution {
    pub const ALL: [Resolution; 3] = [Resolution::Minute, Resolution::Hour, Resolution::Day];

    pub fn name(self) -> &'static str {
        match self {
            Resolution::Minute => "1m",
            Resolution::Hour => "1h",
            Resolution::Day => "1d",
        }
    }

    pub fn from_name(name: &str) -> Option<Resolution> {
        Resolution::ALL.into_iter().find(|resolution| resolution.name() == name)
    }

    pub fn span(self) -> i64 {
        match self {
            Resolution::Minute => MINUTE,
            Resolution::Hour => HOUR,
            Resolution::Day => DAY,
        }
    }

    /// What one record of it covers.
    pub(super) fn record_span(self) -> i64 {
        if self == Resolution::Minute { HOUR } else { DAY }
    }
}

#[derive(Clone, Debug)]
pub struct RollupQuery {
    pub service: ServiceId,
    /// `None`: all, merged.
    pub region: Option<String>,
    pub resolution: Resolution,
    /// Taken down to the start of its span…
    pub since: Timestamp,
    /// …and this one up to the end of its.
    pub until: Timestamp,
    /// For hours that have no rollups yet.
    pub rule: Rule,
}

/// A span with something known of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Bucket {
    pub start: Timestamp,
    /// Or now, in the running one.
    pub end: Timestamp,
    pub rollup: Rollup,
    /// Of all regions together.
    pub times: Times,
    pub regions: usize,
}

impl Bucket {
    /// Microseconds that could be known: the span, once for each region.
    pub fn window(&self) -> i64 {
        (self.end.0 - self.start.0).saturating_mul(self.regions as i64)
    }
}

/// Up-time and coverage of a window that ends now.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct WindowUptime {
    pub window: Duration,
    /// Up-time over known time, both outside maintenance; `None` where nothing is known.
    pub ratio: Option<f64>,
    /// Known time over all time, both outside maintenance.
    pub coverage: f64,
    /// Of the window.
    pub maintenance: Duration,
}

/// One series as a reader sees it.
pub(super) struct Source<'a> {
    pub snapshot: &'a Snapshot,
    pub key: &'a SeriesKey,
    pub series: &'a Series,
    /// For hours that have no rollups yet.
    pub rule: Rule,
}

impl Results {
    /// The regions a service has results from.
    pub fn regions(&self, service: ServiceId) -> Vec<RegionName> {
        let snapshot = self.inner.snapshot(Some(service));
        let mut regions: Vec<RegionName> = snapshot.tails.iter().map(|(key, _)| key.1.clone()).collect();
        regions.sort();
        regions
    }

    /// The spans of a window that have checks or known time, oldest first. Those of regions are merged.
    pub async fn rollups(&self, query: &RollupQuery, now: Timestamp) -> Result<Vec<Bucket>, StoreError> {
        let span = query.resolution.span();
        let since = floor(query.since, span);
        let until = floor(Timestamp(query.until.0.min(now.0).saturating_add(span - 1)), span);
        let snapshot = self.inner.snapshot(Some(query.service));
        let mut buckets: BTreeMap<i64, Bucket> = BTreeMap::new();
        let mut regions = 0;
        for (key, series) in &snapshot.tails {
            if query.region.as_ref().is_some_and(|region| **region != *key.1.0) {
                continue;
            }
            let from = since - longest_hold(query.rule.gap).min(LOOK_BACK);
            let source = Source { snapshot: &snapshot, key, series, rule: query.rule };
            let parts = self.inner.parts(&source, query.resolution, from, until).await?;
            regions += usize::from(!parts.is_empty());
            for (start, rollup, times) in spans(&parts, since, until, span, now) {
                let end = Timestamp((start + span).min(now.0));
                let empty = Bucket { start: Timestamp(start), end, rollup: Rollup::default(), times: Times::default(), regions: 0 };
                let bucket = buckets.entry(start).or_insert(empty);
                bucket.times.add(times);
                if let Some(rollup) = rollup {
                    bucket.rollup.merge(rollup);
                }
            }
        }
        Ok(buckets.into_values().map(|bucket| Bucket { regions, ..bucket }).collect())
    }

    /// Up-time and coverage of the windows that end now. Windows begin with a full hour. `excluded` is maintenance: spans of
    /// whole minutes in order, which count neither as known nor as time.
    pub async fn uptime(
        &self,
        service: ServiceId,
        windows: &[Duration],
        rule: Rule,
        excluded: &[Span],
        now: Timestamp,
    ) -> Result<Vec<WindowUptime>, StoreError> {
        let snapshot = self.inner.snapshot(Some(service));
        let today = floor(now, DAY);
        let longest = windows.iter().max().copied().unwrap_or_default();
        let mut sums = vec![(Times::default(), 0i64); windows.len()];
        let whole = |window: Duration| Span::new(Timestamp(floor(now.minus(window), HOUR)), now);
        let excluded: Vec<Vec<Span>> = windows.iter().map(|window| clipped(excluded, whole(*window))).collect();
        let all_excluded: Vec<Span> = union(excluded.iter().flatten().copied());
        for (key, series) in &snapshot.tails {
            let from = floor(now.minus(longest), DAY) - longest_hold(rule.gap).min(LOOK_BACK);
            let source = Source { snapshot: &snapshot, key, series, rule };
            let days = self.inner.parts(&source, Resolution::Day, from, today).await?;
            let running = self.inner.parts(&source, Resolution::Hour, today, now.0).await?;
            let ledger = self.inner.ledger(&source, days.clone(), &all_excluded, now).await?;
            for (index, window) in windows.iter().enumerate() {
                let start = floor(now.minus(*window), HOUR);
                let first_day = floor(Timestamp(start), DAY);
                // Whole days, but for the one the window begins in: that by the hour.
                let mut parts: Parts = days.range(..first_day).next_back().into_iter().map(|(at, part)| (*at, part.clone())).collect();
                let (mut edges, mut from) = (Vec::new(), start);
                if start > first_day && first_day < today {
                    let edge = self.inner.parts(&source, Resolution::Hour, first_day, first_day + DAY).await?;
                    parts.extend(edge);
                    edges.push((start, first_day + DAY, HOUR));
                    from = first_day + DAY;
                }
                parts.extend(days.range(from..).map(|(at, part)| (*at, part.clone())));
                parts.extend(running.iter().map(|(at, part)| (*at, part.clone())));
                edges.push((from.min(today), today, DAY));
                edges.push((from.max(today), now.0, HOUR));
                if parts.is_empty() {
                    continue;
                }
                sums[index].1 += now.0 - start - total(&excluded[index]);
                for (from, to, span) in edges.into_iter().filter(|(from, to, _)| from < to) {
                    for (_, _, times) in spans(&parts, from, to, span, now) {
                        sums[index].0.add(times);
                    }
                }
                excluded[index].iter().for_each(|span| sums[index].0.take(ledger.times(*span, now)));
            }
        }
        let uptime = |(index, (window, (times, whole))): (usize, (&Duration, &(Times, i64)))| WindowUptime {
            window: *window,
            ratio: times.ratio(),
            coverage: times.coverage(*whole),
            maintenance: Duration::from_micros(total(&excluded[index]).max(0) as u64),
        };
        Ok(windows.iter().zip(&sums).enumerate().map(uptime).collect())
    }
}

impl Inner {
    /// The parts of a series that begin in a window, and those of the records around its ends.
    pub(super) async fn parts(&self, source: &Source<'_>, resolution: Resolution, from: i64, to: i64) -> Result<Parts, StoreError> {
        let record = resolution.record_span();
        let first = from.div_euclid(record) * record;
        let mut parts = self.stored_parts(source.key, resolution, first, to).await?;
        let unmade = unmade(source, first, to);
        if resolution != Resolution::Day {
            self.make_up(source, resolution, &unmade, &mut parts).await?;
            return Ok(parts);
        }
        // A day with an hour that is not made is put together from its hours.
        for day in unmade.iter().map(|hour| (hour * HOUR).div_euclid(DAY) * DAY).collect::<BTreeSet<i64>>() {
            let mut hours = self.stored_parts(source.key, Resolution::Hour, day, day + DAY).await?;
            let of_day: BTreeSet<i64> = unmade.range(day / HOUR..(day + DAY) / HOUR).copied().collect();
            self.make_up(source, Resolution::Hour, &of_day, &mut hours).await?;
            parts.remove(&day);
            parts.extend(joined(hours.values()).map(|part| (day, part)));
        }
        Ok(parts)
    }

    async fn stored_parts(&self, (service, region): &SeriesKey, resolution: Resolution, from: i64, to: i64) -> Result<Parts, StoreError> {
        let values = vec![("service", int(service.0.into())), ("region", text(&region.0)), ("from", int(from)), ("to", int(to))];
        let range = match resolution {
            Resolution::Minute => "SELECT * FROM rollup_minute:[$service, $region, $from]..[$service, $region, $to]",
            Resolution::Hour => "SELECT * FROM rollup_hour:[$service, $region, $from]..[$service, $region, $to]",
            Resolution::Day => "SELECT * FROM rollup_day:[$service, $region, $from]..[$service, $region, $to]",
        };
        let mut answer = self.database.query(range, values).await?;
        let mut parts = Parts::new();
        for row in rows(&mut answer, 0)? {
            parts.extend(decode(&row.bytes("data")?).map_err(|error| corrupt("rollup", error))?);
        }
        Ok(parts)
    }

    /// Makes the parts of hours that are not made, in place of those that are there.
    pub(super) async fn make_up(
        &self,
        source: &Source<'_>,
        resolution: Resolution,
        hours: &BTreeSet<i64>,
        parts: &mut Parts,
    ) -> Result<(), StoreError> {
        for hour in hours {
            let (from, to) = (hour * HOUR, (hour + 1) * HOUR);
            let results = self.results_of(source, from, to).await?;
            let stale: Vec<i64> = parts.range(from..to).map(|(start, _)| *start).collect();
            let old = stale.first().and_then(|start| parts.get(start)).map(|part| part.held.rule);
            parts.retain(|start, _| !stale.contains(start));
            let turn = parts.range(..from).next_back().map_or(Turn::UNHEARD, |(_, part)| part.held.turn);
            let made = minutes(&results, old.unwrap_or(source.rule), turn);
            match resolution {
                Resolution::Minute => parts.extend(made),
                Resolution::Hour | Resolution::Day => parts.extend(joined(made.values()).map(|part| (from, part))),
            }
        }
        Ok(())
    }

    /// Every result of a series that began in a window, in order, from blocks and tail.
    async fn results_of(&self, source: &Source<'_>, from: i64, to: i64) -> Result<Vec<CheckResult>, StoreError> {
        let Source { snapshot, key, series, .. } = source;
        let mut results = Vec::new();
        // No block holds what began after the newest result of all blocks.
        let blocks = match series.latest_sealed.is_some_and(|latest| latest >= from) {
            true => self.blocks_of(key, from, to.saturating_add(self.limits.longest_span)).await?,
            false => Vec::new(),
        };
        for block in blocks {
            let seen = block.start < to && snapshot.shows(key, block.serial);
            if let Some(data) = block.data.filter(|_| seen) {
                take_rows(&data, key, from, to, &mut results)?;
            }
        }
        let waiting = series.tail.rows().iter().enumerate().filter(|(_, row)| (from..to).contains(&row.started));
        results.extend(waiting.map(|(row, _)| series.tail.result(key.0, &key.1, row).result));
        results.sort_by(|one, other| order(one).cmp(&order(other)));
        Ok(results)
    }
}

/// The hours between two instants that are marked as due, or have results in the tail.
pub(super) fn unmade(source: &Source<'_>, from: i64, to: i64) -> BTreeSet<i64> {
    let Source { snapshot, key, series, .. } = source;
    let marked = snapshot.due.range(hour_of(from)..=hour_of(to)).filter(|(_, keys)| keys.contains(*key)).map(|(hour, _)| *hour);
    let waiting = series.tail.rows().iter().filter(|row| (from..to).contains(&row.started)).map(|row| hour_of(row.started));
    marked.chain(waiting).filter(|hour| hour * HOUR < to).collect()
}

/// The spans of a window with what is known of each, but for those of which nothing is.
fn spans(parts: &Parts, since: i64, until: i64, span: i64, now: Timestamp) -> Vec<(i64, Option<&Rollup>, Times)> {
    let mut found = Vec::new();
    let mut before: Option<&Held> = parts.range(..since).next_back().map(|(_, part)| &part.held);
    let mut start = since;
    while start < until && start < now.0 {
        let own: Option<&Part> = parts.get(&start);
        let times = times(before, own.map(|part| &part.held), start, (start + span).min(now.0));
        if own.is_some() || times != Times::default() {
            found.push((start, own.map(|part| &part.rollup), times));
        }
        before = own.map(|part| &part.held).or(before);
        start += span;
    }
    found
}
