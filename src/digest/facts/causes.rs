//! Incidents → causes: what broke the same way, and about the same time, is told once. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use crate::aggregate::rollup::MINUTE;
use crate::model::check::{Phase, Reason};
use crate::model::digest::Period;
use crate::model::id::RegionName;
use crate::model::incident::{Incident, Severity, Sighting};
use crate::model::time::Timestamp;

/// Incidents of several services whose openings follow each other within this may have one cause.
const TOGETHER_WITHIN: i64 = 10 * MINUTE;
/// Of so many services at least.
const TOGETHER: usize = 3;

/// What broke, for one service or several, once or again and again.
#[derive(Clone, Debug, PartialEq)]
pub struct Cause {
    /// The longest affected first.
    pub services: Vec<Arc<str>>,
    pub incidents: u64,
    /// Those that were open when the period ended.
    pub open: u64,
    /// Several services broke the same way within minutes.
    pub together: bool,
    /// Only degraded, not down.
    pub degraded: bool,
    pub kind: Kind,
    /// Where it broke, as the longest of the incidents has it.
    pub line: String,
    /// When the first opened, and the last opened and closed; `None`: not all have.
    pub first: Timestamp,
    pub last_opened: Timestamp,
    pub ended: Option<Timestamp>,
    /// Of all services and incidents, added up; what lies outside the period is left out.
    pub down: Duration,
    pub longest: Longest,
    /// What the failing checks said, without secrets, cut short. It came from outside.
    pub said: Option<String>,
}

/// The longest of the incidents.
#[derive(Clone, Debug, PartialEq)]
pub struct Longest {
    pub service: Arc<str>,
    pub opened: Timestamp,
    pub closed: Option<Timestamp>,
    /// Until it closed, or the period ended.
    pub lasted: Duration,
}

/// How it broke, as far as what regions saw tells it: what two incidents have in common that are of one kind.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Kind {
    pub reason: Option<Reason>,
    pub phase: Option<Phase>,
    pub status: Option<u16>,
    /// The only one of several regions that saw it.
    pub only: Option<RegionName>,
    warning: bool,
}

/// Whether it was open when the period ended.
pub fn is_open(incident: &Incident, period: Period) -> bool {
    incident.closed_at.is_none_or(|closed| closed > period.until)
}

/// Within the period.
pub fn lasted(incident: &Incident, period: Period) -> Duration {
    let closed = incident.closed_at.unwrap_or(period.until).min(period.until);
    closed.since(incident.opened_at.max(period.since))
}

/// The causes, what is still open first, then what cost most.
pub fn causes(incidents: &[&Incident], period: Period, said: &BTreeMap<Arc<str>, String>) -> Vec<Cause> {
    let mut by_kind: BTreeMap<Kind, Vec<&Incident>> = BTreeMap::new();
    incidents.iter().for_each(|incident| by_kind.entry(Kind::of(incident)).or_default().push(incident));
    let mut found = Vec::new();
    for (kind, mut mine) in by_kind {
        mine.sort_by(|one, other| (one.opened_at, one.service, &one.id).cmp(&(other.opened_at, other.service, &other.id)));
        let mut alone = Vec::new();
        for cluster in mine.chunk_by(|one, next| next.opened_at.0 - one.opened_at.0 <= TOGETHER_WITHIN) {
            match cluster.iter().map(|incident| incident.service).collect::<BTreeSet<_>>().len() {
                TOGETHER.. => found.extend(Cause::of(&kind, cluster, true, period, said)),
                _ => alone.extend_from_slice(cluster),
            }
        }
        alone.sort_by_key(|incident| incident.service);
        for of_service in alone.chunk_by(|one, next| one.service == next.service) {
            found.extend(Cause::of(&kind, of_service, false, period, said));
        }
    }
    found.sort_by(|one, other| {
        let rank = |cause: &Cause| (cause.open == 0, cause.degraded, std::cmp::Reverse(cause.down), cause.first);
        rank(one).cmp(&rank(other)).then_with(|| one.services.cmp(&other.services))
    });
    found
}

impl Kind {
    fn of(incident: &Incident) -> Kind {
        let down: Vec<&Sighting> = incident.regions.iter().filter(|seen| seen.status == "down").collect();
        let failure = down.iter().filter_map(|seen| seen.failure.as_ref()).next();
        let voting = incident.regions.iter().filter(|seen| seen.status != "unknown").count();
        let only = match down.as_slice() {
            [one] if voting > 1 => Some(one.region.clone()),
            _ => None,
        };
        let status = failure.filter(|failure| failure.reason == Reason::Status).and_then(|_| down.iter().find_map(|seen| seen.status_code));
        Kind {
            reason: failure.map(|failure| failure.reason),
            phase: failure.map(|failure| failure.phase),
            status,
            only,
            warning: incident.severity == Severity::Warning,
        }
    }
}

impl Cause {
    /// `None` of no incidents.
    fn of(kind: &Kind, incidents: &[&Incident], together: bool, period: Period, said: &BTreeMap<Arc<str>, String>) -> Option<Cause> {
        let mut by_service: BTreeMap<&Arc<str>, Duration> = BTreeMap::new();
        incidents.iter().for_each(|incident| *by_service.entry(&incident.name).or_default() += lasted(incident, period));
        let mut services: Vec<(&Arc<str>, Duration)> = by_service.into_iter().collect();
        services.sort_by(|one, other| other.1.cmp(&one.1).then_with(|| one.0.cmp(other.0)));
        let length = |incident: &Incident| incident.closed_at.unwrap_or(period.until).min(period.until).since(incident.opened_at);
        let longest =
            incidents.iter().max_by(|one, other| length(one).cmp(&length(other)).then_with(|| other.opened_at.cmp(&one.opened_at)))?;
        let open = incidents.iter().filter(|incident| is_open(incident, period)).count();
        let ended = incidents.iter().filter_map(|incident| incident.closed_at).max().filter(|_| open == 0);
        Some(Cause {
            services: services.iter().map(|(name, _)| (*name).clone()).collect(),
            incidents: incidents.len() as u64,
            open: open as u64,
            together,
            degraded: kind.warning,
            kind: kind.clone(),
            line: longest.first_line.clone(),
            first: incidents.iter().map(|incident| incident.opened_at).min()?,
            last_opened: incidents.iter().map(|incident| incident.opened_at).max()?,
            ended,
            down: services.iter().map(|(_, down)| *down).sum(),
            longest: Longest {
                service: longest.name.clone(),
                opened: longest.opened_at,
                closed: longest.closed_at.filter(|_| !is_open(longest, period)),
                lasted: length(longest),
            },
            said: incidents.iter().find_map(|incident| said.get(&incident.id.0)).cloned(),
        })
    }
}
