//! Channels: the list, the form of one, drawn from the fields of its kind, and what the far side says to a test.

use askama::Template;
use rocket::http::Status;
use rocket::response::Redirect;
use rocket::{Either, State, get, post};
use serde_json::{Map, Value, json};

use crate::alert::channel::fields::{Field, Form};
use crate::alert::channel::{KINDS, KindInfo, kind_info};
use crate::api::auth::Admin;
use crate::api::body::JsonBody;
use crate::api::channels;
use crate::api::channels::view::{ChannelView, TestView};
use crate::api::error::{ApiError, FieldError};
use crate::api::query::Query;
use crate::api::state::ApiState;
use crate::store::users::Role;
use crate::web::alerts::{Answer, Tab, again, tabs};
use crate::web::frame::{Frame, Section};
use crate::web::html::Html;
use crate::web::input::{Group, Input, Kind, Sheet, number, typed};
use crate::web::issues::form::{FormPage, Outcome};
use crate::web::login::Refusal;
use crate::web::moment::Moment;
use crate::web::text::Text;
use crate::web::visit::{Fields, OwnForm, Visit};

#[derive(Template)]
#[template(path = "alert_channels.html")]
struct ChannelsPage {
    frame: Frame,
    tabs: Vec<Tab>,
    rows: Vec<Row>,
    admin: bool,
    outcome: Option<Outcome>,
}

struct Row {
    id: u32,
    name: String,
    kind: &'static str,
    enabled: bool,
    waiting: u64,
    oldest: Option<Moment>,
    dead: Option<String>,
    /// The rules that use it.
    rules: String,
}

#[derive(Template)]
#[template(path = "alert_kinds.html")]
struct KindsPage {
    frame: Frame,
    tabs: Vec<Tab>,
    kinds: Vec<(&'static str, &'static str)>,
}

#[derive(Template)]
#[template(path = "confirm.html")]
pub struct ConfirmPage {
    pub frame: Frame,
    pub text: String,
    pub lost: Vec<String>,
    pub back: String,
    pub action: String,
}

#[get("/alerts/channels")]
pub fn list(visit: Visit, state: &State<ApiState>) -> Result<Html, ApiError> {
    Html::of(&list_page(&visit, state, None))
}

fn list_page(visit: &Visit, state: &ApiState, outcome: Option<Outcome>) -> ChannelsPage {
    let t = Text(visit.look.lang);
    let channels = state.channels.list();
    let rows = channels.iter().map(|channel| {
        let queue = state.alerts.deliveries.queue(channel.id);
        let rules = state.alerts.rules.using(channel.id);
        Row {
            id: channel.id.0,
            kind: channel.kind.name(),
            name: channel.name.clone(),
            enabled: channel.enabled,
            waiting: queue.open,
            oldest: queue.oldest.map(Moment::ago),
            dead: (queue.dead > 0).then(|| t.count("alert.dead_one", "alert.dead_many", queue.dead)),
            rules: rules.iter().map(|stored| stored.rule.name.to_string()).collect::<Vec<_>>().join(t.s("sentence.comma")),
        }
    });
    ChannelsPage {
        rows: rows.collect(),
        frame: Frame::new(visit, Section::Alerts, t.s("alert.tab_channels")),
        tabs: tabs(t, "/alerts/channels"),
        admin: visit.principal.role >= Role::Admin,
        outcome,
    }
}

/// Which kind it is to be, then its form.
#[get("/alerts/channels/new")]
pub fn new(visit: Visit, query: Query, state: &State<ApiState>) -> Result<Html, ApiError> {
    visit.need(Role::Admin)?;
    let t = Text(visit.look.lang);
    let Some(kind) = query.text("kind").and_then(|kind| kind_info(kind).ok()) else {
        return Html::of(&KindsPage {
            frame: Frame::new(&visit, Section::Alerts, t.s("alert.add_channel")),
            tabs: tabs(t, "/alerts/channels"),
            kinds: KINDS.iter().map(|kind| (kind.name, kind.about)).collect(),
        });
    };
    let mut fields = Fields::default();
    fields.set("enabled", "true");
    fields.set("name", kind.name);
    Html::of(&form(&visit, state, None, kind, &fields, &[], None))
}

