//! Changes of verdict → what opens, what is added to the timeline, what closes. Pure rules.
//!
//! An incident opens when its service goes down, or degraded where the service asks for that, and closes when it is up.
//! Degraded and unknown in between keep it open. It is named by the result that caused it: the same change twice is the
//! same incident.

use std::time::Duration;

use crate::aggregate::board::RegionState;
use crate::aggregate::broke;
use crate::aggregate::change::{RegionChange, VerdictChange};
use crate::aggregate::verdict::{RegionStatus, Verdict};
use crate::model::incident::{EntryKind, Incident, IncidentId, Severity, Sighting, TimelineEntry};
use crate::model::time::{Timestamp, micros};
use crate::model::window::WindowId;
use crate::store::query::ResultId;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StepKind {
    Opened,
    Updated,
    Closed,
}

impl StepKind {
    pub fn name(self) -> &'static str {
        match self {
            StepKind::Opened => "opened",
            StepKind::Updated => "updated",
            StepKind::Closed => "closed",
        }
    }
}

/// One move of one incident: what it is now, and what its timeline gains.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    pub kind: StepKind,
    pub incident: Incident,
    pub entries: Vec<TimelineEntry>,
    /// The window its service is in now: nobody is to be told. Whoever takes the step fills it in.
    pub maintenance: Option<WindowId>,
}

/// What a change of verdict does to a service whose open incident, if any, is `open`. `known` says whether an incident of
/// this name was there before: one that was closed does not open again.
pub fn step(open: Option<&Incident>, change: &VerdictChange, known: impl Fn(&IncidentId) -> bool) -> Option<Step> {
    match (open, change.to) {
        (None, Verdict::Down) => opened(change, Severity::Critical, known),
        (None, Verdict::Degraded) if change.incident_on_degraded => opened(change, Severity::Warning, known),
        (None, _) => None,
        (Some(open), Verdict::Up) => Some(closed(open, change.at, "up again")),
        (Some(open), Verdict::Disabled) => Some(unwatched(open, change.at, "the service was disabled")),
        // Changes tell what results say, which maintenance never is.
        (Some(_), Verdict::Maintenance) => None,
        // Told before: it is what opened it.
        (Some(open), _) if change.at < open.opened_at || change.at == open.opened_at && rank(change.to) <= rank_of(open) => None,
        (Some(open), Verdict::Down) => Some(worse(open, change)),
        (Some(open), Verdict::Degraded) => {
            let line = broke::first_line(&change.regions).map_or_else(String::new, |line| format!(": {line}"));
            Some(updated(open.clone(), change.at, EntryKind::Degraded, format!("degraded{line}")))
        }
        (Some(open), Verdict::Unknown) => Some(updated(open.clone(), change.at, EntryKind::Unknown, unknown(&change.regions))),
    }
}

/// What a region that turned, without the verdict, adds to an open incident.
pub fn region_step(open: &Incident, change: &RegionChange) -> Option<Step> {
    // A check that began before the one which opened the incident may be heard of after it: its region was not counted yet.
    let told = || open.regions.iter().any(|seen| seen.region == change.region && seen.status == change.to.name());
    if change.at < open.opened_at && (change.to != RegionStatus::Down || told()) {
        return None;
    }
    let state = change.regions.iter().find(|state| state.region == change.region)?;
    let text = match change.to {
        RegionStatus::Up => format!("{} is up", change.region),
        RegionStatus::Down => {
            let what = broke::in_region(state).map_or_else(String::new, |what| format!(": {what}"));
            format!("{} is down{what}", change.region)
        }
        RegionStatus::Unknown => format!("{} is unknown", change.region),
    };
    let mut incident = open.clone();
    if change.to == RegionStatus::Down && change.verdict == Verdict::Down {
        tell_where(&mut incident, &change.regions);
    }
    Some(updated(incident, change.at.max(open.opened_at), EntryKind::Region, text))
}

