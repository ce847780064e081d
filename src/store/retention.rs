//! Forgetting: results and details past their time, and all of a service that was removed. In slices, so that no
//! transaction holds up those that store results.
//!
//! **Invariant.** What was forgotten does not come back: a purged service's results that are still in the journal lie below
//! the position its series is sealed through, and its blocks below the serial they are shown from.

use std::ops::Bound;
use std::sync::Arc;

use crate::model::id::ServiceId;
use crate::model::time::Timestamp;
use crate::store::blocks::BlockRef;
use crate::store::connection::StoreError;
use crate::store::directory::{decode, directory_id};
use crate::store::results::{HOUR_US, Inner, Results, Sealer, SeriesKey};
use crate::store::tail::SeriesTail;
use crate::store::values::{array, corrupt, int, object, record, record_of, text, unsigned};

/// Series whose details one call looks at.
const SLICE_SERIES: usize = 16;
/// Blocks deleted by one transaction.
const SLICE_BLOCKS: usize = 200;

impl Results {
    /// Forgets a slice of what is past its time; `true`: there is more to do now. Results go by the hour: an hour's blocks
    /// go when the whole of it is past.
    pub async fn retain(&self, now: Timestamp) -> Result<bool, StoreError> {
        let mut sealer = self.inner.sealer.lock().await;
        let outcome = async {
            if !sealer.unresolved.is_empty() {
                self.inner.resolve_seals(&mut sealer).await?;
            }
            let results = self.inner.forget_results(&mut sealer, now.minus(self.inner.limits.retain_results)).await?;
            let details = self.inner.forget_details(&mut sealer, now.minus(self.inner.limits.retain_details)).await?;
            Ok(results || details)
        };
        outcome.await.map_err(|error| self.inner.noted(error))
    }

    /// Forgets everything of a service. Its checks are no longer seen from the first step on; when this fails half-way, it
    /// can be called again. Results that arrive afterwards are stored like any other.
    pub async fn purge_service(&self, service: ServiceId) -> Result<(), StoreError> {
        let mut sealer = self.inner.sealer.lock().await;
        self.inner.purge(&mut sealer, service).await.map_err(|error| self.inner.noted(error))
    }
}

impl Inner {
    async fn forget_results(&self, sealer: &mut Sealer, before: Timestamp) -> Result<bool, StoreError> {
        let oldest = self.memory().hours.first().copied();
        let Some(hour) = oldest.filter(|hour| hour.saturating_add(1).saturating_mul(HOUR_US) <= before.0) else {
            return Ok(false);
        };
        sealer.open.remove(&hour);
        let Some(record) = self.directory_records(hour, hour).await?.into_iter().next() else {
            let gone = "DELETE $id RETURN NONE";
            self.database.query(gone, vec![("id", record("directory_hour", hour))]).await?;
            self.memory().hours.remove(&hour);
            return Ok(true);
        };
        let entries = decode(&record.data).map_err(|error| corrupt("directory", error))?;
        let blocks = entries.into_iter().map(|entry| BlockRef {
            service: entry.service,
            region: entry.region,
            start: entry.start,
            end: entry.end,
            serial: entry.serial,
            data: None,
        });
        let blocks = array(blocks.map(|block| block.id()));
        let text = "BEGIN; DELETE $blocks RETURN NONE; DELETE $directory RETURN NONE; COMMIT";
        let directory = directory_id(hour, record.serial);
        self.database.query(text, vec![("blocks", blocks), ("directory", directory)]).await?;
        Ok(true)
    }

    /// Goes round the series, some at each call; `false` when it has come round.
    async fn forget_details(&self, sealer: &mut Sealer, before: Timestamp) -> Result<bool, StoreError> {
        let from = sealer.details_from.take().map_or(Bound::Unbounded, Bound::Excluded);
        let slice: Vec<SeriesKey> = {
            let memory = self.memory();
            memory.series.range((from, Bound::Unbounded)).take(SLICE_SERIES).map(|(key, _)| key.clone()).collect()
        };
        for (service, region) in &slice {
            let values = vec![("service", int(service.0.into())), ("region", text(&region.0)), ("before", int(before.0))];
            let range = "DELETE detail:[$service, $region]..[$service, $region, $before] RETURN NONE";
            self.database.query(range, values).await?;
        }
        if slice.len() == SLICE_SERIES {
            sealer.details_from = slice.last().cloned();
        }
        Ok(sealer.details_from.is_some())
    }

    async fn purge(&self, sealer: &mut Sealer, service: ServiceId) -> Result<(), StoreError> {
        if !sealer.unresolved.is_empty() {
            self.resolve_seals(sealer).await?;
        }
        // With the writer held no result of the service gets between the position and the tails.
        let writer = self.writer.lock().await;
        let snapshot = self.snapshot(Some(service));
        let regions: Vec<SeriesKey> = snapshot.tails.into_iter().map(|(key, _)| key).collect();
        if regions.is_empty() {
            return Ok(());
        }
        let series = regions.iter().map(|(service, region)| {
            object([
                ("id", record_of("series", vec![int(service.0.into()), text(&region.0)])),
                ("sealed_through", unsigned(writer.position)),
                ("latest", int(i64::MIN)),
                ("purged", unsigned(sealer.serial)),
            ])
        });
        let text_of = "INSERT INTO series $series ON DUPLICATE KEY UPDATE
            sealed_through = $input.sealed_through, latest = $input.latest, purged = $input.purged RETURN NONE";
        self.database.query(text_of, vec![("series", array(series))]).await?;
        {
            let mut memory = self.memory();
            for key in &regions {
                memory.take_sealed(key, writer.position, self.clock.now());
                if let Some(series) = memory.series.get_mut(key) {
                    series.tail = Arc::new(SeriesTail::default());
                    series.latest_sealed = None;
                    series.purged = sealer.serial;
                }
            }
            memory.release_spent();
        }
        drop(writer);
        self.delete_service(&regions, sealer.serial).await
    }

    /// Deletes blocks and details of series, a slice a transaction.
    async fn delete_service(&self, regions: &[SeriesKey], through: u64) -> Result<(), StoreError> {
        for (service, region) in regions {
            let name = || vec![("service", int(service.0.into())), ("region", text(&region.0))];
            let ids = "SELECT VALUE id FROM block:[$service, $region]..[$service, $region, '']";
            let mut answer = self.database.query(ids, name()).await?;
            let found: surrealdb::types::Value = answer.take(0).map_err(|error| corrupt("answer", error))?;
            let ids = found.into_array().map(|ids| ids.into_vec()).unwrap_or_default();
            let ids: Vec<_> = ids.into_iter().filter(|id| serial_of(id).is_some_and(|serial| serial <= through)).collect();
            for slice in ids.chunks(SLICE_BLOCKS) {
                self.database.query("DELETE $ids RETURN NONE", vec![("ids", array(slice.to_vec()))]).await?;
            }
            self.database.query("DELETE detail:[$service, $region]..[$service, $region, ''] RETURN NONE", name()).await?;
        }
        Ok(())
    }
}

fn serial_of(id: &surrealdb::types::Value) -> Option<u64> {
    use surrealdb::types::{Number, RecordId, RecordIdKey, Value};
    let Value::RecordId(RecordId { key: RecordIdKey::Array(parts), .. }) = id else { return None };
    match parts.get(4) {
        Some(Value::Number(Number::Int(serial))) => Some(*serial as u64),
        _ => None,
    }
}
