//! The people who may use this installation, with their roles and password hashes (argon2id).
//!
//! **Invariants.** There is always an admin once there was one. A password is never kept, logged or compared in the clear;
//! asking for an unknown user takes as long as for a known one.

pub mod channels;
pub mod identities;

use std::collections::BTreeMap;
use std::sync::{Arc, RwLock};

use argon2::Argon2;
use argon2::password_hash::{PasswordHash, PasswordHasher, PasswordVerifier, SaltString};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use surrealdb::types::{SurrealValue, Value};
use thiserror::Error;
use tokio::sync::{Mutex, Semaphore};

use crate::clock::Clock;
use crate::model::id::ChannelId;
use crate::model::time::Timestamp;
use crate::store::audit::{Audit, Change, corrupt};
use crate::store::connection::{Database, StoreError};
use crate::store::secrets::random;
use crate::store::services::Author;
use crate::store::users::identities::Linked;

/// Hashing takes 19 MiB and a core for tens of milliseconds each.
const HASHES_AT_ONCE: usize = 2;
/// Letters of a name.
pub const NAME_MOST: usize = 64;
const PASSWORD_LEAST: usize = 8;
const PASSWORD_MOST: usize = 1024;
/// Stands where a hash would, and is the hash of nothing.
const NO_PASSWORD: &str = "!";

/// What a user may do; each role may all that those before it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    Viewer,
    Operator,
    Admin,
}

impl Role {
    pub const ALL: [Role; 3] = [Role::Viewer, Role::Operator, Role::Admin];

    pub fn name(self) -> &'static str {
        match self {
            Role::Viewer => "viewer",
            Role::Operator => "operator",
            Role::Admin => "admin",
        }
    }

    pub fn from_name(name: &str) -> Option<Role> {
        Role::ALL.into_iter().find(|role| role.name() == name)
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    pub username: String,
    pub role: Role,
    /// Tokens of an earlier epoch are worth nothing.
    pub epoch: u64,
    pub created_at: Timestamp,
    /// May not log in; nothing that was given to them before is worth anything meanwhile.
    pub disabled: bool,
}

#[derive(Debug, Error)]
pub enum UsersError {
    #[error("there is no user {username:?}")]
    Unknown { username: String },
    #[error("there is a user {username:?} already")]
    Taken { username: String },
    #[error("must be 1 to {NAME_MOST} letters, digits, dots, dashes, underscores or @, not dots alone")]
    BadName,
    #[error("must have {PASSWORD_LEAST} to {PASSWORD_MOST} bytes")]
    BadPassword,
    #[error("is not a password hash this version knows")]
    BadHash,
    #[error("{username:?} is the last admin")]
    LastAdmin { username: String },
    #[error("whoever this is at the identity provider is user {username:?} here already")]
    IdentityTaken { username: String },
    #[error("{username:?} is linked with the identity provider already; unlink that first")]
    Linked { username: String },
    #[error("{username:?} is not linked with an identity provider")]
    NotLinked { username: String },
    #[error("{username:?} has no password and could not log in any more; set one first")]
    NoPassword { username: String },
    #[error(transparent)]
    Store(#[from] StoreError),
}

#[derive(Debug)]
pub struct Users {
    database: Arc<Database>,
    audit: Arc<Audit>,
    clock: Clock,
    known: RwLock<BTreeMap<String, Kept>>,
    channels: RwLock<BTreeMap<String, ChannelId>>,
    identities: RwLock<BTreeMap<String, Linked>>,
    turn: Mutex<()>,
    hashing: Semaphore,
    /// What the password of an unknown user is held against.
    nobody: String,
}

#[derive(Clone)]
struct Kept {
    user: User,
    hash: String,
}

impl std::fmt::Debug for Kept {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.user.fmt(out)
    }
}

#[derive(SurrealValue)]
struct NewRow {
    password: String,
    role: String,
    epoch: i64,
    created_at: i64,
    disabled: Option<bool>,
}

#[derive(SurrealValue)]
struct Row {
    username: String,
    password: String,
    role: String,
    epoch: i64,
    created_at: i64,
    disabled: Option<bool>,
}

