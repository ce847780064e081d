//! Incidents at the edge: three regions played by the test send batches to a real hub, which is asked through its API.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use probemesh::api::events::Event;
use probemesh::clock::Clock;
use probemesh::config::Config;
use probemesh::config::sources::{Role, Sources};
use probemesh::hub::Hub;
use probemesh::model::check::{Attempt, CheckResult, Failure, Phase, Phases, Reason};
use probemesh::model::id::{Boot, CheckId, NodeName, RegionName, ServiceId};
use probemesh::model::time::Timestamp;
use probemesh::telemetry::health::HealthLog;
use probemesh::wire::batch::{BatchHead, encode};
use probemesh::wire::link::{Answer, Delivery, NodeEnd};
use rocket::http::{ContentType, Header, Method, Status};
use rocket::local::asynchronous::Client;
use serde_json::{Value, json};
use tokio::sync::{broadcast, oneshot};

use crate::world::PASSWORD;

const NOON: &str = "2026-11-22T12:00:00Z";
const REGIONS: [&str; 3] = ["ap-south", "eu-west", "us-east"];

/// A hub with the link its nodes would use.
struct World {
    client: Client,
    hub: Hub,
    link: NodeEnd,
    events: broadcast::Receiver<Arc<Event>>,
    token: String,
    boot: u64,
    batches: BTreeMap<&'static str, u64>,
}

fn start() -> Clock {
    Clock::manual(Timestamp::parse(NOON).unwrap())
}

fn at(seconds: u64) -> Timestamp {
    Timestamp::parse(NOON).unwrap().plus(Duration::from_secs(seconds))
}

impl World {
    async fn open(folder: &Path, clock: &Clock, boot: u64) -> World {
        let environment = vec![
            ("PROBEMESH_ADMIN_PASSWORD".to_owned(), PASSWORD.to_owned()),
            ("PROBEMESH_API__REQUESTS_PER_MINUTE".to_owned(), "100000".to_owned()),
        ];
        let config = Config::load(&Sources { dir: PathBuf::from(folder), environment, role: Role::Hub }).unwrap();
        let mut hub = Hub::start(config, clock.clone(), HealthLog::off()).await.unwrap();
        let events = hub.events.subscribe();
        let client = Client::tracked(hub.take_rocket().unwrap()).await.unwrap();
        let link = hub.seat_region();
        let mut world = World { client, hub, link, events, token: String::new(), boot, batches: BTreeMap::new() };
        let (_, tokens) = world.ask(Method::Post, "/api/token/", Some(json!({"username": "admin", "password": PASSWORD}))).await;
        world.token = tokens["access"].as_str().unwrap().to_owned();
        world
    }

