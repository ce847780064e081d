//! What people are told: a message about a cause, and what became of sending it.
//!
//! A message is complete in itself: a channel that sends it asks nobody for more. The same cause has the same
//! [`Message::cause`] in all that is told of it, and each telling its own [`Message::key`], the same for every attempt.

use std::time::Duration;

use crate::model::id::{ChannelId, NodeName, RegionName, ServiceId};
use crate::model::incident::Severity;
use crate::model::time::Timestamp;

/// The kinds of causes a rule can ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CauseKind {
    /// An incident: a service is down, or degraded where the service asks for incidents of that.
    Incident,
    /// A service is degraded without an incident.
    Degraded,
    Finding,
    /// A certificate of a service ends soon.
    Certificate,
    /// The error budget of an objective is spent too fast.
    Burn,
    /// A node is lost or blind, or a region has none left.
    Node,
    /// The monitor itself or one of its declared dependencies.
    System,
}

impl CauseKind {
    pub const ALL: [CauseKind; 7] = [
        CauseKind::Incident,
        CauseKind::Degraded,
        CauseKind::Finding,
        CauseKind::Certificate,
        CauseKind::Burn,
        CauseKind::Node,
        CauseKind::System,
    ];

    pub fn name(self) -> &'static str {
        match self {
            CauseKind::Incident => "incident",
            CauseKind::Degraded => "degraded",
            CauseKind::Finding => "finding",
            CauseKind::Certificate => "certificate",
            CauseKind::Burn => "burn",
            CauseKind::Node => "node",
            CauseKind::System => "system",
        }
    }

    pub fn from_name(name: &str) -> Option<CauseKind> {
        CauseKind::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

/// Something that holds and may be told of. Whoever sees it raises it again after a restart; its key makes it one.
#[derive(Clone, Debug, PartialEq)]
pub struct Cause {
    /// Safe in a URL, and never used again for another: `incident-…`, `node-eu-1-1732270000123`.
    pub key: String,
    pub kind: CauseKind,
    pub severity: Severity,
    pub drill: bool,
    pub service: Option<ServiceId>,
    pub region: Option<RegionName>,
    pub node: Option<NodeName>,
    /// What broke and where, in one line.
    pub headline: String,
    pub since: Timestamp,
    pub regions: Vec<RegionLine>,
    pub last_good: Option<Timestamp>,
    pub next_step: Option<String>,
    /// Where the dashboard shows it, from the root: `/incidents/…`.
    pub path: Option<String>,
}

/// What a source of causes tells.
#[derive(Clone, Debug, PartialEq)]
pub enum CauseMove {
    /// It holds; raised again with another headline or severity it is the same cause, worse or better known.
    Raised(Cause),
    Acknowledged {
        key: String,
        by: String,
        note: String,
        at: Timestamp,
    },
    Cleared {
        key: String,
        at: Timestamp,
    },
    /// Nobody looks any more whether it holds: its service was paused or deleted.
    Unwatched {
        key: String,
        at: Timestamp,
    },
    Word(Word),
}

/// Something for one person alone: no cause, and no rule asks for it.
#[derive(Clone, Debug, PartialEq)]
pub struct Word {
    /// Names it; said again under the same name it is not told again. Safe in a URL.
    pub key: String,
    pub channel: ChannelId,
    /// One line.
    pub headline: String,
    /// Where the dashboard shows it, from the root.
    pub path: String,
    pub at: Timestamp,
}

/// Why this is told now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Telling {
    /// The cause is new.
    Raised,
    /// It still holds.
    Repeated,
    /// It still holds and nobody has acknowledged it: the next people are told.
    Escalated,
    Acknowledged,
    /// It is over.
    Recovered,
    /// It is for one person alone, and asks for nothing.
    Word,
    /// A person tries the channel.
    Test,
}

impl Telling {
    pub const ALL: [Telling; 7] =
        [Telling::Raised, Telling::Repeated, Telling::Escalated, Telling::Acknowledged, Telling::Recovered, Telling::Word, Telling::Test];

    pub fn name(self) -> &'static str {
        match self {
            Telling::Raised => "raised",
            Telling::Repeated => "repeated",
            Telling::Escalated => "escalated",
            Telling::Acknowledged => "acknowledged",
            Telling::Recovered => "recovered",
            Telling::Word => "word",
            Telling::Test => "test",
        }
    }

    pub fn from_name(name: &str) -> Option<Telling> {
        Telling::ALL.into_iter().find(|telling| telling.name() == name)
    }
}

/// What one region saw, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegionLine {
    pub region: String,
    /// `up`, `down` or `unknown`.
    pub status: String,
    /// The phase and what happened in it: `TLS: certificate has expired (203.0.113.7)`.
    pub text: String,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    /// Names this telling: a receiver that sees it twice may drop the second. Safe in a header.
    pub key: String,
    /// Names the cause: what is raised, repeated, acknowledged and recovered under one name belongs together.
    pub cause: String,
    pub telling: Telling,
    pub severity: Severity,
    /// Made by a person to try the path; every form of the message says so first.
    pub drill: bool,
    /// The service's name, where it is about one.
    pub service: Option<String>,
    /// What broke and where, in one line, without the words `DRILL` and `recovered`, which the forms add.
    pub headline: String,
    pub since: Timestamp,
    /// `None` though it is told to be over: nobody looks any more.
    pub recovered_at: Option<Timestamp>,
    pub regions: Vec<RegionLine>,
    /// When it was last seen to be good.
    pub last_good: Option<Timestamp>,
    /// Services that fail because of it, by name; not told of alone.
    pub consequences: Vec<String>,
    /// Where to look, when the monitor knows its own address.
    pub link: Option<String>,
    pub next_step: Option<String>,
    /// Who acknowledged it, and what they said.
    pub acknowledged_by: Option<String>,
    /// The rule that asks for it.
    pub rule: String,
}

/// What the far side said when it took a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// Its own words, without secrets, cut to some hundred characters.
    pub answer: String,
}

/// Why a message did not get through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeliveryFailure {
    /// Sending the same again cannot help: a wrong address, a refused token, a template that does not render.
    pub permanent: bool,
    /// How long the far side asks us to wait.
    pub retry_after: Option<Duration>,
    /// The far side's words or the system's, without secrets, cut to some hundred characters.
    pub reason: String,
}
