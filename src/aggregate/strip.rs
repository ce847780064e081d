//! The last 24 hours of every service at a glance: how many checks passed and how long they took, by the half hour; and its
//! last hour by the minute, for there is no more to be seen of a service that has just come.
//!
//! A page of a thousand services is drawn from these, so they are kept in memory and each result is counted as it is stored.
//! Counts add up in any order. After a start they are filled from the store while new results come in already; what is counted
//! twice then is counted twice in one cell, and changes no share anyone could see.

use std::collections::HashMap;
use std::sync::RwLock;

use crate::aggregate::board::Board;
use crate::aggregate::rollup::MINUTE;
use crate::model::check::CheckResult;
use crate::model::id::ServiceId;
use crate::model::time::Timestamp;

/// Microseconds of one cell.
pub const CELL: i64 = 30 * MINUTE;
/// 24 hours, the running half hour included.
pub const CELLS: usize = 48;
/// An hour, the running minute included.
pub const MINUTES: usize = 60;
/// Half hours of which something must be known before a service is no longer new: so many, the running one included, are not
/// enough.
const NEW: usize = 6;

/// The checks of one span, of all regions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cell {
    pub checks: u32,
    pub failures: u32,
    /// Of the checks that passed: those that took longer than the service bears before it is degraded.
    pub slow: u32,
    /// Of the checks that passed, together.
    pub latency_us: u64,
}

impl Cell {
    pub fn mean_us(&self) -> Option<f64> {
        let passed = self.checks.saturating_sub(self.failures);
        (passed > 0).then(|| self.latency_us as f64 / f64::from(passed))
    }

    /// Counts what another one has counted, too.
    pub fn add(&mut self, other: &Cell) {
        self.checks = self.checks.saturating_add(other.checks);
        self.failures = self.failures.saturating_add(other.failures);
        self.slow = self.slow.saturating_add(other.slow);
        self.latency_us = self.latency_us.saturating_add(other.latency_us);
    }
}

/// Cells that follow each other; the place of a cell is its number since 1970 modulo their count.
#[derive(Clone, Debug)]
struct Ring<const COUNT: usize> {
    newest: i64,
    cells: [Cell; COUNT],
}

#[derive(Clone, Debug)]
struct Strip {
    half_hours: Ring<CELLS>,
    minutes: Ring<MINUTES>,
}

#[derive(Debug, Default)]
pub struct Strips(RwLock<HashMap<ServiceId, Strip>>);

impl Strips {
    /// Counts results the store has just taken; the board knows what is slow.
    pub fn add(&self, results: &[CheckResult], board: &Board) {
        let mut strips = self.0.write().expect("no holder panics");
        for result in results {
            let slow = result.ok() && board.degraded_after(result.service).is_some_and(|limit| result.latency > limit);
            let one = Cell {
                checks: 1,
                failures: u32::from(!result.ok()),
                slow: u32::from(slow),
                latency_us: if result.ok() { u64::try_from(result.latency.as_micros()).unwrap_or(0) } else { 0 },
            };
            let strip = strips.entry(result.service).or_insert_with(|| Strip::new(result.started_at));
            if let Some(cell) = strip.half_hours.cell(number(result.started_at, CELL)) {
                cell.add(&one);
            }
            if let Some(cell) = strip.minutes.cell(number(result.started_at, MINUTE)) {
                cell.add(&one);
            }
        }
    }

    /// Sets the past of a service, as the store knows it; each cell with the instant it begins.
    pub fn fill(&self, service: ServiceId, past: &[(Timestamp, Cell)]) {
        let mut strips = self.0.write().expect("no holder panics");
        for (start, known) in past {
            let strip = strips.entry(service).or_insert_with(|| Strip::new(*start));
            if let Some(cell) = strip.half_hours.cell(number(*start, CELL)) {
                *cell = *known;
            }
        }
    }

    /// The same by the minute: of what is given, the last hour is kept.
    pub fn fill_minutes(&self, service: ServiceId, past: &[(Timestamp, Cell)]) {
        let mut strips = self.0.write().expect("no holder panics");
        for (start, known) in past {
            let strip = strips.entry(service).or_insert_with(|| Strip::new(*start));
            if let Some(cell) = strip.minutes.cell(number(*start, MINUTE)) {
                *cell = *known;
            }
        }
    }

    /// The cells of every service for which there are any, oldest first; the last one is that of `now`.
    pub fn all(&self, now: Timestamp) -> HashMap<ServiceId, [Cell; CELLS]> {
        let strips = self.0.read().expect("no holder panics");
        strips.iter().map(|(service, strip)| (*service, strip.half_hours.until(number(now, CELL)))).collect()
    }

    /// The cells of one service, oldest first; empty ones where nothing was measured.
    pub fn of(&self, service: ServiceId, now: Timestamp) -> [Cell; CELLS] {
        let strips = self.0.read().expect("no holder panics");
        strips.get(&service).map_or([Cell::default(); CELLS], |strip| strip.half_hours.until(number(now, CELL)))
    }

    /// Whether nothing is known of it but the last three hours or less; `None`: nothing is known at all.
    pub fn is_new(&self, service: ServiceId, now: Timestamp) -> Option<bool> {
        let strips = self.0.read().expect("no holder panics");
        strips.get(&service).map(|strip| strip.is_new(now))
    }

    /// The minutes of a service of which nothing is known but the last three hours or less, oldest first; the last one is that
    /// of `now`. `None`: more is known of it, or nothing of the last hour.
    pub fn first_hour(&self, service: ServiceId, now: Timestamp) -> Option<[Cell; MINUTES]> {
        let strips = self.0.read().expect("no holder panics");
        let strip = strips.get(&service)?;
        let minutes = strip.minutes.until(number(now, MINUTE));
        (strip.is_new(now) && minutes.iter().any(|cell| cell.checks > 0)).then_some(minutes)
    }
}

