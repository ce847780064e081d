//! Results: what checks found, by every filter a person would look for.

use std::time::Duration;

use rocket::serde::json::Json;
use rocket::{State, get};
use serde::Serialize;
use utoipa::ToSchema;

use crate::api::auth::Viewer;
use crate::api::error::{ApiError, Problem};
use crate::api::query::{Page, Query};
use crate::api::state::ApiState;
use crate::model::check::{Attempt, Certificate, CheckResult, Evidence, Phases, Reason};
use crate::model::id::ServiceId;
use crate::model::time::Timestamp;
use crate::store::query::{Cursor, ResultId, ResultQuery};

/// One check.
#[derive(Serialize, ToSchema)]
pub struct ResultView {
    /// Names this result for ever.
    id: String,
    service_id: u32,
    /// Null for a service that is gone.
    service_name: Option<String>,
    region: String,
    node: String,
    /// When it began.
    checked_at: String,
    /// When it was due.
    scheduled_at: String,
    /// How far the clock of its node was ahead of the hub's, where it was a second or more, ahead or behind; the times are
    /// the hub's then. Else null.
    clock_offset_ms: Option<f64>,
    ok: bool,
    status_code: Option<u16>,
    /// The last attempt.
    latency_ms: f64,
    /// The whole check, retries and waits between them included.
    elapsed_ms: f64,
    attempt_count: u8,
    /// `dns`, `connect`, `tls`, `certificate`, `timeout`, `status`, `header`, `body`, `json`, `too_large`, `redirect`, `blocked`, `protocol` or `internal`
    reason: Option<&'static str>,
    /// The step it had reached when it failed.
    phase: Option<&'static str>,
    message: Option<String>,
    phases: PhasesView,
    address: Option<String>,
    http_version: Option<&'static str>,
    tls_version: Option<&'static str>,
    certificate: Option<CertificateView>,
    body_bytes: u64,
    redirects: u8,
    /// Each try, for one result that failed or tried more than once; else empty.
    attempts: Vec<AttemptView>,
    /// What there was to see at a failure or a retry, for one result; else null.
    evidence: Option<EvidenceView>,
}

/// Milliseconds of each step; null where it did not happen.
#[derive(Serialize, ToSchema)]
pub struct PhasesView {
    dns_ms: Option<f64>,
    connect_ms: Option<f64>,
    tls_ms: Option<f64>,
    first_byte_ms: Option<f64>,
    transfer_ms: Option<f64>,
}

#[derive(Serialize, ToSchema)]
pub struct CertificateView {
    subject: String,
    issuer: String,
    not_before: String,
    not_after: String,
    /// Whole days left, negative once it has expired.
    days_left: i64,
    /// SHA-256
    fingerprint: String,
}

#[derive(Serialize, ToSchema)]
pub struct AttemptView {
    /// From the start of the check to the start of this try.
    offset_ms: f64,
    latency_ms: f64,
    status_code: Option<u16>,
    address: Option<String>,
    reason: Option<&'static str>,
    phase: Option<&'static str>,
    message: Option<String>,
    phases: PhasesView,
}

#[derive(Serialize, ToSchema)]
pub struct EvidenceView {
    status_line: String,
    headers: Vec<HeaderView>,
    /// The first KiB of the body, as text.
    body: String,
    /// Leaf first.
    chain: Vec<CertificateView>,
    addresses: Vec<String>,
}

#[derive(Serialize, ToSchema)]
pub struct HeaderView {
    name: String,
    value: String,
}

