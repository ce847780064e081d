//! The people who may use this hub: the list, a new one, and what an admin may do about one.

use askama::Template;
use rocket::response::Redirect;
use rocket::{Either, State, get, post};
use serde_json::json;

use crate::api::auth::Admin;
use crate::api::body::JsonBody;
use crate::api::error::{ApiError, FieldError};
use crate::api::state::ApiState;
use crate::api::users;
use crate::store::audit::Change;
use crate::store::users::{Role, User};
use crate::web::agent;
use crate::web::alerts::channels::ConfirmPage;
use crate::web::alerts::{Answer, Tab, again};
use crate::web::frame::{Frame, Section};
use crate::web::html::Html;
use crate::web::input::{Group, Kind, Sheet};
use crate::web::issues::form::FormPage;
use crate::web::moment::Moment;
use crate::web::system::tabs;
use crate::web::text::Text;
use crate::web::visit::{Fields, OwnForm, Visit};

#[derive(Template)]
#[template(path = "system_users.html")]
struct UsersPage {
    frame: Frame,
    tabs: Vec<Tab>,
    rows: Vec<Row>,
}

struct Row {
    name: String,
    role: &'static str,
    disabled: bool,
    second_factor: bool,
    sessions: usize,
    keys: usize,
    created: Moment,
    /// Who they are at an identity provider: its name, and theirs there.
    identity: Option<(String, String)>,
    has_password: bool,
}

#[derive(Template)]
#[template(path = "system_user.html")]
struct UserPage {
    frame: Frame,
    tabs: Vec<Tab>,
    row: Row,
    /// Whoever looks at this page.
    own: bool,
    roles: Vec<(&'static str, &'static str, bool)>,
    /// Alert channels that may tell the user what is for them alone.
    channels: Vec<(String, bool)>,
    sessions: Vec<Session>,
    wrong: Vec<String>,
}

struct Session {
    name: String,
    agent: String,
    /// What it says of itself.
    said: String,
    address: String,
    since: Moment,
}

const BASE: &str = "/system/users";

#[get("/system/users")]
pub fn list(visit: Visit, state: &State<ApiState>) -> Result<Html, ApiError> {
    visit.need(Role::Admin)?;
    let t = Text(visit.look.lang);
    Html::of(&UsersPage {
        frame: Frame::new(&visit, Section::System, t.s("system.tab_users")),
        tabs: tabs(&visit, BASE),
        rows: state.users.list().iter().map(|user| Row::new(t, state, user)).collect(),
    })
}

#[get("/system/users/new")]
pub fn new(visit: Visit) -> Result<Html, ApiError> {
    visit.need(Role::Admin)?;
    let mut fields = Fields::default();
    fields.set("role", Role::Viewer.name());
    Html::of(&form(&visit, &fields, &[]))
}

#[post("/system/users/new", data = "<sent>")]
pub async fn create(visit: Visit, sent: OwnForm, state: &State<ApiState>) -> Answer {
    visit.need(Role::Admin)?;
    let text = |name: &str| sent.0.get(name).unwrap_or_default();
    let body = json!({"username": text("username").trim(), "password": text("password"), "role": text("role")});
    match users::create(Admin(visit.principal.clone()), state, JsonBody(body)).await {
        Ok(_) => Ok(Either::Right(Redirect::to(BASE))),
        Err(error) => again(error, |errors| Html::of(&form(&visit, &sent.0, errors))),
    }
}

#[get("/system/users/<name>")]
pub fn one(visit: Visit, state: &State<ApiState>, name: &str) -> Result<Html, ApiError> {
    visit.need(Role::Admin)?;
    Html::of(&user_page(&visit, state, &find(state, name)?, &[]))
}

