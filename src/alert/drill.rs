//! A drill: a failure that is made up, put through the real verdict, and told like a real one.
//!
//! The checks are made up; what they come to is decided by the same code that decides it for real ones, over what each region
//! really said last. Nothing of it is stored as a result or an incident: it counts in no uptime.

use std::time::Duration;

use crate::aggregate::board::Board;
use crate::aggregate::incident::step;
use crate::aggregate::verdict::Verdict;
use crate::alert::sources::incidents::cause_of;
use crate::alert::sources::line_of;
use crate::model::alert::{Cause, CauseKind};
use crate::model::check::{CheckResult, Failure, Phase, Reason};
use crate::model::id::{RegionName, ServiceId};
use crate::model::incident::Severity;
use crate::model::time::Timestamp;

#[derive(Clone, Debug, PartialEq)]
pub struct Drill {
    pub cause: Cause,
    /// What the service's verdict would be.
    pub verdict: Verdict,
    /// The regions the checks were made up for.
    pub regions: Vec<RegionName>,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("the service is not watched")]
    Unwatched,
    #[error("the service is switched off")]
    Disabled,
    #[error("no region has checked the service yet")]
    Unheard,
    #[error("region {0} has not checked the service; known: {1}")]
    NoRegion(String, String),
    #[error("failing checks in {0} leave the service {1}: nobody is told of that")]
    Harmless(String, &'static str),
}

/// Makes checks fail in one region, or in all that check the service, on a copy of the board.
pub fn rehearse(board: &Board, service: ServiceId, region: Option<&str>, now: Timestamp) -> Result<Drill, Refusal> {
    let state = board.service(service, now).ok_or(Refusal::Unwatched)?;
    if !state.enabled {
        return Err(Refusal::Disabled);
    }
    let blank = board.blank(service).ok_or(Refusal::Unwatched)?;
    let heard: Vec<&str> = state.regions.iter().map(|state| &*state.region.0).collect();
    if heard.is_empty() {
        return Err(Refusal::Unheard);
    }
    if let Some(region) = region.filter(|region| !heard.contains(region)) {
        return Err(Refusal::NoRegion(region.to_owned(), heard.join(", ")));
    }
    let latest = || state.regions.iter().map(|state| &*state.latest);
    let before = now.minus(Duration::from_secs(1));
    for real in latest() {
        blank.fold(&[CheckResult { started_at: before, failure: None, ..real.clone() }], before);
    }
    let (mut change, mut failing) = (None, Vec::new());
    for real in latest().filter(|real| region.is_none_or(|region| *real.region.0 == *region)) {
        failing.push(real.region.clone());
        for round in 1..=u64::from(board.memory(service).max(1)) {
            let folded = blank.fold(&[failed(real, round, now)], now);
            change = folded.verdicts.into_iter().next_back().or(change);
        }
    }
    let names = failing.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let change = change.ok_or_else(|| Refusal::Harmless(names.clone(), Verdict::Up.name()))?;
    let now_stands = blank.service(service, now).ok_or(Refusal::Unwatched)?;
    let cause = match (step(None, &change, |_| false), now_stands.verdict) {
        (Some(step), _) => cause_of(&step.incident),
        (None, Verdict::Degraded) => degraded(service, now),
        (None, verdict) => return Err(Refusal::Harmless(names, verdict.name())),
    };
    let headline = crate::aggregate::broke::first_line(&now_stands.regions).unwrap_or(cause.headline);
    let cause = Cause {
        key: format!("drill-{service}-{}", now.0),
        drill: true,
        since: now,
        headline,
        regions: now_stands.regions.iter().map(line_of).collect(),
        next_step: Some("nothing is wrong: someone tries whether alerts arrive".to_owned()),
        path: Some(format!("/services/{service}")),
        ..cause
    };
    Ok(Drill { cause, verdict: now_stands.verdict, regions: failing })
}

fn failed(real: &CheckResult, round: u64, now: Timestamp) -> CheckResult {
    let mut made_up = real.clone();
    made_up.id.seq = real.id.seq.saturating_add(round);
    made_up.started_at = now;
    made_up.scheduled_at = now;
    made_up.status_code = None;
    made_up.failure = Some(Failure { reason: Reason::Connect, phase: Phase::Connect, message: "made up for a drill".to_owned() });
    made_up
}

fn degraded(service: ServiceId, now: Timestamp) -> Cause {
    Cause {
        key: String::new(),
        kind: CauseKind::Degraded,
        severity: Severity::Warning,
        drill: true,
        service: Some(service),
        region: None,
        node: None,
        headline: "degraded".to_owned(),
        since: now,
        regions: Vec::new(),
        last_good: None,
        next_step: None,
        path: None,
    }
}
