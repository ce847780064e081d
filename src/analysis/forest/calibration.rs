//! What a score means: the chance that a healthy row scores as high.
//!
//! Within the scores that were seen it is counted. Beyond them it is carried on: of a wide class of distributions the tail falls off
//! exponentially above a high threshold (the generalised Pareto distribution of shape 0; Pickands, 1975), and a score that
//! cannot exceed 1 falls off no more slowly than that.

/// The share of the scores the tail is drawn from.
const TAIL: f64 = 0.05;
/// With fewer of them nothing is carried on.
const LEAST: usize = 10;

#[derive(Clone, Debug, Default)]
pub struct Calibration {
    pub held_out: bool,
    /// By row.
    pub scores: Vec<f64>,
    /// In rising order.
    sorted: Vec<f64>,
    tail: Option<Tail>,
}

#[derive(Clone, Copy, Debug)]
struct Tail {
    from: f64,
    /// The share of scores above it, and how far above it they are in the mean.
    share: f64,
    mean_excess: f64,
}

impl Calibration {
    pub fn new(held_out: bool, scores: Vec<f64>) -> Calibration {
        let mut sorted = scores.clone();
        sorted.sort_by(f64::total_cmp);
        let count = ((sorted.len() as f64 * TAIL) as usize).max(LEAST);
        let tail = sorted.len().checked_sub(count + 1).and_then(|at| {
            let from = sorted[at];
            let mean_excess = sorted[at + 1..].iter().map(|score| score - from).sum::<f64>() / count as f64;
            (mean_excess > 0.0).then(|| Tail { from, share: count as f64 / (sorted.len() + 1) as f64, mean_excess })
        });
        Calibration { held_out, scores, sorted, tail }
    }

    pub fn tail(&self, score: f64) -> f64 {
        match self.tail {
            Some(tail) if score > tail.from => tail.share * (-(score - tail.from) / tail.mean_excess).exp(),
            _ => {
                let below = self.sorted.partition_point(|known| *known < score);
                (self.sorted.len() - below + 1) as f64 / (self.sorted.len() + 1) as f64
            }
        }
    }
}
