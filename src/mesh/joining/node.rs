//! The joining node's end: dials, proves, is proven to, asks, and keeps what it is granted.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, PeerIncompatible, SignatureScheme};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use aws_lc_rs::digest::{SHA256, digest};

use crate::clock::Clock;
use crate::mesh::identity::Identity;
use crate::mesh::joining::JoinError;
use crate::mesh::joining::frames::{CredentialName, FromHub, FromNode, read, write};
use crate::mesh::joining::proof::{EXPORTER_LABEL, JoinKey, Role, Session, nonce};
use crate::mesh::node_files::{Grant, NodeFiles, Renewal, certificate, provider};
use crate::mesh::token::{JoinToken, TokenId};

/// For the connection, and for the handshake above it.
const CONNECT: Duration = Duration::from_secs(5);
/// For each answer of the hub, which may wait for its store.
const ANSWER: Duration = Duration::from_secs(10);
/// What certificates begin before they are made; a clock further off could not use them.
const APART: Duration = Duration::from_secs(23 * 3600);
/// Letters of a refusal that are shown.
const REASON: usize = 300;

/// What a machine joins with.
#[derive(Clone, Debug)]
pub enum Credential {
    Token {
        id: TokenId,
        key: JoinKey,
        fingerprint: [u8; 32],
    },
    /// The long-lived secret.
    Shared(JoinKey),
}

/// A machine that is to join.
#[derive(Clone, Debug)]
pub struct JoinOrder {
    /// Host and port of the hub.
    pub address: String,
    pub credential: Credential,
    /// The names it wants; the hub grants these or refuses.
    pub identity: Identity,
    /// Where what is granted is kept.
    pub folder: PathBuf,
}

impl Credential {
    pub fn of_token(token: &JoinToken) -> Credential {
        Credential::Token { id: token.id, key: JoinKey::of_token(&token.secret), fingerprint: token.fingerprint }
    }

    fn name(&self) -> CredentialName {
        match self {
            Credential::Token { id, .. } => CredentialName::Token(*id),
            Credential::Shared(_) => CredentialName::Shared,
        }
    }

    fn key(&self) -> &JoinKey {
        match self {
            Credential::Token { key, .. } | Credential::Shared(key) => key,
        }
    }
}

/// Joins, once. What was granted is on disk when this returns: a token is good for one grant.
pub async fn join(order: &JoinOrder, clock: &Clock) -> Result<NodeFiles, JoinError> {
    let mut stream = connect(&order.address, clock).await?;
    let mut exporter = [0; 32];
    let exported = stream.get_ref().1.export_keying_material(&mut exporter, EXPORTER_LABEL, None);
    exported.map_err(|error| JoinError::Tls { address: order.address.clone(), message: error.to_string() })?;

    let node = nonce();
    write(&mut stream, &FromNode::Hello { nonce: node, credential: order.credential.name() }, ANSWER).await?;
    let FromHub::Nonce { nonce: hub } = hear(&mut stream).await? else { return Err(JoinError::Garbage) };
    let session = Session { node, hub, exporter };
    let key = order.credential.key();
    write(&mut stream, &FromNode::Proof { tag: key.prove(Role::Node, &session) }, ANSWER).await?;
    let FromHub::Proof { tag, now } = hear(&mut stream).await? else { return Err(JoinError::Garbage) };
    if !key.verify(Role::Hub, &session, &tag) {
        return Err(JoinError::Proof);
    }
    // From here on it is the hub that speaks.
    let (here, there) = (clock.now(), crate::model::time::Timestamp(now));
    if here.since(there).max(there.since(here)) > APART {
        return Err(JoinError::Clock { here, there });
    }
    let renewal = Renewal::new(&order.identity);
    let (region, node) = (order.identity.region.to_string(), order.identity.node.to_string());
    write(&mut stream, &FromNode::Request { region, node, csr_pem: renewal.csr_pem.clone() }, ANSWER).await?;
    let FromHub::Granted { certificate_pem, authority_pem, cookie } = hear(&mut stream).await? else { return Err(JoinError::Garbage) };
    keep(order, &renewal, &Grant { certificate_pem, authority_pem, cookie }, clock)
}

/// Looks whether what was granted is what was asked for, and writes it down.
fn keep(order: &JoinOrder, renewal: &Renewal, grant: &Grant, clock: &Clock) -> Result<NodeFiles, JoinError> {
    let misfit = |message: String| JoinError::Grant { message };
    if let Credential::Token { fingerprint, .. } = &order.credential {
        let authority = certificate(&grant.authority_pem).map_err(misfit)?;
        if digest(&SHA256, &authority).as_ref() != fingerprint {
            return Err(JoinError::Fingerprint);
        }
    }
    let files = NodeFiles::new(&order.folder, &order.address, &renewal.key_pem, grant)?;
    if *files.identity() != order.identity {
        return Err(misfit(format!("a certificate of {} for {}", files.identity(), order.identity)));
    }
    files.check(clock.now())?;
    files.save()?;
    Ok(files)
}

async fn connect(address: &str, clock: &Clock) -> Result<TlsStream<TcpStream>, JoinError> {
    let began = clock.steady();
    let unreachable = |message: String| {
        let waited = clock.steady().saturating_sub(began);
        JoinError::Unreachable { address: address.to_owned(), message, waited }
    };
    let tcp = match tokio::time::timeout(CONNECT, TcpStream::connect(address)).await {
        Ok(Ok(tcp)) => tcp,
        Ok(Err(error)) => return Err(unreachable(error.to_string())),
        Err(_) => return Err(unreachable("nobody answers".to_owned())),
    };
    let tls = |message: String| JoinError::Tls { address: address.to_owned(), message };
    let connector = TlsConnector::from(Arc::new(stranger_config().map_err(|error| tls(error.to_string()))?));
    match tokio::time::timeout(CONNECT, connector.connect(NodeFiles::hub_name(), tcp)).await {
        Ok(Ok(stream)) => Ok(stream),
        Ok(Err(error)) => Err(tls(error.to_string())),
        Err(_) => Err(tls("the handshake was not finished in time".to_owned())),
    }
}

/// The hub's next word; a refusal is an error.
async fn hear(stream: &mut TlsStream<TcpStream>) -> Result<FromHub, JoinError> {
    match read(stream, ANSWER).await? {
        FromHub::Refused { refusal, reason } => {
            // Whoever is at the other end may not have proven anything: no escapes for the terminal, and not too much.
            let reason: String = reason.chars().filter(|letter| !letter.is_control()).take(REASON).collect();
            Err(JoinError::Refused { refusal, reason })
        }
        said => Ok(said),
    }
}

/// TLS 1.3 without a certificate of one's own, with whomever it is.
fn stranger_config() -> Result<ClientConfig, rustls::Error> {
    let provider = provider();
    let builder = ClientConfig::builder_with_provider(provider.clone()).with_protocol_versions(&[&rustls::version::TLS13])?;
    let mut config = builder.dangerous().with_custom_certificate_verifier(Arc::new(Anybody(provider))).with_no_client_auth();
    config.resumption = Resumption::disabled();
    Ok(config)
}

/// Believes any certificate whose key the other end has: the proofs that follow say who it is.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _leaf: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(PeerIncompatible::Tls12NotOffered.into())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
