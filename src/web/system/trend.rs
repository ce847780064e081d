//! Figures of the monitor over time: a band from the least to the most of each span, and a line through the means. As markup,
//! safe as it is.

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::model::system::{Figure, Measure, Spread};
use crate::model::time::Timestamp;
use crate::system::trend::{Course, Direction, Of};
use crate::web::chart::{HIGH, WIDE, area, line};
use crate::web::svg::escape;
use crate::web::system::{amount, label};
use crate::web::text::Text;

/// What one looks for first.
const FIRST: [Figure; 8] = [
    Figure::CpuPercent,
    Figure::RssBytes,
    Figure::StoreWriteMs,
    Figure::StoreBytes,
    Figure::DiskFreeBytes,
    Figure::LagP99Ms,
    Figure::ChecksPerS,
    Figure::ApiP95Ms,
];

pub struct TrendBox {
    pub label: String,
    pub now: String,
    pub least: String,
    pub most: String,
    /// Where it is heading.
    pub text: String,
    pub picture: String,
    /// Whether it is shown at once.
    pub first: bool,
}

pub fn draw(t: Text, hours: u32, width: i64, now: Timestamp, courses: &BTreeMap<Of, Course>) -> Vec<TrendBox> {
    let last = now.0.div_euclid(width);
    let count = (i64::from(hours) * 3_600_000_000 / width).max(1);
    let first = last - count + 1;
    let drawn = |(of, course): (&Of, &Course)| {
        let (label, measure, is_first) = match of {
            Of::Figure(figure) => (label(t, *figure).to_owned(), figure.measure(), FIRST.contains(figure)),
            Of::Dependency(name) => (t.one("trend.latency_of", name), Measure::Milliseconds, true),
        };
        let told = |value: f64| amount(t, value, measure);
        let mut spans: Vec<Option<&Spread>> = vec![None; count as usize];
        for (at, spread) in &course.points {
            let place = at.0.div_euclid(width) - first;
            if let Some(span) = usize::try_from(place).ok().and_then(|place| spans.get_mut(place)) {
                *span = Some(spread);
            }
        }
        let text = match (course.direction, course.ends) {
            (Direction::Rising, Some((from, to))) => t.with("trend.rising", &[("from", &told(from)), ("to", &told(to))]),
            (Direction::Falling, Some((from, to))) => t.with("trend.falling", &[("from", &told(from)), ("to", &told(to))]),
            (Direction::Steady, _) => t.one("trend.steady", told(course.whole.mean())),
            _ => t.s("trend.unknown").to_owned(),
        };
        TrendBox {
            now: course.points.last().map(|(_, spread)| told(spread.mean())).unwrap_or_default(),
            least: told(course.whole.min),
            most: told(course.whole.max),
            picture: picture(&format!("{label}: {text}"), &spans, &course.whole),
            label,
            text,
            first: is_first,
        }
    };
    courses.iter().map(drawn).collect()
}

/// From a little below the least to the most; what hardly moves stays flat.
fn picture(label: &str, spans: &[Option<&Spread>], whole: &Spread) -> String {
    let range = (whole.max - whole.min).max(whole.max.abs() * 0.2).max(f64::MIN_POSITIVE);
    let floor = whole.min - range * 0.08;
    let top = range * 1.16;
    let values = |pick: fn(&Spread) -> f64| -> Vec<Option<f64>> { spans.iter().map(|span| span.map(|span| pick(span) - floor)).collect() };
    let mut out = format!(
        "<svg class=\"trend\" viewBox=\"0 0 {} {HIGH}\" preserveAspectRatio=\"none\" role=\"img\" aria-label=\"",
        spans.len() * WIDE
    );
    escape(label, &mut out);
    let (low, mean, high) = (values(|span| span.min), values(Spread::mean), values(|span| span.max));
    let _ =
        write!(out, "\"><path class=\"band\" d=\"{}\"/><path class=\"mean\" d=\"{}\"/></svg>", area(&low, &high, top), line(&mean, top));
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::web::text::Lang;

    #[test]
    fn a_course_is_drawn_at_its_time_with_gaps_where_nothing_was_seen() {
        let minute = 60_000_000;
        let points = vec![(Timestamp(10 * minute), Spread::of(5.0)), (Timestamp(12 * minute), Spread::of(7.0))];
        let mut whole = Spread::of(5.0);
        whole.merge(&Spread::of(7.0));
        let course = Course { points, whole, direction: Direction::Unknown, ends: None };
        let courses = BTreeMap::from([(Of::Dependency("a<b".into()), course)]);
        let drawn = draw(Text(Lang::English), 1, 20 * minute, Timestamp(70 * minute), &courses);
        assert!(drawn[0].picture.contains("a&lt;b"), "{}", drawn[0].picture);
        assert_eq!((drawn[0].now.as_str(), drawn[0].least.as_str(), drawn[0].most.as_str()), ("7 ms", "5 ms", "7 ms"));
        let drawn = draw(Text(Lang::English), 1, minute, Timestamp(60 * minute), &courses);
        let mean = drawn[0].picture.split("class=\"mean\" d=\"").nth(1).expect("a line").split('"').next().expect("it ends").to_owned();
        assert_eq!(mean.matches('M').count(), 2, "two pieces with a gap between: {mean}");
    }
}
