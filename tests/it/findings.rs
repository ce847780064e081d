//! Findings at the edge: regions played by the test send hours of results to a real hub, whose clock is moved by hand, and what
//! it finds is asked for through its API.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use probemesh::clock::Clock;
use probemesh::model::check::{CheckResult, Phases};
use probemesh::model::finding::{Evidence, Finding, FindingId, Shape, Signal};
use probemesh::model::id::{RegionName, ServiceId};
use probemesh::model::time::Timestamp;
use rocket::http::{Method, Status};
use serde_json::{Value, json};

use crate::api_world;
use crate::regions_world::{REGIONS, World, at, good, refused, shop, start};

/// Minutes of one batch.
const BATCH: u64 = 60;
/// Minutes in which habits are learnt.
const LEARNT: u64 = 30 * 60;

/// A hub that is fed minute by minute.
struct Fed {
    world: World,
    clock: Clock,
    shop: u64,
    minute: u64,
    told: Vec<String>,
}

/// What a region sees at a minute.
type Sees<'a> = &'a dyn Fn(&'static str, u64) -> Option<CheckResult>;

impl Fed {
    async fn start(folder: &Path) -> Fed {
        let clock = start();
        let world = World::open(folder, &clock, 1).await;
        let shop = world.add(shop()).await;
        Fed { world, clock, shop, minute: 0, told: Vec::new() }
    }

    /// Waits for so many tellings: whoever reads the store may know before the listeners do.
    async fn hear(&mut self, count: usize) {
        let began = Instant::now();
        while self.told.len() < count && began.elapsed() < Duration::from_secs(20) {
            tokio::time::sleep(Duration::from_millis(5)).await;
            self.told.extend(self.world.found());
        }
    }

    async fn restart(self, folder: &Path, boot: u64) -> Fed {
        let Fed { world, clock, shop, minute, told } = self;
        world.stop().await;
        Fed { world: World::open(folder, &clock, boot).await, clock, shop, minute, told }
    }

    /// Lets so many minutes pass, and all of them be judged.
    async fn pass(&mut self, minutes: u64, regions: &[&'static str], sees: Sees<'_>) {
        let end = self.minute + minutes;
        while self.minute < end {
            let until = (self.minute + BATCH).min(end);
            self.clock.step_wall(((until - self.minute) * 60_000_000) as i64);
            for region in regions {
                let results: Vec<CheckResult> = (self.minute..until).filter_map(|minute| sees(region, minute)).collect();
                if !results.is_empty() {
                    self.world.feed(region, &results).await;
                }
            }
            self.minute = until;
            self.clock.advance(Duration::from_secs(1)).await;
            self.told.extend(self.world.found());
        }
        self.world.log_in().await;
        // The last minutes are waited for.
        self.clock.step_wall(25_000_000);
        let last = at(end * 60).minus(Duration::from_secs(60));
        let judged = |habits: &Value| {
            let known = habits["results"].as_array().unwrap();
            known.len() >= regions.len()
                && known
                    .iter()
                    .filter(|habit| regions.iter().any(|region| habit["region"] == *region))
                    .all(|habit| habit["at"] == last.rfc3339())
        };
        let sent = regions.iter().all(|region| sees(region, end - 1).is_some());
        self.until("judged", |_, habits| !sent || judged(habits)).await;
        self.clock.step_wall(-25_000_000);
        self.world.log_in().await;
    }

    /// Waits until findings and habits are as wanted.
    async fn until(&mut self, what: &str, wanted: impl Fn(&[Value], &Value) -> bool) -> Vec<Value> {
        let began = Instant::now();
        loop {
            self.clock.advance(Duration::from_millis(1_100)).await;
            self.told.extend(self.world.found());
            let found = self.world.get("/api/v1/findings/?dismissed=true").await["results"].as_array().unwrap().clone();
            let habits = self.world.get("/api/v1/findings/habits/").await;
            if wanted(&found, &habits) {
                return found;
            }
            assert!(began.elapsed() < Duration::from_secs(60), "never came: {what}; {found:#?} {habits:#}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

/// The same for the same numbers, evenly from 0 to 1.
fn draw(region: &str, minute: u64, salt: u64) -> f64 {
    let mut state = minute.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ salt.wrapping_mul(0xD1B5_4A32_D192_ED03);
    for byte in region.bytes() {
        state = (state ^ u64::from(byte)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        state ^= state >> 29;
    }
    state = state.wrapping_mul(0x94D0_49BB_1331_11EB);
    ((state ^ (state >> 31)) >> 11) as f64 / (1u64 << 53) as f64
}

/// Normally distributed, near enough.
fn noise(region: &str, minute: u64) -> f64 {
    (0..12).map(|salt| draw(region, minute, salt)).sum::<f64>() - 6.0
}

/// A check that took so many milliseconds to connect and for the first byte.
fn took(shop: u64, region: &'static str, minute: u64, connect_ms: f64, first_byte_ms: f64) -> CheckResult {
    let span = |ms: f64| Duration::from_micros((ms * 1e3) as u64);
    let jitter = (0.05 * noise(region, minute)).exp();
    let (connect, first_byte) = (span(connect_ms * jitter), span(first_byte_ms * jitter));
    let phases = Phases { connect: Some(connect), first_byte: Some(first_byte), ..Phases::default() };
    // Some seconds into the minute, a little different in each region.
    let within = (region.len() as u64 * 7) % 50;
    CheckResult { phases, latency: connect + first_byte, elapsed: connect + first_byte, ..good(shop, region, minute * 60 + within) }
}

fn usual(shop: u64) -> impl Fn(&'static str, u64) -> Option<CheckResult> {
    move |region, minute| Some(took(shop, region, minute, 8.0, 30.0))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shift_in_one_region_of_three_is_one_finding_with_region_and_phase_through_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let mut fed = Fed::start(folder.path()).await;
    let shop = fed.shop;
    fed.pass(LEARNT, &REGIONS, &usual(shop)).await;
    let shifted = move |region, minute| {
        let connect = if region == "ap-south" && (LEARNT..LEARNT + 60).contains(&minute) { 90.0 } else { 8.0 };
        Some(took(shop, region, minute, connect, 30.0))
    };
    fed.pass(20, &REGIONS, &shifted).await;
    let open = fed.until("one finding", |found, _| found.len() == 1).await;
    assert_eq!((&open[0]["signal"], &open[0]["region"], &open[0]["open"]), (&json!("connect"), &json!("ap-south"), &json!(true)));
    assert_eq!(open[0]["since"], at(LEARNT * 60).rfc3339());
    let summary = open[0]["summary"].as_str().unwrap();
    assert!(summary.starts_with("connect ") && summary.contains("ap-south only, since 18:00 UTC"), "{summary}");
    let ratio = open[0]["ratio"].as_f64().unwrap();
    assert!((8.0..15.0).contains(&ratio), "{ratio}");
    assert!(open[0]["evidence"].as_array().unwrap().iter().any(|evidence| evidence["what"] == "latency p50"), "{}", open[0]);
    let metrics = fed.world.get("/metrics").await;
    let metrics = metrics.as_str().unwrap();
    assert!(
        metrics.contains("probemesh_findings_total{signal=\"connect\"} 1\n") && metrics.contains("probemesh_findings_open 1\n"),
        "{metrics}"
    );

    fed.hear(1).await;
    let mut fed = fed.restart(folder.path(), 2).await;
    fed.pass(60, &REGIONS, &shifted).await;
    let ended = fed.until("ended", |found, _| found.iter().all(|finding| finding["open"] == false)).await;
    assert_eq!((ended.len(), &ended[0]["id"], &ended[0]["ended"]), (1, &open[0]["id"], &json!(at((LEARNT + 60) * 60).rfc3339())));
    assert_eq!(ended[0]["shape"], "level_up");
    fed.hear(2).await;
    assert_eq!(fed.told, ["opened connect ap-south", "ended connect ap-south"]);
    fed.world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_burst_of_failures_is_a_finding_beside_its_incident_and_each_names_the_other() {
    let folder = tempfile::tempdir().unwrap();
    let mut fed = Fed::start(folder.path()).await;
    let shop = fed.shop;
    fed.pass(LEARNT, &REGIONS, &usual(shop)).await;
    let failing = move |region, minute| match (LEARNT..LEARNT + 10).contains(&minute) && region != "us-east" {
        true => Some(refused(shop, region, minute * 60 + 20)),
        false => usual(shop)(region, minute),
    };
    fed.pass(10, &REGIONS, &failing).await;
    let open = fed.until("one finding", |found, _| found.len() == 1 && found[0]["regions"].as_array().unwrap().len() == 2).await;
    assert_eq!((&open[0]["signal"], &open[0]["shape"], &open[0]["unit"]), (&json!("errors"), &json!("burst"), &json!("share")));
    assert_eq!((&open[0]["region"], &open[0]["regions"]), (&Value::Null, &json!(["ap-south", "eu-west"])));
    let incidents = fed.world.incidents().await;
    assert_eq!(open[0]["incidents"], json!([incidents[0]["id"]]));
    let incident = fed.world.get(&format!("/api/v1/incidents/{}/", incidents[0]["id"].as_str().unwrap())).await;
    assert_eq!(incident["findings"][0]["id"], open[0]["id"]);
    fed.pass(30, &REGIONS, &failing).await;
    let ended = fed.until("ended", |found, _| found.iter().all(|finding| finding["open"] == false)).await;
    assert_eq!(ended.len(), 1, "{ended:#?}");
    fed.world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_week_of_a_healthy_noisy_service_is_no_finding() {
    let folder = tempfile::tempdir().unwrap();
    let mut fed = Fed::start(folder.path()).await;
    let shop = fed.shop;
    // A busy day and a quiet night, a single failure now and then.
    let healthy = move |region: &'static str, minute: u64| {
        let day = (minute as f64 / 1440.0 * std::f64::consts::TAU).sin();
        let load = (0.3 * day + 0.1 * noise(region, minute)).exp();
        if draw(region, minute, 99) < 0.002 {
            return Some(refused(shop, region, minute * 60 + 20));
        }
        Some(took(shop, region, minute, 8.0, 30.0 * load))
    };
    fed.pass(7 * 1440, &["eu-west", "us-east"], &healthy).await;
    let found = fed.until("the last word", |_, _| true).await;
    assert!(found.is_empty(), "{:#?}", found.iter().map(|finding| &finding["summary"]).collect::<Vec<_>>());
    let habits = fed.world.get(&format!("/api/v1/findings/habits/?service={shop}")).await;
    assert_eq!(
        (&habits["count"], &habits["results"][0]["learning"], &habits["results"][0]["times"][0]["learning"]),
        (&json!(2), &Value::Null, &Value::Null)
    );
    fed.world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_sample_gaps_duplicates_late_results_and_clocks_that_jump_are_no_findings() {
    let folder = tempfile::tempdir().unwrap();
    let mut fed = Fed::start(folder.path()).await;
    let shop = fed.shop;
    let constant = move |region, minute: u64| Some(good(shop, region, minute * 60 + 5));
    fed.pass(1, &["eu-west"], &constant).await;
    let habits = fed.world.get("/api/v1/findings/habits/").await;
    let learning = &habits["results"][0]["times"][0]["learning"];
    assert_eq!(learning["have"], 1, "{habits}");
    assert!(learning["need"].as_u64().unwrap() >= 20);
    fed.pass(200, &["eu-west"], &constant).await;
    // Three days of nothing, then the same again, and the same minute twice and thrice.
    fed.pass(3 * 1440, &["eu-west"], &|_, _| None).await;
    fed.pass(120, &["eu-west"], &constant).await;
    let minute = fed.minute;
    for _ in 0..3 {
        let again: Vec<CheckResult> = (minute - 90..minute).map(|minute| took(shop, "eu-west", minute, 900.0, 900.0)).collect();
        fed.world.feed("eu-west", &again).await;
    }
    // The clock goes back by an hour, and on from there.
    fed.clock.step_wall(-3_600_000_000);
    fed.minute -= 60;
    fed.pass(60, &["eu-west"], &move |region, minute| Some(CheckResult { ..good(shop, region, minute * 60 + 6) })).await;
    fed.pass(60, &["eu-west"], &constant).await;
    let found = fed.until("the last word", |_, _| true).await;
    assert!(found.is_empty(), "{found:#?}");
    let cluster = fed.world.get("/api/v1/cluster/").await;
    let actors = cluster["nodes"][0]["actors"].as_array().unwrap();
    let analyst = actors.iter().find(|actor| actor["name"] == "analyst").unwrap();
    let figures = &analyst["children"][0]["figures"];
    assert!(figures["late_results"].as_u64().unwrap() >= 200, "{analyst}");
    assert_eq!((&analyst["restarts"], &figures["failed_services"]), (&json!(0), &json!(0)));
    fed.world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_called_none_is_not_told_again_unless_it_is_larger_and_a_restart_forgets_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let mut fed = Fed::start(folder.path()).await;
    let shop = fed.shop;
    let regions = ["eu-west"];
    fed.pass(LEARNT, &regions, &usual(shop)).await;
    // Every two hours something slow for a quarter of an hour.
    let slow = move |first_byte: f64| {
        move |region, minute| Some(took(shop, region, minute, 8.0, if minute % 120 < 15 { first_byte } else { 30.0 }))
    };
    fed.pass(10, &regions, &slow(200.0)).await;
    let open = fed.until("one finding", |found, _| found.len() == 1).await;
    assert_eq!((&open[0]["signal"], &open[0]["region"]), (&json!("first_byte"), &json!("eu-west")));
    let path = format!("/api/v1/findings/{}/feedback/", open[0]["id"].as_str().unwrap());
    let said = json!({"anomaly": false, "note": "the nightly report"});
    let (status, answered) = fed.world.ask(Method::Post, &path, Some(said)).await;
    assert_eq!(
        (status, &answered["open"], &answered["feedback"]["note"]),
        (Status::Ok, &json!(false), &json!("the nightly report")),
        "{answered}"
    );
    assert_eq!(fed.world.get("/api/v1/findings/").await["count"], 0);
    fed.pass(230, &regions, &slow(200.0)).await;
    let mut fed = fed.restart(folder.path(), 2).await;
    fed.pass(120, &regions, &slow(200.0)).await;
    assert_eq!(fed.until("the last word", |_, _| true).await.len(), 1);
    fed.pass(60, &regions, &slow(600.0)).await;
    let found = fed.until("the larger one", |found, _| found.len() == 2).await;
    assert!(found[0]["observed"].as_f64().unwrap() > 500.0, "{}", found[0]);
    fed.world.stop().await;
}

pub fn finding(number: u32, service: u32, minute: u64, signal: Signal, ended: bool) -> Finding {
    let since = api_world::at("2026-11-22T07:00:00Z").plus(Duration::from_secs(60 * minute));
    Finding {
        id: FindingId(format!("{service}-{}-{number}", signal.name()).into()),
        service: Some(ServiceId(service)),
        name: Arc::from("shop"),
        region: (number.is_multiple_of(2)).then(|| RegionName::from("eu-west")),
        regions: if number.is_multiple_of(2) { vec!["eu-west".into()] } else { vec!["eu-west".into(), "us-east".into()] },
        signal,
        shape: Shape::Spike,
        since,
        last: since,
        ended: ended.then(|| Timestamp(since.0 + 60_000_000)),
        observed: 40_000.0,
        expected: Some(10_000.0),
        score: 0.5 + f64::from(number) / 20.0,
        confidence: 0.5,
        samples: 3,
        learning: None,
        summary: "latency is slow".to_owned(),
        evidence: vec![Evidence { at: since, what: "latency p50".to_owned(), observed: 40_000.0, expected: Some(10_000.0) }],
        feedback: None,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn findings_are_filtered_paged_and_answered_and_bad_input_is_named() {
    let world = api_world::World::new().await;
    let (viewer, operator, admin) = (world.token("viewer").await, world.token("operator").await, world.token("admin").await);
    let findings: Vec<Finding> = vec![
        finding(0, 1, 0, Signal::Latency, true),
        finding(1, 1, 10, Signal::Connect, true),
        finding(2, 1, 20, Signal::Connect, false),
        finding(3, 2, 30, Signal::Errors, false),
    ];
    world.findings.save(&findings).await.unwrap();
    world.findings.save(&findings).await.unwrap();
    let count =
        async |query: &str| world.get(&format!("/api/v1/findings{query}"), Some(&viewer)).await.expect(200)["count"].as_u64().unwrap();
    for (query, expected) in [
        ("", 4),
        ("/", 4),
        ("?service=1", 3),
        ("?region=us-east", 2),
        ("?signal=connect", 2),
        ("?shape=spike&open=true", 2),
        ("?since=2026-11-22T07:11:30Z", 2),
        ("?until=2026-11-22T07:10:00Z", 1),
        ("?min_score=0.6", 2),
        ("?service=9", 0),
    ] {
        assert_eq!(count(query).await, expected, "{query}");
    }
    let page = world.get("/api/v1/findings?page_size=1&page=2", Some(&viewer)).await.expect(200);
    assert_eq!(
        (&page["results"][0]["id"], &page["results"][0]["observed"], &page["results"][0]["ratio"]),
        (&json!("1-connect-2"), &json!(40.0), &json!(4.0))
    );
    assert!(page["next"].as_str().unwrap().contains("page=3"), "{page}");
    for (query, field) in [
        ("?signal=speed", "signal"),
        ("?shape=round", "shape"),
        ("?min_score=2", "min_score"),
        ("?min_score=NaN", "min_score"),
        ("?open=maybe", "open"),
        ("?since=yesterday", "since"),
        ("?service=shop", "service"),
        ("?colour=red", "colour"),
        ("/habits?service=x", "service"),
    ] {
        assert_eq!(world.get(&format!("/api/v1/findings{query}"), Some(&viewer)).await.problem(400), [field], "{query}");
    }
    world.get("/api/v1/findings", None).await.problem(401);
    world.get("/api/v1/findings/9-latency-9", Some(&viewer)).await.problem(404);
    let path = "/api/v1/findings/1-connect-2/feedback";
    world.post(path, Some(&viewer), json!({"anomaly": false})).await.problem(403);
    world.post("/api/v1/findings/none/feedback", Some(&operator), json!({"anomaly": false})).await.problem(404);
    assert_eq!(world.post(path, Some(&operator), json!({"anomaly": "no"})).await.status, 422);
    assert_eq!(world.post(path, Some(&operator), json!({"anomaly": false, "note": "x".repeat(10_001)})).await.problem(422), ["note"]);
    let said = world.post(path, Some(&operator), json!({"anomaly": false, "note": " a release "})).await.expect(200);
    assert_eq!(
        (&said["open"], &said["feedback"]["who"], &said["feedback"]["note"]),
        (&json!(false), &json!("operator"), &json!("a release"))
    );
    assert_eq!((count("").await, count("?dismissed=true").await), (3, 4));
    // What the analyst had still to write of it changes nothing, and a word can be taken back.
    world.findings.save(&findings).await.unwrap();
    assert_eq!(world.get("/api/v1/findings/1-connect-2", Some(&viewer)).await.expect(200)["open"], false);
    let back = world.post(path, Some(&operator), json!({"anomaly": true})).await.expect(200);
    assert_eq!((&back["feedback"]["anomaly"], count("").await), (&json!(true), 4));
    let log = world.get("/api/v1/audit?page_size=1", Some(&admin)).await.expect(200);
    assert_eq!((&log["results"][0]["action"], &log["results"][0]["subject"]), (&json!("finding.feedback"), &json!("finding:1-connect-2")));
    assert_eq!(world.findings.forget(api_world::at("2026-11-22T07:05:00Z")).await.unwrap(), 1);
    assert_eq!(count("").await, 3);
}
