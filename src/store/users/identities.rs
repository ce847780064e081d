//! Who a user is at an identity provider: the provider's own name and the person's there, never a name or a mail address, which
//! others may be given later.
//!
//! **Invariants.** An identity is one user's, and a user has one at most. A user whom a provider's word made has no password, until
//! an admin gives them one; nobody is left without either.

use std::collections::BTreeMap;

use surrealdb::types::{SurrealValue, Value};

use crate::model::time::Timestamp;
use crate::store::connection::{Database, StoreError};
use crate::store::services::Author;
use crate::store::users::{NO_PASSWORD, Role, User, Users, UsersError, change, check_name, row};
use crate::store::values::{int, object, record_of, rows, text};

/// Parts of the program go by these names in the audit log.
const RESERVED: [&str; 7] = ["command", "hub", "local", "probemesh", "seed", "subscribers", "visitor"];

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    pub issuer: String,
    pub subject: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Linked {
    pub identity: Identity,
    pub since: Timestamp,
}

impl Identity {
    fn record(&self) -> Value {
        record_of("identity", vec![text(&self.issuer), text(&self.subject)])
    }
}

pub(super) async fn read_all(database: &Database) -> Result<BTreeMap<String, Linked>, StoreError> {
    let statement = "SELECT username, linked_at, record::id(id)[0] AS issuer, record::id(id)[1] AS subject FROM identity";
    let mut answer = database.query(statement, Vec::new()).await?;
    let linked = |row: crate::store::values::Row| {
        let identity = Identity { issuer: row.text("issuer")?.to_owned(), subject: row.text("subject")?.to_owned() };
        Ok((row.text("username")?.to_owned(), Linked { identity, since: Timestamp(row.int("linked_at")?) }))
    };
    rows(&mut answer, 0)?.into_iter().map(linked).collect()
}

impl Users {
    /// Who a user is at the provider.
    pub fn identity(&self, username: &str) -> Option<Linked> {
        self.identities.read().expect("no holder panics").get(username).cloned()
    }

    /// The user somebody is.
    pub fn of_identity(&self, identity: &Identity) -> Option<User> {
        let username = {
            let identities = self.identities.read().expect("no holder panics");
            identities.iter().find(|(_, linked)| linked.identity == *identity).map(|(username, _)| username.clone())?
        };
        self.get(&username)
    }

    /// Whether they can log in without a provider.
    pub fn has_password(&self, username: &str) -> bool {
        self.known.read().expect("no holder panics").get(username).is_some_and(|kept| kept.hash != NO_PASSWORD)
    }

    /// A user who has no password and logs in by their provider alone.
    pub async fn create_linked(&self, username: &str, role: Role, identity: &Identity, author: &Author) -> Result<User, UsersError> {
        check_name(username)?;
        if RESERVED.iter().any(|name| name.eq_ignore_ascii_case(username)) {
            return Err(UsersError::BadName);
        }
        let _turn = self.turn.lock().await;
        // Nobody chooses here who would see that two names are nearly the same.
        if let Some(other) = self.list().into_iter().find(|other| other.username.eq_ignore_ascii_case(username)) {
            return Err(UsersError::Taken { username: other.username });
        }
        self.not_taken(identity)?;
        let kept = self.new_user(username, role, NO_PASSWORD.to_owned());
        let linked = Linked { identity: identity.clone(), since: kept.user.created_at };
        let values = vec![
            ("username", text(username)),
            ("row", row(&kept).into_value()),
            ("identity", identity.record()),
            ("linked", linked_row(username, &linked)),
        ];
        let statements = "CREATE type::record('user', $username) CONTENT $row RETURN NONE; CREATE $identity CONTENT $linked RETURN NONE;";
        let fields = vec!["role".to_owned(), "identity".to_owned()];
        self.audit.commit(statements, values, &change(author, "user.create", username, fields)).await?;
        self.known.write().expect("no holder panics").insert(username.to_owned(), kept.clone());
        self.identities.write().expect("no holder panics").insert(username.to_owned(), linked);
        Ok(kept.user)
    }

    /// From now on the user also logs in by their provider.
    pub async fn link(&self, username: &str, identity: &Identity, author: &Author) -> Result<(), UsersError> {
        let _turn = self.turn.lock().await;
        self.kept(username)?;
        match self.identity(username) {
            Some(linked) if linked.identity == *identity => return Ok(()),
            Some(_) => return Err(UsersError::Linked { username: username.to_owned() }),
            None => self.not_taken(identity)?,
        }
        let linked = Linked { identity: identity.clone(), since: self.clock.now() };
        let values = vec![("identity", identity.record()), ("linked", linked_row(username, &linked))];
        let change = change(author, "user.update", username, vec!["identity".to_owned()]);
        self.audit.commit("CREATE $identity CONTENT $linked RETURN NONE;", values, &change).await?;
        self.identities.write().expect("no holder panics").insert(username.to_owned(), linked);
        Ok(())
    }

    /// The user logs in by their password alone again. Those who have none are only taken apart from their provider where `anyway`
    /// says so.
    pub async fn unlink(&self, username: &str, anyway: bool, author: &Author) -> Result<(), UsersError> {
        let _turn = self.turn.lock().await;
        self.kept(username)?;
        let Some(linked) = self.identity(username) else { return Err(UsersError::NotLinked { username: username.to_owned() }) };
        if !anyway && !self.has_password(username) {
            return Err(UsersError::NoPassword { username: username.to_owned() });
        }
        let change = change(author, "user.update", username, vec!["identity".to_owned()]);
        self.audit.commit("DELETE $identity RETURN NONE;", vec![("identity", linked.identity.record())], &change).await?;
        self.identities.write().expect("no holder panics").remove(username);
        Ok(())
    }

    fn not_taken(&self, identity: &Identity) -> Result<(), UsersError> {
        match self.of_identity(identity) {
            Some(user) => Err(UsersError::IdentityTaken { username: user.username }),
            None => Ok(()),
        }
    }
}

fn linked_row(username: &str, linked: &Linked) -> Value {
    object([("username", text(username)), ("linked_at", int(linked.since.0))])
}
