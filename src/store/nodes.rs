//! The nodes that have joined, and the tokens others may join with.
//!
//! Both are few and asked about at each connection, so all of them are in memory as well.
//!
//! **Invariants.** A token is good for one node, whoever comes at the same time. A certificate is good only if the newest
//! join or renewal of its node made it, or the one before that renewal: whatever else the authority ever signed is not.

pub mod rows;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, RwLock};
use std::time::Duration;

use surrealdb::types::{SurrealValue, Value};
use thiserror::Error;
use tokio::sync::Mutex;

use crate::clock::Clock;
use crate::mesh::authority::IssuedCertificate;
use crate::mesh::identity::{Identity, hexadecimal};
use crate::mesh::token::TokenId;
use crate::model::id::{NodeName, RegionName};
use crate::model::time::Timestamp;
use crate::store::audit::{Audit, Change, corrupt};
use crate::store::connection::{Database, StoreError};
use crate::store::nodes::rows::{KeptToken, NamedNodeRow, NamedTokenRow, node_row};
use crate::store::secrets::{Secrets, SecretsError, random};
use crate::store::services::Author;

/// How long a token stays in the list once it is of no use.
const SHOWN_AFTER: Duration = Duration::from_secs(7 * 86_400);

#[derive(Debug, Error)]
pub enum NodesError {
    #[error("there is no join token {id:?}")]
    NoToken { id: String },
    #[error("join token {id} was used at {at} by {by}")]
    Used { id: String, at: Timestamp, by: String },
    #[error("join token {id} expired at {at}")]
    Expired { id: String, at: Timestamp },
    #[error("join token {id} is for {wanted}, not for {found}")]
    Scope { id: String, wanted: String, found: String },
    #[error("{name} is a living node of region {region}; {way_out}")]
    Taken { name: NodeName, region: RegionName, way_out: &'static str },
    #[error("node {name} was revoked at {at}; it takes a token to join again")]
    Revoked { name: NodeName, at: Timestamp },
    #[error("there is no node {name:?}")]
    NoNode { name: String },
    #[error(transparent)]
    Secret(#[from] SecretsError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A token as it is listed: without its secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenRecord {
    /// Lower-case hexadecimal.
    pub id: String,
    pub region: RegionName,
    pub node: Option<NodeName>,
    pub created_at: Timestamp,
    pub created_by: String,
    pub expires_at: Timestamp,
    pub used_at: Option<Timestamp>,
    pub used_by: Option<NodeName>,
}

/// A token with its secret.
pub struct OpenedToken {
    pub record: TokenRecord,
    /// Gone once it was used.
    pub secret: Option<[u8; 32]>,
}

/// A token just made.
pub struct NewToken {
    pub id: TokenId,
    pub secret: [u8; 32],
    pub expires_at: Timestamp,
}

/// A node that has joined.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeRecord {
    pub identity: Identity,
    /// Of the certificates that are good; the newest last.
    pub serials: Vec<String>,
    /// Of the newest certificate.
    pub not_after: Timestamp,
    pub joined_at: Timestamp,
    /// `token <id>` or `join secret`.
    pub joined_by: String,
    pub renewed_at: Option<Timestamp>,
    pub revoked_at: Option<Timestamp>,
    pub last_seen: Option<Timestamp>,
}

/// What a certificate is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    Good,
    /// The store knows no such node.
    Unknown,
    /// The node is known, but in another region.
    OtherRegion,
    Revoked,
    /// The node has joined anew or renewed since.
    Replaced,
}

/// What a node joins by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JoinedBy {
    Token(TokenId),
    Shared,
}

impl std::fmt::Display for JoinedBy {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            JoinedBy::Token(id) => write!(out, "token {}", hexadecimal(id)),
            JoinedBy::Shared => out.write_str("join secret"),
        }
    }
}

pub struct Nodes {
    audit: Arc<Audit>,
    database: Arc<Database>,
    secrets: Arc<Secrets>,
    clock: Clock,
    known: RwLock<Known>,
    turn: Mutex<()>,
}

#[derive(Default)]
struct Known {
    tokens: BTreeMap<String, KeptToken>,
    nodes: BTreeMap<NodeName, NodeRecord>,
    /// Nodes whose `last_seen` is not yet stored.
    seen: BTreeSet<NodeName>,
}

