//! What the batch pass looks at: a service's buckets as rows of figures, each as far from its habit as its own scatter.
//!
//! Every figure is first held against the habit of its own region, then averaged over the regions that checked: a region
//! that is slower than the others, or was away for an hour, changes nothing. What the hour of the day and of the week lead to
//! expect is taken away, and so is the level of the last days, so that a row says only what is unlike itself.
//!
//! **Invariant.** A figure that chance alone could move so far is within two scatters, however still it was before.

mod habit;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ndarray::Array2;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::aggregate::rollup::{HOUR, MINUTE, Rollup};
use crate::analysis::features::habit::{Spread, expected, median};
use crate::model::check::Reason;
use crate::model::id::RegionName;
use crate::model::time::{Timestamp, micros};

/// Buckets a table is made of at least, to be worth a forest…
pub const LEAST_BUCKETS: usize = 500;
/// …and at most.
pub const MOST_BUCKETS: usize = 2016;
/// Checks of one region a bucket should hold.
const CHECKS: i64 = 12;
const LENGTHS: [i64; 8] = [MINUTE, 2 * MINUTE, 5 * MINUTE, 10 * MINUTE, 15 * MINUTE, 20 * MINUTE, 30 * MINUTE, HOUR];

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Feature {
    P50,
    P95,
    P99,
    DnsShare,
    ConnectShare,
    TlsShare,
    FirstByteShare,
    TransferShare,
    Errors,
    ErrorMix,
    RegionSpread,
    Attempts,
}

impl Feature {
    pub const ALL: [Feature; 12] = [
        Feature::P50,
        Feature::P95,
        Feature::P99,
        Feature::DnsShare,
        Feature::ConnectShare,
        Feature::TlsShare,
        Feature::FirstByteShare,
        Feature::TransferShare,
        Feature::Errors,
        Feature::ErrorMix,
        Feature::RegionSpread,
        Feature::Attempts,
    ];

    /// In a user's words.
    pub fn name(self) -> &'static str {
        match self {
            Feature::P50 => "latency p50",
            Feature::P95 => "latency p95",
            Feature::P99 => "latency p99",
            Feature::DnsShare => "DNS's share of the time",
            Feature::ConnectShare => "connecting's share of the time",
            Feature::TlsShare => "TLS's share of the time",
            Feature::FirstByteShare => "first byte's share of the time",
            Feature::TransferShare => "transfer's share of the time",
            Feature::Errors => "share of checks that fail",
            Feature::ErrorMix => "kinds of failures at once",
            Feature::RegionSpread => "slowest region to the middle one",
            Feature::Attempts => "attempts a check",
        }
    }

    /// With its unit, where that is not plain.
    pub fn title(self) -> String {
        if self.is_time() { format!("{} in ms", self.name()) } else { self.name().to_owned() }
    }

    fn is_time(self) -> bool {
        matches!(self, Feature::P50 | Feature::P95 | Feature::P99)
    }

    /// From the scale it is worked in to the unit it is shown in: milliseconds, shares from 0 to 1, ratios and counts.
    fn shown(self, value: f64) -> f64 {
        match self {
            Feature::P50 | Feature::P95 | Feature::P99 => value.exp() / 1e3,
            Feature::ErrorMix | Feature::RegionSpread => value.exp(),
            Feature::Errors => 1.0 / (1.0 + (-value).exp()),
            _ => value,
        }
    }

    /// The value as a person reads it.
    pub fn written(self, shown: f64) -> String {
        match self {
            time if time.is_time() && shown < 10.0 => format!("{shown:.2} ms"),
            time if time.is_time() => format!("{shown:.0} ms"),
            Feature::ErrorMix => format!("{shown:.1}"),
            Feature::RegionSpread => format!("{shown:.2} ×"),
            Feature::Attempts => format!("{shown:.2}"),
            _ => format!("{:.1} %", shown * 100.0),
        }
    }
}

/// What one region's checks of one bucket came to; far smaller than the rollup it is of.
#[derive(Clone, Debug, PartialEq)]
pub struct RegionSummary {
    pub region: RegionName,
    checks: u32,
    attempts: u32,
    failures: BTreeMap<Reason, u64>,
    /// Logarithms of p50, p95 and p99 in microseconds, of the checks that passed.
    latency: Option<[f64; 3]>,
    /// Of the medians of dns, connect, tls, first byte and transfer.
    shares: Option<[f64; 5]>,
}

