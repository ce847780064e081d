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
use ractor_cluster::RactorMessage;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use crate::model::check::CheckResult;
use crate::model::schedule::Place;
use crate::model::service::{Schedule, Service};
use crate::model::time::{Timestamp, micros};
use crate::probe::CheckOrder;
use crate::probe::progress::{BOARD, Board, Watcher};
use crate::region::outbox::{OutboxMsg, Receipt};
use crate::region::rhythm::Rhythm;
use crate::region::shared::Shared;
use crate::supervise::Task;

/// A wait for a round is slept in pieces of this at most, the rest of it read off the wall clock each time: the clock may
/// be set, and the machine may be suspended.
const PIECE: Duration = Duration::from_secs(20);
/// A wall clock that goes back by less is not taken for set.
const STEP_BACK: i64 = 1_000_000;

pub struct Prober;

#[derive(Debug, RactorMessage)]
pub enum ProberMsg {
    Finished {
        scheduled_at: Timestamp,
        /// It was a round of the schedule, not a check beside them.
        round: bool,
    },
    Panicked(String),
    /// Wants a result at once; one that is in flight serves too.
    CheckNow(Asker),
    /// The service was edited: a check in flight may end as it began, within a second or so, and the next is made as edited.
    Edit(Arc<Service>),
    /// An edit has waited long enough for the check in flight.
    Impatient,
    /// Ends this actor, after the check in flight.
    Retire,
}

/// Someone who waits for a check.
#[derive(Debug)]
pub struct Asker {
    pub answer: oneshot::Sender<CheckResult>,
    /// Is told the steps meanwhile.
    pub watcher: Option<Watcher>,
}

pub struct ProberArgs {
    pub shared: Arc<Shared>,
    pub outbox: ActorRef<OutboxMsg>,
    pub service: Arc<Service>,
    pub tally: Arc<Tally>,
    /// Wait before the first check.
    pub first_wait: Duration,
}

/// How long a check in flight may hold up an edit; the hub promises two seconds.
const EDIT_PATIENCE: Duration = Duration::from_millis(1_200);

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
    /// How the last check ended.
    pub failing: AtomicBool,
}

pub struct ProberState {
    shared: Arc<Shared>,
    outbox: ActorRef<OutboxMsg>,
    service: Arc<Service>,
    rhythm: Rhythm,
    tally: Arc<Tally>,
    /// The check to come or in flight.
    check: Option<Check>,
    edited: bool,
    /// Runs while an edit waits for the check in flight.
    patience: Option<Task>,
    retiring: bool,
}

struct Check {
    gate: Arc<Gate>,
    /// Waits for nothing but permits.
    at_once: bool,
    _task: Task,
}

/// Where a check stands: the timer and the actor both try to move it on from waiting, and just one of them does.
#[derive(Debug, Default)]
struct Gate {
    state: AtomicU8,
    wanted: Mutex<Vec<Asker>>,
    board: Arc<Board>,
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

    fn want(&self, asker: Asker) {
        if let Some(watcher) = &asker.watcher {
            self.board.watch(watcher.clone());
        }
        self.wanted.lock().expect("no holder panics").push(asker);
    }

    fn take_wanted(&self) -> Vec<Asker> {
        std::mem::take(&mut *self.wanted.lock().expect("no holder panics"))
    }
}

impl Actor for Prober {
    type Msg = ProberMsg;
    type State = ProberState;
    type Arguments = ProberArgs;

    async fn pre_start(&self, myself: ActorRef<ProberMsg>, args: ProberArgs) -> Result<ProberState, ActorProcessingErr> {
        let now = args.shared.clock.now();
        let mut state = ProberState {
            rhythm: Rhythm::new(Place::of(args.service.id, &args.shared.settings.name), now),
            shared: args.shared,
            outbox: args.outbox,
            service: args.service,
            tally: args.tally,
            check: None,
            edited: false,
            patience: None,
            retiring: false,
        };
        state.arm(&myself, When::In(args.first_wait), Vec::new());
        Ok(state)
    }

