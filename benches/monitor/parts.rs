//! What a check costs, part by part: each part alone, many times over, CPU of this process (and its threads) divided by
//! the number of checks.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use anyhow::Context;
use clap::Args;
use probemesh::aggregate::board::Board;
use probemesh::clock::Clock;
use probemesh::config::Config;
use probemesh::config::service::ServiceDocument;
use probemesh::config::sources::{Role, Sources};
use probemesh::model::check::CheckResult;
use probemesh::model::id::{Boot, CheckId, NodeName, RegionName, ServiceId};
use probemesh::model::service::Service;
use probemesh::model::time::Timestamp;
use probemesh::probe::{CheckOrder, Probes};
use probemesh::region::outbox_file::{Commit, OutboxFile};
use probemesh::store::Store;
use probemesh::telemetry::health_line::HealthLine;
use probemesh::wire::batch::{BatchHead, encode};

use crate::process::{Target, cpu_seconds, load_average};

#[derive(Debug, Args)]
pub struct PartsArgs {
    #[arg(long, default_value_t = 20_000)]
    checks: u64,
    /// Results that share one commit
    #[arg(long, default_value_t = 100)]
    batch: u64,
}

pub async fn run(args: PartsArgs) -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let sources = Sources { dir: folder.path().to_owned(), environment: Vec::new(), role: Role::Hub };
    let config = Config::load(&sources).map_err(|mistakes| anyhow::anyhow!("{mistakes:?}"))?;
    let target = Target::start(None)?;
    let service = service(&format!("http://127.0.0.1:{}", target.port), &config)?;
    println!("{} checks, batches of {}; load average {}", args.checks, args.batch, load_average());
    let clock = Clock::real();

    let probes = Arc::new(Probes::new(&config.region.probe, clock.clone())?);
    let results = probe(&probes, &service, args.checks, args.batch).await?;
    target.finish()?;

    let head = |number| BatchHead::new(&NodeName::from("bench"), &RegionName::from("local"), Boot(1), number, 0);
    let meter = Meter::start("encode for the outbox");
    let batches: Vec<Vec<u8>> =
        results.chunks(args.batch as usize).enumerate().map(|(index, chunk)| encode(&head(index as u64 + 1), chunk)).collect();
    meter.stop(args.checks);
    println!("                        {:.0} bytes a result", batches.iter().map(Vec::len).sum::<usize>() as f64 / args.checks as f64);

    let file = OutboxFile::open(&folder.path().join("outbox.redb"), clock.now())?;
    let meter = Meter::start("commit to the outbox");
    for (index, batch) in batches.iter().enumerate() {
        let acknowledged = (index > 0).then_some((file.boot(), index as u64));
        let batch = Some((index as u64 + 1, clock.now(), args.batch, batch.clone()));
        file.commit(Commit { batch, acknowledged, refused: None, max_bytes: u64::MAX, keep_since: Timestamp(0) })?;
    }
    meter.stop(args.checks);

    let store = Store::open(&config.store, clock.clone()).await?;
    let meter = Meter::start("journal in the store");
    let mut taken = Vec::new();
    for batch in &batches {
        taken.push(store.results.append(batch).await?.results.context("a new batch")?);
    }
    meter.stop(args.checks);

    let board = Board::default();
    board.replace_services(std::slice::from_ref(&*service), clock.now());
    let meter = Meter::start("fold into the board");
    for results in &taken {
        board.fold(results, clock.now());
    }
    meter.stop(args.checks);

    let meter = Meter::start("line of health.log");
    let mut line = Vec::new();
    for result in taken.iter().flat_map(|results| results.iter()) {
        line.clear();
        HealthLine { result, service_name: &service.name }.write(&mut line);
    }
    meter.stop(args.checks);

    let meter = Meter::start("seal into blocks");
    while store.results.seal(clock.now()).await?.more {}
    meter.stop(args.checks);
    store.shutdown().await?;
    Ok(())
}

async fn probe(probes: &Arc<Probes>, service: &Arc<Service>, checks: u64, batch: u64) -> anyhow::Result<Vec<CheckResult>> {
    let seq = Arc::new(AtomicU64::new(0));
    let meter = Meter::start("probe, new connection");
    let mut workers = tokio::task::JoinSet::new();
    for _ in 0..16 {
        let (probes, service, seq) = (probes.clone(), service.clone(), seq.clone());
        workers.spawn(async move {
            let mut results = Vec::new();
            loop {
                let seq = seq.fetch_add(1, Ordering::Relaxed) + 1;
                if seq > checks {
                    return results;
                }
                let id = CheckId { node: NodeName::from("bench"), boot: Boot(1), seq };
                results.push(
                    probes
                        .check(&service, CheckOrder { id, region: RegionName::from("local"), scheduled_at: Timestamp(0), hub_url: None })
                        .await,
                );
            }
        });
    }
    let mut results: Vec<CheckResult> = workers.join_all().await.into_iter().flatten().collect();
    meter.stop(checks);
    let failed = results.iter().filter(|result| !result.ok()).count();
    anyhow::ensure!(failed == 0, "{failed} checks failed: {:?}", results.iter().find_map(|result| result.failure.clone()));
    results.sort_by_key(|result| result.id.seq);
    results.truncate((checks / batch * batch) as usize);
    Ok(results)
}

fn service(url: &str, config: &Config) -> anyhow::Result<Arc<Service>> {
    let document = ServiceDocument {
        name: Some("bench".to_owned()),
        base_url: Some(url.to_owned()),
        interval_s: Some(1.0),
        ..ServiceDocument::default()
    };
    let service = document.check(ServiceId(1), &config.hub.schedule).map_err(|mistakes| anyhow::anyhow!("{mistakes:?}"))?;
    Ok(Arc::new(service))
}

struct Meter {
    what: &'static str,
    cpu: f64,
    began: Instant,
}

impl Meter {
    fn start(what: &'static str) -> Meter {
        Meter { what, cpu: cpu_seconds(std::process::id()), began: Instant::now() }
    }

    fn stop(self, checks: u64) {
        let cpu = 1e6 * (cpu_seconds(std::process::id()) - self.cpu) / checks as f64;
        let wall = 1e6 * self.began.elapsed().as_secs_f64() / checks as f64;
        println!("{:<22}  {cpu:>7.2} µs CPU a check  ({wall:.2} µs wall)", self.what);
    }
}
