//! Services that are degraded without an incident. Pure.

use crate::aggregate::board::ServiceState;
use crate::aggregate::broke;
use crate::aggregate::verdict::Verdict;
use crate::alert::sources::{AllHeld, Seen, open_of};
use crate::model::alert::{Cause, CauseKind};
use crate::model::incident::Severity;
use crate::model::time::Timestamp;

pub fn look(states: &[ServiceState], held: &AllHeld, now: Timestamp) -> Vec<Seen> {
    let mut seen = Vec::new();
    for state in states {
        let incident = open_of(held, CauseKind::Incident).any(|held| held.cause.service == Some(state.id));
        let mine = open_of(held, CauseKind::Degraded).find(|held| held.cause.service == Some(state.id));
        match (state.verdict, mine) {
            (Verdict::Degraded, None) if !incident => seen.push(Seen::holds(cause(state, now))),
            (Verdict::Degraded, Some(mine)) if !incident => {
                let found = cause(state, mine.cause.since);
                if found.headline != mine.cause.headline {
                    seen.push(Seen::holds(Cause { key: mine.cause.key.clone(), ..found }));
                }
            }
            (Verdict::Up | Verdict::Down | Verdict::Disabled | Verdict::Degraded, Some(mine)) => {
                seen.push(Seen::Over { key: mine.cause.key.clone(), at: now });
            }
            // What is unknown is neither better nor worse.
            _ => {}
        }
    }
    let gone = open_of(held, CauseKind::Degraded).filter(|held| !states.iter().any(|state| Some(state.id) == held.cause.service));
    seen.extend(gone.map(|held| Seen::Over { key: held.cause.key.clone(), at: now }));
    seen
}

fn cause(state: &ServiceState, since: Timestamp) -> Cause {
    Cause {
        key: format!("degraded-{}-{}", state.id, since.0),
        kind: CauseKind::Degraded,
        severity: Severity::Warning,
        drill: false,
        service: Some(state.id),
        region: None,
        node: None,
        headline: broke::first_line(&state.regions).unwrap_or_else(|| "degraded".to_owned()),
        since,
        regions: state.regions.iter().map(super::line_of).collect(),
        last_good: None,
        next_step: Some("compare the regions: what only some of them see lies between them and the service".to_owned()),
        path: Some(format!("/services/{}", state.id)),
    }
}
