//! The rule for the monitor's own API.

use super::{Case, Recommendation, fact, percent, span, sure};
use crate::aggregate::endpoint::EndpointKind;
use crate::analysis::performance::bottleneck::LEAST_COUNT;
use crate::analysis::performance::figures::EndpointFigures;

/// An answer in twenty takes longer than this, in microseconds.
const SLOW: f64 = 500_000.0;
/// The share of answers that are this program's failures, and how many there must be.
const FAILING: f64 = 0.01;
const LEAST_FAILURES: u64 = 5;

pub(super) fn endpoint_slow(case: &Case<'_>) -> Vec<Recommendation> {
    let answers = case.analysis.endpoints.iter().filter(|of| of.endpoint.kind == EndpointKind::Answer && of.latency.count >= LEAST_COUNT);
    answers.filter_map(|of| failing(of).or_else(|| slow(case, of))).collect()
}

fn failing(of: &EndpointFigures) -> Option<Recommendation> {
    let (all, failed) = (of.classes.iter().sum::<u64>(), of.classes[4]);
    let share = failed as f64 / all.max(1) as f64;
    if failed < LEAST_FAILURES || share < FAILING {
        return None;
    }
    let (sure, because) = sure(all, share / FAILING);
    let name = format!("{} {}", of.endpoint.method, of.endpoint.route);
    let advice = "The monitor itself fails to answer, most often because its store is away or slow: see /readyz, the store's part of the health of \
                  the system, and logs/monitor.log at these times.";
    let why = vec![
        fact("answers of the 5xx class", failed as f64, "requests"),
        fact("requests", all as f64, "requests"),
        fact("failed", share * 100.0, "%"),
    ];
    Some(advice_of(
        of,
        "own_endpoint_fails",
        format!("The monitor's own {name} fails for {} of its requests", percent(share)),
        why,
        (sure, because),
        advice,
        None,
    ))
}

fn slow(case: &Case<'_>, of: &EndpointFigures) -> Option<Recommendation> {
    if of.latency.p95 < SLOW {
        return None;
    }
    let name = format!("{} {}", of.endpoint.method, of.endpoint.route);
    let why = vec![
        fact("p95", of.latency.p95 / 1e3, "ms"),
        fact("median", of.latency.p50 / 1e3, "ms"),
        fact("requests", of.latency.count as f64, "requests"),
    ];
    let advice = "Ask for less at once (page_size, a shorter period, one service) or less often; if the store is a server, look at the way to it and at \
                  its load; if checks are slow at the same times, the machine is too small for both.";
    let what = format!("The monitor's own {name} is slow: one answer in twenty takes {} or more", span(of.latency.p95));
    let cost = case.cost(of.latency.mean - of.latency.p10, of.latency.count);
    Some(advice_of(of, "own_endpoint_slow", what, why, sure(of.latency.count, of.latency.p95 / SLOW), advice, cost))
}

fn advice_of(
    of: &EndpointFigures,
    rule: &'static str,
    what: String,
    why: Vec<super::Fact>,
    (sure, because): (f64, String),
    advice: &str,
    cost: Option<f64>,
) -> Recommendation {
    Recommendation {
        rule,
        services: Vec::new(),
        regions: Vec::new(),
        phase: None,
        endpoint: Some(of.endpoint.clone()),
        what,
        why,
        sure,
        because,
        advice: advice.to_owned(),
        cost,
        explains: Vec::new(),
    }
}
