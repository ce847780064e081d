//! Rollups → figures: by service, region and phase, with what moved against the period before.
//!
//! Several regions of a service, or services of a region, are compared as one by the mean of their logarithms, block by block
//! and only of those that are in both blocks: a region that came or went, or is checked more often, moves no trend.

use std::collections::BTreeMap;

use crate::aggregate::endpoint::{Endpoint, EndpointRollup, Endpoints};
use crate::aggregate::rollup::Rollup;
use crate::aggregate::sketch::Sketch;
use crate::analysis::performance::{PHASES, Periods};
use crate::analysis::trend::{self, Block, Trend, weed_out};
use crate::model::check::{Phase, Reason};
use crate::model::id::{RegionName, ServiceId};

/// What a block's levels are of: the latency's median, those of the phases, and the latency's 95th percentile.
pub const LATENCY: usize = 0;
const TAIL: usize = 6;
const LEVELS: usize = 7;
/// Of the changes that are told, so many may be false.
const FALSE_CHANGES: f64 = 0.05;

/// The place of a phase among the levels.
pub fn level_of(phase: Phase) -> usize {
    PHASES.iter().position(|other| *other == phase).map_or(LATENCY, |index| index + 1)
}

/// What the rollups of a period came to; microseconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Stats {
    pub count: u64,
    pub mean: f64,
    /// What one in ten stays below: what it can do.
    pub p10: f64,
    pub p50: f64,
    pub p95: f64,
    pub p99: f64,
}

impl Stats {
    pub fn of(sketch: &Sketch) -> Option<Stats> {
        let at = |share: f64| sketch.quantile_us(share);
        Some(Stats { count: sketch.count(), mean: sketch.mean_us()?, p10: at(0.1)?, p50: at(0.5)?, p95: at(0.95)?, p99: at(0.99)? })
    }
}

/// One service in one region.
#[derive(Clone, Debug, Default)]
pub struct Series {
    /// Of the period alone.
    pub total: Rollup,
    now: Half,
    before: Half,
}

#[derive(Clone, Debug, Default)]
struct Half {
    blocks: Vec<Levels>,
    open: Option<(i64, Rollup)>,
}

#[derive(Clone, Debug)]
struct Levels {
    start: i64,
    checks: u64,
    failed: u64,
    of: [Option<f32>; LEVELS],
}

/// Takes rollups in any number, each series in order of time.
#[derive(Debug)]
pub struct Collector {
    periods: Periods,
    series: BTreeMap<(ServiceId, RegionName), Series>,
    now: BTreeMap<i64, Pile>,
    before: BTreeMap<i64, Pile>,
}

/// The latencies of many series in one block, as a [`Sketch`] that is quick to add to.
#[derive(Debug, Default)]
struct Pile {
    counts: Vec<u64>,
    sum_us: u64,
}

#[derive(Clone, Debug)]
pub struct Figures {
    pub checks: u64,
    pub attempts: u64,
    pub failures: BTreeMap<Reason, u64>,
    /// Of the checks that passed; `None` where none did.
    pub latency: Option<Stats>,
    pub phases: [Option<Stats>; 5],
    /// Of the median latency.
    pub trend: Trend,
    /// Of its 95th percentile.
    pub tail: Trend,
    pub errors: Trend,
    /// Of the phases' medians; `None` where the phase did not happen or is not looked at.
    pub phase_trends: [Option<Trend>; 5],
}

#[derive(Clone, Debug)]
pub struct ServiceFigures {
    pub service: ServiceId,
    pub figures: Figures,
    pub regions: BTreeMap<RegionName, Figures>,
}

#[derive(Clone, Debug)]
pub struct EndpointFigures {
    pub endpoint: Endpoint,
    pub classes: [u64; 5],
    pub latency: Stats,
    pub trend: Trend,
    pub errors: Trend,
}

