//! The journal: batches as they came. A batch is stored when the transaction that holds it has committed.
//!
//! Appends that arrive while one transaction commits share the next one. Each transaction moves one record, the head, from
//! the position this process believes in; so when a call's outcome is not told, the head tells it afterwards, and a second
//! writer is found out at its first append.
//!
//! **Invariant.** A batch is named by (node, boot, number). One that is not above its boot's cursor was stored before.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use surrealdb::types::Value;
use tokio::sync::oneshot;

use crate::model::check::CheckResult;
use crate::model::id::{Boot, NodeName};
use crate::model::time::Timestamp;
use crate::store::columns::{Reader, Writer};
use crate::store::connection::StoreError;
use crate::store::details;
use crate::store::results::{Entry, Inner, Memory, Results, SeriesKey, hour_of};
use crate::store::values::{array, bytes, corrupt, object, record, record_of, rows, text, unsigned};
use crate::wire::batch::{self, BatchHead};

/// Batches that share one transaction at most, and their bytes.
const GROUP_BATCHES: usize = 64;
const GROUP_BYTES: usize = 4 << 20;
/// Transactions of untold outcome that are remembered.
const UNRESOLVED: usize = 8;
/// Hours for which detail rows are counted, over all series.
const COUNTED_HOURS: usize = 20_000;

pub(super) type BatchKey = (NodeName, Boot, u64);

#[derive(Clone, Debug)]
pub struct Appended {
    pub head: BatchHead,
    /// `None`: this batch was stored before; nothing changed.
    pub results: Option<Arc<[CheckResult]>>,
    /// Everything of this boot up to this batch number is in the store.
    pub through: u64,
}

#[derive(Debug)]
pub(super) struct Pending {
    batch: Arc<[u8]>,
    head: BatchHead,
    results: Arc<[CheckResult]>,
    answer: oneshot::Sender<Result<Appended, StoreError>>,
}

/// What the one task that writes the journal knows.
#[derive(Debug, Default)]
pub(super) struct JournalWriter {
    /// Of the newest batch in the store.
    pub position: u64,
    /// Positions are taken from here; higher than `position` after a transaction whose outcome was not told.
    next: u64,
    pub cursors: HashMap<(NodeName, Boot), u64>,
    /// Detail rows written, by hour and series.
    details: BTreeMap<(i64, SeriesKey), u32>,
    unresolved: Vec<Plan>,
    /// Stored by a transaction whose callers were told that it failed: their resend is answered as if it were new.
    untold: HashSet<BatchKey>,
}

/// One transaction.
#[derive(Debug)]
struct Plan {
    /// The head's position after it.
    end: u64,
    /// Found in the head, it tells that this transaction committed, and not another's that came as far.
    mark: u64,
    batches: Vec<Planned>,
}

#[derive(Debug)]
struct Planned {
    position: u64,
    batch: Arc<[u8]>,
    head: BatchHead,
    results: Arc<[CheckResult]>,
    /// Indices of results whose details were left out, rising.
    omitted: Vec<usize>,
}

enum Outcome {
    Committed,
    NotCommitted,
}

impl Results {
    /// Stores a batch. It returns when the batch is in the store; the same batch again changes nothing.
    pub async fn append(&self, batch: &[u8]) -> Result<Appended, StoreError> {
        let (head, results) = batch::decode(batch).map_err(|error| StoreError::Batch { message: full(&error) })?;
        let (answer, outcome) = oneshot::channel();
        let pending = Pending { batch: batch.into(), head, results: results.into(), answer };
        self.inner.queue.lock().expect("no holder panics").push_back(pending);
        // In a task of its own: a caller that goes away must not stop a transaction others share half-way.
        let inner = self.inner.clone();
        tokio::spawn(async move {
            let mut writer = inner.writer.lock().await;
            inner.write_queued(&mut writer).await;
        });
        outcome.await.unwrap_or(Err(StoreError::Closed))
    }
}

