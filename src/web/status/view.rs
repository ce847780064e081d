//! What the status page shows.

use std::collections::BTreeSet;
use std::fmt::Write;

use askama::Template;

use crate::api::markdown::render;
use crate::api::state::ApiState;
use crate::model::incident::Severity;
use crate::web::frame::Frame;
use crate::web::look::Look;
use crate::web::moment::{Moment, percent, span};
use crate::web::sentence::Sentence;
use crate::web::status::snapshot::{Day, PublicIncident, PublicService, PublicWindow, Snapshot};
use crate::web::status::{date, title, told, tone, what};
use crate::web::svg::{STEP, State, escape, strip};
use crate::web::text::Text;

/// With more services than these a day says nothing of its own, to keep the page small.
const DETAILED: usize = 60;

#[derive(Template)]
#[template(path = "status.html")]
pub struct StatusPage {
    frame: Frame,
    sentence: Sentence,
    about: Option<String>,
    has_logo: bool,
    has_accent: bool,
    groups: Vec<Group>,
    /// What stands open, and what is over.
    open: Vec<IncidentLine>,
    past: Vec<IncidentLine>,
    running: Vec<WindowLine>,
    /// Of each window the next time alone.
    planned: Vec<WindowLine>,
    can_subscribe: bool,
    /// The key of how one may hear of news.
    offer: &'static str,
    at: Moment,
}

struct Group {
    /// `None`: there are no groups at all, or of none.
    name: Option<String>,
    services: Vec<Line>,
}

struct Line {
    name: String,
    verdict: &'static str,
    word: &'static str,
    strip: Option<String>,
    uptime: String,
    coverage: String,
}

struct IncidentLine {
    id: String,
    name: String,
    tone: &'static str,
    what: String,
    lasted: String,
    open: bool,
    /// What was told of it, the newest first.
    news: Vec<(Moment, &'static str)>,
}

struct WindowLine {
    title: String,
    running: bool,
    from: Moment,
    until: Moment,
    services: String,
}

impl StatusPage {
    pub fn new(look: Look, state: &ApiState, snapshot: &Snapshot) -> StatusPage {
        let t = Text(look.lang);
        let (open, past) = snapshot.incidents.iter().partition::<Vec<_>, _>(|incident| incident.closed_at.is_none());
        let line = |incident: &PublicIncident| IncidentLine::new(t, incident, snapshot);
        let window = |window: &PublicWindow| WindowLine {
            title: window.title.clone(),
            running: window.running(snapshot.at),
            from: Moment::full(window.span.from),
            until: Moment::full(window.span.until),
            services: window.services.join(t.s("sentence.comma")),
        };
        let mut shown = BTreeSet::new();
        let (running, planned): (Vec<_>, Vec<_>) = snapshot
            .windows
            .iter()
            .filter(|window| window.running(snapshot.at) || shown.insert(window.id))
            .map(window)
            .partition(|window| window.running);
        StatusPage {
            frame: Frame::without_user(look, title(state, t), "/status".to_owned()),
            sentence: told(t, snapshot),
            about: state.status.about.as_deref().map(render),
            has_logo: state.status.logo.is_some(),
            has_accent: state.status.accent.is_some(),
            groups: groups(t, snapshot),
            open: open.into_iter().map(line).collect(),
            past: past.into_iter().map(line).collect(),
            running,
            planned,
            can_subscribe: state.subscriptions.is_open(),
            offer: match (state.subscriptions.is_open(), state.subscriptions.mail_channel()) {
                (true, Some(_)) => "subscribe.offer",
                (true, None) => "subscribe.offer_webhook",
                (false, _) => "subscribe.offer_feed",
            },
            at: Moment::full(snapshot.at),
        }
    }
}

fn groups(t: Text, snapshot: &Snapshot) -> Vec<Group> {
    let detailed = snapshot.services.len() <= DETAILED;
    let any = snapshot.services.iter().any(|service| service.group.is_some());
    let mut groups: Vec<Group> = Vec::new();
    for service in &snapshot.services {
        let name = any.then(|| service.group.clone().unwrap_or_else(|| t.s("overview.no_group").to_owned()));
        if groups.last().is_none_or(|group| group.name != name) {
            groups.push(Group { name, services: Vec::new() });
        }
        if let Some(group) = groups.last_mut() {
            group.services.push(Line::new(t, service, detailed));
        }
    }
    groups
}

impl Line {
    fn new(t: Text, service: &PublicService, detailed: bool) -> Line {
        let whole = service.whole();
        let trouble = service.days.iter().filter(|day| matches!(day.tone, State::Down | State::Partly)).count();
        let unknown = service.days.iter().filter(|day| day.tone == State::Unknown).count();
        let label = t.with("status.strip", &[("bad", &trouble.to_string()), ("none", &unknown.to_string())]);
        let drawn = if detailed { days_strip(t, &service.days, &label) } else { strip(&tones(&service.days), &label) };
        Line {
            name: service.name.clone(),
            verdict: service.verdict,
            word: t.word("verdict", service.verdict),
            strip: (!service.days.is_empty()).then_some(drawn),
            uptime: whole.uptime().map_or_else(|| "–".to_owned(), percent),
            coverage: t.one("overview.coverage", percent(whole.coverage())),
        }
    }
}

fn tones(days: &[Day]) -> Vec<State> {
    days.iter().map(|day| day.tone).collect()
}

/// A cell for each day, which says what it was.
fn days_strip(t: Text, days: &[Day], label: &str) -> String {
    let width = days.len() * STEP;
    let mut markup =
        format!("<svg class=\"strip days\" viewBox=\"0 0 {width} 20\" preserveAspectRatio=\"none\" role=\"img\" aria-label=\"");
    escape(label, &mut markup);
    markup.push_str("\">");
    for (place, day) in days.iter().enumerate() {
        let uptime = day.uptime().map_or_else(|| t.s("legend.none").to_owned(), |ratio| t.one("status.day_up", percent(ratio)));
        let mut told = format!("{}: {} · {uptime}", date(day), t.word("verdict", tone(day.tone)));
        if day.known > 0 {
            let _ = write!(told, " · {}", t.one("overview.coverage", percent(day.coverage())));
        }
        let _ = write!(markup, "<path class=\"{}\" d=\"M{} 10h4\"><title>", day.tone.letter(), place * STEP + 1);
        escape(&told, &mut markup);
        markup.push_str("</title></path>");
    }
    markup.push_str("</svg>");
    markup
}

impl IncidentLine {
    fn new(t: Text, incident: &PublicIncident, snapshot: &Snapshot) -> IncidentLine {
        let tone = match incident.severity {
            Severity::Critical => "down",
            Severity::Warning => "degraded",
        };
        let news = [
            (incident.closed_at, "status.resolved"),
            (incident.acknowledged_at, "status.worked_on"),
            (Some(incident.opened_at), "status.opened"),
        ];
        IncidentLine {
            id: incident.id.to_string(),
            name: incident.service.clone(),
            tone: if incident.closed_at.is_some() { "up" } else { tone },
            what: what(t, incident.severity, &incident.reasons),
            open: incident.closed_at.is_none(),
            lasted: span(t, incident.closed_at.unwrap_or(snapshot.at).since(incident.opened_at)),
            news: news.into_iter().filter_map(|(at, key)| Some((Moment::full(at?), t.s(key)))).collect(),
        }
    }
}
