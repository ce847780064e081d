//! What of the monitor's own figures is wrong, and since when: thresholds with a gap between crossing and being over, and a time to
//! hold before either is believed.
//!
//! A figure that wobbles round its threshold is one alarm, not many: it is over only when the figure is a tenth better than the
//! threshold, and has been for as long as it took to be raised.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::config::system::Thresholds;
use crate::model::alert::{Cause, CauseKind, CauseMove};
use crate::model::id::NodeName;
use crate::model::incident::Severity;
use crate::model::system::{Alarm, Figure, Figures};
use crate::model::time::Timestamp;

/// How much better than its threshold a figure must be before it is well.
const GAP: f64 = 0.1;

/// What was found of one thing that is watched.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    pub watched: String,
    pub state: State,
    /// The sentence of an alarm, with the figure and the threshold.
    pub text: String,
    pub next_step: Option<String>,
    /// How long it must hold to be believed.
    pub hold: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    Well,
    /// Not crossed, and not well enough for an alarm to be over.
    Between,
    Wrong(Severity),
    Unknown,
}

/// Something that is more wrong the larger it is.
fn above(value: Option<f64>, limit: f64, critical: f64) -> State {
    match value {
        _ if limit <= 0.0 => State::Well,
        None => State::Unknown,
        Some(value) if value > critical => State::Wrong(Severity::Critical),
        Some(value) if value > limit => State::Wrong(Severity::Warning),
        Some(value) if value > limit * (1.0 - GAP) => State::Between,
        Some(_) => State::Well,
    }
}

/// Something that is more wrong the smaller it is.
fn below(value: Option<f64>, limit: f64, critical: f64) -> State {
    match value {
        _ if limit <= 0.0 => State::Well,
        None => State::Unknown,
        Some(value) if value < critical => State::Wrong(Severity::Critical),
        Some(value) if value < limit => State::Wrong(Severity::Warning),
        Some(value) if value < limit * (1.0 + GAP) => State::Between,
        Some(_) => State::Well,
    }
}

/// What else than figures the thresholds are held against.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Circumstances {
    /// Why the store does not answer.
    pub store_error: Option<String>,
    /// The node whose outbox has the oldest result.
    pub oldest_outbox: Option<NodeName>,
    /// The node whose certificate ends first.
    pub next_certificate: Option<NodeName>,
    /// Names of the probes in quarantine, as many as make sense in a sentence.
    pub quarantined: Vec<String>,
}

