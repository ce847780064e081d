//! A span in which a service was not up: when, how badly, where it broke, and what happened meanwhile.

use std::sync::Arc;

use crate::model::check::{Failure, Phases};
use crate::model::id::{RegionName, ServiceId};
use crate::model::time::Timestamp;

/// The name of the result that caused it, so that the same incident found twice is one. Opaque, safe in a URL.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IncidentId(pub Arc<str>);

impl std::fmt::Display for IncidentId {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(&self.0)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// Degraded, where the service asks for incidents of that.
    Warning,
    /// Down.
    Critical,
}

impl Severity {
    pub const ALL: [Severity; 2] = [Severity::Warning, Severity::Critical];

    pub fn name(self) -> &'static str {
        match self {
            Severity::Warning => "warning",
            Severity::Critical => "critical",
        }
    }

    pub fn from_name(name: &str) -> Option<Severity> {
        Severity::ALL.into_iter().find(|severity| severity.name() == name)
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct Incident {
    pub id: IncidentId,
    pub service: ServiceId,
    /// As the service was called when it opened.
    pub name: Arc<str>,
    /// The worst it came to.
    pub severity: Severity,
    pub opened_at: Timestamp,
    pub closed_at: Option<Timestamp>,
    /// It closed since its service was paused or deleted, not since that was well again.
    pub unwatched: bool,
    /// Where it broke, in one line.
    pub first_line: String,
    /// What each region saw when the verdict last changed for the worse.
    pub regions: Vec<Sighting>,
}

/// What one region saw of a service.
#[derive(Clone, Debug, PartialEq)]
pub struct Sighting {
    pub region: RegionName,
    /// `up`, `down` or `unknown`.
    pub status: String,
    /// Since when it has this status.
    pub since: Timestamp,
    /// The name of the newest result from there.
    pub result: String,
    pub checked_at: Timestamp,
    pub status_code: Option<u16>,
    pub latency_us: u64,
    pub phases: Phases,
    pub address: Option<String>,
    pub failure: Option<Failure>,
}

/// What an entry of a timeline tells of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EntryKind {
    Opened,
    Down,
    Degraded,
    Unknown,
    Region,
    Acknowledged,
    Note,
    /// It opened in a maintenance window, or outlasted one.
    Maintenance,
    Closed,
}

impl EntryKind {
    pub const ALL: [EntryKind; 9] = [
        EntryKind::Opened,
        EntryKind::Down,
        EntryKind::Degraded,
        EntryKind::Unknown,
        EntryKind::Region,
        EntryKind::Acknowledged,
        EntryKind::Note,
        EntryKind::Maintenance,
        EntryKind::Closed,
    ];

    pub fn name(self) -> &'static str {
        match self {
            EntryKind::Opened => "opened",
            EntryKind::Down => "down",
            EntryKind::Degraded => "degraded",
            EntryKind::Unknown => "unknown",
            EntryKind::Region => "region",
            EntryKind::Acknowledged => "acknowledged",
            EntryKind::Note => "note",
            EntryKind::Maintenance => "maintenance",
            EntryKind::Closed => "closed",
        }
    }

    pub fn from_name(name: &str) -> Option<EntryKind> {
        EntryKind::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

/// Something that happened during an incident.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimelineEntry {
    pub at: Timestamp,
    pub kind: EntryKind,
    pub text: String,
    /// The user who did it; `None`: the program.
    pub who: Option<String>,
}