impl std::fmt::Debug for Nodes {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Nodes")
    }
}

impl Nodes {
    /// Reads all there are.
    pub async fn open(database: Arc<Database>, secrets: Arc<Secrets>, audit: Arc<Audit>, clock: Clock) -> Result<Nodes, StoreError> {
        let text = "SELECT *, record::id(id) AS name OMIT id FROM join_token; SELECT *, record::id(id) AS name OMIT id FROM node";
        let mut answer = database.query(text, Vec::new()).await?;
        let tokens: Vec<NamedTokenRow> = answer.take(0).map_err(|error| corrupt("join token", &error))?;
        let nodes: Vec<NamedNodeRow> = answer.take(1).map_err(|error| corrupt("node", &error))?;
        let known = Known {
            tokens: tokens.into_iter().map(|row| (row.name.clone(), KeptToken::from(row))).collect(),
            nodes: nodes.into_iter().map(NodeRecord::from).map(|record| (record.identity.node.clone(), record)).collect(),
            seen: BTreeSet::new(),
        };
        Ok(Nodes { audit, database, secrets, clock, known: RwLock::new(known), turn: Mutex::new(()) })
    }

    /// A new token for a region, and for one node of it if `node` says so. Drops those long of no use.
    pub async fn add_token(
        &self,
        region: &RegionName,
        node: Option<&NodeName>,
        lifetime: Duration,
        author: &Author,
    ) -> Result<NewToken, NodesError> {
        let now = self.clock.now();
        let new = NewToken { id: random(), secret: random(), expires_at: now.plus(lifetime) };
        let id = hexadecimal(&new.id);
        let record = TokenRecord {
            id: id.clone(),
            region: region.clone(),
            node: node.cloned(),
            created_at: now,
            created_by: author.who.clone(),
            expires_at: new.expires_at,
            used_at: None,
            used_by: None,
        };
        let kept = KeptToken { sealed: Some(self.secrets.seal(&place(&id), &new.secret)), record };
        let old = now.minus(SHOWN_AFTER);
        let values = vec![("id", Value::from_t(id.clone())), ("row", kept.row().into_value()), ("old", Value::from_t(old.0))];
        let statements = "DELETE join_token WHERE expires_at < $old RETURN NONE; \
                          CREATE type::record('join_token', $id) CONTENT $row RETURN NONE;";
        let _turn = self.turn.lock().await;
        self.audit.commit(statements, values, &change(&author.who, author.address, "join_token.create", &place(&id))).await?;
        let mut known = self.known.write().expect("no holder panics");
        known.tokens.retain(|_, kept| kept.record.expires_at >= old);
        known.tokens.insert(id, kept);
        Ok(new)
    }

    /// All tokens, the newest first.
    pub fn tokens(&self) -> Vec<TokenRecord> {
        let known = self.known.read().expect("no holder panics");
        let mut tokens: Vec<TokenRecord> = known.tokens.values().map(|kept| kept.record.clone()).collect();
        tokens.sort_by(|one, other| (other.created_at, &other.id).cmp(&(one.created_at, &one.id)));
        tokens
    }

    /// A token, to hold a proof against.
    pub fn token(&self, id: &TokenId) -> Result<Option<OpenedToken>, NodesError> {
        let id = hexadecimal(id);
        let Some(kept) = self.known.read().expect("no holder panics").tokens.get(&id).cloned() else { return Ok(None) };
        let Some(sealed) = kept.sealed else { return Ok(Some(OpenedToken { record: kept.record, secret: None })) };
        let clear = self.secrets.unseal(&place(&id), &sealed)?;
        Ok(Some(OpenedToken { record: kept.record, secret: clear.try_into().ok() }))
    }

    /// Ends a token, used or not.
    pub async fn revoke_token(&self, id: &str, author: &Author) -> Result<(), NodesError> {
        let _turn = self.turn.lock().await;
        if !self.known.read().expect("no holder panics").tokens.contains_key(id) {
            return Err(NodesError::NoToken { id: id.to_owned() });
        }
        let change = change(&author.who, author.address, "join_token.revoke", &place(id));
        let values = vec![("id", Value::from_t(id.to_owned()))];
        self.audit.commit("DELETE type::record('join_token', $id) RETURN NONE;", values, &change).await?;
        self.known.write().expect("no holder panics").tokens.remove(id);
        Ok(())
    }

