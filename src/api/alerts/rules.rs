//! Alert rules: which causes are told, when, to which channels.

use std::sync::Arc;

use rocket::response::status::{Created, NoContent};
use rocket::serde::json::Json;
use rocket::{State, delete, get, patch, post, put};
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::api::auth::{Operator, Viewer};
use crate::api::body::JsonBody;
use crate::api::body::merge;
use crate::api::error::{ApiError, Problem};
use crate::api::query::{Page, Query};
use crate::api::state::ApiState;
use crate::config::mistake::Mistake;
use crate::config::rule::{Names, RuleDocument};
use crate::model::alert::CauseKind;
use crate::model::id::{ChannelId, ServiceId};
use crate::model::rule::RuleId;
use crate::model::time::Timestamp;
use crate::store::alerts::rules::StoredRule;

/// Fields the hub gives. They may come back unchanged in a request.
const GIVEN: [&str; 6] = ["id", "revision", "created_at", "updated_at", "service_names", "channel_names"];

/// A rule as it is sent and answered. Only `name` and `channels` must be given.
#[derive(Serialize, ToSchema)]
pub struct RuleBody {
    /// Given by the hub.
    #[schema(read_only)]
    pub id: u32,
    /// At most 200 characters, of no other rule.
    pub name: String,
    #[schema(default = true)]
    pub enabled: bool,
    /// Numbers or names; answered as numbers. With `tags` and `groups` empty, too: all, and what is about no service.
    #[schema(value_type = Vec<Object>)]
    pub services: Vec<Value>,
    pub tags: Vec<String>,
    pub groups: Vec<String>,
    /// `incident`, `degraded`, `finding`, `certificate`, `burn`, `node`, `system`; `["incident"]` if left out.
    pub kinds: Vec<String>,
    /// `warning` or `critical`: what is less severe is not told.
    #[schema(default = "warning")]
    pub min_severity: String,
    /// Days before the end of a certificate, each told once; `[14, 7, 1]` if left out.
    pub certificate_days: Vec<u32>,
    /// Findings that are smaller are not told.
    pub min_size: Option<f64>,
    /// Told only when it has held for so long.
    #[schema(default = 0.0)]
    pub for_s: f64,
    /// Numbers or names; answered as numbers.
    #[schema(value_type = Vec<Object>)]
    pub channels: Vec<Value>,
    /// Told again and again until it is over or someone has acknowledged it; at least 10.
    pub repeat_s: Option<f64>,
    /// `{"timezone": "Europe/Berlin", "from": "22:00", "to": "07:00", "days": ["mon", …], "critical_passes": true}`
    #[schema(value_type = Option<Object>)]
    pub quiet: Option<Value>,
    /// `[{"after_s": 900, "channels": ["boss"]}]`: whom to tell if nobody has acknowledged it by then.
    #[schema(value_type = Vec<Object>)]
    pub escalations: Vec<Value>,
    #[schema(default = true)]
    pub tell_recovered: bool,
    #[schema(default = false)]
    pub tell_acknowledged: bool,
    /// Rises with each change. Sent back, it must still be the same.
    #[schema(read_only)]
    pub revision: u64,
    #[schema(read_only)]
    pub created_at: String,
    #[schema(read_only)]
    pub updated_at: String,
    /// Of `services`, in their order; null for one that is gone.
    #[schema(read_only)]
    pub service_names: Vec<Option<String>>,
    /// Of `channels`, in their order; null for one that is gone.
    #[schema(read_only)]
    pub channel_names: Vec<Option<String>>,
}

/// The rules, by number.
#[utoipa::path(
    tag = "alerts",
    params(("page" = Option<u64>, Query, description = "From 1"), ("page_size" = Option<u64>, Query, description = "1 to 500, usually 50")),
    responses((status = 200, description = "A page of rules", body = Page<RuleBody>))
)]
#[get("/api/v1/alerts/rules")]
pub fn list(_viewer: Viewer, query: Query, state: &State<ApiState>) -> Result<Json<Page<RuleBody>>, ApiError> {
    query.allow(&["page", "page_size"])?;
    let (page, size) = (query.page()?, query.page_size()?);
    let all = state.alerts.rules.list();
    let skip = usize::try_from(page - 1).unwrap_or(usize::MAX).saturating_mul(size);
    let shown = all.iter().skip(skip).take(size).map(|stored| view(state, stored)).collect();
    Ok(Json(query.numbered(all.len() as u64, page, size, shown)))
}

