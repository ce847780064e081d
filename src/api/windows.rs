//! Maintenance windows: spans in which nobody is told and nothing counts, past ones too.

pub mod body;
pub mod view;

use std::sync::Arc;

use rocket::response::status::{Created, NoContent};
use rocket::serde::json::Json;
use rocket::{State, delete, get, patch, post};
use serde_json::Value;

use crate::api::auth::{Operator, Viewer};
use crate::api::body::{JsonBody, merge};
use crate::api::error::{ApiError, Problem};
use crate::api::query::{Page, Query};
use crate::api::state::ApiState;
use crate::api::windows::body::WindowDocument;
use crate::api::windows::view::{State as Stage, WindowView};
use crate::config::mistake::Mistake;
use crate::model::id::ServiceId;
use crate::model::span::Span;
use crate::model::time::Timestamp;
use crate::model::window::{Plan, Rule, Window, WindowId};
use crate::store::windows::Draft;

/// Maintenance windows, those that change next first: active, then upcoming, then past, the latest of these first.
#[utoipa::path(
    tag = "maintenance windows",
    params(
        ("page" = Option<u64>, Query, description = "From 1"),
        ("page_size" = Option<u64>, Query, description = "1 to 500, usually 50"),
        ("state" = Option<String>, Query, description = "`active`, `upcoming`, `past` or `deleted`; usually all but the deleted"),
        ("service" = Option<u32>, Query, description = "Those that mean this service"),
    ),
    responses(
        (status = 200, description = "A page of windows", body = Page<WindowView>),
        (status = 400, description = "A filter is wrong; errors names it", body = Problem),
    )
)]
#[get("/api/v1/maintenance-windows")]
pub fn list(_viewer: Viewer, query: Query, state: &State<ApiState>) -> Result<Json<Page<WindowView>>, ApiError> {
    query.allow(&["page", "page_size", "state", "service"])?;
    let (page, size) = (query.page()?, query.page_size()?);
    let wanted = match query.text("state") {
        None => None,
        Some(name) => Some(
            Stage::from_name(name)
                .ok_or_else(|| ApiError::bad_query("state", format!("must be active, upcoming, past or deleted, not {name:?}")))?,
        ),
    };
    let service = query.number("service", "the number of a service")?.map(ServiceId);
    let now = state.clock.now();
    let all = state.windows.store.list();
    let views = all.iter().map(|window| WindowView::new(window, &state.windows, now));
    let fits = |view: &WindowView| match wanted {
        Some(wanted) => view.stage == wanted,
        None => view.stage != Stage::Deleted,
    };
    let mut fitting: Vec<WindowView> = views.filter(fits).filter(|view| service.is_none_or(|service| view.means(service))).collect();
    fitting.sort_by_key(WindowView::order);
    let skip = usize::try_from(page - 1).unwrap_or(usize::MAX).saturating_mul(size);
    let count = fitting.len() as u64;
    Ok(Json(query.numbered(count, page, size, fitting.into_iter().skip(skip).take(size).collect())))
}

/// A new window. One over a past span counts history anew, and wants a reason.
#[utoipa::path(
    tag = "maintenance windows",
    request_body = WindowDocument,
    responses(
        (status = 201, description = "The window, with its number", body = WindowView),
        (status = 403, description = "Takes role operator", body = Problem),
        (status = 422, description = "Fields are wrong; errors names all of them; nothing was stored", body = Problem),
    )
)]
#[post("/api/v1/maintenance-windows", data = "<body>")]
pub async fn create(operator: Operator, state: &State<ApiState>, body: JsonBody) -> Result<Created<Json<WindowView>>, ApiError> {
    let draft = WindowDocument::read(&body.0)?.check(state, None).map_err(ApiError::invalid)?;
    let window = state.windows.store.create(draft, &operator.0.author()).await?;
    state.windows.turn();
    let view = WindowView::new(&window, &state.windows, state.clock.now());
    Ok(Created::new(format!("/api/v1/maintenance-windows/{}/", window.id)).body(Json(view)))
}

/// One window, also one that was deleted.
#[utoipa::path(
    tag = "maintenance windows",
    params(("id" = u32, Path, description = "The window's number")),
    responses(
        (status = 200, description = "The window", body = WindowView),
        (status = 404, description = "There is none of this number", body = Problem),
    )
)]
#[get("/api/v1/maintenance-windows/<id>")]
pub fn read(_viewer: Viewer, state: &State<ApiState>, id: &str) -> Result<Json<WindowView>, ApiError> {
    let found = id.parse().ok().and_then(|id| state.windows.store.get(WindowId(id)));
    let window = found.ok_or_else(|| none(id))?;
    Ok(Json(WindowView::new(&window, &state.windows, state.clock.now())))
}

/// Changes fields of a window, by JSON Merge Patch (RFC 7396). What a recurring one was up to now stays as it was.
#[utoipa::path(
    tag = "maintenance windows",
    params(("id" = u32, Path, description = "The window's number")),
    request_body = WindowDocument,
    responses(
        (status = 200, description = "The window as it is now", body = WindowView),
        (status = 403, description = "Takes role operator", body = Problem),
        (status = 404, description = "There is none of this number", body = Problem),
        (status = 409, description = "Someone else changed it meanwhile", body = Problem),
        (status = 422, description = "Fields are wrong; nothing was stored", body = Problem),
    )
)]
#[patch("/api/v1/maintenance-windows/<id>", data = "<body>")]
pub async fn patch(operator: Operator, state: &State<ApiState>, id: &str, body: JsonBody) -> Result<Json<WindowView>, ApiError> {
    let kept = find(state, id)?;
    let Value::Object(patch) = body.0 else {
        return Err(ApiError::invalid(vec![Mistake::new("", "a patch is an object of the fields to change")]));
    };
    let expected = patch.get("revision").and_then(Value::as_u64);
    let mut whole = WindowDocument::of(&kept);
    merge(&mut whole, patch);
    whole.shift_remove("revision");
    let draft = WindowDocument::read(&Value::Object(whole))?.check(state, Some(&kept)).map_err(ApiError::invalid)?;
    replace(&operator, state, &kept, draft, expected, "window.update").await
}

