//! A whole monitor in one process: the real hub on a store in memory, the real region on a real outbox, a clock moved by
//! hand. Targets are real sockets, so what they answer is waited for, not slept for.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use probemesh::clock::Clock;
use probemesh::config::Config;
use probemesh::config::sources::{Role, Sources};
use probemesh::hub::Hub;
use probemesh::model::time::Timestamp;
use probemesh::region::Region;
use probemesh::telemetry::health::HealthLog;
use rocket::http::{ContentType, Header, Method, Status};
use rocket::local::asynchronous::Client;
use serde_json::{Value, json};

pub const PASSWORD: &str = "correct-horse-battery";

pub struct World {
    pub clock: Clock,
    pub client: Client,
    pub hub: Hub,
    pub region: Option<Region>,
    token: String,
    folder: tempfile::TempDir,
}

impl World {
    pub async fn start() -> World {
        World::with(&[]).await
    }

    /// With settings as the environment would give them.
    pub async fn with(settings: &[(&str, &str)]) -> World {
        World::begin(&[settings, &[("DATABASE_URL", "mem://")]].concat(), tempfile::tempdir().unwrap(), World::clock()).await
    }

    /// On a store on disk, which outlives it.
    pub async fn kept(settings: &[(&str, &str)]) -> World {
        World::begin(settings, tempfile::tempdir().unwrap(), World::clock()).await
    }

    /// Ends everything, and starts it again on what it left, at the same instant.
    pub async fn again(self, settings: &[(&str, &str)]) -> World {
        let (folder, clock) = self.end().await;
        World::begin(settings, folder, clock).await
    }

    fn clock() -> Clock {
        Clock::manual(Timestamp::parse("2026-11-22T10:00:00Z").unwrap())
    }

    async fn begin(settings: &[(&str, &str)], folder: tempfile::TempDir, clock: Clock) -> World {
        let mut environment = vec![
            ("PROBEMESH_ADMIN_PASSWORD".to_owned(), PASSWORD.to_owned()),
            ("PROBEMESH_API__REQUESTS_PER_MINUTE".to_owned(), "100000".to_owned()),
        ];
        environment.extend(settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        let config = Config::load(&Sources { dir: PathBuf::from(folder.path()), environment, role: Role::Hub }).unwrap();
        let mut hub = Hub::start(config, clock.clone(), HealthLog::off()).await.unwrap();
        let client = Client::tracked(hub.take_rocket().unwrap()).await.unwrap();
        let region = Some(hub.start_region().await.unwrap());
        let mut world = World { clock, client, hub, region, token: String::new(), folder };
        let (status, tokens) = world.ask(Method::Post, "/api/token/", Some(json!({"username": "admin", "password": PASSWORD}))).await;
        assert_eq!(status, Status::Ok, "{tokens}");
        world.token = tokens["access"].as_str().unwrap().to_owned();
        world
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

    /// Adds a service and returns its number.
    pub async fn add(&self, service: Value) -> u64 {
        let (status, added) = self.ask(Method::Post, "/api/monitor/services/", Some(service)).await;
        assert_eq!(status, Status::Created, "{added}");
        added["id"].as_u64().unwrap()
    }

    pub async fn results(&self, service: u64) -> Vec<Value> {
        self.get(&format!("/api/monitor/results/?service={service}&page_size=500")).await["results"].as_array().unwrap().clone()
    }

    /// Moves time on in steps until `found` says so. What runs on sockets is given real time to answer in.
    pub async fn until<T>(&self, step: Duration, what: &str, mut found: impl AsyncFnMut(&World) -> Option<T>) -> T {
        let began = Instant::now();
        loop {
            self.clock.advance(step).await;
            tokio::time::sleep(Duration::from_millis(5)).await;
            if let Some(found) = found(self).await {
                return found;
            }
            assert!(began.elapsed() < Duration::from_secs(90), "never came: {what}; {:#}", self.get("/api/v1/cluster").await);
        }
    }

    /// Ends everything and asserts that nothing was left over and no actor group had to be started again.
    pub async fn finish(self) {
        drop(self.end().await);
    }

    async fn end(mut self) -> (tempfile::TempDir, Clock) {
        let region = self.region.take().unwrap();
        let view = region.view();
        // Waits inside are waits of the hand-moved clock: time goes on until all has ended.
        let clock = self.clock.clone();
        let moving = tokio::spawn(async move {
            loop {
                clock.advance(Duration::from_millis(50)).await;
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        });
        let group = self.hub.tree.group.lock().unwrap().clone();
        let drained = self.hub.stop(Some(region), Duration::from_secs(20)).await.unwrap().unwrap();
        moving.abort();
        assert!(drained.probers && drained.outbox, "{drained:?}");
        assert_eq!(drained.depth.results, 0, "results are left over");
        assert_eq!((group.restarts, view.group.lock().unwrap().restarts), (0, 0), "an actor group had to be started again");
        (self.folder, self.clock)
    }
}
