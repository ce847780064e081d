//! Keys programs use this API with: everybody makes and ends their own, admins those of all.

use std::time::Duration;

use rocket::response::status::{Created, NoContent};
use rocket::serde::json::Json;
use rocket::{State, delete, get, post};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::api::auth::{Principal, Viewer};
use crate::api::body::JsonBody;
use crate::api::error::{ApiError, Problem};
use crate::api::query::{Page, Query};
use crate::api::state::ApiState;
use crate::config::mistake::Mistake;
use crate::store::api_keys::{ApiKey, NewKey, Scope};
use crate::store::users::Role;

const DAY: u64 = 86_400;
const DAYS_MOST: u64 = 3_650;

#[derive(Debug, Serialize, ToSchema)]
pub struct KeyView {
    /// Names it; nobody gets in with it.
    pub id: String,
    pub name: String,
    /// The user it acts as.
    pub owner: String,
    /// `viewer`, `operator` or `admin`; what the owner may not, the key may not either.
    pub role: &'static str,
    pub scopes: Vec<&'static str>,
    /// How the key begins.
    pub start: String,
    /// `active`, `expired`, or `resting` while its owner is disabled.
    pub state: &'static str,
    pub created_at: String,
    pub created_by: String,
    pub expires_at: Option<String>,
    /// Days until then; negative when it is over.
    pub expires_in_days: Option<f64>,
    pub used_at: Option<String>,
}

#[derive(Serialize, ToSchema)]
pub struct MadeKeyView {
    /// The key itself. It is shown this once and cannot be had again.
    pub key: String,
    #[serde(flatten)]
    pub view: KeyView,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewKeyBody {
    /// 1 to 64 characters, of no other key of the owner.
    name: String,
    /// The user it acts as; whoever asks, if left out. Only admins name another.
    owner: Option<String>,
    /// `viewer`, `operator` or `admin`, not above the owner's; the owner's, if left out.
    role: Option<String>,
    /// At least one of `read` (all that its role reads), `results`, `services`, `incidents`, `issues`, `alerts` (each reads and
    /// changes its own) and `admin` (users, channels, joining, audit, settings, backup).
    scopes: Vec<String>,
    /// 1 to 3650; without an end, if left out.
    expires_days: Option<f64>,
}

/// API keys: one's own, for admins those of all.
#[utoipa::path(
    tag = "keys",
    params(
        ("owner" = Option<String>, Query, description = "Only those of this user"),
        ("page" = Option<u64>, Query, description = "From 1"),
        ("page_size" = Option<u64>, Query, description = "1 to 500, usually 50"),
    ),
    responses(
        (status = 200, description = "A page of keys, the newest first", body = Page<KeyView>),
        (status = 401, description = "No valid token", body = Problem),
        (status = 403, description = "An API key does not look after keys", body = Problem),
    )
)]
#[get("/api/v1/api-keys")]
pub fn list(viewer: Viewer, query: Query, state: &State<ApiState>) -> Result<Json<Page<KeyView>>, ApiError> {
    query.allow(&["owner", "page", "page_size"])?;
    let (page, size) = (query.page()?, query.page_size()?);
    let owner = match viewer.0.role {
        Role::Admin => query.text("owner").map(str::to_owned),
        _ => Some(viewer.0.username.clone()),
    };
    let all = state.api_keys.list(owner.as_deref());
    let skip = usize::try_from((page - 1).saturating_mul(size as u64)).unwrap_or(usize::MAX);
    let shown = all.iter().skip(skip).take(size).map(|key| KeyView::of(state, key)).collect();
    Ok(Json(query.numbered(all.len() as u64, page, size, shown)))
}

/// Makes a key. It is in the answer this once.
#[utoipa::path(
    tag = "keys",
    request_body = NewKeyBody,
    responses(
        (status = 201, description = "The key", body = MadeKeyView),
        (status = 401, description = "No valid token", body = Problem),
        (status = 403, description = "An API key makes none, and only admins make one of another user", body = Problem),
        (status = 422, description = "A field is wrong", body = Problem),
    )
)]
#[post("/api/v1/api-keys", data = "<body>")]
pub async fn create(viewer: Viewer, state: &State<ApiState>, body: JsonBody) -> Result<Created<Json<MadeKeyView>>, ApiError> {
    let made = make(&viewer.0, state, body).await?;
    Ok(Created::new(format!("/api/v1/api-keys/{}", made.view.id)).body(Json(made)))
}

