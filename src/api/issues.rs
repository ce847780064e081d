//! The issue tracker: bugs, feature requests, support tickets, and the follow-ups of what the monitor saw.

pub mod figures;
pub mod list;
pub mod talk;
pub mod transfer;
pub mod view;

use std::sync::Arc;

use rocket::response::status::Created;
use rocket::serde::json::Json;
use rocket::{State, get, patch, post};
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use utoipa::ToSchema;

use crate::api::auth::{Operator, Viewer};
use crate::api::body::JsonBody;
use crate::api::error::{ApiError, Problem};
use crate::api::issues::view::IssueDetail;
use crate::api::state::ApiState;
use crate::config::mistake::Mistake;
use crate::model::issue::{Issue, IssueId, IssueStatus, IssueType, Priority};
use crate::store::services::Author;
use crate::tracker::desk::{Draft, Edit, TrackerError, checks};
use crate::tracker::workflow::steps;

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewIssue {
    /// One line of 1 to 200 characters.
    title: String,
    /// Markdown, at most 64 KiB.
    #[serde(default)]
    description: String,
    /// `bug`, `feature`, `support` or `incident`
    issue_type: String,
    /// `low`, `medium`, `high` or `critical`; usually `medium`
    priority: Option<String>,
    /// A user's name.
    assignee: Option<String>,
    /// Usually the one who asks.
    reporter: Option<String>,
    #[serde(default)]
    labels: Vec<String>,
    /// The number of a service.
    service: Option<u32>,
    /// The id of an incident.
    incident: Option<String>,
    /// The id of a finding.
    finding: Option<String>,
}

/// Fields left out stay; null takes an assignee or a link away.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct IssueEdit {
    /// Why, in 1 to 1000 characters.
    reason: String,
    title: Option<String>,
    description: Option<String>,
    issue_type: Option<String>,
    priority: Option<String>,
    #[serde(default, deserialize_with = "given")]
    assignee: Option<Option<String>>,
    labels: Option<Vec<String>>,
    #[serde(default, deserialize_with = "given")]
    service: Option<Option<u32>>,
    #[serde(default, deserialize_with = "given")]
    incident: Option<Option<String>>,
    #[serde(default, deserialize_with = "given")]
    finding: Option<Option<String>>,
    /// Sent along, it must still be the issue's own.
    revision: Option<u64>,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct StatusChange {
    /// `reported`, `triaged`, `assigned`, `in_progress`, `testing`, `resolved`, `verified`, `closed` or `wont_do`
    status: String,
    /// Why, in 1 to 1000 characters.
    reason: String,
    /// Names who does it, in the same step.
    assignee: Option<String>,
    /// Sent along, it must still be the issue's own.
    revision: Option<u64>,
}

/// A field that is there, null or not.
pub fn given<'de, T: Deserialize<'de>, D: Deserializer<'de>>(from: D) -> Result<Option<Option<T>>, D::Error> {
    Option::deserialize(from).map(Some)
}

/// A new issue; it begins as `reported`.
#[utoipa::path(
    tag = "issues",
    request_body = NewIssue,
    responses(
        (status = 201, description = "The issue", body = IssueDetail),
        (status = 403, description = "Takes role operator", body = Problem),
        (status = 413, description = "The body is too large", body = Problem),
        (status = 422, description = "Fields are wrong; nothing was stored", body = Problem),
    )
)]
#[post("/api/v1/maintenance/issues", data = "<body>")]
pub async fn create(operator: Operator, state: &State<ApiState>, body: JsonBody) -> Result<Created<Json<IssueDetail>>, ApiError> {
    let issue = make(state, body.0, &operator.0.author()).await?;
    let detail = IssueDetail::read(state, &issue).await?;
    Ok(Created::new(format!("/api/v1/maintenance/issues/{}", issue.id)).body(Json(detail)))
}

/// An issue made of a document as the API takes it.
pub async fn make(state: &ApiState, document: Value, author: &Author) -> Result<Arc<Issue>, ApiError> {
    let new: NewIssue = JsonBody(document).read()?;
    let mut wrong = Wrong::default();
    let tracker = &state.tracker;
    let draft = Draft {
        title: wrong.or(checks::title(&new.title), String::new()),
        description: wrong.or(checks::description(&new.description), String::new()),
        issue_type: wrong.or(checks::issue_type(&new.issue_type), IssueType::Bug),
        priority: wrong.or(checks::priority(new.priority.as_deref().unwrap_or(Priority::Medium.name())), Priority::Medium),
        assignee: wrong.maybe(new.assignee.map(|name| tracker.assignee(&name))),
        reporter: wrong.or(checks::reporter(new.reporter.as_deref().unwrap_or(&author.who)), String::new()),
        labels: wrong.or(checks::labels(&new.labels), Vec::new()),
        service: wrong.maybe(new.service.map(|id| tracker.service(id))),
        incident: wrong.maybe(new.incident.map(|id| tracker.incident(&id))),
        finding: wrong.maybe(new.finding.map(|id| tracker.finding(&id))),
    };
    wrong.end()?;
    Ok(tracker.create(draft, "reported", Vec::new(), author).await?)
}

/// One issue with its description, as it was written and as safe HTML, and the steps it may take.
#[utoipa::path(
    tag = "issues",
    params(("id" = u64, Path, description = "The issue's number")),
    responses(
        (status = 200, description = "The issue", body = IssueDetail),
        (status = 404, description = "There is none of this number", body = Problem),
    )
)]
#[get("/api/v1/maintenance/issues/<id>")]
pub async fn read(_viewer: Viewer, state: &State<ApiState>, id: &str) -> Result<Json<IssueDetail>, ApiError> {
    let issue = find(state, id)?;
    IssueDetail::read(state, &issue).await.map(Json)
}

