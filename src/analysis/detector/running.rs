//! Means that follow a series in constant memory.

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

/// The weight of the newest of `count` samples in a mean over about `span` of them, for a span that may change.
pub fn rate(count: f64, span: f64) -> f64 {
    (1.0 / count).max(2.0 / (span + 1.0)).min(1.0)
}
