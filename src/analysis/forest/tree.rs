//! One tree of an isolation forest.

use ndarray::{Array1, Array2, ArrayView1};
use rand::Rng;
use rand::rngs::StdRng;

const EULER: f64 = 0.577_215_664_901_532_9;

#[derive(Clone, Debug)]
pub struct Tree {
    /// The root first; what a split points to lies behind it.
    nodes: Vec<Node>,
    /// The rows it was made of, in order.
    sample: Vec<u32>,
}

#[derive(Clone, Copy, Debug)]
enum Node {
    /// To `low` with less than or equal to `at`, else to `high`; so many rows came here and went low.
    Split {
        column: u32,
        at: f64,
        low: u32,
        high: u32,
        rows: u32,
        rows_low: u32,
    },
    Leaf {
        rows: u32,
    },
}

/// Rows that are still to be split, and where their node is.
struct Open {
    node: usize,
    rows: Vec<usize>,
    depth: usize,
}

impl Tree {
    pub fn plant(rows: &Array2<f64>, sample: Vec<usize>, max_depth: usize, rng: &mut StdRng) -> Tree {
        let mut seen: Vec<u32> = sample.iter().map(|row| *row as u32).collect();
        seen.sort_unstable();
        let mut nodes = vec![Node::Leaf { rows: sample.len() as u32 }];
        let mut open = vec![Open { node: 0, rows: sample, depth: 0 }];
        while let Some(Open { node, rows: here, depth }) = open.pop() {
            if depth >= max_depth || here.len() < 2 {
                continue;
            }
            let Some((column, at)) = draw_split(rows, &here, rng) else { continue };
            let count = here.len() as u32;
            let (low, high): (Vec<usize>, Vec<usize>) = here.into_iter().partition(|row| rows[[*row, column]] <= at);
            let next = nodes.len();
            nodes[node] =
                Node::Split { column: column as u32, at, low: next as u32, high: next as u32 + 1, rows: count, rows_low: low.len() as u32 };
            for (offset, rows) in [low, high].into_iter().enumerate() {
                nodes.push(Node::Leaf { rows: rows.len() as u32 });
                open.push(Open { node: next + offset, rows, depth: depth + 1 });
            }
        }
        Tree { nodes, sample: seen }
    }

    pub fn has_seen(&self, row: usize) -> bool {
        self.sample.binary_search(&(row as u32)).is_ok()
    }

    /// Splits on the way of a row, with those that would follow in a leaf of several rows.
    pub fn path(&self, row: ArrayView1<'_, f64>) -> f64 {
        let mut splits = 0.0;
        let mut node = 0;
        loop {
            match self.nodes[node] {
                Node::Leaf { rows } => return splits + mean_path(rows as usize),
                Node::Split { column, at, low, high, .. } => {
                    splits += 1.0;
                    node = if row[column as usize] <= at { low } else { high } as usize;
                }
            }
        }
    }

    /// Adds to each column what its splits on the way of a row did: the logarithm of how many times fewer rows were left,
    /// less that of an even split, for a split that takes half away isolates nothing.
    pub fn attribute(&self, row: ArrayView1<'_, f64>, shares: &mut Array1<f64>) {
        let mut node = 0;
        while let Node::Split { column, at, low, high, rows, rows_low } = self.nodes[node] {
            let goes_low = row[column as usize] <= at;
            let left = if goes_low { rows_low } else { rows - rows_low };
            shares[column as usize] += (f64::from(rows) / f64::from(left.max(1))).log2().max(1.0) - 1.0;
            node = if goes_low { low } else { high } as usize;
        }
    }
}

/// A column in which these rows differ, all as likely, and a value between its smallest and its largest. `None`: all are the same.
fn draw_split(rows: &Array2<f64>, here: &[usize], rng: &mut StdRng) -> Option<(usize, f64)> {
    let mut columns: Vec<usize> = (0..rows.ncols()).collect();
    while !columns.is_empty() {
        let column = columns.swap_remove(rng.random_range(0..columns.len()));
        let values = here.iter().map(|row| rows[[*row, column]]);
        let (least, most) = values.fold((f64::INFINITY, f64::NEG_INFINITY), |(least, most), value| (least.min(value), most.max(value)));
        if least < most {
            // Halves first, so that the span of the largest numbers is finite; and never the largest itself, which would split nothing off.
            let share: f64 = rng.random();
            let at = least * (1.0 - share) + most * share;
            return Some((column, if at >= least && at < most { at } else { least }));
        }
    }
    None
}

/// The mean way to a row in a search tree of so many, as the paper has it: `2 H(n-1) - 2 (n-1)/n`.
pub fn mean_path(rows: usize) -> f64 {
    match rows {
        0 | 1 => 0.0,
        2 => 1.0,
        _ => {
            let rows = rows as f64;
            2.0 * ((rows - 1.0).ln() + EULER) - 2.0 * (rows - 1.0) / rows
        }
    }
}
