//! A channel tried: one real message, and what the far side said to it.

use std::time::Duration;

use crate::alert::channel::Channel;
use crate::api::channels::view::TestView;
use crate::api::state::ApiState;
use crate::model::alert::{Message, Telling};
use crate::model::incident::Severity;
use crate::store::codec::hex;
use crate::store::secrets::random;

/// Sends a message that says that it is a test; `who` tries.
pub async fn tried(state: &ApiState, channel: &Channel, who: &str) -> TestView {
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
