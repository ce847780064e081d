//! Certificates as servers show them: parsed once, shared by every check that sees them again.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use rustls::crypto::aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256;
use rustls::crypto::hash::Hash;
use rustls::pki_types::CertificateDer;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};
use x509_parser::x509::X509Name;

use crate::model::check::Certificate;
use crate::model::time::Timestamp;

/// The leaves kept at most; beyond, all are forgotten and parsed again when seen.
const LEAVES: usize = 4096;

pub type Digest = [u8; 32];

/// The chain of one handshake, as it came.
#[derive(Debug)]
pub struct SeenChain {
    /// `None`: the leaf is not a certificate that can be read.
    pub leaf: Option<Arc<Certificate>>,
    pub ders: Vec<CertificateDer<'static>>,
}

impl SeenChain {
    /// Every certificate that can be read, leaf first.
    pub fn certificates(&self) -> Vec<Certificate> {
        self.ders.iter().filter_map(|der| parse(der)).collect()
    }
}

/// **Invariant**: the same leaf is one `Arc`, as long as it is kept.
#[derive(Debug, Default)]
pub struct CertificateBook {
    leaves: Mutex<HashMap<Digest, Arc<Certificate>>>,
}

impl CertificateBook {
    pub fn seen(&self, leaf: &CertificateDer<'_>, intermediates: &[CertificateDer<'_>]) -> SeenChain {
        let ders = std::iter::once(leaf).chain(intermediates).map(|der| der.clone().into_owned()).collect();
        SeenChain { leaf: self.leaf(leaf), ders }
    }

    fn leaf(&self, der: &CertificateDer<'_>) -> Option<Arc<Certificate>> {
        let digest = sha256([der.as_ref()]);
        if let Some(known) = self.leaves.lock().expect("no holder panics").get(&digest) {
            return Some(known.clone());
        }
        let parsed = Arc::new(parse(der)?);
        let mut leaves = self.leaves.lock().expect("no holder panics");
        if leaves.len() >= LEAVES {
            leaves.clear();
        }
        Some(leaves.entry(digest).or_insert(parsed).clone())
    }
}

/// SHA-256 over the parts, one after the other.
pub fn sha256<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> Digest {
    let mut context = hash().start();
    for part in parts {
        context.update(part);
    }
    let mut digest = Digest::default();
    digest.copy_from_slice(context.finish().as_ref());
    digest
}

fn hash() -> &'static dyn Hash {
    TLS13_AES_128_GCM_SHA256.tls13().expect("it is a TLS 1.3 suite").common.hash_provider
}

fn parse(der: &CertificateDer<'_>) -> Option<Certificate> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    let seconds = |seconds: i64| Timestamp(seconds.saturating_mul(1_000_000));
    let subject = match name(certificate.subject()) {
        subject if subject.is_empty() => alternative_name(&certificate).unwrap_or(subject),
        subject => subject,
    };
    Some(Certificate {
        subject,
        issuer: name(certificate.issuer()),
        not_before: seconds(certificate.validity().not_before.timestamp()),
        not_after: seconds(certificate.validity().not_after.timestamp()),
        fingerprint: hexadecimal(&sha256([der.as_ref()])),
    })
}

/// When it expires; `None` where it cannot be read.
pub fn not_after(der: &CertificateDer<'_>) -> Option<u64> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    u64::try_from(certificate.validity().not_after.timestamp()).ok()
}

/// The name as it is, less the control characters somebody may have hidden in it.
fn name(name: &X509Name<'_>) -> String {
    name.to_string().chars().filter(|character| !character.is_control()).collect()
}

/// Certificates of today often have an empty subject and their names beside it.
fn alternative_name(certificate: &X509Certificate<'_>) -> Option<String> {
    let names = certificate.subject_alternative_name().ok()??;
    names.value.general_names.iter().find_map(|name| match name {
        GeneralName::DNSName(name) => Some(format!("CN={name}")),
        _ => None,
    })
}

fn hexadecimal(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
