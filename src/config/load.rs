//! The sections, key by key, with their defaults and bounds. `Rocket.toml` as it is shipped explains each.
//!
//! Sizes are in bytes, spans in the unit the key ends in.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tracing_subscriber::EnvFilter;
use url::Url;

use crate::config::Config;
use crate::config::alerts::alerts;
use crate::config::analysis::analysis;
use crate::config::channels::channels;
use crate::config::digest::digest;
use crate::config::effective::{self, Setting};
use crate::config::file::TomlFile;
use crate::config::mesh::mesh;
use crate::config::mistake::Mistake;
use crate::config::nearest::suggestion;
use crate::config::oidc::oidc;
use crate::config::reader::{Reader, Unit};
use crate::config::reload;
use crate::config::rocket_keys;
use crate::config::sections::{ApiSettings, HubSettings, LogSettings, ProbeSettings, RegionSettings, RestartSettings, StoreSettings};
use crate::config::service::parse_cron;
use crate::config::sources::{Role, Sources, Variables};
use crate::config::status::status;
use crate::config::system::system;
use crate::config::tracker::tracker;
use crate::config::watching;
use crate::model::id::{NodeName, RegionName};
use crate::model::service::Schedule;

const HUB_TABLES: [&str; 17] = [
    "hub",
    "region",
    "probe",
    "store",
    "api",
    "oidc",
    "analysis",
    "digest",
    "alerts",
    "tracker",
    "system",
    "status",
    "dependencies",
    "log",
    "restart",
    "mesh",
    "witness",
];
const REGION_TABLES: [&str; 7] = ["region", "probe", "restart", "log", "mesh", "witness", "hub_lost"];

pub fn load(sources: &Sources) -> Result<Config, Vec<Mistake>> {
    let mut mistakes = Vec::new();
    let file = read_file(sources, &mut mistakes);
    let file = file.as_ref();
    let variables = Variables::read(sources, &mut mistakes);
    let tables: &[&str] = if sources.role == Role::Hub { &HUB_TABLES } else { &REGION_TABLES };
    if let Some(file) = file {
        check_tables(file, sources, tables, &mut mistakes);
    }
    let mut reader = Reader::new(sources, file, &variables, tables);
    // One folder holds all that is stored, unless a stage is given its own.
    let data_dir = reader.path("hub.data_dir").unwrap_or_else(|| sources.resolve("data"));
    let hub = hub(&mut reader, sources, &data_dir);
    let mesh = mesh(&mut reader, &sources.role);
    let region = region(&mut reader, sources, &data_dir, mesh.catch_up_bytes_per_s);
    let store = store(&mut reader, &data_dir);
    let api = api(&mut reader);
    let oidc = oidc(&mut reader);
    let analysis = analysis(&mut reader);
    let digest = digest(&mut reader, sources);
    let alerts = alerts(&mut reader);
    let channels = channels(&mut reader);
    let tracker = tracker(&mut reader);
    let system = system(&mut reader, sources);
    let status = status(&mut reader, sources, api.public_url.is_some());
    let log = log(&mut reader, sources);
    let mut effective = reader.answers();
    mistakes.extend(reader.finish(tables));
    let rocket = rocket_keys::rocket(sources, file, &api, &mut mistakes);
    if mistakes.is_empty() {
        effective.extend(effective::of_rocket(&rocket, sources));
        let mut config = Config {
            hub,
            region,
            store,
            api,
            oidc,
            mesh,
            analysis,
            digest,
            alerts,
            channels,
            tracker,
            system,
            status,
            log,
            rocket,
            effective: Arc::default(),
        };
        // What a text comes to that was not set is known only now.
        for (path, text) in reload::texts(&config) {
            if let Some(setting) = effective.iter_mut().find(|setting| setting.path == path && setting.value.is_empty()) {
                *setting = Setting::new(path, text, setting.origin.clone(), setting.variable.clone());
            }
        }
        config.effective = effective.into();
        return Ok(config);
    }
    mistakes.sort_by_key(|mistake| (mistake.file.is_none(), mistake.position));
    Err(mistakes)
}

fn read_file(sources: &Sources, mistakes: &mut Vec<Mistake>) -> Option<TomlFile> {
    let path = sources.file();
    match TomlFile::read(&path) {
        Ok(Some(file)) => Some(file),
        Ok(None) => {
            if sources.role != Role::Hub || sources.variable("ROCKET_CONFIG").is_some() {
                mistakes.push(Mistake { file: Some(path), message: "does not exist".to_owned(), ..Mistake::default() });
            }
            None
        }
        Err(mistake) => {
            mistakes.push(mistake);
            None
        }
    }
}

