//! Walks results in order of time, over tails and blocks, until enough are found.
//!
//! Blocks are looked at by the time they end, newest first, or by the time they start, oldest first. Before each block it
//! is asked whether anything in it, or in any block not yet looked at, could still come before the worst result kept; as soon
//! as nothing could, the walk is over. So a page of a busy store unpacks the blocks around its instant and no others. Where
//! failures are looked for and the directory lists them, a block stands at the first of them that is wanted, and of the
//! block no more than its failures is unpacked.
//!
//! **Invariant.** What it returns is complete up to its last result, or up to the instant it stopped at.

use std::collections::BTreeSet;

use crate::model::check::{CheckResult, Reason};
use crate::model::id::ServiceId;
use crate::model::time::Timestamp;
use crate::store::blocks::BlockRef;
use crate::store::codec::Block;
use crate::store::columns::Damage;
use crate::store::connection::StoreError;
use crate::store::directory::DirectoryEntry;
use crate::store::query::{Position, ResultQuery};
use crate::store::results::{HOUR_US, Inner, SeriesKey, Snapshot, hour_of};
use crate::store::values::corrupt;

/// Blocks one page looks at, and twice the number of series beyond that.
const MOST_BLOCKS: usize = 4000;
/// Directory entries one page looks at.
const MOST_ENTRIES: usize = 200_000;
/// Windows over the blocks of one series: the first, and the widest, which must not hold more than memory is there for.
const FIRST_WINDOW: i64 = HOUR_US / 6;
const WIDEST_WINDOW: i64 = HOUR_US * 24;
/// The same where failures alone are read, which are few or not read yet.
const FAILING_WINDOWS: (i64, i64) = (HOUR_US * 6, HOUR_US * 24 * 7);
/// Blocks read by name at once.
const FETCH: usize = 64;

/// The times looked at, both included, and the place the walk goes on from.
pub(super) struct Bounds {
    first: i64,
    last: i64,
    from: Option<Position>,
}

impl Bounds {
    pub fn new(since: Option<Timestamp>, until: Option<Timestamp>, from: Option<&Position>, descending: bool) -> Bounds {
        let mut first = since.map_or(i64::MIN, |since| since.0);
        let mut last = until.map_or(i64::MAX, |until| until.0.saturating_sub(1));
        match from {
            // Nothing of an edge's own instant lies below it.
            Some(from) if descending && *from == Position::edge(from.started) => last = last.min(from.started.saturating_sub(1)),
            Some(from) if descending => last = last.min(from.started),
            Some(from) => first = first.max(from.started),
            None => {}
        }
        Bounds { first, last, from: from.cloned() }
    }
}

pub(super) struct Scan<'a> {
    inner: &'a Inner,
    query: &'a ResultQuery,
    bounds: Bounds,
    descending: bool,
    snapshot: Snapshot,
    /// The best results so far, in the order of the walk.
    best: Best,
    most: usize,
    /// Blocks known and not looked at, the next one last.
    pending: Vec<Pending>,
    fetch: usize,
    looked: Looked,
}

/// A block, and the times between which it may hold what is wanted, both included.
struct Pending {
    block: BlockRef,
    first: i64,
    last: i64,
}

/// Blocks this walk has looked at.
#[derive(Default)]
struct Looked {
    read: u64,
    unpacked: u64,
    skimmed: u64,
}

/// Boxed: a result is large, and is moved along whenever a better one comes before it.
pub(super) type Best = Vec<Box<CheckResult>>;

/// Where further blocks come from.
enum Source {
    /// Windows over the ends of the blocks of a few series.
    Series { series: Vec<SeriesKey>, window: i64, next: i64 },
    /// The directory, some hours at a time; the next hour last.
    Directory { hours: Vec<i64>, step: usize },
}

