//! Opens issues for what the monitor saw, and tells in them how it goes on.
//!
//! It looks every few seconds, and at once when there is news of an incident; every few minutes, and at its start, it looks at
//! everything, so that what it was not told of is made up for. When it dies nothing is lost: what was told is in the store, and the
//! next look tells the rest.

use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::FutureExt;
use ractor::{Actor, ActorProcessingErr, ActorRef};
use ractor_cluster::RactorMessage;
use tokio::sync::broadcast::Sender;
use tokio::sync::broadcast::error::RecvError;
use tracing::warn;

use crate::api::events::Event;
use crate::clock::Clock;
use crate::model::incident::IncidentId;
use crate::model::time::Timestamp;
use crate::supervise::Task;
use crate::tracker::rounds::{Looked, Rounds, Wanted};

const TICK: Duration = Duration::from_secs(5);
/// Between two looks at everything.
const ALL_EVERY: Duration = Duration::from_secs(300);

pub struct Opener;

#[derive(Debug, RactorMessage)]
pub enum OpenerMsg {
    Nudged(Wanted),
    /// What it led to, or what went wrong.
    Looked(Result<Looked, String>),
    Tick,
}

#[derive(Clone)]
pub struct OpenerArgs {
    pub rounds: Arc<Rounds>,
    pub events: Sender<Arc<Event>>,
    pub clock: Clock,
    pub status: Arc<Mutex<OpenerStatus>>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OpenerStatus {
    pub looks: u64,
    pub opened: u64,
    pub commented: u64,
    pub last_run: Option<Timestamp>,
    pub last_error: Option<String>,
}

pub struct OpenerState {
    args: OpenerArgs,
    /// For the next look.
    wanted: Wanted,
    /// What is looked at now, to be looked at again should it fail.
    looking: Option<(Wanted, Task)>,
    last_all: Option<Duration>,
    _tick: Task,
    _pump: Task,
}

impl Actor for Opener {
    type Msg = OpenerMsg;
    type State = OpenerState;
    type Arguments = OpenerArgs;

    async fn pre_start(&self, myself: ActorRef<OpenerMsg>, args: OpenerArgs) -> Result<OpenerState, ActorProcessingErr> {
        let pump = pump(&args.events, myself.clone());
        let tick = tick_after(&args.clock, myself);
        Ok(OpenerState { args, wanted: Wanted::default(), looking: None, last_all: None, _tick: tick, _pump: pump })
    }

    async fn handle(&self, myself: ActorRef<OpenerMsg>, message: OpenerMsg, state: &mut OpenerState) -> Result<(), ActorProcessingErr> {
        match message {
            OpenerMsg::Nudged(wanted) => state.nudged(&myself, wanted),
            OpenerMsg::Looked(outcome) => state.looked(&myself, outcome),
            OpenerMsg::Tick => state.tick(&myself),
        }
        Ok(())
    }
}

impl OpenerState {
    fn nudged(&mut self, myself: &ActorRef<OpenerMsg>, wanted: Wanted) {
        self.wanted.add(wanted);
        if self.looking.is_none() {
            self.look(myself);
        }
    }

    fn tick(&mut self, myself: &ActorRef<OpenerMsg>) {
        let now = self.args.clock.steady();
        if self.last_all.is_none_or(|last| now.saturating_sub(last) >= ALL_EVERY) {
            self.wanted.all = true;
            self.last_all = Some(now);
        }
        if self.looking.is_none() {
            self.look(myself);
        }
        self._tick = tick_after(&self.args.clock, myself.clone());
    }

    fn look(&mut self, myself: &ActorRef<OpenerMsg>) {
        let wanted = std::mem::take(&mut self.wanted);
        let (rounds, looked_at, myself) = (self.args.rounds.clone(), wanted.clone(), myself.clone());
        let task = Task::spawn(async move {
            // A panic too is told, or no look would ever follow.
            let outcome = match AssertUnwindSafe(rounds.look(&looked_at)).catch_unwind().await {
                Ok(outcome) => outcome.map_err(|error| error.to_string()),
                Err(_) => Err("looking panicked".to_owned()),
            };
            let _ = myself.cast(OpenerMsg::Looked(outcome));
        });
        self.looking = Some((wanted, task));
    }

    fn looked(&mut self, myself: &ActorRef<OpenerMsg>, outcome: Result<Looked, String>) {
        let Some((wanted, _)) = self.looking.take() else { return };
        let mut status = self.args.status.lock().expect("no holder panics");
        status.looks += 1;
        status.last_run = Some(self.args.clock.now());
        match outcome {
            Ok(looked) => {
                status.opened += looked.opened;
                status.commented += looked.commented;
                status.last_error = None;
            }
            Err(error) => {
                if status.last_error.as_ref() != Some(&error) {
                    warn!(cause = error, "issues cannot be opened now, it is tried again");
                }
                status.last_error = Some(error);
                drop(status);
                // With the next tick.
                self.wanted.add(wanted);
                return;
            }
        }
        drop(status);
        if self.wanted != Wanted::default() {
            self.look(myself);
        }
    }
}

/// Turns what others tell into what is to be looked at.
fn pump(events: &Sender<Arc<Event>>, opener: ActorRef<OpenerMsg>) -> Task {
    let mut events = events.subscribe();
    Task::spawn(async move {
        loop {
            let wanted = match events.recv().await.as_deref() {
                Ok(Event::Incident(event)) => Wanted { incidents: [IncidentId(event.id.as_str().into())].into(), ..Wanted::default() },
                Ok(Event::Finding(event)) if event.what == "opened" => Wanted { findings: true, ..Wanted::default() },
                Ok(_) => continue,
                Err(RecvError::Lagged(_)) => Wanted { all: true, ..Wanted::default() },
                Err(RecvError::Closed) => return,
            };
            if opener.cast(OpenerMsg::Nudged(wanted)).is_err() {
                return;
            }
        }
    })
}

fn tick_after(clock: &Clock, opener: ActorRef<OpenerMsg>) -> Task {
    let clock = clock.clone();
    Task::spawn(async move {
        clock.sleep(TICK).await;
        let _ = opener.cast(OpenerMsg::Tick);
    })
}
