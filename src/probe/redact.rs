//! What a failing check shows of itself, without the secrets in it.
//!
//! Two rules: the value of a header whose name sounds secret is never shown, and wherever a secret of the service itself turns
//! up, in any header or in the body, it is replaced. A body that echoes the request is the common case.

use base64::Engine;
use bytes::Bytes;
use http::{HeaderMap, StatusCode};

use crate::model::check::{Evidence, HttpVersion};
use crate::model::service::{Auth, Service};
use crate::probe::recorder::Hop;

pub const REDACTED: &str = "[redacted]";
/// Bytes of a body that are shown.
const EXCERPT: usize = 1024;

/// Whether the value under this name is to be kept from people: in lower case, as header names are.
pub fn sounds_secret(name: &str) -> bool {
    matches!(name, "authorization" | "cookie" | "set-cookie" | "proxy-authorization" | "x-api-key")
        || ["token", "secret", "key", "password"].iter().any(|word| name.contains(word))
}

/// The secret values of one service, longest first.
pub struct Secrets(Vec<Vec<u8>>);

impl Secrets {
    /// `token` is one that was fetched for it.
    pub fn of(service: &Service, token: Option<&str>) -> Secrets {
        let mut found: Vec<Vec<u8>> = Vec::new();
        let mut add = |value: &[u8]| found.extend(forms(value));
        match &service.auth {
            Some(Auth::Basic { username, password }) => {
                add(password.as_bytes());
                add(base64::engine::general_purpose::STANDARD.encode(format!("{username}:{password}")).as_bytes());
            }
            Some(Auth::Bearer { token }) => add(token.as_bytes()),
            Some(Auth::ClientCredentials { client_secret, .. }) => add(client_secret.as_bytes()),
            None => {}
        }
        for (name, value) in &service.headers {
            if sounds_secret(name.as_str()) || value.is_sensitive() {
                add(value.as_bytes());
                // `Bearer x` and `Basic x`: the second word alone is the secret too.
                if let Some((_, credentials)) = value.to_str().ok().and_then(|value| value.split_once(' ')) {
                    add(credentials.as_bytes());
                }
            }
        }
        if let Some(password) = service.proxy.as_ref().and_then(|proxy| proxy.password()) {
            add(password.as_bytes());
        }
        if let crate::model::service::Target::Url(url) = &service.target {
            for (name, value) in url.query_pairs() {
                if sounds_secret(&name.to_ascii_lowercase()) {
                    add(value.as_bytes());
                }
            }
        }
        add(token.unwrap_or_default().as_bytes());
        Secrets::sorted(found)
    }

    /// Those of a list, in each form an answer would repeat them in.
    pub fn listed<'a>(values: impl IntoIterator<Item = &'a str>) -> Secrets {
        Secrets::sorted(values.into_iter().flat_map(|value| forms(value.as_bytes())).collect())
    }

    fn sorted(mut found: Vec<Vec<u8>>) -> Secrets {
        found.sort_by(|one, other| other.len().cmp(&one.len()).then_with(|| one.cmp(other)));
        found.dedup();
        Secrets(found)
    }

    pub fn longest(&self) -> usize {
        self.0.first().map_or(0, Vec::len)
    }

    pub fn hide(&self, text: &str) -> String {
        String::from_utf8_lossy(&self.hide_until(text.as_bytes(), usize::MAX)).into_owned()
    }

    /// Goes no further than byte `end`, but does see a secret that begins before it to its last byte.
    fn hide_until(&self, bytes: &[u8], end: usize) -> Vec<u8> {
        let mut shown = Vec::with_capacity(bytes.len().min(end));
        let mut at = 0;
        while at < bytes.len().min(end) {
            match self.0.iter().find(|secret| bytes[at..].starts_with(secret)) {
                Some(secret) => {
                    shown.extend_from_slice(REDACTED.as_bytes());
                    at += secret.len();
                }
                None => {
                    shown.push(bytes[at]);
                    at += 1;
                }
            }
        }
        shown
    }
}