/// Results, newest first.
///
/// `count` is null: counting would read them all. Follow `next` until it is null: where filters find little, a page may be
/// short, even empty, and yet have a `next`.
#[utoipa::path(
    tag = "results",
    params(
        ("service" = Option<String>, Query, description = "The number of a service, or several with commas between"),
        ("since" = Option<String>, Query, description = "Began at this time or later"),
        ("until" = Option<String>, Query, description = "Began before this time"),
        ("ok" = Option<bool>, Query, description = "Only good, or only failing ones"),
        ("region" = Option<String>, Query, description = "Seen from this region"),
        ("reason" = Option<String>, Query, description = "Failed for this reason"),
        ("status_code" = Option<u16>, Query, description = "Answered with this status"),
        ("min_latency_ms" = Option<f64>, Query, description = "Took at least so long"),
        ("search" = Option<String>, Query, description = "With this in message, address or region"),
        ("ordering" = Option<String>, Query, description = "`-checked_at`, newest first, or `checked_at`"),
        ("page_size" = Option<u64>, Query, description = "1 to 500, usually 50"),
        ("cursor" = Option<String>, Query, description = "As `next` and `previous` have it"),
    ),
    responses(
        (status = 200, description = "A page of results", body = Page<ResultView>),
        (status = 400, description = "A filter is wrong; errors names it", body = Problem),
        (status = 401, description = "No valid token", body = Problem),
    )
)]
#[get("/api/monitor/results")]
pub async fn list(_viewer: Viewer, query: Query, state: &State<ApiState>) -> Result<Json<Page<ResultView>>, ApiError> {
    let wanted = read_query(&query)?;
    let page = state.store.results.page(&wanted).await?;
    let now = state.clock.now();
    let link = |cursor: Cursor| query.with("cursor", &cursor.to_string());
    Ok(Json(Page {
        count: None,
        next: page.next.map(link),
        previous: page.previous.map(link),
        results: page.results.iter().map(|stored| view(state, &stored.result, now)).collect(),
    }))
}

/// One result with all that is kept of it.
#[utoipa::path(
    tag = "results",
    params(("id" = String, Path, description = "The result's id, as lists have it")),
    responses(
        (status = 200, description = "The result, with attempts and evidence", body = ResultView),
        (status = 404, description = "There is none of this id, or no longer", body = Problem),
    )
)]
#[get("/api/monitor/results/<id>", rank = 1)]
pub async fn read(_viewer: Viewer, state: &State<ApiState>, id: &str) -> Result<Json<ResultView>, ApiError> {
    let unknown = || ApiError::not_found(format!("there is no result {id}"));
    let wanted = ResultId::parse(id).ok_or_else(unknown)?;
    let result = state.store.results.one(&wanted).await?.ok_or_else(unknown)?;
    Ok(Json(view(state, &result, state.clock.now())))
}

/// The filters of a query, or the first that does not fit.
pub fn read_query(query: &Query) -> Result<ResultQuery, ApiError> {
    query.allow(&[
        "service",
        "since",
        "until",
        "ok",
        "region",
        "reason",
        "status_code",
        "min_latency_ms",
        "search",
        "ordering",
        "page_size",
        "cursor",
    ])?;
    let services = match query.text("service") {
        None => Vec::new(),
        Some(list) => {
            let wrong = || ApiError::bad_query("service", format!("must be the number of a service, or several with commas, not {list:?}"));
            list.split(',').map(|one| one.trim().parse().map(ServiceId).map_err(|_| wrong())).collect::<Result<Vec<_>, _>>()?
        }
    };
    let (since, until) = span(query)?;
    let reason = match query.text("reason") {
        None => None,
        Some(name) => {
            let known = Reason::ALL.map(Reason::name).join(", ");
            let wrong = || ApiError::bad_query("reason", format!("must be one of {known}, not {name:?}"));
            Some(Reason::from_name(name).ok_or_else(wrong)?)
        }
    };
    let status_code: Option<u16> = query.number("status_code", "a status from 100 to 599")?;
    if let Some(code) = status_code.filter(|code| !(100..=599).contains(code)) {
        return Err(ApiError::bad_query("status_code", format!("must be a status from 100 to 599, not {code}")));
    }
    let min_latency = match query.number::<f64>("min_latency_ms", "a number of milliseconds")? {
        None => None,
        Some(ms) if (0.0..=1e9).contains(&ms) => Some(Duration::from_secs_f64(ms / 1e3)),
        Some(ms) => return Err(ApiError::bad_query("min_latency_ms", format!("must be a number of milliseconds from 0, not {ms}"))),
    };
    let newest_first = match query.text("ordering") {
        None | Some("-checked_at") => true,
        Some("checked_at") => false,
        Some(other) => return Err(ApiError::bad_query("ordering", format!("must be checked_at or -checked_at, not {other:?}"))),
    };
    Ok(ResultQuery {
        service: if let [one] = services.as_slice() { Some(*one) } else { None },
        services: (services.len() > 1).then_some(services),
        since,
        until,
        ok: query.boolean("ok")?,
        region: query.text("region").map(str::to_owned),
        reason,
        status_code,
        min_latency,
        search: query.text("search").map(str::to_owned),
        newest_first,
        cursor: query.text("cursor").map(Cursor::parse).transpose()?,
        page_size: query.page_size()?,
    })
}

