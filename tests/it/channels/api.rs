//! Channels by the API: made, shown, changed and tried; what is wrong with them named; their secrets shown to nobody.

use rocket::http::Method;
use serde_json::{Value, json};

use super::{SECRET, http_kinds};
use crate::api_world::{Answer, World};
use crate::target::{Reply, Target};

const CHANNELS: &str = "/api/v1/alerts/channels/";

/// A server that takes what any kind sends, and says who it is to those that ask.
async fn obliging() -> Target {
    let all = r#"{"ok": true, "status": "success", "id": "1", "event_id": "$1", "user_id": "@bot:test", "result": {"message_id": 1}}"#;
    Target::plain(move |_| Reply::text(200, all)).await
}

async fn create(world: &World, admin: &str, kind: &str, config: Value) -> Answer {
    world.post(CHANNELS, Some(admin), json!({"name": format!("my {kind}"), "kind": kind, "config": config})).await
}

#[tokio::test(flavor = "multi_thread")]
async fn each_kind_is_made_shown_without_its_secrets_changed_tried_and_ended() {
    let world = World::new().await;
    let admin = world.token("admin").await;
    let target = obliging().await;
    for (kind, mut config, _) in http_kinds(&target.url("http", "127.0.0.1")) {
        if kind == "pagerduty" {
            config["routing_key"] = json!("s3cret00s3cret00s3cret00s3cret00");
        }
        let made = create(&world, &admin, kind, config).await.expect(201);
        let (id, path) = (made["id"].clone(), format!("{CHANNELS}{}/", made["id"]));
        assert_eq!((&made["enabled"], &made["revision"], &made["kind"]), (&json!(true), &json!(1), &json!(kind)));
        let before = target.asked().len();
        let shown = world.get(&path, Some(&admin)).await.expect(200);
        assert!(!shown.to_string().contains("s3cret") && shown.to_string().contains("********"), "{shown}");

        // All sent back as it was shown is no change; and the secrets are still those that were given.
        let kept = world.send(Method::Put, &path, Some(&admin), Some(shown.clone())).await.expect(200);
        assert_eq!(kept, shown, "{kind}");
        let change = json!({"name": format!("other {kind}"), "enabled": false});
        let changed = world.send(Method::Patch, &path, Some(&admin), Some(change)).await.expect(200);
        assert_eq!(
            (&changed["name"], &changed["enabled"], &changed["revision"]),
            (&json!(format!("other {kind}")), &json!(false), &json!(2))
        );
        assert_eq!(target.asked().len(), before, "nothing was asked: it leads where it led");
        let tried = world.post(&format!("{path}test"), Some(&admin), json!({})).await.expect(200);
        assert_eq!((&tried["delivered"], &tried["permanent"]), (&json!(true), &json!(false)), "{kind}: {tried}");
        let asked = target.asked();
        let sent = &asked[before];
        assert!(format!("{sent:?}").contains("s3cret"), "{kind} was tried without its secret");
        assert!(sent.body.contains("Test: ") || sent.body.contains("Test\\\\:"), "{kind}: {}", sent.body);

        let stale = world.send(Method::Patch, &path, Some(&admin), Some(json!({"name": "x", "revision": 1}))).await;
        stale.problem(409);
        world.send(Method::Delete, &format!("{path}?force=true"), Some(&admin), None).await.expect(204);
        world.get(&path, Some(&admin)).await.problem(404);
        assert!(id.as_u64().is_some());
    }
    let log = world.get("/api/v1/audit?page_size=500", Some(&admin)).await.expect(200).to_string();
    for action in ["channel.create", "channel.update", "channel.test", "channel.delete"] {
        assert!(log.contains(action), "{log}");
    }
    assert!(!log.contains("s3cret"));
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_lie_sealed_in_the_store_and_open_again() {
    let world = World::new().await;
    let admin = world.token("admin").await;
    for (kind, config, _) in http_kinds("http://127.0.0.1:9") {
        let body = json!({"name": kind, "kind": kind, "config": config, "save_anyway": true});
        world.post(CHANNELS, Some(&admin), body).await.expect(201);
    }
    let mut answer = world.store.database.query("SELECT * OMIT id, sealed FROM channel", Vec::new()).await.unwrap();
    let rows: surrealdb::types::Value = answer.take(0).unwrap();
    let rows = format!("{rows:?}");
    assert!(rows.contains("matrix") && !rows.contains("s3cret"), "{rows}");
    let before = world.channels.list();
    world.channels.refresh().await.unwrap();
    assert!(*before == *world.channels.list(), "what was read again is not what was written");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mask_stands_for_nothing_in_a_channel_that_leads_elsewhere() {
    let world = World::new().await;
    let admin = world.token("admin").await;
    let (target, thief) = (obliging().await, obliging().await);
    let config = json!({"homeserver": target.url("http", "127.0.0.1"), "room": "!r:test", "token": SECRET});
    let made = create(&world, &admin, "matrix", config).await.expect(201);
    let path = format!("{CHANNELS}{}/", made["id"]);
    let change = json!({"config": {"homeserver": thief.url("http", "127.0.0.1")}});
    let refused = world.send(Method::Patch, &path, Some(&admin), Some(change.clone())).await;
    assert_eq!(refused.problem(422), ["config.token"]);
    let mut unsaved = made.clone();
    unsaved["config"]["homeserver"] = change["config"]["homeserver"].clone();
    let refused = world.post(&format!("{CHANNELS}test"), Some(&admin), unsaved).await;
    assert_eq!(refused.problem(422), ["config.token"]);
    assert_eq!(thief.connections(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_speaks_against_a_channel_is_told_and_it_is_saved_only_when_wanted_all_the_same() {
    let world = World::new().await;
    let admin = world.token("admin").await;
    let refusing = Target::plain(|asked| match asked.method.as_str() {
        "GET" => Reply::text(401, r#"{"errcode": "M_UNKNOWN_TOKEN", "error": "Unrecognised access token"}"#),
        _ => Reply::text(404, "no_service"),
    })
    .await;
    let base = refusing.url("http", "127.0.0.1");
    let hook = format!("{base}/services/T0/B0/{SECRET}");
    let nothing = "http://127.0.0.1:1";
    let mail = json!({"host": "no..such.host", "from": "a@example.com", "to": ["b@example.com"]});
    let cases = [
        ("slack", json!({"webhook_url": hook}), "config.webhook_url", "no_service"),
        ("discord", json!({"webhook_url": hook}), "config.webhook_url", "Unrecognised access token"),
        ("telegram", json!({"token": "1:a", "chat": "1", "api_url": base}), "config.token", "Unrecognised access token"),
        ("matrix", json!({"homeserver": base, "room": "!r:test", "token": "x"}), "config.token", "Unrecognised access token"),
        ("pagerduty", json!({"routing_key": "short", "api_url": base}), "config.routing_key", "32 letters and digits"),
        ("webhook", json!({"url": nothing}), "config.url", "127.0.0.1:1 cannot be reached"),
        ("webhook", json!({"url": "http://no-such-host.invalid/"}), "config.url", "is plain http"),
        ("ntfy", json!({"topic": "t", "server": nothing}), "config.server", "cannot be reached"),
        ("teams", json!({"webhook_url": "http://127.0.0.1:1/x"}), "config.webhook_url", "cannot be reached"),
        ("email", mail, "config.host", "host no..such.host cannot be found"),
    ];
    for (index, (kind, config, field, words)) in cases.into_iter().enumerate() {
        let mut body = json!({"name": format!("channel {index}"), "kind": kind, "config": config});
        let refused = world.post(CHANNELS, Some(&admin), body.clone()).await;
        assert_eq!(refused.problem(422), Vec::<String>::new(), "{kind}: it is not wrong, only doubtful");
        let problem = refused.json();
        let warning = &problem["warnings"][0];
        assert_eq!(warning["field"], field, "{kind}: {problem}");
        assert!(warning["message"].as_str().is_some_and(|message| message.contains(words)), "{kind}: {problem}");
        assert!(problem["detail"].as_str().is_some_and(|detail| detail.contains("save_anyway")), "{kind}: {problem}");
        assert!(!problem.to_string().contains("s3cret"), "{kind}: {problem}");
        body["save_anyway"] = json!(true);
        world.post(CHANNELS, Some(&admin), body).await.expect(201);
    }
    assert_eq!(world.get(CHANNELS, Some(&admin)).await.expect(200)["count"], 10);
    assert!(refusing.asked().iter().all(|asked| asked.method == "GET" || asked.body == "{}"), "something was sent");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_field_that_is_wrong_is_named() {
    let world = World::new().await;
    let admin = world.token("admin").await;
    let channel = |kind: &str, config: Value| json!({"name": "x", "kind": kind, "config": config});
    let mail = |field: &str, value: Value| {
        let mut config = json!({"host": "mail.example", "from": "a@example.com", "to": ["b@example.com"]});
        config[field] = value;
        channel("email", config)
    };
    let hook = |field: &str, value: Value| {
        let mut config = json!({"url": "https://h.example/"});
        config[field] = value;
        channel("webhook", config)
    };
    let cases: Vec<(Value, &[&str])> = vec![
        (json!([]), &[""]),
        (json!({}), &["name", "kind"]),
        (json!({"name": "x", "kind": "slakc", "colour": 1, "enabled": "yes"}), &["colour", "enabled", "kind"]),
        (json!({"name": "x".repeat(101), "kind": "slack", "config": {}}), &["name", "config.webhook_url"]),
        (json!({"name": "x", "kind": "slack", "config": 1}), &["config"]),
        (json!({"name": "x", "kind": "slack", "id": 4, "config": {"webhook_url": "https://h.example/"}}), &["id"]),
        (channel("slack", json!({"webhook_url": "hooks.slack.com"})), &["config.webhook_url"]),
        (channel("slack", json!({"webhook_url": "https://h.example/********"})), &["config.webhook_url"]),
        (channel("slack", json!({"webhook_url": "https://u:p@h.example/x"})), &["config.webhook_url"]),
        (channel("discord", json!({"webhook": "https://h.example/"})), &["config.webhook", "config.webhook_url"]),
        (channel("telegram", json!({"token": "a b", "chat": "me"})), &["config.token", "config.chat"]),
        (channel("ntfy", json!({"topic": "a/b", "priority": 9})), &["config.priority"]),
        (channel("ntfy", json!({"topic": "a/b"})), &["config.topic"]),
        (channel("matrix", json!({"homeserver": "https://m.example", "room": "#room:m.example", "token": "t"})), &["config.room"]),
        (mail("to", json!([])), &["config.to"]),
        (mail("to", json!(["ada"])), &["config.to[0]"]),
        (mail("from", json!("nobody")), &["config.from"]),
        (mail("security", json!("ssl")), &["config.security"]),
        (mail("password", json!("p")), &["config.username"]),
        (mail("ca", json!("not a certificate")), &["config.ca"]),
        (mail("port", json!(70_000)), &["config.port"]),
        (mail("host", json!("smtp://mail.example")), &["config.host"]),
        (hook("method", json!("DELETE")), &["config.method"]),
        (
            hook("headers", json!({"X A": "b", "Host": "c", "X-C": "a\nb"})),
            &["config.headers.X A", "config.headers.Host", "config.headers.X-C"],
        ),
        (hook("headers", json!({"X-A": "********"})), &["config.headers.X-A"]),
        (hook("content_type", json!("text/plain")), &["config.template"]),
    ];
    for (body, fields) in cases {
        let refused = world.post(CHANNELS, Some(&admin), body.clone()).await;
        assert_eq!(refused.problem(422), fields, "{body}: {}", refused.text);
    }
    let unknown = world.post(CHANNELS, Some(&admin), json!({"name": "x", "kind": "slakc"})).await.text;
    assert!(
        unknown.contains("webhook, email, slack, discord, teams, telegram, pagerduty, ntfy, matrix, command")
            && unknown.contains("did you mean slack?")
    );
    assert_eq!(world.get(CHANNELS, Some(&admin)).await.expect(200)["count"], 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_template_that_fails_is_refused_with_its_line() {
    let world = World::new().await;
    let admin = world.token("admin").await;
    let cases = [
        ("{\n  \"text\": \"{{ headlin }}\"\n}", "line 2"),
        ("{\n  \"text\": \"{{ headline }\"\n}", "line 2"),
        ("{\n\n  \"text\": {{ headline }}\n}", "line 3 of what it makes: is not JSON"),
        // It works for a message that has regions, and fails for one that has none.
        ("{\n\"first\": \"{{ regions[0].text }}\"}", "line 2"),
    ];
    for (template, words) in cases {
        let config = json!({"url": "https://h.example/", "template": template});
        let refused = create(&world, &admin, "webhook", config).await;
        assert_eq!(refused.problem(422), ["config.template"]);
        assert!(refused.text.contains(words), "{template}: {}", refused.text);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_channel_is_tried_before_it_is_saved_and_the_far_sides_word_is_shown() {
    let world = World::new().await;
    let admin = world.token("admin").await;
    let target = Target::plain(|_| Reply::text(429, "rate_limited").with("retry-after", "30")).await;
    let config = json!({"webhook_url": target.url("http", "127.0.0.1")});
    let tried = world.post(&format!("{CHANNELS}test"), Some(&admin), json!({"kind": "slack", "config": config})).await.expect(200);
    assert_eq!((&tried["delivered"], &tried["answer"]), (&json!(false), &json!("answered 429: rate_limited")));
    assert_eq!((&tried["permanent"], &tried["retry_after_s"]), (&json!(false), &json!(30.0)));
    assert_eq!(target.asked().len(), 1);
    assert_eq!(world.get(CHANNELS, Some(&admin)).await.expect(200)["count"], 0, "nothing is stored");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_is_refused_where_the_settings_do_not_allow_it() {
    let world = World::new().await;
    let admin = world.token("admin").await;
    for path in [CHANNELS.to_owned(), format!("{CHANNELS}test")] {
        let body = json!({"name": "x", "kind": "command", "config": {"argv": ["/bin/true"]}, "save_anyway": true});
        let refused = world.post(&path, Some(&admin), body).await;
        assert_eq!(refused.problem(422), ["kind"]);
        assert!(refused.text.contains("allow_commands"), "{}", refused.text);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_kinds_tell_their_fields_to_whoever_makes_a_form_of_them() {
    let world = World::new().await;
    let admin = world.token("admin").await;
    let kinds = world.get(&format!("{CHANNELS}kinds"), Some(&admin)).await.expect(200);
    let names: Vec<&str> = kinds.as_array().unwrap().iter().filter_map(|kind| kind["name"].as_str()).collect();
    assert_eq!(names, ["webhook", "email", "slack", "discord", "teams", "telegram", "pagerduty", "ntfy", "matrix", "command"]);
    let port = &kinds[1]["fields"][1];
    assert_eq!(
        (&port["name"], &port["form"], &port["least"], &port["most"]),
        (&json!("port"), &json!("number"), &json!(1), &json!(65_535))
    );
    assert_eq!(kinds[1]["fields"][2]["choices"], json!(["starttls", "tls", "none"]));
}
