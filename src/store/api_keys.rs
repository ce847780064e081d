//! Keys programs use the API with, each of a user: a name, a role, scopes, perhaps an end.
//!
//! A key is random, so a plain SHA-256 of it is kept: there is nothing to guess that a slow hash would make dearer. All are in
//! memory too, so that a request never waits for the store to know who asks.
//!
//! **Invariants.** A key is in no row and no log; it is given back once, when it is made. It may what its owner may now and its
//! role and scopes allow, never more, and nothing while its owner is disabled or gone.

use std::collections::HashMap;
use std::sync::{Arc, RwLock};
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use surrealdb::types::{SurrealValue, Value};
use thiserror::Error;
use tokio::sync::Mutex;

use crate::clock::Clock;
use crate::model::time::Timestamp;
use crate::store::audit::{Audit, Change, corrupt};
use crate::store::connection::{Database, StoreError};
use crate::store::secrets::random;
use crate::store::services::Author;
use crate::store::sessions::fingerprint;
use crate::store::users::{Role, User};

/// What every key begins with, so that one that leaked is found by a search.
pub const PREFIX: &str = "pm_";
/// Letters of a key that are shown, the prefix among them; of 43 behind it that leaves what nobody guesses.
const START: usize = 8;
/// So much of a fingerprint names a key to people.
const ID_LENGTH: usize = 12;
/// Keys of one user.
const MOST: usize = 100;
const NAME_MOST: usize = 64;
/// When a key was used last is written so often at most.
const WRITE_EVERY: Duration = Duration::from_secs(60);

/// What a key is for. Without the scope for it nothing is allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// Reads all its role may read, but for what belongs to `admin`.
    Read,
    /// Reads results and what is worked out of them; has digests and the monitor's own figures made.
    Results,
    /// Reads and changes services; checks them now.
    Services,
    /// Reads incidents and findings, acknowledges, notes, says what is no anomaly.
    Incidents,
    /// Reads and works on issues.
    Issues,
    /// Reads and changes alert rules, maintenance windows and objectives; acknowledges causes.
    Alerts,
    /// Users, channels, joining, the audit log, settings, backups: what takes role admin.
    Admin,
}

impl Scope {
    pub const ALL: [Scope; 7] =
        [Scope::Read, Scope::Results, Scope::Services, Scope::Incidents, Scope::Issues, Scope::Alerts, Scope::Admin];

