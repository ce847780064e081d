//! Issues narrowed down, searched, ordered and paged.

use std::cmp::Ordering;
use std::sync::Arc;

use rocket::serde::json::Json;
use rocket::{State, get};

use crate::api::auth::Viewer;
use crate::api::error::{ApiError, Problem};
use crate::api::issues::view::IssueView;
use crate::api::query::{Page, Query};
use crate::api::state::ApiState;
use crate::model::id::ServiceId;
use crate::model::issue::{Issue, IssueStatus, IssueType, Priority};
use crate::store::issues::IssueFilter;

/// What narrows a list down, beside the page, the search and the order.
pub const FILTERS: [&str; 16] = [
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
