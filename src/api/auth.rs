//! Who asks: access tokens (JWT, HS256), API keys, the cookie of someone logged in to the pages, and the guards that let a role in.
//!
//! A cookie is sent by the browser whoever made the page, so whatever changes something by it needs the form token too, which
//! only our own pages hold.
//!
//! **Invariants.** The role is the one the user has now, not the one a token was made with; a token of a deleted user, or
//! from before a change of password or role, is worth nothing. A key is let in where one of its scopes fits the route, with no
//! more than its owner's role of now.

use std::net::IpAddr;
use std::time::Duration;

use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation, decode, encode};
use rocket::http::{Method, Status};
use rocket::request::{FromRequest, Outcome, Request};
use serde::{Deserialize, Serialize};

use crate::api::error::ApiError;
use crate::api::scope::scopes_for;
use crate::api::state::ApiState;
use crate::api::throttle::Throttle;
use crate::model::time::Timestamp;
use crate::store::api_keys::{PREFIX, Scope};
use crate::store::secrets::Secrets;
use crate::store::services::Author;
use crate::store::users::{Role, User};
use crate::store::web_sessions::form_token;

/// What a browser keeps of a log-in to the pages.
pub const SESSION_COOKIE: &str = "probemesh_session";
/// Carries the form token of requests that scripts of the pages make.
const FORM_TOKEN_HEADER: &str = "X-CSRF-Token";

/// Who asks, from where.
#[derive(Clone, Debug)]
pub struct Principal {
    pub username: String,
    pub role: Role,
    pub address: Option<IpAddr>,
    /// When the token ends.
    pub expires_at: Timestamp,
    /// A command on this machine.
    pub local: bool,
}

impl Principal {
    pub fn author(&self) -> Author {
        Author { who: self.username.clone(), address: self.address }
    }
}

/// Lets in every user.
pub struct Viewer(pub Principal);
/// Lets in operators and admins.
pub struct Operator(pub Principal);
/// Lets in admins.
pub struct Admin(pub Principal);
/// Lets in commands on this machine: those who can read the data folder's key.
pub struct Local(pub Principal);
/// Lets in anyone, as often as an address may ask.
pub struct Anyone {
    pub address: Option<IpAddr>,
}

#[derive(Serialize, Deserialize)]
struct Claims {
    sub: String,
    role: String,
    epoch: u64,
    /// Unix seconds, as RFC 7519 has them.
    iat: i64,
    exp: i64,
    #[serde(rename = "typ")]
    kind: String,
}

/// An access token for a user, good from now for as long as the settings say.
pub fn access_token(state: &ApiState, user: &User) -> String {
    let now = state.clock.now();
    let claims = Claims {
        sub: user.username.clone(),
        role: user.role.name().to_owned(),
        epoch: user.epoch,
        iat: now.0.div_euclid(1_000_000),
        exp: now.plus(state.settings.access_lifetime).0.div_euclid(1_000_000),
        kind: "access".to_owned(),
    };
    encode(&Header::new(Algorithm::HS256), &claims, &EncodingKey::from_secret(state.secrets.signing_key()))
        .expect("plain claims and a secret of any length always encode")
}

/// Who signs with the data folder's key acts by this name.
const LOCAL: &str = "local";
/// Commands are short.
const LOCAL_LIFETIME: Duration = Duration::from_secs(60);

/// A token for a command on this machine.
pub fn local_token(secrets: &Secrets, now: Timestamp) -> String {
    let claims = Claims {
        sub: LOCAL.to_owned(),
        role: Role::Admin.name().to_owned(),
        epoch: 0,
        iat: now.0.div_euclid(1_000_000),
        exp: now.plus(LOCAL_LIFETIME).0.div_euclid(1_000_000),
        kind: LOCAL.to_owned(),
    };
    encode(&Header::new(Algorithm::HS256), &claims, &EncodingKey::from_secret(secrets.signing_key()))
        .expect("plain claims and a secret of any length always encode")
}

/// Someone logged in to the pages.
pub struct Visitor {
    pub user: User,
    /// What the browser's cookie holds.
    pub session: String,
    /// What forms of its pages send along.
    pub form_token: String,
    pub expires_at: Timestamp,
}

/// Who is logged in by the cookie of the pages.
pub fn visitor(request: &Request<'_>) -> Option<Visitor> {
    let state = managed::<ApiState>(request);
    let session = request.cookies().get(SESSION_COOKIE)?.value().to_owned();
    let known = state.web_sessions.find(&session)?;
    let user = state.users.get(&known.username).filter(|user| user.epoch == known.epoch)?;
    Some(Visitor { user, form_token: form_token(&session), session, expires_at: known.expires_at })
}

