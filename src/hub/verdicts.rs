//! The one way results and silences reach the board, and its changes those who act on them: the log, the listeners and the
//! aggregator.
//!
//! **Invariant.** Changes are handed on in the order the board made them, whoever brought them about.

use std::sync::{Arc, Mutex};

use tokio::sync::{broadcast, mpsc};
use tracing::{info, warn};

use crate::aggregate::board::Board;
use crate::aggregate::change::{Folded, Silence, VerdictChange};
use crate::aggregate::verdict::Verdict;
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

    /// Takes a region's vote while its nodes are lost or blind, or gives it back. What of it is only that services turn
    /// unknown, or are up as before, is told by their number.
    pub fn set_silent(&self, region: &RegionName, silence: Option<Silence>) {
        let _turn = self.turn.lock().expect("no holder panics");
        let verdicts = self.board.set_silent(region, silence, self.clock.now());
        let (quiet, news): (Vec<&VerdictChange>, Vec<&VerdictChange>) = verdicts.iter().partition(|change| follows(change));
        if !quiet.is_empty() {
            let silent = silence.map(|silence| silence.reason.name());
            info!(region = %region, silent, services = quiet.len(), "verdicts follow a region's silence or return");
        }
        news.into_iter().for_each(|change| self.announce(change));
        self.pass_on(only(verdicts));
    }

    /// Looks for verdicts that time has changed.
    pub fn expire(&self) {
        let _turn = self.turn.lock().expect("no holder panics");
        self.hand_on(only(self.board.expire(self.clock.now())));
    }

    fn hand_on(&self, folded: Folded) {
        folded.verdicts.iter().for_each(|change| self.announce(change));
        self.pass_on(folded);
    }

    fn announce(&self, change: &VerdictChange) {
        // What is shown of it is that it is in maintenance, and stays so.
        if let Some(window) = self.board.maintenance(change.service) {
            let (from, to) = (change.from.name(), change.to.name());
            info!(service = change.service.0, name = &*change.name, from, to, window = window.0, "verdict changed in maintenance");
            return;
        }
        tell(change);
        let _ = self.events.send(Arc::new(Event::from(change)));
    }

    fn pass_on(&self, folded: Folded) {
        if !folded.is_empty() {
            // The queue outlives the aggregator; it ends with the hub.
            let _ = self.changed.send(folded);
        }
    }
}

/// A change that says no more than that a region fell silent or speaks again.
fn follows(change: &VerdictChange) -> bool {
    matches!((change.from, change.to), (_, Verdict::Unknown) | (Verdict::Unknown, Verdict::Up))
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
