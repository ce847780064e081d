//! Days as tests tell them: services, what was measured of them, and what befell them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::aggregate::rollup::{HOUR, MINUTE, Rollup, Times};
use crate::aggregate::verdict::Verdict;
use crate::digest::facts::measured::Measured;
use crate::digest::facts::{Facts, Inputs, Watched};
use crate::digest::gather::periods;
use crate::model::check::{Failure, Phase, Phases, Reason};
use crate::model::digest::Period;
use crate::model::finding::{Finding, FindingId, Shape, Signal};
use crate::model::id::{RegionName, ServiceId};
use crate::model::incident::{Incident, IncidentId, Severity, Sighting};
use crate::model::time::Timestamp;
use crate::store::rollups::Bucket;

pub const REGIONS: [&str; 3] = ["ap-south", "eu-west", "us-east"];

pub fn at(text: &str) -> Timestamp {
    Timestamp::parse(text).unwrap()
}

/// The 24 hours to seven o'clock on 22 November.
pub struct Day {
    pub period: Period,
    pub before: Period,
    pub services: Vec<Watched>,
    pub incidents: Vec<Incident>,
    pub findings: Vec<Finding>,
    pub said: BTreeMap<Arc<str>, String>,
}

/// What one hour of a service in a region was like.
#[derive(Clone, Copy)]
pub struct HourOf {
    pub latency_ms: u64,
    /// Of it in the wait for the first byte.
    pub first_byte_ms: u64,
    pub failed: u64,
    pub down: i64,
    pub measured: bool,
}

pub const GOOD: HourOf = HourOf { latency_ms: 40, first_byte_ms: 20, failed: 0, down: 0, measured: true };

impl Day {
    pub fn new() -> Day {
        let (period, before) = periods(24, at("2026-11-22T07:00:00Z"));
        Day { period, before, services: Vec::new(), incidents: Vec::new(), findings: Vec::new(), said: BTreeMap::new() }
    }

    /// A service whose checks are slow from so many milliseconds on.
    pub fn limited(&mut self, name: &str, regions: &[&str], limit_ms: u64, hour: impl Fn(&str, i64) -> HourOf) -> ServiceId {
        self.service_with(name, regions, Some(Duration::from_millis(limit_ms)), hour)
    }

    /// A service in some regions; `hour` tells of each region and hour, from -24 to -1 the day before, from 0 to 23 the day.
    pub fn service(&mut self, name: &str, regions: &[&str], hour: impl Fn(&str, i64) -> HourOf) -> ServiceId {
        self.service_with(name, regions, None, hour)
    }

    fn service_with(&mut self, name: &str, regions: &[&str], limit: Option<Duration>, hour: impl Fn(&str, i64) -> HourOf) -> ServiceId {
        let id = ServiceId(self.services.len() as u32 + 1);
        let of_region = |region: &&str| {
            let buckets = (-24..24).filter_map(|index| bucket(self.period.since.0 + index * HOUR, hour(region, index), index)).collect();
            (RegionName::from(*region), buckets)
        };
        let regions: Vec<(RegionName, Vec<Bucket>)> = regions.iter().map(of_region).collect();
        self.services.push(Watched {
            id,
            name: name.into(),
            enabled: true,
            verdict: Verdict::Up,
            measured: Measured::of(&regions, self.period, self.before, i64::MIN / 2, limit),
            certificate_ends: None,
        });
        id
    }

    pub fn certificate(&mut self, service: ServiceId, ends: &str) {
        self.services.iter_mut().find(|watched| watched.id == service).unwrap().certificate_ends = Some(at(ends));
    }

    /// An incident with the failure that `down` of the regions saw.
    pub fn incident(
        &mut self,
        service: ServiceId,
        opened: &str,
        closed: Option<&str>,
        line: &str,
        failure: (Reason, Phase),
        down: &[&str],
    ) {
        let watched = self.services.iter().find(|watched| watched.id == service).unwrap();
        let seen = |region: &&str| {
            let fails = down.contains(region);
            Sighting {
                region: RegionName::from(*region),
                status: if fails { "down" } else { "up" }.to_owned(),
                since: at(opened),
                result: String::new(),
                checked_at: at(opened),
                status_code: (failure.0 == Reason::Status && fails).then_some(503),
                latency_us: 1_000,
                phases: Phases::default(),
                address: None,
                failure: fails.then(|| Failure { reason: failure.0, phase: failure.1, message: "it failed".to_owned() }),
            }
        };
        self.incidents.push(Incident {
            id: IncidentId(format!("incident-{}", self.incidents.len()).into()),
            service,
            name: watched.name.clone(),
            severity: Severity::Critical,
            opened_at: at(opened),
            closed_at: closed.map(at),
            unwatched: false,
            first_line: line.to_owned(),
            regions: REGIONS.iter().map(seen).collect(),
        });
    }