/// The user of a page, counted like any other request; forms are checked where they are read.
pub fn identify_visitor(request: &Request<'_>) -> Result<(Principal, Visitor), ApiError> {
    let throttle = managed::<Throttle>(request);
    let address = request.client_ip();
    let Some(visitor) = visitor(request) else {
        throttle.address(address).map_err(|wait| ApiError::too_many("this address asks too often", wait))?;
        return Err(ApiError::unauthorized("log in first"));
    };
    throttle.user(&visitor.user.username).map_err(|wait| ApiError::too_many("you ask too often", wait))?;
    let User { username, role, .. } = visitor.user.clone();
    Ok((Principal { username, role, address, expires_at: visitor.expires_at, local: false }, visitor))
}

/// The same for the API, where a request that may change something must carry the form token.
fn identify_by_cookie(request: &Request<'_>) -> Result<Principal, ApiError> {
    let (principal, visitor) = identify_visitor(request)?;
    let reads = matches!(request.method(), Method::Get | Method::Head | Method::Options);
    if !reads && request.headers().get_one(FORM_TOKEN_HEADER) != Some(visitor.form_token.as_str()) {
        return Err(ApiError::new(Status::Forbidden, format!("a change by cookie takes the page's token in {FORM_TOKEN_HEADER}")));
    }
    // A stream ends before long and is opened again, by whoever is still logged in.
    let state = managed::<ApiState>(request);
    let soon = state.clock.now().plus(state.settings.access_lifetime);
    Ok(Principal { expires_at: principal.expires_at.min(soon), ..principal })
}

/// The user of a request, or why there is none.
fn identify(request: &Request<'_>) -> Result<Principal, ApiError> {
    let state = managed::<ApiState>(request);
    let throttle = managed::<Throttle>(request);
    let address = request.client_ip();
    if request.headers().get_one("Authorization").is_none() && visitor(request).is_some() {
        return identify_by_cookie(request);
    }
    let found = bearer(request);
    if let Ok(text) = found
        && text.starts_with(PREFIX)
    {
        return identify_by_key(request, text);
    }
    match found.and_then(|token| check_token(state, token)) {
        Ok(Bearer::User(user, expires_at)) => {
            throttle.user(&user.username).map_err(|wait| ApiError::too_many("you ask too often", wait))?;
            Ok(Principal { username: user.username, role: user.role, address, expires_at, local: false })
        }
        Ok(Bearer::Local(expires_at)) => Ok(Principal { username: LOCAL.to_owned(), role: Role::Admin, address, expires_at, local: true }),
        Err(error) => {
            throttle.address(address).map_err(|wait| ApiError::too_many("this address asks too often", wait))?;
            Err(error)
        }
    }
}

/// The user of a request made with a key.
///
/// Wrong keys are counted like log-ins, and only they: there is no guessing 256 bits, so a program that asks with a key that is
/// over must not lock out those that share its address.
fn identify_by_key(request: &Request<'_>, text: &str) -> Result<Principal, ApiError> {
    let state = managed::<ApiState>(request);
    let throttle = managed::<Throttle>(request);
    let address = request.client_ip();
    let refused = |detail: &str| {
        throttle.login(address).map_err(|wait| ApiError::too_many("too many wrong keys from this address", wait))?;
        tracing::warn!(address = ?address, "an api key was refused: {detail}");
        Err(invalid_token(detail))
    };
    let Some(key) = state.api_keys.find(text) else { return refused("the API key is not one of this hub, or was revoked") };
    let now = state.clock.now();
    if key.expires_at.is_some_and(|end| end <= now) {
        return refused("the API key has expired");
    }
    let owner = state.users.get(&key.owner).filter(|owner| owner.created_at == key.owner_since && !owner.disabled);
    let Some(owner) = owner else { return refused("the owner of the API key is gone or disabled") };
    throttle.user(&owner.username).map_err(|wait| ApiError::too_many("you ask too often", wait))?;
    state.api_keys.used(text);
    // The route, not the path: what was asked for may be spelled in many ways.
    let route = request.route().map_or("", |route| route.uri.path());
    let fitting = scopes_for(request.method(), route);
    if !fitting.iter().any(|scope| key.scopes.contains(scope)) {
        let names = |scopes: &[Scope]| scopes.iter().map(|scope| scope.name()).collect::<Vec<_>>().join(" or ");
        let detail = match fitting.as_slice() {
            [] => "this cannot be asked with an API key; log in instead".to_owned(),
            fitting => format!("this takes a key with scope {}; this one has {}", names(fitting), names(&key.scopes).replace(" or ", ", ")),
        };
        return Err(ApiError::new(Status::Forbidden, detail));
    }
    // A stream ends before long, so that a key that was revoked meanwhile is found out.
    let soon = now.plus(state.settings.access_lifetime);
    let expires_at = key.expires_at.map_or(soon, |end| end.min(soon));
    Ok(Principal { username: owner.username, role: owner.role.min(key.role), address, expires_at, local: false })
}

