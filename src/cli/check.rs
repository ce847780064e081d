//! `probemesh check`: one check now, from this machine, each phase shown. Nothing is stored.

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;
use futures_util::StreamExt;
use indicatif::{ProgressBar, ProgressStyle};
use reqwest::Method;
use serde_json::{Value, json};

use crate::cli::access::{Remote, load_config, runtime};
use crate::cli::check_view;
use crate::clock::Clock;
use crate::config::Config;
use crate::config::service::{ServiceDocument, TlsDocument};
use crate::config::services_file::read_services;
use crate::hub::own_url;
use crate::hub::records::Records;
use crate::model::check::CheckResult;
use crate::model::id::{Boot, CheckId, NodeName, RegionName, ServiceId};
use crate::model::service::Service;
use crate::probe::expect::Verdict;
use crate::probe::{CheckOrder, Probes};

/// Checks in flight at once with `--all`.
const AT_ONCE: usize = 64;

#[derive(Debug, Args)]
pub struct CheckArgs {
    /// A service's name, or a URL
    #[arg(required_unless_present = "all")]
    target: Option<String>,
    /// Every enabled service
    #[arg(long, conflicts_with = "target")]
    all: bool,
    #[arg(long)]
    json: bool,
    /// For a URL: GET, HEAD, POST, PUT, PATCH, DELETE or OPTIONS
    #[arg(long, short = 'X')]
    method: Option<String>,
    /// For a URL: `name: value`, as often as wanted
    #[arg(long = "header", short = 'H', value_name = "NAME: VALUE")]
    headers: Vec<String>,
    /// For a URL: seconds for one attempt
    #[arg(long, value_name = "SECONDS")]
    timeout: Option<f64>,
    /// For a URL: further attempts after a failing one
    #[arg(long, default_value_t = 0)]
    retries: u64,
    /// For a URL: takes any certificate
    #[arg(long, short = 'k')]
    insecure: bool,
}

pub fn run(args: CheckArgs) -> anyhow::Result<ExitCode> {
    let config = load_config()?;
    runtime()?.block_on(async {
        let services = match services(&args, &config).await? {
            Ok(services) => services,
            Err(usage) => {
                eprintln!("probemesh: {usage}");
                return Ok(ExitCode::from(2));
            }
        };
        let checker = Arc::new(Checker::new(&config)?);
        if args.all { check_all(checker, services, args.json).await } else { check_one(&checker, &services[0], args.json).await }
    })
}

struct Checker {
    probes: Probes,
    clock: Clock,
    hub_url: url::Url,
}

impl Checker {
    fn new(config: &Config) -> anyhow::Result<Checker> {
        let clock = Clock::real();
        let probes = Probes::new(&config.region.probe, clock.clone()).context("probes cannot be made")?;
        Ok(Checker { probes, clock, hub_url: own_url(config)? })
    }

    async fn check(&self, service: &Service, seq: u64) -> (CheckResult, Vec<Verdict>) {
        let now = self.clock.now();
        let id = CheckId { node: NodeName::from("command-line"), boot: Boot(now.0 as u64 / 1000), seq };
        let order = CheckOrder { id, region: RegionName::from("command-line"), scheduled_at: now, hub_url: Some(self.hub_url.clone()) };
        self.probes.check_verbosely(service, order).await
    }
}

async fn check_one(checker: &Checker, service: &Service, as_json: bool) -> anyhow::Result<ExitCode> {
    let (result, verdicts) = checker.check(service, 1).await;
    let now = checker.clock.now();
    if as_json {
        println!("{:#}", check_view::to_json(service, &result, &verdicts, now));
    } else {
        print!("{}", check_view::render(service, &result, &verdicts, now, std::io::stdout().is_terminal()));
    }
    Ok(ExitCode::from(u8::from(!result.ok())))
}

