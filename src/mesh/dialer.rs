//! A node's way to its hub: connects, works through one session, and connects again, for ever.
//!
//! Each try resolves the hub's name anew and has its time limits; the wait between two grows, with jitter, and starts from
//! the beginning after a session that was welcomed. While there is no session whoever wants to send is told so at once.
//!
//! When this actor dies its session dies with it; the next one connects anew, and what was not acknowledged is sent again.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ractor::{Actor, ActorCell, ActorProcessingErr, ActorRef};
use ractor_cluster::RactorMessage;
use tokio::net::TcpStream;
use tokio::sync::{Notify, mpsc};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tracing::{info, warn};

use crate::clock::Clock;
use crate::config::sections::MeshSettings;
use crate::mesh::cluster::{Cluster, Link, LinkEvent};
use crate::mesh::gateway::Sessions;
use crate::mesh::node_files::NodeFiles;
use crate::mesh::stream::{Carried, REFUSED, end_switch, introduce, prepare};
use crate::mesh::uplink::{self, Ending, LINK_BROKE, Uplink};
use crate::model::time::Timestamp;
use crate::supervise::Task;
use crate::wire::link::Answer;

/// For each step of a connection: the name, the address, TLS, the carrier's own handshake.
const STEP_WITHIN: Duration = Duration::from_secs(5);
const BACKOFF_FIRST: Duration = Duration::from_millis(250);
const BACKOFF_AT_MOST: Duration = Duration::from_secs(5);
/// For a hub that says why it does not let this node in: it takes a person to change that.
const BACKOFF_REFUSED: Duration = Duration::from_secs(30);

pub struct Dialer;

#[derive(Debug, RactorMessage)]
pub enum DialerMsg {}

pub struct DialerArgs {
    pub hub: String,
    /// The node's own name, as its certificate has it.
    pub name: String,
    pub settings: MeshSettings,
    /// What to show and trust at the next connection; renewed while the node runs.
    pub tls: Arc<dyn Fn() -> anyhow::Result<Arc<rustls::ClientConfig>> + Send + Sync>,
    pub cluster: Cluster,
    pub links: mpsc::UnboundedReceiver<LinkEvent>,
    pub sessions: Arc<Sessions>,
    pub uplink: Arc<tokio::sync::Mutex<Uplink>>,
    pub clock: Clock,
    pub status: Arc<Mutex<DialerStatus>>,
    /// Called once the hub was told goodbye.
    pub left: Arc<Notify>,
}

/// How the link to the hub is doing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DialerStatus {
    pub connected_since: Option<Timestamp>,
    /// When the last session ended, or the process began.
    pub away_since: Option<Timestamp>,
    pub sessions: u64,
    pub attempts: u64,
    pub last_error: Option<String>,
}

impl Actor for Dialer {
    type Msg = DialerMsg;
    type State = Task;
    type Arguments = DialerArgs;

    async fn pre_start(&self, myself: ActorRef<DialerMsg>, args: DialerArgs) -> Result<Task, ActorProcessingErr> {
        let end = StopOnDrop(myself.get_cell());
        Ok(Task::spawn(async move {
            let _end = end;
            run(args).await;
        }))
    }
}

/// Ends the actor with its task: one that panicked must not leave it standing there.
pub struct StopOnDrop(pub ActorCell);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.stop(Some("its task ended".to_owned()));
    }
}

async fn run(mut args: DialerArgs) {
    let uplink = args.uplink.clone();
    let mut uplink = uplink.lock().await;
    args.status.lock().expect("no holder panics").away_since.get_or_insert(args.clock.now());
    let mut failures = 0u32;
    let mut told = String::new();
    let labels = AtomicU64::new(0);
    loop {
        args.status.lock().expect("no holder panics").attempts += 1;
        let attempt = connect(&args.hub, &args.name, &args.tls, args.settings.deadline);
        let reason = match while_away(&mut uplink, &told, attempt).await {
            Ok(stream) => {
                let label = format!("hub#{}", labels.fetch_add(1, Ordering::Relaxed));
                match session(&mut args, &mut uplink, stream, label).await {
                    Ending::Leaving => {
                        args.left.notify_one();
                        // The process ends this actor; ending by itself it would be started again.
                        return std::future::pending().await;
                    }
                    Ending::Welcomed(reason) => {
                        failures = 0;
                        told.clear();
                        reason
                    }
                    Ending::NotWelcomed(reason) => reason,
                }
            }
            Err(reason) => reason,
        };
        {
            let mut status = args.status.lock().expect("no holder panics");
            status.connected_since = None;
            status.away_since.get_or_insert(args.clock.now());
            status.last_error = Some(reason.clone());
        }
        let most = if reason.starts_with(REFUSED) { BACKOFF_REFUSED } else { BACKOFF_AT_MOST };
        let ceiling = BACKOFF_FIRST.saturating_mul(1 << failures.min(8)).min(most);
        let delay = ceiling.mul_f64(0.5 + 0.5 * rand::random::<f64>());
        failures += 1;
        // The same trouble again is told at ever longer gaps.
        if reason != told || failures.is_power_of_two() {
            warn!(hub = args.hub, attempt = failures, delay_ms = delay.as_millis() as u64, reason, "no link to the hub");
            told = reason;
        }
        let clock = args.clock.clone();
        while_away(&mut uplink, &told, clock.sleep(delay)).await;
    }
}

