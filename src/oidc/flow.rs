//! What a browser keeps for us between two requests, sealed, so that it can neither read nor change it.

use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::store::secrets::Secrets;

/// From going to the provider to being back.
pub const WITHIN: Duration = Duration::from_secs(600);
/// Bytes of an address to go on to: all of it must fit into a cookie.
pub const LONGEST_NEXT: usize = 1_000;

/// One log-in that is under way.
#[derive(Serialize, Deserialize)]
pub struct Flow {
    /// Comes back with the browser.
    pub state: String,
    /// Comes back in the token.
    pub nonce: String,
    /// Shown to the provider with the code, and to nobody before (RFC 7636).
    pub verifier: String,
    /// Where to go on to.
    pub next: String,
    /// Where the provider sends the browser.
    pub redirect_uri: String,
    /// Who wants to be linked; `None`: someone logs in.
    pub user: Option<String>,
    /// Microseconds.
    pub until: i64,
}

/// Somebody the provider has vouched for a moment ago, to whom a user wants to be linked.
#[derive(Serialize, Deserialize)]
pub struct Vouched {
    pub issuer: String,
    pub subject: String,
    pub username: String,
    pub until: i64,
}

impl Flow {
    const PLACE: &str = "oidc flow";

    /// Of the verifier, as the provider is shown it first.
    pub fn challenge(&self) -> String {
        BASE64_URL_SAFE_NO_PAD.encode(digest(&SHA256, self.verifier.as_bytes()))
    }

    pub fn seal(&self, secrets: &Secrets) -> String {
        seal(secrets, Flow::PLACE, self)
    }

    pub fn open(secrets: &Secrets, sealed: &str) -> Option<Flow> {
        open(secrets, Flow::PLACE, sealed)
    }
}

impl Vouched {
    const PLACE: &str = "oidc identity";

    pub fn seal(&self, secrets: &Secrets) -> String {
        seal(secrets, Vouched::PLACE, self)
    }

    pub fn open(secrets: &Secrets, sealed: &str) -> Option<Vouched> {
        open(secrets, Vouched::PLACE, sealed)
    }
}

fn seal(secrets: &Secrets, place: &str, value: &impl Serialize) -> String {
    let clear = serde_json::to_vec(value).expect("texts and a number are always JSON");
    BASE64_URL_SAFE_NO_PAD.encode(secrets.seal(place, &clear))
}

fn open<T: DeserializeOwned>(secrets: &Secrets, place: &str, sealed: &str) -> Option<T> {
    let sealed = BASE64_URL_SAFE_NO_PAD.decode(sealed).ok()?;
    serde_json::from_slice(&secrets.unseal(place, &sealed).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_challenge_is_that_of_the_standard_and_a_flow_fits_into_a_cookie() {
        let secrets = Secrets::from_key(&[7; 32]);
        let flow = Flow {
            state: "s".repeat(43),
            nonce: "n".repeat(43),
            // RFC 7636, appendix B.
            verifier: "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk".to_owned(),
            next: "/".repeat(LONGEST_NEXT),
            redirect_uri: "https://hub.example/login/oidc/callback".to_owned(),
            user: Some("a".repeat(64)),
            until: i64::MAX,
        };
        assert_eq!(flow.challenge(), "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM");
        let sealed = flow.seal(&secrets);
        assert!(sealed.len() < 3_000, "{}", sealed.len());
        assert_eq!(Flow::open(&secrets, &sealed).expect("it is ours").nonce, flow.nonce);
        assert!(Vouched::open(&secrets, &sealed).is_none(), "one is not taken for the other");
        assert!(Flow::open(&Secrets::from_key(&[8; 32]), &sealed).is_none());
    }
}
