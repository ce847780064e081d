//! Owns the writing side of the outbox: takes results, commits them in batches, tells who waits that a check is made.
//!
//! Results that arrive while a commit runs share the next one. A commit that fails (a full disk) is tried again with the
//! same batch until it succeeds; meanwhile results wait, and the permits they hold stop new checks.
//!
//! When this actor dies, results that were not committed are lost: those checks were not made. Committed batches lie in
//! the file.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use ractor::{Actor, ActorProcessingErr, ActorRef, RpcReplyPort};
use tokio::sync::oneshot;
use tracing::{error, info, warn};

use crate::model::check::CheckResult;
use crate::model::id::Boot;
use crate::region::courier::CourierMsg;
use crate::region::outbox_file::{Commit, keep_since};
use crate::region::shared::Shared;
use crate::supervise::Task;
use crate::wire::batch::{BatchHead, encode};

/// Results at which a commit does not wait for its time.
const FULL: usize = 512;
const RETRY_AT_MOST: Duration = Duration::from_secs(10);

pub struct Outbox;

#[derive(Debug)]
pub enum OutboxMsg {
    /// A check's result; the channel is answered once it is committed.
    Record(Box<CheckResult>, oneshot::Sender<()>),
    Tick,
    Committed(Result<u64, String>),
    Acknowledged {
        boot: Boot,
        through: u64,
    },
    Refused {
        boot: Boot,
        number: u64,
    },
    /// Answers once all results taken so far are committed.
    Flush(RpcReplyPort<()>),
}

pub struct OutboxArgs {
    pub shared: Arc<Shared>,
    pub courier: ActorRef<CourierMsg>,
}

pub struct OutboxState {
    shared: Arc<Shared>,
    courier: ActorRef<CourierMsg>,
    pending: Vec<CheckResult>,
    waiting: Vec<oneshot::Sender<()>>,
    writing: Option<Writing>,
    acknowledged: Option<(Boot, u64)>,
    refused: Option<(Boot, u64)>,
    flushes: Vec<RpcReplyPort<()>>,
    timer: Option<Task>,
    failures: u32,
}

/// A batch on its way to the disk.
struct Writing {
    batch: Option<(u64, u64, Vec<u8>)>,
    acknowledged: Option<(Boot, u64)>,
    refused: Option<(Boot, u64)>,
    waiting: Vec<oneshot::Sender<()>>,
}

impl Actor for Outbox {
    type Msg = OutboxMsg;
    type State = OutboxState;
    type Arguments = OutboxArgs;

    async fn pre_start(&self, _: ActorRef<OutboxMsg>, args: OutboxArgs) -> Result<OutboxState, ActorProcessingErr> {
        Ok(OutboxState {
            shared: args.shared,
            courier: args.courier,
            pending: Vec::new(),
            waiting: Vec::new(),
            writing: None,
            acknowledged: None,
            refused: None,
            flushes: Vec::new(),
            timer: None,
            failures: 0,
        })
    }

    async fn handle(&self, myself: ActorRef<OutboxMsg>, message: OutboxMsg, state: &mut OutboxState) -> Result<(), ActorProcessingErr> {
        match message {
            OutboxMsg::Record(result, made) => state.record(&myself, *result, made),
            OutboxMsg::Tick => state.commit(&myself),
            OutboxMsg::Committed(outcome) => state.committed(&myself, outcome),
            OutboxMsg::Acknowledged { boot, through } => state.acknowledged(&myself, boot, through),
            OutboxMsg::Refused { boot, number } => state.refused(&myself, boot, number),
            OutboxMsg::Flush(reply) => state.flush(&myself, reply),
        }
        Ok(())
    }
}

impl OutboxState {
    fn record(&mut self, myself: &ActorRef<OutboxMsg>, result: CheckResult, made: oneshot::Sender<()>) {
        self.pending.push(result);
        self.waiting.push(made);
        if self.pending.len() >= FULL {
            self.commit(myself);
        } else {
            self.arm(myself, self.shared.settings.commit_interval);
        }
    }

    fn acknowledged(&mut self, myself: &ActorRef<OutboxMsg>, boot: Boot, through: u64) {
        self.acknowledged = Some((boot, through));
        // Forgetting what the hub has is not urgent: it shares the next commit, or has one of its own after a while.
        self.arm(myself, Duration::from_secs(1));
    }

    fn refused(&mut self, myself: &ActorRef<OutboxMsg>, boot: Boot, number: u64) {
        self.shared.counts.refused.fetch_add(1, Ordering::Relaxed);
        self.refused = Some((boot, number));
        self.commit(myself);
    }

