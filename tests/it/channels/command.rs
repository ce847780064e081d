//! Programs as channels: what they are given, what is made of their end, and that they are run only where that is allowed.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use probemesh::alert::channel::Channel;
use probemesh::alert::channel::sender::Sender;
use probemesh::model::alert::{Message, Telling};
use serde_json::{Value, json};

use super::{CAUSE, KEY, channel, message, sender, sender_with};

fn allowing() -> Sender {
    sender_with(|settings| settings.allow_commands = true)
}

fn script(folder: &Path, text: &str) -> Channel {
    let path = folder.join("tell.sh");
    std::fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    // By the shell's own path: a file that was just written may still be open for writing in a child of another test.
    channel("command", json!({"argv": ["/bin/sh", path, "--to", "$(id) ; ops"], "timeout_s": 5}))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_gets_the_message_and_nothing_of_the_hubs_environment() {
    let folder = tempfile::tempdir().unwrap();
    let (input, environment) = (folder.path().join("input"), folder.path().join("environment"));
    let text = format!("cat > {}\nenv > {}\necho \"told $2\"", input.display(), environment.display());
    let message = Message { headline: "quote ' and $(id)".to_owned(), ..message(Telling::Raised) };
    let receipt = allowing().deliver(&script(folder.path(), &text), &message).await.expect("it is told");
    assert_eq!(receipt.answer, "exit 0: told $(id) ; ops");
    let given: Value = serde_json::from_str(&std::fs::read_to_string(input).unwrap()).unwrap();
    assert_eq!((&given["key"], &given["title"]), (&json!(KEY), &json!("shop: quote ' and $(id)")));
    assert!(given["plain"].as_str().is_some_and(|plain| plain.contains("Seen from:")), "{given}");
    let environment = std::fs::read_to_string(environment).unwrap();
    let names: Vec<&str> = environment.lines().filter_map(|line| line.split_once('=')).map(|(name, _)| name).collect();
    for name in ["PROBEMESH_KEY", "PROBEMESH_CAUSE", "PROBEMESH_TELLING", "PROBEMESH_SEVERITY", "PROBEMESH_TITLE"] {
        assert!(names.contains(&name), "{names:?}");
    }
    assert!(environment.contains(&format!("PROBEMESH_CAUSE={CAUSE}\n")));
    assert!(!names.iter().any(|name| name.starts_with("CARGO") || *name == "HOME"), "{names:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn how_it_ends_is_what_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let told = async |text: &str| allowing().deliver(&script(folder.path(), text), &message(Telling::Raised)).await.expect_err("it fails");
    let failure = told("echo out; echo no modem >&2; exit 3").await;
    assert_eq!((failure.permanent, failure.reason.as_str()), (false, "exit status: 3: out no modem"));
    // More than any pipe holds, and no one reads standard input.
    let failure = told("head -c 1000000 /dev/zero | tr '\\0' x; exit 1").await;
    assert!(failure.reason.starts_with("exit status: 1: xxx") && failure.reason.len() < 500, "{}", failure.reason);
    let missing = channel("command", json!({"argv": ["/nowhere/tell"]}));
    let failure = allowing().deliver(&missing, &message(Telling::Raised)).await.expect_err("it is not there");
    assert!(failure.permanent && failure.reason.starts_with("/nowhere/tell cannot be run: "), "{failure:?}");
    assert_eq!(allowing().doubts(&missing).await[0].path, "argv[0]");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_does_not_end_is_ended_with_all_it_started() {
    let folder = tempfile::tempdir().unwrap();
    let child = folder.path().join("child");
    let text = format!("sleep 1000 & echo $! > {}; echo waiting; wait", child.display());
    let path = folder.path().join("tell.sh");
    std::fs::write(&path, text).unwrap();
    let channel = channel("command", json!({"argv": ["/bin/sh", path], "timeout_s": 1}));
    let began = Instant::now();
    let failure = allowing().deliver(&channel, &message(Telling::Raised)).await.expect_err("it does not end");
    assert_eq!(failure.reason, "did not end within 1 s and was ended: waiting");
    assert!(began.elapsed() < Duration::from_secs(30));
    let id: u32 = std::fs::read_to_string(child).unwrap().trim().parse().unwrap();
    let state = || std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
    // Killed, and gone or waiting to be collected by whoever adopts it.
    while !(state().is_empty() || state().contains(") Z ")) {
        assert!(began.elapsed() < Duration::from_secs(90), "{}", state());
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_run_where_it_is_not_allowed() {
    let folder = tempfile::tempdir().unwrap();
    let mark = folder.path().join("mark");
    let failure = sender().deliver(&script(folder.path(), &format!("touch {}", mark.display())), &message(Telling::Raised)).await;
    let failure = failure.expect_err("it is not allowed");
    assert!(failure.permanent && failure.reason.contains("alerts.allow_commands"), "{failure:?}");
    assert!(!mark.exists());
}
