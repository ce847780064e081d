//! The provider: where it is asked, by which keys it signs, and what it is asked.
//!
//! Nothing is asked before somebody wants to log in: a provider that is away holds no start up. What it says of itself is kept for an
//! hour, and longer where it is away then; after a failure nobody waits for it again for some seconds.
//!
//! **Invariant.** An answer is read to a bound and within a time; no redirect is followed, for what is sent is for one address alone.

use std::sync::{Arc, MutexGuard};
use std::time::Duration;

use anyhow::Context;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use jsonwebtoken::jwk::Jwk;
use reqwest::RequestBuilder;
use reqwest::redirect::Policy;
use rustls::ClientConfig;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use thiserror::Error;
use tokio::sync::Mutex;
use url::Url;
use url::form_urlencoded::{Serializer, byte_serialize};

use crate::clock::Clock;
use crate::config::oidc::OidcSettings;
use crate::probe::tls::{certificates, system_roots};

const FRESH: Duration = Duration::from_secs(3_600);
/// After a failure the next one is told the same for so long.
const PAUSE: Duration = Duration::from_secs(5);
const LARGEST: usize = 512 << 10;
/// Characters of a provider's own words that are repeated.
const WORDS: usize = 200;

#[derive(Clone, Debug, Error)]
pub enum ProviderError {
    /// It may be well again in a while.
    #[error("{0}")]
    Away(String),
    /// It would not take the code.
    #[error("it refused: {0}")]
    Refused(String),
    /// What it answers is wrong, or not from it.
    #[error("{0}")]
    Untrusted(String),
}

/// What it says of itself: OpenID Connect Discovery 1.0, §3.
#[derive(Deserialize)]
pub struct Metadata {
    pub issuer: String,
    pub authorization_endpoint: Url,
    token_endpoint: Url,
    pub userinfo_endpoint: Option<Url>,
    jwks_uri: Url,
    #[serde(default)]
    token_endpoint_auth_methods_supported: Vec<String>,
}

pub struct Known {
    pub metadata: Metadata,
    pub keys: Vec<Jwk>,
}

/// What a code buys.
#[derive(Deserialize)]
pub struct Tokens {
    pub id_token: String,
    pub access_token: Option<String>,
}

pub struct Provider {
    settings: OidcSettings,
    client: reqwest::Client,
    clock: Clock,
    /// Held while it is asked, so that one asks for all.
    asking: Mutex<()>,
    memory: std::sync::Mutex<Memory>,
}

#[derive(Default)]
struct Memory {
    known: Option<Arc<Known>>,
    /// Clock time from which on `known` is asked for anew.
    stale: Duration,
    failure: Option<(Duration, ProviderError)>,
}

#[derive(Deserialize)]
struct KeySet {
    keys: Vec<Value>,
}

#[derive(Deserialize)]
struct Refusal {
    error: String,
    error_description: Option<String>,
}

impl Provider {
    pub fn new(settings: OidcSettings, clock: Clock) -> anyhow::Result<Provider> {
        let mut roots = system_roots();
        if let Some(ca) = &settings.ca {
            for certificate in certificates(&ca.to_string_lossy(), "oidc.ca").map_err(anyhow::Error::msg)? {
                roots.add(certificate).context("oidc.ca holds a certificate that cannot be used")?;
            }
        }
        let tls = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .context("TLS cannot be set up")?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let client = reqwest::Client::builder()
            .no_proxy()
            .timeout(settings.timeout)
            .redirect(Policy::none())
            .referer(false)
            // A code is good once: a request that may have been carried out is not sent again behind our back.
            .retry(reqwest::retry::never())
            .user_agent(concat!("probemesh/", env!("CARGO_PKG_VERSION")))
            .tls_backend_preconfigured(tls)
            .pool_max_idle_per_host(0)
            .build()
            .context("HTTP client cannot be made")?;
        Ok(Provider { settings, client, clock, asking: Mutex::default(), memory: std::sync::Mutex::default() })
    }

