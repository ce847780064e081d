//! What can go wrong with a store on a server, against a real one: it is killed, stopped, slow, silent, cut off, or another.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use probemesh::clock::Clock;
use probemesh::config::Config;
use probemesh::config::sections::StoreSettings;
use probemesh::config::sources::{Role, Sources};
use probemesh::model::check::{CheckResult, Failure, Phase, Phases, Reason};
use probemesh::model::id::{Boot, CheckId, ServiceId};
use probemesh::model::time::Timestamp;
use probemesh::store::Store;
use probemesh::store::connection::{Database, StoreError};
use probemesh::store::query::ResultQuery;
use probemesh::wire::batch::{self, BatchHead};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::json;

use crate::binary::{Binary, Witness, free_port, run as run_binary};
use crate::server::{Line, Mode, PASSWORD, Server, USER, on_server};

/// A dead server is known to be dead within this, with room for a busy machine.
const SOON: Duration = Duration::from_secs(15);

fn settings() -> StoreSettings {
    StoreSettings {
        url: None,
        username: None,
        password: None,
        ca: None,
        data_dir: "unused".into(),
        memtable_bytes: 8 << 20,
        block_cache_bytes: 4 << 20,
        block_results: 20,
        block_span: Duration::from_secs(1200),
        journal_max_bytes: 20_000,
        retain_results: Duration::from_secs(30 * 86_400),
        retain_minutes: Duration::from_secs(30 * 86_400),
        retain_details: Duration::from_secs(90 * 86_400),
        details_per_hour: 20,
    }
}

fn result(node: &str, seq: u64) -> CheckResult {
    let failure = Failure { reason: Reason::Status, phase: Phase::Expect, message: "expected 200-299, got 503".to_owned() };
    CheckResult {
        id: CheckId { node: node.into(), boot: Boot(1), seq },
        service: ServiceId(seq as u32 % 5),
        region: "eu".into(),
        scheduled_at: Timestamp(seq as i64 * 1_000_000),
        started_at: Timestamp(seq as i64 * 1_000_000),
        latency: Duration::from_millis(12),
        elapsed: Duration::from_millis(12),
        clock_offset: 0,
        status_code: Some(200),
        failure: seq.is_multiple_of(7).then_some(failure),
        phases: Phases::default(),
        address: None,
        http_version: None,
        tls_version: None,
        certificate: None,
        body_bytes: 0,
        redirects: 0,
        attempt_count: 1,
        attempts: Vec::new(),
        evidence: None,
    }
}

const IN_BATCH: u64 = 8;

/// Batch `number` of a node, from 1; its results follow on those of the batch before.
fn batch_of(node: &str, number: u64) -> Vec<u8> {
    let results: Vec<CheckResult> = ((number - 1) * IN_BATCH..number * IN_BATCH).map(|seq| result(node, seq)).collect();
    batch::encode(&BatchHead::new(&node.into(), &"eu".into(), Boot(1), number, 0), &results)
}

