//! Results → one sample a span for each service in each region: the medians of its latency and phases, and how many checks
//! failed. A span is a minute unless it is set otherwise, or the service's interval where that is longer.
//!
//! A sample is made some seconds after its span has ended, or after the last result of it was heard where a node works off
//! what waited. What comes later still is counted and left out, so that a sample never changes once it was judged.
//!
//! **Invariant.** Samples of one series are given out in the order of their spans, each span once, unless the clock went back.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use crate::aggregate::rollup::{DAY, MINUTE, Rollup, floor};
use crate::model::check::{CheckResult, Phases};
use crate::model::finding::Signal;
use crate::model::id::{RegionName, ServiceId};
use crate::model::time::{Timestamp, micros};

/// The figures of a sample, in its order.
pub const TIMES: [Signal; 6] = [Signal::Latency, Signal::Dns, Signal::Connect, Signal::Tls, Signal::FirstByte, Signal::Transfer];

/// Spans of one series that may be open at once: a node that works off what waited sends one after the other.
const OPEN: usize = 4;
/// Values kept of one span and figure; more would not move the median.
const VALUES: usize = 1024;
/// A span is closed so long after its end at the earliest, or a twelfth of it where that is less, but for the least…
const GRACE: i64 = 5_000_000;
const LEAST_GRACE: i64 = 1_000_000;
/// …and up to so much later, or a quarter of it, by service, so that not all are judged in one instant.
const SPREAD: i64 = 15_000_000;
/// Results from further ahead than this come from a clock that cannot be right.
const AHEAD: i64 = MINUTE;

/// What the checks of one service in one region came to over one span.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    pub service: ServiceId,
    pub region: RegionName,
    pub start: Timestamp,
    /// Microseconds.
    pub span: i64,
    pub checks: u32,
    pub failed: u32,
    /// Medians in microseconds, in the order of [`TIMES`]; of checks that passed.
    pub times: [Option<f64>; 6],
}

impl Sample {
    pub fn end(&self) -> Timestamp {
        Timestamp(self.start.0.saturating_add(self.span))
    }

    /// From a summary of the same span.
    pub fn of_rollup(service: ServiceId, region: &RegionName, start: Timestamp, span: i64, rollup: &Rollup) -> Sample {
        let few = |count: u64| u32::try_from(count).unwrap_or(u32::MAX);
        let mut times = [None; 6];
        let sketches = std::iter::once(&rollup.latency).chain(&rollup.phases);
        times.iter_mut().zip(sketches).for_each(|(time, sketch)| *time = sketch.quantile_us(0.5));
        Sample { service, region: region.clone(), start, span, checks: few(rollup.checks), failed: few(rollup.failed()), times }
    }
}

/// The span of the samples of a service that is checked so often, `least` at least.
pub fn span_of(gap: Duration, least: Duration) -> i64 {
    micros(gap).clamp(micros(least), DAY)
}

#[derive(Debug, Default)]
pub struct Samples {
    series: HashMap<(ServiceId, RegionName), Gathering>,
    /// Samples that are whole.
    ready: Vec<Sample>,
    pub counts: Counts,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Results that came after their span was judged.
    pub late: u64,
    /// Results that claim to be of the future.
    pub ahead: u64,
}

#[derive(Debug)]
struct Gathering {
    /// Oldest first.
    open: VecDeque<Bucket>,
    /// The start of the newest span that was given out.
    through: i64,
}

#[derive(Debug)]
struct Bucket {
    start: i64,
    span: i64,
    heard: Timestamp,
    checks: u32,
    failed: u32,
    times: [Vec<u32>; 6],
}

