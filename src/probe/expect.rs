//! An answer held against what its service expects. Pure: all it needs is in `Answer`.
//!
//! The order is fixed: status, certificate, headers, body, JSON, latency; the first that is not met names the failure.

use std::cell::OnceCell;
use std::time::Duration;

use http::HeaderMap;
use regex::Regex;
use serde_json::Value;

use crate::model::check::{Certificate, Failure, Phase, Reason};
use crate::model::service::{Expectations, HeaderExpectation, HeaderTest, JsonExpectation, JsonTest};
use crate::model::time::Timestamp;
use crate::probe::classify::span;
use crate::probe::redact::{REDACTED, sounds_secret};

/// A whole answer, as far as it was read.
#[derive(Clone, Copy, Debug)]
pub struct Answer<'a> {
    pub status: u16,
    pub headers: &'a HeaderMap,
    pub body: &'a [u8],
    /// The body went on beyond so many bytes, where reading stopped.
    pub cut_at: Option<u64>,
    pub certificate: Option<&'a Certificate>,
    pub now: Timestamp,
    pub latency: Duration,
}

/// What became of one expectation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Such as `status 200-299`.
    pub what: String,
    pub failure: Option<Failure>,
}

/// Each expectation with its verdict, in order.
pub fn verdicts(expect: &Expectations, answer: &Answer<'_>) -> Vec<Verdict> {
    let subject = Subject::new(answer);
    items(expect).map(|item| Verdict { what: item.what(), failure: item.test(&subject) }).collect()
}

/// The first expectation that is not met.
pub fn first_failure(expect: &Expectations, answer: &Answer<'_>) -> Option<Failure> {
    let subject = Subject::new(answer);
    items(expect).find_map(|item| item.test(&subject))
}

fn items(expect: &Expectations) -> impl Iterator<Item = Item<'_>> {
    // Not every kind of check has a status.
    let status = (!expect.status.is_empty()).then_some(Item::Status(&expect.status));
    status
        .into_iter()
        .chain(expect.certificate_days.map(Item::CertificateDays))
        .chain(expect.headers.iter().map(Item::Header))
        .chain(expect.body_contains.iter().map(|text| Item::BodyContains(text)))
        .chain(expect.body_not_contains.iter().map(|text| Item::BodyLacks(text)))
        .chain(expect.body_matches.iter().map(Item::BodyMatches))
        .chain(expect.json.iter().map(Item::Json))
        .chain(expect.latency.map(Item::Latency))
}

