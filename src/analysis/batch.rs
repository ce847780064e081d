//! The batch pass over one service: buckets in, spans out in which its figures together are unlike themselves, though none of
//! them alone may be.
//!
//! A forest of the service's own buckets scores each of them, and each score is held against those of buckets the trees had
//! not seen, so that it is a chance and not a number. A forest looks along one column at a time and loses sight of two odd
//! columns among ten that are not; so the distance of the row, all columns together, has a say of the same weight.
//!
//! A bucket is odd by chance now and then; buckets that are odd one after the other seldom are. So what is judged is a run,
//! by what its buckets say together, against the buckets of a month. That neighbours are alike in healthy hours, too, is
//! measured and taken off.
//!
//! **Invariant.** Spans are found oddest first, and none once the share of odd buckets the settings allow is reached; what
//! a finding covers already is not found again; and no word is said below [`LEAST_BUCKETS`].

mod distance;

use linfa::ParamGuard;
use linfa::dataset::DatasetBase;
use linfa::traits::Fit;
use ndarray::{Array1, Array2, Axis};

use crate::analysis::batch::distance::{Distance, normal_scores};
use crate::analysis::features::{Feature, LEAST_BUCKETS, Observation, Table};
use crate::analysis::forest::calibration::Calibration;
use crate::analysis::forest::{ForestError, IsolationForest};
use crate::model::finding::Learning;
use crate::model::time::Timestamp;

/// A bucket takes part in a run below this chance…
const ODD: f64 = 0.01;
/// …and this many buckets between two of them do not end it.
const BREAK: usize = 1;
/// Neighbours are looked at for what they have in common up to so far.
const LONGEST: usize = 32;
/// One odd bucket alone is a matter for who looks at each sample.
const LEAST_RUN: usize = 2;
/// A run is found when so little was to be expected of it in a month of buckets.
const PER_MONTH: f64 = 0.5;
const MONTH: f64 = 30.0 * 86_400.0 * 1e6;
/// A forest can say little beyond the smallest chance its own buckets can show; one bucket says no more than this.
const LEAST_CHANCE: f64 = 1e-5;
/// Features named at most, and the share of the whole from which one is.
const NAMED: usize = 4;
const WORTH_NAMING: f64 = 0.12;

#[derive(Clone, Debug, PartialEq)]
pub struct BatchSettings {
    pub trees: usize,
    pub sample_size: usize,
    /// The share of buckets that may be called odd at most.
    pub contamination: f64,
    pub seed: u64,
}

/// From its first instant to the one after its last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    pub from: Timestamp,
    pub to: Timestamp,
}

#[derive(Clone, Debug, PartialEq)]
pub struct BatchFinding {
    pub span: Span,
    /// Odd buckets in it.
    pub buckets: u32,
    /// The forest's, 0 to 1, of the oddest bucket.
    pub score: f64,
    /// From 0 to 1: how sure it is that a healthy service does not look like this.
    pub confidence: f64,
    /// Those that set the oddest bucket apart, most first.
    pub features: Vec<FeatureFigure>,
}

/// A feature in the bucket in which it was oddest.
#[derive(Clone, Debug, PartialEq)]
pub struct FeatureFigure {
    pub feature: Feature,
    pub at: Timestamp,
    /// In the unit the feature is shown in.
    pub observed: f64,
    pub expected: f64,
    /// Of what set the bucket apart, 0 to 1.
    pub share: f64,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// Too little is known for a word.
    Learning(Learning),
    Judged {
        buckets: usize,
        findings: Vec<BatchFinding>,
    },
}

/// `observations` in order of time, of buckets `length` microseconds long; those before `from` are history alone. What lies in
/// `covered` teaches no habit and is not found.
pub fn judge(
    observations: &[Observation],
    length: i64,
    from: Timestamp,
    covered: &[Span],
    settings: &BatchSettings,
) -> Result<Outcome, ForestError> {
    let table = Table::new(observations, length, settings.seed);
    let is_covered = |row: usize| covered.iter().any(|span| table.starts[row] < span.to && table.starts[row].0 + length > span.from.0);
    let taught: Vec<usize> = (0..table.starts.len()).filter(|row| !is_covered(*row)).collect();
    if taught.len() < LEAST_BUCKETS {
        return Ok(Outcome::Learning(Learning { have: taught.len() as u32, need: LEAST_BUCKETS as u32 }));
    }
    if table.features.is_empty() {
        return Ok(Outcome::Judged { buckets: taught.len(), findings: Vec::new() });
    }
    let params = IsolationForest::params().trees(settings.trees).sample_size(settings.sample_size.min(taught.len() / 2));
    let params = params.contamination(settings.contamination).seed(settings.seed).check()?;
    let forest = params.fit(&DatasetBase::from(table.rows.select(Axis(0), &taught)))?;
    let model = Model::of(&table, &taught, forest);
    let judged: Vec<Judged> = model.judged();
    let alike = alike(&judged);
    let judged: Vec<Judged> = judged.into_iter().filter(|bucket| table.starts[bucket.row] >= from).collect();
    let month = MONTH / length as f64;
    let mut runs: Vec<(f64, &[Judged])> = runs(&judged).into_iter().map(|run| (in_a_month(run, &alike, month), run)).collect();
    runs.retain(|(expected, run)| *expected <= PER_MONTH && run.len() >= LEAST_RUN);
    runs.sort_by(|one, other| one.0.total_cmp(&other.0));
    let mut left = (settings.contamination * taught.len() as f64).ceil() as usize;
    let mut findings: Vec<BatchFinding> = Vec::new();
    for (expected, run) in runs {
        if left == 0 {
            break;
        }
        let finding = finding(&table, &model, run, length, expected);
        left = left.saturating_sub(finding.buckets as usize);
        findings.push(finding);
    }
    findings.sort_by_key(|finding| finding.span.from);
    Ok(Outcome::Judged { buckets: judged.len(), findings })
}

