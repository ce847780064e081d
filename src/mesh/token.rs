//! The join token: one line that a person carries from the hub to the machine that joins.
//!
//! It is base64url of a version, the fields and the first bytes of their SHA-256, so that a line cut off or mistyped is
//! told from one that is wrong.

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::mesh::identity::{hexadecimal, is_name};
use crate::model::id::{NodeName, RegionName};
use crate::model::time::Timestamp;

const VERSION: u8 = 1;
const CHECKSUM: usize = 4;
/// Far more than any token has.
const LONGEST: usize = 2048;

/// Names a token in lists and logs; it is no secret.
pub type TokenId = [u8; 8];

/// Everything a machine needs to join, once.
#[derive(Clone, PartialEq, Eq)]
pub struct JoinToken {
    /// Host and port of the hub.
    pub address: String,
    pub region: RegionName,
    /// Where the hub has fixed the node's name.
    pub node: Option<NodeName>,
    pub id: TokenId,
    pub secret: [u8; 32],
    pub expires_at: Timestamp,
    /// SHA-256 of the hub's authority.
    pub fingerprint: [u8; 32],
}

#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum TokenError {
    #[error("join token is cut off or mistyped; it is one line of letters, digits, dashes and underscores")]
    Garbled,
    #[error("join token is of version {found}; this program knows {VERSION}")]
    Version { found: u8 },
}

#[derive(Serialize, Deserialize)]
struct Fields {
    address: String,
    region: String,
    node: Option<String>,
    id: TokenId,
    secret: [u8; 32],
    expires_at: i64,
    fingerprint: [u8; 32],
}

impl fmt::Debug for JoinToken {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "JoinToken({} for region {})", hexadecimal(&self.id), self.region)
    }
}

impl JoinToken {
    /// The line.
    pub fn line(&self) -> String {
        let fields = Fields {
            address: self.address.clone(),
            region: self.region.to_string(),
            node: self.node.as_ref().map(NodeName::to_string),
            id: self.id,
            secret: self.secret,
            expires_at: self.expires_at.0,
            fingerprint: self.fingerprint,
        };
        let mut bytes = postcard::to_extend(&fields, vec![VERSION]).expect("plain data always encodes");
        let sum = digest(&SHA256, &bytes);
        bytes.extend_from_slice(&sum.as_ref()[..CHECKSUM]);
        BASE64_URL_SAFE_NO_PAD.encode(bytes)
    }
}

impl FromStr for JoinToken {
    type Err = TokenError;

    /// Takes the line as it was pasted, with white space round or within it.
    fn from_str(text: &str) -> Result<JoinToken, TokenError> {
        let line: String = text.split_whitespace().collect();
        if line.len() > LONGEST {
            return Err(TokenError::Garbled);
        }
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(line.trim_end_matches('=')).map_err(|_| TokenError::Garbled)?;
        let split = bytes.len().checked_sub(CHECKSUM).filter(|split| *split > 1).ok_or(TokenError::Garbled)?;
        let (body, sum) = bytes.split_at(split);
        if digest(&SHA256, body).as_ref()[..CHECKSUM] != *sum {
            return Err(TokenError::Garbled);
        }
        if body[0] != VERSION {
            return Err(TokenError::Version { found: body[0] });
        }
        let fields: Fields = postcard::from_bytes(&body[1..]).map_err(|_| TokenError::Garbled)?;
        if !is_name(&fields.region) || fields.node.as_deref().is_some_and(|node| !is_name(node)) {
            return Err(TokenError::Garbled);
        }
        Ok(JoinToken {
            address: fields.address,
            region: RegionName::from(fields.region.as_str()),
            node: fields.node.as_deref().map(NodeName::from),
            id: fields.id,
            secret: fields.secret,
            expires_at: Timestamp(fields.expires_at),
            fingerprint: fields.fingerprint,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token() -> JoinToken {
        JoinToken {
            address: "hub.example.com:4697".to_owned(),
            region: RegionName::from("eu-west"),
            node: Some(NodeName::from("eu-1")),
            id: [7; 8],
            secret: [9; 32],
            expires_at: Timestamp(1_800_000_000_000_000),
            fingerprint: [3; 32],
        }
    }

    #[test]
    fn a_line_is_read_back_even_when_pasted_badly() {
        let line = token().line();
        assert_eq!(line.parse(), Ok(token()));
        let (head, tail) = line.split_at(40);
        assert_eq!(format!("  {head}\n  {tail}\n").parse(), Ok(token()));
        assert!(line.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)), "{line}");
    }

    #[test]
    fn a_line_cut_off_or_mistyped_is_told_as_such() {
        let line = token().line();
        for cut in 0..line.len() {
            assert_eq!(line[..cut].parse::<JoinToken>(), Err(TokenError::Garbled), "cut at {cut}");
        }
        for index in 0..line.len() {
            let mut wrong = line.clone().into_bytes();
            wrong[index] = if wrong[index] == b'A' { b'Z' } else { b'A' };
            let wrong = String::from_utf8(wrong).expect("ASCII");
            assert!(wrong.parse::<JoinToken>() != Ok(token()), "changed at {index}");
        }
    }

    #[test]
    fn a_token_of_another_version_says_so() {
        let mut bytes = BASE64_URL_SAFE_NO_PAD.decode(token().line()).expect("it is base64");
        bytes.truncate(bytes.len() - CHECKSUM);
        bytes[0] = 2;
        let sum = digest(&SHA256, &bytes);
        bytes.extend_from_slice(&sum.as_ref()[..CHECKSUM]);
        assert_eq!(BASE64_URL_SAFE_NO_PAD.encode(bytes).parse::<JoinToken>(), Err(TokenError::Version { found: 2 }));
    }
}
