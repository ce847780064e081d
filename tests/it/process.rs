//! The real binary, as a person runs it: first start, restart, kill -9, bad surroundings.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use probemesh::clock::Clock;
use probemesh::config::Config;
use probemesh::config::sources::{Role, Sources};
use probemesh::model::time::Timestamp;
use probemesh::store::Store;
use probemesh::store::query::ResultQuery;
use serde_json::{Value, json};

use crate::binary::{Binary, PASSWORD, Witness, free_port, program, run};
use crate::target::{Reply, Target};

fn services(folder: &std::path::Path, services: &Value) {
    std::fs::write(folder.join("services.json"), serde_json::to_string_pretty(services).unwrap()).unwrap();
}

/// Asks until `found` says so.
async fn eventually<T>(binary: &mut Binary, path: &str, within: Duration, mut found: impl FnMut(&Value) -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        let value = binary.get(path).await;
        if let Some(found) = found(&value) {
            return found;
        }
        assert!(began.elapsed() < within, "not within {within:?}: {value:#}\n{}", binary.console());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn a_fresh_start_shows_itself_up_long_before_its_first_interval_is_over() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::copy("services.json", folder.path().join("services.json")).unwrap();
    let (clock, began) = (Clock::real(), Clock::real().now());
    let mut binary = Binary::start(folder.path(), free_port()).await;
    let listened = clock.steady();
    let summary = eventually(&mut binary, "api/monitor/health/summary/", Duration::from_secs(30), |summary| {
        (summary["services"][0]["latest_check"]["ok"] == true).then(|| summary.clone())
    })
    .await;
    let first = &summary["services"][0];
    // By the monitor's own clock: a busy machine may make whoever asks wait, but not the check.
    let checked = Timestamp::parse(first["latest_check"]["checked_at"].as_str().unwrap()).unwrap();
    assert!(checked.since(began) <= Duration::from_secs(20) + listened, "{summary}");
    assert_eq!(first["latest_check"]["status_code"], 200);
    assert!(first["latest_check"]["latency_ms"].is_number() && first["latest_check"]["checked_at"].is_string(), "{summary}");
    assert_eq!((first["verdict"].as_str(), &first["latest_digest"], &summary["global_digest"]), (Some("up"), &Value::Null, &Value::Null));
    // The two of the sample wait for a person to edit them.
    for disabled in [1, 2] {
        assert_eq!(summary["services"][disabled]["verdict"], "disabled", "{summary}");
        assert_eq!(summary["services"][disabled]["latest_check"], Value::Null);
    }
    let (status, took, console) = binary.end();
    assert!(status.success() && took < Duration::from_secs(30), "{status} after {took:?}");
    assert!(console.contains("every check made is in the store"), "{console}");
    assert!(console.contains("listens on http://127.0.0.1:"), "{console}");
}

#[test]
fn the_first_start_shows_the_password_it_made_and_the_second_does_not() {
    let folder = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    for expected in [true, false] {
        let mut binary = Binary::launch(folder.path(), free_port(), &[("PROBEMESH_ADMIN_PASSWORD", "")]);
        runtime.block_on(binary.listening());
        let (status, _, console) = binary.end();
        assert!(status.success());
        assert_eq!(console.contains("user admin, password "), expected, "{console}");
    }
}

#[tokio::test]
async fn a_failing_service_is_found_by_grep() {
    let folder = tempfile::tempdir().unwrap();
    let witness = Witness::start();
    let url = format!("http://127.0.0.1:{}", witness.port);
    services(folder.path(), &json!([{"name": "payments", "base_url": url, "health_path": "/fail", "interval_s": 1, "retries": 1}]));
    let mut binary = Binary::start(folder.path(), free_port()).await;
    eventually(&mut binary, "api/monitor/results/?ok=false", Duration::from_secs(40), |page| {
        (!page["results"].as_array()?.is_empty()).then_some(())
    })
    .await;
    binary.end();
    let found = std::process::Command::new("grep").arg("\"ok\": false").arg(folder.path().join("logs/health.log")).output().unwrap();
    let text = String::from_utf8(found.stdout).unwrap();
    let line: Value = serde_json::from_str(text.lines().next().expect("grep finds a line")).unwrap();
    assert_eq!(
        (line["service"].as_str(), line["reason"].as_str(), line["phase"].as_str()),
        (Some("payments"), Some("status"), Some("expect"))
    );
    assert_eq!(line["attempts"], 2, "{line}");
}

