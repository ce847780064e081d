//! Between the fields of the form and the document of a service, both ways. Pure.
//!
//! The form knows the everyday part of a document; whatever else a document holds stays as it is. A number that is none goes on
//! as the text it is, so that the check of the document says what is wrong with it.

use serde_json::{Map, Number, Value, json};

use crate::web::curl::Request;
use crate::web::visit::Fields;

/// Fields that are one number, and where they are in the document.
const NUMBERS: [(&str, &str); 11] = [
    ("timeout_s", "timeout_s"),
    ("interval_s", "interval_s"),
    ("retries", "retries"),
    ("redirects", "redirects"),
    ("failure_threshold", "failure_threshold"),
    ("success_threshold", "success_threshold"),
    ("degraded_after_ms", "degraded_after_ms"),
    ("spread_s", "spread_s"),
    ("certificate_days", "expect.certificate_days"),
    ("latency_ms", "expect.latency_ms"),
    ("max_body_bytes", "max_body_bytes"),
];
const TEXTS: [(&str, &str); 11] = [
    ("name", "name"),
    ("base_url", "base_url"),
    ("health_path", "health_path"),
    ("method", "method"),
    ("cron", "cron"),
    ("timezone", "timezone"),
    ("group", "group"),
    ("ip_family", "ip_family"),
    ("http_version", "http_version"),
    ("proxy", "proxy"),
    ("server_name", "tls.server_name"),
];
const SWITCHES: [(&str, &str); 4] = [
    ("public", "public"),
    ("incident_on_degraded", "incident_on_degraded"),
    ("insecure", "tls.insecure_skip_verify"),
    ("reuse_connection", "reuse_connection"),
];
/// Fields with an entry on each line.
const LINES: [(&str, &str); 3] =
    [("contains", "expect.body_contains"), ("contains_not", "expect.body_not_contains"), ("matches", "expect.body_regex")];
const AUTH: [&str; 7] = ["username", "password", "token", "token_url", "client_id", "client_secret", "scope"];

impl Fields {
    pub fn set(&mut self, name: &str, value: &str) {
        match self.0.iter_mut().find(|(other, _)| other == name) {
            Some((_, kept)) => *kept = value.to_owned(),
            None => self.0.push((name.to_owned(), value.to_owned())),
        }
    }
}

/// The fields that show a document; of no document, what a new service begins with.
pub fn fields_of(document: &Value) -> Fields {
    let mut fields = Fields::default();
    let at = |path: &str| path.split('.').try_fold(document, |value, name| value.get(name)).filter(|value| !value.is_null());
    for (field, path) in NUMBERS.iter().chain(&TEXTS).chain(&SWITCHES) {
        if let Some(value) = at(path) {
            fields.set(field, &plain_text(value));
        }
    }
    for (field, path) in LINES {
        fields.set(field, &list(at(path)).join("\n"));
    }
    fields.set("expect_status", &list(at("expect.status")).join(", "));
    fields.set("tags", &list(at("tags")).join(", "));
    fields.set("depends_on", &list(at("depends_on")).join(", "));
    let headers = at("headers").and_then(Value::as_object).into_iter().flatten();
    fields.set("headers", &headers.map(|(name, value)| format!("{name}: {}", plain_text(value))).collect::<Vec<_>>().join("\n"));
    fields.set("body", at("body").and_then(Value::as_str).unwrap_or_default());
    fields.set("json", &at("expect.json").and_then(Value::as_array).into_iter().flatten().map(json_line).collect::<Vec<_>>().join("\n"));
    fields.set("quorum", &at("quorum").map_or_else(|| "majority".to_owned(), plain_text));
    list(at("regions")).into_iter().for_each(|region| fields.0.push(("regions".to_owned(), region)));
    fields.set("auth", at("auth.type").and_then(Value::as_str).unwrap_or("none"));
    for name in AUTH {
        if let Some(value) = at(&format!("auth.{name}")) {
            fields.set(name, &plain_text(value));
        }
    }
    let rhythm = match (at("interval_s"), at("cron")) {
        (_, Some(_)) => "cron",
        (Some(_), None) => "interval",
        (None, None) if document.is_null() => {
            fields.set("interval_s", "60");
            "interval"
        }
        (None, None) => "usual",
    };
    fields.set("rhythm", rhythm);
    fields.set("enabled", if at("enabled") == Some(&Value::Bool(false)) { "" } else { "true" });
    fields
}

