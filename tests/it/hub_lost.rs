//! A node's own alert: outages are played to it, the receiver is a real server that may be away, the clock is moved by hand.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use probemesh::caller::Caller;
use probemesh::clock::Clock;
use probemesh::mesh::dialer::DialerStatus;
use probemesh::mesh::hub_lost::{HubLost, HubLostArgs, HubLostMsg, HubLostStatus, Who};
use probemesh::model::time::Timestamp;
use ractor::{Actor, ActorRef, ActorStatus};
use serde_json::{Value, json};
use url::Url;

use crate::target::{Reply, Target};

struct Alert {
    clock: Clock,
    link: Arc<Mutex<DialerStatus>>,
    status: Arc<Mutex<HubLostStatus>>,
    /// What the receiver answers.
    answers: Arc<AtomicU16>,
    receiver: Target,
    actor: ActorRef<HubLostMsg>,
    folder: tempfile::TempDir,
}

impl Alert {
    async fn start() -> Alert {
        let answers = Arc::new(AtomicU16::new(200));
        let answer = answers.clone();
        let receiver = Target::plain(move |_| Reply::text(answer.load(Ordering::SeqCst), "")).await;
        let clock = Clock::manual(Timestamp::parse("2026-11-22T10:00:00Z").unwrap());
        let folder = tempfile::tempdir().unwrap();
        let (link, status) = (Arc::default(), Arc::default());
        let actor = spawn(&receiver, &clock, &link, &status, folder.path().join("mesh/hub-lost.json")).await;
        let alert = Alert { clock, link, status, answers, receiver, actor, folder };
        alert.connect();
        alert
    }

    /// Ends the node's process and starts it again: it knows nothing of its link.
    async fn restart(&mut self) {
        self.end().await;
        self.lose("connection refused");
        self.actor = spawn(&self.receiver, &self.clock, &self.link, &self.status, self.folder.path().join("mesh/hub-lost.json")).await;
    }

    async fn end(&self) {
        self.actor.stop(None);
        while self.actor.get_status() != ActorStatus::Stopped {
            tokio::task::yield_now().await;
        }
    }

    fn connect(&self) {
        *self.link.lock().unwrap() = DialerStatus { connected_since: Some(self.clock.now()), ..DialerStatus::default() };
    }

    fn lose(&self, error: &str) {
        let lost = DialerStatus { away_since: Some(self.clock.now()), last_error: Some(error.to_owned()), ..DialerStatus::default() };
        *self.link.lock().unwrap() = lost;
    }

    async fn pass(&self, seconds: u64) {
        for _ in 0..seconds * 2 {
            self.clock.advance(Duration::from_millis(500)).await;
            tokio::time::sleep(Duration::from_millis(3)).await;
        }
    }

    async fn until_told(&self, count: u64) {
        let began = Instant::now();
        while self.status.lock().unwrap().told < count {
            assert!(began.elapsed() < Duration::from_secs(60), "{:?}", self.status.lock().unwrap());
            self.pass(1).await;
        }
    }

    /// What the receiver was posted.
    fn posted(&self) -> Vec<Value> {
        self.receiver.asked().iter().map(|asked| serde_json::from_str(&asked.body).unwrap()).collect()
    }

    fn events(&self) -> Vec<String> {
        self.posted().iter().map(|message| message["event"].as_str().unwrap().to_owned()).collect()
    }
}

