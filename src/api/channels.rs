//! Channels: the ways people are told, made, changed and tried.

pub mod form;
pub mod trial;
pub mod view;

use std::sync::Arc;

use rocket::http::Status;
use rocket::response::status::{Created, NoContent};
use rocket::serde::json::Json;
use rocket::{State, delete, get, patch, post, put};
use serde_json::{Map, Value};

use crate::alert::channel::{Channel, KINDS, kind_info};
use crate::api::auth::Admin;
use crate::api::body::{JsonBody, merge};
use crate::api::channels::form::{checked, doubted, unsaved};
use crate::api::channels::trial::tried;
use crate::api::channels::view::{ChannelBody, ChannelView, KindView, TestView};
use crate::api::error::{ApiError, Problem};
use crate::api::query::{Page, Query};
use crate::api::state::ApiState;
use crate::config::mistake::Mistake;
use crate::model::id::ChannelId;

/// The kinds of channels, with their fields.
#[utoipa::path(
    tag = "alerts",
    responses(
        (status = 200, description = "All kinds", body = Vec<KindView>),
        (status = 403, description = "Takes role admin", body = Problem),
    )
)]
#[get("/api/v1/alerts/channels/kinds")]
pub fn kinds(_admin: Admin) -> Json<Vec<KindView>> {
    Json(KINDS.iter().map(KindView::from).collect())
}

/// The channels, by number.
#[utoipa::path(
    tag = "alerts",
    params(
        ("page" = Option<u64>, Query, description = "From 1"),
        ("page_size" = Option<u64>, Query, description = "1 to 500, usually 50"),
        ("kind" = Option<String>, Query, description = "Only those of this kind"),
        ("enabled" = Option<bool>, Query, description = "Only those that are, or are not, used"),
    ),
    responses(
        (status = 200, description = "A page of channels, secrets masked", body = Page<ChannelView>),
        (status = 400, description = "A filter is wrong; errors names it", body = Problem),
        (status = 403, description = "Takes role admin", body = Problem),
    )
)]
#[get("/api/v1/alerts/channels")]
pub fn list(_admin: Admin, query: Query, state: &State<ApiState>) -> Result<Json<Page<ChannelView>>, ApiError> {
    query.allow(&["page", "page_size", "kind", "enabled"])?;
    let (page, size) = (query.page()?, query.page_size()?);
    let enabled = query.boolean("enabled")?;
    let kind = query.text("kind").map(kind_info).transpose().map_err(|mistake| ApiError::bad_query("kind", mistake.message))?;
    let all = state.channels.list();
    let fitting: Vec<_> = all
        .iter()
        .filter(|channel| enabled.is_none_or(|enabled| channel.enabled == enabled))
        .filter(|channel| kind.is_none_or(|kind| channel.kind.name() == kind.name))
        .collect();
    let skip = usize::try_from((page - 1).saturating_mul(size as u64)).unwrap_or(usize::MAX);
    let shown = fitting.iter().skip(skip).take(size).map(|channel| ChannelView::from(&***channel)).collect();
    Ok(Json(query.numbered(fitting.len() as u64, page, size, shown)))
}

/// A new channel.
///
/// What speaks against it is looked for before it is stored, without telling anyone: whether its host is there and, where the
/// service can be asked, whether it takes the token. If something does, the answer is 422 with `warnings`, and nothing is
/// stored unless `save_anyway` is true.
#[utoipa::path(
    tag = "alerts",
    request_body = ChannelBody,
    responses(
        (status = 201, description = "The channel, with its number", body = ChannelView),
        (status = 403, description = "Takes role admin", body = Problem),
        (status = 422, description = "Fields are wrong (errors), or something speaks against it (warnings); nothing was stored", body = Problem),
    )
)]
#[post("/api/v1/alerts/channels", data = "<body>")]
pub async fn create(admin: Admin, state: &State<ApiState>, body: JsonBody) -> Result<Created<Json<ChannelView>>, ApiError> {
    let wanted = checked(state, body.0, None)?;
    doubted(state, &wanted).await?;
    let channel = state.channels.create(wanted.channel, &admin.0.author()).await?;
    // Whoever makes a channel expects to be told something.
    state.alerts.rules.ensure_first(channel.id, &admin.0.author()).await?;
    state.inbox.nudge.notify_one();
    Ok(Created::new(format!("/api/v1/alerts/channels/{}/", channel.id)).body(Json(ChannelView::from(&*channel))))
}

