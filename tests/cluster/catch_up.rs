//! While a region works off what waited in its outbox, what it sees now is not behind it in the queue.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::ledger::{hold_against, stored};
use crate::line::Mode;
use crate::target::Failing;
use crate::world::{World, node};

/// What waits in a node's outbox, where that is told.
fn waiting(nodes: &Value, name: &str) -> Option<u64> {
    node(nodes, name)?["outbox"]["results"].as_u64()
}

#[tokio::test]
async fn a_backlog_does_not_delay_what_a_region_sees_now() {
    const BROKEN: usize = 40;
    let mut world = World::start(&[]).await;
    // Little more than what is made anew: the backlog takes its time.
    world.add_node_with("eu-1", "catch_up_bytes_per_s = 40960");
    world.linked("eu-1", "connected").await;
    for index in 0..BROKEN {
        // Failures come with their evidence, so that there is much to send.
        let name = format!("broken {index}");
        let service = json!({"name": name, "base_url": world.target.url(), "health_path": "/fail", "interval_s": 0.5, "retries": 0});
        world.add(service).await;
    }
    let live = json!({"name": "live", "base_url": world.target.url(), "interval_s": 0.5, "retries": 0});
    let live = world.add(live).await;
    world.verdict(live, "up").await;
    world
        .until("an incident for each of the broken ones", "api/v1/incidents/?page_size=500", |page| {
            (page["results"].as_array()?.len() == BROKEN).then_some(())
        })
        .await;
    world.line("eu-1").set(Mode::Cut);
    world.linked("eu-1", "lost").await;
    tokio::time::sleep(Duration::from_secs(10)).await;
    world.line("eu-1").set(Mode::Open);
    let healed = Instant::now();
    world.linked("eu-1", "connected").await;
    world.verdict(live, "up").await;
    world.tell(&format!("what is now is known {:.2?} after the line was mended", healed.elapsed()));
    world.target.fail(Failing::Everybody);
    let took = world.verdict(live, "down").await;
    let (behind, _) = world.until("the state of the outbox", "api/v1/nodes", |nodes| waiting(nodes, "eu-1")).await;
    world.tell(&format!("down {took:.2?} after it broke, with {behind} results still waiting in the outbox"));
    assert!(behind > 100, "{behind} results wait: the backlog was worked off too soon to show anything");
    let (took, incidents) = {
        let path = format!("api/v1/incidents/?service={live}");
        let (incidents, took) = world
            .until("its incident", &path, |page| {
                let found = page["results"].as_array()?;
                (!found.is_empty()).then(|| found.clone())
            })
            .await;
        (took, incidents)
    };
    world.tell(&format!("its incident {took:.2?} later: {}", incidents[0]["first_line"]));
    world.until("the outbox is worked off", "api/v1/nodes", |nodes| waiting(nodes, "eu-1").filter(|waiting| *waiting < 100)).await;
    world.tell(&format!("the outbox is worked off {:.2?} after the line was mended", healed.elapsed()));
    // What came late opened nothing anew, and closed nothing.
    let all = world.incidents().await;
    assert_eq!(all.len(), BROKEN + 1, "{all:#?}");
    assert!(all.iter().all(|incident| incident["open"] == true), "{all:#?}");
    world.end();
    let results = stored(&world.hub_folder()).await;
    hold_against(&results, &world.target.asked(), &[], BROKEN + 1);
}
