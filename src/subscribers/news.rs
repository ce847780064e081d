//! What there is to tell the public, of how things stand and what was told before. Pure.
//!
//! Services that fail together are one outage, told as one; that some of them are well again is told together, too, unless all are.
//! A service that fails again and again is told of [`MOST_AN_HOUR`] times within an hour; then only of a failure that lasts.
//!
//! **Invariant.** Asked again with the same, it says the same, so what could not be written is found again.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use crate::model::check::Reason;
use crate::model::id::ServiceId;
use crate::model::incident::{IncidentId, Severity};
use crate::model::subscriber::{Hurt, Matter, News, WindowStep, WindowTime};
use crate::model::time::Timestamp;
use crate::model::window::WindowId;

/// What is older is no news: nobody was there to tell it.
const LATE: Duration = Duration::from_secs(86_400);
pub const MOST_AN_HOUR: usize = 3;
const HOUR: Duration = Duration::from_secs(3_600);
/// A failure of a service that was told of too often is told when it has lasted so long.
const STEADY: Duration = Duration::from_secs(600);
/// A window that recurs is announced so long before each time; another as soon as it is there.
const RECURRING_AHEAD: Duration = Duration::from_secs(86_400);

/// How things stand.
pub struct Present<'a> {
    pub now: Timestamp,
    /// What an incident is called where anyone may read it.
    pub name: &'a dyn Fn(&IncidentId) -> String,
    /// The services anyone may know of, with their names.
    pub public: &'a BTreeMap<ServiceId, String>,
    pub open: Vec<OpenIncident>,
    /// When incidents that are over closed; one that is neither here nor open is no more.
    pub closed: BTreeMap<IncidentId, Timestamp>,
    /// Services in maintenance.
    pub covered: BTreeSet<ServiceId>,
    /// Times of windows that are on or to come; `None`: not looked at now.
    pub windows: Option<Vec<WindowSeen>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenIncident {
    pub id: IncidentId,
    pub service: ServiceId,
    pub severity: Severity,
    pub reasons: Vec<Reason>,
    pub opened_at: Timestamp,
    pub worked_on_at: Option<Timestamp>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WindowSeen {
    pub window: WindowId,
    pub title: String,
    pub from: Timestamp,
    pub until: Timestamp,
    pub recurring: bool,
    pub services: Vec<ServiceId>,
}

/// How long news are gathered.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// From the first failure to telling of all that came with it.
    pub hold: Duration,
    /// From the first of several that is well again to telling of it.
    pub settle: Duration,
}

/// What is to be told beside what was. `told` is the last of each subject.
pub fn look(told: &[Arc<News>], present: &Present, patience: Patience) -> Vec<News> {
    let mut found = Vec::new();
    for last in told.iter().filter(|last| !last.is_last()) {
        found.extend(match &last.matter {
            Matter::Outage(hurts) => went_on(last, hurts, present, patience),
            Matter::Maintenance(time) => turned(last, time, present),
        });
    }
    found.extend(broke_out(told, present, patience));
    found.extend(begins(told, present));
    found
}

/// A new outage, where something public has failed for long enough.
fn broke_out(told: &[Arc<News>], present: &Present, patience: Patience) -> Option<News> {
    let hurts = || {
        told.iter().filter_map(|news| match &news.matter {
            Matter::Outage(hurts) => Some(hurts),
            Matter::Maintenance(_) => None,
        })
    };
    let known: BTreeSet<&IncidentId> = hurts().flatten().map(|hurt| &hurt.incident).collect();
    let before = |service: ServiceId| {
        let recent = hurts().flatten().filter(|hurt| hurt.service == service && present.now.since(hurt.opened_at) < HOUR);
        recent.count()
    };
    let untold = present.open.iter().filter(|incident| {
        !known.contains(&incident.id)
            && present.public.contains_key(&incident.service)
            && !present.covered.contains(&incident.service)
            && present.now.since(incident.opened_at) < LATE
    });
    // Of those that fail too often, only what lasts.
    let calm = |incident: &&OpenIncident| before(incident.service) < MOST_AN_HOUR || present.now.since(incident.opened_at) >= STEADY;
    let mut fresh: Vec<&OpenIncident> = untold.filter(calm).collect();
    fresh.sort_by_key(|incident| (incident.opened_at, incident.id.clone()));
    let first = *fresh.first()?;
    if present.now.since(first.opened_at) < patience.hold {
        return None;
    }
    let hurts = fresh.iter().map(|incident| Hurt {
        service: incident.service,
        name: present.public.get(&incident.service).cloned().unwrap_or_default(),
        incident: incident.id.clone(),
        severity: incident.severity,
        reasons: incident.reasons.clone(),
        opened_at: incident.opened_at,
        worked_on_at: incident.worked_on_at,
        closed_at: None,
        before: before(incident.service) as u32,
        fresh: true,
    });
    let matter = Matter::Outage(hurts.collect());
    Some(News { subject: format!("outage-{}", (present.name)(&first.id)), number: 0, at: present.now, matter, passed_on: false })
}

