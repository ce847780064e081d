//! Log-in, with a code as a second step where one is wanted, and log-out.
//!
//! The form of the log-in carries a token of its own, held against a cookie only this page sets: another site can make no one
//! log in as somebody else.

use std::net::IpAddr;

use askama::Template;
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use rocket::data::Data;
use rocket::http::{Cookie, CookieJar, SameSite, Status};
use rocket::request::Request;
use rocket::response::{self, Redirect, Responder};
use rocket::time::OffsetDateTime;
use rocket::{Either, State, get, post};
use url::form_urlencoded::byte_serialize;

use crate::api::auth::{Anyone, SESSION_COOKIE, Visitor, visitor};
use crate::api::error::ApiError;
use crate::api::login::{Door, Step, ticket, user_of_ticket};
use crate::api::query::{is_secure, origin};
use crate::api::state::ApiState;
use crate::api::throttle::Throttle;
use crate::store::audit::Change;
use crate::store::secrets::random;
use crate::store::users::User;
use crate::store::web_sessions::form_token;
use crate::web::frame::Frame;
use crate::web::html::Html;
use crate::web::look::{Look, inside};
use crate::web::text::Text;
use crate::web::visit::{Fields, OwnForm, TOKEN_FIELD, Visit, read_fields};

const LOGIN_COOKIE: &str = "probemesh_login";

#[derive(Template)]
#[template(path = "login.html")]
struct LoginPage {
    frame: Frame,
    token: String,
    next: String,
    username: String,
    /// Says that the password was right: a code is asked for.
    ticket: Option<String>,
    problem: Option<String>,
    /// The words of the button that leads to the identity provider, and its address.
    provider: Option<(String, String)>,
}

/// What a handler needs of the request itself.
pub struct Asker {
    pub look: Look,
    /// Whether the browser reaches the hub by TLS.
    pub secure: bool,
    /// Scheme and host by which it does; empty where it did not say.
    pub origin: String,
    pub visitor: Option<Visitor>,
    agent: String,
}

#[rocket::async_trait]
impl<'r> rocket::request::FromRequest<'r> for Asker {
    type Error = std::convert::Infallible;

    async fn from_request(request: &'r Request<'_>) -> rocket::request::Outcome<Asker, std::convert::Infallible> {
        rocket::request::Outcome::Success(Asker {
            look: Look::of(request),
            secure: is_secure(request),
            origin: origin(request),
            visitor: visitor(request),
            agent: request.headers().get_one("User-Agent").unwrap_or_default().to_owned(),
        })
    }
}

#[get("/login?<next>&<ended>")]
pub fn page(
    asker: Asker,
    cookies: &CookieJar<'_>,
    state: &State<ApiState>,
    next: Option<&str>,
    ended: Option<&str>,
) -> Result<Either<Html, Redirect>, ApiError> {
    let next = inside(next);
    match asker.visitor {
        Some(_) => Ok(Either::Right(Redirect::to(next))),
        None => {
            let problem = ended.map(|_| Text(asker.look.lang).s("login.ended").to_owned());
            form(&asker, state, cookies, next, Asked { problem, ..Asked::default() }).map(Either::Left)
        }
    }
}

/// The form of someone who is not logged in, read whole; who may send it is for the handler to say.
pub struct OpenForm(pub Fields);

#[rocket::async_trait]
impl<'r> rocket::data::FromData<'r> for OpenForm {
    type Error = ApiError;

    async fn from_data(request: &'r Request<'_>, data: Data<'r>) -> rocket::data::Outcome<'r, OpenForm> {
        match read_fields(request, data).await {
            Ok(fields) => rocket::data::Outcome::Success(OpenForm(fields)),
            Err(error) => {
                error.clone().leave(request);
                rocket::data::Outcome::Error((error.status(), error))
            }
        }
    }
}

/// A page with the status of what went wrong.
pub struct Refusal(pub Status, pub Html);

impl<'r> Responder<'r, 'static> for Refusal {
    fn respond_to(self, request: &'r Request<'_>) -> response::Result<'static> {
        let mut response = self.1.respond_to(request)?;
        response.set_status(self.0);
        Ok(response)
    }
}

