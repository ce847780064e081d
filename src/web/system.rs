//! The monitor itself: how it fares, its actors, logs, settings, users, keys, audit log, backup. This page is the first of them.

pub mod actors;
pub mod audit;
pub mod backup;
pub mod keys;
pub mod logs;
pub mod people;
pub mod second_factor;
pub mod settings;
pub mod trend;

use std::time::Duration;

use askama::Template;
use rocket::response::Redirect;
use rocket::{State, get, post};

use crate::api::auth::Operator;
use crate::api::error::ApiError;
use crate::api::query::Query;
use crate::api::state::ApiState;
use crate::api::system::{collect as collect_now, hours_of};
use crate::model::incident::Severity;
use crate::model::system::{Alarm, Figure, Health, Measure};
use crate::store::users::Role;
use crate::system::desk::{DependencyReport, Report};
use crate::web::alerts::Tab;
use crate::web::frame::{Frame, Section};
use crate::web::html::Html;
use crate::web::moment::{Moment, bytes, latency, span};
use crate::web::system::trend::TrendBox;
use crate::web::text::Text;
use crate::web::visit::{OwnForm, Visit};

/// Parts of the monitor, in the order they are shown.
const PARTS: [&str; 8] = ["store", "disk", "cluster", "actors", "process", "api", "logs", "certificates"];
const SPANS: [u32; 4] = [1, 24, 168, 720];

#[derive(Template)]
#[template(path = "system.html")]
struct HealthPage {
    frame: Frame,
    tabs: Vec<Tab>,
    tone: &'static str,
    word: &'static str,
    looked_at: Moment,
    reasons: Vec<Reason>,
    parts: Vec<(&'static str, Vec<(&'static str, String)>)>,
    place: String,
    dependencies: Vec<Dependency>,
    certificates: Vec<(String, Moment)>,
    spans: Vec<(u32, String, bool)>,
    trends: Vec<TrendBox>,
    /// Those of which one seldom wants to know.
    others: Vec<TrendBox>,
    no_trend: Option<String>,
}

struct Reason {
    tone: &'static str,
    text: String,
    next_step: Option<String>,
    since: Moment,
}

struct Dependency {
    name: String,
    kind: &'static str,
    url: String,
    tone: &'static str,
    word: &'static str,
    latency: String,
    version: String,
    error: Option<String>,
    checked: Option<Moment>,
}

/// The tabs someone of a role is shown.
pub fn tabs(visit: &Visit, current: &str) -> Vec<Tab> {
    let t = Text(visit.look.lang);
    let all = [
        ("/system", "system.tab_health", Role::Viewer),
        ("/system/actors", "system.tab_actors", Role::Viewer),
        ("/system/logs", "system.tab_logs", Role::Admin),
        ("/system/settings", "system.tab_settings", Role::Admin),
        ("/system/users", "system.tab_users", Role::Admin),
        ("/system/keys", "system.tab_keys", Role::Admin),
        ("/system/audit", "system.tab_audit", Role::Admin),
        ("/system/backup", "system.tab_backup", Role::Admin),
    ];
    let shown = all.into_iter().filter(|(.., least)| visit.principal.role >= *least);
    shown.map(|(path, key, _)| Tab { path, label: t.s(key), current: path == current }).collect()
}

