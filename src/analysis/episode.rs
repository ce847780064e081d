//! Readings over time → findings: samples that are odd for the same cause in a row are one finding that grows and ends.
//!
//! A detector is surprised once by what then stays as it is, and a habit follows what lasts. So an episode keeps what was
//! expected when it began, and goes on as long as samples stay nearer to the odd level than to that. It ends once enough samples
//! in a row are back, or when it has lasted so long that it is the habit. What comes again soon after resumes it.
//!
//! Several times that are odd at once in one region have one cause: the phase that explains most of the change is named, the
//! others are evidence. Regions in which the same is odd at the same time share one finding. What was odd in a single sample is told
//! only if it was large and rests on several checks: one slow check is no news, and neither is what was slow for moments.
//!
//! **Invariant.** A finding is named by service, signal and first odd sample, and never changes its name. A row that was taken
//! before, as after a restart, changes nothing.

mod spot;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::analysis::common::SlowTime;
use crate::analysis::episode::spot::{Odd, spot};
use crate::analysis::series::Row;
use crate::analysis::wording::summary;
use crate::model::finding::{Dismissal, Evidence, Finding, FindingId, Learning, Shape, Signal, size};
use crate::model::id::{RegionName, ServiceId};
use crate::model::time::Timestamp;

/// What has lasted so long is the habit.
const HABIT_AFTER: Duration = Duration::from_secs(24 * 3600);
/// Odd samples from which a spike is a new level.
const LEVEL_AFTER: u32 = 10;
/// A region that was not heard for so long beside two of its spans ends its part.
const SILENT_AFTER: Duration = Duration::from_secs(30 * 60);
/// What is odd again so many spans after it was last is the same episode, resumed: a service that fails for a while every quarter of an
/// hour has one trouble, not four an hour.
const RESUMED_WITHIN: i64 = 30;
/// Times as long that a rhythm that is not known yet may make anything.
const RHYTHM: f64 = 2.0;
/// Quiet samples after which what was never told is dropped.
const DROPPED_AFTER: u32 = 2;
/// What was slow for less than this is no news, however often it was looked at meanwhile.
const LASTING: Duration = Duration::from_secs(5);
/// Times as large as usual that are told at the first sample, if it rests on so many checks.
const LARGE: f64 = 3.0;
const LARGE_CHECKS: u32 = 3;

/// What a service is watched by.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    pub service: ServiceId,
    pub name: &'a Arc<str>,
    pub dismissals: &'a [Dismissal],
    pub quiet_samples: u32,
    pub least_change: f64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    Opened,
    Grown,
    Ended,
}

impl What {
    pub fn name(self) -> &'static str {
        match self {
            What::Opened => "opened",
            What::Grown => "updated",
            What::Ended => "ended",
        }
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    pub what: What,
    pub finding: Finding,
}

/// The episodes of one service.
#[derive(Clone, Debug, Default)]
pub struct Episodes {
    open: Vec<Episode>,
    /// Told and over, and resumed should it come again soon.
    lately: Vec<Episode>,
    past: Vec<Past>,
    /// The end of the newest span of each region.
    heard: BTreeMap<RegionName, Timestamp>,
}

/// Something that was told and is over: it is not told again when its rows are gone through again.
#[derive(Clone, Debug)]
struct Past {
    signal: Signal,
    shape: Shape,
    since: Timestamp,
    ended: Timestamp,
}

#[derive(Clone, Debug)]
pub struct Episode {
    id: FindingId,
    pub signal: Signal,
    shape: Shape,
    /// Above what is usual.
    up: bool,
    pub since: Timestamp,
    parts: BTreeMap<RegionName, Part>,
    told: bool,
    score: f64,
    pub learning: Option<Learning>,
    /// Of the oddest sample.
    pub observed: f64,
    pub expected: Option<f64>,
    pub worst_at: Timestamp,
    pub checks: u32,
    pub counts: (u64, u64),
    pub known: Duration,
    /// What else was odd with it.
    also: Vec<Evidence>,
}