/// Changes fields of an issue, and says why. Its status has a route of its own.
#[utoipa::path(
    tag = "issues",
    params(("id" = u64, Path, description = "The issue's number")),
    request_body = IssueEdit,
    responses(
        (status = 200, description = "The issue as it is now", body = IssueDetail),
        (status = 403, description = "Takes role operator", body = Problem),
        (status = 404, description = "There is none of this number", body = Problem),
        (status = 409, description = "Someone else changed it meanwhile", body = Problem),
        (status = 413, description = "The body is too large", body = Problem),
        (status = 422, description = "Fields are wrong; nothing was stored", body = Problem),
    )
)]
#[patch("/api/v1/maintenance/issues/<id>", data = "<body>")]
pub async fn edit(operator: Operator, state: &State<ApiState>, id: &str, body: JsonBody) -> Result<Json<IssueDetail>, ApiError> {
    let id = find(state, id)?.id;
    let given: IssueEdit = body.read()?;
    let mut wrong = Wrong::default();
    let tracker = &state.tracker;
    let edit = Edit {
        title: wrong.maybe(given.title.map(|title| checks::title(&title))),
        description: wrong.maybe(given.description.map(|text| checks::description(&text))),
        issue_type: wrong.maybe(given.issue_type.map(|name| checks::issue_type(&name))),
        priority: wrong.maybe(given.priority.map(|name| checks::priority(&name))),
        assignee: wrong.maybe(given.assignee.map(|name| name.map(|name| tracker.assignee(&name)).transpose())),
        labels: wrong.maybe(given.labels.map(|labels| checks::labels(&labels))),
        service: wrong.maybe(given.service.map(|id| id.map(|id| tracker.service(id)).transpose())),
        incident: wrong.maybe(given.incident.map(|id| id.map(|id| tracker.incident(&id)).transpose())),
        finding: wrong.maybe(given.finding.map(|id| id.map(|id| tracker.finding(&id)).transpose())),
    };
    wrong.0.extend(checks::reason_mistake(&given.reason));
    wrong.end()?;
    let issue = tracker.edit(id, edit, &given.reason, given.revision, &operator.0.author()).await?;
    IssueDetail::read(state, &issue).await.map(Json)
}

/// Takes a step: reported, triaged, assigned, in_progress, testing, resolved, verified, closed; or wont_do, or back.
///
/// A step that is not allowed is refused with 409, and `allowed` of the problem names those that are.
#[utoipa::path(
    tag = "issues",
    params(("id" = u64, Path, description = "The issue's number")),
    request_body = StatusChange,
    responses(
        (status = 200, description = "The issue as it is now", body = IssueDetail),
        (status = 403, description = "Takes role operator", body = Problem),
        (status = 404, description = "There is none of this number", body = Problem),
        (status = 409, description = "There is no such step; `allowed` names those there are. Or someone else changed it meanwhile", body = Problem),
        (status = 422, description = "Fields are wrong, or the step takes an assignee", body = Problem),
    )
)]
#[patch("/api/v1/maintenance/issues/<id>/status", data = "<body>")]
pub async fn step(operator: Operator, state: &State<ApiState>, id: &str, body: JsonBody) -> Result<Json<IssueDetail>, ApiError> {
    let issue = find(state, id)?;
    let id = issue.id;
    let given: StatusChange = body.read()?;
    let mut wrong = Wrong::default();
    let to = checks::status(&given.status);
    let unknown = to.is_err();
    // Why a step is taken need not be said of one there is not.
    if let Ok(to) = &to
        && !steps(issue.status).contains(to)
    {
        return Err(TrackerError::Step { from: issue.status, to: *to, allowed: steps(issue.status) }.into());
    }
    let to = wrong.or(to, IssueStatus::Reported);
    let assignee = wrong.maybe(given.assignee.map(|name| state.tracker.assignee(&name)));
    wrong.0.extend(checks::reason_mistake(&given.reason));
    wrong.end().map_err(|error| if unknown { error.allowing(IssueStatus::ALL.map(IssueStatus::name)) } else { error })?;
    let issue = state.tracker.step(id, to, assignee, &given.reason, given.revision, &operator.0.author()).await?;
    IssueDetail::read(state, &issue).await.map(Json)
}

/// The issue of a path.
pub fn find(state: &ApiState, id: &str) -> Result<Arc<Issue>, ApiError> {
    let found = id.parse().ok().and_then(|id| state.tracker.issues.get(IssueId(id)));
    found.ok_or_else(|| ApiError::not_found(format!("there is no issue {id}")))
}

/// Mistakes, told all at once.
#[derive(Default)]
struct Wrong(Vec<Mistake>);

impl Wrong {
    fn or<T>(&mut self, checked: Result<T, Mistake>, instead: T) -> T {
        checked.unwrap_or_else(|mistake| {
            self.0.push(mistake);
            instead
        })
    }

    fn maybe<T>(&mut self, checked: Option<Result<T, Mistake>>) -> Option<T> {
        match checked? {
            Ok(value) => Some(value),
            Err(mistake) => {
                self.0.push(mistake);
                None
            }
        }
    }

    fn end(self) -> Result<(), ApiError> {
        if self.0.is_empty() { Ok(()) } else { Err(ApiError::invalid(self.0)) }
    }
}
