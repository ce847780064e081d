//! Turns the journal into blocks and these into rollups, and lets go of what is past its retention, a slice at a time, beside everything else.
//!
//! Slices are re-armed one after the other, so a slow one is never overtaken by the next. When this actor dies nothing is
//! lost: what was sealed is in the store, the rest is still in the journal.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ractor::{Actor, ActorProcessingErr, ActorRef};
use ractor_cluster::RactorMessage;
use tracing::{debug, warn};

use crate::clock::Clock;
use crate::model::id::ServiceId;
use crate::model::time::Timestamp;
use crate::store::Store;
use crate::store::connection::StoreError;
use crate::store::roll::{Rolled, Rules};
use crate::supervise::Task;

const PAUSE: Duration = Duration::from_secs(1);
/// Between two slices when more is due: time for others to get their turn.
const PAUSE_BUSY: Duration = Duration::from_millis(20);
const RETENTION_EVERY: Duration = Duration::from_secs(60);
const PAUSE_AFTER_FAILURE: Duration = Duration::from_secs(5);

pub struct Sealer;

#[derive(Debug, RactorMessage)]
pub enum SealerMsg {
    Tick,
    Sealed(Result<bool, StoreError>),
    Rolled(Result<Rolled, StoreError>),
    Retained(Result<bool, StoreError>),
}

/// Called with some services; it must return at once.
pub type Told = Arc<dyn Fn(&BTreeSet<ServiceId>) + Send + Sync>;

pub struct SealerArgs {
    pub store: Arc<Store>,
    pub clock: Clock,
    pub status: Arc<Mutex<SealerStatus>>,
    /// How time in a state is reckoned, for rollups.
    pub rules: Rules,
    /// Told which services have new rollups.
    pub rolled: Told,
    /// Called with each slice: a look at what only changes slowly.
    pub observe: Arc<dyn Fn() + Send + Sync>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SealerStatus {
    pub last_run: Option<Timestamp>,
    pub last_error: Option<String>,
}

pub struct SealerState {
    args: SealerArgs,
    next_retention: Duration,
    task: Task,
}

impl Actor for Sealer {
    type Msg = SealerMsg;
    type State = SealerState;
    type Arguments = SealerArgs;

    async fn pre_start(&self, myself: ActorRef<SealerMsg>, args: SealerArgs) -> Result<SealerState, ActorProcessingErr> {
        let task = tick_after(&args.clock, PAUSE, myself);
        let next_retention = args.clock.steady() + RETENTION_EVERY;
        Ok(SealerState { args, next_retention, task })
    }

    async fn handle(&self, myself: ActorRef<SealerMsg>, message: SealerMsg, state: &mut SealerState) -> Result<(), ActorProcessingErr> {
        match message {
            SealerMsg::Tick => state.work(&myself),
            SealerMsg::Sealed(Ok(more)) => state.roll(&myself, more),
            SealerMsg::Sealed(Err(err)) => state.done(&myself, Err(err), "sealing failed, it is tried again"),
            SealerMsg::Rolled(outcome) => {
                if let Ok(rolled) = &outcome {
                    (state.args.rolled)(&rolled.services);
                }
                state.done(&myself, outcome.map(|rolled| rolled.more), "rollups cannot be made, it is tried again");
            }
            SealerMsg::Retained(outcome) => {
                if matches!(outcome, Ok(false)) {
                    state.next_retention = state.args.clock.steady() + RETENTION_EVERY;
                }
                state.done(&myself, outcome, "retention failed, it is tried again");
            }
        }
        Ok(())
    }
}

impl SealerState {
    fn work(&mut self, myself: &ActorRef<SealerMsg>) {
        (self.args.observe)();
        let (store, now, myself) = (self.args.store.clone(), self.args.clock.now(), myself.clone());
        let retain = self.args.clock.steady() >= self.next_retention;
        self.task = Task::spawn(async move {
            let message = match retain {
                true => SealerMsg::Retained(store.results.retain(now).await),
                false => SealerMsg::Sealed(store.results.seal(now).await.map(|sealed| sealed.more)),
            };
            let _ = myself.cast(message);
        });
    }

    /// Each slice of blocks is followed by one of rollups.
    fn roll(&mut self, myself: &ActorRef<SealerMsg>, sealing: bool) {
        let (store, now, rules, myself) = (self.args.store.clone(), self.args.clock.now(), self.args.rules.clone(), myself.clone());
        self.task = Task::spawn(async move {
            let mut outcome = store.results.roll(now, rules).await;
            if let Ok(rolled) = &mut outcome {
                rolled.more |= sealing;
            }
            let _ = myself.cast(SealerMsg::Rolled(outcome));
        });
    }

    fn done(&mut self, myself: &ActorRef<SealerMsg>, outcome: Result<bool, StoreError>, what: &str) {
        let mut status = self.args.status.lock().expect("no holder panics");
        let pause = match outcome {
            Ok(more) => {
                status.last_run = Some(self.args.clock.now());
                status.last_error = None;
                if more { PAUSE_BUSY } else { PAUSE }
            }
            Err(err) => {
                let cause = format!("{:#}", anyhow::Error::from(err));
                if status.last_error.as_ref() == Some(&cause) {
                    debug!(cause, "{what}");
                } else {
                    warn!(cause, "{what}");
                }
                status.last_error = Some(cause);
                PAUSE_AFTER_FAILURE
            }
        };
        drop(status);
        self.task = tick_after(&self.args.clock, pause, myself.clone());
    }
}

fn tick_after(clock: &Clock, pause: Duration, sealer: ActorRef<SealerMsg>) -> Task {
    let clock = clock.clone();
    Task::spawn(async move {
        clock.sleep(pause).await;
        let _ = sealer.cast(SealerMsg::Tick);
    })
}
