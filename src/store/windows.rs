//! Maintenance windows. All of them are also in memory; changes take turns, reach the store first and memory after.
//!
//! **Invariants.** A number is never given twice. One that was deleted stays as a row, with who took it back.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use surrealdb::types::{SurrealValue, Value};
use thiserror::Error;

use crate::clock::Clock;
use crate::config::service::parse_cron;
use crate::model::id::ServiceId;
use crate::model::service::Schedule;
use crate::model::span::Span;
use crate::model::time::{Timestamp, micros};
use crate::model::window::{Plan, Rule, Scope, Window, WindowId};
use crate::store::audit::{Audit, Change, corrupt as unfit};
use crate::store::connection::{Database, StoreError};
use crate::store::services::Author;
use crate::store::shelf::{Numbered, Shelf, next_number};
use crate::store::values::{corrupt, record};

#[derive(Debug, Error)]
pub enum WindowsError {
    #[error("there is no maintenance window {id}")]
    Unknown { id: WindowId },
    #[error("maintenance window {id} was changed meanwhile: it has revision {found}")]
    Changed { id: WindowId, found: u64 },
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What a person says of a window.
#[derive(Clone, Debug, PartialEq)]
pub struct Draft {
    pub title: String,
    pub reason: String,
    pub rule: Rule,
}

#[derive(Debug)]
pub struct WindowStore {
    database: Arc<Database>,
    audit: Arc<Audit>,
    clock: Clock,
    /// The deleted are among them.
    shelf: Shelf<Window>,
}

#[derive(SurrealValue)]
struct Fields {
    revision: i64,
    title: String,
    reason: String,
    rule: String,
    earlier: String,
    created_by: String,
    created_at: i64,
    updated_by: String,
    updated_at: i64,
    deleted_by: Option<String>,
    deleted_at: Option<i64>,
}

#[derive(SurrealValue)]
struct Row {
    number: i64,
    #[surreal(flatten)]
    fields: Fields,
}

#[derive(Serialize, Deserialize)]
struct RuleRow {
    all: bool,
    services: Vec<u32>,
    tags: Vec<String>,
    groups: Vec<String>,
    plan: PlanRow,
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
enum PlanRow {
    Once { from: i64, until: i64 },
    Recurring { cron: String, timezone: String, duration_us: i64, since: i64, until: Option<i64> },
    Manual { sessions: Vec<(i64, i64)>, longest_us: i64 },
}

impl Numbered for Window {
    fn number(&self) -> u32 {
        self.id.0
    }
}

impl WindowStore {
    pub async fn open(database: Arc<Database>, audit: Arc<Audit>, clock: Clock) -> Result<WindowStore, StoreError> {
        let known = read_all(&database).await?;
        Ok(WindowStore { database, audit, clock, shelf: Shelf::new(known) })
    }

    /// Reads all again, as after a change whose outcome was not told; whether anything is not as it was known.
    pub async fn refresh(&self) -> Result<bool, StoreError> {
        let _turn = self.shelf.turn().await;
        let found = read_all(&self.database).await?;
        Ok(self.shelf.renew(found))
    }

    /// All of them by number, the deleted among them.
    pub fn list(&self) -> Arc<Vec<Arc<Window>>> {
        self.shelf.all()
    }

    /// Rises with every change of any.
    pub fn generation(&self) -> u64 {
        self.list().iter().map(|window| window.revision).sum()
    }

    /// One that is there or was deleted.
    pub fn get(&self, id: WindowId) -> Option<Arc<Window>> {
        self.shelf.get(id.0)
    }

    pub async fn create(&self, draft: Draft, author: &Author) -> Result<Arc<Window>, WindowsError> {
        let _turn = self.shelf.turn().await;
        let id = WindowId(next_number(&self.database, "maintenance_window").await?);
        let now = self.clock.now();
        let Draft { title, reason, rule } = draft;
        let window = Arc::new(Window {
            id,
            revision: 1,
            title,
            reason,
            rule,
            earlier: Vec::new(),
            created_by: author.who.clone(),
            created_at: now,
            updated_by: author.who.clone(),
            updated_at: now,
            deleted: None,
        });
        let change = change(author, "window.create", id, &["title", "reason", "services", window.rule.plan.kind()]);
        let values = vec![("id", record("maintenance_window", id.0.into())), ("row", fields(&window)?)];
        self.audit.commit("CREATE $id CONTENT $row RETURN NONE;", values, &change).await?;
        self.shelf.put(window.clone());
        Ok(window)
    }

