//! How deliveries to subscribers are called, and the lanes they go by. Pure.
//!
//! Channels are numbered from 1 by a counter that never gets near these numbers.

use crate::model::id::ChannelId;
use crate::model::subscriber::{Subscriber, SubscriberId, SubscriberKind};

/// Mails go by so many lanes at once, each a connection to the mail server.
const MAIL_LANES: u32 = 4;
const FIRST_MAIL: u32 = 0xf000_0000;
/// Each webhook has a lane of its own.
const FIRST_WEBHOOK: u32 = 0x8000_0000;
const PREFIX: &str = "status-";
const CONFIRM: &str = "confirm.";

/// What a lane is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lane {
    Mails,
    Webhook(SubscriberId),
}

/// What a delivery carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Carried<'a> {
    /// The request to confirm.
    Confirm,
    /// News, by name.
    News(&'a str),
}

pub fn channel_of(subscriber: &Subscriber) -> ChannelId {
    let id = subscriber.id.0;
    ChannelId(match subscriber.kind {
        SubscriberKind::Mail => FIRST_MAIL + id % MAIL_LANES,
        // Fewer are ever made than there are numbers between the two.
        SubscriberKind::Webhook => FIRST_WEBHOOK + id % (FIRST_MAIL - FIRST_WEBHOOK),
    })
}

/// `None`: it is one of the channels people have made.
pub fn lane_of(channel: ChannelId) -> Option<Lane> {
    match channel.0 {
        FIRST_MAIL.. => Some(Lane::Mails),
        FIRST_WEBHOOK.. => Some(Lane::Webhook(SubscriberId(channel.0 - FIRST_WEBHOOK))),
        _ => None,
    }
}

/// Whether a delivery goes to a subscriber.
pub fn is_public(channel: ChannelId) -> bool {
    lane_of(channel).is_some()
}

/// What is told to one subscriber about one subject belongs together.
pub fn cause_of(id: SubscriberId, subject: &str) -> String {
    format!("{PREFIX}{id}-{subject}")
}

pub fn news_key(id: SubscriberId, news: &str) -> String {
    format!("{PREFIX}{id}-{news}")
}

/// `at`: what tells one request from the next.
pub fn confirm_key(id: SubscriberId, at: i64) -> String {
    format!("{PREFIX}{id}-{CONFIRM}{at}")
}

/// Whom a delivery is for, and what it carries.
pub fn carried(key: &str) -> Option<(SubscriberId, Carried<'_>)> {
    let (id, rest) = key.strip_prefix(PREFIX)?.split_once('-')?;
    let id = SubscriberId(id.parse().ok()?);
    let carried = if rest.starts_with(CONFIRM) { Carried::Confirm } else { Carried::News(rest) };
    Some((id, carried))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_says_whom_it_is_for_and_what_it_carries() {
        let id = SubscriberId(17);
        assert_eq!(carried(&news_key(id, "outage-local-1-2.0")), Some((id, Carried::News("outage-local-1-2.0"))));
        assert_eq!(carried(&confirm_key(id, 5)), Some((id, Carried::Confirm)));
        for other in ["incident-1", "status-x-1", "status-17", "word-c3-x"] {
            assert_eq!(carried(other), None, "{other}");
        }
    }

    #[test]
    fn no_channel_people_have_made_is_taken_for_a_lane_of_subscribers() {
        for number in [1, 4_711, FIRST_WEBHOOK - 1] {
            assert_eq!(lane_of(ChannelId(number)), None, "{number}");
        }
        assert_eq!(lane_of(ChannelId(FIRST_WEBHOOK + 3)), Some(Lane::Webhook(SubscriberId(3))));
        assert_eq!(lane_of(ChannelId(FIRST_MAIL + 3)), Some(Lane::Mails));
    }
}
