//! What can be said of a period, of one service or of all, worked out before anyone writes a word. Pure.
//!
//! **Invariant.** Facts hold no text that came from outside but the names people gave, and one line for each cause in the words
//! of the service that failed, which is kept apart as what it said.

pub mod causes;
pub mod measured;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use crate::aggregate::rollup::DAY;
use crate::aggregate::verdict::Verdict;
use crate::analysis::trend::{self, Direction, Trend};
use crate::digest::facts::causes::{Cause, causes};
use crate::digest::facts::measured::Measured;
use crate::model::digest::Period;
use crate::model::finding::{Finding, Signal};
use crate::model::id::{RegionName, ServiceId};
use crate::model::incident::Incident;
use crate::model::time::Timestamp;

/// Known for less of the period than this, a service is said to be known in part.
pub const WHOLE: f64 = 0.95;
/// A service is told as degraded when so large a share of its checks was slow.
const SLOW: f64 = 0.01;
/// Incidents of one service in a day that make it one that flaps.
const FLAPS: f64 = 4.0;
/// A certificate that ends within so many days is told of.
pub const EXPIRES_WITHIN: i64 = 21;
/// Of all changes told at once, so large a share may be false.
const FALSE_CHANGES: f64 = 0.05;

/// All there is to work with, as plain data.
#[derive(Clone, Debug)]
pub struct Inputs {
    pub period: Period,
    /// The one it is held against: as long, a whole number of days earlier.
    pub before: Period,
    pub services: Vec<Watched>,
    /// Those that touched the period.
    pub incidents: Vec<Incident>,
    /// Those that touched the period, dismissed ones too.
    pub findings: Vec<Finding>,
    /// What the failing checks of an incident said, by its id; without secrets.
    pub said: BTreeMap<Arc<str>, String>,
}

/// A service and what was measured of it.
#[derive(Clone, Debug)]
pub struct Watched {
    pub id: ServiceId,
    pub name: Arc<str>,
    pub enabled: bool,
    /// As it stands now.
    pub verdict: Verdict,
    pub measured: Measured,
    /// When the certificate it shows ends.
    pub certificate_ends: Option<Timestamp>,
}