/// What stands at the top of the file: our tables, and in a hub's Rocket's profiles.
fn check_tables(file: &TomlFile, sources: &Sources, tables: &[&str], mistakes: &mut Vec<Mistake>) {
    let profiles = if sources.role == Role::Hub { rocket_keys::profiles(sources) } else { Vec::new() };
    for (name, is_table) in file.top() {
        let known = tables.contains(&name) || profiles.iter().any(|profile| profile == name);
        let message = match (known, is_table) {
            (true, true) => continue,
            (true, false) => "must be a table".to_owned(),
            (false, false) if sources.role == Role::Hub && rocket_keys::is_key(name) => {
                "is a key of Rocket's and belongs below [default] or a profile's name".to_owned()
            }
            (false, _) => {
                let names = tables.iter().copied().chain(profiles.iter().map(String::as_str));
                format!("is not a table of this file{}", suggestion(name, names))
            }
        };
        mistakes.push(file.locate(Mistake::new(name, message)));
    }
}

fn hub(reader: &mut Reader, sources: &Sources, data_dir: &Path) -> HubSettings {
    let expression = reader.text("hub.schedule_cron").unwrap_or_else(|| "*/5 * * * *".to_owned());
    let zone = reader.text("hub.schedule_timezone");
    let schedule = parse_cron(&expression, zone.as_deref(), None).unwrap_or_else(|mistakes| {
        for mistake in mistakes {
            let path = if mistake.path == "timezone" { "hub.schedule_timezone" } else { "hub.schedule_cron" };
            reader.wrong(path, mistake.message);
        }
        Schedule::Interval(Duration::from_secs(300))
    });
    let admin_password = reader.text("hub.admin_password");
    if admin_password.as_ref().is_some_and(|password| password.chars().count() < 8) {
        reader.wrong("hub.admin_password", "must have at least 8 characters");
    }
    HubSettings {
        data_dir: data_dir.to_owned(),
        schedule,
        services_json: reader.path("hub.services_json").unwrap_or_else(|| sources.resolve("services.json")),
        admin_password,
        heartbeat: watching::heartbeat(reader),
    }
}

fn region(reader: &mut Reader, sources: &Sources, data_dir: &Path, catch_up_bytes_per_s: u64) -> RegionSettings {
    let name = reader.text("region.name").unwrap_or_else(|| "local".to_owned());
    check_name(reader, "region.name", &name);
    let node = reader.text("region.node").unwrap_or_else(|| usual_node_name(&name, sources));
    check_name(reader, "region.node", &node);
    RegionSettings {
        name: RegionName::from(name.as_str()),
        node: NodeName::from(node.as_str()),
        data_dir: reader.path("region.data_dir").unwrap_or_else(|| data_dir.to_owned()),
        max_concurrent_checks: reader.whole("region.max_concurrent_checks", 512, 1..=100_000) as usize,
        outbox_max_bytes: reader.whole("region.outbox_max_bytes", 256 << 20, 1 << 20..=1 << 40),
        outbox_max_age: reader.span("region.outbox_max_age_days", Unit::Days, 7.0, 0.01..=365.0),
        commit_interval: reader.span("region.commit_interval_ms", Unit::Milliseconds, 100.0, 0.0..=1_000.0),
        catch_up_bytes_per_s,
        probe: probe(reader),
        restart: restart(reader),
        witness: watching::witness(reader),
        hub_lost: watching::hub_lost(reader, &sources.role),
    }
}

fn probe(reader: &mut Reader) -> ProbeSettings {
    let user_agent = reader.text("probe.user_agent").unwrap_or_else(|| format!("probemesh/{}", env!("CARGO_PKG_VERSION")));
    if http::HeaderValue::try_from(&user_agent).is_err() {
        reader.wrong("probe.user_agent", "holds characters a header value cannot carry");
    }
    let blocked_networks = reader.list("probe.blocked_networks");
    for (index, network) in blocked_networks.iter().enumerate() {
        if !is_network(network) {
            reader.wrong(
                &format!("probe.blocked_networks[{index}]"),
                format!("{network:?} is not a network such as 169.254.0.0/16 or fe80::/10"),
            );
        }
    }
    ProbeSettings {
        check_header: reader.flag("probe.check_header", true),
        user_agent,
        dns_cache: reader.span("probe.dns_cache_s", Unit::Seconds, 30.0, 0.0..=86_400.0),
        blocked_networks,
        name_servers: name_servers(reader),
    }
}

