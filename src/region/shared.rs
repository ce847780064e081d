//! What the actors of one region share and what outlives each of them: the outbox file, the counters, the permits.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::{Notify, Semaphore, watch};

use crate::clock::Clock;
use crate::config::sections::RegionSettings;
use crate::model::id::CheckId;
use crate::model::time::Timestamp;
use crate::probe::Probes;
use crate::region::latest::Latest;
use crate::region::outbox_file::OutboxFile;

/// Results that may wait for their commit at once. When the disk stalls, checks stop here instead of filling the memory.
const UNCOMMITTED: usize = 16_384;

/// So long results wait at most for the witnesses.
const DOUBT_AT_MOST: Duration = Duration::from_secs(10);

pub struct Shared {
    pub settings: RegionSettings,
    pub clock: Clock,
    pub probes: Probes,
    pub file: OutboxFile,
    /// Checks in flight.
    pub running: Semaphore,
    /// Results made or in the making that are not committed yet.
    pub room: Arc<Semaphore>,
    pub counts: Counts,
    /// What a hub that was away hears first.
    pub latest: Latest,
    /// Why this node sees nothing now, where it does not: a sentence for people.
    pub sight: watch::Sender<Option<String>>,
    /// A service turned bad, and the witnesses have not answered since: what was seen is not sent before that is known.
    pub doubt: watch::Sender<bool>,
    /// Called when a service turned, good or bad: a look at the witnesses is due.
    pub look: Notify,
    /// Both clocks at the start.
    began: (Timestamp, Duration),
    seq: AtomicU64,
    batch: AtomicU64,
}

/// What this boot has done so far.
#[derive(Debug, Default)]
pub struct Counts {
    pub checks: AtomicU64,
    pub failures: AtomicU64,
    /// Rounds left out because the check before them was still running.
    pub missed: AtomicU64,
    pub dropped: AtomicU64,
    pub refused: AtomicU64,
    pub commits: AtomicU64,
    pub restarts: AtomicU64,
    pub quarantined: AtomicU64,
    /// Why the outbox cannot be written now.
    pub outbox_error: Mutex<Option<String>>,
    pub lag: Lag,
}

impl Shared {
    pub fn new(settings: RegionSettings, clock: Clock, probes: Probes, file: OutboxFile) -> Arc<Shared> {
        Arc::new(Shared {
            running: Semaphore::new(settings.max_concurrent_checks),
            room: Arc::new(Semaphore::new(UNCOMMITTED)),
            counts: Counts::default(),
            latest: Latest::default(),
            sight: watch::Sender::new(None),
            doubt: watch::Sender::new(false),
            look: Notify::new(),
            began: (clock.now(), clock.steady()),
            seq: AtomicU64::new(0),
            batch: AtomicU64::new(0),
            settings,
            clock,
            probes,
            file,
        })
    }

    /// Names the next check of this boot.
    pub fn next_check(&self) -> CheckId {
        let seq = self.seq.fetch_add(1, Ordering::Relaxed) + 1;
        CheckId { node: self.settings.node.clone(), boot: self.file.boot(), seq }
    }

    /// The time batches are aged by: the wall clock as of the start, and steady from there. A wall clock that is set while
    /// this process runs makes no batch older than it is.
    pub fn outbox_now(&self) -> Timestamp {
        self.began.0.plus(self.clock.steady().saturating_sub(self.began.1))
    }

    /// Checks begun or made whose results are not committed.
    pub fn uncommitted(&self) -> usize {
        UNCOMMITTED - self.room.available_permits().min(UNCOMMITTED)
    }

    /// Takes in that a service turned: whether that is about the service or about this node, the witnesses know.
    pub fn turned(&self, ok: bool) {
        if self.settings.witness.places.is_empty() {
            return;
        }
        if !ok && self.sight.borrow().is_none() {
            self.doubt.send_replace(true);
        }
        self.look.notify_one();
    }

    /// Waits until it is known whether this node sees, and for no witness longer than anyone would wait for a verdict.
    pub async fn until_sure(&self) {
        let mut doubt = self.doubt.subscribe();
        tokio::select! {
            _ = doubt.wait_for(|doubt| !doubt) => {}
            () = self.clock.sleep(DOUBT_AT_MOST) => {}
        }
    }

    /// Numbers the next batch of this boot.
    pub fn next_batch(&self) -> u64 {
        self.batch.fetch_add(1, Ordering::Relaxed) + 1
    }
}

