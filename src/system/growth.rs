//! How fast the store grows and when the disk is full, from the means of hours.

use crate::analysis::slope::slope;

/// Hours looked back at: a fortnight, so that a habit of the week is in it twice.
pub const HOURS: usize = 14 * 24;
const HOURS_A_DAY: f64 = 24.0;

/// One hour: its number since 1970, bytes of the store, bytes free on its disk.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Hour {
    pub hour: i64,
    pub store: Option<f64>,
    pub free: Option<f64>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Growth {
    /// Bytes the store grows by in a day; negative where it shrinks. `None`: not enough hours yet.
    pub store_a_day: Option<f64>,
    /// `None`: nothing grows, as far as can be told.
    pub full_in_days: Option<f64>,
}

/// The disk is full by what the store adds or by what all together take, whichever is sooner.
pub fn growth(hours: &[Hour], free_now: Option<f64>) -> Growth {
    let points = |of: fn(&Hour) -> Option<f64>| -> Vec<(f64, f64)> {
        let first = hours.first().map_or(0, |hour| hour.hour);
        hours.iter().filter_map(|hour| Some(((hour.hour - first) as f64, of(hour)?))).collect()
    };
    let store = slope(&points(|hour| hour.store));
    // What is taken rises as what is free falls.
    let taken = slope(&points(|hour| hour.free.map(|free| -free)));
    let full = |rising: Option<crate::analysis::slope::Slope>| {
        let rising = rising.filter(|slope| slope.rises())?;
        Some((free_now? / rising.rise / HOURS_A_DAY).max(0.0))
    };
    let full_in_days = match (full(store), full(taken)) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    };
    Growth { store_a_day: store.map(|slope| slope.rise * HOURS_A_DAY), full_in_days }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hours(count: i64, store: impl Fn(i64) -> f64, free: impl Fn(i64) -> f64) -> Vec<Hour> {
        (0..count).map(|hour| Hour { hour: 480_000 + hour, store: Some(store(hour)), free: Some(free(hour)) }).collect()
    }

    #[test]
    fn a_store_that_grows_fills_the_disk() {
        // 1 MB an hour, packed again every twelfth; nothing else writes.
        let saw = |hour: i64| 5e8 + hour as f64 * 1e6 + (hour % 12) as f64 * 2e5;
        let found = growth(&hours(96, saw, |hour| 2.4e8 - hour as f64), Some(2.4e8));
        assert!((found.store_a_day.unwrap() - 24e6).abs() < 2e6, "{found:?}");
        assert!((found.full_in_days.unwrap() - 10.0).abs() < 1.0, "{found:?}");
    }

    #[test]
    fn a_neighbour_that_fills_the_disk_is_seen_too() {
        let found = growth(&hours(48, |_| 5e8, |hour| 1e9 - hour as f64 * 1e7), Some(5e8));
        assert!((found.full_in_days.unwrap() - 5e8 / 1e7 / 24.0).abs() < 0.2, "{found:?}");
        assert!(found.store_a_day.unwrap().abs() < 1.0);
    }

    #[test]
    fn what_stands_still_or_is_too_new_fills_nothing() {
        let still = growth(&hours(96, |hour| 5e8 + (hour * 7 % 5) as f64 * 1e5, |hour| 1e9 + (hour * 3 % 7) as f64 * 1e5), Some(1e9));
        assert_eq!(still.full_in_days, None, "{still:?}");
        assert_eq!(growth(&hours(3, |hour| hour as f64, |_| 1.0), Some(1.0)), Growth::default());
    }
}
