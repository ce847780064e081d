//! The issue tracker: issues, what was said of them, every change, and what the program has told in them.
//!
//! All of an issue but its texts is also in memory, so that lists are filtered, ordered and counted, and statistics made, without
//! a query. Changes take turns, reach the store first and memory after.
//!
//! **Invariants.** A change, its entry in the history, its audit row and its guards are one transaction. A guard is written once:
//! what the program tells under its name is told once, whatever is repeated. Numbers of issues are never given twice.

mod rows;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, RwLock};

use surrealdb::types::{SurrealValue, Value};
use thiserror::Error;
use tokio::sync::{Mutex, MutexGuard};

use crate::model::finding::FindingId;
use crate::model::id::ServiceId;
use crate::model::incident::IncidentId;
use crate::model::issue::{Comment, Issue, IssueChange, IssueId, IssueStatus, IssueType, Priority, WholeIssue};
use crate::model::time::Timestamp;
use crate::store::audit::{Audit, Change, corrupt as unfit};
use crate::store::connection::{Database, StoreError};
use crate::store::issues::rows::{ChangeRow, CommentRow, GuardRow, HeadRow, IssueRow};
use crate::store::values::{array, int, object, record, record_named, record_of, rows as rows_of, text};

/// What the engine says of a record that is to be made and is there.
const THERE: &str = "already exists";
const CHANGED: &str = "issue was changed meanwhile";
/// Columns of what is in memory.
const HEAD: &str = "record::id(id) AS number, uid, revision, title, issue_type, priority, status, assignee, reporter, labels, service,
    service_name, incident, finding, cause, created_at, updated_at, triaged_at, resolved_at, closed_at, comments, changes";

/// Which issues are wanted. All filters must hold; an empty list holds for all.
#[derive(Clone, Debug, Default)]
pub struct IssueFilter {
    pub statuses: Vec<IssueStatus>,
    pub types: Vec<IssueType>,
    pub priorities: Vec<Priority>,
    pub assignee: Option<String>,
    /// Whether somebody is assigned.
    pub assigned: Option<bool>,
    pub reporter: Option<String>,
    /// Each of them.
    pub labels: Vec<String>,
    pub service: Option<ServiceId>,
    pub incident: Option<String>,
    pub finding: Option<String>,
    pub open: Option<bool>,
    pub created: (Option<Timestamp>, Option<Timestamp>),
    pub updated: (Option<Timestamp>, Option<Timestamp>),
}

#[derive(Debug, Error)]
pub enum IssuesError {
    /// The program has told this before.
    #[error("this was told before")]
    Told,
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What the program opened an issue for, or tells in one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Guard {
    pub key: String,
    /// Of a cause: what causes of one kind and place have in common.
    pub topic: Option<String>,
}

/// The latest cause of a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    pub issue: IssueId,
    pub cause: String,
    pub at: Timestamp,
}

/// One change to be written.
#[derive(Clone, Debug)]
pub struct Write {
    /// As it is then.
    pub issue: Issue,
    /// `None`: it stays; an issue that is new has one.
    pub description: Option<String>,
    /// New, or edited.
    pub comment: Option<Comment>,
    pub change: Option<IssueChange>,
    pub guards: Vec<Guard>,
    pub audit: Change,
}

#[derive(Debug)]
pub struct Issues {
    database: Arc<Database>,
    audit: Arc<Audit>,
    known: RwLock<Known>,
    turn: Mutex<()>,
}

#[derive(Debug, Default)]
struct Known {
    issues: BTreeMap<IssueId, Arc<Issue>>,
    /// Guards by name.
    guards: BTreeMap<String, IssueId>,
    topics: BTreeMap<String, Told>,
}

impl Known {
    fn guard(&mut self, guard: &Guard, issue: IssueId, at: Timestamp) {
        self.guards.insert(guard.key.clone(), issue);
        let Some(topic) = &guard.topic else { return };
        let told = Told { issue, cause: guard.key.clone(), at };
        let latest = self.topics.entry(topic.clone()).or_insert_with(|| told.clone());
        if (at, &told.cause) > (latest.at, &latest.cause) {
            *latest = told;
        }
    }
}

