//! Times, spans, shares and sizes as people read them.

use std::fmt;
use std::time::Duration;

use chrono::Timelike;

use crate::model::time::Timestamp;
use crate::web::text::Text;

/// An instant: in UTC as it stands, in the viewer's zone where a script may. As markup, safe as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    pub at: Timestamp,
    kind: &'static str,
}

impl Moment {
    /// Day and time.
    pub fn full(at: Timestamp) -> Moment {
        Moment { at, kind: "full" }
    }

    /// The time of day; the day where it is not today's.
    pub fn short(at: Timestamp) -> Moment {
        Moment { at, kind: "short" }
    }

    /// How long ago.
    pub fn ago(at: Timestamp) -> Moment {
        Moment { at, kind: "ago" }
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (exact, at) = (self.at.rfc3339(), self.at.datetime());
        let text = match self.kind {
            "short" => at.format("%H:%M UTC"),
            _ if at.second() == 0 => at.format("%Y-%m-%d %H:%M UTC"),
            _ => at.format("%Y-%m-%d %H:%M:%S UTC"),
        };
        write!(out, "<time datetime=\"{exact}\" data-time=\"{}\" title=\"{exact}\">{text}</time>", self.kind)
    }
}

/// Milliseconds as short as they are clear: `0.8 ms`, `12 ms`, `1.35 s`.
pub fn latency(us: f64) -> String {
    let ms = us / 1e3;
    match ms {
        ..0.95 => format!("{ms:.1} ms"),
        ..999.5 => format!("{ms:.0} ms"),
        ..9_995.0 => format!("{:.2} s", ms / 1e3),
        _ => format!("{:.1} s", ms / 1e3),
    }
}

pub fn latency_of(span: Duration) -> String {
    latency(span.as_micros() as f64)
}

/// A share as a percentage that never says 100 where something is missing: `99.98 %`.
pub fn percent(share: f64) -> String {
    let share = share.clamp(0.0, 1.0);
    if share == 1.0 {
        return "100 %".to_owned();
    }
    if share == 0.0 {
        return "0 %".to_owned();
    }
    if share < 0.001 {
        return "< 0.1 %".to_owned();
    }
    // Downwards, so that nothing is told better than it was.
    let digits = if share >= 0.99 { 2 } else { 1 };
    let scale = f64::powi(10.0, digits);
    format!("{:.*} %", digits as usize, (share * 100.0 * scale).floor() / scale)
}

/// A span in its two largest units: `3 d 4 h`, `12 min`, `8 s`.
pub fn span(t: Text, span: Duration) -> String {
    let seconds = span.as_secs();
    let units = [("unit.day", 86_400), ("unit.hour", 3_600), ("unit.minute", 60), ("unit.second", 1)];
    let first = units.iter().position(|(_, size)| seconds >= *size).unwrap_or(3);
    let (name, size) = units[first];
    let mut text = format!("{} {}", seconds / size, t.s(name));
    if let Some((name, smaller)) = units.get(first + 1)
        && first < 2
        && (seconds % size) / smaller > 0
    {
        text.push_str(&format!(" {} {}", (seconds % size) / smaller, t.s(name)));
    }
    text
}

/// Bytes with a unit of 1024: `640 B`, `2.4 KiB`.
pub fn bytes(count: u64) -> String {
    let units = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut value = count as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < units.len() {
        value /= 1024.0;
        unit += 1;
    }
    if unit == 0 { format!("{count} B") } else { format!("{value:.1} {}", units[unit]) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::web::text::Lang;

    #[test]
    fn figures_read_as_people_write_them() {
        for (us, text) in [(420.0, "0.4 ms"), (12_345.0, "12 ms"), (999_400.0, "999 ms"), (999_600.0, "1.00 s"), (12_340_000.0, "12.3 s")] {
            assert_eq!(latency(us), text);
        }
        for (share, text) in [
            (1.0, "100 %"),
            (0.999_99, "99.99 %"),
            (0.9876, "98.7 %"),
            (0.0, "0 %"),
            (0.5, "50.0 %"),
            (0.000_4, "< 0.1 %"),
            (0.999_949, "99.99 %"),
        ] {
            assert_eq!(percent(share), text);
        }
        let english = Text(Lang::English);
        for (seconds, text) in
            [(0, "0 s"), (59, "59 s"), (60, "1 min"), (150, "2 min"), (3_700, "1 h 1 min"), (90_000, "1 d 1 h"), (86_400, "1 d")]
        {
            assert_eq!(span(english, Duration::from_secs(seconds)), text);
        }
        assert_eq!((bytes(640), bytes(2_458)), ("640 B".to_owned(), "2.4 KiB".to_owned()));
    }

    #[test]
    fn an_instant_is_marked_up_with_its_exact_time() {
        let at = Timestamp::parse("2026-11-22T14:02:00Z").expect("it is a time");
        insta::assert_snapshot!(Moment::short(at).to_string(), @r#"<time datetime="2026-11-22T14:02:00.000Z" data-time="short" title="2026-11-22T14:02:00.000Z">14:02 UTC</time>"#);
    }
}
