//! The hub's end: who comes without a certificate is let prove a secret, and gets one for the names the secret is good for.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio_rustls::server::TlsStream;

use crate::clock::Clock;
use crate::mesh::authority::{Authority, IssuedCertificate};
use crate::mesh::identity::Identity;
use crate::mesh::joining::frames::{CredentialName, FromHub, FromNode, read, write};
use crate::mesh::joining::proof::{EXPORTER_LABEL, JoinKey, Role, Session, nonce};
use crate::mesh::joining::{JoinError, Refusal};
use crate::model::id::NodeName;
use crate::store::nodes::{JoinedBy, Nodes, NodesError, OpenedToken, Standing, TokenRecord, usable};

/// For each frame of the other end.
pub const PATIENCE: Duration = Duration::from_secs(5);
/// More than these are refused at once.
const AT_ONCE: usize = 16;

/// All a hub needs to let nodes join.
pub struct JoinDesk {
    pub authority: Arc<Authority>,
    pub nodes: Arc<Nodes>,
    shared: Option<JoinKey>,
    /// Names that are the hub's own.
    reserved: Vec<NodeName>,
    links: Arc<dyn Links>,
    clock: Clock,
    patience: Duration,
    places: Semaphore,
    counts: Mutex<BTreeMap<&'static str, u64>>,
}

pub struct JoinDeskArgs {
    pub authority: Arc<Authority>,
    pub nodes: Arc<Nodes>,
    /// The long-lived secret, where there is one.
    pub join_secret: Option<String>,
    pub reserved: Vec<NodeName>,
    pub links: Arc<dyn Links>,
    pub clock: Clock,
    /// How long each frame may take; `PATIENCE` but for tests.
    pub patience: Duration,
}

/// The links there are, as far as joining must know them.
pub trait Links: Send + Sync {
    fn is_living(&self, node: &NodeName) -> bool;
    /// The node has joined anew: whoever is connected in its name is to be cut off.
    fn replaced(&self, node: &NodeName);
}

/// A node that was let in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Joined {
    pub identity: Identity,
    pub serial: String,
    pub by: JoinedBy,
    /// A node of this name had joined before.
    pub again: bool,
}

impl std::fmt::Debug for JoinDesk {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "JoinDesk({:?})", self.counts())
    }
}

impl JoinDesk {
    /// Stretches the secret, which takes some tens of milliseconds.
    pub fn new(args: JoinDeskArgs) -> JoinDesk {
        if args.join_secret.is_some() {
            tracing::warn!("a long-lived join secret is in use: whoever knows it can join nodes to this hub");
        }
        JoinDesk {
            authority: args.authority,
            nodes: args.nodes,
            shared: args.join_secret.as_deref().map(JoinKey::of_text),
            reserved: args.reserved,
            links: args.links,
            clock: args.clock,
            patience: args.patience,
            places: Semaphore::new(AT_ONCE),
            counts: Mutex::default(),
        }
    }

