//! Subscribing: the form, the same for programs, and the pages that links in messages lead to.
//!
//! Nobody is logged in here. The form carries a token that is held against a cookie only this page sets, as the log-in does; a link
//! in a message is its own token. Looking at such a link shows a button and does nothing: programs that look through mail follow
//! every link.
//!
//! **Invariant.** Whoever asks is told the same whether an address is known or not.

use askama::Template;
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use rocket::http::{Cookie, CookieJar, SameSite, Status};
use rocket::request::{FromRequest, Outcome, Request};
use rocket::serde::json::Json;
use rocket::{State, get, post};
use serde_json::{Map, Value, json};

use crate::api::auth::{Anyone, managed};
use crate::api::body::JsonBody;
use crate::api::error::{ApiError, FieldError};
use crate::api::state::ApiState;
use crate::api::throttle::Throttle;
use crate::config::mistake::Mistake;
use crate::model::id::ServiceId;
use crate::model::subscriber::SubscriberKind;
use crate::store::secrets::random;
use crate::store::web_sessions::form_token;
use crate::subscribers::desk::{Asked, Wish};
use crate::web::frame::Frame;
use crate::web::html::Html;
use crate::web::login::{Asker, OpenForm, Refusal};
use crate::web::look::Look;
use crate::web::status::title;
use crate::web::text::{Lang, Text};
use crate::web::visit::{Fields, TOKEN_FIELD};

const COOKIE: &str = "probemesh_subscribe";
const PATH: &str = "/status/subscribe";

#[derive(Template)]
#[template(path = "status_subscribe.html")]
struct SubscribePage {
    frame: Frame,
    has_logo: bool,
    has_accent: bool,
    token: String,
    /// Whether mails are sent.
    mail: bool,
    services: Vec<(u32, String, bool)>,
    kind: SubscriberKind,
    email: String,
    url: String,
    wrong: Vec<FieldError>,
}

impl SubscribePage {
    fn wrong(&self, field: &str) -> Option<&str> {
        self.wrong.iter().find(|error| error.field == field).map(|error| error.message.as_str())
    }

    /// What is wrong and belongs to no field.
    fn rest(&self) -> Vec<&str> {
        let known = ["email", "url", "services"];
        self.wrong.iter().filter(|error| !known.contains(&error.field.as_str())).map(|error| error.message.as_str()).collect()
    }

    fn is_webhook(&self) -> bool {
        !self.mail || self.kind == SubscriberKind::Webhook
    }
}

/// A sentence, and perhaps a button.
#[derive(Template)]
#[template(path = "status_link.html")]
struct LinkPage {
    frame: Frame,
    has_logo: bool,
    has_accent: bool,
    heading: &'static str,
    text: String,
    /// Of a webhook, told this once.
    secret: Option<String>,
    /// Where the button sends to, and what it says.
    button: Option<(String, &'static str)>,
}

/// A request whose body says that it is JSON: a page of another site cannot send one unasked.
pub struct SaysJson;

#[rocket::async_trait]
impl<'r> FromRequest<'r> for SaysJson {
    type Error = ApiError;

    async fn from_request(request: &'r Request<'_>) -> Outcome<SaysJson, ApiError> {
        match request.content_type().is_some_and(|kind| kind.is_json()) {
            true => Outcome::Success(SaysJson),
            false => ApiError::new(Status::UnsupportedMediaType, "the body must be application/json").outcome(request),
        }
    }
}

/// Whoever may ask once more, by the network they ask from.
pub struct MaySubscribe;

#[rocket::async_trait]
impl<'r> FromRequest<'r> for MaySubscribe {
    type Error = ApiError;

