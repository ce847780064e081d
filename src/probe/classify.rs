//! What went wrong, from the errors the libraries give: a reason of the fixed set, the step it happened in, and one line for
//! a person.
//!
//! **Invariant**: a message never holds an address's query, user name or password; of foreign errors only the innermost text is
//! taken, which knows nothing of the request.

use std::error::Error;
use std::io::{self, ErrorKind};
use std::time::Duration;

use rustls::pki_types::ServerName;
use rustls::{AlertDescription, CertificateError};

use crate::model::check::{Certificate, Failure, Phase, Reason};
use crate::model::time::Timestamp;
use crate::probe::recorder::Hop;

/// Why a request failed while `hop` was under way.
pub fn failure(err: &reqwest::Error, hop: &Hop) -> Failure {
    let phase = hop.phase();
    if let Some((reason, message)) = &hop.refusal {
        return Failure { reason: *reason, phase, message: message.clone() };
    }
    let causes = Causes::of(err);
    if let Some(tls) = causes.tls {
        let reason = if matches!(tls, rustls::Error::InvalidCertificate(_)) { Reason::Certificate } else { Reason::Tls };
        return Failure { reason, phase: Phase::Tls, message: tls_message(tls) };
    }
    if let Some(io) = causes.io {
        return io_failure(io, phase, &causes.innermost);
    }
    let message = causes.innermost;
    match phase {
        _ if err.is_builder() => Failure { reason: Reason::Internal, phase, message },
        Phase::Dns => Failure { reason: Reason::Dns, phase, message },
        Phase::Connect => Failure { reason: Reason::Connect, phase, message },
        Phase::Tls => Failure { reason: Reason::Tls, phase, message },
        _ => Failure { reason: Reason::Protocol, phase, message: protocol_message(&message) },
    }
}

/// No answer within the limit of an attempt.
pub fn timeout(limit: Duration, phase: Phase) -> Failure {
    let doing = match phase {
        Phase::Dns => "resolving the name",
        Phase::Connect => "connecting",
        Phase::Tls => "in the TLS handshake",
        Phase::FirstByte => "waiting for first byte",
        Phase::Transfer => "reading the body",
        Phase::Expect => "checking the answer",
    };
    Failure { reason: Reason::Timeout, phase, message: format!("no answer within {} ({doing})", span(limit)) }
}

/// `10 s`, `2.5 s`, `250 ms`.
pub fn span(span: Duration) -> String {
    let seconds = span.as_secs_f64();
    if seconds >= 1.0 { format!("{} s", rounded(seconds)) } else { format!("{} ms", rounded(seconds * 1e3)) }
}

fn rounded(number: f64) -> f64 {
    (number * 1e3).round() / 1e3
}

/// The verifier's verdict in words.
pub fn certificate_message(err: &rustls::Error, name: &ServerName<'_>, leaf: Option<&Certificate>) -> String {
    let name = name.to_str();
    let rustls::Error::InvalidCertificate(err) = err else { return tls_message(err) };
    match err {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => match leaf {
            Some(leaf) => format!("the certificate expired: {} was valid until {}", leaf.subject, day(leaf.not_after)),
            None => "the certificate expired".to_owned(),
        },
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => match leaf {
            Some(leaf) => format!("the certificate is not valid yet: {} begins on {}", leaf.subject, day(leaf.not_before)),
            None => "the certificate is not valid yet".to_owned(),
        },
        CertificateError::NotValidForNameContext { presented, .. } if !presented.is_empty() => {
            let names: Vec<&str> = presented.iter().take(5).map(|name| plain_name(name)).collect();
            format!("wrong name: the certificate is not valid for {name}, only for {}", names.join(", "))
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            format!("wrong name: the certificate is not valid for {name}")
        }
        CertificateError::UnknownIssuer => match leaf {
            Some(leaf) if leaf.subject == leaf.issuer => format!("unknown issuer: the certificate is self-signed ({})", leaf.subject),
            Some(leaf) => format!("unknown issuer: the certificate was issued by {}, which is not trusted", leaf.issuer),
            None => "unknown issuer of the certificate".to_owned(),
        },
        CertificateError::Revoked => "the certificate was revoked".to_owned(),
        CertificateError::BadSignature => "the certificate carries a bad signature".to_owned(),
        CertificateError::BadEncoding => "the certificate cannot be read".to_owned(),
        other => {
            tracing::debug!(name = &*name, "certificate refused: {other:?}");
            let why = untrusted(other);
            match leaf {
                Some(leaf) if leaf.subject == leaf.issuer => {
                    format!("the certificate is self-signed ({}) and cannot be trusted: {why}", leaf.subject)
                }
                _ => format!("the certificate cannot be trusted: {why}"),
            }
        }
    }
}

/// Why a certificate is of no use, where the verifier has no words of its own: what it is built on is told by name alone.
fn untrusted(err: &CertificateError) -> &'static str {
    match err {
        CertificateError::UnhandledCriticalExtension => "it holds a critical extension that is not understood",
        CertificateError::UnknownRevocationStatus => "whether it was revoked is not known",
        CertificateError::ExpiredRevocationList | CertificateError::ExpiredRevocationListContext { .. } => {
            "the list of revoked certificates is out of date"
        }
        CertificateError::UnsupportedSignatureAlgorithmContext { .. }
        | CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => "it is signed in a way that is not accepted",
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => "it was not made for servers",
        CertificateError::Other(inner) => {
            let name = format!("{inner:?}");
            let known = OTHERS.iter().find(|(known, _)| name.contains(known));
            known.map_or("it does not keep the rules for certificates of servers", |(_, words)| words)
        }
        _ => "it was refused by the verifier",
    }
}

