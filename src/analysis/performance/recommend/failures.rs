//! Rules for checks that failed, nearly failed, or passed at a second try.

use super::{Case, Matter, Recommendation, fact, list, percent, span, sure};
use crate::analysis::performance::Setting;
use crate::analysis::performance::bottleneck::{LEAST_COUNT, hidden_tries};
use crate::analysis::performance::figures::{Figures, ServiceFigures};
use crate::analysis::trend::Direction;
use crate::model::check::Reason;
use crate::model::id::RegionName;

/// The share of checks that fail from which a mix of reasons is worth a word, and how many there must be.
const ERRORS: f64 = 0.01;
const LEAST_FAILURES: u64 = 5;
/// A mix is of one kind when so much of it is.
const ONE_KIND: f64 = 0.6;
/// A share of failures from which on it does not happen at times.
const ALWAYS: f64 = 0.99;
/// The share of checks that needed a second try.
const HIDDEN: f64 = 0.05;
const LEAST_HIDDEN: u64 = 10;
/// A timeout is tight when the slowest in a hundred that pass come so near.
const TIGHT: f64 = 0.8;

pub(super) fn timeout_tight(case: &Case<'_>) -> Vec<Recommendation> {
    let one = |(service, setting): (&ServiceFigures, &Setting)| {
        let latency = service.figures.latency.filter(|latency| latency.count >= LEAST_COUNT)?;
        let timeouts = service.figures.failures.get(&Reason::Timeout).copied().unwrap_or(0);
        let timeout = setting.timeout.as_secs_f64() * 1e6;
        let open = service.regions.keys().any(|region| case.open(service.service, region, Matter::Timeouts));
        if !open || latency.p99 < TIGHT * timeout || timeouts == 0 {
            return None;
        }
        let (sure, because) = sure(latency.count, latency.p99 / (TIGHT * timeout) * (1.0 + timeouts as f64 / 10.0));
        Some(Recommendation {
            rule: "timeout_tight",
            services: vec![service.service],
            regions: Vec::new(),
            phase: None,
            endpoint: None,
            what: format!("The timeout of {} cuts into its own latency: {} allowed, one check in a hundred takes {}", setting.name, span(timeout), span(latency.p99)),
            why: vec![
                fact("timeout", timeout / 1e3, "ms"),
                fact("latency p99", latency.p99 / 1e3, "ms"),
                fact("latency median", latency.p50 / 1e3, "ms"),
                fact("timeouts", timeouts as f64, "checks"),
            ],
            sure,
            because,
            advice: "Some of what is called a failure here is only slow: allow about twice the p99, set degraded_after_ms to what users bear, so that \
                     slow is called slow; and see why so many answers come late."
                .to_owned(),
            cost: Some(timeouts as f64 * setting.timeout.as_secs_f64() / case.analysis.days),
            explains: service.regions.keys().map(|region| (service.service, region.clone(), Matter::Timeouts)).collect(),
        })
    };
    case.services().filter_map(one).collect()
}

pub(super) fn retries_hide(case: &Case<'_>) -> Vec<Recommendation> {
    let one = |(service, setting): (&ServiceFigures, &Setting)| {
        let figures = &service.figures;
        let hidden = hidden_tries(figures, setting.retries);
        let share = hidden as f64 / figures.checks.max(1) as f64;
        if hidden < LEAST_HIDDEN || share < HIDDEN || figures.error_rate()? >= ERRORS {
            return None;
        }
        let (sure, because) = sure(figures.checks, share / HIDDEN);
        Some(Recommendation {
            rule: "retries_hide_failures",
            services: vec![service.service],
            regions: Vec::new(),
            phase: None,
            endpoint: None,
            what: format!("{} looks up, yet {} of its checks fail at first and pass at a further try", setting.name, percent(share)),
            why: vec![
                fact("further tries of checks that passed", hidden as f64, "tries"),
                fact("checks", figures.checks as f64, "checks"),
                fact("checks that failed", figures.error_rate()? * 100.0, "%"),
            ],
            sure,
            because,
            advice: "Its users do not all try again: look at one of several backends that is ill, at connections cut while idle, and at limits on \
                     connections. The results list names the tries (attempts); with retries set to 0 the failures show."
                .to_owned(),
            cost: figures.latency.map(|latency| hidden as f64 * latency.mean / 1e6 / case.analysis.days),
            explains: service.regions.keys().map(|region| (service.service, region.clone(), Matter::Failures)).collect(),
        })
    };
    case.services().filter_map(one).collect()
}