    pub fn finding(&mut self, service: ServiceId, signal: Signal, shape: Shape, since: &str, observed: f64, expected: f64) {
        let watched = self.services.iter().find(|watched| watched.id == service).unwrap();
        self.findings.push(Finding {
            id: FindingId(format!("finding-{}", self.findings.len()).into()),
            service: Some(service),
            name: watched.name.clone(),
            region: None,
            regions: Vec::new(),
            signal,
            shape,
            since: at(since),
            last: at(since),
            ended: Some(at(since).plus(Duration::from_secs(600))),
            observed,
            expected: Some(expected),
            score: 0.9,
            confidence: 0.9,
            samples: 4,
            learning: None,
            summary: String::new(),
            evidence: Vec::new(),
            feedback: None,
        });
    }

    pub fn inputs(&self) -> Inputs {
        Inputs {
            period: self.period,
            before: self.before,
            services: self.services.clone(),
            incidents: self.incidents.clone(),
            findings: self.findings.clone(),
            said: self.said.clone(),
        }
    }

    pub fn facts(&self) -> Facts {
        Facts::of(&self.inputs(), None).unwrap()
    }
}

/// A check a minute; each hour wobbles a little, as hours do.
fn bucket(start: i64, hour: HourOf, index: i64) -> Option<Bucket> {
    if !hour.measured {
        return None;
    }
    let mut rollup = Rollup { checks: 60, attempts: 60, ..Rollup::default() };
    if hour.failed > 0 {
        rollup.failures.insert(Reason::Status, hour.failed);
    }
    let scattered = (index as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 61;
    let wobble = |ms: u64| Duration::from_micros(ms * 1_000 + scattered * ms * 3);
    for _ in hour.failed..60 {
        rollup.latency.add(wobble(hour.latency_ms));
        for (phase, ms) in [(0, 2), (1, 8), (2, 10), (3, hour.first_byte_ms)] {
            rollup.phases[phase].add(wobble(ms));
        }
    }
    let down = hour.down * MINUTE;
    let times = Times { up: HOUR - down, down };
    Some(Bucket { start: Timestamp(start), end: Timestamp(start + HOUR), rollup, times, regions: 1 })
}

/// Longest outage of a day in one region, as several tests tell it.
pub fn outage_in_one_region() -> Day {
    let mut day = Day::new();
    let checkout = day.service("checkout", &REGIONS, |region, hour| match (region, hour) {
        ("ap-south", 20) => HourOf { failed: 48, down: 48, ..GOOD },
        _ => GOOD,
    });
    day.service("search", &REGIONS, |_, _| GOOD);
    day.service("users", &REGIONS, |_, _| GOOD);
    day.incident(
        checkout,
        "2026-11-22T03:10:00Z",
        Some("2026-11-22T03:58:00Z"),
        "only ap-south: connect times out after 10 s",
        (Reason::Timeout, Phase::Connect),
        &["ap-south"],
    );
    day
}

/// Two hundred services of which most lost their names at once.
pub fn common_cause() -> Day {
    let mut day = Day::new();
    for number in 1..=200u32 {
        let hit = number <= 180;
        let id = day.service(&format!("api-{number:03}"), &["eu-west"], |_, hour| match (hit, hour) {
            (true, 1) => HourOf { failed: 17, down: 17, ..GOOD },
            _ => GOOD,
        });
        if hit {
            let opened = format!("2026-11-21T08:{:02}:{:02}Z", 14 + number / 60, number % 60);
            day.incident(id, &opened, Some("2026-11-21T08:31:00Z"), "DNS fails in 3 of 3 regions", (Reason::Dns, Phase::Dns), &REGIONS);
        }
    }
    day
}
