//! Charts of latency over time, drawn on the server. As markup, safe as it is: all text in it is escaped here.
//!
//! The plot is stretched to whatever width there is; words and marks stand beside it by per cents, so that they are not. What
//! each point of the chart says is carried along for a script: its fields are parted by bars, its points by line feeds.

use std::fmt::Write;

use crate::model::time::Timestamp;
use crate::web::moment::latency;
use crate::web::svg::escape;
use crate::web::text::Text;

/// Units of the plot: one bucket's width, and its whole height.
pub const WIDE: usize = 10;
pub const HIGH: f64 = 1000.0;
/// With so many buckets the slowest two in a hundred may be cut off.
const MANY: usize = 50;
/// Ticks of time under a chart, at most.
const TICKS: i64 = 6;

pub const PHASES: [&str; 5] = ["dns", "connect", "tls", "first_byte", "transfer"];

/// One bucket of time.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Point {
    pub checks: u64,
    pub failures: u64,
    /// Microseconds; `None` where no check passed.
    pub p50: Option<f64>,
    pub p95: Option<f64>,
    pub p99: Option<f64>,
    /// The mean of each phase over the checks that passed; they add up to the mean latency.
    pub phases: [f64; 5],
}

/// A span marked over the plot.
#[derive(Clone, Debug, PartialEq)]
pub struct Mark {
    pub from: Timestamp,
    pub to: Timestamp,
    /// `incident` or `finding`
    pub kind: &'static str,
    pub text: String,
}

pub struct Chart<'a> {
    pub t: Text,
    pub label: &'a str,
    pub from: Timestamp,
    /// Microseconds of one bucket.
    pub step: i64,
    pub points: &'a [Point],
    /// The parts these points are the whole of, by name, where there is more than one.
    pub beside: &'a [(&'a str, &'a [Point])],
    pub marks: &'a [Mark],
    /// Pixels.
    pub height: u32,
    /// Phases stacked; else percentiles as bands.
    pub stacked: bool,
    /// The highest value all charts of a page are drawn to; `None`: this one's own.
    pub top: Option<f64>,
}

