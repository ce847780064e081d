//! What is known of every service now, in memory: the summary reads this and never the store. Results are folded in after
//! the store has them; on a start the board is rebuilt from the store.
//!
//! **Invariant.** Folding is idempotent for a region's state (an older result changes nothing); the hourly counts trust the
//! store to hand over each result once.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, RwLock};
use std::time::Duration;

use crate::aggregate::verdict::{RegionStatus, Streak, Thresholds, Verdict, Vote, verdict};
use crate::model::check::{CheckResult, Failure};
use crate::model::id::{NodeName, RegionName, ServiceId};
use crate::model::service::{Quorum, Schedule, Service};
use crate::model::time::Timestamp;

/// Microseconds of an hour.
pub const HOUR: i64 = 3_600_000_000;
/// Hours of counts kept: the last 24 and the one that runs.
const HOURS: usize = 25;
/// How long a schedule's gap is remembered.
const GAP_GOOD_FOR: Duration = Duration::from_secs(60);
/// What the uptime of the board speaks of.
pub const UPTIME_WINDOW: Duration = Duration::from_secs(24 * 3600);

#[derive(Debug, Default)]
pub struct Board {
    services: RwLock<BTreeMap<ServiceId, Entry>>,
}

/// A service as the summary shows it.
#[derive(Clone, Debug)]
pub struct ServiceState {
    pub id: ServiceId,
    pub name: Arc<str>,
    pub enabled: bool,
    pub group: Option<String>,
    pub tags: Vec<String>,
    pub verdict: Verdict,
    /// The latest change of any region's status.
    pub since: Option<Timestamp>,
    /// The newest result of any region.
    pub latest: Option<Arc<CheckResult>>,
    pub regions: Vec<RegionState>,
    pub uptime: Uptime,
}

#[derive(Clone, Debug)]
pub struct RegionState {
    pub region: RegionName,
    pub status: RegionStatus,
    pub since: Timestamp,
    pub latest: Arc<CheckResult>,
}

/// Each check vouches for one gap of the schedule; what no check vouches for is unknown, neither up nor down.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Uptime {
    /// Up-time over known time, 0 to 1; `None` where nothing is known.
    pub ratio: Option<f64>,
    /// Known time over the window, 0 to 1.
    pub coverage: f64,
    pub window: Duration,
}

/// A change of verdict, for those who listen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerdictChange {
    pub service: ServiceId,
    pub name: Arc<str>,
    pub from: Verdict,
    pub to: Verdict,
    pub at: Timestamp,
    /// What the result that turned it says of its failure.
    pub failure: Option<Failure>,
}

#[derive(Debug)]
struct Entry {
    name: Arc<str>,
    enabled: bool,
    group: Option<String>,
    tags: Vec<String>,
    quorum: Quorum,
    thresholds: Thresholds,
    schedule: Schedule,
    /// The schedule's gap and when it was asked: of a cron expression it changes, and costs more than to remember.
    gap: (Timestamp, Duration),
    degraded_after: Option<Duration>,
    /// `None`: all.
    wanted: Option<Vec<String>>,
    regions: BTreeMap<RegionName, Place>,
    verdict: Verdict,
}

#[derive(Debug)]
struct Place {
    streak: Streak,
    latest: Arc<CheckResult>,
    hours: VecDeque<Hour>,
}

/// Checks of one clock hour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Hour {
    /// Start, in whole hours of Unix time.
    pub hour: i64,
    pub checks: u32,
    pub failures: u32,
}

impl Board {
    /// Takes over the services as they now are; what was heard of those that stay is kept, what went is forgotten.
    pub fn replace_services(&self, services: &[Service], now: Timestamp) {
        let mut board = self.services.write().expect("no holder panics");
        let mut old = std::mem::take(&mut *board);
        for service in services {
            let heard = old.remove(&service.id);
            let mut entry = Entry::new(service, now);
            if let Some(heard) = heard {
                entry.verdict = if entry.enabled { heard.verdict } else { Verdict::Disabled };
                entry.regions = heard.regions;
                entry.regions.retain(|region, _| entry.wanted.as_ref().is_none_or(|wanted| wanted.iter().any(|name| **name == *region.0)));
            }
            board.insert(service.id, entry);
        }
    }