impl RegionSummary {
    pub fn of(region: RegionName, rollup: &Rollup) -> RegionSummary {
        let at = |share: f64| rollup.latency.quantile_us(share).map(|us| us.max(1.0).ln());
        let latency = at(0.5).zip(at(0.95)).zip(at(0.99)).map(|((p50, p95), p99)| [p50, p95, p99]);
        let middles = rollup.phases.each_ref().map(|sketch| sketch.quantile_us(0.5).unwrap_or(0.0));
        let whole: f64 = middles.iter().sum();
        let small = |count: u64| u32::try_from(count).unwrap_or(u32::MAX);
        RegionSummary {
            region,
            checks: small(rollup.checks),
            attempts: small(rollup.attempts),
            failures: rollup.failures.clone(),
            latency,
            shares: (whole > 0.0).then(|| middles.map(|middle| middle / whole)),
        }
    }
}

/// One bucket of a service.
#[derive(Clone, Debug, PartialEq)]
pub struct Observation {
    pub start: Timestamp,
    pub regions: Vec<RegionSummary>,
}

/// How long buckets are, in microseconds: so long that each holds a dozen checks of a region, unless the history is too short
/// to give enough of such.
pub fn bucket_length(interval: Duration, history: Duration) -> i64 {
    let wanted = micros(interval).saturating_mul(CHECKS);
    let fits = |length: i64| micros(history) / length >= LEAST_BUCKETS as i64;
    let long_enough = LENGTHS.into_iter().find(|length| *length >= wanted).unwrap_or(HOUR);
    let mut shorter = LENGTHS.into_iter().rev().filter(|length| *length <= long_enough && *length >= micros(interval).min(HOUR));
    shorter.find(|length| fits(*length)).unwrap_or(long_enough)
}

/// Rows of buckets, columns of features. A feature that never moved has no column.
#[derive(Clone, Debug)]
pub struct Table {
    pub starts: Vec<Timestamp>,
    pub features: Vec<Feature>,
    /// From habit, in scatters; 0 where a bucket did not know the figure.
    pub rows: Array2<f64>,
    /// What was seen and what habit led to expect, in the scale it is worked in.
    observed: Array2<f64>,
    expected: Array2<f64>,
}

impl Table {
    /// `observations` in order of time, of buckets `length` microseconds long. `seed` is of the noise that stands for chance.
    pub fn new(observations: &[Observation], length: i64, seed: u64) -> Table {
        let starts: Vec<Timestamp> = observations.iter().map(|observation| observation.start).collect();
        let errors = ErrorHabit::of(observations);
        let (columns, chance) = (raw(observations, &errors), errors.chance());
        let mut table = Table {
            features: Vec::new(),
            rows: Array2::zeros((starts.len(), 0)),
            observed: Array2::zeros((starts.len(), 0)),
            expected: Array2::zeros((starts.len(), 0)),
            starts,
        };
        for (index, feature) in Feature::ALL.into_iter().enumerate() {
            let values: Vec<f64> = columns.iter().map(|row| row[index]).collect();
            if values.iter().all(|value| !value.is_finite() || *value == values[0]) {
                continue;
            }
            let usual = expected(&table.starts, &values, length);
            let off: Vec<f64> = values.iter().zip(&usual).map(|(value, usual)| value - usual).collect();
            let Some(Spread { middle, scatter }) = Spread::of(&off) else { continue };
            let least = chance[index];
            // A forest sees order, not size: where figures move less than by chance, chance is put in their place.
            let noise = (least * least - scatter * scatter).max(0.0).sqrt();
            let mut rng = StdRng::seed_from_u64(seed.wrapping_add(index as u64));
            let scale = scatter.max(least);
            let rows = off.iter().map(|off| {
                let by_chance = noise * normal(&mut rng);
                if off.is_finite() { (off - middle + by_chance) / scale } else { by_chance / scale }
            });
            let rows: Vec<f64> = rows.collect();
            for (matrix, column) in [(&mut table.rows, rows), (&mut table.observed, values), (&mut table.expected, usual)] {
                matrix.push_column(ndarray::ArrayView1::from(&column)).expect("each column has a value for each row");
            }
            table.features.push(feature);
        }
        table
    }

    /// What was seen and what habit led to expect, in the unit the feature is shown in; `None`: not known in this bucket.
    pub fn figures(&self, row: usize, column: usize) -> Option<(f64, f64)> {
        let (observed, expected) = (self.observed[[row, column]], self.expected[[row, column]]);
        let shown = |value: f64| self.features[column].shown(value);
        (observed.is_finite() && expected.is_finite()).then(|| (shown(observed), shown(expected)))
    }
}

