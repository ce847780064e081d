//! The health of all services at a glance. Answered from memory, never from the store.

use std::collections::BTreeMap;

use rocket::serde::json::Json;
use rocket::{State, get};
use serde::Serialize;
use utoipa::ToSchema;

use crate::aggregate::board::{RegionState, ServiceState};
use crate::api::auth::Viewer;
use crate::api::error::{ApiError, Problem};
use crate::api::query::Query;
use crate::api::results::millis;
use crate::api::state::ApiState;
use crate::model::check::CheckResult;
use crate::model::digest::Digest;
use crate::store::rollups::WindowUptime;
use crate::store::uptimes::{Known, WINDOWS};

#[derive(Serialize, ToSchema)]
pub struct Summary {
    services: Vec<ServiceSummary>,
    /// Null before the first.
    global_digest: Option<GlobalDigest>,
    generated_at: String,
}

#[derive(Serialize, ToSchema)]
pub struct ServiceSummary {
    service_id: u32,
    service_name: String,
    /// The newest result of any region; null before the first.
    latest_check: Option<LatestCheck>,
    /// Null before the first.
    latest_digest: Option<ServiceDigest>,
    enabled: bool,
    group: Option<String>,
    tags: Vec<String>,
    /// `up`, `degraded`, `down`, `unknown`, `disabled` or `maintenance`.
    verdict: &'static str,
    /// The maintenance window it is in now.
    maintenance: Option<MaintenanceSummary>,
    /// The latest change of any region's status.
    since: Option<String>,
    regions: Vec<RegionSummary>,
    uptime: UptimeSummary,
    /// By window: `24h`, `7d`, `30d`, `90d`. From rollups, worked out anew after each full hour; null until then.
    uptimes: Option<BTreeMap<&'static str, UptimeView>>,
}

#[derive(Serialize, ToSchema)]
pub struct LatestCheck {
    status_code: Option<u16>,
    ok: bool,
    latency_ms: f64,
    checked_at: String,
}

#[derive(Serialize, ToSchema)]
pub struct RegionSummary {
    region: String,
    /// `up`, `down` or `unknown`.
    status: &'static str,
    since: String,
    latest_check: LatestCheck,
    /// Why the latest check failed.
    reason: Option<&'static str>,
    message: Option<String>,
}

/// A maintenance window a service is in: it is checked, and nobody is told.
#[derive(Serialize, ToSchema)]
pub struct MaintenanceSummary {
    window_id: u32,
    title: String,
    /// When it leaves maintenance, whichever window keeps it there.
    until: Option<String>,
    /// What its results say: `up`, `degraded`, `down` or `unknown`.
    beneath: &'static str,
}

#[derive(Serialize, ToSchema)]
pub struct UptimeSummary {
    /// Up-time over known time, 0 to 1; null where nothing is known.
    ratio: Option<f64>,
    /// Known time over the window, 0 to 1: what nobody measured is neither up nor down.
    coverage: f64,
    window_hours: f64,
    /// Of the window, seconds in maintenance: neither known nor unknown. With any, all figures here are those of `uptimes`.
    maintenance_s: f64,
}

/// Up-time and coverage of one window that ends now.
#[derive(Serialize, ToSchema)]
pub struct UptimeView {
    /// Up-time over known time, 0 to 1; null where nothing is known.
    ratio: Option<f64>,
    /// Known time over the window, 0 to 1: what nobody measured is neither up nor down.
    coverage: f64,
    /// Of the window, seconds in maintenance: left out of both.
    maintenance_s: f64,
}

#[derive(Serialize, ToSchema)]
pub struct ServiceDigest {
    summary_text: String,
    anomaly_count: u64,
    period_start: String,
}

#[derive(Serialize, ToSchema)]
pub struct GlobalDigest {
    summary_text: String,
    anomaly_count: u64,
}

