//! What is told, made of a cause as it stands. Pure.

use crate::model::alert::{Message, Telling};
use crate::model::held::Held;
use crate::model::id::ServiceId;

/// Services named in one message; whoever forms it shows fewer.
const MOST_NAMED: usize = 1_000;

/// What a message needs beside the cause.
pub struct Words<'a> {
    pub rule: &'a str,
    pub public_url: Option<&'a str>,
    pub name: Box<dyn Fn(ServiceId) -> Option<String> + 'a>,
}

pub fn message(words: &Words, held: &Held, telling: Telling, key: &str, mut consequences: Vec<String>) -> Message {
    let cause = &held.cause;
    consequences.truncate(MOST_NAMED);
    Message {
        key: key.to_owned(),
        cause: cause.key.clone(),
        telling,
        severity: cause.severity,
        drill: cause.drill,
        service: cause.service.map(|service| (words.name)(service).unwrap_or_else(|| format!("service {service}"))),
        headline: cause.headline.clone(),
        since: cause.since,
        recovered_at: held.cleared_at.filter(|_| telling == Telling::Recovered),
        regions: cause.regions.clone(),
        last_good: cause.last_good,
        consequences,
        link: words.public_url.zip(cause.path.as_deref()).map(|(url, path)| format!("{}{path}", url.trim_end_matches('/'))),
        next_step: cause.next_step.clone().filter(|_| telling != Telling::Recovered),
        acknowledged_by: held.acknowledged.as_ref().map(|by| match by.note.trim() {
            "" => by.by.clone(),
            note => format!("{}: {note}", by.by),
        }),
        rule: words.rule.to_owned(),
    }
}
