//! Figures as people say them: counts, lists, spans, times in UTC, shares, latencies. All of it in one place, so that two
//! sentences never say the same figure in two ways.

use std::time::Duration;

use crate::model::time::Timestamp;

/// Up to twelve in words, larger ones in digits.
pub fn number(count: u64) -> String {
    const WORDS: [&str; 13] = ["no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"];
    match WORDS.get(count as usize) {
        Some(word) => (*word).to_owned(),
        None => grouped(count),
    }
}

/// Digits with commas between groups of three.
pub fn grouped(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Such as `no incidents`, `one incident`, `13 incidents`.
pub fn counted(count: u64, one: &str, many: &str) -> String {
    format!("{} {}", number(count), if count == 1 { one } else { many })
}

/// `a`, `a and b`, `a, b and c`, or with more than `most` of them `a, b and 5 more`.
pub fn list(names: &[String], most: usize) -> String {
    let most = most.max(1);
    if names.len() > most {
        let shown = most.saturating_sub(1).max(1);
        return format!("{} and {} more", names[..shown].join(", "), number((names.len() - shown) as u64));
    }
    match names {
        [] => String::new(),
        [one] => one.clone(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

/// The two largest units, such as `45 seconds`, `12 minutes`, `1 hour 20 minutes`, `2 days 4 hours`.
pub fn span(span: Duration) -> String {
    let seconds = span.as_secs() + u64::from(span.subsec_millis() >= 500);
    let unit = |count: u64, name: &str| format!("{count} {name}{}", if count == 1 { "" } else { "s" });
    let pair = |large: u64, name: &str, small: u64, lesser: &str| match small {
        0 => unit(large, name),
        _ => format!("{} {}", unit(large, name), unit(small, lesser)),
    };
    match seconds {
        0 => "less than a second".to_owned(),
        1..120 => unit(seconds, "second"),
        120..3600 => unit((seconds + 30) / 60, "minute"),
        3600..172_800 => {
            let minutes = (seconds + 30) / 60;
            pair(minutes / 60, "hour", minutes % 60, "minute")
        }
        _ => {
            let hours = (seconds + 1800) / 3600;
            pair(hours / 24, "day", hours % 24, "hour")
        }
    }
}

/// Such as `08:14 UTC on 22 November`.
pub fn moment(at: Timestamp) -> String {
    at.datetime().format("%H:%M UTC on %-d %B").to_string()
}

/// Such as `from 08:14 to 09:02 UTC on 22 November`; both days where they differ.
pub fn between(since: Timestamp, until: Timestamp) -> String {
    let (from, to) = (since.datetime(), until.datetime());
    match from.date_naive() == to.date_naive() {
        true => format!("from {} to {}", from.format("%H:%M"), moment(until)),
        false => format!("from {} to {}", from.format("%H:%M on %-d %B"), moment(until)),
    }
}

/// Such as `22 November`.
pub fn day(at: Timestamp) -> String {
    at.datetime().format("%-d %B").to_string()
}

/// A share that is never rounded up to all, nor down to nothing.
pub fn percent(share: f64) -> String {
    let share = share.clamp(0.0, 1.0) * 100.0;
    let told = match share {
        100.0 => return "100%".to_owned(),
        0.0 => return "0%".to_owned(),
        99.0..100.0 => format!("{:.3}", ((share * 1000.0 + 1e-6).floor() / 1000.0).min(99.999)),
        10.0..99.0 => format!("{share:.1}"),
        0.01..10.0 => format!("{share:.2}"),
        _ => return "less than 0.01%".to_owned(),
    };
    format!("{}%", told.trim_end_matches('0').trim_end_matches('.'))
}

/// Microseconds as `850 µs`, `85 ms`, `1.2 s`.
pub fn latency(us: f64) -> String {
    match us {
        ..999.5 => format!("{us:.0} µs"),
        ..9_950.0 => format!("{:.1} ms", us / 1e3).replace(".0 ms", " ms"),
        ..999_500.0 => format!("{:.0} ms", us / 1e3),
        ..9_950_000.0 => format!("{:.1} s", us / 1e6).replace(".0 s", " s"),
        _ => format!("{:.0} s", us / 1e6),
    }
}

/// Such as `2.4 times`.
pub fn times(factor: f64) -> String {
    if factor >= 10.0 { format!("{factor:.0} times") } else { format!("{} times", format!("{factor:.1}").replace(".0", "")) }
}

/// With its first letter in upper case, as a sentence begins.
pub fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_said_as_people_say_them() {
        let seconds = |seconds: u64| span(Duration::from_secs(seconds));
        assert_eq!([number(0), number(1), number(12), number(13), number(1_234_567)], ["no", "one", "twelve", "13", "1,234,567"]);
        assert_eq!([counted(0, "incident", "incidents"), counted(1, "incident", "incidents")], ["no incidents", "one incident"]);
        assert_eq!([seconds(1), seconds(119), seconds(120), seconds(3_599)], ["1 second", "119 seconds", "2 minutes", "60 minutes"]);
        assert_eq!([seconds(3_600), seconds(4_810), seconds(190_000)], ["1 hour", "1 hour 20 minutes", "2 days 5 hours"]);
        let names: Vec<String> = ["a", "b", "c", "d"].map(str::to_owned).to_vec();
        assert_eq!([list(&names[..1], 3), list(&names[..2], 3), list(&names[..3], 3)], ["a", "a and b", "a, b and c"]);
        assert_eq!(list(&names, 3), "a, b and two more");
        assert_eq!(
            [percent(1.0), percent(0.999_999_9), percent(0.9996), percent(0.5), percent(0.000_01)],
            ["100%", "99.999%", "99.96%", "50%", "less than 0.01%"]
        );
        assert_eq!([latency(850.0), latency(85_400.0), latency(1_240_000.0)], ["850 µs", "85 ms", "1.2 s"]);
        let at = |text: &str| Timestamp::parse(text).unwrap();
        assert_eq!(
            between(at("2026-11-21T23:50:00Z"), at("2026-11-22T00:20:00Z")),
            "from 23:50 on 21 November to 00:20 UTC on 22 November"
        );
        assert_eq!(between(at("2026-11-22T08:14:00Z"), at("2026-11-22T09:02:00Z")), "from 08:14 to 09:02 UTC on 22 November");
    }
}
