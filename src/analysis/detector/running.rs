//! Means and quantiles that follow a series in constant memory.

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

/// The value that a given share of the last samples lies below, found by small steps (Robbins and Monro 1951): up by
/// the share of a stride after a larger sample, down by the rest of it after a smaller one. Strides shrink with experience.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Quantile {
    share: f64,
    span: f64,
    count: f64,
    value: f64,
}

impl Quantile {
    /// So many samples say nothing of a tail yet; until then it is put at [`GUESS`] times the mean.
    const FEW: f64 = 20.0;
    const GUESS: f64 = 2.0;
    /// The first stride in units of the mean, and how fast strides shrink with the count.
    const STRIDE: f64 = 3.0;
    const SHRINKING: f64 = 0.7;

    pub fn new(share: f64, span: f64) -> Quantile {
        Quantile { share, span, count: 0.0, value: 0.0 }
    }

    /// `mean` is the mean of the samples with this one: the unit of the strides.
    pub fn learn(&mut self, value: f64, mean: f64) {
        self.count = (self.count + 1.0).min(self.span);
        if self.count <= Quantile::FEW {
            self.value = Quantile::GUESS * mean;
            return;
        }
        let stride = Quantile::STRIDE * mean / self.count.powf(Quantile::SHRINKING);
        let share = if value > self.value { self.share } else { self.share - 1.0 };
        self.value = (self.value + stride * share).max(0.0);
    }

    pub fn value(&self) -> f64 {
        self.value
    }
}

/// The weight of the newest of `count` samples in a mean over about `span` of them, for a span that may change.
pub fn rate(count: f64, span: f64) -> f64 {
    (1.0 / count).max(2.0 / (span + 1.0)).min(1.0)
}
