//! The log-in by an identity provider: away to it, back from it, and linking a user who is there already with who they are at it.
//!
//! Linking asks once more, by a form of ours, when the provider has said who it is: else another site could have somebody's user
//! linked with its own maker. All ways to the provider are plain links, for no form of these pages may lead to another host.
//!
//! **Invariant.** A name is never taken over: whoever comes by the provider is the user they are linked with, or a new one.

use rocket::http::{Cookie, CookieJar, SameSite, Status};
use rocket::response::Redirect;
use rocket::time::Duration;
use rocket::{Either, State, get, post};

use crate::api::auth::Anyone;
use crate::api::error::ApiError;
use crate::api::login::{Door, Step, ticket};
use crate::api::query::Query;
use crate::api::state::ApiState;
use crate::api::throttle::Throttle;
use crate::oidc::admission::{Admitted, Refused};
use crate::oidc::flow::{Flow, WITHIN};
use crate::oidc::provider::{ProviderError, shortened};
use crate::oidc::{Oidc, Word};
use crate::store::api_keys::KeysError;
use crate::store::services::Author;
use crate::store::users::{Role, User, UsersError};
use crate::web::frame::{Frame, Section};
use crate::web::html::Html;
use crate::web::issues::form::FormPage;
use crate::web::login::{Asked, Asker, Refusal, form, let_in};
use crate::web::look::inside;
use crate::web::text::Text;
use crate::web::visit::{OwnForm, Visit};

/// What the browser keeps until it is back.
const COOKIE: &str = "probemesh_oidc";
const PATH: &str = "/login/oidc";
/// Below the address of the hub: what is registered at the provider.
const BACK: &str = "/login/oidc/callback";

/// Why nobody came in.
enum Trouble {
    /// The answer is to nothing this browser asked a moment ago.
    Stale,
    TooMany,
    Provider(ProviderError),
    NoRole,
    Mail,
    NoUser,
    Taken(String),
    BadName(String),
    Disabled,
    LastAdmin,
    Other(ApiError),
}

/// To the provider, and to `next` afterwards.
#[get("/login/oidc?<next>")]
pub async fn begin(
    _anyone: Anyone,
    asker: Asker,
    cookies: &CookieJar<'_>,
    state: &State<ApiState>,
    next: Option<&str>,
) -> Result<Either<Redirect, Refusal>, ApiError> {
    let oidc = provider(state)?;
    let next = inside(next);
    if asker.visitor.is_some() {
        return Ok(Either::Left(Redirect::to(next)));
    }
    match away(oidc, &asker, cookies, &next, None).await {
        Ok(to) => Ok(Either::Left(to)),
        Err(trouble) => refusal(trouble, oidc, &asker, state, cookies, next).map(Either::Right),
    }
}

/// Back from the provider.
#[get("/login/oidc/callback")]
pub async fn back(
    anyone: Anyone,
    asker: Asker,
    visit: Option<Visit>,
    cookies: &CookieJar<'_>,
    query: Query,
    state: &State<ApiState>,
    throttle: &State<Throttle>,
) -> Result<Either<Redirect, Refusal>, ApiError> {
    let oidc = provider(state)?;
    let door = Door { state, throttle, address: anyone.address, subject: "oidc" };
    let flow = cookies.get(COOKIE).and_then(|cookie| oidc.flow(cookie.value()));
    cookies.remove(Cookie::build(COOKIE).path(PATH));
    let next = flow.as_ref().map_or_else(|| "/".to_owned(), |flow| flow.next.clone());
    // Somebody who is in already, and still the one who asked to be linked.
    let linking = flow.as_ref().and_then(|flow| flow.user.clone());
    let visit = visit.filter(|visit| linking.as_ref() == Some(&visit.principal.username));
    let mut user = None;
    let outcome = async {
        door.knock().map_err(|_| Trouble::TooMany)?;
        if linking.is_some() && visit.is_none() {
            return Err(Trouble::Stale);
        }
        let word = word(oidc, flow.as_ref(), &query).await?;
        user = state.users.of_identity(&word.identity);
        if let Some(visit) = &visit {
            let admitted = admitted(state, oidc, &word, user.as_ref(), &door).await?;
            let page = Html::of(&ask_to_link(visit, oidc, &word, &admitted))?;
            return Ok(Either::Right(Refusal(Status::Ok, page)));
        }
        let found = entering(state, oidc, &word, user.as_ref(), &door).await?;
        Ok::<Either<Redirect, Refusal>, Trouble>(match door.vouched(found, oidc.settings.second_factor).await? {
            Step::In(found) => {
                let_in(&asker, state, cookies, &found, anyone.address).await?;
                Either::Left(Redirect::to(next.clone()))
            }
            Step::Code(found) => {
                let asked = Asked { ticket: Some(ticket(state, &found)), username: found.username, problem: None };
                Either::Right(Refusal(Status::Ok, form(&asker, state, cookies, next.clone(), asked)?))
            }
        })
    };
    let trouble = match outcome.await {
        Ok(answer) => return Ok(answer),
        Err(trouble) => trouble,
    };
    if let Some(why) = trouble.why() {
        door.turned_away(user.as_ref(), &why).await?;
    }
    match visit {
        Some(_) => Err(ApiError::new(trouble.status(), trouble.words(Text(asker.look.lang), &oidc.settings.name))),
        None => refusal(trouble, oidc, &asker, state, cookies, next).map(Either::Right),
    }
}

