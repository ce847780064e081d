//! A node's sight: witnesses are real ports that are open or closed, the clock is moved by hand.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use probemesh::api::events::Event;
use probemesh::clock::Clock;
use probemesh::config::Config;
use probemesh::config::sources::{Role, Sources};
use probemesh::model::id::ServiceId;
use probemesh::model::time::Timestamp;
use probemesh::region::Region;
use probemesh::wire::batch::decode_head;
use probemesh::wire::link::{Answer, Assignment, Assignments, CheckNow, in_process};
use serde_json::json;
use tokio::sync::{mpsc, oneshot, watch};

use crate::target::{Reply, Target};
use crate::world::World;

/// A port where somebody listens, or nobody.
struct Port {
    address: SocketAddr,
    open: Option<TcpListener>,
}

impl Port {
    fn open() -> Port {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        Port { address: listener.local_addr().unwrap(), open: Some(listener) }
    }

    fn shut(mut self) -> Port {
        self.open = None;
        self
    }

    fn reopen(mut self) -> Port {
        self.open = Some(TcpListener::bind(self.address).unwrap());
        self
    }
}

fn urls(ports: &[&Port]) -> String {
    ports.iter().map(|port| format!("tcp://{}", port.address)).collect::<Vec<_>>().join(",")
}

/// A region alone, whose hub takes what it delivers unless it is away.
struct Node {
    clock: Clock,
    region: Region,
    requests: mpsc::Sender<CheckNow>,
    assignments: watch::Sender<Assignments>,
    away: Arc<AtomicBool>,
    _folder: tempfile::TempDir,
}

impl Node {
    async fn start(witnesses: &str, interval_s: &str) -> Node {
        let folder = tempfile::tempdir().unwrap();
        let environment = [("PROBEMESH_WITNESS__URLS", witnesses), ("PROBEMESH_WITNESS__INTERVAL_S", interval_s)];
        let environment = environment.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
        let settings = Config::load(&Sources { dir: folder.path().to_owned(), environment, role: Role::Hub }).unwrap().region;
        let clock = Clock::manual(Timestamp::parse("2026-11-22T10:00:00Z").unwrap());
        let (node, mut hub) = in_process();
        let region = Region::start(settings, node, clock.clone()).await.unwrap();
        let away = Arc::new(AtomicBool::new(false));
        let gone = away.clone();
        tokio::spawn(async move {
            while let Some(delivery) = hub.deliveries.recv().await {
                let last = decode_head(delivery.batches.last().unwrap()).unwrap();
                let answer = match gone.load(Ordering::SeqCst) {
                    true => Answer::Later { reason: "away".to_owned() },
                    false => Answer::Stored { boot: last.boot(), through: last.number() },
                };
                let _ = delivery.answer.send(answer);
            }
        });
        Node { clock, region, requests: hub.requests, assignments: hub.assignments, away, _folder: folder }
    }

    fn assign(&self, target: &Target) {
        let document = json!({"name": "api", "base_url": target.url("http", "127.0.0.1"), "retries": 0, "interval_s": 3600});
        let service = Assignment { id: ServiceId(1), revision: 1, document: document.to_string().into(), checked_until: None };
        self.assignments.send_replace(Assignments { generation: 1, services: Arc::new(vec![service]) });
    }

    async fn check(&self) -> bool {
        let (answer, answered) = oneshot::channel();
        self.requests.send(CheckNow { service: ServiceId(1), answer, watcher: None }).await.unwrap();
        let mut answered = std::pin::pin!(answered);
        loop {
            self.clock.advance(Duration::from_millis(20)).await;
            if let Ok(result) = tokio::time::timeout(Duration::from_millis(4), &mut answered).await {
                return result.unwrap().ok();
            }
        }
    }

    fn blind(&self) -> Option<String> {
        self.region.view().node_status().blind
    }

    async fn until(&self, what: &str, mut found: impl FnMut(&Node) -> bool) {
        let began = Instant::now();
        while !found(self) {
            assert!(began.elapsed() < Duration::from_secs(60), "never came: {what}; {:?}", self.region.view().witness.lock().unwrap());
            self.clock.advance(Duration::from_millis(50)).await;
            tokio::time::sleep(Duration::from_millis(4)).await;
        }
    }

    fn rounds(&self) -> u64 {
        self.region.view().witness.lock().unwrap().rounds
    }
}