    /// Folds in results the store has just taken, and says which verdicts they changed.
    pub fn fold(&self, results: &[CheckResult], now: Timestamp) -> Vec<VerdictChange> {
        let mut board = self.services.write().expect("no holder panics");
        let mut changes = Vec::new();
        for result in results {
            let Some(entry) = board.get_mut(&result.service) else { continue };
            if now.since(entry.gap.0) > GAP_GOOD_FOR {
                entry.gap = (now, entry.schedule.gap(now));
            }
            entry.count(result, now);
            let to = entry.verdict_at(now);
            if to != entry.verdict {
                changes.push(VerdictChange {
                    service: result.service,
                    name: entry.name.clone(),
                    from: entry.verdict,
                    to,
                    at: result.started_at,
                    failure: result.failure.clone(),
                });
                entry.verdict = to;
            }
        }
        changes
    }

    /// Brings back what the store knows of one region's past: its last results, oldest first, and its counts of the last hours.
    pub fn restore(&self, recent: &[CheckResult], hours: &[Hour], now: Timestamp) {
        let mut board = self.services.write().expect("no holder panics");
        let Some(newest) = recent.last() else { return };
        let Some(entry) = board.get_mut(&newest.service) else { return };
        let thresholds = entry.thresholds;
        let place = entry.place(newest);
        for result in recent {
            if place.streak.fold(result, thresholds, now) {
                place.latest = Arc::new(without_evidence(result));
            }
        }
        place.hours = hours.iter().copied().collect();
        while place.hours.len() > HOURS {
            place.hours.pop_front();
        }
        entry.verdict = entry.verdict_at(now);
    }

    /// How many results in a row can decide a service's state; 0 for one that is not on the board.
    pub fn memory(&self, id: ServiceId) -> u32 {
        let board = self.services.read().expect("no holder panics");
        board.get(&id).map_or(0, |entry| entry.thresholds.failure.max(entry.thresholds.success))
    }

    /// Every service, by id.
    pub fn summary(&self, now: Timestamp) -> Vec<ServiceState> {
        let board = self.services.read().expect("no holder panics");
        board.iter().map(|(id, entry)| entry.state(*id, now)).collect()
    }

    pub fn service(&self, id: ServiceId, now: Timestamp) -> Option<ServiceState> {
        let board = self.services.read().expect("no holder panics");
        board.get(&id).map(|entry| entry.state(id, now))
    }

    /// Who checked a service last in a region, and which round of its schedule that was.
    pub fn last_round(&self, id: ServiceId, region: &RegionName) -> Option<(NodeName, Timestamp)> {
        let board = self.services.read().expect("no holder panics");
        let latest = &board.get(&id)?.regions.get(region)?.latest;
        Some((latest.id.node.clone(), latest.scheduled_at))
    }

    /// A service's name, for lines that carry its id alone.
    pub fn name(&self, id: ServiceId) -> Option<Arc<str>> {
        let board = self.services.read().expect("no holder panics");
        board.get(&id).map(|entry| entry.name.clone())
    }
}

impl Entry {
    fn new(service: &Service, now: Timestamp) -> Entry {
        Entry {
            name: service.name.clone(),
            enabled: service.enabled,
            group: service.group.clone(),
            tags: service.tags.clone(),
            quorum: service.quorum,
            thresholds: Thresholds { failure: service.failure_threshold, success: service.success_threshold },
            schedule: service.schedule.clone(),
            gap: (now, service.schedule.gap(now)),
            degraded_after: service.degraded_after,
            wanted: service.regions.clone(),
            regions: BTreeMap::new(),
            verdict: if service.enabled { Verdict::Unknown } else { Verdict::Disabled },
        }
    }

