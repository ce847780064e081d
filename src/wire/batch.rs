//! A batch: results a node made, in the order it made them, frozen when its outbox committed them. The same bytes lie in
//! the outbox, cross the link and lie in the hub's journal.
//!
//! A batch is named by (node, boot, number), numbers rising by one within a boot, so a hub that remembers the last number
//! of each boot knows a resend when it sees one.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::model::check::{Attempt, Certificate, CheckResult, Evidence, Failure, HttpVersion, Phase, Phases, Reason, TlsVersion};
use crate::model::id::{Boot, CheckId, NodeName, RegionName, ServiceId};
use crate::model::time::Timestamp;

/// First byte of every batch. A hub reads all versions up to its own.
const VERSION: u8 = 1;

/// What can be known of a batch without unpacking its results.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BatchHead {
    node: Arc<str>,
    region: Arc<str>,
    boot: u64,
    number: u64,
    dropped: u64,
}

impl BatchHead {
    /// `dropped` counts the results this boot's outbox had to drop before this batch was made.
    pub fn new(node: &NodeName, region: &RegionName, boot: Boot, number: u64, dropped: u64) -> BatchHead {
        BatchHead { node: node.0.clone(), region: region.0.clone(), boot: boot.0, number, dropped }
    }

    pub fn node(&self) -> NodeName {
        NodeName(self.node.clone())
    }

    pub fn region(&self) -> RegionName {
        RegionName(self.region.clone())
    }

    pub fn boot(&self) -> Boot {
        Boot(self.boot)
    }

    pub fn number(&self) -> u64 {
        self.number
    }

    pub fn dropped(&self) -> u64 {
        self.dropped
    }
}

