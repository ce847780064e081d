//! Where in the form a mistake in the document is told. Pure.

use crate::web::edit::fields::{AUTH, LINES, NUMBERS, PEMS, SWITCHES, TEXTS};
use crate::web::visit::Fields;

/// What of a field a mistake is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Within {
    Whole,
    /// This line of it, from 1, as people count them.
    Line(usize),
    /// This piece of its text.
    Part(String),
}

/// The field of the form that shows a place of the document, and what of it; `None`: the form has none for it.
pub fn told_in(fields: &Fields, path: &str) -> Option<(&'static str, Within)> {
    let (plain, index) = match path.split_once('[') {
        Some((plain, rest)) => (plain, rest.split(']').next().and_then(|index| index.parse::<usize>().ok())),
        None => (path, None),
    };
    let line = |field: &'static str| (field, index.map_or(Within::Whole, |index| line_of(fields.get(field), index)));
    let part = |field: &'static str| {
        let piece = index.and_then(|index| crate::web::input::parts(fields.get(field).unwrap_or_default()).nth(index));
        (field, piece.map_or(Within::Whole, |piece| Within::Part(piece.to_owned())))
    };
    let one = |known: &[(&'static str, &str)]| known.iter().find(|(_, place)| *place == plain).map(|(field, _)| *field);
    if let Some(field) = one(&NUMBERS).or_else(|| one(&TEXTS)).or_else(|| one(&SWITCHES)).or_else(|| one(&PEMS)) {
        return Some((field, Within::Whole));
    }
    if let Some(field) = one(&LINES) {
        return Some(line(field));
    }
    if let Some(name) = plain.strip_prefix("headers.") {
        return Some(("headers", Within::Part(name.to_owned())));
    }
    if let Some(name) = plain.strip_prefix("auth.") {
        return Some((AUTH.into_iter().find(|known| *known == name).unwrap_or("auth"), Within::Whole));
    }
    Some(match plain {
        "expect.json" => line("json"),
        "expect.headers" => line("expect_headers"),
        "expect.status" => part("expect_status"),
        "tags" => part("tags"),
        // These name what they are about.
        "depends_on" => ("depends_on", Within::Whole),
        "kind" => ("base_url", Within::Whole),
        "tls" => ("client_cert", Within::Whole),
        "backoff" => ("backoff_initial_ms", Within::Whole),
        "body" => ("body", Within::Whole),
        "headers" => ("headers", Within::Whole),
        "quorum" => ("quorum", Within::Whole),
        "regions" => ("regions", Within::Whole),
        "enabled" => ("enabled", Within::Whole),
        "auth" => ("auth", Within::Whole),
        _ => return None,
    })
}

/// The line of an entry: those without text hold none.
fn line_of(text: Option<&str>, index: usize) -> Within {
    let filled = text.unwrap_or_default().lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    filled.map(|(number, _)| Within::Line(number + 1)).nth(index).unwrap_or(Within::Whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mistake_is_told_by_the_line_and_the_piece_people_see() {
        let mut fields = Fields::default();
        fields.set("json", "$.a = 1\n\n$[ = 2\r\n");
        fields.set("expect_status", "200, 2xx");
        fields.set("contains", "x");
        for (path, told) in [
            ("timeout_s", Some(("timeout_s", Within::Whole))),
            ("expect.latency_ms", Some(("latency_ms", Within::Whole))),
            ("expect.json[1].path", Some(("json", Within::Line(3)))),
            ("expect.json", Some(("json", Within::Whole))),
            ("expect.status[1]", Some(("expect_status", Within::Part("2xx".to_owned())))),
            ("headers.X-A", Some(("headers", Within::Part("X-A".to_owned())))),
            ("depends_on[0]", Some(("depends_on", Within::Whole))),
            ("auth.token", Some(("token", Within::Whole))),
            ("auth.type", Some(("auth", Within::Whole))),
            ("tls.ca", Some(("ca", Within::Whole))),
            ("backoff.max_ms", Some(("backoff_max_ms", Within::Whole))),
            ("colour", None),
        ] {
            assert_eq!(told_in(&fields, path), told, "{path}");
        }
    }
}
