//! Owns the probers of a region: one for each enabled service assigned to it, started, edited, retired and restarted here.
//!
//! A prober that fails starts again by the restart policy, alone; past its budget it is quarantined until its service is
//! edited. Assignments come as whole generations and are held against what runs.
//!
//! A service is never checked twice at once: one that comes back while its retired prober still ends a check is started
//! when that one has ended.
//!
//! When this actor dies its probers die with it; the next one starts them from the assignments, which the link keeps.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ractor::{Actor, ActorId, ActorProcessingErr, ActorRef, RpcReplyPort, SupervisionEvent};
use ractor_cluster::RactorMessage;
use tokio::sync::{mpsc, watch};
use tracing::{debug, error, info, warn};

use crate::config::service::ServiceDocument;
use crate::model::id::ServiceId;
use crate::model::schedule::Place;
use crate::model::service::{Schedule, Service};
use crate::model::time::Timestamp;
use crate::region::outbox::OutboxMsg;
use crate::region::prober::{Asker, Prober, ProberArgs, ProberMsg, Tally};
use crate::region::shared::Shared;
use crate::supervise::{Decision, Restarts, Task};
use crate::wire::link::{Assignment, Assignments, CheckNow};

/// A service edited while it runs is probed as edited within this.
const EDIT_WITHIN: Duration = Duration::from_secs(1);

pub struct Supervisor;

#[derive(Debug, RactorMessage)]
pub enum SupervisorMsg {
    Assign(Assignments),
    Respawn(ServiceId),
    CheckNow(CheckNow),
    /// Retires all probers; answers once none is left.
    Drain(RpcReplyPort<()>),
}

pub struct SupervisorArgs {
    pub shared: Arc<Shared>,
    pub outbox: ActorRef<OutboxMsg>,
    pub assignments: watch::Receiver<Assignments>,
    pub requests: Arc<tokio::sync::Mutex<mpsc::Receiver<CheckNow>>>,
    pub status: Arc<Mutex<SupervisorStatus>>,
}

/// The probers and how they fare.
#[derive(Clone, Debug, Default)]
pub struct SupervisorStatus {
    /// The generation of assignments that runs.
    pub generation: u64,
    pub probers: BTreeMap<ServiceId, ProberStatus>,
}

#[derive(Clone, Debug)]
pub struct ProberStatus {
    pub service: ServiceId,
    pub name: Arc<str>,
    pub state: ProberLife,
    pub restarts: u64,
    pub last_error: Option<String>,
    pub tally: Arc<Tally>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProberLife {
    Running,
    /// Failed; starts again at this time, as this attempt.
    Waiting {
        attempt: u32,
        until: Timestamp,
    },
    Quarantined {
        since: Timestamp,
    },
}

pub struct SupervisorState {
    args: SupervisorArgs,
    slots: HashMap<ServiceId, Slot>,
    by_actor: HashMap<ActorId, ServiceId>,
    /// Probers told to end that have not ended; one for a service at most.
    retiring: HashMap<ServiceId, ActorId>,
    /// The first assignments since this actor started have been taken up.
    assigned: bool,
    /// All ends: nothing is started any more.
    draining: bool,
    drains: Vec<RpcReplyPort<()>>,
    _pumps: [Task; 2],
}

struct Slot {
    revision: u64,
    service: Arc<Service>,
    tally: Arc<Tally>,
    restarts: Restarts,
    prober: Option<ActorRef<ProberMsg>>,
    timer: Option<Task>,
}

impl Actor for Supervisor {
    type Msg = SupervisorMsg;
    type State = SupervisorState;
    type Arguments = SupervisorArgs;

    async fn pre_start(&self, myself: ActorRef<SupervisorMsg>, args: SupervisorArgs) -> Result<SupervisorState, ActorProcessingErr> {
        let pumps = [pump_assignments(args.assignments.clone(), myself.clone()), pump_requests(args.requests.clone(), myself)];
        Ok(SupervisorState {
            args,
            slots: HashMap::new(),
            by_actor: HashMap::new(),
            retiring: HashMap::new(),
            assigned: false,
            draining: false,
            drains: Vec::new(),
            _pumps: pumps,
        })
    }

