//! The issue tracker: bugs, feature requests, support tickets, and the follow-ups of what the monitor saw.

pub mod figures;
pub mod transfer;
pub mod view;

use std::cmp::Ordering;
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
use crate::api::issues::view::{ChangeView, CommentView, IssueDetail, IssueView};
use crate::api::query::{Page, Query};
use crate::api::state::ApiState;
use crate::config::mistake::Mistake;
use crate::model::id::ServiceId;
use crate::model::issue::{Issue, IssueId, IssueStatus, IssueType, Priority};
use crate::store::issues::IssueFilter;
use crate::store::services::Author;
use crate::store::users::Role;
use crate::tracker::desk::{Draft, Edit, checks};

/// What narrows a list down, beside the page, the search and the order.
const FILTERS: [&str; 16] = [
    "status",
    "issue_type",
    "type",
    "priority",
    "assignee",
    "assigned",
    "reporter",
    "label",
    "service",
    "incident",
    "finding",
    "open",
    "created_since",
    "created_until",
    "updated_since",
    "updated_until",
];
const ORDERS: [&str; 6] = ["id", "created_at", "updated_at", "priority", "status", "title"];
/// Characters of a search.
const LONGEST_SEARCH: usize = 200;

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

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CommentBody {
    /// Markdown, at most 64 KiB.
    body: String,
}

/// A field that is there, null or not.
fn given<'de, T: Deserialize<'de>, D: Deserializer<'de>>(from: D) -> Result<Option<Option<T>>, D::Error> {
    Option::deserialize(from).map(Some)
}

/// Issues, the newest first.
#[utoipa::path(
    tag = "issues",
    params(
        ("page" = Option<u64>, Query, description = "From 1"),
        ("page_size" = Option<u64>, Query, description = "1 to 500, usually 50"),
        ("status" = Option<String>, Query, description = "One or several, parted by commas"),
        ("issue_type" = Option<String>, Query, description = "One or several, parted by commas; `type` is the same"),
        ("priority" = Option<String>, Query, description = "One or several, parted by commas"),
        ("assignee" = Option<String>, Query, description = "Those of this user"),
        ("assigned" = Option<bool>, Query, description = "Those that are, or are not, somebody's"),
        ("reporter" = Option<String>, Query, description = "Those reported by this one"),
        ("label" = Option<String>, Query, description = "Those that have this label, or all of several parted by commas"),
        ("service" = Option<u32>, Query, description = "Those about this service"),
        ("incident" = Option<String>, Query, description = "Those about this incident"),
        ("finding" = Option<String>, Query, description = "Those about this finding"),
        ("open" = Option<bool>, Query, description = "Those with, or without, something still to do"),
        ("created_since" = Option<String>, Query, description = "Those made at this time or later"),
        ("created_until" = Option<String>, Query, description = "Those made before this time"),
        ("updated_since" = Option<String>, Query, description = "Those changed or commented on at this time or later"),
        ("updated_until" = Option<String>, Query, description = "Those last changed or commented on before this time"),
        ("search" = Option<String>, Query, description = "In title, description and comments, in whatever case"),
        ("ordering" = Option<String>, Query, description = "`id`, `created_at`, `updated_at`, `priority`, `status` or `title`, with `-` in front the other way round; usually `-created_at`"),
    ),
    responses(
        (status = 200, description = "A page of issues, without their descriptions", body = Page<IssueView>),
        (status = 400, description = "A filter is wrong; errors names it", body = Problem),
    )
)]
#[get("/api/v1/maintenance/issues")]
pub async fn list(_viewer: Viewer, query: Query, state: &State<ApiState>) -> Result<Json<Page<IssueView>>, ApiError> {
    query.allow(&[&["page", "page_size", "search", "ordering"], FILTERS.as_slice()].concat())?;
    let (page, size) = (query.page()?, query.page_size()?);
    let ordering = query.text("ordering").unwrap_or("-created_at");
    let order = ordering.strip_prefix('-').unwrap_or(ordering);
    if !ORDERS.contains(&order) {
        return Err(ApiError::bad_query(
            "ordering",
            format!("must be one of {}, or one with - in front, not {ordering:?}", ORDERS.join(", ")),
        ));
    }
    let mut found = fitting(&query, state).await?;
    let backwards = ordering.starts_with('-');
    found.sort_by(|one, other| {
        let way = compare(order, one, other).then(one.id.cmp(&other.id));
        if backwards { way.reverse() } else { way }
    });
    let skip = usize::try_from(page - 1).unwrap_or(usize::MAX).saturating_mul(size);
    let shown = found.iter().skip(skip).take(size).map(|issue| IssueView::from(&**issue)).collect();
    Ok(Json(query.numbered(found.len() as u64, page, size, shown)))
}

