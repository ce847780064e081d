//! Incidents: when a service was not up, where it broke, what happened meanwhile, and who took care of it.

use std::sync::Arc;
use std::time::Duration;

use rocket::serde::json::Json;
use rocket::{State, get, post};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::alert::sources::incidents::{id_of, key_of};
use crate::api::auth::{Operator, Viewer};
use crate::api::body::JsonBody;
use crate::api::error::{ApiError, Problem};
use crate::api::events::Event;
use crate::api::findings::{FindingView, NEAR};
use crate::api::query::{Page, Query};
use crate::api::results::{PhasesView, ResultView, millis, span};
use crate::api::state::ApiState;
use crate::model::id::ServiceId;
use crate::model::incident::{IncidentId, Severity, Sighting, TimelineEntry};
use crate::model::time::Timestamp;
use crate::store::findings::FindingQuery;
use crate::store::incidents::{IncidentFilter, StoredIncident};
use crate::store::query::ResultId;

/// Characters of a note.
const LONGEST_NOTE: usize = 10_000;
/// Findings shown with an incident.
const MOST_FINDINGS: usize = 50;

#[derive(Serialize, ToSchema)]
pub struct IncidentView {
    /// Names this incident for ever: the id of the result that caused it.
    id: String,
    service_id: u32,
    /// As it was called when it opened.
    service_name: String,
    /// `critical`: it was down. `warning`: it was degraded.
    severity: &'static str,
    open: bool,
    opened_at: String,
    closed_at: Option<String>,
    /// It closed since its service was paused or deleted, not since that was well again.
    unwatched: bool,
    /// Until it closed, or until now.
    duration_s: f64,
    /// Where it broke.
    first_line: String,
    acknowledged_by: Option<String>,
    acknowledged_at: Option<String>,
    /// The incident it follows from, by what the services depend on; it is not told alone.
    consequence_of: Option<String>,
    /// The maintenance window it opened in, as windows are now; null where it opened in none.
    maintenance: Option<u32>,
}

/// One incident with all that is known of it.
#[derive(Serialize, ToSchema)]
pub struct IncidentDetail {
    #[serde(flatten)]
    incident: IncidentView,
    /// What each region saw when it was at its worst.
    regions: Vec<SightingView>,
    /// The incidents that follow from it, the oldest first.
    consequences: Vec<String>,
    /// Oldest first.
    timeline: Vec<EntryView>,
    /// What was odd of this service at about that time, newest first.
    findings: Vec<FindingView>,
}

#[derive(Serialize, ToSchema)]
pub struct SightingView {
    region: String,
    /// `up`, `down` or `unknown`.
    status: String,
    since: String,
    result_id: String,
    checked_at: String,
    status_code: Option<u16>,
    latency_ms: f64,
    phases: PhasesView,
    address: Option<String>,
    reason: Option<&'static str>,
    phase: Option<&'static str>,
    message: Option<String>,
    /// The whole result with its attempts and evidence, as long as it is kept.
    result: Option<ResultView>,
}

