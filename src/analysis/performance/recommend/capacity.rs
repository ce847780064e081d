//! The rule that looks ahead: a latency that rises day by day, and the day it meets what the service may take.

use std::collections::BTreeMap;

use super::{Case, Matter, Recommendation, fact, span, sure};
use crate::aggregate::rollup::DAY;
use crate::analysis::performance::figures::{LATENCY, ServiceFigures, level_of};
use crate::analysis::performance::{PHASES, Setting};
use crate::analysis::slope::slope;
use crate::analysis::trend::median;
use crate::model::check::Phase;

/// Days with checks the line needs.
const LEAST_DAYS: usize = 7;
/// Further off than this nobody can see, in days.
const HORIZON: f64 = 90.0;
/// A line that grew by less than this over what was seen is not carried on.
const GROWTH: f64 = 1.1;

pub(super) fn limit_ahead(case: &Case<'_>) -> Vec<Recommendation> {
    case.services().filter_map(|(service, setting)| ahead(case, service, setting)).collect()
}

fn ahead(case: &Case<'_>, service: &ServiceFigures, setting: &Setting) -> Option<Recommendation> {
    let timeout = setting.timeout.as_secs_f64() * 1e6;
    let degraded = setting.degraded_after.map(|after| after.as_secs_f64() * 1e6).filter(|after| *after < timeout);
    let (limit, limit_of) = degraded.map_or((timeout, "its timeout"), |after| (after, "the latency it counts as degraded from"));
    let days = days(case, service, LATENCY);
    if days.len() < LEAST_DAYS {
        return None;
    }
    let line = slope(&days)?;
    let meets = line.meets(limit).filter(|meets| meets.at <= HORIZON && line.last >= GROWTH * line.first)?;
    // The phase that grows most carries the advice.
    let rise = |phase: Phase| slope(&self::days(case, service, level_of(phase))).map_or(0.0, |line| line.rise);
    let phase = PHASES.into_iter().max_by(|one, other| rise(*one).total_cmp(&rise(*other)))?;
    let (matter, advice) = match phase {
        Phase::Dns => (Matter::Dns, "What grows is the resolution of its name: look at the resolver and the name's servers."),
        Phase::Connect => {
            (Matter::Connect, "What grows is connecting: look at the way, and at the listen queue and the load balancer in front.")
        }
        Phase::Tls => (Matter::Tls, "What grows is the handshake: look at the CPU of what ends TLS, and at whether sessions are resumed."),
        Phase::Transfer => (Matter::Transfer, "What grows is the transfer: look at the size of the body; bound it by pages, compress it."),
        _ => (
            Matter::FirstByte,
            "What grows is the wait for the first byte: look for queries that read more each day (no index, no limit), tables and logs that are \
             never cleaned up, and capacity that traffic outgrows. Raising the limit only moves the day.",
        ),
    };
    let range = match meets.latest.filter(|latest| *latest <= 10.0 * HORIZON) {
        Some(latest) => format!("{:.0}–{:.0}", meets.soonest.floor(), latest.ceil()),
        None => format!("{:.0} or more", meets.soonest.floor()),
    };
    let count = service.figures.latency?.count;
    let (base, because) = sure(count, line.last / line.first / GROWTH);
    let width = meets.latest.map_or(0.5, |latest| 1.0 - (latest - meets.soonest) / (latest + meets.soonest));
    let matters = [matter, Matter::FirstByte, Matter::Timeouts];
    Some(Recommendation {
        rule: "limit_ahead",
        services: vec![service.service],
        regions: Vec::new(),
        phase: Some(phase),
        endpoint: None,
        what: format!(
            "{} grows by {} a day and meets {limit_of}, {}, in about {:.0} days ({range})",
            setting.name,
            span(line.rise),
            span(limit),
            meets.at.round()
        ),
        why: vec![
            fact("latency now, by the line", line.last / 1e3, "ms"),
            fact("rise", line.rise / 1e3, "ms/day"),
            fact("rise, at least", line.range.0 / 1e3, "ms/day"),
            fact("rise, at most", line.range.1 / 1e3, "ms/day"),
            fact("limit", limit / 1e3, "ms"),
            fact("days looked at", line.points as f64, "days"),
            fact("probability of chance", line.chance, ""),
        ],
        sure: (base * (0.5 + 0.5 * width) * 100.0).round() / 100.0,
        because: format!("{because}; a straight line through {} days, which nothing obliges it to follow", line.points),
        advice: advice.to_owned(),
        cost: case.cost(line.last - line.first, count),
        explains: service.regions.keys().flat_map(|region| matters.map(|matter| (service.service, region.clone(), matter))).collect(),
    })
}

/// The median of each day, over all regions that were there nearly always, in days.
fn days(case: &Case<'_>, service: &ServiceFigures, level: usize) -> Vec<(f64, f64)> {
    let periods = &case.analysis.periods;
    let mut by_region: Vec<BTreeMap<i64, f64>> = Vec::new();
    for region in service.regions.keys() {
        let Some(series) = case.analysis.series.get(&(service.service, region.clone())) else { continue };
        let mut days: BTreeMap<i64, Vec<f64>> = BTreeMap::new();
        for (start, us) in series.course(level, periods.adjoin()) {
            days.entry(start.div_euclid(DAY)).or_default().push(us);
        }
        by_region.push(days.into_iter().filter_map(|(day, levels)| Some((day, median(levels)?))).collect());
    }
    let most = by_region.iter().map(BTreeMap::len).max().unwrap_or(0);
    by_region.retain(|days| days.len() * 10 >= most * 9);
    let mut sums: BTreeMap<i64, (f64, usize)> = BTreeMap::new();
    for (day, us) in by_region.iter().flatten() {
        let sum = sums.entry(*day).or_default();
        *sum = (sum.0 + us, sum.1 + 1);
    }
    // A day some region is missing from is no day like the others.
    sums.into_iter()
        .filter(|(_, (_, count))| *count == by_region.len())
        .map(|(day, (sum, count))| (day as f64, sum / count as f64))
        .collect()
}
