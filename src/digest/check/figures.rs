//! The figures of a text, read as people write them, and held against those of the facts. Pure.
//!
//! Tolerances: a share, factor or latency may be rounded to the places it is written with, but never up to all or down to none;
//! a span to the smallest unit it names; a latency by a twentieth; a count of a thousand and more to two places or more. Everything
//! else must be exact; times may be off by a minute. A figure that cannot be read is refused like one that is false.

use std::sync::LazyLock;

use chrono::{Datelike, Timelike};
use regex::{Captures, Regex};

use crate::digest::check::known::Known;

/// A figure as it is written.
#[derive(Clone, Debug, PartialEq)]
pub enum Figure {
    Clock {
        hour: u32,
        minute: u32,
    },
    Date {
        month: u32,
        day: u32,
        year: Option<i32>,
    },
    Share {
        percent: f64,
        places: i32,
    },
    Span {
        seconds: f64,
        unit: f64,
        places: i32,
    },
    Factor {
        value: f64,
        places: i32,
    },
    Count {
        value: f64,
        places: i32,
    },
    /// So many more than were named.
    More(u64),
}

const MONTHS: [&str; 12] =
    ["january", "february", "march", "april", "may", "june", "july", "august", "september", "october", "november", "december"];

const WORDS: [(&str, f64); 14] = [
    ("two", 2.0),
    ("three", 3.0),
    ("four", 4.0),
    ("five", 5.0),
    ("six", 6.0),
    ("seven", 7.0),
    ("eight", 8.0),
    ("nine", 9.0),
    ("ten", 10.0),
    ("eleven", 11.0),
    ("twelve", 12.0),
    ("twice", 2.0),
    ("thrice", 3.0),
    ("both", 2.0),
];

static TOKENS: LazyLock<Regex> = LazyLock::new(|| {
    let months = "january|february|march|april|may|june|july|august|september|october|november|december";
    let number = r"(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?";
    let words = "one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|twice|thrice|both";
    let unit = r"percentage\spoints?|percent|per\scent|%|µs|us|microseconds?|ms|milliseconds?|seconds?|secs?|s|minutes?|mins?|hours?|hrs?|h|days?|d|weeks?|times|×|x|fold|more|others?|services?|regions?|incidents?|outages?|certificates?|checks?|anomal(?:y|ies)|findings?";
    let text = format!(
        r"(?x)
        (?P<iso>\b(?P<iy>\d{{4}})-(?P<im>\d{{2}})-(?P<id>\d{{2}}))
        |(?P<clock>\b(?P<ch>\d{{1,2}}):(?P<cm>\d{{2}})(?::\d{{2}}(?:\.\d+)?)?z?\b)
        |(?P<daymonth>\b(?P<dd>\d{{1,2}})(?:st|nd|rd|th)?\s(?:of\s)?(?P<dm>{months})\b(?:,?\s(?P<dy>\d{{4}}))?)
        |(?P<monthday>\b(?P<mm>{months})\s(?P<md>\d{{1,2}})(?:st|nd|rd|th)?\b(?:,?\s(?P<my>\d{{4}}))?)
        |(?P<number>{number}|\b(?:{words})\b)(?:[\s\u{{a0}}\u{{202f}}-]?(?P<unit>{unit})(?:\b|$|\W))?"
    );
    Regex::new(&text).expect("the pattern is fixed and right")
});

/// What is no figure though it holds digits, and words that count without saying what.
static NO_FIGURES: LazyLock<Regex> = LazyLock::new(|| {
    let text = r"\bp(?:50|90|95|99)\b|\bhttp/\d(?:\.\d)?|\btls\s?1\.[0-3]\b|\bipv[46]\b|\b24/7\b|\b[45]xx\b|\ba?records?\b";
    Regex::new(text).expect("the pattern is fixed and right")
});

static VAGUE: LazyLock<Regex> = LazyLock::new(|| {
    let text = r"\b(?:dozens?|hundreds?|thousands?|millions?|thirteen|fourteen|fifteen|sixteen|seventeen|eighteen|nineteen|twenty|thirty|forty|fifty|sixty|seventy|eighty|ninety|two-thirds|two thirds|three quarters|three-quarters)\b";
    Regex::new(text).expect("the pattern is fixed and right")
});

static RELATIVE: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"\b(?:doubled|doubling|double|twofold|tripled|triple|threefold|quadrupled|halved|half|a quarter|a third)\b")
        .expect("the pattern is fixed and right")
});

