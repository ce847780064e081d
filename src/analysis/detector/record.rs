//! The range a figure has been seen in, slowly forgotten: how far outside of it is the next?

use serde::{Deserialize, Serialize};

/// How much of its half-width the range loses with each sample.
const FORGETTING: f64 = 1.0 / 4000.0;

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Record {
    range: Option<(f64, f64)>,
}

impl Record {
    /// How far `value` is outside of the range, which then holds it.
    pub fn excess(&mut self, value: f64) -> f64 {
        let Some((low, high)) = self.range else {
            self.range = Some((value, value));
            return 0.0;
        };
        let middle = 0.5 * (low + high);
        let (low, high) = (low + (middle - low) * FORGETTING, high + (middle - high) * FORGETTING);
        self.range = Some((low.min(value), high.max(value)));
        (value - high).max(low - value).max(0.0)
    }
}
