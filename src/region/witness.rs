//! Looks at places that have nothing to do with the services, to know whether this node sees anything at all.
//!
//! It takes a nudge whenever a service turns, and gives the node's sight: while none of its witnesses lets it connect, what its
//! checks say is about this node and not about their targets, and the hub does not count it. One witness that answers is
//! enough to see. A single round may fail by itself, so blindness takes a few in a row; they follow each other quickly.
//!
//! A node that sees again says so once what it made while it was blind has been delivered: until then the hub could not
//! tell one from the other. And when a service turns bad, nothing is sent before a witness has answered or the node is known
//! to be blind, so that the first failures of a blind node do not go ahead of that word. As a rule that takes one round
//! trip, within the time a commit takes; where no witness answers, `blind_after` × `timeout`, ten seconds at most. What remains is a
//! check that began blind and ends seeing: it is counted as any other.
//!
//! When this actor dies the sight stays as it was, and the rounds in a row are counted anew.

use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use ractor::{Actor, ActorProcessingErr, ActorRef};
use ractor_cluster::RactorMessage;
use tokio::net::TcpStream;
use tracing::{info, warn};

use crate::model::time::Timestamp;
use crate::region::shared::Shared;
use crate::supervise::Task;

/// Between two looks, however often it is nudged: the witnesses are other people's.
const LEAST_GAP: Duration = Duration::from_millis(250);
/// Between rounds that decide whether the node is blind.
const CONFIRM_AFTER: Duration = Duration::from_millis(200);
/// How often it looks whether what was made blind is delivered.
const SETTLE_EVERY: Duration = Duration::from_millis(250);
/// For results that are on their way to the outbox, beyond its own interval.
const SETTLE_LEAST: Duration = Duration::from_millis(300);

pub struct Witness;

#[derive(Debug, RactorMessage)]
pub enum WitnessMsg {
    Tick,
    /// A service turned.
    Nudged,
    /// The first witness that answered, or why none did.
    Looked(Result<String, Vec<String>>),
}

pub struct WitnessArgs {
    pub shared: Arc<Shared>,
    pub status: Arc<Mutex<WitnessStatus>>,
}

/// How the looks went.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WitnessStatus {
    pub rounds: u64,
    pub failed_in_a_row: u32,
    pub last_look: Option<Timestamp>,
    /// The witness that answered last.
    pub answered: Option<String>,
    pub blind_since: Option<Timestamp>,
    /// Why none answered, in the last round that failed.
    pub last_error: Option<String>,
}

pub struct WitnessState {
    args: WitnessArgs,
    looking: Option<Task>,
    /// The look under way began after the doubt there is.
    decides: bool,
    /// A nudge came, and no look has begun since.
    again: bool,
    /// Steady times.
    looked: Option<Duration>,
    due: Duration,
    timer: Option<Task>,
    failed: u32,
    /// When a witness answered again, steady and as batches are aged; the node is not yet said to see.
    regained: Option<(Duration, Timestamp)>,
    _nudges: Task,
}

impl Actor for Witness {
    type Msg = WitnessMsg;
    type State = WitnessState;
    type Arguments = WitnessArgs;

    async fn pre_start(&self, myself: ActorRef<WitnessMsg>, args: WitnessArgs) -> Result<WitnessState, ActorProcessingErr> {
        let (shared, nudged) = (args.shared.clone(), myself.clone());
        let nudges = Task::spawn(async move {
            loop {
                shared.look.notified().await;
                if nudged.cast(WitnessMsg::Nudged).is_err() {
                    return;
                }
            }
        });
        myself.cast(WitnessMsg::Tick)?;
        let due = args.shared.clock.steady();
        Ok(WitnessState {
            args,
            looking: None,
            decides: false,
            again: false,
            looked: None,
            due,
            timer: None,
            failed: 0,
            regained: None,
            _nudges: nudges,
        })
    }

    async fn handle(&self, myself: ActorRef<WitnessMsg>, message: WitnessMsg, state: &mut WitnessState) -> Result<(), ActorProcessingErr> {
        match message {
            WitnessMsg::Tick => state.tick(&myself),
            WitnessMsg::Nudged => state.nudged(&myself),
            WitnessMsg::Looked(outcome) => state.take(&myself, outcome),
        }
        Ok(())
    }
}

impl WitnessState {
    fn tick(&mut self, myself: &ActorRef<WitnessMsg>) {
        self.timer = None;
        if self.looking.is_some() {
            return;
        }
        self.settle();
        let now = self.args.shared.clock.steady();
        if now < self.next_look() {
            self.arm(myself);
            return;
        }
        self.again = false;
        self.decides = *self.args.shared.doubt.borrow();
        let settings = &self.args.shared.settings.witness;
        let (places, timeout, myself) = (settings.places.clone(), settings.timeout, myself.clone());
        self.looking = Some(Task::spawn(async move {
            let _ = myself.cast(WitnessMsg::Looked(look(&places, timeout).await));
        }));
    }

