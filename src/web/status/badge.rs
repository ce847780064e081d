//! A badge: two boxes with a word in each. Pure.

use crate::web::moment::percent;
use crate::web::status::snapshot::PublicService;
use crate::web::svg::escape;

/// A picture without a font of its own: widths are reckoned by the letter and the browser fits the text to them.
const LETTER: usize = 7;
const PADDING: usize = 12;
/// Letters of a name; longer ones are cut.
const LONGEST: usize = 40;

pub fn drawn(service: &PublicService, uptime: bool) -> String {
    let whole = service.whole();
    let (value, colour) = match (uptime, whole.uptime()) {
        (true, Some(ratio)) => (
            percent(ratio),
            if ratio < 0.95 {
                "#b3290c"
            } else if ratio < 0.995 {
                "#8a5200"
            } else {
                "#0f7f67"
            },
        ),
        (true, None) => ("not measured".to_owned(), "#5c6870"),
        (false, _) => (service.verdict.to_owned(), of_verdict(service.verdict)),
    };
    let name: String = service.name.chars().filter(|letter| !letter.is_control()).take(LONGEST).collect();
    let (left, right) = (width(&name), width(&value));
    let (whole, middle) = (left + right, left + right / 2);
    let mut label = String::new();
    escape(&name, &mut label);
    let half = left / 2;
    let (own, other) = (left - PADDING, right - PADDING);
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{whole}\" height=\"20\" role=\"img\" aria-label=\"{label}: {value}\">\
         <title>{label}: {value}</title><rect width=\"{whole}\" height=\"20\" rx=\"4\" fill=\"{colour}\"/>\
         <path d=\"M4 0h{}v20h-{}a4 4 0 0 1-4-4V4a4 4 0 0 1 4-4z\" fill=\"#2b3338\"/>\
         <g fill=\"#fff\" text-anchor=\"middle\" font-family=\"Verdana,DejaVu Sans,sans-serif\" font-size=\"11\">\
         <text x=\"{half}\" y=\"14\" textLength=\"{own}\" lengthAdjust=\"spacingAndGlyphs\">{label}</text>\
         <text x=\"{middle}\" y=\"14\" textLength=\"{other}\" lengthAdjust=\"spacingAndGlyphs\">{value}</text></g></svg>",
        left - 4,
        left - 4,
    )
}

fn width(text: &str) -> usize {
    text.chars().count().max(1) * LETTER + PADDING
}

fn of_verdict(verdict: &str) -> &'static str {
    match verdict {
        "up" => "#0f7f67",
        "degraded" => "#8a5200",
        "down" => "#b3290c",
        _ => "#5c6870",
    }
}
