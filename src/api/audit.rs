//! Who changed what.

use rocket::serde::json::Json;
use rocket::{State, get};
use serde::Serialize;
use utoipa::ToSchema;

use crate::api::auth::Admin;
use crate::api::error::{ApiError, Problem};
use crate::api::query::{Page, Query};
use crate::api::state::ApiState;
use crate::store::audit::{AuditEntry, AuditFilter};

#[derive(Serialize, ToSchema)]
pub struct AuditView {
    id: u64,
    at: String,
    /// A user name, or the part of the program that did it.
    who: String,
    address: Option<String>,
    /// Such as `service.update` or `login.failed`.
    action: String,
    /// Such as `service:7`.
    subject: String,
    /// The fields that changed; never what they held.
    fields: Vec<String>,
}

/// Changes and log-ins, newest first.
#[utoipa::path(
    tag = "audit",
    params(
        ("who" = Option<String>, Query, description = "A user name, or the part of the program"),
        ("action" = Option<String>, Query, description = "How the action begins, such as `login.` or `service.update`"),
        ("subject" = Option<String>, Query, description = "Part of the subject, such as `service:7`"),
        ("since" = Option<String>, Query, description = "Not before this time"),
        ("until" = Option<String>, Query, description = "Before this time"),
        ("cursor" = Option<u64>, Query, description = "With a filter, instead of page: as next gave it"),
        ("page" = Option<u64>, Query, description = "From 1"),
        ("page_size" = Option<u64>, Query, description = "1 to 500, usually 50"),
    ),
    responses(
        (status = 200, description = "A page of the log", body = Page<AuditView>),
        (status = 403, description = "Takes role admin", body = Problem),
    )
)]
#[get("/api/v1/audit")]
pub async fn list(_admin: Admin, query: Query, state: &State<ApiState>) -> Result<Json<Page<AuditView>>, ApiError> {
    query.allow(&["who", "action", "subject", "since", "until", "cursor", "page", "page_size"])?;
    let filter = filter_of(&query)?;
    if !filter.is_empty() {
        let cursor = query.number("cursor", "what next gave")?;
        let (found, next) = state.audit.search(&filter, cursor, query.page_size()?).await?;
        let next = next.map(|next| query.with("cursor", &next.to_string()));
        return Ok(Json(Page { count: None, next, previous: None, results: found.into_iter().map(AuditView::from).collect() }));
    }
    let (page, size) = (query.page()?, query.page_size()?);
    let (count, entries) = state.audit.page((page - 1).saturating_mul(size as u64), size as u64).await?;
    Ok(Json(query.numbered(count, page, size, entries.into_iter().map(AuditView::from).collect())))
}

/// What is filtered for.
pub fn filter_of(query: &Query) -> Result<AuditFilter, ApiError> {
    let text = |name: &str| query.text(name).unwrap_or_default().trim().to_owned();
    let (since, until) = (query.time("since")?, query.time("until")?);
    Ok(AuditFilter { who: text("who"), action: text("action"), subject: text("subject"), since, until })
}

impl From<AuditEntry> for AuditView {
    fn from(entry: AuditEntry) -> AuditView {
        AuditView {
            id: entry.id,
            at: entry.at.rfc3339(),
            who: entry.who,
            address: entry.address,
            action: entry.action,
            subject: entry.subject,
            fields: entry.fields,
        }
    }
}
