//! Whoever is logged in: their second factor and keys, where else they are logged in, and how to end that.

use askama::Template;
use rocket::response::Redirect;
use rocket::{State, get, post};

use crate::api::error::ApiError;
use crate::api::state::ApiState;
use crate::store::audit::Change;
use crate::web::frame::{Frame, Section};
use crate::web::html::Html;
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
    fn keys_text(&self) -> String {
        self.frame.t.count("account.key", "account.keys", self.keys as u64)
    }
}

struct Line {
    name: String,
    agent: String,
    address: String,
    since: Moment,
    until: Moment,
    /// The one this page is seen with.
    own: bool,
}

#[get("/account")]
pub fn page(visit: Visit, state: &State<ApiState>) -> Result<Html, ApiError> {
    let own = state.web_sessions.find(&visit.session).map(|session| session.name);
    let sessions = state.web_sessions.list(&visit.principal.username).into_iter().map(|session| Line {
        own: Some(&session.name) == own.as_ref(),
        name: session.name,
        agent: session.agent,
        address: session.address.unwrap_or_default(),
        since: Moment::full(session.created_at),
        until: Moment::full(session.expires_at),
    });
    let user = state.users.get(&visit.principal.username);
    let t = Text(visit.look.lang);
    Html::of(&AccountPage {
        frame: Frame::new(&visit, Section::None, t.s("account.title")),
        name: visit.principal.username.clone(),
        role: t.word("role", visit.principal.role.name()),
        recovery_left: user.and_then(|user| state.second_factors.of(&user)).map(|standing| standing.recovery_left),
        keys: state.api_keys.list(Some(&visit.principal.username)).len(),
        provider: ProviderView::of(state, &visit.principal.username),
        sessions: sessions.collect(),
    })
}

#[post("/account/sessions/<name>/end", data = "<_form>")]
pub async fn end(visit: Visit, _form: OwnForm, state: &State<ApiState>, name: &str) -> Result<Redirect, ApiError> {
    if !state.web_sessions.end_named(&visit.principal.username, name).await? {
        return Err(ApiError::not_found(format!("you have no session {name}")));
    }
    let change = Change {
        who: visit.principal.username.clone(),
        address: visit.principal.address,
        action: "session.end",
        subject: format!("page:{name}"),
        fields: Vec::new(),
    };
    state.audit.record(&change).await?;
    Ok(Redirect::to("/account"))
}
