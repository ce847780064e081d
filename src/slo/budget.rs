//! What was attained, and what is left of the error budget. Plain arithmetic; `docs/slo.md` has it in words.

use crate::aggregate::ledger::Piece;
use crate::aggregate::rollup::Times;
use crate::model::slo::{Aim, Promise};
use crate::model::time::micros;

/// What a stretch of time came to, over all regions.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Account {
    pub regions: usize,
    /// Microseconds that have gone by, once; maintenance among them.
    pub elapsed: i64,
    /// Of these, in maintenance.
    pub maintenance: i64,
    /// Outside maintenance, summed over regions.
    pub times: Times,
    /// Checks outside maintenance, and of these those that did what they should: passed, and in time. Not whole where minutes
    /// of long ago had to be taken by their share of an hour.
    pub checks: f64,
    pub good: f64,
    /// Microseconds reckoned by such a share, summed over regions.
    pub shared: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// There is budget left, or none was spent.
    Met,
    Missed,
    /// Too little was measured to say.
    Unknown,
}

impl Standing {
    pub fn name(self) -> &'static str {
        match self {
            Standing::Met => "met",
            Standing::Missed => "missed",
            Standing::Unknown => "unknown",
        }
    }
}

/// In microseconds of one region: what may be bad, what was, and what is left, which may be less than nothing.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Budget {
    pub total: f64,
    pub spent: f64,
    pub left: f64,
}

impl Account {
    /// Adds what a region's piece came to.
    pub fn add(&mut self, piece: &Piece<'_>, aim: Aim) {
        self.times.add(piece.times);
        if let Some(part) = piece.part {
            let good = match aim {
                Aim::Availability => part.rollup.checks - part.rollup.failed(),
                Aim::Latency(limit) => part.rollup.latency.count_within(limit),
            };
            self.checks += part.rollup.checks as f64 * piece.share;
            self.good += good as f64 * piece.share;
        }
        if piece.share < 1.0 {
            self.shared += piece.span.length();
        }
    }

    /// Microseconds known of a region, on average.
    pub fn known(&self) -> f64 {
        (self.times.up + self.times.down) as f64 / self.regions.max(1) as f64
    }

    /// Known time over all time, both outside maintenance.
    pub fn coverage(&self) -> f64 {
        self.times.coverage((self.elapsed - self.maintenance).saturating_mul(self.regions as i64))
    }

    /// Microseconds nobody measured of a region, on average.
    pub fn unknown(&self) -> f64 {
        ((self.elapsed - self.maintenance) as f64 - self.known()).max(0.0)
    }

    /// The share that was bad; `None`: nothing is known.
    pub fn bad(&self, aim: Aim) -> Option<f64> {
        match aim {
            Aim::Availability => self.times.ratio().map(|up| 1.0 - up),
            Aim::Latency(_) => (self.checks > 0.0).then(|| ((self.checks - self.good) / self.checks).clamp(0.0, 1.0)),
        }
    }

    /// Per cent that was good.
    pub fn attained(&self, aim: Aim) -> Option<f64> {
        self.bad(aim).map(|bad| (1.0 - bad) * 100.0)
    }

    /// `to_come` is what of the period lies ahead outside maintenance, in microseconds.
    pub fn budget(&self, promise: &Promise, to_come: i64) -> Budget {
        let known = self.known();
        let total = promise.allowed() * (known + to_come.max(0) as f64);
        let spent = self.bad(promise.aim).unwrap_or(0.0) * known;
        Budget { total, spent, left: total - spent }
    }

    pub fn standing(&self, promise: &Promise, to_come: i64) -> Standing {
        if self.bad(promise.aim).is_none() || self.coverage() < promise.least_coverage {
            return Standing::Unknown;
        }
        // A budget is spent to the last microsecond before it is missed; less is rounding.
        if self.budget(promise, to_come).left >= -1.0 { Standing::Met } else { Standing::Missed }
    }
}

impl Budget {
    /// Per cent of the whole; `None` where there is no whole.
    pub fn left_percent(&self) -> Option<f64> {
        (self.total > 0.0).then(|| self.left / self.total * 100.0)
    }
}

