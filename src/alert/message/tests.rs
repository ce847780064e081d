//! The whole text of a message, in each form.

use std::time::Duration;

use crate::alert::message::{Mood, Parts, card, html, plain};
use crate::model::alert::{Message, RegionLine, Telling};
use crate::model::incident::Severity;
use crate::model::time::Timestamp;

fn at(text: &str) -> Timestamp {
    Timestamp::parse(text).expect("it is a time")
}

fn line(region: &str, status: &str, text: &str) -> RegionLine {
    RegionLine { region: region.to_owned(), status: status.to_owned(), text: text.to_owned() }
}

/// An incident with everything in it.
pub fn full() -> Message {
    Message {
        key: "incident-7-1".to_owned(),
        cause: "incident-7".to_owned(),
        telling: Telling::Raised,
        severity: Severity::Critical,
        drill: false,
        service: Some("shop".to_owned()),
        headline: "shop: TLS handshake fails in 2 of 3 regions".to_owned(),
        since: at("2026-11-22T10:00:00Z"),
        recovered_at: None,
        regions: vec![
            line("eu-west", "down", "TLS: certificate has expired (203.0.113.7)"),
            line("us", "down", "TLS: certificate has expired"),
            line("ap-south-1", "up", "200 in 85 ms"),
        ],
        last_good: Some(at("2026-11-22T09:59:00Z")),
        consequences: (1..=200).map(|number| format!("service-{number}")).collect(),
        link: Some("https://hub.example/incidents/7".to_owned()),
        next_step: Some("Renew the certificate: it was valid until 2026-11-22.".to_owned()),
        acknowledged_by: None,
        rule: "everything".to_owned(),
    }
}

fn parts(message: &Message) -> Parts {
    Parts::of(message, at("2026-11-22T10:12:00Z"))
}

fn nasty() -> Message {
    let text = "</td><script>alert(1)</script> *_`[x](javascript:y)` <!channel> @everyone & \"q\"";
    Message {
        headline: text.to_owned(),
        service: None,
        regions: vec![line(text, "down", text)],
        consequences: vec![text.to_owned()],
        next_step: Some(text.to_owned()),
        acknowledged_by: Some(text.to_owned()),
        link: Some("javascript:alert(1)".to_owned()),
        rule: text.to_owned(),
        ..full()
    }
}

