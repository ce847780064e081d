//! The configuration of Gatus: its endpoints. What it says of an endpoint: https://github.com/TwiN/gatus#endpoints

use std::collections::HashSet;

use serde_json::{Map, Value, json};

use crate::config::foreign::condition::Conditions;
use crate::config::foreign::{Taken, text, truth};

/// How often it checks what says nothing of that, in seconds.
const INTERVAL_S: f64 = 60.0;
const TIMEOUT_S: f64 = 10.0;

/// Keys of an endpoint that are taken over, or mean nothing to what is watched.
const KNOWN: [&str; 14] = [
    "name",
    "group",
    "url",
    "method",
    "body",
    "headers",
    "graphql",
    "interval",
    "conditions",
    "client",
    "enabled",
    "alerts",
    "ui",
    "extra-labels",
];

/// Whether a text that cannot be read was to be one.
pub fn looks_like(text: &str) -> bool {
    text.lines().any(|line| line.trim_end() == "endpoints:")
}

pub fn is_gatus(file: &Map<String, Value>) -> bool {
    list(file).is_some_and(|entries| entries.iter().all(|entry| entry.get("url").is_some()))
}

/// `services` is what older files call them.
fn list(file: &Map<String, Value>) -> Option<&Vec<Value>> {
    ["endpoints", "services"].iter().find_map(|key| file.get(*key)?.as_array()).filter(|entries| !entries.is_empty())
}

/// What is taken of each, by name; of none what belongs to the whole.
pub fn entries(file: &Map<String, Value>) -> Vec<(Option<String>, Taken)> {
    let one = |(place, entry): (usize, &Value)| {
        let name = text(entry.get("name")).unwrap_or_else(|| format!("endpoint {}", place + 1));
        (Some(name), endpoint(entry))
    };
    let mut all: Vec<_> = list(file).into_iter().flatten().enumerate().map(one).collect();
    for (key, what) in [
        ("alerting", "alerting is not taken over: make channels and rules on the page of alerts"),
        ("external-endpoints", "external-endpoints are not taken over: they are told of, not checked"),
        ("suites", "suites are not taken over: checks here do not hand values on"),
        ("maintenance", "maintenance is not taken over: make a window for it on the page of alerts"),
    ] {
        if file.contains_key(key) {
            all.push((None, Taken::nothing(what)));
        }
    }
    all
}

fn endpoint(entry: &Value) -> Taken {
    let Some(url) = text(entry.get("url")) else { return Taken::nothing("is left out: it has no url") };
    let scheme = url.split_once("://").map(|(scheme, _)| scheme.to_lowercase()).unwrap_or_default();
    let http = match scheme.as_str() {
        "http" | "https" => true,
        "tcp" => false,
        _ => return Taken::nothing(format!("is left out: {url} is none of http, https and tcp")),
    };
    let mut taken = Taken::default();
    taken.set("base_url", url);
    if let Some(group) = text(entry.get("group")) {
        taken.set("group", group);
    }
    span(&mut taken, "interval_s", entry.get("interval"), "interval", INTERVAL_S);
    if entry.get("enabled").is_some() && !truth(entry.get("enabled")) {
        taken.set("enabled", false);
    }
    if http {
        request(entry, &mut taken)
    } else {
        taken.set("kind", "tcp")
    }
    client(entry.get("client"), http, &mut taken);
    let mut conditions = Conditions::default();
    for condition in entry.get("conditions").and_then(Value::as_array).into_iter().flatten() {
        let condition = text(Some(condition)).unwrap_or_default();
        if (!http && condition.trim() != "[CONNECTED] == true") || conditions.add(&condition).is_none() {
            taken.leave(format!("the condition {condition} has no like here"));
        }
    }
    if http {
        conditions.into(&mut taken);
    }
    let keys = entry.as_object().into_iter().flat_map(Map::keys);
    let rest: Vec<String> = keys.filter(|key| !KNOWN.contains(&key.as_str())).map(|key| format!("{key} is not taken over")).collect();
    taken.left.extend(rest);
    let mut names = HashSet::new();
    variables(&Value::Object(taken.service.clone()), &mut names);
    let mut names: Vec<String> = names.into_iter().collect();
    names.sort();
    taken.left.extend(names.into_iter().map(|name| format!("${{{name}}} stands where a value belongs: type it in")));
    taken
}

