//! `probemesh issue`, and what a kill -9 leaves, with the real binary.

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::binary::{Binary, free_port, run};

fn said(folder: &Path, port: u16, arguments: &[&str]) -> String {
    let output = run(folder, port, arguments);
    let (out, wrong) = (String::from_utf8_lossy(&output.stdout).into_owned(), String::from_utf8_lossy(&output.stderr).into_owned());
    assert!(output.status.success(), "{arguments:?}: {out}{wrong}");
    out
}

#[tokio::test]
async fn the_tracker_is_worked_from_the_terminal() {
    let folder = tempfile::tempdir().unwrap();
    let port = free_port();
    let refused = run(folder.path(), port, &["issue", "list"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("no hub runs here"));
    let binary = Binary::start(folder.path(), port).await;
    let issue = |arguments: &[&str]| said(folder.path(), port, &[&["issue"], arguments].concat());
    assert_eq!(issue(&["list"]), "no issues\n");
    let made = issue(&["new", "Disk full", "--type", "incident", "--priority", "high", "--description", "on **db-1**", "--label", "disk"]);
    assert_eq!(made, "issue 1 reported\n");
    assert_eq!(issue(&["move", "1", "triaged", "--reason", "it is real"]), "issue 1 is triaged; next: reported, assigned, wont_do\n");
    assert_eq!(issue(&["assign", "1", "admin", "--reason", "on call"]), "issue 1 is admin's\n");
    assert_eq!(issue(&["comment", "1", "looking at it"]), "comment 1 of issue 1\n");
    let listed = issue(&["list"]);
    assert!(listed.contains("triaged") && listed.contains("admin") && listed.contains("Disk full"), "{listed}");
    let shown = issue(&["show", "1"]);
    for expected in
        ["on **db-1**", "looking at it", "status reported → triaged (it is real)", "assignee - → admin (on call)", "labels    disk"]
    {
        assert!(shown.contains(expected), "no {expected} in {shown}");
    }
    let figures: Value = serde_json::from_str(&issue(&["stats", "--json"])).unwrap();
    assert_eq!((&figures["open"], &figures["by_type"]["incident"]["open"]), (&json!(1), &json!(1)));
    assert!(issue(&["stats"]).contains("open by user    admin 1"), "{}", issue(&["stats"]));

    let refused = run(folder.path(), port, &["issue", "move", "1", "closed", "--reason", "too soon"]);
    let wrong = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && wrong.contains("allowed: reported, assigned, wont_do"), "{wrong}");
    let file = folder.path().join("issues.json");
    assert!(issue(&["export", "--file", file.to_str().unwrap()]).starts_with("1 issues written"));
    assert_eq!(issue(&["import", file.to_str().unwrap()]), "0 issues taken in, 1 were here already\n");
    std::fs::write(&file, "{\n  \"format\": ,\n}").unwrap();
    let refused = run(folder.path(), port, &["issue", "import", file.to_str().unwrap()]);
    let wrong = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && wrong.contains("line 2"), "{wrong}");
    binary.end();
}

/// The target refuses; the hub is killed again and again, at other moments each time, while it opens the issue and tells of the
/// end. There is one issue, and each word stands in it once.
#[tokio::test]
async fn one_cause_has_one_issue_however_often_the_hub_is_killed() {
    let folder = tempfile::tempdir().unwrap();
    let port = free_port();
    let service =
        json!([{"name": "gone", "base_url": format!("http://127.0.0.1:{}", free_port()), "interval_s": 1, "retries": 0, "timeout_s": 1}]);
    std::fs::write(folder.path().join("services.json"), service.to_string()).unwrap();
    let settings = [("PROBEMESH_TRACKER__OPEN_AFTER_S", "0")];
    for round in 0..4u64 {
        let mut binary = Binary::launch(folder.path(), port, &settings);
        binary.listening().await;
        let began = Instant::now();
        while binary.get("api/v1/incidents/").await["count"] == 0 {
            assert!(began.elapsed() < Duration::from_secs(60), "no incident:\n{}", binary.console());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        // The issue is opened as soon as the incident is told: the kill comes about then.
        tokio::time::sleep(Duration::from_millis(round * 15)).await;
        binary.kill();
    }
    let mut binary = Binary::launch(folder.path(), port, &settings);
    binary.listening().await;
    let began = Instant::now();
    let issues = loop {
        let issues = binary.get("api/v1/maintenance/issues").await;
        if issues["count"] != 0 {
            break issues;
        }
        assert!(began.elapsed() < Duration::from_secs(60), "no issue:\n{}", binary.console());
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    let incidents = binary.get("api/v1/incidents/").await;
    assert_eq!((&incidents["count"], &issues["count"]), (&json!(1), &json!(1)), "{incidents:#} {issues:#}");
    assert_eq!(issues["results"][0]["incident"], incidents["results"][0]["id"]);
    let incident = incidents["results"][0]["id"].as_str().unwrap().to_owned();
    // A number that was given out and not written before a kill is not given again.
    let issue = format!("api/v1/maintenance/issues/{}", issues["results"][0]["id"]);
    for _ in 0..2 {
        binary.ask("POST", &format!("api/v1/incidents/{incident}/acknowledge"), None).await;
        binary.kill();
        binary = Binary::launch(folder.path(), port, &settings);
        binary.listening().await;
    }
    let began = Instant::now();
    while binary.get(&issue).await["comments"] == 0 {
        assert!(began.elapsed() < Duration::from_secs(60), "nothing is told:\n{}", binary.console());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let comments = binary.get(&format!("{issue}/comments")).await;
    let told = comments["results"].as_array().unwrap().iter().filter(|one| one["body"].as_str().unwrap().contains("acknowledged by"));
    assert_eq!(told.count(), 1, "{comments:#}");
    binary.end();
}
