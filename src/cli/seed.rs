//! `probemesh seed`: takes the services of a file into the store.

use std::path::PathBuf;
use std::process::ExitCode;

use reqwest::Method;
use serde_json::{Value, json};

use crate::cli::access::{Access, load_config, runtime};
use crate::config::services_file::read_services;

pub fn run(file: Option<PathBuf>, update: bool, as_json: bool) -> anyhow::Result<ExitCode> {
    let config = load_config()?;
    let path = file.unwrap_or_else(|| config.hub.services_json.clone());
    let documents = match read_services(&path, &config.hub.schedule, false) {
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
