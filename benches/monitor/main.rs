//! Measures probemesh on this machine: `cargo bench --bench monitor -- checks`, `… -- kills`, `… -- parts`, `… -- store`, `… -- mesh`, `… -- pages`.
//!
//! Everything runs on loopback, with the monitor as the process a user would start, its targets as processes of their
//! own, and CPU read from /proc for each process apart. Every run ends by itself.

mod checks;
mod load;
mod mesh;
mod pages;
mod parts;
mod process;
mod store;
mod target;

use clap::{Parser, Subcommand};

#[derive(Debug, Parser)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    /// What cargo passes to every benchmark.
    #[arg(long, hide = true, global = true)]
    bench: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Many services at once: CPU a check, RSS, schedule jitter, and the targets' log held against the store
    Checks(checks::ChecksArgs),
    /// Kills the monitor at random moments under load, then holds the targets' log against the store
    Kills(checks::KillsArgs),
    /// CPU of each part a check passes through
    Parts(parts::PartsArgs),
    /// Loads results through the real writer, then times the queries the dashboard and the API ask
    Store(store::StoreArgs),
    /// The dashboard's pages with a thousand services and a month of history: time to the first byte, size
    Pages(pages::PagesArgs),
    /// A hub and many nodes: how soon they have joined, and what their results cost the hub
    Mesh(mesh::MeshArgs),
    #[command(hide = true)]
    Target { certificate: Option<String>, key: Option<String> },
}

fn main() -> anyhow::Result<()> {
    let cli = Cli::parse();
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().thread_stack_size(16 << 20).build()?;
    runtime.block_on(async {
        match cli.command {
            Some(Command::Checks(args)) => checks::run(args).await,
            Some(Command::Kills(args)) => checks::run_kills(args).await,
            Some(Command::Parts(args)) => parts::run(args).await,
            Some(Command::Store(args)) => store::run(args).await,
            Some(Command::Mesh(args)) => mesh::run(args).await,
            Some(Command::Pages(args)) => pages::run(args).await,
            Some(Command::Target { certificate, key }) => target::run(certificate.zip(key)).await,
            None => {
                println!("choose one: checks, kills, parts, store, mesh, pages (see --help)");
                Ok(())
            }
        }
    })
}
