//! Results, statistics and the summary.

use std::sync::Arc;
use std::time::Duration;

use probemesh::model::check::{Attempt, Evidence, Failure, Phase, Phases, Reason};
use probemesh::model::id::NodeName;
use probemesh::wire::batch::{BatchHead, encode};
use rocket::http::Method;
use serde_json::{Value, json};

use super::{path, service};
use crate::api_world::{World, bad, good};

#[tokio::test(flavor = "multi_thread")]
async fn results_are_found_by_every_filter_and_a_wrong_one_is_named() {
    let world = World::new().await;
    let operator = world.token("operator").await;
    let token = Some(operator.as_str());
    for name in ["one", "two"] {
        world.service(&operator, service(name)).await;
    }
    let mut results: Vec<_> = (0..20).map(|n| if n % 5 == 0 { bad(1, n, n) } else { good(1, n, n) }).collect();
    results.extend((20..25).map(|n| good(2, n, n)));
    results[3].latency = Duration::from_secs(2);
    world.append(&results).await;
    world.clock.advance(Duration::from_secs(60)).await;
    for (filter, expected) in [
        ("", 25),
        ("service=1", 20),
        ("service=1,2", 25),
        ("service=7", 0),
        ("ok=false", 4),
        ("ok=true&service=2", 5),
        ("reason=status", 4),
        ("reason=dns", 0),
        ("region=local", 25),
        ("region=mars", 0),
        ("status_code=503", 4),
        ("min_latency_ms=1000", 1),
        ("search=GOT%20503", 4),
        ("since=2026-11-22T08:00:10Z", 15),
        ("until=2026-11-22T08:00:10Z", 10),
        ("since=2026-11-22T09:00:10%2B01:00&until=2026-11-22T08:00:12Z", 2),
        ("since=2026-11-22T09:00:10+01:00", 15),
    ] {
        let page = world.get(&format!("/api/monitor/results/?page_size=500&{filter}"), token).await.expect(200);
        assert_eq!(page["count"], Value::Null);
        assert_eq!(page["results"].as_array().map(Vec::len), Some(expected), "{filter}");
    }
    for (filter, field) in [
        ("service=one", "service"),
        ("service=-1", "service"),
        ("since=yesterday", "since"),
        ("until=2026-13-01T00:00:00Z", "until"),
        ("since=2026-11-22T08:00:10Z&until=2026-11-22T08:00:00Z", "until"),
        ("ok=maybe", "ok"),
        ("reason=bad_luck", "reason"),
        ("status_code=abc", "status_code"),
        ("status_code=99", "status_code"),
        ("min_latency_ms=-1", "min_latency_ms"),
        ("min_latency_ms=nan", "min_latency_ms"),
        ("ordering=latency", "ordering"),
        ("page_size=501", "page_size"),
        ("page_size=many", "page_size"),
        ("cursor=nonsense", "cursor"),
        ("serivce=1", "serivce"),
        ("ok=true&ok=false", "ok"),
    ] {
        let refused = world.get(&format!("/api/monitor/results/?{filter}"), token).await;
        assert_eq!(refused.problem(400), [field], "{filter}");
        assert!(refused.json()["detail"].as_str().is_some_and(|detail| detail.contains(field)), "{}", refused.text);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn results_are_paged_both_ways_in_both_orders() {
    let world = World::new().await;
    let viewer = world.token("viewer").await;
    world.append(&(0..23).map(|n| good(1, n, n)).collect::<Vec<_>>()).await;
    for (ordering, newest_first) in [("-checked_at", true), ("checked_at", false)] {
        let mut seen: Vec<String> = Vec::new();
        let mut next = Some(format!("/api/monitor/results/?page_size=5&ordering={ordering}"));
        let mut last = Value::Null;
        while let Some(address) = next {
            last = world.get(&address, Some(&viewer)).await.expect(200);
            let page = last["results"].as_array().expect("a list");
            seen.extend(page.iter().map(|result| result["checked_at"].as_str().unwrap_or_default().to_owned()));
            next = path(&last["next"]);
        }
        let mut expected = seen.clone();
        expected.sort();
        expected.dedup();
        if newest_first {
            expected.reverse();
        }
        assert_eq!((seen.len(), &seen), (23, &expected));
        let back = path(&last["previous"]).expect("there is a page before");
        let page = world.get(&back, Some(&viewer)).await.expect(200);
        assert_eq!(page["results"][4]["checked_at"], json!(seen[19]));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_result_has_its_attempts_and_evidence() {
    let world = World::new().await;
    let operator = world.token("operator").await;
    world.service(&operator, service("one")).await;
    let mut result = bad(1, 1, 1);
    let failure = Failure { reason: Reason::Timeout, phase: Phase::FirstByte, message: "no answer in 10 s".to_owned() };
    let attempt = Attempt {
        offset: Duration::ZERO,
        latency: Duration::from_secs(10),
        phases: Phases::default(),
        status_code: None,
        address: None,
        failure: Some(failure),
    };
    result.attempts = vec![attempt.clone(), attempt];
    result.attempt_count = 2;
    result.evidence = Some(Box::new(Evidence {
        status_line: "HTTP/1.1 503 Service Unavailable".to_owned(),
        headers: vec![("server".to_owned(), "nginx".to_owned())],
        body: "busy".to_owned(),
        ..Evidence::default()
    }));
    world.append(&[result]).await;
    let list = world.get("/api/monitor/results/", Some(&operator)).await.expect(200);
    assert_eq!(list["results"][0]["service_name"], "one");
    let id = list["results"][0]["id"].as_str().expect("it has an id");
    let one = world.get(&format!("/api/monitor/results/{id}/"), Some(&operator)).await.expect(200);
    assert_eq!(one["evidence"]["status_line"], "HTTP/1.1 503 Service Unavailable");
    assert_eq!(one["evidence"]["headers"], json!([{"name": "server", "value": "nginx"}]));
    assert_eq!(one["attempts"].as_array().map(Vec::len), Some(2));
    assert_eq!(one["attempts"][1]["reason"], "timeout");
    assert_eq!(one["phase"], "expect");
    for unknown in ["nonsense", "AAAA", &format!("{id}x")] {
        world.get(&format!("/api/monitor/results/{unknown}"), Some(&operator)).await.problem(404);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn statistics_count_failures_by_reason_and_service_most_first() {
    let world = World::new().await;
    let operator = world.token("operator").await;
    for name in ["fine", "failing"] {
        world.service(&operator, service(name)).await;
    }
    let mut results: Vec<_> = (0..10).map(|n| good(1, n, n)).collect();
    results.extend((10..20).map(|n| if n % 2 == 0 { bad(2, n, n) } else { good(2, n, n) }));
    world.append(&results).await;
    world.clock.advance(Duration::from_secs(600)).await;
    let all = world.get("/api/monitor/results/statistics/", Some(&operator)).await.expect(200);
    assert_eq!((&all["checks"], &all["failures"], &all["error_rate"]), (&json!(20), &json!(5), &json!(0.25)));
    assert_eq!(all["failures_by_reason"], json!({"status": 5}));
    assert_eq!(all["since"], "2026-11-21T08:10:00.000Z");
    assert_eq!(all["services"][0]["service_name"], "failing");
    assert_eq!(all["services"][0]["error_rate"], 0.5);
    assert_eq!(all["services"][1]["failures"], 0);
    let part = "/api/monitor/results/statistics?since=2026-11-22T08:00:15Z&until=2026-11-22T08:00:17Z";
    assert_eq!(world.get(part, Some(&operator)).await.expect(200)["checks"], 2);
    world.clock.advance(Duration::from_secs(2 * 86_400)).await;
    let operator = world.token("operator").await;
    let none = world.get("/api/monitor/results/statistics/", Some(&operator)).await.expect(200);
    assert_eq!((&none["checks"], &none["error_rate"]), (&json!(0), &Value::Null));
    let wrong = world.get("/api/monitor/results/statistics/?since=long+ago", Some(&operator)).await;
    assert_eq!(wrong.problem(400), ["since"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn deleting_keeps_the_history_unless_purged() {
    let world = World::new().await;
    let operator = world.token("operator").await;
    for name in ["kept", "purged"] {
        world.service(&operator, service(name)).await;
    }
    world.append(&[good(1, 1, 1), bad(2, 2, 2)]).await;
    world.send(Method::Delete, "/api/monitor/services/1/", Some(&operator), None).await.expect(204);
    let wrong = world.send(Method::Delete, "/api/monitor/services/2/?purge=perhaps", Some(&operator), None).await;
    assert_eq!(wrong.problem(400), ["purge"]);
    world.send(Method::Delete, "/api/monitor/services/2/?purge=true", Some(&operator), None).await.expect(204);
    let left = world.get("/api/monitor/results/", Some(&operator)).await.expect(200);
    assert_eq!(left["results"].as_array().map(Vec::len), Some(1));
    assert_eq!((&left["results"][0]["service_id"], &left["results"][0]["service_name"]), (&json!(1), &Value::Null));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_summary_has_the_shape_its_readers_know() {
    let world = World::new().await;
    let operator = world.token("operator").await;
    for name in ["heard", "unheard"] {
        world.service(&operator, service(name)).await;
    }
    world.show_services();
    world.clock.advance(Duration::from_secs(5)).await;
    world.board.fold(&[bad(1, 1, 3)], world.clock.now());
    let summary = world.get("/api/monitor/health/summary/", Some(&operator)).await.expect(200);
    let keys: Vec<&String> = summary.as_object().expect("an object").keys().collect();
    assert_eq!(keys, ["services", "global_digest", "generated_at"]);
    assert_eq!(summary["global_digest"], Value::Null);
    assert_eq!(summary["generated_at"], "2026-11-22T08:00:05.000Z");
    let heard = &summary["services"][0];
    assert_eq!((&heard["service_id"], &heard["service_name"], &heard["latest_digest"]), (&json!(1), &json!("heard"), &Value::Null));
    let latest = json!({"status_code": 503, "ok": false, "latency_ms": 12.345, "checked_at": "2026-11-22T08:00:03.000Z"});
    assert_eq!(heard["latest_check"], latest);
    assert_eq!(heard["verdict"], "down");
    assert_eq!(heard["regions"][0]["status"], "down");
    assert_eq!(heard["regions"][0]["message"], "expected 200-299, got 503");
    assert_eq!(heard["uptime"]["ratio"], 0.0);
    let unheard = &summary["services"][1];
    assert_eq!((&unheard["latest_check"], &unheard["verdict"]), (&Value::Null, &json!("unknown")));
    assert_eq!(unheard["uptime"]["ratio"], Value::Null);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_clock_shows_and_does_not_reorder_history() {
    let world = World::new().await;
    let operator = world.token("operator").await;
    world.service(&operator, service("one")).await;
    world.append(&[good(1, 1, 60), good(1, 2, 120)]).await;
    // Made between these two, by a node an hour ahead.
    let mut ahead = good(1, 1, 3600 + 90);
    ahead.id.node = NodeName::from("ahead");
    let head = BatchHead::new(&ahead.id.node, &ahead.region, ahead.id.boot, 1, 0);
    let batch: Arc<[u8]> = encode(&head, &[ahead]).into();
    world.store.results.append_all(&[batch], Some(3_600_000_000)).await.unwrap();
    let page = world.get("/api/monitor/results/?service=1", Some(&operator)).await.expect(200);
    let shown: Vec<_> =
        page["results"].as_array().unwrap().iter().map(|result| (&result["checked_at"], &result["clock_offset_ms"])).collect();
    let [last, middle, first] = shown.as_slice() else { panic!("{page}") };
    assert_eq!((*last.0 == "2026-11-22T08:02:00.000Z", last.1.is_null()), (true, true), "{last:?}");
    assert_eq!((*middle.0 == "2026-11-22T08:01:30.000Z", middle.1.as_f64()), (true, Some(3_600_000.0)), "{middle:?}");
    assert!(first.1.is_null());
    let id = page["results"][1]["id"].as_str().unwrap();
    let one = world.get(&format!("/api/monitor/results/{id}/"), Some(&operator)).await.expect(200);
    assert_eq!((&one["clock_offset_ms"], &one["node"]), (&page["results"][1]["clock_offset_ms"], &"ahead".into()));
}
