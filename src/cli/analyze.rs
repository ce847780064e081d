//! `probemesh analyze`: what the last hours brought, now: the findings and a digest, which is kept like any other.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;
use reqwest::Method;
use serde_json::{Value, json};

use crate::aggregate::board::Board;
use crate::api::digests::DigestDetail;
use crate::cli::access::{Access, Remote, load_config, runtime};
use crate::clock::Clock;
use crate::config::Config;
use crate::digest::gather::Sources;
use crate::digest::writing::Desk;
use crate::hub::records::Records;
use crate::hub::restore;
use crate::model::service::Service;
use crate::model::time::Timestamp;

/// A model with all its tries may take minutes.
const PATIENCE: Duration = Duration::from_secs(900);

#[derive(Debug, Args)]
pub struct AnalyzeArgs {
    /// So many hours until now
    #[arg(long, default_value_t = 24, value_parser = clap::value_parser!(u32).range(1..=2160))]
    hours: u32,
    /// One service alone, by its name
    #[arg(long, value_name = "NAME")]
    service: Option<String>,
    #[arg(long)]
    json: bool,
}

pub fn run(args: &AnalyzeArgs) -> anyhow::Result<ExitCode> {
    let config = load_config()?;
    runtime()?.block_on(async {
        let digest = match Access::open(&config).await? {
            Access::Running(remote) => {
                let mut body = json!({"period_hours": args.hours});
                if let Some(name) = &args.service {
                    body["service"] = json!(name);
                }
                let began = Clock::real().now();
                let answer = remote.ask(Method::POST, "api/monitor/digests/run/", Some(&body)).await?;
                if answer["state"] == "running" { awaited(&remote, &answer["latest"], began).await? } else { answer }
            }
            Access::Direct(records) => {
                let written = direct(&config, &records, args).await;
                records.store.shutdown().await?;
                written?
            }
        };
        if args.json {
            println!("{digest:#}");
        } else {
            print!("{}", shown(&digest));
        }
        Ok(ExitCode::SUCCESS)
    })
}

/// The digest that was being written when the hub would not keep us waiting any longer.
async fn awaited(remote: &Remote, latest: &Value, began: Timestamp) -> anyhow::Result<Value> {
    let clock = Clock::real();
    while clock.now().since(began) < PATIENCE {
        clock.sleep(Duration::from_secs(1)).await;
        let newest = remote.ask(Method::GET, latest.as_str().unwrap_or_default(), None).await;
        // There may be none before this one.
        if let Ok(newest) = newest
            && newest["written_at"].as_str().and_then(Timestamp::parse).is_some_and(|written| written >= began)
        {
            return Ok(newest);
        }
    }
    bail!("the digest is not written after {} min; see the hub's log", PATIENCE.as_secs() / 60)
}

/// On the store itself, with a board made of what it holds.
async fn direct(config: &Config, records: &Records, args: &AnalyzeArgs) -> anyhow::Result<Value> {
    let clock = Clock::real();
    let service = match &args.service {
        None => None,
        Some(name) => match records.services.find_by_name(name) {
            Some(stored) => Some(stored.id),
            None => bail!("there is no service {name:?}"),
        },
    };
    let board = Arc::new(Board::default());
    let stored = records.services.list();
    let services: Vec<Service> = stored.iter().filter_map(|stored| stored.document.check(stored.id, &config.hub.schedule).ok()).collect();
    board.replace_services(&services, clock.now());
    restore::board(records, &board, &clock).await?;
    let desk = Desk::new(Sources::of(records, board, config, &clock), records.digests.clone(), config.digest.clone())?;
    let (digest, _) = desk.write(args.hours, clock.now(), service).await?;
    serde_json::to_value(DigestDetail::from(&*digest)).context("digest cannot be written as JSON")
}

/// The text, with the findings before it and the writer behind it.
fn shown(digest: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let list = |value: &Value| -> Vec<Value> { value.as_array().cloned().unwrap_or_default() };
    let mut out = String::new();
    let findings = list(&digest["facts"]["anomalies"]);
    if !findings.is_empty() {
        out.push_str(&format!(
            "{} found:\n",
            if findings.len() == 1 { "one anomaly".to_owned() } else { format!("{} anomalies", digest["anomaly_count"]) }
        ));
        for finding in &findings {
            let place = finding["region"].as_str().map(|region| format!(" in {region}")).unwrap_or_default();
            let usual = finding["usual"].as_str().map(|usual| format!(", usually {usual}")).unwrap_or_default();
            let (service, signal, shape) = (text(&finding["service"]), text(&finding["signal"]), text(&finding["shape"]));
            out.push_str(&format!(
                "  {service}{place}: {signal} {shape} at {}: {}{usual}\n",
                text(&finding["since"]),
                text(&finding["observed"])
            ));
        }
        out.push('\n');
    }
    out.push_str(&format!("{}\n", text(&digest["headline"])));
    for paragraph in list(&digest["paragraphs"]) {
        out.push_str(&format!("\n{}\n", text(&paragraph)));
    }
    let suggestions = list(&digest["suggestions"]);
    if !suggestions.is_empty() {
        out.push_str("\nWhat to look at next:\n");
        suggestions.iter().for_each(|suggestion| out.push_str(&format!("- {}\n", text(suggestion))));
    }
    out.push_str(&format!("\nwritten by {}: {}\n", text(&digest["writer"]), text(&digest["writer_reason"])));
    out
}
