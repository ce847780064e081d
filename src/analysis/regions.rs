//! Which region is odd: the regions of one service held against each other, each against its own habit first.
//!
//! A region that is always slower is not odd. So each has a level and a scatter, learnt slowly and with little weight on what
//! is far off, and what is compared is how far each is from its own level. What the others have in common (the median of
//! these) is the service's; what is left to one alone is the region's. The daily rhythm of a service moves all and so cancels out.
//!
//! Two regions that disagree cannot say which of them is odd; from three on the odd one is out of the others' scatter, the
//! others are within it. Where as many are odd as not, nobody is named.
//!
//! **Invariant.** Constant memory for each region, and the same figures in the same order give the same verdict.

use std::collections::BTreeMap;

use crate::model::finding::Learning;
use crate::model::id::RegionName;

/// Rounds of figures a region's habit needs.
const NEED: u32 = 20;
/// The weight of a round once that many were learnt: a habit is about so many rounds long.
const SLOW: f64 = 1.0 / 300.0;
/// What is farther off than so many scatters teaches no more than that.
const CLIP: f64 = 3.0;
/// Scatters from which a region, or all, are called odd.
const ODD: f64 = 4.0;
/// A region within so many scatters of the others is with them.
const WITH: f64 = 3.0;
/// Times that differ by less than this share are not told apart.
const LEAST_TIME: f64 = 0.05;
/// The mean distance from the middle to a standard deviation, of a normal distribution.
const MEAN_DEVIATION: f64 = 1.2533;
const MEDIAN_DEVIATION: f64 = 1.4826;

/// What a region's checks of a short span came to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Figure {
    /// The median latency, or the median of one phase, of the checks that passed.
    Time {
        median_us: f64,
        samples: u32,
    },
    Errors {
        failed: u32,
        checks: u32,
    },
}

#[derive(Clone, Debug, PartialEq)]
pub struct RegionFigure {
    pub region: RegionName,
    pub figure: Figure,
}

/// The habits of the regions of one service in one signal. The figures given to it are all of one kind.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RegionHabits {
    regions: BTreeMap<RegionName, Habit>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct RegionVerdict {
    /// The one region that is odd.
    pub odd: Option<RegionName>,
    /// All regions left their habit in the same direction.
    pub all_together: bool,
    /// From 0 to 1, of what is said of them; 0 where nothing is.
    pub confidence: f64,
    /// How far each region is from its own habit, less how far the others are from theirs, in its scatters.
    pub apart: Vec<(RegionName, f64)>,
    /// `Some`: the habits of too few regions are known.
    pub learning: Option<Learning>,
}

#[derive(Clone, Debug, Default, PartialEq)]
struct Habit {
    level: f64,
    /// Mean distance from the level.
    own: f64,
    /// Mean distance from the level, less how far the others are from theirs.
    apart: f64,
    rounds: u32,
}

/// One region as it stands to its habit.
struct Standing<'a> {
    region: &'a RegionName,
    /// From its level.
    off: f64,
    /// Standard deviations of that, alone and less what the others are off.
    own: f64,
    apart: f64,
    rounds: u32,
}

impl Figure {
    /// On a scale on which equal steps are equally odd: logarithm of a time, angle of a share (Anscombe, 1948). `None`: nothing was seen.
    fn value(self) -> Option<f64> {
        match self {
            Figure::Time { median_us, samples } => (samples > 0 && median_us.is_finite()).then(|| median_us.max(1.0).ln()),
            Figure::Errors { failed, checks } => {
                let share = (f64::from(failed.min(checks)) + 0.375) / (f64::from(checks) + 0.75);
                (checks > 0).then(|| share.sqrt().asin())
            }
        }
    }

    /// The deviation that chance alone gives.
    fn least(self) -> f64 {
        match self {
            Figure::Time { .. } => LEAST_TIME,
            Figure::Errors { checks, .. } => 0.5 / f64::from(checks.max(1)).sqrt(),
        }
    }
}