impl Samples {
    /// Takes results the store has just stored. `span` says how long the spans of a service are, `None` of one that is gone; it
    /// is asked at each new span.
    pub fn add(&mut self, results: &[CheckResult], now: Timestamp, span: impl Fn(ServiceId) -> Option<i64>) {
        for result in results {
            if result.started_at.0.saturating_sub(AHEAD) > now.0 {
                self.counts.ahead += 1;
                continue;
            }
            let key = (result.service, result.region.clone());
            let gathering = self.series.entry(key).or_insert_with(Gathering::new);
            if gathering.through.saturating_sub(AHEAD) > now.0 {
                // The clock went back: what was judged then lies ahead now.
                *gathering = Gathering::new();
            }
            match gathering.bucket(result.started_at, || span(result.service)) {
                Place::Gone => {}
                Place::Late => self.counts.late += 1,
                Place::Open { index, closed } => {
                    gathering.open[index].add(result, now);
                    self.ready.extend(closed.map(|closed| closed.sample(result.service, &result.region)));
                }
            }
        }
    }

    /// The samples that are whole now, by time.
    pub fn take(&mut self, now: Timestamp) -> Vec<Sample> {
        for ((service, region), gathering) in &mut self.series {
            let share = share(*service);
            // A clock that went back must not keep a span open until it is there again.
            while let Some(oldest) = gathering.open.pop_front_if(|oldest| now.0 >= oldest.due(share) || oldest.start > now.0) {
                gathering.through = oldest.start;
                self.ready.push(oldest.sample(*service, region));
            }
        }
        let mut ready = std::mem::take(&mut self.ready);
        ready.sort_by_key(|sample| sample.start);
        ready
    }

    /// Forgets services that are gone.
    pub fn retain(&mut self, known: impl Fn(ServiceId) -> bool) {
        self.series.retain(|(service, _), _| known(*service));
    }
}

/// Where a result belongs.
enum Place {
    /// With the bucket that had to be closed to make room.
    Open {
        index: usize,
        closed: Option<Bucket>,
    },
    Late,
    Gone,
}

impl Gathering {
    fn new() -> Gathering {
        Gathering { open: VecDeque::new(), through: i64::MIN }
    }

    fn bucket(&mut self, at: Timestamp, span: impl FnOnce() -> Option<i64>) -> Place {
        let holds = |bucket: &Bucket| (bucket.start..bucket.start.saturating_add(bucket.span)).contains(&at.0);
        if let Some(index) = self.open.iter().position(holds) {
            return Place::Open { index, closed: None };
        }
        let Some(span) = span() else { return Place::Gone };
        let start = floor(at, span);
        let full = self.open.len() >= OPEN;
        if start <= self.through || full && self.open.front().is_some_and(|oldest| start < oldest.start) {
            return Place::Late;
        }
        let closed = if full { self.open.pop_front() } else { None };
        if let Some(closed) = &closed {
            self.through = closed.start;
        }
        let index = self.open.partition_point(|bucket| bucket.start < start);
        self.open.insert(index, Bucket::new(start, span));
        Place::Open { index, closed }
    }
}

impl Bucket {
    fn new(start: i64, span: i64) -> Bucket {
        Bucket { start, span, heard: Timestamp(i64::MIN), checks: 0, failed: 0, times: Default::default() }
    }

    fn add(&mut self, result: &CheckResult, now: Timestamp) {
        self.heard = self.heard.max(now);
        self.checks += 1;
        if result.failure.is_some() {
            self.failed += 1;
            return;
        }
        let Phases { dns, connect, tls, first_byte, transfer } = result.phases;
        for (values, time) in self.times.iter_mut().zip([Some(result.latency), dns, connect, tls, first_byte, transfer]) {
            if let Some(time) = time
                && values.len() < VALUES
            {
                values.push(u32::try_from(time.as_micros()).unwrap_or(u32::MAX));
            }
        }
    }

    /// `share` is that of the spread, from 0 to 1.
    fn due(&self, share: f64) -> i64 {
        let grace = (self.span / 12).clamp(LEAST_GRACE, GRACE) + (share * SPREAD.min(self.span / 4) as f64) as i64;
        self.start.saturating_add(self.span).max(self.heard.0).saturating_add(grace)
    }

    fn sample(mut self, service: ServiceId, region: &RegionName) -> Sample {
        let mut times = [None; 6];
        times.iter_mut().zip(&mut self.times).for_each(|(time, values)| *time = median(values));
        let (start, span) = (Timestamp(self.start), self.span);
        Sample { service, region: region.clone(), start, span, checks: self.checks, failed: self.failed, times }
    }
}

