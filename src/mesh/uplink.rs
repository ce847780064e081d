//! A node's side of one session: what the region wants to send goes up, what the hub says comes down.
//!
//! After an outage the newest state of each service goes first, so that the hub's verdicts are right at once; the record
//! follows in its order. As long as much of it is waiting, newer states go ahead of it each second.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ractor::ActorRef;
use tokio::sync::{mpsc, oneshot, watch};
use tracing::{debug, error, info, warn};

use crate::clock::Clock;
use crate::mesh::cluster::{Link, LinkEvent};
use crate::mesh::gateway::{GatewayMsg, Received, Sessions, remote, send};
use crate::mesh::private_file::write_private;
use crate::model::check::CheckResult;
use crate::model::id::{Boot, ServiceId};
use crate::model::time::Timestamp;
use crate::probe::progress::{Step, next_step};
use crate::probe::trial::{Trial, Trier};
use crate::region::RegionView;
use crate::region::supervisor::read_document;
use crate::wire::batch::{BatchHead, encode};
use crate::wire::envelope::{
    Assembler, Bytes, Choice, Down, Hello, NodeStatus, OPENING, Offer, SessionToken, Up, VERSIONS, Welcome, WireAnswer, WireAssignment,
    choose, session_of,
};
use crate::wire::link::{Answer, Assignment, Assignments, CheckNow, HubEnd};
use crate::wire::trial::WireTrial;

/// For the opening, step by step.
const OPENING_WITHIN: Duration = Duration::from_secs(5);
/// An outbox whose oldest batch is older works off what waited there.
const BACKLOG_FROM: Duration = Duration::from_secs(2);
const SNAPSHOT_EVERY: Duration = Duration::from_secs(1);
/// How often a session looks whether the certificate is due.
const RENEWAL_EVERY: Duration = Duration::from_secs(3600);
/// Results a snapshot message holds at most.
const SNAPSHOT_RESULTS: usize = 500;

/// Why a session ended whose link the carrier has let go of.
pub const LINK_BROKE: &str = "link broke";

/// What outlives the sessions of a node.
pub struct Uplink {
    /// The far end of the region's link.
    pub end: HubEnd,
    pub region: RegionView,
    /// Where the assignments are kept for a start without the hub.
    pub cache: PathBuf,
    /// True once the process is about to end.
    pub leaving: watch::Receiver<bool>,
    /// Checks what is asked for without being kept.
    pub trier: Arc<Trier>,
    /// Makes a request for a new certificate where one is due, and takes what comes of it.
    pub renewal: Arc<dyn Renewal>,
}

/// A node's certificate, as a session renews it.
pub trait Renewal: Send + Sync {
    /// A certificate request, if it is time for one.
    fn request(&self) -> Option<String>;
    fn install(&self, certificate: &str) -> anyhow::Result<()>;
}

#[derive(Debug)]
pub enum Ending {
    /// The process ends.
    Leaving,
    /// The session stood, and ended for this reason.
    Welcomed(String),
    /// There never was one.
    NotWelcomed(String),
}

/// What comes of a request.
enum Checked {
    /// It is under way.
    Step(Step),
    Done(Option<Box<CheckResult>>),
}

/// A request and how far its check is.
type Told = (u64, Checked);
/// A request and what came of it.
type Tried = (u64, Result<Trial, String>);

struct Session<'a> {
    uplink: &'a mut Uplink,
    gateway: ActorRef<GatewayMsg>,
    version: u8,
    token: SessionToken,
    clock: &'a Clock,
    /// Deliveries without an answer.
    pending: HashMap<u64, oneshot::Sender<Answer>>,
    deliveries: u64,
    checked: (mpsc::Sender<Told>, mpsc::Receiver<Told>),
    tried: (mpsc::Sender<Tried>, mpsc::Receiver<Tried>),
    /// States up to this stamp are known to the hub.
    snapshot: u64,
}