#[test]
fn plain_text_says_what_where_since_when_and_what_to_do() {
    insta::assert_snapshot!(plain::whole(&parts(&full())), @r"
    shop: TLS handshake fails in 2 of 3 regions

    Since: 2026-11-22 10:00:00 UTC, 12 minutes ago
    Seen from:
      eu-west     down     TLS: certificate has expired (203.0.113.7)
      us          down     TLS: certificate has expired
      ap-south-1  up       200 in 85 ms
    Last good: 2026-11-22 09:59:00 UTC, 13 minutes ago
    Also affected: 200 services fail because of it: service-1, service-2, service-3, service-4, service-5, service-6, service-7, service-8, service-9, service-10 and 190 more
    Look at: https://hub.example/incidents/7
    Next step: Renew the certificate: it was valid until 2026-11-22.

    Told (raised, critical) by rule everything.
    ");
}

#[test]
fn the_first_line_says_what_kind_of_telling_it_is() {
    let first = |message: Message| parts(&message).first_line;
    let headline = "shop: TLS handshake fails in 2 of 3 regions";
    assert_eq!(first(full()), headline);
    assert_eq!(first(Message { drill: true, ..full() }), format!("[DRILL] {headline}"));
    assert_eq!(first(Message { telling: Telling::Escalated, ..full() }), format!("Escalated: {headline}"));
    assert_eq!(first(Message { headline: "DNS fails".to_owned(), ..full() }), "shop: DNS fails");
    let over =
        Message { telling: Telling::Recovered, recovered_at: Some(full().since.plus(Duration::from_secs(754))), drill: true, ..full() };
    assert_eq!(first(over), format!("[DRILL] Recovered: {headline} (lasted 13 minutes)"));
    let paused = Message { telling: Telling::Recovered, ..full() };
    assert_eq!((first(paused.clone()), parts(&paused).mood), (format!("No longer watched: {headline}"), Mood::Neutral));
}

#[test]
fn a_recovery_tells_how_long_it_lasted_and_asks_for_nothing() {
    let over = Message {
        telling: Telling::Recovered,
        recovered_at: Some(at("2026-11-22T10:10:00Z")),
        acknowledged_by: Some("ada: on it".to_owned()),
        consequences: Vec::new(),
        regions: Vec::new(),
        ..full()
    };
    insta::assert_snapshot!(plain::whole(&parts(&over)), @r"
    Recovered: shop: TLS handshake fails in 2 of 3 regions (lasted 10 minutes)

    Recovered: 2026-11-22 10:10:00 UTC
    Lasted: 10 minutes, since 2026-11-22 10:00:00 UTC
    Look at: https://hub.example/incidents/7
    Acknowledged by: ada: on it

    Told (recovered, critical) by rule everything.
    ");
}

#[test]
fn what_others_wrote_is_text_in_every_form() {
    let parts = parts(&nasty());
    for form in [html::page(&parts), html::room(&parts), html::telegram(&parts, 4_096)] {
        assert!(form.contains("&lt;script&gt;") && !form.contains("<script") && !form.contains("href=\"javascript"), "{form}");
    }
    let slack = card::slack_message(&parts).to_string();
    assert!(slack.contains("&lt;!channel&gt;") && !slack.contains("<!channel>"), "{slack}");
    let discord = card::discord_message(&parts, full().since);
    assert_eq!(discord["allowed_mentions"]["parse"], serde_json::json!([]));
    assert!(discord["content"].as_str().is_some_and(|text| text.contains(r"\@everyone") && text.contains(r"\[x\](")), "{discord}");
    assert_eq!(discord["embeds"][0]["url"], serde_json::Value::Null);
    let teams = card::teams_message(&parts);
    let card = &teams["attachments"][0]["content"];
    assert!(card["body"].as_array().is_some_and(|body| body.iter().all(|block| block["type"] == "RichTextBlock")), "{card}");
    assert_eq!(card["actions"], serde_json::json!([]));
}

#[test]
fn each_service_gets_no_more_than_it_takes() {
    let long = "x🦀".repeat(2_000);
    let message = Message {
        headline: long.clone(),
        regions: (0..40).map(|number| line(&format!("region-{number}-{long}"), "down", &long)).collect(),
        consequences: (0..500).map(|number| format!("{number}-{long}")).collect(),
        next_step: Some(long.clone()),
        acknowledged_by: Some(long.clone()),
        rule: long.clone(),
        ..full()
    };
    let parts = parts(&message);
    assert!(parts.first_line.encode_utf16().count() <= 520 && parts.first_line.ends_with("(cut)"), "{}", parts.first_line);
    assert!(plain::whole(&parts).contains("and 28 more regions"));
    let units = |value: &serde_json::Value| value.as_str().map_or(0, |text| text.encode_utf16().count());

    let discord = card::discord_message(&parts, message.since);
    let embed = &discord["embeds"][0];
    let fields = embed["fields"].as_array().expect("there are fields");
    assert!(units(&discord["content"]) <= 2_000 && units(&embed["title"]) <= 256 && fields.len() <= 25);
    assert!(fields.iter().all(|field| units(&field["value"]) <= 1_024 && units(&field["name"]) <= 256));
    let all = units(&embed["title"])
        + units(&embed["footer"]["text"])
        + fields.iter().map(|field| units(&field["name"]) + units(&field["value"])).sum::<usize>();
    assert!(all <= 6_000, "{all}");

    let slack = card::slack_message(&parts);
    let blocks = slack["attachments"][0]["blocks"].as_array().expect("there are blocks");
    assert!(blocks.len() <= 50 && blocks.iter().all(|block| units(&block["text"]["text"]) <= 3_000), "{slack}");

    assert!(card::teams_message(&parts).to_string().len() <= 28 << 10);

    let telegram = html::telegram(&parts, 4_096);
    let shown = telegram.replace("<b>", "").replace("</b>", "").replace("<i>", "").replace("</i>", "");
    assert!(shown.encode_utf16().count() <= 4_096 && telegram.ends_with("(cut)"), "{telegram}");
}
