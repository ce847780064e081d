//! Checks at a rate, and kills under load: the monitor and its target run as processes, and afterwards what the target
//! was asked is held against what the store has.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use clap::Args;
use probemesh::clock::Clock;
use probemesh::config::Config;
use probemesh::config::sources::{Role, Sources};
use probemesh::model::check::Reason;
use probemesh::model::id::ServiceId;
use probemesh::store::Store;
use probemesh::store::query::ResultQuery;
use rand::Rng;
use serde_json::json;

use crate::process::{Asked, Monitor, Target, cpu_seconds, folder_bytes, free_port, load_average, rss_mib, stolen, stolen_since, write};

#[derive(Debug, Args)]
pub struct ChecksArgs {
    #[arg(long, default_value_t = 1000)]
    services: u32,
    /// Seconds between two checks of a service
    #[arg(long, default_value_t = 1.0)]
    interval: f64,
    /// Seconds measured, after the first checks
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// Over TLS, the certificate verified against a CA of its own
    #[arg(long)]
    tls: bool,
    /// How many of a hundred services answer 503
    #[arg(long, default_value_t = 0)]
    failing: u32,
    /// Digests and analyses of everything, one after the other without a pause, while it is measured
    #[arg(long)]
    digests: bool,
}

#[derive(Debug, Args)]
pub struct KillsArgs {
    #[arg(long, default_value_t = 1000)]
    services: u32,
    #[arg(long, default_value_t = 1.0)]
    interval: f64,
    #[arg(long, default_value_t = 10)]
    kills: u32,
}

pub async fn run(args: ChecksArgs) -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let certificate = if args.tls { Some(certificates(folder.path())?) } else { None };
    let target = Target::start(certificate.as_ref().map(|(certificate, key)| (certificate.as_path(), key.as_path())))?;
    write_services(folder.path(), &target, &args)?;
    println!(
        "{} services every {} s over {}, {} % failing; load average before: {}",
        args.services,
        args.interval,
        if args.tls { "https, verified" } else { "http" },
        args.failing,
        load_average()
    );
    let mut monitor = Monitor::start(folder.path(), free_port()?, &[]).await?;
    // The first checks and the first connections are not what is measured.
    tokio::time::sleep(Duration::from_secs(8)).await;
    let before = figures(&mut monitor).await?;
    let stolen_before = stolen();
    let (cpu, target_cpu, began) = (cpu_seconds(monitor.pid()), cpu_seconds(target.pid()), Instant::now());
    match args.digests {
        true => analyse(&mut monitor, Duration::from_secs(args.seconds)).await?,
        false => tokio::time::sleep(Duration::from_secs(args.seconds)).await,
    }
    let (cpu, target_cpu, took) = (cpu_seconds(monitor.pid()) - cpu, cpu_seconds(target.pid()) - target_cpu, began.elapsed().as_secs_f64());
    let share = stolen_since(stolen_before);
    let after = figures(&mut monitor).await?;
    let (rss, peak) = rss_mib(monitor.pid());
    let checks = after.checks - before.checks;
    println!(
        "checks          {checks} in {took:.1} s = {:.0} a second; missed rounds {}; failures {}",
        checks as f64 / took,
        after.missed - before.missed,
        after.failures - before.failures
    );
    println!("CPU a check     {:.0} µs monitor (all of it), {:.0} µs target", 1e6 * cpu / checks as f64, 1e6 * target_cpu / checks as f64);
    println!("memory          {rss:.0} MiB now, {peak:.0} MiB at most");
    println!(
        "schedule lag    p50 ≤ {} ms, p99 ≤ {} ms, p99.9 ≤ {} ms",
        lag(&before, &after, 0.5),
        lag(&before, &after, 0.99),
        lag(&before, &after, 0.999)
    );
    println!("host            took away {:.0} % of the CPU time meanwhile; with more than a few, CPU and lag say little", 100.0 * share);
    let ended = monitor.end()?;
    let asked = target.finish()?;
    let stored = stored(folder.path(), args.services).await?;
    println!(
        "ended           in {:.1} s; store {:.1} MiB on disk",
        ended.as_secs_f64(),
        folder_bytes(&folder.path().join("data/db")) as f64 / f64::from(1 << 20)
    );
    compare(&asked, &stored, 0)?;
    println!("load average after: {}", load_average());
    Ok(())
}

