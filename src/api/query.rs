//! The query of a request, read by hand: a parameter that is unknown, doubled or wrong is refused by name.

use std::net::IpAddr;
use std::str::FromStr;

use rocket::request::{FromRequest, Outcome, Request};
use serde::Serialize;
use utoipa::ToSchema;

use crate::api::auth::managed;
use crate::api::error::ApiError;
use crate::api::state::ApiState;
use crate::model::time::Timestamp;

/// The largest page of any list.
pub const LARGEST_PAGE: usize = 500;
const USUAL_PAGE: usize = 50;

/// The parameters of a request and the address it was sent to.
#[derive(Clone)]
pub struct Query {
    pairs: Vec<(String, String)>,
    /// Scheme, host and path, as the client knows them.
    base: String,
}

/// A page of a list.
#[derive(Serialize, ToSchema)]
pub struct Page<T> {
    /// How many there are on all pages; null where counting would take too long.
    pub count: Option<u64>,
    /// The address of the next page.
    pub next: Option<String>,
    /// The address of the page before.
    pub previous: Option<String>,
    pub results: Vec<T>,
}

#[rocket::async_trait]
impl<'r> FromRequest<'r> for Query {
    type Error = ApiError;

    async fn from_request(request: &'r Request<'_>) -> Outcome<Query, ApiError> {
        let raw = request.uri().query().map(|query| query.as_str()).unwrap_or_default();
        let pairs = url::form_urlencoded::parse(raw.as_bytes()).map(|(name, value)| (name.into_owned(), value.into_owned())).collect();
        Outcome::Success(Query { pairs, base: format!("{}{}", origin(request), request.uri().path()) })
    }
}

/// Scheme and host of the API as the client knows them; empty, for addresses without them, when it did not say.
pub fn origin(request: &Request<'_>) -> String {
    if let Some(public) = &managed::<ApiState>(request).settings.public_url {
        return public.trim_end_matches('/').to_owned();
    }
    let scheme = if is_secure(request) { "https" } else { "http" };
    request.host().map_or_else(String::new, |host| format!("{scheme}://{host}"))
}

/// Whether the client reaches the hub by TLS, or is meant to.
pub fn is_secure(request: &Request<'_>) -> bool {
    let public = managed::<ApiState>(request).settings.public_url.as_deref().unwrap_or_default();
    // Only a proxy that is trusted with the client's address is believed about how the client came.
    let proxied = managed::<ApiState>(request).settings.proxy_header.is_some();
    let told = request.headers().get_one("X-Forwarded-Proto").is_some_and(|scheme| scheme.eq_ignore_ascii_case("https"));
    request.rocket().config().tls_enabled()
        || proxied && told
        || public.get(..8).is_some_and(|scheme| scheme.eq_ignore_ascii_case("https://"))
}

impl Query {
    /// The address of this request without its parameters, as the client knows it.
    pub fn address(&self) -> &str {
        &self.base
    }

    /// Refuses parameters that are not among `known`, and those given twice.
    pub fn allow(&self, known: &[&str]) -> Result<(), ApiError> {
        for (index, (name, _)) in self.pairs.iter().enumerate() {
            if !known.contains(&name.as_str()) {
                let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
                return Err(ApiError::bad_query(name, format!("is not known here; known: {known}")));
            }
            if self.pairs[..index].iter().any(|(other, _)| other == name) {
                return Err(ApiError::bad_query(name, "is given twice"));
            }
        }
        Ok(())
    }

    /// The text of a parameter; an empty one counts as not given.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.pairs.iter().find(|(other, value)| other == name && !value.is_empty()).map(|(_, value)| value.as_str())
    }

    pub fn number<T: FromStr>(&self, name: &str, what: &str) -> Result<Option<T>, ApiError> {
        self.text(name).map(|text| text.parse().map_err(|_| ApiError::bad_query(name, format!("must be {what}, not {text:?}")))).transpose()
    }

    pub fn boolean(&self, name: &str) -> Result<Option<bool>, ApiError> {
        match self.text(name).map(|text| (text, text.to_ascii_lowercase())) {
            None => Ok(None),
            Some((_, lower)) if matches!(lower.as_str(), "true" | "1") => Ok(Some(true)),
            Some((_, lower)) if matches!(lower.as_str(), "false" | "0") => Ok(Some(false)),
            Some((text, _)) => Err(ApiError::bad_query(name, format!("must be true or false, not {text:?}"))),
        }
    }

    pub fn time(&self, name: &str) -> Result<Option<Timestamp>, ApiError> {
        let Some(text) = self.text(name) else { return Ok(None) };
        // A plus that was not escaped arrives as a blank.
        let parsed = Timestamp::parse(text).or_else(|| Timestamp::parse(&text.replace(' ', "+")));
        let wrong = || ApiError::bad_query(name, format!("must be a time such as 2026-01-31T08:00:00Z, not {text:?}"));
        parsed.map(Some).ok_or_else(wrong)
    }

    /// Without parameters that say nothing, as forms send them for fields that were left alone.
    pub fn without_empty(self) -> Query {
        Query { pairs: self.pairs.into_iter().filter(|(_, value)| !value.trim().is_empty()).collect(), base: self.base }
    }

    pub fn page_size(&self) -> Result<usize, ApiError> {
        let what = format!("a number from 1 to {LARGEST_PAGE}");
        let size: Option<usize> = self.number("page_size", &what)?;
        match size {
            None => Ok(USUAL_PAGE),
            Some(size) if (1..=LARGEST_PAGE).contains(&size) => Ok(size),
            Some(size) => Err(ApiError::bad_query("page_size", format!("must be {what}, not {size}"))),
        }
    }

    /// The number of the page asked for, from 1.
    pub fn page(&self) -> Result<u64, ApiError> {
        match self.number("page", "a number from 1")? {
            None => Ok(1),
            Some(0) => Err(ApiError::bad_query("page", "must be a number from 1, not 0")),
            Some(page) => Ok(page),
        }
    }

    /// The address of this request with one parameter set to another value.
    pub fn with(&self, name: &str, value: &str) -> String {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        for (other, kept) in self.pairs.iter().filter(|(other, _)| other != name) {
            query.append_pair(other, kept);
        }
        query.append_pair(name, value);
        format!("{}?{}", self.base, query.finish())
    }

    /// A numbered page of a list of `count`, whose entries of this page are `results`.
    pub fn numbered<T>(&self, count: u64, page: u64, size: usize, results: Vec<T>) -> Page<T> {
        let more = page.saturating_mul(size as u64) < count;
        Page {
            count: Some(count),
            next: more.then(|| self.with("page", &(page + 1).to_string())),
            previous: (page > 1).then(|| self.with("page", &(page - 1).to_string())),
            results,
        }
    }
}

/// Whether an address is this machine's own.
pub fn is_loopback(address: Option<IpAddr>) -> bool {
    address.is_some_and(|address| match address {
        IpAddr::V4(address) => address.is_loopback(),
        IpAddr::V6(address) => address.to_ipv4_mapped().map_or(address.is_loopback(), |address| address.is_loopback()),
    })
}
