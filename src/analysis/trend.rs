//! Is it slower than before, or does it fail more, and is that more than noise?
//!
//! Two periods of the same thing are compared by their blocks, an hour or a day of each, never check by check: checks a
//! minute apart share the weather of their hour, and a test that counts each as a witness of its own calls every passing
//! cloud a change of climate. A block of one period is held against the block of the other that lies a whole number of days
//! before it, so that a habit of the day, or of the week where the periods are weeks, takes itself out.
//!
//! **Latency.** Each pair gives the logarithm of the ratio of its two levels (a median, or any quantile, as a [`Block`] was made
//! with). Wilcoxon's signed-rank test asks whether these lie round nought: it wants no shape of the distribution, and one mad
//! hour moves it by one rank. Ranks are Pratt's, for levels from a sketch tie often. Differences of neighbouring hours are
//! alike, so the variance grows by (1 + r) / (1 − r), where r is their correlation from one block to the next, mended for
//! the bias of short series (Marriott and Pope, 1954) and not below nought. Ranks do not see size: where neighbours are much alike
//! a day is worth few ranks, and doubling all of it would pass for chance. So the same is asked by size, in Student's way with the freedom
//! of so few as they are worth; the better of the two answers counts, the latter at twice its probability. The ratio told is Hodges and Lehmann's: the median
//! of the means of all pairs of differences, which is what the test tests; its range is read off the same means.
//!
//! **Errors.** Failures come in bursts, so that the binomial variance of two shares is too small. Pearson's statistic over the
//! blocks, each held against the share of its own period, tells by how much (φ, at least 1); counts divided by φ are what
//! they are worth. Given all failures of both periods, those of the later are then binomial by its part of the checks: exact
//! for few, normal for many. An hour-long outage alone is a burst and no trend, and the test says so.
//!
//! Measured on days that differ by noise alone: of a thousand comparisons 6 are called a change where hours are independent, 11 where
//! neighbours correlate by 0.5, 29 by 0.8 and 61 by 0.9; of failures 1 to 3, and 28 where half of them come in bursts.
//!
//! **Invariants.** Nothing is called a change by its certainty alone: it must also be large enough to matter ([`LEAST_RATIO`],
//! [`LEAST_US`], [`LEAST_SHARE`]), or a million checks would make three in a thousand news. Where there are too few blocks the
//! answer is how many there are and how many are needed. Two periods without a block in common, empty ones, and blocks out of
//! order are answered soundly.

use std::collections::BTreeMap;

use crate::aggregate::sketch::Sketch;

/// Pairs of blocks a comparison of latencies needs: with fewer not even all on one side is beyond chance.
pub const LEAST_PAIRS: usize = 8;
/// Blocks with checks each period needs for its spread to be known.
pub const LEAST_BLOCKS: usize = 4;
/// Checks each period needs for its share of failures.
pub const LEAST_CHECKS: u64 = 30;
/// Smaller changes than by a tenth are not called changes…
pub const LEAST_RATIO: f64 = 1.1;
/// …nor those of less than a millisecond, in microseconds…
pub const LEAST_US: f64 = 1000.0;
/// …nor those of the share of failures by less than one in a thousand.
pub const LEAST_SHARE: f64 = 0.001;
/// The probability of chance below which a change is believed.
pub const CHANCE: f64 = 0.01;

/// What an hour, a day or any span of a period came to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Block {
    /// Its start in microseconds.
    pub start: i64,
    /// The quantile that is compared, in microseconds; `None` where nothing passed.
    pub level_us: Option<f64>,
    pub checks: u64,
    pub failed: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measure {
    /// Figures are microseconds.
    Latency,
    /// Figures are shares of failed checks, 0 to 1.
    Errors,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// More latency.
    Slower,
    /// Less.
    Faster,
    /// A larger share of failures.
    Worse,
    /// A smaller one.
    Better,
    /// No change that is both large enough and beyond chance.
    Steady,
    /// Too little is known.
    Unknown { have: u64, need: u64, of: &'static str },
}

/// One period held against another.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Trend {
    pub measure: Measure,
    /// The level of the earlier period: of latency the median of its blocks that were compared, of errors the share of all.
    pub before: Option<f64>,
    pub now: Option<f64>,
    /// Now over before; of latency the middle of all pairs, so that it may differ a little from the two levels' own.
    pub ratio: Option<f64>,
    /// Where the ratio lies at 95 %; of latency alone.
    pub range: Option<(f64, f64)>,
    /// Now less before.
    pub difference: Option<f64>,
    /// The probability that chance alone makes so much of a change, two-sided.
    pub chance: Option<f64>,
    pub direction: Direction,
}

