//! What does not fit into a document at all, unknown fields and values of the wrong kind, in the words of who writes JSON.
//!
//! A parser stops at the first such value and speaks of Rust's types. As nearly all fields are optional, a field alone is a document
//! too: so each is read by itself, and one that is refused is narrowed down to the innermost value that is refused alone.
//!
//! **Invariant**: a value is repeated only where a number or a boolean belongs. Secrets belong where text does.

use serde_json::{Map, Value};

use crate::config::mistake::Mistake;

/// How documents of one kind are read.
pub struct Reading<'a> {
    /// The parser's words for a document it does not take.
    pub refusal: &'a dyn Fn(Value) -> Option<String>,
    /// These words said plainly, for the value at a path.
    pub plain: &'a dyn Fn(&str, &str) -> String,
}

impl Reading<'_> {
    /// Every mistake of the value at `path`; `around` makes of such a value the document that holds nothing else.
    pub fn narrow(&self, path: &str, value: &Value, around: &dyn Fn(Value) -> Value, mistakes: &mut Vec<Mistake>) {
        let Some(words) = (self.refusal)(around(value.clone())) else { return };
        let before = mistakes.len();
        match value {
            Value::Array(entries) if (self.refusal)(around(Value::Array(Vec::new()))).is_none() => {
                for (index, entry) in entries.iter().enumerate() {
                    self.narrow(&format!("{path}[{index}]"), entry, &|entry| around(Value::Array(vec![entry])), mistakes);
                }
            }
            Value::Object(fields) if (self.refusal)(around(Value::Object(Map::new()))).is_none() => {
                for (key, inner) in fields {
                    self.narrow(&format!("{path}.{key}"), inner, &|inner| around(object(key, inner)), mistakes);
                }
            }
            _ => {}
        }
        if mistakes.len() == before {
            mistakes.push(self.told(path, &words));
        }
    }

    /// The mistake of a value in which none of its own was found.
    pub fn told(&self, path: &str, words: &str) -> Mistake {
        match missing(words) {
            Some(field) => Mistake::new(format!("{path}.{field}"), "is required"),
            None => Mistake::new(path, (self.plain)(words, path)),
        }
    }
}

pub fn object(key: &str, value: Value) -> Value {
    Value::Object([(key.to_owned(), value)].into_iter().collect())
}

/// The field whose lack the parser tells.
pub fn missing(words: &str) -> Option<&str> {
    words.strip_prefix("missing field `")?.strip_suffix('`')
}

/// The parser's words for a value of the wrong kind, said plainly.
pub fn wrong_kind(words: &str) -> Option<String> {
    let rest = words.strip_prefix("invalid type: ").or_else(|| words.strip_prefix("invalid value: "))?;
    let (found, expected) = rest.rsplit_once(", expected ")?;
    Some(match expected {
        "f64" => format!("must be a number, not {}", shown(found)),
        "u64" | "u32" | "u16" | "u8" | "usize" => format!("must be a whole number of at least 0, not {}", shown(found)),
        "i64" | "i32" => format!("must be a whole number, not {}", shown(found)),
        "a boolean" => format!("must be true or false, not {}", shown(found)),
        "a string" | "variant identifier" => format!("must be a string, not {}", kind(found)),
        "a sequence" => format!("must be a list, not {}", kind(found)),
        _ => format!("must be an object, not {}", kind(found)),
    })
}

/// What was found, with its value unless that is long: the parser writes ``integer `5` `` and `string "soon"`.
fn shown(found: &str) -> String {
    match found.split_once(['`', '"']) {
        Some((_, rest)) if found.ends_with('`') => rest.trim_end_matches('`').to_owned(),
        Some((_, rest)) if found.chars().count() <= 60 => format!("\"{rest}"),
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

pub fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}
