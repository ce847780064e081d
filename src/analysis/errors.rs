//! Whether checks fail more often than they use to, by counting.
//!
//! A habit is a share of failing checks that is known more or less well: a beta distribution of what was counted, on top of a
//! little that is assumed of anybody. How likely a count as high as the one at hand is under it is the tail of the
//! beta-binomial distribution (Skellam, 1948): a single failure of a service of few checks says little, several in a row much,
//! and a service that often fails must fail much more. Two windows are looked at: a short one for bursts, a long one for what
//! is thin but goes on. What leaves the long window becomes habit, at a fraction of its weight while something is wrong, so
//! that a burst is not held against a habit it has made itself.
//!
//! **Invariant.** The tail never takes the habit to be known by more than `KNOWN` checks: services are not as constant as a coin.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::model::finding::Learning;

/// Samples of the short window, and of the long one.
const SHORT: usize = 5;
const LONG: usize = 60;
/// Samples until what was counted weighs half.
const HALF_LIFE: f64 = 2_000.0;
/// Of anybody it is assumed that one check in a hundred fails, as if so many had been seen.
const ASSUMED: f64 = 30.0;
const ASSUMED_SHARE: f64 = 0.01;
/// Checks a habit is known by at most.
const KNOWN: f64 = 300.0;
/// Checks that must have become habit before a firm word.
const NEEDED: f64 = 60.0;
/// What is counted while something is wrong weighs so much.
const DAMPED: f64 = 0.1;
/// Fewer failures than these are never a finding.
const FEWEST: u64 = 3;
/// Powers of ten of unlikeliness that make a finding at the usual sensitivity.
const UNLIKELY: f64 = 6.0;

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ErrorHabit {
    /// Newest last.
    recent: VecDeque<Counted>,
    /// What has become habit, with its weight.
    checks: f64,
    failed: f64,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Counted {
    checks: u32,
    failed: u32,
    /// It was part of something odd.
    wrong: bool,
}

/// What the counts of the newest sample and those before it say.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ErrorAssessment {
    /// Of the window that says most.
    pub checks: u64,
    pub failed: u64,
    /// The share of failures that is habit.
    pub habit: f64,
    /// From 0 to 1: an unlikeliness of one in a million is a half.
    pub score: f64,
    pub odd: bool,
    pub learning: Option<Learning>,
}

impl ErrorHabit {
    /// Takes the counts of the next sample.
    pub fn observe(&mut self, checks: u32, failed: u32, sensitivity: f64) -> ErrorAssessment {
        self.recent.push_back(Counted { checks, failed: failed.min(checks), wrong: false });
        if self.recent.len() > LONG
            && let Some(old) = self.recent.pop_front()
        {
            let (fade, weight) = (0.5f64.powf(1.0 / HALF_LIFE), if old.wrong { DAMPED } else { 1.0 });
            self.checks = self.checks * fade + weight * f64::from(old.checks);
            self.failed = self.failed * fade + weight * f64::from(old.failed);
        }
        let (alpha, beta) = self.belief();
        let window = |length: usize| {
            let newest = self.recent.iter().rev().take(length);
            newest.fold((0, 0), |(checks, failed), of| (checks + u64::from(of.checks), failed + u64::from(of.failed)))
        };
        let assess = |(checks, failed): (u64, u64)| (-log10_tail(checks, failed, alpha, beta), checks, failed);
        let (short, long) = (assess(window(SHORT)), assess(window(LONG)));
        let (unlikely, checks, failed) = if long.0 > short.0 { long } else { short };
        let learning = (self.checks < NEEDED).then(|| Learning { have: self.seen(), need: self.needed() });
        let bar = UNLIKELY - 2.0 * sensitivity.log10();
        // A burst that is over lies in the long window still: what goes on has failures among the newest, too.
        let goes_on = short.2 > 0;
        let odd = failed >= FEWEST && unlikely >= bar && goes_on && learning.is_none();
        if odd {
            self.recent.iter_mut().rev().take(SHORT).for_each(|counted| counted.wrong = true);
        }
        ErrorAssessment { checks, failed, habit: alpha / (alpha + beta), score: unlikely / (unlikely + UNLIKELY), odd, learning }
    }

    /// The parameters of the beta distribution of the share.
    fn belief(&self) -> (f64, f64) {
        let (checks, failed) = (self.checks + ASSUMED, self.failed + ASSUMED * ASSUMED_SHARE);
        let (share, known) = (failed / checks, checks.min(KNOWN));
        (share * known, (1.0 - share) * known)
    }

    /// Samples it has.
    fn seen(&self) -> u32 {
        self.recent.len() as u32 + (self.checks / self.checks_per_sample()).round() as u32
    }

    /// Samples it needs.
    fn needed(&self) -> u32 {
        (LONG as f64 + NEEDED / self.checks_per_sample()).ceil() as u32
    }

    fn checks_per_sample(&self) -> f64 {
        let checks: u64 = self.recent.iter().map(|counted| u64::from(counted.checks)).sum();
        (checks as f64 / self.recent.len().max(1) as f64).max(1.0)
    }
}