pub async fn run(
    uplink: &mut Uplink,
    sessions: &Arc<Sessions>,
    link: &Link,
    mut offers: mpsc::Receiver<Vec<u8>>,
    links: &mut mpsc::UnboundedReceiver<LinkEvent>,
    clock: &Clock,
    welcomed: impl FnOnce(&Welcome),
) -> Ending {
    let not = Ending::NotWelcomed;
    let offer = match tokio::time::timeout(OPENING_WITHIN, offers.recv()).await {
        Ok(Some(frame)) => frame,
        _ => return not(format!("hub says nothing within {} s", OPENING_WITHIN.as_secs())),
    };
    let (token, offer) = match session_of(&offer).and_then(|(_, token)| Ok((token, Assembler::default().take::<Offer>(&offer, OPENING)?))) {
        Ok((token, Some(offer))) => (token, offer),
        Ok((_, None)) => return not("hub's first word is cut into pieces".to_owned()),
        Err(err) => return not(format!("hub's first word cannot be read: {err}")),
    };
    let Some(gateway) = remote(link.node_id) else { return not("hub has no gateway".to_owned()) };
    let mut received = sessions.open(token);
    let Some(version) = choose(&offer, VERSIONS) else {
        let (lowest, highest) = VERSIONS;
        let build = env!("CARGO_PKG_VERSION").to_owned();
        send(&gateway, OPENING, &token, &Choice::Unfit { lowest, highest, build });
        let hub = format!("hub {} speaks versions {} to {} of the protocol", offer.build, offer.lowest, offer.highest);
        return not(format!("{hub}, this node {lowest} to {highest}: one of them is to be brought up to date"));
    };
    send(&gateway, OPENING, &token, &Choice::Version(version));
    let (checked, tried) = (mpsc::channel(1024), mpsc::channel(16));
    let pending = HashMap::new();
    let mut session = Session { uplink, gateway, version, token, clock, pending, deliveries: 0, checked, tried, snapshot: 0 };
    session.hello();
    let mut assembler = Assembler::default();
    let welcome = loop {
        let frame = match tokio::time::timeout(OPENING_WITHIN, received.recv()).await {
            Ok(Some(frame)) => frame,
            _ => return not("hub does not answer the hello".to_owned()),
        };
        match assembler.take::<Down>(&frame, version) {
            Ok(None) => {}
            Ok(Some(Down::Welcome(welcome))) => break welcome,
            Ok(Some(Down::Refused { reason })) => return not(format!("hub refuses this node: {reason}")),
            // What it says may hold secrets.
            Ok(Some(_)) => debug!("hub speaks before it welcomes"),
            Err(err) => return not(format!("hub cannot be understood: {err}")),
        }
    };
    welcomed(&welcome);
    Ending::from_session(session.work(&mut received, &mut assembler, links, link, &welcome).await)
}

impl Ending {
    fn from_session(reason: Option<String>) -> Ending {
        reason.map_or(Ending::Leaving, Ending::Welcomed)
    }
}

