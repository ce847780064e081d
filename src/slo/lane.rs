//! What one region's results of the last days come to for one objective, kept up as they come: by the minute for the last
//! hours, by the hour before.
//!
//! Time in a state is reckoned as rollups reckon it: a state holds until the next result, or until it was silent for too
//! long. A lane takes results in order only; one that comes late must be made again from the store.
//!
//! **Invariant.** Maintenance is left out as time goes in: what is asked later is only added up.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use crate::aggregate::ledger::Ledger;
use crate::aggregate::rollup::{HOUR, Held, MINUTE, Rule};
use crate::aggregate::verdict::{RegionStatus, Turn, silence};
use crate::model::check::CheckResult;
use crate::model::slo::Aim;
use crate::model::span::{Span, clipped, holds, total, without};
use crate::model::time::{Timestamp, micros};
use crate::slo::burn::Stretch;

/// Longer stretches are added up by the hour.
pub const BY_MINUTE: Duration = Duration::from_secs(6 * 3600);

/// Minutes kept at most: those that are asked for, and the hour that runs.
const MOST_MINUTES: usize = 8 * 60;

/// What a minute or an hour came to outside maintenance: microseconds up and down, and checks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Slot {
    up: u32,
    down: u32,
    good: u32,
    bad: u32,
}

#[derive(Clone, Debug)]
pub struct Lane {
    aim: Aim,
    rule: Rule,
    turn: Turn,
    /// When the newest result was made.
    last: i64,
    /// Up to when the time in its state is in the slots.
    laid: i64,
    /// Of the minutes from `first` on.
    minutes: VecDeque<Slot>,
    first: i64,
    /// By their start; also those of the minutes.
    hours: BTreeMap<i64, Slot>,
}

/// A result, as far as a lane wants it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heard {
    pub at: i64,
    pub ok: bool,
    pub latency: Duration,
}

impl From<&CheckResult> for Heard {
    fn from(result: &CheckResult) -> Heard {
        Heard { at: result.started_at.0, ok: result.ok(), latency: result.latency }
    }
}

impl Slot {
    fn add(&mut self, other: Slot) {
        self.up = self.up.saturating_add(other.up);
        self.down = self.down.saturating_add(other.down);
        self.good = self.good.saturating_add(other.good);
        self.bad = self.bad.saturating_add(other.bad);
    }
}

impl Lane {
    /// Before the first result.
    pub fn new(aim: Aim, rule: Rule, now: Timestamp) -> Lane {
        let first = minute(now.0);
        Lane { aim, rule, turn: Turn::UNHEARD, last: i64::MIN, laid: i64::MIN, minutes: VecDeque::new(), first, hours: BTreeMap::new() }
    }

    /// The spans a ledger must know so that a lane can be made of it that reaches `back`; `holes` is maintenance.
    pub fn needs(back: Duration, holes: &[Span], now: Timestamp) -> Vec<Span> {
        Lane::spans(back, now).into_iter().flat_map(|span| without(span, holes)).collect()
    }

    /// The hours, and then the minutes.
    fn spans(back: Duration, now: Timestamp) -> Vec<Span> {
        let (begin, fine) = begins(back, now);
        let pieces = |from: i64, to: i64, length: i64| {
            (0..((to - from).max(0) + length - 1) / length).map(move |index| {
                let start = from + index * length;
                Span::new(Timestamp(start), Timestamp((start + length).min(to)))
            })
        };
        pieces(begin, fine, HOUR).chain(pieces(fine, minute(now.0) + MINUTE, MINUTE)).collect()
    }

