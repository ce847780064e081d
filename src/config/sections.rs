//! The settings of each stage, checked. `Config` never changes after start; nothing that runs keeps its state here.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use url::Url;

use crate::model::id::{NodeName, RegionName};
use crate::model::incident::Severity;
use crate::model::service::Schedule;

/// What a region's process runs by.
#[derive(Clone, Debug)]
pub struct RegionSettings {
    pub name: RegionName,
    pub node: NodeName,
    /// Where the outbox lies.
    pub data_dir: PathBuf,
    /// Checks in flight at once, over all services of the node.
    pub max_concurrent_checks: usize,
    /// The outbox drops its oldest batches beyond either bound, counted.
    pub outbox_max_bytes: u64,
    pub outbox_max_age: Duration,
    /// Results wait so long at most for others to share one commit with.
    pub commit_interval: Duration,
    /// What may be sent a second while the outbox works off what waited.
    pub catch_up_bytes_per_s: u64,
    pub probe: ProbeSettings,
    pub restart: RestartSettings,
    pub witness: WitnessSettings,
    pub hub_lost: HubLostSettings,
}

/// Whom a node looks at to know whether it sees anything itself.
#[derive(Clone, Debug)]
pub struct WitnessSettings {
    /// `host:port` of each; with none nothing is watched.
    pub places: Vec<String>,
    pub interval: Duration,
    /// For one connection.
    pub timeout: Duration,
    /// Rounds in a row in which none answers, before the node calls itself blind.
    pub blind_after: u32,
}

/// What a node does when it has lost its hub.
#[derive(Clone, Debug, Default)]
pub struct HubLostSettings {
    /// Where it posts its word; `None`: nowhere.
    pub url: Option<Url>,
    /// Away for so long, the hub is lost.
    pub after: Duration,
}

/// How a hub tells a dead-man service that it works.
#[derive(Clone, Debug)]
pub struct HeartbeatSettings {
    /// `None`: it tells nobody.
    pub url: Option<Url>,
    pub interval: Duration,
    /// Calls `url` + `/fail` when it does not work, instead of keeping silent.
    pub fail: bool,
}

/// What every check of a node is made with.
#[derive(Clone, Debug)]
pub struct ProbeSettings {
    /// Sends `X-Probemesh-Check: node/boot/seq/attempt` with each request, so that a target's log can be held against the store.
    pub check_header: bool,
    pub user_agent: String,
    /// How long a resolved name may be used again; zero asks at every check.
    pub dns_cache: Duration,
    /// Networks in CIDR form no check may reach, such as `169.254.0.0/16`.
    pub blocked_networks: Vec<String>,
    /// Who is asked for addresses, in this order; empty: the system's.
    pub name_servers: Vec<SocketAddr>,
}

/// How a failed actor is started again: the n-th delay is drawn evenly from zero to `min(max, initial × 2^(n−1))`.
#[derive(Clone, Debug)]
pub struct RestartSettings {
    pub initial: Duration,
    pub max: Duration,
    /// More restarts than this within `window` and the actor is quarantined.
    pub budget: u32,
    pub window: Duration,
    /// Healthy for so long, its count starts again from zero.
    pub reset_after: Duration,
}

#[derive(Clone, Debug)]
pub struct StoreSettings {
    /// `None`: embedded, below `data_dir`. `mem://` is for tests; `ws://host:port` and `wss://host:port` are servers,
    /// with the namespace and the database as a path where they are not to be `probemesh` and `main`.
    pub url: Option<String>,
    pub username: Option<String>,
    pub password: Option<String>,
    /// An authority to trust beside the system's, for `wss://`: a PEM file.
    pub ca: Option<PathBuf>,
    pub data_dir: PathBuf,
    /// Bounds of the embedded engine, bytes.
    pub memtable_bytes: u64,
    pub block_cache_bytes: u64,
    /// A block holds at most so many results…
    pub block_results: usize,
    /// …and at most so long a span.
    pub block_span: Duration,
    /// The journal is sealed into blocks beyond so many bytes.
    pub journal_max_bytes: u64,
    pub retain_results: Duration,
    pub retain_details: Duration,
    /// Rollups by the minute; those by the hour and the day are kept for ever.
    pub retain_minutes: Duration,
    /// Detail rows kept for one service in one region and hour; those beyond are counted.
    pub details_per_hour: u32,
}

#[derive(Clone, Debug)]
pub struct ApiSettings {
    pub access_lifetime: Duration,
    pub refresh_lifetime: Duration,
    /// Requests a minute, for one user and for one address without a user.
    pub requests_per_minute: u32,
    /// Log-in attempts a minute from one address.
    pub logins_per_minute: u32,
    pub max_body_bytes: u64,
    /// Said in so many words: plain HTTP beyond loopback is wanted.
    pub allow_plain_http: bool,
    /// The header a trusted proxy names the client's address in; `None` trusts nobody.
    pub proxy_header: Option<String>,
    /// The public address of the hub, for links.
    pub public_url: Option<String>,
}

/// How channels send.
#[derive(Clone, Debug)]
pub struct ChannelSettings {
    /// For one attempt.
    pub send_timeout: Duration,
    /// Whether a channel may run a program on this machine.
    pub allow_commands: bool,
    /// Networks in CIDR form no channel may reach.
    pub blocked_networks: Vec<String>,
}

