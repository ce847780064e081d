//! `probemesh` and `probemesh hub`: works until told to end.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use crate::cli::access::{load_config, runtime};
use crate::clock::Clock;
use crate::config::Config;
use crate::config::reload::Watcher;
use crate::config::sources::{Role, Sources};
use crate::hub::serve::serve;
use crate::telemetry::{self, Console, Telemetry};

pub fn run(with_region: bool) -> anyhow::Result<ExitCode> {
    let config = load_config()?;
    let telemetry = Arc::new(telemetry::start(&config.log, Console::Human)?);
    let health = telemetry.health.clone();
    let runtime = runtime()?;
    watch(&runtime, &config, telemetry.clone());
    let ended = runtime.block_on(serve(config, health, with_region));
    runtime.shutdown_timeout(Duration::from_secs(1));
    drop(telemetry);
    ended.map(|()| ExitCode::SUCCESS)
}

/// Takes up a changed configuration file, as far as it can be while running: the level of the logs.
fn watch(runtime: &tokio::runtime::Runtime, config: &Config, telemetry: Arc<Telemetry>) {
    let (watcher, mut changed) = Watcher::new(Sources::from_process(Role::Hub), Arc::new(config.clone()));
    runtime.spawn(watcher.run(Clock::real()));
    runtime.spawn(async move {
        while changed.changed().await.is_ok() {
            let level = changed.borrow_and_update().log.level.clone();
            if let Err(err) = telemetry.set_level(&level) {
                tracing::error!("log level stays as it was: {err:#}");
            }
        }
    });
}
