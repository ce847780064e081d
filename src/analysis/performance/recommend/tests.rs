use std::f64::consts::TAU;
use std::time::Duration;

use super::*;
use crate::analysis::performance::sample::{At, Check, Sample, healthy};
use crate::model::check::Reason;

const DNS: usize = 0;
const CONNECT: usize = 1;
const TLS: usize = 2;
const FIRST_BYTE: usize = 3;
const TRANSFER: usize = 4;

fn with(at: At, phases: &[(usize, f64)]) -> Check {
    let mut check = healthy(at);
    phases.iter().for_each(|(phase, ms)| check.phases[*phase] = ms * (1.0 + 0.1 * at.noise));
    check
}

/// Exactly these rules speak, each about this.
fn check(sample: &Sample, what: impl Fn(At) -> Check, expected: &[(&str, &str)]) -> Vec<Recommendation> {
    let found = recommend(&sample.analyse(what), &sample.settings);
    let mut said: Vec<(&str, String)> = found.iter().map(|one| (one.rule, one.what.clone())).collect();
    said.sort();
    assert_eq!(said.len(), expected.len(), "{found:#?}");
    for ((rule, what), (wanted, part)) in said.iter().zip(expected) {
        assert!(rule == wanted && what.contains(part), "{rule}: {what}, for {wanted}: {part}");
    }
    assert!(found.iter().all(|one| (0.2..=1.0).contains(&one.sure) && !one.why.is_empty() && !one.advice.contains("  ")), "{found:#?}");
    found
}

fn silent(sample: &Sample, what: impl Fn(At) -> Check) {
    check(sample, what, &[]);
}

#[test]
fn of_healthy_services_nothing_is_said() {
    for hours in [1, 24, 168] {
        silent(&Sample::new(hours), healthy);
    }
    silent(&Sample { regions: vec!["eu"], ..Sample::new(24) }, healthy);
    silent(&Sample { regions: vec![], ..Sample::new(24) }, healthy);
}

#[test]
fn names_slow_everywhere_are_one_matter() {
    let found = check(&Sample::new(24), |at| with(at, &[(DNS, 180.0)]), &[("dns_slow_everywhere", "for 5 services")]);
    assert!(found[0].regions.is_empty() && found[0].services.len() == 5 && found[0].advice.contains("resolver"), "{found:#?}");
    // Empty caches now and then are told apart.
    let often =
        check(&Sample::new(24), |at| with(at, &[(DNS, if at.index % 5 == 0 { 400.0 } else { 2.0 })]), &[("dns_slow_everywhere", "")]);
    assert!(often[0].advice.contains("TTL"), "{often:#?}");
    silent(&Sample::new(24), |at| with(at, &[(DNS, 30.0)]));
}

#[test]
fn names_slow_in_one_region_are_its_resolver() {
    let in_ap = |at: At| if at.region == "ap" { with(at, &[(DNS, 180.0)]) } else { healthy(at) };
    let found = check(&Sample::new(24), in_ap, &[("dns_slow_in_region", "in ap alone")]);
    assert_eq!(found[0].regions, vec![RegionName::from("ap")]);
    let alone = Sample { regions: vec!["eu"], ..Sample::new(24) };
    check(&alone, |at| with(at, &[(DNS, 180.0)]), &[("dns_slow_in_region", "Names resolve slowly: about")]);
}

#[test]
fn one_slow_name_is_its_own() {
    let one = |at: At| if at.service == 3 { with(at, &[(DNS, 180.0)]) } else { healthy(at) };
    check(&Sample::new(24), one, &[("dns_slow_for_service", "api-3")]);
}

#[test]
fn a_region_slow_for_all_is_said_once() {
    let far = |at: At| if at.region == "ap" { with(at, &[(CONNECT, 120.0), (TLS, 240.0), (FIRST_BYTE, 180.0)]) } else { healthy(at) };
    let found = check(&Sample::new(24), far, &[("region_slow", "ap is slow for 5 of 5 services")]);
    assert_eq!(found[0].regions, vec![RegionName::from("ap")]);
    let little = |at: At| if at.region == "ap" { with(at, &[(CONNECT, 22.0), (TLS, 30.0), (FIRST_BYTE, 55.0)]) } else { healthy(at) };
    silent(&Sample::new(24), little);
}

#[test]
fn a_long_way_explains_the_handshake_and_the_first_byte() {
    let far = |at: At| match (at.service, at.region) {
        (2, "us") => with(at, &[(CONNECT, 130.0), (TLS, 260.0), (FIRST_BYTE, 170.0)]),
        _ => healthy(at),
    };
    let found = check(&Sample::new(24), far, &[("connect_slow_in_region", "api-2 is far from us")]);
    assert!(found[0].advice.contains("CDN"));
}