    /// What is known of it, asked for where it is not or no longer.
    pub async fn known(&self) -> Result<Arc<Known>, ProviderError> {
        if let Some(told) = self.memory().told(self.clock.steady()) {
            return told;
        }
        let before = self.memory().known.clone();
        let _turn = match (self.asking.try_lock(), before) {
            (Ok(turn), _) => turn,
            // While one waits for it, the others go by what it said before.
            (Err(_), Some(known)) => return Ok(known),
            (Err(_), None) => self.asking.lock().await,
        };
        if let Some(told) = self.memory().told(self.clock.steady()) {
            return told;
        }
        let asked = self.ask().await;
        // From the end of the wait, not from its beginning: else whoever comes next would wait as long.
        let now = self.clock.steady();
        let mut memory = self.memory();
        match (asked, memory.known.clone()) {
            (Ok(known), _) => Ok(memory.keep(known, now)),
            (Err(error), Some(known)) => {
                tracing::warn!(
                    issuer = self.settings.issuer,
                    "identity provider cannot be asked, what it said before still counts: {error}"
                );
                memory.stale = now + PAUSE;
                Ok(known)
            }
            (Err(error), None) => {
                memory.failure = Some((now + PAUSE, error.clone()));
                Err(error)
            }
        }
    }

    /// What is known once its keys were asked for anew, unless somebody else has done that since `seen`.
    pub async fn with_new_keys(&self, seen: &Arc<Known>) -> Result<Arc<Known>, ProviderError> {
        let _turn = self.asking.lock().await;
        if let Some(known) = self.memory().known.clone().filter(|known| !Arc::ptr_eq(known, seen)) {
            return Ok(known);
        }
        tracing::info!(issuer = self.settings.issuer, "the identity provider signs with a key that is not known, its keys are asked for");
        let known = self.ask().await?;
        Ok(self.memory().keep(known, self.clock.steady()))
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().expect("no holder panics")
    }

    async fn ask(&self) -> Result<Known, ProviderError> {
        let issuer = self.settings.issuer.trim_end_matches('/');
        let place = format!("{issuer}/.well-known/openid-configuration");
        let url = Url::parse(&place).map_err(|error| ProviderError::Untrusted(format!("{place} is no address: {error}")))?;
        let metadata: Metadata = self.document(url).await?;
        if metadata.issuer.trim_end_matches('/') != issuer {
            let told = shortened(&metadata.issuer);
            return Err(ProviderError::Untrusted(format!("it calls itself {told:?}; oidc.issuer must be the same")));
        }
        let addresses = [&metadata.authorization_endpoint, &metadata.token_endpoint, &metadata.jwks_uri];
        let secure = issuer.starts_with("https:");
        for address in addresses.into_iter().chain(&metadata.userinfo_endpoint) {
            if address.scheme() != "https" && (secure || address.scheme() != "http") {
                return Err(ProviderError::Untrusted(format!("it names {address}, which is not https")));
            }
        }
        let set: KeySet = self.document(metadata.jwks_uri.clone()).await?;
        // Keys of kinds that are not known here are for others.
        let keys = set.keys.into_iter().filter_map(|key| serde_json::from_value(key).ok()).collect();
        Ok(Known { metadata, keys })
    }

    /// Gives a code for tokens.
    pub async fn redeem(&self, known: &Known, code: &str, verifier: &str, redirect_uri: &str) -> Result<Tokens, ProviderError> {
        let endpoint = &known.metadata.token_endpoint;
        let request = self.redemption(known, &[("code", code), ("redirect_uri", redirect_uri), ("code_verifier", verifier)]);
        let (status, body) = self.send(request, endpoint).await?;
        match status {
            200 => parsed(&body, endpoint),
            400 | 401 | 403 => Err(ProviderError::Refused(refusal(status, &body))),
            _ => Err(ProviderError::Away(format!("{} answered {status}", place(endpoint)))),
        }
    }

