//! `probemesh` and `probemesh hub`: works until told to end.

use std::process::ExitCode;

use crate::cli::access::{load_config, runtime};
use crate::hub;
use crate::telemetry::{self, Console};

pub fn run(with_region: bool) -> anyhow::Result<ExitCode> {
    let config = load_config()?;
    bound_memory();
    let telemetry = telemetry::start(&config.log, Console::Human)?;
    let health = telemetry.health.clone();
    let ended = runtime()?.block_on(hub::serve(config, health, with_region));
    drop(telemetry);
    ended.map(|()| ExitCode::SUCCESS)
}

/// The C library keeps an arena of freed memory for each thread; one a core is plenty, and what is freed goes back sooner.
fn bound_memory() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: both calls only set tunables of the allocator.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 2);
        libc::mallopt(libc::M_TRIM_THRESHOLD, 4 << 20);
    }
}