/// Sets what the form names: a role, a password, a channel, or whether the user is locked out.
#[post("/system/users/<name>", data = "<sent>")]
pub async fn change(visit: Visit, sent: OwnForm, state: &State<ApiState>, name: &str) -> Answer {
    visit.need(Role::Admin)?;
    let user = find(state, name)?;
    let mut body = serde_json::Map::new();
    for field in ["role", "password"] {
        if let Some(text) = sent.0.get(field) {
            body.insert(field.to_owned(), text.into());
        }
    }
    if let Some(disabled) = sent.0.get("disabled") {
        body.insert("disabled".to_owned(), (disabled == "true").into());
    }
    // None of them is chosen: the user is told by none.
    if let Some(channel) = sent.0.get("channel") {
        body.insert("channel".to_owned(), Some(channel).filter(|channel| !channel.is_empty()).into());
    }
    let changed = users::patch(Admin(visit.principal.clone()), state, name, JsonBody(body.into())).await;
    settled(changed.map(|_| ()), &visit, state, &user, name)
}

/// Lets a password be enough again.
#[post("/system/users/<name>/second-factor/off", data = "<_sent>")]
pub async fn second_factor_off(visit: Visit, _sent: OwnForm, state: &State<ApiState>, name: &str) -> Answer {
    visit.need(Role::Admin)?;
    let user = find(state, name)?;
    let done = users::turn_off_second_factor(Admin(visit.principal.clone()), state, name).await;
    settled(done.map(|_| ()), &visit, state, &user, name)
}

/// Lets only a password be the way in again.
#[post("/system/users/<name>/identity/unlink", data = "<_sent>")]
pub async fn unlink(visit: Visit, _sent: OwnForm, state: &State<ApiState>, name: &str) -> Answer {
    visit.need(Role::Admin)?;
    let user = find(state, name)?;
    let done = users::unlink(Admin(visit.principal.clone()), state, name).await;
    settled(done.map(|_| ()), &visit, state, &user, name)
}

/// Ends one session of a user.
#[post("/system/users/<name>/sessions/<session>/end", data = "<_sent>")]
pub async fn end_session(visit: Visit, _sent: OwnForm, state: &State<ApiState>, name: &str, session: &str) -> Result<Redirect, ApiError> {
    visit.need(Role::Admin)?;
    if !state.web_sessions.end_named(name, session).await? {
        return Err(ApiError::not_found(format!("{name} has no session {session}")));
    }
    let author = visit.principal.author();
    let change = Change {
        who: author.who,
        address: author.address,
        action: "session.end",
        subject: format!("page:{session} of user:{name}"),
        fields: Vec::new(),
    };
    state.audit.record(&change).await?;
    Ok(Redirect::to(format!("{BASE}/{name}")))
}

#[get("/system/users/<name>/delete")]
pub fn ask_delete(visit: Visit, state: &State<ApiState>, name: &str) -> Result<Html, ApiError> {
    visit.need(Role::Admin)?;
    let user = find(state, name)?;
    Html::of(&confirm(&visit, state, &user))
}

#[post("/system/users/<name>/delete", data = "<_sent>")]
pub async fn delete(visit: Visit, _sent: OwnForm, state: &State<ApiState>, name: &str) -> Answer {
    visit.need(Role::Admin)?;
    let user = find(state, name)?;
    match users::delete(Admin(visit.principal.clone()), state, name).await {
        Ok(_) => Ok(Either::Right(Redirect::to(BASE))),
        Err(error) => again(error, |errors| Html::of(&user_page(&visit, state, &user, errors))),
    }
}

/// Back to the page of the user, with what was wrong. Who changed themselves has to log in again.
fn settled(done: Result<(), ApiError>, visit: &Visit, state: &ApiState, user: &User, name: &str) -> Answer {
    match done {
        Ok(()) => Ok(Either::Right(Redirect::to(format!("{BASE}/{name}")))),
        Err(error) => again(error, |errors| Html::of(&user_page(visit, state, user, errors))),
    }
}

fn find(state: &ApiState, name: &str) -> Result<User, ApiError> {
    state.users.get(name).ok_or_else(|| ApiError::not_found(format!("there is no user {name:?}")))
}

