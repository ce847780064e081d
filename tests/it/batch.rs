//! The batch pass in the real hub: weeks of history delivered by regions the test plays, with hours in them in which figures
//! are odd together.

use std::time::{Duration, Instant};

use probemesh::clock::Clock;
use probemesh::model::check::{CheckResult, Phases};
use probemesh::model::id::CheckId;
use probemesh::model::time::Timestamp;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use rocket::http::Method;
use serde_json::{Value, json};

use crate::regions_world::{World, at, good};

const DAY: u64 = 86_400;
const EVERY: u64 = 300;
const SETTINGS: &str = "
[analysis]
forest_hours = 1
# Who looks at each sample would find these hours, too, and have them covered.
least_change = 10

[api]
access_lifetime_minutes = 600
";

/// Checks of one region for some days up to `until`; between the two seconds of `odd` connecting takes as long as the first byte
/// usually does, and that as long as connecting.
fn history(service: u64, region: &'static str, days: u64, until: u64, odd: (u64, u64)) -> Vec<CheckResult> {
    let mut rng = StdRng::seed_from_u64(service);
    let check = |index: u64| {
        let seconds = until - days * DAY + index * EVERY;
        let mut wobble = |us: f64| us * (1.0 + 0.1 * (rng.random::<f64>() + rng.random::<f64>() - 1.0));
        let (mut connect, mut first_byte) = (wobble(12_000.0), wobble(30_000.0));
        if (odd.0..odd.1).contains(&seconds) {
            std::mem::swap(&mut connect, &mut first_byte);
        }
        let phase = |us: f64| Some(Duration::from_micros(us as u64));
        let phases = Phases {
            dns: phase(wobble(1_000.0)),
            connect: phase(connect),
            tls: phase(wobble(15_000.0)),
            first_byte: phase(first_byte),
            transfer: phase(wobble(2_000.0)),
        };
        let latency = [phases.dns, phases.connect, phases.tls, phases.first_byte, phases.transfer].into_iter().flatten().sum();
        let usual = good(service, region, seconds);
        let id = CheckId { seq: service * 100_000_000 + seconds, ..usual.id.clone() };
        CheckResult { id, latency, elapsed: latency, phases, ..usual }
    };
    (0..days * DAY / EVERY).map(check).collect()
}

#[rocket::async_test]
async fn hours_that_are_odd_together_are_found_once_and_a_short_history_is_said_to_be_one() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("Rocket.toml"), SETTINGS).unwrap();
    let now = 14 * DAY;
    let clock = Clock::manual(at(now));
    let mut world = World::open(folder.path(), &clock, 1).await;
    for name in ["shop", "new"] {
        world.add(json!({"name": name, "base_url": "http://192.0.2.1", "interval_s": EVERY})).await;
    }
    let odd = (now - 6 * 3600, now - 3 * 3600);
    for region in ["eu-west", "us-east"] {
        for results in [history(1, region, 14, now, odd), history(2, region, 1, now, (0, 0))] {
            for slice in results.chunks(500) {
                world.feed(region, slice).await;
            }
        }
    }
    let passes = async |wanted: u64| {
        let began = Instant::now();
        loop {
            clock.advance(Duration::from_secs(10)).await;
            tokio::time::sleep(Duration::from_millis(5)).await;
            let status = world.hub.tree.batch_runner.lock().unwrap().clone();
            assert_eq!(status.last_error, None);
            if status.passes >= wanted {
                return status;
            }
            assert!(began.elapsed() < Duration::from_secs(240), "{status:?}");
        }
    };
    let status = passes(2).await;
    println!("{status:?}");
    assert_eq!((status.passes, status.learning, status.found), (2, 1, 1));
    let page = world.get("/api/v1/findings?signal=pattern").await;
    println!("{page:#}");
    let finding = &page["results"][0];
    assert_eq!((&page["count"], &finding["service_name"], &finding["shape"]), (&json!(1), &json!("shop"), &json!("unusual")));
    let apart = |field: &str, seconds: u64| {
        let found = Timestamp::parse(finding[field].as_str().unwrap()).unwrap();
        found.since(at(seconds)).max(at(seconds).since(found))
    };
    // To the bucket: half an hour here.
    assert!(apart("since", odd.0).max(apart("ended", odd.1)) <= Duration::from_secs(1800), "{finding:#}");
    let evidence = finding["evidence"].as_array().unwrap();
    let share = evidence.iter().find(|evidence| evidence["what"] == "connecting's share of the time").expect("connecting is named");
    let (observed, expected) = (share["observed"].as_f64().unwrap(), share["expected"].as_f64().unwrap());
    assert!((0.4..0.6).contains(&observed) && (0.15..0.25).contains(&expected), "{observed} {expected}");
    assert!(finding["summary"].as_str().unwrap().starts_with("unusual together: "), "{finding:#}");

    // The same hours judged again are the same finding.
    assert_eq!(passes(4).await.found, 1);
    let again = world.get("/api/v1/findings?signal=pattern").await;
    assert_eq!((&again["count"], &again["results"][0]["id"]), (&json!(1), &finding["id"]));
    // What a person called none is not told again.
    let path = format!("/api/v1/findings/{}/feedback", finding["id"].as_str().unwrap());
    let (status, answer) = world.ask(Method::Post, &path, Some(json!({"anomaly": false}))).await;
    assert!(status.code < 300, "{answer}");
    assert_eq!(passes(6).await.found, 1);
    assert_eq!(world.get("/api/v1/findings?signal=pattern").await["count"], Value::from(0));
    let cluster = world.get("/api/v1/cluster").await.to_string();
    assert!(cluster.contains("batch_runner") && cluster.contains("services_learning"), "{cluster}");
    world.stop().await;
}
