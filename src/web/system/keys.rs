//! API keys: one's own below the account, for admins those of all below the system; made by a form, shown once.

use askama::Template;
use rocket::http::Status;
use rocket::response::Redirect;
use rocket::{Either, State, get, post};
use serde_json::{Map, Value, json};

use crate::api::auth::Viewer;
use crate::api::body::JsonBody;
use crate::api::error::{ApiError, FieldError};
use crate::api::keys::{self, KeyView, own};
use crate::api::query::Query;
use crate::api::state::ApiState;
use crate::store::api_keys::Scope;
use crate::store::users::Role;
use crate::web::alerts::{Answer, Tab, again};
use crate::web::frame::{Frame, Section};
use crate::web::html::Html;
use crate::web::input::{Group, Sheet, number};
use crate::web::issues::form::FormPage;
use crate::web::login::Refusal;
use crate::web::moment::Moment;
use crate::web::system::tabs;
use crate::web::text::Text;
use crate::web::visit::{Fields, OwnForm, Visit};

#[derive(Template)]
#[template(path = "keys.html")]
struct KeysPage {
    frame: Frame,
    tabs: Vec<Tab>,
    /// Where this list is: `/account/keys` or `/system/keys`.
    base: &'static str,
    of_all: bool,
    rows: Vec<Row>,
    /// A key that was just made: its name and itself.
    made: Option<(String, String)>,
}

struct Row {
    id: String,
    name: String,
    owner: String,
    role: &'static str,
    scopes: Vec<&'static str>,
    start: String,
    tone: &'static str,
    state: &'static str,
    expires: Option<Moment>,
    used: Option<Moment>,
}

const OWN: &str = "/account/keys";
const ALL: &str = "/system/keys";

#[get("/account/keys")]
pub fn of_account(visit: Visit, state: &State<ApiState>) -> Result<Html, ApiError> {
    Html::of(&list(&visit, state, OWN, None))
}

#[get("/system/keys")]
pub fn of_all(visit: Visit, state: &State<ApiState>) -> Result<Html, ApiError> {
    visit.need(Role::Admin)?;
    Html::of(&list(&visit, state, ALL, None))
}

#[get("/account/keys/new")]
pub fn new_own(visit: Visit) -> Result<Html, ApiError> {
    Html::of(&form(&visit, OWN, &begun(&visit), Vec::new(), &[]))
}

/// For whom is asked first in the form.
#[get("/system/keys/new")]
pub fn new_of_any(visit: Visit, query: Query, state: &State<ApiState>) -> Result<Html, ApiError> {
    visit.need(Role::Admin)?;
    let mut fields = begun(&visit);
    if let Some(owner) = query.text("owner") {
        fields.set("owner", owner);
    }
    Html::of(&form(&visit, ALL, &fields, owners(state), &[]))
}

#[post("/account/keys/new", data = "<sent>")]
pub async fn create_own(visit: Visit, sent: OwnForm, state: &State<ApiState>) -> Answer {
    create(visit, sent.0, state, OWN, Vec::new()).await
}

#[post("/system/keys/new", data = "<sent>")]
pub async fn create_of_any(visit: Visit, sent: OwnForm, state: &State<ApiState>) -> Answer {
    visit.need(Role::Admin)?;
    create(visit, sent.0, state, ALL, owners(state)).await
}

#[post("/account/keys/<id>/revoke", data = "<_form>")]
pub async fn revoke_own(visit: Visit, _form: OwnForm, state: &State<ApiState>, id: &str) -> Result<Redirect, ApiError> {
    revoke(visit, state, id).await?;
    Ok(Redirect::to(OWN))
}

#[post("/system/keys/<id>/revoke", data = "<_form>")]
pub async fn revoke_any(visit: Visit, _form: OwnForm, state: &State<ApiState>, id: &str) -> Result<Redirect, ApiError> {
    visit.need(Role::Admin)?;
    revoke(visit, state, id).await?;
    Ok(Redirect::to(ALL))
}

async fn revoke(visit: Visit, state: &State<ApiState>, id: &str) -> Result<(), ApiError> {
    let key = own(&visit.principal, state, id)?;
    keys::revoke(Viewer(visit.principal), state, &key.id).await.map(|_| ())
}

