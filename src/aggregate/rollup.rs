//! Results of one service in one region → summaries that merge: minutes to hours, hours to days, and over regions.
//!
//! Counts and latencies add up in any order. Time in a state does not: it lies between one result and the next. So a rollup
//! knows the state its first result began and the one its last result left, and two that follow each other are joined by
//! what lies between them. A state holds until the next result, or until it was silent for three gaps of the schedule: then
//! it is unknown, neither up nor down. Rollups are therefore made of *all* results of their span at once; a late result
//! means making them again, which gives what would have been made had it come in time.
//!
//! **Invariant.** The times of the minutes of an hour add up to those of the hour, and so on upwards, to the microsecond.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::aggregate::sketch::Sketch;
use crate::aggregate::verdict::{RegionStatus, Thresholds, Turn, silence};
use crate::model::check::{CheckResult, Phases, Reason};
use crate::model::time::{Timestamp, micros};

pub const MINUTE: i64 = 60_000_000;
pub const HOUR: i64 = 60 * MINUTE;
pub const DAY: i64 = 24 * HOUR;

/// How time in a state is reckoned: by what the service was when its results were rolled up first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Between two checks of the schedule.
    pub gap: Duration,
    /// Results in a row that turn a region down, and up again.
    pub failure: u32,
    pub success: u32,
}

impl Rule {
    pub fn thresholds(&self) -> Thresholds {
        Thresholds { failure: self.failure, success: self.success }
    }

    /// Microseconds a state holds without a further result.
    fn holds(&self) -> i64 {
        micros(silence(self.gap))
    }
}

/// What can be said of the checks of a span.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rollup {
    pub checks: u64,
    pub attempts: u64,
    pub failures: BTreeMap<Reason, u64>,
    /// Of the checks that passed: one that was refused at once is not a fast one.
    pub latency: Sketch,
    /// Of the checks that passed: dns, connect, tls, first byte, transfer.
    pub phases: [Sketch; 5],
}

/// Time in a state from the first result of a span to its last, and what it needs to be joined to its neighbours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    pub first: i64,
    pub last: i64,
    /// Microseconds between first and last in which it was up, and down.
    pub up: i64,
    pub down: i64,
    /// The state the last result left, and how often in a row results spoke against it.
    pub turn: Turn,
    pub rule: Rule,
}

/// A span's rollup with its time in states; there is none of a span without results.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    pub rollup: Rollup,
    pub held: Held,
}

/// Microseconds up and down; what is missing to the span is unknown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Times {
    pub up: i64,
    pub down: i64,
}

impl Times {
    pub fn add(&mut self, other: Times) {
        self.up += other.up;
        self.down += other.down;
    }

    /// Leaves a part of it out.
    pub fn take(&mut self, part: Times) {
        self.up = (self.up - part.up).max(0);
        self.down = (self.down - part.down).max(0);
    }

    /// Up-time over known time; `None` where nothing is known.
    pub fn ratio(&self) -> Option<f64> {
        let known = self.up + self.down;
        (known > 0).then(|| self.up as f64 / known as f64)
    }

    /// Known time over a window of so many microseconds.
    pub fn coverage(&self, window: i64) -> f64 {
        if window <= 0 { 0.0 } else { ((self.up + self.down) as f64 / window as f64).clamp(0.0, 1.0) }
    }

    fn hold(&mut self, status: RegionStatus, span: i64) {
        match status {
            RegionStatus::Up => self.up += span.max(0),
            RegionStatus::Down => self.down += span.max(0),
            RegionStatus::Unknown => {}
        }
    }
}

impl Rollup {
    pub fn add(&mut self, result: &CheckResult) {
        self.checks += 1;
        self.attempts += u64::from(result.attempt_count);
        if let Some(failure) = &result.failure {
            *self.failures.entry(failure.reason).or_default() += 1;
            return;
        }
        self.latency.add(result.latency);
        let Phases { dns, connect, tls, first_byte, transfer } = result.phases;
        for (sketch, phase) in self.phases.iter_mut().zip([dns, connect, tls, first_byte, transfer]) {
            if let Some(phase) = phase {
                sketch.add(phase);
            }
        }
    }

    pub fn merge(&mut self, other: &Rollup) {
        self.checks += other.checks;
        self.attempts += other.attempts;
        for (reason, count) in &other.failures {
            *self.failures.entry(*reason).or_default() += count;
        }
        self.latency.merge(&other.latency);
        for (mine, theirs) in self.phases.iter_mut().zip(&other.phases) {
            mine.merge(theirs);
        }
    }

    pub fn failed(&self) -> u64 {
        self.failures.values().sum()
    }

    /// Checks that passed and took longer than a limit, as well as latencies are kept; none without one.
    pub fn slow(&self, limit: Option<Duration>) -> u64 {
        limit.map_or(0, |limit| self.latency.count() - self.latency.count_within(limit))
    }
}

impl Held {
    /// Joins what follows on.
    pub fn join(&mut self, next: &Held) {
        let mut times = Times { up: self.up + next.up, down: self.down + next.down };
        times.hold(self.turn.status, (next.first - self.last).min(self.rule.holds()));
        *self = Held { first: self.first, up: times.up, down: times.down, ..*next };
    }

    /// Whether the state its last result left still holds at an instant.
    fn reaches(&self) -> i64 {
        self.last.saturating_add(self.rule.holds())
    }
}

impl Part {
    /// Joins the part that follows on.
    pub fn join(&mut self, next: &Part) {
        self.rollup.merge(&next.rollup);
        self.held.join(&next.held);
    }
}

/// Time in states from `start` to `end`, of which `own` holds the results. `before` is the newest part of all that lie before;
/// `end` is not later than now.
pub fn times(before: Option<&Held>, own: Option<&Held>, start: i64, end: i64) -> Times {
    let mut times = Times::default();
    if let Some(before) = before {
        let to = own.map_or(end, |own| own.first).min(before.reaches()).min(end);
        times.hold(before.turn.status, to - before.last.max(start));
    }
    if let Some(own) = own {
        times.up += own.up;
        times.down += own.down;
        times.hold(own.turn.status, end.min(own.reaches()) - own.last);
    }
    times
}

/// The minutes that hold results, by their start. `results` are of one series, in order of time; `from` is how its region
/// stood before the first of them.
pub fn minutes(results: &[CheckResult], rule: Rule, from: Turn) -> BTreeMap<i64, Part> {
    let mut minutes: BTreeMap<i64, Part> = BTreeMap::new();
    let mut turn = from;
    for result in results {
        turn.take(result.ok(), rule.thresholds());
        let at = result.started_at.0;
        let next = Held { first: at, last: at, up: 0, down: 0, turn, rule };
        let part = minutes.entry(at.div_euclid(MINUTE) * MINUTE);
        let part = part.and_modify(|part| part.held.join(&next)).or_insert_with(|| Part { rollup: Rollup::default(), held: next });
        part.rollup.add(result);
    }
    minutes
}

/// Parts that follow each other as one; `None` of none.
pub fn joined<'a>(parts: impl IntoIterator<Item = &'a Part>) -> Option<Part> {
    let mut parts = parts.into_iter();
    let mut whole = parts.next()?.clone();
    for part in parts {
        whole.join(part);
    }
    Some(whole)
}

/// The start of the span of this length that an instant lies in.
pub fn floor(at: Timestamp, span: i64) -> i64 {
    at.0.div_euclid(span) * span
}

#[cfg(test)]
mod tests;
