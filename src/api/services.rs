//! Services: what is watched, and how.

use std::sync::Arc;

use rocket::response::status::{Created, NoContent};
use rocket::serde::json::Json;
use rocket::{State, delete, get, patch, post, put};
use serde_json::{Map, Value, json};

use crate::api::auth::{Operator, Viewer};
use crate::api::body::{JsonBody, merge};
use crate::api::error::{ApiError, Problem};
use crate::api::events::Event;
use crate::api::mask::{masked, unmask};
use crate::api::openapi::ServiceBody;
use crate::api::query::{Page, Query};
use crate::api::rollups::rule;
use crate::api::state::ApiState;
use crate::api::summary::uptimes;
use crate::config::mistake::Mistake;
use crate::config::service::ServiceDocument;
use crate::model::id::ServiceId;
use crate::store::connection::StoreError;
use crate::store::services::{Author, StoredService};
use crate::store::uptimes::{Known, reach};

/// Fields the hub gives. They may come back unchanged in a request.
const GIVEN: [&str; 5] = ["id", "revision", "created_at", "updated_at", "uptime"];

/// The services, by number.
#[utoipa::path(
    tag = "services",
    params(
        ("page" = Option<u64>, Query, description = "From 1"),
        ("page_size" = Option<u64>, Query, description = "1 to 500, usually 50"),
        ("enabled" = Option<bool>, Query, description = "Only those that are, or are not, checked"),
        ("tag" = Option<String>, Query, description = "Only those with this tag"),
        ("group" = Option<String>, Query, description = "Only those of this group"),
        ("search" = Option<String>, Query, description = "Only those with this in name, address, group or tags"),
    ),
    responses(
        (status = 200, description = "A page of services, secrets masked", body = Page<ServiceBody>),
        (status = 400, description = "A filter is wrong; errors names it", body = Problem),
        (status = 401, description = "No valid token", body = Problem),
    )
)]
#[get("/api/monitor/services")]
pub fn list(_viewer: Viewer, query: Query, state: &State<ApiState>) -> Result<Json<Page<Value>>, ApiError> {
    query.allow(&["page", "page_size", "enabled", "tag", "group", "search"])?;
    let (page, size) = (query.page()?, query.page_size()?);
    let enabled = query.boolean("enabled")?;
    let (tag, group) = (query.text("tag"), query.text("group"));
    let search = query.text("search").map(str::to_lowercase);
    let all = state.services.list();
    let fitting: Vec<_> = all
        .iter()
        .filter(|service| enabled.is_none_or(|enabled| service.enabled() == enabled))
        .filter(|service| tag.is_none_or(|tag| service.document.tags.iter().any(|other| other == tag)))
        .filter(|service| group.is_none_or(|group| service.document.group.as_deref() == Some(group)))
        .filter(|service| search.as_deref().is_none_or(|search| holds(&service.document, search)))
        .collect();
    let skip = (page - 1).saturating_mul(size as u64);
    let shown = fitting.iter().skip(usize::try_from(skip).unwrap_or(usize::MAX)).take(size).map(|service| view(service)).collect();
    Ok(Json(query.numbered(fitting.len() as u64, page, size, shown)))
}

/// A new service.
#[utoipa::path(
    tag = "services",
    request_body = ServiceBody,
    responses(
        (status = 201, description = "The service, with its number", body = ServiceBody),
        (status = 400, description = "Not JSON", body = Problem),
        (status = 401, description = "No valid token", body = Problem),
        (status = 403, description = "Takes role operator", body = Problem),
        (status = 413, description = "The body is too large", body = Problem),
        (status = 422, description = "Fields are wrong; errors names all of them; nothing was stored", body = Problem),
    )
)]
#[post("/api/monitor/services", data = "<body>")]
pub async fn create(operator: Operator, state: &State<ApiState>, body: JsonBody) -> Result<Created<Json<Value>>, ApiError> {
    let document = checked(state, body.0, None)?;
    let service = state.services.create(document, &operator.0.author()).await?;
    (state.services_changed)();
    Ok(Created::new(format!("/api/monitor/services/{}/", service.id)).body(Json(view(&service))))
}