#[get("/alerts/channels/<id>")]
pub fn edit(visit: Visit, state: &State<ApiState>, id: &str) -> Result<Html, ApiError> {
    visit.need(Role::Admin)?;
    let view = read(&visit, state, id)?;
    Html::of(&form(&visit, state, Some(id), kind_of(view.kind)?, &fields_of(&view), &[], None))
}

#[post("/alerts/channels/new", data = "<sent>")]
pub async fn create(visit: Visit, sent: OwnForm, state: &State<ApiState>) -> Answer {
    visit.need(Role::Admin)?;
    let kind = kind_of(sent.0.get("kind").unwrap_or_default())?;
    let body = document(kind, &sent.0, None);
    if sent.0.get("do") == Some("test") {
        let tested = channels::test_unsaved(Admin(visit.principal.clone()), state, JsonBody(body)).await;
        return shown(&visit, state, None, kind, &sent.0, tested.map(|view| view.into_inner()));
    }
    match channels::create(Admin(visit.principal.clone()), state, JsonBody(body)).await {
        Ok(_) => Ok(Either::Right(Redirect::to("/alerts/channels"))),
        Err(error) => again(error, |errors| Html::of(&form(&visit, state, None, kind, &sent.0, errors, None))),
    }
}

#[post("/alerts/channels/<id>", data = "<sent>")]
pub async fn change(visit: Visit, sent: OwnForm, state: &State<ApiState>, id: &str) -> Answer {
    visit.need(Role::Admin)?;
    let view = read(&visit, state, id)?;
    let kind = kind_of(view.kind)?;
    if sent.0.get("do") == Some("test") {
        let body = document(kind, &sent.0, Some(view.id));
        let tested = channels::test_unsaved(Admin(visit.principal.clone()), state, JsonBody(body)).await;
        return shown(&visit, state, Some(id), kind, &sent.0, tested.map(|view| view.into_inner()));
    }
    let body = document(kind, &sent.0, None);
    match channels::replace(Admin(visit.principal.clone()), state, id, JsonBody(body)).await {
        Ok(_) => Ok(Either::Right(Redirect::to("/alerts/channels"))),
        Err(error) => again(error, |errors| Html::of(&form(&visit, state, Some(id), kind, &sent.0, errors, None))),
    }
}

/// A test of a channel as it is stored, from the list.
#[post("/alerts/channels/<id>/test", data = "<_sent>")]
pub async fn test(visit: Visit, _sent: OwnForm, state: &State<ApiState>, id: &str) -> Result<Html, ApiError> {
    visit.need(Role::Admin)?;
    let name = read(&visit, state, id)?.name;
    let view = channels::test(Admin(visit.principal.clone()), state, id).await?.into_inner();
    let t = Text(visit.look.lang);
    let outcome = Outcome { text: format!("{name}: {}", told(t, &view)), ..outcome(t, &view) };
    Html::of(&list_page(&visit, state, Some(outcome)))
}

#[get("/alerts/channels/<id>/delete")]
pub fn ask_delete(visit: Visit, state: &State<ApiState>, id: &str) -> Result<Html, ApiError> {
    visit.need(Role::Admin)?;
    let t = Text(visit.look.lang);
    let view = read(&visit, state, id)?;
    let rules = state.alerts.rules.using(crate::model::id::ChannelId(view.id));
    let queue = state.alerts.deliveries.queue(crate::model::id::ChannelId(view.id));
    let mut lost: Vec<String> = rules.iter().map(|stored| t.one("alert.loses_rule", &stored.rule.name)).collect();
    if queue.open > 0 {
        lost.push(t.one("alert.loses_waiting", queue.open));
    }
    Html::of(&ConfirmPage {
        frame: Frame::new(&visit, Section::Alerts, t.with("delete.title", &[("name", &view.name)])),
        text: t.s("alert.delete_channel").to_owned(),
        lost,
        back: "/alerts/channels".to_owned(),
        action: format!("/alerts/channels/{id}/delete"),
    })
}

