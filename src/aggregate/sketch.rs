//! A latency distribution that merges: counts in buckets whose bounds grow geometrically, so that a percentile is known to
//! one per cent whatever its size. The buckets are those of DDSketch (Masson, Rim and Lee, 2019); only those in use are
//! kept, since a minute of checks fills few.
//!
//! **Invariant.** Everything is counted in whole numbers: merging in any order gives the same sketch, bit for bit.

use std::sync::LazyLock;
use std::time::Duration;

use sketches_ddsketch::Config;

use crate::model::time::micros;

/// Relative error of a percentile.
pub const ACCURACY: f64 = 0.01;

/// The mapping between microseconds and buckets; pure arithmetic, made once.
static MAPPING: LazyLock<Config> = LazyLock::new(|| Config::new(ACCURACY, 2048, 1.0));

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sketch {
    /// Buckets in use with their counts, by bucket.
    bins: Vec<(u16, u64)>,
    count: u64,
    sum_us: u64,
}

impl Sketch {
    pub fn add(&mut self, span: Duration) {
        let us = micros(span).max(0) as u64;
        self.add_bin(bucket(us), 1);
        self.count += 1;
        self.sum_us = self.sum_us.saturating_add(us);
    }

    pub fn merge(&mut self, other: &Sketch) {
        if other.count == 0 {
            return;
        }
        if self.count == 0 {
            *self = other.clone();
            return;
        }
        let mut merged = Vec::with_capacity(self.bins.len() + other.bins.len());
        let (mut mine, mut theirs) = (self.bins.iter().copied().peekable(), other.bins.iter().copied().peekable());
        loop {
            match (mine.peek(), theirs.peek()) {
                (Some(&(left, count)), Some(&(right, more))) if left == right => {
                    merged.push((left, count + more));
                    mine.next();
                    theirs.next();
                }
                (Some(&(left, _)), Some(&(right, _))) if left > right => merged.extend(theirs.next()),
                (Some(_), _) => merged.extend(mine.next()),
                (None, Some(_)) => merged.extend(theirs.next()),
                (None, None) => break,
            }
        }
        self.bins = merged;
        self.count += other.count;
        self.sum_us = self.sum_us.saturating_add(other.sum_us);
    }

    pub fn count(&self) -> u64 {
        self.count
    }

    pub fn sum_us(&self) -> u64 {
        self.sum_us
    }

    pub fn mean_us(&self) -> Option<f64> {
        (self.count > 0).then(|| self.sum_us as f64 / self.count as f64)
    }

    /// The value that the share `at` of all values, 0 to 1, does not exceed; in microseconds, within [`ACCURACY`].
    pub fn quantile_us(&self, at: f64) -> Option<f64> {
        // Rounded up, so that few values do not hide the slowest of them; what the product is off by is not rounded.
        let least = (at.clamp(0.0, 1.0) * self.count as f64 - 1e-6).ceil().max(1.0) as u64;
        let mut seen = 0;
        let found = self.bins.iter().find(|(_, count)| {
            seen += count;
            seen >= least
        });
        found.map(|(bucket, _)| value(*bucket))
    }

    /// How many values are not above a span; within [`ACCURACY`] of it either way counts.
    pub fn count_within(&self, span: Duration) -> u64 {
        let limit = bucket(micros(span).max(0) as u64);
        self.bins.iter().take_while(|(bucket, _)| *bucket <= limit).map(|(_, count)| count).sum()
    }

    pub fn bins(&self) -> &[(u16, u64)] {
        &self.bins
    }

    /// From buckets as [`Sketch::bins`] gave them; `None`: they are not in order.
    pub fn from_bins(bins: Vec<(u16, u64)>, sum_us: u64) -> Option<Sketch> {
        let ordered = bins.windows(2).all(|pair| pair[0].0 < pair[1].0);
        let count = bins.iter().try_fold(0u64, |count, (_, more)| count.checked_add(*more))?;
        ordered.then_some(Sketch { bins, count, sum_us })
    }

    fn add_bin(&mut self, bucket: u16, count: u64) {
        match self.bins.binary_search_by_key(&bucket, |(known, _)| *known) {
            Ok(index) => self.bins[index].1 += count,
            Err(index) => self.bins.insert(index, (bucket, count)),
        }
    }
}

/// A microsecond and less are one bucket; an hour is about the eleven-hundredth.
fn bucket(us: u64) -> u16 {
    let key = MAPPING.key(us.max(1) as f64);
    u16::try_from(key.max(0)).unwrap_or(u16::MAX)
}

fn value(bucket: u16) -> f64 {
    MAPPING.value(bucket.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_within_one_per_cent() {
        let mut sketch = Sketch::default();
        let mut values: Vec<u64> = (1..=5000u64).map(|n| n * n % 9_973 * 37 + 40).collect();
        values.iter().for_each(|us| sketch.add(Duration::from_micros(*us)));
        values.sort_unstable();
        for at in [0.0, 0.1, 0.5, 0.9, 0.95, 0.99, 1.0] {
            let exact = values[((at * values.len() as f64 - 1e-6).ceil().max(1.0) as usize) - 1] as f64;
            let found = sketch.quantile_us(at).unwrap();
            assert!((found - exact).abs() <= exact * (ACCURACY + 1e-9), "{at}: {found} for {exact}");
        }
        assert_eq!(sketch.mean_us(), Some(values.iter().sum::<u64>() as f64 / 5000.0));
        assert_eq!(Sketch::default().quantile_us(0.5), None);
    }

    #[test]
    fn values_within_a_span_are_counted() {
        let mut sketch = Sketch::default();
        (1..=100u64).for_each(|ms| sketch.add(Duration::from_millis(ms * 10)));
        for (ms, count) in [(0, 0), (5, 0), (10, 1), (505, 50), (1000, 100), (60_000, 100)] {
            assert_eq!(sketch.count_within(Duration::from_millis(ms)), count, "{ms}");
        }
    }

    #[test]
    fn merging_is_the_same_in_any_order() {
        let of = |values: &[u64]| {
            let mut sketch = Sketch::default();
            values.iter().for_each(|us| sketch.add(Duration::from_micros(*us)));
            sketch
        };
        let (a, b, all) = (of(&[1, 500, 7000]), of(&[0, 500, 90_000_000]), of(&[0, 1, 500, 500, 7000, 90_000_000]));
        let (mut one, mut other) = (a.clone(), b.clone());
        one.merge(&b);
        other.merge(&a);
        assert_eq!((&one, &other), (&all, &all));
        assert_eq!(Sketch::from_bins(one.bins().to_vec(), one.sum_us()), Some(all));
        assert_eq!(Sketch::from_bins(vec![(3, 1), (3, 1)], 1), None);
    }
}
