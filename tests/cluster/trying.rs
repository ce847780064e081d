//! Services tried from regions before they are kept: over real links, by real nodes, and by nodes of an older version.

use std::time::{Duration, Instant};

use probemesh::mesh::gateway::GatewayMsg;
use probemesh::wire::envelope::{NodeStatus, Up, frames};
use serde_json::{Value, json};

use crate::rogue::{Rogue, papers};
use crate::target::Failing;
use crate::world::World;

const TRY: &str = "api/monitor/checks/try";

/// What was found by region: the status it got, or why it could not try.
fn found(answer: &Value) -> Vec<(String, String)> {
    let (results, unanswered) = (answer["results"].as_array().unwrap(), answer["unanswered"].as_array().unwrap());
    let mut found: Vec<(String, String)> = results
        .iter()
        .map(|result| (result["region"].as_str().unwrap().to_owned(), result["status_code"].to_string()))
        .chain(unanswered.iter().map(|one| (one["region"].as_str().unwrap().to_owned(), one["reason"].as_str().unwrap().to_owned())))
        .collect();
    found.sort();
    found
}

#[tokio::test]
async fn a_service_is_tried_from_each_region_and_every_one_says_what_it_saw() {
    let mut world = World::start(&["eu-1", "us-1"]).await;
    world.target.fail(Failing::Node("eu-1".to_owned()));
    let url = world.target.url();
    let service =
        move || json!({"name": "unsaved", "base_url": url, "health_path": "/noted", "headers": {"X-Api-Key": "s3cret-key"}, "retries": 3});
    let answer = world.ask("POST", &format!("{TRY}?regions=eu,us"), service()).await;
    let seen = [("eu".to_owned(), "503".to_owned()), ("us".to_owned(), "200".to_owned())];
    assert_eq!((found(&answer), &answer["ok"]), (seen.to_vec(), &json!(false)), "{answer:#}");
    for result in answer["results"].as_array().unwrap() {
        let (failed, expectation) = (result["region"] == "eu", &result["expectations"][0]);
        assert_eq!((&expectation["what"], &expectation["ok"]), (&json!("status 200-299"), &json!(!failed)), "{result:#}");
        assert_eq!(result["attempt_count"], 1, "it is not tried again: {result:#}");
        assert!(result["phases"]["first_byte_ms"].is_number(), "{result:#}");
    }
    let mut askers = world.target.askers_of("/noted");
    askers.sort();
    assert_eq!(askers, ["eu-1", "us-1"], "each node asked once, and the hub did not");
    world.tell("eu says 503, us says 200, as the target told them");
    assert_eq!(world.get("api/monitor/results/").await["results"], json!([]), "nothing of it is stored");

    // A node's own networks are closed to what it tries.
    world.add_node_with("ap-1", "\n[probe]\nblocked_networks = [\"127.0.0.0/8\"]\n");
    world.linked("ap-1", "connected").await;
    let answer = world.ask("POST", &format!("{TRY}?regions=ap"), service()).await;
    assert_eq!(answer["results"][0]["reason"], "blocked", "{answer:#}");

    // One that is away is told at once.
    world.kill_node("us-1");
    world.linked("us-1", "lost").await;
    let began = Instant::now();
    let answer = world.ask("POST", &format!("{TRY}?regions=all"), service()).await;
    let took = began.elapsed();
    let us = found(&answer).into_iter().find(|(region, _)| region == "us").unwrap().1;
    assert!(us.starts_with("region us is not connected"), "{answer:#}");
    world.tell(&format!("a region that is away is told after {took:.2?}: {us}"));

    // What was secret is in nobody's log.
    for console in [world.hub.as_ref().unwrap().console(), world.console("eu-1"), world.console("ap-1")] {
        assert!(!console.contains("s3cret-key"), "{console}");
    }
    for place in ["hub", "eu-1", "ap-1"] {
        let logs = std::fs::read_dir(world.folder.path().join(place).join("logs")).into_iter().flatten().flatten();
        for log in logs.filter(|log| log.path().is_file()) {
            assert!(!std::fs::read_to_string(log.path()).unwrap_or_default().contains("s3cret-key"), "{}", log.path().display());
        }
    }
    world.end();
}

#[tokio::test]
async fn a_node_of_an_older_version_is_not_asked_and_that_is_said() {
    let mut world = World::start(&["eu-1"]).await;
    let process = world.nodes.get_mut("eu-1").unwrap().process.take().unwrap();
    assert!(process.end().0.success());
    let eu = papers(&world.nodes["eu-1"].folder, "eu");
    // It speaks the first version of the protocol alone.
    let old = Rogue::connect(world.mesh_port, &eu).await;
    old.hello("eu-1", "eu");
    let (gateway, token) = (old.gateway.clone(), old.token);
    let beating = tokio::spawn(async move {
        loop {
            for frame in frames(1, &token, &Up::Status(NodeStatus::default())) {
                let _ = gateway.cast(GatewayMsg::Frame(frame));
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    });
    world.linked("eu-1", "connected").await;
    let service = json!({"name": "unsaved", "base_url": world.target.url()});
    let answer = world.ask("POST", &format!("{TRY}?regions=eu"), service).await;
    let reason = answer["unanswered"][0]["reason"].as_str().unwrap_or_default();
    assert_eq!(reason, "region eu runs version rogue (node eu-1), which cannot try services; bring it up to date", "{answer:#}");
    world.tell(&format!("the hub says: {reason}"));
    beating.abort();
    drop(old);
    world.end();
}
