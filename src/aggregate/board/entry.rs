//! One service on the board: what is kept of it, how it hears a result, and how it stands.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use crate::aggregate::board::{HOUR, HOURS, Hour, RegionState, ServiceState, Silent, UPTIME_WINDOW, Uptime, YOUNG};
use crate::aggregate::change::VerdictChange;
use crate::aggregate::verdict::{RegionStatus, Streak, Thresholds, Verdict, Vote, verdict};
use crate::model::check::{Certificate, CheckResult};
use crate::model::id::{RegionName, ServiceId};
use crate::model::service::{Quorum, Schedule, Service};
use crate::model::time::Timestamp;

#[derive(Debug)]
pub(super) struct Entry {
    pub name: Arc<str>,
    pub enabled: bool,
    pub group: Option<String>,
    pub tags: Vec<String>,
    pub quorum: Quorum,
    pub thresholds: Thresholds,
    pub schedule: Schedule,
    /// The schedule's gap and when it was asked: of a cron expression it changes, and costs more than to remember.
    pub gap: (Timestamp, Duration),
    pub degraded_after: Option<Duration>,
    pub incident_on_degraded: bool,
    /// `None`: all.
    pub wanted: Option<Vec<String>>,
    pub regions: BTreeMap<RegionName, Place>,
    pub verdict: Verdict,
    pub young_until: Timestamp,
}

#[derive(Debug)]
pub(super) struct Place {
    pub streak: Streak,
    pub latest: Arc<CheckResult>,
    pub good_certificate: Option<Arc<Certificate>>,
    pub hours: VecDeque<Hour>,
}

