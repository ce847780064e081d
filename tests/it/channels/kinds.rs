//! What each service gets, to the letter of its own documents.

use aws_lc_rs::hmac;
use probemesh::model::alert::{Message, Telling};
use serde_json::{Value, json};

use super::{CAUSE, KEY, SECRET, channel, http_kinds, message, now, sender};
use crate::target::{Asked, Reply, Target};

const FIRST: &str = "shop: TLS handshake fails in 2 of 2 regions";

/// Sends through a channel and gives what the server was asked.
async fn sent(kind: &str, telling: Telling) -> (Vec<Asked>, String) {
    sent_as(kind, |_| (), message(telling)).await
}

async fn sent_as(kind: &str, alter: impl FnOnce(&mut Value), message: Message) -> (Vec<Asked>, String) {
    let kinds = http_kinds("http://unused");
    let said = kinds.iter().find(|(name, _, _)| *name == kind).expect("it is a kind that speaks HTTP").2;
    let target = Target::plain(move |_| Reply::text(200, said)).await;
    let kinds = http_kinds(&target.url("http", "127.0.0.1"));
    let mut config = kinds.into_iter().find(|(name, _, _)| *name == kind).expect("it is there").1;
    alter(&mut config);
    let receipt = sender().deliver(&channel(kind, config), &message).await.expect("it is taken");
    (target.asked(), receipt.answer)
}

fn body(asked: &Asked) -> Value {
    serde_json::from_str(&asked.body).unwrap_or_else(|error| panic!("{error}: {}", asked.body))
}

#[tokio::test]
async fn a_webhook_gets_the_whole_message_signed_and_with_its_key() {
    let (asked, answer) = sent("webhook", Telling::Raised).await;
    let asked = &asked[0];
    assert_eq!(answer, "200: thanks");
    assert_eq!((asked.method.as_str(), asked.path.as_str()), ("POST", format!("/services/T000/{SECRET}").as_str()));
    assert_eq!(asked.header("content-type"), Some("application/json"));
    assert_eq!(asked.header("idempotency-key"), Some(KEY));
    assert_eq!(asked.header("authorization"), Some(format!("Bearer {SECRET}").as_str()));
    let stamp = asked.header("x-probemesh-timestamp").expect("it is stamped");
    assert_eq!(stamp, (now().0 / 1_000_000).to_string());
    // Checked as a receiver would, with the library's own verification.
    let signature = asked.header("x-probemesh-signature").and_then(|text| text.strip_prefix("v1=")).expect("it is signed");
    let bytes: Vec<u8> = (0..signature.len()).step_by(2).map(|at| u8::from_str_radix(&signature[at..at + 2], 16).unwrap()).collect();
    let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes());
    hmac::verify(&key, format!("{stamp}.{}", asked.body).as_bytes(), &bytes).expect("the signature is right");
    let text = "Since: 2026-11-22 10:00:00 UTC, 12 minutes ago\nSeen from:\n  eu  down     TLS: certificate has expired\n  us  down     TLS: certificate has \
         <expired>\nLast good: 2026-11-22 09:59:00 UTC, 13 minutes ago\nAlso affected: two services fail because of it: cart and \
         checkout\nLook at: https://hub.example/incidents/7\nNext step: Renew the certificate.";
    assert_eq!(
        body(asked),
        json!({
            "key": KEY, "cause": CAUSE, "telling": "raised", "severity": "critical", "drill": false, "service": "shop", "title": FIRST,
            "headline": FIRST, "text": text, "since": "2026-11-22T10:00:00.000Z", "recovered_at": null, "duration_s": null,
            "regions": [
                {"region": "eu", "status": "down", "text": "TLS: certificate has expired"},
                {"region": "us", "status": "down", "text": "TLS: certificate has <expired>"},
            ],
            "last_good": "2026-11-22T09:59:00.000Z", "consequences": ["cart", "checkout"], "consequence_count": 2,
            "link": "https://hub.example/incidents/7", "next_step": "Renew the certificate.", "acknowledged_by": null, "rule": "everything",
        })
    );
}

#[tokio::test]
async fn a_webhook_by_template_gets_what_the_template_says() {
    let template = r#"{"msg": "{{ title }}", "who": [{% for region in regions %}"{{ region.region }}: {{ region.text }}"{% if not loop.last %}, {% endif %}{% endfor %}], "all": {{ consequences|json }}}"#;
    let message = Message { headline: "quote \" and \\ end".to_owned(), ..message(Telling::Raised) };
    let alter = |config: &mut Value| {
        config["template"] = json!(template);
        config["method"] = json!("PUT");
        config["content_type"] = json!("application/json; charset=utf-8");
    };
    let (asked, _) = sent_as("webhook", alter, message.clone()).await;
    assert_eq!((asked[0].method.as_str(), asked[0].header("content-type")), ("PUT", Some("application/json; charset=utf-8")));
    let who = ["eu: TLS: certificate has expired", "us: TLS: certificate has <expired>"];
    assert_eq!(body(&asked[0]), json!({"msg": "shop: quote \" and \\ end", "who": who, "all": ["cart", "checkout"]}));
    let form = |config: &mut Value| {
        config["template"] = json!("text={{ headline }}&x=1");
        config["content_type"] = json!("application/x-www-form-urlencoded");
    };
    let (asked, _) = sent_as("webhook", form, message).await;
    assert_eq!(asked[0].body, "text=quote+%22+and+%5C+end&x=1");
}

