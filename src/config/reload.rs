//! Reads the file again when it has changed while the process runs.
//!
//! A file that is wrong changes nothing: what runs goes on, and each mistake is logged once. A file that is right makes another `Config`,
//! handed on through a watch channel to those who can take it up; the log says which keys changed and which of them wait for a restart.
//!
//! The file is looked at every two seconds rather than by the operating system's notices, which do not cross every
//! kind of mount. Its content decides: touching it does nothing.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use figment::value::Dict;
use tokio::sync::watch;

use crate::clock::Clock;
use crate::config::Config;
use crate::config::mistake::Mistake;
use crate::config::sections::{
    AlertSettings, AnalysisSettings, ApiSettings, ChannelSettings, DigestSettings, ForestSettings, HeartbeatSettings, HubLostSettings,
    HubSettings, LogSettings, MeshSettings, ProbeSettings, RegionSettings, RestartSettings, StoreSettings, TrackerSettings,
    WitnessSettings,
};
use crate::config::sources::Sources;
use crate::config::status::{StatusSettings, SubscriptionSettings};
use crate::config::system::{SystemSettings, Thresholds};

const PERIOD: Duration = Duration::from_secs(2);

/// A key whose value is another now. The values are not repeated: some are passwords.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    pub path: &'static str,
    /// It takes effect at once; else with the next start.
    pub live: bool,
}

/// What a look at the file brought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    Unchanged,
    Refused(Vec<Mistake>),
    Changed(Vec<Change>),
}

pub struct Watcher {
    sources: Sources,
    file: PathBuf,
    stamp: Option<(SystemTime, u64)>,
    content: Option<Vec<u8>>,
    outlet: watch::Sender<Arc<Config>>,
}

impl Watcher {
    /// `current` is what these sources gave; the receiver sees it first, then each later one.
    pub fn new(sources: Sources, current: Arc<Config>) -> (Watcher, watch::Receiver<Arc<Config>>) {
        let (outlet, inlet) = watch::channel(current);
        let file = sources.file();
        let (stamp, content) = (stamp(&file), std::fs::read(&file).ok());
        (Watcher { sources, file, stamp, content, outlet }, inlet)
    }

    /// Looks once.
    pub fn poll(&mut self) -> Outcome {
        let stamp = stamp(&self.file);
        if stamp == self.stamp {
            return Outcome::Unchanged;
        }
        self.stamp = stamp;
        let content = std::fs::read(&self.file).ok();
        if content == self.content {
            return Outcome::Unchanged;
        }
        self.content = content;
        match Config::load(&self.sources) {
            Err(mistakes) => Outcome::Refused(mistakes),
            Ok(config) => {
                let changes = changes(&self.outlet.borrow(), &config);
                self.outlet.send_replace(Arc::new(config));
                Outcome::Changed(changes)
            }
        }
    }

    /// Looks again and again, and says in the log what came of it.
    pub async fn run(mut self, clock: Clock) {
        loop {
            clock.sleep(PERIOD).await;
            match self.poll() {
                Outcome::Unchanged => {}
                Outcome::Refused(mistakes) => {
                    for mistake in mistakes {
                        tracing::error!("configuration not reloaded, what runs goes on: {mistake}");
                    }
                }
                Outcome::Changed(changes) if changes.is_empty() => tracing::info!("configuration reloaded, no key changed"),
                Outcome::Changed(changes) => {
                    for Change { path, live } in changes {
                        let effect = if live { "applied now" } else { "takes effect after a restart" };
                        tracing::info!(key = path, live, "configuration changed, {effect}");
                    }
                }
            }
        }
    }
}

fn stamp(file: &PathBuf) -> Option<(SystemTime, u64)> {
    let metadata = std::fs::metadata(file).ok()?;
    Some((metadata.modified().ok()?, metadata.len()))
}

/// The keys in which two configurations differ, in the order of the sections.
pub fn changes(old: &Config, new: &Config) -> Vec<Change> {
    let pairs = values(old).into_iter().zip(values(new));
    pairs.filter(|(old, new)| old.value != new.value).map(|(old, _)| Change { path: old.path, live: old.live }).collect()
}

struct Valued {
    path: &'static str,
    live: bool,
    value: String,
}

/// Takes effect after a restart.
fn fixed(path: &'static str, value: impl std::fmt::Debug) -> Valued {
    Valued { path, live: false, value: format!("{value:?}") }
}

/// Takes effect at once.
fn live(path: &'static str, value: impl std::fmt::Debug) -> Valued {
    Valued { path, live: true, value: format!("{value:?}") }
}

/// What keys that hold a text or a path came to, by path: also those that were not set.
pub fn texts(config: &Config) -> Vec<(&'static str, String)> {
    let plain = |valued: Valued| Some((valued.path, valued.value.strip_prefix('"')?.strip_suffix('"')?.to_owned()));
    values(config).into_iter().filter_map(plain).collect()
}