    fn redemption(&self, known: &Known, fields: &[(&str, &str)]) -> RequestBuilder {
        let OidcSettings { client_id, client_secret, .. } = &self.settings;
        let mut form = Serializer::new(String::new());
        form.append_pair("grant_type", "authorization_code").extend_pairs(fields);
        let request = self.client.post(known.metadata.token_endpoint.clone());
        let request = request.header(http::header::CONTENT_TYPE, "application/x-www-form-urlencoded");
        let methods = &known.metadata.token_endpoint_auth_methods_supported;
        let takes = |method: &str| methods.iter().any(|known| known == method);
        match client_secret {
            // What is meant where nothing is said; both parts are encoded like a form's (RFC 6749, §2.3.1).
            Some(secret) if takes("client_secret_basic") || !takes("client_secret_post") => {
                let encode = |text: &str| byte_serialize(text.as_bytes()).collect::<String>();
                let pair = BASE64_STANDARD.encode(format!("{}:{}", encode(client_id), encode(&secret.0)));
                request.header(http::header::AUTHORIZATION, format!("Basic {pair}")).body(form.finish())
            }
            Some(secret) => request.body(form.append_pair("client_id", client_id).append_pair("client_secret", &secret.0).finish()),
            None => request.body(form.append_pair("client_id", client_id).finish()),
        }
    }

    /// What it tells of the owner of a token, beside the ID token.
    pub async fn user_info(&self, endpoint: &Url, token: &str) -> Result<Map<String, Value>, ProviderError> {
        let request = self.client.get(endpoint.clone()).header(http::header::AUTHORIZATION, format!("Bearer {token}"));
        self.read(request, endpoint).await
    }

    async fn document<T: DeserializeOwned>(&self, url: Url) -> Result<T, ProviderError> {
        self.read(self.client.get(url.clone()), &url).await
    }

    async fn read<T: DeserializeOwned>(&self, request: RequestBuilder, url: &Url) -> Result<T, ProviderError> {
        match self.send(request, url).await? {
            (200, body) => parsed(&body, url),
            (status, _) => Err(ProviderError::Away(format!("{} answered {status}", place(url)))),
        }
    }

    async fn send(&self, request: RequestBuilder, url: &Url) -> Result<(u16, Vec<u8>), ProviderError> {
        let away = |error: reqwest::Error| match error.is_timeout() {
            true => ProviderError::Away(format!("{} does not answer within {} s", place(url), self.settings.timeout.as_secs_f64())),
            false => ProviderError::Away(format!("{}: {:#}", place(url), anyhow::Error::from(error.without_url()))),
        };
        let mut response = request.header(http::header::ACCEPT, "application/json").send().await.map_err(away)?;
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(away)? {
            body.extend_from_slice(&chunk);
            if body.len() > LARGEST {
                return Err(ProviderError::Untrusted(format!("{} answers with more than {LARGEST} bytes", place(url))));
            }
        }
        Ok((response.status().as_u16(), body))
    }
}

impl Memory {
    /// What is told without asking.
    fn told(&self, now: Duration) -> Option<Result<Arc<Known>, ProviderError>> {
        if let Some(known) = self.known.as_ref().filter(|_| self.stale > now) {
            return Some(Ok(known.clone()));
        }
        let failure = self.failure.as_ref().filter(|(until, _)| *until > now);
        failure.map(|(_, error)| Err(error.clone()))
    }

    fn keep(&mut self, known: Known, now: Duration) -> Arc<Known> {
        let known = Arc::new(known);
        *self = Memory { known: Some(known.clone()), stale: now + FRESH, failure: None };
        known
    }
}

