//! The logs: bounds held by writing past them, over re-opening too, and the lines of health.log.

use std::io::{BufRead, Write};
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use probemesh::clock::Clock;
use probemesh::config::sections::LogSettings;
use probemesh::model::check::{Attempt, CheckResult, Failure, Phase, Phases, Reason};
use probemesh::model::id::{Boot, CheckId, NodeName, RegionName, ServiceId};
use probemesh::model::time::Timestamp;
use probemesh::telemetry::health_line::HealthLine;
use probemesh::telemetry::rolling::{Bounds, RollingFile};
use probemesh::telemetry::{Console, build, start};
use proptest::prelude::*;

const DAY: Duration = Duration::from_secs(86_400);

fn settings(folder: &Path) -> LogSettings {
    let dir = folder.join("logs");
    LogSettings { dir, level: "info".to_owned(), file_bytes: 10_000, file_age: DAY, files: 3, health: true }
}

/// The files of a folder with their sizes, by name.
fn files(folder: &Path) -> Vec<(String, u64)> {
    let mut files: Vec<(String, u64)> = std::fs::read_dir(folder)
        .expect("a folder")
        .map(|entry| entry.expect("an entry"))
        .map(|entry| (entry.file_name().into_string().expect("text"), entry.metadata().expect("metadata").len()))
        .collect();
    files.sort();
    files
}

fn names(folder: &Path) -> Vec<String> {
    files(folder).into_iter().map(|(name, _)| name).collect()
}

fn read(path: impl AsRef<Path>) -> String {
    std::fs::read_to_string(path).expect("a log")
}

fn now() -> Timestamp {
    Clock::real().now()
}

#[test]
fn a_log_never_takes_more_than_its_bound_and_the_live_file_keeps_its_name() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("a.log");
    let bounds = Bounds { file_bytes: 1_000, file_age: DAY, files: 3 };
    let mut next = 0;
    // Ten lives of the process, each writing twice the bound in batches that straddle the files' ends.
    for _ in 0..10 {
        let mut file = RollingFile::open(path.clone(), bounds, Clock::real()).expect("opens");
        for _ in 0..40 {
            let batch: String = (0..20).map(|line| format!("{:09}\n", next + line)).collect();
            next += 20;
            file.write_all(batch.as_bytes()).expect("writes");
            let files = files(folder.path());
            assert!(files.iter().all(|(_, size)| *size <= 1_000), "{files:?}");
            assert!(files.iter().map(|(_, size)| size).sum::<u64>() <= 4_000, "{files:?}");
        }
    }
    assert_eq!(names(folder.path()), ["a.log", "a.log.1", "a.log.2", "a.log.3"]);
    let all: String = ["a.log.3", "a.log.2", "a.log.1", "a.log"].map(|name| read(folder.path().join(name))).concat();
    let kept: Vec<i32> = all.lines().map(|line| line.parse().expect("a whole line")).collect();
    assert_eq!(kept, ((next - kept.len() as i32)..next).collect::<Vec<_>>(), "the youngest lines, in order, none cut");
    assert!(kept.len() > 300, "{}", kept.len());
}

#[test]
fn a_log_is_put_aside_when_its_day_is_over_and_a_restart_does_not_forget_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("a.log");
    let bounds = Bounds { file_bytes: 1_000, file_age: DAY, files: 2 };
    let clock = Clock::manual(now());
    let mut file = RollingFile::open(path.clone(), bounds, clock.clone()).expect("opens");
    file.write_all(b"today\n").expect("writes");
    clock.step_wall(DAY.as_micros() as i64);
    file.write_all(b"tomorrow\n").expect("writes");
    clock.step_wall(-(DAY.as_micros() as i64));
    file.write_all(b"clock set back\n").expect("writes");
    assert_eq!(read(&path), "tomorrow\nclock set back\n");
    assert_eq!(read(folder.path().join("a.log.1")), "today\n");

    // The file was written today by the system's clock; two days later another process finds it.
    drop(file);
    clock.step_wall(2 * DAY.as_micros() as i64);
    let mut file = RollingFile::open(path.clone(), bounds, clock).expect("opens");
    file.write_all(b"later\n").expect("writes");
    assert_eq!(read(&path), "later\n");
    assert_eq!(read(folder.path().join("a.log.1")), "tomorrow\nclock set back\n");
    assert_eq!(read(folder.path().join("a.log.2")), "today\n");
}

