//! ntfy: a topic others are subscribed to (<https://docs.ntfy.sh/publish/#publish-as-json>).

use std::time::Duration;

use http::Method;
use serde_json::{Value, json};
use url::Url;

use crate::alert::channel::RateLimit;
use crate::alert::channel::fields::{Field, Fields, Form, field};
use crate::alert::channel::sender::Sender;
use crate::alert::message::text::cut;
use crate::alert::message::{Mood, Parts, plain};
use crate::model::alert::{DeliveryFailure, Message};

pub const FIELDS: &[Field] = &[
    field("topic", Form::Secret, "The topic: on a public server whoever knows its name reads it").required(),
    field("server", Form::Address, "Another server than https://ntfy.sh"),
    field("token", Form::Secret, "An access token, where the server asks for one"),
    field("priority", Form::Number { least: 1, most: 5 }, "Of what is critical: 1 to 5, usually 5"),
    field("tags", Form::Texts, "Further tags; the names of emoji become those"),
];

/// 60 requests at once, then one every 5 seconds (<https://docs.ntfy.sh/config/#rate-limiting>).
pub const RATE: RateLimit = RateLimit { messages: 60, per: Duration::from_secs(300) };

/// Bytes of a message; a longer one would become a file.
const LONGEST: usize = 4_096;

#[derive(Clone, PartialEq)]
pub struct Ntfy {
    pub server: Url,
    topic: String,
    token: Option<String>,
    priority: u64,
    tags: Vec<String>,
}

impl Ntfy {
    pub fn read(fields: &mut Fields) -> Ntfy {
        let topic = fields.needed("topic");
        if topic.len() > 64 || !topic.chars().all(|letter| letter.is_ascii_alphanumeric() || matches!(letter, '-' | '_')) {
            fields.wrong("topic", "must be 1 to 64 letters, digits, dashes or underscores");
        }
        let token = fields.text("token");
        if token.as_ref().is_some_and(|token| http::HeaderValue::try_from(format!("Bearer {token}")).is_err()) {
            fields.wrong("token", "holds characters a header cannot carry");
        }
        Ntfy {
            server: fields.address_or("server", "https://ntfy.sh"),
            topic,
            token,
            priority: fields.number("priority").unwrap_or(5),
            tags: fields.texts("tags"),
        }
    }

    pub async fn deliver(&self, sender: &Sender, message: &Message, parts: &Parts) -> Result<String, DeliveryFailure> {
        let mut request = sender.line.json(Method::POST, self.server.clone(), &self.body(message, parts));
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        let answer = sender.line.ask(request).await?;
        match answer.taken() {
            false => Err(answer.failure()),
            true => match answer.json().and_then(|said| Some(said["id"].as_str()?.to_owned())) {
                Some(id) => Ok(format!("{}: message {id}", answer.status)),
                None => Err(answer.lie("a message of ntfy")),
            },
        }
    }

    fn body(&self, message: &Message, parts: &Parts) -> Value {
        let (tag, priority) = match parts.mood {
            Mood::Bad => ("rotating_light", self.priority),
            Mood::Warning => ("warning", self.priority.min(4)),
            Mood::Good => ("white_check_mark", 3),
            Mood::Neutral => ("information_source", 3),
        };
        let mut tags: Vec<&str> = vec![tag];
        if message.drill {
            tags.push("drill");
        }
        tags.extend(self.tags.iter().map(String::as_str));
        let mut text = plain::below(parts);
        let mut room = LONGEST;
        // The limit is in bytes.
        while text.len() > LONGEST && room > 256 {
            room -= 256;
            text = cut(&text, room);
        }
        let mut body = json!({
            "topic": self.topic,
            "title": cut(&parts.first_line, 250),
            "message": text,
            "priority": priority,
            "tags": tags,
        });
        if let Some(link) = &message.link {
            body["click"] = json!(link);
        }
        body
    }
}
