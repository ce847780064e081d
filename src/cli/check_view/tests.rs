use std::sync::Arc;

use super::*;
use crate::config::service::ServiceDocument;
use crate::model::check::{HttpVersion, Reason, TlsVersion};
use crate::model::id::{Boot, CheckId, ServiceId};
use crate::model::service::Schedule;

const NOW: Timestamp = Timestamp(1_790_000_000_000_000);

fn service(url: &str) -> Service {
    let document = json!({"name": "UsersAPI", "base_url": url, "health_path": "/health"});
    let document = ServiceDocument::read(&document).expect("a document");
    document.check(ServiceId(1), &Schedule::Interval(Duration::from_secs(60))).expect("a sound service")
}

fn micros(micros: u64) -> Option<Duration> {
    Some(Duration::from_micros(micros))
}

fn certificate(subject: &str, issuer: &str) -> Certificate {
    Certificate {
        subject: subject.to_owned(),
        issuer: issuer.to_owned(),
        not_before: NOW.minus(Duration::from_secs(26 * 86_400)),
        not_after: NOW.plus(Duration::from_secs(64 * 86_400)),
        fingerprint: "ab".repeat(32),
    }
}

fn up() -> CheckResult {
    CheckResult {
        id: CheckId { node: "node-1".into(), boot: Boot(3), seq: 42 },
        service: ServiceId(1),
        region: "local".into(),
        scheduled_at: NOW,
        started_at: NOW,
        latency: Duration::from_micros(165_900),
        elapsed: Duration::from_micros(166_400),
        status_code: Some(200),
        failure: None,
        phases: Phases {
            dns: micros(12_300),
            connect: micros(24_100),
            tls: micros(48_900),
            first_byte: micros(80_200),
            transfer: micros(400),
        },
        address: "93.184.216.34".parse().ok(),
        http_version: Some(HttpVersion::Http2),
        tls_version: Some(TlsVersion::Tls13),
        certificate: Some(Arc::new(certificate("CN=api.example.com", "C=US, O=Let's Encrypt, CN=R11"))),
        body_bytes: 1234,
        redirects: 1,
        attempt_count: 1,
        attempts: Vec::new(),
        evidence: None,
        clock_offset: 0,
    }
}

fn met(what: &str) -> Verdict {
    Verdict { what: what.to_owned(), failure: None }
}

fn down() -> (CheckResult, Vec<Verdict>) {
    let message = "expected $.status to be \"ok\", got \"degraded\"";
    let failure = Failure { reason: Reason::Json, phase: Phase::Expect, message: message.to_owned() };
    let late =
        Failure { reason: Reason::Timeout, phase: Phase::FirstByte, message: "no answer within 10 s (waiting for first byte)".to_owned() };
    let mut result = up();
    let cut_off = Phases { first_byte: micros(9_914_000), transfer: None, ..result.phases };
    result.failure = Some(failure.clone());
    result.attempt_count = 2;
    result.elapsed = Duration::from_micros(10_312_345);
    result.attempts = vec![
        Attempt {
            offset: Duration::ZERO,
            latency: Duration::from_secs(10),
            phases: cut_off,
            status_code: None,
            address: result.address,
            failure: Some(late),
        },
        Attempt {
            offset: Duration::from_micros(10_146_000),
            latency: result.latency,
            phases: result.phases,
            status_code: Some(200),
            address: result.address,
            failure: Some(failure.clone()),
        },
    ];
    result.evidence = Some(Box::new(Evidence {
        status_line: "HTTP/2 200 OK".to_owned(),
        headers: vec![("content-type".to_owned(), "application/json".to_owned()), ("set-cookie".to_owned(), "[redacted]".to_owned())],
        body: "{\n  \"status\": \"degraded\",\n  \"note\": \"\u{1b}[2Jgone\",\n  \"a\": 1,\n  \"b\": 2\n}\n".to_owned(),
        chain: vec![certificate("CN=api.example.com", "CN=R11"), certificate("CN=R11", "CN=ISRG Root X1")],
        addresses: vec!["93.184.216.34".parse().expect("an address"), "2606:2800:21f::1".parse().expect("an address")],
    }));
    let verdicts =
        vec![met("status 200-299"), Verdict { what: "$.status = \"ok\"".to_owned(), failure: Some(failure) }, met("latency at most 2 s")];
    (result, verdicts)
}

