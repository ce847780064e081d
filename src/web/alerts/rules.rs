//! Rules of alerts: the list, and the form of one.

use askama::Template;
use rocket::response::Redirect;
use rocket::{Either, State, get, post};
use serde_json::{Map, Value, json};

use crate::api::alerts::rules;
use crate::api::auth::{Operator, Viewer};
use crate::api::body::JsonBody;
use crate::api::error::{ApiError, FieldError};
use crate::api::state::ApiState;
use crate::model::alert::CauseKind;
use crate::model::incident::Severity;
use crate::store::users::Role;
use crate::web::alerts::{Answer, Tab, again, tabs};
use crate::web::frame::{Frame, Section};
use crate::web::html::Html;
use crate::web::input::{Document, Group, Input, Sheet, number, parts, seconds, typed, typed_seconds};
use crate::web::issues::form::FormPage;
use crate::web::moment::span;
use crate::web::text::Text;
use crate::web::visit::{Fields, OwnForm, Visit};

/// Steps of escalation a rule may have, and those a form has room for at least.
const STEPS: usize = 10;
const ROOM: usize = 2;
const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
/// With more services than these they are typed instead of ticked.
const TICKED: usize = 100;

#[derive(Template)]
#[template(path = "alert_rules.html")]
struct RulesPage {
    frame: Frame,
    tabs: Vec<Tab>,
    rows: Vec<Row>,
    no_channel: bool,
}

struct Row {
    id: u32,
    name: String,
    enabled: bool,
    kinds: String,
    severity: &'static str,
    scope: String,
    channels: String,
    notes: Vec<String>,
}

#[get("/alerts/rules")]
pub fn list(visit: Visit, state: &State<ApiState>) -> Result<Html, ApiError> {
    let t = Text(visit.look.lang);
    let exits = state.exits.list();
    let comma = t.s("sentence.comma");
    let all = state.alerts.rules.list();
    let rows = all.iter().map(|stored| {
        let rule = &stored.rule;
        let services = rule.scope.services.iter().filter_map(|id| state.services.get(*id).map(|service| service.name().to_owned()));
        let scope: Vec<String> = services.chain(rule.scope.tags.iter().chain(&rule.scope.groups).cloned()).collect();
        let channels = rule.channels.iter().map(|id| exits.iter().find(|exit| exit.id == *id).map_or("–", |exit| exit.name.as_str()));
        let mut notes = Vec::new();
        if !rule.after.is_zero() {
            notes.push(t.one("alert.note_after", span(t, rule.after)));
        }
        notes.extend(rule.repeat.map(|every| t.one("alert.note_repeat", span(t, every))));
        notes.extend(rule.quiet.as_ref().map(|_| t.s("alert.note_quiet").to_owned()));
        notes.extend(rule.escalations.first().map(|step| t.one("alert.note_escalates", span(t, step.after))));
        Row {
            id: rule.id.0,
            name: rule.name.to_string(),
            enabled: rule.enabled,
            kinds: rule.kinds.iter().map(|kind| t.word("cause", kind.name())).collect::<Vec<_>>().join(comma),
            severity: t.word("severity", rule.least.name()),
            scope: if rule.scope.is_all() { t.s("alert.everything").to_owned() } else { scope.join(comma) },
            channels: channels.collect::<Vec<_>>().join(comma),
            notes,
        }
    });
    Html::of(&RulesPage {
        frame: Frame::new(&visit, Section::Alerts, t.s("alert.tab_rules")),
        tabs: tabs(t, "/alerts/rules"),
        rows: rows.collect(),
        no_channel: exits.is_empty(),
    })
}

#[get("/alerts/rules/new")]
pub fn new(visit: Visit, state: &State<ApiState>) -> Result<Html, ApiError> {
    visit.need(Role::Operator)?;
    let mut fields = Fields::default();
    for (name, value) in [
        ("enabled", "true"),
        ("kinds", "incident"),
        ("kinds", "certificate"),
        ("min_severity", "warning"),
        ("tell_recovered", "true"),
        ("certificate_days", "14, 7, 1"),
        ("quiet.critical_passes", "true"),
    ] {
        fields.0.push((name.to_owned(), value.to_owned()));
    }
    // Where there is but one way to tell, that is meant.
    if let [only] = state.exits.list().as_slice() {
        fields.set("channels", &only.id.to_string());
    }
    Html::of(&form(&visit, state, None, &fields, &[]))
}

#[get("/alerts/rules/<id>")]
pub fn edit(visit: Visit, state: &State<ApiState>, id: &str) -> Result<Html, ApiError> {
    visit.need(Role::Operator)?;
    let body = rules::read(Viewer(visit.principal.clone()), state, id)?.into_inner();
    let fields = fields_of(&serde_json::to_value(body).unwrap_or_default());
    Html::of(&form(&visit, state, Some(id), &fields, &[]))
}

#[post("/alerts/rules/new", data = "<sent>")]
pub async fn create(visit: Visit, sent: OwnForm, state: &State<ApiState>) -> Answer {
    visit.need(Role::Operator)?;
    match rules::create(Operator(visit.principal.clone()), state, JsonBody(document(&sent.0))).await {
        Ok(_) => Ok(Either::Right(Redirect::to("/alerts/rules"))),
        Err(error) => again(error, |errors| Html::of(&form(&visit, state, None, &sent.0, errors))),
    }
}

