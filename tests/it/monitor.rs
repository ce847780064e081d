//! What a user of the running monitor sees: services checked, edited, stopped; probes that fail; a hub that is away.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rocket::http::{Method, Status};
use serde_json::{Value, json};

use crate::target::{Reply, Target};
use crate::world::World;

/// Small, so that the clock does not run ahead of what really happens where the computer is busy.
const STEP: Duration = Duration::from_millis(20);

async fn steady() -> Target {
    Target::plain(|_| Reply::text(200, "{\"status\":\"UP\"}")).await
}

#[rocket::async_test]
async fn a_service_added_by_the_api_is_checked_within_two_seconds() {
    let (world, target) = (World::start().await, steady().await);
    let before = world.clock.now();
    let id = world.add(json!({"name": "api", "base_url": target.url("http", "127.0.0.1"), "interval_s": 60})).await;
    let state = world
        .until(STEP, "the first result on the summary", async |world| {
            let summary = world.get("/api/monitor/health/summary/").await;
            let service = summary["services"].as_array()?.iter().find(|service| service["service_id"] == id)?.clone();
            service["latest_check"].is_object().then_some(service)
        })
        .await;
    assert!(world.clock.now().since(before) <= Duration::from_secs(20), "took {:?}", world.clock.now().since(before));
    assert_eq!((state["verdict"].as_str(), &state["latest_check"]["ok"]), (Some("up"), &json!(true)));
    assert_eq!(state["service_name"], "api");
    world.finish().await;
}

#[rocket::async_test]
async fn an_edit_is_probed_as_edited_within_two_seconds() {
    let (world, target) = (World::start().await, steady().await);
    let url = target.url("http", "127.0.0.1");
    let id = world.add(json!({"name": "api", "base_url": url, "health_path": "/old", "interval_s": 3600})).await;
    world.until(STEP, "the first check", async |_| target.asked().iter().any(|asked| asked.path == "/old").then_some(())).await;
    let before = world.clock.now();
    let (status, _) = world.ask(Method::Patch, &format!("/api/monitor/services/{id}/"), Some(json!({"health_path": "/new"}))).await;
    assert_eq!(status, Status::Ok);
    world.until(STEP, "a check as edited", async |_| target.asked().iter().any(|asked| asked.path == "/new").then_some(())).await;
    assert!(world.clock.now().since(before) <= Duration::from_secs(20));
    world.finish().await;
}

#[rocket::async_test]
async fn an_edit_does_not_wait_for_a_target_that_hangs() {
    let (world, target) = (World::start().await, steady().await);
    let hanging = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", hanging.local_addr().unwrap());
    let id = world.add(json!({"name": "api", "base_url": url, "interval_s": 60, "timeout_s": 120})).await;
    world
        .until(STEP, "a check in flight", async |world| world.get("/api/v1/cluster").await.to_string().contains("checking").then_some(()))
        .await;
    let before = world.clock.now();
    let edit = json!({"base_url": target.url("http", "127.0.0.1")});
    world.ask(Method::Patch, &format!("/api/monitor/services/{id}/"), Some(edit)).await;
    world.until(STEP, "a check as edited", async |_| (!target.asked().is_empty()).then_some(())).await;
    assert!(world.clock.now().since(before) <= Duration::from_secs(20));
    world.until(STEP, "its result", async |world| (world.results(id).await.len() == 1).then_some(())).await;
    drop(hanging);
    world.finish().await;
}

#[rocket::async_test]
async fn a_disabled_service_is_not_checked_and_a_deleted_one_keeps_its_history() {
    let (world, target) = (World::start().await, steady().await);
    let id = world.add(json!({"name": "api", "base_url": target.url("http", "127.0.0.1"), "interval_s": 1})).await;
    world.until(STEP, "two results", async |world| (world.results(id).await.len() >= 2).then_some(())).await;
    let path = format!("/api/monitor/services/{id}/");
    world.ask(Method::Patch, &path, Some(json!({"enabled": false}))).await;
    world
        .until(STEP, "no prober", async |world| (!world.get("/api/v1/cluster").await.to_string().contains("prober 1 api")).then_some(()))
        .await;
    let asked = target.asked().len();
    for _ in 0..50 {
        world.clock.advance(STEP).await;
    }
    assert_eq!(target.asked().len(), asked, "a disabled service was checked");
    assert_eq!(world.get("/api/monitor/health/summary/").await["services"][0]["verdict"], "disabled");

    assert_eq!(world.ask(Method::Delete, &path, None).await.0, Status::NoContent);
    assert_eq!(world.ask(Method::Get, &path, None).await.0, Status::NotFound);
    assert!(world.results(id).await.len() >= 2, "the history is kept unless asked otherwise");
    world.finish().await;
}

#[rocket::async_test]
async fn purging_takes_the_history_too() {
    let (world, target) = (World::start().await, steady().await);
    let id = world.add(json!({"name": "api", "base_url": target.url("http", "127.0.0.1"), "interval_s": 1})).await;
    world.until(STEP, "two results", async |world| (world.results(id).await.len() >= 2).then_some(())).await;
    let (status, _) = world.ask(Method::Delete, &format!("/api/monitor/services/{id}/?purge=true"), None).await;
    assert_eq!(status, Status::NoContent);
    world.until(STEP, "an empty history", async |world| world.results(id).await.is_empty().then_some(())).await;
    world.finish().await;
}

