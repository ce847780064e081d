//! The writer that is always there: facts → a text that can be sent as it is. Pure and without chance: what it says, and how,
//! follows from the facts alone. Quiet days are short; bad ones are told by cause, not as a list.

pub mod happened;
pub mod suggest;
pub mod trends;

use crate::digest::facts::Facts;
use crate::digest::local::happened::{Subject, headline_of_incidents, incidents};
use crate::digest::local::suggest::suggestions;
use crate::digest::local::trends::{anomalies, certificates, headline_of_changes, trends};
use crate::digest::words::{between, counted, grouped, latency, list, number, percent, sentence, span};
use crate::model::digest::DigestText;

/// Names told in one sentence.
pub const NAMES: usize = 4;

pub fn write(facts: &Facts) -> DigestText {
    let mut paragraphs = Vec::new();
    let subject = Subject::of(facts);
    if facts.services.is_empty() {
        let (headline, paragraph) = nothing_watched(facts);
        return DigestText { headline, paragraphs: vec![paragraph], suggestions: Vec::new() };
    }
    paragraphs.extend(incidents(facts));
    paragraphs.extend(
        [flapping(facts), degraded(facts), trends(facts), anomalies(facts), certificates(facts), unknown(facts)].into_iter().flatten(),
    );
    paragraphs.push(figures(facts));
    DigestText { headline: headline(facts, &subject), paragraphs, suggestions: suggestions(facts) }
}

fn nothing_watched(facts: &Facts) -> (String, String) {
    match (&facts.service, facts.disabled) {
        (Some(name), _) => (
            format!("{name} is switched off and was not checked."),
            format!("There is nothing to tell of {name} {}.", between(facts.period.since, facts.period.until)),
        ),
        (None, 0) => ("No services are watched yet.".to_owned(), "As soon as there is one, this is where its days are told.".to_owned()),
        (None, disabled) => (
            "No service is being checked.".to_owned(),
            format!("{} {} switched off.", sentence(&counted(disabled, "service", "services")), if disabled == 1 { "is" } else { "are" }),
        ),
    }
}

/// What matters most, in one sentence.
fn headline(facts: &Facts, subject: &Subject) -> String {
    if facts.checks == 0 && facts.incidents == 0 {
        return format!("Nothing was measured of {} in the last {}.", subject.object(), span(facts.length()));
    }
    if let Some(headline) = headline_of_incidents(facts) {
        return headline;
    }
    let well = subject.well(facts);
    match facts.degraded.as_slice() {
        [] => {}
        [(_, share)] if matches!(subject, Subject::One(_)) => {
            return format!("{well}, but degraded: {} of its checks were slow.", percent(*share));
        }
        [(name, share)] => return format!("{well}, but {name} was degraded: {} of its checks were slow.", percent(*share)),
        many => return format!("{well}, but {} were degraded: too many of their checks were slow.", number(many.len() as u64)),
    }
    if let Some(trouble) = headline_of_changes(facts) {
        let trouble = match subject {
            Subject::One(name) => trouble.replacen(&**name, "it", 1),
            Subject::All(_) => trouble,
        };
        return format!("{well}, but {trouble}.");
    }
    if let Some(first) = facts.certificates.first() {
        let trouble = match (first.days, facts.certificates.len()) {
            (..0, 1) => format!("the certificate of {} has run out", first.service),
            (..0, many) => format!("the certificate of {} has run out and {} more will soon", first.service, number(many as u64 - 1)),
            (0, 1) => format!("the certificate of {} runs out within a day", first.service),
            (days, 1) => format!("the certificate of {} runs out in {}", first.service, counted(days as u64, "day", "days")),
            (_, many) => format!("{} run out soon", counted(many as u64, "certificate", "certificates")),
        };
        return format!("{well}, but {trouble}.");
    }
    if let Some(first) = facts.unmeasured.first() {
        let heard = facts.services.len() - facts.unmeasured.len();
        let unknown = match facts.unmeasured.len() {
            1 => first.to_string(),
            many => format!("{} services", number(many as u64)),
        };
        return match (&facts.service, heard) {
            (None, 1..) => format!("Of {unknown} nothing is known; {} up as far as was measured.", others_were(heard as u64)),
            _ => format!("Of {} nothing is known.", subject.whole()),
        };
    }
    if !facts.partly.is_empty() {
        return format!("{well} as far as was measured, which is {} of the time.", percent(facts.coverage));
    }
    match facts.regions.len() {
        0 | 1 => format!("{well}."),
        regions => format!("{well} in {} regions.", number(regions as u64)),
    }
}

fn others_were(count: u64) -> String {
    if count == 1 { "the other service was".to_owned() } else { format!("the other {} services were", number(count)) }
}

