//! An incident as Markdown: what a person pastes into a chat or a ticket. Pure.

use std::fmt::Write;

use crate::model::check::Phase;
use crate::model::incident::TimelineEntry;
use crate::model::time::Timestamp;
use crate::store::incidents::StoredIncident;
use crate::web::moment::{latency, span};
use crate::web::service::checks::micros;
use crate::web::text::Text;

pub fn written(t: Text, stored: &StoredIncident, timeline: &[TimelineEntry], now: Timestamp) -> String {
    let incident = &stored.incident;
    let mut text = format!("## {}: {}\n\n", plain(&incident.name), plain(&incident.first_line));
    let ended = incident.closed_at.map_or_else(|| t.s("incident.goes_on").to_owned(), Timestamp::rfc3339);
    let lasted = span(t, incident.closed_at.unwrap_or(now).since(incident.opened_at));
    let _ = writeln!(text, "- {}: {} – {ended} ({lasted})", t.s("incident.when"), incident.opened_at.rfc3339());
    let _ = writeln!(text, "- {}: {}", t.s("incident.severity"), t.word("severity", incident.severity.name()));
    if let Some(by) = &stored.acknowledged {
        let _ = writeln!(text, "- {}: {} ({})", t.s("incident.acknowledged"), plain(&by.by), by.at.rfc3339());
    }
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
    for seen in &incident.regions {
        if let Some(failure) = &seen.failure {
            let _ = writeln!(text, "\n- {}: {}", plain(&seen.region.0), plain(&failure.message));
        }
    }
    let _ = writeln!(text, "\n### {}\n", t.s("incident.timeline"));
    for entry in timeline {
        let who = entry.who.as_ref().map(|who| format!(" ({})", plain(who))).unwrap_or_default();
        let _ = writeln!(text, "- {} {}{who}: {}", entry.at.rfc3339(), t.word("entry", entry.kind.name()), plain(&entry.text));
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
