//! Owns the writing side of the outbox: takes results, commits them in batches, tells who waits that a check is made.
//!
//! Results that arrive while a commit runs share the next one. A commit that fails (a full disk) is tried again with the
//! same batch, at growing intervals, until it succeeds; meanwhile results wait, and the permits they hold stop new checks.
//!
//! When this actor dies, results that were not committed are lost: those checks were not made. Committed batches lie in
//! the file.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use ractor::{Actor, ActorProcessingErr, ActorRef, RpcReplyPort};
use ractor_cluster::RactorMessage;
use tokio::sync::{OwnedSemaphorePermit, oneshot};
use tracing::{error, info, warn};

use crate::model::check::CheckResult;
use crate::model::id::Boot;
use crate::region::courier::CourierMsg;
use crate::region::outbox_file::{Commit, keep_since};
use crate::region::shared::Shared;
use crate::supervise::Task;
use crate::wire::batch::{BatchHead, encode};

/// Results at which a commit does not wait for its time; no batch holds more.
const FULL: usize = 512;
/// The same in bytes, roughly as they will lie in the batch.
const FULL_BYTES: usize = 2 << 20;
/// Wait after the first failed try; each further one doubles it.
const RETRY_FIRST: Duration = Duration::from_millis(500);
const RETRY_AT_MOST: Duration = Duration::from_secs(10);
/// What the hub has is removed from the file within this.
const FORGET_WITHIN: Duration = Duration::from_secs(1);

pub struct Outbox;

#[derive(Debug, RactorMessage)]
pub enum OutboxMsg {
    /// A check's result, and who waits for its commit.
    Record(Box<CheckResult>, Receipt),
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

/// Goes with a result to the disk. Dropped short of its commit it answers nobody: the check was not made.
#[derive(Debug)]
pub struct Receipt {
    /// The room a result takes up until it is committed.
    pub room: OwnedSemaphorePermit,
    /// Who asked for this check, and what they are told.
    pub askers: Vec<oneshot::Sender<CheckResult>>,
    pub copy: Option<Box<CheckResult>>,
}

impl Receipt {
    /// The result is committed.
    pub fn made(self) {
        if let Some(copy) = self.copy {
            for asker in self.askers {
                let _ = asker.send((*copy).clone());
            }
        }
        drop(self.room);
    }
}

pub struct OutboxArgs {
    pub shared: Arc<Shared>,
    pub courier: ActorRef<CourierMsg>,
}

pub struct OutboxState {
    shared: Arc<Shared>,
    courier: ActorRef<CourierMsg>,
    pending: VecDeque<(CheckResult, Receipt)>,
    pending_bytes: usize,
    /// The last batch left results behind that came before its time was up.
    overdue: bool,
    writing: Option<Writing>,
    /// The commit of `writing` runs; otherwise it failed, and a timer runs to its next try.
    under_way: bool,
    acknowledged: Option<(Boot, u64)>,
    /// One goes with each commit, and what was acknowledged behind them goes with the last.
    refused: VecDeque<(Boot, u64)>,
    flushes: Vec<RpcReplyPort<()>>,
    timer: Option<Timer>,
    failures: u32,
}

struct Timer {
    /// By the steady clock.
    due: Duration,
    _task: Task,
}

/// A batch on its way to the disk.
struct Writing {
    batch: Option<(u64, u64, Vec<u8>)>,
    acknowledged: Option<(Boot, u64)>,
    refused: Option<(Boot, u64)>,
    waiting: Vec<Receipt>,
}

impl Actor for Outbox {
    type Msg = OutboxMsg;
    type State = OutboxState;
    type Arguments = OutboxArgs;

    async fn pre_start(&self, _: ActorRef<OutboxMsg>, args: OutboxArgs) -> Result<OutboxState, ActorProcessingErr> {
        Ok(OutboxState {
            shared: args.shared,
            courier: args.courier,
            pending: VecDeque::new(),
            pending_bytes: 0,
            overdue: false,
            writing: None,
            under_way: false,
            acknowledged: None,
            refused: VecDeque::new(),
            flushes: Vec::new(),
            timer: None,
            failures: 0,
        })
    }