/// All that is known of a period.
#[derive(Clone, Debug)]
pub struct Analysis {
    pub periods: Periods,
    pub whole: Figures,
    pub services: Vec<ServiceFigures>,
    pub regions: BTreeMap<RegionName, Figures>,
    pub endpoints: Vec<EndpointFigures>,
    pub series: BTreeMap<(ServiceId, RegionName), Series>,
    /// The median of all checks that passed together, by the start of its block: of the earlier period, and of this one.
    pub medians: [BTreeMap<i64, f64>; 2],
    /// Days from the first block with checks until now, at least a minute: what rates by the day are reckoned with.
    pub days: f64,
}

impl Figures {
    pub fn failed(&self) -> u64 {
        self.failures.values().sum()
    }

    /// Failed checks over all; `None` of none.
    pub fn error_rate(&self) -> Option<f64> {
        (self.checks > 0).then(|| self.failed() as f64 / self.checks as f64)
    }

    pub fn phase(&self, phase: Phase) -> Option<&Stats> {
        self.phases[level_of(phase).checked_sub(1)?].as_ref()
    }

    /// The mean of a phase over the mean of the whole.
    pub fn share(&self, phase: Phase) -> Option<f64> {
        let (phase, whole) = (self.phase(phase)?, self.latency.as_ref()?);
        (whole.mean > 0.0).then(|| phase.mean * phase.count as f64 / (whole.mean * whole.count as f64))
    }
}

impl Collector {
    pub fn new(periods: Periods) -> Collector {
        Collector { periods, series: BTreeMap::new(), now: BTreeMap::new(), before: BTreeMap::new() }
    }

    /// The rollup of a span of one series that begins at `start`. What lies in neither period is left out.
    pub fn take(&mut self, service: ServiceId, region: &RegionName, start: i64, rollup: &Rollup) {
        let Periods { since, until, block, .. } = self.periods;
        let (from, to) = self.periods.before();
        let block = start.div_euclid(block) * block;
        if !(since..until).contains(&start) && !(from..to).contains(&start) {
            return;
        }
        let pile = if (since..until).contains(&start) { &mut self.now } else { &mut self.before };
        pile.entry(block).or_default().add(&rollup.latency);
        let series = self.series.entry((service, region.clone())).or_default();
        if (since..until).contains(&start) {
            series.total.merge(rollup);
            series.now.take(block, rollup);
        } else {
            series.before.take(block, rollup);
        }
    }

    /// The figures of it all; `endpoints` by the start of their hours, of both periods.
    pub fn analyse(mut self, endpoints: &BTreeMap<i64, Endpoints>) -> Analysis {
        for series in self.series.values_mut() {
            series.now.close();
            series.before.close();
        }
        let all: Vec<(&(ServiceId, RegionName), &Series)> = self.series.iter().collect();
        let apart = self.periods.apart;
        let mut by_service: BTreeMap<ServiceId, Vec<(&RegionName, &Series)>> = BTreeMap::new();
        let mut by_region: BTreeMap<&RegionName, Vec<&Series>> = BTreeMap::new();
        for ((service, region), series) in &all {
            by_service.entry(*service).or_default().push((region, series));
            by_region.entry(region).or_default().push(series);
        }
        let mut services: Vec<ServiceFigures> = by_service
            .into_iter()
            .map(|(service, regions)| {
                let series: Vec<&Series> = regions.iter().map(|(_, series)| *series).collect();
                let whole = figures(&series, apart, true);
                // One region alone is the whole.
                let alone = (regions.len() == 1).then(|| Figures { phase_trends: [None; 5], ..whole.clone() });
                let of = |series: &Series| alone.clone().unwrap_or_else(|| figures(&[series], apart, false));
                let regions = regions.iter().map(|(region, series)| ((*region).clone(), of(series)));
                ServiceFigures { service, regions: regions.collect(), figures: whole }
            })
            .collect();
        let regions = by_region.into_iter().map(|(region, series)| (region.clone(), figures(&series, apart, true))).collect();
        let whole = figures(&all.iter().map(|(_, series)| *series).collect::<Vec<_>>(), apart, true);
        let mut endpoints = endpoint_figures(endpoints, &self.periods);
        weed_out(&mut services.iter_mut().map(|service| &mut service.figures.trend).collect::<Vec<_>>(), FALSE_CHANGES);
        weed_out(&mut services.iter_mut().map(|service| &mut service.figures.errors).collect::<Vec<_>>(), FALSE_CHANGES);
        weed_out(&mut endpoints.iter_mut().map(|endpoint| &mut endpoint.trend).collect::<Vec<_>>(), FALSE_CHANGES);
        let first = all.iter().filter_map(|(_, series)| series.now.blocks.first()).map(|block| block.start).min();
        let from = first.unwrap_or(self.periods.since).max(self.periods.since);
        let days = (self.periods.now - from).max(60_000_000) as f64 / 86_400e6;
        let medians =
            [self.before, self.now].map(|piles| piles.into_iter().filter_map(|(start, pile)| Some((start, pile.median()?))).collect());
        Analysis { periods: self.periods, whole, services, regions, endpoints, series: self.series, medians, days }
    }
}

