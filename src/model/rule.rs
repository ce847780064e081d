//! Alert rules: who is told of what, when, how often, and when not. Checked and ready to be planned by.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use chrono::Weekday;

use crate::model::alert::CauseKind;
use crate::model::id::{ChannelId, ServiceId};
use crate::model::incident::Severity;
use crate::model::time::Timestamp;

/// Numbered from 1, never given twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RuleId(pub u32);

impl fmt::Display for RuleId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(out)
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    pub id: RuleId,
    pub name: Arc<str>,
    pub enabled: bool,
    pub scope: Scope,
    pub kinds: BTreeSet<CauseKind>,
    /// What is less severe is not told.
    pub least: Severity,
    /// Days before the end of a certificate at which it is told; the most first.
    pub certificate_days: Vec<u32>,
    /// Findings that are smaller are not told.
    pub least_size: Option<f64>,
    /// A cause is told when it has held for so long.
    pub after: Duration,
    pub channels: Vec<ChannelId>,
    /// `None`: told once.
    pub repeat: Option<Duration>,
    pub quiet: Option<Quiet>,
    /// By time; each step once for a cause.
    pub escalations: Vec<Escalation>,
    pub tell_recovered: bool,
    pub tell_acknowledged: bool,
    /// Since when it has been in force: what had ended before is not told.
    pub since: Timestamp,
}

/// Which services a rule is about: those named, those with one of the tags, those of one of the groups. Nothing named: all, and
/// what is about no service at all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scope {
    pub services: Vec<ServiceId>,
    pub tags: Vec<String>,
    pub groups: Vec<String>,
}

impl Scope {
    pub fn is_all(&self) -> bool {
        self.services.is_empty() && self.tags.is_empty() && self.groups.is_empty()
    }
}

/// A stretch of the day in which nobody is told, in the local time of a zone.
#[derive(Clone, Debug, PartialEq)]
pub struct Quiet {
    pub zone: chrono_tz::Tz,
    /// Minutes since midnight; with an end that is not later it goes on over midnight.
    pub from: u32,
    pub until: u32,
    /// The days it begins on.
    pub days: Vec<Weekday>,
    /// What is critical is told all the same.
    pub critical_passes: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Escalation {
    /// Since it was first told.
    pub after: Duration,
    pub channels: Vec<ChannelId>,
}