impl Issues {
    pub async fn open(database: Arc<Database>, audit: Arc<Audit>) -> Result<Issues, StoreError> {
        let known = read_all(&database).await?;
        Ok(Issues { database, audit, known: RwLock::new(known), turn: Mutex::new(()) })
    }

    /// Reads all again, as after a change whose outcome was not told.
    pub async fn refresh(&self) -> Result<(), StoreError> {
        let _turn = self.turn.lock().await;
        let known = read_all(&self.database).await?;
        *self.known.write().expect("no holder panics") = known;
        Ok(())
    }

    /// Held from reading an issue until its change is written.
    pub async fn turn(&self) -> MutexGuard<'_, ()> {
        self.turn.lock().await
    }

    pub fn get(&self, id: IssueId) -> Option<Arc<Issue>> {
        self.known.read().expect("no holder panics").issues.get(&id).cloned()
    }

    /// Those that fit, by number.
    pub fn list(&self, filter: &IssueFilter) -> Vec<Arc<Issue>> {
        let known = self.known.read().expect("no holder panics");
        known.issues.values().filter(|issue| filter.wants(issue)).cloned().collect()
    }

    /// The names issues have wherever they are copied to.
    pub fn uids(&self) -> BTreeMap<String, IssueId> {
        let known = self.known.read().expect("no holder panics");
        known.issues.values().map(|issue| (issue.uid.clone(), issue.id)).collect()
    }

    /// The issue in which the program told what this guard stands for.
    pub fn told(&self, guard: &str) -> Option<IssueId> {
        self.known.read().expect("no holder panics").guards.get(guard).copied()
    }

    /// How many guards there are whose names begin so.
    pub fn told_below(&self, prefix: &str) -> usize {
        let known = self.known.read().expect("no holder panics");
        known.guards.range(prefix.to_owned()..).take_while(|(key, _)| key.starts_with(prefix)).count()
    }

    /// The latest cause of a topic.
    pub fn latest(&self, topic: &str) -> Option<Told> {
        self.known.read().expect("no holder panics").topics.get(topic).cloned()
    }

    /// The latest causes of all topics that begin so.
    pub fn latest_below(&self, prefix: &str) -> Vec<(String, Told)> {
        let known = self.known.read().expect("no holder panics");
        let below = known.topics.range(prefix.to_owned()..).take_while(|(topic, _)| topic.starts_with(prefix));
        below.map(|(topic, told)| (topic.clone(), told.clone())).collect()
    }

    /// Those whose title, description or a comment holds the words, in whatever case.
    pub async fn search(&self, words: &str) -> Result<BTreeSet<IssueId>, StoreError> {
        let statements = "SELECT VALUE record::id(id) FROM issue
            WHERE string::lowercase(title) CONTAINS $words OR string::lowercase(description) CONTAINS $words;
            SELECT VALUE record::id(id)[0] FROM issue_comment WHERE string::lowercase(body) CONTAINS $words";
        let mut answer = self.database.query(statements, vec![("words", text(&words.to_lowercase()))]).await?;
        let mut found = BTreeSet::new();
        for statement in 0..2 {
            let numbers: Vec<i64> = answer.take(statement).map_err(|error| unfit("issue", &error))?;
            found.extend(numbers.into_iter().map(|number| IssueId(number as u64)));
        }
        Ok(found)
    }

    /// The description of an issue that is there.
    pub async fn description(&self, id: IssueId) -> Result<String, StoreError> {
        let mut answer = self.database.query("SELECT VALUE description FROM $id", vec![("id", row_id(id))]).await?;
        let found: Vec<String> = answer.take(0).map_err(|error| unfit("issue", &error))?;
        Ok(found.into_iter().next().unwrap_or_default())
    }

    /// Comments of an issue from a number to a number, both among them.
    pub async fn comments(&self, id: IssueId, first: u32, last: u32) -> Result<Vec<Comment>, StoreError> {
        let range = "SELECT *, record::id(id)[1] AS number, record::id(id)[0] AS issue OMIT id
            FROM issue_comment:[$issue, $first]..=[$issue, $last] ORDER BY number";
        let rows: Vec<CommentRow> = self.range(range, id, first, last).await?;
        rows.into_iter().map(|row| row.read().map(|(_, comment)| comment)).collect()
    }

    /// Entries of an issue's history from a number to a number, both among them.
    pub async fn changes(&self, id: IssueId, first: u32, last: u32) -> Result<Vec<IssueChange>, StoreError> {
        let range = "SELECT *, record::id(id)[1] AS number, record::id(id)[0] AS issue OMIT id
            FROM issue_change:[$issue, $first]..=[$issue, $last] ORDER BY number";
        let rows: Vec<ChangeRow> = self.range(range, id, first, last).await?;
        rows.into_iter().map(|row| row.read().map(|(_, change)| change)).collect()
    }

    async fn range<T: SurrealValue>(&self, query: &str, id: IssueId, first: u32, last: u32) -> Result<Vec<T>, StoreError> {
        if last < first {
            return Ok(Vec::new());
        }
        let values = vec![("issue", int(id.0 as i64)), ("first", int(first.into())), ("last", int(last.into()))];
        let mut answer = self.database.query(query, values).await?;
        answer.take(0).map_err(|error| unfit("issue", &error))
    }

    /// Issues with everything that belongs to them, by number; those that are not there are left out.
    pub async fn whole(&self, ids: &[IssueId]) -> Result<Vec<WholeIssue>, StoreError> {
        let (Some(first), Some(last)) = (ids.iter().min(), ids.iter().max()) else { return Ok(Vec::new()) };
        // A key sorts before every longer one that begins with it.
        let statements = "SELECT record::id(id) AS number, description FROM $ids;
            SELECT *, record::id(id)[1] AS number, record::id(id)[0] AS issue OMIT id FROM issue_comment:[$first]..[$behind];
            SELECT *, record::id(id)[1] AS number, record::id(id)[0] AS issue OMIT id FROM issue_change:[$first]..[$behind]";
        let values =
            vec![("ids", array(ids.iter().map(|id| row_id(*id)))), ("first", int(first.0 as i64)), ("behind", int(last.0 as i64 + 1))];
        let mut answer = self.database.query(statements, values).await?;
        let mut whole: BTreeMap<IssueId, WholeIssue> = BTreeMap::new();
        for row in rows_of(&mut answer, 0)? {
            let id = IssueId(row.unsigned("number")?);
            let Some(issue) = self.get(id) else { continue };
            let description = row.text("description")?.to_owned();
            whole.insert(id, WholeIssue { issue: Issue::clone(&issue), description, comments: Vec::new(), history: Vec::new() });
        }
        let comments: Vec<CommentRow> = answer.take(1).map_err(|error| unfit("comment", &error))?;
        for row in comments {
            let (issue, comment) = row.read()?;
            whole.entry(issue).and_modify(|whole| whole.comments.push(comment));
        }
        let changes: Vec<ChangeRow> = answer.take(2).map_err(|error| unfit("issue change", &error))?;
        for row in changes {
            let (issue, change) = row.read()?;
            whole.entry(issue).and_modify(|whole| whole.history.push(change));
        }
        let mut whole: Vec<WholeIssue> = whole.into_values().collect();
        for one in &mut whole {
            one.comments.sort_by_key(|comment| comment.number);
            one.history.sort_by_key(|change| change.number);
        }
        Ok(whole)
    }

    /// A number for a new issue. One that is not used is a gap, and a gap is no harm.
    pub async fn next_number(&self) -> Result<IssueId, StoreError> {
        let mut answer = self.database.query("UPSERT ONLY counter:issue SET value += 1 RETURN VALUE value", Vec::new()).await?;
        let number: Option<i64> = answer.take(0).map_err(|error| unfit("issue counter", &error))?;
        let number = number.and_then(|number| u64::try_from(number).ok());
        number.map(IssueId).ok_or(StoreError::Corrupt { what: "issue counter", message: "it is not a number".to_owned() })
    }

    /// Writes one change of an issue as it was read in this turn.
    pub async fn write(&self, write: Write, _turn: &MutexGuard<'_, ()>) -> Result<Arc<Issue>, IssuesError> {
        if write.guards.iter().any(|guard| self.told(&guard.key).is_some()) {
            return Err(IssuesError::Told);
        }
        let Write { issue, description, comment, change, guards, audit } = write;
        let mut statements = String::new();
        let mut values = vec![("id", row_id(issue.id)), ("revision", int(issue.revision as i64))];
        if issue.revision == 1 {
            statements.push_str("CREATE $id CONTENT $row RETURN NONE; ");
        } else {
            // One that is carried out late, after its caller was told that the store is away, must not undo what came after it.
            statements.push_str(&format!("IF $id.revision != $revision - 1 {{ THROW '{CHANGED}' }}; UPDATE $id MERGE $row RETURN NONE; "));
        }
        values.push(("row", IssueRow::of(&issue, description)));
        if let Some(comment) = &comment {
            statements.push_str("UPSERT $comment_id CONTENT $comment RETURN NONE; ");
            values.push(("comment_id", part_id("issue_comment", issue.id, comment.number)));
            values.push(("comment", CommentRow::of(comment)));
        }
        if let Some(change) = &change {
            statements.push_str("CREATE $change_id CONTENT $change RETURN NONE; ");
            values.push(("change_id", part_id("issue_change", issue.id, change.number)));
            values.push(("change", ChangeRow::of(change)));
        }
        if !guards.is_empty() {
            statements.push_str("INSERT INTO issue_guard $guards RETURN NONE; ");
            values.push(("guards", array(guards.iter().map(|guard| guard_row(guard, issue.id, issue.updated_at)))));
        }
        self.audit.commit(&statements, values, &audit).await.map_err(refused)?;
        let issue = Arc::new(issue);
        let mut known = self.known.write().expect("no holder panics");
        guards.iter().for_each(|guard| known.guard(guard, issue.id, issue.updated_at));
        known.issues.insert(issue.id, issue.clone());
        Ok(issue)
    }

    /// Writes issues that come from elsewhere, all or none; their numbers must be free.
    pub async fn import(&self, issues: &[WholeIssue], audit: &Change, _turn: &MutexGuard<'_, ()>) -> Result<(), IssuesError> {
        let with_id = |id: Value, row: Value| match row {
            Value::Object(mut row) => {
                row.insert("id", id);
                Value::Object(row)
            }
            other => other,
        };
        let (mut rows, mut comments, mut changes, mut guards) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for whole in issues {
            let id = whole.issue.id;
            rows.push(with_id(row_id(id), IssueRow::of(&whole.issue, Some(whole.description.clone()))));
            comments.extend(whole.comments.iter().map(|one| with_id(part_id("issue_comment", id, one.number), CommentRow::of(one))));
            changes.extend(whole.history.iter().map(|one| with_id(part_id("issue_change", id, one.number), ChangeRow::of(one))));
            let cause = whole.issue.cause.clone().filter(|cause| self.told(cause).is_none());
            guards.extend(cause.map(|key| (Guard { key, topic: None }, id, whole.issue.created_at)));
        }
        let most = issues.iter().map(|whole| whole.issue.id.0).max().unwrap_or(0);
        let statements = "INSERT INTO issue $rows RETURN NONE; INSERT INTO issue_comment $comments RETURN NONE;
            INSERT INTO issue_change $changes RETURN NONE; INSERT INTO issue_guard $guards RETURN NONE;
            UPSERT counter:issue SET value = math::max([value ?? 0, $most]) RETURN NONE;";
        let values = vec![
            ("rows", array(rows)),
            ("comments", array(comments)),
            ("changes", array(changes)),
            ("guards", array(guards.iter().map(|(guard, id, at)| guard_row(guard, *id, *at)))),
            ("most", int(most as i64)),
        ];
        self.audit.commit(statements, values, audit).await.map_err(refused)?;
        let mut known = self.known.write().expect("no holder panics");
        guards.iter().for_each(|(guard, id, at)| known.guard(guard, *id, *at));
        known.issues.extend(issues.iter().map(|whole| (whole.issue.id, Arc::new(whole.issue.clone()))));
        Ok(())
    }
}

