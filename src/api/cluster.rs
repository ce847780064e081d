//! The actor tree of the cluster, as `probemesh inspect` prints it.

use std::time::Duration;

use rocket::serde::json::Json;
use rocket::{State, get};

use crate::api::auth::Viewer;
use crate::api::error::{ApiError, Problem};
use crate::api::state::{ApiState, ClusterView};

/// Actors that do not answer in this time are in trouble, and the answer says so.
const LIMIT: Duration = Duration::from_secs(5);

/// Nodes and actors: restarts, backoff, last error, queues, outbox, link.
#[utoipa::path(
    tag = "cluster",
    responses(
        (status = 200, description = "The tree as it is now", body = ClusterView),
        (status = 401, description = "No valid token", body = Problem),
        (status = 503, description = "The actors did not answer", body = Problem),
    )
)]
#[get("/api/v1/cluster")]
pub async fn read(_viewer: Viewer, state: &State<ApiState>) -> Result<Json<ClusterView>, ApiError> {
    let view = tokio::time::timeout(LIMIT, (state.tree)()).await;
    view.map(Json).map_err(|_| ApiError::unavailable(format!("the actors did not answer within {} s", LIMIT.as_secs())))
}
