//! What a machine keeps once it has joined: certificate, key, authority, cookie, the hub's address and its own names.
//!
//! All of it is one file, `node.json`, for its owner alone: a certificate without its key is worth nothing, so a crash must
//! leave both as they were or both as they became.
//!
//! **Invariant.** A `NodeFiles` fits together: the key is the certificate's, and the certificate names the node.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rcgen::{CertificateParams, KeyPair};
use rustls::client::Resumption;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::{CertificateError, ClientConfig, RootCertStore};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::mesh::identity::{CertificateFacts, HUB_NAME, Identity};
use crate::mesh::private_file::write_private;
use crate::model::time::Timestamp;

const FILE: &str = "node.json";
const VERSION: u32 = 1;

#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum NodeFilesError {
    #[error("{} cannot be read or written: {message}", path.display())]
    File { path: PathBuf, message: String },
    #[error("{} is broken: {message}", path.display())]
    Broken { path: PathBuf, message: String },
    #[error("node certificate was not issued by the authority beside it: {message}")]
    Foreign { message: String },
    #[error("node certificate is not good before {from}, and this machine's clock says {now}; set its clock")]
    Early { from: Timestamp, now: Timestamp },
    #[error("node certificate ended at {until}, and this machine's clock says {now}; the node must join again")]
    Ended { until: Timestamp, now: Timestamp },
}

/// A joined node.
#[derive(Clone)]
pub struct NodeFiles {
    /// Host and port of the hub.
    pub hub: String,
    /// What the nodes of the cluster prove to each other; never in a log.
    pub cookie: String,
    facts: CertificateFacts,
    certificate: String,
    key: String,
    authority: String,
    config: Arc<ClientConfig>,
    folder: PathBuf,
}

/// What a hub grants a node that joins.
#[derive(Clone)]
pub struct Grant {
    pub certificate_pem: String,
    pub authority_pem: String,
    pub cookie: String,
}

/// A key of its own, and the request that asks for a certificate for it.
#[derive(Clone)]
pub struct Renewal {
    pub csr_pem: String,
    pub key_pem: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    version: u32,
    region: String,
    node: String,
    hub: String,
    cookie: String,
    certificate: String,
    key: String,
    authority: String,
}

impl std::fmt::Debug for NodeFiles {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "NodeFiles({}, hub {})", self.facts.identity, self.hub)
    }
}

impl NodeFiles {
    /// From what a hub granted for the key of `renewal`. `folder` is where they are to lie.
    pub fn new(folder: &Path, hub: &str, key_pem: &str, grant: &Grant) -> Result<NodeFiles, NodeFilesError> {
        let broken = |message: String| NodeFilesError::Broken { path: folder.join(FILE), message };
        let authority = certificate(&grant.authority_pem).map_err(|message| broken(format!("authority: {message}")))?;
        let leaf = certificate(&grant.certificate_pem).map_err(|message| broken(format!("certificate: {message}")))?;
        let facts = CertificateFacts::read(&leaf).map_err(|error| broken(error.to_string()))?;
        let key = PrivateKeyDer::from_pem_slice(key_pem.as_bytes()).map_err(|error| broken(format!("key: {error}")))?;
        let config = client_config(authority, leaf, key).map_err(|error| broken(error.to_string()))?;
        Ok(NodeFiles {
            hub: hub.to_owned(),
            cookie: grant.cookie.clone(),
            facts,
            certificate: grant.certificate_pem.clone(),
            key: key_pem.to_owned(),
            authority: grant.authority_pem.clone(),
            config: Arc::new(config),
            folder: folder.to_owned(),
        })
    }

