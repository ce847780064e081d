//! `probemesh seed`: takes the services of a file, our own or of another monitor, into the store.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use reqwest::Method;
use serde_json::{Value, json};

use crate::cli::access::{Access, load_config, runtime};
use crate::config::foreign::{self, Left};
use crate::config::mistake::Mistake;
use crate::config::service::ServiceDocument;
use crate::config::services_file::read_services;
use crate::model::service::Schedule;

pub fn run(file: Option<PathBuf>, update: bool, as_json: bool) -> anyhow::Result<ExitCode> {
    let config = load_config()?;
    let path = file.unwrap_or_else(|| config.hub.services_json.clone());
    let documents = match read(&path, &config.hub.schedule) {
        Ok(documents) => documents,
        Err(mistakes) => {
            for mistake in mistakes {
                eprintln!("{mistake}");
            }
            return Ok(ExitCode::from(2));
        }
    };
    let seeded: Value = runtime()?.block_on(async {
        match Access::open(&config).await? {
            Access::Running(remote) => {
                remote.ask(Method::POST, "api/v1/local/seed", Some(&json!({"services": documents, "update": update}))).await
            }
            Access::Direct(records) => {
                let seeded = records.services.seed(documents, update).await?;
                records.store.shutdown().await?;
                Ok(serde_json::to_value(seeded)?)
            }
        }
    })?;
    if as_json {
        println!("{seeded:#}");
        return Ok(ExitCode::SUCCESS);
    }
    for what in ["created", "updated", "unchanged", "skipped"] {
        let names: Vec<&str> = seeded[what].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        if !names.is_empty() {
            println!("{what:>9}  {}", names.join(", "));
        }
    }
    if seeded["skipped"].as_array().is_some_and(|skipped| !skipped.is_empty()) {
        println!("           (they differ from what is stored; --update changes them)");
    }
    Ok(ExitCode::SUCCESS)
}

/// What another monitor's file says that cannot be taken over is told on the way.
fn read(path: &Path, schedule: &Schedule) -> Result<Vec<ServiceDocument>, Vec<Mistake>> {
    // A file that cannot be read is told of by those who read our own.
    let text = std::fs::read_to_string(path).unwrap_or_default();
    match foreign::read(&text, schedule) {
        None => read_services(path, schedule, false),
        Some(Err(words)) => Err(vec![Mistake { file: Some(path.to_owned()), ..Mistake::new("", words) }]),
        Some(Ok(foreign)) => {
            eprintln!("{} is a file of {}", path.display(), foreign.from);
            for Left { service, what } in &foreign.left {
                match service {
                    Some(service) => eprintln!("  {service}: {what}"),
                    None => eprintln!("  {what}"),
                }
            }
            Ok(foreign.documents)
        }
    }
}
