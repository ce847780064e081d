//! Rules and causes as tables: each line an instant and what is told at it.

use std::collections::BTreeSet;

use chrono::Weekday;

use super::*;
use crate::model::alert::Cause;
use crate::model::held::Acknowledged;
use crate::model::id::ServiceId;
use crate::model::rule::{Escalation, Quiet, RuleId, Scope};

const MAIL: ChannelId = ChannelId(1);
const CHAT: ChannelId = ChannelId(2);
const BOSS: ChannelId = ChannelId(3);

fn at(text: &str) -> Timestamp {
    Timestamp::parse(&format!("2026-11-22T{text}Z")).unwrap()
}

fn rule() -> Rule {
    Rule {
        id: RuleId(1),
        name: "on call".into(),
        enabled: true,
        scope: Scope::default(),
        kinds: BTreeSet::from(CauseKind::ALL),
        least: Severity::Warning,
        certificate_days: vec![14, 7, 1],
        least_size: None,
        after: Duration::ZERO,
        channels: vec![MAIL],
        repeat: None,
        quiet: None,
        escalations: Vec::new(),
        tell_recovered: true,
        tell_acknowledged: false,
        since: at("00:00:00"),
    }
}

fn held(kind: CauseKind, severity: Severity) -> Held {
    let cause = Cause {
        key: "incident-1".to_owned(),
        kind,
        severity,
        drill: false,
        service: Some(ServiceId(7)),
        region: None,
        node: None,
        headline: "connect refused in 3 of 3 regions".to_owned(),
        since: at("12:00:00"),
        regions: Vec::new(),
        last_good: None,
        next_step: None,
        path: None,
    };
    Held::new(cause, at("12:00:00"))
}

fn incident() -> Held {
    held(CauseKind::Incident, Severity::Critical)
}

/// One rule's telling of one cause, instant after instant.
struct Course {
    rule: Rule,
    held: Held,
    progress: Progress,
    muted: bool,
    not_before: Timestamp,
    wanted: bool,
}

impl Course {
    fn of(rule: Rule, held: Held) -> Course {
        Course { rule, held, progress: Progress::default(), muted: false, not_before: Timestamp(0), wanted: true }
    }

    /// What is told at an instant, as `telling number: channels`, and when it would look again.
    fn at(&mut self, text: &str) -> (Vec<String>, Option<Timestamp>) {
        let situation = Situation { now: at(text), not_before: self.not_before, muted: self.muted };
        let plan = plan(&self.rule, &self.held, &self.progress, self.wanted, situation);
        // Planned again before it is written it comes to the same.
        assert_eq!(plan, super::plan(&self.rule, &self.held, &self.progress, self.wanted, situation));
        self.progress = plan.progress.clone();
        let told = plan.due.iter().map(|due| {
            let channels: Vec<String> = due.channels.iter().map(ToString::to_string).collect();
            format!("{} {}: {}", due.telling.name(), due.number, channels.join(" "))
        });
        (told.collect(), plan.next)
    }

    fn check(&mut self, table: &[(&str, &[&str])]) {
        for (instant, expected) in table {
            assert_eq!(self.at(instant).0, *expected, "{instant}");
        }
    }

    fn clear(&mut self, text: &str) {
        self.held.cleared_at = Some(at(text));
    }

    fn acknowledge(&mut self, text: &str) {
        self.held.acknowledged = Some(Acknowledged { by: "ada".to_owned(), note: String::new(), at: at(text) });
    }
}

#[test]
fn a_cause_is_told_once_and_so_is_its_end() {
    let mut course = Course::of(rule(), incident());
    course.check(&[("12:00:00", &["raised 0: 1"]), ("12:00:01", &[]), ("13:00:00", &[])]);
    course.clear("13:05:00");
    course.check(&[("13:05:01", &["recovered 0: 1"]), ("13:05:02", &[])]);
    assert!(
        plan(&course.rule, &course.held, &course.progress, true, Situation { now: at("14:00:00"), not_before: Timestamp(0), muted: false })
            .done
    );
}

#[test]
fn what_does_not_last_is_not_told() {
    let patient = Rule { after: Duration::from_secs(300), ..rule() };
    let mut course = Course::of(patient.clone(), incident());
    assert_eq!(course.at("12:04:59"), (vec![], Some(at("12:05:00"))));
    course.clear("12:04:59");
    course.check(&[("12:06:00", &[])]);
    let mut course = Course::of(patient, incident());
    course.check(&[("12:05:00", &["raised 0: 1"])]);
}

