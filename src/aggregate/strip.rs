//! The last 24 hours of every service at a glance: how many checks passed and how long they took, by the half hour.
//!
//! A page of a thousand services is drawn from these, so they are kept in memory and each result is counted as it is stored.
//! Counts add up in any order. After a start they are filled from the store while new results come in already; what is counted
//! twice then is counted twice in one half hour, and changes no share anyone could see.

use std::collections::HashMap;
use std::sync::RwLock;

use crate::aggregate::rollup::MINUTE;
use crate::model::check::CheckResult;
use crate::model::id::ServiceId;
use crate::model::time::Timestamp;

/// Microseconds of one cell.
pub const CELL: i64 = 30 * MINUTE;
/// 24 hours, the running half hour included.
pub const CELLS: usize = 48;

/// The checks of one half hour, of all regions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cell {
    pub checks: u32,
    pub failures: u32,
    /// Of the checks that passed, together.
    pub latency_us: u64,
}

impl Cell {
    pub fn mean_us(&self) -> Option<f64> {
        let passed = self.checks.saturating_sub(self.failures);
        (passed > 0).then(|| self.latency_us as f64 / f64::from(passed))
    }
}

/// A ring of cells; the place of a cell is its number since 1970 modulo their count.
#[derive(Clone, Debug)]
struct Strip {
    newest: i64,
    cells: [Cell; CELLS],
}

#[derive(Debug, Default)]
pub struct Strips(RwLock<HashMap<ServiceId, Strip>>);

impl Strips {
    /// Counts results the store has just taken.
    pub fn add(&self, results: &[CheckResult]) {
        let mut strips = self.0.write().expect("no holder panics");
        for result in results {
            let number = result.started_at.0.div_euclid(CELL);
            let strip = strips.entry(result.service).or_insert_with(|| Strip::new(number));
            let Some(cell) = strip.cell(number) else { continue };
            cell.checks += 1;
            match result.ok() {
                true => cell.latency_us += u64::try_from(result.latency.as_micros()).unwrap_or(0),
                false => cell.failures += 1,
            }
        }
    }

    /// Sets the past of a service, as the store knows it; each cell with the instant it begins.
    pub fn fill(&self, service: ServiceId, past: &[(Timestamp, Cell)]) {
        let mut strips = self.0.write().expect("no holder panics");
        for (start, known) in past {
            let number = start.0.div_euclid(CELL);
            let strip = strips.entry(service).or_insert_with(|| Strip::new(number));
            if let Some(cell) = strip.cell(number) {
                *cell = *known;
            }
        }
    }

    /// The cells of every service for which there are any, oldest first; the last one is that of `now`.
    pub fn all(&self, now: Timestamp) -> HashMap<ServiceId, [Cell; CELLS]> {
        let strips = self.0.read().expect("no holder panics");
        strips.iter().map(|(service, strip)| (*service, strip.until(now))).collect()
    }

    /// The cells of one service, oldest first; empty ones where nothing was measured.
    pub fn of(&self, service: ServiceId, now: Timestamp) -> [Cell; CELLS] {
        let strips = self.0.read().expect("no holder panics");
        strips.get(&service).map_or([Cell::default(); CELLS], |strip| strip.until(now))
    }
}

/// When the first of the cells that end with `now` begins.
pub fn first_start(now: Timestamp) -> Timestamp {
    Timestamp((now.0.div_euclid(CELL) + 1 - CELLS as i64) * CELL)
}

impl Strip {
    fn new(number: i64) -> Strip {
        Strip { newest: number, cells: [Cell::default(); CELLS] }
    }

    /// The cell of a number, made the newest where it is; `None`: it is older than the ring.
    fn cell(&mut self, number: i64) -> Option<&mut Cell> {
        let count = CELLS as i64;
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

    fn until(&self, now: Timestamp) -> [Cell; CELLS] {
        let (count, last) = (CELLS as i64, now.0.div_euclid(CELL));
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
    use super::*;

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
}
