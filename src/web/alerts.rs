//! Alerts: what holds now, and the pages of rules, channels, deliveries and maintenance.

pub mod channels;
pub mod deliveries;
pub mod rules;
pub mod subscribers;
pub mod windows;

use std::collections::BTreeMap;

use askama::Template;
use rocket::response::Redirect;
use rocket::{Either, State, get, post};

use crate::api::alerts::causes;
use crate::api::auth::Operator;
use crate::api::error::{ApiError, FieldError};
use crate::api::state::ApiState;
use crate::model::held::Held;
use crate::model::incident::Severity;
use crate::store::alerts::causes::CauseFilter;
use crate::store::users::Role;
use crate::web::frame::{Frame, Section};
use crate::web::html::Html;
use crate::web::login::Refusal;
use crate::web::moment::{Moment, span};
use crate::web::text::Text;
use crate::web::visit::{OwnForm, Visit};

/// What a form is answered with: itself with what is wrong, or the way on.
pub type Answer = Result<Either<Refusal, Redirect>, ApiError>;

/// Causes shown that hold, and that are over.
const MOST: usize = 300;
const OVER: usize = 20;
/// Causes that follow from each other are followed so far up.
const DEEPEST: usize = 10;

#[derive(Template)]
#[template(path = "alerts.html")]
struct AlertsPage {
    frame: Frame,
    tabs: Vec<Tab>,
    /// What keeps people from being told: a text and the way to mend it.
    gap: Option<(&'static str, &'static str, &'static str)>,
    roots: Vec<Root>,
    over: Vec<Line>,
    dead: u64,
}

impl AlertsPage {
    fn dead_text(&self) -> String {
        self.frame.t.count("alert.dead_one", "alert.dead_many", self.dead)
    }
}

/// One of the pages of alerts.
pub struct Tab {
    pub path: &'static str,
    pub label: &'static str,
    pub current: bool,
}

struct Root {
    line: Line,
    consequences: Vec<Line>,
}

struct Line {
    key: String,
    tone: &'static str,
    kind: &'static str,
    service: Option<String>,
    headline: String,
    since: Moment,
    lasted: String,
    over: bool,
    acknowledged_by: Option<String>,
    drill: bool,
    path: Option<String>,
    /// Services that fail because of it.
    services: Vec<String>,
    /// The rules that told of it.
    told: Vec<String>,
    /// What is said where none was.
    untold: &'static str,
}

pub fn tabs(t: Text, current: &str) -> Vec<Tab> {
    let tabs = [
        ("/alerts", "alert.tab_now"),
        ("/alerts/rules", "alert.tab_rules"),
        ("/alerts/channels", "alert.tab_channels"),
        ("/alerts/deliveries", "alert.tab_deliveries"),
        ("/alerts/windows", "alert.tab_windows"),
        ("/alerts/subscribers", "subscriber.tab"),
    ];
    tabs.into_iter().map(|(path, key)| Tab { path, label: t.s(key), current: path == current }).collect()
}

/// The form again with what is wrong in it; what is no mistake in it is told as an error.
pub fn again(error: ApiError, draw: impl FnOnce(&[FieldError]) -> Result<Html, ApiError>) -> Answer {
    if !matches!(error.status().code, 400 | 409 | 422) {
        return Err(error);
    }
    let whole = [FieldError { field: String::new(), message: error.detail().to_owned() }];
    let told = if error.errors().is_empty() { error.warnings() } else { error.errors() };
    let told = if told.is_empty() { whole.as_slice() } else { told };
    Ok(Either::Left(Refusal(error.status(), draw(told)?)))
}

#[get("/alerts")]
pub async fn page(visit: Visit, state: &State<ApiState>) -> Result<Html, ApiError> {
    let t = Text(visit.look.lang);
    let (_, holding) = state.alerts.causes.page(&CauseFilter { open: Some(true), ..CauseFilter::default() }, 0, MOST).await?;
    let (_, over) = state.alerts.causes.page(&CauseFilter { open: Some(false), ..CauseFilter::default() }, 0, OVER).await?;
    let line = |held: &Held| Line::new(t, state, held);
    let mut roots: BTreeMap<&str, Root> = BTreeMap::new();
    let is_below = |held: &Held| held.consequence_of.as_ref().is_some_and(|root| holding.iter().any(|other| other.cause.key == *root));
    for held in holding.iter().filter(|held| !is_below(held)) {
        roots.insert(&held.cause.key, Root { line: line(held), consequences: Vec::new() });
    }
    for held in holding.iter().filter(|held| is_below(held)) {
        // What follows from what itself follows stands under the first of them.
        let mut root = held.consequence_of.as_deref();
        for _ in 0..DEEPEST {
            let Some(name) = root.filter(|name| !roots.contains_key(name)) else { break };
            root = holding.iter().find(|other| other.cause.key == name).and_then(|above| above.consequence_of.as_deref());
        }
        if let Some(root) = root.and_then(|name| roots.get_mut(name)) {
            root.consequences.push(line(held));
        }
    }
    let mut roots: Vec<Root> = roots.into_values().collect();
    roots.sort_by_key(|root| (root.line.tone != "down", std::cmp::Reverse(root.line.since.at)));
    let exits = state.exits.list();
    let rules = state.alerts.rules.list();
    let gap = match (exits.is_empty(), exits.iter().any(|exit| exit.enabled), rules.iter().any(|stored| stored.rule.enabled)) {
        (true, ..) => Some(("alert.no_channel", "/alerts/channels/new", "alert.add_channel")),
        (_, false, _) => Some(("alert.all_channels_off", "/alerts/channels", "alert.tab_channels")),
        (_, _, false) => Some(("alert.no_rule", "/alerts/rules/new", "alert.add_rule")),
        _ => None,
    };
    Html::of(&AlertsPage {
        frame: Frame::new(&visit, Section::Alerts, t.s("nav.alerts")),
        tabs: tabs(t, "/alerts"),
        gap: gap.map(|(text, path, button)| (t.s(text), path, t.s(button))),
        roots,
        over: over.iter().map(line).collect(),
        dead: exits.iter().map(|exit| state.alerts.deliveries.queue(exit.id).dead).sum(),
    })
}

/// Takes a cause on.
#[post("/alerts/causes/<key>/acknowledge", data = "<_form>")]
pub async fn acknowledge(visit: Visit, _form: OwnForm, state: &State<ApiState>, key: &str) -> Result<Redirect, ApiError> {
    visit.need(Role::Operator)?;
    causes::acknowledge(Operator(visit.principal), state, key).await?;
    Ok(Redirect::to("/alerts"))
}

impl Line {
    fn new(t: Text, state: &ApiState, held: &Held) -> Line {
        let cause = &held.cause;
        let name = |id| state.services.get(id).map(|stored| stored.name().to_owned());
        let ended = held.cleared_at.unwrap_or(state.clock.now());
        let told = held.progress.iter().filter(|(_, progress)| progress.raised_at.is_some());
        let told = told.filter_map(|(rule, _)| state.alerts.rules.get(*rule).map(|stored| stored.rule.name.to_string()));
        Line {
            key: cause.key.clone(),
            tone: if cause.severity == Severity::Critical { "down" } else { "degraded" },
            kind: t.word("cause", cause.kind.name()),
            // A cause of many services names them itself.
            service: cause.service.and_then(name).filter(|name| !cause.headline.contains(name.as_str())),
            headline: t.first_line(&cause.headline),
            since: Moment::full(cause.since),
            lasted: span(t, ended.since(cause.since)),
            over: !held.holds(),
            acknowledged_by: held.acknowledged.as_ref().map(|by| by.by.clone()),
            drill: cause.drill,
            path: cause.path.clone(),
            services: held.consequences.iter().filter_map(|service| name(*service)).collect(),
            told: told.collect(),
            untold: if held.consequence_of.is_some() { t.s("alert.told_with_root") } else { t.s("alert.untold") },
        }
    }

    fn service_text(&self) -> String {
        self.services.join(", ")
    }

    fn told_text(&self) -> String {
        self.told.join(", ")
    }
}
