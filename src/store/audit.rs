//! Who changed what, when and from where.
//!
//! **Invariants.** A change and its audit row are one transaction: neither is stored without the other. A row never holds a
//! secret: it names the fields that changed, not what they held.

use std::net::IpAddr;
use std::sync::Arc;

use surrealdb::IndexedResults;
use surrealdb::types::{SurrealValue, Value};
use tokio::sync::Mutex;

use crate::clock::Clock;
use crate::model::time::Timestamp;
use crate::store::connection::{Database, StoreError};

/// Rows a search reads at once, and at all before it says how to go on.
const AT_ONCE: u64 = 1_000;
const LOOKED_THROUGH: u64 = 20_000;

/// A change about to be made, as the audit log will tell it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// A user name, or the part of the program that did it.
    pub who: String,
    pub address: Option<IpAddr>,
    /// Such as `service.create`.
    pub action: &'static str,
    /// What was changed, such as `service:7`.
    pub subject: String,
    /// The fields that changed.
    pub fields: Vec<String>,
}

/// A row of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditEntry {
    pub id: u64,
    pub at: Timestamp,
    pub who: String,
    pub address: Option<String>,
    pub action: String,
    pub subject: String,
    pub fields: Vec<String>,
}

/// Which rows are wanted; what is empty is not asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuditFilter {
    pub who: String,
    /// The beginning of an action, such as `login.` or `service.update`.
    pub action: String,
    /// Part of a subject.
    pub subject: String,
    pub since: Option<Timestamp>,
    pub until: Option<Timestamp>,
}

impl AuditFilter {
    pub fn is_empty(&self) -> bool {
        *self == AuditFilter::default()
    }

    fn fits(&self, entry: &AuditEntry) -> bool {
        (self.who.is_empty() || entry.who == self.who)
            && entry.action.starts_with(&self.action)
            && entry.subject.contains(&self.subject)
            && self.until.is_none_or(|until| entry.at < until)
            && self.since.is_none_or(|since| entry.at >= since)
    }
}

/// The log. Every change of services and users is committed through it.
#[derive(Debug)]
pub struct Audit {
    database: Arc<Database>,
    clock: Clock,
    /// Changes take turns: each raises the log's counter.
    turn: Mutex<()>,
}

#[derive(SurrealValue)]
struct Row {
    at: i64,
    who: String,
    address: Option<String>,
    action: String,
    subject: String,
    fields: Vec<String>,
}

/// One of many rows that are recorded at once, and which of them, from 1.
#[derive(SurrealValue)]
struct PlacedRow {
    place: i64,
    row: Row,
}

#[derive(SurrealValue)]
struct NumberedRow {
    number: i64,
    at: i64,
    who: String,
    address: Option<String>,
    action: String,
    subject: String,
    fields: Vec<String>,
}

impl Audit {
    pub fn new(database: Arc<Database>, clock: Clock) -> Audit {
        Audit { database, clock, turn: Mutex::new(()) }
    }

