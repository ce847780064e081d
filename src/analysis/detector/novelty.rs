//! Novelty: has this series ever been here? Each figure against its own frontier.
//!
//! - the value itself: never so high or low in weeks;
//! - the value less the mean of the last hours: never so far from where it just was, whatever the level;
//! - the mean of the last hours, with twice the weight, since noise moves it less: a level never held before;
//! - the value less the habit of that time of day, as far as the rhythm is to be believed: never so unlike its day.
//!
//! The loudest of them counts. Beside those stands what comes slowly, which no single sample shows:
//!
//! - what the level has gained on its frontier in hours and days, a shift within the range of single values or a drift;
//! - what the restlessness of the last half day has gained: never so wild, never so calm;
//! - the run of equal values: never still for so long.
//!
//! All memories are times, not counts of samples, so that a series of a value an hour
//! and one of a value a minute are judged by the same habits: weeks for the range, days for what is usual.

use serde::{Deserialize, Serialize};

use crate::analysis::detector::frontier::{Frontier, Gain, Reach};
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
/// What is gained slowly has to be much more: every daily season gains a little.
const GAIN_WEIGHT: f64 = 0.4;
const GAIN_DAYS: f64 = 0.5;
/// The share of a level's way that the mean of the day has gone with it when it came over days.
const CREPT: f64 = 0.3;
/// Days before anything slow is judged.
const SLOW_DAYS: f64 = 2.0;
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
    pub level_gain: f64,
    pub restlessness_gain: f64,
    /// ln of the run of equal values over the longest before.
    pub stillness: f64,
    /// The mean of the last day is well on the way that the level has gone.
    pub level_crept: bool,
    pub level_up: bool,
}

impl News {
    /// The loudest of what this sample shows by itself.
    pub fn sudden(&self) -> f64 {
        self.value.max(self.departure).max(self.level).max(self.rhythm)
    }

    /// The loudest of what shows over hours and days.
    pub fn slow(&self) -> f64 {
        self.level_gain.max(self.restlessness_gain).max(self.stillness)
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
    level_gain: Gain,
    restlessness_gain: Gain,
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
        let value_beyond = self.value_frontier.beyond(value, reach(20.0, 10.0), floor);
        let mut news = News { value: value_beyond.ln_1p(), ..News::default() };
        news.stillness = self.stillness.surprise(value, pace.rows(60.0 * DAY));
        if let Some(expected) = habit.expected {
            let beyond = self.rhythm_frontier.beyond(value - expected, reach(30.0, 10.0), floor);
            news.rhythm = RHYTHM_WEIGHT * habit.trust * beyond.ln_1p();
        }
        if self.seen <= SETTLED {
            return news;
        }
        news.departure = self.departure_frontier.beyond(departure, reach(30.0, 5.0), floor).ln_1p();
        let level_beyond = self.level_frontier.beyond(self.level, reach(60.0, 10.0), floor);
        news.level = LEVEL_WEIGHT * level_beyond.ln_1p();
        let middle = self.level_frontier.middle();
        news.level_up = self.level > middle;
        news.level_crept = (self.day_level - middle) * (self.level - middle).signum() > CREPT * (self.level - middle).abs();
        let settled = f64::from(self.seen - SETTLED);
        self.restlessness += (departure.abs() - self.restlessness) * rate(settled, pace.rows(RESTLESS_HOURS * HOUR));
        let usual = self.departure_frontier.distance() + floor;
        if settled > pace.rows(SLOW_DAYS * DAY) && usual > 0.0 {
            let half_life = pace.rows(GAIN_DAYS * DAY);
            news.level_gain = GAIN_WEIGHT * self.level_gain.add(level_beyond, half_life).ln_1p();
            let ratio = ((self.restlessness + floor) / usual).ln();
            let beyond = self.restlessness_frontier.beyond(ratio, reach(60.0, 10.0), 0.0);
            news.restlessness_gain = GAIN_WEIGHT * self.restlessness_gain.add(beyond, half_life).ln_1p();
        }
        news
    }
}