/// One channel.
#[utoipa::path(
    tag = "alerts",
    params(("id" = u32, Path, description = "The channel's number")),
    responses(
        (status = 200, description = "The channel, secrets masked", body = ChannelView),
        (status = 403, description = "Takes role admin", body = Problem),
        (status = 404, description = "There is none of this number", body = Problem),
    )
)]
#[get("/api/v1/alerts/channels/<id>")]
pub fn read(_admin: Admin, state: &State<ApiState>, id: &str) -> Result<Json<ChannelView>, ApiError> {
    Ok(Json(ChannelView::from(&*find(state, id)?)))
}

/// Replaces a channel: fields left out go back to their defaults.
///
/// A secret sent back as its mask stays as it is, unless the channel now leads elsewhere.
#[utoipa::path(
    tag = "alerts",
    params(("id" = u32, Path, description = "The channel's number")),
    request_body = ChannelBody,
    responses(
        (status = 200, description = "The channel as it is now", body = ChannelView),
        (status = 403, description = "Takes role admin", body = Problem),
        (status = 404, description = "There is none of this number", body = Problem),
        (status = 409, description = "Someone else changed it meanwhile", body = Problem),
        (status = 422, description = "Fields are wrong (errors), or something speaks against it (warnings); nothing was stored", body = Problem),
    )
)]
#[put("/api/v1/alerts/channels/<id>", data = "<body>")]
pub async fn replace(admin: Admin, state: &State<ApiState>, id: &str, body: JsonBody) -> Result<Json<ChannelView>, ApiError> {
    let kept = find(state, id)?;
    change(&admin, state, &kept, body.0).await
}

/// Changes fields of a channel, by JSON Merge Patch (RFC 7396): null puts a field back to its default.
#[utoipa::path(
    tag = "alerts",
    params(("id" = u32, Path, description = "The channel's number")),
    request_body = ChannelBody,
    responses(
        (status = 200, description = "The channel as it is now", body = ChannelView),
        (status = 403, description = "Takes role admin", body = Problem),
        (status = 404, description = "There is none of this number", body = Problem),
        (status = 409, description = "Someone else changed it meanwhile", body = Problem),
        (status = 422, description = "Fields are wrong (errors), or something speaks against it (warnings); nothing was stored", body = Problem),
    )
)]
#[patch("/api/v1/alerts/channels/<id>", data = "<body>")]
pub async fn patch(admin: Admin, state: &State<ApiState>, id: &str, body: JsonBody) -> Result<Json<ChannelView>, ApiError> {
    let kept = find(state, id)?;
    let Value::Object(patch) = body.0 else {
        return Err(ApiError::invalid(vec![Mistake::new("", "a patch is an object of the fields to change")]));
    };
    // From the masked form: so a secret is kept only where the channel still leads to the same place.
    let mut whole = Map::new();
    whole.insert("name".to_owned(), kept.name.clone().into());
    whole.insert("kind".to_owned(), kept.kind.name().into());
    whole.insert("enabled".to_owned(), kept.enabled.into());
    whole.insert("config".to_owned(), Value::Object(kept.masked()));
    merge(&mut whole, patch);
    change(&admin, state, &kept, Value::Object(whole)).await
}

