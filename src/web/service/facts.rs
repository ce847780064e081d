//! How a service is checked and what is expected of it, in words.

use crate::config::service::{HeaderDocument, JsonDocument, OneOrMany, QuorumDocument, ServiceDocument, Status};
use crate::web::text::Text;

/// Name and value, in the order people ask.
pub fn facts(t: Text, document: &ServiceDocument) -> Vec<(&'static str, String)> {
    let mut facts = Vec::new();
    let mut fact = |key, value: Option<String>| facts.extend(value.map(|value| (t.s(key), value)));
    let rhythm = match (document.interval_s, &document.cron) {
        (Some(seconds), _) => t.one("fact.every", number(seconds)),
        (None, Some(cron)) => cron.clone(),
        (None, None) => t.s("fact.usual").to_owned(),
    };
    fact("fact.rhythm", Some(rhythm));
    let expect = document.expect.clone().unwrap_or_default();
    let status = expect.status.as_ref().map(|status| {
        list(status, |one| match one {
            Status::Code(code) => code.to_string(),
            Status::Text(text) => text.clone(),
        })
    });
    fact("fact.status", Some(status.unwrap_or_else(|| "200-299".to_owned())));
    let quoted = |texts: &OneOrMany<String>| list(texts, |text| format!("“{text}”"));
    fact("fact.contains", expect.body_contains.as_ref().map(quoted));
    fact("fact.contains_not", expect.body_not_contains.as_ref().map(quoted));
    fact("fact.matches", expect.body_regex.as_ref().map(|texts| list(texts, |text| format!("/{text}/"))));
    expect.json.iter().for_each(|one| fact("fact.json_tests", Some(json(t, one))));
    expect.headers.iter().for_each(|one| fact("fact.header", Some(header(t, one))));
    fact("fact.certificate", expect.certificate_days.map(|days| t.one("fact.days", days)));
    fact("fact.latency", expect.latency_ms.map(|ms| format!("{} ms", number(ms))));
    fact("fact.degraded", document.degraded_after_ms.map(|ms| format!("{} ms", number(ms))));
    fact("fact.timeout", Some(format!("{} s", number(document.timeout_s.unwrap_or(10.0)))));
    fact("fact.retries", document.retries.filter(|retries| *retries > 0).map(|retries| retries.to_string()));
    fact("fact.regions", Some(document.regions.as_ref().map_or_else(|| t.s("fact.all_regions").to_owned(), |names| names.join(", "))));
    let quorum = match &document.quorum {
        None => "majority".to_owned(),
        Some(QuorumDocument::Name(name)) => name.clone(),
        Some(QuorumDocument::Count(count)) => count.to_string(),
    };
    fact("fact.quorum", Some(quorum));
    fact("fact.threshold", document.failure_threshold.filter(|count| *count > 1).map(|count| count.to_string()));
    fact("fact.depends", (!document.depends_on.is_empty()).then(|| document.depends_on.join(", ")));
    fact("fact.public", document.public.filter(|public| *public).map(|_| t.s("fact.yes").to_owned()));
    facts
}

fn list<T>(texts: &OneOrMany<T>, show: impl Fn(&T) -> String) -> String {
    match texts {
        OneOrMany::One(one) => show(one),
        OneOrMany::Many(many) => many.iter().map(show).collect::<Vec<_>>().join(", "),
    }
}

fn json(t: Text, one: &JsonDocument) -> String {
    let test = match one {
        JsonDocument { equals: Some(value), .. } => format!("= {value}"),
        JsonDocument { not_equals: Some(value), .. } => format!("≠ {value}"),
        JsonDocument { greater_than: Some(value), .. } => format!("> {}", number(*value)),
        JsonDocument { less_than: Some(value), .. } => format!("< {}", number(*value)),
        JsonDocument { contains: Some(text), .. } => format!("∋ “{text}”"),
        JsonDocument { matches: Some(text), .. } => format!("~ /{text}/"),
        JsonDocument { exists: Some(false), .. } => t.s("fact.absent").to_owned(),
        _ => t.s("fact.present").to_owned(),
    };
    format!("{} {test}", one.path)
}

fn header(t: Text, one: &HeaderDocument) -> String {
    let test = match one {
        HeaderDocument { equals: Some(text), .. } => format!("= “{text}”"),
        HeaderDocument { matches: Some(text), .. } => format!("~ /{text}/"),
        HeaderDocument { present: Some(false), .. } => t.s("fact.absent").to_owned(),
        _ => t.s("fact.present").to_owned(),
    };
    format!("{} {test}", one.name)
}

/// Without the point of a whole number.
pub fn number(value: f64) -> String {
    format!("{value}")
}