    async fn from_request(request: &'r Request<'_>) -> Outcome<MaySubscribe, ApiError> {
        match managed::<Throttle>(request).subscription(request.client_ip()) {
            Ok(()) => Outcome::Success(MaySubscribe),
            Err(wait) => ApiError::too_many("too many subscriptions were asked for from this address", wait).outcome(request),
        }
    }
}

#[get("/status/subscribe")]
pub fn page(_anyone: Anyone, asker: Asker, cookies: &CookieJar<'_>, state: &State<ApiState>) -> Result<Html, ApiError> {
    let fields = Fields::default();
    form(&asker, cookies, state, &fields, Vec::new())
}

#[post("/status/subscribe", data = "<sent>")]
pub async fn enter(
    _anyone: Anyone,
    _may: MaySubscribe,
    asker: Asker,
    cookies: &CookieJar<'_>,
    state: &State<ApiState>,
    sent: OpenForm,
) -> Result<Refusal, ApiError> {
    let fields = sent.0;
    let t = Text(asker.look.lang);
    let wanted = cookies.get(COOKIE).map(|cookie| form_token(cookie.value()));
    if wanted.is_none() || fields.get(TOKEN_FIELD) != wanted.as_deref() {
        let wrong = vec![FieldError { field: String::new(), message: t.s("login.stale").to_owned() }];
        return Ok(Refusal(Status::Forbidden, form(&asker, cookies, state, &fields, wrong)?));
    }
    let kind = kind_of(&fields);
    let reach = match kind {
        SubscriberKind::Mail => fields.get("email"),
        SubscriberKind::Webhook => fields.get("url"),
    };
    let services = fields.all("services").map(str::to_owned).collect();
    let wish = Wish { kind, reach: reach.unwrap_or_default().to_owned(), services, lang: asker.look.lang.name().to_owned() };
    match state.subscriptions.ask(wish).await.map_err(ApiError::from) {
        Ok(Asked { kind, secret }) => {
            let (heading, text) = match kind {
                SubscriberKind::Mail => ("subscribe.asked_mail", "subscribe.asked_mail_text"),
                SubscriberKind::Webhook => ("subscribe.asked_webhook", "subscribe.asked_webhook_text"),
            };
            link_page(asker.look, state, t.s(heading), t.s(text).to_owned(), secret, None).map(|page| Refusal(Status::Ok, page))
        }
        Err(error) if error.status() == Status::UnprocessableEntity => {
            let wrong = error.errors().to_vec();
            Ok(Refusal(error.status(), form(&asker, cookies, state, &fields, wrong)?))
        }
        Err(error) => Err(error),
    }
}

/// The same for programs: `{"email": …}` or `{"url": …}`, and `services` if not all.
#[post("/status/subscriptions", data = "<body>")]
pub async fn as_json(
    _anyone: Anyone,
    _may: MaySubscribe,
    _json: SaysJson,
    look: Look,
    state: &State<ApiState>,
    body: JsonBody,
) -> Result<(Status, Json<Value>), ApiError> {
    let asked = state.subscriptions.ask(wish_of(&body.0, look)?).await?;
    let mut told = json!({"state": "pending", "kind": asked.kind.name()});
    if let Some(secret) = asked.secret {
        told["secret"] = secret.into();
    }
    Ok((Status::Accepted, Json(told)))
}

#[get("/status/confirm/<token>")]
pub fn ask_confirm(_anyone: Anyone, look: Look, state: &State<ApiState>, token: &str) -> Result<Refusal, ApiError> {
    let t = Text(look.lang);
    if state.subscriptions.confirmable(token).is_none() {
        return no_link(look, state, "subscribe.no_request");
    }
    let button = Some((format!("/status/confirm/{token}"), t.s("subscribe.confirm")));
    let text = t.one("subscribe.confirm_text", title(state, t));
    link_page(look, state, t.s("subscribe.confirm_title"), text, None, button).map(|page| Refusal(Status::Ok, page))
}

#[post("/status/confirm/<token>")]
pub async fn confirm(_anyone: Anyone, look: Look, state: &State<ApiState>, token: &str) -> Result<Refusal, ApiError> {
    let t = Text(look.lang);
    if !state.subscriptions.confirm(token).await? {
        return no_link(look, state, "subscribe.no_request");
    }
    let text = t.one("subscribe.confirmed_text", title(state, t));
    link_page(look, state, t.s("subscribe.confirmed"), text, None, None).map(|page| Refusal(Status::Ok, page))
}

#[get("/status/unsubscribe/<token>")]
pub fn ask_leave(_anyone: Anyone, look: Look, state: &State<ApiState>, token: &str) -> Result<Refusal, ApiError> {
    let t = Text(look.lang);
    if state.subscriptions.subscribers.left_by(token).is_none() {
        return no_link(look, state, "subscribe.no_subscription");
    }
    let button = Some((format!("/status/unsubscribe/{token}"), t.s("subscribe.leave")));
    let text = t.one("subscribe.leave_text", title(state, t));
    link_page(look, state, t.s("subscribe.leave_title"), text, None, button).map(|page| Refusal(Status::Ok, page))
}

/// By the button, or by a mail client in its stead (RFC 8058): what the body says does not matter.
#[post("/status/unsubscribe/<token>")]
pub async fn leave(_anyone: Anyone, look: Look, state: &State<ApiState>, token: &str) -> Result<Refusal, ApiError> {
    let t = Text(look.lang);
    if !state.subscriptions.leave(token).await? {
        return no_link(look, state, "subscribe.no_subscription");
    }
    let text = t.s("subscribe.left_text").to_owned();
    link_page(look, state, t.s("subscribe.left"), text, None, None).map(|page| Refusal(Status::Ok, page))
}

fn no_link(look: Look, state: &ApiState, text: &'static str) -> Result<Refusal, ApiError> {
    let t = Text(look.lang);
    link_page(look, state, t.s("subscribe.no_link"), t.s(text).to_owned(), None, None).map(|page| Refusal(Status::NotFound, page))
}

fn link_page(
    look: Look,
    state: &ApiState,
    heading: &'static str,
    text: String,
    secret: Option<String>,
    button: Option<(String, &'static str)>,
) -> Result<Html, ApiError> {
    // Where a choice of another look leads back to: what was sent is not sent again.
    let here = button.as_ref().map_or_else(|| "/status".to_owned(), |(action, _)| action.clone());
    let frame = Frame::without_user(look, title(state, Text(look.lang)), here);
    let (has_logo, has_accent) = (state.status.logo.is_some(), state.status.accent.is_some());
    Html::of(&LinkPage { frame, has_logo, has_accent, heading, text, secret, button })
}

fn form(asker: &Asker, cookies: &CookieJar<'_>, state: &ApiState, fields: &Fields, wrong: Vec<FieldError>) -> Result<Html, ApiError> {
    if !state.subscriptions.is_open() {
        return Err(ApiError::not_found("nobody can subscribe to this status page"));
    }
    let held = cookies.get(COOKIE).map(|cookie| cookie.value().to_owned()).filter(|held| held.len() >= 20);
    let held = held.unwrap_or_else(|| {
        let made = BASE64_URL_SAFE_NO_PAD.encode(random::<24>());
        let mut cookie = Cookie::new(COOKIE, made.clone());
        cookie.set_path(PATH);
        cookie.set_http_only(true);
        cookie.set_same_site(SameSite::Strict);
        cookie.set_secure(asker.secure);
        cookies.add(cookie);
        made
    });
    let t = Text(asker.look.lang);
    let chosen: Vec<&str> = fields.all("services").collect();
    let service = |(id, name): (ServiceId, String)| (id.0, name, chosen.contains(&id.to_string().as_str()));
    let mut services: Vec<(u32, String, bool)> = state.subscriptions.public().into_iter().map(service).collect();
    services.sort_by_cached_key(|(_, name, _)| name.to_lowercase());
    Html::of(&SubscribePage {
        frame: Frame::without_user(asker.look, title(state, t), PATH.to_owned()),
        has_logo: state.status.logo.is_some(),
        has_accent: state.status.accent.is_some(),
        token: form_token(&held),
        mail: state.subscriptions.mail_channel().is_some(),
        services,
        kind: kind_of(fields),
        email: fields.get("email").unwrap_or_default().to_owned(),
        url: fields.get("url").unwrap_or_default().to_owned(),
        wrong,
    })
}

fn kind_of(fields: &Fields) -> SubscriberKind {
    fields.get("kind").and_then(SubscriberKind::from_name).unwrap_or(SubscriberKind::Mail)
}

fn wish_of(body: &Value, look: Look) -> Result<Wish, ApiError> {
    let empty = Map::new();
    let object = body.as_object();
    let given = object.unwrap_or(&empty);
    let mut mistakes = Vec::new();
    if object.is_none() {
        mistakes.push(Mistake::new("", "a subscription is an object with email or url"));
    }
    for name in given.keys().filter(|name| !matches!(name.as_str(), "email" | "url" | "services" | "language")) {
        mistakes.push(Mistake::new(name.as_str(), "is not known here; known: email, url, services, language"));
    }
    let mut text = |name: &str| match given.get(name) {
        None | Some(Value::Null) => None,
        Some(Value::String(text)) => Some(text.clone()),
        Some(_) => {
            mistakes.push(Mistake::new(name, "must be a text"));
            None
        }
    };
    let (email, url, lang) = (text("email"), text("url"), text("language"));
    let lang = match lang.as_deref().map(Lang::from_name) {
        None => look.lang,
        Some(Some(lang)) => lang,
        Some(None) => {
            mistakes.push(Mistake::new("language", "must be en or fa"));
            look.lang
        }
    };
    let services = match given.get("services") {
        None | Some(Value::Null) => Vec::new(),
        Some(Value::Array(numbers)) if !numbers.is_empty() => numbers.iter().map(Value::to_string).collect(),
        Some(_) => {
            mistakes.push(Mistake::new("services", "must be a list of numbers of public services; left out, it is all"));
            Vec::new()
        }
    };
    let (kind, reach) = match (email, url) {
        (Some(email), None) => (SubscriberKind::Mail, email),
        (None, Some(url)) => (SubscriberKind::Webhook, url),
        (Some(_), Some(_)) => {
            mistakes.push(Mistake::new("url", "cannot be given with email: each is a subscription of its own"));
            (SubscriberKind::Mail, String::new())
        }
        (None, None) => {
            mistakes.push(Mistake::new("email", "is missing, and so is url: one of them is needed"));
            (SubscriberKind::Mail, String::new())
        }
    };
    if mistakes.is_empty() { Ok(Wish { kind, reach, services, lang: lang.name().to_owned() }) } else { Err(ApiError::invalid(mistakes)) }
}
