//! Refresh tokens: each is good for one use and is followed by the next of its family.
//!
//! **Invariants.** A token is kept only as its SHA-256. A token that comes a second time was stolen, from whom cannot be
//! known: its whole family ends.

use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use surrealdb::types::{SurrealValue, Value};
use thiserror::Error;
use tokio::sync::Mutex;

use crate::clock::Clock;
use crate::store::audit::corrupt;
use crate::store::connection::{Database, StoreError};
use crate::store::secrets::random;
use crate::store::users::User;

#[derive(Debug, Error)]
pub enum SessionsError {
    #[error("refresh token is not known, or no longer")]
    Unknown,
    #[error("refresh token has expired")]
    Expired,
    #[error("refresh token of {username} was used before; its session is ended")]
    Reused { username: String },
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A rotated token, and whose it is.
#[derive(Clone, Debug)]
pub struct Rotated {
    pub token: String,
    pub username: String,
    /// Of the user, when the family began.
    pub epoch: u64,
}

#[derive(Debug)]
pub struct Sessions {
    database: Arc<Database>,
    clock: Clock,
    lifetime: Duration,
    turn: Mutex<()>,
}

#[derive(Clone, SurrealValue)]
struct Row {
    username: String,
    epoch: i64,
    family: String,
    expires_at: i64,
    used: bool,
}

impl Sessions {
    pub fn new(database: Arc<Database>, clock: Clock, lifetime: Duration) -> Sessions {
        Sessions { database, clock, lifetime, turn: Mutex::new(()) }
    }

    /// Begins a family and gives its first token.
    pub async fn begin(&self, user: &User) -> Result<String, StoreError> {
        let token = BASE64_URL_SAFE_NO_PAD.encode(random::<32>());
        let row = Row {
            username: user.username.clone(),
            epoch: user.epoch as i64,
            family: BASE64_URL_SAFE_NO_PAD.encode(random::<16>()),
            expires_at: self.clock.now().plus(self.lifetime).0,
            used: false,
        };
        let values =
            vec![("now", Value::from_t(self.clock.now().0)), ("given", Value::from_t(fingerprint(&token))), ("row", row.into_value())];
        let text = "BEGIN; DELETE session WHERE expires_at < $now RETURN NONE; \
                    CREATE type::record('session', $given) CONTENT $row RETURN NONE; COMMIT;";
        let _turn = self.turn.lock().await;
        self.database.query(text, values).await?;
        Ok(token)
    }

    /// Takes a token and gives the one that follows it.
    pub async fn rotate(&self, token: &str) -> Result<Rotated, SessionsError> {
        let _turn = self.turn.lock().await;
        let row = self.row(token).await?.ok_or(SessionsError::Unknown)?;
        if row.used {
            self.end_family(&row.family).await?;
            return Err(SessionsError::Reused { username: row.username });
        }
        let now = self.clock.now();
        if row.expires_at <= now.0 {
            return Err(SessionsError::Expired);
        }
        let next = BASE64_URL_SAFE_NO_PAD.encode(random::<32>());
        let mut followed = row.clone();
        followed.expires_at = now.plus(self.lifetime).0;
        let values =
            vec![("given", Value::from_t(fingerprint(token))), ("next", Value::from_t(fingerprint(&next))), ("row", followed.into_value())];
        let text = "BEGIN; UPDATE type::record('session', $given) SET used = true RETURN NONE; \
                    CREATE type::record('session', $next) CONTENT $row RETURN NONE; COMMIT;";
        self.database.query(text, values).await?;
        Ok(Rotated { token: next, username: row.username, epoch: row.epoch as u64 })
    }

    /// Ends the family of a token; whose it was, if it was known.
    pub async fn end(&self, token: &str) -> Result<Option<String>, StoreError> {
        let _turn = self.turn.lock().await;
        let Some(row) = self.row(token).await? else { return Ok(None) };
        self.end_family(&row.family).await?;
        Ok(Some(row.username))
    }

    async fn row(&self, token: &str) -> Result<Option<Row>, StoreError> {
        let text = "SELECT * OMIT id FROM type::record('session', $given)";
        let mut answer = self.database.query(text, vec![("given", Value::from_t(fingerprint(token)))]).await?;
        let rows: Vec<Row> = answer.take(0).map_err(|error| corrupt("session", &error))?;
        Ok(rows.into_iter().next())
    }

    async fn end_family(&self, family: &str) -> Result<(), StoreError> {
        let text = "DELETE session WHERE family = $family RETURN NONE";
        self.database.query(text, vec![("family", Value::from_t(family.to_owned()))]).await.map(|_| ())
    }
}

pub(super) fn fingerprint(token: &str) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(digest(&SHA256, token.as_bytes()))
}
