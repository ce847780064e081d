//! Fields of the form that hold a test on each line, and the entries of a document they stand for. Pure.
//!
//! A line that was not touched stands for the entry it was made of, whatever the line cannot tell of it.

use serde_json::{Value, json};

use crate::web::edit::fields::plain_text;

/// How an entry is written on a line, and read from it.
pub struct Form {
    pub line: fn(&Value) -> String,
    pub entry: fn(&str) -> Value,
}

/// `$.path = value`, and other tests by sign or word.
pub const JSON: Form = Form { line: json_line, entry: json_test };
/// `Name: value`, and other tests by word.
pub const HEADERS: Form = Form { line: header_line, entry: header_test };

impl Form {
    pub fn lines(&self, entries: Option<&Value>) -> String {
        entries.and_then(Value::as_array).into_iter().flatten().map(self.line).collect::<Vec<_>>().join("\n")
    }

    /// The entries of a text; `kept` are those there were.
    pub fn entries(&self, text: &str, kept: Option<&Value>) -> Vec<Value> {
        let kept: Vec<(String, &Value)> =
            kept.and_then(Value::as_array).into_iter().flatten().map(|entry| ((self.line)(entry), entry)).collect();
        let read = |line: &str| match kept.iter().find(|(known, _)| known.trim() == line) {
            Some((_, entry)) => (*entry).clone(),
            None => (self.entry)(line),
        };
        text.lines().map(str::trim).filter(|line| !line.is_empty()).map(read).collect()
    }
}

fn json_test(line: &str) -> Value {
    // Longer signs first, so that `!=` is not taken for `=`.
    let signs = [
        (" != ", "not_equals"),
        (" = ", "equals"),
        (" > ", "greater_than"),
        (" < ", "less_than"),
        (" contains ", "contains"),
        (" matches ", "matches"),
    ];
    let found = signs.iter().filter_map(|(sign, name)| line.find(sign).map(|place| (place, sign, name))).min_by_key(|(place, ..)| *place);
    if let Some((place, sign, name)) = found {
        let text = line[place + sign.len()..].trim();
        let value = match *name {
            "contains" | "matches" => Value::from(text),
            _ => serde_json::from_str(text).unwrap_or_else(|_| Value::from(text)),
        };
        return json!({"path": line[..place].trim(), *name: value});
    }
    match line.rsplit_once(char::is_whitespace) {
        Some((path, "absent")) => json!({"path": path.trim(), "exists": false}),
        Some((path, "exists")) => json!({"path": path.trim(), "exists": true}),
        _ => json!({"path": line, "exists": true}),
    }
}

fn json_line(test: &Value) -> String {
    let path = test.get("path").map(plain_text).unwrap_or_default();
    let signs = [("equals", "="), ("not_equals", "!="), ("greater_than", ">"), ("less_than", "<")];
    let sign = signs.iter().find_map(|(name, sign)| Some(format!("{path} {sign} {}", test.get(name)?)));
    let word = ["contains", "matches"].iter().find_map(|name| Some(format!("{path} {name} {}", plain_text(test.get(name)?))));
    let exists = if test.get("exists") == Some(&Value::Bool(false)) { "absent" } else { "exists" };
    sign.or(word).unwrap_or_else(|| format!("{path} {exists}"))
}

fn header_test(line: &str) -> Value {
    // A name holds neither blanks nor a colon, so whichever comes first ends it.
    match line.find([':', ' ', '\t']) {
        Some(place) if line[place..].starts_with(':') => json!({"name": &line[..place], "equals": line[place + 1..].trim()}),
        Some(place) => {
            let (name, rest) = (&line[..place], line[place..].trim());
            match rest.split_once(char::is_whitespace).map_or((rest, ""), |(word, value)| (word, value.trim())) {
                ("matches", pattern) if !pattern.is_empty() => json!({"name": name, "matches": pattern}),
                ("absent", "") => json!({"name": name, "present": false}),
                ("exists", "") => json!({"name": name, "present": true}),
                // No name of a header: whoever checks it says so.
                _ => json!({"name": line, "present": true}),
            }
        }
        None => json!({"name": line, "present": true}),
    }
}

fn header_line(test: &Value) -> String {
    let name = test.get("name").map(plain_text).unwrap_or_default();
    match (test.get("equals"), test.get("matches"), test.get("present")) {
        (Some(value), ..) => format!("{name}: {}", plain_text(value)),
        (None, Some(pattern), _) => format!("{name} matches {}", plain_text(pattern)),
        (None, None, Some(Value::Bool(false))) => format!("{name} absent"),
        _ => format!("{name} exists"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tests_of_headers_are_written_and_read_a_line_each() {
        for (line, test) in [
            ("Content-Type: application/json; a=b:c", json!({"name": "Content-Type", "equals": "application/json; a=b:c"})),
            ("Server matches ^nginx/1\\. ?", json!({"name": "Server", "matches": "^nginx/1\\. ?"})),
            ("X-Powered-By absent", json!({"name": "X-Powered-By", "present": false})),
            ("ETag exists", json!({"name": "ETag", "present": true})),
        ] {
            assert_eq!(header_test(line), test);
            assert_eq!(header_line(&test), line);
        }
        assert_eq!(header_test("ETag"), json!({"name": "ETag", "present": true}));
        assert_eq!(header_test("X-A:1"), json!({"name": "X-A", "equals": "1"}));
        assert_eq!(header_test("not a header"), json!({"name": "not a header", "present": true}));
    }

    #[test]
    fn a_line_left_alone_keeps_what_it_cannot_tell() {
        let kept = json!([{"path": "$.a"}, {"path": "$.t", "contains": " x "}]);
        let lines = JSON.lines(Some(&kept));
        assert_eq!(
            JSON.entries(&format!("{lines}\r\n\r\n$.n > 3"), Some(&kept)),
            [json!({"path": "$.a"}), json!({"path": "$.t", "contains": " x "}), json!({"path": "$.n", "greater_than": 3})]
        );
    }
}
