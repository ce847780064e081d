//! What is slow for many services at once has a cause they share: the node, its network, its name servers, what they all stand
//! behind. That is one finding that names them, not one finding for each.
//!
//! A finding of a time that opens is held for a moment, until the other services of its region are heard of. If so many of them are
//! slow too that chance or their own troubles cannot explain it, one finding is told for all, and those of the services are
//! kept back as long as it goes on; one that is much larger than the rest is told for itself, and one that outlasts the common cause is told
//! then. Failures are not held: each is told at once.
//!
//! **Invariant.** A finding that was told is never taken back, and what ends while it is kept back was never told.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use crate::analysis::episode::{Change, What};
use crate::analysis::trend::median;
use crate::analysis::wording::{Shared as Words, shared};
use crate::model::finding::{Evidence, Finding, FindingId, Shape, Signal};
use crate::model::id::{RegionName, ServiceId};
use crate::model::time::Timestamp;

/// Services of a region that must have been heard of, and must be slow, before a cause of all is thought of.
const HEARD: usize = 4;
const SLOW: usize = 3;
/// The share of them that are slow in the same figure, or in any.
const SAME: f64 = 0.35;
const ANY: f64 = 0.5;
/// What is so many times as large as it is for most is a trouble of its own.
const LARGER: f64 = 2.0;
/// A figure that so many of the slow ones have in common is the one that is named.
const NAMED: f64 = 0.6;
/// How long ago a service may have been slow to be slow at the same time, in its spans, and at least.
const SPANS: i64 = 3;
const LEAST_WINDOW: i64 = 10_000_000;
/// How long a finding is held: the span of its samples, within these.
const LEAST_HOLD: Duration = Duration::from_secs(1);
const MOST_HOLD: Duration = Duration::from_secs(5);
/// Odd spans from which it is a new level.
const LEVEL_AFTER: i64 = 10;
/// Services the evidence tells one by one.
const TOLD: usize = 20;

/// One judged sample of one service, as the others need it.
#[derive(Clone, Debug)]
pub struct Seen {
    pub service: ServiceId,
    pub name: Arc<str>,
    pub region: RegionName,
    /// The end of its span.
    pub at: Timestamp,
    /// Microseconds.
    pub span: i64,
    /// What took longer than its habit.
    pub slow: Option<SlowTime>,
}

/// Microseconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SlowTime {
    pub signal: Signal,
    pub observed: f64,
    pub expected: f64,
}

impl SlowTime {
    fn ratio(&self) -> f64 {
        self.observed.max(1.0) / self.expected.max(1.0)
    }
}

#[derive(Debug, Default)]
pub struct Common {
    regions: BTreeMap<RegionName, BTreeMap<ServiceId, Last>>,
    held: Vec<Held>,
    open: Option<Shared>,
}

/// What was heard last of a service in a region.
#[derive(Debug)]
struct Last {
    name: Arc<str>,
    heard: Timestamp,
    span: i64,
    slow: Option<(Timestamp, SlowTime)>,
}

/// A finding that was not told yet.
#[derive(Debug)]
struct Held {
    finding: Finding,
    /// Steady time.
    until: Duration,
    /// It was kept back because of a common cause, and is news only if it outlasts it.
    outlasting: bool,
}

#[derive(Debug)]
struct Shared {
    finding: Finding,
    size: f64,
    services: usize,
    absorbed: BTreeMap<FindingId, Finding>,
}

/// How one region stands.
struct Standing<'a> {
    region: &'a RegionName,
    heard: usize,
    slow: Vec<(&'a Last, Timestamp, SlowTime)>,
    newest: Timestamp,
    window: i64,
}

impl Standing<'_> {
    fn is_slow(&self) -> bool {
        let same = Signal::ALL.iter().map(|signal| self.slow.iter().filter(|(_, _, slow)| slow.signal == *signal).count()).max();
        let share = |count: usize| count as f64 / self.heard.max(1) as f64;
        let enough = |count: usize, least: f64| count >= SLOW && share(count) >= least;
        self.heard >= HEARD && (enough(same.unwrap_or(0), SAME) || enough(self.slow.len(), ANY))
    }
}

impl Common {
    /// Goes on with a finding that was told before a restart.
    pub fn restore(&mut self, finding: Finding) {
        let size = finding.size();
        self.open = Some(Shared { finding, size, services: 0, absorbed: BTreeMap::new() });
    }

    pub fn see(&mut self, seen: Seen) {
        let Seen { service, name, region, at, span, slow } = seen;
        let last = self.regions.entry(region).or_default().entry(service).or_insert_with(|| Last { name, heard: at, span, slow: None });
        (last.heard, last.span) = (last.heard.max(at), span);
        if let Some(slow) = slow {
            last.slow = Some((at, slow));
        }
    }