#[test]
fn a_check_that_is_up_is_drawn() {
    let verdicts = [met("status 200-299"), met("certificate valid for 14 days")];
    let page = render(&service("https://api.example.com"), &up(), &verdicts, NOW, false);
    insta::assert_snapshot!(page, @r#"
    UsersAPI
      GET https://api.example.com/health
      93.184.216.34 · HTTP/2 · TLS 1.3 · 200 OK · 1.2 kB · 1 redirect

      dns           12.3 ms  ███▉
      connect       24.1 ms     ███████▌
      tls           48.9 ms             ███████████████▍
      first byte    80.2 ms                            █████████████████████████▏
      transfer       0.4 ms                                                     ▏
      total        165.9 ms

      certificate
        CN=api.example.com
        issued by C=US, O=Let's Encrypt, CN=R11
        64 days left, until 2026-11-24

      expectations
        ✓ status 200-299
        ✓ certificate valid for 14 days

    ✓ up in 165.9 ms
    "#);
}

#[test]
fn a_check_that_is_not_up_shows_attempts_and_answer() {
    let (result, verdicts) = down();
    let page = render(&service("https://api.example.com?api_key=hush&page=1"), &result, &verdicts, NOW, false);
    insta::assert_snapshot!(page, @r#"
    UsersAPI
      GET https://api.example.com/health?api_key=[redacted]&page=1
      93.184.216.34 · HTTP/2 · TLS 1.3 · 200 OK · 1.2 kB · 1 redirect

      dns           12.3 ms  ███▉
      connect       24.1 ms     ███████▌
      tls           48.9 ms             ███████████████▍
      first byte    80.2 ms                            █████████████████████████▏
      transfer       0.4 ms                                                     ▏
      total        165.9 ms

      certificate
        CN=api.example.com
        issued by C=US, O=Let's Encrypt, CN=R11
        64 days left, until 2026-11-24

      attempts
       1      +0.0 ms    10000 ms  ✗ timeout: no answer within 10 s (waiting for …
       2    +10146 ms    165.9 ms  ✗ json: expected $.status to be "ok", got "deg…

      addresses
        93.184.216.34, 2606:2800:21f::1

      chain
        CN=api.example.com
        CN=R11

      answer
        HTTP/2 200 OK
        content-type: application/json
        set-cookie: [redacted]
        │ {
        │   "status": "degraded",
        │   "note": " [2Jgone",
        │   "a": 1,
        │ …

      expectations
        ✓ status 200-299
        ✗ $.status = "ok"
          expected $.status to be "ok", got "degraded"
        ✓ latency at most 2 s

    ✗ not up (json): expected $.status to be "ok", got "degraded", 2 attempts in 10.312 s
    "#);
}

#[test]
fn a_refused_connection_is_short() {
    let mut result = up();
    result.failure = Some(Failure { reason: Reason::Connect, phase: Phase::Connect, message: "connection refused".to_owned() });
    result.phases = Phases { dns: micros(1_200), connect: micros(300), ..Phases::default() };
    result.latency = Duration::from_micros(1_600);
    (result.status_code, result.http_version, result.tls_version, result.certificate) = (None, None, None, None);
    result.redirects = 0;
    let page = render(&service("http://api.example.com"), &result, &[], NOW, false);
    insta::assert_snapshot!(page, @r#"
    UsersAPI
      GET http://api.example.com/health
      93.184.216.34

      dns            1.2 ms  █████████████████████████████████████████▋
      connect        0.3 ms                                           ██████████▍ ✗
      total          1.6 ms

    ✗ not up (connect): connection refused
    "#);
}

#[test]
fn no_line_is_wider_than_a_terminal_and_none_obeyed_by_it() {
    let (mut result, mut verdicts) = down();
    let evidence = result.evidence.as_mut().expect("it has some");
    evidence.headers = (0..40).map(|index| (format!("x-{index}"), "v".repeat(200))).collect();
    evidence.body = "\u{1b}]0;title\u{7}".repeat(90);
    verdicts.push(met(&"w".repeat(300)));
    let page = render(&service("https://api.example.com"), &result, &verdicts, NOW, false);
    let last = page.lines().count() - 1;
    for line in page.lines().take(last) {
        assert!(line.chars().count() <= 80, "{line}");
    }
    assert!(!page.contains('\u{1b}') && !page.contains('\u{7}'));
}

#[test]
fn colours_change_nothing_but_colour() {
    let (result, verdicts) = down();
    let service = service("https://api.example.com");
    let painted = render(&service, &result, &verdicts, NOW, true);
    assert!(painted.contains("\u{1b}[31m✗ not up\u{1b}[0m"));
    let codes = regex::Regex::new("\u{1b}\\[\\d+m").expect("a sound pattern");
    assert_eq!(codes.replace_all(&painted, ""), render(&service, &result, &verdicts, NOW, false));
}

#[test]
fn a_script_gets_everything() {
    let (result, verdicts) = down();
    let value = to_json(&service("https://api.example.com"), &result, &verdicts, NOW);
    insta::assert_snapshot!(format!("{value:#}"), @r#"
    {
      "check": "node-1/3/42",
      "service_id": 1,
      "service": "UsersAPI",
      "method": "GET",
      "url": "https://api.example.com/health",
      "region": "local",
      "checked_at": "2026-09-21T14:13:20.000Z",
      "ok": false,
      "reason": "json",
      "phase": "expect",
      "message": "expected $.status to be \"ok\", got \"degraded\"",
      "status_code": 200,
      "latency_ms": 165.9,
      "elapsed_ms": 10312.345,
      "phases": {
        "dns_ms": 12.3,
        "connect_ms": 24.1,
        "tls_ms": 48.9,
        "first_byte_ms": 80.2,
        "transfer_ms": 0.4
      },
      "address": "93.184.216.34",
      "http_version": "HTTP/2",
      "tls_version": "TLS 1.3",
      "certificate": {
        "subject": "CN=api.example.com",
        "issuer": "C=US, O=Let's Encrypt, CN=R11",
        "not_before": "2026-08-26T14:13:20.000Z",
        "not_after": "2026-11-24T14:13:20.000Z",
        "days_left": 64,
        "fingerprint": "abababababababababababababababababababababababababababababababab"
      },
      "body_bytes": 1234,
      "redirects": 1,
      "attempt_count": 2,
      "attempts": [
        {
          "offset_ms": 0.0,
          "latency_ms": 10000.0,
          "ok": false,
          "reason": "timeout",
          "phase": "first_byte",
          "message": "no answer within 10 s (waiting for first byte)",
          "status_code": null,
          "address": "93.184.216.34",
          "phases": {
            "dns_ms": 12.3,
            "connect_ms": 24.1,
            "tls_ms": 48.9,
            "first_byte_ms": 9914.0,
            "transfer_ms": null
          }
        },
        {
          "offset_ms": 10146.0,
          "latency_ms": 165.9,
          "ok": false,
          "reason": "json",
          "phase": "expect",
          "message": "expected $.status to be \"ok\", got \"degraded\"",
          "status_code": 200,
          "address": "93.184.216.34",
          "phases": {
            "dns_ms": 12.3,
            "connect_ms": 24.1,
            "tls_ms": 48.9,
            "first_byte_ms": 80.2,
            "transfer_ms": 0.4
          }
        }
      ],
      "expectations": [
        {
          "what": "status 200-299",
          "ok": true,
          "reason": null,
          "message": null
        },
        {
          "what": "$.status = \"ok\"",
          "ok": false,
          "reason": "json",
          "message": "expected $.status to be \"ok\", got \"degraded\""
        },
        {
          "what": "latency at most 2 s",
          "ok": true,
          "reason": null,
          "message": null
        }
      ],
      "evidence": {
        "status_line": "HTTP/2 200 OK",
        "headers": [
          [
            "content-type",
            "application/json"
          ],
          [
            "set-cookie",
            "[redacted]"
          ]
        ],
        "body": "{\n  \"status\": \"degraded\",\n  \"note\": \"\u001b[2Jgone\",\n  \"a\": 1,\n  \"b\": 2\n}\n",
        "chain": [
          {
            "subject": "CN=api.example.com",
            "issuer": "CN=R11",
            "not_before": "2026-08-26T14:13:20.000Z",
            "not_after": "2026-11-24T14:13:20.000Z",
            "days_left": 64,
            "fingerprint": "abababababababababababababababababababababababababababababababab"
          },
          {
            "subject": "CN=R11",
            "issuer": "CN=ISRG Root X1",
            "not_before": "2026-08-26T14:13:20.000Z",
            "not_after": "2026-11-24T14:13:20.000Z",
            "days_left": 64,
            "fingerprint": "abababababababababababababababababababababababababababababababab"
          }
        ],
        "addresses": [
          "93.184.216.34",
          "2606:2800:21f::1"
        ]
      }
    }
    "#);
}
