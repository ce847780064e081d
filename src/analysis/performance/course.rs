//! How the median latency went over a period and over the one it is held against, block by block, to be drawn.
//!
//! Several series of a service are one by the mean of their logarithms, as for trends; here of those that have the block, for a
//! gap in one region is no gap in all. Everything together is the median of all checks, as the figure is that stands above it.

use std::collections::BTreeMap;

use crate::analysis::performance::Periods;
use crate::analysis::performance::figures::{Analysis, LATENCY, Series};
use crate::model::id::ServiceId;

/// Microseconds by block, `None` where nothing passed. Both halves are as long, and what stands at the same place is compared.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Course {
    pub before: Vec<Option<f64>>,
    pub now: Vec<Option<f64>>,
}

/// Sums of logarithms and their counts.
struct Sums {
    first: i64,
    block: i64,
    of: Vec<(f64, u32)>,
}

/// Of everything together, and of each service.
pub fn courses(analysis: &Analysis) -> (Course, BTreeMap<ServiceId, Course>) {
    let mut by_service: BTreeMap<ServiceId, Vec<&Series>> = BTreeMap::new();
    for ((service, _), series) in &analysis.series {
        by_service.entry(*service).or_default().push(series);
    }
    let of = |series: &[&Series]| Course::of(&analysis.periods, series);
    (Course::of_all(analysis), by_service.iter().map(|(service, series)| (*service, of(series))).collect())
}

impl Course {
    fn of_all(analysis: &Analysis) -> Course {
        let periods = &analysis.periods;
        let [before, now] = [periods.before().0, periods.since];
        let mut halves = [Sums::new(periods, before), Sums::new(periods, now)];
        for (sums, medians) in halves.iter_mut().zip(&analysis.medians) {
            medians.iter().for_each(|(start, us)| sums.take(*start, *us));
        }
        let [before, now] = halves.map(Sums::means);
        Course { before, now }
    }

    fn of(periods: &Periods, series: &[&Series]) -> Course {
        let mut before = Sums::new(periods, periods.before().0);
        let mut now = Sums::new(periods, periods.since);
        for series in series {
            series.earlier(LATENCY).into_iter().for_each(|(start, us)| before.take(start, us));
            series.course(LATENCY, false).into_iter().for_each(|(start, us)| now.take(start, us));
        }
        Course { before: before.means(), now: now.means() }
    }
}

impl Sums {
    /// Of the blocks from the one `since` lies in.
    fn new(periods: &Periods, since: i64) -> Sums {
        let first = since.div_euclid(periods.block) * periods.block;
        let count = (periods.until - periods.since.div_euclid(periods.block) * periods.block) as u64;
        Sums { first, block: periods.block, of: vec![(0.0, 0); count.div_ceil(periods.block as u64) as usize] }
    }

    fn take(&mut self, start: i64, us: f64) {
        let place = usize::try_from((start - self.first).div_euclid(self.block)).ok();
        if let Some(sum) = place.and_then(|place| self.of.get_mut(place)) {
            *sum = (sum.0 + us.max(1.0).ln(), sum.1 + 1);
        }
    }

    fn means(self) -> Vec<Option<f64>> {
        self.of.into_iter().map(|(sum, count)| (count > 0).then(|| (sum / f64::from(count)).exp())).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::aggregate::rollup::{HOUR, Rollup};
    use crate::analysis::performance::figures::Collector;
    use crate::model::id::RegionName;
    use crate::model::time::Timestamp;

    #[test]
    fn what_stands_at_the_same_place_is_a_day_apart_and_a_gap_stays_one() {
        let periods = Periods::new(Timestamp::parse("2026-11-22T10:20:30Z").unwrap(), 24);
        let mut collector = Collector::new(periods);
        let rollup = |ms: u64| {
            let mut rollup = Rollup { checks: 1, ..Rollup::default() };
            rollup.latency.add(Duration::from_millis(ms));
            rollup
        };
        for (region, before, now) in [("eu", 10, 40), ("us", 90, 90)] {
            let region = RegionName::from(region);
            collector.take(ServiceId(1), &region, periods.since - periods.apart + 2 * HOUR, &rollup(before));
            collector.take(ServiceId(1), &region, periods.since + 2 * HOUR, &rollup(now));
        }
        let analysis = collector.analyse(&BTreeMap::new());
        let (whole, courses) = courses(&analysis);
        let one = &courses[&ServiceId(1)];
        assert_eq!((whole.now.len(), whole.before.len()), (24, 24));
        let near = |value: Option<f64>, ms: f64| (value.unwrap() / 1e3 / ms - 1.0).abs() < 0.02;
        let of_all = analysis.whole.latency.map(|latency| latency.p50 / 1e3).unwrap();
        assert!(near(whole.now[2], of_all), "the figure of all, {of_all}, lies on its course: {whole:?}");
        assert!(near(one.before[2], 30.0) && near(one.now[2], 60.0), "{one:?}");
        // Of two checks the median is the faster one, in any merge: what the figure of all says, too.
        assert!(near(whole.before[2], 10.0) && near(whole.now[2], 40.0), "{whole:?}");
        assert!(whole.now.iter().chain(&whole.before).filter(|value| value.is_some()).count() == 2);
    }
}
