//! Small pictures of a row: the strip of 24 hours, or of the last one, and the line of its latency. As markup, safe as it is; colours and weights
//! are the style sheet's.
//!
//! A run of like cells is one line that the style sheet dashes into cells, so that a quiet day costs a few bytes however many
//! services there are. Heights differ with the state, so that no one needs the colours.

use std::fmt::Write;

use crate::aggregate::strip::Cell;
use crate::model::incident::Severity;
use crate::model::time::Timestamp;
use crate::store::incidents::IncidentSpan;
use crate::web::moment::latency_apart;

/// From one cell to the next; the style sheet draws 4 and leaves 2.
pub const STEP: usize = 6;

/// What a cell of a strip says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Nobody measured.
    Unknown,
    Up,
    /// Some checks failed, or were slow.
    Partly,
    /// There was an incident.
    Down,
    /// It was worked on.
    Maintenance,
}

impl State {
    pub fn letter(self) -> char {
        match self {
            State::Unknown => 'n',
            State::Up => 'u',
            State::Partly => 'p',
            State::Down => 'd',
            State::Maintenance => 'm',
        }
    }
}

/// The states of cells, the first of which begins at `first`, each lasting `step` microseconds.
pub fn states(cells: &[Cell], incidents: &[&IncidentSpan], first: Timestamp, step: i64) -> Vec<State> {
    let state = |(place, cell): (usize, &Cell)| {
        let start = first.0 + place as i64 * step;
        let overlaps = |span: &&&IncidentSpan| span.opened_at.0 < start + step && span.closed_at.is_none_or(|closed| closed.0 > start);
        let worst = incidents.iter().filter(overlaps).map(|span| span.severity).max();
        match (cell.checks, worst) {
            (0, _) => State::Unknown,
            (_, Some(Severity::Critical)) => State::Down,
            (_, Some(Severity::Warning)) => State::Partly,
            (checks, None) if cell.failures == checks => State::Down,
            _ if cell.failures > 0 || cell.slow > 0 => State::Partly,
            _ => State::Up,
        }
    };
    cells.iter().enumerate().map(state).collect()
}

/// The strip of the last 24 hours; `label` says in words what it is.
pub fn strip(states: &[State], label: &str) -> String {
    drawn(states, label, "")
}

/// The strip of a span that ends now and has cells of another length than half an hour; `note` is said with each of them.
pub fn strip_by(states: &[State], label: &str, step: i64, note: &str) -> String {
    let mut extent = format!(" data-step=\"{}\" data-note=\"", step / 1000);
    escape(note, &mut extent);
    extent.push('"');
    drawn(states, label, &extent)
}

/// The strip of any span: the first cell begins at `from`, each lasts `step` microseconds.
pub fn strip_over(states: &[State], label: &str, from: Timestamp, step: i64) -> String {
    drawn(states, label, &format!(" data-from=\"{}\" data-step=\"{}\"", from.0 / 1000, step / 1000))
}

fn drawn(states: &[State], label: &str, extent: &str) -> String {
    let width = states.len() * STEP;
    let mut markup =
        format!("<svg class=\"strip\" viewBox=\"0 0 {width} 20\" preserveAspectRatio=\"none\"{extent} role=\"img\" aria-label=\"");
    escape(label, &mut markup);
    markup.push_str("\">");
    for state in [State::Up, State::Partly, State::Down, State::Maintenance, State::Unknown] {
        let mut path = String::new();
        let mut place = 0;
        while place < states.len() {
            let run = states[place..].iter().take_while(|other| **other == state).count();
            if run > 0 {
                let _ = write!(path, "M{} 10h{}", place * STEP + 1, run * STEP - 2);
            }
            place += run.max(1);
        }
        if !path.is_empty() {
            let _ = write!(markup, "<path class=\"{}\" d=\"{path}\"/>", state.letter());
        }
    }
    markup.push_str("</svg>");
    markup
}

