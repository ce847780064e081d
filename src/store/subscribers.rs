//! Who asked to be told what the status page tells.
//!
//! All of them are also in memory. Changes take turns, reach the store first and memory after. What a link holds is not stored: it
//! is worked out again from the key of this installation whenever a message with the link is sent, and found by its SHA-256.
//!
//! **Invariants.** A number is never given twice. Of one address there is one row. An address and a secret lie in the store sealed
//! for their row, and nowhere else; a row that is removed leaves nothing of them. Of a mail address that left, its keyed hash is kept
//! for a while, by which nobody finds the address and nobody has it asked again.

mod rows;

use std::collections::HashMap;
use std::sync::{Arc, RwLock};
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use surrealdb::types::Value;
use thiserror::Error;

use crate::clock::Clock;
use crate::model::incident::IncidentId;
use crate::model::subscriber::{Choice, Pending, Subscriber, SubscriberId, SubscriberKind, SubscriberState};
use crate::model::time::Timestamp;
use crate::store::audit::{Audit, Change};
use crate::store::codec::hex;
use crate::store::connection::{Database, StoreError};
use crate::store::secrets::{Secrets, SecretsError};
use crate::store::services::Author;
use crate::store::sessions::fingerprint;
use crate::store::shelf::{Numbered, Shelf, next_number};
use crate::store::subscribers::rows::{data_of, place, read, sealed_of};
use crate::store::values::{array, bytes, int, object, record, record_named, rows as rows_of, text};

/// A mail address that left is not asked again within this.
const LEFT_ALONE: Duration = Duration::from_secs(86_400);
/// Bytes of the public name of an incident.
const PUBLIC_NAME: usize = 10;

#[derive(Debug, Error)]
pub enum SubscribersError {
    #[error("there are {most} subscribers, and no more are taken")]
    Full { most: usize },
    #[error(transparent)]
    Secret(#[from] SecretsError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

#[derive(Debug)]
pub struct Subscribers {
    database: Arc<Database>,
    secrets: Arc<Secrets>,
    audit: Arc<Audit>,
    clock: Clock,
    shelf: Shelf<Subscriber>,
    /// When mail addresses left, by what their rows were found by.
    left: RwLock<HashMap<String, Timestamp>>,
}

impl Numbered for Subscriber {
    fn number(&self) -> u32 {
        self.id.0
    }
}

/// A request as it is taken.
pub struct Request {
    pub kind: SubscriberKind,
    pub reach: String,
    pub secret: Option<String>,
    pub choice: Choice,
}

/// What became of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Taken {
    /// It is to be asked whether it is meant.
    Ask(Arc<Subscriber>),
    /// That was asked a moment ago, or is not to be asked: nothing is sent.
    Silent,
}

impl Subscribers {
    /// Reads all there are. Fails when an address cannot be opened: the key is not the one it was sealed with.
    pub async fn open(
        database: Arc<Database>,
        secrets: Arc<Secrets>,
        audit: Arc<Audit>,
        clock: Clock,
    ) -> Result<Subscribers, SubscribersError> {
        let known = read_all(&database, &secrets).await?;
        let left = RwLock::new(read_left(&database).await?);
        Ok(Subscribers { database, secrets, audit, clock, shelf: Shelf::new(known), left })
    }

    /// Reads all again, as after a change whose outcome was not told.
    pub async fn refresh(&self) -> Result<(), SubscribersError> {
        let _turn = self.shelf.turn().await;
        let (found, left) = (read_all(&self.database, &self.secrets).await?, read_left(&self.database).await?);
        self.shelf.renew(found);
        *self.left.write().expect("no holder panics") = left;
        Ok(())
    }

    /// By number.
    pub fn list(&self) -> Arc<Vec<Arc<Subscriber>>> {
        self.shelf.all()
    }

    pub fn get(&self, id: SubscriberId) -> Option<Arc<Subscriber>> {
        self.shelf.get(id.0)
    }

    pub fn any(&self) -> bool {
        !self.shelf.all().is_empty()
    }

    /// What an incident is called where anyone may read it: always the same, and nothing of what its own name holds.
    pub fn public_name(&self, incident: &IncidentId) -> String {
        hex(&self.secrets.mark("incident name", &incident.0)[..PUBLIC_NAME])
    }

    /// What confirms a request; `None`: none waits.
    pub fn confirm_token(&self, subscriber: &Subscriber) -> Option<String> {
        subscriber.pending.as_ref().map(|pending| self.token("confirm", subscriber.id, pending.asked_at))
    }

