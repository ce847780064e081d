//! One request to a service of others and what came of it.
//!
//! **Invariants.** An answer is read to a bound, whatever its length; nothing is led on by a redirect, for what is sent is
//! for one address alone. An address in a blocked network is never connected to.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use chrono::DateTime;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::redirect::Policy;
use reqwest::{RequestBuilder, Response};
use serde_json::Value;
use url::{Host, Url};

use crate::clock::Clock;
use crate::model::alert::DeliveryFailure;
use crate::model::time::Timestamp;
use crate::probe::network::BlockedNetworks;
use crate::probe::tls::{system_roots, trusting};

/// What is read of an answer.
const LARGEST: usize = 16 << 10;
/// The rest of an answer whose head has come is waited for so long at most.
const REST_WITHIN: Duration = Duration::from_secs(5);
/// However long a far side asks us to wait.
const LONGEST_WAIT: Duration = Duration::from_secs(86_400);

/// What came back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    /// How long the head asks us to wait.
    retry_after: Option<Duration>,
    /// The first of its body.
    pub body: String,
}

/// Calls others.
#[derive(Clone, Debug)]
pub struct Line {
    client: reqwest::Client,
    blocked: Arc<BlockedNetworks>,
    /// What says which networks are blocked.
    setting: &'static str,
    clock: Clock,
    timeout: Duration,
}

impl Line {
    pub fn new(timeout: Duration, blocked: Arc<BlockedNetworks>, setting: &'static str, clock: Clock) -> anyhow::Result<Line> {
        let tls = trusting(system_roots()).context("TLS cannot be set up")?;
        let client = reqwest::Client::builder()
            .no_proxy()
            .connect_timeout(timeout)
            .redirect(Policy::none())
            .referer(false)
            // A request that may have been carried out is not sent again behind our back.
            .retry(reqwest::retry::never())
            .user_agent(concat!("probemesh/", env!("CARGO_PKG_VERSION")))
            .tls_backend_preconfigured(tls)
            .pool_max_idle_per_host(0)
            .dns_resolver(Arc::new(Guarded { blocked: blocked.clone(), setting }))
            .build()
            .context("HTTP client cannot be made")?;
        Ok(Line { client, blocked, setting, clock, timeout })
    }

    pub fn get(&self, url: Url) -> RequestBuilder {
        self.client.get(url)
    }

    pub fn request(&self, method: http::Method, url: Url) -> RequestBuilder {
        self.client.request(method, url)
    }

    /// A request with JSON in it.
    pub fn json(&self, method: http::Method, url: Url, body: &Value) -> RequestBuilder {
        self.client.request(method, url).header(http::header::CONTENT_TYPE, "application/json; charset=utf-8").body(body.to_string())
    }

    /// Sends it; the error is for a request to which no answer came.
    pub async fn ask(&self, request: RequestBuilder) -> Result<Answer, DeliveryFailure> {
        let request = request.build().map_err(|error| never(plain(error)))?;
        if let Some(address) = literal(request.url())
            && self.blocked.holds(address)
        {
            return Err(never(format!("{address} lies in a network that is blocked by {}", self.setting)));
        }
        let late = || passing(format!("no answer within {} s", self.timeout.as_secs_f64()));
        match tokio::time::timeout(self.timeout, self.client.execute(request)).await {
            Err(_) => Err(late()),
            Ok(Err(error)) if error.is_timeout() => Err(late()),
            Ok(Err(error)) => Err(DeliveryFailure { permanent: error.is_builder(), ..passing(plain(error)) }),
            Ok(Ok(response)) => Ok(self.read(response).await),
        }
    }

    async fn read(&self, mut response: Response) -> Answer {
        let header = |name| response.headers().get(name).and_then(|value: &http::HeaderValue| value.to_str().ok());
        let retry_after = header(http::header::RETRY_AFTER).and_then(|text| wait(text, self.clock.now()));
        let status = response.status().as_u16();
        let mut bytes = Vec::new();
        let reading = async {
            while let Ok(Some(chunk)) = response.chunk().await {
                let room = LARGEST - bytes.len();
                bytes.extend_from_slice(&chunk[..chunk.len().min(room)]);
                if bytes.len() == LARGEST {
                    break;
                }
            }
        };
        // What is there counts, also where the rest never comes.
        let _ = tokio::time::timeout(REST_WITHIN.min(self.timeout), reading).await;
        Answer { status, retry_after, body: String::from_utf8_lossy(&bytes).into_owned() }
    }
}

