//! Several nodes of one region share its services.

use std::time::Duration;

use serde_json::{Value, json};

use crate::ledger::{hold_against, rounds_checked_twice, stored};
use crate::line::Mode;
use crate::world::{World, node};

/// How many services each node of the region is to check, where all of them are shared out.
fn shares(nodes: &Value, services: u64) -> Option<Vec<u64>> {
    let of = |name: &str| {
        let node = node(nodes, name)?;
        Some(if node["link"] == "connected" { node["services"].as_u64()? } else { 0 })
    };
    let shares = [of("eu-1")?, of("eu-2")?, of("eu-3")?];
    (shares.iter().sum::<u64>() == services).then(|| shares.to_vec())
}

#[tokio::test]
async fn a_lost_nodes_share_goes_to_the_others_of_its_region_and_returns_with_it() {
    const SERVICES: u64 = 30;
    let mut world = World::start(&["eu-1", "eu-2", "eu-3"]).await;
    let ids = world.add_load(SERVICES as usize, 1.0).await;
    for id in &ids {
        world.region_status(*id, "eu", "up").await;
    }
    let (before, _) = world.until("all are shared out", "api/v1/nodes", |nodes| shares(nodes, SERVICES)).await;
    world.tell(&format!("shares of the three nodes: {before:?}"));
    assert!(before.iter().all(|share| *share > 0), "{before:?}");
    tokio::time::sleep(Duration::from_secs(3)).await;
    world.kill_node("eu-2");
    let (without, took) =
        world.until("its share has moved", "api/v1/nodes", |nodes| shares(nodes, SERVICES).filter(|shares| shares[1] == 0)).await;
    world.tell(&format!("shares {took:.2?} after eu-2 was killed: {without:?}; the deadline is {} s", world.deadline_s));
    assert!(without[0] >= before[0] && without[2] >= before[2], "only the lost node's share moves");
    tokio::time::sleep(Duration::from_secs(3)).await;
    world.start_node("eu-2");
    let (after, took) =
        world.until("its share is back", "api/v1/nodes", |nodes| shares(nodes, SERVICES).filter(|shares| shares[1] > 0)).await;
    world.tell(&format!("shares {took:.2?} after it was started: {after:?}"));
    assert_eq!(after, before);
    tokio::time::sleep(Duration::from_secs(3)).await;
    world.end();
    let results = stored(&world.hub_folder()).await;
    hold_against(&results, &world.target.asked(), &["eu-2"], SERVICES as usize);
    let twice = rounds_checked_twice(&results);
    assert!(twice.is_empty(), "{} rounds were checked twice, such as {}", twice.len(), twice[0]);
    world.tell(&format!("{} results, no round of a service checked twice", results.len()));
}

#[tokio::test]
async fn a_node_cut_off_from_its_region_goes_on_and_what_both_measured_is_kept_once_each() {
    const SERVICES: u64 = 12;
    let mut world = World::start(&["eu-1", "eu-2", "eu-3"]).await;
    let ids = world.add_load(SERVICES as usize, 1.0).await;
    for id in &ids {
        world.region_status(*id, "eu", "up").await;
    }
    let (before, _) = world.until("all are shared out", "api/v1/nodes", |nodes| shares(nodes, SERVICES)).await;
    world.line("eu-2").set(Mode::Cut);
    world.until("its share has moved", "api/v1/nodes", |nodes| shares(nodes, SERVICES).filter(|shares| shares[1] == 0)).await;
    tokio::time::sleep(Duration::from_secs(4)).await;
    // The region speaks on, by its other nodes.
    let regions = world.get("api/v1/regions").await;
    assert_eq!(
        (&regions["results"][0]["state"], &regions["results"][0]["nodes_connected"]),
        (&json!("connected"), &json!(2)),
        "{regions:#}"
    );
    world.line("eu-2").set(Mode::Open);
    world.until("its share is back", "api/v1/nodes", |nodes| shares(nodes, SERVICES).filter(|shares| *shares == before)).await;
    assert!(world.incidents().await.is_empty());
    world.end();
    let results = stored(&world.hub_folder()).await;
    hold_against(&results, &world.target.asked(), &[], SERVICES as usize);
    let twice = rounds_checked_twice(&results);
    world.tell(&format!("{} results; {} rounds were checked by the node that was cut off and by another", results.len(), twice.len()));
    assert!(!twice.is_empty(), "the node that was cut off did not go on");
}
