//! The people who may use this hub.

use rocket::response::status::{Created, NoContent};
use rocket::serde::json::Json;
use rocket::{State, delete, get, patch, post};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::api::auth::Admin;
use crate::api::body::JsonBody;
use crate::api::error::{ApiError, Problem};
use crate::api::issues::given;
use crate::api::query::{Page, Query};
use crate::api::state::ApiState;
use crate::model::id::ChannelId;
use crate::store::users::identities::Linked;
use crate::store::users::{Role, User};

#[derive(Serialize, ToSchema)]
pub struct UserView {
    username: String,
    /// `viewer`, `operator` or `admin`.
    role: &'static str,
    created_at: String,
    /// May not log in, and their keys rest.
    disabled: bool,
    /// Whether a code is wanted of them beside the password.
    second_factor: bool,
    /// The alert channel that tells them what is for them alone: assignments and mentions.
    channel: Option<String>,
    /// Who they are at the identity provider by which they also log in.
    identity: Option<IdentityView>,
    /// Whether they can log in by a password.
    has_password: bool,
}

#[derive(Serialize, ToSchema)]
pub struct IdentityView {
    issuer: String,
    subject: String,
    since: String,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewUser {
    username: String,
    /// 8 to 1024 bytes.
    password: String,
    /// `viewer`, `operator` or `admin`.
    role: String,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct UserChange {
    password: Option<String>,
    role: Option<String>,
    /// Locks the user out, or lets them in again.
    disabled: Option<bool>,
    /// The name or number of an alert channel; null: none.
    #[serde(default, deserialize_with = "given")]
    channel: Option<Option<String>>,
}

/// All users.
#[utoipa::path(
    tag = "users",
    params(
        ("page" = Option<u64>, Query, description = "From 1"),
        ("page_size" = Option<u64>, Query, description = "1 to 500, usually 50"),
    ),
    responses(
        (status = 200, description = "A page of users", body = Page<UserView>),
        (status = 403, description = "Takes role admin", body = Problem),
    )
)]
#[get("/api/v1/users")]
pub fn list(_admin: Admin, query: Query, state: &State<ApiState>) -> Result<Json<Page<UserView>>, ApiError> {
    query.allow(&["page", "page_size"])?;
    let (page, size) = (query.page()?, query.page_size()?);
    let all = state.users.list();
    let skip = usize::try_from((page - 1).saturating_mul(size as u64)).unwrap_or(usize::MAX);
    let shown = all.iter().skip(skip).take(size).map(|user| UserView::new(state, user)).collect();
    Ok(Json(query.numbered(all.len() as u64, page, size, shown)))
}

/// A new user.
#[utoipa::path(
    tag = "users",
    request_body = NewUser,
    responses(
        (status = 201, description = "The user", body = UserView),
        (status = 403, description = "Takes role admin", body = Problem),
        (status = 422, description = "A field is wrong, or the name is taken", body = Problem),
    )
)]
#[post("/api/v1/users", data = "<body>")]
pub async fn create(admin: Admin, state: &State<ApiState>, body: JsonBody) -> Result<Created<Json<UserView>>, ApiError> {
    let new: NewUser = body.read()?;
    let user = state.users.create(&new.username, &new.password, role(&new.role)?, &admin.0.author()).await?;
    Ok(Created::new(format!("/api/v1/users/{}", user.username)).body(Json(UserView::new(state, &user))))
}

