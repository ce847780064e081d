//! The pace of a series and its habit by the time of day.

use serde::{Deserialize, Serialize};

const SLOTS: usize = 96;
const SLOT_SECONDS: f64 = 900.0;
const DAY_MICROS: i64 = 86_400_000_000;

/// The usual time from one sample to the next, learnt from the times themselves.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Pace {
    last: Option<i64>,
    seconds: f64,
}

impl Pace {
    /// Hours since the sample before: none at the first and when the clock went back.
    pub fn advance(&mut self, at: i64) -> f64 {
        let seconds = self.last.map_or(0.0, |last| (at.saturating_sub(last) as f64 / 1e6).max(0.0));
        self.last = Some(at);
        if seconds > 0.0 {
            // A median by small steps: a gap counts for no more than a late sample.
            self.seconds = match self.seconds {
                0.0 => seconds,
                usual if seconds > usual * 1.001 => (usual * 1.05).min(seconds),
                usual if seconds < usual * 0.999 => (usual / 1.05).max(seconds),
                usual => usual,
            };
        }
        seconds / 3600.0
    }

    /// Zero before the second sample.
    pub fn seconds(&self) -> f64 {
        self.seconds
    }
}

/// What is usual at each quarter of an hour of the day.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Profile {
    /// Mean, and on how many days it rests.
    slots: Vec<(f32, f32)>,
}

impl Default for Profile {
    fn default() -> Profile {
        Profile { slots: vec![(0.0, 0.0); SLOTS] }
    }
}

impl Profile {
    /// What is usual at that time of day, once two days or more have shown it.
    pub fn expected(&self, at: i64) -> Option<f64> {
        let (mean, days) = self.slots[slot(at)];
        (days >= 2.0).then_some(f64::from(mean))
    }

    pub fn learn(&mut self, at: i64, value: f64, pace_seconds: f64) {
        let a_slot = if pace_seconds > 0.0 { (SLOT_SECONDS / pace_seconds).max(1.0) } else { 1.0 };
        let (mean, days) = &mut self.slots[slot(at)];
        *days = (f64::from(*days) + 1.0 / a_slot).min(5.0) as f32;
        *mean += ((value - f64::from(*mean)) / (f64::from(*days) * a_slot).max(1.0)) as f32;
    }
}

fn slot(at: i64) -> usize {
    (at.rem_euclid(DAY_MICROS) as f64 / 1e6 / SLOT_SECONDS) as usize % SLOTS
}