/// Holds the figures against the thresholds.
pub fn judge(thresholds: &Thresholds, figures: &Figures, about: &Circumstances, hold: Duration) -> Vec<Finding> {
    let value = |figure: Figure| figures.get(&figure).copied();
    let number = |figure: Figure| value(figure).unwrap_or(0.0);
    let node = |node: &Option<NodeName>| node.as_ref().map_or_else(|| "a node".to_owned(), |node| format!("node {node}"));
    let find = |watched: &str, state, text: String, next_step: &str, hold| Finding {
        watched: watched.to_owned(),
        state,
        text,
        next_step: Some(next_step.to_owned()),
        hold,
    };
    let ms = |span: Duration| span.as_secs_f64() * 1e3;
    let store = match &about.store_error {
        Some(_) => State::Wrong(Severity::Critical),
        None => State::Well,
    };
    let quarantined = match value(Figure::Quarantined) {
        _ if !thresholds.quarantined => State::Well,
        Some(count) if count > 0.0 => State::Wrong(Severity::Warning),
        Some(_) => State::Well,
        None => State::Unknown,
    };
    // Days until the disk is full are not known while nothing grows: that is well.
    let full = match value(Figure::DiskFreeBytes) {
        None => State::Unknown,
        Some(_) => below(Some(value(Figure::DiskFullDays).unwrap_or(f64::INFINITY)), thresholds.disk_days, thresholds.disk_days / 7.0),
    };
    let certificates = |figure, limit: f64| match value(figure) {
        None => State::Well,
        days => below(days, limit, limit / 7.0),
    };
    let named = match about.quarantined.as_slice() {
        [] => String::new(),
        names => format!(": {}", names.join(", ")),
    };
    vec![
        find(
            "store",
            store,
            format!("the store does not answer: {}", about.store_error.as_deref().unwrap_or_default()),
            "see to the database: results wait in the outboxes of the nodes until it is back",
            hold.min(Duration::from_secs(30)),
        ),
        find(
            "store_write",
            above(value(Figure::StoreWriteMs), ms(thresholds.store_write), ms(thresholds.store_write) * 5.0),
            format!("a write to the store takes {:.0} ms, more than {:.0} ms", number(Figure::StoreWriteMs), ms(thresholds.store_write)),
            "look at what else writes to that disk, or at the database server's load",
            hold,
        ),
        find(
            "disk_free",
            below(value(Figure::DiskFreePercent), thresholds.disk_free_percent, thresholds.disk_free_percent / 4.0),
            format!(
                "the disk of the data folder has {:.1} % free ({}), less than {} %",
                number(Figure::DiskFreePercent),
                size(number(Figure::DiskFreeBytes)),
                thresholds.disk_free_percent
            ),
            "free space, or shorten store.retain_results_days",
            hold,
        ),
        find(
            "disk_days",
            full,
            format!(
                "the disk of the data folder is full in {:.1} days if it goes on like this, less than {} days; the store grows by {} a day",
                number(Figure::DiskFullDays),
                thresholds.disk_days,
                size(number(Figure::StoreGrowth))
            ),
            "free space, or shorten store.retain_results_days",
            hold,
        ),
        find(
            "schedule_lag",
            above(value(Figure::LagP99Ms), ms(thresholds.lag_p99), ms(thresholds.lag_p99) * 10.0),
            format!(
                "checks begin late: p99 of the schedule lag is {:.1} s, more than {:.1} s",
                number(Figure::LagP99Ms) / 1e3,
                thresholds.lag_p99.as_secs_f64()
            ),
            "give the node more CPU, raise region.max_concurrent_checks, or spread the services over more nodes",
            hold,
        ),
        find(
            "outbox_age",
            above(value(Figure::OutboxAge), thresholds.outbox_age.as_secs_f64(), thresholds.outbox_age.as_secs_f64() * 12.0),
            format!(
                "{} holds results that are {} old and not stored, more than {}",
                node(&about.oldest_outbox),
                span(number(Figure::OutboxAge)),
                span(thresholds.outbox_age.as_secs_f64())
            ),
            "look at that node's link and at the store: `probemesh inspect`",
            hold,
        ),
        find(
            "descriptors",
            above(value(Figure::DescriptorsPercent), thresholds.descriptors_percent, (thresholds.descriptors_percent + 100.0) / 2.0),
            format!(
                "{:.0} % of the file descriptors are in use ({:.0}), more than {} %",
                number(Figure::DescriptorsPercent),
                number(Figure::Descriptors),
                thresholds.descriptors_percent
            ),
            "raise the limit of open files (ulimit -n, LimitNOFILE), or lower region.max_concurrent_checks",
            hold,
        ),
        find(
            "quarantined",
            quarantined,
            match number(Figure::Quarantined) as u64 {
                1 => format!("a probe is in quarantine and checks nothing{named}"),
                count => format!("{count} probes are in quarantine and check nothing{named}"),
            },
            "see why in `probemesh inspect`; a service that is changed or enabled again starts anew",
            Duration::ZERO,
        ),
        find(
            "node_certificate",
            certificates(Figure::NodeCertificateDays, thresholds.node_certificate_days),
            format!(
                "the certificate of {} ends in {:.1} days, less than {} days",
                node(&about.next_certificate),
                number(Figure::NodeCertificateDays),
                thresholds.node_certificate_days
            ),
            "a node renews by itself while it is connected: see whether it runs; if it is gone for good, revoke it",
            Duration::ZERO,
        ),
        find(
            "authority",
            certificates(Figure::AuthorityDays, thresholds.authority_days),
            format!(
                "the hub's own certificate or its authority's ends in {:.1} days, less than {} days",
                number(Figure::AuthorityDays),
                thresholds.authority_days
            ),
            "start the hub anew: it makes itself another certificate; an authority that ends takes new joins of all nodes",
            Duration::ZERO,
        ),
        find(
            "api_p95",
            above(value(Figure::ApiP95Ms), ms(thresholds.api_p95), ms(thresholds.api_p95) * 5.0),
            format!(
                "the API is slow: its p95 is {:.1} s, more than {:.1} s",
                number(Figure::ApiP95Ms) / 1e3,
                thresholds.api_p95.as_secs_f64()
            ),
            "see which endpoint in /api/v1/maintenance/performance/analysis",
            hold,
        ),
    ]
}

/// The alarms that hold, and what is about to be one or to end.
#[derive(Debug, Default)]
pub struct Alarms {
    raised: BTreeMap<String, Alarm>,
    /// Crossed or well again at this steady time, and not yet believed.
    turning: BTreeMap<String, (Duration, Timestamp)>,
    /// Of those that were raised, by an earlier process: whoever is told may not know of them.
    untold: BTreeSet<String>,
}