/// All figures of a text, or what cannot be read.
pub fn read(text: &str) -> Result<Vec<Figure>, String> {
    let lower = NO_FIGURES.replace_all(&text.to_lowercase(), "¤").into_owned();
    let (mut figures, mut at) = (Vec::new(), 0);
    let mut end_of_span: Option<usize> = None;
    while let Some(found) = TOKENS.captures_at(&lower, at) {
        let whole = found.get(0).map_or(at..at, |whole| whole.range());
        if let Some(stray) = lower[at..whole.start].find(|letter: char| letter.is_ascii_digit()) {
            return Err(around(&lower, at + stray));
        }
        let (figure, end) = token(&found).ok_or_else(|| around(&lower, whole.start))?;
        // A digit right behind is part of a figure that was not understood.
        let glued = |place: Option<char>| place.is_some_and(|letter| letter.is_ascii_alphanumeric());
        let digits = lower[whole.start..].starts_with(|letter: char| letter.is_ascii_digit());
        if digits && (glued(lower[..whole.start].chars().next_back()) || glued(lower[end..].chars().next())) {
            return Err(around(&lower, whole.start));
        }
        let joined = end_of_span.is_some_and(|from| matches!(lower[from..whole.start].trim(), "" | "and" | ","));
        end_of_span = None;
        match (figure, figures.last_mut()) {
            (Some(Figure::Span { seconds, unit, .. }), Some(Figure::Span { seconds: sum, unit: least, places: 0 }))
                if joined && unit < *least =>
            {
                *sum += seconds;
                *least = unit;
                end_of_span = Some(end);
            }
            (Some(figure), _) => {
                end_of_span = matches!(figure, Figure::Span { .. }).then_some(end);
                figures.push(figure);
            }
            (None, _) => {}
        }
        at = end;
    }
    match lower[at..].find(|letter: char| letter.is_ascii_digit()) {
        Some(stray) => Err(around(&lower, at + stray)),
        None => Ok(figures),
    }
}

/// The figure of a match and where it ends; no figure where a word was one of the language, not of arithmetic.
fn token(found: &Captures) -> Option<(Option<Figure>, usize)> {
    let end = found.get(0)?.end();
    let text = |name: &str| found.name(name).map(|part| part.as_str());
    let whole = |name: &str| text(name).and_then(|text| text.parse::<u32>().ok());
    let month = |name: &str| MONTHS.iter().position(|month| Some(*month) == text(name)).map(|index| index as u32 + 1);
    let year = |name: &str| text(name).and_then(|text| text.parse().ok());
    if text("iso").is_some() {
        return Some((Some(Figure::Date { month: whole("im")?, day: whole("id")?, year: year("iy") }), end));
    }
    if text("clock").is_some() {
        return Some((Some(Figure::Clock { hour: whole("ch")?, minute: whole("cm")? }), end));
    }
    if text("daymonth").is_some() {
        return Some((Some(Figure::Date { month: month("dm")?, day: whole("dd")?, year: year("dy") }), end));
    }
    if text("monthday").is_some() {
        return Some((Some(Figure::Date { month: month("mm")?, day: whole("md")?, year: year("my") }), end));
    }
    let number = text("number")?;
    let in_words = WORDS.iter().find(|(word, _)| *word == number).map(|(_, value)| *value);
    let value = match (number, in_words) {
        ("one", _) => 1.0,
        (_, Some(value)) => value,
        _ => number.replace(',', "").parse::<f64>().ok()?,
    };
    let places = number.split_once('.').map_or(0, |(_, places)| places.len() as i32);
    let unit = found.name("unit");
    let end = unit.or(found.name("number")).map_or(end, |part| part.end());
    let span = |unit: f64| Some(Figure::Span { seconds: value * unit, unit, places });
    let figure = match unit.map_or("", |unit| unit.as_str()) {
        "%" | "percent" | "per cent" | "percentage point" | "percentage points" => Some(Figure::Share { percent: value, places }),
        "µs" | "us" | "microsecond" | "microseconds" => span(1e-6),
        "ms" | "millisecond" | "milliseconds" => span(1e-3),
        "s" | "sec" | "secs" | "second" | "seconds" => span(1.0),
        "min" | "mins" | "minute" | "minutes" => span(60.0),
        "h" | "hr" | "hrs" | "hour" | "hours" => span(3_600.0),
        "d" | "day" | "days" => span(86_400.0),
        "week" | "weeks" => span(604_800.0),
        "times" | "×" | "x" | "fold" => Some(Figure::Factor { value, places }),
        "more" | "other" | "others" => Some(Figure::More(value as u64)),
        // "One" is a pronoun as often as a figure.
        "" if number == "one" => None,
        _ => Some(Figure::Count { value, places }),
    };
    Some((figure, end))
}