#[tokio::test]
async fn slack_gets_the_first_line_as_text_and_the_rest_in_blocks() {
    let (asked, answer) = sent("slack", Telling::Raised).await;
    assert_eq!(answer, "200: ok");
    let section = |text: &str| json!({"type": "section", "text": {"type": "mrkdwn", "text": text, "verbatim": true}});
    assert_eq!(
        body(&asked[0]),
        json!({
            "text": FIRST, "mrkdwn": false, "unfurl_links": false,
            "attachments": [{"color": "#c62828", "fallback": FIRST, "blocks": [
                section("*Since*  2026-11-22 10:00:00 UTC, 12 minutes ago"),
                section("```eu  down  TLS: certificate has expired\nus  down  TLS: certificate has &lt;expired&gt;```"),
                section("*Last good*  2026-11-22 09:59:00 UTC, 13 minutes ago"),
                section("*Also affected*  two services fail because of it: cart and checkout"),
                section("<https://hub.example/incidents/7|Look at it>"),
                section("*Next step*  Renew the certificate."),
                {"type": "context", "elements": [{"type": "plain_text", "text": "Told (raised, critical) by rule everything.", "emoji": false}]},
            ]}],
        })
    );
}

#[tokio::test]
async fn discord_gets_an_embed_that_mentions_nobody_and_is_asked_to_wait() {
    let (asked, answer) = sent("discord", Telling::Raised).await;
    assert_eq!(answer, "200: message 4711");
    assert_eq!(asked[0].path, format!("/services/T000/{SECRET}?wait=true"));
    let body = body(&asked[0]);
    assert_eq!(body["allowed_mentions"], json!({"parse": []}));
    assert_eq!(body["content"], FIRST);
    let embed = &body["embeds"][0];
    assert_eq!((&embed["color"], &embed["url"]), (&json!(0x00c6_2828), &json!("https://hub.example/incidents/7")));
    assert_eq!(embed["timestamp"], "2026-11-22T10:00:00.000Z");
    assert_eq!(
        embed["fields"][1],
        json!({"name": "Seen from", "value": "```\neu down: TLS: certificate has expired\nus down: TLS: certificate has <expired>\n```", "inline": false})
    );
    // What regions saw is not how they see it when it is over.
    let (asked, _) = sent("discord", Telling::Recovered).await;
    let body = self::body(&asked[0]);
    assert_eq!(body["content"], "Recovered: shop: TLS handshake fails in 2 of 2 regions (lasted 12 minutes)");
    let embed = &body["embeds"][0];
    assert_eq!(embed["color"], json!(0x2e_7d32));
    assert!(embed["fields"].as_array().is_some_and(|fields| fields.iter().all(|field| field["name"] != "Seen from")), "{embed}");
}

#[tokio::test]
async fn teams_gets_an_adaptive_card_in_a_message() {
    let (asked, answer) = sent("teams", Telling::Raised).await;
    assert_eq!(answer, "200");
    let body = body(&asked[0]);
    assert_eq!(body["type"], "message");
    let attachment = &body["attachments"][0];
    assert_eq!(attachment["contentType"], "application/vnd.microsoft.card.adaptive");
    let card = &attachment["content"];
    assert_eq!((&card["type"], &card["version"]), (&json!("AdaptiveCard"), &json!("1.4")));
    assert_eq!(
        card["body"][0]["inlines"][0],
        json!({"type": "TextRun", "text": FIRST, "weight": "bolder", "size": "medium", "color": "attention"})
    );
    assert_eq!(card["actions"], json!([{"type": "Action.OpenUrl", "title": "Look at it", "url": "https://hub.example/incidents/7"}]));
}

#[tokio::test]
async fn telegram_gets_html_for_its_chat() {
    let (asked, answer) = sent_as("telegram", |config| config["thread"] = json!(5), message(Telling::Raised)).await;
    assert_eq!(answer, "200: message 7");
    assert_eq!(asked[0].path, format!("/bot123456:{SECRET}/sendMessage"));
    let text = format!(
        "<b>{FIRST}</b>\n<b>Since:</b> 2026-11-22 10:00:00 UTC, 12 minutes ago\n<b>eu:</b> down: TLS: certificate has expired\n<b>us:</b> down: TLS: \
         certificate has &lt;expired&gt;\n<b>Last good:</b> 2026-11-22 09:59:00 UTC, 13 minutes ago\n<b>Also affected:</b> two services fail because of \
         it: cart and checkout\n<b>Look at:</b> https://hub.example/incidents/7\n<b>Next step:</b> Renew the certificate.\n<i>Told (raised, critical) by \
         rule everything.</i>"
    );
    assert_eq!(
        body(&asked[0]),
        json!({
            "chat_id": "-1001", "text": text, "parse_mode": "HTML", "link_preview_options": {"is_disabled": true},
            "disable_notification": false, "message_thread_id": 5,
        })
    );
}

