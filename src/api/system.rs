//! The monitor's own health: one word with its reasons, all figures, each dependency, and where the figures are heading.

pub mod view;

use std::time::Duration;

use rocket::serde::json::Json;
use rocket::{State, get, post};

use crate::api::auth::{Operator, Viewer};
use crate::api::error::{ApiError, Problem};
use crate::api::query::Query;
use crate::api::state::ApiState;
use crate::api::system::view::{HealthView, TrendView};

const USUAL_HOURS: u32 = 24;
/// A year of hours.
const MOST_HOURS: u32 = 8_760;
/// All dependencies are asked at once, so this is the longest time limit of one and a little.
const COLLECT_WITHIN: Duration = Duration::from_secs(75);

/// The monitor's own health as it was when it was looked at last, and its trend.
#[utoipa::path(
    tag = "maintenance",
    params(("hours" = Option<u32>, Query, description = "How far back the trend reaches: 1 to 8760, usually 24")),
    responses(
        (status = 200, description = "The word, the reasons, the figures, the dependencies, the trend", body = HealthView),
        (status = 400, description = "A parameter is wrong; errors names it", body = Problem),
        (status = 401, description = "No valid token", body = Problem),
    )
)]
#[get("/api/v1/maintenance/health")]
pub async fn health(_viewer: Viewer, query: Query, state: &State<ApiState>) -> Result<Json<HealthView>, ApiError> {
    let hours = hours_of(&query)?;
    let desk = &state.system;
    let report = match desk.latest() {
        Some(report) => report,
        // The first look of a hub that has just started.
        None => desk.collect().await,
    };
    // A store that is away is part of what there is to tell, and takes the past with it.
    let trend = match desk.trend(hours).await {
        Ok((width, courses)) => TrendView::of(hours, width, &courses),
        Err(error) => TrendView::none(hours, error.to_string()),
    };
    Ok(Json(HealthView::of(&report, desk.age(&report), Some(trend))))
}

/// How far back a trend is wanted.
pub fn hours_of(query: &Query) -> Result<u32, ApiError> {
    query.allow(&["hours"])?;
    let what = format!("a whole number from 1 to {MOST_HOURS}");
    match query.number::<u32>("hours", &what)? {
        None => Ok(USUAL_HOURS),
        Some(hours) if (1..=MOST_HOURS).contains(&hours) => Ok(hours),
        Some(hours) => Err(ApiError::bad_query("hours", format!("must be {what}, not {hours}"))),
    }
}

/// Asks every dependency and looks at everything now; the answer is what was found, without a trend.
#[utoipa::path(
    tag = "maintenance",
    responses(
        (status = 200, description = "What was found", body = HealthView),
        (status = 401, description = "No valid token", body = Problem),
        (status = 403, description = "This takes role operator", body = Problem),
        (status = 503, description = "It took too long", body = Problem),
    )
)]
#[post("/api/v1/maintenance/metrics/collect")]
pub async fn collect(_operator: Operator, query: Query, state: &State<ApiState>) -> Result<Json<HealthView>, ApiError> {
    query.allow(&[])?;
    let desk = &state.system;
    let collected = tokio::time::timeout(COLLECT_WITHIN, desk.collect_now()).await;
    let report = collected.map_err(|_| ApiError::unavailable(format!("looking took more than {} s", COLLECT_WITHIN.as_secs())))?;
    Ok(Json(HealthView::of(&report, desk.age(&report), None)))
}