impl Chart<'_> {
    pub fn draw(&self) -> String {
        let count = self.points.len();
        let passed = self.points.iter().any(|point| point.p50.is_some());
        let top = self.top.unwrap_or_else(|| highest(self.points, !self.stacked)).max(1_000.0);
        let (ticks, top) = scale(top);
        // Where nothing passed there is nothing a scale would be of.
        let ticks = if passed { ticks } else { Vec::new() };
        let (plot_top, plot_high) = (10, self.height - 30);
        let mut out = String::with_capacity(8 << 10);
        let _ = write!(out, "<svg class=\"chart\" width=\"100%\" height=\"{}\" role=\"img\" aria-label=\"", self.height);
        escape(self.label, &mut out);
        let _ = write!(out, "\" data-from=\"{}\" data-step=\"{}\" data-keys=\"", self.from.0 / 1000, self.step / 1000);
        escape(&self.keys(), &mut out);
        out.push_str("\" data-tips=\"");
        escape(&self.tips(), &mut out);
        out.push_str("\" data-marks=\"");
        escape(&self.told_marks(), &mut out);
        out.push_str("\">");
        for tick in &ticks {
            let y = f64::from(plot_top) + f64::from(plot_high) * (1.0 - tick / top);
            let _ = write!(out, "<line class=\"grid\" x1=\"0\" x2=\"100%\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>");
        }
        let _ = write!(
            out,
            "<svg x=\"0\" y=\"{plot_top}\" width=\"100%\" height=\"{plot_high}\" viewBox=\"0 0 {} {HIGH}\" preserveAspectRatio=\"none\">",
            count * WIDE
        );
        for mark in self.marks.iter().filter(|mark| mark.kind != "finding") {
            let (x, width) = (self.place(mark.from), (self.place(mark.to) - self.place(mark.from)).max(1.5));
            let _ = write!(out, "<rect class=\"{}\" x=\"{x:.1}\" y=\"0\" width=\"{width:.1}\" height=\"{HIGH}\"/>", mark.kind);
        }
        match self.stacked {
            true => self.stack(top, &mut out),
            false => self.bands(top, &mut out),
        }
        for mark in self.marks.iter().filter(|mark| mark.kind == "finding") {
            let (x, width) = (self.place(mark.from), (self.place(mark.to) - self.place(mark.from)).max(1.5));
            let _ = write!(out, "<rect class=\"odd\" x=\"{x:.1}\" y=\"{:.0}\" width=\"{width:.1}\" height=\"20\"/>", HIGH - 20.0);
        }
        out.push_str("</svg>");
        for mark in self.marks.iter().filter(|mark| mark.kind == "finding") {
            let x = self.place(mark.from) / (count.max(1) * WIDE) as f64 * 100.0;
            let _ = write!(out, "<svg x=\"{x:.2}%\" y=\"2\" overflow=\"visible\"><path class=\"spot\" d=\"M0 0l6 6-6 6-6-6z\"><title>");
            escape(&mark.text, &mut out);
            out.push_str("</title></path></svg>");
        }
        self.cuts(top, plot_top, &mut out);
        for tick in ticks.into_iter().filter(|tick| *tick > 0.0) {
            let y = f64::from(plot_top) + f64::from(plot_high) * (1.0 - tick / top) - 3.0;
            let _ = write!(out, "<text class=\"value\" x=\"2\" y=\"{y:.1}\">{}</text>", tick_text(tick));
        }
        if !passed {
            let text = if self.points.iter().any(|point| point.checks > 0) { "chart.none_passed" } else { "chart.none" };
            let _ = write!(out, "<text class=\"value none\" x=\"50%\" y=\"{}\" text-anchor=\"middle\">", plot_top + plot_high / 2);
            escape(self.t.s(text), &mut out);
            out.push_str("</text>");
        }
        self.times(&mut out);
        out.push_str("<line class=\"cross\" x1=\"0\" x2=\"0\" y1=\"10\" y2=\"");
        let _ = write!(out, "{}\" visibility=\"hidden\"/></svg>", plot_top + plot_high);
        out
    }

    fn place(&self, at: Timestamp) -> f64 {
        let place = (at.0 - self.from.0) as f64 / self.step as f64 * WIDE as f64;
        place.clamp(0.0, (self.points.len() * WIDE) as f64)
    }

    /// Small marks at the upper edge where a value goes on beyond it, one for neighbours.
    fn cuts(&self, top: f64, plot_top: u32, out: &mut String) {
        let beyond: Vec<Option<f64>> =
            self.points.iter().map(|point| reaches(point, !self.stacked).filter(|value| *value > top * 1.001)).collect();
        for run in runs(&beyond) {
            let x = (run.start + run.end) as f64 / 2.0 / self.points.len() as f64 * 100.0;
            let most = beyond[run].iter().flatten().copied().fold(0.0, f64::max);
            let _ = write!(
                out,
                "<svg x=\"{x:.2}%\" y=\"{plot_top}\" overflow=\"visible\"><path class=\"cut\" d=\"M-4 5L0 -1L4 5z\"><title>{}</title></path></svg>",
                latency(most)
            );
        }
    }

    /// p99 over p95 over p50, as bands that grow paler, and the median as a line.
    fn bands(&self, top: f64, out: &mut String) {
        let value = |pick: fn(&Point) -> Option<f64>| self.points.iter().map(pick).collect::<Vec<_>>();
        let (p50, p95, p99) = (value(|point| point.p50), value(|point| point.p95), value(|point| point.p99));
        let zero: Vec<Option<f64>> = p50.iter().map(|value| value.map(|_| 0.0)).collect();
        for (class, low, high) in [("p99", &p95, &p99), ("p95", &p50, &p95), ("p50", &zero, &p50)] {
            let _ = write!(out, "<path class=\"band {class}\" d=\"{}\"/>", area(low, high, top));
        }
        let _ = write!(out, "<path class=\"median\" d=\"{}\"/>", line(&p50, top));
    }

    fn stack(&self, top: f64, out: &mut String) {
        let mut low: Vec<Option<f64>> = self.points.iter().map(|point| point.p50.map(|_| 0.0)).collect();
        for (phase, name) in PHASES.iter().enumerate() {
            let high: Vec<Option<f64>> = low.iter().zip(self.points).map(|(low, point)| low.map(|low| low + point.phases[phase])).collect();
            if self.points.iter().any(|point| point.phases[phase] > 0.0) {
                let _ = write!(out, "<path class=\"phase {name}\" d=\"{}\"/>", area(&low, &high, top));
            }
            low = high;
        }
        let p95: Vec<Option<f64>> = self.points.iter().map(|point| point.p95).collect();
        let _ = write!(out, "<path class=\"high\" d=\"{}\"/>", line(&p95, top));
    }

    fn times(&self, out: &mut String) {
        let whole = self.step * self.points.len() as i64;
        let seconds = [10, 30, 60, 120, 300, 600, 900, 1800, 3600, 2 * 3600, 4 * 3600, 6 * 3600, 12 * 3600];
        let days = [1, 2, 5, 7, 14, 30, 61, 122].map(|days| days * 86_400);
        let steps = seconds.into_iter().chain(days);
        let between = steps.map(|seconds| seconds * 1_000_000).find(|span| whole / span <= TICKS).unwrap_or(whole.max(1));
        let mut at = (self.from.0.div_euclid(between) + 1) * between;
        // On narrow screens there is room for every second one.
        let mut minor = "";
        while at < self.from.0 + whole - whole / 40 {
            let x = (at - self.from.0) as f64 / whole as f64 * 100.0;
            let instant = Timestamp(at);
            let (kind, format) = match between {
                ..60_000_000 => ("second", "%H:%M:%S"),
                60_000_000..86_400_000_000 => ("clock", "%H:%M"),
                _ => ("day", "%b %-d"),
            };
            let text = instant.datetime().format(format);
            let _ = write!(
                out,
                "<text class=\"time{minor}\" x=\"{x:.2}%\" y=\"{}\" text-anchor=\"middle\" data-at=\"{}\" data-kind=\"{kind}\">{text}</text>",
                self.height - 5,
                instant.rfc3339()
            );
            at += between;
            minor = if minor.is_empty() { " minor" } else { "" };
        }
    }

    /// The phases that happened at all.
    fn happened(&self) -> impl Iterator<Item = usize> {
        (0..PHASES.len()).filter(|phase| self.stacked && self.points.iter().any(|point| point.phases[*phase] > 0.0))
    }

    /// What the fields of a point are, but for the first: how each is drawn, and its name.
    fn keys(&self) -> String {
        let mut keys = vec!["median:p50".to_owned(), "p95:p95".to_owned(), "p99:p99".to_owned()];
        if self.stacked {
            keys = vec![":p50".to_owned(), "high:p95".to_owned(), ":p99".to_owned()];
        }
        keys.extend(self.happened().map(|phase| format!("{0}:{1}", PHASES[phase], self.t.word("phase", PHASES[phase]))));
        keys.extend(self.beside.iter().map(|(name, _)| format!(":{name} p50")));
        keys.join("|")
    }

    /// What each point says: how many checks, then what the keys are of.
    fn tips(&self) -> String {
        let known = |us: Option<f64>| us.map(latency).unwrap_or_default();
        let tip = |(place, point): (usize, &Point)| {
            if point.checks == 0 {
                return self.t.s("chart.none").to_owned();
            }
            let mut fields = vec![self.counts(point.checks, point.failures), known(point.p50), known(point.p95), known(point.p99)];
            fields.extend(self.happened().map(|phase| known((point.phases[phase] > 0.0).then_some(point.phases[phase]))));
            fields.extend(self.beside.iter().map(|(_, points)| known(points.get(place).and_then(|point| point.p50))));
            fields.join("|").trim_end_matches('|').to_owned()
        };
        self.points.iter().enumerate().map(tip).collect::<Vec<_>>().join("\n")
    }

    /// The marks and what they say, as a JSON list, times in milliseconds.
    fn told_marks(&self) -> String {
        let marks: Vec<_> = self.marks.iter().map(|mark| (mark.kind, mark.from.0 / 1000, mark.to.0 / 1000, &mark.text)).collect();
        serde_json::to_string(&marks).unwrap_or_default()
    }

    fn counts(&self, checks: u64, failures: u64) -> String {
        match failures {
            0 => self.t.count("chart.check", "chart.checks", checks),
            _ => self.t.with("chart.failed", &[("count", &checks.to_string()), ("failed", &failures.to_string())]),
        }
    }
}

