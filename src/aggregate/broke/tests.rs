use std::sync::Arc;

use super::*;
use crate::aggregate::change::{Silence, SilenceReason};
use crate::aggregate::sample::{NOON, bad, failed, good};
use crate::model::check::Certificate;

fn state(result: CheckResult) -> RegionState {
    RegionState {
        region: result.region.clone(),
        status: if result.ok() { RegionStatus::Up } else { RegionStatus::Down },
        since: result.started_at,
        latest: Arc::new(result),
        slow: false,
        silence: None,
        good_certificate: None,
    }
}

fn slow_state(result: CheckResult) -> RegionState {
    RegionState { slow: true, ..state(result) }
}

fn silent(result: CheckResult) -> RegionState {
    let silence = Some(Silence { reason: SilenceReason::Lost, since: NOON });
    RegionState { status: RegionStatus::Unknown, silence, ..state(result) }
}

fn tls(region: &str) -> CheckResult {
    failed(region, 0, Reason::Tls, Phase::Tls, "TLS handshake failed: unexpected eof")
}

fn refused(region: &str, address: &str) -> CheckResult {
    let result = failed(region, 0, Reason::Connect, Phase::Connect, "connection refused");
    CheckResult { address: Some(address.parse().unwrap()), ..result }
}

fn timeout(region: &str, phase: Phase, ms: u64) -> CheckResult {
    CheckResult { latency: Duration::from_millis(ms), ..failed(region, 0, Reason::Timeout, phase, "no answer within 10 s") }
}

fn slow_dns(region: &str, ms: u64) -> CheckResult {
    let phases = Phases { dns: Some(Duration::from_millis(ms)), first_byte: Some(Duration::from_millis(90)), ..Phases::default() };
    CheckResult { phases, latency: Duration::from_millis(ms + 100), ..good(region, 0) }
}

fn certificate(fingerprint: &str, from: i64, to: i64) -> Option<Arc<Certificate>> {
    let day = 86_400_000_000;
    Some(Arc::new(Certificate {
        subject: "CN=shop.example".to_owned(),
        issuer: "CN=ca".to_owned(),
        not_before: Timestamp(NOON.0 + from * day),
        not_after: Timestamp(NOON.0 + to * day),
        fingerprint: fingerprint.to_owned(),
    }))
}

fn expired(region: &str) -> CheckResult {
    let result = failed(region, 0, Reason::Certificate, Phase::Tls, "the certificate expired: CN=shop.example");
    CheckResult { certificate: certificate("old", -90, -2), ..result }
}

fn of(region: &str, reason: Reason, phase: Phase, message: &str) -> RegionState {
    state(failed(region, 0, reason, phase, message))
}