impl Inner {
    async fn write_queued(&self, writer: &mut JournalWriter) {
        loop {
            let group = self.take_group();
            if group.is_empty() {
                return;
            }
            let failed = self.write_group(writer, &group).await.err();
            // A batch the store refuses must not take the others with it.
            let each = matches!(failed, Some(StoreError::Query { .. })) && group.len() > 1;
            for pending in group {
                let failed = match each {
                    true => self.write_group(writer, std::slice::from_ref(&pending)).await.err(),
                    false => failed.clone(),
                };
                if let Some(error) = failed {
                    // A caller that no longer waits sends its batch again.
                    let _ = pending.answer.send(Err(self.noted(error)));
                    continue;
                }
                let key = key_of(&pending.head);
                let through = writer.cursors.get(&(key.0.clone(), key.1)).copied().unwrap_or(0);
                let new = writer.untold.remove(&key);
                self.memory().status.batches_repeated += u64::from(!new);
                let results = new.then_some(pending.results);
                let _ = pending.answer.send(Ok(Appended { head: pending.head, results, through }));
            }
        }
    }

    fn take_group(&self) -> Vec<Pending> {
        let mut queue = self.queue.lock().expect("no holder panics");
        let mut group = Vec::new();
        let mut size = 0;
        while let Some(pending) = queue.front() {
            if !group.is_empty() && (group.len() >= GROUP_BATCHES || size + pending.batch.len() > GROUP_BYTES) {
                break;
            }
            size += pending.batch.len();
            group.extend(queue.pop_front());
        }
        group
    }

    /// Brings every batch of a group into the store. Those that are new are in `untold` afterwards.
    async fn write_group(&self, writer: &mut JournalWriter, group: &[Pending]) -> Result<(), StoreError> {
        if !writer.unresolved.is_empty() {
            self.resolve_appends(writer).await?;
        }
        for _ in 0..3 {
            let plan = self.plan(writer, group);
            if plan.batches.is_empty() {
                return Ok(());
            }
            let (text, values) = statement(writer.position, &plan, &self.details_of(&plan));
            let failed = self.database.query(text, values).await.err();
            writer.next = plan.end;
            let Some(error) = failed else {
                self.apply(writer, plan);
                return Ok(());
            };
            let end = plan.end;
            // Planned anew, they are counted anew; should this one have been committed after all, a few are counted too little.
            writer.uncount_details(&plan);
            writer.unresolved.push(plan);
            if untold(&error) {
                return Err(error);
            }
            match self.resolve_appends(writer).await {
                // Its answer was lost, and it was this one.
                Ok(Outcome::Committed) if writer.position == end => return Ok(()),
                // An earlier one was: what is left of the group is planned anew.
                Ok(Outcome::Committed) => {}
                Ok(Outcome::NotCommitted) => {
                    writer.unresolved.pop();
                    return Err(error);
                }
                Err(StoreError::Foreign) => return Err(StoreError::Foreign),
                // The store cannot even be asked: the first error says more.
                Err(_) => return Err(error),
            }
        }
        Err(StoreError::Conflict)
    }

    /// Asks the head which of the transactions of untold outcome has committed, and makes its results known.
    async fn resolve_appends(&self, writer: &mut JournalWriter) -> Result<Outcome, StoreError> {
        let many = writer.unresolved.len().saturating_sub(UNRESOLVED);
        writer.unresolved.drain(..many);
        let mut answer = self.database.query("SELECT * FROM journal_head", vec![]).await?;
        let head = rows(&mut answer, 0)?.pop();
        let (position, mark) = match head {
            Some(row) => (row.unsigned("position")?, row.unsigned("mark")?),
            None => (0, 0),
        };
        if position == writer.position {
            return Ok(Outcome::NotCommitted);
        }
        let index = writer.unresolved.iter().position(|plan| plan.mark == mark).ok_or(StoreError::Foreign)?;
        let plan = writer.unresolved.swap_remove(index);
        // All of them started from the same head, so no other can commit any more.
        writer.unresolved.clear();
        self.apply(writer, plan);
        Ok(Outcome::Committed)
    }

