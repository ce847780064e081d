//! Isolation forest (Liu, Ting and Zhou, 2008 and 2012) as linfa's algorithms are used: parameters that are checked, `fit`,
//! `predict`.
//!
//! A tree takes a few rows and splits them at a random value of a random column until each row stands alone; a row that is
//! unlike the others stands alone soon. The score is `2^(-E[h]/c(n))`: `h` the splits on a row's way, `c(n)` their mean in a
//! search tree of `n` rows; about a half for all where nothing is odd, towards one for what is.
//!
//! A score says little by itself: how high healthy rows score depends on the table. So the forest keeps what each of its own
//! rows scores in the trees that have not seen it, and [`IsolationForest::calibrated`] holds a score against these. A threshold
//! by a fixed share of odd rows ([`IsolationForest::threshold`]) is there for who knows that share: where it is wrong, it
//! calls as many healthy rows odd.
//!
//! **Invariant.** Rows, parameters and seed give the same forest, whatever else ran before.

mod calibration;
mod tree;

use linfa::ParamGuard;
use linfa::dataset::{DatasetBase, Records};
use linfa::traits::{Fit, PredictInplace};
use ndarray::{Array1, Array2, ArrayBase, ArrayView1, Data, Ix2};
use rand::rngs::StdRng;
use rand::seq::index;
use rand::{RngCore, SeedableRng};
use thiserror::Error;

use crate::analysis::forest::calibration::Calibration;
use crate::analysis::forest::tree::{Tree, mean_path};

#[derive(Debug, Error)]
pub enum ForestError {
    #[error("a forest needs at least one tree")]
    NoTrees,
    #[error("a tree needs a sample of at least 2 rows, not {0}")]
    SampleTooSmall(usize),
    #[error("a tree is at least one split deep")]
    NoDepth,
    #[error("the share of odd rows lies between 0 and 0.5, not at {0}")]
    Contamination(f64),
    #[error("there are no rows")]
    NoRows,
    #[error("rows have no columns")]
    NoColumns,
    #[error("row {row}, column {column} is {value}, not a finite number")]
    NotANumber { row: usize, column: usize, value: f64 },
    #[error("rows have {found} columns, the forest was made of rows with {expected}")]
    Columns { found: usize, expected: usize },
    #[error("isolation forest cannot be made")]
    Linfa(#[from] linfa::Error),
}

/// Parameters that were checked.
#[derive(Clone, Debug, PartialEq)]
pub struct IsolationForestValidParams {
    trees: usize,
    sample_size: usize,
    max_depth: Option<usize>,
    contamination: f64,
    seed: u64,
}

/// What a forest is made by; [`IsolationForest::params`] gives the usual ones.
#[derive(Clone, Debug, PartialEq)]
pub struct IsolationForestParams(IsolationForestValidParams);

impl IsolationForestParams {
    pub fn trees(mut self, trees: usize) -> Self {
        self.0.trees = trees;
        self
    }

    /// Rows each tree is made of, drawn without putting back; all, where there are not more.
    pub fn sample_size(mut self, rows: usize) -> Self {
        self.0.sample_size = rows;
        self
    }

    /// Splits on the longest way; unless set, the logarithm to the base 2 of a tree's rows, rounded up.
    pub fn max_depth(mut self, splits: usize) -> Self {
        self.0.max_depth = Some(splits);
        self
    }

    /// The share of rows that [`IsolationForest::threshold`] takes for odd.
    pub fn contamination(mut self, share: f64) -> Self {
        self.0.contamination = share;
        self
    }

    pub fn seed(mut self, seed: u64) -> Self {
        self.0.seed = seed;
        self
    }
}

impl ParamGuard for IsolationForestParams {
    type Checked = IsolationForestValidParams;
    type Error = ForestError;

    fn check_ref(&self) -> Result<&IsolationForestValidParams, ForestError> {
        let params = &self.0;
        if params.trees == 0 {
            return Err(ForestError::NoTrees);
        }
        if params.sample_size < 2 {
            return Err(ForestError::SampleTooSmall(params.sample_size));
        }
        if params.max_depth == Some(0) {
            return Err(ForestError::NoDepth);
        }
        // Written so that what is no number is refused, too.
        if !(0.0..=0.5).contains(&params.contamination) {
            return Err(ForestError::Contamination(params.contamination));
        }
        Ok(params)
    }

    fn check(self) -> Result<IsolationForestValidParams, ForestError> {
        self.check_ref()?;
        Ok(self.0)
    }
}

#[derive(Clone, Debug)]
pub struct IsolationForest {
    trees: Vec<Tree>,
    columns: usize,
    /// Mean splits on the way to a row of a tree's sample.
    usual_path: f64,
    calibration: Calibration,
    threshold: f64,
}

impl IsolationForest {
    /// 100 trees of 256 rows each, as in the paper.
    pub fn params() -> IsolationForestParams {
        IsolationForestParams(IsolationForestValidParams { trees: 100, sample_size: 256, max_depth: None, contamination: 0.01, seed: 0 })
    }

    /// The score of each row, 0 to 1.
    pub fn score_samples<D: Data<Elem = f64>>(&self, rows: &ArrayBase<D, Ix2>) -> Result<Array1<f64>, ForestError> {
        self.check(rows)?;
        Ok(rows.rows().into_iter().map(|row| self.score(row)).collect())
    }

    /// The chance that a row like those the forest was made of scores as high, 0 to 1.
    pub fn calibrated(&self, score: f64) -> f64 {
        self.calibration.tail(score)
    }

    /// What each row of the fit scored in the trees that had not seen it, or in all, where each tree saw all rows.
    pub fn own_scores(&self) -> &[f64] {
        &self.calibration.scores
    }

