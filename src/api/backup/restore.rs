//! A backup taken back: what is not here is made, what is here and differs is changed if that is wanted, and nothing is taken
//! away. Each thing is checked as if somebody sent it alone, so a mistake in one keeps out that one and names its field.
//!
//! Services come first, then what refers to them by name.

use std::collections::BTreeMap;

use rocket::serde::json::Json;
use rocket::{State, post};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use crate::api::alerts::rules;
use crate::api::auth::Admin;
use crate::api::backup::{BackupView, FORMAT, make};
use crate::api::body::{JsonBody, LongBody};
use crate::api::channels::form;
use crate::api::error::{ApiError, FieldError, Problem};
use crate::api::query::Query;
use crate::api::services;
use crate::api::slos::body::SloDocument;
use crate::api::state::ApiState;
use crate::api::windows::body::WindowDocument;
use crate::config::mistake::Mistake;
use crate::store::services::Author;
use crate::store::users::Role;

/// Beside the lists, what a backup tells of itself.
const HEAD: [&str; 4] = ["format", "made_at", "version", "secrets"];
/// Fields that name other things, which may be only about to be made.
const REFERENCES: [&str; 8] = ["services", "service", "channels", "escalations", "tags", "groups", "regions", "depends_on"];

/// A kind of thing in a backup, in the order they are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    Service,
    Channel,
    Rule,
    Window,
    Slo,
    User,
}

impl Part {
    const ALL: [Part; 6] = [Part::Service, Part::Channel, Part::Rule, Part::Window, Part::Slo, Part::User];

    pub fn name(self) -> &'static str {
        match self {
            Part::Service => "service",
            Part::Channel => "channel",
            Part::Rule => "alert_rule",
            Part::Window => "maintenance_window",
            Part::Slo => "slo",
            Part::User => "user",
        }
    }

    /// Its list in a backup.
    fn list(self) -> &'static str {
        match self {
            Part::Service => "services",
            Part::Channel => "channels",
            Part::Rule => "alert_rules",
            Part::Window => "maintenance_windows",
            Part::Slo => "slos",
            Part::User => "users",
        }
    }

    /// The field by which one is known on any hub.
    fn key(self) -> &'static str {
        match self {
            Part::Window => "title",
            Part::User => "username",
            _ => "name",
        }
    }

    fn of(self, backup: &BackupView) -> &[Value] {
        match self {
            Part::Service => &backup.services,
            Part::Channel => &backup.channels,
            Part::Rule => &backup.alert_rules,
            Part::Window => &backup.maintenance_windows,
            Part::Slo => &backup.slos,
            Part::User => &backup.users,
        }
    }

    fn name_of(self, item: &Value) -> &str {
        item[self.key()].as_str().unwrap_or_default().trim()
    }
}

/// What became of one thing, or would become of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    Created,
    Changed,
    Unchanged,
    /// It differs, and stays as it is here.
    Kept,
    Refused,
}

impl Outcome {
    pub fn name(self) -> &'static str {
        match self {
            Outcome::Created => "created",
            Outcome::Changed => "changed",
            Outcome::Unchanged => "unchanged",
            Outcome::Kept => "kept",
            Outcome::Refused => "refused",
        }
    }
}

#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct RestoredItem {
    /// `service`, `channel`, `alert_rule`, `maintenance_window`, `slo` or `user`
    #[serde(rename = "kind", serialize_with = "part_name")]
    #[schema(value_type = String)]
    pub part: Part,
    pub name: String,
    /// `created`, `changed`, `unchanged`, `kept` (it differs, and `update` was not asked for) or `refused`
    #[serde(serialize_with = "outcome_name")]
    #[schema(value_type = String)]
    pub outcome: Outcome,
    /// Why it was refused, field by field.
    pub errors: Vec<FieldError>,
}

fn part_name<S: serde::Serializer>(part: &Part, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(part.name())
}