impl Session<'_> {
    /// Until the session ends; `None` when the process does.
    async fn work(
        &mut self,
        received: &mut Received,
        assembler: &mut Assembler,
        links: &mut mpsc::UnboundedReceiver<LinkEvent>,
        link: &Link,
        welcome: &Welcome,
    ) -> Option<String> {
        let deadline = Duration::from_millis(welcome.deadline_ms.into());
        let look = (deadline / 8).max(Duration::from_millis(20));
        let clock = self.clock.clone();
        let mut heard = clock.steady();
        let mut leaving = self.uplink.leaving.clone();
        let mut sight = self.uplink.region.shared.sight.subscribe();
        // Ahead of all it has seen: whether it sees.
        self.send(&Up::Status(self.status()));
        if self.backlog() {
            self.send_snapshot();
        }
        // Whoever waits to send need not wait longer.
        self.uplink.end.wake.notify_one();
        self.renew();
        let mut next_snapshot = clock.steady() + SNAPSHOT_EVERY;
        let mut next_renewal = clock.steady() + RENEWAL_EVERY;
        let mut tick = std::pin::pin!(clock.sleep(look));
        loop {
            tokio::select! {
                frame = received.recv() => {
                    let Some(frame) = frame else { return Some("hub sends more than it may".to_owned()) };
                    heard = clock.steady();
                    match assembler.take::<Down>(&frame, self.version) {
                        Ok(None) => {}
                        Ok(Some(Down::Refused { reason })) => return Some(format!("hub ended the session: {reason}")),
                        Ok(Some(message)) => self.take(message),
                        Err(err) => return Some(format!("hub cannot be understood: {err}")),
                    }
                }
                Some(delivery) = self.uplink.end.deliveries.recv() => {
                    // Whether the node sees comes before what it saw.
                    if sight.has_changed().unwrap_or(false) {
                        sight.mark_unchanged();
                        self.send(&Up::Status(self.status()));
                    }
                    self.deliveries += 1;
                    self.pending.insert(self.deliveries, delivery.answer);
                    let batches = delivery.batches.iter().map(|batch| Bytes(batch.to_vec())).collect();
                    self.send(&Up::Deliver { delivery: self.deliveries, batches });
                }
                Some((request, checked)) = self.checked.1.recv() => match checked {
                    Checked::Step(step) => self.send(&Up::Progress { request, step: (&step).into() }),
                    Checked::Done(result) => {
                        let result = result.map(|result| Bytes(self.batch(&[*result])));
                        self.send(&Up::Checked { request, result });
                    }
                },
                Some((request, outcome)) = self.tried.1.recv() => {
                    let outcome = outcome.map(|trial| WireTrial::new(&trial, |result| self.batch(std::slice::from_ref(result))));
                    self.send(&Up::Tried { request, outcome });
                }
                Ok(()) = sight.changed() => self.send(&Up::Status(self.status())),
                event = links.recv() => {
                    match event {
                        None => return Some("carrier ended".to_owned()),
                        Some(LinkEvent::Gone(gone)) if gone.label == link.label => return Some(LINK_BROKE.to_owned()),
                        Some(_) => {}
                    }
                }
                () = &mut tick => {
                    let now = clock.steady();
                    if now.saturating_sub(heard) > deadline {
                        return Some(format!("hub was silent for {} ms", now.saturating_sub(heard).as_millis()));
                    }
                    if now >= next_snapshot {
                        next_snapshot = now + SNAPSHOT_EVERY;
                        if self.backlog() {
                            self.send_snapshot();
                        }
                    }
                    if now >= next_renewal {
                        next_renewal = now + RENEWAL_EVERY;
                        self.renew();
                    }
                    tick.set(clock.sleep(look));
                }
                () = left(&mut leaving) => {
                    self.send(&Up::Goodbye);
                    // Time for the carrier to write it.
                    clock.sleep(Duration::from_millis(50)).await;
                    return None;
                }
            }
        }
    }

    fn take(&mut self, message: Down) {
        match message {
            Down::Ping { sent_us } => {
                let received_us = self.clock.now().0;
                self.send(&Up::Status(self.status()));
                self.send(&Up::Pong { sent_us, received_us, replied_us: self.clock.now().0 });
            }
            Down::Answer { delivery, answer } => {
                if let Some(waiting) = self.pending.remove(&delivery) {
                    let _ = waiting.send(answer.into());
                }
            }
            Down::Assignments { generation, services } => self.assign(generation, services),
            Down::CheckNow { request, service } => self.check_now(request, ServiceId(service), false),
            Down::WatchNow { request, service } => self.check_now(request, ServiceId(service), true),
            Down::Try { request, document } => self.try_out(request, document),
            Down::Renewed { certificate } => match self.uplink.renewal.install(&certificate) {
                Ok(()) => info!("certificate of this node renewed"),
                Err(err) => error!("renewed certificate is of no use: {err:#}"),
            },
            Down::NotRenewed { reason } => warn!(reason, "hub does not renew the certificate of this node"),
            Down::Welcome(_) | Down::Refused { .. } => {}
        }
    }

    fn assign(&mut self, generation: u64, services: Vec<WireAssignment>) {
        debug!(generation, services = services.len(), "assignments came");
        // For nobody else to read: the documents hold secrets.
        let bytes = postcard::to_stdvec(&(generation, &services)).expect("plain data always encodes");
        let cache = self.uplink.cache.clone();
        tokio::task::spawn_blocking(move || {
            if let Err(err) = write_private(&cache, &bytes) {
                warn!("assignments cannot be kept for the next start: {err}");
            }
        });
        self.uplink.end.assignments.send_replace(Assignments { generation, services: Arc::new(assignments(services)) });
    }

    fn check_now(&self, request: u64, service: ServiceId, watched: bool) {
        let (answer, mut result) = oneshot::channel();
        let (watcher, mut progress) = watched.then(|| watch::channel(None)).unzip();
        let (requests, checked) = (self.uplink.end.requests.clone(), self.checked.0.clone());
        tokio::spawn(async move {
            if requests.send(CheckNow { service, answer, watcher }).await.is_err() {
                let _ = checked.send((request, Checked::Done(None))).await;
                return;
            }
            loop {
                tokio::select! {
                    result = &mut result => {
                        let _ = checked.send((request, Checked::Done(result.ok().map(Box::new)))).await;
                        return;
                    }
                    step = next_step(&mut progress) => {
                        let _ = checked.send((request, Checked::Step(step))).await;
                    }
                }
            }
        });
    }

    fn try_out(&self, request: u64, document: Bytes) {
        let (trier, tried) = (self.uplink.trier.clone(), self.tried.0.clone());
        let region = self.uplink.region.shared.settings.name.clone();
        tokio::spawn(async move {
            let text = String::from_utf8(document.0).map_err(|_| "the service is no text".to_owned());
            let outcome = match text.and_then(|text| read_document(ServiceId(0), &text)) {
                Ok(service) => trier.try_out(service, region).await,
                Err(cause) => Err(format!("this version of the node cannot read the service: {cause}")),
            };
            let _ = tried.send((request, outcome)).await;
        });
    }

    /// Asks for a new certificate, if it is time for one.
    fn renew(&self) {
        if let Some(request) = self.uplink.renewal.request() {
            self.send(&Up::Renew { request });
        }
    }

    fn hello(&self) {
        let shared = &self.uplink.region.shared;
        self.send(&Up::Hello(Hello {
            node: shared.settings.node.to_string(),
            region: shared.settings.name.to_string(),
            boot: shared.file.boot().0,
            build: env!("CARGO_PKG_VERSION").to_owned(),
            generation: self.uplink.end.assignments.borrow().generation,
            now_us: self.clock.now().0,
        }));
    }

    fn status(&self) -> NodeStatus {
        self.uplink.region.node_status()
    }

    fn backlog(&self) -> bool {
        let shared = &self.uplink.region.shared;
        let oldest: Option<Timestamp> = shared.file.depth().oldest;
        oldest.is_some_and(|oldest| shared.outbox_now().since(oldest) > BACKLOG_FROM)
    }

    fn send_snapshot(&mut self) {
        // Not before it is known whether what was seen is worth anything.
        if *self.uplink.region.shared.doubt.borrow() {
            return;
        }
        let (results, stamp) = self.uplink.region.shared.latest.since(self.snapshot);
        self.snapshot = stamp;
        for some in results.chunks(SNAPSHOT_RESULTS) {
            self.send(&Up::Snapshot { batch: Bytes(self.batch(some)) });
        }
    }

    fn batch(&self, results: &[CheckResult]) -> Vec<u8> {
        let settings = &self.uplink.region.shared.settings;
        let boot = results.first().map_or(Boot(0), |result| result.id.boot);
        encode(&BatchHead::new(&settings.node, &settings.name, boot, 0, 0), results)
    }

    fn send<T: serde::Serialize>(&self, message: &T) {
        send(&self.gateway, self.version, &self.token, message);
    }
}

