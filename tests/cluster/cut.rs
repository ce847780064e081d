//! One region cut off under load: it turns unknown and never down, and what it measured meanwhile is not lost.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::ledger::{hold_against, stored};
use crate::line::Mode;
use crate::long;
use crate::world::{World, node, of_service};

/// Waits until each of the services is found so by each of the regions.
async fn all_are(world: &mut World, ids: &[u64], regions: &[&str], status: &str) -> Duration {
    let found = |summary: &Value| {
        let so = |id: &u64, region: &str| {
            let seen = of_service(summary, *id)?["regions"].as_array()?.iter().find(|seen| seen["region"] == region)?;
            (seen["status"] == status).then_some(())
        };
        ids.iter().all(|id| regions.iter().all(|region| so(id, region).is_some())).then_some(())
    };
    world.until(&format!("all services are {status} in {regions:?}"), "api/monitor/health/summary/", found).await.1
}

#[tokio::test]
async fn a_region_cut_off_under_load_is_unknown_and_never_down_and_every_check_is_stored_once() {
    let (services, cut_for) = if long() { (167, Duration::from_secs(120)) } else { (34, Duration::from_secs(15)) };
    let mut world = World::start(&["ap-1", "eu-1", "us-1"]).await;
    let ids = world.add_load(services, 1.0).await;
    all_are(&mut world, &ids, &["ap", "eu", "us"], "up").await;
    world.tell(&format!("{services} services are checked every second in three regions"));
    let began = Instant::now();
    world.line("eu-1").set(Mode::Cut);
    let took = all_are(&mut world, &ids, &["eu"], "unknown").await;
    world.tell(&format!("eu is unknown {took:.2?} after its line was cut; the deadline is {} s", world.deadline_s));
    let made_before = world.target.asked_by("eu-1");
    let (mut looks, mut up) = (0, 0);
    while began.elapsed() < cut_for {
        let summary = world.get("api/monitor/health/summary/").await;
        for id in &ids {
            let service = of_service(&summary, *id).unwrap();
            // A machine that is busy with something else can be late for the deadline of the others: then too little is known.
            assert_ne!(service["verdict"], "down", "{service:#}");
            (looks, up) = (looks + 1, up + usize::from(service["verdict"] == "up"));
            let eu = service["regions"].as_array().unwrap().iter().find(|region| region["region"] == "eu").unwrap();
            assert_eq!(eu["status"], "unknown", "{service:#}");
        }
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    world.tell(&format!("meanwhile the services were up in {up} of {looks} looks, the others unknown; down in none"));
    assert!(up > 0, "none was ever up");
    let made = world.target.asked_by("eu-1") - made_before;
    world.tell(&format!("it went on checking: {made} checks while it was cut off for {cut_for:?}"));
    assert!(made > services * (cut_for.as_secs() as usize - 5), "{made} checks");
    world.line("eu-1").set(Mode::Open);
    let healed = Instant::now();
    world.region_status(ids[0], "eu", "up").await;
    world.tell(&format!("eu is up again {:.2?} after it was healed", healed.elapsed()));
    let caught_up = |nodes: &Value| {
        let eu = node(nodes, "eu-1")?;
        (eu["link"] == "connected" && eu["outbox"]["results"].as_u64()? <= 2 * services as u64).then_some(())
    };
    world.until("the outbox of eu-1 is worked off", "api/v1/nodes", caught_up).await;
    world.tell(&format!("its outbox is worked off {:.2?} after it was healed", healed.elapsed()));
    assert!(world.incidents().await.is_empty());
    // Uptime knows of the time of the cut, too.
    let path = format!("api/v1/rollups/?service={}&region=eu&resolution=1m", ids[0]);
    let sum = |rollups: &Value, field: &str| -> f64 {
        rollups["results"].as_array().unwrap().iter().filter_map(|span| span[field].as_f64()).sum()
    };
    let wanted = began.elapsed().as_secs_f64() - 3.0;
    let (rollups, _) =
        world.until("eu's rollups cover the cut", &path, |rollups| (sum(rollups, "up_s") >= wanted).then(|| rollups.clone())).await;
    let (up, down, unknown, checks) = (sum(&rollups, "up_s"), sum(&rollups, "down_s"), sum(&rollups, "unknown_s"), sum(&rollups, "checks"));
    world.tell(&format!("eu's rollups of one service: {checks} checks, up {up:.1} s, down {down:.1} s, unknown {unknown:.1} s"));
    assert!(down == 0.0, "{rollups:#}");
    world.end();
    let results = stored(&world.hub_folder()).await;
    hold_against(&results, &world.target.asked(), &[], services);
    world.tell(&format!("every check made is in the store once: {}", results.len()));
}
