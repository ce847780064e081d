//! What one check of one service from one region found.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::model::id::{CheckId, RegionName, ServiceId};
use crate::model::time::Timestamp;

/// Why a check failed. The set is fixed: it is a label in metrics, a filter in the API and a code in stored blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Reason {
    Dns = 1,
    Connect = 2,
    Tls = 3,
    Certificate = 4,
    Timeout = 5,
    Status = 6,
    Header = 7,
    Body = 8,
    Json = 9,
    TooLarge = 10,
    Redirect = 11,
    Blocked = 12,
    Protocol = 13,
    Internal = 14,
}

impl Reason {
    pub const ALL: [Reason; 14] = [
        Reason::Dns,
        Reason::Connect,
        Reason::Tls,
        Reason::Certificate,
        Reason::Timeout,
        Reason::Status,
        Reason::Header,
        Reason::Body,
        Reason::Json,
        Reason::TooLarge,
        Reason::Redirect,
        Reason::Blocked,
        Reason::Protocol,
        Reason::Internal,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Reason::Dns => "dns",
            Reason::Connect => "connect",
            Reason::Tls => "tls",
            Reason::Certificate => "certificate",
            Reason::Timeout => "timeout",
            Reason::Status => "status",
            Reason::Header => "header",
            Reason::Body => "body",
            Reason::Json => "json",
            Reason::TooLarge => "too_large",
            Reason::Redirect => "redirect",
            Reason::Blocked => "blocked",
            Reason::Protocol => "protocol",
            Reason::Internal => "internal",
        }
    }

    pub fn from_name(name: &str) -> Option<Reason> {
        Reason::ALL.into_iter().find(|reason| reason.name() == name)
    }

    pub fn code(self) -> u8 {
        self as u8
    }

    pub fn from_code(code: u8) -> Option<Reason> {
        Reason::ALL.into_iter().find(|reason| reason.code() == code)
    }
}

/// The step a check had reached. `Expect` is after the last byte, while the answer is held against the expectations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Phase {
    Dns = 1,
    Connect = 2,
    Tls = 3,
    FirstByte = 4,
    Transfer = 5,
    Expect = 6,
}

impl Phase {
    pub const ALL: [Phase; 6] = [Phase::Dns, Phase::Connect, Phase::Tls, Phase::FirstByte, Phase::Transfer, Phase::Expect];

    pub fn name(self) -> &'static str {
        match self {
            Phase::Dns => "dns",
            Phase::Connect => "connect",
            Phase::Tls => "tls",
            Phase::FirstByte => "first_byte",
            Phase::Transfer => "transfer",
            Phase::Expect => "expect",
        }
    }

    pub fn code(self) -> u8 {
        self as u8
    }

    pub fn from_code(code: u8) -> Option<Phase> {
        Phase::ALL.into_iter().find(|phase| phase.code() == code)
    }
}

/// Time spent in each phase of the last hop; `None` where the phase did not happen or was not reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Phases {
    pub dns: Option<Duration>,
    pub connect: Option<Duration>,
    pub tls: Option<Duration>,
    pub first_byte: Option<Duration>,
    pub transfer: Option<Duration>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    pub reason: Reason,
    pub phase: Phase,
    /// One line for a person: what was expected and what came.
    pub message: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum HttpVersion {
    Http10 = 1,
    Http11 = 2,
    Http2 = 3,
}

impl HttpVersion {
    pub fn name(self) -> &'static str {
        match self {
            HttpVersion::Http10 => "HTTP/1.0",
            HttpVersion::Http11 => "HTTP/1.1",
            HttpVersion::Http2 => "HTTP/2",
        }
    }

    pub fn from_code(code: u8) -> Option<HttpVersion> {
        [HttpVersion::Http10, HttpVersion::Http11, HttpVersion::Http2].into_iter().find(|version| *version as u8 == code)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum TlsVersion {
    Tls12 = 1,
    Tls13 = 2,
}

impl TlsVersion {
    pub fn name(self) -> &'static str {
        match self {
            TlsVersion::Tls12 => "TLS 1.2",
            TlsVersion::Tls13 => "TLS 1.3",
        }
    }

    pub fn from_code(code: u8) -> Option<TlsVersion> {
        [TlsVersion::Tls12, TlsVersion::Tls13].into_iter().find(|version| *version as u8 == code)
    }
}

/// The leaf certificate a server showed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Certificate {
    pub subject: String,
    pub issuer: String,
    pub not_before: Timestamp,
    pub not_after: Timestamp,
    /// SHA-256 of the DER form, lower-case hexadecimal.
    pub fingerprint: String,
}

impl Certificate {
    /// Whole days from `now` until it expires; negative once it has.
    pub fn days_left(&self, now: Timestamp) -> i64 {
        (self.not_after.0 - now.0).div_euclid(86_400_000_000)
    }
}

/// One try inside a check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// From the start of the check to the start of this try.
    pub offset: Duration,
    pub latency: Duration,
    pub phases: Phases,
    pub status_code: Option<u16>,
    pub address: Option<IpAddr>,
    pub failure: Option<Failure>,
}

/// What there was to see at a failure or a retry. Secrets are redacted before it is made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Evidence {
    /// Such as `HTTP/1.1 503 Service Unavailable`; empty when no answer came.
    pub status_line: String,
    pub headers: Vec<(String, String)>,
    /// The first KiB of the body, as text.
    pub body: String,
    /// Leaf first; also of a handshake that failed.
    pub chain: Vec<Certificate>,
    /// All addresses the name had.
    pub addresses: Vec<IpAddr>,
}

/// One execution against one service from one region, with its attempts. Its times are frozen by the node that made it; the hub
/// sets them right where it knows that node's clock to be wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckResult {
    pub id: CheckId,
    pub service: ServiceId,
    pub region: RegionName,
    /// When it was due.
    pub scheduled_at: Timestamp,
    /// When it began: the time results are ordered and asked for by.
    pub started_at: Timestamp,
    /// The last attempt, from its start to its last byte or its failure.
    pub latency: Duration,
    /// The whole check, retries and waits between them included.
    pub elapsed: Duration,
    pub status_code: Option<u16>,
    /// `None`: every expectation of the last attempt was met.
    pub failure: Option<Failure>,
    pub phases: Phases,
    pub address: Option<IpAddr>,
    pub http_version: Option<HttpVersion>,
    pub tls_version: Option<TlsVersion>,
    pub certificate: Option<Arc<Certificate>>,
    /// Bytes of the last body as read, up to the cap.
    pub body_bytes: u64,
    pub redirects: u8,
    /// How often it tried; at least 1.
    pub attempt_count: u8,
    /// Each try in order, kept where the check failed or tried more than once; else empty.
    pub attempts: Vec<Attempt>,
    /// Kept where the check failed or tried more than once.
    pub evidence: Option<Box<Evidence>>,
    /// Microseconds the node's clock was ahead of the hub's; negative: behind. The times above are by the hub's clock then.
    /// 0 where it is not known or too small to matter, and as long as the hub has not stored the result.
    pub clock_offset: i64,
}

impl CheckResult {
    /// Brings the times from the node's clock to the hub's, given how far the node's is ahead; 0 gives back the node's own.
    pub fn set_clock_offset(&mut self, offset: i64) {
        let shift = self.clock_offset.saturating_sub(offset);
        self.scheduled_at.0 = self.scheduled_at.0.saturating_add(shift);
        self.started_at.0 = self.started_at.0.saturating_add(shift);
        self.clock_offset = offset;
    }

    pub fn ok(&self) -> bool {
        self.failure.is_none()
    }
}
