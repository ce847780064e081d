//! `probemesh demo` as a person runs it: it finds what it has made, and leaves nothing behind, however it ends.

use std::io::Read;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::binary::program;
use crate::world::{signal, turn};

/// Processes that work below a folder, or did when it was still there.
fn at_work_below(folder: &Path) -> Vec<String> {
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let places = processes.filter_map(|process| std::fs::read_link(process.path().join("cwd")).ok());
    places.map(|place| place.display().to_string()).filter(|place| place.starts_with(&*folder.to_string_lossy())).collect()
}

fn left_in(folder: &Path) -> Vec<String> {
    std::fs::read_dir(folder).unwrap().flatten().map(|entry| entry.path().display().to_string()).collect()
}

#[tokio::test]
async fn the_demo_names_what_it_has_made_and_leaves_nothing_behind() {
    let _turn = turn().await;
    let folder = tempfile::tempdir().unwrap();
    let mut command = program();
    command.args(["demo", "--minutes", "3", "--json"]).env("TMPDIR", folder.path()).stdin(Stdio::null());
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let (said, wrong) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{}\n{said}\n{wrong}", output.status);
    assert_eq!(wrong, "", "it is quiet in a pipe");
    let report: Value = serde_json::from_str(&said).unwrap();
    println!("precision {} recall {} median delay {} s", report["precision"], report["recall"], report["median_delay_s"]);
    for trouble in report["troubles"].as_array().unwrap() {
        println!("{} {}: {} after {}", trouble["service"], trouble["what"], trouble["named"], trouble["delay_s"]);
    }
    for judged in report["judged"].as_array().unwrap().iter().filter(|judged| !judged["why_false"].is_null()) {
        println!("false: {} {}: {}", judged["service"], judged["summary"], judged["why_false"]);
    }
    // Every service was checked in every region about three times a second.
    assert!(report["checks"].as_u64().unwrap() > 11 * 3 * 2 * 180, "{}", report["checks"]);
    assert!(report["recall"].as_f64().unwrap() >= 0.7, "{said}");
    // A computer that is busy makes all services slow in truth; what is found of that is no fault.
    println!("late by {} ms, busy: {}", report["late_p99_ms"], report["busy"]);
    assert!(report["busy"] == true || report["precision"].as_f64().unwrap() >= 0.7, "{said}");
    assert_eq!((left_in(folder.path()), at_work_below(folder.path())), (vec![], vec![]));
}

#[tokio::test]
async fn a_demo_that_is_interrupted_ends_all_it_has_started() {
    let _turn = turn().await;
    let folder = tempfile::tempdir().unwrap();
    let mut demo = program();
    demo.arg("demo").env("TMPDIR", folder.path()).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut demo = demo.spawn().unwrap();
    let began = Instant::now();
    while at_work_below(folder.path()).len() < 3 {
        assert!(began.elapsed() < Duration::from_secs(60), "its processes do not start");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    signal(demo.id() as i32, libc::SIGINT);
    let status = tokio::task::spawn_blocking(move || {
        let status = demo.wait().unwrap();
        let mut said = String::new();
        demo.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        (status.code(), said)
    });
    let (code, said) = status.await.unwrap();
    assert_eq!((code, said.as_str()), (Some(130), "probemesh: SIGINT, the demo ends\n"));
    assert_eq!((left_in(folder.path()), at_work_below(folder.path())), (vec![], vec![]));
}
