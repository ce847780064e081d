//! How much of the past the page of a service shows: a span that ends now, or one whose ends somebody chose. Pure.

use std::time::Duration;

use crate::model::time::{Timestamp, micros};
use crate::store::rollups::Resolution;
use crate::web::text::Text;

const SECOND: i64 = 1_000_000;
const MINUTE: i64 = 60 * SECOND;
const DAY: i64 = 1440 * MINUTE;
/// Buckets of a span that was chosen, at most.
const BUCKETS: i64 = 200;
/// The shortest span that can be chosen, and the longest.
pub const LEAST: i64 = MINUTE;
pub const MOST: i64 = 731 * DAY;
/// The longest span whose results are looked at one by one.
const ONE_BY_ONE: i64 = 30 * MINUTE;
/// What buckets may last, and what they are made of.
const STEPS: [(Resolution, &[i64]); 3] = [
    (Resolution::Minute, &[1, 2, 3, 5, 10, 15, 20, 30]),
    (Resolution::Hour, &[60, 120, 180, 240, 360, 720]),
    (Resolution::Day, &[1440, 2880, 4 * 1440, 7 * 1440]),
];
const SHORT_STEPS: [i64; 6] = [1, 2, 5, 10, 15, 30];

/// A span that ends now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Range {
    Hour,
    Day,
    Week,
    Month,
}

impl Range {
    pub const ALL: [Range; 4] = [Range::Hour, Range::Day, Range::Week, Range::Month];

    pub fn name(self) -> &'static str {
        match self {
            Range::Hour => "1h",
            Range::Day => "24h",
            Range::Week => "7d",
            Range::Month => "30d",
        }
    }

    pub fn key(self) -> &'static str {
        match self {
            Range::Hour => "range.hour",
            Range::Day => "range.day",
            Range::Week => "range.week",
            Range::Month => "range.month",
        }
    }

    pub fn from_name(name: &str) -> Option<Range> {
        Range::ALL.into_iter().find(|range| range.name() == name)
    }

    /// What is read, the microseconds of a bucket made of that, and how many of them.
    fn grid(self) -> (Resolution, i64, i64) {
        match self {
            Range::Hour => (Resolution::Minute, MINUTE, 60),
            Range::Day => (Resolution::Minute, 15 * MINUTE, 96),
            Range::Week => (Resolution::Hour, 60 * MINUTE, 168),
            Range::Month => (Resolution::Hour, 240 * MINUTE, 180),
        }
    }

    /// How often it is worth drawing anew.
    fn fresh_for(self) -> Duration {
        match self {
            Range::Hour => Duration::from_secs(15),
            Range::Day => Duration::from_secs(60),
            Range::Week | Range::Month => Duration::from_secs(300),
        }
    }
}

/// What is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    pub from: Timestamp,
    pub to: Timestamp,
    /// `None`: its ends were chosen.
    pub range: Option<Range>,
}

/// The buckets a window is drawn by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grid {
    pub resolution: Resolution,
    pub from: Timestamp,
    /// Microseconds of a bucket.
    pub step: i64,
    pub count: i64,
    /// The buckets are shorter than any rollup, so they are made of the results themselves.
    pub one_by_one: bool,
}

/// What is wrong with the ends somebody chose.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// `from` or `to`
    pub field: &'static str,
    /// What is wrong, as a key of the texts…
    pub key: &'static str,
    /// …and what they are filled in with.
    pub value: String,
}

impl Mistake {
    /// For people: what is wrong, and what would be right.
    pub fn told(&self, t: Text) -> String {
        t.one(self.key, &self.value)
    }
}

impl Window {
    pub fn of(range: Range, now: Timestamp) -> Window {
        let (_, step, count) = range.grid();
        Window { from: Timestamp((now.0.div_euclid(step) + 1 - count) * step), to: now, range: Some(range) }
    }

    /// By what an address says: a range by its name, or ends; of one end alone, a day before it or all that is after it. Where it
    /// says nothing, the usual range.
    pub fn read(range: Option<&str>, from: Option<&str>, to: Option<&str>, usual: Range, now: Timestamp) -> Result<Window, Mistake> {
        if from.is_none() && to.is_none() {
            return Ok(Window::of(range.and_then(Range::from_name).unwrap_or(usual), now));
        }
        let end = to.map(|text| instant("to", text)).transpose()?;
        let start = from.map(|text| instant("from", text)).transpose()?;
        let end = end.unwrap_or(now);
        let start = start.unwrap_or(Timestamp(end.0.saturating_sub(DAY)));
        let wrong = |field, key, value: &str| Err(Mistake { field, key, value: value.to_owned() });
        if start >= end {
            return wrong("to", "span.order", to.unwrap_or("now"));
        }
        if start >= now {
            return wrong("from", "span.future", from.unwrap_or_default());
        }
        let end = end.min(now);
        match end.0 - start.0 {
            ..LEAST => wrong("to", "span.short", to.unwrap_or("now")),
            LEAST..=MOST => Ok(Window { from: start, to: end, range: None }),
            _ => wrong("from", "span.long", from.unwrap_or_default()),
        }
    }

