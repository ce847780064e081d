//! One cause and one rule: what is to be told now, and when to look again. Pure.
//!
//! A cause is told when it has held for as long as the rule asks, at the first instant from then on that is not quiet; one that was
//! over before that instant is never told. This is reckoned from the times of the cause, not from when it is looked at: whoever was
//! away meanwhile tells the same afterwards, in the same order.
//!
//! **Invariant.** What is due is named by (rule, cause, telling, number): planning again with the same progress gives the same.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::model::alert::{CauseKind, Telling};
use crate::model::held::{Held, Progress};
use crate::model::id::ChannelId;
use crate::model::incident::Severity;
use crate::model::rule::Rule;
use crate::model::time::Timestamp;

/// What was over for longer than this before it could be told is not told any more.
const MAKE_UP: Duration = Duration::from_secs(86_400);
const DAY: Duration = Duration::from_secs(86_400);

/// What the plan needs to know beside rule and cause.
#[derive(Clone, Copy, Debug)]
pub struct Situation {
    pub now: Timestamp,
    /// It is not told before: others may turn out to be its cause, or its consequences.
    pub not_before: Timestamp,
    /// It follows from another cause the rule tells of, or its service is in maintenance: of it only the end is told, where its
    /// beginning was.
    pub muted: bool,
}

/// A telling, to each of some channels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Due {
    pub telling: Telling,
    /// Which of its kind, from 0.
    pub number: u32,
    pub channels: BTreeSet<ChannelId>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// In the order it is told.
    pub due: Vec<Due>,
    /// The progress once all of it is written.
    pub progress: Progress,
    /// When something may be due again, as far as time alone decides.
    pub next: Option<Timestamp>,
    /// Nothing will ever be told of it again.
    pub done: bool,
}

/// `wanted`: the rule is about the cause as it is now.
pub fn plan(rule: &Rule, held: &Held, progress: &Progress, wanted: bool, situation: Situation) -> Plan {
    let mut plan = Plan { progress: progress.clone(), ..Plan::default() };
    if plan.progress.raised_at.is_none() {
        raise(rule, held, wanted, situation, &mut plan);
    }
    match held.cleared_at {
        Some(at) => recover(rule, held, at, situation, &mut plan),
        None if plan.progress.raised_at.is_some() && wanted && !situation.muted => go_on(rule, held, situation, &mut plan),
        None => {}
    }
    plan
}

/// The first telling, if it is time.
fn raise(rule: &Rule, held: &Held, wanted: bool, situation: Situation, plan: &mut Plan) {
    let ended = held.cleared_at;
    let too_late = ended.is_some_and(|ended| ended <= rule.since || situation.now.since(ended) > MAKE_UP);
    if !wanted || situation.muted || too_late {
        return;
    }
    let Some(at) = raise_at(rule, held, situation) else { return };
    if ended.is_some_and(|ended| at > ended) {
        return;
    }
    if at > situation.now {
        plan.next = Some(at);
        return;
    }
    let channels: BTreeSet<ChannelId> = rule.channels.iter().copied().collect();
    plan.progress.raised_at = Some(situation.now);
    plan.progress.days = reached(rule, held, situation.now);
    tell(held, Telling::Raised, 0, channels, situation.now, plan);
}

/// When it is told first; `None`: as far as one can see never.
fn raise_at(rule: &Rule, held: &Held, situation: Situation) -> Option<Timestamp> {
    if held.cause.drill {
        return Some(held.cause.since);
    }
    let mut at = held.cause.since.plus(rule.after).max(situation.not_before);
    if held.cause.kind == CauseKind::Certificate {
        let most = *rule.certificate_days.iter().max()?;
        at = at.max(held.not_after?.minus(DAY * most));
    }
    Some(unless_quiet(rule, held, at))
}

