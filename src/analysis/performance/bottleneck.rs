//! Where the time goes: places ranked by the seconds a day they cost.
//!
//! A phase of a service costs, in each region, what its mean lies above its floor, times its checks a day. The floor is the lowest
//! of what is known to be possible: what the phase itself stays below in one check of ten; where two or more other regions check
//! the service, the median of their medians; for a name's resolution a cached answer; for a TLS handshake three round trips,
//! as its own connects take them. So a phase that is always slow is not its own excuse. Checks that ran into the
//! timeout cost it, and a try that had to be made again costs a check. The API's own endpoints cost what their mean lies above
//! their floor.
//!
//! A check stands for what a user of the service would wait for; seconds of checks are no seconds of users, but places rank alike.
//!
//! **Invariant.** A place costs at least [`LEAST_COST`] seconds a day and one millisecond a check, or it is none.

use std::collections::BTreeMap;

use crate::aggregate::endpoint::{Endpoint, EndpointKind};
use crate::analysis::performance::figures::{Analysis, Figures, ServiceFigures, Stats, level_of};
use crate::analysis::performance::{PHASES, Settings};
use crate::analysis::trend::{Trend, median};
use crate::model::check::{Phase, Reason};
use crate::model::id::{RegionName, ServiceId};

/// Seconds a day.
pub const LEAST_COST: f64 = 1.0;
/// Microseconds above the floor.
const LEAST_EXCESS: f64 = 1000.0;
/// Checks that passed, or requests, a mean needs to be looked at.
pub const LEAST_COUNT: u64 = 20;
/// Microseconds a resolver takes at most to answer from its cache, from near by.
pub const CACHED_ANSWER: f64 = 20_000.0;
/// What is said in the place of a floor where there is none.
pub const NONE_PASSED: &str = "no check passed";
/// A place is one region's when so much of its cost arises there.
const ONE_REGION: f64 = 0.7;

#[derive(Clone, Debug, PartialEq)]
pub enum Place {
    Phase { service: ServiceId, region: Option<RegionName>, phase: Phase },
    Timeouts { service: ServiceId },
    Retries { service: ServiceId },
    Endpoint { endpoint: Endpoint },
}

#[derive(Clone, Debug, PartialEq)]
pub struct Bottleneck {
    pub place: Place,
    /// Seconds a day of the program's own checks, or requests, spent above the floor.
    pub cost: f64,
    /// Checks, or requests, a day it is spent in.
    pub per_day: f64,
    /// Microseconds: of a phase its mean, of timeouts the timeout, of retries a try.
    pub mean_us: f64,
    pub floor_us: f64,
    /// What the floor is, in words.
    pub floor_of: &'static str,
    /// `None` of timeouts and retries.
    pub stats: Option<Stats>,
    /// Of all time of the service's checks that passed.
    pub share: Option<f64>,
    pub trend: Option<Trend>,
}

/// All places that cost enough to be named, the dearest first.
pub fn bottlenecks(analysis: &Analysis, settings: &Settings) -> Vec<Bottleneck> {
    let mut found: Vec<Bottleneck> = Vec::new();
    for service in &analysis.services {
        found.extend(PHASES.iter().filter_map(|phase| of_phase(service, *phase, analysis.days)));
        found.extend(of_timeouts(service, settings, analysis.days));
        found.extend(of_retries(service, settings, analysis.days));
    }
    found.extend(analysis.endpoints.iter().filter(|of| of.endpoint.kind == EndpointKind::Answer).map(|of| Bottleneck {
        place: Place::Endpoint { endpoint: of.endpoint.clone() },
        cost: (of.latency.mean - of.latency.p10) / 1e6 * of.latency.count as f64 / analysis.days,
        per_day: of.latency.count as f64 / analysis.days,
        mean_us: of.latency.mean,
        floor_us: of.latency.p10,
        floor_of: "what one in ten of its own requests stays below",
        stats: Some(of.latency),
        share: None,
        trend: Some(of.trend),
    }));
    found.retain(|place| place.cost >= LEAST_COST && place.mean_us - place.floor_us >= LEAST_EXCESS);
    found.sort_by(|one, other| other.cost.total_cmp(&one.cost));
    found
}