    async fn handle(&self, myself: ActorRef<OutboxMsg>, message: OutboxMsg, state: &mut OutboxState) -> Result<(), ActorProcessingErr> {
        match message {
            OutboxMsg::Record(result, made) => state.record(&myself, *result, made),
            OutboxMsg::Tick => state.tick(&myself),
            OutboxMsg::Committed(outcome) => state.committed(&myself, outcome),
            OutboxMsg::Acknowledged { boot, through } => state.acknowledged(&myself, boot, through),
            OutboxMsg::Refused { boot, number } => state.refused(&myself, boot, number),
            OutboxMsg::Flush(reply) => state.flush(&myself, reply),
        }
        Ok(())
    }
}

impl OutboxState {
    fn record(&mut self, myself: &ActorRef<OutboxMsg>, result: CheckResult, made: Receipt) {
        self.pending_bytes += weight(&result);
        self.pending.push_back((result, made));
        if self.is_full() {
            self.commit(myself);
        } else {
            self.arm(myself, self.shared.settings.commit_interval);
        }
    }

    fn is_full(&self) -> bool {
        self.pending.len() >= FULL || self.pending_bytes >= FULL_BYTES
    }

    fn tick(&mut self, myself: &ActorRef<OutboxMsg>) {
        self.timer = None;
        self.commit(myself);
    }

    fn acknowledged(&mut self, myself: &ActorRef<OutboxMsg>, boot: Boot, through: u64) {
        self.acknowledged = Some((boot, through));
        // Forgetting what the hub has is not urgent: it shares the next commit, or has one of its own after a while.
        self.arm(myself, FORGET_WITHIN);
    }

    fn refused(&mut self, myself: &ActorRef<OutboxMsg>, boot: Boot, number: u64) {
        self.shared.counts.refused.fetch_add(1, Ordering::Relaxed);
        self.refused.push_back((boot, number));
        self.commit(myself);
    }

    fn flush(&mut self, myself: &ActorRef<OutboxMsg>, reply: RpcReplyPort<()>) {
        self.flushes.push(reply);
        self.commit(myself);
        self.answer_flushes();
    }

    /// One timer at most; a running one is never put off, but brought forward.
    fn arm(&mut self, myself: &ActorRef<OutboxMsg>, wait: Duration) {
        let due = self.shared.clock.steady() + wait;
        if self.writing.is_some() || self.timer.as_ref().is_some_and(|timer| timer.due <= due) {
            return;
        }
        self.set_timer(myself, wait);
    }

    fn set_timer(&mut self, myself: &ActorRef<OutboxMsg>, wait: Duration) {
        let (clock, myself) = (self.shared.clock.clone(), myself.clone());
        let due = clock.steady() + wait;
        let task = Task::spawn(async move {
            clock.sleep(wait).await;
            let _ = myself.cast(OutboxMsg::Tick);
        });
        self.timer = Some(Timer { due, _task: task });
    }

    /// Begins a commit, unless one runs or has failed and its time has not come.
    fn commit(&mut self, myself: &ActorRef<OutboxMsg>) {
        if self.under_way || (self.writing.is_some() && self.timer.is_some()) {
            return;
        }
        self.timer = None;
        let writing = match self.writing.take() {
            Some(failed) => failed,
            None if self.pending.is_empty() && self.acknowledged.is_none() && self.refused.is_empty() => return,
            None => self.take_batch(),
        };
        let (shared, myself) = (self.shared.clone(), myself.clone());
        let now = shared.outbox_now();
        let commit = Commit {
            batch: writing.batch.as_ref().map(|(number, results, bytes)| (*number, now, *results, bytes.clone())),
            acknowledged: writing.acknowledged,
            refused: writing.refused,
            max_bytes: shared.settings.outbox_max_bytes,
            keep_since: keep_since(now, shared.settings.outbox_max_age),
        };
        self.writing = Some(writing);
        self.under_way = true;
        tokio::task::spawn_blocking(move || {
            let outcome = shared.file.commit(commit).map_err(|err| format!("{:#}", anyhow::Error::from(err)));
            let _ = myself.cast(OutboxMsg::Committed(outcome));
        });
    }

