//! Rocket's own keys: from its defaults, its profiles in `Rocket.toml` and `ROCKET_…` variables, as Rocket itself reads them,
//! with what a hub needs set otherwise.
//!
//! Rocket trusts `X-Real-IP` and handles signals unless told not to. Whom to trust is `api.proxy_header`, and the hub itself decides in which
//! order it ends; so these keys are refused rather than overruled in silence. A server that can be reached
//! from outside must say how it is kept safe: by TLS, by a proxy in front, or by an explicit word.

use std::net::{IpAddr, Ipv4Addr};

use figment::providers::{Format, Serialized, Toml};
use figment::value::Value;
use figment::{Figment, Profile};

use crate::config::file::TomlFile;
use crate::config::mistake::Mistake;
use crate::config::nearest::nearest;
use crate::config::sections::ApiSettings;
use crate::config::sources::{Role, Sources};

const KEYS: [&str; 11] =
    ["address", "port", "workers", "max_blocking", "ident", "limits", "temp_dir", "keep_alive", "tls", "log_level", "cli_colors"];

/// Keys a hub sets itself, and what to write instead.
const OURS: [(&str, &str); 3] = [
    ("ip_header", "is set by the hub; name a trusted proxy's header in api.proxy_header"),
    ("shutdown", "is set by the hub, which ends its stages in order"),
    ("secret_key", "is not used; the hub makes its own keys"),
];

pub fn is_key(name: &str) -> bool {
    KEYS.contains(&name) || OURS.iter().any(|(key, _)| *key == name)
}

/// The names of Rocket's tables in the file, the selected one first.
pub fn profiles(sources: &Sources) -> Vec<String> {
    let mut profiles = vec![selected(sources)];
    for known in ["default", "global", "debug", "release"] {
        if profiles[0] != known {
            profiles.push(known.to_owned());
        }
    }
    profiles
}

fn selected(sources: &Sources) -> String {
    let built = if cfg!(debug_assertions) { "debug" } else { "release" };
    sources.variable("ROCKET_PROFILE").unwrap_or(built).to_lowercase()
}

/// The figment Rocket starts from.
pub fn rocket(sources: &Sources, file: Option<&TomlFile>, api: &ApiSettings, mistakes: &mut Vec<Mistake>) -> Figment {
    let mut figment = defaults(api);
    if sources.role != Role::Hub {
        return figment;
    }
    if let Some(file) = file {
        check_file_keys(sources, file, mistakes);
        // Rocket takes every table at the top for a profile; ours are never selected.
        if file.top().iter().all(|(_, is_table)| *is_table) {
            figment = figment.merge(Toml::file_exact(&file.path).nested());
        }
    }
    for (name, text) in &sources.environment {
        let Some(key) = name.strip_prefix("ROCKET_").map(str::to_lowercase) else { continue };
        if matches!(key.as_str(), "profile" | "config") || text.is_empty() {
            continue;
        }
        if let Err(message) = check_key(&key, |key| format!("ROCKET_{}", key.to_uppercase())) {
            mistakes.push(Mistake::new(name.as_str(), message));
            continue;
        }
        let value: Value = match text.parse() {
            Ok(value) => value,
            Err(never) => match never {},
        };
        figment = figment.merge(Serialized::global(&key, value));
    }
    // Merging selects anew, so this comes last.
    let figment = figment.merge(hub_keys(api)).select(Profile::from(selected(sources).as_str()));
    check_values(sources, file, &figment, api, mistakes);
    figment
}

/// Rocket's defaults and ours. JSON bodies may be a little longer than the API takes, so that the API says what is too long.
fn defaults(api: &ApiSettings) -> Figment {
    #[cfg(feature = "hub")]
    let figment = Figment::from(rocket::Config::default());
    #[cfg(not(feature = "hub"))]
    let figment = Figment::new();
    let body = api.max_body_bytes + (64 << 10);
    figment
        .merge(Serialized::default("address", Ipv4Addr::LOCALHOST))
        .merge(Serialized::default("port", 8000))
        .merge(Serialized::default("log_level", "off"))
        .merge(Serialized::default("cli_colors", false))
        .merge(Serialized::default("limits.json", body))
        .merge(Serialized::default("limits.string", body))
        .merge(Serialized::default("limits.bytes", body))
}