/// The figures of each bucket, NaN where they are not known.
fn raw(observations: &[Observation], errors: &ErrorHabit) -> Vec<[f64; 12]> {
    let names: BTreeSet<&RegionName> = observations.iter().flat_map(|of| of.regions.iter().map(|region| &region.region)).collect();
    let centres: BTreeMap<&RegionName, [f64; 8]> = names.into_iter().map(|name| (name, centre(observations, name))).collect();
    // What the average region is like, so that figures keep their usual size.
    let usual = |index: usize| mean(centres.values().map(|centre| centre[index]));
    let whole: [f64; 8] = std::array::from_fn(usual);
    observations.iter().map(|observation| row(observation, &centres, &whole, errors)).collect()
}

fn row(observation: &Observation, centres: &BTreeMap<&RegionName, [f64; 8]>, whole: &[f64; 8], errors: &ErrorHabit) -> [f64; 12] {
    let regions = &observation.regions;
    let off = |index: usize| -> Vec<f64> {
        let one = |region: &RegionSummary| Some(figure(region, index)? - centres.get(&region.region)?[index]);
        regions.iter().filter_map(one).filter(|off| off.is_finite()).collect()
    };
    let mut row = [f64::NAN; 12];
    for (index, whole) in whole.iter().enumerate() {
        row[index] = whole + mean(off(index).into_iter());
    }
    let checks: f64 = regions.iter().map(|region| f64::from(region.checks)).sum();
    let mut failures: BTreeMap<Reason, u64> = BTreeMap::new();
    for (reason, count) in regions.iter().flat_map(|region| &region.failures) {
        *failures.entry(*reason).or_default() += count;
    }
    let failed = failures.values().sum::<u64>() as f64;
    if checks > 0.0 {
        row[8] = errors.logit(failed, checks);
        row[9] = failures.values().map(|count| *count as f64 / failed).map(|share| -share * share.ln()).sum();
        row[11] = regions.iter().map(|region| f64::from(region.attempts)).sum::<f64>() / checks;
    }
    let levels = off(0);
    if levels.len() >= 2 {
        row[10] = levels.iter().copied().fold(f64::NEG_INFINITY, f64::max) - median(&levels);
    }
    row
}

/// How often checks of a service fail at all.
struct ErrorHabit {
    share: f64,
    /// Checks of all regions in a bucket.
    checks: f64,
}

impl ErrorHabit {
    fn of(observations: &[Observation]) -> ErrorHabit {
        let regions = observations.iter().flat_map(|of| &of.regions);
        let (failed, checks) = regions
            .fold((0, 0), |(failed, checks), region| (failed + region.failures.values().sum::<u64>(), checks + u64::from(region.checks)));
        let share = (failed as f64 + 0.5) / (checks as f64 + 1.0);
        ErrorHabit { share, checks: (checks as f64 / observations.len().max(1) as f64).max(1.0) }
    }

    /// The log-odds of failing, where habit counts as much as the bucket's own checks.
    fn logit(&self, failed: f64, checks: f64) -> f64 {
        let share = (failed / checks + self.share) / 2.0;
        (share / (1.0 - share)).ln()
    }

    /// How far chance alone moves each feature: the least that can be told apart, or half of what one check more does.
    fn chance(&self) -> [f64; 12] {
        let mut least = [0.02, 0.03, 0.03, 0.01, 0.01, 0.01, 0.01, 0.01, 0.0, 0.35, 0.03, 0.5 / self.checks];
        let usual = (self.share * self.checks).floor();
        least[8] = 0.5 * (self.logit(usual + 1.0, self.checks) - self.logit(usual, self.checks));
        least
    }
}

/// A region's medians of latency and shares over all buckets.
fn centre(observations: &[Observation], name: &RegionName) -> [f64; 8] {
    let of_region: Vec<&RegionSummary> = observations.iter().flat_map(|of| &of.regions).filter(|region| region.region == *name).collect();
    std::array::from_fn(|index| {
        let values: Vec<f64> = of_region.iter().filter_map(|region| figure(region, index)).collect();
        median(&values)
    })
}

/// Latency percentiles first, then shares.
fn figure(region: &RegionSummary, index: usize) -> Option<f64> {
    if index < 3 { region.latency.map(|latency| latency[index]) } else { region.shares.map(|shares| shares[index - 3]) }
}

/// Of those that are numbers; NaN for none.
fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let (sum, count) = values.filter(|value| value.is_finite()).fold((0.0, 0u32), |(sum, count), value| (sum + value, count + 1));
    if count == 0 { f64::NAN } else { sum / f64::from(count) }
}

/// Box and Muller, 1958.
fn normal(rng: &mut StdRng) -> f64 {
    let (one, other): (f64, f64) = (rng.random(), rng.random());
    (-2.0 * (1.0 - one).ln()).sqrt() * (std::f64::consts::TAU * other).cos()
}

#[cfg(test)]
mod tests;
