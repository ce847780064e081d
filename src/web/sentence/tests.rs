use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::aggregate::board::Uptime;
use crate::aggregate::sample;
use crate::model::check::{Failure, Phase, Reason};
use crate::model::id::{RegionName, ServiceId};
use crate::web::text::Lang;

fn region(name: &str, status: RegionStatus, reason: Option<Reason>) -> RegionState {
    let failure = reason.map(|reason| Failure { reason, phase: Phase::Tls, message: "it broke".to_owned() });
    let latest = crate::model::check::CheckResult { failure, ..sample::good(name, 0) };
    RegionState {
        region: RegionName::from(name),
        status,
        since: Timestamp::parse("2026-11-22T14:02:00Z").expect("it is a time"),
        latest: Arc::new(latest),
        slow: false,
        silence: None,
        good_certificate: None,
    }
}

fn service(name: &str, verdict: Verdict, regions: Vec<RegionState>) -> ServiceState {
    ServiceState {
        id: ServiceId(1),
        name: name.into(),
        enabled: verdict != Verdict::Disabled,
        group: None,
        tags: Vec::new(),
        verdict,
        beneath: verdict,
        maintenance: None,
        since: None,
        latest: None,
        regions,
        uptime: Uptime { ratio: None, coverage: 0.0, window: Duration::from_secs(86_400) },
    }
}

fn check(services: &[ServiceState], regions: usize, tone: &str, text: &str) {
    let told = sentence(Text(Lang::English), services, regions, |_| None);
    let since = told.since.map(|since| format!(" since {}", since.at.datetime().format("%H:%M"))).unwrap_or_default();
    assert_eq!((told.tone, format!("{}{since}", told.text).as_str()), (tone, text));
}

#[test]
fn the_sentence_says_what_is_known_and_no_more() {
    use RegionStatus::{Down, Unknown, Up};
    let up = |name: &str| service(name, Verdict::Up, vec![region("local", Up, None)]);
    check(&[], 1, "unknown", "Nothing is watched yet");
    check(&[up("Shop")], 1, "up", "Shop is up in 1 region");
    check(&[up("Shop"), up("Mail")], 3, "up", "All 2 services up in 3 regions");
    check(&[up("Shop"), service("Mail", Verdict::Unknown, vec![])], 1, "unknown", "1 of 2 services up, nothing is known of 1");
    check(&[service("Mail", Verdict::Unknown, vec![])], 0, "unknown", "Nothing is known of Mail yet");
    check(&[service("Mail", Verdict::Disabled, vec![])], 1, "disabled", "All services are paused");
    check(&[service("Mail", Verdict::Maintenance, vec![])], 1, "maintenance", "Mail is in maintenance");
    check(&[up("Shop"), service("Mail", Verdict::Disabled, vec![])], 1, "up", "Shop is up in 1 region");

    let tls = |name: &str, status| region(name, status, (status == Down).then_some(Reason::Tls));
    let regions = vec![tls("eu-west", Down), tls("us-east", Up), tls("ap", Unknown)];
    check(&[up("Shop"), service("Payments", Verdict::Down, regions)], 3, "down", "Payments down in eu-west: TLS since 14:02");
    let regions = vec![tls("eu-west", Down), region("us-east", Down, Some(Reason::Dns))];
    check(&[service("Payments", Verdict::Down, regions)], 2, "down", "Payments down in 2 of 2 regions: TLS, DNS since 14:02");
    let slow = RegionState { slow: true, ..region("eu-west", Up, None) };
    check(
        &[service("Payments", Verdict::Degraded, vec![slow, tls("us-east", Up)])],
        2,
        "degraded",
        "Payments degraded in eu-west: slow since 14:02",
    );
    let down = |name: &str| service(name, Verdict::Down, vec![tls("local", Down)]);
    check(&[down("A")], 1, "down", "A down: TLS since 14:02");
    let many = ["A", "B", "C", "D", "E"].map(down);
    check(&many, 1, "down", "5 services down: A, B, C and 2 more");
}
