//! Taking a store over: the process that starts is the one that writes.
//!
//! A process that was killed may have a transaction under way at a server, to be carried out when its successor has already
//! read where everything stands. So a successor moves both heads first: whatever began from where they stood before is refused
//! from then on, and nothing that was read is stale.
//!
//! **Invariant.** Of two that claim one store, the earlier one's next write is refused as [`StoreError::Foreign`].

use crate::store::connection::StoreError;
use crate::store::results::Results;
use crate::store::values::{int, record, unsigned};

const CLAIM: &str = "BEGIN;
    IF ($journal.position ?? 0) != $position OR ($seal.serial ?? 0) != $serial { THROW 'store was moved by another writer' };
    UPSERT $journal SET position = $position + 1, mark = $mark RETURN NONE;
    UPSERT $seal SET serial = $serial + 1, span = $span, mark = $mark RETURN NONE;
    COMMIT";

impl Results {
    /// Makes this the one that writes. [`StoreError::Foreign`]: something was written since this was opened; to be opened again.
    pub async fn claim(&self) -> Result<(), StoreError> {
        let mut sealer = self.inner.sealer.lock().await;
        let mut writer = self.inner.writer.lock().await;
        let values = vec![
            ("journal", record("journal_head", 1)),
            ("seal", record("seal_head", 1)),
            ("position", unsigned(writer.position)),
            ("serial", unsigned(sealer.serial)),
            ("span", int(self.inner.limits.longest_span)),
            ("mark", unsigned(rand::random())),
        ];
        self.inner.database.query(CLAIM, values).await.map_err(|error| match error {
            StoreError::Query { message } if message.contains("another writer") => StoreError::Foreign,
            error => error,
        })?;
        writer.claimed();
        sealer.serial += 1;
        sealer.next = sealer.serial;
        Ok(())
    }
}
