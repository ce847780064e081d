//! The hub's side of one session with a node: what the node sends is checked and passed on, what it is to do goes down.
//!
//! A node may have two deliveries under way, and speaks for itself alone: a batch in another's name is refused. One that
//! breaks the protocol loses its session, with the reason, and nobody else notices.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::future::BoxFuture;
use ractor::ActorRef;
use tokio::sync::{mpsc, oneshot};
use tracing::{debug, info, warn};

use crate::clock::Clock;
use crate::hub::membership::{Arrival, Membership, Seat};
use crate::mesh::gateway::{GatewayMsg, Received, Sessions, remote, send};
use crate::mesh::identity::Identity;
use crate::model::check::CheckResult;
use crate::model::id::{NodeName, RegionName};
use crate::probe::progress::{Step, Watcher};
use crate::probe::trial::Trial;
use crate::store::journal::LEAST_OFFSET;
use crate::wire::batch::{decode, decode_head};
use crate::wire::envelope::{
    Assembler, Bytes, Choice, Down, Hello, OPENING, Offer, PROGRESS_FROM, SessionToken, TRIES_FROM, Up, VERSIONS, Welcome, WireAnswer,
    WireAssignment,
};
use crate::wire::link::{Answer, Assignments, CheckNow, DELIVERY_BATCHES, Delivery, TryOut};
use crate::wire::trial::WireTrial;

/// For each step of the opening.
const STEP_WITHIN: Duration = Duration::from_secs(5);
/// Deliveries a node may have under way.
const CREDIT: usize = 2;
/// Checks asked for that are not answered.
const REQUESTS: usize = 4096;

/// Makes a certificate by a request.
pub type Renew = Box<dyn Fn(Peer, String) -> BoxFuture<'static, Result<String, String>> + Send + Sync>;
/// A delivery's number and what the hub says to it.
type Answered = (u64, Answer);

/// What sessions work with; the same for all.
pub struct Desk {
    pub membership: Arc<Membership>,
    pub sessions: Arc<Sessions>,
    pub deliveries: mpsc::Sender<Delivery>,
    /// States of services as a node saw them last, ahead of the record.
    pub snapshot: Box<dyn Fn(Vec<CheckResult>) + Send + Sync>,
    /// A new certificate for a node, by its request, or why not.
    pub renew: Renew,
    /// A node was heard of.
    pub seen: Box<dyn Fn(&NodeName) + Send + Sync>,
    pub heartbeat: Duration,
    pub deadline: Duration,
    pub clock: Clock,
    pub counts: Counts,
}

/// Who is at the far end, by its certificate.
#[derive(Clone, Debug)]
pub struct Peer {
    pub identity: Identity,
    /// Of the certificate.
    pub serial: String,
}

/// What was refused, since the start.
#[derive(Debug, Default)]
pub struct Counts {
    pub admitted: AtomicU64,
    pub refused: AtomicU64,
    /// Envelopes that could not be understood, or said what their sender may not say.
    pub violations: AtomicU64,
    pub silent: AtomicU64,
}

/// Someone who waits for a check.
struct Waiting {
    answer: oneshot::Sender<CheckResult>,
    watcher: Option<Watcher>,
}

struct Session {
    desk: Arc<Desk>,
    peer: Peer,
    node: NodeName,
    region: RegionName,
    gateway: ActorRef<GatewayMsg>,
    version: u8,
    token: SessionToken,
    under_way: usize,
    answers: (mpsc::Sender<Answered>, mpsc::Receiver<Answered>),
    renewed: (mpsc::Sender<Down>, mpsc::Receiver<Down>),
    requests: HashMap<u64, Waiting>,
    tries: HashMap<u64, oneshot::Sender<Result<Trial, String>>>,
    /// The number of the last question, whatever it was about.
    asked: u64,
    /// The program at the far end, as it calls its version.
    build: String,
}

