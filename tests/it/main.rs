//! One test program, so that the large dependencies are linked once.

mod config;
mod telemetry;
