//! Slack, by an incoming webhook; Mattermost and others take the same.

use std::time::Duration;

use http::Method;
use serde_json::{Value, json};
use url::Url;

use crate::alert::channel::RateLimit;
use crate::alert::channel::call::Answer;
use crate::alert::channel::fields::{Field, Fields, Form, field};
use crate::alert::channel::reach;
use crate::alert::channel::sender::Sender;
use crate::alert::message::Parts;
use crate::alert::message::card::slack_message;
use crate::config::mistake::Mistake;
use crate::model::alert::DeliveryFailure;

pub const FIELDS: &[Field] =
    &[field("webhook_url", Form::SecretAddress, "The webhook's address, such as https://hooks.slack.com/services/T…/B…/…").required()];

/// One message a second for a webhook (<https://docs.slack.dev/apis/web-api/rate-limits>).
pub const RATE: RateLimit = RateLimit { messages: 1, per: Duration::from_secs(1) };

#[derive(Clone, PartialEq)]
pub struct Slack {
    url: Url,
}

impl Slack {
    pub fn read(fields: &mut Fields) -> Slack {
        Slack { url: fields.address_or("webhook_url", "https://hooks.slack.com/") }
    }

    pub async fn deliver(&self, sender: &Sender, parts: &Parts) -> Result<String, DeliveryFailure> {
        let request = sender.line.json(Method::POST, self.url.clone(), &slack_message(parts));
        let answer = sender.line.ask(request).await?;
        match answer.taken() {
            false => Err(answer.failure()),
            true if says_yes(&answer) => Ok(answer.told()),
            true => Err(answer.lie("the ok of a Slack webhook")),
        }
    }

    pub async fn doubts(&self, sender: &Sender) -> Vec<Mistake> {
        let mut doubts = reach::address(sender, "webhook_url", &self.url).await;
        if self.url.host_str() == Some("hooks.slack.com")
            && !["/services/", "/workflows/", "/triggers/"].iter().any(|path| self.url.path().starts_with(path))
        {
            doubts.push(Mistake::new("webhook_url", "does not look like a webhook of Slack, which has /services/T…/B…/… behind the host"));
        }
        if doubts.is_empty() {
            // A message with nothing in it is refused before anyone sees it; whether the webhook is known is told first.
            let empty = sender.line.json(Method::POST, self.url.clone(), &json!({}));
            match sender.line.ask(empty).await {
                Ok(answer) if matches!(answer.status, 401 | 403 | 404 | 405 | 410) => {
                    doubts.push(Mistake::new("webhook_url", format!("is not taken there: {}", answer.failure().reason)));
                }
                Ok(_) => {}
                Err(failure) => doubts.push(Mistake::new("webhook_url", failure.reason)),
            }
        }
        doubts
    }
}

/// Slack and Mattermost say `ok`; those that answer JSON say it there.
fn says_yes(answer: &Answer) -> bool {
    let yes = |value: &Value| value["ok"] == true || value["success"] == true;
    answer.body.trim() == "ok" || answer.json().as_ref().is_some_and(yes)
}
