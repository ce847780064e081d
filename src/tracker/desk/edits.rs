//! What an edit or a step makes of an issue, and the entry of its history. Pure.

use crate::model::issue::{FieldChange, Issue, IssueStatus};
use crate::model::time::Timestamp;
use crate::tracker::desk::Edit;

/// The issue as it is then, and what is another in it than before.
pub fn apply(before: &Issue, edit: &Edit) -> (Issue, Vec<FieldChange>) {
    let mut issue = before.clone();
    let edit = edit.clone();
    if let Some(title) = edit.title {
        issue.title = title;
    }
    if let Some(kind) = edit.issue_type {
        issue.issue_type = kind;
    }
    if let Some(priority) = edit.priority {
        issue.priority = priority;
    }
    if let Some(assignee) = edit.assignee {
        issue.assignee = assignee;
    }
    if let Some(labels) = edit.labels {
        issue.labels = labels;
    }
    if let Some(service) = edit.service {
        issue.service = service;
    }
    if let Some(incident) = edit.incident {
        issue.incident = incident;
    }
    if let Some(finding) = edit.finding {
        issue.finding = finding;
    }
    let fields = shown(before).into_iter().zip(shown(&issue)).filter(|(from, to)| from != to);
    let fields = fields.map(|((field, from), (_, to))| FieldChange { field: field.to_owned(), from, to }).collect();
    (issue, fields)
}

/// The fields that can be edited, as the history tells them.
fn shown(issue: &Issue) -> [(&'static str, Option<String>); 8] {
    [
        ("title", Some(issue.title.clone())),
        ("issue_type", Some(issue.issue_type.name().to_owned())),
        ("priority", Some(issue.priority.name().to_owned())),
        ("assignee", issue.assignee.clone()),
        ("labels", (!issue.labels.is_empty()).then(|| issue.labels.join(", "))),
        ("service", issue.service.as_ref().map(|service| format!("{} ({})", service.id, service.name))),
        ("incident", issue.incident.as_ref().map(ToString::to_string)),
        ("finding", issue.finding.as_ref().map(ToString::to_string)),
    ]
}

/// Notes when an issue came to the status it has now.
pub fn step_times(issue: &mut Issue, now: Timestamp) {
    match issue.status {
        IssueStatus::Resolved => issue.resolved_at = Some(now),
        IssueStatus::Closed => issue.closed_at = Some(now),
        IssueStatus::WontDo => issue.closed_at = Some(now),
        IssueStatus::Verified => {}
        _ => {
            issue.resolved_at = None;
            issue.closed_at = None;
        }
    }
    if issue.status != IssueStatus::Reported && issue.triaged_at.is_none() {
        issue.triaged_at = Some(now);
    }
}