impl IssueFilter {
    pub fn wants(&self, issue: &Issue) -> bool {
        let within = |(since, until): (Option<Timestamp>, Option<Timestamp>), at: Timestamp| {
            since.is_none_or(|since| at >= since) && until.is_none_or(|until| at < until)
        };
        (self.statuses.is_empty() || self.statuses.contains(&issue.status))
            && (self.types.is_empty() || self.types.contains(&issue.issue_type))
            && (self.priorities.is_empty() || self.priorities.contains(&issue.priority))
            && self.assignee.as_ref().is_none_or(|assignee| issue.assignee.as_ref() == Some(assignee))
            && self.assigned.is_none_or(|assigned| assigned == issue.assignee.is_some())
            && self.reporter.as_ref().is_none_or(|reporter| issue.reporter == *reporter)
            && self.labels.iter().all(|label| issue.labels.contains(label))
            && self.service.is_none_or(|service| issue.service.as_ref().is_some_and(|linked| linked.id == service))
            && self.incident.as_ref().is_none_or(|incident| issue.incident == Some(IncidentId(incident.as_str().into())))
            && self.finding.as_ref().is_none_or(|finding| issue.finding == Some(FindingId(finding.as_str().into())))
            && self.open.is_none_or(|open| open == issue.status.is_open())
            && within(self.created, issue.created_at)
            && within(self.updated, issue.updated_at)
    }
}

