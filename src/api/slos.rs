//! Objectives: what is promised of services, how they stand, and reports.

pub mod body;
mod report;
pub mod view;

use std::io::Cursor;
use std::sync::Arc;

use rocket::http::{ContentType, Header};
use rocket::response::status::{Created, NoContent};
use rocket::response::{self, Responder, Response};
use rocket::serde::json::Json;
use rocket::{Request, State, delete, get, patch, post, put};
use serde_json::Value;

use crate::api::auth::{Operator, Viewer};
use crate::api::body::{JsonBody, merge};
use crate::api::error::{ApiError, Problem};
use crate::api::query::{Page, Query};
use crate::api::results::span;
use crate::api::slos::body::SloDocument;
use crate::api::slos::report::{SloReport, csv, html};
use crate::api::slos::view::SloView;
use crate::api::state::ApiState;
use crate::config::mistake::Mistake;
use crate::model::id::ServiceId;
use crate::model::slo::{Slo, SloId};
use crate::model::span::Span;
use crate::slo::period;

/// Days a report may be about.
const LONGEST_REPORT: i64 = 3 * 366;

/// A report in one of its forms.
pub struct Document {
    kind: ContentType,
    text: String,
    /// Of a file to keep.
    name: Option<String>,
}

impl<'r> Responder<'r, 'static> for Document {
    fn respond_to(self, _: &'r Request<'_>) -> response::Result<'static> {
        let mut answer = Response::build();
        answer.header(self.kind).sized_body(self.text.len(), Cursor::new(self.text));
        // The page asks for nothing and runs nothing; its looks are part of it.
        answer.header(Header::new("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"));
        if let Some(name) = self.name {
            answer.header(Header::new("Content-Disposition", format!("attachment; filename=\"{name}\"")));
        }
        answer.ok()
    }
}

/// Objectives with how they stand, by number.
#[utoipa::path(
    tag = "objectives",
    params(
        ("page" = Option<u64>, Query, description = "From 1"),
        ("page_size" = Option<u64>, Query, description = "1 to 500, usually 50"),
        ("service" = Option<u32>, Query, description = "Those of this service"),
        ("burning" = Option<bool>, Query, description = "Those whose budget burns, or does not burn, too fast now"),
    ),
    responses(
        (status = 200, description = "A page of objectives", body = Page<SloView>),
        (status = 400, description = "A filter is wrong; errors names it", body = Problem),
    )
)]
#[get("/api/v1/slos")]
pub async fn list(_viewer: Viewer, query: Query, state: &State<ApiState>) -> Result<Json<Page<SloView>>, ApiError> {
    query.allow(&["page", "page_size", "service", "burning"])?;
    let (page, size) = (query.page()?, query.page_size()?);
    let service = query.number("service", "the number of a service")?.map(ServiceId);
    let wanted = query.boolean("burning")?;
    let burns = |slo: &Slo| state.slos.burning.lock().expect("no holder panics").contains_key(&slo.id);
    let all = state.slos.slos.list();
    let fitting: Vec<&Arc<Slo>> = all
        .iter()
        .filter(|slo| service.is_none_or(|service| service == slo.promise.service))
        .filter(|slo| wanted.is_none_or(|wanted| wanted == burns(slo)))
        .collect();
    let skip = usize::try_from(page - 1).unwrap_or(usize::MAX).saturating_mul(size);
    let views = views(state, fitting.iter().skip(skip).take(size).copied()).await?;
    Ok(Json(query.numbered(fitting.len() as u64, page, size, views)))
}

/// Some objectives with how they stand.
pub async fn views(state: &ApiState, slos: impl Iterator<Item = &Arc<Slo>>) -> Result<Vec<SloView>, ApiError> {
    let rates = state.slos.rates();
    let mut views = Vec::new();
    for slo in slos {
        views.push(SloView::new(slo, &*state.slos.status(slo).await?, rates.get(&slo.id), state));
    }
    Ok(views)
}

/// A new objective.
#[utoipa::path(
    tag = "objectives",
    request_body = SloDocument,
    responses(
        (status = 201, description = "The objective, with its number", body = SloView),
        (status = 403, description = "Takes role operator", body = Problem),
        (status = 422, description = "Fields are wrong; errors names all of them; nothing was stored", body = Problem),
    )
)]
#[post("/api/v1/slos", data = "<body>")]
pub async fn create(operator: Operator, state: &State<ApiState>, body: JsonBody) -> Result<Created<Json<SloView>>, ApiError> {
    let promise = body.read::<SloDocument>()?.check(state, None).map_err(ApiError::invalid)?;
    let slo = state.slos.slos.create(promise, &operator.0.author()).await?;
    state.slos.turn();
    Ok(Created::new(format!("/api/v1/slos/{}/", slo.id)).body(Json(view(state, &slo).await?)))
}

/// One objective with how it stands.
#[utoipa::path(
    tag = "objectives",
    params(("id" = u32, Path, description = "The objective's number")),
    responses(
        (status = 200, description = "The objective", body = SloView),
        (status = 404, description = "There is none of this number", body = Problem),
    )
)]
#[get("/api/v1/slos/<id>")]
pub async fn read(_viewer: Viewer, state: &State<ApiState>, id: &str) -> Result<Json<SloView>, ApiError> {
    let slo = find(state, id)?;
    view(state, &slo).await.map(Json)
}

