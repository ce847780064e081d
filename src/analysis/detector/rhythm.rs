//! The pace of a series, and its habit by the time of day.
//!
//! Not every series keeps a rhythm, and a profile learnt from one that does not is noise. So the profile proves itself
//! first: it is trusted as far as it has foretold the values better than the mean of the day before did.

use serde::{Deserialize, Serialize};

use crate::analysis::detector::running::rate;

const SLOTS: usize = 96;
const SLOT_SECONDS: f64 = 900.0;
const DAY: f64 = 86_400.0;
const DAY_MICROS: i64 = 86_400_000_000;
/// A profile is a mean over about so many days, and says nothing before the second.
const DAYS_KEPT: f64 = 5.0;
const DAYS_NEEDED: f64 = 2.0;
/// Over how many days a profile has to prove itself.
const PROVEN_OVER_DAYS: f64 = 10.0;
/// Silence of at least so long, and of so many samples, is a gap.
const GAP_HOURS: f64 = 3.0;
const GAP_ROWS: f64 = 10.0;

/// The time since the sample before.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Elapsed {
    /// Zero at the first sample and when the clock went back.
    pub hours: f64,
    pub gap: bool,
}

/// The usual time from one sample to the next, learnt from the times themselves.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Pace {
    last: Option<i64>,
    /// Zero before the second sample.
    seconds: f64,
}

impl Pace {
    pub fn advance(&mut self, at: i64) -> Elapsed {
        let seconds = self.last.map_or(0.0, |last| (at.saturating_sub(last) as f64 / 1e6).max(0.0));
        self.last = Some(at);
        let gap = self.seconds > 0.0 && seconds > GAP_HOURS * 3600.0 && seconds > GAP_ROWS * self.seconds;
        if seconds > 0.0 {
            // In the manner of a median, by small steps: a gap counts for no more than a late sample.
            self.seconds = match self.seconds {
                0.0 => seconds,
                usual if seconds > usual * 1.001 => (usual * 1.05).min(seconds),
                usual if seconds < usual * 0.999 => (usual / 1.05).max(seconds),
                usual => usual,
            };
        }
        Elapsed { hours: seconds / 3600.0, gap }
    }

    /// How many samples come in `seconds`; at least one.
    pub fn rows(self, seconds: f64) -> f64 {
        (seconds / self.seconds.max(1e-3)).max(1.0)
    }
}

/// What a time of day leads to expect.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Habit {
    /// What is usual at that time of day, once known.
    pub expected: Option<f64>,
    /// The usual distance from what was expected.
    pub distance: f64,
    /// From 0 to 1: how far the rhythm is to be believed.
    pub trust: f64,
}

impl Habit {
    /// What is expected and the usual distance from it, if there is a rhythm worth speaking of.
    pub fn rhythm(&self) -> Option<(f64, f64)> {
        self.expected.filter(|_| self.trust >= 0.1).map(|expected| (expected, self.distance))
    }
}

/// What is usual at each quarter of an hour of the day.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Profile {
    /// Mean, and on how many days it rests.
    slots: Vec<(f64, f32)>,
    seen: f64,
    proven: f64,
    day_mean: f64,
    from_profile: f64,
    from_day_mean: f64,
}

impl Default for Profile {
    fn default() -> Profile {
        Profile { slots: vec![(0.0, 0.0); SLOTS], seen: 0.0, proven: 0.0, day_mean: 0.0, from_profile: 0.0, from_day_mean: 0.0 }
    }
}

impl Profile {
    /// What was expected of `value` before it came; then it is learnt.
    pub fn observe(&mut self, at: i64, value: f64, pace: Pace) -> Habit {
        self.seen += 1.0;
        self.day_mean += (value - self.day_mean) * rate(self.seen, pace.rows(DAY));
        let slot = (at.rem_euclid(DAY_MICROS) as f64 / 1e6 / SLOT_SECONDS) as usize % SLOTS;
        let (mean, days) = &mut self.slots[slot];
        // A slot that the second day has only begun to fill is held to be known.
        let expected = (f64::from(*days) >= DAYS_NEEDED - 0.01).then_some(*mean);
        if let Some(expected) = expected {
            self.proven += 1.0;
            let weight = rate(self.proven, pace.rows(PROVEN_OVER_DAYS * DAY));
            self.from_profile += ((value - expected).abs() - self.from_profile) * weight;
            self.from_day_mean += ((value - self.day_mean).abs() - self.from_day_mean) * weight;
        }
        let a_slot = pace.rows(SLOT_SECONDS);
        *days = (f64::from(*days) + 1.0 / a_slot).min(DAYS_KEPT) as f32;
        *mean += (value - *mean) / (f64::from(*days) * a_slot).max(1.0);
        let explained = if self.from_day_mean > 0.0 { (1.0 - self.from_profile / self.from_day_mean).max(0.0) } else { 0.0 };
        Habit { expected, distance: self.from_profile, trust: explained * explained }
    }
}