impl Pile {
    fn add(&mut self, sketch: &Sketch) {
        for (bucket, count) in sketch.bins() {
            let place = usize::from(*bucket);
            if place >= self.counts.len() {
                self.counts.resize(place + 1, 0);
            }
            self.counts[place] += count;
        }
        self.sum_us = self.sum_us.saturating_add(sketch.sum_us());
    }

    fn median(self) -> Option<f64> {
        let bins = self.counts.into_iter().enumerate().filter(|(_, count)| *count > 0);
        let bins = bins.filter_map(|(bucket, count)| Some((u16::try_from(bucket).ok()?, count))).collect();
        Sketch::from_bins(bins, self.sum_us)?.quantile_us(0.5)
    }
}

impl Half {
    fn take(&mut self, block: i64, rollup: &Rollup) {
        match &mut self.open {
            Some((start, open)) if *start == block => open.merge(rollup),
            _ => {
                self.close();
                self.open = Some((block, rollup.clone()));
            }
        }
    }

    fn close(&mut self) {
        let Some((start, rollup)) = self.open.take() else { return };
        let median = |sketch: &Sketch| sketch.quantile_us(0.5).map(|us| us as f32);
        let mut of = [None; LEVELS];
        of[LATENCY] = median(&rollup.latency);
        for (level, sketch) in of[1..].iter_mut().zip(&rollup.phases) {
            *level = median(sketch);
        }
        of[TAIL] = rollup.latency.quantile_us(0.95).map(|us| us as f32);
        self.blocks.push(Levels { start, checks: rollup.checks, failed: rollup.failed(), of });
    }

    fn of(&self, level: usize) -> impl Iterator<Item = (i64, f64)> + '_ {
        self.blocks.iter().filter_map(move |levels| Some((levels.start, f64::from(levels.of[level]?))))
    }

    fn errors(&self) -> impl Iterator<Item = Block> + '_ {
        self.blocks.iter().map(|levels| Block { start: levels.start, level_us: None, checks: levels.checks, failed: levels.failed })
    }
}

impl Series {
    /// The levels of the period's blocks by their start, of the earlier period first where `before` says so.
    pub fn course(&self, level: usize, before: bool) -> Vec<(i64, f64)> {
        let earlier = self.before.of(level).filter(|_| before);
        earlier.chain(self.now.of(level)).collect()
    }

    /// The same, of the earlier period alone.
    pub fn earlier(&self, level: usize) -> Vec<(i64, f64)> {
        self.before.of(level).collect()
    }
}

