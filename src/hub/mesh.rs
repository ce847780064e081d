//! The hub's end of the mesh: the port nodes dial, the carrier, and who lets them in.
//!
//! The port is bound once, before anything starts, so that one that is taken is told in one line; the actors behind it
//! are wired anew when one of them fails, and nodes come again.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::Context;
use ractor::{Actor, ActorCell, ActorRef};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tracing::{debug, info};

use crate::clock::Clock;
use crate::config::Config;
use crate::config::sections::RestartSettings;
use crate::hub::doorman::{Doorman, DoormanArgs, Gate};
use crate::hub::member::{Counts, Desk, Peer};
use crate::hub::membership::Membership;
use crate::hub::verdicts::Verdicts;
use crate::mesh::authority::Authority;
use crate::mesh::cluster::Cluster;
use crate::mesh::gateway::Gateway;
use crate::mesh::identity::CertificateFacts;
use crate::mesh::joining::desk::{JoinDesk, JoinDeskArgs, Links, PATIENCE, answer};
use crate::model::id::NodeName;
use crate::store::nodes::{Nodes, Standing};
use crate::supervise::{GroupStatus, Keeper, KeeperArgs, KeeperMsg, Task, Wiring};
use crate::wire::link::Delivery;

const REMEMBER_EVERY: Duration = Duration::from_secs(60);

/// A hub's own name within the cluster.
pub const HUB: &str = "hub";

/// What a hub that takes nodes knows them by.
pub struct Papers {
    pub authority: Arc<Authority>,
    pub nodes: Arc<Nodes>,
    pub join_secret: Option<String>,
}

/// Who may come in, by the hub's authority and its list of nodes.
fn gate(papers: Papers, membership: Arc<Membership>, clock: Clock) -> (Gate, Arc<JoinDesk>) {
    let Papers { authority, nodes, join_secret } = papers;
    let links = Arc::new(Seats(membership));
    let reserved = vec![NodeName::from(HUB)];
    let args = JoinDeskArgs { authority: authority.clone(), nodes: nodes.clone(), join_secret, reserved, links, clock, patience: PATIENCE };
    let desk = Arc::new(JoinDesk::new(args));
    let joining = desk.clone();
    let gate = Gate {
        tls: Box::new(move || authority.server_config()),
        identify: Box::new(move |certificate| {
            let CertificateFacts { identity, serial, .. } = CertificateFacts::read(certificate).map_err(|err| err.to_string())?;
            let reason = match nodes.standing(&identity, &serial) {
                Standing::Good => return Ok(Peer { identity, serial }),
                Standing::Revoked => "was revoked",
                Standing::Replaced => "has joined anew, and this is not its newest certificate",
                Standing::OtherRegion => "belongs to another region now",
                Standing::Unknown => "is not known to this hub",
            };
            Err(format!("node {} of region {} {reason}", identity.node, identity.region))
        }),
        join: Box::new(move |stream, _| {
            let desk = joining.clone();
            Box::pin(async move { answer(stream, &desk).await.map(drop).map_err(|err| err.to_string()) })
        }),
    };
    (gate, desk)
}

/// The links there are, as joining asks for them.
struct Seats(Arc<Membership>);

impl Links for Seats {
    fn is_living(&self, node: &NodeName) -> bool {
        self.0.session_of(node).is_some()
    }

    fn replaced(&self, node: &NodeName) {
        self.0.cut(node, "the node has joined anew");
    }
}

/// The mesh of a running hub.
pub struct Mesh {
    keeper: ActorRef<KeeperMsg>,
    pub desk: Arc<Desk>,
    /// The address nodes dial in fact; its port was chosen by the system where none was given.
    pub address: SocketAddr,
    _remember: Task,
}

/// What the mesh of a hub hands on to.
pub struct Stages {
    pub membership: Arc<Membership>,
    pub deliveries: mpsc::Sender<Delivery>,
    pub verdicts: Arc<Verdicts>,
}

