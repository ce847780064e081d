//! Writes digests when they are due and when someone asks; one of each at a time.
//!
//! It takes orders and gives digests to whoever ordered; the work is done in tasks beside it. When it dies, what was being
//! written is lost and written again: a due digest at the next start, since the store shows that it is missing; one that was
//! ordered when it is ordered again.

use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::FutureExt;
use ractor::{Actor, ActorProcessingErr, ActorRef};
use ractor_cluster::RactorMessage;
use tokio::sync::{mpsc, oneshot};
use tracing::warn;

use crate::clock::Clock;
use crate::digest::facts::Inputs;
use crate::digest::writing::Desk;
use crate::model::digest::Digest;
use crate::model::id::{RegionName, ServiceId};
use crate::model::schedule::Place;
use crate::model::time::Timestamp;
use crate::store::connection::StoreError;
use crate::supervise::Task;

/// Orders that may wait for the actor, which takes each at once.
pub const ORDERS: usize = 16;
/// The wall clock may be set meanwhile, so a wait is cut into pieces.
const LONGEST_WAIT: Duration = Duration::from_secs(300);
const AGAIN_AFTER: Duration = Duration::from_secs(60);
/// What was due longer ago than this is left.
const MAKE_UP: Duration = Duration::from_secs(86_400);

pub struct Digester;

#[derive(Debug, RactorMessage)]
pub enum DigesterMsg {
    Tick,
    Asked(Order),
    Written(Written),
    /// Those of services; of so many, or why not.
    ServicesWritten(Result<usize, String>),
}

/// A digest that someone wants, of the hours until now.
#[derive(Debug)]
pub struct Order {
    pub hours: u32,
    /// `None`: of all.
    pub service: Option<ServiceId>,
    pub answer: oneshot::Sender<Result<Arc<Digest>, Refused>>,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("another digest is being written; ask again when it is done")]
    Busy,
    #[error("digest cannot be written: {0}")]
    Failed(String),
}

/// What became of one run.
#[derive(Debug)]
pub struct Written {
    /// When it was due, of a run by the schedule.
    due: Option<Timestamp>,
    outcome: Result<(Arc<Digest>, Arc<Inputs>), String>,
}

#[derive(Clone)]
pub struct DigesterArgs {
    pub desk: Arc<Desk>,
    pub orders: Arc<tokio::sync::Mutex<mpsc::Receiver<Order>>>,
    pub clock: Clock,
    pub status: Arc<Mutex<DigesterStatus>>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DigesterStatus {
    pub written: u64,
    pub next: Option<Timestamp>,
    pub last_run: Option<Timestamp>,
    pub writing: bool,
    pub last_error: Option<String>,
}

pub struct DigesterState {
    args: DigesterArgs,
    due: Option<Timestamp>,
    ordered: Option<Running>,
    scheduled: Option<Task>,
    /// Those of services, behind the one of all.
    services: Option<Task>,
    _tick: Option<Task>,
    _pump: Task,
}

struct Running {
    hours: u32,
    service: Option<ServiceId>,
    waiting: Vec<oneshot::Sender<Result<Arc<Digest>, Refused>>>,
    _task: Task,
}

impl Actor for Digester {
    type Msg = DigesterMsg;
    type State = DigesterState;
    type Arguments = DigesterArgs;

    async fn pre_start(&self, myself: ActorRef<DigesterMsg>, args: DigesterArgs) -> Result<DigesterState, ActorProcessingErr> {
        let (orders, pumped) = (args.orders.clone(), myself.clone());
        let pump = Task::spawn(async move {
            let mut orders = orders.lock().await;
            while let Some(order) = orders.recv().await {
                if pumped.cast(DigesterMsg::Asked(order)).is_err() {
                    return;
                }
            }
        });
        let now = args.clock.now();
        let newest = args.desk.digests.latest(None).map(|digest| digest.period.until);
        let due = next_due(&args, newest.map_or(now, |newest| newest.min(now)));
        let mut state = DigesterState { args, due, ordered: None, scheduled: None, services: None, _tick: None, _pump: pump };
        state.arm(&myself);
        state.show();
        Ok(state)
    }

    async fn handle(
        &self,
        myself: ActorRef<DigesterMsg>,
        message: DigesterMsg,
        state: &mut DigesterState,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            DigesterMsg::Tick => state.tick(&myself),
            DigesterMsg::Asked(order) => state.asked(&myself, order),
            DigesterMsg::Written(written) => state.written(&myself, written),
            DigesterMsg::ServicesWritten(outcome) => state.services_written(outcome),
        }
        state.show();
        Ok(())
    }
}

