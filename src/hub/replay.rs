//! What happened to incidents while nobody looked: the record of each service with an open incident, and of each that is
//! not up, is gone through again on a board of its own.
//!
//! **Invariant.** It only reads. What it finds carries the times of the record, and names that follow from it.

use std::time::Duration;

use crate::aggregate::board::{Board, ServiceState};
use crate::aggregate::incident::{Step, StepKind, closed, step};
use crate::aggregate::verdict::{Verdict, silence};
use crate::model::incident::{Incident, IncidentId};
use crate::model::time::Timestamp;
use crate::store::connection::StoreError;
use crate::store::incidents::Incidents;
use crate::store::query::ResultQuery;
use crate::store::results::Results;

/// Results read at once; of a service without an open incident, all that are gone through.
const PAGE: usize = 500;

/// The steps to what is now. An incident that is open and stays so comes as an update without entries.
pub async fn missed(results: &Results, incidents: &Incidents, board: &Board, now: Timestamp) -> Result<Vec<Step>, StoreError> {
    let mut steps = Vec::new();
    let mut open: Vec<Incident> = incidents.still_open().await?;
    for state in board.summary(now) {
        let mine: Vec<Incident> = open.extract_if(.., |incident| incident.service == state.id).collect();
        let (newest, older) = match mine.split_last() {
            Some((newest, older)) => (Some(newest.clone()), older),
            None => (None, &[][..]),
        };
        // A service has one at most; should there be more, only the newest goes on.
        steps.extend(older.iter().map(|incident| closed(incident, now, "another one opened")));
        let worth_a_look = newest.is_some() || matches!(state.beneath, Verdict::Down | Verdict::Degraded);
        if worth_a_look && state.enabled {
            steps.extend(of_service(results, incidents, board, &state, newest, now).await?);
        } else if let Some(incident) = newest {
            steps.push(closed(&incident, now, "the service was disabled"));
        }
    }
    steps.extend(open.iter().map(|incident| closed(incident, now, "the service was deleted")));
    Ok(steps)
}

async fn of_service(
    results: &Results,
    incidents: &Incidents,
    board: &Board,
    state: &ServiceState,
    before: Option<Incident>,
    now: Timestamp,
) -> Result<Vec<Step>, StoreError> {
    let mut steps: Vec<Step> = before.iter().map(still).collect();
    let mut open = before.clone();
    let Some(blank) = board.blank(state.id) else { return Ok(steps) };
    // With what led up to it, so that each region stands as it did.
    let lead = board.rule(state.id, now).map_or(Duration::ZERO, |rule| silence(rule.gap));
    let mut query = match &before {
        Some(incident) => ResultQuery { since: Some(incident.opened_at.minus(lead)), ..ResultQuery::default() },
        None => ResultQuery { newest_first: true, ..ResultQuery::default() },
    };
    query.service = Some(state.id);
    query.page_size = PAGE;
    let knows = |id: &IncidentId| incidents.contains(id);
    loop {
        let mut page = results.page(&query).await?;
        if query.newest_first {
            page.results.reverse();
        }
        for result in page.results.into_iter().map(|stored| stored.result) {
            for change in blank.fold(std::slice::from_ref(&result), result.started_at).verdicts {
                if before.as_ref().is_some_and(|incident| change.at <= incident.opened_at) {
                    continue;
                }
                if let Some(step) = step(open.as_ref(), &change, knows) {
                    open = (step.kind != StepKind::Closed).then(|| step.incident.clone());
                    steps.push(step);
                }
            }
        }
        match page.next {
            Some(next) if before.is_some() => query.cursor = Some(next),
            _ => break,
        }
    }
    // Where the record leaves a doubt, what the board says holds.
    if let Some(standing) = board.standing(state.id, now) {
        match (&open, standing.to) {
            (Some(incident), Verdict::Up) => steps.push(closed(incident, standing.at, "up again")),
            (None, _) => steps.extend(step(None, &standing, knows)),
            (Some(_), _) => {}
        }
    }
    if before.is_none() {
        // What came and went in the record before is no news: only one that is open now is.
        let last = steps.iter().rposition(|step| step.kind == StepKind::Closed).map_or(0, |closed| closed + 1);
        steps.drain(..last);
    }
    Ok(steps)
}

fn still(incident: &Incident) -> Step {
    Step { kind: StepKind::Updated, incident: incident.clone(), entries: Vec::new(), maintenance: None }
}
