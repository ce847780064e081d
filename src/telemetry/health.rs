//! `health.log`: one line for each check when it is first stored.
//!
//! Writing is a few microseconds of formatting into a buffer; a thread behind it writes whole batches. The log never stalls who
//! stores: with the buffer full, lines are counted as lost. The store is the record. The thread ends with the set-up of the logs,
//! whoever still holds a `HealthLog`: what is written then is counted as lost too.

use std::sync::Arc;

use crate::model::check::CheckResult;
use crate::model::id::ServiceId;
use crate::telemetry::health_line::HealthLine;
use crate::telemetry::queue::QueueHandle;

/// Bytes of lines that wait for the disk: about five seconds of five thousand checks a second.
pub const QUEUE_BYTES: usize = 8 << 20;

/// A line of a check that was well is about this long.
const LINE_BYTES: usize = 512;

/// Cheap to clone.
#[derive(Clone)]
pub struct HealthLog(Option<QueueHandle>);

impl HealthLog {
    pub fn new(queue: QueueHandle) -> HealthLog {
        HealthLog(Some(queue))
    }

    /// One that keeps nothing.
    pub fn off() -> HealthLog {
        HealthLog(None)
    }

    pub fn write(&self, line: &HealthLine<'_>) {
        if let Some(handle) = &self.0 {
            let mut text = Vec::with_capacity(LINE_BYTES);
            line.write(&mut text);
            handle.append(1, &text);
        }
    }

    /// A whole batch at once; `name` gives the service's name.
    pub fn write_all<'a>(&self, results: impl ExactSizeIterator<Item = &'a CheckResult>, name: impl Fn(ServiceId) -> Arc<str>) {
        if let Some(handle) = &self.0 {
            let count = results.len();
            let mut lines = Vec::with_capacity(count * LINE_BYTES);
            for result in results {
                HealthLine { result, service_name: &name(result.service) }.write(&mut lines);
            }
            handle.append(count as u64, &lines);
        }
    }

    pub fn lost(&self) -> u64 {
        self.0.as_ref().map_or(0, QueueHandle::lost)
    }
}
