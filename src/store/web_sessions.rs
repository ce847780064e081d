//! Who is logged in to the pages: the browser holds a random token, the store its SHA-256.
//!
//! All sessions are also in memory, so that a request never waits for the store to know who asks.
//!
//! **Invariants.** A token is in no row and no log. A session is in memory only while the store has it, so that one that was
//! ended stays ended after a restart.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, RwLock};
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use surrealdb::types::{SurrealValue, Value};
use tokio::sync::Mutex;

use crate::clock::Clock;
use crate::model::time::Timestamp;
use crate::store::audit::corrupt;
use crate::store::connection::{Database, StoreError};
use crate::store::secrets::random;
use crate::store::sessions::fingerprint;
use crate::store::users::User;

/// Characters kept of what a browser says of itself.
const AGENT_MOST: usize = 200;
/// So much of a fingerprint names a session to people.
const NAME_LENGTH: usize = 12;

#[derive(Debug)]
pub struct WebSessions {
    database: Arc<Database>,
    clock: Clock,
    lifetime: Duration,
    /// By fingerprint.
    known: RwLock<HashMap<String, WebSession>>,
    turn: Mutex<()>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebSession {
    /// Names it to people; nobody can log in with it.
    pub name: String,
    pub username: String,
    /// Of the user, when it began.
    pub epoch: u64,
    pub created_at: Timestamp,
    pub expires_at: Timestamp,
    pub address: Option<String>,
    /// What the browser said of itself.
    pub agent: String,
}

#[derive(SurrealValue)]
struct Fields {
    username: String,
    epoch: i64,
    created_at: i64,
    expires_at: i64,
    address: Option<String>,
    agent: String,
}

#[derive(SurrealValue)]
struct Row {
    key: String,
    username: String,
    epoch: i64,
    created_at: i64,
    expires_at: i64,
    address: Option<String>,
    agent: String,
}

impl WebSessions {
    /// Reads all there are.
    pub async fn open(database: Arc<Database>, clock: Clock, lifetime: Duration) -> Result<WebSessions, StoreError> {
        let mut answer = database.query("SELECT record::id(id) AS key, * OMIT id FROM web_session", Vec::new()).await?;
        let found: Vec<Row> = answer.take(0).map_err(|error| corrupt("web session", &error))?;
        let known = found.into_iter().map(|row| (row.key.clone(), WebSession::from(row))).collect();
        Ok(WebSessions { database, clock, lifetime, known: RwLock::new(known), turn: Mutex::new(()) })
    }

    /// Begins a session; its token, for the browser alone. Sessions that are over are forgotten meanwhile.
    pub async fn begin(&self, user: &User, address: Option<IpAddr>, agent: &str) -> Result<String, StoreError> {
        let token = BASE64_URL_SAFE_NO_PAD.encode(random::<32>());
        let key = fingerprint(&token);
        let now = self.clock.now();
        let fields = Fields {
            username: user.username.clone(),
            epoch: user.epoch as i64,
            created_at: now.0,
            expires_at: now.plus(self.lifetime).0,
            address: address.map(|address| address.to_string()),
            agent: agent.chars().filter(|letter| !letter.is_control()).take(AGENT_MOST).collect(),
        };
        let session = WebSession::of(&key, &fields);
        let values = vec![("now", Value::from_t(now.0)), ("key", Value::from_t(key.clone())), ("fields", fields.into_value())];
        let text = "BEGIN; DELETE web_session WHERE expires_at < $now RETURN NONE; \
                    CREATE type::record('web_session', $key) CONTENT $fields RETURN NONE; COMMIT;";
        let _turn = self.turn.lock().await;
        self.database.query(text, values).await?;
        let mut known = self.known.write().expect("no holder panics");
        known.retain(|_, session| session.expires_at > now);
        known.insert(key, session);
        Ok(token)
    }

    /// The session of a token, as long as it lasts.
    pub fn find(&self, token: &str) -> Option<WebSession> {
        let known = self.known.read().expect("no holder panics");
        known.get(&fingerprint(token)).filter(|session| session.expires_at > self.clock.now()).cloned()
    }

    /// Those of a user, newest first.
    pub fn list(&self, username: &str) -> Vec<WebSession> {
        let now = self.clock.now();
        let known = self.known.read().expect("no holder panics");
        let mut of_user: Vec<WebSession> =
            known.values().filter(|session| session.username == username && session.expires_at > now).cloned().collect();
        of_user.sort_by_key(|session| std::cmp::Reverse(session.created_at));
        of_user
    }

    /// Those of a user that still let them in: a new password, for one, lets none of the old ones in.
    pub fn live(&self, user: &User) -> Vec<WebSession> {
        self.list(&user.username).into_iter().filter(|session| session.epoch == user.epoch).collect()
    }

    /// Ends the session of a token.
    pub async fn end(&self, token: &str) -> Result<(), StoreError> {
        self.end_keys(vec![fingerprint(token)]).await
    }

    /// Ends a user's session by its name; `false`: there is none.
    pub async fn end_named(&self, username: &str, name: &str) -> Result<bool, StoreError> {
        let keys: Vec<String> = {
            let known = self.known.read().expect("no holder panics");
            let named = known.iter().filter(|(_, session)| session.username == username && session.name == name);
            named.map(|(key, _)| key.clone()).collect()
        };
        let found = !keys.is_empty();
        self.end_keys(keys).await?;
        Ok(found)
    }

    async fn end_keys(&self, keys: Vec<String>) -> Result<(), StoreError> {
        let _turn = self.turn.lock().await;
        for key in keys {
            self.database.query("DELETE type::record('web_session', $key) RETURN NONE", vec![("key", Value::from_t(key.clone()))]).await?;
            self.known.write().expect("no holder panics").remove(&key);
        }
        Ok(())
    }
}

/// What a form or a script of a page sends along to show that it is one: made from the token, which another site never sees.
pub fn form_token(token: &str) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(digest(&SHA256, format!("form:{token}").as_bytes()))
}

impl WebSession {
    fn of(key: &str, fields: &Fields) -> WebSession {
        WebSession {
            name: key.chars().take(NAME_LENGTH).collect(),
            username: fields.username.clone(),
            epoch: fields.epoch as u64,
            created_at: Timestamp(fields.created_at),
            expires_at: Timestamp(fields.expires_at),
            address: fields.address.clone(),
            agent: fields.agent.clone(),
        }
    }
}

impl From<Row> for WebSession {
    fn from(row: Row) -> WebSession {
        let Row { key, username, epoch, created_at, expires_at, address, agent } = row;
        WebSession::of(&key, &Fields { username, epoch, created_at, expires_at, address, agent })
    }
}
