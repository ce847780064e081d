//! The command line: one file a subcommand, each one function.

pub mod check_config;
pub mod join;
pub mod process;
pub mod region;

#[cfg(feature = "hub")]
pub mod access;
#[cfg(feature = "hub")]
pub mod analyze;
#[cfg(feature = "hub")]
pub mod bench_detector;
#[cfg(feature = "hub")]
pub mod channel;
#[cfg(feature = "hub")]
pub mod check;
#[cfg(feature = "hub")]
pub mod check_view;
#[cfg(feature = "hub")]
pub mod demo;
#[cfg(feature = "hub")]
pub mod drill;
#[cfg(feature = "hub")]
pub mod export;
#[cfg(feature = "hub")]
pub mod import;
#[cfg(feature = "hub")]
pub mod inspect;
#[cfg(feature = "hub")]
pub mod issue;
#[cfg(feature = "hub")]
pub mod monitor;
#[cfg(feature = "hub")]
pub mod node;
#[cfg(feature = "hub")]
pub mod region_token;
#[cfg(feature = "hub")]
pub mod run;
#[cfg(feature = "hub")]
pub mod seed;
#[cfg(feature = "hub")]
pub mod user;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Watches APIs from many places at once. Without a command: hub and region "local" in one process.
#[derive(Debug, Parser)]
#[command(version, about, propagate_version = true, max_term_width = 100)]
pub struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// The hub alone, without a region in its process
    #[cfg(feature = "hub")]
    Hub,
    /// One check now, each phase shown; exit code 0 up, 1 not up, 2 usage
    #[cfg(feature = "hub")]
    Check(check::CheckArgs),
    /// What the last hours brought: findings and a digest, now
    #[cfg(feature = "hub")]
    Analyze(analyze::AnalyzeArgs),
    /// Takes the services of a file into the store
    #[cfg(feature = "hub")]
    Seed {
        /// A services.json, the configuration of Gatus or a backup of Uptime Kuma; default: the services file of the configuration
        #[arg(long)]
        file: Option<PathBuf>,
        /// Changes services that are there already
        #[arg(long)]
        update: bool,
        #[arg(long)]
        json: bool,
    },
    /// People who may log in
    #[cfg(feature = "hub")]
    User {
        #[command(subcommand)]
        command: user::UserCommand,
    },
    /// The ways people are told, and a test of one
    #[cfg(feature = "hub")]
    Channel {
        #[command(subcommand)]
        command: channel::ChannelCommand,
    },
    /// Shows what it finds: local services with injected trouble, watched for some minutes; nothing to set up
    #[cfg(feature = "hub")]
    Demo(demo::DemoArgs),
    /// Does an alert arrive, and how fast: a made-up failure of a service, told for real and marked DRILL
    #[cfg(feature = "hub")]
    Drill(drill::DrillArgs),
    /// The configuration of the running hub as one file: services, channels, rules, windows, objectives, users
    #[cfg(feature = "hub")]
    Export(export::ExportArgs),
    /// Takes what `export` wrote back: makes what is not here and deletes nothing; exit code 1 if something was refused
    #[cfg(feature = "hub")]
    Import(import::ImportArgs),
    /// The live actors: restarts, backoff, last errors, queues
    #[cfg(feature = "hub")]
    Inspect {
        #[arg(long)]
        json: bool,
    },
    /// The monitor's own health: store, cluster, actors, process, API, dependencies, and where they are heading
    #[cfg(feature = "hub")]
    Monitor(monitor::MonitorArgs),
    /// The issue tracker of the running hub
    #[cfg(feature = "hub")]
    Issue(issue::IssueArgs),
    /// The anomaly detector over files of samples, as it runs in production; or its false alarms and cost
    #[cfg(feature = "hub")]
    BenchDetector(bench_detector::BenchDetectorArgs),
    /// Makes a token with which one machine joins a region; lists and revokes them
    #[cfg(feature = "hub")]
    RegionToken(region_token::RegionTokenArgs),
    /// Nodes that have joined this hub
    #[cfg(feature = "hub")]
    Node {
        #[command(subcommand)]
        command: node::NodeCommand,
    },
    /// Makes this machine a node of a region, with a token of its hub
    Join(join::JoinArgs),
    /// A node of a region, on a machine that has joined
    Region(region::RegionArgs),
    /// Every mistake in the configuration with file and line, or "ok"
    CheckConfig {
        /// The folder of Rocket.toml, services.json and regions/
        #[arg(long, default_value = ".")]
        dir: PathBuf,
        #[arg(long)]
        json: bool,
    },
}

/// Runs what the arguments say.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    // Two TLS providers are linked; whoever asks for the process's own gets this one.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    match run(cli) {
        Ok(code) => code,
        Err(err) => {
            eprintln!("probemesh: {err:#}");
            ExitCode::from(1)
        }
    }
}

/// A command whose reader goes away ends quietly, as `grep` does. The hub must not: there it is one client that left; nor may what has
/// processes to end.
fn end_with_the_pipe() {
    // SAFETY: a plain call, made before any thread is started.
    #[cfg(unix)]
    unsafe {
        libc::signal(libc::SIGPIPE, libc::SIG_DFL);
    }
}

#[cfg(feature = "hub")]
fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    if !matches!(cli.command, None | Some(Command::Hub | Command::Region(_) | Command::Demo(_))) {
        end_with_the_pipe();
    }
    match cli.command {
        None => run::run(true),
        Some(Command::Hub) => run::run(false),
        Some(Command::Check(args)) => check::run(args),
        Some(Command::Analyze(args)) => analyze::run(&args),
        Some(Command::Seed { file, update, json }) => seed::run(file, update, json),
        Some(Command::User { command }) => user::run(command),
        Some(Command::Channel { command }) => channel::run(&command),
        Some(Command::Demo(args)) => demo::run(args),
        Some(Command::Drill(args)) => drill::run(&args),
        Some(Command::Export(args)) => export::run(args),
        Some(Command::Import(args)) => import::run(args),
        Some(Command::Inspect { json }) => inspect::run(json),
        Some(Command::Monitor(args)) => monitor::run(&args),
        Some(Command::Issue(args)) => issue::run(args),
        Some(Command::BenchDetector(args)) => bench_detector::run(&args),
        Some(Command::RegionToken(args)) => region_token::run(args),
        Some(Command::Node { command }) => node::run(command),
        Some(Command::Join(args)) => join::run(&args),
        Some(Command::Region(args)) => region::run(args),
        Some(Command::CheckConfig { dir, json }) => Ok(check_config::run(&dir, json)),
    }
}

#[cfg(not(feature = "hub"))]
fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    end_with_the_pipe();
    match cli.command {
        Some(Command::Join(args)) => join::run(&args),
        Some(Command::Region(args)) => region::run(args),
        Some(Command::CheckConfig { dir, json }) => Ok(check_config::run(&dir, json)),
        None => anyhow::bail!("this binary is a region's node and has no hub in it"),
    }
}