#[test]
fn narrower_bounds_remove_what_wider_ones_kept_and_strangers_stay() {
    let folder = tempfile::tempdir().expect("a folder");
    for (name, size) in [("a.log", 10), ("a.log.1", 900), ("a.log.2", 900), ("a.log.9", 5), ("a.log.old", 5), ("ab.log.7", 5)] {
        std::fs::write(folder.path().join(name), vec![b'x'; size]).expect("a file");
    }
    let bounds = Bounds { file_bytes: 500, file_age: DAY, files: 2 };
    RollingFile::open(folder.path().join("a.log"), bounds, Clock::real()).expect("opens");
    assert_eq!(names(folder.path()), ["a.log", "a.log.1", "a.log.old", "ab.log.7"]);
}

#[test]
fn an_overlong_line_a_removed_file_and_no_files_to_keep_are_survived() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("a.log");
    let mut bounds = Bounds { file_bytes: 10, file_age: DAY, files: 1 };
    let mut file = RollingFile::open(path.clone(), bounds, Clock::real()).expect("opens");
    file.write_all(b"1\na line that is too long\n2\n").expect("writes");
    assert_eq!((read(&path).as_str(), read(folder.path().join("a.log.1")).as_str()), ("2\n", "a line that is too long\n"));
    std::fs::remove_file(&path).expect("removed");
    file.write_all(b"3\n").expect("writes");
    assert_eq!(read(&path), "3\n");
    bounds.files = 0;
    let mut file = RollingFile::open(path.clone(), bounds, Clock::real()).expect("opens");
    assert_eq!(names(folder.path()), ["a.log"]);
    file.write_all(b"4\n5\n6\n7\n8\n").expect("writes");
    assert_eq!(read(&path), "8\n");
}

#[test]
fn a_line_that_was_cut_off_does_not_spoil_the_next() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("a.log");
    std::fs::write(&path, "whole\nto").expect("a file");
    let bounds = Bounds { file_bytes: 1_000, file_age: DAY, files: 1 };
    let mut file = RollingFile::open(path.clone(), bounds, Clock::real()).expect("opens");
    file.write_all(b"next\n").expect("writes");
    file.write_all(b"last\n").expect("writes");
    assert_eq!(read(&path), "whole\nto\nnext\nlast\n");
}

/// A pipe in the place of `monitor.log`: it takes 64 KiB and then nothing, until the file given back is read.
fn pipe(settings: &LogSettings) -> std::fs::File {
    std::fs::create_dir(&settings.dir).expect("a folder");
    let pipe = settings.dir.join("monitor.log");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().expect("mkfifo runs").success());
    std::fs::OpenOptions::new().read(true).write(true).open(&pipe).expect("opens")
}

#[test]
fn a_disk_that_never_moves_again_does_not_keep_the_process_from_ending() {
    let folder = tempfile::tempdir().expect("a folder");
    let settings = LogSettings { file_bytes: 1 << 30, ..settings(folder.path()) };
    let _reader = pipe(&settings);
    let (subscriber, telemetry) = build(&settings, Console::Off, Clock::real()).expect("starts");
    let padding = "x".repeat(1_000);
    tracing::subscriber::with_default(subscriber, || {
        while telemetry.lost() == 0 {
            tracing::info!(padding, "line");
        }
    });
    telemetry.health.write_all([&failed(), &well()].into_iter(), |_| Arc::from("api"));
    let health = telemetry.health.clone();
    let began = std::time::Instant::now();
    drop(telemetry);
    assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
    assert_eq!(read(settings.dir.join("health.log")).lines().count(), 2, "the other log was written to its end");
    assert_eq!(health.lost(), 0);
}

