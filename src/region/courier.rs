//! Owns the way of batches to the hub: the oldest first, as many at once as one delivery holds, one delivery at a time
//! until the hub has answered.
//!
//! A nudge only says that there may be work; what to send is read from the outbox file, from where the last
//! acknowledgement left off. When this actor dies it starts again at the oldest batch in the file, and the hub sees
//! resends, which change nothing.
//!
//! While the oldest batch has waited for some time, a backlog is being worked off, and deliveries are spaced so that it
//! takes no more than its share of the link. A batch that is fresh goes at once.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use ractor::{Actor, ActorProcessingErr, ActorRef, RpcReplyPort};
use ractor_cluster::RactorMessage;
use tokio::sync::{Notify, mpsc, oneshot};
use tracing::{debug, error, info, warn};

use crate::model::id::Boot;
use crate::model::time::Timestamp;
use crate::region::outbox::OutboxMsg;
use crate::region::outbox_file::StoredBatch;
use crate::region::shared::Shared;
use crate::supervise::Task;
use crate::wire::link::{Answer, DELIVERY_BATCHES, DELIVERY_BYTES, Delivery};

/// A hub that says nothing for so long is taken for gone; the batch is sent again.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);
const BACKOFF_FIRST: Duration = Duration::from_millis(200);
const BACKOFF_AT_MOST: Duration = Duration::from_secs(5);
/// A batch that has waited longer is part of a backlog.
const FRESH: Duration = Duration::from_secs(2);
/// A delivery of a backlog is no more than what may be sent in this time, so that a slow link is not filled in bursts.
const PACE: Duration = Duration::from_millis(250);

pub struct Courier;

#[derive(Debug, RactorMessage)]
pub enum CourierMsg {
    /// The outbox's address, once it is born: acknowledgements go back there.
    Report(ActorRef<OutboxMsg>),
    BatchMade,
    Returned(Outcome),
    Retry,
    /// Answers once the outbox holds nothing the hub has not acknowledged.
    AwaitEmpty(RpcReplyPort<()>),
}

type BatchName = (Boot, u64);

/// What became of one trip.
#[derive(Debug)]
pub enum Outcome {
    /// Nothing lies behind the position.
    Empty,
    Answered {
        /// What was sent, in its order.
        names: Vec<BatchName>,
        answer: Answer,
    },
    Away(String),
}

pub struct CourierArgs {
    pub shared: Arc<Shared>,
    pub deliveries: mpsc::Sender<Delivery>,
    pub wake: Arc<Notify>,
    pub status: Arc<Mutex<CourierStatus>>,
}

/// How the way to the hub is doing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CourierStatus {
    pub connected: bool,
    pub last_acknowledged: Option<Timestamp>,
    pub acknowledged_batches: u64,
    pub last_error: Option<String>,
}

pub struct CourierState {
    args: CourierArgs,
    outbox: Option<ActorRef<OutboxMsg>>,
    position: BatchName,
    pace: Arc<Mutex<Pace>>,
    trip: Option<Task>,
    timer: Option<Task>,
    /// Nudged while a trip was under way.
    again: bool,
    failures: u32,
    awaiting: Vec<RpcReplyPort<()>>,
}

impl Actor for Courier {
    type Msg = CourierMsg;
    type State = CourierState;
    type Arguments = CourierArgs;

    async fn pre_start(&self, _: ActorRef<CourierMsg>, args: CourierArgs) -> Result<CourierState, ActorProcessingErr> {
        Ok(CourierState {
            args,
            outbox: None,
            position: (Boot(0), 0),
            pace: Arc::default(),
            trip: None,
            timer: None,
            again: false,
            failures: 0,
            awaiting: Vec::new(),
        })
    }

    async fn handle(&self, myself: ActorRef<CourierMsg>, message: CourierMsg, state: &mut CourierState) -> Result<(), ActorProcessingErr> {
        match message {
            CourierMsg::Report(outbox) => state.report(&myself, outbox),
            CourierMsg::BatchMade => state.nudge(&myself),
            CourierMsg::Returned(outcome) => state.returned(&myself, outcome),
            CourierMsg::Retry => state.retry(&myself),
            CourierMsg::AwaitEmpty(reply) => state.await_empty(&myself, reply),
        }
        Ok(())
    }
}