/// One service.
#[utoipa::path(
    tag = "services",
    params(("id" = u32, Path, description = "The service's number")),
    responses(
        (status = 200, description = "The service, secrets masked", body = ServiceBody),
        (status = 401, description = "No valid token", body = Problem),
        (status = 404, description = "There is none of this number", body = Problem),
    )
)]
#[get("/api/monitor/services/<id>")]
pub async fn read(_viewer: Viewer, state: &State<ApiState>, id: &str) -> Result<Json<Value>, ApiError> {
    let service = find(state, id)?;
    // A store that is away takes nothing from what is known without it.
    let fresh = fresh_uptimes(state, service.id).await;
    let known = fresh.ok().or_else(|| state.uptimes.get(service.id));
    let mut view = view(&service);
    view["uptime"] = json!(known.as_ref().map(uptimes));
    Ok(Json(view))
}

/// Up-time and coverage worked out now, without maintenance.
pub async fn fresh_uptimes(state: &ApiState, service: ServiceId) -> Result<Known, StoreError> {
    let now = state.clock.now();
    let excluded = state.windows.excluded(service, reach(now));
    state.uptimes.refresh(&state.store.results, service, rule(state, service), &excluded, now).await
}

/// Replaces a service: fields left out go back to their defaults.
///
/// A secret sent back as its mask stays as it is. A `revision` sent along must still be the service's own.
#[utoipa::path(
    tag = "services",
    params(("id" = u32, Path, description = "The service's number")),
    request_body = ServiceBody,
    responses(
        (status = 200, description = "The service as it is now", body = ServiceBody),
        (status = 403, description = "Takes role operator", body = Problem),
        (status = 404, description = "There is none of this number", body = Problem),
        (status = 409, description = "Someone else changed it meanwhile", body = Problem),
        (status = 422, description = "Fields are wrong; nothing was stored", body = Problem),
    )
)]
#[put("/api/monitor/services/<id>", data = "<body>")]
pub async fn replace(operator: Operator, state: &State<ApiState>, id: &str, body: JsonBody) -> Result<Json<Value>, ApiError> {
    let kept = find(state, id)?;
    change(&operator, state, &kept, body.0).await
}

/// Changes fields of a service, by JSON Merge Patch (RFC 7396): null puts a field back to its default.
#[utoipa::path(
    tag = "services",
    params(("id" = u32, Path, description = "The service's number")),
    request_body = ServiceBody,
    responses(
        (status = 200, description = "The service as it is now", body = ServiceBody),
        (status = 403, description = "Takes role operator", body = Problem),
        (status = 404, description = "There is none of this number", body = Problem),
        (status = 409, description = "Someone else changed it meanwhile", body = Problem),
        (status = 422, description = "Fields are wrong; nothing was stored", body = Problem),
    )
)]
#[patch("/api/monitor/services/<id>", data = "<body>")]
pub async fn patch(operator: Operator, state: &State<ApiState>, id: &str, body: JsonBody) -> Result<Json<Value>, ApiError> {
    let kept = find(state, id)?;
    let Value::Object(patch) = body.0 else {
        return Err(ApiError::invalid(vec![Mistake::new("", "a patch is an object of the fields to change")]));
    };
    // From the masked form: so a secret is kept only where `unmask` lets it.
    let mut whole = plain(&masked(&kept.document));
    merge(&mut whole, patch);
    change(&operator, state, &kept, Value::Object(whole)).await
}

