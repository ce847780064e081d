use super::*;
use crate::aggregate::sample::{NOON, at, bad, good};

const RULE: Rule = Rule { gap: Duration::from_secs(60), failure: 1, success: 1 };
const SECOND: i64 = 1_000_000;
/// Three gaps, and what is allowed for the check itself.
const HOLDS: i64 = 185;

/// Letters at a distance of seconds: `u` passed, `d` failed, `.` nothing.
fn results(text: &str, every: u64) -> Vec<CheckResult> {
    let made = text.chars().enumerate().filter_map(|(index, letter)| match letter {
        'u' => Some(good("a", index as u64 * every)),
        'd' => Some(bad("a", index as u64 * every)),
        _ => None,
    });
    made.collect()
}

/// Seconds up and down from noon to `until`, over the minutes, and the same over the hours.
fn times_of(text: &str, rule: Rule, until: u64) -> (i64, i64) {
    let results = results(text, 60);
    let minutes = minutes(&results, rule, Turn::UNHEARD);
    let mut hours: BTreeMap<i64, Part> = BTreeMap::new();
    for (start, part) in &minutes {
        let hour = start.div_euclid(HOUR) * HOUR;
        hours.entry(hour).and_modify(|whole| whole.join(part)).or_insert_with(|| part.clone());
    }
    let sum = |parts: &BTreeMap<i64, Part>, span: i64| {
        let (mut sum, mut before, mut start) = (Times::default(), None, NOON.0);
        while start < at(until).0 {
            let own = parts.get(&start).map(|part| &part.held);
            sum.add(times(before, own, start, (start + span).min(at(until).0)));
            before = own.or(before);
            start += span;
        }
        (sum.up / SECOND, sum.down / SECOND)
    };
    let by_minute = sum(&minutes, MINUTE);
    assert_eq!(by_minute, sum(&hours, HOUR), "{text}");
    by_minute
}

#[test]
fn a_state_holds_until_the_next_result_or_three_gaps() {
    let strict = Rule { failure: 2, ..RULE };
    let table = [
        ("", RULE, 3600, (0, 0)),
        ("u", RULE, 60, (60, 0)),
        ("u", RULE, 3600, (HOLDS, 0)),
        ("uuuu", RULE, 240, (240, 0)),
        ("uddu", RULE, 240, (120, 120)),
        ("u.....u", RULE, 420, (HOLDS + 60, 0)),
        ("d.....u", RULE, 420, (60, HOLDS)),
        ("uduu", strict, 240, (240, 0)),
        ("udddu", strict, 300, (180, 120)),
    ];
    for (text, rule, until, expected) in table {
        assert_eq!(times_of(text, rule, until), expected, "{text} until {until}");
    }
}

#[test]
fn over_hours_and_days_it_is_the_same_time() {
    let text: String = (0..60 * 50).map(|minute| ['u', '.', 'd', '.', 'u', 'd', '.'][minute * minute % 7]).collect();
    let (up, down) = times_of(&text, RULE, 60 * 60 * 50);
    let letters: Vec<char> = text.chars().collect();
    // Gaps here are shorter than a state holds, so each minute has the state of the last letter.
    let mut expected = (0, 0);
    let mut last = '.';
    for letter in letters {
        last = if letter == '.' { last } else { letter };
        match last {
            'u' => expected.0 += 60,
            'd' => expected.1 += 60,
            _ => {}
        }
    }
    assert_eq!((up, down), expected);
}

#[test]
fn a_rollup_counts_and_measures_what_passed() {
    let results = results("uudu", 10);
    let made = minutes(&results, RULE, Turn::UNHEARD);
    let part = joined(made.values()).unwrap();
    assert_eq!((part.rollup.checks, part.rollup.failed(), part.rollup.attempts), (4, 1, 5));
    assert_eq!(part.rollup.failures, BTreeMap::from([(Reason::Status, 1)]));
    assert_eq!((part.rollup.latency.count(), part.rollup.phases[1].count(), part.rollup.phases[0].count()), (3, 3, 0));
    assert_eq!((part.held.up, part.held.down), (20 * SECOND, 10 * SECOND));
    assert_eq!(joined([]), None);
}

#[test]
fn coverage_is_of_the_window_and_the_ratio_of_what_is_known() {
    let times = Times { up: 30, down: 10 };
    assert_eq!((times.ratio(), times.coverage(80)), (Some(0.75), 0.5));
    assert_eq!((Times::default().ratio(), Times::default().coverage(80)), (None, 0.0));
}