/// Does `work` while there is no session: batches are sent back at once, with the reason.
async fn while_away<T>(uplink: &mut Uplink, reason: &str, work: impl Future<Output = T>) -> T {
    let reason = if reason.is_empty() { "there is no link to the hub yet" } else { reason };
    let mut work = std::pin::pin!(work);
    loop {
        tokio::select! {
            done = &mut work => return done,
            Some(delivery) = uplink.end.deliveries.recv() => {
                let _ = delivery.answer.send(Answer::Later { reason: format!("no link to the hub: {reason}") });
            }
        }
    }
}

async fn connect(
    hub: &str,
    name: &str,
    tls: &Arc<dyn Fn() -> anyhow::Result<Arc<rustls::ClientConfig>> + Send + Sync>,
    unacknowledged: Duration,
) -> Result<TlsStream<TcpStream>, String> {
    let tls = tls().map_err(|err| format!("{err:#}"))?;
    let addresses = tokio::time::timeout(STEP_WITHIN, tokio::net::lookup_host(hub)).await;
    let addresses: Vec<_> = addresses
        .map_err(|_| format!("name of {hub} is not resolved within {} s", STEP_WITHIN.as_secs()))?
        .map_err(|err| format!("name of {hub} cannot be resolved: {err}"))?
        .collect();
    let tcp = tokio::time::timeout(STEP_WITHIN, TcpStream::connect(&addresses[..])).await;
    let tcp = tcp
        .map_err(|_| format!("{hub} does not answer within {} s", STEP_WITHIN.as_secs()))?
        .map_err(|err| format!("{hub} cannot be reached: {err}"))?;
    prepare(&tcp, unacknowledged).map_err(|err| format!("connection cannot be set up: {err}"))?;
    let stream = tokio::time::timeout(STEP_WITHIN, TlsConnector::from(tls).connect(NodeFiles::hub_name(), tcp)).await;
    let mut stream = stream
        .map_err(|_| format!("{hub} does not finish the TLS handshake within {} s", STEP_WITHIN.as_secs()))?
        .map_err(|err| format!("TLS with {hub} fails: {err}"))?;
    let let_in = tokio::time::timeout(STEP_WITHIN, introduce(&mut stream, name)).await;
    let_in.map_err(|_| format!("{hub} does not say within {} s whether this node may come in", STEP_WITHIN.as_secs()))??;
    Ok(stream)
}

async fn session(args: &mut DialerArgs, uplink: &mut Uplink, stream: TlsStream<TcpStream>, label: String) -> Ending {
    while args.links.try_recv().is_ok() {}
    let offers = args.sessions.await_offer();
    let (end, ended) = end_switch();
    args.cluster.hand_over(Box::new(Carried { head: Vec::new(), stream, label: label.clone(), ended }), false);
    // Whether the carrier has let go of the link already.
    let mut let_go = false;
    let ready = async {
        while let Some(event) = args.links.recv().await {
            match event {
                LinkEvent::Ready(link) if link.label == label => return Ok(link),
                LinkEvent::Gone(link) if link.label == label => {
                    let_go = true;
                    return Err("hub closed the link before it was ready".to_owned());
                }
                _ => {}
            }
        }
        Err("carrier ended".to_owned())
    };
    let ready: Result<Link, String> = tokio::time::timeout(STEP_WITHIN, ready)
        .await
        .unwrap_or_else(|_| Err(format!("hub does not let this node in within {} s", STEP_WITHIN.as_secs())));
    let carrier = ready.as_ref().ok().map(|link| link.session.clone());
    let ending = match ready {
        Err(reason) => Ending::NotWelcomed(reason),
        Ok(link) => {
            let status = args.status.clone();
            let clock = args.clock.clone();
            let welcomed = move || {
                let mut status = status.lock().expect("no holder panics");
                status.connected_since = Some(clock.now());
                status.away_since = None;
                status.sessions += 1;
                status.last_error = None;
            };
            let hub = args.hub.clone();
            uplink::run(uplink, &args.sessions, &link, offers, &mut args.links, &args.clock, move |what| {
                welcomed();
                info!(hub, heartbeat_ms = what.heartbeat_ms, deadline_ms = what.deadline_ms, "link to the hub stands");
            })
            .await
        }
    };
    let _ = end.send(true);
    // On a line that passes nothing the carrier would not notice for long.
    if let Some(carrier) = carrier {
        carrier.stop(Some("ended by the node".to_owned()));
    }
    // It lets go of it in its own time; a new session must not be taken for a second of the same node.
    let_go |= matches!(&ending, Ending::Welcomed(reason) if reason == LINK_BROKE);
    let gone = async {
        while let Some(event) = args.links.recv().await {
            if matches!(&event, LinkEvent::Gone(link) if link.label == label) {
                return;
            }
        }
    };
    if !let_go {
        let _ = tokio::time::timeout(STEP_WITHIN, gone).await;
    }
    ending
}
