//! Whoever is logged in: their password, second factor and keys, where else they are logged in, and how to end that.

use askama::Template;
use rocket::http::{CookieJar, Status};
use rocket::response::Redirect;
use rocket::{Either, State, get, post};

use crate::api::error::ApiError;
use crate::api::login::Door;
use crate::api::state::ApiState;
use crate::api::throttle::Throttle;
use crate::store::audit::Change;
use crate::store::users::fits_password;
use crate::store::web_sessions::WebSession;
use crate::web::agent;
use crate::web::alerts::Answer;
use crate::web::frame::{Frame, Section};
use crate::web::html::Html;
use crate::web::login::{Asker, Refusal, let_in};
use crate::web::moment::Moment;
use crate::web::text::Text;
use crate::web::visit::{OwnForm, Visit};

#[derive(Template)]
#[template(path = "account.html")]
struct AccountPage {
    frame: Frame,
    name: String,
    role: &'static str,
    /// How many recovery codes are left, where a second factor is on.
    recovery_left: Option<usize>,
    keys: usize,
    /// How the user logs in by an identity provider, where there is one or they are linked.
    provider: Option<ProviderView>,
    sessions: Vec<Line>,
    password: PasswordView,
}

/// The part for a new password.
#[derive(Default)]
struct PasswordView {
    /// Whether there is one: who comes by an identity provider alone has none.
    has: bool,
    done: bool,
    /// What is wrong with the present one, the new one, and its repetition.
    present: Option<String>,
    new: Option<String>,
    again: Option<String>,
}

impl PasswordView {
    fn wrong(&self) -> bool {
        self.present.is_some() || self.new.is_some() || self.again.is_some()
    }
}

struct ProviderView {
    name: String,
    /// Who they are there.
    linked: Option<String>,
    may_link: bool,
    may_unlink: bool,
}

impl ProviderView {
    fn of(state: &ApiState, username: &str) -> Option<ProviderView> {
        let linked = state.users.identity(username).map(|linked| linked.identity);
        let name = state.oidc.as_ref().map(|oidc| oidc.settings.name.clone());
        Some(ProviderView {
            may_link: state.oidc.is_some(),
            may_unlink: state.users.has_password(username),
            name: name.or_else(|| linked.as_ref().map(|identity| identity.issuer.clone()))?,
            linked: linked.map(|identity| identity.subject),
        })
    }
}

impl AccountPage {
    fn has_others(&self) -> bool {
        self.sessions.iter().any(|session| !session.own)
    }

    fn keys_text(&self) -> String {
        self.frame.t.count("account.key", "account.keys", self.keys as u64)
    }
}

struct Line {
    name: String,
    agent: String,
    /// What it says of itself.
    said: String,
    address: String,
    since: Moment,
    until: Moment,
    /// The one this page is seen with.
    own: bool,
}

#[get("/account?<password>")]
pub fn page(visit: Visit, state: &State<ApiState>, password: Option<&str>) -> Result<Html, ApiError> {
    shown(&visit, state, PasswordView { done: password == Some("set"), ..PasswordView::default() })
}

