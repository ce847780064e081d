//! Every reason of failure, from a target that gives cause for it; and every expectation.

use std::time::Duration;

use probemesh::demo::names;
use probemesh::demo::plan::Plan;
use probemesh::demo::servers::Stage;
use probemesh::model::check::{Phase, Reason};
use serde_json::{Value, json};

use super::*;
use crate::target::{Reply, Target};

#[tokio::test]
async fn an_unknown_name_is_a_dns_failure() {
    let result = check(json!({"base_url": "http://nowhere.test"})).await;
    assert_eq!(reason(&result), Some(Reason::Dns));
    assert_eq!(message(&result), "there is no host nowhere.test");
    assert_eq!(result.failure.expect("it failed").phase, Phase::Dns);
    assert!(result.phases.dns.is_some() && result.phases.connect.is_none());
}

#[tokio::test]
async fn name_servers_that_are_named_are_asked_in_place_of_the_systems() {
    let stage = Arc::new(Stage::new(Plan::new(1, Duration::from_secs(240)), Clock::real()));
    let (server, _serving) = names::serve(stage).await.expect("a port");
    let probes = Probes::new(&ProbeSettings { name_servers: vec![server], ..settings() }, Clock::real()).expect("sound settings");
    let target = Target::plain(|_| Reply::text(200, "")).await;
    let check = async |host: &str| probes.check(&service(json!({"base_url": target.url("http", host)})), order()).await;
    let known = check("docs.demo.test").await;
    assert_eq!(reason(&known), None, "{:?}", known.failure);
    assert!(known.phases.dns.is_some_and(|dns| dns >= Duration::from_millis(1)), "{:?}", known.phases);
    assert_eq!(message(&check("nobody.demo.test").await), "there is no host nobody.demo.test");
}

#[tokio::test]
async fn a_refused_connection_is_a_connect_failure() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("it is bound").port();
    let result = check(json!({"base_url": format!("http://web.test:{port}")})).await;
    assert_eq!(reason(&result), Some(Reason::Connect));
    assert_eq!(message(&result), "connection refused");
    assert_eq!(result.failure.expect("it failed").phase, Phase::Connect);
    assert_eq!(result.address, Some("127.0.0.1".parse().expect("an address")));
}

#[tokio::test]
async fn what_is_not_http_is_a_protocol_failure() {
    for raw in ["SSH-2.0-OpenSSH_9.9\r\n", "", "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf"] {
        let target = Target::plain(move |_| Reply::raw(raw.as_bytes())).await;
        let result = check(json!({"base_url": target.url("http", "web.test")})).await;
        assert_eq!(reason(&result), Some(Reason::Protocol), "{raw:?}: {}", message(&result));
        println!("{raw:?}: {}", message(&result));
    }
}

#[tokio::test]
async fn a_plain_server_behind_an_https_address_is_a_tls_failure() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("it is bound").port();
    tokio::spawn(async move {
        use tokio::io::AsyncWriteExt;
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
            std::future::pending::<()>().await;
        }
    });
    let result = check(json!({"base_url": format!("https://web.test:{port}")})).await;
    assert_eq!(reason(&result), Some(Reason::Tls));
    assert_eq!(message(&result), "the server does not speak TLS on this port");
}

#[tokio::test]
async fn a_blocked_network_is_not_reached_by_name_literal_or_redirect() {
    let inside = Target::plain(|_| Reply::text(200, "secret")).await;
    let port = inside.address.port();
    let outside = Target::start(
        "127.0.0.2".parse().expect("an address"),
        None,
        Default::default(),
        Arc::new(move |_| Reply::redirect(302, format!("http://web.test:{port}/"))),
    )
    .await;
    let settings = ProbeSettings { blocked_networks: vec!["127.0.0.1/32".to_owned()], ..settings() };
    let hosts = Hosts::default().with("web.test", &["127.0.0.1"], Duration::ZERO).with("out.test", &["127.0.0.2"], Duration::ZERO);
    let probes = Probes::with_lookup(&settings, Clock::real(), Arc::new(hosts)).expect("sound settings");
    for url in [
        inside.url("http", "web.test"),
        inside.url("http", "127.0.0.1"),
        inside.url("http", "[::ffff:127.0.0.1]"),
        outside.url("http", "out.test"),
        outside.url("http", "127.0.0.2"),
    ] {
        let result = probes.check(&service(json!({"base_url": url})), order()).await;
        assert_eq!(reason(&result), Some(Reason::Blocked), "{url}: {}", message(&result));
        println!("{}", message(&result));
    }
    assert_eq!(inside.connections(), 0);
    let proxied = service(json!({"base_url": "http://out.test", "proxy": inside.url("http", "127.0.0.1")}));
    assert_eq!(reason(&probes.check(&proxied, order()).await), Some(Reason::Blocked));
    let kept = service(json!({"base_url": "self", "health_path": "/healthz"}));
    let order = CheckOrder { hub_url: Some(inside.url("http", "127.0.0.1").parse().expect("a URL")), ..order() };
    assert_eq!(probes.check(&kept, order).await.failure, None, "the hub itself may be checked where it listens");
}

