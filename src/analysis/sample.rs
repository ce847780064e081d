//! Made-up samples, for the tests of this folder.

use std::time::Duration;

use crate::aggregate::rollup::MINUTE;
use crate::analysis::samples::Sample;
use crate::config::sections::{AnalysisSettings, ForestSettings};
use crate::model::id::{RegionName, ServiceId};
use crate::model::time::Timestamp;

/// Some noon.
pub const NOON: Timestamp = Timestamp(1_795_348_800_000_000);

pub fn minute(minutes: u32) -> Timestamp {
    Timestamp(NOON.0 + i64::from(minutes) * MINUTE)
}

/// One minute of service 1.
pub fn sample(region: &str, minutes: u32, times: [Option<f64>; 6], checks: u32, failed: u32) -> Sample {
    Sample { service: ServiceId(1), region: RegionName::from(region), start: minute(minutes), span: MINUTE, checks, failed, times }
}

/// The usual ones.
pub fn settings() -> AnalysisSettings {
    AnalysisSettings {
        enabled: true,
        sensitivity: 1.0,
        quiet_samples: 5,
        least_change: 0.1,
        retain: Duration::from_secs(400 * 86_400),
        forest: ForestSettings { trees: 100, sample_size: 256, contamination: 0.01, every: Duration::from_secs(6 * 3600), seed: 1 },
    }
}