    /// Runs `statements`, a text of whole statements, and records `change`, in one transaction.
    pub async fn commit(
        &self,
        statements: &str,
        mut values: Vec<(&'static str, Value)>,
        change: &Change,
    ) -> Result<IndexedResults, StoreError> {
        values.push(("audit_row", self.row(change).into_value()));
        let text = format!(
            "BEGIN; {statements} \
             LET $audit_number = (UPSERT ONLY counter:audit SET value += 1 RETURN VALUE value); \
             CREATE type::record('audit', [$audit_number]) CONTENT $audit_row RETURN NONE; \
             COMMIT;"
        );
        let _turn = self.turn.lock().await;
        self.database.query(&text, values).await
    }

    /// The same for many changes at once, recorded in their order.
    pub async fn commit_all(
        &self,
        statements: &str,
        mut values: Vec<(&'static str, Value)>,
        changes: &[Change],
    ) -> Result<IndexedResults, StoreError> {
        let rows: Vec<PlacedRow> = changes.iter().zip(1..).map(|(change, place)| PlacedRow { place, row: self.row(change) }).collect();
        values.extend([("audit_count", Value::from_t(rows.len() as i64)), ("audit_rows", Value::from_t(rows))]);
        let text = format!(
            "BEGIN; {statements} \
             LET $audit_last = (UPSERT ONLY counter:audit SET value += $audit_count RETURN VALUE value); \
             FOR $audit IN $audit_rows {{ \
                 CREATE type::record('audit', [$audit_last - $audit_count + $audit.place]) CONTENT $audit.row RETURN NONE; \
             }}; \
             COMMIT;"
        );
        let _turn = self.turn.lock().await;
        self.database.query(&text, values).await
    }

    fn row(&self, change: &Change) -> Row {
        Row {
            at: self.clock.now().0,
            who: change.who.clone(),
            address: change.address.map(|address| address.to_string()),
            action: change.action.to_owned(),
            subject: change.subject.clone(),
            fields: change.fields.clone(),
        }
    }

    /// Records what changed nothing in the store, such as a failed log-in.
    pub async fn record(&self, change: &Change) -> Result<(), StoreError> {
        self.commit("", Vec::new(), change).await.map(|_| ())
    }

    /// How many rows there are.
    pub async fn count(&self) -> Result<u64, StoreError> {
        let mut answer = self.database.query("SELECT VALUE value FROM counter:audit", Vec::new()).await?;
        let counts: Vec<i64> = answer.take(0).map_err(|error| corrupt("audit counter", &error))?;
        Ok(counts.first().copied().unwrap_or(0).max(0) as u64)
    }

    /// Rows newest first, leaving out the first `skip`; and how many there are of all.
    pub async fn page(&self, skip: u64, size: u64) -> Result<(u64, Vec<AuditEntry>), StoreError> {
        let count = self.count().await?;
        let last = count.saturating_sub(skip);
        Ok((count, self.range(last.saturating_sub(size), last).await?))
    }

    /// Rows that fit, newest first, older than the row `before`; and the row to go on before, where there may be more.
    pub async fn search(
        &self,
        filter: &AuditFilter,
        before: Option<u64>,
        size: usize,
    ) -> Result<(Vec<AuditEntry>, Option<u64>), StoreError> {
        let mut last = self.count().await?.min(before.map_or(u64::MAX, |before| before.saturating_sub(1)));
        let mut found = Vec::new();
        let stops = last.saturating_sub(LOOKED_THROUGH);
        while last > stops {
            let first = last.saturating_sub(AT_ONCE).max(stops);
            for entry in self.range(first, last).await? {
                // Rows are in the order of their times, as far as the clock went forwards.
                if filter.fits(&entry) {
                    if found.len() == size {
                        return Ok((found, Some(entry.id + 1)));
                    }
                    found.push(entry);
                }
            }
            last = first;
        }
        Ok((found, (last > 0).then_some(last + 1)))
    }

    /// Rows after `first` up to `last`, newest first.
    async fn range(&self, first: u64, last: u64) -> Result<Vec<AuditEntry>, StoreError> {
        if last <= first {
            return Ok(Vec::new());
        }
        // Numbers leave no gaps, so a page is a range of ids.
        let mut answer = self
            .database
            .query(
                "SELECT *, record::id(id)[0] AS number OMIT id FROM audit:[$first]..[$last] ORDER BY number DESC",
                vec![("first", Value::from_t(first as i64 + 1)), ("last", Value::from_t(last as i64 + 1))],
            )
            .await?;
        let rows: Vec<NumberedRow> = answer.take(0).map_err(|error| corrupt("audit row", &error))?;
        let entries = rows.into_iter().map(|row| AuditEntry {
            id: row.number.max(0) as u64,
            at: Timestamp(row.at),
            who: row.who,
            address: row.address,
            action: row.action,
            subject: row.subject,
            fields: row.fields,
        });
        Ok(entries.collect())
    }
}

/// What a row that does not fit its struct is told as.
pub fn corrupt(what: &'static str, error: &surrealdb::Error) -> StoreError {
    StoreError::Corrupt { what, message: error.to_string() }
}
