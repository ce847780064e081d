//! Rules for the service itself: the wait for its first byte, and the bytes that follow.

use super::network::against_others;
use super::{Case, Matter, Recommendation, fact, list, percent, span, sure};
use crate::analysis::performance::bottleneck::LEAST_COUNT;
use crate::analysis::performance::figures::{Figures, ServiceFigures, Stats, level_of};
use crate::analysis::performance::{Grain, Setting};
use crate::analysis::slope::slope;
use crate::analysis::trend::{CHANCE, Direction};
use crate::model::check::Phase;
use crate::model::id::RegionName;

/// A region's first byte is late at so many times the others' median…
const LATE: f64 = 2.0;
/// …and so much later, in microseconds.
const LATER: f64 = 50_000.0;
/// Growth by less than this, and by less than so many microseconds, is none.
const GROWTH: f64 = 1.2;
const GROWN: f64 = 10_000.0;
/// A rhythm is one where the same hours of two periods go together so well, and high and low differ so much.
const GO_TOGETHER: f64 = 0.7;
const SWING: f64 = 1.5;
const SWING_US: f64 = 30_000.0;
const LEAST_HOURS: usize = 12;
/// A transfer worth a word is so much of the whole, and takes so long.
const TRANSFER_SHARE: f64 = 0.3;
const SLOW_TRANSFER: f64 = 50_000.0;

pub(super) fn first_byte_region(case: &Case<'_>) -> Vec<Recommendation> {
    let mut found = Vec::new();
    for (service, setting) in case.services() {
        let regions = case.regions(service, Matter::FirstByte);
        for (region, figures) in &regions {
            let of = |phase: Phase| move |figures: &Figures| figures.phase(phase).map(|stats| stats.p50);
            let Some((own, others)) = against_others(&regions, region, figures, of(Phase::FirstByte)) else { continue };
            let way = against_others(&regions, region, figures, of(Phase::Connect)).map_or(0.0, |(own, others)| own - others);
            if own < LATE * others || own - others < LATER.max(2.0 * way) {
                continue;
            }
            let count = figures.phase(Phase::FirstByte).map_or(0, |stats| stats.count);
            let (sure, because) = sure(count, own / others.max(1.0) / LATE);
            found.push(Recommendation {
                rule: "first_byte_slow_in_region",
                services: vec![service.service],
                regions: vec![(*region).clone()],
                phase: Some(Phase::FirstByte),
                endpoint: None,
                what: format!("{} answers {region} late: first byte after {}, {} elsewhere", setting.name, span(own), span(others)),
                why: vec![
                    fact(format!("first byte median in {region}"), own / 1e3, "ms"),
                    fact("first byte median in other regions", others / 1e3, "ms"),
                    fact("connect longer than in other regions", way / 1e3, "ms"),
                    fact("checks", count as f64, "checks"),
                ],
                sure,
                because,
                advice: "The way there is not longer by as much, so it is what answers there: a CDN edge that does not cache and fetches from far, \
                         a replica that is slow or cold, or requests that are routed to a backend in another place."
                    .to_owned(),
                cost: case.cost(own - others, count),
                explains: vec![(service.service, (*region).clone(), Matter::FirstByte)],
            });
        }
    }
    found
}

pub(super) fn first_byte_growing(case: &Case<'_>) -> Vec<Recommendation> {
    case.services().filter_map(|(service, setting)| growing(case, service, setting)).collect()
}

