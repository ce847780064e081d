//! Channels: the ways people are told, made, changed and tried.

use std::time::Duration;

use rocket::http::Status;
use rocket::response::status::{Created, NoContent};
use rocket::serde::json::Json;
use rocket::{State, delete, get, patch, post, put};
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::alert::channel::fields::{Form, unmask};
use crate::alert::channel::{Channel, KINDS, Kind, KindInfo, kind_info};
use crate::api::auth::Admin;
use crate::api::body::JsonBody;
use crate::api::error::{ApiError, Problem};
use crate::api::query::{Page, Query};
use crate::api::services::merge;
use crate::api::state::ApiState;
use crate::config::mistake::Mistake;
use crate::config::nearest::suggestion;
use crate::model::alert::{Message, Telling};
use crate::model::id::ChannelId;
use crate::model::incident::Severity;
use crate::model::time::Timestamp;
use crate::store::channels::NewChannel;
use crate::store::codec::hex;
use crate::store::secrets::random;

const NAME: usize = 100;
/// What a request may hold.
const KNOWN: [&str; 9] = ["name", "kind", "enabled", "config", "save_anyway", "id", "revision", "created_at", "updated_at"];

/// A channel as it is sent and answered.
#[derive(Serialize, ToSchema)]
pub struct ChannelView {
    #[schema(read_only)]
    id: u32,
    /// At most 100 characters, of no other channel.
    name: String,
    /// One of those at `/api/v1/alerts/channels/kinds`; it never changes.
    kind: &'static str,
    #[schema(default = true)]
    enabled: bool,
    /// The fields of the kind. Secrets are shown as `********`; sent back so, they stay as they are.
    #[schema(value_type = Object)]
    config: Map<String, Value>,
    /// Rises with each change. Sent back, it must still be the same.
    #[schema(read_only)]
    revision: u64,
    #[schema(read_only)]
    created_at: String,
    #[schema(read_only)]
    updated_at: String,
}

/// A channel to be made or changed.
#[derive(Serialize, ToSchema)]
pub struct ChannelBody {
    name: String,
    /// One of those at `/api/v1/alerts/channels/kinds`.
    kind: String,
    enabled: Option<bool>,
    /// The fields of the kind.
    #[schema(value_type = Object)]
    config: Value,
    /// Store it although something speaks against it, such as a host that cannot be found or a token that is refused.
    save_anyway: Option<bool>,
}

/// A kind of channel, with its fields.
#[derive(Serialize, ToSchema)]
pub struct KindView {
    name: &'static str,
    about: &'static str,
    fields: Vec<FieldView>,
}

#[derive(Serialize, ToSchema)]
pub struct FieldView {
    name: &'static str,
    about: &'static str,
    /// `text`, `secret`, `address`, `secret address`, `number`, `flag`, `list of texts`, `secrets by name` or `choice`.
    form: &'static str,
    required: bool,
    /// Of a choice, what there is to choose from.
    choices: Vec<&'static str>,
    least: Option<u64>,
    most: Option<u64>,
}

