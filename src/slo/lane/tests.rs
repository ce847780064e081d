use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::aggregate::ledger::Cuts;
use crate::aggregate::rollup::{DAY, Part, floor, joined, minutes};
use crate::aggregate::sample::{NOON, at, bad, good};

const RULE: Rule = Rule { gap: Duration::from_secs(60), failure: 1, success: 1 };
const BACK: Duration = Duration::from_secs(72 * 3600);
const AIM: Aim = Aim::Latency(Duration::from_millis(15));

/// A letter each 37 seconds from noon on: `u` passed at once, `s` passed slowly, `d` failed, `.` nothing.
fn results(text: &str) -> Vec<CheckResult> {
    let made = text.chars().enumerate().filter_map(|(index, letter)| {
        let seconds = index as u64 * 37;
        match letter {
            'u' => Some(CheckResult { latency: Duration::from_millis(5), ..good("a", seconds) }),
            's' => Some(good("a", seconds)),
            'd' => Some(bad("a", seconds)),
            _ => None,
        }
    });
    made.collect()
}

fn ledger(results: &[CheckResult], holes: &[Span], now: Timestamp) -> Ledger {
    let all = minutes(results, RULE, Turn::UNHEARD);
    let cuts = Cuts::of(&Lane::needs(BACK, holes, now), now);
    let coarser = |length: i64| -> BTreeMap<i64, Part> {
        let starts: BTreeSet<i64> = all.keys().map(|start| start.div_euclid(length) * length).collect();
        starts.into_iter().filter_map(|start| Some((start, joined(all.range(start..start + length).map(|(_, part)| part))?))).collect()
    };
    let mut days = coarser(DAY);
    days.retain(|start, _| *start < floor(now, DAY));
    let mut hours = coarser(HOUR);
    hours.retain(|start, _| cuts.days.contains(&(start.div_euclid(DAY) * DAY)));
    let minutes = all.iter().filter(|(start, _)| cuts.hours.contains(&(**start).div_euclid(HOUR).saturating_mul(HOUR)));
    Ledger { days, hours, minutes: minutes.map(|(start, part)| (*start, part.clone())).collect() }
}

const STRETCHES: [Duration; 5] =
    [Duration::from_secs(300), Duration::from_secs(1800), Duration::from_secs(3600), BY_MINUTE, Duration::from_secs(24 * 3600)];

fn told(lane: &Lane, holes: &[Span], now: Timestamp) -> Vec<(Slots, i64)> {
    STRETCHES.iter().map(|length| lane.stretch(*length, Timestamp(0), holes, now)).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]
    /// Heard one by one, or made of the store half-way, or at the end: it comes to the same.
    #[test]
    fn a_lane_kept_up_equals_one_made_of_the_store(
        text in "([us]{20,200}(d{1,20}|\\.{1,20})){1,8}", share in 0.0f64..1.0, window in 0i64..400, length in 1i64..90,
    ) {
        let all = results(&text);
        prop_assume!(!all.is_empty());
        let now = at(text.len() as u64 * 37 + 20);
        let holes = [Span::new(Timestamp(NOON.0 + window * MINUTE), Timestamp(NOON.0 + (window + length) * MINUTE))];
        let half = (all.len() as f64 * share) as usize;
        let made = Lane::of(AIM, RULE, &ledger(&all, &holes, now), BACK, &holes, now);
        let then = all[..half].last().map_or(NOON, |last| last.started_at.plus(Duration::from_secs(1)));
        let mut kept = Lane::of(AIM, RULE, &ledger(&all[..half], &holes, then), BACK, &holes, then);
        for result in &all[half..] {
            prop_assert!(kept.hear(Heard::from(result), &holes));
        }
        kept.forget(BACK, &holes, now);
        prop_assert_eq!(told(&kept, &holes, now), told(&made, &holes, now));
    }
}

#[test]
fn a_late_result_is_not_taken_and_the_same_one_twice_is_one() {
    let mut lane = Lane::new(Aim::Availability, RULE, NOON);
    assert!(lane.hear(Heard::from(&good("a", 60)), &[]));
    assert!(lane.hear(Heard::from(&good("a", 60)), &[]));
    assert!(!lane.hear(Heard::from(&good("a", 59)), &[]));
    let (slots, _) = lane.stretch(Duration::from_secs(300), NOON, &[], at(120));
    assert_eq!((slots.good, slots.up), (1, 60_000_000));
}

#[test]
fn a_stretch_reaches_no_further_back_than_the_life_of_the_service_and_not_into_maintenance() {
    let mut lane = Lane::new(Aim::Availability, RULE, NOON);
    for seconds in (0..600).step_by(60) {
        lane.hear(Heard::from(&good("a", seconds)), &[]);
    }
    let hour = Duration::from_secs(3600);
    let (slots, possible) = lane.stretch(hour, NOON, &[], at(600));
    assert_eq!((slots.up, possible), (600_000_000, 600_000_000));
    let holes = [Span::new(at(540), at(1200))];
    let (slots, possible) = lane.stretch(hour, NOON, &holes, at(600));
    assert_eq!((slots.up, possible), (540_000_000, 540_000_000));
    // Silent for longer than a state holds.
    let (slots, possible) = lane.stretch(Duration::from_secs(300), NOON, &[], at(1200));
    assert_eq!((slots.up, possible), (0, 300_000_000));
}
