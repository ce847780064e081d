//! What hub and node say to each other over the mesh, packed into frames.
//!
//! A message is encoded, compressed where that pays, and cut into frames small enough that none holds up the link for
//! long. Each frame carries the version both sides agreed on and the token the hub gave the session, since the carrier
//! does not tell who sent it. Frames of version 0 are the opening and never change: they find out which version both speak.
//!
//! ```text
//! version u8 | session [u8; 16] | flags u8 | index u16 | count u16 | piece of the message
//! ```
//!
//! **Invariants.** No frame is larger than [`FRAME_AT_MOST`]. What was received is never trusted for a size: a message is
//! bounded as a whole, and so is what it unpacks to.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::wire::progress::WireStep;
use crate::wire::trial::WireTrial;

/// Versions this program speaks, the lowest and the highest.
pub const VERSIONS: (u8, u8) = (1, 3);
/// From this version on a node can be asked to try a service.
pub const TRIES_FROM: u8 = 2;
/// From this version on a node tells how far a check that is watched has come.
pub const PROGRESS_FROM: u8 = 3;
/// The version of the opening.
pub const OPENING: u8 = 0;
pub const FRAME_AT_MOST: usize = 256 << 10;
const HEADER: usize = 1 + 16 + 1 + 2 + 2;
/// A message as sent, and as it is unpacked.
const MESSAGE_AT_MOST: usize = 32 << 20;
/// Shorter messages are not worth the effort.
const COMPRESS_FROM: usize = 512;
const COMPRESSED: u8 = 1;

/// Names one session; made by the hub, different for each.
pub type SessionToken = [u8; 16];

/// The first word on a link, from the hub. Its form never changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offer {
    pub lowest: u8,
    pub highest: u8,
    pub build: String,
}

/// The node's answer to an offer. Its form never changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Choice {
    /// The highest version both speak.
    Version(u8),
    /// They speak none in common.
    Unfit { lowest: u8, highest: u8, build: String },
}

/// From the hub to a node.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Down {
    Welcome(Welcome),
    /// The session ends, for this reason.
    Refused {
        reason: String,
    },
    /// Sent at `sent_us` of the hub's clock, microseconds of Unix time.
    Ping {
        sent_us: i64,
    },
    Answer {
        delivery: u64,
        answer: WireAnswer,
    },
    Assignments {
        generation: u64,
        services: Vec<WireAssignment>,
    },
    CheckNow {
        request: u64,
        service: u32,
    },
    Renewed {
        certificate: String,
    },
    NotRenewed {
        reason: String,
    },
    /// Since version 2. A service nobody keeps, as JSON with its secrets: it is checked once, and nothing of it is stored.
    Try {
        request: u64,
        document: Bytes,
    },
    /// Since version 3. As `CheckNow`, and the steps of the check are wanted while it runs.
    WatchNow {
        request: u64,
        service: u32,
    },
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Welcome {
    pub heartbeat_ms: u32,
    /// A hub silent for so long is lost.
    pub deadline_ms: u32,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum WireAnswer {
    Stored {
        boot: u64,
        through: u64,
    },
    Later {
        reason: String,
    },
    /// The batch at this place of the delivery, counted from 0.
    Refused {
        place: u32,
        reason: String,
    },
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WireAssignment {
    pub id: u32,
    pub revision: u64,
    pub document: String,
    /// Microseconds of Unix time up to which the region's rounds of this service are checked already.
    pub checked_until_us: Option<i64>,
}

/// From a node to the hub.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Up {
    Hello(Hello),
    /// Answers a ping; the other two by the node's clock.
    Pong {
        sent_us: i64,
        received_us: i64,
        replied_us: i64,
    },
    Status(NodeStatus),
    /// Batches in the order of their numbers, as they lie in the outbox.
    Deliver {
        delivery: u64,
        batches: Vec<Bytes>,
    },
    /// The newest results of services, as a batch that is not stored: what they say of now.
    Snapshot {
        batch: Bytes,
    },
    /// The result of a check asked for, as a batch of one; `None` where the node does not check the service.
    Checked {
        request: u64,
        result: Option<Bytes>,
    },
    Renew {
        request: String,
    },
    /// The node leaves on purpose.
    Goodbye,
    /// Since version 2. What a service that was tried did, or why it could not be tried.
    Tried {
        request: u64,
        outcome: Result<WireTrial, String>,
    },
    /// Since version 3. How far a check that is watched has come.
    Progress {
        request: u64,
        step: WireStep,
    },
}

/// Bytes as one piece; serde would take a list of numbers otherwise.
#[derive(Clone, PartialEq, Eq)]
pub struct Bytes(pub Vec<u8>);

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    pub node: String,
    pub region: String,
    pub boot: u64,
    pub build: String,
    /// The generation of assignments the node runs from its own disk.
    pub generation: u64,
    /// What the node's clock says: how far it is off is known, roughly, before the first result comes.
    pub now_us: i64,
}