impl DigesterState {
    fn tick(&mut self, myself: &ActorRef<DigesterMsg>) {
        match self.due.filter(|due| *due <= self.args.clock.now() && self.scheduled.is_none()) {
            Some(due) => self.scheduled = Some(self.start(myself, self.args.desk.settings.hours, due, None, Some(due))),
            None => self.arm(myself),
        }
    }

    fn asked(&mut self, myself: &ActorRef<DigesterMsg>, order: Order) {
        let Order { hours, service, answer } = order;
        match &mut self.ordered {
            Some(running) if running.hours == hours && running.service == service => running.waiting.push(answer),
            Some(_) => drop(answer.send(Err(Refused::Busy))),
            None => {
                let task = self.start(myself, hours, self.args.clock.now(), service, None);
                self.ordered = Some(Running { hours, service, waiting: vec![answer], _task: task });
            }
        }
    }

    fn start(
        &self,
        myself: &ActorRef<DigesterMsg>,
        hours: u32,
        until: Timestamp,
        service: Option<ServiceId>,
        due: Option<Timestamp>,
    ) -> Task {
        let (desk, myself) = (self.args.desk.clone(), myself.clone());
        Task::spawn(async move {
            let outcome = caught(desk.write(hours, until, service)).await;
            let _ = myself.cast(DigesterMsg::Written(Written { due, outcome }));
        })
    }

    fn written(&mut self, myself: &ActorRef<DigesterMsg>, written: Written) {
        let Written { due, outcome } = written;
        {
            let mut status = self.args.status.lock().expect("no holder panics");
            status.last_run = Some(self.args.clock.now());
            status.last_error = outcome.as_ref().err().cloned();
            status.written += u64::from(outcome.is_ok());
        }
        if let Ok((digest, inputs)) = &outcome
            && digest.service.is_none()
            && (due.is_some() || self.services.is_none())
        {
            let (desk, inputs, myself) = (self.args.desk.clone(), inputs.clone(), myself.clone());
            self.services = Some(Task::spawn(async move {
                let outcome = caught(desk.write_services(&inputs)).await;
                let _ = myself.cast(DigesterMsg::ServicesWritten(outcome));
            }));
        }
        match due {
            None => {
                let answers = self.ordered.take().map(|running| running.waiting).unwrap_or_default();
                for answer in answers {
                    let _ = answer.send(outcome.as_ref().map(|(digest, _)| digest.clone()).map_err(|error| Refused::Failed(error.clone())));
                }
            }
            Some(due) => {
                self.scheduled = None;
                match outcome {
                    Ok(_) => self.due = next_due(&self.args, due),
                    Err(error) => warn!(error, "digest that is due cannot be written yet"),
                }
                self.arm(myself);
            }
        }
    }

    fn services_written(&mut self, outcome: Result<usize, String>) {
        self.services = None;
        let mut status = self.args.status.lock().expect("no holder panics");
        match outcome {
            Ok(count) => status.written += count as u64,
            Err(error) => {
                warn!(error, "digests of services cannot be written");
                status.last_error = Some(error);
            }
        }
    }

    fn arm(&mut self, myself: &ActorRef<DigesterMsg>) {
        let Some(due) = self.due else { return };
        let now = self.args.clock.now();
        // One that is due and was not written failed, unless the actor has just started.
        let wait = match due <= now {
            true if self._tick.is_some() => AGAIN_AFTER,
            true => Duration::from_secs(1),
            false => due.since(now).min(LONGEST_WAIT),
        };
        let (clock, myself) = (self.args.clock.clone(), myself.clone());
        self._tick = Some(Task::spawn(async move {
            clock.sleep(wait).await;
            let _ = myself.cast(DigesterMsg::Tick);
        }));
    }

    fn show(&self) {
        let mut status = self.args.status.lock().expect("no holder panics");
        status.next = self.due;
        status.writing = self.ordered.is_some() || self.scheduled.is_some() || self.services.is_some();
    }
}

/// What went wrong in words; a panic too, or whoever waits would wait for ever.
async fn caught<T>(writing: impl Future<Output = Result<T, StoreError>>) -> Result<T, String> {
    match AssertUnwindSafe(writing).catch_unwind().await {
        Ok(outcome) => outcome.map_err(|error| error.to_string()),
        Err(_) => Err("writing it panicked".to_owned()),
    }
}

/// The first time of the schedule after an instant, or the last one that is past.
fn next_due(args: &DigesterArgs, after: Timestamp) -> Option<Timestamp> {
    let schedule = args.desk.settings.schedule.as_ref()?;
    // Without a spread the place does not matter.
    let place = Place::of(ServiceId(0), &RegionName::from(""));
    let now = args.clock.now();
    let mut due = schedule.next_after(place, after.max(now.minus(MAKE_UP)));
    // Of several that were missed the last one is enough.
    loop {
        let next = schedule.next_after(place, due);
        if next > now {
            return Some(due);
        }
        due = next;
    }
}
