//! Telegram, by a bot.

use std::time::Duration;

use http::Method;
use serde_json::json;
use url::Url;

use crate::alert::channel::RateLimit;
use crate::alert::channel::fields::{Field, Fields, Form, field};
use crate::alert::channel::reach;
use crate::alert::channel::sender::Sender;
use crate::alert::message::Parts;
use crate::alert::message::html::telegram;
use crate::config::mistake::Mistake;
use crate::model::alert::DeliveryFailure;

pub const FIELDS: &[Field] = &[
    field("token", Form::Secret, "The bot's token, as @BotFather gives it: 123456:ABC…").required(),
    field("chat", Form::Text, "The chat's number, or @name of a public channel; the bot must be in it").required(),
    field("thread", Form::Number { least: 1, most: u64::MAX }, "The topic, in a group that has topics"),
    field("silent", Form::Flag, "Without a sound"),
    field("api_url", Form::Address, "Another Bot API server than https://api.telegram.org"),
];

/// Characters of a message (<https://core.telegram.org/bots/api#sendmessage>).
const LONGEST: usize = 4_096;

#[derive(Clone, PartialEq)]
pub struct Telegram {
    token: String,
    chat: String,
    thread: Option<u64>,
    silent: bool,
    api: Url,
}

impl Telegram {
    pub fn read(fields: &mut Fields) -> Telegram {
        let token = fields.needed("token");
        let fits = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, ':' | '_' | '-');
        if !token.chars().all(fits) {
            fields.wrong("token", "does not look like a bot's token, which is a number, a colon and letters");
        }
        let chat = fields.needed("chat");
        if chat.parse::<i64>().is_err() && !chat.starts_with('@') {
            fields.wrong("chat", "must be a chat's number or the @name of a channel");
        }
        let api = fields.address_or("api_url", "https://api.telegram.org");
        Telegram { token, chat, thread: fields.number("thread"), silent: fields.flag("silent").unwrap_or(false), api }
    }

    /// One message a second to a person, twenty a minute to a group, whose number is below zero
    /// (<https://core.telegram.org/bots/faq#my-bot-is-hitting-limits-how-do-i-avoid-this>).
    pub fn rate(&self) -> RateLimit {
        match self.chat.starts_with(['-', '@']) {
            true => RateLimit { messages: 20, per: Duration::from_secs(60) },
            false => RateLimit { messages: 1, per: Duration::from_secs(1) },
        }
    }

    fn method(&self, name: &str) -> Url {
        let mut url = self.api.clone();
        url.set_path(&format!("{}/bot{}/{name}", self.api.path().trim_end_matches('/'), self.token));
        url
    }

    pub async fn deliver(&self, sender: &Sender, parts: &Parts) -> Result<String, DeliveryFailure> {
        let mut body = json!({
            "chat_id": self.chat,
            "text": telegram(parts, LONGEST),
            "parse_mode": "HTML",
            "link_preview_options": {"is_disabled": true},
            "disable_notification": self.silent,
        });
        if let Some(thread) = self.thread {
            body["message_thread_id"] = json!(thread);
        }
        let answer = sender.line.ask(sender.line.json(Method::POST, self.method("sendMessage"), &body)).await?;
        let said = answer.json();
        match (answer.taken(), said.as_ref().map(|said| said["ok"] == true)) {
            (true, Some(true)) => {
                let number = said.and_then(|said| said["result"]["message_id"].as_i64());
                Ok(format!("{}: message {}", answer.status, number.map_or_else(|| "sent".to_owned(), |number| number.to_string())))
            }
            (true, _) => Err(answer.lie("the yes of a bot")),
            (false, _) => Err(answer.failure()),
        }
    }

    /// A bot tells who it is without telling anyone else.
    pub async fn doubts(&self, sender: &Sender) -> Vec<Mistake> {
        let mut doubts = reach::address(sender, "api_url", &self.api).await;
        if doubts.is_empty() {
            match sender.line.ask(sender.line.get(self.method("getMe"))).await {
                Ok(answer) if answer.json().is_none_or(|said| said["ok"] != true) => {
                    doubts.push(Mistake::new("token", format!("is not taken by Telegram: {}", answer.failure().reason)));
                }
                Ok(_) => {}
                Err(failure) => doubts.push(Mistake::new("api_url", failure.reason)),
            }
        }
        doubts
    }
}
