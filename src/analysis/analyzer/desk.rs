//! What the analyzer keeps and does in a round: samples in, a slice of services judged, findings written and told, states put away.
//!
//! **Invariant.** A change of a finding is told after it was written, in the order the changes were made.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use tracing::{debug, error, info, warn};

use crate::analysis::analyzer::AnalyzerArgs;
use crate::analysis::analyzer::primer::{Primed, prime, was_missed};
use crate::analysis::common::{Common, Seen};
use crate::analysis::episode::{Change, What};
use crate::analysis::samples::Sample;
use crate::analysis::watch::Watch;
use crate::api::events::Event;
use crate::model::finding::Dismissal;
use crate::model::id::{RegionName, ServiceId};
use crate::model::time::Timestamp;
use crate::store::connection::StoreError;
use crate::store::findings::FindingQuery;

/// Services judged in one round, and services that come under watch in one.
const SLICE: usize = 64;
const PRIMED: usize = 16;
/// States are put away so often, each service at its own time, so many in one round.
const KEPT_EVERY: Duration = Duration::from_secs(10 * 60);
const KEPT: usize = 16;
/// How often it is looked for what time alone has changed.
const SWEPT_EVERY: Duration = Duration::from_secs(15);
const FORGOTTEN_EVERY: Duration = Duration::from_secs(6 * 3600);
/// Samples of one service that wait for the store.
const WAITING: usize = 3_000;

pub struct Desk {
    args: AnalyzerArgs,
    watched: BTreeMap<ServiceId, Watched>,
    /// Samples that are not judged yet.
    waiting: BTreeMap<ServiceId, Vec<Sample>>,
    /// Services to be looked at though there is no sample: they have findings that go on.
    unfinished: Option<BTreeSet<ServiceId>>,
    /// What many services have in common.
    common: Common,
    /// In order.
    unsaved: VecDeque<Change>,
    swept: Duration,
    forgotten: Duration,
    /// Whether findings may have opened or ended since they were counted.
    recount: bool,
}

struct Watched {
    watch: Watch,
    through: BTreeMap<RegionName, Timestamp>,
    /// Steady time at which its states are put away next.
    keep: Duration,
    fresh: bool,
}

/// One service's share of a round.
struct Job {
    service: ServiceId,
    watched: Watched,
    samples: Vec<Sample>,
    dismissals: Vec<Dismissal>,
}

impl std::fmt::Debug for Desk {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Desk").field("watched", &self.watched.len()).finish_non_exhaustive()
    }
}

impl Desk {
    pub fn new(args: AnalyzerArgs) -> Desk {
        let now = args.clock.steady();
        Desk {
            args,
            watched: BTreeMap::new(),
            waiting: BTreeMap::new(),
            unfinished: None,
            common: Common::default(),
            unsaved: VecDeque::new(),
            swept: now,
            forgotten: now,
            recount: true,
        }
    }

    /// Does what is due; `true`: there is more to do now.
    pub async fn round(&mut self) -> bool {
        self.gather();
        let outcome = self.work().await;
        self.show(outcome.as_ref().err());
        outcome.unwrap_or(false)
    }

    fn gather(&mut self) {
        let now = self.args.clock.now();
        for sample in self.args.gatherer.samples().take(now) {
            let waiting = self.waiting.entry(sample.service).or_default();
            waiting.push(sample);
            if waiting.len() > WAITING {
                waiting.remove(0);
            }
        }
    }

    async fn work(&mut self) -> Result<bool, StoreError> {
        self.save().await?;
        if self.unfinished.is_none() {
            let query = FindingQuery { open: Some(true), dismissed: None, ..FindingQuery::default() };
            let (shared, own): (Vec<_>, Vec<_>) =
                self.args.findings.list(&query).await?.findings.into_iter().partition(|finding| finding.service.is_none());
            shared.into_iter().for_each(|finding| self.common.restore(finding));
            self.unfinished = Some(own.iter().filter_map(|finding| finding.service).collect());
        }
        self.prime().await?;
        self.judge().await;
        self.sweep().await?;
        self.save().await?;
        self.keep().await?;
        Ok(self.waiting.keys().any(|service| !self.watched.contains_key(service)) || self.waiting.len() > SLICE)
    }

