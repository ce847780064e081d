//! Runs the checks of one service: one at a time, at the instants its schedule names, and now when asked.
//!
//! A check runs as a task of its own, so a stop or an edit never waits behind a slow target; what the task made goes to
//! the outbox and word of it comes back here. A probe that panics ends this actor, and its supervisor starts another.
//!
//! When this actor dies, the check in flight is lost (it was not made), and with it the rhythm's next step, which the
//! next start computes from the clock.

use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::FutureExt;
use ractor::{Actor, ActorProcessingErr, ActorRef};
use tokio::sync::oneshot;

use crate::model::check::CheckResult;
use crate::model::schedule::Place;
use crate::model::service::{Schedule, Service};
use crate::model::time::Timestamp;
use crate::probe::CheckOrder;
use crate::region::outbox::OutboxMsg;
use crate::region::shared::Shared;
use crate::supervise::Task;

pub struct Prober;

#[derive(Debug)]
pub enum ProberMsg {
    Finished {
        scheduled_at: Timestamp,
    },
    Panicked(String),
    /// Wants a result at once; one that is in flight serves too.
    CheckNow(oneshot::Sender<CheckResult>),
    /// The service was edited: a check in flight ends as it began, the next is made as edited, at once.
    Edit(Arc<Service>),
    /// Ends this actor, after the check in flight.
    Retire,
}

pub struct ProberArgs {
    pub shared: Arc<Shared>,
    pub outbox: ActorRef<OutboxMsg>,
    pub service: Arc<Service>,
    pub tally: Arc<Tally>,
    /// Wait before the first check.
    pub first_wait: Duration,
}

/// What outlives the actor's restarts and can be read without asking it.
#[derive(Debug, Default)]
pub struct Tally {
    pub checks: AtomicU64,
    pub failures: AtomicU64,
    pub missed: AtomicU64,
    pub running: AtomicBool,
    /// Microseconds of Unix time; 0 before the first.
    pub last_started: AtomicU64,
    pub last_lag_us: AtomicU64,
}

pub struct ProberState {
    shared: Arc<Shared>,
    outbox: ActorRef<OutboxMsg>,
    service: Arc<Service>,
    place: Place,
    tally: Arc<Tally>,
    /// The check to come or in flight.
    check: Option<Check>,
    edited: bool,
    retiring: bool,
}

struct Check {
    gate: Arc<Gate>,
    _task: Task,
}

/// Where a check stands: the timer and the actor both try to move it on from waiting, and just one of them does.
#[derive(Debug, Default)]
struct Gate {
    state: AtomicU8,
    wanted: Mutex<Vec<oneshot::Sender<CheckResult>>>,
}

impl Gate {
    const WAITING: u8 = 0;
    const RUNNING: u8 = 1;
    const CANCELLED: u8 = 2;

