//! Findings: what was odd, by the same filters as the API; one of them with the figures it stands on; and a person's word on it.

use std::sync::Arc;
use std::time::Duration;

use askama::Template;
use rocket::http::Status;
use rocket::response::Redirect;
use rocket::{State, get, post};

use crate::api::auth::{Operator, Viewer};
use crate::api::body::JsonBody;
use crate::api::error::ApiError;
use crate::api::findings::{self, FindingView};
use crate::api::query::Query;
use crate::api::state::ApiState;
use crate::model::finding::{Shape, Signal};
use crate::model::id::ServiceId;
use crate::model::incident::IncidentId;
use crate::model::time::Timestamp;
use crate::store::issues::IssueFilter;
use crate::store::services::StoredService;
use crate::store::users::Role;
use crate::web::frame::{Frame, Section};
use crate::web::html::Html;
use crate::web::login::Refusal;
use crate::web::look::inside;
use crate::web::moment::{Moment, latency, percent, span};
use crate::web::service::charts::charts;
use crate::web::service::window::Window;
use crate::web::text::Text;
use crate::web::visit::{OwnForm, Visit};

#[derive(Template)]
#[template(path = "findings.html")]
struct ListPage {
    frame: Frame,
    rows: Vec<Row>,
    count: u64,
    filtered: bool,
    problem: Option<String>,
    services: Vec<(u32, String)>,
    regions: Vec<String>,
    signals: Vec<(&'static str, &'static str)>,
    shapes: Vec<(&'static str, &'static str)>,
    wanted: Wanted,
    previous: Option<String>,
    next: Option<String>,
}

impl ListPage {
    fn count_text(&self) -> String {
        self.frame.t.count("digest.anomaly", "digest.anomalies", self.count)
    }
}

/// What is filtered for, as it was sent.
struct Wanted {
    service: String,
    region: String,
    signal: String,
    shape: String,
    open: String,
    dismissed: bool,
}

#[derive(Template)]
#[template(path = "finding.html")]
struct FindingPage {
    frame: Frame,
    row: Row,
    observed: String,
    expected: Option<String>,
    ratio: Option<String>,
    score: String,
    confidence: String,
    samples: u32,
    learning: Option<String>,
    evidence: Vec<(Moment, String, String, String)>,
    /// Id and first line.
    incidents: Vec<(String, String)>,
    issues: Vec<(u64, String)>,
    feedback: Option<Feedback>,
    course: Option<Course>,
}

/// How it went before it, in it and after it.
struct Course {
    /// Name, chart and strip of each region it is of; of all together where there are many.
    charts: Vec<(String, String, String)>,
    /// Where one sees the same of all regions, and can go on from there.
    whole: String,
}

/// Regions whose charts stand one by one.
const REGIONS: usize = 3;

struct Row {
    id: String,
    /// Where it is still watched: its number and name.
    service: Option<(u32, String)>,
    name: String,
    regions: String,
    signal: &'static str,
    shape: &'static str,
    summary: String,
    since: Option<Moment>,
    lasted: String,
    open: bool,
    score: String,
    learning: bool,
    dismissed: bool,
}

struct Feedback {
    anomaly: bool,
    who: String,
    at: Option<Moment>,
    note: Option<String>,
}

#[get("/findings")]
pub async fn list(visit: Visit, query: Query, state: &State<ApiState>) -> Result<Refusal, ApiError> {
    let t = Text(visit.look.lang);
    let query = query.without_empty();
    let (status, page, problem) = match findings::list(Viewer(visit.principal.clone()), query.clone(), state).await {
        Ok(page) => (Status::Ok, Some(page.into_inner()), None),
        Err(error) => (error.status(), None, Some(error.detail().to_owned())),
    };
    let relative = |page: u64| {
        let whole = query.with("page", &page.to_string());
        format!("/findings?{}", whole.split_once('?').map_or("", |(_, query)| query))
    };
    let number = query.page().unwrap_or(1);
    let text = |name: &str| query.text(name).unwrap_or_default().to_owned();
    let list = state.services.list();
    let known: Vec<(u32, String)> = list.iter().map(|service| (service.id.0, service.name().to_owned())).collect();
    let mut regions: Vec<String> = state.membership.nodes().into_iter().map(|(_, info)| info.region).collect();
    regions.sort();
    regions.dedup();
    let wanted = Wanted {
        service: text("service"),
        region: text("region"),
        signal: text("signal"),
        shape: text("shape"),
        open: text("open"),
        dismissed: query.boolean("dismissed").ok().flatten() == Some(true),
    };
    let has_more = page.as_ref().is_some_and(|page| page.next.is_some());
    let page = ListPage {
        frame: Frame::new(&visit, Section::Findings, t.s("nav.findings")),
        rows: page.iter().flat_map(|page| &page.results).map(|view| Row::new(t, state, view)).collect(),
        count: page.as_ref().and_then(|page| page.count).unwrap_or(0),
        filtered: ["service", "region", "signal", "shape", "open", "since", "until", "min_score"]
            .iter()
            .any(|name| query.text(name).is_some()),
        problem,
        services: known,
        regions,
        signals: Signal::ALL.iter().map(|signal| (signal.name(), t.word("signal", signal.name()))).collect(),
        shapes: Shape::ALL.iter().map(|shape| (shape.name(), t.word("shape", shape.name()))).collect(),
        wanted,
        previous: (number > 1).then(|| relative(number - 1)),
        next: has_more.then(|| relative(number + 1)),
    };
    Ok(Refusal(status, Html::of(&page)?))
}

