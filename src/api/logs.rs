//! The end of the logs, for those who look after the hub and are not on its machine.

use std::path::Path;

use rocket::serde::json::Json;
use rocket::{State, get};
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::api::auth::Admin;
use crate::api::error::{ApiError, Problem};
use crate::api::query::Query;
use crate::api::state::ApiState;
use crate::telemetry::tail::last_lines;

/// Bytes looked through, from the end.
const LOOKED_THROUGH: u64 = 4 << 20;
const USUAL_LINES: usize = 200;
const MOST_LINES: usize = 1_000;
/// Members of a line of `monitor.log` that are not fields of it.
const HEAD: [&str; 4] = ["timestamp", "level", "message", "target"];

#[derive(Serialize, ToSchema)]
pub struct LogView {
    pub log: &'static str,
    /// The newest first.
    pub lines: Vec<LineView>,
    /// Whether there are more that fit, further back.
    pub more: bool,
}

#[derive(Serialize, ToSchema)]
pub struct LineView {
    pub at: Option<String>,
    /// `error`, `warn`, `info`, `debug` or `trace`; in `health.log` `error` for a check that failed, else `info`.
    pub level: String,
    pub message: String,
    /// What else the line says, as it stands there.
    #[schema(value_type = Object)]
    pub fields: Map<String, Value>,
}

/// Which lines are wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    pub log: Log,
    /// Lines less grave are left out.
    pub level: Level,
    /// In lower case; empty: any.
    pub search: String,
    pub lines: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Log {
    Monitor,
    Health,
}

/// The gravest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

impl Log {
    pub const ALL: [Log; 2] = [Log::Monitor, Log::Health];

    pub fn name(self) -> &'static str {
        match self {
            Log::Monitor => "monitor",
            Log::Health => "health",
        }
    }

    fn file(self) -> &'static str {
        match self {
            Log::Monitor => "monitor.log",
            Log::Health => "health.log",
        }
    }
}

impl Level {
    pub const ALL: [Level; 5] = [Level::Error, Level::Warn, Level::Info, Level::Debug, Level::Trace];

    pub fn name(self) -> &'static str {
        match self {
            Level::Error => "error",
            Level::Warn => "warn",
            Level::Info => "info",
            Level::Debug => "debug",
            Level::Trace => "trace",
        }
    }

    fn from_name(name: &str) -> Option<Level> {
        Level::ALL.into_iter().find(|level| level.name().eq_ignore_ascii_case(name))
    }
}

impl Wanted {
    pub fn read(query: &Query) -> Result<Wanted, ApiError> {
        query.allow(&["log", "level", "search", "lines"])?;
        let log = match query.text("log") {
            None => Log::Monitor,
            Some(name) => {
                let found = Log::ALL.into_iter().find(|log| log.name() == name);
                found.ok_or_else(|| ApiError::bad_query("log", format!("must be monitor or health, not {name:?}")))?
            }
        };
        let level = match query.text("level") {
            None => Level::Trace,
            Some(name) => Level::from_name(name)
                .ok_or_else(|| ApiError::bad_query("level", format!("must be error, warn, info, debug or trace, not {name:?}")))?,
        };
        let what = format!("a number from 1 to {MOST_LINES}");
        let lines = match query.number::<usize>("lines", &what)? {
            None => USUAL_LINES,
            Some(lines) if (1..=MOST_LINES).contains(&lines) => lines,
            Some(lines) => return Err(ApiError::bad_query("lines", format!("must be {what}, not {lines}"))),
        };
        Ok(Wanted { log, level, search: query.text("search").unwrap_or_default().to_lowercase(), lines })
    }
}

/// The last lines of `monitor.log` or `health.log`, the newest first.
#[utoipa::path(
    tag = "logs",
    params(
        ("log" = Option<String>, Query, description = "`monitor` (if left out) or `health`"),
        ("level" = Option<String>, Query, description = "`error`, `warn`, `info`, `debug` or `trace`: this grave or graver"),
        ("search" = Option<String>, Query, description = "Part of the line, capitals or not"),
        ("lines" = Option<u32>, Query, description = "1 to 1000, usually 200"),
    ),
    responses(
        (status = 200, description = "What fits of the last four megabytes", body = LogView),
        (status = 400, description = "A parameter is wrong; errors names it", body = Problem),
        (status = 403, description = "Takes role admin", body = Problem),
    )
)]
#[get("/api/v1/logs")]
pub async fn read(_admin: Admin, query: Query, state: &State<ApiState>) -> Result<Json<LogView>, ApiError> {
    lines(state, Wanted::read(&query)?).await.map(Json)
}

/// What fits at the end of a log.
pub async fn lines(state: &ApiState, wanted: Wanted) -> Result<LogView, ApiError> {
    let path = state.log_dir.join(wanted.log.file());
    // A disk may be slow, and so may be the search.
    let found = tokio::task::spawn_blocking(move || found(&path, &wanted)).await;
    found.expect("reading a log does not panic").map_err(|error| ApiError::unavailable(format!("the log cannot be read: {error}")))
}

fn found(path: &Path, wanted: &Wanted) -> std::io::Result<LogView> {
    let all = last_lines(path, LOOKED_THROUGH)?;
    let sought = |line: &&String| wanted.search.is_empty() || line.to_lowercase().contains(&wanted.search);
    let fits = |view: &LineView| Level::from_name(&view.level).is_none_or(|level| level <= wanted.level);
    let mut fitting = all.iter().rev().filter(sought).map(|line| LineView::of(wanted.log, line)).filter(fits);
    let lines = fitting.by_ref().take(wanted.lines).collect();
    Ok(LogView { log: wanted.log.name(), lines, more: fitting.next().is_some() })
}

impl LineView {
    /// A line that is no JSON, as one torn by a full disk, is shown as it stands.
    fn of(log: Log, line: &str) -> LineView {
        let Ok(Value::Object(mut fields)) = serde_json::from_str(line) else {
            return LineView { at: None, level: Level::Info.name().to_owned(), message: line.to_owned(), fields: Map::new() };
        };
        let text = |name: &str| fields.get(name).and_then(Value::as_str).map(str::to_owned);
        match log {
            Log::Monitor => {
                let (at, level, message) = (text("timestamp"), text("level"), text("message"));
                fields.retain(|name, _| !HEAD.contains(&name.as_str()));
                let level = level.unwrap_or_default().to_lowercase();
                LineView { at, level, message: message.unwrap_or_default(), fields }
            }
            Log::Health => {
                let (at, message) = (text("time"), text("service"));
                let level = if fields.get("ok") == Some(&Value::Bool(false)) { Level::Error } else { Level::Info };
                fields.retain(|name, _| name != "time" && name != "service");
                LineView { at, level: level.name().to_owned(), message: message.unwrap_or_default(), fields }
            }
        }
    }
}