    async fn handle(
        &self,
        myself: ActorRef<SupervisorMsg>,
        message: SupervisorMsg,
        state: &mut SupervisorState,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            SupervisorMsg::Assign(assignments) => state.assign(&myself, assignments).await,
            SupervisorMsg::Respawn(service) => state.spawn(&myself, service, Duration::ZERO).await,
            SupervisorMsg::CheckNow(request) => state.check_now(request),
            SupervisorMsg::Drain(reply) => state.drain(reply),
        }
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        myself: ActorRef<SupervisorMsg>,
        event: SupervisionEvent,
        state: &mut SupervisorState,
    ) -> Result<(), ActorProcessingErr> {
        match event {
            SupervisionEvent::ActorFailed(cell, err) => state.lost(&myself, cell.get_id(), Some(format!("{err:#}"))).await,
            // A stop that was asked for gives no reason; a kill or a cancelled task does.
            SupervisionEvent::ActorTerminated(cell, _, reason) => state.lost(&myself, cell.get_id(), reason).await,
            _ => {}
        }
        Ok(())
    }
}

impl SupervisorState {
    async fn assign(&mut self, myself: &ActorRef<SupervisorMsg>, assignments: Assignments) {
        if self.draining {
            return;
        }
        let mut gone: Vec<ServiceId> = self.slots.keys().copied().collect();
        for assignment in assignments.services.iter() {
            let known = self.slots.get(&assignment.id).map(|slot| slot.revision);
            if known == Some(assignment.revision) {
                gone.retain(|id| *id != assignment.id);
                continue;
            }
            let service = match read_document(assignment.id, &assignment.document) {
                Ok(service) => Arc::new(service),
                Err(cause) => {
                    error!(service = assignment.id.0, cause, "assigned service cannot be read, it is not checked here");
                    continue;
                }
            };
            if !service.enabled || !is_for(&service, &self.args.shared) {
                continue;
            }
            gone.retain(|id| *id != assignment.id);
            match known {
                Some(_) => self.edit(myself, service, assignment.revision).await,
                None => self.add(myself, service, assignment).await,
            }
        }
        for id in gone {
            self.retire(id);
        }
        self.assigned = true;
        let mut status = self.args.status.lock().expect("no holder panics");
        status.generation = assignments.generation;
        debug!(generation = assignments.generation, services = self.slots.len(), "assignments run");
    }

    async fn add(&mut self, myself: &ActorRef<SupervisorMsg>, service: Arc<Service>, assignment: &Assignment) {
        let id = service.id;
        // Only what is there when this actor starts is spread over seconds; what a person adds is checked at once.
        let place = Place::of(id, &self.args.shared.settings.name);
        let now = self.args.shared.clock.now();
        let wait = match (assignment.checked_until, self.assigned) {
            // Taken over from another node: the round it has checked is not checked again.
            (Some(until), _) if until <= now => service.schedule.next_after(place, until).since(now),
            (_, false) => service.schedule.first_wait(place, now),
            (_, true) => place.within(service.schedule.gap(now).min(EDIT_WITHIN)),
        };
        let slot = Slot {
            revision: assignment.revision,
            service,
            tally: Arc::new(Tally::default()),
            restarts: Restarts::new(&self.args.shared.settings.restart),
            prober: None,
            timer: None,
        };
        self.slots.insert(id, slot);
        self.spawn(myself, id, wait).await;
    }