/// An episode in one region.
#[derive(Clone, Debug)]
struct Part {
    signal: Signal,
    /// The first odd sample since the last that was not.
    began: Timestamp,
    last: Timestamp,
    span: i64,
    /// The level of the odd samples, newer ones weigh more.
    level: f64,
    /// At its beginning.
    expected: Option<f64>,
    odd: u32,
    quiet: u32,
    over: bool,
}

impl Episodes {
    /// As they stood when they were written last: those that go on, and some of those that ended.
    pub fn restore(findings: &[Finding]) -> Episodes {
        let open = findings.iter().filter(|finding| finding.ended.is_none()).map(Episode::restore).collect();
        let past = |finding: &Finding| {
            let Finding { signal, shape, since, .. } = *finding;
            finding.ended.map(|ended| Past { signal, shape, since, ended })
        };
        Episodes { open, lately: Vec::new(), past: findings.iter().filter_map(past).collect(), heard: BTreeMap::new() }
    }

    /// Takes the next row of one region.
    pub fn take(&mut self, row: &Row, context: &Context) -> Vec<Change> {
        let end = Timestamp(row.at.0.saturating_add(row.span));
        let heard = self.heard.entry(row.region.clone()).or_insert(end);
        *heard = end;
        // What a person has called none was ended with that word.
        let dismissed = |episode: &Episode| context.dismissals.iter().any(|dismissal| dismissal.finding == episode.id);
        self.open.retain(|episode| !dismissed(episode));
        self.lately.retain(|episode| !dismissed(episode));
        let mut odds = spot(row, context.least_change);
        let mut touched = Vec::new();
        for episode in &mut self.open {
            let before = episode.parts.get(&row.region).map(|part| (part.odd, part.over));
            match odds.iter().position(|odd| episode.is_cause_of(odd)) {
                Some(index) => episode.join(row, odds.remove(index)),
                None => episode.follow(row, context),
            }
            touched.push(before != episode.parts.get(&row.region).map(|part| (part.odd, part.over)));
        }
        for odd in odds {
            if let Some(mut again) = self.resume(row, &odd) {
                again.join(row, odd);
                self.open.push(again);
                touched.push(true);
            } else if !self.past.iter().any(|past| past.holds(&odd, row)) {
                self.open.push(Episode::new(context.service, row, odd));
                touched.push(true);
            }
        }
        self.settle(&touched, context, row.at)
    }

    /// Takes out the episode that something odd goes on with, if it was over only for a while.
    fn resume(&mut self, row: &Row, odd: &Odd) -> Option<Episode> {
        let soon = |episode: &Episode| row.at.0.saturating_sub(episode.last().0) <= RESUMED_WITHIN.saturating_mul(row.span);
        let young = |episode: &Episode| row.at.since(episode.since) < HABIT_AFTER;
        let index = self.lately.iter().position(|episode| episode.is_cause_of(odd) && soon(episode) && young(episode))?;
        Some(self.lately.remove(index))
    }

    /// Ends what nothing was heard of for long.
    pub fn expire(&mut self, now: Timestamp, context: &Context) -> Vec<Change> {
        let mut touched = Vec::new();
        for episode in &mut self.open {
            let mut changed = false;
            for (region, part) in &mut episode.parts {
                let heard = self.heard.get(region).copied().unwrap_or(part.last).max(part.last);
                if !part.over && now.since(heard) >= SILENT_AFTER + Duration::from_micros(2 * part.span.max(0) as u64) {
                    (part.over, changed) = (true, true);
                }
            }
            touched.push(changed);
        }
        self.heard.retain(|_, heard| now.since(*heard) < HABIT_AFTER);
        self.past.retain(|past| now.since(past.ended) < HABIT_AFTER);
        self.settle(&touched, context, now)
    }

    /// Ends all: the service is gone, or watched no more.
    pub fn end_all(&mut self, context: &Context, now: Timestamp) -> Vec<Change> {
        self.open.iter_mut().for_each(|episode| episode.parts.values_mut().for_each(|part| part.over = true));
        let touched = vec![true; self.open.len()];
        self.settle(&touched, context, now)
    }

