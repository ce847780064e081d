//! PagerDuty, by its Events API v2 (<https://developer.pagerduty.com/docs/send-alert-event>); others take the same.
//!
//! All that is told of one cause has one `dedup_key`: what is told twice is one alert there.

use std::time::Duration;

use http::Method;
use serde_json::{Value, json};
use url::Url;

use crate::alert::channel::RateLimit;
use crate::alert::channel::call::Answer;
use crate::alert::channel::fields::{Field, Fields, Form, field};
use crate::alert::channel::reach;
use crate::alert::channel::sender::Sender;
use crate::alert::message::text::cut;
use crate::alert::message::{Parts, plain};
use crate::config::mistake::Mistake;
use crate::model::alert::{DeliveryFailure, Message, Telling};
use crate::model::incident::Severity;

pub const FIELDS: &[Field] = &[
    field("routing_key", Form::Secret, "The integration key of a service: 32 characters").required(),
    field("api_url", Form::Address, "Another server than https://events.pagerduty.com, such as https://events.eu.pagerduty.com"),
];

/// 120 events a minute for an integration key, by the word of PagerDuty's support; those beyond get 429
/// (<https://support.pagerduty.com/main/docs/services-and-integrations#events-api-v2>).
pub const RATE: RateLimit = RateLimit { messages: 120, per: Duration::from_secs(60) };

/// Bytes of a `dedup_key`, characters of a summary.
const KEY: usize = 255;
const SUMMARY: usize = 1_024;

#[derive(Clone, PartialEq)]
pub struct PagerDuty {
    routing_key: String,
    api: Url,
}

impl PagerDuty {
    pub fn read(fields: &mut Fields) -> PagerDuty {
        PagerDuty { routing_key: fields.needed("routing_key"), api: fields.address_or("api_url", "https://events.pagerduty.com") }
    }

    pub async fn deliver(&self, sender: &Sender, message: &Message, parts: &Parts) -> Result<String, DeliveryFailure> {
        match message.telling {
            Telling::Raised | Telling::Repeated | Telling::Escalated => self.enqueue(sender, &self.trigger(sender, message, parts)).await,
            Telling::Acknowledged => self.enqueue(sender, &self.action("acknowledge", message)).await,
            Telling::Recovered => self.enqueue(sender, &self.action("resolve", message)).await,
            // Nobody has to tidy up after a test, nor after a word that asks for nothing.
            Telling::Test | Telling::Word => {
                let told = self.enqueue(sender, &self.trigger(sender, message, parts)).await?;
                self.enqueue(sender, &self.action("resolve", message)).await?;
                Ok(format!("{told}; resolved again"))
            }
        }
    }

    fn action(&self, action: &str, message: &Message) -> Value {
        json!({"routing_key": self.routing_key, "event_action": action, "dedup_key": dedup_key(message)})
    }

    fn trigger(&self, sender: &Sender, message: &Message, parts: &Parts) -> Value {
        let severity = match (message.drill || matches!(message.telling, Telling::Test | Telling::Word), message.severity) {
            (true, _) => "info",
            (_, Severity::Critical) => "critical",
            (_, Severity::Warning) => "warning",
        };
        let own = sender.own.as_ref();
        let mut event = self.action("trigger", message);
        event["payload"] = json!({
            "summary": cut(&parts.first_line, SUMMARY),
            "source": own.and_then(|own| own.host_str()).unwrap_or("probemesh"),
            "severity": severity,
            "timestamp": message.since.rfc3339(),
            "component": message.service,
            "class": message.telling.name(),
            "custom_details": {
                "message": plain::below(parts),
                "regions": message.regions.iter().map(|line| json!({"region": line.region, "status": line.status, "text": line.text})).collect::<Vec<_>>(),
                "next_step": message.next_step,
                "rule": message.rule,
                "drill": message.drill,
            },
        });
        event["client"] = json!("probemesh");
        if let Some(own) = own {
            event["client_url"] = json!(own.as_str());
        }
        if let Some(link) = &message.link {
            event["links"] = json!([{"href": link, "text": "Look at it"}]);
        }
        event
    }

    async fn enqueue(&self, sender: &Sender, event: &Value) -> Result<String, DeliveryFailure> {
        let mut url = self.api.clone();
        url.set_path(&format!("{}/v2/enqueue", self.api.path().trim_end_matches('/')));
        let answer = sender.line.ask(sender.line.json(Method::POST, url, event)).await?;
        match answer.taken() {
            false => Err(answer.failure()),
            true if says_yes(&answer) => Ok(answer.told()),
            true => Err(answer.lie("the success of PagerDuty")),
        }
    }

    pub async fn doubts(&self, sender: &Sender) -> Vec<Mistake> {
        let mut doubts = reach::address(sender, "api_url", &self.api).await;
        if self.routing_key.len() != 32 || !self.routing_key.chars().all(|letter| letter.is_ascii_alphanumeric()) {
            doubts.push(Mistake::new("routing_key", "does not look like an integration key, which has 32 letters and digits"));
        }
        doubts
    }
}

fn says_yes(answer: &Answer) -> bool {
    answer.json().is_some_and(|said| said["status"] == "success")
}

/// The cause; a longer one than PagerDuty takes keeps its end, which tells it from others.
fn dedup_key(message: &Message) -> &str {
    let key = message.cause.as_str();
    let start = (key.len().saturating_sub(KEY)..key.len()).find(|start| key.is_char_boundary(*start)).unwrap_or(0);
    &key[start..]
}
