//! The one actor of a process that other processes can reach. It takes frames and hands them to the session they name.
//!
//! The carrier does not tell who sent a frame: the token in it does. Frames of no session are counted and let go of, and a
//! session that does not keep up with its own frames is one that sends more than it may: it is ended.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use ractor::{Actor, ActorProcessingErr, ActorRef};
use ractor_cluster::RactorClusterMessage;
use tokio::sync::mpsc;
use tracing::warn;

use crate::wire::envelope::{OPENING, SessionToken, session_of};

/// The process group gateways are found by.
pub const GROUP: &str = "probemesh.gateway";
/// Frames a session may be behind with. What one side may have under way by the protocol is a fraction of it.
const FRAMES: usize = 256;

pub struct Gateway;

#[derive(RactorClusterMessage)]
pub enum GatewayMsg {
    Frame(Vec<u8>),
}

/// The sessions of a process, by token.
#[derive(Debug, Default)]
pub struct Sessions {
    open: Mutex<HashMap<SessionToken, mpsc::Sender<Vec<u8>>>>,
    /// Where a hub's offer goes, which comes before its session is known here.
    offers: Mutex<Option<mpsc::Sender<Vec<u8>>>>,
    /// Frames that belonged to no session, or were none.
    pub stray: AtomicU64,
    /// Sessions ended because they sent more than they may.
    pub floods: AtomicU64,
}

impl Sessions {
    /// Opens a session; what is received ends when it is closed, here or for flooding.
    pub fn open(&self, token: SessionToken) -> mpsc::Receiver<Vec<u8>> {
        let (frames, received) = mpsc::channel(FRAMES);
        self.open.lock().expect("no holder panics").insert(token, frames);
        received
    }

    pub fn close(&self, token: &SessionToken) {
        self.open.lock().expect("no holder panics").remove(token);
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
        match session.try_send(frame) {
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

/// The gateway at the far end of a session.
pub fn remote(node_id: u64) -> Option<ActorRef<GatewayMsg>> {
    let members = ractor::pg::get_members(&GROUP.to_owned());
    let far = members.into_iter().find(|cell| matches!(cell.get_id(), ractor::ActorId::Remote { node_id: of, .. } if of == node_id));
    far.map(ActorRef::from)
}