/// To the provider, to be linked with who one is there.
#[get("/account/oidc")]
pub async fn begin_link(visit: Visit, asker: Asker, cookies: &CookieJar<'_>, state: &State<ApiState>) -> Result<Redirect, ApiError> {
    let oidc = provider(state)?;
    let t = Text(asker.look.lang);
    let to = away(oidc, &asker, cookies, "/account", Some(visit.principal.username)).await;
    to.map_err(|trouble| ApiError::new(trouble.status(), trouble.words(t, &oidc.settings.name)))
}

/// Yes, that is me.
#[post("/account/oidc", data = "<sent>")]
pub async fn link(visit: Visit, sent: OwnForm, state: &State<ApiState>) -> Result<Redirect, ApiError> {
    let oidc = provider(state)?;
    let username = &visit.principal.username;
    let identity = oidc.unseal(sent.0.get("identity").unwrap_or_default(), username);
    let stale = || ApiError::new(Status::Forbidden, Text(visit.look.lang).s("oidc.stale"));
    state.users.link(username, &identity.ok_or_else(stale)?, &visit.principal.author()).await?;
    Ok(Redirect::to("/account"))
}

#[post("/account/oidc/unlink", data = "<_sent>")]
pub async fn unlink(visit: Visit, _sent: OwnForm, state: &State<ApiState>) -> Result<Redirect, ApiError> {
    state.users.unlink(&visit.principal.username, false, &visit.principal.author()).await?;
    Ok(Redirect::to("/account"))
}

fn provider(state: &ApiState) -> Result<&Oidc, ApiError> {
    state.oidc.as_deref().ok_or_else(|| ApiError::not_found("this hub knows no identity provider; see [oidc] in Rocket.toml"))
}

async fn away(oidc: &Oidc, asker: &Asker, cookies: &CookieJar<'_>, next: &str, user: Option<String>) -> Result<Redirect, Trouble> {
    if asker.origin.is_empty() {
        return Err(Trouble::Other(ApiError::bad_request("the request names no host, and api.public_url is not set")));
    }
    let begun = oidc.begin(next, format!("{}{BACK}", asker.origin), user).await.map_err(|error| {
        tracing::warn!("nobody can be sent to the identity provider: {error}");
        Trouble::Provider(error)
    })?;
    // The way back begins on another site, which a stricter cookie would not survive.
    let mut cookie = Cookie::new(COOKIE, begun.sealed);
    cookie.set_path(PATH);
    cookie.set_http_only(true);
    cookie.set_same_site(SameSite::Lax);
    cookie.set_secure(asker.secure);
    cookie.set_max_age(Duration::seconds(WITHIN.as_secs() as i64));
    cookies.add(cookie);
    Ok(Redirect::to(begun.to.to_string()))
}

/// What the provider says of whoever came back, if they went from this browser.
async fn word(oidc: &Oidc, flow: Option<&Flow>, query: &Query) -> Result<Word, Trouble> {
    let flow = flow.filter(|flow| query.text("state") == Some(flow.state.as_str())).ok_or(Trouble::Stale)?;
    if let Some(error) = query.text("error") {
        let described = query.text("error_description").map_or_else(String::new, |words| format!(" ({})", shortened(words)));
        return Err(Trouble::Provider(ProviderError::Refused(format!("{}{described}", shortened(error)))));
    }
    let code = query.text("code").ok_or(Trouble::Stale)?;
    oidc.finish(flow, code, query.text("iss")).await.map_err(Trouble::Provider)
}

/// The user somebody is, with the role they have now; who is none yet becomes one.
async fn entering(state: &ApiState, oidc: &Oidc, word: &Word, user: Option<&User>, door: &Door<'_>) -> Result<User, Trouble> {
    if user.is_some_and(|user| user.disabled) {
        return Err(Trouble::Disabled);
    }
    let Admitted { username, role } = admitted(state, oidc, word, user, door).await?;
    let author = author(door);
    let outcome = match user {
        Some(user) => state.users.set_role(&user.username, role, &author).await,
        None if !oidc.settings.create_users => return Err(Trouble::NoUser),
        None => state.users.create_linked(&username, role, &word.identity, &author).await,
    };
    outcome.map_err(|error| match error {
        UsersError::LastAdmin { .. } => Trouble::LastAdmin,
        UsersError::Taken { username } => Trouble::Taken(username),
        UsersError::BadName => Trouble::BadName(username),
        error => Trouble::Other(error.into()),
    })
}