/// What became of an outage since it was last told of.
fn went_on(last: &News, hurts: &[Hurt], present: &Present, patience: Patience) -> Option<News> {
    let open: BTreeMap<&IncidentId, &OpenIncident> = present.open.iter().map(|incident| (&incident.id, incident)).collect();
    let mut changes: Vec<Timestamp> = Vec::new();
    let mut next = Vec::new();
    let mut worse = false;
    // Of one that is no longer public nothing more is told.
    for hurt in hurts.iter().filter(|hurt| present.public.contains_key(&hurt.service)) {
        let mut hurt = Hurt { fresh: false, ..hurt.clone() };
        if hurt.closed_at.is_none() {
            match open.get(&hurt.incident) {
                Some(incident) => {
                    hurt.reasons = incident.reasons.clone();
                    if incident.worked_on_at != hurt.worked_on_at {
                        hurt.worked_on_at = incident.worked_on_at;
                        changes.extend(incident.worked_on_at);
                        hurt.fresh = true;
                    }
                    if incident.severity > hurt.severity {
                        hurt.severity = incident.severity;
                        changes.push(present.now);
                        hurt.fresh = true;
                        worse = true;
                    }
                }
                None => {
                    let at = present.closed.get(&hurt.incident).copied().unwrap_or(present.now);
                    hurt.closed_at = Some(at);
                    changes.push(at);
                    hurt.fresh = true;
                }
            }
        }
        next.push(hurt);
    }
    let over = next.iter().all(|hurt| hurt.closed_at.is_some());
    let first = changes.iter().min().copied();
    // That one is worse than was told is not waited with.
    let waits = first.is_some_and(|first| next.len() > 1 && !over && !worse && present.now.since(first) < patience.settle);
    // With nothing left in public it ends without a word.
    let vanished = first.is_none() && over;
    if waits || first.is_none() && !vanished {
        return None;
    }
    let late = changes.iter().all(|at| present.now.since(*at) >= LATE);
    Some(News { number: last.number + 1, at: present.now, matter: Matter::Outage(next), passed_on: late, ..last.clone() })
}

/// Times of windows nothing was told of yet, or that they are off when they are on again.
fn begins(told: &[Arc<News>], present: &Present) -> Vec<News> {
    let known: BTreeMap<&str, &Arc<News>> = told.iter().map(|news| (news.subject.as_str(), news)).collect();
    let mut found = Vec::new();
    for seen in present.windows.iter().flatten() {
        let subject = subject_of(seen.window, seen.from);
        let services = named(&seen.services, present);
        let step = match present.now < seen.from {
            true if seen.recurring && seen.from.since(present.now) > RECURRING_AHEAD => continue,
            true => WindowStep::Announced,
            false if present.now.since(seen.from) >= LATE => continue,
            false => WindowStep::Begun,
        };
        let number = match known.get(subject.as_str()).map(|last| (&last.matter, last.number)) {
            None => 0,
            Some((Matter::Maintenance(time), number)) if time.step == WindowStep::Cancelled => number + 1,
            Some(_) => continue,
        };
        if services.is_empty() {
            continue;
        }
        let (window, title) = (seen.window, seen.title.clone());
        let time = WindowTime { window, title, from: seen.from, until: seen.until, step, services };
        found.push(News { subject, number, at: present.now, matter: Matter::Maintenance(time), passed_on: false });
    }
    found
}

/// What became of a time of a window since it was last told of.
fn turned(last: &News, time: &WindowTime, present: &Present) -> Option<News> {
    let windows = present.windows.as_ref()?;
    let now = present.now;
    let mine = windows.iter().find(|seen| seen.window == time.window && seen.from == time.from);
    let on = windows.iter().any(|seen| seen.window == time.window && seen.from <= now);
    let begun = time.step == WindowStep::Begun || time.step == WindowStep::Changed && last.at >= time.from;
    let (step, until) = match mine {
        Some(seen) if !begun && seen.from <= now => (WindowStep::Begun, seen.until),
        Some(seen) if seen.until != time.until => (WindowStep::Changed, seen.until),
        None if !begun && time.from > now => (WindowStep::Cancelled, time.until),
        // It began and ended while nobody looked, or ends now.
        None if !begun || !on => (WindowStep::Ended, time.until.min(now)),
        _ => return None,
    };
    // One that was moved takes place: its other time is told instead.
    let moved = step == WindowStep::Cancelled && windows.iter().any(|seen| seen.window == time.window && !seen.recurring);
    let services: Vec<(ServiceId, String)> =
        time.services.iter().filter(|(service, _)| present.public.contains_key(service)).cloned().collect();
    let late = step == WindowStep::Ended && now.since(until) >= LATE;
    let silent = late || moved || services.is_empty();
    let matter = Matter::Maintenance(WindowTime { step, until, services, ..time.clone() });
    Some(News { number: last.number + 1, at: now, matter, passed_on: silent, ..last.clone() })
}

fn subject_of(window: WindowId, from: Timestamp) -> String {
    format!("window-{window}-{}", from.0)
}

fn named(services: &[ServiceId], present: &Present) -> Vec<(ServiceId, String)> {
    services.iter().filter_map(|service| Some((*service, present.public.get(service)?.clone()))).collect()
}

#[cfg(test)]
mod tests;
