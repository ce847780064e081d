//! How far the check under way has come, for those who watch it.
//!
//! A board belongs to one check. The recorder of each attempt tells it what it marks; whoever begins to watch in the middle sees at
//! once what is known. A step that comes before the one before it was looked at takes its place: nothing piles up.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::watch;

use crate::model::check::{Phase, Phases};
use crate::probe::recorder::Hop;

tokio::task_local! {
    /// The board of the check that runs in this task.
    pub static BOARD: Arc<Board>;
}

/// Where a check stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// The attempt under way, from 1.
    pub attempt: u8,
    /// What it does now; `None`: it is about to begin, or waits for its next attempt.
    pub phase: Option<Phase>,
    /// Of the attempt's last hop, each as long as it has lasted.
    pub phases: Phases,
}

/// Gets each step, the newest in the place of those not yet seen.
pub type Watcher = watch::Sender<Option<Step>>;

#[derive(Debug, Default)]
pub struct Board(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    step: Option<Step>,
    watchers: Vec<Watcher>,
}

impl Board {
    pub fn watch(&self, watcher: Watcher) {
        let mut known = self.0.lock().expect("no holder panics");
        watcher.send_replace(known.step);
        known.watchers.push(watcher);
    }

    fn tell(&self, change: impl FnOnce(&mut Step)) {
        let mut known = self.0.lock().expect("no holder panics");
        let mut step = known.step.unwrap_or(Step { attempt: 1, phase: None, phases: Phases::default() });
        change(&mut step);
        known.step = Some(step);
        known.watchers.retain(|watcher| !watcher.is_closed());
        for watcher in &known.watchers {
            watcher.send_replace(Some(step));
        }
    }

    /// What the hop under way has come to.
    pub fn reached(&self, hop: &Hop, now: Duration) {
        self.tell(|step| (step.phase, step.phases) = (Some(hop.phase()), hop.phases(now)));
    }
}

/// The board of the check of this task, if anyone may look at it.
pub fn board() -> Option<Arc<Board>> {
    BOARD.try_with(Arc::clone).ok()
}

/// The step after the one seen last; never comes where nobody tells any, or no more.
pub async fn next_step(progress: &mut Option<watch::Receiver<Option<Step>>>) -> Step {
    loop {
        let Some(told) = progress.as_mut() else { return std::future::pending().await };
        match told.changed().await {
            Ok(()) => {
                if let Some(step) = *told.borrow_and_update() {
                    return step;
                }
            }
            Err(_) => *progress = None,
        }
    }
}

/// An attempt is about to begin.
pub fn attempt(number: u8) {
    if let Some(board) = board() {
        board.tell(|step| *step = Step { attempt: number, phase: None, phases: Phases::default() });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;
    use crate::probe::recorder::{HopRules, Recorder};

    #[tokio::test]
    async fn who_watches_sees_each_phase_begin_and_who_comes_late_what_is_known() {
        let board = Arc::new(Board::default());
        let (early, mut seen) = watch::channel(None);
        board.watch(early);
        let told = BOARD
            .scope(board.clone(), async {
                attempt(2);
                let recorder = Recorder::new(Clock::real());
                recorder.begin_hop(HopRules::default());
                let mut told = vec![*seen.borrow_and_update()];
                let marks: [fn(&mut Hop, Duration); 5] = [
                    |hop, now| (hop.connect_start, hop.dns_start) = (Some(now), Some(now)),
                    |hop, now| hop.dns_end = Some(now),
                    |hop, now| hop.tls_start = Some(now),
                    |hop, now| hop.connected = Some(now),
                    |hop, now| hop.headers = Some(now),
                ];
                for mark in marks {
                    recorder.mark(mark);
                    told.push(*seen.borrow_and_update());
                }
                told
            })
            .await;
        let phases: Vec<Option<Phase>> = told.iter().map(|step| step.expect("it is told").phase).collect();
        let in_order = [Phase::Dns, Phase::Connect, Phase::Tls, Phase::FirstByte, Phase::Transfer].map(Some);
        assert_eq!((phases[0], &phases[1..]), (None, in_order.as_slice()));
        assert!(told.iter().all(|step| step.expect("it is told").attempt == 2));
        let last = told[5].expect("it is told").phases;
        assert!(last.dns.is_some() && last.tls.is_some() && last.transfer.is_some(), "{last:?}");
        let (late, shown) = watch::channel(None);
        board.watch(late);
        assert_eq!(*shown.borrow(), told[5]);
    }
}
