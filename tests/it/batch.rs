//! The batch pass in the real hub: weeks of history delivered by a node the test plays, with hours in them in which figures are
//! odd together.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use probemesh::clock::Clock;
use probemesh::config::Config;
use probemesh::config::sources::{Role, Sources};
use probemesh::hub::Hub;
use probemesh::model::check::{CheckResult, Phases};
use probemesh::model::id::{Boot, CheckId, ServiceId};
use probemesh::model::time::Timestamp;
use probemesh::telemetry::health::HealthLog;
use probemesh::wire::batch::{BatchHead, encode};
use probemesh::wire::link::{Answer, Delivery};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use rocket::http::{ContentType, Header, Method};
use rocket::local::asynchronous::Client;
use serde_json::{Value, json};
use tokio::sync::oneshot;

use crate::world::PASSWORD;

const MINUTE: i64 = 60_000_000;
const DAY: i64 = 24 * 60 * MINUTE;

async fn ask(client: &Client, token: &str, method: Method, path: &str, body: Option<Value>) -> Value {
    let mut request = client.req(method, path.to_owned());
    if !token.is_empty() {
        request = request.header(Header::new("Authorization", format!("Bearer {token}")));
    }
    if let Some(body) = body {
        request = request.header(ContentType::JSON).body(body.to_string());
    }
    let answer = request.dispatch().await;
    let status = answer.status();
    let text = answer.into_string().await.unwrap_or_default();
    assert!(status.code < 300, "{path}: {status} {text}");
    serde_json::from_str(&text).unwrap_or(Value::Null)
}