impl Block {
    /// A block by the median of what passed.
    pub fn new(start: i64, latency: &Sketch, checks: u64, failed: u64) -> Block {
        Block::at(0.5, start, latency, checks, failed)
    }

    /// A block by another quantile.
    pub fn at(quantile: f64, start: i64, latency: &Sketch, checks: u64, failed: u64) -> Block {
        Block { start, level_us: latency.quantile_us(quantile), checks, failed }
    }
}

impl Direction {
    pub fn name(self) -> &'static str {
        match self {
            Direction::Slower => "slower",
            Direction::Faster => "faster",
            Direction::Worse => "worse",
            Direction::Better => "better",
            Direction::Steady => "steady",
            Direction::Unknown { .. } => "unknown",
        }
    }
}

impl Trend {
    /// Slower, or failing more.
    pub fn worsens(&self) -> bool {
        matches!(self.direction, Direction::Slower | Direction::Worse)
    }

    /// How sure it is that something changed: 0 where nothing can be said, near 1 where chance is out of the question.
    pub fn confidence(&self) -> f64 {
        self.chance.map_or(0.0, |chance| 1.0 - chance)
    }

    fn unknown(measure: Measure, before: Option<f64>, now: Option<f64>, have: u64, need: u64, of: &'static str) -> Trend {
        let direction = Direction::Unknown { have, need, of };
        Trend { measure, before, now, ratio: None, range: None, difference: None, chance: None, direction }
    }
}

/// Compares latencies. A block of `now` is paired with the one of `before` that starts `apart` microseconds earlier: a whole
/// number of days, or weeks.
pub fn latency(before: &[Block], now: &[Block], apart: i64) -> Trend {
    let levels = |blocks: &[Block], shift: i64| -> BTreeMap<i64, f64> {
        let known = blocks.iter().filter_map(|block| Some((block.start.saturating_add(shift), block.level_us?)));
        known.filter(|(_, level)| level.is_finite()).map(|(start, level)| (start, level.max(1.0))).collect()
    };
    let (earlier, later) = (levels(before, apart), levels(now, 0));
    let pairs: Vec<(i64, f64, f64)> = later.iter().filter_map(|(start, now)| Some((*start, *earlier.get(start)?, *now))).collect();
    let level_of = |levels: Vec<f64>| median(levels);
    if pairs.len() < LEAST_PAIRS {
        let (before, now) = (level_of(earlier.into_values().collect()), level_of(later.into_values().collect()));
        return Trend::unknown(Measure::Latency, before, now, pairs.len() as u64, LEAST_PAIRS as u64, "pairs of blocks");
    }
    let before = level_of(pairs.iter().map(|(_, before, _)| *before).collect());
    let now = level_of(pairs.iter().map(|(_, _, now)| *now).collect());
    let steps: Vec<(i64, f64)> = pairs.iter().map(|(start, before, now)| (*start, (now / before).ln())).collect();
    let growth = variance_growth(&steps);
    let differences: Vec<f64> = steps.iter().map(|(_, step)| *step).collect();
    let (middle, low, high) = hodges_lehmann(differences.clone(), growth);
    let chance = signed_rank(&differences, growth).min(2.0 * student(&differences, middle, growth)).min(1.0);
    let ratio = middle.exp();
    let difference = before.zip(now).map(|(before, now)| now - before);
    let large = ratio.max(1.0 / ratio) >= LEAST_RATIO && before.is_some_and(|before| (before * ratio - before).abs() >= LEAST_US);
    let direction = match (large && chance < CHANCE, middle > 0.0) {
        (false, _) => Direction::Steady,
        (true, true) => Direction::Slower,
        (true, false) => Direction::Faster,
    };
    let range = Some((low.exp(), high.exp()));
    Trend { measure: Measure::Latency, before, now, ratio: Some(ratio), range, difference, chance: Some(chance), direction }
}

