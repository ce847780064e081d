//! The status page: public services for whoever asks, without a log-in.
//!
//! **Invariant.** It shows names, verdicts and times of services that are marked public, and nothing of any other; no address
//! of a service, no message of a check.

use askama::Template;
use rocket::{State, get};

use crate::aggregate::board::ServiceState;
use crate::aggregate::strip::first_start;
use crate::api::auth::Anyone;
use crate::api::error::ApiError;
use crate::api::state::ApiState;
use crate::model::time::Timestamp;
use crate::store::incidents::IncidentFilter;
use crate::web::frame::Frame;
use crate::web::html::Html;
use crate::web::look::Look;
use crate::web::moment::{Moment, percent, span};
use crate::web::sentence::{Sentence, sentence};
use crate::web::svg::{states, strip};
use crate::web::text::Text;

/// Incidents looked through for those of public services, and shown.
const LOOKED: usize = 200;
const SHOWN: usize = 10;

#[derive(Template)]
#[template(path = "status.html")]
struct StatusPage {
    frame: Frame,
    sentence: Sentence,
    services: Vec<Line>,
    incidents: Vec<IncidentLine>,
    at: Moment,
}

struct Line {
    name: String,
    verdict: &'static str,
    word: &'static str,
    strip: String,
    /// By the usual windows, the longest last.
    uptimes: Vec<(&'static str, String)>,
}

struct IncidentLine {
    name: String,
    tone: &'static str,
    opened: Moment,
    lasted: String,
    open: bool,
}

#[get("/status")]
pub async fn page(_anyone: Anyone, look: Look, state: &State<ApiState>) -> Result<Html, ApiError> {
    let t = Text(look.lang);
    let now = state.clock.now();
    let listed = state.services.list();
    let is_public = |id| listed.iter().any(|service| service.id == id && service.document.public == Some(true));
    let services: Vec<ServiceState> = state.board.summary(now).into_iter().filter(|service| is_public(service.id)).collect();
    let mut regions: Vec<&str> = services.iter().flat_map(|service| service.regions.iter().map(|region| &*region.region.0)).collect();
    regions.sort_unstable();
    regions.dedup();
    let spans = state.incidents.spans(first_start(now));
    let opened = |service: &ServiceState| {
        spans.iter().filter(|span| span.service == service.id && span.closed_at.is_none()).map(|span| span.opened_at).min()
    };
    // A store that is away takes the list of incidents from it, not the page.
    let (_, recent) = state.incidents.page(&IncidentFilter::default(), 0, LOOKED).await.unwrap_or_default();
    let incidents = recent.iter().map(|stored| &stored.incident).filter(|incident| is_public(incident.service)).take(SHOWN);
    Html::of(&StatusPage {
        sentence: match services.is_empty() {
            true => Sentence { tone: "unknown", text: t.s("status.nothing").to_owned(), since: None },
            false => sentence(t, &services, regions.len(), opened),
        },
        incidents: incidents
            .map(|incident| IncidentLine {
                name: incident.name.to_string(),
                tone: if incident.severity.name() == "critical" { "down" } else { "degraded" },
                opened: Moment::full(incident.opened_at),
                lasted: span(t, incident.closed_at.unwrap_or(now).since(incident.opened_at)),
                open: incident.closed_at.is_none(),
            })
            .collect(),
        services: services.iter().map(|service| line(t, state, service, now)).collect(),
        frame: Frame::without_user(look, t.s("status.title"), "/status".to_owned()),
        at: Moment::full(now),
    })
}

fn line(t: Text, state: &ApiState, service: &ServiceState, now: Timestamp) -> Line {
    let first = first_start(now);
    let spans = state.incidents.spans(first);
    let own: Vec<_> = spans.iter().filter(|span| span.service == service.id).collect();
    let keys = ["range.day", "range.week", "range.month", "range.quarter"];
    let known = state.uptimes.get(service.id);
    let uptime = |(key, place): (&'static str, usize)| {
        let window = known.as_ref().and_then(|known| known.windows.get(place))?;
        Some((t.s(key), format!("{} ({})", percent(window.ratio?), t.one("overview.coverage", percent(window.coverage)))))
    };
    Line {
        name: service.name.to_string(),
        verdict: service.verdict.name(),
        word: t.word("verdict", service.verdict.name()),
        strip: strip(&states(&state.strips.of(service.id, now), &own, first), t.s("overview.hours")),
        uptimes: keys.into_iter().zip(0..).filter_map(uptime).collect(),
    }
}
