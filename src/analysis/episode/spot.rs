//! What is odd in one row: at most one time, that which explains most, and the failures.

use crate::analysis::series::{Reading, Row, matters};
use crate::model::finding::{Evidence, Learning, Shape, Signal};

/// A phase explains a change of the whole that it makes up so much of.
const EXPLAINS: f64 = 0.5;
/// What the evidence calls the counts.
const FAILED_OF: (&str, &str) = ("failed of ", " checks");

#[derive(Clone, Debug, PartialEq)]
pub struct Odd {
    pub signal: Signal,
    /// Above what is usual.
    pub up: bool,
    pub shape: Shape,
    pub observed: f64,
    pub expected: Option<f64>,
    pub score: f64,
    pub learning: Option<Learning>,
    /// Checks it rests on.
    pub checks: u32,
    /// Failed, and of how many.
    pub counts: (u64, u64),
    pub also: Vec<Evidence>,
}

pub fn spot(row: &Row, least_change: f64) -> Vec<Odd> {
    let mut odds: Vec<Odd> = time(row, least_change).into_iter().collect();
    odds.extend(failures(row));
    odds
}

/// Failed, and of how many, as the evidence of a finding tells it.
pub fn counts(evidence: &[Evidence]) -> (u64, u64) {
    let told = evidence.iter().find_map(|evidence| {
        let checks = evidence.what.strip_prefix(FAILED_OF.0)?.strip_suffix(FAILED_OF.1)?;
        Some((evidence.observed as u64, checks.parse().ok()?))
    });
    told.unwrap_or_default()
}

fn time(row: &Row, least_change: f64) -> Option<Odd> {
    let change = |reading: &Reading| reading.expected.map(|expected| reading.observed - expected);
    let larger = |one: &&Reading, other: &&Reading| {
        let of = |reading: &&Reading| change(reading).unwrap_or(0.0).abs();
        of(one).total_cmp(&of(other))
    };
    let whole = row.reading(Signal::Latency);
    let phases = || row.times.iter().filter(|reading| reading.signal != Signal::Latency);
    let leading = match whole.filter(|whole| whole.odd) {
        Some(whole) => {
            let changed = change(whole).unwrap_or(0.0);
            let explains = |phase: &&Reading| change(phase).is_some_and(|part| part * changed.signum() >= EXPLAINS * changed.abs());
            phases().filter(explains).max_by(larger).unwrap_or(whole)
        }
        // A phase that is odd by itself counts where it slows the whole down as far as matters there.
        None => {
            let usual = whole.map_or(0.0, |whole| whole.expected.unwrap_or(whole.observed));
            let counts =
                |phase: &&Reading| phase.odd && change(phase).is_some_and(|part| part > 0.0 && matters(usual + part, usual, least_change));
            phases().filter(counts).max_by(larger)?
        }
    };
    let up = change(leading).is_none_or(|changed| changed >= 0.0);
    let sources = [Some(leading), whole.filter(|whole| whole.odd)];
    let shape = sources.into_iter().flatten().find_map(|reading| reading.shape);
    let also = row.times.iter().filter(|reading| reading.signal != leading.signal && (reading.odd || reading.signal == Signal::Latency));
    Some(Odd {
        signal: leading.signal,
        up,
        shape: shape.unwrap_or(if up { Shape::Spike } else { Shape::Dip }),
        observed: leading.observed,
        expected: leading.expected,
        score: sources.into_iter().flatten().map(|reading| reading.score).fold(0.0, f64::max),
        learning: leading.learning,
        checks: row.checks - row.failed,
        counts: (0, 0),
        also: also.map(|reading| evidence(row, reading)).collect(),
    })
}

fn failures(row: &Row) -> Option<Odd> {
    let errors = row.errors.odd.then_some(row.errors)?;
    let (failed, checks) = (errors.failed as f64, errors.checks as f64);
    let what = format!("{}{}{}", FAILED_OF.0, errors.checks, FAILED_OF.1);
    Some(Odd {
        signal: Signal::Errors,
        up: true,
        shape: Shape::Burst,
        observed: failed / checks.max(1.0),
        expected: Some(errors.habit),
        score: errors.score,
        learning: errors.learning,
        checks: row.checks,
        counts: (errors.failed, errors.checks),
        also: vec![Evidence { at: row.at, what, observed: failed, expected: Some(errors.habit * checks) }],
    })
}

fn evidence(row: &Row, reading: &Reading) -> Evidence {
    let what = format!("{} p50", reading.signal.name());
    Evidence { at: row.at, what, observed: reading.observed, expected: reading.expected }
}
