//! How the checks of a span went, counted.

use std::collections::BTreeMap;
use std::time::Duration;

use rocket::serde::json::Json;
use rocket::{State, get};
use serde::Serialize;
use utoipa::ToSchema;

use crate::api::auth::Viewer;
use crate::api::error::{ApiError, Problem};
use crate::api::query::Query;
use crate::api::results::span;
use crate::api::state::ApiState;

const USUAL_SPAN: Duration = Duration::from_secs(24 * 3600);

#[derive(Serialize, ToSchema)]
pub struct StatisticsView {
    since: String,
    until: String,
    checks: u64,
    failures: u64,
    /// Failures over checks, 0 to 1; null where there was no check.
    error_rate: Option<f64>,
    failures_by_reason: BTreeMap<&'static str, u64>,
    /// Those with most failures first.
    services: Vec<ServiceStatisticsView>,
}

#[derive(Serialize, ToSchema)]
pub struct ServiceStatisticsView {
    service_id: u32,
    /// Null for a service that is gone.
    service_name: Option<String>,
    checks: u64,
    failures: u64,
    error_rate: Option<f64>,
}

/// Checks, failures by reason and error rates, of all services and each.
#[utoipa::path(
    tag = "results",
    params(
        ("since" = Option<String>, Query, description = "Usually 24 hours before `until`"),
        ("until" = Option<String>, Query, description = "Usually now"),
    ),
    responses(
        (status = 200, description = "The counts", body = StatisticsView),
        (status = 400, description = "A filter is wrong; errors names it", body = Problem),
    )
)]
#[get("/api/monitor/results/statistics", rank = 0)]
pub async fn read(_viewer: Viewer, query: Query, state: &State<ApiState>) -> Result<Json<StatisticsView>, ApiError> {
    query.allow(&["since", "until"])?;
    let (since, until) = span(&query)?;
    let until = until.unwrap_or(state.clock.now());
    let since = since.unwrap_or(until.minus(USUAL_SPAN));
    if since > until {
        return Err(ApiError::bad_query("since", "must not be after now, or until"));
    }
    let counted = state.store.results.statistics(since, until).await?;
    let failures = counted.services.iter().map(|of| of.failures).sum();
    let services = counted.services.iter().map(|of| ServiceStatisticsView {
        service_id: of.service.0,
        service_name: state.services.get(of.service).map(|service| service.name().to_owned()),
        checks: of.checks,
        failures: of.failures,
        error_rate: rate(of.failures, of.checks),
    });
    Ok(Json(StatisticsView {
        since: since.rfc3339(),
        until: until.rfc3339(),
        checks: counted.checks,
        failures,
        error_rate: rate(failures, counted.checks),
        failures_by_reason: counted.failures.iter().map(|(reason, count)| (reason.name(), *count)).collect(),
        services: services.collect(),
    }))
}

fn rate(failures: u64, checks: u64) -> Option<f64> {
    (checks > 0).then(|| failures as f64 / checks as f64)
}
