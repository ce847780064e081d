//! What holds for every route: errors, documentation, audit, metrics, headers.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use probemesh::api::events::Event;
use probemesh::config::service::ServiceDocument;
use probemesh::model::check::CheckResult;
use rocket::http::{Header, Method};
use serde_json::json;

use super::{SERVICES, path, service};
use crate::api_world::{PASSWORD, World, answer, bad, good};

/// Method and path of every route for programs: pages and the documentation's own files are for people.
pub fn routes(world: &World) -> Vec<(String, String)> {
    let for_programs = ["/api/", "/healthz", "/readyz", "/metrics", "/openapi.json"];
    let routes = world.client.rocket().routes().map(|route| (route.method.to_string(), route.uri.path().to_owned()));
    routes.filter(|(_, path)| for_programs.iter().any(|start| path.starts_with(start))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_change_and_log_in_is_in_the_audit_log() {
    let world = World::new().await;
    let (operator, admin) = (world.token("operator").await, world.token("admin").await);
    world.post("/api/token/", None, json!({"username": "my-p4ssword", "password": "wr0ng-secret"})).await.problem(401);
    world.service(&operator, service("users")).await;
    let patch = json!({"timeout_s": 2, "headers": {"Cookie": "s3cret"}});
    world.send(Method::Patch, "/api/monitor/services/1/", Some(&operator), Some(patch)).await.expect(200);
    world.send(Method::Delete, "/api/monitor/services/1/", Some(&operator), None).await.expect(204);
    let log = world.get("/api/v1/audit?page_size=4", Some(&admin)).await.expect(200);
    let rows = log["results"].as_array().expect("a list");
    let told: Vec<String> =
        rows.iter().map(|row| format!("{} {} {}", row["who"], row["action"], row["subject"]).replace('"', "")).collect();
    assert_eq!(
        told,
        [
            "operator service.delete service:1",
            "operator service.update service:1",
            "operator service.create service:1",
            "unknown user login.failed token",
        ]
    );
    assert_eq!(log["results"][1]["fields"], json!(["headers", "timeout_s"]));
    assert_eq!(log["results"][1]["address"], "198.51.100.7");
    assert_eq!(log["results"][1]["at"], "2026-11-22T08:00:00.000Z");
    let mut seen = Vec::new();
    let mut next = Some("/api/v1/audit?page_size=3".to_owned());
    while let Some(address) = next {
        let page = world.get(&address, Some(&admin)).await.expect(200);
        assert_eq!(page["count"], log["count"]);
        for secret in ["s3cret", "my-p4ssword", "wr0ng-secret", PASSWORD] {
            assert!(!page.to_string().contains(secret), "{page}");
        }
        seen.extend(page["results"].as_array().expect("a list").iter().map(|row| row["id"].as_u64().unwrap_or(0)));
        next = path(&page["next"]);
    }
    let expected: Vec<u64> = (1..=log["count"].as_u64().expect("a number")).rev().collect();
    assert_eq!(seen, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_mounted_route_is_in_the_openapi_document() {
    let world = World::new().await;
    let document = world.get("/openapi.json", None).await.expect(200);
    assert!(document["openapi"].as_str().is_some_and(|version| version.starts_with("3.1")), "{}", document["openapi"]);
    for (method, path) in routes(&world) {
        let path = path.replace('<', "{").replace('>', "}");
        let operation = &document["paths"][&path][method.to_ascii_lowercase()];
        assert!(operation.is_object(), "{method} {path} is not described");
        assert!(operation["summary"].is_string(), "{method} {path} has no words");
    }
    let properties = document["components"]["schemas"]["ServiceBody"]["properties"].as_object().expect("the service is described");
    // The refusal of an unknown field names those there are.
    let refusal = serde_json::from_value::<ServiceDocument>(json!({"shoe_size": 43})).expect_err("there is no such field").to_string();
    let known = refusal.split("expected one of ").nth(1).expect("it names those there are");
    for field in known.split(", ").map(|field| field.trim_matches(['`', ' '])) {
        assert!(properties.contains_key(field), "{field} is not described");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_documentation_is_served_without_asking_anyone_else() {
    let world = World::new().await;
    let page = world.get("/docs/", None).await;
    assert_eq!((page.status, page.kind.as_str()), (200, "text/html"));
    for outside in ["src=\"http", "href=\"http", "src=\"//", "href=\"//"] {
        assert!(!page.text.contains(outside), "{}", page.text);
    }
    let start = world.get("/docs/swagger-initializer.js", None).await;
    assert!(start.status == 200 && start.text.contains("/openapi.json"), "{}", start.text);
    assert!(page.header("Content-Security-Policy").is_some_and(|policy| policy.contains("default-src 'self'")));
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_can_be_read_from_this_machine_or_with_a_token() {
    let world = World::new().await;
    let operator = world.token("operator").await;
    world.service(&operator, service("quo\"ted")).await;
    world.show_services();
    world.board.fold(&[bad(1, 1, 0)], world.clock.now());
    world.metrics.stored(&[bad(1, 1, 0), good(1, 2, 1)]);
    world.metrics.outbox("node", 3, 4096, 0);
    world.get("/metrics", None).await.problem(401);
    let remote = world.get("/metrics", Some(&operator)).await;
    assert_eq!((remote.status, remote.kind.as_str()), (200, "application/openmetrics-text"));
    let local = answer(world.client.get("/metrics").remote("127.0.0.1:4711".parse().expect("an address")).dispatch().await).await;
    assert_eq!(local.status, 200);
    let forged = world.client.get("/metrics").remote("198.51.100.7:4711".parse().expect("an address"));
    answer(forged.header(Header::new("X-Real-IP", "127.0.0.1")).dispatch().await).await.problem(401);
    check_metrics(&local.text);
    for line in [
        "probemesh_checks_total{region=\"local\",ok=\"false\",reason=\"status\"} 1",
        "probemesh_checks_total{region=\"local\",ok=\"true\",reason=\"\"} 1",
        "probemesh_up{service=\"quo\\\"ted\",region=\"local\"} 0",
        "probemesh_outbox_batches{node=\"node\"} 3",
        "probemesh_batches_stored_total 1",
    ] {
        assert!(local.text.lines().any(|found| found == line), "{line} is not in\n{}", local.text);
    }
    assert!(local.text.contains("route=\"/api/monitor/services\",status=\"201\""), "{}", local.text);
}

/// Every line is a comment or `name{labels} number`, every name was announced once, and the end is marked.
fn check_metrics(text: &str) {
    assert!(text.ends_with("# EOF\n"));
    let mut announced = BTreeSet::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let name = rest.split(' ').next().unwrap_or_default();
            assert!(announced.insert(name.to_owned()), "{name} is announced twice");
        }
        if line.starts_with('#') {
            continue;
        }
        let (series, value) = line.rsplit_once(' ').expect("a value");
        assert!(value.parse::<f64>().is_ok(), "{line}");
        let name = series.split('{').next().unwrap_or_default();
        assert!(announced.iter().any(|known| name.starts_with(known.as_str())), "{name} was not announced");
        assert_eq!(series.contains('{'), series.ends_with('}'), "{line}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_away_is_503_with_a_reason_and_the_rest_goes_on() {
    let world = World::new().await;
    let operator = world.token("operator").await;
    world.service(&operator, service("users")).await;
    world.get("/readyz", None).await.expect(200);
    world.store.database.shutdown().await.expect("it closes");
    for (method, path, body) in [
        (Method::Get, "/readyz", None),
        (Method::Post, SERVICES, Some(service("new"))),
        (Method::Post, "/api/token/", Some(json!({"username": "viewer", "password": PASSWORD}))),
    ] {
        let away = world.send(method, path, Some(&operator), body).await;
        away.problem(503);
        assert!(away.header("Retry-After").is_some() && away.text.contains("store is closed"), "{}", away.text);
    }
    world.get("/healthz", None).await.expect(200);
    world.get("/api/monitor/health/summary/", Some(&operator)).await.expect(200);
    assert_eq!(world.get(SERVICES, Some(&operator)).await.expect(200)["count"], 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_paths_and_methods_are_problems_too() {
    let world = World::new().await;
    let viewer = world.token("viewer").await;
    world.get("/api/nothing/here", Some(&viewer)).await.problem(404);
    let wrong = world.send(Method::Put, SERVICES, Some(&viewer), Some(json!({}))).await;
    wrong.problem(405);
    assert_eq!(wrong.header("Allow"), Some("GET, POST"));
    for id in ["4711", "x", "-1", "4294967296", "%2e%2e"] {
        world.get(&format!("{SERVICES}{id}"), Some(&viewer)).await.problem(404);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slash_at_the_end_makes_no_difference() {
    let world = World::new().await;
    let viewer = world.token("viewer").await;
    for path in ["/api/monitor/services", "/api/monitor/results", "/api/monitor/results/statistics", "/api/monitor/health/summary"] {
        for path in [path.to_owned(), format!("{path}/")] {
            assert_eq!(world.get(&path, Some(&viewer)).await.status, 200, "{path}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_carries_a_request_id_and_careful_headers() {
    let world = World::new().await;
    let ask = async |id: &'static str| answer(world.client.get("/healthz").header(Header::new("X-Request-Id", id)).dispatch().await).await;
    assert_eq!(ask("mine-7").await.header("X-Request-Id"), Some("mine-7"));
    let forged = ask("two words").await;
    let given = forged.header("X-Request-Id").expect("it has one");
    assert!(given.len() == 16 && given.bytes().all(|byte| byte.is_ascii_hexdigit()), "{given}");
    assert_eq!(forged.header("X-Content-Type-Options"), Some("nosniff"));
    assert_eq!(forged.header("Content-Security-Policy"), Some("default-src 'none'; frame-ancestors 'none'"));
    assert_eq!(world.get(SERVICES, None).await.header("Cache-Control"), Some("no-store"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_cluster_is_told_as_a_tree() {
    let world = World::new().await;
    let viewer = world.token("viewer").await;
    let tree = world.get("/api/v1/cluster", Some(&viewer)).await.expect(200);
    assert_eq!(tree["nodes"][0]["actors"][0]["state"], "running");
}

/// What a listener with this query is told of some results, until its token ends.
async fn heard(query: &str, results: &[CheckResult]) -> String {
    let world = World::new().await;
    let viewer = world.token("viewer").await;
    let request = world.client.get(format!("/api/v1/events{query}")).header(Header::new("Authorization", format!("Bearer {viewer}")));
    let response = request.dispatch().await;
    assert_eq!(response.content_type().map(|kind| kind.to_string()), Some("text/event-stream".to_owned()));
    for result in results {
        world.events.send(Arc::new(Event::from(result))).expect("someone listens");
    }
    let mut read = std::pin::pin!(response.into_string());
    // The stream arms its end when it is first read, so time is moved until it has ended.
    loop {
        tokio::select! {
            biased;
            text = &mut read => break text.expect("it is text"),
            () = tokio::task::yield_now() => world.clock.advance(Duration::from_secs(60)).await,
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn events_come_as_they_happen_until_the_token_ends() {
    let text = heard("?service=2", &[good(1, 1, 1), bad(2, 2, 2)]).await;
    assert!(text.contains("event:result") && text.contains("\"service_id\":2"), "{text}");
    assert!(!text.contains("\"service_id\":1"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_shows_many_services_is_told_of_their_results_together() {
    let results = [good(1, 1, 1), bad(2, 2, 2), good(1, 1, 3), good(3, 1, 4)];
    let text = heard("?kinds=checked,verdict", &results).await;
    let told: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("data:")).collect();
    let services: BTreeSet<u32> = told
        .iter()
        .flat_map(|data| {
            serde_json::from_str::<serde_json::Value>(data).expect("it is JSON")["services"].as_array().expect("a list").clone()
        })
        .map(|id| id.as_u64().expect("a number") as u32)
        .collect();
    assert_eq!(services, BTreeSet::from([1, 2, 3]), "{text}");
    assert!(text.contains("event:checked") && !text.contains("event:result"), "{text}");
    let text = heard("?kinds=checked&service=2", &results).await;
    assert!(text.contains(r#"{"services":[2]}"#), "{text}");

    let world = World::new().await;
    let viewer = world.token("viewer").await;
    let refused = world.get("/api/v1/events?kinds=results", Some(&viewer)).await;
    assert_eq!(refused.problem(400), ["kinds"]);
    assert!(refused.text.contains("checked"), "{}", refused.text);
}
