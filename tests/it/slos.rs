//! Objectives at the edge: a real hub whose regions are played by the test, asked through its API.

use std::time::{Duration, Instant};

use probemesh::clock::Clock;
use probemesh::model::check::CheckResult;
use rocket::http::{Method, Status};
use serde_json::{Value, json};

use crate::regions_world::{World, good, refused, shop, start};

const SLOS: &str = "/api/v1/slos/";
const REGION: &str = "eu-west";

async fn promise(world: &World, body: Value) -> Value {
    let (status, made) = world.ask(Method::Post, SLOS, Some(body)).await;
    assert_eq!(status, Status::Created, "{made}");
    made
}

/// Feeds a letter a minute from a minute on, each at its own time: `u` passed, `s` passed slowly, `d` failed, `.` nothing.
async fn live(world: &mut World, clock: &Clock, shop: u64, from: u64, letters: &str) {
    for (index, letter) in letters.chars().enumerate() {
        let seconds = (from + index as u64) * 60;
        let result = match letter {
            'u' => Some(good(shop, REGION, seconds)),
            's' => Some(CheckResult { latency: Duration::from_millis(900), ..good(shop, REGION, seconds) }),
            'd' => Some(refused(shop, REGION, seconds)),
            _ => None,
        };
        if let Some(result) = result {
            world.feed(REGION, &[result]).await;
        }
        clock.advance(Duration::from_secs(60)).await;
    }
}

