//! The end of the logs, filtered, and drawn anew while one looks.

use askama::Template;
use rocket::{State, get};
use serde_json::Value;

use crate::api::error::ApiError;
use crate::api::logs::{Level, LineView, Log, Wanted, lines};
use crate::api::query::Query;
use crate::api::state::ApiState;
use crate::model::time::Timestamp;
use crate::store::users::Role;
use crate::web::alerts::Tab;
use crate::web::frame::{Frame, Section};
use crate::web::html::Html;
use crate::web::moment::Moment;
use crate::web::system::tabs;
use crate::web::text::Text;
use crate::web::visit::Visit;

#[derive(Template)]
#[template(path = "system_logs.html")]
struct LogsPage {
    frame: Frame,
    tabs: Vec<Tab>,
    logs: Vec<(&'static str, &'static str, bool)>,
    levels: Vec<(&'static str, &'static str, bool)>,
    search: String,
    part: LinesPart,
    /// The address of the part that is drawn anew.
    live: String,
    folder: String,
}

#[derive(Template)]
#[template(path = "parts/system_lines.html")]
struct LinesPart {
    t: Text,
    rows: Vec<Row>,
    more: bool,
}

struct Row {
    at: Option<Moment>,
    tone: &'static str,
    level: String,
    message: String,
    fields: Vec<(String, String)>,
}

#[get("/system/logs")]
pub async fn page(visit: Visit, query: Query, state: &State<ApiState>) -> Result<Html, ApiError> {
    visit.need(Role::Admin)?;
    let t = Text(visit.look.lang);
    let query = query.without_empty();
    let wanted = Wanted::read(&query)?;
    let part = part_of(t, state, wanted.clone()).await?;
    let whole = query.with("log", wanted.log.name());
    Html::of(&LogsPage {
        frame: Frame::new(&visit, Section::System, t.s("system.tab_logs")),
        tabs: tabs(&visit, "/system/logs"),
        logs: Log::ALL.iter().map(|log| (log.name(), t.known("log", log.name()), *log == wanted.log)).collect(),
        levels: Level::ALL.iter().map(|level| (level.name(), t.known("log_level", level.name()), *level == wanted.level)).collect(),
        search: query.text("search").unwrap_or_default().to_owned(),
        part,
        live: format!("/system/logs/lines?{}", whole.split_once('?').map_or("", |(_, query)| query)),
        folder: state.log_dir.display().to_string(),
    })
}

#[get("/system/logs/lines")]
pub async fn part(visit: Visit, query: Query, state: &State<ApiState>) -> Result<Html, ApiError> {
    visit.need(Role::Admin)?;
    let wanted = Wanted::read(&query.without_empty())?;
    Html::of(&part_of(Text(visit.look.lang), state, wanted).await?)
}

async fn part_of(t: Text, state: &ApiState, wanted: Wanted) -> Result<LinesPart, ApiError> {
    let view = lines(state, wanted).await?;
    Ok(LinesPart { t, more: view.more, rows: view.lines.into_iter().map(|line| Row::new(t, line)).collect() })
}

impl Row {
    fn new(t: Text, line: LineView) -> Row {
        let text = |value: Value| match value {
            Value::String(text) => text,
            other => other.to_string(),
        };
        Row {
            at: line.at.as_deref().and_then(Timestamp::parse).map(Moment::full),
            tone: match line.level.as_str() {
                "error" => "down",
                "warn" => "degraded",
                _ => "unknown",
            },
            level: t.word("log_level", &line.level).to_owned(),
            message: line.message,
            fields: line.fields.into_iter().filter(|(_, value)| !value.is_null()).map(|(name, value)| (name, text(value))).collect(),
        }
    }
}
