//! Where causes are read off what is: degraded verdicts, certificates, nodes, findings. Incidents come by themselves.
//!
//! Each is held against the causes that are held already, so looking twice changes nothing, and a start needs no memory but the
//! store's. What no rule asks for is not looked for.

pub mod certificates;
pub mod degraded;
pub mod findings;
pub mod incidents;
pub mod nodes;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::aggregate::board::{Board, RegionState};
use crate::aggregate::broke;
use crate::hub::membership::Membership;
use crate::model::alert::{Cause, CauseKind, RegionLine};
use crate::model::held::Held;
use crate::model::rule::Rule;
use crate::model::time::Timestamp;
use crate::store::connection::StoreError;
use crate::store::findings::Findings;

/// A cause that was seen, or seen to be over.
#[derive(Clone, Debug, PartialEq)]
pub enum Seen {
    Holds { cause: Cause, not_after: Option<Timestamp>, size: Option<f64> },
    Over { key: String, at: Timestamp },
}

impl Seen {
    fn holds(cause: Cause) -> Seen {
        Seen::Holds { cause, not_after: None, size: None }
    }
}

pub type AllHeld = BTreeMap<String, Held>;

/// What is looked at.
#[derive(Clone)]
pub struct Sources {
    pub board: Arc<Board>,
    pub membership: Arc<Membership>,
    pub findings: Arc<Findings>,
    /// Before this nobody is missed who has not come yet.
    pub started_at: Timestamp,
}

impl Sources {
    /// What there is to tell beside what is held. `last` is when this was asked before.
    pub async fn look(&self, held: &AllHeld, rules: &[Arc<Rule>], last: Timestamp, now: Timestamp) -> Result<Vec<Seen>, StoreError> {
        let open: BTreeSet<CauseKind> = held.values().filter(|held| held.holds()).map(|held| held.cause.kind).collect();
        let asked = |kind: CauseKind| open.contains(&kind) || rules.iter().any(|rule| rule.enabled && rule.kinds.contains(&kind));
        let mut seen = Vec::new();
        if asked(CauseKind::Degraded) || asked(CauseKind::Certificate) {
            let states = self.board.summary(now);
            if asked(CauseKind::Degraded) {
                seen.extend(degraded::look(&states, held, now));
            }
            if asked(CauseKind::Certificate) {
                let enabled = rules.iter().filter(|rule| rule.enabled && rule.kinds.contains(&CauseKind::Certificate));
                let days = enabled.flat_map(|rule| rule.certificate_days.iter().copied()).max();
                seen.extend(certificates::look(&states, held, days, now));
            }
        }
        if asked(CauseKind::Node) {
            seen.extend(nodes::look(&self.membership.nodes(), &self.membership.silent(), held, self.started_at, now));
        }
        if asked(CauseKind::Finding) {
            seen.extend(findings::look(&self.findings, held, last).await?);
        }
        Ok(seen)
    }
}

/// Those of a kind that hold.
fn open_of(held: &AllHeld, kind: CauseKind) -> impl Iterator<Item = &Held> {
    held.values().filter(move |held| held.cause.kind == kind && held.holds() && !held.cause.drill)
}

/// How a region sees a service now.
pub fn line_of(state: &RegionState) -> RegionLine {
    let text = broke::in_region(state).unwrap_or_else(|| {
        let status = state.latest.status_code.map(|code| format!("{code} in ")).unwrap_or_default();
        format!("{status}{:.0} ms", state.latest.latency.as_secs_f64() * 1e3)
    });
    RegionLine { region: state.region.to_string(), status: state.status.name().to_owned(), text }
}
