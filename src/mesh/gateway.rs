//! The one actor of a process that other processes can reach. It takes frames and hands them to the session they name.
//!
//! The carrier does not tell who sent a frame: the token in it does. Frames of no session are counted and let go of, and a
//! session that does not keep up with its own frames is one that sends more than it may: it is ended.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use ractor::{Actor, ActorProcessingErr, ActorRef};
use ractor_cluster::RactorClusterMessage;
use tokio::sync::mpsc;
use tracing::warn;

use crate::wire::envelope::{OPENING, SessionToken, frames, session_of};

/// The process group gateways are found by.
pub const GROUP: &str = "probemesh.gateway";
/// Frames a session may be behind with, and their bytes. What one side may have under way by the protocol is a fraction of
/// it.
const FRAMES: usize = 8192;
const BYTES: usize = 32 << 20;

pub struct Gateway;

#[derive(RactorClusterMessage)]
pub enum GatewayMsg {
    Frame(Vec<u8>),
}

/// The sessions of a process, by token.
#[derive(Debug, Default)]
pub struct Sessions {
    open: Mutex<HashMap<SessionToken, Open>>,
    /// Where a hub's offer goes, which comes before its session is known here.
    offers: Mutex<Option<mpsc::Sender<Vec<u8>>>>,
    /// Frames that belonged to no session, or were none.
    pub stray: AtomicU64,
    /// Sessions ended because they sent more than they may.
    pub floods: AtomicU64,
}

#[derive(Debug)]
struct Open {
    frames: mpsc::Sender<Vec<u8>>,
    waiting: Arc<AtomicUsize>,
}

/// What a session receives; dropping it closes the session.
pub struct Received {
    frames: mpsc::Receiver<Vec<u8>>,
    waiting: Arc<AtomicUsize>,
    sessions: Arc<Sessions>,
    token: SessionToken,
}

impl Drop for Received {
    fn drop(&mut self) {
        self.sessions.open.lock().expect("no holder panics").remove(&self.token);
    }
}

impl Received {
    /// The next frame; `None` once the session is closed.
    pub async fn recv(&mut self) -> Option<Vec<u8>> {
        let frame = self.frames.recv().await?;
        self.waiting.fetch_sub(frame.len(), Ordering::Relaxed);
        Some(frame)
    }
}

impl Sessions {
    /// Opens a session; what is received ends when it is closed for flooding.
    pub fn open(self: &Arc<Self>, token: SessionToken) -> Received {
        let (frames, received) = mpsc::channel(FRAMES);
        let waiting = Arc::new(AtomicUsize::new(0));
        self.open.lock().expect("no holder panics").insert(token, Open { frames, waiting: waiting.clone() });
        Received { frames: received, waiting, sessions: self.clone(), token }
    }

    /// From here on frames of the opening go to the receiver that is returned.
    pub fn await_offer(&self) -> mpsc::Receiver<Vec<u8>> {
        let (offers, received) = mpsc::channel(4);
        *self.offers.lock().expect("no holder panics") = Some(offers);
        received
    }

    fn take(&self, frame: Vec<u8>) {
        let Ok((version, token)) = session_of(&frame) else {
            self.stray.fetch_add(1, Ordering::Relaxed);
            return;
        };
        let mut open = self.open.lock().expect("no holder panics");
        let Some(session) = open.get(&token) else {
            drop(open);
            let offers = self.offers.lock().expect("no holder panics");
            let taken = version == OPENING && offers.as_ref().is_some_and(|offers| offers.try_send(frame).is_ok());
            if !taken && self.stray.fetch_add(1, Ordering::Relaxed).is_multiple_of(1000) {
                warn!("a frame came that belongs to no session");
            }
            return;
        };
        let size = frame.len();
        let sent = match session.waiting.fetch_add(size, Ordering::Relaxed) + size > BYTES {
            true => Err(mpsc::error::TrySendError::Full(frame)),
            false => session.frames.try_send(frame),
        };
        match sent {
            Ok(()) => {}
            Err(mpsc::error::TrySendError::Full(_)) => {
                self.floods.fetch_add(1, Ordering::Relaxed);
                open.remove(&token);
            }
            Err(mpsc::error::TrySendError::Closed(_)) => {
                open.remove(&token);
            }
        }
    }
}

impl Actor for Gateway {
    type Msg = GatewayMsg;
    type State = Arc<Sessions>;
    type Arguments = Arc<Sessions>;

    async fn pre_start(&self, myself: ActorRef<GatewayMsg>, sessions: Arc<Sessions>) -> Result<Arc<Sessions>, ActorProcessingErr> {
        ractor::pg::join(GROUP.into(), vec![myself.get_cell()]);
        Ok(sessions)
    }

    async fn handle(&self, _: ActorRef<GatewayMsg>, message: GatewayMsg, sessions: &mut Arc<Sessions>) -> Result<(), ActorProcessingErr> {
        match message {
            GatewayMsg::Frame(frame) => sessions.take(frame),
        }
        Ok(())
    }
}

/// Sends a message of a session to the gateway at its far end.
pub fn send<T: serde::Serialize>(gateway: &ActorRef<GatewayMsg>, version: u8, token: &SessionToken, message: &T) {
    for frame in frames(version, token, message) {
        // A dead link is noticed by its silence.
        let _ = gateway.cast(GatewayMsg::Frame(frame));
    }
}

/// The gateway at the far end of a session.
pub fn remote(node_id: u64) -> Option<ActorRef<GatewayMsg>> {
    let members = ractor::pg::get_members(&GROUP.to_owned());
    let far = members.into_iter().find(|cell| matches!(cell.get_id(), ractor::ActorId::Remote { node_id: of, .. } if of == node_id));
    far.map(ActorRef::from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::envelope::Up;

    #[tokio::test]
    async fn a_session_that_is_flooded_is_closed_and_the_others_go_on() {
        let sessions = Arc::new(Sessions::default());
        let (mut flooded, mut quiet) = (sessions.open([1; 16]), sessions.open([2; 16]));
        let frame = |token| frames(1, &[token; 16], &Up::Goodbye).remove(0);
        for _ in 0..=FRAMES {
            sessions.take(frame(1));
        }
        sessions.take(frame(2));
        assert_eq!(sessions.floods.load(Ordering::Relaxed), 1);
        let mut received = 0;
        while flooded.recv().await.is_some() {
            received += 1;
        }
        assert_eq!(received, FRAMES);
        assert!(quiet.recv().await.is_some());
        sessions.take(frame(1));
        sessions.take(vec![1; 3]);
        assert_eq!(sessions.stray.load(Ordering::Relaxed), 2, "frames of no session, and what is no frame");
    }

    #[tokio::test]
    async fn a_session_is_bounded_by_bytes_and_room_comes_back_as_it_reads() {
        let sessions = Arc::new(Sessions::default());
        let mut session = sessions.open([1; 16]);
        let large = || {
            let mut frame = frames(1, &[1; 16], &Up::Goodbye).remove(0);
            frame.resize(256 << 10, 0);
            frame
        };
        for _ in 0..1000 {
            sessions.take(large());
            assert!(session.recv().await.is_some());
        }
        for _ in 0..=BYTES / (256 << 10) {
            sessions.take(large());
        }
        assert_eq!(sessions.floods.load(Ordering::Relaxed), 1);
    }
}
