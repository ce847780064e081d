//! Objectives over rollups: what was attained, what is left of the error budget, how fast it burns, and a report of any range.
//!
//! ```text
//! rollups without maintenance → account → budget, report
//! results as they are stored  → meter → burn rates → causes
//! ```
//!
//! Time nobody measured is neither good nor bad: it earns no budget and spends none, and with too much of it nothing is said
//! at all. Formulas and their source are in `docs/slo.md`.

pub mod budget;
pub mod burn;
pub mod desk;
pub mod lane;
pub mod meter;
pub mod period;
pub mod watch;