async fn read_all(database: &Database) -> Result<Known, StoreError> {
    let statements = format!("SELECT {HEAD} FROM issue; SELECT *, record::id(id) AS key OMIT id FROM issue_guard");
    let mut answer = database.query(&statements, Vec::new()).await?;
    let heads: Vec<HeadRow> = answer.take(0).map_err(|error| unfit("issue", &error))?;
    let guards: Vec<GuardRow> = answer.take(1).map_err(|error| unfit("issue guard", &error))?;
    let mut known = Known::default();
    for row in heads {
        let issue = Issue::try_from(row)?;
        known.issues.insert(issue.id, Arc::new(issue));
    }
    for row in guards {
        known.guard(&Guard { key: row.key, topic: row.topic }, IssueId(row.issue as u64), Timestamp(row.at));
    }
    Ok(known)
}

fn refused(error: StoreError) -> IssuesError {
    match error {
        StoreError::Query { message } if message.contains(THERE) && message.contains("issue_guard") => IssuesError::Told,
        StoreError::Query { message } if message.contains(CHANGED) || message.contains(THERE) => StoreError::Conflict.into(),
        error => error.into(),
    }
}

fn row_id(id: IssueId) -> Value {
    record("issue", id.0 as i64)
}

fn part_id(table: &str, id: IssueId, number: u32) -> Value {
    record_of(table, vec![int(id.0 as i64), int(number.into())])
}

fn guard_row(guard: &Guard, issue: IssueId, at: Timestamp) -> Value {
    object([
        ("id", record_named("issue_guard", &guard.key)),
        ("issue", int(issue.0 as i64)),
        ("topic", guard.topic.as_deref().map_or(Value::None, text)),
        ("at", int(at.0)),
    ])
}