    /// What a webhook answers to show that it is one.
    pub fn challenge(&self, subscriber: &Subscriber) -> Option<String> {
        subscriber.pending.as_ref().map(|pending| self.token("challenge", subscriber.id, pending.asked_at))
    }

    /// What ends a subscription.
    pub fn leave_token(&self, subscriber: &Subscriber) -> String {
        self.token("leave", subscriber.id, subscriber.created_at)
    }

    /// Whose request a token confirms, if it waits and `since` was before it was asked for.
    pub fn confirmed_by(&self, token: &str, since: Timestamp) -> Option<Arc<Subscriber>> {
        let print = fingerprint(token);
        let waits = |one: &&Arc<Subscriber>| one.pending.as_ref().is_some_and(|pending| pending.print == print && pending.asked_at > since);
        self.shelf.all().iter().find(waits).cloned()
    }

    /// Whose subscription a token ends.
    pub fn left_by(&self, token: &str) -> Option<Arc<Subscriber>> {
        let print = fingerprint(token);
        self.shelf.all().iter().find(|one| one.leave_print == print).cloned()
    }

    /// Takes a request: a new subscriber, or another choice of one that is there. `again`: how long after so many times asked it is
    /// asked again. Where `most` are there, the oldest that is not confirmed makes way for a new one.
    pub async fn ask(&self, request: Request, most: usize, again: impl Fn(u32) -> Duration) -> Result<Taken, SubscribersError> {
        let _turn = self.shelf.turn().await;
        let (now, plain) = (self.clock.now(), plain(request.kind, &request.reach));
        let old = self.list().iter().find(|one| plain_of(one) == plain).cloned();
        if old.is_none() && self.left_at(&plain).is_some_and(|at| now.since(at) < LEFT_ALONE) {
            return Ok(Taken::Silent);
        }
        if old.is_none() && self.shelf.all().len() >= most {
            self.make_way(most).await?;
        }
        let active = |old: &Arc<Subscriber>| old.state() == SubscriberState::Active;
        // A program answers whoever asks, so it is not asked about a change: its secret would be another's.
        if old.as_ref().is_some_and(|old| old.kind == SubscriberKind::Webhook && active(old)) {
            return Ok(Taken::Silent);
        }
        let waited = old.as_ref().and_then(|old| old.pending.as_ref());
        if waited.is_some_and(|waited| now.since(waited.asked_at) < again(waited.asked)) {
            // Who asks twice is shown another secret, and that one counts.
            if let Some(old) = old.filter(|old| old.kind == SubscriberKind::Webhook) {
                self.write(Subscriber { secret: request.secret, ..(*old).clone() }, None).await?;
            }
            return Ok(Taken::Silent);
        }
        let asked = waited.map_or(0, |waited| waited.asked) + 1;
        let id = match &old {
            Some(old) => old.id,
            None => SubscriberId(next_number(&self.database, "status_subscriber").await?),
        };
        let print = fingerprint(&self.token("confirm", id, now));
        let pending = Some(Pending { choice: request.choice.clone(), asked_at: now, asked, print });
        let subscriber = match old {
            Some(old) => Subscriber { pending, secret: request.secret.or_else(|| old.secret.clone()), ..(*old).clone() },
            None => Subscriber {
                id,
                kind: request.kind,
                reach: request.reach,
                secret: request.secret,
                choice: request.choice,
                created_at: now,
                confirmed_at: None,
                suspended_at: None,
                failures: 0,
                last_error: None,
                pending,
                leave_print: fingerprint(&self.token("leave", id, now)),
            },
        };
        self.write(subscriber, None).await.map(Taken::Ask)
    }

    /// A request was meant: from now on they are told. `None`: it does not wait any more.
    pub async fn confirm(&self, id: SubscriberId, print: &str) -> Result<Option<Arc<Subscriber>>, SubscribersError> {
        let _turn = self.shelf.turn().await;
        let Some(old) = self.get(id) else { return Ok(None) };
        let Some(pending) = old.pending.clone().filter(|pending| pending.print == print) else { return Ok(None) };
        let confirmed_at = old.confirmed_at.filter(|_| old.suspended_at.is_none()).or(Some(self.clock.now()));
        let next = Subscriber {
            choice: pending.choice,
            confirmed_at,
            suspended_at: None,
            failures: 0,
            last_error: None,
            pending: None,
            ..(*old).clone()
        };
        self.write(next, Some(change(&visitor(), "subscriber.confirm", id))).await.map(Some)
    }

