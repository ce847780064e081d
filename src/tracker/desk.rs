//! Changes of issues: checked, written with who and why, and told.
//!
//! **Invariants.** What is wrong is told field by field and changes nothing. People are told of what the store has, not of what
//! was tried.

pub mod checks;
pub mod edits;

use std::collections::BTreeSet;
use std::sync::Arc;

use thiserror::Error;
use tokio::sync::{MutexGuard, broadcast, mpsc};

use crate::api::events::Event;
use crate::clock::Clock;
use crate::config::mistake::Mistake;
use crate::model::finding::FindingId;
use crate::model::incident::IncidentId;
use crate::model::issue::{
    Comment, CommentEdit, FieldChange, Issue, IssueChange, IssueId, IssueStatus, IssueType, LinkedService, Priority,
};
use crate::model::time::Timestamp;
use crate::store::audit::Change;
use crate::store::codec::hex;
use crate::store::connection::StoreError;
use crate::store::findings::Findings;
use crate::store::incidents::Incidents;
use crate::store::issues::{Guard, Issues, IssuesError, Write};
use crate::store::secrets::random;
use crate::store::services::{Author, Services};
use crate::store::users::Users;
use crate::tracker::desk::checks::{body_mistake, reason_mistake};
use crate::tracker::desk::edits::{apply, step_times};
use crate::tracker::mention::mentions;
use crate::tracker::notify::Note;
use crate::tracker::workflow::{self, Refusal, steps};

/// Everything that changes issues goes through here; share it by `Arc`.
pub struct Tracker {
    pub issues: Arc<Issues>,
    pub users: Arc<Users>,
    pub services: Arc<Services>,
    pub incidents: Arc<Incidents>,
    pub findings: Arc<Findings>,
    pub events: broadcast::Sender<Arc<Event>>,
    /// What single people are to be told.
    pub notes: mpsc::UnboundedSender<Note>,
    pub clock: Clock,
}

