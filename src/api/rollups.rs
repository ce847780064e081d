//! Rollups: what checks came to by the minute, the hour and the day.

use std::collections::BTreeMap;
use std::time::Duration;

use rocket::serde::json::Json;
use rocket::{State, get};
use serde::Serialize;
use utoipa::ToSchema;

use crate::aggregate::rollup::{Rule, floor};
use crate::aggregate::sketch::Sketch;
use crate::api::auth::Viewer;
use crate::api::error::{ApiError, Problem};
use crate::api::query::Query;
use crate::api::results::span;
use crate::api::state::ApiState;
use crate::model::id::ServiceId;
use crate::model::span::{Span, clipped, total};
use crate::model::time::Timestamp;
use crate::store::rollups::{Bucket, Resolution, RollupQuery};

/// Spans of one answer.
const MOST: i64 = 5000;
/// How much is answered when no time is named, by resolution.
const USUAL: [(Resolution, Duration); 3] = [
    (Resolution::Minute, Duration::from_secs(3 * 3600)),
    (Resolution::Hour, Duration::from_secs(7 * 86_400)),
    (Resolution::Day, Duration::from_secs(90 * 86_400)),
];

#[derive(Serialize, ToSchema)]
pub struct RollupsView {
    service_id: u32,
    /// Null: all regions, merged.
    region: Option<String>,
    /// `1m`, `1h` or `1d`
    resolution: &'static str,
    since: String,
    until: String,
    /// Oldest first. A span of which nothing is known is left out.
    results: Vec<RollupView>,
}

/// What the checks of one span came to.
#[derive(Serialize, ToSchema)]
pub struct RollupView {
    start: String,
    checks: u64,
    attempts: u64,
    failures: u64,
    failures_by_reason: BTreeMap<&'static str, u64>,
    /// Of the checks that passed; null where none did.
    latency: Option<LatencyView>,
    /// Of the checks that passed: `dns`, `connect`, `tls`, `first_byte`, `transfer`, those that happened.
    phases: BTreeMap<&'static str, LatencyView>,
    /// Seconds, of all regions together.
    up_s: f64,
    down_s: f64,
    unknown_s: f64,
    /// Up-time over known time, 0 to 1; null where nothing is known.
    uptime: Option<f64>,
    /// Known time over all time, 0 to 1.
    coverage: f64,
    /// Of the span, in maintenance; here nothing is left out for it.
    maintenance_s: f64,
}

/// Percentiles are within one per cent.
#[derive(Serialize, ToSchema)]
pub struct LatencyView {
    count: u64,
    mean_ms: f64,
    p50_ms: f64,
    p90_ms: f64,
    p95_ms: f64,
    p99_ms: f64,
}

/// What the checks of a service came to, over time.
#[utoipa::path(
    tag = "rollups",
    params(
        ("service" = u32, Query, description = "The service's number"),
        ("region" = Option<String>, Query, description = "One region alone; usually all, merged"),
        ("resolution" = Option<String>, Query, description = "`1m`, `1h` or `1d`, usually `1h`"),
        ("since" = Option<String>, Query, description = "Usually 3 hours, 7 days or 90 days before `until`, by resolution"),
        ("until" = Option<String>, Query, description = "Usually now"),
    ),
    responses(
        (status = 200, description = "The rollups", body = RollupsView),
        (status = 400, description = "A filter is wrong; errors names it", body = Problem),
    )
)]
#[get("/api/v1/rollups")]
pub async fn list(_viewer: Viewer, query: Query, state: &State<ApiState>) -> Result<Json<RollupsView>, ApiError> {
    query.allow(&["service", "region", "resolution", "since", "until"])?;
    let service = query.number("service", "the number of a service")?.map(ServiceId);
    let service = service.ok_or_else(|| ApiError::bad_query("service", "must be given"))?;
    let resolution = match query.text("resolution") {
        None => Resolution::Hour,
        Some(name) => {
            Resolution::from_name(name).ok_or_else(|| ApiError::bad_query("resolution", format!("must be 1m, 1h or 1d, not {name:?}")))?
        }
    };
    let now = state.clock.now();
    let (since, until) = span(&query)?;
    let until = until.unwrap_or(now).min(now);
    let usual = USUAL.iter().find(|(of, _)| *of == resolution).map_or(Duration::ZERO, |(_, usual)| *usual);
    let since = since.unwrap_or(until.minus(usual));
    if since > until {
        return Err(ApiError::bad_query("since", "must not be after now, or until"));
    }
    if (until.0 - since.0) / resolution.span() > MOST {
        let message = format!("is more than {MOST} spans of {} before until; ask for less, or for longer spans", resolution.name());
        return Err(ApiError::bad_query("since", message));
    }
    let region = query.text("region").map(str::to_owned);
    let asked = RollupQuery { service, region: region.clone(), resolution, since, until, rule: rule(state, service) };
    let excluded = state.windows.excluded(service, Span::new(Timestamp(floor(since, resolution.span())), now));
    let buckets = state.store.results.rollups(&asked, now).await?;
    Ok(Json(RollupsView {
        service_id: service.0,
        region,
        resolution: resolution.name(),
        since: since.rfc3339(),
        until: until.rfc3339(),
        results: buckets.iter().map(|bucket| view(bucket, &excluded)).collect(),
    }))
}

fn view(bucket: &Bucket, excluded: &[Span]) -> RollupView {
    let maintenance = total(&clipped(excluded, Span::new(bucket.start, bucket.end)));
    RollupView { maintenance_s: maintenance as f64 / 1e6, ..RollupView::from(bucket) }
}

/// How time in a state is reckoned for a service, also for one that is gone.
pub fn rule(state: &ApiState, service: ServiceId) -> Rule {
    let now = state.clock.now();
    let usual = || Rule { gap: state.default_schedule.gap(now), failure: 1, success: 1 };
    state.board.rule(service, now).unwrap_or_else(usual)
}

impl From<&Bucket> for RollupView {
    fn from(bucket: &Bucket) -> RollupView {
        let rollup = &bucket.rollup;
        let seconds = |us: i64| us as f64 / 1e6;
        let names = ["dns", "connect", "tls", "first_byte", "transfer"];
        let phases = names.into_iter().zip(&rollup.phases).filter_map(|(name, sketch)| Some((name, LatencyView::of(sketch)?)));
        RollupView {
            start: bucket.start.rfc3339(),
            checks: rollup.checks,
            attempts: rollup.attempts,
            failures: rollup.failed(),
            failures_by_reason: rollup.failures.iter().map(|(reason, count)| (reason.name(), *count)).collect(),
            latency: LatencyView::of(&rollup.latency),
            phases: phases.collect(),
            up_s: seconds(bucket.times.up),
            down_s: seconds(bucket.times.down),
            unknown_s: seconds((bucket.window() - bucket.times.up - bucket.times.down).max(0)),
            uptime: bucket.times.ratio(),
            coverage: bucket.times.coverage(bucket.window()),
            maintenance_s: 0.0,
        }
    }
}

impl LatencyView {
    fn of(sketch: &Sketch) -> Option<LatencyView> {
        let at = |share: f64| sketch.quantile_us(share).map(|us| us.round() / 1e3);
        Some(LatencyView {
            count: sketch.count(),
            mean_ms: (sketch.mean_us()?).round() / 1e3,
            p50_ms: at(0.5)?,
            p90_ms: at(0.9)?,
            p95_ms: at(0.95)?,
            p99_ms: at(0.99)?,
        })
    }
}