/// Has digests written and performance analysed until the time is up.
async fn analyse(monitor: &mut Monitor, time: Duration) -> anyhow::Result<()> {
    let began = Instant::now();
    let mut took = Vec::new();
    while began.elapsed() < time {
        let round = Instant::now();
        monitor.post("api/monitor/digests/run/", &json!({"period_hours": 24})).await?;
        monitor.get_text("api/v1/maintenance/performance/analysis?hours=24").await?;
        took.push(round.elapsed().as_secs_f64() * 1e3);
    }
    took.sort_by(f64::total_cmp);
    let (middle, most) = (took[took.len() / 2], took[took.len() - 1]);
    println!("analysed        {} times meanwhile, digest and performance together p50 {middle:.0} ms, at most {most:.0} ms", took.len());
    Ok(())
}

pub async fn run_kills(args: KillsArgs) -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let target = Target::start(None)?;
    let checks = ChecksArgs { services: args.services, interval: args.interval, seconds: 0, tls: false, failing: 10, digests: false };
    write_services(folder.path(), &target, &checks)?;
    let port = free_port()?;
    for kill in 1..=args.kills {
        let monitor = Monitor::start(folder.path(), port, &[]).await?;
        let wait = Duration::from_millis(rand::rng().random_range(200..9_000));
        tokio::time::sleep(wait).await;
        monitor.kill()?;
        println!("kill -9 {kill} after {:.1} s", wait.as_secs_f64());
    }
    let monitor = Monitor::start(folder.path(), port, &[]).await?;
    tokio::time::sleep(Duration::from_secs(5)).await;
    monitor.end()?;
    let asked = target.finish()?;
    let stored = stored(folder.path(), args.services).await?;
    compare(&asked, &stored, args.kills)
}

struct Figures {
    checks: u64,
    failures: u64,
    missed: u64,
    bins: Vec<u64>,
}

async fn figures(monitor: &mut Monitor) -> anyhow::Result<Figures> {
    let view = monitor.get("api/v1/cluster").await?;
    let node =
        view["nodes"].as_array().and_then(|nodes| nodes.iter().find(|node| !node["region"].is_null())).context("no region in the tree")?;
    let supervisor = node["actors"][0]["children"]
        .as_array()
        .and_then(|actors| actors.iter().find(|actor| actor["name"] == "supervisor"))
        .context("no supervisor")?;
    let figure = |name: &str| supervisor["figures"][name].as_u64().unwrap_or(0);
    let bins = supervisor["figures"]["lag_bins"].as_array().into_iter().flatten().filter_map(|bin| bin.as_u64()).collect();
    Ok(Figures { checks: figure("checks"), failures: figure("failures"), missed: figure("missed"), bins })
}

fn lag(before: &Figures, after: &Figures, share: f64) -> f64 {
    let bins: Vec<u64> = after.bins.iter().zip(&before.bins).map(|(after, before)| after - before).collect();
    probemesh::region::shared::quantile(&bins, share).unwrap_or(f64::NAN)
}

fn write_services(folder: &Path, target: &Target, args: &ChecksArgs) -> anyhow::Result<()> {
    let scheme = if args.tls { "https" } else { "http" };
    let services: Vec<serde_json::Value> = (0..args.services)
        .map(|index| {
            let path = if index % 100 < args.failing { "/fail" } else { "/health" };
            let mut service = json!({
                "name": format!("service-{index}"), "base_url": format!("{scheme}://127.0.0.1:{}", target.port), "health_path": path,
                "interval_s": args.interval, "retries": 0, "timeout_s": 5,
            });
            if args.tls {
                service["tls"] = json!({"ca": folder.join("ca.pem")});
            }
            service
        })
        .collect();
    write(&folder.join("services.json"), &serde_json::to_string(&services)?)
}

