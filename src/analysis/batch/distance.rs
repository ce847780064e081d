//! How far a row is from the middle of a table whose columns move together: Mahalanobis' distance (1936). Of two columns that
//! rise and fall as one, a row that has one up and the other down is far, though each alone is nowhere near its end.
//!
//! What is looked for is a combination: so a value counts by its rank in its column, as a normal distribution would have it, and one
//! figure that is out of all proportion is no farther off than the last of its column always is. What little is known of how
//! columns go together is shrunk towards columns that know nothing of each other.

use ndarray::{Array1, Array2, ArrayView1};

const SHRUNK: f64 = 0.1;

/// The lower triangle `L` of the columns' covariance `L Lᵀ` (Cholesky).
#[derive(Clone, Debug)]
pub struct Distance {
    triangle: Array2<f64>,
}

impl Distance {
    /// Of rows of [`normal_scores`].
    pub fn of(rows: &Array2<f64>) -> Distance {
        let mut covariance = rows.t().dot(rows) / rows.nrows().max(1) as f64 * (1.0 - SHRUNK);
        let columns = rows.ncols();
        for column in 0..columns {
            // The shrinking also keeps the matrix positive definite.
            covariance[[column, column]] = covariance[[column, column]] / (1.0 - SHRUNK) + SHRUNK;
        }
        let mut triangle = Array2::zeros((columns, columns));
        for row in 0..columns {
            for column in 0..=row {
                let before: f64 = (0..column).map(|index| triangle[[row, index]] * triangle[[column, index]]).sum();
                let left: f64 = covariance[[row, column]] - before;
                triangle[[row, column]] = if row == column { left.max(1e-9).sqrt() } else { left / triangle[[column, column]] };
            }
        }
        Distance { triangle }
    }

    /// The squared distance, and how much of it each column makes; these add up to it.
    pub fn parts(&self, row: ArrayView1<'_, f64>) -> (f64, Array1<f64>) {
        let columns = row.len();
        let mut half: Array1<f64> = Array1::zeros(columns);
        for index in 0..columns {
            let before: f64 = (0..index).map(|other| self.triangle[[index, other]] * half[other]).sum();
            half[index] = (row[index] - before) / self.triangle[[index, index]];
        }
        let mut whole: Array1<f64> = Array1::zeros(columns);
        for index in (0..columns).rev() {
            let behind: f64 = (index + 1..columns).map(|other| self.triangle[[other, index]] * whole[other]).sum();
            whole[index] = (half[index] - behind) / self.triangle[[index, index]];
        }
        (half.dot(&half), &row * &whole)
    }
}

/// Each value as the one a normal distribution has at its rank in its column.
pub fn normal_scores(rows: &Array2<f64>) -> Array2<f64> {
    let mut scores = Array2::zeros(rows.raw_dim());
    for (from, mut to) in rows.columns().into_iter().zip(scores.columns_mut()) {
        let mut order: Vec<usize> = (0..from.len()).collect();
        order.sort_by(|one, other| from[*one].total_cmp(&from[*other]));
        for (rank, row) in order.into_iter().enumerate() {
            to[row] = normal_at((rank as f64 + 0.5) / from.len() as f64);
        }
    }
    scores
}

/// The value a standard normal distribution stays below with this chance, within 0.00045 (Abramowitz and Stegun, 26.2.23).
fn normal_at(chance: f64) -> f64 {
    let t = (-2.0 * chance.min(1.0 - chance).ln()).sqrt();
    let above = 2.515_517 + t * (0.802_853 + t * 0.010_328);
    let below = 1.0 + t * (1.432_788 + t * (0.189_269 + t * 0.001_308));
    (t - above / below).copysign(chance - 0.5)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_are_those_of_a_normal_distribution_whatever_the_values() {
        let rows = Array2::from_shape_fn((1000, 1), |(row, _)| ((row * 7 % 1000) as f64 / 50.0).exp());
        let scores = normal_scores(&rows);
        let mut sorted = scores.column(0).to_vec();
        sorted.sort_by(f64::total_cmp);
        for (rank, normal) in [(25, -1.96), (158, -1.0), (500, 0.0), (841, 1.0), (975, 1.96)] {
            assert!((sorted[rank] - normal).abs() < 0.02, "{rank}: {}", sorted[rank]);
        }
        assert!(sorted[999] < 3.5 && scores[[142, 0]] > scores[[143, 0]]);
    }

    #[test]
    fn a_row_against_the_way_columns_move_together_is_far() {
        let rows = Array2::from_shape_fn((400, 3), |(row, column)| {
            let both = ((row * 37 % 400) as f64 / 400.0 - 0.5) * 5.0;
            if column == 2 { ((row * 11 % 400) as f64 / 400.0 - 0.5) * 5.0 } else { both }
        });
        let distance = Distance::of(&rows);
        let of = |row: [f64; 3]| distance.parts(ArrayView1::from(&row));
        let (with, against) = (of([1.5, 1.5, 0.0]), of([1.5, -1.5, 0.0]));
        assert!(against.0 > 5.0 * with.0, "{with:?} {against:?}");
        assert!((against.1.sum() - against.0).abs() < 1e-9 && against.1[2].abs() < 0.2 * against.0, "{against:?}");
    }
}
