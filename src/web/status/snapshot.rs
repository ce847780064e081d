//! What the public may know, worked out once for everybody who asks within a few seconds.
//!
//! The present is in memory and costs little; the past of ninety days is read from the rollups, service by service, and kept for
//! minutes. One request at a time works; the others are given what was known before. A change of the services themselves counts at
//! once: what is no longer public is gone with the next request.
//!
//! **Invariant.** Nothing in here is of a service that is not public, and nothing in here is an address, a message of a check, a
//! note or the name of a person.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, RwLock};
use std::time::Duration;

use tokio::sync::Mutex;

use crate::aggregate::board::ServiceState;
use crate::aggregate::rollup::{DAY, Rollup, floor};
use crate::api::rollups::rule;
use crate::api::state::ApiState;
use crate::model::check::Reason;
use crate::model::id::ServiceId;
use crate::model::incident::{Incident, IncidentId, Severity};
use crate::model::span::{Span, clipped, total};
use crate::model::time::Timestamp;
use crate::model::window::WindowId;
use crate::store::connection::StoreError;
use crate::store::incidents::{IncidentFilter, IncidentSpan, StoredIncident};
use crate::store::rollups::{Resolution, RollupQuery};
use crate::store::services::StoredService;
use crate::web::svg::State;

pub const DAYS: i64 = 90;
/// For so long everybody is given the same.
pub const FRESH: Duration = Duration::from_secs(5);
/// The days of a service are read again after so long…
const DAYS_FRESH: Duration = Duration::from_secs(60);
/// …but for no longer than this at once, where older ones are there.
const READING: Duration = Duration::from_millis(200);
/// How far back incidents are told, and how many.
const RECENT: Duration = Duration::from_secs(14 * 86_400);
const MOST: usize = 100;
/// How far ahead windows are told.
const AHEAD: Duration = Duration::from_secs(14 * 86_400);
/// A day in which so many of the checks were slow is told as one of trouble in part.
const SLOW: f64 = 0.005;
/// A day of which less was up is told as one of trouble.
const POOR: f64 = 0.95;

#[derive(Default)]
pub struct Snapshots {
    latest: RwLock<Option<Arc<Snapshot>>>,
    past: Mutex<Past>,
}

type Past = HashMap<ServiceId, (Duration, Vec<Day>)>;

pub struct Snapshot {
    /// Time that only goes forward.
    made: Duration,
    listed: Arc<Vec<Arc<StoredService>>>,
    pub at: Timestamp,
    /// As the board has them, for the sentence.
    pub states: Vec<ServiceState>,
    pub regions: usize,
    pub services: Vec<PublicService>,
    /// Open ones first, then the newest.
    pub incidents: Vec<PublicIncident>,
    /// Running ones first, by their beginning.
    pub windows: Vec<PublicWindow>,
}

pub struct PublicService {
    pub id: ServiceId,
    pub name: String,
    pub group: Option<String>,
    /// Its verdict's name.
    pub verdict: &'static str,
    pub made: Timestamp,
    /// Oldest first, today last; empty where the store did not answer.
    pub days: Vec<Day>,
}

/// One day of UTC.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Day {
    pub start: Timestamp,
    pub tone: State,
    /// Microseconds of all regions: up, known, and what there was to be known since the service came, maintenance left out.
    pub up: i64,
    pub known: i64,
    pub whole: i64,
}

#[derive(Clone, Debug, PartialEq)]
pub struct PublicIncident {
    /// As the public knows it.
    pub id: String,
    pub service: String,
    pub severity: Severity,
    /// Why regions found it failing.
    pub reasons: Vec<Reason>,
    pub opened_at: Timestamp,
    pub acknowledged_at: Option<Timestamp>,
    pub closed_at: Option<Timestamp>,
    /// It closed since its service is no longer looked at.
    pub unwatched: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicWindow {
    pub id: WindowId,
    pub title: String,
    pub span: Span,
    pub services: Vec<String>,
}

impl Day {
    pub fn uptime(&self) -> Option<f64> {
        (self.known > 0).then(|| self.up as f64 / self.known as f64)
    }

