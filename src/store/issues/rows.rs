//! Issues as they lie in the store.

use serde::{Deserialize, Serialize};
use surrealdb::types::{SurrealValue, Value};

use crate::model::finding::FindingId;
use crate::model::id::ServiceId;
use crate::model::incident::IncidentId;
use crate::model::issue::{
    Comment, CommentEdit, FieldChange, Issue, IssueChange, IssueId, IssueStatus, IssueType, LinkedService, Priority,
};
use crate::model::time::Timestamp;
use crate::store::connection::StoreError;
use crate::store::values::{corrupt, text};

/// What is kept in memory.
#[derive(SurrealValue)]
pub struct HeadRow {
    number: i64,
    #[surreal(flatten)]
    fields: IssueRow,
}

#[derive(SurrealValue)]
pub struct IssueRow {
    uid: String,
    revision: i64,
    title: String,
    issue_type: String,
    priority: String,
    status: String,
    assignee: Option<String>,
    reporter: String,
    labels: Vec<String>,
    service: Option<i64>,
    service_name: Option<String>,
    incident: Option<String>,
    finding: Option<String>,
    cause: Option<String>,
    created_at: i64,
    updated_at: i64,
    triaged_at: Option<i64>,
    resolved_at: Option<i64>,
    closed_at: Option<i64>,
    comments: i64,
    changes: i64,
}

#[derive(SurrealValue)]
pub struct CommentRow {
    issue: i64,
    number: i64,
    author: String,
    body: String,
    created_at: i64,
    edits: String,
}

#[derive(SurrealValue)]
struct NewCommentRow {
    author: String,
    body: String,
    created_at: i64,
    edits: String,
}

#[derive(SurrealValue)]
pub struct ChangeRow {
    issue: i64,
    number: i64,
    at: i64,
    who: String,
    why: String,
    fields: String,
}

#[derive(SurrealValue)]
struct NewChangeRow {
    at: i64,
    who: String,
    why: String,
    fields: String,
}

#[derive(SurrealValue)]
pub struct GuardRow {
    pub key: String,
    pub issue: i64,
    pub topic: Option<String>,
    pub at: i64,
}

#[derive(Serialize, Deserialize)]
struct EditRow {
    at: i64,
    who: String,
    before: String,
}

#[derive(Serialize, Deserialize)]
struct FieldRow {
    field: String,
    from: Option<String>,
    to: Option<String>,
}

impl IssueRow {
    /// Without a description the one that is there stays, where the row is merged into it.
    pub fn of(issue: &Issue, description: Option<String>) -> Value {
        let row = IssueRow {
            uid: issue.uid.clone(),
            revision: issue.revision as i64,
            title: issue.title.clone(),
            issue_type: issue.issue_type.name().to_owned(),
            priority: issue.priority.name().to_owned(),
            status: issue.status.name().to_owned(),
            assignee: issue.assignee.clone(),
            reporter: issue.reporter.clone(),
            labels: issue.labels.clone(),
            service: issue.service.as_ref().map(|service| service.id.0.into()),
            service_name: issue.service.as_ref().map(|service| service.name.clone()),
            incident: issue.incident.as_ref().map(ToString::to_string),
            finding: issue.finding.as_ref().map(ToString::to_string),
            cause: issue.cause.clone(),
            created_at: issue.created_at.0,
            updated_at: issue.updated_at.0,
            triaged_at: issue.triaged_at.map(|at| at.0),
            resolved_at: issue.resolved_at.map(|at| at.0),
            closed_at: issue.closed_at.map(|at| at.0),
            comments: issue.comments.into(),
            changes: issue.changes.into(),
        };
        match (row.into_value(), description) {
            (Value::Object(mut row), Some(description)) => {
                row.insert("description", text(&description));
                Value::Object(row)
            }
            (row, _) => row,
        }
    }
}

impl TryFrom<HeadRow> for Issue {
    type Error = StoreError;

    fn try_from(row: HeadRow) -> Result<Issue, StoreError> {
        let HeadRow { number, fields: row } = row;
        let unknown = |what: &str, name: &str| corrupt("issue", format!("its {what} is {name:?}"));
        Ok(Issue {
            id: IssueId(number as u64),
            uid: row.uid,
            revision: row.revision as u64,
            title: row.title,
            issue_type: IssueType::from_name(&row.issue_type).ok_or_else(|| unknown("type", &row.issue_type))?,
            priority: Priority::from_name(&row.priority).ok_or_else(|| unknown("priority", &row.priority))?,
            status: IssueStatus::from_name(&row.status).ok_or_else(|| unknown("status", &row.status))?,
            assignee: row.assignee,
            reporter: row.reporter,
            labels: row.labels,
            service: row.service.map(|id| LinkedService { id: ServiceId(id as u32), name: row.service_name.unwrap_or_default() }),
            incident: row.incident.map(|id| IncidentId(id.into())),
            finding: row.finding.map(|id| FindingId(id.into())),
            cause: row.cause,
            created_at: Timestamp(row.created_at),
            updated_at: Timestamp(row.updated_at),
            triaged_at: row.triaged_at.map(Timestamp),
            resolved_at: row.resolved_at.map(Timestamp),
            closed_at: row.closed_at.map(Timestamp),
            comments: row.comments as u32,
            changes: row.changes as u32,
        })
    }
}

impl CommentRow {
    pub fn of(comment: &Comment) -> Value {
        let edits: Vec<EditRow> =
            comment.edits.iter().map(|edit| EditRow { at: edit.at.0, who: edit.who.clone(), before: edit.before.clone() }).collect();
        let row = NewCommentRow {
            author: comment.author.clone(),
            body: comment.body.clone(),
            created_at: comment.created_at.0,
            edits: serde_json::to_string(&edits).expect("plain text always encodes"),
        };
        row.into_value()
    }

    pub fn read(self) -> Result<(IssueId, Comment), StoreError> {
        let edits: Vec<EditRow> = serde_json::from_str(&self.edits).map_err(|error| corrupt("comment", error))?;
        let comment = Comment {
            number: self.number as u32,
            author: self.author,
            body: self.body,
            created_at: Timestamp(self.created_at),
            edits: edits.into_iter().map(|edit| CommentEdit { at: Timestamp(edit.at), who: edit.who, before: edit.before }).collect(),
        };
        Ok((IssueId(self.issue as u64), comment))
    }
}

impl ChangeRow {
    pub fn of(change: &IssueChange) -> Value {
        let fields: Vec<FieldRow> = change
            .fields
            .iter()
            .map(|field| FieldRow { field: field.field.clone(), from: field.from.clone(), to: field.to.clone() })
            .collect();
        let row = NewChangeRow {
            at: change.at.0,
            who: change.who.clone(),
            why: change.why.clone(),
            fields: serde_json::to_string(&fields).expect("plain text always encodes"),
        };
        row.into_value()
    }

    pub fn read(self) -> Result<(IssueId, IssueChange), StoreError> {
        let fields: Vec<FieldRow> = serde_json::from_str(&self.fields).map_err(|error| corrupt("issue change", error))?;
        let change = IssueChange {
            number: self.number as u32,
            at: Timestamp(self.at),
            who: self.who,
            why: self.why,
            fields: fields.into_iter().map(|field| FieldChange { field: field.field, from: field.from, to: field.to }).collect(),
        };
        Ok((IssueId(self.issue as u64), change))
    }
}
