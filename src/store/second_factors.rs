//! Second factors: codes by time (RFC 6238: SHA-1, six digits, thirty seconds, as every authenticator takes it) and recovery
//! codes for when the authenticator is lost.
//!
//! **Invariants.** A secret is sealed in the store and in no log; a recovery code is kept as its SHA-256. A code is taken once:
//! the store knows of it before whoever gave it is let in. A factor belongs to the user it was made for, not to the name.

use std::collections::HashMap;
use std::sync::{Arc, RwLock};
use std::time::Duration;

use surrealdb::types::{Bytes, SurrealValue, Value};
use thiserror::Error;
use tokio::sync::Mutex;
use totp_rs::{Algorithm, TOTP};

use crate::clock::Clock;
use crate::model::time::Timestamp;
use crate::store::audit::{Audit, Change, corrupt};
use crate::store::connection::{Database, StoreError};
use crate::store::secrets::{Secrets, SecretsError, random};
use crate::store::services::Author;
use crate::store::sessions::fingerprint;
use crate::store::users::User;

const STEP_S: u64 = 30;
const DIGITS: usize = 6;
/// Clocks of people are wrong by up to one step.
const SKEW: u64 = 1;
/// 160 bits, as RFC 4226 recommends.
const SECRET_BYTES: usize = 20;
const RECOVERY_CODES: usize = 8;
/// A secret that was shown and never confirmed is forgotten.
const PENDING: Duration = Duration::from_secs(15 * 60);
const ISSUER: &str = "probemesh";

#[derive(Debug, Error)]
pub enum FactorError {
    #[error("the code is wrong, or was used before")]
    Wrong,
    #[error("there is no second factor to turn on; begin again")]
    NotBegun,
    #[error("the second factor is on already")]
    On,
    #[error("{username} has no second factor")]
    Off { username: String },
    #[error(transparent)]
    Secret(#[from] SecretsError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What an authenticator needs, to be shown to its owner alone.
#[derive(Clone)]
pub struct Shown {
    /// In base 32, as people type it.
    pub secret: String,
    /// As it stands in the picture.
    pub url: String,
}

/// A second factor that is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    pub since: Timestamp,
    pub recovery_left: usize,
}

pub struct SecondFactors {
    database: Arc<Database>,
    secrets: Arc<Secrets>,
    audit: Arc<Audit>,
    clock: Clock,
    known: RwLock<HashMap<String, Kept>>,
    /// Shown and not confirmed, by user name.
    pending: RwLock<HashMap<String, Pending>>,
    turn: Mutex<()>,
}

#[derive(Clone)]
struct Kept {
    owner_since: Timestamp,
    sealed: Vec<u8>,
    since: Timestamp,
    last_step: u64,
    recovery: Vec<String>,
}

struct Pending {
    owner_since: Timestamp,
    secret: Vec<u8>,
    until: Timestamp,
}

#[derive(SurrealValue)]
struct Fields {
    owner_since: i64,
    sealed: Bytes,
    since: i64,
    last_step: i64,
    recovery: Vec<String>,
}

#[derive(SurrealValue)]
struct Row {
    username: String,
    owner_since: i64,
    sealed: Bytes,
    since: i64,
    last_step: i64,
    recovery: Vec<String>,
}

impl SecondFactors {
    /// Reads all there are.
    pub async fn open(
        database: Arc<Database>,
        secrets: Arc<Secrets>,
        audit: Arc<Audit>,
        clock: Clock,
    ) -> Result<SecondFactors, StoreError> {
        let known = RwLock::new(read_all(&database).await?);
        Ok(SecondFactors { database, secrets, audit, clock, known, pending: RwLock::default(), turn: Mutex::new(()) })
    }

    /// Reads all again, as after a change whose outcome was not told.
    pub async fn refresh(&self) -> Result<(), StoreError> {
        let _turn = self.turn.lock().await;
        let found = read_all(&self.database).await?;
        *self.known.write().expect("no holder panics") = found;
        Ok(())
    }

    /// How it stands with a user; `None`: a password is enough.
    pub fn of(&self, user: &User) -> Option<Standing> {
        self.kept(user).map(|kept| Standing { since: kept.since, recovery_left: kept.recovery.len() })
    }