    fn plan(&self, writer: &mut JournalWriter, group: &[Pending]) -> Plan {
        let mut position = writer.next.max(writer.position);
        let mut through: HashMap<(NodeName, Boot), u64> = HashMap::new();
        let mut batches = Vec::new();
        for pending in group {
            let (node, boot, number) = key_of(&pending.head);
            let boot = (node, boot);
            let known = through.get(&boot).or_else(|| writer.cursors.get(&boot));
            if known.is_some_and(|known| number <= *known) {
                continue;
            }
            through.insert(boot, number);
            position += 1;
            let omitted = writer.count_details(&pending.results, self.limits.details_per_hour);
            let (batch, results) = (pending.batch.clone(), pending.results.clone());
            batches.push(Planned { position, batch, head: pending.head.clone(), results, omitted });
        }
        Plan { end: position, mark: rand::random(), batches }
    }

    fn details_of(&self, plan: &Plan) -> Vec<Value> {
        let memory = self.memory();
        let mut values = Vec::new();
        for planned in &plan.batches {
            let kept = planned.results.iter().enumerate().filter(|(index, _)| planned.omitted.binary_search(index).is_err());
            let kept = kept.filter(|(_, result)| !memory.purged.contains(&result.service));
            values.extend(kept.filter(|(_, result)| details::has(result)).map(|(_, result)| details::row(result)));
        }
        values
    }

    /// Makes what a transaction stored known to readers.
    fn apply(&self, writer: &mut JournalWriter, plan: Plan) {
        writer.position = plan.end;
        writer.next = plan.end;
        // What was untold before this one has not committed, for this one began where they would have ended.
        writer.unresolved.clear();
        let now = self.clock.now();
        let mut memory = self.memory();
        for Planned { position, batch, head, results, omitted } in plan.batches {
            let key = key_of(&head);
            writer.cursors.insert((key.0.clone(), key.1), key.2);
            let mut left = 0;
            for (index, result) in results.iter().enumerate() {
                // What was still on its way when its service was purged is let go of.
                if memory.purged.contains(&result.service) {
                    continue;
                }
                let omitted = omitted.binary_search(&index).is_ok();
                memory.push(now, position, result, omitted);
                left += 1;
            }
            memory.status.batches_appended += 1;
            memory.status.results_appended += results.len() as u64;
            memory.status.details_omitted += omitted.len() as u64;
            memory.add_entry(position, Entry { key: key.clone(), bytes: batch.len() as u64, left });
            writer.untold.insert(key);
        }
    }

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
                let data = row.bytes("data")?;
                let (_, results) = batch::decode(&data).map_err(|error| corrupt("journal", full(&error)))?;
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
                *writer.details.entry((hour_of(result.started_at.0), name)).or_default() += 1;
            }
        }
        memory.add_entry(position, Entry { key: key.clone(), bytes: size as u64, left });
    }
}

impl Memory {
    fn push(&mut self, now: Timestamp, position: u64, result: &CheckResult, omitted: bool) {
        let series = self.series.entry((result.service, result.region.clone())).or_default();
        if series.tail.rows().is_empty() {
            series.waiting_since = now;
        }
        Arc::make_mut(&mut series.tail).push(position, result, omitted);
    }

    fn add_entry(&mut self, position: u64, entry: Entry) {
        if entry.left == 0 {
            self.spent.push(entry);
        } else {
            self.entries.insert(position, entry);
        }
    }
}

impl JournalWriter {
    /// The head was moved by one, and with no batch.
    pub fn claimed(&mut self) {
        self.position += 1;
        self.next = self.position;
    }

    /// Detail rows already in the store, of results that are in blocks.
    pub fn count_known(&mut self, hour: i64, series: SeriesKey, count: u64) {
        let known = self.details.entry((hour, series)).or_default();
        *known = known.saturating_add(u32::try_from(count).unwrap_or(u32::MAX));
    }

