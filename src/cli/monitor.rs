//! `probemesh monitor`: the monitor's own health in the terminal, once or again and again in the same place.
//!
//! Its exit code is for whoever runs it from cron: 0 healthy, 1 degraded, 2 critical, 3 no hub could be asked.
//!
//! **Invariant.** However it ends, the terminal is as it was: the page is drawn on the terminal's other screen, and left again.

pub mod view;

use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use reqwest::Method;
use serde_json::Value;

use crate::cli::access::{Remote, load_config, runtime};
use crate::cli::check_view::Paint;
use crate::cli::monitor::view::render;
use crate::cli::process::end_signal;
use crate::clock::Clock;
use crate::config::Config;
use crate::config::sources::{Role, Sources};

const UNREACHABLE: u8 = 3;
const OTHER_SCREEN: &str = "\x1b[?1049h\x1b[?25l";
const OWN_SCREEN: &str = "\x1b[?25h\x1b[?1049l";
/// To the upper left corner; what is left below is wiped behind the page.
const HOME: &str = "\x1b[H";
const WIPE_LINE: &str = "\x1b[K";
const WIPE_BELOW: &str = "\x1b[J";

#[derive(Debug, Args)]
pub struct MonitorArgs {
    /// Looks once, prints and ends: 0 healthy, 1 degraded, 2 critical, 3 no hub could be asked
    #[arg(long, conflicts_with = "interval", required_unless_present = "interval")]
    once: bool,
    /// Looks every so many seconds, in the same place, until Ctrl-C
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(1..=86_400))]
    interval: Option<u32>,
    /// How far back the trend reaches
    #[arg(long, default_value_t = 24, value_parser = clap::value_parser!(u32).range(1..=8760))]
    hours: u32,
    /// The figures as JSON; with --interval one line each time
    #[arg(long)]
    json: bool,
}

pub fn run(args: &MonitorArgs) -> anyhow::Result<ExitCode> {
    match show(args) {
        Ok(code) => Ok(ExitCode::from(code)),
        Err(err) => {
            eprintln!("probemesh: {err:#}");
            Ok(ExitCode::from(UNREACHABLE))
        }
    }
}

fn show(args: &MonitorArgs) -> anyhow::Result<u8> {
    let config = load_config()?;
    // Colours are for a terminal whose owner wants them (no-color.org).
    let plain = Sources::from_process(Role::Hub).variable("NO_COLOR").is_some();
    let terminal = std::io::stdout().is_terminal();
    let paint = Paint(terminal && !plain);
    runtime()?.block_on(async {
        match args.interval {
            None => {
                let health = ask(&config, args.hours).await?;
                match args.json {
                    true => println!("{health:#}"),
                    false => print!("{}", render(&health, paint)),
                }
                Ok(code(&health))
            }
            Some(seconds) => again(args, &config, Duration::from_secs(seconds.into()), terminal && !args.json, paint).await,
        }
    })
}

/// Until a signal; the code is that of the last page.
async fn again(args: &MonitorArgs, config: &Config, interval: Duration, in_place: bool, paint: Paint) -> anyhow::Result<u8> {
    let clock = Clock::real();
    let mut ended = std::pin::pin!(end_signal()?);
    let _screen = in_place.then(Screen::enter);
    let mut last = UNREACHABLE;
    loop {
        let looked = tokio::select! {
            looked = ask(config, args.hours) => looked,
            _ = &mut ended => return Ok(last),
        };
        let page = match looked {
            Ok(health) => {
                last = code(&health);
                if args.json { format!("{health}\n") } else { render(&health, paint) }
            }
            Err(err) => {
                last = UNREACHABLE;
                if args.json {
                    format!("{}\n", serde_json::json!({"status": null, "error": format!("{err:#}")}))
                } else {
                    format!("probemesh  {}\n\n  {err:#}\n", paint.red("unreachable"))
                }
            }
        };
        let page = match in_place {
            true => format!("{HOME}{}{WIPE_BELOW}", page.replace('\n', &format!("{WIPE_LINE}\n"))),
            false if args.json => page,
            false => format!("{page}\n"),
        };
        let mut out = std::io::stdout();
        if out.write_all(page.as_bytes()).and_then(|()| out.flush()).is_err() {
            return Ok(last);
        }
        tokio::select! {
            () = clock.sleep(interval) => {}
            _ = &mut ended => return Ok(last),
        }
    }
}

/// Looks now, and at the past.
async fn ask(config: &Config, hours: u32) -> anyhow::Result<Value> {
    let Some(remote) = Remote::find(config).await? else { anyhow::bail!("no hub runs here") };
    remote.ask(Method::POST, "api/v1/maintenance/metrics/collect", None).await?;
    remote.ask(Method::GET, &format!("api/v1/maintenance/health?hours={hours}"), None).await
}

fn code(health: &Value) -> u8 {
    match health["status"].as_str() {
        Some("healthy") => 0,
        Some("degraded") => 1,
        Some("critical") => 2,
        _ => UNREACHABLE,
    }
}

/// The terminal's other screen, for as long as this lives.
struct Screen;

impl Screen {
    fn enter() -> Screen {
        print!("{OTHER_SCREEN}");
        Screen
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        print!("{OWN_SCREEN}");
        let _ = std::io::stdout().flush();
    }
}
