//! How steadily this computer ran the demo: it sleeps for a moment over and over and notes how much too late it wakes. Services that are
//! served late are slow in truth, all of them, and whoever reads what was found of them should know why.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::clock::Clock;
use crate::supervise::Task;

const MOMENT: Duration = Duration::from_millis(20);
/// Beyond this it was busy otherwise: what is slow for that long by itself is not told from what was made slow.
pub const BUSY: Duration = Duration::from_millis(25);

pub struct Steadiness {
    late: Arc<Mutex<Vec<Duration>>>,
    _task: Task,
}

impl Steadiness {
    pub fn watch(clock: &Clock) -> Steadiness {
        let late: Arc<Mutex<Vec<Duration>>> = Arc::default();
        let (noted, clock) = (late.clone(), clock.clone());
        let task = Task::spawn(async move {
            loop {
                let began = clock.steady();
                clock.sleep(MOMENT).await;
                noted.lock().expect("no holder panics").push(clock.steady().saturating_sub(began + MOMENT));
            }
        });
        Steadiness { late, _task: task }
    }

    /// What it woke too late by, but for one time in a hundred.
    pub fn late(&self) -> Duration {
        let mut late = self.late.lock().expect("no holder panics").clone();
        late.sort();
        late.get(late.len() * 99 / 100).copied().unwrap_or_default()
    }
}
