//! Channels at the edge: made and tried by the API, and each kind held against a server on a real socket that remembers what it
//! was asked.

mod api;
mod command;
mod faults;
mod kinds;
pub mod mail;

use std::time::Duration;

use probemesh::alert::channel::sender::Sender;
use probemesh::alert::channel::{Channel, Kind, kind_info};
use probemesh::clock::Clock;
use probemesh::config::sections::ChannelSettings;
use probemesh::model::alert::{Message, RegionLine, Telling};
use probemesh::model::id::ChannelId;
use probemesh::model::incident::Severity;
use probemesh::model::time::Timestamp;
use serde_json::{Value, json};

use crate::api_world::at;

pub const SECRET: &str = "s3cret-of-the-channel";
const KEY: &str = "incident-7-raised-1";
const CAUSE: &str = "incident-7";

/// Twelve minutes after [`message`]'s cause began.
fn now() -> Timestamp {
    at("2026-11-22T10:12:00Z")
}

fn sender_with(alter: impl FnOnce(&mut ChannelSettings)) -> Sender {
    let mut settings = ChannelSettings { send_timeout: Duration::from_secs(10), allow_commands: false, blocked_networks: Vec::new() };
    alter(&mut settings);
    Sender::new(&settings, Some("https://hub.example"), Clock::manual(now())).unwrap()
}

fn sender() -> Sender {
    sender_with(|_| ())
}

/// A channel as it would be stored.
fn channel(kind: &str, config: Value) -> Channel {
    let config = config.as_object().unwrap().clone();
    let kind = Kind::read(kind_info(kind).unwrap(), &config).unwrap_or_else(|wrong| panic!("{wrong:?}"));
    let (created_at, updated_at) = (now(), now());
    Channel { id: ChannelId(1), name: "ops".to_owned(), enabled: true, kind, config, revision: 1, created_at, updated_at }
}

fn message(telling: Telling) -> Message {
    Message {
        key: KEY.to_owned(),
        cause: CAUSE.to_owned(),
        telling,
        severity: Severity::Critical,
        drill: false,
        service: Some("shop".to_owned()),
        headline: "shop: TLS handshake fails in 2 of 2 regions".to_owned(),
        since: at("2026-11-22T10:00:00Z"),
        recovered_at: (telling == Telling::Recovered).then(now),
        regions: vec![
            RegionLine { region: "eu".to_owned(), status: "down".to_owned(), text: "TLS: certificate has expired".to_owned() },
            RegionLine { region: "us".to_owned(), status: "down".to_owned(), text: "TLS: certificate has <expired>".to_owned() },
        ],
        last_good: Some(at("2026-11-22T09:59:00Z")),
        consequences: vec!["cart".to_owned(), "checkout".to_owned()],
        link: Some("https://hub.example/incidents/7".to_owned()),
        next_step: Some("Renew the certificate.".to_owned()),
        acknowledged_by: None,
        rule: "everything".to_owned(),
    }
}

/// Each kind that speaks HTTP with what leads it to a server of the test, and what that server says when it takes a message.
fn http_kinds(base: &str) -> Vec<(&'static str, Value, &'static str)> {
    let hook = format!("{base}/services/T000/{SECRET}");
    vec![
        ("webhook", json!({"url": hook, "secret": SECRET, "headers": {"Authorization": format!("Bearer {SECRET}")}}), "thanks"),
        ("slack", json!({"webhook_url": hook}), "ok"),
        ("discord", json!({"webhook_url": hook}), r#"{"id": "4711"}"#),
        ("teams", json!({"webhook_url": hook}), ""),
        (
            "telegram",
            json!({"token": format!("123456:{SECRET}"), "chat": "-1001", "api_url": base}),
            r#"{"ok": true, "result": {"message_id": 7}}"#,
        ),
        ("pagerduty", json!({"routing_key": SECRET, "api_url": base}), r#"{"status": "success", "message": "Event processed"}"#),
        ("ntfy", json!({"topic": "probemesh-s3cret-topic", "token": SECRET, "server": base}), r#"{"id": "abc", "event": "message"}"#),
        ("matrix", json!({"homeserver": base, "room": "!room:test", "token": SECRET}), r#"{"event_id": "$event"}"#),
    ]
}