    async fn edit(&mut self, myself: &ActorRef<SupervisorMsg>, service: Arc<Service>, revision: u64) {
        let id = service.id;
        let Some(slot) = self.slots.get_mut(&id) else { return };
        slot.service = service.clone();
        slot.revision = revision;
        match &slot.prober {
            Some(prober) => {
                let _ = prober.cast(ProberMsg::Edit(service));
                self.note(id, None, None);
            }
            // Waiting or quarantined: an edited service is given a new chance at once.
            None => {
                slot.restarts = Restarts::new(&self.args.shared.settings.restart);
                slot.timer = None;
                self.spawn(myself, id, Duration::ZERO).await;
            }
        }
    }

    fn retire(&mut self, id: ServiceId) {
        let Some(slot) = self.slots.remove(&id) else { return };
        self.args.status.lock().expect("no holder panics").probers.remove(&id);
        self.args.shared.latest.forget(id);
        if let Some(prober) = slot.prober {
            self.let_go(id, &prober);
        }
        info!(service = id.0, name = &*slot.service.name, "prober retired");
    }

    /// Tells a prober whose slot is gone to end. Its end is news only to who waits for its service.
    fn let_go(&mut self, id: ServiceId, prober: &ActorRef<ProberMsg>) {
        self.retiring.insert(id, prober.get_id());
        let _ = prober.cast(ProberMsg::Retire);
    }

    async fn spawn(&mut self, myself: &ActorRef<SupervisorMsg>, id: ServiceId, wait: Duration) {
        let Some(slot) = self.slots.get_mut(&id) else { return };
        slot.timer = None;
        if self.retiring.contains_key(&id) {
            self.note(id, Some(ProberLife::Running), None);
            return;
        }
        let args = ProberArgs {
            shared: self.args.shared.clone(),
            outbox: self.args.outbox.clone(),
            service: slot.service.clone(),
            tally: slot.tally.clone(),
            first_wait: wait,
        };
        match Actor::spawn_linked(None, Prober, args, myself.get_cell()).await {
            Ok((prober, _)) => {
                slot.restarts.started(self.args.shared.clock.steady());
                self.by_actor.insert(prober.get_id(), id);
                slot.prober = Some(prober);
                info!(service = id.0, name = &*slot.service.name, first_check_ms = wait.as_millis() as u64, "prober started");
                self.note(id, Some(ProberLife::Running), None);
            }
            Err(err) => self.failed(myself, id, format!("could not start: {err:#}")),
        }
    }

    async fn lost(&mut self, myself: &ActorRef<SupervisorMsg>, actor: ActorId, cause: Option<String>) {
        let Some(id) = self.by_actor.remove(&actor) else { return };
        let current = self.slots.get(&id).and_then(|slot| slot.prober.as_ref()).is_some_and(|prober| prober.get_id() == actor);
        if current && let Some(slot) = self.slots.get_mut(&id) {
            slot.prober = None;
            slot.tally.running.store(false, Ordering::Relaxed);
        }
        match cause {
            Some(cause) if current => self.failed(myself, id, cause),
            _ => {}
        }
        if self.retiring.get(&id) == Some(&actor) {
            self.retiring.remove(&id);
            // It may have come back meanwhile.
            if self.slots.get(&id).is_some_and(|slot| slot.prober.is_none()) {
                self.spawn(myself, id, Duration::ZERO).await;
            }
        }
        self.answer_drains();
    }

    fn failed(&mut self, myself: &ActorRef<SupervisorMsg>, id: ServiceId, cause: String) {
        let Some(slot) = self.slots.get_mut(&id) else { return };
        let (clock, name) = (&self.args.shared.clock, slot.service.name.clone());
        match slot.restarts.failed(clock.steady(), rand::random()) {
            Decision::Restart { attempt, delay } => {
                let delay_ms = delay.as_millis() as u64;
                warn!(service = id.0, name = &*name, attempt, delay_ms, cause, "prober failed, it starts again");
                self.args.shared.counts.restarts.fetch_add(1, Ordering::Relaxed);
                let (until, clock, myself) = (clock.now().plus(delay), clock.clone(), myself.clone());
                slot.timer = Some(Task::spawn(async move {
                    clock.sleep(delay).await;
                    let _ = myself.cast(SupervisorMsg::Respawn(id));
                }));
                self.note(id, Some(ProberLife::Waiting { attempt, until }), Some(cause));
            }
            Decision::Quarantine { failures } => {
                error!(service = id.0, name = &*name, failures, cause, "prober quarantined until its service is edited");
                self.args.shared.counts.quarantined.fetch_add(1, Ordering::Relaxed);
                let since = clock.now();
                self.note(id, Some(ProberLife::Quarantined { since }), Some(cause));
            }
        }
    }