/// Compares shares of failures.
pub fn errors(before: &[Block], now: &[Block]) -> Trend {
    let total = |blocks: &[Block]| {
        blocks.iter().fold((0u64, 0u64), |(checks, failed), block| (checks + block.checks, failed + block.failed.min(block.checks)))
    };
    let ((checks_before, failed_before), (checks_now, failed_now)) = (total(before), total(now));
    let share = |failed: u64, checks: u64| (checks > 0).then(|| failed as f64 / checks as f64);
    let (was, is) = (share(failed_before, checks_before), share(failed_now, checks_now));
    let fewest = checks_before.min(checks_now);
    let used = |blocks: &[Block]| blocks.iter().filter(|block| block.checks > 0).count();
    let blocks = used(before).min(used(now));
    let (Some(before_share), Some(now_share)) = (was, is) else {
        return Trend::unknown(Measure::Errors, was, is, fewest, LEAST_CHECKS, "checks");
    };
    if fewest < LEAST_CHECKS {
        return Trend::unknown(Measure::Errors, was, is, fewest, LEAST_CHECKS, "checks");
    }
    if blocks < LEAST_BLOCKS {
        return Trend::unknown(Measure::Errors, was, is, blocks as u64, LEAST_BLOCKS as u64, "blocks");
    }
    let worth = dispersion(&[(before, before_share), (now, now_share)]);
    let part = checks_now as f64 / (checks_before + checks_now) as f64;
    let chance = binomial(failed_before as f64 / worth, failed_now as f64 / worth, part);
    let difference = now_share - before_share;
    let large = difference.abs() >= LEAST_SHARE && now_share.max(before_share) >= LEAST_RATIO * now_share.min(before_share);
    let direction = match (large && chance < CHANCE, difference > 0.0) {
        (false, _) => Direction::Steady,
        (true, true) => Direction::Worse,
        (true, false) => Direction::Better,
    };
    let ratio = (before_share > 0.0).then(|| now_share / before_share);
    let difference = Some(difference);
    Trend { measure: Measure::Errors, before: was, now: is, ratio, range: None, difference, chance: Some(chance), direction }
}

/// Of many comparisons some look like changes by chance: those that do not stand up to the company they are in are called steady,
/// so that at most the share `rate` of what is left is false on average (Benjamini and Hochberg, 1995).
pub fn weed_out(trends: &mut [&mut Trend], rate: f64) {
    let mut chances: Vec<f64> = trends.iter().filter_map(|trend| trend.chance).collect();
    chances.sort_by(f64::total_cmp);
    let count = chances.len() as f64;
    let limit = chances.iter().enumerate().rev().find(|(rank, chance)| **chance <= rate * (rank + 1) as f64 / count);
    let limit = limit.map_or(0.0, |(_, chance)| *chance);
    for trend in trends {
        if trend.chance.is_some_and(|chance| chance > limit) {
            trend.direction = Direction::Steady;
        }
    }
}

/// By how much the variance of a mean of these is larger than if each stood alone.
pub fn variance_growth(steps: &[(i64, f64)]) -> f64 {
    let count = steps.len() as f64;
    let Some(middle) = median(steps.iter().map(|(_, step)| *step).collect()) else { return 1.0 };
    let span = steps.windows(2).map(|pair| pair[1].0 - pair[0].0).min().unwrap_or(0);
    let spread: f64 = steps.iter().map(|(_, step)| (step - middle).powi(2)).sum();
    // What lies on the far side of a gap is no neighbour.
    let next = steps.windows(2).filter(|pair| pair[1].0 - pair[0].0 == span);
    let shared: f64 = next.map(|pair| (pair[0].1 - middle) * (pair[1].1 - middle)).sum();
    if spread <= f64::EPSILON || count <= 4.0 {
        return 1.0;
    }
    let correlation = ((shared / spread * count + 1.0) / (count - 3.0)).clamp(0.0, 0.8);
    (1.0 + correlation) / (1.0 - correlation)
}

/// The two-sided probability that values this lopsided lie round nought.
fn signed_rank(values: &[f64], growth: f64) -> f64 {
    let mut sorted: Vec<f64> = values.to_vec();
    sorted.sort_by(|one, other| one.abs().total_cmp(&other.abs()));
    let (mut sum, mut variance, mut from) = (0.0, 0.0, 0);
    while from < sorted.len() {
        let size = sorted[from].abs();
        let to = from + sorted[from..].iter().take_while(|value| value.abs() - size <= 1e-12).count();
        let rank = (from + 1 + to) as f64 / 2.0;
        // Noughts take ranks and have no side.
        for value in sorted[from..to].iter().filter(|value| value.abs() > 1e-12) {
            sum += rank * value.signum();
            variance += rank * rank;
        }
        from = to;
    }
    if variance == 0.0 { 1.0 } else { two_sided(sum / (variance * growth).sqrt()) }
}

