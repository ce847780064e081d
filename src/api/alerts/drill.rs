//! Drills: does it arrive, and how long does it take?

use rocket::http::Status;
use rocket::response::status::Created;
use rocket::serde::json::Json;
use rocket::{State, get, post};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::alert::drill::rehearse;
use crate::alert::rule::{Facts, wants};
use crate::api::auth::{Operator, Viewer};
use crate::api::body::JsonBody;
use crate::api::error::{ApiError, Problem};
use crate::api::results::millis;
use crate::api::state::ApiState;
use crate::model::alert::CauseMove;
use crate::model::held::{Delivery, Held};
use crate::model::id::ServiceId;
use crate::model::time::Timestamp;
use crate::store::alerts::deliveries::DeliveryFilter;
use crate::store::audit::Change;

/// Deliveries of one drill that are shown.
const MOST_SHOWN: usize = 500;
const EXERCISED: &str = "verdict and quorum, where it broke, rules, delivery rows, channels";
const LEFT_OUT: &str = "the node's own check and its link, the store of results, for_s, holds, quiet hours and maintenance";

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DrillBody {
    /// A service's number or name.
    #[schema(value_type = Object)]
    service: Value,
    /// Where checks are made to fail; everywhere, if left out.
    region: Option<String>,
}

/// How far a drill has come.
#[derive(Serialize, ToSchema)]
pub struct DrillView {
    /// Names the cause.
    id: String,
    service_id: u32,
    service_name: String,
    headline: String,
    severity: &'static str,
    /// `incident`, or `degraded` where what was made up does not bring the service down.
    kind: &'static str,
    raised_at: String,
    recovered_at: Option<String>,
    /// The rules that tell of it; empty: nobody would have been told.
    rules: Vec<String>,
    /// The parts of the path it goes through.
    exercises: &'static str,
    leaves_out: &'static str,
    /// In the order they were planned.
    deliveries: Vec<StagesView>,
}

/// The stages of one delivery, in milliseconds since the failure was raised, or for `recovered` since it was over.
#[derive(Serialize, ToSchema)]
pub struct StagesView {
    id: String,
    channel: String,
    /// `raised` or `recovered`
    telling: &'static str,
    state: &'static str,
    attempts: u32,
    planned_ms: f64,
    first_attempt_ms: Option<f64>,
    delivered_ms: Option<f64>,
    error: Option<String>,
    answer: Option<String>,
}

/// Raises a failure that is made up, marked DRILL everywhere, and told by the rules like a real one. It counts in no uptime.
#[utoipa::path(
    tag = "alerts",
    request_body = DrillBody,
    responses(
        (status = 201, description = "The drill; its stages are at …/drill/{id}", body = DrillView),
        (status = 403, description = "Takes role operator", body = Problem),
        (status = 409, description = "It would be told to nobody: the service is off, unheard of, or stays up", body = Problem),
        (status = 422, description = "There is no such service", body = Problem),
    )
)]
#[post("/api/v1/alerts/drill", data = "<body>")]
pub async fn start(operator: Operator, state: &State<ApiState>, body: JsonBody) -> Result<Created<Json<DrillView>>, ApiError> {
    let DrillBody { service, region } = body.read()?;
    let found = match &service {
        Value::String(name) => state.services.find_by_name(name.trim()),
        other => other.as_u64().and_then(|id| u32::try_from(id).ok()).and_then(|id| state.services.get(ServiceId(id))),
    };
    let found = found.ok_or_else(|| ApiError::invalid_field("service", format!("there is no service {service}")))?;
    let now = state.clock.now();
    let drill =
        rehearse(&state.board, found.id, region.as_deref(), now).map_err(|refusal| ApiError::new(Status::Conflict, refusal.to_string()))?;
    let author = operator.0.author();
    let subject = format!("service:{}", found.id);
    state.audit.record(&Change { who: author.who, address: author.address, action: "alert.drill", subject, fields: Vec::new() }).await?;
    let held = Held::new(drill.cause.clone(), now);
    state.inbox.say(CauseMove::Raised(drill.cause));
    let location = format!("/api/v1/alerts/drill/{}/", held.cause.key);
    Ok(Created::new(location).body(Json(view(state, &held, &[]))))
}

