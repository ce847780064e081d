//! TLS as a probe wants it: each handshake full, its start marked, its chain seen even where it is refused.
//!
//! A chain that was verified for a name is not verified again for some minutes: a check every second would spend more on that
//! than on all the rest. The key is a SHA-256 over the whole chain and the name, and each set of roots has a cache of its own, so
//! nothing passes that would not have passed a moment ago; the earliest expiry in the chain ends an entry early.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{
    ClientSessionStore, Resumption, Tls12ClientSessionValue, Tls13ClientSessionValue, WebPkiServerVerifier, verify_server_name,
};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, NamedGroup, RootCertStore, SignatureScheme};

use crate::model::check::{Reason, TlsVersion};
use crate::model::service::TlsOptions;
use crate::probe::certificate::{CertificateBook, Digest, SeenChain, not_after, sha256};
use crate::probe::classify::certificate_message;
use crate::probe::recorder;

/// A verified chain is trusted for so many seconds.
const TRUSTED_FOR: u64 = 300;
/// Chains kept for one set of roots.
const CHAINS: usize = 4096;

/// What the TLS settings of every client have in common.
pub struct TlsGround {
    provider: Arc<CryptoProvider>,
    system: Arc<RootCertStore>,
    book: Arc<CertificateBook>,
    /// Shared by all that verify against the system's roots alone.
    verifier: Arc<Verifier>,
}

impl TlsGround {
    pub fn new() -> Result<TlsGround, rustls::Error> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let system = Arc::new(system_roots());
        let book = Arc::new(CertificateBook::default());
        let verifier = Arc::new(Verifier::new(system.clone(), Vec::new(), &provider, book.clone(), false).map_err(plain_error)?);
        Ok(TlsGround { provider, system, book, verifier })
    }

    /// The settings of one client; the error is a sentence for a person.
    pub fn config(&self, options: &TlsOptions, protocols: &[&[u8]]) -> Result<ClientConfig, String> {
        let verifier = if options.ca.is_none() && !options.insecure_skip_verify {
            self.verifier.clone()
        } else {
            let mut roots = RootCertStore::clone(&self.system);
            let named = options.ca.as_deref().map_or(Ok(Vec::new()), |ca| certificates(ca, "tls.ca"))?;
            for certificate in named.iter().cloned() {
                roots.add(certificate).map_err(|err| format!("tls.ca holds a certificate that cannot be used: {err}"))?;
            }
            Arc::new(Verifier::new(Arc::new(roots), named, &self.provider, self.book.clone(), options.insecure_skip_verify)?)
        };
        let builder = ClientConfig::builder_with_provider(self.provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(|err| err.to_string())?
            .dangerous()
            .with_custom_certificate_verifier(verifier);
        let mut config = match (&options.client_cert, &options.client_key) {
            (Some(certificate), Some(key)) => builder
                .with_client_auth_cert(certificates(certificate, "tls.client_cert")?, private_key(key)?)
                .map_err(|err| format!("tls.client_cert and tls.client_key cannot be used together: {err}"))?,
            _ => builder.with_no_client_auth(),
        };
        config.resumption = Resumption::store(Arc::new(HandshakeMark));
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
        Ok(config)
    }
}

/// The roots of the system, or those of the common browsers where it has none.
pub fn system_roots() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        tracing::info!("the system has no root certificates, using the built-in ones");
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    }
    roots
}

/// For a client that has no certificate of its own.
pub fn trusting(roots: RootCertStore) -> Result<ClientConfig, rustls::Error> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

/// The largest PEM file that is read.
const PEM_BYTES: u64 = 1 << 20;

fn pem(given: &str, field: &str) -> Result<Vec<u8>, String> {
    if given.contains("-----BEGIN") {
        return Ok(given.as_bytes().to_vec());
    }
    let unread = |err: std::io::Error| format!("{field}: cannot read the file {given:?}: {err}");
    // A device or a pipe could be read for ever.
    let about = std::fs::metadata(given).map_err(unread)?;
    if !about.is_file() || about.len() > PEM_BYTES {
        return Err(format!("{field}: {given:?} is not a file of at most {} KiB", PEM_BYTES >> 10));
    }
    std::fs::read(given).map_err(unread)
}

