//! Maintenance windows: spans in which a service is expected to be worked on, so that it is checked but nobody is told and
//! nothing counts.
//!
//! A window that is changed keeps what it was: the rule it went by before holds for the time it was in force, unless the
//! window is a single span, which is always what it was last said to be.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use chrono::Utc;

use crate::model::id::ServiceId;
use crate::model::span::{Span, union};
use crate::model::time::Timestamp;

/// Numbered by the hub from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WindowId(pub u32);

impl fmt::Display for WindowId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(out)
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct Window {
    pub id: WindowId,
    /// Rises with each change.
    pub revision: u64,
    pub title: String,
    /// Why.
    pub reason: String,
    pub rule: Rule,
    /// Rules it went by before, each up to when it was changed.
    pub earlier: Vec<Rule>,
    pub created_by: String,
    pub created_at: Timestamp,
    pub updated_by: String,
    pub updated_at: Timestamp,
    /// Who took it back, and when: it takes nothing out any more.
    pub deleted: Option<(String, Timestamp)>,
}

/// Which services, when.
#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    pub scope: Scope,
    pub plan: Plan,
}

/// The services of a window: those that fit any of these.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scope {
    pub all: bool,
    pub services: BTreeSet<ServiceId>,
    pub tags: BTreeSet<String>,
    pub groups: BTreeSet<String>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Plan {
    /// Past, running or to come.
    Once(Span),
    Recurring {
        expression: Arc<str>,
        /// The parsed form of `expression`.
        pattern: Box<croner::Cron>,
        zone: chrono_tz::Tz,
        /// Of each time, by the clock that never jumps.
        duration: Duration,
        /// In force from here…
        since: Timestamp,
        /// …up to here.
        until: Option<Timestamp>,
    },
    /// Begun by a person, and ended by one, or after `longest`.
    Manual { sessions: Vec<Span>, longest: Duration },
}

impl Scope {
    /// Whether a service is meant, by what it is now.
    pub fn means(&self, service: ServiceId, tags: &[String], group: Option<&str>) -> bool {
        self.all
            || self.services.contains(&service)
            || tags.iter().any(|tag| self.tags.contains(tag))
            || group.is_some_and(|group| self.groups.contains(group))
    }
}

impl Window {
    /// Its rules, with those of before.
    pub fn rules(&self) -> impl Iterator<Item = &Rule> {
        self.earlier.iter().chain([&self.rule])
    }

    /// When it is, was or will be, within a span.
    pub fn spans(&self, within: Span) -> Vec<Span> {
        union(self.rules().flat_map(|rule| rule.plan.spans(within)))
    }

    /// The same with another rule from an instant on. What a recurring one was up to then stays as it was.
    pub fn turned(&self, rule: Rule, at: Timestamp) -> Window {
        let mut turned = Window { rule, ..self.clone() };
        if turned.rule == self.rule {
            return turned;
        }
        if let Plan::Recurring { since, until, .. } = &self.rule.plan
            && *since < at
        {
            let mut before = self.rule.clone();
            let ends = until.map_or(at, |until| until.min(at));
            if let Plan::Recurring { until, .. } = &mut before.plan {
                *until = Some(ends);
            }
            turned.earlier.push(before);
            if let Plan::Recurring { since, .. } = &mut turned.rule.plan {
                *since = (*since).max(at);
            }
        }
        turned
    }
}

impl Plan {
    pub fn kind(&self) -> &'static str {
        match self {
            Plan::Once(_) => "once",
            Plan::Recurring { .. } => "recurring",
            Plan::Manual { .. } => "manual",
        }
    }

    /// The parts of its spans that lie within another, oldest first.
    pub fn spans(&self, within: Span) -> Vec<Span> {
        match self {
            Plan::Once(span) => span.within(within).into_iter().collect(),
            Plan::Manual { sessions, .. } => sessions.iter().filter_map(|session| session.within(within)).collect(),
            Plan::Recurring { duration, since, until, .. } => {
                let force = Span { from: *since, until: until.unwrap_or(Timestamp::LAST) };
                let Some(within) = within.within(force) else { return Vec::new() };
                let mut spans = Vec::new();
                // One that began before may still go on.
                let mut next = self.begins(within.from.minus(*duration), true);
                while let Some(from) = next.filter(|from| *from < within.until) {
                    spans.extend(Span { from, until: from.plus(*duration) }.within(within));
                    next = self.begins(from, false);
                }
                spans
            }
        }
    }

    /// When a recurring one begins next after an instant, or at it where that is wanted.
    pub fn begins(&self, after: Timestamp, inclusive: bool) -> Option<Timestamp> {
        let Plan::Recurring { pattern, zone, .. } = self else { return None };
        let next = pattern.find_next_occurrence(&after.datetime().with_timezone(zone), inclusive).ok()?;
        let next = Timestamp::from_datetime(next.with_timezone(&Utc));
        // An hour that is there twice must not lead back.
        (next > after || inclusive && next == after).then_some(next)
    }
}

#[cfg(test)]
mod tests {
    use std::str::FromStr;

    use super::*;

    fn at(text: &str) -> Timestamp {
        Timestamp::parse(text).unwrap()
    }

