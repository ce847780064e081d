//! The link between a node and its hub, as the two ends see it: batches go up and are acknowledged, assignments and
//! requests for a check come down. Here both ends are in one process and the link is three channels; a carrier between
//! machines pumps the same channels.
//!
//! **Invariant.** Values go down, acknowledgements come back, and every queue has a bound: the node sends the next batch
//! after the last was acknowledged, assignments keep only the newest generation.

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot, watch};

use crate::model::check::CheckResult;
use crate::model::id::{Boot, ServiceId};

/// A batch on its way up, with where to send the answer.
#[derive(Debug)]
pub struct Delivery {
    pub batch: Arc<[u8]>,
    pub answer: oneshot::Sender<Answer>,
}

/// What the hub says to a batch. No answer at all means the hub went away; the batch is sent again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Everything of this boot up to this batch number is in the store.
    Stored { boot: Boot, through: u64 },
    /// The store cannot take it now; the same batch is sent again later.
    Later { reason: String },
    /// The hub will never take this batch. The node sets it aside and says so.
    Refused { reason: String },
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
}

/// A check wanted now, beside the schedule. It is made, stored and answered like any other.
#[derive(Debug)]
pub struct CheckNow {
    pub service: ServiceId,
    /// Dropped unanswered when the node does not run this service.
    pub answer: oneshot::Sender<CheckResult>,
}

/// The node's end.
#[derive(Debug)]
pub struct NodeEnd {
    pub deliveries: mpsc::Sender<Delivery>,
    pub assignments: watch::Receiver<Assignments>,
    pub requests: mpsc::Receiver<CheckNow>,
}

/// The hub's end.
#[derive(Debug)]
pub struct HubEnd {
    pub deliveries: mpsc::Receiver<Delivery>,
    pub assignments: watch::Sender<Assignments>,
    pub requests: mpsc::Sender<CheckNow>,
}

/// A link within one process.
pub fn in_process() -> (NodeEnd, HubEnd) {
    let (deliveries_up, deliveries) = mpsc::channel(8);
    let (assignments, assignments_down) = watch::channel(Assignments::default());
    let (requests, requests_down) = mpsc::channel(1024);
    (
        NodeEnd { deliveries: deliveries_up, assignments: assignments_down, requests: requests_down },
        HubEnd { deliveries, assignments, requests },
    )
}