/// A line through values from the left to the right; gaps where there are none, and a short dash where one stands alone.
pub fn sparkline(values: &[Option<f64>]) -> String {
    let known = values.iter().flatten();
    let (low, high) = known.clone().fold((f64::MAX, f64::MIN), |(low, high), value| (low.min(*value), high.max(*value)));
    if known.count() == 0 {
        return String::new();
    }
    // A line that hardly moves stays flat, whatever its height.
    let range = (high - low).max(high * 0.2).max(1.0);
    let step = 4;
    let mut path = String::new();
    let mut before: Option<(usize, i64)> = None;
    for (place, value) in values.iter().enumerate() {
        let Some(value) = value else {
            before = None;
            continue;
        };
        let (x, y) = (place * step + 1, 17 - ((value - low) / range * 14.0).round() as i64);
        match before {
            Some((_, last)) => {
                let _ = write!(path, "l{step} {}", y - last);
            }
            None => {
                let alone = values.get(place + 1).is_none_or(Option::is_none);
                let _ = if alone { write!(path, "M{} {y}h2", x - 1) } else { write!(path, "M{x} {y}") };
            }
        }
        before = Some((x, y));
    }
    let width = values.len() * step;
    format!("<svg class=\"spark\" viewBox=\"0 0 {width} 20\" preserveAspectRatio=\"none\" aria-hidden=\"true\"><path d=\"{path}\"/></svg>")
}

/// Two lines to one scale: how it went, and behind it how it went in the period before. `None` where nothing was measured;
/// nothing at all where there is too little to draw. `label` says in words what it is.
pub fn course(before: &[Option<f64>], now: &[Option<f64>], label: &str) -> String {
    course_with(before, now, label, "")
}

/// What each point of a course says, for a script that reads it out.
pub struct Told<'a> {
    /// The beginning of the first, and the microseconds each lasts.
    pub from: Timestamp,
    pub step: i64,
    /// What the line is called, and the one before.
    pub names: [&'a str; 2],
    /// Said where neither was measured.
    pub none: &'a str,
}

/// The same, with what its points say.
pub fn told_course(before: &[Option<f64>], now: &[Option<f64>], label: &str, told: &Told<'_>) -> String {
    let mut carried = format!(" data-from=\"{}\" data-step=\"{}\" data-keys=\"", told.from.0 / 1000, told.step / 1000);
    escape(&format!("median:{}|before:{}", told.names[0], told.names[1]), &mut carried);
    carried.push_str("\" data-tips=\"");
    let ticks = Extent::of(before, now).map(|extent| extent.ticks()).unwrap_or_default();
    let apart = ticks.windows(2).map(|pair| pair[1].0 - pair[0].0).next().unwrap_or(f64::INFINITY);
    let known = |us: Option<f64>| us.map(|us| latency_apart(us, apart)).unwrap_or_default();
    let tip = |(place, now): (usize, &Option<f64>)| match (*now, before.get(place).copied().flatten()) {
        (None, None) => told.none.to_owned(),
        (now, before) => format!("|{}|{}", known(now), known(before)),
    };
    escape(&now.iter().enumerate().map(tip).collect::<Vec<_>>().join("\n"), &mut carried);
    carried.push('"');
    let drawn = course_with(before, now, label, &carried);
    if drawn.is_empty() {
        return drawn;
    }
    // The line is stretched to the width there is; the words of its scale lie over it and are not.
    let mut markup = format!("<div class=\"scaled\">{drawn}<svg class=\"scale\" width=\"100%\" height=\"100%\" aria-hidden=\"true\">");
    for (value, y) in ticks {
        let share = y / 0.6;
        let text = latency_apart(value, apart);
        let _ = write!(markup, "<line class=\"grid\" x1=\"0\" x2=\"100%\" y1=\"{share:.1}%\" y2=\"{share:.1}%\"/>");
        let _ = write!(markup, "<text class=\"value\" x=\"2\" y=\"{share:.1}%\" dy=\"-3\">{text}</text>");
    }
    markup.push_str("</svg></div>");
    markup
}

/// What the lines of a course are drawn between.
struct Extent {
    low: f64,
    range: f64,
}

impl Extent {
    /// `None`: there is nothing to draw.
    fn of(before: &[Option<f64>], now: &[Option<f64>]) -> Option<Extent> {
        let known = || before.iter().chain(now).flatten().copied();
        let (low, high) = (known().reduce(f64::min)?, known().reduce(f64::max)?);
        // A line that hardly moves stays flat, whatever its height.
        Some(Extent { low, range: (high - low).max(high * 0.2).max(1.0) })
    }

