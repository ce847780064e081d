//! Who a node is, and how its certificate says so: the subject's common name is the node's name, and among the alternative
//! names is one URI, `probemesh://<region>/<node>`; beside it a DNS name where the node's name is one.
//!
//! **Invariant.** Both places of a certificate name the same node, or it names none.

use std::fmt;
use std::time::Duration;

use rcgen::{CertificateParams, DistinguishedName, DnType, SanType, date_time_ymd};
use rustls::pki_types::{CertificateDer, ServerName};
use thiserror::Error;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::model::id::{NodeName, RegionName};
use crate::model::time::Timestamp;

/// The name in every hub's own certificate; no resolver knows it.
pub const HUB_NAME: &str = "hub.probemesh.internal";
const SCHEME: &str = "probemesh://";
const LONGEST: usize = 64;

/// One node of one region.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Identity {
    pub node: NodeName,
    pub region: RegionName,
}

#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum IdentityError {
    #[error("{what} name {name:?} must be 1 to {LONGEST} letters, digits, dots, dashes or underscores")]
    Name { what: &'static str, name: String },
    #[error("node name {name:?} is the hub's")]
    Reserved { name: String },
    #[error("certificate cannot be read: {message}")]
    Unreadable { message: String },
    #[error("certificate names no node of a region")]
    Nameless,
}

/// What a node's certificate says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateFacts {
    pub identity: Identity,
    /// Lower-case hexadecimal.
    pub serial: String,
    pub not_before: Timestamp,
    pub not_after: Timestamp,
}

impl Identity {
    /// From names as somebody gave them.
    pub fn new(region: &str, node: &str) -> Result<Identity, IdentityError> {
        for (what, name) in [("region", region), ("node", node)] {
            if !is_name(name) {
                let name = name.chars().take(2 * LONGEST).collect();
                return Err(IdentityError::Name { what, name });
            }
        }
        if node == HUB_NAME || node == "hub" {
            return Err(IdentityError::Reserved { name: node.to_owned() });
        }
        Ok(Identity { node: NodeName::from(node), region: RegionName::from(region) })
    }

    /// Whom a certificate was issued to. Whether it was issued by the right authority is for the TLS handshake to say.
    pub fn from_certificate(certificate: &CertificateDer<'_>) -> Result<Identity, IdentityError> {
        CertificateFacts::read(certificate).map(|facts| facts.identity)
    }

    /// Replaces every name in `params` by this one.
    pub fn write_into(&self, params: &mut CertificateParams) {
        let mut name = DistinguishedName::new();
        name.push(DnType::CommonName, &*self.node.0);
        params.distinguished_name = name;
        let ascii = |text: &str| text.try_into().expect("names are ASCII");
        params.subject_alt_names = vec![SanType::URI(ascii(&self.uri()))];
        if let Ok(ServerName::DnsName(_)) = ServerName::try_from(&*self.node.0) {
            params.subject_alt_names.push(SanType::DnsName(ascii(&self.node.0)));
        }
    }

    fn uri(&self) -> String {
        format!("{SCHEME}{}/{}", self.region, self.node)
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} of region {}", self.node, self.region)
    }
}

impl CertificateFacts {
    pub fn read(certificate: &CertificateDer<'_>) -> Result<CertificateFacts, IdentityError> {
        let unreadable = |message: String| IdentityError::Unreadable { message };
        let (_, parsed) = X509Certificate::from_der(certificate).map_err(|error| unreadable(error.to_string()))?;
        let common: Vec<&str> = parsed.subject().iter_common_name().filter_map(|name| name.as_str().ok()).collect();
        let names = parsed.subject_alternative_name().map_err(|error| unreadable(error.to_string()))?;
        let uris: Vec<&str> = names
            .iter()
            .flat_map(|names| &names.value.general_names)
            .filter_map(|name| match name {
                GeneralName::URI(uri) => Some(*uri),
                _ => None,
            })
            .collect();
        let ([common], [uri]) = (common.as_slice(), uris.as_slice()) else { return Err(IdentityError::Nameless) };
        let (region, node) = uri.strip_prefix(SCHEME).and_then(|path| path.split_once('/')).ok_or(IdentityError::Nameless)?;
        if node != *common {
            return Err(IdentityError::Nameless);
        }
        let seconds = |seconds: i64| Timestamp(seconds.saturating_mul(1_000_000));
        Ok(CertificateFacts {
            identity: Identity::new(region, node)?,
            serial: hexadecimal(parsed.raw_serial()),
            not_before: seconds(parsed.validity().not_before.timestamp()),
            not_after: seconds(parsed.validity().not_after.timestamp()),
        })
    }
}

