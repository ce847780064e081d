//! Proofs that an end of a TLS session knows a secret, good for that session and that end alone.

use std::num::NonZeroU32;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::{hmac, pbkdf2};

pub type Nonce = [u8; 32];
pub type Tag = [u8; 32];

const LABEL: &[u8] = b"probemesh join 1";
/// Registered with no one, as RFC 8446 has it for labels of private use.
pub const EXPORTER_LABEL: &[u8] = b"EXPORTER-probemesh-join";
/// A secret of 16 letters is not worth guessing at this many hashes a try.
const ROUNDS: NonZeroU32 = NonZeroU32::new(100_000).expect("it is not zero");

/// A secret ready for use.
#[derive(Clone)]
pub struct JoinKey(hmac::Key);

impl std::fmt::Debug for JoinKey {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("JoinKey")
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    Node,
    Hub,
}

/// What a proof is bound to.
#[derive(Clone, Copy, Debug)]
pub struct Session {
    pub node: Nonce,
    pub hub: Nonce,
    pub exporter: [u8; 32],
}

impl JoinKey {
    /// Of a token.
    pub fn of_token(secret: &[u8; 32]) -> JoinKey {
        JoinKey(hmac::Key::new(hmac::HMAC_SHA256, secret))
    }

    /// Of a secret a person may have chosen: stretched by PBKDF2, which takes some tens of milliseconds.
    pub fn of_text(secret: &str) -> JoinKey {
        let mut key = [0; 32];
        pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, ROUNDS, b"probemesh join secret 1", secret.as_bytes(), &mut key);
        JoinKey::of_token(&key)
    }

    /// One nobody knows: what a wrong token is held against.
    pub fn of_nobody() -> JoinKey {
        JoinKey::of_token(&nonce())
    }

    pub fn prove(&self, role: Role, session: &Session) -> Tag {
        hmac::sign(&self.0, &message(role, session)).as_ref().try_into().expect("HMAC-SHA256 has 32 bytes")
    }

    /// Takes as long for a wrong proof as for a right one.
    pub fn verify(&self, role: Role, session: &Session, tag: &Tag) -> bool {
        hmac::verify(&self.0, &message(role, session), tag).is_ok()
    }
}

pub fn nonce() -> Nonce {
    let mut nonce = [0; 32];
    aws_lc_rs::rand::fill(&mut nonce).expect("the system's random source works");
    nonce
}

/// Every part has a fixed length, so no two sessions give the same bytes.
fn message(role: Role, session: &Session) -> Vec<u8> {
    let role: &[u8] = match role {
        Role::Node => b"node",
        Role::Hub => b"hub.",
    };
    let label = digest(&SHA256, LABEL);
    [label.as_ref(), role, &session.node, &session.hub, &session.exporter].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proof_is_good_for_its_own_end_session_and_secret_alone() {
        let session = Session { node: [1; 32], hub: [2; 32], exporter: [3; 32] };
        let key = JoinKey::of_token(&[7; 32]);
        let tag = key.prove(Role::Node, &session);
        assert!(key.verify(Role::Node, &session, &tag));
        assert!(!key.verify(Role::Hub, &session, &tag), "it cannot be sent back to whom it came from");
        assert!(!JoinKey::of_token(&[8; 32]).verify(Role::Node, &session, &tag));
        for other in [
            Session { node: [9; 32], ..session },
            Session { hub: [9; 32], ..session },
            Session { exporter: [9; 32], ..session },
            Session { node: session.hub, hub: session.node, ..session },
        ] {
            assert!(!key.verify(Role::Node, &other, &tag), "{other:?}");
        }
        let text = JoinKey::of_text("a long secret of the fleet");
        assert!(JoinKey::of_text("a long secret of the fleet").verify(Role::Hub, &session, &text.prove(Role::Hub, &session)));
        assert!(!JoinKey::of_text("A long secret of the fleet").verify(Role::Hub, &session, &text.prove(Role::Hub, &session)));
    }
}