fn request(entry: &Value, taken: &mut Taken) {
    if let Some(method) = text(entry.get("method")) {
        taken.set("method", method);
    }
    let mut headers: Map<String, Value> = Map::new();
    for (name, value) in entry.get("headers").and_then(Value::as_object).into_iter().flatten() {
        headers.insert(name.clone(), text(Some(value)).unwrap_or_default().into());
    }
    if let Some(body) = text(entry.get("body")) {
        let graphql = truth(entry.get("graphql"));
        if graphql && !headers.keys().any(|name| name.eq_ignore_ascii_case("content-type")) {
            headers.insert("Content-Type".to_owned(), "application/json".into());
        }
        taken.set("body", if graphql { json!({"query": body}).to_string() } else { body });
    }
    if !headers.is_empty() {
        taken.set("headers", headers);
    }
}

fn client(client: Option<&Value>, http: bool, taken: &mut Taken) {
    let at = |key: &str| client.and_then(|client| client.get(key));
    span(taken, "timeout_s", at("timeout"), "client.timeout", TIMEOUT_S);
    if truth(at("insecure")) {
        taken.set("tls.insecure_skip_verify", true);
    }
    if http && truth(at("ignore-redirect")) {
        taken.set("redirects", 0);
    }
    if let (true, Some(proxy)) = (http, text(at("proxy-url"))) {
        taken.set("proxy", proxy);
    }
    match text(at("network")).as_deref() {
        Some("ip4") => taken.set("ip_family", "4"),
        Some("ip6") => taken.set("ip_family", "6"),
        _ => {}
    }
    if let (true, Some(oauth2)) = (http, at("oauth2")) {
        let scopes: Vec<String> =
            oauth2.get("scopes").and_then(Value::as_array).into_iter().flatten().filter_map(|one| text(Some(one))).collect();
        let said = |key: &str| text(oauth2.get(key)).unwrap_or_default();
        let mut auth = json!({
            "type": "oauth2",
            "token_url": said("token-url"), "client_id": said("client-id"), "client_secret": said("client-secret"),
        });
        if !scopes.is_empty() {
            auth["scope"] = scopes.join(" ").into();
        }
        taken.set("auth", auth);
    }
    for key in ["dns-resolver", "identity-aware-proxy", "tls", "tunnel"] {
        if at(key).is_some() {
            taken.leave(format!("client.{key} is not taken over"));
        }
    }
}

/// Sets the seconds of a text such as `1m30s`; the usual ones for nothing, and for what is no span.
fn span(taken: &mut Taken, path: &str, value: Option<&Value>, key: &str, usual: f64) {
    let said = text(value);
    let known = said.as_deref().map(seconds);
    if let (Some(said), Some(None)) = (&said, known) {
        taken.leave(format!("{key} is {said}, which is no span of time: {usual} s instead"));
    }
    taken.set(path, known.flatten().unwrap_or(usual));
}

/// A span of time as Go writes it (https://pkg.go.dev/time#ParseDuration); `None` where it is none, or not above zero.
pub fn seconds(text: &str) -> Option<f64> {
    let mut rest = text.trim();
    let mut sum = 0.0;
    while !rest.is_empty() {
        let digits = rest.find(|letter: char| !letter.is_ascii_digit() && letter != '.')?;
        let number: f64 = rest[..digits].parse().ok()?;
        let unit = rest[digits..].find(|letter: char| letter.is_ascii_digit()).map_or(rest.len(), |end| digits + end);
        sum += number
            * match &rest[digits..unit] {
                "ns" => 1e-9,
                "us" | "µs" => 1e-6,
                "ms" => 1e-3,
                "s" => 1.0,
                "m" => 60.0,
                "h" => 3_600.0,
                _ => return None,
            };
        rest = &rest[unit..];
    }
    (sum > 0.0).then_some(sum)
}

