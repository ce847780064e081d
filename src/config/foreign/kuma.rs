//! A backup of Uptime Kuma: its list of monitors, as version 1 writes it and as programs that ask its socket keep it.

use std::collections::HashMap;

use serde_json::{Map, Value, json};

use crate::config::foreign::condition::json_path;
use crate::config::foreign::{Taken, exactly, text, truth};

/// The most redirects and thresholds there are here.
const MOST_REDIRECTS: u64 = 20;
const MOST_IN_A_ROW: u64 = 100;

/// What is taken of each, by name; of none what belongs to the whole.
pub fn entries(file: &Map<String, Value>) -> Vec<(Option<String>, Taken)> {
    let monitors: Vec<&Value> = match file.get("monitorList") {
        Some(Value::Array(list)) => list.iter().collect(),
        // By their numbers.
        Some(Value::Object(list)) => list.values().collect(),
        _ => Vec::new(),
    };
    let named = |monitor: &&Value| Some((text(monitor.get("id"))?, text(monitor.get("name"))?));
    let groups: HashMap<String, String> = monitors.iter().filter(|one| kind(one) == "group").filter_map(named).collect();
    let one = |(place, monitor): (usize, &&Value)| {
        let name = text(monitor.get("name")).unwrap_or_else(|| format!("monitor {}", place + 1));
        (Some(name), taken_of(monitor, &groups))
    };
    let mut all: Vec<_> = monitors.iter().filter(|one| kind(one) != "group").enumerate().map(one).collect();
    for (key, what) in [
        ("notificationList", "notifications are not taken over: make channels and rules on the page of alerts"),
        ("proxyList", "proxies are not taken over: name each in the form of its service"),
    ] {
        if file.get(key).and_then(Value::as_array).is_some_and(|list| !list.is_empty()) {
            all.push((None, Taken::nothing(what)));
        }
    }
    all
}

fn kind(monitor: &Value) -> &str {
    monitor.get("type").and_then(Value::as_str).unwrap_or("http")
}

fn taken_of(monitor: &Value, groups: &HashMap<String, String>) -> Taken {
    let at = |key: &str| monitor.get(key);
    let said = |key: &str| text(at(key));
    let number = |key: &str| at(key).and_then(Value::as_f64).filter(|number| *number > 0.0);
    let kind = kind(monitor);
    if truth(at("upsideDown")) {
        return Taken::nothing("is left out: it is up when its check fails");
    }
    let mut taken = Taken::default();
    match kind {
        "http" | "keyword" | "json-query" => {
            taken.set("base_url", said("url").unwrap_or_default());
            request(monitor, &mut taken);
            expected(monitor, kind, &mut taken);
            auth(monitor, &mut taken);
        }
        "port" => {
            let (host, port) = (said("hostname").unwrap_or_default(), said("port").unwrap_or_default());
            let host = if host.contains(':') && !host.starts_with('[') { format!("[{host}]") } else { host };
            taken.set("base_url", format!("tcp://{host}:{port}"));
            taken.set("kind", "tcp");
        }
        other => return Taken::nothing(format!("is left out: a monitor of type {other} has no like here")),
    }
    for (key, path) in [("interval", "interval_s"), ("timeout", "timeout_s")] {
        if let Some(number) = number(key) {
            taken.set(path, number);
        }
    }
    // So many more failures does it wait for.
    if let Some(more) = number("maxretries") {
        taken.set("failure_threshold", (more as u64 + 1).min(MOST_IN_A_ROW));
    }
    if at("active").is_some() && !truth(at("active")) {
        taken.set("enabled", false);
    }
    if truth(at("ignoreTls")) {
        taken.set("tls.insecure_skip_verify", true);
    }
    if let Some(group) = said("parent").and_then(|parent| groups.get(&parent)) {
        taken.set("group", group.as_str());
    }
    let tags = at("tags").and_then(Value::as_array).into_iter().flatten().filter_map(|tag| {
        let name = text(tag.get("name"))?;
        Some(text(tag.get("value")).map_or_else(|| name.clone(), |value| format!("{name}:{value}")))
    });
    let tags: Vec<String> = tags.collect();
    if !tags.is_empty() {
        taken.set("tags", tags);
    }
    taken
}