/// Everything a writer may say.
#[derive(Clone, Debug, PartialEq)]
pub struct Facts {
    pub period: Period,
    pub before: Period,
    /// The service it speaks of; `None`: all.
    pub service: Option<Arc<str>>,
    /// Names of those that are watched, in order.
    pub services: Vec<Arc<str>>,
    pub disabled: u64,
    pub regions: Vec<RegionName>,
    pub checks: u64,
    pub failed: u64,
    /// Up-time over known time; `None`: nothing is known.
    pub uptime: Option<f64>,
    pub coverage: f64,
    /// p50 and p95 of the checks that passed, in microseconds; of one service alone.
    pub latency: Option<(f64, f64)>,
    /// Not up all the time that is known, the worst first.
    pub below: Vec<(Arc<str>, f64)>,
    /// Slow too often, with the share of their checks that was, the worst first.
    pub degraded: Vec<(Arc<str>, f64)>,
    /// Of which nothing is known.
    pub unmeasured: Vec<Arc<str>>,
    /// Known in part, with the part.
    pub partly: Vec<(Arc<str>, f64)>,
    pub incidents: u64,
    /// Incidents that were open when the period ended.
    pub open: u64,
    /// Services with incidents.
    pub affected: u64,
    pub causes: Vec<Cause>,
    pub flapping: Vec<Flapping>,
    /// Not dismissed, the surest first.
    pub findings: Vec<Finding>,
    pub dismissed: u64,
    pub changes: Vec<Change>,
    pub certificates: Vec<Expiring>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Flapping {
    pub service: Arc<str>,
    pub incidents: u64,
    /// Altogether.
    pub down: Duration,
}

/// What is another than in the period before, beyond chance.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    pub service: Arc<str>,
    pub signal: Signal,
    /// `None`: in all of its regions.
    pub region: Option<RegionName>,
    pub worse: bool,
    /// Microseconds, or a share for errors.
    pub before: f64,
    pub now: f64,
    /// Now over before; `None` where there was nothing before.
    pub ratio: Option<f64>,
    /// The phase that made most of the difference, of the latency as a whole.
    pub phase: Option<Signal>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Expiring {
    pub service: Arc<str>,
    pub ends: Timestamp,
    /// Whole days from the end of the period; negative once it has ended.
    pub days: i64,
}

impl Facts {
    /// The facts of one service, or of all. `None`: there is no such service among the inputs.
    pub fn of(inputs: &Inputs, service: Option<ServiceId>) -> Option<Facts> {
        let mine: Vec<&Watched> = inputs.services.iter().filter(|watched| service.is_none_or(|service| watched.id == service)).collect();
        let name = match service {
            Some(_) => Some(mine.first()?.name.clone()),
            None => None,
        };
        let of_mine = |id: ServiceId| service.is_none_or(|service| id == service);
        let found_of_mine = |id: Option<ServiceId>| service.is_none() || id == service;
        let incidents: Vec<&Incident> = inputs.incidents.iter().filter(|incident| of_mine(incident.service)).collect();
        let (findings, dismissed): (Vec<&Finding>, Vec<&Finding>) =
            inputs.findings.iter().filter(|finding| found_of_mine(finding.service)).partition(|finding| !finding.dismissed());
        let mut findings: Vec<Finding> = findings.into_iter().cloned().collect();
        findings.sort_by(|one, other| other.confidence.total_cmp(&one.confidence).then_with(|| one.id.cmp(&other.id)));
        let period = inputs.period;
        let watched: Vec<&Watched> = mine.iter().copied().filter(|watched| watched.enabled).collect();
        let (mut up, mut down, mut window, mut checks, mut failed) = (0i64, 0i64, 0i64, 0u64, 0u64);
        let mut regions = BTreeSet::new();
        let (mut below, mut unmeasured, mut partly, mut degraded) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for watched in &watched {
            let measured = &watched.measured;
            (up, down, window) = (up + measured.up, down + measured.down, window + measured.window);
            (checks, failed) = (checks + measured.checks, failed + measured.failed);
            regions.extend(measured.regions.iter().map(|region| region.region.clone()));
            if measured.slow_share() >= SLOW {
                degraded.push((watched.name.clone(), measured.slow_share()));
            }
            match measured.uptime() {
                None => unmeasured.push(watched.name.clone()),
                Some(uptime) => {
                    if uptime < 1.0 {
                        below.push((watched.name.clone(), uptime));
                    }
                    if measured.coverage() < WHOLE {
                        partly.push((watched.name.clone(), measured.coverage()));
                    }
                }
            }
        }
        below.sort_by(|one, other| one.1.total_cmp(&other.1).then_with(|| one.0.cmp(&other.0)));
        degraded.sort_by(|one: &(Arc<str>, f64), other| other.1.total_cmp(&one.1).then_with(|| one.0.cmp(&other.0)));
        partly.sort_by(|one, other| one.1.total_cmp(&other.1).then_with(|| one.0.cmp(&other.0)));
        let affected: BTreeSet<ServiceId> = incidents.iter().map(|incident| incident.service).collect();
        let open = incidents.iter().filter(|incident| causes::is_open(incident, period)).count();
        let latency = match (service, watched.first()) {
            (Some(_), Some(watched)) => watched.measured.quantiles,
            _ => None,
        };
        Some(Facts {
            period,
            before: inputs.before,
            service: name,
            services: watched.iter().map(|watched| watched.name.clone()).collect(),
            disabled: (mine.len() - watched.len()) as u64,
            regions: regions.into_iter().collect(),
            checks,
            failed,
            uptime: (up + down > 0).then(|| up as f64 / (up + down) as f64),
            coverage: if window > 0 { ((up + down) as f64 / window as f64).clamp(0.0, 1.0) } else { 0.0 },
            latency,
            below,
            degraded,
            unmeasured,
            partly,
            incidents: incidents.len() as u64,
            open: open as u64,
            affected: affected.len() as u64,
            causes: causes(&incidents, period, &inputs.said),
            flapping: flapping(&incidents, period),
            findings,
            dismissed: dismissed.len() as u64,
            changes: changes(&watched, inputs.period.since.0 - inputs.before.since.0),
            certificates: certificates(&watched, period.until),
        })
    }

    /// Whether there is anything to tell beyond that all was as ever.
    pub fn notable(&self) -> bool {
        self.incidents > 0
            || !self.findings.is_empty()
            || !self.changes.is_empty()
            || !self.degraded.is_empty()
            || !self.certificates.is_empty()
            || !self.unmeasured.is_empty()
            || !self.partly.is_empty()
            || self.uptime.is_some_and(|uptime| uptime < 0.9995)
    }

    /// Slow too often, and without an incident that says so.
    pub fn quietly_degraded(&self) -> Vec<&(Arc<str>, f64)> {
        let told = |name: &Arc<str>| self.causes.iter().any(|cause| cause.services.contains(name));
        self.degraded.iter().filter(|(name, _)| !told(name)).collect()
    }

    /// Those that had no incident and were not slow too often.
    pub fn well(&self) -> u64 {
        (self.services.len() as u64).saturating_sub(self.affected + self.quietly_degraded().len() as u64)
    }

    pub fn anomaly_count(&self) -> u64 {
        self.findings.len() as u64
    }

