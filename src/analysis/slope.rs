//! Where something is heading: a straight line through points that no mad point can bend, and when it meets a limit.
//!
//! The slope is the median of the slopes of all pairs of points (Theil, 1950; Sen, 1968): nearly a third of the points may be
//! anything. Whether there is a slope at all is Kendall's test of the order of the points against time, its variance grown by
//! how much neighbours are alike once a line and its bend are taken out, for a slow wave looks like a slope to who sees a part of it.
//!
//! **Invariant.** A limit is met on the way only if the slope is beyond chance; how far off that is comes as a range, and where
//! the flattest believable line never gets there the range has no end.

use crate::analysis::trend::{CHANCE, median, two_sided, variance_growth};

/// Points a slope needs.
pub const LEAST_POINTS: usize = 6;
/// Points the slopes of all pairs are taken of; more are thinned evenly.
const MOST_POINTS: usize = 200;

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Slope {
    /// By unit of x.
    pub rise: f64,
    /// Where the rise lies at 95 %.
    pub range: (f64, f64),
    /// The probability that chance alone orders the points so.
    pub chance: f64,
    /// Where the line stands at the first and at the last point.
    pub first: f64,
    pub last: f64,
    pub points: usize,
}

/// When a rising line meets a limit, in units of x from the last point.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Meets {
    pub at: f64,
    pub soonest: f64,
    /// `None`: perhaps never.
    pub latest: Option<f64>,
}

/// The slope of points in order of x; `None` of fewer than [`LEAST_POINTS`].
pub fn slope(points: &[(f64, f64)]) -> Option<Slope> {
    let step = points.len().div_ceil(MOST_POINTS).max(1);
    let points: Vec<(f64, f64)> =
        points.iter().rev().step_by(step).rev().copied().filter(|(x, y)| x.is_finite() && y.is_finite()).collect();
    if points.len() < LEAST_POINTS {
        return None;
    }
    let mut rises = Vec::new();
    let mut order = 0.0;
    for (index, (x, y)) in points.iter().enumerate() {
        for (later, higher) in points[index + 1..].iter().filter(|(later, _)| later > x) {
            rises.push((higher - y) / (later - x));
            order += if higher > y { 1.0 } else { 0.0 } - if higher < y { 1.0 } else { 0.0 };
        }
    }
    rises.sort_by(f64::total_cmp);
    let rise = median(rises.clone())?;
    let base = median(points.iter().map(|(x, y)| y - rise * x).collect())?;
    let count = points.len() as f64;
    let variance = count * (count - 1.0) * (2.0 * count + 5.0) / 18.0 * variance_growth(&unbent(&points));
    let chance = two_sided((f64::abs(order) - 1.0).max(0.0) / variance.sqrt());
    let reach = 1.96 * variance.sqrt();
    let last = rises.len() - 1;
    let low = (((rises.len() as f64 - reach) / 2.0).floor().max(0.0) as usize).min(last);
    let at = |x: f64| base + rise * x;
    let (first_x, last_x) = (points[0].0, points[points.len() - 1].0);
    Some(Slope { rise, range: (rises[low], rises[last - low]), chance, first: at(first_x), last: at(last_x), points: points.len() })
}

/// What is left when the best line and its bend are taken out: a rise that is not straight is no noise.
fn unbent(points: &[(f64, f64)]) -> Vec<(i64, f64)> {
    let count = points.len() as f64;
    let middle = points.iter().map(|(x, _)| x).sum::<f64>() / count;
    let moment = |power: i32| points.iter().map(|(x, _)| (x - middle).powi(power)).sum::<f64>();
    let (second, third) = (moment(2).max(f64::MIN_POSITIVE), moment(3));
    // Polynomials that know nothing of each other over these points.
    let bend = |x: f64| (x - middle).powi(2) - third / second * (x - middle) - second / count;
    let weight = |of: &dyn Fn(f64) -> f64| {
        let (with, own) = points.iter().fold((0.0, 0.0), |(with, own), (x, y)| (with + of(*x) * y, own + of(*x).powi(2)));
        if own > 0.0 { with / own } else { 0.0 }
    };
    let level = points.iter().map(|(_, y)| y).sum::<f64>() / count;
    let (rise, bent) = (weight(&|x| x - middle), weight(&bend));
    let left = |(x, y): &(f64, f64)| y - level - rise * (x - middle) - bent * bend(*x);
    points.iter().enumerate().map(|(at, point)| (at as i64, left(point))).collect()
}