/// An instant, or the end of the quiet hours it lies in.
fn unless_quiet(rule: &Rule, held: &Held, at: Timestamp) -> Timestamp {
    let Some(quiet) = &rule.quiet else { return at };
    let passes = held.cause.drill || quiet.critical_passes && held.cause.severity == Severity::Critical;
    if passes { at } else { quiet.end(at) }
}

/// What is told while it holds on: worse, a person has taken it on, still there, nobody has taken it on.
fn go_on(rule: &Rule, held: &Held, situation: Situation, plan: &mut Plan) {
    let now = situation.now;
    let (Some(raised_at), Some(last)) = (plan.progress.raised_at, plan.progress.last_told) else { return };
    if held.acknowledged.is_some() {
        if rule.tell_acknowledged && !plan.progress.acknowledged {
            let channels = plan.progress.channels.clone();
            tell(held, Telling::Acknowledged, 0, channels, now, plan);
        }
        plan.progress.acknowledged = true;
        return;
    }
    let day = reached(rule, held, now);
    let nearer = day.is_some() && day != plan.progress.days;
    let worse = plan.progress.severity.is_some_and(|told| held.cause.severity > told);
    let repeat = match held.cause.kind {
        // Once for each of its days.
        CauseKind::Certificate => None,
        _ => rule.repeat.map(|every| last.plus(every)),
    };
    let due_at = if worse || nearer { Some(last) } else { repeat };
    if let Some(at) = due_at.map(|at| unless_quiet(rule, held, at.max(last))) {
        if at <= now && unless_quiet(rule, held, now) <= now {
            plan.progress.repeats += 1;
            plan.progress.days = day.or(plan.progress.days);
            let (number, channels) = (plan.progress.repeats, plan.progress.channels.clone());
            tell(held, Telling::Repeated, number, channels, now, plan);
        }
        plan.next = soonest(plan.next, Some(if at > now { at } else { unless_quiet(rule, held, now) }).filter(|at| *at > now));
    }
    while let Some(step) = rule.escalations.get(plan.progress.steps as usize) {
        let at = unless_quiet(rule, held, raised_at.plus(step.after));
        let at = if at <= now { unless_quiet(rule, held, now) } else { at };
        if at > now {
            plan.next = soonest(plan.next, Some(at));
            break;
        }
        plan.progress.steps += 1;
        let (number, channels) = (plan.progress.steps, step.channels.iter().copied().collect());
        tell(held, Telling::Escalated, number, channels, now, plan);
    }
}

/// The end, to all who were told of the beginning.
fn recover(rule: &Rule, held: &Held, ended: Timestamp, situation: Situation, plan: &mut Plan) {
    if plan.progress.raised_at.is_none() || plan.progress.recovered || !rule.tell_recovered {
        plan.done = true;
        return;
    }
    let at = unless_quiet(rule, held, ended);
    let at = if at <= situation.now { unless_quiet(rule, held, situation.now) } else { at };
    if at > situation.now {
        plan.next = Some(at);
        return;
    }
    plan.progress.recovered = true;
    plan.done = true;
    let channels = plan.progress.channels.clone();
    tell(held, Telling::Recovered, 0, channels, situation.now, plan);
}

/// The fewest days of the rule that the end of a certificate has come within.
fn reached(rule: &Rule, held: &Held, now: Timestamp) -> Option<u32> {
    let end = held.not_after?;
    rule.certificate_days.iter().copied().filter(|days| now >= end.minus(DAY * *days)).min()
}

fn tell(held: &Held, telling: Telling, number: u32, channels: BTreeSet<ChannelId>, now: Timestamp, plan: &mut Plan) {
    plan.progress.last_told = Some(now);
    plan.progress.severity = plan.progress.severity.max(Some(held.cause.severity));
    plan.progress.channels.extend(channels.iter().copied());
    if !channels.is_empty() {
        plan.due.push(Due { telling, number, channels });
    }
}

fn soonest(one: Option<Timestamp>, other: Option<Timestamp>) -> Option<Timestamp> {
    one.into_iter().chain(other).min()
}

#[cfg(test)]
mod tests;