/// Whether a text can be the name of a region or node: it stands in file names, headers and ids.
pub fn is_name(text: &str) -> bool {
    (1..=LONGEST).contains(&text.len()) && text.chars().all(|letter| letter.is_ascii_alphanumeric() || "._-".contains(letter))
}

/// Sets from when and until when a certificate is good, in whole seconds.
pub fn set_validity(params: &mut CertificateParams, from: Timestamp, until: Timestamp) {
    let epoch = date_time_ymd(1970, 1, 1);
    let seconds = |at: Timestamp| Duration::from_secs(u64::try_from(at.0.div_euclid(1_000_000)).unwrap_or(0));
    params.not_before = epoch + seconds(from);
    params.not_after = epoch + seconds(until);
}

pub fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]).map(|digit| char::from(b"0123456789abcdef"[usize::from(digit)])).collect()
}

#[cfg(test)]
mod tests {
    use rcgen::{KeyPair, SerialNumber};

    use super::*;

    fn certificate(alter: impl FnOnce(&mut CertificateParams), region: &str, node: &str) -> CertificateDer<'static> {
        let mut params = CertificateParams::default();
        Identity::new(region, node).expect("the names are good").write_into(&mut params);
        set_validity(&mut params, Timestamp(1_000_000_000_000_000), Timestamp(2_000_000_000_000_000));
        params.serial_number = Some(SerialNumber::from_slice(&[0x41, 2, 3]));
        alter(&mut params);
        params.self_signed(&KeyPair::generate().expect("a key")).expect("a certificate").der().clone()
    }

    #[test]
    fn a_certificate_gives_back_the_node_it_was_written_for() {
        for (region, node) in [("eu-west", "eu-1"), ("a", "Node_7.example"), ("x.y", "-odd-"), ("r", "10.0.0.1"), ("r", &"n".repeat(64))] {
            let facts = CertificateFacts::read(&certificate(|_| (), region, node)).expect("it names a node");
            assert_eq!(facts.identity, Identity::new(region, node).expect("the names are good"));
            assert_eq!(facts.serial, "410203");
            assert_eq!((facts.not_before.0, facts.not_after.0), (1_000_000_000_000_000, 2_000_000_000_000_000));
        }
    }

    #[test]
    fn a_certificate_that_names_two_nodes_or_none_names_none() {
        let uri = |text: &str| SanType::URI(text.try_into().expect("ASCII"));
        type Alter = Box<dyn FnOnce(&mut CertificateParams)>;
        let cases: [Alter; 5] = [
            Box::new(|params| params.subject_alt_names.clear()),
            Box::new(move |params| params.subject_alt_names.push(uri("probemesh://eu-west/eu-2"))),
            Box::new(move |params| params.subject_alt_names = vec![uri("probemesh://eu-west/eu-2")]),
            Box::new(move |params| params.subject_alt_names = vec![uri("https://eu-west/eu-1")]),
            Box::new(|params| params.distinguished_name = DistinguishedName::new()),
        ];
        for (index, alter) in cases.into_iter().enumerate() {
            assert_eq!(Identity::from_certificate(&certificate(alter, "eu-west", "eu-1")), Err(IdentityError::Nameless), "case {index}");
        }
        assert!(matches!(Identity::from_certificate(&CertificateDer::from(vec![1, 2, 3])), Err(IdentityError::Unreadable { .. })));
    }

    #[test]
    fn names_are_short_and_plain_and_the_hub_keeps_its_own() {
        for wrong in ["", "a b", "a/b", "ä", &"n".repeat(65), "a\n"] {
            assert!(matches!(Identity::new("eu", wrong), Err(IdentityError::Name { what: "node", .. })), "{wrong:?}");
            assert!(matches!(Identity::new(wrong, "eu"), Err(IdentityError::Name { what: "region", .. })), "{wrong:?}");
        }
        assert!(matches!(Identity::new("eu", HUB_NAME), Err(IdentityError::Reserved { .. })));
    }
}
