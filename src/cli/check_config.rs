//! `probemesh check-config`: every mistake in the configuration, with file and line, or "ok".

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde_json::json;

use crate::config::Config;
use crate::config::mistake::Mistake;
use crate::config::service::parse_cron;
use crate::config::services_file::read_services;
use crate::config::sources::{Role, Sources};

/// Checks `Rocket.toml`, the environment, the services file and every `regions/*.toml` below `dir`; exit code 0 or 2.
pub fn run(dir: &Path, json: bool) -> ExitCode {
    let sources = Sources { dir: dir.to_owned(), ..Sources::from_process(Role::Hub) };
    let mistakes = check(&sources);
    if json {
        println!("{}", as_json(&mistakes));
    } else if mistakes.is_empty() {
        println!("ok");
    } else {
        for mistake in &mistakes {
            println!("{mistake}");
        }
    }
    if mistakes.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(2) }
}

/// All mistakes of a folder's files and the given environment.
pub fn check(sources: &Sources) -> Vec<Mistake> {
    let mut mistakes = Vec::new();
    let config = match Config::load(sources) {
        Ok(config) => Some(config),
        Err(wrong) => {
            mistakes.extend(wrong);
            None
        }
    };
    // The services are checked even so: by the default schedule and at the usual place, if those could not be read.
    let given = sources.variable("SERVICES_JSON").map(|path| sources.resolve(path));
    let services = config
        .as_ref()
        .map_or_else(|| given.clone().unwrap_or_else(|| sources.resolve("services.json")), |config| config.hub.services_json.clone());
    let schedule = config.map_or_else(|| parse_cron("*/5 * * * *", None, None), |config| Ok(config.hub.schedule));
    // A file nobody asked for by name need not exist.
    let wanted = services != sources.resolve("services.json") || given.is_some() || services.exists();
    if wanted && let Err(wrong) = schedule.and_then(|schedule| read_services(&services, &schedule, true)) {
        mistakes.extend(wrong);
    }
    for file in region_files(&sources.resolve("regions")) {
        let node = Sources { role: Role::Region(PathBuf::from("regions").join(file)), ..sources.clone() };
        if let Err(wrong) = Config::load(&node) {
            // What the environment has wrong has been said for the hub.
            mistakes.extend(wrong.into_iter().filter(|mistake| mistake.file.is_some()));
        }
    }
    mistakes
}

/// The names of the TOML files in a folder, in order; none where there is no folder.
fn region_files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut files: Vec<PathBuf> = entries.map(|entry| PathBuf::from(entry.file_name())).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "toml"));
    files.sort();
    files
}

fn as_json(mistakes: &[Mistake]) -> String {
    let list: Vec<_> = mistakes
        .iter()
        .map(|mistake| {
            json!({
                "file": mistake.file,
                "line": mistake.position.map(|(line, _)| line),
                "column": mistake.position.map(|(_, column)| column),
                "path": mistake.path,
                "message": mistake.message,
            })
        })
        .collect();
    json!({ "ok": list.is_empty(), "mistakes": list }).to_string()
}
