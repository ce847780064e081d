//! Issues taken out of one hub and into another, as JSON.
//!
//! What an export holds an import takes: texts, comments with their edits, history and times. An issue keeps its number where it is
//! free and gets another where it is not; one that is here already, by its `uid`, stays as it is. Nothing is written unless all of
//! it is right.

mod reading;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::model::issue::{Comment, Issue, IssueChange, IssueId, LinkedService, WholeIssue};
use crate::model::time::Timestamp;
use crate::store::audit::Change;
use crate::store::services::Author;
use crate::tracker::copies::reading::read;
use crate::tracker::desk::{Tracker, TrackerError};

pub const FORMAT: &str = "probemesh-issues";
pub const VERSION: u64 = 1;
/// Issues written at once.
const SLICE: usize = 100;

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

/// The numbers of some issues in slices of which each is read at once.
pub fn slices(issues: &[Arc<Issue>]) -> Vec<Vec<IssueId>> {
    issues.chunks(SLICE).map(|slice| slice.iter().map(|issue| issue.id).collect()).collect()
}