    /// Takes a node in: its token is used up and its certificate the only good one. `living` says that a node of this name
    /// is connected. Tells whether a node of this name had joined before.
    pub async fn join(&self, by: JoinedBy, identity: &Identity, issued: &IssuedCertificate, living: bool) -> Result<bool, NodesError> {
        let _turn = self.turn.lock().await;
        let now = self.clock.now();
        let mut token = None;
        if let JoinedBy::Token(id) = by {
            let kept = self.known.read().expect("no holder panics").tokens.get(&hexadecimal(&id)).cloned();
            let mut kept = kept.ok_or_else(|| NodesError::NoToken { id: hexadecimal(&id) })?;
            usable(&kept.record, identity, now)?;
            kept.record.used_at = Some(now);
            kept.record.used_by = Some(identity.node.clone());
            kept.sealed = None;
            token = Some(kept);
        }
        let before = self.node(&identity.node);
        may_take_over(before.as_ref(), by, identity, living)?;
        let joined_by = token.as_ref().map_or_else(|| "join secret".to_owned(), |kept| format!("token {}", kept.record.id));
        let record = NodeRecord {
            identity: identity.clone(),
            serials: vec![issued.serial.clone()],
            not_after: issued.not_after,
            joined_at: now,
            joined_by: joined_by.clone(),
            renewed_at: None,
            revoked_at: None,
            last_seen: before.as_ref().and_then(|before| before.last_seen),
        };
        let mut values = vec![("name", Value::from_t(identity.node.to_string())), ("row", node_row(&record).into_value())];
        let mut statements = "UPSERT type::record('node', $name) CONTENT $row RETURN NONE;".to_owned();
        if let Some(kept) = &token {
            values.push(("ticket", Value::from_t(kept.record.id.clone())));
            values.push(("used", kept.row().into_value()));
            statements.push_str(" UPSERT type::record('join_token', $ticket) CONTENT $used RETURN NONE;");
        }
        self.audit.commit(&statements, values, &change(&joined_by, None, "node.join", &subject(&identity.node))).await?;
        let mut known = self.known.write().expect("no holder panics");
        known.nodes.insert(identity.node.clone(), record);
        if let Some(kept) = token {
            known.tokens.insert(kept.record.id.clone(), kept);
        }
        Ok(before.is_some())
    }

    /// A node has a new certificate, for which it showed the one with `serial`; that stays good until the next renewal, for
    /// the new one may not have arrived.
    pub async fn renew(&self, identity: &Identity, serial: &str, issued: &IssuedCertificate) -> Result<(), NodesError> {
        let _turn = self.turn.lock().await;
        let record = self.node(&identity.node).filter(|_| self.standing(identity, serial) == Standing::Good);
        let mut record = record.ok_or_else(|| NodesError::NoNode { name: identity.node.to_string() })?;
        record.serials = vec![serial.to_owned(), issued.serial.clone()];
        record.not_after = issued.not_after;
        record.renewed_at = Some(self.clock.now());
        self.update(record, &change(&identity.node.0, None, "node.renew", &subject(&identity.node))).await
    }

    /// No certificate of this node is good from now on.
    pub async fn revoke(&self, name: &str, author: &Author) -> Result<NodeRecord, NodesError> {
        let _turn = self.turn.lock().await;
        let mut record = self.node(&NodeName::from(name)).ok_or_else(|| NodesError::NoNode { name: name.to_owned() })?;
        if record.revoked_at.is_none() {
            record.revoked_at = Some(self.clock.now());
            self.update(record.clone(), &change(&author.who, author.address, "node.revoke", &subject(&record.identity.node))).await?;
        }
        Ok(record)
    }

    /// What a certificate with this identity and serial is worth. Asks nothing of the database.
    pub fn standing(&self, identity: &Identity, serial: &str) -> Standing {
        let known = self.known.read().expect("no holder panics");
        match known.nodes.get(&identity.node) {
            None => Standing::Unknown,
            Some(record) if record.revoked_at.is_some() => Standing::Revoked,
            Some(record) if record.identity.region != identity.region => Standing::OtherRegion,
            Some(record) if record.serials.iter().any(|good| good == serial) => Standing::Good,
            Some(_) => Standing::Replaced,
        }
    }

