//! What to do, each piece of advice following from the figures it stands on.
//!
//! A rule is a function from what is known to the advice it has to give, most often none. Rules are asked in the order of how much
//! they explain: what is wrong everywhere before what is wrong in one region, that before one service, a cause before what
//! follows from it. A rule that speaks marks what it explains ([`Cell`]: one matter of one service in one region), and those
//! after it see only what is left; so one root has one voice.
//!
//! **How sure.** By two things that are told: how many checks stand behind it (n / (n + 20)), and by how much the figure is beyond
//! what the rule asks for (at its threshold a half, at twice three quarters), or how sure the trend is. It is the rule's certainty
//! about what the figures show; that the advice cures it is the reader's judgement, and the text says what else it may be.
//!
//! **Invariant.** On figures of healthy services no rule speaks.

mod backend;
mod capacity;
mod failures;
mod network;
mod own;

use std::collections::BTreeSet;

use crate::aggregate::endpoint::Endpoint;
use crate::analysis::performance::bottleneck::LEAST_COUNT;
use crate::analysis::performance::figures::{Analysis, Figures, ServiceFigures};
use crate::analysis::performance::{Setting, Settings};
use crate::model::check::Phase;
use crate::model::id::{RegionName, ServiceId};

#[derive(Clone, Debug, PartialEq)]
pub struct Recommendation {
    /// The rule's name: fixed, for programs.
    pub rule: &'static str,
    /// The services it is about; none where it is about the monitor's own API.
    pub services: Vec<ServiceId>,
    /// The regions it is about; none: all of the services'.
    pub regions: Vec<RegionName>,
    pub phase: Option<Phase>,
    pub endpoint: Option<Endpoint>,
    /// What is the matter, in one sentence.
    pub what: String,
    /// The figures behind it.
    pub why: Vec<Fact>,
    /// 0 to 1.
    pub sure: f64,
    pub because: String,
    pub advice: String,
    /// Seconds a day it costs in checks; `None` where it cannot be reckoned.
    pub cost: Option<f64>,
    explains: Vec<Cell>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Fact {
    pub what: String,
    pub value: f64,
    pub unit: &'static str,
}

/// One matter of one service in one region.
pub(super) type Cell = (ServiceId, RegionName, Matter);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Matter {
    Dns,
    Connect,
    Tls,
    FirstByte,
    Transfer,
    Timeouts,
    Failures,
}

/// What rules see.
pub(super) struct Case<'a> {
    pub analysis: &'a Analysis,
    pub settings: &'a Settings,
    explained: BTreeSet<Cell>,
}

type Rule = fn(&Case<'_>) -> Vec<Recommendation>;

/// In the order they are asked.
const RULES: [Rule; 16] = [
    network::dns_everywhere,
    network::dns_region,
    network::dns_service,
    network::region_slow,
    network::connect_region,
    network::tls_handshake,
    backend::first_byte_region,
    capacity::limit_ahead,
    backend::first_byte_growing,
    backend::first_byte_load,
    backend::transfer_slow,
    failures::timeout_tight,
    failures::retries_hide,
    failures::error_mix,
    failures::schedule_overrun,
    own::endpoint_slow,
];

/// What to do, the surest and dearest first.
pub fn recommend(analysis: &Analysis, settings: &Settings) -> Vec<Recommendation> {
    let mut case = Case { analysis, settings, explained: BTreeSet::new() };
    let mut all = Vec::new();
    for rule in RULES {
        let found = rule(&case);
        case.explained.extend(found.iter().flat_map(|one| one.explains.iter().cloned()));
        all.extend(found);
    }
    let weight = |one: &Recommendation| one.sure * (1.0 + one.cost.unwrap_or(0.0)).ln_1p();
    all.sort_by(|one, other| weight(other).total_cmp(&weight(one)));
    all
}

impl<'a> Case<'a> {
    /// Whether no rule has explained this yet.
    fn open(&self, service: ServiceId, region: &RegionName, matter: Matter) -> bool {
        !self.explained.contains(&(service, region.clone(), matter))
    }

    /// The services whose settings are known, with these.
    fn services(&self) -> impl Iterator<Item = (&'a ServiceFigures, &'a Setting)> {
        let settings = self.settings;
        self.analysis.services.iter().filter_map(move |service| Some((service, settings.get(&service.service)?)))
    }

    /// The regions of a service with enough checks, where this matter is open.
    fn regions(&self, service: &'a ServiceFigures, matter: Matter) -> Vec<(&'a RegionName, &'a Figures)> {
        let enough = |figures: &Figures| figures.latency.is_some_and(|latency| latency.count >= LEAST_COUNT);
        let regions = service.regions.iter().filter(|(_, figures)| enough(figures));
        regions.filter(|(region, _)| self.open(service.service, region, matter)).collect()
    }

    fn name(&self, service: ServiceId) -> String {
        self.settings.get(&service).map_or_else(|| format!("service {service}"), |setting| setting.name.to_string())
    }

    /// Seconds a day: microseconds too many, so many times in the period.
    fn cost(&self, excess_us: f64, count: u64) -> Option<f64> {
        Some(excess_us.max(0.0) / 1e6 * count as f64 / self.analysis.days)
    }
}

/// How sure a rule is whose figure is `times` what it asks for, by `count` checks.
fn sure(count: u64, times: f64) -> (f64, String) {
    let sure = count as f64 / (count as f64 + 20.0) * (1.0 - 0.5 / times.max(1.0));
    ((sure * 100.0).round() / 100.0, format!("{count} checks, {} what calls for this advice", beyond(times)))
}

/// By how much a figure is past its threshold.
fn beyond(times: f64) -> &'static str {
    match times {
        ..1.5 => "a little past",
        ..4.0 => "well past",
        _ => "far past",
    }
}

fn fact(what: impl Into<String>, value: f64, unit: &'static str) -> Fact {
    let scaled = if value.abs() >= 100.0 { value.round() } else { (value * 1000.0).round() / 1000.0 };
    Fact { what: what.into(), value: scaled, unit }
}

/// Microseconds as a person reads them.
fn span(us: f64) -> String {
    match us {
        us if us >= 9_950_000.0 => format!("{:.0} s", us / 1e6),
        us if us >= 995_000.0 => format!("{:.1} s", us / 1e6),
        us if us >= 9_950.0 => format!("{:.0} ms", us / 1e3),
        us => format!("{:.1} ms", us / 1e3),
    }
}

fn percent(share: f64) -> String {
    if share >= 0.1 { format!("{:.0} %", share * 100.0) } else { format!("{:.1} %", share * 100.0) }
}

/// `a`, `a and b`, `a, b and 3 more`
fn list(names: &[String]) -> String {
    match names {
        [] => String::new(),
        [one] => one.clone(),
        [one, two] => format!("{one} and {two}"),
        [one, two, three] => format!("{one}, {two} and {three}"),
        [one, two, rest @ ..] => format!("{one}, {two} and {} more", rest.len()),
    }
}

#[cfg(test)]
mod tests;