#[test]
fn a_heavy_handshake_is_told_from_a_long_one() {
    let heavy = |at: At| if at.service == 1 { with(at, &[(TLS, 95.0)]) } else { healthy(at) };
    let found = check(&Sample::new(24), heavy, &[("tls_share_high", "api-1 spends 6")]);
    assert!(found[0].advice.contains("chain"), "{found:#?}");
    let two_trips = |at: At| if at.service == 1 { with(at, &[(CONNECT, 30.0), (TLS, 62.0), (FIRST_BYTE, 35.0)]) } else { healthy(at) };
    let found = check(&Sample::new(24), two_trips, &[("tls_share_high", "api-1")]);
    assert!(found[0].advice.contains("TLS 1.3"), "{found:#?}");
    // A round trip is what it must cost, however long the way.
    silent(
        &Sample::new(24),
        |at| if at.service == 1 { with(at, &[(CONNECT, 60.0), (TLS, 66.0), (FIRST_BYTE, 70.0)]) } else { healthy(at) },
    );
}

#[test]
fn an_answer_late_in_one_region_is_what_answers_there() {
    let late = |at: At| if (at.service, at.region) == (4, "eu") { with(at, &[(FIRST_BYTE, 260.0)]) } else { healthy(at) };
    check(&Sample::new(24), late, &[("first_byte_slow_in_region", "api-4 answers eu late")]);
}

#[test]
fn a_first_byte_that_grows_is_told_from_one_that_stepped_up() {
    let grows = |at: At| if at.service == 2 { with(at, &[(FIRST_BYTE, 40.0 + 4.0 * at.hours.max(0.0))]) } else { healthy(at) };
    let found = check(&Sample::new(24), grows, &[("first_byte_growing", "and keeps growing")]);
    assert!(found[0].advice.contains("index") && found[0].sure > 0.6, "{found:#?}");
    let stepped = |at: At| if at.service == 2 && at.hours >= 0.0 { with(at, &[(FIRST_BYTE, 70.0)]) } else { healthy(at) };
    let found = check(&Sample::new(24), stepped, &[("first_byte_growing", "since the period before")]);
    assert!(found[0].advice.contains("released"), "{found:#?}");
    // In an hour of minutes too, without anything to hold it against: and what breaks by it is not said again.
    let young = |at: At| match (at.service, at.index % 10) {
        _ if at.hours < 0.0 => Check { failure: Some(Reason::Dns), ..healthy(at) },
        (2, 0) if at.hours > 0.5 => Check { failure: Some(Reason::Timeout), attempts: 2, ..healthy(at) },
        (2, _) => with(at, &[(FIRST_BYTE, 40.0 + 200.0 * at.hours)]),
        _ => healthy(at),
    };
    check(&Sample::new(1), young, &[("first_byte_growing", "api-2")]);
    silent(&Sample::new(24), |at| if at.hours >= 0.0 { with(at, &[(FIRST_BYTE, 44.0)]) } else { healthy(at) });
}

#[test]
fn what_follows_the_clock_follows_the_load() {
    let busy = |at: At| if at.service == 5 { with(at, &[(FIRST_BYTE, 120.0 + 80.0 * (at.hours / 24.0 * TAU).sin())]) } else { healthy(at) };
    check(&Sample::new(48), busy, &[("first_byte_follows_load", "api-5 slows down at the same hours")]);
    // A wave that keeps no hours is no rhythm of the day.
    silent(&Sample::new(48), |at| {
        if at.service == 5 { with(at, &[(FIRST_BYTE, 120.0 + 80.0 * (at.hours / 19.0 * TAU).sin())]) } else { healthy(at) }
    });
}

#[test]
fn a_body_that_takes_its_time_is_named() {
    let large = |at: At| if at.service == 3 { with(at, &[(TRANSFER, 150.0)]) } else { healthy(at) };
    let found = check(&Sample::new(24), large, &[("transfer_slow", "api-3 spends")]);
    assert!(found[0].advice.contains("compress"));
    silent(&Sample::new(24), |at| if at.service == 3 { with(at, &[(TRANSFER, 45.0)]) } else { healthy(at) });
}

#[test]
fn a_rising_latency_meets_its_limit_on_a_day() {
    let mut sample = Sample::new(168);
    sample.setting(2).degraded_after = Some(Duration::from_millis(500));
    // From 200 ms at −7 days by 15 ms a day: 410 at the end, and 33 of the other phases; 57 to go.
    let rises = |at: At| if at.service == 2 { with(at, &[(FIRST_BYTE, 200.0 + 15.0 * (at.hours + 168.0) / 24.0)]) } else { healthy(at) };
    let found = check(&sample, rises, &[("limit_ahead", "in about 4 days (")]);
    assert!(found[0].what.contains("counts as degraded from, 500 ms"), "{found:#?}");
    // With a limit out of sight the growth itself is told.
    check(&Sample::new(168), rises, &[("first_byte_growing", "api-2")]);
}