/// Works through one session with the node of a certificate; returns why it ended.
pub async fn run(desk: Arc<Desk>, peer: Peer, address: String, node_id: u64) -> String {
    let token: SessionToken = rand::random();
    let mut received = desk.sessions.open(token);
    let Some(gateway) = find_gateway(&desk.clock, node_id).await else { return "node has no gateway".to_owned() };
    let offer = Offer { lowest: VERSIONS.0, highest: VERSIONS.1, build: env!("CARGO_PKG_VERSION").to_owned() };
    send(&gateway, OPENING, &token, &offer);
    let version = match next::<Choice>(&mut received, OPENING).await {
        Ok(Choice::Version(version)) if (VERSIONS.0..=VERSIONS.1).contains(&version) => version,
        Ok(Choice::Version(version)) => return desk.violation(format!("node chose version {version}, which was not offered")),
        Ok(Choice::Unfit { lowest, highest, build }) => {
            let ours = format!("this hub {} to {}", VERSIONS.0, VERSIONS.1);
            return desk.violation(format!("node {build} speaks versions {lowest} to {highest} of the protocol, {ours}"));
        }
        Err(reason) => return desk.violation(reason),
    };
    let answers = mpsc::channel(CREDIT);
    let mut session = Session {
        desk: desk.clone(),
        node: peer.identity.node.clone(),
        region: peer.identity.region.clone(),
        peer,
        gateway,
        version,
        token,
        under_way: 0,
        answers,
        renewed: mpsc::channel(1),
        requests: HashMap::new(),
        tries: HashMap::new(),
        asked: 0,
        build: String::new(),
    };
    let hello = match next::<Up>(&mut received, version).await {
        Ok(Up::Hello(hello)) => hello,
        Ok(_) => return session.refuse("node speaks before it says hello".to_owned()),
        Err(reason) => return session.refuse(reason),
    };
    let claimed = (NodeName::from(hello.node.as_str()), RegionName::from(hello.region.as_str()));
    if claimed != (session.node.clone(), session.region.clone()) {
        let certified = format!("{} of region {}", session.node, session.region);
        return session.refuse(format!("node says it is {} of region {}, its certificate says {certified}", claimed.0, claimed.1));
    }
    session.work(&mut received, hello, address).await
}

/// The far gateway is known once the first exchange of the carrier is through.
async fn find_gateway(clock: &Clock, node_id: u64) -> Option<ActorRef<GatewayMsg>> {
    for _ in 0..20 {
        if let Some(gateway) = remote(node_id) {
            return Some(gateway);
        }
        clock.sleep(Duration::from_millis(50)).await;
    }
    None
}

/// The next message of the opening.
async fn next<T: serde::de::DeserializeOwned>(received: &mut Received, version: u8) -> Result<T, String> {
    let frame = match tokio::time::timeout(STEP_WITHIN, received.recv()).await {
        Ok(Some(frame)) => frame,
        Ok(None) => return Err("node sent more than it may".to_owned()),
        Err(_) => return Err(format!("node says nothing within {} s", STEP_WITHIN.as_secs())),
    };
    match Assembler::default().take(&frame, version) {
        Ok(Some(message)) => Ok(message),
        Ok(None) => Err("a message of the opening is cut into pieces".to_owned()),
        Err(err) => Err(format!("node cannot be understood: {err}")),
    }
}

impl Desk {
    fn violation(&self, reason: String) -> String {
        self.counts.violations.fetch_add(1, Ordering::Relaxed);
        reason
    }
}

impl Session {
    async fn work(&mut self, received: &mut Received, hello: Hello, address: String) -> String {
        let desk = self.desk.clone();
        self.build.clone_from(&hello.build);
        let arrival = Arrival {
            node: self.node.clone(),
            region: self.region.clone(),
            local: false,
            address: Some(address),
            build: Some(hello.build),
            boot: Some(hello.boot),
            clock_offset_us: Some(hello.now_us - desk.clock.now().0),
        };
        let mut seat = desk.membership.join(arrival);
        let (node, region) = (self.node.clone(), self.region.clone());
        info!(node = %node, region = %region, boot = hello.boot, runs = hello.generation, "link of a node stands");
        let (heartbeat_ms, deadline_ms) = (desk.heartbeat.as_millis() as u32, desk.deadline.as_millis() as u32);
        self.send(&Down::Welcome(Welcome { heartbeat_ms, deadline_ms }));
        let reason = self.serve(received, &mut seat).await;
        desk.membership.leave(&node, seat.session, &reason);
        reason
    }

