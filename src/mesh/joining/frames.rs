//! What is said while joining, and how it crosses: three letters, the version, a length, postcard.
//!
//! **Invariant.** The letters are looked at before the length, and the length before anything is allocated; a whole frame
//! comes within the time given or the other end is silent.

use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::mesh::joining::proof::{Nonce, Tag};
use crate::mesh::joining::{JoinError, Refusal};
use crate::mesh::token::TokenId;

const MAGIC: [u8; 3] = *b"PMJ";
pub const VERSION: u8 = 1;
/// Nothing that is said here comes near it.
pub const LARGEST: usize = 64 << 10;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FromNode {
    Hello { nonce: Nonce, credential: CredentialName },
    Proof { tag: Tag },
    Request { region: String, node: String, csr_pem: String },
}

/// Which secret it is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum CredentialName {
    Token(TokenId),
    Shared,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FromHub {
    Nonce {
        nonce: Nonce,
    },
    /// With the hub's time, microseconds of Unix time.
    Proof {
        tag: Tag,
        now: i64,
    },
    Granted {
        certificate_pem: String,
        authority_pem: String,
        cookie: String,
    },
    Refused {
        refusal: Refusal,
        reason: String,
    },
}

/// Reads one frame; all of it within `limit`.
pub async fn read<T: DeserializeOwned>(stream: &mut (impl AsyncRead + Unpin), limit: Duration) -> Result<T, JoinError> {
    let frame = async {
        let mut head = [0; 8];
        stream.read_exact(&mut head[..4]).await.map_err(broken)?;
        if head[..3] != MAGIC {
            return Err(JoinError::Garbage);
        }
        if head[3] != VERSION {
            return Err(JoinError::Version { found: head[3] });
        }
        stream.read_exact(&mut head[4..]).await.map_err(broken)?;
        let length = u32::from_be_bytes([head[4], head[5], head[6], head[7]]) as usize;
        if length > LARGEST {
            return Err(JoinError::Oversized { bytes: length });
        }
        let mut body = vec![0; length];
        stream.read_exact(&mut body).await.map_err(broken)?;
        match postcard::take_from_bytes(&body) {
            Ok((frame, [])) => Ok(frame),
            _ => Err(JoinError::Garbage),
        }
    };
    tokio::time::timeout(limit, frame).await.unwrap_or(Err(JoinError::Silent { waited: limit }))
}

pub async fn write(stream: &mut (impl AsyncWrite + Unpin), frame: &impl Serialize, limit: Duration) -> Result<(), JoinError> {
    let body = postcard::to_stdvec(frame).expect("plain data always encodes");
    let length = u32::try_from(body.len()).expect("a frame is far below 4 GiB");
    let mut bytes = MAGIC.to_vec();
    bytes.push(VERSION);
    bytes.extend_from_slice(&length.to_be_bytes());
    bytes.extend_from_slice(&body);
    let written = async {
        stream.write_all(&bytes).await?;
        stream.flush().await
    };
    match tokio::time::timeout(limit, written).await {
        Ok(done) => done.map_err(broken),
        Err(_) => Err(JoinError::Silent { waited: limit }),
    }
}

fn broken(error: std::io::Error) -> JoinError {
    let message = match error.kind() {
        std::io::ErrorKind::UnexpectedEof => "the other end closed it".to_owned(),
        _ => error.to_string(),
    };
    JoinError::Broken { message }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(5);

    async fn read_bytes(bytes: &[u8]) -> Result<FromHub, JoinError> {
        read(&mut &*bytes, LIMIT).await
    }

    #[tokio::test]
    async fn a_frame_is_read_back_and_nothing_else_is() {
        let frame = FromHub::Refused { refusal: Refusal::Used, reason: "it was used".to_owned() };
        let mut bytes = Vec::new();
        write(&mut bytes, &frame, LIMIT).await.expect("a vector takes all");
        assert_eq!(read_bytes(&bytes).await, Ok(frame));
        for cut in 0..bytes.len() {
            assert!(matches!(read_bytes(&bytes[..cut]).await, Err(JoinError::Broken { .. })), "cut at {cut}");
        }
        let mut longer = bytes.clone();
        longer[7] += 1;
        longer.push(0);
        assert_eq!(read_bytes(&longer).await, Err(JoinError::Garbage), "what follows a value is no part of it");
        assert_eq!(read_bytes(b"GET / HTTP/1.1\r\n").await, Err(JoinError::Garbage));
        assert_eq!(read_bytes(b"PMJ\x02").await, Err(JoinError::Version { found: 2 }));
        assert_eq!(read_bytes(b"PMJ\x01\xff\xff\xff\xff").await, Err(JoinError::Oversized { bytes: 0xffff_ffff }));
    }
}
