//! The channels as whoever delivers sees them: which there are, what each asks for, and sending a message through one.

use std::sync::Arc;

use futures_util::future::BoxFuture;

use crate::alert::channel::RateLimit;
use crate::alert::channel::sender::Sender;
use crate::model::alert::{DeliveryFailure, Message, Receipt};
use crate::model::id::ChannelId;
use crate::store::channels::Channels;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exit {
    pub id: ChannelId,
    pub name: String,
    /// One that is switched off is told nothing; what was on its way to it waits.
    pub enabled: bool,
    /// Whether the far side drops a message that it has had by its key.
    pub has_key: bool,
    pub rate: Option<RateLimit>,
}

pub trait Exits: Send + Sync {
    /// Those a rule may name.
    fn list(&self) -> Vec<Exit>;
    fn find(&self, channel: ChannelId) -> Option<Exit> {
        self.list().into_iter().find(|exit| exit.id == channel)
    }
    fn deliver(&self, channel: ChannelId, message: Message) -> BoxFuture<'static, Result<Receipt, DeliveryFailure>>;
    /// A message that might have got through later was tried for long enough.
    fn gave_up(&self, _key: &str, _reason: &str) -> BoxFuture<'static, ()> {
        Box::pin(std::future::ready(()))
    }
}

/// The channels people have made.
pub struct StoredExits {
    pub channels: Arc<Channels>,
    pub sender: Arc<Sender>,
}

impl Exits for StoredExits {
    fn list(&self) -> Vec<Exit> {
        let channels = self.channels.list();
        let exit = |channel: &Arc<crate::alert::channel::Channel>| Exit {
            id: channel.id,
            name: channel.name.clone(),
            enabled: channel.enabled,
            has_key: channel.has_idempotency_key(),
            rate: channel.rate_limit(),
        };
        channels.iter().map(exit).collect()
    }

    fn deliver(&self, channel: ChannelId, message: Message) -> BoxFuture<'static, Result<Receipt, DeliveryFailure>> {
        let (channel, sender) = (self.channels.get(channel), self.sender.clone());
        Box::pin(async move {
            match channel {
                Some(channel) => sender.deliver(&channel, &message).await,
                None => Err(DeliveryFailure { permanent: true, retry_after: None, reason: "the channel was deleted".to_owned() }),
            }
        })
    }
}