#[derive(Debug, Error)]
pub enum BatchError {
    #[error("batch is empty")]
    Empty,
    #[error("batch has version {found}, this process reads up to {VERSION}")]
    Version { found: u8 },
    #[error("batch cannot be read")]
    Encoding(#[source] postcard::Error),
    #[error("batch names code {code}, which no {what} has")]
    Code { what: &'static str, code: u8 },
}

/// Packs results into the bytes of one batch.
pub fn encode(head: &BatchHead, results: &[CheckResult]) -> Vec<u8> {
    let mut certificates: Vec<Arc<Certificate>> = Vec::new();
    let results = results.iter().map(|result| WireResult::new(result, &mut certificates)).collect();
    let certificates = certificates.iter().map(|certificate| WireCertificate::from(&**certificate)).collect();
    postcard::to_extend(&(head, WireBody { certificates, results }), vec![VERSION]).expect("plain data always encodes")
}

/// Reads the head alone.
pub fn decode_head(bytes: &[u8]) -> Result<BatchHead, BatchError> {
    Ok(postcard::take_from_bytes(payload(bytes)?).map_err(BatchError::Encoding)?.0)
}

/// Reads a whole batch.
pub fn decode(bytes: &[u8]) -> Result<(BatchHead, Vec<CheckResult>), BatchError> {
    let (head, body): (BatchHead, WireBody) = postcard::from_bytes(payload(bytes)?).map_err(BatchError::Encoding)?;
    let certificates: Vec<Arc<Certificate>> = body.certificates.into_iter().map(|certificate| Arc::new(certificate.into())).collect();
    let results = body.results.into_iter().map(|result| result.into_model(&head, &certificates)).collect::<Result<_, _>>()?;
    Ok((head, results))
}

fn payload(bytes: &[u8]) -> Result<&[u8], BatchError> {
    match bytes.split_first() {
        None => Err(BatchError::Empty),
        Some((&VERSION, payload)) => Ok(payload),
        Some((&found, _)) => Err(BatchError::Version { found }),
    }
}

#[derive(Serialize, Deserialize)]
struct WireBody {
    /// Named by index from the results: most checks of a batch see a certificate another has seen.
    certificates: Vec<WireCertificate>,
    results: Vec<WireResult>,
}

#[derive(Serialize, Deserialize)]
struct WireResult {
    seq: u64,
    service: u32,
    scheduled_us: i64,
    /// Start after due; zig-zag, so a small lag is a small number.
    lag_us: i64,
    latency_us: u64,
    elapsed_us: u64,
    status_code: Option<u16>,
    failure: Option<WireFailure>,
    phases: WirePhases,
    address: Option<IpAddr>,
    http_version: u8,
    tls_version: u8,
    certificate: Option<u32>,
    body_bytes: u64,
    redirects: u8,
    attempt_count: u8,
    attempts: Vec<WireAttempt>,
    evidence: Option<WireEvidence>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WireFailure {
    reason: u8,
    phase: u8,
    message: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WirePhases {
    dns_us: Option<u64>,
    connect_us: Option<u64>,
    tls_us: Option<u64>,
    first_byte_us: Option<u64>,
    transfer_us: Option<u64>,
}

#[derive(Serialize, Deserialize)]
struct WireAttempt {
    offset_us: u64,
    latency_us: u64,
    phases: WirePhases,
    status_code: Option<u16>,
    address: Option<IpAddr>,
    failure: Option<WireFailure>,
}

#[derive(Serialize, Deserialize)]
struct WireCertificate {
    subject: String,
    issuer: String,
    not_before_us: i64,
    not_after_us: i64,
    fingerprint: String,
}

#[derive(Serialize, Deserialize)]
struct WireEvidence {
    status_line: String,
    headers: Vec<(String, String)>,
    body: String,
    chain: Vec<WireCertificate>,
    addresses: Vec<IpAddr>,
}

impl WireResult {
    fn new(result: &CheckResult, certificates: &mut Vec<Arc<Certificate>>) -> WireResult {
        let certificate = result.certificate.as_ref().map(|certificate| {
            let known = certificates.iter().position(|known| Arc::ptr_eq(known, certificate) || known == certificate);
            known.unwrap_or_else(|| {
                certificates.push(certificate.clone());
                certificates.len() - 1
            }) as u32
        });
        WireResult {
            seq: result.id.seq,
            service: result.service.0,
            scheduled_us: result.scheduled_at.0,
            lag_us: result.started_at.0 - result.scheduled_at.0,
            latency_us: us(result.latency),
            elapsed_us: us(result.elapsed),
            status_code: result.status_code,
            failure: result.failure.as_ref().map(WireFailure::from),
            phases: result.phases.into(),
            address: result.address,
            http_version: result.http_version.map_or(0, |version| version as u8),
            tls_version: result.tls_version.map_or(0, |version| version as u8),
            certificate,
            body_bytes: result.body_bytes,
            redirects: result.redirects,
            attempt_count: result.attempt_count,
            attempts: result.attempts.iter().map(WireAttempt::from).collect(),
            evidence: result.evidence.as_deref().map(WireEvidence::from),
        }
    }

    fn into_model(self, head: &BatchHead, certificates: &[Arc<Certificate>]) -> Result<CheckResult, BatchError> {
        let version = |code: u8, what| {
            move |found: Option<_>| if code == 0 || found.is_some() { Ok(()) } else { Err(BatchError::Code { what, code }) }
        };
        let http_version = HttpVersion::from_code(self.http_version);
        version(self.http_version, "HTTP version")(http_version.map(|_| ()))?;
        let tls_version = TlsVersion::from_code(self.tls_version);
        version(self.tls_version, "TLS version")(tls_version.map(|_| ()))?;
        Ok(CheckResult {
            id: CheckId { node: head.node(), boot: head.boot(), seq: self.seq },
            service: ServiceId(self.service),
            region: head.region(),
            scheduled_at: Timestamp(self.scheduled_us),
            started_at: Timestamp(self.scheduled_us.saturating_add(self.lag_us)),
            latency: Duration::from_micros(self.latency_us),
            elapsed: Duration::from_micros(self.elapsed_us),
            status_code: self.status_code,
            failure: self.failure.map(Failure::try_from).transpose()?,
            phases: self.phases.into(),
            address: self.address,
            http_version,
            tls_version,
            certificate: self.certificate.and_then(|index| certificates.get(index as usize).cloned()),
            body_bytes: self.body_bytes,
            redirects: self.redirects,
            attempt_count: self.attempt_count,
            attempts: self.attempts.into_iter().map(Attempt::try_from).collect::<Result<_, _>>()?,
            evidence: self.evidence.map(|evidence| Box::new(evidence.into())),
            clock_offset: 0,
        })
    }
}

impl From<&Failure> for WireFailure {
    fn from(failure: &Failure) -> WireFailure {
        WireFailure { reason: failure.reason.code(), phase: failure.phase.code(), message: failure.message.clone() }
    }
}

impl TryFrom<WireFailure> for Failure {
    type Error = BatchError;

    fn try_from(wire: WireFailure) -> Result<Failure, BatchError> {
        let reason = Reason::from_code(wire.reason).ok_or(BatchError::Code { what: "reason", code: wire.reason })?;
        let phase = Phase::from_code(wire.phase).ok_or(BatchError::Code { what: "phase", code: wire.phase })?;
        Ok(Failure { reason, phase, message: wire.message })
    }
}

impl From<Phases> for WirePhases {
    fn from(phases: Phases) -> WirePhases {
        WirePhases {
            dns_us: phases.dns.map(us),
            connect_us: phases.connect.map(us),
            tls_us: phases.tls.map(us),
            first_byte_us: phases.first_byte.map(us),
            transfer_us: phases.transfer.map(us),
        }
    }
}

impl From<WirePhases> for Phases {
    fn from(wire: WirePhases) -> Phases {
        Phases {
            dns: wire.dns_us.map(Duration::from_micros),
            connect: wire.connect_us.map(Duration::from_micros),
            tls: wire.tls_us.map(Duration::from_micros),
            first_byte: wire.first_byte_us.map(Duration::from_micros),
            transfer: wire.transfer_us.map(Duration::from_micros),
        }
    }
}

impl From<&Attempt> for WireAttempt {
    fn from(attempt: &Attempt) -> WireAttempt {
        WireAttempt {
            offset_us: us(attempt.offset),
            latency_us: us(attempt.latency),
            phases: attempt.phases.into(),
            status_code: attempt.status_code,
            address: attempt.address,
            failure: attempt.failure.as_ref().map(WireFailure::from),
        }
    }
}

impl TryFrom<WireAttempt> for Attempt {
    type Error = BatchError;

    fn try_from(wire: WireAttempt) -> Result<Attempt, BatchError> {
        Ok(Attempt {
            offset: Duration::from_micros(wire.offset_us),
            latency: Duration::from_micros(wire.latency_us),
            phases: wire.phases.into(),
            status_code: wire.status_code,
            address: wire.address,
            failure: wire.failure.map(Failure::try_from).transpose()?,
        })
    }
}

impl From<&Certificate> for WireCertificate {
    fn from(certificate: &Certificate) -> WireCertificate {
        WireCertificate {
            subject: certificate.subject.clone(),
            issuer: certificate.issuer.clone(),
            not_before_us: certificate.not_before.0,
            not_after_us: certificate.not_after.0,
            fingerprint: certificate.fingerprint.clone(),
        }
    }
}

impl From<WireCertificate> for Certificate {
    fn from(wire: WireCertificate) -> Certificate {
        Certificate {
            subject: wire.subject,
            issuer: wire.issuer,
            not_before: Timestamp(wire.not_before_us),
            not_after: Timestamp(wire.not_after_us),
            fingerprint: wire.fingerprint,
        }
    }
}

impl From<&Evidence> for WireEvidence {
    fn from(evidence: &Evidence) -> WireEvidence {
        WireEvidence {
            status_line: evidence.status_line.clone(),
            headers: evidence.headers.clone(),
            body: evidence.body.clone(),
            chain: evidence.chain.iter().map(WireCertificate::from).collect(),
            addresses: evidence.addresses.clone(),
        }
    }
}

impl From<WireEvidence> for Evidence {
    fn from(wire: WireEvidence) -> Evidence {
        Evidence {
            status_line: wire.status_line,
            headers: wire.headers,
            body: wire.body,
            chain: wire.chain.into_iter().map(Certificate::from).collect(),
            addresses: wire.addresses,
        }
    }
}

/// Whole microseconds; a span that does not fit would be half a million years.
fn us(span: Duration) -> u64 {
    u64::try_from(span.as_micros()).unwrap_or(u64::MAX)
}
