//! How performance is shown: the answers' shapes, in milliseconds and shares.

use std::collections::BTreeMap;

use serde::Serialize;
use utoipa::ToSchema;

use crate::aggregate::endpoint::Endpoint;
use crate::analysis::performance::bottleneck::{Bottleneck, LEAST_COUNT, Place};
use crate::analysis::performance::figures::{EndpointFigures, Figures, Stats};
use crate::analysis::performance::recommend::{Fact, Recommendation};
use crate::analysis::performance::{PHASES, Periods, Settings};
use crate::analysis::trend::{Direction, Measure, Trend};
use crate::api::performance::Report;
use crate::model::id::ServiceId;
use crate::model::time::Timestamp;

#[derive(Serialize, ToSchema)]
pub struct PeriodView {
    since: String,
    until: String,
    /// What trends hold it against.
    before_since: String,
    before_until: String,
    /// The length of the blocks that are compared.
    block_s: f64,
}

#[derive(Serialize, ToSchema)]
pub struct AnalysisView {
    generated_at: String,
    hours: u32,
    period: PeriodView,
    /// Everything together.
    whole: FiguresView,
    services: Vec<ServiceView>,
    regions: Vec<RegionView>,
    /// This API's own; empty where a service or a region is asked for.
    endpoints: Vec<EndpointView>,
}

#[derive(Serialize, ToSchema)]
pub struct ServiceView {
    service_id: u32,
    service_name: String,
    #[serde(flatten)]
    figures: FiguresView,
    regions: Vec<RegionView>,
}

#[derive(Serialize, ToSchema)]
pub struct RegionView {
    region: String,
    #[serde(flatten)]
    figures: FiguresView,
}

#[derive(Serialize, ToSchema)]
pub struct FiguresView {
    checks: u64,
    attempts: u64,
    failures: u64,
    failures_by_reason: BTreeMap<&'static str, u64>,
    /// Failed checks over all, 0 to 1; null of none.
    error_rate: Option<f64>,
    /// Of the checks that passed; null where none did.
    latency: Option<StatsView>,
    /// Of the checks that passed: `dns`, `connect`, `tls`, `first_byte`, `transfer`, those that happened.
    phases: BTreeMap<&'static str, PhaseView>,
    /// Of the median latency.
    trend: TrendView,
    /// Of the 95th percentile.
    p95_trend: TrendView,
    error_trend: TrendView,
}

#[derive(Serialize, ToSchema)]
pub struct PhaseView {
    #[serde(flatten)]
    stats: StatsView,
    /// Of the whole latency, 0 to 1.
    share: Option<f64>,
    /// Null by region.
    trend: Option<TrendView>,
}

/// Percentiles are within one per cent.
#[derive(Serialize, ToSchema)]
pub struct StatsView {
    count: u64,
    mean_ms: f64,
    median_ms: f64,
    /// Null of fewer than 20.
    p95_ms: Option<f64>,
    /// Null of fewer than 100.
    p99_ms: Option<f64>,
    /// What cannot be said, with how much there is and how much is needed.
    #[serde(skip_serializing_if = "Option::is_none")]
    missing: Option<String>,
}

#[derive(Serialize, ToSchema)]
pub struct TrendView {
    /// `slower`, `faster`, `worse`, `better`, `steady` or `unknown`
    direction: &'static str,
    /// Milliseconds; of errors the share that failed.
    before: Option<f64>,
    now: Option<f64>,
    /// Now over before.
    ratio: Option<f64>,
    /// Where the ratio lies at 95 %; of latencies alone.
    ratio_low: Option<f64>,
    ratio_high: Option<f64>,
    /// The probability that chance alone makes so much of a change.
    chance: Option<f64>,
    /// 0 to 1: that something changed at all.
    confidence: f64,
    /// Why the direction is unknown.
    #[serde(skip_serializing_if = "Option::is_none")]
    missing: Option<String>,
}