/// The same by size: how many of its own standard errors their middle lies from nought, with the freedom of so few as they are
/// worth. Neighbours that are alike also make the spread look small; it is widened by as much.
fn student(values: &[f64], middle: f64, growth: f64) -> f64 {
    let count = values.len() as f64;
    let freedom = (count / growth).max(4.0);
    let spread = values.iter().map(|value| (value - middle).powi(2)).sum::<f64>() / (count - 1.0) / (1.0 - growth / count).max(0.1);
    if spread <= 0.0 {
        return if middle == 0.0 { 1.0 } else { 0.0 };
    }
    let deviate = middle / (spread * growth / count).sqrt();
    // Wallace's way from Student's distribution to the normal (1959).
    two_sided((8.0 * freedom + 1.0) / (8.0 * freedom + 3.0) * (freedom * (deviate * deviate / freedom).ln_1p()).sqrt())
}

/// The median of the means of all pairs, and where it lies at 95 %.
fn hodges_lehmann(mut values: Vec<f64>, growth: f64) -> (f64, f64, f64) {
    values.sort_by(f64::total_cmp);
    let count = values.len();
    let mut means: Vec<f64> = (0..count)
        .flat_map(|one| values[one..].iter().map(move |other| (one, *other)))
        .map(|(one, other)| (values[one] + other) / 2.0)
        .collect();
    let (count, last) = (count as f64, means.len() - 1);
    let reach = 1.96 * (count * (count + 1.0) * (2.0 * count + 1.0) / 24.0 * growth).sqrt();
    let low = (means.len() as f64 / 2.0 - reach).floor().max(0.0) as usize;
    // The four that are wanted, without the order of the rest.
    let mut at = |rank: usize| *means.select_nth_unstable_by(rank, f64::total_cmp).1;
    let middle = (at(last / 2) + at(last.div_ceil(2))) / 2.0;
    (middle, at(low.min(last)), at(last - low.min(last)))
}

/// How many times the binomial variance the failures of blocks show, at least once.
fn dispersion(periods: &[(&[Block], f64)]) -> f64 {
    let (mut sum, mut freedom) = (0.0, -(periods.len() as f64));
    for (blocks, share) in periods {
        let spread = share * (1.0 - share);
        for block in blocks.iter().filter(|block| block.checks > 0) {
            let checks = block.checks as f64;
            let failed = block.failed.min(block.checks) as f64;
            sum += if spread > 0.0 { (failed - checks * share).powi(2) / (checks * spread) } else { 0.0 };
            freedom += f64::from(u8::from(spread > 0.0));
        }
        freedom += f64::from(u8::from(spread <= 0.0));
    }
    if freedom >= 1.0 { (sum / freedom).max(1.0) } else { 1.0 }
}

/// The two-sided probability of so uneven a split, where each failure falls on the later side with probability `part`.
fn binomial(earlier: f64, later: f64, part: f64) -> f64 {
    let all = earlier + later;
    if all > 200.0 {
        let off = ((later - all * part).abs() - 0.5).max(0.0);
        return two_sided(off / (all * part * (1.0 - part)).sqrt());
    }
    // What is worth less than a whole failure is not counted.
    let (later, all) = (later.floor() as u64, earlier.floor() as u64 + later.floor() as u64);
    let mut weight = (all as f64 * (1.0 - part).ln()).exp();
    let (mut below, mut above) = (0.0, 0.0);
    for failed in 0..=all {
        below += if failed <= later { weight } else { 0.0 };
        above += if failed >= later { weight } else { 0.0 };
        weight *= (all - failed) as f64 / (failed + 1) as f64 * part / (1.0 - part);
    }
    (2.0 * f64::min(below, above)).min(1.0)
}

pub fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let last = values.len().checked_sub(1)?;
    Some((values[last / 2] + values[last.div_ceil(2)]) / 2.0)
}

/// The probability of a normal deviate at least so far from nought: the complementary error function by its continued rational
/// form (Abramowitz and Stegun 7.1.26 is too coarse in the tail; this is Numerical Recipes' `erfcc`, within 1.2e-7 of itself).
pub fn two_sided(deviate: f64) -> f64 {
    let x = deviate.abs() / std::f64::consts::SQRT_2;
    let t = 1.0 / (1.0 + 0.5 * x);
    let terms = [
        -1.265_512_23,
        1.000_023_68,
        0.374_091_96,
        0.096_784_18,
        -0.186_288_06,
        0.278_868_07,
        -1.135_203_98,
        1.488_515_87,
        -0.822_152_23,
        0.170_872_77,
    ];
    let sum = terms.iter().rev().fold(0.0, |sum, term| sum * t + term);
    (t * (sum - x * x).exp()).clamp(0.0, 1.0)
}

#[cfg(test)]
mod tests;