/// The one test that takes over the logging of its whole process.
#[test]
fn a_disk_that_stands_still_holds_nobody_up_and_what_was_lost_is_said() {
    let folder = tempfile::tempdir().expect("a folder");
    let settings = LogSettings { file_bytes: 1 << 30, health: false, ..settings(folder.path()) };
    let reader = pipe(&settings);
    let telemetry = start(&settings, Console::Off).expect("starts");
    let padding = "x".repeat(1_000);
    let mut made = 0;
    while telemetry.lost() < 100 {
        tracing::info!(padding, "line");
        made += 1;
        assert!(made < 100_000, "the queue has no bound");
    }
    let mut lines = std::io::BufReader::new(reader).lines();
    let said = lines.find_map(|line| line.ok().filter(|line| line.contains("lines were lost"))).expect("said");
    let said: serde_json::Value = serde_json::from_str(&said).expect("JSON");
    assert_eq!((&said["log"], &said["level"]), (&"monitor.log".into(), &"WARN".into()));
    assert!(said["entries"].as_u64().is_some_and(|entries| entries >= 100), "{said}");
}

#[test]
fn monitor_log_is_one_json_object_a_line_and_its_level_can_be_changed() {
    let folder = tempfile::tempdir().expect("a folder");
    let clock = Clock::manual(Timestamp::parse("2030-01-02T03:04:05.678Z").expect("a time"));
    let (subscriber, telemetry) = build(&settings(folder.path()), Console::Off, clock).expect("starts");
    tracing::subscriber::with_default(subscriber, || {
        tracing::info!(service = 7, delay_ms = 250, "probe \"restarted\"");
        tracing::debug!("not yet");
        tracing::info!(target: "surrealdb::core", "never");
        telemetry.set_level("debug").expect("a level");
        tracing::debug!("now");
        assert!(telemetry.set_level("a=b=c").is_err());
    });
    drop(telemetry);
    let text = read(folder.path().join("logs/monitor.log"));
    let lines: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(lines.len(), 2, "{text}");
    assert_eq!(lines[0]["timestamp"], "2030-01-02T03:04:05.678Z");
    assert_eq!((&lines[0]["level"], &lines[0]["message"]), (&"INFO".into(), &"probe \"restarted\"".into()));
    assert_eq!((&lines[0]["service"], &lines[0]["delay_ms"]), (&7.into(), &250.into()));
    assert_eq!(lines[1]["message"], "now");
}

#[test]
fn both_logs_stay_within_their_bounds_when_written_past_them() {
    let folder = tempfile::tempdir().expect("a folder");
    let settings = settings(folder.path());
    let bound = settings.file_bytes * u64::from(settings.files + 1);
    let (subscriber, telemetry) = build(&settings, Console::Off, Clock::real()).expect("starts");
    let result = failed();
    // No more than the queues have room for, however slow the disk.
    tracing::subscriber::with_default(subscriber, || {
        for number in 0..1_000 {
            tracing::info!(number, "a line of some length, so that many are more than fit");
        }
    });
    for _ in 0..200 {
        telemetry.health.write_all([&result; 5].into_iter(), |_| Arc::from("api"));
    }
    assert_eq!(telemetry.lost(), 0);
    drop(telemetry);
    for log in ["monitor.log", "health.log"] {
        let files: Vec<_> = files(&settings.dir).into_iter().filter(|(name, _)| name.starts_with(log)).collect();
        let total: u64 = files.iter().map(|(_, size)| size).sum();
        assert!(total <= bound && total > bound / 2, "{files:?}");
        assert_eq!(files.len(), 4, "{files:?}");
        assert!(read(settings.dir.join(log)).ends_with("}\n"));
    }
    assert!(read(settings.dir.join("monitor.log")).contains("\"number\":999"), "the last line is there");
}

fn well() -> CheckResult {
    CheckResult {
        id: CheckId { node: NodeName::from("local-host"), boot: Boot(1), seq: 7 },
        service: ServiceId(1),
        region: RegionName::from("local"),
        scheduled_at: Timestamp(1_700_000_000_000_000),
        started_at: Timestamp(1_700_000_000_123_456),
        latency: Duration::from_micros(12_345),
        elapsed: Duration::from_micros(12_400),
        status_code: Some(200),
        failure: None,
        phases: Phases {
            dns: Some(Duration::from_micros(100)),
            connect: Some(Duration::from_micros(2_000)),
            tls: None,
            first_byte: Some(Duration::from_micros(10_045)),
            transfer: Some(Duration::from_micros(5)),
        },
        address: Some(IpAddr::V4(Ipv4Addr::LOCALHOST)),
        http_version: None,
        tls_version: None,
        certificate: None,
        body_bytes: 2,
        redirects: 0,
        attempt_count: 1,
        attempts: Vec::new(),
        evidence: None,
        clock_offset: 0,
    }
}

