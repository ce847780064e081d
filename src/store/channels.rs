//! The channels people are told by: their fields, revisions and sealed secrets.
//!
//! All of them are also in memory, so that sending never queries. Changes take turns, reach the store first and memory
//! after.
//!
//! **Invariants.** A number is never given twice, even after its channel was deleted. Names are unique. A field that can
//! hold a secret lies in the store sealed for the channel's number, and nowhere else.

use std::sync::Arc;

use serde_json::{Map, Value as Json};
use surrealdb::types::{Bytes, SurrealValue, Value};
use thiserror::Error;

use crate::alert::channel::fields::Field;
use crate::alert::channel::{Channel, Kind, kind_info};
use crate::clock::Clock;
use crate::config::mistake::Mistake;
use crate::model::id::ChannelId;
use crate::model::time::Timestamp;
use crate::store::audit::{Audit, Change, corrupt};
use crate::store::connection::{Database, StoreError};
use crate::store::secrets::{Secrets, SecretsError};
use crate::store::services::Author;
use crate::store::shelf::{Numbered, Shelf, next_number};

/// A channel as it is to be stored, checked.
#[derive(Clone, PartialEq)]
pub struct NewChannel {
    pub name: String,
    pub enabled: bool,
    pub kind: Kind,
    pub config: Map<String, Json>,
}

