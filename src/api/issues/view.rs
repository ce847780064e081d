//! Issues, comments and changes as they are answered.

use serde::Serialize;
use utoipa::ToSchema;

use crate::api::error::ApiError;
use crate::api::markdown::render;
use crate::api::state::ApiState;
use crate::model::issue::{Comment, Issue, IssueChange};
use crate::model::time::Timestamp;
use crate::tracker::workflow::steps;

/// An issue without its description.
#[derive(Serialize, ToSchema)]
pub struct IssueView {
    id: u64,
    /// Names it wherever it is exported to.
    uid: String,
    title: String,
    /// `bug`, `feature`, `support` or `incident`
    issue_type: &'static str,
    /// `low`, `medium`, `high` or `critical`
    priority: &'static str,
    status: &'static str,
    /// Whether there is still something to do.
    open: bool,
    assignee: Option<String>,
    reporter: String,
    labels: Vec<String>,
    service: Option<u32>,
    /// As it was called when it was linked.
    service_name: Option<String>,
    incident: Option<String>,
    finding: Option<String>,
    /// What the program opened it for; null where a person did.
    cause: Option<String>,
    created_at: String,
    updated_at: String,
    triaged_at: Option<String>,
    resolved_at: Option<String>,
    closed_at: Option<String>,
    comments: u32,
    /// Rises with each change. Sent back, it must still be the same.
    revision: u64,
}

#[derive(Serialize, ToSchema)]
pub struct IssueDetail {
    #[serde(flatten)]
    issue: IssueView,
    /// Markdown, as it was written.
    description: String,
    /// The same as HTML that is safe to show.
    description_html: String,
    /// The statuses it may go to from here.
    allowed: Vec<&'static str>,
}

#[derive(Serialize, ToSchema)]
pub struct CommentView {
    /// Within its issue, from 1.
    id: u32,
    author: String,
    /// Markdown, as it was written.
    body: String,
    /// The same as HTML that is safe to show.
    body_html: String,
    created_at: String,
    edited_at: Option<String>,
    /// What it said before, the oldest first.
    edits: Vec<EditView>,
}

#[derive(Serialize, ToSchema)]
pub struct EditView {
    at: String,
    who: String,
    /// What it said until then.
    before: String,
}

/// One change of an issue.
#[derive(Serialize, ToSchema)]
pub struct ChangeView {
    id: u32,
    at: String,
    who: String,
    why: String,
    changes: Vec<FieldView>,
}

#[derive(Serialize, ToSchema)]
pub struct FieldView {
    field: String,
    from: Option<String>,
    to: Option<String>,
}

impl From<&Issue> for IssueView {
    fn from(issue: &Issue) -> IssueView {
        let time = |at: Option<Timestamp>| at.map(Timestamp::rfc3339);
        IssueView {
            id: issue.id.0,
            uid: issue.uid.clone(),
            title: issue.title.clone(),
            issue_type: issue.issue_type.name(),
            priority: issue.priority.name(),
            status: issue.status.name(),
            open: issue.status.is_open(),
            assignee: issue.assignee.clone(),
            reporter: issue.reporter.clone(),
            labels: issue.labels.clone(),
            service: issue.service.as_ref().map(|service| service.id.0),
            service_name: issue.service.as_ref().map(|service| service.name.clone()),
            incident: issue.incident.as_ref().map(ToString::to_string),
            finding: issue.finding.as_ref().map(ToString::to_string),
            cause: issue.cause.clone(),
            created_at: issue.created_at.rfc3339(),
            updated_at: issue.updated_at.rfc3339(),
            triaged_at: time(issue.triaged_at),
            resolved_at: time(issue.resolved_at),
            closed_at: time(issue.closed_at),
            comments: issue.comments,
            revision: issue.revision,
        }
    }
}

impl IssueDetail {
    pub async fn read(state: &ApiState, issue: &Issue) -> Result<IssueDetail, ApiError> {
        let description = state.tracker.issues.description(issue.id).await?;
        Ok(IssueDetail {
            issue: IssueView::from(issue),
            description_html: render(&description),
            description,
            allowed: steps(issue.status).iter().map(|status| status.name()).collect(),
        })
    }
}

impl From<&Comment> for CommentView {
    fn from(comment: &Comment) -> CommentView {
        let edits = comment.edits.iter();
        CommentView {
            id: comment.number,
            author: comment.author.clone(),
            body: comment.body.clone(),
            body_html: render(&comment.body),
            created_at: comment.created_at.rfc3339(),
            edited_at: comment.edits.last().map(|edit| edit.at.rfc3339()),
            edits: edits.map(|edit| EditView { at: edit.at.rfc3339(), who: edit.who.clone(), before: edit.before.clone() }).collect(),
        }
    }
}

impl From<&IssueChange> for ChangeView {
    fn from(change: &IssueChange) -> ChangeView {
        let fields = change.fields.iter();
        ChangeView {
            id: change.number,
            at: change.at.rfc3339(),
            who: change.who.clone(),
            why: change.why.clone(),
            changes: fields.map(|one| FieldView { field: one.field.clone(), from: one.from.clone(), to: one.to.clone() }).collect(),
        }
    }
}
