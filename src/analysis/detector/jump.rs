//! The step from what just was to the next sample, against the usual step.
//!
//! A sample has to be far from the one before it and from the median of the three before it: what leaves a level and what
//! swings across it are jumps, while the way back from a single outlier, or a swing from a low to a high that are both
//! common, is none.
//!
//! The usual step is the geometric middle of two sizes: the mean, which a few great steps carry far up, and the size that
//! nine of ten steps stay below, which they do not touch. Either alone suits some series only: beside the mean a series
//! with a past outage is blind, beside the quantile a series that mostly stands still is nervous.
//!
//! A step that leads away from the slow level counts for more than one that leads back to it, and what the rhythm of the
//! day explains of a step is taken off: a batch job that starts at nine each morning is no surprise at nine.

use serde::{Deserialize, Serialize};

use crate::analysis::detector::rhythm::Habit;
use crate::analysis::detector::running::{Mean, Quantile};

/// What a step away from the level counts for beside the step itself.
const AWAY: f64 = 0.2;
/// A step beside which no step is known is this many usual ones.
const BESIDE_NOTHING: f64 = 1000.0;
/// The level is moved by no value more than by one this many usual distances off.
const CLIP: f64 = 3.0;
const LEVEL_ROWS: f64 = 100.0;
const SCALE_ROWS: f64 = 2000.0;
/// The share of all steps that are no large ones.
const ORDINARY: f64 = 0.9;
/// The size that ordinary steps stay below is held to be within this factor of the mean.
const APART: f64 = 4.0;

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Jump {
    /// The last three values, the newest last; the same value thrice at a beginning.
    before: Option<[f64; 3]>,
    last_expected: Option<f64>,
    step: Mean,
    large_step: Quantile,
    /// In the manner of a median: an outlier, however large, moves it little.
    level: Mean,
    distance: Mean,
}

impl Default for Jump {
    fn default() -> Jump {
        Jump {
            before: None,
            last_expected: None,
            step: Mean::new(SCALE_ROWS),
            large_step: Quantile::new(ORDINARY, SCALE_ROWS),
            level: Mean::new(LEVEL_ROWS),
            distance: Mean::new(SCALE_ROWS),
        }
    }
}

impl Jump {
    /// The slow level and the usual distance from it.
    pub fn usual(&self) -> (f64, f64) {
        (self.level.value(), self.distance.value())
    }

    /// ln(1 + usual steps) of the step to `value`, and [`AWAY`] times the same of how far it leads away from the level.
    /// Nothing across a gap: what happens in hours of silence is no jump.
    pub fn observe(&mut self, value: f64, habit: &Habit, gap: bool) -> f64 {
        let Some(before) = self.before.replace([value; 3]) else {
            self.level.learn(value);
            return 0.0;
        };
        let last_expected = std::mem::replace(&mut self.last_expected, habit.expected);
        let off = value - self.level.value();
        if gap {
            self.learn_level(off);
            return 0.0;
        }
        let last = before[2];
        self.before = Some([before[1], last, value]);
        let step = value - last;
        let unexplained = match (habit.expected, last_expected) {
            (Some(now), Some(before)) => step - (now - before),
            _ => step,
        };
        // The rhythm may explain a step, it never makes one.
        let step = if unexplained.abs() < step.abs() { step + habit.trust * (unexplained - step) } else { step };
        let size = step.abs().min((value - median(before)).abs());
        let away = if off.abs() > (last - self.level.value()).abs() { size.min(off.abs()) } else { 0.0 };
        let surprise = self.steps(size).ln_1p() + AWAY * self.steps(away).ln_1p();
        self.step.learn(step.abs());
        self.large_step.learn(step.abs(), self.step.value());
        self.learn_level(off);
        surprise
    }

    /// The usual step.
    fn usual_step(&self) -> f64 {
        let mean = self.step.value();
        let large = self.large_step.value().clamp(mean / APART, mean * APART);
        mean.sqrt() * large.sqrt()
    }

    fn steps(&self, size: f64) -> f64 {
        match self.usual_step() {
            _ if size <= 0.0 => 0.0,
            usual if usual > 0.0 => size / usual,
            _ => BESIDE_NOTHING,
        }
    }

    fn learn_level(&mut self, off: f64) {
        self.distance.learn(off.abs());
        let most = CLIP * self.distance.value();
        let held = self.level.value() + off.clamp(-most, most);
        self.level.learn(held);
    }
}

fn median([a, b, c]: [f64; 3]) -> f64 {
    a.min(b).max(a.max(b).min(c))
}
