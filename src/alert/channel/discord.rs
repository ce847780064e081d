//! Discord, by a webhook of a channel.

use std::time::Duration;

use http::Method;
use url::Url;

use crate::alert::channel::RateLimit;
use crate::alert::channel::fields::{Field, Fields, Form, field};
use crate::alert::channel::reach;
use crate::alert::channel::sender::Sender;
use crate::alert::message::Parts;
use crate::alert::message::card::discord_message;
use crate::config::mistake::Mistake;
use crate::model::alert::{DeliveryFailure, Message};

pub const FIELDS: &[Field] =
    &[field("webhook_url", Form::SecretAddress, "The webhook's address, such as https://discord.com/api/webhooks/…/…").required()];

/// Five messages in two seconds for a webhook, as its `X-RateLimit` headers say
/// (<https://discord.com/developers/docs/topics/rate-limits>).
pub const RATE: RateLimit = RateLimit { messages: 5, per: Duration::from_secs(2) };

#[derive(Clone, PartialEq)]
pub struct Discord {
    url: Url,
}

impl Discord {
    pub fn read(fields: &mut Fields) -> Discord {
        Discord { url: fields.address_or("webhook_url", "https://discord.com/") }
    }

    pub async fn deliver(&self, sender: &Sender, message: &Message, parts: &Parts) -> Result<String, DeliveryFailure> {
        let mut url = self.url.clone();
        // Asked to wait, it answers with the message it made; else it says yes before it has looked.
        if !url.query_pairs().any(|(name, _)| name == "wait") {
            url.query_pairs_mut().append_pair("wait", "true");
        }
        let answer = sender.line.ask(sender.line.json(Method::POST, url, &discord_message(parts, message.since))).await?;
        match answer.taken() {
            false => Err(answer.failure()),
            true => match answer.json().and_then(|made| Some(made["id"].as_str()?.to_owned())) {
                Some(id) => Ok(format!("{}: message {id}", answer.status)),
                None => Err(answer.lie("a message of Discord")),
            },
        }
    }

    /// A webhook tells of itself whoever has its address.
    pub async fn doubts(&self, sender: &Sender) -> Vec<Mistake> {
        let mut doubts = reach::address(sender, "webhook_url", &self.url).await;
        if doubts.is_empty() {
            match sender.line.ask(sender.line.get(self.url.clone())).await {
                Ok(answer) if !answer.taken() => {
                    doubts.push(Mistake::new("webhook_url", format!("is no webhook there: {}", answer.failure().reason)))
                }
                Ok(_) => {}
                Err(failure) => doubts.push(Mistake::new("webhook_url", failure.reason)),
            }
        }
        doubts
    }
}