impl RegionHabits {
    /// Takes in one round. Not to be called with what a finding that goes on has shown to be odd.
    pub fn learn(&mut self, now: &[RegionFigure]) {
        let offs: Vec<(&RegionName, f64)> = self.standings(now).iter().map(|standing| (standing.region, standing.off)).collect();
        for RegionFigure { region, figure } in now {
            let Some(value) = figure.value() else { continue };
            let others = median(offs.iter().filter(|(other, _)| *other != region).map(|(_, off)| *off).collect());
            let habit = self.regions.entry(region.clone()).or_default();
            if habit.rounds == 0 {
                habit.level = value;
            }
            habit.rounds = habit.rounds.saturating_add(1);
            let weight = SLOW.max(1.0 / f64::from(habit.rounds));
            let off = value - habit.level;
            let reach = CLIP * habit.own.max(figure.least());
            // While little is known a first value that was far off must be left quickly.
            let step = if habit.rounds < NEED { off } else { off.clamp(-reach, reach) };
            habit.level += weight * step;
            habit.own += weight * (step.abs() - habit.own);
            let apart = (off - others.unwrap_or(off)).abs();
            habit.apart += weight * (apart.min(CLIP * habit.apart.max(figure.least())) - habit.apart);
        }
    }

    /// Forgets a region that checks the service no more.
    pub fn forget(&mut self, region: &RegionName) {
        self.regions.remove(region);
    }

    /// Which region is odd now, or whether all are.
    pub fn verdict(&self, now: &[RegionFigure]) -> RegionVerdict {
        let standings = self.standings(now);
        let known = standings.iter().filter(|standing| standing.rounds >= NEED).count();
        if standings.is_empty() || known < standings.len() {
            let have = standings.iter().map(|standing| standing.rounds).min().unwrap_or(0);
            return RegionVerdict { learning: Some(Learning { have, need: NEED }), ..RegionVerdict::default() };
        }
        let distances: Vec<f64> = (0..standings.len()).map(|index| distance(&standings, index)).collect();
        let apart = standings.iter().zip(&distances).map(|(standing, distance)| (standing.region.clone(), *distance)).collect();
        let mut verdict = RegionVerdict { apart, ..RegionVerdict::default() };
        let alone: Vec<f64> = standings.iter().map(|standing| standing.off / standing.own).collect();
        let together = |sign: f64| alone.iter().map(|z| sign * z).fold(f64::INFINITY, f64::min);
        let least = together(1.0).max(together(-1.0));
        if let Some((odd, z)) = odd_one(&distances) {
            verdict.odd = Some(standings[odd].region.clone());
            verdict.confidence = confidence(z);
        } else if least >= WITH {
            verdict.all_together = true;
            verdict.confidence = confidence(least);
        }
        verdict
    }

    fn standings<'a>(&self, now: &'a [RegionFigure]) -> Vec<Standing<'a>> {
        let standing = |RegionFigure { region, figure }: &'a RegionFigure| {
            let value = figure.value()?;
            let unknown = Habit { level: value, ..Habit::default() };
            let habit = self.regions.get(region).unwrap_or(&unknown);
            let least = figure.least();
            Some(Standing {
                region,
                off: value - habit.level,
                own: (MEAN_DEVIATION * habit.own).max(least),
                apart: (MEAN_DEVIATION * habit.apart).max(least),
                rounds: habit.rounds,
            })
        };
        now.iter().filter_map(standing).collect()
    }
}

/// How far a region is from what the others have in common, in its own usual scatter or that of the others now, the larger.
fn distance(standings: &[Standing<'_>], index: usize) -> f64 {
    let others: Vec<f64> = standings.iter().enumerate().filter(|(other, _)| *other != index).map(|(_, standing)| standing.off).collect();
    let Some(middle) = median(others.clone()) else { return 0.0 };
    // Of two others the median is their middle, and their distance from it says how far they agree.
    let scatter = median(others.iter().map(|off| (off - middle).abs()).collect()).unwrap_or(0.0);
    (standings[index].off - middle) / standings[index].apart.max(MEDIAN_DEVIATION * scatter)
}

/// The one region that is far from the others while these are with each other.
fn odd_one(distances: &[f64]) -> Option<(usize, f64)> {
    if distances.len() < 3 {
        return None;
    }
    let mut order: Vec<(usize, f64)> = distances.iter().map(|z| z.abs()).enumerate().collect();
    order.sort_by(|one, other| other.1.total_cmp(&one.1));
    let (first, second) = (order[0], order[1]);
    (first.1 >= ODD && second.1 < WITH).then_some(first)
}

/// From so many scatters, 0 to 1: the chance that a distribution with tails heavier than the normal (Student's, three
/// degrees of freedom) stays within them.
fn confidence(z: f64) -> f64 {
    let t = z.abs() / 3f64.sqrt();
    (std::f64::consts::FRAC_2_PI * (t / (1.0 + t * t) + t.atan())).clamp(0.0, 1.0)
}

fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => None,
        odd if odd % 2 == 1 => Some(values[middle]),
        _ => Some((values[middle - 1] + values[middle]) / 2.0),
    }
}

#[cfg(test)]
mod tests;
