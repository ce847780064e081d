//! `health.log`: one line for each check when it is first stored.
//!
//! Writing is a few microseconds of formatting into a buffer; a thread behind it writes whole batches. The log never stalls who
//! stores: with the queue full, a batch is counted as lost. The store is the record. The thread ends with the set-up of the logs,
//! whoever still holds a `HealthLog`: what is written then is counted as lost too.

use std::io::Write;
use std::sync::Arc;

use tracing_appender::non_blocking::NonBlocking;

use crate::model::check::CheckResult;
use crate::model::id::ServiceId;
use crate::telemetry::health_line::HealthLine;
use crate::telemetry::sink::Losses;

/// A line of a check that was well is about this long.
const LINE_BYTES: usize = 512;

/// Cheap to clone.
#[derive(Clone)]
pub struct HealthLog(Option<(NonBlocking, Losses)>);

impl HealthLog {
    pub fn new(queue: NonBlocking, losses: Losses) -> HealthLog {
        HealthLog(Some((queue, losses)))
    }

    /// One that keeps nothing.
    pub fn off() -> HealthLog {
        HealthLog(None)
    }

    pub fn write(&self, line: &HealthLine<'_>) {
        if self.0.is_some() {
            let mut text = Vec::with_capacity(LINE_BYTES);
            line.write(&mut text);
            self.put(&text);
        }
    }

    /// A whole batch at once; `name` gives the service's name.
    pub fn write_all<'a>(&self, results: impl ExactSizeIterator<Item = &'a CheckResult>, name: impl Fn(ServiceId) -> Arc<str>) {
        if self.0.is_some() {
            let mut lines = Vec::with_capacity(results.len() * LINE_BYTES);
            for result in results {
                HealthLine { result, service_name: &name(result.service) }.write(&mut lines);
            }
            self.put(&lines);
        }
    }

    /// Batches lost so far.
    pub fn lost(&self) -> u64 {
        self.0.as_ref().map_or(0, |(_, losses)| losses.count())
    }

    fn put(&self, lines: &[u8]) {
        if let Some((queue, _)) = &self.0 {
            queue.clone().write_all(lines).expect("a queue that may lose entries takes all");
        }
    }
}