    async fn handle(&self, myself: ActorRef<ProberMsg>, message: ProberMsg, state: &mut ProberState) -> Result<(), ActorProcessingErr> {
        match message {
            ProberMsg::Finished { scheduled_at, round } => state.finished(&myself, scheduled_at, round),
            ProberMsg::Panicked(cause) => return Err(format!("probe panicked: {cause}").into()),
            ProberMsg::CheckNow(asker) => state.check_now(&myself, asker),
            ProberMsg::Edit(service) => state.edit(&myself, service),
            ProberMsg::Impatient => state.impatient(&myself),
            ProberMsg::Retire => state.retire(&myself),
        }
        Ok(())
    }
}

impl ProberState {
    fn finished(&mut self, myself: &ActorRef<ProberMsg>, scheduled_at: Timestamp, round: bool) {
        let late = self.check.take().map(|check| check.gate.take_wanted()).unwrap_or_default();
        if self.retiring {
            myself.stop(None);
            return;
        }
        let now = self.shared.clock.now();
        if round {
            self.rhythm.round_done(scheduled_at, now);
        } else {
            self.rhythm.extra_done(&self.service.schedule, scheduled_at, now);
        }
        // Those who asked late asked after this check had handed out its result.
        if std::mem::take(&mut self.edited) || !late.is_empty() {
            self.arm(myself, When::In(Duration::ZERO), late);
            return;
        }
        let due = self.rhythm.due(&self.service.schedule, now);
        if let (Schedule::Interval(interval), true) = (&self.service.schedule, round) {
            let rounds = due.since(scheduled_at).as_micros() / interval.as_micros().max(1);
            let missed = rounds.saturating_sub(1) as u64;
            self.tally.missed.fetch_add(missed, Ordering::Relaxed);
            self.shared.counts.missed.fetch_add(missed, Ordering::Relaxed);
        }
        self.arm(myself, When::Round(due), Vec::new());
    }

    fn check_now(&mut self, myself: &ActorRef<ProberMsg>, asker: Asker) {
        match &self.check {
            // Begun or about to: the check there is serves too.
            Some(check) if check.at_once || !check.gate.cancel() => check.gate.want(asker),
            _ => self.arm(myself, When::In(Duration::ZERO), vec![asker]),
        }
    }

    fn edit(&mut self, myself: &ActorRef<ProberMsg>, service: Arc<Service>) {
        if service.schedule != self.service.schedule {
            self.rhythm.changed(self.shared.clock.now());
        }
        self.service = service;
        match &self.check {
            Some(check) if !check.gate.cancel() => {
                self.edited = true;
                let (clock, prober) = (self.shared.clock.clone(), myself.clone());
                self.patience = Some(Task::spawn(async move {
                    clock.sleep(EDIT_PATIENCE).await;
                    let _ = prober.cast(ProberMsg::Impatient);
                }));
            }
            check => {
                let wanted = check.as_ref().map(|check| check.gate.take_wanted()).unwrap_or_default();
                self.arm(myself, When::In(Duration::ZERO), wanted);
            }
        }
    }

    /// A check as it was before the edit still hangs on its target: it is given up, so that the edit takes effect.
    fn impatient(&mut self, myself: &ActorRef<ProberMsg>) {
        self.patience = None;
        if !self.edited || self.retiring {
            return;
        }
        self.edited = false;
        let wanted = self.check.take().map(|check| check.gate.take_wanted()).unwrap_or_default();
        self.tally.running.store(false, Ordering::Relaxed);
        self.arm(myself, When::In(Duration::ZERO), wanted);
    }

    fn retire(&mut self, myself: &ActorRef<ProberMsg>) {
        self.retiring = true;
        if self.check.as_ref().is_none_or(|check| check.gate.cancel()) {
            myself.stop(None);
        }
    }

