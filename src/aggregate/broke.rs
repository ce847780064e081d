//! Where it broke, in one line: worked out from what each region saw, by phase, region, address family and certificate.
//!
//! Regions that saw the same are one group; the line tells the groups, the largest first. It speaks of the regions that
//! vote: one that is silent is neither counted nor named.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::aggregate::board::RegionState;
use crate::aggregate::verdict::RegionStatus;
use crate::model::check::{CheckResult, Failure, Phase, Phases, Reason};
use crate::model::time::Timestamp;

/// Groups that are told; the others are counted.
const GROUPS: usize = 3;

/// What one region suffers from. Those of one kind are one group, told by its worst.
struct Symptom {
    kind: String,
    text: String,
    /// The answer itself was wrong: the way there is not what broke.
    answer: bool,
    worst: Duration,
}

/// The line. `None`: no region that votes saw anything amiss.
pub fn first_line(regions: &[RegionState]) -> Option<String> {
    let voters: Vec<&RegionState> = regions.iter().filter(|state| state.status != RegionStatus::Unknown).collect();
    let down: Vec<&RegionState> = voters.iter().copied().filter(|state| state.status == RegionStatus::Down).collect();
    // Where something is down, what is merely slow is not what broke.
    let ailing = match down.is_empty() {
        true => voters.iter().copied().filter(|state| state.slow).collect(),
        false => down,
    };
    let mut groups: BTreeMap<String, Vec<(&RegionState, Symptom)>> = BTreeMap::new();
    for state in ailing {
        let symptom = match &state.latest.failure {
            Some(failure) if state.status == RegionStatus::Down => of_failure(state, failure),
            _ if state.status == RegionStatus::Down => plain("failing", "was failing"),
            _ => slow(&state.latest),
        };
        groups.entry(symptom.kind.clone()).or_default().push((state, symptom));
    }
    let mut groups: Vec<Vec<(&RegionState, Symptom)>> = groups.into_values().collect();
    groups.sort_by_key(|group| (std::cmp::Reverse(group.len()), group.first().map(|(state, _)| state.region.clone())));
    let alone = groups.len() == 1;
    let mut told: Vec<String> = groups.iter().take(GROUPS).map(|group| tell(group, &voters, alone)).collect();
    if groups.len() > GROUPS {
        told.push(format!("{} more", groups.len() - GROUPS));
    }
    (!told.is_empty()).then(|| told.join("; "))
}

/// What broke in one region alone.
pub fn in_region(state: &RegionState) -> Option<String> {
    match &state.latest.failure {
        Some(failure) => Some(of_failure(state, failure).text),
        None if state.slow => Some(slow(&state.latest).text),
        None => None,
    }
}

fn tell(group: &[(&RegionState, Symptom)], voters: &[&RegionState], alone: bool) -> String {
    let Some((first, symptom)) = group.iter().max_by_key(|(_, symptom)| symptom.worst) else { return String::new() };
    let text = &symptom.text;
    let family = family(group, voters).map(|family| format!(" over {family} only,")).unwrap_or_default();
    match (group.len(), voters.len()) {
        (1, 1) => format!("{text}{} in {}", family.trim_end_matches(','), first.region),
        (1, _) if alone => format!("only {}: {text}{}", first.region, family.trim_end_matches(',')),
        (1, _) => format!("{}: {text}{}", first.region, family.trim_end_matches(',')),
        (some, all) => format!("{text}{family} in {some} of {all} regions"),
    }
}

/// The address family all of a group failed over, where others do well over the other one.
fn family(group: &[(&RegionState, Symptom)], voters: &[&RegionState]) -> Option<&'static str> {
    if group.iter().any(|(_, symptom)| symptom.answer) {
        return None;
    }
    let six = |state: &RegionState| state.latest.address.map(|address| address.is_ipv6());
    let failing = six(group.first()?.0)?;
    if group.iter().any(|(state, _)| six(state) != Some(failing)) {
        return None;
    }
    let mut well = voters.iter().filter(|state| state.status == RegionStatus::Up).filter_map(|state| six(state)).peekable();
    well.peek()?;
    well.all(|other| other != failing).then_some(if failing { "IPv6" } else { "IPv4" })
}

