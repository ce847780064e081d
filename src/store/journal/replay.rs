//! On start: what the journal holds and no block, brought back into memory in slices.

use std::collections::HashMap;

use crate::model::check::CheckResult;
use crate::model::id::{Boot, NodeName};
use crate::store::columns::Reader;
use crate::store::connection::StoreError;
use crate::store::details;
use crate::store::journal::{BatchKey, GROUP_BATCHES, JournalWriter, full, journal_id, packed, read_batch};
use crate::store::results::{Entry, Inner, hour_of};
use crate::store::values::{array, corrupt, rows};

impl Inner {
    /// On start: reads the heads, and the results of the journal that are in no block.
    pub async fn replay(&self) -> Result<(), StoreError> {
        let mut writer = self.writer.lock().await;
        let mut answer = self.database.query("SELECT * FROM journal_head; SELECT * FROM cursor", vec![]).await?;
        let head = rows(&mut answer, 0)?.pop();
        writer.position = head.map_or(Ok(0), |row| row.unsigned("position"))?;
        writer.next = writer.position;
        for row in rows(&mut answer, 1)? {
            let key = row.key()?;
            let boot = (NodeName::from(key.text(0)?), Boot(key.int(1)? as u64));
            writer.cursors.insert(boot, row.unsigned("through")?);
        }
        let mut batches = Vec::new();
        let mut answer = self.database.query("SELECT id, position FROM journal", vec![]).await?;
        for row in rows(&mut answer, 0)? {
            let key = row.key()?;
            let key: BatchKey = (NodeName::from(key.text(0)?), Boot(key.int(1)? as u64), key.int(2)? as u64);
            batches.push((row.unsigned("position")?, key));
        }
        batches.sort_unstable_by_key(|(position, _)| *position);
        // A slice at a time: all of them at once would be held in memory several times over.
        for slice in batches.chunks(GROUP_BATCHES) {
            let ids = array(slice.iter().map(|(_, key)| journal_id(key)));
            let mut answer = self.database.query("SELECT * FROM $ids", vec![("ids", ids)]).await?;
            let mut found = HashMap::new();
            for row in rows(&mut answer, 0)? {
                found.insert(row.unsigned("position")?, row);
            }
            for (position, key) in slice {
                let row = found.get(position).ok_or_else(|| corrupt("journal", "a batch is gone"))?;
                let packed = row.bytes("data")?;
                let data = packed::unpack(&packed).map_err(|error| corrupt("journal", error))?;
                let offset = row.optional_int("offset_us")?.unwrap_or(0);
                let (_, results) = read_batch(&data, offset).map_err(|error| corrupt("journal", full(&error)))?;
                let omitted = read_indices(&row.bytes("omitted")?).map_err(|error| corrupt("journal", error))?;
                self.replay_batch(&mut writer, *position, key, data.len(), &results, &omitted);
            }
        }
        Ok(())
    }

    fn replay_batch(
        &self,
        writer: &mut JournalWriter,
        position: u64,
        key: &BatchKey,
        size: usize,
        results: &[CheckResult],
        omitted: &[usize],
    ) {
        let now = self.clock.now();
        let mut memory = self.memory();
        let mut left = 0;
        for (index, result) in results.iter().enumerate() {
            let name = (result.service, result.region.clone());
            let sealed = memory.series.get(&name).is_some_and(|series| position <= series.sealed_through);
            if sealed || memory.purged.contains(&result.service) {
                continue;
            }
            let omitted = omitted.binary_search(&index).is_ok();
            memory.push(now, position, result, omitted);
            left += 1;
            if details::has(result) && !omitted {
                writer.details.known(hour_of(result.started_at.0), name, 1);
            }
        }
        memory.add_entry(position, Entry { key: key.clone(), bytes: size as u64, left });
    }
}

fn read_indices(bytes: &[u8]) -> Result<Vec<usize>, String> {
    let mut reader = Reader::new(bytes);
    let mut indices = Vec::new();
    let mut next = 0usize;
    while !reader.is_empty() {
        let index = next.saturating_add(reader.number()? as usize);
        indices.push(index);
        next = index.saturating_add(1);
    }
    Ok(indices)
}
