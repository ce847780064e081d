//! Keeps incidents: it takes what changed on the board, decides what opens and closes, writes it, and tells it once it is
//! written. It also asks the other regions of a service at its first failure, and looks each second for what time changed.
//!
//! When it dies nothing is lost: changes wait in their queue, and on a start the record since each open incident is gone
//! through again, so that what happened meanwhile is made up for, at its own time. What is written twice changes nothing.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ractor::{Actor, ActorProcessingErr, ActorRef};
use ractor_cluster::RactorMessage;
use tokio::sync::{broadcast, mpsc};
use tracing::{debug, info, warn};

use crate::aggregate::change::{FirstFailure, Folded, RegionChange, VerdictChange};
use crate::aggregate::incident::{Step, StepKind, region_step, step, unwatched, updated};
use crate::aggregate::verdict::Verdict;
use crate::alert::inbox::Inbox;
use crate::api::events::Event;
use crate::clock::Clock;
use crate::hub::replay::missed;
use crate::hub::verdicts::Verdicts;
use crate::maintenance::windows::Windows;
use crate::model::id::{RegionName, ServiceId};
use crate::model::incident::{EntryKind, Incident, IncidentId, TimelineEntry};
use crate::model::span::Span;
use crate::model::time::Timestamp;
use crate::store::Store;
use crate::store::connection::StoreError;
use crate::store::incidents::Incidents;
use crate::store::uptimes::{Uptimes, reach};
use crate::supervise::Task;

const TICK: Duration = Duration::from_secs(1);
const PAUSE_AFTER_FAILURE: Duration = Duration::from_secs(1);
/// Between two times the other regions of one service are asked.
const RECHECK_EVERY: Duration = Duration::from_secs(5);

/// Has all regions of a service but one check it now. It must return at once.
pub type Recheck = Arc<dyn Fn(ServiceId, &RegionName) + Send + Sync>;

pub struct Aggregator;

#[derive(Debug, RactorMessage)]
pub enum AggregatorMsg {
    Changed(Folded),
    Reconciled(Result<Vec<Step>, StoreError>),
    Saved(Result<(), StoreError>),
    Tick,
}

#[derive(Clone)]
pub struct AggregatorArgs {
    pub store: Arc<Store>,
    pub incidents: Arc<Incidents>,
    pub verdicts: Arc<Verdicts>,
    pub changes: Arc<tokio::sync::Mutex<mpsc::UnboundedReceiver<Folded>>>,
    pub uptimes: Arc<Uptimes>,
    pub windows: Arc<Windows>,
    pub events: broadcast::Sender<Arc<Event>>,
    /// Where incidents are told as causes of alerts.
    pub inbox: Inbox,
    pub recheck: Recheck,
    pub clock: Clock,
    pub status: Arc<Mutex<AggregatorStatus>>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AggregatorStatus {
    /// Whether the past was gone through since the start.
    pub reconciled: bool,
    pub open: usize,
    /// Moves of incidents that are not written yet.
    pub unsaved: usize,
    pub rechecks: u64,
    pub last_error: Option<String>,
}

pub struct AggregatorState {
    args: AggregatorArgs,
    open: BTreeMap<ServiceId, Incident>,
    /// Services with an open incident that are in maintenance, and since when and until when.
    maintained: BTreeMap<ServiceId, Span>,
    /// Changes that came before the past was known.
    waiting: Option<Vec<Folded>>,
    /// In order; the first one is being written.
    unsaved: VecDeque<Step>,
    rechecked: HashMap<ServiceId, Duration>,
    saving: Option<Task>,
    _reconciling: Task,
    _pump: Task,
    _tick: Task,
    _uptimes: Task,
}

impl Actor for Aggregator {
    type Msg = AggregatorMsg;
    type State = AggregatorState;
    type Arguments = AggregatorArgs;

    async fn pre_start(&self, myself: ActorRef<AggregatorMsg>, args: AggregatorArgs) -> Result<AggregatorState, ActorProcessingErr> {
        let (changes, pumped) = (args.changes.clone(), myself.clone());
        let pump = Task::spawn(async move {
            let mut changes = changes.lock().await;
            while let Some(folded) = changes.recv().await {
                if pumped.cast(AggregatorMsg::Changed(folded)).is_err() {
                    return;
                }
            }
        });
        let reconciling = reconcile_after(Duration::ZERO, &args, myself.clone());
        let tick = tick_after(&args.clock, myself);
        let uptimes = keep_uptimes(&args);
        Ok(AggregatorState {
            args,
            open: BTreeMap::new(),
            maintained: BTreeMap::new(),
            waiting: Some(Vec::new()),
            unsaved: VecDeque::new(),
            rechecked: HashMap::new(),
            saving: None,
            _reconciling: reconciling,
            _pump: pump,
            _tick: tick,
            _uptimes: uptimes,
        })
    }