impl Mesh {
    /// Takes nodes in, those that have joined before and those that will.
    pub async fn open(
        config: &Config,
        listen: SocketAddr,
        papers: Papers,
        stages: Stages,
        clock: &Clock,
        status: Arc<Mutex<GroupStatus>>,
    ) -> anyhow::Result<Mesh> {
        let Stages { membership, deliveries, verdicts } = stages;
        let nodes = papers.nodes.clone();
        for record in nodes.list().into_iter().filter(|record| record.revoked_at.is_none()) {
            membership.expect(record.identity.node, record.identity.region);
        }
        let cookie = papers.authority.cookie().to_owned();
        let (gate, joining) = gate(papers, membership.clone(), clock.clone());
        let (seen, now) = (nodes.clone(), clock.clone());
        let desk = Desk {
            membership,
            sessions: Arc::default(),
            deliveries,
            snapshot: Box::new(move |results| verdicts.fold_snapshot(&results)),
            renew: Box::new(move |peer, request| {
                let joining = joining.clone();
                Box::pin(async move {
                    let renewed = joining.renew(&peer.identity, &peer.serial, &request).await;
                    renewed.map(|issued| issued.pem).map_err(|err| err.to_string())
                })
            }),
            seen: Box::new(move |node| seen.seen(node, now.now())),
            heartbeat: config.mesh.heartbeat,
            deadline: config.mesh.deadline,
            clock: clock.clone(),
            counts: Counts::default(),
        };
        Mesh::start(listen, gate, desk, cookie, nodes, config.region.restart.clone(), status).await
    }

    async fn start(
        listen: SocketAddr,
        gate: Gate,
        desk: Desk,
        cookie: String,
        nodes: Arc<Nodes>,
        restart: RestartSettings,
        status: Arc<Mutex<GroupStatus>>,
    ) -> anyhow::Result<Mesh> {
        let listener = TcpListener::bind(listen).await.with_context(|| format!("mesh cannot listen on {listen}"))?;
        let address = listener.local_addr().context("mesh's address is not known")?;
        let (gate, desk) = (Arc::new(gate), Arc::new(desk));
        let clock: Clock = desk.clock.clone();
        let wired = Wired { listener: Arc::new(listener), gate, desk: desk.clone(), cookie };
        let wiring: Wiring = Box::new(move |keeper| Box::pin(wire(wired.clone(), keeper)));
        let args = KeeperArgs { name: "mesh", wiring, restart, clock, status };
        let (keeper, _) = Actor::spawn(None, Keeper, args).await.context("mesh's keeper cannot be started")?;
        info!(%address, "nodes may come in");
        let remember = Task::spawn(remember(nodes, desk.clock.clone()));
        Ok(Mesh { keeper, desk, address, _remember: remember })
    }

    /// Ends the sessions, told to the nodes, and lets nobody in any more.
    pub async fn stop(self, limit: Duration) {
        self.desk.membership.close("the hub ends");
        // The word has to reach the nodes before the carrier is gone.
        self.desk.clock.sleep(limit / 4).await;
        let _ = self.keeper.stop_and_wait(None, Some(limit / 2)).await;
    }
}

/// Writes down, now and then, when nodes were last heard of.
async fn remember(nodes: Arc<Nodes>, clock: Clock) {
    loop {
        clock.sleep(REMEMBER_EVERY).await;
        if let Err(err) = nodes.store_seen().await {
            debug!("when nodes were last heard of cannot be stored now: {err}");
        }
    }
}

#[derive(Clone)]
struct Wired {
    listener: Arc<TcpListener>,
    gate: Arc<Gate>,
    desk: Arc<Desk>,
    cookie: String,
}

async fn wire(wired: Wired, keeper: ActorCell) -> anyhow::Result<Vec<(String, ActorCell)>> {
    let Wired { listener, gate, desk, cookie } = wired;
    let (gateway, _) = Actor::spawn_linked(None, Gateway, desk.sessions.clone(), keeper.clone()).await?;
    let (cluster, server, links) = Cluster::start(HUB, &cookie, keeper.clone()).await?;
    let args = DoormanArgs { listener, gate, desk, cluster, links: Mutex::new(Some(links)) };
    let (doorman, _) = Actor::spawn_linked(None, Doorman, args, keeper).await?;
    Ok(vec![("gateway".to_owned(), gateway.get_cell()), ("cluster".to_owned(), server), ("doorman".to_owned(), doorman.get_cell())])
}