#[tokio::test]
async fn a_region_is_since_when_it_was_also_after_a_kill() {
    let folder = tempfile::tempdir().unwrap();
    let witness = Witness::start();
    let url = format!("http://127.0.0.1:{}", witness.port);
    let status = Arc::new(AtomicU16::new(200));
    let answered = status.clone();
    let broke = Target::plain(move |_| Reply::text(answered.load(Ordering::SeqCst), "answer")).await;
    services(
        folder.path(),
        &json!([
            {"name": "bad", "base_url": url, "health_path": "/fail", "interval_s": 1, "retries": 0},
            {"name": "good", "base_url": url, "interval_s": 1},
            {"name": "broke", "base_url": broke.url("http", "127.0.0.1"), "interval_s": 1, "retries": 0},
        ]),
    );
    // Checked more than once in these states.
    let since = |states: [&'static str; 3]| {
        move |summary: &Value| {
            let regions: Vec<&Value> = summary["services"].as_array()?.iter().filter_map(|service| service["regions"].get(0)).collect();
            let told = regions.iter().map(|region| region["status"].as_str().unwrap_or_default()).eq(states);
            let again = regions.iter().all(|region| region["latest_check"]["checked_at"] != region["since"]);
            (told && again).then(|| regions.iter().map(|region| region["since"].clone()).collect::<Vec<_>>())
        }
    };
    let (port, path) = (free_port(), "api/monitor/health/summary/");
    let mut binary = Binary::start(folder.path(), port).await;
    eventually(&mut binary, path, Duration::from_secs(40), since(["down", "up", "up"])).await;
    status.store(503, Ordering::SeqCst);
    let before = eventually(&mut binary, path, Duration::from_secs(40), since(["down", "up", "down"])).await;
    binary.kill();
    let mut binary = Binary::start(folder.path(), port).await;
    let after = eventually(&mut binary, path, Duration::from_secs(40), since(["down", "up", "down"])).await;
    assert_eq!(after[0], before[0], "it is down since it broke");
    assert!(after[1].as_str() <= before[1].as_str(), "it is up since it came: {} or {}", after[1], before[1]);
    assert_eq!(after[2], before[2], "what passed and then broke is down since then");
    binary.end();
}

