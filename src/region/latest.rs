//! The newest results of each service, kept for a hub that was away: it wants to know how things stand before it reads
//! how they came to be so.
//!
//! Only a node whose hub is elsewhere keeps them.

use std::collections::{HashMap, VecDeque};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::model::check::CheckResult;
use crate::model::id::ServiceId;

/// Results kept of each service: as many in a row as usually decide its state.
const KEPT: usize = 3;

#[derive(Debug, Default)]
pub struct Latest {
    wanted: AtomicBool,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    stamp: u64,
    services: HashMap<ServiceId, VecDeque<(u64, CheckResult)>>,
}

impl Latest {
    /// From here on results are kept.
    pub fn keep(&self) {
        self.wanted.store(true, Ordering::Relaxed);
    }

    /// Takes results as they are made, in the order of their checks.
    pub fn note(&self, results: &[CheckResult]) {
        if !self.wanted.load(Ordering::Relaxed) {
            return;
        }
        let mut inner = self.inner.lock().expect("no holder panics");
        for result in results {
            inner.stamp += 1;
            let stamp = inner.stamp;
            let kept = inner.services.entry(result.service).or_default();
            if kept.len() == KEPT {
                kept.pop_front();
            }
            // What failed is told, the evidence comes with the record.
            kept.push_back((stamp, CheckResult { evidence: None, ..result.clone() }));
        }
    }

    /// What came after `stamp`, oldest first, and the stamp of the newest.
    pub fn since(&self, stamp: u64) -> (Vec<CheckResult>, u64) {
        let inner = self.inner.lock().expect("no holder panics");
        let mut news: Vec<&(u64, CheckResult)> = inner.services.values().flatten().filter(|(made, _)| *made > stamp).collect();
        news.sort_unstable_by_key(|(made, _)| *made);
        (news.into_iter().map(|(_, result)| result.clone()).collect(), inner.stamp)
    }

    /// Forgets services that are no longer checked here.
    pub fn forget(&self, service: ServiceId) {
        self.inner.lock().expect("no holder panics").services.remove(&service);
    }
}