    /// Puts another draft in the place of a window's own; `expected` is the revision it was made from, if that matters. What a
    /// recurring one was up to now stays.
    pub async fn replace(
        &self,
        id: WindowId,
        draft: Draft,
        expected: Option<u64>,
        action: &'static str,
        author: &Author,
    ) -> Result<Arc<Window>, WindowsError> {
        let _turn = self.shelf.turn().await;
        let old = self.there(id)?;
        if expected.is_some_and(|expected| expected != old.revision) {
            return Err(WindowsError::Changed { id, found: old.revision });
        }
        let now = self.clock.now();
        let Draft { title, reason, rule } = draft;
        let moved = [
            ("title", title != old.title),
            ("reason", reason != old.reason),
            ("services", rule.scope != old.rule.scope),
            (rule.plan.kind(), rule.plan != old.rule.plan),
        ];
        let names: Vec<&str> = moved.into_iter().filter(|(_, moved)| *moved).map(|(name, _)| name).collect();
        if names.is_empty() {
            return Ok(old);
        }
        let turned = old.turned(rule, now);
        let window =
            Arc::new(Window { revision: old.revision + 1, title, reason, updated_by: author.who.clone(), updated_at: now, ..turned });
        self.put(&window, &change(author, action, id, &names)).await?;
        Ok(window)
    }

    /// Takes a window back: history is counted as if it had never been.
    pub async fn delete(&self, id: WindowId, author: &Author) -> Result<Arc<Window>, WindowsError> {
        let _turn = self.shelf.turn().await;
        let old = self.there(id)?;
        let deleted = Some((author.who.clone(), self.clock.now()));
        let window = Arc::new(Window { revision: old.revision + 1, deleted, ..Window::clone(&old) });
        self.put(&window, &change(author, "window.delete", id, &[])).await?;
        Ok(window)
    }

    fn there(&self, id: WindowId) -> Result<Arc<Window>, WindowsError> {
        self.get(id).filter(|window| window.deleted.is_none()).ok_or(WindowsError::Unknown { id })
    }

    async fn put(&self, window: &Arc<Window>, change: &Change) -> Result<(), WindowsError> {
        // One that is carried out late must not undo what came after it.
        let text = "IF $id.revision != $row.revision - 1 { THROW 'window was changed meanwhile' }; UPDATE $id CONTENT $row RETURN NONE;";
        let values = vec![("id", record("maintenance_window", window.id.0.into())), ("row", fields(window)?)];
        self.audit.commit(text, values, change).await?;
        self.shelf.put(window.clone());
        Ok(())
    }
}

async fn read_all(database: &Database) -> Result<Vec<Arc<Window>>, StoreError> {
    let text = "SELECT *, record::id(id) AS number OMIT id FROM maintenance_window ORDER BY number";
    let mut answer = database.query(text, Vec::new()).await?;
    let found: Vec<Row> = answer.take(0).map_err(|error| unfit("maintenance window", &error))?;
    found.into_iter().map(|row| Window::try_from(row).map(Arc::new)).collect()
}

fn fields(window: &Window) -> Result<Value, StoreError> {
    let broken = |error: serde_json::Error| corrupt("maintenance window", error);
    let earlier: Vec<RuleRow> = window.earlier.iter().map(RuleRow::from).collect();
    Ok(Fields {
        revision: window.revision as i64,
        title: window.title.clone(),
        reason: window.reason.clone(),
        rule: serde_json::to_string(&RuleRow::from(&window.rule)).map_err(broken)?,
        earlier: serde_json::to_string(&earlier).map_err(broken)?,
        created_by: window.created_by.clone(),
        created_at: window.created_at.0,
        updated_by: window.updated_by.clone(),
        updated_at: window.updated_at.0,
        deleted_by: window.deleted.as_ref().map(|(by, _)| by.clone()),
        deleted_at: window.deleted.as_ref().map(|(_, at)| at.0),
    }
    .into_value())
}

impl TryFrom<Row> for Window {
    type Error = StoreError;

