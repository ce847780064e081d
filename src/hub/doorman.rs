//! Lets nodes in: listens, finds out by certificate who connects, and hands only those to the carrier that may come.
//!
//! Each connection is a task with time limits of its own, and their number is bounded, over all and for one address; beyond
//! it the oldest makes way. So one that stalls holds up nobody. A machine without a certificate may only join. A node that connects anew takes the place
//! of its old session, which is ended first, since the carrier would take the two for duplicates.
//!
//! When this actor dies its sessions end; nodes come again by themselves, and what was not acknowledged is sent again.

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::BoxFuture;
use ractor::{Actor, ActorProcessingErr, ActorRef};
use ractor_cluster::RactorMessage;
use rustls::pki_types::CertificateDer;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::AbortHandle;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tracing::{info, warn};

use crate::hub::member::{self, Desk, Peer};
use crate::mesh::cluster::{Cluster, Link, LinkEvent, cluster_name};
use crate::mesh::identity::Identity;
use crate::mesh::stream::{Carried, answer_introduction, check_name, end_switch, introduction, prepare};
use crate::model::id::{NodeName, RegionName};
use crate::supervise::Task;

const HANDSHAKES: usize = 256;
const HANDSHAKES_OF_ONE: usize = 32;
/// For TLS, and for the name after it.
const STEP_WITHIN: Duration = Duration::from_secs(5);
const JOIN_WITHIN: Duration = Duration::from_secs(20);
/// From the hand-over until the carrier is through with its own handshake.
const READY_WITHIN: Duration = Duration::from_secs(10);

