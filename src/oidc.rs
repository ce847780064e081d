//! Who people are by an identity provider (OpenID Connect Core 1.0): the authorization code flow with PKCE.
//!
//! A browser is sent to the provider with a state, and comes back with that state and a code; the code buys an ID token, which says
//! who it is. What was sent along is kept by the browser itself, sealed, so that no answer counts in another browser than the one
//! that asked, and nothing is lost with a restart.
//!
//! **Invariants.** Nobody is known by anything but issuer and subject of a token whose signature, audience, time and nonce were
//! held against what was asked for. Neither code nor token nor secret is in a log, a page or the store.

pub mod admission;
pub mod flow;
pub mod id_token;
pub mod provider;

use std::sync::Arc;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde_json::{Map, Value};
use url::Url;

use crate::clock::Clock;
use crate::config::oidc::OidcSettings;
use crate::oidc::admission::{Admission, Admitted, Refused, merged};
use crate::oidc::flow::{Flow, LONGEST_NEXT, Vouched, WITHIN};
use crate::oidc::id_token::{Expected, verify};
use crate::oidc::provider::{Known, Provider, ProviderError};
use crate::store::secrets::{Secrets, random};
use crate::store::users::identities::Identity;

pub struct Oidc {
    pub settings: OidcSettings,
    admission: Admission,
    provider: Provider,
    secrets: Arc<Secrets>,
    clock: Clock,
}

/// What a browser is sent on with.
pub struct Begun {
    pub to: Url,
    /// For the browser to keep until it is back.
    pub sealed: String,
}

/// What the provider said of somebody.
pub struct Word {
    pub identity: Identity,
    claims: Map<String, Value>,
}

impl Oidc {
    /// `None` where no provider is set.
    pub fn of(settings: Option<OidcSettings>, secrets: &Arc<Secrets>, clock: &Clock) -> anyhow::Result<Option<Arc<Oidc>>> {
        let Some(settings) = settings else { return Ok(None) };
        let provider = Provider::new(settings.clone(), clock.clone())?;
        let admission = Admission::new(&settings);
        Ok(Some(Arc::new(Oidc { settings, admission, provider, secrets: secrets.clone(), clock: clock.clone() })))
    }

    /// Where a browser goes to log in. `user`: someone who is logged in here and wants to be linked.
    pub async fn begin(&self, next: &str, redirect_uri: String, user: Option<String>) -> Result<Begun, ProviderError> {
        let known = self.provider.known().await?;
        let flow = Flow {
            state: unguessable(),
            nonce: unguessable(),
            verifier: unguessable(),
            next: if next.len() <= LONGEST_NEXT { next.to_owned() } else { "/".to_owned() },
            redirect_uri,
            user,
            until: self.clock.now().plus(WITHIN).0,
        };
        let mut to = known.metadata.authorization_endpoint.clone();
        to.query_pairs_mut()
            .append_pair("response_type", "code")
            .append_pair("client_id", &self.settings.client_id)
            .append_pair("redirect_uri", &flow.redirect_uri)
            .append_pair("scope", &self.settings.scopes.join(" "))
            .append_pair("state", &flow.state)
            .append_pair("nonce", &flow.nonce)
            .append_pair("code_challenge", &flow.challenge())
            .append_pair("code_challenge_method", "S256");
        Ok(Begun { to, sealed: flow.seal(&self.secrets) })
    }

    /// What a browser was sent on with, if it is ours and not too old.
    pub fn flow(&self, sealed: &str) -> Option<Flow> {
        Flow::open(&self.secrets, sealed).filter(|flow| flow.until > self.clock.now().0)
    }

    /// What the provider says of whoever came back with a code. `issuer`: who the answer says it is from, where it says so.
    pub async fn finish(&self, flow: &Flow, code: &str, issuer: Option<&str>) -> Result<Word, ProviderError> {
        let known = self.provider.known().await?;
        if issuer.is_some_and(|issuer| issuer != known.metadata.issuer) {
            return Err(ProviderError::Untrusted("the answer is from another issuer".to_owned()));
        }
        let tokens = self.provider.redeem(&known, code, &flow.verifier, &flow.redirect_uri).await?;
        let mut claims = self.verified(&known, &tokens.id_token, &flow.nonce).await?;
        let subject = claims.get("sub").and_then(Value::as_str).unwrap_or_default().to_owned();
        if !self.admission.is_told_all(&claims)
            && let (Some(endpoint), Some(token)) = (&known.metadata.userinfo_endpoint, &tokens.access_token)
        {
            let more = self.provider.user_info(endpoint, token).await?;
            if more.get("sub").and_then(Value::as_str) != Some(subject.as_str()) {
                return Err(ProviderError::Untrusted("its user info is of somebody else".to_owned()));
            }
            claims = merged(claims, more);
        }
        Ok(Word { identity: Identity { issuer: known.metadata.issuer.clone(), subject }, claims })
    }

    /// The claims of a token; the keys are asked for anew, once, if none of those that are known has signed it.
    async fn verified(&self, known: &Arc<Known>, token: &str, nonce: &str) -> Result<Map<String, Value>, ProviderError> {
        let expected = Expected {
            issuer: &known.metadata.issuer,
            client_id: &self.settings.client_id,
            nonce,
            now: self.clock.now(),
            leeway: self.settings.leeway,
        };
        let wrong = match verify(token, &known.keys, &expected) {
            Ok(claims) => return Ok(claims),
            Err(wrong) => wrong,
        };
        if !wrong.may_be_a_new_key() {
            return Err(ProviderError::Untrusted(wrong.to_string()));
        }
        let known = self.provider.with_new_keys(known).await?;
        verify(token, &known.keys, &expected).map_err(|wrong| ProviderError::Untrusted(wrong.to_string()))
    }

    /// As what somebody comes in, or why not.
    pub fn admit(&self, word: &Word) -> Result<Admitted, Refused> {
        self.admission.admit(&word.identity.subject, &word.claims)
    }

    /// Who somebody is, to be sent back by the page that asks whether to link them.
    pub fn seal(&self, identity: &Identity, username: &str) -> String {
        let until = self.clock.now().plus(WITHIN).0;
        Vouched { issuer: identity.issuer.clone(), subject: identity.subject.clone(), username: username.to_owned(), until }
            .seal(&self.secrets)
    }

    pub fn unseal(&self, sealed: &str, username: &str) -> Option<Identity> {
        let vouched = Vouched::open(&self.secrets, sealed)?;
        let holds = vouched.username == username && vouched.until > self.clock.now().0;
        holds.then_some(Identity { issuer: vouched.issuer, subject: vouched.subject })
    }
}

/// 256 bits as text, of the letters RFC 7636 allows in a verifier.
fn unguessable() -> String {
    BASE64_URL_SAFE_NO_PAD.encode(random::<32>())
}
