//! Incidents: the list, and one of them with where it broke, what each region saw, and what happened meanwhile.

mod markdown;

use std::time::Duration;

use askama::Template;
use rocket::http::ContentType;
use rocket::response::Redirect;
use rocket::{State, get, post};

use crate::api::error::ApiError;
use crate::api::incidents::told;
use crate::api::query::Query;
use crate::api::state::ApiState;
use crate::model::check::Phase;
use crate::model::id::ServiceId;
use crate::model::incident::{Incident, IncidentId, Severity, Sighting, TimelineEntry};
use crate::model::time::Timestamp;
use crate::store::findings::FindingQuery;
use crate::store::incidents::{IncidentFilter, StoredIncident};
use crate::store::issues::IssueFilter;
use crate::store::query::ResultId;
use crate::store::users::Role;
use crate::web::frame::{Frame, Section};
use crate::web::html::Html;
use crate::web::moment::{Moment, latency, span};
use crate::web::service::checks::{CheckRow, micros};
use crate::web::text::Text;
use crate::web::visit::{OwnForm, Visit};

const PAGE: usize = 50;
/// Around an incident, what was odd may have to do with it.
const NEAR: Duration = Duration::from_secs(3600);
const FINDINGS: usize = 10;
/// Characters of a note.
const LONGEST_NOTE: usize = 10_000;

#[derive(Template)]
#[template(path = "incidents.html")]
struct ListPage {
    frame: Frame,
    rows: Vec<Row>,
    count: u64,
    state: String,
    severity: String,
    service: Option<String>,
    previous: Option<String>,
    next: Option<String>,
}

impl ListPage {
    fn count_text(&self) -> String {
        self.frame.t.count("incident.count_one", "incident.count", self.count)
    }
}

struct Row {
    id: String,
    tone: &'static str,
    name: String,
    first_line: String,
    opened: Moment,
    lasted: String,
    open: bool,
    acknowledged_by: Option<String>,
}

#[derive(Template)]
#[template(path = "incident.html")]
struct IncidentPage {
    frame: Frame,
    row: Row,
    service: u32,
    known: bool,
    closed: Option<Moment>,
    acknowledged_at: Option<Moment>,
    phases: Vec<&'static str>,
    matrix: Vec<MatrixRow>,
    timeline: Vec<Entry>,
    evidence: Vec<CheckRow>,
    findings: Vec<(Moment, String)>,
    /// Issues about it: number and title.
    issues: Vec<(u64, String)>,
    problem: Option<&'static str>,
}

/// What one region saw, phase by phase.
struct MatrixRow {
    region: String,
    status: String,
    word: String,
    cells: Vec<Cell>,
    code: String,
    address: String,
    message: String,
}

struct Cell {
    /// `ok`, `bad` or `none`
    kind: &'static str,
    text: String,
}

struct Entry {
    at: Moment,
    kind: &'static str,
    word: &'static str,
    text: String,
    who: Option<String>,
}

#[get("/incidents")]
pub async fn list(visit: Visit, query: Query, state: &State<ApiState>) -> Result<Html, ApiError> {
    let t = Text(visit.look.lang);
    let page = query.page()?;
    let service = query.number("service", "the number of a service")?.map(ServiceId);
    let open = query.text("open").and_then(|open| open.parse().ok());
    let severity = query.text("severity").and_then(Severity::from_name);
    let filter = IncidentFilter { service, open, severity, ..IncidentFilter::default() };
    let skip = usize::try_from(page - 1).unwrap_or(usize::MAX).saturating_mul(PAGE);
    let (count, found) = state.incidents.page(&filter, skip, PAGE).await?;
    let now = state.clock.now();
    Html::of(&ListPage {
        frame: Frame::new(&visit, Section::Incidents, t.s("nav.incidents")),
        rows: found.iter().map(|stored| Row::new(t, stored, now)).collect(),
        state: open.map_or_else(String::new, |open: bool| open.to_string()),
        severity: severity.map(|severity| severity.name().to_owned()).unwrap_or_default(),
        service: service.map(|service| state.services.get(service).map_or_else(|| service.to_string(), |known| known.name().to_owned())),
        previous: (page > 1).then(|| relative(&query, page - 1)),
        next: (page.saturating_mul(PAGE as u64) < count).then(|| relative(&query, page + 1)),
        count,
    })
}