    fn begin(&self) -> bool {
        self.state.compare_exchange(Gate::WAITING, Gate::RUNNING, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    fn cancel(&self) -> bool {
        self.state.compare_exchange(Gate::WAITING, Gate::CANCELLED, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }
}

impl Actor for Prober {
    type Msg = ProberMsg;
    type State = ProberState;
    type Arguments = ProberArgs;

    async fn pre_start(&self, myself: ActorRef<ProberMsg>, args: ProberArgs) -> Result<ProberState, ActorProcessingErr> {
        let mut state = ProberState {
            place: Place::of(args.service.id, &args.shared.settings.name),
            shared: args.shared,
            outbox: args.outbox,
            service: args.service,
            tally: args.tally,
            check: None,
            edited: false,
            retiring: false,
        };
        let scheduled_at = state.shared.clock.now().plus(args.first_wait);
        state.arm(&myself, args.first_wait, scheduled_at, Vec::new());
        Ok(state)
    }

    async fn handle(&self, myself: ActorRef<ProberMsg>, message: ProberMsg, state: &mut ProberState) -> Result<(), ActorProcessingErr> {
        match message {
            ProberMsg::Finished { scheduled_at } => state.finished(&myself, scheduled_at),
            ProberMsg::Panicked(cause) => return Err(format!("probe panicked: {cause}").into()),
            ProberMsg::CheckNow(answer) => state.check_now(&myself, answer),
            ProberMsg::Edit(service) => state.edit(&myself, service),
            ProberMsg::Retire => state.retire(&myself),
        }
        Ok(())
    }
}

impl ProberState {
    fn finished(&mut self, myself: &ActorRef<ProberMsg>, scheduled_at: Timestamp) {
        let late =
            self.check.take().map(|check| std::mem::take(&mut *check.gate.wanted.lock().expect("no holder panics"))).unwrap_or_default();
        if self.retiring {
            myself.stop(None);
            return;
        }
        if !late.is_empty() {
            // They asked after this check had handed out its result.
            self.edited = false;
            self.now(myself, late);
            return;
        }
        if std::mem::take(&mut self.edited) {
            self.now(myself, Vec::new());
            return;
        }
        let now = self.shared.clock.now();
        let schedule = &self.service.schedule;
        // The first check lies off the grid; behind it half a gap at least is left free.
        let on_grid = schedule.next_after(self.place, Timestamp(scheduled_at.0 - 1)) == scheduled_at;
        let after = if on_grid { now } else { now.max(scheduled_at.plus(schedule.gap(now) / 2)) };
        let due = schedule.next_after(self.place, after);
        if let (Schedule::Interval(interval), true) = (schedule, on_grid) {
            let rounds = due.since(scheduled_at).as_micros() / interval.as_micros().max(1);
            let missed = rounds.saturating_sub(1) as u64;
            self.tally.missed.fetch_add(missed, Ordering::Relaxed);
            self.shared.counts.missed.fetch_add(missed, Ordering::Relaxed);
        }
        self.arm(myself, due.since(now), due, Vec::new());
    }

    fn check_now(&mut self, myself: &ActorRef<ProberMsg>, answer: oneshot::Sender<CheckResult>) {
        match self.check.take() {
            Some(check) if check.gate.cancel() => self.now(myself, vec![answer]),
            Some(check) => {
                check.gate.wanted.lock().expect("no holder panics").push(answer);
                self.check = Some(check);
            }
            None => self.now(myself, vec![answer]),
        }
    }

    fn edit(&mut self, myself: &ActorRef<ProberMsg>, service: Arc<Service>) {
        self.service = service;
        match &self.check {
            Some(check) if !check.gate.cancel() => self.edited = true,
            _ => self.now(myself, Vec::new()),
        }
    }

    fn retire(&mut self, myself: &ActorRef<ProberMsg>) {
        self.retiring = true;
        if self.check.as_ref().is_none_or(|check| check.gate.cancel()) {
            myself.stop(None);
        }
    }

    fn now(&mut self, myself: &ActorRef<ProberMsg>, wanted: Vec<oneshot::Sender<CheckResult>>) {
        let now = self.shared.clock.now();
        self.arm(myself, Duration::ZERO, now, wanted);
    }

    fn arm(&mut self, myself: &ActorRef<ProberMsg>, wait: Duration, scheduled_at: Timestamp, wanted: Vec<oneshot::Sender<CheckResult>>) {
        let gate = Arc::new(Gate { state: AtomicU8::new(Gate::WAITING), wanted: Mutex::new(wanted) });
        let errand = Errand {
            shared: self.shared.clone(),
            outbox: self.outbox.clone(),
            service: self.service.clone(),
            tally: self.tally.clone(),
            gate: gate.clone(),
            prober: myself.clone(),
            due: self.shared.clock.steady() + wait,
            scheduled_at,
        };
        self.check = Some(Check { gate, _task: Task::spawn(errand.run(wait)) });
    }
}

/// One check from its timer to its commit.
struct Errand {
    shared: Arc<Shared>,
    outbox: ActorRef<OutboxMsg>,
    service: Arc<Service>,
    tally: Arc<Tally>,
    gate: Arc<Gate>,
    prober: ActorRef<ProberMsg>,
    /// Steady time: a wall clock that jumps must not be taken for lag.
    due: Duration,
    scheduled_at: Timestamp,
}

impl Errand {
    async fn run(self, wait: Duration) {
        if !wait.is_zero() {
            self.shared.clock.sleep(wait).await;
        }
        let Ok(_room) = self.shared.room.acquire().await else { return };
        let Ok(running) = self.shared.running.acquire().await else { return };
        if !self.gate.begin() {
            return;
        }
        let lag = self.shared.clock.steady().saturating_sub(self.due);
        self.shared.counts.lag.count(lag);
        self.tally.last_lag_us.store(lag.as_micros() as u64, Ordering::Relaxed);
        self.tally.running.store(true, Ordering::Relaxed);
        let order = CheckOrder {
            id: self.shared.next_check(),
            region: self.shared.settings.name.clone(),
            scheduled_at: self.scheduled_at,
            hub_url: None,
        };
        let outcome = AssertUnwindSafe(self.shared.probes.check(&self.service, order)).catch_unwind().await;
        drop(running);
        self.tally.running.store(false, Ordering::Relaxed);
        match outcome {
            Ok(result) => self.hand_over(result).await,
            Err(panic) => {
                let cause = panic.downcast_ref::<&str>().map(|text| (*text).to_owned()).or_else(|| panic.downcast_ref::<String>().cloned());
                let _ = self.prober.cast(ProberMsg::Panicked(cause.unwrap_or_else(|| "without a message".to_owned())));
            }
        }
    }

    async fn hand_over(&self, result: CheckResult) {
        self.tally.checks.fetch_add(1, Ordering::Relaxed);
        self.shared.counts.checks.fetch_add(1, Ordering::Relaxed);
        if !result.ok() {
            self.tally.failures.fetch_add(1, Ordering::Relaxed);
            self.shared.counts.failures.fetch_add(1, Ordering::Relaxed);
        }
        self.tally.last_started.store(result.started_at.0.max(0) as u64, Ordering::Relaxed);
        let wanted = std::mem::take(&mut *self.gate.wanted.lock().expect("no holder panics"));
        let copy = (!wanted.is_empty()).then(|| result.clone());
        let (made, committed) = oneshot::channel();
        if self.outbox.cast(OutboxMsg::Record(Box::new(result), made)).is_ok() {
            // An outbox that dies drops the sender: the check was not made, and the next one comes in its turn.
            let _ = committed.await;
        }
        if let Some(copy) = copy {
            for answer in wanted {
                let _ = answer.send(copy.clone());
            }
        }
        let _ = self.prober.cast(ProberMsg::Finished { scheduled_at: self.scheduled_at });
    }
}
