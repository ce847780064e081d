//! Rollups of one series → what any spans of it came to, to the minute.
//!
//! Whole days and hours are read as such; only where a span's edge cuts a day are its hours needed, and where it cuts an
//! hour the minutes of that. Rollups by the minute are not kept for ever: an hour whose minutes are gone gives its share by
//! length, and the time reckoned so is said.
//!
//! **Invariant.** What adjoining spans come to adds up to what their union does, to the microsecond, but for shares.

use std::collections::{BTreeMap, BTreeSet};

use crate::aggregate::rollup::{DAY, HOUR, Held, MINUTE, Part, Times, floor, times};
use crate::model::span::Span;
use crate::model::time::Timestamp;

/// Parts by their start in microseconds.
type Parts = BTreeMap<i64, Part>;

/// The parts of a series that some spans need.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    /// Of ended days, and for long enough before the spans that the state they begin in is known.
    pub days: Parts,
    /// Of the days in [`Cuts::days`].
    pub hours: Parts,
    /// Of the hours in [`Cuts::hours`].
    pub minutes: Parts,
}

/// The days of which hours, and the hours of which minutes are needed, by their start in microseconds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cuts {
    pub days: BTreeSet<i64>,
    pub hours: BTreeSet<i64>,
}

/// A part of a span that one rollup tells of.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Piece<'a> {
    pub span: Span,
    pub times: Times,
    /// The checks of the piece…
    pub part: Option<&'a Part>,
    /// …or so large a share of them; less than one where the minutes of an hour are gone.
    pub share: f64,
}

impl Cuts {
    /// Those of spans of whole minutes, as of now: the running day has no rollup of its own.
    pub fn of(spans: &[Span], now: Timestamp) -> Cuts {
        let mut cuts = Cuts::default();
        let today = floor(now, DAY);
        for span in spans {
            let until = span.until.min(now);
            if span.from >= until {
                continue;
            }
            if until.0 > today {
                cuts.days.insert(today);
            }
            // What ends now ends a piece of any length.
            let edges = [Some(span.from), (span.until < now).then_some(span.until)];
            for edge in edges.into_iter().flatten() {
                let (day, hour) = (floor(edge, DAY), floor(edge, HOUR));
                if edge.0 != day {
                    cuts.days.insert(day);
                }
                if edge.0 != hour {
                    cuts.days.insert(day);
                    cuts.hours.insert(hour);
                }
            }
        }
        cuts
    }
}

impl Ledger {
    /// The pieces of a span of whole minutes, of what of it lies before now.
    pub fn pieces(&self, span: Span, now: Timestamp) -> Vec<Piece<'_>> {
        let (end, today) = (span.until.min(now).0, floor(now, DAY));
        let mut pieces = Vec::new();
        let mut at = span.from.0;
        while at < end {
            let reaches = |length: i64| at.rem_euclid(length) == 0 && (at + length <= end || end == now.0);
            if reaches(DAY) && at < today {
                at = self.piece(&self.days, at, DAY, end, &mut pieces);
            } else if reaches(HOUR) {
                at = self.piece(&self.hours, at, HOUR, end, &mut pieces);
            } else {
                at = self.below_the_hour(at, end, now, &mut pieces);
            }
        }
        pieces
    }

    /// Time in states of a span.
    pub fn times(&self, span: Span, now: Timestamp) -> Times {
        let mut whole = Times::default();
        self.pieces(span, now).iter().for_each(|piece| whole.add(piece.times));
        whole
    }

    fn piece<'a>(&'a self, parts: &'a Parts, at: i64, length: i64, end: i64, pieces: &mut Vec<Piece<'a>>) -> i64 {
        let until = (at + length).min(end);
        let part = parts.get(&at);
        let times = times(self.before(at), part.map(|part| &part.held), at, until);
        pieces.push(Piece { span: Span::new(Timestamp(at), Timestamp(until)), times, part, share: 1.0 });
        until
    }

    fn below_the_hour<'a>(&'a self, mut at: i64, end: i64, now: Timestamp, pieces: &mut Vec<Piece<'a>>) -> i64 {
        let hour = at.div_euclid(HOUR) * HOUR;
        let until = end.min(hour + HOUR);
        let gone = self.hours.contains_key(&hour) && self.minutes.range(hour..hour + HOUR).next().is_none();
        if !gone {
            while at < until {
                at = self.piece(&self.minutes, at, MINUTE, until, pieces);
            }
            return until;
        }
        let length = now.0.min(hour + HOUR) - hour;
        let part = self.hours.get(&hour);
        let whole = times(self.before(hour), part.map(|part| &part.held), hour, hour + length);
        let of = |us: i64| (i128::from(us) * i128::from(until - at) / i128::from(length)) as i64;
        let times = Times { up: of(whole.up), down: of(whole.down) };
        let share = (until - at) as f64 / length as f64;
        pieces.push(Piece { span: Span::new(Timestamp(at), Timestamp(until)), times, part, share });
        until
    }

    /// The newest part before an instant, in the finest parts that have it.
    fn before(&self, at: i64) -> Option<&Held> {
        let (day, hour) = (at.div_euclid(DAY) * DAY, at.div_euclid(HOUR) * HOUR);
        // A minute stands on the minutes of its hour before it, these on the hours of their day, and so on.
        let finest = [(&self.minutes, hour, at), (&self.hours, day, hour), (&self.days, i64::MIN, day)];
        finest.into_iter().find_map(|(parts, from, to)| parts.range(from..to).next_back()).map(|(_, part)| &part.held)
    }
}

#[cfg(test)]
mod tests;
