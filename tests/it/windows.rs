//! Maintenance windows at the edge: a real hub whose regions are played by the test, asked through its API.

use std::sync::Arc;
use std::time::{Duration, Instant};

use probemesh::api::events::Event;
use probemesh::clock::Clock;
use rocket::http::{Method, Status};
use serde_json::{Value, json};
use tokio::sync::broadcast::Receiver;

use crate::regions_world::{REGIONS, World, good, refused, shop, start};

const WINDOWS: &str = "/api/v1/maintenance-windows/";

async fn make(world: &World, body: Value) -> Value {
    let (status, made) = world.ask(Method::Post, WINDOWS, Some(body)).await;
    assert_eq!(status, Status::Created, "{made}");
    made
}

/// A problem's status and the fields it names.
async fn refusal(world: &World, method: Method, path: &str, body: Value) -> (Status, Vec<String>) {
    let (status, problem) = world.ask(method, path, Some(body)).await;
    let errors = problem["errors"].as_array().cloned().unwrap_or_default();
    (status, errors.iter().map(|error| error["field"].as_str().unwrap().to_owned()).collect())
}

/// What was told of verdicts, incidents and windows so far.
fn told(events: &mut Receiver<Arc<Event>>) -> Vec<String> {
    let mut told = Vec::new();
    while let Ok(event) = events.try_recv() {
        match &*event {
            Event::Verdict(event) => told.push(format!("{} to {}", event.from, event.to)),
            Event::Incident(event) => {
                told.push(format!("incident {}{}", event.what, if event.maintenance.is_some() { " in maintenance" } else { "" }))
            }
            Event::Window(event) => told.push(format!("{} {}", event.title, event.what)),
            _ => {}
        }
    }
    told
}

/// The next that are told. Whoever tells them may do so a moment after the clock has moved.
async fn hear(events: &mut Receiver<Arc<Event>>, count: usize) -> Vec<String> {
    let began = Instant::now();
    let mut heard = told(events);
    while heard.len() < count {
        assert!(began.elapsed() < Duration::from_secs(90), "never told: {heard:?}");
        tokio::time::sleep(Duration::from_millis(2)).await;
        heard.extend(told(events));
    }
    heard
}