/// How far a drill has come: its stages for each channel.
#[utoipa::path(
    tag = "alerts",
    params(("id" = String, Path, description = "The drill's id")),
    responses((status = 200, description = "The drill", body = DrillView), (status = 404, description = "There is none of this id yet", body = Problem))
)]
#[get("/api/v1/alerts/drill/<id>")]
pub async fn read(_viewer: Viewer, state: &State<ApiState>, id: &str) -> Result<Json<DrillView>, ApiError> {
    let held = find(state, id).await?;
    let filter = DeliveryFilter { cause: Some(id.to_owned()), ..DeliveryFilter::default() };
    let (mut deliveries, _) = state.alerts.deliveries.page(&filter, None, MOST_SHOWN).await?;
    deliveries.reverse();
    Ok(Json(view(state, &held, &deliveries)))
}

/// Ends a drill: it is told as recovered. One that nobody ends is over after 15 minutes.
#[utoipa::path(
    tag = "alerts",
    params(("id" = String, Path, description = "The drill's id")),
    responses(
        (status = 200, description = "The drill", body = DrillView),
        (status = 403, description = "Takes role operator", body = Problem),
        (status = 404, description = "There is none of this id yet", body = Problem),
    )
)]
#[post("/api/v1/alerts/drill/<id>/recover")]
pub async fn recover(_operator: Operator, state: &State<ApiState>, id: &str) -> Result<Json<DrillView>, ApiError> {
    let held = find(state, id).await?;
    state.inbox.say(CauseMove::Cleared { key: id.to_owned(), at: state.clock.now() });
    Ok(Json(view(state, &held, &[])))
}

async fn find(state: &ApiState, id: &str) -> Result<Held, ApiError> {
    let found = state.alerts.causes.one(id).await?.filter(|held| held.cause.drill);
    found.ok_or_else(|| ApiError::not_found(format!("there is no drill {id} yet")))
}

fn view(state: &ApiState, held: &Held, deliveries: &[Delivery]) -> DrillView {
    let cause = &held.cause;
    let service = cause.service.unwrap_or(ServiceId(0));
    let stored = state.services.get(service);
    let facts = stored.as_ref().map(|stored| Facts {
        name: stored.name().to_owned(),
        tags: stored.document.tags.clone(),
        group: stored.document.group.clone(),
    });
    let rules = state.alerts.rules.list();
    let telling = rules.iter().filter(|stored| wants(&stored.rule, held, |_| facts.as_ref()));
    let ended = held.cleared_at.unwrap_or(cause.since);
    let stages = |delivery: &Delivery| {
        let began = if delivery.message.telling == crate::model::alert::Telling::Recovered { ended } else { cause.since };
        let since = |at: Timestamp| millis(at.since(began));
        StagesView {
            id: delivery.id.to_string(),
            channel: delivery.channel_name.clone(),
            telling: delivery.message.telling.name(),
            state: delivery.state.name(),
            attempts: delivery.attempts,
            planned_ms: since(delivery.planned_at),
            first_attempt_ms: delivery.first_attempt_at.map(since),
            delivered_ms: delivery.done_at.filter(|_| delivery.answer.is_some()).map(since),
            error: delivery.error.clone(),
            answer: delivery.answer.clone(),
        }
    };
    DrillView {
        id: cause.key.clone(),
        service_id: service.0,
        service_name: facts.as_ref().map(|facts| facts.name.clone()).unwrap_or_default(),
        headline: cause.headline.clone(),
        severity: cause.severity.name(),
        kind: cause.kind.name(),
        raised_at: cause.since.rfc3339(),
        recovered_at: held.cleared_at.map(Timestamp::rfc3339),
        rules: telling.map(|stored| stored.rule.name.to_string()).collect(),
        exercises: EXERCISED,
        leaves_out: LEFT_OUT,
        deliveries: deliveries.iter().map(stages).collect(),
    }
}