    /// Made of what the store knows up to now; `holes` is maintenance.
    pub fn of(aim: Aim, rule: Rule, ledger: &Ledger, back: Duration, holes: &[Span], now: Timestamp) -> Lane {
        let mut lane = Lane::new(aim, rule, now);
        let (_, fine) = begins(back, now);
        lane.first = fine;
        if let Some(held) = newest(ledger) {
            (lane.turn, lane.last, lane.laid) = (held.turn, held.last, now.0);
        }
        for span in Lane::spans(back, now) {
            let in_hours = span.from.0 < fine;
            for kept in without(span, holes) {
                for piece in ledger.pieces(kept, now) {
                    let mut slot = Slot { up: piece.times.up.max(0) as u32, down: piece.times.down.max(0) as u32, ..Slot::default() };
                    if let Some(part) = piece.part {
                        let good = match aim {
                            Aim::Availability => part.rollup.checks - part.rollup.failed(),
                            Aim::Latency(limit) => part.rollup.latency.count_within(limit),
                        };
                        let share = |count: u64| (count as f64 * piece.share).round() as u32;
                        (slot.good, slot.bad) = (share(good), share(part.rollup.checks - good.min(part.rollup.checks)));
                    }
                    match in_hours {
                        true => lane.hours.entry(hour(span.from.0)).or_default().add(slot),
                        false => lane.put(span.from.0, slot),
                    }
                }
            }
        }
        lane
    }

    /// Takes the next result; `false`: it lies before the newest, and the lane must be made again.
    pub fn hear(&mut self, heard: Heard, holes: &[Span]) -> bool {
        if heard.at <= self.last {
            return heard.at == self.last;
        }
        if heard.at < self.laid {
            // Made before the state was last laid out, and heard of after.
            let over = Span::new(Timestamp(heard.at), Timestamp(self.laid.min(self.reaches())));
            self.lay(over, holes, true);
        } else {
            self.lay_until(heard.at, holes);
        }
        self.laid = heard.at;
        self.turn.take(heard.ok, self.rule.thresholds());
        self.last = heard.at;
        if !holds(holes, Timestamp(heard.at)) {
            let good = match self.aim {
                Aim::Availability => heard.ok,
                Aim::Latency(limit) => heard.ok && heard.latency <= limit,
            };
            self.put(heard.at, Slot { good: u32::from(good), bad: u32::from(!good), ..Slot::default() });
        }
        true
    }

    /// When the newest result was made.
    pub fn last(&self) -> Timestamp {
        Timestamp(self.last)
    }

    /// How time in a state is reckoned from here on.
    pub fn set_rule(&mut self, rule: Rule) {
        self.rule = rule;
    }

    /// Lets go of what no stretch reaches.
    pub fn forget(&mut self, back: Duration, holes: &[Span], now: Timestamp) {
        self.lay_until(now.0, holes);
        let (begin, fine) = begins(back, now);
        while self.first < fine && self.minutes.pop_front().is_some() {
            self.first += MINUTE;
        }
        self.first = self.first.max(fine.min(minute(now.0)));
        self.hours = self.hours.split_off(&begin);
    }

    /// What a stretch that ends now came to. `alive` is when the service began to be; `holes` is maintenance.
    pub fn stretch(&self, length: Duration, alive: Timestamp, holes: &[Span], now: Timestamp) -> (Slots, i64) {
        let from = now.0 - micros(length);
        let mut sum = Slots::default();
        let begin = if length <= BY_MINUTE {
            let begin = minute(from);
            let skip = usize::try_from((begin - self.first) / MINUTE).unwrap_or(0);
            self.minutes.iter().skip(skip).for_each(|slot| sum.add(*slot));
            begin
        } else {
            let begin = hour(from);
            self.hours.range(begin..).for_each(|(_, slot)| sum.add(*slot));
            begin
        };
        // The state of the newest result goes on.
        let open = Span::new(Timestamp(self.laid.max(begin)), Timestamp(now.0.min(self.reaches())));
        sum.hold(self.turn.status, open.length() - total(&clipped(holes, open)));
        let whole = Span::new(Timestamp(begin.max(minute(alive.0))), now);
        (sum, (whole.length() - total(&clipped(holes, whole))).max(0))
    }

    /// When the state of the newest result ends without another.
    fn reaches(&self) -> i64 {
        self.last.saturating_add(micros(silence(self.rule.gap)))
    }

    fn lay_until(&mut self, until: i64, holes: &[Span]) {
        if until > self.laid {
            self.lay(Span::new(Timestamp(self.laid.max(self.first)), Timestamp(until.min(self.reaches()))), holes, false);
            self.laid = until;
        }
    }

