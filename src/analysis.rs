//! Rollups → findings, and what performance costs: the thinking is pure, the analyzer and the batch runner alone are actors.
//!
//! **Invariant.** But for these two nothing here does I/O or reads a clock: what is found depends on the samples and their
//! times alone, so that the same samples give the same findings, live, in a benchmark and in a test.

pub mod samples;

pub mod detector;
pub mod errors;
pub mod series;

pub mod common;
pub mod episode;
pub mod watch;
pub mod wording;

pub mod forest;
pub mod regions;

pub mod slope;
pub mod trend;

pub mod performance;

pub mod features;

pub mod batch;

pub mod analyzer;
pub mod batch_runner;

#[cfg(test)]
mod sample;
