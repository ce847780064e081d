//! What the hub answers to a delivery, and what it tells of it.

use std::sync::Arc;
use std::time::Duration;

use probemesh::aggregate::board::Board;
use probemesh::api::metrics::Metrics;
use probemesh::clock::Clock;
use probemesh::config::sections::LogSettings;
use probemesh::hub::ingest::{Ingest, IngestArgs, IngestStatus, Intake};
use probemesh::hub::verdicts::Verdicts;
use probemesh::model::id::Boot;
use probemesh::model::time::Timestamp;
use probemesh::store::Store;
use probemesh::telemetry::{Console, build};
use probemesh::wire::batch::{BatchHead, encode};
use probemesh::wire::link::{Answer, Delivery, in_process};
use ractor::Actor;
use tokio::sync::{broadcast, oneshot};

use crate::api_world::{good, store_settings};

/// Batches of one check each, numbered as their checks.
fn batches(numbers: std::ops::RangeInclusive<u64>) -> Vec<Arc<[u8]>> {
    let batch = |number: u64| {
        let result = good(1, number, number);
        let head = BatchHead::new(&result.id.node, &result.region, result.id.boot, number, 0);
        Arc::from(encode(&head, &[result]))
    };
    numbers.map(batch).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_delivery_is_answered_once_and_health_log_goes_by_the_clock_of_the_hub() {
    let folder = tempfile::tempdir().unwrap();
    let clock = Clock::manual(Timestamp::parse("2026-11-22T09:00:00Z").unwrap());
    let logs = LogSettings {
        dir: folder.path().join("logs"),
        level: "info".to_owned(),
        file_bytes: 1 << 20,
        file_age: Duration::from_secs(86_400),
        files: 1,
        health: true,
    };
    let (_, telemetry) = build(&logs, Console::Off, clock.clone()).unwrap();
    let store = Arc::new(Store::open(&store_settings(), clock.clone()).await.unwrap());
    let (board, events) = (Arc::new(Board::default()), broadcast::channel(16).0);
    let (verdicts, _changes) = Verdicts::new(board.clone(), events.clone(), clock.clone());
    let intake = Arc::new(Intake {
        store: store.clone(),
        board,
        health: telemetry.health.clone(),
        events,
        metrics: Arc::new(Metrics::new()),
        verdicts: Arc::new(verdicts),
        gatherer: None,
        strips: Arc::default(),
        meter: Arc::default(),
        status: IngestStatus::default(),
    });
    let (node, hub) = in_process();
    let deliveries = Arc::new(tokio::sync::Mutex::new(hub.deliveries));
    let (ingest, ended) = Actor::spawn(None, Ingest, IngestArgs { intake: intake.clone(), deliveries }).await.unwrap();
    let deliver = async |batches: Vec<Arc<[u8]>>, clock_offset| {
        let (answer, answered) = oneshot::channel();
        node.deliveries.send(Delivery { batches, clock_offset, answer }).await.unwrap();
        answered.await.unwrap()
    };
    let boot = Boot(1);
    assert_eq!(deliver(batches(1..=3), None).await, Answer::Stored { boot, through: 3 });
    let mut broken = batches(4..=6);
    broken[1] = Arc::from([7]);
    let Answer::Refused { place: 1, reason } = deliver(broken.clone(), Some(60_000_000)).await else { panic!("not refused") };
    assert!(reason.contains("version 7"), "{reason}");
    // What lies before it is stored, and what lies behind it comes next.
    assert_eq!(deliver(broken[2..].to_vec(), Some(60_000_000)).await, Answer::Stored { boot, through: 6 });
    assert_eq!(deliver(batches(1..=6), None).await, Answer::Stored { boot, through: 6 });
    assert!(matches!(deliver(Vec::new(), None).await, Answer::Later { .. }));
    let checks = store.results.statistics(Timestamp(0), Timestamp::LAST).await.unwrap().checks;
    assert_eq!((checks, store.results.status().batches_repeated), (5, 6));
    ingest.stop(None);
    ended.await.unwrap();
    store.shutdown().await.unwrap();
    assert!(matches!(deliver_closed(&intake, batches(7..=7)).await, Answer::Later { .. }));
    drop(telemetry);
    let log = std::fs::read_to_string(logs.dir.join("health.log")).unwrap();
    let times: Vec<&str> = log.lines().map(|line| &line[10..34]).collect();
    let at = |second: &str| format!("2026-11-22T{second}.000Z");
    assert_eq!(times, [at("08:00:01"), at("08:00:02"), at("08:00:03"), at("07:59:04"), at("07:59:06")]);
}

/// The same with the store closed: an actor of its own, for the first has ended.
async fn deliver_closed(intake: &Arc<Intake>, batches: Vec<Arc<[u8]>>) -> Answer {
    let (node, hub) = in_process();
    let deliveries = Arc::new(tokio::sync::Mutex::new(hub.deliveries));
    let (ingest, ended) = Actor::spawn(None, Ingest, IngestArgs { intake: intake.clone(), deliveries }).await.unwrap();
    let (answer, answered) = oneshot::channel();
    node.deliveries.send(Delivery { batches, clock_offset: None, answer }).await.unwrap();
    let answer = answered.await.unwrap();
    ingest.stop(None);
    ended.await.unwrap();
    answer
}