/// Names of the library the verifier is built on.
const OTHERS: [(&str, &str); 7] = [
    ("CaUsedAsEndEntity", "the server shows the certificate of a CA itself in the place of one made for a server (CA:TRUE)"),
    ("EndEntityUsedAsCa", "one of its chain was signed by a certificate that is no CA's (CA:FALSE)"),
    ("PathLenConstraintViolated", "its chain is longer than its CA allows"),
    ("NameConstraintViolation", "its CA may not vouch for this name"),
    ("UnsupportedCertVersion", "it is of a version that is no longer accepted (X.509 v3 is)"),
    ("MaximumPathBuildCallsExceeded", "its chain is too tangled to be followed"),
    ("MaximumSignatureChecksExceeded", "its chain is too tangled to be followed"),
];

/// `DnsName("example.com")` as the verifier quotes it, without its wrapping.
fn plain_name(name: &str) -> &str {
    name.split('"').nth(1).unwrap_or(name)
}

fn day(at: Timestamp) -> String {
    at.rfc3339().split('T').next().unwrap_or_default().to_owned()
}

pub fn tls_message(err: &rustls::Error) -> String {
    match err {
        rustls::Error::AlertReceived(AlertDescription::CertificateRequired) => "the server asks for a client certificate".to_owned(),
        rustls::Error::AlertReceived(
            AlertDescription::BadCertificate
            | AlertDescription::UnknownCA
            | AlertDescription::CertificateUnknown
            | AlertDescription::CertificateExpired
            | AlertDescription::AccessDenied,
        ) => format!("the server refuses the client certificate: {err}"),
        rustls::Error::AlertReceived(AlertDescription::NoApplicationProtocol) => {
            "the server does not speak the HTTP version asked for (no common ALPN protocol)".to_owned()
        }
        rustls::Error::InvalidMessage(_) => "the server does not speak TLS on this port".to_owned(),
        other => format!("TLS handshake failed: {other}"),
    }
}

fn io_failure(err: &io::Error, phase: Phase, innermost: &str) -> Failure {
    let early = phase <= Phase::Connect;
    let (reason, message) = match err.kind() {
        ErrorKind::ConnectionRefused => (Reason::Connect, "connection refused".to_owned()),
        ErrorKind::HostUnreachable => (Reason::Connect, "host unreachable".to_owned()),
        ErrorKind::NetworkUnreachable | ErrorKind::AddrNotAvailable => (Reason::Connect, "network unreachable".to_owned()),
        ErrorKind::TimedOut => (Reason::Connect, "the connection timed out".to_owned()),
        _ if phase == Phase::Tls => match err.kind() {
            ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted | ErrorKind::BrokenPipe => {
                (Reason::Tls, "the server closed the connection during the TLS handshake".to_owned())
            }
            _ => (Reason::Tls, format!("TLS handshake failed: {innermost}")),
        },
        ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted | ErrorKind::BrokenPipe => {
            (Reason::Connect, "the connection was reset by the server".to_owned())
        }
        ErrorKind::UnexpectedEof if !early => (Reason::Protocol, "the server closed the connection in mid-answer".to_owned()),
        _ if early => (Reason::Connect, format!("cannot connect: {innermost}")),
        _ => (Reason::Protocol, protocol_message(innermost)),
    };
    Failure { reason, phase, message }
}

fn protocol_message(innermost: &str) -> String {
    if innermost.contains("before message completed") {
        return "the server closed the connection before it had answered".to_owned();
    }
    if innermost.contains("end of file before message length reached") {
        return "the server closed the connection in mid-answer".to_owned();
    }
    format!("not a valid HTTP answer: {innermost}")
}

/// What lies below an error.
struct Causes<'a> {
    tls: Option<&'a rustls::Error>,
    io: Option<&'a io::Error>,
    innermost: String,
}

impl<'a> Causes<'a> {
    fn of(err: &'a reqwest::Error) -> Causes<'a> {
        let mut found = Causes { tls: None, io: None, innermost: String::new() };
        // The outermost error is left out of the text: it names the address with its query.
        let mut innermost: Option<&(dyn Error + 'static)> = None;
        let mut next = err.source();
        while let Some(cause) = next {
            innermost = Some(cause);
            if let Some(tls) = cause.downcast_ref() {
                found.tls = Some(tls);
            }
            next = cause.source();
            if let Some(io) = cause.downcast_ref::<io::Error>() {
                found.io = Some(io);
                // An I/O error skips what it wraps when asked for its source.
                next = io.get_ref().map(|inner| inner as &(dyn Error + 'static));
            }
        }
        found.innermost = innermost.map_or_else(|| "the request failed".to_owned(), |cause| cause.to_string());
        found
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rustls::OtherError;

    use super::*;

    #[test]
    fn a_certificate_of_a_ca_is_told_in_words_and_no_name_of_the_program_is() {
        #[derive(Debug)]
        struct CaUsedAsEndEntity;
        impl std::fmt::Display for CaUsedAsEndEntity {
            fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                out.write_str("CaUsedAsEndEntity")
            }
        }
        impl Error for CaUsedAsEndEntity {}
        let name = ServerName::try_from("shop.example").expect("it is a name");
        let other = CertificateError::Other(OtherError(Arc::new(CaUsedAsEndEntity)));
        for (err, words) in [(other, "certificate of a CA itself"), (CertificateError::InvalidPurpose, "not made for servers")] {
            let told = certificate_message(&rustls::Error::InvalidCertificate(err), &name, None);
            assert!(told.contains(words), "{told}");
            assert!(!told.contains("Other") && !told.contains("EndEntity") && !told.contains("InvalidPurpose"), "{told}");
        }
    }
}