impl CourierState {
    fn report(&mut self, myself: &ActorRef<CourierMsg>, outbox: ActorRef<OutboxMsg>) {
        self.outbox = Some(outbox);
        self.nudge(myself);
    }

    fn nudge(&mut self, myself: &ActorRef<CourierMsg>) {
        self.again = true;
        if self.trip.is_none() && self.timer.is_none() {
            self.go(myself);
        }
    }

    fn retry(&mut self, myself: &ActorRef<CourierMsg>) {
        self.timer = None;
        self.go(myself);
    }

    fn await_empty(&mut self, myself: &ActorRef<CourierMsg>, reply: RpcReplyPort<()>) {
        self.awaiting.push(reply);
        self.nudge(myself);
    }

    fn go(&mut self, myself: &ActorRef<CourierMsg>) {
        self.again = false;
        let (shared, deliveries, position, myself) =
            (self.args.shared.clone(), self.args.deliveries.clone(), self.position, myself.clone());
        let pace = self.pace.clone();
        self.trip = Some(Task::spawn(async move {
            let _ = myself.cast(CourierMsg::Returned(trip(shared, deliveries, position, &pace).await));
        }));
    }

    fn returned(&mut self, myself: &ActorRef<CourierMsg>, outcome: Outcome) {
        self.trip = None;
        match outcome {
            Outcome::Empty if self.again => self.go(myself),
            Outcome::Empty => {
                for reply in self.awaiting.drain(..) {
                    let _ = reply.send(());
                }
            }
            Outcome::Answered { names, answer: Answer::Stored { boot, through } } => self.stored(myself, &names, (boot, through)),
            Outcome::Answered { names, answer: Answer::Refused { place, reason } } => self.refused(myself, &names, place, reason),
            Outcome::Answered { answer: Answer::Later { reason }, .. } => self.wait(myself, reason),
            Outcome::Away(reason) => self.wait(myself, reason),
        }
    }

    fn stored(&mut self, myself: &ActorRef<CourierMsg>, names: &[BatchName], through: BatchName) {
        let stored = names.iter().filter(|name| **name <= through).count();
        if stored == 0 {
            return self.wait(myself, "hub acknowledged nothing of what it was sent".to_owned());
        }
        self.acknowledged(through, stored);
        self.go(myself);
    }

    /// All before the refused one are stored; the next trip begins behind it.
    fn refused(&mut self, myself: &ActorRef<CourierMsg>, names: &[BatchName], place: usize, reason: String) {
        let Some((boot, number)) = names.get(place).copied() else {
            return self.wait(myself, format!("hub refused batch {place} of {}: {reason}", names.len()));
        };
        error!(boot = boot.0, batch = number, reason, "hub refused a batch, it is kept aside");
        if let Some(last) = names[..place].last() {
            self.acknowledged(*last, place);
        }
        self.position = (boot, number);
        self.tell_outbox(OutboxMsg::Refused { boot, number });
        self.go(myself);
    }

    fn acknowledged(&mut self, through: BatchName, batches: usize) {
        self.position = through;
        self.tell_outbox(OutboxMsg::Acknowledged { boot: through.0, through: through.1 });
        let mut status = self.args.status.lock().expect("no holder panics");
        if !status.connected {
            info!("hub takes results");
        }
        self.failures = 0;
        status.connected = true;
        status.last_error = None;
        status.last_acknowledged = Some(self.args.shared.clock.now());
        status.acknowledged_batches += batches as u64;
    }