/// The issues the filters and the search of a request ask for, by number.
pub async fn fitting(query: &Query, state: &ApiState) -> Result<Vec<Arc<Issue>>, ApiError> {
    let filter = filter(query)?;
    let mut found = state.tracker.issues.list(&filter);
    if let Some(words) = query.text("search") {
        if words.chars().count() > LONGEST_SEARCH {
            return Err(ApiError::bad_query("search", format!("must have at most {LONGEST_SEARCH} characters")));
        }
        let holding = state.tracker.issues.search(words).await?;
        found.retain(|issue| holding.contains(&issue.id));
    }
    Ok(found)
}

fn filter(query: &Query) -> Result<IssueFilter, ApiError> {
    let kind = if query.text("issue_type").is_some() { "issue_type" } else { "type" };
    Ok(IssueFilter {
        statuses: several(query, "status", &IssueStatus::ALL, IssueStatus::name)?,
        types: several(query, kind, &IssueType::ALL, IssueType::name)?,
        priorities: several(query, "priority", &Priority::ALL, Priority::name)?,
        assignee: query.text("assignee").map(str::to_owned),
        assigned: query.boolean("assigned")?,
        reporter: query.text("reporter").map(str::to_owned),
        labels: query.text("label").map(|labels| labels.split(',').map(|label| label.trim().to_owned()).collect()).unwrap_or_default(),
        service: query.number("service", "the number of a service")?.map(ServiceId),
        incident: query.text("incident").map(str::to_owned),
        finding: query.text("finding").map(str::to_owned),
        open: query.boolean("open")?,
        created: (query.time("created_since")?, query.time("created_until")?),
        updated: (query.time("updated_since")?, query.time("updated_until")?),
    })
}

fn several<T: Copy>(query: &Query, field: &str, all: &[T], name: fn(T) -> &'static str) -> Result<Vec<T>, ApiError> {
    let Some(text) = query.text(field) else { return Ok(Vec::new()) };
    let wanted = text.split(',').map(str::trim).map(|given| {
        let found = all.iter().copied().find(|one| name(*one) == given);
        let names: Vec<&'static str> = all.iter().map(|one| name(*one)).collect();
        found.ok_or_else(|| ApiError::bad_query(field, format!("must be of {}, not {given:?}", names.join(", "))).allowing(names))
    });
    wanted.collect()
}

fn compare(order: &str, one: &Issue, other: &Issue) -> Ordering {
    match order {
        "id" => one.id.cmp(&other.id),
        "updated_at" => one.updated_at.cmp(&other.updated_at),
        "priority" => one.priority.cmp(&other.priority),
        "status" => one.status.cmp(&other.status),
        "title" => one.title.to_lowercase().cmp(&other.title.to_lowercase()),
        _ => one.created_at.cmp(&other.created_at),
    }
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
    let id = find(state, id)?.id;
    let given: StatusChange = body.read()?;
    let mut wrong = Wrong::default();
    let to = checks::status(&given.status);
    let unknown = to.is_err();
    let to = wrong.or(to, IssueStatus::Reported);
    let assignee = wrong.maybe(given.assignee.map(|name| state.tracker.assignee(&name)));
    wrong.0.extend(checks::reason_mistake(&given.reason));
    wrong.end().map_err(|error| if unknown { error.allowing(IssueStatus::ALL.map(IssueStatus::name)) } else { error })?;
    let issue = state.tracker.step(id, to, assignee, &given.reason, given.revision, &operator.0.author()).await?;
    IssueDetail::read(state, &issue).await.map(Json)
}

/// What was said of an issue, the oldest first.
#[utoipa::path(
    tag = "issues",
    params(
        ("id" = u64, Path, description = "The issue's number"),
        ("page" = Option<u64>, Query, description = "From 1"),
        ("page_size" = Option<u64>, Query, description = "1 to 500, usually 50"),
    ),
    responses(
        (status = 200, description = "A page of comments", body = Page<CommentView>),
        (status = 404, description = "There is no issue of this number", body = Problem),
    )
)]
#[get("/api/v1/maintenance/issues/<id>/comments")]
pub async fn comments(_viewer: Viewer, query: Query, state: &State<ApiState>, id: &str) -> Result<Json<Page<CommentView>>, ApiError> {
    query.allow(&["page", "page_size"])?;
    let issue = find(state, id)?;
    let (page, size) = (query.page()?, query.page_size()?);
    let (first, last) = numbers(page, size, issue.comments);
    let found = state.tracker.issues.comments(issue.id, first, last).await?;
    Ok(Json(query.numbered(issue.comments.into(), page, size, found.iter().map(CommentView::from).collect())))
}