/// The highest value a chart of these points shows; `bands` are drawn up to the 99th percentile.
pub fn highest(points: &[Point], bands: bool) -> f64 {
    let mut tops: Vec<f64> = points.iter().filter_map(|point| reaches(point, bands)).collect();
    tops.sort_by(f64::total_cmp);
    let most = tops.last().copied().unwrap_or(0.0);
    if tops.len() < MANY {
        return most;
    }
    // One slow bucket in many must not flatten all others: the scale ends where 98 of 100 buckets do, or a little above.
    let usual = tops.get((tops.len() - 1) * 98 / 100).copied().unwrap_or(0.0);
    most.min(usual * 1.6)
}

/// The highest value that is drawn of a point.
fn reaches(point: &Point, bands: bool) -> Option<f64> {
    match bands {
        true => point.p99,
        false => point.p95.map(|p95| p95.max(point.phases.iter().sum())),
    }
}

/// A value of the scale with as many places as tell it from the next.
fn tick_text(us: f64) -> String {
    let ms = us / 1e3;
    match ms {
        ..1.0 => format!("{ms:.2} ms"),
        ..999.5 if (ms - ms.round()).abs() > 0.05 => format!("{ms:.1} ms"),
        _ => latency(us),
    }
}

/// Round values from zero, and the top they end at.
fn scale(most: f64) -> (Vec<f64>, f64) {
    let power = f64::powf(10.0, (most / 3.0).log10().floor());
    let step = [1.0, 2.0, 2.5, 5.0, 10.0].into_iter().map(|factor| factor * power).find(|step| most / step <= 4.0).unwrap_or(most);
    let count = (most / step).ceil().max(1.0);
    ((0..=count as usize).map(|tick| tick as f64 * step).collect(), count * step)
}