fn user_page(visit: &Visit, state: &ApiState, user: &User, errors: &[FieldError]) -> UserPage {
    let t = Text(visit.look.lang);
    let session = |session: crate::store::web_sessions::WebSession| Session {
        name: session.name,
        agent: agent::name(&session.agent),
        said: session.agent,
        address: session.address.unwrap_or_default(),
        since: Moment::full(session.created_at),
    };
    let told_by = state.users.channel(&user.username);
    UserPage {
        frame: Frame::new(visit, Section::System, user.username.clone()),
        tabs: tabs(visit, BASE),
        row: Row::new(t, state, user),
        own: visit.principal.username == user.username,
        roles: Role::ALL.iter().map(|role| (role.name(), t.known("role", role.name()), *role == user.role)).collect(),
        channels: state.channels.list().iter().map(|channel| (channel.name.clone(), told_by == Some(channel.id))).collect(),
        sessions: live_sessions(state, user).map(session).collect(),
        wrong: errors.iter().map(|error| error.message.clone()).collect(),
    }
}

/// Those of a user that still let them in.
fn live_sessions(state: &ApiState, user: &User) -> impl Iterator<Item = crate::store::web_sessions::WebSession> + use<> {
    state.web_sessions.live(user).into_iter()
}

fn confirm(visit: &Visit, state: &ApiState, user: &User) -> ConfirmPage {
    let t = Text(visit.look.lang);
    let row = Row::new(t, state, user);
    let mut lost = Vec::new();
    if row.sessions > 0 {
        lost.push(t.count("user.lost_session", "user.lost_sessions", row.sessions as u64));
    }
    if row.keys > 0 {
        lost.push(t.count("user.lost_key", "user.lost_keys", row.keys as u64));
    }
    ConfirmPage {
        frame: Frame::new(visit, Section::System, t.one("user.delete", &user.username)),
        text: t.s("user.delete_text").to_owned(),
        lost,
        back: format!("{BASE}/{}", user.username),
        action: format!("{BASE}/{}/delete", user.username),
    }
}

fn form(visit: &Visit, fields: &Fields, errors: &[FieldError]) -> FormPage {
    let t = Text(visit.look.lang);
    // A password that was refused is not sent back to the page.
    let kept = Fields(fields.0.iter().filter(|(name, _)| name != "password").cloned().collect());
    let sheet = Sheet::new(t, &kept, errors);
    let roles = Role::ALL.iter().map(|role| (role.name().to_owned(), t.known("role", role.name()).to_owned())).collect();
    let what = vec![
        sheet.code("username", "login.username").width("half").required(),
        sheet.choice("role", "key.role", roles).width("half").help(t.s("user.role_help")),
        sheet.input("password", t.s("login.password"), Kind::Password).width("half").required().help(t.s("user.password_help")),
    ];
    FormPage {
        frame: Frame::new(visit, Section::System, t.s("user.new")),
        back: (BASE.to_owned(), t.s("system.tab_users").to_owned()),
        action: format!("{BASE}/new"),
        save: t.s("user.add"),
        intro: String::new(),
        hidden: Vec::new(),
        groups: vec![Group { legend: t.s("user.who"), inputs: what }],
        rest: sheet.rest(),
        any_wrong: !errors.is_empty(),
        also: Vec::new(),
        outcome: None,
    }
}

impl Row {
    fn new(t: Text, state: &ApiState, user: &User) -> Row {
        Row {
            name: user.username.clone(),
            role: t.known("role", user.role.name()),
            disabled: user.disabled,
            second_factor: state.second_factors.of(user).is_some(),
            sessions: live_sessions(state, user).count(),
            keys: state.api_keys.list(Some(&user.username)).len(),
            created: Moment::full(user.created_at),
            identity: state.users.identity(&user.username).map(|linked| (linked.identity.issuer, linked.identity.subject)),
            has_password: state.users.has_password(&user.username),
        }
    }
}