    fn place(&mut self, result: &CheckResult) -> &mut Place {
        self.regions.entry(result.region.clone()).or_insert_with(|| Place {
            streak: Streak::start(result.started_at),
            latest: Arc::new(without_evidence(result)),
            hours: VecDeque::new(),
        })
    }

    fn count(&mut self, result: &CheckResult, now: Timestamp) {
        let thresholds = self.thresholds;
        let place = self.place(result);
        if place.streak.fold(result, thresholds, now) {
            place.latest = Arc::new(without_evidence(result));
        }
        let hour = result.started_at.0.div_euclid(HOUR);
        let slot = match place.hours.iter().rposition(|slot| slot.hour <= hour) {
            Some(index) if place.hours[index].hour == hour => index,
            Some(index) => {
                place.hours.insert(index + 1, Hour { hour, ..Hour::default() });
                index + 1
            }
            None => {
                place.hours.push_front(Hour { hour, ..Hour::default() });
                0
            }
        };
        place.hours[slot].checks += 1;
        place.hours[slot].failures += u32::from(!result.ok());
        while place.hours.len() > HOURS {
            place.hours.pop_front();
        }
    }

    fn verdict_at(&self, now: Timestamp) -> Verdict {
        if !self.enabled {
            return Verdict::Disabled;
        }
        let gap = self.gap();
        let votes: Vec<Vote> = self
            .regions
            .values()
            .map(|place| Vote {
                status: place.streak.status_at(now, gap),
                slow: self.degraded_after.is_some_and(|limit| place.latest.latency > limit),
            })
            .collect();
        verdict(self.quorum, &votes)
    }

    /// A check may take as long as all its attempts, so a gap is never taken shorter than the last check was.
    fn gap(&self) -> Duration {
        let slowest = self.regions.values().map(|place| place.latest.elapsed).max().unwrap_or_default();
        self.gap.1.max(slowest)
    }

    fn state(&self, id: ServiceId, now: Timestamp) -> ServiceState {
        let gap = self.gap();
        let regions: Vec<RegionState> = self
            .regions
            .iter()
            .map(|(region, place)| RegionState {
                region: region.clone(),
                status: if self.enabled { place.streak.status_at(now, gap) } else { RegionStatus::Unknown },
                since: place.streak.since,
                latest: place.latest.clone(),
            })
            .collect();
        ServiceState {
            id,
            name: self.name.clone(),
            enabled: self.enabled,
            group: self.group.clone(),
            tags: self.tags.clone(),
            verdict: self.verdict_at(now),
            since: regions.iter().map(|region| region.since).max(),
            latest: regions.iter().map(|region| &region.latest).max_by_key(|latest| latest.started_at).cloned(),
            uptime: self.uptime(now, gap),
            regions,
        }
    }

    fn uptime(&self, now: Timestamp, gap: Duration) -> Uptime {
        let first = (now.0 - 24 * HOUR).div_euclid(HOUR);
        let (mut checks, mut failures, mut known) = (0u64, 0u64, 0.0f64);
        let span = gap.as_secs_f64();
        for place in self.regions.values() {
            for slot in place.hours.iter().filter(|slot| slot.hour >= first) {
                // The oldest hour counts by the share of it the window still holds.
                let share = if slot.hour == first { 1.0 - (now.0 - 24 * HOUR).rem_euclid(HOUR) as f64 / HOUR as f64 } else { 1.0 };
                checks += u64::from(slot.checks);
                failures += u64::from(slot.failures);
                known += (f64::from(slot.checks) * span).min(3600.0) * share;
            }
        }
        let whole = UPTIME_WINDOW.as_secs_f64() * self.regions.len().max(1) as f64;
        Uptime {
            ratio: (checks > 0).then(|| (checks - failures) as f64 / checks as f64),
            coverage: (known / whole).min(1.0),
            window: UPTIME_WINDOW,
        }
    }
}

/// The board shows states, not evidence: that stays in the store.
fn without_evidence(result: &CheckResult) -> CheckResult {
    CheckResult { attempts: Vec::new(), evidence: None, ..result.clone() }
}