/// Takes a window back: history counts as if it had never been. The window itself can still be read.
#[utoipa::path(
    tag = "maintenance windows",
    params(("id" = u32, Path, description = "The window's number")),
    responses(
        (status = 204, description = "It is taken back"),
        (status = 403, description = "Takes role operator", body = Problem),
        (status = 404, description = "There is none of this number", body = Problem),
    )
)]
#[delete("/api/v1/maintenance-windows/<id>")]
pub async fn delete(operator: Operator, query: Query, state: &State<ApiState>, id: &str) -> Result<NoContent, ApiError> {
    query.allow(&[])?;
    let window = find(state, id)?;
    state.windows.store.delete(window.id, &operator.0.author()).await?;
    state.windows.turn();
    Ok(NoContent)
}

/// Begins a manual window now. It ends by itself after its `longest_s`.
#[utoipa::path(
    tag = "maintenance windows",
    params(("id" = u32, Path, description = "The window's number")),
    responses(
        (status = 200, description = "The window as it is now", body = WindowView),
        (status = 403, description = "Takes role operator", body = Problem),
        (status = 404, description = "There is none of this number", body = Problem),
        (status = 409, description = "It is not manual, or has begun already", body = Problem),
    )
)]
#[post("/api/v1/maintenance-windows/<id>/start")]
pub async fn start(operator: Operator, query: Query, state: &State<ApiState>, id: &str) -> Result<Json<WindowView>, ApiError> {
    query.allow(&[])?;
    let kept = find(state, id)?;
    let now = state.clock.now();
    let Plan::Manual { sessions, longest } = &kept.rule.plan else {
        return Err(conflict(format!("window {id} is not manual: it begins by its own times")));
    };
    if sessions.iter().any(|session| session.holds(now)) {
        return Err(conflict(format!("window {id} has begun already")));
    }
    let mut sessions = sessions.clone();
    sessions.push(Span::new(now, now.plus(*longest)));
    let plan = Plan::Manual { sessions, longest: *longest };
    replace(&operator, state, &kept, with_plan(&kept, plan), Some(kept.revision), "window.start").await
}

/// Ends a window that is active now, whatever its kind. A recurring one comes again at its next time.
#[utoipa::path(
    tag = "maintenance windows",
    params(("id" = u32, Path, description = "The window's number")),
    responses(
        (status = 200, description = "The window as it is now", body = WindowView),
        (status = 403, description = "Takes role operator", body = Problem),
        (status = 404, description = "There is none of this number", body = Problem),
        (status = 409, description = "It is not active", body = Problem),
    )
)]
#[post("/api/v1/maintenance-windows/<id>/end")]
pub async fn end(operator: Operator, query: Query, state: &State<ApiState>, id: &str) -> Result<Json<WindowView>, ApiError> {
    query.allow(&[])?;
    let kept = find(state, id)?;
    let plan = ended(&kept, state.clock.now()).ok_or_else(|| conflict(format!("window {id} is not active now")))?;
    replace(&operator, state, &kept, with_plan(&kept, plan), Some(kept.revision), "window.end").await
}

/// The plan of a window without what of its running span is left; `None`: it is not running.
fn ended(window: &Window, now: Timestamp) -> Option<Plan> {
    let day = Span::new(now, Timestamp(now.0 + 1));
    if window.rule.plan.spans(day).is_empty() {
        return None;
    }
    match window.rule.plan.clone() {
        Plan::Once(span) => Some(Plan::Once(Span { until: now, ..span })),
        Plan::Manual { mut sessions, longest } => {
            sessions.iter_mut().filter(|session| session.holds(now)).for_each(|session| session.until = now);
            Some(Plan::Manual { sessions, longest })
        }
        Plan::Recurring { expression, pattern, zone, duration, until, .. } => {
            // In force again from when the running time would have ended: no other begins before.
            let ahead = Span::new(now, now.plus(duration));
            let since = window.rule.plan.spans(ahead).first()?.until;
            Some(Plan::Recurring { expression, pattern, zone, duration, since, until })
        }
    }
}

fn with_plan(window: &Window, plan: Plan) -> Draft {
    let rule = Rule { plan, ..window.rule.clone() };
    Draft { title: window.title.clone(), reason: window.reason.clone(), rule }
}

async fn replace(
    operator: &Operator,
    state: &ApiState,
    kept: &Window,
    draft: Draft,
    expected: Option<u64>,
    action: &'static str,
) -> Result<Json<WindowView>, ApiError> {
    let window = state.windows.store.replace(kept.id, draft, expected, action, &operator.0.author()).await?;
    state.windows.turn();
    Ok(Json(WindowView::new(&window, &state.windows, state.clock.now())))
}

/// The window of a path, if it was not deleted.
fn find(state: &ApiState, id: &str) -> Result<Arc<Window>, ApiError> {
    let found = id.parse().ok().and_then(|id| state.windows.store.get(WindowId(id)));
    found.filter(|window| window.deleted.is_none()).ok_or_else(|| none(id))
}

fn none(id: &str) -> ApiError {
    ApiError::not_found(format!("there is no maintenance window {id}"))
}

fn conflict(detail: String) -> ApiError {
    ApiError::new(rocket::http::Status::Conflict, detail)
}
