//! What is known of one service in one region: a detector for its latency and for each phase that was ever measured, and how
//! often its checks fail. A sample goes in, what each of them says of it comes out.
//!
//! **Invariant.** The same samples in the same order give the same words, whether the state was packed in between or not.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::analysis::detector::{Assessment, Detector, DetectorSettings, Kind, is_anomaly};
use crate::analysis::errors::{ErrorAssessment, ErrorHabit};
use crate::analysis::samples::{Sample, TIMES};
use crate::config::sections::AnalysisSettings;
use crate::model::finding::{Learning, Shape, Signal};
use crate::model::id::RegionName;
use crate::model::time::Timestamp;

/// Samples a time needs before anything is told of it; until the detector calls itself learnt, it is told with less confidence.
const NEEDED: u32 = 60;
/// Changes of a smaller share are not told while a day is not known yet.
const LEAST_WHILE_LEARNING: f64 = 0.5;
/// A difference of fewer microseconds matters to nobody.
const LEAST_US: f64 = 500.0;
/// So many samples in a row that are all so many usual distances above what is expected, and so many times as large or more, are told
/// even if the detector is not surprised: it is by what is new, and as slow as that it may have been for a moment before.
const LASTING: u32 = 5;
const FAR: f64 = 5.0;
const SLOW: f64 = 1.5;
/// The layout of a packed state. One of another layout is not read: what it knew is learnt anew.
const LAYOUT: u8 = 2;

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Series {
    /// The starts of the first and of the newest sample.
    first: i64,
    newest: i64,
    times: [Option<Habit>; 6],
    errors: ErrorHabit,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Habit {
    detector: Box<Detector>,
    seen: u32,
    /// Samples in a row that were far above what was expected.
    far: u32,
}

/// What was said of one time of a sample.
#[derive(Clone, Debug, PartialEq)]
pub struct Reading {
    pub signal: Signal,
    /// Microseconds.
    pub observed: f64,
    pub expected: Option<f64>,
    pub score: f64,
    /// Worth telling, as far as this one goes.
    pub odd: bool,
    pub shape: Option<Shape>,
    pub learning: Option<Learning>,
}

/// What was said of a sample.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    pub region: RegionName,
    pub at: Timestamp,
    /// Microseconds.
    pub span: i64,
    pub checks: u32,
    pub failed: u32,
    /// Those that were measured.
    pub times: Vec<Reading>,
    pub errors: ErrorAssessment,
    /// How long the series has been known.
    pub known: Duration,
}

impl Row {
    pub fn reading(&self, signal: Signal) -> Option<&Reading> {
        self.times.iter().find(|reading| reading.signal == signal)
    }
}

impl Default for Series {
    fn default() -> Series {
        Series { first: i64::MAX, newest: i64::MIN, times: Default::default(), errors: ErrorHabit::default() }
    }
}

impl Series {
    pub fn take(&mut self, sample: &Sample, settings: &AnalysisSettings) -> Row {
        self.first = self.first.min(sample.start.0);
        self.newest = sample.start.0;
        let errors = self.errors.observe(sample.checks, sample.failed, settings.sensitivity);
        // The few that pass while most fail say nothing of how long it usually takes.
        let telling = u64::from(sample.failed) * 2 <= u64::from(sample.checks);
        let mut times = Vec::new();
        for ((signal, habit), value) in TIMES.into_iter().zip(&mut self.times).zip(sample.times) {
            if let Some(value) = value.filter(|_| telling) {
                times.push(Habit::of(habit, settings).take(signal, sample.start, value, settings));
            }
        }
        let known = Timestamp(self.newest).since(Timestamp(self.first)) + Duration::from_micros(sample.span.max(0) as u64);
        let Sample { start, span, checks, failed, .. } = *sample;
        Row { region: sample.region.clone(), at: start, span, checks, failed, times, errors, known }
    }

    /// The start of the newest sample; `None` before the first.
    pub fn newest(&self) -> Option<Timestamp> {
        (self.newest != i64::MIN).then_some(Timestamp(self.newest))
    }

    pub fn pack(&self) -> Result<Vec<u8>, postcard::Error> {
        postcard::to_extend(self, vec![LAYOUT])
    }

    /// `None`: it was packed by another version of this program.
    pub fn unpack(packed: &[u8]) -> Option<Series> {
        let (layout, state) = packed.split_first()?;
        (*layout == LAYOUT).then(|| postcard::from_bytes(state).ok())?
    }
}

impl Habit {
    fn of<'a>(habit: &'a mut Option<Habit>, settings: &AnalysisSettings) -> &'a mut Habit {
        habit.get_or_insert_with(|| Habit { detector: Box::new(Detector::new(&detector_settings(settings))), seen: 0, far: 0 })
    }

    fn take(&mut self, signal: Signal, at: Timestamp, value: f64, settings: &AnalysisSettings) -> Reading {
        let Assessment { score, expected, scale, kind, learning } = self.detector.observe(at, value);
        self.seen = self.seen.saturating_add(1);
        let young = self.seen <= NEEDED;
        let need = learning.map_or(NEEDED, |learning| learning.need.max(NEEDED));
        let learning = (young || learning.is_some()).then_some(Learning { have: self.seen, need });
        let score = if score.is_finite() { score.clamp(0.0, 1.0) } else { 0.0 };
        // As long as a day is not known, what was never seen is no news by itself: only a large change is.
        let least_change = if learning.is_some() { settings.least_change.max(LEAST_WHILE_LEARNING) } else { settings.least_change };
        let matters = expected.is_some_and(|expected| matters(value, expected, least_change) && stands_out(value, expected, scale));
        let distances = expected.zip(scale).map_or(0.0, |(expected, scale)| (value - expected) / scale);
        let far = distances * settings.sensitivity >= FAR && expected.is_some_and(|expected| value >= SLOW * expected);
        self.far = if far { self.far.saturating_add(1) } else { 0 };
        let lasting = self.far >= LASTING;
        let odd = matters && !young && (lasting || is_anomaly(score, &detector_settings(settings)));
        // As surprising as so many usual distances are: those that are needed make a half.
        let score = if lasting { score.max(distances / (distances + FAR)) } else { score };
        let shape = if lasting { Some(Shape::LevelUp) } else { kind.map(shape) };
        Reading { signal, observed: value, expected, score, odd, shape, learning }
    }
}

