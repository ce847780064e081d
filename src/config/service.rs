//! A service as people write it: an entry of services.json, the body of an API request, the record in the store and the
//! document an assignment carries. `check` turns it into the `Service` that runs, or names every mistake in it.

use std::collections::BTreeMap;
use std::time::Duration;

use regex::Regex;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json_path::JsonPath;
use url::Url;

use crate::config::mistake::Mistake;
use crate::model::id::ServiceId;
use crate::model::service::{
    Auth, Backoff, Expectations, HeaderExpectation, HeaderTest, HttpChoice, IpFamily, JsonExpectation, JsonTest, Kind, Quorum, Schedule,
    Service, Target, TlsOptions,
};

/// Every field is optional here, so that one that is wrong does not hide another; `check` asks for those that must be.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ServiceDocument {
    pub name: Option<String>,
    pub base_url: Option<String>,
    pub health_path: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    pub method: Option<String>,
    pub headers: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    pub timeout_s: Option<f64>,
    pub enabled: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interval_s: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cron: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timezone: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub spread_s: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retries: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backoff: Option<BackoffDocument>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expect: Option<ExpectDocument>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<TlsDocument>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub redirects: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ip_family: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http_version: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proxy: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auth: Option<AuthDocument>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_body_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reuse_connection: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub regions: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quorum: Option<QuorumDocument>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure_threshold: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub success_threshold: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub degraded_after_ms: Option<f64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub depends_on: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub public: Option<bool>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BackoffDocument {
    pub initial_ms: Option<f64>,
    pub max_ms: Option<f64>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ExpectDocument {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<OneOrMany<Status>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body_contains: Option<OneOrMany<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body_not_contains: Option<OneOrMany<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body_regex: Option<OneOrMany<String>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub json: Vec<JsonDocument>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub headers: Vec<HeaderDocument>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificate_days: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latency_ms: Option<f64>,
}

/// `200` or `"200-299"`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Status {
    Code(u64),
    Text(String),
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum OneOrMany<T> {
    One(T),
    Many(Vec<T>),
}

impl<T> OneOrMany<T> {
    fn as_slice(&self) -> &[T] {
        match self {
            OneOrMany::One(one) => std::slice::from_ref(one),
            OneOrMany::Many(many) => many,
        }
    }

    /// The path of entry `index` below `path`.
    fn place(&self, path: &str, index: usize) -> String {
        match self {
            OneOrMany::One(_) => path.to_owned(),
            OneOrMany::Many(_) => format!("{path}[{index}]"),
        }
    }
}

/// A JSONPath and just one test.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct JsonDocument {
    pub path: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exists: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub equals: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub not_equals: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub greater_than: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub less_than: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub contains: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub matches: Option<String>,
}

