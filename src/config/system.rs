//! The sections of the monitor's own health: how often it is looked at, from where on it is told, and on which servers people
//! depend that it looks at too.
//!
//! `[dependencies.<name>]` is one such server. A name is a key and part of a variable's name, so it is made of small letters, digits
//! and `_`: the password of `[dependencies.cache]` is also `PROBEMESH_DEPENDENCIES__CACHE__PASSWORD`.

use std::sync::Arc;
use std::time::Duration;

use url::Url;

use crate::config::reader::{Reader, Unit};
use crate::config::sources::{Role, Sources};
use crate::model::service::TlsOptions;
use crate::model::system::DependencyKind;
use crate::probe::protocol::Login;

/// What the monitor of the monitor runs by.
#[derive(Clone, Debug)]
pub struct SystemSettings {
    pub interval: Duration,
    /// A threshold crossed for so long is told of, and one that holds again for so long is over.
    pub hold: Duration,
    pub retain_samples: Duration,
    /// Of what samples come to by the hour.
    pub retain_hours: Duration,
    pub thresholds: Thresholds,
    pub dependencies: Vec<Arc<DependencySettings>>,
}

/// Zero switches one off.
#[derive(Clone, Debug, PartialEq)]
pub struct Thresholds {
    pub disk_days: f64,
    pub disk_free_percent: f64,
    pub lag_p99: Duration,
    pub outbox_age: Duration,
    pub store_write: Duration,
    pub descriptors_percent: f64,
    pub quarantined: bool,
    pub node_certificate_days: f64,
    pub authority_days: f64,
    pub api_p95: Duration,
}

/// A server people depend on.
#[derive(Clone)]
pub struct DependencySettings {
    pub name: Arc<str>,
    pub kind: DependencyKind,
    /// `None`: the store's own connection.
    pub place: Option<DependencyPlace>,
    pub login: Login,
    pub tls: TlsOptions,
    pub interval: Duration,
    pub timeout: Duration,
    /// Slower, it is not well.
    pub slow: Option<Duration>,
    /// Tries in a row without an answer, before it is down.
    pub down_after: u32,
    /// Without it the monitor itself is not of much use.
    pub critical: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub struct DependencyPlace {
    /// Without user and password.
    pub url: Url,
    pub host: String,
    pub port: u16,
    pub encryption: Encryption,
    /// A name, or a number where the protocol numbers them.
    pub database: Option<String>,
    /// Where MongoDB knows the user.
    pub user_database: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encryption {
    Never,
    /// Where the server offers it.
    Offered,
    Always,
}

impl std::fmt::Debug for DependencySettings {
    /// The password stays out, but for whether it changed.
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let DependencySettings { name, kind, place, login, tls, interval, timeout, slow, down_after, critical } = self;
        let password = login.password.as_deref().unwrap_or_default().bytes();
        let hash: u64 = password.fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3));
        write!(out, "{:?}", (name, kind, place, &login.user, hash as u16, tls, interval, timeout, slow, down_after, critical))
    }
}

pub fn system(reader: &mut Reader, sources: &Sources) -> SystemSettings {
    // A node elsewhere has neither, and would be asked for keys it must not know.
    let dependencies = if sources.role == Role::Hub { dependencies(reader) } else { Vec::new() };
    SystemSettings {
        interval: reader.span("system.interval_s", Unit::Seconds, 60.0, 1.0..=3_600.0),
        hold: reader.span("system.hold_s", Unit::Seconds, 120.0, 0.0..=3_600.0),
        retain_samples: reader.span("system.retain_samples_days", Unit::Days, 7.0, 1.0..=365.0),
        retain_hours: reader.span("system.retain_hours_days", Unit::Days, 730.0, 1.0..=36_500.0),
        thresholds: Thresholds {
            disk_days: reader.number("system.min_disk_days", 7.0, 0.0..=3_650.0),
            disk_free_percent: reader.number("system.min_disk_free_percent", 10.0, 0.0..=100.0),
            lag_p99: reader.span("system.max_lag_p99_ms", Unit::Milliseconds, 1_000.0, 0.0..=600_000.0),
            outbox_age: reader.span("system.max_outbox_age_s", Unit::Seconds, 300.0, 0.0..=604_800.0),
            store_write: reader.span("system.max_store_write_ms", Unit::Milliseconds, 500.0, 0.0..=600_000.0),
            descriptors_percent: reader.number("system.max_descriptors_percent", 80.0, 0.0..=100.0),
            quarantined: reader.flag("system.alert_quarantined", true),
            node_certificate_days: reader.number("system.min_node_certificate_days", 7.0, 0.0..=3_650.0),
            authority_days: reader.number("system.min_authority_days", 60.0, 0.0..=3_650.0),
            api_p95: reader.span("system.max_api_p95_ms", Unit::Milliseconds, 2_000.0, 0.0..=600_000.0),
        },
        dependencies,
    }
}

fn dependencies(reader: &mut Reader) -> Vec<Arc<DependencySettings>> {
    let mut found = Vec::new();
    for name in reader.tables_below("dependencies") {
        if let Some(dependency) = dependency(reader, &name) {
            found.push(Arc::new(dependency));
        }
    }
    found
}

