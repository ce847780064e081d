//! The hub as a process: starts, listens, works until told to end, and ends in order.

use std::sync::Mutex;
use std::time::Duration;

use anyhow::Context;
use rocket::Rocket;
use tracing::{info, warn};
use url::Url;

use crate::cli::process::end_signal;
use crate::clock::Clock;
use crate::config::Config;
use crate::hub::{own_url, waiting};
use crate::region::Drained;
use crate::telemetry::health::HealthLog;

/// Listens and works until told to end.
pub async fn serve(config: Config, health: HealthLog, with_region: bool) -> anyhow::Result<()> {
    let clock = Clock::real();
    let limit = Duration::from_secs(9);
    // Heard from the first moment on: a start that is ended early ends as cleanly as any.
    let mut ended = std::pin::pin!(end_signal()?);
    let Some(mut hub) = waiting::start(&config, &clock, &health, ended.as_mut()).await? else { return Ok(()) };
    let url = own_url(&config)?;
    if let Some(password) = hub.new_password.take() {
        // Before anything else can go wrong: it is shown here and never again.
        println!("\n  first start: user admin, password {password}   (shown once; `probemesh user passwd admin` sets another)");
    }
    let (up, listening) = tokio::sync::oneshot::channel();
    let up = Mutex::new(Some(up));
    let rocket = hub.take_rocket().context("rocket is taken once")?.attach(rocket::fairing::AdHoc::on_liftoff("listening", move |_| {
        let up = up.lock().expect("no holder panics").take();
        Box::pin(async move {
            if let Some(up) = up {
                let _ = up.send(());
            }
        })
    }));
    let rocket = rocket.ignite().await.map_err(|err| anyhow::anyhow!("web server is not well configured: {}", err.kind()))?;
    let shutdown = rocket.shutdown();
    let mut server = tokio::spawn(rocket.launch());
    tokio::select! {
        launched = &mut server => {
            let _ = hub.stop(None, limit).await;
            return Err(launch_error(launched, &url));
        }
        // Dropped unsent, it says only that the server has ended, and that says why itself.
        Ok(()) = listening => {}
    }
    info!(address = url.as_str(), "hub listens");
    println!("\n  probemesh listens on {url}\n");
    let region = if with_region { Some(hub.start_region().await?) } else { None };
    let early = tokio::select! {
        signal = &mut ended => { info!(signal, "ending: checks in flight are finished and stored"); None }
        launched = &mut server => Some(launch_error(launched, &url)),
    };
    let began = clock.steady();
    shutdown.notify();
    let drained = hub.stop(region, limit).await?;
    let took_ms = (clock.steady() - began).as_millis() as u64;
    match drained {
        Some(Drained { given_up: 0, depth, .. }) if depth.results == 0 => info!(took_ms, "ended: every check made is in the store"),
        Some(Drained { given_up, depth, .. }) => {
            warn!(
                took_ms,
                given_up,
                waiting = depth.results,
                "ended: checks given up were not made, results that wait are sent at the next start"
            );
        }
        None => info!(took_ms, "ended"),
    }
    match early {
        Some(err) => Err(err),
        None => {
            let _ = tokio::time::timeout(Duration::from_secs(1), server).await;
            Ok(())
        }
    }
}

pub fn launch_error(launched: Result<Result<Rocket<rocket::Ignite>, rocket::Error>, tokio::task::JoinError>, url: &Url) -> anyhow::Error {
    match launched {
        Ok(Ok(_)) => anyhow::anyhow!("web server ended by itself"),
        Ok(Err(err)) => match err.kind() {
            rocket::error::ErrorKind::Bind(cause) => anyhow::anyhow!("cannot listen on {url}: {cause} (set ROCKET_PORT or ROCKET_ADDRESS)"),
            kind => anyhow::anyhow!("web server failed: {kind}"),
        },
        Err(err) => anyhow::anyhow!("web server failed: {err}"),
    }
}
