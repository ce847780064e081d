//! The journal: batches as they came. A batch is stored when the transaction that holds it has committed.
//!
//! Appends that arrive while one transaction commits share the next one. Each transaction moves one record, the head, from
//! the position this process believes in; so when a call's outcome is not told, the head tells it afterwards, and a second
//! writer is found out at its first append.
//!
//! A batch lies here as the node made it. Where the node's clock is known to be wrong, its offset lies beside it, and the
//! times of its results are set right whenever they are read.
//!
//! **Invariant.** A batch is named by (node, boot, number). One that is not above its boot's cursor was stored before; the
//! offset it was first stored with stays.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use surrealdb::types::Value;
use tokio::sync::oneshot;

use crate::model::check::CheckResult;
use crate::model::id::{Boot, NodeName};
use crate::model::time::Timestamp;
use crate::store::columns::Writer;
use crate::store::connection::StoreError;
use crate::store::details::{self, DetailCounts};
use crate::store::results::{Entry, Inner, Memory, Results};
use crate::store::values::{array, bytes, int, object, record, record_of, rows, text, unsigned};
use crate::wire::batch::{self, BatchError, BatchHead};

/// Batches that share one transaction at most, and their bytes.
const GROUP_BATCHES: usize = 64;
const GROUP_BYTES: usize = 4 << 20;
/// Transactions of untold outcome that are remembered.
const UNRESOLVED: usize = 8;
/// An offset of a node's clock that is smaller is no worse than what it was measured with.
pub const LEAST_OFFSET: u64 = 1_000_000;

pub(super) type BatchKey = (NodeName, Boot, u64);

#[derive(Clone, Debug)]
pub struct Appended {
    pub head: BatchHead,
    /// `None`: this batch was stored before; nothing changed.
    pub results: Option<Arc<[CheckResult]>>,
    /// Everything of this boot up to this batch number is in the store.
    pub through: u64,
}

/// What became of batches that were appended together.
#[derive(Clone, Debug)]
pub struct AppendedGroup {
    /// The first so many of them, in their order: all, unless one was refused or the store failed behind these.
    pub stored: Vec<Appended>,
    /// The first one that can never be stored. Those behind it were not looked at.
    pub refused: Option<Refusal>,
}

/// A batch that can never be stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Among the batches given, from 0.
    pub place: usize,
    pub message: String,
}

/// Batches that are stored in their order or not at all: none while one before it is not.
#[derive(Debug)]
pub(super) struct Pending {
    batches: Vec<Received>,
    answer: oneshot::Sender<Result<Vec<Appended>, StoreError>>,
}

#[derive(Clone, Debug)]
struct Received {
    batch: Arc<[u8]>,
    head: BatchHead,
    /// Their times are set right by the offset.
    results: Arc<[CheckResult]>,
    offset: i64,
}

/// What the one task that writes the journal knows.
#[derive(Debug, Default)]
pub(super) struct JournalWriter {
    /// Of the newest batch in the store.
    pub position: u64,
    /// Positions are taken from here; higher than `position` after a transaction whose outcome was not told.
    next: u64,
    pub cursors: HashMap<(NodeName, Boot), u64>,
    pub details: DetailCounts,
    unresolved: Vec<Plan>,
    /// Stored by a transaction whose callers were told that it failed, with what clock offset: their resend is answered as
    /// if it were new.
    untold: HashMap<BatchKey, i64>,
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
    offset: i64,
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
        let mut group = self.append_all(&[batch.into()], None).await?;
        match group.refused {
            Some(Refusal { message, .. }) => Err(StoreError::Batch { message }),
            None => Ok(group.stored.remove(0)),
        }
    }

    /// Stores batches of one node in their order, in one transaction where that is possible: a batch is never stored while
    /// one before it is not. An error says that none was stored. `clock_offset`: microseconds the node's clock is ahead of
    /// this one's, where that is known.
    pub async fn append_all(&self, batches: &[Arc<[u8]>], clock_offset: Option<i64>) -> Result<AppendedGroup, StoreError> {
        let offset = clock_offset.filter(|offset| offset.unsigned_abs() >= LEAST_OFFSET).unwrap_or(0);
        let (batches, refused) = receive(batches, offset);
        if batches.is_empty() {
            return Ok(AppendedGroup { stored: Vec::new(), refused });
        }
        let count = batches.len();
        let (answer, outcome) = oneshot::channel();
        self.inner.queue.lock().expect("no holder panics").push_back(Pending { batches, answer });
        // In a task of its own: a caller that goes away must not stop a transaction others share half-way.
        let inner = self.inner.clone();
        tokio::spawn(async move {
            let mut writer = inner.writer.lock().await;
            inner.write_queued(&mut writer).await;
        });
        let stored = outcome.await.unwrap_or(Err(StoreError::Closed))?;
        // Where the store failed before it, the refusal has to wait for its turn.
        let refused = refused.filter(|_| stored.len() == count);
        Ok(AppendedGroup { stored, refused })
    }
}

