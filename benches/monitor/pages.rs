//! The dashboard's pages with many services and their history: how soon they come, and how large they are on the wire.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use clap::Args;
use probemesh::aggregate::rollup::Rule;
use probemesh::clock::Clock;
use probemesh::config::Config;
use probemesh::config::sources::{Role, Sources};
use probemesh::model::time::Timestamp;
use probemesh::store::Store;
use reqwest::header::{ACCEPT_ENCODING, CONTENT_ENCODING, COOKIE, SET_COOKIE};
use reqwest::redirect::Policy;
use serde_json::json;

use crate::load::Loader;
use crate::process::{Monitor, PASSWORD, Target, cpu_seconds, free_port, load_average, rss_mib, stolen, stolen_since, write};

const DAY: i64 = 86_400_000_000;
const MINUTE: i64 = 60_000_000;

#[derive(Debug, Args)]
pub struct PagesArgs {
    #[arg(long, default_value_t = 1000)]
    services: u32,
    /// Seconds between two checks of a service while the pages are asked for
    #[arg(long, default_value_t = 60.0)]
    interval: f64,
    /// How many days the first service was watched for; the others were for one
    #[arg(long, default_value_t = 30)]
    days: i64,
    /// How often each page is asked for
    #[arg(long, default_value_t = 100)]
    times: u32,
    /// Seconds to go on afterwards, for a browser to look at the pages
    #[arg(long, default_value_t = 0)]
    hold: u64,
}

pub async fn run(args: PagesArgs) -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let target = Target::start(None)?;
    let services: Vec<serde_json::Value> = (0..args.services)
        .map(|index| {
            json!({
                "name": format!("service-{index}"), "base_url": format!("http://127.0.0.1:{}", target.port), "health_path": "/health",
                "interval_s": args.interval, "retries": 0, "timeout_s": 5, "group": format!("group {}", index / 50), "tags": ["bench"],
            })
        })
        .collect();
    write(&folder.path().join("services.json"), &serde_json::to_string(&services)?)?;
    let port = free_port()?;
    // Makes the services, whose history is written next.
    Monitor::start(folder.path(), port, &[]).await?.end()?;
    load(folder.path(), &args).await?;
    let monitor = Monitor::start(folder.path(), port, &[]).await?;
    tokio::time::sleep(Duration::from_secs(10)).await;
    let visitor = Visitor::log_in(port).await?;
    println!("load average: {}; memory of the monitor {:.0} MiB", load_average(), rss_mib(monitor.pid()).0);
    let ticks = stolen();
    for (what, path) in [
        ("overview", "/"),
        ("a service, 24 hours", "/services/2"),
        ("a service, 7 days", "/services/1?range=7d"),
        ("a service, 30 days", "/services/1?range=30d"),
        ("incidents", "/incidents"),
        ("results", "/results"),
        ("performance, 24 hours", "/performance?hours=24"),
        ("public status", "/status"),
        ("summary (API)", "/api/monitor/health/summary/"),
    ] {
        visitor.measure(what, path, args.times).await?;
    }
    println!("{:<24} {:.0} %", "taken away by the host", 100.0 * stolen_since(ticks));
    if args.hold > 0 {
        println!("for {} s more: http://127.0.0.1:{port} admin {PASSWORD}", args.hold);
        let (cpu, began) = (cpu_seconds(monitor.pid()), Instant::now());
        tokio::time::sleep(Duration::from_secs(args.hold)).await;
        let share = (cpu_seconds(monitor.pid()) - cpu) / began.elapsed().as_secs_f64();
        println!("the monitor took {:.0} % of a core meanwhile", 100.0 * share);
    }
    monitor.end()?;
    target.finish()?;
    Ok(())
}

