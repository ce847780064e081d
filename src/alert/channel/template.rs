//! The body of a webhook by a person's own template. What is put in is escaped for what the body is, so that a text of
//! others ends no string and no element.
//!
//! **Invariant.** A name the template uses and a message does not have is an error, told with its line; so is a body that
//! is not what its content type says.

use std::collections::BTreeMap;

use minijinja::value::ValueKind;
use minijinja::{AutoEscape, Environment, Error, ErrorKind, UndefinedBehavior, Value};
use serde_json::Value as Json;

use crate::alert::message::text::html;

/// What the body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Escape {
    /// Inside the quotes of a JSON text; `{{ name|json }}` is a whole value, quotes and all.
    Json,
    Form,
    Html,
    Plain,
}

impl Escape {
    pub fn of(content_type: &str) -> Escape {
        let kind = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        match kind.as_str() {
            kind if kind.ends_with("/json") || kind.ends_with("+json") => Escape::Json,
            "application/x-www-form-urlencoded" => Escape::Form,
            kind if kind.ends_with("html") || kind.ends_with("xml") => Escape::Html,
            _ => Escape::Plain,
        }
    }
}

/// Renders it; the error is a line for a person, with the line of the template.
pub fn render(template: &str, escape: Escape, context: &Json) -> Result<String, String> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    // A loop goes over what the message holds, and over nothing else.
    environment.remove_global("range");
    environment.add_filter("json", |value: Value| Value::from_safe_string(to_json(&value).to_string()));
    environment.set_auto_escape_callback(|_| AutoEscape::Custom("body".into()));
    environment.set_formatter(move |out, _, value| {
        let text = match value.kind() {
            ValueKind::None | ValueKind::Undefined => String::new(),
            ValueKind::String | ValueKind::Bytes => value.to_string(),
            _ => to_json(value).to_string(),
        };
        let text = if value.is_safe() { text } else { escaped(&text, escape) };
        out.write_str(&text).map_err(|_| Error::new(ErrorKind::WriteFailure, "the body cannot be written"))
    });
    let rendered = environment.render_named_str("body", template, to_value(context)).map_err(|error| told(&error))?;
    if escape == Escape::Json {
        serde_json::from_str::<Json>(&rendered).map_err(|error| {
            let message = error.to_string();
            let what = message.split(" at line ").next().unwrap_or_default();
            format!("line {} of what it makes: is not JSON: {what} (column {})", error.line(), error.column())
        })?;
    }
    Ok(rendered)
}

fn told(error: &Error) -> String {
    let what = error.detail().map_or_else(|| error.kind().to_string(), str::to_owned);
    match error.line() {
        Some(line) => format!("line {line}: {what}"),
        None => what,
    }
}

fn escaped(text: &str, escape: Escape) -> String {
    match escape {
        Escape::Json => {
            let quoted = Json::from(text).to_string();
            quoted[1..quoted.len() - 1].to_owned()
        }
        Escape::Form => url::form_urlencoded::byte_serialize(text.as_bytes()).collect(),
        Escape::Html => html(text),
        Escape::Plain => text.to_owned(),
    }
}

fn to_value(json: &Json) -> Value {
    match json {
        Json::Null => Value::from(()),
        Json::Bool(flag) => Value::from(*flag),
        Json::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(whole), _) => Value::from(whole),
            (None, Some(number)) => Value::from(number),
            (None, None) => Value::from(()),
        },
        Json::String(text) => Value::from(text.as_str()),
        Json::Array(values) => values.iter().map(to_value).collect(),
        Json::Object(fields) => Value::from(fields.iter().map(|(name, value)| (name.clone(), to_value(value))).collect::<BTreeMap<_, _>>()),
    }
}

fn to_json(value: &Value) -> Json {
    match value.kind() {
        ValueKind::Undefined | ValueKind::None => Json::Null,
        ValueKind::Bool => Json::Bool(value.is_true()),
        ValueKind::Number => value.to_string().parse().map_or(Json::Null, Json::Number),
        ValueKind::Seq | ValueKind::Iterable => Json::Array(value.try_iter().into_iter().flatten().map(|value| to_json(&value)).collect()),
        ValueKind::Map => {
            let keys = value.try_iter().into_iter().flatten();
            Json::Object(keys.map(|key| (key.to_string(), value.get_item(&key).map_or(Json::Null, |value| to_json(&value)))).collect())
        }
        _ => Json::String(value.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn render_all(template: &str, escape: Escape) -> Result<String, String> {
        let context =
            json!({"headline": "a \"b\" <c> & d\n", "count": 3, "link": null, "drill": false, "names": ["x", "y\""], "one": {"k": 1}});
        render(template, escape, &context)
    }

    #[test]
    fn what_is_put_in_ends_no_string() {
        assert_eq!(
            render_all(
                r#"{"text": "{{ headline }}", "n": {{ count }}, "link": {{ link|json }}, "names": {{ names|json }}, "d": {{ drill }}}"#,
                Escape::Json
            ),
            Ok(r#"{"text": "a \"b\" <c> & d\n", "n": 3, "link": null, "names": ["x","y\""], "d": false}"#.to_owned())
        );
        assert_eq!(render_all("m={{ headline }}&x=1", Escape::Form), Ok("m=a+%22b%22+%3Cc%3E+%26+d%0A&x=1".to_owned()));
        assert_eq!(render_all("<p>{{ headline }}</p>", Escape::Html), Ok("<p>a &quot;b&quot; &lt;c&gt; &amp; d\n</p>".to_owned()));
        assert_eq!(render_all("{{ headline }}{{ link }}{{ one }}", Escape::Plain), Ok("a \"b\" <c> & d\n{\"k\":1}".to_owned()));
        assert_eq!(render_all("{% for name in names %}[{{ name }}]{% endfor %}", Escape::Plain), Ok("[x][y\"]".to_owned()));
    }

    #[test]
    fn a_template_that_fails_says_where() {
        let cases = [
            ("{\n \"a\": \"{{ headlin }}\"}", Escape::Json, "line 2: "),
            ("one\n\n{% if %}", Escape::Plain, "line 3: "),
            ("one\n{{ headline|nosuch }}", Escape::Plain, "line 2: "),
            ("{\n\"a\": {{ headline }}}", Escape::Json, "line 2 of what it makes: is not JSON: "),
            ("{% for a in range(1000000) %}x{% endfor %}", Escape::Plain, "line 1: "),
        ];
        for (template, escape, begins) in cases {
            let said = render_all(template, escape).expect_err("it fails");
            assert!(said.starts_with(begins), "{said}");
        }
    }
}
