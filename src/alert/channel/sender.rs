//! Sends a message through a channel, whatever its kind: one attempt, bounded in time, with one answer.
//!
//! **Invariant.** Neither a receipt nor a failure holds a secret of the channel, however the far side repeats it.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use url::Url;

use crate::alert::channel::call::Line;
use crate::alert::channel::email::letter::{Letter, Unsent};
use crate::alert::channel::hidden::without_address;
use crate::alert::channel::{Channel, Kind, call, fields, reach};
use crate::alert::message::Parts;
use crate::alert::message::text::{clean, cut};
use crate::clock::Clock;
use crate::config::mistake::Mistake;
use crate::config::sections::ChannelSettings;
use crate::model::alert::{DeliveryFailure, Message, Receipt};
use crate::probe::network::BlockedNetworks;
use crate::probe::redact::{Secrets, hide_named};

/// What says which networks no channel may reach.
pub(super) const BLOCKED_BY: &str = "alerts.blocked_networks";
/// What is kept of the far side's words.
const WORDS: usize = 400;

/// Made once, for all channels.
#[derive(Clone, Debug)]
pub struct Sender {
    pub(super) line: Line,
    /// For one attempt, or one step of it.
    pub(super) timeout: Duration,
    pub(super) allow_commands: bool,
    pub(super) blocked: Arc<BlockedNetworks>,
    /// Where the monitor itself is found, if it knows.
    pub(super) own: Option<Url>,
    pub(super) clock: Clock,
}

impl Sender {
    pub fn new(settings: &ChannelSettings, own_address: Option<&str>, clock: Clock) -> anyhow::Result<Sender> {
        let blocked = BlockedNetworks::parse(&settings.blocked_networks).map_err(|entry| anyhow::anyhow!("{entry:?} is not a network"))?;
        let blocked = Arc::new(blocked);
        let own = own_address.map(Url::parse).transpose().context("the monitor's own address is not a URL")?;
        Ok(Sender {
            line: Line::new(settings.send_timeout, blocked.clone(), BLOCKED_BY, clock.clone())?,
            timeout: settings.send_timeout,
            allow_commands: settings.allow_commands,
            blocked,
            own,
            clock,
        })
    }

    /// Whether channels that run a program may be used.
    pub fn allows_commands(&self) -> bool {
        self.allow_commands
    }

    /// One attempt. Whether the channel is enabled is for the caller to ask.
    pub async fn deliver(&self, channel: &Channel, message: &Message) -> Result<Receipt, DeliveryFailure> {
        let parts = Parts::of(message, self.clock.now());
        let done = match &channel.kind {
            Kind::Webhook(webhook) => webhook.deliver(self, message, &parts).await,
            Kind::Email(email) => email.deliver(self, message, &parts).await,
            Kind::Slack(slack) => slack.deliver(self, &parts).await,
            Kind::Discord(discord) => discord.deliver(self, message, &parts).await,
            Kind::Teams(teams) => teams.deliver(self, &parts).await,
            Kind::Telegram(telegram) => telegram.deliver(self, &parts).await,
            Kind::PagerDuty(pagerduty) => pagerduty.deliver(self, message, &parts).await,
            Kind::Ntfy(ntfy) => ntfy.deliver(self, message, &parts).await,
            Kind::Matrix(matrix) => matrix.deliver(self, message, &parts).await,
            Kind::Command(command) => command.deliver(self, message, &parts).await,
        };
        let secrets = Secrets::listed(fields::secrets(channel.kind.info().fields, &channel.config).iter().map(String::as_str));
        let tidied = |words: &str| cut(&clean(&hide_named(&secrets.hide(words))), WORDS);
        match done {
            Ok(words) => Ok(Receipt { answer: tidied(&words) }),
            Err(failure) => Err(DeliveryFailure { reason: tidied(&failure.reason), ..failure }),
        }
    }

    /// One attempt to send a letter by a channel of mail. What is told of it does not hold the address it went to.
    pub async fn post(&self, channel: &Channel, letter: Letter) -> Result<Receipt, Unsent> {
        let Kind::Email(email) = &channel.kind else {
            return Err(Unsent::Failed(call::passing(format!("channel {} is not one of mail", channel.name))));
        };
        let address = letter.to.to_string();
        let known = fields::secrets(channel.kind.info().fields, &channel.config);
        let secrets = Secrets::listed(known.iter().map(String::as_str));
        let tidied = |words: &str| cut(&without_address(&clean(&hide_named(&secrets.hide(words))), &address), WORDS);
        let told = |failure: DeliveryFailure| DeliveryFailure { reason: tidied(&failure.reason), ..failure };
        match email.post(self, letter).await {
            Ok(words) => Ok(Receipt { answer: tidied(&words) }),
            Err(Unsent::Refused(failure)) => Err(Unsent::Refused(told(failure))),
            Err(Unsent::Failed(failure)) => Err(Unsent::Failed(told(failure))),
        }
    }

    /// What speaks against a channel before anything is sent through it: its form, its host, and where the service can be
    /// asked without telling anyone, its token.
    pub async fn doubts(&self, channel: &Channel) -> Vec<Mistake> {
        let found = match &channel.kind {
            Kind::Webhook(webhook) => reach::address(self, "url", &webhook.url).await,
            Kind::Email(email) => email.doubts(self).await,
            Kind::Slack(slack) => slack.doubts(self).await,
            Kind::Discord(discord) => discord.doubts(self).await,
            Kind::Teams(teams) => teams.doubts(self).await,
            Kind::Telegram(telegram) => telegram.doubts(self).await,
            Kind::PagerDuty(pagerduty) => pagerduty.doubts(self).await,
            Kind::Ntfy(ntfy) => reach::address(self, "server", &ntfy.server).await,
            Kind::Matrix(matrix) => matrix.doubts(self).await,
            Kind::Command(command) => command.doubts(),
        };
        let secrets = Secrets::listed(fields::secrets(channel.kind.info().fields, &channel.config).iter().map(String::as_str));
        found.into_iter().map(|doubt| Mistake::new(doubt.path, cut(&clean(&secrets.hide(&doubt.message)), WORDS))).collect()
    }
}
