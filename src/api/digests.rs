//! Digests: what happened over a period, of all services or of one, by whom it was written and why.

use std::time::Duration;

use rocket::http::Status;
use rocket::response::status::Custom;
use rocket::serde::json::Json;
use rocket::{State, get, post};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::oneshot;
use utoipa::ToSchema;

use crate::api::auth::{Operator, Viewer};
use crate::api::body::JsonBody;
use crate::api::error::{ApiError, Problem};
use crate::api::query::{Page, Query};
use crate::api::results::span;
use crate::api::state::ApiState;
use crate::config::mistake::Mistake;
use crate::digest::digester::{Order, Refused};
use crate::model::digest::{Digest, DigestId, Writer};
use crate::model::id::ServiceId;
use crate::store::audit::Change;
use crate::store::digests::{DigestFilter, DigestScope};

/// A client is kept waiting so long at most; then it is told where the digest will be.
const WAIT: Duration = Duration::from_secs(30);
const HOURS: std::ops::RangeInclusive<u64> = 1..=2_160;

#[derive(Serialize, ToSchema)]
pub struct DigestView {
    /// Names period and scope: the same digest written again has the same.
    id: String,
    /// Null: of all services.
    service_id: Option<u32>,
    service_name: Option<String>,
    period_start: String,
    period_end: String,
    written_at: String,
    /// One sentence: what matters most.
    headline: String,
    paragraphs: Vec<String>,
    /// What to look at next, the most urgent first.
    suggestions: Vec<String>,
    /// Headline and paragraphs.
    summary_text: String,
    /// Findings of the period that nobody dismissed.
    anomaly_count: u64,
    /// `local`: the program itself. `openai`: a language model.
    writer: &'static str,
    /// Why it was this writer.
    writer_reason: String,
    /// The model that was asked; null where none is set.
    model: Option<String>,
    tokens: TokensView,
}

/// Of all tries, those whose text was refused among them.
#[derive(Serialize, ToSchema)]
pub struct TokensView {
    prompt: u64,
    completion: u64,
    total: u64,
}

/// A digest with the facts it was written from.
#[derive(Serialize, ToSchema)]
pub struct DigestDetail {
    #[serde(flatten)]
    digest: DigestView,
    #[schema(value_type = Object)]
    facts: Value,
}

/// It is being written; it will be the latest.
#[derive(Serialize, ToSchema)]
pub struct DigestPending {
    /// `running`
    state: &'static str,
    /// Where it will be found.
    latest: String,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RunBody {
    /// 1 to 2160, usually 24.
    #[schema(value_type = Option<u64>)]
    period_hours: Option<Value>,
    /// A service's number or name; all, if left out.
    #[schema(value_type = Option<Object>)]
    service: Option<Value>,
}

/// Digests, those of the latest periods first.
#[utoipa::path(
    tag = "digests",
    params(
        ("page" = Option<u64>, Query, description = "From 1"),
        ("page_size" = Option<u64>, Query, description = "1 to 500, usually 50"),
        ("service" = Option<String>, Query, description = "Those of this service, by its number; `all`: those of all services"),
        ("since" = Option<String>, Query, description = "Those whose period ended at this time or later"),
        ("until" = Option<String>, Query, description = "Those whose period ended before this time"),
        ("writer" = Option<String>, Query, description = "`local` or `openai`"),
    ),
    responses(
        (status = 200, description = "A page of digests", body = Page<DigestView>),
        (status = 400, description = "A filter is wrong; errors names it", body = Problem),
    )
)]
#[get("/api/monitor/digests")]
pub async fn list(_viewer: Viewer, query: Query, state: &State<ApiState>) -> Result<Json<Page<DigestView>>, ApiError> {
    query.allow(&["page", "page_size", "service", "since", "until", "writer"])?;
    let (page, size) = (query.page()?, query.page_size()?);
    let writer = match query.text("writer") {
        None => None,
        Some(name) => {
            Some(Writer::from_name(name).ok_or_else(|| ApiError::bad_query("writer", format!("must be local or openai, not {name:?}")))?)
        }
    };
    let scope = match query.text("service") {
        Some("all") => Some(DigestScope::All),
        _ => query.number("service", "the number of a service, or all")?.map(|id| DigestScope::Of(ServiceId(id))),
    };
    let (since, until) = span(&query)?;
    let skip = usize::try_from(page - 1).unwrap_or(usize::MAX).saturating_mul(size);
    let (count, found) = state.digests.page(&DigestFilter { scope, since, until, writer }, skip, size).await?;
    Ok(Json(query.numbered(count, page, size, found.iter().map(DigestView::from).collect())))
}

/// The latest digest of all services, or of one.
#[utoipa::path(
    tag = "digests",
    params(("service" = Option<u32>, Query, description = "The service's number; of all, if left out")),
    responses(
        (status = 200, description = "The digest", body = DigestDetail),
        (status = 404, description = "There is none yet", body = Problem),
    )
)]
#[get("/api/monitor/digests/latest")]
pub fn latest(_viewer: Viewer, query: Query, state: &State<ApiState>) -> Result<Json<DigestDetail>, ApiError> {
    query.allow(&["service"])?;
    let service = query.number("service", "the number of a service")?.map(ServiceId);
    let none = || {
        let of = service.map_or_else(|| "all services".to_owned(), |service| format!("service {service}"));
        ApiError::not_found(format!("there is no digest of {of} yet; POST /api/monitor/digests/run/ writes one"))
    };
    Ok(Json(DigestDetail::from(&*state.digests.latest(service).ok_or_else(none)?)))
}

