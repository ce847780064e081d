//! What performance costs, where, and what to do about it: the figures of a period, what in them is slow and by how much, and
//! advice that follows from that alone.
//!
//! Everything stands on rollups, by service and region, of a period and of one before it. The earlier one lies a whole number of
//! days back, whole weeks where the period is a week or more: the same hours of the same kind of days, so that a habit is no
//! trend. For a period of six hours that is yesterday's same six hours.
//!
//! **Invariants.** Nothing here does I/O or reads a clock. Where there is too little, a part says what it has and needs.

pub mod bottleneck;
pub mod course;
pub mod figures;
pub mod recommend;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::aggregate::rollup::{DAY, HOUR, MINUTE, floor};
use crate::model::check::Phase;
use crate::model::id::ServiceId;
use crate::model::service::{Service, Target};
use crate::model::time::Timestamp;

/// The phases in the order rollups hold them.
pub const PHASES: [Phase; 5] = [Phase::Dns, Phase::Connect, Phase::Tls, Phase::FirstByte, Phase::Transfer];

/// The longest period, in hours.
pub const LONGEST: u32 = 2160;

/// Which rollups a period is read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grain {
    Minute,
    Hour,
    Day,
}

/// A period and the one it is held against. All in microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Periods {
    pub now: i64,
    pub since: i64,
    /// The end of the running block: not before now.
    pub until: i64,
    /// How far the earlier period lies back.
    pub apart: i64,
    /// What is compared with what: a span of this length with the one `apart` before it.
    pub block: i64,
    pub grain: Grain,
}

impl Periods {
    /// The period of so many hours that ends now. It begins with a full minute, hour or day, by its length.
    pub fn new(now: Timestamp, hours: u32) -> Periods {
        let length = i64::from(hours.clamp(1, LONGEST)) * HOUR;
        let (grain, unit, block) = match hours {
            ..=2 => (Grain::Minute, MINUTE, MINUTE),
            3..=48 => (Grain::Hour, HOUR, HOUR),
            49..=336 => (Grain::Hour, HOUR, 6 * HOUR),
            _ => (Grain::Day, DAY, DAY),
        };
        let until = floor(now, unit) + unit;
        let since = until - (length as u64).div_ceil(unit as u64) as i64 * unit;
        let habit = if length >= 7 * DAY { 7 * DAY } else { DAY };
        let apart = ((until - since) as u64).div_ceil(habit as u64) as i64 * habit;
        Periods { now: now.0, since, until, apart, block, grain }
    }

    /// Since and until of the earlier period.
    pub fn before(&self) -> (i64, i64) {
        (self.since - self.apart, self.until - self.apart)
    }

    /// Whether the earlier period ends where this one begins.
    pub fn adjoin(&self) -> bool {
        self.until - self.since == self.apart
    }
}

/// What of a service's settings its figures are held against.
#[derive(Clone, Debug, PartialEq)]
pub struct Setting {
    pub name: Arc<str>,
    pub https: bool,
    pub timeout: Duration,
    pub retries: u8,
    /// Between two checks.
    pub gap: Duration,
    pub degraded_after: Option<Duration>,
}

pub type Settings = BTreeMap<ServiceId, Setting>;

impl Setting {
    pub fn of(service: &Service, now: Timestamp) -> Setting {
        Setting {
            name: service.name.clone(),
            https: matches!(&service.target, Target::Url(url) if url.scheme() == "https"),
            timeout: service.timeout,
            retries: service.retries,
            gap: service.schedule.gap(now),
            degraded_after: service.degraded_after,
        }
    }
}

#[cfg(test)]
mod sample;

#[cfg(test)]
mod tests {
    use super::*;

    fn periods(hours: u32) -> Periods {
        Periods::new(Timestamp::parse("2026-11-22T10:20:30Z").unwrap(), hours)
    }

    #[test]
    fn a_period_is_held_against_the_same_hours_of_whole_days_or_weeks_before() {
        let time = |at: i64| Timestamp(at).rfc3339();
        let day = periods(24);
        assert_eq!((time(day.since), time(day.until)), ("2026-11-21T11:00:00.000Z".into(), "2026-11-22T11:00:00.000Z".into()));
        assert!(day.adjoin() && day.apart == DAY && day.block == HOUR);
        let six = periods(6);
        assert_eq!((six.apart, six.adjoin()), (DAY, false));
        assert_eq!(time(six.before().1), "2026-11-21T11:00:00.000Z");
        assert_eq!((periods(168).apart, periods(168).block), (7 * DAY, 6 * HOUR));
        assert_eq!(periods(240).apart, 14 * DAY);
        assert_eq!((periods(720).grain, periods(720).apart), (Grain::Day, 35 * DAY));
        assert_eq!((periods(1).grain, periods(1).until - periods(1).since), (Grain::Minute, HOUR));
    }
}
