//! What README tells people to type, typed.

use std::process::{Command, Stdio};

use serde_json::json;

use crate::binary::{Binary, PASSWORD, free_port};

/// The code blocks of README that stand behind `<!-- tested: name -->`.
pub fn block(name: &str) -> String {
    let readme = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).unwrap();
    let marked = readme.split(&format!("<!-- tested: {name} -->")).nth(1).expect("README marks the block");
    marked.split("```sh\n").nth(1).and_then(|rest| rest.split("```").next()).expect("a block of shell follows the mark").to_owned()
}

#[tokio::test]
async fn every_curl_line_of_the_readme_works() {
    let folder = tempfile::tempdir().unwrap();
    let port = free_port();
    std::fs::write(
        folder.path().join("services.json"),
        json!([{"name": "probemesh", "base_url": "self", "health_path": "/healthz", "interval_s": 15}]).to_string(),
    )
    .unwrap();
    let binary = Binary::start(folder.path(), port).await;
    let script = block("api").replace("127.0.0.1:8000", &format!("127.0.0.1:{port}"));
    assert!(script.matches("curl ").count() + script.matches("\napi ").count() > 20, "the block lost its lines");
    let output =
        Command::new("bash").args(["-euo", "pipefail", "-c", &script]).env("PASSWORD", PASSWORD).stdin(Stdio::null()).output().unwrap();
    let (said, wrong) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}\n{wrong}\n{}", binary.console());
    for expected in ["\"refresh\"", "\"verdict\":\"up\"", "probemesh_checks", "\"openapi\":\"3.1", "\"attempts\"", "\"error_rate\""] {
        assert!(said.replace(": ", ":").contains(expected), "no {expected} in {said}");
    }
}

#[tokio::test]
async fn every_line_about_issues_works() {
    let folder = tempfile::tempdir().unwrap();
    let binary = Binary::start(folder.path(), free_port()).await;
    // Who is logged in, as at the beginning of the other block.
    let login: String = block("api").split_inclusive("\n\n").take(2).collect();
    assert!(login.contains("api() {"), "{login}");
    let script = format!("{login}{}", block("issues")).replace("127.0.0.1:8000", &format!("127.0.0.1:{}", binary.port));
    for endpoint in
        ["/issues\" -d", "/issues?", "/issues/$ISSUE\"", "/status\" -d", "/comments\" -d", "/statistics?", "/history", "/export", "/import"]
    {
        assert!(script.contains(endpoint), "the block lost {endpoint}");
    }
    let output = Command::new("bash")
        .args(["-euo", "pipefail", "-c", &script])
        .env("PASSWORD", PASSWORD)
        .current_dir(folder.path())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let (said, wrong) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}\n{wrong}\n{}", binary.console());
    for expected in
        ["\"status\":\"closed\"", "<code>pool_max</code>", "\"median_s\"", "\"why\":\"it is every night now\"", "\"unchanged\":1"]
    {
        assert!(said.contains(expected), "no {expected} in {said}");
    }
}