#[test]
fn what_began_and_ended_while_nobody_planned_is_told_in_order() {
    let mut course = Course::of(rule(), incident());
    course.clear("12:10:00");
    course.check(&[("15:00:00", &["raised 0: 1", "recovered 0: 1"]), ("15:00:01", &[])]);
    // Not where it would not have been told at its time, nor by a rule that was made later, nor a day after.
    for (rule, now) in [
        (Rule { after: Duration::from_secs(601), ..rule() }, at("15:00:00")),
        (Rule { since: at("12:10:00"), ..rule() }, at("15:00:00")),
        (rule(), at("12:10:01").plus(Duration::from_secs(86_400))),
    ] {
        let situation = Situation { now, not_before: Timestamp(0), muted: false };
        let planned = plan(&rule, &course.held, &Progress::default(), true, situation);
        assert!(planned.due.is_empty() && planned.done, "{planned:?}");
    }
}

#[test]
fn a_rule_that_is_made_while_it_lasts_tells_it() {
    let mut course = Course::of(Rule { since: at("12:30:00"), ..rule() }, incident());
    course.check(&[("12:30:00", &["raised 0: 1"])]);
}

#[test]
fn it_is_repeated_until_it_is_taken_on_or_over() {
    let mut course = Course::of(Rule { repeat: Some(Duration::from_secs(600)), ..rule() }, incident());
    course.check(&[
        ("12:00:00", &["raised 0: 1"]),
        ("12:09:59", &[]),
        ("12:10:00", &["repeated 1: 1"]),
        ("12:20:05", &["repeated 2: 1"]),
        // After an hour of silence it is told once, not six times.
        ("13:20:05", &["repeated 3: 1"]),
    ]);
    assert_eq!(course.at("13:20:06").1, Some(at("13:30:05")));
    course.acknowledge("13:21:00");
    course.check(&[("13:40:00", &[]), ("15:00:00", &[])]);
    course.clear("15:00:01");
    course.check(&[("15:00:02", &["recovered 0: 1"])]);
}

#[test]
fn steps_are_taken_until_it_is_taken_on() {
    let steps = vec![
        Escalation { after: Duration::from_secs(900), channels: vec![CHAT] },
        Escalation { after: Duration::from_secs(3_600), channels: vec![BOSS, CHAT] },
    ];
    let escalating = Rule { escalations: steps, ..rule() };
    let mut course = Course::of(escalating.clone(), incident());
    course.check(&[("12:00:00", &["raised 0: 1"]), ("12:14:59", &[]), ("12:15:00", &["escalated 1: 2"]), ("12:59:59", &[])]);
    course.acknowledge("12:59:59");
    course.check(&[("13:00:00", &[]), ("14:00:00", &[])]);
    course.clear("14:00:01");
    // All who were told are told that it is over.
    course.check(&[("14:00:01", &["recovered 0: 1 2"])]);
    let mut course = Course::of(escalating.clone(), incident());
    course.check(&[("12:00:00", &["raised 0: 1"]), ("13:00:00", &["escalated 1: 2", "escalated 2: 2 3"])]);
    // Over before the step: it is not taken.
    let mut course = Course::of(escalating, incident());
    course.check(&[("12:00:00", &["raised 0: 1"])]);
    course.clear("12:14:00");
    course.check(&[("12:15:00", &["recovered 0: 1"]), ("13:30:00", &[])]);
}

#[test]
fn that_someone_has_taken_it_on_is_told_where_the_rule_says_so() {
    let mut course = Course::of(Rule { tell_acknowledged: true, repeat: Some(Duration::from_secs(60)), ..rule() }, incident());
    course.check(&[("12:00:00", &["raised 0: 1"])]);
    course.acknowledge("12:00:30");
    course.check(&[("12:00:31", &["acknowledged 0: 1"]), ("12:05:00", &[])]);
}

#[test]
fn the_end_is_not_told_where_the_rule_says_so() {
    let mut course = Course::of(Rule { tell_recovered: false, ..rule() }, incident());
    course.check(&[("12:00:00", &["raised 0: 1"])]);
    course.clear("12:30:00");
    course.check(&[("12:30:01", &[])]);
}

#[test]
fn what_grows_worse_is_told_again() {
    let mut course = Course::of(rule(), held(CauseKind::Incident, Severity::Warning));
    course.check(&[("12:00:00", &["raised 0: 1"]), ("12:01:00", &[])]);
    course.held.cause.severity = Severity::Critical;
    course.check(&[("12:02:00", &["repeated 1: 1"]), ("12:03:00", &[])]);
    course.held.cause.severity = Severity::Warning;
    course.check(&[("12:04:00", &[])]);
}

fn at_night(critical_passes: bool) -> Quiet {
    let days = vec![Weekday::Sat, Weekday::Sun, Weekday::Mon];
    Quiet { zone: chrono_tz::UTC, from: 11 * 60, until: 14 * 60, days, critical_passes }
}

#[test]
fn quiet_hours_keep_it_until_they_end_unless_it_is_critical() {
    let mut course = Course::of(Rule { quiet: Some(at_night(true)), ..rule() }, incident());
    course.check(&[("12:00:00", &["raised 0: 1"])]);
    let mut course = Course::of(Rule { quiet: Some(at_night(false)), ..rule() }, incident());
    assert_eq!(course.at("12:00:00"), (vec![], Some(at("14:00:00"))));
    course.check(&[("13:59:59", &[]), ("14:00:00", &["raised 0: 1"])]);
    // Over before they end: nobody need know.
    let mut course = Course::of(Rule { quiet: Some(at_night(true)), ..rule() }, held(CauseKind::Degraded, Severity::Warning));
    course.check(&[("12:00:00", &[])]);
    course.clear("13:00:00");
    course.check(&[("13:00:01", &[]), ("14:00:00", &[])]);
}