/// A new rule.
#[utoipa::path(
    tag = "alerts",
    request_body = RuleBody,
    responses(
        (status = 201, description = "The rule, with its number", body = RuleBody),
        (status = 403, description = "Takes role operator", body = Problem),
        (status = 422, description = "Fields are wrong; errors names all of them; nothing was stored", body = Problem),
    )
)]
#[post("/api/v1/alerts/rules", data = "<body>")]
pub async fn create(operator: Operator, state: &State<ApiState>, body: JsonBody) -> Result<Created<Json<RuleBody>>, ApiError> {
    let document = checked(state, body.0, None)?;
    let stored = state.alerts.rules.create(document, &operator.0.author()).await?;
    state.inbox.nudge.notify_one();
    Ok(Created::new(format!("/api/v1/alerts/rules/{}/", stored.rule.id)).body(Json(view(state, &stored))))
}

/// One rule.
#[utoipa::path(
    tag = "alerts",
    params(("id" = u32, Path, description = "The rule's number")),
    responses((status = 200, description = "The rule", body = RuleBody), (status = 404, description = "There is none of this number", body = Problem))
)]
#[get("/api/v1/alerts/rules/<id>")]
pub fn read(_viewer: Viewer, state: &State<ApiState>, id: &str) -> Result<Json<RuleBody>, ApiError> {
    find(state, id).map(|stored| Json(view(state, &stored)))
}

/// Replaces a rule: fields left out go back to their defaults.
#[utoipa::path(
    tag = "alerts",
    params(("id" = u32, Path, description = "The rule's number")),
    request_body = RuleBody,
    responses(
        (status = 200, description = "The rule as it is now", body = RuleBody),
        (status = 403, description = "Takes role operator", body = Problem),
        (status = 404, description = "There is none of this number", body = Problem),
        (status = 409, description = "Someone else changed it meanwhile", body = Problem),
        (status = 422, description = "Fields are wrong; nothing was stored", body = Problem),
    )
)]
#[put("/api/v1/alerts/rules/<id>", data = "<body>")]
pub async fn replace(operator: Operator, state: &State<ApiState>, id: &str, body: JsonBody) -> Result<Json<RuleBody>, ApiError> {
    let kept = find(state, id)?;
    change(&operator, state, &kept, body.0).await
}

/// Changes fields of a rule, by JSON Merge Patch (RFC 7396).
#[utoipa::path(
    tag = "alerts",
    params(("id" = u32, Path, description = "The rule's number")),
    request_body = RuleBody,
    responses(
        (status = 200, description = "The rule as it is now", body = RuleBody),
        (status = 403, description = "Takes role operator", body = Problem),
        (status = 404, description = "There is none of this number", body = Problem),
        (status = 409, description = "Someone else changed it meanwhile", body = Problem),
        (status = 422, description = "Fields are wrong; nothing was stored", body = Problem),
    )
)]
#[patch("/api/v1/alerts/rules/<id>", data = "<body>")]
pub async fn patch(operator: Operator, state: &State<ApiState>, id: &str, body: JsonBody) -> Result<Json<RuleBody>, ApiError> {
    let kept = find(state, id)?;
    let Value::Object(patch) = body.0 else {
        return Err(ApiError::invalid(vec![Mistake::new("", "a patch is an object of the fields to change")]));
    };
    let mut whole = match serde_json::to_value(&kept.document) {
        Ok(Value::Object(fields)) => fields,
        // A document is a struct with text keys, so it always is an object.
        _ => Map::new(),
    };
    merge(&mut whole, patch);
    change(&operator, state, &kept, Value::Object(whole)).await
}

/// Ends a rule. What it has planned already is still delivered.
#[utoipa::path(
    tag = "alerts",
    params(("id" = u32, Path, description = "The rule's number")),
    responses(
        (status = 204, description = "It is gone; its number is never given again"),
        (status = 403, description = "Takes role operator", body = Problem),
        (status = 404, description = "There is none of this number", body = Problem),
    )
)]
#[delete("/api/v1/alerts/rules/<id>")]
pub async fn delete(operator: Operator, state: &State<ApiState>, id: &str) -> Result<NoContent, ApiError> {
    let kept = find(state, id)?;
    state.alerts.rules.delete(kept.rule.id, &operator.0.author()).await?;
    state.inbox.nudge.notify_one();
    Ok(NoContent)
}