/// Ends a service. What was measured is kept, unless `purge=true`.
#[utoipa::path(
    tag = "services",
    params(
        ("id" = u32, Path, description = "The service's number"),
        ("purge" = Option<bool>, Query, description = "Remove its results too"),
        ("force" = Option<bool>, Query, description = "Even if others depend on it; they no longer do then"),
    ),
    responses(
        (status = 204, description = "It is gone; its number is never given again"),
        (status = 403, description = "Takes role operator", body = Problem),
        (status = 404, description = "There is none of this number", body = Problem),
        (status = 409, description = "Others depend on it, and are named", body = Problem),
    )
)]
#[delete("/api/monitor/services/<id>")]
pub async fn delete(operator: Operator, query: Query, state: &State<ApiState>, id: &str) -> Result<NoContent, ApiError> {
    query.allow(&["purge", "force"])?;
    let force = query.boolean("force")?.unwrap_or(false);
    let purge = query.boolean("purge")?.unwrap_or(false);
    let service = find(state, id)?;
    remove(state, &service, force, purge, &operator.0.author()).await?;
    Ok(NoContent)
}

/// Ends a service, with `force` though others depend on it, and with `purge` all that was measured of it.
pub async fn remove(state: &ApiState, service: &StoredService, force: bool, purge: bool, author: &Author) -> Result<(), ApiError> {
    state.services.delete(service.id, force, author).await?;
    (state.services_changed)();
    // Nobody may listen.
    let _ = state.events.send(Arc::new(Event::deleted(service.id, service.name(), state.clock.now())));
    if purge {
        state.store.results.purge_service(service.id).await?;
    }
    Ok(())
}

/// The service of a path.
pub fn find(state: &ApiState, id: &str) -> Result<Arc<StoredService>, ApiError> {
    let found = id.parse().ok().and_then(|id| state.services.get(ServiceId(id)));
    found.ok_or_else(|| ApiError::not_found(format!("there is no service {id}")))
}

async fn change(operator: &Operator, state: &ApiState, kept: &StoredService, body: Value) -> Result<Json<Value>, ApiError> {
    let expected = body.get("revision").and_then(Value::as_u64);
    let document = checked(state, body, Some(kept))?;
    let service = state.services.replace(kept.id, document, expected, &operator.0.author()).await?;
    if service.revision != kept.revision {
        (state.services_changed)();
    }
    Ok(Json(view(&service)))
}

/// A document fit to be stored, or every mistake in it.
pub fn checked(state: &ApiState, mut body: Value, kept: Option<&StoredService>) -> Result<ServiceDocument, ApiError> {
    let mut wrong = Vec::new();
    if !body.is_object() {
        return ServiceDocument::read(&body).map_err(ApiError::invalid);
    }
    if let Value::Object(fields) = &mut body {
        match (fields.get("id").filter(|id| !id.is_null()), kept) {
            (Some(id), Some(kept)) if id.as_u64() != Some(u64::from(kept.id.0)) => {
                wrong.push(Mistake::new("id", "cannot be changed"));
            }
            (Some(_), None) => wrong.push(Mistake::new("id", "is given by the hub")),
            _ => {}
        }
        for name in GIVEN {
            fields.shift_remove(name);
        }
    }
    let mut document = match ServiceDocument::read(&body) {
        Ok(document) => document,
        Err(mistakes) => {
            wrong.extend(mistakes);
            // What could be read is checked all the same, so that all mistakes are told at once.
            readable(&body, &wrong)
        }
    };
    wrong.extend(unmask(&mut document, kept.map(|kept| &kept.document)));
    let id = kept.map_or(ServiceId(0), |kept| kept.id);
    if let Err(mistakes) = document.check_written(id, &state.default_schedule) {
        // What is said of a value, or of what holds it, because it could not be read.
        let unread =
            |mistake: &Mistake| !wrong.iter().any(|other| within(&other.path, &mistake.path) || within(&mistake.path, &other.path));
        let further: Vec<Mistake> = mistakes.into_iter().filter(unread).collect();
        wrong.extend(further);
    }
    wrong.extend(state.services.dependency_mistakes(&document, kept.map(|kept| kept.id)));
    let name = document.name.as_deref().unwrap_or_default().trim();
    if let Some(other) = state.services.find_by_name(name).filter(|other| kept.is_none_or(|kept| kept.id != other.id)) {
        wrong.push(Mistake::new("name", format!("{name:?} is taken by service {}", other.id)));
    }
    if wrong.is_empty() { Ok(document) } else { Err(ApiError::invalid(wrong)) }
}