#[test]
fn a_timeout_that_cuts_into_the_latency_is_told_before_its_failures() {
    let mut sample = Sample::new(24);
    sample.setting(1).timeout = Duration::from_millis(300);
    let tight = |at: At| match (at.service, at.index % 48) {
        (1, 0) => Check { failure: Some(Reason::Timeout), attempts: 2, ..healthy(at) },
        (1, 1..4) => with(at, &[(FIRST_BYTE, 230.0)]),
        _ => healthy(at),
    };
    check(&sample, tight, &[("timeout_tight", "timeout of api-1")]);
    // Far from it, the same failures are a matter of the service.
    check(&Sample::new(24), tight, &[("errors", "mostly timeout")]);
}

#[test]
fn retries_that_hide_failures_are_told() {
    let hides = |at: At| if at.service == 4 && at.index % 8 == 0 { Check { attempts: 2, ..healthy(at) } } else { healthy(at) };
    check(&Sample::new(24), hides, &[("retries_hide_failures", "12 % of its checks")]);
    silent(&Sample::new(24), |at| if at.service == 4 && at.index % 50 == 0 { Check { attempts: 2, ..healthy(at) } } else { healthy(at) });
}

#[test]
fn the_mix_of_failures_says_where_to_look() {
    let failing = |reason: Reason| {
        move |at: At| {
            if at.service == 1 && at.index % 12 == 0 { Check { failure: Some(reason), attempts: 2, ..healthy(at) } } else { healthy(at) }
        }
    };
    for (reason, word) in [(Reason::Status, "502"), (Reason::Timeout, "threads"), (Reason::Connect, "listens"), (Reason::Tls, "ciphers")] {
        let found = check(&Sample::new(24), failing(reason), &[("errors", &format!("mostly {}", failures::in_words(reason)))]);
        assert!(found[0].advice.contains(word), "{found:#?}");
    }
    let mixed = |at: At| match (at.service, at.index % 24) {
        (1, 0) => Check { failure: Some(Reason::Status), attempts: 2, ..healthy(at) },
        (1, 12) => Check { failure: Some(Reason::Connect), attempts: 2, ..healthy(at) },
        _ => healthy(at),
    };
    let found = check(&Sample::new(24), mixed, &[("errors", "connection 36 and status code 36")]);
    assert!(found[0].advice.contains("overloaded"), "{found:#?}");
    let in_us = |at: At| if at.region == "us" { failing(Reason::Connect)(at) } else { healthy(at) };
    check(&Sample::new(24), in_us, &[("errors", "of its checks in us")]);
    // What fails in one region alone is told in that region's figures, not in those of all.
    let all_in_us = |at: At| match (at.service, at.region) {
        (1, "us") => Check { failure: Some(Reason::Dns), attempts: 2, ..healthy(at) },
        _ => healthy(at),
    };
    let found = check(&Sample::new(24), all_in_us, &[("errors", "fails 100 % of its checks in us, mostly DNS")]);
    let figure = |what: &str| found[0].why.iter().find(|fact| fact.what == what).map(|fact| fact.value);
    assert_eq!((figure("failed checks"), figure("checks"), figure("failed")), (Some(288.0), Some(288.0), Some(100.0)), "{found:#?}");
    assert!(found[0].advice.contains("never found") && !found[0].advice.contains("at times"), "{found:#?}");
    assert!(found[0].because.contains("288 checks, far past"), "{found:#?}");
    silent(&Sample::new(24), |at| {
        if at.service == 1 && at.index % 200 == 0 { failing(Reason::Status)(At { index: 12, ..at }) } else { healthy(at) }
    });
}

#[test]
fn checks_that_fill_their_interval_are_told() {
    let mut sample = Sample::new(24);
    sample.setting(3).gap = Duration::from_millis(80);
    check(&sample, healthy, &[("interval_too_short", "api-3")]);
    sample.setting(3).gap = Duration::from_millis(800);
    silent(&sample, healthy);
}

#[test]
fn the_monitors_own_api_is_not_spared() {
    let mut sample = Sample::new(24);
    sample.endpoint("/api/monitor/results/", 200, 900, 60);
    sample.endpoint("/api/v1/rollups", 200, 20, 60);
    let found = check(&sample, healthy, &[("own_endpoint_slow", "GET /api/monitor/results/")]);
    assert!(found[0].services.is_empty() && found[0].endpoint.is_some());
    sample.endpoint("/api/v1/rollups", 503, 20, 10);
    check(&sample, healthy, &[("own_endpoint_fails", "/api/v1/rollups"), ("own_endpoint_slow", "/api/monitor/results/")]);
}

#[test]
fn different_troubles_are_all_told_and_each_once() {
    let all = |at: At| match (at.service, at.region) {
        (_, "ap") if at.service != 1 => with(at, &[(DNS, 180.0)]),
        (1, _) => with(at, &[(TLS, 95.0)]),
        (2, _) if at.index % 12 == 0 => Check { failure: Some(Reason::Status), attempts: 2, ..healthy(at) },
        (3, _) if at.hours >= 0.0 => with(at, &[(FIRST_BYTE, 90.0)]),
        _ => healthy(at),
    };
    let expected = [("dns_slow_in_region", "ap"), ("errors", "api-2"), ("first_byte_growing", "api-3"), ("tls_share_high", "api-1")];
    check(&Sample::new(24), all, &expected);
}
