//! Watches every service: takes the samples that are whole, has them judged on a thread where they hold nobody up, writes the
//! findings that opened, grew or ended, and tells them once they are written.
//!
//! When it dies nothing is lost: what was learnt is written from time to time, what came since is read again from the
//! rollups, and a finding is named by its cause, so that it is neither lost nor told twice. A service whose samples cannot be judged
//! is learnt anew, and the others do not notice.

pub mod desk;
pub mod gatherer;
pub mod primer;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ractor::{Actor, ActorProcessingErr, ActorRef};
use ractor_cluster::RactorMessage;
use tokio::sync::broadcast;

use crate::aggregate::board::Board;
use crate::analysis::analyzer::desk::Desk;
use crate::analysis::analyzer::gatherer::Gatherer;
use crate::analysis::watch::RegionHabit;
use crate::api::events::Event;
use crate::api::metrics::Metrics;
use crate::clock::Clock;
use crate::config::sections::AnalysisSettings;
use crate::model::id::{RegionName, ServiceId};
use crate::model::time::Timestamp;
use crate::store::Store;
use crate::store::analyst::AnalystStates;
use crate::store::findings::Findings;
use crate::supervise::Task;

const TICK: Duration = Duration::from_secs(1);
const TICK_BUSY: Duration = Duration::from_millis(100);

pub struct Analyzer;

#[derive(Debug, RactorMessage)]
pub enum AnalyzerMsg {
    Tick,
    Rounded(Box<Desk>, bool),
    Broken(String),
}

#[derive(Clone)]
pub struct AnalyzerArgs {
    pub settings: AnalysisSettings,
    pub store: Arc<Store>,
    pub findings: Arc<Findings>,
    pub states: AnalystStates,
    pub board: Arc<Board>,
    pub gatherer: Arc<Gatherer>,
    pub habits: Arc<Habits>,
    pub events: broadcast::Sender<Arc<Event>>,
    pub metrics: Arc<Metrics>,
    pub clock: Clock,
    pub status: Arc<Mutex<AnalyzerStatus>>,
}

/// What is known of each service in each region, for people.
pub type Habits = Mutex<BTreeMap<ServiceId, BTreeMap<RegionName, RegionHabit>>>;

#[derive(Clone, Debug, Default, PartialEq)]
pub struct AnalyzerStatus {
    pub services: usize,
    /// Samples judged.
    pub samples: u64,
    /// Results that came after their sample was judged, and results of the future.
    pub late: u64,
    pub ahead: u64,
    pub open: u64,
    /// Changes of findings that are not written yet.
    pub unsaved: usize,
    /// Services whose samples could not be judged.
    pub failed: u64,
    /// Time spent judging.
    pub busy: Duration,
    pub last_run: Option<Timestamp>,
    pub last_error: Option<String>,
}

pub struct AnalyzerState {
    clock: Clock,
    /// `None` while a round is under way.
    desk: Option<Box<Desk>>,
    _task: Task,
}

impl Actor for Analyzer {
    type Msg = AnalyzerMsg;
    type State = AnalyzerState;
    type Arguments = AnalyzerArgs;

    async fn pre_start(&self, myself: ActorRef<AnalyzerMsg>, args: AnalyzerArgs) -> Result<AnalyzerState, ActorProcessingErr> {
        let clock = args.clock.clone();
        let task = tick_after(&clock, TICK, myself);
        Ok(AnalyzerState { clock, desk: Some(Box::new(Desk::new(args))), _task: task })
    }

    async fn handle(
        &self,
        myself: ActorRef<AnalyzerMsg>,
        message: AnalyzerMsg,
        state: &mut AnalyzerState,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            AnalyzerMsg::Tick => state.round(&myself),
            AnalyzerMsg::Rounded(desk, more) => state.rounded(desk, more, &myself),
            AnalyzerMsg::Broken(cause) => return Err(cause.into()),
        }
        Ok(())
    }
}

impl AnalyzerState {
    fn round(&mut self, myself: &ActorRef<AnalyzerMsg>) {
        let (Some(mut desk), myself) = (self.desk.take(), myself.clone()) else { return };
        self._task = Task::spawn(async move {
            let round = tokio::spawn(async move {
                let more = desk.round().await;
                (desk, more)
            });
            let message = match round.await {
                Ok((desk, more)) => AnalyzerMsg::Rounded(desk, more),
                Err(broken) => AnalyzerMsg::Broken(format!("a round broke off: {broken}")),
            };
            let _ = myself.cast(message);
        });
    }

    fn rounded(&mut self, desk: Box<Desk>, more: bool, myself: &ActorRef<AnalyzerMsg>) {
        self.desk = Some(desk);
        self._task = tick_after(&self.clock, if more { TICK_BUSY } else { TICK }, myself.clone());
    }
}

fn tick_after(clock: &Clock, pause: Duration, analyzer: ActorRef<AnalyzerMsg>) -> Task {
    let clock = clock.clone();
    Task::spawn(async move {
        clock.sleep(pause).await;
        let _ = analyzer.cast(AnalyzerMsg::Tick);
    })
}
