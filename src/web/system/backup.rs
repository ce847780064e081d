//! The configuration to take away, and what to do with it.

use askama::Template;
use rocket::http::{ContentType, Header};
use rocket::response::Responder;
use rocket::{State, get};

use crate::api::auth::Admin;
use crate::api::backup;
use crate::api::error::ApiError;
use crate::api::query::Query;
use crate::api::state::ApiState;
use crate::store::users::Role;
use crate::web::alerts::Tab;
use crate::web::frame::{Frame, Section};
use crate::web::html::Html;
use crate::web::system::tabs;
use crate::web::text::Text;
use crate::web::visit::Visit;

#[derive(Template)]
#[template(path = "system_backup.html")]
struct BackupPage {
    frame: Frame,
    tabs: Vec<Tab>,
    /// What is in it, and how many of each.
    parts: Vec<(&'static str, usize)>,
}

#[get("/system/backup")]
pub fn page(visit: Visit, state: &State<ApiState>) -> Result<Html, ApiError> {
    visit.need(Role::Admin)?;
    let t = Text(visit.look.lang);
    let made = backup::make(state);
    let parts = [
        ("backup.services", made.services.len()),
        ("backup.rules", made.alert_rules.len()),
        ("backup.channels", made.channels.len()),
        ("backup.windows", made.maintenance_windows.len()),
        ("backup.slos", made.slos.len()),
        ("backup.users", made.users.len()),
    ];
    Html::of(&BackupPage {
        frame: Frame::new(&visit, Section::System, t.s("system.tab_backup")),
        tabs: tabs(&visit, "/system/backup"),
        parts: parts.into_iter().map(|(key, count)| (t.s(key), count)).collect(),
    })
}

#[derive(Responder)]
pub struct Download {
    text: String,
    kind: ContentType,
    name: Header<'static>,
}

/// The document, to be kept.
#[get("/system/backup.json")]
pub async fn download(visit: Visit, query: Query, state: &State<ApiState>) -> Result<Download, ApiError> {
    visit.need(Role::Admin)?;
    let made = backup::read(Admin(visit.principal), query, state).await?.into_inner();
    let day = made.made_at.get(..10).unwrap_or_default();
    let name = Header::new("Content-Disposition", format!("attachment; filename=\"probemesh-{day}.json\""));
    let text = serde_json::to_string_pretty(&made).map_err(|error| ApiError::bad_request(error.to_string()))?;
    Ok(Download { text, kind: ContentType::JSON, name })
}
