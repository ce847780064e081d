//! Any address that takes a request: the body by a template or as JSON, signed where a secret is shared.
//!
//! With a secret, `X-Probemesh-Signature` is `v1=` and the HMAC-SHA256 of the timestamp, a dot and the body, in hexadecimal;
//! the timestamp is `X-Probemesh-Timestamp`, seconds since 1970. `Idempotency-Key` is the same for every attempt.

use aws_lc_rs::hmac;
use http::{HeaderName, HeaderValue, Method};
use serde_json::{Value, json};
use url::Url;

use crate::alert::channel::call::never;
use crate::alert::channel::fields::{Field, Fields, Form, field};
use crate::alert::channel::sender::Sender;
use crate::alert::channel::template::{Escape, render};
use crate::alert::message::{Parts, plain};
use crate::model::alert::{DeliveryFailure, Message, RegionLine, Telling};
use crate::model::incident::Severity;
use crate::model::time::Timestamp;
use crate::store::codec::hex;

pub const FIELDS: &[Field] = &[
    field("url", Form::SecretAddress, "Where the request goes").required(),
    field("method", Form::Choice(&["POST", "PUT", "PATCH", "GET"]), "Usually POST; a GET has no body"),
    field("headers", Form::SecretTexts, "Further headers"),
    field("content_type", Form::Text, "Usually application/json; it decides how texts are escaped in the template"),
    field("template", Form::Text, "The body, with {{ headline }} and the like; all of the message as JSON if left out"),
    field("secret", Form::Secret, "What the body is signed with"),
];

const JSON: &str = "application/json";
/// Headers the hub sets itself.
const OWN: [&str; 7] =
    ["content-type", "content-length", "host", "idempotency-key", "x-probemesh-signature", "x-probemesh-timestamp", "transfer-encoding"];

#[derive(Clone, PartialEq)]
pub struct Webhook {
    pub url: Url,
    method: Method,
    headers: Vec<(HeaderName, HeaderValue)>,
    content_type: String,
    template: Option<String>,
    secret: Option<String>,
}

impl Webhook {
    pub fn read(fields: &mut Fields) -> Webhook {
        let mut headers = Vec::new();
        for (name, value) in fields.pairs("headers") {
            let path = format!("headers.{name}");
            match (HeaderName::try_from(&name), HeaderValue::try_from(&value)) {
                (Err(_), _) => fields.wrong(&path, "is not a header's name"),
                (_, Err(_)) => fields.wrong(&path, "holds characters a header cannot carry"),
                (Ok(name), _) if OWN.contains(&name.as_str()) => fields.wrong(&path, "is set by the hub itself"),
                (Ok(name), Ok(value)) => headers.push((name, value)),
            }
        }
        let content_type = fields.text("content_type").unwrap_or_else(|| JSON.to_owned());
        if HeaderValue::try_from(&content_type).is_err() || !content_type.contains('/') {
            fields.wrong("content_type", "is not a content type such as application/json");
        }
        let template = fields.verbatim("template");
        if template.is_none() && Escape::of(&content_type) != Escape::Json {
            fields.wrong("template", "is needed for a body that is not JSON");
        }
        let webhook = Webhook {
            url: fields.address_or("url", "https://example.com/"),
            method: fields.text("method").and_then(|name| name.parse().ok()).unwrap_or(Method::POST),
            headers,
            content_type,
            template,
            secret: fields.verbatim("secret"),
        };
        // What fails for one message fails when nobody looks: it is tried with all kinds of them.
        let failed = samples().iter().find_map(|message| {
            let parts = Parts::of(message, message.since);
            webhook.body(message, &parts).err()
        });
        if let Some(error) = failed {
            fields.wrong("template", error);
        }
        webhook
    }

    pub async fn deliver(&self, sender: &Sender, message: &Message, parts: &Parts) -> Result<String, DeliveryFailure> {
        let body = self.body(message, parts).map_err(|error| never(format!("template fails: {error}")))?;
        let mut request = sender.line.request(self.method.clone(), self.url.clone());
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        request = request.header("idempotency-key", &message.key);
        let body = if self.method == Method::GET { String::new() } else { body };
        if let Some(secret) = &self.secret {
            let stamp = sender.clock.now().0.div_euclid(1_000_000).to_string();
            request = request.header("x-probemesh-signature", signature(secret, &stamp, &body)).header("x-probemesh-timestamp", stamp);
        }
        if self.method != Method::GET {
            request = request.header(http::header::CONTENT_TYPE, &self.content_type).body(body);
        }
        let answer = sender.line.ask(request).await?;
        if answer.taken() { Ok(answer.told()) } else { Err(answer.failure()) }
    }

    fn body(&self, message: &Message, parts: &Parts) -> Result<String, String> {
        let document = document(message, parts);
        match &self.template {
            None => Ok(document.to_string()),
            Some(template) => render(template, Escape::of(&self.content_type), &document),
        }
    }
}

/// `v1=` and the HMAC-SHA256 of `timestamp.body` in hexadecimal.
pub fn signature(secret: &str, timestamp: &str, body: &str) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    format!("v1={}", hex(hmac::sign(&key, format!("{timestamp}.{body}").as_bytes()).as_ref()))
}

/// All of a message: the body where there is no template, the names where there is one.
pub fn document(message: &Message, parts: &Parts) -> Value {
    let lasted = message.recovered_at.map(|at| at.since(message.since).as_secs());
    json!({
        "key": message.key,
        "cause": message.cause,
        "telling": message.telling.name(),
        "severity": message.severity.name(),
        "drill": message.drill,
        "service": message.service,
        "title": parts.first_line,
        "headline": message.headline,
        "text": plain::below(parts),
        "since": message.since.rfc3339(),
        "recovered_at": message.recovered_at.map(Timestamp::rfc3339),
        "duration_s": lasted,
        "regions": message.regions.iter().map(|line| json!({"region": line.region, "status": line.status, "text": line.text})).collect::<Vec<_>>(),
        "last_good": message.last_good.map(Timestamp::rfc3339),
        "consequences": message.consequences,
        "consequence_count": message.consequences.len(),
        "link": message.link,
        "next_step": message.next_step,
        "acknowledged_by": message.acknowledged_by,
        "rule": message.rule,
    })
}

/// One message with everything in it, one with as little as can be.
pub fn samples() -> [Message; 2] {
    let since = Timestamp(1_795_341_600_000_000);
    let full = Message {
        key: "sample-1".to_owned(),
        cause: "sample".to_owned(),
        telling: Telling::Raised,
        severity: Severity::Critical,
        drill: true,
        service: Some("shop".to_owned()),
        headline: "shop: \"TLS\" fails in 2 of 3 regions\\".to_owned(),
        since,
        recovered_at: Some(since),
        regions: vec![RegionLine { region: "eu".to_owned(), status: "down".to_owned(), text: "TLS: \"expired\"".to_owned() }],
        last_good: Some(since),
        consequences: vec!["cart".to_owned()],
        link: Some("https://hub.example/incidents/1".to_owned()),
        next_step: Some("Renew the certificate.".to_owned()),
        acknowledged_by: Some("ada".to_owned()),
        rule: "everything".to_owned(),
    };
    let bare = Message {
        telling: Telling::Test,
        severity: Severity::Warning,
        drill: false,
        service: None,
        recovered_at: None,
        regions: Vec::new(),
        last_good: None,
        consequences: Vec::new(),
        link: None,
        next_step: None,
        acknowledged_by: None,
        ..full.clone()
    };
    [full, bare]
}
