//! Many results through the real writer, then the queries people ask, timed one by one.

use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use clap::Args;
use probemesh::clock::Clock;
use probemesh::config::Config;
use probemesh::config::sources::{Role, Sources};
use probemesh::model::check::{CheckResult, Failure, HttpVersion, Phase, Phases, Reason};
use probemesh::model::id::{Boot, CheckId, NodeName, RegionName, ServiceId};
use probemesh::model::time::Timestamp;
use probemesh::store::Store;
use probemesh::store::query::ResultQuery;
use probemesh::wire::batch::{BatchHead, encode};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::process::{cpu_seconds, folder_bytes, load_average, rss_mib, stolen, stolen_since};

const MINUTE: i64 = 60_000_000;

#[derive(Debug, Args)]
pub struct StoreArgs {
    #[arg(long, default_value_t = 10_000_000)]
    results: u64,
    #[arg(long, default_value_t = 1000)]
    services: u32,
    /// Seconds between two checks of a service
    #[arg(long, default_value_t = 60)]
    interval: i64,
    #[arg(long, default_value_t = 200)]
    queries: u32,
    /// A server instead of the embedded engine, with an empty database: ws://127.0.0.1:8000/bench/one
    #[arg(long)]
    url: Option<String>,
    #[arg(long, default_value = "root", requires = "url")]
    user: String,
    #[arg(long, default_value = "root", requires = "url")]
    password: String,
}

pub async fn run(args: StoreArgs) -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let server = args.url.clone().map(|url| [("DATABASE_URL", url), ("DATABASE_USER", args.user), ("DATABASE_PASSWORD", args.password)]);
    let environment = server.into_iter().flatten().map(|(name, value)| (name.to_owned(), value)).collect();
    let sources = Sources { dir: folder.path().to_owned(), environment, role: Role::Hub };
    let config = Config::load(&sources).map_err(|mistakes| anyhow::anyhow!("{mistakes:?}"))?;
    let clock = Clock::real();
    let store = Store::open(&config.store, clock.clone()).await?;
    let rounds = args.results / u64::from(args.services);
    let begin = Timestamp(clock.now().0 - rounds as i64 * args.interval * 1_000_000);
    println!("{} results of {} services, one each {} s; load average {}", args.results, args.services, args.interval, load_average());

    let mut random = StdRng::seed_from_u64(7);
    let (began, cpu) = (Instant::now(), cpu_seconds(std::process::id()));
    let mut appending = Duration::ZERO;
    let (mut seq, mut number, mut pending) = (0, 0, Vec::with_capacity(500));
    for round in 0..rounds {
        for service in 1..=args.services {
            seq += 1;
            pending.push(result(
                seq,
                service,
                Timestamp(begin.0 + round as i64 * args.interval * 1_000_000 + i64::from(service) * 997),
                &mut random,
            ));
            if pending.len() == 500 {
                number += 1;
                let head = BatchHead::new(&NodeName::from("bench"), &RegionName::from("local"), Boot(1), number, 0);
                let batch = encode(&head, &pending);
                let sent = Instant::now();
                store.results.append(&batch).await?;
                appending += sent.elapsed();
                pending.clear();
                // As the sealer would, by the time of the results.
                let now = Timestamp(begin.0 + round as i64 * args.interval * 1_000_000);
                while store.results.seal(now).await?.more {}
            }
        }
        if round % (rounds / 10).max(1) == 0 && round > 0 {
            println!(
                "  {} results: {:.0} a second, {:.0} MiB RSS",
                seq,
                seq as f64 / began.elapsed().as_secs_f64(),
                rss_mib(std::process::id()).0
            );
        }
    }
    let disk = folder_bytes(&folder.path().join("data/db"));
    println!(
        "loaded in {:.0} s; journal {:.1} µs a result until it is stored; with sealing {:.1} µs CPU a result in this process; {:.1} bytes \
         a result on this disk; {:.0} MiB RSS at most",
        began.elapsed().as_secs_f64(),
        1e6 * appending.as_secs_f64() / seq as f64,
        1e6 * (cpu_seconds(std::process::id()) - cpu) / seq as f64,
        disk as f64 / seq as f64,
        rss_mib(std::process::id()).1
    );

    let span = rounds as i64 * args.interval * 1_000_000;
    let base = ResultQuery { newest_first: true, page_size: 50, ..ResultQuery::default() };
    let pick =
        |random: &mut StdRng| (Some(ServiceId(random.random_range(1..=args.services))), Timestamp(begin.0 + random.random_range(0..span)));
    let mut queries: Vec<(&str, Vec<ResultQuery>)> = Vec::new();
    let mut many = |what: &'static str, make: &mut dyn FnMut(&mut StdRng) -> ResultQuery| {
        queries.push((what, (0..args.queries).map(|_| make(&mut random)).collect()));
    };
    many("newest of a service", &mut |random| ResultQuery { service: pick(random).0, ..base.clone() });
    many("a service, an hour in the past", &mut |random| {
        let (service, since) = pick(random);
        ResultQuery { service, since: Some(since), until: Some(since.plus(Duration::from_secs(3600))), ..base.clone() }
    });
    many("failures of a service", &mut |random| ResultQuery { service: pick(random).0, ok: Some(false), ..base.clone() });
    many("newest of all", &mut |_| base.clone());
    many("failures of all", &mut |_| ResultQuery { ok: Some(false), ..base.clone() });
    many("failures of all, ten minutes in the past", &mut |random| {
        let since = pick(random).1;
        ResultQuery { ok: Some(false), since: Some(since), until: Some(Timestamp(since.0 + 10 * MINUTE)), ..base.clone() }
    });
    many("time-outs of all, newest", &mut |_| ResultQuery { reason: Some(Reason::Timeout), ..base.clone() });
    let ticks = stolen();
    for (what, queries) in queries {
        let mut times = Vec::new();
        let mut found = 0;
        for query in queries {
            let began = Instant::now();
            found += store.results.page(&query).await?.results.len();
            times.push(began.elapsed().as_secs_f64() * 1e3);
        }
        times.sort_by(f64::total_cmp);
        let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize];
        println!(
            "{what:<42} p50 {:>6.2} ms  p95 {:>6.2} ms  max {:>6.2} ms  ({} results a page)",
            at(0.5),
            at(0.95),
            at(1.0),
            found / times.len()
        );
    }
    println!("{:<42} {:.0} %", "taken away by the host over these pages", 100.0 * stolen_since(ticks));
    let began = Instant::now();
    let statistics = store.results.statistics(Timestamp(clock.now().0 - 24 * 60 * MINUTE), clock.now()).await?;
    println!(
        "{:<42} {:.1} ms ({} checks, {} failures)",
        "statistics of 24 hours",
        began.elapsed().as_secs_f64() * 1e3,
        statistics.checks,
        statistics.failures.iter().map(|(_, count)| count).sum::<u64>()
    );
    store.shutdown().await?;
    let began = Instant::now();
    let store = Store::open(&config.store, clock.clone()).await?;
    println!("{:<42} {:.0} ms", "reopen", began.elapsed().as_secs_f64() * 1e3);
    store.shutdown().await?;
    Ok(())
}

