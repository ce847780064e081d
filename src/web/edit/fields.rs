//! Between the fields of the form and the document of a service, both ways. Pure.
//!
//! A field that was not touched leaves its part of the document exactly as it is, and so does whatever the form does not show. A
//! number that is none goes on as the text it is, so that the check of the document says what is wrong with it.

use serde_json::{Map, Value, json};

use crate::web::curl::Request;
use crate::web::edit::lines::{HEADERS, JSON};
use crate::web::input::{number, parts};
use crate::web::visit::Fields;

/// Fields that are one number, and where they are in the document.
pub const NUMBERS: [(&str, &str); 13] = [
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
    ("backoff_initial_ms", "backoff.initial_ms"),
    ("backoff_max_ms", "backoff.max_ms"),
];
pub const TEXTS: [(&str, &str); 11] = [
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
pub const SWITCHES: [(&str, &str); 4] = [
    ("public", "public"),
    ("incident_on_degraded", "incident_on_degraded"),
    ("insecure", "tls.insecure_skip_verify"),
    ("reuse_connection", "reuse_connection"),
];
/// Fields with an entry on each line.
pub const LINES: [(&str, &str); 3] =
    [("contains", "expect.body_contains"), ("contains_not", "expect.body_not_contains"), ("matches", "expect.body_regex")];
/// Certificates and keys, in lines of their own.
pub const PEMS: [(&str, &str); 3] = [("ca", "tls.ca"), ("client_cert", "tls.client_cert"), ("client_key", "tls.client_key")];
/// Letters of a value that stands beside a field.
const LINE: usize = 120;
pub const AUTH: [&str; 7] = ["username", "password", "token", "token_url", "client_id", "client_secret", "scope"];

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
    for (field, path) in NUMBERS.iter().chain(&TEXTS).chain(&SWITCHES).chain(&PEMS) {
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
    fields.set("json", &JSON.lines(at("expect.json")));
    fields.set("expect_headers", &HEADERS.lines(at("expect.headers")));
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
    let kept = base.unwrap_or_else(|| json!({}));
    let mut document = kept.clone();
    let shown = fields_of(&kept);
    let touched = |name: &str| kept.as_object().is_none_or(Map::is_empty) || !alike(name, fields, &shown);
    let text = |name: &str| fields.text(name);
    for (field, path) in NUMBERS.into_iter().filter(|(field, _)| touched(field)) {
        set(&mut document, path, text(field).map(number));
    }
    for (field, path) in TEXTS.into_iter().filter(|(field, _)| touched(field)) {
        set(&mut document, path, text(field).map(Value::from));
    }
    for (field, path) in SWITCHES.into_iter().filter(|(field, _)| touched(field)) {
        set(&mut document, path, text(field).map(|_| Value::Bool(true)));
    }
    for (field, path) in PEMS.into_iter().filter(|(field, _)| touched(field)) {
        set(&mut document, path, text(field).map(|pem| Value::from(pem.replace("\r\n", "\n"))));
    }
    for (field, path) in LINES.into_iter().filter(|(field, _)| touched(field)) {
        let lines: Vec<Value> =
            fields.get(field).unwrap_or_default().lines().filter(|line| !line.trim().is_empty()).map(Value::from).collect();
        set(&mut document, path, (!lines.is_empty()).then_some(Value::Array(lines)));
    }
    if touched("expect_status") {
        let codes: Vec<Value> = parts(fields.get("expect_status").unwrap_or_default()).map(number).collect();
        set(&mut document, "expect.status", (!codes.is_empty()).then_some(Value::Array(codes)));
    }
    for name in ["tags", "depends_on"].into_iter().filter(|name| touched(name)) {
        let names: Vec<Value> = parts(fields.get(name).unwrap_or_default()).map(Value::from).collect();
        set(&mut document, name, (!names.is_empty()).then_some(Value::Array(names)));
    }
    for (field, path, form) in [("json", "expect.json", JSON), ("expect_headers", "expect.headers", HEADERS)] {
        if touched(field) {
            let before = kept.get("expect").and_then(|expect| expect.get(&path["expect.".len()..]));
            let tests = form.entries(fields.get(field).unwrap_or_default(), before);
            set(&mut document, path, (!tests.is_empty()).then_some(Value::Array(tests)));
        }
    }
    if touched("headers") {
        let lines = fields.get("headers").unwrap_or_default().lines().filter(|line| !line.trim().is_empty());
        let pairs = lines.map(|line| line.split_once(':').unwrap_or((line, "")));
        let headers = pairs.map(|(name, value)| (name.trim().to_owned(), Value::from(value.trim()))).collect();
        set(&mut document, "headers", Some(Value::Object(headers)));
    }
    if touched("body") {
        set(&mut document, "body", fields.get("body").filter(|body| !body.is_empty()).map(|body| Value::from(body.replace("\r\n", "\n"))));
    }
    if touched("quorum") {
        set(&mut document, "quorum", text("quorum").filter(|quorum| *quorum != "majority").map(number));
    }
    if touched("regions") {
        let regions: Vec<Value> = fields.all("regions").filter(|region| !region.is_empty()).map(Value::from).collect();
        set(&mut document, "regions", (!regions.is_empty()).then_some(Value::Array(regions)));
    }
    if touched("enabled") {
        set(&mut document, "enabled", Some(Value::Bool(text("enabled").is_some())));
    }
    if touched("rhythm") {
        match text("rhythm") {
            Some("interval") => ["cron", "timezone", "spread_s"].iter().for_each(|name| set(&mut document, name, None)),
            Some("cron") => set(&mut document, "interval_s", None),
            _ => ["interval_s", "cron", "timezone", "spread_s"].iter().for_each(|name| set(&mut document, name, None)),
        }
    }
    if touched("auth") || AUTH.into_iter().any(touched) {
        set(&mut document, "auth", auth(fields));
    }
    if touched("base_url") {
        fit_kind(&mut document);
    }
    for name in ["expect", "tls", "backoff"] {
        let emptied = document.get(name).and_then(Value::as_object).is_some_and(Map::is_empty);
        if emptied && kept.get(name) != document.get(name) {
            set(&mut document, name, None);
        }
    }
    document
}

/// The address says of what kind a check is.
fn fit_kind(document: &mut Value) {
    let address = document.get("base_url").and_then(Value::as_str).unwrap_or_default();
    let kind = match address.split_once("://").map(|(scheme, _)| scheme.to_ascii_lowercase()).as_deref() {
        Some("tcp") => Some("tcp"),
        Some("redis" | "rediss") => Some("redis"),
        Some("mongodb") => Some("mongodb"),
        Some("http" | "https") => None,
        _ => return,
    };
    let spoken = document.get("kind").and_then(Value::as_str).is_some_and(|kind| ["tcp", "redis", "mongodb"].contains(&kind));
    if let Some(kind) = kind {
        set(document, "kind", Some(Value::from(kind)));
        // The form always sends a method, and only what speaks HTTP has one.
        if document.get("method") == Some(&Value::from("GET")) {
            set(document, "method", None);
        }
    } else if spoken {
        set(document, "kind", None);
    }
}

/// Lines of headers that cannot be taken as they are: by number from 1, with the key of what is wrong and what it is about.
pub fn mistaken_headers(text: &str) -> Vec<(usize, &'static str, String)> {
    let mut seen = std::collections::BTreeSet::new();
    let mut mistaken = Vec::new();
    for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        match line.split_once(':') {
            Some((name, _)) if !seen.insert(name.trim().to_ascii_lowercase()) => {
                mistaken.push((index + 1, "edit.header_twice", name.trim().to_owned()));
            }
            Some(_) => {}
            None => mistaken.push((index + 1, "edit.header_plain", line.trim().to_owned())),
        }
    }
    mistaken
}

