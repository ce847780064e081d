//! The channels as whoever delivers sees them: which there are, what each asks for, and sending a message through one.

use std::time::Duration;

use futures_util::future::BoxFuture;

use crate::model::alert::{DeliveryFailure, Message, Receipt};
use crate::model::id::ChannelId;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exit {
    pub id: ChannelId,
    pub name: String,
    /// What is for a channel that is switched off waits.
    pub enabled: bool,
    /// Whether the far side drops a message that it has had by its key.
    pub has_key: bool,
    pub rate: Option<Rate>,
}

/// So many messages within a span at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    pub messages: u32,
    pub per: Duration,
}

pub trait Exits: Send + Sync {
    fn list(&self) -> Vec<Exit>;
    fn deliver(&self, channel: ChannelId, message: Message) -> BoxFuture<'static, Result<Receipt, DeliveryFailure>>;
}