/// The span a query asks for.
pub fn span(query: &Query) -> Result<(Option<Timestamp>, Option<Timestamp>), ApiError> {
    let (since, until) = (query.time("since")?, query.time("until")?);
    match (since, until) {
        (Some(since), Some(until)) if since > until => Err(ApiError::bad_query("until", "must not be before since")),
        span => Ok(span),
    }
}

/// Milliseconds with three decimals: what a check is measured by.
pub fn millis(span: Duration) -> f64 {
    span.as_micros() as f64 / 1e3
}

fn view(state: &ApiState, result: &CheckResult, now: Timestamp) -> ResultView {
    let service = state.services.get(result.service);
    ResultView::full(result, service.as_ref().map(|service| service.name()), now)
}

impl ResultView {
    /// With attempts and evidence, as far as the result has them.
    pub fn full(result: &CheckResult, service_name: Option<&str>, now: Timestamp) -> ResultView {
        let failure = result.failure.as_ref();
        ResultView {
            id: ResultId::of(result).to_string(),
            service_id: result.service.0,
            service_name: service_name.map(str::to_owned),
            region: result.region.to_string(),
            node: result.id.node.to_string(),
            checked_at: result.started_at.rfc3339(),
            scheduled_at: result.scheduled_at.rfc3339(),
            clock_offset_ms: (result.clock_offset != 0).then_some(result.clock_offset as f64 / 1e3),
            ok: result.ok(),
            status_code: result.status_code,
            latency_ms: millis(result.latency),
            elapsed_ms: millis(result.elapsed),
            attempt_count: result.attempt_count,
            reason: failure.map(|failure| failure.reason.name()),
            phase: failure.map(|failure| failure.phase.name()),
            message: failure.map(|failure| failure.message.clone()),
            phases: PhasesView::from(&result.phases),
            address: result.address.map(|address| address.to_string()),
            http_version: result.http_version.map(|version| version.name()),
            tls_version: result.tls_version.map(|version| version.name()),
            certificate: result.certificate.as_deref().map(|certificate| CertificateView::new(certificate, now)),
            body_bytes: result.body_bytes,
            redirects: result.redirects,
            attempts: result.attempts.iter().map(AttemptView::from).collect(),
            evidence: result.evidence.as_deref().map(|evidence| EvidenceView::new(evidence, now)),
        }
    }
}

impl From<&Phases> for PhasesView {
    fn from(phases: &Phases) -> PhasesView {
        PhasesView {
            dns_ms: phases.dns.map(millis),
            connect_ms: phases.connect.map(millis),
            tls_ms: phases.tls.map(millis),
            first_byte_ms: phases.first_byte.map(millis),
            transfer_ms: phases.transfer.map(millis),
        }
    }
}

impl CertificateView {
    fn new(certificate: &Certificate, now: Timestamp) -> CertificateView {
        CertificateView {
            subject: certificate.subject.clone(),
            issuer: certificate.issuer.clone(),
            not_before: certificate.not_before.rfc3339(),
            not_after: certificate.not_after.rfc3339(),
            days_left: certificate.days_left(now),
            fingerprint: certificate.fingerprint.clone(),
        }
    }
}

impl From<&Attempt> for AttemptView {
    fn from(attempt: &Attempt) -> AttemptView {
        let failure = attempt.failure.as_ref();
        AttemptView {
            offset_ms: millis(attempt.offset),
            latency_ms: millis(attempt.latency),
            status_code: attempt.status_code,
            address: attempt.address.map(|address| address.to_string()),
            reason: failure.map(|failure| failure.reason.name()),
            phase: failure.map(|failure| failure.phase.name()),
            message: failure.map(|failure| failure.message.clone()),
            phases: PhasesView::from(&attempt.phases),
        }
    }
}

impl EvidenceView {
    fn new(evidence: &Evidence, now: Timestamp) -> EvidenceView {
        EvidenceView {
            status_line: evidence.status_line.clone(),
            headers: evidence.headers.iter().map(|(name, value)| HeaderView { name: name.clone(), value: value.clone() }).collect(),
            body: evidence.body.clone(),
            chain: evidence.chain.iter().map(|certificate| CertificateView::new(certificate, now)).collect(),
            addresses: evidence.addresses.iter().map(|address| address.to_string()).collect(),
        }
    }
}
