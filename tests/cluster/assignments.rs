//! What nodes are to check: changed while they run, and known to them while the hub is away.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::ledger::{hold_against, stored};
use crate::world::{PATIENCE, World};

#[tokio::test]
async fn a_service_that_is_edited_is_probed_as_edited_in_every_region_within_seconds() {
    let nodes = ["ap-1", "eu-1", "us-1"];
    let mut world = World::start(&nodes).await;
    let service = json!({"name": "api", "base_url": world.target.url(), "interval_s": 1, "retries": 0});
    let service = world.add(service).await;
    for region in ["ap", "eu", "us"] {
        world.region_status(service, region, "up").await;
    }
    let began = Instant::now();
    world.ask("PATCH", &format!("api/monitor/services/{service}/"), json!({"health_path": "/noted/edited"})).await;
    loop {
        let askers = world.target.askers_of("/noted/edited");
        if nodes.iter().all(|node| askers.iter().any(|asker| asker == node)) {
            break;
        }
        assert!(began.elapsed() < PATIENCE, "only {askers:?} ask");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    world.tell(&format!("probed as edited in all regions {:.2?} after the edit; 2 s are promised", began.elapsed()));
    world.end();
}

#[tokio::test]
async fn a_node_that_is_started_while_the_hub_is_away_checks_what_it_was_last_told_to() {
    let mut world = World::start(&["ap-1", "eu-1"]).await;
    let ids = world.add_load(5, 1.0).await;
    for id in &ids {
        world.region_status(*id, "eu", "up").await;
    }
    world.kill_hub();
    world.kill_node("eu-1");
    let before = world.target.asked_by("eu-1");
    world.start_node("eu-1");
    let began = Instant::now();
    while world.target.asked_by("eu-1") < before + 10 {
        assert!(began.elapsed() < PATIENCE, "it does not check:\n{}", world.console("eu-1"));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    world.tell("the node checks though it has not met the hub");
    world.start_hub().await;
    let took = world.linked("eu-1", "connected").await;
    world.tell(&format!("linked {took:.2?} after the hub was back"));
    world.linked("ap-1", "connected").await;
    world.end();
    let results = stored(&world.hub_folder()).await;
    hold_against(&results, &world.target.asked(), &["eu-1"], 5);
    world.tell(&format!("{} results, each once", results.len()));
}

#[tokio::test]
async fn nodes_that_are_started_before_their_hub_join_by_themselves_once_it_is_there() {
    let mut world = World::start(&[]).await;
    world.kill_hub();
    for name in ["ap-1", "eu-1"] {
        world.add_node(name);
    }
    let began = Instant::now();
    while !["ap-1", "eu-1"].iter().all(|name| world.console(name).contains("cannot join yet")) {
        assert!(began.elapsed() < PATIENCE, "{}", world.console("eu-1"));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    world.start_hub().await;
    let began = Instant::now();
    for name in ["ap-1", "eu-1"] {
        world.linked(name, "connected").await;
    }
    world.tell(&format!("both have joined {:.2?} after the hub was there", began.elapsed()));
    let service = world.add_load(1, 1.0).await[0];
    for region in ["ap", "eu"] {
        world.region_status(service, region, "up").await;
    }
    world.end();
}
