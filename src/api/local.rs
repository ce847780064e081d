//! What the commands on the hub's own machine ask: services with their secrets, and seeding. Let in is who signed a token
//! with the key of the data folder; an admin's password is not enough, for no answer over the network holds a secret.

use rocket::serde::json::Json;
use rocket::{State, get, post};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::api::auth::Local;
use crate::api::body::JsonBody;
use crate::api::error::{ApiError, Problem};
use crate::api::state::ApiState;
use crate::config::mistake::Mistake;
use crate::config::service::ServiceDocument;
use crate::model::id::ServiceId;
use crate::store::services::Seeded;

/// A service as it is written, secrets in the clear.
#[derive(Serialize, ToSchema)]
pub struct DocumentView {
    id: u32,
    #[schema(value_type = Object)]
    document: ServiceDocument,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SeedRequest {
    /// Services as in services.json.
    #[schema(value_type = Vec<Object>)]
    services: Vec<Value>,
    /// Whether services that are there already are changed.
    #[serde(default)]
    update: bool,
}

/// All services with their secrets, for commands on this machine.
#[utoipa::path(
    tag = "local",
    responses(
        (status = 200, description = "Every service", body = Vec<DocumentView>),
        (status = 403, description = "Takes a token signed with the data folder's key", body = Problem),
    )
)]
#[get("/api/v1/local/documents")]
pub async fn documents(_local: Local, state: &State<ApiState>) -> Json<Vec<DocumentView>> {
    let services = state.services.list();
    Json(services.iter().map(|service| DocumentView { id: service.id.0, document: service.document.clone() }).collect())
}

/// Takes services in by name, for commands on this machine.
#[utoipa::path(
    tag = "local",
    request_body = SeedRequest,
    responses(
        (status = 200, description = "What was done, by name", body = Object),
        (status = 403, description = "Takes a token signed with the data folder's key", body = Problem),
        (status = 422, description = "A service has mistakes; nothing was stored", body = Problem),
    )
)]
#[post("/api/v1/local/seed", data = "<body>")]
pub async fn seed(_local: Local, state: &State<ApiState>, body: JsonBody) -> Result<Json<Seeded>, ApiError> {
    let request: SeedRequest = body.read()?;
    let (mut documents, mut mistakes) = (Vec::new(), Vec::<Mistake>::new());
    for (index, value) in request.services.iter().enumerate() {
        let read = ServiceDocument::read(value)
            .and_then(|document| document.check_written(ServiceId(0), &state.default_schedule).map(|_| document));
        match read {
            Ok(document) => documents.push(document),
            Err(wrong) => mistakes.extend(wrong.into_iter().map(|mistake| mistake.inside(&format!("services[{index}]")))),
        }
    }
    if !mistakes.is_empty() {
        return Err(ApiError::invalid(mistakes));
    }
    let seeded = state.services.seed(documents, request.update).await?;
    (state.services_changed)();
    Ok(Json(seeded))
}