#[derive(Serialize, ToSchema)]
pub struct EndpointView {
    method: String,
    route: String,
    /// `answer`; `waits`, for a check or someone else; `stream`, whose latency is the time until it opened; `page`
    kind: &'static str,
    requests: u64,
    /// By class of status: `1xx` to `5xx`, those that happened.
    answers: BTreeMap<&'static str, u64>,
    /// Answers of the 5xx class over all: those of 4xx are the caller's.
    error_rate: f64,
    latency: StatsView,
    trend: TrendView,
    error_trend: TrendView,
}

#[derive(Serialize, ToSchema)]
pub struct BottlenecksView {
    generated_at: String,
    period: PeriodView,
    /// The dearest first.
    results: Vec<BottleneckView>,
    /// Why there are none, if that is for want of data.
    #[serde(skip_serializing_if = "Option::is_none")]
    missing: Option<String>,
}

#[derive(Serialize, ToSchema)]
pub struct BottleneckView {
    /// `phase`, `timeouts`, `retries` or `endpoint`
    kind: &'static str,
    service_id: Option<u32>,
    service_name: Option<String>,
    /// The region nearly all of it arises in; null where it is no single one.
    region: Option<String>,
    phase: Option<&'static str>,
    endpoint: Option<String>,
    /// Seconds a day that checks, or requests, take longer than they need.
    cost_s_per_day: f64,
    /// Checks, or requests, a day it arises in.
    per_day: f64,
    mean_ms: f64,
    floor_ms: f64,
    /// What the floor is.
    floor_of: &'static str,
    latency: Option<StatsView>,
    /// Of all time of the service's checks that passed; of retries, of its checks.
    share: Option<f64>,
    trend: Option<TrendView>,
    /// In one line.
    summary: String,
}

#[derive(Serialize, ToSchema)]
pub struct RecommendationsView {
    generated_at: String,
    period: PeriodView,
    /// The weightiest first; none: nothing was found that calls for one.
    results: Vec<RecommendationView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    missing: Option<String>,
}

#[derive(Serialize, ToSchema)]
pub struct RecommendationView {
    rule: &'static str,
    services: Vec<NamedService>,
    /// Empty: all regions of the services.
    regions: Vec<String>,
    phase: Option<&'static str>,
    endpoint: Option<String>,
    what: String,
    why: Vec<FactView>,
    /// 0 to 1.
    sure: f64,
    because: String,
    advice: String,
    cost_s_per_day: Option<f64>,
}

#[derive(Serialize, ToSchema)]
pub struct NamedService {
    service_id: u32,
    service_name: String,
}

#[derive(Serialize, ToSchema)]
pub struct FactView {
    what: String,
    value: f64,
    unit: &'static str,
}

impl From<&Report> for AnalysisView {
    fn from(report: &Report) -> AnalysisView {
        let analysis = &report.analysis;
        let of_region = |(region, figures): (&crate::model::id::RegionName, &Figures)| RegionView {
            region: region.to_string(),
            figures: FiguresView::from(figures),
        };
        let services = analysis.services.iter().map(|service| ServiceView {
            service_id: service.service.0,
            service_name: name(&report.settings, service.service),
            figures: FiguresView::from(&service.figures),
            regions: service.regions.iter().map(of_region).collect(),
        });
        AnalysisView {
            generated_at: report.at.rfc3339(),
            hours: report.question.hours,
            period: PeriodView::from(&analysis.periods),
            whole: FiguresView::from(&analysis.whole),
            services: services.collect(),
            regions: analysis.regions.iter().map(of_region).collect(),
            endpoints: analysis.endpoints.iter().map(EndpointView::from).collect(),
        }
    }
}

impl From<&Report> for BottlenecksView {
    fn from(report: &Report) -> BottlenecksView {
        BottlenecksView {
            generated_at: report.at.rfc3339(),
            period: PeriodView::from(&report.analysis.periods),
            results: report.bottlenecks.iter().map(|place| BottleneckView::of(place, &report.settings)).collect(),
            missing: missing(report),
        }
    }
}