fn around(text: &str, at: usize) -> String {
    let shown: String = text[at..].chars().take_while(|letter| !letter.is_whitespace()).take(24).collect();
    format!("the figure {shown:?} cannot be read")
}

/// Refuses the first figure that the facts do not hold.
pub fn figures(text: &str, known: &Known) -> Result<(), String> {
    let lower = text.to_lowercase();
    let of_measuring = ["measur", "cover"].iter().any(|word| lower.contains(word));
    for figure in read(text)? {
        let measured = matches!(figure, Figure::Share { percent: 100.0, .. }) && known.all_measured && of_measuring;
        if !measured && !holds(&figure, known) {
            return Err(format!("{} is in no fact", told(&figure)));
        }
    }
    if let Some(vague) = VAGUE.find(&lower) {
        return Err(format!("{:?} cannot be held against the facts", vague.as_str()));
    }
    for word in RELATIVE.find_iter(&lower) {
        let (factor, share) = match word.as_str() {
            "doubled" | "doubling" | "double" | "twofold" => (2.0, None),
            "tripled" | "triple" | "threefold" => (3.0, None),
            "quadrupled" => (4.0, None),
            "a quarter" => (0.25, Some(25.0)),
            "a third" => (1.0 / 3.0, Some(33.3)),
            _ => (0.5, Some(50.0)),
        };
        let of_factors = known.factors.iter().any(|known| (known / factor - 1.0f64).abs() <= 0.15);
        let of_shares = share.is_some_and(|share: f64| known.shares.iter().any(|known| (known - share).abs() <= 2.5));
        if !of_factors && !of_shares {
            return Err(format!("{:?} is in no fact", word.as_str()));
        }
    }
    Ok(())
}

fn holds(figure: &Figure, known: &Known) -> bool {
    let rounded = |value: f64, told: f64, places: i32| (value - told).abs() <= 0.5 * 10f64.powi(-places) + 1e-9;
    match *figure {
        Figure::Clock { hour, minute } => known.moments.iter().any(|at| {
            let at = at.datetime();
            let off = (i64::from(hour * 60 + minute) - i64::from(at.hour() * 60 + at.minute())).rem_euclid(1_440);
            hour < 24 && minute < 60 && matches!(off, 0 | 1 | 1_439)
        }),
        Figure::Date { month, day, year } => known.moments.iter().any(|at| {
            let at = at.datetime();
            at.month() == month && at.day() == day && year.is_none_or(|year| at.year() == year)
        }),
        Figure::Share { percent, places } => known.shares.iter().any(|share| {
            let whole = percent >= 100.0 && *share < 100.0 || percent <= 0.0 && *share > 0.0;
            !whole && (rounded(*share, percent, places) || places > 0 && (share - percent).abs() < 10f64.powi(-places))
        }),
        Figure::Span { seconds, unit, places } => known.seconds.iter().any(|known| {
            let least = unit * 0.5 * 10f64.powi(-places);
            // What takes less than ten seconds is a latency: of it a unit would be too much.
            let slack = if *known < 10.0 { least.min(known * 0.05) } else { least.max(1.0) };
            (known - seconds).abs() <= slack.max(known * 0.005) + 1e-9 && seconds > 0.0
        }),
        Figure::Factor { value, places } => {
            known.factors.iter().any(|factor| rounded(*factor, value, places))
                || value.fract() == 0.0 && known.counts.contains(&(value as u64))
        }
        Figure::Count { value, places } => places == 0 && count_holds(value as u64, known),
        Figure::More(count) => known.counts.contains(&count) || known.groups.iter().any(|group| *group > count && group - count <= 8),
    }
}

fn count_holds(count: u64, known: &Known) -> bool {
    if known.counts.contains(&count) {
        return true;
    }
    if (1_970..=2_100).contains(&count) && known.moments.iter().any(|at| at.datetime().year() as u64 == count) {
        return true;
    }
    let mut step = 1;
    while count >= 1_000 && count.is_multiple_of(step * 10) && step * 100 <= count {
        step *= 10;
    }
    step > 1 && known.counts.iter().any(|known| known.abs_diff(count) * 2 <= step)
}

fn told(figure: &Figure) -> String {
    match figure {
        Figure::Clock { hour, minute } => format!("the time {hour:02}:{minute:02}"),
        Figure::Date { month, day, .. } => format!("the date {day}.{month}."),
        Figure::Share { percent, .. } => format!("{percent}%"),
        Figure::Span { seconds, .. } => format!("the span of {seconds} s"),
        Figure::Factor { value, .. } => format!("{value} times"),
        Figure::Count { value, .. } => format!("the number {value}"),
        Figure::More(count) => format!("\"{count} more\""),
    }
}
