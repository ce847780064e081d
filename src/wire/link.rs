//! The link between a node and its hub, as the two ends see it: batches go up and are acknowledged, assignments and
//! requests for a check come down. Here both ends are in one process and the link is three channels; a carrier between
//! machines pumps the same channels.
//!
//! **Invariant.** Values go down, acknowledgements come back, and every queue has a bound: the node sends the next delivery
//! after the last was acknowledged, a delivery holds so much at most, assignments keep only the newest generation.

use std::sync::Arc;

use tokio::sync::{Notify, mpsc, oneshot, watch};

use crate::model::check::CheckResult;
use crate::model::id::{Boot, NodeName, RegionName, ServiceId};
use crate::model::time::Timestamp;
use crate::probe::progress::{Step, Watcher};
use crate::probe::trial::Trial;

/// Batches of one delivery at most…
pub const DELIVERY_BATCHES: usize = 64;
/// …and their bytes together; a single batch may be larger.
pub const DELIVERY_BYTES: usize = 512 << 10;

/// Batches on their way up, with where to send the one answer to all of them.
#[derive(Debug)]
pub struct Delivery {
    /// At least one, all of one node, in the order they were made.
    pub batches: Vec<Arc<[u8]>>,
    /// How many microseconds the node's clock is ahead of the hub's, as far as the hub has found out. The node itself
    /// cannot know and leaves it empty.
    pub clock_offset: Option<i64>,
    pub answer: oneshot::Sender<Answer>,
}

/// What the hub says to a delivery. No answer at all means the hub went away; the batches are sent again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Everything of this boot up to this batch number is in the store.
    Stored { boot: Boot, through: u64 },
    /// The store cannot take them now; the same batches are sent again later.
    Later { reason: String },
    /// The hub will never take the batch at this place of the delivery, counted from 0. Those before it are in the store,
    /// those behind it were not looked at. The node sets that one aside and says so. It is told by its place because a
    /// batch that cannot be read has no name the hub could know.
    Refused { place: usize, reason: String },
}

/// All the services a node is to check, as one numbered generation. `documents` are services as JSON.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Assignments {
    pub generation: u64,
    pub services: Arc<Vec<Assignment>>,
}

/// One service as assigned: its document is a `ServiceDocument` in JSON, secrets in the clear.
#[derive(Clone, Debug, PartialEq)]
pub struct Assignment {
    pub id: ServiceId,
    /// Rises with every change of the document, so a node sees what changed.
    pub revision: u64,
    pub document: Arc<str>,
    /// Another node of the region has checked the rounds up to here: the next one is due.
    pub checked_until: Option<Timestamp>,
}

/// A check wanted now, beside the schedule. It is made, stored and answered like any other.
#[derive(Debug)]
pub struct CheckNow {
    pub service: ServiceId,
    /// Dropped unanswered when the node does not run this service.
    pub answer: oneshot::Sender<CheckResult>,
    /// Is told the steps of the check while it runs, where someone watches.
    pub watcher: Option<Watcher>,
}

/// A service nobody keeps, to be checked once. Nothing of it is stored.
pub struct TryOut {
    /// As JSON, secrets in the clear.
    pub document: Arc<str>,
    /// What came of it, or why it could not be tried. Dropped unanswered when the node is lost meanwhile.
    pub answer: oneshot::Sender<Result<Trial, String>>,
}

/// A check asked for of one node, as the asker holds it.
#[derive(Debug)]
pub struct Asked {
    pub region: RegionName,
    pub node: NodeName,
    pub result: oneshot::Receiver<CheckResult>,
    /// The newest step, where it was asked for; a node of an older version tells none.
    pub progress: Option<watch::Receiver<Option<Step>>>,
}

/// The node's end.
#[derive(Debug)]
pub struct NodeEnd {
    pub deliveries: mpsc::Sender<Delivery>,
    pub assignments: watch::Receiver<Assignments>,
    pub requests: mpsc::Receiver<CheckNow>,
    /// Called when the hub has come back: what waits for its next try is sent at once.
    pub wake: Arc<Notify>,
}

/// The hub's end.
#[derive(Debug)]
pub struct HubEnd {
    pub deliveries: mpsc::Receiver<Delivery>,
    pub assignments: watch::Sender<Assignments>,
    pub requests: mpsc::Sender<CheckNow>,
    pub wake: Arc<Notify>,
}

/// A link within one process.
pub fn in_process() -> (NodeEnd, HubEnd) {
    let (deliveries_up, deliveries) = mpsc::channel(8);
    let (assignments, assignments_down) = watch::channel(Assignments::default());
    let (requests, requests_down) = mpsc::channel(1024);
    let wake = Arc::new(Notify::new());
    (
        NodeEnd { deliveries: deliveries_up, assignments: assignments_down, requests: requests_down, wake: wake.clone() },
        HubEnd { deliveries, assignments, requests, wake },
    )
}
