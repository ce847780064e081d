//! Wires the monitor's own health: what there is to look at, the actor that has it done, and those who are told.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use anyhow::Context;
use ractor::{Actor, ActorRef};
use tokio::sync::mpsc;
use tracing::debug;

use crate::api::metrics::Metrics;
use crate::config::Config;
use crate::hub::membership::NodeInfo;
use crate::hub::records::Records;
use crate::hub::tree::Tree;
use crate::mesh::authority::Authority;
use crate::model::alert::CauseMove;
use crate::model::id::NodeName;
use crate::model::time::Timestamp;
use crate::region::supervisor::ProberLife;
use crate::store::endpoints::EndpointHours;
use crate::store::system::SystemRecords;
use crate::supervise::{Keeper, KeeperArgs, KeeperMsg, Task};
use crate::system::dependency::dependencies;
use crate::system::desk::Desk;
use crate::system::look::{Cluster, Folders, Node, Sources};
use crate::system::monitor::{SystemMonitor, SystemMonitorArgs};

/// The desk, which is asked by the API.
pub fn desk(
    config: &Config,
    records: &Records,
    tree: &Tree,
    (endpoints, metrics): (&Arc<EndpointHours>, &Arc<Metrics>),
    authority: Option<&Authority>,
    moves: mpsc::UnboundedSender<CauseMove>,
) -> anyhow::Result<Arc<Desk>> {
    let clock = &tree.clock;
    let own_store = config.store.url.is_none();
    let seen = tree.clone();
    let sources = Sources {
        records: SystemRecords::new(records.store.database.clone(), clock.clone()),
        store: records.store.clone(),
        endpoints: endpoints.clone(),
        nodes: records.nodes.clone(),
        cluster: Arc::new(move || cluster(&seen)),
        own_certificates: authority.map(Authority::ends).unwrap_or_default(),
        folders: Folders {
            data: if own_store { config.store.data_dir.clone() } else { config.hub.data_dir.clone() },
            store: own_store.then(|| config.store.data_dir.join("db")),
            logs: config.log.dir.clone(),
        },
        clock: clock.clone(),
    };
    let dependencies = dependencies(config, &records.store.database, clock)?;
    Ok(Arc::new(Desk::new(config.system.clone(), dependencies, sources, moves, metrics.clone())))
}

/// A group of its own: whatever becomes of it, results are taken in and verdicts fall.
pub async fn start(config: &Config, desk: Arc<Desk>, tree: &Tree) -> anyhow::Result<ActorRef<KeeperMsg>> {
    let monitor = SystemMonitorArgs { desk, clock: tree.clock.clone(), status: tree.system_monitor.clone() };
    let args = KeeperArgs {
        name: "system",
        wiring: Box::new(move |keeper| {
            let monitor = monitor.clone();
            Box::pin(async move {
                let (monitor, _) = Actor::spawn_linked(None, SystemMonitor, monitor, keeper).await?;
                Ok(vec![("system_monitor".to_owned(), monitor.get_cell())])
            })
        }),
        restart: config.region.restart.clone(),
        clock: tree.clock.clone(),
        status: tree.system.clone(),
    };
    Ok(Actor::spawn(None, Keeper, args).await.context("keeper of the system monitor cannot be started")?.0)
}

/// Takes causes while nobody else does.
pub fn note_moves(mut moves: mpsc::UnboundedReceiver<CauseMove>) -> Task {
    Task::spawn(async move {
        while let Some(told) = moves.recv().await {
            debug!(?told, "cause told");
        }
    })
}

fn cluster(tree: &Tree) -> Cluster {
    let restarts = |group: &std::sync::Mutex<crate::supervise::GroupStatus>| group.lock().expect("no holder panics").restarts;
    let groups = [&tree.group, &tree.analyst, &tree.digests, &tree.mesh, &tree.system];
    let region = tree.region.lock().expect("no holder panics").clone();
    let mut quarantined = Vec::new();
    let mut nodes: Vec<Node> = tree.membership.nodes().into_iter().map(|(name, info)| node(&name, info)).collect();
    if let Some(region) = region {
        let probers = region.probers.lock().expect("no holder panics");
        quarantined.extend(
            probers
                .probers
                .values()
                .filter(|prober| matches!(prober.state, ProberLife::Quarantined { .. }))
                .map(|prober| prober.name.to_string()),
        );
        let name = region.shared.settings.node.to_string();
        // What this process knows itself is newer than what it told itself.
        if let Some(own) = nodes.iter_mut().find(|node| node.name == name) {
            let (counts, depth) = (&region.shared.counts, region.shared.file.depth());
            (own.outbox_results, own.outbox_bytes, own.outbox_oldest) = (depth.results, depth.bytes, depth.oldest);
            (own.quarantined, own.services) = (counts.quarantined.load(Relaxed), probers.probers.len() as u64);
            (own.lag_p50_ms, own.lag_p99_ms) = counts.lag.lately(region.shared.clock.steady());
        }
    }
    Cluster {
        nodes,
        regions_silent: tree.membership.silent().into_keys().collect(),
        restarts: groups.into_iter().map(|group| restarts(group)).sum(),
        quarantined,
    }
}

fn node(name: &NodeName, info: NodeInfo) -> Node {
    let status = info.status.unwrap_or_default();
    let offset_us = info.clock_offset_us.unwrap_or(0);
    Node {
        name: name.to_string(),
        region: info.region,
        connected: info.connected,
        local: info.local,
        blind: status.blind,
        services: info.assigned_services,
        restarts: status.restarts,
        quarantined: status.quarantined,
        outbox_results: status.outbox_results,
        outbox_bytes: status.outbox_bytes,
        outbox_oldest: status.outbox_oldest_us.map(|oldest| Timestamp(oldest.saturating_sub(offset_us))),
        clock_offset_ms: info.clock_offset_us.map(|us| us as f64 / 1e3),
        lag_p50_ms: None,
        lag_p99_ms: status.lag_p99_ms,
        checks_per_s: info.checks_per_s,
    }
}
