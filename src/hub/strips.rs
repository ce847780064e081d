//! Fills the strips of the last 24 hours from the store, once after a start, beside everything else.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tracing::{debug, info};

use crate::aggregate::board::Board;
use crate::aggregate::strip::{CELL, Cell, Strips, first_minute, first_start};
use crate::clock::Clock;
use crate::model::id::ServiceId;
use crate::model::time::Timestamp;
use crate::store::Store;
use crate::store::connection::StoreError;
use crate::store::rollups::{Resolution, RollupQuery};
use crate::store::services::Services;
use crate::supervise::Task;

const PAUSE: Duration = Duration::from_secs(5);

/// Works until all are filled or the task is dropped.
pub fn fill(strips: Arc<Strips>, store: Arc<Store>, services: Arc<Services>, board: Arc<Board>, clock: Clock) -> Task {
    Task::spawn(async move {
        let began = clock.steady();
        let all = services.list();
        for service in all.iter() {
            while let Err(err) = fill_one(&strips, &store, &board, service.id, clock.now()).await {
                debug!(service = service.id.0, "last 24 hours cannot be read, it is tried again: {err:#}");
                clock.sleep(PAUSE).await;
            }
        }
        let took_ms = clock.steady().saturating_sub(began).as_millis() as u64;
        info!(services = all.len(), took_ms, "last 24 hours of all services are in memory");
    })
}

async fn fill_one(strips: &Strips, store: &Store, board: &Board, service: ServiceId, now: Timestamp) -> Result<(), StoreError> {
    let Some(rule) = board.rule(service, now) else { return Ok(()) };
    let query = RollupQuery { service, region: None, resolution: Resolution::Minute, since: first_start(now), until: now, rule };
    let limit = board.degraded_after(service);
    let mut cells: BTreeMap<i64, Cell> = BTreeMap::new();
    let mut minutes: Vec<(Timestamp, Cell)> = Vec::new();
    for bucket in store.results.rollups(&query, now).await? {
        let rollup = &bucket.rollup;
        let count = |count: u64| u32::try_from(count).unwrap_or(u32::MAX);
        let cell = Cell {
            checks: count(rollup.checks),
            failures: count(rollup.failed()),
            slow: count(rollup.slow(limit)),
            latency_us: rollup.latency.sum_us(),
        };
        cells.entry(bucket.start.0.div_euclid(CELL)).or_default().add(&cell);
        if bucket.start >= first_minute(now) {
            minutes.push((bucket.start, cell));
        }
    }
    let past: Vec<(Timestamp, Cell)> = cells.into_iter().map(|(number, cell)| (Timestamp(number * CELL), cell)).collect();
    strips.fill(service, &past);
    strips.fill_minutes(service, &minutes);
    Ok(())
}