#[tokio::test]
async fn the_hub_without_an_address_is_an_internal_failure() {
    let result = check(json!({"base_url": "self", "health_path": "/healthz"})).await;
    assert_eq!(reason(&result), Some(Reason::Internal));
    assert_eq!(message(&result), "the hub's own address is not known yet");
}

#[tokio::test]
async fn an_address_of_the_wrong_family_is_a_dns_failure() {
    let target = Target::plain(|_| Reply::text(200, "ok")).await;
    let literal = check(json!({"base_url": target.url("http", "127.0.0.1"), "ip_family": "6"})).await;
    assert_eq!(reason(&literal), Some(Reason::Dns));
    assert_eq!(message(&literal), "127.0.0.1 is an IPv4 address, but this service is checked over IPv6 alone");
    let named = check(json!({"base_url": target.url("http", "web.test"), "ip_family": "6"})).await;
    assert_eq!(reason(&named), Some(Reason::Dns));
    assert_eq!(message(&named), "web.test has no IPv6 address, only 127.0.0.1");
    assert_eq!(target.connections(), 0);
}

const BODY: &str = r#"{"status": "ok", "queue": {"depth": 17}, "nodes": ["a", "b"], "version": "2.14.0", "ratio": 1.0}"#;

async fn expecting(expect: Value) -> (CheckResult, Vec<(String, bool)>) {
    let target = Target::plain(|_| Reply::text(200, BODY).with("content-type", "application/json").with("x-token", "abc")).await;
    let service = service(json!({"base_url": target.url("http", "web.test"), "expect": expect}));
    let (result, verdicts) = probes().check_verbosely(&service, order()).await;
    let shown = verdicts.iter().map(|verdict| (verdict.what.clone(), verdict.failure.is_none())).collect();
    (result, shown)
}

