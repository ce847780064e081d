//! Files and environment → one checked `Config`.
//!
//! Sources, the later the stronger: defaults, the file (`Rocket.toml` for a hub, `regions/<name>.toml` for a region's node),
//! `PROBEMESH_SECTION__KEY` and `ROCKET_KEY` variables, and a few plain names such as `DATABASE_URL`. Figment merges them;
//! `reader` then asks for each value by its path, so one that is wrong does not hide the next, and all that was written but never
//! asked for is known to be a mistake.
//!
//! **Invariant**: nothing else in the program reads the environment. A `Config` never changes; a reload makes another.

pub mod alerts;
pub mod analysis;
pub mod channels;
pub mod dependencies;
pub mod digest;
pub mod effective;
pub mod file;
#[cfg(feature = "hub")]
pub mod foreign;
pub mod load;
pub mod locate;
pub mod mesh;
pub mod misfit;
pub mod mistake;
pub mod nearest;
pub mod oidc;
pub mod reader;
pub mod reload;
pub mod rocket_keys;
pub mod rule;
pub mod sections;
pub mod service;
pub mod services_file;
pub mod sources;
pub mod status;
pub mod system;
pub mod tracker;
pub mod watching;

use std::sync::Arc;

use figment::Figment;

use crate::config::effective::Setting;
use crate::config::mistake::Mistake;
use crate::config::oidc::OidcSettings;
use crate::config::sections::{
    AlertSettings, AnalysisSettings, ApiSettings, ChannelSettings, DigestSettings, HubSettings, LogSettings, MeshSettings, RegionSettings,
    StoreSettings, TrackerSettings,
};
use crate::config::sources::Sources;
use crate::config::status::StatusSettings;
use crate::config::system::SystemSettings;

/// Everything a process runs by. Made once; never changed.
#[derive(Clone, Debug)]
pub struct Config {
    pub hub: HubSettings,
    pub region: RegionSettings,
    pub store: StoreSettings,
    pub api: ApiSettings,
    /// `None`: nobody logs in by an identity provider.
    pub oidc: Option<OidcSettings>,
    pub mesh: MeshSettings,
    pub analysis: AnalysisSettings,
    pub digest: DigestSettings,
    pub alerts: AlertSettings,
    pub channels: ChannelSettings,
    pub tracker: TrackerSettings,
    pub system: SystemSettings,
    pub status: StatusSettings,
    pub log: LogSettings,
    /// Rocket's own keys: address, port, tls, limits.
    pub rocket: Figment,
    /// All of it as people are shown it.
    pub effective: Arc<[Setting]>,
}

impl Config {
    /// Reads and checks everything. The mistakes come in the order of the file, those of the environment last.
    pub fn load(sources: &Sources) -> Result<Config, Vec<Mistake>> {
        load::load(sources)
    }
}