/// Services that went up and down again and again, where the causes have not said so already.
fn flapping(facts: &Facts) -> Option<String> {
    let told =
        |name: &str| facts.causes.iter().any(|cause| cause.services.len() == 1 && *cause.services[0] == *name && cause.incidents > 1);
    let untold: Vec<_> = facts.flapping.iter().filter(|flapping| !told(&flapping.service)).collect();
    match untold.as_slice() {
        [] => None,
        [one] => Some(format!(
            "{} did not settle: it went down {} times, for {} in all, and not always for the same cause.",
            one.service,
            number(one.incidents),
            span(one.down)
        )),
        many => {
            let names: Vec<String> =
                many.iter().map(|flapping| format!("{} ({} times)", flapping.service, number(flapping.incidents))).collect();
            Some(format!(
                "{} services did not settle and went down again and again: {}.",
                sentence(&number(many.len() as u64)),
                list(&names, NAMES)
            ))
        }
    }
}

/// Services that answered, but too slowly too often.
fn degraded(facts: &Facts) -> Option<String> {
    match facts.degraded.as_slice() {
        [] => None,
        [(name, share)] => Some(format!("{name} was degraded: {} of its checks passed, but took longer than they may.", percent(*share))),
        many => {
            let names: Vec<String> = many.iter().map(|(name, share)| format!("{name} ({} of its checks)", percent(*share))).collect();
            Some(format!(
                "{} services were degraded, with checks that passed but took longer than they may: {}.",
                sentence(&number(many.len() as u64)),
                list(&names, NAMES)
            ))
        }
    }
}

/// What nobody measured is neither good nor bad, and must not pass for either.
fn unknown(facts: &Facts) -> Option<String> {
    let names = |names: &[std::sync::Arc<str>]| list(&names.iter().map(ToString::to_string).collect::<Vec<_>>(), NAMES);
    let mut sentences = Vec::new();
    match (&facts.service, facts.unmeasured.as_slice()) {
        (_, []) => {}
        (Some(name), _) => sentences.push(format!("No result of {name} came in, so whether it was up is not known.")),
        (None, [one]) => sentences.push(format!("Nothing is known of {one}: no result of it came in.")),
        (None, many) => sentences.push(format!(
            "Nothing is known of {} services ({}): no result of them came in.",
            number(many.len() as u64),
            names(many)
        )),
    }
    match (&facts.service, facts.partly.as_slice()) {
        (_, []) => {}
        (Some(_), [(name, coverage), ..]) => {
            sentences.push(format!("{name} was measured for {} of the time; of the rest nothing is known.", percent(*coverage)));
        }
        (None, [(name, coverage)]) => sentences.push(format!("{name} was measured for only {} of the time.", percent(*coverage))),
        (None, many) => {
            let told: Vec<String> = many.iter().map(|(name, coverage)| format!("{name} {}", percent(*coverage))).collect();
            sentences.push(format!(
                "{} services were measured in part only: {}.",
                sentence(&number(many.len() as u64)),
                list(&told, NAMES)
            ));
        }
    }
    (!sentences.is_empty()).then(|| sentences.join(" "))
}

/// The figures behind it all, last: who wants them finds them, nobody has to wade through them.
fn figures(facts: &Facts) -> String {
    let period = between(facts.period.since, facts.period.until);
    if facts.checks == 0 {
        return format!("No check was made {period}.");
    }
    let mut text = match facts.failed {
        0 if facts.checks == 1 => format!("The one check {period} passed"),
        0 => format!("All {} checks {period} passed", grouped(facts.checks)),
        failed => format!(
            "{} of {} checks failed ({}) {period}",
            sentence(&number(failed)),
            grouped(facts.checks),
            percent(failed as f64 / facts.checks as f64)
        ),
    };
    if let Some(uptime) = facts.uptime.filter(|uptime| *uptime < 1.0 || facts.failed > 0) {
        text.push_str(&format!("; uptime was {}", percent(uptime)));
        let spread = facts.below.len() > 1 && facts.service.is_none();
        if let Some((worst, uptime)) = facts.below.first().filter(|_| spread) {
            text.push_str(&format!(", lowest that of {worst} with {}", percent(*uptime)));
        }
    }
    match facts.latency {
        Some((p50, p95)) if latency(p50) == latency(p95) => text.push_str(&format!("; an answer took about {}", latency(p50))),
        Some((p50, p95)) => {
            text.push_str(&format!("; half of the answers took less than {}, 95% less than {}", latency(p50), latency(p95)))
        }
        None => {}
    }
    text.push('.');
    text
}

#[cfg(test)]
mod tests;
