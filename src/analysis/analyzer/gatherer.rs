//! Where results are handed to the analyst as soon as they are stored: it only sorts them into the samples under way, well
//! within a microsecond each.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use crate::aggregate::board::Board;
use crate::analysis::samples::{Samples, span_of};
use crate::clock::Clock;
use crate::model::check::CheckResult;
use crate::model::id::ServiceId;
use crate::model::time::Timestamp;

#[derive(Debug)]
pub struct Gatherer {
    samples: Mutex<Samples>,
    board: Arc<Board>,
    clock: Clock,
    least: Duration,
}

impl Gatherer {
    /// `least` is the shortest span of a sample.
    pub fn new(board: Arc<Board>, clock: Clock, least: Duration) -> Gatherer {
        Gatherer { samples: Mutex::default(), board, clock, least }
    }

    /// Takes results the store has just stored.
    pub fn add(&self, results: &[CheckResult]) {
        let now = self.clock.now();
        self.samples().add(results, now, |service| self.span(service, now));
    }

    pub fn samples(&self) -> MutexGuard<'_, Samples> {
        self.samples.lock().expect("no holder panics")
    }

    /// How long the spans of a service's samples are, in microseconds; `None`: there is no such service.
    pub fn span(&self, service: ServiceId, now: Timestamp) -> Option<i64> {
        self.board.rule(service, now).map(|rule| span_of(rule.gap, self.least))
    }
}