/// A check every five minutes for so many days until `now`; in `odd` connecting takes long what the first byte saves.
fn history(service: u32, days: i64, now: i64, odd: std::ops::Range<i64>, node: (&str, &str)) -> Vec<CheckResult> {
    let mut rng = StdRng::seed_from_u64(u64::from(service));
    let count = days * 288;
    let result = |index: i64| {
        let at = now - (count - index) * 5 * MINUTE;
        let mut wobble = |us: f64| us * (1.0 + 0.1 * (rng.random::<f64>() + rng.random::<f64>() - 1.0));
        let (mut connect, mut first_byte) = (wobble(12_000.0), wobble(30_000.0));
        if odd.contains(&at) {
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
        CheckResult {
            id: CheckId { node: node.1.into(), boot: Boot(1), seq: u64::from(service) * 1_000_000 + index as u64 },
            service: ServiceId(service),
            region: node.0.into(),
            scheduled_at: Timestamp(at),
            started_at: Timestamp(at),
            latency,
            elapsed: latency,
            clock_offset: 0,
            status_code: Some(200),
            failure: None,
            phases,
            address: None,
            http_version: None,
            tls_version: None,
            certificate: None,
            body_bytes: 1,
            redirects: 0,
            attempt_count: 1,
            attempts: Vec::new(),
            evidence: None,
        }
    };
    (0..count).map(result).collect()
}

#[rocket::async_test]
async fn hours_that_are_odd_together_are_found_once_and_a_short_history_is_said_to_be_one() {
    let folder = tempfile::tempdir().unwrap();
    let start = Timestamp::parse("2026-11-22T10:00:00Z").unwrap();
    let clock = Clock::manual(start);
    let environment = [
        ("DATABASE_URL", "mem://"),
        ("PROBEMESH_ADMIN_PASSWORD", PASSWORD),
        ("PROBEMESH_API__REQUESTS_PER_MINUTE", "100000"),
        ("PROBEMESH_REGION__NAME", "local"),
        ("PROBEMESH_REGION__NODE", "local-1"),
        ("PROBEMESH_ANALYSIS__FOREST_HOURS", "1"),
        // Who looks at each sample would find these hours, too, and have them covered.
        ("PROBEMESH_ANALYSIS__LEAST_CHANGE", "10"),
    ];
    let environment = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let config = Config::load(&Sources { dir: PathBuf::from(folder.path()), environment, role: Role::Hub }).unwrap();
    let mut hub = Hub::start(config, clock.clone(), HealthLog::off()).await.unwrap();
    let client = Client::tracked(hub.take_rocket().unwrap()).await.unwrap();
    let tokens = ask(&client, "", Method::Post, "/api/token/", Some(json!({"username": "admin", "password": PASSWORD}))).await;
    let token = tokens["access"].as_str().unwrap().to_owned();
    for name in ["shop", "new"] {
        let service = json!({"name": name, "base_url": "http://127.0.0.1:9", "interval_s": 300});
        ask(&client, &token, Method::Post, "/api/monitor/services/", Some(service)).await;
    }
    let node = hub.seat_region();
    let odd = start.0 - 6 * 60 * MINUTE..start.0 - 3 * 60 * MINUTE;
    let mut number = 0;
    for results in [history(1, 14, start.0, odd.clone(), ("local", "local-1")), history(2, 1, start.0, 0..0, ("local", "local-1"))] {
        for slice in results.chunks(500) {
            number += 1;
            let head = BatchHead::new(&slice[0].id.node, &slice[0].region, Boot(1), number, 0);
            let (answer, answered) = oneshot::channel();
            let batches = vec![Arc::from(encode(&head, slice))];
            node.deliveries.send(Delivery { batches, clock_offset: None, answer }).await.unwrap();
            assert_eq!(answered.await.unwrap(), Answer::Stored { boot: Boot(1), through: number });
        }
    }
    let passes = async |wanted: u64| {
        let began = Instant::now();
        loop {
            clock.advance(Duration::from_secs(10)).await;
            tokio::time::sleep(Duration::from_millis(5)).await;
            let status = hub.tree.batch_runner.lock().unwrap().clone();
            assert_eq!(status.last_error, None);
            if status.passes >= wanted {
                return status;
            }
            assert!(began.elapsed() < Duration::from_secs(180), "{status:?}");
        }
    };
    let status = passes(2).await;
    assert_eq!((status.passes, status.learning, status.found), (2, 1, 1), "{status:?}");
    let page = ask(&client, &token, Method::Get, "/api/v1/findings?signal=pattern", None).await;
    println!("{page:#}");
    let finding = &page["results"][0];
    assert_eq!((&page["count"], &finding["service_name"], &finding["shape"], &finding["open"]), (&json!(1), &json!("shop"), &json!("unusual"), &json!(false)));
    let time = |field: &str| Timestamp::parse(finding[field].as_str().unwrap()).unwrap().0;
    assert!((time("since") - odd.start).abs() <= 30 * MINUTE && (time("ended") - odd.end).abs() <= 30 * MINUTE, "{finding:#}");
    let evidence: Vec<&Value> = finding["evidence"].as_array().unwrap().iter().collect();
    let connecting = evidence.iter().find(|evidence| evidence["what"] == "connecting's share of the time").expect("connecting is named");
    let (observed, expected) = (connecting["observed"].as_f64().unwrap(), connecting["expected"].as_f64().unwrap());
    assert!((0.4..0.6).contains(&observed) && (0.15..0.25).contains(&expected), "{observed} {expected}");
    assert!(finding["summary"].as_str().unwrap().starts_with("unusual together: "), "{finding:#}");

    // The same hours judged again are the same finding.
    assert_eq!(passes(4).await.found, 1);
    let again = ask(&client, &token, Method::Get, "/api/v1/findings?signal=pattern", None).await;
    assert_eq!((&again["count"], &again["results"][0]["id"]), (&json!(1), &finding["id"]));
    // What a person called none is not told again.
    let path = format!("/api/v1/findings/{}/feedback", finding["id"].as_str().unwrap());
    ask(&client, &token, Method::Post, &path, Some(json!({"anomaly": false}))).await;
    assert_eq!(passes(6).await.found, 1);
    let after = ask(&client, &token, Method::Get, "/api/v1/findings?signal=pattern", None).await;
    assert_eq!(after["count"], 0);
    let cluster = ask(&client, &token, Method::Get, "/api/v1/cluster", None).await.to_string();
    assert!(cluster.contains("batch_runner") && cluster.contains("services_learning"), "{cluster}");
    hub.stop(None, Duration::from_secs(20)).await.unwrap();
}