fn failed() -> CheckResult {
    let failure = |reason, phase, message: &str| Some(Failure { reason, phase, message: message.to_owned() });
    let attempt = |offset, status_code, failure| Attempt {
        offset: Duration::from_millis(offset),
        latency: Duration::from_micros(12_345),
        phases: Phases::default(),
        status_code,
        address: None,
        failure,
    };
    CheckResult {
        status_code: Some(503),
        failure: failure(Reason::Status, Phase::Expect, "expected 200-299, got 503 \"Service Unavailable\""),
        attempt_count: 2,
        attempts: vec![
            attempt(0, None, failure(Reason::Timeout, Phase::FirstByte, "no answer")),
            attempt(250, Some(503), failure(Reason::Status, Phase::Expect, "503")),
        ],
        phases: Phases::default(),
        address: None,
        ..well()
    }
}

fn line(result: &CheckResult, service_name: &str) -> String {
    let mut out = Vec::new();
    HealthLine { result, service_name }.write(&mut out);
    String::from_utf8(out).expect("UTF-8")
}

#[test]
fn a_line_of_health_log_says_what_a_check_found() {
    insta::assert_snapshot!(line(&well(), "Users API"), @r#"{"time": "2023-11-14T22:13:20.123Z", "service": "Users API", "service_id": 1, "region": "local", "ok": true, "status_code": 200, "reason": null, "phase": null, "message": null, "latency_ms": 12.345, "attempts": 1, "phases_ms": {"dns": 0.100, "connect": 2.000, "first_byte": 10.045, "transfer": 0.005}, "address": "127.0.0.1", "node": "local-host", "boot": 1, "seq": 7}"#);
    insta::assert_snapshot!(line(&failed(), "a \"b\"\\\n\u{1}é"), @r#"{"time": "2023-11-14T22:13:20.123Z", "service": "a \"b\"\\\n\u0001é", "service_id": 1, "region": "local", "ok": false, "status_code": 503, "reason": "status", "phase": "expect", "message": "expected 200-299, got 503 \"Service Unavailable\"", "latency_ms": 12.345, "attempts": 2, "phases_ms": {}, "address": null, "node": "local-host", "boot": 1, "seq": 7, "each_attempt": [{"offset_ms": 0.000, "latency_ms": 12.345, "status_code": null, "reason": "timeout"}, {"offset_ms": 250.000, "latency_ms": 12.345, "status_code": 503, "reason": "status"}]}"#);
}

#[test]
fn health_log_can_be_switched_off() {
    let folder = tempfile::tempdir().expect("a folder");
    let (_, telemetry) = build(&LogSettings { health: false, ..settings(folder.path()) }, Console::Off, Clock::real()).expect("starts");
    telemetry.health.write(&HealthLine { result: &well(), service_name: "a" });
    drop(telemetry);
    assert_eq!(names(&folder.path().join("logs")), ["monitor.log"]);
}

proptest! {
    #[test]
    fn every_line_is_json_whatever_the_strings(name in ".*", message in "\\PC*|[\\x00-\\x1f\"\\\\]*", node in ".{0,20}", micros in any::<u64>(), failing in any::<bool>()) {
        let mut result = if failing { failed() } else { well() };
        result.latency = Duration::from_micros(micros);
        result.id.node = NodeName::from(node.as_str());
        if let Some(failure) = &mut result.failure {
            failure.message = message.clone();
        }
        let line = line(&result, &name);
        prop_assert_eq!(line.find('\n'), Some(line.len() - 1));
        let value: serde_json::Value = serde_json::from_str(&line).expect("JSON");
        prop_assert_eq!(value["service"].as_str(), Some(name.as_str()));
        prop_assert_eq!(value["node"].as_str(), Some(node.as_str()));
        prop_assert_eq!(value["ok"].as_bool(), Some(!failing));
        prop_assert_eq!(line.contains("\"ok\": false"), failing, "no string can pass for a failure");
        prop_assert_eq!(value["message"].as_str(), failing.then_some(message.as_str()));
    }
}