#[test]
fn nothing_that_goes_on_is_told_in_quiet_hours_either() {
    let mut early = held(CauseKind::Degraded, Severity::Warning);
    early.cause.since = at("10:00:00");
    let steps = vec![Escalation { after: Duration::from_secs(7_200), channels: vec![CHAT] }];
    let quiet = Rule { quiet: Some(at_night(true)), repeat: Some(Duration::from_secs(1_800)), escalations: steps, ..rule() };
    let mut course = Course::of(quiet.clone(), early.clone());
    course.check(&[
        ("10:00:00", &["raised 0: 1"]),
        ("10:30:00", &["repeated 1: 1"]),
        ("11:00:00", &[]),
        ("12:30:00", &[]),
        ("14:00:00", &["repeated 2: 1", "escalated 1: 2"]),
    ]);
    let mut course = Course::of(quiet, early);
    course.check(&[("10:00:00", &["raised 0: 1"])]);
    course.clear("12:00:00");
    course.check(&[("12:00:01", &[]), ("14:00:00", &["recovered 0: 1"])]);
}

#[test]
fn a_consequence_is_not_told_but_its_end_is_where_its_beginning_was() {
    let mut course = Course::of(rule(), incident());
    course.muted = true;
    course.check(&[("12:00:00", &[]), ("13:00:00", &[])]);
    course.clear("13:00:00");
    course.check(&[("13:00:01", &[])]);
    let mut course = Course::of(Rule { repeat: Some(Duration::from_secs(60)), ..rule() }, incident());
    course.check(&[("12:00:00", &["raised 0: 1"])]);
    course.muted = true;
    course.check(&[("12:30:00", &[])]);
    course.clear("13:00:00");
    course.check(&[("13:00:01", &["recovered 0: 1"])]);
}

#[test]
fn one_that_is_held_back_waits_and_is_not_told_if_it_is_over_by_then() {
    let mut course = Course::of(rule(), incident());
    course.not_before = at("12:00:05");
    assert_eq!(course.at("12:00:04"), (vec![], Some(at("12:00:05"))));
    course.check(&[("12:00:05", &["raised 0: 1"])]);
    let mut course = Course::of(rule(), incident());
    course.not_before = at("12:00:05");
    course.clear("12:00:04");
    course.check(&[("12:00:06", &[])]);
}

#[test]
fn what_a_rule_no_longer_asks_for_goes_silent_but_for_its_end() {
    let mut course = Course::of(Rule { repeat: Some(Duration::from_secs(60)), ..rule() }, incident());
    course.check(&[("12:00:00", &["raised 0: 1"])]);
    course.wanted = false;
    course.check(&[("12:30:00", &[])]);
    course.clear("12:40:00");
    course.check(&[("12:40:00", &["recovered 0: 1"])]);
}

#[test]
fn a_certificate_is_told_once_for_each_number_of_days() {
    let mut held = held(CauseKind::Certificate, Severity::Warning);
    let end = at("12:00:00").plus(DAY * 20);
    held.not_after = Some(end);
    let rule = Rule { repeat: Some(Duration::from_secs(60)), ..rule() };
    let mut progress = Progress::default();
    let mut told = Vec::new();
    for hours in 0..=20 * 24 {
        let now = at("12:00:00").plus(Duration::from_secs(hours * 3_600));
        let planned = plan(&rule, &held, &progress, true, Situation { now, not_before: Timestamp(0), muted: false });
        told.extend(planned.due.iter().map(|due| (hours / 24, due.telling, due.number)));
        progress = planned.progress;
    }
    assert_eq!(told, [(6, Telling::Raised, 0), (13, Telling::Repeated, 1), (19, Telling::Repeated, 2)]);
    held.cleared_at = Some(end);
    let planned = plan(&rule, &held, &progress, true, Situation { now: end, not_before: Timestamp(0), muted: false });
    assert_eq!(planned.due.iter().map(|due| due.telling).collect::<Vec<_>>(), [Telling::Recovered]);
}

#[test]
fn a_drill_waits_for_nothing() {
    let mut drill = held(CauseKind::Degraded, Severity::Warning);
    drill.cause.drill = true;
    let slow = Rule { after: Duration::from_secs(3_600), quiet: Some(at_night(false)), ..rule() };
    let mut course = Course::of(slow, drill);
    course.not_before = at("12:30:00");
    course.check(&[("12:00:00", &["raised 0: 1"])]);
    course.clear("12:00:10");
    course.check(&[("12:00:10", &["recovered 0: 1"])]);
}
