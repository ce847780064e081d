//! Made-up results and services, for the tests of this folder.

use std::time::Duration;

use crate::model::check::{CheckResult, Failure, Phase, Phases, Reason};
use crate::model::id::{Boot, CheckId, RegionName, ServiceId};
use crate::model::service::{Schedule, Service};
use crate::model::time::Timestamp;

/// Some noon.
pub const NOON: Timestamp = Timestamp(1_795_348_800_000_000);

pub fn at(seconds: u64) -> Timestamp {
    NOON.plus(Duration::from_secs(seconds))
}

/// A result of service 1 that passed, `seconds` after noon; its number is that of the second.
pub fn good(region: &str, seconds: u64) -> CheckResult {
    CheckResult {
        id: CheckId { node: format!("{region}-1").as_str().into(), boot: Boot(1), seq: seconds },
        service: ServiceId(1),
        region: RegionName::from(region),
        scheduled_at: at(seconds),
        started_at: at(seconds),
        latency: Duration::from_millis(20),
        elapsed: Duration::from_millis(20),
        clock_offset: 0,
        status_code: Some(200),
        failure: None,
        phases: Phases { connect: Some(Duration::from_millis(2)), ..Phases::default() },
        address: Some("192.0.2.1".parse().unwrap()),
        http_version: None,
        tls_version: None,
        certificate: None,
        body_bytes: 2,
        redirects: 0,
        attempt_count: 1,
        attempts: Vec::new(),
        evidence: None,
    }
}

pub fn failed(region: &str, seconds: u64, reason: Reason, phase: Phase, message: &str) -> CheckResult {
    let failure = Failure { reason, phase, message: message.to_owned() };
    CheckResult { failure: Some(failure), status_code: None, attempt_count: 2, ..good(region, seconds) }
}

/// Failed by its status.
pub fn bad(region: &str, seconds: u64) -> CheckResult {
    CheckResult { status_code: Some(503), ..failed(region, seconds, Reason::Status, Phase::Expect, "expected 200-299, got 503") }
}

/// Service 1, checked each minute, with further fields as JSON.
pub fn service(fields: serde_json::Value) -> Service {
    let mut document = serde_json::json!({"name": "shop", "base_url": "http://192.0.2.1", "interval_s": 60});
    if let (Some(whole), Some(more)) = (document.as_object_mut(), fields.as_object()) {
        whole.extend(more.clone());
    }
    let document = crate::config::service::ServiceDocument::read(&document).unwrap();
    document.check(ServiceId(1), &Schedule::Interval(Duration::from_secs(60))).unwrap()
}
