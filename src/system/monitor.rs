//! Has the monitor's own health looked at in time, and its dependencies asked, each at its own interval.
//!
//! When it dies a look under way is lost, and the next comes in its turn; what holds as an alarm is with the desk and in the store.

use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::FutureExt;
use ractor::{Actor, ActorProcessingErr, ActorRef};
use ractor_cluster::RactorMessage;
use tracing::error;

use crate::clock::Clock;
use crate::model::system::Health;
use crate::model::time::Timestamp;
use crate::supervise::Task;
use crate::system::desk::Desk;

/// The first look of a hub that starts: its own region is up by then.
const FIRST_AFTER: Duration = Duration::from_secs(2);

pub struct SystemMonitor;

#[derive(Debug, RactorMessage)]
pub enum SystemMonitorMsg {
    Tick,
    /// The error is a panic's.
    Looked(Result<Health, String>),
}

#[derive(Clone)]
pub struct SystemMonitorArgs {
    pub desk: Arc<Desk>,
    pub clock: Clock,
    pub status: Arc<Mutex<SystemMonitorStatus>>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SystemMonitorStatus {
    pub looks: u64,
    pub last_run: Option<Timestamp>,
    pub health: Option<Health>,
    pub dependencies: usize,
    pub last_error: Option<String>,
}

pub struct SystemMonitorState {
    args: SystemMonitorArgs,
    task: Task,
    _asking: Vec<Task>,
}

impl Actor for SystemMonitor {
    type Msg = SystemMonitorMsg;
    type State = SystemMonitorState;
    type Arguments = SystemMonitorArgs;

    async fn pre_start(
        &self,
        myself: ActorRef<SystemMonitorMsg>,
        args: SystemMonitorArgs,
    ) -> Result<SystemMonitorState, ActorProcessingErr> {
        args.status.lock().expect("no holder panics").dependencies = args.desk.dependencies.len();
        let task = tick_after(&args.clock, FIRST_AFTER, myself);
        let asking = args.desk.dependencies.iter().map(|dependency| {
            let (dependency, clock) = (dependency.clone(), args.clock.clone());
            Task::spawn(async move {
                loop {
                    dependency.check().await;
                    clock.sleep(dependency.settings.interval).await;
                }
            })
        });
        let asking = asking.collect();
        Ok(SystemMonitorState { args, task, _asking: asking })
    }

    async fn handle(
        &self,
        myself: ActorRef<SystemMonitorMsg>,
        message: SystemMonitorMsg,
        state: &mut SystemMonitorState,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            SystemMonitorMsg::Tick => state.look(&myself),
            SystemMonitorMsg::Looked(outcome) => state.looked(&myself, outcome),
        }
        Ok(())
    }
}

impl SystemMonitorState {
    fn look(&mut self, myself: &ActorRef<SystemMonitorMsg>) {
        let (desk, myself) = (self.args.desk.clone(), myself.clone());
        self.task = Task::spawn(async move {
            let outcome = AssertUnwindSafe(desk.collect()).catch_unwind().await;
            let outcome = outcome.map(|report| report.health).map_err(|_| "looking panicked".to_owned());
            let _ = myself.cast(SystemMonitorMsg::Looked(outcome));
        });
    }

    fn looked(&mut self, myself: &ActorRef<SystemMonitorMsg>, outcome: Result<Health, String>) {
        let mut status = self.args.status.lock().expect("no holder panics");
        status.last_run = Some(self.args.clock.now());
        status.looks += 1;
        status.last_error = outcome.as_ref().err().cloned();
        match outcome {
            Ok(health) => status.health = Some(health),
            Err(reason) => error!(reason, "the monitor's own health was not looked at"),
        }
        drop(status);
        self.task = tick_after(&self.args.clock, self.args.desk.settings.interval, myself.clone());
    }
}

fn tick_after(clock: &Clock, pause: Duration, monitor: ActorRef<SystemMonitorMsg>) -> Task {
    let clock = clock.clone();
    Task::spawn(async move {
        clock.sleep(pause).await;
        let _ = monitor.cast(SystemMonitorMsg::Tick);
    })
}
