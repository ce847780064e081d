//! Many results through the real writer, then the queries people ask, timed one by one.

use std::time::{Duration, Instant};

use clap::Args;
use probemesh::clock::Clock;
use probemesh::config::Config;
use probemesh::config::sources::{Role, Sources};
use probemesh::model::check::Reason;
use probemesh::model::id::ServiceId;
use probemesh::model::time::Timestamp;
use probemesh::store::Store;
use probemesh::store::query::ResultQuery;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::load::Loader;
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
    let mut loader = Loader::new(&store);
    for round in 0..rounds {
        for service in 1..=args.services {
            let at = Timestamp(begin.0 + round as i64 * args.interval * 1_000_000 + i64::from(service) * 997);
            loader.add(service, at).await?;
        }
        if round % (rounds / 10).max(1) == 0 && round > 0 {
            println!(
                "  {} results: {:.0} a second, {:.0} MiB RSS",
                loader.count,
                loader.count as f64 / began.elapsed().as_secs_f64(),
                rss_mib(std::process::id()).0
            );
        }
    }
    let (seq, appending) = (loader.count, loader.appending);
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