/// The document of a form, over the one that is kept; secrets may be masks.
pub fn document_of(fields: &Fields, base: Option<Value>) -> Value {
    let mut document = base.unwrap_or_else(|| json!({}));
    let text = |name: &str| fields.text(name);
    for (field, path) in NUMBERS {
        set(&mut document, path, text(field).map(number));
    }
    for (field, path) in TEXTS {
        set(&mut document, path, text(field).map(Value::from));
    }
    for (field, path) in SWITCHES {
        set(&mut document, path, text(field).map(|_| Value::Bool(true)));
    }
    for (field, path) in LINES {
        let lines: Vec<Value> =
            fields.get(field).unwrap_or_default().lines().filter(|line| !line.trim().is_empty()).map(Value::from).collect();
        set(&mut document, path, (!lines.is_empty()).then_some(Value::Array(lines)));
    }
    let codes: Vec<Value> = split(text("expect_status")).map(number).collect();
    set(&mut document, "expect.status", (!codes.is_empty()).then_some(Value::Array(codes)));
    for name in ["tags", "depends_on"] {
        let names: Vec<Value> = split(text(name)).map(Value::from).collect();
        set(&mut document, name, (!names.is_empty()).then_some(Value::Array(names)));
    }
    let lines = fields.get("json").unwrap_or_default().lines().map(str::trim).filter(|line| !line.is_empty());
    let tests: Vec<Value> = lines.map(json_test).collect();
    set(&mut document, "expect.json", (!tests.is_empty()).then_some(Value::Array(tests)));
    let mut headers = Map::new();
    for line in fields.get("headers").unwrap_or_default().lines().filter(|line| !line.trim().is_empty()) {
        let (name, value) = line.split_once(':').unwrap_or((line, ""));
        headers.insert(name.trim().to_owned(), Value::from(value.trim()));
    }
    set(&mut document, "headers", Some(Value::Object(headers)));
    set(&mut document, "body", fields.get("body").filter(|body| !body.is_empty()).map(|body| Value::from(body.replace("\r\n", "\n"))));
    set(&mut document, "quorum", text("quorum").filter(|quorum| *quorum != "majority").map(number));
    let regions: Vec<Value> = fields.all("regions").filter(|region| !region.is_empty()).map(Value::from).collect();
    set(&mut document, "regions", (!regions.is_empty()).then_some(Value::Array(regions)));
    set(&mut document, "enabled", Some(Value::Bool(text("enabled").is_some())));
    match text("rhythm") {
        Some("interval") => ["cron", "timezone", "spread_s"].iter().for_each(|name| set(&mut document, name, None)),
        Some("cron") => set(&mut document, "interval_s", None),
        _ => ["interval_s", "cron", "timezone", "spread_s"].iter().for_each(|name| set(&mut document, name, None)),
    }
    set(&mut document, "auth", auth(fields));
    for name in ["expect", "tls"] {
        if document.get(name).and_then(Value::as_object).is_some_and(Map::is_empty) {
            set(&mut document, name, None);
        }
    }
    document
}

/// The field of the form that shows a field of the document; `None`: the form has none for it.
pub fn place_of(path: &str) -> Option<&'static str> {
    let plain: String = path.split('[').next().unwrap_or_default().to_owned();
    let all = NUMBERS.iter().chain(&TEXTS).chain(&SWITCHES).chain(&LINES);
    let exact = all.into_iter().find(|(_, known)| *known == plain).map(|(field, _)| *field);
    let others = [
        ("expect.status", "expect_status"),
        ("tags", "tags"),
        ("depends_on", "depends_on"),
        ("body", "body"),
        ("quorum", "quorum"),
        ("regions", "regions"),
    ];
    exact.or_else(|| others.iter().find(|(known, _)| *known == plain).map(|(_, field)| *field)).or_else(|| {
        let starts = [("expect.json", "json"), ("headers", "headers"), ("auth", "auth")];
        starts.iter().find(|(start, _)| plain.starts_with(start)).map(|(_, field)| *field)
    })
}

/// The form with what a curl command asks for; what the command does not speak of stays.
pub fn filled_by(mut fields: Fields, request: Request, name: &str) -> Fields {
    if fields.text("name").is_none() {
        fields.set("name", name);
    }
    fields.set("base_url", &request.url);
    fields.set("health_path", "");
    fields.set("method", request.method.as_deref().unwrap_or("GET"));
    fields.set("headers", &request.headers.iter().map(|(name, value)| format!("{name}: {value}")).collect::<Vec<_>>().join("\n"));
    fields.set("body", request.body.as_deref().unwrap_or_default());
    if let Some((username, password)) = &request.user {
        fields.set("auth", "basic");
        fields.set("username", username);
        fields.set("password", password);
    }
    if let Some(token) = &request.bearer {
        fields.set("auth", "bearer");
        fields.set("token", token);
    }
    if request.insecure {
        fields.set("insecure", "true");
    }
    if !request.follow {
        fields.set("redirects", "0");
    }
    for (field, value) in [
        ("timeout_s", request.timeout_s.as_deref()),
        ("proxy", request.proxy.as_deref()),
        ("http_version", request.http_version),
        ("ip_family", request.ip_family),
    ] {
        if let Some(value) = value {
            fields.set(field, value);
        }
    }
    fields
}

