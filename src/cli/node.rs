//! `probemesh node`: the nodes that have joined this hub.

use std::process::ExitCode;

use clap::Subcommand;
use reqwest::Method;
use serde_json::Value;

use crate::api::joining::JoinedView;
use crate::cli::access::{Access, load_config, runtime};
use crate::store::services::Author;

#[derive(Debug, Subcommand)]
pub enum NodeCommand {
    /// All nodes that have joined
    List {
        #[arg(long)]
        json: bool,
    },
    /// Ends a node: its link is cut and its certificate is good for nothing
    Revoke { name: String },
}

pub fn run(command: NodeCommand) -> anyhow::Result<ExitCode> {
    let config = load_config()?;
    runtime()?.block_on(async {
        let access = Access::open(&config).await?;
        match command {
            NodeCommand::List { json } => {
                let nodes = match &access {
                    Access::Running(remote) => remote.ask(Method::GET, "api/v1/local/nodes", None).await?,
                    Access::Direct(records) => {
                        let views: Vec<JoinedView> = records.nodes.list().iter().map(JoinedView::from).collect();
                        serde_json::to_value(views)?
                    }
                };
                list(&nodes, json);
            }
            NodeCommand::Revoke { name } => {
                match &access {
                    Access::Running(remote) => drop(remote.ask(Method::POST, &format!("api/v1/nodes/{name}/revoke"), None).await?),
                    Access::Direct(records) => {
                        let author = Author { who: "local".to_owned(), address: None };
                        records.nodes.revoke(&name, &author).await?;
                    }
                }
                println!("node {name} revoked; a new token lets it join again");
            }
        }
        if let Access::Direct(records) = access {
            records.store.shutdown().await?;
        }
        Ok(ExitCode::SUCCESS)
    })
}

fn list(nodes: &Value, as_json: bool) {
    if as_json {
        println!("{nodes:#}");
        return;
    }
    for node in nodes.as_array().into_iter().flatten() {
        let text = |field: &str| node[field].as_str().unwrap_or("").to_owned();
        let state = match node["revoked_at"].as_str() {
            Some(at) => format!("revoked at {at}"),
            None => format!("certificate ends {}", text("certificate_ends")),
        };
        let seen = node["last_seen"].as_str().map_or_else(String::new, |at| format!("  last seen {at}"));
        println!("{:<24} {:<16} joined {} by {}  {state}{seen}", text("name"), text("region"), text("joined_at"), text("joined_by"));
    }
}