impl Users {
    /// Reads all there are.
    pub async fn open(database: Arc<Database>, audit: Arc<Audit>, clock: Clock) -> Result<Users, UsersError> {
        let known = read_all(&database).await?;
        let channels = channels::read_all(&database).await?;
        let identities = identities::read_all(&database).await?;
        let nobody = tokio::task::spawn_blocking(|| hash(&random_password())).await.expect("hashing does not panic");
        Ok(Users {
            database,
            audit,
            clock,
            known: RwLock::new(known),
            channels: RwLock::new(channels),
            identities: RwLock::new(identities),
            turn: Mutex::new(()),
            hashing: Semaphore::new(HASHES_AT_ONCE),
            nobody,
        })
    }

    /// Reads all again, as after a change whose outcome was not told.
    pub async fn refresh(&self) -> Result<(), UsersError> {
        let _turn = self.turn.lock().await;
        let (found, channels) = (read_all(&self.database).await?, channels::read_all(&self.database).await?);
        let identities = identities::read_all(&self.database).await?;
        *self.known.write().expect("no holder panics") = found;
        *self.identities.write().expect("no holder panics") = identities;
        *self.channels.write().expect("no holder panics") = channels;
        Ok(())
    }

    /// By name.
    pub fn list(&self) -> Vec<User> {
        self.known.read().expect("no holder panics").values().map(|kept| kept.user.clone()).collect()
    }

    pub fn get(&self, username: &str) -> Option<User> {
        self.known.read().expect("no holder panics").get(username).map(|kept| kept.user.clone())
    }

    /// On a first start, where there is no user yet, makes `admin`: with `password`, or with a random one that is given back.
    pub async fn ensure_admin(&self, password: Option<&str>) -> Result<Option<String>, UsersError> {
        if self.list().iter().any(|user| user.role == Role::Admin) {
            return Ok(None);
        }
        let author = Author { who: "first start".to_owned(), address: None };
        let made = password.is_none().then(random_password);
        let password = password.or(made.as_deref()).unwrap_or_default();
        if password.is_empty() {
            return Err(UsersError::BadPassword);
        }
        self.store_new("admin", password, Role::Admin, &author).await?;
        Ok(made)
    }

    pub async fn create(&self, username: &str, password: &str, role: Role, author: &Author) -> Result<User, UsersError> {
        check_name(username)?;
        check_password(password)?;
        self.store_new(username, password, role, author).await
    }

    /// A user as another hub has kept them, with what their password is checked against.
    pub async fn restore(
        &self,
        username: &str,
        password_hash: &str,
        role: Role,
        disabled: bool,
        author: &Author,
    ) -> Result<User, UsersError> {
        check_name(username)?;
        if password_hash != NO_PASSWORD && PasswordHash::new(password_hash).is_err() {
            return Err(UsersError::BadHash);
        }
        self.store_hashed(username, password_hash.to_owned(), role, disabled, author).await
    }

    /// What the password of a user is checked against, as a PHC string.
    pub fn password_hash(&self, username: &str) -> Option<String> {
        self.known.read().expect("no holder panics").get(username).map(|kept| kept.hash.clone())
    }

    /// All tokens of the user end with this.
    pub async fn set_password(&self, username: &str, password: &str, author: &Author) -> Result<User, UsersError> {
        check_password(password)?;
        let hash = self.hash(password).await;
        let _turn = self.turn.lock().await;
        let mut kept = self.kept(username)?;
        kept.hash = hash;
        self.update(kept, "password", author).await
    }

    /// All tokens of the user end with this, and their keys rest for as long as it holds.
    pub async fn set_disabled(&self, username: &str, disabled: bool, author: &Author) -> Result<User, UsersError> {
        let _turn = self.turn.lock().await;
        let mut kept = self.kept(username)?;
        if kept.user.disabled == disabled {
            return Ok(kept.user);
        }
        if disabled {
            self.not_the_last_admin(&kept.user)?;
        }
        kept.user.disabled = disabled;
        self.update(kept, "disabled", author).await
    }

