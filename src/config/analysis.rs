//! The section of the analyst: how wary it is, and what its forest is made of.

use crate::config::reader::{Reader, Unit};
use crate::config::sections::{AnalysisSettings, ForestSettings};

pub fn analysis(reader: &mut Reader) -> AnalysisSettings {
    AnalysisSettings {
        enabled: reader.flag("analysis.enabled", true),
        sensitivity: reader.number("analysis.sensitivity", 1.0, 0.1..=10.0),
        span: reader.span("analysis.span_s", Unit::Seconds, 60.0, 1.0..=3_600.0),
        quiet_samples: reader.whole("analysis.quiet_samples", 5, 1..=1_000) as u32,
        least_change: reader.number("analysis.least_change", 0.1, 0.0..=10.0),
        retain: reader.span("analysis.retain_days", Unit::Days, 400.0, 1.0..=36_500.0),
        forest: ForestSettings {
            trees: reader.whole("analysis.forest_trees", 100, 1..=10_000) as usize,
            sample_size: reader.whole("analysis.forest_sample_size", 256, 2..=65_536) as usize,
            contamination: reader.number("analysis.forest_contamination", 0.01, 0.0..=0.5),
            every: reader.span("analysis.forest_hours", Unit::Hours, 6.0, 0.1..=720.0),
            seed: reader.whole("analysis.forest_seed", 1, 0..=u64::from(u32::MAX)),
        },
    }
}