    /// Takes services under watch that are not yet.
    async fn prime(&mut self) -> Result<(), StoreError> {
        let unfinished = self.unfinished.iter_mut().flat_map(std::mem::take);
        let wanted: BTreeSet<ServiceId> = self.waiting.keys().copied().chain(unfinished).collect();
        let mut wanted: Vec<ServiceId> = wanted.into_iter().filter(|service| !self.watched.contains_key(service)).collect();
        let later = wanted.split_off(wanted.len().min(PRIMED));
        self.unfinished.get_or_insert_default().extend(later.into_iter().filter(|service| !self.waiting.contains_key(service)));
        for (index, service) in wanted.iter().copied().enumerate() {
            let primed = prime(&self.args, service).await;
            if primed.is_err() {
                self.unfinished.get_or_insert_default().extend(&wanted[index..]);
            }
            match primed? {
                Some(Primed { watch, missed, through }) => {
                    let now = self.args.clock.now();
                    let waiting = self.waiting.entry(service).or_default();
                    waiting.retain(|sample| !was_missed(sample, &through, now));
                    waiting.splice(0..0, missed);
                    let keep = self.args.clock.steady() + KEPT_EVERY.mul_f64(f64::from(service.0 % 60) / 60.0);
                    self.watched.insert(service, Watched { watch, through, keep, fresh: false });
                }
                None => drop(self.waiting.remove(&service)),
            }
        }
        Ok(())
    }

    /// Has a slice of the waiting samples judged, apart from everything that answers somebody.
    async fn judge(&mut self) {
        let now = self.args.clock.now();
        let due: Vec<ServiceId> = self.waiting.keys().filter(|service| self.watched.contains_key(service)).copied().take(SLICE).collect();
        if due.is_empty() {
            self.unsaved.extend(self.common.pass(Vec::new(), self.args.clock.steady()));
            return;
        }
        let mut dismissals = self.args.findings.dismissals();
        let mut jobs = Vec::with_capacity(due.len());
        for service in due {
            let (Some(mut samples), Some(watched)) = (self.waiting.remove(&service), self.watched.remove(&service)) else { continue };
            samples.retain(|sample| !was_missed(sample, &watched.through, now) || !watched.fresh);
            jobs.push(Job { service, watched, samples, dismissals: dismissals.remove(&service).unwrap_or_default() });
        }
        let (settings, began) = (self.args.settings.clone(), self.args.clock.steady());
        let judged = tokio::task::spawn_blocking(move || {
            let judge = |job: Job| {
                let Job { service, mut watched, samples, dismissals } = job;
                let count = samples.len() as u64;
                let settings = &settings;
                let judged = std::panic::catch_unwind(AssertUnwindSafe(move || {
                    let (changes, seen) = watched.watch.take(&samples, &dismissals, settings);
                    watched.fresh = true;
                    (watched, changes, seen)
                }));
                (service, count, judged.ok())
            };
            jobs.into_iter().map(judge).collect::<Vec<_>>()
        });
        let Ok(judged) = judged.await else { return };
        let mut all = Vec::new();
        let mut status = self.args.status.lock().expect("no holder panics");
        let mut habits = self.args.habits.lock().expect("no holder panics");
        for (service, count, judged) in judged {
            status.samples += count;
            match judged {
                Some((watched, changes, seen)) => {
                    habits.insert(service, watched.watch.habits().clone());
                    self.watched.insert(service, watched);
                    seen.into_iter().for_each(|seen: Seen| self.common.see(seen));
                    all.extend(changes);
                }
                None => {
                    status.failed += 1;
                    error!(service = service.0, "samples cannot be judged, the habits of this service are learnt anew");
                    habits.remove(&service);
                }
            }
        }
        let busy = self.args.clock.steady().saturating_sub(began);
        status.busy += busy;
        self.args.metrics.analysed(busy);
        self.unsaved.extend(self.common.pass(all, self.args.clock.steady()));
    }