fn dependency(reader: &mut Reader, name: &str) -> Option<DependencySettings> {
    let key = |key: &str| format!("dependencies.{name}.{key}");
    if name.len() > 40 || !name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_') {
        reader.wrong(&format!("dependencies.{name}"), "must be a name of small letters, digits and _, of 40 at most");
    }
    let kind_name = reader.text(&key("kind"));
    let kind = kind_name.as_deref().and_then(DependencyKind::from_name);
    if kind.is_none() {
        let kinds = DependencyKind::ALL.map(DependencyKind::name).join(", ");
        reader.wrong(
            &key("kind"),
            format!("must be one of {kinds}{}", kind_name.map_or_else(String::new, |given| format!(", not {given:?}"))),
        );
    }
    let url = reader.text(&key("url"));
    let place = match (&url, kind) {
        (Some(url), Some(kind)) => place(kind, url).map(Some),
        (None, Some(DependencyKind::SurrealDb)) => Ok(None),
        (None, Some(kind)) => Err(format!("is missing; it looks like {}", example(kind))),
        (_, None) => Ok(None),
    };
    let place = place.unwrap_or_else(|message| {
        reader.wrong(&key("url"), message);
        None
    });
    let login = Login { user: reader.text(&key("user")), password: reader.text(&key("password")) };
    let ca = reader.path(&key("ca")).map(|path| path.display().to_string());
    let tls = TlsOptions { insecure_skip_verify: reader.flag(&key("insecure_skip_verify"), false), ca, ..TlsOptions::default() };
    let slow = reader.span(&key("slow_ms"), Unit::Milliseconds, 0.0, 0.0..=600_000.0);
    Some(DependencySettings {
        name: name.into(),
        kind: kind?,
        place,
        login,
        tls,
        interval: reader.span(&key("interval_s"), Unit::Seconds, 60.0, 1.0..=86_400.0),
        timeout: reader.span(&key("timeout_s"), Unit::Seconds, 5.0, 0.05..=60.0),
        slow: (!slow.is_zero()).then_some(slow),
        down_after: reader.whole(&key("down_after"), 2, 1..=100) as u32,
        critical: reader.flag(&key("critical"), false),
    })
}

fn example(kind: DependencyKind) -> &'static str {
    match kind {
        DependencyKind::SurrealDb => "\"ws://db.example.com:8000\"",
        DependencyKind::PostgreSql => "\"postgresql://db.example.com:5432/shop?sslmode=require\"",
        DependencyKind::MySql => "\"mysql://db.example.com:3306/shop\"",
        DependencyKind::MongoDb => "\"mongodb://db.example.com:27017/?tls=true\"",
        DependencyKind::Redis => "\"redis://cache.example.com:6379/0\" or \"rediss://…\" for TLS",
        DependencyKind::Smtp => "\"smtp://mail.example.com:25\" or \"smtps://mail.example.com:465\"",
        DependencyKind::OpenAi => "\"https://api.openai.com/v1\"",
    }
}

/// Where a URL leads; the error says what is wrong with it.
fn place(kind: DependencyKind, text: &str) -> Result<DependencyPlace, String> {
    let url = Url::parse(text).map_err(|err| format!("is not a URL: {err}; it looks like {}", example(kind)))?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err("must not hold a user name or password; give them as user and password".to_owned());
    }
    let (port, mut encryption) = match (kind, url.scheme()) {
        (DependencyKind::SurrealDb, "ws") => (8000, Encryption::Never),
        (DependencyKind::SurrealDb, "wss") => (8000, Encryption::Always),
        (DependencyKind::PostgreSql, "postgresql" | "postgres") => (5432, Encryption::Offered),
        (DependencyKind::MySql, "mysql") => (3306, Encryption::Never),
        (DependencyKind::MongoDb, "mongodb") => (27017, Encryption::Never),
        (DependencyKind::Redis, "redis") => (6379, Encryption::Never),
        (DependencyKind::Redis, "rediss") => (6379, Encryption::Always),
        (DependencyKind::Smtp, "smtp") => (25, Encryption::Offered),
        (DependencyKind::Smtp, "smtps") => (465, Encryption::Always),
        (DependencyKind::OpenAi, "http") => (80, Encryption::Never),
        (DependencyKind::OpenAi, "https") => (443, Encryption::Always),
        (kind, scheme) => return Err(format!("{scheme:?} is not a scheme of {}; it looks like {}", kind.name(), example(kind))),
    };
    let host = url.host_str().filter(|host| !host.is_empty()).ok_or_else(|| format!("names no host; it looks like {}", example(kind)))?;
    let mut user_database = "admin".to_owned();
    for (name, value) in url.query_pairs() {
        match (kind, &*name, &*value) {
            (DependencyKind::PostgreSql, "sslmode", "disable") => encryption = Encryption::Never,
            (DependencyKind::PostgreSql, "sslmode", "prefer") => encryption = Encryption::Offered,
            (DependencyKind::PostgreSql, "sslmode", "require" | "verify-ca" | "verify-full") => encryption = Encryption::Always,
            (DependencyKind::MongoDb, "tls" | "ssl", "true") => encryption = Encryption::Always,
            (DependencyKind::MongoDb, "tls" | "ssl", "false") => encryption = Encryption::Never,
            (DependencyKind::MongoDb, "authSource", database) => user_database = database.to_owned(),
            (kind, name, _) => return Err(format!("has the parameter {name:?}, which is not known for {} with this value", kind.name())),
        }
    }
    let path = url.path().trim_matches('/');
    let database = (!path.is_empty() && kind != DependencyKind::OpenAi).then(|| path.to_owned());
    if kind == DependencyKind::Redis && database.as_ref().is_some_and(|database| database.parse::<u32>().is_err()) {
        return Err(format!("names the database {path:?}; those of Redis are numbers"));
    }
    Ok(DependencyPlace { host: host.to_owned(), port: url.port().unwrap_or(port), encryption, database, user_database, url })
}
