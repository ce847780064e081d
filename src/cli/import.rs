//! `probemesh import`: a backup taken back by the running hub, thing by thing.

use std::io::Read;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::Args;
use reqwest::Method;
use serde_json::Value;

use crate::cli::access::{Remote, load_config, runtime};

/// The largest file that is read.
const LONGEST: u64 = 32 << 20;

#[derive(Debug, Args)]
pub struct ImportArgs {
    /// What `probemesh export` wrote; `-` reads standard input
    file: PathBuf,
    /// Changes what is here and differs; usually it stays as it is
    #[arg(long)]
    update: bool,
    /// Only tells what would happen
    #[arg(long)]
    dry_run: bool,
    /// The answer as it came
    #[arg(long)]
    json: bool,
}

pub fn run(args: ImportArgs) -> anyhow::Result<ExitCode> {
    let shown = args.file.display().to_string();
    let text = read(&args.file).with_context(|| format!("{shown} cannot be read"))?;
    // The crate's words end with line and column.
    let backup: Value = serde_json::from_str(&text).with_context(|| format!("{shown} is not JSON"))?;
    let config = load_config()?;
    runtime()?.block_on(async {
        let Some(remote) = Remote::find(&config).await? else { bail!("no hub runs here; start it, then import") };
        let path = format!("api/v1/backup?update={}&dry_run={}", args.update, args.dry_run);
        let done = remote.ask(Method::POST, &path, Some(&backup)).await;
        let done = done.with_context(|| format!("{shown} is not taken, and nothing was stored"))?;
        if args.json {
            println!("{done:#}")
        } else {
            print!("{}", words(&done))
        }
        Ok(ExitCode::from(u8::from(done["counts"]["refused"].is_u64())))
    })
}

fn read(file: &PathBuf) -> anyhow::Result<String> {
    let mut text = String::new();
    let mut source: Box<dyn Read> = if file.as_os_str() == "-" { Box::new(std::io::stdin()) } else { Box::new(std::fs::File::open(file)?) };
    let length = source.by_ref().take(LONGEST + 1).read_to_string(&mut text)?;
    if length as u64 > LONGEST {
        bail!("it is larger than {LONGEST} bytes");
    }
    Ok(text.trim_start_matches('\u{feff}').to_owned())
}

/// A line for all that is not as it was, and the counts.
fn words(done: &Value) -> String {
    let mut text = String::new();
    for item in done["items"].as_array().into_iter().flatten() {
        let of = |field: &str| item[field].as_str().unwrap_or_default();
        if of("outcome") == "unchanged" {
            continue;
        }
        text.push_str(&format!("{:<9} {:<18} {}\n", of("outcome"), of("kind").replace('_', " "), of("name")));
        for error in item["errors"].as_array().into_iter().flatten() {
            let (field, message) = (error["field"].as_str().unwrap_or_default(), error["message"].as_str().unwrap_or_default());
            text.push_str(&format!("          {field}{} {message}\n", if field.is_empty() { "" } else { ":" }));
        }
    }
    let counts: Vec<String> = done["counts"].as_object().into_iter().flatten().map(|(name, count)| format!("{count} {name}")).collect();
    let counts = if counts.is_empty() { "there is nothing in it".to_owned() } else { counts.join(", ") };
    text.push_str(&counts);
    text.push_str(if done["dry_run"] == true { "; nothing was stored\n" } else { "\n" });
    if done["counts"]["kept"].is_u64() {
        text.push_str("what is kept differs from the file; --update changes it\n");
    }
    text
}