    /// Whether [`IsolationForest::own_scores`] are of trees that had not seen the row.
    pub fn is_held_out(&self) -> bool {
        self.calibration.held_out
    }

    /// The score that the share `contamination` of the rows of the fit reaches.
    pub fn threshold(&self) -> f64 {
        self.threshold
    }

    /// How much each column did to set a row apart: the share of the splits on its way that were of the column, each weighted
    /// by how many rows it took away; adds up to 1, or is 0 throughout where no split was needed.
    pub fn attribution(&self, row: ArrayView1<'_, f64>) -> Array1<f64> {
        let mut shares = Array1::zeros(self.columns);
        for tree in &self.trees {
            tree.attribute(row, &mut shares);
        }
        let whole: f64 = shares.sum();
        if whole > 0.0 {
            shares /= whole;
        }
        shares
    }

    fn score(&self, row: ArrayView1<'_, f64>) -> f64 {
        let paths: f64 = self.trees.iter().map(|tree| tree.path(row)).sum();
        self.of_path(paths / self.trees.len() as f64)
    }

    fn of_path(&self, path: f64) -> f64 {
        // A single row has nothing to be held against.
        if self.usual_path <= 0.0 { 0.5 } else { (-path / self.usual_path).exp2() }
    }

    fn check<D: Data<Elem = f64>>(&self, rows: &ArrayBase<D, Ix2>) -> Result<(), ForestError> {
        if rows.ncols() != self.columns {
            return Err(ForestError::Columns { found: rows.ncols(), expected: self.columns });
        }
        finite(rows)
    }

    /// Each row's score in the trees that have not seen it.
    fn held_out(&self, rows: &Array2<f64>) -> Option<Vec<f64>> {
        let score = |(index, row): (usize, ArrayView1<'_, f64>)| {
            let unseen = self.trees.iter().filter(|tree| !tree.has_seen(index));
            let (paths, count) = unseen.fold((0.0, 0u32), |(paths, count), tree| (paths + tree.path(row), count + 1));
            (count > 0).then(|| self.of_path(paths / f64::from(count)))
        };
        rows.rows().into_iter().enumerate().map(score).collect()
    }
}

impl<D: Data<Elem = f64>, T> Fit<ArrayBase<D, Ix2>, T, ForestError> for IsolationForestValidParams {
    type Object = IsolationForest;

    fn fit(&self, dataset: &DatasetBase<ArrayBase<D, Ix2>, T>) -> Result<IsolationForest, ForestError> {
        let rows = dataset.records();
        if rows.nsamples() == 0 {
            return Err(ForestError::NoRows);
        }
        if rows.nfeatures() == 0 {
            return Err(ForestError::NoColumns);
        }
        finite(rows)?;
        let rows = rows.to_owned();
        let sample_size = self.sample_size.min(rows.nrows());
        let depth = self.max_depth.unwrap_or_else(|| sample_size.max(2).next_power_of_two().ilog2() as usize);
        let mut seeds = StdRng::seed_from_u64(self.seed);
        let plant = |_| {
            // Each tree has its own numbers, so that how many one of them drew changes no other.
            let mut rng = StdRng::seed_from_u64(seeds.next_u64());
            let sample = index::sample(&mut rng, rows.nrows(), sample_size).into_vec();
            Tree::plant(&rows, sample, depth, &mut rng)
        };
        let trees = (0..self.trees).map(plant).collect();
        let calibration = Calibration::default();
        let mut forest = IsolationForest { trees, columns: rows.ncols(), usual_path: mean_path(sample_size), calibration, threshold: 1.0 };
        let own: Vec<f64> = rows.rows().into_iter().map(|row| forest.score(row)).collect();
        forest.threshold = reached_by(own.clone(), self.contamination);
        let held_out = forest.held_out(&rows);
        forest.calibration = Calibration::new(held_out.is_some(), held_out.unwrap_or(own));
        Ok(forest)
    }
}

impl<D: Data<Elem = f64>> PredictInplace<ArrayBase<D, Ix2>, Array1<f64>> for IsolationForest {
    /// A row with something that is no finite number has no score: it is NaN. Another number of columns panics, as everywhere in linfa.
    fn predict_inplace<'a>(&'a self, rows: &'a ArrayBase<D, Ix2>, scores: &mut Array1<f64>) {
        assert_eq!(rows.ncols(), self.columns, "rows must have as many columns as those of the fit");
        assert_eq!(rows.nrows(), scores.len(), "each row has one score");
        for (row, score) in rows.rows().into_iter().zip(scores.iter_mut()) {
            *score = if row.iter().all(|value| value.is_finite()) { self.score(row) } else { f64::NAN };
        }
    }

    fn default_target(&self, rows: &ArrayBase<D, Ix2>) -> Array1<f64> {
        Array1::zeros(rows.nrows())
    }
}

fn finite<D: Data<Elem = f64>>(rows: &ArrayBase<D, Ix2>) -> Result<(), ForestError> {
    match rows.indexed_iter().find(|(_, value)| !value.is_finite()) {
        None => Ok(()),
        Some(((row, column), value)) => Err(ForestError::NotANumber { row, column, value: *value }),
    }
}

/// The score that a share of all scores reaches; above all of them for none.
fn reached_by(mut scores: Vec<f64>, share: f64) -> f64 {
    scores.sort_by(|one, other| other.total_cmp(one));
    let reach = (share * scores.len() as f64).round() as usize;
    reach.checked_sub(1).and_then(|last| scores.get(last)).copied().unwrap_or(f64::INFINITY)
}

#[cfg(test)]
mod tests;
