//! The hub's own certificate authority: made on the first start, then read.
//!
//! It issues the hub's certificate and those of the nodes; the cookie of the cluster is derived from its key, so there is
//! one secret to keep and none to lose track of. Certificates begin a day before they are made: a machine whose clock is a
//! little behind can join all the same, and the wrong clock is measured and shown once it is in.
//!
//! **Invariant.** Nothing of a request but its key reaches a certificate: whose it is, is the hub's decision.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::hmac;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, PublicKeyData, SanType, SerialNumber,
};
use rustls::ServerConfig;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, UnixTime};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use thiserror::Error;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::mesh::identity::{HUB_NAME, Identity, hexadecimal, set_validity};
use crate::mesh::node_files::{NodeFiles, provider, roots};
use crate::mesh::private_file::write_private;
use crate::model::time::Timestamp;

const DAY: Duration = Duration::from_secs(86_400);
/// How far certificates begin before they are made.
pub const BACKDATED: Duration = DAY;
const AUTHORITY_LIFE: Duration = Duration::from_secs(10 * 365 * 86_400);
const HUB_LIFE: Duration = Duration::from_secs(2 * 365 * 86_400);
/// A hub that starts with less than this left of its certificate makes itself another.
const HUB_LEFT: Duration = Duration::from_secs(365 * 86_400);
const NODE_LIFE: Duration = Duration::from_secs(30 * 86_400);
/// A request for a P-256 key has some 500 bytes.
const LARGEST_REQUEST: usize = 16 << 10;

#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum AuthorityError {
    #[error("{} cannot be read or written: {message}", path.display())]
    File { path: PathBuf, message: String },
    #[error("{} is broken: {message}", path.display())]
    Broken { path: PathBuf, message: String },
    #[error("certificate request is refused: {message}")]
    Request { message: String },
}

/// A certificate as a node gets it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IssuedCertificate {
    pub pem: String,
    pub serial: String,
    pub not_after: Timestamp,
}

pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: CertificateDer<'static>,
    certificate_pem: String,
    cookie: String,
    server: Arc<ServerConfig>,
    /// Of the hub's own certificate.
    hub_until: Option<Timestamp>,
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "Authority({})", hexadecimal(&self.fingerprint()))
    }
}

impl Authority {
    /// Reads `authority.pem` and `hub.pem` of a folder, and makes what is not there or near its end.
    pub fn open(folder: &Path, now: Timestamp) -> Result<Authority, AuthorityError> {
        let path = folder.join("authority.pem");
        let broken = |message: String| AuthorityError::Broken { path: path.clone(), message };
        let (certificate, key) = match read_pair(&path)? {
            Some(pair) => pair,
            None => {
                let (certificate, key) = make_authority(now).map_err(|error| broken(error.to_string()))?;
                write_pair(&path, &certificate, &key)?;
                tracing::info!(path = %path.display(), "certificate authority of the mesh made");
                (certificate, key)
            }
        };
        let key = KeyPair::try_from(&key).map_err(|error| broken(error.to_string()))?;
        check_pair(&certificate, &key).map_err(broken)?;
        let cookie = cookie(&key);
        let issuer = Issuer::from_ca_cert_der(&certificate, key).map_err(|error| broken(error.to_string()))?;
        let server = Arc::new(server_config(folder, &issuer, &certificate, now)?);
        let hub_until = read_pair(&folder.join("hub.pem"))?.and_then(|(hub, _)| until(&hub));
        let certificate_pem = pem("CERTIFICATE", &certificate);
        Ok(Authority { issuer, certificate, certificate_pem, cookie, server, hub_until })
    }

    /// TLS 1.3 with the hub's certificate. Who dials shows a certificate of this authority or none; what one without may do
    /// is for the caller to bound.
    pub fn server_config(&self) -> Arc<ServerConfig> {
        self.server.clone()
    }