/// The document without the values that cannot be read.
fn readable(body: &Value, wrong: &[Mistake]) -> ServiceDocument {
    let mut left = body.clone();
    prune(&mut left, "", wrong);
    if let Ok(document) = ServiceDocument::read(&left) {
        return document;
    }
    let Value::Object(fields) = body else { return ServiceDocument::default() };
    let fields = fields.iter().filter(|(name, _)| !wrong.iter().any(|mistake| root(&mistake.path) == name.as_str()));
    let fields: Map<String, Value> = fields.map(|(name, value)| (name.clone(), value.clone())).collect();
    ServiceDocument::read(&Value::Object(fields)).unwrap_or_default()
}

/// Takes out every value that is wrong; a list with one that is none of its entries' fields goes as a whole, for its entries are
/// told by their places, and so does a log-in, whose fields belong together.
fn prune(value: &mut Value, path: &str, wrong: &[Mistake]) {
    match value {
        Value::Object(fields) => {
            fields.retain(|name, inner| {
                let place = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                let lost = |mistake: &Mistake| {
                    mistake.path == place || is_entry(&mistake.path, &place) || (place == "auth" && within(&mistake.path, &place))
                };
                if wrong.iter().any(lost) {
                    return false;
                }
                prune(inner, &place, wrong);
                true
            });
        }
        Value::Array(entries) => {
            for (index, entry) in entries.iter_mut().enumerate() {
                prune(entry, &format!("{path}[{index}]"), wrong);
            }
        }
        _ => {}
    }
}

/// Whether a path names an entry of a list.
fn is_entry(path: &str, list: &str) -> bool {
    path.strip_prefix(list).is_some_and(|rest| rest.starts_with('[') && rest.ends_with(']') && rest.matches('[').count() == 1)
}

/// Whether a path is that of a value or leads into it.
fn within(path: &str, outer: &str) -> bool {
    path.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
}

/// The top-level field of a path.
fn root(path: &str) -> &str {
    path.split(['.', '[']).next().unwrap_or_default()
}

/// A service as the API shows it: secrets masked, the everyday fields with their defaults.
fn view(service: &StoredService) -> Value {
    let mut shown = Map::new();
    shown.insert("id".to_owned(), service.id.0.into());
    for (name, value) in plain(&masked(&service.document)) {
        let value = match (name.as_str(), &value) {
            ("health_path", Value::Null) => "".into(),
            ("method", Value::Null) => "GET".into(),
            ("timeout_s", Value::Null) => 10.0.into(),
            ("enabled", Value::Null) => true.into(),
            _ => value,
        };
        shown.insert(name, value);
    }
    shown.insert("revision".to_owned(), service.revision.into());
    shown.insert("created_at".to_owned(), service.created_at.rfc3339().into());
    shown.insert("updated_at".to_owned(), service.updated_at.rfc3339().into());
    Value::Object(shown)
}

/// The fields of a document, secrets and all.
pub fn plain(document: &ServiceDocument) -> Map<String, Value> {
    match serde_json::to_value(document) {
        Ok(Value::Object(fields)) => fields,
        // A document is a struct with text keys, so it always is an object.
        _ => Map::new(),
    }
}

fn holds(document: &ServiceDocument, search: &str) -> bool {
    let texts = [&document.name, &document.base_url, &document.health_path, &document.group];
    texts.into_iter().flatten().chain(&document.tags).any(|text| text.to_lowercase().contains(search))
}
