//! Rollups → findings, and what performance costs: the thinking is pure, the analyzer alone is an actor.
//!
//! **Invariant.** But for the analyzer nothing here does I/O or reads a clock: what is found depends on the samples and their
//! times alone, so that the same samples give the same findings, live, in a benchmark and in a test.

pub mod samples;

pub mod detector;
pub mod errors;
pub mod series;

pub mod episode;
pub mod watch;
pub mod wording;

pub mod forest;
pub mod regions;

pub mod performance;
pub mod slope;
pub mod trend;

pub mod analyzer;

#[cfg(test)]
mod sample;
