//! Reading blocks: by name, or those of one series by the time they end.

use std::collections::HashMap;

use bytes::Bytes;
use surrealdb::types::Value;

use crate::model::id::{RegionName, ServiceId};
use crate::store::connection::StoreError;
use crate::store::results::{Inner, SeriesKey};
use crate::store::values::{array, int, record_of, rows, text, unsigned};

/// A block's name, and its bytes once they were read.
#[derive(Clone, Debug)]
pub(super) struct BlockRef {
    pub service: ServiceId,
    pub region: RegionName,
    /// When its first and its last check began.
    pub start: i64,
    pub end: i64,
    pub serial: u64,
    pub data: Option<Bytes>,
}

impl BlockRef {
    pub fn id(&self) -> Value {
        self.id_in("block")
    }

    /// Where its failures lie by themselves.
    pub fn failing_id(&self) -> Value {
        self.id_in("failing")
    }

    fn id_in(&self, table: &str) -> Value {
        let key = vec![int(self.service.0.into()), text(&self.region.0), int(self.end), int(self.start), unsigned(self.serial)];
        record_of(table, key)
    }
}

impl Inner {
    /// Reads the blocks of a series that end between two instants, both included.
    pub async fn blocks_of(&self, series: &SeriesKey, from: i64, to: i64) -> Result<Vec<BlockRef>, StoreError> {
        self.range_of("block", series, from, to).await
    }

    /// The same of those blocks that have failures, each as a block of these alone; without bytes where they are many. Where
    /// the times reach back to blocks whose failures do not lie by themselves, it is whole blocks.
    pub async fn failing_of(&self, series: &SeriesKey, from: i64, to: i64) -> Result<Vec<BlockRef>, StoreError> {
        let table = if from > self.failing_after { "failing" } else { "block" };
        self.range_of(table, series, from, to).await
    }

    async fn range_of(&self, table: &str, (service, region): &SeriesKey, from: i64, to: i64) -> Result<Vec<BlockRef>, StoreError> {
        let values = vec![
            ("service", int(service.0.into())),
            ("region", text(&region.0)),
            ("from", int(from)),
            // An array sorts before every longer one that begins with it.
            ("to", int(to.saturating_add(1))),
        ];
        let range = format!("SELECT * FROM {table}:[$service, $region, $from]..[$service, $region, $to]");
        let mut answer = self.database.query(&range, values).await?;
        let mut blocks = Vec::new();
        for row in rows(&mut answer, 0)? {
            let key = row.key()?;
            blocks.push(BlockRef {
                service: *service,
                region: region.clone(),
                end: key.int(2)?,
                start: key.int(3)?,
                serial: key.int(4)? as u64,
                data: row.maybe_bytes("data")?,
            });
        }
        Ok(blocks)
    }

    /// Reads the bytes of these blocks. One that is gone keeps none: retention was here first.
    pub async fn fill<'a>(&self, blocks: impl Iterator<Item = &'a mut BlockRef>) -> Result<(), StoreError> {
        self.fill_from(blocks, BlockRef::id).await
    }

    /// Of those whose failures lie by themselves, the bytes of these; whole blocks of the others.
    pub async fn fill_failing<'a>(&self, blocks: impl Iterator<Item = &'a mut BlockRef>) -> Result<(), StoreError> {
        let mut blocks: Vec<&mut BlockRef> = blocks.collect();
        self.fill_from(blocks.iter_mut().map(|block| &mut **block), BlockRef::failing_id).await?;
        self.fill(blocks.into_iter()).await
    }

    async fn fill_from<'a>(&self, blocks: impl Iterator<Item = &'a mut BlockRef>, id: fn(&BlockRef) -> Value) -> Result<(), StoreError> {
        let mut blocks: Vec<&mut BlockRef> = blocks.filter(|block| block.data.is_none()).collect();
        let ids: Vec<Value> = blocks.iter().map(|block| id(block)).collect();
        if ids.is_empty() {
            return Ok(());
        }
        let mut answer = self.database.query("SELECT * FROM $ids", vec![("ids", array(ids))]).await?;
        let mut found = HashMap::new();
        for row in rows(&mut answer, 0)? {
            if let Some(data) = row.maybe_bytes("data")? {
                found.insert(row.key()?.int(4)? as u64, data);
            }
        }
        for block in &mut blocks {
            block.data = found.remove(&block.serial);
        }
        Ok(())
    }
}