    async fn ask(&self, method: Method, path: &str, body: Option<Value>) -> (Status, Value) {
        let mut request = self.client.req(method, path.to_owned());
        if !self.token.is_empty() {
            request = request.header(Header::new("Authorization", format!("Bearer {}", self.token)));
        }
        if let Some(body) = body {
            request = request.header(ContentType::JSON).body(body.to_string());
        }
        let answer = request.dispatch().await;
        let status = answer.status();
        let text = answer.into_string().await.unwrap_or_default();
        (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
    }

    async fn get(&self, path: &str) -> Value {
        let (status, value) = self.ask(Method::Get, path, None).await;
        assert_eq!(status, Status::Ok, "{path}: {value}");
        value
    }

    async fn add(&self, service: Value) -> u64 {
        let (status, added) = self.ask(Method::Post, "/api/monitor/services/", Some(service)).await;
        assert_eq!(status, Status::Created, "{added}");
        added["id"].as_u64().unwrap()
    }

    /// Sends one region's results and waits until they are stored.
    async fn feed(&mut self, region: &'static str, results: &[CheckResult]) {
        let number = self.batches.entry(region).or_default();
        *number += 1;
        let head = BatchHead::new(&node(region), &RegionName::from(region), Boot(self.boot), *number, 0);
        let results: Vec<CheckResult> = results
            .iter()
            .map(|result| CheckResult { id: CheckId { boot: Boot(self.boot), ..result.id.clone() }, ..result.clone() })
            .collect();
        let (answer, answered) = oneshot::channel();
        let batch = encode(&head, &results).into();
        self.link.deliveries.send(Delivery { batches: vec![batch], clock_offset: None, answer }).await.unwrap();
        assert!(matches!(answered.await.unwrap(), Answer::Stored { .. }));
    }

    async fn incidents(&self) -> Vec<Value> {
        self.get("/api/v1/incidents/").await["results"].as_array().unwrap().clone()
    }

    /// Waits, without moving the clock, until the incidents are as wanted.
    async fn until(&self, what: &str, wanted: impl Fn(&[Value]) -> bool) -> Vec<Value> {
        let began = Instant::now();
        loop {
            let found = self.incidents().await;
            if wanted(&found) {
                return found;
            }
            assert!(began.elapsed() < Duration::from_secs(20), "never came: {what}; {found:#?}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// What was told of incidents so far.
    fn told(&mut self) -> Vec<String> {
        let mut told = Vec::new();
        while let Ok(event) = self.events.try_recv() {
            if let Event::Incident(event) = &*event {
                told.push(format!("{} {}", event.what, event.first_line));
            }
        }
        told
    }

    async fn verdict(&self, service: u64) -> String {
        let summary = self.get("/api/monitor/health/summary/").await;
        let services = summary["services"].as_array().unwrap();
        let mine = services.iter().find(|of| of["service_id"] == service).unwrap();
        mine["verdict"].as_str().unwrap().to_owned()
    }

    async fn stop(self) {
        let World { hub, client, .. } = self;
        drop(client);
        hub.stop(None, Duration::from_secs(20)).await.unwrap();
    }
}

fn node(region: &str) -> NodeName {
    NodeName::from(format!("{region}-1").as_str())
}

fn good(service: u64, region: &str, seconds: u64) -> CheckResult {
    CheckResult {
        id: CheckId { node: node(region), boot: Boot(1), seq: seconds },
        service: ServiceId(service as u32),
        region: RegionName::from(region),
        scheduled_at: at(seconds),
        started_at: at(seconds),
        latency: Duration::from_millis(12),
        elapsed: Duration::from_millis(12),
        clock_offset: 0,
        status_code: Some(200),
        failure: None,
        phases: Phases::default(),
        address: Some("192.0.2.1".parse().unwrap()),
        http_version: None,
        tls_version: None,
        certificate: None,
        body_bytes: 2,
        redirects: 0,
        attempt_count: 1,
        attempts: Vec::new(),
        evidence: None,
    }
}

fn refused(service: u64, region: &str, seconds: u64) -> CheckResult {
    let failure = Some(Failure { reason: Reason::Connect, phase: Phase::Connect, message: "connection refused".to_owned() });
    let attempt = Attempt {
        offset: Duration::ZERO,
        latency: Duration::from_millis(1),
        phases: Phases::default(),
        status_code: None,
        address: None,
        failure: failure.clone(),
    };
    CheckResult { status_code: None, failure, attempts: vec![attempt], ..good(service, region, seconds) }
}

fn shop() -> Value {
    json!({"name": "shop", "base_url": "http://192.0.2.1", "interval_s": 60})
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_target_is_one_incident_through_a_restart_of_the_hub() {
    let folder = tempfile::tempdir().unwrap();
    let clock = start();
    let mut world = World::open(folder.path(), &clock, 1).await;
    let shop = world.add(shop()).await;
    for region in REGIONS {
        world.feed(region, &[good(shop, region, 0)]).await;
    }
    clock.advance(Duration::from_secs(63)).await;
    for (index, region) in REGIONS.into_iter().enumerate() {
        world.feed(region, &[refused(shop, region, 60 + index as u64)]).await;
    }
    // The clock stands still: nothing polls to find out.
    let line = "connect refused in 3 of 3 regions";
    let found = world.until("the incident with all it knows", |found| found.len() == 1 && found[0]["first_line"] == line).await;
    assert_eq!((&found[0]["severity"], &found[0]["open"]), (&json!("critical"), &json!(true)));
    assert_eq!(found[0]["opened_at"], "2026-11-22T12:01:01.000Z");
    let id = found[0]["id"].as_str().unwrap().to_owned();
    let told = world.told();
    assert_eq!(told, ["opened connect refused in 2 of 3 regions", "updated connect refused in 3 of 3 regions"]);

    let path = format!("/api/v1/incidents/{id}/");
    let (status, taken) = world.ask(Method::Post, &format!("{path}acknowledge/"), None).await;
    assert_eq!((status, &taken["acknowledged_by"]), (Status::Ok, &json!("admin")), "{taken}");
    let (_, again) = world.ask(Method::Post, &format!("{path}acknowledge/"), None).await;
    assert_eq!(again["timeline"], taken["timeline"], "taken on once");
    let (status, noted) = world.ask(Method::Post, &format!("{path}notes/"), Some(json!({"text": "looking at the switch"}))).await;
    assert_eq!(status, Status::Ok, "{noted}");
    let (status, empty) = world.ask(Method::Post, &format!("{path}notes/"), Some(json!({"text": " "}))).await;
    assert_eq!((status, &empty["errors"][0]["field"]), (Status::UnprocessableEntity, &json!("text")));
    let regions = noted["regions"].as_array().unwrap();
    assert_eq!(regions.len(), 3);
    assert_eq!(regions[0]["result"]["attempts"][0]["message"], "connection refused");

    world.stop().await;
    clock.advance(Duration::from_secs(30)).await;
    let mut world = World::open(folder.path(), &clock, 2).await;
    assert_eq!(world.verdict(shop).await, "down");
    clock.advance(Duration::from_secs(30)).await;
    for region in REGIONS {
        world.feed(region, &[refused(shop, region, 120)]).await;
    }
    clock.advance(Duration::from_secs(60)).await;
    for region in REGIONS {
        world.feed(region, &[good(shop, region, 180)]).await;
    }
    let found = world.until("closed", |found| found.iter().all(|incident| incident["open"] == false)).await;
    assert_eq!((found.len(), &found[0]["id"]), (1, &json!(id)));
    assert_eq!((&found[0]["closed_at"], &found[0]["duration_s"]), (&json!("2026-11-22T12:03:00.000Z"), &json!(119.0)));
    let mut told = world.told();
    // Whoever reads the store may know before the listeners do.
    while !told.iter().any(|told| told.starts_with("closed")) {
        tokio::task::yield_now().await;
        told.extend(world.told());
    }
    assert!(told.iter().all(|told| !told.starts_with("opened")), "told again: {told:?}");
    assert_eq!(told.iter().filter(|told| told.starts_with("closed")).count(), 1);
    // A failure of before comes late and opens nothing.
    world.feed("eu-west", &[refused(shop, "eu-west", 119)]).await;
    let detail = world.get(&path).await;
    assert_eq!((detail["open"].as_bool(), detail["acknowledged_by"].as_str()), (Some(false), Some("admin")));
    let kinds: Vec<&str> = detail["timeline"].as_array().unwrap().iter().map(|entry| entry["kind"].as_str().unwrap()).collect();
    for (kind, count) in [("opened", 1), ("acknowledged", 1), ("note", 1), ("closed", 1)] {
        assert_eq!(kinds.iter().filter(|other| **other == kind).count(), count, "{kind} of {kinds:?}");
    }
    assert_eq!(world.get(&format!("/api/v1/incidents/?service={shop}&open=true")).await["count"], 0);
    assert_eq!(world.get("/api/v1/incidents/?severity=critical&since=2026-11-22T12:00:00Z").await["count"], 1);
    assert_eq!(world.get("/api/v1/incidents/?since=2026-11-22T12:03:01Z").await["count"], 0);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_recovered_before_it_could_be_written_is_closed_at_its_own_time() {
    let folder = tempfile::tempdir().unwrap();
    let clock = start();
    let mut world = World::open(folder.path(), &clock, 1).await;
    let shop = world.add(shop()).await;
    clock.advance(Duration::from_secs(61)).await;
    for region in REGIONS {
        world.feed(region, &[refused(shop, region, 60)]).await;
    }
    let id = world.until("opened", |found| found.len() == 1).await[0]["id"].clone();
    // The store gets the recovery past a hub that is not there to see it.
    let store = world.hub.store.clone();
    clock.advance(Duration::from_secs(60)).await;
    for region in REGIONS {
        let head = BatchHead::new(&node(region), &RegionName::from(region), Boot(1), 9, 0);
        store.results.append(&encode(&head, &[good(shop, region, 120)])).await.unwrap();
    }
    drop(store);
    world.stop().await;
    clock.advance(Duration::from_secs(45)).await;
    let mut world = World::open(folder.path(), &clock, 2).await;
    let found = world.until("closed", |found| found.iter().all(|incident| incident["open"] == false)).await;
    assert_eq!((found.len(), &found[0]["id"], &found[0]["closed_at"]), (1, &id, &json!("2026-11-22T12:02:00.000Z")));
    assert_eq!(world.told().iter().filter(|told| told.starts_with("closed")).count(), 1);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_region_alone_is_degraded_and_the_others_are_asked_once() {
    let folder = tempfile::tempdir().unwrap();
    let clock = start();
    let mut world = World::open(folder.path(), &clock, 1).await;
    let shop = world.add(shop()).await;
    for region in REGIONS {
        world.feed(region, &[good(shop, region, 0)]).await;
    }
    clock.advance(Duration::from_secs(61)).await;
    world.feed("eu-west", &[refused(shop, "eu-west", 60)]).await;
    let request = tokio::time::timeout(Duration::from_secs(20), world.link.requests.recv()).await.expect("others are asked").unwrap();
    assert_eq!(request.service, ServiceId(shop as u32));
    assert_eq!(world.verdict(shop).await, "degraded");
    // It goes on failing, and one that was asked fails too: nobody is asked again.
    clock.advance(Duration::from_secs(60)).await;
    world.feed("eu-west", &[refused(shop, "eu-west", 120)]).await;
    world.feed("us-east", &[good(shop, "us-east", 120)]).await;
    world.feed("us-east", &[refused(shop, "us-east", 121)]).await;
    let found = world.until("two of three", |found| found.len() == 1).await;
    assert_eq!(found[0]["first_line"], "connect refused in 2 of 3 regions");
    assert!(world.link.requests.try_recv().is_err());
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_incident_ends_with_its_service() {
    let folder = tempfile::tempdir().unwrap();
    let clock = start();
    let mut world = World::open(folder.path(), &clock, 1).await;
    let shop = world.add(shop()).await;
    world.feed("eu-west", &[refused(shop, "eu-west", 0)]).await;
    world.until("opened", |found| found.len() == 1).await;
    let (status, _) = world.ask(Method::Delete, &format!("/api/monitor/services/{shop}/"), None).await;
    assert_eq!(status, Status::NoContent);
    clock.advance(Duration::from_secs(2)).await;
    let found = world.until("closed", |found| found[0]["open"] == false).await;
    let detail = world.get(&format!("/api/v1/incidents/{}/", found[0]["id"].as_str().unwrap())).await;
    let last = detail["timeline"].as_array().unwrap().last().unwrap().clone();
    assert!(last["text"].as_str().unwrap().starts_with("the service was deleted"), "{last}");
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rollups_and_uptime_are_answered_from_the_running_hour_on() {
    let folder = tempfile::tempdir().unwrap();
    let clock = start();
    let mut world = World::open(folder.path(), &clock, 1).await;
    let shop = world.add(shop()).await;
    for region in ["eu-west", "us-east"] {
        let results: Vec<CheckResult> =
            (0..10).map(|minute| if minute == 4 { refused(shop, region, 240) } else { good(shop, region, minute * 60) }).collect();
        world.feed(region, &results).await;
    }
    clock.advance(Duration::from_secs(600)).await;
    let hours = world.get(&format!("/api/v1/rollups/?service={shop}&resolution=1h")).await;
    let hour = &hours["results"][0];
    assert_eq!((&hour["checks"], &hour["failures"], &hour["failures_by_reason"]), (&json!(20), &json!(2), &json!({"connect": 2})));
    assert_eq!((&hour["up_s"], &hour["down_s"], &hour["unknown_s"]), (&json!(1080.0), &json!(120.0), &json!(0.0)));
    assert_eq!((&hour["uptime"], &hour["coverage"], &hour["latency"]["count"]), (&json!(0.9), &json!(1.0), &json!(18)));
    let p50 = hour["latency"]["p50_ms"].as_f64().unwrap();
    assert!((p50 - 12.0).abs() < 0.13, "{p50}");
    let minutes = world.get(&format!("/api/v1/rollups/?service={shop}&resolution=1m&region=eu-west")).await;
    assert_eq!(minutes["results"].as_array().unwrap().len(), 10);
    let service = world.get(&format!("/api/monitor/services/{shop}/")).await;
    assert_eq!(service["uptime"]["24h"]["ratio"], 0.9);
    let coverage = service["uptime"]["24h"]["coverage"].as_f64().unwrap();
    assert!((coverage - 600.0 / 86_400.0 / (1.0 + 600.0 / 86_400.0)).abs() < 1e-6, "{coverage}");
    let summary = world.get("/api/monitor/health/summary/").await;
    assert_eq!(summary["services"][0]["uptimes"]["90d"]["ratio"], 0.9);
    for wrong in ["?resolution=1h", "?service=1&resolution=2h", "?service=1&resolution=1m&since=2026-01-01T00:00:00Z"] {
        let (status, problem) = world.ask(Method::Get, &format!("/api/v1/rollups/{wrong}"), None).await;
        assert_eq!(status, Status::BadRequest, "{problem}");
    }
    world.stop().await;
}