async fn spawn(
    receiver: &Target,
    clock: &Clock,
    link: &Arc<Mutex<DialerStatus>>,
    status: &Arc<Mutex<HubLostStatus>>,
    file: PathBuf,
) -> ActorRef<HubLostMsg> {
    let args = HubLostArgs {
        url: Url::parse(&format!("{}/alert", receiver.url("http", "127.0.0.1"))).unwrap(),
        after: Duration::from_secs(120),
        file,
        who: Who { node: "eu-1".to_owned(), region: "eu".to_owned(), hub: "hub.example:4697".to_owned() },
        link: link.clone(),
        waiting: Arc::new(|| 42),
        caller: Caller::new().unwrap(),
        clock: clock.clone(),
        status: status.clone(),
    };
    Actor::spawn(None, HubLost, args).await.unwrap().0
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outage_is_told_once_when_it_has_lasted_and_once_when_it_is_over() {
    let alert = Alert::start().await;
    alert.pass(5).await;
    alert.lose("broken");
    alert.pass(110).await;
    alert.connect();
    alert.pass(300).await;
    assert_eq!(alert.events(), [""; 0], "a short one is nobody's business");
    let since = alert.clock.now();
    alert.lose("hub.example:4697 cannot be reached: connection refused");
    alert.pass(115).await;
    assert_eq!(alert.events(), [""; 0]);
    alert.until_told(1).await;
    alert.pass(600).await;
    let back = alert.clock.now();
    alert.connect();
    alert.until_told(2).await;
    alert.pass(600).await;
    let (error, micros) = ("hub.example:4697 cannot be reached: connection refused", since.0);
    let common = json!({"node": "eu-1", "region": "eu", "hub": "hub.example:4697", "since": since.rfc3339(), "last_error": error, "waiting_results": 42});
    let message = |more: Value| {
        let mut all = common.clone();
        all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        all
    };
    let expected = [
        message(json!({"event": "hub_lost", "id": format!("hub_lost/eu-1/{micros}")})),
        message(json!({
            "event": "hub_back",
            "id": format!("hub_back/eu-1/{micros}"),
            "until": back.rfc3339(),
            "duration_s": back.since(since).as_secs_f64(),
        })),
    ];
    assert_eq!(alert.posted(), expected);
    assert_eq!(alert.receiver.asked()[0].header("content-type"), Some("application/json"));
    assert_eq!(alert.status.lock().unwrap().waiting, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receiver_that_is_away_is_told_later_at_growing_gaps_and_in_order() {
    let alert = Alert::start().await;
    alert.answers.store(503, Ordering::SeqCst);
    alert.lose("broken");
    alert.pass(125).await;
    alert.connect();
    alert.pass(300).await;
    let tries = alert.posted().len();
    assert!((8..=30).contains(&tries), "{tries} tries in five minutes");
    assert_eq!(*alert.status.lock().unwrap(), HubLostStatus { told: 0, waiting: 2, last_error: Some("answered 503".to_owned()) });
    assert!(alert.events().iter().all(|event| event == "hub_lost"), "the second comes after the first was taken");
    alert.answers.store(200, Ordering::SeqCst);
    alert.until_told(2).await;
    alert.pass(120).await;
    assert_eq!(alert.events()[tries..], ["hub_lost", "hub_back"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outage_stays_one_over_restarts_of_the_node() {
    let mut alert = Alert::start().await;
    alert.lose("broken");
    alert.pass(60).await;
    alert.restart().await;
    alert.pass(40).await;
    alert.restart().await;
    alert.pass(15).await;
    assert_eq!(alert.events(), [""; 0], "it has lasted for 115 s");
    alert.until_told(1).await;
    alert.restart().await;
    alert.pass(300).await;
    assert_eq!(alert.events(), ["hub_lost"]);
    alert.answers.store(500, Ordering::SeqCst);
    alert.connect();
    alert.pass(3).await;
    alert.restart().await;
    alert.connect();
    alert.answers.store(204, Ordering::SeqCst);
    alert.until_told(2).await;
    alert.restart().await;
    alert.connect();
    alert.pass(300).await;
    let events = alert.events();
    assert_eq!((events[0].as_str(), events.iter().filter(|event| *event == "hub_lost").count()), ("hub_lost", 1));
    let back: Vec<Value> = alert.posted().into_iter().filter(|message| message["event"] == "hub_back").collect();
    assert!(!back.is_empty() && back.iter().all(|message| message["id"] == back[0]["id"]), "{back:?}");
    assert_eq!(alert.status.lock().unwrap().told, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_was_off_tries_itself_before_it_tells() {
    let mut alert = Alert::start().await;
    alert.lose("broken");
    alert.pass(30).await;
    alert.end().await;
    alert.clock.advance(Duration::from_secs(36_000)).await;
    alert.restart().await;
    alert.pass(5).await;
    alert.connect();
    alert.pass(60).await;
    assert_eq!(alert.events(), [""; 0], "the hub was there all the time, for all it knows");
}
