//! How long a series has stood still, against how long it ever did.

use serde::{Deserialize, Serialize};

/// A series has to have moved so often before standing still says anything.
const MOVED: u32 = 20;
/// No run is long below so many samples.
const SHORT: f64 = 12.0;

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Stillness {
    last: f64,
    run: f64,
    longest: f64,
    moved: u32,
}

impl Stillness {
    /// ln of the present run of equal values over the longest one remembered; zero for a shorter one.
    pub fn surprise(&mut self, value: f64, memory: f64) -> f64 {
        self.longest *= 1.0 - 1.0 / memory.max(1.0);
        if value == self.last {
            self.run += 1.0;
            let surprise = (self.run / self.longest.max(SHORT)).ln().max(0.0);
            return if self.moved >= MOVED { surprise } else { 0.0 };
        }
        self.longest = self.longest.max(self.run);
        self.moved = self.moved.saturating_add(1);
        (self.last, self.run) = (value, 0.0);
        0.0
    }
}