#[post("/alerts/rules/<id>", data = "<sent>")]
pub async fn change(visit: Visit, sent: OwnForm, state: &State<ApiState>, id: &str) -> Answer {
    visit.need(Role::Operator)?;
    match rules::replace(Operator(visit.principal.clone()), state, id, JsonBody(document(&sent.0))).await {
        Ok(_) => Ok(Either::Right(Redirect::to("/alerts/rules"))),
        Err(error) => again(error, |errors| Html::of(&form(&visit, state, Some(id), &sent.0, errors))),
    }
}

/// Switches a rule off, or on again.
#[post("/alerts/rules/<id>/enabled", data = "<sent>")]
pub async fn set_enabled(visit: Visit, sent: OwnForm, state: &State<ApiState>, id: &str) -> Result<Redirect, ApiError> {
    visit.need(Role::Operator)?;
    let patch = json!({"enabled": sent.0.get("enabled") == Some("true")});
    rules::patch(Operator(visit.principal), state, id, JsonBody(patch)).await?;
    Ok(Redirect::to("/alerts/rules"))
}

#[post("/alerts/rules/<id>/delete", data = "<_sent>")]
pub async fn delete(visit: Visit, _sent: OwnForm, state: &State<ApiState>, id: &str) -> Result<Redirect, ApiError> {
    visit.need(Role::Operator)?;
    rules::delete(Operator(visit.principal), state, id).await?;
    Ok(Redirect::to("/alerts/rules"))
}

fn form(visit: &Visit, state: &ApiState, id: Option<&str>, fields: &Fields, errors: &[FieldError]) -> FormPage {
    let t = Text(visit.look.lang);
    let sheet = Sheet::new(t, fields, errors);
    let words = |group: &'static str, names: &[&'static str]| -> Vec<(String, String)> {
        names.iter().map(|name| ((*name).to_owned(), t.word(group, name).to_owned())).collect()
    };
    let exits = || state.exits.list().into_iter().map(|exit| (exit.id.to_string(), exit.name)).collect::<Vec<_>>();
    let whom = vec![
        sheet.several("channels", "alert.channels", exits()).help(t.s("alert.channels_help")),
        sheet.span("for_s", "alert.for").placeholder("0").help(t.s("alert.for_help")),
        sheet.span("repeat_s", "alert.repeat").placeholder("1 h").help(t.s("alert.repeat_help")),
        sheet.flag("tell_recovered", "alert.tell_recovered"),
        sheet.flag("tell_acknowledged", "alert.tell_acknowledged"),
    ];
    let what = vec![
        sheet.line("name", "edit.name").width("wide").required(),
        sheet.choice("min_severity", "alert.least", words("severity", &Severity::ALL.map(Severity::name))),
        sheet.several("kinds", "alert.kinds", words("cause", &CauseKind::ALL.map(CauseKind::name))),
        sheet.code("certificate_days", "alert.certificate_days").help(t.s("alert.certificate_help")),
        sheet.code("min_size", "alert.min_size").help(t.s("alert.min_size_help")),
        sheet.flag("enabled", "alert.enabled"),
    ];
    let quiet = vec![
        sheet.code("quiet.from", "alert.quiet_from").placeholder("22:00"),
        sheet.code("quiet.to", "alert.quiet_to").placeholder("07:00"),
        sheet.code("quiet.timezone", "edit.timezone").placeholder("Europe/Berlin"),
        sheet.several("quiet.days", "alert.quiet_days", words("weekday", &DAYS)).help(t.s("alert.quiet_days_help")),
        sheet.flag("quiet.critical_passes", "alert.quiet_critical"),
    ];
    let mut escalation: Vec<Input> = Vec::new();
    // One more than there are.
    let used = (0..STEPS)
        .filter(|step| fields.0.iter().any(|(name, value)| !value.is_empty() && name.starts_with(&format!("escalations[{step}]"))))
        .max();
    let room = used.map_or(ROOM, |last| (last + 2).clamp(ROOM, STEPS));
    for step in 0..room {
        escalation.push(sheet.span(&format!("escalations[{step}].after_s"), "alert.escalate_after").placeholder("15 min"));
        escalation.push(Input { width: "wide", ..sheet.several(&format!("escalations[{step}].channels"), "alert.escalate_to", exits()) });
    }
    let title = match id {
        Some(_) => t.one("alert.edit_rule", fields.get("name").unwrap_or_default()),
        None => t.s("alert.add_rule").to_owned(),
    };
    let scope = scope(&sheet, state, t.s("alert.scope_help"));
    FormPage {
        frame: Frame::new(visit, Section::Alerts, title),
        back: ("/alerts/rules".to_owned(), t.s("alert.tab_rules").to_owned()),
        action: id.map_or_else(|| "/alerts/rules/new".to_owned(), |id| format!("/alerts/rules/{id}")),
        save: t.s("edit.save"),
        intro: String::new(),
        hidden: vec![("revision", fields.get("revision").unwrap_or_default().to_owned())],
        groups: vec![
            Group { legend: t.s("edit.what"), inputs: what },
            Group { legend: t.s("alert.whom"), inputs: whom },
            Group { legend: t.s("alert.scope"), inputs: scope },
            Group { legend: t.s("alert.quiet"), inputs: quiet },
            Group { legend: t.s("alert.escalation"), inputs: escalation },
        ],
        rest: sheet.rest(),
        any_wrong: !errors.is_empty(),
        also: Vec::new(),
        outcome: None,
    }
}