#[derive(Serialize, ToSchema)]
pub struct EntryView {
    at: String,
    /// `opened`, `down`, `degraded`, `unknown`, `region`, `acknowledged`, `note`, `maintenance` or `closed`
    kind: &'static str,
    text: String,
    /// The user who did it; null where nobody did.
    who: Option<String>,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NoteBody {
    /// 1 to 10000 characters.
    text: String,
}

/// Incidents, newest first.
#[utoipa::path(
    tag = "incidents",
    params(
        ("page" = Option<u64>, Query, description = "From 1"),
        ("page_size" = Option<u64>, Query, description = "1 to 500, usually 50"),
        ("service" = Option<u32>, Query, description = "Those of this service"),
        ("open" = Option<bool>, Query, description = "Those that are, or are not, open"),
        ("since" = Option<String>, Query, description = "Those that were open at this time or later"),
        ("until" = Option<String>, Query, description = "Those that had opened before this time"),
        ("severity" = Option<String>, Query, description = "`critical` or `warning`"),
    ),
    responses(
        (status = 200, description = "A page of incidents", body = Page<IncidentView>),
        (status = 400, description = "A filter is wrong; errors names it", body = Problem),
    )
)]
#[get("/api/v1/incidents")]
pub async fn list(_viewer: Viewer, query: Query, state: &State<ApiState>) -> Result<Json<Page<IncidentView>>, ApiError> {
    query.allow(&["page", "page_size", "service", "open", "since", "until", "severity"])?;
    let (page, size) = (query.page()?, query.page_size()?);
    let severity = match query.text("severity") {
        None => None,
        Some(name) => Some(
            Severity::from_name(name)
                .ok_or_else(|| ApiError::bad_query("severity", format!("must be critical or warning, not {name:?}")))?,
        ),
    };
    let (since, until) = span(&query)?;
    let service = query.number("service", "the number of a service")?.map(ServiceId);
    let filter = IncidentFilter { service, open: query.boolean("open")?, since, until, severity };
    let skip = usize::try_from(page - 1).unwrap_or(usize::MAX).saturating_mul(size);
    let (count, found) = state.incidents.page(&filter, skip, size).await?;
    let now = state.clock.now();
    Ok(Json(query.numbered(count, page, size, found.iter().map(|stored| IncidentView::new(stored, state, now)).collect())))
}

/// One incident: its timeline, and what each region saw.
#[utoipa::path(
    tag = "incidents",
    params(("id" = String, Path, description = "The incident's id")),
    responses(
        (status = 200, description = "The incident", body = IncidentDetail),
        (status = 404, description = "There is none of this id", body = Problem),
    )
)]
#[get("/api/v1/incidents/<id>")]
pub async fn read(_viewer: Viewer, state: &State<ApiState>, id: &str) -> Result<Json<IncidentDetail>, ApiError> {
    detail(state, &IncidentId(id.into())).await.map(Json)
}

/// Takes an incident on. The first who does is named.
#[utoipa::path(
    tag = "incidents",
    params(("id" = String, Path, description = "The incident's id")),
    responses(
        (status = 200, description = "The incident", body = IncidentDetail),
        (status = 403, description = "Takes role operator", body = Problem),
        (status = 404, description = "There is none of this id", body = Problem),
    )
)]
#[post("/api/v1/incidents/<id>/acknowledge")]
pub async fn acknowledge(operator: Operator, state: &State<ApiState>, id: &str) -> Result<Json<IncidentDetail>, ApiError> {
    let id = IncidentId(id.into());
    let stored = find(state, &id).await?;
    if state.incidents.acknowledge(&id, &operator.0.author()).await? {
        state.inbox.acknowledged(&id, &operator.0.username, state.clock.now());
        told(state, &stored);
    }
    detail(state, &id).await.map(Json)
}

/// Adds a note to an incident's timeline.
#[utoipa::path(
    tag = "incidents",
    params(("id" = String, Path, description = "The incident's id")),
    request_body = NoteBody,
    responses(
        (status = 200, description = "The incident", body = IncidentDetail),
        (status = 403, description = "Takes role operator", body = Problem),
        (status = 404, description = "There is none of this id", body = Problem),
        (status = 422, description = "The note is empty or too long", body = Problem),
    )
)]
#[post("/api/v1/incidents/<id>/notes", data = "<body>")]
pub async fn note(operator: Operator, state: &State<ApiState>, id: &str, body: JsonBody) -> Result<Json<IncidentDetail>, ApiError> {
    let NoteBody { text } = body.read()?;
    let text = text.trim();
    if text.is_empty() || text.chars().count() > LONGEST_NOTE {
        return Err(ApiError::invalid_field("text", format!("must have 1 to {LONGEST_NOTE} characters")));
    }
    let id = IncidentId(id.into());
    let stored = find(state, &id).await?;
    state.incidents.note(&id, text, &operator.0.author()).await?;
    told(state, &stored);
    detail(state, &id).await.map(Json)
}