#[test]
fn the_line_says_where_it_broke() {
    let up = |region: &str| state(good(region, 0));
    let six = |region: &str| state(refused(region, "2001:db8::1"));
    let status = |region: &str, code: u16| state(CheckResult { status_code: Some(code), ..bad(region, 0) });
    let changed = RegionState { good_certificate: certificate("other", -10, 80), ..state(expired("a")) };
    let table: Vec<(Vec<RegionState>, &str)> = vec![
        (vec![state(tls("a")), state(tls("b")), state(tls("c"))], "TLS handshake fails in 3 of 3 regions"),
        (vec![state(tls("a")), state(tls("b")), up("c")], "TLS handshake fails in 2 of 3 regions"),
        (vec![up("ap-south"), slow_state(slow_dns("eu-west", 2100)), up("us-east")], "only eu-west: DNS takes 2.1 s"),
        (vec![up("a"), state(timeout("eu-west", Phase::Dns, 2100)), up("c")], "only eu-west: DNS takes 2.1 s"),
        (vec![six("a"), six("b"), up("c")], "connect refused over IPv6 only, in 2 of 3 regions"),
        (vec![six("a"), up("b"), up("c")], "only a: connect refused over IPv6 only"),
        (vec![six("a"), six("b"), six("c")], "connect refused in 3 of 3 regions"),
        (vec![state(refused("a", "192.0.2.1")), up("c")], "only a: connect refused"),
        (vec![status("a", 503), status("b", 503), status("c", 503)], "status 503 in 3 of 3 regions"),
        (vec![status("a", 503), status("b", 500), up("c")], "a: status 503; b: status 500"),
        (vec![status("a", 503), status("b", 503), state(tls("c"))], "status 503 in 2 of 3 regions; c: TLS handshake fails"),
        (vec![status("local", 503)], "status 503 in local"),
        (vec![status("a", 503), silent(bad("b", 0)), silent(good("c", 0))], "status 503 in a"),
        (vec![state(expired("a")), state(expired("b"))], "certificate expired on 2026-11-20 in 2 of 2 regions"),
        (vec![changed, up("b")], "only a: certificate expired on 2026-11-20 (another one than before)"),
        (
            vec![of("a", Reason::Certificate, Phase::Tls, "wrong name: the certificate is not valid for x")],
            "certificate is for another name in a",
        ),
        (vec![of("a", Reason::Certificate, Phase::Tls, "unknown issuer of the certificate")], "certificate is not trusted in a"),
        (vec![of("a", Reason::Certificate, Phase::Tls, "the certificate was revoked")], "certificate was revoked in a"),
        (vec![of("a", Reason::Dns, Phase::Dns, "no such name"), up("b")], "only a: DNS fails"),
        (vec![of("a", Reason::Connect, Phase::Connect, "network unreachable"), up("b")], "only a: network unreachable"),
        (vec![of("a", Reason::Connect, Phase::Connect, "the connection was reset by the server")], "connection reset in a"),
        (
            vec![state(timeout("a", Phase::Connect, 10_000)), state(timeout("b", Phase::Connect, 10_004))],
            "connect times out after 10 s in 2 of 2 regions",
        ),
        (vec![state(timeout("a", Phase::Tls, 5000)), up("b")], "only a: TLS handshake times out after 5 s"),
        (vec![state(timeout("a", Phase::FirstByte, 850)), up("b")], "only a: no answer within 850 ms"),
        (vec![state(timeout("a", Phase::Transfer, 10_000)), up("b")], "only a: answer stalls, not whole after 10 s"),
        (
            vec![of("a", Reason::Header, Phase::Expect, "x"), of("b", Reason::Header, Phase::Expect, "y")],
            "header not as expected in 2 of 2 regions",
        ),
        (vec![of("a", Reason::Body, Phase::Expect, "x")], "body not as expected in a"),
        (vec![of("a", Reason::Json, Phase::Expect, "x")], "JSON not as expected in a"),
        (vec![of("a", Reason::TooLarge, Phase::Transfer, "x")], "answer too large in a"),
        (vec![of("a", Reason::Redirect, Phase::FirstByte, "x")], "redirect not as expected in a"),
        (vec![of("a", Reason::Blocked, Phase::Connect, "x")], "address is blocked for checks in a"),
        (vec![of("a", Reason::Protocol, Phase::FirstByte, "x")], "answer is not valid HTTP in a"),
        (vec![of("a", Reason::Internal, Phase::Dns, "x")], "the check itself fails in a"),
        (vec![slow_state(good("a", 0)), slow_state(good("b", 0))], "answer takes 20 ms in 2 of 2 regions"),
        (vec![slow_state(good("a", 0)), status("b", 503), up("c")], "only b: status 503"),
        (
            vec![status("a", 500), status("b", 501), status("c", 502), status("d", 503)],
            "a: status 500; b: status 501; c: status 502; 1 more",
        ),
    ];
    for (regions, expected) in table {
        assert_eq!(first_line(&regions).as_deref(), Some(expected));
    }
    assert_eq!(first_line(&[up("a"), silent(bad("b", 0))]), None);
    assert_eq!(first_line(&[]), None);
    assert_eq!(in_region(&status("a", 503)).as_deref(), Some("status 503"));
}
