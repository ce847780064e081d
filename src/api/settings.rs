//! Everything the hub runs by, and where each of it came from.

use rocket::serde::json::Json;
use rocket::{State, get};
use serde::Serialize;
use utoipa::ToSchema;

use crate::api::auth::Admin;
use crate::api::error::{ApiError, Problem};
use crate::api::query::Query;
use crate::api::state::ApiState;
use crate::config::effective::{Origin, Setting};

#[derive(Serialize, ToSchema)]
pub struct SettingView {
    /// Such as `store.url`.
    key: String,
    /// Secrets are masked; empty: not set, and that is fine.
    value: String,
    /// `default`, `file` or `variable`.
    from: &'static str,
    /// The file or the variable.
    source: Option<String>,
    /// The variable that sets it.
    variable: String,
}

/// All settings with their origin. They are read when the hub starts; what changes one is its file or variable.
#[utoipa::path(
    tag = "maintenance",
    responses(
        (status = 200, description = "Every setting", body = Vec<SettingView>),
        (status = 403, description = "Takes role admin", body = Problem),
    )
)]
#[get("/api/v1/settings")]
pub fn list(_admin: Admin, query: Query, state: &State<ApiState>) -> Result<Json<Vec<SettingView>>, ApiError> {
    query.allow(&[])?;
    Ok(Json(state.effective.iter().map(SettingView::from).collect()))
}

impl From<&Setting> for SettingView {
    fn from(setting: &Setting) -> SettingView {
        let (from, source) = match &setting.origin {
            Origin::Default => ("default", None),
            Origin::File(path) => ("file", Some(path.display().to_string())),
            Origin::Variable(name) => ("variable", Some(name.clone())),
        };
        SettingView { key: setting.path.clone(), value: setting.value.clone(), from, source, variable: setting.variable.clone() }
    }
}