pub type Identify = Box<dyn Fn(&CertificateDer<'_>) -> Result<Peer, String> + Send + Sync>;
pub type Join = Box<dyn Fn(TlsStream<TcpStream>, SocketAddr) -> BoxFuture<'static, Result<(), String>> + Send + Sync>;

/// Who knocks, and whether they may come in.
pub struct Gate {
    pub tls: Box<dyn Fn() -> Arc<rustls::ServerConfig> + Send + Sync>,
    /// Whom a certificate was made for, or why it opens nothing.
    pub identify: Identify,
    /// A machine without a certificate.
    pub join: Join,
}

pub struct Doorman;

#[derive(RactorMessage)]
pub enum DoormanMsg {
    Admitted(Box<Admitted>),
    Link(LinkEvent),
    Overdue(String),
    SessionEnded { label: String, reason: String },
}

/// A connection whose peer is known and may come in.
pub struct Admitted {
    peer: Peer,
    address: SocketAddr,
    head: Vec<u8>,
    stream: TlsStream<TcpStream>,
}

pub struct DoormanArgs {
    pub listener: Arc<TcpListener>,
    pub gate: Arc<Gate>,
    pub desk: Arc<Desk>,
    pub cluster: Cluster,
    pub links: Mutex<Option<mpsc::UnboundedReceiver<LinkEvent>>>,
}

pub struct DoormanState {
    args: DoormanArgs,
    connections: HashMap<String, Connection>,
    /// Waiting for the old session of the same node to end.
    waiting: HashMap<NodeName, Box<Admitted>>,
    labels: u64,
    _pumps: [Task; 2],
}

struct Connection {
    peer: Peer,
    node: NodeName,
    region: RegionName,
    address: SocketAddr,
    end: Arc<watch::Sender<bool>>,
    link: Option<Link>,
    session: Option<Task>,
    _overdue: Task,
}

impl Actor for Doorman {
    type Msg = DoormanMsg;
    type State = DoormanState;
    type Arguments = DoormanArgs;

    async fn pre_start(&self, myself: ActorRef<DoormanMsg>, args: DoormanArgs) -> Result<DoormanState, ActorProcessingErr> {
        let mut links = args.links.lock().expect("no holder panics").take().ok_or("links are taken")?;
        let doorman = myself.clone();
        let events = Task::spawn(async move {
            while let Some(event) = links.recv().await {
                let _ = doorman.cast(DoormanMsg::Link(event));
            }
        });
        let accept = Task::spawn(accept(args.listener.clone(), args.gate.clone(), args.desk.clone(), myself));
        Ok(DoormanState { args, connections: HashMap::new(), waiting: HashMap::new(), labels: 0, _pumps: [events, accept] })
    }

    async fn handle(&self, myself: ActorRef<DoormanMsg>, message: DoormanMsg, state: &mut DoormanState) -> Result<(), ActorProcessingErr> {
        match message {
            DoormanMsg::Admitted(admitted) => state.admitted(&myself, admitted),
            DoormanMsg::Link(LinkEvent::Opened(link)) => state.opened(link),
            DoormanMsg::Link(LinkEvent::Ready(link)) => state.ready(&myself, link),
            DoormanMsg::Link(LinkEvent::Gone(link)) => state.gone(&myself, &link.label),
            DoormanMsg::Overdue(label) => state.overdue(&label),
            DoormanMsg::SessionEnded { label, reason } => state.session_ended(&label, &reason),
        }
        Ok(())
    }
}

impl DoormanState {
    fn admitted(&mut self, myself: &ActorRef<DoormanMsg>, admitted: Box<Admitted>) {
        let node = &admitted.peer.identity.node;
        let held = self.connections.values().find(|connection| connection.node == *node);
        if let Some(held) = held {
            info!(node = %node, address = %admitted.address, before = %held.address, "node connects anew, its old session ends");
            held.close();
            self.waiting.insert(node.clone(), admitted);
            return;
        }
        self.hand_over(myself, *admitted);
    }

    fn hand_over(&mut self, myself: &ActorRef<DoormanMsg>, admitted: Admitted) {
        self.labels += 1;
        let label = format!("{}#{}", admitted.peer.identity.node, self.labels);
        let (end, ended) = end_switch();
        let (clock, doorman, late) = (self.args.desk.clock.clone(), myself.clone(), label.clone());
        let overdue = Task::spawn(async move {
            clock.sleep(READY_WITHIN).await;
            let _ = doorman.cast(DoormanMsg::Overdue(late));
        });
        let Admitted { peer, address, head, stream } = admitted;
        let Identity { node, region } = peer.identity.clone();
        self.connections
            .insert(label.clone(), Connection { peer, node, region, address, end, link: None, session: None, _overdue: overdue });
        self.args.cluster.hand_over(Box::new(Carried { head, stream, label, ended }), true);
    }

    fn opened(&mut self, link: Link) {
        if let Some(connection) = self.connections.get_mut(&link.label) {
            connection.link = Some(link);
        }
    }

    fn ready(&mut self, myself: &ActorRef<DoormanMsg>, link: Link) {
        let Some(connection) = self.connections.get_mut(&link.label) else { return };
        self.args.desk.counts.admitted.fetch_add(1, Ordering::Relaxed);
        let (desk, peer, address) = (self.args.desk.clone(), connection.peer.clone(), connection.address.to_string());
        let (doorman, label) = (myself.clone(), link.label.clone());
        connection.session = Some(Task::spawn(async move {
            let reason = member::run(desk, peer, address, link.node_id).await;
            let _ = doorman.cast(DoormanMsg::SessionEnded { label, reason });
        }));
    }

    fn gone(&mut self, myself: &ActorRef<DoormanMsg>, label: &str) {
        let Some(connection) = self.connections.remove(label) else { return };
        if connection.session.is_some() {
            // Its task is dropped with it, so it does not say so itself.
            let node = &connection.node;
            if let Some(session) = self.args.desk.membership.session_of(node) {
                self.args.desk.membership.leave(node, session, "link broke");
            }
            warn!(node = %node, region = %connection.region, address = %connection.address, reason = "link broke", "node lost");
        } else if connection.link.is_some() {
            info!(node = %connection.node, address = %connection.address, "link closed");
        }
        if let Some(next) = self.waiting.remove(&connection.node) {
            self.hand_over(myself, *next);
        }
    }

    fn overdue(&mut self, label: &str) {
        let Some(connection) = self.connections.get(label).filter(|connection| connection.session.is_none()) else { return };
        self.args.desk.counts.refused.fetch_add(1, Ordering::Relaxed);
        let reason = "it did not finish the carrier's handshake in time";
        warn!(node = %connection.node, address = %connection.address, reason, "node refused");
        connection.close();
    }

    fn session_ended(&mut self, label: &str, reason: &str) {
        let Some(connection) = self.connections.get_mut(label) else { return };
        connection.session = None;
        let (node, region, address) = (&connection.node, &connection.region, connection.address);
        if reason == "node left" {
            info!(node = %node, region = %region, address = %address, "node left");
        } else {
            warn!(node = %node, region = %region, address = %address, reason, "node lost");
        }
        connection.close();
    }
}

impl Connection {
    fn close(&self) {
        let _ = self.end.send(true);
        if let Some(link) = &self.link {
            link.session.stop(Some("ended by the hub".to_owned()));
        }
    }
}

async fn accept(listener: Arc<TcpListener>, gate: Arc<Gate>, desk: Arc<Desk>, doorman: ActorRef<DoormanMsg>) {
    let openings: Arc<Openings> = Arc::default();
    let gave_way = AtomicU64::new(0);
    loop {
        let (tcp, address) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(err) => {
                warn!("connection cannot be accepted: {err}");
                desk.clock.sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        if openings.make_room(address.ip()) {
            desk.counts.refused.fetch_add(1, Ordering::Relaxed);
            if gave_way.fetch_add(1, Ordering::Relaxed).is_multiple_of(100) {
                warn!(address = %address, "too many connections are being opened at once, the oldest of them is closed");
            }
        }
        let (gate, desk, doorman) = (gate.clone(), desk.clone(), doorman.clone());
        openings.run(address.ip(), async move {
            match knock(&gate, &desk, tcp, address).await {
                Ok(Some(admitted)) => {
                    let _ = doorman.cast(DoormanMsg::Admitted(Box::new(admitted)));
                }
                Ok(None) => {}
                Err(reason) => {
                    desk.counts.refused.fetch_add(1, Ordering::Relaxed);
                    warn!(address = %address, reason, "connection refused");
                }
            }
        });
    }
}

/// The connections in the opening, oldest first. Where there is no room for another, the oldest makes way: a node is through
/// within a moment, so that those that linger are not nodes.
#[derive(Default)]
struct Openings {
    running: Mutex<VecDeque<Opening>>,
    numbers: AtomicU64,
}

struct Opening {
    number: u64,
    address: IpAddr,
    /// Set once it is started.
    task: Option<AbortHandle>,
}

impl Openings {
    /// Whether one had to make way.
    fn make_room(&self, address: IpAddr) -> bool {
        let mut running = self.running.lock().expect("no holder panics");
        let of_one = running.iter().filter(|opening| opening.address == address).count();
        let oldest = match (of_one >= HANDSHAKES_OF_ONE, running.len() >= HANDSHAKES) {
            (true, _) => running.iter().position(|opening| opening.address == address),
            (false, true) => Some(0),
            (false, false) => None,
        };
        let oldest = oldest.and_then(|place| running.remove(place));
        drop(running);
        if let Some(task) = oldest.as_ref().and_then(|opening| opening.task.as_ref()) {
            task.abort();
        }
        oldest.is_some()
    }

    fn run(self: &Arc<Self>, address: IpAddr, work: impl Future<Output = ()> + Send + 'static) {
        let number = self.numbers.fetch_add(1, Ordering::Relaxed);
        self.running.lock().expect("no holder panics").push_back(Opening { number, address, task: None });
        let left = Left { openings: self.clone(), number };
        let task = tokio::spawn(async move {
            let _left = left;
            work.await;
        });
        let mut running = self.running.lock().expect("no holder panics");
        // One that was done at once is gone from the list.
        if let Some(opening) = running.iter_mut().rev().find(|opening| opening.number == number) {
            opening.task = Some(task.abort_handle());
        }
    }
}

struct Left {
    openings: Arc<Openings>,
    number: u64,
}

impl Drop for Left {
    fn drop(&mut self) {
        self.openings.running.lock().expect("no holder panics").retain(|opening| opening.number != self.number);
    }
}

/// Finds out who it is. `None`: a machine that joined, or tried to.
async fn knock(gate: &Gate, desk: &Desk, tcp: TcpStream, address: SocketAddr) -> Result<Option<Admitted>, String> {
    prepare(&tcp, desk.deadline).map_err(|err| format!("connection cannot be set up: {err}"))?;
    let tls = TlsAcceptor::from((gate.tls)());
    let mut stream = tokio::time::timeout(STEP_WITHIN, tls.accept(tcp))
        .await
        .map_err(|_| format!("TLS handshake took more than {} s", STEP_WITHIN.as_secs()))?
        .map_err(|err| format!("TLS handshake failed: {err}"))?;
    let certificate = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first()).map(|leaf| leaf.clone().into_owned());
    let Some(certificate) = certificate else {
        let joined = tokio::time::timeout(JOIN_WITHIN, (gate.join)(stream, address)).await;
        joined.map_err(|_| format!("joining took more than {} s", JOIN_WITHIN.as_secs()))??;
        return Ok(None);
    };
    let identified = (gate.identify)(&certificate);
    let opening = async {
        let claimed = introduction(&mut stream).await.map_err(|err| full(&err))?;
        let refusal = match &identified {
            Err(reason) => Some(reason.clone()),
            Ok(peer) if *peer.identity.node.0 != *claimed => {
                Some(format!("it calls itself {claimed}, its certificate says {}", peer.identity.node))
            }
            Ok(_) => None,
        };
        answer_introduction(&mut stream, refusal.as_deref()).await.map_err(|err| format!("connection broke: {err}"))?;
        if let Some(refusal) = refusal {
            return Err(refusal);
        }
        let peer = identified?;
        let head = check_name(&mut stream, &cluster_name(&peer.identity.node.0)).await.map_err(|err| full(&err))?;
        Ok((peer, head))
    };
    let opened = tokio::time::timeout(STEP_WITHIN, opening).await;
    let (peer, head) = opened.map_err(|_| format!("it did not say who it is within {} s", STEP_WITHIN.as_secs()))??;
    Ok(Some(Admitted { peer, address, head, stream }))
}

fn full(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}
