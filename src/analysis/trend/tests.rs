use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::*;

const HOUR: i64 = 3_600_000_000;
const DAY: i64 = 24 * HOUR;

/// A day of hours: its level by the hour of day, times what `factor` says.
fn day(start: i64, checks: u64, mut factor: impl FnMut(i64) -> f64) -> Vec<Block> {
    (0..24)
        .map(|hour| {
            let habit = 100_000.0 * (1.0 + 0.5 * (hour as f64 / 24.0 * std::f64::consts::TAU).sin());
            Block { start: start + hour * HOUR, level_us: Some(habit * factor(hour)), checks, failed: 0 }
        })
        .collect()
}

/// Noise whose neighbours are alike: an autoregression of the first order.
fn noise(rng: &mut StdRng, memory: f64, size: f64) -> impl FnMut(i64) -> f64 + '_ {
    let mut state = 0.0;
    for _ in 0..50 {
        state = memory * state + size * normal(rng);
    }
    move |_| {
        state = memory * state + size * normal(rng);
        state.exp()
    }
}

fn normal(rng: &mut StdRng) -> f64 {
    (0..12).map(|_| rng.random::<f64>()).sum::<f64>() - 6.0
}

fn failing(start: i64, failed: &[u64], checks: u64) -> Vec<Block> {
    failed
        .iter()
        .enumerate()
        .map(|(hour, failed)| Block { start: start + hour as i64 * HOUR, level_us: None, checks, failed: *failed })
        .collect()
}

#[test]
fn a_real_slowdown_is_seen_through_a_daily_habit_and_sized() {
    let mut rng = StdRng::seed_from_u64(1);
    let (before, now) = (day(0, 60, noise(&mut rng, 0.3, 0.05)), day(DAY, 60, |_| 1.0));
    let mut slower = noise(&mut rng, 0.3, 0.05);
    let slow = day(DAY, 60, |hour| 1.3 * slower(hour));
    let trend = latency(&before, &slow, DAY);
    assert_eq!(trend.direction, Direction::Slower, "{trend:?}");
    let (low, high) = trend.range.unwrap();
    assert!((1.2..1.4).contains(&trend.ratio.unwrap()) && low < 1.3 && high > 1.3 && low > 1.1, "{trend:?}");
    assert!(trend.confidence() > 0.99 && trend.difference.unwrap() > 20_000.0, "{trend:?}");
    let back = latency(&slow, &before, -DAY);
    assert_eq!(back.direction, Direction::Faster, "{back:?}");
    assert_eq!(latency(&before, &now, DAY).direction, Direction::Steady);
}

#[test]
fn certainty_alone_is_no_change() {
    let before = day(0, 1_000_000, |hour| 1.0 + 0.0001 * (hour % 5) as f64);
    let now = day(DAY, 1_000_000, |_| 1.003);
    let trend = latency(&before, &now, DAY);
    assert_eq!(trend.direction, Direction::Steady, "{trend:?}");
    assert!(trend.chance.unwrap() < 0.01, "it is beyond chance and yet too small to matter: {trend:?}");
    // Half of a fifth of a millisecond is nobody's trouble either.
    let tiny = |factor: f64| (0..24).map(move |hour| Block { start: hour * HOUR, level_us: Some(200.0 * factor), checks: 60, failed: 0 });
    let trend = latency(&tiny(1.0).collect::<Vec<_>>(), &tiny(1.5).collect::<Vec<_>>(), 0);
    assert_eq!((trend.direction, trend.ratio.map(|ratio| (ratio * 100.0).round())), (Direction::Steady, Some(150.0)));
}

#[test]
fn days_that_differ_by_noise_alone_are_seldom_called_different() {
    let mut rng = StdRng::seed_from_u64(7);
    for memory in [0.0, 0.5, 0.8] {
        let called = (0..300)
            .filter(|_| {
                let before = day(0, 60, noise(&mut rng, memory, 0.2));
                let now = day(DAY, 60, noise(&mut rng, memory, 0.2));
                latency(&before, &now, DAY).direction != Direction::Steady
            })
            .count();
        assert!(called <= 12, "memory {memory}: {called} of 300");
    }
}

#[test]
fn one_mad_hour_is_no_trend() {
    let now = day(DAY, 60, |hour| if hour == 13 { 50.0 } else { 1.0 });
    assert_eq!(latency(&day(0, 60, |_| 1.0), &now, DAY).direction, Direction::Steady);
}