/// One digest with the facts it was written from.
#[utoipa::path(
    tag = "digests",
    params(("id" = String, Path, description = "The digest's id")),
    responses(
        (status = 200, description = "The digest", body = DigestDetail),
        (status = 404, description = "There is none of this id", body = Problem),
    )
)]
#[get("/api/monitor/digests/<id>", rank = 2)]
pub async fn read(_viewer: Viewer, state: &State<ApiState>, id: &str) -> Result<Json<DigestDetail>, ApiError> {
    let digest = state.digests.one(&DigestId(id.into())).await?;
    digest.map(|digest| Json(DigestDetail::from(&digest))).ok_or_else(|| ApiError::not_found(format!("there is no digest {id}")))
}

/// Writes a digest of the hours until now. One of all services is followed by those of services with something to tell. Asked
/// twice at once for the same, both get the same.
#[utoipa::path(
    tag = "digests",
    request_body = RunBody,
    responses(
        (status = 200, description = "The digest", body = DigestDetail),
        (status = 202, description = "It takes longer; it will be the latest", body = DigestPending),
        (status = 403, description = "Takes role operator", body = Problem),
        (status = 409, description = "Another digest is being written", body = Problem),
        (status = 422, description = "The period is out of bounds, or there is no such service", body = Problem),
    )
)]
#[post("/api/monitor/digests/run", data = "<body>")]
pub async fn run(operator: Operator, state: &State<ApiState>, body: JsonBody) -> Result<Custom<Json<Value>>, ApiError> {
    let (hours, service) = read_order(state, body.read()?)?;
    let (answer, answered) = oneshot::channel();
    let sent = state.digest_orders.try_send(Order { hours, service, answer });
    sent.map_err(|_| ApiError::unavailable("digests are not written now"))?;
    let author = operator.0.author();
    let subject = service.map_or_else(|| "digest:all".to_owned(), |service| format!("digest:service:{service}"));
    state.audit.record(&Change { who: author.who, address: author.address, action: "digest.run", subject, fields: Vec::new() }).await?;
    let outcome = tokio::select! {
        outcome = answered => outcome,
        () = state.clock.sleep(WAIT) => {
            let latest = service.map_or_else(String::new, |service| format!("?service={service}"));
            let pending = DigestPending { state: "running", latest: format!("/api/monitor/digests/latest/{latest}") };
            return answer_with(Status::Accepted, &pending);
        }
    };
    match outcome {
        Ok(Ok(digest)) => answer_with(Status::Ok, &DigestDetail::from(&*digest)),
        Ok(Err(refused @ Refused::Busy)) => Err(ApiError::new(Status::Conflict, refused.to_string()).with_header("Retry-After", "5")),
        Ok(Err(refused)) => Err(ApiError::unavailable(refused.to_string())),
        Err(_) => Err(ApiError::unavailable("whoever writes digests was started again; ask again")),
    }
}

fn answer_with(status: Status, body: &impl Serialize) -> Result<Custom<Json<Value>>, ApiError> {
    let body = serde_json::to_value(body).map_err(|error| ApiError::new(Status::InternalServerError, error.to_string()))?;
    Ok(Custom(status, Json(body)))
}

/// All that is wrong with a request, at once.
fn read_order(state: &ApiState, body: RunBody) -> Result<(u32, Option<ServiceId>), ApiError> {
    let mut wrong = Vec::new();
    let hours = match &body.period_hours {
        None => u64::from(state.digest_hours),
        Some(value) => value.as_u64().filter(|hours| HOURS.contains(hours)).unwrap_or_else(|| {
            wrong.push(Mistake::new(
                "period_hours",
                format!("must be a whole number from {} to {}, not {value}", HOURS.start(), HOURS.end()),
            ));
            *HOURS.start()
        }),
    };
    let service = match &body.service {
        None | Some(Value::Null) => None,
        Some(Value::Number(number)) => {
            number.as_u64().and_then(|id| u32::try_from(id).ok()).and_then(|id| state.services.get(ServiceId(id))).map(|stored| stored.id)
        }
        Some(Value::String(name)) => state.services.find_by_name(name).map(|stored| stored.id),
        Some(_) => None,
    };
    if let (None, Some(value)) = (service, body.service.as_ref().filter(|value| !value.is_null())) {
        wrong.push(Mistake::new("service", format!("there is no service {value}")));
    }
    if wrong.is_empty() { Ok((hours as u32, service)) } else { Err(ApiError::invalid(wrong)) }
}

impl From<&Digest> for DigestView {
    fn from(digest: &Digest) -> DigestView {
        DigestView {
            id: digest.id.to_string(),
            service_id: digest.service.map(|service| service.0),
            service_name: digest.name.as_ref().map(ToString::to_string),
            period_start: digest.period.since.rfc3339(),
            period_end: digest.period.until.rfc3339(),
            written_at: digest.written_at.rfc3339(),
            headline: digest.text.headline.clone(),
            paragraphs: digest.text.paragraphs.clone(),
            suggestions: digest.text.suggestions.clone(),
            summary_text: digest.text.summary(),
            anomaly_count: digest.anomaly_count,
            writer: digest.writer.name(),
            writer_reason: digest.writer_reason.clone(),
            model: digest.model.clone(),
            tokens: TokensView { prompt: digest.tokens.prompt, completion: digest.tokens.completion, total: digest.tokens.total() },
        }
    }
}

impl From<&Digest> for DigestDetail {
    fn from(digest: &Digest) -> DigestDetail {
        let facts = serde_json::from_str(&digest.facts).unwrap_or_default();
        DigestDetail { digest: DigestView::from(digest), facts }
    }
}
