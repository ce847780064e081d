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
    assert_snapshot!(told(&day), @r#"
    All three services were up in three regions.

    All 12,960 checks from 07:00 on 21 November to 07:00 UTC on 22 November passed.
    "#);
}

#[test]
fn one_long_outage_in_one_region() {
    assert_snapshot!(told(&outage_in_one_region()), @r#"
    checkout was down for 48 minutes; the other two services were up.

    checkout was down for 48 minutes, from 03:10 to 03:58 UTC on 22 November: connect times out after 10 s, but only from ap-south. From eu-west and us-east it was up all the while.

    48 of 12,960 checks failed (0.37%) from 07:00 on 21 November to 07:00 UTC on 22 November; uptime was 99.629%.

    What to look at next:
    - Follow the way from ap-south to checkout: routing, firewall, CDN and DNS there. The service itself answered the other regions at the same time (03:10 UTC on 22 November).
    "#);
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
    assert_snapshot!(told(&day), @r#"
    api has been down since 06:40 UTC on 22 November; the other service was up.

    api went down five times since 10:05 UTC on 21 November, each time the same way (status 503 in all 3 regions), and is down as this is written; 44 minutes in all so far.

    108 of 8,640 checks failed (1.25%) from 07:00 on 21 November to 07:00 UTC on 22 November; uptime was 98.8%.

    What to look at next:
    - Read the logs of api around 06:40 UTC on 22 November: it answered, but with status 503.
    - Find out what happens each time api goes down (a restart, a job, a limit that is reached) before its failure threshold is raised: that would only hide it.
    "#);
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
    assert_snapshot!(told(&day), @r#"
    Both services were up, but payments takes 2.4 times as long as before.

    payments answers more slowly: 98 ms instead of 41 ms (2.4 times as long); most of the difference lies in the wait for the first byte. This is against the same hours of the day before, and more than chance would make.

    All 8,640 checks from 07:00 on 21 November to 07:00 UTC on 22 November passed.

    What to look at next:
    - Look at the backend of payments (queries, cache, load): it takes the request as before and thinks longer.
    "#);
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
    assert_snapshot!(told(&day), @r#"
    payments was up, but it has become slower.

    Seen from us-east, payments answers more slowly: 60 ms instead of 41 ms. This is against the same hours of the day before, and more than chance would make.

    All 4,320 checks from 07:00 on 21 November to 07:00 UTC on 22 November passed.

    What to look at next:
    - Compare the way from us-east to payments with that of the other regions: only there it has become slower.
    "#);
}

#[test]
fn a_certificate_that_runs_out_is_news_on_a_quiet_day() {
    let mut day = Day::new();
    let shop = day.service("shop", &REGIONS, |_, _| GOOD);
    day.service("web", &REGIONS, |_, _| GOOD);
    day.certificate(shop, "2026-11-25T12:00:00Z");
    assert_snapshot!(told(&day), @r#"
    Both services were up, but the certificate of shop runs out in three days.

    The certificate of shop runs out in three days, on 25 November.

    All 8,640 checks from 07:00 on 21 November to 07:00 UTC on 22 November passed.

    What to look at next:
    - Renew the certificate of shop before 25 November, and see why that was not done by itself.
    "#);
}

#[test]
fn what_nobody_measured_is_not_told_as_well() {
    let mut day = Day::new();
    day.service("search", &REGIONS, |_, hour| HourOf { measured: !(0..17).contains(&hour), ..GOOD });
    day.service("users", &REGIONS, |_, hour| HourOf { measured: hour < 0, ..GOOD });
    assert_snapshot!(told(&day), @r#"
    Of users nothing is known; the other service was up as far as was measured.

    Nothing is known of users: no result of it came in. search was measured for only 29.2% of the time.

    All 1,260 checks from 07:00 on 21 November to 07:00 UTC on 22 November passed.

    What to look at next:
    - See with `probemesh inspect` whether all nodes are linked and checking: results of two services are missing.
    "#);
}

#[test]
fn a_day_without_any_check_says_so() {
    let mut day = Day::new();
    day.service("users", &[], |_, _| GOOD);
    assert_snapshot!(told(&day), @r#"
    Nothing was measured of users in the last 24 hours.

    Nothing is known of users: no result of it came in.

    No check was made from 07:00 on 21 November to 07:00 UTC on 22 November.

    What to look at next:
    - See with `probemesh inspect` whether all nodes are linked and checking: results of users are missing.
    "#);
    assert_snapshot!(told(&Day::new()), @r#"
    No services are watched yet.

    As soon as there is one, this is where its days are told.
    "#);
}

#[test]
fn two_hundred_services_with_one_cause_are_one_story() {
    let text = told(&common_cause());
    assert!(text.matches("api-").count() < 10, "it is a list: {text}");
    assert_snapshot!(text, @r#"
    A common cause took 180 services down, for up to 17 minutes; the other 20 services were up.

    180 services were down from 08:14 to 08:31 UTC on 21 November, the longest for 17 minutes: DNS fails in 3 of 3 regions. They broke within 3 minutes and the same way, which points to something they share rather than to each of them. They are api-001, api-002, api-003, api-004, api-005 and 175 more.

    3,060 of 288,000 checks failed (1.06%) from 07:00 on 21 November to 07:00 UTC on 22 November; uptime was 98.9%, lowest that of api-001 with 98.8%.

    What to look at next:
    - Look first at what these services share: the name servers and the zone they depend on, around 08:14 UTC on 21 November.
    "#);
}

#[test]
fn one_service_alone_is_told_with_its_figures() {
    let day = outage_in_one_region();
    let facts = Facts::of(&day.inputs(), Some(day.services[0].id)).unwrap();
    assert_snapshot!(write(&facts).whole(), @r#"
    checkout was down for 48 minutes.

    checkout was down for 48 minutes, from 03:10 to 03:58 UTC on 22 November: connect times out after 10 s, but only from ap-south. From eu-west and us-east it was up all the while.

    48 of 4,320 checks failed (1.11%) from 07:00 on 21 November to 07:00 UTC on 22 November; uptime was 98.9%; an answer took about 41 ms.

    What to look at next:
    - Follow the way from ap-south to checkout: routing, firewall, CDN and DNS there. The service itself answered the other regions at the same time (03:10 UTC on 22 November).
    "#);
}

#[test]
fn what_was_odd_is_told_without_an_incident() {
    let mut day = Day::new();
    let search = day.service("search", &REGIONS, |_, _| GOOD);
    day.service("users", &REGIONS, |_, _| GOOD);
    day.finding(search, Signal::Connect, Shape::Spike, "2026-11-21T14:20:00Z", 310_000.0, 8_000.0);
    day.finding(search, Signal::Latency, Shape::LevelUp, "2026-11-21T20:00:00Z", 90_000.0, 40_000.0);
    assert_snapshot!(told(&day), @r#"
    Both services were up, but search did not behave as it usually does.

    At 14:20 UTC on 21 November, search showed a spike in connecting (310 ms, usually 8 ms), and one more anomaly was found there.

    All 8,640 checks from 07:00 on 21 November to 07:00 UTC on 22 November passed.

    What to look at next:
    - See what was different for search around 14:20 UTC on 21 November: look at the network to it and how soon it takes connections.
    "#);
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

#[test]
fn a_service_that_answers_too_slowly_is_told_as_degraded() {
    let mut day = Day::new();
    day.limited("search", &REGIONS, 30, |_, hour| HourOf { latency_ms: if hour % 2 == 0 { 40 } else { 20 }, ..GOOD });
    day.service("users", &REGIONS, |_, _| GOOD);
    let told_of = told(&day);
    assert!(told_of.starts_with("Both services were up, but search was degraded: 50% of its checks were slow."), "{told_of}");
    assert!(told_of.contains("search was degraded: 50% of its checks passed, but took longer than they may."), "{told_of}");
    assert!(day.facts().notable());
    // Beside an outage it does not pass for one that was up.
    let mut day = outage_in_one_region();
    day.limited("slow", &REGIONS, 30, |_, _| GOOD);
    let told_of = told(&day);
    assert!(told_of.starts_with("checkout was down for 48 minutes; slow was degraded; the other two services were up."), "{told_of}");
}