/// How late checks began, counted in bins of growing width.
#[derive(Debug, Default)]
pub struct Lag {
    bins: [AtomicU64; Lag::BOUNDS.len() + 1],
    sum_us: AtomicU64,
    window: Mutex<Window>,
}

/// A minute or so of lags.
#[derive(Debug, Default)]
struct Window {
    /// Steady time of its beginning, and the bins of then.
    from: Duration,
    bins: Vec<u64>,
    /// What the one before came to.
    last: Option<(Option<f64>, Option<f64>)>,
}

/// A window is as long at least.
const WINDOW: Duration = Duration::from_secs(60);

impl Lag {
    /// Upper bounds of the bins, milliseconds.
    pub const BOUNDS: [f64; 22] =
        [0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0, 15.0, 20.0, 30.0, 50.0, 100.0, 250.0, 1000.0, 5000.0];

    pub fn count(&self, lag: Duration) {
        let ms = lag.as_secs_f64() * 1e3;
        let bin = Lag::BOUNDS.iter().position(|bound| ms <= *bound).unwrap_or(Lag::BOUNDS.len());
        self.bins[bin].fetch_add(1, Ordering::Relaxed);
        self.sum_us.fetch_add(lag.as_micros() as u64, Ordering::Relaxed);
    }

    /// Median and p99 of the last whole window, in milliseconds; while there is none, since the start.
    pub fn lately(&self, now: Duration) -> (Option<f64>, Option<f64>) {
        let (bins, _) = self.read();
        let both = |bins: &[u64]| (quantile(bins, 0.5), quantile(bins, 0.99));
        let mut window = self.window.lock().expect("no holder panics");
        if now.saturating_sub(window.from) >= WINDOW {
            let fresh: Vec<u64> = bins.iter().enumerate().map(|(at, count)| count - window.bins.get(at).unwrap_or(&0)).collect();
            let last = both(&fresh);
            *window = Window { from: now, bins, last: Some(last) };
            return last;
        }
        window.last.unwrap_or_else(|| both(&bins))
    }

    /// Checks in each bin, and the sum of all lags in milliseconds.
    pub fn read(&self) -> (Vec<u64>, f64) {
        let bins = self.bins.iter().map(|bin| bin.load(Ordering::Relaxed)).collect();
        (bins, self.sum_us.load(Ordering::Relaxed) as f64 / 1e3)
    }
}

/// The bound, in milliseconds, below which `share` of the counted lags lie; `None` without any.
pub fn quantile(bins: &[u64], share: f64) -> Option<f64> {
    let total: u64 = bins.iter().sum();
    let wanted = (total as f64 * share).ceil().max(1.0) as u64;
    let mut seen = 0;
    for (index, count) in bins.iter().enumerate() {
        seen += count;
        if total > 0 && seen >= wanted {
            return Some(Lag::BOUNDS.get(index).copied().unwrap_or(f64::INFINITY));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bad_minute_is_over_when_it_is_over() {
        let lag = Lag::default();
        let at = Duration::from_secs;
        lag.count(Duration::from_secs(2));
        assert_eq!(lag.lately(at(1)), (Some(5000.0), Some(5000.0)));
        assert_eq!(lag.lately(at(60)), (Some(5000.0), Some(5000.0)));
        (0..50).for_each(|_| lag.count(Duration::from_micros(400)));
        assert_eq!(lag.lately(at(61)), (Some(5000.0), Some(5000.0)), "the window is not over");
        assert_eq!(lag.lately(at(120)), (Some(0.5), Some(0.5)));
        assert_eq!(lag.lately(at(180)), (None, None), "nothing was checked");
    }

    #[test]
    fn a_quantile_is_the_bound_of_its_bin() {
        let lag = Lag::default();
        (0..99).for_each(|_| lag.count(Duration::from_micros(900)));
        lag.count(Duration::from_millis(42));
        let (bins, sum) = lag.read();
        assert_eq!(quantile(&bins, 0.5), Some(1.0));
        assert_eq!(quantile(&bins, 0.99), Some(1.0));
        assert_eq!(quantile(&bins, 1.0), Some(50.0));
        assert!((sum - (99.0 * 0.9 + 42.0)).abs() < 0.01);
        assert_eq!(quantile(&Lag::default().read().0, 0.5), None);
    }
}
