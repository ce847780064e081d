//! What is watched, checked and ready to run: every pattern is compiled, every address parsed.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use regex::Regex;
use serde_json_path::JsonPath;
use url::Url;

use crate::model::id::ServiceId;

/// One service as a probe runs it.
#[derive(Clone, Debug)]
pub struct Service {
    pub id: ServiceId,
    pub name: Arc<str>,
    pub enabled: bool,
    pub kind: Kind,
    pub target: Target,
    pub method: http::Method,
    pub headers: Vec<(http::HeaderName, http::HeaderValue)>,
    pub body: Option<String>,
    pub auth: Option<Auth>,
    pub http_version: HttpChoice,
    /// For one attempt, from its start to the last byte.
    pub timeout: Duration,
    pub schedule: Schedule,
    /// Further attempts after a failing one; 0 to 10.
    pub retries: u8,
    pub backoff: Backoff,
    pub expect: Expectations,
    pub tls: TlsOptions,
    /// Redirects followed; 0 takes the first answer as it is.
    pub redirects: u8,
    pub ip_family: IpFamily,
    pub proxy: Option<Url>,
    /// Bytes of a body that are read at most.
    pub max_body_bytes: u64,
    /// Whether a connection may be used again; off, every phase is measured at each check.
    pub reuse_connection: bool,
    /// `None`: every region.
    pub regions: Option<Vec<String>>,
    pub quorum: Quorum,
    pub failure_threshold: u32,
    pub success_threshold: u32,
    pub degraded_after: Option<Duration>,
    /// Whether being degraded, too, opens an incident.
    pub incident_on_degraded: bool,
    pub tags: Vec<String>,
    pub group: Option<String>,
    pub depends_on: Vec<String>,
    pub public: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Http,
    /// A connection that stands, and nothing said.
    Tcp,
    Redis,
    MongoDb,
    /// Panics at every check: a fire drill for supervision, in debug builds alone.
    Panic,
}

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Kind::Http => "http",
            Kind::Tcp => "tcp",
            Kind::Redis => "redis",
            Kind::MongoDb => "mongodb",
            Kind::Panic => "panic",
        }
    }

    /// Whether it asks by HTTP, with all that belongs to that.
    pub fn is_http(self) -> bool {
        matches!(self, Kind::Http | Kind::Panic)
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// The hub's own address, known once it listens; the path is asked there.
    Hub {
        path: String,
    },
    Url(Url),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Auth {
    Basic {
        username: String,
        password: String,
    },
    Bearer {
        token: String,
    },
    /// RFC 6749 §4.4: a token is fetched from `token_url` and used until it expires.
    ClientCredentials {
        token_url: Url,
        client_id: String,
        client_secret: String,
        scope: Option<String>,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HttpChoice {
    /// HTTP/2 where the server offers it by ALPN, else HTTP/1.1.
    Any,
    Http1,
    /// By ALPN over TLS, with prior knowledge over plain TCP.
    Http2,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum IpFamily {
    Any,
    V4,
    V6,
}

impl IpFamily {
    pub fn allows(self, address: IpAddr) -> bool {
        match self {
            IpFamily::Any => true,
            IpFamily::V4 => address.is_ipv4(),
            IpFamily::V6 => address.is_ipv6(),
        }
    }
}

/// When a service's checks begin.
#[derive(Clone, Debug, PartialEq)]
pub enum Schedule {
    Interval(Duration),
    Cron {
        expression: Arc<str>,
        /// The parsed form of `expression`.
        pattern: Box<croner::Cron>,
        zone: chrono_tz::Tz,
        /// How far a round's checks spread; `None`: a tenth of the gap to the next round, 30 s at most.
        spread: Option<Duration>,
    },
}

/// Wait before attempt n (from 1) is drawn evenly from zero to `min(max, initial × 2^(n−1))`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    pub initial: Duration,
    pub max: Duration,
}

#[derive(Clone, Debug, Default)]
pub struct Expectations {
    /// Accepted status codes, inclusive ranges; empty only where the kind of check has none.
    pub status: Vec<(u16, u16)>,
    pub body_contains: Vec<String>,
    pub body_not_contains: Vec<String>,
    pub body_matches: Vec<Regex>,
    pub json: Vec<JsonExpectation>,
    pub headers: Vec<HeaderExpectation>,
    /// The leaf must be valid for at least so many days.
    pub certificate_days: Option<u32>,
    /// The attempt must not take longer.
    pub latency: Option<Duration>,
}

impl Expectations {
    pub fn needs_body(&self) -> bool {
        !(self.body_contains.is_empty() && self.body_not_contains.is_empty() && self.body_matches.is_empty() && self.json.is_empty())
    }
}

#[derive(Clone, Debug)]
pub struct JsonExpectation {
    /// RFC 9535.
    pub path: JsonPath,
    pub text: String,
    pub test: JsonTest,
}

/// Held against each node the path selects; one that passes is enough. A path that selects nothing fails, but for `Exists(false)`.
#[derive(Clone, Debug)]
pub enum JsonTest {
    Exists(bool),
    Equals(serde_json::Value),
    NotEquals(serde_json::Value),
    GreaterThan(f64),
    LessThan(f64),
    Contains(String),
    Matches(Regex),
}

#[derive(Clone, Debug)]
pub struct HeaderExpectation {
    pub name: http::HeaderName,
    pub test: HeaderTest,
}

#[derive(Clone, Debug)]
pub enum HeaderTest {
    Present(bool),
    Equals(String),
    Matches(Regex),
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct TlsOptions {
    pub insecure_skip_verify: bool,
    /// PEM text, or the path of a PEM file on the node.
    pub ca: Option<String>,
    pub client_cert: Option<String>,
    pub client_key: Option<String>,
    /// Asked for by SNI and expected in the certificate, instead of the URL's host.
    pub server_name: Option<String>,
}

/// How many of the voting regions must see a service down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quorum {
    Any,
    Majority,
    All,
    Count(u32),
}