    /// All tokens of the user end with this.
    pub async fn set_role(&self, username: &str, role: Role, author: &Author) -> Result<User, UsersError> {
        let _turn = self.turn.lock().await;
        let mut kept = self.kept(username)?;
        if kept.user.role == role {
            return Ok(kept.user);
        }
        self.not_the_last_admin(&kept.user)?;
        kept.user.role = role;
        self.update(kept, "role", author).await
    }

    /// The user may look and no more, and all their tokens end; the last admin stays one, and only their tokens end.
    pub async fn take_access(&self, username: &str, author: &Author) -> Result<User, UsersError> {
        let _turn = self.turn.lock().await;
        let mut kept = self.kept(username)?;
        if self.not_the_last_admin(&kept.user).is_ok() {
            kept.user.role = Role::Viewer;
        }
        self.update(kept, "access", author).await
    }

    pub async fn delete(&self, username: &str, author: &Author) -> Result<(), UsersError> {
        let _turn = self.turn.lock().await;
        let kept = self.kept(username)?;
        self.not_the_last_admin(&kept.user)?;
        let statements = "DELETE type::record('user', $username) RETURN NONE; DELETE session WHERE username = $username RETURN NONE; \
                          DELETE api_key WHERE owner = $username RETURN NONE; DELETE type::record('second_factor', $username) RETURN NONE; \
                          DELETE type::record('user_channel', $username) RETURN NONE; \
                          DELETE identity WHERE username = $username RETURN NONE;";
        let change = change(author, "user.delete", username, Vec::new());
        self.audit.commit(statements, vec![("username", Value::from_t(username.to_owned()))], &change).await?;
        self.known.write().expect("no holder panics").remove(username);
        self.channels.write().expect("no holder panics").remove(username);
        self.identities.write().expect("no holder panics").remove(username);
        Ok(())
    }

    /// The user, if the password is theirs and they may log in.
    pub async fn verify(&self, username: &str, password: &str) -> Option<User> {
        let kept = self.known.read().expect("no holder panics").get(username).cloned();
        let hash = kept.as_ref().map(|kept| kept.hash.clone()).filter(|hash| hash != NO_PASSWORD).unwrap_or_else(|| self.nobody.clone());
        let password = password.to_owned();
        let _permit = self.hashing.acquire().await.expect("the semaphore is never closed");
        let fits = tokio::task::spawn_blocking(move || {
            let Ok(parsed) = PasswordHash::new(&hash) else { return false };
            Argon2::default().verify_password(password.as_bytes(), &parsed).is_ok()
        });
        let fits = fits.await.expect("hashing does not panic");
        kept.map(|kept| kept.user).filter(|user| fits && !user.disabled)
    }

    async fn store_new(&self, username: &str, password: &str, role: Role, author: &Author) -> Result<User, UsersError> {
        let hash = self.hash(password).await;
        self.store_hashed(username, hash, role, false, author).await
    }

    async fn store_hashed(&self, username: &str, hash: String, role: Role, disabled: bool, author: &Author) -> Result<User, UsersError> {
        let _turn = self.turn.lock().await;
        if self.get(username).is_some() {
            return Err(UsersError::Taken { username: username.to_owned() });
        }
        let mut kept = self.new_user(username, role, hash);
        kept.user.disabled = disabled;
        let values = vec![("username", Value::from_t(username.to_owned())), ("row", row(&kept).into_value())];
        let change = change(author, "user.create", username, vec!["role".to_owned()]);
        self.audit.commit("CREATE type::record('user', $username) CONTENT $row RETURN NONE;", values, &change).await?;
        self.known.write().expect("no holder panics").insert(username.to_owned(), kept.clone());
        Ok(kept.user)
    }

    fn new_user(&self, username: &str, role: Role, hash: String) -> Kept {
        let now = self.clock.now();
        // Rises with time, so that a user made anew under an old name does not take the old one's tokens over.
        let epoch = now.0.max(0) as u64;
        Kept { user: User { username: username.to_owned(), role, epoch, created_at: now, disabled: false }, hash }
    }