    pub fn forget(&mut self, is_watched: impl Fn(ServiceId) -> bool) {
        for services in self.regions.values_mut() {
            services.retain(|service, _| is_watched(*service));
        }
        self.regions.retain(|_, services| !services.is_empty());
    }

    /// Whether a call would give something without a change of any service.
    pub fn is_waiting(&self) -> bool {
        self.open.is_some() || !self.held.is_empty()
    }

    /// What is told of these changes now, and of those before; `steady` is the steady time.
    pub fn pass(&mut self, changes: Vec<Change>, steady: Duration) -> Vec<Change> {
        let mut told = Vec::new();
        for change in changes {
            told.extend(self.take(change, steady));
        }
        if self.is_waiting() {
            told.extend(self.share(steady));
            self.absorb();
            told.extend(self.release(steady));
        }
        told
    }

    /// Gives back what is told at once.
    fn take(&mut self, change: Change, steady: Duration) -> Option<Change> {
        let id = &change.finding.id;
        if let Some(held) = self.held.iter_mut().find(|held| held.finding.id == *id) {
            held.finding = change.finding;
            return None;
        }
        if let Some(absorbed) = self.open.as_mut().and_then(|open| open.absorbed.get_mut(id)) {
            *absorbed = change.finding;
            return None;
        }
        let longer = change.finding.expected.is_some_and(|expected| change.finding.observed > expected);
        let is_time = !matches!(change.finding.signal, Signal::Errors | Signal::Pattern);
        if change.what != What::Opened || !is_time || !longer {
            return Some(change);
        }
        let hold = self.span(&change.finding).clamp(LEAST_HOLD, MOST_HOLD);
        self.held.push(Held { finding: change.finding, until: steady + hold, outlasting: false });
        None
    }

    fn span(&self, finding: &Finding) -> Duration {
        let of = |region: &RegionName| self.regions.get(region)?.get(&finding.service?).map(|last| last.span);
        Duration::from_micros(finding.regions.iter().filter_map(of).max().unwrap_or(0).max(0) as u64)
    }

    /// Opens, extends or ends the finding of all.
    fn share(&mut self, steady: Duration) -> Option<Change> {
        let standings: Vec<Standing> = self.regions.iter().map(|(region, services)| standing(region, services)).collect();
        let slow: Vec<&Standing> = standings.iter().filter(|standing| standing.is_slow()).collect();
        let heard = standings.iter().filter(|standing| standing.heard > 0).count();
        match (&mut self.open, slow.is_empty()) {
            (None, true) => None,
            (None, false) => {
                let (finding, services) = finding(&slow, heard, None);
                self.open = Some(Shared { size: finding.size(), finding: finding.clone(), services, absorbed: BTreeMap::new() });
                Some(Change { what: What::Opened, finding })
            }
            (Some(open), false) => {
                let (grown, services) = finding(&slow, heard, Some(&open.finding));
                let news = services > open.services || grown.regions != open.finding.regions || grown.observed != open.finding.observed;
                open.size = open.size.max(grown.size());
                (open.finding, open.services) = (grown, open.services.max(services));
                news.then(|| Change { what: What::Grown, finding: open.finding.clone() })
            }
            (Some(open), true) => {
                let (newest, window) = standings.iter().fold((Timestamp(0), LEAST_WINDOW), |(newest, window), standing| {
                    (newest.max(standing.newest), window.max(standing.window))
                });
                if newest.0 <= open.finding.last.0.saturating_add(window) {
                    return None;
                }
                let Shared { mut finding, absorbed, .. } = self.open.take()?;
                finding.ended = Some(finding.last);
                let until = steady + Duration::from_micros(window.max(0) as u64);
                let going_on = absorbed.into_values().filter(|finding| finding.ended.is_none());
                self.held.extend(going_on.map(|finding| Held { finding, until, outlasting: true }));
                Some(Change { what: What::Ended, finding })
            }
        }
    }

    /// Keeps back what the common cause explains.
    fn absorb(&mut self) {
        let Some(open) = &mut self.open else { return };
        let (explained, own): (Vec<Held>, Vec<Held>) = std::mem::take(&mut self.held).into_iter().partition(|held| {
            let Finding { regions, .. } = &held.finding;
            regions.iter().all(|region| open.finding.regions.contains(region)) && held.finding.size() <= LARGER * open.size
        });
        self.held = own;
        open.absorbed.extend(explained.into_iter().map(|held| (held.finding.id.clone(), held.finding)));
    }

    fn release(&mut self, steady: Duration) -> Vec<Change> {
        let (due, later): (Vec<Held>, Vec<Held>) = std::mem::take(&mut self.held).into_iter().partition(|held| steady >= held.until);
        self.held = later.into_iter().filter(|held| !held.outlasting || held.finding.ended.is_none()).collect();
        let mut told = Vec::new();
        for Held { finding, outlasting, .. } in due {
            if outlasting && finding.ended.is_some() {
                continue;
            }
            told.push(Change { what: What::Opened, finding: finding.clone() });
            if finding.ended.is_some() {
                told.push(Change { what: What::Ended, finding });
            }
        }
        told
    }
}

