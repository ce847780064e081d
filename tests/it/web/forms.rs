//! Services by a form: made, tried, changed, paused, filled from curl, imported, deleted.

use std::time::Duration;

use probemesh::config::service::ServiceDocument;
use probemesh::model::check::{Phase, Phases};
use probemesh::probe::progress::Step;
use serde_json::json;

use super::browser::Browser;
use crate::api::trying::{failing, join};
use crate::api_world::{World, bad};

fn document(world: &World, id: u32) -> ServiceDocument {
    let list = world.services.list();
    list.iter().find(|service| service.id.0 == id).expect("it is there").document.clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_is_made_by_the_form_and_changed_by_it() {
    let world = World::new().await;
    let mut browser = Browser::of(&world, "operator").await;
    let form = browser.page("/services/new?url=https://shop.example/health").await;
    assert!(
        form.contains("value=\"https://shop.example/health\"") && form.contains("value=\"shop.example\"") && form.contains("value=\"60\""),
        "{form}"
    );
    let fields = [
        ("do", "save"),
        ("name", "Shop"),
        ("base_url", "https://shop.example"),
        ("health_path", "/health"),
        ("rhythm", "interval"),
        ("interval_s", "30"),
        ("enabled", "true"),
        ("json", "$.status = \"ok\""),
        ("tags", "a, b"),
        ("auth", "bearer"),
        ("token", "s3cret"),
        ("quorum", "majority"),
    ];
    let made = browser.send_form("/services/new", &fields).await;
    assert_eq!((made.status, made.header("Location")), (303, Some("/services/1")), "{}", made.text);
    let kept = serde_json::to_value(document(&world, 1)).expect("it encodes");
    assert_eq!(kept["expect"]["json"], json!([{"path": "$.status", "equals": "ok"}]));
    assert_eq!((&kept["tags"], &kept["interval_s"], &kept["auth"]["token"]), (&json!(["a", "b"]), &json!(30.0), &json!("s3cret")));
    assert_eq!(world.nudges.load(std::sync::atomic::Ordering::Relaxed), 1, "regions are told at once");

    // The secret is not shown, and stays though its mask comes back.
    let form = browser.page("/services/1/edit").await;
    assert!(!form.contains("s3cret") && form.contains("********"), "{form}");
    let fields = [
        ("do", "save"),
        ("revision", "1"),
        ("name", "Shop 2"),
        ("base_url", "https://shop.example"),
        ("rhythm", "cron"),
        ("cron", "*/5 * * * *"),
        ("enabled", "true"),
        ("auth", "bearer"),
        ("token", "********"),
    ];
    assert_eq!(browser.send_form("/services/1/edit", &fields).await.status, 303);
    let kept = serde_json::to_value(document(&world, 1)).expect("it encodes");
    assert_eq!(
        (&kept["name"], &kept["cron"], &kept["auth"]["token"], &kept["expect"]),
        (&json!("Shop 2"), &json!("*/5 * * * *"), &json!("s3cret"), &json!(null))
    );

    // Whoever was slower loses nothing and overwrites nothing.
    let late = browser.send_form("/services/1/edit", &fields).await;
    assert_eq!(late.status, 409);
    assert!(late.text.contains("Someone changed this service meanwhile") && late.text.contains("value=\"Shop 2\""), "{}", late.text);
    for said in ["Stored now: Shop 2", "Stored now: nothing"] {
        assert!(!late.text.contains(said), "what is the same is not marked: {said}");
    }
    let mut later = fields;
    later[2] = ("name", "Shop 3");
    later[5] = ("cron", "");
    later[6] = ("public", "true");
    let late = browser.send_form("/services/1/edit", &later).await;
    for (field, said) in [("name", "Shop 2"), ("cron", "*/5 * * * *"), ("enabled", "yes"), ("public", "no")] {
        let beside = late.text.split(&format!("name=\"{field}\"")).nth(1).and_then(|rest| rest.split("</label>").next());
        assert!(beside.expect("it is there").contains(&format!("Stored now: {said}<")), "{field}: {}", late.text);
    }
    // Who has read that can store it over the change.
    let revision = late.text.split("name=\"revision\" value=\"").nth(1).and_then(|rest| rest.split('"').next()).expect("it is in the form");
    assert_eq!(revision, "2");
    let again: Vec<(&str, &str)> =
        fields.iter().map(|(name, value)| if *name == "revision" { ("revision", revision) } else { (*name, *value) }).collect();
    assert_eq!(browser.send_form("/services/1/edit", &again).await.status, 303);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_mistake_stands_beside_its_field_and_nothing_typed_is_lost() {
    let world = World::new().await;
    let mut browser = Browser::of(&world, "operator").await;
    let fields = [
        ("do", "save"),
        ("name", ""),
        ("base_url", "shop dot example"),
        ("rhythm", "interval"),
        ("interval_s", "often"),
        ("retries", "99"),
        ("expect_status", "2xx"),
        ("json", "no path = 1"),
        ("headers", "bad header: x"),
        ("matches", "("),
    ];
    let refused = browser.send_form("/services/new", &fields).await;
    assert_eq!(refused.status, 422);
    for (name, value) in fields.iter().skip(2) {
        if *name == "rhythm" {
            continue;
        }
        let field = refused.text.split(&format!("name=\"{name}\"")).nth(1).unwrap_or_else(|| panic!("{name} is in the form"));
        let field = field.split("</label>").next().expect("it ends");
        assert!(field.contains("aria-invalid=\"true\"") && field.contains("class=\"wrong\""), "{name}: {field}");
        assert!(field.contains(value), "{name} keeps what was typed: {field}");
    }
    assert!(world.services.list().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_is_tried_before_it_is_kept() {
    let world = World::new().await;
    let mut browser = Browser::of(&world, "operator").await;
    let tried = browser
        .send_form("/services/new", &[("do", "try"), ("name", "Shop"), ("base_url", "https://shop.example"), ("enabled", "true")])
        .await;
    assert_eq!(tried.status, 200);
    assert!(
        tried.text.contains("What the hub saw just now") && tried.text.contains("Passed") && tried.text.contains("12 ms"),
        "{}",
        tried.text
    );
    assert!(tried.text.contains("value=\"Shop\"") && world.services.list().is_empty());
    let operator = world.token("operator").await;
    let seen =
        world.post("/api/monitor/checks/try", Some(&operator), json!({"name": "x", "base_url": "https://shop.example"})).await.expect(200);
    assert_eq!((&seen["ok"], &seen["service_name"]), (&json!(true), &json!("x")));
    assert_eq!(world.post("/api/monitor/checks/try", Some(&operator), json!({"name": "x"})).await.problem(422), ["base_url"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_is_tried_from_the_regions_one_chooses() {
    let world = World::new().await;
    let mut browser = Browser::of(&world, "operator").await;
    assert!(!browser.page("/services/new").await.contains("try_from"), "there is nothing to choose from");
    failing(&world, "eu-1", "eu");
    let gone = join(&world, "us-1", "us");
    world.membership.leave(&"us-1".into(), gone.session, "silent for 8 s");
    let form = browser.page("/services/new").await;
    assert!(form.contains("<option value=\"eu\">eu</option>") && form.contains("all regions"), "{form}");
    let fields = |place| [("do", "try"), ("name", "Shop"), ("base_url", "https://shop.example"), ("token", "s3cret"), ("try_from", place)];
    let tried = browser.send_form("/services/new", &fields("eu")).await;
    assert_eq!(tried.status, 200);
    let block = tried.text.split("id=\"tried\"").nth(1).and_then(|rest| rest.split("</section>").next()).expect("it is shown").to_owned();
    for part in ["What the regions saw just now", "<bdi>eu</bdi>", "Failed", "503", "expected 200-299, got 503", "status 200-299"] {
        assert!(block.contains(part), "{part} in {block}");
    }
    assert!(tried.text.contains("<option value=\"eu\" selected>") && tried.text.contains("value=\"Shop\""), "{}", tried.text);
    let tried = browser.send_form("/services/new", &fields("all")).await.text;
    assert!(tried.contains("<bdi>us</bdi>") && tried.contains("region us is not connected: silent for 8 s"), "{tried}");
    assert!(world.services.list().is_empty(), "nothing is kept");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_curl_command_fills_the_form() {
    let world = World::new().await;
    let mut browser = Browser::of(&world, "operator").await;
    let command = "curl 'https://shop.example/api?x=1' -H 'X-Kind: a' -u ada:s3cret --cacert a.pem -d '{\"a\":1}'";
    let filled = browser.send_form("/services/new", &[("do", "curl"), ("curl", command)]).await;
    assert_eq!(filled.status, 200);
    for part in [
        "value=\"https://shop.example/api?x=1\"",
        "value=\"shop.example\"",
        "X-Kind: a",
        "value=\"ada\"",
        "value=\"s3cret\"",
        "Not taken over: --cacert",
        "<option value=\"POST\" selected>POST</option>",
    ] {
        assert!(filled.text.contains(part), "{part} in {}", filled.text);
    }
    let wrong = browser.send_form("/services/new", &[("do", "curl"), ("curl", "curl 'https://a"), ("name", "kept")]).await;
    assert_eq!(wrong.status, 422);
    assert!(wrong.text.contains("is not closed") && wrong.text.contains("value=\"kept\""), "{}", wrong.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_is_paused_resumed_and_deleted_with_a_word_of_warning() {
    let world = World::new().await;
    let mut browser = Browser::of(&world, "operator").await;
    let operator = world.token("operator").await;
    world.service(&operator, json!({"name": "Shop", "base_url": "https://shop.example"})).await;
    world.service(&operator, json!({"name": "Cart", "base_url": "https://cart.example", "depends_on": ["Shop"]})).await;
    world.show_services();
    assert_eq!(browser.send_form("/services/1/enabled", &[("enabled", "false")]).await.status, 303);
    world.show_services();
    assert!(!world.services.list()[0].enabled());
    assert!(browser.page("/services/1").await.contains("Shop is paused"));
    assert_eq!(browser.send_form("/services/1/enabled", &[("enabled", "true")]).await.status, 303);
    assert!(world.services.list()[0].enabled());
    let asked = browser.page("/services/1/delete").await;
    assert!(asked.contains("Delete Shop?") && asked.contains("0 incidents") && asked.contains("cannot be undone"), "{asked}");
    // What depends on it is told, and has to be let go of.
    assert!(asked.contains("others depend on it") && asked.contains("<a href=\"/services/2\" dir=\"auto\">Cart</a>"), "{asked}");
    let refused = browser.send_form("/services/1/delete", &[]).await;
    assert!(refused.status == 409 && refused.text.contains("must be ticked"), "{}", refused.text);
    assert_eq!(world.services.list().len(), 2);
    assert_eq!(browser.send_form("/services/1/delete", &[("force", "true")]).await.header("Location"), Some("/"));
    let left = world.services.list();
    assert_eq!((left.len(), left[0].name(), left[0].document.depends_on.len()), (1, "Cart", 0));
    assert_eq!(browser.get("/services/1").await.status, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_that_would_be_lost_or_made_up_are_told_by_their_lines() {
    let world = World::new().await;
    let mut browser = Browser::of(&world, "operator").await;
    let headers = "Accept: a\naccept: b\nX-NoColon";
    let fields = [("do", "save"), ("name", "Shop"), ("base_url", "https://shop.example"), ("headers", headers)];
    let refused = browser.send_form("/services/new", &fields).await;
    assert_eq!(refused.status, 422);
    for told in ["line 2: accept is there twice", "line 3: must be a name, a colon and a value, not X-NoColon"] {
        assert!(refused.text.contains(told), "{told} in {}", refused.text);
    }
    assert!(refused.text.contains("accept: b") && world.services.list().is_empty(), "{}", refused.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_is_looked_at_first() {
    let world = World::new().await;
    let mut browser = Browser::of(&world, "operator").await;
    let operator = world.token("operator").await;
    world.service(&operator, json!({"name": "Shop", "base_url": "https://shop.example"})).await;
    let text =
        json!([{"name": "Shop", "base_url": "https://other.example"}, {"name": "Mail", "base_url": "https://mail.example"}]).to_string();
    let plan = browser.send_form("/services/import", &[("do", "look"), ("text", &text)]).await;
    assert_eq!(plan.status, 200);
    assert!(plan.text.contains("is added") && plan.text.contains("stays as it is"), "{}", plan.text);
    assert_eq!(world.services.list().len(), 1);
    let wrong = browser.send_form("/services/import", &[("do", "import"), ("text", "[\n{\"name\": \"x\"}]")]).await;
    assert_eq!(wrong.status, 422);
    assert!(wrong.text.contains("services.json:2") && wrong.text.contains("base_url"), "{}", wrong.text);
    assert_eq!(browser.send_form("/services/import", &[("do", "import"), ("text", &text), ("update", "true")]).await.status, 303);
    assert_eq!(world.services.list().len(), 2);
    assert_eq!(document(&world, 1).base_url.as_deref(), Some("https://other.example"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_another_monitor_keeps_is_imported_and_what_has_no_like_is_told_first() {
    let world = World::new().await;
    let mut browser = Browser::of(&world, "operator").await;
    let text = "\
endpoints:
  - {name: Shop, group: core, url: \"https://shop.example/health\", interval: 30s, conditions: [\"[STATUS] < 300\", \"[BODY].status == UP\"]}
  - {name: <b>Router</b>, url: \"icmp://10.0.0.1\", conditions: [\"[CONNECTED] == true\"]}
";
    let plan = browser.send_form("/services/import", &[("do", "look"), ("text", text)]).await;
    assert_eq!(plan.status, 200);
    for part in ["A file of Gatus", "is added", "Router&#60;/b&#62;</b>: is left out: icmp://10.0.0.1 is none of http, https and tcp"] {
        assert!(plan.text.contains(part), "{part}: {}", plan.text);
    }
    assert!(world.services.list().is_empty());
    assert_eq!(browser.send_form("/services/import", &[("do", "import"), ("text", text)]).await.status, 303);
    let kept = document(&world, 1);
    assert_eq!((world.services.list().len(), kept.group.as_deref(), kept.interval_s), (1, Some("core"), Some(30.0)));
    let expect = serde_json::to_value(kept.expect).expect("it encodes");
    assert_eq!(expect, json!({"status": ["100-299"], "json": [{"path": "$.status", "matches": "^UP$"}]}));

    let broken = browser.send_form("/services/import", &[("do", "import"), ("text", "endpoints:\n  - name: a\n   url: x\n")]).await;
    assert_eq!(broken.status, 422);
    assert!(broken.text.contains("line 3"), "{}", broken.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn all_mistakes_are_told_at_once_by_their_lines_and_without_names_of_the_program() {
    let world = World::new().await;
    let mut browser = Browser::of(&world, "operator").await;
    let fields = [
        ("name", "Shop"),
        ("base_url", "https://shop.example"),
        ("rhythm", "usual"),
        ("latency_ms", "abc"),
        ("expect_status", "200, 2xx"),
        ("json", "$.a = 1\r\n\r\nno path = 1"),
        ("expect_headers", "not a name: x"),
        ("depends_on", "nobody"),
        ("client_cert", "-----BEGIN CERTIFICATE-----"),
    ];
    let refused = browser.send_form("/services/new", &fields).await;
    assert_eq!(refused.status, 422);
    for (name, told) in [
        ("latency_ms", "must be a number"),
        ("expect_status", "2xx: must be a code"),
        ("json", "line 3: "),
        ("expect_headers", "line 1: "),
        ("depends_on", "there is no service"),
        ("client_cert", "client_cert and client_key belong together"),
    ] {
        let field = refused.text.split(&format!("name=\"{name}\"")).nth(1).and_then(|rest| rest.split("</label>").next());
        let field = field.unwrap_or_else(|| panic!("{name} is in the form"));
        assert!(field.contains(told), "{name}: {field}");
        let place = field.split("aria-describedby=\"").nth(1).and_then(|rest| rest.split('"').next()).expect("it says where it is told");
        assert!(field.contains(&format!("id=\"{place}\"")), "{name}: {field}");
    }
    for path in ["expect.", "depends_on[", "tls:"] {
        assert!(!refused.text.contains(&format!(">{path}")), "{path} in {}", refused.text);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_now_is_watched_step_by_step_and_one_of_a_paused_service_is_refused_with_a_reason() {
    let mut world = World::new().await;
    let operator = world.token("operator").await;
    world.service(&operator, json!({"name": "shop", "base_url": "https://shop.example"})).await;
    let mut requests = world.requests.take().expect("nobody took it");
    tokio::spawn(async move {
        while let Some(request) = requests.recv().await {
            let Some(watcher) = request.watcher else {
                let _ = request.answer.send(bad(1, 2, 0));
                continue;
            };
            let phases = Phases { dns: Some(Duration::from_micros(1_500)), ..Phases::default() };
            watcher.send_replace(Some(Step { attempt: 2, phase: Some(Phase::Tls), phases }));
            // A step that nobody has seen yet may give way to the result.
            tokio::time::sleep(Duration::from_millis(200)).await;
            let _ = request.answer.send(bad(1, 1, 0));
        }
    });
    let mut browser = Browser::of(&world, "operator").await;
    let told = browser.send_form("/services/1/check/live", &[]).await;
    assert_eq!((told.status, told.kind.as_str()), (200, "text/event-stream"), "{}", told.text);
    let places: Vec<Option<usize>> =
        ["event:asked", "event:step", "event:result", "event:done"].iter().map(|name| told.text.find(name)).collect();
    assert!(places.iter().all(Option::is_some) && places.is_sorted(), "{}", told.text);
    for part in ["[\"local\"]", "\"phase\":\"tls\"", "attempt 2: TLS", "[\"dns\",1.5]", "expected 200-299, got 503"] {
        assert!(told.text.contains(part), "{part} in {}", told.text);
    }
    let plain = browser.send_form("/services/1/check", &[]).await;
    assert_eq!((plain.status, plain.header("Location")), (303, Some("/services/1#checks")), "without a script");
    assert!(browser.page("/services/1").await.contains("data-away="));
    browser.send_form("/services/1/enabled", &[("enabled", "false")]).await;
    let refused = browser.send_form("/services/1/check/live", &[]).await;
    assert_eq!(refused.status, 409);
    assert!(refused.text.contains("is paused"), "{}", refused.text);
}