impl Slope {
    pub fn rises(&self) -> bool {
        self.chance < CHANCE && self.rise > 0.0 && self.range.0 > 0.0
    }

    /// When a line that rises meets a limit above it.
    pub fn meets(&self, limit: f64) -> Option<Meets> {
        if !self.rises() || self.last >= limit {
            return None;
        }
        let gap = limit - self.last;
        let latest = (self.range.0 > 0.0).then(|| gap / self.range.0);
        Some(Meets { at: gap / self.rise, soonest: gap / self.range.1, latest })
    }
}

#[cfg(test)]
mod tests {
    use rand::rngs::StdRng;
    use rand::{Rng, SeedableRng};

    use super::*;

    fn line(rise: f64, wobble: impl Fn(usize) -> f64, count: usize) -> Vec<(f64, f64)> {
        (0..count).map(|x| (x as f64, 100.0 + rise * x as f64 + wobble(x))).collect()
    }

    #[test]
    fn a_rise_is_found_through_mad_points_and_meets_its_limit() {
        let found = slope(&line(5.0, |x| if x % 5 == 3 { 900.0 } else { (x * 7 % 3) as f64 }, 14)).unwrap();
        assert!(found.rises() && (found.rise - 5.0).abs() < 1.0, "{found:?}");
        let clean = slope(&line(5.0, |x| (x * 7 % 3) as f64, 14)).unwrap();
        let meets = clean.meets(265.0).unwrap();
        assert!((meets.at - 20.0).abs() < 1.5 && meets.soonest < meets.at && meets.latest.unwrap() > meets.at, "{meets:?}");
        assert_eq!(clean.meets(150.0), None, "it is past that already");
    }

    #[test]
    fn no_slope_meets_nothing() {
        let flat = slope(&line(0.0, |x| [3.0, -1.0, 2.0, -2.0, 0.5, -3.0, 1.0][x % 7], 28)).unwrap();
        assert!(!flat.rises() && flat.meets(101.0).is_none(), "{flat:?}");
        let falling = slope(&line(-5.0, |_| 0.0, 14)).unwrap();
        assert!(falling.meets(1e9).is_none());
        assert_eq!(slope(&line(0.0, |_| 0.0, 14)).unwrap().chance, 1.0);
        assert_eq!(slope(&line(5.0, |_| 0.0, 5)), None);
        assert_eq!(slope(&[(0.0, f64::NAN); 9]), None);
    }

    #[test]
    fn noise_alone_seldom_rises() {
        let mut rng = StdRng::seed_from_u64(11);
        for memory in [0.0, 0.5, 0.8] {
            let mut rises = 0;
            for _ in 0..300 {
                let mut state = 0.0;
                let points: Vec<(f64, f64)> = (0..74)
                    .map(|x| {
                        state = memory * state + rng.random_range(-1.0..1.0);
                        (f64::from(x), state)
                    })
                    .collect();
                rises += u32::from(slope(&points[50..]).unwrap().rises());
            }
            assert!(rises <= 12, "memory {memory}: {rises} of 300");
        }
    }

    #[test]
    fn a_part_of_a_slow_wave_is_less_sure_than_it_looks() {
        let wave = slope(&line(0.0, |x| 20.0 * (x as f64 / 9.0).sin(), 60)).unwrap();
        assert!(!wave.rises(), "{wave:?}");
    }
}