fn standing<'a>(region: &'a RegionName, services: &'a BTreeMap<ServiceId, Last>) -> Standing<'a> {
    let newest = services.values().map(|last| last.heard).max().unwrap_or(Timestamp(0));
    let mut spans: Vec<i64> = services.values().map(|last| last.span).collect();
    spans.sort_unstable();
    let window = spans.get(spans.len() / 2).map_or(LEAST_WINDOW, |span| (SPANS * span).max(LEAST_WINDOW));
    let lately = |at: Timestamp, last: &Last| newest.0.saturating_sub(at.0) <= window.max(SPANS * last.span);
    let heard = services.values().filter(|last| lately(last.heard, last));
    let slow = services.values().filter_map(|last| {
        let (at, slow) = last.slow?;
        lately(at, last).then_some((last, at, slow))
    });
    Standing { region, heard: heard.count(), slow: slow.collect(), newest, window }
}

/// The finding of all, as the slow regions show it now, and how many services it is about.
fn finding(slow: &[&Standing], regions_heard: usize, before: Option<&Finding>) -> (Finding, usize) {
    let all = || slow.iter().flat_map(|standing| &standing.slow);
    let count = |signal: Signal| all().filter(|(_, _, slow)| slow.signal == signal).count();
    let total = all().count();
    let most = Signal::ALL.into_iter().max_by_key(|signal| count(*signal)).unwrap_or(Signal::Latency);
    let signal = if count(most) as f64 >= NAMED * total as f64 { most } else { Signal::Latency };
    let of_signal = || all().filter(|(_, _, slow)| signal == Signal::Latency || slow.signal == signal).map(|(_, _, slow)| slow);
    let expected = median(of_signal().map(|slow| slow.expected).collect()).unwrap_or(0.0);
    let observed = expected * median(of_signal().map(SlowTime::ratio).collect()).unwrap_or(1.0);
    let mut regions: BTreeSet<RegionName> = slow.iter().map(|standing| standing.region.clone()).collect();
    regions.extend(before.into_iter().flat_map(|before| before.regions.iter().cloned()));
    let services: BTreeSet<&Arc<str>> = all().map(|(last, _, _)| &last.name).collect();
    let heard = slow.iter().map(|standing| standing.heard).max().unwrap_or(0).max(services.len());
    let first = all().map(|(last, at, _)| Timestamp(at.0 - last.span)).min().unwrap_or(Timestamp(0));
    let since = before.map_or(first, |before| before.since);
    let last = slow.iter().map(|standing| standing.newest).max().unwrap_or(since);
    let span = all().map(|(last, _, _)| last.span).max().unwrap_or(0).max(1);
    let share = (services.len() as f64 / heard.max(1) as f64).min(1.0);
    let regions: Vec<RegionName> = regions.into_iter().collect();
    let name: Arc<str> = match regions.as_slice() {
        names if names.len() >= regions_heard && names.len() > 1 => "all regions".into(),
        names => names.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ").into(),
    };
    let worse = before.filter(|before| before.size() > observed / expected.max(1.0));
    let evidence = all().take(TOLD).map(|(last, at, slow)| Evidence {
        at: *at,
        what: format!("{} {} p50", last.name, slow.signal.name()),
        observed: slow.observed,
        expected: Some(slow.expected),
    });
    let lasts = last.0 - since.0 >= LEVEL_AFTER * span;
    let services = services.len();
    let words = Words { signal, observed, expected, services, heard, regions: &regions, regions_heard, since };
    let finding = Finding {
        id: before.map_or_else(|| FindingId(format!("shared-{:x}", since.0 / 1_000_000).into()), |before| before.id.clone()),
        service: None,
        name,
        region: if regions.len() == 1 { regions.first().cloned() } else { None },
        signal: worse.map_or(signal, |worse| worse.signal),
        shape: if lasts { Shape::LevelUp } else { Shape::Spike },
        since,
        last,
        ended: None,
        observed: worse.map_or(observed, |worse| worse.observed),
        expected: worse.map_or(Some(expected), |worse| worse.expected),
        score: before.map_or(share, |before| before.score.max(share)),
        confidence: before.map_or(share, |before| before.confidence.max(share)),
        samples: u32::try_from((last.0 - since.0) / span).unwrap_or(0).max(1),
        learning: None,
        summary: worse.map_or_else(|| shared(&words), |worse| worse.summary.clone()),
        evidence: evidence.collect(),
        feedback: None,
        regions,
    };
    (finding, services)
}
