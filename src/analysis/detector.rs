//! The streaming detector: one series in, sample by sample, a score of surprise out.
//!
//! # The method
//!
//! Two questions are asked of every sample, and the louder answer is the score.
//!
//! **Has this series ever been here?** ([`novelty`]) A handful of figures, each against the range it has been seen in
//! over the last weeks: the value, its distance from the last hours, the level of the last hours, its distance from the
//! habit of that time of day (as far as the series keeps a rhythm); and, over days, what its level and its restlessness have
//! gained, and how long it has stood still.
//! Being outside of a remembered range is the plainest form of a tail probability: after n samples of a steady series it
//! comes by chance with probability 2/n, whatever the distribution (Rényi's law of records), so that no shape of noise has
//! to be assumed and false alarms die out as experience grows. How far outside, in usual distances, is the size of the
//! surprise: an excess over a high threshold, as in the peaks-over-threshold method (Pickands 1975; for streams Siffer et
//! al., KDD 2017, "Anomaly detection in streams with extreme value theory").
//!
//! **Did it just jump?** ([`jump`]) The step from the sample before against the usual step, less what the rhythm explains.
//! This has a short memory where novelty has a long one: a second outage like yesterday's is a jump again, though no news.
//!
//! **What has just been told is no news** ([`told`]). Either answer counts only if it is clearly louder than what was said
//! in the last hours. So an episode is told at its beginning and again when it grows, the way back to normal is not told
//! as a second anomaly, and nothing is counted in rows: a series of a value an hour and one of a value a minute get the
//! same silence. How silent a detector keeps matters as much as what it sees (Lavin and Ahmad 2015, arXiv:1510.03336).
//!
//! Novelty is bent (third power about [`NOVEL`]), so that faint novelty drowns out no jump and strong novelty outranks
//! every jump. The two are not added: they see the same events, and a sum would count those twice. What comes slowly is told
//! at the common sensitivity and ranks below all that is louder.
//!
//! # Invariants
//!
//! - A score depends on this sample and those before it, on nothing else: no clock, no file, no chance.
//! - The state has a fixed size, and every sample costs the same.
//! - Values mapped by `a·x + b` with `a > 0` give the same scores (but for rounding), and times shifted by whole days too.
//! - Every finite number and every time is taken; the score is always within 0 and 1.

pub mod frontier;
pub mod jump;
pub mod novelty;
pub mod rhythm;
pub mod running;
pub mod stillness;
pub mod told;

#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

use crate::analysis::detector::jump::Jump;
use crate::analysis::detector::novelty::{News, Novelty};
use crate::analysis::detector::rhythm::{Pace, Profile};
use crate::analysis::detector::told::Told;
use crate::model::time::Timestamp;

/// The novelty that is worth a word: 1.1 usual distances beyond all that is remembered, half as much for a level.
const NOVEL: f64 = 0.75;
/// The jump that is worth as much, in the unit of [`Jump`]; most are worth less.
const SUDDEN: f64 = 9.0;
/// Samples before anything is scored.
const SILENT: u32 = 20;
/// Larger values are cut, so that no difference of two overflows.
const LARGEST: f64 = 1e150;

/// What a person may turn.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DetectorSettings {
    /// 1 by default; larger finds more, smaller finds less: at 2 half the surprise is enough, at 0.5 it takes twice as much.
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
    /// A level never held before that was reached over days.
    Drift,
    /// Standing still for longer than ever.
    Flatline,
    /// More restless, or calmer, than ever.
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
    /// `Some` until a day has been seen, or 20 samples where that is longer: scores are given, but rest on little.
    pub learning: Option<Learning>,
}

/// Everything known of one series.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Detector {
    seen: u32,
    pace: Pace,
    profile: Profile,
    novelty: Novelty,
    jump: Jump,
    told_novelty: Told,
    told_slow: Told,
    told_jump: Told,
}

