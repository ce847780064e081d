//! Deliveries: what was told to whom, what waits, and what was given up.

use rocket::serde::json::Json;
use rocket::{State, get, post};
use serde::Serialize;
use utoipa::ToSchema;

use crate::api::auth::{Operator, Viewer};
use crate::api::error::{ApiError, Problem};
use crate::api::query::{Page, Query};
use crate::api::state::ApiState;
use crate::model::held::{Delivery, DeliveryState};
use crate::model::id::{ChannelId, ServiceId};
use crate::model::rule::RuleId;
use crate::model::time::Timestamp;
use crate::store::alerts::deliveries::DeliveryFilter;

/// One telling to one channel.
#[derive(Serialize, ToSchema)]
pub struct DeliveryView {
    /// Follows from rule, cause, telling and channel. The message carries it, so that a receiver may drop what it has had.
    id: String,
    cause: String,
    rule_id: u32,
    rule: String,
    service_id: Option<u32>,
    service_name: Option<String>,
    channel_id: u32,
    channel: String,
    /// `raised`, `repeated`, `escalated`, `acknowledged` or `recovered`
    telling: &'static str,
    severity: &'static str,
    drill: bool,
    headline: String,
    /// Services told of as its consequences.
    consequences: usize,
    /// `pending`, `sending`, `waiting` for the next try, `delivered`, `dead`: given up, or `folded`: a later telling says it.
    state: &'static str,
    attempts: u32,
    planned_at: String,
    first_attempt_at: Option<String>,
    last_attempt_at: Option<String>,
    /// When it is tried again.
    next_attempt_at: Option<String>,
    /// When it was delivered, given up or folded.
    done_at: Option<String>,
    /// Why the last attempt failed, in the words of the far side.
    error: Option<String>,
    /// What the far side said when it took it.
    answer: Option<String>,
    /// How often it was sent again without knowing whether the attempt before had got through, to a channel that cannot tell.
    possible_duplicates: u32,
}

/// Deliveries, newest first.
#[utoipa::path(
    tag = "alerts",
    params(
        ("cursor" = Option<String>, Query, description = "From `next` of the page before"),
        ("page_size" = Option<u64>, Query, description = "1 to 500, usually 50"),
        ("state" = Option<String>, Query, description = "`pending`, `sending`, `waiting`, `delivered`, `dead` or `folded`"),
        ("channel" = Option<String>, Query, description = "Those to this channel, by number or name"),
        ("cause" = Option<String>, Query, description = "Those of this cause"),
        ("service" = Option<u32>, Query, description = "Those about this service"),
        ("rule" = Option<u32>, Query, description = "Those of this rule"),
        ("drill" = Option<bool>, Query, description = "Those that are, or are not, of a drill"),
        ("subscribers" = Option<bool>, Query, description = "Those to subscribers of the status page instead of those to channels"),
    ),
    responses(
        (status = 200, description = "A page of deliveries", body = Page<DeliveryView>),
        (status = 400, description = "A filter is wrong; errors names it", body = Problem),
    )
)]
#[get("/api/v1/alerts/deliveries")]
pub async fn list(_viewer: Viewer, query: Query, state: &State<ApiState>) -> Result<Json<Page<DeliveryView>>, ApiError> {
    query.allow(&["cursor", "page_size", "state", "channel", "cause", "service", "rule", "drill", "subscribers"])?;
    let size = query.page_size()?;
    let before: Option<i64> = query.number("cursor", "one this API gave out")?;
    let wanted = match query.text("state") {
        None => None,
        Some(name) => Some(DeliveryState::from_name(name).ok_or_else(|| {
            let known = DeliveryState::ALL.map(DeliveryState::name).join(", ");
            ApiError::bad_query("state", format!("must be one of {known}, not {name:?}"))
        })?),
    };
    let channel = match query.text("channel") {
        None => None,
        Some(text) => {
            let number = text.parse().ok().map(ChannelId);
            let named = state.exits.list().into_iter().find(|exit| exit.name == text).map(|exit| exit.id);
            Some(number.or(named).ok_or_else(|| ApiError::bad_query("channel", format!("there is no channel {text:?}")))?)
        }
    };
    let filter = DeliveryFilter {
        state: wanted,
        channel,
        cause: query.text("cause").map(str::to_owned),
        service: query.number("service", "the number of a service")?.map(ServiceId),
        rule: query.number("rule", "the number of a rule")?.map(RuleId),
        drill: query.boolean("drill")?,
        subscribers: query.boolean("subscribers")?.unwrap_or(false),
    };
    let count = Some(state.alerts.deliveries.count(&filter));
    let (found, more) = state.alerts.deliveries.page(&filter, before, size).await?;
    let next = found.last().filter(|_| more).map(|last| query.with("cursor", &last.seq.to_string()));
    let results = found.iter().map(DeliveryView::from).collect();
    Ok(Json(Page { count, next, previous: None, results }))
}

