//! Turns the windows when one begins or ends.
//!
//! When it dies nothing is lost: it looks again when it is started, and whoever asks whether a service is in a window asks by
//! the time, not by what this has said.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use ractor::{Actor, ActorProcessingErr, ActorRef};
use ractor_cluster::RactorMessage;

use crate::clock::Clock;
use crate::maintenance::windows::Windows;
use crate::model::time::Timestamp;
use crate::supervise::Task;

/// It looks at least so often: clocks are set, and windows recur for ever.
const AT_LEAST_EVERY: Duration = Duration::from_secs(60);

pub struct WindowKeeper;

#[derive(Debug, RactorMessage)]
pub enum WindowKeeperMsg {
    Tick,
}

#[derive(Clone)]
pub struct WindowKeeperArgs {
    pub windows: Arc<Windows>,
    pub clock: Clock,
    pub status: Arc<Mutex<WindowKeeperStatus>>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WindowKeeperStatus {
    pub windows: usize,
    pub last_run: Option<Timestamp>,
    /// When a window begins or ends next.
    pub next: Option<Timestamp>,
}

pub struct WindowKeeperState {
    args: WindowKeeperArgs,
    _tick: Task,
}

impl Actor for WindowKeeper {
    type Msg = WindowKeeperMsg;
    type State = WindowKeeperState;
    type Arguments = WindowKeeperArgs;

    async fn pre_start(&self, myself: ActorRef<WindowKeeperMsg>, args: WindowKeeperArgs) -> Result<WindowKeeperState, ActorProcessingErr> {
        let tick = at_the_next_edge(&args, myself);
        Ok(WindowKeeperState { args, _tick: tick })
    }

    async fn handle(
        &self,
        myself: ActorRef<WindowKeeperMsg>,
        message: WindowKeeperMsg,
        state: &mut WindowKeeperState,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            WindowKeeperMsg::Tick => state.tick(myself),
        }
        Ok(())
    }
}

impl WindowKeeperState {
    fn tick(&mut self, myself: ActorRef<WindowKeeperMsg>) {
        let WindowKeeperArgs { windows, clock, status } = &self.args;
        windows.turn();
        let now = clock.now();
        let there = windows.store.list().iter().filter(|window| window.deleted.is_none()).count();
        *status.lock().expect("no holder panics") =
            WindowKeeperStatus { windows: there, last_run: Some(now), next: windows.next_edge(now) };
        self._tick = at_the_next_edge(&self.args, myself);
    }
}

fn at_the_next_edge(args: &WindowKeeperArgs, keeper: ActorRef<WindowKeeperMsg>) -> Task {
    let (windows, clock) = (args.windows.clone(), args.clock.clone());
    Task::spawn(async move {
        loop {
            let now = clock.now();
            let wait = windows.next_edge(now).map_or(AT_LEAST_EVERY, |edge| edge.since(now)).min(AT_LEAST_EVERY);
            tokio::select! {
                () = clock.sleep(wait) => break,
                // The next edge may be another now.
                () = windows.changed.notified() => {}
            }
        }
        let _ = keeper.cast(WindowKeeperMsg::Tick);
    })
}