    fn nudged(&mut self, myself: &ActorRef<WitnessMsg>) {
        self.again = true;
        if self.looking.is_none() {
            self.arm(myself);
        }
    }

    fn take(&mut self, myself: &ActorRef<WitnessMsg>, outcome: Result<String, Vec<String>>) {
        self.looking = None;
        let clock = &self.args.shared.clock;
        self.looked = Some(clock.steady());
        {
            let mut status = self.args.status.lock().expect("no holder panics");
            status.rounds += 1;
            status.last_look = Some(clock.now());
            match &outcome {
                Ok(place) => status.answered = Some(place.clone()),
                Err(reasons) => status.last_error = Some(reasons.join("; ")),
            }
            status.failed_in_a_row = if outcome.is_ok() { 0 } else { self.failed + 1 };
        }
        let answered = outcome.is_ok();
        match outcome {
            Ok(_) => self.seen(),
            Err(reasons) => self.unseen(&reasons),
        }
        let shared = &self.args.shared;
        // One that is blind is in no doubt either.
        if (answered && self.decides) || shared.sight.borrow().is_some() {
            shared.doubt.send_if_modified(std::mem::take);
        }
        self.arm(myself);
    }

    fn seen(&mut self) {
        self.failed = 0;
        let shared = &self.args.shared;
        if self.regained.is_none() && shared.sight.borrow().is_some() {
            self.regained = Some((shared.clock.steady(), shared.outbox_now()));
            shared.sight.send_replace(Some("it sees again, what it made while it was blind is still on its way".to_owned()));
        }
    }

    fn unseen(&mut self, reasons: &[String]) {
        self.failed += 1;
        self.regained = None;
        let shared = &self.args.shared;
        if self.failed < shared.settings.witness.blind_after {
            return;
        }
        let reason = match reasons {
            [only] => format!("its witness does not answer: {only}"),
            all => format!("none of its {} witnesses answers: {}", all.len(), all.join("; ")),
        };
        if shared.sight.borrow().is_none() {
            warn!(reason, "this node is blind, its checks say nothing of their targets");
            self.args.status.lock().expect("no holder panics").blind_since = Some(shared.clock.now());
        }
        shared.sight.send_if_modified(|sight| {
            let new = sight.as_deref() != Some(reason.as_str());
            *sight = Some(reason);
            new
        });
    }

    /// Says that the node sees, once the hub has what was made while it did not.
    fn settle(&mut self) {
        let Some((since, mark)) = self.regained else { return };
        let shared = &self.args.shared;
        let committed = shared.clock.steady().saturating_sub(since) >= shared.settings.commit_interval + SETTLE_LEAST;
        if !committed || shared.file.depth().oldest.is_some_and(|oldest| oldest <= mark.plus(shared.settings.commit_interval)) {
            return;
        }
        self.regained = None;
        self.args.status.lock().expect("no holder panics").blind_since = None;
        info!("this node sees again");
        shared.sight.send_replace(None);
    }

    fn next_look(&self) -> Duration {
        let settings = &self.args.shared.settings.witness;
        let Some(looked) = self.looked else { return Duration::ZERO };
        let gap = match self.failed {
            1.. if self.failed < settings.blind_after => CONFIRM_AFTER,
            _ if self.again => settings.interval.min(LEAST_GAP),
            _ => settings.interval,
        };
        looked + gap
    }

    /// One timer at most; it is only ever brought forward.
    fn arm(&mut self, myself: &ActorRef<WitnessMsg>) {
        let clock = self.args.shared.clock.clone();
        let now = clock.steady();
        let mut due = self.next_look();
        if self.regained.is_some() {
            due = due.min(now + SETTLE_EVERY);
        }
        if self.timer.is_some() && self.due <= due {
            return;
        }
        self.due = due;
        let myself = myself.clone();
        self.timer = Some(Task::spawn(async move {
            clock.sleep(due.saturating_sub(now)).await;
            let _ = myself.cast(WitnessMsg::Tick);
        }));
    }
}

/// Connects to all at once; the first that answers is enough.
pub async fn look(places: &[String], timeout: Duration) -> Result<String, Vec<String>> {
    let mut tries: FuturesUnordered<_> = places.iter().map(|place| async move { (place, connect(place, timeout).await) }).collect();
    let mut reasons = Vec::new();
    while let Some((place, outcome)) = tries.next().await {
        match outcome {
            Ok(()) => return Ok(place.clone()),
            Err(reason) => reasons.push(format!("{place}: {reason}")),
        }
    }
    reasons.sort();
    Err(reasons)
}

async fn connect(place: &str, timeout: Duration) -> Result<(), String> {
    match tokio::time::timeout(timeout, TcpStream::connect(place)).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(err)) => Err(words(&err)),
        Err(_) => Err(format!("no answer within {} s", timeout.as_secs_f64())),
    }
}

/// The system's errors by their kind, which has no number in it.
fn words(err: &io::Error) -> String {
    if err.raw_os_error().is_some() { err.kind().to_string() } else { err.to_string() }
}
