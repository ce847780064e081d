//! `probemesh issue`: the issue tracker of the running hub, in the terminal.

mod view;

use std::io::Read;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use reqwest::Method;
use serde_json::{Map, Value, json};
use url::form_urlencoded::Serializer;

use crate::cli::access::{Remote, load_config, runtime};
use crate::cli::issue::view::{detail, imported, statistics, table, text, words};

const ISSUES: &str = "api/v1/maintenance/issues";
/// The largest page of a list.
const PAGE: usize = 500;

#[derive(Debug, Args)]
pub struct IssueArgs {
    #[command(subcommand)]
    command: IssueCommand,
    /// The answer as it came
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Subcommand)]
pub enum IssueCommand {
    /// Issues, the newest first; without filters those that are open
    List(ListArgs),
    /// One issue with its comments and its history
    Show { id: u64 },
    /// A new issue
    New(NewArgs),
    /// Takes a step: reported, triaged, assigned, in_progress, testing, resolved, verified, closed or wont_do
    Move {
        id: u64,
        status: String,
        /// Why
        #[arg(long)]
        reason: String,
        /// Names who does it, in the same step
        #[arg(long)]
        assignee: Option<String>,
    },
    /// Says something of an issue
    Comment {
        id: u64,
        /// Markdown; `-` reads standard input
        text: String,
    },
    /// Gives an issue to a user, or with `--nobody` to none
    Assign {
        id: u64,
        #[arg(required_unless_present = "nobody", conflicts_with = "nobody")]
        user: Option<String>,
        #[arg(long)]
        nobody: bool,
        /// Why
        #[arg(long)]
        reason: String,
    },
    /// How the work on issues goes
    Stats {
        /// Over so many days until now
        #[arg(long, default_value_t = 30)]
        days: u32,
    },
    /// All issues with comments and history as JSON, to standard output or a file
    Export {
        #[arg(long)]
        file: Option<PathBuf>,
    },
    /// Takes an export in; issues that are here already stay as they are
    Import { file: PathBuf },
}

#[derive(Debug, Args)]
pub struct ListArgs {
    /// One or several statuses, parted by commas
    #[arg(long)]
    status: Option<String>,
    /// bug, feature, support or incident, parted by commas
    #[arg(long = "type")]
    issue_type: Option<String>,
    /// low, medium, high or critical, parted by commas
    #[arg(long)]
    priority: Option<String>,
    #[arg(long)]
    assignee: Option<String>,
    #[arg(long)]
    label: Option<String>,
    /// The number of a service
    #[arg(long)]
    service: Option<u32>,
    /// In title, description and comments
    #[arg(long)]
    search: Option<String>,
    /// Those that are done or given up too
    #[arg(long)]
    all: bool,
    /// Such as -updated_at or priority
    #[arg(long, default_value = "-created_at", allow_hyphen_values = true)]
    ordering: String,
    /// So many at most
    #[arg(long, default_value_t = 50)]
    limit: usize,
}

#[derive(Debug, Args)]
pub struct NewArgs {
    title: String,
    /// bug, feature, support or incident
    #[arg(long = "type", default_value = "bug")]
    issue_type: String,
    /// low, medium, high or critical
    #[arg(long, default_value = "medium")]
    priority: String,
    /// Markdown; `-` reads standard input
    #[arg(long)]
    description: Option<String>,
    #[arg(long)]
    assignee: Option<String>,
    /// Who reported it, if that is somebody else
    #[arg(long)]
    reporter: Option<String>,
    /// May be given several times
    #[arg(long = "label")]
    labels: Vec<String>,
    /// The number of a service
    #[arg(long)]
    service: Option<u32>,
    /// The id of an incident
    #[arg(long)]
    incident: Option<String>,
    /// The id of a finding
    #[arg(long)]
    finding: Option<String>,
}