fn certificates(folder: &Path) -> anyhow::Result<(std::path::PathBuf, std::path::PathBuf)> {
    let ca_key = rcgen::KeyPair::generate()?;
    let mut ca = rcgen::CertificateParams::new(Vec::new())?;
    ca.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    ca.distinguished_name.push(rcgen::DnType::CommonName, "probemesh bench CA");
    let authority = ca.self_signed(&ca_key)?;
    let issuer = rcgen::Issuer::new(ca, ca_key);
    let key = rcgen::KeyPair::generate()?;
    let leaf = rcgen::CertificateParams::new(vec!["127.0.0.1".to_owned(), "localhost".to_owned()])?.signed_by(&key, &issuer)?;
    let (certificate_path, key_path) = (folder.join("web.pem"), folder.join("web.key"));
    write(&folder.join("ca.pem"), &authority.pem())?;
    write(&certificate_path, &leaf.pem())?;
    write(&key_path, &key.serialize_pem())?;
    Ok((certificate_path, key_path))
}

/// Checks by node, boot and number.
#[derive(Default)]
struct Stored {
    /// How often each is there.
    times: HashMap<(String, u64, u64), u32>,
    /// Those that did not get through to the target, which then knows nothing of them: a busy machine lets connections wait.
    unheard: HashSet<(String, u64, u64)>,
}

/// Everything the store holds, read through its own pages.
async fn stored(folder: &Path, services: u32) -> anyhow::Result<Stored> {
    let sources = Sources { dir: folder.to_owned(), environment: Vec::new(), role: Role::Hub };
    let config = Config::load(&sources).map_err(|mistakes| anyhow::anyhow!("{mistakes:?}"))?;
    let store = Store::open(&config.store, Clock::real()).await?;
    let mut found = Stored::default();
    for service in 1..=services {
        let mut query = ResultQuery { service: Some(ServiceId(service)), page_size: 500, ..ResultQuery::default() };
        loop {
            let page = store.results.page(&query).await?;
            for stored in &page.results {
                let id = &stored.result.id;
                let check = (id.node.to_string(), id.boot.0, id.seq);
                let failure = stored.result.failure.as_ref();
                if failure.is_some_and(|failure| matches!(failure.reason, Reason::Timeout | Reason::Connect)) {
                    found.unheard.insert(check.clone());
                }
                *found.times.entry(check).or_insert(0) += 1;
            }
            match page.next {
                Some(next) => query.cursor = Some(next),
                None => break,
            }
        }
    }
    store.shutdown().await?;
    Ok(found)
}

/// A check made is stored once; only checks that were in flight or not yet committed when the process was killed may miss,
/// and those are the last of their boot.
fn compare(asked: &Asked, stored: &Stored, kills: u32) -> anyhow::Result<()> {
    let twice = stored.times.values().filter(|times| **times > 1).count();
    let strange = |check: &&(String, u64, u64)| !asked.contains_key(*check);
    let unheard = stored.unheard.iter().filter(strange).count();
    let unasked = stored.times.keys().filter(strange).count() - unheard;
    let repeated = asked.values().filter(|times| **times > 1).count();
    let mut missing: HashMap<u64, (u64, u64)> = HashMap::new();
    let mut last: HashMap<u64, u64> = HashMap::new();
    for (_, boot, seq) in asked.keys() {
        let end = last.entry(*boot).or_insert(0);
        *end = (*end).max(*seq);
    }
    for (node, boot, seq) in asked.keys() {
        if !stored.times.contains_key(&(node.clone(), *boot, *seq)) {
            let entry = missing.entry(*boot).or_insert((0, u64::MAX));
            *entry = (entry.0 + 1, entry.1.min(*seq));
        }
    }
    println!(
        "target was asked for {} checks, store has {}, {unheard} of which failed before the target heard of them; \
         stored twice {twice}, never asked for {unasked}, asked twice {repeated}",
        asked.len(),
        stored.times.len()
    );
    let mut boots: Vec<_> = missing.iter().collect();
    boots.sort();
    for (boot, (count, first)) in boots {
        println!("  boot {boot}: {count} checks were not made, all among the last {} of {}", last[boot] - first + 1, last[boot]);
    }
    if twice > 0 || unasked > 0 || repeated > 0 {
        bail!("the store and the target's log differ");
    }
    if missing.len() as u32 > kills {
        bail!("checks are missing in {} boots, but only {kills} were killed", missing.len());
    }
    println!("every check made is stored exactly once");
    Ok(())
}