fn outcome_name<S: serde::Serializer>(outcome: &Outcome, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(outcome.name())
}

#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct RestoreView {
    /// Nothing was stored: this is what would happen.
    pub dry_run: bool,
    /// How many came to which outcome.
    #[schema(value_type = Object)]
    pub counts: BTreeMap<&'static str, usize>,
    pub items: Vec<RestoredItem>,
}

/// How a backup is taken back.
#[derive(Clone, Copy, Debug, Default)]
pub struct Manner {
    /// What is here and differs is changed.
    pub update: bool,
    pub dry_run: bool,
}

/// Takes a backup back: makes what is not here, and with `update` changes what differs. Nothing is deleted.
///
/// Each thing is checked alone; what is refused is named with its fields, and the rest is taken. So it can be sent again.
#[utoipa::path(
    tag = "maintenance",
    request_body(description = "As `GET /api/v1/backup` gives it; lists may be left out", content = Object),
    params(
        ("update" = Option<bool>, Query, description = "Change what is here and differs; usually it stays as it is"),
        ("dry_run" = Option<bool>, Query, description = "Only tell what would happen"),
    ),
    responses(
        (status = 200, description = "What became of each thing", body = RestoreView),
        (status = 403, description = "Takes role admin", body = Problem),
        (status = 422, description = "It is no backup this hub can read; nothing was stored", body = Problem),
    )
)]
#[post("/api/v1/backup", data = "<body>")]
pub async fn restore(admin: Admin, query: Query, state: &State<ApiState>, body: LongBody) -> Result<Json<RestoreView>, ApiError> {
    query.allow(&["update", "dry_run"])?;
    let manner = Manner { update: query.boolean("update")?.unwrap_or(false), dry_run: query.boolean("dry_run")?.unwrap_or(false) };
    Ok(Json(taken(state, &body.0, manner, &admin.0.author()).await?))
}

/// Takes a backup back, or tells what that would do.
pub async fn taken(state: &ApiState, backup: &Value, manner: Manner, author: &Author) -> Result<RestoreView, ApiError> {
    let lists = lists(backup)?;
    // Of each kind, what is here: as it is, and as it is shown.
    let (clear, masked) = (make(state, true), make(state, false));
    let mut work = Work { state, manner, author, clear: &clear, masked: &masked, items: Vec::new() };
    let done = work.take_all(lists).await;
    let items = work.items;
    // What was stored before the store went away is there, too.
    if !manner.dry_run {
        (state.services_changed)();
        state.windows.turn();
        state.slos.turn();
        state.alerts.deliveries.nudge();
        state.inbox.nudge.notify_one();
    }
    done?;
    let mut counts = BTreeMap::new();
    for item in &items {
        *counts.entry(item.outcome.name()).or_insert(0) += 1;
    }
    Ok(RestoreView { dry_run: manner.dry_run, counts, items })
}
/// The lists of a backup in the order they are made, or why it is none.
fn lists(backup: &Value) -> Result<Vec<(Part, Vec<&Value>)>, ApiError> {
    let Value::Object(fields) = backup else { return Err(ApiError::invalid(vec![Mistake::new("", "a backup is an object")])) };
    let mut wrong = Vec::new();
    match &fields.get("format").unwrap_or(&Value::Null) {
        Value::Number(format) if format.as_u64() == Some(u64::from(FORMAT)) => {}
        Value::Null => wrong.push(Mistake::new("format", format!("is required; {FORMAT} is what this version reads"))),
        other => wrong.push(Mistake::new("format", format!("must be {FORMAT}, not {other}"))),
    }
    for name in fields.keys() {
        if !HEAD.contains(&name.as_str()) && Part::ALL.iter().all(|part| part.list() != name) {
            wrong.push(Mistake::new(name, "is not a part of a backup"));
        }
    }
    let mut lists = Vec::new();
    for part in Part::ALL {
        let list = match fields.get(part.list()) {
            None => Vec::new(),
            Some(Value::Array(list)) => list.iter().collect(),
            Some(_) => {
                wrong.push(Mistake::new(part.list(), "must be a list"));
                Vec::new()
            }
        };
        for (index, item) in list.iter().enumerate() {
            let place = format!("{}[{index}]", part.list());
            if !item.is_object() {
                wrong.push(Mistake::new(place, "must be an object"));
            } else if part.name_of(item).is_empty() {
                wrong.push(Mistake::new(format!("{place}.{}", part.key()), "is required"));
            }
        }
        lists.push((part, list));
    }
    if wrong.is_empty() { Ok(lists) } else { Err(ApiError::invalid(wrong)) }
}