#[get("/system")]
pub async fn page(visit: Visit, query: Query, state: &State<ApiState>) -> Result<Html, ApiError> {
    let t = Text(visit.look.lang);
    let hours = hours_of(&query)?;
    let desk = &state.system;
    let report = match desk.latest() {
        Some(report) => report,
        // The first look of a hub that has just started.
        None => desk.collect().await,
    };
    let (drawn, no_trend) = match desk.trend(hours).await {
        Ok((width, courses)) => (trend::draw(t, hours, width, state.clock.now(), &courses), None),
        Err(error) => (Vec::new(), Some(error.to_string())),
    };
    let (trends, others) = drawn.into_iter().partition(|trend| trend.first);
    let span_of = |hours: u32| (hours, span(t, Duration::from_secs(u64::from(hours) * 3_600)), false);
    let mut spans: Vec<(u32, String, bool)> = SPANS.into_iter().map(span_of).collect();
    spans.iter_mut().for_each(|one| one.2 = one.0 == hours);
    Html::of(&HealthPage {
        frame: Frame::new(&visit, Section::System, t.s("nav.system")),
        tabs: tabs(&visit, "/system"),
        tone: match report.health {
            Health::Healthy => "up",
            Health::Degraded => "degraded",
            Health::Critical => "down",
        },
        word: t.word("health", report.health.name()),
        looked_at: Moment::ago(report.at),
        reasons: report.alarms.iter().map(Reason::from).collect(),
        parts: PARTS
            .iter()
            .map(|part| (t.word("system_part", part), figures(t, &report, part)))
            .filter(|(_, list)| !list.is_empty())
            .collect(),
        place: report.store_place.clone(),
        dependencies: report.dependencies.iter().map(|dependency| Dependency::new(t, dependency)).collect(),
        certificates: report.certificates.iter().map(|(of, until)| (of.clone(), Moment::full(*until))).collect(),
        spans,
        trends,
        others,
        no_trend,
    })
}

/// Looks at everything now.
#[post("/system/collect", data = "<_form>")]
pub async fn collect(visit: Visit, _form: OwnForm, query: Query, state: &State<ApiState>) -> Result<Redirect, ApiError> {
    visit.need(Role::Operator)?;
    collect_now(Operator(visit.principal), query, state).await?;
    Ok(Redirect::to("/system"))
}

fn figures(t: Text, report: &Report, part: &str) -> Vec<(&'static str, String)> {
    let of_part = Figure::ALL.into_iter().filter(|figure| figure.path().0 == part);
    of_part.filter_map(|figure| Some((label(t, figure), amount(t, *report.figures.get(&figure)?, figure.measure())))).collect()
}

pub fn label(t: Text, figure: Figure) -> &'static str {
    t.known("figure", &figure.name())
}

/// A figure as people read it.
pub fn amount(t: Text, value: f64, measure: Measure) -> String {
    let span_of = |seconds: f64| span(t, Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or(Duration::MAX));
    match measure {
        Measure::Milliseconds => latency(value * 1e3),
        Measure::Seconds => span_of(value),
        Measure::Days => span_of(value * 86_400.0),
        Measure::Bytes => bytes(value.max(0.0) as u64),
        Measure::BytesPerDay if value < 0.0 => t.one("system.a_day", format!("−{}", bytes(-value as u64))),
        Measure::BytesPerDay => t.one("system.a_day", bytes(value as u64)),
        Measure::Percent => format!("{value:.1} %"),
        Measure::PerSecond => t.one("system.a_second", format!("{value:.1}")),
        Measure::Count => format!("{value:.0}"),
    }
}

impl From<&Alarm> for Reason {
    fn from(alarm: &Alarm) -> Reason {
        Reason {
            tone: if alarm.severity == Severity::Critical { "down" } else { "degraded" },
            text: alarm.text.clone(),
            next_step: alarm.next_step.clone(),
            since: Moment::full(alarm.since),
        }
    }
}

impl Dependency {
    fn new(t: Text, report: &DependencyReport) -> Dependency {
        let status = &report.status;
        Dependency {
            name: report.name.to_string(),
            kind: report.kind.name(),
            url: report.url.clone().unwrap_or_default(),
            tone: match report.state {
                "up" => "up",
                "slow" | "failing" => "degraded",
                "down" => "down",
                _ => "unknown",
            },
            word: t.word("dependency_state", report.state),
            latency: status.checked_at.map(|_| latency(status.latency.as_secs_f64() * 1e6)).unwrap_or_default(),
            version: status.version.clone().unwrap_or_default(),
            error: status.trouble.as_ref().map(|trouble| trouble.message.clone()),
            checked: status.checked_at.map(Moment::ago),
        }
    }
}