#[post("/login", data = "<login>")]
pub async fn enter(
    anyone: Anyone,
    asker: Asker,
    cookies: &CookieJar<'_>,
    state: &State<ApiState>,
    throttle: &State<Throttle>,
    login: OpenForm,
) -> Result<Either<Redirect, Refusal>, ApiError> {
    let fields = login.0;
    let t = Text(asker.look.lang);
    let next = inside(fields.get("next"));
    let username = fields.text("username").unwrap_or_default().to_owned();
    let wanted = cookies.get(LOGIN_COOKIE).map(|cookie| form_token(cookie.value()));
    if wanted.is_none() || fields.get(TOKEN_FIELD) != wanted.as_deref() {
        let asked = Asked { username, problem: Some(t.s("login.stale").to_owned()), ..Asked::default() };
        return Ok(Either::Right(Refusal(Status::Forbidden, form(&asker, state, cookies, next, asked)?)));
    }
    let door = Door { state, throttle, address: anyone.address, subject: "page" };
    let given = fields.text("ticket").map(|ticket| user_of_ticket(state, ticket));
    let step = match &given {
        None => door.password(&username, fields.get("password").unwrap_or_default()).await,
        Some(Some(user)) => door.code(user.clone(), fields.get("code").unwrap_or_default()).await.map(Step::In),
        Some(None) => {
            let asked = Asked { username, problem: Some(t.s("login.late").to_owned()), ..Asked::default() };
            return Ok(Either::Right(Refusal(Status::Unauthorized, form(&asker, state, cookies, next, asked)?)));
        }
    };
    match step {
        Ok(Step::In(user)) => {
            let_in(&asker, state, cookies, &user, anyone.address).await?;
            Ok(Either::Left(Redirect::to(next)))
        }
        Ok(Step::Code(user)) => {
            let asked = Asked { ticket: Some(ticket(state, &user)), username: user.username, problem: None };
            Ok(Either::Right(Refusal(Status::Ok, form(&asker, state, cookies, next, asked)?)))
        }
        Err(error) => {
            let problem = match (error.status().code, &given) {
                (401, None) => t.s("login.wrong"),
                (401, Some(_)) => t.s("login.wrong_code"),
                (429, _) => t.s("login.too_many"),
                _ => return Err(error),
            };
            let ticket = given.flatten().map(|user| ticket(state, &user));
            let asked = Asked { username, ticket, problem: Some(problem.to_owned()) };
            Ok(Either::Right(Refusal(error.status(), form(&asker, state, cookies, next, asked)?)))
        }
    }
}

#[post("/logout", data = "<_form>")]
pub async fn leave(visit: Visit, _form: OwnForm, cookies: &CookieJar<'_>, state: &State<ApiState>) -> Result<Redirect, ApiError> {
    state.web_sessions.end(&visit.session).await?;
    let change = Change {
        who: visit.principal.username.clone(),
        address: visit.principal.address,
        action: "session.end",
        subject: "page".to_owned(),
        fields: Vec::new(),
    };
    state.audit.record(&change).await?;
    cookies.remove(Cookie::build(SESSION_COOKIE).path("/"));
    Ok(Redirect::to("/login"))
}

/// Begins a session in this browser.
pub async fn let_in(
    asker: &Asker,
    state: &ApiState,
    cookies: &CookieJar<'_>,
    user: &User,
    address: Option<IpAddr>,
) -> Result<(), ApiError> {
    let token = state.web_sessions.begin(user, address, &asker.agent).await?;
    let ends = state.clock.now().plus(state.settings.refresh_lifetime).0.div_euclid(1_000_000);
    let mut cookie = Cookie::new(SESSION_COOKIE, token);
    cookie.set_path("/");
    cookie.set_http_only(true);
    cookie.set_same_site(SameSite::Lax);
    cookie.set_secure(asker.secure);
    cookie.set_expires(OffsetDateTime::from_unix_timestamp(ends).ok());
    cookies.add(cookie);
    cookies.remove(Cookie::build(LOGIN_COOKIE).path("/login"));
    Ok(())
}

/// What the form asks for next, and what was wrong before.
#[derive(Default)]
pub struct Asked {
    pub username: String,
    pub ticket: Option<String>,
    pub problem: Option<String>,
}

/// The page with its form.
pub fn form(asker: &Asker, state: &ApiState, cookies: &CookieJar<'_>, next: String, asked: Asked) -> Result<Html, ApiError> {
    let held = cookies.get(LOGIN_COOKIE).map(|cookie| cookie.value().to_owned()).filter(|held| held.len() >= 20);
    let held = held.unwrap_or_else(|| {
        let made = BASE64_URL_SAFE_NO_PAD.encode(random::<24>());
        let mut cookie = Cookie::new(LOGIN_COOKIE, made.clone());
        cookie.set_path("/login");
        cookie.set_http_only(true);
        cookie.set_same_site(SameSite::Strict);
        cookie.set_secure(asker.secure);
        cookies.add(cookie);
        made
    });
    let t = Text(asker.look.lang);
    let frame = Frame::without_user(asker.look, t.s("login.title"), "/login".to_owned());
    let Asked { username, ticket, problem } = asked;
    let provider = state.oidc.as_ref().map(|oidc| {
        let way = format!("/login/oidc?next={}", byte_serialize(next.as_bytes()).collect::<String>());
        (t.one("oidc.button", &oidc.settings.name), way)
    });
    Html::of(&LoginPage { frame, token: form_token(&held), next, username, ticket, problem, provider })
}
