//! Logging in by SCRAM-SHA-256 (RFC 5802, RFC 7677), the client's side: the password itself is never sent.
//!
//! Names and passwords are taken as they are: those that SASLprep would change (RFC 4013) are not known to be the same.

use std::num::NonZeroU32;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::hmac::{HMAC_SHA256, Key, sign};
use aws_lc_rs::pbkdf2;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;

/// More rounds than any server asks for; beyond, it is the server that wants to keep us busy.
const MOST_ROUNDS: u32 = 1_000_000;

pub struct Scram {
    first: String,
    nonce: String,
}

/// What proves the password to the server, and the server to us.
pub struct Proof {
    pub message: String,
    /// What the server must answer in `v=`.
    pub server: String,
}

impl Scram {
    /// `nonce` must be new for each log-in.
    pub fn new(user: &str, nonce: &str) -> Scram {
        let user = user.replace('=', "=3D").replace(',', "=2C");
        Scram { first: format!("n={user},r={nonce}"), nonce: nonce.to_owned() }
    }

    /// The client's first message.
    pub fn first(&self) -> String {
        format!("n,,{}", self.first)
    }

    /// The answer to the server's first message; `None`: that is no such message.
    pub fn prove(&self, password: &str, server_first: &str) -> Option<Proof> {
        let field = |name: &str| server_first.split(',').find_map(|part| part.strip_prefix(name)?.strip_prefix('='));
        let (nonce, salt) = (field("r")?, BASE64_STANDARD.decode(field("s")?).ok()?);
        let rounds = field("i")?.parse::<u32>().ok().filter(|rounds| *rounds <= MOST_ROUNDS).and_then(NonZeroU32::new)?;
        if !nonce.starts_with(&self.nonce) || nonce.len() == self.nonce.len() {
            return None;
        }
        let mut salted = [0; 32];
        pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, rounds, &salt, password.as_bytes(), &mut salted);
        let keyed = |key: &[u8], text: &str| sign(&Key::new(HMAC_SHA256, key), text.as_bytes());
        let client_key = keyed(&salted, "Client Key");
        let stored_key = digest(&SHA256, client_key.as_ref());
        let last = format!("c=biws,r={nonce}");
        let auth = format!("{},{server_first},{last}", self.first);
        let signature = keyed(stored_key.as_ref(), &auth);
        let proof: Vec<u8> = client_key.as_ref().iter().zip(signature.as_ref()).map(|(key, sign)| key ^ sign).collect();
        let server = keyed(keyed(&salted, "Server Key").as_ref(), &auth);
        Some(Proof { message: format!("{last},p={}", BASE64_STANDARD.encode(proof)), server: BASE64_STANDARD.encode(server.as_ref()) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_example_of_rfc_7677() {
        let scram = Scram::new("user", "rOprNGfwEbeRWgbNEkqO");
        assert_eq!(scram.first(), "n,,n=user,r=rOprNGfwEbeRWgbNEkqO");
        let server = "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
        let proof = scram.prove("pencil", server).unwrap();
        let expected = "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
        assert_eq!((proof.message.as_str(), proof.server.as_str()), (expected, "6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="));
    }

    #[test]
    fn a_server_that_makes_up_its_own_nonce_or_endless_work_gets_no_proof() {
        let scram = Scram::new("user", "abc");
        for wrong in ["r=xyz,s=AAAA,i=4096", "r=abc,s=AAAA,i=4096", "r=abcd,s=AAAA,i=0", "r=abcd,s=AAAA,i=2000000000", "e=other-error", ""]
        {
            assert!(scram.prove("secret", wrong).is_none(), "{wrong}");
        }
    }
}