/// What became of a test.
#[derive(Serialize, ToSchema)]
pub struct TestView {
    /// Whether the far side took the message.
    delivered: bool,
    /// Its own words, or why there are none.
    answer: String,
    /// Whether trying again can help.
    permanent: bool,
    /// How long it asks us to wait.
    retry_after_s: Option<f64>,
    took_ms: f64,
}

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
        ("force" = Option<bool>, Query, description = "Even if alert rules use it; they tell it nothing any more then"),
    ),
    responses(
        (status = 204, description = "It is gone; its number is never given again"),
        (status = 403, description = "Takes role admin", body = Problem),
        (status = 404, description = "There is none of this number", body = Problem),
        (status = 409, description = "Alert rules use it, and are named", body = Problem),
    )
)]
#[delete("/api/v1/alerts/channels/<id>")]
pub async fn delete(admin: Admin, query: Query, state: &State<ApiState>, id: &str) -> Result<NoContent, ApiError> {
    query.allow(&["force"])?;
    let force = query.boolean("force")?.unwrap_or(false);
    let channel = find(state, id)?;
    let rules: Vec<String> = state.alerts.rules.using(channel.id).iter().map(|stored| stored.rule.name.to_string()).collect();
    if !rules.is_empty() && !force {
        let detail = format!(
            "channel {} is used by these alert rules: {}; with ?force=true they tell it nothing any more",
            channel.id,
            rules.join(", ")
        );
        return Err(ApiError::new(Status::Conflict, detail));
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

async fn tried(state: &ApiState, channel: &Channel, who: &str) -> TestView {
    let message = test_message(channel, who, state);
    let began = state.clock.steady();
    let done = state.sender.deliver(channel, &message).await;
    let took_ms = (state.clock.steady().saturating_sub(began)).as_micros() as f64 / 1e3;
    match done {
        Ok(receipt) => TestView { delivered: true, answer: receipt.answer, permanent: false, retry_after_s: None, took_ms },
        Err(failure) => TestView {
            delivered: false,
            answer: failure.reason,
            permanent: failure.permanent,
            retry_after_s: failure.retry_after.as_ref().map(Duration::as_secs_f64),
            took_ms,
        },
    }
}

fn test_message(channel: &Channel, who: &str, state: &ApiState) -> Message {
    let key = format!("test-{}", hex(&random::<8>()));
    Message {
        cause: key.clone(),
        key,
        telling: Telling::Test,
        severity: Severity::Warning,
        drill: false,
        service: None,
        headline: format!("{who} tries channel {:?}; nothing is broken", channel.name),
        since: state.clock.now(),
        recovered_at: None,
        regions: Vec::new(),
        last_good: None,
        consequences: Vec::new(),
        link: state.settings.public_url.clone(),
        next_step: Some("If you can read this, the channel works: there is nothing to do.".to_owned()),
        acknowledged_by: None,
        rule: "test".to_owned(),
    }
}

fn find(state: &ApiState, id: &str) -> Result<std::sync::Arc<Channel>, ApiError> {
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

/// A request that was understood.
struct Wanted {
    channel: NewChannel,
    save_anyway: bool,
}

/// A channel fit to be stored, or every mistake in it.
fn checked(state: &ApiState, body: Value, kept: Option<&Channel>) -> Result<Wanted, ApiError> {
    let Value::Object(mut body) = body else {
        return Err(ApiError::invalid(vec![Mistake::new("", "a channel is an object")]));
    };
    let mut wrong: Vec<Mistake> = body
        .keys()
        .filter(|name| !KNOWN.contains(&name.as_str()))
        .map(|name| Mistake::new(name, format!("is not a field of a channel{}", suggestion(name, KNOWN))))
        .collect();
    match (body.get("id").filter(|id| !id.is_null()), kept) {
        (Some(id), Some(kept)) if id.as_u64() != Some(u64::from(kept.id.0)) => wrong.push(Mistake::new("id", "cannot be changed")),
        (Some(_), None) => wrong.push(Mistake::new("id", "is given by the hub")),
        _ => {}
    }
    let mut flag = |name: &str, usual: bool| match body.get(name) {
        None | Some(Value::Null) => usual,
        Some(Value::Bool(flag)) => *flag,
        Some(_) => {
            wrong.push(Mistake::new(name, "must be true or false"));
            usual
        }
    };
    let (enabled, save_anyway) = (flag("enabled", true), flag("save_anyway", false));
    let name = body.get("name").and_then(Value::as_str).unwrap_or_default().trim().to_owned();
    if name.is_empty() || name.chars().count() > NAME || name.chars().any(char::is_control) {
        wrong.push(Mistake::new("name", format!("must be a text of 1 to {NAME} characters")));
    } else if let Some(other) = state.channels.find_by_name(&name).filter(|other| kept.is_none_or(|kept| kept.id != other.id)) {
        wrong.push(Mistake::new("name", format!("{name:?} is taken by channel {}", other.id)));
    }
    let info = match (body.get("kind").and_then(Value::as_str), kept) {
        (Some(kind), Some(kept)) if kind != kept.kind.name() => {
            wrong.push(Mistake::new("kind", format!("is {} and never changes: make another channel", kept.kind.name())));
            None
        }
        (None, Some(kept)) => Some(kept.kind.info()),
        (kind, _) => kind_info(kind.unwrap_or_default()).map_err(|mistake| wrong.push(mistake)).ok(),
    };
    let mut config = match body.remove("config") {
        Some(Value::Object(config)) => config,
        None | Some(Value::Null) => Map::new(),
        Some(_) => {
            wrong.push(Mistake::new("config", "must be an object of the kind's fields"));
            return Err(ApiError::invalid(wrong));
        }
    };
    let kind = info.and_then(|info| {
        config.retain(|_, value| !value.is_null());
        let masks = unmask(info.fields, &mut config, kept.filter(|kept| kept.kind.name() == info.name).map(|kept| &kept.config));
        let read = Kind::read(info, &config);
        let masked = |mistake: &Mistake| masks.iter().any(|mask| mask.path == mistake.path);
        let further = read.as_ref().err().into_iter().flatten().filter(|mistake| !masked(mistake)).cloned();
        wrong.extend(masks.iter().cloned().chain(further).map(|mistake| mistake.inside("config")));
        read.ok()
    });
    if matches!(kind, Some(Kind::Command(_))) && !state.sender.allows_commands() {
        wrong.push(Mistake::new(
            "kind",
            "is switched off: commands are run only where the hub's settings say allow_commands = true below [alerts]",
        ));
    }
    match kind {
        Some(kind) if wrong.is_empty() => Ok(Wanted { channel: NewChannel { name, enabled, kind, config }, save_anyway }),
        _ => Err(ApiError::invalid(wrong)),
    }
}

/// Refuses a channel something speaks against, unless it is to be stored all the same.
async fn doubted(state: &ApiState, wanted: &Wanted) -> Result<(), ApiError> {
    if wanted.save_anyway {
        return Ok(());
    }
    let doubts = state.sender.doubts(&unsaved(&wanted.channel)).await;
    if doubts.is_empty() { Ok(()) } else { Err(ApiError::doubtful(doubts.into_iter().map(|doubt| doubt.inside("config")).collect())) }
}

/// As it would be stored.
fn unsaved(new: &NewChannel) -> Channel {
    let NewChannel { name, enabled, kind, config } = new.clone();
    let nobody = Timestamp::default();
    Channel { id: ChannelId(0), name, enabled, kind, config, revision: 0, created_at: nobody, updated_at: nobody }
}

impl From<&Channel> for ChannelView {
    fn from(channel: &Channel) -> ChannelView {
        ChannelView {
            id: channel.id.0,
            name: channel.name.clone(),
            kind: channel.kind.name(),
            enabled: channel.enabled,
            config: channel.masked(),
            revision: channel.revision,
            created_at: channel.created_at.rfc3339(),
            updated_at: channel.updated_at.rfc3339(),
        }
    }
}

impl From<&KindInfo> for KindView {
    fn from(kind: &KindInfo) -> KindView {
        let fields = kind.fields.iter().map(|field| {
            let choices = if let Form::Choice(names) = field.form { names.to_vec() } else { Vec::new() };
            let (least, most) = if let Form::Number { least, most } = field.form { (Some(least), Some(most)) } else { (None, None) };
            FieldView { name: field.name, about: field.about, form: field.form.name(), required: field.required, choices, least, most }
        });
        KindView { name: kind.name, about: kind.about, fields: fields.collect() }
    }
}