impl Alarms {
    /// Takes in those that held when an earlier process ended: each is raised again or over, under the key it had.
    pub fn resume(&mut self, raised: impl IntoIterator<Item = Alarm>) {
        for alarm in raised {
            self.untold.insert(alarm.watched.clone());
            self.raised.insert(alarm.watched.clone(), alarm);
        }
    }

    pub fn raised(&self) -> impl Iterator<Item = &Alarm> {
        self.raised.values()
    }

    /// Takes in what was found; what follows is told. What is no longer watched is over.
    pub fn take(&mut self, findings: Vec<Finding>, now: Timestamp, steady: Duration) -> Vec<Turn> {
        let mut turns = Vec::new();
        let watched: BTreeSet<String> = findings.iter().map(|finding| finding.watched.clone()).collect();
        let gone: Vec<String> = self.raised.keys().filter(|name| !watched.contains(*name)).cloned().collect();
        for name in gone {
            turns.extend(self.raised.remove(&name).map(Turn::Over));
        }
        self.turning.retain(|name, _| watched.contains(name));
        for finding in findings {
            turns.extend(self.turn(finding, now, steady));
        }
        turns
    }

    fn turn(&mut self, finding: Finding, now: Timestamp, steady: Duration) -> Option<Turn> {
        let Finding { watched, state, text, next_step, hold } = finding;
        match (state, self.raised.contains_key(&watched)) {
            (State::Unknown, _) => None,
            (State::Between | State::Well, false) | (State::Between, true) => {
                self.turning.remove(&watched);
                None
            }
            (State::Wrong(severity), true) => {
                self.turning.remove(&watched);
                let alarm = self.raised.get_mut(&watched)?;
                let news = alarm.severity != severity || self.untold.remove(&watched);
                (alarm.severity, alarm.text, alarm.next_step) = (severity, text, next_step);
                news.then(|| Turn::Holds(alarm.clone()))
            }
            (State::Wrong(severity), false) => {
                let (from, since) = *self.turning.entry(watched.clone()).or_insert((steady, now));
                if steady.saturating_sub(from) < hold {
                    return None;
                }
                self.turning.remove(&watched);
                let cause = format!("system-{watched}-{}", since.0 / 1000);
                let alarm = Alarm { watched: watched.clone(), cause, severity, text, next_step, since };
                self.raised.insert(watched, alarm.clone());
                Some(Turn::Holds(alarm))
            }
            (State::Well, true) => {
                let (from, _) = *self.turning.entry(watched.clone()).or_insert((steady, now));
                if steady.saturating_sub(from) < hold {
                    return None;
                }
                self.turning.remove(&watched);
                self.raised.remove(&watched).map(Turn::Over)
            }
        }
    }
}

/// What changed about an alarm.
#[derive(Clone, Debug, PartialEq)]
pub enum Turn {
    /// It is new, or its severity is.
    Holds(Alarm),
    Over(Alarm),
}

/// As those who tell people take it.
pub fn told(turn: &Turn, now: Timestamp) -> CauseMove {
    match turn {
        Turn::Holds(alarm) => CauseMove::Raised(cause(alarm)),
        Turn::Over(alarm) => CauseMove::Cleared { key: alarm.cause.clone(), at: now },
    }
}

pub fn cause(alarm: &Alarm) -> Cause {
    Cause {
        key: alarm.cause.clone(),
        kind: CauseKind::System,
        severity: alarm.severity,
        drill: false,
        service: None,
        region: None,
        node: None,
        headline: format!("probemesh itself: {}", alarm.text),
        since: alarm.since,
        regions: Vec::new(),
        last_good: None,
        next_step: alarm.next_step.clone(),
        path: None,
    }
}

/// `1.5 GB`.
pub fn size(bytes: f64) -> String {
    let units = ["B", "kB", "MB", "GB", "TB", "PB"];
    let (mut value, mut unit) = (bytes, 0);
    while value.abs() >= 1000.0 && unit + 1 < units.len() {
        (value, unit) = (value / 1000.0, unit + 1);
    }
    if unit == 0 || value.abs() >= 100.0 { format!("{value:.0} {}", units[unit]) } else { format!("{value:.1} {}", units[unit]) }
}

/// `12 min`.
pub fn span(seconds: f64) -> String {
    match seconds {
        ..120.0 => format!("{seconds:.0} s"),
        ..7_200.0 => format!("{:.0} min", seconds / 60.0),
        ..172_800.0 => format!("{:.1} h", seconds / 3_600.0),
        _ => format!("{:.1} days", seconds / 86_400.0),
    }
}

#[cfg(test)]
mod tests;