/// Asked for after the page that says what is lost.
#[post("/alerts/channels/<id>/delete", data = "<_sent>")]
pub async fn delete(visit: Visit, _sent: OwnForm, state: &State<ApiState>, id: &str) -> Result<Redirect, ApiError> {
    visit.need(Role::Admin)?;
    let channel = crate::model::id::ChannelId(read(&visit, state, id)?.id);
    state.channels.delete(channel, &visit.principal.author()).await?;
    Ok(Redirect::to("/alerts/channels"))
}

fn read(visit: &Visit, state: &State<ApiState>, id: &str) -> Result<ChannelView, ApiError> {
    channels::read(Admin(visit.principal.clone()), state, id).map(|view| view.into_inner())
}

fn kind_of(name: &str) -> Result<&'static KindInfo, ApiError> {
    kind_info(name).map_err(|mistake| ApiError::invalid(vec![mistake]))
}

/// The form with what became of a test.
fn shown(
    visit: &Visit,
    state: &ApiState,
    id: Option<&str>,
    kind: &'static KindInfo,
    fields: &Fields,
    tested: Result<TestView, ApiError>,
) -> Answer {
    match tested {
        Ok(view) => {
            let outcome = outcome(Text(visit.look.lang), &view);
            let page = Html::of(&form(visit, state, id, kind, fields, &[], Some(outcome)))?;
            Ok(Either::Left(Refusal(Status::Ok, page)))
        }
        Err(error) => again(error, |errors| Html::of(&form(visit, state, id, kind, fields, errors, None))),
    }
}

fn outcome(t: Text, view: &TestView) -> Outcome {
    Outcome { good: view.delivered, text: told(t, view), quoted: view.answer.clone() }
}

fn told(t: Text, view: &TestView) -> String {
    let key = if view.delivered { "alert.test_delivered" } else { "alert.test_failed" };
    t.one(key, crate::web::moment::latency(view.took_ms * 1e3))
}

fn form(
    visit: &Visit,
    state: &ApiState,
    id: Option<&str>,
    kind: &'static KindInfo,
    fields: &Fields,
    errors: &[FieldError],
    outcome: Option<Outcome>,
) -> FormPage {
    let t = Text(visit.look.lang);
    let sheet = Sheet::new(t, fields, errors);
    let what = vec![sheet.line("name", "edit.name").width("half").required(), sheet.flag("enabled", "alert.channel_enabled")];
    let of_kind = kind.fields.iter().map(|field| input(&sheet, field)).collect();
    let mut groups = vec![Group { legend: t.s("edit.what"), inputs: what }, Group { legend: kind.name, inputs: of_kind }];
    // Something speaks against it, and it is not wrong: it may be wanted all the same.
    if errors.iter().any(|error| !error.field.is_empty()) || fields.get("save_anyway").is_some() {
        groups.push(Group { legend: t.s("alert.doubt"), inputs: vec![sheet.flag("save_anyway", "alert.save_anyway")] });
    }
    let title = match id {
        Some(_) => t.one("alert.edit_channel", fields.get("name").unwrap_or_default()),
        None => t.one("alert.new_channel", kind.name),
    };
    let masks = if id.is_some() { t.s("alert.masks").to_owned() } else { kind.about.to_owned() };
    let command_off = kind.name == "command" && !state.sender.allows_commands();
    FormPage {
        frame: Frame::new(visit, Section::Alerts, title),
        back: ("/alerts/channels".to_owned(), t.s("alert.tab_channels").to_owned()),
        action: id.map_or_else(|| "/alerts/channels/new".to_owned(), |id| format!("/alerts/channels/{id}")),
        save: t.s("edit.save"),
        intro: if command_off { t.s("alert.command_off").to_owned() } else { masks },
        hidden: vec![("kind", kind.name.to_owned()), ("revision", fields.get("revision").unwrap_or_default().to_owned())],
        groups,
        rest: sheet.rest(),
        any_wrong: !errors.is_empty(),
        also: vec![("test", t.s("alert.send_test"))],
        outcome,
    }
}