    /// What happened from one instant to another, and as much before and after it as it lasted, within reason.
    pub fn around(from: Timestamp, to: Timestamp, now: Timestamp) -> Window {
        let margin = (to.0 - from.0).clamp(15 * MINUTE, DAY);
        let to = (to.0 + margin).min(now.0);
        let from = (from.0 - margin).max(to - MOST).min(to - LEAST);
        Window { from: Timestamp(from), to: Timestamp(to), range: None }
    }

    pub fn span(&self) -> i64 {
        self.to.0 - self.from.0
    }

    /// `gap`: between two checks. Shorter buckets than that would be empty.
    pub fn grid(&self, gap: Duration) -> Grid {
        if let Some(range) = self.range {
            let (resolution, step, count) = range.grid();
            return Grid { resolution, from: self.from, step, count, one_by_one: false };
        }
        let count_from = |from: i64, step: i64| (self.to.0 - from + step - 1).div_euclid(step).max(1);
        let short = SHORT_STEPS.into_iter().map(|seconds| seconds * SECOND);
        // A check that comes a little late must not leave a gap.
        let fits = |step: &i64| *step >= micros(gap) * 3 / 2 && self.span() / step <= BUCKETS;
        if let Some(step) = short.into_iter().find(fits).filter(|_| self.span() <= ONE_BY_ONE) {
            let from = self.from.0.div_euclid(SECOND) * SECOND;
            let count = count_from(from, step);
            return Grid { resolution: Resolution::Minute, from: Timestamp(from), step, count, one_by_one: true };
        }
        let mut steps = STEPS.iter().flat_map(|(resolution, steps)| steps.iter().map(|minutes| (*resolution, *minutes * MINUTE)));
        let longest = (Resolution::Day, 7 * DAY);
        let (resolution, step) = steps.find(|(_, step)| self.span() / step <= BUCKETS).unwrap_or(longest);
        let from = self.from.0.div_euclid(resolution.span()) * resolution.span();
        Grid { resolution, from: Timestamp(from), step, count: count_from(from, step), one_by_one: false }
    }

    /// When it is worth drawing anew; `None`: it shows nothing that still changes.
    pub fn fresh_for(&self) -> Option<Duration> {
        self.range.map(Range::fresh_for)
    }

    /// As long, right before it.
    pub fn earlier(&self) -> Window {
        Window { from: Timestamp(self.from.0 - self.span()), to: self.from, range: None }
    }

    /// As long, right after it, up to now at most.
    pub fn later(&self, now: Timestamp) -> Option<Window> {
        let to = (self.to.0 + self.span()).min(now.0);
        (now.0 - self.to.0 >= LEAST).then(|| Window { from: Timestamp(to - self.span()), to: Timestamp(to), range: None })
    }

    /// Twice as long round the same middle, up to now at most.
    pub fn wider(&self, now: Timestamp) -> Option<Window> {
        let to = (self.to.0 + self.span() / 2).min(now.0);
        let from = to - 2 * self.span();
        (to - from <= MOST).then_some(Window { from: Timestamp(from), to: Timestamp(to), range: None })
    }

    /// The part of an address that asks for it.
    pub fn query(&self) -> String {
        match self.range {
            Some(range) => format!("range={}", range.name()),
            None => format!("from={}&to={}", self.from.rfc3339(), self.to.rfc3339()),
        }
    }
}