impl<'a> Scan<'a> {
    pub fn new(inner: &'a Inner, query: &'a ResultQuery, bounds: Bounds, descending: bool, most: usize) -> Scan<'a> {
        let single = match (query.service, query.services.as_deref()) {
            (None, Some([service])) => Some(*service),
            (service, _) => service,
        };
        let snapshot = inner.snapshot(single);
        Scan {
            inner,
            query,
            bounds,
            descending,
            snapshot,
            best: Vec::new(),
            most,
            pending: Vec::new(),
            fetch: 8,
            looked: Looked::default(),
        }
    }

    /// The results in the order of the walk and, where it had to stop early, the instant up to which they are complete: a
    /// walk from its [`Position::edge`] goes on there.
    pub async fn run(mut self) -> Result<(Best, Option<i64>), StoreError> {
        let outcome = self.walk().await;
        let mut memory = self.inner.memory();
        memory.status.blocks_read += self.looked.read;
        memory.status.blocks_unpacked += self.looked.unpacked;
        memory.status.blocks_skimmed += self.looked.skimmed;
        drop(memory);
        Ok((self.best, outcome?))
    }

    async fn walk(&mut self) -> Result<Option<i64>, StoreError> {
        if self.bounds.first > self.bounds.last || self.query.services.as_ref().is_some_and(Vec::is_empty) {
            return Ok(None);
        }
        self.look_at_tails();
        let mut source = self.source();
        let most_blocks = MOST_BLOCKS + 2 * self.snapshot.tails.len();
        let (mut blocks, mut entries) = (0, 0);
        loop {
            let frontier = self.frontier(&source);
            let Some(bound) = frontier else { return Ok(None) };
            if self.settled(bound) {
                return Ok(None);
            }
            if (blocks >= most_blocks || entries >= MOST_ENTRIES) && self.advanced(bound) {
                return Ok(Some(self.stop(bound)));
            }
            let in_hand = self.pending.last().is_some_and(|next| self.edge_of(next) == bound);
            if in_hand {
                blocks += self.look_at_next().await?;
            } else {
                entries += self.load(&mut source).await?;
            }
        }
    }

    fn source(&self) -> Source {
        let span = self.inner.limits.longest_span;
        let first_hour = hour_of(self.bounds.first);
        let last_hour = hour_of(self.bounds.last.saturating_add(span));
        let within = |hour: &i64| (first_hour..=last_hour).contains(hour);
        let hours: BTreeSet<i64> = self.snapshot.hours.iter().copied().filter(within).collect();
        if self.query.service.is_some() || self.query.services.as_ref().is_some_and(|services| services.len() == 1) {
            let series = self
                .snapshot
                .tails
                .iter()
                .filter(|((service, region), series)| series.latest_sealed.is_some() && self.query.wants_series(*service, region));
            let series: Vec<SeriesKey> = series.map(|(key, _)| key.clone()).collect();
            let next = match (self.descending, hours.first(), hours.last()) {
                (true, _, Some(last)) => end_of(*last).min(self.bounds.last.saturating_add(span)),
                (false, Some(first), _) => start_of(*first).max(self.bounds.first),
                _ => return Source::Directory { hours: Vec::new(), step: 1 },
            };
            let window = if self.query.wants_failures() { FAILING_WINDOWS.0 } else { FIRST_WINDOW };
            return Source::Series { series, window, next };
        }
        let mut hours: Vec<i64> = hours.into_iter().collect();
        if !self.descending {
            hours.reverse();
        }
        Source::Directory { hours, step: 1 }
    }

    /// The best time anything not yet looked at could have; `None`: there is nothing.
    fn frontier(&self, source: &Source) -> Option<i64> {
        let span = self.inner.limits.longest_span;
        let unknown = match source {
            Source::Series { series, .. } if series.is_empty() => None,
            Source::Series { next, .. } if self.descending => (*next >= self.bounds.first).then_some(*next),
            // A block that ends at `next` or later may have started a whole span before.
            Source::Series { next, .. } => {
                let last = self.snapshot.hours.last().map_or(i64::MIN, |hour| end_of(*hour));
                (*next <= last.min(self.bounds.last.saturating_add(span))).then(|| next.saturating_sub(span))
            }
            Source::Directory { hours, .. } if self.descending => hours.last().map(|hour| end_of(*hour)),
            Source::Directory { hours, .. } => hours.last().map(|hour| start_of(*hour).saturating_sub(span)),
        };
        let known = self.pending.last().map(|pending| self.edge_of(pending));
        let both = unknown.into_iter().chain(known);
        if self.descending { both.max() } else { both.min() }
    }

    fn edge_of(&self, pending: &Pending) -> i64 {
        if self.descending { pending.last } else { pending.first }
    }

    /// An entry's block with the times it may be wanted for; `None`: nothing of it is.
    fn narrowed(&self, entry: DirectoryEntry) -> Option<Pending> {
        if !self.query.wants_series(entry.service, &entry.region) || !self.query.may_want(&entry.summary) {
            return None;
        }
        let (mut first, mut last) = (entry.start, entry.end);
        if let Some(failures) = entry.failures.filter(|_| self.query.wants_failures()) {
            let code = self.query.reason.map(Reason::code);
            let wanted = failures.iter().filter(|(_, found)| code.is_none_or(|code| code == *found)).map(|(started, _)| *started);
            let within = wanted.filter(|started| (self.bounds.first..=self.bounds.last).contains(started));
            (first, last) = within.fold((i64::MAX, i64::MIN), |(first, last), started| (first.min(started), last.max(started)));
        }
        let DirectoryEntry { service, region, start, end, serial, .. } = entry;
        (first <= last).then_some(Pending { block: BlockRef { service, region, start, end, serial, data: None }, first, last })
    }

    /// Whether nothing with this time or beyond could still come before a result that is kept.
    fn settled(&self, bound: i64) -> bool {
        let beyond = if self.descending { bound < self.bounds.first } else { bound > self.bounds.last };
        let full = self.best.len() == self.most && self.best.last().is_some_and(|worst| self.before(worst.started_at.0, bound));
        beyond || full
    }

    /// Whether one time comes strictly before another in the order of the walk.
    fn before(&self, one: i64, other: i64) -> bool {
        if self.descending { one > other } else { one < other }
    }

    /// Whether stopping at this instant is any progress over where the walk began.
    fn advanced(&self, bound: i64) -> bool {
        let from = if self.descending { self.bounds.last } else { self.bounds.first };
        self.before(from, bound)
    }

    fn stop(&mut self, bound: i64) -> i64 {
        let descending = self.descending;
        self.best.retain(|result| if descending { result.started_at.0 > bound } else { result.started_at.0 < bound });
        // Downwards the next walk takes all before the edge, so the edge is that of the instant above.
        if descending { bound.saturating_add(1) } else { bound }
    }

    fn look_at_tails(&mut self) {
        for index in 0..self.snapshot.tails.len() {
            let ((service, region), series) = self.snapshot.tails[index].clone();
            let tail = series.tail;
            if tail.rows().is_empty()
                || tail.latest() < self.bounds.first
                || tail.earliest() > self.bounds.last
                || !self.query.wants_series(service, &region)
            {
                continue;
            }
            for step in 0..tail.rows().len() {
                // Rows come about in order of time: from the near end few are kept only to be pushed out again.
                let row = if self.descending { tail.rows().len() - 1 - step } else { step };
                let known = tail.rows()[row];
                let wanted = if self.query.wants_failures() { known.failed } else { self.query.ok.is_none() || !known.failed };
                if wanted && self.in_time(known.started) {
                    self.offer(tail.result(service, &region, row).result);
                }
            }
        }
    }

    /// Whether a result of this time may be kept.
    fn in_time(&self, started: i64) -> bool {
        if !(self.bounds.first..=self.bounds.last).contains(&started) {
            return false;
        }
        let full = self.best.len() == self.most;
        !full || self.best.last().is_none_or(|worst| !self.before(worst.started_at.0, started))
    }

    fn offer(&mut self, result: CheckResult) {
        if !self.query.wants(&result) {
            return;
        }
        if let Some(from) = &self.bounds.from {
            let ordering = rank(&result).cmp(&rank_of(from));
            if ordering.is_eq() || ordering.is_lt() != self.descending {
                return;
            }
        }
        let descending = self.descending;
        let place = self.best.partition_point(|known| {
            let ordering = rank(known).cmp(&rank(&result));
            if descending { ordering.is_gt() } else { ordering.is_lt() }
        });
        if place < self.most {
            self.best.insert(place, Box::new(result));
            self.best.truncate(self.most);
        }
    }

    /// Looks at the next pending block and returns how many blocks that cost.
    async fn look_at_next(&mut self) -> Result<usize, StoreError> {
        if self.pending.last().is_some_and(|next| next.block.data.is_none()) {
            // Where failures are looked for each block mostly has one: no more are needed than results are.
            let needed = if self.query.wants_failures() { (self.most - self.best.len()).max(1) } else { FETCH };
            let from = self.pending.len().saturating_sub(self.fetch.min(needed));
            self.fetch = (self.fetch * 2).min(FETCH);
            let blocks = self.pending[from..].iter_mut().map(|pending| &mut pending.block);
            match self.query.wants_failures() {
                true => self.inner.fill_failing(blocks).await?,
                false => self.inner.fill(blocks).await?,
            }
        }
        let next = self.pending.pop().map(|pending| pending.block);
        let Some(BlockRef { service, region, data: Some(data), .. }) = next else { return Ok(1) };
        self.looked.read += 1;
        let damaged = |damage: Damage| corrupt("block", damage);
        let block = Block::parse(&data).map_err(damaged)?;
        if !self.query.may_want(&block.summary) {
            return Ok(1);
        }
        let block = if self.query.wants_failures() && block.keeps_failures_apart() {
            self.looked.skimmed += 1;
            block.unpack_failures(service, region).map_err(damaged)?
        } else {
            let started = block.started().map_err(damaged)?;
            if !started.iter().any(|started| self.in_time(*started)) {
                return Ok(1);
            }
            self.looked.unpacked += 1;
            block.unpack(service, region).map_err(damaged)?
        };
        for step in 0..block.rows() {
            let row = if self.descending { block.rows() - 1 - step } else { step };
            let reason = block.reason(row);
            let wanted = self.query.ok.is_none_or(|ok| ok == reason.is_none())
                && self.query.reason.is_none_or(|wanted| reason == Some(wanted))
                && self.query.min_latency.is_none_or(|least| u128::from(block.latency(row)) >= least.as_micros());
            if wanted && self.in_time(block.started(row)) {
                self.offer(block.result(row).map_err(damaged)?);
            }
        }
        Ok(1)
    }

    /// Learns of further blocks and returns how many it looked through.
    async fn load(&mut self, source: &mut Source) -> Result<usize, StoreError> {
        let span = self.inner.limits.longest_span;
        let mut found = Vec::new();
        let seen;
        match source {
            Source::Series { series, window, next } => {
                let (from, to) = match self.descending {
                    true => (next.saturating_sub(*window).max(self.bounds.first), *next),
                    false => (*next, next.saturating_add(*window).min(self.bounds.last.saturating_add(span))),
                };
                let failing = self.query.wants_failures();
                for key in series.iter() {
                    let blocks = match failing {
                        true => self.inner.failing_of(key, from, to).await?,
                        false => self.inner.blocks_of(key, from, to).await?,
                    };
                    let shown = blocks.into_iter().filter(|block| self.snapshot.shows(key, block.serial));
                    found.extend(shown.map(|block| Pending { first: block.start, last: block.end, block }));
                }
                seen = found.len();
                if seen < 32 {
                    *window = (*window * 4).min(if failing { FAILING_WINDOWS.1 } else { WIDEST_WINDOW });
                }
                // Hours without any block at all are not walked through.
                *next = match self.descending {
                    true => {
                        let below = self.snapshot.hours.range(..=hour_of(from.saturating_sub(1))).next_back();
                        below.map_or(i64::MIN, |hour| end_of(*hour).min(from.saturating_sub(1)))
                    }
                    false => {
                        let above = self.snapshot.hours.range(hour_of(to.saturating_add(1))..).next();
                        above.map_or(i64::MAX, |hour| start_of(*hour).max(to.saturating_add(1)))
                    }
                };
                if from == i64::MIN && self.descending || to == i64::MAX && !self.descending {
                    series.clear();
                }
            }
            Source::Directory { hours, step } => {
                let taken = hours.split_off(hours.len().saturating_sub(*step));
                let (Some(first), Some(last)) = (taken.iter().min(), taken.iter().max()) else { return Ok(0) };
                let entries = self.inner.directory(&self.snapshot, *first, *last).await?;
                seen = entries.len().max(1);
                if seen < 2000 {
                    *step = (*step * 2).min(32);
                }
                found.extend(entries.into_iter().filter_map(|entry| self.narrowed(entry)));
            }
        }
        found.retain(|pending| pending.first <= self.bounds.last && pending.last >= self.bounds.first);
        self.pending.append(&mut found);
        match self.descending {
            true => self.pending.sort_by_key(|pending| (pending.last, pending.block.serial)),
            false => self.pending.sort_by_key(|pending| (std::cmp::Reverse(pending.first), pending.block.serial)),
        }
        Ok(seen)
    }
}

fn start_of(hour: i64) -> i64 {
    hour.saturating_mul(HOUR_US)
}

fn end_of(hour: i64) -> i64 {
    hour.saturating_add(1).saturating_mul(HOUR_US).saturating_sub(1)
}

type Rank<'a> = (i64, ServiceId, &'a str, &'a str, u64, u64);

fn rank(result: &CheckResult) -> Rank<'_> {
    (result.started_at.0, result.service, &result.region.0, &result.id.node.0, result.id.boot.0, result.id.seq)
}

fn rank_of(position: &Position) -> Rank<'_> {
    (position.started, ServiceId(position.service), &position.region, &position.node, position.boot, position.seq)
}
