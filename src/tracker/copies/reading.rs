//! A file of issues read: every mistake in it with its place, or issues fit to be stored. Pure but for the names of those that bring none.

use std::collections::BTreeSet;

use serde::Deserialize;
use serde_json::Value;

use crate::config::mistake::Mistake;
use crate::model::finding::FindingId;
use crate::model::id::ServiceId;
use crate::model::incident::IncidentId;
use crate::model::issue::{
    Comment, CommentEdit, FieldChange, Issue, IssueChange, IssueId, IssueStatus, IssueType, LinkedService, Priority, WholeIssue,
};
use crate::model::time::Timestamp;
use crate::store::codec::hex;
use crate::store::secrets::random;
use crate::tracker::copies::{FORMAT, IssueCopy, VERSION};
use crate::tracker::desk::checks;

/// Mistakes that are told at once.
const MOST_MISTAKES: usize = 50;

/// The issues of a file, each with the name its service had; or every mistake, each with its place.
pub fn read(given: &Value) -> Result<Vec<(Option<String>, WholeIssue)>, Vec<Mistake>> {
    let (list, prefix) = match given {
        Value::Array(list) => (list, ""),
        Value::Object(fields) => {
            if let Some(field) = fields.keys().find(|field| !["format", "version", "exported_at", "issues"].contains(&field.as_str())) {
                return Err(vec![Mistake::new(field, "is not a field of an export")]);
            }
            if fields.get("format").is_none_or(|format| format != FORMAT) {
                return Err(vec![Mistake::new("format", format!("must be {FORMAT:?}"))]);
            }
            if fields.get("version").is_none_or(|version| *version != VERSION) {
                return Err(vec![Mistake::new("version", format!("must be {VERSION}"))]);
            }
            let Some(Value::Array(list)) = fields.get("issues") else { return Err(vec![Mistake::new("issues", "must be a list")]) };
            (list, "issues")
        }
        _ => return Err(vec![Mistake::new("", "must be an export or a list of issues")]),
    };
    let (mut read, mut mistakes, mut ids, mut uids) = (Vec::new(), Vec::new(), BTreeSet::new(), BTreeSet::new());
    for (index, value) in list.iter().enumerate() {
        let place = format!("{prefix}[{index}]");
        match IssueCopy::deserialize(value) {
            Ok(copy) => {
                let mut wrong = Vec::new();
                if !ids.insert(copy.id) {
                    wrong.push(Mistake::new("id", format!("{} is given twice", copy.id)));
                }
                if copy.uid.as_ref().is_some_and(|uid| !uids.insert(uid.clone())) {
                    wrong.push(Mistake::new("uid", "is given twice"));
                }
                read.push((copy.service_name.clone(), whole(copy, &mut wrong)));
                mistakes.extend(wrong.into_iter().map(|mistake| mistake.inside(&place)));
            }
            Err(error) => {
                let message = error.to_string();
                let field = message.split('`').nth(1).unwrap_or_default().to_owned();
                mistakes.push(Mistake::new(field, message).inside(&place));
            }
        }
        if mistakes.len() >= MOST_MISTAKES {
            break;
        }
    }
    if mistakes.is_empty() { Ok(read) } else { Err(mistakes) }
}