/// Twenty minutes of two regions, down from the fifth to the ninth.
async fn history(world: &mut World, clock: &Clock, shop: u64) {
    for minute in 0..20 {
        for region in ["eu-west", "us-east"] {
            let make = if (5..9).contains(&minute) { refused } else { good };
            world.feed(region, &[make(shop, region, minute * 60)]).await;
        }
        clock.advance(Duration::from_secs(60)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_window_over_the_past_counts_history_anew_and_its_deletion_restores_it() {
    let folder = tempfile::tempdir().unwrap();
    let clock = start();
    let mut world = World::open(folder.path(), &clock, 1).await;
    let shop = world.add(shop()).await;
    history(&mut world, &clock, shop).await;
    let before = world.get(&format!("/api/monitor/services/{shop}/")).await["uptime"].clone();
    assert_eq!((&before["24h"]["ratio"], &before["24h"]["maintenance_s"]), (&json!(0.8), &json!(0.0)));

    let past = json!({"title": "switch replaced", "services": ["shop"], "from": "2026-11-22T12:05:00Z", "until": "2026-11-22T12:08:30Z"});
    assert_eq!(refusal(&world, Method::Post, WINDOWS, past.clone()).await, (Status::UnprocessableEntity, vec!["reason".to_owned()]));
    let mut with_reason = past;
    with_reason["reason"] = json!("the switch was announced, the window forgotten");
    let window = make(&world, with_reason).await;
    assert_eq!((&window["kind"], &window["state"], &window["created_by"]), (&json!("once"), &json!("past"), &json!("admin")));
    // Counted by whole minutes: the half minute at its end is one.
    let after = world.get(&format!("/api/monitor/services/{shop}/")).await["uptime"].clone();
    assert_eq!((&after["24h"]["ratio"], &after["24h"]["maintenance_s"]), (&json!(1.0), &json!(240.0)), "{after}");
    let coverage = |uptime: &Value| uptime["24h"]["coverage"].as_f64().unwrap();
    let whole = 86_400.0 + 1200.0;
    assert!((coverage(&before) - 1200.0 / whole).abs() < 1e-9, "{before}");
    assert!((coverage(&after) - 960.0 / (whole - 240.0)).abs() < 1e-9, "{after}");
    world.until("the incident", |found| found.len() == 1).await;
    assert_eq!(world.incidents().await[0]["maintenance"], window["id"], "it opened in what is a window now");

    let path = format!("{WINDOWS}{}/", window["id"]);
    let (status, _) = world.ask(Method::Delete, &path, None).await;
    assert_eq!(status, Status::NoContent);
    assert_eq!(world.get(&format!("/api/monitor/services/{shop}/")).await["uptime"], before);
    assert_eq!(world.incidents().await[0]["maintenance"], Value::Null);
    let kept = world.get(&path).await;
    assert_eq!((&kept["state"], &kept["deleted_by"], &kept["reason"]), (&json!("deleted"), &json!("admin"), &window["reason"]));
    assert_eq!(world.get(WINDOWS).await["count"], 0);
    assert_eq!(world.get(&format!("{WINDOWS}?state=deleted")).await["count"], 1);
    let (status, _) = world.ask(Method::Delete, &path, None).await;
    assert_eq!(status, Status::NotFound);
    let audit = world.get("/api/v1/audit").await.to_string();
    assert!(audit.contains("window.create") && audit.contains("window.delete"), "{audit}");
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fails_in_a_window_is_kept_and_told_when_the_window_ends() {
    let folder = tempfile::tempdir().unwrap();
    let clock = start();
    let mut world = World::open(folder.path(), &clock, 1).await;
    let mut events = world.hub.events.subscribe();
    let shop = world.add(shop()).await;
    for region in REGIONS {
        world.feed(region, &[good(shop, region, 0)]).await;
    }
    assert_eq!(world.verdict(shop).await, "up");
    told(&mut events);
    let window = make(&world, json!({"title": "upgrade", "kind": "manual", "services": [shop], "longest_s": 3600})).await;
    assert_eq!((&window["state"], &window["service_ids"]), (&json!("active"), &json!([shop])));
    assert_eq!(told(&mut events), ["upgrade begins", "up to maintenance"]);
    let summary = world.get("/api/monitor/health/summary/").await["services"][0].clone();
    assert_eq!((&summary["verdict"], &summary["maintenance"]["beneath"]), (&json!("maintenance"), &json!("up")));
    assert_eq!(summary["maintenance"]["until"], "2026-11-22T13:00:00.000Z");
    let metrics = world.get("/metrics").await.to_string();
    assert!(metrics.contains("probemesh_maintenance{service=\\\"shop\\\"} 1"), "{metrics}");

    clock.advance(Duration::from_secs(61)).await;
    for region in REGIONS {
        world.feed(region, &[refused(shop, region, 60)]).await;
    }
    let found = world.until("the incident", |found| found.len() == 1 && found[0]["first_line"].as_str().unwrap().contains("3 of 3")).await;
    assert_eq!((&found[0]["maintenance"], &found[0]["open"]), (&window["id"], &json!(true)));
    assert_eq!(world.verdict(shop).await, "maintenance");
    // A manual window is started once at a time.
    let path = format!("{WINDOWS}{}/", window["id"]);
    assert_eq!(world.ask(Method::Post, &format!("{path}start/"), None).await.0, Status::Conflict);
    clock.advance(Duration::from_secs(1)).await;
    let meanwhile = told(&mut events);
    assert!(
        !meanwhile.is_empty() && meanwhile.iter().all(|told| told.starts_with("incident") && told.ends_with("in maintenance")),
        "{meanwhile:?}"
    );

    let (status, ended) = world.ask(Method::Post, &format!("{path}end/"), None).await;
    assert_eq!(
        (status, &ended["state"], &ended["last"]["until"]),
        (Status::Ok, &json!("past"), &json!("2026-11-22T12:01:02.000Z")),
        "{ended}"
    );
    assert_eq!(world.verdict(shop).await, "down");
    clock.advance(Duration::from_secs(1)).await;
    let id = found[0]["id"].as_str().unwrap().to_owned();
    let began = Instant::now();
    let timeline = loop {
        let timeline = world.get(&format!("/api/v1/incidents/{id}/")).await["timeline"].as_array().unwrap().clone();
        if timeline.iter().filter(|entry| entry["kind"] == "maintenance").count() == 2 {
            break timeline;
        }
        assert!(began.elapsed() < Duration::from_secs(90), "{timeline:#?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    };
    let texts: Vec<&str> =
        timeline.iter().filter(|entry| entry["kind"] == "maintenance").map(|entry| entry["text"].as_str().unwrap()).collect();
    assert!(texts[0].starts_with("opened in maintenance window 1: upgrade"), "{texts:?}");
    assert!(texts[1].starts_with("maintenance has ended, it goes on: connect refused"), "{texts:?}");
    let mut after = Vec::new();
    while after.len() < 3 {
        tokio::task::yield_now().await;
        // The last of what happened within may be told late.
        after.extend(told(&mut events).into_iter().filter(|told| !told.ends_with("in maintenance")));
    }
    assert_eq!(after, ["upgrade ends", "maintenance to down", "incident updated"]);
    assert_eq!(world.ask(Method::Post, &format!("{path}end/"), None).await.0, Status::Conflict);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_window_begins_and_ends_by_the_clock_and_outlives_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let clock = start();
    let mut world = World::open(folder.path(), &clock, 1).await;
    let shop = world.add(json!({"name": "shop", "base_url": "http://192.0.2.1", "interval_s": 600, "tags": ["core"]})).await;
    let other = world.add(json!({"name": "other", "base_url": "http://192.0.2.2", "interval_s": 600, "group": "back"})).await;
    for service in [shop, other] {
        world.feed("eu-west", &[good(service, "eu-west", service)]).await;
    }
    let mut events = world.hub.events.subscribe();
    let tagged =
        make(&world, json!({"title": "core", "tags": ["core"], "from": "2026-11-22T12:10:00Z", "until": "2026-11-22T12:20:00Z"})).await;
    make(&world, json!({"title": "night", "groups": ["back"], "cron": "0 2 * * *", "timezone": "Europe/Berlin", "duration_s": 3600})).await;
    let states = async |world: &World, state: &str| -> Vec<String> {
        let list = world.get(&format!("{WINDOWS}?state={state}")).await;
        list["results"].as_array().unwrap().iter().map(|window| window["title"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(states(&world, "upcoming").await, ["core", "night"], "the next first");
    assert_eq!(world.get(&format!("{WINDOWS}?service={shop}")).await["count"], 1);
    assert_eq!(world.get(&format!("{WINDOWS}?service={other}")).await["results"][0]["next"]["from"], "2026-11-23T01:00:00.000Z");
    assert_eq!(told(&mut events), [""; 0]);

    clock.advance(Duration::from_secs(601)).await;
    assert_eq!(hear(&mut events, 2).await, ["core begins", "up to maintenance"]);
    assert_eq!((world.verdict(shop).await.as_str(), world.verdict(other).await.as_str()), ("maintenance", "up"));
    assert_eq!(states(&world, "active").await, ["core"]);
    world.stop().await;
    let world = World::open(folder.path(), &clock, 2).await;
    let mut events = world.hub.events.subscribe();
    assert_eq!(world.verdict(shop).await, "maintenance");
    clock.advance(Duration::from_secs(600)).await;
    assert_eq!(hear(&mut events, 2).await, ["core ends", "maintenance to up"]);
    assert_eq!(states(&world, "past").await, ["core"]);
    assert_eq!(world.get(&format!("{WINDOWS}{}/", tagged["id"])).await["last"]["until"], "2026-11-22T12:20:00.000Z");
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recurring_window_that_is_changed_or_ended_early_keeps_what_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let clock = start();
    let mut world = World::open(folder.path(), &clock, 1).await;
    let shop = world.add(shop()).await;
    let hourly = json!({"title": "hourly", "all": true, "cron": "4 * * * *", "duration_s": 1800, "from": "2026-11-22T12:00:00Z"});
    let window = make(&world, hourly).await;
    let path = format!("{WINDOWS}{}/", window["id"]);
    history(&mut world, &clock, shop).await;
    assert_eq!(world.verdict(shop).await, "maintenance");
    // Ended at 12:20, it comes again at 13:04.
    let (status, ended) = world.ask(Method::Post, &format!("{path}end/"), None).await;
    assert_eq!(
        (status, &ended["state"], &ended["next"]["from"]),
        (Status::Ok, &json!("upcoming"), &json!("2026-11-22T13:04:00.000Z")),
        "{ended}"
    );
    assert_eq!(ended["last"], json!({"from": "2026-11-22T12:04:00.000Z", "until": "2026-11-22T12:20:00.000Z"}));
    assert_eq!(world.verdict(shop).await, "up");
    let day = world.get(&format!("/api/monitor/services/{shop}/")).await["uptime"]["24h"].clone();
    assert_eq!((&day["ratio"], &day["maintenance_s"]), (&json!(1.0), &json!(960.0)));
    // A later rule says nothing of what was.
    let (status, moved) = world.ask(Method::Patch, &path, Some(json!({"cron": "30 * * * *", "revision": ended["revision"]}))).await;
    assert_eq!(
        (status, &moved["next"]["from"]),
        (Status::Ok, &json!("2026-11-22T12:34:00.000Z")),
        "in force where the other ended: {moved}"
    );
    assert_eq!(world.get(&format!("/api/monitor/services/{shop}/")).await["uptime"]["24h"]["maintenance_s"], 960.0);
    let (status, stale) = world.ask(Method::Patch, &path, Some(json!({"title": "x", "revision": 1}))).await;
    assert_eq!(status, Status::Conflict, "{stale}");
    assert_eq!(refusal(&world, Method::Patch, &path, json!({"kind": "once"})).await.1, ["kind"]);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_window_with_mistakes_names_every_field_and_stores_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let clock = start();
    let world = World::open(folder.path(), &clock, 1).await;
    world.add(shop()).await;
    let once = |from: &str, until: &str| json!({"title": "x", "services": [1], "from": from, "until": until});
    let cron = |cron: &str, duration: Value| json!({"title": "x", "services": [1], "cron": cron, "duration_s": duration});
    let table = [
        (json!({}), vec!["title", "services", "kind"]),
        (once("2026-11-22T14:00:00Z", "2026-11-22T13:00:00Z"), vec!["until"]),
        (once("2026-11-22T14:00:00Z", "2026-11-22T14:00:30Z"), vec!["until"]),
        (once("2026-11-22T14:00:00Z", "2028-11-22T14:00:00Z"), vec!["until"]),
        (once("1999-11-22T14:00:00Z", "tomorrow"), vec!["from", "until"]),
        (json!({"title": "x", "services": [1], "from": "2026-11-22T14:00:00Z"}), vec!["until"]),
        (
            json!({"title": "", "services": [1, 99, "nobody", true], "tags": ["nope"], "groups": "core", "kind": "manual"}),
            vec!["title", "services[1]", "services[2]", "services[3]", "tags[0]", "groups"],
        ),
        (json!({"title": "x", "kind": "manual", "all": "yes"}), vec!["all"]),
        (json!({"title": "x", "all": true, "kind": "manual", "longest_s": 1e9, "cron": "0 2 * * *"}), vec!["cron", "longest_s"]),
        (json!({"title": "x", "all": true, "kind": "sometimes"}), vec!["kind"]),
        (cron("61 * * * *", json!(3600)), vec!["cron"]),
        (cron("0 0 30 2 *", json!(3600)), vec!["cron"]),
        (cron("* * * * *", json!(60)), vec!["cron"]),
        (cron("0 * * * *", json!(3600)), vec!["duration_s"]),
        (cron("0 2 * * *", json!(5)), vec!["duration_s"]),
        (json!({"title": "x", "all": true, "cron": "0 2 * * *", "timezone": "Mars/Olympus", "duration_s": 60}), vec!["timezone"]),
        (json!({"title": "x", "all": true, "kind": "recurring"}), vec!["cron", "duration_s"]),
        (json!({"title": "x".repeat(201), "reason": "y".repeat(2001), "all": true, "kind": "manual"}), vec!["title", "reason"]),
        (json!({"colour": "red"}), vec!["colour"]),
    ];
    for (body, fields) in table {
        let (status, named) = refusal(&world, Method::Post, WINDOWS, body.clone()).await;
        assert_eq!((status, named), (Status::UnprocessableEntity, fields.iter().map(|field| (*field).to_owned()).collect()), "{body}");
    }
    assert_eq!(world.get(WINDOWS).await["count"], 0);
    for (query, field) in [("?state=on", "state"), ("?service=x", "service"), ("?colour=red", "colour")] {
        let (status, problem) = world.ask(Method::Get, &format!("{WINDOWS}{query}"), None).await;
        assert_eq!((status, &problem["errors"][0]["field"]), (Status::BadRequest, &json!(field)), "{problem}");
    }
    assert_eq!(world.ask(Method::Get, &format!("{WINDOWS}7/"), None).await.0, Status::NotFound);
    world.stop().await;
}