/// RFC 3339, or the same without a zone as forms send it, which is UTC then.
fn instant(field: &'static str, text: &str) -> Result<Timestamp, Mistake> {
    let text = text.trim();
    // A plus that was not escaped arrives as a blank.
    let tries = [text.to_owned(), text.replace(' ', "+"), format!("{text}Z"), format!("{text}:00Z")];
    let found = tries.iter().find_map(|text| Timestamp::parse(text));
    found.ok_or_else(|| Mistake { field, key: "span.no_time", value: text.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        Timestamp::parse(text).expect("it is a time")
    }

    fn now() -> Timestamp {
        at("2026-11-22T12:00:00Z")
    }

    fn read(from: &'static str, to: &'static str) -> Result<Window, Mistake> {
        let given = |text: &'static str| (!text.is_empty()).then_some(text);
        Window::read(None, given(from), given(to), Range::Day, now())
    }

    #[test]
    fn ends_are_read_with_and_without_a_zone_and_one_may_be_missing() {
        let hour = Window { from: at("2026-11-22T08:00:00Z"), to: at("2026-11-22T09:00:00Z"), range: None };
        for (from, to) in [
            ("2026-11-22T08:00:00Z", "2026-11-22T09:00:00.000Z"),
            ("2026-11-22T09:30:00+01:30", "2026-11-22T10:30:00 01:30"),
            ("2026-11-22T08:00", "2026-11-22T09:00:00"),
        ] {
            assert_eq!(read(from, to), Ok(hour), "{from} {to}");
        }
        assert_eq!(read("2026-11-22T11:00", "").map(|window| window.to), Ok(now()));
        assert_eq!(read("", "2026-11-22T11:00").map(|window| window.from), Ok(at("2026-11-21T11:00:00Z")));
        assert_eq!(read("2026-11-22T11:00", "2026-11-23T11:00").map(|window| window.to), Ok(now()), "nothing is known of later");
        let range = |name| Window::read(name, None, None, Range::Hour, now()).map(|window| window.range);
        assert_eq!((range(Some("7d")), range(None)), (Ok(Some(Range::Week)), Ok(Some(Range::Hour))));
    }

    #[test]
    fn ends_that_make_no_span_are_refused_by_name() {
        for (from, to, field, key) in [
            ("yesterday", "", "from", "span.no_time"),
            ("2026-11-22T08:00", "2026-13-22T08:00", "to", "span.no_time"),
            ("2026-11-22T09:00", "2026-11-22T08:00", "to", "span.order"),
            ("2026-11-22T09:00", "2026-11-22T09:00", "to", "span.order"),
            ("2026-11-23T09:00", "2026-11-23T10:00", "from", "span.future"),
            ("2026-11-22T09:00:00", "2026-11-22T09:00:59", "to", "span.short"),
            ("2026-11-22T11:59:30", "2026-11-22T13:00", "to", "span.short"),
            ("2020-01-01T00:00", "2026-01-01T00:00", "from", "span.long"),
            ("0001-01-01T00:00", "9999-12-31T23:59", "from", "span.long"),
        ] {
            let wrong = read(from, to).expect_err(from);
            assert_eq!((wrong.field, wrong.key), (field, key), "{from} {to}");
        }
    }

    #[test]
    fn the_shorter_the_span_the_finer_the_buckets_and_never_too_many() {
        let gap = Duration::from_secs(2);
        let grid = |minutes: i64| Window { from: Timestamp(now().0 - minutes * MINUTE), to: now(), range: None }.grid(gap);
        for (minutes, step, resolution) in [
            (1, 5, Resolution::Minute),
            (5, 5, Resolution::Minute),
            (30, 10, Resolution::Minute),
            (31, 60, Resolution::Minute),
            (6 * 60, 120, Resolution::Minute),
            (24 * 60, 10 * 60, Resolution::Minute),
            (7 * 1440, 3600, Resolution::Hour),
            (90 * 1440, 12 * 3600, Resolution::Hour),
            (731 * 1440, 4 * 86_400, Resolution::Day),
        ] {
            let found = grid(minutes);
            assert_eq!((found.step / SECOND, found.resolution), (step, resolution), "{minutes} min");
            assert!(found.count <= BUCKETS + 2, "{minutes} min: {}", found.count);
            assert!(found.from.0 <= now().0 - minutes * MINUTE && found.from.0 + found.count * found.step >= now().0, "all of it is drawn");
        }
        let seldom = Window { from: Timestamp(now().0 - 10 * MINUTE), to: now(), range: None }.grid(Duration::from_secs(300));
        assert_eq!((seldom.step, seldom.one_by_one), (MINUTE, false), "who checks every five minutes has no use for seconds");
    }

    #[test]
    fn what_happened_is_shown_with_what_was_before_and_after_it() {
        let around = |from, to| Window::around(at(from), at(to), now());
        let burst = around("2026-11-22T10:00:00Z", "2026-11-22T10:01:00Z");
        assert_eq!((burst.from, burst.to), (at("2026-11-22T09:45:00Z"), at("2026-11-22T10:16:00Z")));
        let drift = around("2026-11-10T12:00:00Z", "2026-11-22T12:00:00Z");
        assert_eq!((drift.from, drift.to), (at("2026-11-09T12:00:00Z"), now()));
        let odd = around("2020-11-22T10:00:00Z", "2026-11-22T13:00:00Z");
        assert!(odd.to == now() && odd.span() == MOST, "{odd:?}");
    }

    #[test]
    fn one_moves_in_time_and_not_into_the_future() {
        let hour = Window::read(None, Some("2026-11-22T08:00"), Some("2026-11-22T09:00"), Range::Day, now()).expect("it is a span");
        assert_eq!((hour.earlier().from, hour.earlier().to), (at("2026-11-22T07:00:00Z"), hour.from));
        assert_eq!(hour.later(now()).map(|later| later.from), Some(hour.to));
        let wider = hour.wider(now()).expect("there is room");
        assert_eq!((wider.from, wider.to), (at("2026-11-22T07:30:00Z"), at("2026-11-22T09:30:00Z")));
        let day = Window::of(Range::Day, now());
        assert_eq!((day.later(now()), day.wider(now()).map(|wider| wider.to)), (None, Some(now())));
        assert_eq!(hour.query(), "from=2026-11-22T08:00:00.000Z&to=2026-11-22T09:00:00.000Z");
    }
}