/// Answers 200, or 503 once it is told to.
async fn breakable() -> (Target, Arc<AtomicBool>) {
    let broken = Arc::new(AtomicBool::new(false));
    let breaks = broken.clone();
    let target = Target::plain(move |_| match breaks.load(Ordering::SeqCst) {
        true => Reply::text(503, "broken"),
        false => Reply::text(200, "fine"),
    });
    (target.await, broken)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_none_of_whose_witnesses_answers_is_blind_and_one_is_enough_to_see() {
    let (open, second, third) = (Port::open(), Port::open().shut(), Port::open().shut());
    let node = Node::start(&urls(&[&open, &second, &third]), "5").await;
    node.until("three looks", |node| node.rounds() >= 3).await;
    assert_eq!(node.blind(), None);
    assert_eq!(node.region.view().witness.lock().unwrap().answered, Some(open.address.to_string()));
    let open = open.shut();
    node.until("a failed look", |node| node.region.view().witness.lock().unwrap().failed_in_a_row == 1).await;
    assert_eq!(node.blind(), None, "a single round may fail by itself");
    node.until("blindness", |node| node.blind().is_some()).await;
    let said = node.blind().unwrap();
    assert!(said.starts_with("none of its 3 witnesses answers: 127.0.0.1:"), "{said}");
    assert_eq!(said.matches("connection refused").count(), 3, "{said}");
    assert!(node.region.view().witness.lock().unwrap().blind_since.is_some());
    let _open = open.reopen();
    node.until("sight", |node| node.blind().is_none()).await;
    assert_eq!(node.region.view().witness.lock().unwrap().blind_since, None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failing_check_has_the_witnesses_looked_at_at_once_and_is_not_sent_before() {
    let (witness, (target, broken)) = (Port::open(), breakable().await);
    let node = Node::start(&urls(&[&witness]), "3600").await;
    node.assign(&target);
    node.until("the first check", |node| node.region.view().node_status().checks == 1 && node.rounds() == 1).await;
    // The witness answers: it is the service, and the node goes on.
    broken.store(true, Ordering::SeqCst);
    assert!(!node.check().await);
    node.until("a look and the delivery", |node| node.rounds() == 2 && node.region.view().node_status().outbox_results == 0).await;
    assert_eq!(node.blind(), None);
    assert!(!node.check().await);
    assert_eq!(node.rounds(), 2, "a service that fails on is no news");
    broken.store(false, Ordering::SeqCst);
    assert!(node.check().await);
    node.until("a look, since it turned", |node| node.rounds() == 3).await;
    // It does not: nothing leaves the node before that is known.
    let _witness = witness.shut();
    broken.store(true, Ordering::SeqCst);
    let began = node.clock.steady();
    assert!(!node.check().await);
    assert!(node.region.view().node_status().outbox_results > 0 || node.blind().is_some(), "it was sent while it was in doubt");
    node.until("blindness", |node| node.blind().is_some()).await;
    let took = node.clock.steady() - began;
    assert!(took < Duration::from_secs(30), "{took:?} though its looks are an hour apart");
    node.until("the delivery", |node| node.region.view().node_status().outbox_results == 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_is_not_said_to_see_before_what_it_made_blind_is_delivered() {
    let (witness, (target, _)) = (Port::open(), breakable().await);
    let node = Node::start(&urls(&[&witness]), "2").await;
    node.assign(&target);
    node.until("the first check", |node| node.region.view().node_status().checks == 1).await;
    let witness = witness.shut();
    node.until("blindness", |node| node.blind().is_some()).await;
    node.away.store(true, Ordering::SeqCst);
    node.check().await;
    let _witness = witness.reopen();
    node.until("an answer", |node| node.blind().is_some_and(|said| said.starts_with("it sees again, what it made"))).await;
    let rounds = node.rounds();
    node.until("five more looks", |node| node.rounds() > rounds + 5).await;
    assert!(node.blind().is_some(), "the hub has not heard what it made blind");
    node.away.store(false, Ordering::SeqCst);
    node.until("sight", |node| node.blind().is_none()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_blind_node_is_one_event_and_no_incident() {
    let (witness, (target, broken)) = (Port::open(), breakable().await);
    let world = World::with(&[("PROBEMESH_WITNESS__URLS", &urls(&[&witness]))]).await;
    for name in ["one", "two", "three"] {
        world.add(json!({"name": name, "base_url": target.url("http", "127.0.0.1"), "interval_s": 5, "retries": 0})).await;
    }
    let verdicts = async |world: &World| -> Vec<String> {
        let summary = world.get("/api/monitor/health/summary").await;
        summary["services"].as_array().unwrap().iter().map(|service| service["verdict"].as_str().unwrap().to_owned()).collect()
    };
    let all = async |world: &World, verdict: &str| verdicts(world).await.iter().all(|of| of == verdict).then_some(());
    let step = Duration::from_millis(100);
    world.until(step, "all up", async |world| all(world, "up").await).await;
    let mut events = world.hub.events.subscribe();
    let witness = witness.shut();
    broken.store(true, Ordering::SeqCst);
    world.until(step, "all unknown", async |world| all(world, "unknown").await).await;
    let stored = async |world: &World| {
        let failed = world.get("/api/monitor/results/?ok=false").await["results"].as_array().unwrap().len();
        (failed >= 6).then_some(())
    };
    world.until(step, "failures stored while blind", stored).await;
    assert_eq!(verdicts(&world).await, ["unknown"; 3]);
    let tree = world.get("/api/v1/cluster").await.to_string();
    assert!(tree.contains(r#""name":"witness","state":"blind""#), "{tree}");
    broken.store(false, Ordering::SeqCst);
    let _witness = witness.reopen();
    world.until(step, "all up again", async |world| all(world, "up").await).await;
    let mut told = Vec::new();
    while let Ok(event) = events.try_recv() {
        match &*event {
            Event::Node(node) => told.push(format!("{} {}", node.region, node.what)),
            Event::Verdict(verdict) => told.push(format!("{} {}", verdict.service_name, verdict.to)),
            Event::Incident(incident) => told.push(format!("{} {}", incident.service_name, incident.what)),
            _ => {}
        }
    }
    assert_eq!(told, ["local blind", "local sees"]);
    assert_eq!(world.get("/api/v1/incidents/").await["results"], json!([]));
    world.finish().await;
}