/// The names of variables in any text of a value: `${NAME}`.
fn variables(value: &Value, names: &mut HashSet<String>) {
    match value {
        Value::String(text) => {
            let parts = text.split("${").skip(1).filter_map(|rest| rest.split_once('}'));
            names.extend(parts.map(|(name, _)| name.to_owned()));
        }
        Value::Array(values) => values.iter().for_each(|value| variables(value, names)),
        Value::Object(fields) => fields.values().for_each(|value| variables(value, names)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::config::foreign::{Foreign, read};
    use crate::model::service::Schedule;

    fn foreign(text: &str) -> Foreign {
        read(text, &Schedule::Interval(Duration::from_secs(60))).expect("it is known").expect("it is whole")
    }

    #[test]
    fn endpoints_become_services_and_what_has_no_like_is_told() {
        let found = foreign(
            "\
alerting:
  slack: {webhook-url: \"https://hooks.example\"}
endpoints:
  - name: website
    group: core
    url: \"https://example.org/health\"
    interval: 5m
    headers: {Authorization: \"Bearer ${TOKEN}\", X-Try: 3}
    client: {timeout: 2500ms, insecure: true, ignore-redirect: true, network: ip4}
    conditions:
      - \"[STATUS] == 200\"
      - \"[BODY].status == UP\"
      - \"len([BODY].items) > 3\"
    alerts: [{type: slack}]
  - name: website
    group: other
    url: http://10.0.0.1/graphql
    graphql: true
    method: POST
    body: \"{ users { id } }\"
    enabled: false
  - name: database
    url: tcp://db.example.org:5432
    conditions: [\"[CONNECTED] == true\"]
  - name: router
    url: icmp://10.0.0.2
    conditions: [\"[CONNECTED] == true\"]
  - name: login
    url: https://login.example.org
    client:
      oauth2: {token-url: \"https://id.example.org/token\", client-id: a, client-secret: b, scopes: [x, y]}
  - name: odd
    url: https://odd.example.org
    interval: often
    conditions: [\"[STATUS] > 700\"]
    maintenance-windows: [{start: \"23:30\", duration: 1h}]
",
        );
        let services = serde_json::to_value(&found.documents).unwrap();
        assert_eq!(found.from, "Gatus");
        assert_eq!(
            services[0],
            json!({
                "name": "website", "base_url": "https://example.org/health", "health_path": null, "method": null,
                "headers": {"Authorization": "Bearer ${TOKEN}", "X-Try": "3"}, "timeout_s": 2.5, "enabled": null, "interval_s": 300.0,
                "expect": {"status": [200], "json": [{"path": "$.status", "matches": "^UP$"}]},
                "tls": {"insecure_skip_verify": true}, "redirects": 0, "ip_family": "4", "group": "core",
            })
        );
        assert_eq!(
            (&services[1]["name"], &services[1]["body"], &services[1]["enabled"], &services[1]["expect"]["status"]),
            (&json!("website (other)"), &json!("{\"query\":\"{ users { id } }\"}"), &json!(false), &json!(["100-599"]))
        );
        assert_eq!((&services[2]["kind"], &services[2]["expect"]), (&json!("tcp"), &json!(null)));
        assert_eq!(services[3]["auth"]["scope"], "x y");
        assert_eq!(found.documents.len(), 4);
        let left: Vec<(&str, &str)> = found.left.iter().map(|left| (left.service.as_deref().unwrap_or(""), left.what.as_str())).collect();
        assert_eq!(
            left,
            [
                ("website", "the condition len([BODY].items) > 3 has no like here"),
                ("website", "${TOKEN} stands where a value belongs: type it in"),
                ("router", "is left out: icmp://10.0.0.2 is none of http, https and tcp"),
                ("odd", "interval is often, which is no span of time: 60 s instead"),
                ("odd", "maintenance-windows is not taken over"),
                ("odd", "is left out: expect.status must name at least one code"),
                ("", "alerting is not taken over: make channels and rules on the page of alerts"),
            ]
        );
    }

    #[test]
    fn spans_are_those_of_go() {
        for (text, known) in [
            ("60s", Some(60.0)),
            ("1h30m", Some(5_400.0)),
            ("1.5s", Some(1.5)),
            ("250ms", Some(0.25)),
            ("", None),
            ("0s", None),
            ("5", None),
            ("5 m", None),
            ("-5s", None),
            ("s", None),
        ] {
            assert_eq!(seconds(text), known, "{text}");
        }
    }
}