/// The fields that say which services are meant.
pub fn scope(sheet: &Sheet<'_>, state: &ApiState, help: &str) -> Vec<Input> {
    let list = state.services.list();
    let mut tags: Vec<String> = list.iter().flat_map(|service| service.document.tags.iter().cloned()).collect();
    let mut groups: Vec<String> = list.iter().filter_map(|service| service.document.group.clone()).collect();
    for names in [&mut tags, &mut groups] {
        names.sort_unstable();
        names.dedup();
    }
    let twice = |names: Vec<String>| names.into_iter().map(|name| (name.clone(), name)).collect();
    let services = match list.len() <= TICKED {
        true => sheet.several("services", "alert.services", list.iter().map(|one| (one.id.to_string(), one.name().to_owned())).collect()),
        false => sheet.area("services", "alert.services_typed", 3),
    };
    vec![services.help(help), sheet.several("tags", "alert.tags", twice(tags)), sheet.several("groups", "alert.groups", twice(groups))]
}

/// The document a form stands for.
fn document(fields: &Fields) -> Value {
    let mut document = Document::of(fields);
    document.text("name").flag("enabled").texts("kinds").text("min_severity").numbers("services").texts("tags").texts("groups");
    document.numbers("channels").numbers("certificate_days").number("min_size").number("revision");
    document.flag("tell_recovered").flag("tell_acknowledged");
    let mut made = document.made;
    if fields.text("certificate_days").is_none() {
        made.shift_remove("certificate_days");
    }
    for name in ["for_s", "repeat_s"] {
        made.extend(fields.text(name).map(|text| (name.to_owned(), seconds(text))));
    }
    let inner = |prefix: &str, name: &str| format!("{prefix}.{name}");
    let days: Vec<Value> = fields.all("quiet.days").map(Value::from).collect();
    if ["from", "to"].iter().any(|name| fields.text(&inner("quiet", name)).is_some()) {
        let mut quiet = Map::new();
        for name in ["from", "to", "timezone"] {
            quiet.extend(fields.text(&inner("quiet", name)).map(|text| (name.to_owned(), text.into())));
        }
        if !days.is_empty() {
            quiet.insert("days".to_owned(), days.into());
        }
        quiet.insert("critical_passes".to_owned(), (fields.get("quiet.critical_passes") == Some("true")).into());
        made.insert("quiet".to_owned(), quiet.into());
    }
    let mut steps: Vec<Value> = Vec::new();
    for step in 0..STEPS {
        let place = format!("escalations[{step}]");
        let after = fields.text(&inner(&place, "after_s")).map(seconds);
        let channels: Vec<Value> = fields.all(&inner(&place, "channels")).flat_map(parts).map(number).collect();
        if after.is_none() && channels.is_empty() {
            continue;
        }
        let mut made = Map::from_iter([("channels".to_owned(), channels.into())]);
        made.extend(after.map(|after| ("after_s".to_owned(), after)));
        steps.push(made.into());
    }
    made.insert("escalations".to_owned(), steps.into());
    made.into()
}

/// A rule as the form shows it.
fn fields_of(body: &Value) -> Fields {
    let mut fields = Vec::new();
    let mut put = |name: String, value: String| fields.push((name, value));
    for name in ["name", "enabled", "min_severity", "min_size", "tell_recovered", "tell_acknowledged", "revision"] {
        put(name.to_owned(), typed(&body[name]));
    }
    put("certificate_days".to_owned(), typed(&body["certificate_days"]).replace('\n', ", "));
    for name in ["for_s", "repeat_s"] {
        put(name.to_owned(), body[name].as_f64().filter(|span| *span > 0.0).map(typed_seconds).unwrap_or_default());
    }
    for name in ["kinds", "services", "tags", "groups", "channels"] {
        body[name].as_array().into_iter().flatten().for_each(|value| put(name.to_owned(), typed(value)));
    }
    for name in ["from", "to", "timezone", "critical_passes"] {
        put(format!("quiet.{name}"), typed(&body["quiet"][name]));
    }
    body["quiet"]["days"].as_array().into_iter().flatten().for_each(|day| put("quiet.days".to_owned(), typed(day)));
    for (step, escalation) in body["escalations"].as_array().into_iter().flatten().enumerate() {
        let place = format!("escalations[{step}]");
        put(format!("{place}.after_s"), escalation["after_s"].as_f64().map(typed_seconds).unwrap_or_default());
        escalation["channels"].as_array().into_iter().flatten().for_each(|value| put(format!("{place}.channels"), typed(value)));
    }
    Fields(fields)
}
