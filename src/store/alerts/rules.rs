//! Alert rules: who is told of what, as people wrote it, and as it is planned by.
//!
//! All of them are also in memory. Changes take turns, reach the store first and memory after.
//!
//! **Invariants.** A number is never given twice. Names are unique.

use std::sync::Arc;

use serde_json::Value as Json;
use surrealdb::types::{SurrealValue, Value};
use thiserror::Error;

use crate::clock::Clock;
use crate::config::rule::{Names, RuleDocument};
use crate::model::id::{ChannelId, ServiceId};
use crate::model::rule::{Rule, RuleId};
use crate::model::time::Timestamp;
use crate::store::audit::{Audit, Change, corrupt as unfit};
use crate::store::connection::{Database, StoreError};
use crate::store::services::Author;
use crate::store::shelf::{Numbered, Shelf, next_number, untouched};
use crate::store::values::{corrupt, record};

#[derive(Clone, Debug, PartialEq)]
pub struct StoredRule {
    pub revision: u64,
    pub document: RuleDocument,
    pub rule: Arc<Rule>,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

#[derive(Debug, Error)]
pub enum RulesError {
    #[error("there is no alert rule {id}")]
    Unknown { id: RuleId },
    #[error("name {name:?} is taken by alert rule {by}")]
    NameTaken { name: String, by: RuleId },
    #[error("alert rule {id} was changed meanwhile: it has revision {found}")]
    Changed { id: RuleId, found: u64 },
    #[error(transparent)]
    Store(#[from] StoreError),
}

#[derive(Debug)]
pub struct Rules {
    database: Arc<Database>,
    audit: Arc<Audit>,
    clock: Clock,
    shelf: Shelf<StoredRule>,
}

#[derive(SurrealValue)]
struct Row {
    number: i64,
    revision: i64,
    document: String,
    created_at: i64,
    updated_at: i64,
    in_force_since: i64,
}

#[derive(SurrealValue)]
struct NewRow {
    name: String,
    revision: i64,
    document: String,
    created_at: i64,
    updated_at: i64,
    in_force_since: i64,
}

impl Numbered for StoredRule {
    fn number(&self) -> u32 {
        self.rule.id.0
    }
}

impl Rules {
    pub async fn open(database: Arc<Database>, audit: Arc<Audit>, clock: Clock) -> Result<Rules, StoreError> {
        let known = read_all(&database).await?;
        Ok(Rules { database, audit, clock, shelf: Shelf::new(known) })
    }

    /// Reads all again, as after a change whose outcome was not told; whether anything is not as it was known.
    pub async fn refresh(&self) -> Result<bool, StoreError> {
        let _turn = self.shelf.turn().await;
        Ok(self.shelf.renew(read_all(&self.database).await?))
    }

    /// All of them, by number.
    pub fn list(&self) -> Arc<Vec<Arc<StoredRule>>> {
        self.shelf.all()
    }

    pub fn get(&self, id: RuleId) -> Option<Arc<StoredRule>> {
        self.shelf.get(id.0)
    }

    pub fn find_by_name(&self, name: &str) -> Option<Arc<StoredRule>> {
        self.list().iter().find(|stored| *stored.rule.name == *name).cloned()
    }

    /// The rules that send to a channel.
    pub fn using(&self, channel: ChannelId) -> Vec<Arc<StoredRule>> {
        let uses = |rule: &Rule| rule.channels.contains(&channel) || rule.escalations.iter().any(|step| step.channels.contains(&channel));
        self.list().iter().filter(|stored| uses(&stored.rule)).cloned().collect()
    }

    /// For the first channel there ever is: a rule that tells it what people expect to be told, if there never was a rule.
    pub async fn ensure_first(&self, channel: ChannelId, author: &Author) -> Result<Option<Arc<StoredRule>>, RulesError> {
        if !untouched(&self.database, "alert_rule").await? {
            return Ok(None);
        }
        let kinds = ["incident", "certificate", "burn", "node", "system"].map(str::to_owned).to_vec();
        let document = RuleDocument {
            name: Some("everything that is wrong".to_owned()),
            kinds: Some(kinds),
            channels: vec![channel.0.into()],
            ..RuleDocument::default()
        };
        self.create(document, author).await.map(Some)
    }

    /// Stores a new rule under the next number. The document must have been checked.
    pub async fn create(&self, document: RuleDocument, author: &Author) -> Result<Arc<StoredRule>, RulesError> {
        let _turn = self.shelf.turn().await;
        self.name_is_free(&document, None)?;
        let id = RuleId(next_number(&self.database, "alert_rule").await?);
        let now = self.clock.now();
        let stored = Arc::new(made(id, 1, document, now, now, now)?);
        let text = "CREATE $id CONTENT $row RETURN NONE;";
        let values = vec![("id", record("alert_rule", id.0.into())), ("row", row(&stored)?)];
        self.audit.commit(text, values, &change(author, "alert_rule.create", id, changed(None, &stored.document))).await?;
        self.shelf.put(stored.clone());
        Ok(stored)
    }

