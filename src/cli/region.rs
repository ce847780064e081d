//! `probemesh region`: a node of a region, on a machine of its own, until told to end.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;
use tracing::{info, warn};

use crate::cli::process::end_signal;
use crate::clock::Clock;
use crate::config::Config;
use crate::config::sources::{Role, Sources};
use crate::mesh::joining::ensure::ensure_joined;
use crate::mesh::node_files::{NodeFiles, Renewal as Request};
use crate::mesh::uplink::Renewal;
use crate::node::{Membership, Node};
use crate::region::Drained;
use crate::telemetry::{self, Console};

/// To finish, send and say goodbye.
const STOP_WITHIN: Duration = Duration::from_secs(9);

#[derive(Debug, Args)]
pub struct RegionArgs {
    /// The region's file, as `probemesh join` writes it
    #[arg(long, default_value = "regions/local.toml")]
    config: PathBuf,
}

pub fn run(args: RegionArgs) -> anyhow::Result<ExitCode> {
    let sources = Sources::from_process(Role::Region(args.config));
    let config = match Config::load(&sources) {
        Ok(config) => config,
        Err(mistakes) => {
            let told: Vec<String> = mistakes.iter().map(|mistake| format!("\n  {mistake}")).collect();
            bail!("the region's file has {} to mend:{}", if told.len() == 1 { "a mistake" } else { "mistakes" }, told.concat());
        }
    };
    let telemetry = telemetry::start(&config.log, Console::Human)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("runtime cannot be made")?;
    let ended = runtime.block_on(serve(config));
    runtime.shutdown_timeout(Duration::from_secs(1));
    drop(telemetry);
    ended.map(|()| ExitCode::SUCCESS)
}

async fn serve(config: Config) -> anyhow::Result<()> {
    let clock = Clock::real();
    let mut ended = std::pin::pin!(end_signal()?);
    let files = tokio::select! {
        joined = ensure_joined(&config.mesh, &config.region, &clock) => joined?,
        signal = &mut ended => {
            info!(signal, "ended before it had joined");
            return Ok(());
        }
    };
    info!(node = %config.region.node, region = %config.region.name, hub = files.hub, "node starts");
    let keeper = Arc::new(Papers { files: Mutex::new(files.clone()), asked: Mutex::default(), clock: clock.clone() });
    let shown = keeper.clone();
    let membership = Membership {
        name: config.region.node.to_string(),
        cookie: files.cookie.clone(),
        hub: files.hub.clone(),
        tls: Arc::new(move || {
            let files = shown.files.lock().expect("no holder panics");
            files.check(shown.clock.now())?;
            Ok(files.client_config())
        }),
        renewal: keeper,
    };
    let node = Node::start(config.region, config.mesh, membership, clock.clone()).await?;
    let signal = ended.await;
    info!(signal, "ending: checks in flight are finished and sent");
    let began = clock.steady();
    let drained = node.stop(STOP_WITHIN).await;
    let took_ms = (clock.steady() - began).as_millis() as u64;
    match drained {
        Drained { given_up: 0, depth, .. } if depth.results == 0 => info!(took_ms, "ended: the hub has every check made"),
        Drained { given_up: 0, depth, .. } => info!(took_ms, waiting = depth.results, "ended: the outbox keeps what the hub has not"),
        Drained { given_up, depth, .. } => warn!(took_ms, given_up, waiting = depth.results, "ended with checks given up"),
    }
    Ok(())
}

/// The node's certificate, renewed while it runs.
struct Papers {
    files: Mutex<NodeFiles>,
    /// The request under way, whose key goes with the certificate that comes.
    asked: Mutex<Option<Request>>,
    clock: Clock,
}

impl Renewal for Papers {
    fn request(&self) -> Option<String> {
        let files = self.files.lock().expect("no holder panics");
        if !files.renewal_due(self.clock.now()) {
            return None;
        }
        let request = files.renewal_request();
        let csr = request.csr_pem.clone();
        *self.asked.lock().expect("no holder panics") = Some(request);
        Some(csr)
    }

    fn install(&self, certificate: &str) -> anyhow::Result<()> {
        let request = self.asked.lock().expect("no holder panics").take().context("no certificate was asked for")?;
        let mut files = self.files.lock().expect("no holder panics");
        let renewed = files.install(&request, certificate)?;
        *files = renewed;
        Ok(())
    }
}
