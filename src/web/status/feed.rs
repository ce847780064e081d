//! The feed: one entry for each incident and each window, changed when there is news of it.

use askama::Template;
use rocket::http::ContentType;

use crate::api::error::ApiError;
use crate::model::time::Timestamp;
use crate::web::status::served::{Served, rendered};
use crate::web::status::snapshot::{PublicIncident, PublicWindow, Snapshot};
use crate::web::text::{Lang, Text};

#[derive(Template)]
#[template(path = "status_feed.xml")]
struct Feed<'a> {
    title: &'a str,
    origin: &'a str,
    updated: String,
    entries: Vec<Entry>,
}

struct Entry {
    /// Names it for ever.
    id: String,
    title: String,
    published: String,
    at: Timestamp,
    updated: String,
    lines: Vec<String>,
}

pub fn drawn(snapshot: &Snapshot, origin: &str, title: &str) -> Result<Served, ApiError> {
    let mut entries: Vec<Entry> = snapshot.incidents.iter().map(of_incident).collect();
    entries.extend(snapshot.windows.iter().map(|window| of_window(window, snapshot.at)));
    entries.sort_by_key(|entry| std::cmp::Reverse(entry.at));
    // With nothing to tell, a feed was changed when it was made.
    let updated = entries.first().map_or(snapshot.at, |entry| entry.at).rfc3339();
    let feed = Feed { title: &clean(title), origin, updated, entries };
    let kind = ContentType::new("application", "atom+xml").with_params(("charset", "utf-8"));
    Ok(Served::open(kind, rendered(&feed)?))
}

fn of_incident(incident: &PublicIncident) -> Entry {
    let t = Text(Lang::English);
    let over = if incident.unwatched { "no longer checked" } else { "resolved" };
    let state = if incident.closed_at.is_some() { over } else { incident.severity.name() };
    let reasons: Vec<&str> = incident.reasons.iter().map(|reason| t.word("reason", reason.name())).collect();
    let mut lines = vec![format!("{} Opened.", incident.opened_at.rfc3339())];
    if !reasons.is_empty() {
        lines.push(format!("Seen: {}.", reasons.join(", ")));
    }
    lines.extend(incident.acknowledged_at.map(|at| format!("{} Being worked on.", at.rfc3339())));
    let over = if incident.unwatched { "No longer checked" } else { "Resolved" };
    lines.extend(incident.closed_at.map(|at| format!("{} {over}.", at.rfc3339())));
    Entry {
        id: format!("urn:probemesh:incident:{}", incident.id),
        title: format!("{}: {state}", clean(&incident.service)),
        published: incident.opened_at.rfc3339(),
        at: incident.updated_at(),
        updated: incident.updated_at().rfc3339(),
        lines,
    }
}

fn of_window(window: &PublicWindow, now: Timestamp) -> Entry {
    let (from, until) = (window.span.from, window.span.until);
    // What is to come is no news of a time to come.
    let at = from.min(now);
    let services: Vec<String> = window.services.iter().map(|name| clean(name)).collect();
    Entry {
        id: format!("urn:probemesh:window:{}:{}", window.id, from.0),
        title: format!("Maintenance: {}", clean(&window.title)),
        published: at.rfc3339(),
        at,
        updated: at.rfc3339(),
        lines: vec![format!("{} to {}", from.rfc3339(), until.rfc3339()), services.join(", ")],
    }
}

/// Without letters XML cannot hold.
fn clean(text: &str) -> String {
    text.chars().filter(|letter| !letter.is_control() && !matches!(letter, '\u{fffe}' | '\u{ffff}')).collect()
}