    /// What took longer than its habit in a row that was taken last, as the largest of its episodes has it.
    pub fn slow_at(&self, row: &Row) -> Option<SlowTime> {
        let slow = self.open.iter().filter(|episode| episode.up && episode.signal != Signal::Errors).filter_map(|episode| {
            let part = episode.parts.get(&row.region).filter(|part| part.last == row.at && !part.over)?;
            Some(SlowTime { signal: part.signal, observed: part.level, expected: part.expected? })
        });
        slow.max_by(|one, other| (one.observed - one.expected).total_cmp(&(other.observed - other.expected)))
    }

    /// Regions heard of lately.
    fn regions_heard(&self, now: Timestamp) -> usize {
        self.heard.values().filter(|heard| now.since(**heard) < 2 * SILENT_AFTER).count()
    }

    /// What changed with the episodes that were touched, each at most once; those that are over are let go of.
    fn settle(&mut self, touched: &[bool], context: &Context, now: Timestamp) -> Vec<Change> {
        let regions = self.regions_heard(now);
        let mut changes = Vec::new();
        for (episode, touched) in self.open.iter_mut().zip(touched) {
            let opens = !episode.told && *touched && episode.is_sure() && !episode.is_dismissed(context, now);
            let over = episode.is_over();
            let what = match (opens, over) {
                (true, _) => What::Opened,
                (false, true) if episode.told => What::Ended,
                (false, false) if episode.told && *touched => What::Grown,
                _ => continue,
            };
            episode.told = true;
            changes.push(Change { what, finding: episode.finding(context, regions) });
            if opens && over {
                changes.push(Change { what: What::Ended, finding: episode.finding(context, regions) });
            }
        }
        let (over, open) = std::mem::take(&mut self.open).into_iter().partition(Episode::is_over);
        self.open = open;
        self.lately.extend(Vec::into_iter(over).filter(|episode| episode.told));
        self.lately.retain(|episode| now.since(episode.last()) < HABIT_AFTER);
        changes
    }
}

impl Past {
    fn holds(&self, odd: &Odd, row: &Row) -> bool {
        let same = (self.signal == Signal::Errors) == (odd.signal == Signal::Errors) && self.shape.is_like(odd.shape);
        same && (self.since.0 - 2 * row.span..self.ended.0).contains(&row.at.0)
    }
}

impl Episode {
    fn new(service: ServiceId, row: &Row, odd: Odd) -> Episode {
        let id = FindingId(format!("{service}-{}-{:x}", odd.signal.name(), row.at.0 / 1_000_000).into());
        let mut episode = Episode {
            id,
            signal: odd.signal,
            shape: odd.shape,
            up: odd.up,
            since: row.at,
            parts: BTreeMap::new(),
            told: false,
            score: 0.0,
            learning: odd.learning,
            observed: odd.observed,
            expected: odd.expected,
            worst_at: row.at,
            checks: odd.checks,
            counts: odd.counts,
            known: row.known,
            also: Vec::new(),
        };
        episode.join(row, odd);
        episode
    }

    fn restore(finding: &Finding) -> Episode {
        let part = |region: &RegionName| {
            let evidence = finding.evidence.iter().find(|evidence| *evidence.what == *region.0);
            let level = evidence.map_or(finding.observed, |evidence| evidence.observed);
            let expected = evidence.map_or(finding.expected, |evidence| evidence.expected);
            let (signal, last) = (finding.signal, evidence.map_or(finding.last, |evidence| evidence.at));
            (
                region.clone(),
                Part { signal, began: finding.since, last, span: 0, level, expected, odd: finding.samples, quiet: 0, over: false },
            )
        };
        Episode {
            id: finding.id.clone(),
            signal: finding.signal,
            shape: finding.shape,
            up: finding.expected.is_none_or(|expected| finding.observed >= expected),
            since: finding.since,
            parts: finding.regions.iter().map(part).collect(),
            told: true,
            score: finding.score,
            learning: finding.learning,
            observed: finding.observed,
            expected: finding.expected,
            worst_at: finding.last,
            checks: LARGE_CHECKS,
            counts: spot::counts(&finding.evidence),
            known: Duration::ZERO,
            also: finding
                .evidence
                .iter()
                .filter(|evidence| !finding.regions.iter().any(|region| *region.0 == *evidence.what))
                .cloned()
                .collect(),
        }
    }