/// Sets a user's password or role or locks them out, with which all tokens of the user end, or the channel that tells them what is for them.
#[utoipa::path(
    tag = "users",
    params(("username" = String, Path, description = "The user's name")),
    request_body = UserChange,
    responses(
        (status = 200, description = "The user as it is now", body = UserView),
        (status = 403, description = "Takes role admin", body = Problem),
        (status = 404, description = "There is none of this name", body = Problem),
        (status = 409, description = "It is the last admin", body = Problem),
        (status = 422, description = "A field is wrong", body = Problem),
    )
)]
#[patch("/api/v1/users/<username>", data = "<body>")]
pub async fn patch(admin: Admin, state: &State<ApiState>, username: &str, body: JsonBody) -> Result<Json<UserView>, ApiError> {
    let change: UserChange = body.read()?;
    let role = change.role.as_deref().map(role).transpose()?;
    let channel = change.channel.map(|name| name.map(|name| channel_of(state, &name)).transpose()).transpose()?;
    let mut user = state.users.get(username).ok_or_else(|| ApiError::not_found(format!("there is no user {username:?}")))?;
    if let Some(password) = &change.password {
        user = state.users.set_password(username, password, &admin.0.author()).await?;
    }
    if let Some(role) = role {
        user = state.users.set_role(username, role, &admin.0.author()).await?;
    }
    if let Some(disabled) = change.disabled {
        user = state.users.set_disabled(username, disabled, &admin.0.author()).await?;
    }
    if let Some(channel) = channel {
        state.users.set_channel(username, channel, &admin.0.author()).await?;
    }
    Ok(Json(UserView::new(state, &user)))
}

/// Turns a user's second factor off, as when their authenticator is lost.
#[utoipa::path(
    tag = "users",
    params(("username" = String, Path, description = "The user's name")),
    responses(
        (status = 204, description = "A password is enough again"),
        (status = 403, description = "Takes role admin", body = Problem),
        (status = 404, description = "There is no such user, or they have no second factor", body = Problem),
    )
)]
#[delete("/api/v1/users/<username>/second-factor")]
pub async fn turn_off_second_factor(admin: Admin, state: &State<ApiState>, username: &str) -> Result<NoContent, ApiError> {
    state.second_factors.turn_off(username, &admin.0.author()).await?;
    Ok(NoContent)
}

/// Takes a user apart from who they are at the identity provider: by it they log in no more.
#[utoipa::path(
    tag = "users",
    params(("username" = String, Path, description = "The user's name")),
    responses(
        (status = 204, description = "A password is the only way in again"),
        (status = 403, description = "Takes role admin", body = Problem),
        (status = 404, description = "There is no such user, or they are not linked", body = Problem),
    )
)]
#[delete("/api/v1/users/<username>/identity")]
pub async fn unlink(admin: Admin, state: &State<ApiState>, username: &str) -> Result<NoContent, ApiError> {
    state.users.unlink(username, true, &admin.0.author()).await?;
    Ok(NoContent)
}

/// Ends a user and all their tokens.
#[utoipa::path(
    tag = "users",
    params(("username" = String, Path, description = "The user's name")),
    responses(
        (status = 204, description = "The user is gone"),
        (status = 403, description = "Takes role admin", body = Problem),
        (status = 404, description = "There is none of this name", body = Problem),
        (status = 409, description = "It is the last admin", body = Problem),
    )
)]
#[delete("/api/v1/users/<username>")]
pub async fn delete(admin: Admin, state: &State<ApiState>, username: &str) -> Result<NoContent, ApiError> {
    state.users.delete(username, &admin.0.author()).await?;
    Ok(NoContent)
}

fn role(name: &str) -> Result<Role, ApiError> {
    Role::from_name(name).ok_or_else(|| ApiError::invalid_field("role", format!("{name:?} is not one of viewer, operator, admin")))
}

/// A channel by its name or number.
fn channel_of(state: &ApiState, name: &str) -> Result<ChannelId, ApiError> {
    let found =
        state.channels.list().iter().find(|channel| channel.name == name || channel.id.to_string() == name).map(|channel| channel.id);
    found.ok_or_else(|| ApiError::invalid_field("channel", format!("there is no channel {name:?}")))
}

impl UserView {
    fn new(state: &ApiState, user: &User) -> UserView {
        let channel = state.users.channel(&user.username).and_then(|id| state.channels.get(id)).map(|channel| channel.name.clone());
        UserView {
            username: user.username.clone(),
            role: user.role.name(),
            created_at: user.created_at.rfc3339(),
            disabled: user.disabled,
            second_factor: state.second_factors.of(user).is_some(),
            channel,
            identity: state.users.identity(&user.username).map(IdentityView::from),
            has_password: state.users.has_password(&user.username),
        }
    }
}

impl From<Linked> for IdentityView {
    fn from(linked: Linked) -> IdentityView {
        IdentityView { issuer: linked.identity.issuer, subject: linked.identity.subject, since: linked.since.rfc3339() }
    }
}