#[tokio::test]
async fn whatever_is_killed_every_check_made_is_stored_exactly_once() {
    const KILLS: usize = 5;
    let folder = tempfile::tempdir().unwrap();
    let witness = Witness::start();
    let url = format!("http://127.0.0.1:{}", witness.port);
    let all: Vec<Value> =
        (0..40).map(|index| json!({"name": format!("s{index}"), "base_url": url, "interval_s": 0.25, "retries": 0})).collect();
    services(folder.path(), &Value::Array(all));
    let port = free_port();
    for kill in 0..KILLS {
        let binary = Binary::start(folder.path(), port).await;
        // Different moments of the commit, the delivery and the first seals.
        tokio::time::sleep(Duration::from_millis(900 + 370 * kill as u64)).await;
        binary.kill();
    }
    let binary = Binary::start(folder.path(), port).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let (status, _, console) = binary.end();
    assert!(status.success(), "{console}");

    let sources = Sources { dir: folder.path().to_owned(), environment: Vec::new(), role: Role::Hub };
    let store = Store::open(&Config::load(&sources).unwrap().store, Clock::real()).await.unwrap();
    let mut stored: HashMap<(u64, u64), u32> = HashMap::new();
    let mut query = ResultQuery { page_size: 500, newest_first: true, ..ResultQuery::default() };
    loop {
        let page = store.results.page(&query).await.unwrap();
        for found in &page.results {
            *stored.entry((found.result.id.boot.0, found.result.id.seq)).or_insert(0) += 1;
        }
        match page.next {
            Some(next) => query.cursor = Some(next),
            None => break,
        }
    }
    store.shutdown().await.unwrap();
    let asked = witness.asked.lock().unwrap().clone();
    assert!(asked.len() > 500, "only {} checks were made", asked.len());
    assert!(stored.values().all(|times| *times == 1), "a result is stored twice");
    assert!(stored.keys().all(|check| asked.contains_key(check)), "a result nobody asked for");
    let boots: HashSet<u64> = asked.keys().map(|(boot, _)| *boot).collect();
    assert_eq!(boots.len(), KILLS + 1);
    // What a kill takes is the end of a boot: checks in flight and those whose commit was not done. Behind the first of them
    // nothing is stored but what overtook it: one check of each of the 40 services at most.
    let missing: Vec<(u64, u64)> = asked.keys().filter(|check| !stored.contains_key(*check)).copied().collect();
    for boot in &boots {
        let Some(first) = missing.iter().filter(|(of, _)| of == boot).map(|(_, seq)| *seq).min() else { continue };
        let behind = stored.keys().filter(|(of, seq)| of == boot && *seq > first).count();
        assert!(behind <= 40, "boot {boot} misses check {first}, yet {behind} behind it are stored");
    }
    let newest = boots.iter().max().unwrap();
    assert!(missing.iter().all(|(boot, _)| boot != newest), "the last boot was ended, not killed, and misses checks");
}

#[tokio::test]
async fn a_second_process_on_the_same_folder_is_told_so_in_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let _first = Binary::start(folder.path(), free_port()).await;
    let second = run(folder.path(), free_port(), &[]);
    let said = String::from_utf8_lossy(&second.stderr);
    assert_eq!(second.status.code(), Some(1));
    let lines: Vec<&str> = said.lines().filter(|line| line.starts_with("probemesh: ")).collect();
    assert!(lines.len() == 1 && lines[0].contains("in use by another probemesh"), "{said}");
}

#[tokio::test]
async fn a_taken_port_is_one_clear_line() {
    let folder = tempfile::tempdir().unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let output = run(folder.path(), port, &[]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1));
    assert!(said.contains(&format!("cannot listen on http://127.0.0.1:{port}/")) && said.contains("ROCKET_PORT"), "{said}");
    // Nothing is broken: the same folder starts elsewhere.
    let binary = Binary::start(folder.path(), free_port()).await;
    assert!(binary.end().0.success());
}

#[test]
fn a_data_folder_that_cannot_be_made_is_one_clear_line() {
    let folder = tempfile::tempdir().unwrap();
    // A file where the folder should be; a mode would not stop the superuser.
    std::fs::write(folder.path().join("data"), "").unwrap();
    let output = run(folder.path(), free_port(), &[]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1));
    assert!(said.lines().any(|line| line.starts_with("probemesh: ") && line.contains("data")), "{said}");
}

#[tokio::test]
async fn a_broken_services_file_is_told_with_its_line_and_stops_nothing() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("services.json"), "[\n  {\"name\": \"a\",\n   \"base_url\": }\n]").unwrap();
    let mut binary = Binary::start(folder.path(), free_port()).await;
    assert_eq!(binary.get("api/monitor/services/").await["count"], 0);
    let (status, _, console) = binary.end();
    assert!(status.success());
    assert!(console.contains("services.json:3:"), "{console}");
}

