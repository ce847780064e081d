//! Files and environment → one checked `Config`.

pub mod mistake;
pub mod sections;
pub mod service;

use figment::Figment;

use crate::config::sections::{ApiSettings, HubSettings, LogSettings, RegionSettings, StoreSettings};

/// Everything a process runs by. Made once; never changed.
#[derive(Clone, Debug)]
pub struct Config {
    pub hub: HubSettings,
    pub region: RegionSettings,
    pub store: StoreSettings,
    pub api: ApiSettings,
    pub log: LogSettings,
    /// Rocket's own keys: address, port, tls, limits.
    pub rocket: Figment,
}
