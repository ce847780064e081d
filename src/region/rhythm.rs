//! Which check of a service comes next. Pure: what was checked and the wall clock come in, the next due instant comes out.
//!
//! Rounds are the instants the schedule names. Checks beside them (the first, one asked for, one after an edit) take
//! nothing from a cron's rounds; an interval's next round they put off if it would follow at their heels.
//!
//! **Invariant.** A round once checked is not checked again, unless the wall clock went back by a whole gap: then what is
//! ahead has to be checked, whatever was checked before at those times.

use std::time::Duration;

use crate::model::schedule::Place;
use crate::model::service::Schedule;
use crate::model::time::Timestamp;

/// Longest time an interval keeps free behind a check beside its rounds.
const FREE_AT_MOST: Duration = Duration::from_secs(5);

/// Where the checks of one service stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rhythm {
    place: Place,
    /// Rounds up to here are done with.
    from: Timestamp,
    /// The last round that was checked.
    last: Option<Timestamp>,
}

impl Rhythm {
    pub fn new(place: Place, now: Timestamp) -> Rhythm {
        Rhythm { place, from: now, last: None }
    }

    /// Starts anew with another schedule.
    pub fn changed(&mut self, now: Timestamp) {
        *self = Rhythm::new(self.place, now);
    }

    /// Notes that the round of `due` has been checked. Those that passed meanwhile are left out.
    pub fn round_done(&mut self, due: Timestamp, now: Timestamp) {
        self.last = Some(due);
        self.from = now;
    }

    /// Notes a check beside the rounds, begun about `at`.
    pub fn extra_done(&mut self, schedule: &Schedule, at: Timestamp, now: Timestamp) {
        self.from = match schedule {
            Schedule::Interval(interval) => at.min(now).plus((*interval / 2).min(FREE_AT_MOST)).max(now),
            // What came due while it ran is still to be checked.
            Schedule::Cron { .. } => self.from.min(now),
        };
    }

    /// The next round. It may lie in the past: then it is due at once.
    pub fn due(&self, schedule: &Schedule, now: Timestamp) -> Timestamp {
        self.due_after(schedule, self.from, now)
    }

    /// The next round of one who waits while the wall clock is set back to `now`.
    pub fn due_again(&self, schedule: &Schedule, now: Timestamp) -> Timestamp {
        self.due_after(schedule, self.from.min(now), now)
    }

    fn due_after(&self, schedule: &Schedule, after: Timestamp, now: Timestamp) -> Timestamp {
        let due = schedule.next_after(self.place, after);
        match self.last {
            Some(last) if due <= last && last.since(now) < schedule.gap(now) => schedule.next_after(self.place, last),
            _ => due,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::service::parse_cron;
    use crate::model::id::{RegionName, ServiceId};

    fn at(text: &str) -> Timestamp {
        Timestamp::parse(&format!("2026-11-22T{text}Z")).unwrap()
    }

    fn start(now: Timestamp) -> Rhythm {
        Rhythm::new(Place::of(ServiceId(1), &RegionName::from("local")), now)
    }

    fn daily() -> Schedule {
        parse_cron("0 9 * * *", None, Some(Duration::ZERO)).unwrap()
    }

    #[test]
    fn a_check_beside_the_rounds_takes_none_of_a_cron() {
        let mut rhythm = start(at("08:50:00"));
        rhythm.extra_done(&daily(), at("08:50:00"), at("08:50:01"));
        assert_eq!(rhythm.due(&daily(), at("08:50:01")), at("09:00:00"));
        // Not even one that runs while the round comes due.
        rhythm.extra_done(&daily(), at("08:59:59"), at("09:00:03"));
        assert_eq!(rhythm.due(&daily(), at("09:00:03")), at("09:00:00"));
        rhythm.round_done(at("09:00:00"), at("09:00:04"));
        assert_eq!(rhythm.due(&daily(), at("09:00:04")).since(at("09:00:00")), Duration::from_secs(86_400));
    }

    #[test]
    fn an_interval_keeps_a_few_seconds_free_at_most() {
        for (interval, free) in [(3600, 5), (60, 5), (4, 2)] {
            let schedule = Schedule::Interval(Duration::from_secs(interval));
            let mut rhythm = start(at("10:00:00"));
            let round = rhythm.due(&schedule, at("10:00:00"));
            let (near, far) =
                (round.minus(Duration::from_millis(free * 1000 - 100)), round.minus(Duration::from_millis(free * 1000 + 100)));
            rhythm.extra_done(&schedule, far, far);
            assert_eq!(rhythm.due(&schedule, far), round, "every {interval} s");
            rhythm.extra_done(&schedule, near, near);
            assert_eq!(rhythm.due(&schedule, near), round.plus(Duration::from_secs(interval)), "every {interval} s");
        }
    }

    #[test]
    fn a_checked_round_does_not_come_again_when_the_clock_goes_back_a_little() {
        let mut rhythm = start(at("08:00:00"));
        rhythm.round_done(at("09:00:00"), at("08:40:00"));
        assert_eq!(rhythm.due(&daily(), at("08:40:00")).since(at("09:00:00")), Duration::from_secs(86_400));
        assert_eq!(rhythm.due_again(&daily(), at("08:40:00")).since(at("09:00:00")), Duration::from_secs(86_400));
        // By days: the rounds ahead are checked.
        let back = at("08:00:00").minus(Duration::from_secs(5 * 86_400));
        assert_eq!(rhythm.due_again(&daily(), back).since(back), Duration::from_secs(3600));
    }
}
