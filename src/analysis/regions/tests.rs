use super::*;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

const REGIONS: [&str; 5] = ["ap-south", "eu-west", "sa-east", "us-east", "us-west"];

fn noise(rng: &mut StdRng) -> f64 {
    (0..6).map(|_| rng.random_range(-1.0..1.0)).sum::<f64>() / 2f64.sqrt()
}

/// A round of medians: ap-south is always five times as slow, all share a daily rhythm; `factors` slow single regions down.
fn round(rng: &mut StdRng, regions: usize, hour: f64, factors: &[(usize, f64)]) -> Vec<RegionFigure> {
    let day = 1.0 + 0.3 * (hour * std::f64::consts::TAU / 24.0).sin();
    let figure = |index: usize| {
        let base = if index == 0 { 250_000.0 } else { 50_000.0 };
        let factor = factors.iter().find(|(of, _)| *of == index).map_or(1.0, |(_, factor)| *factor);
        let median_us = base * day * factor * (0.06 * noise(rng)).exp();
        RegionFigure { region: REGIONS[index].into(), figure: Figure::Time { median_us, samples: 5 } }
    };
    (0..regions).map(figure).collect()
}

fn learnt(regions: usize, rng: &mut StdRng) -> RegionHabits {
    let mut habits = RegionHabits::default();
    for step in 0..600 {
        habits.learn(&round(rng, regions, f64::from(step) / 12.0, &[]));
    }
    habits
}

#[test]
fn a_region_that_is_always_slower_is_not_odd_and_one_that_turns_slow_is() {
    let mut rng = StdRng::seed_from_u64(1);
    let habits = learnt(4, &mut rng);
    let usual = habits.verdict(&round(&mut rng, 4, 50.0, &[]));
    assert_eq!((usual.odd, usual.all_together, usual.learning), (None, false, None));
    for (odd, name) in REGIONS.into_iter().enumerate().take(4) {
        let verdict = habits.verdict(&round(&mut rng, 4, 50.0, &[(odd, 2.0)]));
        assert_eq!(verdict.odd, Some(name.into()), "{verdict:?}");
        assert!(verdict.confidence > 0.9 && !verdict.all_together, "{verdict:?}");
    }
}

#[test]
fn all_that_turn_slow_together_are_said_to_and_nobody_is_named() {
    let mut rng = StdRng::seed_from_u64(2);
    let habits = learnt(3, &mut rng);
    let verdict = habits.verdict(&round(&mut rng, 3, 50.0, &[(0, 4.0), (1, 4.0), (2, 4.0)]));
    assert!(verdict.all_together && verdict.odd.is_none() && verdict.confidence > 0.9, "{verdict:?}");
}

#[test]
fn two_regions_cannot_say_which_of_them_is_odd_and_half_against_half_neither() {
    let mut rng = StdRng::seed_from_u64(3);
    let two = learnt(2, &mut rng).verdict(&round(&mut rng, 2, 50.0, &[(1, 3.0)]));
    assert!(two.odd.is_none() && !two.all_together, "{two:?}");
    assert!(two.apart.iter().all(|(_, z)| z.abs() > ODD), "they disagree: {two:?}");
    let four = learnt(4, &mut rng).verdict(&round(&mut rng, 4, 50.0, &[(1, 3.0), (2, 3.0)]));
    assert!(four.odd.is_none() && !four.all_together, "{four:?}");
}

#[test]
fn errors_are_held_against_the_number_of_checks_they_are_of() {
    let errors = |failed: [u32; 3], checks: u32| -> Vec<RegionFigure> {
        let one = |(region, failed): (&str, u32)| RegionFigure { region: region.into(), figure: Figure::Errors { failed, checks } };
        REGIONS.into_iter().zip(failed).map(one).collect()
    };
    let mut habits = RegionHabits::default();
    (0..200).for_each(|step| habits.learn(&errors([u32::from(step % 9 == 0), 0, u32::from(step % 11 == 0)], 20)));
    assert_eq!(habits.verdict(&errors([0, 1, 0], 5)).odd, None, "one of five is chance");
    assert_eq!(habits.verdict(&errors([0, 14, 1], 20)).odd, Some("eu-west".into()));
    assert!(habits.verdict(&errors([15, 14, 17], 20)).all_together);
}

#[test]
fn a_region_that_is_new_is_said_to_be_learnt_and_bad_figures_are_left_out() {
    let mut rng = StdRng::seed_from_u64(4);
    let mut habits = learnt(3, &mut rng);
    let mut now = round(&mut rng, 4, 50.0, &[]);
    assert_eq!(habits.verdict(&now).learning, Some(Learning { have: 0, need: NEED }));
    habits.learn(&now);
    assert_eq!(habits.verdict(&now).learning, Some(Learning { have: 1, need: NEED }));
    habits.forget(&"us-east".into());
    now[3].figure = Figure::Time { median_us: f64::NAN, samples: 3 };
    now[2].figure = Figure::Time { median_us: 200_000.0, samples: 0 };
    let verdict = habits.verdict(&now);
    assert!(verdict.learning.is_none() && verdict.odd.is_none(), "{verdict:?}");
    assert_eq!(habits.verdict(&[]).learning, Some(Learning { have: 0, need: NEED }));
}

#[test]
fn healthy_regions_are_seldom_called_odd() {
    let (mut rounds, mut called) = (0, 0);
    for seed in 0..8 {
        let mut rng = StdRng::seed_from_u64(100 + seed);
        let regions = 3 + (seed as usize) % 3;
        let habits = learnt(regions, &mut rng);
        for step in 0..1000 {
            let verdict = habits.verdict(&round(&mut rng, regions, f64::from(step) / 12.0, &[]));
            rounds += 1;
            called += u32::from(verdict.odd.is_some() || verdict.all_together);
        }
    }
    println!("{called} of {rounds} healthy rounds were called odd");
    assert!(f64::from(called) < 0.01 * f64::from(rounds), "{called} of {rounds}");
}