#[derive(Clone, Copy, Debug)]
struct Judged {
    /// Among the taught rows, and in the table.
    index: usize,
    row: usize,
    score: f64,
    chance: f64,
}

/// What is usual of a table, seen in two ways.
struct Model<'a> {
    table: &'a Table,
    taught: &'a [usize],
    forest: IsolationForest,
    /// Of the taught rows.
    normal: Array2<f64>,
    distance: Distance,
    /// By taught row.
    told: Calibration,
}

impl Model<'_> {
    fn of<'a>(table: &'a Table, taught: &'a [usize], forest: IsolationForest) -> Model<'a> {
        let normal = normal_scores(&table.rows.select(Axis(0), taught));
        let distance = Distance::of(&normal);
        let far = Calibration::new(false, normal.rows().into_iter().map(|row| distance.parts(row).0).collect());
        // Both ways of seeing a row together: the logarithms of its chances.
        let told =
            forest.own_scores().iter().zip(&far.scores).map(|(score, squared)| -forest.calibrated(*score).ln() - far.tail(*squared).ln());
        let told = Calibration::new(false, told.collect());
        Model { table, taught, forest, normal, distance, told }
    }

    fn judged(&self) -> Vec<Judged> {
        let scores = self.forest.own_scores().iter().zip(&self.told.scores);
        let judge = |(index, (score, told)): (usize, (&f64, &f64))| Judged {
            index,
            row: self.taught[index],
            score: *score,
            chance: self.told.tail(*told).max(LEAST_CHANCE),
        };
        scores.enumerate().map(judge).collect()
    }

    /// How much each column did to set a row apart, in both ways of seeing it; adds up to 1.
    fn attribution(&self, bucket: &Judged) -> Array1<f64> {
        let mut parts = self.distance.parts(self.normal.row(bucket.index)).1.mapv(|part| part.max(0.0));
        parts /= parts.sum().max(f64::MIN_POSITIVE);
        (self.forest.attribution(self.table.rows.row(bucket.row)) + parts) / 2.0
    }
}

/// Neighbouring buckets that are odd, with what lies between them.
fn runs(judged: &[Judged]) -> Vec<&[Judged]> {
    let mut runs = Vec::new();
    let mut odd = judged.iter().enumerate().filter(|(_, bucket)| bucket.chance <= ODD).map(|(index, _)| index).peekable();
    while let Some(first) = odd.next() {
        let mut last = first;
        while let Some(next) = odd.next_if(|next| judged[*next].row - judged[last].row <= BREAK + 1) {
            last = next;
        }
        runs.push(&judged[first..=last]);
    }
    runs
}

/// How alike the oddness of buckets so many apart is, from one apart on: the correlation of the logarithms of their
/// chances, which have mean and variance 1 where chances are even.
fn alike(judged: &[Judged]) -> [f64; LONGEST] {
    let told: Vec<f64> = judged.iter().map(|bucket| (-bucket.chance.ln()).min(5.0) - 1.0).collect();
    std::array::from_fn(|index| {
        let pairs = told.iter().zip(told.iter().skip(index + 1));
        let count = told.len().saturating_sub(index + 1).max(1);
        (pairs.map(|(one, other)| one * other).sum::<f64>() / count as f64).clamp(0.0, 1.0)
    })
}

/// How many such runs a month of healthy buckets would show: Fisher's combination (1932) of the chances of its buckets, less
/// what neighbours have in common (Brown, 1975), for each place it could begin.
fn in_a_month(run: &[Judged], alike: &[f64; LONGEST], month: f64) -> f64 {
    let count = run.len() as f64;
    let pairs: f64 = alike.iter().enumerate().map(|(apart, alike)| (count - 1.0 - apart as f64).max(0.0) * alike).sum();
    let common = 1.0 + 2.0 * pairs / count;
    let half: f64 = run.iter().map(|bucket| -bucket.chance.ln()).sum::<f64>() / common;
    let independent = (count / common).ceil() as usize;
    // The tail of chi squared with twice as many degrees of freedom as buckets, at twice `half`.
    let mut term = 1.0;
    let mut sum = 1.0;
    for step in 1..independent {
        term *= half / step as f64;
        sum += term;
    }
    (sum.ln() - half).exp() * month
}

fn finding(table: &Table, model: &Model<'_>, run: &[Judged], length: i64, expected: f64) -> BatchFinding {
    let oddest = run.iter().min_by(|one, other| one.chance.total_cmp(&other.chance)).expect("a run has a bucket");
    let span = Span { from: table.starts[run[0].row], to: Timestamp(table.starts[run[run.len() - 1].row].0 + length) };
    let shares = model.attribution(oddest);
    let mut order: Vec<usize> = (0..table.features.len()).collect();
    order.sort_by(|one, other| shares[*other].total_cmp(&shares[*one]));
    let named = order.into_iter().take(NAMED).enumerate().filter(|(place, column)| *place == 0 || shares[*column] >= WORTH_NAMING);
    let features = named.filter_map(|(_, column)| {
        let (observed, expected) = table.figures(oddest.row, column)?;
        let at = table.starts[oddest.row];
        Some(FeatureFigure { feature: table.features[column], at, observed, expected, share: shares[column] })
    });
    BatchFinding {
        span,
        buckets: run.iter().filter(|bucket| bucket.chance <= ODD).count() as u32,
        score: oddest.score,
        confidence: 1.0 - expected.min(1.0),
        features: features.collect(),
    }
}

#[cfg(test)]
mod tests;
