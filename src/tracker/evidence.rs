//! What the program writes into issues: the evidence it has, as Markdown. Pure.
//!
//! **Invariant.** What targets and people have said is written so that Markdown shows it as it is: no message of a failing service
//! becomes a link or a heading, or mentions anyone.

use std::time::Duration;

use crate::api::markdown::plain;
use crate::model::check::Phases;
use crate::model::finding::Finding;
use crate::model::incident::{EntryKind, Incident, Sighting, TimelineEntry};
use crate::model::time::Timestamp;
use crate::tracker::desk::checks::LONGEST_TITLE;

/// Characters of one message.
const LONGEST_MESSAGE: usize = 300;
const MOST_ROWS: usize = 50;
const MOST_ENTRIES: usize = 30;

/// A title that fits, on one line.
pub fn title(text: &str) -> String {
    let line: String = text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect();
    cut(line.trim(), LONGEST_TITLE)
}

pub fn incident_title(incident: &Incident) -> String {
    title(&format!("{}: {}", incident.name, incident.first_line))
}

/// Everything that is known of an incident when its issue is opened.
pub fn incident(incident: &Incident, timeline: &[TimelineEntry], findings: &[Finding]) -> String {
    let mut text = happened(incident);
    text.push_str(&regions(&incident.regions));
    let entries: Vec<&TimelineEntry> = timeline.iter().collect();
    if !entries.is_empty() {
        text.push_str("\n## What happened\n\n");
        for entry in entries.iter().take(MOST_ENTRIES) {
            text.push_str(&format!("- {} {}\n", entry.at, message(&entry.text)));
        }
        if entries.len() > MOST_ENTRIES {
            text.push_str(&format!("- … and {} more\n", entries.len() - MOST_ENTRIES));
        }
    }
    if !findings.is_empty() {
        text.push_str("\n## Found at the time\n\n");
        for finding in findings.iter().take(MOST_ROWS) {
            text.push_str(&format!("- [{}](/api/v1/findings/{}) since {}\n", message(&finding.summary), finding.id, finding.since));
        }
    }
    text
}

/// The service of an issue that is open went down again.
pub fn down_again(incident: &Incident) -> String {
    format!("Down again.\n\n{}{}", happened(incident), regions(&incident.regions))
}

fn happened(incident: &Incident) -> String {
    let ended = match incident.closed_at {
        Some(closed) => format!(", over since {closed} after {}", lasted(closed.since(incident.opened_at))),
        None => String::new(),
    };
    format!(
        "**{}**\n\nService {} \\({}\\), {} since {}{ended}. [The incident](/api/v1/incidents/{})\n",
        message(&incident.first_line),
        message(&incident.name),
        incident.service,
        incident.severity.name(),
        incident.opened_at,
        incident.id
    )
}

fn regions(regions: &[Sighting]) -> String {
    if regions.is_empty() {
        return String::new();
    }
    let mut text =
        "\n## What each region saw\n\n| region | status | since | what | where it took its time | result |\n|---|---|---|---|---|---|\n"
            .to_owned();
    for seen in regions.iter().take(MOST_ROWS) {
        let what = match &seen.failure {
            Some(failure) => format!("{}, {}: {}", failure.phase.name(), failure.reason.name(), message(&failure.message)),
            None => seen.status_code.map_or_else(|| "passed".to_owned(), |code| format!("status {code}")),
        };
        let address = seen.address.as_ref().map_or_else(String::new, |address| format!(" \\({}\\)", message(address)));
        text.push_str(&format!(
            "| {} | {} | {} | {what}{address} | {} | [result](/api/monitor/results/{}) |\n",
            message(&seen.region.0),
            message(&seen.status),
            seen.since,
            phases(&seen.phases, seen.latency_us),
            seen.result
        ));
    }
    text
}

/// What an entry of a timeline says as a comment; `None`: it is no news to the issue.
pub fn news(incident: &Incident, entry: &TimelineEntry) -> Option<String> {
    let text = message(&entry.text);
    match entry.kind {
        EntryKind::Down => Some(format!("Worse at {}: {text}\n{}", entry.at, regions(&incident.regions))),
        EntryKind::Acknowledged => Some(format!("The incident was {text} at {}.", entry.at)),
        EntryKind::Note => {
            let who = entry.who.as_deref().map_or_else(String::new, |who| format!(" by {}", message(who)));
            Some(format!("Note on the incident{who}: {text}"))
        }
        EntryKind::Closed => {
            let took = lasted(entry.at.since(incident.opened_at));
            Some(format!("The incident is over since {}, after {took}: {text}", entry.at))
        }
        EntryKind::Maintenance => Some(format!("At {}: {text}", entry.at)),
        EntryKind::Opened | EntryKind::Degraded | EntryKind::Unknown | EntryKind::Region => None,
    }
}

/// The same anomaly time and again.
pub fn findings(findings: &[Finding]) -> String {
    let mut text = "The same kind of anomaly was found time and again:\n\n".to_owned();
    for finding in findings.iter().take(MOST_ROWS) {
        let ended = finding.ended.map_or_else(|| "and goes on".to_owned(), |ended| format!("until {ended}"));
        text.push_str(&format!("- {} {ended}: [{}](/api/v1/findings/{})\n", finding.since, message(&finding.summary), finding.id));
    }
    text
}

fn phases(phases: &Phases, latency_us: u64) -> String {
    let Phases { dns, connect, tls, first_byte, transfer } = phases;
    let named = [("dns", dns), ("connect", connect), ("tls", tls), ("first byte", first_byte), ("transfer", transfer)];
    let parts: Vec<String> =
        named.into_iter().filter_map(|(name, took)| took.map(|took| format!("{name} {}", milliseconds(took)))).collect();
    let whole = milliseconds(Duration::from_micros(latency_us));
    if parts.is_empty() { whole } else { format!("{whole}: {}", parts.join(", ")) }
}

fn milliseconds(span: Duration) -> String {
    format!("{:.1} ms", span.as_secs_f64() * 1e3)
}

/// A span for people: the two largest units.
pub fn lasted(span: Duration) -> String {
    let seconds = span.as_secs();
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3_600 => format!("{} min {} s", seconds / 60, seconds % 60),
        3_600..86_400 => format!("{} h {} min", seconds / 3_600, seconds / 60 % 60),
        _ => format!("{} d {} h", seconds / 86_400, seconds / 3_600 % 24),
    }
}

/// Somebody else's words.
pub fn message(text: &str) -> String {
    plain(&cut(text, LONGEST_MESSAGE))
}

/// When something began, and how long ago that is.
pub fn since(at: Timestamp, now: Timestamp) -> String {
    format!("since {at}, for {}", lasted(now.since(at)))
}

fn cut(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    text.chars().take(most - 1).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::markdown::render;

    #[test]
    fn spans_are_told_in_their_two_largest_units() {
        let told = [5, 65, 7_260, 180_000].map(|seconds| lasted(Duration::from_secs(seconds)));
        assert_eq!(told, ["5 s", "1 min 5 s", "2 h 1 min", "2 d 2 h"]);
    }

    #[test]
    fn a_message_of_a_target_stays_a_message() {
        let shown = render(&format!("| a |\n|---|\n| {} |\n", message("<b>x</b> | [y](http://z) `c`\n# d @ada")));
        assert!(shown.contains("<td>&lt;b&gt;x&lt;/b&gt; | [y](http://z) `c` # d @ada</td>"), "{shown}");
        assert_eq!(title(&"é".repeat(300)).chars().count(), LONGEST_TITLE);
        assert_eq!(title("a\nb"), "a b");
    }
}
