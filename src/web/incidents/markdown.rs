//! An incident as Markdown: what a person pastes into a chat or a ticket. Pure.

use std::fmt::Write;

use crate::model::check::Phase;
use crate::model::incident::TimelineEntry;
use crate::model::time::Timestamp;
use crate::store::incidents::StoredIncident;
use crate::web::moment::{latency, span};
use crate::web::service::checks::micros;
use crate::web::text::Text;

/// `address` is that of the incident's page; `issues` are numbers and titles.
pub fn written(
    t: Text,
    stored: &StoredIncident,
    timeline: &[TimelineEntry],
    (address, issues): (&str, &[(u64, String)]),
    now: Timestamp,
) -> String {
    let incident = &stored.incident;
    let mut text = format!("## {}: {}\n\n", plain(&incident.name), plain(&incident.first_line));
    let ended = incident.closed_at.map_or_else(|| t.s("incident.goes_on").to_owned(), Timestamp::rfc3339);
    let lasted = span(t, incident.closed_at.unwrap_or(now).since(incident.opened_at));
    let _ = writeln!(text, "- {}: {} – {ended} ({lasted})", t.s("incident.when"), incident.opened_at.rfc3339());
    let _ = writeln!(text, "- {}: {}", t.s("incident.severity"), t.word("severity", incident.severity.name()));
    if let Some(by) = &stored.acknowledged {
        let _ = writeln!(text, "- {}: {} ({})", t.s("incident.acknowledged"), plain(&by.by), by.at.rfc3339());
    }
    for (number, title) in issues {
        let _ = writeln!(text, "- {}: #{number} {}", t.s("issue.of_incident"), plain(title));
    }
    let _ = writeln!(text, "- {address}");
    let phases: Vec<&str> = Phase::ALL.iter().map(|phase| t.word("phase", phase.name())).collect();
    let _ = write!(text, "\n| {} | {} |", t.s("overview.region"), phases.join(" | "));
    let _ = writeln!(text, "\n|---|{}", "---|".repeat(phases.len()));
    for seen in &incident.regions {
        let broke = seen.failure.as_ref().map(|failure| failure.phase);
        let took = micros(&seen.phases);
        let cells = Phase::ALL.iter().enumerate().map(|(place, phase)| match (broke, took.get(place).copied().flatten()) {
            (Some(broke), _) if broke == *phase => "✗".to_owned(),
            (_, Some(us)) => latency(us),
            _ => String::new(),
        });
        let _ = writeln!(
            text,
            "| {} ({}) | {} |",
            plain(&seen.region.0),
            t.word("region_status", &seen.status),
            cells.collect::<Vec<_>>().join(" | ")
        );
    }
    text.push('\n');
    for seen in &incident.regions {
        if let Some(failure) = &seen.failure {
            let address = seen.address.as_ref().map(|address| format!(" ({})", plain(address))).unwrap_or_default();
            let _ = writeln!(text, "- {}: {}{address}", plain(&seen.region.0), plain(&failure.message));
        }
    }
    let _ = writeln!(text, "\n### {}\n", t.s("incident.timeline"));
    for entry in timeline {
        let who = entry.who.as_ref().map(|who| format!(" ({})", plain(who))).unwrap_or_default();
        let _ = write!(text, "- {} {}{who}", entry.at.rfc3339(), t.word("entry", entry.kind.name()));
        // Who acknowledged it is said beside the moment.
        let is_said = entry.who.as_ref().is_some_and(|who| entry.text == format!("acknowledged by {who}"));
        // A note of several lines stays one.
        let lines: Vec<&str> = if is_said { Vec::new() } else { entry.text.lines().collect() };
        match lines.as_slice() {
            [] => text.push('\n'),
            [line] => {
                let _ = writeln!(text, ": {}", plain(line));
            }
            lines => {
                text.push_str(":\n");
                for line in lines {
                    let _ = writeln!(text, "  > {}  ", plain(line));
                }
            }
        }
    }
    text
}

/// Text that stays one line and one cell, and is no markup.
fn plain(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '\r' => {}
            '\n' => out.push(' '),
            '|' | '<' | '*' | '`' | '[' | '\\' => out.extend(['\\', letter]),
            letter => out.push(letter),
        }
    }
    out
}
