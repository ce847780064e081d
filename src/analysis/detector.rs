//! The streaming detector: one series in, sample by sample, a score of surprise out.
//!
//! Work in progress; the method is argued here once it stands.

pub mod frontier;
pub mod novelty;
pub mod rhythm;
pub mod running;
pub mod told;

#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

use crate::analysis::detector::novelty::Novelty;
use crate::analysis::detector::rhythm::{Pace, Profile};
use crate::analysis::detector::running::{Level, Mean};
use crate::analysis::detector::told::Told;
use crate::model::time::Timestamp;

/// Samples before a word is said.
const NEEDED: u32 = 20;

/// The novelty that is worth a word.
const NOVEL: f64 = 0.75;
/// The jump that is worth as much: ln(1 + steps) + 0.3 ln(1 + departures).
const SUDDEN: f64 = 9.0;

/// What a person may turn.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DetectorSettings {
    /// 1 by default; 2 finds more, 0.5 finds less.
    pub sensitivity: f64,
}

impl Default for DetectorSettings {
    fn default() -> DetectorSettings {
        DetectorSettings { sensitivity: 1.0 }
    }
}

/// How a sample was odd.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Kind {
    Spike,
    Dip,
    LevelUp,
    LevelDown,
    Drift,
    Flatline,
    Volatility,
    /// The daily rhythm was missed.
    Rhythm,
}

/// How much is known, as long as it is too little.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Learning {
    pub have: u32,
    pub need: u32,
}

/// What one sample means against all before it.
#[derive(Clone, Debug, PartialEq)]
pub struct Assessment {
    /// From 0 to 1, growing with surprise.
    pub score: f64,
    /// What habit led to expect, in the unit of the values.
    pub expected: Option<f64>,
    /// The usual distance from what is expected.
    pub scale: Option<f64>,
    /// What kind of oddness leads the score; `None` with a score of 0.
    pub kind: Option<Kind>,
    /// `Some` while too little is known for a firm word.
    pub learning: Option<Learning>,
}

/// Everything known of one series.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Detector {
    seen: u32,
    last: f64,
    pace: Pace,
    profile: Profile,
    level: Level,
    /// Usual step from one sample to the next.
    step: Mean,
    novelty: Novelty,
    told_novelty: Told,
    told_jump: Told,
}

impl Detector {
    pub fn new(_settings: &DetectorSettings) -> Detector {
        Detector {
            seen: 0,
            last: 0.0,
            pace: Pace::default(),
            profile: Profile::default(),
            level: Level::new(100.0),
            step: Mean::new(2000.0),
            novelty: Novelty::default(),
            told_novelty: Told::new(12.0, 1.2),
            told_jump: Told::new(6.0, 1.2),
        }
    }

    /// Takes the next sample in; values that are no finite number change nothing.
    pub fn observe(&mut self, at: Timestamp, value: f64) -> Assessment {
        if !value.is_finite() {
            return self.assessment(0.0, None, None);
        }
        let hours = self.pace.advance(at.0);
        let expected = self.profile.expected(at.0).or((self.seen > 0).then(|| self.level.value()));
        if self.seen == 0 {
            self.last = value;
        }
        let step = value - self.last;
        let departure = self.level.departure(self.last, value);
        let usual_step = nonzero(self.step.value());
        let jump = (step.abs() / usual_step).ln_1p() + 0.3 * (departure / usual_step).ln_1p();
        let news = self.novelty.observe(value, self.pace.seconds());

        self.step.learn(step.abs());
        self.level.learn(value);
        self.profile.learn(at.0, value, self.pace.seconds());
        let up = value >= self.level.value();
        self.last = value;
        self.seen = self.seen.saturating_add(1);
        if self.seen <= NEEDED {
            return self.assessment(0.0, None, expected);
        }
        let novelty = (self.told_novelty.news(hours, news.loudest()) / NOVEL).powi(3);
        let jump = self.told_jump.news(hours, jump) / SUDDEN;
        let surprise = novelty.max(jump);
        let kind = if surprise <= 0.0 {
            None
        } else if novelty > jump && news.level >= news.loudest() {
            Some(if up { Kind::LevelUp } else { Kind::LevelDown })
        } else {
            Some(if up { Kind::Spike } else { Kind::Dip })
        };
        self.assessment(surprise / (surprise + 1.0), kind, expected)
    }

    fn assessment(&self, score: f64, kind: Option<Kind>, expected: Option<f64>) -> Assessment {
        let learning = (self.seen < NEEDED).then_some(Learning { have: self.seen, need: NEEDED });
        let scale = self.level.spread();
        Assessment { score, expected, scale: (scale > 0.0).then_some(scale), kind, learning }
    }
}

/// Whether a score is worth telling a person.
pub fn is_anomaly(score: f64, settings: &DetectorSettings) -> bool {
    score >= (0.5 / settings.sensitivity.max(0.01)).min(1.0)
}

/// A divisor that makes nothing of nothing and much of anything beside nothing.
fn nonzero(scale: f64) -> f64 {
    if scale > 0.0 { scale } else { f64::MIN_POSITIVE.sqrt() }
}
