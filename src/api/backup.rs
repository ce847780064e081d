//! The whole configuration as one document, to be kept elsewhere: services, alert rules, channels, maintenance windows,
//! objectives, users. What was measured is not in it.
//!
//! **Invariant.** Nothing secret is in it: secrets are masks, of users there is neither password nor second factor, and keys
//! are left out.

use rocket::serde::json::Json;
use rocket::{State, get};
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::api::auth::Admin;
use crate::api::channels::view::ChannelView;
use crate::api::error::{ApiError, Problem};
use crate::api::mask::masked;
use crate::api::query::Query;
use crate::api::slos::body::SloDocument;
use crate::api::state::ApiState;
use crate::api::windows::view::WindowView;
use crate::store::audit::Change;

/// Rises when what is in it changes its shape.
const FORMAT: u32 = 1;

#[derive(Serialize, ToSchema)]
pub struct BackupView {
    /// Of this document: 1.
    pub format: u32,
    pub made_at: String,
    /// Of the program that made it.
    pub version: &'static str,
    /// As in services.json, secrets as masks; the import takes them, or this whole document.
    #[schema(value_type = Vec<Object>)]
    pub services: Vec<Value>,
    /// As `/api/v1/alerts/rules` takes them.
    #[schema(value_type = Vec<Object>)]
    pub alert_rules: Vec<Value>,
    #[schema(value_type = Vec<Object>)]
    pub channels: Vec<Value>,
    #[schema(value_type = Vec<Object>)]
    pub maintenance_windows: Vec<Value>,
    /// As `/api/v1/slos` takes them.
    #[schema(value_type = Vec<Object>)]
    pub slos: Vec<Value>,
    #[schema(value_type = Vec<Object>)]
    pub users: Vec<Value>,
}

/// The configuration as one document. Secrets are masked, what was measured is not in it.
#[utoipa::path(
    tag = "maintenance",
    responses(
        (status = 200, description = "The configuration", body = BackupView),
        (status = 403, description = "Takes role admin", body = Problem),
    )
)]
#[get("/api/v1/backup")]
pub async fn read(admin: Admin, query: Query, state: &State<ApiState>) -> Result<Json<BackupView>, ApiError> {
    query.allow(&[])?;
    let author = admin.0.author();
    let subject = "configuration".to_owned();
    state.audit.record(&Change { who: author.who, address: author.address, action: "backup.read", subject, fields: Vec::new() }).await?;
    Ok(Json(make(state)))
}

pub fn make(state: &ApiState) -> BackupView {
    let now = state.clock.now();
    let user = |user: crate::store::users::User| {
        serde_json::json!({
            "username": user.username, "role": user.role.name(), "disabled": user.disabled, "created_at": user.created_at.rfc3339(),
        })
    };
    let windows = state.windows.store.list();
    let windows = windows.iter().filter(|window| window.deleted.is_none());
    BackupView {
        format: FORMAT,
        made_at: now.rfc3339(),
        version: env!("CARGO_PKG_VERSION"),
        services: state.services.list().iter().map(|service| value(&masked(&service.document))).collect(),
        alert_rules: state.alerts.rules.list().iter().map(|stored| value(&stored.document)).collect(),
        channels: state.channels.list().iter().map(|channel| value(&ChannelView::from(&**channel))).collect(),
        maintenance_windows: windows.map(|window| value(&WindowView::new(window, &state.windows, now))).collect(),
        slos: state.slos.slos.list().iter().map(|slo| Value::Object(SloDocument::of(&slo.promise))).collect(),
        users: state.users.list().into_iter().map(user).collect(),
    }
}

fn value(document: &impl Serialize) -> Value {
    // What goes out elsewhere as JSON does so here.
    serde_json::to_value(document).unwrap_or_else(|_| Value::Object(Map::new()))
}
