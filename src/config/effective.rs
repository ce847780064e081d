//! What a process runs by, as people are shown it: each key with its value and where that came from.
//!
//! **Invariant.** Nothing secret is in it: a password, key or token is a mask, of an address its credentials and query are left out.

use std::fmt::Display;
use std::path::PathBuf;

use figment::Figment;
use figment::value::Value;
use url::Url;

use crate::config::sources::Sources;

/// Shown instead of a secret.
const MASK: &str = "********";
/// Words in the last part of a path that say that its value is secret.
const SECRET: [&str; 4] = ["password", "secret", "token", "api_key"];
/// Addresses whose path says who may use them.
const SECRET_ADDRESSES: [&str; 2] = ["hub.heartbeat_url", "hub_lost.url"];
/// Rocket's own keys worth showing.
const ROCKET: [&str; 4] = ["address", "port", "workers", "keep_alive"];

/// One key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// Such as `store.url`.
    pub path: String,
    /// Empty: nothing is set, and that is fine.
    pub value: String,
    pub origin: Origin,
    /// The variable that sets it.
    pub variable: String,
}

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    Default,
    File(PathBuf),
    Variable(String),
}

impl Setting {
    pub fn new(path: &str, value: impl Display, origin: Origin, variable: String) -> Setting {
        Setting { path: path.to_owned(), value: shown(path, &value.to_string()), origin, variable }
    }
}

/// Keys of Rocket's, which it reads itself.
pub fn of_rocket(figment: &Figment, sources: &Sources) -> Vec<Setting> {
    let setting = |key: &&str| {
        let value = match figment.find_value(key).ok()? {
            Value::String(_, text) => text,
            Value::Num(_, number) => number.to_i128().map(|number| number.to_string()).unwrap_or_default(),
            Value::Bool(_, flag) => flag.to_string(),
            _ => return None,
        };
        let source = figment.find_metadata(key).and_then(|metadata| metadata.source.as_ref());
        let variable = format!("ROCKET_{}", key.to_uppercase());
        let origin = match (sources.variable(&variable), source.and_then(|source| source.file_path())) {
            (Some(_), _) => Origin::Variable(variable.clone()),
            (None, Some(file)) => Origin::File(file.to_owned()),
            _ => Origin::Default,
        };
        Some(Setting { path: format!("rocket.{key}"), value, origin, variable })
    };
    ROCKET.iter().filter_map(setting).collect()
}

fn shown(path: &str, value: &str) -> String {
    let key = path.rsplit('.').next().unwrap_or(path);
    if value.is_empty() {
        return String::new();
    }
    if SECRET.iter().any(|word| key.contains(word)) {
        return MASK.to_owned();
    }
    match Url::parse(value) {
        Ok(url) if url.has_host() => address(path, url),
        // Addresses without a host the parser knows, such as `mem://`.
        _ if value.contains('@') && value.contains("://") => MASK.to_owned(),
        _ => value.to_owned(),
    }
}

fn address(path: &str, mut url: Url) -> String {
    let named = !url.username().is_empty() || url.password().is_some();
    let hidden = named || url.query().is_some() || url.fragment().is_some();
    let secret = SECRET_ADDRESSES.contains(&path) && url.path().len() > 1;
    if !hidden && !secret {
        return url.to_string();
    }
    url.set_query(None);
    url.set_fragment(None);
    // Only addresses that can have neither refuse this, and they have a host.
    let _ = url.set_username(if named { "…" } else { "" });
    let _ = url.set_password(None);
    if secret {
        url.set_path("/…");
    }
    url.to_string().replace("%E2%80%A6", "…")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_secret_is_shown() {
        for (path, value, text) in [
            ("store.password", "hunter2", MASK),
            ("digest.api_key", "sk-1", MASK),
            ("mesh.join_secret", "fleet", MASK),
            ("store.password", "", ""),
            ("store.url", "ws://db:8000", "ws://db:8000/"),
            ("store.url", "mem://", "mem://"),
            ("dependencies.cache.url", "redis://ada:hunter2@cache:6379/0?x=secret", "redis://…@cache:6379/0"),
            ("hub.heartbeat_url", "https://hc.example/ping/uuid", "https://hc.example/…"),
            ("digest.base_url", "https://api.example/v1", "https://api.example/v1"),
            ("log.level", "info", "info"),
        ] {
            assert_eq!(shown(path, value), text, "{path} {value}");
        }
    }
}