fn growing(case: &Case<'_>, service: &ServiceFigures, setting: &Setting) -> Option<Recommendation> {
    let regions = case.regions(service, Matter::FirstByte);
    let stats = service.figures.phase(Phase::FirstByte).filter(|stats| stats.count >= LEAST_COUNT)?;
    if regions.is_empty() {
        return None;
    }
    let trend = service.figures.phase_trends[level_of(Phase::FirstByte) - 1].filter(|trend| {
        trend.direction == Direction::Slower
            && trend.ratio.is_some_and(|ratio| ratio >= GROWTH)
            && trend.difference.is_some_and(|more| more >= GROWN)
    });
    let within = growth_within(case, service, &regions);
    let (ratio, confidence, how) = match (&within, &trend) {
        (Some((ratio, chance)), _) => (*ratio, 1.0 - chance, "and keeps growing"),
        (None, Some(trend)) => (trend.ratio?, trend.confidence(), "since the period before"),
        (None, None) => return None,
    };
    let errors = service.figures.errors.direction == Direction::Worse;
    let count = stats.count;
    let (base, _) = sure(count, ratio / GROWTH);
    let advice = match (within.is_some(), errors) {
        (_, true) => {
            "It fails more as it slows down, as what runs short does: look at the backend's saturation first (CPU, connection and thread pools, \
             locks, queue lengths), then at the queries and calls behind this address; a cache in front buys time."
        }
        (true, false) => {
            "It grows steadily while name, way and handshake do not: something behind this address grows with it. Look for queries without an \
             index or without a limit on a table that grows, caches that fill or miss, and memory that is not given back (a restart that cures \
             it for a while says so)."
        }
        (false, false) => {
            "It stepped up and stays there while the network did not change: look at what was released or configured between the periods, at \
             query plans that changed, and at a cache that no longer hits."
        }
    };
    let mut why = vec![
        fact("first byte median", stats.p50 / 1e3, "ms"),
        fact("first byte p95", stats.p95 / 1e3, "ms"),
        fact("growth", ratio, "times"),
        fact("probability of chance", 1.0 - confidence, ""),
        fact("checks", count as f64, "checks"),
    ];
    if errors {
        why.push(fact("failed checks now", service.figures.errors.now.unwrap_or(0.0) * 100.0, "%"));
        why.push(fact("failed checks before", service.figures.errors.before.unwrap_or(0.0) * 100.0, "%"));
    }
    let affected = [Matter::FirstByte, Matter::Timeouts];
    Some(Recommendation {
        rule: "first_byte_growing",
        services: vec![service.service],
        regions: if regions.len() < service.regions.len() {
            regions.iter().map(|(region, _)| (*region).clone()).collect()
        } else {
            Vec::new()
        },
        phase: Some(Phase::FirstByte),
        endpoint: None,
        what: format!("{} takes {ratio:.1} times as long to its first byte {how}: {} now", setting.name, span(stats.p50)),
        why,
        sure: (base * confidence * 100.0).round() / 100.0,
        because: format!("{count} checks; chance makes so much with a probability of {:.2} %", (1.0 - confidence) * 100.0),
        advice: advice.to_owned(),
        cost: case.cost(stats.p50 - stats.p50 / ratio, count),
        explains: service.regions.keys().flat_map(|region| affected.map(|matter| (service.service, region.clone(), matter))).collect(),
    })
}

/// By how much the first byte grew from the start of the period to its end, and the probability of chance. The same hours of the
/// earlier period, where they are known, take the habit of the day out; where they are not, minutes alone are short enough to
/// have none.
fn growth_within(case: &Case<'_>, service: &ServiceFigures, regions: &[(&RegionName, &Figures)]) -> Option<(f64, f64)> {
    let level = level_of(Phase::FirstByte);
    let periods = &case.analysis.periods;
    let mut sums: std::collections::BTreeMap<i64, (f64, f64)> = std::collections::BTreeMap::new();
    for (region, _) in regions {
        let series = case.analysis.series.get(&(service.service, (*region).clone()))?;
        let earlier: std::collections::BTreeMap<i64, f64> =
            series.course(level, true).into_iter().filter(|(start, _)| *start < periods.since).collect();
        for (start, us) in series.course(level, false) {
            let habit = match (earlier.get(&(start - periods.apart)), periods.grain) {
                (Some(before), _) => before.max(1.0).ln(),
                (None, Grain::Minute) => 0.0,
                (None, _) => continue,
            };
            let sum = sums.entry(start).or_default();
            *sum = (sum.0 + us.max(1.0).ln() - habit, sum.1 + 1.0);
        }
    }
    let points: Vec<(f64, f64)> =
        sums.into_iter().map(|(start, (sum, count))| (start as f64 / periods.block as f64, sum / count)).collect();
    let slope = slope(&points)?;
    let ratio = (slope.last - slope.first).exp();
    let now = service.figures.phase(Phase::FirstByte)?.p50;
    (slope.rises() && slope.chance < CHANCE && ratio >= GROWTH && now * (1.0 - 1.0 / ratio) >= GROWN).then_some((ratio, slope.chance))
}

pub(super) fn first_byte_load(case: &Case<'_>) -> Vec<Recommendation> {
    let one = |(service, setting): (&ServiceFigures, &Setting)| {
        if case.analysis.periods.grain != Grain::Hour {
            return None;
        }
        let regions = case.regions(service, Matter::FirstByte);
        let level = level_of(Phase::FirstByte);
        let periods = &case.analysis.periods;
        let mut pairs: std::collections::BTreeMap<i64, (f64, f64, f64)> = std::collections::BTreeMap::new();
        for (region, _) in &regions {
            let course = case.analysis.series.get(&(service.service, (*region).clone()))?.course(level, true);
            let at: std::collections::BTreeMap<i64, f64> = course.into_iter().collect();
            for (start, now) in at.range(periods.since..) {
                let Some(before) = at.get(&(start - periods.apart)) else { continue };
                let sum = pairs.entry(*start).or_default();
                *sum = (sum.0 + before.max(1.0).ln(), sum.1 + now.max(1.0).ln(), sum.2 + 1.0);
            }
        }
        let (before, now): (Vec<f64>, Vec<f64>) = pairs.into_values().map(|(before, now, count)| (before / count, now / count)).unzip();
        if now.len() < LEAST_HOURS {
            return None;
        }
        let together = rank_correlation(&before, &now);
        let mut sorted = now.clone();
        sorted.sort_by(f64::total_cmp);
        let (low, high) = (sorted[sorted.len() / 10].exp(), sorted[sorted.len() * 9 / 10].exp());
        let swing = high / low;
        if together < GO_TOGETHER || swing < SWING || high - low < SWING_US {
            return None;
        }
        let stats = service.figures.phase(Phase::FirstByte)?;
        let (sure, because) = sure(now.len() as u64 * 4, swing / SWING * together / GO_TOGETHER);
        Some(Recommendation {
            rule: "first_byte_follows_load",
            services: vec![service.service],
            regions: Vec::new(),
            phase: Some(Phase::FirstByte),
            endpoint: None,
            what: format!("{} slows down at the same hours each time: first byte {} at its best, {} at its worst", setting.name, span(low), span(high)),
            why: vec![
                fact("first byte in its quiet hours", low / 1e3, "ms"),
                fact("first byte in its busy hours", high / 1e3, "ms"),
                fact("rank correlation of the same hours of both periods", together, ""),
                fact("hours compared", now.len() as f64, "hours"),
            ],
            sure,
            because: format!("{because}; hours of both periods go together by {together:.2}"),
            advice: "What follows the clock follows the load, or a job that runs by the clock: give the busy hours more capacity or a cache, move \
                     batch jobs and backups out of them, and look at what queues then (connections, locks, workers)."
                .to_owned(),
            cost: case.cost(stats.mean - low, stats.count),
            explains: regions.iter().map(|(region, _)| (service.service, (*region).clone(), Matter::FirstByte)).collect(),
        })
    };
    case.services().filter_map(one).collect()
}

