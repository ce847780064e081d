//! A figure over some hours: what it was in each of some even spans, and where it is heading, in words.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::analysis::slope::{LEAST_POINTS, slope};
use crate::model::system::{Figure, Spread, Summary};
use crate::model::time::{Timestamp, micros};

/// Spans a trend is made of: as many as a terminal draws in one line.
const SPANS: i64 = 48;
/// A change smaller than this share of what it was is none.
const LEAST_CHANGE: f64 = 0.1;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    Rising,
    Falling,
    Steady,
    /// Too few spans have figures.
    Unknown,
}

impl Direction {
    pub fn name(self) -> &'static str {
        match self {
            Direction::Rising => "rising",
            Direction::Falling => "falling",
            Direction::Steady => "steady",
            Direction::Unknown => "unknown",
        }
    }
}

/// What is drawn.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Of {
    Figure(Figure),
    /// The latency of a dependency.
    Dependency(Arc<str>),
}

#[derive(Clone, Debug, PartialEq)]
pub struct Course {
    /// By the start of its span.
    pub points: Vec<(Timestamp, Spread)>,
    pub whole: Spread,
    pub direction: Direction,
    /// Where the line through the points stands at its ends, where there is one.
    pub ends: Option<(f64, f64)>,
}

/// The width of a span of a period of so many hours; samples come every `interval`.
pub fn width(hours: u32, interval: Duration) -> i64 {
    let period = i64::from(hours) * 3_600_000_000;
    let least = micros(interval).max(60_000_000);
    let width = (period / SPANS).max(least);
    // Whole minutes, so that a span means something to a person.
    (width + 59_999_999) / 60_000_000 * 60_000_000
}

/// The courses of all figures, from what was kept at each instant.
pub fn courses(kept: impl IntoIterator<Item = (Timestamp, Summary)>, width: i64) -> BTreeMap<Of, Course> {
    let mut spans: BTreeMap<i64, Summary> = BTreeMap::new();
    for (at, summary) in kept {
        spans.entry(at.0.div_euclid(width) * width).or_default().merge(&summary);
    }
    let mut points: BTreeMap<Of, Vec<(Timestamp, Spread)>> = BTreeMap::new();
    for (start, summary) in spans {
        for (figure, spread) in summary.figures {
            points.entry(Of::Figure(figure)).or_default().push((Timestamp(start), spread));
        }
        for (name, (spread, _)) in summary.dependencies {
            points.entry(Of::Dependency(name)).or_default().push((Timestamp(start), spread));
        }
    }
    points.into_iter().filter_map(|(of, points)| Some((of, course(points)?))).collect()
}

fn course(points: Vec<(Timestamp, Spread)>) -> Option<Course> {
    let mut whole = points.first()?.1;
    points[1..].iter().for_each(|(_, spread)| whole.merge(spread));
    let means: Vec<(f64, f64)> = points.iter().map(|(at, spread)| (at.0 as f64 / 3.6e9, spread.mean())).collect();
    let line = slope(&means);
    let direction = match &line {
        None => Direction::Unknown,
        Some(line) => {
            let (change, level) = (line.last - line.first, line.first.abs().max(line.last.abs()));
            let sure = line.chance < crate::analysis::trend::CHANCE && level > 0.0 && change.abs() >= LEAST_CHANGE * level;
            match (sure, change > 0.0) {
                (false, _) => Direction::Steady,
                (true, true) => Direction::Rising,
                (true, false) => Direction::Falling,
            }
        }
    };
    debug_assert!(points.len() >= LEAST_POINTS || line.is_none());
    Some(Course { points, whole, direction, ends: line.map(|line| (line.first, line.last)) })
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: i64 = 60_000_000;

    fn kept(count: i64, value: impl Fn(i64) -> f64) -> Vec<(Timestamp, Summary)> {
        let one = |minute: i64| {
            let mut summary = Summary::default();
            summary.figures.insert(Figure::RssBytes, Spread::of(value(minute)));
            (Timestamp(minute * MINUTE), summary)
        };
        (0..count).map(one).collect()
    }

    #[test]
    fn a_course_is_told_with_its_direction() {
        type Case = (&'static str, fn(i64) -> f64, Direction);
        let table: [Case; 4] = [
            ("a leak", |minute| 80e6 + minute as f64 * 1e5, Direction::Rising),
            ("what calms down", |minute| 100.0 - minute as f64 * 0.05, Direction::Falling),
            ("noise", |minute| 50.0 + (minute * 7919 % 13) as f64, Direction::Steady),
            ("a sure but tiny rise", |minute| 1000.0 + minute as f64 * 0.01, Direction::Steady),
        ];
        for (what, value, direction) in table {
            let found = courses(kept(1440, value), width(24, Duration::from_secs(60)));
            let course = &found[&Of::Figure(Figure::RssBytes)];
            assert_eq!((course.points.len(), course.direction), (48, direction), "{what}: {:?}", course.ends);
            assert_eq!(course.whole.count, 1440);
        }
        let few = courses(kept(3, |_| 1.0), width(1, Duration::from_secs(60)));
        assert_eq!(few[&Of::Figure(Figure::RssBytes)].direction, Direction::Unknown);
    }

    #[test]
    fn spans_are_whole_minutes_and_never_shorter_than_samples_are_apart() {
        let minutes = |hours, interval| width(hours, Duration::from_secs(interval)) / MINUTE;
        assert_eq!((minutes(24, 60), minutes(1, 60), minutes(1, 600), minutes(720, 60)), (30, 2, 10, 900));
    }
}