/// What a phase could take in a region, in microseconds, and why that is to be believed.
pub fn floor(service: &ServiceFigures, region: &RegionName, phase: Phase) -> Option<(f64, &'static str)> {
    let figures = service.regions.get(region)?;
    let own = figures.phase(phase)?;
    let others = service.regions.iter().filter(|(other, _)| *other != region);
    let others: Vec<f64> =
        others.filter_map(|(_, figures)| figures.phase(phase).filter(|of| of.count >= LEAST_COUNT)).map(|of| of.p50).collect();
    let elsewhere = if others.len() >= 2 { median(others) } else { None };
    let usual = match phase {
        Phase::Dns => Some((CACHED_ANSWER, "an answer from a resolver's cache")),
        Phase::Tls => {
            figures.phase(Phase::Connect).map(|connect| (3.0 * connect.p50 + 2_000.0, "three round trips, as its connects take them"))
        }
        _ => None,
    };
    let known = [
        Some((own.p10, "what one in ten of its own checks stays below")),
        elsewhere.map(|us| (us, "the median of the other regions")),
        usual,
    ];
    known.into_iter().flatten().min_by(|one, other| one.0.total_cmp(&other.0))
}

fn of_phase(service: &ServiceFigures, phase: Phase, days: f64) -> Option<Bottleneck> {
    let whole = service.figures.phase(phase)?;
    let mut costs: BTreeMap<&RegionName, (f64, f64, &'static str)> = BTreeMap::new();
    for (region, figures) in &service.regions {
        let (Some(stats), Some((floor, of))) = (figures.phase(phase), floor(service, region, phase)) else { continue };
        if stats.count >= LEAST_COUNT {
            costs.insert(region, ((stats.mean - floor).max(0.0) * stats.count as f64 / 1e6 / days, floor, of));
        }
    }
    let cost: f64 = costs.values().map(|(cost, ..)| cost).sum();
    let (dearest, (most, floor, floor_of)) = costs.iter().max_by(|one, other| one.1.0.total_cmp(&other.1.0))?;
    let alone = service.regions.len() > 1 && *most >= ONE_REGION * cost;
    let (figures, stats): (&Figures, &Stats) = match alone {
        true => (&service.regions[*dearest], service.regions[*dearest].phase(phase)?),
        false => (&service.figures, whole),
    };
    let counted: f64 = costs.keys().filter_map(|region| service.regions[*region].phase(phase)).map(|stats| stats.count as f64).sum();
    Some(Bottleneck {
        place: Place::Phase { service: service.service, region: alone.then(|| (*dearest).clone()), phase },
        cost: if alone { *most } else { cost },
        per_day: if alone { stats.count as f64 / days } else { counted / days },
        mean_us: stats.mean,
        // Of several regions together the floor is what would make the cost.
        floor_us: if alone || counted == 0.0 { *floor } else { (stats.mean - cost * 1e6 * days / counted).max(0.0) },
        floor_of: if alone || costs.len() == 1 { floor_of } else { "of each region its own floor, weighted by checks" },
        stats: Some(*stats),
        share: figures.share(phase),
        trend: service.figures.phase_trends[level_of(phase) - 1],
    })
}

fn of_timeouts(service: &ServiceFigures, settings: &Settings, days: f64) -> Option<Bottleneck> {
    let setting = settings.get(&service.service)?;
    let timeouts = *service.figures.failures.get(&Reason::Timeout)? as f64;
    let tries = f64::from(setting.retries) + 1.0;
    let timeout = setting.timeout.as_secs_f64();
    Some(Bottleneck {
        place: Place::Timeouts { service: service.service },
        cost: timeouts * tries * timeout / days,
        per_day: timeouts / days,
        mean_us: timeout * tries * 1e6,
        floor_us: service.figures.latency.map_or(0.0, |latency| latency.p50),
        floor_of: if service.figures.latency.is_some() { "the median of the checks that passed" } else { NONE_PASSED },
        stats: None,
        share: None,
        trend: Some(service.figures.errors),
    })
}

fn of_retries(service: &ServiceFigures, settings: &Settings, days: f64) -> Option<Bottleneck> {
    let hidden = hidden_tries(&service.figures, settings.get(&service.service)?.retries);
    let latency = service.figures.latency?;
    (hidden > 0).then(|| Bottleneck {
        place: Place::Retries { service: service.service },
        cost: hidden as f64 * latency.mean / 1e6 / days,
        per_day: hidden as f64 / days,
        mean_us: latency.mean,
        floor_us: 0.0,
        floor_of: "no second try",
        stats: None,
        share: Some(hidden as f64 / service.figures.checks.max(1) as f64),
        trend: None,
    })
}

/// Tries beyond the first of checks that passed in the end. A check that failed has used all of its tries.
pub fn hidden_tries(figures: &Figures, retries: u8) -> u64 {
    figures.attempts.saturating_sub(figures.checks).saturating_sub(figures.failed() * u64::from(retries))
}

#[cfg(test)]
mod tests;