pub fn run(args: IssueArgs) -> anyhow::Result<ExitCode> {
    let config = load_config()?;
    runtime()?.block_on(async {
        let Some(remote) = Remote::find(&config).await? else { bail!("no hub runs here") };
        let as_json = args.json;
        match args.command {
            IssueCommand::List(list) => {
                let found = listed(&remote, list).await?;
                show(as_json, &found, table);
            }
            IssueCommand::Show { id } => {
                let whole = shown(&remote, id).await?;
                show(as_json, &whole, detail);
            }
            IssueCommand::New(new) => {
                let made = remote.ask(Method::POST, ISSUES, Some(&body(new)?)).await?;
                show(as_json, &made, |made| format!("issue {} reported\n", made["id"]));
            }
            IssueCommand::Move { id, status, reason, assignee } => {
                let mut body = json!({"status": status, "reason": reason});
                if let Some(assignee) = assignee {
                    body["assignee"] = json!(assignee);
                }
                let moved = remote.ask(Method::PATCH, &format!("{ISSUES}/{id}/status"), Some(&body)).await?;
                show(as_json, &moved, |moved| format!("issue {id} is {}; next: {}\n", text(&moved["status"]), words(&moved["allowed"])));
            }
            IssueCommand::Comment { id, text } => {
                let body = json!({"body": given(text)?});
                let comment = remote.ask(Method::POST, &format!("{ISSUES}/{id}/comments"), Some(&body)).await?;
                show(as_json, &comment, |comment| format!("comment {} of issue {id}\n", comment["id"]));
            }
            IssueCommand::Assign { id, user, nobody: _, reason } => {
                let body = json!({"assignee": user, "reason": reason});
                let issue = remote.ask(Method::PATCH, &format!("{ISSUES}/{id}"), Some(&body)).await?;
                show(as_json, &issue, |issue| {
                    format!("issue {id} is {}\n", issue["assignee"].as_str().map_or("nobody's".to_owned(), |name| format!("{name}'s")))
                });
            }
            IssueCommand::Stats { days } => {
                let figures = remote.ask(Method::GET, &format!("{ISSUES}/statistics?days={days}"), None).await?;
                show(as_json, &figures, statistics);
            }
            IssueCommand::Export { file } => {
                let export = remote.ask(Method::GET, &format!("{ISSUES}/export"), None).await?;
                let count = export["issues"].as_array().map_or(0, Vec::len);
                match file {
                    Some(file) => {
                        std::fs::write(&file, format!("{export:#}\n")).with_context(|| format!("{} cannot be written", file.display()))?;
                        println!("{count} issues written to {}", file.display());
                    }
                    None => println!("{export:#}"),
                }
            }
            IssueCommand::Import { file } => {
                let read = std::fs::read_to_string(&file).with_context(|| format!("{} cannot be read", file.display()))?;
                // The crate's words end with line and column.
                let export: Value = serde_json::from_str(&read).with_context(|| format!("{} is not JSON", file.display()))?;
                let done = remote.ask(Method::POST, &format!("{ISSUES}/import"), Some(&export)).await;
                let done = done.with_context(|| format!("{} is not taken, and nothing was stored", file.display()))?;
                show(as_json, &done, imported);
            }
        }
        Ok(ExitCode::SUCCESS)
    })
}

fn show(as_json: bool, value: &Value, words: impl Fn(&Value) -> String) {
    if as_json { println!("{value:#}") } else { print!("{}", words(value)) }
}

async fn listed(remote: &Remote, list: ListArgs) -> anyhow::Result<Value> {
    let mut query = Serializer::new(String::new());
    let filtered = list.all || list.status.is_some();
    let service = list.service.map(|service| service.to_string());
    let filters = [
        ("status", list.status),
        ("issue_type", list.issue_type),
        ("priority", list.priority),
        ("assignee", list.assignee),
        ("label", list.label),
        ("service", service),
        ("search", list.search),
        ("open", (!filtered).then(|| "true".to_owned())),
        ("ordering", Some(list.ordering)),
        ("page_size", Some(list.limit.clamp(1, PAGE).to_string())),
    ];
    for (name, value) in filters {
        if let Some(value) = value {
            query.append_pair(name, &value);
        }
    }
    remote.ask(Method::GET, &format!("{ISSUES}?{}", query.finish()), None).await
}

/// An issue with all its comments and changes.
async fn shown(remote: &Remote, id: u64) -> anyhow::Result<Value> {
    let mut issue = remote.ask(Method::GET, &format!("{ISSUES}/{id}"), None).await?;
    for part in ["comments", "history"] {
        let mut all = Vec::new();
        for page in 1.. {
            let answer = remote.ask(Method::GET, &format!("{ISSUES}/{id}/{part}?page_size={PAGE}&page={page}"), None).await?;
            all.extend(answer["results"].as_array().cloned().unwrap_or_default());
            if answer["next"].is_null() {
                break;
            }
        }
        issue[part] = Value::Array(all);
    }
    Ok(issue)
}

fn body(new: NewArgs) -> anyhow::Result<Value> {
    let mut body = Map::from_iter([
        ("title".to_owned(), json!(new.title)),
        ("issue_type".to_owned(), json!(new.issue_type)),
        ("priority".to_owned(), json!(new.priority)),
        ("labels".to_owned(), json!(new.labels)),
    ]);
    let description = new.description.map(given).transpose()?;
    let texts = [
        ("description", description),
        ("assignee", new.assignee),
        ("reporter", new.reporter),
        ("incident", new.incident),
        ("finding", new.finding),
    ];
    body.extend(texts.into_iter().filter_map(|(name, value)| Some((name.to_owned(), json!(value?)))));
    body.extend(new.service.map(|service| ("service".to_owned(), json!(service))));
    Ok(Value::Object(body))
}

/// The text itself, or for `-` what standard input holds.
fn given(text: String) -> anyhow::Result<String> {
    if text != "-" {
        return Ok(text);
    }
    let mut read = String::new();
    std::io::stdin().take(8 << 20).read_to_string(&mut read).context("standard input cannot be read")?;
    Ok(read)
}