    /// Takes back what planning has counted.
    fn uncount_details(&mut self, plan: &Plan) {
        for Planned { results, omitted, .. } in &plan.batches {
            for (index, result) in results.iter().enumerate().filter(|(_, result)| details::has(result)) {
                let key = (hour_of(result.started_at.0), (result.service, result.region.clone()));
                if omitted.binary_search(&index).is_err()
                    && let Some(count) = self.details.get_mut(&key)
                {
                    *count = count.saturating_sub(1);
                }
            }
        }
    }

    /// Which of these results' details find no room in their hour.
    fn count_details(&mut self, results: &[CheckResult], most: u32) -> Vec<usize> {
        let mut omitted = Vec::new();
        for (index, result) in results.iter().enumerate().filter(|(_, result)| details::has(result)) {
            let key = (hour_of(result.started_at.0), (result.service, result.region.clone()));
            let count = self.details.entry(key).or_default();
            if *count >= most {
                omitted.push(index);
            } else {
                *count += 1;
            }
        }
        while self.details.len() > COUNTED_HOURS {
            self.details.pop_first();
        }
        omitted
    }
}

fn statement(position: u64, plan: &Plan, details: &[Value]) -> (&'static str, Vec<(&'static str, Value)>) {
    let text = "BEGIN;
        LET $found = (SELECT VALUE position FROM ONLY $head) ?? 0;
        IF $found != $expected { THROW 'journal was moved by another writer' };
        UPSERT $head SET position = $end, mark = $mark RETURN NONE;
        INSERT INTO journal $batches RETURN NONE;
        INSERT INTO cursor $cursors ON DUPLICATE KEY UPDATE through = $input.through, dropped = $input.dropped RETURN NONE;
        IF array::len($details) > 0 { INSERT IGNORE INTO detail $details RETURN NONE };
        COMMIT";
    let mut cursors: BTreeMap<(NodeName, Boot), &BatchHead> = BTreeMap::new();
    for planned in &plan.batches {
        cursors.insert((planned.head.node(), planned.head.boot()), &planned.head);
    }
    let batches = plan.batches.iter().map(|planned| {
        object([
            ("id", journal_id(&key_of(&planned.head))),
            ("position", unsigned(planned.position)),
            ("omitted", bytes(write_indices(&planned.omitted))),
            ("data", bytes(planned.batch.to_vec())),
        ])
    });
    let cursors = cursors.into_iter().map(|((node, boot), head)| {
        let id = record_of("cursor", vec![text_of(&node), unsigned(boot.0)]);
        object([("id", id), ("through", unsigned(head.number())), ("dropped", unsigned(head.dropped()))])
    });
    let values = vec![
        ("head", record("journal_head", 1)),
        ("expected", unsigned(position)),
        ("end", unsigned(plan.end)),
        ("mark", unsigned(plan.mark)),
        ("batches", array(batches)),
        ("cursors", array(cursors)),
        ("details", array(details.to_vec())),
    ];
    (text, values)
}

/// Whether a call that failed so may yet have been carried out, or be carried out later.
pub(super) fn untold(error: &StoreError) -> bool {
    matches!(error, StoreError::Timeout | StoreError::Unreachable { .. })
}

pub(super) fn journal_id((node, boot, number): &BatchKey) -> Value {
    record_of("journal", vec![text_of(node), unsigned(boot.0), unsigned(*number)])
}

fn key_of(head: &BatchHead) -> BatchKey {
    (head.node(), head.boot(), head.number())
}

fn text_of(node: &NodeName) -> Value {
    text(&node.0)
}

/// Rising indices as their steps.
fn write_indices(indices: &[usize]) -> Vec<u8> {
    let mut out = Writer::default();
    let mut next = 0;
    for index in indices {
        out.number((index - next) as u64);
        next = index + 1;
    }
    out.bytes
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

/// An error with what caused it.
fn full(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests;
