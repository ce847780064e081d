//! Rollups of a service → its charts: one of all regions, one of each.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::aggregate::rollup::{Rollup, Times};
use crate::api::error::ApiError;
use crate::api::rollups::rule;
use crate::api::state::ApiState;
use crate::model::finding::Finding;
use crate::model::id::{RegionName, ServiceId};
use crate::model::incident::Severity;
use crate::model::span::{Span, clipped, total};
use crate::model::time::Timestamp;
use crate::store::findings::FindingQuery;
use crate::store::query::{ResultQuery, StoredResult};
use crate::store::rollups::{Bucket, RollupQuery};
use crate::web::chart::{Chart, Mark, Point, highest};
use crate::web::moment::{latency, percent};
use crate::web::service::window::{Grid, Window};
use crate::web::svg::{State, strip_over};
use crate::web::text::Text;

/// What is made of rollups has buckets of a minute at least.
const MINUTE: Duration = Duration::from_secs(60);
const FINDINGS: usize = 50;
/// Results that are looked at one by one, a page at a time; where there are more, minutes will do.
const RESULTS: usize = 20_000;
const PAGE: usize = 2_000;

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
    /// Of all of them.
    times: Times,
}

pub async fn charts(t: Text, state: &ApiState, service: ServiceId, window: &Window, now: Timestamp) -> Result<Charts, ApiError> {
    let rule = rule(state, service);
    let mut grid = window.grid(rule.gap);
    let mut fine = match grid.one_by_one {
        true => one_by_one(state, service, window, &grid).await?,
        false => None,
    };
    if grid.one_by_one && fine.is_none() {
        grid = window.grid(MINUTE);
    }
    let Grid { resolution, from, step, count, .. } = grid;
    let end = window.to.min(now).max(from);
    let worked = state.windows.excluded(service, Span::new(from, end));
    let ledgers = match worked.is_empty() {
        true => BTreeMap::new(),
        false => state.store.results.ledgers(service, None, &worked, rule, now).await?,
    };
    let mut series = Vec::new();
    for region in state.store.results.regions(service) {
        let query = RollupQuery { service, region: Some(region.to_string()), resolution, since: from, until: window.to, rule };
        let found = state.store.results.rollups(&query, now).await?;
        if found.is_empty() {
            continue;
        }
        // What is known of a minute is told of it whole: how long it was up cannot be told of a second.
        let mut times = found.iter().fold(Times::default(), |mut sum, bucket| {
            sum.add(bucket.times);
            sum
        });
        let ledger = ledgers.get(&region);
        ledger.iter().for_each(|ledger| worked.iter().for_each(|span| times.take(ledger.times(*span, now))));
        let mut buckets = match &mut fine {
            None => merged(&found, from, step, count),
            Some(fine) => fine.remove(&region).unwrap_or_else(|| vec![Default::default(); count as usize]),
        };
        // Seconds have no times that could be left out.
        if let (Some(ledger), None) = (ledger, &fine) {
            for (place, (_, times)) in buckets.iter_mut().enumerate() {
                clipped(&worked, bucket(from, step, place)).into_iter().for_each(|span| times.take(ledger.times(span, now)));
            }
        }
        series.push(Series { name: region.to_string(), buckets, times });
    }
    let query = FindingQuery {
        service: Some(service),
        since: Some(from),
        until: Some(window.to),
        dismissed: Some(false),
        size: FINDINGS,
        ..FindingQuery::default()
    };
    let findings = state.findings.list(&query).await?.findings;
    let marks = marks(t, state, service, (&findings, &worked), window);
    let limit = state.board.degraded_after(service);
    let made = state.services.get(service).map_or(from, |stored| stored.created_at);
    // Of what came within the window more could not be known.
    let known = Span::new(from.max(made).min(end), end);
    let whole = (known.length() - total(&clipped(&worked, known))).max(1);
    let points: Vec<Vec<Point>> = series.iter().map(|one| one.buckets.iter().map(point).collect()).collect();
    let top = points.iter().map(|points| highest(points, false)).fold(0.0, f64::max);
    let mut all = vec![(Rollup::default(), Times::default()); count as usize];
    for one in &series {
        for (sum, (rollup, times)) in all.iter_mut().zip(&one.buckets) {
            sum.0.merge(rollup);
            sum.1.add(*times);
        }
    }
    let all_times = series.iter().fold(Times::default(), |mut sum, one| {
        sum.add(one.times);
        sum
    });
    let regions = series.iter().zip(&points).map(|(one, points)| {
        let own: Vec<Mark> =
            marks.iter().filter(|mark| mark.region.as_ref().is_none_or(|region| *region == one.name)).map(Spot::mark).collect();
        let label = t.one("chart.region_label", &one.name);
        let chart = Chart { t, label: &label, from, step, points, beside: &[], marks: &own, height: 150, stacked: true, top: Some(top) };
        let state = |(place, one): (usize, &(Rollup, Times))| {
            let span = bucket(from, step, place);
            let most = total(&clipped(&worked, span)) * 2 > span.length();
            if most { State::Maintenance } else { state_of(one, limit) }
        };
        let states: Vec<State> = one.buckets.iter().enumerate().map(state).collect();
        RegionChart {
            chart: chart.draw(),
            strip: strip_over(&states, &t.one("chart.strip_label", &one.name), from, step),
            figures: figures(&one.buckets, one.times, whole),
            name: one.name.clone(),
        }
    });
    let regions: Vec<RegionChart> = regions.collect();
    let all_points: Vec<Point> = all.iter().map(point).collect();
    let every: Vec<Mark> = marks.iter().map(Spot::mark).collect();
    let beside: Vec<(&str, &[Point])> = match series.len() {
        0 | 1 => Vec::new(),
        _ => series.iter().zip(&points).map(|(one, points)| (one.name.as_str(), points.as_slice())).collect(),
    };
    let chart = Chart {
        t,
        label: t.s("chart.all_label"),
        from,
        step,
        points: &all_points,
        beside: &beside,
        marks: &every,
        height: 210,
        stacked: false,
        top: None,
    };
    Ok(Charts {
        all: if series.is_empty() { String::new() } else { chart.draw() },
        figures: figures(&all, all_times, whole * series.len().max(1) as i64),
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

fn bucket(from: Timestamp, step: i64, place: usize) -> Span {
    let start = Timestamp(from.0 + step * place as i64);
    Span::new(start, Timestamp(start.0 + step))
}

fn marks(t: Text, state: &ApiState, service: ServiceId, (findings, worked): (&[Finding], &[Span]), window: &Window) -> Vec<Spot> {
    let spans = state.incidents.spans(window.from);
    let severe = spans.iter().filter(|span| span.service == service && span.severity == Severity::Critical);
    let incidents = severe.filter(|span| span.opened_at < window.to).map(|span| Spot {
        mark: Mark {
            from: span.opened_at,
            to: span.closed_at.unwrap_or(window.to),
            kind: "incident",
            text: t.s("verdict.down").to_owned(),
        },
        region: None,
    });
    let findings = findings.iter().map(|finding| Spot {
        mark: Mark { from: finding.since, to: finding.ended.unwrap_or(window.to), kind: "finding", text: finding.summary.clone() },
        region: finding.region.as_ref().map(ToString::to_string),
    });
    let worked = worked.iter().map(|span| Spot {
        mark: Mark { from: span.from, to: span.until, kind: "maintenance", text: t.s("verdict.maintenance").to_owned() },
        region: None,
    });
    worked.chain(incidents).chain(findings).collect()
}

/// Buckets of seconds, by region, made of the results themselves; `None` where there are too many of these.
async fn one_by_one(
    state: &ApiState,
    service: ServiceId,
    window: &Window,
    grid: &Grid,
) -> Result<Option<BTreeMap<RegionName, Vec<(Rollup, Times)>>>, ApiError> {
    let mut regions: BTreeMap<RegionName, Vec<(Rollup, Times)>> = BTreeMap::new();
    let mut query =
        ResultQuery { service: Some(service), since: Some(grid.from), until: Some(window.to), page_size: PAGE, ..ResultQuery::default() };
    let mut seen = 0;
    loop {
        let page = state.store.results.page(&query).await?;
        seen += page.results.len();
        if seen > RESULTS {
            return Ok(None);
        }
        for StoredResult { result, .. } in &page.results {
            let buckets = regions.entry(result.region.clone()).or_insert_with(|| vec![Default::default(); grid.count as usize]);
            let place = usize::try_from((result.started_at.0 - grid.from.0).div_euclid(grid.step)).ok();
            if let Some((rollup, _)) = place.and_then(|place| buckets.get_mut(place)) {
                rollup.add(result);
            }
        }
        query.cursor = page.next;
        if query.cursor.is_none() {
            return Ok(Some(regions));
        }
    }
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

/// `limit`: a check that takes longer is slow.
fn state_of((rollup, times): &(Rollup, Times), limit: Option<Duration>) -> State {
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
        _ if rollup.failed() > 0 || rollup.slow(limit) > 0 => State::Partly,
        _ => State::Up,
    }
}

fn figures(buckets: &[(Rollup, Times)], times: Times, whole: i64) -> Figures {
    let mut sum = Rollup::default();
    buckets.iter().for_each(|(rollup, _)| sum.merge(rollup));
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
