//! What does not fit into the document of a service at all: the words for it, and the one object whose fields depend on each other.

use serde_json::Value;

use crate::config::misfit::{Reading, kind_of, missing, object, wrong_kind};
use crate::config::mistake::Mistake;
use crate::config::service::ServiceDocument;

const READING: Reading<'static> = Reading { refusal: &refusal, plain: &plain };

/// Names every field that does not fit.
pub(super) fn find(document: &Value) -> Result<(), Vec<Mistake>> {
    let Value::Object(fields) = document else {
        return Err(vec![Mistake::new("", format!("must be an object, not {}", kind_of(document)))]);
    };
    let mut mistakes = Vec::new();
    for (key, value) in fields {
        let around = |value| object(key, value);
        match key.as_str() {
            "auth" if value.is_object() => narrow_auth(value, &around, &mut mistakes),
            _ => READING.narrow(key, value, &around, &mut mistakes),
        }
    }
    if mistakes.is_empty() { Ok(()) } else { Err(mistakes) }
}

/// Its `type` says which fields there are, so the others are read beside it. One that is refused for what it lacks fits itself.
fn narrow_auth(auth: &Value, around: &dyn Fn(Value) -> Value, mistakes: &mut Vec<Mistake>) {
    let Some(words) = refusal(around(auth.clone())) else { return };
    let before = mistakes.len();
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
    if mistakes.len() == before {
        mistakes.push(READING.told("auth", &words));
    }
}

fn fits_but_for_others(document: Value) -> bool {
    refusal(document).is_none_or(|words| missing(&words).is_some())
}

fn refusal(document: Value) -> Option<String> {
    serde_json::from_value::<ServiceDocument>(document).err().map(|err| err.to_string())
}

/// The parser's words said plainly.
fn plain(words: &str, path: &str) -> String {
    if let Some(plain) = wrong_kind(words) {
        return plain;
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
