//! What is told, made of a cause as it stands. Pure.

use crate::model::alert::{Message, Telling, Word};
use crate::model::held::{Delivery, Held};
use crate::model::id::ServiceId;
use crate::model::incident::Severity;
use crate::model::time::Timestamp;

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
        recovered_at: held.cleared_at.filter(|_| telling == Telling::Recovered && !held.unwatched),
        regions: cause.regions.clone(),
        last_good: cause.last_good,
        consequences,
        link: cause.path.as_deref().and_then(|path| link(words.public_url, path)),
        next_step: cause.next_step.clone().filter(|_| telling != Telling::Recovered),
        acknowledged_by: held.acknowledged.as_ref().map(|by| match by.note.trim() {
            "" => by.by.clone(),
            note => format!("{}: {note}", by.by),
        }),
        rule: words.rule.to_owned(),
    }
}

fn link(public_url: Option<&str>, path: &str) -> Option<String> {
    public_url.map(|url| format!("{}{path}", url.trim_end_matches('/')))
}

/// A word for one person, on its way. Its cause is its own: no other telling says what it says.
pub fn personal(word: &Word, seq: i64, channel_name: &str, public_url: Option<&str>, now: Timestamp) -> Delivery {
    let id = format!("word-c{}-{}", word.channel, word.key);
    let message = Message {
        cause: id.clone(),
        key: id,
        telling: Telling::Word,
        severity: Severity::Warning,
        drill: false,
        service: None,
        headline: word.headline.clone(),
        since: word.at,
        recovered_at: None,
        regions: Vec::new(),
        last_good: None,
        consequences: Vec::new(),
        link: link(public_url, &word.path),
        next_step: None,
        acknowledged_by: None,
        rule: String::new(),
    };
    Delivery::planned(seq, word.channel, channel_name.to_owned(), now, message)
}
