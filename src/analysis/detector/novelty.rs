//! Novelty: has this series ever been here? Each figure against its own frontier.
//!
//! - the value itself: never so high or low in weeks;
//! - the value less the mean of the last hours: never so far from where it just was, whatever the level;
//! - the mean of the last hours, with twice the weight, since noise moves it less: a level never held before;
//! - the value less the habit of that time of day, as far as the rhythm is to be believed: never so unlike its day;
//! - the restlessness of the last half day: never so wild, never so calm;
//! - the run of equal values: never still for so long.
//!
//! The loudest of them counts. All memories are times, not counts of samples, so that a series of a value an hour
//! and one of a value a minute are judged by the same habits: weeks for the range, days for what is usual.

use serde::{Deserialize, Serialize};

use crate::analysis::detector::frontier::{Frontier, Reach};
use crate::analysis::detector::rhythm::{Habit, Pace};
use crate::analysis::detector::running::rate;
use crate::analysis::detector::stillness::Stillness;

const HOUR: f64 = 3600.0;
const DAY: f64 = 86_400.0;
const DEPARTURE_HOURS: f64 = 3.0;
const LEVEL_HOURS: f64 = 4.0;
const RESTLESS_HOURS: f64 = 12.0;
/// A level is news at half the distance a single value is.
const LEVEL_WEIGHT: f64 = 2.0;
/// A rhythm missed is news at two thirds of that distance: it is weighed down by its trust as well.
const RHYTHM_WEIGHT: f64 = 1.5;
/// Samples before the means of hours are trusted.
const SETTLED: u32 = 20;
/// What is less than this share of all the values ever seen span means nothing.
const FLOOR: f64 = 1e-3;

/// What was new, and how much: ln(1 + usual distances beyond the frontier), weighted.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct News {
    pub value: f64,
    pub departure: f64,
    pub level: f64,
    pub rhythm: f64,
    pub restlessness: f64,
    pub stillness: f64,
    /// The level was reached over days: the mean of the day is on its way too.
    pub level_crept: bool,
}

impl News {
    pub fn loudest(&self) -> f64 {
        self.value.max(self.departure).max(self.level).max(self.rhythm).max(self.restlessness).max(self.stillness)
    }
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Novelty {
    seen: u32,
    least: f64,
    most: f64,
    departed_from: f64,
    level: f64,
    day_level: f64,
    restlessness: f64,
    value_frontier: Frontier,
    departure_frontier: Frontier,
    level_frontier: Frontier,
    rhythm_frontier: Frontier,
    restlessness_frontier: Frontier,
    stillness: Stillness,
}

impl Novelty {
    /// Takes the next value in, with what its time of day had led to expect.
    pub fn observe(&mut self, value: f64, habit: &Habit, pace: Pace) -> News {
        if self.seen == 0 {
            (self.least, self.most) = (value, value);
        }
        (self.least, self.most) = (self.least.min(value), self.most.max(value));
        self.seen = self.seen.saturating_add(1);
        let reach = |memory_days: f64, span_days: f64| Reach { memory: pace.rows(memory_days * DAY), span: pace.rows(span_days * DAY) };
        let floor = FLOOR * (self.most - self.least);
        let count = f64::from(self.seen);
        let departure = value - self.departed_from;
        self.departed_from += departure * rate(count, pace.rows(DEPARTURE_HOURS * HOUR));
        self.level += (value - self.level) * rate(count, pace.rows(LEVEL_HOURS * HOUR));
        self.day_level += (value - self.day_level) * rate(count, pace.rows(DAY));
        let mut news = News { value: self.value_frontier.surprise(value, reach(20.0, 10.0), floor), ..News::default() };
        news.stillness = self.stillness.surprise(value, pace.rows(60.0 * DAY));
        if let Some(expected) = habit.expected {
            news.rhythm = RHYTHM_WEIGHT * habit.trust * self.rhythm_frontier.surprise(value - expected, reach(30.0, 10.0), floor);
        }
        if self.seen <= SETTLED {
            return news;
        }
        news.departure = self.departure_frontier.surprise(departure, reach(30.0, 5.0), floor);
        news.level = LEVEL_WEIGHT * self.level_frontier.surprise(self.level, reach(60.0, 10.0), floor);
        let middle = self.level_frontier.middle();
        news.level_crept = (self.day_level - middle) * (self.level - middle).signum() > 0.5 * (self.level - middle).abs();
        let settled = f64::from(self.seen - SETTLED);
        self.restlessness += (departure.abs() - self.restlessness) * rate(settled, pace.rows(RESTLESS_HOURS * HOUR));
        let usual = self.departure_frontier.distance();
        if settled > pace.rows(DAY) && usual + floor > 0.0 {
            let ratio = ((self.restlessness + floor) / (usual + floor)).ln();
            news.restlessness = self.restlessness_frontier.surprise(ratio, reach(60.0, 10.0), 0.0);
        }
        news
    }
}