    /// A certificate for the key of a request, in the name the hub decided on.
    pub fn issue(&self, csr_pem: &str, identity: &Identity, now: Timestamp) -> Result<IssuedCertificate, AuthorityError> {
        let refused = |message: String| AuthorityError::Request { message };
        if csr_pem.len() > LARGEST_REQUEST {
            return Err(refused(format!("it has {} bytes", csr_pem.len())));
        }
        // Checks that whoever asks owns the key.
        let request = CertificateSigningRequestParams::from_pem(csr_pem).map_err(|error| refused(error.to_string()))?;
        if request.public_key.algorithm() != &rcgen::PKCS_ECDSA_P256_SHA256 {
            return Err(refused("its key is not on curve P-256".to_owned()));
        }
        let (serial, until) = (new_serial(), now.plus(NODE_LIFE));
        let mut params = CertificateParams::default();
        identity.write_into(&mut params);
        set_validity(&mut params, now.minus(BACKDATED), until);
        params.serial_number = Some(SerialNumber::from_slice(&serial));
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        // Never a server's: a node must not pass for the hub.
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        params.use_authority_key_identifier_extension = true;
        let issued = params.signed_by(&request.public_key, &self.issuer).map_err(|error| refused(error.to_string()))?;
        Ok(IssuedCertificate { pem: pem("CERTIFICATE", issued.der()), serial: hexadecimal(&serial), not_after: until })
    }

    /// SHA-256 of the authority's certificate.
    pub fn fingerprint(&self) -> [u8; 32] {
        fingerprint(&self.certificate)
    }

    /// When the authority and the hub's own certificate end.
    pub fn ends(&self) -> Vec<(&'static str, Timestamp)> {
        let ends = [("authority", until(&self.certificate)), ("hub", self.hub_until)];
        ends.into_iter().filter_map(|(name, until)| Some((name, until?))).collect()
    }

    pub fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }

    /// What nodes and hub prove to each other once they have joined: 256 bits in hexadecimal.
    pub fn cookie(&self) -> &str {
        &self.cookie
    }
}

fn until(certificate: &CertificateDer<'_>) -> Option<Timestamp> {
    let seconds = crate::probe::certificate::not_after(certificate)?;
    Some(Timestamp(i64::try_from(seconds).ok()?.saturating_mul(1_000_000)))
}

/// SHA-256 of a certificate.
pub fn fingerprint(certificate: &CertificateDer<'_>) -> [u8; 32] {
    digest(&SHA256, certificate).as_ref().try_into().expect("SHA-256 has 32 bytes")
}

fn make_authority(now: Timestamp) -> Result<(CertificateDer<'static>, PrivateKeyDer<'static>), rcgen::Error> {
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::default();
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, "probemesh authority");
    params.distinguished_name = name;
    set_validity(&mut params, now.minus(BACKDATED), now.plus(AUTHORITY_LIFE));
    params.serial_number = Some(SerialNumber::from_slice(&new_serial()));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let certificate = params.self_signed(&key)?;
    Ok((certificate.der().clone(), PrivatePkcs8KeyDer::from(key.serialize_der()).into()))
}

fn server_config(
    folder: &Path,
    issuer: &Issuer<'static, KeyPair>,
    authority: &CertificateDer<'static>,
    now: Timestamp,
) -> Result<ServerConfig, AuthorityError> {
    let path = folder.join("hub.pem");
    let broken = |message: String| AuthorityError::Broken { path: path.clone(), message };
    let kept = read_pair(&path)?.filter(|(certificate, _)| still_good(certificate, authority, now));
    let (certificate, key) = match kept {
        Some(pair) => pair,
        None => {
            let (certificate, key) = make_hub(issuer, now).map_err(|error| broken(error.to_string()))?;
            write_pair(&path, &certificate, &key)?;
            (certificate, key)
        }
    };
    let tls = || -> Result<ServerConfig, rustls::Error> {
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots(authority.clone())?), provider())
            .allow_unauthenticated()
            .build()
            .map_err(|error| rustls::Error::General(error.to_string()))?;
        let builder = ServerConfig::builder_with_provider(provider()).with_protocol_versions(&[&rustls::version::TLS13])?;
        let mut config = builder.with_client_cert_verifier(verifier).with_single_cert(vec![certificate], key)?;
        // A resumed session would skip the look at the certificates.
        config.send_tls13_tickets = 0;
        config.session_storage = Arc::new(NoServerSessionStorage {});
        Ok(config)
    };
    tls().map_err(|error| broken(error.to_string()))
}