    pub fn coverage(&self) -> f64 {
        if self.whole <= 0 { 0.0 } else { (self.known as f64 / self.whole as f64).clamp(0.0, 1.0) }
    }
}

impl PublicService {
    /// Of all days together.
    pub fn whole(&self) -> Day {
        let first = Day { start: Timestamp(0), tone: State::Unknown, up: 0, known: 0, whole: 0 };
        self.days.iter().fold(first, |sum, day| Day {
            up: sum.up + day.up,
            known: sum.known + day.known,
            whole: sum.whole + day.whole,
            ..sum
        })
    }
}

impl PublicIncident {
    /// When it was last told anything of.
    pub fn updated_at(&self) -> Timestamp {
        self.closed_at.or(self.acknowledged_at).unwrap_or(self.opened_at)
    }
}

impl PublicWindow {
    pub fn running(&self, now: Timestamp) -> bool {
        self.span.holds(now)
    }
}

#[cfg(test)]
impl Snapshot {
    /// Of no service at all.
    pub fn empty(at: Timestamp) -> Snapshot {
        let (states, services, incidents, windows) = Default::default();
        Snapshot { made: Duration::ZERO, listed: Arc::default(), at, states, regions: 0, services, incidents, windows }
    }
}

impl Snapshots {
    pub async fn get(&self, state: &ApiState) -> Arc<Snapshot> {
        let listed = state.services.list();
        if let Some(fresh) = self.known(state, &listed, true) {
            return fresh;
        }
        // Whoever comes while one works takes what was known, if that is still of the same services.
        let mut past = match self.past.try_lock() {
            Ok(past) => past,
            Err(_) => match self.known(state, &listed, false) {
                Some(older) => return older,
                None => self.past.lock().await,
            },
        };
        if let Some(fresh) = self.known(state, &listed, true) {
            return fresh;
        }
        let made = Arc::new(make(state, listed, &mut past).await);
        *self.latest.write().expect("no holder panics") = Some(made.clone());
        made
    }

