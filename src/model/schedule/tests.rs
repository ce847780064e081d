use proptest::prelude::*;

use super::*;
use crate::config::service::parse_cron;

const DAY: i64 = 86_400_000_000;

fn at(text: &str) -> Timestamp {
    Timestamp::parse(text).unwrap()
}

fn place(service: u32) -> Place {
    Place::of(ServiceId(service), &RegionName::from("local"))
}

proptest! {
    #[test]
    fn an_interval_keeps_its_gap_and_its_phase(service in 1u32..100_000, interval_ms in 100u64..7_200_000, start in 0i64..4_000_000_000_000_000) {
        let schedule = Schedule::Interval(Duration::from_millis(interval_ms));
        let first = schedule.next_after(place(service), Timestamp(start));
        prop_assert!(first.0 > start && first.0 <= start + interval_ms as i64 * 1000);
        let second = schedule.next_after(place(service), first);
        prop_assert_eq!(second.0 - first.0, interval_ms as i64 * 1000);
        // Asked again from anywhere between, the answer is the same: a restart falls into the same rhythm.
        prop_assert_eq!(schedule.next_after(place(service), Timestamp((first.0 + second.0) / 2)), second);
        prop_assert!(schedule.first_wait(place(service), first) <= Duration::from_secs(5).min(Duration::from_millis(interval_ms)));
    }

    #[test]
    fn every_round_of_a_cron_has_one_check_within_its_spread(service in 1u32..100_000, minutes in 1u32..30, start in 0i64..(40_000 * DAY), spread in proptest::option::of(0u64..40)) {
        let schedule = parse_cron(&format!("*/{minutes} * * * *"), None, spread.map(Duration::from_secs)).unwrap();
        let mut after = Timestamp(start);
        let mut rounds = Vec::new();
        for _ in 0..6 {
            let due = schedule.next_after(place(service), after);
            prop_assert!(due > after);
            let round = schedule.round_after(Timestamp(due.0 - micros(schedule.longest_spread()) - 1)).unwrap();
            let candidates: Vec<Timestamp> = std::iter::successors(Some(round), |round| schedule.round_after(*round)).take_while(|round| *round <= due).collect();
            let own = candidates.iter().rev().find(|round| round.plus(place(service).within(schedule.spread(**round))) == due);
            prop_assert!(own.is_some(), "due {due} belongs to no round of {candidates:?}");
            rounds.push(*own.unwrap());
            after = due;
        }
        for pair in rounds.windows(2) {
            prop_assert_eq!(schedule.round_after(pair[0]), Some(pair[1]), "a round was left out or run twice");
        }
    }
}

#[test]
fn a_day_without_an_hour_leaves_no_round_out() {
    // In Berlin the clock goes from 02:00 to 03:00 on 2026-03-29.
    let schedule = parse_cron("30 * * * *", Some("Europe/Berlin"), Some(Duration::ZERO)).unwrap();
    let mut due = at("2026-03-29T00:00:00Z");
    let mut seen = Vec::new();
    for _ in 0..3 {
        due = schedule.next_after(place(1), due);
        seen.push(due.rfc3339());
    }
    assert_eq!(seen, ["2026-03-29T00:30:00.000Z", "2026-03-29T01:30:00.000Z", "2026-03-29T02:30:00.000Z"]);
}

#[test]
fn the_default_cron_spreads_a_round_over_half_a_minute() {
    let schedule = parse_cron("*/5 * * * *", None, None).unwrap();
    let round = at("2026-11-22T10:00:00Z");
    let offsets: Vec<i64> = (1..=1000).map(|service| schedule.next_after(place(service), Timestamp(round.0 - 1)).0 - round.0).collect();
    assert!(offsets.iter().all(|offset| (0..30_000_000).contains(offset)));
    for tenth in 0..10 {
        let share = offsets.iter().filter(|offset| **offset / 3_000_000 == tenth).count();
        assert!((60..140).contains(&share), "{share} of 1000 in tenth {tenth}");
    }
}

#[test]
fn a_spread_of_zero_is_exact() {
    let schedule = parse_cron("0 12 * * *", None, Some(Duration::ZERO)).unwrap();
    assert_eq!(schedule.next_after(place(77), at("2026-11-22T12:00:00Z")), at("2026-11-23T12:00:00Z"));
    assert_eq!(schedule.gap(at("2026-11-22T12:00:00Z")), Duration::from_secs(86_400));
}

#[test]
fn a_gap_is_the_longest_around_an_instant() {
    let schedule = parse_cron("0 0,1 * * *", None, None).unwrap();
    for now in ["2026-11-22T00:00:00Z", "2026-11-22T00:30:00Z", "2026-11-22T01:00:00Z", "2026-11-22T12:00:00Z", "2026-11-22T23:59:59Z"] {
        assert_eq!(schedule.gap(at(now)), Duration::from_secs(23 * 3600), "at {now}");
    }
    let workdays = parse_cron("0 9 * * MON-FRI", None, None).unwrap();
    // A Saturday, a Wednesday.
    assert_eq!(workdays.gap(at("2026-11-21T12:00:00Z")), Duration::from_secs(3 * 86_400));
    assert_eq!(workdays.gap(at("2026-11-18T12:00:00Z")), Duration::from_secs(86_400));
}

#[test]
fn a_cron_that_never_comes_is_known() {
    let now = at("2026-11-22T12:00:00Z");
    for (expression, comes) in [("0 0 30 2 *", false), ("0 0 31 4,6,9,11 *", false), ("0 0 29 2 *", true), ("* * * * * *", true)] {
        assert_eq!(parse_cron(expression, None, None).unwrap().ever_due(now), comes, "{expression}");
    }
    assert!(Schedule::Interval(Duration::from_secs(1)).ever_due(now));
    let began = std::time::Instant::now();
    let never = parse_cron("0 0 30 2 *", Some("Europe/Berlin"), None).unwrap();
    assert!(!never.ever_due(now));
    assert!(began.elapsed() < Duration::from_secs(30), "took {:?}", began.elapsed());
}
