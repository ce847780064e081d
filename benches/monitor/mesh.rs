//! A hub and many nodes as processes: how soon they have joined, and what their results cost the hub.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use clap::Args;
use serde_json::{Value, json};

use crate::process::{Monitor, Target, cpu_seconds, free_port, load_average, rss_mib, stolen, stolen_since, write};

const SECRET: &str = "the-join-secret-of-the-benchmark";

#[derive(Debug, Args)]
pub struct MeshArgs {
    #[arg(long, default_value_t = 20)]
    nodes: usize,
    #[arg(long, default_value_t = 4)]
    regions: usize,
    /// Over all regions; each is checked from one
    #[arg(long, default_value_t = 2000)]
    services: usize,
    /// Seconds between two checks of a service
    #[arg(long, default_value_t = 5.0)]
    interval: f64,
    #[arg(long, default_value_t = 60)]
    seconds: u64,
}

struct Node {
    child: Child,
    name: String,
    folder: PathBuf,
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub async fn run(args: MeshArgs) -> anyhow::Result<()> {
    ensure!(args.regions >= 1 && args.nodes >= args.regions, "each region needs a node");
    let folder = tempfile::tempdir()?;
    let target = Target::start(None)?;
    let (hub_folder, mesh_port) = (folder.path().join("hub"), free_port()?);
    std::fs::create_dir(&hub_folder)?;
    write(&hub_folder.join("services.json"), &services(&args, target.port))?;
    let listen = format!("127.0.0.1:{mesh_port}");
    let settings = [("PROBEMESH_MESH__LISTEN", listen.as_str()), ("PROBEMESH_JOIN_SECRET", SECRET)];
    let mut hub = Monitor::start_as(&["hub"], &hub_folder, free_port()?, &settings).await?;
    println!(
        "{} nodes in {} regions, {} services every {} s; load {}",
        args.nodes,
        args.regions,
        args.services,
        args.interval,
        load_average()
    );

    let began = Instant::now();
    let mut nodes = Vec::new();
    for index in 0..args.nodes {
        nodes.push(start_node(folder.path(), &format!("r{}", index % args.regions), index, &listen)?);
    }
    let joined = until(&mut hub, "all nodes are connected", "api/v1/nodes", |found| {
        let found = found["results"].as_array()?;
        (found.iter().filter(|node| node["link"] == "connected").count() == args.nodes).then_some(())
    });
    joined.await?;
    println!("all nodes have joined after     {:8.2} s", began.elapsed().as_secs_f64());
    until(&mut hub, "each service has a result", "api/monitor/health/summary/", |summary| {
        summary["services"].as_array()?.iter().all(|service| service["latest_check"].is_object()).then_some(())
    })
    .await?;
    println!("each service has a result after {:8.2} s", began.elapsed().as_secs_f64());

    let (before, cpu, cpu_nodes, ticks) = (results(&mut hub).await?, cpu_seconds(hub.pid()), cpu_of(&nodes), stolen());
    let measured = Instant::now();
    tokio::time::sleep(Duration::from_secs(args.seconds)).await;
    let (taken, span) = (results(&mut hub).await? - before, measured.elapsed().as_secs_f64());
    let (cpu, cpu_nodes) = (cpu_seconds(hub.pid()) - cpu, cpu_of(&nodes) - cpu_nodes);
    let taken_away = stolen_since(ticks);
    let thousands = taken as f64 / 1000.0;
    ensure!(taken > 0, "the hub took no results");
    println!("results taken                   {taken:8} in {span:.1} s, {:.0} a second", taken as f64 / span);
    println!("hub, CPU per 1 000 results      {:8.1} ms", cpu / thousands * 1e3);
    println!("nodes, CPU per 1 000 checks     {:8.1} ms", cpu_nodes / thousands * 1e3);
    let (rss, most) = rss_mib(hub.pid());
    println!("hub, memory                     {rss:8.1} MiB, at most {most:.1} MiB");
    let memory: Vec<f64> = nodes.iter().map(|node| rss_mib(node.child.id()).1).collect();
    println!("nodes, memory at most           {:8.1} to {:.1} MiB", least(&memory), memory.iter().copied().fold(0.0, f64::max));
    println!("taken away by the host          {:8.1} %", 100.0 * taken_away);

    for node in &mut nodes {
        // SAFETY: a plain call; the process is ours and has not been waited for.
        unsafe { libc::kill(node.child.id() as i32, libc::SIGTERM) };
    }
    for node in &mut nodes {
        let status = node.child.wait()?;
        if !status.success() {
            bail!("node {} ended with {status}; see {}", node.name, node.folder.join("console.log").display());
        }
    }
    let stored = results(&mut hub).await?;
    hub.end()?;
    let asked = target.finish()?;
    println!("checks asked for {}, stored {stored}", asked.len());
    ensure!(asked.len() as u64 == stored, "the target's log and the store differ");
    Ok(())
}

fn least(figures: &[f64]) -> f64 {
    figures.iter().copied().fold(f64::INFINITY, f64::min)
}

fn services(args: &MeshArgs, port: u16) -> String {
    let all = (0..args.services).map(|index| {
        json!({
            "name": format!("service {index}"),
            "base_url": format!("http://127.0.0.1:{port}"),
            "interval_s": args.interval,
            "retries": 0,
            "regions": [format!("r{}", index % args.regions)],
        })
    });
    Value::Array(all.collect()).to_string()
}

fn start_node(folder: &Path, region: &str, index: usize, hub: &str) -> anyhow::Result<Node> {
    let name = format!("{region}-{index}");
    let folder = folder.join(&name);
    std::fs::create_dir_all(folder.join("regions"))?;
    let text = format!("[region]\nname = \"{region}\"\nnode = \"{name}\"\n\n[mesh]\nhub = \"{hub}\"\n");
    write(&folder.join("regions/node.toml"), &text)?;
    let log = std::fs::File::create(folder.join("console.log"))?;
    let child = Command::new(env!("CARGO_BIN_EXE_probemesh"))
        .args(["region", "--config", "regions/node.toml"])
        .current_dir(&folder)
        .env("PROBEMESH_JOIN_SECRET", SECRET)
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn()
        .context("node cannot be started")?;
    Ok(Node { child, name, folder })
}

/// Results the hub's store has taken since it started.
async fn results(hub: &mut Monitor) -> anyhow::Result<u64> {
    let tree = hub.get("api/v1/cluster").await?;
    let groups = tree["nodes"][0]["actors"].as_array().context("no actors")?;
    let ingest = groups.iter().flat_map(|group| group["children"].as_array().into_iter().flatten()).find(|actor| actor["name"] == "ingest");
    ingest.and_then(|ingest| ingest["figures"]["results"].as_u64()).context("hub does not tell of its results")
}

fn cpu_of(nodes: &[Node]) -> f64 {
    nodes.iter().map(|node| cpu_seconds(node.child.id())).sum()
}

async fn until(hub: &mut Monitor, what: &str, path: &str, found: impl Fn(&Value) -> Option<()>) -> anyhow::Result<()> {
    let began = Instant::now();
    while found(&hub.get(path).await?).is_none() {
        ensure!(began.elapsed() < Duration::from_secs(120), "not within two minutes: {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}