    /// Whether a certificate is worth nothing, for whatever reason.
    pub fn is_revoked(&self, identity: &Identity, serial: &str) -> bool {
        self.standing(identity, serial) != Standing::Good
    }

    /// By name.
    pub fn list(&self) -> Vec<NodeRecord> {
        self.known.read().expect("no holder panics").nodes.values().cloned().collect()
    }

    pub fn node(&self, name: &NodeName) -> Option<NodeRecord> {
        self.known.read().expect("no holder panics").nodes.get(name).cloned()
    }

    /// Notes that a node was heard of; `store_seen` writes it down.
    pub fn seen(&self, name: &NodeName, at: Timestamp) {
        let mut known = self.known.write().expect("no holder panics");
        let Some(record) = known.nodes.get_mut(name) else { return };
        record.last_seen = Some(at);
        known.seen.insert(name.clone());
    }

    /// Stores what `seen` noted since the last time.
    pub async fn store_seen(&self) -> Result<(), StoreError> {
        let _turn = self.turn.lock().await;
        let noted = std::mem::take(&mut self.known.write().expect("no holder panics").seen);
        for name in noted {
            let Some(at) = self.node(&name).and_then(|record| record.last_seen) else { continue };
            let values = vec![("name", Value::from_t(name.to_string())), ("at", Value::from_t(at.0))];
            let stored = self.database.query("UPDATE type::record('node', $name) SET last_seen = $at RETURN NONE", values).await;
            if let Err(error) = stored {
                self.known.write().expect("no holder panics").seen.insert(name);
                return Err(error);
            }
        }
        Ok(())
    }

    async fn update(&self, record: NodeRecord, change: &Change) -> Result<(), NodesError> {
        let name = record.identity.node.clone();
        let values = vec![("name", Value::from_t(name.to_string())), ("row", node_row(&record).into_value())];
        self.audit.commit("UPDATE type::record('node', $name) CONTENT $row RETURN NONE;", values, change).await?;
        self.known.write().expect("no holder panics").nodes.insert(name, record);
        Ok(())
    }
}

/// Whether a token is good for a node now.
pub fn usable(token: &TokenRecord, identity: &Identity, now: Timestamp) -> Result<(), NodesError> {
    let id = token.id.clone();
    if let (Some(at), by) = (token.used_at, &token.used_by) {
        return Err(NodesError::Used { id, at, by: by.as_ref().map_or_else(String::new, NodeName::to_string) });
    }
    if token.expires_at <= now {
        return Err(NodesError::Expired { id, at: token.expires_at });
    }
    if token.region != identity.region {
        return Err(NodesError::Scope { id, wanted: format!("region {}", token.region), found: format!("region {}", identity.region) });
    }
    match &token.node {
        Some(node) if *node != identity.node => {
            Err(NodesError::Scope { id, wanted: format!("node {node}"), found: format!("node {}", identity.node) })
        }
        _ => Ok(()),
    }
}

/// Who carries a token has a person's word that an earlier node of the name is to be replaced; who has the secret all share
/// has not, so it takes over from a dead one of its region alone.
fn may_take_over(before: Option<&NodeRecord>, by: JoinedBy, wanted: &Identity, living: bool) -> Result<(), NodesError> {
    let Some(before) = before else { return Ok(()) };
    let (name, region) = (before.identity.node.clone(), before.identity.region.clone());
    match (before.revoked_at, by) {
        (Some(at), JoinedBy::Shared) => Err(NodesError::Revoked { name, at }),
        (Some(_), JoinedBy::Token(_)) => Ok(()),
        (None, _) if region != wanted.region => {
            Err(NodesError::Taken { name, region, way_out: "take another name, or revoke that node first" })
        }
        (None, JoinedBy::Shared) if living => Err(NodesError::Taken { name, region, way_out: "give each node a name of its own" }),
        _ => Ok(()),
    }
}

fn place(id: &str) -> String {
    format!("join_token:{id}")
}

fn subject(node: &NodeName) -> String {
    format!("node:{node}")
}

fn change(who: &str, address: Option<std::net::IpAddr>, action: &'static str, subject: &str) -> Change {
    Change { who: who.to_owned(), address, action, subject: subject.to_owned(), fields: Vec::new() }
}