    pub fn regions(&self) -> impl Iterator<Item = &RegionName> {
        self.parts.keys()
    }

    /// Whether something odd is of this episode: latency is odd with any phase, phases are not with each other.
    fn is_cause_of(&self, odd: &Odd) -> bool {
        let times = |signal: Signal| signal != Signal::Errors;
        self.up == odd.up
            && times(self.signal) == times(odd.signal)
            && (self.signal == odd.signal || self.signal == Signal::Latency || odd.signal == Signal::Latency)
    }

    fn join(&mut self, row: &Row, odd: Odd) {
        if self.parts.get(&row.region).is_some_and(|part| row.at <= part.last) {
            return;
        }
        let finer = self.signal == Signal::Latency && odd.signal != Signal::Latency;
        let fresh = Part {
            signal: odd.signal,
            began: row.at,
            last: row.at,
            span: row.span,
            level: odd.observed,
            expected: odd.expected,
            odd: 0,
            quiet: 0,
            over: false,
        };
        let part = self.parts.entry(row.region.clone()).or_insert_with(|| fresh.clone());
        if part.over || part.signal == Signal::Latency && odd.signal != Signal::Latency {
            *part = Part { odd: part.odd, ..fresh };
        }
        let observed = row.reading(part.signal).map_or(odd.observed, |reading| reading.observed);
        part.hold(row, if part.signal == odd.signal { odd.observed } else { observed });
        self.begin();
        if finer {
            self.signal = odd.signal;
        }
        let larger = size(odd.signal, odd.observed, odd.expected) > size(self.signal, self.observed, self.expected);
        if finer || odd.signal == self.signal && (larger || self.score == 0.0) {
            (self.observed, self.expected, self.worst_at) = (odd.observed, odd.expected, row.at);
            (self.checks, self.counts, self.known) = (odd.checks, odd.counts, row.known);
            self.also = odd.also;
            // The shape is that of the beginning, unless the beginning was of another signal.
            self.shape = if finer { odd.shape } else { self.shape };
        }
        self.score = self.score.max(odd.score);
        self.learning = odd.learning;
    }

    /// A row of which nothing is odd in itself: is it still as it was, or back?
    fn follow(&mut self, row: &Row, context: &Context) {
        let (up, told) = (self.up, self.told);
        let Some(part) = self.parts.get_mut(&row.region) else { return };
        if part.over || row.at <= part.last {
            return;
        }
        part.span = row.span;
        let since = self.since;
        match part.is_as_odd(row, up) {
            None => {}
            Some(Some(observed)) => {
                part.hold(row, observed);
                let (signal, expected) = (part.signal, part.expected);
                if signal == self.signal && size(signal, observed, expected) > size(signal, self.observed, self.expected) {
                    (self.observed, self.expected, self.worst_at, self.checks) = (observed, expected, row.at, row.checks);
                }
            }
            Some(None) => part.quiet += 1,
        }
        let patience = if told { context.quiet_samples } else { DROPPED_AFTER };
        part.over = part.quiet >= patience || row.at.since(since) >= HABIT_AFTER;
        self.begin();
    }

    /// What was odd for a moment before it came to stay is not when it began.
    fn begin(&mut self) {
        if !self.told
            && let Some(began) = self.parts.values().filter(|part| !part.over && part.quiet == 0).map(|part| part.began).min()
        {
            self.since = began;
        }
    }

    /// The last odd sample.
    fn last(&self) -> Timestamp {
        self.parts.values().map(|part| part.last).max().unwrap_or(self.since)
    }

