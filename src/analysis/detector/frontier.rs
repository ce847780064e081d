//! The range a figure has been seen in, slowly forgotten, and how far outside of it the next one is.
//!
//! A value beyond all that was seen in the last weeks is the plainest novelty there is. It has three virtues that a
//! z-score has not: it asks nothing of the shape of the distribution, so bursts that come every day soon lie inside;
//! in a steady series of n samples it happens by chance about 2/n of the time (Rényi's law of records), so false alarms
//! die out with experience; and it pays each novelty once, for the frontier then moves out to where it has been.
//!
//! **Invariant**: an affine map of the figures, with the floor mapped likewise, leaves every answer as it is.

use serde::{Deserialize, Serialize};

use crate::analysis::detector::running::rate;

/// Distances beyond this many usual ones teach the usual distance no more.
const CLIP: f64 = 8.0;
/// So many distances are taken as they come before clipping begins and a surprise is believed: beside no usual distance
/// everything would be one.
const TRUSTED: f64 = 20.0;

/// How long a frontier remembers, in samples.
#[derive(Clone, Copy, Debug)]
pub struct Reach {
    /// The range loses 1/memory of its distance to the middle with each sample.
    pub memory: f64,
    /// Over how many samples the middle and the usual distance from it are taken.
    pub span: f64,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Frontier {
    count: f64,
    low: f64,
    high: f64,
    middle: f64,
    distance: f64,
}

impl Frontier {
    /// How many usual distances `figure` lies outside of the range; zero inside. The range then holds it.
    ///
    /// `floor` is the least distance that means anything.
    pub fn beyond(&mut self, figure: f64, reach: Reach, floor: f64) -> f64 {
        if self.count == 0.0 {
            *self = Frontier { count: 1.0, low: figure, high: figure, middle: figure, distance: 0.0 };
            return 0.0;
        }
        let outside = (figure - self.high).max(self.low - figure).max(0.0);
        let usual = self.distance + floor;
        let beyond = if self.count > TRUSTED && outside > 0.0 && usual > 0.0 { outside / usual } else { 0.0 };
        self.learn(figure, reach, usual);
        beyond
    }

    /// The mean the range shrinks to.
    pub fn middle(&self) -> f64 {
        self.middle
    }

    /// The usual distance from the middle.
    pub fn distance(&self) -> f64 {
        self.distance
    }

    fn learn(&mut self, figure: f64, reach: Reach, usual: f64) {
        let away = (figure - self.middle).abs();
        let held = if self.count > TRUSTED { away.min(CLIP * usual) } else { away };
        self.distance += (held - self.distance) * rate(self.count, reach.span);
        self.count += 1.0;
        self.middle += (figure - self.middle) * rate(self.count, reach.span);
        let kept = 1.0 - 1.0 / reach.memory.max(1.0);
        self.low = (self.middle + (self.low - self.middle) * kept).min(figure);
        self.high = (self.middle + (self.high - self.middle) * kept).max(figure);
    }
}

/// What a slow figure has gained on its frontier of late.
///
/// A mean of hours creeps outwards, and the frontier with it: each sample is a little news, the sum of days is much.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Gain {
    gained: f64,
}

impl Gain {
    /// Takes in how far beyond its frontier the figure is; all it gained while gaining, zero when it does not.
    pub fn add(&mut self, beyond: f64, half_life_rows: f64) -> f64 {
        self.gained = self.gained * (-1.0 / half_life_rows).exp2() + beyond;
        if beyond > 0.0 { self.gained } else { 0.0 }
    }
}
