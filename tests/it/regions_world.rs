//! A real hub whose regions are played by the test: they send batches over the link, and it is asked through its API.

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
pub const REGIONS: [&str; 3] = ["ap-south", "eu-west", "us-east"];

/// A hub with the link its nodes would use.
pub struct World {
    client: Client,
    pub hub: Hub,
    pub link: NodeEnd,
    events: broadcast::Receiver<Arc<Event>>,
    findings: broadcast::Receiver<Arc<Event>>,
    token: String,
    boot: u64,
    batches: BTreeMap<&'static str, u64>,
}

pub fn start() -> Clock {
    Clock::manual(Timestamp::parse(NOON).unwrap())
}

pub fn at(seconds: u64) -> Timestamp {
    Timestamp::parse(NOON).unwrap().plus(Duration::from_secs(seconds))
}

impl World {
    pub async fn open(folder: &Path, clock: &Clock, boot: u64) -> World {
        World::open_with(folder, clock, boot, &[]).await
    }

    /// With settings as the environment would give them.
    pub async fn open_with(folder: &Path, clock: &Clock, boot: u64, settings: &[(&str, &str)]) -> World {
        let mut environment = vec![
            ("PROBEMESH_ADMIN_PASSWORD".to_owned(), PASSWORD.to_owned()),
            ("PROBEMESH_API__REQUESTS_PER_MINUTE".to_owned(), "100000".to_owned()),
            ("PROBEMESH_API__LOGINS_PER_MINUTE".to_owned(), "1000".to_owned()),
            ("PROBEMESH_API__ACCESS_LIFETIME_MINUTES".to_owned(), "1440".to_owned()),
        ];
        environment.extend(settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        let config = Config::load(&Sources { dir: PathBuf::from(folder), environment, role: Role::Hub }).unwrap();
        let mut hub = Hub::start(config, clock.clone(), HealthLog::off()).await.unwrap();
        let (events, findings) = (hub.events.subscribe(), hub.events.subscribe());
        let client = Client::tracked(hub.take_rocket().unwrap()).await.unwrap();
        let link = hub.seat_region();
        let mut world = World { client, hub, link, events, findings, token: String::new(), boot, batches: BTreeMap::new() };
        world.log_in().await;
        world
    }

    /// Tokens do not outlive a clock that jumps.
    pub async fn log_in(&mut self) {
        self.token.clear();
        let (_, tokens) = self.ask(Method::Post, "/api/token/", Some(json!({"username": "admin", "password": PASSWORD}))).await;
        self.token = tokens["access"].as_str().unwrap().to_owned();
    }

    pub async fn ask(&self, method: Method, path: &str, body: Option<Value>) -> (Status, Value) {
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

    pub async fn get(&self, path: &str) -> Value {
        let (status, value) = self.ask(Method::Get, path, None).await;
        assert_eq!(status, Status::Ok, "{path}: {value}");
        value
    }

    pub async fn add(&self, service: Value) -> u64 {
        let (status, added) = self.ask(Method::Post, "/api/monitor/services/", Some(service)).await;
        assert_eq!(status, Status::Created, "{added}");
        added["id"].as_u64().unwrap()
    }

    /// Sends one region's results and waits until they are stored.
    pub async fn feed(&mut self, region: &'static str, results: &[CheckResult]) {
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

    pub async fn incidents(&self) -> Vec<Value> {
        self.get("/api/v1/incidents/").await["results"].as_array().unwrap().clone()
    }

    /// Waits, without moving the clock, until the incidents are as wanted.
    pub async fn until(&self, what: &str, wanted: impl Fn(&[Value]) -> bool) -> Vec<Value> {
        let began = Instant::now();
        loop {
            let found = self.incidents().await;
            if wanted(&found) {
                return found;
            }
            assert!(began.elapsed() < Duration::from_secs(90), "never came: {what}; {found:#?}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// What was told of incidents so far.
    pub fn told(&mut self) -> Vec<String> {
        let mut told = Vec::new();
        while let Ok(event) = self.events.try_recv() {
            if let Event::Incident(event) = &*event {
                told.push(format!("{} {}", event.what, event.first_line));
            }
        }
        told
    }

    /// What was told of findings since this was asked last, but for those that only went on.
    pub fn found(&mut self) -> Vec<String> {
        let mut found = Vec::new();
        loop {
            match self.findings.try_recv().as_deref() {
                Ok(Event::Finding(event)) if event.what != "updated" => {
                    found.push(format!("{} {} {}", event.what, event.signal, event.region.as_deref().unwrap_or("several")));
                }
                Ok(_) => {}
                Err(broadcast::error::TryRecvError::Lagged(missed)) => panic!("{missed} events were missed"),
                Err(_) => return found,
            }
        }
    }

    pub async fn verdict(&self, service: u64) -> String {
        let summary = self.get("/api/monitor/health/summary/").await;
        let services = summary["services"].as_array().unwrap();
        let mine = services.iter().find(|of| of["service_id"] == service).unwrap();
        mine["verdict"].as_str().unwrap().to_owned()
    }

    pub async fn stop(self) {
        let World { hub, client, .. } = self;
        drop(client);
        hub.stop(None, Duration::from_secs(20)).await.unwrap();
    }
}

pub fn node(region: &str) -> NodeName {
    NodeName::from(format!("{region}-1").as_str())
}

pub fn good(service: u64, region: &str, seconds: u64) -> CheckResult {
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

pub fn refused(service: u64, region: &str, seconds: u64) -> CheckResult {
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

pub fn shop() -> Value {
    json!({"name": "shop", "base_url": "http://192.0.2.1", "interval_s": 60})
}
