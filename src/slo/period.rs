//! Where the time of a promise begins and ends, also where clocks change.

use chrono::{DateTime, Datelike, Days, Months, NaiveDate, NaiveTime, TimeZone, Utc};
use chrono_tz::Tz;

use crate::aggregate::rollup::{MINUTE, floor};
use crate::model::slo::{CalendarUnit, Period};
use crate::model::span::Span;
use crate::model::time::Timestamp;

const DAY: i64 = 86_400_000_000;

/// The period that holds an instant. A rolling one ends there; one of the calendar may go on.
pub fn holding(period: Period, at: Timestamp) -> Span {
    match period {
        Period::Rolling(days) => Span::new(Timestamp(floor(Timestamp(at.0 - i64::from(days) * DAY), MINUTE)), at),
        Period::Calendar { unit, zone } => {
            let day = at.datetime().with_timezone(&zone).date_naive();
            let first = match unit {
                CalendarUnit::Week => day - Days::new(u64::from(day.weekday().num_days_from_monday())),
                CalendarUnit::Month => first_of(day.year(), day.month()),
                CalendarUnit::Quarter => first_of(day.year(), day.month0() / 3 * 3 + 1),
            };
            let next = match unit {
                CalendarUnit::Week => first + Days::new(7),
                CalendarUnit::Month => first + Months::new(1),
                CalendarUnit::Quarter => first + Months::new(3),
            };
            Span::new(midnight(first, zone), midnight(next, zone))
        }
    }
}

/// The zone a period is told in.
pub fn zone(period: Period) -> Tz {
    match period {
        Period::Rolling(_) => Tz::UTC,
        Period::Calendar { zone, .. } => zone,
    }
}

/// A span cut at every local midnight, or at every first of a month where that gives more than `most`.
pub fn rows(span: Span, zone: Tz, most: usize) -> Vec<Span> {
    let by_month = span.length() / DAY > most as i64;
    let mut rows = Vec::new();
    let mut from = span.from;
    while from < span.until {
        let day = from.datetime().with_timezone(&zone).date_naive();
        let next = if by_month { first_of(day.year(), day.month()) + Months::new(1) } else { day + Days::new(1) };
        // Rollups are cut at whole minutes, and some zones were off by seconds once.
        let until = Timestamp(floor(midnight(next, zone), MINUTE)).max(Timestamp(from.0 + MINUTE)).min(span.until);
        rows.push(Span::new(from, until));
        from = until;
    }
    rows
}

fn first_of(year: i32, month: u32) -> NaiveDate {
    NaiveDate::from_ymd_opt(year, month, 1).expect("every month has a first day")
}

/// The first instant of a day: in some zones clocks jump at midnight, and the day begins later.
fn midnight(day: NaiveDate, zone: Tz) -> Timestamp {
    let start = day.and_time(NaiveTime::MIN);
    let quarters = (0..=96).map(|quarter| start + chrono::TimeDelta::minutes(15 * quarter));
    let found: Option<DateTime<Tz>> = quarters.filter_map(|local| zone.from_local_datetime(&local).earliest()).next();
    Timestamp::from_datetime(found.map_or_else(|| start.and_utc(), |at| at.with_timezone(&Utc)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        Timestamp::parse(text).unwrap()
    }

    fn told(period: Period, of: &str) -> (String, i64) {
        let span = holding(period, at(of));
        (format!("{} {}", &span.from.rfc3339()[..16], &span.until.rfc3339()[..16]), span.length() / 3_600_000_000)
    }

    #[test]
    fn calendar_periods_begin_at_local_midnight_and_have_the_hours_they_have() {
        let berlin = |unit| Period::Calendar { unit, zone: Tz::Europe__Berlin };
        let month = |of: &str| told(berlin(CalendarUnit::Month), of);
        // March loses an hour, October gains one, and the first of a month is one by Berlin's clock.
        assert_eq!(month("2026-03-15T00:00:00Z"), ("2026-02-28T23:00 2026-03-31T22:00".to_owned(), 743));
        assert_eq!(month("2026-03-31T22:00:00Z"), ("2026-03-31T22:00 2026-04-30T22:00".to_owned(), 720));
        assert_eq!(month("2026-10-01T00:00:00Z"), ("2026-09-30T22:00 2026-10-31T23:00".to_owned(), 745));
        assert_eq!(told(berlin(CalendarUnit::Week), "2026-03-29T12:00:00Z"), ("2026-03-22T23:00 2026-03-29T22:00".to_owned(), 167));
        assert_eq!(told(berlin(CalendarUnit::Quarter), "2026-11-22T10:00:00Z"), ("2026-09-30T22:00 2026-12-31T23:00".to_owned(), 2209));
        // Where clocks jump at midnight the month begins at one.
        let havana = Period::Calendar { unit: CalendarUnit::Week, zone: Tz::America__Havana };
        assert_eq!(told(havana, "2026-03-10T00:00:00Z").1, 168);
        let kolkata = Period::Calendar { unit: CalendarUnit::Month, zone: Tz::Asia__Kolkata };
        assert_eq!(told(kolkata, "2026-11-22T10:00:00Z").0, "2026-10-31T18:30 2026-11-30T18:30");
    }

    #[test]
    fn a_rolling_period_ends_now_and_begins_with_a_minute() {
        assert_eq!(told(Period::Rolling(30), "2026-11-22T10:00:30Z").0, "2026-10-23T10:00 2026-11-22T10:00");
    }

    #[test]
    fn rows_are_local_days_or_months_where_days_would_be_too_many() {
        let span = Span::new(at("2026-10-24T12:00:00Z"), at("2026-10-26T12:00:00Z"));
        let hours = |rows: Vec<Span>| -> Vec<i64> { rows.iter().map(|row| row.length() / 3_600_000_000).collect() };
        assert_eq!(hours(rows(span, Tz::Europe__Berlin, 100)), [10, 25, 13]);
        let year = Span::new(at("2026-01-01T00:00:00Z"), at("2026-03-01T00:00:00Z"));
        assert_eq!(hours(rows(year, Tz::UTC, 31)), [744, 672]);
    }
}