/// Looks like a healthy https-free service on a near network: noise in every phase, one failure in two hundred.
fn result(seq: u64, service: u32, at: Timestamp, random: &mut StdRng) -> CheckResult {
    let mut noise = |most: u64| Duration::from_micros(random.random_range(0..most));
    let phases = Phases {
        dns: None,
        connect: Some(Duration::from_micros(180) + noise(120)),
        tls: None,
        first_byte: Some(Duration::from_micros(9_000) + noise(6_000)),
        transfer: Some(noise(90)),
    };
    let latency = phases.connect.unwrap_or_default() + phases.first_byte.unwrap_or_default() + phases.transfer.unwrap_or_default();
    let started_at = at.plus(noise(1_500));
    let failure = match random.random_range(0..1000) {
        0..=3 => Some(Failure { reason: Reason::Status, phase: Phase::Expect, message: "expected status 200-299, got 503".to_owned() }),
        4 => Some(Failure {
            reason: Reason::Timeout,
            phase: Phase::FirstByte,
            message: "no answer within 10 s (waiting for first byte)".to_owned(),
        }),
        _ => None,
    };
    CheckResult {
        id: CheckId { node: NodeName::from("bench"), boot: Boot(1), seq },
        service: ServiceId(service),
        region: RegionName::from("local"),
        scheduled_at: at,
        started_at,
        latency,
        elapsed: latency + Duration::from_micros(40),
        status_code: Some(if failure.is_some() { 503 } else { 200 }),
        failure,
        phases,
        address: Some(IpAddr::V4(Ipv4Addr::new(10, 0, (service / 250) as u8, (service % 250) as u8))),
        http_version: Some(HttpVersion::Http11),
        tls_version: None,
        certificate: None,
        body_bytes: 15,
        redirects: 0,
        attempt_count: 1,
        attempts: Vec::new(),
        evidence: None,
        clock_offset: 0,
    }
}