/// A header and just one test.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HeaderDocument {
    pub name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub present: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub equals: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub matches: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TlsDocument {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub insecure_skip_verify: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_cert: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server_name: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum AuthDocument {
    Basic {
        username: String,
        password: String,
    },
    Bearer {
        token: String,
    },
    Oauth2 {
        token_url: String,
        client_id: String,
        client_secret: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        scope: Option<String>,
    },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum QuorumDocument {
    Count(u64),
    Name(String),
}

impl ServiceDocument {
    /// Reads one JSON object, naming every field that does not fit.
    pub fn read(value: &Value) -> Result<ServiceDocument, Vec<Mistake>> {
        let Value::Object(fields) = value else {
            return Err(vec![Mistake::new("", format!("expected an object, found {}", kind_of(value)))]);
        };
        let mut mistakes = Vec::new();
        for (key, value) in fields {
            // A field alone is a document too, as all are optional: so each is read by itself and none hides the next.
            let alone = Value::Object([(key.clone(), value.clone())].into_iter().collect());
            if let Err(err) = serde_json::from_value::<ServiceDocument>(alone) {
                mistakes.push(Mistake::new(key.as_str(), plain(&err.to_string(), key)));
            }
        }
        if !mistakes.is_empty() {
            return Err(mistakes);
        }
        serde_json::from_value(value.clone()).map_err(|err| vec![Mistake::new("", err.to_string())])
    }

    /// The service that runs, or all that is wrong. `default_schedule` serves those that name neither interval nor cron.
    pub fn check(&self, id: ServiceId, default_schedule: &Schedule) -> Result<Service, Vec<Mistake>> {
        let mut wrong = Vec::new();
        let name = required(&self.name, "name", &mut wrong);
        if name.chars().count() > 200 {
            wrong.push(Mistake::new("name", "must be at most 200 characters"));
        }
        if name.chars().any(char::is_control) {
            wrong.push(Mistake::new("name", "must not hold control characters"));
        }
        let kind = check_kind(self.kind.as_deref(), &mut wrong);
        let target = check_target(&required(&self.base_url, "base_url", &mut wrong), self.health_path.as_deref().unwrap_or(""), &mut wrong);
        let method = check_method(self.method.as_deref(), &mut wrong);
        let timeout = seconds("timeout_s", self.timeout_s.unwrap_or(10.0), 0.001, 300.0, &mut wrong);
        let schedule = self.check_schedule(default_schedule, &mut wrong);
        let backoff = self.backoff.clone().unwrap_or_default();
        let initial = millis("backoff.initial_ms", backoff.initial_ms.unwrap_or(250.0), 0.0, 60_000.0, &mut wrong);
        let max = millis("backoff.max_ms", backoff.max_ms.unwrap_or(5_000.0), 0.0, 300_000.0, &mut wrong);
        let expect = check_expectations(&self.expect.clone().unwrap_or_default(), &mut wrong);
        let regions = self.check_regions(&mut wrong);
        let service = Service {
            id,
            name: name.as_str().into(),
            enabled: self.enabled.unwrap_or(true),
            kind,
            target,
            method,
            headers: check_headers(&self.headers, &mut wrong),
            body: self.body.clone(),
            auth: check_auth(self.auth.as_ref(), &mut wrong),
            http_version: choose(
                "http_version",
                self.http_version.as_deref(),
                "any",
                &[("any", HttpChoice::Any), ("1", HttpChoice::Http1), ("2", HttpChoice::Http2)],
                &mut wrong,
            ),
            timeout,
            schedule,
            retries: whole("retries", self.retries.unwrap_or(1), 0, 10, &mut wrong) as u8,
            backoff: Backoff { initial, max },
            expect,
            tls: check_tls(&self.tls.clone().unwrap_or_default(), &mut wrong),
            redirects: whole("redirects", self.redirects.unwrap_or(10), 0, 20, &mut wrong) as u8,
            ip_family: choose(
                "ip_family",
                self.ip_family.as_deref(),
                "any",
                &[("any", IpFamily::Any), ("4", IpFamily::V4), ("6", IpFamily::V6), ("ipv4", IpFamily::V4), ("ipv6", IpFamily::V6)],
                &mut wrong,
            ),
            proxy: check_proxy(self.proxy.as_deref(), &mut wrong),
            max_body_bytes: whole("max_body_bytes", self.max_body_bytes.unwrap_or(1 << 20), 0, 64 << 20, &mut wrong),
            reuse_connection: self.reuse_connection.unwrap_or(false),
            regions,
            quorum: check_quorum(self.quorum.as_ref(), &mut wrong),
            failure_threshold: whole("failure_threshold", self.failure_threshold.unwrap_or(1), 1, 100, &mut wrong) as u32,
            success_threshold: whole("success_threshold", self.success_threshold.unwrap_or(1), 1, 100, &mut wrong) as u32,
            degraded_after: self.degraded_after_ms.map(|ms| millis("degraded_after_ms", ms, 0.001, 300_000.0, &mut wrong)),
            tags: self.tags.clone(),
            group: self.group.clone(),
            depends_on: self.depends_on.clone(),
            public: self.public.unwrap_or(false),
        };
        if wrong.is_empty() { Ok(service) } else { Err(wrong) }
    }

    fn check_schedule(&self, default: &Schedule, wrong: &mut Vec<Mistake>) -> Schedule {
        let spread = self.spread_s.map(|s| seconds("spread_s", s, 0.0, 3600.0, wrong));
        match (self.interval_s, &self.cron) {
            (Some(_), Some(_)) => {
                wrong.push(Mistake::new("cron", "give either interval_s or cron, not both"));
                default.clone()
            }
            (Some(interval), None) => Schedule::Interval(seconds("interval_s", interval, 0.1, 86_400.0, wrong)),
            (None, Some(cron)) => parse_cron(cron, self.timezone.as_deref(), spread).unwrap_or_else(|mistake| {
                wrong.push(mistake);
                default.clone()
            }),
            (None, None) => match (default.clone(), spread) {
                (Schedule::Cron { expression, pattern, zone, .. }, Some(spread)) => {
                    Schedule::Cron { expression, pattern, zone, spread: Some(spread) }
                }
                (schedule, _) => schedule,
            },
        }
    }

    fn check_regions(&self, wrong: &mut Vec<Mistake>) -> Option<Vec<String>> {
        let own = self.base_url.as_deref() == Some("self");
        match &self.regions {
            None if own => Some(vec!["local".to_owned()]),
            Some(regions) if own && regions != &["local"] => {
                wrong.push(Mistake::new("regions", "a service whose base_url is \"self\" is checked from region \"local\" alone"));
                None
            }
            Some(regions) if regions.is_empty() => {
                wrong.push(Mistake::new("regions", "name at least one region, or leave the field out for all"));
                None
            }
            other => other.clone(),
        }
    }
}

/// A cron schedule from its five or six fields and an IANA time zone (default UTC).
pub fn parse_cron(expression: &str, zone: Option<&str>, spread: Option<Duration>) -> Result<Schedule, Mistake> {
    let pattern = croner::parser::CronParser::builder()
        .seconds(croner::parser::Seconds::Optional)
        .build()
        .parse(expression)
        .map_err(|err| Mistake::new("cron", format!("{expression:?} is not a cron expression: {err}")))?;
    let zone = match zone {
        None => chrono_tz::UTC,
        Some(zone) => zone.parse().map_err(|_| Mistake::new("timezone", format!("{zone:?} is not a time zone of the IANA database")))?,
    };
    Ok(Schedule::Cron { expression: expression.into(), pattern: Box::new(pattern), zone, spread })
}

fn required(field: &Option<String>, path: &str, wrong: &mut Vec<Mistake>) -> String {
    let text = field.as_deref().unwrap_or("").trim().to_owned();
    if text.is_empty() {
        wrong.push(Mistake::new(path, "is required"));
    }
    text
}

fn check_kind(kind: Option<&str>, wrong: &mut Vec<Mistake>) -> Kind {
    match kind {
        None | Some("http") => Kind::Http,
        Some("panic") if cfg!(debug_assertions) => Kind::Panic,
        Some(other) => {
            wrong.push(Mistake::new("kind", format!("{other:?} is not a kind of check; known: http")));
            Kind::Http
        }
    }
}

fn check_target(base: &str, path: &str, wrong: &mut Vec<Mistake>) -> Target {
    if base == "self" {
        return Target::Hub { path: format!("/{}", path.trim_start_matches('/')) };
    }
    let nowhere = Target::Hub { path: String::new() };
    if base.is_empty() {
        return nowhere;
    }
    let mut url = match Url::parse(base) {
        Ok(url) => url,
        Err(err) => {
            wrong.push(Mistake::new("base_url", format!("{base:?} is not a URL: {err}; it looks like https://api.example.com")));
            return nowhere;
        }
    };
    if !matches!(url.scheme(), "http" | "https") {
        wrong.push(Mistake::new("base_url", format!("{:?} is not a scheme that can be checked; use http or https", url.scheme())));
    }
    if !url.username().is_empty() || url.password().is_some() {
        wrong.push(Mistake::new("base_url", "must not hold a user name or password; use auth"));
    }
    if !path.is_empty() {
        // Joined as text, not as a relative reference: `https://host/v1` and `/health` mean `https://host/v1/health`.
        let (path, query) = path.split_once('?').map_or((path, None), |(path, query)| (path, Some(query)));
        let joined = format!("{}/{}", url.path().trim_end_matches('/'), path.trim_start_matches('/'));
        url.set_path(&joined);
        if query.is_some() {
            url.set_query(query);
        }
    }
    url.set_fragment(None);
    Target::Url(url)
}

fn check_method(method: Option<&str>, wrong: &mut Vec<Mistake>) -> http::Method {
    let known = [
        http::Method::GET,
        http::Method::HEAD,
        http::Method::POST,
        http::Method::PUT,
        http::Method::PATCH,
        http::Method::DELETE,
        http::Method::OPTIONS,
    ];
    let method = method.unwrap_or("GET");
    known.into_iter().find(|known| known.as_str().eq_ignore_ascii_case(method)).unwrap_or_else(|| {
        wrong.push(Mistake::new("method", format!("{method:?} is not one of GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS")));
        http::Method::GET
    })
}

fn check_headers(headers: &BTreeMap<String, String>, wrong: &mut Vec<Mistake>) -> Vec<(http::HeaderName, http::HeaderValue)> {
    let mut checked = Vec::with_capacity(headers.len());
    for (name, value) in headers {
        match (http::HeaderName::try_from(name.as_str()), http::HeaderValue::try_from(value.as_str())) {
            (Ok(name), Ok(value)) => checked.push((name, value)),
            (Err(_), _) => wrong.push(Mistake::new(format!("headers.{name}"), "is not a header name")),
            (_, Err(_)) => wrong.push(Mistake::new(format!("headers.{name}"), "holds characters a header value cannot carry")),
        }
    }
    checked
}

fn check_auth(auth: Option<&AuthDocument>, wrong: &mut Vec<Mistake>) -> Option<Auth> {
    match auth?.clone() {
        AuthDocument::Basic { username, password } => Some(Auth::Basic { username, password }),
        AuthDocument::Bearer { token } => {
            if http::HeaderValue::try_from(&token).is_err() {
                wrong.push(Mistake::new("auth.token", "holds characters a header value cannot carry"));
            }
            Some(Auth::Bearer { token })
        }
        AuthDocument::Oauth2 { token_url, client_id, client_secret, scope } => match Url::parse(&token_url) {
            Ok(token_url) if matches!(token_url.scheme(), "http" | "https") => {
                Some(Auth::ClientCredentials { token_url, client_id, client_secret, scope })
            }
            _ => {
                wrong.push(Mistake::new("auth.token_url", format!("{token_url:?} is not an http or https URL")));
                None
            }
        },
    }
}

fn check_tls(tls: &TlsDocument, wrong: &mut Vec<Mistake>) -> TlsOptions {
    if tls.client_cert.is_some() != tls.client_key.is_some() {
        wrong.push(Mistake::new("tls", "client_cert and client_key belong together"));
    }
    if let Some(name) = &tls.server_name
        && rustls::pki_types::ServerName::try_from(name.as_str()).is_err()
    {
        wrong.push(Mistake::new("tls.server_name", format!("{name:?} is not a host name")));
    }
    TlsOptions {
        insecure_skip_verify: tls.insecure_skip_verify.unwrap_or(false),
        ca: tls.ca.clone(),
        client_cert: tls.client_cert.clone(),
        client_key: tls.client_key.clone(),
        server_name: tls.server_name.clone(),
    }
}

fn check_proxy(proxy: Option<&str>, wrong: &mut Vec<Mistake>) -> Option<Url> {
    let text = proxy?;
    match Url::parse(text) {
        Ok(url) if matches!(url.scheme(), "http" | "https" | "socks5" | "socks5h") => Some(url),
        _ => {
            wrong.push(Mistake::new("proxy", "must be a URL with scheme http, https, socks5 or socks5h"));
            None
        }
    }
}

fn check_quorum(quorum: Option<&QuorumDocument>, wrong: &mut Vec<Mistake>) -> Quorum {
    match quorum {
        None => Quorum::Majority,
        Some(QuorumDocument::Count(count)) => Quorum::Count(whole("quorum", *count, 1, 1000, wrong) as u32),
        Some(QuorumDocument::Name(name)) => {
            choose("quorum", Some(name), "majority", &[("any", Quorum::Any), ("majority", Quorum::Majority), ("all", Quorum::All)], wrong)
        }
    }
}

fn check_expectations(expect: &ExpectDocument, wrong: &mut Vec<Mistake>) -> Expectations {
    let mut checked = Expectations { certificate_days: expect.certificate_days, ..Expectations::default() };
    match &expect.status {
        None => checked.status.push((200, 299)),
        Some(status) => {
            for (index, one) in status.as_slice().iter().enumerate() {
                match status_range(one) {
                    Some(range) => checked.status.push(range),
                    None => wrong.push(Mistake::new(
                        status.place("expect.status", index),
                        "must be a code from 100 to 599 or a range such as \"200-299\"",
                    )),
                }
            }
            if status.as_slice().is_empty() {
                wrong.push(Mistake::new("expect.status", "must name at least one code"));
            }
        }
    }
    let list = |field: &Option<OneOrMany<String>>| field.as_ref().map_or_else(Vec::new, |texts| texts.as_slice().to_vec());
    checked.body_contains = list(&expect.body_contains);
    checked.body_not_contains = list(&expect.body_not_contains);
    if let Some(patterns) = &expect.body_regex {
        for (index, pattern) in patterns.as_slice().iter().enumerate() {
            checked.body_matches.extend(regex(&patterns.place("expect.body_regex", index), pattern, wrong));
        }
    }
    for (index, json) in expect.json.iter().enumerate() {
        checked.json.extend(check_json(&format!("expect.json[{index}]"), json, wrong));
    }
    for (index, header) in expect.headers.iter().enumerate() {
        checked.headers.extend(check_header(&format!("expect.headers[{index}]"), header, wrong));
    }
    checked.latency = expect.latency_ms.map(|ms| millis("expect.latency_ms", ms, 0.001, 300_000.0, wrong));
    checked
}

fn status_range(status: &Status) -> Option<(u16, u16)> {
    let code = |text: &str| text.trim().parse::<u16>().ok().filter(|code| (100..=599).contains(code));
    let (from, to) = match status {
        Status::Code(one) => (code(&one.to_string())?, code(&one.to_string())?),
        Status::Text(text) => match text.split_once('-') {
            Some((from, to)) => (code(from)?, code(to)?),
            None => (code(text)?, code(text)?),
        },
    };
    (from <= to).then_some((from, to))
}

fn check_json(path: &str, json: &JsonDocument, wrong: &mut Vec<Mistake>) -> Option<JsonExpectation> {
    let parsed = JsonPath::parse(&json.path)
        .map_err(|err| wrong.push(Mistake::new(format!("{path}.path"), format!("{:?} is not a JSONPath: {err}", json.path))))
        .ok();
    let mut tests = Vec::new();
    tests.extend(json.exists.map(JsonTest::Exists));
    tests.extend(json.equals.clone().map(JsonTest::Equals));
    tests.extend(json.not_equals.clone().map(JsonTest::NotEquals));
    tests.extend(json.greater_than.map(JsonTest::GreaterThan));
    tests.extend(json.less_than.map(JsonTest::LessThan));
    tests.extend(json.contains.clone().map(JsonTest::Contains));
    if let Some(pattern) = &json.matches {
        tests.extend(regex(&format!("{path}.matches"), pattern, wrong).map(JsonTest::Matches));
    }
    if tests.len() > 1 {
        wrong.push(Mistake::new(path, "takes one test; write one entry for each"));
    }
    Some(JsonExpectation { path: parsed?, text: json.path.clone(), test: tests.pop().unwrap_or(JsonTest::Exists(true)) })
}

fn check_header(path: &str, header: &HeaderDocument, wrong: &mut Vec<Mistake>) -> Option<HeaderExpectation> {
    let Ok(name) = http::HeaderName::try_from(header.name.as_str()) else {
        wrong.push(Mistake::new(format!("{path}.name"), format!("{:?} is not a header name", header.name)));
        return None;
    };
    let mut tests = Vec::new();
    tests.extend(header.present.map(HeaderTest::Present));
    tests.extend(header.equals.clone().map(HeaderTest::Equals));
    if let Some(pattern) = &header.matches {
        tests.extend(regex(&format!("{path}.matches"), pattern, wrong).map(HeaderTest::Matches));
    }
    if tests.len() > 1 {
        wrong.push(Mistake::new(path, "takes one test; write one entry for each"));
    }
    Some(HeaderExpectation { name, test: tests.pop().unwrap_or(HeaderTest::Present(true)) })
}

fn regex(path: &str, pattern: &str, wrong: &mut Vec<Mistake>) -> Option<Regex> {
    match regex::RegexBuilder::new(pattern).size_limit(1 << 20).build() {
        Ok(regex) => Some(regex),
        Err(err) => {
            // The crate draws its message over several lines; the last says what is wrong.
            let text = err.to_string();
            let reason = text.lines().last().unwrap_or("").trim_start_matches("error: ");
            wrong.push(Mistake::new(path, format!("{pattern:?} is not a regular expression: {reason}")));
            None
        }
    }
}

fn choose<T: Copy>(path: &str, given: Option<&str>, default: &str, known: &[(&str, T)], wrong: &mut Vec<Mistake>) -> T {
    let given = given.unwrap_or(default);
    match known.iter().find(|(name, _)| *name == given) {
        Some((_, value)) => *value,
        None => {
            let names: Vec<&str> = known.iter().map(|(name, _)| *name).collect();
            wrong.push(Mistake::new(path, format!("{given:?} is not one of {}", names.join(", "))));
            known[0].1
        }
    }
}

fn whole(path: &str, given: u64, least: u64, most: u64, wrong: &mut Vec<Mistake>) -> u64 {
    if !(least..=most).contains(&given) {
        wrong.push(Mistake::new(path, format!("must be from {least} to {most}, not {given}")));
    }
    given.clamp(least, most)
}

fn seconds(path: &str, given: f64, least: f64, most: f64, wrong: &mut Vec<Mistake>) -> Duration {
    if !(given >= least && given <= most) {
        wrong.push(Mistake::new(path, format!("must be from {least} to {most} seconds, not {given}")));
        return Duration::from_secs_f64(least);
    }
    Duration::from_secs_f64(given)
}

fn millis(path: &str, given: f64, least: f64, most: f64, wrong: &mut Vec<Mistake>) -> Duration {
    if !(given >= least && given <= most) {
        wrong.push(Mistake::new(path, format!("must be from {least} to {most} milliseconds, not {given}")));
        return Duration::from_secs_f64(least / 1e3);
    }
    Duration::from_secs_f64(given / 1e3)
}

/// serde's words, less what speaks of Rust: the list of known fields is shortened, the wrapper's name dropped.
fn plain(message: &str, key: &str) -> String {
    if message.starts_with("unknown field") && message.contains(&format!("`{key}`")) {
        return "is not a field of a service".to_owned();
    }
    message
        .replace("data did not match any variant of untagged enum ", "does not fit ")
        .replace("OneOrMany", "a value or a list of values")
        .replace("QuorumDocument", "any, majority, all or a count")
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