fn name_servers(reader: &mut Reader) -> Vec<SocketAddr> {
    let mut servers = Vec::new();
    for (index, text) in reader.list("probe.name_servers").iter().enumerate() {
        match text.parse().or_else(|_| text.parse::<IpAddr>().map(|ip| SocketAddr::new(ip, 53))) {
            Ok(server) if server.port() > 0 => servers.push(server),
            _ => reader.wrong(
                &format!("probe.name_servers[{index}]"),
                format!("{text:?} is not the address of a name server such as 192.0.2.53 or [2001:db8::53]:5353"),
            ),
        }
    }
    servers
}

fn restart(reader: &mut Reader) -> RestartSettings {
    let initial = reader.span("restart.initial_ms", Unit::Milliseconds, 500.0, 1.0..=600_000.0);
    let max = reader.span("restart.max_ms", Unit::Milliseconds, 60_000.0, 1.0..=3_600_000.0);
    if max < initial {
        reader.wrong("restart.max_ms", "must not be less than restart.initial_ms");
    }
    RestartSettings {
        initial,
        max,
        budget: reader.whole("restart.budget", 8, 0..=10_000) as u32,
        window: reader.span("restart.window_s", Unit::Seconds, 600.0, 1.0..=86_400.0),
        reset_after: reader.span("restart.reset_after_s", Unit::Seconds, 300.0, 1.0..=86_400.0),
    }
}

fn store(reader: &mut Reader, data_dir: &Path) -> StoreSettings {
    let url = reader.text("store.url");
    if let Some(url) = &url {
        check_store_url(reader, url);
    }
    let username = reader.text("store.username");
    let password = reader.text("store.password");
    if username.is_some() != password.is_some() {
        let given = if username.is_some() { "store.username" } else { "store.password" };
        reader.wrong(given, "a user name and a password belong together");
    }
    let ca = reader.path("store.ca");
    if let Some(path) = &ca
        && !path.is_file()
    {
        reader.wrong("store.ca", format!("{} is not a file", path.display()));
    }
    StoreSettings {
        url,
        username,
        password,
        ca,
        data_dir: reader.path("store.data_dir").unwrap_or_else(|| data_dir.to_owned()),
        memtable_bytes: reader.whole("store.memtable_bytes", 8 << 20, 1 << 20..=1 << 34),
        block_cache_bytes: reader.whole("store.block_cache_bytes", 8 << 20, 0..=1 << 38),
        block_results: reader.whole("store.block_results", 256, 1..=4_096) as usize,
        block_span: reader.span("store.block_span_minutes", Unit::Minutes, 60.0, 1.0..=1_440.0),
        journal_max_bytes: reader.whole("store.journal_max_bytes", 16 << 20, 1 << 16..=1 << 34),
        retain_results: reader.span("store.retain_results_days", Unit::Days, 30.0, 1.0..=36_500.0),
        retain_details: reader.span("store.retain_details_days", Unit::Days, 90.0, 1.0..=36_500.0),
        retain_minutes: reader.span("store.retain_minutes_days", Unit::Days, 30.0, 1.0..=36_500.0),
        details_per_hour: reader.whole("store.details_per_hour", 60, 0..=1_000_000) as u32,
    }
}

fn check_store_url(reader: &mut Reader, url: &str) {
    let message = match Url::parse(url) {
        Err(err) => format!("is not a URL: {err}; it looks like wss://db.example.com:8000"),
        Ok(url) if !matches!(url.scheme(), "ws" | "wss" | "mem") => {
            format!("{:?} is not a scheme of a store; use ws or wss, or leave it out for the embedded one", url.scheme())
        }
        Ok(url) if url.path().split('/').filter(|part| !part.is_empty()).count() > 2 || url.query().is_some() => {
            "has more behind the host than a namespace and a database, as in wss://db.example.com:8000/probemesh/main".to_owned()
        }
        Ok(url) if !url.username().is_empty() || url.password().is_some() => {
            "must not hold a user name or password; use DATABASE_USER and DATABASE_PASSWORD".to_owned()
        }
        Ok(_) => return,
    };
    reader.wrong("store.url", message);
}