    fn flush(&mut self, myself: &ActorRef<OutboxMsg>, reply: RpcReplyPort<()>) {
        self.flushes.push(reply);
        self.commit(myself);
        self.answer_flushes();
    }

    /// One timer at most, and a running one is never put off.
    fn arm(&mut self, myself: &ActorRef<OutboxMsg>, wait: Duration) {
        if self.timer.is_some() || self.writing.is_some() {
            return;
        }
        let (clock, myself) = (self.shared.clock.clone(), myself.clone());
        self.timer = Some(Task::spawn(async move {
            clock.sleep(wait).await;
            let _ = myself.cast(OutboxMsg::Tick);
        }));
    }

    fn commit(&mut self, myself: &ActorRef<OutboxMsg>) {
        if self.writing.is_some() && self.failures == 0 {
            return;
        }
        self.timer = None;
        let writing = match self.writing.take() {
            Some(failed) => failed,
            None if self.pending.is_empty() && self.acknowledged.is_none() && self.refused.is_none() => return,
            None => self.take_batch(),
        };
        let (shared, myself) = (self.shared.clone(), myself.clone());
        let now = shared.clock.now();
        let commit = Commit {
            batch: writing.batch.as_ref().map(|(number, results, bytes)| (*number, now, *results, bytes.clone())),
            acknowledged: writing.acknowledged,
            refused: writing.refused,
            max_bytes: shared.settings.outbox_max_bytes,
            keep_since: keep_since(now, shared.settings.outbox_max_age),
        };
        self.failures = 0;
        self.writing = Some(writing);
        tokio::task::spawn_blocking(move || {
            let outcome = shared.file.commit(commit).map_err(|err| format!("{:#}", anyhow::Error::from(err)));
            let _ = myself.cast(OutboxMsg::Committed(outcome));
        });
    }

    fn take_batch(&mut self) -> Writing {
        let results = std::mem::take(&mut self.pending);
        let batch = (!results.is_empty()).then(|| {
            let (settings, number) = (&self.shared.settings, self.shared.next_batch());
            let dropped = self.shared.counts.dropped.load(Ordering::Relaxed);
            let head = BatchHead::new(&settings.node, &settings.name, self.shared.file.boot(), number, dropped);
            (number, results.len() as u64, encode(&head, &results))
        });
        Writing { batch, acknowledged: self.acknowledged.take(), refused: self.refused.take(), waiting: std::mem::take(&mut self.waiting) }
    }

    fn committed(&mut self, myself: &ActorRef<OutboxMsg>, outcome: Result<u64, String>) {
        match outcome {
            Ok(dropped) => {
                let Some(written) = self.writing.take() else { return };
                self.shared.counts.commits.fetch_add(1, Ordering::Relaxed);
                if dropped > 0 {
                    let total = self.shared.counts.dropped.fetch_add(dropped, Ordering::Relaxed) + dropped;
                    warn!(dropped, total, "outbox is over its bound, oldest results dropped");
                }
                for made in written.waiting {
                    // The check may have been given up meanwhile; its result is made all the same.
                    let _ = made.send(());
                }
                if written.batch.is_some() {
                    let _ = self.courier.cast(CourierMsg::BatchMade);
                }
                if !self.flushes.is_empty() || self.pending.len() >= FULL {
                    self.commit(myself);
                    self.answer_flushes();
                } else if !self.pending.is_empty() {
                    self.arm(myself, self.shared.settings.commit_interval);
                } else if self.acknowledged.is_some() {
                    self.arm(myself, Duration::from_secs(1));
                }
            }
            Err(cause) => {
                self.failures += 1;
                let wait = Duration::from_millis(250).saturating_mul(1 << self.failures.min(6)).min(RETRY_AT_MOST);
                let waiting = self.pending.len() + self.writing.as_ref().map_or(0, |writing| writing.waiting.len());
                error!(cause, waiting, retry_ms = wait.as_millis() as u64, "outbox cannot be written, checks wait");
                let (clock, myself) = (self.shared.clock.clone(), myself.clone());
                self.timer = Some(Task::spawn(async move {
                    clock.sleep(wait).await;
                    let _ = myself.cast(OutboxMsg::Tick);
                }));
            }
        }
    }

    fn answer_flushes(&mut self) {
        if self.writing.is_some() || !self.pending.is_empty() {
            return;
        }
        for flush in self.flushes.drain(..) {
            let _ = flush.send(());
        }
        info!("outbox flushed");
    }
}