/// The issue of a copy; what is wrong with it is added to `wrong`, and what stands in its place is of no use then.
fn whole(copy: IssueCopy, wrong: &mut Vec<Mistake>) -> WholeIssue {
    let mut keep = |mistake: Option<Mistake>| wrong.extend(mistake);
    let title = checks::title(&copy.title).map_err(|mistake| keep(Some(mistake))).unwrap_or_default();
    let description = checks::description(&copy.description).map_err(|mistake| keep(Some(mistake))).unwrap_or_default();
    let reporter = checks::reporter(&copy.reporter).map_err(|mistake| keep(Some(mistake))).unwrap_or_default();
    let labels = checks::labels(&copy.labels).map_err(|mistake| keep(Some(mistake))).unwrap_or_default();
    let issue_type = checks::issue_type(&copy.issue_type).map_err(|mistake| keep(Some(mistake))).ok();
    let priority = checks::priority(&copy.priority).map_err(|mistake| keep(Some(mistake))).ok();
    let status = checks::status(&copy.status).map_err(|mistake| keep(Some(mistake))).ok();
    let uid = copy.uid.unwrap_or_else(|| hex(&random::<16>()));
    if !(1..=64).contains(&uid.len()) || !uid.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') {
        keep(Some(Mistake::new("uid", "must be 1 to 64 letters, digits or dashes")));
    }
    if copy.id == 0 || i64::try_from(copy.id).is_err() {
        keep(Some(Mistake::new("id", "must be a number from 1")));
    }
    for (field, name) in [("assignee", &copy.assignee), ("incident", &copy.incident), ("finding", &copy.finding), ("cause", &copy.cause)] {
        if name.as_ref().is_some_and(|name| !(1..=500).contains(&name.len())) {
            keep(Some(Mistake::new(field, "must have 1 to 500 bytes")));
        }
    }
    let time = |field: &str, text: &str, wrong: &mut Vec<Mistake>| {
        Timestamp::parse(text).unwrap_or_else(|| {
            wrong.push(Mistake::new(field, format!("must be a time such as 2026-01-31T08:00:00Z, not {text:?}")));
            Timestamp::default()
        })
    };
    let created_at = time("created_at", &copy.created_at, wrong);
    let mut maybe = |field: &str, text: &Option<String>| text.as_ref().map(|text| time(field, text, wrong));
    let updated_at = maybe("updated_at", &copy.updated_at).unwrap_or(created_at);
    let triaged_at = maybe("triaged_at", &copy.triaged_at);
    let resolved_at = maybe("resolved_at", &copy.resolved_at);
    let closed_at = maybe("closed_at", &copy.closed_at);
    let mut comments = Vec::new();
    for (index, one) in copy.comments.into_iter().enumerate() {
        let place = format!("comments[{index}]");
        wrong.extend(checks::body_mistake(&one.body).map(|mistake| mistake.inside(&place)));
        let edits = one.edits.into_iter().enumerate().map(|(number, edit)| CommentEdit {
            at: time(&format!("{place}.edits[{number}].at"), &edit.at, wrong),
            who: edit.who,
            before: edit.before,
        });
        let edits = edits.collect();
        let created_at = time(&format!("{place}.created_at"), &one.created_at, wrong);
        comments.push(Comment { number: index as u32 + 1, author: one.author, body: one.body, created_at, edits });
    }
    let mut history = Vec::new();
    for (index, one) in copy.history.into_iter().enumerate() {
        let at = time(&format!("history[{index}].at"), &one.at, wrong);
        let fields = one.fields.into_iter().map(|field| FieldChange { field: field.field, from: field.from, to: field.to });
        history.push(IssueChange { number: index as u32 + 1, at, who: one.who, why: one.why, fields: fields.collect() });
    }
    let service = copy.service.map(|id| LinkedService { id: ServiceId(id), name: copy.service_name.unwrap_or_default() });
    let issue = Issue {
        id: IssueId(copy.id),
        uid,
        revision: 1 + history.len() as u64 + comments.len() as u64,
        title,
        issue_type: issue_type.unwrap_or(IssueType::Bug),
        priority: priority.unwrap_or(Priority::Low),
        status: status.unwrap_or(IssueStatus::Reported),
        assignee: copy.assignee,
        reporter,
        labels,
        service,
        incident: copy.incident.map(|id| IncidentId(id.into())),
        finding: copy.finding.map(|id| FindingId(id.into())),
        cause: copy.cause,
        created_at,
        updated_at,
        triaged_at,
        resolved_at,
        closed_at,
        comments: comments.len() as u32,
        changes: history.len() as u32,
    };
    WholeIssue { issue, description, comments, history }
}