/// One check a minute of each service, and rollups of it all.
async fn load(folder: &Path, args: &PagesArgs) -> anyhow::Result<()> {
    let sources = Sources { dir: folder.to_owned(), environment: Vec::new(), role: Role::Hub };
    let config = Config::load(&sources).map_err(|mistakes| anyhow::anyhow!("{mistakes:?}"))?;
    let clock = Clock::real();
    let store = Store::open(&config.store, clock.clone()).await?;
    let (now, began) = (clock.now(), Instant::now());
    let mut loader = Loader::new(&store);
    for minute in 0..args.days * 1440 {
        let at = now.0 - args.days * DAY + minute * MINUTE;
        let watched = if at >= now.0 - DAY { args.services } else { 1 };
        for service in 1..=watched {
            loader.add(service, Timestamp(at + i64::from(service) * 997)).await?;
        }
    }
    loader.finish(now).await?;
    let rule = Rule { gap: Duration::from_secs(60), failure: 1, success: 1 };
    while store.results.roll(now, Arc::new(move |_, _| Some(rule))).await?.more {}
    println!("{} results of {} services and their rollups made in {:.0} s", loader.count, args.services, began.elapsed().as_secs_f64());
    store.shutdown().await?;
    Ok(())
}

/// Somebody who is logged in.
struct Visitor {
    client: reqwest::Client,
    address: String,
    cookie: String,
}

impl Visitor {
    async fn log_in(port: u16) -> anyhow::Result<Visitor> {
        let client = reqwest::Client::builder().no_proxy().redirect(Policy::none()).timeout(Duration::from_secs(60)).build()?;
        let address = format!("http://127.0.0.1:{port}");
        let form = client.get(format!("{address}/login")).send().await?;
        let cookie = cookie(&form).context("the log-in sets no cookie")?;
        let page = form.text().await?;
        let token =
            page.split("name=\"form_token\" value=\"").nth(1).and_then(|rest| rest.split('"').next()).context("the form has no token")?;
        let body = url::form_urlencoded::Serializer::new(String::new())
            .append_pair("form_token", token)
            .append_pair("next", "/")
            .append_pair("username", "admin")
            .append_pair("password", PASSWORD)
            .finish();
        let request =
            client.post(format!("{address}/login")).header(COOKIE, cookie).header("content-type", "application/x-www-form-urlencoded");
        let answer = request.header("origin", &address).body(body).send().await?;
        let Some(cookie) = self::cookie(&answer) else { bail!("the log-in failed: {}", answer.status()) };
        Ok(Visitor { client, address, cookie })
    }

    async fn measure(&self, what: &str, path: &str, times: u32) -> anyhow::Result<()> {
        let (mut first, mut whole, mut bytes, mut coding) = (Vec::new(), Vec::new(), 0, String::new());
        for round in 0..times + 5 {
            let request =
                self.client.get(format!("{}{path}", self.address)).header(COOKIE, &self.cookie).header(ACCEPT_ENCODING, "gzip, br");
            let began = Instant::now();
            let answer = request.send().await?;
            let head = began.elapsed();
            if !answer.status().is_success() {
                bail!("{path}: {}", answer.status());
            }
            coding = answer.headers().get(CONTENT_ENCODING).map_or("plain", |coding| coding.to_str().unwrap_or("?")).to_owned();
            bytes = answer.bytes().await?.len();
            // The first few make caches warm.
            if round >= 5 {
                first.push(head.as_secs_f64() * 1e3);
                whole.push(began.elapsed().as_secs_f64() * 1e3);
            }
        }
        let at = |times: &mut Vec<f64>, share: f64| {
            times.sort_by(f64::total_cmp);
            times[((times.len() - 1) as f64 * share) as usize]
        };
        println!(
            "{what:<24} first byte p50 {:>6.1} ms  p95 {:>6.1} ms; whole p95 {:>6.1} ms; {:>6.1} KB {coding}",
            at(&mut first, 0.5),
            at(&mut first, 0.95),
            at(&mut whole, 0.95),
            bytes as f64 / 1e3
        );
        Ok(())
    }
}

fn cookie(answer: &reqwest::Response) -> Option<String> {
    let cookies = answer.headers().get_all(SET_COOKIE).into_iter().filter_map(|cookie| cookie.to_str().ok());
    let named: Vec<&str> = cookies.filter_map(|cookie| cookie.split(';').next()).filter(|cookie| !cookie.ends_with('=')).collect();
    (!named.is_empty()).then(|| named.join("; "))
}
