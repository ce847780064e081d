//! What is said of an issue, and who changed what in it.

use rocket::response::status::Created;
use rocket::serde::json::Json;
use rocket::{State, get, patch, post};
use serde::Deserialize;
use utoipa::ToSchema;

use crate::api::auth::{Operator, Viewer};
use crate::api::body::JsonBody;
use crate::api::error::{ApiError, Problem};
use crate::api::issues::find;
use crate::api::issues::view::{CommentView, IssueChangeView};
use crate::api::query::{Page, Query};
use crate::api::state::ApiState;
use crate::store::users::Role;

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CommentBody {
    /// Markdown, at most 64 KiB.
    body: String,
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
    let issue = find(state, id)?;
    let asked = Numbers::asked(&query, issue.comments)?;
    let found = state.tracker.issues.comments(issue.id, asked.first, asked.last).await?;
    Ok(Json(asked.page(&query, found.iter().map(CommentView::from).collect())))
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
        (status = 200, description = "A page of changes", body = Page<IssueChangeView>),
        (status = 404, description = "There is no issue of this number", body = Problem),
    )
)]
#[get("/api/v1/maintenance/issues/<id>/history")]
pub async fn history(_viewer: Viewer, query: Query, state: &State<ApiState>, id: &str) -> Result<Json<Page<IssueChangeView>>, ApiError> {
    let issue = find(state, id)?;
    let asked = Numbers::asked(&query, issue.changes)?;
    let found = state.tracker.issues.changes(issue.id, asked.first, asked.last).await?;
    Ok(Json(asked.page(&query, found.iter().map(IssueChangeView::from).collect())))
}

/// A page of what is numbered from 1 without gaps.
struct Numbers {
    page: u64,
    size: usize,
    count: u32,
    first: u32,
    last: u32,
}

impl Numbers {
    fn asked(query: &Query, count: u32) -> Result<Numbers, ApiError> {
        query.allow(&["page", "page_size"])?;
        let (page, size) = (query.page()?, query.page_size()?);
        let skip = (page - 1).saturating_mul(size as u64).min(count.into()) as u32;
        Ok(Numbers { page, size, count, first: skip + 1, last: count.min(skip.saturating_add(size as u32)) })
    }

    fn page<V>(&self, query: &Query, views: Vec<V>) -> Page<V> {
        query.numbered(self.count.into(), self.page, self.size, views)
    }
}