async fn check_all(checker: Arc<Checker>, services: Vec<Service>, as_json: bool) -> anyhow::Result<ExitCode> {
    let bar = if std::io::stderr().is_terminal() { ProgressBar::new(services.len() as u64) } else { ProgressBar::hidden() };
    bar.set_style(ProgressStyle::with_template("{bar:40} {pos}/{len} {msg}").context("template of the bar")?);
    let mut checks = futures_util::stream::iter(services.into_iter().enumerate())
        .map(|(index, service)| {
            let (checker, bar) = (checker.clone(), bar.clone());
            async move {
                let (result, verdicts) = checker.check(&service, index as u64 + 1).await;
                bar.inc(1);
                bar.set_message(service.name.to_string());
                (index, service, result, verdicts)
            }
        })
        .buffer_unordered(AT_ONCE)
        .collect::<Vec<_>>()
        .await;
    bar.finish_and_clear();
    checks.sort_by_key(|(index, ..)| *index);
    let failed = checks.iter().filter(|(_, _, result, _)| !result.ok()).count();
    if as_json {
        let now = checker.clock.now();
        let all: Vec<Value> =
            checks.iter().map(|(_, service, result, verdicts)| check_view::to_json(service, result, verdicts, now)).collect();
        println!("{:#}", json!({"checked": all.len(), "failed": failed, "results": all}));
    } else {
        let width = checks.iter().map(|(_, service, ..)| service.name.chars().count()).max().unwrap_or(0).clamp(7, 40);
        println!("{:<width$}  {:<7} {:>6} {:>10}  what", "service", "", "status", "latency");
        for (_, service, result, _) in &checks {
            let status = result.status_code.map_or_else(|| "—".to_owned(), |code| code.to_string());
            let word = if result.ok() { "up" } else { "not up" };
            let message = result.failure.as_ref().map_or("", |failure| failure.message.as_str());
            println!("{:<width$}  {word:<7} {status:>6} {:>7.1} ms  {message}", service.name, result.latency.as_secs_f64() * 1e3);
        }
        println!("{} of {} up", checks.len() - failed, checks.len());
    }
    Ok(ExitCode::from(u8::from(failed > 0)))
}

/// The services the arguments name, or how they were used wrongly.
async fn services(args: &CheckArgs, config: &Config) -> anyhow::Result<Result<Vec<Service>, String>> {
    if let Some(url) = args.target.as_deref().filter(|target| target.contains("://")) {
        return Ok(from_url(url, args, config).map(|service| vec![service]));
    }
    let mut known = stored(config).await?;
    if args.all {
        known.retain(|service| service.enabled);
        return Ok(if known.is_empty() { Err("no service is enabled".to_owned()) } else { Ok(known) });
    }
    let name = args.target.as_deref().unwrap_or_default();
    let names: Vec<String> = known.iter().map(|service| service.name.to_string()).collect();
    Ok(match known.into_iter().find(|service| &*service.name == name) {
        Some(service) => Ok(vec![service]),
        None if names.is_empty() => Err(format!("{name:?} is neither a URL (https://…) nor a known service; no service is known")),
        None => Err(format!("{name:?} is neither a URL (https://…) nor a known service; known: {}", names.join(", "))),
    })
}

fn from_url(url: &str, args: &CheckArgs, config: &Config) -> Result<Service, String> {
    let mut headers = BTreeMap::new();
    for header in &args.headers {
        let (name, value) = header.split_once(':').ok_or_else(|| format!("--header {header:?} must be `name: value`"))?;
        headers.insert(name.trim().to_owned(), value.trim().to_owned());
    }
    let document = ServiceDocument {
        name: Some(url.to_owned()),
        base_url: Some(url.to_owned()),
        method: args.method.clone(),
        headers,
        timeout_s: args.timeout,
        retries: Some(args.retries),
        tls: args.insecure.then(|| TlsDocument { insecure_skip_verify: Some(true), ..TlsDocument::default() }),
        ..ServiceDocument::default()
    };
    let all = |mistakes: Vec<crate::config::mistake::Mistake>| mistakes.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
    document.check(ServiceId(0), &config.hub.schedule).map_err(all)
}

/// From the hub that runs, else from its store, else from the services file.
async fn stored(config: &Config) -> anyhow::Result<Vec<Service>> {
    let documents: Vec<(ServiceId, ServiceDocument)> = if let Some(remote) = Remote::find(config).await? {
        let answer = remote.ask(Method::GET, "api/v1/local/documents", None).await?;
        let Value::Array(rows) = answer else { bail!("hub's answer is not a list of services") };
        rows.into_iter()
            .map(|row| Ok((ServiceId(u32::try_from(row["id"].as_u64().unwrap_or(0))?), serde_json::from_value(row["document"].clone())?)))
            .collect::<anyhow::Result<_>>()?
    } else if config.store.url.is_some() || config.store.data_dir.join("db").exists() {
        let records = Records::open(config, &Clock::real()).await?;
        let documents = records.services.list().iter().map(|stored| (stored.id, stored.document.clone())).collect();
        // Nothing waits in memory, so there is little to await; the lock must be given back all the same.
        tokio::time::timeout(Duration::from_secs(5), records.store.shutdown()).await.context("store did not close")??;
        documents
    } else {
        let wrong = |mistakes: Vec<crate::config::mistake::Mistake>| {
            anyhow::anyhow!(mistakes.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
        };
        let documents = read_services(&config.hub.services_json, &config.hub.schedule, true).map_err(wrong)?;
        documents.into_iter().enumerate().map(|(index, document)| (ServiceId(index as u32 + 1), document)).collect()
    };
    Ok(documents.iter().filter_map(|(id, document)| document.check(*id, &config.hub.schedule).ok()).collect())
}