/// Says something of an issue. Users that are named by `@name` are told.
#[utoipa::path(
    tag = "issues",
    params(("id" = u64, Path, description = "The issue's number")),
    request_body = CommentBody,
    responses(
        (status = 201, description = "The comment", body = CommentView),
        (status = 403, description = "Takes role operator", body = Problem),
        (status = 404, description = "There is no issue of this number", body = Problem),
        (status = 422, description = "The text is empty or too long", body = Problem),
    )
)]
#[post("/api/v1/maintenance/issues/<id>/comments", data = "<body>")]
pub async fn comment(
    operator: Operator,
    state: &State<ApiState>,
    id: &str,
    body: JsonBody,
) -> Result<Created<Json<CommentView>>, ApiError> {
    let id = find(state, id)?.id;
    let CommentBody { body } = body.read()?;
    let comment = state.tracker.comment(id, &body, Vec::new(), &operator.0.author()).await?;
    let place = format!("/api/v1/maintenance/issues/{id}/comments/{}", comment.number);
    Ok(Created::new(place).body(Json(CommentView::from(&comment))))
}

/// Changes a comment; what it said before is kept with it. Its author may, and admins.
#[utoipa::path(
    tag = "issues",
    params(
        ("id" = u64, Path, description = "The issue's number"),
        ("number" = u32, Path, description = "The comment's number within the issue"),
    ),
    request_body = CommentBody,
    responses(
        (status = 200, description = "The comment as it is now", body = CommentView),
        (status = 403, description = "It is another's", body = Problem),
        (status = 404, description = "There is no issue, or no comment, of this number", body = Problem),
        (status = 422, description = "The text is empty or too long", body = Problem),
    )
)]
#[patch("/api/v1/maintenance/issues/<id>/comments/<number>", data = "<body>")]
pub async fn edit_comment(
    operator: Operator,
    state: &State<ApiState>,
    id: &str,
    number: &str,
    body: JsonBody,
) -> Result<Json<CommentView>, ApiError> {
    let issue = find(state, id)?;
    let missing = || ApiError::not_found(format!("issue {} has no comment {number}", issue.id));
    let number = number.parse().map_err(|_| missing())?;
    let CommentBody { body } = body.read()?;
    let admin = operator.0.role == Role::Admin;
    let comment = state.tracker.edit_comment(issue.id, number, &body, admin, &operator.0.author()).await?;
    Ok(Json(CommentView::from(&comment)))
}

/// Who changed what in an issue, when and why, the oldest first.
#[utoipa::path(
    tag = "issues",
    params(
        ("id" = u64, Path, description = "The issue's number"),
        ("page" = Option<u64>, Query, description = "From 1"),
        ("page_size" = Option<u64>, Query, description = "1 to 500, usually 50"),
    ),
    responses(
        (status = 200, description = "A page of changes", body = Page<ChangeView>),
        (status = 404, description = "There is no issue of this number", body = Problem),
    )
)]
#[get("/api/v1/maintenance/issues/<id>/history")]
pub async fn history(_viewer: Viewer, query: Query, state: &State<ApiState>, id: &str) -> Result<Json<Page<ChangeView>>, ApiError> {
    query.allow(&["page", "page_size"])?;
    let issue = find(state, id)?;
    let (page, size) = (query.page()?, query.page_size()?);
    let (first, last) = numbers(page, size, issue.changes);
    let found = state.tracker.issues.changes(issue.id, first, last).await?;
    Ok(Json(query.numbered(issue.changes.into(), page, size, found.iter().map(ChangeView::from).collect())))
}

/// The issue of a path.
fn find(state: &ApiState, id: &str) -> Result<Arc<Issue>, ApiError> {
    let found = id.parse().ok().and_then(|id| state.tracker.issues.get(IssueId(id)));
    found.ok_or_else(|| ApiError::not_found(format!("there is no issue {id}")))
}

/// The numbers of a page of what is numbered from 1 without gaps.
fn numbers(page: u64, size: usize, count: u32) -> (u32, u32) {
    let skip = (page - 1).saturating_mul(size as u64).min(count.into()) as u32;
    (skip + 1, count.min(skip.saturating_add(size as u32)))
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
