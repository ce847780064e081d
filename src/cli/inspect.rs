//! `probemesh inspect`: the live actors of a running hub.

use std::fmt::Write as _;
use std::process::ExitCode;

use reqwest::Method;
use serde_json::Value;

use crate::cli::access::{Remote, load_config, runtime};

pub fn run(as_json: bool) -> anyhow::Result<ExitCode> {
    let config = load_config()?;
    let view = runtime()?.block_on(async {
        match Remote::find(&config).await? {
            Some(remote) => remote.ask(Method::GET, "api/v1/cluster", None).await.map(Some),
            None => Ok(None),
        }
    })?;
    let Some(view) = view else {
        eprintln!("probemesh: no hub runs here");
        return Ok(ExitCode::from(1));
    };
    if as_json {
        println!("{view:#}");
    } else {
        print!("{}", render(&view));
    }
    Ok(ExitCode::SUCCESS)
}

/// The tree as text.
pub fn render(view: &Value) -> String {
    let mut out = String::new();
    for node in view["nodes"].as_array().into_iter().flatten() {
        let region = node["region"].as_str().map_or_else(String::new, |region| format!("  region {region}"));
        let generation = node["generation"].as_u64().map_or_else(String::new, |generation| format!("  assignments {generation}"));
        let link = if node["connected"] == true { "" } else { "  NOT CONNECTED" };
        let _ = writeln!(out, "{}{region}{generation}{link}", node["name"].as_str().unwrap_or(""));
        let actors = list(&node["actors"]);
        for (index, actor) in actors.iter().enumerate() {
            draw(&mut out, actor, "", index + 1 == actors.len());
        }
    }
    out
}

fn draw(out: &mut String, actor: &Value, indent: &str, last: bool) {
    let (branch, below) = if last { ("└─ ", "   ") } else { ("├─ ", "│  ") };
    let mut line = format!("{indent}{branch}{}  {}", actor["name"].as_str().unwrap_or(""), actor["state"].as_str().unwrap_or(""));
    if actor["restarts"].as_u64().unwrap_or(0) > 0 {
        let _ = write!(line, "  restarts {}", actor["restarts"]);
    }
    if let Some(backoff) = actor["backoff_ms"].as_f64() {
        let _ = write!(line, "  starts in {:.1} s", backoff / 1e3);
    }
    for (name, figure) in actor["figures"].as_object().into_iter().flatten() {
        match figure {
            // Histograms are for programs.
            Value::Null | Value::Array(_) => {}
            Value::String(text) => {
                let _ = write!(line, "  {name} {text}");
            }
            other => {
                let _ = write!(line, "  {name} {other}");
            }
        }
    }
    let _ = writeln!(out, "{line}");
    if let Some(error) = actor["last_error"].as_str() {
        let _ = writeln!(out, "{indent}{below}   last error: {error}");
    }
    let children = list(&actor["children"]);
    for (index, child) in children.iter().enumerate() {
        draw(out, child, &format!("{indent}{below}"), index + 1 == children.len());
    }
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tree_shows_restarts_and_the_last_error() {
        let view = serde_json::json!({"nodes": [{"name": "local-1", "region": "local", "connected": true, "generation": 3, "actors": [
            {"name": "region", "state": "running", "restarts": 0, "backoff_ms": null, "last_error": null, "figures": {}, "children": [
                {"name": "prober 1 a", "state": "waiting", "restarts": 2, "backoff_ms": 1500.0, "last_error": "probe panicked", "figures": {"checks": 7}, "children": []},
                {"name": "outbox", "state": "running", "restarts": 0, "backoff_ms": null, "last_error": null, "figures": {"bytes": 0}, "children": []}]}]}]});
        insta::assert_snapshot!(render(&view), @r"
        local-1  region local  assignments 3
        └─ region  running
           ├─ prober 1 a  waiting  restarts 2  starts in 1.5 s  checks 7
           │     last error: probe panicked
           └─ outbox  running  bytes 0
        ");
    }
}