/// Microseconds of a limit, for people.
pub fn limit_ms(aim: Aim) -> Option<f64> {
    match aim {
        Aim::Availability => None,
        Aim::Latency(limit) => Some(micros(limit) as f64 / 1e3),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::model::id::ServiceId;
    use crate::model::slo::Period;

    const MINUTE: i64 = 60_000_000;
    const DAY: i64 = 1440 * MINUTE;

    fn promise(aim: Aim, objective: f64) -> Promise {
        Promise {
            name: "shop".to_owned(),
            service: ServiceId(1),
            aim,
            objective,
            regions: None,
            period: Period::Rolling(30),
            least_coverage: 0.5,
            burn: Vec::new(),
        }
    }

    fn close(found: f64, expected: f64) {
        assert!((found - expected).abs() < 1e-6 * expected.abs().max(1.0), "{found} for {expected}");
    }

    #[test]
    fn thirty_days_at_three_nines_may_be_down_for_forty_three_minutes_and_twelve_seconds() {
        let promise = promise(Aim::Availability, 99.9);
        let times = Times { up: 30 * DAY - 10 * MINUTE, down: 10 * MINUTE };
        let account = Account { regions: 1, elapsed: 30 * DAY, times, ..Account::default() };
        let budget = account.budget(&promise, 0);
        close(budget.total / MINUTE as f64, 43.2);
        close(budget.left / MINUTE as f64, 33.2);
        close(budget.left_percent().unwrap(), 76.851_851_85);
        close(account.attained(Aim::Availability).unwrap(), 99.976_851_85);
        assert_eq!(account.standing(&promise, 0), Standing::Met);
        // Just spent is met, a second more is not.
        let spent = |down: i64| Account { times: Times { up: 30 * DAY - down, down }, ..account };
        assert_eq!(spent(43 * MINUTE + 12_000_000).standing(&promise, 0), Standing::Met);
        assert_eq!(spent(43 * MINUTE + 13_000_000).standing(&promise, 0), Standing::Missed);
    }

    #[test]
    fn regions_are_averaged_and_maintenance_earns_nothing() {
        let promise = promise(Aim::Availability, 99.0);
        // Two regions over ten days, one of them in maintenance; one region was down for 90 minutes.
        let times = Times { up: 18 * DAY - 90 * MINUTE, down: 90 * MINUTE };
        let account = Account { regions: 2, elapsed: 10 * DAY, maintenance: DAY, times, ..Account::default() };
        let budget = account.budget(&promise, 0);
        close(budget.total / MINUTE as f64, 0.01 * 9.0 * 1440.0);
        close(budget.spent / MINUTE as f64, 45.0);
        close(account.coverage(), 1.0);
        close(account.unknown(), 0.0);
    }

    #[test]
    fn what_nobody_measured_neither_earns_nor_spends_and_too_much_of_it_says_nothing() {
        let promise = promise(Aim::Availability, 99.9);
        let half = Account { regions: 1, elapsed: 10 * DAY, times: Times { up: 5 * DAY - MINUTE, down: MINUTE }, ..Account::default() };
        close(half.coverage(), 0.5);
        close(half.budget(&promise, 0).total / MINUTE as f64, 7.2);
        close(half.unknown(), (5 * DAY) as f64);
        assert_eq!(half.standing(&promise, 0), Standing::Met);
        let less = Account { times: Times { up: 5 * DAY - 2 * MINUTE, down: MINUTE }, ..half };
        assert_eq!(less.standing(&promise, 0), Standing::Unknown);
        assert_eq!(Account::default().standing(&promise, 0), Standing::Unknown);
        assert_eq!(Account::default().attained(Aim::Availability), None);
    }

    #[test]
    fn time_to_come_earns_what_it_will() {
        let promise = promise(Aim::Availability, 99.9);
        let account = Account { regions: 1, elapsed: DAY, times: Times { up: DAY - 20 * MINUTE, down: 20 * MINUTE }, ..Account::default() };
        close(account.budget(&promise, 29 * DAY).left / MINUTE as f64, 23.2);
        assert_eq!(account.standing(&promise, 29 * DAY), Standing::Met);
        assert_eq!(account.standing(&promise, 0), Standing::Missed);
    }

    #[test]
    fn a_latency_promise_counts_checks_and_tells_its_budget_as_time() {
        let aim = Aim::Latency(Duration::from_secs(2));
        let promise = promise(aim, 95.0);
        let account =
            Account { regions: 1, elapsed: DAY, times: Times { up: DAY, down: 0 }, checks: 1440.0, good: 1404.0, ..Account::default() };
        close(account.attained(aim).unwrap(), 97.5);
        let budget = account.budget(&promise, 0);
        close(budget.total / MINUTE as f64, 72.0);
        close(budget.spent / MINUTE as f64, 36.0);
        close(budget.left_percent().unwrap(), 50.0);
    }
}
