//! Maintenance windows: what runs, what comes, what was, and the form of one.

use std::time::Duration;

use askama::Template;
use rocket::response::Redirect;
use rocket::{Either, State, get, post};
use serde_json::{Map, Value, json};

use crate::api::auth::{Operator, Viewer};
use crate::api::body::JsonBody;
use crate::api::error::{ApiError, FieldError};
use crate::api::query::Query;
use crate::api::state::ApiState;
use crate::api::windows;
use crate::api::windows::view::{SpanView, State as Stage, WindowView};
use crate::model::time::Timestamp;
use crate::store::users::Role;
use crate::web::alerts::channels::ConfirmPage;
use crate::web::alerts::rules::scope;
use crate::web::alerts::{Answer, Tab, again, tabs};
use crate::web::frame::{Frame, Section};
use crate::web::html::Html;
use crate::web::input::{Document, Group, Sheet, seconds, typed, typed_seconds};
use crate::web::issues::form::FormPage;
use crate::web::moment::{Moment, span};
use crate::web::text::Text;
use crate::web::visit::{Fields, OwnForm, Visit};

/// Windows shown that are over.
const PAST: usize = 50;
/// Fields of the form between which a window recurs, and what they are in its document.
const BOUNDS: [(&str, &str); 2] = [("begins", "from"), ("ends", "until")];
const KINDS: [&str; 3] = ["once", "recurring", "manual"];
const HOUR: Duration = Duration::from_secs(3_600);
const MINUTE: Duration = Duration::from_secs(60);