/// The health of all services.
#[utoipa::path(
    tag = "health",
    responses(
        (status = 200, description = "Every service with its latest check and verdict", body = Summary),
        (status = 401, description = "No valid token", body = Problem),
    )
)]
#[get("/api/monitor/health/summary")]
pub fn read(_viewer: Viewer, query: Query, state: &State<ApiState>) -> Result<Json<Summary>, ApiError> {
    query.allow(&[])?;
    let now = state.clock.now();
    let board = state.board.summary(now);
    let services = board.iter().map(|known| {
        let worked_out = state.uptimes.get(known.id);
        let day = worked_out.as_ref().and_then(|known| known.windows.first()).filter(|day| !day.maintenance.is_zero());
        let uptimes = worked_out.as_ref().map(uptimes);
        let latest_digest = state.digests.latest(Some(known.id)).map(|digest| ServiceDigest::from(&*digest));
        let plain = ServiceSummary::from(known);
        // Counts of whole hours cannot leave maintenance out.
        let uptime = day.map_or(plain.uptime, UptimeSummary::from);
        let maintenance = known.maintenance.and_then(|id| state.windows.store.get(id)).map(|window| MaintenanceSummary {
            window_id: window.id.0,
            title: window.title.clone(),
            until: state.windows.span_at(known.id, now).map(|span| span.until.rfc3339()),
            beneath: known.beneath.name(),
        });
        ServiceSummary { uptimes, latest_digest, uptime, maintenance, ..plain }
    });
    let global_digest = state.digests.latest(None).map(|digest| GlobalDigest::from(&*digest));
    Ok(Json(Summary { services: services.collect(), global_digest, generated_at: now.rfc3339() }))
}

/// By the names of the windows.
pub fn uptimes(known: &Known) -> BTreeMap<&'static str, UptimeView> {
    let view = |uptime: &WindowUptime| UptimeView {
        ratio: uptime.ratio,
        coverage: uptime.coverage,
        maintenance_s: uptime.maintenance.as_secs_f64(),
    };
    WINDOWS.iter().zip(&known.windows).map(|((name, _), uptime)| (*name, view(uptime))).collect()
}

impl From<&Digest> for ServiceDigest {
    fn from(digest: &Digest) -> ServiceDigest {
        let period_start = digest.period.since.rfc3339();
        ServiceDigest { summary_text: digest.text.summary(), anomaly_count: digest.anomaly_count, period_start }
    }
}

impl From<&Digest> for GlobalDigest {
    fn from(digest: &Digest) -> GlobalDigest {
        GlobalDigest { summary_text: digest.text.summary(), anomaly_count: digest.anomaly_count }
    }
}

impl From<&ServiceState> for ServiceSummary {
    fn from(state: &ServiceState) -> ServiceSummary {
        ServiceSummary {
            service_id: state.id.0,
            service_name: state.name.to_string(),
            latest_check: state.latest.as_deref().map(LatestCheck::from),
            latest_digest: None,
            enabled: state.enabled,
            group: state.group.clone(),
            tags: state.tags.clone(),
            verdict: state.verdict.name(),
            maintenance: None,
            since: state.since.map(|since| since.rfc3339()),
            regions: state.regions.iter().map(RegionSummary::from).collect(),
            uptime: UptimeSummary {
                ratio: state.uptime.ratio,
                coverage: state.uptime.coverage,
                window_hours: state.uptime.window.as_secs_f64() / 3600.0,
                maintenance_s: 0.0,
            },
            uptimes: None,
        }
    }
}

impl From<&WindowUptime> for UptimeSummary {
    fn from(uptime: &WindowUptime) -> UptimeSummary {
        UptimeSummary {
            ratio: uptime.ratio,
            coverage: uptime.coverage,
            window_hours: uptime.window.as_secs_f64() / 3600.0,
            maintenance_s: uptime.maintenance.as_secs_f64(),
        }
    }
}

impl From<&RegionState> for RegionSummary {
    fn from(state: &RegionState) -> RegionSummary {
        let failure = state.latest.failure.as_ref();
        RegionSummary {
            region: state.region.to_string(),
            status: state.status.name(),
            since: state.since.rfc3339(),
            latest_check: LatestCheck::from(&*state.latest),
            reason: failure.map(|failure| failure.reason.name()),
            message: failure.map(|failure| failure.message.clone()),
        }
    }
}

impl From<&CheckResult> for LatestCheck {
    fn from(result: &CheckResult) -> LatestCheck {
        LatestCheck {
            status_code: result.status_code,
            ok: result.ok(),
            latency_ms: millis(result.latency),
            checked_at: result.started_at.rfc3339(),
        }
    }
}
