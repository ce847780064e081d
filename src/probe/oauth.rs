//! Access tokens by client credentials (RFC 6749 §4.4), fetched when needed and used until shortly before they expire.
//!
//! **Invariant**: neither secret nor token is ever part of a message.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderValue, Method};
use serde::Deserialize;
use url::Url;
use url::form_urlencoded::{Serializer, byte_serialize};

use base64::Engine;

use crate::clock::Clock;
use crate::model::check::{Failure, Phase, Reason};
use crate::probe::classify;
use crate::probe::recorder::{HopRules, Recorder};
use crate::probe::request::place;

/// Used where the server does not say how long a token lives.
const LIFETIME: Duration = Duration::from_secs(300);
/// A token is renewed so long before its end, or at nine tenths of a short life.
const MARGIN: Duration = Duration::from_secs(30);
const TOKENS: usize = 1024;
const ANSWER_BYTES: usize = 64 << 10;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Credentials {
    pub token_url: Url,
    pub client_id: String,
    pub client_secret: String,
    pub scope: Option<String>,
}

struct Token {
    value: Arc<str>,
    until: Duration,
}

pub struct TokenBook {
    clock: Clock,
    tokens: Mutex<HashMap<Credentials, Token>>,
}

#[derive(Deserialize)]
struct Granted {
    access_token: String,
    expires_in: Option<f64>,
}

#[derive(Deserialize)]
struct Refused {
    error: String,
}

impl TokenBook {
    pub fn new(clock: Clock) -> TokenBook {
        TokenBook { clock, tokens: Mutex::default() }
    }

    pub fn known(&self, credentials: &Credentials) -> Option<Arc<str>> {
        let now = self.clock.steady();
        let tokens = self.tokens.lock().expect("no holder panics");
        tokens.get(credentials).filter(|token| token.until > now).map(|token| token.value.clone())
    }

    /// The target would not have it: the next attempt asks for another.
    pub fn forget(&self, credentials: &Credentials) {
        self.tokens.lock().expect("no holder panics").remove(credentials);
    }

    /// Asks the token endpoint, through the service's own client.
    pub async fn fetch(&self, credentials: &Credentials, client: &reqwest::Client, recorder: &Recorder) -> Result<Arc<str>, Failure> {
        // Servers must take the credentials as Basic (§2.3.1); some take them in the body alone.
        let mut answer = ask(credentials, client, recorder, true).await?;
        if matches!(answer.status, 400 | 401) {
            answer = ask(credentials, client, recorder, false).await?;
        }
        let fault = |reason, message: String| Failure {
            reason,
            phase: Phase::FirstByte,
            message: format!("no OAuth2 token from {}: {message}", place(&credentials.token_url)),
        };
        if !(200..300).contains(&answer.status) {
            let error = serde_json::from_slice::<Refused>(&answer.body).ok().map(|refused| refused.error);
            let error = error.filter(|error| error.len() <= 64 && error.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'));
            let error = error.map_or_else(String::new, |error| format!(" ({error})"));
            return Err(fault(Reason::Status, format!("it answered {}{error}", answer.status)));
        }
        let Ok(granted) = serde_json::from_slice::<Granted>(&answer.body) else {
            return Err(fault(Reason::Json, "its answer holds no access_token".to_owned()));
        };
        if HeaderValue::try_from(&granted.access_token).is_err() {
            return Err(fault(Reason::Json, "its token holds characters a header cannot carry".to_owned()));
        }
        let lifetime = granted.expires_in.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()).unwrap_or(LIFETIME);
        let value: Arc<str> = granted.access_token.into();
        let now = self.clock.steady();
        let until = now.saturating_add(lifetime.saturating_sub(MARGIN.min(lifetime / 10)));
        let mut tokens = self.tokens.lock().expect("no holder panics");
        if tokens.len() >= TOKENS {
            tokens.retain(|_, token| token.until > now);
        }
        if tokens.len() < TOKENS {
            tokens.insert(credentials.clone(), Token { value: value.clone(), until });
        }
        Ok(value)
    }
}

struct Answer {
    status: u16,
    body: Vec<u8>,
}

async fn ask(credentials: &Credentials, client: &reqwest::Client, recorder: &Recorder, basic: bool) -> Result<Answer, Failure> {
    let mut request = reqwest::Request::new(Method::POST, credentials.token_url.clone());
    request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
    request.headers_mut().insert(ACCEPT, HeaderValue::from_static("application/json"));
    if basic {
        let encode = |text: &str| byte_serialize(text.as_bytes()).collect::<String>();
        let pair = format!("{}:{}", encode(&credentials.client_id), encode(&credentials.client_secret));
        let value = format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(pair));
        request.headers_mut().insert(AUTHORIZATION, HeaderValue::try_from(value).expect("base64 is plain ASCII"));
    }
    *request.body_mut() = Some(form(credentials, !basic).into());
    recorder.begin_hop(HopRules::default());
    let blame = |err: reqwest::Error| {
        let failure = classify::failure(&err, &recorder.hop());
        Failure { message: format!("no OAuth2 token from {}: {}", place(&credentials.token_url), failure.message), ..failure }
    };
    let mut response = client.execute(request).await.map_err(blame)?;
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(blame)? {
        body.extend_from_slice(&chunk);
        if body.len() > ANSWER_BYTES {
            break;
        }
    }
    Ok(Answer { status: response.status().as_u16(), body })
}

fn form(credentials: &Credentials, with_secret: bool) -> String {
    let mut form = Serializer::new(String::new());
    form.append_pair("grant_type", "client_credentials");
    if let Some(scope) = &credentials.scope {
        form.append_pair("scope", scope);
    }
    if with_secret {
        form.append_pair("client_id", &credentials.client_id).append_pair("client_secret", &credentials.client_secret);
    }
    form.finish()
}