    /// What lies in a folder; `None` where nobody has joined.
    pub fn load(folder: &Path) -> Result<Option<NodeFiles>, NodeFilesError> {
        let path = folder.join(FILE);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(NodeFilesError::File { path, message: error.to_string() }),
        };
        let kept: Kept =
            serde_json::from_str(&text).map_err(|error| NodeFilesError::Broken { path: path.clone(), message: error.to_string() })?;
        if kept.version != VERSION {
            let message = format!("it is of version {}; this program knows {VERSION}", kept.version);
            return Err(NodeFilesError::Broken { path, message });
        }
        let grant = Grant { certificate_pem: kept.certificate, authority_pem: kept.authority, cookie: kept.cookie };
        let files = NodeFiles::new(folder, &kept.hub, &kept.key, &grant)?;
        let told = (&*files.facts.identity.region.0, &*files.facts.identity.node.0);
        if told != (kept.region.as_str(), kept.node.as_str()) {
            let message = format!("its certificate is of {}, not of {} of region {}", files.facts.identity, kept.node, kept.region);
            return Err(NodeFilesError::Broken { path, message });
        }
        Ok(Some(files))
    }

    /// Writes everything, whole or not at all.
    pub fn save(&self) -> Result<(), NodeFilesError> {
        let kept = Kept {
            version: VERSION,
            region: self.facts.identity.region.to_string(),
            node: self.facts.identity.node.to_string(),
            hub: self.hub.clone(),
            cookie: self.cookie.clone(),
            certificate: self.certificate.clone(),
            key: self.key.clone(),
            authority: self.authority.clone(),
        };
        let text = serde_json::to_string_pretty(&kept).expect("plain data always encodes") + "\n";
        let path = self.folder.join(FILE);
        write_private(&path, text.as_bytes()).map_err(|error| NodeFilesError::File { path, message: error.to_string() })
    }

    pub fn identity(&self) -> &Identity {
        &self.facts.identity
    }

    /// What the certificate says: its serial and until when it is good.
    pub fn facts(&self) -> &CertificateFacts {
        &self.facts
    }

    pub fn authority_pem(&self) -> &str {
        &self.authority
    }

    /// TLS 1.3 towards the hub alone, by the hub's authority, showing this node's certificate.
    pub fn client_config(&self) -> Arc<ClientConfig> {
        self.config.clone()
    }

    /// The name the hub's certificate is checked for, whatever the address it was dialled at.
    pub fn hub_name() -> ServerName<'static> {
        ServerName::try_from(HUB_NAME).expect("it is a DNS name")
    }

    /// Whether the certificate is good at `now`, and why not.
    pub fn check(&self, now: Timestamp) -> Result<(), NodeFilesError> {
        let foreign = |message: String| NodeFilesError::Foreign { message };
        let authority = certificate(&self.authority).map_err(foreign)?;
        let leaf = certificate(&self.certificate).map_err(foreign)?;
        let roots = roots(authority).map_err(|error| foreign(error.to_string()))?;
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider()).build();
        let verifier = verifier.map_err(|error| foreign(error.to_string()))?;
        let seconds = Duration::from_secs(u64::try_from(now.0.div_euclid(1_000_000)).unwrap_or(0));
        match verifier.verify_client_cert(&leaf, &[], UnixTime::since_unix_epoch(seconds)) {
            Ok(_) => Ok(()),
            Err(rustls::Error::InvalidCertificate(CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. })) => {
                Err(NodeFilesError::Early { from: self.facts.not_before, now })
            }
            Err(rustls::Error::InvalidCertificate(CertificateError::Expired | CertificateError::ExpiredContext { .. })) => {
                Err(NodeFilesError::Ended { until: self.facts.not_after, now })
            }
            Err(error) => Err(foreign(error.to_string())),
        }
    }

    /// Past two thirds of the certificate's life.
    pub fn renewal_due(&self, now: Timestamp) -> bool {
        let life = self.facts.not_after.since(self.facts.not_before);
        now >= self.facts.not_before.plus(life.mul_f64(2.0 / 3.0))
    }

    /// A new key and a request for it, to be sent to the hub over the node's own link.
    pub fn renewal_request(&self) -> Renewal {
        Renewal::new(self.identity())
    }

    /// Puts a certificate in the place of the one before, with the key it was requested for, and on disk.
    pub fn install(&self, renewal: &Renewal, certificate_pem: &str) -> Result<NodeFiles, NodeFilesError> {
        let grant =
            Grant { certificate_pem: certificate_pem.to_owned(), authority_pem: self.authority.clone(), cookie: self.cookie.clone() };
        let files = NodeFiles::new(&self.folder, &self.hub, &renewal.key_pem, &grant)?;
        if files.facts.identity != self.facts.identity {
            return Err(NodeFilesError::Foreign { message: format!("it is for {}", files.facts.identity) });
        }
        files.save()?;
        Ok(files)
    }
}

impl Renewal {
    /// The request names the node, though whoever signs it decides the names.
    pub fn new(identity: &Identity) -> Renewal {
        let key = KeyPair::generate().expect("the provider makes P-256 keys");
        let mut params = CertificateParams::default();
        identity.write_into(&mut params);
        let request = params.serialize_request(&key).expect("a request of plain names can be signed");
        Renewal { csr_pem: request.pem().expect("it was just encoded"), key_pem: key.serialize_pem() }
    }
}

/// The crypto of every TLS of the mesh.
pub fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

/// The first certificate of a PEM text.
pub fn certificate(pem: &str) -> Result<CertificateDer<'static>, String> {
    CertificateDer::from_pem_slice(pem.as_bytes()).map_err(|error| error.to_string())
}

pub fn roots(authority: CertificateDer<'static>) -> Result<RootCertStore, rustls::Error> {
    let mut roots = RootCertStore::empty();
    roots.add(authority)?;
    Ok(roots)
}

fn client_config(
    authority: CertificateDer<'static>,
    leaf: CertificateDer<'static>,
    key: PrivateKeyDer<'static>,
) -> Result<ClientConfig, rustls::Error> {
    let builder = ClientConfig::builder_with_provider(provider()).with_protocol_versions(&[&rustls::version::TLS13])?;
    let mut config = builder.with_root_certificates(roots(authority)?).with_client_auth_cert(vec![leaf], key)?;
    // A resumed session would skip the look at the certificates.
    config.resumption = Resumption::disabled();
    Ok(config)
}