#[tokio::test]
async fn commands_work_beside_the_running_hub_and_without_it() {
    let folder = tempfile::tempdir().unwrap();
    let witness = Witness::start();
    let url = format!("http://127.0.0.1:{}", witness.port);
    services(
        folder.path(),
        &json!([{"name": "good", "base_url": url}, {"name": "bad", "base_url": url, "health_path": "/fail", "retries": 0}]),
    );
    let port = free_port();
    let command = |arguments: &[&str]| {
        let output = run(folder.path(), port, arguments);
        (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr))
    };
    // By name from the services file, before anything is stored.
    assert_eq!(command(&["check", "good"]).0, Some(0));
    let seeded = command(&["seed", "--json"]);
    assert_eq!(serde_json::from_str::<Value>(&seeded.1).unwrap()["created"], json!(["good", "bad"]), "{}", seeded.1);
    for running in [false, true] {
        let binary = if running { Some(Binary::start(folder.path(), port).await) } else { None };
        let (code, said) = command(&["check", "good"]);
        assert!(code == Some(0) && said.contains("200"), "{said}");
        let (code, said) = command(&["check", "bad"]);
        assert!(code == Some(1) && said.contains("expected status 200-299, got 503"), "{said}");
        assert_eq!(command(&["check", "nobody"]).0, Some(2));
        let (code, said) = command(&["check", "--all"]);
        assert!(code == Some(1) && said.contains("1 of 2 up"), "{said}");
        let (code, said) = command(&["seed"]);
        assert!(code == Some(0) && said.contains("unchanged  good, bad"), "{said}");
        std::fs::write(
            folder.path().join("gatus.yaml"),
            format!("endpoints: [{{name: good, url: \"{url}\"}}, {{name: r, url: icmp://x}}]"),
        )
        .unwrap();
        let (code, said) = command(&["seed", "--file", "gatus.yaml"]);
        assert!(code == Some(0) && said.contains("r: is left out") && said.contains("skipped  good"), "{said}");
        let (code, said) = command(&["inspect"]);
        assert_eq!(code, Some(if running { 0 } else { 1 }), "{said}");
        assert!(!running || said.contains("prober 1 good"), "{said}");
        let name = if running { "lena" } else { "omar" };
        let mut add = program()
            .current_dir(folder.path())
            .env("ROCKET_PORT", port.to_string())
            .args(["user", "add", name, "--role", "operator"])
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        std::io::Write::write_all(&mut add.stdin.take().unwrap(), b"a-long-password\n").unwrap();
        let added = add.wait_with_output().unwrap();
        assert!(added.status.success(), "{}", String::from_utf8_lossy(&added.stderr));
        let (_, users) = command(&["user", "list"]);
        assert!(users.contains(name) && users.contains("operator") && !users.contains("disabled"), "{users}");
        let (code, said) = command(&["user", "disable", name]);
        assert!(code == Some(0) && said.contains(&format!("{name} disabled")), "{said}");
        let (_, users) = command(&["user", "list"]);
        assert!(users.lines().any(|line| line.starts_with(name) && line.ends_with("disabled")), "{users}");
        let (code, said) = command(&["user", "enable", name]);
        assert!(code == Some(0) && said.contains(&format!("{name} enabled")), "{said}");
        assert!(!command(&["user", "list"]).1.contains("disabled"));
        // Before the first start there is nobody of that name, and after it nobody else of that role.
        let (code, said) = command(&["user", "disable", "admin"]);
        assert!(code == Some(1) && said.contains(if running { "is the last admin" } else { "there is no user" }), "{said}");
        assert_eq!(command(&["user", "enable", "nobody"]).0, Some(1));
        if let Some(binary) = binary {
            assert!(binary.end().0.success());
        }
    }
    // A URL needs neither a hub nor a store.
    let (code, said) = command(&["check", &url, "--json"]);
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(serde_json::from_str::<Value>(&said).unwrap()["ok"], true, "{said}");
    assert_eq!(command(&["check"]).0, Some(2));
    assert!(!PASSWORD.is_empty());
}