#[derive(Template)]
#[template(path = "windows.html")]
struct WindowsPage {
    frame: Frame,
    tabs: Vec<Tab>,
    /// Running, to come, over: each with its heading.
    parts: Vec<(&'static str, Vec<Row>)>,
}

struct Row {
    id: u32,
    title: String,
    reason: String,
    kind: &'static str,
    running: bool,
    /// A manual one that can be begun.
    startable: bool,
    from: Option<Moment>,
    until: Option<Moment>,
    lasts: String,
    cron: Option<String>,
    /// Of the cron expression.
    zone: Option<String>,
    services: String,
    by: String,
}

#[get("/alerts/windows")]
pub fn list(visit: Visit, state: &State<ApiState>) -> Result<Html, ApiError> {
    let t = Text(visit.look.lang);
    let now = state.clock.now();
    let mut all: Vec<WindowView> = state.windows.store.list().iter().map(|window| WindowView::new(window, &state.windows, now)).collect();
    all.sort_by_key(WindowView::order);
    let of = |stage: Stage| -> Vec<Row> {
        all.iter().filter(|view| view.stage == stage).take(PAST).map(|view| Row::new(t, state, view)).collect()
    };
    let parts = [(Stage::Active, "window.running"), (Stage::Upcoming, "window.coming"), (Stage::Past, "window.past")];
    Html::of(&WindowsPage {
        frame: Frame::new(&visit, Section::Alerts, t.s("alert.tab_windows")),
        tabs: tabs(t, "/alerts/windows"),
        parts: parts.into_iter().map(|(stage, key)| (t.s(key), of(stage))).filter(|(_, rows)| !rows.is_empty()).collect(),
    })
}

/// The form; of a service, where the address names one.
#[get("/alerts/windows/new")]
pub fn new(visit: Visit, query: Query, state: &State<ApiState>) -> Result<Html, ApiError> {
    visit.need(Role::Operator)?;
    // What is asked for from a service's page is for now; else for a time to come.
    let (service, now) = (query.text("service"), state.clock.now().0);
    let (hour, minute) = (HOUR.as_micros() as i64, MINUTE.as_micros() as i64);
    let first = Timestamp(if service.is_some() { now.div_euclid(minute) * minute } else { (now.div_euclid(hour) + 1) * hour });
    let mut fields = Fields::default();
    let pairs = [
        ("kind", "once".to_owned()),
        ("from", local(first)),
        ("until", local(first.plus(HOUR))),
        ("duration_s", "1 h".to_owned()),
        ("longest_s", "1 d".to_owned()),
    ];
    for (name, value) in pairs {
        fields.set(name, &value);
    }
    if let Some(service) = service {
        fields.set("services", service);
    }
    Html::of(&form(&visit, state, None, &fields, &[]))
}

#[get("/alerts/windows/<id>")]
pub fn edit(visit: Visit, state: &State<ApiState>, id: &str) -> Result<Html, ApiError> {
    visit.need(Role::Operator)?;
    let view = windows::read(Viewer(visit.principal.clone()), state, id)?.into_inner();
    let fields = fields_of(&serde_json::to_value(view).unwrap_or_default());
    Html::of(&form(&visit, state, Some(id), &fields, &[]))
}

#[post("/alerts/windows/new", data = "<sent>")]
pub async fn create(visit: Visit, sent: OwnForm, state: &State<ApiState>) -> Answer {
    visit.need(Role::Operator)?;
    match windows::create(Operator(visit.principal.clone()), state, JsonBody(document(&sent.0, false))).await {
        Ok(_) => Ok(Either::Right(Redirect::to("/alerts/windows"))),
        Err(error) => again(error, |errors| Html::of(&form(&visit, state, None, &sent.0, errors))),
    }
}

#[post("/alerts/windows/<id>", data = "<sent>")]
pub async fn change(visit: Visit, sent: OwnForm, state: &State<ApiState>, id: &str) -> Answer {
    visit.need(Role::Operator)?;
    match windows::patch(Operator(visit.principal.clone()), state, id, JsonBody(document(&sent.0, true))).await {
        Ok(_) => Ok(Either::Right(Redirect::to("/alerts/windows"))),
        Err(error) => again(error, |errors| Html::of(&form(&visit, state, Some(id), &sent.0, errors))),
    }
}

#[post("/alerts/windows/<id>/start", data = "<_sent>")]
pub async fn start(visit: Visit, _sent: OwnForm, query: Query, state: &State<ApiState>, id: &str) -> Result<Redirect, ApiError> {
    visit.need(Role::Operator)?;
    windows::start(Operator(visit.principal), query, state, id).await?;
    Ok(Redirect::to("/alerts/windows"))
}

#[post("/alerts/windows/<id>/end", data = "<_sent>")]
pub async fn end(visit: Visit, _sent: OwnForm, query: Query, state: &State<ApiState>, id: &str) -> Result<Redirect, ApiError> {
    visit.need(Role::Operator)?;
    windows::end(Operator(visit.principal), query, state, id).await?;
    Ok(Redirect::to("/alerts/windows"))
}

#[get("/alerts/windows/<id>/delete")]
pub fn ask_delete(visit: Visit, state: &State<ApiState>, id: &str) -> Result<Html, ApiError> {
    visit.need(Role::Operator)?;
    let t = Text(visit.look.lang);
    let view = windows::read(Viewer(visit.principal.clone()), state, id)?.into_inner();
    let services = t.count("window.loses_one", "window.loses_many", view.service_ids.len() as u64);
    Html::of(&ConfirmPage {
        frame: Frame::new(&visit, Section::Alerts, t.with("window.delete", &[("name", &view.title)])),
        text: t.s("window.delete_text").to_owned(),
        lost: vec![services],
        back: "/alerts/windows".to_owned(),
        action: format!("/alerts/windows/{id}/delete"),
    })
}

#[post("/alerts/windows/<id>/delete", data = "<_sent>")]
pub async fn delete(visit: Visit, _sent: OwnForm, query: Query, state: &State<ApiState>, id: &str) -> Result<Redirect, ApiError> {
    visit.need(Role::Operator)?;
    windows::delete(Operator(visit.principal), query, state, id).await?;
    Ok(Redirect::to("/alerts/windows"))
}

impl Row {
    fn new(t: Text, state: &ApiState, view: &WindowView) -> Row {
        let shown: Option<SpanView> = view.current.or(view.next.filter(|_| view.stage == Stage::Upcoming)).or(view.last);
        let names = view.service_ids.iter().filter_map(|id| state.services.get(crate::model::id::ServiceId(*id)));
        let names: Vec<String> = names.map(|service| service.name().to_owned()).collect();
        Row {
            id: view.id,
            title: view.title.clone(),
            reason: view.reason.clone(),
            kind: t.word("window_kind", view.kind),
            running: view.stage == Stage::Active,
            startable: view.kind == "manual" && view.stage != Stage::Active,
            from: shown.map(|span| Moment::full(span.from)),
            until: shown.map(|span| Moment::full(span.until)),
            lasts: shown.map(|shown| span(t, shown.until.since(shown.from))).unwrap_or_default(),
            cron: view.cron.clone(),
            zone: view.timezone.clone(),
            services: if view.all { t.s("alert.everything").to_owned() } else { names.join(t.s("sentence.comma")) },
            by: view.updated_by.clone(),
        }
    }
}

fn form(visit: &Visit, state: &ApiState, id: Option<&str>, fields: &Fields, errors: &[FieldError]) -> FormPage {
    let t = Text(visit.look.lang);
    let recurs = fields.get("kind") == Some("recurring");
    let errors: Vec<FieldError> = errors
        .iter()
        .map(|error| {
            let bound = BOUNDS.iter().find(|(_, path)| recurs && error.field == *path);
            FieldError { field: bound.map_or(error.field.as_str(), |(name, _)| name).to_owned(), message: error.message.clone() }
        })
        .collect();
    let sheet = Sheet::new(t, fields, &errors);
    let kinds = KINDS.iter().filter(|kind| id.is_none() || fields.get("kind") == Some(**kind));
    let kinds = kinds.map(|kind| ((*kind).to_owned(), t.word("window_kind", kind).to_owned())).collect();
    let what = vec![
        sheet.line("title", "issue.title").width("wide").required().help(t.s("window.title_help")),
        sheet.choice("kind", "window.kind", kinds),
        sheet.line("reason", "issue.reason").width("whole").help(t.s("window.reason_help")),
    ];
    let mut when = vec![
        sheet.instant("from", "window.from").placeholder("2026-01-31 08:00").help(t.s("window.time_help")).when("kind=once"),
        sheet.instant("until", "window.until").placeholder("2026-01-31 09:00").when("kind=once"),
        sheet.code("cron", "edit.cron_text").placeholder("0 3 * * sun").when("kind=recurring"),
        sheet.code("timezone", "edit.timezone").placeholder("UTC").when("kind=recurring"),
        sheet.span("duration_s", "window.duration").placeholder("1 h").when("kind=recurring"),
        sheet.instant("begins", "window.begins").help(t.s("window.time_help")).when("kind=recurring"),
        sheet.instant("ends", "window.ends").help(t.s("window.time_help")).when("kind=recurring"),
        sheet.span("longest_s", "window.longest").placeholder("1 d").help(t.s("window.longest_help")).when("kind=manual"),
    ];
    if id.is_none() {
        when.push(sheet.flag("start", "window.start_now").when("kind=manual"));
    }
    let mut whom = vec![sheet.flag("all", "window.all")];
    whom.extend(scope(&sheet, state, ""));
    let title = if id.is_some() { t.one("window.edit", fields.get("title").unwrap_or_default()) } else { t.s("window.new").to_owned() };
    FormPage {
        frame: Frame::new(visit, Section::Alerts, title),
        back: ("/alerts/windows".to_owned(), t.s("alert.tab_windows").to_owned()),
        action: id.map_or_else(|| "/alerts/windows/new".to_owned(), |id| format!("/alerts/windows/{id}")),
        save: t.s("edit.save"),
        intro: t.s("window.intro").to_owned(),
        hidden: vec![("revision", fields.get("revision").unwrap_or_default().to_owned())],
        groups: vec![
            Group { legend: t.s("edit.what"), inputs: what },
            Group { legend: t.s("edit.when"), inputs: when },
            Group { legend: t.s("alert.scope"), inputs: whom },
        ],
        rest: sheet.rest(),
        any_wrong: !errors.is_empty(),
        also: Vec::new(),
        outcome: None,
    }
}

/// The document a form stands for. A patch says of what does not belong to its kind that it is to go.
fn document(fields: &Fields, patch: bool) -> Value {
    let mut document = Document::of(fields);
    document.text("title").flag("all").numbers("services").texts("tags").texts("groups");
    let mut made: Map<String, Value> = document.made;
    made.entry("title").or_insert_with(|| "".into());
    made.insert("reason".to_owned(), fields.text("reason").unwrap_or_default().into());
    let kind = fields.text("kind").unwrap_or("once");
    if patch {
        made.extend(fields.text("revision").map(|revision| ("revision".to_owned(), crate::web::input::number(revision))));
    } else {
        made.insert("kind".to_owned(), kind.into());
    }
    let gone = patch.then_some(Value::Null);
    let mut put = |name: &str, value: Option<Value>| made.extend(value.or(gone.clone()).map(|value| (name.to_owned(), value)));
    match kind {
        "manual" => {}
        "recurring" => BOUNDS.iter().for_each(|(name, path)| put(path, fields.text(name).map(instant))),
        _ => ["from", "until"].iter().for_each(|name| put(name, fields.text(name).map(instant))),
    }
    if kind == "recurring" {
        put("cron", fields.text("cron").map(Value::from));
        put("timezone", fields.text("timezone").map(Value::from));
        put("duration_s", fields.text("duration_s").map(seconds));
    }
    if kind == "manual" {
        put("longest_s", fields.text("longest_s").map(seconds));
        if !patch {
            made.insert("start".to_owned(), json!(fields.get("start") == Some("true")));
        }
    }
    made.into()
}

/// `2026-01-31 08:00` is meant as UTC; what is no time of either kind stays as it was typed.
fn instant(text: &str) -> Value {
    let whole = text.replacen(' ', "T", 1);
    let with_seconds = if whole.len() == 16 { format!("{whole}:00Z") } else { format!("{whole}Z") };
    match Timestamp::parse(text).is_none() && Timestamp::parse(&with_seconds).is_some() {
        true => with_seconds.into(),
        false => text.into(),
    }
}

/// A time as it is typed: in UTC, to the minute.
fn local(at: Timestamp) -> String {
    at.datetime().format("%Y-%m-%d %H:%M").to_string()
}

/// A window as the form shows it.
fn fields_of(view: &Value) -> Fields {
    let mut fields = Vec::new();
    for name in ["title", "reason", "kind", "all", "cron", "timezone", "revision"] {
        fields.push((name.to_owned(), typed(&view[name])));
    }
    let recurs = view["kind"] == "recurring";
    for (bound, name) in BOUNDS {
        let at = view[name].as_str().and_then(Timestamp::parse);
        let whole = at.filter(|at| at.0.rem_euclid(60_000_000) == 0).map(local);
        let field = if recurs { bound } else { name };
        fields.push((field.to_owned(), whole.unwrap_or_else(|| typed(&view[name]))));
    }
    for name in ["duration_s", "longest_s"] {
        fields.push((name.to_owned(), view[name].as_f64().map(typed_seconds).unwrap_or_default()));
    }
    for name in ["services", "tags", "groups"] {
        view[name].as_array().into_iter().flatten().for_each(|value| fields.push((name.to_owned(), typed(value))));
    }
    Fields(fields)
}
