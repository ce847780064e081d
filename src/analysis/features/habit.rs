//! What a series leads to expect of each of its values: hour of the day, hour of the week and the level of the last days, all by medians,
//! so that the odd values that are looked for do not teach what is usual.
//!
//! An hour of the week is known from as many values as there are weeks; so what it adds to the hour of the day is believed only
//! in part, the more the more weeks there are, and not at all below three. The same goes for the hour of the day and days.

use std::collections::BTreeMap;

use crate::aggregate::rollup::{DAY, HOUR};
use crate::model::time::Timestamp;

/// The level is that of so long before.
const LEVEL: i64 = 3 * DAY;
/// Values of so many days, or weeks, count as much as the belief that an hour is like all others.
const DOUBT: f64 = 2.0;
/// Of fewer a median can be one odd value.
const LEAST: usize = 3;

/// The middle of values, and how far they scatter about it: the standard deviation, were they normal.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    pub middle: f64,
    pub scatter: f64,
}

impl Spread {
    /// Of those that are numbers; `None`: of none.
    pub fn of(values: &[f64]) -> Option<Spread> {
        let middle = median(values);
        let off: Vec<f64> = values.iter().map(|value| (value - middle).abs()).collect();
        middle.is_finite().then(|| Spread { middle, scatter: 1.4826 * median(&off) })
    }
}

/// For each value what was to be expected then. `starts` in order; NaN stands for what is not known and is expected all the same.
pub fn expected(starts: &[Timestamp], values: &[f64], length: i64) -> Vec<f64> {
    let middle = median(values);
    let mut expected = vec![middle; values.len()];
    for (period, cycle) in [(24, DAY), (24 * 7, 7 * DAY)] {
        let hour = |at: Timestamp| at.0.div_euclid(HOUR).rem_euclid(period);
        let mut slots: BTreeMap<i64, (Vec<f64>, Vec<i64>)> = BTreeMap::new();
        for ((at, value), usual) in starts.iter().zip(values).zip(&expected).filter(|((_, value), _)| value.is_finite()) {
            let (off, cycles) = slots.entry(hour(*at)).or_default();
            off.push(value - usual);
            let cycle = at.0.div_euclid(cycle);
            if cycles.last() != Some(&cycle) {
                cycles.push(cycle);
            }
        }
        let known = slots.into_iter().filter(|(_, (_, cycles))| cycles.len() >= LEAST);
        let adds: BTreeMap<i64, f64> =
            known.map(|(hour, (off, cycles))| (hour, median(&off) * cycles.len() as f64 / (cycles.len() as f64 + DOUBT))).collect();
        for (at, usual) in starts.iter().zip(&mut expected) {
            *usual += adds.get(&hour(*at)).copied().unwrap_or(0.0);
        }
    }
    let off: Vec<f64> = values.iter().zip(&expected).map(|(value, usual)| value - usual).collect();
    for (usual, level) in expected.iter_mut().zip(levels(starts, &off, length)) {
        *usual += level;
    }
    expected
}

/// The median of the last days at each value; of the first day for those that lie in it.
fn levels(starts: &[Timestamp], values: &[f64], length: i64) -> Vec<f64> {
    let mut sorted: Vec<f64> = Vec::new();
    let first = starts.iter().take_while(|at| at.0 < starts[0].0.saturating_add(DAY)).count();
    let (mut from, mut to) = (0, 0);
    let mut levels = Vec::with_capacity(values.len());
    for (row, at) in starts.iter().enumerate() {
        while to < starts.len() && to <= row.max(first.saturating_sub(1)) {
            let value = values[to];
            if value.is_finite() {
                sorted.insert(sorted.partition_point(|known| *known < value), value);
            }
            to += 1;
        }
        while from < row && starts[from].0 <= at.0.saturating_sub(LEVEL.max(length)) {
            let value = values[from];
            if value.is_finite() {
                sorted.remove(sorted.partition_point(|known| *known < value));
            }
            from += 1;
        }
        levels.push(middle_of(&sorted).unwrap_or(0.0));
    }
    levels
}

/// Of those that are numbers; NaN: of none.
pub fn median(values: &[f64]) -> f64 {
    let mut values: Vec<f64> = values.iter().copied().filter(|value| value.is_finite()).collect();
    values.sort_by(f64::total_cmp);
    middle_of(&values).unwrap_or(f64::NAN)
}

fn middle_of(sorted: &[f64]) -> Option<f64> {
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => None,
        odd if odd % 2 == 1 => Some(sorted[middle]),
        _ => Some((sorted[middle - 1] + sorted[middle]) / 2.0),
    }
}