#[derive(Debug, Error)]
pub enum ChannelsError {
    #[error("name {name:?} is taken by channel {by}")]
    NameTaken { name: String, by: ChannelId },
    #[error("there is no channel {id}")]
    Unknown { id: ChannelId },
    #[error("channel {id} was changed meanwhile: it has revision {found}")]
    Changed { id: ChannelId, found: u64 },
    #[error(transparent)]
    Secret(#[from] SecretsError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

#[derive(Debug)]
pub struct Channels {
    database: Arc<Database>,
    secrets: Arc<Secrets>,
    audit: Arc<Audit>,
    clock: Clock,
    shelf: Shelf<Channel>,
}

#[derive(SurrealValue)]
struct Fields {
    name: String,
    kind: String,
    enabled: bool,
    revision: i64,
    config: String,
    sealed: Option<Bytes>,
    created_at: i64,
    updated_at: i64,
}

#[derive(SurrealValue)]
struct Row {
    number: i64,
    #[surreal(flatten)]
    fields: Fields,
}

impl Numbered for Channel {
    fn number(&self) -> u32 {
        self.id.0
    }
}

impl Channels {
    /// Reads all there are. Fails when a secret cannot be opened: the key is not the one they were sealed with.
    pub async fn open(database: Arc<Database>, secrets: Arc<Secrets>, audit: Arc<Audit>, clock: Clock) -> Result<Channels, ChannelsError> {
        let known = read_all(&database, &secrets).await?;
        Ok(Channels { database, secrets, audit, clock, shelf: Shelf::new(known) })
    }

    /// Reads all again, as after a change whose outcome was not told.
    pub async fn refresh(&self) -> Result<(), ChannelsError> {
        let _turn = self.shelf.turn().await;
        let found = read_all(&self.database, &self.secrets).await?;
        self.shelf.renew(found);
        Ok(())
    }

    /// All of them, by number.
    pub fn list(&self) -> Arc<Vec<Arc<Channel>>> {
        self.shelf.all()
    }

    pub fn get(&self, id: ChannelId) -> Option<Arc<Channel>> {
        self.shelf.get(id.0)
    }

    pub fn find_by_name(&self, name: &str) -> Option<Arc<Channel>> {
        self.list().iter().find(|channel| channel.name == name).cloned()
    }

    /// Stores a new channel under the next number.
    pub async fn create(&self, new: NewChannel, author: &Author) -> Result<Arc<Channel>, ChannelsError> {
        let _turn = self.shelf.turn().await;
        self.free(&new.name, None)?;
        let id = ChannelId(next_number(&self.database, "channel").await?);
        let now = self.clock.now();
        let mut fields: Vec<String> = ["name", "kind", "enabled"].map(str::to_owned).to_vec();
        fields.extend(new.config.keys().map(|name| format!("config.{name}")));
        let NewChannel { name, enabled, kind, config } = new;
        let channel = Arc::new(Channel { id, name, enabled, kind, config, revision: 1, created_at: now, updated_at: now });
        let values = vec![("id", Value::from_t(i64::from(id.0))), ("row", self.row(&channel).into_value())];
        let change = change(author, "channel.create", id, fields);
        self.audit.commit("CREATE type::record('channel', $id) CONTENT $row RETURN NONE;", values, &change).await?;
        self.shelf.put(channel.clone());
        Ok(channel)
    }

    /// Puts another in the place of a channel. `expected` is the revision it was made from, if that matters.
    pub async fn replace(
        &self,
        id: ChannelId,
        new: NewChannel,
        expected: Option<u64>,
        author: &Author,
    ) -> Result<Arc<Channel>, ChannelsError> {
        let _turn = self.shelf.turn().await;
        let old = self.get(id).ok_or(ChannelsError::Unknown { id })?;
        if expected.is_some_and(|expected| expected != old.revision) {
            return Err(ChannelsError::Changed { id, found: old.revision });
        }
        self.free(&new.name, Some(id))?;
        let fields = changed(&old, &new);
        if fields.is_empty() {
            return Ok(old);
        }
        let NewChannel { name, enabled, kind, config } = new;
        let revision = old.revision + 1;
        let channel =
            Arc::new(Channel { id, name, enabled, kind, config, revision, created_at: old.created_at, updated_at: self.clock.now() });
        let values = vec![("id", Value::from_t(i64::from(id.0))), ("row", self.row(&channel).into_value())];
        // One that is carried out late, after its caller was told that the store is away, must not undo what came after it.
        let text = "LET $kept = type::record('channel', $id); \
                    IF $kept.revision != $row.revision - 1 { THROW 'channel was changed meanwhile' }; \
                    UPDATE $kept CONTENT $row RETURN NONE;";
        self.audit.commit(text, values, &change(author, "channel.update", id, fields)).await?;
        self.shelf.put(channel.clone());
        Ok(channel)
    }

    /// Forgets a channel; its number is never given again.
    pub async fn delete(&self, id: ChannelId, author: &Author) -> Result<Arc<Channel>, ChannelsError> {
        let _turn = self.shelf.turn().await;
        let old = self.get(id).ok_or(ChannelsError::Unknown { id })?;
        let change = change(author, "channel.delete", id, Vec::new());
        let values = vec![("id", Value::from_t(i64::from(id.0)))];
        self.audit.commit("DELETE type::record('channel', $id) RETURN NONE;", values, &change).await?;
        self.shelf.remove(id.0);
        Ok(old)
    }

    /// Puts it on record that a channel was tried.
    pub async fn tried(&self, id: Option<ChannelId>, author: &Author) -> Result<(), StoreError> {
        let subject = id.map_or_else(|| "channel:unsaved".to_owned(), place);
        let (who, address) = (author.who.clone(), author.address);
        self.audit.record(&Change { who, address, action: "channel.test", subject, fields: Vec::new() }).await
    }

    fn free(&self, name: &str, but: Option<ChannelId>) -> Result<(), ChannelsError> {
        match self.find_by_name(name).filter(|other| Some(other.id) != but) {
            Some(other) => Err(ChannelsError::NameTaken { name: name.to_owned(), by: other.id }),
            None => Ok(()),
        }
    }

    fn row(&self, channel: &Channel) -> Fields {
        let (open, secret) = parted(channel.kind.info().fields, &channel.config);
        let sealed = (!secret.is_empty()).then(|| {
            let clear = Json::Object(secret).to_string();
            Bytes::from(self.secrets.seal(&place(channel.id), clear.as_bytes()))
        });
        Fields {
            name: channel.name.clone(),
            kind: channel.kind.name().to_owned(),
            enabled: channel.enabled,
            revision: channel.revision as i64,
            config: Json::Object(open).to_string(),
            sealed,
            created_at: channel.created_at.0,
            updated_at: channel.updated_at.0,
        }
    }
}

async fn read_all(database: &Database, secrets: &Secrets) -> Result<Vec<Arc<Channel>>, ChannelsError> {
    let mut answer = database.query("SELECT *, record::id(id) AS number OMIT id FROM channel ORDER BY number", Vec::new()).await?;
    let rows: Vec<Row> = answer.take(0).map_err(|error| corrupt("channel", &error))?;
    rows.into_iter().map(|row| read(row, secrets).map(Arc::new)).collect()
}

fn read(Row { number, fields: row }: Row, secrets: &Secrets) -> Result<Channel, ChannelsError> {
    let id = ChannelId(number as u32);
    let mut config = object(row.config.as_bytes())?;
    if let Some(sealed) = row.sealed {
        config.extend(object(&secrets.unseal(&place(id), &sealed)?)?);
    }
    let kind =
        kind_info(&row.kind).map_err(|mistake| vec![mistake]).and_then(|info| Kind::read(info, &config)).map_err(|wrong| unfit(&wrong))?;
    Ok(Channel {
        id,
        name: row.name,
        enabled: row.enabled,
        kind,
        config,
        revision: row.revision as u64,
        created_at: Timestamp(row.created_at),
        updated_at: Timestamp(row.updated_at),
    })
}

/// The fields that hold no secret, and those that may.
fn parted(table: &[Field], config: &Map<String, Json>) -> (Map<String, Json>, Map<String, Json>) {
    let secret = |name: &str| table.iter().any(|field| field.name == name && field.form.is_secret());
    config.clone().into_iter().partition(|(name, _)| !secret(name))
}

/// The fields in which two channels differ.
fn changed(old: &Channel, new: &NewChannel) -> Vec<String> {
    let mut fields = Vec::new();
    let mut differs = |name: &str, differs: bool| {
        if differs {
            fields.push(name.to_owned());
        }
    };
    differs("name", old.name != new.name);
    differs("kind", old.kind.name() != new.kind.name());
    differs("enabled", old.enabled != new.enabled);
    let mut names: Vec<&String> =
        old.config.keys().chain(new.config.keys()).filter(|name| old.config.get(*name) != new.config.get(*name)).collect();
    names.sort();
    names.dedup();
    fields.extend(names.into_iter().map(|name| format!("config.{name}")));
    fields
}

fn change(author: &Author, action: &'static str, id: ChannelId, fields: Vec<String>) -> Change {
    Change { who: author.who.clone(), address: author.address, action, subject: place(id), fields }
}

fn place(id: ChannelId) -> String {
    format!("channel:{id}")
}

fn object(bytes: &[u8]) -> Result<Map<String, Json>, StoreError> {
    serde_json::from_slice(bytes).map_err(|error| StoreError::Corrupt { what: "channel", message: error.to_string() })
}

/// By the names of its fields alone.
fn unfit(wrong: &[Mistake]) -> StoreError {
    let fields: Vec<&str> = wrong.iter().map(|mistake| mistake.path.as_str()).collect();
    StoreError::Corrupt { what: "channel", message: format!("its fields {} do not fit", fields.join(", ")) }
}