fn of_failure(state: &RegionState, failure: &Failure) -> Symptom {
    let result = &*state.latest;
    let message = failure.message.to_lowercase();
    match failure.reason {
        Reason::Dns => plain("dns", "DNS fails"),
        Reason::Connect if message.contains("refused") => plain("refused", "connect refused"),
        Reason::Connect if message.contains("unreachable") => plain("unreachable", "network unreachable"),
        Reason::Connect if message.contains("reset") => plain("reset", "connection reset"),
        Reason::Connect if message.contains("timed out") => took("connect times out", "connect times out after", result.latency),
        Reason::Connect => plain("connect", "connect fails"),
        Reason::Tls => plain_changed(state, "tls", "TLS handshake fails"),
        Reason::Certificate => certificate(state, &message),
        Reason::Timeout => match failure.phase {
            Phase::Dns => took("dns slow", "DNS takes", result.phases.dns.unwrap_or(result.latency)),
            Phase::Connect => took("connect times out", "connect times out after", result.latency),
            Phase::Tls => took("tls times out", "TLS handshake times out after", result.latency),
            Phase::FirstByte => took("no answer", "no answer within", result.latency),
            Phase::Transfer => took("stalls", "answer stalls, not whole after", result.latency),
            Phase::Expect => slow(result),
        },
        Reason::Status => {
            let status = result.status_code.map_or_else(|| "unexpected status".to_owned(), |status| format!("status {status}"));
            answer(&status)
        }
        Reason::Header => answer("header not as expected"),
        Reason::Body => answer("body not as expected"),
        Reason::Json => answer("JSON not as expected"),
        Reason::TooLarge => answer("answer too large"),
        Reason::Redirect => answer("redirect not as expected"),
        Reason::Blocked => plain("blocked", "address is blocked for checks"),
        Reason::Protocol => plain("protocol", "answer is not valid HTTP"),
        Reason::Internal => plain("internal", "the check itself fails"),
    }
}

fn certificate(state: &RegionState, message: &str) -> Symptom {
    let at = state.latest.started_at;
    let leaf = state.latest.certificate.as_deref();
    match leaf {
        Some(leaf) if leaf.not_after < at => plain_changed(state, "expired", &format!("certificate expired on {}", day(leaf.not_after))),
        Some(leaf) if leaf.not_before > at => {
            plain_changed(state, "not yet", &format!("certificate not valid before {}", day(leaf.not_before)))
        }
        _ if message.contains("expired") => plain_changed(state, "expired", "certificate expired"),
        _ if message.contains("not valid yet") => plain_changed(state, "not yet", "certificate not valid yet"),
        _ if message.contains("wrong name") => plain_changed(state, "wrong name", "certificate is for another name"),
        _ if message.contains("issuer") || message.contains("self-signed") => {
            plain_changed(state, "untrusted", "certificate is not trusted")
        }
        _ if message.contains("revoked") => plain_changed(state, "revoked", "certificate was revoked"),
        Some(leaf) if message.contains("day") => {
            plain_changed(state, "expires", &format!("certificate expires on {}", day(leaf.not_after)))
        }
        _ => plain_changed(state, "certificate", "certificate is refused"),
    }
}

/// Slow by the phase that took more than half of it, or altogether.
fn slow(result: &CheckResult) -> Symptom {
    let Phases { dns, connect, tls, first_byte, transfer } = result.phases;
    let phases = [
        ("DNS takes", dns),
        ("connect takes", connect),
        ("TLS handshake takes", tls),
        ("first byte takes", first_byte),
        ("transfer takes", transfer),
    ];
    let longest = phases.into_iter().filter_map(|(text, span)| Some((text, span?))).max_by_key(|(_, span)| *span);
    match longest {
        Some((text, span)) if span * 2 > result.latency => took(&format!("slow: {text}"), text, span),
        _ => took("slow", "answer takes", result.latency),
    }
}

fn plain(kind: &str, text: &str) -> Symptom {
    Symptom { kind: kind.to_owned(), text: text.to_owned(), answer: false, worst: Duration::ZERO }
}

fn answer(text: &str) -> Symptom {
    Symptom { answer: true, ..plain(text, text) }
}

fn took(kind: &str, text: &str, span: Duration) -> Symptom {
    Symptom { worst: span, ..plain(kind, &format!("{text} {}", seconds(span))) }
}

/// Says, too, when the certificate is another than the one that last passed.
fn plain_changed(state: &RegionState, kind: &str, text: &str) -> Symptom {
    let changed = match (&state.latest.certificate, &state.good_certificate) {
        (Some(now), Some(before)) => now.fingerprint != before.fingerprint,
        _ => false,
    };
    match changed {
        true => plain(&format!("{kind} changed"), &format!("{text} (another one than before)")),
        false => plain(kind, text),
    }
}

/// Such as `850 ms`, `2.1 s`, `10 s`.
fn seconds(span: Duration) -> String {
    let seconds = span.as_secs_f64();
    match seconds {
        ..0.9995 => format!("{:.0} ms", seconds * 1e3),
        ..9.95 => format!("{seconds:.1} s").replace(".0 s", " s"),
        _ => format!("{seconds:.0} s"),
    }
}

fn day(at: Timestamp) -> String {
    at.rfc3339()[..10].to_owned()
}

#[cfg(test)]
mod tests;