impl Detector {
    /// The settings say what is told, not what is learnt: a state outlives a change of them.
    pub fn new(_settings: &DetectorSettings) -> Detector {
        Detector {
            seen: 0,
            pace: Pace::default(),
            profile: Profile::default(),
            novelty: Novelty::default(),
            jump: Jump::default(),
            told_novelty: Told::new(12.0, 1.2),
            told_slow: Told::new(48.0, 1.5),
            told_jump: Told::new(5.0, 1.6),
        }
    }

    /// Takes the next sample in. A value that is no finite number changes nothing and scores 0.
    pub fn observe(&mut self, at: Timestamp, value: f64) -> Assessment {
        if !value.is_finite() {
            return Assessment { score: 0.0, expected: None, scale: None, kind: None, learning: self.learning() };
        }
        let value = value.clamp(-LARGEST, LARGEST);
        let elapsed = self.pace.advance(at.0);
        let habit = self.profile.observe(at.0, value, self.pace);
        let (expected, scale) = habit.rhythm().unwrap_or_else(|| self.jump.usual());
        let jump = self.jump.observe(value, &habit, elapsed.gap);
        let news = self.novelty.observe(value, &habit, self.pace);
        self.seen = self.seen.saturating_add(1);

        // In the first samples every one is a record: told of those, the memory would hush what comes for hours.
        let (sudden, slow, jump) = if self.seen > SILENT {
            let sudden = self.told_novelty.news(elapsed.hours, news.sudden());
            let slow = self.told_slow.slow_news(elapsed.hours, news.slow(), NOVEL);
            (sudden, slow, self.told_jump.news(elapsed.hours, jump))
        } else {
            (0.0, 0.0, 0.0)
        };
        let (sudden, jump) = ((sudden / NOVEL).powi(3), jump / SUDDEN);
        // What comes slowly is worth a word and no more: no single sample proves it.
        let slow = if slow > 0.0 { 1.0 } else { 0.0 };
        let surprise = sudden.max(slow).max(jump);
        let up = value > expected;
        let kind = (surprise > 0.0).then(|| {
            if slow >= surprise {
                slow_kind(&news)
            } else if sudden >= jump {
                sudden_kind(&news, up)
            } else {
                excursion(up)
            }
        });
        Assessment {
            score: surprise / (surprise + 1.0),
            expected: (self.seen > 1).then_some(expected),
            scale: (scale > 0.0).then_some(scale),
            kind,
            learning: self.learning(),
        }
    }

    fn learning(&self) -> Option<Learning> {
        let need = (self.pace.rows(24.0 * 3600.0) as u32).max(SILENT);
        (self.seen < need).then_some(Learning { have: self.seen, need })
    }
}

/// Whether a score is worth telling a person: from 0.5 on at a sensitivity of 1, from 1/3 on at 2.
pub fn is_anomaly(score: f64, settings: &DetectorSettings) -> bool {
    score >= 1.0 / (1.0 + settings.sensitivity.max(0.01))
}

fn excursion(up: bool) -> Kind {
    if up { Kind::Spike } else { Kind::Dip }
}

fn shift(news: &News) -> Kind {
    match (news.level_crept, news.level_up) {
        (true, _) => Kind::Drift,
        (false, true) => Kind::LevelUp,
        (false, false) => Kind::LevelDown,
    }
}

/// A sample that is worth a word by itself is an excursion: whether it is the first of a new level is not known yet.
fn sudden_kind(news: &News, up: bool) -> Kind {
    let alone = news.value.max(news.departure);
    if alone >= NOVEL || alone >= news.level.max(news.rhythm) {
        return excursion(up);
    }
    if news.level >= news.rhythm { shift(news) } else { Kind::Rhythm }
}

fn slow_kind(news: &News) -> Kind {
    if news.level_gain >= news.slow() {
        return shift(news);
    }
    if news.stillness >= news.slow() { Kind::Flatline } else { Kind::Volatility }
}