fn request(monitor: &Value, taken: &mut Taken) {
    let at = |key: &str| monitor.get(key);
    if let Some(method) = text(at("method")) {
        taken.set("method", method);
    }
    // Kept as a text that is JSON.
    let written = match at("headers") {
        Some(Value::String(text)) if !text.trim().is_empty() => serde_json::from_str(text).unwrap_or_else(|_| {
            taken.leave("headers are not JSON and are not taken over");
            Value::Null
        }),
        other => other.cloned().unwrap_or_default(),
    };
    let mut headers: Map<String, Value> = Map::new();
    for (name, value) in written.as_object().into_iter().flatten() {
        headers.insert(name.clone(), text(Some(value)).unwrap_or_default().into());
    }
    if let Some(body) = text(at("body")) {
        let coded = match text(at("httpBodyEncoding")).as_deref() {
            Some("form") => "application/x-www-form-urlencoded",
            Some("xml") => "text/xml",
            _ => "application/json",
        };
        if !headers.keys().any(|name| name.eq_ignore_ascii_case("content-type")) {
            headers.insert("Content-Type".to_owned(), coded.into());
        }
        taken.set("body", body);
    }
    if !headers.is_empty() {
        taken.set("headers", headers);
    }
    if let Some(redirects) = at("maxredirects").and_then(Value::as_u64) {
        taken.set("redirects", redirects.min(MOST_REDIRECTS));
    }
}

fn expected(monitor: &Value, kind: &str, taken: &mut Taken) {
    let at = |key: &str| monitor.get(key);
    let codes = match at("accepted_statuscodes").or(at("accepted_statuscodes_json")) {
        Some(Value::String(list)) => serde_json::from_str(list).unwrap_or_default(),
        other => other.cloned().unwrap_or_default(),
    };
    if let Some(codes) = codes.as_array().filter(|codes| !codes.is_empty()) {
        taken.set("expect.status", codes.clone());
    }
    match kind {
        "keyword" => {
            let word = text(at("keyword")).unwrap_or_default();
            let path = if truth(at("invertKeyword")) { "expect.body_not_contains" } else { "expect.body_contains" };
            taken.set(path, vec![word]);
        }
        "json-query" => {
            let query = text(at("jsonPath")).unwrap_or_default();
            let wanted = text(at("expectedValue")).unwrap_or_default();
            let operator = text(at("jsonPathOperator")).unwrap_or_else(|| "==".to_owned());
            match json_test(&query, &operator, &wanted) {
                Some(test) => taken.set("expect.json", vec![test]),
                None => taken.leave(format!("the test {query} {operator} {wanted} has no like here")),
            }
        }
        _ => {}
    }
}

/// Its paths are JSONata: those of names and places alone mean the same here. What is found is compared as text there.
fn json_test(query: &str, operator: &str, wanted: &str) -> Option<Value> {
    let plain = query.strip_prefix("$.").or(query.strip_prefix('$')).unwrap_or(query);
    let path = json_path(plain)?;
    Some(match operator {
        "==" => json!({"path": path, "matches": exactly(wanted)}),
        "contains" => json!({"path": path, "contains": wanted}),
        ">" => json!({"path": path, "greater_than": wanted.parse::<f64>().ok()?}),
        "<" => json!({"path": path, "less_than": wanted.parse::<f64>().ok()?}),
        _ => return None,
    })
}

