//! Hears of causes and writes what is to be told of them; sending is another's.
//!
//! The work is done round by round in a task beside it. When it dies nothing is lost: what is held and what was told of it is in the
//! store, what was said meanwhile waits in its queue, and the first round goes through the incidents since.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use ractor::{Actor, ActorProcessingErr, ActorRef};
use ractor_cluster::RactorMessage;
use tokio::sync::{Notify, mpsc};
use tracing::warn;

use crate::alert::desk::{Desk, DeskArgs};
use crate::model::alert::CauseMove;
use crate::model::time::Timestamp;
use crate::supervise::Task;

const TICK: Duration = Duration::from_secs(1);
/// Moves of one round; the next takes the others.
const MOST_MOVES: usize = 1_000;

pub struct Dispatcher;

#[derive(Debug, RactorMessage)]
pub enum DispatcherMsg {
    /// The rounds have ended, which they never do by themselves.
    Broken(String),
}

#[derive(Clone)]
pub struct DispatcherArgs {
    pub desk: DeskArgs,
    pub moves: Arc<tokio::sync::Mutex<mpsc::UnboundedReceiver<CauseMove>>>,
    pub nudge: Arc<Notify>,
    pub status: Arc<Mutex<DispatcherStatus>>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DispatcherStatus {
    pub rounds: u64,
    /// Causes of which something may still be told.
    pub held: usize,
    /// Deliveries made since the start.
    pub planned: u64,
    pub last_run: Option<Timestamp>,
    pub last_error: Option<String>,
}

pub struct DispatcherState {
    _rounds: Task,
}

impl Actor for Dispatcher {
    type Msg = DispatcherMsg;
    type State = DispatcherState;
    type Arguments = DispatcherArgs;

    async fn pre_start(&self, myself: ActorRef<DispatcherMsg>, args: DispatcherArgs) -> Result<DispatcherState, ActorProcessingErr> {
        let rounds = Task::watched(rounds_of(args), move |cause| drop(myself.cast(DispatcherMsg::Broken(cause))));
        Ok(DispatcherState { _rounds: rounds })
    }

    async fn handle(&self, _: ActorRef<DispatcherMsg>, message: DispatcherMsg, _: &mut DispatcherState) -> Result<(), ActorProcessingErr> {
        match message {
            DispatcherMsg::Broken(cause) => Err(cause.into()),
        }
    }
}

async fn rounds_of(args: DispatcherArgs) {
    let DispatcherArgs { desk, moves, nudge, status } = args;
    let clock = desk.clock.clone();
    let mut desk = Desk::new(desk);
    let mut moves = moves.lock().await;
    let (mut taken, mut look) = (Vec::new(), true);
    loop {
        let outcome = desk.round(std::mem::take(&mut taken), look).await;
        let now = clock.now();
        let next = {
            let mut status = status.lock().expect("no holder panics");
            status.last_run = Some(now);
            match outcome {
                Ok(round) => {
                    status.rounds += 1;
                    status.held = round.held;
                    status.planned += round.planned as u64;
                    status.last_error = None;
                    round.next
                }
                Err(err) => {
                    let cause = format!("{:#}", anyhow::Error::from(err));
                    if status.last_error.as_ref() != Some(&cause) {
                        warn!(cause, "alerts cannot be planned, it is tried again");
                    }
                    status.last_error = Some(cause);
                    None
                }
            }
        };
        let wait = next.map_or(TICK, |next| next.since(now).clamp(Duration::from_millis(1), TICK));
        look = false;
        tokio::select! {
            _ = moves.recv_many(&mut taken, MOST_MOVES), if !moves.is_closed() => {}
            () = nudge.notified() => look = true,
            () = clock.sleep(wait) => {}
        }
    }
}
