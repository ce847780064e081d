//! Spans of time, each from its first instant up to but without its last, and lists of them.
//!
//! **Invariant.** Lists that functions here give are in order, and no two of their spans touch.

use crate::model::time::Timestamp;

const MINUTE: i64 = 60_000_000;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span {
    pub from: Timestamp,
    pub until: Timestamp,
}

impl Span {
    pub fn new(from: Timestamp, until: Timestamp) -> Span {
        Span { from, until }
    }

    /// Microseconds; none where it ends before it begins.
    pub fn length(self) -> i64 {
        self.until.0.saturating_sub(self.from.0).max(0)
    }

    pub fn holds(self, at: Timestamp) -> bool {
        self.from <= at && at < self.until
    }

    /// What both have; `None`: nothing.
    pub fn within(self, other: Span) -> Option<Span> {
        let both = Span { from: self.from.max(other.from), until: self.until.min(other.until) };
        (both.from < both.until).then_some(both)
    }

    /// Widened to whole minutes.
    pub fn minutes(self) -> Span {
        let up = |at: Timestamp| Timestamp(at.0.saturating_add(MINUTE - 1).div_euclid(MINUTE) * MINUTE);
        Span { from: Timestamp(self.from.0.div_euclid(MINUTE) * MINUTE), until: up(self.until) }
    }
}

/// What lies in any of them.
pub fn union(spans: impl IntoIterator<Item = Span>) -> Vec<Span> {
    let mut spans: Vec<Span> = spans.into_iter().filter(|span| span.from < span.until).collect();
    spans.sort();
    let mut all: Vec<Span> = Vec::with_capacity(spans.len());
    for span in spans {
        match all.last_mut() {
            Some(last) if span.from <= last.until => last.until = last.until.max(span.until),
            _ => all.push(span),
        }
    }
    all
}

/// What of `whole` lies in any of `spans`, which are in order and do not touch.
pub fn clipped(spans: &[Span], whole: Span) -> Vec<Span> {
    let first = spans.partition_point(|span| span.until <= whole.from);
    spans[first..].iter().take_while(|span| span.from < whole.until).filter_map(|span| span.within(whole)).collect()
}

/// What of `whole` lies in none of `holes`, which are in order and do not touch.
pub fn without(whole: Span, holes: &[Span]) -> Vec<Span> {
    let mut left = Vec::new();
    let mut from = whole.from;
    for hole in clipped(holes, whole) {
        if from < hole.from {
            left.push(Span { from, until: hole.from });
        }
        from = hole.until;
    }
    if from < whole.until {
        left.push(Span { from, until: whole.until });
    }
    left
}

/// Microseconds of all together.
pub fn total(spans: &[Span]) -> i64 {
    spans.iter().map(|span| span.length()).sum()
}

/// Whether an instant lies in one of `spans`, which are in order and do not touch.
pub fn holds(spans: &[Span], at: Timestamp) -> bool {
    let next = spans.partition_point(|span| span.until <= at);
    spans.get(next).is_some_and(|span| span.holds(at))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn spans(pairs: &[(i64, i64)]) -> Vec<Span> {
        pairs.iter().map(|(from, until)| Span::new(Timestamp(*from), Timestamp(*until))).collect()
    }

    #[test]
    fn spans_are_joined_clipped_and_taken_out() {
        let joined = union(spans(&[(5, 9), (1, 3), (3, 4), (8, 12), (20, 20), (30, 25)]));
        assert_eq!(joined, spans(&[(1, 4), (5, 12)]));
        let whole = Span::new(Timestamp(2), Timestamp(10));
        assert_eq!(clipped(&joined, whole), spans(&[(2, 4), (5, 10)]));
        assert_eq!(without(whole, &joined), spans(&[(4, 5)]));
        assert_eq!(without(whole, &[]), [whole]);
        assert!(holds(&joined, Timestamp(5)) && !holds(&joined, Timestamp(4)) && !holds(&joined, Timestamp(12)));
        let widened = spans(&[(MINUTE - 1, MINUTE + 1)])[0].minutes();
        assert_eq!(widened, Span::new(Timestamp(0), Timestamp(2 * MINUTE)));
    }

    proptest! {
        #[test]
        fn what_is_taken_out_and_what_is_left_make_the_whole(pairs in prop::collection::vec((0i64..200, 0i64..60), 0..12), from in 0i64..150, length in 1i64..100) {
            let holes = union(pairs.iter().map(|(from, length)| Span::new(Timestamp(*from), Timestamp(from + length))));
            let whole = Span::new(Timestamp(from), Timestamp(from + length));
            let (out, left) = (clipped(&holes, whole), without(whole, &holes));
            prop_assert_eq!(total(&out) + total(&left), length);
            for at in from..from + length {
                let (in_hole, in_left) = (holds(&out, Timestamp(at)), holds(&left, Timestamp(at)));
                prop_assert!(in_hole != in_left);
                prop_assert_eq!(in_hole, pairs.iter().any(|(begin, length)| (*begin..begin + length).contains(&at)));
            }
        }
    }
}
