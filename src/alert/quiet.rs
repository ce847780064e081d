//! Quiet hours: whether an instant lies in them, and when they end. Pure.
//!
//! They are kept by the clock on the wall: on the day a clock is put forward or back they are an hour shorter or longer.

use std::time::Duration;

use chrono::{Datelike, Timelike};

use crate::model::rule::Quiet;
use crate::model::time::Timestamp;

const MINUTE: i64 = 60_000_000;
/// Looked ahead in steps of so many minutes at most: what a clock is put forward or back by in one step is more.
const STEP: u32 = 30;
/// More than a week of steps; whoever is quiet for ever is told of nothing.
const STEPS: usize = 500;

impl Quiet {
    /// Whether it is quiet at an instant.
    pub fn holds(&self, at: Timestamp) -> bool {
        self.left(at).is_some()
    }

    /// The first instant from `at` on at which it is not quiet.
    pub fn end(&self, at: Timestamp) -> Timestamp {
        let mut at = at;
        for _ in 0..STEPS {
            let Some(left) = self.left(at) else { return at };
            // On the minute from here on.
            at = Timestamp((at.0.div_euclid(MINUTE)) * MINUTE).plus(Duration::from_secs(60 * u64::from(left.clamp(1, STEP))));
        }
        at
    }

    /// Minutes that are left by the clock on the wall; `None`: it is not quiet.
    fn left(&self, at: Timestamp) -> Option<u32> {
        let local = at.datetime().with_timezone(&self.zone);
        let minute = local.hour() * 60 + local.minute();
        let (today, yesterday) = (local.weekday(), local.weekday().pred());
        if self.from < self.until {
            return (self.days.contains(&today) && (self.from..self.until).contains(&minute)).then(|| self.until - minute);
        }
        if self.days.contains(&today) && minute >= self.from {
            return Some(24 * 60 - minute + self.until);
        }
        (self.days.contains(&yesterday) && minute < self.until).then(|| self.until - minute)
    }
}

#[cfg(test)]
mod tests {
    use chrono::Weekday;

    use super::*;

    fn quiet(zone: chrono_tz::Tz, from: u32, until: u32, days: &[Weekday]) -> Quiet {
        Quiet { zone, from: from * 60, until: until * 60, days: days.to_vec(), critical_passes: true }
    }

    fn at(text: &str) -> Timestamp {
        Timestamp::parse(text).unwrap()
    }

    #[test]
    fn a_night_belongs_to_the_day_it_begins_on() {
        let nights = quiet(chrono_tz::UTC, 22, 7, &[Weekday::Fri]);
        // 2026-11-20 is a Friday.
        let table = [
            ("2026-11-20T21:59:59Z", None),
            ("2026-11-20T22:00:00Z", Some("2026-11-21T07:00:00Z")),
            ("2026-11-21T03:12:45Z", Some("2026-11-21T07:00:00Z")),
            ("2026-11-21T07:00:00Z", None),
            ("2026-11-21T23:00:00Z", None),
            ("2026-11-20T03:00:00Z", None),
        ];
        for (instant, end) in table {
            assert_eq!(nights.holds(at(instant)), end.is_some(), "{instant}");
            assert_eq!(nights.end(at(instant)), at(end.unwrap_or(instant)), "{instant}");
        }
    }

    #[test]
    fn a_stretch_within_the_day_and_days_in_a_row() {
        let noon = quiet(chrono_tz::UTC, 12, 13, &[Weekday::Sun]);
        assert!(noon.holds(at("2026-11-22T12:59:59Z")) && !noon.holds(at("2026-11-23T12:30:00Z")));
        // Weekends as two whole days that follow each other, from midnight to midnight.
        let weekend = quiet(chrono_tz::UTC, 0, 0, &[Weekday::Sat, Weekday::Sun]);
        assert_eq!(weekend.end(at("2026-11-21T10:00:00Z")), at("2026-11-23T00:00:00Z"));
    }

    #[test]
    fn the_clock_on_the_wall_counts_when_it_is_put_forward_and_back() {
        let nights = quiet(chrono_tz::Europe::Berlin, 22, 7, &[Weekday::Sat]);
        // Back on 2026-10-25 at 03:00 local: the night is ten hours long.
        assert_eq!(nights.end(at("2026-10-24T20:00:00Z")), at("2026-10-25T06:00:00Z"));
        assert!(nights.holds(at("2026-10-25T05:59:00Z")));
        // Forward on 2026-03-29 at 02:00 local: it is eight.
        assert_eq!(nights.end(at("2026-03-28T21:00:00Z")), at("2026-03-29T05:00:00Z"));
        // An end that is skipped is reached when the clock is past it.
        let short = quiet(chrono_tz::Europe::Berlin, 1, 2, &[Weekday::Sun]);
        assert_eq!(short.end(at("2026-03-29T00:15:00Z")), at("2026-03-29T01:00:00Z"));
    }
}
