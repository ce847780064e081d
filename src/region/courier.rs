//! Owns the way of batches to the hub: the oldest first, one at a time, each until the hub has answered.
//!
//! A nudge only says that there may be work; what to send is read from the outbox file, from where the last
//! acknowledgement left off. When this actor dies it starts again at the oldest batch in the file, and the hub sees
//! resends, which change nothing.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use ractor::{Actor, ActorProcessingErr, ActorRef, RpcReplyPort};
use ractor_cluster::RactorMessage;
use tokio::sync::{mpsc, oneshot};
use tracing::{debug, error, info, warn};

use crate::model::id::Boot;
use crate::model::time::Timestamp;
use crate::region::outbox::OutboxMsg;
use crate::region::shared::Shared;
use crate::supervise::Task;
use crate::wire::link::{Answer, Delivery};

/// A hub that says nothing for so long is taken for gone; the batch is sent again.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);
const BACKOFF_FIRST: Duration = Duration::from_millis(200);
const BACKOFF_AT_MOST: Duration = Duration::from_secs(5);

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

/// What became of one trip.
#[derive(Debug)]
pub enum Outcome {
    /// Nothing lies behind the position.
    Empty,
    Answered {
        boot: Boot,
        number: u64,
        answer: Answer,
    },
    Away(String),
}

pub struct CourierArgs {
    pub shared: Arc<Shared>,
    pub deliveries: mpsc::Sender<Delivery>,
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
    position: (Boot, u64),
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
        self.trip = Some(Task::spawn(async move {
            let _ = myself.cast(CourierMsg::Returned(trip(shared, deliveries, position).await));
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
            Outcome::Answered { answer: Answer::Stored { boot, through }, number, .. } => {
                self.position = (boot, through.max(number));
                self.tell_outbox(OutboxMsg::Acknowledged { boot, through: self.position.1 });
                self.stored();
                self.go(myself);
            }
            Outcome::Answered { boot, number, answer: Answer::Refused { reason } } => {
                error!(boot = boot.0, batch = number, reason, "hub refused a batch, it is kept aside");
                self.position = (boot, number);
                self.tell_outbox(OutboxMsg::Refused { boot, number });
                self.go(myself);
            }
            Outcome::Answered { answer: Answer::Later { reason }, .. } => self.wait(myself, reason),
            Outcome::Away(reason) => self.wait(myself, reason),
        }
    }

    fn stored(&mut self) {
        let mut status = self.args.status.lock().expect("no holder panics");
        if !status.connected {
            info!("hub takes results");
        }
        self.failures = 0;
        status.connected = true;
        status.last_error = None;
        status.last_acknowledged = Some(self.args.shared.clock.now());
        status.acknowledged_batches += 1;
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
        let (clock, myself) = (self.args.shared.clock.clone(), myself.clone());
        self.timer = Some(Task::spawn(async move {
            clock.sleep(delay).await;
            let _ = myself.cast(CourierMsg::Retry);
        }));
    }

    fn tell_outbox(&self, message: OutboxMsg) {
        if let Some(outbox) = &self.outbox {
            let _ = outbox.cast(message);
        }
    }
}

async fn trip(shared: Arc<Shared>, deliveries: mpsc::Sender<Delivery>, position: (Boot, u64)) -> Outcome {
    let read = tokio::task::spawn_blocking(move || shared.file.next_after(position)).await;
    let batch = match read {
        Ok(Ok(Some(batch))) => batch,
        Ok(Ok(None)) => return Outcome::Empty,
        Ok(Err(err)) => return Outcome::Away(format!("{:#}", anyhow::Error::from(err))),
        Err(err) => return Outcome::Away(format!("outbox cannot be read: {err}")),
    };
    let (boot, number) = (batch.boot, batch.number);
    let (answer, answered) = oneshot::channel();
    let delivery = Delivery { batch: batch.bytes.into(), answer };
    match tokio::time::timeout(ANSWER_WITHIN, deliveries.send(delivery)).await {
        Ok(Ok(())) => {}
        Ok(Err(_)) => return Outcome::Away("hub is gone".to_owned()),
        Err(_) => return Outcome::Away("hub takes nothing".to_owned()),
    }
    match tokio::time::timeout(ANSWER_WITHIN, answered).await {
        Ok(Ok(answer)) => Outcome::Answered { boot, number, answer },
        Ok(Err(_)) => Outcome::Away("hub went away before it answered".to_owned()),
        Err(_) => Outcome::Away(format!("no answer within {} s", ANSWER_WITHIN.as_secs())),
    }
}
