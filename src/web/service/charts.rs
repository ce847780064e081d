//! Rollups of a service → its charts: one of all regions, one of each.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::aggregate::rollup::{Rollup, Times};
use crate::api::error::ApiError;
use crate::api::rollups::rule;
use crate::api::state::ApiState;
use crate::model::finding::Finding;
use crate::model::id::ServiceId;
use crate::model::incident::Severity;
use crate::model::time::Timestamp;
use crate::store::findings::FindingQuery;
use crate::store::rollups::{Bucket, Resolution, RollupQuery};
use crate::web::chart::{Chart, Mark, Point, highest};
use crate::web::moment::{latency, percent};
use crate::web::svg::{State, strip_over};
use crate::web::text::Text;

const MINUTE: i64 = 60_000_000;
const FINDINGS: usize = 50;

/// How much of the past is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Range {
    Hour,
    Day,
    Week,
    Month,
}

impl Range {
    pub const ALL: [Range; 4] = [Range::Hour, Range::Day, Range::Week, Range::Month];

    pub fn name(self) -> &'static str {
        match self {
            Range::Hour => "1h",
            Range::Day => "24h",
            Range::Week => "7d",
            Range::Month => "30d",
        }
    }

    pub fn key(self) -> &'static str {
        match self {
            Range::Hour => "range.hour",
            Range::Day => "range.day",
            Range::Week => "range.week",
            Range::Month => "range.month",
        }
    }

    pub fn from_name(name: &str) -> Option<Range> {
        Range::ALL.into_iter().find(|range| range.name() == name)
    }

    /// What is read, the microseconds of a bucket made of that, and how many of them.
    fn grid(self) -> (Resolution, i64, i64) {
        match self {
            Range::Hour => (Resolution::Minute, MINUTE, 60),
            Range::Day => (Resolution::Minute, 15 * MINUTE, 96),
            Range::Week => (Resolution::Hour, 60 * MINUTE, 168),
            Range::Month => (Resolution::Hour, 240 * MINUTE, 180),
        }
    }
}

pub struct Charts {
    /// Percentiles of all regions together; empty without any result.
    pub all: String,
    pub figures: Figures,
    pub regions: Vec<RegionChart>,
    pub findings: Vec<Finding>,
}

/// What a whole range came to.
#[derive(Default)]
pub struct Figures {
    pub checks: u64,
    pub failures: u64,
    pub p50: Option<String>,
    pub p95: Option<String>,
    pub p99: Option<String>,
    pub uptime: Option<String>,
    pub coverage: String,
}

pub struct RegionChart {
    pub name: String,
    pub figures: Figures,
    pub chart: String,
    pub strip: String,
}

/// The buckets of one region, merged to the grid of a range.
struct Series {
    name: String,
    buckets: Vec<(Rollup, Times)>,
}

pub async fn charts(t: Text, state: &ApiState, service: ServiceId, range: Range, now: Timestamp) -> Result<Charts, ApiError> {
    let (resolution, step, count) = range.grid();
    let from = Timestamp((now.0.div_euclid(step) + 1 - count) * step);
    let mut series = Vec::new();
    for region in state.store.results.regions(service) {
        let query =
            RollupQuery { service, region: Some(region.to_string()), resolution, since: from, until: now, rule: rule(state, service) };
        let found = state.store.results.rollups(&query, now).await?;
        if !found.is_empty() {
            series.push(Series { name: region.to_string(), buckets: merged(&found, from, step, count) });
        }
    }
    let query =
        FindingQuery { service: Some(service), since: Some(from), dismissed: Some(false), size: FINDINGS, ..FindingQuery::default() };
    let findings = state.findings.list(&query).await?.findings;
    let marks = marks(state, service, &findings, from, now);
    let whole = (now.0 - from.0).max(1);
    let points: Vec<Vec<Point>> = series.iter().map(|one| one.buckets.iter().map(point).collect()).collect();
    let top = points.iter().map(|points| highest(points)).fold(0.0, f64::max);
    let mut all = vec![(Rollup::default(), Times::default()); count as usize];
    for one in &series {
        for (sum, (rollup, times)) in all.iter_mut().zip(&one.buckets) {
            sum.0.merge(rollup);
            sum.1.add(*times);
        }
    }
    let regions = series.iter().zip(&points).map(|(one, points)| {
        let own: Vec<Mark> =
            marks.iter().filter(|mark| mark.region.as_ref().is_none_or(|region| *region == one.name)).map(Spot::mark).collect();
        let label = t.one("chart.region_label", &one.name);
        let chart = Chart { t, label: &label, from, step, points, marks: &own, height: 150, stacked: true, top: Some(top) };
        let states: Vec<State> = one.buckets.iter().map(state_of).collect();
        RegionChart {
            chart: chart.draw(),
            strip: strip_over(&states, &t.one("chart.strip_label", &one.name), from, step),
            figures: figures(&one.buckets, whole),
            name: one.name.clone(),
        }
    });
    let regions: Vec<RegionChart> = regions.collect();
    let all_points: Vec<Point> = all.iter().map(point).collect();
    let every: Vec<Mark> = marks.iter().map(Spot::mark).collect();
    let chart =
        Chart { t, label: t.s("chart.all_label"), from, step, points: &all_points, marks: &every, height: 210, stacked: false, top: None };
    Ok(Charts {
        all: if series.is_empty() { String::new() } else { chart.draw() },
        figures: figures(&all, whole * series.len().max(1) as i64),
        regions,
        findings,
    })
}

