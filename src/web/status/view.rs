//! What the status page shows.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::time::Duration;

use askama::Template;

use crate::aggregate::rollup::DAY;
use crate::api::markdown::render;
use crate::api::state::ApiState;
use crate::model::incident::Severity;
use crate::model::time::Timestamp;
use crate::web::frame::Frame;
use crate::web::look::Look;
use crate::web::moment::{Moment, day_name, measured, percent, span};
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
    past: Vec<PastDay>,
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

/// What befell a service in a day of UTC, and is over.
struct PastDay {
    name: String,
    /// All of it in one line, where it was more than one incident.
    text: String,
    /// The newest first.
    incidents: Vec<IncidentLine>,
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
            past: past_days(t, &past, snapshot),
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

/// Incidents that are over by service and day, in the order of the newest of each.
fn past_days(t: Text, past: &[&PublicIncident], snapshot: &Snapshot) -> Vec<PastDay> {
    let mut days: Vec<((&str, i64), Vec<&PublicIncident>)> = Vec::new();
    for incident in past {
        let key = (incident.service.as_str(), incident.opened_at.0.div_euclid(DAY));
        match days.iter_mut().find(|(other, _)| *other == key) {
            Some((_, incidents)) => incidents.push(incident),
            None => days.push((key, vec![incident])),
        }
    }
    let told = |((name, day), incidents): ((&str, i64), Vec<&PublicIncident>)| {
        let lasted = incidents.iter().map(|incident| incident.closed_at.unwrap_or(snapshot.at).since(incident.opened_at));
        let all: Duration = lasted.clone().sum();
        let words = [
            ("count", incidents.len().to_string()),
            ("day", day_name(t, Timestamp(day * DAY))),
            ("all", span(t, all)),
            ("longest", span(t, lasted.max().unwrap_or_default())),
        ];
        let words: Vec<(&str, &str)> = words.iter().map(|(name, value)| (*name, value.as_str())).collect();
        PastDay {
            name: name.to_owned(),
            text: if incidents.len() > 1 { t.with("status.past_day", &words) } else { String::new() },
            incidents: incidents.iter().map(|incident| IncidentLine::new(t, incident, snapshot)).collect(),
        }
    };
    days.into_iter().map(told).collect()
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
            coverage: measured(
                t,
                (whole.coverage(), service.days.first().and_then(|day| (service.made > day.start).then_some(service.made))),
            ),
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
        let open = incident.closed_at.is_none();
        let concerns = |window: &&PublicWindow| window.running(snapshot.at) && window.services.contains(&incident.service);
        let worked = snapshot.windows.iter().filter(concerns).map(|window| window.span.from.max(incident.opened_at)).min();
        let worked = worked.filter(|_| open);
        let mut news = vec![
            (incident.closed_at, if incident.unwatched { "status.unwatched" } else { "status.resolved" }),
            (worked, "status.maintained"),
            (incident.acknowledged_at, "status.worked_on"),
            (Some(incident.opened_at), "status.opened"),
        ];
        news.sort_by_key(|(at, _)| std::cmp::Reverse(*at));
        IncidentLine {
            id: incident.id.clone(),
            name: incident.service.clone(),
            tone: match (open, worked) {
                (false, _) if incident.unwatched => "unknown",
                (false, _) => "up",
                (true, Some(_)) => "maintenance",
                (true, None) => tone,
            },
            what: what(t, incident.severity, &incident.reasons),
            open,
            lasted: span(t, incident.closed_at.unwrap_or(snapshot.at).since(incident.opened_at)),
            news: news.into_iter().filter_map(|(at, key)| Some((Moment::full(at?), t.s(key)))).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::check::Reason;
    use crate::model::span::Span;
    use crate::model::window::WindowId;
    use crate::web::text::Lang;

    fn incident(number: u32, service: &str, opened: &str, seconds: u64) -> PublicIncident {
        let opened_at = Timestamp::parse(opened).unwrap();
        PublicIncident {
            id: number.to_string(),
            service: service.to_owned(),
            severity: Severity::Critical,
            reasons: vec![Reason::Connect],
            opened_at,
            acknowledged_at: None,
            closed_at: Some(opened_at.plus(Duration::from_secs(seconds))),
            unwatched: false,
        }
    }

    #[test]
    fn what_flapped_in_a_day_is_told_in_one_line_with_the_single_ones_inside() {
        let all = [
            incident(4, "Flapping", "2026-11-22T12:10:00Z", 20),
            incident(3, "Other", "2026-11-22T12:05:00Z", 60),
            incident(2, "Flapping", "2026-11-22T12:00:00Z", 40),
            incident(1, "Flapping", "2026-11-21T23:59:00Z", 20),
        ];
        let at = Timestamp::parse("2026-11-22T13:00:00Z").unwrap();
        let days = past_days(Text(Lang::English), &all.iter().collect::<Vec<_>>(), &Snapshot::empty(at));
        let told: Vec<(&str, &str, usize)> = days.iter().map(|day| (day.name.as_str(), day.text.as_str(), day.incidents.len())).collect();
        assert_eq!(
            told,
            [("Flapping", "2 incidents on 22 Nov: 1 min in all, the longest 40 s", 2), ("Other", "", 1), ("Flapping", "", 1),]
        );
        assert_eq!(days[0].incidents[0].id, "4");
    }

    #[test]
    fn what_stands_open_while_its_service_is_maintained_is_told_so() {
        let at = |text: &str| Timestamp::parse(text).unwrap();
        let mut open = incident(1, "Shop", "2026-11-22T12:00:00Z", 0);
        open.closed_at = None;
        let window = |from: &str, until: &str, service: &str| PublicWindow {
            id: WindowId(1),
            title: "Move".to_owned(),
            span: Span::new(at(from), at(until)),
            services: vec![service.to_owned()],
        };
        let told = |window: PublicWindow, incident: &PublicIncident| {
            let mut snapshot = Snapshot::empty(at("2026-11-22T13:00:00Z"));
            snapshot.windows = vec![window];
            let line = IncidentLine::new(Text(Lang::English), incident, &snapshot);
            (line.tone, line.news.iter().map(|(_, word)| *word).collect::<Vec<_>>())
        };
        let now = ("2026-11-22T12:30:00Z", "2026-11-22T14:00:00Z");
        assert_eq!(told(window(now.0, now.1, "Shop"), &open), ("maintenance", vec!["Planned maintenance began", "Opened"]));
        assert_eq!(told(window(now.0, now.1, "Cart"), &open), ("down", vec!["Opened"]));
        assert_eq!(told(window("2026-11-22T13:30:00Z", now.1, "Shop"), &open), ("down", vec!["Opened"]));
        let over = incident(1, "Shop", "2026-11-22T12:40:00Z", 60);
        assert_eq!(told(window(now.0, now.1, "Shop"), &over), ("up", vec!["Resolved", "Opened"]));
        let unwatched = PublicIncident { unwatched: true, ..over };
        assert_eq!(told(window(now.0, now.1, "Cart"), &unwatched), ("unknown", vec!["No longer checked", "Opened"]));
    }
}