/// Every key with its value. The structs are taken apart, so that a field that is added is not forgotten here.
fn values(config: &Config) -> Vec<Valued> {
    let Config {
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
        effective: _,
    } = config;
    let HubSettings { data_dir, schedule, services_json, admin_password, heartbeat } = hub;
    let HeartbeatSettings { url, interval, fail } = heartbeat;
    let mut values = vec![
        fixed("hub.data_dir", data_dir),
        fixed("hub.schedule_cron", schedule),
        fixed("hub.services_json", services_json),
        fixed("hub.admin_password", admin_password),
        fixed("hub.heartbeat_url", url),
        fixed("hub.heartbeat_interval_s", interval),
        fixed("hub.heartbeat_fail", fail),
    ];
    let RegionSettings {
        name,
        node,
        data_dir,
        max_concurrent_checks,
        outbox_max_bytes,
        outbox_max_age,
        commit_interval,
        catch_up_bytes_per_s: _,
        probe,
        restart,
        witness,
        hub_lost,
    } = region;
    values.extend([
        fixed("region.name", name),
        fixed("region.node", node),
        fixed("region.data_dir", data_dir),
        fixed("region.max_concurrent_checks", max_concurrent_checks),
        fixed("region.outbox_max_bytes", outbox_max_bytes),
        fixed("region.outbox_max_age_days", outbox_max_age),
        fixed("region.commit_interval_ms", commit_interval),
    ]);
    let ProbeSettings { check_header, user_agent, dns_cache, blocked_networks, name_servers } = probe;
    values.extend([
        fixed("probe.check_header", check_header),
        fixed("probe.user_agent", user_agent),
        fixed("probe.dns_cache_s", dns_cache),
        fixed("probe.blocked_networks", blocked_networks),
        fixed("probe.name_servers", name_servers),
    ]);
    let RestartSettings { initial, max, budget, window, reset_after } = restart;
    values.extend([
        fixed("restart.initial_ms", initial),
        fixed("restart.max_ms", max),
        fixed("restart.budget", budget),
        fixed("restart.window_s", window),
        fixed("restart.reset_after_s", reset_after),
    ]);
    let WitnessSettings { places, interval, timeout, blind_after } = witness;
    let HubLostSettings { url, after } = hub_lost;
    values.extend([
        fixed("witness.urls", places),
        fixed("witness.interval_s", interval),
        fixed("witness.timeout_s", timeout),
        fixed("witness.blind_after", blind_after),
        fixed("hub_lost.url", url),
        fixed("hub_lost.after_s", after),
    ]);
    let MeshSettings { listen, address, hub, join_secret, heartbeat, deadline, catch_up_bytes_per_s } = mesh;
    values.extend([
        fixed("mesh.listen", listen),
        fixed("mesh.address", address),
        fixed("mesh.hub", hub),
        fixed("mesh.join_secret", join_secret),
        fixed("mesh.heartbeat_s", heartbeat),
        fixed("mesh.deadline_s", deadline),
        fixed("mesh.catch_up_bytes_per_s", catch_up_bytes_per_s),
    ]);
    let StoreSettings {
        url,
        username,
        password,
        ca,
        data_dir,
        memtable_bytes,
        block_cache_bytes,
        block_results,
        block_span,
        journal_max_bytes,
        retain_results,
        retain_details,
        retain_minutes,
        details_per_hour,
    } = store;
    values.extend([
        fixed("store.url", url),
        fixed("store.username", username),
        fixed("store.password", password),
        fixed("store.ca", ca),
        fixed("store.data_dir", data_dir),
        fixed("store.memtable_bytes", memtable_bytes),
        fixed("store.block_cache_bytes", block_cache_bytes),
        fixed("store.block_results", block_results),
        fixed("store.block_span_minutes", block_span),
        fixed("store.journal_max_bytes", journal_max_bytes),
        fixed("store.retain_results_days", retain_results),
        fixed("store.retain_details_days", retain_details),
        fixed("store.retain_minutes_days", retain_minutes),
        fixed("store.details_per_hour", details_per_hour),
    ]);
    let ApiSettings {
        access_lifetime,
        refresh_lifetime,
        requests_per_minute,
        logins_per_minute,
        max_body_bytes,
        allow_plain_http,
        proxy_header,
        public_url,
    } = api;
    values.extend([
        fixed("api.access_lifetime_minutes", access_lifetime),
        fixed("api.refresh_lifetime_days", refresh_lifetime),
        fixed("api.requests_per_minute", requests_per_minute),
        fixed("api.logins_per_minute", logins_per_minute),
        fixed("api.max_body_bytes", max_body_bytes),
        fixed("api.allow_plain_http", allow_plain_http),
        fixed("api.proxy_header", proxy_header),
        fixed("api.public_url", public_url),
        fixed("oidc", oidc),
    ]);
    let AnalysisSettings { enabled, sensitivity, span, quiet_samples, least_change, retain, forest } = analysis;
    let ForestSettings { trees, sample_size, contamination, every, seed } = forest;
    values.extend([
        fixed("analysis.enabled", enabled),
        fixed("analysis.sensitivity", sensitivity),
        fixed("analysis.span_s", span),
        fixed("analysis.quiet_samples", quiet_samples),
        fixed("analysis.least_change", least_change),
        fixed("analysis.retain_days", retain),
        fixed("analysis.forest_trees", trees),
        fixed("analysis.forest_sample_size", sample_size),
        fixed("analysis.forest_contamination", contamination),
        fixed("analysis.forest_hours", every),
        fixed("analysis.forest_seed", seed),
    ]);
    let DigestSettings { schedule, hours, of_services, retain, prompt_file, prompt_file_named, model } = digest;
    values.extend([
        fixed("digest.cron", schedule),
        fixed("digest.period_hours", hours),
        fixed("digest.services", of_services),
        fixed("digest.retain_days", retain),
        fixed("digest.prompt_file", (prompt_file, prompt_file_named)),
        fixed("digest.model", model),
    ]);
    let AlertSettings { hold, settle, attempt_timeout, retry_initial, retry_max, give_up, retain } = alerts;
    values.extend([
        fixed("alerts.hold_s", hold),
        fixed("alerts.settle_s", settle),
        fixed("alerts.attempt_timeout_s", attempt_timeout),
        fixed("alerts.retry_initial_s", retry_initial),
        fixed("alerts.retry_max_s", retry_max),
        fixed("alerts.give_up_hours", give_up),
        fixed("alerts.retain_days", retain),
    ]);
    let ChannelSettings { send_timeout, allow_commands, blocked_networks } = channels;
    values.extend([
        fixed("alerts.send_timeout_s", send_timeout),
        fixed("alerts.allow_commands", allow_commands),
        fixed("alerts.blocked_networks", blocked_networks),
    ]);
    let TrackerSettings { open_issues, open_for_severity, open_after, node_after, repeated_findings, repeated_within } = tracker;
    values.extend([
        fixed("tracker.open_issues", open_issues),
        fixed("tracker.open_for_severity", open_for_severity),
        fixed("tracker.open_after_s", open_after),
        fixed("tracker.node_after_s", node_after),
        fixed("tracker.repeated_findings", repeated_findings),
        fixed("tracker.repeated_days", repeated_within),
    ]);
    let SystemSettings { interval, hold, retain_samples, retain_hours, thresholds, dependencies } = system;
    let Thresholds {
        disk_days,
        disk_free_percent,
        lag_p99,
        outbox_age,
        store_write,
        descriptors_percent,
        quarantined,
        node_certificate_days,
        authority_days,
        api_p95,
    } = thresholds;
    values.extend([
        fixed("system.interval_s", interval),
        fixed("system.hold_s", hold),
        fixed("system.retain_samples_days", retain_samples),
        fixed("system.retain_hours_days", retain_hours),
        fixed("system.min_disk_days", disk_days),
        fixed("system.min_disk_free_percent", disk_free_percent),
        fixed("system.max_lag_p99_ms", lag_p99),
        fixed("system.max_outbox_age_s", outbox_age),
        fixed("system.max_store_write_ms", store_write),
        fixed("system.max_descriptors_percent", descriptors_percent),
        fixed("system.alert_quarantined", quarantined),
        fixed("system.min_node_certificate_days", node_certificate_days),
        fixed("system.min_authority_days", authority_days),
        fixed("system.max_api_p95_ms", api_p95),
        fixed("dependencies", dependencies),
    ]);
    let StatusSettings { title, about, logo, accent, subscriptions } = status;
    values.extend([fixed("status.title", title), fixed("status.about", about), fixed("status.logo", logo), fixed("status.accent", accent)]);
    let SubscriptionSettings { enabled, mail_channel, most, per_hour, private_webhooks } = subscriptions;
    values.extend([
        fixed("status.subscriptions", enabled),
        fixed("status.mail_channel", mail_channel),
        fixed("status.most_subscribers", most),
        fixed("status.subscriptions_per_hour", per_hour),
        fixed("status.private_webhooks", private_webhooks),
    ]);
    let LogSettings { dir, level, file_bytes, file_age, files, health } = log;
    values.extend([
        fixed("log.dir", dir),
        live("log.level", level),
        fixed("log.file_bytes", file_bytes),
        fixed("log.file_age_hours", file_age),
        fixed("log.files", files),
        fixed("log.health", health),
    ]);
    values.push(fixed("rocket", rocket.extract::<Dict>().map(plain).unwrap_or_default()));
    values
}

/// Rocket's keys as text without the marks of where each came from, which differ with every reading.
fn plain(keys: Dict) -> String {
    serde_json::to_string(&keys).unwrap_or_default()
}
