//! Means and levels that follow a series in constant memory.

use serde::{Deserialize, Serialize};

/// The mean of about the last `span` samples; of all of them as long as there are fewer.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Mean {
    span: f64,
    count: f64,
    value: f64,
}

impl Mean {
    pub fn new(span: f64) -> Mean {
        Mean { span, count: 0.0, value: 0.0 }
    }

    pub fn learn(&mut self, value: f64) {
        self.count = (self.count + 1.0).min(self.span);
        self.value += (value - self.value) / self.count;
    }

    pub fn value(&self) -> f64 {
        self.value
    }
}

/// The level of a series in the manner of a median: an outlier, however large, moves it no more than a common sample does.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Level {
    mean: Mean,
    spread: Mean,
}

impl Level {
    pub fn new(span: f64) -> Level {
        Level { mean: Mean::new(span), spread: Mean::new(2000.0) }
    }

    pub fn value(&self) -> f64 {
        self.mean.value
    }

    /// The usual distance from the level.
    pub fn spread(&self) -> f64 {
        self.spread.value
    }

    /// How far the step from `last` to `value` leads away from the level; zero for a step back to it.
    pub fn departure(&self, last: f64, value: f64) -> f64 {
        let away = (value - self.mean.value).abs();
        if away > (last - self.mean.value).abs() { away.min((value - last).abs()) } else { 0.0 }
    }

    pub fn learn(&mut self, value: f64) {
        if self.mean.count == 0.0 {
            self.mean.learn(value);
            return;
        }
        let away = value - self.mean.value;
        self.spread.learn(away.abs());
        let most = 3.0 * self.spread.value;
        let held = self.mean.value + away.clamp(-most, most);
        self.mean.learn(held);
    }
}