pub(super) fn error_mix(case: &Case<'_>) -> Vec<Recommendation> {
    case.services().filter_map(|(service, setting)| mix(case, service, setting)).collect()
}

fn mix(case: &Case<'_>, service: &ServiceFigures, setting: &Setting) -> Option<Recommendation> {
    let open = |matter: Matter| service.regions.keys().any(|region| case.open(service.service, region, matter));
    let reasons_of = |figures: &Figures| {
        let mut reasons: Vec<(Reason, u64)> = figures.failures.iter().map(|(reason, count)| (*reason, *count)).collect();
        // What another rule has explained is no news.
        reasons.retain(|(reason, _)| *reason != Reason::Timeout || open(Matter::Timeouts));
        reasons.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        reasons
    };
    let all: u64 = reasons_of(&service.figures).iter().map(|(_, count)| count).sum();
    if all < LEAST_FAILURES || (all as f64) < ERRORS * service.figures.checks.max(1) as f64 || !open(Matter::Failures) {
        return None;
    }
    // What is said of one region is said in its own figures.
    let place = place(service, all);
    let figures = place.map_or(&service.figures, |region| &service.regions[region]);
    let reasons = reasons_of(figures);
    let failed: u64 = reasons.iter().map(|(_, count)| count).sum();
    let rate = failed as f64 / figures.checks.max(1) as f64;
    let (reason, most) = *reasons.first()?;
    let one_kind = most as f64 >= ONE_KIND * failed as f64;
    let (sure, because) = sure(figures.checks, rate / ERRORS);
    let named: Vec<String> = reasons.iter().map(|(reason, count)| format!("{} {count}", in_words(*reason))).collect();
    let mut why = vec![
        fact("failed checks", failed as f64, "checks"),
        fact("checks", figures.checks as f64, "checks"),
        fact("failed", rate * 100.0, "%"),
    ];
    why.extend(reasons.iter().map(|(reason, count)| fact(format!("failed by {}", reason.name()), *count as f64, "checks")));
    let errors = &figures.errors;
    if let (Direction::Worse, Some(before)) = (errors.direction, errors.before) {
        why.push(fact("failed in the period before", before * 100.0, "%"));
    }
    let where_to = match place {
        Some(region) => format!(" in {region}"),
        None => String::new(),
    };
    let kind = if one_kind { format!("mostly {}", in_words(reason)) } else { list(&named) };
    let local = place.map_or("", |_| "Only one region sees most of it: begin with the way from there. ");
    Some(Recommendation {
        rule: "errors",
        services: vec![service.service],
        regions: place.into_iter().cloned().collect(),
        phase: None,
        endpoint: None,
        what: format!("{} fails {} of its checks{where_to}, {kind}", setting.name, percent(rate)),
        why,
        sure,
        because,
        advice: format!("{local}{}", if one_kind { look(reason, rate >= ALWAYS) } else { MIXED }),
        cost: None,
        explains: service.regions.keys().map(|region| (service.service, region.clone(), Matter::Failures)).collect(),
    })
}

/// A reason as people call it.
pub(super) fn in_words(reason: Reason) -> &'static str {
    match reason {
        Reason::Dns => "DNS",
        Reason::Connect => "connection",
        Reason::Tls => "TLS",
        Reason::Certificate => "certificate",
        Reason::Timeout => "timeout",
        Reason::Status => "status code",
        Reason::Header => "header",
        Reason::Body => "body",
        Reason::Json => "JSON",
        Reason::TooLarge => "too large",
        Reason::Redirect => "redirect",
        Reason::Blocked => "blocked network",
        Reason::Protocol => "protocol",
        Reason::Internal => "the probe itself",
    }
}

