//! Log-in: a password gives a pair of tokens, a refresh token gives the next pair.

use std::net::IpAddr;

use rocket::serde::json::Json;
use rocket::{State, post};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::api::auth::{Anyone, access_token};
use crate::api::body::JsonBody;
use crate::api::error::{ApiError, Problem};
use crate::api::state::ApiState;
use crate::api::throttle::Throttle;
use crate::store::audit::Change;
use crate::store::sessions::SessionsError;
use crate::store::users::User;

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Credentials {
    username: String,
    password: String,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RefreshToken {
    refresh: String,
}

#[derive(Serialize, ToSchema)]
pub struct TokenPair {
    /// Sent as `Authorization: Bearer …`.
    access: String,
    /// Good for one use at `/api/token/refresh/`.
    refresh: String,
    /// Seconds the access token lives.
    expires_in: u64,
}

/// Log in.
#[utoipa::path(
    tag = "tokens",
    security(()),
    request_body = Credentials,
    responses(
        (status = 200, description = "A pair of tokens", body = TokenPair),
        (status = 401, description = "User name or password is wrong", body = Problem),
        (status = 429, description = "Too many attempts; Retry-After says when", body = Problem),
    )
)]
#[post("/api/token", data = "<body>")]
pub async fn obtain(
    anyone: Anyone,
    state: &State<ApiState>,
    throttle: &State<Throttle>,
    body: JsonBody,
) -> Result<Json<TokenPair>, ApiError> {
    let Credentials { username, password } = body.read()?;
    let user = log_in(state, throttle, anyone.address, &username, &password, "token").await?;
    let refresh = state.sessions.begin(&user).await?;
    Ok(Json(TokenPair { access: access_token(state, &user), refresh, expires_in: state.settings.access_lifetime.as_secs() }))
}

/// The user of a name and a password: throttled, and in the audit log whether it succeeds or not. `subject` is what it is for.
pub async fn log_in(
    state: &ApiState,
    throttle: &Throttle,
    address: Option<IpAddr>,
    username: &str,
    password: &str,
    subject: &str,
) -> Result<User, ApiError> {
    throttle.login(address).map_err(|wait| ApiError::too_many("too many log-ins from this address", wait))?;
    throttle.locked(username).map_err(|wait| ApiError::too_many("too many failed log-ins of this user", wait))?;
    let user = state.users.verify(username, password).await;
    let change = Change {
        // A name may be a password typed into the wrong field, so only names that are known are kept.
        who: state.users.get(username).map_or_else(|| "unknown user".to_owned(), |user| user.username),
        address,
        action: if user.is_some() { "login.succeeded" } else { "login.failed" },
        subject: subject.to_owned(),
        fields: Vec::new(),
    };
    match user {
        Some(user) => {
            throttle.succeeded(username);
            state.audit.record(&change).await?;
            Ok(user)
        }
        None => {
            throttle.failed(username);
            tracing::warn!(user = change.who, address = ?address, "log-in failed");
            state.audit.record(&change).await?;
            Err(ApiError::unauthorized("user name or password is wrong"))
        }
    }
}

/// The next pair of tokens.
///
/// Each refresh token is good once. One that comes a second time ends the whole session: it was stolen.
#[utoipa::path(
    tag = "tokens",
    security(()),
    request_body = RefreshToken,
    responses(
        (status = 200, description = "A pair of tokens", body = TokenPair),
        (status = 401, description = "The token is unknown, expired or was used before", body = Problem),
    )
)]
#[post("/api/token/refresh", data = "<body>")]
pub async fn refresh(anyone: Anyone, state: &State<ApiState>, body: JsonBody) -> Result<Json<TokenPair>, ApiError> {
    let given: RefreshToken = body.read()?;
    let rotated = match state.sessions.rotate(&given.refresh).await {
        Ok(rotated) => rotated,
        Err(SessionsError::Store(error)) => return Err(error.into()),
        Err(error) => {
            if let SessionsError::Reused { username } = &error {
                tracing::warn!(user = username, address = ?anyone.address, "a refresh token was used twice, its session is ended");
                state.audit.record(&session_change("session.reuse", username, &anyone)).await?;
            }
            return Err(ApiError::unauthorized("the refresh token is unknown, expired or was used before"));
        }
    };
    let user = state.users.get(&rotated.username).filter(|user| user.epoch == rotated.epoch);
    let user = user.ok_or_else(|| ApiError::unauthorized("the user is gone or has changed"))?;
    Ok(Json(TokenPair { access: access_token(state, &user), refresh: rotated.token, expires_in: state.settings.access_lifetime.as_secs() }))
}

/// Log out: ends the session of a refresh token.
///
/// Access tokens made from it end by themselves, within minutes.
#[utoipa::path(
    tag = "tokens",
    security(()),
    request_body = RefreshToken,
    responses((status = 204, description = "The token is worth nothing now, whatever it was"))
)]
#[post("/api/token/revoke", data = "<body>")]
pub async fn revoke(anyone: Anyone, state: &State<ApiState>, body: JsonBody) -> Result<rocket::response::status::NoContent, ApiError> {
    let given: RefreshToken = body.read()?;
    if let Some(username) = state.sessions.end(&given.refresh).await? {
        state.audit.record(&session_change("session.end", &username, &anyone)).await?;
    }
    Ok(rocket::response::status::NoContent)
}

fn session_change(action: &'static str, username: &str, anyone: &Anyone) -> Change {
    Change { who: username.to_owned(), address: anyone.address, action, subject: "token".to_owned(), fields: Vec::new() }
}
