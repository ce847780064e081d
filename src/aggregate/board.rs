//! What is known of every service now, in memory: the summary reads this and never the store. Results are folded in after
//! the store has them; on a start the board is rebuilt from the store.
//!
//! **Invariant.** Folding is idempotent for a region's state (an older result changes nothing); the hourly counts trust the
//! store to hand over each result once.

mod entry;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, RwLock};
use std::time::Duration;

use crate::aggregate::board::entry::Entry;
use crate::aggregate::change::{FirstFailure, Folded, RegionChange, Silence, SilenceReason, VerdictChange};
use crate::aggregate::rollup::Rule;
use crate::aggregate::verdict::{RegionStatus, Verdict};
use crate::model::check::{Certificate, CheckResult};
use crate::model::id::{NodeName, RegionName, ServiceId};
use crate::model::service::Service;
use crate::model::time::{Timestamp, micros};
use crate::model::window::WindowId;

/// Microseconds of an hour.
pub const HOUR: i64 = 3_600_000_000;
/// Hours of counts kept: the last 24 and the one that runs.
const HOURS: usize = 25;
/// How long a schedule's gap is remembered.
const GAP_GOOD_FOR: Duration = Duration::from_secs(60);
/// So long after a service came to the board it is not told as down before every region there is has spoken: the first
/// to be heard, after a start above all, must not pass for all of them.
const YOUNG: Duration = Duration::from_secs(15);
/// Nodes know that they are blind only after they are: a region that turned down this short before is not believed.
const DOUBT: Duration = Duration::from_secs(30);
/// What the uptime of the board speaks of.
pub const UPTIME_WINDOW: Duration = Duration::from_secs(24 * 3600);

#[derive(Debug, Default)]
pub struct Board(RwLock<Known>);

#[derive(Debug, Default)]
struct Known {
    services: BTreeMap<ServiceId, Entry>,
    /// Regions without a vote.
    silent: Silent,
    /// Regions that were ever heard.
    regions: BTreeSet<RegionName>,
    /// Services in a maintenance window now.
    maintenance: BTreeMap<ServiceId, WindowId>,
}

type Silent = BTreeMap<RegionName, Silence>;

/// A service as the summary shows it.
#[derive(Clone, Debug)]
pub struct ServiceState {
    pub id: ServiceId,
    pub name: Arc<str>,
    pub enabled: bool,
    pub group: Option<String>,
    pub tags: Vec<String>,
    /// `Maintenance` while it is in a window.
    pub verdict: Verdict,
    /// What results alone say, in a window as ever.
    pub beneath: Verdict,
    pub maintenance: Option<WindowId>,
    /// The latest change of any region's status.
    pub since: Option<Timestamp>,
    /// The newest result of any region.
    pub latest: Option<Arc<CheckResult>>,
    pub regions: Vec<RegionState>,
    pub uptime: Uptime,
}

#[derive(Clone, Debug, PartialEq)]
pub struct RegionState {
    pub region: RegionName,
    pub status: RegionStatus,
    pub since: Timestamp,
    pub latest: Arc<CheckResult>,
    /// Up, but slower than the service's `degraded_after_ms`.
    pub slow: bool,
    /// Why it has no vote, where it has none because its nodes are away or blind.
    pub silence: Option<Silence>,
    /// The certificate of the newest check that passed.
    pub good_certificate: Option<Arc<Certificate>>,
}

