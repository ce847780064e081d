//! The whole configuration as one document, to be kept elsewhere: services, channels, alert rules, maintenance windows,
//! objectives, users. What was measured is not in it. Things refer to each other by name, since numbers are of one hub.
//!
//! **Invariant.** Nothing secret is in it, except for commands on the hub's own machine: secrets are masks, of users there is no
//! password. Second factors and API keys never are.

pub mod restore;

use rocket::serde::json::Json;
use rocket::{State, get};
use serde::Serialize;
use serde_json::{Map, Value, json};
use utoipa::ToSchema;

use crate::alert::channel::Channel;
use crate::api::auth::{Admin, Local};
use crate::api::error::{ApiError, Problem};
use crate::api::mask::masked;
use crate::api::query::Query;
use crate::api::slos::body::SloDocument;
use crate::api::state::ApiState;
use crate::api::windows::body::WindowDocument;
use crate::config::rule::RuleDocument;
use crate::model::id::{ChannelId, ServiceId};
use crate::model::window::Plan;
use crate::store::audit::Change;
use crate::store::services::Author;
use crate::store::users::User;

/// Rises when what is in it changes its shape.
pub const FORMAT: u32 = 2;

#[derive(Serialize, ToSchema)]
pub struct BackupView {
    /// Of this document: 2.
    pub format: u32,
    pub made_at: String,
    /// Of the program that made it.
    pub version: &'static str,
    /// Whether secrets are in it as they are, and users with what their passwords are checked against.
    pub secrets: bool,
    /// As in services.json.
    #[schema(value_type = Vec<Object>)]
    pub services: Vec<Value>,
    /// As `/api/v1/alerts/channels` takes them.
    #[schema(value_type = Vec<Object>)]
    pub channels: Vec<Value>,
    /// As `/api/v1/alerts/rules` takes them.
    #[schema(value_type = Vec<Object>)]
    pub alert_rules: Vec<Value>,
    /// As `/api/v1/maintenance-windows` takes them, those that are not over.
    #[schema(value_type = Vec<Object>)]
    pub maintenance_windows: Vec<Value>,
    /// As `/api/v1/slos` takes them.
    #[schema(value_type = Vec<Object>)]
    pub slos: Vec<Value>,
    #[schema(value_type = Vec<Object>)]
    pub users: Vec<Value>,
}

/// The configuration as one document, secrets masked. What was measured is not in it.
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
    told_of(state, admin.0.author(), Vec::new()).await?;
    Ok(Json(make(state, false)))
}

/// The same with secrets as they are and password hashes, for commands on this machine: another hub can be made of it.
#[utoipa::path(
    tag = "local",
    responses(
        (status = 200, description = "The configuration", body = BackupView),
        (status = 403, description = "Takes a token signed with the data folder's key", body = Problem),
    )
)]
#[get("/api/v1/local/backup")]
pub async fn whole(local: Local, state: &State<ApiState>) -> Result<Json<BackupView>, ApiError> {
    told_of(state, local.0.author(), vec!["secrets".to_owned()]).await?;
    Ok(Json(make(state, true)))
}

async fn told_of(state: &ApiState, author: Author, fields: Vec<String>) -> Result<(), ApiError> {
    let change = Change { who: author.who, address: author.address, action: "backup.read", subject: "configuration".to_owned(), fields };
    Ok(state.audit.record(&change).await?)
}

pub fn make(state: &ApiState, secrets: bool) -> BackupView {
    let now = state.clock.now();
    let names = Names(state);
    let windows = state.windows.store.list();
    let to_come = |plan: &Plan| !matches!(plan, Plan::Once(span) if span.until <= now);
    let windows = windows.iter().filter(|window| window.deleted.is_none() && to_come(&window.rule.plan));
    BackupView {
        format: FORMAT,
        made_at: now.rfc3339(),
        version: env!("CARGO_PKG_VERSION"),
        secrets,
        services: state
            .services
            .list()
            .iter()
            .map(|service| if secrets { value(&service.document) } else { value(&masked(&service.document)) })
            .collect(),
        channels: state.channels.list().iter().map(|stored| channel(stored, secrets)).collect(),
        alert_rules: state.alerts.rules.list().iter().map(|stored| names.rule(&stored.document)).collect(),
        maintenance_windows: windows.map(|window| names.window(WindowDocument::of(window))).collect(),
        slos: state.slos.slos.list().iter().map(|slo| names.slo(SloDocument::of(&slo.promise))).collect(),
        users: users(state, secrets),
    }
}

fn channel(channel: &Channel, secrets: bool) -> Value {
    let config = if secrets { channel.config.clone() } else { channel.masked() };
    json!({"name": channel.name, "kind": channel.kind.name(), "enabled": channel.enabled, "config": config})
}

fn users(state: &ApiState, secrets: bool) -> Vec<Value> {
    let view = |user: User| {
        let mut view = json!({"username": user.username, "role": user.role.name(), "disabled": user.disabled});
        if secrets {
            view["password_hash"] = state.users.password_hash(&user.username).into();
        }
        view
    };
    state.users.list().into_iter().map(view).collect()
}

/// What numbers stand for on this hub.
struct Names<'a>(&'a ApiState);

impl Names<'_> {
    /// One that is gone keeps its place: a rule that names nobody any more would be for all.
    fn service(&self, number: &Value) -> Value {
        let Some(id) = number.as_u64().and_then(|id| u32::try_from(id).ok()) else { return number.clone() };
        self.0.services.get(ServiceId(id)).map_or_else(|| format!("deleted service {id}"), |service| service.name().to_owned()).into()
    }

    fn channel(&self, number: &Value) -> Value {
        let Some(id) = number.as_u64().and_then(|id| u32::try_from(id).ok()) else { return number.clone() };
        self.0.channels.get(ChannelId(id)).map_or_else(|| format!("deleted channel {id}"), |channel| channel.name.clone()).into()
    }

    fn services(&self, list: &mut [Value]) {
        list.iter_mut().for_each(|one| *one = self.service(one));
    }

    fn channels(&self, list: &mut [Value]) {
        list.iter_mut().for_each(|one| *one = self.channel(one));
    }

    fn rule(&self, document: &RuleDocument) -> Value {
        let mut document = document.clone();
        self.services(&mut document.services);
        self.channels(&mut document.channels);
        document.escalations.iter_mut().for_each(|step| self.channels(&mut step.channels));
        value(&document)
    }

    fn window(&self, mut document: Map<String, Value>) -> Value {
        if let Some(Value::Array(services)) = document.get_mut("services") {
            self.services(services);
        }
        Value::Object(document)
    }

    fn slo(&self, mut document: Map<String, Value>) -> Value {
        if let Some(service) = document.get_mut("service") {
            *service = self.service(service);
        }
        Value::Object(document)
    }
}

fn value(document: &impl Serialize) -> Value {
    // What goes out elsewhere as JSON does so here.
    serde_json::to_value(document).unwrap_or_else(|_| Value::Object(Map::new()))
}
