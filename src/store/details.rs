//! What is kept of a check that failed or needed a retry: its attempts and evidence, a row each.
//!
//! A row holds the result in the form it came in, so that nothing of it is shaped twice; rows are bounded for each series
//! and hour where the journal is written.

use surrealdb::types::Value;

use crate::model::check::CheckResult;
use crate::store::connection::StoreError;
use crate::store::results::Inner;
use crate::store::values::{bytes, corrupt, int, object, record_of, rows, text, unsigned};
use crate::wire::batch::{self, BatchHead};

/// Whether a result has anything that blocks do not keep.
pub fn has(result: &CheckResult) -> bool {
    !result.attempts.is_empty() || result.evidence.is_some()
}

pub fn row(result: &CheckResult) -> Value {
    let head = BatchHead::new(&result.id.node, &result.region, result.id.boot, 0, 0);
    let data = batch::encode(&head, std::slice::from_ref(result));
    object([("id", id(result)), ("data", bytes(data))])
}

fn id(result: &CheckResult) -> Value {
    let key = vec![
        int(result.service.0.into()),
        text(&result.region.0),
        int(result.started_at.0),
        text(&result.id.node.0),
        unsigned(result.id.boot.0),
        unsigned(result.id.seq),
    ];
    record_of("detail", key)
}

impl Inner {
    /// Gives a result its attempts and evidence back, where they were kept.
    pub async fn add_details(&self, result: &mut CheckResult) -> Result<(), StoreError> {
        let mut answer = self.database.query("SELECT * FROM $id", vec![("id", id(result))]).await?;
        let Some(row) = rows(&mut answer, 0)?.pop() else { return Ok(()) };
        let (_, kept) = batch::decode(&row.bytes("data")?).map_err(|error| corrupt("detail", error))?;
        if let Some(kept) = kept.into_iter().next() {
            result.attempts = kept.attempts;
            result.evidence = kept.evidence;
        }
        Ok(())
    }
}