/// The address of another page of a list, from the root of this host.
fn relative(query: &Query, page: u64) -> String {
    let whole = query.with("page", &page.to_string());
    format!("?{}", whole.split_once('?').map_or("", |(_, query)| query))
}

#[get("/incidents/<id>")]
pub async fn one(visit: Visit, state: &State<ApiState>, id: &str) -> Result<Html, ApiError> {
    draw(&visit, state, id, None).await
}

/// The incident as text for a chat or a ticket.
#[get("/incidents/<id>/markdown")]
pub async fn as_text(visit: Visit, query: Query, state: &State<ApiState>, id: &str) -> Result<(ContentType, String), ApiError> {
    let (stored, timeline) = find(state, id).await?;
    let t = Text(visit.look.lang);
    let address = query.address().trim_end_matches("/markdown");
    Ok((ContentType::Plain, markdown::written(t, &stored, &timeline, (address, &issues_of(state, id)), state.clock.now())))
}

/// Takes an incident on.
#[post("/incidents/<id>/acknowledge", data = "<_form>")]
pub async fn acknowledge(visit: Visit, _form: OwnForm, state: &State<ApiState>, id: &str) -> Result<Redirect, ApiError> {
    visit.need(Role::Operator)?;
    let (stored, _) = find(state, id).await?;
    if state.incidents.acknowledge(&stored.incident.id, &visit.principal.author()).await? {
        state.inbox.acknowledged(&stored.incident.id, &visit.principal.username, state.clock.now());
        told(state, &stored);
    }
    Ok(Redirect::to(format!("/incidents/{id}")))
}

#[post("/incidents/<id>/notes", data = "<form>")]
pub async fn note(visit: Visit, form: OwnForm, state: &State<ApiState>, id: &str) -> Result<rocket::Either<Html, Redirect>, ApiError> {
    visit.need(Role::Operator)?;
    let (stored, _) = find(state, id).await?;
    let Some(text) = form.0.text("text").filter(|text| text.chars().count() <= LONGEST_NOTE) else {
        let t = Text(visit.look.lang);
        return draw(&visit, state, id, Some(t.s("incident.note_wrong"))).await.map(rocket::Either::Left);
    };
    state.incidents.note(&stored.incident.id, text, &visit.principal.author()).await?;
    told(state, &stored);
    Ok(rocket::Either::Right(Redirect::to(format!("/incidents/{id}#timeline"))))
}

async fn find(state: &ApiState, id: &str) -> Result<(StoredIncident, Vec<TimelineEntry>), ApiError> {
    let found = state.incidents.one(&IncidentId(id.into())).await?;
    found.ok_or_else(|| ApiError::not_found(format!("there is no incident {id}")))
}

/// Number and title of the issues an incident has opened.
fn issues_of(state: &ApiState, id: &str) -> Vec<(u64, String)> {
    let issues = state.tracker.issues.list(&IssueFilter { incident: Some(id.to_owned()), ..IssueFilter::default() });
    issues.iter().map(|issue| (issue.id.0, issue.title.clone())).collect()
}