fn y(value: f64, top: f64) -> i64 {
    (HIGH - (value / top).clamp(0.0, 1.0) * HIGH).round() as i64
}

/// Runs of neighbours that have a value.
fn runs(values: &[Option<f64>]) -> Vec<std::ops::Range<usize>> {
    let mut runs = Vec::new();
    let mut place = 0;
    while place < values.len() {
        let length = values[place..].iter().take_while(|value| value.is_some()).count();
        if length > 0 {
            runs.push(place..place + length);
        }
        place += length.max(1);
    }
    runs
}

/// A line through the middle of each bucket, level to the edges of a run.
pub fn line(values: &[Option<f64>], top: f64) -> String {
    let mut path = String::new();
    for run in runs(values) {
        for (index, place) in run.clone().enumerate() {
            let height = y(values[place].unwrap_or(0.0), top);
            if index == 0 {
                let _ = write!(path, "M{} {height}", place * WIDE);
            }
            let _ = write!(path, "L{} {height}", place * WIDE + WIDE / 2);
            if place + 1 == run.end {
                let _ = write!(path, "H{}", run.end * WIDE);
            }
        }
    }
    path
}

/// Between two such lines.
pub fn area(low: &[Option<f64>], high: &[Option<f64>], top: f64) -> String {
    let mut path = String::new();
    for run in runs(high) {
        let edge = |values: &[Option<f64>], place: usize| y(values[place].unwrap_or(0.0), top);
        let _ = write!(path, "M{} {}", run.start * WIDE, edge(high, run.start));
        for place in run.clone() {
            let _ = write!(path, "L{} {}", place * WIDE + WIDE / 2, edge(high, place));
        }
        let _ = write!(path, "H{}V{}", run.end * WIDE, edge(low, run.end - 1));
        for place in run.clone().rev() {
            let _ = write!(path, "L{} {}", place * WIDE + WIDE / 2, edge(low, place));
        }
        let _ = write!(path, "H{}z", run.start * WIDE);
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::web::text::Lang;

    fn point(us: f64) -> Point {
        Point {
            checks: 3,
            failures: 0,
            p50: Some(us),
            p95: Some(us * 2.0),
            p99: Some(us * 3.0),
            phases: [0.0, us / 2.0, 0.0, us / 2.0, 0.0],
        }
    }

    fn chart(points: &[Point], marks: &[Mark], stacked: bool) -> String {
        let t = Text(Lang::English);
        Chart { t, label: "a <b>", from: Timestamp(0), step: 60_000_000, points, beside: &[], marks, height: 100, stacked, top: None }
            .draw()
    }

    #[test]
    fn values_on_the_scale_are_round_and_reach_the_highest() {
        for (most, ticks) in [(1_000.0, 4), (37_000.0, 4), (95_000.0, 4), (210_000.0, 5)] {
            let (values, top) = scale(most);
            assert!(top >= most && values.len() <= 6, "{most}: {values:?}");
            assert!(values.len() >= ticks - 1, "{most}: {values:?}");
        }
        assert_eq!(scale(37_000.0), (vec![0.0, 10_000.0, 20_000.0, 30_000.0, 40_000.0], 40_000.0));
        for (us, text) in [(250.0, "0.25 ms"), (2_500.0, "2.5 ms"), (5_000.0, "5 ms"), (2_500_000.0, "2.50 s")] {
            assert_eq!(tick_text(us), text);
        }
    }

    #[test]
    fn a_gap_stays_a_gap_and_one_bucket_alone_is_seen() {
        assert_eq!(line(&[Some(10.0), None, Some(5.0), Some(10.0)], 10.0), "M0 0L5 0H10M20 500L25 500L35 0H40");
        assert_eq!(area(&[Some(0.0), None], &[Some(10.0), None], 10.0), "M0 0L5 0H10V1000L5 1000H0z");
    }

    #[test]
    fn text_in_a_chart_is_escaped() {
        let mark = |kind| Mark { from: Timestamp(0), to: Timestamp(60_000_000), kind, text: "<script>alert(1)</script>".to_owned() };
        for stacked in [true, false] {
            let drawn = chart(&[point(20_000.0), Point::default()], &[mark("finding"), mark("incident")], stacked);
            assert!(!drawn.contains("<script") && drawn.contains("a &lt;b&gt;") && drawn.contains("&lt;script&gt;"), "{drawn}");
            assert!(!drawn.contains("style=") && !drawn.contains("NaN"), "{drawn}");
        }
        assert!(!chart(&[], &[], true).contains("NaN"));
    }

    #[test]
    fn each_point_says_what_was_measured_and_a_part_that_measured_nothing_is_left_blank() {
        let (east, west) = ([point(20_000.0), Point::default()], [point(30_000.0), point(40_000.0)]);
        let beside: [(&str, &[Point]); 2] = [("east", &east), ("west", &west)];
        let t = Text(Lang::English);
        let (from, step, points) = (Timestamp(0), 60_000_000, [point(25_000.0), point(40_000.0), Point::default()]);
        let all = Chart { t, label: "", from, step, points: &points, beside: &beside, marks: &[], height: 100, stacked: false, top: None };
        assert_eq!(all.keys(), "median:p50|p95:p95|p99:p99|:east p50|:west p50");
        assert_eq!(all.tips(), "3 checks|25 ms|50 ms|75 ms|20 ms|30 ms\n3 checks|40 ms|80 ms|120 ms||40 ms\nnobody measured");
        let one = Chart { beside: &[], stacked: true, ..all };
        assert_eq!(one.keys(), ":p50|high:p95|:p99|connect:Connect|first_byte:First byte");
        assert!(one.tips().starts_with("3 checks|25 ms|50 ms|75 ms|12 ms|12 ms\n"), "{}", one.tips());
    }

    #[test]
    fn one_slow_bucket_does_not_flatten_the_others() {
        let mut points = vec![point(10_000.0); 200];
        points[7] = point(10_000_000.0);
        assert!(highest(&points, true) < 50_000.0 && highest(&points, false) < 50_000.0);
        assert_eq!((highest(&points[..1], false), highest(&points[..1], true)), (20_000.0, 30_000.0));
        let drawn = chart(&points, &[], false);
        assert_eq!(drawn.matches("class=\"cut\"").count(), 1, "what goes on beyond the edge is marked: {drawn}");
        assert!(
            drawn.contains("<svg x=\"3.75%\" y=\"10\" overflow=\"visible\"><path class=\"cut\"") && drawn.contains("30.0 s"),
            "{drawn}"
        );
    }

    #[test]
    fn of_few_buckets_none_is_cut_off() {
        let mut points = vec![point(10_000.0); 30];
        points[7] = point(2_000_000.0);
        assert_eq!((highest(&points, true), highest(&points, false)), (6_000_000.0, 4_000_000.0));
        assert!(!chart(&points, &[], false).contains("class=\"cut\""));
    }

    #[test]
    fn where_no_check_passed_there_is_no_scale_but_the_words() {
        let failing = [Point { checks: 3, failures: 3, ..Point::default() }, Point::default()];
        for stacked in [true, false] {
            let drawn = chart(&failing, &[], stacked);
            assert!(drawn.contains(">No check passed in this span</text>") && !drawn.contains(" ms</text>"), "{drawn}");
        }
        assert!(chart(&[Point::default()], &[], false).contains(">nobody measured</text>"));
    }

    #[test]
    fn values_below_a_millisecond_are_told_apart() {
        let drawn = chart(&[point(300.0)], &[], false);
        assert!(drawn.contains(">0.25 ms<") && drawn.contains(">0.50 ms<") && drawn.contains(">0.75 ms<"), "{drawn}");
    }
}
