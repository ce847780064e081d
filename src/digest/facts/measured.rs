//! The rollups of one service's regions → what a digest needs of them: a few figures and levels by the hour or the day, a
//! hundredth of the size. Pure.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::aggregate::rollup::Rollup;
use crate::aggregate::sketch::Sketch;
use crate::analysis::trend::Block;
use crate::model::digest::Period;
use crate::model::id::RegionName;
use crate::store::rollups::Bucket;

/// One service over a period, and its levels in the one before.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Measured {
    pub checks: u64,
    pub failed: u64,
    /// Of the checks that passed: those that took longer than the service bears before it is degraded.
    pub slow: u64,
    /// Microseconds up and down of all regions, of so many that could be known.
    pub up: i64,
    pub down: i64,
    pub window: i64,
    /// p50 and p95 of the checks that passed, in microseconds.
    pub quantiles: Option<(f64, f64)>,
    pub regions: Vec<InRegion>,
    /// Of all regions together.
    pub latency: Levels,
    /// dns, connect, tls, first byte, transfer.
    pub phases: [Levels; 5],
}

#[derive(Clone, Debug, PartialEq)]
pub struct InRegion {
    pub region: RegionName,
    pub latency: Levels,
}

/// By the hour or the day, of the period and of the one before.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Levels {
    pub before: Vec<Block>,
    pub now: Vec<Block>,
}

impl Measured {
    /// Of the rollups of each region, which cover both periods. What is not known before `from`, when the service came, is not
    /// missed. What takes longer than `limit` is slow.
    pub fn of(regions: &[(RegionName, Vec<Bucket>)], period: Period, before: Period, from: i64, limit: Option<Duration>) -> Measured {
        let mut measured = Measured::default();
        let mut merged: BTreeMap<i64, Rollup> = BTreeMap::new();
        let mut whole = Rollup::default();
        // Of a region that was heard of before and is no more, the period could have been known too.
        for (region, buckets) in regions.iter().filter(|(_, buckets)| !buckets.is_empty()) {
            for bucket in buckets {
                merged.entry(bucket.start.0).or_default().merge(&bucket.rollup);
                if (period.since.0..period.until.0).contains(&bucket.start.0) {
                    measured.up += bucket.times.up;
                    measured.down += bucket.times.down;
                    whole.merge(&bucket.rollup);
                }
            }
            measured.window += (period.until.0 - period.since.0.max(from)).max(0);
            let own: Vec<(i64, &Rollup)> = buckets.iter().map(|bucket| (bucket.start.0, &bucket.rollup)).collect();
            measured.regions.push(InRegion { region: region.clone(), latency: levels(&own, period, before, |rollup| &rollup.latency) });
        }
        let merged: Vec<(i64, &Rollup)> = merged.iter().map(|(start, rollup)| (*start, rollup)).collect();
        (measured.checks, measured.failed, measured.slow) = (whole.checks, whole.failed(), whole.slow(limit));
        measured.quantiles = whole.latency.quantile_us(0.5).zip(whole.latency.quantile_us(0.95));
        measured.latency = levels(&merged, period, before, |rollup| &rollup.latency);
        for (phase, kept) in measured.phases.iter_mut().enumerate() {
            *kept = levels(&merged, period, before, |rollup| &rollup.phases[phase]);
        }
        measured
    }

    /// Up-time over known time; `None` where nothing is known.
    pub fn uptime(&self) -> Option<f64> {
        (self.up + self.down > 0).then(|| self.up as f64 / (self.up + self.down) as f64)
    }

    /// Slow checks over all; 0 of none.
    pub fn slow_share(&self) -> f64 {
        self.slow as f64 / self.checks.max(1) as f64
    }

    /// Known time over the time there was.
    pub fn coverage(&self) -> f64 {
        if self.window > 0 { ((self.up + self.down) as f64 / self.window as f64).clamp(0.0, 1.0) } else { 0.0 }
    }
}

fn levels(rollups: &[(i64, &Rollup)], period: Period, before: Period, of: impl Fn(&Rollup) -> &Sketch) -> Levels {
    let within = |span: Period| -> Vec<Block> {
        let mine = rollups.iter().filter(|(start, rollup)| (span.since.0..span.until.0).contains(start) && rollup.checks > 0);
        mine.map(|(start, rollup)| Block::new(*start, of(rollup), rollup.checks, rollup.failed())).collect()
    };
    Levels { before: within(before), now: within(period) }
}