/// Makes the key a body asks for.
pub async fn make(principal: &Principal, state: &ApiState, body: JsonBody) -> Result<MadeKeyView, ApiError> {
    let wanted: NewKeyBody = body.read()?;
    let owner = wanted.owner.as_deref().unwrap_or(&principal.username);
    if owner != principal.username && principal.role < Role::Admin {
        return Err(ApiError::new(rocket::http::Status::Forbidden, "only an admin makes a key of another user").at("owner"));
    }
    let Some(owner) = state.users.get(owner) else {
        return Err(ApiError::invalid_field("owner", format!("there is no user {owner:?}")));
    };
    let mut mistakes = Vec::new();
    let role = wanted.role.as_deref().map_or(Some(owner.role), Role::from_name);
    if role.is_none() {
        mistakes.push(Mistake::new("role", "is not one of viewer, operator, admin"));
    }
    let mut scopes = Vec::new();
    for (place, name) in wanted.scopes.iter().enumerate() {
        match Scope::from_name(name) {
            Some(scope) => scopes.push(scope),
            None => {
                let known = Scope::ALL.map(Scope::name).join(", ");
                mistakes.push(Mistake::new(format!("scopes[{place}]"), format!("{name:?} is not one of {known}")));
            }
        }
    }
    if wanted.expires_days.is_some_and(|days| !(1.0..=DAYS_MOST as f64).contains(&days)) {
        mistakes.push(Mistake::new("expires_days", format!("must be from 1 to {DAYS_MOST}")));
    }
    let Some(role) = role.filter(|_| mistakes.is_empty()) else { return Err(ApiError::invalid(mistakes)) };
    let lifetime = wanted.expires_days.map(|days| Duration::from_secs_f64(days * DAY as f64));
    let new = NewKey { name: wanted.name, role, scopes, lifetime };
    let (key, made) = state.api_keys.create(&owner, new, &principal.author()).await?;
    Ok(MadeKeyView { key, view: KeyView::of(state, &made) })
}

/// Ends a key, at once.
#[utoipa::path(
    tag = "keys",
    params(("id" = String, Path, description = "The key's id")),
    responses(
        (status = 204, description = "The key is worth nothing now"),
        (status = 401, description = "No valid token", body = Problem),
        (status = 403, description = "An API key does not look after keys", body = Problem),
        (status = 404, description = "You have no such key", body = Problem),
    )
)]
#[delete("/api/v1/api-keys/<id>")]
pub async fn revoke(viewer: Viewer, state: &State<ApiState>, id: &str) -> Result<NoContent, ApiError> {
    let key = own(&viewer.0, state, id)?;
    state.api_keys.revoke(&key.id, &viewer.0.author()).await?;
    Ok(NoContent)
}

/// A key whoever asks may look after.
pub fn own(principal: &Principal, state: &ApiState, id: &str) -> Result<ApiKey, ApiError> {
    let found = state.api_keys.get(id).filter(|key| key.owner == principal.username || principal.role >= Role::Admin);
    found.ok_or_else(|| ApiError::not_found(format!("you have no key {id:?}")))
}

impl KeyView {
    pub fn of(state: &ApiState, key: &ApiKey) -> KeyView {
        let now = state.clock.now();
        let rests = state.users.get(&key.owner).is_none_or(|owner| owner.disabled || owner.created_at != key.owner_since);
        KeyView {
            id: key.id.clone(),
            name: key.name.clone(),
            owner: key.owner.clone(),
            role: key.role.name(),
            scopes: key.scopes.iter().map(|scope| scope.name()).collect(),
            start: key.start.clone(),
            state: match key.expires_at {
                Some(end) if end <= now => "expired",
                _ if rests => "resting",
                _ => "active",
            },
            created_at: key.created_at.rfc3339(),
            created_by: key.created_by.clone(),
            expires_at: key.expires_at.map(|at| at.rfc3339()),
            expires_in_days: key.expires_at.map(|end| ((end.0 - now.0) as f64 / (DAY as f64 * 1e6) * 10.0).round() / 10.0),
            used_at: key.used_at.map(|at| at.rfc3339()),
        }
    }
}