    /// Ends what has ended by itself, and lets go of services that are gone.
    async fn sweep(&mut self) -> Result<(), StoreError> {
        let (now, steady) = (self.args.clock.now(), self.args.clock.steady());
        if steady < self.swept + SWEPT_EVERY {
            return Ok(());
        }
        (self.swept, self.recount) = (steady, true);
        let board = self.args.board.clone();
        let mut changes = Vec::new();
        let gone: Vec<ServiceId> = self.watched.keys().filter(|service| board.name(**service).is_none()).copied().collect();
        for service in gone {
            self.args.states.forget(service).await?;
            let Some(mut watched) = self.watched.remove(&service) else { continue };
            changes.extend(watched.watch.end(now, &self.args.settings));
            self.habits_gone(service);
        }
        self.common.forget(|service| board.name(service).is_some());
        for (service, watched) in &mut self.watched {
            if let Some(name) = board.name(*service) {
                watched.watch.name = name;
            }
            changes.extend(watched.watch.expire(now, &self.args.settings));
        }
        self.unsaved.extend(self.common.pass(changes, steady));
        self.args.gatherer.samples().retain(|service| board.name(service).is_some());
        if steady >= self.forgotten + FORGOTTEN_EVERY {
            self.forgotten = steady;
            let forgotten = self.args.findings.forget(now.minus(self.args.settings.retain)).await?;
            debug!(forgotten, "old findings are let go of");
        }
        Ok(())
    }

    fn habits_gone(&self, service: ServiceId) {
        self.args.habits.lock().expect("no holder panics").remove(&service);
    }

    async fn save(&mut self) -> Result<(), StoreError> {
        while let Some(change) = self.unsaved.front() {
            let again = change.what == What::Opened && self.args.findings.contains(&change.finding.id);
            self.args.findings.save(std::slice::from_ref(&change.finding)).await?;
            self.recount = true;
            if let Some(change) = self.unsaved.pop_front()
                && !again
            {
                self.tell(&change);
            }
        }
        Ok(())
    }

    fn tell(&self, Change { what, finding }: &Change) {
        let (id, name, line) = (&*finding.id.0, &*finding.name, finding.summary.as_str());
        let (service, signal, shape, score) =
            (finding.service.map(|service| service.0), finding.signal.name(), finding.shape.name(), finding.score);
        match what {
            What::Opened => {
                self.args.metrics.found(finding.signal);
                warn!(finding = id, service, name, signal, shape, score, line, "anomaly found");
            }
            What::Grown => debug!(finding = id, service, name, line, "anomaly goes on"),
            What::Ended => {
                let lasted_s = finding.ended.map(|at| at.since(finding.since).as_secs_f64());
                info!(finding = id, service, name, signal, shape, lasted_s, line, "anomaly ended");
            }
        }
        let _ = self.args.events.send(Arc::new(Event::finding(what.name(), finding)));
    }

    /// Puts states away whose time it is.
    async fn keep(&mut self) -> Result<(), StoreError> {
        let steady = self.args.clock.steady();
        let due = self.watched.iter_mut().filter(|(_, watched)| watched.fresh && steady >= watched.keep).take(KEPT);
        let mut states = Vec::new();
        for (service, watched) in due {
            watched.keep = steady + KEPT_EVERY;
            for (region, series) in watched.watch.series() {
                match series.pack() {
                    Ok(packed) => states.push((*service, region.clone(), packed)),
                    Err(cause) => warn!(service = service.0, region = %region, %cause, "state cannot be packed"),
                }
            }
        }
        for slice in states.chunks(SLICE) {
            self.args.states.save(slice.to_vec()).await?;
        }
        Ok(())
    }

    fn show(&mut self, failed: Option<&StoreError>) {
        if std::mem::take(&mut self.recount) {
            let going_on = FindingQuery { open: Some(true), dismissed: None, ..FindingQuery::default() };
            let open = self.args.findings.count(&going_on);
            self.args.metrics.findings_open(open);
            self.args.status.lock().expect("no holder panics").open = open;
        }
        let counts = self.args.gatherer.samples().counts;
        let mut status = self.args.status.lock().expect("no holder panics");
        status.services = self.watched.len();
        (status.late, status.ahead, status.unsaved) = (counts.late, counts.ahead, self.unsaved.len());
        status.last_run = Some(self.args.clock.now());
        let cause = failed.map(|err| format!("{err:#}"));
        if let Some(cause) = &cause
            && status.last_error.as_ref() != Some(cause)
        {
            warn!(cause, "findings cannot be written or read, it is tried again");
        }
        status.last_error = cause;
    }
}
