//! When a service's checks are due. Pure: the instant comes in, the next one comes out.
//!
//! Intervals lie on a grid of wall-clock time whose phase is a hash of (service, region): checks of many services spread
//! evenly, and a restart falls back into the same rhythm. Cron times are the start of a round, and the same hash spreads a
//! round's checks behind it.
//!
//! **Invariants.** The next due instant is always later than the one asked from; between two of an interval lies the
//! interval exactly; a round's checks lie within its spread.

use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::model::id::{RegionName, ServiceId};
use crate::model::service::Schedule;
use crate::model::time::{Timestamp, micros};

/// Longest spread of a round that does not say its own.
const SPREAD_AT_MOST: Duration = Duration::from_secs(30);
/// Longest wait for the first check after a start.
const FIRST_WITHIN: Duration = Duration::from_secs(5);
/// Microseconds. Phases are multiples of it: checks of many services that begin together share one waking of the process,
/// which a thousand a second would otherwise each pay for alone.
const QUANTUM: i64 = 10_000;
/// What a cron expression that never comes again counts as.
const NEVER: Duration = Duration::from_secs(366 * 86_400);

/// A stable place of (service, region) in `0..1`, in units of 2⁻³².
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place(u32);

impl Place {
    /// FNV-1a over both names, finished with an avalanche so that neighbouring ids lie far apart.
    /// Source: Fowler–Noll–Vo hash; finaliser of MurmurHash3 (public domain).
    pub fn of(service: ServiceId, region: &RegionName) -> Place {
        let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
        for byte in service.0.to_le_bytes().iter().chain(region.0.as_bytes()) {
            hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
        hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
        hash = (hash ^ (hash >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
        Place((hash ^ (hash >> 33)) as u32)
    }

    /// This place within `span`: at least zero, less than `span`.
    pub fn within(self, span: Duration) -> Duration {
        let span = u128::from(u64::try_from(span.as_micros()).unwrap_or(u64::MAX));
        Duration::from_micros(((span * u128::from(self.0)) >> 32) as u64)
    }
}

impl Schedule {
    /// Wait from a start to the first check, spread over min(interval, 5 s).
    pub fn first_wait(&self, place: Place, now: Timestamp) -> Duration {
        place.within(self.gap(now).min(FIRST_WITHIN))
    }

    /// The first instant after `after` at which a check is due.
    pub fn next_after(&self, place: Place, after: Timestamp) -> Timestamp {
        match self {
            Schedule::Interval(interval) => {
                let step = micros(*interval).max(1);
                let phase = micros(place.within(*interval)) / QUANTUM * QUANTUM;
                let passed = (after.0 - phase).div_euclid(step);
                Timestamp(phase + (passed + 1) * step)
            }
            Schedule::Cron { .. } => {
                // A round that has begun may still hold this place, so the search starts one spread back.
                let mut round = self.round_after(after.minus(self.longest_spread()).minus(Duration::from_micros(1)));
                loop {
                    let Some(start) = round else { return after.plus(NEVER) };
                    let due = start.plus(place.within(self.spread(start)));
                    if due > after {
                        return due;
                    }
                    round = self.round_after(start);
                }
            }
        }
    }

    /// Time between the checks due around `at`: the interval, or the longer of the gap between rounds that holds `at` and the
    /// one behind it. A year when no two rounds are to come.
    pub fn gap(&self, at: Timestamp) -> Duration {
        match self {
            Schedule::Interval(interval) => *interval,
            Schedule::Cron { .. } => {
                let next = self.round_after(at);
                let behind = next.and_then(|next| self.round_after(next));
                match (next, behind) {
                    (Some(next), Some(behind)) => {
                        let here = self.round_until(at).map_or(Duration::ZERO, |last| next.since(last));
                        behind.since(next).max(here)
                    }
                    _ => NEVER,
                }
            }
        }
    }

    /// Whether any check is due after `from`. A cron expression may name a day that does not exist, or one gone by.
    pub fn ever_due(&self, from: Timestamp) -> bool {
        match self {
            Schedule::Interval(_) => true,
            Schedule::Cron { .. } => self.round_after(from).is_some(),
        }
    }

    fn spread(&self, start: Timestamp) -> Duration {
        match self {
            Schedule::Cron { spread: Some(spread), .. } => *spread,
            Schedule::Cron { .. } => self.round_after(start).map_or(SPREAD_AT_MOST, |next| next.since(start) / 10).min(SPREAD_AT_MOST),
            Schedule::Interval(_) => Duration::ZERO,
        }
    }

    fn longest_spread(&self) -> Duration {
        match self {
            Schedule::Cron { spread, .. } => spread.unwrap_or(SPREAD_AT_MOST),
            Schedule::Interval(_) => Duration::ZERO,
        }
    }

    /// The last start of a round at or before `at`; `None` when none was.
    fn round_until(&self, at: Timestamp) -> Option<Timestamp> {
        let Schedule::Cron { pattern, zone, .. } = self else { return None };
        let last = pattern.find_previous_occurrence(&at.datetime().with_timezone(zone), true).ok()?;
        let last = Timestamp::from_datetime(last.with_timezone(&Utc));
        (last <= at).then_some(last)
    }

    /// The first start of a round after `after`; `None` when none comes.
    fn round_after(&self, after: Timestamp) -> Option<Timestamp> {
        let Schedule::Cron { pattern, zone, .. } = self else { return None };
        let next = pattern.find_next_occurrence(&after.datetime().with_timezone(zone), false).ok()?;
        let next: DateTime<Utc> = next.with_timezone(&Utc);
        let next = Timestamp::from_datetime(next);
        (next > after).then_some(next)
    }
}

#[cfg(test)]
mod tests;
