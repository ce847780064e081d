//! Times, spans, shares and sizes as people read them.

use std::fmt;
use std::time::Duration;

use chrono::Timelike;

use crate::aggregate::rollup::{HOUR, floor};
use crate::model::time::Timestamp;
use crate::store::rollups::WindowUptime;
use crate::web::text::{Lang, Text};

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

/// The same with as many decimals as tell apart two that lie so far from each other.
pub fn latency_apart(us: f64, apart_us: f64) -> String {
    match (us, apart_us) {
        (999_500.0.., _) | (_, 950.0.. | 0.0) => latency(us),
        (_, 95.0..) => format!("{:.1} ms", us / 1e3),
        _ => format!("{:.2} ms", us / 1e3),
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

/// Of what came within a span of so long that ends now: the measured part of the time since it came, and when that was.
pub fn since_made(coverage: f64, whole: Duration, made: Timestamp, now: Timestamp) -> (f64, Option<Timestamp>) {
    of_life(coverage, whole, now.since(made), made)
}

fn of_life(coverage: f64, whole: Duration, there: Duration, made: Timestamp) -> (f64, Option<Timestamp>) {
    if there >= whole {
        return (coverage, None);
    }
    ((coverage * whole.as_secs_f64() / there.as_secs_f64().max(1.0)).min(1.0), Some(made))
}

/// The same of a window's uptime that was worked out at an instant, which may be a while ago.
pub fn since_made_of(uptime: &WindowUptime, at: Timestamp, made: Timestamp) -> (f64, Option<Timestamp>) {
    // Windows begin with a full hour, and maintenance is none of their time.
    let whole = at.since(Timestamp(floor(at.minus(uptime.window), HOUR))).saturating_sub(uptime.maintenance);
    of_life(uptime.coverage, whole, at.since(made).saturating_sub(uptime.maintenance), made)
}

/// How much was measured, and since when it is counted where that is not the whole span.
pub fn measured(t: Text, (coverage, since): (f64, Option<Timestamp>)) -> String {
    let Some(since) = since else { return t.one("overview.coverage", percent(coverage)) };
    t.with("overview.coverage_since", &[("day", &day_name(t, since)), ("share", &percent(coverage))])
}

/// A day of UTC: `22 Nov`, and where months have other names `2026-11-22`.
pub fn day_name(t: Text, at: Timestamp) -> String {
    at.datetime().format(if t.0 == Lang::English { "%-d %b" } else { "%Y-%m-%d" }).to_string()
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
        for (us, apart, text) in [
            (1_920.0, 500.0, "1.9 ms"),
            (1_920.0, 50.0, "1.92 ms"),
            (1_920.0, 5_000.0, "2 ms"),
            (1_920.0, 0.0, "2 ms"),
            (2_500_000.0, 50.0, "2.50 s"),
        ] {
            assert_eq!(latency_apart(us, apart), text);
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
    fn what_came_of_late_is_counted_since_it_came() {
        let now = Timestamp::parse("2026-11-22T20:00:00Z").expect("it is a time");
        let hours = |hours: u64| Duration::from_secs(hours * 3600);
        let english = |told| measured(Text(Lang::English), told);
        let month = hours(720);
        assert_eq!(english(since_made(0.9, month, now.minus(hours(800)), now)), "90.0 % measured");
        // Ten hours known of the ten there were are less than two in a hundred of a month, and yet all there was.
        assert_eq!(english(since_made(10.0 / 720.0, month, now.minus(hours(10)), now)), "since 22 Nov, 100 % measured");
        // What was worked out a minute after it came says the same ten hours later.
        let (at, known) = (now.minus(hours(9)), Duration::from_secs(60));
        let uptime = |whole: Duration| WindowUptime {
            window: hours(24),
            ratio: Some(1.0),
            coverage: known.as_secs_f64() / whole.as_secs_f64(),
            maintenance: Duration::ZERO,
        };
        // Half of its two hours were maintenance, and all of the rest is known.
        let worked = WindowUptime { maintenance: hours(1), coverage: 1.0 / 23.0, ..uptime(hours(24)) };
        let (share, since) = since_made_of(&worked, now, now.minus(hours(2)));
        assert!((share - 1.0).abs() < 1e-9 && since == Some(now.minus(hours(2))), "{share}");
        let (share, since) = since_made_of(&uptime(hours(24)), at, at.minus(known));
        assert!((share - 1.0).abs() < 1e-9 && since == Some(at.minus(known)), "{share}");
        assert_eq!(english(since_made(5.0 / 720.0, month, now.minus(hours(10)), now)), "since 22 Nov, 50.0 % measured");
    }

    #[test]
    fn an_instant_is_marked_up_with_its_exact_time() {
        let at = Timestamp::parse("2026-11-22T14:02:00Z").expect("it is a time");
        insta::assert_snapshot!(Moment::short(at).to_string(), @r#"<time datetime="2026-11-22T14:02:00.000Z" data-time="short" title="2026-11-22T14:02:00.000Z">14:02 UTC</time>"#);
    }
}