    /// Told again after they were suspended. `None`: there is none of this number that was.
    pub async fn resume(&self, id: SubscriberId, author: &Author) -> Result<Option<Arc<Subscriber>>, SubscribersError> {
        let _turn = self.shelf.turn().await;
        let Some(old) = self.get(id).filter(|old| old.state() == SubscriberState::Suspended) else { return Ok(None) };
        // What happened meanwhile is over: they are told what comes from now on.
        let confirmed_at = Some(self.clock.now());
        let next = Subscriber { suspended_at: None, failures: 0, last_error: None, confirmed_at, ..(*old).clone() };
        self.write(next, Some(change(author, "subscriber.resume", id))).await.map(Some)
    }

    /// A message got through: what failed before counts no longer.
    pub async fn reached(&self, id: SubscriberId) -> Result<(), SubscribersError> {
        if self.get(id).is_none_or(|one| one.failures == 0) {
            return Ok(());
        }
        let _turn = self.shelf.turn().await;
        let Some(old) = self.get(id) else { return Ok(()) };
        self.write(Subscriber { failures: 0, last_error: None, ..(*old).clone() }, None).await.map(|_| ())
    }

    /// A message was refused for good, or given up; with the `most`th in a row they are told nothing more. `true`: that was it.
    pub async fn refused(&self, id: SubscriberId, reason: &str, most: u32) -> Result<bool, SubscribersError> {
        let _turn = self.shelf.turn().await;
        let Some(old) = self.get(id).filter(|old| old.state() != SubscriberState::Suspended) else { return Ok(false) };
        let failures = old.failures + 1;
        let suspended_at = old.confirmed_at.filter(|_| failures >= most).map(|_| self.clock.now());
        let next = Subscriber { failures, last_error: Some(reason.to_owned()), suspended_at, ..(*old).clone() };
        let program = Author { who: "subscribers".to_owned(), address: None };
        let told = suspended_at.map(|_| change(&program, "subscriber.suspend", id));
        self.write(next, told).await?;
        Ok(suspended_at.is_some())
    }

    /// Forgets a subscriber. `author`: who did it, if not they themselves. `false`: there is none.
    pub async fn remove(&self, id: SubscriberId, author: Option<&Author>) -> Result<bool, SubscribersError> {
        let _turn = self.shelf.turn().await;
        let Some(found) = self.get(id) else { return Ok(false) };
        let mut values = vec![("id", record("status_subscriber", id.0.into()))];
        // Programs answer by themselves whoever asks them, and have nobody to be bothered.
        let left = author.is_none() && found.kind == SubscriberKind::Mail;
        if !left {
            let change =
                author.map_or_else(|| change(&visitor(), "subscriber.leave", id), |author| change(author, "subscriber.remove", id));
            self.audit.commit("DELETE $id RETURN NONE;", values, &change).await?;
            self.shelf.remove(id.0);
            return Ok(true);
        }
        let (lookup, now) = (self.lookup(&plain_of(&found)), self.clock.now());
        values.extend([("left", record_named("status_left", &lookup)), ("at", int(now.0))]);
        let statements = "DELETE $id RETURN NONE; UPSERT $left SET at = $at RETURN NONE;";
        self.audit.commit(statements, values, &change(&visitor(), "subscriber.leave", id)).await?;
        self.shelf.remove(id.0);
        self.left.write().expect("no holder panics").insert(lookup, now);
        Ok(true)
    }

    /// Lets go of requests nobody confirmed and that were last asked for before an instant; how many. Of who left long ago, too.
    pub async fn forget(&self, before: Timestamp) -> Result<usize, SubscribersError> {
        let _turn = self.shelf.turn().await;
        self.forget_left().await?;
        let old = |one: &Arc<Subscriber>| one.pending.as_ref().is_some_and(|pending| pending.asked_at <= before);
        let over: Vec<Arc<Subscriber>> = self.list().iter().filter(|one| old(one)).cloned().collect();
        for one in &over {
            if one.confirmed_at.is_some() {
                self.write(Subscriber { pending: None, ..(**one).clone() }, None).await?;
                continue;
            }
            self.drop_row(one.id).await?;
        }
        Ok(over.len())
    }