    fn take_batch(&mut self) -> Writing {
        let (mut results, mut waiting, mut bytes) = (Vec::new(), Vec::new(), 0);
        while results.len() < FULL && bytes < FULL_BYTES {
            let Some((result, made)) = self.pending.pop_front() else { break };
            bytes += weight(&result);
            results.push(result);
            waiting.push(made);
        }
        self.pending_bytes -= bytes;
        self.overdue = !self.pending.is_empty();
        let batch = (!results.is_empty()).then(|| {
            let (settings, number) = (&self.shared.settings, self.shared.next_batch());
            let dropped = self.shared.counts.dropped.load(Ordering::Relaxed);
            let head = BatchHead::new(&settings.node, &settings.name, self.shared.file.boot(), number, dropped);
            self.shared.latest.note(&results);
            (number, results.len() as u64, encode(&head, &results))
        });
        let refused = self.refused.pop_front();
        let acknowledged = if self.refused.is_empty() { self.acknowledged.take() } else { None };
        Writing { batch, acknowledged, refused, waiting }
    }

    fn committed(&mut self, myself: &ActorRef<OutboxMsg>, outcome: Result<u64, String>) {
        self.under_way = false;
        match outcome {
            Ok(dropped) => self.written(myself, dropped),
            Err(cause) => self.not_written(myself, &cause),
        }
    }

    fn written(&mut self, myself: &ActorRef<OutboxMsg>, dropped: u64) {
        let Some(written) = self.writing.take() else { return };
        self.shared.counts.commits.fetch_add(1, Ordering::Relaxed);
        if std::mem::take(&mut self.failures) > 0 {
            info!("outbox can be written again");
            self.shared.counts.outbox_error.lock().expect("no holder panics").take();
        }
        if dropped > 0 {
            let total = self.shared.counts.dropped.fetch_add(dropped, Ordering::Relaxed) + dropped;
            warn!(dropped, total, "outbox is over its bound, oldest results dropped");
        }
        for made in written.waiting {
            made.made();
        }
        if written.batch.is_some() {
            let _ = self.courier.cast(CourierMsg::BatchMade);
        }
        if !self.flushes.is_empty() || self.is_full() || self.overdue || !self.refused.is_empty() {
            self.commit(myself);
            self.answer_flushes();
        } else if !self.pending.is_empty() {
            self.arm(myself, self.shared.settings.commit_interval);
        } else if self.acknowledged.is_some() {
            self.arm(myself, FORGET_WITHIN);
        }
    }

    fn not_written(&mut self, myself: &ActorRef<OutboxMsg>, cause: &str) {
        self.failures += 1;
        let wait = RETRY_FIRST.saturating_mul(1 << (self.failures - 1).min(6)).min(RETRY_AT_MOST);
        let waiting = self.pending.len() + self.writing.as_ref().map_or(0, |writing| writing.waiting.len());
        *self.shared.counts.outbox_error.lock().expect("no holder panics") = Some(cause.to_owned());
        error!(cause, waiting, attempt = self.failures, retry_ms = wait.as_millis() as u64, "outbox cannot be written, checks wait");
        self.set_timer(myself, wait);
    }

    fn answer_flushes(&mut self) {
        if self.flushes.is_empty() || self.writing.is_some() || !self.pending.is_empty() {
            return;
        }
        for flush in self.flushes.drain(..) {
            let _ = flush.send(());
        }
        info!("outbox flushed");
    }
}

/// About the bytes of a result in its batch.
fn weight(result: &CheckResult) -> usize {
    let attempts: usize =
        result.attempts.iter().map(|attempt| 64 + attempt.failure.as_ref().map_or(0, |failure| failure.message.len())).sum();
    let evidence = result.evidence.as_ref().map_or(0, |evidence| {
        let headers: usize = evidence.headers.iter().map(|(name, value)| name.len() + value.len()).sum();
        evidence.body.len() + headers + 256 * evidence.chain.len()
    });
    96 + attempts + evidence
}