/// Ends an incident at `at`, and says why.
pub fn closed(open: &Incident, at: Timestamp, why: &str) -> Step {
    let at = at.max(open.opened_at);
    let lasted = span(at.since(open.opened_at));
    let incident = Incident { closed_at: Some(at), ..open.clone() };
    let entry = TimelineEntry { at, kind: EntryKind::Closed, text: format!("{why} after {lasted}"), who: None };
    Step { kind: StepKind::Closed, incident, entries: vec![entry], maintenance: None }
}

/// Ends an incident of a service nobody looks at any more.
pub fn unwatched(open: &Incident, at: Timestamp, why: &str) -> Step {
    let step = closed(open, at, why);
    Step { incident: Incident { unwatched: true, ..step.incident }, ..step }
}

fn opened(change: &VerdictChange, severity: Severity, known: impl Fn(&IncidentId) -> bool) -> Option<Step> {
    let cause = change.cause.as_ref()?;
    let id = IncidentId(ResultId::of(cause).to_string().into());
    if known(&id) {
        return None;
    }
    let mut incident = Incident {
        id,
        service: change.service,
        name: change.name.clone(),
        severity,
        opened_at: change.at,
        closed_at: None,
        unwatched: false,
        first_line: format!("{} is {}", change.name, change.to.name()),
        regions: Vec::new(),
    };
    tell_where(&mut incident, &change.regions);
    let entry = TimelineEntry { at: change.at, kind: EntryKind::Opened, text: incident.first_line.clone(), who: None };
    Some(Step { kind: StepKind::Opened, incident, entries: vec![entry], maintenance: None })
}

fn worse(open: &Incident, change: &VerdictChange) -> Step {
    let mut incident = Incident { severity: Severity::Critical, ..open.clone() };
    tell_where(&mut incident, &change.regions);
    let text = format!("down: {}", incident.first_line);
    updated(incident, change.at, EntryKind::Down, text)
}

/// One that goes on, with something new to tell.
pub fn updated(incident: Incident, at: Timestamp, kind: EntryKind, text: String) -> Step {
    Step { kind: StepKind::Updated, incident, entries: vec![TimelineEntry { at, kind, text, who: None }], maintenance: None }
}

fn tell_where(incident: &mut Incident, regions: &[RegionState]) {
    if let Some(line) = broke::first_line(regions) {
        incident.first_line = line;
    }
    incident.regions = regions.iter().map(sighting).collect();
}

fn sighting(state: &RegionState) -> Sighting {
    let latest = &state.latest;
    Sighting {
        region: state.region.clone(),
        status: state.status.name().to_owned(),
        since: state.since,
        result: ResultId::of(latest).to_string(),
        checked_at: latest.started_at,
        status_code: latest.status_code,
        latency_us: micros(latest.latency).max(0) as u64,
        phases: latest.phases,
        address: latest.address.map(|address| address.to_string()),
        failure: latest.failure.clone(),
    }
}

fn unknown(regions: &[RegionState]) -> String {
    let silent: Vec<String> =
        regions.iter().filter_map(|state| state.silence.map(|silence| format!("{} is {}", state.region, silence.reason.name()))).collect();
    match silent.is_empty() {
        true => "unknown: no region was heard for three intervals".to_owned(),
        false => format!("unknown: {}", silent.join(", ")),
    }
}

fn rank(verdict: Verdict) -> u8 {
    if verdict == Verdict::Down { 2 } else { 1 }
}

fn rank_of(incident: &Incident) -> u8 {
    if incident.severity == Severity::Critical { 2 } else { 1 }
}

/// Such as `45 s`, `12 min 5 s`, `3 h 20 min`, `2 d 4 h`.
fn span(span: Duration) -> String {
    let whole = span.as_secs();
    let pair = |large: u64, unit: &str, small: u64, lesser: &str| match small {
        0 => format!("{large} {unit}"),
        _ => format!("{large} {unit} {small} {lesser}"),
    };
    match whole {
        0..60 => format!("{whole} s"),
        60..3600 => pair(whole / 60, "min", whole % 60, "s"),
        3600..86_400 => pair(whole / 3600, "h", whole % 3600 / 60, "min"),
        _ => pair(whole / 86_400, "d", whole % 86_400 / 3600, "h"),
    }
}

#[cfg(test)]
mod tests;