    fn recurring(expression: &str, zone: chrono_tz::Tz, minutes: u64, since: &str, until: Option<&str>) -> Plan {
        Plan::Recurring {
            expression: expression.into(),
            pattern: Box::new(croner::Cron::from_str(expression).unwrap()),
            zone,
            duration: Duration::from_secs(minutes * 60),
            since: at(since),
            until: until.map(at),
        }
    }

    fn told(plan: &Plan, from: &str, until: &str) -> Vec<String> {
        let spans = plan.spans(Span::new(at(from), at(until)));
        spans.iter().map(|span| format!("{} {}", &span.from.rfc3339()[5..16], &span.until.rfc3339()[5..16])).collect()
    }

    #[test]
    fn a_cron_window_keeps_its_local_hour_and_its_length_when_the_clocks_change() {
        let berlin = chrono_tz::Europe::Berlin;
        let early = recurring("30 1 * * *", berlin, 120, "2026-01-01T00:00:00Z", None);
        // 29 March: at two o'clock it is three. From 01:30 on, two hours are two hours.
        assert_eq!(
            told(&early, "2026-03-28T00:00:00Z", "2026-03-30T12:00:00Z"),
            ["03-28T00:30 03-28T02:30", "03-29T00:30 03-29T02:30", "03-29T23:30 03-30T01:30"]
        );
        // 25 October: what is there twice at night begins once.
        let twice = recurring("30 2 * * *", berlin, 60, "2026-01-01T00:00:00Z", None);
        let october = told(&twice, "2026-10-24T00:00:00Z", "2026-10-27T00:00:00Z");
        assert_eq!(october, ["10-24T00:30 10-24T01:30", "10-25T00:30 10-25T01:30", "10-26T01:30 10-26T02:30"]);
        // 29 March, half past two is not there: it begins when the clocks have jumped.
        let march = told(&twice, "2026-03-28T12:00:00Z", "2026-03-30T12:00:00Z");
        assert_eq!(march, ["03-29T01:00 03-29T02:00", "03-30T00:30 03-30T01:30"]);
    }

    #[test]
    fn a_recurring_one_holds_from_its_beginning_to_its_end_and_is_cut_there() {
        let nightly = recurring("0 22 * * *", chrono_tz::UTC, 180, "2026-11-10T23:00:00Z", Some("2026-11-12T22:30:00Z"));
        assert_eq!(
            told(&nightly, "2026-11-01T00:00:00Z", "2026-12-01T00:00:00Z"),
            ["11-10T23:00 11-11T01:00", "11-11T22:00 11-12T01:00", "11-12T22:00 11-12T22:30"]
        );
        assert_eq!(told(&nightly, "2026-11-12T00:30:00Z", "2026-11-12T00:40:00Z"), ["11-12T00:30 11-12T00:40"]);
    }

    #[test]
    fn what_a_window_was_before_it_was_changed_still_holds() {
        let scope = Scope { all: true, ..Scope::default() };
        let rule = |plan| Rule { scope: scope.clone(), plan };
        let window = Window {
            id: WindowId(1),
            revision: 1,
            title: "backup".to_owned(),
            reason: String::new(),
            rule: rule(recurring("0 2 * * *", chrono_tz::UTC, 60, "2026-11-01T00:00:00Z", None)),
            earlier: Vec::new(),
            created_by: "ada".to_owned(),
            created_at: at("2026-11-01T00:00:00Z"),
            updated_by: "ada".to_owned(),
            updated_at: at("2026-11-11T12:00:00Z"),
            deleted: None,
        };
        let later = rule(recurring("0 4 * * *", chrono_tz::UTC, 60, "2026-11-01T00:00:00Z", None));
        let window = window.turned(later.clone(), at("2026-11-11T12:00:00Z")).turned(later, at("2026-11-11T13:00:00Z"));
        let spans = window.spans(Span::new(at("2026-11-11T00:00:00Z"), at("2026-11-13T00:00:00Z")));
        let begins: Vec<String> = spans.iter().map(|span| span.from.rfc3339()[5..16].to_owned()).collect();
        assert_eq!(begins, ["11-11T02:00", "11-12T04:00"]);
    }

    #[test]
    fn a_scope_means_all_or_those_that_are_named_tagged_or_grouped() {
        let of = |scope: Scope| -> Vec<u32> {
            let services = [(1, vec!["core".to_owned()], Some("shop")), (2, vec![], Some("shop")), (3, vec!["core".to_owned()], None)];
            services.iter().filter(|(id, tags, group)| scope.means(ServiceId(*id), tags, *group)).map(|(id, _, _)| *id).collect()
        };
        assert_eq!(of(Scope::default()), [0u32; 0]);
        assert_eq!(of(Scope { all: true, ..Scope::default() }), [1, 2, 3]);
        assert_eq!(of(Scope { tags: ["core".to_owned()].into(), ..Scope::default() }), [1, 3]);
        assert_eq!(of(Scope { groups: ["shop".to_owned()].into(), services: [ServiceId(3)].into(), ..Scope::default() }), [1, 2, 3]);
    }
}