/// How a node is doing, with each heartbeat.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct NodeStatus {
    pub generation: u64,
    pub services: u32,
    pub checks: u64,
    pub failures: u64,
    pub missed: u64,
    pub restarts: u64,
    pub quarantined: u64,
    pub outbox_batches: u64,
    pub outbox_results: u64,
    pub outbox_bytes: u64,
    /// By the node's clock.
    pub outbox_oldest_us: Option<i64>,
    pub dropped: u64,
    pub refused: u64,
    pub lag_p99_ms: Option<f64>,
    /// What keeps the outbox from being written, if anything.
    pub outbox_error: Option<String>,
    /// Why the node does not trust what it sees, if so: none of its witnesses answers.
    pub blind: Option<String>,
    pub rss_bytes: u64,
}

#[derive(Debug, Error)]
pub enum EnvelopeError {
    #[error("frame is cut short")]
    Short,
    #[error("frame of {0} bytes is larger than any may be")]
    Oversized(usize),
    #[error("frame has version {found}, {wanted} was agreed on")]
    Version { found: u8, wanted: u8 },
    #[error("frame {index} of {count} came where {expected} was due")]
    Order { index: u16, count: u16, expected: u16 },
    #[error("message is larger than any may be")]
    TooLarge,
    #[error("message cannot be unpacked: {0}")]
    Compression(String),
    #[error("message cannot be read")]
    Encoding(#[source] postcard::Error),
}

/// The frames of one message.
pub fn frames<T: Serialize>(version: u8, session: &SessionToken, message: &T) -> Vec<Vec<u8>> {
    let plain = postcard::to_stdvec(message).expect("plain data always encodes");
    let (flags, body) = if plain.len() >= COMPRESS_FROM && version != OPENING {
        let packed = lz4_flex::compress_prepend_size(&plain);
        // Compressed to hardly less, it costs the other end more than it saves.
        if packed.len() + packed.len() / 8 < plain.len() { (COMPRESSED, packed) } else { (0, plain) }
    } else {
        (0, plain)
    };
    let pieces: Vec<&[u8]> = if body.is_empty() { vec![&[]] } else { body.chunks(FRAME_AT_MOST - HEADER).collect() };
    let count = pieces.len() as u16;
    pieces
        .into_iter()
        .zip(0u16..)
        .map(|(piece, index)| {
            let mut frame = Vec::with_capacity(HEADER + piece.len());
            frame.push(version);
            frame.extend_from_slice(session);
            frame.push(flags);
            frame.extend_from_slice(&index.to_be_bytes());
            frame.extend_from_slice(&count.to_be_bytes());
            frame.extend_from_slice(piece);
            frame
        })
        .collect()
}

/// The session a frame says it belongs to, and its version.
pub fn session_of(frame: &[u8]) -> Result<(u8, SessionToken), EnvelopeError> {
    if frame.len() < HEADER {
        return Err(EnvelopeError::Short);
    }
    if frame.len() > FRAME_AT_MOST {
        return Err(EnvelopeError::Oversized(frame.len()));
    }
    let mut session = [0; 16];
    session.copy_from_slice(&frame[1..17]);
    Ok((frame[0], session))
}

/// Puts the frames of one session together again.
#[derive(Debug, Default)]
pub struct Assembler {
    pieces: Vec<u8>,
    next: u16,
}

impl Assembler {
    /// Takes the next frame; gives the message when it was the last of it. After an error the session is not to be trusted.
    pub fn take<T: DeserializeOwned>(&mut self, frame: &[u8], wanted: u8) -> Result<Option<T>, EnvelopeError> {
        let (found, _) = session_of(frame)?;
        if found != wanted {
            return Err(EnvelopeError::Version { found, wanted });
        }
        let flags = frame[17];
        let index = u16::from_be_bytes([frame[18], frame[19]]);
        let count = u16::from_be_bytes([frame[20], frame[21]]);
        if index != self.next || index >= count {
            return Err(EnvelopeError::Order { index, count, expected: self.next });
        }
        let piece = &frame[HEADER..];
        if self.pieces.len() + piece.len() > MESSAGE_AT_MOST {
            return Err(EnvelopeError::TooLarge);
        }
        self.pieces.extend_from_slice(piece);
        self.next = index + 1;
        if self.next < count {
            return Ok(None);
        }
        let body = std::mem::take(&mut self.pieces);
        self.next = 0;
        let plain = if flags & COMPRESSED == 0 { body } else { unpack(&body)? };
        postcard::from_bytes(&plain).map(Some).map_err(EnvelopeError::Encoding)
    }
}

fn unpack(body: &[u8]) -> Result<Vec<u8>, EnvelopeError> {
    let size = body.first_chunk::<4>().map(|size| u32::from_le_bytes(*size) as usize).ok_or(EnvelopeError::Short)?;
    if size > MESSAGE_AT_MOST {
        return Err(EnvelopeError::TooLarge);
    }
    lz4_flex::decompress_size_prepended(body).map_err(|err| EnvelopeError::Compression(err.to_string()))
}

/// The version both speak, if there is one.
pub fn choose(offer: &Offer, (lowest, highest): (u8, u8)) -> Option<u8> {
    let version = offer.highest.min(highest);
    (version >= offer.lowest.max(lowest)).then_some(version)
}

impl std::fmt::Debug for Bytes {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{} bytes", self.0.len())
    }
}