    fn arm(&mut self, myself: &ActorRef<ProberMsg>, when: When, wanted: Vec<Asker>) {
        let gate = Arc::new(Gate::default());
        wanted.into_iter().for_each(|asker| gate.want(asker));
        let (now, steady) = (self.shared.clock.now(), self.shared.clock.steady());
        let (scheduled_at, due, round) = match when {
            When::In(wait) => (now.plus(wait), steady + wait, None),
            When::Round(due) => (due, steady, Some(self.rhythm)),
        };
        let errand = Errand {
            shared: self.shared.clone(),
            outbox: self.outbox.clone(),
            service: self.service.clone(),
            tally: self.tally.clone(),
            gate: gate.clone(),
            prober: myself.clone(),
            due,
            scheduled_at,
            round,
        };
        let at_once = when == When::In(Duration::ZERO);
        self.check = Some(Check { gate, at_once, _task: Task::spawn(errand.run()) });
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum When {
    /// Beside the rounds, after this wait.
    In(Duration),
    Round(Timestamp),
}

/// One check from its timer to the outbox.
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
    /// For a round: the rhythm it belongs to.
    round: Option<Rhythm>,
}

impl Errand {
    async fn run(mut self) {
        self.wait().await;
        // In this order, so that only what has begun takes up room.
        let Ok(running) = self.shared.running.acquire().await else { return };
        let Ok(room) = self.shared.room.clone().acquire_owned().await else { return };
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
        let watched = BOARD.scope(self.gate.board.clone(), self.shared.probes.check(&self.service, order));
        let outcome = AssertUnwindSafe(watched).catch_unwind().await;
        drop(running);
        self.tally.running.store(false, Ordering::Relaxed);
        match outcome {
            Ok(result) => {
                self.hand_over(result, room);
                // The next round does not wait for the disk.
                let _ = self.prober.cast(ProberMsg::Finished { scheduled_at: self.scheduled_at, round: self.round.is_some() });
            }
            Err(panic) => {
                drop(room);
                let cause = panic.downcast_ref::<&str>().map(|text| (*text).to_owned()).or_else(|| panic.downcast_ref::<String>().cloned());
                let _ = self.prober.cast(ProberMsg::Panicked(cause.unwrap_or_else(|| "without a message".to_owned())));
            }
        }
    }

    async fn wait(&mut self) {
        let clock = self.shared.clock.clone();
        let Some(rhythm) = self.round else {
            clock.sleep(self.due.saturating_sub(clock.steady())).await;
            return;
        };
        let mut known = apart(clock.now(), clock.steady());
        loop {
            let (now, steady) = (clock.now(), clock.steady());
            if apart(now, steady) <= known - STEP_BACK {
                known = apart(now, steady);
                self.scheduled_at = rhythm.due_again(&self.service.schedule, now).min(self.scheduled_at);
            }
            let left = self.scheduled_at.since(now);
            if left.is_zero() {
                return;
            }
            let piece = left.min(PIECE);
            self.due = steady + piece;
            clock.sleep(piece).await;
        }
    }

    fn hand_over(&self, result: CheckResult, room: OwnedSemaphorePermit) {
        self.tally.checks.fetch_add(1, Ordering::Relaxed);
        self.shared.counts.checks.fetch_add(1, Ordering::Relaxed);
        if !result.ok() {
            self.tally.failures.fetch_add(1, Ordering::Relaxed);
            self.shared.counts.failures.fetch_add(1, Ordering::Relaxed);
        }
        if self.tally.failing.swap(!result.ok(), Ordering::Relaxed) == result.ok() {
            self.shared.turned(result.ok());
        }
        self.tally.last_started.store(result.started_at.0.max(0) as u64, Ordering::Relaxed);
        let askers: Vec<_> = self.gate.take_wanted().into_iter().map(|asker| asker.answer).collect();
        let copy = (!askers.is_empty()).then(|| Box::new(result.clone()));
        // An outbox that dies loses it: the check was not made, and the next one comes in its turn.
        let _ = self.outbox.cast(OutboxMsg::Record(Box::new(result), Receipt { room, askers, copy }));
    }
}

/// How far the wall clock is ahead of the steady one, in microseconds.
fn apart(now: Timestamp, steady: Duration) -> i64 {
    now.0.saturating_sub(micros(steady))
}