fn bearer<'r>(request: &'r Request<'_>) -> Result<&'r str, ApiError> {
    let header =
        request.headers().get_one("Authorization").ok_or_else(|| ApiError::unauthorized("an access token or an API key is wanted"))?;
    let token = header.split_once(' ').filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer")).map(|(_, token)| token.trim());
    token.ok_or_else(|| ApiError::unauthorized("the Authorization header must be: Bearer <access token>"))
}

/// Whom a token speaks for, and until when.
enum Bearer {
    User(User, Timestamp),
    Local(Timestamp),
}

fn check_token(state: &ApiState, token: &str) -> Result<Bearer, ApiError> {
    let invalid = invalid_token;
    let mut validation = Validation::new(Algorithm::HS256);
    // The library would ask the system for the time.
    validation.validate_exp = false;
    validation.validate_aud = false;
    validation.required_spec_claims.clear();
    let claims = decode::<Claims>(token, &DecodingKey::from_secret(state.secrets.signing_key()), &validation);
    let claims = claims.map_err(|_| invalid("the access token is not one of this hub"))?.claims;
    let expires_at = Timestamp(claims.exp.saturating_mul(1_000_000));
    if claims.kind != "access" && claims.kind != LOCAL {
        return Err(invalid("the token is not an access token"));
    }
    if expires_at <= state.clock.now() {
        return Err(invalid("the access token has expired"));
    }
    if claims.kind == LOCAL {
        return Ok(Bearer::Local(expires_at));
    }
    match state.users.get(&claims.sub).filter(|user| user.epoch == claims.epoch) {
        Some(user) => Ok(Bearer::User(user, expires_at)),
        None => Err(invalid("the access token is no longer valid")),
    }
}

fn invalid_token(detail: &str) -> ApiError {
    ApiError::new(Status::Unauthorized, detail).with_header("WWW-Authenticate", "Bearer realm=\"probemesh\", error=\"invalid_token\"")
}

fn guard(request: &Request<'_>, least: Role) -> Outcome<Principal, ApiError> {
    match identify(request) {
        Ok(principal) if principal.role >= least => Outcome::Success(principal),
        Ok(principal) => {
            let detail = format!("this takes role {}; yours is {}", least.name(), principal.role.name());
            ApiError::new(Status::Forbidden, detail).outcome(request)
        }
        Err(error) => error.outcome(request),
    }
}

#[rocket::async_trait]
impl<'r> FromRequest<'r> for Viewer {
    type Error = ApiError;

    async fn from_request(request: &'r Request<'_>) -> Outcome<Viewer, ApiError> {
        guard(request, Role::Viewer).map(Viewer)
    }
}

#[rocket::async_trait]
impl<'r> FromRequest<'r> for Operator {
    type Error = ApiError;

    async fn from_request(request: &'r Request<'_>) -> Outcome<Operator, ApiError> {
        guard(request, Role::Operator).map(Operator)
    }
}

#[rocket::async_trait]
impl<'r> FromRequest<'r> for Admin {
    type Error = ApiError;

    async fn from_request(request: &'r Request<'_>) -> Outcome<Admin, ApiError> {
        guard(request, Role::Admin).map(Admin)
    }
}

#[rocket::async_trait]
impl<'r> FromRequest<'r> for Local {
    type Error = ApiError;

    async fn from_request(request: &'r Request<'_>) -> Outcome<Local, ApiError> {
        match guard(request, Role::Admin) {
            Outcome::Success(principal) if principal.local => Outcome::Success(Local(principal)),
            Outcome::Success(_) => {
                ApiError::new(Status::Forbidden, "this takes a token signed with the data folder's key").outcome(request)
            }
            Outcome::Error(error) => Outcome::Error(error),
            Outcome::Forward(status) => Outcome::Forward(status),
        }
    }
}

#[rocket::async_trait]
impl<'r> FromRequest<'r> for Anyone {
    type Error = ApiError;

    async fn from_request(request: &'r Request<'_>) -> Outcome<Anyone, ApiError> {
        let address = request.client_ip();
        match managed::<Throttle>(request).address(address) {
            Ok(()) => Outcome::Success(Anyone { address }),
            Err(wait) => ApiError::too_many("this address asks too often", wait).outcome(request),
        }
    }
}

/// What `mount` gave to Rocket.
pub fn managed<'r, T: Send + Sync + 'static>(request: &'r Request<'_>) -> &'r T {
    request.rocket().state::<T>().expect("mount manages it")
}