fn auth(fields: &Fields) -> Option<Value> {
    let kind = fields.text("auth").filter(|kind| *kind != "none")?;
    let wanted: &[&str] = match kind {
        "basic" => &["username", "password"],
        "bearer" => &["token"],
        _ => &["token_url", "client_id", "client_secret", "scope"],
    };
    let mut auth = Map::from_iter([("type".to_owned(), Value::from(kind))]);
    for name in wanted {
        let value = fields.get(name).unwrap_or_default();
        if !(value.is_empty() && *name == "scope") {
            auth.insert((*name).to_owned(), Value::from(value));
        }
    }
    Some(Value::Object(auth))
}

/// One line of the field for JSON: `$.path = value`, and other tests by sign or word.
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

fn split(text: Option<&str>) -> impl Iterator<Item = &str> {
    text.unwrap_or_default().split([',', '\n']).map(str::trim).filter(|part| !part.is_empty())
}

fn list(value: Option<&Value>) -> Vec<String> {
    match value {
        Some(Value::Array(values)) => values.iter().map(plain_text).collect(),
        Some(value) => vec![plain_text(value)],
        None => Vec::new(),
    }
}

fn plain_text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        // A whole number without its point.
        Value::Number(number) => number.as_f64().map_or_else(|| number.to_string(), |number| format!("{number}")),
        other => other.to_string(),
    }
}

fn number(text: &str) -> Value {
    if let Ok(whole) = text.parse::<u64>() {
        return Value::from(whole);
    }
    text.parse::<f64>().ok().and_then(Number::from_f64).map_or_else(|| Value::from(text), Value::Number)
}

/// Sets or takes out what is at a path of one or two names.
fn set(document: &mut Value, path: &str, value: Option<Value>) {
    let Value::Object(fields) = document else { return };
    match (path.split_once('.'), value) {
        (None, Some(value)) => drop(fields.insert(path.to_owned(), value)),
        (None, None) => drop(fields.shift_remove(path)),
        (Some((outer, inner)), value) => {
            let slot = fields.entry(outer).or_insert_with(|| json!({}));
            if slot.is_null() {
                *slot = json!({});
            }
            set(slot, inner, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::service::ServiceDocument;

    #[test]
    fn a_document_goes_through_the_form_unchanged() {
        let documents = [
            json!({"name": "a", "base_url": "https://a.example", "interval_s": 30}),
            json!({"name": "b", "base_url": "https://b.example", "health_path": "/x", "method": "POST", "headers": {"Accept": "a: b"}, "body": "{\n}",
                "timeout_s": 2.5, "enabled": false, "cron": "*/5 * * * *", "timezone": "Asia/Tehran", "retries": 2, "redirects": 0,
                "expect": {"status": ["200-299", 404], "body_contains": ["x", "y z"], "certificate_days": 14, "latency_ms": 500,
                    "headers": [{"name": "X", "present": true}],
                    "json": [{"path": "$.a", "equals": "ok"}, {"path": "$.n", "greater_than": 2.0}, {"path": "$.t", "contains": "a = b"},
                        {"path": "$.gone", "exists": false}, {"path": "$.list[0]", "exists": true}]},
                "tls": {"insecure_skip_verify": true}, "auth": {"type": "basic", "username": "u", "password": "********"},
                "regions": ["eu", "us"], "quorum": 2, "failure_threshold": 3, "tags": ["a", "b"], "group": "g", "depends_on": ["a"], "public": true,
                "backoff": {"initial_ms": 10.0, "max_ms": 20.0}}),
            json!({"name": "c", "base_url": "self"}),
        ];
        for document in documents {
            let before = ServiceDocument::read(&document).expect("it is a service");
            let shown = serde_json::to_value(&before).expect("it encodes");
            let after = document_of(&fields_of(&shown), Some(shown.clone()));
            let mut after = ServiceDocument::read(&after).unwrap_or_else(|wrong| panic!("{wrong:?} in {after}"));
            // Said or not said, it is the same.
            after.enabled = after.enabled.filter(|enabled| !enabled).or(before.enabled);
            assert_eq!(after, before);
        }
    }

    #[test]
    fn a_new_service_begins_with_sane_defaults() {
        let mut fields = fields_of(&Value::Null);
        fields.set("name", " Shop ");
        fields.set("base_url", "https://shop.example");
        assert_eq!(
            document_of(&fields, None),
            json!({"name": "Shop", "base_url": "https://shop.example", "interval_s": 60, "headers": {}, "enabled": true})
        );
    }

    #[test]
    fn a_number_that_is_none_is_left_for_the_check_to_tell() {
        let mut fields = fields_of(&Value::Null);
        fields.set("timeout_s", "soon");
        fields.set("latency_ms", "1,5");
        let document = document_of(&fields, None);
        assert_eq!((&document["timeout_s"], &document["expect"]["latency_ms"]), (&json!("soon"), &json!("1,5")));
        for (path, place) in [
            ("timeout_s", Some("timeout_s")),
            ("expect.latency_ms", Some("latency_ms")),
            ("expect.json[2].path", Some("json")),
            ("headers.X-A", Some("headers")),
            ("expect.status[0]", Some("expect_status")),
            ("tls.ca", None),
            ("auth.token", Some("auth")),
        ] {
            assert_eq!(place_of(path), place, "{path}");
        }
    }
}
