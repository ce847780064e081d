//! The section of digests: when they are written, of what, and which language model may write them at which cost.

use std::time::Duration;

use url::Url;

use crate::config::reader::{Reader, Unit};
use crate::config::sections::{DigestSettings, ModelSettings, OfServices};
use crate::config::service::parse_cron;
use crate::config::sources::Sources;
use crate::model::service::Schedule;

/// Where instructions for the model are looked for if no other place is named; they need not be there.
const PROMPT_FILE: &str = "prompts/digest.md";

pub fn digest(reader: &mut Reader, sources: &Sources) -> DigestSettings {
    let expression = reader.text("digest.cron").unwrap_or_else(|| "0 7 * * *".to_owned());
    let zone = reader.text("digest.timezone");
    let schedule = match expression.trim() {
        "" | "off" => None,
        expression => match parse_cron(expression, zone.as_deref(), Some(Duration::ZERO)) {
            Ok(schedule) => Some(schedule),
            Err(mistakes) => {
                for mistake in mistakes {
                    reader.wrong(if mistake.path == "timezone" { "digest.timezone" } else { "digest.cron" }, mistake.message);
                }
                None::<Schedule>
            }
        },
    };
    let of_services = reader.text("digest.services").unwrap_or_else(|| "notable".to_owned());
    let of_services = OfServices::from_name(&of_services).unwrap_or_else(|| {
        reader.wrong("digest.services", format!("must be notable, all or none, not {of_services:?}"));
        OfServices::Notable
    });
    let usual = sources.resolve(PROMPT_FILE);
    let prompt_file = reader.path("digest.prompt_file").unwrap_or_else(|| usual.clone());
    DigestSettings {
        schedule,
        hours: reader.whole("digest.period_hours", 24, 1..=2_160) as u32,
        of_services,
        retain: reader.span("digest.retain_days", Unit::Days, 730.0, 1.0..=36_500.0),
        prompt_file_named: prompt_file != usual,
        prompt_file,
        model: model(reader),
    }
}

/// `None`: no key, no model.
fn model(reader: &mut Reader) -> Option<ModelSettings> {
    let key = reader.text("digest.api_key");
    if key.as_ref().is_some_and(|key| http::HeaderValue::try_from(format!("Bearer {key}")).is_err()) {
        reader.wrong("digest.api_key", "holds characters a header cannot carry");
    }
    let base_url = reader.text("digest.base_url").unwrap_or_else(|| "https://api.openai.com/v1".to_owned());
    let url = Url::parse(&base_url).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.host_str().is_some());
    match &url {
        None => reader.wrong("digest.base_url", "is not an http or https URL"),
        Some(url) if !url.username().is_empty() || url.password().is_some() || url.query().is_some() => {
            reader.wrong("digest.base_url", "must not hold a user name, a password or a query; the key belongs into OPENAI_API_KEY");
        }
        Some(_) => {}
    }
    let settings = ModelSettings {
        key: key.clone().unwrap_or_default(),
        base_url: base_url.trim_end_matches('/').to_owned(),
        model: reader.text("digest.model").unwrap_or_else(|| "gpt-4o-mini".to_owned()),
        timeout: reader.span("digest.timeout_s", Unit::Seconds, 60.0, 0.1..=600.0),
        retries: reader.whole("digest.retries", 2, 0..=10) as u32,
        daily_tokens: reader.whole("digest.daily_tokens", 200_000, 0..=1_000_000_000),
        max_output_tokens: reader.whole("digest.max_output_tokens", 1_500, 100..=100_000) as u32,
    };
    if settings.model.trim().is_empty() {
        reader.wrong("digest.model", "must not be empty");
    }
    key.map(|_| settings)
}