    /// A new secret for a user, or the one that was shown a moment ago; it counts when a code of it was given.
    pub fn begin(&self, user: &User) -> Result<Shown, FactorError> {
        if self.kept(user).is_some() {
            return Err(FactorError::On);
        }
        let now = self.clock.now();
        let mut pending = self.pending.write().expect("no holder panics");
        pending.retain(|_, pending| pending.until > now);
        let own = pending.entry(user.username.clone()).or_insert_with(|| Pending {
            owner_since: user.created_at,
            secret: random::<SECRET_BYTES>().to_vec(),
            until: now.plus(PENDING),
        });
        if own.owner_since != user.created_at {
            *own = Pending { owner_since: user.created_at, secret: random::<SECRET_BYTES>().to_vec(), until: now.plus(PENDING) };
        }
        Ok(shown(&user.username, &own.secret))
    }

    /// Turns it on, if the code is one of the secret that was shown; the recovery codes, to be shown once.
    pub async fn confirm(&self, user: &User, code: &str, author: &Author) -> Result<Vec<String>, FactorError> {
        let _turn = self.turn.lock().await;
        let now = self.clock.now();
        let secret = {
            let pending = self.pending.read().expect("no holder panics");
            let own = pending.get(&user.username).filter(|own| own.owner_since == user.created_at && own.until > now);
            own.map(|own| own.secret.clone()).ok_or(FactorError::NotBegun)?
        };
        let last_step = step_of(&secret, code, now, 0).ok_or(FactorError::Wrong)?;
        let codes: Vec<String> = (0..RECOVERY_CODES).map(|_| recovery_code()).collect();
        let kept = Kept {
            owner_since: user.created_at,
            sealed: self.secrets.seal(&place(&user.username), &secret),
            since: now,
            last_step,
            recovery: codes.iter().map(|code| recovery_print(&user.username, code)).collect(),
        };
        self.store(&user.username, kept, Some(&change(author, "second_factor.on", &user.username))).await?;
        self.pending.write().expect("no holder panics").remove(&user.username);
        Ok(codes)
    }

    /// Takes a code of the authenticator or a recovery code, each once.
    pub async fn take(&self, user: &User, code: &str, author: &Author) -> Result<(), FactorError> {
        let _turn = self.turn.lock().await;
        let mut kept = self.kept(user).ok_or_else(|| FactorError::Off { username: user.username.clone() })?;
        let secret = self.secrets.unseal(&place(&user.username), &kept.sealed)?;
        if let Some(step) = step_of(&secret, code, self.clock.now(), kept.last_step) {
            kept.last_step = step;
            return self.store(&user.username, kept, None).await;
        }
        let print = recovery_print(&user.username, &plain(code));
        let Some(place) = kept.recovery.iter().position(|other| *other == print) else { return Err(FactorError::Wrong) };
        kept.recovery.remove(place);
        self.store(&user.username, kept, Some(&change(author, "second_factor.recovery", &user.username))).await
    }

    /// Turns it off: a password is enough again.
    pub async fn turn_off(&self, username: &str, author: &Author) -> Result<(), FactorError> {
        let _turn = self.turn.lock().await;
        if !self.known.read().expect("no holder panics").contains_key(username) {
            return Err(FactorError::Off { username: username.to_owned() });
        }
        let statements = "DELETE type::record('second_factor', $username) RETURN NONE;";
        let values = vec![("username", Value::from_t(username.to_owned()))];
        self.audit.commit(statements, values, &change(author, "second_factor.off", username)).await?;
        self.known.write().expect("no holder panics").remove(username);
        Ok(())
    }

    /// `change`: for the audit log; a code that is taken is part of a log-in, which is in it.
    async fn store(&self, username: &str, kept: Kept, change: Option<&Change>) -> Result<(), FactorError> {
        let fields = Fields {
            owner_since: kept.owner_since.0,
            sealed: Bytes::from(kept.sealed.clone()),
            since: kept.since.0,
            last_step: kept.last_step as i64,
            recovery: kept.recovery.clone(),
        };
        let values = vec![("username", Value::from_t(username.to_owned())), ("fields", fields.into_value())];
        let text = "UPSERT type::record('second_factor', $username) CONTENT $fields RETURN NONE;";
        match change {
            Some(change) => self.audit.commit(text, values, change).await?,
            None => self.database.query(text, values).await?,
        };
        self.known.write().expect("no holder panics").insert(username.to_owned(), kept);
        Ok(())
    }

