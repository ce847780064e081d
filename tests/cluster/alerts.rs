//! Alerts of a real hub through real receivers, while the hub is killed between sending and noting that it has sent.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use probemesh::model::time::Timestamp;
use rand::Rng;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::background::Background;
use crate::binary::{Binary, free_port};
use crate::target::{Failing, Target};
use crate::world::{PATIENCE, World, turn};

const KILLS: usize = 20;
const DELIVERIES: &str = "api/v1/alerts/deliveries/?page_size=500";

#[derive(Default)]
struct Shared {
    /// Path, key if there is one, and body of each request, in the order they came.
    came: Mutex<Vec<(String, Option<String>, String)>>,
    in_hand: AtomicUsize,
}

/// Takes messages, and its time before it says so.
struct Receiver {
    port: u16,
    shared: Arc<Shared>,
    _background: Background,
}

impl Receiver {
    fn start() -> Receiver {
        let background = Background::start();
        let shared: Arc<Shared> = Arc::default();
        let answering = shared.clone();
        let port = background.listen(|listener| async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(answer(stream, answering.clone()));
            }
        });
        Receiver { port, shared, _background: background }
    }

    fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    fn came(&self, path: &str) -> Vec<(Option<String>, String)> {
        let came = self.shared.came.lock().unwrap();
        came.iter().filter(|(to, ..)| to == path).map(|(_, key, body)| (key.clone(), body.clone())).collect()
    }

    /// Until it has taken a message and not yet said so.
    async fn in_hand(&self) {
        let began = Instant::now();
        while self.shared.in_hand.load(Ordering::SeqCst) == 0 {
            assert!(began.elapsed() < PATIENCE, "nothing was sent");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
}

async fn answer(mut stream: TcpStream, shared: Arc<Shared>) {
    loop {
        let Some((path, key, body)) = read(&mut stream).await else { return };
        // A look at whether it is there is no message.
        if body != "{}" {
            shared.came.lock().unwrap().push((path, key, body));
        }
        shared.in_hand.fetch_add(1, Ordering::SeqCst);
        let pause = rand::rng().random_range(150..400);
        tokio::time::sleep(Duration::from_millis(pause)).await;
        shared.in_hand.fetch_sub(1, Ordering::SeqCst);
        if stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await.is_err() {
            return;
        }
    }
}

async fn read(stream: &mut TcpStream) -> Option<(String, Option<String>, String)> {
    let mut bytes = Vec::new();
    let mut chunk = [0; 4096];
    let head_end = loop {
        if let Some(at) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break at + 4;
        }
        match stream.read(&mut chunk).await {
            Ok(0) | Err(_) => return None,
            Ok(count) => bytes.extend_from_slice(&chunk[..count]),
        }
    };
    let head = String::from_utf8_lossy(&bytes[..head_end]).into_owned();
    let header = |name: &str| {
        let mut lines = head.lines().filter_map(|line| line.split_once(':'));
        lines.find(|(other, _)| other.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim().to_owned())
    };
    let length: usize = header("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    while bytes.len() < head_end + length {
        match stream.read(&mut chunk).await {
            Ok(0) | Err(_) => return None,
            Ok(count) => bytes.extend_from_slice(&chunk[..count]),
        }
    }
    let path = head.split(' ').nth(1).unwrap_or("").to_owned();
    Some((path, header("idempotency-key"), String::from_utf8_lossy(&bytes[head_end..]).into_owned()))
}

fn list(page: &Value) -> Vec<Value> {
    page["results"].as_array().cloned().unwrap_or_default()
}

/// Until nothing is left to be sent; all deliveries there are.
async fn drained(world: &mut World) -> Vec<Value> {
    let done = |page: &Value| {
        let open = |delivery: &&Value| matches!(delivery["state"].as_str(), Some("pending" | "sending" | "waiting"));
        let all = list(page);
        (all.iter().filter(open).count() == 0).then_some(all)
    };
    world.until("everything is delivered", DELIVERIES, done).await.0
}

