//! kill -9 at random moments, of the hub, of a node, of both.

use std::time::Duration;

use rand::Rng;
use serde_json::json;

use crate::ledger::{hold_against, stored};
use crate::long;
use crate::world::World;

#[tokio::test]
async fn whatever_is_killed_every_check_made_is_stored_once_and_no_incident_is_told_twice() {
    let (services, kills) = if long() { (167, 10) } else { (20, 3) };
    let nodes = ["ap-1", "eu-1", "us-1"];
    let mut world = World::start(&nodes).await;
    let broken = json!({"name": "broken", "base_url": world.target.url(), "health_path": "/fail", "interval_s": 1, "retries": 0});
    let broken = world.add(broken).await;
    let ids = world.add_load(services, 1.0).await;
    world.verdict(broken, "down").await;
    world.verdict(ids[services - 1], "up").await;
    let first = world.until("its incident", "api/v1/incidents/", |page| page["results"][0]["id"].as_str().map(str::to_owned)).await.0;
    let mut random = rand::rng();
    let mut killed: Vec<&str> = Vec::new();
    for kill in 0..kills {
        tokio::time::sleep(Duration::from_millis(random.random_range(700..2500))).await;
        let node = nodes[random.random_range(0..nodes.len())];
        // Each kind comes in three.
        let (hub, node_too) = [(true, false), (false, true), (true, true)][kill % 3];
        if hub {
            world.kill_hub();
        }
        if node_too {
            world.kill_node(node);
            killed.push(node);
        }
        world.tell(&format!("killed: {}{}", if hub { "the hub " } else { "" }, if node_too { node } else { "" }));
        tokio::time::sleep(Duration::from_millis(random.random_range(0..1500))).await;
        if node_too {
            world.start_node(node);
        }
        if hub {
            world.start_hub().await;
        }
        for node in nodes {
            world.linked(node, "connected").await;
        }
        world.tell("all are linked again");
    }
    world.verdict(broken, "down").await;
    world.verdict(ids[0], "up").await;
    let incidents = world.incidents().await;
    assert_eq!(incidents.len(), 1, "{incidents:#?}");
    assert_eq!((incidents[0]["id"].as_str(), &incidents[0]["open"]), (Some(first.as_str()), &json!(true)), "{incidents:#?}");
    world.end();
    let results = stored(&world.hub_folder()).await;
    let missing = hold_against(&results, &world.target.asked(), &killed, services + 1);
    world.tell(&format!("{} checks stored, each once; {missing} were in flight when their node was killed", results.len()));
    assert!(results.len() > services * 3, "only {} results", results.len());
}
