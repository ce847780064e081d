//! Incidents at the edge: three regions played by the test send batches to a real hub, which is asked through its API.

use std::time::Duration;

use probemesh::model::check::CheckResult;
use probemesh::model::id::{Boot, RegionName, ServiceId};
use probemesh::wire::batch::{BatchHead, encode};
use rocket::http::{Method, Status};
use serde_json::json;

use crate::regions_world::{REGIONS, World, good, node, refused, shop, start};

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_target_is_one_incident_through_a_restart_of_the_hub() {
    let folder = tempfile::tempdir().unwrap();
    let clock = start();
    let mut world = World::open(folder.path(), &clock, 1).await;
    let shop = world.add(shop()).await;
    for region in REGIONS {
        world.feed(region, &[good(shop, region, 0)]).await;
    }
    clock.advance(Duration::from_secs(63)).await;
    for (index, region) in REGIONS.into_iter().enumerate() {
        world.feed(region, &[refused(shop, region, 60 + index as u64)]).await;
    }
    // The clock stands still: nothing polls to find out.
    let line = "connect refused in 3 of 3 regions";
    let found = world.until("the incident with all it knows", |found| found.len() == 1 && found[0]["first_line"] == line).await;
    assert_eq!((&found[0]["severity"], &found[0]["open"]), (&json!("critical"), &json!(true)));
    assert_eq!(found[0]["opened_at"], "2026-11-22T12:01:01.000Z");
    let id = found[0]["id"].as_str().unwrap().to_owned();
    let mut told = world.told();
    // Whoever reads the store may know before the listeners do.
    while told.len() < 2 {
        tokio::task::yield_now().await;
        told.extend(world.told());
    }
    assert_eq!(told, ["opened connect refused in 2 of 3 regions", "updated connect refused in 3 of 3 regions"]);

    let path = format!("/api/v1/incidents/{id}/");
    let (status, taken) = world.ask(Method::Post, &format!("{path}acknowledge/"), None).await;
    assert_eq!((status, &taken["acknowledged_by"]), (Status::Ok, &json!("admin")), "{taken}");
    let (_, again) = world.ask(Method::Post, &format!("{path}acknowledge/"), None).await;
    assert_eq!(again["timeline"], taken["timeline"], "taken on once");
    let (status, noted) = world.ask(Method::Post, &format!("{path}notes/"), Some(json!({"text": "looking at the switch"}))).await;
    assert_eq!(status, Status::Ok, "{noted}");
    let (status, empty) = world.ask(Method::Post, &format!("{path}notes/"), Some(json!({"text": " "}))).await;
    assert_eq!((status, &empty["errors"][0]["field"]), (Status::UnprocessableEntity, &json!("text")));
    let regions = noted["regions"].as_array().unwrap();
    assert_eq!(regions.len(), 3);
    assert_eq!(regions[0]["result"]["attempts"][0]["message"], "connection refused");

    world.stop().await;
    clock.advance(Duration::from_secs(30)).await;
    let mut world = World::open(folder.path(), &clock, 2).await;
    assert_eq!(world.verdict(shop).await, "down");
    clock.advance(Duration::from_secs(30)).await;
    for region in REGIONS {
        world.feed(region, &[refused(shop, region, 120)]).await;
    }
    clock.advance(Duration::from_secs(60)).await;
    for region in REGIONS {
        world.feed(region, &[good(shop, region, 180)]).await;
    }
    let found = world.until("closed", |found| found.iter().all(|incident| incident["open"] == false)).await;
    assert_eq!((found.len(), &found[0]["id"]), (1, &json!(id)));
    assert_eq!((&found[0]["closed_at"], &found[0]["duration_s"]), (&json!("2026-11-22T12:03:00.000Z"), &json!(119.0)));
    let mut told = world.told();
    // Whoever reads the store may know before the listeners do.
    while !told.iter().any(|told| told.starts_with("closed")) {
        tokio::task::yield_now().await;
        told.extend(world.told());
    }
    assert!(told.iter().all(|told| !told.starts_with("opened")), "told again: {told:?}");
    assert_eq!(told.iter().filter(|told| told.starts_with("closed")).count(), 1);
    // A failure of before comes late and opens nothing.
    world.feed("eu-west", &[refused(shop, "eu-west", 119)]).await;
    let detail = world.get(&path).await;
    assert_eq!((detail["open"].as_bool(), detail["acknowledged_by"].as_str()), (Some(false), Some("admin")));
    let kinds: Vec<&str> = detail["timeline"].as_array().unwrap().iter().map(|entry| entry["kind"].as_str().unwrap()).collect();
    for (kind, count) in [("opened", 1), ("acknowledged", 1), ("note", 1), ("closed", 1)] {
        assert_eq!(kinds.iter().filter(|other| **other == kind).count(), count, "{kind} of {kinds:?}");
    }
    assert_eq!(world.get(&format!("/api/v1/incidents/?service={shop}&open=true")).await["count"], 0);
    assert_eq!(world.get("/api/v1/incidents/?severity=critical&since=2026-11-22T12:00:00Z").await["count"], 1);
    assert_eq!(world.get("/api/v1/incidents/?since=2026-11-22T12:03:01Z").await["count"], 0);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_recovered_before_it_could_be_written_is_closed_at_its_own_time() {
    let folder = tempfile::tempdir().unwrap();
    let clock = start();
    let mut world = World::open(folder.path(), &clock, 1).await;
    let shop = world.add(shop()).await;
    clock.advance(Duration::from_secs(61)).await;
    for region in REGIONS {
        world.feed(region, &[refused(shop, region, 60)]).await;
    }
    let id = world.until("opened", |found| found.len() == 1).await[0]["id"].clone();
    // The store gets the recovery past a hub that is not there to see it.
    let store = world.hub.store.clone();
    clock.advance(Duration::from_secs(60)).await;
    for region in REGIONS {
        let head = BatchHead::new(&node(region), &RegionName::from(region), Boot(1), 9, 0);
        store.results.append(&encode(&head, &[good(shop, region, 120)])).await.unwrap();
    }
    drop(store);
    world.stop().await;
    clock.advance(Duration::from_secs(45)).await;
    let world = World::open(folder.path(), &clock, 2).await;
    let found = world.until("closed", |found| found.iter().all(|incident| incident["open"] == false)).await;
    assert_eq!((found.len(), &found[0]["id"], &found[0]["closed_at"]), (1, &id, &json!("2026-11-22T12:02:00.000Z")));
    // The hub makes up for it while it starts, when nobody can listen yet.
    let detail = world.get(&format!("/api/v1/incidents/{}/", id.as_str().unwrap())).await;
    let closed = detail["timeline"].as_array().unwrap().iter().filter(|entry| entry["kind"] == "closed");
    assert_eq!(closed.map(|entry| &entry["at"]).collect::<Vec<_>>(), [&json!("2026-11-22T12:02:00.000Z")]);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_region_alone_is_degraded_and_the_others_are_asked_once() {
    let folder = tempfile::tempdir().unwrap();
    let clock = start();
    let mut world = World::open(folder.path(), &clock, 1).await;
    let shop = world.add(shop()).await;
    for region in REGIONS {
        world.feed(region, &[good(shop, region, 0)]).await;
    }
    clock.advance(Duration::from_secs(61)).await;
    world.feed("eu-west", &[refused(shop, "eu-west", 60)]).await;
    let request = tokio::time::timeout(Duration::from_secs(90), world.link.requests.recv()).await.expect("others are asked").unwrap();
    assert_eq!(request.service, ServiceId(shop as u32));
    assert_eq!(world.verdict(shop).await, "degraded");
    // It goes on failing, and one that was asked fails too: nobody is asked again.
    clock.advance(Duration::from_secs(60)).await;
    world.feed("eu-west", &[refused(shop, "eu-west", 120)]).await;
    world.feed("us-east", &[good(shop, "us-east", 120)]).await;
    world.feed("us-east", &[refused(shop, "us-east", 121)]).await;
    let found = world.until("two of three", |found| found.len() == 1).await;
    assert_eq!(found[0]["first_line"], "connect refused in 2 of 3 regions");
    assert!(world.link.requests.try_recv().is_err());
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_incident_ends_with_its_service() {
    let folder = tempfile::tempdir().unwrap();
    let clock = start();
    let mut world = World::open(folder.path(), &clock, 1).await;
    let shop = world.add(shop()).await;
    world.feed("eu-west", &[refused(shop, "eu-west", 0)]).await;
    world.until("opened", |found| found.len() == 1).await;
    let (status, _) = world.ask(Method::Delete, &format!("/api/monitor/services/{shop}/"), None).await;
    assert_eq!(status, Status::NoContent);
    clock.advance(Duration::from_secs(2)).await;
    let found = world.until("closed", |found| found[0]["open"] == false).await;
    let detail = world.get(&format!("/api/v1/incidents/{}/", found[0]["id"].as_str().unwrap())).await;
    let last = detail["timeline"].as_array().unwrap().last().unwrap().clone();
    assert!(last["text"].as_str().unwrap().starts_with("the service was deleted"), "{last}");
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rollups_and_uptime_are_answered_from_the_running_hour_on() {
    let folder = tempfile::tempdir().unwrap();
    let clock = start();
    let mut world = World::open(folder.path(), &clock, 1).await;
    let shop = world.add(shop()).await;
    for region in ["eu-west", "us-east"] {
        let results: Vec<CheckResult> =
            (0..10).map(|minute| if minute == 4 { refused(shop, region, 240) } else { good(shop, region, minute * 60) }).collect();
        world.feed(region, &results).await;
    }
    clock.advance(Duration::from_secs(600)).await;
    let hours = world.get(&format!("/api/v1/rollups/?service={shop}&resolution=1h")).await;
    let hour = &hours["results"][0];
    assert_eq!((&hour["checks"], &hour["failures"], &hour["failures_by_reason"]), (&json!(20), &json!(2), &json!({"connect": 2})));
    assert_eq!((&hour["up_s"], &hour["down_s"], &hour["unknown_s"]), (&json!(1080.0), &json!(120.0), &json!(0.0)));
    assert_eq!((&hour["uptime"], &hour["coverage"], &hour["latency"]["count"]), (&json!(0.9), &json!(1.0), &json!(18)));
    let p50 = hour["latency"]["p50_ms"].as_f64().unwrap();
    assert!((p50 - 12.0).abs() < 0.13, "{p50}");
    let minutes = world.get(&format!("/api/v1/rollups/?service={shop}&resolution=1m&region=eu-west")).await;
    assert_eq!(minutes["results"].as_array().unwrap().len(), 10);
    let service = world.get(&format!("/api/monitor/services/{shop}/")).await;
    assert_eq!(service["uptime"]["24h"]["ratio"], 0.9);
    let coverage = service["uptime"]["24h"]["coverage"].as_f64().unwrap();
    assert!((coverage - 600.0 / 86_400.0 / (1.0 + 600.0 / 86_400.0)).abs() < 1e-6, "{coverage}");
    let summary = world.get("/api/monitor/health/summary/").await;
    assert_eq!(summary["services"][0]["uptimes"]["90d"]["ratio"], 0.9);
    for wrong in ["?resolution=1h", "?service=1&resolution=2h", "?service=1&resolution=1m&since=2026-01-01T00:00:00Z"] {
        let (status, problem) = world.ask(Method::Get, &format!("/api/v1/rollups/{wrong}"), None).await;
        assert_eq!(status, Status::BadRequest, "{problem}");
    }
    world.stop().await;
}