/// What no source may change.
fn hub_keys(api: &ApiSettings) -> Figment {
    let ip_header = api.proxy_header.as_ref().map_or(Value::from(false), |name| Value::from(name.as_str()));
    Figment::new()
        .merge(Serialized::global("ip_header", ip_header))
        .merge(Serialized::global("shutdown.ctrlc", false))
        .merge(Serialized::global("shutdown.signals", Vec::<String>::new()))
}

/// `written` turns a key into what a person would write in this place.
fn check_key(key: &str, written: impl Fn(&str) -> String) -> Result<(), String> {
    if let Some((_, message)) = OURS.iter().find(|(ours, _)| *ours == key) {
        return Err((*message).to_owned());
    }
    if KEYS.contains(&key) {
        return Ok(());
    }
    let hint = nearest(key, KEYS).map_or_else(String::new, |key| format!("; did you mean {}?", written(key)));
    Err(format!("is not a key of Rocket's{hint}"))
}

fn check_file_keys(sources: &Sources, file: &TomlFile, mistakes: &mut Vec<Mistake>) {
    for profile in profiles(sources) {
        for key in file.keys_of(&profile) {
            if let Err(message) = check_key(&key, str::to_owned) {
                mistakes.push(file.locate(Mistake::new(format!("{profile}.{key}"), message)));
            }
        }
    }
}

fn check_values(sources: &Sources, file: Option<&TomlFile>, figment: &Figment, api: &ApiSettings, mistakes: &mut Vec<Mistake>) {
    let mut wrong = |key: &str, message: String| mistakes.push(place(sources, file, key, message));
    let address = figment.extract_inner::<IpAddr>("address");
    let mut found = false;
    if address.is_err() {
        wrong("address", "must be an IP address such as 127.0.0.1 or ::".to_owned());
        found = true;
    }
    if figment.extract_inner::<u16>("port").is_err() {
        wrong("port", "must be a port, from 0 to 65535".to_owned());
        found = true;
    }
    #[cfg(feature = "hub")]
    if !found && let Err(errors) = rocket::Config::try_from(figment) {
        for error in errors {
            let key = error.path.join(".");
            wrong(&key, error.kind.to_string());
            found = true;
        }
    }
    let tls = figment.find_value("tls").is_ok_and(|tls| !matches!(tls, Value::Empty(..)));
    let guarded = tls || api.allow_plain_http || api.proxy_header.is_some();
    if let Ok(address) = address
        && !found
        && !address.is_loopback()
        && !guarded
    {
        let message = format!(
            "{address} can be reached from other machines, and passwords and tokens would cross in the clear: set tls, \
             or api.proxy_header for a trusted proxy in front, or api.allow_plain_http = true if that is wanted"
        );
        wrong("address", message);
    }
}

/// The variable or the line in the file that gave a key its value.
fn place(sources: &Sources, file: Option<&TomlFile>, key: &str, message: String) -> Mistake {
    let top = key.split('.').next().unwrap_or(key);
    let variable = format!("ROCKET_{}", top.to_uppercase());
    if sources.variable(&variable).is_some() {
        return Mistake::new(variable, message);
    }
    let tables = ["global".to_owned(), selected(sources), "default".to_owned()];
    match (file, tables.iter().find(|table| file.is_some_and(|file| file.contains(&format!("{table}.{top}"))))) {
        (Some(file), Some(table)) => file.locate(Mistake::new(format!("{table}.{key}"), message)),
        _ => Mistake::new(key, message),
    }
}