    fn known(&self, state: &ApiState, listed: &Arc<Vec<Arc<StoredService>>>, fresh: bool) -> Option<Arc<Snapshot>> {
        let latest = self.latest.read().expect("no holder panics").clone()?;
        let young = !fresh || state.clock.steady().saturating_sub(latest.made) < FRESH;
        (young && Arc::ptr_eq(&latest.listed, listed)).then_some(latest)
    }
}

async fn make(state: &ApiState, listed: Arc<Vec<Arc<StoredService>>>, past: &mut Past) -> Snapshot {
    let (now, made) = (state.clock.now(), state.clock.steady());
    let public: BTreeSet<ServiceId> =
        listed.iter().filter(|service| service.document.public == Some(true)).map(|service| service.id).collect();
    past.retain(|service, _| public.contains(service));
    let states: Vec<ServiceState> = state.board.summary(now).into_iter().filter(|service| public.contains(&service.id)).collect();
    let regions: BTreeSet<&str> = states.iter().flat_map(|service| service.regions.iter().map(|region| &*region.region.0)).collect();
    let regions = regions.len();
    let names: BTreeMap<ServiceId, String> = states.iter().map(|service| (service.id, service.name.to_string())).collect();
    let first = Timestamp(floor(now, DAY) - (DAYS - 1) * DAY);
    let spans = state.incidents.spans(first);
    let mut services = Vec::with_capacity(states.len());
    for service in &states {
        let own: Vec<&IncidentSpan> = spans.iter().filter(|span| span.service == service.id).collect();
        services.push(PublicService {
            id: service.id,
            name: service.name.to_string(),
            group: service.group.clone(),
            verdict: service.verdict.name(),
            made: state.services.get(service.id).map_or(first, |stored| stored.created_at),
            days: days(state, past, service.id, &own, first, made).await,
        });
    }
    services.sort_by_cached_key(|service| (service.group.is_none(), service.group.clone(), service.name.to_lowercase()));
    Snapshot {
        made,
        listed,
        at: now,
        regions,
        incidents: incidents(state, &names, now).await,
        windows: windows(state, &names, now),
        states,
        services,
    }
}

/// The days of a service: as they were read some minutes ago, or read now.
async fn days(
    state: &ApiState,
    past: &mut Past,
    service: ServiceId,
    incidents: &[&IncidentSpan],
    first: Timestamp,
    began: Duration,
) -> Vec<Day> {
    let now = state.clock.steady();
    let known = past.get(&service);
    let same_day = known.and_then(|(_, days)| days.first()).is_some_and(|day| day.start == first);
    let keep = known.is_some_and(|(read, _)| same_day && now.saturating_sub(*read) < DAYS_FRESH);
    let late = known.is_some() && now.saturating_sub(began) > READING;
    if !keep && !late {
        match read(state, service, first).await {
            Ok(read) => drop(past.insert(service, (now, read))),
            Err(error) => tracing::debug!(service = service.0, "the past of a public service cannot be read: {error:#}"),
        }
    }
    let mut days = past.get(&service).map(|(_, days)| days.clone()).unwrap_or_default();
    // Incidents are in memory, so that today's counts at once.
    for day in &mut days {
        let until = Timestamp(day.start.0 + DAY);
        let overlaps = |span: &&&IncidentSpan| span.opened_at < until && span.closed_at.is_none_or(|closed| closed > day.start);
        match incidents.iter().filter(overlaps).map(|span| span.severity).max() {
            Some(Severity::Critical) => day.tone = State::Down,
            Some(Severity::Warning) if day.tone != State::Down => day.tone = State::Partly,
            _ => {}
        }
    }
    days
}

async fn read(state: &ApiState, service: ServiceId, first: Timestamp) -> Result<Vec<Day>, StoreError> {
    let now = state.clock.now();
    let rule = rule(state, service);
    let limit = state.board.degraded_after(service);
    let made = state.services.get(service).map_or(first, |stored| stored.created_at);
    let excluded = state.windows.excluded(service, Span::new(first, now));
    let query = RollupQuery { service, region: None, resolution: Resolution::Day, since: first, until: now, rule };
    let buckets = state.store.results.rollups(&query, now).await?;
    let ledgers = match excluded.is_empty() {
        true => BTreeMap::new(),
        false => state.store.results.ledgers(service, None, &excluded, rule, now).await?,
    };
    let regions = buckets.last().map_or(1, |bucket| bucket.regions.max(1)) as i64;
    let day = |number: i64| {
        let start = Timestamp(first.0 + number * DAY);
        let span = Span::new(start, Timestamp((start.0 + DAY).min(now.0)));
        let holes = clipped(&excluded, span);
        let bucket = buckets.iter().find(|bucket| bucket.start == start);
        let mut times = bucket.map(|bucket| bucket.times).unwrap_or_default();
        let mut checks = bucket.map_or((0.0, 0.0), |bucket| of_checks(&bucket.rollup, limit, 1.0));
        for (ledger, hole) in ledgers.values().flat_map(|ledger| holes.iter().map(move |hole| (ledger, hole))) {
            for piece in ledger.pieces(*hole, now) {
                times.take(piece.times);
                let (all, slow) = piece.part.map_or((0.0, 0.0), |part| of_checks(&part.rollup, limit, piece.share));
                checks = (checks.0 - all, checks.1 - slow);
            }
        }
        let there = Span::new(start.max(made).min(span.until), span.until);
        let (known, worked) = (times.up + times.down, total(&holes));
        let tone = match times.ratio() {
            _ if worked * 2 > span.length() => State::Maintenance,
            None if worked > 0 => State::Maintenance,
            None => State::Unknown,
            Some(ratio) if ratio < POOR => State::Down,
            Some(ratio) if ratio < 1.0 => State::Partly,
            Some(_) if checks.1 > 0.0 && checks.1 >= checks.0 * SLOW => State::Partly,
            Some(_) => State::Up,
        };
        let worked = total(&clipped(&excluded, there));
        Day { start, tone, up: times.up, known, whole: (there.length() - worked).max(0) * regions }
    };
    Ok((0..DAYS).map(day).collect())
}

/// So large a share of them: the checks, and of these the slow ones.
fn of_checks(rollup: &Rollup, limit: Option<Duration>, share: f64) -> (f64, f64) {
    (rollup.checks as f64 * share, rollup.slow(limit) as f64 * share)
}

async fn incidents(state: &ApiState, names: &BTreeMap<ServiceId, String>, now: Timestamp) -> Vec<PublicIncident> {
    let recent = IncidentFilter { since: Some(now.minus(RECENT)), ..IncidentFilter::default() };
    let mut wanted: Vec<_> = state.incidents.brief(&recent).into_iter().filter(|incident| names.contains_key(&incident.service)).collect();
    wanted.sort_by_key(|incident| (incident.closed_at.is_some(), std::cmp::Reverse(incident.opened_at)));
    let ids: Vec<IncidentId> = wanted.into_iter().take(MOST).map(|incident| incident.id).collect();
    // A store that is away takes the list from the page, not the page.
    let found = state.incidents.named(&ids).await.unwrap_or_default();
    found.iter().filter_map(|stored| public(state, stored, names)).collect()
}

fn public(state: &ApiState, stored: &StoredIncident, names: &BTreeMap<ServiceId, String>) -> Option<PublicIncident> {
    let incident = &stored.incident;
    Some(PublicIncident {
        id: state.subscriptions.subscribers.public_name(&incident.id),
        service: names.get(&incident.service)?.clone(),
        severity: incident.severity,
        reasons: reasons_of(incident),
        opened_at: incident.opened_at,
        acknowledged_at: stored.acknowledged.as_ref().map(|by| by.at),
        closed_at: incident.closed_at,
        unwatched: incident.unwatched,
    })
}

/// Why regions found a service failing, each reason once.
pub fn reasons_of(incident: &Incident) -> Vec<Reason> {
    let failures = incident.regions.iter().filter_map(|seen| seen.failure.as_ref().map(|failure| failure.reason));
    let mut reasons: Vec<Reason> = Vec::new();
    for reason in failures {
        if !reasons.contains(&reason) {
            reasons.push(reason);
        }
    }
    reasons
}

fn windows(state: &ApiState, names: &BTreeMap<ServiceId, String>, now: Timestamp) -> Vec<PublicWindow> {
    let mut found: BTreeMap<(Timestamp, Timestamp, WindowId), PublicWindow> = BTreeMap::new();
    for (service, name) in names {
        let around = Span::new(now.minus(AHEAD), now.plus(AHEAD));
        for occurrence in state.windows.occurrences(*service, around).into_iter().filter(|occurrence| occurrence.span.until > now) {
            let (window, span) = (&occurrence.window, occurrence.span);
            let told = found.entry((span.from, span.until, window.id)).or_insert_with(|| PublicWindow {
                id: window.id,
                title: window.title.clone(),
                span,
                services: Vec::new(),
            });
            told.services.push(name.clone());
        }
    }
    found.into_values().take(MOST).collect()
}
