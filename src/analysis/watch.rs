//! One service under watch: what is known of each region, and its episodes. Samples go in, changes of findings come out.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::analysis::common::Seen;
use crate::analysis::episode::{Change, Context, Episodes};
use crate::analysis::samples::Sample;
use crate::analysis::series::{Row, Series};
use crate::config::sections::AnalysisSettings;
use crate::model::finding::{Dismissal, Finding, Learning, Signal};
use crate::model::id::{RegionName, ServiceId};
use crate::model::time::Timestamp;

#[derive(Clone, Debug)]
pub struct Watch {
    pub service: ServiceId,
    pub name: Arc<str>,
    series: BTreeMap<RegionName, Series>,
    episodes: Episodes,
    habits: BTreeMap<RegionName, RegionHabit>,
}

/// What is known of a region, for people.
#[derive(Clone, Debug, PartialEq)]
pub struct RegionHabit {
    pub at: Timestamp,
    pub checks: u32,
    pub failed: u32,
    /// The share of failures that is habit.
    pub error_share: f64,
    pub errors_learning: Option<Learning>,
    pub times: Vec<TimeHabit>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TimeHabit {
    pub signal: Signal,
    pub observed: f64,
    pub expected: Option<f64>,
    pub score: f64,
    pub learning: Option<Learning>,
}

impl Watch {
    /// With what was kept of it: states by region, and its findings that go on or ended lately.
    pub fn new(service: ServiceId, name: Arc<str>, series: BTreeMap<RegionName, Series>, findings: &[Finding]) -> Watch {
        Watch { service, name, series, episodes: Episodes::restore(findings), habits: BTreeMap::new() }
    }

    /// Takes samples in the order of their spans; with what each showed.
    pub fn take(&mut self, samples: &[Sample], dismissals: &[Dismissal], settings: &AnalysisSettings) -> (Vec<Change>, Vec<Seen>) {
        let (mut changes, mut seen) = (Vec::new(), Vec::new());
        for sample in samples {
            let series = self.series.entry(sample.region.clone()).or_default();
            let row = series.take(sample, settings);
            self.habits.insert(sample.region.clone(), RegionHabit::from(&row));
            let context = context(self.service, &self.name, dismissals, settings);
            changes.extend(self.episodes.take(&row, &context));
            seen.push(Seen {
                service: self.service,
                name: self.name.clone(),
                region: row.region.clone(),
                at: sample.end(),
                span: row.span,
                slow: self.episodes.slow_at(&row),
            });
        }
        (changes, seen)
    }

    /// Ends what nothing was heard of for long.
    pub fn expire(&mut self, now: Timestamp, settings: &AnalysisSettings) -> Vec<Change> {
        let context = context(self.service, &self.name, &[], settings);
        self.episodes.expire(now, &context)
    }

    /// Ends all findings: the service is gone.
    pub fn end(&mut self, now: Timestamp, settings: &AnalysisSettings) -> Vec<Change> {
        let context = context(self.service, &self.name, &[], settings);
        self.episodes.end_all(&context, now)
    }

    pub fn series(&self) -> &BTreeMap<RegionName, Series> {
        &self.series
    }

    pub fn habits(&self) -> &BTreeMap<RegionName, RegionHabit> {
        &self.habits
    }
}

fn context<'a>(service: ServiceId, name: &'a Arc<str>, dismissals: &'a [Dismissal], settings: &AnalysisSettings) -> Context<'a> {
    Context { service, name, dismissals, quiet_samples: settings.quiet_samples, least_change: settings.least_change }
}

impl From<&Row> for RegionHabit {
    fn from(row: &Row) -> RegionHabit {
        let times = row.times.iter().map(|reading| TimeHabit {
            signal: reading.signal,
            observed: reading.observed,
            expected: reading.expected,
            score: reading.score,
            learning: reading.learning,
        });
        RegionHabit {
            at: row.at,
            checks: row.checks,
            failed: row.failed,
            error_share: row.errors.habit,
            errors_learning: row.errors.learning,
            times: times.collect(),
        }
    }
}