#[rocket::async_test]
async fn checking_now_answers_with_what_was_seen_and_stores_it() {
    let (world, target) = (World::start().await, steady().await);
    let id = world.add(json!({"name": "api", "base_url": target.url("http", "127.0.0.1"), "interval_s": 3600})).await;
    world.until(STEP, "the first result", async |world| (world.results(id).await.len() == 1).then_some(())).await;
    let clock = world.clock.clone();
    let moving = tokio::spawn(async move {
        loop {
            clock.advance(Duration::from_millis(20)).await;
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    });
    let (status, answer) = world.ask(Method::Post, &format!("/api/monitor/services/{id}/check/"), None).await;
    moving.abort();
    assert_eq!(status, Status::Ok, "{answer}");
    assert_eq!((&answer["ok"], &answer["results"][0]["status_code"]), (&json!(true), &json!(200)), "{answer}");
    world.until(STEP, "two results", async |world| (world.results(id).await.len() == 2).then_some(())).await;
    world.finish().await;
}

#[rocket::async_test]
async fn a_verdict_follows_its_results_and_every_retry_is_kept() {
    let healthy = Arc::new(AtomicBool::new(true));
    let says = healthy.clone();
    let target =
        Target::plain(move |_| if says.load(Ordering::Relaxed) { Reply::text(200, "fine") } else { Reply::text(503, "overloaded") }).await;
    let world = World::start().await;
    let id = world
        .add(json!({"name": "api", "base_url": target.url("http", "127.0.0.1"), "interval_s": 1, "retries": 1, "backoff": {"initial_ms": 10, "max_ms": 10}}))
        .await;
    let verdict = async |world: &World, wanted: &str| {
        let summary = world.get("/api/monitor/health/summary/").await;
        (summary["services"][0]["verdict"] == wanted).then_some(())
    };
    world.until(STEP, "up", async |world| verdict(world, "up").await).await;
    healthy.store(false, Ordering::Relaxed);
    world.until(STEP, "down", async |world| verdict(world, "down").await).await;
    healthy.store(true, Ordering::Relaxed);
    world.until(STEP, "up again", async |world| verdict(world, "up").await).await;
    let failed = world.get(&format!("/api/monitor/results/?service={id}&ok=false")).await;
    let first = &failed["results"][0];
    let whole = world.get(&format!("/api/monitor/results/{}/", first["id"].as_str().unwrap())).await;
    assert_eq!(whole["attempts"].as_array().map(Vec::len), Some(2), "{whole:#}");
    assert!(whole.to_string().contains("overloaded"), "the evidence holds the body: {whole:#}");
    world.finish().await;
}

#[cfg(debug_assertions)]
#[rocket::async_test]
async fn a_probe_that_panics_is_restarted_then_quarantined_and_nobody_else_notices() {
    let (world, target) = (World::start().await, steady().await);
    let url = target.url("http", "127.0.0.1");
    let good = world.add(json!({"name": "good", "base_url": url, "interval_s": 1})).await;
    let bad = world.add(json!({"name": "bad", "base_url": url, "interval_s": 1, "kind": "panic"})).await;
    let prober = |tree: &Value, name: &str| -> Value {
        let children = tree["nodes"][1]["actors"][0]["children"][0]["children"].as_array().unwrap();
        children.iter().find(|child| child["name"].as_str().unwrap().ends_with(name)).unwrap().clone()
    };
    let seen = world
        .until(STEP, "quarantine", async |world| {
            let prober = prober(&world.get("/api/v1/cluster").await, "bad");
            (prober["state"] == "quarantined").then_some(prober)
        })
        .await;
    assert_eq!(seen["restarts"], 9, "eight restarts and the failure past the budget: {seen}");
    assert!(seen["last_error"].as_str().unwrap().contains("panicked"), "{seen}");
    assert!(world.results(bad).await.is_empty());
    // The other kept its second the whole time: none left out, each begun within a step of the test's clock.
    let of = |result: &Value, field: &str| probemesh::model::time::Timestamp::parse(result[field].as_str().unwrap()).unwrap().0;
    let kept = world.results(good).await;
    assert!(kept.iter().all(|result| (0..=100_000).contains(&(of(result, "checked_at") - of(result, "scheduled_at")))), "{kept:#?}");
    let mut times: Vec<i64> = kept.iter().map(|result| of(result, "scheduled_at")).collect();
    times.sort_unstable();
    assert!(times.len() > 3, "{times:?}");
    // The first lies off the grid of the seconds.
    let gaps: Vec<i64> = times.windows(2).skip(1).map(|pair| pair[1] - pair[0]).collect();
    assert!(gaps.iter().all(|gap| *gap == 1_000_000), "{gaps:?}");
    // An edit is a new chance.
    world.ask(Method::Patch, &format!("/api/monitor/services/{bad}/"), Some(json!({"kind": "http"}))).await;
    world.until(STEP, "the mended service checked", async |world| (!world.results(bad).await.is_empty()).then_some(())).await;
    world.finish().await;
}
