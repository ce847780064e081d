//! `probemesh region-token`: makes a token with which one machine joins a region; lists and revokes them.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;
use reqwest::Method;
use serde_json::{Value, json};

use crate::api::joining::{TokenRecordView, TokenView};
use crate::cli::access::{Access, load_config, runtime};
use crate::clock::Clock;
use crate::config::Config;
use crate::config::mesh::host_and_port;
use crate::hub::authority;
use crate::hub::records::Records;
use crate::mesh::identity::Identity;
use crate::mesh::token_issuer::{LONGEST_LIFETIME, TokenOrder};
use crate::model::id::NodeName;
use crate::store::services::Author;

#[derive(Debug, Args)]
pub struct RegionTokenArgs {
    /// The region the machine is to join
    #[arg(required_unless_present_any = ["list", "revoke"])]
    region: Option<String>,
    /// The name the node is to have; by default the machine makes one of the region's and its own
    #[arg(long)]
    node: Option<String>,
    /// How long the token is good: 90m, 24h, 7d
    #[arg(long, default_value = "24h", value_parser = span)]
    expires: Duration,
    /// Where the machine reaches this hub, host:port; by default mesh.address
    #[arg(long)]
    address: Option<String>,
    /// Shows the tokens there are, without their secrets
    #[arg(long, conflicts_with_all = ["region", "revoke"])]
    list: bool,
    /// Ends a token by its id
    #[arg(long, value_name = "ID", conflicts_with = "region")]
    revoke: Option<String>,
    #[arg(long)]
    json: bool,
}

pub fn run(args: RegionTokenArgs) -> anyhow::Result<ExitCode> {
    let config = load_config()?;
    let order = args.region.as_deref().map(|region| order(region, &args)).transpose()?;
    runtime()?.block_on(async {
        let access = Access::open(&config).await?;
        // A hub that runs knows best itself whether it takes nodes.
        if order.is_some() && config.mesh.listen.is_none() && matches!(access, Access::Direct(_)) {
            bail!("this hub takes no nodes: set mesh.listen in Rocket.toml, such as listen = \"0.0.0.0:4697\" below [mesh]");
        }
        if let Some(order) = order {
            let token = make(&config, &access, &order).await?;
            show(&token, args.json);
        } else if let Some(id) = &args.revoke {
            match &access {
                Access::Running(remote) => drop(remote.ask(Method::DELETE, &format!("api/v1/regions/tokens/{id}"), None).await?),
                Access::Direct(records) => records.nodes.revoke_token(id, &local()).await?,
            }
            println!("join token {id} revoked");
        } else {
            let tokens = match &access {
                Access::Running(remote) => remote.ask(Method::GET, "api/v1/regions/tokens?page_size=500", None).await?["results"].clone(),
                Access::Direct(records) => {
                    let now = Clock::real().now();
                    let views: Vec<TokenRecordView> = records.nodes.tokens().iter().map(|token| TokenRecordView::new(token, now)).collect();
                    serde_json::to_value(views)?
                }
            };
            list(&tokens, args.json);
        }
        if let Access::Direct(records) = access {
            records.store.shutdown().await?;
        }
        Ok(ExitCode::SUCCESS)
    })
}

fn order(region: &str, args: &RegionTokenArgs) -> anyhow::Result<TokenOrder> {
    // The name stands for any where none is fixed.
    let identity = Identity::new(region, args.node.as_deref().unwrap_or("node"))?;
    let address = args.address.as_deref().map(|text| host_and_port(text).with_context(|| format!("{text:?} is not a host with its port")));
    let node = args.node.as_deref().map(NodeName::from);
    Ok(TokenOrder { region: identity.region, node, lifetime: args.expires, address: address.transpose()? })
}

async fn make(config: &Config, access: &Access, order: &TokenOrder) -> anyhow::Result<Value> {
    match access {
        Access::Running(remote) => {
            let mut body = json!({"expires_s": order.lifetime.as_secs()});
            if let Some(node) = &order.node {
                body["node"] = Value::from(node.to_string());
            }
            if let Some(address) = &order.address {
                body["address"] = Value::from(address.clone());
            }
            remote.ask(Method::POST, &format!("api/v1/regions/{}/tokens", order.region), Some(&body)).await
        }
        Access::Direct(records) => direct(config, records, order).await,
    }
}

async fn direct(config: &Config, records: &Records, order: &TokenOrder) -> anyhow::Result<Value> {
    let authority = authority(config, &Clock::real())?;
    let issuer = records.token_issuer(config, authority.as_ref()).context("this hub takes no nodes: set mesh.listen")?;
    let token = issuer.issue(order, &local()).await?;
    Ok(serde_json::to_value(TokenView::from(&token))?)
}

fn local() -> Author {
    Author { who: "local".to_owned(), address: None }
}

/// The token stands alone on standard output's first line, so that a script can take it.
fn show(token: &Value, as_json: bool) {
    if as_json {
        println!("{token:#}");
        return;
    }
    let text = |field: &str| token[field].as_str().unwrap_or("").to_owned();
    println!("{}", text("token"));
    println!();
    println!("good for one node of region {} until {}, at {}; shown this once", text("region"), text("expires_at"), text("address"));
    println!("on the other machine:");
    for command in token["commands"].as_array().into_iter().flatten() {
        println!("    {}", command.as_str().unwrap_or(""));
    }
}

fn list(tokens: &Value, as_json: bool) {
    if as_json {
        println!("{tokens:#}");
        return;
    }
    for token in tokens.as_array().into_iter().flatten() {
        let text = |field: &str| token[field].as_str().unwrap_or("").to_owned();
        let whom = match token["state"].as_str() {
            Some("used") => format!("by {} at {}", text("used_by"), text("used_at")),
            _ => format!("until {}", text("expires_at")),
        };
        println!("{}  {:<7} {:<20} {:<20} {whom}", text("id"), text("state"), text("region"), text("node"));
    }
}

/// A number and `s`, `m`, `h` or `d`.
fn span(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is not a span such as 90m, 24h or 7d");
    let (number, unit) = text.split_at_checked(text.len().saturating_sub(1)).ok_or_else(wrong)?;
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        _ => return Err(wrong()),
    };
    let span = Duration::from_secs(number.parse::<u32>().map(u64::from).map_err(|_| wrong())? * seconds);
    match (Duration::from_secs(60)..=LONGEST_LIFETIME).contains(&span) {
        true => Ok(span),
        false => Err("must be from 1m to 30d".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_read_with_their_unit() {
        for (text, seconds) in [("90m", 5400), ("24h", 86_400), ("7d", 604_800), ("60s", 60)] {
            assert_eq!(span(text), Ok(Duration::from_secs(seconds)));
        }
        for wrong in ["", "h", "24", "-1h", "1.5h", "59s", "31d", "4294967295d", "1ä"] {
            assert!(span(wrong).is_err(), "{wrong}");
        }
    }
}
