//! `probemesh issue`: the issue tracker of the running hub, in the terminal.

use std::fmt::Write as _;
use std::io::Read;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use reqwest::Method;
use serde_json::{Map, Value, json};
use url::form_urlencoded::Serializer;

use crate::cli::access::{Remote, load_config, runtime};

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

fn table(found: &Value) -> String {
    let issues = list(&found["results"]);
    if issues.is_empty() {
        return "no issues\n".to_owned();
    }
    let mut out = format!("{:>5}  {:<11} {:<8} {:<8} {:<16} TITLE\n", "ID", "STATUS", "PRIORITY", "TYPE", "ASSIGNEE");
    for issue in issues {
        let assignee = issue["assignee"].as_str().unwrap_or("-");
        let _ = writeln!(
            out,
            "{:>5}  {:<11} {:<8} {:<8} {assignee:<16} {}",
            issue["id"].to_string(),
            text(&issue["status"]),
            text(&issue["priority"]),
            text(&issue["issue_type"]),
            text(&issue["title"])
        );
    }
    let count = found["count"].as_u64().unwrap_or(0);
    if count > issues.len() as u64 {
        let _ = writeln!(out, "{} of {count}; --limit shows more", issues.len());
    }
    out
}

fn detail(issue: &Value) -> String {
    let mut out = format!("{}  {}\n\n", issue["id"], text(&issue["title"]));
    let named = |value: &Value| value.as_str().map_or_else(|| "-".to_owned(), str::to_owned);
    let service = issue["service"].as_u64().map(|id| format!("{} ({id})", text(&issue["service_name"])));
    let fields = [
        ("status", format!("{}; next: {}", text(&issue["status"]), words(&issue["allowed"]))),
        ("type", named(&issue["issue_type"])),
        ("priority", named(&issue["priority"])),
        ("assignee", named(&issue["assignee"])),
        ("reporter", named(&issue["reporter"])),
        ("labels", words(&issue["labels"])),
        ("service", service.unwrap_or_else(|| "-".to_owned())),
        ("incident", named(&issue["incident"])),
        ("finding", named(&issue["finding"])),
        ("created", named(&issue["created_at"])),
        ("updated", named(&issue["updated_at"])),
        ("triaged", named(&issue["triaged_at"])),
        ("resolved", named(&issue["resolved_at"])),
    ];
    for (name, value) in fields.iter().filter(|(_, value)| !value.is_empty() && value != "-") {
        let _ = writeln!(out, "{name:<9} {value}");
    }
    let description = text(&issue["description"]);
    if !description.trim().is_empty() {
        let _ = write!(out, "\n{}\n", description.trim_end());
    }
    for comment in list(&issue["comments"]) {
        let edited = comment["edited_at"].as_str().map_or_else(String::new, |at| format!(", edited {at}"));
        let _ = write!(
            out,
            "\n── {} {}{edited}\n{}\n",
            text(&comment["author"]),
            text(&comment["created_at"]),
            text(&comment["body"]).trim_end()
        );
    }
    out.push_str("\n── history\n");
    for change in list(&issue["history"]) {
        let fields: Vec<String> = list(&change["changes"])
            .iter()
            .map(|field| match text(&field["field"]) {
                "description" => "description".to_owned(),
                name => format!("{name} {} → {}", named(&field["from"]), named(&field["to"])),
            })
            .collect();
        let _ = writeln!(out, "{} {}: {} ({})", text(&change["at"]), text(&change["who"]), fields.join(", "), text(&change["why"]));
    }
    out
}

fn statistics(figures: &Value) -> String {
    let hours = |value: &Value| value.as_f64().map_or_else(|| "-".to_owned(), |seconds| format!("{:.1} h", seconds / 3_600.0));
    let mut out = String::new();
    let now = ["open", "in_progress", "resolved", "wont_do"].map(|name| format!("{} {}", figures[name], name.replace('_', " ")));
    let _ = writeln!(out, "now             {}", now.join(", "));
    for (title, field) in [("by type", "by_type"), ("by priority", "by_priority")] {
        let open: Vec<String> =
            figures[field].as_object().into_iter().flatten().map(|(name, tally)| format!("{name} {}", tally["open"])).collect();
        let _ = writeln!(out, "open {title:<10} {}", open.join(", "));
    }
    let whose: Vec<String> = list(&figures["by_assignee"])
        .iter()
        .filter(|one| one["open"].as_u64() > Some(0))
        .map(|one| format!("{} {}", one["assignee"].as_str().unwrap_or("nobody"), one["open"]))
        .collect();
    let _ = writeln!(out, "open by user    {}", whose.join(", "));
    for (title, field) in [("age of the open", "age_of_open"), ("time to triage", "time_to_triage"), ("time to resolve", "time_to_resolve")]
    {
        let spans = &figures[field];
        let _ = writeln!(out, "{title:<15} median {}, p95 {} (of {})", hours(&spans["median_s"]), hours(&spans["p95_s"]), spans["count"]);
    }
    let share = figures["resolved_under_48h_share"].as_f64().map_or_else(|| "-".to_owned(), |share| format!("{:.0} %", share * 100.0));
    let _ = writeln!(
        out,
        "under 48 h      {share} of those resolved in {} days; {} were reported",
        figures["days"], figures["created_in_period"]
    );
    out
}

fn imported(done: &Value) -> String {
    let mut out = format!("{} issues taken in, {} were here already\n", done["created"], done["unchanged"]);
    let moved = done["ids"].as_object().into_iter().flatten().filter(|(from, to)| **from != to.to_string());
    for (from, to) in moved {
        let _ = writeln!(out, "  {from} is {to} here");
    }
    let unlinked = list(&done["unlinked"]);
    if !unlinked.is_empty() {
        let _ = writeln!(out, "  linked to no service any more: {}", unlinked.iter().map(Value::to_string).collect::<Vec<_>>().join(", "));
    }
    out
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or("")
}

fn words(value: &Value) -> String {
    list(value).iter().map(text).collect::<Vec<_>>().join(", ")
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}