#[tokio::test]
async fn killed_while_it_sends_no_incident_is_untold_and_what_may_come_twice_is_counted() {
    let mut world = World::start(&["eu-1"]).await;
    let receiver = Receiver::start();
    for (name, kind, field, path) in [("hook", "webhook", "url", "/keyed"), ("chat", "slack", "webhook_url", "/plain")] {
        let mut config = json!({});
        config[field] = json!(receiver.url(path));
        world.ask("POST", "api/v1/alerts/channels/", json!({"name": name, "kind": kind, "config": config, "save_anyway": true})).await;
    }
    // The first channel came with a rule.
    world.ask("PATCH", "api/v1/alerts/rules/1/", json!({"kinds": ["incident"], "channels": ["hook", "chat"]})).await;
    for index in 0..2 {
        let service = json!({"name": format!("service {index}"), "base_url": world.target.url(), "interval_s": 0.5, "retries": 0});
        let id = world.add(service).await;
        world.verdict(id, "up").await;
    }
    for kill in 0..KILLS {
        drained(&mut world).await;
        world.target.fail(if kill % 2 == 0 { Failing::Everybody } else { Failing::Nobody });
        receiver.in_hand().await;
        let pause = rand::rng().random_range(0..100);
        tokio::time::sleep(Duration::from_millis(pause)).await;
        world.kill_hub();
        world.start_hub().await;
        world.tell(&format!("kill {} of {KILLS}", kill + 1));
    }
    world.target.fail(Failing::Nobody);
    let closed = |page: &Value| {
        let all = list(page);
        all.iter().all(|incident| incident["open"] == false).then_some(all)
    };
    let incidents = world.until("all are closed", "api/v1/incidents/?page_size=500", closed).await.0;
    assert!(incidents.len() >= KILLS, "{} incidents", incidents.len());
    // The dispatcher hears of the last ones a moment later.
    let told = |page: &Value| {
        let all = list(page);
        let of = |telling: &str| all.iter().filter(|delivery| delivery["telling"] == telling).count();
        (of("recovered") == 2 * incidents.len() && of("raised") == 2 * incidents.len()).then_some(())
    };
    world.until("all is planned", DELIVERIES, told).await;
    let deliveries = drained(&mut world).await;

    let keyed: Vec<String> = receiver.came("/keyed").into_iter().map(|(key, _)| key.expect("a webhook has a key")).collect();
    let mut first: BTreeMap<&str, usize> = BTreeMap::new();
    for (place, key) in keyed.iter().enumerate() {
        first.entry(key).or_insert(place);
    }
    for incident in &incidents {
        let cause = incident["id"].as_str().unwrap();
        let key = |telling: &str| format!("r1-{telling}-c1-incident-{cause}");
        let (raised, recovered) = (first.get(key("raised").as_str()), first.get(key("recovered").as_str()));
        assert!(raised.is_some() && recovered.is_some(), "incident {cause} was not told: {keyed:#?}");
        assert!(raised < recovered, "the end of {cause} came before its beginning");
    }
    let of_channel = |name: &'static str| deliveries.iter().filter(move |delivery| delivery["channel"] == name);
    let (delivered, plain) = (of_channel("chat").filter(|delivery| delivery["state"] == "delivered").count(), receiver.came("/plain"));
    let counted: u64 = of_channel("chat").map(|delivery| delivery["possible_duplicates"].as_u64().unwrap()).sum();
    let distinct: BTreeSet<&String> = keyed.iter().collect();
    world.tell(&format!(
        "{} incidents; webhook: {} messages, {} of them repeats by the same key; chat: {} deliveries came as {} messages, {counted} counted as possible duplicates",
        incidents.len(),
        keyed.len(),
        keyed.len() - distinct.len(),
        delivered,
        plain.len(),
    ));
    assert_eq!(distinct.len(), 2 * incidents.len(), "each telling has one key");
    // What was still on its way when its end was to be told is folded into that.
    let settled = |delivery: &Value| delivery["state"] == "delivered" || delivery["state"] == "folded" && delivery["telling"] == "raised";
    for delivery in of_channel("hook") {
        assert!(delivery["possible_duplicates"] == 0 && settled(delivery), "{delivery:#}");
    }
    assert!(of_channel("chat").all(settled), "{deliveries:#?}");
    assert_eq!(of_channel("chat").count(), 2 * incidents.len());
    assert!(
        plain.len() >= delivered && plain.len() - delivered <= counted as usize,
        "{} came of {delivered}, {counted} counted",
        plain.len()
    );
    assert!(keyed.len() - distinct.len() + counted as usize >= KILLS / 2, "the kills missed what they were aimed at");
    world.end();
}