/// When the first of the cells that end with `now` begins.
pub fn first_start(now: Timestamp) -> Timestamp {
    Timestamp((number(now, CELL) + 1 - CELLS as i64) * CELL)
}

/// When the first of the minutes that end with `now` begins.
pub fn first_minute(now: Timestamp) -> Timestamp {
    Timestamp((number(now, MINUTE) + 1 - MINUTES as i64) * MINUTE)
}

fn number(at: Timestamp, span: i64) -> i64 {
    at.0.div_euclid(span)
}

impl Strip {
    fn new(at: Timestamp) -> Strip {
        Strip { half_hours: Ring::new(number(at, CELL)), minutes: Ring::new(number(at, MINUTE)) }
    }

    fn is_new(&self, now: Timestamp) -> bool {
        self.half_hours.until(number(now, CELL))[..CELLS - NEW].iter().all(|cell| cell.checks == 0)
    }
}

impl<const COUNT: usize> Ring<COUNT> {
    fn new(number: i64) -> Ring<COUNT> {
        Ring { newest: number, cells: [Cell::default(); COUNT] }
    }

    /// The cell of a number, made the newest where it is; `None`: it is older than the ring.
    fn cell(&mut self, number: i64) -> Option<&mut Cell> {
        let count = COUNT as i64;
        if number <= self.newest - count {
            return None;
        }
        if number > self.newest {
            let first = (self.newest + 1).max(number + 1 - count);
            (first..=number).for_each(|number| self.cells[number.rem_euclid(count) as usize] = Cell::default());
            self.newest = number;
        }
        Some(&mut self.cells[number.rem_euclid(count) as usize])
    }

    /// Those that end with the one of a number.
    fn until(&self, last: i64) -> [Cell; COUNT] {
        let count = COUNT as i64;
        std::array::from_fn(|place| {
            let number = last + 1 - count + place as i64;
            match number > self.newest - count && number <= self.newest {
                true => self.cells[number.rem_euclid(count) as usize],
                false => Cell::default(),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::aggregate::sample::{at, bad, good, service};

    const SERVICE: ServiceId = ServiceId(1);

    fn cell(checks: u32) -> Cell {
        Cell { checks, ..Cell::default() }
    }

    #[test]
    fn cells_move_on_with_time_and_the_oldest_are_forgotten() {
        let strips = Strips::default();
        let at = |number: i64| Timestamp(number * CELL + 5);
        strips.fill(SERVICE, &[(at(100), cell(1)), (at(101), cell(2)), (at(147), cell(3))]);
        let shown = strips.of(SERVICE, at(147));
        assert_eq!((shown[0].checks, shown[1].checks, shown[2].checks, shown[47].checks), (1, 2, 0, 3));
        // Half an hour without a check: everything moves one place, the newest is empty.
        let later = strips.of(SERVICE, at(148));
        assert_eq!((later[0].checks, later[46].checks, later[47].checks), (2, 3, 0));
        strips.fill(SERVICE, &[(at(195), cell(4))]);
        let shown = strips.of(SERVICE, at(195));
        assert_eq!(shown.map(|cell| cell.checks).iter().sum::<u32>(), 4, "what was a day ago is not taken for today's");
        strips.fill(SERVICE, &[(at(147), cell(9))]);
        assert_eq!(strips.of(SERVICE, at(195)), shown, "what is older than the ring changes nothing");
        assert_eq!(strips.of(SERVICE, at(1000)), [Cell::default(); CELLS]);
        assert_eq!(first_start(at(147)), Timestamp(100 * CELL));
    }

    #[test]
    fn a_check_that_passed_but_took_too_long_is_counted_as_slow() {
        let board = Board::default();
        board.replace_services(&[service(serde_json::json!({"degraded_after_ms": 15}))], at(0));
        let strips = Strips::default();
        strips.add(&[good("eu", 1), bad("eu", 2), CheckResult { latency: Duration::from_millis(10), ..good("eu", 3) }], &board);
        let cell = strips.of(SERVICE, at(3))[CELLS - 1];
        assert_eq!((cell.checks, cell.failures, cell.slow, cell.latency_us), (3, 1, 1, 30_000));
        // Without a limit nothing is slow.
        let unlimited = Strips::default();
        unlimited.add(&[good("eu", 1)], &Board::default());
        assert_eq!(unlimited.of(SERVICE, at(3))[CELLS - 1].slow, 0);
    }

    #[test]
    fn a_new_service_is_known_by_the_minute_until_three_hours_are_known_of_it() {
        let strips = Strips::default();
        let now = |minutes: i64| Timestamp(1000 * CELL + minutes * MINUTE);
        assert_eq!(strips.first_hour(SERVICE, now(0)), None, "nothing is known at all");
        strips.fill(SERVICE, &[(now(0), cell(3))]);
        strips.fill_minutes(SERVICE, &[(now(0), cell(1)), (now(1), cell(2))]);
        let minutes = strips.first_hour(SERVICE, now(2)).expect("it is new");
        assert_eq!((minutes[57].checks, minutes[58].checks, minutes[59].checks), (1, 2, 0));
        assert_eq!(first_minute(now(59)), now(0));
        assert_eq!(strips.first_hour(SERVICE, now(90)), None, "nothing is known of the last hour");
        strips.fill_minutes(SERVICE, &[(now(179), cell(1)), (now(180), cell(1))]);
        assert!(strips.first_hour(SERVICE, now(179)).is_some_and(|minutes| minutes[59].checks == 1 && minutes[0].checks == 0));
        assert_eq!(strips.first_hour(SERVICE, now(180)), None, "three hours have gone by since the first");
    }
}