impl From<&Report> for RecommendationsView {
    fn from(report: &Report) -> RecommendationsView {
        RecommendationsView {
            generated_at: report.at.rfc3339(),
            period: PeriodView::from(&report.analysis.periods),
            results: report.recommendations.iter().map(|one| RecommendationView::of(one, &report.settings)).collect(),
            missing: missing(report),
        }
    }
}

impl From<&Periods> for PeriodView {
    fn from(periods: &Periods) -> PeriodView {
        let time = |at: i64| Timestamp(at).rfc3339();
        let (since, until) = periods.before();
        PeriodView {
            since: time(periods.since),
            until: time(periods.until.min(periods.now)),
            before_since: time(since),
            before_until: time(until),
            block_s: periods.block as f64 / 1e6,
        }
    }
}

impl From<&Figures> for FiguresView {
    fn from(figures: &Figures) -> FiguresView {
        let phase = |(index, phase): (usize, &crate::model::check::Phase)| {
            let stats = figures.phases[index].as_ref()?;
            let trend = figures.phase_trends[index].as_ref().map(TrendView::from);
            Some((phase.name(), PhaseView { stats: StatsView::from(stats), share: figures.share(*phase).map(share), trend }))
        };
        FiguresView {
            checks: figures.checks,
            attempts: figures.attempts,
            failures: figures.failed(),
            failures_by_reason: figures.failures.iter().map(|(reason, count)| (reason.name(), *count)).collect(),
            error_rate: figures.error_rate().map(share),
            latency: figures.latency.as_ref().map(StatsView::from),
            phases: PHASES.iter().enumerate().filter_map(phase).collect(),
            trend: TrendView::from(&figures.trend),
            p95_trend: TrendView::from(&figures.tail),
            error_trend: TrendView::from(&figures.errors),
        }
    }
}

impl From<&Stats> for StatsView {
    fn from(stats: &Stats) -> StatsView {
        let needs = |need: u64, value: f64| (stats.count >= need).then(|| millis(value));
        let missing = [(20, "p95 and p99"), (100, "p99")].into_iter().find(|(need, _)| stats.count < *need);
        StatsView {
            count: stats.count,
            mean_ms: millis(stats.mean),
            median_ms: millis(stats.p50),
            p95_ms: needs(20, stats.p95),
            p99_ms: needs(100, stats.p99),
            missing: missing.map(|(need, what)| format!("not enough data for {what} (have {}, need {need})", stats.count)),
        }
    }
}

impl From<&Trend> for TrendView {
    fn from(trend: &Trend) -> TrendView {
        let level = |value: f64| if trend.measure == Measure::Latency { millis(value) } else { share(value) };
        let missing = match trend.direction {
            Direction::Unknown { have, need, of } => Some(format!("not enough data (have {have}, need {need} {of})")),
            _ => None,
        };
        TrendView {
            direction: trend.direction.name(),
            before: trend.before.map(level),
            now: trend.now.map(level),
            ratio: trend.ratio.map(share),
            ratio_low: trend.range.map(|(low, _)| share(low)),
            ratio_high: trend.range.map(|(_, high)| share(high)),
            chance: trend.chance.map(share),
            confidence: share(trend.confidence()),
            missing,
        }
    }
}

impl From<&EndpointFigures> for EndpointView {
    fn from(of: &EndpointFigures) -> EndpointView {
        let names = ["1xx", "2xx", "3xx", "4xx", "5xx"];
        let requests: u64 = of.classes.iter().sum();
        EndpointView {
            method: of.endpoint.method.clone(),
            route: of.endpoint.route.clone(),
            kind: of.endpoint.kind.name(),
            requests,
            answers: names.into_iter().zip(of.classes).filter(|(_, count)| *count > 0).collect(),
            error_rate: share(of.classes[4] as f64 / requests.max(1) as f64),
            latency: StatsView::from(&of.latency),
            trend: TrendView::from(&of.trend),
            error_trend: TrendView::from(&of.errors),
        }
    }
}