    fn wait(&mut self, myself: &ActorRef<CourierMsg>, reason: String) {
        let ceiling = BACKOFF_FIRST.saturating_mul(1 << self.failures.min(8)).min(BACKOFF_AT_MOST);
        let delay = ceiling.mul_f64(rand::random::<f64>());
        self.failures += 1;
        let depth = self.args.shared.file.depth();
        if self.failures == 1 {
            warn!(reason, "hub does not take results, they wait in the outbox");
        } else {
            debug!(reason, attempt = self.failures, waiting = depth.results, "hub does not take results yet");
        }
        let mut status = self.args.status.lock().expect("no holder panics");
        status.connected = false;
        status.last_error = Some(reason);
        let (clock, wake, myself) = (self.args.shared.clock.clone(), self.args.wake.clone(), myself.clone());
        self.timer = Some(Task::spawn(async move {
            // A hub that comes back meanwhile is not kept waiting.
            tokio::select! {
                () = clock.sleep(delay) => {}
                () = wake.notified() => {}
            }
            let _ = myself.cast(CourierMsg::Retry);
        }));
    }

    fn tell_outbox(&self, message: OutboxMsg) {
        if let Some(outbox) = &self.outbox {
            let _ = outbox.cast(message);
        }
    }
}

async fn trip(shared: Arc<Shared>, deliveries: mpsc::Sender<Delivery>, position: BatchName, pace: &Mutex<Pace>) -> Outcome {
    let reader = shared.clone();
    let read = move || reader.file.next_batches_after(position, DELIVERY_BATCHES, DELIVERY_BYTES);
    let mut batches = match tokio::task::spawn_blocking(read).await {
        Ok(Ok(batches)) => batches,
        Ok(Err(err)) => return Outcome::Away(format!("{:#}", anyhow::Error::from(err))),
        Err(err) => return Outcome::Away(format!("outbox cannot be read: {err}")),
    };
    let Some(oldest) = batches.first().map(|batch| batch.made_at) else { return Outcome::Empty };
    if shared.outbox_now().since(oldest) > FRESH {
        let (rate, now) = (shared.settings.catch_up_bytes_per_s, shared.clock.steady());
        let wait = pace.lock().expect("no holder panics").admit(&mut batches, rate, now);
        shared.clock.sleep(wait).await;
    }
    shared.until_sure().await;
    let names = batches.iter().map(|batch| (batch.boot, batch.number)).collect();
    let (answer, answered) = oneshot::channel();
    let batches = batches.into_iter().map(|batch| batch.bytes.into()).collect();
    let delivery = Delivery { batches, clock_offset: None, answer };
    match tokio::time::timeout(ANSWER_WITHIN, deliveries.send(delivery)).await {
        Ok(Ok(())) => {}
        Ok(Err(_)) => return Outcome::Away("hub is gone".to_owned()),
        Err(_) => return Outcome::Away("hub takes nothing".to_owned()),
    }
    match tokio::time::timeout(ANSWER_WITHIN, answered).await {
        Ok(Ok(answer)) => Outcome::Answered { names, answer },
        Ok(Err(_)) => Outcome::Away("hub went away before it answered".to_owned()),
        Err(_) => Outcome::Away(format!("no answer within {} s", ANSWER_WITHIN.as_secs())),
    }
}

/// Spaces the deliveries of a backlog.
#[derive(Debug, Default)]
struct Pace {
    /// When the next one may go, by the steady clock.
    next: Duration,
}

impl Pace {
    /// Cuts a delivery to what may go at once and says how long it has to wait.
    fn admit(&mut self, batches: &mut Vec<StoredBatch>, bytes_per_s: u64, now: Duration) -> Duration {
        let most = (bytes_per_s as f64 * PACE.as_secs_f64()) as usize;
        let mut bytes = 0;
        let fitting = batches.iter().take_while(|batch| {
            bytes += batch.bytes.len();
            bytes <= most
        });
        let fitting = fitting.count().max(1);
        batches.truncate(fitting);
        let sent: usize = batches.iter().map(|batch| batch.bytes.len()).sum();
        let start = self.next.max(now);
        self.next = start + Duration::from_secs_f64(sent as f64 / bytes_per_s.max(1) as f64);
        start - now
    }
}