    fn is_over(&self) -> bool {
        self.parts.values().all(|part| part.over)
    }

    /// Whether it is more than one slow check.
    fn is_sure(&self) -> bool {
        let large = size(self.signal, self.observed, self.expected) >= LARGE && self.expected.is_some() && self.checks >= LARGE_CHECKS;
        let lasted = self.parts.values().any(|part| Timestamp(part.last.0.saturating_add(part.span)).since(self.since) >= LASTING);
        let again = self.parts.len() > 1 || self.parts.values().any(|part| part.odd > 1);
        self.signal == Signal::Errors || lasted && (again || large && self.learning.is_none())
    }

    fn is_dismissed(&self, context: &Context, now: Timestamp) -> bool {
        let size = size(self.signal, self.observed, self.expected);
        context.dismissals.iter().any(|dismissal| dismissal.covers(self.region(), self.signal, self.shape(), size, now))
    }

    /// The only region it is seen in.
    fn region(&self) -> Option<&RegionName> {
        if self.parts.len() == 1 { self.parts.keys().next() } else { None }
    }

    /// How much of what is to be known of the habit is known, from 0 to 1. What is not known yet, such as the rhythm of a day, may well
    /// make a time twice as long, and hardly many times as long: so the larger it is, the less is needed.
    fn known_share(&self) -> f64 {
        let Some(Learning { have, need }) = self.learning else { return 1.0 };
        let beyond = 1.0 - RHYTHM / size(self.signal, self.observed, self.expected);
        (f64::from(have) / f64::from(need.max(1))).max(beyond).clamp(0.0, 1.0)
    }

    /// A spike that stays is a new level.
    fn shape(&self) -> Shape {
        let lasts = self.parts.values().any(|part| part.odd >= LEVEL_AFTER);
        match self.shape {
            Shape::Spike if lasts => Shape::LevelUp,
            Shape::Dip if lasts => Shape::LevelDown,
            shape => shape,
        }
    }

    fn finding(&self, context: &Context, regions_heard: usize) -> Finding {
        let last = self.last();
        let span = self.parts.values().map(|part| part.span).max().unwrap_or(0);
        let by_region = self.parts.iter().map(|(region, part)| Evidence {
            at: part.last,
            what: region.to_string(),
            observed: part.level,
            expected: part.expected,
        });
        Finding {
            id: self.id.clone(),
            service: Some(context.service),
            name: context.name.clone(),
            region: self.region().cloned(),
            regions: self.parts.keys().cloned().collect(),
            signal: self.signal,
            shape: self.shape(),
            since: self.since,
            last,
            ended: self.is_over().then(|| Timestamp(last.0.saturating_add(span))),
            observed: self.observed,
            expected: self.expected,
            score: self.score,
            confidence: self.score * self.known_share(),
            samples: self.parts.values().map(|part| part.odd).max().unwrap_or(0),
            learning: self.learning,
            summary: summary(self, regions_heard.max(self.parts.len())),
            evidence: by_region.chain(self.also.iter().cloned()).collect(),
            feedback: None,
        }
    }
}

impl Part {
    /// Notes one more odd sample.
    fn hold(&mut self, row: &Row, observed: f64) {
        self.level = if self.odd == 0 { observed } else { 0.7 * self.level + 0.3 * observed };
        if self.quiet > 0 {
            self.began = row.at;
        }
        (self.last, self.span, self.quiet) = (row.at, row.span, 0);
        self.odd += 1;
    }

    /// `None`: the row says nothing of it. `Some(None)`: it is back. Else what was seen.
    fn is_as_odd(&self, row: &Row, up: bool) -> Option<Option<f64>> {
        if self.signal == Signal::Errors {
            // The windows of counts look back by themselves.
            return Some(None);
        }
        let observed = row.reading(self.signal)?.observed;
        let Some(expected) = self.expected else { return Some(None) };
        let middle = (self.level + expected) / 2.0;
        let beyond = if up { observed > middle } else { observed < middle };
        Some(beyond.then_some(observed))
    }
}