async fn draw(visit: &Visit, state: &ApiState, id: &str, problem: Option<&'static str>) -> Result<Html, ApiError> {
    let t = Text(visit.look.lang);
    let (stored, timeline) = find(state, id).await?;
    let now = state.clock.now();
    let incident = &stored.incident;
    let mut evidence = Vec::new();
    for seen in &incident.regions {
        let Some(name) = ResultId::parse(&seen.result) else { continue };
        // Kept for a while only; the sighting stays.
        evidence.extend(
            state.store.results.one(&name).await?.map(|result| CheckRow::new(t, &result, state.board.degraded_after(result.service))),
        );
    }
    let near = FindingQuery {
        service: Some(incident.service),
        since: Some(incident.opened_at.minus(NEAR)),
        until: incident.closed_at.map(|closed| closed.plus(NEAR)),
        dismissed: Some(false),
        size: FINDINGS,
        ..FindingQuery::default()
    };
    let findings = state.findings.list(&near).await?.findings;
    Html::of(&IncidentPage {
        frame: Frame::new(visit, Section::Incidents, format!("{}: {}", incident.name, t.first_line(&incident.first_line))),
        row: Row::new(t, &stored, now),
        service: incident.service.0,
        known: state.services.get(incident.service).is_some(),
        closed: incident.closed_at.map(Moment::full),
        acknowledged_at: stored.acknowledged.as_ref().map(|by| Moment::full(by.at)),
        phases: Phase::ALL.iter().map(|phase| t.word("phase", phase.name())).collect(),
        matrix: incident.regions.iter().map(|seen| MatrixRow::new(t, seen)).collect(),
        timeline: timeline.into_iter().map(|entry| Entry::new(t, entry)).collect(),
        evidence,
        issues: issues_of(state, id),
        findings: findings.into_iter().map(|finding| (Moment::full(finding.since), finding.summary)).collect(),
        problem,
    })
}

/// The shape and colour of an incident.
fn tone(incident: &Incident) -> &'static str {
    match incident.severity {
        Severity::Critical => "down",
        Severity::Warning => "degraded",
    }
}

impl Row {
    fn new(t: Text, stored: &StoredIncident, now: Timestamp) -> Row {
        let incident = &stored.incident;
        Row {
            id: incident.id.to_string(),
            tone: tone(incident),
            name: incident.name.to_string(),
            first_line: t.first_line(&incident.first_line),
            opened: Moment::full(incident.opened_at),
            lasted: span(t, incident.closed_at.unwrap_or(now).since(incident.opened_at)),
            open: incident.closed_at.is_none(),
            acknowledged_by: stored.acknowledged.as_ref().map(|by| by.by.clone()),
        }
    }
}

impl MatrixRow {
    fn new(t: Text, seen: &Sighting) -> MatrixRow {
        let [dns, connect, tls, first_byte, transfer] = micros(&seen.phases);
        let broke = seen.failure.as_ref().map(|failure| failure.phase);
        let took = [dns, connect, tls, first_byte, transfer, None];
        let cells = Phase::ALL.iter().zip(took).map(|(phase, took)| match (broke, took) {
            (Some(broke), took) if broke == *phase => {
                let reason = seen.failure.as_ref().map_or("", |failure| t.word("reason", failure.reason.name()));
                Cell { kind: "bad", text: took.map_or_else(|| reason.to_owned(), |us| format!("{reason} · {}", latency(us))) }
            }
            (_, Some(us)) => Cell { kind: "ok", text: latency(us) },
            (None, None) if *phase == Phase::Expect => Cell { kind: "ok", text: t.s("incident.met").to_owned() },
            _ => Cell { kind: "none", text: "–".to_owned() },
        });
        MatrixRow {
            region: seen.region.to_string(),
            word: t.word("region_status", &seen.status).to_owned(),
            status: seen.status.clone(),
            cells: cells.collect(),
            code: seen.status_code.map_or_else(|| "–".to_owned(), |code| code.to_string()),
            address: seen.address.clone().unwrap_or_default(),
            message: seen.failure.as_ref().map(|failure| failure.message.clone()).unwrap_or_default(),
        }
    }
}

impl Entry {
    fn new(t: Text, entry: TimelineEntry) -> Entry {
        let kind = entry.kind.name();
        // What nobody in particular said is the monitor's.
        let text = match &entry.who {
            None => t.first_line(&entry.text),
            // That is said beside the moment.
            Some(who) if entry.text == format!("acknowledged by {who}") => String::new(),
            Some(_) => entry.text,
        };
        Entry { at: Moment::full(entry.at), kind, word: t.word("entry", kind), text, who: entry.who }
    }
}