/// One delivery.
#[utoipa::path(
    tag = "alerts",
    params(("id" = String, Path, description = "The delivery's id")),
    responses((status = 200, description = "The delivery", body = DeliveryView), (status = 404, description = "There is none of this id", body = Problem))
)]
#[get("/api/v1/alerts/deliveries/<id>")]
pub async fn read(_viewer: Viewer, state: &State<ApiState>, id: &str) -> Result<Json<DeliveryView>, ApiError> {
    let found = state.alerts.deliveries.one(id).await?;
    found.map(|found| Json(DeliveryView::from(&found))).ok_or_else(|| ApiError::not_found(format!("there is no delivery {id}")))
}

/// Sends one that was given up again.
#[utoipa::path(
    tag = "alerts",
    params(("id" = String, Path, description = "The delivery's id")),
    responses(
        (status = 200, description = "The delivery; it is tried at once", body = DeliveryView),
        (status = 403, description = "Takes role operator", body = Problem),
        (status = 404, description = "There is none of this id", body = Problem),
        (status = 409, description = "It was not given up", body = Problem),
    )
)]
#[post("/api/v1/alerts/deliveries/<id>/retry")]
pub async fn retry(operator: Operator, state: &State<ApiState>, id: &str) -> Result<Json<DeliveryView>, ApiError> {
    let found = state.alerts.deliveries.one(id).await?.ok_or_else(|| ApiError::not_found(format!("there is no delivery {id}")))?;
    if !state.alerts.deliveries.retry(id, &operator.0.author()).await? {
        let what = format!("delivery {id} is {}; only one that is dead can be sent again", found.state.name());
        return Err(ApiError::new(rocket::http::Status::Conflict, what));
    }
    let now = state.alerts.deliveries.one(id).await?.unwrap_or(found);
    Ok(Json(DeliveryView::from(&now)))
}

impl From<&Delivery> for DeliveryView {
    fn from(delivery: &Delivery) -> DeliveryView {
        let time = |at: Option<Timestamp>| at.map(Timestamp::rfc3339);
        let message = &delivery.message;
        DeliveryView {
            id: delivery.id.to_string(),
            cause: message.cause.clone(),
            rule_id: delivery.rule.0,
            rule: message.rule.clone(),
            service_id: delivery.service.map(|service| service.0),
            service_name: message.service.clone(),
            channel_id: delivery.channel.0,
            channel: delivery.channel_name.clone(),
            telling: message.telling.name(),
            severity: message.severity.name(),
            drill: message.drill,
            headline: message.headline.clone(),
            consequences: message.consequences.len(),
            state: delivery.state.name(),
            attempts: delivery.attempts,
            planned_at: delivery.planned_at.rfc3339(),
            first_attempt_at: time(delivery.first_attempt_at),
            last_attempt_at: time(delivery.last_attempt_at),
            next_attempt_at: time(delivery.next_at),
            done_at: time(delivery.done_at),
            error: delivery.error.clone(),
            answer: delivery.answer.clone(),
            possible_duplicates: delivery.possible_duplicates,
        }
    }
}
