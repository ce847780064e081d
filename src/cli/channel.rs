//! `probemesh channel`: the ways people are told, and a test of one, by the hub that runs.

use std::process::ExitCode;

use anyhow::bail;
use clap::Subcommand;
use reqwest::Method;
use serde_json::Value;

use crate::cli::access::{Remote, load_config, runtime};

#[derive(Debug, Subcommand)]
pub enum ChannelCommand {
    /// All channels, without their secrets
    List {
        #[arg(long)]
        json: bool,
    },
    /// Sends a real message through a channel; exit code 0 delivered, 1 not
    Test {
        name: String,
        #[arg(long)]
        json: bool,
    },
}

pub fn run(command: &ChannelCommand) -> anyhow::Result<ExitCode> {
    let config = load_config()?;
    runtime()?.block_on(async {
        let Some(remote) = Remote::find(&config).await? else { bail!("no hub runs here") };
        let channels = remote.ask(Method::GET, "api/v1/alerts/channels?page_size=500", None).await?;
        match command {
            ChannelCommand::List { json: true } => println!("{:#}", channels["results"]),
            ChannelCommand::List { json: false } => print!("{}", listed(&channels["results"])),
            ChannelCommand::Test { name, json } => {
                let list = channels["results"].as_array();
                let Some(channel) = list.into_iter().flatten().find(|channel| channel["name"] == name.as_str()) else {
                    bail!("there is no channel {name:?}");
                };
                let done = remote.ask(Method::POST, &format!("api/v1/alerts/channels/{}/test", channel["id"]), None).await?;
                match json {
                    true => println!("{done:#}"),
                    false => println!("{}", told(&done)),
                }
                return Ok(if done["delivered"] == true { ExitCode::SUCCESS } else { ExitCode::from(1) });
            }
        }
        Ok(ExitCode::SUCCESS)
    })
}

fn listed(channels: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let line = |channel: &Value| {
        let off = if channel["enabled"] == false { "  off" } else { "" };
        format!("{:>4}  {:<24} {}{off}\n", channel["id"].as_u64().unwrap_or(0), text(&channel["name"]), text(&channel["kind"]))
    };
    channels.as_array().into_iter().flatten().map(line).collect()
}

fn told(done: &Value) -> String {
    let what = if done["delivered"] == true { "delivered" } else { "NOT delivered" };
    format!("{what} in {:.0} ms: {}", done["took_ms"].as_f64().unwrap_or(0.0), done["answer"].as_str().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_list_tells_what_is_off_and_a_test_what_was_said() {
        let list = json!([{"id": 1, "name": "ops", "kind": "slack", "enabled": true}, {"id": 12, "name": "night", "kind": "email", "enabled": false}]);
        assert_eq!(listed(&list), "   1  ops                      slack\n  12  night                    email  off\n");
        assert_eq!(
            told(&json!({"delivered": false, "took_ms": 12.4, "answer": "answered 404: no_service"})),
            "NOT delivered in 12 ms: answered 404: no_service"
        );
    }
}