/// Ends a channel.
#[utoipa::path(
    tag = "alerts",
    params(
        ("id" = u32, Path, description = "The channel's number"),
        ("force" = Option<bool>, Query, description = "Even if alert rules use it or users are told by it; they tell it nothing any more then"),
    ),
    responses(
        (status = 204, description = "It is gone; its number is never given again"),
        (status = 403, description = "Takes role admin", body = Problem),
        (status = 404, description = "There is none of this number", body = Problem),
        (status = 409, description = "Alert rules use it or users are told by it, and are named", body = Problem),
    )
)]
#[delete("/api/v1/alerts/channels/<id>")]
pub async fn delete(admin: Admin, query: Query, state: &State<ApiState>, id: &str) -> Result<NoContent, ApiError> {
    query.allow(&["force"])?;
    let force = query.boolean("force")?.unwrap_or(false);
    let channel = find(state, id)?;
    let rules = state.alerts.rules.using(channel.id).into_iter().map(|stored| format!("rule {}", stored.rule.name));
    let told = state.users.told_by(channel.id);
    let using: Vec<String> = rules.chain(told.iter().map(|username| format!("user {username}"))).collect();
    if !using.is_empty() && !force {
        let detail = format!("channel {} tells for these: {}; with ?force=true it tells nothing any more", channel.id, using.join(", "));
        return Err(ApiError::new(Status::Conflict, detail));
    }
    for username in told {
        state.users.set_channel(&username, None, &admin.0.author()).await?;
    }
    state.channels.delete(channel.id, &admin.0.author()).await?;
    Ok(NoContent)
}

/// Sends a real message through a channel and shows what the far side answered.
#[utoipa::path(
    tag = "alerts",
    params(("id" = u32, Path, description = "The channel's number")),
    responses(
        (status = 200, description = "What became of it, also where it was not delivered", body = TestView),
        (status = 403, description = "Takes role admin", body = Problem),
        (status = 404, description = "There is none of this number", body = Problem),
    )
)]
#[post("/api/v1/alerts/channels/<id>/test")]
pub async fn test(admin: Admin, state: &State<ApiState>, id: &str) -> Result<Json<TestView>, ApiError> {
    let channel = find(state, id)?;
    state.channels.tried(Some(channel.id), &admin.0.author()).await?;
    Ok(Json(tried(state, &channel, &admin.0.author().who).await))
}

/// Sends a real message through a channel that is not stored.
#[utoipa::path(
    tag = "alerts",
    request_body = ChannelBody,
    responses(
        (status = 200, description = "What became of it, also where it was not delivered", body = TestView),
        (status = 403, description = "Takes role admin", body = Problem),
        (status = 422, description = "Fields are wrong", body = Problem),
    )
)]
#[post("/api/v1/alerts/channels/test", data = "<body>")]
pub async fn test_unsaved(admin: Admin, state: &State<ApiState>, body: JsonBody) -> Result<Json<TestView>, ApiError> {
    let mut body = body.0;
    // A name is not needed to try it; the number of a stored channel lends its secrets to the masks.
    let kept = body.get("id").and_then(Value::as_u64).map(|id| find(state, &id.to_string())).transpose()?;
    if let Value::Object(fields) = &mut body {
        fields.entry("name").or_insert_with(|| kept.as_ref().map_or("a channel that is tried", |kept| kept.name.as_str()).into());
    }
    let wanted = checked(state, body, kept.as_deref())?;
    state.channels.tried(kept.map(|kept| kept.id), &admin.0.author()).await?;
    Ok(Json(tried(state, &unsaved(&wanted.channel), &admin.0.author().who).await))
}

fn find(state: &ApiState, id: &str) -> Result<Arc<Channel>, ApiError> {
    let found = id.parse().ok().and_then(|id| state.channels.get(ChannelId(id)));
    found.ok_or_else(|| ApiError::not_found(format!("there is no channel {id}")))
}

async fn change(admin: &Admin, state: &ApiState, kept: &Channel, body: Value) -> Result<Json<ChannelView>, ApiError> {
    let expected = body.get("revision").and_then(Value::as_u64);
    let wanted = checked(state, body, Some(kept))?;
    if wanted.channel.config != kept.config {
        doubted(state, &wanted).await?;
    }
    let channel = state.channels.replace(kept.id, wanted.channel, expected, &admin.0.author()).await?;
    state.alerts.deliveries.nudge();
    Ok(Json(ChannelView::from(&*channel)))
}
