//! Has the figures of the API's endpoints written once a minute, and once more at the end.
//!
//! They are kept in memory until they are written: a store that is away costs nothing, a crash a minute of counts.

use std::sync::Arc;
use std::time::Duration;

use tracing::{debug, warn};

use crate::clock::Clock;
use crate::store::endpoints::EndpointHours;
use crate::supervise::Task;

const EVERY: Duration = Duration::from_secs(60);

/// Works until the task is dropped.
pub fn start(endpoints: Arc<EndpointHours>, clock: Clock) -> Task {
    Task::spawn(async move {
        let mut failing = false;
        loop {
            clock.sleep(EVERY).await;
            match endpoints.flush().await {
                Ok(()) => failing = false,
                Err(err) if failing => debug!("figures of endpoints cannot be written yet: {err:#}"),
                Err(err) => {
                    warn!("figures of endpoints cannot be written, it is tried again: {err:#}");
                    failing = true;
                }
            }
        }
    })
}

/// Before the store is closed.
pub async fn last(endpoints: &EndpointHours) {
    if let Err(err) = endpoints.flush().await {
        warn!("the last figures of endpoints are lost: {err:#}");
    }
}