fn api(reader: &mut Reader) -> ApiSettings {
    let mut proxy_header = reader.text("api.proxy_header");
    if proxy_header.as_ref().is_some_and(|name| http::HeaderName::try_from(name.as_str()).is_err()) {
        reader.wrong("api.proxy_header", "is not a header name");
        proxy_header = None;
    }
    let public_url = reader.text("api.public_url");
    if let Some(url) = &public_url
        && !Url::parse(url).is_ok_and(|url| matches!(url.scheme(), "http" | "https"))
    {
        reader.wrong("api.public_url", format!("{url:?} is not an http or https URL"));
    }
    ApiSettings {
        access_lifetime: reader.span("api.access_lifetime_minutes", Unit::Minutes, 15.0, 1.0..=1_440.0),
        refresh_lifetime: reader.span("api.refresh_lifetime_days", Unit::Days, 14.0, 0.01..=365.0),
        requests_per_minute: reader.whole("api.requests_per_minute", 600, 1..=10_000_000) as u32,
        logins_per_minute: reader.whole("api.logins_per_minute", 10, 1..=1_000_000) as u32,
        max_body_bytes: reader.whole("api.max_body_bytes", 1 << 20, 1 << 10..=1 << 30),
        allow_plain_http: reader.flag("api.allow_plain_http", false),
        proxy_header,
        public_url,
    }
}

fn log(reader: &mut Reader, sources: &Sources) -> LogSettings {
    let level = reader.text("log.level").unwrap_or_else(|| "info".to_owned());
    if let Err(message) = check_level(&level) {
        reader.wrong("log.level", message);
    }
    LogSettings {
        dir: reader.path("log.dir").unwrap_or_else(|| sources.resolve("logs")),
        level,
        file_bytes: reader.whole("log.file_bytes", 32 << 20, 1 << 16..=1 << 34),
        file_age: reader.span("log.file_age_hours", Unit::Hours, 24.0, 1.0..=8_760.0),
        files: reader.whole("log.files", 5, 0..=1_000) as u32,
        health: reader.flag("log.health", true),
    }
}

/// A lone word that is no level would pass for the name of a module, and everything else would fall silent.
fn check_level(text: &str) -> Result<(), String> {
    const LEVELS: [&str; 6] = ["trace", "debug", "info", "warn", "error", "off"];
    for directive in text.split(',').map(str::trim) {
        let level = directive.rsplit('=').next().unwrap_or(directive);
        if !LEVELS.contains(&level.to_lowercase().as_str()) {
            return Err(format!("{level:?} is not one of {}{}", LEVELS.join(", "), suggestion(level, LEVELS)));
        }
    }
    EnvFilter::try_new(text).map(drop).map_err(|err| format!("{text:?} is not understood: {err}"))
}

/// Names of regions and nodes stand in headers, file names and ids.
fn check_name(reader: &mut Reader, path: &str, name: &str) {
    let fits = |letter: char| letter.is_ascii_alphanumeric() || "-_.".contains(letter);
    if name.is_empty() || name.len() > 64 || !name.chars().all(fits) {
        reader.wrong(path, format!("{name:?} must be 1 to 64 letters, digits, dots, dashes or underscores"));
    }
}

/// Whether a text is a network in CIDR form.
pub fn is_network(text: &str) -> bool {
    let Some((address, length)) = text.split_once('/') else { return false };
    match (address.parse::<IpAddr>(), length.parse::<u8>()) {
        (Ok(IpAddr::V4(_)), Ok(length)) => length <= 32,
        (Ok(IpAddr::V6(_)), Ok(length)) => length <= 128,
        _ => false,
    }
}

/// The name of a node whose file gives none.
pub fn usual_node_name(region: &str, sources: &Sources) -> String {
    node_name(region, &hostname(sources))
}

/// `region-host`, with what a node's name may not hold replaced.
fn node_name(region: &str, host: &str) -> String {
    let fits = |letter: char| if letter.is_ascii_alphanumeric() || "-_.".contains(letter) { letter } else { '-' };
    let name: String = format!("{region}-{host}").chars().map(fits).collect();
    name.chars().take(64).collect()
}

/// The kernel's word for it; elsewhere the shell's.
fn hostname(sources: &Sources) -> String {
    let kernel = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name = kernel.trim();
    if name.is_empty() { sources.variable("HOSTNAME").unwrap_or("host").to_owned() } else { name.to_owned() }
}
