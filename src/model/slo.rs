//! Objectives: what is promised of a service, over which time, and when its error budget burns too fast.

use std::fmt;
use std::time::Duration;

use crate::model::id::ServiceId;
use crate::model::incident::Severity;
use crate::model::time::Timestamp;

/// Numbered by the hub from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SloId(pub u32);

impl fmt::Display for SloId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(out)
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct Slo {
    pub id: SloId,
    /// Rises with each change.
    pub revision: u64,
    pub promise: Promise,
    pub created_by: String,
    pub created_at: Timestamp,
    pub updated_by: String,
    pub updated_at: Timestamp,
}

/// What a person says of an objective.
#[derive(Clone, Debug, PartialEq)]
pub struct Promise {
    pub name: String,
    pub service: ServiceId,
    pub aim: Aim,
    /// Per cent that must be good: of known time, or of checks.
    pub objective: f64,
    /// `None`: all.
    pub regions: Option<Vec<String>>,
    pub period: Period,
    /// Known time over all time, 0 to 1: with less nothing is said.
    pub least_coverage: f64,
    /// The fastest first.
    pub burn: Vec<BurnPair>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Aim {
    /// Of the known time, that in which it was up.
    Availability,
    /// Of the checks, those that passed within this.
    Latency(Duration),
}

/// The time a promise is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Period {
    /// So many days until now.
    Rolling(u32),
    Calendar {
        unit: CalendarUnit,
        zone: chrono_tz::Tz,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CalendarUnit {
    /// From Monday on.
    Week,
    Month,
    Quarter,
}

impl CalendarUnit {
    pub const ALL: [CalendarUnit; 3] = [CalendarUnit::Week, CalendarUnit::Month, CalendarUnit::Quarter];

    pub fn name(self) -> &'static str {
        match self {
            CalendarUnit::Week => "week",
            CalendarUnit::Month => "month",
            CalendarUnit::Quarter => "quarter",
        }
    }

    pub fn from_name(name: &str) -> Option<CalendarUnit> {
        CalendarUnit::ALL.into_iter().find(|unit| unit.name() == name)
    }
}

/// The budget burns too fast when it does so over both: over the long one it is worth a word, over the short one it goes on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BurnPair {
    /// Times as fast as would spend the budget just by the end of the period.
    pub factor: f64,
    pub long: Duration,
    pub short: Duration,
    pub severity: Severity,
}

/// The pairs of the Google SRE workbook, chapter 5: two per cent of a month's budget in an hour and five in six hours want
/// someone now, ten in three days want a ticket.
pub const USUAL_PAIRS: [BurnPair; 3] = [
    BurnPair { factor: 14.4, long: Duration::from_secs(3600), short: Duration::from_secs(300), severity: Severity::Critical },
    BurnPair { factor: 6.0, long: Duration::from_secs(6 * 3600), short: Duration::from_secs(1800), severity: Severity::Warning },
    BurnPair { factor: 1.0, long: Duration::from_secs(72 * 3600), short: Duration::from_secs(6 * 3600), severity: Severity::Warning },
];

impl Promise {
    /// The share that may be bad.
    pub fn allowed(&self) -> f64 {
        (100.0 - self.objective) / 100.0
    }
}
