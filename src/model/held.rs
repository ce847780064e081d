//! A cause as it is kept: how it stands, and what each rule has told of it; and a delivery, one telling on its way to one channel.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::model::alert::{Cause, Message};
use crate::model::id::{ChannelId, ServiceId};
use crate::model::incident::Severity;
use crate::model::rule::RuleId;
use crate::model::time::Timestamp;

#[derive(Clone, Debug, PartialEq)]
pub struct Held {
    pub cause: Cause,
    /// When it was first heard of here.
    pub heard_at: Timestamp,
    /// Of a certificate: when it ends.
    pub not_after: Option<Timestamp>,
    /// Of a finding: how large it is.
    pub size: Option<f64>,
    pub acknowledged: Option<Acknowledged>,
    pub cleared_at: Option<Timestamp>,
    /// It was cleared since nobody looks any more, not since it is well.
    pub unwatched: bool,
    /// The cause it follows from; what follows is not told alone.
    pub consequence_of: Option<String>,
    /// When what it followed from was over and it was not.
    pub released_at: Option<Timestamp>,
    /// The services that failed because of it so far.
    pub consequences: BTreeSet<ServiceId>,
    pub progress: BTreeMap<RuleId, Progress>,
}

impl Held {
    pub fn new(cause: Cause, heard_at: Timestamp) -> Held {
        Held {
            cause,
            heard_at,
            not_after: None,
            size: None,
            acknowledged: None,
            cleared_at: None,
            unwatched: false,
            consequence_of: None,
            released_at: None,
            consequences: BTreeSet::new(),
            progress: BTreeMap::new(),
        }
    }

    pub fn holds(&self) -> bool {
        self.cleared_at.is_none()
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acknowledged {
    pub by: String,
    pub note: String,
    pub at: Timestamp,
}

/// What one rule has told of one cause.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    pub raised_at: Option<Timestamp>,
    pub last_told: Option<Timestamp>,
    /// The worst that was told.
    pub severity: Option<Severity>,
    pub repeats: u32,
    /// Steps of escalation taken.
    pub steps: u32,
    pub acknowledged: bool,
    pub recovered: bool,
    /// The lowest number of days told of a certificate.
    pub days: Option<u32>,
    /// Who has been told, and is to be told of the end.
    pub channels: BTreeSet<ChannelId>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DeliveryState {
    Pending,
    /// An attempt is under way, or was when the process died.
    Sending,
    /// The last attempt failed; there is a time for the next.
    Waiting,
    Delivered,
    /// Given up: a person may send it again.
    Dead,
    /// Not sent: a later telling of the same cause says all that it would have said.
    Folded,
}

impl DeliveryState {
    pub const ALL: [DeliveryState; 6] = [
        DeliveryState::Pending,
        DeliveryState::Sending,
        DeliveryState::Waiting,
        DeliveryState::Delivered,
        DeliveryState::Dead,
        DeliveryState::Folded,
    ];

    pub fn name(self) -> &'static str {
        match self {
            DeliveryState::Pending => "pending",
            DeliveryState::Sending => "sending",
            DeliveryState::Waiting => "waiting",
            DeliveryState::Delivered => "delivered",
            DeliveryState::Dead => "dead",
            DeliveryState::Folded => "folded",
        }
    }

    pub fn from_name(name: &str) -> Option<DeliveryState> {
        DeliveryState::ALL.into_iter().find(|state| state.name() == name)
    }

    /// Whether something is still to be done about it.
    pub fn is_open(self) -> bool {
        matches!(self, DeliveryState::Pending | DeliveryState::Sending | DeliveryState::Waiting)
    }
}

/// One telling to one channel.
#[derive(Clone, Debug, PartialEq)]
pub struct Delivery {
    /// Follows from rule, cause, telling and channel, so that it is made once; it is the key of its message.
    pub id: Arc<str>,
    /// Rises with each that is planned: the order within a channel.
    pub seq: i64,
    pub rule: RuleId,
    pub service: Option<ServiceId>,
    pub channel: ChannelId,
    /// As the channel was called then.
    pub channel_name: String,
    pub state: DeliveryState,
    pub attempts: u32,
    pub planned_at: Timestamp,
    pub next_at: Option<Timestamp>,
    pub first_attempt_at: Option<Timestamp>,
    pub last_attempt_at: Option<Timestamp>,
    /// When it was delivered, given up or folded.
    pub done_at: Option<Timestamp>,
    /// Why the last attempt failed, or why it was not sent.
    pub error: Option<String>,
    /// What the far side said when it took it.
    pub answer: Option<String>,
    /// How often it was sent again without knowing whether the attempt before had got through, to a channel that cannot tell.
    pub possible_duplicates: u32,
    pub message: Message,
}

impl Delivery {
    /// One that no attempt was made for, about no service and asked for by no rule.
    pub fn planned(seq: i64, channel: ChannelId, channel_name: String, now: Timestamp, message: Message) -> Delivery {
        Delivery {
            id: message.key.as_str().into(),
            seq,
            rule: RuleId(0),
            service: None,
            channel,
            channel_name,
            state: DeliveryState::Pending,
            attempts: 0,
            planned_at: now,
            next_at: None,
            first_attempt_at: None,
            last_attempt_at: None,
            done_at: None,
            error: None,
            answer: None,
            possible_duplicates: 0,
            message,
        }
    }
}
