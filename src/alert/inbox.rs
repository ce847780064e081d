//! Where whoever sees a cause says so. What it says waits for the dispatcher, and outlives it.

use std::sync::Arc;

use tokio::sync::{Notify, mpsc};

use crate::aggregate::incident::{Step, StepKind};
use crate::alert::sources::incidents::cause_of;
use crate::model::alert::CauseMove;
use crate::model::incident::IncidentId;
use crate::model::time::Timestamp;

/// Cheap to clone; one for each who has something to say.
#[derive(Clone, Debug)]
pub struct Inbox {
    /// Causes are few, and each is told once or a few times: the queue is as short.
    pub moves: mpsc::UnboundedSender<CauseMove>,
    /// Has the dispatcher look at what it reads itself: verdicts, nodes, rules.
    pub nudge: Arc<Notify>,
}

impl Inbox {
    pub fn new() -> (Inbox, mpsc::UnboundedReceiver<CauseMove>) {
        let (moves, taken) = mpsc::unbounded_channel();
        (Inbox { moves, nudge: Arc::default() }, taken)
    }

    /// A move of an incident that the store has.
    pub fn step(&self, step: &Step) {
        let cause = cause_of(&step.incident);
        let key = cause.key.clone();
        self.say(CauseMove::Raised(cause));
        if let (StepKind::Closed, Some(at)) = (step.kind, step.incident.closed_at) {
            self.say(match step.incident.unwatched {
                true => CauseMove::Unwatched { key, at },
                false => CauseMove::Cleared { key, at },
            });
        }
    }

    pub fn acknowledged(&self, id: &IncidentId, by: &str, at: Timestamp) {
        let key = crate::alert::sources::incidents::key_of(id);
        self.say(CauseMove::Acknowledged { key, by: by.to_owned(), note: String::new(), at });
    }

    pub fn say(&self, said: CauseMove) {
        // It ends with the hub.
        let _ = self.moves.send(said);
    }
}
