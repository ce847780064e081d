//! What an answer must be like: status, body, headers, JSON, certificate and latency.

use regex::Regex;
use serde_json_path::JsonPath;

use crate::config::mistake::Mistake;
use crate::config::service::check::millis;
use crate::config::service::{ExpectDocument, HeaderDocument, JsonDocument, OneOrMany, Status};
use crate::model::service::{Expectations, HeaderExpectation, HeaderTest, JsonExpectation, JsonTest};

pub(super) fn check_expectations(expect: &ExpectDocument, wrong: &mut Vec<Mistake>) -> Expectations {
    let mut checked = Expectations { certificate_days: expect.certificate_days, ..Expectations::default() };
    match &expect.status {
        None => checked.status.push((200, 299)),
        Some(status) => {
            for (index, one) in status.as_slice().iter().enumerate() {
                match status_range(one) {
                    Some(range) => checked.status.push(range),
                    None => wrong.push(Mistake::new(
                        status.place("expect.status", index),
                        "must be a code from 100 to 599 or a range such as \"200-299\"",
                    )),
                }
            }
            if status.as_slice().is_empty() {
                wrong.push(Mistake::new("expect.status", "must name at least one code"));
            }
        }
    }
    let list = |field: &Option<OneOrMany<String>>| field.as_ref().map_or_else(Vec::new, |texts| texts.as_slice().to_vec());
    checked.body_contains = list(&expect.body_contains);
    checked.body_not_contains = list(&expect.body_not_contains);
    if let Some(patterns) = &expect.body_regex {
        for (index, pattern) in patterns.as_slice().iter().enumerate() {
            checked.body_matches.extend(regex(&patterns.place("expect.body_regex", index), pattern, wrong));
        }
    }
    for (index, json) in expect.json.iter().enumerate() {
        checked.json.extend(check_json(&format!("expect.json[{index}]"), json, wrong));
    }
    for (index, header) in expect.headers.iter().enumerate() {
        checked.headers.extend(check_header(&format!("expect.headers[{index}]"), header, wrong));
    }
    checked.latency = expect.latency_ms.map(|ms| millis("expect.latency_ms", ms, 0.001, 300_000.0, wrong));
    checked
}

fn status_range(status: &Status) -> Option<(u16, u16)> {
    let code = |text: &str| text.trim().parse::<u16>().ok().filter(|code| (100..=599).contains(code));
    let (from, to) = match status {
        Status::Code(one) => (code(&one.to_string())?, code(&one.to_string())?),
        Status::Text(text) => match text.split_once('-') {
            Some((from, to)) => (code(from)?, code(to)?),
            None => (code(text)?, code(text)?),
        },
    };
    (from <= to).then_some((from, to))
}

fn check_json(path: &str, json: &JsonDocument, wrong: &mut Vec<Mistake>) -> Option<JsonExpectation> {
    let parsed = JsonPath::parse(&json.path)
        .map_err(|err| wrong.push(Mistake::new(format!("{path}.path"), not_a_path(&json.path, err.position()))))
        .ok();
    let mut tests = Vec::new();
    tests.extend(json.exists.map(JsonTest::Exists));
    tests.extend(json.equals.clone().map(JsonTest::Equals));
    tests.extend(json.not_equals.clone().map(JsonTest::NotEquals));
    tests.extend(json.greater_than.map(JsonTest::GreaterThan));
    tests.extend(json.less_than.map(JsonTest::LessThan));
    tests.extend(json.contains.clone().map(JsonTest::Contains));
    if let Some(pattern) = &json.matches {
        tests.extend(regex(&format!("{path}.matches"), pattern, wrong).map(JsonTest::Matches));
    }
    if tests.len() > 1 {
        wrong.push(Mistake::new(path, "takes one test; write one entry for each"));
    }
    Some(JsonExpectation { path: parsed?, text: json.path.clone(), test: tests.pop().unwrap_or(JsonTest::Exists(true)) })
}

fn check_header(path: &str, header: &HeaderDocument, wrong: &mut Vec<Mistake>) -> Option<HeaderExpectation> {
    let Ok(name) = http::HeaderName::try_from(header.name.as_str()) else {
        wrong.push(Mistake::new(format!("{path}.name"), format!("{:?} is not a header name", header.name)));
        return None;
    };
    let mut tests = Vec::new();
    tests.extend(header.present.map(HeaderTest::Present));
    tests.extend(header.equals.clone().map(HeaderTest::Equals));
    if let Some(pattern) = &header.matches {
        tests.extend(regex(&format!("{path}.matches"), pattern, wrong).map(HeaderTest::Matches));
    }
    if tests.len() > 1 {
        wrong.push(Mistake::new(path, "takes one test; write one entry for each"));
    }
    Some(HeaderExpectation { name, test: tests.pop().unwrap_or(HeaderTest::Present(true)) })
}

fn regex(path: &str, pattern: &str, wrong: &mut Vec<Mistake>) -> Option<Regex> {
    match regex::RegexBuilder::new(pattern).size_limit(1 << 20).build() {
        Ok(regex) => Some(regex),
        Err(err) => {
            // The crate draws its message over several lines; the last says what is wrong.
            let text = err.to_string();
            let reason = text.lines().last().unwrap_or("").trim_start_matches("error: ");
            wrong.push(Mistake::new(path, format!("{pattern:?} is not a regular expression: {reason}")));
            None
        }
    }
}

/// The parser's own words are those of its grammar. `offset` is the byte at which it gave up.
fn not_a_path(text: &str, offset: usize) -> String {
    let reason = match text.get(offset..) {
        _ if !text.starts_with('$') => "it must begin with $, as in $.status".to_owned(),
        None | Some("") => "it ends too early".to_owned(),
        Some(rest) => format!("it is not understood from {rest:?} on"),
    };
    format!("{text:?} is not a JSONPath: {reason}")
}
