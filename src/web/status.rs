//! The status page: public services for whoever asks, without a log-in; as a page, as JSON, as a feed and as badges.
//!
//! **Invariant.** Everything here is drawn from a [`snapshot`], so it says no more than that may.

pub mod badge;
pub mod feed;
pub mod served;
pub mod snapshot;
pub mod subscribe;
mod view;

use std::fmt::Write;

use rocket::http::ContentType;
use rocket::request::{FromRequest, Outcome, Request};
use rocket::{State, get};
use serde_json::json;

use crate::api::auth::Anyone;
use crate::api::error::ApiError;
use crate::api::query::origin;
use crate::api::state::ApiState;
use crate::model::check::Reason;
use crate::model::incident::Severity;
use crate::web::look::Look;
use crate::web::sentence::{Sentence, sentence};
use crate::web::status::served::Served;
use crate::web::status::snapshot::{PublicService, Snapshot, Snapshots};
use crate::web::status::view::StatusPage;
use crate::web::svg::State as Tone;
use crate::web::text::{Lang, Text};

/// Scheme and host of this hub as whoever asks knows them.
pub struct Origin(pub String);

#[rocket::async_trait]
impl<'r> FromRequest<'r> for Origin {
    type Error = std::convert::Infallible;

    async fn from_request(request: &'r Request<'_>) -> Outcome<Origin, std::convert::Infallible> {
        Outcome::Success(Origin(origin(request)))
    }
}

#[get("/status")]
pub async fn page(_anyone: Anyone, look: Look, state: &State<ApiState>, snapshots: &State<Snapshots>) -> Result<Served, ApiError> {
    let snapshot = snapshots.get(state).await;
    Served::page(&StatusPage::new(look, state, &snapshot))
}

/// The same for programs.
#[get("/status.json")]
pub async fn as_json(_anyone: Anyone, state: &State<ApiState>, snapshots: &State<Snapshots>) -> Served {
    let snapshot = snapshots.get(state).await;
    let told = told(Text(Lang::English), &snapshot);
    let service = |service: &PublicService| {
        let whole = service.whole();
        let days = service
            .days
            .iter()
            .map(|day| json!({"date": date(day), "state": tone(day.tone), "uptime": day.uptime(), "coverage": day.coverage()}));
        json!({
            "id": service.id.0, "name": service.name, "group": service.group, "verdict": service.verdict,
            "uptime": whole.uptime(), "coverage": whole.coverage(), "days": days.collect::<Vec<_>>(),
            "badge": format!("/badge/{}.svg", service.id),
        })
    };
    let incidents = snapshot.incidents.iter().map(|incident| {
        json!({
            "id": incident.id, "service": incident.service, "severity": incident.severity.name(),
            "reasons": incident.reasons.iter().map(|reason| reason.name()).collect::<Vec<_>>(),
            "opened_at": incident.opened_at.rfc3339(), "acknowledged_at": incident.acknowledged_at.map(|at| at.rfc3339()),
            "closed_at": incident.closed_at.map(|at| at.rfc3339()), "unwatched": incident.unwatched,
        })
    });
    let windows = snapshot.windows.iter().map(|window| {
        json!({
            "title": window.title, "from": window.span.from.rfc3339(), "until": window.span.until.rfc3339(),
            "running": window.running(snapshot.at), "services": window.services,
        })
    });
    let document = json!({
        "title": title(state, Text(Lang::English)), "generated_at": snapshot.at.rfc3339(), "state": told.tone, "sentence": told.text,
        "services": snapshot.services.iter().map(service).collect::<Vec<_>>(),
        "incidents": incidents.collect::<Vec<_>>(), "maintenance": windows.collect::<Vec<_>>(),
    });
    Served::open(ContentType::JSON, document.to_string())
}

/// News of incidents and maintenance as Atom (RFC 4287).
#[get("/status/feed.atom")]
pub async fn as_feed(_anyone: Anyone, origin: Origin, state: &State<ApiState>, snapshots: &State<Snapshots>) -> Result<Served, ApiError> {
    let snapshot = snapshots.get(state).await;
    feed::drawn(&snapshot, &origin.0, title(state, Text(Lang::English)))
}

/// How one service stands, or with `show=uptime` how it stood for ninety days, as a picture to be put elsewhere.
#[get("/badge/<file>?<show>")]
pub async fn as_badge(
    _anyone: Anyone,
    state: &State<ApiState>,
    snapshots: &State<Snapshots>,
    file: &str,
    show: Option<&str>,
) -> Result<Served, ApiError> {
    let name = file.strip_suffix(".svg").unwrap_or(file);
    let snapshot = snapshots.get(state).await;
    let found = snapshot.services.iter().find(|service| service.id.to_string() == name || service.name == name);
    // Of one that is not public nobody learns whether it is there.
    let service = found.ok_or_else(|| ApiError::not_found(format!("there is no public service {name}")))?;
    Ok(Served::open(ContentType::SVG, badge::drawn(service, show == Some("uptime"))))
}

/// The picture on top.
#[get("/status/logo")]
pub fn logo(_anyone: Anyone, state: &State<ApiState>) -> Result<Served, ApiError> {
    let logo = state.status.logo.as_ref().ok_or_else(|| ApiError::not_found("this status page has no logo"))?;
    let kind = ContentType::parse_flexible(logo.kind).unwrap_or(ContentType::Binary);
    Ok(Served::open(kind, logo.bytes.to_vec()))
}

/// The colour of the page, as a style sheet: nothing is styled inline.
#[get("/status/theme.css")]
pub fn theme(_anyone: Anyone, state: &State<ApiState>) -> Served {
    let mut text = String::new();
    if let Some(accent) = &state.status.accent {
        let _ = writeln!(text, ":root {{ --brand: {accent}; }}");
    }
    Served::open(ContentType::CSS, text)
}

fn title(state: &ApiState, t: Text) -> &str {
    state.status.title.as_deref().unwrap_or(t.s("status.title"))
}

/// How all of it stands, in one sentence.
fn told(t: Text, snapshot: &Snapshot) -> Sentence {
    if snapshot.states.is_empty() {
        return Sentence { tone: "unknown", text: t.s("status.nothing").to_owned(), since: None };
    }
    let opened = |service: &crate::aggregate::board::ServiceState| {
        let open = snapshot.incidents.iter().filter(|incident| incident.closed_at.is_none() && *incident.service == *service.name);
        open.map(|incident| incident.opened_at).min()
    };
    sentence(t, &snapshot.states, snapshot.regions, opened)
}

/// What an incident is, in the words of the page: the verdict, and why.
pub fn what(t: Text, severity: Severity, reasons: &[Reason]) -> String {
    let word = match severity {
        Severity::Critical => t.word("verdict", "down"),
        Severity::Warning => t.word("verdict", "degraded"),
    };
    let reasons: Vec<&str> = reasons.iter().map(|reason| t.word("reason", reason.name())).collect();
    if reasons.is_empty() { word.to_owned() } else { format!("{word}: {}", reasons.join(t.s("sentence.comma"))) }
}

fn date(day: &snapshot::Day) -> String {
    day.start.datetime().format("%Y-%m-%d").to_string()
}

fn tone(tone: Tone) -> &'static str {
    match tone {
        Tone::Unknown => "unknown",
        Tone::Up => "up",
        Tone::Partly => "degraded",
        Tone::Down => "down",
        Tone::Maintenance => "maintenance",
    }
}