#[derive(Clone, Debug)]
pub struct LogSettings {
    pub dir: PathBuf,
    /// Directives as tracing's `EnvFilter` takes them, such as `info,probemesh=debug`.
    pub level: String,
    /// Bytes at which a file is put aside…
    pub file_bytes: u64,
    /// …or this age…
    pub file_age: Duration,
    /// …and how many put aside are kept of each log: total = file_bytes × (files + 1).
    pub files: u32,
    /// Each check as a line of health.log.
    pub health: bool,
}

/// What the hub runs by, beside the sections of its stages.
#[derive(Clone, Debug)]
pub struct HubSettings {
    pub data_dir: PathBuf,
    /// For services that name neither interval nor cron.
    pub schedule: Schedule,
    pub services_json: PathBuf,
    /// The first start gives `admin` this password; a random one if not set.
    pub admin_password: Option<String>,
    pub heartbeat: HeartbeatSettings,
}

/// How alerts are held together and delivered.
#[derive(Clone, Debug)]
pub struct AlertSettings {
    /// A service with others above or below it is not told of before: they may be the cause, or follow.
    pub hold: Duration,
    /// What followed from a failure that is over has so long to get well before it is told as its own.
    pub settle: Duration,
    /// For one attempt.
    pub attempt_timeout: Duration,
    /// Waits double from the first to the longest, and are drawn from half of that to all of it.
    pub retry_initial: Duration,
    pub retry_max: Duration,
    /// After so long a delivery is given up.
    pub give_up: Duration,
    pub retain: Duration,
}

/// When digests are written, of what, and by whom.
#[derive(Clone, Debug)]
pub struct DigestSettings {
    /// `None`: only when someone asks.
    pub schedule: Option<Schedule>,
    /// How long a period is that nobody named.
    pub hours: u32,
    /// Which services get one of their own, beside the one of all.
    pub of_services: OfServices,
    pub retain: Duration,
    /// Instructions for the model, read anew for each run.
    pub prompt_file: PathBuf,
    /// Whether it is another than the usual one: then it must be there.
    pub prompt_file_named: bool,
    /// `None`: the local writer writes all.
    pub model: Option<ModelSettings>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OfServices {
    /// Those with something to tell.
    Notable,
    All,
    None,
}

impl OfServices {
    pub fn from_name(name: &str) -> Option<OfServices> {
        match name {
            "notable" => Some(OfServices::Notable),
            "all" => Some(OfServices::All),
            "none" => Some(OfServices::None),
            _ => None,
        }
    }
}

/// A language model behind an API compatible with OpenAI's.
#[derive(Clone)]
pub struct ModelSettings {
    pub key: String,
    /// Without a slash at its end.
    pub base_url: String,
    pub model: String,
    /// For one answer, from the first byte sent to the last received.
    pub timeout: Duration,
    /// Further tries after one that failed or was refused.
    pub retries: u32,
    /// Of a day in UTC, prompts and answers together.
    pub daily_tokens: u64,
    pub max_output_tokens: u32,
}

impl std::fmt::Debug for ModelSettings {
    /// The key stays out, but for whether it changed.
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let ModelSettings { key, base_url, model, timeout, retries, daily_tokens, max_output_tokens } = self;
        let key: u64 = key.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3));
        write!(out, "{:?}", (key as u16, base_url, model, timeout, retries, daily_tokens, max_output_tokens))
    }
}

/// Which issues the program opens by itself.
#[derive(Clone, Debug, PartialEq)]
pub struct TrackerSettings {
    /// Whether it opens any.
    pub open_issues: bool,
    /// For incidents of this severity or a worse one; `None`: for none.
    pub open_for_severity: Option<Severity>,
    /// An incident that is over sooner opens none.
    pub open_after: Duration,
    /// So long a node is lost or blind before that is an issue.
    pub node_after: Duration,
    /// So many findings of one kind and service; 0: never.
    pub repeated_findings: u32,
    /// …within so long.
    pub repeated_within: Duration,
}

/// How hub and nodes find each other and keep in touch.
#[derive(Clone, Debug)]
pub struct MeshSettings {
    /// Where a hub takes nodes; `None`: it has none but its own.
    pub listen: Option<SocketAddr>,
    /// `host:port` that nodes dial, as a hub writes it into join tokens; `None`: the address listened on.
    pub address: Option<String>,
    /// `host:port` of the hub, of a node.
    pub hub: Option<String>,
    /// Long-lived, for deployments that cannot carry tokens by hand; hub and nodes are given the same.
    pub join_secret: Option<String>,
    pub heartbeat: Duration,
    /// Silent for so long, the other end is lost.
    pub deadline: Duration,
    /// What a node may send a second while it works off what waited in its outbox.
    pub catch_up_bytes_per_s: u64,
}

/// How the analyst looks for anomalies.
#[derive(Clone, Debug, PartialEq)]
pub struct AnalysisSettings {
    pub enabled: bool,
    /// 1 is the usual; more finds more, and more that is none.
    pub sensitivity: f64,
    /// The shortest span of a sample; a service's interval where that is longer.
    pub span: Duration,
    /// Samples in a row that are as usual end a finding.
    pub quiet_samples: u32,
    /// A time that is off by less than this share of what is usual is never a finding.
    pub least_change: f64,
    /// How long findings are kept that have ended.
    pub retain: Duration,
    pub forest: ForestSettings,
}

/// The isolation forest of the batch pass.
#[derive(Clone, Debug, PartialEq)]
pub struct ForestSettings {
    pub trees: usize,
    /// Rows each tree is made of.
    pub sample_size: usize,
    /// The share of all rows that may be findings at most.
    pub contamination: f64,
    /// Between two passes over a service.
    pub every: Duration,
    pub seed: u64,
}