enum Item<'a> {
    Status(&'a [(u16, u16)]),
    CertificateDays(u32),
    Header(&'a HeaderExpectation),
    BodyContains(&'a str),
    BodyLacks(&'a str),
    BodyMatches(&'a Regex),
    Json(&'a JsonExpectation),
    Latency(Duration),
}

/// An answer with what is worked out of it once, where it is asked for.
struct Subject<'a> {
    answer: &'a Answer<'a>,
    text: OnceCell<String>,
    json: OnceCell<Result<Value, String>>,
}

impl<'a> Subject<'a> {
    fn new(answer: &'a Answer<'a>) -> Subject<'a> {
        Subject { answer, text: OnceCell::new(), json: OnceCell::new() }
    }

    fn text(&self) -> &str {
        match std::str::from_utf8(self.answer.body) {
            Ok(text) => text,
            Err(_) => self.text.get_or_init(|| String::from_utf8_lossy(self.answer.body).into_owned()),
        }
    }

    fn json(&self) -> Result<&Value, &String> {
        self.json.get_or_init(|| serde_json::from_slice(self.answer.body).map_err(|err| err.to_string())).as_ref()
    }

    fn got(&self) -> String {
        if self.answer.body.is_empty() {
            return "an empty body".to_owned();
        }
        format!("{} ({} bytes)", quoted(self.text()), self.answer.body.len())
    }
}

impl Item<'_> {
    fn what(&self) -> String {
        match self {
            Item::Status(ranges) => format!("status {}", written(ranges)),
            Item::CertificateDays(days) => format!("certificate valid for {days} days"),
            Item::Header(header) => match &header.test {
                HeaderTest::Present(true) => format!("header {} present", header.name),
                HeaderTest::Present(false) => format!("header {} absent", header.name),
                HeaderTest::Equals(value) => format!("header {} = {}", header.name, header_value(header, value)),
                HeaderTest::Matches(pattern) => format!("header {} matches /{pattern}/", header.name),
            },
            Item::BodyContains(text) => format!("body contains {}", quoted(text)),
            Item::BodyLacks(text) => format!("body does not contain {}", quoted(text)),
            Item::BodyMatches(pattern) => format!("body matches /{pattern}/"),
            Item::Json(json) => match &json.test {
                JsonTest::Exists(true) => format!("{} exists", json.text),
                JsonTest::Exists(false) => format!("{} does not exist", json.text),
                JsonTest::Equals(value) => format!("{} = {}", json.text, shown(value)),
                JsonTest::NotEquals(value) => format!("{} ≠ {}", json.text, shown(value)),
                JsonTest::GreaterThan(least) => format!("{} > {least}", json.text),
                JsonTest::LessThan(most) => format!("{} < {most}", json.text),
                JsonTest::Contains(text) => format!("{} contains {}", json.text, quoted(text)),
                JsonTest::Matches(pattern) => format!("{} matches /{pattern}/", json.text),
            },
            Item::Latency(most) => format!("latency at most {}", span(*most)),
        }
    }

    fn test(&self, subject: &Subject<'_>) -> Option<Failure> {
        let answer = subject.answer;
        match self {
            Item::Status(ranges) => {
                if ranges.iter().any(|(from, to)| (*from..=*to).contains(&answer.status)) {
                    return None;
                }
                fail(Reason::Status, format!("expected status {}, got {}", written(ranges), answer.status))
            }
            Item::CertificateDays(days) => certificate_days(answer, *days),
            Item::Header(header) => header_failure(answer, header),
            Item::BodyContains(_) | Item::BodyLacks(_) | Item::BodyMatches(_) | Item::Json(_) => match answer.cut_at {
                Some(most) => fail(Reason::TooLarge, format!("the body is larger than {most} bytes, no more is read")),
                None => self.test_body(subject),
            },
            Item::Latency(most) if answer.latency > *most => {
                fail(Reason::Timeout, format!("expected an answer within {}, got it after {}", span(*most), span(answer.latency)))
            }
            Item::Latency(_) => None,
        }
    }

    fn test_body(&self, subject: &Subject<'_>) -> Option<Failure> {
        match self {
            Item::BodyContains(text) if !subject.text().contains(text) => {
                fail(Reason::Body, format!("expected the body to contain {}, got {}", quoted(text), subject.got()))
            }
            Item::BodyLacks(text) => {
                let at = subject.text().find(text)?;
                fail(Reason::Body, format!("expected the body not to contain {}, got it at byte {at}", quoted(text)))
            }
            Item::BodyMatches(pattern) if !pattern.is_match(subject.text()) => {
                fail(Reason::Body, format!("expected the body to match /{pattern}/, got {}", subject.got()))
            }
            Item::Json(json) => json_failure(subject, json),
            _ => None,
        }
    }
}

fn fail(reason: Reason, message: String) -> Option<Failure> {
    Some(Failure { reason, phase: Phase::Expect, message })
}

fn certificate_days(answer: &Answer<'_>, days: u32) -> Option<Failure> {
    let wanted = format!("expected a certificate valid for {days} days");
    let Some(certificate) = answer.certificate else {
        return fail(Reason::Certificate, format!("{wanted}, but there was none: the connection is not encrypted"));
    };
    let left = certificate.days_left(answer.now);
    if left >= i64::from(days) {
        return None;
    }
    let got = match left {
        ..0 => "has expired".to_owned(),
        0 => "ends today".to_owned(),
        1 => "ends in 1 day".to_owned(),
        left => format!("ends in {left} days"),
    };
    fail(Reason::Certificate, format!("{wanted}, but {} {got}", certificate.subject))
}

fn header_failure(answer: &Answer<'_>, header: &HeaderExpectation) -> Option<Failure> {
    let name = &header.name;
    let mut values = answer.headers.get_all(name).iter().map(|value| String::from_utf8_lossy(value.as_bytes()));
    let (wanted, met) = match &header.test {
        HeaderTest::Present(true) => ("to be present".to_owned(), answer.headers.contains_key(name)),
        HeaderTest::Present(false) => ("to be absent".to_owned(), !answer.headers.contains_key(name)),
        HeaderTest::Equals(wanted) => (format!("to be {}", header_value(header, wanted)), values.any(|value| value == *wanted)),
        HeaderTest::Matches(pattern) => (format!("to match /{pattern}/"), values.any(|value| pattern.is_match(&value))),
    };
    if met {
        return None;
    }
    let got: Vec<String> =
        answer.headers.get_all(name).iter().map(|value| header_value(header, &String::from_utf8_lossy(value.as_bytes()))).collect();
    let got = if got.is_empty() { "no such header".to_owned() } else { got.join(", ") };
    fail(Reason::Header, format!("expected header {name} {wanted}, got {got}"))
}

fn header_value(header: &HeaderExpectation, value: &str) -> String {
    if sounds_secret(header.name.as_str()) { REDACTED.to_owned() } else { quoted(value) }
}

fn json_failure(subject: &Subject<'_>, json: &JsonExpectation) -> Option<Failure> {
    let path = &json.text;
    let wanted = match &json.test {
        JsonTest::Exists(true) => "to exist".to_owned(),
        JsonTest::Exists(false) => "not to exist".to_owned(),
        JsonTest::Equals(value) => format!("to be {}", shown(value)),
        JsonTest::NotEquals(value) => format!("not to be {}", shown(value)),
        JsonTest::GreaterThan(least) => format!("to be greater than {least}"),
        JsonTest::LessThan(most) => format!("to be less than {most}"),
        JsonTest::Contains(text) => format!("to contain {}", quoted(text)),
        JsonTest::Matches(pattern) => format!("to match /{pattern}/"),
    };
    let document = match subject.json() {
        Ok(document) => document,
        Err(err) => return fail(Reason::Json, format!("expected {path} {wanted}, but the body is not JSON: {err}; got {}", subject.got())),
    };
    let nodes = json.path.query(document);
    let met = match &json.test {
        JsonTest::Exists(expected) => nodes.is_empty() != *expected,
        test => nodes.iter().any(|node| node_passes(test, node)),
    };
    if met {
        return None;
    }
    let got = match nodes.len() {
        0 => "nothing there".to_owned(),
        1..=3 => nodes.iter().map(|node| shown(node)).collect::<Vec<_>>().join(", "),
        count => format!("{} and {} more", shown(nodes.first().expect("there are several")), count - 1),
    };
    fail(Reason::Json, format!("expected {path} {wanted}, got {got}"))
}

fn node_passes(test: &JsonTest, node: &Value) -> bool {
    match test {
        JsonTest::Exists(expected) => *expected,
        JsonTest::Equals(value) => same(node, value),
        JsonTest::NotEquals(value) => !same(node, value),
        JsonTest::GreaterThan(least) => node.as_f64().is_some_and(|number| number > *least),
        JsonTest::LessThan(most) => node.as_f64().is_some_and(|number| number < *most),
        JsonTest::Contains(text) => match node {
            Value::String(found) => found.contains(text),
            Value::Array(found) => found.iter().any(|value| value.as_str() == Some(text)),
            Value::Object(found) => found.contains_key(text),
            _ => false,
        },
        JsonTest::Matches(pattern) => match node {
            Value::String(found) => pattern.is_match(found),
            other => pattern.is_match(&other.to_string()),
        },
    }
}

/// Equal as JSON means it: 1 and 1.0 are one number.
fn same(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Number(one), Value::Number(other)) => one == other || one.as_f64() == other.as_f64(),
        (Value::Array(one), Value::Array(other)) => one.len() == other.len() && one.iter().zip(other).all(|(one, other)| same(one, other)),
        (Value::Object(one), Value::Object(other)) => {
            one.len() == other.len() && one.iter().all(|(key, value)| other.get(key).is_some_and(|found| same(value, found)))
        }
        _ => left == right,
    }
}

/// `200-299, 304`.
fn written(ranges: &[(u16, u16)]) -> String {
    let one = |(from, to): &(u16, u16)| if from == to { from.to_string() } else { format!("{from}-{to}") };
    ranges.iter().map(one).collect::<Vec<_>>().join(", ")
}

/// In quotes, on one line and not too long.
fn quoted(text: &str) -> String {
    format!("{:?}", shortened(text))
}

fn shown(value: &Value) -> String {
    shortened(&value.to_string())
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(80) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