    /// From 6 at the top to 54.
    fn y(&self, value: f64) -> f64 {
        54.0 - (value - self.low) / self.range * 48.0
    }

    /// A few round values, and where they lie.
    fn ticks(&self) -> Vec<(f64, f64)> {
        let power = f64::powf(10.0, (self.range / 2.0).log10().floor());
        let steps = [1.0, 2.0, 2.5, 5.0, 10.0].map(|factor| factor * power);
        let step = steps.into_iter().find(|step| self.range / step <= 3.0).unwrap_or(self.range);
        let first = (self.low / step).ceil() as i64;
        let values = (first..).map(|count| count as f64 * step).take_while(|value| *value <= self.low + self.range);
        values.map(|value| (value, self.y(value))).collect()
    }
}

fn course_with(before: &[Option<f64>], now: &[Option<f64>], label: &str, told: &str) -> String {
    let Some(extent) = Extent::of(before, now).filter(|_| now.iter().flatten().count() > 1) else { return String::new() };
    let line = |values: &[Option<f64>]| {
        let mut path = String::new();
        let mut gap = true;
        for (place, value) in values.iter().enumerate() {
            if let Some(value) = value {
                let (x, y) = (place * 10 + 5, extent.y(*value).round() as i64);
                // A point between two gaps is a short dash.
                let _ = if gap { write!(path, "M{} {y}H{}", x - 2, x + 2) } else { write!(path, "L{x} {y}") };
            }
            gap = value.is_none();
        }
        path
    };
    let width = before.len().max(now.len()) * 10;
    let mut markup =
        format!("<svg class=\"course\" viewBox=\"0 0 {width} 60\" preserveAspectRatio=\"none\"{told} role=\"img\" aria-label=\"");
    escape(label, &mut markup);
    let _ = write!(markup, "\"><path class=\"before\" d=\"{}\"/><path class=\"now\" d=\"{}\"/>", line(before), line(now));
    if !told.is_empty() {
        markup.push_str("<line class=\"cross\" x1=\"0\" x2=\"0\" y1=\"0\" y2=\"60\" visibility=\"hidden\"/>");
    }
    markup.push_str("</svg>");
    markup
}

/// A bar that is filled by a share, 0 to 1. What it says stands beside it in words, so it is none for those who hear a page.
pub fn meter(share: f64, tone: &str) -> String {
    let filled = (share.clamp(0.0, 1.0) * 1000.0).round();
    format!(
        "<svg class=\"meter\" viewBox=\"0 0 1000 10\" preserveAspectRatio=\"none\" aria-hidden=\"true\"><rect class=\"hollow\" width=\"1000\" \
         height=\"10\"/><rect class=\"{tone}\" width=\"{filled}\" height=\"10\"/></svg>"
    )
}

