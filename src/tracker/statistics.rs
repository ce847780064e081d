//! How the work on issues goes: what is open, for how long, and how soon it was looked at and resolved. Pure.
//!
//! What is counted by status is counted as it is now, whenever it was reported; times are of the issues that were triaged or
//! resolved within the period. A quantile is the nearest rank: a value that was seen.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::model::issue::{Issue, IssueStatus, IssueType, Priority};
use crate::model::time::Timestamp;

/// What counts as resolved soon.
pub const SOON: Duration = Duration::from_secs(48 * 3_600);

/// Issues as they are now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    pub total: u64,
    /// There is still something to do.
    pub open: u64,
    /// Of the open ones, those somebody is at.
    pub in_progress: u64,
    pub resolved: u64,
    pub wont_do: u64,
}

impl Tally {
    fn count(&mut self, status: IssueStatus) {
        self.total += 1;
        self.open += u64::from(status.is_open());
        self.in_progress += u64::from(status.is_in_progress());
        self.resolved += u64::from(status.is_resolved());
        self.wont_do += u64::from(status == IssueStatus::WontDo);
    }
}

/// How long something took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spans {
    pub count: u64,
    pub median: Option<Duration>,
    pub p95: Option<Duration>,
    pub longest: Option<Duration>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Statistics {
    pub all: Tally,
    pub by_status: Vec<(IssueStatus, u64)>,
    pub by_type: Vec<(IssueType, Tally)>,
    /// The most urgent first.
    pub by_priority: Vec<(Priority, Tally)>,
    /// By name; those of nobody first.
    pub by_assignee: Vec<(Option<String>, Tally)>,
    /// Since they were reported, of those that are open.
    pub age_of_open: Spans,
    /// Within the period.
    pub created: u64,
    /// From reported to triaged, of those triaged within the period.
    pub to_triage: Spans,
    /// From reported to resolved, of those resolved within the period.
    pub to_resolve: Spans,
    /// The share of those that took less than [`SOON`]; `None`: none was resolved.
    pub soon: Option<f64>,
}

pub fn statistics(issues: &[Arc<Issue>], since: Timestamp, now: Timestamp) -> Statistics {
    let mut statistics = Statistics::default();
    let mut statuses: BTreeMap<IssueStatus, u64> = IssueStatus::ALL.map(|status| (status, 0)).into();
    let mut types: BTreeMap<IssueType, Tally> = IssueType::ALL.map(|kind| (kind, Tally::default())).into();
    let mut priorities: BTreeMap<Priority, Tally> = Priority::ALL.map(|priority| (priority, Tally::default())).into();
    let mut assignees: BTreeMap<Option<&str>, Tally> = BTreeMap::new();
    let (mut ages, mut triaged, mut resolved) = (Vec::new(), Vec::new(), Vec::new());
    for issue in issues {
        let status = issue.status;
        statistics.all.count(status);
        *statuses.entry(status).or_default() += 1;
        types.entry(issue.issue_type).or_default().count(status);
        priorities.entry(issue.priority).or_default().count(status);
        assignees.entry(issue.assignee.as_deref()).or_default().count(status);
        statistics.created += u64::from(issue.created_at >= since);
        if status.is_open() {
            ages.push(now.since(issue.created_at));
        }
        triaged.extend(issue.triaged_at.filter(|at| *at >= since).map(|at| at.since(issue.created_at)));
        let done = issue.resolved_at.filter(|at| *at >= since && status.is_resolved());
        resolved.extend(done.map(|at| at.since(issue.created_at)));
    }
    let soon = resolved.iter().filter(|took| **took < SOON).count();
    statistics.soon = (!resolved.is_empty()).then(|| soon as f64 / resolved.len() as f64);
    statistics.age_of_open = spans(ages);
    statistics.to_triage = spans(triaged);
    statistics.to_resolve = spans(resolved);
    statistics.by_status = statuses.into_iter().collect();
    statistics.by_type = types.into_iter().collect();
    statistics.by_priority = priorities.into_iter().rev().collect();
    statistics.by_assignee = assignees.into_iter().map(|(name, tally)| (name.map(str::to_owned), tally)).collect();
    statistics
}

fn spans(mut took: Vec<Duration>) -> Spans {
    took.sort_unstable();
    let rank = |share: f64| {
        let place = (took.len() as f64 * share).ceil() as usize;
        took.get(place.saturating_sub(1)).copied()
    };
    Spans { count: took.len() as u64, median: rank(0.5), p95: rank(0.95), longest: took.last().copied() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hours(hours: u64) -> Duration {
        Duration::from_secs(hours * 3_600)
    }

    #[test]
    fn a_quantile_is_a_value_that_was_seen() {
        assert_eq!(spans(Vec::new()), Spans::default());
        assert_eq!(spans(vec![hours(3)]).p95, Some(hours(3)));
        let twenty: Vec<Duration> = (1..=20).rev().map(hours).collect();
        let spans = spans(twenty);
        assert_eq!((spans.median, spans.p95, spans.longest), (Some(hours(10)), Some(hours(19)), Some(hours(20))));
    }
}