impl Serialize for Bytes {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Bytes, D::Error> {
        struct Visitor;
        impl serde::de::Visitor<'_> for Visitor {
            type Value = Bytes;
            fn expecting(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                out.write_str("bytes")
            }
            fn visit_bytes<E: serde::de::Error>(self, bytes: &[u8]) -> Result<Bytes, E> {
                Ok(Bytes(bytes.to_vec()))
            }
        }
        from.deserialize_bytes(Visitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SESSION: SessionToken = [7; 16];

    fn there_and_back(message: &Up) -> usize {
        let frames = frames(1, &SESSION, message);
        let mut assembler = Assembler::default();
        for (index, frame) in frames.iter().enumerate() {
            assert!(frame.len() <= FRAME_AT_MOST);
            assert_eq!(session_of(frame).unwrap(), (1, SESSION));
            let found: Option<Up> = assembler.take(frame, 1).unwrap();
            assert_eq!(found.is_some(), index + 1 == frames.len());
            if let Some(found) = found {
                assert_eq!(&found, message);
            }
        }
        frames.len()
    }

    #[test]
    fn a_message_of_any_size_comes_out_as_it_went_in() {
        assert_eq!(there_and_back(&Up::Pong { sent_us: 1, received_us: -2, replied_us: 3 }), 1);
        let wire = WireTrial { result: Bytes(vec![1, 2]), verdicts: Vec::new() };
        assert_eq!(there_and_back(&Up::Tried { request: 7, outcome: Ok(wire) }), 1);
        // Nothing in it repeats, so it is cut and not compressed.
        let noise: Vec<u8> = (0..900_000).map(|_| rand::random()).collect();
        assert!(there_and_back(&Up::Deliver { delivery: 1, batches: vec![Bytes(noise)] }) >= 4);
        assert_eq!(there_and_back(&Up::Snapshot { batch: Bytes(vec![9; 1 << 20]) }), 1);
    }

    #[test]
    fn a_frame_of_another_version_order_or_size_is_refused() {
        let good = &frames(1, &SESSION, &Up::Goodbye)[0];
        let refused = |frame: &[u8]| Assembler::default().take::<Up>(frame, 1).unwrap_err().to_string();
        let mut future = good.clone();
        future[0] = 9;
        insta::assert_snapshot!(refused(&future), @"frame has version 9, 1 was agreed on");
        let mut second = good.clone();
        second[19] = 1;
        second[21] = 2;
        insta::assert_snapshot!(refused(&second), @"frame 1 of 2 came where 0 was due");
        insta::assert_snapshot!(refused(&good[..10]), @"frame is cut short");
        insta::assert_snapshot!(refused(&vec![1; FRAME_AT_MOST + 1]), @"frame of 262145 bytes is larger than any may be");
        let mut garbage = good.clone();
        garbage[22..].fill(0xFF);
        insta::assert_snapshot!(refused(&garbage), @"message cannot be read");
    }

    #[test]
    fn what_claims_to_unpack_to_more_than_any_message_is_not_unpacked() {
        let mut frame = frames(1, &SESSION, &Up::Snapshot { batch: Bytes(vec![0; 4096]) }).remove(0);
        assert_eq!(frame[17], COMPRESSED);
        frame[22..26].copy_from_slice(&u32::MAX.to_le_bytes());
        assert!(matches!(Assembler::default().take::<Up>(&frame, 1), Err(EnvelopeError::TooLarge)));
    }

    #[test]
    fn both_sides_meet_at_the_highest_version_they_share() {
        let offer = |lowest, highest| Offer { lowest, highest, build: String::new() };
        assert_eq!(choose(&offer(1, 3), (1, 2)), Some(2));
        assert_eq!(choose(&offer(2, 5), (1, 9)), Some(5));
        assert_eq!(choose(&offer(3, 4), (1, 2)), None);
    }
}