fn make_hub(issuer: &Issuer<'static, KeyPair>, now: Timestamp) -> Result<(CertificateDer<'static>, PrivateKeyDer<'static>), rcgen::Error> {
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::default();
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, HUB_NAME);
    params.distinguished_name = name;
    params.subject_alt_names = vec![SanType::DnsName(HUB_NAME.try_into()?)];
    set_validity(&mut params, now.minus(BACKDATED), now.plus(HUB_LIFE));
    params.serial_number = Some(SerialNumber::from_slice(&new_serial()));
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    let certificate = params.signed_by(&key, issuer)?;
    Ok((certificate.der().clone(), PrivatePkcs8KeyDer::from(key.serialize_der()).into()))
}

/// Whether a hub's certificate is of this authority, has begun and has enough of its life left.
fn still_good(certificate: &CertificateDer<'_>, authority: &CertificateDer<'static>, now: Timestamp) -> bool {
    let Ok(roots) = roots(authority.clone()) else { return false };
    let Ok(verifier) = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider()).build() else { return false };
    [now, now.plus(HUB_LEFT)].into_iter().all(|at| {
        let seconds = Duration::from_secs(u64::try_from(at.0.div_euclid(1_000_000)).unwrap_or(0));
        verifier.verify_server_cert(certificate, &[], &NodeFiles::hub_name(), &[], UnixTime::since_unix_epoch(seconds)).is_ok()
    })
}

/// 128 bits, of which the first two make it a positive number of full length.
fn new_serial() -> [u8; 16] {
    let mut serial = [0; 16];
    aws_lc_rs::rand::fill(&mut serial).expect("the system's random source works");
    serial[0] = serial[0] & 0x3f | 0x40;
    serial
}

/// HMAC-SHA256 as a key derivation: who knows the cookie learns nothing of the key.
fn cookie(key: &KeyPair) -> String {
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key.serialized_der()), b"probemesh cluster cookie 1");
    hexadecimal(tag.as_ref())
}

fn check_pair(certificate: &CertificateDer<'_>, key: &KeyPair) -> Result<(), String> {
    let (_, parsed) = X509Certificate::from_der(certificate).map_err(|error| error.to_string())?;
    match parsed.public_key().subject_public_key.data.as_ref() == key.der_bytes() {
        true => Ok(()),
        false => Err("its key is not the one of its certificate".to_owned()),
    }
}

fn read_pair(path: &Path) -> Result<Option<(CertificateDer<'static>, PrivateKeyDer<'static>)>, AuthorityError> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(AuthorityError::File { path: path.to_owned(), message: error.to_string() }),
    };
    let broken = |message: String| AuthorityError::Broken { path: path.to_owned(), message };
    let certificate = CertificateDer::from_pem_slice(&bytes).map_err(|error| broken(error.to_string()))?;
    let key = PrivateKeyDer::from_pem_slice(&bytes).map_err(|error| broken(error.to_string()))?;
    Ok(Some((certificate, key)))
}

fn write_pair(path: &Path, certificate: &CertificateDer<'_>, key: &PrivateKeyDer<'_>) -> Result<(), AuthorityError> {
    let text = pem("CERTIFICATE", certificate) + &pem("PRIVATE KEY", key.secret_der());
    write_private(path, text.as_bytes()).map_err(|error| AuthorityError::File { path: path.to_owned(), message: error.to_string() })
}

/// RFC 7468.
fn pem(label: &str, der: &[u8]) -> String {
    use base64::Engine;
    let body = base64::prelude::BASE64_STANDARD.encode(der);
    let lines: Vec<&str> = body.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).expect("base64 is ASCII")).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}
