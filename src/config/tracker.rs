//! The section of the issue tracker: which issues the program opens by itself.

use crate::config::reader::{Reader, Unit};
use crate::config::sections::TrackerSettings;
use crate::model::incident::Severity;

pub fn tracker(reader: &mut Reader) -> TrackerSettings {
    let severity = reader.text("tracker.open_for_severity").unwrap_or_else(|| Severity::Critical.name().to_owned());
    let open_for_severity = Severity::from_name(&severity);
    if open_for_severity.is_none() && severity != "off" {
        reader.wrong("tracker.open_for_severity", format!("must be critical, warning or off, not {severity:?}"));
    }
    TrackerSettings {
        open_issues: reader.flag("tracker.open_issues", true),
        open_for_severity,
        open_after: reader.span("tracker.open_after_s", Unit::Seconds, 60.0, 0.0..=86_400.0),
        node_after: reader.span("tracker.node_after_s", Unit::Seconds, 300.0, 1.0..=86_400.0),
        repeated_findings: reader.whole("tracker.repeated_findings", 3, 0..=1_000) as u32,
        repeated_within: reader.span("tracker.repeated_days", Unit::Days, 7.0, 0.01..=365.0),
    }
}