fn figures(series: &[&Series], apart: i64, phases: bool) -> Figures {
    let mut total = Rollup::default();
    let total = match series {
        [one] => &one.total,
        many => {
            many.iter().for_each(|series| total.merge(&series.total));
            &total
        }
    };
    let trend_of = |level: usize| {
        let (before, now) = matched(series, level, apart);
        trend::latency(&before, &now, apart)
    };
    let moved = |index: usize| (phases && total.phases[index].count() > 0).then(|| trend_of(index + 1));
    Figures {
        checks: total.checks,
        attempts: total.attempts,
        failures: total.failures.clone(),
        latency: Stats::of(&total.latency),
        phases: std::array::from_fn(|index| Stats::of(&total.phases[index])),
        trend: trend_of(LATENCY),
        tail: trend_of(TAIL),
        errors: trend::errors(&errors_of(series, |series| &series.before), &errors_of(series, |series| &series.now)),
        phase_trends: std::array::from_fn(moved),
    }
}

/// The failures of several series, block by block.
fn errors_of(series: &[&Series], half: impl Fn(&Series) -> &Half) -> Vec<Block> {
    let mut blocks: BTreeMap<i64, Block> = BTreeMap::new();
    for block in series.iter().flat_map(|series| half(series).errors()) {
        let sum = blocks.entry(block.start).or_insert(Block { checks: 0, failed: 0, ..block });
        sum.checks += block.checks;
        sum.failed += block.failed;
    }
    blocks.into_values().collect()
}

/// Two periods' blocks of several series as one, of those that are on both sides.
fn matched(series: &[&Series], level: usize, apart: i64) -> (Vec<Block>, Vec<Block>) {
    let mut sums: BTreeMap<i64, (f64, f64, f64)> = BTreeMap::new();
    for series in series {
        let mut before = series.before.blocks.iter().peekable();
        for now in &series.now.blocks {
            let at = now.start - apart;
            while before.next_if(|block| block.start < at).is_some() {}
            let Some(earlier) = before.peek().filter(|block| block.start == at) else { continue };
            if let (Some(was), Some(is)) = (earlier.of[level], now.of[level]) {
                let sum = sums.entry(now.start).or_default();
                *sum = (sum.0 + f64::from(was).max(1.0).ln(), sum.1 + f64::from(is).max(1.0).ln(), sum.2 + 1.0);
            }
        }
    }
    let block = |start: i64, sum: f64, count: f64| Block { start, level_us: Some((sum / count).exp()), checks: 0, failed: 0 };
    let before = sums.iter().map(|(start, (was, _, count))| block(start - apart, *was, *count)).collect();
    let now = sums.iter().map(|(start, (_, is, count))| block(*start, *is, *count)).collect();
    (before, now)
}

/// Hours are all there is of endpoints: in a period of minutes its hours are taken whole.
fn endpoint_figures(hours: &BTreeMap<i64, Endpoints>, periods: &Periods) -> Vec<EndpointFigures> {
    let hour = crate::aggregate::rollup::HOUR;
    let (from, to) = periods.before();
    let within = |since: i64, until: i64| hours.range(since.div_euclid(hour) * hour..until);
    let mut totals = Endpoints::new();
    within(periods.since, periods.until).for_each(|(_, endpoints)| crate::aggregate::endpoint::merge_into(&mut totals, endpoints));
    let span = periods.block.max(hour);
    let blocks = |since: i64, until: i64, endpoint: &Endpoint| -> Vec<Block> {
        let mut blocks: BTreeMap<i64, EndpointRollup> = BTreeMap::new();
        for (start, endpoints) in within(since, until) {
            if let Some(rollup) = endpoints.get(endpoint) {
                blocks.entry(start.div_euclid(span) * span).or_default().merge(rollup);
            }
        }
        blocks.iter().map(|(start, rollup)| Block::new(*start, &rollup.latency, rollup.requests(), rollup.failed())).collect()
    };
    let figures = totals.into_iter().filter_map(|(endpoint, rollup)| {
        let (before, now) = (blocks(from, to, &endpoint), blocks(periods.since, periods.until, &endpoint));
        let latency = Stats::of(&rollup.latency)?;
        let trend = trend::latency(&before, &now, periods.apart);
        Some(EndpointFigures { trend, errors: trend::errors(&before, &now), classes: rollup.classes, latency, endpoint })
    });
    figures.collect()
}
