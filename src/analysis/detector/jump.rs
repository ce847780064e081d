//! The step from one sample to the next, against the usual step.
//!
//! A step that leads away from the slow level counts for more than one that leads back to it, and what the rhythm of the
//! day explains of a step is taken off: a batch job that starts at nine each morning is no surprise at nine.

use serde::{Deserialize, Serialize};

use crate::analysis::detector::rhythm::Habit;
use crate::analysis::detector::running::Mean;

/// What a step away from the level counts for beside the step itself.
const AWAY: f64 = 0.3;
/// A step beside which no step is known is this many usual ones.
const BESIDE_NOTHING: f64 = 1000.0;
/// The level is moved by no value more than by one this many usual distances off.
const CLIP: f64 = 3.0;
const LEVEL_ROWS: f64 = 100.0;
const SCALE_ROWS: f64 = 2000.0;

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Jump {
    last: Option<f64>,
    last_expected: Option<f64>,
    step: Mean,
    /// In the manner of a median: an outlier, however large, moves it little.
    level: Mean,
    distance: Mean,
}

impl Default for Jump {
    fn default() -> Jump {
        let (step, level, distance) = (Mean::new(SCALE_ROWS), Mean::new(LEVEL_ROWS), Mean::new(SCALE_ROWS));
        Jump { last: None, last_expected: None, step, level, distance }
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
        let Some(last) = self.last.replace(value) else {
            self.level.learn(value);
            return 0.0;
        };
        let last_expected = std::mem::replace(&mut self.last_expected, habit.expected);
        let off = value - self.level.value();
        if gap {
            self.learn_level(off);
            return 0.0;
        }
        let step = value - last;
        let unexplained = match (habit.expected, last_expected) {
            (Some(now), Some(before)) => step - (now - before),
            _ => step,
        };
        // The rhythm may explain a step, it never makes one.
        let step = if unexplained.abs() < step.abs() { step + habit.trust * (unexplained - step) } else { step };
        let away = if off.abs() > (last - self.level.value()).abs() { step.abs().min(off.abs()) } else { 0.0 };
        let surprise = self.steps(step.abs()).ln_1p() + AWAY * self.steps(away).ln_1p();
        self.step.learn(step.abs());
        self.learn_level(off);
        surprise
    }

    fn steps(&self, size: f64) -> f64 {
        match self.step.value() {
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