impl Answer {
    pub fn taken(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// In one line, such as `200: ok`.
    pub fn told(&self) -> String {
        let body = self.body.split_whitespace().collect::<Vec<_>>().join(" ");
        if body.is_empty() { self.status.to_string() } else { format!("{}: {body}", self.status) }
    }

    pub fn json(&self) -> Option<Value> {
        serde_json::from_str(&self.body).ok()
    }

    /// The failure an answer other than 2xx stands for.
    pub fn failure(&self) -> DeliveryFailure {
        let permanent = match self.status {
            408 | 409 | 425 | 429 => false,
            301 | 308 | 400..=499 => true,
            _ => false,
        };
        let told = self.told();
        let reason = match self.status {
            300..=399 => format!("answered {told}: it leads elsewhere, which is not followed"),
            _ => format!("answered {told}"),
        };
        DeliveryFailure { permanent, retry_after: self.wait(), reason }
    }

    /// The failure of a service that answered 200 and yet did not take the message.
    pub fn lie(&self, what: &str) -> DeliveryFailure {
        DeliveryFailure { permanent: false, retry_after: self.wait(), reason: format!("answered {}, which is not {what}", self.told()) }
    }

    /// By the head, or by the members some services put it in: seconds, or milliseconds where the name says so.
    fn wait(&self) -> Option<Duration> {
        let body = || {
            let body = self.json()?;
            let seconds = body["retry_after"].as_f64().or_else(|| body["parameters"]["retry_after"].as_f64());
            let seconds = seconds.or_else(|| Some(body["retry_after_ms"].as_f64()? / 1e3))?;
            (seconds >= 0.0).then(|| Duration::from_secs_f64(seconds.min(LONGEST_WAIT.as_secs_f64())))
        };
        body().or(self.retry_after)
    }
}

/// A failure that may pass.
pub fn passing(reason: String) -> DeliveryFailure {
    DeliveryFailure { permanent: false, retry_after: None, reason }
}

/// A failure that sending again cannot mend.
pub fn never(reason: String) -> DeliveryFailure {
    DeliveryFailure { permanent: true, retry_after: None, reason }
}

/// `Retry-After`: seconds, or a date (RFC 9110, section 10.2.3).
fn wait(text: &str, now: Timestamp) -> Option<Duration> {
    let text = text.trim();
    let seconds = text.parse::<f64>().ok().filter(|seconds| seconds.is_finite() && *seconds >= 0.0);
    let wait = match seconds {
        Some(seconds) => Duration::from_secs_f64(seconds.min(LONGEST_WAIT.as_secs_f64())),
        None => Timestamp(DateTime::parse_from_rfc2822(text).ok()?.timestamp_micros()).since(now),
    };
    Some(wait.min(LONGEST_WAIT))
}

/// The whole chain of an error without the address in it.
fn plain(error: reqwest::Error) -> String {
    let chain = format!("{:#}", anyhow::Error::from(error.without_url()));
    // Its outermost words say nothing.
    chain.strip_prefix("error sending request: ").unwrap_or(&chain).to_owned()
}

/// The address a URL names by number.
pub fn literal(url: &Url) -> Option<IpAddr> {
    match url.host()? {
        Host::Ipv4(address) => Some(address.into()),
        Host::Ipv6(address) => Some(address.into()),
        Host::Domain(_) => None,
    }
}

/// The system's resolver, without the addresses that are blocked.
struct Guarded {
    blocked: Arc<BlockedNetworks>,
    setting: &'static str,
}

impl Resolve for Guarded {
    fn resolve(&self, name: Name) -> Resolving {
        let (blocked, setting) = (self.blocked.clone(), self.setting);
        Box::pin(async move {
            let found = addresses(name.as_str(), 0, &blocked, setting).await?;
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}

/// The addresses of a host that may be connected to; an error if there are none.
pub async fn addresses(host: &str, port: u16, blocked: &BlockedNetworks, setting: &str) -> io::Result<Vec<SocketAddr>> {
    let found: Vec<SocketAddr> = tokio::net::lookup_host((host, port)).await?.collect();
    let allowed: Vec<SocketAddr> = found.iter().copied().filter(|address| !blocked.holds(address.ip())).collect();
    match (found.is_empty(), allowed.is_empty()) {
        (true, _) => Err(io::Error::other("the name has no address")),
        (false, true) => Err(io::Error::other(format!("the name leads into a network that is blocked by {setting}"))),
        _ => Ok(allowed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, body: &str) -> Answer {
        Answer { status, retry_after: None, body: body.to_owned() }
    }

    #[test]
    fn a_wait_is_read_in_each_of_its_forms() {
        let now = Timestamp::parse("2026-11-22T10:00:00Z").expect("it is a time");
        for (text, seconds) in [("120", Some(120)), ("Sun, 22 Nov 2026 10:00:30 GMT", Some(30)), ("Sun, 22 Nov 2026 09:00:00 GMT", Some(0))]
        {
            assert_eq!(wait(text, now), seconds.map(Duration::from_secs), "{text}");
        }
        for text in ["soon", "-5", ""] {
            assert_eq!(wait(text, now), None, "{text}");
        }
        assert_eq!(wait("1e300", now), Some(LONGEST_WAIT));
        for (body, millis) in [
            (r#"{"retry_after": 0.75, "global": false}"#, 750),
            (r#"{"ok": false, "parameters": {"retry_after": 3}}"#, 3_000),
            (r#"{"errcode": "M_LIMIT_EXCEEDED", "retry_after_ms": 1500}"#, 1_500),
        ] {
            assert_eq!(answer(429, body).failure().retry_after, Some(Duration::from_millis(millis)), "{body}");
        }
    }

    #[test]
    fn what_may_pass_is_tried_again_and_what_may_not_is_not() {
        for (status, permanent) in [
            (400, true),
            (401, true),
            (404, true),
            (410, true),
            (408, false),
            (409, false),
            (425, false),
            (429, false),
            (500, false),
            (503, false),
            (301, true),
            (302, false),
        ] {
            assert_eq!(answer(status, "no").failure().permanent, permanent, "{status}");
        }
    }
}