    async fn handle(
        &self,
        myself: ActorRef<AggregatorMsg>,
        message: AggregatorMsg,
        state: &mut AggregatorState,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            AggregatorMsg::Changed(folded) => state.changed(folded),
            AggregatorMsg::Reconciled(outcome) => state.reconciled(&myself, outcome),
            AggregatorMsg::Saved(outcome) => state.saved(&myself, outcome),
            AggregatorMsg::Tick => state.tick(&myself),
        }
        state.save_next(&myself);
        state.show();
        Ok(())
    }
}

impl AggregatorState {
    fn changed(&mut self, folded: Folded) {
        // Others are asked whatever is known of the past.
        for first in &folded.first_failures {
            self.ask_others(first);
        }
        match &mut self.waiting {
            Some(waiting) => waiting.push(folded),
            None => self.take(&folded),
        }
    }

    fn take(&mut self, folded: &Folded) {
        for change in &folded.verdicts {
            self.turn(change);
        }
        if !folded.verdicts.is_empty() {
            self.args.inbox.nudge.notify_one();
        }
        for change in &folded.regions {
            self.turn_region(change);
        }
    }

    fn turn(&mut self, change: &VerdictChange) {
        let step = step(self.open.get(&change.service), change, |id| self.knows(id));
        step.into_iter().for_each(|step| self.apply(step));
    }

    fn turn_region(&mut self, change: &RegionChange) {
        let step = self.open.get(&change.service).and_then(|open| region_step(open, change));
        step.into_iter().for_each(|step| self.apply(step));
    }

    fn knows(&self, id: &IncidentId) -> bool {
        self.args.incidents.contains(id) || self.unsaved.iter().any(|step| step.incident.id == *id)
    }

    fn apply(&mut self, mut step: Step) {
        let (service, now) = (step.incident.service, self.args.clock.now());
        step.maintenance = self.args.windows.covers(service, now);
        if step.kind == StepKind::Opened
            && let Some(window) = self.args.windows.covers(service, step.incident.opened_at)
        {
            let title = self.args.windows.store.get(window).map_or_else(String::new, |window| format!(": {}", window.title));
            let text = format!("opened in maintenance window {window}{title}");
            step.entries.push(TimelineEntry { at: step.incident.opened_at, kind: EntryKind::Maintenance, text, who: None });
        }
        match step.kind {
            StepKind::Closed => self.open.remove(&step.incident.service),
            StepKind::Opened | StepKind::Updated => self.open.insert(step.incident.service, step.incident.clone()),
        };
        self.unsaved.push_back(step);
    }

    fn ask_others(&mut self, first: &FirstFailure) {
        let now = self.args.clock.steady();
        if self.rechecked.get(&first.service).is_some_and(|last| now.saturating_sub(*last) < RECHECK_EVERY) {
            return;
        }
        self.rechecked.retain(|_, last| now.saturating_sub(*last) < RECHECK_EVERY);
        self.rechecked.insert(first.service, now);
        debug!(service = first.service.0, region = %first.region, "first failure, other regions are asked");
        self.args.status.lock().expect("no holder panics").rechecks += 1;
        (self.args.recheck)(first.service, &first.region);
    }

    fn reconciled(&mut self, myself: &ActorRef<AggregatorMsg>, outcome: Result<Vec<Step>, StoreError>) {
        let steps = match outcome {
            Ok(steps) => steps,
            Err(err) => {
                self.failed(err, "incidents of before cannot be read, it is tried again");
                self._reconciling = reconcile_after(PAUSE_AFTER_FAILURE, &self.args, myself.clone());
                return;
            }
        };
        for step in steps {
            // One that was only read is open as it was, and not told again.
            if step.entries.is_empty() && step.kind == StepKind::Updated {
                self.open.insert(step.incident.service, step.incident);
            } else {
                self.apply(step);
            }
        }
        let waiting = self.waiting.take().unwrap_or_default();
        waiting.iter().for_each(|folded| self.take(folded));
    }

    fn save_next(&mut self, myself: &ActorRef<AggregatorMsg>) {
        if self.saving.is_some() {
            return;
        }
        let Some(step) = self.unsaved.front().cloned() else { return };
        let (incidents, myself) = (self.args.incidents.clone(), myself.clone());
        self.saving = Some(Task::spawn(async move {
            let _ = myself.cast(AggregatorMsg::Saved(incidents.save(&step.incident, &step.entries).await));
        }));
    }

    fn saved(&mut self, myself: &ActorRef<AggregatorMsg>, outcome: Result<(), StoreError>) {
        if let Err(err) = outcome {
            self.failed(err, "incident cannot be written, it is tried again");
            let (incidents, clock, myself) = (self.args.incidents.clone(), self.args.clock.clone(), myself.clone());
            let Some(step) = self.unsaved.front().cloned() else { return };
            self.saving = Some(Task::spawn(async move {
                clock.sleep(PAUSE_AFTER_FAILURE).await;
                let _ = myself.cast(AggregatorMsg::Saved(incidents.save(&step.incident, &step.entries).await));
            }));
            return;
        }
        self.saving = None;
        self.args.status.lock().expect("no holder panics").last_error = None;
        if let Some(step) = self.unsaved.pop_front() {
            tell(&step);
            self.args.inbox.step(&step);
            let _ = self.args.events.send(Arc::new(Event::from(&step)));
        }
    }

