use proptest::prelude::*;

use super::*;
use crate::aggregate::rollup::{Rule, joined, minutes};
use crate::aggregate::sample::{NOON, at, bad, good};
use crate::aggregate::verdict::Turn;
use crate::model::span::{clipped, total, union, without};

const RULE: Rule = Rule { gap: std::time::Duration::from_secs(60), failure: 1, success: 1 };

/// A letter a minute from noon on: `u` passed, `d` failed, `.` nothing.
fn made(text: &str) -> Parts {
    let results = text.chars().enumerate().filter_map(|(minute, letter)| match letter {
        'u' => Some(good("a", minute as u64 * 60 + 7)),
        'd' => Some(bad("a", minute as u64 * 60 + 7)),
        _ => None,
    });
    minutes(&results.collect::<Vec<_>>(), RULE, Turn::UNHEARD)
}

fn coarser(parts: &Parts, length: i64) -> Parts {
    let starts: BTreeSet<i64> = parts.keys().map(|start| start.div_euclid(length) * length).collect();
    starts.into_iter().filter_map(|start| Some((start, joined(parts.range(start..start + length).map(|(_, part)| part))?))).collect()
}

/// With what the store would be asked for, and no more.
fn ledger(all: &Parts, spans: &[Span], now: Timestamp) -> Ledger {
    let cuts = Cuts::of(spans, now);
    let of = |parts: Parts, length: i64, wanted: &BTreeSet<i64>| -> Parts {
        parts.into_iter().filter(|(start, _)| wanted.contains(&(start.div_euclid(length) * length))).collect()
    };
    let mut days = coarser(all, DAY);
    days.retain(|start, _| *start < floor(now, DAY));
    Ledger { days, hours: of(coarser(all, HOUR), DAY, &cuts.days), minutes: of(all.clone(), HOUR, &cuts.hours) }
}

fn span(from: i64, until: i64) -> Span {
    Span::new(Timestamp(NOON.0 + from * MINUTE), Timestamp(NOON.0 + until * MINUTE))
}

#[test]
fn an_edge_within_a_day_needs_its_hours_and_one_within_an_hour_its_minutes() {
    let now = Timestamp(NOON.0 + 3 * DAY + 90 * MINUTE);
    let midnight = |days: i64| NOON.0 + DAY / 2 + days * DAY;
    assert_eq!(Cuts::of(&[Span::new(Timestamp(midnight(0)), Timestamp(midnight(2)))], now), Cuts::default());
    let cut = Cuts::of(&[Span::new(Timestamp(midnight(0) + HOUR), Timestamp(midnight(1) + 61 * MINUTE))], now);
    assert_eq!(cut, Cuts { days: [midnight(0), midnight(1)].into(), hours: [midnight(1) + HOUR].into() });
    // The running day is read by the hour; that it ends now cuts nothing.
    let open = Cuts::of(&[Span::new(Timestamp(midnight(0)), now)], now);
    assert_eq!(open, Cuts { days: [midnight(2)].into(), hours: [].into() });
}

#[test]
fn a_span_within_an_hour_is_known_to_the_minute_or_by_its_share() {
    let text = "u".repeat(30) + &"d".repeat(10) + &"u".repeat(80);
    let (all, now) = (made(&text), Timestamp(NOON.0 + 2 * HOUR));
    let ten = span(30, 40);
    let mut exact = ledger(&all, &[ten], now);
    // The state of a check holds from its seventh second on.
    assert_eq!(exact.times(ten, now), Times { up: 7_000_000, down: 593_000_000 });
    exact.minutes.clear();
    let hour = exact.times(span(0, 60), now);
    assert_eq!(exact.times(ten, now), Times { up: hour.up / 6, down: hour.down / 6 });
    assert!((exact.pieces(ten, now)[0].share - 1.0 / 6.0).abs() < 1e-9);
}

#[test]
fn the_running_hour_counts_up_to_now() {
    let all = made(&"u".repeat(90));
    let now = at(5_400);
    let whole = span(0, 600);
    let times = ledger(&all, &[whole], now).times(whole, now);
    assert_eq!(times, Times { up: 5_400_000_000 - 7_000_000, down: 0 });
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]
    /// What windows take out, what is known of the rest and what is not make the whole, whatever cuts what.
    #[test]
    fn maintenance_and_known_and_unknown_time_make_the_span(
        text in "[ud.]{60,400}|[ud]{800,1600}",
        windows in prop::collection::vec((0i64..1500, 1i64..300), 0..8),
        from in 0i64..700, length in 1i64..1800, later in 0i64..3000,
    ) {
        // Nothing is known of what is to come.
        let all = made(&text.chars().take(later as usize + 1).collect::<String>());
        let now = Timestamp(NOON.0 + later * MINUTE + 11_000_000);
        let whole = span(from, from + length).within(Span::new(Timestamp(0), now)).map(Span::minutes);
        prop_assume!(whole.is_some());
        let whole = whole.unwrap();
        let windows = union(windows.iter().map(|(from, length)| span(*from, from + length)));
        let (out, kept) = (clipped(&windows, whole), without(whole, &windows));
        let sum = |spans: &[Span]| {
            let ledger = ledger(&all, spans, now);
            let mut sum = Times::default();
            spans.iter().for_each(|span| sum.add(ledger.times(*span, now)));
            sum
        };
        let (excluded, known, plain) = (sum(&out), sum(&kept), sum(&[whole]));
        prop_assert_eq!(excluded.up + known.up, plain.up);
        prop_assert_eq!(excluded.down + known.down, plain.down);
        let unknown = total(&kept) - known.up - known.down;
        prop_assert!(unknown >= 0);
        prop_assert_eq!(total(&out) + known.up + known.down + unknown, whole.length());
        // By the minute it is the same.
        let minutes: Vec<Span> = (0..whole.length() / MINUTE).map(|minute| {
            let start = Timestamp(whole.from.0 + minute * MINUTE);
            Span::new(start, Timestamp(start.0 + MINUTE))
        }).collect();
        prop_assert_eq!(sum(&minutes), plain);
    }
}
