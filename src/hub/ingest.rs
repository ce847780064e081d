//! Takes batches from the link, has the store commit them and answers; only then is anything else told.
//!
//! Each delivery is a task, so a slow commit never holds up the mailbox; a node sends its next after the answer to the
//! last, which bounds them. What is lost when this actor dies is the answer: the node sends the batches again, and the
//! store knows them.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use ractor::{Actor, ActorProcessingErr, ActorRef};
use ractor_cluster::RactorMessage;
use tokio::sync::{broadcast, mpsc};
use tracing::{error, warn};

use crate::aggregate::board::Board;
use crate::aggregate::strip::Strips;
use crate::analysis::analyzer::gatherer::Gatherer;
use crate::api::events::Event;
use crate::api::metrics::Metrics;
use crate::hub::verdicts::Verdicts;
use crate::model::check::CheckResult;
use crate::slo::meter::Meter;
use crate::store::Store;
use crate::store::connection::StoreError;
use crate::store::journal::{Appended, Refusal};
use crate::supervise::Task;
use crate::telemetry::health::HealthLog;
use crate::wire::link::{Answer, Delivery};

pub struct Ingest;

#[derive(Debug, RactorMessage)]
pub enum IngestMsg {
    Deliver(Delivery),
}

/// What one delivery needs; shared by all.
pub struct Intake {
    pub store: Arc<Store>,
    pub board: Arc<Board>,
    pub health: HealthLog,
    pub events: broadcast::Sender<Arc<Event>>,
    pub metrics: Arc<Metrics>,
    pub verdicts: Arc<Verdicts>,
    /// `None`: nobody looks for anomalies.
    pub gatherer: Option<Arc<Gatherer>>,
    /// Of the objectives.
    pub meter: Arc<Meter>,
    pub strips: Arc<Strips>,
    pub status: IngestStatus,
}

#[derive(Debug, Default)]
pub struct IngestStatus {
    pub batches: AtomicU64,
    pub duplicates: AtomicU64,
    pub results: AtomicU64,
    pub refused: AtomicU64,
    pub delayed: AtomicU64,
    pub last_error: Mutex<Option<String>>,
    /// Why the last delivery could not be stored; `None` once one was.
    pub store_error: Mutex<Option<String>>,
}

pub struct IngestArgs {
    pub intake: Arc<Intake>,
    pub deliveries: Arc<tokio::sync::Mutex<mpsc::Receiver<Delivery>>>,
}

pub struct IngestState {
    intake: Arc<Intake>,
    _pump: Task,
}

impl Actor for Ingest {
    type Msg = IngestMsg;
    type State = IngestState;
    type Arguments = IngestArgs;

    async fn pre_start(&self, myself: ActorRef<IngestMsg>, args: IngestArgs) -> Result<IngestState, ActorProcessingErr> {
        let pump = Task::spawn(async move {
            let mut deliveries = args.deliveries.lock().await;
            while let Some(delivery) = deliveries.recv().await {
                if myself.cast(IngestMsg::Deliver(delivery)).is_err() {
                    return;
                }
            }
        });
        Ok(IngestState { intake: args.intake, _pump: pump })
    }

    async fn handle(&self, _: ActorRef<IngestMsg>, message: IngestMsg, state: &mut IngestState) -> Result<(), ActorProcessingErr> {
        match message {
            IngestMsg::Deliver(delivery) => state.deliver(delivery),
        }
        Ok(())
    }
}

impl IngestState {
    fn deliver(&self, delivery: Delivery) {
        let intake = self.intake.clone();
        tokio::spawn(async move {
            let answer = intake.take(&delivery.batches, delivery.clock_offset).await;
            // A node that went away meanwhile sends the batches again.
            let _ = delivery.answer.send(answer);
        });
    }
}

impl Intake {
    async fn take(&self, batches: &[Arc<[u8]>], clock_offset: Option<i64>) -> Answer {
        let group = match self.store.results.append_all(batches, clock_offset).await {
            Ok(group) => group,
            Err(err) => return self.not_taken(err),
        };
        self.status.last_error.lock().expect("no holder panics").take();
        self.status.store_error.lock().expect("no holder panics").take();
        let last = group.stored.last().map(|last| (last.head.boot(), last.through));
        for appended in group.stored {
            self.taken(appended);
        }
        match (group.refused, last) {
            (Some(Refusal { place, message }), _) => self.refused(place, message),
            (None, Some((boot, through))) => Answer::Stored { boot, through },
            (None, None) => Answer::Later { reason: "delivery holds no batch".to_owned() },
        }
    }

    fn taken(&self, appended: Appended) {
        match appended.results {
            None => {
                self.status.duplicates.fetch_add(1, Ordering::Relaxed);
                self.metrics.duplicate();
            }
            Some(results) => {
                self.status.batches.fetch_add(1, Ordering::Relaxed);
                self.status.results.fetch_add(results.len() as u64, Ordering::Relaxed);
                self.metrics.stored(&results);
                self.strips.add(&results, &self.board);
                self.tell(&results);
                self.verdicts.fold(&results);
                self.meter.add(&results);
                if let Some(gatherer) = &self.gatherer {
                    gatherer.add(&results);
                }
                self.health.write_all(results.iter(), |id| self.board.name(id).unwrap_or_else(|| "".into()));
            }
        }
    }

    fn refused(&self, place: usize, reason: String) -> Answer {
        *self.status.last_error.lock().expect("no holder panics") = Some(reason.clone());
        self.status.refused.fetch_add(1, Ordering::Relaxed);
        error!(reason, "batch refused");
        Answer::Refused { place, reason }
    }

    fn not_taken(&self, err: StoreError) -> Answer {
        let reason = format!("{:#}", anyhow::Error::from(err));
        *self.status.last_error.lock().expect("no holder panics") = Some(reason.clone());
        *self.status.store_error.lock().expect("no holder panics") = Some(reason.clone());
        if self.status.delayed.fetch_add(1, Ordering::Relaxed).is_multiple_of(100) {
            warn!(reason, "store takes no results now, nodes keep them");
        }
        Answer::Later { reason }
    }

    fn tell(&self, results: &[CheckResult]) {
        // Nobody listening is the usual case and costs one look.
        if self.events.receiver_count() == 0 {
            return;
        }
        for result in results {
            let _ = self.events.send(Arc::new(Event::from(result)));
        }
    }
}
