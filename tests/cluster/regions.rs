//! Three regions and a hub: joining, incidents by quorum, one region alone, long intervals.

use std::time::{Duration, Instant};

use probemesh::clock::Clock;
use probemesh::model::time::Timestamp;
use serde_json::{Value, json};

use crate::binary::{Binary, free_port, run};
use crate::line::Line;
use crate::target::Failing;
use crate::world::{Node, PATIENCE, World, of_service};

const REGIONS: [&str; 3] = ["ap-1", "eu-1", "us-1"];

/// Until each region has a result of a service in the store.
async fn first_results(world: &mut World, service: u64) -> Duration {
    let path = format!("api/monitor/results/?service={service}&page_size=500");
    let found = |page: &Value| {
        let results = page["results"].as_array()?;
        ["ap", "eu", "us"].iter().all(|region| results.iter().any(|result| result["region"] == *region)).then_some(())
    };
    world.until("a result of each region", &path, found).await.1
}

#[tokio::test]
async fn a_node_that_joins_by_token_and_two_by_the_secret_have_results_within_seconds() {
    let mut world = World::start(&["ap-1", "us-1"]).await;
    let service = json!({"name": "api", "base_url": world.target.url(), "interval_s": 1, "retries": 0});
    let service = world.add(service).await;
    let line = Line::to(world.mesh_port);
    let (code, said) = world.command(&["region-token", "eu", "--address", &format!("127.0.0.1:{}", line.port)]);
    assert_eq!(code, Some(0), "{said}");
    let token = said.lines().next().unwrap().to_owned();
    let folder = world.make_place("eu-1");
    let joined = run(&folder, free_port(), &["join", &token, "--name", "eu-1"]);
    let said = String::from_utf8_lossy(&joined.stdout).into_owned() + &String::from_utf8_lossy(&joined.stderr);
    assert!(joined.status.success(), "{said}");
    assert!(said.contains("wrote") && said.contains("regions/eu.toml"), "{said}");
    let began = Instant::now();
    let process = Binary::launch_as(&["region", "--config", "regions/eu.toml"], &folder, free_port(), &[]);
    world.nodes.insert("eu-1".to_owned(), Node { folder: folder.clone(), region: "eu".to_owned(), line, process: Some(process) });
    first_results(&mut world, service).await;
    let took = began.elapsed();
    world.tell(&format!("the node that joined by token has results in the store {took:.2?} after its start"));
    assert!(took < PATIENCE, "{took:?}; 5 s are promised");
    let regions = world.get("api/v1/regions").await;
    let states: Vec<(&str, &str)> = regions["results"]
        .as_array()
        .unwrap()
        .iter()
        .map(|region| (region["name"].as_str().unwrap(), region["state"].as_str().unwrap()))
        .collect();
    assert_eq!(states, [("ap", "connected"), ("eu", "connected"), ("us", "connected")], "{regions:#}");
    // The token is used up: for another machine it is good for nothing.
    let other = world.make_place("eu-2");
    let again = run(&other, free_port(), &["join", &token, "--name", "eu-2"]);
    let said = String::from_utf8_lossy(&again.stderr).into_owned();
    assert!(!again.status.success() && said.contains("used"), "{said}");
    world.end();
}

#[tokio::test]
async fn a_target_that_dies_is_one_incident_that_closes_when_it_is_back() {
    let mut world = World::start(&REGIONS).await;
    let service = json!({"name": "api", "base_url": world.target.url(), "interval_s": 1, "retries": 0});
    let service = world.add(service).await;
    first_results(&mut world, service).await;
    world.verdict(service, "up").await;
    world.tell("the service is up in three regions");
    world.target.fail(Failing::Everybody);
    let (opened, took) = world.until("an incident", "api/v1/incidents/", |page| page["results"].as_array()?.first().cloned()).await;
    world.tell(&format!("incident {took:.2?} after the target died, at an interval of 1 s: {}", opened["first_line"]));
    let first_seen = Clock::real().now();
    let detail = world.get(&format!("api/v1/incidents/{}/", opened["id"].as_str().unwrap())).await;
    assert_eq!(detail["severity"], "critical", "{detail:#}");
    let seen = |sighting: &Value| Timestamp::parse(sighting["checked_at"].as_str().unwrap()).unwrap();
    let mut failed: Vec<Timestamp> =
        detail["regions"].as_array().unwrap().iter().filter(|sighting| sighting["status"] == "down").map(seen).collect();
    failed.sort();
    let after = first_seen.since(failed[1]);
    world.tell(&format!("that is {after:.2?} after the second of the failing checks, which made the majority; 1 s is promised"));
    assert!(after < Duration::from_secs(20), "{detail:#}");
    let (line, _) = world
        .until("the first line of all three", "api/v1/incidents/", |page| {
            let line = page["results"][0]["first_line"].as_str()?;
            line.contains("in 3 of 3 regions").then(|| line.to_owned())
        })
        .await;
    world.tell(&format!("it says: {line}"));
    world.target.fail(Failing::Nobody);
    let (closed, took) = world
        .until("the incident closed", "api/v1/incidents/", |page| {
            let results = page["results"].as_array()?;
            results.iter().all(|incident| incident["open"] == false).then(|| results.clone())
        })
        .await;
    world.tell(&format!("closed {took:.2?} after the target came back"));
    assert_eq!(closed.len(), 1, "{closed:#?}");
    world.end();
}

#[tokio::test]
async fn what_breaks_for_one_region_alone_is_degraded_and_no_incident() {
    let mut world = World::start(&REGIONS).await;
    let service = json!({"name": "api", "base_url": world.target.url(), "interval_s": 1, "retries": 0});
    let service = world.add(service).await;
    first_results(&mut world, service).await;
    world.verdict(service, "up").await;
    world.target.fail(Failing::Node("eu-1".to_owned()));
    let took = world.verdict(service, "degraded").await;
    world.tell(&format!("degraded {took:.2?} after it broke for region eu alone"));
    // Several rounds of it.
    let before = world.target.asked_by("eu-1");
    while world.target.asked_by("eu-1") < before + 3 {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let summary = world.get("api/monitor/health/summary/").await;
    assert_eq!(of_service(&summary, service).unwrap()["verdict"], "degraded", "{summary:#}");
    assert!(world.incidents().await.is_empty());
    world.target.fail(Failing::Nobody);
    world.verdict(service, "up").await;
    assert!(world.incidents().await.is_empty());
    world.end();
}

#[tokio::test]
async fn at_an_interval_of_five_minutes_the_quorum_is_known_within_seconds_of_the_first_failure() {
    let mut world = World::start(&REGIONS).await;
    // The first checks fail in no region; the next round would be minutes away. One region is asked to check now, and fails.
    let service = json!({"name": "api", "base_url": world.target.url(), "interval_s": 300, "retries": 0});
    let service = world.add(service).await;
    first_results(&mut world, service).await;
    world.verdict(service, "up").await;
    world.target.fail(Failing::Everybody);
    // A node that starts anew checks its services at once: that is a first failure that no other region has seen.
    world.kill_node("eu-1");
    world.start_node("eu-1");
    world.region_status(service, "eu", "down").await;
    let took = world.verdict(service, "down").await;
    world.tell(&format!("down by quorum {took:.2?} after the first failure was known, at an interval of 5 minutes"));
    // Its next round would be minutes away.
    assert!(took < Duration::from_secs(120), "{took:?}; 10 s are promised");
    let (_, took) =
        world.until("an incident", "api/v1/incidents/?open=true", |page| (page["results"].as_array()?.len() == 1).then_some(())).await;
    world.tell(&format!("its incident {took:.2?} later"));
}
