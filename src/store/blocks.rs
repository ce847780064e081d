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
        let key = vec![int(self.service.0.into()), text(&self.region.0), int(self.end), int(self.start), unsigned(self.serial)];
        record_of("block", key)
    }
}

impl Inner {
    /// Reads the blocks of a series that end between two instants, both included.
    pub async fn blocks_of(&self, (service, region): &SeriesKey, from: i64, to: i64) -> Result<Vec<BlockRef>, StoreError> {
        let values = vec![
            ("service", int(service.0.into())),
            ("region", text(&region.0)),
            ("from", int(from)),
            // An array sorts before every longer one that begins with it.
            ("to", int(to.saturating_add(1))),
        ];
        let range = "SELECT * FROM block:[$service, $region, $from]..[$service, $region, $to]";
        let mut answer = self.database.query(range, values).await?;
        let mut blocks = Vec::new();
        for row in rows(&mut answer, 0)? {
            let key = row.key()?;
            blocks.push(BlockRef {
                service: *service,
                region: region.clone(),
                end: key.int(2)?,
                start: key.int(3)?,
                serial: key.int(4)? as u64,
                data: Some(row.bytes("data")?),
            });
        }
        Ok(blocks)
    }

    /// Reads the bytes of these blocks. One that is gone keeps none: retention was here first.
    pub async fn fill(&self, blocks: impl Iterator<Item = &mut BlockRef>) -> Result<(), StoreError> {
        let mut blocks: Vec<&mut BlockRef> = blocks.filter(|block| block.data.is_none()).collect();
        let ids: Vec<Value> = blocks.iter().map(|block| block.id()).collect();
        if ids.is_empty() {
            return Ok(());
        }
        let mut answer = self.database.query("SELECT * FROM $ids", vec![("ids", array(ids))]).await?;
        let mut found = HashMap::new();
        for row in rows(&mut answer, 0)? {
            found.insert(row.key()?.int(4)? as u64, row.bytes("data")?);
        }
        for block in &mut blocks {
            block.data = found.remove(&block.serial);
        }
        Ok(())
    }
}
