//! How places that cost time, and what to do about it, are shown.

use serde::Serialize;
use utoipa::ToSchema;

use crate::aggregate::endpoint::Endpoint;
use crate::analysis::performance::Settings;
use crate::analysis::performance::bottleneck::{Bottleneck, LEAST_COUNT, NONE_PASSED, Place};
use crate::analysis::performance::recommend::{Fact, Recommendation};
use crate::api::performance::Report;
use crate::api::performance::view::{PeriodView, StatsView, TrendView, millis, name, share};
use crate::model::id::ServiceId;

#[derive(Serialize, ToSchema)]
pub struct BottlenecksView {
    pub generated_at: String,
    pub period: PeriodView,
    /// The dearest first.
    pub results: Vec<BottleneckView>,
    /// Why there are none, if that is for want of data.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub missing: Option<String>,
}

#[derive(Serialize, ToSchema)]
pub struct BottleneckView {
    /// `phase`, `timeouts`, `retries` or `endpoint`
    pub kind: &'static str,
    pub service_id: Option<u32>,
    pub service_name: Option<String>,
    /// The region nearly all of it arises in; null where it is no single one.
    pub region: Option<String>,
    pub phase: Option<&'static str>,
    pub endpoint: Option<String>,
    /// Seconds a day that checks, or requests, take longer than they need.
    pub cost_s_per_day: f64,
    /// Checks, or requests, a day it arises in.
    pub per_day: f64,
    pub mean_ms: f64,
    pub floor_ms: f64,
    /// What the floor is.
    pub floor_of: &'static str,
    pub latency: Option<StatsView>,
    /// Of all time of the service's checks that passed; of retries, of its checks.
    pub share: Option<f64>,
    pub trend: Option<TrendView>,
    /// In one line.
    pub summary: String,
}

#[derive(Serialize, ToSchema)]
pub struct RecommendationsView {
    pub generated_at: String,
    pub period: PeriodView,
    /// The weightiest first; none: nothing was found that calls for one.
    pub results: Vec<RecommendationView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub missing: Option<String>,
}

#[derive(Serialize, ToSchema)]
pub struct RecommendationView {
    pub rule: &'static str,
    pub services: Vec<NamedService>,
    /// Empty: all regions of the services.
    pub regions: Vec<String>,
    pub phase: Option<&'static str>,
    pub endpoint: Option<String>,
    pub what: String,
    pub why: Vec<FactView>,
    /// 0 to 1.
    pub sure: f64,
    pub because: String,
    pub advice: String,
    pub cost_s_per_day: Option<f64>,
}

#[derive(Serialize, ToSchema)]
pub struct NamedService {
    pub service_id: u32,
    pub service_name: String,
}

#[derive(Serialize, ToSchema)]
pub struct FactView {
    pub what: String,
    pub value: f64,
    pub unit: &'static str,
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
        let possible = match found.floor_of {
            NONE_PASSED => format!("and {NONE_PASSED}"),
            of => format!("where {:.1} ms are possible ({of})", found.floor_us / 1e3),
        };
        let summary = format!(
            "{place}: {what} takes {:.1} ms on average {possible}, {:.0} s a day over {:.0} {}",
            found.mean_us / 1e3,
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

fn route(endpoint: &Endpoint) -> String {
    format!("{} {}", endpoint.method, endpoint.route)
}