    async fn update(&self, mut kept: Kept, field: &str, author: &Author) -> Result<User, UsersError> {
        kept.user.epoch = (kept.user.epoch + 1).max(self.clock.now().0.max(0) as u64);
        let username = kept.user.username.clone();
        let values = vec![("username", Value::from_t(username.clone())), ("row", row(&kept).into_value())];
        let change = change(author, "user.update", &username, vec![field.to_owned()]);
        let statements = "UPDATE type::record('user', $username) CONTENT $row RETURN NONE; \
                          DELETE session WHERE username = $username RETURN NONE;";
        self.audit.commit(statements, values, &change).await?;
        let user = kept.user.clone();
        self.known.write().expect("no holder panics").insert(username, kept);
        Ok(user)
    }

    fn kept(&self, username: &str) -> Result<Kept, UsersError> {
        let known = self.known.read().expect("no holder panics");
        known.get(username).cloned().ok_or_else(|| UsersError::Unknown { username: username.to_owned() })
    }

    fn not_the_last_admin(&self, user: &User) -> Result<(), UsersError> {
        let others = self.list().into_iter().any(|other| other.role == Role::Admin && !other.disabled && other.username != user.username);
        match user.role == Role::Admin && !user.disabled && !others {
            true => Err(UsersError::LastAdmin { username: user.username.clone() }),
            false => Ok(()),
        }
    }

    async fn hash(&self, password: &str) -> String {
        let password = password.to_owned();
        let _permit = self.hashing.acquire().await.expect("the semaphore is never closed");
        tokio::task::spawn_blocking(move || hash(&password)).await.expect("hashing does not panic")
    }
}

async fn read_all(database: &Database) -> Result<BTreeMap<String, Kept>, UsersError> {
    let mut answer = database.query("SELECT *, record::id(id) AS username OMIT id FROM user", Vec::new()).await?;
    let rows: Vec<Row> = answer.take(0).map_err(|error| corrupt("user", &error))?;
    let mut known = BTreeMap::new();
    for row in rows {
        let role = Role::from_name(&row.role);
        let role = role.ok_or_else(|| StoreError::Corrupt { what: "user", message: format!("{:?} is not a role", row.role) })?;
        let (epoch, created_at, disabled) = (row.epoch as u64, Timestamp(row.created_at), row.disabled == Some(true));
        let user = User { username: row.username.clone(), role, epoch, created_at, disabled };
        known.insert(row.username, Kept { user, hash: row.password });
    }
    Ok(known)
}

fn hash(password: &str) -> String {
    let salt = SaltString::encode_b64(&random::<16>()).expect("16 bytes are a salt");
    Argon2::default().hash_password(password.as_bytes(), &salt).expect("the default parameters are valid").to_string()
}

/// 120 bits as text.
fn random_password() -> String {
    BASE64_URL_SAFE_NO_PAD.encode(random::<15>())
}

fn row(kept: &Kept) -> NewRow {
    NewRow {
        password: kept.hash.clone(),
        role: kept.user.role.name().to_owned(),
        epoch: kept.user.epoch as i64,
        created_at: kept.user.created_at.0,
        disabled: Some(kept.user.disabled),
    }
}

/// Whether a name may hold it.
pub fn fits_name(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || matches!(letter, '.' | '-' | '_' | '@')
}

fn check_name(username: &str) -> Result<(), UsersError> {
    // A page of a user is found by its name, and dots alone lead elsewhere in an address.
    let dots = username.chars().all(|letter| letter == '.');
    match (1..=NAME_MOST).contains(&username.len()) && username.chars().all(fits_name) && !dots {
        true => Ok(()),
        false => Err(UsersError::BadName),
    }
}

/// Whether it may be a password.
pub fn fits_password(password: &str) -> bool {
    (PASSWORD_LEAST..=PASSWORD_MOST).contains(&password.len())
}

fn check_password(password: &str) -> Result<(), UsersError> {
    match fits_password(password) {
        true => Ok(()),
        false => Err(UsersError::BadPassword),
    }
}

fn change(author: &Author, action: &'static str, username: &str, fields: Vec<String>) -> Change {
    Change { who: author.who.clone(), address: author.address, action, subject: format!("user:{username}"), fields }
}