/// Until the process is about to end.
async fn left(leaving: &mut watch::Receiver<bool>) {
    let _ = leaving.wait_for(|leaving| *leaving).await;
}

/// What the last session left behind, for a start while the hub is away.
pub fn cached_assignments(cache: &std::path::Path) -> Option<Assignments> {
    let bytes = std::fs::read(cache).ok()?;
    match postcard::from_bytes::<(u64, Vec<WireAssignment>)>(&bytes) {
        Ok((generation, services)) => Some(Assignments { generation, services: Arc::new(assignments(services)) }),
        Err(err) => {
            warn!("assignments of the last session cannot be read: {err}");
            None
        }
    }
}

fn assignments(services: Vec<WireAssignment>) -> Vec<Assignment> {
    services
        .into_iter()
        .map(|service| Assignment {
            id: ServiceId(service.id),
            revision: service.revision,
            document: service.document.into(),
            checked_until: service.checked_until_us.map(Timestamp),
        })
        .collect()
}

impl From<WireAnswer> for Answer {
    fn from(answer: WireAnswer) -> Answer {
        match answer {
            WireAnswer::Stored { boot, through } => Answer::Stored { boot: Boot(boot), through },
            WireAnswer::Later { reason } => Answer::Later { reason },
            WireAnswer::Refused { place, reason } => Answer::Refused { place: place as usize, reason },
        }
    }
}
