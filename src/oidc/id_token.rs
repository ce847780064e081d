//! Is an ID token what it says it is? The checks of OpenID Connect Core 1.0, §3.1.3.7.
//!
//! **Invariant.** A token counts by a signature only the provider can make: never unsigned, never by a secret that others know too.

use std::time::Duration;

use jsonwebtoken::jwk::{Jwk, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey, Header, Validation, decode, decode_header};
use serde_json::{Map, Value};
use thiserror::Error;

use crate::model::time::Timestamp;

/// Made with a private key, each of them.
const ALGORITHMS: [Algorithm; 9] = [
    Algorithm::RS256,
    Algorithm::RS384,
    Algorithm::RS512,
    Algorithm::PS256,
    Algorithm::PS384,
    Algorithm::PS512,
    Algorithm::ES256,
    Algorithm::ES384,
    Algorithm::EdDSA,
];
/// Bytes, by the standard.
const LONGEST_SUBJECT: usize = 255;

/// What a token must say.
#[derive(Clone, Copy, Debug)]
pub struct Expected<'a> {
    pub issuer: &'a str,
    pub client_id: &'a str,
    pub nonce: &'a str,
    pub now: Timestamp,
    /// How far the two clocks may be apart.
    pub leeway: Duration,
}

#[derive(Debug, Error, PartialEq, Eq)]
pub enum Wrong {
    #[error("the ID token is not one: {0}")]
    Form(String),
    #[error("the ID token is signed by {0:?}, which others can do as well")]
    Algorithm(Algorithm),
    #[error("the ID token is signed by a key that is not among the provider's")]
    Key,
    #[error("the signature of the ID token is wrong")]
    Signature,
    #[error("the ID token is of issuer {0:?}")]
    Issuer(String),
    #[error("the ID token is for somebody else")]
    Audience,
    #[error("the ID token has expired")]
    Expired,
    #[error("the ID token is of the future; one of the two clocks is wrong")]
    Future,
    #[error("the ID token is of another log-in")]
    Nonce,
    #[error("the ID token has no {0}")]
    Lacks(&'static str),
}

impl Wrong {
    /// Whether keys that were changed meanwhile would explain it.
    pub fn may_be_a_new_key(&self) -> bool {
        matches!(self, Wrong::Key | Wrong::Signature)
    }
}

/// The claims of a token, if all of it holds.
pub fn verify(token: &str, keys: &[Jwk], expected: &Expected<'_>) -> Result<Map<String, Value>, Wrong> {
    let header = decode_header(token).map_err(|error| Wrong::Form(error.to_string()))?;
    if !ALGORITHMS.contains(&header.alg) {
        return Err(Wrong::Algorithm(header.alg));
    }
    let claims = signed(token, &header, keys)?;
    check(&claims, expected)?;
    Ok(claims)
}

fn signed(token: &str, header: &Header, keys: &[Jwk]) -> Result<Map<String, Value>, Wrong> {
    let mut validation = Validation::new(header.alg);
    // The library would ask the system for the time; `check` does all of it.
    validation.validate_exp = false;
    validation.validate_aud = false;
    validation.required_spec_claims.clear();
    let mut wrong = Wrong::Key;
    for key in keys.iter().filter(|key| fits(key, header)) {
        let Ok(key) = DecodingKey::from_jwk(key) else { continue };
        match decode::<Map<String, Value>>(token, &key, &validation) {
            Ok(data) => return Ok(data.claims),
            Err(_) => wrong = Wrong::Signature,
        }
    }
    Err(wrong)
}

/// Whether a key may have signed it: by its name, where both have one, and by what it is for.
fn fits(key: &Jwk, header: &Header) -> bool {
    let common = &key.common;
    let named = header.kid.is_none() || common.key_id.is_none() || common.key_id == header.kid;
    let signs = common.public_key_use.as_ref().is_none_or(|of| *of == PublicKeyUse::Signature);
    named && signs && common.key_algorithm.is_none_or(|algorithm| algorithm.to_string() == format!("{:?}", header.alg))
}

fn check(claims: &Map<String, Value>, expected: &Expected<'_>) -> Result<(), Wrong> {
    let text = |name: &'static str| claims.get(name).and_then(Value::as_str);
    let issuer = text("iss").ok_or(Wrong::Lacks("iss"))?;
    if issuer != expected.issuer {
        return Err(Wrong::Issuer(issuer.to_owned()));
    }
    audience(claims, expected.client_id)?;
    let seconds = |name: &'static str| claims.get(name).and_then(Value::as_f64);
    let now = expected.now.0 as f64 / 1e6;
    let leeway = expected.leeway.as_secs_f64();
    if seconds("exp").ok_or(Wrong::Lacks("exp"))? + leeway <= now {
        return Err(Wrong::Expired);
    }
    let issued = seconds("iat").ok_or(Wrong::Lacks("iat"))?;
    if issued > now + leeway || seconds("nbf").is_some_and(|from| from > now + leeway) {
        return Err(Wrong::Future);
    }
    if text("nonce").ok_or(Wrong::Lacks("nonce"))? != expected.nonce {
        return Err(Wrong::Nonce);
    }
    match text("sub") {
        Some(subject) if !subject.is_empty() && subject.len() <= LONGEST_SUBJECT => Ok(()),
        _ => Err(Wrong::Lacks("sub")),
    }
}

/// The token is for this client; one that is for others too must have been asked for by this one.
fn audience(claims: &Map<String, Value>, client_id: &str) -> Result<(), Wrong> {
    let audience: Vec<&str> = match claims.get("aud") {
        Some(Value::String(one)) => vec![one],
        Some(Value::Array(several)) => several.iter().filter_map(Value::as_str).collect(),
        _ => return Err(Wrong::Lacks("aud")),
    };
    let party = claims.get("azp").map(|party| party.as_str().unwrap_or_default());
    let asked_by_us = party.is_none_or(|party| party == client_id) && (audience.len() == 1 || party.is_some());
    if audience.contains(&client_id) && asked_by_us { Ok(()) } else { Err(Wrong::Audience) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn claims(change: Value) -> Map<String, Value> {
        let mut claims = json!({"iss": "https://login.example", "aud": "hub", "sub": "7", "exp": 1_000, "iat": 700, "nonce": "n"});
        for (name, value) in change.as_object().expect("changes") {
            claims[name] = value.clone();
        }
        claims.as_object_mut().expect("claims").retain(|_, value| !value.is_null());
        serde_json::from_value(claims).expect("claims")
    }

    #[test]
    fn each_claim_is_held_against_what_was_asked_for() {
        let expected = Expected {
            issuer: "https://login.example",
            client_id: "hub",
            nonce: "n",
            now: Timestamp(900_000_000),
            leeway: Duration::from_secs(60),
        };
        let good = [
            json!({}),
            json!({"aud": ["hub"]}),
            json!({"aud": ["hub", "shop"], "azp": "hub"}),
            json!({"azp": "hub"}),
            json!({"exp": 840.5}),
            json!({"iat": 960}),
            json!({"nbf": 960}),
        ];
        for change in good {
            assert_eq!(check(&claims(change.clone()), &expected), Ok(()), "{change}");
        }
        let bad = [
            (json!({"iss": "https://login.example/"}), Wrong::Issuer("https://login.example/".to_owned())),
            (json!({"iss": null}), Wrong::Lacks("iss")),
            (json!({"aud": "shop"}), Wrong::Audience),
            (json!({"aud": ["hub", "shop"]}), Wrong::Audience),
            (json!({"aud": ["hub", "shop"], "azp": "shop"}), Wrong::Audience),
            (json!({"azp": "shop"}), Wrong::Audience),
            (json!({"azp": 7}), Wrong::Audience),
            (json!({"aud": []}), Wrong::Audience),
            (json!({"aud": null}), Wrong::Lacks("aud")),
            (json!({"exp": 840}), Wrong::Expired),
            (json!({"exp": "1000"}), Wrong::Lacks("exp")),
            (json!({"exp": null}), Wrong::Lacks("exp")),
            (json!({"iat": 961}), Wrong::Future),
            (json!({"iat": null}), Wrong::Lacks("iat")),
            (json!({"nbf": 961}), Wrong::Future),
            (json!({"nonce": "m"}), Wrong::Nonce),
            (json!({"nonce": null}), Wrong::Lacks("nonce")),
            (json!({"sub": ""}), Wrong::Lacks("sub")),
            (json!({"sub": 7}), Wrong::Lacks("sub")),
            (json!({"sub": "x".repeat(256)}), Wrong::Lacks("sub")),
        ];
        for (change, wrong) in bad {
            assert_eq!(check(&claims(change.clone()), &expected), Err(wrong), "{change}");
        }
    }
}