fn find(state: &ApiState, id: &str) -> Result<Arc<StoredRule>, ApiError> {
    let found = id.parse().ok().and_then(|id| state.alerts.rules.get(RuleId(id)));
    found.ok_or_else(|| ApiError::not_found(format!("there is no alert rule {id}")))
}

async fn change(operator: &Operator, state: &ApiState, kept: &StoredRule, body: Value) -> Result<Json<RuleBody>, ApiError> {
    let expected = body.get("revision").and_then(Value::as_u64);
    let document = checked(state, body, Some(kept))?;
    let stored = state.alerts.rules.replace(kept.rule.id, document, expected, &operator.0.author()).await?;
    state.inbox.nudge.notify_one();
    Ok(Json(view(state, &stored)))
}

/// A document fit to be stored, or every mistake in it. What a rule has kept may have gone meanwhile, and stays as it is.
pub fn checked(state: &ApiState, mut body: Value, kept: Option<&StoredRule>) -> Result<RuleDocument, ApiError> {
    if let Value::Object(fields) = &mut body {
        fields.retain(|name, value| !GIVEN.contains(&name.as_str()) && !value.is_null());
    }
    let mut document = RuleDocument::read(&body).map_err(ApiError::invalid)?;
    let exits = state.exits.list();
    let number = |value: &Value| value.as_u64().and_then(|number| u32::try_from(number).ok());
    let names = Names {
        service: &|value| match value.as_str() {
            Some(name) => state.services.find_by_name(name.trim()).map(|service| service.id),
            None => number(value)
                .map(ServiceId)
                .filter(|id| state.services.get(*id).is_some() || kept.is_some_and(|kept| kept.rule.scope.services.contains(id))),
        },
        channel: &|value| match value.as_str() {
            Some(name) => exits.iter().find(|exit| exit.name == name.trim()).map(|exit| exit.id),
            None => number(value).map(ChannelId).filter(|id| exits.iter().any(|exit| exit.id == *id)),
        },
    };
    let mut wrong = document.check(RuleId(0), Timestamp(0), &names).err().unwrap_or_default();
    let name = document.name.as_deref().unwrap_or_default();
    if let Some(other) = state.alerts.rules.find_by_name(name).filter(|other| kept.is_none_or(|kept| kept.rule.id != other.rule.id)) {
        wrong.push(Mistake::new("name", format!("{name:?} is taken by alert rule {}", other.rule.id)));
    }
    if wrong.is_empty() { Ok(document) } else { Err(ApiError::invalid(wrong)) }
}

fn view(state: &ApiState, stored: &StoredRule) -> RuleBody {
    let StoredRule { document, rule, .. } = stored;
    let exits = state.exits.list();
    let json = |value: &dyn Fn() -> Result<Value, serde_json::Error>| value().unwrap_or_default();
    RuleBody {
        id: rule.id.0,
        name: rule.name.to_string(),
        enabled: rule.enabled,
        services: document.services.clone(),
        tags: rule.scope.tags.clone(),
        groups: rule.scope.groups.clone(),
        kinds: rule.kinds.iter().map(|kind: &CauseKind| kind.name().to_owned()).collect(),
        min_severity: rule.least.name().to_owned(),
        certificate_days: rule.certificate_days.clone(),
        min_size: rule.least_size,
        for_s: rule.after.as_secs_f64(),
        channels: document.channels.clone(),
        repeat_s: rule.repeat.map(|every| every.as_secs_f64()),
        quiet: document.quiet.as_ref().map(|quiet| json(&|| serde_json::to_value(quiet))),
        escalations: document.escalations.iter().map(|step| json(&|| serde_json::to_value(step))).collect(),
        tell_recovered: rule.tell_recovered,
        tell_acknowledged: rule.tell_acknowledged,
        revision: stored.revision,
        created_at: stored.created_at.rfc3339(),
        updated_at: stored.updated_at.rfc3339(),
        service_names: rule.scope.services.iter().map(|id| state.services.get(*id).map(|service| service.name().to_owned())).collect(),
        channel_names: rule.channels.iter().map(|id| exits.iter().find(|exit| exit.id == *id).map(|exit| exit.name.clone())).collect(),
    }
}