    async fn serve(&mut self, received: &mut Received, seat: &mut Seat) -> String {
        let desk = self.desk.clone();
        let clock = desk.clock.clone();
        let mut assembler = Assembler::default();
        let first = seat.assignments.borrow_and_update().clone();
        if first.generation > 0 {
            self.assign(&first);
        }
        let mut heard = clock.steady();
        let mut next_ping = heard;
        let look = (desk.deadline / 8).min(desk.heartbeat).max(Duration::from_millis(20));
        let mut tick = std::pin::pin!(clock.sleep(Duration::ZERO));
        loop {
            tokio::select! {
                frame = received.recv() => {
                    let Some(frame) = frame else { return self.refuse("node sends more than it may".to_owned()) };
                    heard = clock.steady();
                    match assembler.take::<Up>(&frame, self.version) {
                        Ok(None) => {}
                        Ok(Some(Up::Goodbye)) => return "node left".to_owned(),
                        Ok(Some(message)) => if let Err(reason) = self.take(message, seat.session) {
                            return self.refuse(reason);
                        },
                        Err(err) => return self.refuse(format!("node cannot be understood: {err}")),
                    }
                }
                Some((delivery, answer)) = self.answers.1.recv() => {
                    self.under_way -= 1;
                    self.send(&Down::Answer { delivery, answer: answer.into() });
                }
                Some(answer) = self.renewed.1.recv() => {
                    if let Down::NotRenewed { reason } = &answer {
                        warn!(node = %self.node, reason, "certificate of a node is not renewed");
                    }
                    self.send(&answer);
                }
                changed = seat.assignments.changed() => {
                    if changed.is_ok() {
                        let assignments = seat.assignments.borrow_and_update().clone();
                        self.assign(&assignments);
                    }
                }
                Some(request) = seat.requests.recv() => self.check_now(request),
                Some(wanted) = seat.tries.recv() => self.try_out(wanted),
                _ = seat.cut.changed() => {
                    let reason = seat.cut.borrow().clone().unwrap_or_else(|| "hub ends the session".to_owned());
                    self.send(&Down::Refused { reason: reason.clone() });
                    // Time for the carrier to write it.
                    clock.sleep(Duration::from_millis(50)).await;
                    return reason;
                }
                () = &mut tick => {
                    let now = clock.steady();
                    if now.saturating_sub(heard) > desk.deadline {
                        desk.counts.silent.fetch_add(1, Ordering::Relaxed);
                        return format!("silent for {} ms", now.saturating_sub(heard).as_millis());
                    }
                    if now >= next_ping {
                        next_ping = now + desk.heartbeat;
                        self.send(&Down::Ping { sent_us: clock.now().0 });
                    }
                    tick.set(clock.sleep(look));
                }
            }
        }
    }

    /// One message of the node; what breaks the protocol ends the session.
    fn take(&mut self, message: Up, session: u64) -> Result<(), String> {
        match message {
            Up::Deliver { delivery, batches } => self.deliver(delivery, batches)?,
            Up::Pong { sent_us, received_us, replied_us } => {
                let now = self.desk.clock.now().0;
                // As in RFC 5905 §8.
                let round_trip = (now - sent_us) - (replied_us - received_us);
                let offset = ((received_us - sent_us) + (replied_us - now)) / 2;
                if round_trip >= 0 {
                    self.desk.membership.heard_pong(&self.node, session, round_trip, offset);
                }
            }
            Up::Status(status) => {
                (self.desk.seen)(&self.node);
                self.desk.membership.heard_status(&self.node, session, status);
            }
            Up::Snapshot { batch } => (self.desk.snapshot)(self.results(&batch)?),
            Up::Checked { request, result } => {
                let waiting = self.requests.remove(&request);
                if let (Some(waiting), Some(batch)) = (waiting, result)
                    && let Some(result) = self.results(&batch)?.into_iter().next()
                {
                    let _ = waiting.answer.send(result);
                }
            }
            Up::Progress { request, step } => {
                if let Some(watcher) = self.requests.get(&request).and_then(|waiting| waiting.watcher.as_ref()) {
                    let step = Step::try_from(step).map_err(|err| format!("node's progress cannot be read: {err}"))?;
                    watcher.send_replace(Some(step));
                }
            }
            Up::Tried { request, outcome } => {
                if let Some(waiting) = self.tries.remove(&request) {
                    let _ = waiting.send(match outcome {
                        Ok(trial) => Ok(self.trial(&trial)?),
                        Err(reason) => Err(reason),
                    });
                }
            }
            Up::Renew { request } => {
                let (renewal, done) = ((self.desk.renew)(self.peer.clone(), request), self.renewed.0.clone());
                tokio::spawn(async move {
                    let answer = match renewal.await {
                        Ok(certificate) => Down::Renewed { certificate },
                        Err(reason) => Down::NotRenewed { reason },
                    };
                    let _ = done.send(answer).await;
                });
            }
            Up::Hello(_) => return Err("node says hello twice".to_owned()),
            Up::Goodbye => {}
        }
        Ok(())
    }

