//! What a score means: the chance that a healthy row scores as high.
//!
//! Within the scores that were seen it is counted. Beyond them it is carried on: of a wide class of distributions the tail falls off
//! exponentially above a high threshold (the generalised Pareto distribution of shape 0; Pickands, 1975), and a score that
//! cannot exceed 1 falls off no more slowly than that.

/// The shares of the scores beyond which the tail is carried on, and between which its fall is read: not up to its end, which
/// the odd rows of the fit make up.
const TAIL: f64 = 0.1;
const FALL: f64 = 0.025;
/// With fewer scores nothing is carried on.
const LEAST: usize = 100;

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
    /// How far above it those are that are.
    mean_excess: f64,
}

impl Calibration {
    pub fn new(held_out: bool, scores: Vec<f64>) -> Calibration {
        let mut sorted = scores.clone();
        sorted.sort_by(f64::total_cmp);
        let at = |share: f64| sorted[((1.0 - share) * (sorted.len() - 1) as f64).round() as usize];
        let tail = (sorted.len() >= LEAST).then(|| Tail { from: at(TAIL), mean_excess: (at(FALL) - at(TAIL)) / (TAIL / FALL).ln() });
        let tail = tail.filter(|tail| tail.mean_excess > 0.0);
        Calibration { held_out, scores, sorted, tail }
    }

    pub fn tail(&self, score: f64) -> f64 {
        match self.tail {
            Some(tail) if score > tail.from => TAIL * (-(score - tail.from) / tail.mean_excess).exp(),
            _ => {
                let below = self.sorted.partition_point(|known| *known < score);
                (self.sorted.len() - below + 1) as f64 / (self.sorted.len() + 1) as f64
            }
        }
    }
}
