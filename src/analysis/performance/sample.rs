//! A made-up world of services and regions for the tests of rules: what a check takes is said by a function of the time.

use std::collections::BTreeMap;
use std::time::Duration;

use super::figures::{Analysis, Collector};
use super::{Grain, Periods, Setting, Settings};
use crate::aggregate::endpoint::{Endpoint, EndpointKind, EndpointRollup, Endpoints};
use crate::aggregate::rollup::{DAY, HOUR, MINUTE, Rollup};
use crate::model::check::Reason;
use crate::model::id::{RegionName, ServiceId};
use crate::model::time::Timestamp;

pub const REGIONS: [&str; 3] = ["ap", "eu", "us"];
pub const SERVICES: u32 = 5;
const CHECKS: i64 = 12;

/// Milliseconds of each phase.
#[derive(Clone, Copy)]
pub struct Check {
    pub phases: [f64; 5],
    pub failure: Option<Reason>,
    pub attempts: u64,
}

/// Where and when a check is.
#[derive(Clone, Copy)]
pub struct At {
    pub service: u32,
    pub region: &'static str,
    /// Hours from the start of the period; below nought in the earlier one.
    pub hours: f64,
    /// Counts the checks of a series.
    pub index: i64,
    /// From −1 to 1.
    pub noise: f64,
}

pub struct Sample {
    pub hours: u32,
    pub regions: Vec<&'static str>,
    pub settings: Settings,
    pub endpoints: BTreeMap<i64, Endpoints>,
}

/// What nobody would complain of.
pub fn healthy(at: At) -> Check {
    let ease = 1.0 + 0.1 * at.noise;
    Check { phases: [3.0 * ease, 12.0 * ease, 14.0 * ease, 40.0 * ease, 4.0 * ease], failure: None, attempts: 1 }
}

impl Sample {
    pub fn new(hours: u32) -> Sample {
        let setting = |service: u32| Setting {
            name: format!("api-{service}").into(),
            https: true,
            timeout: Duration::from_secs(10),
            retries: 1,
            gap: Duration::from_secs(300),
            degraded_after: None,
        };
        let settings = (1..=SERVICES).map(|service| (ServiceId(service), setting(service))).collect();
        Sample { hours, regions: REGIONS.to_vec(), settings, endpoints: BTreeMap::new() }
    }

    pub fn setting(&mut self, service: u32) -> &mut Setting {
        self.settings.get_mut(&ServiceId(service)).unwrap()
    }

    pub fn periods(&self) -> Periods {
        Periods::new(Timestamp::parse("2026-11-22T10:59:59Z").unwrap(), self.hours)
    }

    pub fn endpoint(&mut self, route: &str, status: u16, took_ms: u64, requests: u64) {
        let endpoint = Endpoint { method: "GET".to_owned(), route: route.to_owned(), kind: EndpointKind::Answer };
        let hour = self.periods().until - HOUR;
        let mut rollup = EndpointRollup::default();
        (0..requests).for_each(|_| rollup.add(status, Duration::from_millis(took_ms)));
        self.endpoints.entry(hour).or_default().entry(endpoint).or_default().merge(&rollup);
    }

    pub fn analyse(&self, check: impl Fn(At) -> Check) -> Analysis {
        let periods = self.periods();
        let span = match periods.grain {
            Grain::Minute => MINUTE,
            Grain::Hour => HOUR,
            Grain::Day => DAY,
        };
        let mut collector = Collector::new(periods);
        for service in 1..=SERVICES {
            for region in &self.regions {
                let mut index = 0;
                for (from, to) in [periods.before(), (periods.since, periods.until)] {
                    for start in (from..to).step_by(span as usize) {
                        let mut rollup = Rollup::default();
                        for _ in 0..CHECKS {
                            index += 1;
                            let mixed =
                                (index as u64 * 31 + u64::from(service) * 977 + region.len() as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
                            let noise = (mixed >> 40) as f64 / f64::from(1 << 23) - 1.0;
                            let hours = (start - periods.since) as f64 / HOUR as f64;
                            add(&mut rollup, check(At { service, region, hours, index, noise }));
                        }
                        collector.take(ServiceId(service), &RegionName::from(*region), start, &rollup);
                    }
                }
            }
        }
        collector.analyse(&self.endpoints)
    }
}

fn add(rollup: &mut Rollup, check: Check) {
    rollup.checks += 1;
    rollup.attempts += check.attempts;
    if let Some(reason) = check.failure {
        *rollup.failures.entry(reason).or_default() += 1;
        return;
    }
    let span = |ms: f64| Duration::from_micros((ms * 1000.0) as u64);
    rollup.latency.add(span(check.phases.iter().sum()));
    for (sketch, ms) in rollup.phases.iter_mut().zip(check.phases) {
        sketch.add(span(ms));
    }
}