/// Phases side by side, each as wide as its part of the whole; what each says, in words, is `label`.
pub fn phase_bar(parts: &[(&'static str, f64)], label: &str) -> String {
    let whole: f64 = parts.iter().map(|(_, part)| part).sum();
    if whole <= 0.0 {
        return String::new();
    }
    let mut markup = "<svg class=\"phases\" viewBox=\"0 0 1000 10\" preserveAspectRatio=\"none\" role=\"img\" aria-label=\"".to_owned();
    escape(label, &mut markup);
    markup.push_str("\">");
    let mut x = 0.0;
    for (name, part) in parts {
        let width = part / whole * 1000.0;
        if width > 0.0 {
            let _ = write!(markup, "<rect class=\"phase {name}\" x=\"{x:.0}\" y=\"0\" width=\"{:.0}\" height=\"10\"/>", width.max(4.0));
        }
        x += width;
    }
    markup.push_str("</svg>");
    markup
}

/// Text inside an attribute.
pub fn escape(text: &str, out: &mut String) {
    for letter in text.chars() {
        match letter {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            letter => out.push(letter),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aggregate::strip::{CELL, CELLS};
    use crate::model::id::ServiceId;
    use crate::model::incident::IncidentId;

    #[test]
    fn a_run_of_like_cells_is_one_line() {
        let states = [State::Up, State::Up, State::Down, State::Unknown, State::Up];
        insta::assert_snapshot!(strip(&states, "24 h, \"odd\""), @r#"<svg class="strip" viewBox="0 0 30 20" preserveAspectRatio="none" role="img" aria-label="24 h, &quot;odd&quot;"><path class="u" d="M1 10h10M25 10h4"/><path class="d" d="M13 10h4"/><path class="n" d="M19 10h4"/></svg>"#);
    }

    #[test]
    fn a_strip_of_other_cells_says_how_long_they_are() {
        let markup = strip_by(&[State::Up], "x", 60_000_000, "last \"hour\"");
        assert!(markup.contains("data-step=\"60000\" data-note=\"last &quot;hour&quot;\""), "{markup}");
    }

    #[test]
    fn a_cell_shows_the_worst_of_its_half_hour_and_nothing_where_nobody_measured() {
        let mut cells = [Cell { checks: 10, ..Cell::default() }; CELLS];
        cells[0].checks = 0;
        cells[1].failures = 1;
        cells[2].failures = 10;
        cells[6].slow = 1;
        let first = Timestamp(0);
        let incident = |severity, from: i64, to: Option<i64>| IncidentSpan {
            id: IncidentId("one".into()),
            service: ServiceId(1),
            severity,
            opened_at: Timestamp(from * CELL + 1),
            closed_at: to.map(|to| Timestamp(to * CELL - 1)),
        };
        let (short, open) = (incident(Severity::Critical, 4, Some(5)), incident(Severity::Warning, 46, None));
        let shown = states(&cells, &[&short, &open], first, CELL);
        let (n, u, p, d) = (State::Unknown, State::Up, State::Partly, State::Down);
        assert_eq!(shown[..7], [n, p, d, u, d, u, p]);
        assert_eq!(shown[45..], [u, p, p]);
    }

    #[test]
    fn two_lines_share_a_scale_and_a_lone_point_is_seen() {
        assert_eq!(course(&[Some(5.0), Some(6.0)], &[Some(5.0), None], "x"), "");
        let markup = course(&[Some(100.0), None, Some(100.0)], &[Some(200.0), Some(100.0), None], "a \"b\"");
        assert!(
            markup.contains("class=\"before\" d=\"M3 54H7M23 54H27\"") && markup.contains("class=\"now\" d=\"M3 6H7L15 54\""),
            "{markup}"
        );
        assert!(markup.contains("aria-label=\"a &quot;b&quot;\""), "{markup}");
        assert!(meter(1.7, "up").contains("class=\"up\" width=\"1000\"") && meter(-3.0, "down").contains("class=\"down\" width=\"0\""));
    }

    #[test]
    fn a_course_says_what_each_of_its_points_was_and_what_was_there_before() {
        let told = Told { from: Timestamp(60_000_000), step: 60_000_000, names: ["now", "<before>"], none: "nothing" };
        let markup = told_course(&[Some(5_000.0), None], &[Some(12_000.0), None, Some(20_000.0)], "x", &told);
        for part in [
            "data-from=\"60000\" data-step=\"60000\" data-keys=\"median:now|before:&lt;before&gt;\"",
            "data-tips=\"|12 ms|5 ms\nnothing\n|20 ms|\"",
            "class=\"cross\"",
            ">10 ms</text>",
            ">15 ms</text>",
            ">20 ms</text>",
        ] {
            assert!(markup.contains(part), "{part} in {markup}");
        }
    }

    #[test]
    fn a_line_has_gaps_where_nothing_was_measured() {
        assert_eq!(sparkline(&[None, None]), "");
        // The first check of all is seen.
        assert!(sparkline(&[None, Some(5.0)]).contains("d=\"M4 17h2\""), "{}", sparkline(&[None, Some(5.0)]));
        let markup = sparkline(&[Some(10.0), Some(20.0), None, Some(10.0)]);
        assert!(markup.contains("d=\"M1 17l4 -14M12 17h2\""), "{markup}");
    }
}