pub(super) fn transfer_slow(case: &Case<'_>) -> Vec<Recommendation> {
    let heavy = |figures: &Figures| -> Option<(Stats, f64)> {
        let (stats, share) = (*figures.phase(Phase::Transfer)?, figures.share(Phase::Transfer)?);
        (stats.count >= LEAST_COUNT && stats.p50 >= SLOW_TRANSFER && share >= TRANSFER_SHARE).then_some((stats, share))
    };
    let one = |(service, setting): (&ServiceFigures, &Setting)| {
        let regions = case.regions(service, Matter::Transfer);
        let slow: Vec<(&RegionName, (Stats, f64))> =
            regions.iter().filter_map(|(region, figures)| Some((*region, heavy(figures)?))).collect();
        let (_, (stats, share)) = slow.iter().max_by(|one, other| one.1.0.p50.total_cmp(&other.1.0.p50))?;
        let some = slow.len() < service.regions.len();
        let names: Vec<String> = slow.iter().map(|(region, _)| region.to_string()).collect();
        let count: u64 = slow.iter().map(|(_, (stats, _))| stats.count).sum();
        let (sure, because) = sure(count, (share / TRANSFER_SHARE).min(stats.p50 / SLOW_TRANSFER));
        let place = if some { format!(" from {}", list(&names)) } else { String::new() };
        let excess: f64 = slow.iter().map(|(_, (stats, _))| (stats.mean - stats.p10 / 2.0) * stats.count as f64).sum();
        Some(Recommendation {
            rule: "transfer_slow",
            services: vec![service.service],
            regions: if some { slow.iter().map(|(region, _)| (*region).clone()).collect() } else { Vec::new() },
            phase: Some(Phase::Transfer),
            endpoint: None,
            what: format!("{} spends {} of each check on the body{place}: {}", setting.name, percent(*share), span(stats.p50)),
            why: vec![
                fact("transfer median", stats.p50 / 1e3, "ms"),
                fact("transfer p95", stats.p95 / 1e3, "ms"),
                fact("transfer share of the latency", share * 100.0, "%"),
                fact("checks", count as f64, "checks"),
            ],
            sure,
            because,
            advice: match some {
                true => {
                    "Other regions fetch the same body quickly, so it is the way's throughput from there: look for loss and small windows, and serve \
                     the body from nearer by."
                }
                false => {
                    "The body is large for its way, or comes in drops: compress it (gzip, brotli), answer less (pages, fields), and see whether the \
                     server streams while it still works."
                }
            }
            .to_owned(),
            cost: case.cost(excess / count.max(1) as f64, count),
            explains: slow.iter().map(|(region, _)| (service.service, (*region).clone(), Matter::Transfer)).collect(),
        })
    };
    case.services().filter_map(one).collect()
}

/// Spearman's.
fn rank_correlation(one: &[f64], other: &[f64]) -> f64 {
    let ranks = |values: &[f64]| -> Vec<f64> {
        let rank = |value: &f64| {
            let (below, same) =
                values.iter().fold((0, 0), |(below, same), other| (below + usize::from(other < value), same + usize::from(other == value)));
            below as f64 + (same as f64 + 1.0) / 2.0
        };
        values.iter().map(rank).collect()
    };
    let (one, other) = (ranks(one), ranks(other));
    let middle = (one.len() as f64 + 1.0) / 2.0;
    let product = |one: &[f64], other: &[f64]| one.iter().zip(other).map(|(one, other)| (one - middle) * (other - middle)).sum::<f64>();
    let spread = (product(&one, &one) * product(&other, &other)).sqrt();
    if spread > 0.0 { product(&one, &other) / spread } else { 0.0 }
}