/// A service that entered or left maintenance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MaintenanceChange {
    pub service: ServiceId,
    pub name: Arc<str>,
    pub begins: bool,
    /// What results alone say.
    pub beneath: Verdict,
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
        let mut known = self.0.write().expect("no holder panics");
        let mut old = std::mem::take(&mut known.services);
        for service in services {
            let heard = old.remove(&service.id);
            let mut entry = Entry::new(service, now);
            if let Some(heard) = heard {
                entry.verdict = if entry.enabled { heard.verdict } else { Verdict::Disabled };
                entry.regions = heard.regions;
                entry.young_until = heard.young_until;
                entry.regions.retain(|region, _| entry.wanted.as_ref().is_none_or(|wanted| wanted.iter().any(|name| **name == *region.0)));
            }
            known.services.insert(service.id, entry);
        }
    }

    /// Folds in results the store has just taken, and says what they changed.
    pub fn fold(&self, results: &[CheckResult], now: Timestamp) -> Folded {
        self.take(results, now, true)
    }

    /// Folds in the latest states a node sends ahead of its record after an outage. They move verdicts and count nothing; the
    /// same results come again with the record, count then, and change no state.
    pub fn fold_snapshot(&self, results: &[CheckResult], now: Timestamp) -> Vec<VerdictChange> {
        self.take(results, now, false).verdicts
    }

    /// Takes a region's vote in all services, or gives it back, and says which verdicts that changed. What results say that a
    /// region made blind, or turned down by just before it was known to be, is forgotten: it is unknown until its next check.
    pub fn set_silent(&self, region: &RegionName, silence: Option<Silence>, now: Timestamp) -> Vec<VerdictChange> {
        {
            let mut known = self.0.write().expect("no holder panics");
            let before = match silence {
                Some(silence) => known.silent.insert(region.clone(), silence),
                None => known.silent.remove(region),
            };
            if let Some(Silence { reason: SilenceReason::Blind, since }) = before {
                let doubted = Timestamp(since.0 - micros(DOUBT));
                known.services.values_mut().for_each(|entry| entry.doubt(region, doubted));
            }
        }
        self.expire(now)
    }

    /// Finds the verdicts that time has changed: nothing was heard of a region for too long. Called about once a second.
    pub fn expire(&self, now: Timestamp) -> Vec<VerdictChange> {
        let mut known = self.0.write().expect("no holder panics");
        let Known { services, silent, regions, .. } = &mut *known;
        let entries = services.iter_mut();
        entries.filter_map(|(id, entry)| entry.change(*id, None, silent, regions, now)).collect()
    }

    fn take(&self, results: &[CheckResult], now: Timestamp, counted: bool) -> Folded {
        let mut known = self.0.write().expect("no holder panics");
        let Known { services, silent, regions, .. } = &mut *known;
        let mut folded = Folded::default();
        for result in results {
            let Some(entry) = services.get_mut(&result.service) else { continue };
            if now.since(entry.gap.0) > GAP_GOOD_FOR {
                entry.gap = (now, entry.schedule.gap(now));
            }
            let first = !result.ok() && !silent.contains_key(&result.region) && !entry.fails_anywhere(silent, now);
            if !regions.contains(&result.region) {
                regions.insert(result.region.clone());
            }
            if silent.get(&result.region).is_some_and(|silence| silence.reason == SilenceReason::Blind) {
                // It is a fact, but one about the node: it says nothing of how the service stands.
                if counted {
                    entry.count(result);
                }
                continue;
            }
            let before = entry.status_of(&result.region);
            let news = entry.hear(result, now);
            if counted {
                entry.count(result);
            }
            if !news {
                continue;
            }
            if first && entry.enabled {
                folded.first_failures.push(FirstFailure { service: result.service, region: result.region.clone() });
            }
            let to = entry.status_of(&result.region);
            if let Some(change) = entry.change(result.service, Some(result), silent, regions, now) {
                folded.verdicts.push(change);
            } else if to != before && entry.enabled && !silent.contains_key(&result.region) {
                folded.regions.push(RegionChange {
                    service: result.service,
                    region: result.region.clone(),
                    to,
                    at: result.started_at.min(now),
                    verdict: entry.verdict,
                    regions: entry.states(silent, now),
                });
            }
        }
        folded
    }

    /// Brings back what the store knows of one region's past: its last results, oldest first, and its counts of the last hours.
    pub fn restore(&self, recent: &[CheckResult], hours: &[Hour], now: Timestamp) {
        let mut known = self.0.write().expect("no holder panics");
        let Known { services, silent, regions, .. } = &mut *known;
        let Some(newest) = recent.last() else { return };
        regions.insert(newest.region.clone());
        let Some(entry) = services.get_mut(&newest.service) else { return };
        for result in recent {
            entry.hear(result, now);
        }
        let place = entry.place(newest);
        place.hours = hours.iter().copied().collect();
        while place.hours.len() > HOURS {
            place.hours.pop_front();
        }
        entry.verdict = entry.verdict_at(silent, now);
    }

    /// Says since when a region has been as its last results say, where the record goes back further than they.
    pub fn began(&self, id: ServiceId, region: &RegionName, since: Timestamp) {
        let mut known = self.0.write().expect("no holder panics");
        let place = known.services.get_mut(&id).and_then(|entry| entry.regions.get_mut(region));
        if let Some(place) = place {
            place.streak.since = place.streak.since.min(since);
        }
    }

    /// How many results in a row can decide a service's state; 0 for one that is not on the board.
    pub fn memory(&self, id: ServiceId) -> u32 {
        let known = self.0.read().expect("no holder panics");
        known.services.get(&id).map_or(0, |entry| entry.thresholds.failure.max(entry.thresholds.success))
    }

    /// Every service, by id.
    pub fn summary(&self, now: Timestamp) -> Vec<ServiceState> {
        let known = self.0.read().expect("no holder panics");
        known.services.iter().map(|(id, entry)| known.maintained(entry.state(*id, &known.silent, now))).collect()
    }

    pub fn service(&self, id: ServiceId, now: Timestamp) -> Option<ServiceState> {
        let known = self.0.read().expect("no holder panics");
        known.services.get(&id).map(|entry| known.maintained(entry.state(id, &known.silent, now)))
    }

    /// Says which services are in maintenance now, and gives those for which that is new, with how they stand beneath.
    pub fn set_maintenance(&self, services: BTreeMap<ServiceId, WindowId>, now: Timestamp) -> Vec<MaintenanceChange> {
        let mut known = self.0.write().expect("no holder panics");
        let before = std::mem::replace(&mut known.maintenance, services);
        let after = &known.maintenance;
        let moved = before.keys().chain(after.keys()).filter(|id| before.contains_key(id) != after.contains_key(id));
        let changes = moved.filter_map(|id| {
            let entry = known.services.get(id).filter(|entry| entry.enabled)?;
            Some(MaintenanceChange {
                service: *id,
                name: entry.name.clone(),
                begins: after.contains_key(id),
                beneath: entry.verdict_at(&known.silent, now),
            })
        });
        changes.collect()
    }

    /// The window a service is in now.
    pub fn maintenance(&self, id: ServiceId) -> Option<WindowId> {
        self.0.read().expect("no holder panics").maintenance.get(&id).copied()
    }

    /// Who checked a service last in a region, and which round of its schedule that was.
    pub fn last_round(&self, id: ServiceId, region: &RegionName) -> Option<(NodeName, Timestamp)> {
        let known = self.0.read().expect("no holder panics");
        let latest = &known.services.get(&id)?.regions.get(region)?.latest;
        Some((latest.id.node.clone(), latest.scheduled_at))
    }

    /// A service's name, for lines that carry its id alone.
    pub fn name(&self, id: ServiceId) -> Option<Arc<str>> {
        let known = self.0.read().expect("no holder panics");
        known.services.get(&id).map(|entry| entry.name.clone())
    }

    /// A check of the service that passes is slow when it takes longer.
    pub fn degraded_after(&self, id: ServiceId) -> Option<Duration> {
        self.0.read().expect("no holder panics").services.get(&id)?.degraded_after
    }

    /// How time in a state is reckoned for a service at an instant; `None` for one that is not on the board.
    pub fn rule(&self, id: ServiceId, at: Timestamp) -> Option<Rule> {
        let known = self.0.read().expect("no holder panics");
        let entry = known.services.get(&id)?;
        Some(Rule { gap: entry.schedule.gap(at), failure: entry.thresholds.failure, success: entry.thresholds.success })
    }

    /// A board with this service alone, of which nothing was heard: to go through its past again.
    pub fn blank(&self, id: ServiceId) -> Option<Board> {
        let known = self.0.read().expect("no holder panics");
        let entry = known.services.get(&id)?.blank();
        Some(Board(RwLock::new(Known { services: BTreeMap::from([(id, entry)]), ..Known::default() })))
    }

    /// How a service stands, told as a change from knowing nothing; `None` where it is not on the board.
    pub fn standing(&self, id: ServiceId, now: Timestamp) -> Option<VerdictChange> {
        let known = self.0.read().expect("no holder panics");
        let entry = known.services.get(&id)?;
        let mut change = entry.told(id, Verdict::Unknown, entry.verdict_at(&known.silent, now), None, &known.silent, now);
        // Since its regions turned, not since someone asked.
        change.at = change.regions.iter().map(|state| state.since).max().map_or(now, |since| since.min(now));
        Some(change)
    }
}

impl Known {
    fn maintained(&self, state: ServiceState) -> ServiceState {
        match self.maintenance.get(&state.id).filter(|_| state.enabled) {
            Some(window) => ServiceState { verdict: Verdict::Maintenance, maintenance: Some(*window), ..state },
            None => state,
        }
    }
}

#[cfg(test)]
mod tests;
