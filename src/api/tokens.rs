//! Log-in: a password, and a code where one is wanted, gives a pair of tokens, a refresh token gives the next pair.

use rocket::serde::json::Json;
use rocket::{State, post};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::api::auth::{Anyone, access_token};
use crate::api::body::JsonBody;
use crate::api::error::{ApiError, Problem};
use crate::api::login::{Door, Step, code_wanted};
use crate::api::state::ApiState;
use crate::api::throttle::Throttle;
use crate::store::audit::Change;
use crate::store::sessions::SessionsError;

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Credentials {
    username: String,
    password: String,
    /// Of the second factor, where the user has one: six digits, or a recovery code.
    code: Option<String>,
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
        (status = 401, description = "User name or password is wrong; or a code is wanted or wrong, then errors names the field code", body = Problem),
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
    let Credentials { username, password, code } = body.read()?;
    let door = Door { state, throttle, address: anyone.address, subject: "token" };
    let user = match (door.password(&username, &password).await?, code) {
        (Step::In(user), _) => user,
        (Step::Code(user), Some(code)) => door.code(user, &code).await?,
        (Step::Code(_), None) => return Err(code_wanted()),
    };
    let refresh = state.sessions.begin(&user).await?;
    Ok(Json(TokenPair { access: access_token(state, &user), refresh, expires_in: state.settings.access_lifetime.as_secs() }))
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