    /// The oldest request of somebody who never confirmed one is forgotten.
    async fn make_way(&self, most: usize) -> Result<(), SubscribersError> {
        let all = self.list();
        let unconfirmed = all.iter().filter(|one| one.confirmed_at.is_none());
        let asked_at = |one: &&Arc<Subscriber>| one.pending.as_ref().map_or(one.created_at, |pending| pending.asked_at);
        let oldest = unconfirmed.min_by_key(|one| (asked_at(one), one.id)).ok_or(SubscribersError::Full { most })?;
        self.drop_row(oldest.id).await
    }

    async fn drop_row(&self, id: SubscriberId) -> Result<(), SubscribersError> {
        self.database.query("DELETE $id RETURN NONE", vec![("id", record("status_subscriber", id.0.into()))]).await?;
        self.shelf.remove(id.0);
        Ok(())
    }

    fn left_at(&self, plain: &str) -> Option<Timestamp> {
        self.left.read().expect("no holder panics").get(&self.lookup(plain)).copied()
    }

    async fn forget_left(&self) -> Result<(), SubscribersError> {
        let now = self.clock.now();
        let over: Vec<String> = {
            let left = self.left.read().expect("no holder panics");
            left.iter().filter(|(_, at)| now.since(**at) >= LEFT_ALONE).map(|(lookup, _)| lookup.clone()).collect()
        };
        if over.is_empty() {
            return Ok(());
        }
        let ids = array(over.iter().map(|lookup| record_named("status_left", lookup)));
        self.database.query("DELETE $ids RETURN NONE", vec![("ids", ids)]).await?;
        self.left.write().expect("no holder panics").retain(|lookup, _| !over.contains(lookup));
        Ok(())
    }

    async fn write(&self, subscriber: Subscriber, change: Option<Change>) -> Result<Arc<Subscriber>, SubscribersError> {
        let row = object([
            ("kind", text(subscriber.kind.name())),
            ("lookup", text(&self.lookup(&plain_of(&subscriber)))),
            ("sealed", bytes(self.secrets.seal(&place(subscriber.id), &sealed_of(&subscriber)))),
            ("data", text(&data_of(&subscriber))),
        ]);
        let values: Vec<(&'static str, Value)> = vec![("id", record("status_subscriber", subscriber.id.0.into())), ("row", row)];
        let statement = "UPSERT $id CONTENT $row RETURN NONE;";
        match &change {
            Some(change) => self.audit.commit(statement, values, change).await?,
            None => self.database.query(statement, values).await?,
        };
        let subscriber = Arc::new(subscriber);
        self.shelf.put(subscriber.clone());
        Ok(subscriber)
    }

    /// What a row is found by without its address in the clear.
    fn lookup(&self, plain: &str) -> String {
        hex(&self.secrets.mark("subscriber lookup", plain))
    }

    fn token(&self, what: &str, id: SubscriberId, at: Timestamp) -> String {
        BASE64_URL_SAFE_NO_PAD.encode(self.secrets.mark("subscriber link", &format!("{what}:{id}:{}", at.0)))
    }
}

async fn read_all(database: &Database, secrets: &Secrets) -> Result<Vec<Arc<Subscriber>>, SubscribersError> {
    let mut answer = database.query("SELECT * FROM status_subscriber ORDER BY id", Vec::new()).await?;
    let mut known = Vec::new();
    for row in rows_of(&mut answer, 0)? {
        let id = SubscriberId(row.key_number()? as u32);
        let clear = secrets.unseal(&place(id), &row.bytes("sealed")?)?;
        known.push(Arc::new(read(id, row.text("kind")?, &clear, row.text("data")?)?));
    }
    Ok(known)
}

async fn read_left(database: &Database) -> Result<HashMap<String, Timestamp>, StoreError> {
    let mut answer = database.query("SELECT at, record::id(id) AS lookup FROM status_left", Vec::new()).await?;
    rows_of(&mut answer, 0)?.into_iter().map(|row| Ok((row.text("lookup")?.to_owned(), Timestamp(row.int("at")?)))).collect()
}

fn plain_of(subscriber: &Subscriber) -> String {
    plain(subscriber.kind, &subscriber.reach)
}

/// The same for what is the same: capitals make no other mail address.
fn plain(kind: SubscriberKind, reach: &str) -> String {
    match kind {
        SubscriberKind::Mail => format!("mailto:{}", reach.to_lowercase()),
        SubscriberKind::Webhook => reach.to_owned(),
    }
}

fn visitor() -> Author {
    Author { who: "visitor".to_owned(), address: None }
}

fn change(author: &Author, action: &'static str, id: SubscriberId) -> Change {
    Change { who: author.who.clone(), address: author.address, action, subject: place(id), fields: Vec::new() }
}