/// Whether a field that is to be a number holds something that is none.
pub fn typed_wrong(fields: &Fields, name: &str) -> bool {
    NUMBERS.iter().any(|(field, _)| *field == name) && fields.text(name).is_some_and(|text| !number(text).is_number())
}

pub fn is_switch(name: &str) -> bool {
    name == "enabled" || SWITCHES.iter().any(|(field, _)| *field == name)
}

/// Fields that say one thing here and another there, with what they say there, shortened to a line. How often it is checked is
/// told by the fields for it.
pub fn different(one: &Fields, other: &Fields) -> Vec<(&'static str, String)> {
    let singles = NUMBERS.iter().chain(&TEXTS).chain(&SWITCHES).chain(&LINES).chain(&PEMS).map(|(field, _)| *field);
    let rest = ["expect_status", "tags", "depends_on", "headers", "body", "json", "expect_headers", "quorum", "regions", "enabled", "auth"];
    let there = |name: &str| {
        let lines: Vec<&str> = other.all(name).flat_map(str::lines).map(str::trim).filter(|line| !line.is_empty()).collect();
        let line = lines.join(", ");
        match line.char_indices().nth(LINE) {
            Some((end, _)) => format!("{}…", &line[..end]),
            None => line,
        }
    };
    singles.chain(rest).chain(AUTH).filter(|name| !alike(name, one, other)).map(|name| (name, there(name))).collect()
}