/// As what somebody comes in. Whom the provider gives nothing any more loses here what it gave before.
async fn admitted(state: &ApiState, oidc: &Oidc, word: &Word, user: Option<&User>, door: &Door<'_>) -> Result<Admitted, Trouble> {
    let refused = match oidc.admit(word) {
        Ok(admitted) => return Ok(admitted),
        Err(refused) => refused,
    };
    if let Some(user) = user {
        let author = author(door);
        let left = state.users.take_access(&user.username, &author).await.map_err(|error| Trouble::Other(error.into()))?;
        // The last admin keeps what is needed to mend it.
        if left.role != Role::Admin {
            for key in state.api_keys.list(Some(&user.username)) {
                match state.api_keys.revoke(&key.id, &author).await {
                    // Somebody else was faster.
                    Ok(()) | Err(KeysError::Unknown { .. }) => {}
                    Err(error) => return Err(Trouble::Other(error.into())),
                }
            }
        }
    }
    Err(refused.into())
}

fn author(door: &Door<'_>) -> Author {
    Author { who: "identity provider".to_owned(), address: door.address }
}

fn ask_to_link(visit: &Visit, oidc: &Oidc, word: &Word, admitted: &Admitted) -> FormPage {
    let t = Text(visit.look.lang);
    let user = &visit.principal.username;
    let name = oidc.settings.name.as_str();
    let role = t.known("role", admitted.role.name());
    FormPage {
        frame: Frame::new(visit, Section::None, t.one("oidc.link", name)),
        back: ("/account".to_owned(), t.s("account.title").to_owned()),
        action: "/account/oidc".to_owned(),
        save: t.s("oidc.link_do"),
        intro: t.with("oidc.link_text", &[("name", name), ("who", &admitted.username), ("user", user), ("role", role)]),
        hidden: vec![("identity", oidc.seal(&word.identity, user))],
        groups: Vec::new(),
        rest: Vec::new(),
        any_wrong: false,
        also: Vec::new(),
        outcome: None,
    }
}

/// The page of the log-in with what went wrong.
fn refusal(
    trouble: Trouble,
    oidc: &Oidc,
    asker: &Asker,
    state: &ApiState,
    cookies: &CookieJar<'_>,
    next: String,
) -> Result<Refusal, ApiError> {
    let problem = match &trouble {
        Trouble::Other(error) => return Err(error.clone()),
        trouble => trouble.words(Text(asker.look.lang), &oidc.settings.name),
    };
    let asked = Asked { problem: Some(problem), ..Asked::default() };
    Ok(Refusal(trouble.status(), form(asker, state, cookies, next, asked)?))
}

impl From<ApiError> for Trouble {
    fn from(error: ApiError) -> Trouble {
        Trouble::Other(error)
    }
}

impl From<Refused> for Trouble {
    fn from(refused: Refused) -> Trouble {
        match refused {
            Refused::NoRole => Trouble::NoRole,
            Refused::Mail => Trouble::Mail,
        }
    }
}

impl Trouble {
    fn status(&self) -> Status {
        match self {
            Trouble::TooMany => Status::TooManyRequests,
            Trouble::Provider(ProviderError::Away(_)) => Status::ServiceUnavailable,
            Trouble::Provider(ProviderError::Untrusted(_)) => Status::BadGateway,
            Trouble::Other(error) => error.status(),
            _ => Status::Forbidden,
        }
    }

    /// For people.
    fn words(&self, t: Text, provider: &str) -> String {
        match self {
            Trouble::Stale => t.s("oidc.stale").to_owned(),
            Trouble::TooMany => t.s("login.too_many").to_owned(),
            Trouble::Provider(ProviderError::Away(_)) => t.one("oidc.away", provider),
            Trouble::Provider(ProviderError::Untrusted(_)) => t.one("oidc.untrusted", provider),
            Trouble::Provider(ProviderError::Refused(why)) => t.with("oidc.refused", &[("name", provider), ("why", why)]),
            Trouble::NoRole => t.one("oidc.no_role", provider),
            Trouble::Mail => t.s("oidc.mail").to_owned(),
            Trouble::NoUser => t.one("oidc.no_user", provider),
            Trouble::Taken(user) => t.with("oidc.taken", &[("name", provider), ("user", user)]),
            Trouble::BadName(name) => t.with("oidc.bad_name", &[("name", provider), ("user", name)]),
            Trouble::Disabled => t.s("oidc.disabled").to_owned(),
            Trouble::LastAdmin => t.s("oidc.last_admin").to_owned(),
            Trouble::Other(error) => error.detail().to_owned(),
        }
    }

    /// For the log; `None`: nobody was turned away by it.
    fn why(&self) -> Option<String> {
        let why = match self {
            Trouble::TooMany | Trouble::Other(_) => return None,
            Trouble::Provider(error) => return Some(error.to_string()),
            Trouble::Stale => "it is the answer to nothing this browser asked",
            Trouble::NoRole => "no value of the claim gives a role",
            Trouble::Mail => "the mail address is of no domain that may come in, or not verified",
            Trouble::NoUser => "no user is linked with them, and none is made",
            Trouble::Taken(user) => return Some(format!("there is a user {user:?} already, who is not linked with them")),
            Trouble::BadName(name) => return Some(format!("no user can be called {name:?}")),
            Trouble::Disabled => "the user is disabled",
            Trouble::LastAdmin => "the role would be less, and the user is the last admin",
        };
        Some(why.to_owned())
    }
}