    /// Puts a checked document in the place of a rule's own. `expected` is the revision it was made from, if that matters.
    pub async fn replace(
        &self,
        id: RuleId,
        document: RuleDocument,
        expected: Option<u64>,
        author: &Author,
    ) -> Result<Arc<StoredRule>, RulesError> {
        let _turn = self.shelf.turn().await;
        let old = self.get(id).ok_or(RulesError::Unknown { id })?;
        if expected.is_some_and(|expected| expected != old.revision) {
            return Err(RulesError::Changed { id, found: old.revision });
        }
        self.name_is_free(&document, Some(id))?;
        let fields = changed(Some(&old.document), &document);
        if fields.is_empty() {
            return Ok(old);
        }
        let now = self.clock.now();
        let enabled_anew = !old.rule.enabled && document.enabled.unwrap_or(true);
        let since = if enabled_anew { now } else { old.rule.since };
        let stored = Arc::new(made(id, old.revision + 1, document, old.created_at, now, since)?);
        // One that is carried out late must not undo what came after it.
        let text =
            "IF $id.revision != $row.revision - 1 { THROW 'alert rule was changed meanwhile' }; UPDATE $id CONTENT $row RETURN NONE;";
        let values = vec![("id", record("alert_rule", id.0.into())), ("row", row(&stored)?)];
        self.audit.commit(text, values, &change(author, "alert_rule.update", id, fields)).await?;
        self.shelf.put(stored.clone());
        Ok(stored)
    }

    /// Ends a rule. What it has planned is still delivered.
    pub async fn delete(&self, id: RuleId, author: &Author) -> Result<(), RulesError> {
        let _turn = self.shelf.turn().await;
        self.get(id).ok_or(RulesError::Unknown { id })?;
        let values = vec![("id", record("alert_rule", id.0.into()))];
        self.audit.commit("DELETE $id RETURN NONE;", values, &change(author, "alert_rule.delete", id, Vec::new())).await?;
        self.shelf.remove(id.0);
        Ok(())
    }

    fn name_is_free(&self, document: &RuleDocument, mine: Option<RuleId>) -> Result<(), RulesError> {
        let name = document.name.clone().unwrap_or_default();
        match self.find_by_name(&name).filter(|other| Some(other.rule.id) != mine) {
            Some(other) => Err(RulesError::NameTaken { name, by: other.rule.id }),
            None => Ok(()),
        }
    }
}

async fn read_all(database: &Database) -> Result<Vec<Arc<StoredRule>>, StoreError> {
    let text = "SELECT *, record::id(id) AS number OMIT id FROM alert_rule ORDER BY number";
    let mut answer = database.query(text, Vec::new()).await?;
    let found: Vec<Row> = answer.take(0).map_err(|error| unfit("alert rule", &error))?;
    found.into_iter().map(|row| read(row).map(Arc::new)).collect()
}

fn read(row: Row) -> Result<StoredRule, StoreError> {
    let document = serde_json::from_str(&row.document).map_err(|error| corrupt("alert rule", error))?;
    let id = RuleId(row.number as u32);
    let (created, updated) = (Timestamp(row.created_at), Timestamp(row.updated_at));
    made(id, row.revision as u64, document, created, updated, Timestamp(row.in_force_since))
}

/// A rule of a document that was checked: its services and channels are numbers, whether or not they are still there.
fn made(
    id: RuleId,
    revision: u64,
    mut document: RuleDocument,
    created_at: Timestamp,
    updated_at: Timestamp,
    since: Timestamp,
) -> Result<StoredRule, StoreError> {
    let number = |value: &Json| value.as_u64().and_then(|number| u32::try_from(number).ok());
    let names = Names { service: &|value| number(value).map(ServiceId), channel: &|value| number(value).map(ChannelId) };
    let rule = document.check(id, since, &names).map_err(|mistakes| {
        let told: Vec<String> = mistakes.iter().map(ToString::to_string).collect();
        corrupt("alert rule", told.join("; "))
    })?;
    Ok(StoredRule { revision, document, rule: Arc::new(rule), created_at, updated_at })
}

fn row(stored: &StoredRule) -> Result<Value, StoreError> {
    let row = NewRow {
        name: stored.rule.name.to_string(),
        revision: stored.revision as i64,
        document: serde_json::to_string(&stored.document).map_err(|error| corrupt("alert rule", error))?,
        created_at: stored.created_at.0,
        updated_at: stored.updated_at.0,
        in_force_since: stored.rule.since.0,
    };
    Ok(row.into_value())
}

/// The fields in which two documents differ.
fn changed(old: Option<&RuleDocument>, new: &RuleDocument) -> Vec<String> {
    let fields = |document: &RuleDocument| match serde_json::to_value(document) {
        Ok(Json::Object(fields)) => fields,
        _ => serde_json::Map::new(),
    };
    let (old, new) = (fields(&old.cloned().unwrap_or_default()), fields(new));
    new.keys().filter(|name| old.get(*name) != new.get(*name)).cloned().collect()
}

fn change(author: &Author, action: &'static str, id: RuleId, fields: Vec<String>) -> Change {
    Change { who: author.who.clone(), address: author.address, action, subject: format!("alert_rule:{id}"), fields }
}
