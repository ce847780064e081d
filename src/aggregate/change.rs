//! What changed when results were folded in, or a region fell silent: for those who act on it.

use std::sync::Arc;

use crate::aggregate::board::RegionState;
use crate::aggregate::verdict::{RegionStatus, Verdict};
use crate::model::check::{CheckResult, Failure};
use crate::model::id::{RegionName, ServiceId};
use crate::model::time::Timestamp;

/// Why a region has no vote, whatever was last heard from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Silence {
    pub reason: SilenceReason,
    pub since: Timestamp,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SilenceReason {
    /// No node of the region is in touch.
    Lost,
    /// Its nodes cannot reach their own witnesses either.
    Blind,
}

impl SilenceReason {
    pub fn name(self) -> &'static str {
        match self {
            SilenceReason::Lost => "lost",
            SilenceReason::Blind => "blind",
        }
    }
}

/// Everything one folding changed, in the order it changed.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Folded {
    pub verdicts: Vec<VerdictChange>,
    /// Changes of a region that left the verdict as it was.
    pub regions: Vec<RegionChange>,
    pub first_failures: Vec<FirstFailure>,
}

impl Folded {
    pub fn is_empty(&self) -> bool {
        self.verdicts.is_empty() && self.regions.is_empty() && self.first_failures.is_empty()
    }
}

/// A change of verdict.
#[derive(Clone, Debug, PartialEq)]
pub struct VerdictChange {
    pub service: ServiceId,
    pub name: Arc<str>,
    pub from: Verdict,
    pub to: Verdict,
    pub at: Timestamp,
    /// What the result that turned it says of its failure.
    pub failure: Option<Failure>,
    /// The result that turned it; where none did, the newest of those that speak for the new verdict.
    pub cause: Option<Arc<CheckResult>>,
    /// How each region stands after it.
    pub regions: Vec<RegionState>,
    /// Whether the service wants an incident for being degraded, too.
    pub incident_on_degraded: bool,
}

/// A region turned, and the verdict stayed.
#[derive(Clone, Debug, PartialEq)]
pub struct RegionChange {
    pub service: ServiceId,
    pub region: RegionName,
    pub to: RegionStatus,
    pub at: Timestamp,
    pub verdict: Verdict,
    pub regions: Vec<RegionState>,
}

/// A service that no region saw failing fails in one: the others had better look at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FirstFailure {
    pub service: ServiceId,
    pub region: RegionName,
}
