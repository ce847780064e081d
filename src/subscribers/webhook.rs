//! What a subscribed webhook gets: JSON with a version of its own, signed.
//!
//! `X-Probemesh-Signature` is `v1=` and the HMAC-SHA256 of the timestamp, a dot and the body, in hexadecimal; the timestamp is
//! `X-Probemesh-Timestamp`, seconds since 1970. `Idempotency-Key` is the same for every attempt.

use http::Method;
use serde_json::{Value, json};
use url::Url;

use crate::alert::channel::call::{Answer, Line};
use crate::alert::channel::webhook::signature;
use crate::model::alert::DeliveryFailure;
use crate::model::incident::IncidentId;
use crate::model::subscriber::{Hurt, Matter, News};
use crate::model::time::Timestamp;

/// Rises when a receiver that knows the one before could misread what it gets.
const VERSION: u32 = 1;

/// Where a receiver finds more.
pub struct Links<'a> {
    pub status: &'a str,
    pub leave: &'a str,
}

/// News; `title` is the same in words, `name` what an incident is called where anyone may read it.
pub fn of_news(news: &News, title: &str, links: &Links, name: &dyn Fn(&IncidentId) -> String) -> Value {
    let (kind, state, services, maintenance) = match &news.matter {
        Matter::Outage(hurts) => {
            let services = hurts.iter().map(|one| hurt(one, name(&one.incident))).collect::<Vec<_>>();
            ("outage", outage_state(news.number, hurts), services, Value::Null)
        }
        Matter::Maintenance(time) => {
            let services = time.services.iter().map(|(service, name)| json!({"id": service.0, "name": name})).collect();
            let window = json!({"title": time.title, "from": time.from.rfc3339(), "until": time.until.rfc3339()});
            ("maintenance", time.step.name(), services, window)
        }
    };
    json!({
        "version": VERSION, "type": kind, "id": news.id(), "subject": news.subject, "at": news.at.rfc3339(), "state": state, "title": title,
        "services": services, "maintenance": maintenance, "status_page": links.status, "unsubscribe": links.leave,
    })
}

/// The first that is sent, and the only thing until it is answered.
pub fn of_request(challenge: &str, confirm: &str, until: Timestamp, links: &Links) -> Value {
    json!({
        "version": VERSION, "type": "verification", "challenge": challenge, "confirm": confirm, "expires_at": until.rfc3339(),
        "status_page": links.status, "unsubscribe": links.leave,
    })
}

/// What the far side said when it took it.
pub async fn send(line: &Line, url: &Url, secret: &str, key: &str, body: &Value, now: Timestamp) -> Result<String, DeliveryFailure> {
    let (body, stamp) = (body.to_string(), now.0.div_euclid(1_000_000).to_string());
    let request = line
        .request(Method::POST, url.clone())
        .header(http::header::CONTENT_TYPE, "application/json; charset=utf-8")
        .header("idempotency-key", key)
        .header("x-probemesh-signature", signature(secret, &stamp, &body))
        .header("x-probemesh-timestamp", stamp)
        .body(body);
    let answer = line.ask(request).await?;
    if answer.taken() { Ok(answer.body) } else { Err(refusal(answer)) }
}

/// The failure a refusing answer stands for, in none of its own words: they may repeat what is nobody's business here.
fn refusal(mut answer: Answer) -> DeliveryFailure {
    let retry_after = answer.failure().retry_after;
    answer.body.clear();
    DeliveryFailure { retry_after, ..answer.failure() }
}

/// Whether an answer shows that whoever sent it meant to be asked: the challenge alone, or as the member of that name. One that
/// repeats all it got shows nothing.
pub fn answers(body: &str, challenge: &str) -> bool {
    let plain = body.trim();
    let member = || {
        let body: Value = serde_json::from_str(plain).ok()?;
        Some(body.get("challenge")?.as_str()? == challenge && body.get("type").is_none())
    };
    plain == challenge || plain.trim_matches('"') == challenge || member().unwrap_or(false)
}

fn outage_state(number: u32, hurts: &[Hurt]) -> &'static str {
    match (number, hurts.iter().all(|hurt| hurt.closed_at.is_some())) {
        (_, true) => "resolved",
        (0, false) => "opened",
        (_, false) => "updated",
    }
}

fn hurt(hurt: &Hurt, incident: String) -> Value {
    json!({
        "id": hurt.service.0, "name": hurt.name, "incident": incident, "severity": hurt.severity.name(),
        "reasons": hurt.reasons.iter().map(|reason| reason.name()).collect::<Vec<_>>(), "opened_at": hurt.opened_at.rfc3339(),
        "worked_on_at": hurt.worked_on_at.map(Timestamp::rfc3339), "closed_at": hurt.closed_at.map(Timestamp::rfc3339),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_who_read_the_challenge_can_answer_it() {
        for good in ["c4", " c4\n", "\"c4\"", "{\"challenge\": \"c4\", \"more\": 1}"] {
            assert!(answers(good, "c4"), "{good}");
        }
        for bad in [
            "",
            "ok",
            "c41",
            "{\"challenge\": \"c5\"}",
            "{\"echo\": {\"challenge\": \"c4\"}}",
            "[\"c4\"]",
            "{\"challenge\": \"c4\", \"type\": \"verification\"}",
        ] {
            assert!(!answers(bad, "c4"), "{bad}");
        }
    }
}
