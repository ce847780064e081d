//! The configuration to take away, and to bring back: first what would happen, then it happens.

use askama::Template;
use rocket::http::{ContentType, Header, Status};
use rocket::response::Responder;
use rocket::{State, get, post};
use serde_json::Value;

use crate::api::auth::Admin;
use crate::api::backup;
use crate::api::backup::restore::{Manner, Outcome, Part, RestoreView, taken};
use crate::api::error::ApiError;
use crate::api::query::Query;
use crate::api::state::ApiState;
use crate::store::users::Role;
use crate::web::alerts::Tab;
use crate::web::frame::{Frame, Section};
use crate::web::html::Html;
use crate::web::login::Refusal;
use crate::web::system::tabs;
use crate::web::text::Text;
use crate::web::visit::{OwnForm, Visit};

#[derive(Template)]
#[template(path = "system_backup.html")]
struct BackupPage {
    frame: Frame,
    tabs: Vec<Tab>,
    /// What is in it, and how many of each.
    parts: Vec<(&'static str, usize)>,
    text: String,
    update: bool,
    mistakes: Vec<String>,
    /// What would happen, or did; `None` before anything was given.
    done: Option<Done>,
}

struct Done {
    is_plan: bool,
    /// Outcome and how many.
    counts: Vec<(&'static str, usize)>,
    lines: Vec<Line>,
}

struct Line {
    tone: &'static str,
    outcome: &'static str,
    kind: &'static str,
    name: String,
    errors: Vec<String>,
}

#[get("/system/backup")]
pub fn page(visit: Visit, state: &State<ApiState>) -> Result<Html, ApiError> {
    visit.need(Role::Admin)?;
    Html::of(&BackupPage::new(&visit, state))
}

/// Looks at a backup somebody gave, or takes it.
#[post("/system/backup", data = "<form>")]
pub async fn take(visit: Visit, form: OwnForm, state: &State<ApiState>) -> Result<Refusal, ApiError> {
    visit.need(Role::Admin)?;
    let t = Text(visit.look.lang);
    let text = form.0.get("text").unwrap_or_default().to_owned();
    let manner = Manner { update: form.0.get("update") == Some("true"), dry_run: form.0.get("do") != Some("restore") };
    let given = text.trim_start_matches('\u{feff}');
    let done = match serde_json::from_str::<Value>(given) {
        Err(_) if given.trim().is_empty() => Err(vec![t.s("backup.empty").to_owned()]),
        Err(error) => Err(vec![error.to_string()]),
        Ok(given) => match taken(state, &given, manner, &visit.principal.author()).await {
            Err(error) if error.status().code >= 500 => return Err(error),
            Err(error) => Err(error.errors().iter().map(|wrong| format!("{}: {}", wrong.field, wrong.message)).collect()),
            Ok(done) => Ok(done),
        },
    };
    // Made after it, so that the counts are those of now.
    let mut page = BackupPage { text, update: manner.update, ..BackupPage::new(&visit, state) };
    let status = match done {
        Ok(done) => {
            page.done = Some(Done::new(t, &done));
            Status::Ok
        }
        Err(mistakes) => {
            page.mistakes = mistakes;
            Status::UnprocessableEntity
        }
    };
    Ok(Refusal(status, Html::of(&page)?))
}

impl Done {
    fn new(t: Text, done: &RestoreView) -> Done {
        let counts = OUTCOMES.iter().filter_map(|(outcome, key, _)| Some((t.s(key), *done.counts.get(outcome.name())?))).collect();
        let lines = done.items.iter().filter(|item| item.outcome != Outcome::Unchanged).map(|item| {
            let (_, key, tone) = OUTCOMES.iter().find(|(outcome, ..)| *outcome == item.outcome).unwrap_or(&OUTCOMES[0]);
            let errors = item.errors.iter().map(|error| format!("{} {}", error.field, error.message).trim().to_owned());
            Line { tone, outcome: t.s(key), kind: t.s(kind(item.part)), name: item.name.clone(), errors: errors.collect() }
        });
        Done { is_plan: done.dry_run, counts, lines: lines.collect() }
    }

    fn can_go_on(&self) -> bool {
        self.is_plan && self.lines.iter().any(|line| matches!(line.tone, "new" | "degraded"))
    }
}

/// How each is called and looks.
const OUTCOMES: [(Outcome, &str, &str); 5] = [
    (Outcome::Refused, "backup.refused", "down"),
    (Outcome::Created, "backup.created", "new"),
    (Outcome::Changed, "backup.changed", "degraded"),
    (Outcome::Kept, "backup.kept", "muted"),
    (Outcome::Unchanged, "backup.unchanged", "muted"),
];

fn kind(part: Part) -> &'static str {
    match part {
        Part::Service => "backup.service",
        Part::Channel => "backup.channel",
        Part::Rule => "backup.rule",
        Part::Window => "backup.window",
        Part::Slo => "backup.slo",
        Part::User => "backup.user",
    }
}

impl BackupPage {
    fn can_go_on(&self) -> bool {
        self.done.as_ref().is_some_and(Done::can_go_on)
    }

    fn new(visit: &Visit, state: &ApiState) -> BackupPage {
        let t = Text(visit.look.lang);
        let made = backup::make(state, false);
        let parts = [
            ("backup.services", made.services.len()),
            ("backup.rules", made.alert_rules.len()),
            ("backup.channels", made.channels.len()),
            ("backup.windows", made.maintenance_windows.len()),
            ("backup.slos", made.slos.len()),
            ("backup.users", made.users.len()),
        ];
        BackupPage {
            frame: Frame::new(visit, Section::System, t.s("system.tab_backup")),
            tabs: tabs(visit, "/system/backup"),
            parts: parts.into_iter().map(|(key, count)| (t.s(key), count)).collect(),
            text: String::new(),
            update: false,
            mistakes: Vec::new(),
            done: None,
        }
    }
}

#[derive(Responder)]
pub struct Download {
    text: String,
    kind: ContentType,
    name: Header<'static>,
}

/// The document, to be kept.
#[get("/system/backup.json")]
pub async fn download(visit: Visit, query: Query, state: &State<ApiState>) -> Result<Download, ApiError> {
    visit.need(Role::Admin)?;
    let made = backup::read(Admin(visit.principal), query, state).await?.into_inner();
    let day = made.made_at.get(..10).unwrap_or_default();
    let name = Header::new("Content-Disposition", format!("attachment; filename=\"probemesh-{day}.json\""));
    let text = serde_json::to_string_pretty(&made).map_err(|error| ApiError::bad_request(error.to_string()))?;
    Ok(Download { text, kind: ContentType::JSON, name })
}