/// Sends a batch until it is in the store; whether it was told as new, which may happen once.
async fn deliver(store: &Store, batch: &[u8]) -> bool {
    loop {
        match store.results.append(batch).await {
            Ok(appended) => return appended.results.is_some(),
            Err(error) => {
                assert!(error.passing(), "{error}");
                assert!(!matches!(error, StoreError::Foreign), "{error}");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

/// Every result that is stored, by what a reader sees.
async fn stored(store: &Store) -> HashMap<(String, u64), u32> {
    let mut found: HashMap<(String, u64), u32> = HashMap::new();
    let mut query = ResultQuery { page_size: 500, newest_first: true, ..ResultQuery::default() };
    loop {
        let page = store.results.page(&query).await.unwrap();
        for stored in &page.results {
            *found.entry((stored.result.id.node.0.to_string(), stored.result.id.seq)).or_insert(0) += 1;
        }
        match page.next {
            Some(next) => query.cursor = Some(next),
            None => return found,
        }
    }
}

async fn check_stored(store: &Store, nodes: &[(&str, u64)]) {
    let found = stored(store).await;
    assert!(found.values().all(|times| *times == 1), "a result is there twice");
    let expected: u64 = nodes.iter().map(|(_, batches)| batches * IN_BATCH).sum();
    for (node, batches) in nodes {
        let missing: Vec<u64> = (0..batches * IN_BATCH).filter(|seq| !found.contains_key(&((*node).to_owned(), *seq))).collect();
        assert!(missing.is_empty(), "{node} misses {missing:?}");
    }
    assert_eq!(found.len() as u64, expected);
    assert_eq!(store.results.statistics(Timestamp(0), Timestamp::LAST).await.unwrap().checks, expected);
}

async fn open(url: &str) -> Store {
    Store::open(&on_server(settings(), url), Clock::real()).await.unwrap()
}

/// Waits until the store answers again, by itself.
async fn answers(store: &Store) {
    let began = Instant::now();
    while let Err(error) = store.database.query("RETURN 1", vec![]).await {
        assert!(began.elapsed() < Duration::from_secs(90), "it does not come back: {error}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_whose_answer_was_lost_is_stored_once_and_told_as_new_once() {
    let server = Server::start("memory");
    let line = Line::to(server.address());
    let store = open(&line.url()).await;
    let direct = open(&server.url()).await;
    assert!(deliver(&store, &batch_of("a", 1)).await);
    line.set(Mode::Deaf);
    let began = Instant::now();
    let error = store.results.append(&batch_of("a", 2)).await.unwrap_err();
    assert!(error.away() && began.elapsed() < SOON, "{error} after {:?}", began.elapsed());
    let mut answer = direct.database.query("RETURN array::len((SELECT VALUE id FROM journal))", vec![]).await.unwrap();
    assert_eq!(answer.take::<Option<i64>>(0).unwrap(), Some(2), "the server has carried it out, and nobody heard");
    line.set(Mode::Pass);
    assert!(deliver(&store, &batch_of("a", 2)).await, "whoever sends it again is told that it is new");
    assert!(!deliver(&store, &batch_of("a", 2)).await);
    assert!(deliver(&store, &batch_of("a", 3)).await);
    check_stored(&store, &[("a", 3)]).await;
    check_stored(&open(&server.url()).await, &[("a", 3)]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_dead_link_held_back_and_lets_go_later_doubles_nothing() {
    let server = Server::start("memory");
    let line = Line::to(server.address());
    let store = open(&line.url()).await;
    deliver(&store, &batch_of("a", 1)).await;
    for number in 2..6 {
        // The statement is on its way and held; let go, it races with the batch that is sent again over the next connection.
        line.set(Mode::Silent);
        assert!(store.results.append(&batch_of("a", number)).await.unwrap_err().away());
        line.set(Mode::Pass);
        assert!(deliver(&store, &batch_of("a", number)).await);
    }
    check_stored(&store, &[("a", 5)]).await;
    check_stored(&open(&server.url()).await, &[("a", 5)]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_fail_soon_when_the_server_falls_silent_and_at_once_when_that_is_known() {
    let server = Server::start("memory");
    let store = open(&server.url()).await;
    deliver(&store, &batch_of("a", 1)).await;
    for _ in 0..2 {
        server.signal(libc::SIGSTOP);
        let began = Instant::now();
        let error = store.results.page(&ResultQuery { page_size: 5, service: Some(ServiceId(1)), ..ResultQuery::default() }).await;
        // What is asked of memory alone is answered.
        if let Err(error) = error {
            assert!(error.away(), "{error}");
        }
        let error = store.database.query("RETURN 1", vec![]).await.unwrap_err();
        assert!(error.away() && began.elapsed() < SOON, "{error} after {:?}", began.elapsed());
        // It may have been a time-out that was first; that the link is lost is known a ping later.
        tokio::time::sleep(Duration::from_secs(1)).await;
        let began = Instant::now();
        let error = store.database.query("RETURN 1", vec![]).await.unwrap_err();
        assert!(matches!(error, StoreError::Unreachable { .. }), "{error}");
        assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
        server.signal(libc::SIGCONT);
        answers(&store).await;
    }
    assert!(deliver(&store, &batch_of("a", 2)).await);
    check_stored(&store, &[("a", 2)]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_half_open_link_is_replaced() {
    let server = Server::start("memory");
    let line = Line::to(server.address());
    let store = open(&line.url()).await;
    deliver(&store, &batch_of("a", 1)).await;
    let before = line.used.load(std::sync::atomic::Ordering::Relaxed);
    line.freeze_those_there_are();
    let began = Instant::now();
    assert!(store.database.query("RETURN 1", vec![]).await.unwrap_err().away());
    assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
    assert!(deliver(&store, &batch_of("a", 2)).await);
    assert!(line.used.load(std::sync::atomic::Ordering::Relaxed) > before, "over the same connection");
    check_stored(&store, &[("a", 2)]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_line_is_not_taken_for_a_dead_one() {
    let server = Server::start("memory");
    let line = Line::to(server.address());
    let store = open(&line.url()).await;
    line.set(Mode::Slow(Duration::from_millis(400)));
    let before = line.used.load(std::sync::atomic::Ordering::Relaxed);
    for number in 1..=8 {
        assert!(store.results.append(&batch_of("a", number)).await.unwrap().results.is_some());
    }
    assert_eq!(line.used.load(std::sync::atomic::Ordering::Relaxed), before, "slow is not away");
    check_stored(&store, &[("a", 8)]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_killed_and_started_again_loses_and_doubles_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let server = Arc::new(Server::start(&format!("surrealkv://{}", folder.path().join("db").display())));
    let store = Arc::new(open(&server.url()).await);
    let killing = {
        let server = server.clone();
        tokio::task::spawn_blocking(move || {
            for pause in [700, 1300, 400] {
                std::thread::sleep(Duration::from_millis(pause));
                server.kill();
                std::thread::sleep(Duration::from_millis(pause / 3));
                server.start_again();
            }
        })
    };
    let sending: Vec<_> = ["a", "b", "c"]
        .map(|node| {
            let store = store.clone();
            tokio::spawn(async move {
                let began = Instant::now();
                let mut number = 0;
                while began.elapsed() < Duration::from_secs(6) {
                    number += 1;
                    assert!(deliver(&store, &batch_of(node, number)).await, "batch {number} of {node} was stored before");
                }
                (node, number)
            })
        })
        .into();
    let sealing = {
        let store = store.clone();
        tokio::spawn(async move {
            for _ in 0..60 {
                // It fails while the server is away, and is tried again.
                let _ = store.results.seal(Timestamp(1_000_000_000)).await;
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        })
    };
    let mut nodes = Vec::new();
    for task in sending {
        nodes.push(task.await.unwrap());
    }
    sealing.await.unwrap();
    killing.await.unwrap();
    answers(&store).await;
    println!("stored over three kills: {nodes:?}, {:?}", store.results.status());
    check_stored(&store, &nodes).await;
    assert!(store.results.status().results_sealed > 0);
    store.shutdown().await.unwrap();
    check_stored(&open(&server.url()).await, &nodes).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_happens_to_the_line_every_batch_is_stored_once() {
    let server = Server::start("memory");
    let line = Line::to(server.address());
    let store = Arc::new(open(&line.url()).await);
    let sending: Vec<_> = ["a", "b", "c"]
        .map(|node| {
            let store = store.clone();
            tokio::spawn(async move {
                let began = Instant::now();
                let mut number = 0;
                while began.elapsed() < Duration::from_secs(90) {
                    number += 1;
                    assert!(deliver(&store, &batch_of(node, number)).await, "batch {number} of {node} was stored before");
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                (node, number)
            })
        })
        .into();
    let sealing = {
        let store = store.clone();
        tokio::spawn(async move {
            loop {
                let _ = store.results.seal(Timestamp(1_000_000_000)).await;
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        })
    };
    let mut random = StdRng::seed_from_u64(11);
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(36) {
        let mode = match random.random_range(0..6) {
            0 => Mode::Slow(Duration::from_millis(random.random_range(1..300))),
            1 => Mode::Deaf,
            2 => Mode::Silent,
            3 => Mode::Cut,
            4 => {
                line.freeze_those_there_are();
                Mode::Pass
            }
            _ => Mode::Pass,
        };
        line.set(mode);
        tokio::time::sleep(Duration::from_millis(random.random_range(20..2_500))).await;
        line.set(Mode::Pass);
        tokio::time::sleep(Duration::from_millis(random.random_range(20..600))).await;
    }
    let mut nodes = Vec::new();
    for task in sending {
        nodes.push(task.await.unwrap());
    }
    sealing.abort();
    let _ = sealing.await;
    answers(&store).await;
    println!(
        "stored over a bad line: {nodes:?}, {} connections, {:?}",
        line.used.load(std::sync::atomic::Ordering::Relaxed),
        store.results.status()
    );
    check_stored(&store, &nodes).await;
    check_stored(&open(&server.url()).await, &nodes).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_killed_hub_had_under_way_does_not_come_between_its_successor() {
    let server = Server::start("memory");
    let line = Line::to(server.address());
    let killed = open(&line.url()).await;
    killed.results.claim().await.unwrap();
    deliver(&killed, &batch_of("a", 1)).await;
    // Its last batch lies in the network.
    line.set(Mode::Silent);
    assert!(killed.results.append(&batch_of("a", 2)).await.unwrap_err().away());
    drop(killed);
    let successor = open(&server.url()).await;
    successor.results.claim().await.unwrap();
    line.set(Mode::Pass);
    let hanging = open(&line.url()).await;
    assert!(deliver(&successor, &batch_of("a", 2)).await);
    assert!(deliver(&successor, &batch_of("b", 1)).await);
    successor.results.seal(Timestamp(1_000_000_000)).await.unwrap();
    check_stored(&successor, &[("a", 2), ("b", 1)]).await;
    // One that opened before that and claims now is told to look again; one that does takes over.
    assert!(matches!(hanging.results.claim().await.unwrap_err(), StoreError::Foreign));
    let next = open(&server.url()).await;
    next.results.claim().await.unwrap();
    assert!(matches!(successor.results.append(&batch_of("a", 3)).await.unwrap_err(), StoreError::Foreign));
    assert!(deliver(&next, &batch_of("a", 3)).await);
    check_stored(&open(&server.url()).await, &[("a", 3), ("b", 1)]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_that_is_wrong_missing_or_changes_is_said_so() {
    let server = Server::start("memory");
    let good = on_server(settings(), &server.url());
    for (username, password) in [(Some(USER), Some("another")), (Some("nobody"), Some(PASSWORD)), (None, None)] {
        let (username, password) = (username.map(str::to_owned), password.map(str::to_owned));
        let error = Database::open(&StoreSettings { username, password, ..good.clone() }).await.unwrap_err();
        assert_eq!(error.to_string(), format!("store {} refused the user name or password", server.url()));
        assert!(!error.away(), "to wait does not mend it");
    }
    let store = Store::open(&good, Clock::real()).await.unwrap();
    server.kill();
    server.start_with_password("another");
    let began = Instant::now();
    loop {
        match store.database.query("RETURN 1", vec![]).await.unwrap_err() {
            StoreError::Refused { .. } => break,
            error => assert!(error.away() && began.elapsed() < Duration::from_secs(20), "{error}"),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    server.kill();
    server.start_again();
    answers(&store).await;
}

/// What the store sends and reads at once is 4 MiB, about. Built for tests, the library takes a second or more for as much.
#[tokio::test(flavor = "multi_thread")]
async fn the_largest_slice_passes_in_one_message() {
    let server = Server::start("memory");
    let database = Database::open(&on_server(settings(), &server.url())).await.unwrap();
    let data: Vec<u8> = (0..5u32 << 20).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let sent = probemesh::store::values::bytes(data);
    let began = Instant::now();
    let mut answer = loop {
        match database.query("RETURN $data", vec![("data", sent.clone())]).await {
            Ok(answer) => break answer,
            // A busy machine may take its server for away meanwhile.
            Err(error) => assert!(error.away() && began.elapsed() < Duration::from_secs(60), "{error}"),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    assert!(answer.take::<surrealdb::types::Value>(0).unwrap() == sent, "it came back as something else");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_of_the_one_database_is_enough() {
    let server = Server::start("memory");
    let root = on_server(settings(), &format!("{}/team/checks", server.url()));
    let define = "DEFINE USER hub ON DATABASE PASSWORD 'only here' ROLES OWNER";
    Database::open(&root).await.unwrap().query(define, vec![]).await.unwrap();
    let own = StoreSettings { username: Some("hub".to_owned()), password: Some("only here".to_owned()), ..root };
    let store = Store::open(&own, Clock::real()).await.unwrap();
    deliver(&store, &batch_of("a", 1)).await;
    check_stored(&store, &[("a", 1)]).await;
    let elsewhere = StoreSettings { url: Some(format!("{}/team/other", server.url())), ..own };
    assert!(matches!(Database::open(&elsewhere).await.unwrap_err(), StoreError::Refused { .. }));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_of_another_version_is_refused_by_its_number() {
    let server = Server::start("memory");
    let line = Line::to(server.address());
    line.set(Mode::Alter(b"3.3.5", b"2.6.0"));
    let error = Database::open(&on_server(settings(), &line.url())).await.unwrap_err();
    assert!(matches!(error, StoreError::Version { .. }), "{error}");
    let said = error.to_string();
    assert!(said.contains("is not a SurrealDB 3 server") && said.contains("2.6.0") && said.lines().count() == 1, "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn over_tls_the_named_authority_is_trusted_and_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let key = rcgen::KeyPair::generate().unwrap();
    let authority = rcgen::CertifiedIssuer::self_signed(params, key).unwrap();
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = rcgen::CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap().signed_by(&key, &authority).unwrap();
    let file = |name: &str, text: String| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let ca = file("ca.pem", authority.pem());
    let (crt, key) = (file("crt.pem", certificate.pem()), file("key.pem", key.serialize_pem()));
    let server = Server::with("memory", &["--web-crt", &crt.display().to_string(), "--web-key", &key.display().to_string()]);
    let plain = on_server(settings(), &server.url().replace("ws://", "wss://"));
    let error = Database::open(&plain).await.unwrap_err();
    assert!(matches!(&error, StoreError::Unreachable { message, .. } if message.to_lowercase().contains("certificate")), "{error}");
    let store = Store::open(&StoreSettings { ca: Some(ca), ..plain.clone() }, Clock::real()).await.unwrap();
    deliver(&store, &batch_of("a", 1)).await;
    check_stored(&store, &[("a", 1)]).await;
    let error = Database::open(&StoreSettings { ca: Some(folder.path().join("key.pem")), ..plain }).await.unwrap_err();
    assert!(matches!(error, StoreError::Authority { .. }), "{error}");
}

fn services(folder: &Path, witness: &Witness, count: usize, interval: f64) {
    let url = format!("http://127.0.0.1:{}", witness.port);
    let all: Vec<_> =
        (0..count).map(|index| json!({"name": format!("s{index}"), "base_url": url, "interval_s": interval, "retries": 0})).collect();
    std::fs::write(folder.join("services.json"), json!(all).to_string()).unwrap();
}

fn database(url: &str) -> [(&str, &str); 4] {
    [("DATABASE_URL", url), ("DATABASE_USER", USER), ("DATABASE_PASSWORD", PASSWORD), ("PROBEMESH_API__REQUESTS_PER_MINUTE", "100000")]
}

/// Asks once and asserts that the answer came soon.
async fn ask(binary: &mut Binary, path: &str) -> (u16, serde_json::Value) {
    let began = Instant::now();
    let answer = binary.ask("GET", path, None).await;
    assert!(began.elapsed() < SOON, "{path} took {:?}: {answer:?}", began.elapsed());
    answer
}

async fn until(binary: &mut Binary, path: &str, status: u16) -> serde_json::Value {
    let began = Instant::now();
    loop {
        let (found, value) = ask(binary, path).await;
        if found == status {
            return value;
        }
        assert!(began.elapsed() < Duration::from_secs(90), "{path} stays at {found}: {value}\n{}", binary.console());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hub_whose_server_comes_and_goes_stores_every_check_once() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(&format!("surrealkv://{}", folder.path().join("server").display()));
    let line = Line::to(server.address());
    let witness = Witness::start();
    services(folder.path(), &witness, 20, 0.25);
    let url = line.url();
    // Few and large batches: a server as tests build it takes its time for each.
    let commits = ("PROBEMESH_REGION__COMMIT_INTERVAL_MS", "500");
    let mut binary = Binary::launch(folder.path(), free_port(), &[&database(&url)[..], &[commits]].concat());
    binary.listening().await;
    let results = "api/monitor/results/?page_size=5&since=2020-01-01T00:00:00Z";
    until(&mut binary, "readyz", 200).await;
    binary.token().await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    for fault in 0..4 {
        match fault {
            0 => server.kill(),
            1 => line.set(Mode::Silent),
            2 => line.set(Mode::Cut),
            _ => server.signal(libc::SIGSTOP),
        }
        let began = Instant::now();
        while !until(&mut binary, "readyz", 503).await["detail"].as_str().unwrap().contains(&url) {
            assert!(began.elapsed() < SOON, "{}", binary.console());
        }
        let (status, problem) = ask(&mut binary, "api/v1/audit").await;
        assert_eq!(status, 503, "{problem}");
        assert!(problem["detail"].as_str().unwrap().contains("cannot be reached") && problem["status"] == 503, "{problem}");
        // What is in memory is told all the same.
        assert_eq!(ask(&mut binary, "api/monitor/health/summary/").await.0, 200);
        assert_eq!(ask(&mut binary, "healthz").await.0, 200);
        tokio::time::sleep(Duration::from_millis(700)).await;
        match fault {
            0 => server.start_again(),
            1 | 2 => line.set(Mode::Pass),
            _ => server.signal(libc::SIGCONT),
        }
        until(&mut binary, "readyz", 200).await;
        until(&mut binary, results, 200).await;
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    // What waited meanwhile is worked off before it ends.
    tokio::time::sleep(Duration::from_secs(4)).await;
    let (status, _, console) = binary.end();
    assert!(status.success() && console.contains("every check made is in the store"), "{console}");
    assert_eq!(console.matches("store is away").count(), 4, "{console}");
    assert_eq!(console.matches("store is back").count(), 4, "{console}");

    let store = Store::open(&on_server(settings(), &server.url()), Clock::real()).await.unwrap();
    let mut found: HashMap<(u64, u64), u32> = HashMap::new();
    let mut query = ResultQuery { page_size: 500, newest_first: true, ..ResultQuery::default() };
    loop {
        let page = store.results.page(&query).await.unwrap();
        for stored in &page.results {
            *found.entry((stored.result.id.boot.0, stored.result.id.seq)).or_insert(0) += 1;
        }
        match page.next {
            Some(next) => query.cursor = Some(next),
            None => break,
        }
    }
    let asked = witness.asked.lock().unwrap().clone();
    println!("over four faults {} checks were asked for and {} are stored", asked.len(), found.len());
    assert!(asked.len() > 300 && found.values().all(|times| *times == 1));
    let missing: Vec<_> = asked.keys().filter(|check| !found.contains_key(check)).collect();
    assert!(missing.is_empty() && found.len() == asked.len(), "missing: {missing:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hub_started_before_its_server_waits_and_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start("memory");
    server.kill();
    let witness = Witness::start();
    services(folder.path(), &witness, 1, 1.0);
    let url = server.url();
    let mut binary = Binary::launch(folder.path(), free_port(), &database(&url));
    binary.listening().await;
    for path in ["readyz", "api/monitor/results/", "api/v1/cluster"] {
        let answer = reqwest::get(binary.url(path)).await.unwrap();
        assert_eq!(answer.status().as_u16(), 503);
        assert_eq!(answer.headers()["content-type"], "application/problem+json");
        assert!(answer.headers().contains_key("retry-after"));
        let problem: serde_json::Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
        assert!(problem["detail"].as_str().unwrap().starts_with(&format!("store {url} cannot be reached: ")), "{problem}");
    }
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(binary.console().matches("the hub waits for it").count(), 1, "{}", binary.console());
    server.start_again();
    let began = Instant::now();
    while !binary.console().contains("listens on") {
        assert!(began.elapsed() < Duration::from_secs(90), "{}", binary.console());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(until(&mut binary, "api/monitor/services/", 200).await["count"], 1);
    assert!(binary.end().0.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hub_that_waits_for_its_server_ends_when_told() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("ws://127.0.0.1:{}", free_port());
    let mut binary = Binary::launch(folder.path(), free_port(), &database(&url));
    binary.listening().await;
    let (status, took, console) = binary.end();
    assert!(status.success() && took < Duration::from_secs(30), "{status} {took:?} {console}");
    assert!(console.contains("ended before the store was there"), "{console}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_start_with_a_wrong_password_is_one_clear_line() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start("memory");
    let text = format!("[store]\nurl = \"{}\"\nusername = \"{USER}\"\npassword = \"another\"\n", server.url());
    std::fs::write(folder.path().join("Rocket.toml"), text).unwrap();
    let output = tokio::task::spawn_blocking(move || run_binary(folder.path(), free_port(), &[])).await.unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    let lines: Vec<&str> = said.lines().filter(|line| line.starts_with("probemesh: ")).collect();
    assert_eq!(lines, [format!("probemesh: store {} refused the user name or password", server.url())], "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_changed_unheard_is_known_once_the_store_is_back() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start("memory");
    let line = Line::to(server.address());
    let url = line.url();
    std::fs::write(folder.path().join("services.json"), "[]").unwrap();
    let mut binary = Binary::launch(folder.path(), free_port(), &database(&url));
    binary.listening().await;
    binary.token().await;
    let service = |name: &str| Some(json!({"name": name, "base_url": "http://127.0.0.1:9", "enabled": false}));
    let (status, first) = binary.ask("POST", "api/monitor/services/", service("first")).await;
    assert_eq!(status, 201, "{first}");
    // Answers do not come, what is sent arrives: the number is given, the service is stored, and the caller hears neither.
    line.set(Mode::Slow(Duration::from_millis(600)));
    let changing = format!("api/monitor/services/{}/", first["id"]);
    let change = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        line.set(Mode::Deaf);
    };
    let ((status, problem), ()) = tokio::join!(binary.ask("PATCH", &changing, Some(json!({"timeout_s": 3}))), change);
    assert_eq!(status, 503, "{problem}");
    assert_eq!(binary.get(&changing).await["timeout_s"], 10.0, "nobody knows yet");
    line.set(Mode::Pass);
    let began = Instant::now();
    while binary.get(&changing).await["timeout_s"] != 3.0 {
        assert!(began.elapsed() < Duration::from_secs(90), "{}", binary.console());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(binary.end().0.success());
}

/// The settings a test's folder gives are those of a server with a namespace and a database of its own.
#[test]
fn the_url_names_namespace_and_database_and_nothing_more() {
    let load = |url: &str| {
        let environment = vec![("DATABASE_URL".to_owned(), url.to_owned())];
        Config::load(&Sources { dir: "unused".into(), environment, role: Role::Hub }).map(|config| config.store.url)
    };
    assert_eq!(load("ws://db:8000/team/checks").unwrap().as_deref(), Some("ws://db:8000/team/checks"));
    for url in ["ws://db:8000/a/b/c", "ws://db:8000/?database=x"] {
        let said = load(url).unwrap_err()[0].to_string();
        assert!(said.contains("more behind the host than a namespace and a database"), "{said}");
    }
}
