//! The ways a message can go out, and the one who sends it.
//!
//! A channel is a name, a kind and the kind's own fields. Each kind is a file below: its fields with what they mean
//! ([`fields`]), what makes a channel of it doubtful before anything was sent, and the sending. [`sender::Sender`] is made
//! once and sends for all of them.
//!
//! **Invariants.** What is shown of a channel holds no secret. What a far side said goes to nobody before the channel's
//! secrets were taken out of it.

pub mod call;
pub mod command;
pub mod discord;
pub mod email;
pub mod fields;
pub mod hidden;
pub mod matrix;
pub mod ntfy;
pub mod pagerduty;
pub mod reach;
pub mod sender;
pub mod slack;
pub mod teams;
pub mod telegram;
pub mod template;
pub mod webhook;

use std::fmt;
use std::time::Duration;

use serde_json::{Map, Value};

use crate::alert::channel::command::Command;
use crate::alert::channel::discord::Discord;
use crate::alert::channel::email::Email;
use crate::alert::channel::fields::{Field, Fields};
use crate::alert::channel::matrix::Matrix;
use crate::alert::channel::ntfy::Ntfy;
use crate::alert::channel::pagerduty::PagerDuty;
use crate::alert::channel::slack::Slack;
use crate::alert::channel::teams::Teams;
use crate::alert::channel::telegram::Telegram;
use crate::alert::channel::webhook::Webhook;
use crate::config::mistake::Mistake;
use crate::config::nearest::suggestion;
use crate::model::id::ChannelId;
use crate::model::time::Timestamp;

/// A way to tell people. Its fields have the secrets in the clear: they never leave the process as they are.
#[derive(Clone, PartialEq)]
pub struct Channel {
    pub id: ChannelId,
    pub name: String,
    pub enabled: bool,
    pub kind: Kind,
    /// The kind's fields as they were given.
    pub config: Map<String, Value>,
    /// Rises with each change.
    pub revision: u64,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

/// What a channel is made of, checked.
#[derive(Clone, PartialEq)]
pub enum Kind {
    Webhook(Webhook),
    Email(Email),
    Slack(Slack),
    Discord(Discord),
    Teams(Teams),
    Telegram(Telegram),
    PagerDuty(PagerDuty),
    Ntfy(Ntfy),
    Matrix(Matrix),
    Command(Command),
}

/// A kind for those who make channels of it.
#[derive(Clone, Copy, Debug)]
pub struct KindInfo {
    pub name: &'static str,
    pub about: &'static str,
    pub fields: &'static [Field],
}

/// So many messages at most in so long a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimit {
    pub messages: u32,
    pub per: Duration,
}

pub const KINDS: [KindInfo; 10] = [
    KindInfo { name: "webhook", about: "Any address that takes a request: body by template, signed", fields: webhook::FIELDS },
    KindInfo { name: "email", about: "Mail by an SMTP server", fields: email::FIELDS },
    KindInfo { name: "slack", about: "An incoming webhook of Slack, or of Mattermost", fields: slack::FIELDS },
    KindInfo { name: "discord", about: "A webhook of a Discord channel", fields: discord::FIELDS },
    KindInfo { name: "teams", about: "A workflow of Microsoft Teams that takes webhook requests", fields: teams::FIELDS },
    KindInfo { name: "telegram", about: "A Telegram bot in a chat", fields: telegram::FIELDS },
    KindInfo { name: "pagerduty", about: "PagerDuty, or another that takes its Events API v2", fields: pagerduty::FIELDS },
    KindInfo { name: "ntfy", about: "A topic of ntfy.sh or of an ntfy server", fields: ntfy::FIELDS },
    KindInfo { name: "matrix", about: "A room of Matrix", fields: matrix::FIELDS },
    KindInfo { name: "command", about: "A program on the hub's machine", fields: command::FIELDS },
];

/// A kind by its name; the error lists all there are.
pub fn kind_info(name: &str) -> Result<&'static KindInfo, Mistake> {
    KINDS.iter().find(|kind| kind.name == name).ok_or_else(|| {
        let names: Vec<&str> = KINDS.iter().map(|kind| kind.name).collect();
        Mistake::new("kind", format!("{name:?} is not one of {}{}", names.join(", "), suggestion(name, names.iter().copied())))
    })
}

impl Kind {
    /// Reads a kind's fields; the mistakes name them.
    pub fn read(info: &KindInfo, config: &Map<String, Value>) -> Result<Kind, Vec<Mistake>> {
        let mut fields = Fields::new(info.fields, config)?;
        let kind = match info.name {
            "webhook" => Kind::Webhook(Webhook::read(&mut fields)),
            "email" => Kind::Email(Email::read(&mut fields)),
            "slack" => Kind::Slack(Slack::read(&mut fields)),
            "discord" => Kind::Discord(Discord::read(&mut fields)),
            "teams" => Kind::Teams(Teams::read(&mut fields)),
            "telegram" => Kind::Telegram(Telegram::read(&mut fields)),
            "pagerduty" => Kind::PagerDuty(PagerDuty::read(&mut fields)),
            "ntfy" => Kind::Ntfy(Ntfy::read(&mut fields)),
            "matrix" => Kind::Matrix(Matrix::read(&mut fields)),
            _ => Kind::Command(Command::read(&mut fields)),
        };
        fields.finish(kind)
    }

    pub fn info(&self) -> &'static KindInfo {
        let place = match self {
            Kind::Webhook(_) => 0,
            Kind::Email(_) => 1,
            Kind::Slack(_) => 2,
            Kind::Discord(_) => 3,
            Kind::Teams(_) => 4,
            Kind::Telegram(_) => 5,
            Kind::PagerDuty(_) => 6,
            Kind::Ntfy(_) => 7,
            Kind::Matrix(_) => 8,
            Kind::Command(_) => 9,
        };
        &KINDS[place]
    }

    pub fn name(&self) -> &'static str {
        self.info().name
    }
}

impl Channel {
    /// Whether the far side is given a key by which it can tell a message it has from a new one.
    pub fn has_idempotency_key(&self) -> bool {
        matches!(self.kind, Kind::Webhook(_) | Kind::PagerDuty(_) | Kind::Matrix(_))
    }

    /// What the far side lets through, by its own public word; `None`: it says nothing of a limit.
    pub fn rate_limit(&self) -> Option<RateLimit> {
        match &self.kind {
            Kind::Slack(_) => Some(slack::RATE),
            Kind::Discord(_) => Some(discord::RATE),
            Kind::Teams(_) => Some(teams::RATE),
            Kind::Telegram(telegram) => Some(telegram.rate()),
            Kind::PagerDuty(_) => Some(pagerduty::RATE),
            Kind::Ntfy(_) => Some(ntfy::RATE),
            Kind::Matrix(_) => Some(matrix::RATE),
            Kind::Webhook(_) | Kind::Email(_) | Kind::Command(_) => None,
        }
    }

    /// The fields as people see them.
    pub fn masked(&self) -> Map<String, Value> {
        fields::masked(self.kind.info().fields, &self.config)
    }
}

impl fmt::Debug for Kind {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.name())
    }
}

impl fmt::Debug for Channel {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "channel {} {:?} ({})", self.id, self.name, self.kind.name())
    }
}