#[test]
fn too_little_is_said_to_be_too_little() {
    let (before, now) = (day(0, 60, |_| 1.0), day(DAY, 60, |_| 2.0));
    let trend = latency(&before[..7], &now, DAY);
    assert_eq!(trend.direction, Direction::Unknown { have: 7, need: 8, of: "pairs of blocks" });
    assert_eq!(latency(&[], &[], DAY).direction, Direction::Unknown { have: 0, need: 8, of: "pairs of blocks" });
    // Hours that have no counterpart do not count.
    assert!(matches!(latency(&before, &now, DAY + 1).direction, Direction::Unknown { have: 0, .. }));
    let few = failing(0, &[1, 0, 0, 0], 5);
    assert_eq!(errors(&few, &few).direction, Direction::Unknown { have: 20, need: 30, of: "checks" });
    let coarse = failing(0, &[10, 10], 100);
    assert_eq!(errors(&coarse, &coarse).direction, Direction::Unknown { have: 2, need: 4, of: "blocks" });
    assert!(matches!(errors(&[], &[]).direction, Direction::Unknown { have: 0, .. }));
}

#[test]
fn values_that_are_no_numbers_and_constant_series_are_borne() {
    let odd =
        |level: f64| (0..24).map(move |hour| Block { start: hour * HOUR, level_us: Some(level), checks: 0, failed: 9 }).collect::<Vec<_>>();
    assert!(matches!(latency(&odd(f64::NAN), &odd(1.0), 0).direction, Direction::Unknown { have: 0, .. }));
    let constant = latency(&odd(5_000.0), &odd(5_000.0), 0);
    assert_eq!((constant.direction, constant.chance, constant.ratio), (Direction::Steady, Some(1.0), Some(1.0)));
    assert!(matches!(errors(&odd(1.0), &odd(1.0)).direction, Direction::Unknown { .. }));
}

#[test]
fn more_failures_all_day_are_worse_and_one_outage_is_not() {
    let quiet = failing(0, &[0, 1, 0, 0, 2, 0, 1, 0, 0, 1, 0, 0], 60);
    let worse = errors(&quiet, &failing(DAY, &[3, 5, 2, 4, 6, 3, 5, 4, 2, 3, 4, 5], 60));
    assert_eq!(worse.direction, Direction::Worse, "{worse:?}");
    assert!(worse.ratio.unwrap() > 5.0);
    let outage = errors(&quiet, &failing(DAY, &[0, 0, 0, 60, 0, 0, 1, 0, 0, 0, 0, 1], 60));
    assert_eq!(outage.direction, Direction::Steady, "{outage:?}");
    let better = errors(&failing(0, &[3, 5, 2, 4, 6, 3, 5, 4, 2, 3, 4, 5], 60), &quiet);
    assert_eq!(better.direction, Direction::Better, "{better:?}");
}

#[test]
fn shares_that_differ_by_chance_alone_are_seldom_called_different() {
    let mut rng = StdRng::seed_from_u64(3);
    for (share, bursts) in [(0.01, false), (0.2, false), (0.02, true)] {
        let mut period = || -> Vec<Block> {
            (0..24)
                .map(|hour| {
                    let share = if bursts && rng.random_bool(0.1) { 0.5 } else { share };
                    let failed = (0..60).filter(|_| rng.random_bool(share)).count() as u64;
                    Block { start: hour * HOUR, level_us: None, checks: 60, failed }
                })
                .collect()
        };
        let called = (0..300).filter(|_| errors(&period(), &period()).direction != Direction::Steady).count();
        assert!(called <= 12, "{share}: {called} of 300");
    }
}

#[test]
fn a_million_checks_do_not_make_a_ten_thousandth_news() {
    let trend = errors(&failing(0, &[10; 24], 100_000), &failing(0, &[60; 24], 100_000));
    assert_eq!(trend.direction, Direction::Steady, "{trend:?}");
    assert!(trend.chance.unwrap() < 1e-6);
}

#[test]
fn of_many_comparisons_those_that_chance_explains_are_weeded_out() {
    let quiet = failing(0, &[0, 1, 0, 0, 2, 0, 1, 0, 0, 1, 0, 0], 60);
    let worse = errors(&quiet, &failing(DAY, &[3, 5, 2, 4, 6, 3, 5, 4, 2, 3, 4, 5], 60));
    let mut lucky = [Trend { chance: Some(0.008), ..worse }; 1];
    let mut dull = vec![Trend { chance: Some(0.5), direction: Direction::Steady, ..worse }; 98];
    let mut sure = worse;
    let mut all: Vec<&mut Trend> = dull.iter_mut().chain(&mut lucky).chain([&mut sure]).collect();
    weed_out(&mut all, 0.05);
    assert_eq!((lucky[0].direction, sure.direction), (Direction::Steady, Direction::Worse));
}

#[test]
fn tails_of_the_normal_are_known() {
    for (deviate, expected) in [(0.0, 1.0), (1.0, 0.317_310_5), (1.959_964, 0.05), (2.575_829, 0.01), (5.0, 5.733_03e-7)] {
        let found = two_sided(deviate);
        assert!((found / expected - 1.0).abs() < 1e-5, "{deviate}: {found} for {expected}");
    }
}