#[derive(Debug, Error)]
pub enum TrackerError {
    #[error("there is no issue {id}")]
    Unknown { id: IssueId },
    #[error("issue {id} has no comment {number}")]
    NoComment { id: IssueId, number: u32 },
    #[error("issue {id} was changed meanwhile: it has revision {found}")]
    Changed { id: IssueId, found: u64 },
    #[error("{} is not a step from {}; allowed: {}", to.name(), from.name(), names(allowed))]
    Step { from: IssueStatus, to: IssueStatus, allowed: &'static [IssueStatus] },
    #[error("an issue that is {} has an assignee", .0.name())]
    NoAssignee(IssueStatus),
    #[error("a comment is edited by its author or an admin")]
    NotTheAuthor,
    #[error("a field is wrong")]
    Invalid(Vec<Mistake>),
    #[error("this was told before")]
    Told,
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<IssuesError> for TrackerError {
    fn from(error: IssuesError) -> TrackerError {
        match error {
            IssuesError::Told => TrackerError::Told,
            IssuesError::Store(error) => TrackerError::Store(error),
        }
    }
}

/// The names of statuses, for people.
pub fn names(statuses: &[IssueStatus]) -> String {
    statuses.iter().map(|status| status.name()).collect::<Vec<_>>().join(", ")
}

/// An issue to be made, checked.
#[derive(Clone, Debug)]
pub struct Draft {
    pub title: String,
    pub description: String,
    pub issue_type: IssueType,
    pub priority: Priority,
    pub assignee: Option<String>,
    pub reporter: String,
    pub labels: Vec<String>,
    pub service: Option<LinkedService>,
    pub incident: Option<IncidentId>,
    pub finding: Option<FindingId>,
}

/// What of an issue is to be another, checked; `None`: it stays.
#[derive(Clone, Debug, Default)]
pub struct Edit {
    pub title: Option<String>,
    pub description: Option<String>,
    pub issue_type: Option<IssueType>,
    pub priority: Option<Priority>,
    pub assignee: Option<Option<String>>,
    pub labels: Option<Vec<String>>,
    pub service: Option<Option<LinkedService>>,
    pub incident: Option<Option<IncidentId>>,
    pub finding: Option<Option<FindingId>>,
}

impl Tracker {
    /// A new issue. What the program opens has guards, the first of which names its cause, and nobody is told by name.
    pub async fn create(&self, draft: Draft, why: &str, guards: Vec<Guard>, author: &Author) -> Result<Arc<Issue>, TrackerError> {
        let turn = self.issues.turn().await;
        if guards.iter().any(|guard| self.issues.told(&guard.key).is_some()) {
            return Err(TrackerError::Told);
        }
        let (id, now) = (self.issues.next_number().await?, self.clock.now());
        let Draft { title, description, issue_type, priority, assignee, reporter, labels, service, incident, finding } = draft;
        let issue = Issue {
            id,
            uid: hex(&random::<16>()),
            revision: 1,
            title,
            issue_type,
            priority,
            status: IssueStatus::Reported,
            assignee,
            reporter,
            labels,
            service,
            incident,
            finding,
            cause: guards.first().map(|guard| guard.key.clone()),
            created_at: now,
            updated_at: now,
            triaged_at: None,
            resolved_at: None,
            closed_at: None,
            comments: 0,
            changes: 1,
        };
        let automatic = !guards.is_empty();
        let made = FieldChange { field: "status".to_owned(), from: None, to: Some(IssueStatus::Reported.name().to_owned()) };
        let change = IssueChange { number: 1, at: now, who: author.who.clone(), why: why.to_owned(), fields: vec![made] };
        let fields = ["title", "description", "issue_type", "priority", "status"].map(str::to_owned).to_vec();
        let write = Write {
            description: Some(description.clone()),
            comment: None,
            change: Some(change),
            guards,
            audit: audit("issue.create", id, fields, author),
            issue,
        };
        let issue = self.issues.write(write, &turn).await?;
        drop(turn);
        self.tell("created", &issue);
        if !automatic {
            self.tell_assignee(&issue, None, author);
            self.tell_mentioned(&issue, 0, &format!("{} {description}", issue.title), "", author);
        }
        Ok(issue)
    }

    /// Changes fields of an issue; `revision`, where it is given, must still be the issue's own.
    pub async fn edit(
        &self,
        id: IssueId,
        edit: Edit,
        why: &str,
        revision: Option<u64>,
        author: &Author,
    ) -> Result<Arc<Issue>, TrackerError> {
        reason_mistake(why).map_or(Ok(()), |mistake| Err(TrackerError::Invalid(vec![mistake])))?;
        let turn = self.issues.turn().await;
        let before = self.read(id, revision)?;
        let described = match &edit.description {
            Some(description) => Some((self.issues.description(id).await?, description.clone())),
            None => None,
        };
        let (issue, mut fields) = apply(&before, &edit);
        if issue.assignee.is_none() && workflow::needs_assignee(issue.status) {
            return Err(TrackerError::NoAssignee(issue.status));
        }
        let description = described.filter(|(old, new)| old != new);
        if let Some((old, new)) = &description {
            fields.push(FieldChange { field: "description".to_owned(), from: Some(old.clone()), to: Some(new.clone()) });
        }
        if fields.is_empty() {
            return Ok(before);
        }
        let text = description.as_ref().map(|(_, new)| new.clone());
        let issue = self.write_change(issue, text, fields, why, "issue.update", author, &turn).await?;
        drop(turn);
        self.tell("changed", &issue);
        self.tell_assignee(&issue, before.assignee.as_deref(), author);
        if let Some((old, new)) = description {
            self.tell_mentioned(&issue, 0, &new, &old, author);
        }
        Ok(issue)
    }

    /// Takes a step of the workflow, and with it names an assignee if that is wanted.
    pub async fn step(
        &self,
        id: IssueId,
        to: IssueStatus,
        assignee: Option<String>,
        why: &str,
        revision: Option<u64>,
        author: &Author,
    ) -> Result<Arc<Issue>, TrackerError> {
        reason_mistake(why).map_or(Ok(()), |mistake| Err(TrackerError::Invalid(vec![mistake])))?;
        let turn = self.issues.turn().await;
        let before = self.read(id, revision)?;
        let edit = Edit { assignee: assignee.map(Some), ..Edit::default() };
        let (mut issue, mut fields) = apply(&before, &edit);
        workflow::check(before.status, to, issue.assignee.is_some()).map_err(|refusal| match refusal {
            Refusal::NoStep => TrackerError::Step { from: before.status, to, allowed: steps(before.status) },
            Refusal::NoAssignee => TrackerError::NoAssignee(to),
        })?;
        issue.status = to;
        step_times(&mut issue, self.clock.now());
        let named = |status: IssueStatus| Some(status.name().to_owned());
        fields.insert(0, FieldChange { field: "status".to_owned(), from: named(before.status), to: named(to) });
        let issue = self.write_change(issue, None, fields, why, "issue.step", author, &turn).await?;
        drop(turn);
        self.tell("changed", &issue);
        self.tell_assignee(&issue, before.assignee.as_deref(), author);
        Ok(issue)
    }

    /// Adds a comment; with guards it is the program's and nobody is told by name.
    pub async fn comment(&self, id: IssueId, body: &str, guards: Vec<Guard>, author: &Author) -> Result<Comment, TrackerError> {
        body_mistake(body).map_or(Ok(()), |mistake| Err(TrackerError::Invalid(vec![mistake])))?;
        let turn = self.issues.turn().await;
        let before = self.read(id, None)?;
        let now = self.clock.now();
        let comment =
            Comment { number: before.comments + 1, author: author.who.clone(), body: body.to_owned(), created_at: now, edits: Vec::new() };
        let issue =
            Issue { comments: comment.number, revision: before.revision + 1, updated_at: later(&before, now), ..Issue::clone(&before) };
        let automatic = !guards.is_empty();
        let write = Write {
            issue,
            description: None,
            comment: Some(comment.clone()),
            change: None,
            guards,
            audit: audit("issue.comment", id, vec!["comments".to_owned()], author),
        };
        let issue = self.issues.write(write, &turn).await?;
        drop(turn);
        self.tell("commented", &issue);
        if !automatic {
            self.tell_mentioned(&issue, comment.number, body, "", author);
        }
        Ok(comment)
    }

    /// Puts another text in the place of a comment's; what it said before is kept. Its author may, and `admin`s.
    pub async fn edit_comment(&self, id: IssueId, number: u32, body: &str, admin: bool, author: &Author) -> Result<Comment, TrackerError> {
        body_mistake(body).map_or(Ok(()), |mistake| Err(TrackerError::Invalid(vec![mistake])))?;
        let turn = self.issues.turn().await;
        let before = self.read(id, None)?;
        let kept = self.issues.comments(id, number, number).await?.pop();
        let mut comment = kept.filter(|_| number > 0).ok_or(TrackerError::NoComment { id, number })?;
        if comment.author != author.who && !admin {
            return Err(TrackerError::NotTheAuthor);
        }
        if comment.body == body {
            return Ok(comment);
        }
        let now = self.clock.now();
        let old = std::mem::replace(&mut comment.body, body.to_owned());
        comment.edits.push(CommentEdit { at: now, who: author.who.clone(), before: old.clone() });
        let issue = Issue { revision: before.revision + 1, updated_at: later(&before, now), ..Issue::clone(&before) };
        let write = Write {
            issue,
            description: None,
            comment: Some(comment.clone()),
            change: None,
            guards: Vec::new(),
            audit: audit("issue.comment", id, vec![format!("comments[{number}]")], author),
        };
        let issue = self.issues.write(write, &turn).await?;
        drop(turn);
        self.tell("commented", &issue);
        self.tell_mentioned(&issue, number, body, &old, author);
        Ok(comment)
    }

    fn read(&self, id: IssueId, revision: Option<u64>) -> Result<Arc<Issue>, TrackerError> {
        let issue = self.issues.get(id).ok_or(TrackerError::Unknown { id })?;
        match revision.is_some_and(|revision| revision != issue.revision) {
            true => Err(TrackerError::Changed { id, found: issue.revision }),
            false => Ok(issue),
        }
    }

    #[expect(clippy::too_many_arguments, reason = "what a change is made of, known to its callers alone")]
    async fn write_change(
        &self,
        issue: Issue,
        description: Option<String>,
        fields: Vec<FieldChange>,
        why: &str,
        action: &'static str,
        author: &Author,
        turn: &MutexGuard<'_, ()>,
    ) -> Result<Arc<Issue>, TrackerError> {
        let now = self.clock.now();
        let number = issue.changes + 1;
        let changed = fields.iter().map(|field| field.field.clone()).collect();
        let write = Write {
            audit: audit(action, issue.id, changed, author),
            description,
            comment: None,
            change: Some(IssueChange { number, at: now, who: author.who.clone(), why: why.trim().to_owned(), fields }),
            guards: Vec::new(),
            issue: Issue { revision: issue.revision + 1, changes: number, updated_at: later(&issue, now), ..issue },
        };
        Ok(self.issues.write(write, turn).await?)
    }

    pub fn tell(&self, what: &'static str, issue: &Issue) {
        let _ = self.events.send(Arc::new(Event::issue(what, issue)));
    }

    /// Tells the one an issue is now given to.
    fn tell_assignee(&self, issue: &Issue, before: Option<&str>, author: &Author) {
        let Some(assignee) = issue.assignee.as_deref().filter(|assignee| Some(*assignee) != before && *assignee != author.who) else {
            return;
        };
        let text = format!("{} assigned issue {} to you: {}", author.who, issue.id, issue.title);
        self.note(format!("issue-{}-{}-assigned", issue.id, issue.revision), assignee, issue, text);
    }

    /// Tells those a text mentions that did not stand in it before. `part`: a comment's number, or 0 for the issue itself.
    fn tell_mentioned(&self, issue: &Issue, part: u32, text: &str, before: &str, author: &Author) {
        let known = |name: &str| self.users.get(name).is_some();
        let before: BTreeSet<String> = mentions(before, known).into_iter().collect();
        for user in mentions(text, known).into_iter().filter(|user| *user != author.who && !before.contains(user)) {
            let place = if part == 0 { String::new() } else { format!("comment {part} of ") };
            let text = format!("{} mentioned you in {place}issue {}: {}", author.who, issue.id, issue.title);
            self.note(format!("issue-{}-{}-mention-{part}", issue.id, issue.revision), &user, issue, text);
        }
    }

    fn note(&self, key: String, user: &str, issue: &Issue, text: String) {
        // Nobody listens any more when the hub ends.
        let _ = self.notes.send(Note { key: format!("{key}-{user}"), user: user.to_owned(), issue: issue.id, text });
    }
}

/// A clock that is set back does not make an issue older.
fn later(before: &Issue, now: Timestamp) -> Timestamp {
    now.max(before.updated_at)
}

fn audit(action: &'static str, id: IssueId, fields: Vec<String>, author: &Author) -> Change {
    Change { who: author.who.clone(), address: author.address, action, subject: format!("issue:{id}"), fields }
}