    fn deliver(&mut self, delivery: u64, batches: Vec<Bytes>) -> Result<(), String> {
        if self.under_way >= CREDIT {
            return Err(format!("node has more than {CREDIT} deliveries under way"));
        }
        if batches.is_empty() || batches.len() > DELIVERY_BATCHES {
            return Err(format!("a delivery of {} batches", batches.len()));
        }
        for batch in &batches {
            // One that cannot be read is refused by the store, alone; one in another's name is a lie.
            if let Ok(head) = decode_head(&batch.0)
                && (head.node() != self.node || head.region() != self.region)
            {
                return Err(format!("node sends a batch of node {} of region {}", head.node(), head.region()));
            }
        }
        self.under_way += 1;
        let (answer, answered) = oneshot::channel();
        let batches = batches.into_iter().map(|batch| batch.0.into()).collect();
        let (deliveries, answers) = (self.desk.deliveries.clone(), self.answers.0.clone());
        let clock_offset = self.desk.membership.clock_offset_us(&self.node);
        let delivered = Delivery { batches, clock_offset, answer };
        tokio::spawn(async move {
            let answer = match deliveries.send(delivered).await {
                Ok(()) => answered.await.ok(),
                Err(_) => None,
            };
            let answer = answer.unwrap_or_else(|| Answer::Later { reason: "hub is being started again".to_owned() });
            let _ = answers.send((delivery, answer)).await;
        });
        Ok(())
    }

    /// Asks the node for a check; one whose version can is asked for its steps, too, where they are wanted.
    fn check_now(&mut self, wanted: CheckNow) {
        self.requests.retain(|_, waiting| !waiting.answer.is_closed());
        if self.requests.len() >= REQUESTS {
            return;
        }
        self.asked += 1;
        let (request, service) = (self.asked, wanted.service.0);
        let watched = wanted.watcher.is_some() && self.version >= PROGRESS_FROM;
        self.requests.insert(request, Waiting { answer: wanted.answer, watcher: wanted.watcher });
        self.send(&if watched { Down::WatchNow { request, service } } else { Down::CheckNow { request, service } });
    }

    /// Asks the node to try a service, where its version can.
    fn try_out(&mut self, wanted: TryOut) {
        if self.version < TRIES_FROM {
            let (region, node) = (&self.region, &self.node);
            let cannot =
                format!("region {region} runs version {} (node {node}), which cannot try services; bring it up to date", self.build);
            let _ = wanted.answer.send(Err(cannot));
            return;
        }
        self.tries.retain(|_, waiting| !waiting.is_closed());
        self.asked += 1;
        self.tries.insert(self.asked, wanted.answer);
        self.send(&Down::Try { request: self.asked, document: Bytes(wanted.document.as_bytes().to_vec()) });
    }

    fn trial(&self, wire: &WireTrial) -> Result<Trial, String> {
        let result = self.results(&wire.result)?.into_iter().next().ok_or("node sends a trial without a result")?;
        let verdicts = wire.verdicts().map_err(|err| format!("node's trial cannot be read: {err}"))?;
        Ok(Trial { result, verdicts })
    }

    /// The results of a batch that is not stored, on the hub's time line.
    fn results(&self, batch: &Bytes) -> Result<Vec<CheckResult>, String> {
        let (head, mut results) = decode(&batch.0).map_err(|err| format!("node's results cannot be read: {err}"))?;
        if head.node() != self.node || head.region() != self.region {
            return Err(format!("node sends results of node {} of region {}", head.node(), head.region()));
        }
        let offset = self.desk.membership.clock_offset_us(&self.node).filter(|offset| offset.unsigned_abs() >= LEAST_OFFSET);
        if let Some(offset) = offset {
            results.iter_mut().for_each(|result| result.set_clock_offset(offset));
        }
        Ok(results)
    }

    fn assign(&self, assignments: &Assignments) {
        let services: Vec<WireAssignment> = assignments
            .services
            .iter()
            .map(|service| WireAssignment {
                id: service.id.0,
                revision: service.revision,
                document: service.document.to_string(),
                checked_until_us: service.checked_until.map(|until| until.0),
            })
            .collect();
        debug!(node = %self.node, generation = assignments.generation, services = services.len(), "assignments sent");
        self.send(&Down::Assignments { generation: assignments.generation, services });
    }

    fn refuse(&self, reason: String) -> String {
        self.send(&Down::Refused { reason: reason.clone() });
        self.desk.violation(reason)
    }

    fn send<T: serde::Serialize>(&self, message: &T) {
        send(&self.gateway, self.version, &self.token, message);
    }
}

impl From<Answer> for WireAnswer {
    fn from(answer: Answer) -> WireAnswer {
        match answer {
            Answer::Stored { boot, through } => WireAnswer::Stored { boot: boot.0, through },
            Answer::Later { reason } => WireAnswer::Later { reason },
            Answer::Refused { place, reason } => WireAnswer::Refused { place: place as u32, reason },
        }
    }
}