#[tokio::test]
async fn every_expectation_can_be_met() {
    let (result, verdicts) = expecting(json!({
        "status": ["200-204", 301],
        "headers": [
            {"name": "content-type", "equals": "application/json"},
            {"name": "content-type", "matches": "^application/"},
            {"name": "x-token"},
            {"name": "x-none", "present": false},
        ],
        "body_contains": ["\"ok\"", "queue"],
        "body_not_contains": "error",
        "body_regex": "depth\": \\d+",
        "json": [
            {"path": "$.status", "equals": "ok"},
            {"path": "$.status", "not_equals": "down"},
            {"path": "$.queue.depth", "greater_than": 16},
            {"path": "$.queue.depth", "less_than": 18},
            {"path": "$.nodes", "contains": "b"},
            {"path": "$.nodes[*]", "equals": "b"},
            {"path": "$.version", "matches": "^2\\."},
            {"path": "$.version", "contains": "14"},
            {"path": "$.ratio", "equals": 1},
            {"path": "$.queue"},
            {"path": "$.error", "exists": false},
        ],
        "latency_ms": 30000,
    }))
    .await;
    assert_eq!(result.failure, None);
    let shown: Vec<String> = verdicts.iter().map(|(what, met)| format!("{} {what}", if *met { "ok" } else { "NO" })).collect();
    insta::assert_snapshot!(shown.join("\n"), @r#"
    ok status 200-204, 301
    ok header content-type = "application/json"
    ok header content-type matches /^application//
    ok header x-token present
    ok header x-none absent
    ok body contains "\"ok\""
    ok body contains "queue"
    ok body does not contain "error"
    ok body matches /depth": \d+/
    ok $.status = "ok"
    ok $.status ≠ "down"
    ok $.queue.depth > 16
    ok $.queue.depth < 18
    ok $.nodes contains "b"
    ok $.nodes[*] = "b"
    ok $.version matches /^2\./
    ok $.version contains "14"
    ok $.ratio = 1
    ok $.queue exists
    ok $.error does not exist
    ok latency at most 30 s
    "#);
}

#[tokio::test]
async fn every_expectation_not_met_says_what_was_expected_and_what_came() {
    let cases = [
        json!({"status": [204, "300-399"]}),
        json!({"headers": [{"name": "content-type", "equals": "text/html"}]}),
        json!({"headers": [{"name": "content-type", "matches": "^text/"}]}),
        json!({"headers": [{"name": "x-none"}]}),
        json!({"headers": [{"name": "content-type", "present": false}]}),
        json!({"headers": [{"name": "x-token", "equals": "other"}]}),
        json!({"body_contains": "healthy"}),
        json!({"body_not_contains": "queue"}),
        json!({"body_regex": "^healthy$"}),
        json!({"json": [{"path": "$.status", "equals": "up"}]}),
        json!({"json": [{"path": "$.status", "not_equals": "ok"}]}),
        json!({"json": [{"path": "$.queue.depth", "greater_than": 17}]}),
        json!({"json": [{"path": "$.queue.depth", "less_than": 17}]}),
        json!({"json": [{"path": "$.nodes[*]", "contains": "c"}]}),
        json!({"json": [{"path": "$.version", "matches": "^3"}]}),
        json!({"json": [{"path": "$.error"}]}),
        json!({"json": [{"path": "$.error", "equals": 1}]}),
        json!({"json": [{"path": "$.status", "exists": false}]}),
        json!({"certificate_days": 14}),
    ];
    let mut shown = String::new();
    for expect in cases {
        let (result, _) = expecting(expect).await;
        let failure = result.failure.expect("it is not met");
        assert_eq!(failure.phase, Phase::Expect);
        shown.push_str(&format!("{}: {}\n", failure.reason.name(), failure.message));
    }
    insta::assert_snapshot!(shown, @r#"
    status: expected status 204, 300-399, got 200
    header: expected header content-type to be "text/html", got "application/json"
    header: expected header content-type to match /^text//, got "application/json"
    header: expected header x-none to be present, got no such header
    header: expected header content-type to be absent, got "application/json"
    header: expected header x-token to be [redacted], got [redacted]
    body: expected the body to contain "healthy", got "{\"status\": \"ok\", \"queue\": {\"depth\": 17}, \"nodes\": [\"a\", \"b\"], \"version\": \"2.14.0…" (96 bytes)
    body: expected the body not to contain "queue", got it at byte 18
    body: expected the body to match /^healthy$/, got "{\"status\": \"ok\", \"queue\": {\"depth\": 17}, \"nodes\": [\"a\", \"b\"], \"version\": \"2.14.0…" (96 bytes)
    json: expected $.status to be "up", got "ok"
    json: expected $.status not to be "ok", got "ok"
    json: expected $.queue.depth to be greater than 17, got 17
    json: expected $.queue.depth to be less than 17, got 17
    json: expected $.nodes[*] to contain "c", got "a", "b"
    json: expected $.version to match /^3/, got "2.14.0"
    json: expected $.error to exist, got nothing there
    json: expected $.error to be 1, got nothing there
    json: expected $.status not to exist, got "ok"
    certificate: expected a certificate valid for 14 days, but there was none: the connection is not encrypted
    "#);
}

#[tokio::test]
async fn a_slow_answer_misses_its_latency() {
    let answer = Arc::new(|_: &crate::target::Asked| Reply::text(200, "ok"));
    let delays = crate::target::Delays { head: Duration::from_millis(60), ..Default::default() };
    let target = Target::start("127.0.0.1".parse().expect("an address"), None, delays, answer).await;
    let result = check(json!({"base_url": target.url("http", "web.test"), "expect": {"latency_ms": 50}})).await;
    assert_eq!(reason(&result), Some(Reason::Timeout));
    assert_eq!(result.failure.as_ref().expect("it failed").phase, Phase::Expect);
    assert!(message(&result).starts_with("expected an answer within 50 ms, got it after "), "{}", message(&result));
    assert_eq!(result.status_code, Some(200));
}

#[tokio::test]
async fn a_body_that_is_not_json_fails_as_json() {
    let target = Target::plain(|_| Reply::text(200, "<html>maintenance</html>")).await;
    let result = check(json!({"base_url": target.url("http", "web.test"), "expect": {"json": [{"path": "$.status"}]}})).await;
    assert_eq!(reason(&result), Some(Reason::Json));
    assert_eq!(
        message(&result),
        "expected $.status to exist, but the body is not JSON: expected value at line 1 column 1; got \"<html>maintenance</html>\" (24 bytes)"
    );
}

#[tokio::test]
async fn a_body_beyond_the_cap_fails_only_where_it_is_needed() {
    let target = Target::plain(|_| Reply::text(200, &"x".repeat(100_000))).await;
    let url = target.url("http", "web.test");
    let read = check(json!({"base_url": url, "max_body_bytes": 1000})).await;
    assert_eq!((read.failure, read.body_bytes), (None, 1000));
    let needed = check(json!({"base_url": url, "max_body_bytes": 1000, "expect": {"body_contains": "x"}})).await;
    assert_eq!(reason(&needed), Some(Reason::TooLarge));
    assert_eq!(message(&needed), "the body is larger than 1000 bytes, no more is read");
    let fits = check(json!({"base_url": url, "max_body_bytes": 100_000, "expect": {"body_contains": "x"}})).await;
    assert_eq!((fits.failure, fits.body_bytes), (None, 100_000));
}
