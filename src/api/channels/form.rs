//! A request for a channel: read, its masks taken for what they stand for, checked, and what speaks against it looked for.

use serde_json::{Map, Value};

use crate::alert::channel::fields::unmask;
use crate::alert::channel::{Channel, Kind, kind_info};
use crate::api::error::ApiError;
use crate::api::state::ApiState;
use crate::config::mistake::Mistake;
use crate::config::nearest::suggestion;
use crate::model::id::ChannelId;
use crate::model::time::Timestamp;
use crate::store::channels::NewChannel;

const NAME: usize = 100;
/// What a request may hold.
const KNOWN: [&str; 9] = ["name", "kind", "enabled", "config", "save_anyway", "id", "revision", "created_at", "updated_at"];

/// A request that was understood.
pub struct Wanted {
    pub channel: NewChannel,
    save_anyway: bool,
}

/// A channel fit to be stored, or every mistake in it.
pub fn checked(state: &ApiState, body: Value, kept: Option<&Channel>) -> Result<Wanted, ApiError> {
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
pub async fn doubted(state: &ApiState, wanted: &Wanted) -> Result<(), ApiError> {
    if wanted.save_anyway {
        return Ok(());
    }
    let doubts = state.sender.doubts(&unsaved(&wanted.channel)).await;
    if doubts.is_empty() { Ok(()) } else { Err(ApiError::doubtful(doubts.into_iter().map(|doubt| doubt.inside("config")).collect())) }
}

/// As it would be stored.
pub fn unsaved(new: &NewChannel) -> Channel {
    let NewChannel { name, enabled, kind, config } = new.clone();
    let nobody = Timestamp::default();
    Channel { id: ChannelId(0), name, enabled, kind, config, revision: 0, created_at: nobody, updated_at: nobody }
}
