//! Rollups → findings, and what performance costs: the thinking is pure, the analyzer alone is an actor.
//!
//! **Invariant.** But for the analyzer nothing here does I/O or reads a clock: what is found depends on the samples and their
//! times alone, so that the same samples give the same findings, live, in a benchmark and in a test.

pub mod performance;
pub mod slope;
pub mod trend;