    fn try_from(Row { number, fields: row }: Row) -> Result<Window, StoreError> {
        let broken = |error: serde_json::Error| corrupt("maintenance window", error);
        let rule: RuleRow = serde_json::from_str(&row.rule).map_err(broken)?;
        let earlier: Vec<RuleRow> = serde_json::from_str(&row.earlier).map_err(broken)?;
        Ok(Window {
            id: WindowId(number as u32),
            revision: row.revision as u64,
            title: row.title,
            reason: row.reason,
            rule: rule.try_into()?,
            earlier: earlier.into_iter().map(Rule::try_from).collect::<Result<_, _>>()?,
            created_by: row.created_by,
            created_at: Timestamp(row.created_at),
            updated_by: row.updated_by,
            updated_at: Timestamp(row.updated_at),
            deleted: row.deleted_by.zip(row.deleted_at.map(Timestamp)),
        })
    }
}

impl From<&Rule> for RuleRow {
    fn from(rule: &Rule) -> RuleRow {
        let Scope { all, services, tags, groups } = &rule.scope;
        let plan = match &rule.plan {
            Plan::Once(span) => PlanRow::Once { from: span.from.0, until: span.until.0 },
            Plan::Recurring { expression, zone, duration, since, until, .. } => PlanRow::Recurring {
                cron: expression.to_string(),
                timezone: zone.name().to_owned(),
                duration_us: micros(*duration),
                since: since.0,
                until: until.map(|until| until.0),
            },
            Plan::Manual { sessions, longest } => PlanRow::Manual {
                sessions: sessions.iter().map(|session| (session.from.0, session.until.0)).collect(),
                longest_us: micros(*longest),
            },
        };
        RuleRow {
            all: *all,
            services: services.iter().map(|service| service.0).collect(),
            tags: tags.iter().cloned().collect(),
            groups: groups.iter().cloned().collect(),
            plan,
        }
    }
}

impl TryFrom<RuleRow> for Rule {
    type Error = StoreError;

    fn try_from(row: RuleRow) -> Result<Rule, StoreError> {
        let span = |(from, until): (i64, i64)| Span::new(Timestamp(from), Timestamp(until));
        let us = |us: i64| Duration::from_micros(us.max(0) as u64);
        let plan = match row.plan {
            PlanRow::Once { from, until } => Plan::Once(span((from, until))),
            PlanRow::Recurring { cron, timezone, duration_us, since, until } => {
                let parsed = parse_cron(&cron, Some(&timezone), None).map_err(|mistakes| {
                    let told: Vec<String> = mistakes.iter().map(ToString::to_string).collect();
                    corrupt("maintenance window", told.join("; "))
                })?;
                let Schedule::Cron { expression, pattern, zone, .. } = parsed else {
                    return Err(corrupt("maintenance window", format!("{cron:?} is not a cron expression")));
                };
                Plan::Recurring {
                    expression,
                    pattern,
                    zone,
                    duration: us(duration_us),
                    since: Timestamp(since),
                    until: until.map(Timestamp),
                }
            }
            PlanRow::Manual { sessions, longest_us } => {
                Plan::Manual { sessions: sessions.into_iter().map(span).collect(), longest: us(longest_us) }
            }
        };
        let scope = Scope {
            all: row.all,
            services: row.services.into_iter().map(ServiceId).collect(),
            tags: row.tags.into_iter().collect(),
            groups: row.groups.into_iter().collect(),
        };
        Ok(Rule { scope, plan })
    }
}

fn change(author: &Author, action: &'static str, id: WindowId, fields: &[&str]) -> Change {
    Change {
        who: author.who.clone(),
        address: author.address,
        action,
        subject: format!("window:{id}"),
        fields: fields.iter().map(|field| (*field).to_owned()).collect(),
    }
}
