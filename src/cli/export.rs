//! `probemesh export`: the configuration of the running hub as one document, with secrets if they are asked for.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::Args;
use reqwest::Method;

use crate::cli::access::{Remote, load_config, runtime};
use crate::mesh::private_file::write_private;

/// What a backup is made of, and what one of each is called.
pub const PARTS: [(&str, &str); 6] = [
    ("services", "services"),
    ("channels", "channels"),
    ("alert_rules", "alert rules"),
    ("maintenance_windows", "maintenance windows"),
    ("slos", "objectives"),
    ("users", "users"),
];

#[derive(Debug, Args)]
pub struct ExportArgs {
    /// Where to; without it, standard output
    #[arg(long)]
    file: Option<PathBuf>,
    /// Secrets as they are, and users with password hashes, so that another hub can be made of it. Keep it as you keep passwords
    #[arg(long)]
    secrets: bool,
}

pub fn run(args: ExportArgs) -> anyhow::Result<ExitCode> {
    let config = load_config()?;
    runtime()?.block_on(async {
        let Some(remote) = Remote::find(&config).await? else { bail!("no hub runs here; start it, then export") };
        let backup = remote.ask(Method::GET, if args.secrets { "api/v1/local/backup" } else { "api/v1/backup" }, None).await?;
        let Some(file) = args.file else {
            println!("{backup:#}");
            return Ok(ExitCode::SUCCESS);
        };
        // From the folder, as a name alone has none above it.
        let path = Path::new(".").join(&file);
        write_private(&path, format!("{backup:#}\n").as_bytes()).with_context(|| format!("{} cannot be written", file.display()))?;
        let count = |list: &str| backup[list].as_array().map_or(0, Vec::len);
        let parts: Vec<String> = PARTS.iter().map(|(list, name)| format!("{} {name}", count(list))).collect();
        println!("{} written: {}", file.display(), parts.join(", "));
        if !args.secrets {
            println!("secrets are masked; with --secrets another hub can be made of it");
        }
        Ok(ExitCode::SUCCESS)
    })
}