/// Whether a difference is large enough to mean anything to a person: a share of what is usual, and half a millisecond.
pub fn matters(observed: f64, expected: f64, least_change: f64) -> bool {
    (observed - expected).abs() >= (least_change * expected.abs()).max(LEAST_US)
}

/// Whether it is outside of what the series does all the time.
fn stands_out(observed: f64, expected: f64, scale: Option<f64>) -> bool {
    scale.is_none_or(|scale| (observed - expected).abs() >= 3.0 * scale)
}

fn detector_settings(settings: &AnalysisSettings) -> DetectorSettings {
    DetectorSettings { sensitivity: settings.sensitivity }
}

fn shape(kind: Kind) -> Shape {
    match kind {
        Kind::Spike => Shape::Spike,
        Kind::Dip => Shape::Dip,
        Kind::LevelUp => Shape::LevelUp,
        Kind::LevelDown => Shape::LevelDown,
        Kind::Drift => Shape::Drift,
        Kind::Flatline => Shape::Flatline,
        Kind::Volatility => Shape::Volatility,
        Kind::Rhythm => Shape::Rhythm,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::sample::{sample, settings};

    #[test]
    fn a_packed_state_goes_on_as_if_it_had_not_been_packed() {
        let (mut whole, mut packed) = (Series::default(), Series::default());
        for minute in 0..400 {
            let sample =
                sample("eu", minute, [Some(20_000.0 + f64::from(minute % 7) * 300.0), None, Some(2_000.0), None, None, None], 3, 0);
            packed = Series::unpack(&packed.pack().unwrap()).unwrap();
            assert_eq!(whole.take(&sample, &settings()), packed.take(&sample, &settings()));
        }
        let size = whole.pack().unwrap().len();
        assert!(size <= 2 * 4096 + 2048, "two times take {size} bytes");
        assert!(Series::unpack(&[LAYOUT + 1, 0, 0]).is_none() && Series::unpack(&[]).is_none() && Series::unpack(&[LAYOUT, 9]).is_none());
    }

    #[test]
    fn learning_is_said_and_ends() {
        let mut series = Series::default();
        let mut learning = Vec::new();
        for minute in 0..1_600 {
            let row = series.take(&sample("eu", minute, [Some(20_000.0), None, None, None, None, None], 3, 0), &settings());
            learning.push(row.times[0].learning);
            assert!(!row.times[0].odd);
        }
        assert_eq!(learning[0].map(|learning| learning.have), Some(1));
        assert!(learning[0].is_some_and(|learning| learning.need >= NEEDED) && learning[1_599].is_none());
    }

    #[test]
    fn what_is_odd_within_the_first_day_is_told_as_by_one_who_learns() {
        let mut series = Series::default();
        let mut minutes = 0..;
        let mut take = |ms: u32| {
            let minute = minutes.next().unwrap_or(0);
            let time = f64::from(ms * 1_000 + minute * 37 % 11 * 100);
            series.take(&sample("eu", minute, [Some(time), None, None, None, None, None], 3, 0), &settings()).times[0].clone()
        };
        assert!((0..90).all(|_| !take(20).odd));
        let slow = take(200);
        assert!(slow.odd && slow.learning.is_some_and(|learning| learning.need == 1_440), "{slow:?}");
    }

    #[test]
    fn what_lasts_is_told_though_something_as_slow_was_there_for_a_moment_before() {
        let mut series = Series::default();
        let mut minutes = 0..;
        let mut take = |ms: u32| {
            let minute = minutes.next().unwrap_or(0);
            let time = f64::from(ms * 1_000 + minute * 37 % 11 * 100);
            series.take(&sample("eu", minute, [Some(time), None, None, None, None, None], 3, 0), &settings()).times[0].odd
        };
        let calm = (0..200).filter(|_| take(20)).count();
        let moment = take(120);
        let after = (0..60).filter(|_| take(20)).count();
        let lasting: Vec<bool> = (0..6).map(|_| take(120)).collect();
        assert_eq!((calm, moment, after), (0, true, 0));
        assert!(lasting[4], "{lasting:?}");
    }

    #[test]
    fn the_few_that_pass_while_most_fail_teach_nothing() {
        let mut series = Series::default();
        let times = [Some(20_000.0), None, None, None, None, None];
        assert_eq!(series.take(&sample("eu", 0, times, 10, 6), &settings()).times, []);
        assert_eq!(series.take(&sample("eu", 1, times, 10, 5), &settings()).times.len(), 1);
    }
}