/// A field as the kind describes it.
fn input(sheet: &Sheet<'_>, field: &Field) -> Input {
    let name = format!("config.{}", field.name);
    let label = sheet.t.word("channel_field", field.name);
    let kind = match field.form {
        Form::Secret => Kind::Kept,
        // Where it leads is to be seen.
        Form::SecretAddress => Kind::Secret,
        Form::Text if matches!(field.name, "template" | "ca") => Kind::Area(4),
        Form::Text | Form::Address | Form::Number { .. } => Kind::Line("ltr"),
        Form::Flag => Kind::Flag,
        Form::Texts | Form::SecretTexts => Kind::Area(3),
        Form::Choice(names) => {
            let usual = (String::new(), "–".to_owned());
            Kind::Choice(
                sheet
                    .choices(&name, [usual].into_iter().chain(names.iter().map(|name| ((*name).to_owned(), (*name).to_owned()))).collect()),
            )
        }
    };
    let width = if matches!(kind, Kind::Area(_) | Kind::Flag) { "whole" } else { "half" };
    let help = match field.form {
        Form::Texts => format!("{} ({})", field.about, sheet.t.s("alert.one_a_line")),
        Form::SecretTexts => format!("{} ({})", field.about, sheet.t.s("alert.pair_a_line")),
        _ => field.about.to_owned(),
    };
    Input { required: field.required, ..sheet.input(&name, label, kind).width(width).help(help) }
}

/// The channel a form stands for; `id` lends the secrets of one that is stored to the masks of a test.
fn document(kind: &KindInfo, fields: &Fields, id: Option<u32>) -> Value {
    let mut config = Map::new();
    for field in kind.fields {
        let name = format!("config.{}", field.name);
        let text = fields.get(&name).filter(|text| !text.trim().is_empty());
        let lines = || text.unwrap_or_default().lines().map(str::trim).filter(|line| !line.is_empty());
        let value = match field.form {
            Form::Text | Form::Secret | Form::Address | Form::SecretAddress | Form::Choice(_) => {
                text.map(|text| text.replace("\r\n", "\n").into())
            }
            Form::Number { .. } => text.map(number),
            Form::Flag => Some(Value::from(text == Some("true"))),
            Form::Texts => Some(lines().map(Value::from).collect::<Vec<_>>()).filter(|list| !list.is_empty()).map(Value::from),
            Form::SecretTexts => {
                let pair = |line: &str| {
                    let (name, value) = line.split_once(':').unwrap_or((line, ""));
                    (name.trim().to_owned(), Value::from(value.trim()))
                };
                Some(lines().map(pair).collect::<Map<_, _>>()).filter(|pairs| !pairs.is_empty()).map(Value::from)
            }
        };
        config.extend(value.map(|value| (field.name.to_owned(), value)));
    }
    let mut body = json!({
        "name": fields.get("name").unwrap_or_default(), "kind": kind.name, "enabled": fields.get("enabled") == Some("true"),
        "config": config, "save_anyway": fields.get("save_anyway") == Some("true"),
    });
    if let Some(revision) = fields.text("revision") {
        body["revision"] = number(revision);
    }
    if let Some(id) = id {
        body["id"] = id.into();
    }
    body
}

/// A channel as the form shows it, its secrets masked.
fn fields_of(view: &ChannelView) -> Fields {
    let mut fields = vec![
        ("name".to_owned(), view.name.clone()),
        ("enabled".to_owned(), view.enabled.to_string()),
        ("revision".to_owned(), view.revision.to_string()),
    ];
    for (name, value) in &view.config {
        let text = match value {
            Value::Object(pairs) => pairs.iter().map(|(name, value)| format!("{name}: {}", typed(value))).collect::<Vec<_>>().join("\n"),
            other => typed(other),
        };
        fields.push((format!("config.{name}"), text));
    }
    Fields(fields)
}
