use insta::assert_snapshot;

use super::*;
use crate::digest::scenes::{Day, GOOD, HourOf, REGIONS, common_cause, outage_in_one_region};
use crate::model::check::{Phase, Reason};
use crate::model::finding::{Shape, Signal};

fn told(day: &Day) -> String {
    write(&day.facts()).whole()
}

#[test]
fn a_quiet_day_is_told_in_a_breath() {
    let mut day = Day::new();
    for name in ["checkout", "search", "users"] {
        day.service(name, &REGIONS, |_, _| GOOD);
    }
    assert_snapshot!(told(&day), @"");
}

#[test]
fn one_long_outage_in_one_region() {
    assert_snapshot!(told(&outage_in_one_region()), @"");
}

#[test]
fn a_service_that_flaps_and_is_down_now() {
    let mut day = Day::new();
    let api = day.service("api", &REGIONS, |_, hour| if hour % 4 == 0 && hour >= 0 { HourOf { failed: 6, down: 6, ..GOOD } } else { GOOD });
    day.service("web", &REGIONS, |_, _| GOOD);
    for hour in ["10", "14", "18", "22"] {
        let (opened, closed) = (format!("2026-11-21T{hour}:05:00Z"), format!("2026-11-21T{hour}:11:00Z"));
        day.incident(api, &opened, Some(&closed), "status 503 in all 3 regions", (Reason::Status, Phase::Expect), &REGIONS);
    }
    day.incident(api, "2026-11-22T06:40:00Z", None, "status 503 in all 3 regions", (Reason::Status, Phase::Expect), &REGIONS);
    assert_snapshot!(told(&day), @"");
}

#[test]
fn a_service_that_grew_slow_names_the_phase() {
    let mut day = Day::new();
    day.service("payments", &REGIONS, |_, hour| match hour {
        0.. => HourOf { latency_ms: 96, first_byte_ms: 76, ..GOOD },
        _ => GOOD,
    });
    day.service("users", &REGIONS, |_, _| GOOD);
    let facts = day.facts();
    assert_eq!(facts.changes.len(), 1, "{:?}", facts.changes);
    assert_snapshot!(told(&day), @"");
}

#[test]
fn one_region_that_grew_slow_is_named() {
    let mut day = Day::new();
    day.service("payments", &REGIONS, |region, hour| match (region, hour) {
        ("us-east", 0..) => HourOf { latency_ms: 60, first_byte_ms: 40, ..GOOD },
        _ => GOOD,
    });
    let facts = day.facts();
    assert_eq!(facts.changes[0].region.as_ref().map(|region| region.to_string()).as_deref(), Some("us-east"), "{:?}", facts.changes);
    assert_snapshot!(told(&day), @"");
}

#[test]
fn a_certificate_that_runs_out_is_news_on_a_quiet_day() {
    let mut day = Day::new();
    let shop = day.service("shop", &REGIONS, |_, _| GOOD);
    day.service("web", &REGIONS, |_, _| GOOD);
    day.certificate(shop, "2026-11-25T12:00:00Z");
    assert_snapshot!(told(&day), @"");
}

#[test]
fn what_nobody_measured_is_not_told_as_well() {
    let mut day = Day::new();
    day.service("search", &REGIONS, |_, hour| HourOf { measured: hour < 0 || hour >= 17, ..GOOD });
    day.service("users", &REGIONS, |_, hour| HourOf { measured: hour < 0, ..GOOD });
    assert_snapshot!(told(&day), @"");
}

#[test]
fn a_day_without_any_check_says_so() {
    let mut day = Day::new();
    day.service("users", &[], |_, _| GOOD);
    assert_snapshot!(told(&day), @"");
    assert_snapshot!(told(&Day::new()), @"");
}

#[test]
fn two_hundred_services_with_one_cause_are_one_story() {
    let text = told(&common_cause());
    assert!(text.matches("api-").count() < 10, "it is a list: {text}");
    assert_snapshot!(text, @"");
}

#[test]
fn one_service_alone_is_told_with_its_figures() {
    let day = outage_in_one_region();
    let facts = Facts::of(&day.inputs(), Some(day.services[0].id)).unwrap();
    assert_snapshot!(write(&facts).whole(), @"");
}

#[test]
fn what_was_odd_is_told_without_an_incident() {
    let mut day = Day::new();
    let search = day.service("search", &REGIONS, |_, _| GOOD);
    day.service("users", &REGIONS, |_, _| GOOD);
    day.finding(search, Signal::Connect, Shape::Spike, "2026-11-21T14:20:00Z", 310_000.0, 8_000.0);
    day.finding(search, Signal::Latency, Shape::LevelUp, "2026-11-21T20:00:00Z", 90_000.0, 40_000.0);
    assert_snapshot!(told(&day), @"");
}

#[test]
fn a_finding_somebody_dismissed_is_not_told() {
    let mut day = Day::new();
    let search = day.service("search", &REGIONS, |_, _| GOOD);
    day.finding(search, Signal::Connect, Shape::Spike, "2026-11-21T14:20:00Z", 310_000.0, 8_000.0);
    let at = crate::digest::scenes::at("2026-11-21T15:00:00Z");
    day.findings[0].feedback = Some(crate::model::finding::Feedback { anomaly: false, who: "ann".to_owned(), at, note: None });
    let facts = day.facts();
    assert_eq!((facts.anomaly_count(), facts.dismissed, facts.notable()), (0, 1, false));
    assert!(!write(&facts).whole().contains("14:20"));
}

#[test]
fn the_same_facts_give_the_same_text() {
    let day = common_cause();
    assert_eq!(told(&day), told(&day));
}