/// The mean of the two in the middle where their number is even.
fn median(values: &mut [u32]) -> Option<f64> {
    if values.is_empty() {
        return None;
    }
    let even = values.len().is_multiple_of(2);
    let (below, upper, _) = values.select_nth_unstable(values.len() / 2);
    let upper = f64::from(*upper);
    match below.iter().max() {
        Some(lower) if even => Some((f64::from(*lower) + upper) / 2.0),
        _ => Some(upper),
    }
}

/// From 0 to 1, far apart for neighbouring numbers.
fn share(service: ServiceId) -> f64 {
    f64::from(service.0.wrapping_mul(2_654_435_761) >> 16) / 65_536.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aggregate::sample::{at, bad, good};

    fn feed(samples: &mut Samples, results: &[CheckResult], now: Timestamp) {
        samples.add(results, now, |_| Some(MINUTE));
    }

    #[test]
    fn a_minute_is_given_out_once_after_its_end_with_medians_and_failures() {
        let mut samples = Samples::default();
        let slow = |seconds, ms| CheckResult { latency: Duration::from_millis(ms), ..good("eu", seconds) };
        feed(&mut samples, &[slow(0, 10), slow(10, 30), bad("eu", 20), slow(30, 500), slow(40, 20)], at(41));
        assert_eq!(samples.take(at(62)), [], "the grace is not over");
        let taken = samples.take(at(90));
        assert_eq!(taken.len(), 1);
        assert_eq!((taken[0].start, taken[0].checks, taken[0].failed), (at(0), 5, 1));
        assert_eq!(taken[0].times[0], Some(25_000.0));
        assert_eq!(taken[0].times[1], None, "a phase that never was has no median");
        assert_eq!(taken[0].times[2], Some(2_000.0));
        feed(&mut samples, &[slow(50, 10)], at(91));
        assert_eq!((samples.take(at(300)), samples.counts.late), (Vec::new(), 1));
    }

    #[test]
    fn what_waited_for_hours_is_judged_in_its_order() {
        let mut samples = Samples::default();
        let backlog: Vec<CheckResult> = (0..600).map(|n| good("eu", n * 30)).collect();
        for part in backlog.chunks(7) {
            feed(&mut samples, part, at(20_000));
        }
        let taken = samples.take(at(20_030));
        assert_eq!(taken.len(), 300);
        assert!(taken.iter().all(|sample| sample.checks == 2) && taken.windows(2).all(|pair| pair[0].start < pair[1].start));
        assert_eq!(samples.counts.late, 0);
    }

    #[test]
    fn two_nodes_of_a_region_that_are_a_little_apart_share_a_sample() {
        let mut samples = Samples::default();
        feed(&mut samples, &[good("eu", 5), good("eu", 65), good("eu", 55)], at(66));
        let taken = samples.take(at(200));
        assert_eq!(taken.iter().map(|sample| sample.checks).collect::<Vec<_>>(), [2, 1]);
    }

    #[test]
    fn clocks_ahead_and_clocks_that_go_back_hold_nothing_up() {
        let mut samples = Samples::default();
        feed(&mut samples, &[good("eu", 90_000)], at(0));
        assert_eq!((samples.take(at(200_000)).len(), samples.counts.ahead), (0, 1));
        feed(&mut samples, &[good("eu", 7_200)], at(7_200));
        assert_eq!(samples.take(at(7_400)).len(), 1);
        // Two hours back: what comes now is not late.
        feed(&mut samples, &[good("eu", 60)], at(60));
        assert_eq!((samples.take(at(200)).len(), samples.counts.late), (1, 0));
    }

    #[test]
    fn a_service_that_is_gone_gathers_nothing() {
        let mut samples = Samples::default();
        samples.add(&[good("eu", 0)], at(0), |_| None);
        assert_eq!(samples.take(at(500)), []);
        samples.retain(|_| false);
        assert!(samples.series.is_empty());
    }
}