    fn kept(&self, user: &User) -> Option<Kept> {
        let known = self.known.read().expect("no holder panics");
        known.get(&user.username).filter(|kept| kept.owner_since == user.created_at).cloned()
    }
}

/// The step of time a code belongs to, if it is one of now and after `last`.
fn step_of(secret: &[u8], code: &str, now: Timestamp, last: u64) -> Option<u64> {
    let code: String = code.chars().filter(|letter| !letter.is_whitespace()).collect();
    let totp = totp(secret);
    let current = now.0.max(0) as u64 / 1_000_000 / STEP_S;
    let near = current.saturating_sub(SKEW)..=current + SKEW;
    near.filter(|step| *step > last).find(|step| totp.generate(step * STEP_S) == code)
}

fn totp(secret: &[u8]) -> TOTP {
    TOTP::new(Algorithm::SHA1, DIGITS, SKEW as u8, STEP_S, secret.to_vec()).expect("six digits and 160 bits are what it takes")
}

fn shown(username: &str, secret: &[u8]) -> Shown {
    let secret = totp(secret).get_secret_base32();
    let account: String = url::form_urlencoded::byte_serialize(username.as_bytes()).collect();
    let url = format!("otpauth://totp/{ISSUER}:{account}?secret={secret}&issuer={ISSUER}");
    Shown { secret, url }
}

/// 80 bits in four groups, of letters nobody takes for another.
fn recovery_code() -> String {
    const LETTERS: &[u8; 32] = b"abcdefghjkmnpqrstuvwxyz023456789";
    let letters: Vec<char> = random::<16>().iter().map(|byte| char::from(LETTERS[usize::from(byte % 32)])).collect();
    letters.chunks(4).map(|group| group.iter().collect::<String>()).collect::<Vec<_>>().join("-")
}

/// A recovery code as it was given out, whatever blanks, dashes and capitals it was typed with.
fn plain(code: &str) -> String {
    let letters: Vec<char> =
        code.chars().filter(|letter| letter.is_ascii_alphanumeric()).map(|letter| letter.to_ascii_lowercase()).collect();
    letters.chunks(4).map(|group| group.iter().collect::<String>()).collect::<Vec<_>>().join("-")
}

fn recovery_print(username: &str, code: &str) -> String {
    fingerprint(&format!("recovery:{username}:{code}"))
}

fn place(username: &str) -> String {
    format!("second_factor:{username}")
}

async fn read_all(database: &Database) -> Result<HashMap<String, Kept>, StoreError> {
    let mut answer = database.query("SELECT record::id(id) AS username, * OMIT id FROM second_factor", Vec::new()).await?;
    let rows: Vec<Row> = answer.take(0).map_err(|error| corrupt("second factor", &error))?;
    let kept = |row: Row| {
        let kept = Kept {
            owner_since: Timestamp(row.owner_since),
            sealed: row.sealed.to_vec(),
            since: Timestamp(row.since),
            last_step: row.last_step.max(0) as u64,
            recovery: row.recovery,
        };
        (row.username, kept)
    };
    Ok(rows.into_iter().map(kept).collect())
}

fn change(author: &Author, action: &'static str, username: &str) -> Change {
    Change { who: author.who.clone(), address: author.address, action, subject: format!("user:{username}"), fields: Vec::new() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_codes_are_those_of_the_standard() {
        // RFC 6238, appendix B: the secret of its SHA-1 rows, the last six of their eight digits.
        let secret = b"12345678901234567890";
        for (seconds, code) in [(59, "287082"), (1_111_111_109, "081804"), (1_234_567_890, "005924"), (2_000_000_000, "279037")] {
            assert_eq!(step_of(secret, code, Timestamp(seconds * 1_000_000), 0), Some(seconds as u64 / 30), "{seconds}");
        }
    }

    #[test]
    fn a_code_counts_a_step_early_and_late_and_not_twice() {
        let secret = b"12345678901234567890";
        let at = |seconds: i64| Timestamp(seconds * 1_000_000);
        let step = 1_111_111_109 / 30;
        for (seconds, taken) in [(-60, false), (-30, true), (0, true), (30, true), (60, false)] {
            assert_eq!(step_of(secret, "081 804", at(1_111_111_109 + seconds), 0).is_some(), taken, "{seconds}");
        }
        assert_eq!(step_of(secret, "081804", at(1_111_111_109), step), None);
        assert_eq!(step_of(secret, "", at(1_111_111_109), 0), None);
    }

    #[test]
    fn recovery_codes_are_read_as_people_type_them() {
        let code = recovery_code();
        assert_eq!(code.len(), 19);
        assert_eq!(plain(&format!(" {} ", code.to_uppercase().replace('-', " "))), code);
        assert_ne!(recovery_code(), code);
        assert_ne!(recovery_print("ada", &code), recovery_print("bob", &code));
    }
}