/// Tells those who look that an incident is not what it was.
pub fn told(state: &ApiState, stored: &StoredIncident) {
    let maintenance = state.windows.covers(stored.incident.service, state.clock.now());
    let _ = state.events.send(Arc::new(Event::incident("updated", &stored.incident, maintenance)));
}

async fn find(state: &ApiState, id: &IncidentId) -> Result<StoredIncident, ApiError> {
    let found = state.incidents.one(id).await?;
    found.map(|(stored, _)| stored).ok_or_else(|| ApiError::not_found(format!("there is no incident {id}")))
}

async fn detail(state: &ApiState, id: &IncidentId) -> Result<IncidentDetail, ApiError> {
    let found = state.incidents.one(id).await?;
    let Some((stored, timeline)) = found else { return Err(ApiError::not_found(format!("there is no incident {id}"))) };
    let now = state.clock.now();
    let mut regions = Vec::new();
    for seen in &stored.incident.regions {
        let result = match ResultId::parse(&seen.result) {
            Some(name) => state.store.results.one(&name).await?,
            None => None,
        };
        let result = result.map(|result| ResultView::full(&result, Some(&stored.incident.name), now));
        regions.push(SightingView::new(seen, result));
    }
    let incident = &stored.incident;
    let near = FindingQuery {
        service: Some(incident.service),
        since: Some(incident.opened_at.minus(NEAR)),
        until: incident.closed_at.map(|closed| closed.plus(NEAR)),
        size: MOST_FINDINGS,
        ..FindingQuery::default()
    };
    let findings = state.findings.list(&near).await?.findings;
    Ok(IncidentDetail {
        incident: IncidentView::new(&stored, state, now),
        consequences: state.alerts.causes.consequences(&key_of(id)).iter().filter_map(|key| id_of(key)).map(|id| id.to_string()).collect(),
        regions,
        timeline: timeline.into_iter().map(EntryView::from).collect(),
        findings: findings.iter().map(|finding| FindingView::new(finding, state)).collect(),
    })
}

impl IncidentView {
    fn new(stored: &StoredIncident, state: &ApiState, now: Timestamp) -> IncidentView {
        let StoredIncident { incident, acknowledged } = stored;
        IncidentView {
            id: incident.id.to_string(),
            service_id: incident.service.0,
            service_name: incident.name.to_string(),
            severity: incident.severity.name(),
            open: incident.closed_at.is_none(),
            opened_at: incident.opened_at.rfc3339(),
            closed_at: incident.closed_at.map(|at| at.rfc3339()),
            unwatched: incident.unwatched,
            duration_s: incident.closed_at.unwrap_or(now).since(incident.opened_at).as_secs_f64(),
            first_line: incident.first_line.clone(),
            acknowledged_by: acknowledged.as_ref().map(|by| by.by.clone()),
            acknowledged_at: acknowledged.as_ref().map(|by| by.at.rfc3339()),
            consequence_of: state.alerts.causes.consequence_of(&key_of(&incident.id)).and_then(|key| id_of(&key)).map(|id| id.to_string()),
            maintenance: state.windows.covers(incident.service, incident.opened_at).map(|window| window.0),
        }
    }
}

impl SightingView {
    fn new(seen: &Sighting, result: Option<ResultView>) -> SightingView {
        let failure = seen.failure.as_ref();
        SightingView {
            region: seen.region.to_string(),
            status: seen.status.clone(),
            since: seen.since.rfc3339(),
            result_id: seen.result.clone(),
            checked_at: seen.checked_at.rfc3339(),
            status_code: seen.status_code,
            latency_ms: millis(Duration::from_micros(seen.latency_us)),
            phases: PhasesView::from(&seen.phases),
            address: seen.address.clone(),
            reason: failure.map(|failure| failure.reason.name()),
            phase: failure.map(|failure| failure.phase.name()),
            message: failure.map(|failure| failure.message.clone()),
            result,
        }
    }
}

impl From<TimelineEntry> for EntryView {
    fn from(entry: TimelineEntry) -> EntryView {
        EntryView { at: entry.at.rfc3339(), kind: entry.kind.name(), text: entry.text, who: entry.who }
    }
}
