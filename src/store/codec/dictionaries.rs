//! What the rows of a block have in common, named by index: where they come from, addresses, certificates, messages.

use std::net::IpAddr;
use std::sync::Arc;

use crate::model::check::Certificate;
use crate::model::id::{Boot, NodeName};
use crate::model::time::Timestamp;
use crate::store::codec::hex;
use crate::store::columns::{Damage, Reader, Writer};

/// As they are gathered.
#[derive(Default)]
pub(super) struct Dictionaries<'a> {
    pub origins: Vec<(&'a NodeName, Boot)>,
    pub addresses: Vec<IpAddr>,
    pub certificates: Vec<&'a Certificate>,
    pub messages: Vec<&'a str>,
}

impl<'a> Dictionaries<'a> {
    pub fn write(&self, out: &mut Writer) {
        out.number(self.origins.len() as u64);
        for (node, boot) in &self.origins {
            out.text(&node.0);
            out.number(boot.0);
        }
        out.number(self.addresses.len() as u64);
        for address in &self.addresses {
            write_address(out, *address);
        }
        out.number(self.certificates.len() as u64);
        for certificate in &self.certificates {
            write_certificate(out, certificate);
        }
        out.number(self.messages.len() as u64);
        for message in &self.messages {
            out.text(message);
        }
    }
}

/// As they are read back.
pub(super) struct Shared {
    pub origins: Vec<(NodeName, Boot)>,
    pub addresses: Vec<IpAddr>,
    pub certificates: Vec<Arc<Certificate>>,
    pub messages: Vec<String>,
}

impl Shared {
    pub fn read(from: &mut Reader) -> Result<Shared, Damage> {
        let mut shared = Shared { origins: vec![], addresses: vec![], certificates: vec![], messages: vec![] };
        for _ in 0..from.number()? {
            shared.origins.push((NodeName::from(from.text()?), Boot(from.number()?)));
        }
        for _ in 0..from.number()? {
            shared.addresses.push(read_address(from)?);
        }
        for _ in 0..from.number()? {
            shared.certificates.push(Arc::new(read_certificate(from)?));
        }
        for _ in 0..from.number()? {
            shared.messages.push(from.text()?.to_owned());
        }
        Ok(shared)
    }
}

/// The index of a value, new or known.
pub(super) fn intern<T: PartialEq>(known: &mut Vec<T>, value: T) -> i64 {
    let index = known.iter().position(|known| *known == value).unwrap_or_else(|| {
        known.push(value);
        known.len() - 1
    });
    index as i64
}

fn write_address(out: &mut Writer, address: IpAddr) {
    match address {
        IpAddr::V4(address) => out.slice(&address.octets()),
        IpAddr::V6(address) => out.slice(&address.octets()),
    }
}

fn read_address(from: &mut Reader) -> Result<IpAddr, Damage> {
    let octets = from.slice()?;
    if let Ok(v4) = <[u8; 4]>::try_from(octets) {
        return Ok(IpAddr::from(v4));
    }
    <[u8; 16]>::try_from(octets).map(IpAddr::from).map_err(|_| format!("address has {} bytes", octets.len()))
}

fn write_certificate(out: &mut Writer, certificate: &Certificate) {
    out.text(&certificate.subject);
    out.text(&certificate.issuer);
    out.signed(certificate.not_before.0);
    out.signed(certificate.not_after.0);
    // Half the size as bytes; anything that is not a digest stays text.
    match unhex(&certificate.fingerprint) {
        Some(digest) => {
            out.byte(1);
            out.slice(&digest);
        }
        None => {
            out.byte(0);
            out.text(&certificate.fingerprint);
        }
    }
}

fn read_certificate(from: &mut Reader) -> Result<Certificate, Damage> {
    Ok(Certificate {
        subject: from.text()?.to_owned(),
        issuer: from.text()?.to_owned(),
        not_before: Timestamp(from.signed()?),
        not_after: Timestamp(from.signed()?),
        fingerprint: match from.byte()? {
            1 => hex(from.slice()?),
            _ => from.text()?.to_owned(),
        },
    })
}

/// Reads lower-case hexadecimal alone, so that writing it again gives the same text.
fn unhex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    if !rest.is_empty() {
        return None;
    }
    pairs.iter().map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?)).collect()
}