    fn tick(&mut self, myself: &ActorRef<AggregatorMsg>) {
        self.args.verdicts.expire();
        let now = self.args.clock.now();
        let ended: Vec<Step> = self.open.values().filter_map(|incident| self.without_service(incident, now)).collect();
        ended.into_iter().for_each(|step| self.apply(step));
        self.leave_maintenance(now);
        self._tick = tick_after(&self.args.clock, myself.clone());
    }

    /// Tells of incidents that outlast a maintenance window.
    fn leave_maintenance(&mut self, now: Timestamp) {
        let windows = self.args.windows.clone();
        let now_in = |incident: &Incident| windows.covers(incident.service, now).and_then(|_| windows.span_at(incident.service, now));
        let current: BTreeMap<ServiceId, Span> =
            self.open.iter().filter_map(|(service, incident)| Some((*service, now_in(incident)?))).collect();
        let before = std::mem::replace(&mut self.maintained, current);
        for (service, span) in before {
            let Some(incident) = self.open.get(&service).filter(|_| !self.maintained.contains_key(&service)) else { continue };
            // One that was cut short or taken back ended now.
            let at = if span.until <= now { span.until } else { now };
            let text = format!("maintenance has ended, it goes on: {}", incident.first_line);
            self.apply(updated(incident.clone(), at.max(incident.opened_at), EntryKind::Maintenance, text));
        }
    }

    /// An incident ends with what it is about.
    fn without_service(&self, incident: &Incident, now: Timestamp) -> Option<Step> {
        match self.args.verdicts.board.service(incident.service, now) {
            None => Some(unwatched(incident, now, "the service was deleted")),
            Some(state) if state.beneath == Verdict::Disabled => Some(unwatched(incident, now, "the service was disabled")),
            Some(_) => None,
        }
    }

    fn failed(&self, err: StoreError, what: &str) {
        let cause = format!("{:#}", anyhow::Error::from(err));
        let mut status = self.args.status.lock().expect("no holder panics");
        if status.last_error.as_ref() != Some(&cause) {
            warn!(cause, "{what}");
        }
        status.last_error = Some(cause);
    }

    fn show(&self) {
        let mut status = self.args.status.lock().expect("no holder panics");
        status.reconciled = self.waiting.is_none();
        status.open = self.open.len();
        status.unsaved = self.unsaved.len();
    }
}

fn tell(step: &Step) {
    let Step { kind, incident, entries, .. } = step;
    let (id, name, line) = (&*incident.id.0, &*incident.name, incident.first_line.as_str());
    let (service, severity) = (incident.service.0, incident.severity.name());
    match kind {
        StepKind::Opened if step.maintenance.is_some() => {
            info!(incident = id, service, name, severity, line, "incident opened in maintenance");
        }
        StepKind::Opened => warn!(incident = id, service, name, severity, line, "incident opened"),
        StepKind::Updated => {
            let entry = entries.last().map(|entry| entry.text.as_str());
            info!(incident = id, service, name, severity, entry, "incident changed");
        }
        StepKind::Closed => {
            let lasted_s = incident.closed_at.map(|at| at.since(incident.opened_at).as_secs_f64());
            info!(incident = id, service, name, severity, lasted_s, line, "incident closed");
        }
    }
}

fn reconcile_after(pause: Duration, args: &AggregatorArgs, aggregator: ActorRef<AggregatorMsg>) -> Task {
    let (store, incidents, board, clock) = (args.store.clone(), args.incidents.clone(), args.verdicts.board.clone(), args.clock.clone());
    Task::spawn(async move {
        clock.sleep(pause).await;
        let outcome = missed(&store.results, &incidents, &board, clock.now()).await;
        let _ = aggregator.cast(AggregatorMsg::Reconciled(outcome));
    })
}

fn tick_after(clock: &Clock, aggregator: ActorRef<AggregatorMsg>) -> Task {
    let clock = clock.clone();
    Task::spawn(async move {
        clock.sleep(TICK).await;
        let _ = aggregator.cast(AggregatorMsg::Tick);
    })
}

/// Works the up-times out that are out of date, one after the other, so that none holds anything up.
fn keep_uptimes(args: &AggregatorArgs) -> Task {
    let (uptimes, results) = (args.uptimes.clone(), args.store.results.clone());
    let (board, windows, clock) = (args.verdicts.board.clone(), args.windows.clone(), args.clock.clone());
    Task::spawn(async move {
        loop {
            clock.sleep(TICK).await;
            while let Some(service) = uptimes.next() {
                let now = clock.now();
                let Some(rule) = board.rule(service, now) else { continue };
                let excluded = windows.excluded(service, reach(now));
                if let Err(err) = uptimes.refresh(&results, service, rule, &excluded, now).await {
                    debug!(service = service.0, cause = %err, "uptime cannot be read, it is tried again");
                    uptimes.nudge([service]);
                    break;
                }
            }
        }
    })
}
