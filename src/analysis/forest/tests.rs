use super::*;
use linfa::traits::Predict;
use ndarray::array;
use rand::Rng;

fn blob(rows: usize, columns: usize, seed: u64) -> Array2<f64> {
    let mut rng = StdRng::seed_from_u64(seed);
    Array2::from_shape_fn((rows, columns), |_| (0..12).map(|_| rng.random::<f64>()).sum::<f64>() - 6.0)
}

fn fit(params: IsolationForestParams, rows: &Array2<f64>) -> Result<IsolationForest, ForestError> {
    params.fit(&DatasetBase::from(rows.clone()))
}

#[test]
fn parameters_that_cannot_be_are_refused_with_what_is_wrong() {
    let said = |params: IsolationForestParams| fit(params, &blob(5, 2, 1)).unwrap_err().to_string();
    assert_eq!(said(IsolationForest::params().trees(0)), "a forest needs at least one tree");
    assert_eq!(said(IsolationForest::params().sample_size(1)), "a tree needs a sample of at least 2 rows, not 1");
    assert_eq!(said(IsolationForest::params().max_depth(0)), "a tree is at least one split deep");
    assert_eq!(said(IsolationForest::params().contamination(f64::NAN)), "the share of odd rows lies between 0 and 0.5, not at NaN");
    assert_eq!(said(IsolationForest::params().contamination(0.6)), "the share of odd rows lies between 0 and 0.5, not at 0.6");
}

#[test]
fn what_is_no_number_is_named_by_row_and_column() {
    let mut rows = blob(9, 3, 1);
    rows[[4, 2]] = f64::NAN;
    assert_eq!(fit(IsolationForest::params(), &rows).unwrap_err().to_string(), "row 4, column 2 is NaN, not a finite number");
    let forest = fit(IsolationForest::params(), &blob(9, 3, 1)).unwrap();
    assert!(matches!(forest.score_samples(&rows), Err(ForestError::NotANumber { row: 4, column: 2, .. })));
    assert!(matches!(forest.score_samples(&blob(2, 2, 1)), Err(ForestError::Columns { found: 2, expected: 3 })));
    let scores = forest.predict(&rows);
    assert!(scores[4].is_nan() && scores.iter().filter(|score| score.is_nan()).count() == 1);
    assert!(matches!(fit(IsolationForest::params(), &Array2::zeros((0, 2))), Err(ForestError::NoRows)));
    assert!(matches!(fit(IsolationForest::params(), &Array2::zeros((2, 0))), Err(ForestError::NoColumns)));
}

#[test]
fn one_row_and_rows_that_are_all_the_same_are_half_odd() {
    for rows in [array![[1.0, 2.0]], Array2::from_elem((600, 3), 7.0)] {
        let forest = fit(IsolationForest::params(), &rows).unwrap();
        assert!(forest.score_samples(&rows).unwrap().iter().all(|score| (score - 0.5).abs() < 1e-12));
        assert_eq!(forest.attribution(rows.row(0)).sum(), 0.0);
        assert_eq!(forest.calibrated(0.5), 1.0);
    }
}

#[test]
fn numbers_as_large_as_they_come_are_split() {
    let rows = array![[f64::MAX, 1.0], [f64::MIN, 1.0], [0.0, 1.0], [f64::MIN_POSITIVE, 1.0]];
    let scores = fit(IsolationForest::params(), &rows).unwrap().score_samples(&rows).unwrap();
    assert!(scores.iter().all(|score| (0.0..=1.0).contains(score)), "{scores}");
}

#[test]
fn the_same_seed_gives_the_same_scores_and_another_gives_others() {
    let rows = blob(700, 4, 3);
    let scores = |seed| fit(IsolationForest::params().seed(seed), &rows).unwrap().score_samples(&rows).unwrap();
    assert_eq!(scores(5), scores(5));
    assert_ne!(scores(5), scores(6));
}

#[test]
fn an_odd_row_is_found_and_the_column_that_makes_it_odd_is_named() {
    let mut rows = blob(800, 3, 4);
    // A constant column takes no part.
    rows.column_mut(2).fill(3.0);
    rows[[123, 1]] = 12.0;
    rows[[124, 0]] = -7.0;
    rows[[124, 1]] = 7.0;
    let forest = fit(IsolationForest::params().contamination(0.0025), &rows).unwrap();
    let scores = forest.predict(&rows);
    assert!(forest.is_held_out());
    let odd: Vec<usize> = (0..800).filter(|row| scores[*row] >= forest.threshold()).collect();
    assert_eq!(odd, [123, 124]);
    let shares = forest.attribution(rows.row(123));
    assert!(shares[1] > 0.6, "{shares}");
    let both = forest.attribution(rows.row(124));
    assert!(both[0] + both[1] > 0.7 && both[0] > 0.2 && both[1] > 0.2, "{both}");
    assert_eq!(both[2], 0.0);
    assert!((both.sum() - 1.0).abs() < 1e-9);
}

#[test]
fn a_calibrated_score_is_the_share_of_healthy_rows_that_score_as_high() {
    let forest = fit(IsolationForest::params().seed(2), &blob(2000, 5, 5)).unwrap();
    // Rows the forest has never seen.
    let fresh = forest.score_samples(&blob(20_000, 5, 6)).unwrap();
    for level in [0.2, 0.05, 0.01, 0.002] {
        let reached = fresh.iter().filter(|score| forest.calibrated(**score) <= level).count() as f64 / 20_000.0;
        println!("{level}: {reached}");
        assert!(reached < 1.6 * level && reached > 0.3 * level, "{level}: {reached}");
    }
    let falling = [0.3, 0.45, 0.5, 0.6, 0.7, 0.8, 1.0].map(|score| forest.calibrated(score));
    assert!(falling.windows(2).all(|pair| pair[0] >= pair[1]) && falling.iter().all(|p| (0.0..=1.0).contains(p)), "{falling:?}");
}