/// 99 of 100 checks began no later than this, over all so far.
async fn lag_p99_ms(hub: &mut Binary) -> f64 {
    let tree = hub.get("api/v1/cluster").await;
    let groups = tree["nodes"].as_array().unwrap().iter().flat_map(|node| node["actors"].as_array().unwrap());
    let mut actors = groups.flat_map(|group| group["children"].as_array().unwrap());
    let supervisor = actors.find(|actor| actor["name"] == "supervisor").unwrap_or_else(|| panic!("{tree:#}"));
    supervisor["figures"]["lag_p99_ms"].as_f64().unwrap()
}

#[tokio::test]
async fn a_mail_server_that_hangs_delays_neither_other_channels_nor_any_check() {
    let _turn = turn().await;
    let (folder, port) = (tempfile::tempdir().unwrap(), free_port());
    let (target, receiver, background) = (Target::start(), Receiver::start(), Background::start());
    // It takes the connection and says nothing, for longer than the test lasts.
    let hanging = background.listen(|listener| async move {
        let mut held = Vec::new();
        while let Ok((stream, _)) = listener.accept().await {
            held.push(stream);
        }
    });
    let healthy: Vec<Value> =
        (0..100).map(|index| json!({"name": format!("load {index}"), "base_url": target.url(), "interval_s": 1, "retries": 0})).collect();
    std::fs::write(folder.path().join("services.json"), json!(healthy).to_string()).unwrap();
    std::fs::write(
        folder.path().join("Rocket.toml"),
        "[api]\nrequests_per_minute = 100000\n[alerts]\nsend_timeout_s = 60\nattempt_timeout_s = 90\n",
    )
    .unwrap();
    let mut hub = Binary::start(folder.path(), port).await;
    let mail = json!({"name": "mail", "kind": "email", "save_anyway": true,
        "config": {"host": "127.0.0.1", "port": hanging, "security": "none", "from": "a@example.com", "to": ["b@example.com"]}});
    let hook = json!({"name": "hook", "kind": "webhook", "save_anyway": true, "config": {"url": receiver.url("/keyed")}});
    for channel in [hook, mail] {
        let (status, made) = hub.ask("POST", "api/v1/alerts/channels/", Some(channel)).await;
        assert_eq!(status, 201, "{made}");
    }
    tokio::time::sleep(Duration::from_secs(10)).await;
    let before = lag_p99_ms(&mut hub).await;
    let (status, rule) = hub.ask("PATCH", "api/v1/alerts/rules/1/", Some(json!({"channels": ["mail", "hook"]}))).await;
    assert_eq!(status, 200, "{rule}");
    for index in 0..20 {
        let broken =
            json!({"name": format!("broken {index}"), "base_url": target.url(), "health_path": "/fail", "interval_s": 1, "retries": 0});
        let (status, made) = hub.ask("POST", "api/monitor/services/", Some(broken)).await;
        assert_eq!(status, 201, "{made}");
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    let began = Instant::now();
    let delivered = loop {
        let page = hub.get("api/v1/alerts/deliveries/?channel=hook&state=delivered&page_size=500").await;
        if page["count"] == 20 {
            break list(&page);
        }
        assert!(began.elapsed() < PATIENCE, "{page:#}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    let at = |delivery: &Value, field: &str| Timestamp::parse(delivery[field].as_str().unwrap()).unwrap();
    let took: Vec<Duration> = delivered.iter().map(|delivery| at(delivery, "done_at").since(at(delivery, "planned_at"))).collect();
    let slowest = took.iter().max().unwrap();
    let after = lag_p99_ms(&mut hub).await;
    let waiting = hub.get("api/v1/alerts/deliveries/?channel=mail&page_size=500").await;
    println!(
        "20 alerts, the slowest {slowest:?}, while the mail server hung; 99 % of checks began within {before:.1} ms before and {after:.1} ms after"
    );
    // The mail server hangs for a minute: whoever waited for it would be far beyond this, however busy the machine is.
    assert!(*slowest < Duration::from_secs(20), "{took:?}");
    assert!(after <= before * 2.0 + 5_000.0, "the schedule lags: {before} ms before, {after} ms after");
    let states: BTreeSet<&str> =
        waiting["results"].as_array().unwrap().iter().map(|delivery| delivery["state"].as_str().unwrap()).collect();
    assert_eq!((waiting["count"].as_u64(), states.contains("delivered")), (Some(20), false), "{states:?}");
    let (status, _, console) = hub.end();
    assert!(status.success(), "{console}");
}
