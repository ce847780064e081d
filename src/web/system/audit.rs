//! The audit log: who changed what, filtered and by pages.

use askama::Template;
use rocket::{State, get};

use crate::api::audit::filter_of;
use crate::api::error::ApiError;
use crate::api::query::Query;
use crate::api::state::ApiState;
use crate::store::audit::{AuditEntry, AuditFilter};
use crate::store::users::Role;
use crate::web::alerts::Tab;
use crate::web::frame::{Frame, Section};
use crate::web::html::Html;
use crate::web::moment::Moment;
use crate::web::system::tabs;
use crate::web::text::Text;
use crate::web::visit::Visit;

const ROWS: usize = 50;

#[derive(Template)]
#[template(path = "system_audit.html")]
struct AuditPage {
    frame: Frame,
    tabs: Vec<Tab>,
    rows: Vec<Row>,
    users: Vec<(String, bool)>,
    wanted: Wanted,
    problem: Option<String>,
    next: Option<String>,
    /// Whether this is not the first page.
    further: Option<String>,
}

/// What is filtered for, as it was typed.
struct Wanted {
    action: String,
    subject: String,
    since: String,
    until: String,
}

struct Row {
    at: Moment,
    who: String,
    address: String,
    action: String,
    subject: String,
    fields: String,
}

#[get("/system/audit")]
pub async fn page(visit: Visit, query: Query, state: &State<ApiState>) -> Result<Html, ApiError> {
    visit.need(Role::Admin)?;
    let t = Text(visit.look.lang);
    let query = query.without_empty();
    query.allow(&["who", "action", "subject", "since", "until", "before"])?;
    let text = |name: &str| query.text(name).unwrap_or_default().to_owned();
    let (filter, problem) = match filter_of(&query) {
        Ok(filter) => (filter, None),
        Err(error) => (AuditFilter::default(), Some(error.detail().to_owned())),
    };
    let before = query.number("before", "the number of a row")?;
    let (found, next) = match problem {
        None => state.audit.search(&filter, before, ROWS).await?,
        Some(_) => (Vec::new(), None),
    };
    let relative = |whole: String| format!("/system/audit?{}", whole.split_once('?').map_or("", |(_, query)| query));
    Html::of(&AuditPage {
        frame: Frame::new(&visit, Section::System, t.s("system.tab_audit")),
        tabs: tabs(&visit, "/system/audit"),
        rows: found.into_iter().map(Row::from).collect(),
        users: state.users.list().into_iter().map(|user| (user.username.clone(), user.username == filter.who)).collect(),
        wanted: Wanted { action: text("action"), subject: text("subject"), since: text("since"), until: text("until") },
        problem,
        next: next.map(|next| relative(query.with("before", &next.to_string()))),
        further: before.map(|_: u64| relative(query.with("before", ""))),
    })
}

impl From<AuditEntry> for Row {
    fn from(entry: AuditEntry) -> Row {
        Row {
            at: Moment::full(entry.at),
            who: entry.who,
            address: entry.address.unwrap_or_default(),
            action: entry.action,
            subject: entry.subject,
            fields: entry.fields.join(", "),
        }
    }
}
