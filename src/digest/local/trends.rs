//! What changed against the period before, what behaved unlike itself, and which certificates run out, in prose.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::digest::facts::{Change, Facts};
use crate::digest::local::NAMES;
use crate::digest::words::{counted, day, latency, list, moment, number, percent, sentence, times};
use crate::model::finding::{Finding, Shape, Signal};

/// Changes told with their figures; the others by name.
const CHANGES: usize = 3;
/// Findings told one by one.
const FINDINGS: usize = 3;

/// What is not as it was, where nothing was down: the worst of it.
pub fn headline_of_changes(facts: &Facts) -> Option<String> {
    let worse: Vec<&Change> = facts.changes.iter().filter(|change| change.worse).collect();
    let more = worse.len().saturating_sub(1) as u64;
    if let Some(first) = worse.first() {
        let what = match (first.signal, first.ratio) {
            (Signal::Errors, _) => format!("{} fails more often than before", first.service),
            (_, Some(ratio)) if ratio >= 1.5 => format!("{} takes {} as long as before", first.service, times(ratio)),
            _ => format!("{} has become slower", first.service),
        };
        return Some(match more {
            0 => what,
            1 => format!("{what}, and one more change for the worse stands out"),
            more => format!("{what}, and {} more changes for the worse stand out", number(more)),
        });
    }
    let services: std::collections::BTreeSet<&Arc<str>> = facts.findings.iter().map(|finding| &finding.name).collect();
    match (services.len(), services.first()) {
        (0, _) | (_, None) => None,
        (1, Some(name)) => Some(format!("{name} did not behave as it usually does")),
        (many, _) => Some(format!("{} of them did not behave as they usually do", number(many as u64))),
    }
}

/// What changed.
pub fn trends(facts: &Facts) -> Option<String> {
    let (worse, better): (Vec<&Change>, Vec<&Change>) = facts.changes.iter().partition(|change| change.worse);
    let mut sentences: Vec<String> = worse.iter().take(CHANGES).map(|change| tell(change)).collect();
    if worse.len() > CHANGES {
        let names = names(worse[CHANGES..].iter().map(|change| &change.service));
        sentences.push(format!("{} became slower or less reliable too, by less.", sentence(&list(&names, NAMES))));
    }
    match better.as_slice() {
        [] => {}
        [one] => sentences.push(tell(one)),
        many => {
            let names = names(many.iter().map(|change| &change.service));
            sentences.push(match names.as_slice() {
                [one] => format!("{one} became faster and more reliable."),
                _ => format!("For the better, {} are faster or more reliable than they were.", list(&names, NAMES)),
            });
        }
    }
    if sentences.is_empty() {
        return None;
    }
    // Said once for all of them.
    sentences.push(match facts.length().as_secs() <= 86_400 + 3_600 {
        true => "This is against the same hours of the day before, and more than chance would make.".to_owned(),
        false => "This is against the period before, and more than chance would make.".to_owned(),
    });
    Some(sentences.join(" "))
}

fn names<'a>(services: impl Iterator<Item = &'a Arc<str>>) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for service in services {
        if !names.iter().any(|name| **name == **service) {
            names.push(service.to_string());
        }
    }
    names
}

fn tell(change: &Change) -> String {
    let name = &change.service;
    if change.signal == Signal::Errors {
        let verb = if change.worse { "fails more often" } else { "fails less often" };
        let (before, now) = (percent(change.before), percent(change.now));
        return match change.before > 0.0 {
            true => format!("{name} {verb}: {now} of its checks, after {before}."),
            false => format!("{name} {verb}: {now} of its checks, after none."),
        };
    }
    let region = change.region.as_ref().map(|region| format!(" from {region}")).unwrap_or_default();
    let verb = if change.worse { "more slowly" } else { "faster" };
    let by = match change.ratio {
        Some(ratio) if ratio >= 1.5 => format!(" ({} as long)", times(ratio)),
        _ => String::new(),
    };
    let phase = match change.phase {
        Some(phase) => format!("; most of the difference lies in {}", phase_name(phase)),
        None => String::new(),
    };
    format!("Seen{region}, {name} answers {verb}: {} instead of {}{by}{phase}.", latency(change.now), latency(change.before))
        .replace("Seen, ", "")
}

/// As a phase is called in a sentence.
pub fn phase_name(signal: Signal) -> &'static str {
    match signal {
        Signal::Dns => "resolving its name",
        Signal::Connect => "connecting",
        Signal::Tls => "the TLS handshake",
        Signal::FirstByte => "the wait for the first byte",
        Signal::Transfer => "the transfer of the answer",
        Signal::Latency | Signal::Errors | Signal::Pattern => "the answer as a whole",
    }
}