/// Reads batches up to the first that cannot be taken.
fn receive(batches: &[Arc<[u8]>], offset: i64) -> (Vec<Received>, Option<Refusal>) {
    let mut received: Vec<Received> = Vec::with_capacity(batches.len());
    for (place, bytes) in batches.iter().enumerate() {
        let refused = |message| Some(Refusal { place, message });
        let (head, results) = match read_batch(bytes, offset) {
            Ok(read) => read,
            Err(error) => return (received, refused(full(&error))),
        };
        if received.first().is_some_and(|first| first.head.node() != head.node()) {
            return (received, refused("it is another node's than those before it".to_owned()));
        }
        received.push(Received { batch: bytes.clone(), head, results: results.into(), offset });
    }
    (received, None)
}

fn read_batch(bytes: &[u8], offset: i64) -> Result<(BatchHead, Vec<CheckResult>), BatchError> {
    let (head, mut results) = batch::decode(bytes)?;
    if offset != 0 {
        results.iter_mut().for_each(|result| result.set_clock_offset(offset));
    }
    Ok((head, results))
}

impl Inner {
    async fn write_queued(&self, writer: &mut JournalWriter) {
        loop {
            let group = self.take_group();
            if group.is_empty() {
                return;
            }
            let all: Vec<Received> = group.iter().flat_map(|pending| pending.batches.iter().cloned()).collect();
            let failed = self.write_group(writer, &all).await.err();
            // A batch the store refuses must not take with it more than those that have to come behind it.
            let each = matches!(failed, Some(StoreError::Query { .. })) && all.len() > 1;
            for Pending { mut batches, answer } in group {
                let failed = match each {
                    true => self.write_one_by_one(writer, &mut batches).await,
                    false => failed.clone(),
                };
                // A caller that no longer waits sends its batches again.
                let _ = answer.send(match failed {
                    Some(error) => Err(self.noted(error)),
                    None => Ok(batches.into_iter().map(|received| self.appended(writer, received)).collect()),
                });
            }
        }
    }

    /// Leaves those that were stored before the first failed; the error, where that was the very first.
    async fn write_one_by_one(&self, writer: &mut JournalWriter, batches: &mut Vec<Received>) -> Option<StoreError> {
        for index in 0..batches.len() {
            let Err(error) = self.write_group(writer, &batches[index..=index]).await else { continue };
            if index == 0 {
                return Some(error);
            }
            self.noted(error);
            batches.truncate(index);
            break;
        }
        None
    }

    fn appended(&self, writer: &mut JournalWriter, received: Received) -> Appended {
        let key = key_of(&received.head);
        let through = writer.cursors.get(&(key.0.clone(), key.1)).copied().unwrap_or(0);
        let stored_with = writer.untold.remove(&key);
        self.memory().status.batches_repeated += u64::from(stored_with.is_none());
        let results = stored_with.map(|offset| match offset == received.offset {
            true => received.results.clone(),
            // An earlier try had been carried out, and what it knew of the clock is what holds.
            false => received
                .results
                .iter()
                .cloned()
                .map(|mut result| {
                    result.set_clock_offset(offset);
                    result
                })
                .collect(),
        });
        Appended { head: received.head, results, through }
    }

    fn take_group(&self) -> Vec<Pending> {
        let mut queue = self.queue.lock().expect("no holder panics");
        let mut group = Vec::new();
        let (mut count, mut size) = (0, 0);
        while let Some(pending) = queue.front() {
            let bytes: usize = pending.batches.iter().map(|received| received.batch.len()).sum();
            if !group.is_empty() && (count + pending.batches.len() > GROUP_BATCHES || size + bytes > GROUP_BYTES) {
                break;
            }
            count += pending.batches.len();
            size += bytes;
            group.extend(queue.pop_front());
        }
        group
    }

    /// Brings every batch of a group into the store. Those that are new are in `untold` afterwards.
    async fn write_group(&self, writer: &mut JournalWriter, group: &[Received]) -> Result<(), StoreError> {
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
            for Planned { results, omitted, .. } in &plan.batches {
                writer.details.take_back(results, omitted);
            }
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

    fn plan(&self, writer: &mut JournalWriter, group: &[Received]) -> Plan {
        let mut position = writer.next.max(writer.position);
        let mut through: HashMap<(NodeName, Boot), u64> = HashMap::new();
        let mut batches = Vec::new();
        for received in group {
            let (node, boot, number) = key_of(&received.head);
            let boot = (node, boot);
            let known = through.get(&boot).or_else(|| writer.cursors.get(&boot));
            if known.is_some_and(|known| number <= *known) {
                continue;
            }
            through.insert(boot, number);
            position += 1;
            let omitted = writer.details.count(&received.results, self.limits.details_per_hour);
            let (batch, results) = (received.batch.clone(), received.results.clone());
            batches.push(Planned { position, batch, head: received.head.clone(), results, offset: received.offset, omitted });
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
        for Planned { position, batch, head, results, offset, omitted } in plan.batches {
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
            writer.untold.insert(key, offset);
        }
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
            ("data", bytes(packed::pack(&planned.batch))),
            ("offset_us", if planned.offset == 0 { Value::None } else { int(planned.offset) }),
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

mod packed;
mod replay;

#[cfg(test)]
mod tests;