    pub fn length(&self) -> Duration {
        self.period.until.since(self.period.since)
    }
}

fn flapping(incidents: &[&Incident], period: Period) -> Vec<Flapping> {
    let mut by_service: BTreeMap<ServiceId, Vec<&Incident>> = BTreeMap::new();
    incidents.iter().for_each(|incident| by_service.entry(incident.service).or_default().push(incident));
    let days = (period.until.since(period.since).as_secs_f64() / 86_400.0).max(1.0);
    let mut found: Vec<Flapping> = by_service
        .into_values()
        .filter(|of| of.len() as f64 / days >= FLAPS)
        .map(|of| Flapping {
            service: of[0].name.clone(),
            incidents: of.len() as u64,
            down: of.iter().map(|incident| causes::lasted(incident, period)).sum(),
        })
        .collect();
    found.sort_by(|one, other| other.incidents.cmp(&one.incidents).then_with(|| one.service.cmp(&other.service)));
    found
}

/// Changes that stand up to the company they are in, the costliest first.
fn changes(watched: &[&Watched], apart: i64) -> Vec<Change> {
    debug_assert_eq!(apart % DAY, 0, "habits of the day take themselves out");
    let mut trends: Vec<(&Watched, Option<&RegionName>, Trend)> = Vec::new();
    for watched in watched {
        let measured = &watched.measured;
        trends.push((watched, None, trend::latency(&measured.latency.before, &measured.latency.now, apart)));
        trends.push((watched, None, trend::errors(&measured.latency.before, &measured.latency.now)));
        for region in measured.regions.iter().filter(|_| measured.regions.len() > 1) {
            trends.push((watched, Some(&region.region), trend::latency(&region.latency.before, &region.latency.now, apart)));
        }
    }
    let mut all: Vec<&mut Trend> = trends.iter_mut().map(|(_, _, trend)| trend).collect();
    trend::weed_out(&mut all, FALSE_CHANGES);
    let mut found = Vec::new();
    for watched in watched {
        let mine = || trends.iter().filter(|(of, _, _)| of.id == watched.id);
        let whole = |measure| mine().find(|(_, region, trend)| region.is_none() && trend.measure == measure).map(|(_, _, trend)| trend);
        if let Some(change) = whole(trend::Measure::Errors).and_then(|trend| change(watched, Signal::Errors, None, trend)) {
            found.push(change);
        }
        let regional: Vec<(&RegionName, &Trend)> = mine().filter_map(|(_, region, trend)| Some(((*region)?, trend))).collect();
        let moved: Vec<&(&RegionName, &Trend)> =
            regional.iter().filter(|(_, trend)| matches!(trend.direction, Direction::Slower | Direction::Faster)).collect();
        let latency = match (moved.as_slice(), regional.len()) {
            // One of several: the service as a whole may well have moved with it, but that is where.
            ([(region, trend)], 2..) => change(watched, Signal::Latency, Some(region), trend),
            _ => whole(trend::Measure::Latency).and_then(|trend| change(watched, Signal::Latency, None, trend)),
        };
        // Of one region alone the phases are not kept by the hour.
        found.extend(latency.map(|change| match change.region {
            Some(_) => change,
            None => Change { phase: mover(&watched.measured, apart, change.worse), ..change },
        }));
    }
    let cost = |change: &Change| match change.signal {
        Signal::Errors => (change.now - change.before).abs() * 1e8,
        _ => (change.now - change.before).abs(),
    };
    found.sort_by(|one, other| {
        other.worse.cmp(&one.worse).then_with(|| cost(other).total_cmp(&cost(one))).then_with(|| one.service.cmp(&other.service))
    });
    found
}

fn change(watched: &Watched, signal: Signal, region: Option<&RegionName>, trend: &Trend) -> Option<Change> {
    let worse = match trend.direction {
        Direction::Slower | Direction::Worse => true,
        Direction::Faster | Direction::Better => false,
        Direction::Steady | Direction::Unknown { .. } => return None,
    };
    Some(Change {
        service: watched.name.clone(),
        signal,
        region: region.cloned(),
        worse,
        before: trend.before?,
        now: trend.now?,
        ratio: trend.ratio,
        phase: None,
    })
}

/// The phase that moved the same way and by the most, where it made at least half of what all of them moved by.
fn mover(measured: &Measured, apart: i64, worse: bool) -> Option<Signal> {
    let signals = [Signal::Dns, Signal::Connect, Signal::Tls, Signal::FirstByte, Signal::Transfer];
    let moves: Vec<(Signal, f64)> = signals
        .into_iter()
        .zip(&measured.phases)
        .filter_map(|(signal, levels)| Some((signal, trend::latency(&levels.before, &levels.now, apart).difference?)))
        .filter(|(_, difference)| (*difference > 0.0) == worse)
        .collect();
    let all: f64 = moves.iter().map(|(_, difference)| difference.abs()).sum();
    let most = moves.into_iter().max_by(|one, other| one.1.abs().total_cmp(&other.1.abs()))?;
    (most.1.abs() * 2.0 >= all && most.1.abs() > 0.0).then_some(most.0)
}

fn certificates(watched: &[&Watched], until: Timestamp) -> Vec<Expiring> {
    let mut found: Vec<Expiring> = watched
        .iter()
        .filter_map(|watched| {
            let ends = watched.certificate_ends?;
            let days = (ends.0 - until.0).div_euclid(DAY);
            (days <= EXPIRES_WITHIN).then(|| Expiring { service: watched.name.clone(), ends, days })
        })
        .collect();
    found.sort_by(|one, other| one.ends.cmp(&other.ends).then_with(|| one.service.cmp(&other.service)));
    found
}