impl BottleneckView {
    fn of(found: &Bottleneck, settings: &Settings) -> BottleneckView {
        let (kind, service, region, phase, endpoint) = match &found.place {
            Place::Phase { service, region, phase } => ("phase", Some(*service), region.clone(), Some(phase.name()), None),
            Place::Timeouts { service } => ("timeouts", Some(*service), None, None, None),
            Place::Retries { service } => ("retries", Some(*service), None, None, None),
            Place::Endpoint { endpoint } => ("endpoint", None, None, None, Some(route(endpoint))),
        };
        let service_name = service.map(|service| name(settings, service));
        let place = match (&service_name, &region) {
            (Some(name), Some(region)) => format!("{name} in {region}"),
            (Some(name), None) => name.clone(),
            (None, _) => endpoint.clone().unwrap_or_default(),
        };
        let what = phase.unwrap_or(kind);
        let summary = format!(
            "{place}: {what} takes {:.1} ms on average where {:.1} ms are possible ({}), {:.0} s a day over {:.0} {}",
            found.mean_us / 1e3,
            found.floor_us / 1e3,
            found.floor_of,
            found.cost,
            found.per_day,
            if kind == "endpoint" { "requests" } else { "checks" },
        );
        BottleneckView {
            kind,
            service_id: service.map(|service| service.0),
            service_name,
            region: region.map(|region| region.to_string()),
            phase,
            endpoint,
            cost_s_per_day: millis(found.cost * 1e3),
            per_day: (found.per_day * 10.0).round() / 10.0,
            mean_ms: millis(found.mean_us),
            floor_ms: millis(found.floor_us),
            floor_of: found.floor_of,
            latency: found.stats.as_ref().map(StatsView::from),
            share: found.share.map(share),
            trend: found.trend.as_ref().map(TrendView::from),
            summary,
        }
    }
}

impl RecommendationView {
    fn of(one: &Recommendation, settings: &Settings) -> RecommendationView {
        let named = |service: &ServiceId| NamedService { service_id: service.0, service_name: name(settings, *service) };
        let fact = |fact: &Fact| FactView { what: fact.what.clone(), value: fact.value, unit: fact.unit };
        RecommendationView {
            rule: one.rule,
            services: one.services.iter().map(named).collect(),
            regions: one.regions.iter().map(|region| region.to_string()).collect(),
            phase: one.phase.map(|phase| phase.name()),
            endpoint: one.endpoint.as_ref().map(route),
            what: one.what.clone(),
            why: one.why.iter().map(fact).collect(),
            sure: one.sure,
            because: one.because.clone(),
            advice: one.advice.clone(),
            cost_s_per_day: one.cost.map(|cost| millis(cost * 1e3)),
        }
    }
}

/// Said where not one service or endpoint has enough for a rule to look at it.
fn missing(report: &Report) -> Option<String> {
    let services = report.analysis.services.iter().filter_map(|service| service.figures.latency.map(|latency| latency.count));
    let have = services.max().unwrap_or(0);
    let found = !report.bottlenecks.is_empty() || !report.recommendations.is_empty();
    (have < LEAST_COUNT && !found).then(|| format!("not enough data (have {have}, need {LEAST_COUNT} checks of a service that passed)"))
}

fn name(settings: &Settings, service: ServiceId) -> String {
    settings.get(&service).map_or_else(String::new, |setting| setting.name.to_string())
}

fn route(endpoint: &Endpoint) -> String {
    format!("{} {}", endpoint.method, endpoint.route)
}

/// Microseconds as milliseconds with three decimals.
fn millis(us: f64) -> f64 {
    us.round() / 1e3
}

fn share(value: f64) -> f64 {
    (value * 1e5).round() / 1e5
}