/// Replaces an objective: fields left out go back to their defaults.
#[utoipa::path(
    tag = "objectives",
    params(("id" = u32, Path, description = "The objective's number")),
    request_body = SloDocument,
    responses(
        (status = 200, description = "The objective as it is now", body = SloView),
        (status = 403, description = "Takes role operator", body = Problem),
        (status = 404, description = "There is none of this number", body = Problem),
        (status = 409, description = "Someone else changed it meanwhile", body = Problem),
        (status = 422, description = "Fields are wrong; nothing was stored", body = Problem),
    )
)]
#[put("/api/v1/slos/<id>", data = "<body>")]
pub async fn replace(operator: Operator, state: &State<ApiState>, id: &str, body: JsonBody) -> Result<Json<SloView>, ApiError> {
    let kept = find(state, id)?;
    change(&operator, state, &kept, body.0).await
}

/// Changes fields of an objective, by JSON Merge Patch (RFC 7396): null puts a field back to its default.
#[utoipa::path(
    tag = "objectives",
    params(("id" = u32, Path, description = "The objective's number")),
    request_body = SloDocument,
    responses(
        (status = 200, description = "The objective as it is now", body = SloView),
        (status = 403, description = "Takes role operator", body = Problem),
        (status = 404, description = "There is none of this number", body = Problem),
        (status = 409, description = "Someone else changed it meanwhile", body = Problem),
        (status = 422, description = "Fields are wrong; nothing was stored", body = Problem),
    )
)]
#[patch("/api/v1/slos/<id>", data = "<body>")]
pub async fn patch(operator: Operator, state: &State<ApiState>, id: &str, body: JsonBody) -> Result<Json<SloView>, ApiError> {
    let kept = find(state, id)?;
    let Value::Object(patch) = body.0 else {
        return Err(ApiError::invalid(vec![Mistake::new("", "a patch is an object of the fields to change")]));
    };
    let mut whole = SloDocument::of(&kept.promise);
    merge(&mut whole, patch);
    change(&operator, state, &kept, Value::Object(whole)).await
}

/// Ends an objective. What was measured stays; its number is never given again.
#[utoipa::path(
    tag = "objectives",
    params(("id" = u32, Path, description = "The objective's number")),
    responses(
        (status = 204, description = "It is gone"),
        (status = 403, description = "Takes role operator", body = Problem),
        (status = 404, description = "There is none of this number", body = Problem),
    )
)]
#[delete("/api/v1/slos/<id>")]
pub async fn delete(operator: Operator, query: Query, state: &State<ApiState>, id: &str) -> Result<NoContent, ApiError> {
    query.allow(&[])?;
    let slo = find(state, id)?;
    state.slos.slos.delete(slo.id, &operator.0.author()).await?;
    state.slos.turn();
    Ok(NoContent)
}

/// What an objective came to over any range: attained, budget, coverage, maintenance, days, regions and incidents.
#[utoipa::path(
    tag = "objectives",
    params(
        ("id" = u32, Path, description = "The objective's number"),
        ("since" = Option<String>, Query, description = "Usually the beginning of the running period"),
        ("until" = Option<String>, Query, description = "Usually now"),
        ("format" = Option<String>, Query, description = "`json`, `csv` or `html`, a page to print; usually json"),
    ),
    responses(
        (status = 200, description = "The report", body = SloReport),
        (status = 400, description = "A parameter is wrong; errors names it", body = Problem),
        (status = 404, description = "There is none of this number", body = Problem),
    )
)]
#[get("/api/v1/slos/<id>/report")]
pub async fn report_of(viewer: Viewer, query: Query, state: &State<ApiState>, id: &str) -> Result<Document, ApiError> {
    query.allow(&["since", "until", "format"])?;
    let slo = find(state, id)?;
    let format = query.text("format").unwrap_or("json");
    if !["json", "csv", "html"].contains(&format) {
        return Err(ApiError::bad_query("format", format!("must be json, csv or html, not {format:?}")));
    }
    let now = state.clock.now();
    let (since, until) = span(&query)?;
    let until = until.unwrap_or(now).min(now);
    let since = since.unwrap_or_else(|| period::holding(slo.promise.period, until).from);
    if since >= until {
        return Err(ApiError::bad_query("since", "must be before until, and before now"));
    }
    if (until.0 - since.0) / 86_400_000_000 > LONGEST_REPORT {
        return Err(ApiError::bad_query("since", format!("is more than {LONGEST_REPORT} days before until; ask for less")));
    }
    let report = SloReport::make(state, &slo, Span::new(since, until), &viewer.0.username).await?;
    Ok(match format {
        "csv" => Document { kind: ContentType::CSV, text: csv(&report), name: Some(format!("slo-{id}.csv")) },
        "html" => Document { kind: ContentType::HTML, text: html(&report)?, name: None },
        _ => Document { kind: ContentType::JSON, text: serde_json::to_string(&report).expect("plain data always encodes"), name: None },
    })
}

async fn change(operator: &Operator, state: &ApiState, kept: &Slo, mut body: Value) -> Result<Json<SloView>, ApiError> {
    let expected = body.get("revision").and_then(Value::as_u64);
    if let Value::Object(fields) = &mut body {
        fields.shift_remove("revision");
    }
    let promise = JsonBody(body).read::<SloDocument>()?.check(state, Some(kept)).map_err(ApiError::invalid)?;
    let slo = state.slos.slos.replace(kept.id, promise, expected, &operator.0.author()).await?;
    state.slos.turn();
    view(state, &slo).await.map(Json)
}

async fn view(state: &ApiState, slo: &Slo) -> Result<SloView, ApiError> {
    let status = state.slos.status(slo).await?;
    Ok(SloView::new(slo, &status, state.slos.rates().get(&slo.id), state))
}

fn find(state: &ApiState, id: &str) -> Result<Arc<Slo>, ApiError> {
    let found = id.parse().ok().and_then(|id| state.slos.slos.get(SloId(id)));
    found.ok_or_else(|| ApiError::not_found(format!("there is no objective {id}")))
}
