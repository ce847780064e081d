//! A region's process on a machine of its own: the region, and its link to the hub over the mesh.
//!
//! It starts with the assignments of its last session, so that it checks even while the hub is away; what it makes waits
//! in the outbox. It ends in the same order as a hub: checks in flight are finished and sent, then the link is closed.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::Context;
use ractor::{Actor, ActorCell, ActorRef};
use tokio::sync::{Notify, watch};

use crate::caller::Caller;
use crate::clock::Clock;
use crate::config::sections::{MeshSettings, RegionSettings};
use crate::mesh::cluster::Cluster;
use crate::mesh::dialer::{Dialer, DialerArgs, DialerStatus};
use crate::mesh::gateway::{Gateway, Sessions};
use crate::mesh::hub_lost::{HubLost, HubLostArgs, HubLostStatus, Who};
use crate::mesh::uplink::{Renewal, Uplink, cached_assignments};
use crate::probe::trial::Trier;
use crate::region::{Drained, Region, RegionView};
use crate::supervise::{GroupStatus, Keeper, KeeperArgs, KeeperMsg, Wiring};
use crate::wire::link::in_process;

/// What a joined node is known by, and how it proves it.
#[derive(Clone)]
pub struct Membership {
    pub name: String,
    pub cookie: String,
    pub hub: String,
    pub tls: Arc<dyn Fn() -> anyhow::Result<Arc<rustls::ClientConfig>> + Send + Sync>,
    pub renewal: Arc<dyn Renewal>,
}

/// A running node.
pub struct Node {
    region: Region,
    keeper: ActorRef<KeeperMsg>,
    /// Of the node's own alert: apart, since it must work when the mesh does not.
    alert: Option<ActorRef<KeeperMsg>>,
    leaving: watch::Sender<bool>,
    /// Called once the hub was told goodbye.
    left: Arc<Notify>,
    pub link: Arc<Mutex<DialerStatus>>,
    pub group: Arc<Mutex<GroupStatus>>,
    pub hub_lost: Arc<Mutex<HubLostStatus>>,
}

impl Node {
    pub async fn start(settings: RegionSettings, mesh: MeshSettings, membership: Membership, clock: Clock) -> anyhow::Result<Node> {
        let (node_end, hub_end) = in_process();
        let cache = settings.data_dir.join("mesh").join("assignments");
        if let Some(assignments) = cached_assignments(&cache) {
            hub_end.assignments.send_replace(assignments);
        }
        let restart = settings.restart.clone();
        let (hub_lost, file) = (settings.hub_lost.clone(), settings.data_dir.join("mesh").join("hub-lost.json"));
        let (node, region_name) = (settings.node.to_string(), settings.name.to_string());
        let trier = Arc::new(Trier::new(settings.probe.clone(), settings.node.clone(), None, clock.clone()));
        let region = Region::start(settings, node_end, clock.clone()).await?;
        region.view().shared.latest.keep();
        let (leave, leaving) = watch::channel(false);
        let uplink = Uplink { end: hub_end, region: region.view(), cache, leaving, trier, renewal: membership.renewal.clone() };
        let link = Arc::new(Mutex::new(DialerStatus::default()));
        let group = Arc::new(Mutex::new(GroupStatus::default()));
        let hub_lost_status = Arc::new(Mutex::new(HubLostStatus::default()));
        let left = Arc::new(Notify::new());
        let uplink = Arc::new(tokio::sync::Mutex::new(uplink));
        let alert = match hub_lost.url {
            None => None,
            Some(url) => {
                let shared = region.view().shared;
                let args = HubLostArgs {
                    url,
                    after: hub_lost.after,
                    file,
                    who: Who { node, region: region_name, hub: membership.hub.clone() },
                    link: link.clone(),
                    waiting: Arc::new(move || shared.file.depth().results),
                    caller: Caller::new()?,
                    clock: clock.clone(),
                    status: hub_lost_status.clone(),
                };
                let (restart, clock) = (restart.clone(), clock.clone());
                let args = KeeperArgs { name: "hub_lost", wiring: alert_wiring(args), restart, clock, status: Arc::default() };
                Some(Actor::spawn(None, Keeper, args).await.context("keeper of the node's own alert cannot be started")?.0)
            }
        };
        let wired = Wired { membership, mesh, uplink, clock: clock.clone(), status: link.clone(), left: left.clone() };
        let wiring = wiring(wired);
        let args = KeeperArgs { name: "mesh", wiring, restart, clock, status: group.clone() };
        let (keeper, _) = Actor::spawn(None, Keeper, args).await.context("mesh's keeper cannot be started")?;
        Ok(Node { region, keeper, alert, leaving: leave, left, link, group, hub_lost: hub_lost_status })
    }

    pub fn view(&self) -> RegionView {
        self.region.view()
    }

    /// Finishes and sends what is under way, then says goodbye; within `limit`.
    pub async fn stop(self, limit: Duration) -> Drained {
        // A link that ends with its node is no hub that was lost.
        if let Some(alert) = self.alert {
            alert.stop(None);
        }
        let drained = self.region.stop(limit.mul_f64(0.8)).await;
        let _ = self.leaving.send(true);
        if self.link.lock().expect("no holder panics").connected_since.is_some() {
            let _ = tokio::time::timeout(limit.mul_f64(0.1), self.left.notified()).await;
        }
        let _ = self.keeper.stop_and_wait(None, Some(limit.mul_f64(0.1))).await;
        drained
    }
}

#[derive(Clone)]
struct Wired {
    membership: Membership,
    mesh: MeshSettings,
    uplink: Arc<tokio::sync::Mutex<Uplink>>,
    clock: Clock,
    status: Arc<Mutex<DialerStatus>>,
    left: Arc<Notify>,
}

fn alert_wiring(args: HubLostArgs) -> Wiring {
    Box::new(move |keeper| {
        let args = args.clone();
        Box::pin(async move {
            let (alert, _) = Actor::spawn_linked(None, HubLost, args, keeper).await?;
            Ok(vec![("hub_lost".to_owned(), alert.get_cell())])
        })
    })
}

fn wiring(wired: Wired) -> Wiring {
    Box::new(move |keeper| Box::pin(wire(wired.clone(), keeper)))
}

async fn wire(wired: Wired, keeper: ActorCell) -> anyhow::Result<Vec<(String, ActorCell)>> {
    let Wired { membership, mesh, uplink, clock, status, left } = wired;
    let sessions = Arc::new(Sessions::default());
    let (gateway, _) = Actor::spawn_linked(None, Gateway, sessions.clone(), keeper.clone()).await?;
    let (cluster, server, links) = Cluster::start(&membership.name, &membership.cookie, keeper.clone()).await?;
    let args = DialerArgs {
        hub: membership.hub,
        name: membership.name,
        settings: mesh,
        tls: membership.tls,
        cluster,
        links,
        sessions,
        uplink,
        clock,
        status,
        left,
    };
    let (dialer, _) = Actor::spawn_linked(None, Dialer, args, keeper).await?;
    Ok(vec![("gateway".to_owned(), gateway.get_cell()), ("cluster".to_owned(), server), ("dialer".to_owned(), dialer.get_cell())])
}
