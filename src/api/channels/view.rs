//! Channels and their kinds as the API shows them.

use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::alert::channel::fields::Form;
use crate::alert::channel::{Channel, KindInfo};

/// A channel as it is sent and answered.
#[derive(Serialize, ToSchema)]
pub struct ChannelView {
    #[schema(read_only)]
    pub id: u32,
    /// At most 100 characters, of no other channel.
    pub name: String,
    /// One of those at `/api/v1/alerts/channels/kinds`; it never changes.
    pub kind: &'static str,
    #[schema(default = true)]
    pub enabled: bool,
    /// The fields of the kind. Secrets are shown as `********`; sent back so, they stay as they are.
    #[schema(value_type = Object)]
    pub config: Map<String, Value>,
    /// Rises with each change. Sent back, it must still be the same.
    #[schema(read_only)]
    pub revision: u64,
    #[schema(read_only)]
    pub created_at: String,
    #[schema(read_only)]
    pub updated_at: String,
}

/// A channel to be made or changed.
#[derive(Serialize, ToSchema)]
pub struct ChannelBody {
    pub name: String,
    /// One of those at `/api/v1/alerts/channels/kinds`.
    pub kind: String,
    pub enabled: Option<bool>,
    /// The fields of the kind.
    #[schema(value_type = Object)]
    pub config: Value,
    /// Store it although something speaks against it, such as a host that cannot be found or a token that is refused.
    pub save_anyway: Option<bool>,
}

/// A kind of channel, with its fields.
#[derive(Serialize, ToSchema)]
pub struct KindView {
    pub name: &'static str,
    pub about: &'static str,
    pub fields: Vec<FieldView>,
}

#[derive(Serialize, ToSchema)]
pub struct FieldView {
    pub name: &'static str,
    pub about: &'static str,
    /// `text`, `secret`, `address`, `secret address`, `number`, `flag`, `list of texts`, `secrets by name` or `choice`.
    pub form: &'static str,
    pub required: bool,
    /// Of a choice, what there is to choose from.
    pub choices: Vec<&'static str>,
    pub least: Option<u64>,
    pub most: Option<u64>,
}

/// What became of a test.
#[derive(Serialize, ToSchema)]
pub struct TestView {
    /// Whether the far side took the message.
    pub delivered: bool,
    /// Its own words, or why there are none.
    pub answer: String,
    /// Whether trying again can help.
    pub permanent: bool,
    /// How long it asks us to wait.
    pub retry_after_s: Option<f64>,
    pub took_ms: f64,
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