/// What behaved unlike itself: the surest by name, the rest counted; still learning is said.
pub fn anomalies(facts: &Facts) -> Option<String> {
    let (firm, learning): (Vec<&Finding>, Vec<&Finding>) = facts.findings.iter().partition(|finding| finding.is_firm());
    let mut by_service: BTreeMap<&Arc<str>, Vec<&Finding>> = BTreeMap::new();
    firm.iter().for_each(|finding| by_service.entry(&finding.name).or_default().push(finding));
    let mut sentences = Vec::new();
    let mut order: Vec<&Arc<str>> = Vec::new();
    for finding in &firm {
        if !order.contains(&&finding.name) {
            order.push(&finding.name);
        }
    }
    for name in order.iter().take(FINDINGS) {
        let mine = &by_service[*name];
        let first = mine[0];
        let more = match mine.len() - 1 {
            0 => String::new(),
            1 => ", and one more anomaly was found there".to_owned(),
            more => format!(", and {} more anomalies were found there", number(more as u64)),
        };
        let end = if first.ended.is_none() { "; it goes on" } else { "" };
        sentences.push(format!("{}{more}{end}.", odd(first)));
    }
    if order.len() > FINDINGS {
        let names: Vec<String> = order[FINDINGS..].iter().map(ToString::to_string).collect();
        sentences.push(format!(
            "{} behaved unlike {} too.",
            sentence(&list(&names, NAMES)),
            if names.len() == 1 { "itself" } else { "themselves" }
        ));
    }
    if !learning.is_empty() {
        sentences.push(format!(
            "{} besides {} told with reserve: too little is known of those habits yet.",
            sentence(&counted(learning.len() as u64, "anomaly", "anomalies")),
            if learning.len() == 1 { "is" } else { "are" }
        ));
    }
    (!sentences.is_empty()).then(|| sentences.join(" "))
}

/// One finding as a clause.
fn odd(finding: &Finding) -> String {
    let place = finding.region.as_ref().map(|region| format!(" in {region}")).unwrap_or_default();
    let since = moment(finding.since);
    let name = &finding.name;
    let what = match finding.signal {
        Signal::Latency => "its answers".to_owned(),
        Signal::Errors => "its failures".to_owned(),
        Signal::Pattern => "the way it behaves".to_owned(),
        phase => phase_name(phase).to_owned(),
    };
    let figures = match (finding.signal, finding.expected) {
        (Signal::Pattern, _) | (_, None) => String::new(),
        (Signal::Errors, Some(expected)) => format!(" ({} of checks failed, usually {})", percent(finding.observed), percent(expected)),
        (_, Some(expected)) => format!(" ({}, usually {})", latency(finding.observed), latency(expected)),
    };
    match finding.shape {
        Shape::Spike => format!("At {since}, {name} showed a spike in {what}{place}{figures}"),
        Shape::Dip => format!("At {since}, {name} showed a dip in {what}{place}{figures}"),
        Shape::LevelUp => format!("Since {since}, {name} is on a higher level in {what}{place}{figures}"),
        Shape::LevelDown => format!("Since {since}, {name} is on a lower level in {what}{place}{figures}"),
        Shape::Drift => format!("Since {since}, {name} drifts in {what}{place}{figures}"),
        Shape::Flatline => format!("Since {since}, {name} shows no variation in {what}{place}, as if something answered in its stead"),
        Shape::Volatility => format!("Since {since}, {name} is unsteady in {what}{place}{figures}"),
        Shape::Rhythm => format!("At {since}, {name} missed its usual rhythm in {what}{place}{figures}"),
        Shape::Burst => format!("From {since} on, {name} failed more often than it does at such hours{place}{figures}"),
        Shape::OddRegion => format!("Since {since}, {name} is unlike elsewhere{place} in {what}{figures}"),
        Shape::Unusual => format!("From {since} on, {name} behaved unusually{place}: no single figure, but all of them together"),
    }
}

pub fn certificates(facts: &Facts) -> Option<String> {
    let told: Vec<String> = facts
        .certificates
        .iter()
        .map(|expiring| match expiring.days {
            ..0 => format!("that of {} ran out on {}", expiring.service, day(expiring.ends)),
            0 => format!("that of {} runs out within a day, at {}", expiring.service, moment(expiring.ends)),
            days => format!("that of {} runs out in {}, on {}", expiring.service, counted(days as u64, "day", "days"), day(expiring.ends)),
        })
        .collect();
    match told.as_slice() {
        [] => None,
        [one] => Some(format!("{}.", sentence(&one.replacen("that of", "the certificate of", 1)))),
        many => Some(format!("Certificates want renewing: {}.", list(many, NAMES))),
    }
}
