//! How figures and their trends are shown, in milliseconds and shares.

use std::collections::BTreeMap;

use serde::Serialize;
use utoipa::ToSchema;

use crate::analysis::performance::figures::{EndpointFigures, Figures, Stats};
use crate::analysis::performance::{PHASES, Periods, Settings};
use crate::analysis::trend::{Direction, Measure, Trend};
use crate::api::performance::Report;
use crate::model::check::Phase;
use crate::model::id::{RegionName, ServiceId};
use crate::model::time::Timestamp;

#[derive(Serialize, ToSchema)]
pub struct PeriodView {
    pub since: String,
    pub until: String,
    /// What trends hold it against.
    pub before_since: String,
    pub before_until: String,
    /// The length of the blocks that are compared.
    pub block_s: f64,
}

#[derive(Serialize, ToSchema)]
pub struct AnalysisView {
    pub generated_at: String,
    pub hours: u32,
    pub period: PeriodView,
    /// Everything together.
    pub whole: FiguresView,
    pub services: Vec<ServiceView>,
    pub regions: Vec<RegionView>,
    /// This API's own; empty where a service or a region is asked for.
    pub endpoints: Vec<EndpointView>,
}

#[derive(Serialize, ToSchema)]
pub struct ServiceView {
    pub service_id: u32,
    pub service_name: String,
    #[serde(flatten)]
    pub figures: FiguresView,
    pub regions: Vec<RegionView>,
}

#[derive(Serialize, ToSchema)]
pub struct RegionView {
    pub region: String,
    #[serde(flatten)]
    pub figures: FiguresView,
}

#[derive(Serialize, ToSchema)]
pub struct FiguresView {
    pub checks: u64,
    pub attempts: u64,
    pub failures: u64,
    pub failures_by_reason: BTreeMap<&'static str, u64>,
    /// Failed checks over all, 0 to 1; null of none.
    pub error_rate: Option<f64>,
    /// Of the checks that passed; null where none did.
    pub latency: Option<StatsView>,
    /// Of the checks that passed: `dns`, `connect`, `tls`, `first_byte`, `transfer`, those that happened.
    pub phases: BTreeMap<&'static str, PhaseView>,
    /// Of the median latency.
    pub trend: TrendView,
    /// Of the 95th percentile.
    pub p95_trend: TrendView,
    pub error_trend: TrendView,
}

#[derive(Serialize, ToSchema)]
pub struct PhaseView {
    #[serde(flatten)]
    pub stats: StatsView,
    /// Of the whole latency, 0 to 1.
    pub share: Option<f64>,
    /// Null by region.
    pub trend: Option<TrendView>,
}

/// Percentiles are within one per cent.
#[derive(Serialize, ToSchema)]
pub struct StatsView {
    pub count: u64,
    pub mean_ms: f64,
    pub median_ms: f64,
    /// Null of fewer than 20.
    pub p95_ms: Option<f64>,
    /// Null of fewer than 100.
    pub p99_ms: Option<f64>,
    /// What cannot be said, with how much there is and how much is needed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub missing: Option<String>,
}

#[derive(Serialize, ToSchema)]
pub struct TrendView {
    /// `slower`, `faster`, `worse`, `better`, `steady` or `unknown`
    pub direction: &'static str,
    /// Milliseconds; of errors the share that failed.
    pub before: Option<f64>,
    pub now: Option<f64>,
    /// Now over before.
    pub ratio: Option<f64>,
    /// Where the ratio lies at 95 %; of latencies alone.
    pub ratio_low: Option<f64>,
    pub ratio_high: Option<f64>,
    /// The probability that chance alone makes so much of a change.
    pub chance: Option<f64>,
    /// 0 to 1: that something changed at all.
    pub confidence: f64,
    /// Why the direction is unknown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub missing: Option<String>,
    /// The same in parts, for pages: how many there are, how many are needed, and of what.
    #[serde(skip)]
    pub lacking: Option<(u64, u64, &'static str)>,
}

#[derive(Serialize, ToSchema)]
pub struct EndpointView {
    pub method: String,
    pub route: String,
    /// `answer`; `waits`, for a check or someone else; `stream`, whose latency is the time until it opened; `page`
    pub kind: &'static str,
    pub requests: u64,
    /// By class of status: `1xx` to `5xx`, those that happened.
    pub answers: BTreeMap<&'static str, u64>,
    /// Answers of the 5xx class over all: those of 4xx are the caller's.
    pub error_rate: f64,
    pub latency: StatsView,
    pub trend: TrendView,
    pub error_trend: TrendView,
}

impl From<&Report> for AnalysisView {
    fn from(report: &Report) -> AnalysisView {
        let analysis = &report.analysis;
        let of_region =
            |(region, figures): (&RegionName, &Figures)| RegionView { region: region.to_string(), figures: FiguresView::from(figures) };
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
        let phase = |(index, phase): (usize, &Phase)| {
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
        let lacking = match trend.direction {
            Direction::Unknown { have, need, of } => Some((have, need, of)),
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
            missing: lacking.map(|(have, need, of)| format!("not enough data (have {have}, need {need} {of})")),
            lacking,
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

pub(super) fn name(settings: &Settings, service: ServiceId) -> String {
    settings.get(&service).map_or_else(String::new, |setting| setting.name.to_string())
}

/// Microseconds as milliseconds with three decimals.
pub(super) fn millis(us: f64) -> f64 {
    us.round() / 1e3
}

pub(super) fn share(value: f64) -> f64 {
    (value * 1e5).round() / 1e5
}