impl Entry {
    pub fn new(service: &Service, now: Timestamp) -> Entry {
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
            incident_on_degraded: service.incident_on_degraded,
            wanted: service.regions.clone(),
            regions: BTreeMap::new(),
            verdict: if service.enabled { Verdict::Unknown } else { Verdict::Disabled },
            young_until: now.plus(YOUNG),
        }
    }

    pub fn place(&mut self, result: &CheckResult) -> &mut Place {
        self.regions.entry(result.region.clone()).or_insert_with(|| Place {
            streak: Streak::start(result.started_at),
            latest: Arc::new(without_evidence(result)),
            good_certificate: None,
            hours: VecDeque::new(),
        })
    }

    /// Moves the state of a region; `false`: the result is history.
    pub fn hear(&mut self, result: &CheckResult, now: Timestamp) -> bool {
        let thresholds = self.thresholds;
        let place = self.place(result);
        let news = place.streak.fold(result, thresholds, now);
        if news {
            place.latest = Arc::new(without_evidence(result));
            if result.ok() {
                place.good_certificate = result.certificate.clone();
            }
        }
        news
    }

    /// Forgets that a region is down, where it turned so after `since`.
    pub fn doubt(&mut self, region: &RegionName, since: Timestamp) {
        if let Some(place) = self.regions.get_mut(region)
            && place.streak.status == RegionStatus::Down
            && place.streak.since >= since
        {
            place.streak.forget();
        }
    }

    /// Whether every region that has a vote and checks this service was heard of it lately.
    pub fn all_have_spoken(&self, silent: &Silent, known: &BTreeSet<RegionName>, now: Timestamp) -> bool {
        let gap = self.gap();
        let wanted = |region: &&RegionName| self.wanted.as_ref().is_none_or(|wanted| wanted.iter().any(|name| **name == *region.0));
        let mut voting = known.iter().filter(|region| !silent.contains_key(region)).filter(wanted);
        voting.all(|region| self.regions.get(region).is_some_and(|place| place.streak.status_at(now, gap) != RegionStatus::Unknown))
    }

    /// What results alone say of a region.
    pub fn status_of(&self, region: &RegionName) -> RegionStatus {
        self.regions.get(region).map_or(RegionStatus::Unknown, |place| place.streak.status)
    }

    /// Whether the newest check of any region that votes has failed.
    pub fn fails_anywhere(&self, silent: &Silent, now: Timestamp) -> bool {
        let gap = self.gap();
        let mut places = self.regions.iter();
        places.any(|(region, place)| {
            !place.latest.ok() && !silent.contains_key(region) && place.streak.status_at(now, gap) != RegionStatus::Unknown
        })
    }

    /// The change there is between the verdict that was told last and the one that holds now.
    pub fn change(
        &mut self,
        service: ServiceId,
        by: Option<&CheckResult>,
        silent: &Silent,
        known: &BTreeSet<RegionName>,
        now: Timestamp,
    ) -> Option<VerdictChange> {
        let to = self.verdict_at(silent, now);
        if to == self.verdict || to == Verdict::Down && now < self.young_until && !self.all_have_spoken(silent, known, now) {
            return None;
        }
        let from = std::mem::replace(&mut self.verdict, to);
        Some(self.told(service, from, to, by, silent, now))
    }

    pub fn told(
        &self,
        service: ServiceId,
        from: Verdict,
        to: Verdict,
        by: Option<&CheckResult>,
        silent: &Silent,
        now: Timestamp,
    ) -> VerdictChange {
        let regions = self.states(silent, now);
        let speaks = |state: &&RegionState| match to {
            Verdict::Down => state.status == RegionStatus::Down,
            Verdict::Degraded => state.status == RegionStatus::Down || state.slow && state.status == RegionStatus::Up,
            Verdict::Up => state.status == RegionStatus::Up,
            Verdict::Unknown | Verdict::Disabled | Verdict::Maintenance => false,
        };
        // The result that turned it is the newest of its region; it is the cause where it speaks for what it turned to.
        let turned = by.and_then(|by| regions.iter().filter(speaks).find(|state| state.region == by.region));
        let newest = regions.iter().filter(speaks).max_by_key(|state| (state.latest.started_at, &state.region));
        VerdictChange {
            service,
            name: self.name.clone(),
            from,
            to,
            at: by.map_or(now, |by| by.started_at.min(now)),
            failure: by.and_then(|by| by.failure.clone()),
            cause: turned.or(newest).map(|state| state.latest.clone()),
            regions,
            incident_on_degraded: self.incident_on_degraded,
        }
    }

    /// The same service, unheard of.
    pub fn blank(&self) -> Entry {
        Entry {
            name: self.name.clone(),
            enabled: self.enabled,
            group: self.group.clone(),
            tags: self.tags.clone(),
            quorum: self.quorum,
            thresholds: self.thresholds,
            schedule: self.schedule.clone(),
            gap: self.gap,
            degraded_after: self.degraded_after,
            incident_on_degraded: self.incident_on_degraded,
            wanted: self.wanted.clone(),
            regions: BTreeMap::new(),
            verdict: if self.enabled { Verdict::Unknown } else { Verdict::Disabled },
            young_until: Timestamp(i64::MIN),
        }
    }

    pub fn count(&mut self, result: &CheckResult) {
        let place = self.place(result);
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

    pub fn verdict_at(&self, silent: &Silent, now: Timestamp) -> Verdict {
        if !self.enabled {
            return Verdict::Disabled;
        }
        let gap = self.gap();
        let votes: Vec<Vote> = self
            .regions
            .iter()
            .map(|(region, place)| Vote { status: self.vote(region, place, gap, silent, now), slow: self.is_slow(place) })
            .collect();
        verdict(self.quorum, &votes)
    }

    pub fn vote(&self, region: &RegionName, place: &Place, gap: Duration, silent: &Silent, now: Timestamp) -> RegionStatus {
        match self.enabled && !silent.contains_key(region) {
            true => place.streak.status_at(now, gap),
            false => RegionStatus::Unknown,
        }
    }

    pub fn is_slow(&self, place: &Place) -> bool {
        self.degraded_after.is_some_and(|limit| place.latest.latency > limit)
    }

    /// A check may take as long as all its attempts, so a gap is never taken shorter than the last check was.
    pub fn gap(&self) -> Duration {
        let slowest = self.regions.values().map(|place| place.latest.elapsed).max().unwrap_or_default();
        self.gap.1.max(slowest)
    }

    pub fn states(&self, silent: &Silent, now: Timestamp) -> Vec<RegionState> {
        let gap = self.gap();
        let state = |(region, place): (&RegionName, &Place)| RegionState {
            region: region.clone(),
            status: self.vote(region, place, gap, silent, now),
            since: silent.get(region).map_or(place.streak.since, |silence| silence.since),
            latest: place.latest.clone(),
            slow: place.latest.ok() && self.is_slow(place),
            silence: silent.get(region).copied(),
            good_certificate: place.good_certificate.clone(),
        };
        self.regions.iter().map(state).collect()
    }

    pub fn state(&self, id: ServiceId, silent: &Silent, now: Timestamp) -> ServiceState {
        let regions = self.states(silent, now);
        let verdict = self.verdict_at(silent, now);
        ServiceState {
            id,
            name: self.name.clone(),
            enabled: self.enabled,
            group: self.group.clone(),
            tags: self.tags.clone(),
            verdict,
            beneath: verdict,
            maintenance: None,
            since: regions.iter().map(|region| region.since).max(),
            latest: regions.iter().map(|region| &region.latest).max_by_key(|latest| latest.started_at).cloned(),
            uptime: self.uptime(now, self.gap()),
            regions,
        }
    }

    pub fn uptime(&self, now: Timestamp, gap: Duration) -> Uptime {
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