/// Waits until an objective's status is as wanted, while looks are taken.
async fn until(world: &World, clock: &Clock, id: &Value, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    let began = Instant::now();
    loop {
        let status = world.get(&format!("{SLOS}{id}/")).await["status"].clone();
        if wanted(&status) {
            return status;
        }
        assert!(began.elapsed() < Duration::from_secs(90), "never came: {what}; {status:#}");
        tokio::time::sleep(Duration::from_millis(5)).await;
        clock.advance(Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_objective_tells_what_was_attained_and_what_is_left_without_maintenance() {
    let folder = tempfile::tempdir().unwrap();
    let clock = start();
    let mut world = World::open(folder.path(), &clock, 1).await;
    let shop = world.add(shop()).await;
    // A hundred minutes, two of them down, ten of them unmeasured but for the three a state holds.
    live(&mut world, &clock, shop, 0, &("u".repeat(40) + "dd" + &"u".repeat(48) + &".".repeat(10))).await;
    let slo = promise(&world, json!({"name": "shop is up", "service": "shop", "objective": 99})).await;
    assert_eq!((&slo["kind"], &slo["period"], &slo["least_coverage"]), (&json!("availability"), &json!({"days": 30}), &json!(0.5)));
    let status = &slo["status"];
    // The last check holds for 185 s: 92 minutes and 5 seconds are known.
    let known = 89.0 * 60.0 + 185.0;
    assert_eq!((&status["known_s"], &status["down_s"], &status["elapsed_s"]), (&json!(known), &json!(120.0), &json!(6000.0)), "{status:#}");
    assert_eq!((&status["unknown_s"], &status["maintenance_s"]), (&json!(6000.0 - known), &json!(0.0)));
    let attained = status["attained"].as_f64().unwrap();
    assert!((attained - (1.0 - 120.0 / known) * 100.0).abs() < 1e-5, "{attained}");
    let budget = |status: &Value, name: &str| status["budget"][name].as_f64().unwrap();
    assert!((budget(status, "total_minutes") - known / 60.0 * 0.01).abs() < 1e-3, "{status:#}");
    assert_eq!((budget(status, "spent_minutes"), &status["state"]), (2.0, &json!("missed")));
    assert!(budget(status, "left_percent") < -100.0);

    let window = json!({"title": "forgotten", "reason": "was announced", "services": [shop], "from": "2026-11-22T12:35:00Z", "until": "2026-11-22T12:45:00Z"});
    let (made, window) = world.ask(Method::Post, "/api/v1/maintenance-windows/", Some(window)).await;
    assert_eq!(made, Status::Created, "{window}");
    let path = format!("{SLOS}{}/", slo["id"]);
    let status = world.get(&path).await["status"].clone();
    assert_eq!(
        (&status["attained"], &status["state"], &status["maintenance_s"]),
        (&json!(100.0), &json!("met"), &json!(600.0)),
        "{status:#}"
    );
    assert_eq!((&status["known_s"], &status["budget"]["left_percent"]), (&json!(known - 600.0), &json!(100.0)));
    world.ask(Method::Delete, &format!("/api/v1/maintenance-windows/{}/", window["id"]), None).await;
    assert_eq!(world.get(&path).await["status"]["down_s"], 120.0);

    // With less than was asked for, nothing is said.
    let (status, strict) = world.ask(Method::Patch, &path, Some(json!({"least_coverage": 0.95}))).await;
    assert_eq!((status, &strict["status"]["state"], &strict["revision"]), (Status::Ok, &json!("unknown"), &json!(2)), "{strict}");
    let month = json!({"name": "month", "service": shop, "objective": 99.9, "period": {"calendar": "month", "timezone": "Europe/Berlin"}});
    let (status, month) = world.ask(Method::Put, &path, Some(month)).await;
    assert_eq!((status, &month["status"]["until"]), (Status::Ok, &json!("2026-11-30T23:00:00.000Z")), "{month}");
    // 8 days, 9 hours and 20 minutes of the month are to come, and earn what they will.
    let total = ((8.0 * 1440.0 + 9.0 * 60.0 + 20.0) + known / 60.0) * 0.001;
    assert!((budget(&month["status"], "total_minutes") - total).abs() < 1e-3, "{month}");
    assert_eq!((&month["status"]["state"], world.get(SLOS).await["count"].as_u64()), (&json!("met"), Some(1)));
    let (status, stale) = world.ask(Method::Patch, &path, Some(json!({"name": "x", "revision": 1}))).await;
    assert_eq!(status, Status::Conflict, "{stale}");
    assert_eq!(world.ask(Method::Delete, &path, None).await.0, Status::NoContent);
    assert_eq!(world.ask(Method::Get, &path, None).await.0, Status::NotFound);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_latency_objective_counts_checks_that_passed_in_time() {
    let folder = tempfile::tempdir().unwrap();
    let clock = start();
    let mut world = World::open(folder.path(), &clock, 1).await;
    let shop = world.add(shop()).await;
    live(&mut world, &clock, shop, 0, &("u".repeat(16) + "ssd" + "u")).await;
    let body = json!({"name": "fast", "service": shop, "kind": "latency", "latency_ms": 500, "objective": 90, "regions": [REGION]});
    let slo = promise(&world, body).await;
    let status = &slo["status"];
    assert_eq!((&status["checks"], &status["bad_checks"], &status["attained"]), (&json!(20.0), &json!(3.0), &json!(85.0)), "{status:#}");
    assert_eq!((&status["budget"]["spent_minutes"], &status["budget"]["total_minutes"]), (&json!(3.0), &json!(2.0)));
    assert_eq!((&status["state"], &slo["latency_ms"]), (&json!("missed"), &json!(500.0)));
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_burning_budget_is_told_stays_known_through_a_restart_and_is_cleared_by_the_short_stretch() {
    let folder = tempfile::tempdir().unwrap();
    let clock = start();
    let mut world = World::open(folder.path(), &clock, 1).await;
    let shop = world.add(shop()).await;
    let fast = json!([{"factor": 14.4, "long_s": 3600, "short_s": 300, "severity": "critical"}]);
    let slo = promise(&world, json!({"name": "up", "service": shop, "objective": 99.9, "burn": fast})).await;
    let usual = promise(&world, json!({"name": "usual", "service": shop, "objective": 99.9})).await;
    live(&mut world, &clock, shop, 0, &"u".repeat(60)).await;
    let status = until(&world, &clock, &slo["id"], "rates", |status| !status["burn_rates"].as_array().unwrap().is_empty()).await;
    assert_eq!((&status["burning"], &status["burn_rates"][0]["long"]), (&json!(false), &json!(0.0)), "{status:#}");
    live(&mut world, &clock, shop, 60, "dd").await;
    let status = until(&world, &clock, &slo["id"], "burning", |status| status["burning"] == true).await;
    assert_eq!(status["severity"], "critical");
    // Two minutes of an hour at three nines.
    let long = status["burn_rates"][0]["long"].as_f64().unwrap();
    assert!(long > 30.0 && long < 40.0, "{status:#}");
    let since = status["burning_since"].clone();
    until(&world, &clock, &usual["id"], "the other", |status| status["burning"] == true).await;
    assert_eq!(world.get(&format!("{SLOS}?burning=true")).await["count"], 2);
    world.stop().await;

    let mut world = World::open(folder.path(), &clock, 2).await;
    clock.advance(Duration::from_secs(31)).await;
    let status = until(&world, &clock, &slo["id"], "still burning", |status| status["burning"] == true).await;
    assert_eq!(status["burning_since"], since, "it goes on under its name");
    live(&mut world, &clock, shop, 63, &"u".repeat(6)).await;
    until(&world, &clock, &slo["id"], "cleared", |status| status["burning"] == false).await;
    // Those with longer stretches go on, less severe.
    let status = until(&world, &clock, &usual["id"], "slower", |status| status["severity"] == "warning").await;
    assert_eq!(status["burning"], true, "{status:#}");
    // A service nobody watches any more burns nothing.
    let (_, off) = world.ask(Method::Patch, &format!("/api/monitor/services/{shop}/"), Some(json!({"enabled": false}))).await;
    assert_eq!(off["enabled"], false);
    clock.advance(Duration::from_secs(31)).await;
    until(&world, &clock, &usual["id"], "off", |status| status["burning"] == false).await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fails_in_a_window_burns_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let clock = start();
    let mut world = World::open(folder.path(), &clock, 1).await;
    let shop = world.add(shop()).await;
    let slo = promise(&world, json!({"name": "up", "service": shop, "objective": 99.9})).await;
    live(&mut world, &clock, shop, 0, &"u".repeat(30)).await;
    let (_, window) = world
        .ask(Method::Post, "/api/v1/maintenance-windows/", Some(json!({"title": "upgrade", "kind": "manual", "services": [shop]})))
        .await;
    live(&mut world, &clock, shop, 30, "dddddddd").await;
    world.ask(Method::Post, &format!("/api/v1/maintenance-windows/{}/end/", window["id"]), None).await;
    live(&mut world, &clock, shop, 38, &"u".repeat(8)).await;
    let status = until(&world, &clock, &slo["id"], "rates", |status| status["burn_rates"][0]["short"] == json!(0.0)).await;
    assert_eq!(
        (&status["burning"], &status["burn_rates"][0]["long"], &status["down_s"]),
        (&json!(false), &json!(0.0), &json!(0.0)),
        "{status:#}"
    );
    // Taken back, it burned.
    world.ask(Method::Delete, &format!("/api/v1/maintenance-windows/{}/", window["id"]), None).await;
    clock.advance(Duration::from_secs(31)).await;
    let recounted = |status: &Value| status["burn_rates"][0]["long"].as_f64().is_some_and(|long| long > 100.0);
    until(&world, &clock, &slo["id"], "recounted", recounted).await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_report_of_any_range_is_json_a_table_and_a_page_that_asks_for_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let clock = start();
    let mut world = World::open(folder.path(), &clock, 1).await;
    let shop = world.add(json!({"name": "<b>shop</b>", "base_url": "http://192.0.2.1", "interval_s": 60})).await;
    live(&mut world, &clock, shop, 0, &("u".repeat(10) + "dddd" + &"u".repeat(46))).await;
    let slo = promise(&world, json!({"name": "=up", "service": shop, "objective": 90})).await;
    let window =
        json!({"title": "cable \"x\"", "reason": "was cut", "all": true, "from": "2026-11-22T12:30:00Z", "until": "2026-11-22T12:40:00Z"});
    world.ask(Method::Post, "/api/v1/maintenance-windows/", Some(window)).await;
    let path = format!("{SLOS}{}/report", slo["id"]);
    let report = world.get(&path).await;
    assert_eq!(
        (&report["state"], &report["down_s"], &report["maintenance_s"]),
        (&json!("met"), &json!(240.0), &json!(600.0)),
        "{report:#}"
    );
    assert_eq!((&report["attained"], &report["coverage"]), (&json!(92.0), &json!(1.0)));
    assert_eq!((&report["budget"]["total_minutes"], &report["budget"]["left_minutes"]), (&json!(5.0), &json!(1.0)));
    assert_eq!(report["reckoned_since"], "2026-11-22T12:00:00.000Z", "the service was made then");
    assert_eq!((&report["incidents"][0]["duration_s"], &report["incidents_count"]), (&json!(240.0), &json!(1)), "{report:#}");
    assert_eq!((&report["maintenance"][0]["reason"], &report["maintenance"][0]["by"]), (&json!("was cut"), &json!("admin")));
    assert_eq!((&report["rows"][0]["down_s"], &report["regions"][0]["region"]), (&json!(240.0), &json!(REGION)));
    // Half of the trouble, cut within it.
    let part = world.get(&format!("{path}?since=2026-11-22T12:12:00Z&until=2026-11-22T12:22:00Z")).await;
    assert_eq!((&part["down_s"], &part["attained"], &part["elapsed_s"]), (&json!(120.0), &json!(80.0), &json!(600.0)), "{part:#}");
    assert_eq!((&part["incidents"][0]["counted_s"], &part["state"]), (&json!(120.0), &json!("missed")));

    let table = world.get(&format!("{path}?format=csv")).await.as_str().unwrap().to_owned();
    let lines: Vec<&str> = table.lines().collect();
    assert!(
        lines[1].starts_with("total,\"'=up\",2026-10-23T13:00:00.000Z,2026-11-22T13:00:00.000Z,92,100,3600,3000,0,600,240,"),
        "{table}"
    );
    let kinds: Vec<&str> = lines[1..].iter().map(|line| line.split(',').next().unwrap()).collect();
    assert_eq!(kinds, ["total", "day", "region", "incident", "maintenance"]);
    assert!(lines[5].contains("\"cable \"\"x\"\"\"") && lines[5].contains("was cut (by admin)"), "{table}");
    let columns = lines[0].split(',').count();
    assert!(lines[1..5].iter().all(|line| line.split(',').count() >= columns), "{table}");

    let page = world.get(&format!("{path}?format=html")).await.as_str().unwrap().to_owned();
    for expected in ["92.000 %", "&lt;b&gt;shop", "00:04:00", "cable &quot;x&quot;", "@media print", "00:10:00"] {
        assert!(
            page.replace("&#60;", "&lt;").replace("&#62;", "&gt;").replace("&#34;", "&quot;").contains(expected),
            "no {expected} in {page}"
        );
    }
    for never in ["<script", "http://", "https://", "<b>shop", "<link", "src="] {
        assert!(!page.contains(never), "{never} is in {page}");
    }
    for (query, field) in [
        ("?format=pdf", "format"),
        ("?since=2026-11-22T13:00:00Z&until=2026-11-22T12:00:00Z", "until"),
        ("?since=2030-11-22T13:00:00Z", "since"),
        ("?since=2001-11-22T13:00:00Z", "since"),
        ("?colour=red", "colour"),
    ] {
        let (status, problem) = world.ask(Method::Get, &format!("{path}{query}"), None).await;
        let named = problem["errors"][0]["field"].as_str().unwrap_or_default();
        assert!(status == Status::BadRequest && (named == field || named == "since"), "{query}: {problem}");
    }
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_objective_with_mistakes_names_every_field_and_stores_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let clock = start();
    let world = World::open(folder.path(), &clock, 1).await;
    let shop = world.add(shop()).await;
    promise(&world, json!({"name": "taken", "service": shop, "objective": 99})).await;
    let with = |more: Value| {
        let mut body = json!({"name": "x", "service": shop, "objective": 99});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        body
    };
    let pair = |long: u64, short: u64| json!({"burn": [{"factor": 2, "long_s": long, "short_s": short}]});
    let table = [
        (json!({}), vec!["name", "service", "objective"]),
        (with(json!({"name": "taken"})), vec!["name"]),
        (with(json!({"service": 99, "objective": 100})), vec!["service", "objective"]),
        (with(json!({"service": "nobody", "objective": 12, "least_coverage": 2})), vec!["service", "objective", "least_coverage"]),
        (with(json!({"kind": "latency"})), vec!["latency_ms"]),
        (with(json!({"kind": "beauty"})), vec!["kind"]),
        (with(json!({"latency_ms": 5})), vec!["latency_ms"]),
        (with(json!({"regions": []})), vec!["regions"]),
        (with(json!({"regions": ["moon"]})), vec!["regions[0]"]),
        (with(json!({"period": "month"})), vec!["period"]),
        (with(json!({"period": {}})), vec!["period"]),
        (with(json!({"period": {"days": 30, "calendar": "month"}})), vec!["period"]),
        (with(json!({"period": {"days": 0}})), vec!["period.days"]),
        (with(json!({"period": {"days": 1.5}})), vec!["period.days"]),
        (with(json!({"period": {"calendar": "year"}})), vec!["period.calendar"]),
        (with(json!({"period": {"calendar": "month", "timezone": "Mars"}})), vec!["period.timezone"]),
        (with(json!({"period": {"colour": "red", "days": 3}})), vec!["period.colour"]),
        (with(pair(300, 300)), vec!["burn[0].short_s"]),
        (with(pair(1_000_000, 300)), vec!["burn[0].long_s"]),
        (
            with(json!({"burn": [7, {"factor": 0.5, "severity": "loud"}]})),
            vec!["burn[0]", "burn[1].long_s", "burn[1].short_s", "burn[1].factor", "burn[1].severity"],
        ),
        (with(json!({"colour": "red"})), vec!["colour"]),
    ];
    for (body, fields) in table {
        let (status, problem) = world.ask(Method::Post, SLOS, Some(body.clone())).await;
        let errors = problem["errors"].as_array().cloned().unwrap_or_default();
        let named: Vec<&str> = errors.iter().map(|error| error["field"].as_str().unwrap()).collect();
        assert_eq!((status, named), (Status::UnprocessableEntity, fields), "{body}");
    }
    assert_eq!(world.get(SLOS).await["count"], 1);
    let none = promise(&world, with(json!({"burn": []}))).await;
    assert_eq!(none["burn"], json!([]));
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hub_promises_for_itself_on_its_first_start_and_never_again() {
    let folder = tempfile::tempdir().unwrap();
    let own = json!([{"name": "probemesh", "base_url": "self", "health_path": "/healthz", "interval_s": 15}]);
    std::fs::write(folder.path().join("services.json"), own.to_string()).unwrap();
    let clock = start();
    let world = World::open(folder.path(), &clock, 1).await;
    let list = world.get(SLOS).await;
    let told = |slo: &Value| {
        format!("{} {} {} {}", slo["name"].as_str().unwrap(), slo["kind"].as_str().unwrap(), slo["objective"], slo["latency_ms"])
    };
    let seeded: Vec<String> = list["results"].as_array().unwrap().iter().map(told).collect();
    assert_eq!(seeded, ["probemesh is up availability 99.9 null", "probemesh answers in time latency 95.0 2000.0"]);
    for slo in list["results"].as_array().unwrap() {
        assert_eq!(world.ask(Method::Delete, &format!("{SLOS}{}/", slo["id"]), None).await.0, Status::NoContent);
    }
    world.stop().await;
    let world = World::open(folder.path(), &clock, 2).await;
    assert_eq!(world.get(SLOS).await["count"], 0);
    world.stop().await;
}
