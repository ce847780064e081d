//! Has each service's history judged as a whole every few hours, one service at a time, so that it takes no more than its turn
//! of the machine: rollups in, findings of patterns out.
//!
//! When it dies nothing is lost but the turn: which buckets were judged is kept in memory alone, a pass that does not know looks at
//! the last day, and a finding is named by its service and first bucket, or is the one it grows out of.

pub mod pass;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ractor::{Actor, ActorProcessingErr, ActorRef};
use ractor_cluster::RactorMessage;
use tokio::sync::broadcast;
use tracing::{debug, info, warn};

use crate::aggregate::board::Board;
use crate::analysis::batch_runner::pass::{Pass, pass};
use crate::api::events::Event;
use crate::api::metrics::Metrics;
use crate::clock::Clock;
use crate::config::sections::ForestSettings;
use crate::model::id::ServiceId;
use crate::model::time::Timestamp;
use crate::store::Store;
use crate::store::findings::Findings;
use crate::supervise::Task;

/// Between two services, and when none is due.
const PAUSE: Duration = Duration::from_secs(2);
/// The first passes after a start are spread over this, or over the time between two passes, where that is less.
const SPREAD: Duration = Duration::from_secs(30 * 60);
const PAUSE_AFTER_FAILURE: Duration = Duration::from_secs(60);

pub struct BatchRunner;

#[derive(Debug, RactorMessage)]
pub enum BatchRunnerMsg {
    Tick,
    /// `None`: the service is gone.
    Passed(ServiceId, Result<Option<Pass>, String>),
}

#[derive(Clone)]
pub struct BatchRunnerArgs {
    pub settings: ForestSettings,
    pub store: Arc<Store>,
    pub findings: Arc<Findings>,
    pub board: Arc<Board>,
    pub events: broadcast::Sender<Arc<Event>>,
    pub metrics: Arc<Metrics>,
    pub clock: Clock,
    pub status: Arc<Mutex<BatchRunnerStatus>>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct BatchRunnerStatus {
    pub passes: u64,
    /// Services whose history is too short for a word, as of their last pass.
    pub learning: usize,
    /// Patterns found that were not known.
    pub found: u64,
    /// Time spent on passes.
    pub busy: Duration,
    pub last_run: Option<Timestamp>,
    pub last_error: Option<String>,
}

pub struct BatchRunnerState {
    args: BatchRunnerArgs,
    services: BTreeMap<ServiceId, Turn>,
    _task: Task,
}

/// Where a service stands.
#[derive(Debug)]
struct Turn {
    /// Steady time of its next pass.
    due: Duration,
    /// The end of the buckets that were judged.
    through: Option<Timestamp>,
    learning: bool,
}

impl Actor for BatchRunner {
    type Msg = BatchRunnerMsg;
    type State = BatchRunnerState;
    type Arguments = BatchRunnerArgs;

    async fn pre_start(&self, myself: ActorRef<BatchRunnerMsg>, args: BatchRunnerArgs) -> Result<BatchRunnerState, ActorProcessingErr> {
        let task = tick_after(&args.clock, PAUSE, myself);
        Ok(BatchRunnerState { args, services: BTreeMap::new(), _task: task })
    }

    async fn handle(
        &self,
        myself: ActorRef<BatchRunnerMsg>,
        message: BatchRunnerMsg,
        state: &mut BatchRunnerState,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            BatchRunnerMsg::Tick => state.begin(&myself),
            BatchRunnerMsg::Passed(service, outcome) => state.passed(service, outcome, &myself),
        }
        Ok(())
    }
}

impl BatchRunnerState {
    fn begin(&mut self, myself: &ActorRef<BatchRunnerMsg>) {
        let (now, steady) = (self.args.clock.now(), self.args.clock.steady());
        let spread = SPREAD.min(self.args.settings.every);
        for service in self.args.board.summary(now) {
            // Multiples of the golden ratio spread evenly, however many there are.
            let share = (f64::from(service.id.0) * 0.618_033_988_75).fract();
            let turn = || Turn { due: steady + spread.mul_f64(share), through: None, learning: false };
            self.services.entry(service.id).or_insert_with(turn);
        }
        let next = self.services.iter().min_by_key(|(_, turn)| turn.due).filter(|(_, turn)| turn.due <= steady);
        let Some((service, turn)) = next else {
            self._task = tick_after(&self.args.clock, PAUSE, myself.clone());
            return;
        };
        let (args, service, through, myself) = (self.args.clone(), *service, turn.through, myself.clone());
        self._task = Task::spawn(async move {
            let outcome = pass(&args, service, through).await.map_err(|error| format!("{error:#}"));
            let _ = myself.cast(BatchRunnerMsg::Passed(service, outcome));
        });
    }

    fn passed(&mut self, service: ServiceId, outcome: Result<Option<Pass>, String>, myself: &ActorRef<BatchRunnerMsg>) {
        let (now, steady) = (self.args.clock.now(), self.args.clock.steady());
        let mut pause = PAUSE;
        let mut status = self.args.status.lock().expect("no holder panics");
        match outcome {
            Ok(Some(pass)) => {
                let turn = Turn { due: steady + self.args.settings.every, through: Some(pass.through), learning: pass.learning.is_some() };
                self.services.insert(service, turn);
                status.passes += 1;
                status.found += pass.new as u64;
                status.busy += pass.took;
                status.last_run = Some(now);
                status.last_error = None;
                self.args.metrics.analysed(pass.took);
                self.tell(service, &pass);
            }
            Ok(None) => drop(self.services.remove(&service)),
            Err(cause) => {
                if status.last_error.as_ref() != Some(&cause) {
                    warn!(service = service.0, cause, "history cannot be judged, it is tried again");
                }
                status.last_error = Some(cause);
                if let Some(turn) = self.services.get_mut(&service) {
                    turn.due = steady + PAUSE_AFTER_FAILURE;
                }
                pause = PAUSE_AFTER_FAILURE.min(self.args.settings.every);
            }
        }
        status.learning = self.services.values().filter(|turn| turn.learning).count();
        drop(status);
        self._task = tick_after(&self.args.clock, pause, myself.clone());
    }

    /// What was found, once it is written.
    fn tell(&self, service: ServiceId, pass: &Pass) {
        debug!(
            service = service.0,
            buckets = pass.buckets,
            found = pass.findings.len(),
            took_ms = pass.took.as_millis() as u64,
            "history judged"
        );
        for (index, finding) in pass.findings.iter().enumerate() {
            let (id, name, line, score) = (&*finding.id.0, &*finding.name, finding.summary.as_str(), finding.score);
            let new = index < pass.new;
            if new {
                self.args.metrics.found(finding.signal);
                info!(finding = id, service = service.0, name, score, line, "odd pattern found");
            }
            let _ = self.args.events.send(Arc::new(Event::finding(if new { "opened" } else { "updated" }, finding)));
        }
    }
}

fn tick_after(clock: &Clock, pause: Duration, runner: ActorRef<BatchRunnerMsg>) -> Task {
    let clock = clock.clone();
    Task::spawn(async move {
        clock.sleep(pause).await;
        let _ = runner.cast(BatchRunnerMsg::Tick);
    })
}
