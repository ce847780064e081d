//! What a failing check shows of itself, without the secrets in it.
//!
//! Three rules: the value of a header whose name sounds secret is never shown, nor is what such a name stands before in a text, nor a
//! password in an address; and wherever a secret of the service itself turns up, in any header or in the body, it is replaced. A body
//! that echoes the request is the common case; a page of an error with the settings of the target in it is the worst.

use base64::Engine;
use bytes::Bytes;
use http::{HeaderMap, StatusCode};

use crate::model::check::{Evidence, HttpVersion};
use crate::model::service::{Auth, Service};
use crate::probe::recorder::Hop;
use crate::probe::redact::name::Secrecy;

mod name;
mod text;

pub const REDACTED: &str = "[redacted]";
/// Bytes of the shortest value of a query that is looked for elsewhere.
const LEAST_QUERY: usize = 4;
/// Bytes of a body that are shown.
const EXCERPT: usize = 1024;

/// Whether the value under this name is to be kept from people. Best as it was written: in camel case the capitals part its words.
pub fn sounds_secret(name: &str) -> bool {
    name::secrecy(name) != Secrecy::Open
}

/// A text in which no value is left whose name sounds secret, and no password of an address. The text need not be whole, nor of one
/// kind: what is cut off within such a value ends with it.
pub fn hide_named(text: &str) -> String {
    text::hide_named(text)
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
                // A shorter one would be found in any text.
                if sounds_secret(&name) && value.len() >= LEAST_QUERY {
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
                    false => hide_named(&secrets.hide(&String::from_utf8_lossy(value.as_bytes()))),
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
    hide_named(&String::from_utf8_lossy(whole))
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
    fn values_of_json_whose_names_sound_secret_are_hidden() {
        for (body, shown) in [
            (r#"{"user":"ann","password":"hunter2","n":1}"#, r#"{"user":"ann","password":"[redacted]","n":1}"#),
            (r#"{"apiKey" : "a\"b", "accessToken": 12345 }"#, r#"{"apiKey" : "[redacted]", "accessToken": "[redacted]" }"#),
            (r#"{"secrets":{"a":["}"]},"ok":true}"#, r#"{"secrets":"[redacted]","ok":true}"#),
            (r#"{"token":null,"password":false}"#, r#"{"token":null,"password":false}"#),
            (r#"401: 5" disk {"token":"abc"#, r#"401: 5" disk {"token":"[redacted]""#),
            (r#"{"error":"the password is wrong","kind":"password"}"#, r#"{"error":"the password is wrong","kind":"password"}"#),
            ("é \"x\"", "é \"x\""),
        ] {
            assert_eq!(hide_named(body), shown);
        }
        assert_eq!(excerpt(&[Bytes::from(r#"{"password":"hunter2"}"#)], &secrets(&[])), r#"{"password":"[redacted]"}"#);
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

    #[test]
    fn a_header_with_a_harmless_name_shows_no_password_of_an_address_and_no_named_secret() {
        let mut headers = HeaderMap::new();
        headers.insert("location", "https://ann:hunter2@login.test/?next=1&access_token=leak".parse().unwrap());
        headers.insert("x-debug", "pwd=leak; took=5".parse().unwrap());
        headers.insert("www-authenticate", "Bearer realm=\"api\", error=\"invalid_token\"".parse().unwrap());
        let received = Received { version: HttpVersion::Http11, status: StatusCode::BAD_GATEWAY, headers, body: Vec::new() };
        let shown = evidence(Some(&received), &Hop::default(), &secrets(&[])).headers;
        let value = |name: &str| shown.iter().find(|header| header.0 == name).map(|header| header.1.clone()).unwrap();
        assert_eq!(value("location"), "https://ann:[redacted]@login.test/?next=1&access_token=[redacted]");
        assert_eq!(value("x-debug"), "pwd=[redacted]; took=5");
        assert_eq!(value("www-authenticate"), "Bearer realm=\"api\", error=\"invalid_token\"");
    }

    #[test]
    fn a_body_of_an_error_shows_no_secret_of_the_target() {
        let body = r#"{"passwd":"pw-leak","pwd":"pwd-leak","nested":{"connection_string":"postgres://u:pgpass-leak@h/db"},"otp":"123456","msg":"password=plain-leak token: t2-leak"}"#;
        for end in 0..=body.len() {
            let shown = excerpt(&[Bytes::copy_from_slice(&body.as_bytes()[..end])], &secrets(&[]));
            for part in ["leak", "pw-", "pgp", "plain", "t2", "12"] {
                assert!(!shown.contains(part), "{end}: {shown}");
            }
        }
    }
}
