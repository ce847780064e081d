//! `probemesh demo`: what it finds, shown on services of its own with trouble made on purpose, and how well it found it.

use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};

use crate::cli::access::runtime;
use crate::cli::process::end_signal;
use crate::clock::Clock;
use crate::demo::view::{render, to_json};
use crate::demo::{Demo, Options, Progress};

#[derive(Debug, Args)]
pub struct DemoArgs {
    /// Which troubles, how large, and when; the same number makes the same plan
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How long to watch
    #[arg(long, default_value_t = 4.0, value_parser = minutes)]
    minutes: f64,
    /// Leaves everything running afterwards until Ctrl-C, shows address and password, and leaves the folder
    #[arg(long)]
    keep: bool,
    #[arg(long)]
    json: bool,
}

fn minutes(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(minutes) if (3.0..=1440.0).contains(&minutes) => Ok(minutes),
        _ => Err("must be a number from 3 to 1440: less is too short to learn what is usual".to_owned()),
    }
}

pub fn run(args: DemoArgs) -> anyhow::Result<ExitCode> {
    let options = Options { seed: args.seed, whole: Duration::from_secs_f64(args.minutes * 60.0), keep: args.keep };
    runtime()?.block_on(async {
        let clock = Clock::real();
        let mut ended = std::pin::pin!(end_signal()?);
        let bar = bar()?;
        bar.set_message("starting a hub and the nodes of three regions");
        let mut demo = tokio::select! {
            started = Demo::start(&options, &clock) => started?,
            signal = &mut ended => {
                bar.finish_and_clear();
                return Ok(interrupted(signal));
            }
        };
        let shown = tokio::select! {
            report = demo.run(|progress| show(&bar, &progress)) => report.map(Some),
            signal = &mut ended => { interrupted(signal); Ok(None) }
        };
        bar.finish_and_clear();
        let outcome = match shown {
            Ok(Some(report)) => {
                let text = if args.json { format!("{:#}\n", to_json(&report)) } else { render(&report) };
                // A reader that went away is no reason to leave processes behind.
                let _ = std::io::stdout().write_all(text.as_bytes());
                if args.keep {
                    eprintln!("{}", demo.address());
                    ended.await;
                }
                Ok(ExitCode::SUCCESS)
            }
            Ok(None) => Ok(ExitCode::from(130)),
            Err(err) => Err(err),
        };
        demo.end().await;
        outcome
    })
}

fn interrupted(signal: &str) -> ExitCode {
    eprintln!("probemesh: {signal}, the demo ends");
    ExitCode::from(130)
}

/// On a terminal alone.
fn bar() -> anyhow::Result<ProgressBar> {
    let bar = if std::io::stderr().is_terminal() { ProgressBar::new(1) } else { ProgressBar::hidden() };
    bar.set_style(ProgressStyle::with_template("{bar:40} {pos}/{len} s  {msg}").context("template of the bar")?);
    Ok(bar)
}

fn show(bar: &ProgressBar, progress: &Progress) {
    bar.set_length(progress.whole.as_secs());
    bar.set_position(progress.elapsed.as_secs());
    bar.set_message(progress.what.clone());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_too_short_to_learn_is_refused() {
        assert!(minutes("3").is_ok() && minutes("3.5").is_ok() && minutes("1440").is_ok());
        assert!(minutes("2.9").is_err() && minutes("NaN").is_err() && minutes("x").is_err() && minutes("1441").is_err());
    }
}