/// A secret as it is, and as an answer would repeat it inside JSON, or inside a form or an address.
fn forms(value: &[u8]) -> Vec<Vec<u8>> {
    if value.is_empty() {
        return Vec::new();
    }
    let quoted = serde_json::Value::from(&*String::from_utf8_lossy(value)).to_string();
    let encoded = url::form_urlencoded::byte_serialize(value).collect::<String>();
    vec![value.to_vec(), quoted.as_bytes()[1..quoted.len() - 1].to_vec(), encoded.into_bytes()]
}

/// The head and the first bytes of an answer, as they came.
#[derive(Debug)]
pub struct Received {
    pub version: HttpVersion,
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Vec<Bytes>,
}

/// How much of a body must be kept for the evidence to be cut cleanly.
pub fn kept_bytes(longest_secret: usize) -> usize {
    EXCERPT + longest_secret
}

pub fn evidence(received: Option<&Received>, hop: &Hop, secrets: &Secrets) -> Evidence {
    let mut evidence = Evidence {
        chain: hop.chain.as_ref().map_or_else(Vec::new, |chain| chain.certificates()),
        addresses: hop.addresses.clone(),
        ..Evidence::default()
    };
    if let Some(received) = received {
        evidence.status_line = status_line(received);
        evidence.headers = received
            .headers
            .iter()
            .map(|(name, value)| {
                let value = match sounds_secret(name.as_str()) {
                    true => REDACTED.to_owned(),
                    false => secrets.hide(&String::from_utf8_lossy(value.as_bytes())),
                };
                (name.to_string(), value)
            })
            .collect();
        evidence.body = excerpt(&received.body, secrets);
    }
    evidence
}

fn status_line(received: &Received) -> String {
    let reason = received.status.canonical_reason().unwrap_or("");
    format!("{} {} {reason}", received.version.name(), received.status.as_u16()).trim_end().to_owned()
}

fn excerpt(body: &[Bytes], secrets: &Secrets) -> String {
    let mut start = Vec::with_capacity(EXCERPT);
    for chunk in body {
        let room = kept_bytes(secrets.longest()).saturating_sub(start.len());
        start.extend_from_slice(&chunk[..chunk.len().min(room)]);
    }
    let shown = secrets.hide_until(&start, EXCERPT);
    // A character cut in two at the end is dropped, one broken inside is marked.
    let whole = match std::str::from_utf8(&shown) {
        Err(err) if err.error_len().is_none() => &shown[..err.valid_up_to()],
        _ => &shown[..],
    };
    String::from_utf8_lossy(whole).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secrets(values: &[&str]) -> Secrets {
        Secrets(values.iter().map(|value| value.as_bytes().to_vec()).collect())
    }

    #[test]
    fn a_secret_across_the_end_of_the_excerpt_is_hidden_whole() {
        let body = format!("{}hunter2-hunter2 and more", "x".repeat(EXCERPT - 3));
        let chunks: Vec<Bytes> = body.as_bytes().chunks(100).map(Bytes::copy_from_slice).collect();
        let shown = excerpt(&chunks, &secrets(&["hunter2-hunter2"]));
        assert_eq!(shown, format!("{}{REDACTED}", "x".repeat(EXCERPT - 3)));
    }

    #[test]
    fn a_character_cut_at_the_end_is_dropped() {
        let body = format!("{}é", "x".repeat(EXCERPT - 1));
        assert_eq!(excerpt(&[Bytes::from(body)], &secrets(&[])), "x".repeat(EXCERPT - 1));
    }

    #[test]
    fn names_that_sound_secret_are_known() {
        for name in ["authorization", "set-cookie", "x-api-key", "x-auth-token", "my-secret", "x-keyring", "password"] {
            assert!(sounds_secret(name), "{name}");
        }
        for name in ["content-type", "server", "x-request-id"] {
            assert!(!sounds_secret(name), "{name}");
        }
    }
}
