//! A service as people write it: an entry of services.json, the body of an API request, the record in the store and the
//! document an assignment carries. `check` turns it into the `Service` that runs, or names every mistake in it.

mod check;
mod expect;
mod misfit;

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::config::mistake::Mistake;
use crate::model::service::Schedule;

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
    #[serde(skip_serializing_if = "Option::is_none")]
    pub incident_on_degraded: Option<bool>,
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
        misfit::find(value)?;
        serde_json::from_value(value.clone()).map_err(|err| vec![Mistake::new("", err.to_string())])
    }
}

/// A cron schedule from its five or six fields and an IANA time zone (default UTC); what is wrong with either is told.
pub fn parse_cron(expression: &str, zone: Option<&str>, spread: Option<Duration>) -> Result<Schedule, Vec<Mistake>> {
    let pattern = croner::parser::CronParser::builder()
        .seconds(croner::parser::Seconds::Optional)
        .build()
        .parse(expression)
        .map_err(|err| Mistake::new("cron", format!("{expression:?} is not a cron expression: {}", cron_words(&err))));
    let zone = match zone {
        None => Ok(chrono_tz::UTC),
        Some(zone) => {
            zone.parse::<chrono_tz::Tz>().map_err(|_| Mistake::new("timezone", format!("{zone:?} is not a time zone of the IANA database")))
        }
    };
    match (pattern, zone) {
        (Ok(pattern), Ok(zone)) => Ok(Schedule::Cron { expression: expression.into(), pattern: Box::new(pattern), zone, spread }),
        (pattern, zone) => Err(pattern.err().into_iter().chain(zone.err()).collect()),
    }
}

/// The parser's words without the names of its types.
fn cron_words(err: &croner::errors::CronError) -> String {
    use croner::errors::CronError::{ComponentError, IllegalCharacters, InvalidPattern};
    let words = match err {
        ComponentError(words) if words.starts_with("Number out of bounds") => {
            return "a number is not one of its field: minutes 0-59, hours 0-23, days 1-31, months 1-12, weekdays 0-7".to_owned();
        }
        InvalidPattern(words) if words.contains("fields") => {
            return "it has five fields (minute, hour, day, month, weekday), or six with the seconds in front".to_owned();
        }
        ComponentError(words) | IllegalCharacters(words) | InvalidPattern(words) => words.clone(),
        other => other.to_string(),
    };
    let words = words.trim_end_matches('.');
    let mut letters = words.chars();
    letters.next().map(|first| first.to_lowercase().chain(letters).collect()).unwrap_or_default()
}
