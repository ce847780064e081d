//! Forgetting: results and details past their time, and all of a service that was removed. In slices, so that no
//! transaction holds up those that store results.
//!
//! **Invariant.** What was forgotten does not come back: a purged service's results that are still in the journal lie below
//! the position its series is sealed through, and its blocks below the serial they are shown from.

use std::ops::Bound;
use std::time::Duration;

use surrealdb::types::{Number, RecordId, RecordIdKey, Value};

use crate::model::id::{RegionName, ServiceId};
use crate::model::time::Timestamp;
use crate::store::blocks::BlockRef;
use crate::store::connection::StoreError;
use crate::store::directory::{decode, directory_id};
use crate::store::results::{HOUR_US, Inner, PURGED, Results, Sealer, SeriesKey};
use crate::store::values::{array, corrupt, int, object, record, record_of, text, unsigned};

/// Series whose details one call looks at.
const SLICE_SERIES: usize = 16;
/// Blocks deleted by one transaction.
const SLICE_BLOCKS: usize = 200;
/// How far back days are gone through one by one; what is older goes at once.
const LONGEST: Duration = Duration::from_secs(400 * 86_400);

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
            self.inner.forget_minutes(&mut sealer, now.minus(self.inner.limits.retain_minutes)).await?;
            let details = self.inner.forget_details(&mut sealer, now.minus(self.inner.limits.retain_details)).await?;
            Ok(results || details)
        };
        outcome.await.map_err(|error| self.inner.noted(error))
    }

    /// Forgets everything of a service. Its checks are no longer seen from the first step on; when this fails half-way, it
    /// can be called again. Results that arrive afterwards are stored like any other.
    pub async fn purge_service(&self, service: ServiceId) -> Result<(), StoreError> {
        let outcome = async {
            let (regions, through) = self.inner.hide(service).await?;
            for key in &regions {
                self.inner.delete_series(key, through).await?;
            }
            Ok(())
        };
        outcome.await.map_err(|error| self.inner.noted(error))
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
        let blocks: Vec<BlockRef> = entries
            .into_iter()
            .map(|entry| BlockRef {
                service: entry.service,
                region: entry.region,
                start: entry.start,
                end: entry.end,
                serial: entry.serial,
                data: None,
            })
            .collect();
        let ids = array(blocks.iter().flat_map(|block| [block.id(), block.failing_id()]));
        let text = "BEGIN; DELETE $blocks RETURN NONE; DELETE $directory RETURN NONE; COMMIT";
        let directory = directory_id(hour, record.serial);
        self.database.query(text, vec![("blocks", ids), ("directory", directory)]).await?;
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

    /// Drops old rollups by the minute of the series whose details are looked at next.
    async fn forget_minutes(&self, sealer: &mut Sealer, before: Timestamp) -> Result<(), StoreError> {
        let from = sealer.details_from.clone().map_or(Bound::Unbounded, Bound::Excluded);
        let slice: Vec<SeriesKey> = {
            let memory = self.memory();
            memory.series.range((from, Bound::Unbounded)).take(SLICE_SERIES).map(|(key, _)| key.clone()).collect()
        };
        for (service, region) in &slice {
            // A record holds an hour.
            let before = before.0.saturating_sub(HOUR_US);
            let values = vec![("service", int(service.0.into())), ("region", text(&region.0)), ("before", int(before))];
            let range = "DELETE rollup_minute:[$service, $region]..[$service, $region, $before] RETURN NONE";
            self.database.query(range, values).await?;
        }
        Ok(())
    }

    /// Takes a service out of sight, now and after every restart. Gives its series and the serial their blocks go up to.
    async fn hide(&self, service: ServiceId) -> Result<(Vec<SeriesKey>, u64), StoreError> {
        let mut sealer = self.sealer.lock().await;
        if !sealer.unresolved.is_empty() {
            self.resolve_seals(&mut sealer).await?;
        }
        // With the writer held no result of the service gets between the position and the tails.
        let writer = self.writer.lock().await;
        let snapshot = self.snapshot(Some(service));
        let regions: Vec<SeriesKey> = snapshot.tails.into_iter().map(|(key, _)| key).collect();
        // Numbers of services are never given again: what is still on its way here will not be wanted either, whatever its region.
        let mark = (service, RegionName::from(PURGED));
        let series = regions.iter().chain([&mark]).map(|(service, region)| {
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
        let mut memory = self.memory();
        memory.purged.insert(service);
        for key in &regions {
            memory.take_sealed(key, writer.position, self.clock.now());
            if let Some(series) = memory.series.get_mut(key) {
                series.latest_sealed = None;
                series.purged = sealer.serial;
            }
        }
        memory.release_spent();
        Ok((regions, sealer.serial))
    }

    /// Deletes blocks up to a serial, and all details, of one series, a day or less at a time.
    async fn delete_series(&self, (service, region): &SeriesKey, through: u64) -> Result<(), StoreError> {
        for (from, to) in self.days() {
            let window = vec![("service", int(service.0.into())), ("region", text(&region.0)), ("from", int(from)), ("to", int(to))];
            let mut ids: Vec<Value> = Vec::new();
            for table in ["block", "failing"] {
                let range = format!("SELECT VALUE id FROM {table}:[$service, $region, $from]..[$service, $region, $to]");
                let mut answer = self.database.query(&range, window.clone()).await?;
                let found: Value = answer.take(0).map_err(|error| corrupt("answer", error))?;
                let found = found.into_array().map(|ids| ids.into_vec()).unwrap_or_default();
                ids.extend(found.into_iter().filter(|id| serial_of(id).is_some_and(|serial| serial <= through)));
            }
            for slice in ids.chunks(SLICE_BLOCKS) {
                self.database.query("DELETE $ids RETURN NONE", vec![("ids", array(slice.to_vec()))]).await?;
            }
            let details = "DELETE detail:[$service, $region, $from]..[$service, $region, $to] RETURN NONE";
            self.database.query(details, window.clone()).await?;
            for table in ["rollup_minute", "rollup_hour", "rollup_day"] {
                let rollups = format!("DELETE {table}:[$service, $region, $from]..[$service, $region, $to] RETURN NONE");
                self.database.query(&rollups, window.clone()).await?;
            }
        }
        Ok(())
    }

    /// All of time, cut into days where results or details are likely.
    fn days(&self) -> Vec<(i64, i64)> {
        let now = self.clock.now();
        let kept = self.limits.retain_results.max(self.limits.retain_details);
        let oldest = self.memory().hours.first().map_or(now.0, |hour| hour.saturating_mul(HOUR_US));
        let first = oldest.min(now.minus(kept).0).max(now.minus(LONGEST).0);
        let mut days = vec![(i64::MIN, first)];
        let mut from = first;
        while from <= now.0 {
            let to = from.saturating_add(24 * HOUR_US);
            days.push((from, to));
            from = to;
        }
        days.push((from, i64::MAX));
        days
    }
}

fn serial_of(id: &Value) -> Option<u64> {
    let Value::RecordId(RecordId { key: RecordIdKey::Array(parts), .. }) = id else { return None };
    match parts.get(4) {
        Some(Value::Number(Number::Int(serial))) => Some(*serial as u64),
        _ => None,
    }
}
