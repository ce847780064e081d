//! The process's own health: is it alive, is it ready, what are its figures.

use std::time::Duration;

use rocket::http::ContentType;
use rocket::request::{FromRequest, Outcome, Request};
use rocket::serde::json::Json;
use rocket::{State, get};
use serde::Serialize;
use utoipa::ToSchema;

use crate::api::auth::Viewer;
use crate::api::error::{ApiError, Problem};
use crate::api::query::is_loopback;
use crate::api::state::ApiState;

/// A store that takes longer to answer nothing is not ready.
const READY_LIMIT: Duration = Duration::from_secs(2);

#[derive(Serialize, ToSchema)]
pub struct Health {
    status: &'static str,
}

/// Whether the process serves. Asks nothing of anyone, so it may be asked often.
#[utoipa::path(
    tag = "process",
    security(()),
    responses((status = 200, description = "It does", body = Health))
)]
#[get("/healthz")]
pub fn alive() -> Json<Health> {
    Json(Health { status: "ok" })
}

/// Whether the store answers.
#[utoipa::path(
    tag = "process",
    security(()),
    responses(
        (status = 200, description = "It does", body = Health),
        (status = 503, description = "It does not; detail says why", body = Problem),
    )
)]
#[get("/readyz")]
pub async fn ready(state: &State<ApiState>) -> Result<Json<Health>, ApiError> {
    match tokio::time::timeout(READY_LIMIT, state.store.database.query("RETURN 1", Vec::new())).await {
        Ok(Ok(_)) => Ok(Json(Health { status: "ok" })),
        Ok(Err(error)) => Err(error.into()),
        Err(_) => Err(ApiError::unavailable(format!("the store did not answer within {} s", READY_LIMIT.as_secs()))),
    }
}

/// Lets in every user, and whoever asks from this machine without one.
pub struct Scraper;

#[rocket::async_trait]
impl<'r> FromRequest<'r> for Scraper {
    type Error = ApiError;

    async fn from_request(request: &'r Request<'_>) -> Outcome<Scraper, ApiError> {
        // The socket's own address as well: a header may not make anyone local.
        let local = is_loopback(request.remote().map(|remote| remote.ip())) && is_loopback(request.client_ip());
        if local && request.headers().get_one("Authorization").is_none() {
            return Outcome::Success(Scraper);
        }
        Viewer::from_request(request).await.map(|_| Scraper)
    }
}

/// All figures in the OpenMetrics text format, for Prometheus.
///
/// Asked from the hub's own machine it needs no token; from elsewhere it takes one like everything else. Behind a proxy on
/// the same machine that names its clients in no header, every request seems to come from there.
#[utoipa::path(
    tag = "process",
    responses(
        (status = 200, description = "The figures", content_type = "application/openmetrics-text", body = String),
        (status = 401, description = "No valid token, and not asked from this machine", body = Problem),
    )
)]
#[get("/metrics")]
pub fn metrics(_scraper: Scraper, state: &State<ApiState>) -> (ContentType, String) {
    let now = state.clock.now();
    let kind = ContentType::new("application", "openmetrics-text").with_params([("version", "1.0.0"), ("charset", "utf-8")]);
    let queues: Vec<_> = state.exits.list().into_iter().map(|exit| (exit.name, state.alerts.deliveries.queue(exit.id))).collect();
    (kind, state.metrics.encode(&state.board.summary(now), &queues, now))
}