/// Whether a field still says what it said when it was shown.
fn alike(name: &str, sent: &Fields, shown: &Fields) -> bool {
    let said = |fields: &Fields| {
        let mut values: Vec<String> = fields.all(name).map(|value| value.replace("\r\n", "\n").trim().to_owned()).collect();
        // What a form sends where nothing was chosen.
        let nothing = |value: &String| {
            value.is_empty() || (is_switch(name) && value == "false") || (name == "method" && value == "GET" && shown.text(name).is_none())
        };
        values.retain(|value| !nothing(value));
        values.sort();
        values
    };
    said(sent) == said(shown)
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
    match &request.redirects {
        _ if !request.follow => fields.set("redirects", "0"),
        Some(redirects) => fields.set("redirects", redirects),
        None => {}
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

fn list(value: Option<&Value>) -> Vec<String> {
    match value {
        Some(Value::Array(values)) => values.iter().map(plain_text).collect(),
        Some(value) => vec![plain_text(value)],
        None => Vec::new(),
    }
}

pub fn plain_text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        // A whole number without its point.
        Value::Number(number) => number.as_f64().map_or_else(|| number.to_string(), |number| format!("{number}")),
        other => other.to_string(),
    }
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
            let after = ServiceDocument::read(&after).unwrap_or_else(|wrong| panic!("{wrong:?} in {after}"));
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
    }

    #[test]
    fn a_command_says_how_many_redirects_are_followed() {
        for (follow, most, shown) in [(false, Some("3"), "0"), (true, Some("3"), "3"), (true, None, "7")] {
            let mut fields = Fields::default();
            fields.set("redirects", "7");
            let request = Request { follow, redirects: most.map(str::to_owned), ..Request::default() };
            assert_eq!(filled_by(fields, request, "x").get("redirects"), Some(shown), "{follow} {most:?}");
        }
    }

    /// As a browser sends the form that shows these fields.
    fn sent(shown: &Fields) -> Fields {
        let mut sent = Fields::default();
        let all = NUMBERS.iter().chain(&TEXTS).chain(&PEMS).chain(&LINES).map(|(field, _)| *field);
        let others = ["json", "expect_headers", "expect_status", "tags", "depends_on", "headers", "body", "quorum", "auth", "rhythm"];
        for name in all.chain(others).chain(AUTH) {
            let value = shown.get(name).unwrap_or_default();
            let value = if name == "method" && value.is_empty() { "GET" } else { value };
            sent.set(name, &value.replace('\n', "\r\n"));
        }
        for name in SWITCHES.iter().map(|(field, _)| *field).chain(["enabled"]).filter(|name| shown.get(name) == Some("true")) {
            sent.set(name, "true");
        }
        let mut regions: Vec<&str> = shown.all("regions").collect();
        regions.sort();
        regions.into_iter().for_each(|region| sent.0.push(("regions".to_owned(), region.to_owned())));
        sent
    }

    fn everything() -> Value {
        json!({"name": "b", "base_url": "https://b.example", "health_path": "/x", "kind": "http", "method": "get",
            "headers": {"Accept": "a: b", "X-Odd": "  two  "}, "body": "{\n}\n", "timeout_s": 2.5, "enabled": true, "interval_s": 30.0,
            "spread_s": 3.0, "timezone": "Asia/Tehran", "retries": 2, "backoff": {"initial_ms": 10.0, "max_ms": 20.0},
            "expect": {"status": "200-299", "body_contains": "x\ny", "body_not_contains": ["z"], "body_regex": "^a", "certificate_days": 14,
                "latency_ms": 500.0, "headers": [{"name": "X", "present": true}, {"name": "Y", "matches": " a "}, {"name": "Z"}],
                "json": [{"path": "$.a"}, {"path": "$.t", "contains": " a = b "}, {"path": "$.n", "greater_than": 2.0}]},
            "tls": {"insecure_skip_verify": false, "ca": "-----BEGIN\nca\n", "client_cert": "cert\n", "client_key": "********",
                "server_name": "b.example"},
            "redirects": 0, "ip_family": "ipv4", "http_version": "any", "proxy": "http://proxy:3128",
            "auth": {"type": "oauth2", "token_url": "https://t.example", "client_id": "i", "client_secret": "********"},
            "max_body_bytes": 5, "reuse_connection": false, "regions": ["us", "eu"], "quorum": "majority", "failure_threshold": 3,
            "success_threshold": 2, "degraded_after_ms": 800.5, "incident_on_degraded": true, "tags": ["a, b", "c"], "group": "g",
            "depends_on": ["a"], "public": false})
    }

    #[test]
    fn a_service_saved_as_it_was_shown_stays_as_it_was_to_the_letter() {
        let document = everything();
        let known = serde_json::to_value(ServiceDocument::read(&document).expect("it is a service")).expect("it encodes");
        let unused: Vec<&String> =
            known.as_object().expect("it is one").iter().filter(|(_, value)| value.is_null()).map(|(name, _)| name).collect();
        assert!(unused == ["cron"] || unused.is_empty(), "{unused:?}");
        assert_eq!(document_of(&sent(&fields_of(&document)), Some(document.clone())), document);
        let bare = json!({"name": "a", "base_url": "tcp://db:5432", "kind": "tcp", "headers": {}, "cron": "* * * * *"});
        assert_eq!(document_of(&sent(&fields_of(&bare)), Some(bare.clone())), bare);
    }

    #[test]
    fn one_field_changes_and_no_other() {
        let document = everything();
        let mut fields = sent(&fields_of(&document));
        fields.set("latency_ms", "750");
        fields.set("server_name", "");
        fields.set("expect_headers", "X exists\r\nY matches  a \r\nServer: nginx");
        let mut wanted = document.clone();
        wanted["expect"]["latency_ms"] = json!(750);
        wanted["tls"].as_object_mut().expect("it is one").shift_remove("server_name");
        wanted["expect"]["headers"] =
            json!([{"name": "X", "present": true}, {"name": "Y", "matches": " a "}, {"name": "Server", "equals": "nginx"}]);
        assert_eq!(document_of(&fields, Some(document)), wanted);
    }

    #[test]
    fn the_address_says_the_kind() {
        let of = |address: &str, base: Option<Value>| {
            let mut fields = sent(&fields_of(base.as_ref().unwrap_or(&Value::Null)));
            fields.set("name", "x");
            fields.set("base_url", address);
            let document = document_of(&fields, base);
            ServiceDocument::read(&document).expect("it reads").check(crate::model::id::ServiceId(0), &SCHEDULE).expect("it holds");
            document.get("kind").cloned()
        };
        for (address, kind) in [
            ("tcp://db.example:5432", Some("tcp")),
            ("rediss://cache.example", Some("redis")),
            ("mongodb://db.example", Some("mongodb")),
            ("https://x.example", None),
        ] {
            assert_eq!(of(address, None), kind.map(Value::from), "{address}");
        }
        let tcp = json!({"name": "x", "base_url": "tcp://db:1", "kind": "tcp", "headers": {}});
        assert_eq!(of("https://x.example", Some(tcp)), None, "another address, another kind");
    }

    const SCHEDULE: crate::model::service::Schedule = crate::model::service::Schedule::Interval(std::time::Duration::from_secs(60));

    #[test]
    fn every_field_has_a_place_in_the_form() {
        let form = include_str!("../../../templates/edit.html");
        let all = NUMBERS.iter().chain(&TEXTS).chain(&SWITCHES).chain(&PEMS).chain(&LINES).map(|(field, _)| *field);
        for name in all.chain(AUTH).chain(["expect_headers", "json", "expect_status", "body", "headers", "quorum", "depends_on", "tags"]) {
            assert!(form.contains(&format!("(\"{name}\", ")) || name == "method", "{name} is not in the form");
        }
    }
}
