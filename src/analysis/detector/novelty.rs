//! Novelty: has this series ever been here? Three figures, each against its own frontier.
//!
//! - the value itself: never so high or low in weeks;
//! - the value less the mean of the last hours: never so far from where it just was, whatever the level;
//! - the mean of the last hours, with twice the weight, since noise moves it less: a level never held before.
//!
//! The loudest of the three counts. All memories are times, not counts of samples, so that a series of a value an hour
//! and one of a value a minute are judged by the same habits: weeks for the range, days for what is usual.

use serde::{Deserialize, Serialize};

use crate::analysis::detector::frontier::{Frontier, Reach, rate};

const DAY: f64 = 86_400.0;
const DEPARTURE_SECONDS: f64 = 3.0 * 3600.0;
const LEVEL_SECONDS: f64 = 4.0 * 3600.0;
/// A level is news at half the distance a single value is.
const LEVEL_WEIGHT: f64 = 2.0;
/// Samples before the means of hours are trusted.
const SETTLED: u32 = 20;
/// What is less than this share of all the values ever seen span means nothing.
const FLOOR: f64 = 1e-3;

/// What was new, and how much.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct News {
    pub value: f64,
    pub departure: f64,
    pub level: f64,
}

impl News {
    pub fn loudest(&self) -> f64 {
        self.value.max(self.departure).max(self.level)
    }
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Novelty {
    seen: u32,
    least: f64,
    most: f64,
    departed_from: f64,
    level: f64,
    value_frontier: Frontier,
    departure_frontier: Frontier,
    level_frontier: Frontier,
}

impl Novelty {
    /// Takes the next value in, one of a series with a value each `pace_seconds`.
    pub fn observe(&mut self, value: f64, pace_seconds: f64) -> News {
        if self.seen == 0 {
            (self.least, self.most) = (value, value);
        }
        (self.least, self.most) = (self.least.min(value), self.most.max(value));
        self.seen = self.seen.saturating_add(1);
        let rows = |seconds: f64| (seconds / pace_seconds.max(1e-3)).max(1.0);
        let reach = |memory_days: f64, span_days: f64| Reach { memory: rows(memory_days * DAY), span: rows(span_days * DAY) };
        let floor = FLOOR * (self.most - self.least);
        let count = f64::from(self.seen);
        let departure = value - self.departed_from;
        self.departed_from += departure * rate(count, rows(DEPARTURE_SECONDS));
        self.level += (value - self.level) * rate(count, rows(LEVEL_SECONDS));
        let mut news = News { value: self.value_frontier.surprise(value, reach(20.0, 10.0), floor), ..News::default() };
        if self.seen > SETTLED {
            news.departure = self.departure_frontier.surprise(departure, reach(30.0, 5.0), floor);
            news.level = LEVEL_WEIGHT * self.level_frontier.surprise(self.level, reach(60.0, 10.0), floor);
        }
        news
    }
}
