//! Who may join the mesh, and who has: join tokens, and the end of a node.

use std::time::Duration;

use rocket::http::Status;
use rocket::response::status::{Created, NoContent};
use rocket::serde::json::Json;
use rocket::{State, delete, get, post};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::api::auth::{Admin, Local};
use crate::api::body::JsonBody;
use crate::api::error::{ApiError, Problem};
use crate::api::query::{Page, Query};
use crate::api::state::ApiState;
use crate::config::mesh::host_and_port;
use crate::mesh::identity::{Identity, hexadecimal, is_name};
use crate::mesh::token::JoinToken;
use crate::mesh::token_issuer::{LIFETIME, LONGEST_LIFETIME, TokenOrder, commands};
use crate::model::id::RegionName;
use crate::store::nodes::{NodeRecord, TokenRecord};

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewTokenBody {
    /// The name the node is to have; if left out, the machine chooses one.
    node: Option<String>,
    /// 60 to 2592000, usually 86400.
    expires_s: Option<u64>,
    /// Where nodes reach the hub, `host:port`, if not at the usual address.
    address: Option<String>,
}

/// A token, shown this once.
#[derive(Serialize, ToSchema)]
pub struct TokenView {
    id: String,
    region: String,
    node: Option<String>,
    expires_at: String,
    address: String,
    /// SHA-256 of the hub's certificate authority.
    fingerprint: String,
    token: String,
    /// What is typed on the machine that joins.
    commands: [String; 2],
}

/// A token without its secret.
#[derive(Serialize, ToSchema)]
pub struct TokenRecordView {
    id: String,
    region: String,
    node: Option<String>,
    /// `open`, `used` or `expired`.
    state: &'static str,
    created_at: String,
    created_by: String,
    expires_at: String,
    used_at: Option<String>,
    used_by: Option<String>,
}

/// A node that has joined, as the store knows it.
#[derive(Serialize, ToSchema)]
pub struct JoinedView {
    name: String,
    region: String,
    joined_at: String,
    /// A token's id, or the join secret.
    joined_by: String,
    renewed_at: Option<String>,
    certificate_ends: String,
    revoked_at: Option<String>,
    last_seen: Option<String>,
}

/// A token with which one machine joins a region, once. It is shown in this answer and never again.
#[utoipa::path(
    tag = "regions",
    params(("region" = String, Path, description = "The region's name")),
    request_body = NewTokenBody,
    responses(
        (status = 201, description = "The token", body = TokenView),
        (status = 403, description = "Takes role admin", body = Problem),
        (status = 409, description = "This hub takes no nodes: mesh.listen is off", body = Problem),
        (status = 422, description = "A name is wrong", body = Problem),
    )
)]
#[post("/api/v1/regions/<region>/tokens", data = "<body>")]
pub async fn create_token(
    admin: Admin,
    state: &State<ApiState>,
    region: &str,
    body: JsonBody,
) -> Result<Created<Json<TokenView>>, ApiError> {
    let order = read_order(region, body.read()?)?;
    let Some(issuer) = &state.token_issuer else {
        return Err(ApiError::new(Status::Conflict, "this hub takes no nodes: set mesh.listen and start it again"));
    };
    let token = issuer.issue(&order, &admin.0.author()).await?;
    let view = TokenView::from(&token);
    Ok(Created::new(format!("/api/v1/regions/tokens/{}", view.id)).body(Json(view)))
}

/// Join tokens, the newest first, without their secrets.
#[utoipa::path(
    tag = "regions",
    params(
        ("page" = Option<u64>, Query, description = "From 1"),
        ("page_size" = Option<u64>, Query, description = "1 to 500, usually 50"),
    ),
    responses(
        (status = 200, description = "A page of tokens", body = Page<TokenRecordView>),
        (status = 403, description = "Takes role admin", body = Problem),
    )
)]
#[get("/api/v1/regions/tokens")]
pub fn list_tokens(_admin: Admin, query: Query, state: &State<ApiState>) -> Result<Json<Page<TokenRecordView>>, ApiError> {
    query.allow(&["page", "page_size"])?;
    let (page, size) = (query.page()?, query.page_size()?);
    let (all, now) = (state.nodes.tokens(), state.clock.now());
    let skip = usize::try_from((page - 1).saturating_mul(size as u64)).unwrap_or(usize::MAX);
    let shown = all.iter().skip(skip).take(size).map(|token| TokenRecordView::new(token, now)).collect();
    Ok(Json(query.numbered(all.len() as u64, page, size, shown)))
}

