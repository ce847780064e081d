//! What is kept of a check that failed or needed a retry: its attempts and evidence, a row each.
//!
//! A row holds the result in the form it came in, so that nothing of it is shaped twice; rows are bounded for each series
//! and hour, by counts the journal's writer keeps.

use std::collections::BTreeMap;

use surrealdb::types::Value;

use crate::model::check::CheckResult;
use crate::store::connection::StoreError;
use crate::store::results::{Inner, SeriesKey, hour_of};
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

/// Hours that are counted, over all series.
const COUNTED_HOURS: usize = 20_000;

/// Detail rows written, by hour and series.
#[derive(Debug, Default)]
pub(super) struct DetailCounts(BTreeMap<(i64, SeriesKey), u32>);

impl DetailCounts {
    /// Rows already in the store, of results that were not counted here.
    pub fn known(&mut self, hour: i64, series: SeriesKey, count: u64) {
        let known = self.0.entry((hour, series)).or_default();
        *known = known.saturating_add(u32::try_from(count).unwrap_or(u32::MAX));
    }

    /// Which of these results' details find no room in their hour; the others are counted.
    pub fn count(&mut self, results: &[CheckResult], most: u32) -> Vec<usize> {
        let mut omitted = Vec::new();
        for (index, result) in results.iter().enumerate().filter(|(_, result)| has(result)) {
            let count = self.0.entry(key(result)).or_default();
            if *count >= most {
                omitted.push(index);
            } else {
                *count += 1;
            }
        }
        while self.0.len() > COUNTED_HOURS {
            self.0.pop_first();
        }
        omitted
    }

    /// Undoes a count of results of which those were omitted.
    pub fn take_back(&mut self, results: &[CheckResult], omitted: &[usize]) {
        for (index, result) in results.iter().enumerate().filter(|(_, result)| has(result)) {
            if omitted.binary_search(&index).is_err()
                && let Some(count) = self.0.get_mut(&key(result))
            {
                *count = count.saturating_sub(1);
            }
        }
    }
}

fn key(result: &CheckResult) -> (i64, SeriesKey) {
    (hour_of(result.started_at.0), (result.service, result.region.clone()))
}
