//! The only wall clock and the only timers, so that a test can move both.
//!
//! A `Clock` is real, or moved by hand: then time stands still until `advance`, which wakes the sleepers it passes in the
//! order they are due.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::sync::oneshot;

use crate::model::time::{Timestamp, micros};

#[derive(Clone, Debug)]
pub struct Clock(Inner);

#[derive(Clone, Debug)]
enum Inner {
    Real { origin: Instant },
    Manual(Arc<Mutex<Manual>>),
}

#[derive(Debug)]
struct Manual {
    start: Timestamp,
    now: Timestamp,
    /// How far the wall clock was set apart from the steady one.
    step: i64,
    sleepers: Vec<(Timestamp, oneshot::Sender<()>)>,
}

impl Clock {
    pub fn real() -> Clock {
        Clock(Inner::Real { origin: Instant::now() })
    }

    /// A clock that stands at `start` until it is moved.
    pub fn manual(start: Timestamp) -> Clock {
        Clock(Inner::Manual(Arc::new(Mutex::new(Manual { start, now: start, step: 0, sleepers: Vec::new() }))))
    }

    /// The wall clock. It may jump, forwards and backwards.
    pub fn now(&self) -> Timestamp {
        match &self.0 {
            Inner::Real { .. } => {
                let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                Timestamp(micros(since))
            }
            Inner::Manual(manual) => {
                let manual = manual.lock().expect("no holder panics");
                Timestamp(manual.now.0 + manual.step)
            }
        }
    }

    /// Time since this clock was made. It never goes back.
    pub fn steady(&self) -> Duration {
        match &self.0 {
            Inner::Real { origin } => origin.elapsed(),
            Inner::Manual(manual) => {
                let manual = manual.lock().expect("no holder panics");
                manual.now.since(manual.start)
            }
        }
    }

    pub async fn sleep(&self, span: Duration) {
        match &self.0 {
            Inner::Real { .. } => tokio::time::sleep(span).await,
            Inner::Manual(manual) => {
                let woken = {
                    let mut manual = manual.lock().expect("no holder panics");
                    let due = manual.now.plus(span);
                    let (wake, woken) = oneshot::channel();
                    if span.is_zero() {
                        return;
                    }
                    manual.sleepers.push((due, wake));
                    woken
                };
                // The sender lives in the clock, so it is dropped only with the clock itself.
                let _ = woken.await;
            }
        }
    }

    /// Moves a manual clock on, waking each sleeper at its own instant; nothing on a real one.
    pub async fn advance(&self, span: Duration) {
        let Inner::Manual(manual) = &self.0 else { return };
        let end = manual.lock().expect("no holder panics").now.plus(span);
        loop {
            let next = {
                let mut manual = manual.lock().expect("no holder panics");
                let first = manual
                    .sleepers
                    .iter()
                    .enumerate()
                    .filter(|(_, (due, _))| *due <= end)
                    .min_by_key(|(_, (due, _))| *due)
                    .map(|(index, _)| index);
                first.map(|index| {
                    let (due, wake) = manual.sleepers.swap_remove(index);
                    manual.now = manual.now.max(due);
                    wake
                })
            };
            match next {
                Some(wake) => {
                    let _ = wake.send(());
                    // Lets the woken run, and arm what follows, before time goes on.
                    for _ in 0..16 {
                        tokio::task::yield_now().await;
                    }
                }
                None => {
                    manual.lock().expect("no holder panics").now = end;
                    return;
                }
            }
        }
    }

    /// Sets a manual clock's wall time apart from its steady time, as a clock correction would; nothing on a real one.
    pub fn step_wall(&self, micros: i64) {
        if let Inner::Manual(manual) = &self.0 {
            manual.lock().expect("no holder panics").step += micros;
        }
    }
}
