//! How fast a budget burns, and when that is too fast. Source: Google SRE workbook, chapter 5, "Multiwindow,
//! multi-burn-rate alerts".

use std::time::Duration;

use crate::model::slo::BurnPair;

/// Of a stretch before now so much must be known for a word on it, maintenance left out.
pub const LEAST_KNOWN: f64 = 0.5;

/// What a stretch that ends now came to, in whatever unit.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Stretch {
    pub good: f64,
    pub bad: f64,
    /// Known time over all time, both outside maintenance; 0 to 1.
    pub coverage: f64,
}

/// A pair with how fast it burns now.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rate {
    pub pair: BurnPair,
    /// `None`: too little is known.
    pub long: Option<f64>,
    pub short: Option<f64>,
}

impl Stretch {
    /// Times as fast as spends the budget just in its period; `None`: too little is known.
    pub fn rate(&self, allowed: f64) -> Option<f64> {
        let all = self.good + self.bad;
        (all > 0.0 && self.coverage >= LEAST_KNOWN && allowed > 0.0).then(|| self.bad / all / allowed)
    }
}

impl Rate {
    pub fn of(pair: BurnPair, allowed: f64, stretch: impl Fn(Duration) -> Stretch) -> Rate {
        Rate { pair, long: stretch(pair.long).rate(allowed), short: stretch(pair.short).rate(allowed) }
    }

    /// Whether it burns too fast; what cannot be known now stays as it was.
    pub fn burns(&self, before: bool) -> bool {
        let over = |rate: Option<f64>| rate.map(|rate| rate >= self.pair.factor);
        match (over(self.long), over(self.short)) {
            (Some(long), Some(short)) => long && short,
            (Some(false), None) | (None, Some(false)) => false,
            _ => before,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::slo::USUAL_PAIRS;

    /// Minutes of an hour ago to now: `u` or `d` or `.` each.
    fn rate(minutes: &str, pair: BurnPair) -> Rate {
        Rate::of(pair, 0.001, |span| {
            let count = span.as_secs() as usize / 60;
            let last: Vec<char> = minutes.chars().rev().take(count).collect();
            let of = |letter: char| last.iter().filter(|minute| **minute == letter).count() as f64;
            Stretch { good: of('u'), bad: of('d'), coverage: (of('u') + of('d')) / count as f64 }
        })
    }

    #[test]
    fn the_fast_pair_burns_when_both_stretches_do_and_stops_with_the_short_one() {
        let [fast, ..] = USUAL_PAIRS;
        // One bad minute of an hour at three nines is 16.7 times too fast, and 200 times over five minutes.
        let one = rate(&("u".repeat(59) + "d"), fast);
        assert!((one.long.unwrap() - 16.666_666).abs() < 1e-3 && (one.short.unwrap() - 200.0).abs() < 1e-6, "{one:?}");
        assert!(one.burns(false));
        // Five good minutes later the hour still says so, the short stretch does not.
        let over = rate(&("u".repeat(54) + "d" + "uuuuu"), fast);
        assert!(over.long.unwrap() > 14.4 && over.short == Some(0.0));
        assert!(!over.burns(true));
        assert!(!rate(&"u".repeat(60), fast).burns(false));
    }

    #[test]
    fn a_gap_neither_raises_nor_clears() {
        let [fast, ..] = USUAL_PAIRS;
        // Four of the last five minutes are missing: the short stretch says nothing.
        let gap = rate(&("u".repeat(54) + "dd" + "...."), fast);
        assert_eq!(gap.short, None);
        assert!(gap.burns(true) && !gap.burns(false));
        let dark = rate(&".".repeat(60), fast);
        assert_eq!((dark.long, dark.short), (None, None));
        assert!(dark.burns(true) && !dark.burns(false));
        // A long stretch that is all right clears whatever the short one cannot say.
        let fine = rate(&("u".repeat(56) + "...."), fast);
        assert!(!fine.burns(true));
    }

    #[test]
    fn slow_pairs_want_longer_trouble() {
        let [fast, slow, ticket] = USUAL_PAIRS;
        let hours = "u".repeat(355) + "ddddd";
        assert!(rate(&hours, fast).burns(false) && rate(&hours, slow).burns(false));
        // Half a per cent of three days: five times the budget of three nines.
        let days: String = (0..4320).map(|minute| if minute % 200 == 7 { 'd' } else { 'u' }).collect();
        assert!(!rate(&days, slow).burns(false) && rate(&days, ticket).burns(false));
    }
}