fn parsed<T: DeserializeOwned>(body: &[u8], url: &Url) -> Result<T, ProviderError> {
    serde_json::from_slice(body).map_err(|error| {
        // The parser's other words may repeat what it read, such as a token.
        let lacks = Some(error.to_string()).filter(|words| words.starts_with("missing field"));
        let what = lacks.unwrap_or_else(|| if error.is_data() { "it is of another shape".to_owned() } else { "it is not JSON".to_owned() });
        ProviderError::Untrusted(format!("the answer of {} is not as it must be: {what}", place(url)))
    })
}

/// An address without what may be secret in it.
fn place(url: &Url) -> String {
    format!("{}{}", url.origin().ascii_serialization(), url.path())
}

/// The provider's reason, such as `invalid_grant`.
fn refusal(status: u16, body: &[u8]) -> String {
    let Ok(Refusal { error, error_description }) = serde_json::from_slice(body) else { return format!("it answered {status}") };
    let described = error_description.map_or_else(String::new, |words| format!(" ({})", shortened(&words)));
    format!("{}{described}", shortened(&error))
}

/// Somebody else's words in one line, and not too many.
pub fn shortened(words: &str) -> String {
    words.chars().filter(|letter| !letter.is_control()).take(WORDS).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use serde_json::json;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;
    use crate::model::time::Timestamp;

    /// Answers the first two requests, then takes connections and says nothing; how many it took.
    async fn hanging(listener: TcpListener, taken: Arc<AtomicUsize>) {
        let issuer = format!("http://{}", listener.local_addr().expect("it is bound"));
        let document = json!({
            "issuer": issuer, "authorization_endpoint": issuer, "token_endpoint": issuer, "jwks_uri": format!("{issuer}/keys"),
        });
        let mut held = Vec::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            let number = taken.fetch_add(1, Ordering::SeqCst);
            let body = match number {
                0 => document.to_string(),
                1 => json!({"keys": []}).to_string(),
                _ => {
                    held.push(stream);
                    continue;
                }
            };
            let _ = stream.read(&mut [0; 4096]).await;
            let answer = format!("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}", body.len());
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    }

    #[tokio::test]
    async fn nobody_waits_behind_another_for_a_provider_that_hangs() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let settings = OidcSettings {
            issuer: format!("http://{}", listener.local_addr().expect("it is bound")),
            client_id: "hub".to_owned(),
            client_secret: None,
            name: "Example".to_owned(),
            scopes: Vec::new(),
            username_claim: String::new(),
            role_claim: String::new(),
            admins: Vec::new(),
            operators: Vec::new(),
            viewers: Vec::new(),
            default_role: None,
            email_domains: Vec::new(),
            create_users: true,
            second_factor: false,
            leeway: Duration::ZERO,
            timeout: Duration::from_millis(300),
            ca: None,
        };
        let clock = Clock::manual(Timestamp(1_795_341_600_000_000));
        let provider = Provider::new(settings, clock.clone()).expect("a client is made");
        let taken = Arc::new(AtomicUsize::new(0));
        tokio::spawn(hanging(listener, taken.clone()));
        let first = provider.known().await.expect("it answers");
        clock.advance(FRESH).await;
        // One waits, and longer than the pause lasts; the others are told at once, and so is whoever comes after.
        let waits = async {
            let known = provider.known().await;
            (known, taken.load(Ordering::SeqCst))
        };
        let others = async {
            while taken.load(Ordering::SeqCst) < 3 {
                tokio::task::yield_now().await;
            }
            for _ in 0..3 {
                let known = provider.known().await.expect("what it said before");
                assert!(Arc::ptr_eq(&known, &first));
            }
            clock.advance(PAUSE * 2).await;
        };
        let ((known, asked), ()) = tokio::join!(waits, others);
        assert!(Arc::ptr_eq(&known.expect("what it said before"), &first));
        assert_eq!(asked, 3, "one asked for all");
        provider.known().await.expect("what it said before");
        assert_eq!(taken.load(Ordering::SeqCst), 3, "the pause begins when the wait is over");
    }
}