/// A new password for whoever knows the present one. All other sessions and tokens end; this browser goes on.
#[post("/account/password", data = "<sent>")]
pub async fn set_password(
    visit: Visit,
    asker: Asker,
    sent: OwnForm,
    cookies: &CookieJar<'_>,
    state: &State<ApiState>,
    throttle: &State<Throttle>,
) -> Answer {
    let t = Text(visit.look.lang);
    let username = &visit.principal.username;
    let field = |name: &str| sent.0.get(name).unwrap_or_default();
    if !state.users.has_password(username) {
        return Err(ApiError::new(Status::Conflict, t.s("password.none")));
    }
    let refused = |status, wrong| Ok(Either::Left(Refusal(status, shown(&visit, state, wrong)?)));
    let (present, new) = (field("present"), field("new"));
    let wrong = PasswordView {
        present: present.is_empty().then(|| t.s("password.present_wanted").to_owned()),
        new: match () {
            () if !fits_password(new) => Some(t.s("user.password_help").to_owned()),
            () if new == present => Some(t.s("password.same").to_owned()),
            () => None,
        },
        again: (new != field("again")).then(|| t.s("password.differ").to_owned()),
        ..PasswordView::default()
    };
    if wrong.wrong() {
        return refused(Status::UnprocessableEntity, wrong);
    }
    let door = Door { state, throttle, address: visit.principal.address, subject: "password" };
    if let Err(error) = door.again(username, present).await {
        let told = match error.status().code {
            422 => t.s("password.wrong"),
            429 => t.s("login.too_many"),
            _ => return Err(error),
        };
        return refused(error.status(), PasswordView { present: Some(told.to_owned()), ..PasswordView::default() });
    }
    let user = state.users.set_password(username, new, &visit.principal.author()).await?;
    let_in(&asker, state, cookies, &user, visit.principal.address).await?;
    Ok(Either::Right(Redirect::to("/account?password=set")))
}

fn shown(visit: &Visit, state: &ApiState, password: PasswordView) -> Result<Html, ApiError> {
    let own = state.web_sessions.find(&visit.session).map(|session| session.name);
    let sessions = live(state, &visit.principal.username).into_iter().map(|session| Line {
        own: Some(&session.name) == own.as_ref(),
        name: session.name,
        agent: agent::name(&session.agent),
        said: session.agent,
        address: session.address.unwrap_or_default(),
        since: Moment::full(session.created_at),
        until: Moment::full(session.expires_at),
    });
    let user = state.users.get(&visit.principal.username);
    let t = Text(visit.look.lang);
    Html::of(&AccountPage {
        frame: Frame::new(visit, Section::None, t.s("account.title")),
        name: visit.principal.username.clone(),
        role: t.word("role", visit.principal.role.name()),
        recovery_left: user.and_then(|user| state.second_factors.of(&user)).map(|standing| standing.recovery_left),
        keys: state.api_keys.list(Some(&visit.principal.username)).len(),
        provider: ProviderView::of(state, &visit.principal.username),
        sessions: sessions.collect(),
        password: PasswordView { has: state.users.has_password(&visit.principal.username), ..password },
    })
}

#[post("/account/sessions/<name>/end", data = "<_form>")]
pub async fn end(visit: Visit, _form: OwnForm, state: &State<ApiState>, name: &str) -> Result<Redirect, ApiError> {
    if !state.web_sessions.end_named(&visit.principal.username, name).await? {
        return Err(ApiError::not_found(format!("you have no session {name}")));
    }
    state.audit.record(&ended(&visit, name)).await?;
    Ok(Redirect::to("/account"))
}

/// Every session of one's own but the one this is asked with.
#[post("/account/sessions/end", data = "<_form>")]
pub async fn end_others(visit: Visit, _form: OwnForm, state: &State<ApiState>) -> Result<Redirect, ApiError> {
    let username = &visit.principal.username;
    let own = state.web_sessions.find(&visit.session).map(|session| session.name);
    for other in live(state, username).into_iter().filter(|session| Some(&session.name) != own.as_ref()) {
        if state.web_sessions.end_named(username, &other.name).await? {
            state.audit.record(&ended(&visit, &other.name)).await?;
        }
    }
    Ok(Redirect::to("/account"))
}

fn live(state: &ApiState, username: &str) -> Vec<WebSession> {
    state.users.get(username).map(|user| state.web_sessions.live(&user)).unwrap_or_default()
}

fn ended(visit: &Visit, name: &str) -> Change {
    Change {
        who: visit.principal.username.clone(),
        address: visit.principal.address,
        action: "session.end",
        subject: format!("page:{name}"),
        fields: Vec::new(),
    }
}