#[tokio::test]
async fn pagerduty_gets_one_alert_for_one_cause() {
    for (telling, action) in [
        (Telling::Raised, "trigger"),
        (Telling::Repeated, "trigger"),
        (Telling::Escalated, "trigger"),
        (Telling::Acknowledged, "acknowledge"),
        (Telling::Recovered, "resolve"),
    ] {
        let (asked, _) = sent("pagerduty", telling).await;
        let event = body(&asked[0]);
        assert_eq!((asked.len(), asked[0].path.as_str()), (1, "/v2/enqueue"));
        assert_eq!((&event["event_action"], &event["dedup_key"], &event["routing_key"]), (&json!(action), &json!(CAUSE), &json!(SECRET)));
        if action == "trigger" {
            let payload = &event["payload"];
            assert_eq!((&payload["severity"], &payload["source"]), (&json!("critical"), &json!("hub.example")));
            assert_eq!(payload["timestamp"], "2026-11-22T10:00:00.000Z");
            assert!(payload["summary"].as_str().is_some_and(|summary| summary.ends_with(FIRST)), "{payload}");
            assert_eq!(event["links"], json!([{"href": "https://hub.example/incidents/7", "text": "Look at it"}]));
        }
    }
    // A test leaves nothing behind.
    let (asked, answer) = sent("pagerduty", Telling::Test).await;
    let actions: Vec<Value> = asked.iter().map(|asked| body(asked)["event_action"].clone()).collect();
    assert_eq!((actions, answer.ends_with("; resolved again")), (vec![json!("trigger"), json!("resolve")], true));
    let drill = Message { drill: true, ..message(Telling::Raised) };
    let (asked, _) = sent_as("pagerduty", |_| (), drill).await;
    assert_eq!(body(&asked[0])["payload"]["severity"], "info");
    assert!(body(&asked[0])["payload"]["summary"].as_str().is_some_and(|summary| summary.starts_with("[DRILL] ")));
}

#[tokio::test]
async fn ntfy_gets_topic_priority_tags_and_where_a_click_leads() {
    let (asked, answer) = sent_as("ntfy", |config| config["tags"] = json!(["shop"]), message(Telling::Raised)).await;
    assert_eq!(answer, "200: message abc");
    assert_eq!((asked[0].path.as_str(), asked[0].header("authorization")), ("/", Some(format!("Bearer {SECRET}").as_str())));
    let body = body(&asked[0]);
    assert_eq!(
        (&body["topic"], &body["title"], &body["priority"], &body["tags"], &body["click"]),
        (
            &json!("probemesh-s3cret-topic"),
            &json!(FIRST),
            &json!(5),
            &json!(["rotating_light", "shop"]),
            &json!("https://hub.example/incidents/7")
        )
    );
    assert!(body["message"].as_str().is_some_and(|text| text.starts_with("Since: ") && text.contains("Next step: ")), "{body}");
}

#[tokio::test]
async fn matrix_gets_one_event_for_one_key() {
    let (asked, answer) = sent("matrix", Telling::Raised).await;
    assert_eq!(answer, "200: event $event");
    assert_eq!((asked[0].method.as_str(), asked[0].header("authorization")), ("PUT", Some(format!("Bearer {SECRET}").as_str())));
    assert_eq!(asked[0].path, format!("/_matrix/client/v3/rooms/!room:test/send/m.room.message/{KEY}"));
    let body = body(&asked[0]);
    assert_eq!((&body["msgtype"], &body["format"]), (&json!("m.text"), &json!("org.matrix.custom.html")));
    assert!(body["body"].as_str().is_some_and(|text| text.starts_with(FIRST)), "{body}");
    let html = body["formatted_body"].as_str().expect("it has a rich form");
    assert!(
        html.starts_with(&format!("<p><strong>{FIRST}</strong></p>")) && html.contains("certificate has &lt;expired&gt;</li>"),
        "{html}"
    );
}

#[tokio::test]
async fn the_key_is_the_same_at_every_attempt() {
    for (kind, key_of) in [
        ("webhook", (|asked: &Asked| asked.header("idempotency-key").map(str::to_owned)) as fn(&Asked) -> Option<String>),
        ("matrix", |asked: &Asked| asked.path.rsplit('/').next().map(str::to_owned)),
        ("pagerduty", |asked: &Asked| body(asked)["dedup_key"].as_str().map(str::to_owned)),
    ] {
        let target = Target::plain(|_| Reply::text(503, "later")).await;
        let kinds = http_kinds(&target.url("http", "127.0.0.1"));
        let channel = channel(kind, kinds.into_iter().find(|(name, _, _)| *name == kind).unwrap().1);
        assert!(channel.has_idempotency_key(), "{kind}");
        for _ in 0..3 {
            sender().deliver(&channel, &message(Telling::Raised)).await.expect_err("it is not taken");
        }
        let keys: Vec<Option<String>> = target.asked().iter().map(key_of).collect();
        assert!(keys.len() == 3 && keys[0].is_some() && keys.iter().all(|key| *key == keys[0]), "{kind}: {keys:?}");
    }
}