/// The region nearly all failures are from, where others check it too.
fn place(service: &ServiceFigures, failed: u64) -> Option<&RegionName> {
    let worst = service.regions.iter().max_by_key(|(_, figures)| figures.failed())?;
    (service.regions.len() > 1 && worst.1.failed() as f64 >= 0.8 * failed as f64).then_some(worst.0)
}

const MIXED: &str = "Several kinds together are what an overloaded or restarting service shows: look at its restarts, memory and load at the times of the \
                     failures before looking at any one kind.";

/// `always`: there is no check that passes.
fn look(reason: Reason, always: bool) -> &'static str {
    match reason {
        Reason::Dns if always => {
            "The name is never found: look at whether it is written right, whether the record and the domain are still there, and at the nodes' \
             resolver."
        }
        Reason::Timeout => {
            "It takes connections and does not answer in time: look for threads or database connections that are used up, locks, and a dependency \
             that hangs without a timeout of its own."
        }
        Reason::Status => {
            "It answers, and says itself that it failed: its own log has the cause. 502 to 504 come from the proxy in front of it, 429 means that \
             the checks are throttled, 401 and 403 that the credentials of the checks are no longer right."
        }
        Reason::Connect => {
            "Nothing takes the connection: look at whether the process runs and listens, at the listen queue and limits on open files, and at \
             firewalls and health checks of the load balancer that take backends out."
        }
        Reason::Dns => {
            "The name is not found at times: look at the name servers, at records of which one is wrong, and at the nodes' resolver."
        }
        Reason::Tls => {
            "The handshake breaks off: look at protocol versions and ciphers after changes, and at front ends of which one is set up differently."
        }
        Reason::Certificate => {
            "The certificate is not accepted: look at the names in it, at its chain, and at front ends that still show an old one."
        }
        Reason::Header | Reason::Body | Reason::Json => {
            "It answers, but not what is expected: a release changed the answer, or an error page comes with a good status. Mend the answer or the \
             expectation."
        }
        Reason::TooLarge => "The answer is larger than the checks read: bound it, or raise max_body_bytes.",
        Reason::Redirect => "Redirects lead too far or in a circle: look at rules for http to https, host names and log-in.",
        Reason::Blocked => "The checks are not allowed to go there: look at the lists of networks the monitor's nodes may reach.",
        Reason::Protocol => {
            "Connections end in the middle of an answer: look at crashes of workers, at keep-alive limits that race, and at the proxy."
        }
        Reason::Internal => "The monitor's own node failed here: look at its log, at its load and its open files.",
    }
}

pub(super) fn schedule_overrun(case: &Case<'_>) -> Vec<Recommendation> {
    let one = |(service, setting): (&ServiceFigures, &Setting)| {
        let latency = service.figures.latency.filter(|latency| latency.count >= LEAST_COUNT)?;
        let gap = setting.gap.as_secs_f64() * 1e6;
        if latency.p95 < TIGHT * gap {
            return None;
        }
        let (sure, because) = sure(latency.count, latency.p95 / (TIGHT * gap));
        Some(Recommendation {
            rule: "interval_too_short",
            services: vec![service.service],
            regions: Vec::new(),
            phase: None,
            endpoint: None,
            what: format!("Checks of {} take as long as the time between them: {} of {}", setting.name, span(latency.p95), span(gap)),
            why: vec![
                fact("latency p95", latency.p95 / 1e3, "ms"),
                fact("between two checks", gap / 1e3, "ms"),
                fact("timeout", setting.timeout.as_secs_f64() * 1e3, "ms"),
                fact("tries a check may make", f64::from(setting.retries) + 1.0, "tries"),
            ],
            sure,
            because,
            advice: "One check is hardly done when the next is due, so that the monitor itself is a load and rounds are missed: check less often, or \
                     allow less time."
                .to_owned(),
            cost: None,
            explains: Vec::new(),
        })
    };
    case.services().filter_map(one).collect()
}
