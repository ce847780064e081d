//! Joining: how a machine without a certificate becomes a node of a region.
//!
//! It is spoken on the port of the mesh by whoever shows no certificate in the TLS handshake:
//!
//! ```text
//! node → hub   Hello: a nonce; which token, or the long-lived secret
//! hub → node   Nonce
//! node → hub   Proof: HMAC of the secret over role, both nonces and the exporter of this TLS session
//! hub → node   Proof: the same for the other role, and the hub's time
//! node → hub   Request: the names it wants and a certificate request
//! hub → node   Granted: certificate, authority, cookie;   or at any step  Refused: why
//! ```
//!
//! At that stage the node believes any server certificate, so somebody in the middle can end both sessions. But the
//! exporter (RFC 8446 §7.5) of the two differs, so that no proof made for one is good for the other, and both ends refuse.
//! The node proves first: the hub is the one anybody can dial, and it must not hand out proofs of a secret that a person
//! may have chosen. For the same reason that secret is stretched before it is used.
//!
//! **Invariants.** A nonce is sent before any proof is seen. Nothing but nonces and a token's id is sent before the
//! proofs; nothing is granted before both. What the other end says in a refusal is shown, never believed.

pub mod ensure;
pub mod frames;
pub mod node;
pub mod proof;

#[cfg(feature = "hub")]
pub mod desk;

use std::time::Duration;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::mesh::identity::IdentityError;
use crate::mesh::node_files::NodeFilesError;
use crate::model::time::Timestamp;

/// Why a hub refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Refusal {
    /// The token or the secret is not known here.
    Unknown,
    Used,
    Expired,
    /// The hub has no long-lived secret.
    NoSecret,
    /// A name cannot be one.
    Name,
    /// The token is for another region, or another node.
    Scope,
    /// A living node has the name.
    Taken,
    Revoked,
    /// The certificate request is no good one.
    Request,
    Version,
    Busy,
    /// The hub cannot do it now.
    Store,
}

impl Refusal {
    pub const ALL: [Refusal; 12] = [
        Refusal::Unknown,
        Refusal::Used,
        Refusal::Expired,
        Refusal::NoSecret,
        Refusal::Name,
        Refusal::Scope,
        Refusal::Taken,
        Refusal::Revoked,
        Refusal::Request,
        Refusal::Version,
        Refusal::Busy,
        Refusal::Store,
    ];

    /// For logs and counters.
    pub fn label(self) -> &'static str {
        match self {
            Refusal::Unknown => "unknown",
            Refusal::Used => "used",
            Refusal::Expired => "expired",
            Refusal::NoSecret => "no_secret",
            Refusal::Name => "name",
            Refusal::Scope => "scope",
            Refusal::Taken => "taken",
            Refusal::Revoked => "revoked",
            Refusal::Request => "request",
            Refusal::Version => "version",
            Refusal::Busy => "busy",
            Refusal::Store => "store",
        }
    }
}

/// Why a joining came to nothing, on either side.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum JoinError {
    #[error("hub {address} is not reachable: {message} (waited {:.1} s)", waited.as_secs_f64())]
    Unreachable { address: String, message: String, waited: Duration },
    #[error("{address} does not speak TLS 1.3 as a hub does: {message}")]
    Tls { address: String, message: String },
    #[error("the other end said nothing for {:.1} s", waited.as_secs_f64())]
    Silent { waited: Duration },
    #[error("the connection broke off: {message}")]
    Broken { message: String },
    #[error("the other end does not speak the joining protocol")]
    Garbage,
    #[error("the other end sent a frame of {bytes} bytes")]
    Oversized { bytes: usize },
    #[error("the other end speaks version {found} of the joining protocol")]
    Version { found: u8 },
    #[error("the other end does not know the secret of this join: it is not the hub the token is of, or somebody is in between")]
    Proof,
    #[error("the authority of the hub is not the one the token names")]
    Fingerprint,
    #[error("refused: {reason}")]
    Refused { refusal: Refusal, reason: String },
    #[error("clocks are too far apart: this machine says {here}, the hub {there}; set the wrong one")]
    Clock { here: Timestamp, there: Timestamp },
    #[error("join token expired at {at}; take a new one on the hub")]
    Expired { at: Timestamp },
    #[error("the hub granted what does not fit: {message}")]
    Grant { message: String },
    #[error(transparent)]
    Name(#[from] IdentityError),
    #[error(transparent)]
    Files(#[from] NodeFilesError),
}

impl JoinError {
    pub fn refused(refusal: Refusal, reason: impl Into<String>) -> JoinError {
        JoinError::Refused { refusal, reason: reason.into() }
    }

    /// For logs and counters.
    pub fn label(&self) -> &'static str {
        match self {
            JoinError::Unreachable { .. } => "unreachable",
            JoinError::Tls { .. } => "tls",
            JoinError::Silent { .. } => "silent",
            JoinError::Broken { .. } => "broken",
            JoinError::Garbage => "garbage",
            JoinError::Oversized { .. } => "oversized",
            JoinError::Version { .. } => "version",
            JoinError::Proof => "proof",
            JoinError::Fingerprint => "fingerprint",
            JoinError::Refused { refusal, .. } => refusal.label(),
            JoinError::Clock { .. } => "clock",
            JoinError::Expired { .. } => "expired",
            JoinError::Grant { .. } => "grant",
            JoinError::Name(_) => "name",
            JoinError::Files(_) => "files",
        }
    }
}
