//! Has every channel's queue worked off, each in a lane of its own: one that hangs delays no other, and none delays who plans.
//!
//! When it dies nothing is lost: what is to be sent is in the store. A lane that breaks is started again, later each time.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ractor::{Actor, ActorProcessingErr, ActorRef};
use ractor_cluster::RactorMessage;
use tracing::{error, warn};

use crate::alert::lane::{LaneArgs, work};
use crate::config::sections::RestartSettings;
use crate::model::id::ChannelId;
use crate::supervise::{Decision, Restarts, Task};

pub struct Deliverer;

#[derive(Debug, RactorMessage)]
pub enum DelivererMsg {
    /// There may be a channel without a lane.
    Changed,
    /// A lane broke.
    Broke(ChannelId, String),
    Start(ChannelId),
}

#[derive(Clone)]
pub struct DelivererArgs {
    pub lane: LaneArgs,
    pub restart: RestartSettings,
    pub status: Arc<Mutex<BTreeMap<ChannelId, LaneStatus>>>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LaneStatus {
    pub restarts: u64,
    pub last_error: Option<String>,
}

pub struct DelivererState {
    args: DelivererArgs,
    lanes: BTreeMap<ChannelId, Running>,
    _watch: Task,
}

struct Running {
    restarts: Restarts,
    _task: Task,
}

impl Actor for Deliverer {
    type Msg = DelivererMsg;
    type State = DelivererState;
    type Arguments = DelivererArgs;

    async fn pre_start(&self, myself: ActorRef<DelivererMsg>, args: DelivererArgs) -> Result<DelivererState, ActorProcessingErr> {
        let mut changes = args.lane.alerts.deliveries.changes();
        let watched = myself.clone();
        let watch = Task::spawn(async move {
            while changes.changed().await.is_ok() {
                if watched.cast(DelivererMsg::Changed).is_err() {
                    return;
                }
            }
        });
        myself.cast(DelivererMsg::Changed)?;
        Ok(DelivererState { args, lanes: BTreeMap::new(), _watch: watch })
    }

    async fn handle(
        &self,
        myself: ActorRef<DelivererMsg>,
        message: DelivererMsg,
        state: &mut DelivererState,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            DelivererMsg::Changed => state.changed(&myself),
            DelivererMsg::Broke(channel, cause) => state.broke(&myself, channel, cause),
            DelivererMsg::Start(channel) => state.start(&myself, channel),
        }
        Ok(())
    }
}

impl DelivererState {
    /// A channel gets its lane with the first delivery, and keeps it.
    fn changed(&mut self, myself: &ActorRef<DelivererMsg>) {
        for channel in self.args.lane.alerts.deliveries.waiting_channels() {
            if !self.lanes.contains_key(&channel) {
                let mut restarts = Restarts::new(&self.args.restart);
                restarts.started(self.args.lane.clock.steady());
                self.lanes.insert(channel, Running { restarts, _task: self.lane(myself, channel) });
            }
        }
    }

    fn start(&mut self, myself: &ActorRef<DelivererMsg>, channel: ChannelId) {
        let task = self.lane(myself, channel);
        if let Some(running) = self.lanes.get_mut(&channel) {
            running.restarts.started(self.args.lane.clock.steady());
            running._task = task;
        }
    }

    fn broke(&mut self, myself: &ActorRef<DelivererMsg>, channel: ChannelId, cause: String) {
        let Some(running) = self.lanes.get_mut(&channel) else { return };
        // What people must be told is never given up: beyond the budget it is tried at the longest delay.
        let delay = match running.restarts.failed(self.args.lane.clock.steady(), rand::random()) {
            Decision::Restart { delay, .. } => delay,
            Decision::Quarantine { failures } => {
                error!(channel = channel.0, failures, "lane keeps breaking; trying on at the longest delay");
                self.args.restart.max
            }
        };
        warn!(channel = channel.0, delay_ms = delay.as_millis() as u64, cause, "lane broke, it is started again");
        {
            let mut status = self.args.status.lock().expect("no holder panics");
            let status = status.entry(channel).or_default();
            status.restarts += 1;
            status.last_error = Some(cause);
        }
        let (clock, myself) = (self.args.lane.clock.clone(), myself.clone());
        running._task = Task::spawn(async move {
            clock.sleep(delay.max(Duration::from_millis(1))).await;
            let _ = myself.cast(DelivererMsg::Start(channel));
        });
    }

    fn lane(&self, myself: &ActorRef<DelivererMsg>, channel: ChannelId) -> Task {
        let (args, myself) = (self.args.lane.clone(), myself.clone());
        Task::spawn(async move {
            // In a task of its own, so that a panic is seen.
            let mut lane = tokio::task::JoinSet::new();
            lane.spawn(work(args, channel));
            if let Some(Err(broken)) = lane.join_next().await {
                let _ = myself.cast(DelivererMsg::Broke(channel, format!("lane broke off: {broken}")));
            }
        })
    }
}
