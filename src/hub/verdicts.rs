//! The one way results and silences reach the board, and its changes those who act on them: the log, the listeners and the
//! aggregator.
//!
//! **Invariant.** Changes are handed on in the order the board made them, whoever brought them about.

use std::sync::{Arc, Mutex};

use tokio::sync::{broadcast, mpsc};
use tracing::{info, warn};

use crate::aggregate::board::Board;
use crate::aggregate::change::{Folded, Silence, VerdictChange};
use crate::api::events::Event;
use crate::clock::Clock;
use crate::model::check::CheckResult;
use crate::model::id::RegionName;

pub struct Verdicts {
    pub board: Arc<Board>,
    events: broadcast::Sender<Arc<Event>>,
    /// Verdicts change seldom, and each change once: the queue is as short as the batches behind it are few.
    changed: mpsc::UnboundedSender<Folded>,
    clock: Clock,
    /// Held from a change until it is handed on.
    turn: Mutex<()>,
}

impl Verdicts {
    /// With the queue that the aggregator reads.
    pub fn new(board: Arc<Board>, events: broadcast::Sender<Arc<Event>>, clock: Clock) -> (Verdicts, mpsc::UnboundedReceiver<Folded>) {
        let (changed, changes) = mpsc::unbounded_channel();
        (Verdicts { board, events, changed, clock, turn: Mutex::default() }, changes)
    }

    /// Takes results the store has just stored.
    pub fn fold(&self, results: &[CheckResult]) {
        let _turn = self.turn.lock().expect("no holder panics");
        self.hand_on(self.board.fold(results, self.clock.now()));
    }

    /// Takes the latest states a node sends ahead of its record; they are not stored.
    pub fn fold_snapshot(&self, results: &[CheckResult]) {
        let _turn = self.turn.lock().expect("no holder panics");
        self.hand_on(only(self.board.fold_snapshot(results, self.clock.now())));
    }

    /// Takes a region's vote while its nodes are lost or blind, or gives it back.
    pub fn set_silent(&self, region: &RegionName, silence: Option<Silence>) {
        let _turn = self.turn.lock().expect("no holder panics");
        self.hand_on(only(self.board.set_silent(region, silence, self.clock.now())));
    }

    /// Looks for verdicts that time has changed.
    pub fn expire(&self) {
        let _turn = self.turn.lock().expect("no holder panics");
        self.hand_on(only(self.board.expire(self.clock.now())));
    }

    fn hand_on(&self, folded: Folded) {
        for change in &folded.verdicts {
            tell(change);
            let _ = self.events.send(Arc::new(Event::from(change)));
        }
        if !folded.is_empty() {
            // The queue outlives the aggregator; it ends with the hub.
            let _ = self.changed.send(folded);
        }
    }
}

fn only(verdicts: Vec<VerdictChange>) -> Folded {
    Folded { verdicts, ..Folded::default() }
}

fn tell(change: &VerdictChange) {
    let (from, to) = (change.from.name(), change.to.name());
    match &change.failure {
        Some(failure) => {
            let (reason, phase) = (failure.reason.name(), failure.phase.name());
            warn!(service = change.service.0, name = &*change.name, from, to, reason, phase, cause = failure.message, "verdict changed");
        }
        None => info!(service = change.service.0, name = &*change.name, from, to, "verdict changed"),
    }
}