/// From PEM text, or from the PEM file at a path.
pub fn certificates(given: &str, field: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    let found: Vec<_> = CertificateDer::pem_slice_iter(&pem(given, field)?)
        .collect::<Result<_, _>>()
        .map_err(|err| format!("{field} is not well-formed PEM: {err}"))?;
    if found.is_empty() { Err(format!("{field} holds no certificate")) } else { Ok(found) }
}

fn private_key(given: &str) -> Result<PrivateKeyDer<'static>, String> {
    // The parser's own words may quote what it read.
    PrivateKeyDer::from_pem_slice(&pem(given, "tls.client_key")?).map_err(|_| "tls.client_key holds no private key in PEM form".to_owned())
}

fn plain_error(message: String) -> rustls::Error {
    rustls::Error::General(message)
}

/// Never resumes; is there because it is asked at the start of each handshake, once the TCP connection stands.
#[derive(Debug)]
struct HandshakeMark;

impl ClientSessionStore for HandshakeMark {
    fn set_kx_hint(&self, _: ServerName<'static>, _: NamedGroup) {}

    fn kx_hint(&self, _: &ServerName<'_>) -> Option<NamedGroup> {
        if let Some(recorder) = recorder::current() {
            recorder.mark(|hop, now| hop.tls_start = Some(now));
        }
        None
    }

    fn set_tls12_session(&self, _: ServerName<'static>, _: Tls12ClientSessionValue) {}

    fn tls12_session(&self, _: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        None
    }

    fn remove_tls12_session(&self, _: &ServerName<'static>) {}

    fn insert_tls13_ticket(&self, _: ServerName<'static>, _: Tls13ClientSessionValue) {}

    fn take_tls13_ticket(&self, _: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        None
    }
}

/// Verifies as the platform would, and writes down what it saw.
#[derive(Debug)]
struct Verifier {
    inner: Arc<WebPkiServerVerifier>,
    /// What `tls.ca` holds. A server's own certificate may be named there: plain tools make self-signed ones that are CAs.
    named: Vec<CertificateDer<'static>>,
    book: Arc<CertificateBook>,
    /// Takes any chain; the server must still own the key of its leaf.
    lenient: bool,
    trusted: Mutex<HashMap<Digest, Trusted>>,
}

#[derive(Clone, Debug)]
struct Trusted {
    chain: Arc<SeenChain>,
    from: u64,
    until: u64,
}

impl Verifier {
    fn new(
        roots: Arc<RootCertStore>,
        named: Vec<CertificateDer<'static>>,
        provider: &Arc<CryptoProvider>,
        book: Arc<CertificateBook>,
        lenient: bool,
    ) -> Result<Verifier, String> {
        let inner = WebPkiServerVerifier::builder_with_provider(roots, provider.clone())
            .build()
            .map_err(|err| format!("the root certificates cannot be used: {err}"))?;
        Ok(Verifier { inner, named, book, lenient, trusted: Mutex::default() })
    }

    fn trusted(&self, key: &Digest, now: u64) -> Option<Arc<SeenChain>> {
        let trusted = self.trusted.lock().expect("no holder panics");
        trusted.get(key).filter(|entry| (entry.from..entry.until).contains(&now)).map(|entry| entry.chain.clone())
    }

    fn trust(&self, key: Digest, chain: Arc<SeenChain>, now: u64) {
        let Some(expiry) = chain.ders.iter().map(not_after).try_fold(u64::MAX, |earliest, end| end.map(|end| earliest.min(end))) else {
            return;
        };
        let mut trusted = self.trusted.lock().expect("no holder panics");
        if trusted.len() >= CHAINS {
            trusted.retain(|_, entry| entry.until > now);
        }
        if trusted.len() < CHAINS {
            trusted.insert(key, Trusted { chain, from: now, until: expiry.min(now + TRUSTED_FOR) });
        }
    }
}

/// A leaf that is trusted because it was named itself: its name and its dates must hold all the same.
fn named_itself(
    leaf: &CertificateDer<'_>,
    name: &ServerName<'_>,
    chain: &SeenChain,
    now: UnixTime,
) -> Result<ServerCertVerified, rustls::Error> {
    let parsed = ParsedCertificate::try_from(leaf)?;
    verify_server_name(&parsed, name)?;
    let Some(seen) = chain.leaf.as_deref() else { return Err(CertificateError::BadEncoding.into()) };
    let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX).saturating_mul(1_000_000);
    if now < seen.not_before.0 {
        return Err(CertificateError::NotValidYet.into());
    }
    if now > seen.not_after.0 {
        return Err(CertificateError::Expired.into());
    }
    Ok(ServerCertVerified::assertion())
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let recorder = recorder::current();
        let alias = recorder.as_ref().and_then(|recorder| recorder.hop().rules.alias.clone());
        let name = match &alias {
            Some(alias) if name.to_str() == alias.asked => &alias.verify,
            _ => name,
        };
        let key = chain_key(leaf, intermediates, name);
        let (chain, verdict) = match self.trusted(&key, now.as_secs()) {
            Some(chain) => (chain, Ok(ServerCertVerified::assertion())),
            None => {
                let chain = Arc::new(self.book.seen(leaf, intermediates));
                let verdict = match self.lenient {
                    true => Ok(ServerCertVerified::assertion()),
                    false => match self.inner.verify_server_cert(leaf, intermediates, name, ocsp, now) {
                        Err(_) if self.named.iter().any(|named| named == leaf) => named_itself(leaf, name, &chain, now),
                        verdict => verdict,
                    },
                };
                if verdict.is_ok() {
                    self.trust(key, chain.clone(), now.as_secs());
                }
                (chain, verdict)
            }
        };
        if let Some(recorder) = recorder {
            let mut hop = recorder.hop();
            if let Err(err) = &verdict {
                hop.refusal = Some((Reason::Certificate, certificate_message(err, name, chain.leaf.as_deref())));
            }
            hop.chain = Some(chain);
        }
        verdict
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        note_version(TlsVersion::Tls12);
        self.inner.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        note_version(TlsVersion::Tls13);
        self.inner.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}

fn note_version(version: TlsVersion) {
    if let Some(recorder) = recorder::current() {
        recorder.hop().tls_version = Some(version);
    }
}

/// Lengths go before contents, so that no two different chains run together to the same bytes.
fn chain_key(leaf: &CertificateDer<'_>, intermediates: &[CertificateDer<'_>], name: &ServerName<'_>) -> Digest {
    let name = name.to_str();
    let lengths: Vec<[u8; 8]> = std::iter::once(leaf).chain(intermediates).map(|der| (der.len() as u64).to_be_bytes()).collect();
    let ders = std::iter::once(leaf).chain(intermediates);
    let parts = lengths.iter().zip(ders).flat_map(|(length, der)| [length.as_slice(), der.as_ref()]);
    sha256(parts.chain([name.as_bytes()]))
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

    use super::*;

    fn certificate(until: i32) -> CertificateDer<'static> {
        let mut params = CertificateParams::new(vec!["web.test".to_owned()]).expect("a name");
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(until, 1, 1);
        params.self_signed(&KeyPair::generate().expect("a key")).expect("a certificate").der().clone()
    }

    #[test]
    fn trust_ends_after_minutes_with_the_certificate_and_when_the_clock_goes_back() {
        let verifier = TlsGround::new().expect("TLS can be set up").verifier;
        let name = ServerName::try_from("web.test").expect("a name");
        let (now, end) = (1_790_000_000, not_after(&certificate(2027)).expect("it ends"));
        let cases = [
            (2090, now, [(now - 1, false), (now, true), (now + TRUSTED_FOR - 1, true), (now + TRUSTED_FOR, false)]),
            (2027, end - 10, [(end - 11, false), (end - 10, true), (end - 1, true), (end, false)]),
        ];
        for (until, from, readings) in cases {
            let leaf = certificate(until);
            let key = chain_key(&leaf, &[], &name);
            verifier.trust(key, Arc::new(verifier.book.seen(&leaf, &[])), from);
            for (at, trusted) in readings {
                assert_eq!(verifier.trusted(&key, at).is_some(), trusted, "until {until}, at {at}");
            }
        }
    }

    #[test]
    fn another_name_or_another_chain_has_another_key() {
        let (leaf, other) = (certificate(2090), certificate(2090));
        let (name, else_name) = (ServerName::try_from("web.test").expect("a name"), ServerName::try_from("else.test").expect("a name"));
        let key = chain_key(&leaf, &[], &name);
        assert_eq!(key, chain_key(&leaf, &[], &name));
        assert_ne!(key, chain_key(&other, &[], &name));
        assert_ne!(key, chain_key(&leaf, std::slice::from_ref(&other), &name));
        assert_ne!(key, chain_key(&leaf, &[], &else_name));
    }
}