    /// How often joining ended how: `joined`, or the label of a `JoinError`.
    pub fn counts(&self) -> BTreeMap<&'static str, u64> {
        self.counts.lock().expect("no holder panics").clone()
    }

    /// A new certificate for a node, asked for over its own link with the certificate of `serial`.
    pub async fn renew(&self, identity: &Identity, serial: &str, csr_pem: &str) -> Result<IssuedCertificate, JoinError> {
        match self.nodes.standing(identity, serial) {
            Standing::Good => {}
            Standing::Revoked => return Err(JoinError::refused(Refusal::Revoked, format!("node {} was revoked", identity.node))),
            standing => return Err(JoinError::refused(Refusal::Unknown, format!("the certificate is no longer good: {standing:?}"))),
        }
        let issued = self.issue(identity, csr_pem)?;
        self.nodes.renew(identity, serial, &issued).await.map_err(refusal)?;
        tracing::info!(node = %identity.node, region = %identity.region, serial = issued.serial, until = %issued.not_after, "node certificate renewed");
        Ok(issued)
    }

    fn issue(&self, identity: &Identity, csr_pem: &str) -> Result<IssuedCertificate, JoinError> {
        let issued = self.authority.issue(csr_pem, identity, self.clock.now());
        issued.map_err(|error| JoinError::refused(Refusal::Request, error.to_string()))
    }

    fn count(&self, label: &'static str) {
        *self.counts.lock().expect("no holder panics").entry(label).or_insert(0) += 1;
    }

    async fn serve(&self, stream: &mut TlsStream<TcpStream>) -> Result<Joined, JoinError> {
        let _place = self.places.try_acquire().map_err(|_| JoinError::refused(Refusal::Busy, "too many join at once; try again"))?;
        let mut exporter = [0; 32];
        let exported = stream.get_ref().1.export_keying_material(&mut exporter, EXPORTER_LABEL, None);
        exported.map_err(|error| JoinError::Broken { message: error.to_string() })?;

        let FromNode::Hello { nonce: node, credential } = read(stream, self.patience).await? else { return Err(JoinError::Garbage) };
        let hub = nonce();
        write(stream, &FromHub::Nonce { nonce: hub }, self.patience).await?;
        let session = Session { node, hub, exporter };
        let FromNode::Proof { tag } = read(stream, self.patience).await? else { return Err(JoinError::Garbage) };
        let (by, token, key) = self.credential(credential)?;
        if !key.verify(Role::Node, &session, &tag) {
            return Err(JoinError::refused(Refusal::Unknown, "the token or secret is not one of this hub"));
        }
        let proof = FromHub::Proof { tag: key.prove(Role::Hub, &session), now: self.clock.now().0 };
        write(stream, &proof, self.patience).await?;

        let FromNode::Request { region, node, csr_pem } = read(stream, self.patience).await? else { return Err(JoinError::Garbage) };
        let identity = Identity::new(&region, &node).map_err(|error| JoinError::refused(Refusal::Name, error.to_string()))?;
        if self.reserved.contains(&identity.node) {
            return Err(JoinError::refused(Refusal::Taken, format!("{:?} is the hub's own node; take another name", identity.node.0)));
        }
        // Looked at again when it is used up; here so that nothing is signed in vain.
        if let Some(token) = &token {
            usable(token, &identity, self.clock.now()).map_err(refusal)?;
        }
        let issued = self.issue(&identity, &csr_pem)?;
        let again = self.nodes.join(by, &identity, &issued, self.links.is_living(&identity.node)).await.map_err(refusal)?;
        if again {
            self.links.replaced(&identity.node);
        }
        let joined = Joined { identity, serial: issued.serial, by, again };
        let authority_pem = self.authority.certificate_pem().to_owned();
        let granted = FromHub::Granted { certificate_pem: issued.pem, authority_pem, cookie: self.authority.cookie().to_owned() };
        write(stream, &granted, self.patience).await?;
        Ok(joined)
    }

    /// The key of a credential. One that is not known gets a key nobody has, and fails like a wrong proof.
    fn credential(&self, name: CredentialName) -> Result<(JoinedBy, Option<TokenRecord>, JoinKey), JoinError> {
        match name {
            CredentialName::Shared => match &self.shared {
                Some(key) => Ok((JoinedBy::Shared, None, key.clone())),
                None => Err(JoinError::refused(Refusal::NoSecret, "this hub has no join secret; take a token")),
            },
            CredentialName::Token(id) => match self.nodes.token(&id).map_err(refusal)? {
                Some(OpenedToken { record: token, secret: Some(secret) }) => {
                    Ok((JoinedBy::Token(id), Some(token), JoinKey::of_token(&secret)))
                }
                Some(OpenedToken { record: token, secret: None }) => {
                    let at = token.used_at.map_or_else(String::new, |at| format!(" at {at}"));
                    Err(JoinError::refused(Refusal::Used, format!("the token was used already{at}; take a new one")))
                }
                None => Ok((JoinedBy::Token(id), None, JoinKey::of_nobody())),
            },
        }
    }
}

/// Lets whoever is at the other end of a stream join, and closes it. One line in the log says how it ended.
pub async fn answer(mut stream: TlsStream<TcpStream>, desk: &JoinDesk) -> Result<Joined, JoinError> {
    let peer = stream.get_ref().0.peer_addr().ok();
    let result = desk.serve(&mut stream).await;
    match &result {
        Ok(_) => {}
        Err(JoinError::Refused { refusal, reason }) => say(&mut stream, *refusal, reason, desk.patience).await,
        Err(JoinError::Version { found }) => {
            let reason = format!("this hub speaks version 1 of the joining protocol, not {found}");
            say(&mut stream, Refusal::Version, &reason, desk.patience).await;
        }
        // Who does not speak the protocol is not spoken to.
        Err(_) => {}
    }
    let _ = tokio::time::timeout(desk.patience, stream.shutdown()).await;
    told(desk, peer, &result);
    result
}

async fn say(stream: &mut TlsStream<TcpStream>, refusal: Refusal, reason: &str, limit: Duration) {
    let _ = write(stream, &FromHub::Refused { refusal, reason: reason.to_owned() }, limit).await;
}

fn told(desk: &JoinDesk, peer: Option<SocketAddr>, result: &Result<Joined, JoinError>) {
    let peer = peer.map_or_else(String::new, |peer| peer.to_string());
    match result {
        Ok(joined) => {
            desk.count("joined");
            let (node, region) = (&joined.identity.node, &joined.identity.region);
            tracing::info!(peer, %node, %region, serial = joined.serial, by = %joined.by, again = joined.again, "node joined");
        }
        Err(error) => {
            desk.count(error.label());
            tracing::warn!(peer, reason = error.label(), "joining refused: {error}");
        }
    }
}

/// What a node is told of an error of the store.
fn refusal(error: NodesError) -> JoinError {
    let refusal = match &error {
        NodesError::NoToken { .. } | NodesError::NoNode { .. } => Refusal::Unknown,
        NodesError::Used { .. } => Refusal::Used,
        NodesError::Expired { .. } => Refusal::Expired,
        NodesError::Scope { .. } => Refusal::Scope,
        NodesError::Taken { .. } => Refusal::Taken,
        NodesError::Revoked { .. } => Refusal::Revoked,
        NodesError::Secret(_) | NodesError::Store(_) => {
            tracing::error!(error = %error, "store failed a join");
            return JoinError::refused(Refusal::Store, "the hub cannot store it now; try again");
        }
    };
    JoinError::refused(refusal, error.to_string())
}