    pub fn name(self) -> &'static str {
        match self {
            Scope::Read => "read",
            Scope::Results => "results",
            Scope::Services => "services",
            Scope::Incidents => "incidents",
            Scope::Issues => "issues",
            Scope::Alerts => "alerts",
            Scope::Admin => "admin",
        }
    }

    pub fn from_name(name: &str) -> Option<Scope> {
        Scope::ALL.into_iter().find(|scope| scope.name() == name)
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiKey {
    /// Names it to people; nobody gets in with it.
    pub id: String,
    pub name: String,
    pub owner: String,
    /// When the owner was made.
    pub owner_since: Timestamp,
    pub role: Role,
    pub scopes: Vec<Scope>,
    /// How the key begins.
    pub start: String,
    pub created_at: Timestamp,
    pub created_by: String,
    pub expires_at: Option<Timestamp>,
    pub used_at: Option<Timestamp>,
}

/// A key that is asked for.
pub struct NewKey {
    pub name: String,
    pub role: Role,
    pub scopes: Vec<Scope>,
    pub lifetime: Option<Duration>,
}

#[derive(Debug, Error)]
pub enum KeysError {
    #[error("there is no key {id:?}")]
    Unknown { id: String },
    #[error("must be 1 to {NAME_MOST} characters")]
    BadName,
    #[error("{owner} has a key of this name already")]
    NameTaken { owner: String },
    #[error("must not be above {}, the role of {owner}", role.name())]
    AboveOwner { owner: String, role: Role },
    #[error("must name at least one scope")]
    NoScope,
    #[error("{owner} has {MOST} keys already; revoke one first")]
    TooMany { owner: String },
    #[error(transparent)]
    Store(#[from] StoreError),
}

#[derive(Debug)]
pub struct ApiKeys {
    database: Arc<Database>,
    audit: Arc<Audit>,
    clock: Clock,
    /// By fingerprint.
    known: RwLock<HashMap<String, Kept>>,
    turn: Mutex<()>,
}

#[derive(Clone, Debug)]
struct Kept {
    key: ApiKey,
    /// The use the store knows of.
    written: Option<Timestamp>,
}

#[derive(SurrealValue)]
struct Fields {
    name: String,
    owner: String,
    owner_since: i64,
    role: String,
    scopes: Vec<String>,
    start: String,
    created_at: i64,
    created_by: String,
    expires_at: Option<i64>,
    used_at: Option<i64>,
}

#[derive(SurrealValue)]
struct Row {
    fingerprint: String,
    #[surreal(flatten)]
    fields: Fields,
}

impl ApiKeys {
    /// Reads all there are.
    pub async fn open(database: Arc<Database>, audit: Arc<Audit>, clock: Clock) -> Result<ApiKeys, StoreError> {
        let known = read_all(&database).await?;
        Ok(ApiKeys { database, audit, clock, known: RwLock::new(known), turn: Mutex::new(()) })
    }

    /// Reads all again, as after a change whose outcome was not told.
    pub async fn refresh(&self) -> Result<(), StoreError> {
        let _turn = self.turn.lock().await;
        let found = read_all(&self.database).await?;
        *self.known.write().expect("no holder panics") = found;
        Ok(())
    }

    /// Makes a key of `owner`; the key itself, to be shown once, and what is known of it.
    pub async fn create(&self, owner: &User, new: NewKey, author: &Author) -> Result<(String, ApiKey), KeysError> {
        let name = new.name.trim().to_owned();
        if !(1..=NAME_MOST).contains(&name.chars().count()) || name.chars().any(char::is_control) {
            return Err(KeysError::BadName);
        }
        if new.role > owner.role {
            return Err(KeysError::AboveOwner { owner: owner.username.clone(), role: owner.role });
        }
        if new.scopes.is_empty() {
            return Err(KeysError::NoScope);
        }
        let mut scopes = new.scopes;
        scopes.sort();
        scopes.dedup();
        let _turn = self.turn.lock().await;
        let others = self.list(Some(&owner.username));
        if others.len() >= MOST {
            return Err(KeysError::TooMany { owner: owner.username.clone() });
        }
        if others.iter().any(|other| other.name == name) {
            return Err(KeysError::NameTaken { owner: owner.username.clone() });
        }
        let text = format!("{PREFIX}{}", BASE64_URL_SAFE_NO_PAD.encode(random::<32>()));
        let fingerprint = fingerprint(&text);
        let now = self.clock.now();
        let key = ApiKey {
            id: id_of(&fingerprint),
            name,
            owner: owner.username.clone(),
            owner_since: owner.created_at,
            role: new.role,
            scopes,
            start: text.chars().take(START).collect(),
            created_at: now,
            created_by: author.who.clone(),
            expires_at: new.lifetime.map(|lifetime| now.plus(lifetime)),
            used_at: None,
        };
        let values = vec![("fingerprint", Value::from_t(fingerprint.clone())), ("fields", Fields::from(&key).into_value())];
        let fields = ["name", "role", "scopes", "expires_at"].map(str::to_owned).to_vec();
        let change = change(author, "key.create", &key, fields);
        self.audit.commit("CREATE type::record('api_key', $fingerprint) CONTENT $fields RETURN NONE;", values, &change).await?;
        self.known.write().expect("no holder panics").insert(fingerprint, Kept { key: key.clone(), written: None });
        Ok((text, key))
    }

    /// Ends a key by its id.
    pub async fn revoke(&self, id: &str, author: &Author) -> Result<(), KeysError> {
        let _turn = self.turn.lock().await;
        let found = {
            let known = self.known.read().expect("no holder panics");
            known.iter().find(|(_, kept)| kept.key.id == id).map(|(fingerprint, kept)| (fingerprint.clone(), kept.key.clone()))
        };
        let Some((fingerprint, key)) = found else { return Err(KeysError::Unknown { id: id.to_owned() }) };
        let values = vec![("fingerprint", Value::from_t(fingerprint.clone()))];
        let change = change(author, "key.revoke", &key, Vec::new());
        self.audit.commit("DELETE type::record('api_key', $fingerprint) RETURN NONE;", values, &change).await?;
        self.known.write().expect("no holder panics").remove(&fingerprint);
        Ok(())
    }

    /// The key of a text, whether it is over or not.
    pub fn find(&self, text: &str) -> Option<ApiKey> {
        self.known.read().expect("no holder panics").get(&fingerprint(text)).map(|kept| kept.key.clone())
    }

    pub fn get(&self, id: &str) -> Option<ApiKey> {
        self.known.read().expect("no holder panics").values().find(|kept| kept.key.id == id).map(|kept| kept.key.clone())
    }

    /// Those of a user, or of all, the newest first.
    pub fn list(&self, owner: Option<&str>) -> Vec<ApiKey> {
        let known = self.known.read().expect("no holder panics");
        let wanted = known.values().filter(|kept| owner.is_none_or(|owner| kept.key.owner == owner));
        let mut keys: Vec<ApiKey> = wanted.map(|kept| kept.key.clone()).collect();
        keys.sort_by(|one, other| (other.created_at, &one.id).cmp(&(one.created_at, &other.id)));
        keys
    }

    /// Remembers that a key was used now; whoever used it does not wait for the store, which hears of it once a minute.
    pub fn used(self: &Arc<Self>, text: &str) {
        let now = self.clock.now();
        let fingerprint = fingerprint(text);
        {
            let mut known = self.known.write().expect("no holder panics");
            let Some(kept) = known.get_mut(&fingerprint) else { return };
            kept.key.used_at = Some(now);
            if kept.written.is_some_and(|written| now.since(written) < WRITE_EVERY) {
                return;
            }
            kept.written = Some(now);
        }
        let keys = self.clone();
        tokio::spawn(async move {
            let values = vec![("fingerprint", Value::from_t(fingerprint)), ("now", Value::from_t(now.0))];
            let text = "UPDATE type::record('api_key', $fingerprint) SET used_at = $now RETURN NONE";
            if let Err(error) = keys.database.query(text, values).await {
                tracing::debug!("the use of a key cannot be kept, the next one tries again: {error}");
            }
        });
    }
}

async fn read_all(database: &Database) -> Result<HashMap<String, Kept>, StoreError> {
    let mut answer = database.query("SELECT record::id(id) AS fingerprint, * OMIT id FROM api_key", Vec::new()).await?;
    let rows: Vec<Row> = answer.take(0).map_err(|error| corrupt("api key", &error))?;
    let mut known = HashMap::with_capacity(rows.len());
    for Row { fingerprint, fields } in rows {
        let key = key_of(&fingerprint, fields)?;
        known.insert(fingerprint, Kept { written: key.used_at, key });
    }
    Ok(known)
}

fn key_of(fingerprint: &str, row: Fields) -> Result<ApiKey, StoreError> {
    let wrong = |name: &str, what: &str| StoreError::Corrupt { what: "api key", message: format!("{name:?} is not a {what}") };
    let scope = |name: &String| Scope::from_name(name).ok_or_else(|| wrong(name, "scope"));
    Ok(ApiKey {
        id: id_of(fingerprint),
        role: Role::from_name(&row.role).ok_or_else(|| wrong(&row.role, "role"))?,
        scopes: row.scopes.iter().map(scope).collect::<Result<_, _>>()?,
        name: row.name,
        owner: row.owner,
        owner_since: Timestamp(row.owner_since),
        start: row.start,
        created_at: Timestamp(row.created_at),
        created_by: row.created_by,
        expires_at: row.expires_at.map(Timestamp),
        used_at: row.used_at.map(Timestamp),
    })
}

fn id_of(fingerprint: &str) -> String {
    fingerprint.chars().take(ID_LENGTH).collect()
}

impl From<&ApiKey> for Fields {
    fn from(key: &ApiKey) -> Fields {
        Fields {
            name: key.name.clone(),
            owner: key.owner.clone(),
            owner_since: key.owner_since.0,
            role: key.role.name().to_owned(),
            scopes: key.scopes.iter().map(|scope| scope.name().to_owned()).collect(),
            start: key.start.clone(),
            created_at: key.created_at.0,
            created_by: key.created_by.clone(),
            expires_at: key.expires_at.map(|at| at.0),
            used_at: key.used_at.map(|at| at.0),
        }
    }
}

fn change(author: &Author, action: &'static str, key: &ApiKey, fields: Vec<String>) -> Change {
    let subject = format!("key:{} of user:{}", key.id, key.owner);
    Change { who: author.who.clone(), address: author.address, action, subject, fields }
}