async fn create(visit: Visit, fields: Fields, state: &State<ApiState>, base: &'static str, owners: Vec<(String, String)>) -> Answer {
    let body = document(&fields, base == ALL);
    match keys::make(&visit.principal, state, JsonBody(body)).await {
        Ok(made) => {
            // The one time it is shown; a redirect would have to keep it somewhere.
            let page = list(&visit, state, base, Some((made.view.name, made.key)));
            Ok(Either::Left(Refusal(Status::Ok, Html::of(&page)?)))
        }
        Err(error) => again(error, |errors| Html::of(&form(&visit, base, &fields, owners, errors))),
    }
}

fn list(visit: &Visit, state: &ApiState, base: &'static str, made: Option<(String, String)>) -> KeysPage {
    let t = Text(visit.look.lang);
    let of_all = base == ALL;
    let keys = state.api_keys.list((!of_all).then_some(visit.principal.username.as_str()));
    let row = |key| {
        let view = KeyView::of(state, key);
        Row {
            tone: match view.state {
                "active" => "up",
                "expired" => "down",
                _ => "unknown",
            },
            state: t.known("key_state", view.state),
            role: t.known("role", view.role),
            scopes: view.scopes,
            id: view.id,
            name: view.name,
            owner: view.owner,
            start: view.start,
            expires: key.expires_at.map(Moment::full),
            used: key.used_at.map(Moment::ago),
        }
    };
    let section = if of_all { Section::System } else { Section::None };
    KeysPage {
        frame: Frame::new(visit, section, t.s("key.title")),
        tabs: if of_all { tabs(visit, ALL) } else { Vec::new() },
        base,
        of_all,
        rows: keys.iter().map(row).collect(),
        made,
    }
}

fn owners(state: &ApiState) -> Vec<(String, String)> {
    let may = state.users.list().into_iter().filter(|user| !user.disabled);
    may.map(|user| (user.username.clone(), format!("{} ({})", user.username, user.role.name()))).collect()
}

/// What a new key begins with: it only reads, and not for ever.
fn begun(visit: &Visit) -> Fields {
    let mut fields = Fields::default();
    fields.set("owner", &visit.principal.username);
    fields.set("role", Role::Viewer.name());
    fields.set("scopes", Scope::Read.name());
    fields.set("expires_days", "90");
    fields
}

fn form(visit: &Visit, base: &'static str, fields: &Fields, owners: Vec<(String, String)>, errors: &[FieldError]) -> FormPage {
    let t = Text(visit.look.lang);
    let sheet = Sheet::new(t, fields, errors);
    let of_all = base == ALL;
    let most = if of_all { Role::Admin } else { visit.principal.role };
    let roles = Role::ALL.into_iter().filter(|role| *role <= most);
    let roles = roles.map(|role| (role.name().to_owned(), t.known("role", role.name()).to_owned())).collect();
    let scopes = Scope::ALL.into_iter().filter(|scope| *scope != Scope::Admin || most == Role::Admin);
    let scopes = scopes.map(|scope| (scope.name().to_owned(), format!("{}: {}", scope.name(), t.known("scope", scope.name())))).collect();
    let mut what = vec![sheet.line("name", "key.name").width("half").required().help(t.s("key.name_help"))];
    if of_all {
        what.push(sheet.choice("owner", "key.owner", owners).help(t.s("key.owner_help")));
    }
    what.push(sheet.choice("role", "key.role", roles).help(t.s("key.role_help")));
    what.push(sheet.code("expires_days", "key.expires_days").help(t.s("key.expires_help")));
    what.push(sheet.several("scopes", "key.scopes", scopes).help(t.s("key.scopes_help")));
    FormPage {
        frame: Frame::new(visit, if of_all { Section::System } else { Section::None }, t.s("key.new")),
        back: (base.to_owned(), t.s("key.title").to_owned()),
        action: format!("{base}/new"),
        save: t.s("key.make"),
        intro: String::new(),
        hidden: Vec::new(),
        groups: vec![Group { legend: t.s("key.what"), inputs: what }],
        rest: sheet.rest(),
        any_wrong: !errors.is_empty(),
        also: Vec::new(),
        outcome: None,
    }
}

/// The key a form asks for.
fn document(fields: &Fields, of_any: bool) -> Value {
    let mut made = Map::new();
    made.insert("name".to_owned(), json!(fields.get("name").unwrap_or_default()));
    made.insert("scopes".to_owned(), fields.all("scopes").map(Value::from).collect::<Vec<_>>().into());
    for name in ["role", "owner"].iter().filter(|name| **name != "owner" || of_any) {
        if let Some(text) = fields.text(name) {
            made.insert((*name).to_owned(), json!(text));
        }
    }
    if let Some(days) = fields.text("expires_days") {
        made.insert("expires_days".to_owned(), number(days));
    }
    Value::Object(made)
}