    /// Puts time in the state into the slots, or takes it out of them.
    fn lay(&mut self, whole: Span, holes: &[Span], out: bool) {
        if whole.length() == 0 || self.turn.status == RegionStatus::Unknown {
            return;
        }
        for span in without(whole, holes) {
            let mut at = span.from.0;
            while at < span.until.0 {
                let next = (minute(at) + MINUTE).min(span.until.0);
                let length = (next - at) as u32;
                let slot = match self.turn.status {
                    RegionStatus::Up => Slot { up: length, ..Slot::default() },
                    _ => Slot { down: length, ..Slot::default() },
                };
                if out {
                    self.take(at, slot)
                } else {
                    self.put(at, slot)
                }
                at = next;
            }
        }
    }

    fn take(&mut self, at: i64, slot: Slot) {
        let index = usize::try_from((minute(at) - self.first) / MINUTE).unwrap_or(usize::MAX);
        let hour = self.hours.get_mut(&hour(at));
        for mine in self.minutes.get_mut(index).into_iter().chain(hour) {
            mine.up = mine.up.saturating_sub(slot.up);
            mine.down = mine.down.saturating_sub(slot.down);
        }
    }

    fn put(&mut self, at: i64, slot: Slot) {
        self.hours.entry(hour(at)).or_default().add(slot);
        if minute(at) < self.first {
            return;
        }
        let mut index = ((minute(at) - self.first) / MINUTE) as usize;
        if index >= MOST_MINUTES {
            // A state that holds for days would fill as many minutes.
            let over = index + 1 - MOST_MINUTES;
            self.minutes.drain(..over.min(self.minutes.len()));
            self.first += over as i64 * MINUTE;
            index = MOST_MINUTES - 1;
        }
        if index >= self.minutes.len() {
            self.minutes.resize(index + 1, Slot::default());
        }
        self.minutes[index].add(slot);
    }
}

/// Slots added up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Slots {
    pub up: i64,
    pub down: i64,
    pub good: u64,
    pub bad: u64,
}

impl Slots {
    fn add(&mut self, slot: Slot) {
        self.up += i64::from(slot.up);
        self.down += i64::from(slot.down);
        self.good += u64::from(slot.good);
        self.bad += u64::from(slot.bad);
    }

    fn hold(&mut self, status: RegionStatus, length: i64) {
        match status {
            RegionStatus::Up => self.up += length.max(0),
            RegionStatus::Down => self.down += length.max(0),
            RegionStatus::Unknown => {}
        }
    }
}

/// What the lanes of all regions say of one stretch.
pub fn together(aim: Aim, lanes: impl Iterator<Item = (Slots, i64)>) -> Stretch {
    let (mut all, mut possible) = (Slots::default(), 0);
    for (slots, length) in lanes {
        all.up += slots.up;
        all.down += slots.down;
        all.good += slots.good;
        all.bad += slots.bad;
        possible += length;
    }
    let known = (all.up + all.down) as f64;
    let coverage = if possible > 0 { (known / possible as f64).min(1.0) } else { 0.0 };
    match aim {
        Aim::Availability => Stretch { good: all.up as f64, bad: all.down as f64, coverage },
        Aim::Latency(_) => Stretch { good: all.good as f64, bad: all.bad as f64, coverage },
    }
}

/// When a lane that reaches back begins, and from when on it knows minutes.
fn begins(back: Duration, now: Timestamp) -> (i64, i64) {
    let fine = hour(now.0 - micros(back.min(BY_MINUTE)));
    (hour(now.0 - micros(back)).min(fine), fine)
}

fn newest(ledger: &Ledger) -> Option<Held> {
    let last = |parts: &BTreeMap<i64, crate::aggregate::rollup::Part>| parts.values().next_back().map(|part| part.held);
    [last(&ledger.minutes), last(&ledger.hours), last(&ledger.days)].into_iter().flatten().max_by_key(|held| held.last)
}

fn minute(at: i64) -> i64 {
    at.div_euclid(MINUTE) * MINUTE
}

fn hour(at: i64) -> i64 {
    at.div_euclid(HOUR) * HOUR
}

#[cfg(test)]
mod tests;
