//! Matrix: a room, by the client API (<https://spec.matrix.org/v1.11/client-server-api/#sending-events-to-a-room>).
//!
//! The key of a telling is the transaction's: what is sent twice is one event.

use std::time::Duration;

use http::Method;
use serde_json::json;
use url::Url;

use crate::alert::channel::RateLimit;
use crate::alert::channel::fields::{Field, Fields, Form, field};
use crate::alert::channel::reach;
use crate::alert::channel::sender::Sender;
use crate::alert::message::{Parts, html, plain};
use crate::config::mistake::Mistake;
use crate::model::alert::{DeliveryFailure, Message};

pub const FIELDS: &[Field] = &[
    field("homeserver", Form::Address, "The homeserver, such as https://matrix.example.org").required(),
    field("room", Form::Text, "The room's id, such as !abc:example.org; whose token it is must be in it").required(),
    field("token", Form::Secret, "An access token").required(),
];

/// Ten at once and one every five seconds, as Synapse is set up by default
/// (<https://element-hq.github.io/synapse/latest/usage/configuration/config_documentation.html#rc_message>).
pub const RATE: RateLimit = RateLimit { messages: 10, per: Duration::from_secs(50) };

#[derive(Clone, PartialEq)]
pub struct Matrix {
    homeserver: Url,
    room: String,
    token: String,
}

impl Matrix {
    pub fn read(fields: &mut Fields) -> Matrix {
        let room = fields.needed("room");
        if !room.starts_with('!') {
            fields.wrong("room", "must be the room's id, which begins with an exclamation mark; its settings show it");
        }
        let token = fields.needed("token");
        if http::HeaderValue::try_from(format!("Bearer {token}")).is_err() {
            fields.wrong("token", "holds characters a header cannot carry");
        }
        Matrix { homeserver: fields.address_or("homeserver", "https://matrix.org"), room, token }
    }

    fn at(&self, segments: &[&str]) -> Url {
        let mut url = self.homeserver.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(["_matrix", "client", "v3"]).extend(segments);
        }
        url
    }

    pub async fn deliver(&self, sender: &Sender, message: &Message, parts: &Parts) -> Result<String, DeliveryFailure> {
        let body = json!({
            "msgtype": "m.text",
            "body": plain::whole(parts).trim_end(),
            "format": "org.matrix.custom.html",
            "formatted_body": html::room(parts),
            "m.mentions": {},
        });
        let url = self.at(&["rooms", &self.room, "send", "m.room.message", &message.key]);
        let answer = sender.line.ask(sender.line.json(Method::PUT, url, &body).bearer_auth(&self.token)).await?;
        match answer.taken() {
            false => Err(answer.failure()),
            true => match answer.json().and_then(|said| Some(said["event_id"].as_str()?.to_owned())) {
                Some(id) => Ok(format!("{}: event {id}", answer.status)),
                None => Err(answer.lie("an event of Matrix")),
            },
        }
    }

    /// A token tells whose it is without telling anyone else.
    pub async fn doubts(&self, sender: &Sender) -> Vec<Mistake> {
        let mut doubts = reach::address(sender, "homeserver", &self.homeserver).await;
        if doubts.is_empty() {
            match sender.line.ask(sender.line.get(self.at(&["account", "whoami"])).bearer_auth(&self.token)).await {
                Ok(answer) if !answer.taken() => {
                    doubts.push(Mistake::new("token", format!("is not taken there: {}", answer.failure().reason)))
                }
                Ok(_) => {}
                Err(failure) => doubts.push(Mistake::new("homeserver", failure.reason)),
            }
        }
        doubts
    }
}