#[get("/findings/<id>")]
pub async fn one(visit: Visit, state: &State<ApiState>, id: &str) -> Result<Html, ApiError> {
    let t = Text(visit.look.lang);
    let view = findings::read(Viewer(visit.principal.clone()), state, id).await?.into_inner();
    let issues = state.tracker.issues.list(&IssueFilter { finding: Some(id.to_owned()), ..IssueFilter::default() });
    let show = |value: f64| figure(view.unit, value);
    let course = Course::of(t, state, &view).await?;
    let mut incidents = Vec::new();
    for id in &view.incidents {
        let found = state.incidents.one(&IncidentId(id.as_str().into())).await?;
        incidents.push((id.clone(), found.map_or_else(|| id.clone(), |(stored, _)| t.first_line(&stored.incident.first_line))));
    }
    Html::of(&FindingPage {
        frame: Frame::new(&visit, Section::Findings, view.summary.clone()),
        row: Row::new(t, state, &view),
        observed: show(view.observed),
        expected: view.expected.map(show),
        ratio: view.ratio.map(|ratio| format!("{ratio:.1}")),
        score: format!("{:.2}", view.score),
        confidence: percent(view.confidence),
        samples: view.samples,
        learning: view
            .learning
            .as_ref()
            .map(|learning| t.with("finding.learning", &[("have", &learning.have.to_string()), ("need", &learning.need.to_string())])),
        evidence: view
            .evidence
            .iter()
            .filter_map(|one| {
                let expected = one.expected.map_or_else(|| "–".to_owned(), show);
                Some((Moment::full(Timestamp::parse(&one.at)?), one.what.clone(), show(one.observed), expected))
            })
            .collect(),
        incidents,
        issues: issues.iter().map(|issue| (issue.id.0, issue.title.clone())).collect(),
        feedback: view.feedback.as_ref().map(|word| Feedback {
            anomaly: word.anomaly,
            who: word.who.clone(),
            at: Timestamp::parse(&word.at).map(Moment::full),
            note: word.note.clone(),
        }),
        course,
    })
}

impl Course {
    async fn of(t: Text, state: &ApiState, view: &FindingView) -> Result<Option<Course>, ApiError> {
        let watched = view.service_id.and_then(|id| state.services.get(ServiceId(id)));
        let (Some(service), Some(since)) = (watched, Timestamp::parse(&view.since)) else { return Ok(None) };
        let now = state.clock.now();
        let until = if view.open { now } else { since.plus(Duration::from_secs_f64(view.duration_s.max(0.0))) };
        let window = Window::around(since, until, now);
        let drawn = charts(t, state, service.id, &window, now).await?;
        let mut of = drawn.regions;
        of.retain(|one| view.regions.contains(&one.name));
        let charts = match of.len() {
            1..=REGIONS => of.into_iter().map(|one| (one.name, one.chart, one.strip)).collect(),
            _ if drawn.all.is_empty() => Vec::new(),
            _ => vec![(t.s("chart.all").to_owned(), drawn.all, String::new())],
        };
        let whole = format!("/services/{}?{}#charts", service.id, window.query());
        Ok((!charts.is_empty()).then_some(Course { charts, whole }))
    }
}

/// A person's word on a finding, from wherever it is shown; it leads back there.
#[post("/findings/<id>/feedback", data = "<form>")]
pub async fn feedback(visit: Visit, form: OwnForm, state: &State<ApiState>, id: &str) -> Result<Redirect, ApiError> {
    visit.need(Role::Operator)?;
    let mut body = serde_json::json!({"anomaly": form.0.get("anomaly") == Some("true")});
    if let Some(note) = form.0.text("note") {
        body["note"] = note.into();
    }
    let view = findings::feedback(Operator(visit.principal.clone()), state, id, JsonBody(body)).await?.into_inner();
    let back = match (form.0.text("back"), view.service_id) {
        (Some(back), _) => inside(Some(back)),
        (None, Some(service)) => format!("/services/{service}#findings"),
        // One that many services share is of none alone.
        (None, None) => format!("/findings/{id}"),
    };
    Ok(Redirect::to(back))
}

impl Row {
    fn new(t: Text, state: &ApiState, view: &FindingView) -> Row {
        let service: Option<Arc<StoredService>> = view.service_id.and_then(|id| state.services.get(ServiceId(id)));
        Row {
            id: view.id.clone(),
            service: service.map(|service| (service.id.0, service.name().to_owned())),
            name: view.service_name.clone(),
            regions: view.regions.join(", "),
            signal: t.word("signal", view.signal),
            shape: t.word("shape", view.shape),
            summary: view.summary.clone(),
            since: Timestamp::parse(&view.since).map(Moment::full),
            lasted: span(t, Duration::from_secs_f64(view.duration_s.max(0.0))),
            open: view.open,
            score: format!("{:.2}", view.score),
            learning: view.learning.is_some(),
            dismissed: view.feedback.as_ref().is_some_and(|word| !word.anomaly),
        }
    }
}

/// A figure of a finding in its unit.
fn figure(unit: &str, value: f64) -> String {
    match unit {
        "ms" => latency(value * 1e3),
        "share" => percent(value),
        _ => format!("{value:.2}"),
    }
}