/// A mark and the only region it is of.
struct Spot {
    mark: Mark,
    region: Option<String>,
}

impl Spot {
    fn mark(&self) -> Mark {
        self.mark.clone()
    }
}

fn marks(state: &ApiState, service: ServiceId, findings: &[Finding], from: Timestamp, now: Timestamp) -> Vec<Spot> {
    let spans = state.incidents.spans(from);
    let incidents = spans.iter().filter(|span| span.service == service && span.severity == Severity::Critical).map(|span| Spot {
        mark: Mark { from: span.opened_at, to: span.closed_at.unwrap_or(now), kind: "incident", text: String::new() },
        region: None,
    });
    let findings = findings.iter().map(|finding| Spot {
        mark: Mark { from: finding.since, to: finding.ended.unwrap_or(now), kind: "finding", text: finding.summary.clone() },
        region: finding.region.as_ref().map(ToString::to_string),
    });
    incidents.chain(findings).collect()
}

fn merged(found: &[Bucket], from: Timestamp, step: i64, count: i64) -> Vec<(Rollup, Times)> {
    let mut by_place: BTreeMap<i64, (Rollup, Times)> = BTreeMap::new();
    for bucket in found {
        let (rollup, times) = by_place.entry((bucket.start.0 - from.0).div_euclid(step)).or_default();
        rollup.merge(&bucket.rollup);
        times.add(bucket.times);
    }
    (0..count).map(|place| by_place.remove(&place).unwrap_or_default()).collect()
}

fn point((rollup, _): &(Rollup, Times)) -> Point {
    let passed = rollup.latency.count();
    let mean = |index: usize| if passed == 0 { 0.0 } else { rollup.phases[index].sum_us() as f64 / passed as f64 };
    Point {
        checks: rollup.checks,
        failures: rollup.failed(),
        p50: rollup.latency.quantile_us(0.5),
        p95: rollup.latency.quantile_us(0.95),
        p99: rollup.latency.quantile_us(0.99),
        phases: std::array::from_fn(mean),
    }
}

fn state_of((rollup, times): &(Rollup, Times)) -> State {
    match (times.up, times.down) {
        (0, 0) if rollup.checks == 0 => State::Unknown,
        (up, down) if down > 0 => {
            if down >= up {
                State::Down
            } else {
                State::Partly
            }
        }
        _ if rollup.checks > 0 && rollup.failed() == rollup.checks => State::Down,
        _ if rollup.failed() > 0 => State::Partly,
        _ => State::Up,
    }
}

fn figures(buckets: &[(Rollup, Times)], whole: i64) -> Figures {
    let (mut sum, mut times) = (Rollup::default(), Times::default());
    for (rollup, of) in buckets {
        sum.merge(rollup);
        times.add(*of);
    }
    let at = |share: f64| sum.latency.quantile_us(share).map(latency);
    Figures {
        checks: sum.checks,
        failures: sum.failed(),
        p50: at(0.5),
        p95: at(0.95),
        p99: at(0.99),
        uptime: times.ratio().map(percent),
        coverage: percent(times.coverage(whole)),
    }
}

/// How often the charts of a range are worth drawing anew.
pub fn refresh_after(range: Range) -> Duration {
    match range {
        Range::Hour => Duration::from_secs(15),
        Range::Day => Duration::from_secs(60),
        Range::Week | Range::Month => Duration::from_secs(300),
    }
}
