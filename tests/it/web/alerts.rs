//! Alerts on pages: rules, channels, deliveries and maintenance by forms, and what holds now.

use std::time::Duration;

use probemesh::alert::channel::fields::Form;
use probemesh::model::rule::RuleId;
use serde_json::json;

use super::browser::Browser;
use crate::api_world::World;
use crate::target::{Reply, Target};

fn field<'p>(page: &'p str, name: &str) -> &'p str {
    let after = page.split(&format!("name=\"{name}\"")).nth(1).unwrap_or_else(|| panic!("{name} is in {page}"));
    after.split("</fieldset>").next().expect("it ends").split("<label class=\"field").next().expect("it ends")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_is_made_changed_switched_and_ended_by_forms() {
    let world = World::new().await;
    let operator = world.token("operator").await;
    world.service(&operator, json!({"name": "Shop", "base_url": "https://a.example", "tags": ["money"]})).await;
    let mut browser = Browser::of(&world, "operator").await;
    let form = browser.page("/alerts/rules/new").await;
    assert!(form.contains(">mail<") && form.contains(">Shop<") && form.contains(">money<"), "{form}");
    let fields = [
        ("name", "Night"),
        ("enabled", "true"),
        ("kinds", "incident"),
        ("kinds", "certificate"),
        ("min_severity", "critical"),
        ("certificate_days", "30, 7"),
        ("services", "1"),
        ("tags", "money"),
        ("channels", "1"),
        ("for_s", "5 min"),
        ("repeat_s", "1 h"),
        ("quiet.from", "22:00"),
        ("quiet.to", "07:00"),
        ("quiet.timezone", "Asia/Tehran"),
        ("quiet.days", "fri"),
        ("escalations[0].after_s", "15 min"),
        ("escalations[0].channels", "2"),
        ("tell_recovered", "true"),
    ];
    let made = browser.send_form("/alerts/rules/new", &fields).await;
    assert_eq!((made.status, made.header("Location")), (303, Some("/alerts/rules")), "{}", made.text);
    let kept = world.get("/api/v1/alerts/rules/1", Some(&operator)).await.expect(200);
    assert_eq!((&kept["for_s"], &kept["repeat_s"], &kept["certificate_days"]), (&json!(300.0), &json!(3600.0), &json!([30, 7])));
    assert_eq!((&kept["quiet"]["days"], &kept["quiet"]["critical_passes"]), (&json!(["fri"]), &json!(false)));
    assert_eq!(kept["escalations"], json!([{"after_s": 900.0, "channels": [2]}]));
    assert_eq!((&kept["tell_acknowledged"], &kept["services"], &kept["tags"]), (&json!(false), &json!([1]), &json!(["money"])));
    let list = browser.page("/alerts/rules").await;
    for part in ["Night", "after 5 min", "again every 1 h", "escalates after 15 min", "Shop", "mail"] {
        assert!(list.contains(part), "{part} in {list}");
    }
    // What the form shows of a rule, sent back, changes nothing but what was changed.
    let form = browser.page("/alerts/rules/1").await;
    for part in ["value=\"Night\"", "value=\"5 min\"", "value=\"1 h\"", "value=\"15 min\"", "value=\"30, 7\"", "value=\"Asia/Tehran\""] {
        assert!(form.contains(part), "{part} in {form}");
    }
    let renamed: Vec<(&str, &str)> =
        fields.iter().map(|(name, value)| if *name == "name" { ("name", "Day") } else { (*name, *value) }).collect();
    assert_eq!(browser.send_form("/alerts/rules/1", &[renamed.as_slice(), &[("revision", "1")]].concat()).await.status, 303);
    let now = world.get("/api/v1/alerts/rules/1", Some(&operator)).await.expect(200);
    assert_eq!((&now["name"], &now["quiet"], &now["escalations"]), (&json!("Day"), &kept["quiet"], &kept["escalations"]));
    assert_eq!(browser.send_form("/alerts/rules/1/enabled", &[("enabled", "false")]).await.status, 303);
    assert!(!world.alerts.rules.get(RuleId(1)).expect("it is there").rule.enabled);
    assert_eq!(browser.send_form("/alerts/rules/1/delete", &[]).await.status, 303);
    assert!(world.alerts.rules.list().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_with_mistakes_names_their_fields_and_keeps_what_was_typed() {
    let world = World::new().await;
    let mut browser = Browser::of(&world, "operator").await;
    let fields = [
        ("name", ""),
        ("kinds", "incident"),
        ("for_s", "soon"),
        ("quiet.from", "late"),
        ("quiet.to", "07:00"),
        ("escalations[0].channels", "2"),
        ("certificate_days", "many"),
    ];
    let refused = browser.send_form("/alerts/rules/new", &fields).await;
    assert_eq!(refused.status, 422);
    for name in ["for_s", "certificate_days"] {
        assert!(field(&refused.text, name).contains("class=\"wrong\""), "{name}: {}", field(&refused.text, name));
    }
    assert!(refused.text.contains("value=\"soon\"") && refused.text.contains("value=\"late\"") && refused.text.contains("value=\"many\""));
    assert!(field(&refused.text, "for_s").contains("must be a span such as"), "{}", field(&refused.text, "for_s"));
    assert!(!refused.text.contains("invalid type"), "nobody reads the parser's words");
    // With those mended, the others are told.
    let fields = [("name", ""), ("kinds", "incident"), ("quiet.from", "late"), ("quiet.to", "07:00"), ("escalations[0].channels", "2")];
    let refused = browser.send_form("/alerts/rules/new", &fields).await;
    assert_eq!(refused.status, 422);
    for (name, says) in [("name", "is required"), ("quiet.from", "time of day"), ("escalations[0].after_s", "is required")] {
        assert!(field(&refused.text, name).contains(says), "{name}: {}", field(&refused.text, name));
    }
    assert!(refused.text.contains("must name at least one channel"), "{}", refused.text);
    assert!(world.alerts.rules.list().is_empty());
    let mut viewer = Browser::of(&world, "viewer").await;
    assert_eq!(viewer.get("/alerts/rules/new").await.status, 403);
    assert_eq!(viewer.send_form("/alerts/rules/new", &[("name", "x"), ("channels", "1")]).await.status, 403);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_channel_is_drawn_from_its_kind_tried_saved_and_ended() {
    let world = World::new().await;
    let target = Target::plain(|_| Reply::text(200, "thank you")).await;
    let mut browser = Browser::of(&world, "admin").await;
    let none = browser.page("/alerts/channels").await;
    assert!(none.contains("Nobody is told of anything") && none.contains("href=\"/alerts/channels/new\""), "{none}");
    let kinds = browser.page("/alerts/channels/new").await;
    for kind in probemesh::alert::channel::KINDS {
        assert!(kinds.contains(&format!("kind={}\"", kind.name)), "{}", kind.name);
        let form = browser.page(&format!("/alerts/channels/new?kind={}", kind.name)).await;
        for field in kind.fields {
            assert!(form.contains(&format!("name=\"config.{}\"", field.name)), "{} of {}", field.name, kind.name);
            let hidden = form.contains(&format!("name=\"config.{}\" type=\"password\"", field.name));
            assert_eq!(hidden, field.form == Form::Secret, "{} of {}", field.name, kind.name);
        }
    }
    let url = format!("{}/hook/s3cret-path-1", target.url("http", "127.0.0.1").trim_end_matches('/'));
    let fields = [
        ("kind", "webhook"),
        ("name", "Desk"),
        ("enabled", "true"),
        ("config.url", url.as_str()),
        ("config.headers", "X-Key: s3cret-header"),
    ];
    let tried = browser.send_form("/alerts/channels/new", &[fields.as_slice(), &[("do", "test")]].concat()).await;
    assert_eq!(tried.status, 200);
    assert!(tried.text.contains("Delivered in") && tried.text.contains("thank you"), "{}", tried.text);
    assert!(world.channels.list().is_empty(), "a test saves nothing");
    assert_eq!(target.asked().len(), 1);
    let made = browser.send_form("/alerts/channels/new", &[fields.as_slice(), &[("do", "save")]].concat()).await;
    assert_eq!((made.status, made.header("Location")), (303, Some("/alerts/channels")), "{}", made.text);
    let form = browser.page("/alerts/channels/1").await;
    assert!(!form.contains("s3cret") && form.contains("X-Key: ********") && form.contains("/********"), "{form}");
    // Its masks stand for the secrets, in a test and when it is saved.
    let host = format!("{}/********", target.url("http", "127.0.0.1").trim_end_matches('/'));
    let masked = [
        ("kind", "webhook"),
        ("name", "Desk 2"),
        ("enabled", "true"),
        ("config.url", host.as_str()),
        ("config.headers", "X-Key: ********"),
        ("revision", "1"),
    ];
    let tried = browser.send_form("/alerts/channels/1", &[masked.as_slice(), &[("do", "test")]].concat()).await;
    assert!(tried.text.contains("thank you"), "{}", tried.text);
    assert_eq!(browser.send_form("/alerts/channels/1", &masked).await.status, 303);
    assert_eq!(world.channels.list()[0].config["url"], json!(url));
    let tested = browser.send_form("/alerts/channels/1/test", &[]).await;
    assert!(tested.status == 200 && tested.text.contains("Desk 2: Delivered in"), "{}", tested.text);
    let asked = browser.page("/alerts/channels/1/delete").await;
    assert!(asked.contains("Delete Desk 2?"), "{asked}");
    assert_eq!(browser.send_form("/alerts/channels/1/delete", &[]).await.status, 303);
    assert!(world.channels.list().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_channel_with_mistakes_or_doubts_says_so_at_the_field() {
    let world = World::new().await;
    let mut browser = Browser::of(&world, "admin").await;
    let fields = [
        ("kind", "email"),
        ("name", "Mail"),
        ("enabled", "true"),
        ("config.host", ""),
        ("config.port", "many"),
        ("config.from", "me@example.com"),
        ("config.to", "you@example.com"),
    ];
    let refused = browser.send_form("/alerts/channels/new", &fields).await;
    assert_eq!(refused.status, 422);
    for name in ["config.host", "config.port"] {
        assert!(field(&refused.text, name).contains("class=\"wrong\""), "{name}: {}", field(&refused.text, name));
    }
    assert!(refused.text.contains("value=\"many\"") && refused.text.contains("you@example.com"), "{}", refused.text);
    // A host that is not there is a doubt: it can be saved all the same.
    let fields =
        [("kind", "slack"), ("name", "Chat"), ("enabled", "true"), ("config.webhook_url", "http://nowhere.invalid/services/T/B/x")];
    let doubted = browser.send_form("/alerts/channels/new", &fields).await;
    assert_eq!(doubted.status, 422);
    assert!(
        doubted.text.contains("name=\"save_anyway\"") && field(&doubted.text, "config.webhook_url").contains("class=\"wrong\""),
        "{}",
        doubted.text
    );
    assert_eq!(browser.send_form("/alerts/channels/new", &[fields.as_slice(), &[("save_anyway", "true")]].concat()).await.status, 303);
    assert_eq!(world.channels.list().len(), 1);
    for who in ["viewer", "operator"] {
        let mut other = Browser::of(&world, who).await;
        let list = other.page("/alerts/channels").await;
        assert!(list.contains("Chat") && !list.contains("/alerts/channels/1/test"), "{who}: {list}");
        assert_eq!(other.get("/alerts/channels/1").await.status, 403, "{who}");
        assert_eq!(other.send_form("/alerts/channels/1/test", &[]).await.status, 403, "{who}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn maintenance_is_planned_begun_ended_and_taken_back_by_forms() {
    let world = World::new().await;
    let operator = world.token("operator").await;
    world.service(&operator, json!({"name": "Shop", "base_url": "https://a.example"})).await;
    let mut browser = Browser::of(&world, "operator").await;
    assert!(browser.page("/alerts/windows").await.contains("No maintenance"));
    let form = browser.page("/alerts/windows/new?service=1").await;
    assert!(form.contains("value=\"2026-11-22 09:00\"") && form.contains("value=\"1\" checked"), "{form}");
    let once = [("title", "Move"), ("kind", "once"), ("from", "2026-11-22 09:00"), ("until", "2026-11-22T10:00:00Z"), ("services", "1")];
    assert_eq!(browser.send_form("/alerts/windows/new", &once).await.status, 303);
    let cron = [
        ("title", "Night"),
        ("kind", "recurring"),
        ("cron", "0 3 * * *"),
        ("timezone", "Asia/Tehran"),
        ("duration_s", "30 min"),
        ("all", "true"),
        // What the form has for the other kind.
        ("from", "2026-11-22 09:00"),
        ("until", "2026-11-22 10:00"),
    ];
    let mut never = cron.to_vec();
    never.push(("ends", "2026-11-22 09:30"));
    let refused = browser.send_form("/alerts/windows/new", &never).await;
    assert_eq!(refused.status, 422);
    let beside = refused.text.split("name=\"ends\"").nth(1).and_then(|rest| rest.split("</label>").next()).expect("it is in the form");
    assert!(beside.contains("it would never begin"), "{beside}");
    assert_eq!(browser.send_form("/alerts/windows/new", &cron).await.status, 303);
    let manual = [("title", "By hand"), ("kind", "manual"), ("longest_s", "2 h"), ("services", "1")];
    assert_eq!(browser.send_form("/alerts/windows/new", &manual).await.status, 303);
    let list = browser.page("/alerts/windows").await;
    assert!(!list.contains("<h2>Past</h2>"), "{list}");
    for part in
        ["To come", "Move", "Night", "0 3 * * * Asia/Tehran", "2026-11-22T23:30:00", "By hand", "/alerts/windows/3/start", "everything"]
    {
        assert!(list.contains(part), "{part} in {list}");
    }
    assert!(!list.contains("Running") && !list.contains("/alerts/windows/1/end"), "{list}");
    assert_eq!(browser.send_form("/alerts/windows/3/start", &[]).await.status, 303);
    let list = browser.page("/alerts/windows").await;
    assert!(list.contains("Running") && list.contains("/alerts/windows/3/end"), "{list}");
    assert_eq!(browser.send_form("/alerts/windows/3/start", &[]).await.status, 409, "it runs already");
    world.clock.advance(Duration::from_secs(60)).await;
    assert_eq!(browser.send_form("/alerts/windows/3/end", &[]).await.status, 303);
    assert!(browser.page("/alerts/windows").await.contains("Past"));
    // Changed by the form it was shown in.
    let form = browser.page("/alerts/windows/2").await;
    assert!(form.contains("value=\"30 min\"") && form.contains("value=\"0 3 * * *\""), "{form}");
    let changed =
        [("title", "Night 2"), ("kind", "recurring"), ("cron", "0 4 * * *"), ("duration_s", "1 h"), ("all", "true"), ("revision", "1")];
    let answer = browser.send_form("/alerts/windows/2", &changed).await;
    assert_eq!(answer.status, 303, "{}", answer.text);
    let kept = world.get("/api/v1/maintenance-windows/2", Some(&operator)).await.expect(200);
    assert_eq!((&kept["title"], &kept["cron"], &kept["duration_s"]), (&json!("Night 2"), &json!("0 4 * * *"), &json!(3600.0)));
    assert!(browser.page("/alerts/windows/1/delete").await.contains("Take Move back?"));
    assert_eq!(browser.send_form("/alerts/windows/1/delete", &[]).await.status, 303);
    assert!(!browser.page("/alerts/windows").await.contains("Move"));

    let wrong = [("title", ""), ("kind", "once"), ("from", "tomorrow"), ("until", "2026-11-22 10:00")];
    let refused = browser.send_form("/alerts/windows/new", &wrong).await;
    assert_eq!(refused.status, 422);
    for name in ["title", "from", "services"] {
        assert!(field(&refused.text, name).contains("class=\"wrong\""), "{name}: {}", refused.text);
    }
    assert!(refused.text.contains("value=\"tomorrow\""), "{}", refused.text);
    let mut viewer = Browser::of(&world, "viewer").await;
    assert!(!viewer.page("/alerts/windows").await.contains("/alerts/windows/new"));
    assert_eq!(viewer.send_form("/alerts/windows/3/start", &[]).await.status, 403);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_holds_is_told_and_what_is_missing_to_tell_it() {
    let world = World::new().await;
    let mut browser = Browser::of(&world, "viewer").await;
    let page = browser.page("/alerts").await;
    // The world has ways to tell and no rule.
    assert!(page.contains("No rule says what is told to whom") && page.contains("Nothing to be told"), "{page}");
    assert!(browser.page("/alerts/deliveries?state=dead").await.contains("No delivery"));
    assert_eq!(browser.send_form("/alerts/deliveries/none/retry", &[]).await.status, 403);
    let mut operator = Browser::of(&world, "operator").await;
    assert_eq!(operator.send_form("/alerts/deliveries/none/retry", &[]).await.status, 404);
    assert_eq!(operator.send_form("/alerts/causes/none/acknowledge", &[]).await.status, 404);
}
