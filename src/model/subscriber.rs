//! People and programs who asked to be told what the public status page tells, and the news they are told.
//!
//! **Invariant.** News hold what the public may know and nothing else: no address, no message of a check, no note, no person.

use std::collections::BTreeSet;
use std::fmt;

use crate::model::check::Reason;
use crate::model::id::ServiceId;
use crate::model::incident::{IncidentId, Severity};
use crate::model::time::Timestamp;
use crate::model::window::WindowId;

/// Numbered by the hub from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SubscriberId(pub u32);

impl fmt::Display for SubscriberId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(out)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SubscriberKind {
    Mail,
    Webhook,
}

impl SubscriberKind {
    pub const ALL: [SubscriberKind; 2] = [SubscriberKind::Mail, SubscriberKind::Webhook];

    pub fn name(self) -> &'static str {
        match self {
            SubscriberKind::Mail => "email",
            SubscriberKind::Webhook => "webhook",
        }
    }

    pub fn from_name(name: &str) -> Option<SubscriberKind> {
        SubscriberKind::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SubscriberState {
    /// Asked for, and not confirmed yet.
    Pending,
    Active,
    /// Told nothing more, because what was sent was refused for good again and again.
    Suspended,
}

impl SubscriberState {
    pub const ALL: [SubscriberState; 3] = [SubscriberState::Pending, SubscriberState::Active, SubscriberState::Suspended];

    pub fn name(self) -> &'static str {
        match self {
            SubscriberState::Pending => "pending",
            SubscriberState::Active => "active",
            SubscriberState::Suspended => "suspended",
        }
    }

    pub fn from_name(name: &str) -> Option<SubscriberState> {
        SubscriberState::ALL.into_iter().find(|state| state.name() == name)
    }
}

/// Its address is personal data: it is in no log, and in the store only sealed. So it has no `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct Subscriber {
    pub id: SubscriberId,
    pub kind: SubscriberKind,
    /// A mail address, or a URL.
    pub reach: String,
    /// What is sent to a webhook is signed with it.
    pub secret: Option<String>,
    pub choice: Choice,
    pub created_at: Timestamp,
    pub confirmed_at: Option<Timestamp>,
    pub suspended_at: Option<Timestamp>,
    /// Messages in a row that were refused for good, or given up.
    pub failures: u32,
    /// Why the last of them was, without the address.
    pub last_error: Option<String>,
    /// What was asked for and waits to be confirmed.
    pub pending: Option<Pending>,
    /// The SHA-256 of what ends the subscription.
    pub leave_print: String,
}

/// What someone wants to be told, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    /// `None`: all that are public, also those to come.
    pub services: Option<BTreeSet<ServiceId>>,
    /// The name of a language of the pages.
    pub lang: String,
}

impl Choice {
    pub fn wants(&self, service: ServiceId) -> bool {
        self.services.as_ref().is_none_or(|services| services.contains(&service))
    }
}

/// A request that waits to be confirmed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pending {
    pub choice: Choice,
    /// When the message that asks for it was last made, and how many were.
    pub asked_at: Timestamp,
    pub asked: u32,
    /// The SHA-256 of what confirms it.
    pub print: String,
}

impl Subscriber {
    pub fn state(&self) -> SubscriberState {
        match (self.confirmed_at, self.suspended_at) {
            (None, _) => SubscriberState::Pending,
            (Some(_), Some(_)) => SubscriberState::Suspended,
            (Some(_), None) => SubscriberState::Active,
        }
    }
}

impl fmt::Debug for Subscriber {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "subscriber {} ({}, {})", self.id, self.kind.name(), self.state().name())
    }
}

/// One telling of how something public stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct News {
    /// What it is about: all that is told of one outage, or of one time of a window, goes under one name.
    pub subject: String,
    /// Of its subject, from 0.
    pub number: u32,
    /// When it was made.
    pub at: Timestamp,
    pub matter: Matter,
    /// Whether a message for every subscriber is in the store.
    pub passed_on: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Matter {
    /// Services that failed at the same time, as they stand.
    Outage(Vec<Hurt>),
    Maintenance(WindowTime),
}

/// A service in an outage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hurt {
    pub service: ServiceId,
    pub name: String,
    pub incident: IncidentId,
    pub severity: Severity,
    pub reasons: Vec<Reason>,
    pub opened_at: Timestamp,
    pub worked_on_at: Option<Timestamp>,
    pub closed_at: Option<Timestamp>,
    /// How often it had failed within the hour before.
    pub before: u32,
    /// Whether this is what is new.
    pub fresh: bool,
}

/// One time of a maintenance window.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WindowTime {
    pub window: WindowId,
    pub title: String,
    pub from: Timestamp,
    pub until: Timestamp,
    pub step: WindowStep,
    pub services: Vec<(ServiceId, String)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum WindowStep {
    Announced,
    Begun,
    /// Its end was moved.
    Changed,
    Ended,
    /// Taken back before it began.
    Cancelled,
}

impl WindowStep {
    pub const ALL: [WindowStep; 5] =
        [WindowStep::Announced, WindowStep::Begun, WindowStep::Changed, WindowStep::Ended, WindowStep::Cancelled];

    pub fn name(self) -> &'static str {
        match self {
            WindowStep::Announced => "announced",
            WindowStep::Begun => "begun",
            WindowStep::Changed => "changed",
            WindowStep::Ended => "ended",
            WindowStep::Cancelled => "cancelled",
        }
    }

    pub fn from_name(name: &str) -> Option<WindowStep> {
        WindowStep::ALL.into_iter().find(|step| step.name() == name)
    }
}

impl News {
    /// Safe in a URL and in a header.
    pub fn id(&self) -> String {
        format!("{}.{}", self.subject, self.number)
    }

    /// Whether there is nothing more to tell of its subject.
    pub fn is_last(&self) -> bool {
        match &self.matter {
            Matter::Outage(hurts) => hurts.iter().all(|hurt| hurt.closed_at.is_some()),
            Matter::Maintenance(time) => matches!(time.step, WindowStep::Ended | WindowStep::Cancelled),
        }
    }

    /// The same with what one subscriber asked for alone; `None`: nothing in it is new to them.
    pub fn for_one(&self, choice: &Choice) -> Option<News> {
        let matter = match &self.matter {
            Matter::Outage(hurts) => {
                let mine: Vec<Hurt> = hurts.iter().filter(|hurt| choice.wants(hurt.service)).cloned().collect();
                mine.iter().any(|hurt| hurt.fresh).then_some(Matter::Outage(mine))
            }
            Matter::Maintenance(time) => {
                let mut services = time.services.clone();
                services.retain(|(service, _)| choice.wants(*service));
                (!services.is_empty()).then(|| Matter::Maintenance(WindowTime { services, ..time.clone() }))
            }
        };
        matter.map(|matter| News { matter, ..self.clone() })
    }
}