    fn check_now(&mut self, request: CheckNow) {
        // Dropped unanswered, the request tells the asker that nobody here checks this service.
        if let Some(prober) = self.slots.get(&request.service).and_then(|slot| slot.prober.as_ref()) {
            let _ = prober.cast(ProberMsg::CheckNow(Asker { answer: request.answer, watcher: request.watcher }));
        }
    }

    fn drain(&mut self, reply: RpcReplyPort<()>) {
        self.draining = true;
        self.drains.push(reply);
        let ids: Vec<ServiceId> = self.slots.keys().copied().collect();
        for id in ids {
            if let Some(prober) = self.slots.remove(&id).and_then(|slot| slot.prober) {
                self.let_go(id, &prober);
            }
        }
        self.answer_drains();
    }

    fn answer_drains(&mut self) {
        if self.by_actor.is_empty() {
            for reply in self.drains.drain(..) {
                let _ = reply.send(());
            }
        }
    }

    /// Leaves word of one prober in the status.
    fn note(&self, id: ServiceId, life: Option<ProberLife>, error: Option<String>) {
        let Some(slot) = self.slots.get(&id) else { return };
        let mut status = self.args.status.lock().expect("no holder panics");
        let entry = status.probers.entry(id).or_insert_with(|| ProberStatus {
            service: id,
            name: slot.service.name.clone(),
            state: ProberLife::Running,
            restarts: 0,
            last_error: None,
            tally: slot.tally.clone(),
        });
        entry.name = slot.service.name.clone();
        if let Some(life) = life {
            entry.restarts += u64::from(life != ProberLife::Running);
            entry.state = life;
        }
        if error.is_some() {
            entry.last_error = error;
        }
    }
}

/// A service as it was sent to this node, or why it cannot be read.
pub fn read_document(id: ServiceId, text: &str) -> Result<Service, String> {
    let value = serde_json::from_str(text).map_err(|err| err.to_string())?;
    // Documents are assigned with their schedule filled in; an hour stands for one that is missing all the same.
    let fallback = Schedule::Interval(Duration::from_secs(3600));
    ServiceDocument::read(&value)
        .and_then(|document| document.check(id, &fallback))
        .map_err(|mistakes| mistakes.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))
}

fn is_for(service: &Service, shared: &Shared) -> bool {
    service.regions.as_ref().is_none_or(|regions| regions.iter().any(|region| **region == *shared.settings.name.0))
}

fn pump_assignments(mut assignments: watch::Receiver<Assignments>, supervisor: ActorRef<SupervisorMsg>) -> Task {
    Task::spawn(async move {
        loop {
            let current = assignments.borrow_and_update().clone();
            // Generation 0 is the one before the hub has said anything.
            if current.generation > 0 && supervisor.cast(SupervisorMsg::Assign(current)).is_err() {
                return;
            }
            if assignments.changed().await.is_err() {
                return;
            }
        }
    })
}

fn pump_requests(requests: Arc<tokio::sync::Mutex<mpsc::Receiver<CheckNow>>>, supervisor: ActorRef<SupervisorMsg>) -> Task {
    Task::spawn(async move {
        let mut requests = requests.lock().await;
        while let Some(request) = requests.recv().await {
            if supervisor.cast(SupervisorMsg::CheckNow(request)).is_err() {
                return;
            }
        }
    })
}
