//! What does not fit into the document at all, unknown fields and values of the wrong kind, in the words of who writes JSON.
//!
//! A parser stops at the first such value and speaks of Rust's types. As nearly all fields are optional, a field alone is a document
//! too: so each is read by itself, and one that is refused is narrowed down to the innermost value that is refused alone.
//!
//! **Invariant**: a value is repeated only where a number or a boolean belongs. Secrets belong where text does.

use serde_json::{Map, Value};

use crate::config::mistake::Mistake;
use crate::config::service::ServiceDocument;

/// Names every field that does not fit.
pub(super) fn find(document: &Value) -> Result<(), Vec<Mistake>> {
    let Value::Object(fields) = document else {
        return Err(vec![Mistake::new("", format!("must be an object, not {}", kind_of(document)))]);
    };
    let mut mistakes = Vec::new();
    for (key, value) in fields {
        narrow(key, value, &|value| object(key, value), &mut mistakes);
    }
    if mistakes.is_empty() { Ok(()) } else { Err(mistakes) }
}

/// `around` makes of a value at `path` the document that holds nothing else.
fn narrow(path: &str, value: &Value, around: &dyn Fn(Value) -> Value, mistakes: &mut Vec<Mistake>) {
    let Some(words) = refusal(around(value.clone())) else { return };
    let before = mistakes.len();
    match value {
        Value::Array(entries) if refusal(around(Value::Array(Vec::new()))).is_none() => {
            for (index, entry) in entries.iter().enumerate() {
                narrow(&format!("{path}[{index}]"), entry, &|entry| around(Value::Array(vec![entry])), mistakes);
            }
        }
        Value::Object(_) if path == "auth" => narrow_auth(value, around, mistakes),
        Value::Object(fields) if refusal(around(Value::Object(Map::new()))).is_none() => {
            for (key, inner) in fields {
                narrow(&format!("{path}.{key}"), inner, &|inner| around(object(key, inner)), mistakes);
            }
        }
        _ => {}
    }
    if mistakes.len() == before {
        mistakes.push(match missing(&words) {
            Some(field) => Mistake::new(format!("{path}.{field}"), "is required"),
            None => Mistake::new(path, plain(&words, path)),
        });
    }
}

/// The one object whose fields depend on each other: `type` says which there are, so the others are read beside it. One that
/// is refused for what it lacks fits itself.
fn narrow_auth(auth: &Value, around: &dyn Fn(Value) -> Value, mistakes: &mut Vec<Mistake>) {
    for (key, value) in auth.as_object().into_iter().flatten() {
        let mut alone = object(key, value.clone());
        if let Some(kind) = auth.get("type").filter(|kind| key != "type" && fits_but_for_others(around(object("type", (*kind).clone())))) {
            alone["type"] = kind.clone();
        }
        if let Some(words) = refusal(around(alone)).filter(|words| missing(words).is_none()) {
            let path = format!("auth.{key}");
            mistakes.push(Mistake::new(path.as_str(), plain(&words, &path)));
        }
    }
}

fn fits_but_for_others(document: Value) -> bool {
    refusal(document).is_none_or(|words| missing(&words).is_some())
}

fn refusal(document: Value) -> Option<String> {
    serde_json::from_value::<ServiceDocument>(document).err().map(|err| err.to_string())
}

fn object(key: &str, value: Value) -> Value {
    Value::Object([(key.to_owned(), value)].into_iter().collect())
}

fn missing(words: &str) -> Option<&str> {
    words.strip_prefix("missing field `")?.strip_suffix('`')
}

/// The parser's words said plainly.
fn plain(words: &str, path: &str) -> String {
    let wrong_kind = words.strip_prefix("invalid type: ").or_else(|| words.strip_prefix("invalid value: "));
    if let Some((found, expected)) = wrong_kind.and_then(|rest| rest.rsplit_once(", expected ")) {
        return match expected {
            "f64" => format!("must be a number, not {}", shown(found)),
            "u64" | "u32" => format!("must be a whole number of at least 0, not {}", shown(found)),
            "a boolean" => format!("must be true or false, not {}", shown(found)),
            "a string" | "variant identifier" => format!("must be a string, not {}", kind(found)),
            "a sequence" => format!("must be a list, not {}", kind(found)),
            _ => format!("must be an object, not {}", kind(found)),
        };
    }
    if words.starts_with("unknown field") {
        return match path.rsplit_once('.') {
            None => "is not a field of a service".to_owned(),
            Some((outer, _)) => format!("is not a field of {outer}"),
        };
    }
    if let Some((_, known)) = words.split_once(", expected one of ").filter(|_| words.starts_with("unknown variant")) {
        return format!("must be one of {}", known.replace('`', ""));
    }
    if words.starts_with("data did not match any variant") {
        return match path {
            "quorum" => "must be any, majority, all or a whole number of regions",
            path if path.starts_with("expect.status") => "must be a code such as 200, a range such as \"200-299\" or a list of these",
            _ => "must be a string or a list of strings",
        }
        .to_owned();
    }
    words.to_owned()
}

/// What was found, with its value unless that is long: the parser writes ``integer `5` `` and `string "soon"`.
fn shown(found: &str) -> String {
    match found.split_once(['`', '"']) {
        Some((_, rest)) if found.ends_with('`') => rest.trim_end_matches('`').to_owned(),
        Some(_) if found.chars().count() <= 60 => format!("the {found}"),
        _ => kind(found).to_owned(),
    }
}

fn kind(found: &str) -> &'static str {
    match found.split_whitespace().next() {
        Some("string") => "a string",
        Some("integer" | "floating") => "a number",
        Some("boolean") => "a boolean",
        Some("sequence") => "a list",
        Some("map") => "an object",
        _ => "null",
    }
}

fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}
