//! `probemesh drill`: a failure that is made up, told for real, with the time each stage took.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::bail;
use clap::Args;
use reqwest::Method;
use serde_json::{Value, json};

use crate::cli::access::{Remote, load_config, runtime};
use crate::clock::Clock;

/// A hub that is asked too soon does not know the drill yet.
const KNOWN_WITHIN: Duration = Duration::from_secs(5);
const ASK_EVERY: Duration = Duration::from_millis(100);

#[derive(Debug, Args)]
pub struct DrillArgs {
    /// The service that seems to fail, by its name
    #[arg(long, value_name = "NAME")]
    service: String,
    /// Where it seems to fail; everywhere, if left out
    #[arg(long, value_name = "NAME")]
    region: Option<String>,
    /// How long the channels are waited for, seconds
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=600))]
    wait: u64,
    #[arg(long)]
    json: bool,
}

/// Exit code 0: all was delivered; 1: something was not, or nobody would have been told.
pub fn run(args: &DrillArgs) -> anyhow::Result<ExitCode> {
    let config = load_config()?;
    let drill = runtime()?.block_on(async {
        let Some(remote) = Remote::find(&config).await? else { bail!("no hub runs here") };
        perform(&remote, args).await
    })?;
    let all = drill["deliveries"].as_array().is_some_and(|deliveries| {
        !deliveries.is_empty() && deliveries.iter().all(|delivery| matches!(delivery["state"].as_str(), Some("delivered" | "folded")))
    });
    match args.json {
        true => println!("{drill:#}"),
        false => print!("{}", shown(&drill)),
    }
    Ok(if all { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

async fn perform(remote: &Remote, args: &DrillArgs) -> anyhow::Result<Value> {
    let mut body = json!({"service": args.service});
    if let Some(region) = &args.region {
        body["region"] = json!(region);
    }
    let started = remote.ask(Method::POST, "api/v1/alerts/drill", Some(&body)).await?;
    let path = format!("api/v1/alerts/drill/{}", started["id"].as_str().unwrap_or_default());
    let told = settled(remote, &path, "raised", !list(&started["rules"]).is_empty(), args.wait).await?;
    remote.ask(Method::POST, &format!("{path}/recover"), None).await?;
    settled(remote, &path, "recovered", !list(&told["deliveries"]).is_empty(), args.wait).await
}

/// Waits until what is told of `telling` is delivered or given up, or `wait` seconds are over.
async fn settled(remote: &Remote, path: &str, telling: &str, expected: bool, wait: u64) -> anyhow::Result<Value> {
    let clock = Clock::real();
    let began = clock.now();
    loop {
        let waited = clock.now().since(began);
        let drill = match remote.ask(Method::GET, path, None).await {
            Ok(drill) => drill,
            Err(err) if waited >= KNOWN_WITHIN => return Err(err),
            Err(_) => {
                clock.sleep(ASK_EVERY).await;
                continue;
            }
        };
        let mine: Vec<&Value> = list(&drill["deliveries"]).iter().filter(|delivery| delivery["telling"] == telling).collect();
        let open = |delivery: &&&Value| matches!(delivery["state"].as_str(), Some("pending" | "sending" | "waiting"));
        let done = mine.iter().filter(open).count() == 0 && (!mine.is_empty() || !expected || waited >= KNOWN_WITHIN);
        if done || waited >= Duration::from_secs(wait) {
            return Ok(drill);
        }
        clock.sleep(ASK_EVERY).await;
    }
}

/// The stages as a table.
fn shown(drill: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or("").to_owned();
    let mut out = format!("DRILL {} ({}): {}\n", text(&drill["service_name"]), text(&drill["severity"]), text(&drill["headline"]));
    out.push_str(&format!("  goes through {}\n  leaves out   {}\n", text(&drill["exercises"]), text(&drill["leaves_out"])));
    let rules: Vec<String> = list(&drill["rules"]).iter().map(text).collect();
    match rules.is_empty() {
        true => out.push_str("  no rule tells of it: nobody would have been told\n"),
        false => out.push_str(&format!("  told by      {}\n", rules.join(", "))),
    }
    let deliveries = list(&drill["deliveries"]);
    if deliveries.is_empty() {
        return out;
    }
    let longest = deliveries.iter().map(|delivery| text(&delivery["channel"]).chars().count()).max().unwrap_or(0).max(7);
    out.push_str(&format!(
        "\n  {:<longest$}  {:<12}  {:>10}  {:>13}  {:>10}\n",
        "channel", "telling", "planned", "first attempt", "delivered"
    ));
    for delivery in deliveries {
        let ms = |value: &Value| value.as_f64().map_or_else(|| "-".to_owned(), |ms| format!("{ms:.0} ms"));
        let (channel, telling) = (text(&delivery["channel"]), text(&delivery["telling"]));
        let delivered = match delivery["delivered_ms"].as_f64() {
            Some(_) => ms(&delivery["delivered_ms"]),
            None => text(&delivery["state"]),
        };
        let (planned, first) = (ms(&delivery["planned_ms"]), ms(&delivery["first_attempt_ms"]));
        out.push_str(&format!("  {channel:<longest$}  {telling:<12}  {planned:>10}  {first:>13}  {delivered:>10}\n"));
        if let Some(error) = delivery["error"].as_str() {
            out.push_str(&format!("  {:<longest$}  {error}\n", ""));
        }
    }
    out
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stages_are_a_table_and_what_failed_says_why() {
        let stages = |channel: &str, telling: &str, state: &str, delivered: Option<f64>, error: Option<&str>| {
            json!({"channel": channel, "telling": telling, "state": state, "planned_ms": 3.2, "first_attempt_ms": 5.9,
                "delivered_ms": delivered, "error": error})
        };
        let drill = json!({"service_name": "shop", "severity": "critical", "headline": "connect refused in 3 of 3 regions",
            "exercises": "this", "leaves_out": "that", "rules": ["on call"], "deliveries": [
                stages("chat", "raised", "delivered", Some(48.7), None),
                stages("mail server", "raised", "waiting", None, Some("connection refused")),
                stages("chat", "recovered", "delivered", Some(40.1), None)]});
        insta::assert_snapshot!(shown(&drill), @r"
        DRILL shop (critical): connect refused in 3 of 3 regions
          goes through this
          leaves out   that
          told by      on call

          channel      telling          planned  first attempt   delivered
          chat         raised              3 ms           6 ms       49 ms
          mail server  raised              3 ms           6 ms     waiting
                       connection refused
          chat         recovered           3 ms           6 ms       40 ms
        ");
    }
}
