//! What happens to a connection while it is made, written down by hooks that run inside the request's own task.
//!
//! The HTTP client has no phase timings of its own. Its resolver, its TLS session store, its certificate verifier and a layer
//! round its connector are ours, and each finds the recorder of the running attempt in a task-local. What they wrote is there
//! also when the attempt is cut off by its time limit.
//!
//! **Invariant**: the marks are of the hop under way; `begin_hop` forgets the hop before.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use rustls::pki_types::ServerName;

use crate::clock::Clock;
use crate::model::check::{Phase, Phases, Reason, TlsVersion};
use crate::model::service::IpFamily;
use crate::probe::certificate::SeenChain;
use crate::probe::progress::{self, Board};

tokio::task_local! {
    pub static RECORDER: Arc<Recorder>;
}

/// The recorder of the attempt that runs in this task.
pub fn current() -> Option<Arc<Recorder>> {
    RECORDER.try_with(Arc::clone).ok()
}

#[derive(Debug)]
pub struct Recorder {
    clock: Clock,
    hop: Mutex<Hop>,
    /// Where the steps of the attempt are told, if anyone may look.
    board: Option<Arc<Board>>,
}

/// What the hooks must know of a hop before it begins.
#[derive(Clone, Debug)]
pub struct HopRules {
    pub family: IpFamily,
    /// The blocked networks do not hold for this hop.
    pub unblocked: bool,
    pub alias: Option<Arc<Alias>>,
}

impl Default for HopRules {
    fn default() -> HopRules {
        HopRules { family: IpFamily::Any, unblocked: false, alias: None }
    }
}

/// A server asked for by a name that is not its host.
#[derive(Debug)]
pub struct Alias {
    /// The name in the address the client was given; resolving it finds `host`.
    pub asked: String,
    pub host: String,
    /// The certificate of `asked` is held against this name.
    pub verify: ServerName<'static>,
}

/// Marks are readings of the steady clock.
#[derive(Debug, Default)]
pub struct Hop {
    pub rules: HopRules,
    pub sent: Option<Duration>,
    pub connect_start: Option<Duration>,
    pub dns_start: Option<Duration>,
    pub dns_end: Option<Duration>,
    pub tls_start: Option<Duration>,
    pub connected: Option<Duration>,
    pub headers: Option<Duration>,
    pub done: Option<Duration>,
    /// Why a hook refused to go on.
    pub refusal: Option<(Reason, String)>,
    pub addresses: Vec<IpAddr>,
    pub chain: Option<Arc<SeenChain>>,
    pub tls_version: Option<TlsVersion>,
}

impl Recorder {
    pub fn new(clock: Clock) -> Recorder {
        Recorder { clock, hop: Mutex::new(Hop::default()), board: progress::board() }
    }

    pub fn begin_hop(&self, rules: HopRules) {
        let sent = Some(self.now());
        *self.hop() = Hop { rules, sent, ..Hop::default() };
    }

    pub fn now(&self) -> Duration {
        self.clock.steady()
    }

    pub fn hop(&self) -> MutexGuard<'_, Hop> {
        self.hop.lock().expect("nobody panics while writing a mark")
    }

    /// Takes the reading first, so that waiting for the lock is not measured.
    pub fn mark(&self, write: impl FnOnce(&mut Hop, Duration)) {
        let now = self.now();
        let mut hop = self.hop();
        write(&mut hop, now);
        if let Some(board) = &self.board {
            board.reached(&hop, now);
        }
    }
}

impl Hop {
    /// The step under way, or the last one begun.
    pub fn phase(&self) -> Phase {
        if self.headers.is_some() {
            return Phase::Transfer;
        }
        if self.connected.is_some() || (self.connect_start.is_none() && self.refusal.is_none()) {
            return Phase::FirstByte;
        }
        if self.tls_start.is_some() {
            return Phase::Tls;
        }
        match (self.dns_start, self.dns_end) {
            (Some(_), None) => Phase::Dns,
            (Some(_), Some(_)) if self.refusal.is_some() => Phase::Dns,
            _ => Phase::Connect,
        }
    }

    /// The time spent in each phase; the one under way has lasted until `now`.
    pub fn phases(&self, now: Duration) -> Phases {
        let span = |from: Option<Duration>, to: Option<Duration>| from.map(|from| to.unwrap_or(now).saturating_sub(from));
        let reached = self.phase();
        let dialled = self.connect_start.is_some();
        let resolved = self.dns_start.is_none() || self.dns_end.is_some();
        Phases {
            dns: span(self.dns_start, self.dns_end),
            connect: (dialled && resolved && reached != Phase::Dns)
                .then(|| span(self.dns_end.or(self.connect_start), self.tls_start.or(self.connected)))
                .flatten(),
            tls: span(self.tls_start, self.connected),
            first_byte: (reached >= Phase::FirstByte).then(|| span(self.connected.or(self.sent), self.headers)).flatten(),
            transfer: span(self.headers, self.done),
        }
    }
}
