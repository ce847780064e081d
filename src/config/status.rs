//! The section of the public status page: how it looks, and who may ask to be told its news. What is on it, services say
//! themselves by `public`.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;

use crate::config::reader::Reader;
use crate::config::sources::Sources;

/// Characters.
const LONGEST_TITLE: usize = 100;
const LONGEST_ABOUT: usize = 4_000;
/// Bytes of a picture.
const LARGEST_LOGO: usize = 256 << 10;
/// Kinds of pictures, by the ending of their file.
const KINDS: [(&str, &str); 5] =
    [("svg", "image/svg+xml"), ("png", "image/png"), ("jpg", "image/jpeg"), ("jpeg", "image/jpeg"), ("webp", "image/webp")];

/// `None` everywhere: the page looks as the others do.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StatusSettings {
    pub title: Option<String>,
    /// Markdown.
    pub about: Option<String>,
    pub logo: Option<Logo>,
    /// `#rrggbb`
    pub accent: Option<String>,
    pub subscriptions: SubscriptionSettings,
}

/// Who may ask to be told what the page tells, and how.
#[derive(Clone, Debug, PartialEq)]
pub struct SubscriptionSettings {
    pub enabled: bool,
    /// The name of the mail channel by which mails go; `None`: none do.
    pub mail_channel: Option<String>,
    /// Subscribers at most, those counted who have not confirmed yet.
    pub most: usize,
    /// Requests from one address of the network.
    pub per_hour: u32,
    /// Whether a webhook may lie in a network that is not public.
    pub private_webhooks: bool,
}

impl Default for SubscriptionSettings {
    fn default() -> SubscriptionSettings {
        SubscriptionSettings { enabled: true, mail_channel: None, most: 5_000, per_hour: 10, private_webhooks: false }
    }
}

/// A picture, read when the settings were.
#[derive(Clone, PartialEq)]
pub struct Logo {
    /// Its media type.
    pub kind: &'static str,
    pub bytes: Arc<[u8]>,
    /// As it was given.
    source: String,
}

impl fmt::Debug for Logo {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} ({} bytes)", self.source, self.bytes.len())
    }
}

/// `has_address`: whether this hub knows the address people reach it at.
pub fn status(reader: &mut Reader, sources: &Sources, has_address: bool) -> StatusSettings {
    let title = short(reader, "status.title", LONGEST_TITLE);
    let about = short(reader, "status.about", LONGEST_ABOUT);
    let accent = reader.text("status.accent").filter(|accent| !accent.is_empty());
    let is_colour =
        |text: &String| text.strip_prefix('#').is_some_and(|hex| hex.len() == 6 && hex.bytes().all(|byte| byte.is_ascii_hexdigit()));
    if accent.as_ref().is_some_and(|accent| !is_colour(accent)) {
        reader.wrong("status.accent", "must be a colour such as \"#0b6e63\"");
    }
    let logo = reader
        .text("status.logo")
        .filter(|logo| !logo.is_empty())
        .and_then(|given| logo(sources, &given).map_err(|message| reader.wrong("status.logo", message)).ok());
    StatusSettings { title, about, logo, accent, subscriptions: subscriptions(reader, has_address) }
}

fn subscriptions(reader: &mut Reader, has_address: bool) -> SubscriptionSettings {
    let usual = SubscriptionSettings::default();
    let mail_channel = reader.text("status.mail_channel").map(|name| name.trim().to_owned()).filter(|name| !name.is_empty());
    // Links in mails lead to what the operator says, never to what a request names as its host.
    if mail_channel.is_some() && !has_address {
        reader.wrong("status.mail_channel", "needs api.public_url: the mails hold links to this hub");
    }
    SubscriptionSettings {
        enabled: reader.flag("status.subscriptions", usual.enabled),
        mail_channel,
        most: reader.whole("status.most_subscribers", usual.most as u64, 1..=100_000) as usize,
        per_hour: reader.whole("status.subscriptions_per_hour", usual.per_hour.into(), 1..=100_000) as u32,
        private_webhooks: reader.flag("status.private_webhooks", usual.private_webhooks),
    }
}

fn short(reader: &mut Reader, path: &str, longest: usize) -> Option<String> {
    let text = reader.text(path)?.trim().to_owned();
    if text.chars().count() > longest {
        reader.wrong(path, format!("must have at most {longest} characters"));
    }
    (!text.is_empty()).then_some(text)
}

fn logo(sources: &Sources, given: &str) -> Result<Logo, String> {
    let (kind, bytes, source) = match given.strip_prefix("data:") {
        Some(data) => {
            let (kind, encoded) = data.split_once(";base64,").ok_or("must be data:image/…;base64,… or the path of a file")?;
            let kind = KINDS.iter().find(|(_, known)| *known == kind).ok_or_else(|| format!("holds {kind:?}; {}", known()))?.1;
            let bytes = BASE64_STANDARD.decode(encoded.trim()).map_err(|error| format!("is not base64: {error}"))?;
            (kind, bytes, "data".to_owned())
        }
        None => {
            let path = sources.resolve(given);
            let ending = Path::new(given).extension().and_then(|ending| ending.to_str()).unwrap_or_default().to_ascii_lowercase();
            let kind = KINDS.iter().find(|(known, _)| *known == ending).ok_or_else(|| format!("ends in {ending:?}; {}", known()))?.1;
            let bytes = std::fs::read(&path).map_err(|error| format!("{} cannot be read: {error}", path.display()))?;
            (kind, bytes, given.to_owned())
        }
    };
    match bytes.len() {
        0 => Err("is empty".to_owned()),
        size if size > LARGEST_LOGO => Err(format!("has {size} bytes; it may have {LARGEST_LOGO}")),
        _ => Ok(Logo { kind, bytes: bytes.into(), source }),
    }
}

fn known() -> String {
    let endings: Vec<&str> = KINDS.iter().map(|(ending, _)| *ending).collect();
    format!("a picture is one of {}", endings.join(", "))
}