/// Ends a join token. A node that has joined with it stays.
#[utoipa::path(
    tag = "regions",
    params(("id" = String, Path, description = "The token's id")),
    responses(
        (status = 204, description = "The token is gone"),
        (status = 403, description = "Takes role admin", body = Problem),
        (status = 404, description = "There is none of this id", body = Problem),
    )
)]
#[delete("/api/v1/regions/tokens/<id>")]
pub async fn delete_token(admin: Admin, state: &State<ApiState>, id: &str) -> Result<NoContent, ApiError> {
    state.nodes.revoke_token(id, &admin.0.author()).await?;
    Ok(NoContent)
}

/// Ends a node: its link is cut at once and its certificate is good for nothing. It can join again with a new token.
#[utoipa::path(
    tag = "nodes",
    params(("name" = String, Path, description = "The node's name")),
    responses(
        (status = 200, description = "The node as it is now", body = JoinedView),
        (status = 403, description = "Takes role admin", body = Problem),
        (status = 404, description = "No node of this name has joined", body = Problem),
    )
)]
#[post("/api/v1/nodes/<name>/revoke")]
pub async fn revoke_node(admin: Admin, state: &State<ApiState>, name: &str) -> Result<Json<JoinedView>, ApiError> {
    let record = state.nodes.revoke(name, &admin.0.author()).await?;
    (state.node_revoked)(&record.identity.node);
    Ok(Json(JoinedView::from(&record)))
}

/// The nodes that have joined, for commands on this machine.
#[utoipa::path(
    tag = "local",
    responses(
        (status = 200, description = "Every node", body = Vec<JoinedView>),
        (status = 403, description = "Takes a token signed with the data folder's key", body = Problem),
    )
)]
#[get("/api/v1/local/nodes")]
pub fn list_joined(_local: Local, state: &State<ApiState>) -> Json<Vec<JoinedView>> {
    Json(state.nodes.list().iter().map(JoinedView::from).collect())
}

fn read_order(region: &str, body: NewTokenBody) -> Result<TokenOrder, ApiError> {
    const NAME: &str = "must be 1 to 64 letters, digits, dots, dashes or underscores";
    if !is_name(region) {
        return Err(ApiError::invalid_field("region", NAME));
    }
    let node = match &body.node {
        Some(node) => Some(Identity::new(region, node).map_err(|error| ApiError::invalid_field("node", error.to_string()))?.node),
        None => None,
    };
    let lifetime = body.expires_s.map_or(LIFETIME, Duration::from_secs);
    if !(Duration::from_secs(60)..=LONGEST_LIFETIME).contains(&lifetime) {
        return Err(ApiError::invalid_field("expires_s", "must be from 60 to 2592000"));
    }
    let address = match body.address {
        Some(text) => {
            let read = host_and_port(&text);
            Some(read.ok_or_else(|| ApiError::invalid_field("address", "must be a host with its port, such as hub.example.com:4697"))?)
        }
        None => None,
    };
    Ok(TokenOrder { region: RegionName::from(region), node, lifetime, address })
}

impl From<&JoinToken> for TokenView {
    fn from(token: &JoinToken) -> TokenView {
        TokenView {
            id: hexadecimal(&token.id),
            region: token.region.to_string(),
            node: token.node.as_ref().map(ToString::to_string),
            expires_at: token.expires_at.rfc3339(),
            address: token.address.clone(),
            fingerprint: hexadecimal(&token.fingerprint),
            token: token.line(),
            commands: commands(token),
        }
    }
}

impl TokenRecordView {
    pub fn new(token: &TokenRecord, now: crate::model::time::Timestamp) -> TokenRecordView {
        let state = match token.used_at {
            Some(_) => "used",
            None if token.expires_at <= now => "expired",
            None => "open",
        };
        TokenRecordView {
            id: token.id.clone(),
            region: token.region.to_string(),
            node: token.node.as_ref().map(ToString::to_string),
            state,
            created_at: token.created_at.rfc3339(),
            created_by: token.created_by.clone(),
            expires_at: token.expires_at.rfc3339(),
            used_at: token.used_at.map(|at| at.rfc3339()),
            used_by: token.used_by.as_ref().map(ToString::to_string),
        }
    }
}

impl From<&NodeRecord> for JoinedView {
    fn from(record: &NodeRecord) -> JoinedView {
        JoinedView {
            name: record.identity.node.to_string(),
            region: record.identity.region.to_string(),
            joined_at: record.joined_at.rfc3339(),
            joined_by: record.joined_by.clone(),
            renewed_at: record.renewed_at.map(|at| at.rfc3339()),
            certificate_ends: record.not_after.rfc3339(),
            revoked_at: record.revoked_at.map(|at| at.rfc3339()),
            last_seen: record.last_seen.map(|at| at.rfc3339()),
        }
    }
}
