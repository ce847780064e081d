//! The section of alerts: how patient whoever delivers is, and how long causes wait for each other.

use crate::config::reader::{Reader, Unit};
use crate::config::sections::AlertSettings;

pub fn alerts(reader: &mut Reader) -> AlertSettings {
    let retry_initial = reader.span("alerts.retry_initial_s", Unit::Seconds, 5.0, 0.01..=3_600.0);
    let retry_max = reader.span("alerts.retry_max_s", Unit::Seconds, 900.0, 0.01..=86_400.0);
    if retry_max < retry_initial {
        reader.wrong("alerts.retry_max_s", "must not be less than alerts.retry_initial_s");
    }
    AlertSettings {
        hold: reader.span("alerts.hold_s", Unit::Seconds, 5.0, 0.0..=600.0),
        settle: reader.span("alerts.settle_s", Unit::Seconds, 30.0, 0.0..=3_600.0),
        attempt_timeout: reader.span("alerts.attempt_timeout_s", Unit::Seconds, 60.0, 0.1..=600.0),
        retry_initial,
        retry_max,
        give_up: reader.span("alerts.give_up_hours", Unit::Hours, 24.0, 0.001..=720.0),
        retain: reader.span("alerts.retain_days", Unit::Days, 90.0, 2.0..=36_500.0),
    }
}
