//! Who changed what.

use rocket::serde::json::Json;
use rocket::{State, get};
use serde::Serialize;
use utoipa::ToSchema;

use crate::api::auth::Admin;
use crate::api::error::{ApiError, Problem};
use crate::api::query::{Page, Query};
use crate::api::state::ApiState;
use crate::store::audit::AuditEntry;

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
    query.allow(&["page", "page_size"])?;
    let (page, size) = (query.page()?, query.page_size()?);
    let (count, entries) = state.audit.page((page - 1).saturating_mul(size as u64), size as u64).await?;
    Ok(Json(query.numbered(count, page, size, entries.into_iter().map(AuditView::from).collect())))
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
