//! An item of the issue tracker: a bug, a feature request, a support ticket, or the follow-up of something the monitor saw;
//! what was said of it, and who changed what in it and why.

use std::fmt;

use crate::model::finding::FindingId;
use crate::model::id::ServiceId;
use crate::model::incident::IncidentId;
use crate::model::time::Timestamp;

/// An issue's number, given by the hub from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IssueId(pub u64);

impl fmt::Display for IssueId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(out)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum IssueType {
    Bug,
    Feature,
    Support,
    Incident,
}

impl IssueType {
    pub const ALL: [IssueType; 4] = [IssueType::Bug, IssueType::Feature, IssueType::Support, IssueType::Incident];

    pub fn name(self) -> &'static str {
        match self {
            IssueType::Bug => "bug",
            IssueType::Feature => "feature",
            IssueType::Support => "support",
            IssueType::Incident => "incident",
        }
    }

    pub fn from_name(name: &str) -> Option<IssueType> {
        IssueType::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

/// The most urgent last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Priority {
    Low,
    Medium,
    High,
    Critical,
}

impl Priority {
    pub const ALL: [Priority; 4] = [Priority::Low, Priority::Medium, Priority::High, Priority::Critical];

    pub fn name(self) -> &'static str {
        match self {
            Priority::Low => "low",
            Priority::Medium => "medium",
            Priority::High => "high",
            Priority::Critical => "critical",
        }
    }

    pub fn from_name(name: &str) -> Option<Priority> {
        Priority::ALL.into_iter().find(|priority| priority.name() == name)
    }
}

/// Where in its life an issue is, in the order of that life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum IssueStatus {
    Reported,
    Triaged,
    Assigned,
    InProgress,
    Testing,
    Resolved,
    Verified,
    Closed,
    WontDo,
}

impl IssueStatus {
    pub const ALL: [IssueStatus; 9] = [
        IssueStatus::Reported,
        IssueStatus::Triaged,
        IssueStatus::Assigned,
        IssueStatus::InProgress,
        IssueStatus::Testing,
        IssueStatus::Resolved,
        IssueStatus::Verified,
        IssueStatus::Closed,
        IssueStatus::WontDo,
    ];

    pub fn name(self) -> &'static str {
        match self {
            IssueStatus::Reported => "reported",
            IssueStatus::Triaged => "triaged",
            IssueStatus::Assigned => "assigned",
            IssueStatus::InProgress => "in_progress",
            IssueStatus::Testing => "testing",
            IssueStatus::Resolved => "resolved",
            IssueStatus::Verified => "verified",
            IssueStatus::Closed => "closed",
            IssueStatus::WontDo => "wont_do",
        }
    }

    pub fn from_name(name: &str) -> Option<IssueStatus> {
        IssueStatus::ALL.into_iter().find(|status| status.name() == name)
    }

    /// There is still something to do.
    pub fn is_open(self) -> bool {
        self < IssueStatus::Resolved
    }

    /// What was to do is done.
    pub fn is_resolved(self) -> bool {
        matches!(self, IssueStatus::Resolved | IssueStatus::Verified | IssueStatus::Closed)
    }

    /// Somebody is at it.
    pub fn is_in_progress(self) -> bool {
        matches!(self, IssueStatus::InProgress | IssueStatus::Testing)
    }
}

/// A service an issue is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkedService {
    pub id: ServiceId,
    /// As it was called when it was linked.
    pub name: String,
}

/// All of an issue but its description, which may be long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issue {
    pub id: IssueId,
    /// Names it wherever it is copied to: the same issue imported twice is one.
    pub uid: String,
    /// Rises with each change.
    pub revision: u64,
    pub title: String,
    pub issue_type: IssueType,
    pub priority: Priority,
    pub status: IssueStatus,
    pub assignee: Option<String>,
    pub reporter: String,
    /// In order, each once.
    pub labels: Vec<String>,
    pub service: Option<LinkedService>,
    pub incident: Option<IncidentId>,
    pub finding: Option<FindingId>,
    /// What the program opened it for; `None`: a person did.
    pub cause: Option<String>,
    pub created_at: Timestamp,
    /// Of the last change or comment.
    pub updated_at: Timestamp,
    /// When it first left `reported`.
    pub triaged_at: Option<Timestamp>,
    /// When it was last resolved; gone when it is opened again.
    pub resolved_at: Option<Timestamp>,
    /// When it was closed or given up; gone when it is opened again.
    pub closed_at: Option<Timestamp>,
    pub comments: u32,
    pub changes: u32,
}

/// What someone said of an issue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Comment {
    /// Within its issue, from 1.
    pub number: u32,
    pub author: String,
    pub body: String,
    pub created_at: Timestamp,
    /// What it said before, the oldest first.
    pub edits: Vec<CommentEdit>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommentEdit {
    pub at: Timestamp,
    pub who: String,
    /// What it said until then.
    pub before: String,
}

/// One change: who, when, why, and from what to what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IssueChange {
    /// Within its issue, from 1: the first one made it.
    pub number: u32,
    pub at: Timestamp,
    pub who: String,
    pub why: String,
    pub fields: Vec<FieldChange>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldChange {
    pub field: String,
    pub from: Option<String>,
    pub to: Option<String>,
}

/// An issue with everything that belongs to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WholeIssue {
    pub issue: Issue,
    /// Markdown.
    pub description: String,
    pub comments: Vec<Comment>,
    pub history: Vec<IssueChange>,
}
