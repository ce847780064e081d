//! Microsoft Teams, by a workflow that starts when a webhook request is received.

use std::time::Duration;

use http::Method;
use url::Url;

use crate::alert::channel::RateLimit;
use crate::alert::channel::fields::{Field, Fields, Form, field};
use crate::alert::channel::reach;
use crate::alert::channel::sender::Sender;
use crate::alert::message::Parts;
use crate::alert::message::card::teams_message;
use crate::config::mistake::Mistake;
use crate::model::alert::DeliveryFailure;

pub const FIELDS: &[Field] = &[field("webhook_url", Form::SecretAddress, "The address the workflow shows when it is saved").required()];

/// Four requests a second
/// (<https://learn.microsoft.com/microsoftteams/platform/webhooks-and-connectors/how-to/connectors-using#rate-limiting-for-connectors>).
pub const RATE: RateLimit = RateLimit { messages: 4, per: Duration::from_secs(1) };

#[derive(Clone, PartialEq)]
pub struct Teams {
    url: Url,
}

impl Teams {
    pub fn read(fields: &mut Fields) -> Teams {
        Teams { url: fields.address_or("webhook_url", "https://example.com/") }
    }

    pub async fn deliver(&self, sender: &Sender, parts: &Parts) -> Result<String, DeliveryFailure> {
        let answer = sender.line.ask(sender.line.json(Method::POST, self.url.clone(), &teams_message(parts))).await?;
        match answer.taken() {
            false => Err(answer.failure()),
            // The connectors that came before workflows put an error into an answer of 200.
            true if answer.body.contains("HTTP error") || answer.json().is_some_and(|body| !body["error"].is_null()) => {
                Err(answer.lie("the yes of a workflow"))
            }
            true => Ok(answer.told()),
        }
    }

    pub async fn doubts(&self, sender: &Sender) -> Vec<Mistake> {
        let mut doubts = reach::address(sender, "webhook_url", &self.url).await;
        if self.url.host_str().is_some_and(|host| host.ends_with(".webhook.office.com")) {
            doubts.push(Mistake::new(
                "webhook_url",
                "is a connector of the kind Microsoft has retired; make a workflow that takes webhook requests",
            ));
        }
        doubts
    }
}
