//! Issues taken out of one hub and into another, as JSON.
//!
//! What an export holds an import takes: texts, comments with their edits, history and times. An issue keeps its number where it is
//! free and gets another where it is not; one that is here already, by its `uid`, stays as it is. Nothing is written unless all of
//! it is right.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::config::mistake::Mistake;
use crate::model::finding::FindingId;
use crate::model::id::ServiceId;
use crate::model::incident::IncidentId;
use crate::model::issue::{
    Comment, CommentEdit, FieldChange, Issue, IssueChange, IssueId, IssueStatus, IssueType, LinkedService, Priority, WholeIssue,
};
use crate::model::time::Timestamp;
use crate::store::audit::Change;
use crate::store::codec::hex;
use crate::store::secrets::random;
use crate::store::services::Author;
use crate::tracker::desk::{Tracker, TrackerError, checks};

pub const FORMAT: &str = "probemesh-issues";
pub const VERSION: u64 = 1;
/// Issues written at once.
const SLICE: usize = 100;
/// Mistakes that are told at once.
const MOST_MISTAKES: usize = 50;

/// An issue as it travels.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct IssueCopy {
    /// Its number where it comes from.
    pub id: u64,
    /// Names it everywhere; made anew if it is left out.
    pub uid: Option<String>,
    pub title: String,
    #[serde(default)]
    pub description: String,
    pub issue_type: String,
    pub priority: String,
    pub status: String,
    pub assignee: Option<String>,
    pub reporter: String,
    #[serde(default)]
    pub labels: Vec<String>,
    pub service: Option<u32>,
    pub service_name: Option<String>,
    pub incident: Option<String>,
    pub finding: Option<String>,
    pub cause: Option<String>,
    pub created_at: String,
    pub updated_at: Option<String>,
    pub triaged_at: Option<String>,
    pub resolved_at: Option<String>,
    pub closed_at: Option<String>,
    #[serde(default)]
    pub comments: Vec<CommentCopy>,
    #[serde(default)]
    pub history: Vec<ChangeCopy>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CommentCopy {
    pub author: String,
    pub body: String,
    pub created_at: String,
    #[serde(default)]
    pub edits: Vec<EditCopy>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct EditCopy {
    pub at: String,
    pub who: String,
    /// What it said until then.
    pub before: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ChangeCopy {
    pub at: String,
    pub who: String,
    pub why: String,
    pub fields: Vec<FieldCopy>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct FieldCopy {
    pub field: String,
    pub from: Option<String>,
    pub to: Option<String>,
}

/// What an import did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct Imported {
    pub created: u64,
    /// Here already, and left as they are.
    pub unchanged: u64,
    /// From each number in the file to the one it has here.
    #[schema(value_type = Object)]
    pub ids: BTreeMap<u64, u64>,
    /// Issues whose service is not one of this hub: they are linked to none.
    pub unlinked: Vec<u64>,
}

impl Tracker {
    /// Takes issues in: the whole export, or a list of issues alone.
    pub async fn import(&self, given: &Value, author: &Author) -> Result<Imported, TrackerError> {
        let copies = read(given).map_err(TrackerError::Invalid)?;
        let turn = self.issues.turn().await;
        let here = self.issues.uids();
        let mut free: BTreeSet<IssueId> = copies.iter().map(|(_, whole)| whole.issue.id).collect();
        free.retain(|id| self.issues.get(*id).is_none());
        let mut imported = Imported::default();
        let mut new = Vec::new();
        for (name, mut whole) in copies {
            let number = whole.issue.id.0;
            if let Some(id) = here.get(&whole.issue.uid) {
                imported.unchanged += 1;
                imported.ids.insert(number, id.0);
                continue;
            }
            if !free.remove(&whole.issue.id) {
                whole.issue.id = self.free_number(&free).await?;
            }
            imported.ids.insert(number, whole.issue.id.0);
            if let Some(linked) = whole.issue.service.take() {
                whole.issue.service = self.relinked(linked, name);
                if whole.issue.service.is_none() {
                    imported.unlinked.push(whole.issue.id.0);
                }
            }
            new.push(whole);
        }
        for slice in new.chunks(SLICE) {
            let fields = slice.iter().map(|whole| whole.issue.id.to_string()).collect();
            let subject = format!("issues:{}", slice.len());
            let change = Change { who: author.who.clone(), address: author.address, action: "issue.import", subject, fields };
            self.issues.import(slice, &change, &turn).await?;
            imported.created += slice.len() as u64;
        }
        drop(turn);
        for whole in &new {
            self.tell("created", &whole.issue);
        }
        Ok(imported)
    }

    /// A number that neither an issue here nor one of the file has.
    async fn free_number(&self, wanted: &BTreeSet<IssueId>) -> Result<IssueId, TrackerError> {
        loop {
            let id = self.issues.next_number().await?;
            if !wanted.contains(&id) && self.issues.get(id).is_none() {
                return Ok(id);
            }
        }
    }

    /// A service of the same name, or one that was here; a number alone may be another service's.
    fn relinked(&self, linked: LinkedService, name: Option<String>) -> Option<LinkedService> {
        match name {
            Some(name) => match self.services.find_by_name(&name) {
                Some(service) => Some(LinkedService { id: service.id, name }),
                None => self.services.get(linked.id).is_none().then_some(linked),
            },
            None => self.services.get(linked.id).map(|service| LinkedService { id: service.id, name: service.name().to_owned() }),
        }
    }
}

impl From<&WholeIssue> for IssueCopy {
    fn from(whole: &WholeIssue) -> IssueCopy {
        let WholeIssue { issue, description, comments, history } = whole;
        let time = |at: Option<Timestamp>| at.map(exact);
        IssueCopy {
            id: issue.id.0,
            uid: Some(issue.uid.clone()),
            title: issue.title.clone(),
            description: description.clone(),
            issue_type: issue.issue_type.name().to_owned(),
            priority: issue.priority.name().to_owned(),
            status: issue.status.name().to_owned(),
            assignee: issue.assignee.clone(),
            reporter: issue.reporter.clone(),
            labels: issue.labels.clone(),
            service: issue.service.as_ref().map(|service| service.id.0),
            service_name: issue.service.as_ref().map(|service| service.name.clone()),
            incident: issue.incident.as_ref().map(ToString::to_string),
            finding: issue.finding.as_ref().map(ToString::to_string),
            cause: issue.cause.clone(),
            created_at: exact(issue.created_at),
            updated_at: Some(exact(issue.updated_at)),
            triaged_at: time(issue.triaged_at),
            resolved_at: time(issue.resolved_at),
            closed_at: time(issue.closed_at),
            comments: comments.iter().map(CommentCopy::from).collect(),
            history: history.iter().map(ChangeCopy::from).collect(),
        }
    }
}

impl From<&Comment> for CommentCopy {
    fn from(comment: &Comment) -> CommentCopy {
        let edits = comment.edits.iter();
        CommentCopy {
            author: comment.author.clone(),
            body: comment.body.clone(),
            created_at: exact(comment.created_at),
            edits: edits.map(|edit| EditCopy { at: exact(edit.at), who: edit.who.clone(), before: edit.before.clone() }).collect(),
        }
    }
}

impl From<&IssueChange> for ChangeCopy {
    fn from(change: &IssueChange) -> ChangeCopy {
        let fields = change.fields.iter();
        ChangeCopy {
            at: exact(change.at),
            who: change.who.clone(),
            why: change.why.clone(),
            fields: fields.map(|one| FieldCopy { field: one.field.clone(), from: one.from.clone(), to: one.to.clone() }).collect(),
        }
    }
}

/// To the microsecond, so that what comes back is what went.
fn exact(at: Timestamp) -> String {
    at.datetime().to_rfc3339_opts(chrono::SecondsFormat::Micros, true)
}

/// The issues of a file, each with the name its service had; or every mistake, each with its place.
fn read(given: &Value) -> Result<Vec<(Option<String>, WholeIssue)>, Vec<Mistake>> {
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

/// The numbers of some issues in slices of which each is read at once.
pub fn slices(issues: &[Arc<Issue>]) -> Vec<Vec<IssueId>> {
    issues.chunks(SLICE).map(|slice| slice.iter().map(|issue| issue.id).collect()).collect()
}