/// Field by field, or as a whole where no field is named.
fn told(error: &ApiError) -> Vec<FieldError> {
    match error.errors() {
        [] => vec![FieldError { field: String::new(), message: error.detail().to_owned() }],
        errors => errors.to_vec(),
    }
}

struct Work<'a> {
    state: &'a ApiState,
    manner: Manner,
    author: &'a Author,
    clear: &'a BackupView,
    masked: &'a BackupView,
    items: Vec<RestoredItem>,
}

impl Work<'_> {
    /// Everything, list by list. Ends early where the store is away.
    async fn take_all(&mut self, lists: Vec<(Part, Vec<&Value>)>) -> Result<(), ApiError> {
        for (part, list) in lists {
            // One may depend on another that comes later in the list.
            let mut left = list;
            loop {
                let before = left.len();
                let mut refused = Vec::new();
                for item in left {
                    if let Err(error) = self.take(part, item).await? {
                        refused.push((item, error));
                    }
                }
                if refused.is_empty() || refused.len() == before {
                    self.items.extend(refused.into_iter().map(|(item, error)| RestoredItem {
                        part,
                        name: part.name_of(item).to_owned(),
                        outcome: Outcome::Refused,
                        errors: told(&error),
                    }));
                    break;
                }
                left = refused.into_iter().map(|(item, _)| item).collect();
            }
        }
        Ok(())
    }

    /// One thing. The outer error ends it all, since the store is away; the inner one is about this thing alone.
    async fn take(&mut self, part: Part, item: &Value) -> Result<Result<(), ApiError>, ApiError> {
        let name = part.name_of(item);
        let same = |kept: &Value| part.name_of(kept) == name;
        let known = [self.clear, self.masked].map(|view| part.of(view).iter().filter(|kept| same(kept)).any(|kept| kept == item));
        let there = part.of(self.clear).iter().any(same);
        let outcome = match (known.contains(&true), there) {
            (true, _) => Outcome::Unchanged,
            (false, true) if part == Part::User || !self.manner.update => Outcome::Kept,
            (false, true) => Outcome::Changed,
            (false, false) => Outcome::Created,
        };
        if matches!(outcome, Outcome::Created | Outcome::Changed) {
            let done = match part {
                Part::Service => self.service(name, item).await,
                Part::Channel => self.channel(name, item).await,
                Part::Rule => self.rule(name, item).await,
                Part::Window => self.window(name, item).await,
                Part::Slo => self.slo(name, item).await,
                Part::User => self.user(name, item).await,
            };
            match done {
                Err(error) if error.status().code >= 500 => return Err(error),
                Err(error) if !self.is_forgiven(&error) => return Ok(Err(error)),
                _ => {}
            }
        }
        self.items.push(RestoredItem { part, name: name.to_owned(), outcome, errors: Vec::new() });
        Ok(Ok(()))
    }

    /// Before anything is made, what refers to it cannot be found.
    fn is_forgiven(&self, error: &ApiError) -> bool {
        let refers = |error: &FieldError| REFERENCES.iter().any(|name| error.field.split(['.', '[']).next() == Some(name));
        self.manner.dry_run && !error.errors().is_empty() && error.errors().iter().all(refers)
    }

    async fn service(&self, name: &str, item: &Value) -> Result<(), ApiError> {
        let kept = self.state.services.find_by_name(name);
        let document = services::checked(self.state, item.clone(), kept.as_deref())?;
        match kept {
            _ if self.manner.dry_run => {}
            None => drop(self.state.services.create(document, self.author).await?),
            Some(kept) => drop(self.state.services.replace(kept.id, document, None, self.author).await?),
        }
        Ok(())
    }

    async fn channel(&self, name: &str, item: &Value) -> Result<(), ApiError> {
        let kept = self.state.channels.find_by_name(name);
        let wanted = form::checked(self.state, item.clone(), kept.as_deref())?.channel;
        match kept {
            _ if self.manner.dry_run => {}
            None => drop(self.state.channels.create(wanted, self.author).await?),
            Some(kept) => drop(self.state.channels.replace(kept.id, wanted, None, self.author).await?),
        }
        Ok(())
    }

    async fn rule(&self, name: &str, item: &Value) -> Result<(), ApiError> {
        let kept = self.state.alerts.rules.find_by_name(name);
        let document = rules::checked(self.state, item.clone(), kept.as_deref())?;
        match kept {
            _ if self.manner.dry_run => {}
            None => drop(self.state.alerts.rules.create(document, self.author).await?),
            Some(kept) => drop(self.state.alerts.rules.replace(kept.rule.id, document, None, self.author).await?),
        }
        Ok(())
    }

    async fn window(&self, name: &str, item: &Value) -> Result<(), ApiError> {
        let windows = self.state.windows.store.list();
        let kept = windows.iter().find(|window| window.deleted.is_none() && window.title == name);
        let mut sent = item.clone();
        if kept.is_none() && item["kind"] == "manual" {
            // What is made anew begins nothing by itself.
            sent["start"] = false.into();
        }
        let checked = |sent: &Value| WindowDocument::read(sent).map(|sent| sent.check(self.state, kept.map(|kept| &**kept)));
        let mut draft = checked(&sent)?;
        if draft.as_ref().err().is_some_and(|wrong| wrong.iter().all(|mistake| mistake.path == "reason")) {
            // What has begun long ago must say why it is told only now.
            sent["reason"] = "restored from a backup".into();
            draft = checked(&sent)?;
        }
        let draft = draft.map_err(ApiError::invalid)?;
        match kept {
            _ if self.manner.dry_run => {}
            None => drop(self.state.windows.store.create(draft, self.author).await?),
            Some(kept) => drop(self.state.windows.store.replace(kept.id, draft, None, "window.update", self.author).await?),
        }
        Ok(())
    }

    async fn slo(&self, name: &str, item: &Value) -> Result<(), ApiError> {
        let slos = self.state.slos.slos.list();
        let kept = slos.iter().find(|slo| slo.promise.name == name);
        let document: SloDocument = JsonBody(item.clone()).read()?;
        let promise = document.check(self.state, kept.map(|kept| &**kept)).map_err(ApiError::invalid)?;
        match kept {
            _ if self.manner.dry_run => {}
            None => drop(self.state.slos.slos.create(promise, self.author).await?),
            Some(kept) => drop(self.state.slos.slos.replace(kept.id, promise, None, self.author).await?),
        }
        Ok(())
    }

    async fn user(&self, name: &str, item: &Value) -> Result<(), ApiError> {
        let role = item["role"].as_str().unwrap_or_default();
        let role = Role::from_name(role).ok_or_else(|| ApiError::invalid_field("role", format!("{role:?} is not a role")))?;
        let hash = item["password_hash"].as_str().ok_or_else(|| {
            ApiError::invalid_field("password_hash", "is not in this backup; take one with its secrets, or make the user anew")
        })?;
        let disabled = item["disabled"].as_bool().unwrap_or(false);
        if !self.manner.dry_run {
            self.state.users.restore(name, hash, role, disabled, self.author).await?;
        }
        Ok(())
    }
}