fn auth(monitor: &Value, taken: &mut Taken) {
    let said = |key: &str| text(monitor.get(key));
    let given = |key: &str| said(key).unwrap_or_default();
    match said("authMethod").as_deref() {
        Some("oauth2-cc") => {
            let mut auth = json!({
                "type": "oauth2", "token_url": given("oauth_token_url"),
                "client_id": given("oauth_client_id"), "client_secret": given("oauth_client_secret"),
            });
            if let Some(scopes) = said("oauth_scopes") {
                auth["scope"] = scopes.into();
            }
            taken.set("auth", auth);
        }
        Some("mtls") => {
            for (key, path) in [("tlsCert", "tls.client_cert"), ("tlsKey", "tls.client_key"), ("tlsCa", "tls.ca")] {
                if let Some(pem) = said(key) {
                    taken.set(path, pem);
                }
            }
        }
        Some("ntlm") => taken.leave("NTLM is not known here: it is checked without a log-in"),
        // Older ones name no way, only a user.
        _ => {
            if let Some(user) = said("basic_auth_user") {
                taken.set("auth", json!({"type": "basic", "username": user, "password": given("basic_auth_pass")}));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::config::foreign::read;
    use crate::model::service::Schedule;

    #[test]
    fn monitors_become_services_and_what_has_no_like_is_told() {
        let backup = json!({
            "version": "1.23.13",
            "notificationList": [{"id": 1, "name": "mail"}],
            "monitorList": [
                {"id": 1, "name": "Core", "type": "group", "active": true},
                {
                    "id": 2, "name": "Shop", "type": "http", "parent": 1, "url": "https://shop.example/health", "method": "POST",
                    "interval": 30, "timeout": 24, "maxretries": 2, "maxredirects": 30, "ignoreTls": true, "active": true, "upsideDown": false,
                    "accepted_statuscodes": ["200-299", "404"], "headers": "{\"X-A\": \"b\"}", "body": "{\"a\": 1}", "httpBodyEncoding": "json",
                    "authMethod": "basic", "basic_auth_user": "u", "basic_auth_pass": "p", "tags": [{"name": "env", "value": "prod"}, {"name": "web", "value": ""}],
                },
                {"id": 3, "name": "Words", "type": "keyword", "url": "https://w.example", "keyword": "error", "invertKeyword": true, "active": 0},
                {"id": 4, "name": "JSON", "type": "json-query", "url": "https://j.example", "jsonPath": "data.items[0].state", "expectedValue": "ok"},
                {"id": 5, "name": "Odd JSON", "type": "json-query", "url": "https://j.example", "jsonPath": "$count(items)", "expectedValue": "1"},
                {"id": 6, "name": "Database", "type": "port", "hostname": "db.example", "port": 5432, "interval": 60},
                {"id": 7, "name": "Router", "type": "ping", "hostname": "10.0.0.1"},
                {"id": 8, "name": "Turned", "type": "http", "url": "https://t.example", "upsideDown": true},
                {"id": 9, "name": "Nowhere", "type": "http", "url": "shop dot example", "headers": "no json", "authMethod": "ntlm"},
            ],
        });
        let found = read(&backup.to_string(), &Schedule::Interval(Duration::from_secs(60))).expect("it is known").expect("it is whole");
        let services = serde_json::to_value(&found.documents).unwrap();
        assert_eq!(found.from, "Uptime Kuma");
        assert_eq!(
            services[0],
            json!({
                "name": "Shop", "base_url": "https://shop.example/health", "health_path": null, "method": "POST",
                "headers": {"Content-Type": "application/json", "X-A": "b"}, "body": "{\"a\": 1}", "timeout_s": 24.0, "enabled": null, "interval_s": 30.0,
                "expect": {"status": ["200-299", "404"]}, "tls": {"insecure_skip_verify": true}, "redirects": 20,
                "auth": {"type": "basic", "username": "u", "password": "p"}, "failure_threshold": 3, "tags": ["env:prod", "web"], "group": "Core",
            })
        );
        assert_eq!((&services[1]["expect"], &services[1]["enabled"]), (&json!({"body_not_contains": ["error"]}), &json!(false)));
        assert_eq!(services[2]["expect"]["json"], json!([{"path": "$.data.items[0].state", "matches": "^ok$"}]));
        assert_eq!((&services[4]["base_url"], &services[4]["kind"]), (&json!("tcp://db.example:5432"), &json!("tcp")));
        assert_eq!(found.documents.len(), 5);
        let left: Vec<(&str, String)> =
            found.left.iter().map(|left| (left.service.as_deref().unwrap_or(""), left.what.chars().take(60).collect())).collect();
        assert_eq!(
            left,
            [
                ("Odd JSON", "the test $count(items) == 1 has no like here"),
                ("Router", "is left out: a monitor of type ping has no like here"),
                ("Turned", "is left out: it is up when its check fails"),
                ("Nowhere", "headers are not JSON and are not taken over"),
                ("Nowhere", "NTLM is not known here: it is checked without a log-in"),
                ("Nowhere", "is left out: base_url \"shop dot example\" needs https:// or h"),
                ("", "notifications are not taken over: make channels and rules on"),
            ]
            .map(|(service, what)| (service, what.to_owned()))
        );
    }

    #[test]
    fn a_list_by_numbers_is_read_too() {
        let kept = json!({"monitorList": {"7": {"name": "Shop", "type": "http", "url": "https://shop.example"}}});
        let found = read(&kept.to_string(), &Schedule::Interval(Duration::from_secs(60))).expect("it is known").expect("it is whole");
        assert_eq!((found.documents.len(), found.left.len()), (1, 0));
    }
}