/// The logarithm of the chance of `failed` failures or more among `checks`, where the share of failures is beta distributed.
fn log10_tail(checks: u64, failed: u64, alpha: f64, beta: f64) -> f64 {
    if failed == 0 || checks == 0 {
        return 0.0;
    }
    let (n, k) = (checks as f64, failed.min(checks) as f64);
    let first = ln_gamma(n + 1.0) - ln_gamma(k + 1.0) - ln_gamma(n - k + 1.0) + ln_beta(k + alpha, n - k + beta) - ln_beta(alpha, beta);
    // The terms behind the first follow from each other.
    let (mut sum, mut term) = (1.0, 1.0);
    for j in failed..checks {
        let j = j as f64;
        term *= (n - j) / (j + 1.0) * (j + alpha) / (n - j - 1.0 + beta);
        sum += term;
        if term < 1e-12 * sum {
            break;
        }
    }
    ((first + sum.ln()) / std::f64::consts::LN_10).min(0.0)
}

fn ln_beta(a: f64, b: f64) -> f64 {
    ln_gamma(a) + ln_gamma(b) - ln_gamma(a + b)
}

/// Stirling's series, far enough out that four terms are exact to ten digits.
fn ln_gamma(x: f64) -> f64 {
    let (mut x, mut shift) = (x, 0.0);
    while x < 10.0 {
        shift -= x.ln();
        x += 1.0;
    }
    let square = x * x;
    let series = (1.0 / 12.0 - (1.0 / 360.0 - (1.0 / 1260.0 - 1.0 / (1680.0 * square)) / square) / square) / x;
    shift + (x - 0.5) * x.ln() - x + 0.5 * std::f64::consts::TAU.ln() + series
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A habit of so many checks a sample, of which one fails in every so many samples.
    fn learnt(checks: u32, every: usize) -> ErrorHabit {
        let mut habit = ErrorHabit::default();
        for sample in 0..3_000 {
            habit.observe(checks, u32::from(every > 0 && sample % every == 0), 1.0);
        }
        habit
    }

    #[test]
    fn the_tail_is_that_of_the_beta_binomial() {
        // With a flat belief every count from 0 to n is equally likely.
        let tail = log10_tail(9, 7, 1.0, 1.0);
        assert!((tail - 0.3f64.log10()).abs() < 1e-9, "{tail}");
        // A firm belief is a coin: 2 of 2 at a tenth.
        let tail = log10_tail(2, 2, 1e7, 9e7);
        assert!((tail + 2.0).abs() < 1e-5, "{tail}");
        for (x, expected) in [(0.5, 0.572_364_942_9), (1.0, 0.0), (5.0, 3.178_053_830_3)] {
            assert!((ln_gamma(x) - expected).abs() < 1e-9, "{x}: {}", ln_gamma(x));
        }
    }

    #[test]
    fn one_failure_of_a_clean_service_is_no_finding_and_a_burst_is() {
        let mut habit = learnt(1, 0);
        assert!(!habit.observe(1, 1, 1.0).odd);
        assert!(!habit.observe(1, 1, 1.0).odd);
        let third = habit.observe(1, 1, 1.0);
        assert!(third.odd, "{third:?}");
        assert_eq!((third.checks, third.failed), (5, 3));
        let mut busy = learnt(60, 0);
        assert!(!busy.observe(60, 2, 1.0).odd);
        assert!(busy.observe(60, 20, 1.0).odd);
    }

    #[test]
    fn a_service_that_often_fails_must_fail_much_more() {
        let mut habit = learnt(1, 10);
        assert!((habit.observe(1, 0, 1.0).habit - 0.1).abs() < 0.02);
        let odd: Vec<bool> = (0..3).map(|_| habit.observe(1, 1, 1.0).odd).collect();
        assert_eq!(odd, [false; 3]);
        let mut habit = learnt(20, 1);
        assert!(!habit.observe(20, 3, 1.0).odd);
        assert!(habit.observe(20, 19, 1.0).odd);
    }

    #[test]
    fn what_is_thin_and_goes_on_is_seen_by_the_long_window() {
        let mut habit = learnt(10, 0);
        let odd = (0..60).map(|sample| habit.observe(10, u32::from(sample % 3 == 0), 1.0)).find(|assessment| assessment.odd);
        assert!(odd.is_some_and(|odd| odd.checks > 100), "{odd:?}");
    }

    #[test]
    fn too_little_is_said_to_be_too_little() {
        let mut habit = ErrorHabit::default();
        let first = habit.observe(5, 5, 1.0);
        assert_eq!((first.odd, first.learning), (false, Some(Learning { have: 1, need: 72 })));
        let nothing = ErrorHabit::default().observe(0, 0, 1.0);
        assert!(!nothing.odd && nothing.score == 0.0 && nothing.habit.is_finite());
    }

    #[test]
    fn sensitivity_lowers_the_bar() {
        let habit = learnt(20, 1);
        let fewest = |sensitivity| (1..=20).find(|failed| habit.clone().observe(20, *failed, sensitivity).odd).unwrap_or(99);
        assert!(fewest(10.0) < fewest(1.0) && fewest(1.0) < fewest(0.1), "{} {} {}", fewest(10.0), fewest(1.0), fewest(0.1));
    }

    #[test]
    fn an_outage_does_not_become_habit_though_it_lasts_for_hours() {
        let mut habit = learnt(1, 0);
        let last = (0..200).map(|_| habit.observe(1, 1, 1.0)).last().unwrap();
        assert!(last.odd && last.habit < 0.02, "{last:?}");
        // Nor when it is over and its counts leave the window.
        let over = (0..200).map(|_| habit.observe(1, 0, 1.0)).last().unwrap();
        assert!(!over.odd && over.habit < 0.02, "{over:?}");
    }
}
