//! A backup, from one hub to another: through the API of two hubs, and by the two commands with the real binary.

use std::os::unix::fs::PermissionsExt;

use probemesh::api::auth::local_token;
use rocket::http::Method;
use serde_json::{Value, json};

use crate::api_world::{PASSWORD, World};
use crate::binary::{Binary, free_port, run};

const BACKUP: &str = "/api/v1/backup";
const WHOLE: &str = "/api/v1/local/backup";
/// What is in a backup.
const LISTS: [&str; 6] = ["services", "channels", "alert_rules", "maintenance_windows", "slos", "users"];

fn local(world: &World) -> String {
    local_token(&world.secrets, world.clock.now())
}

/// A hub with one of everything, things that depend on each other and secrets.
async fn furnished() -> World {
    let world = World::new().await;
    let admin = world.token("admin").await;
    let post = async |path: &str, body: Value| world.post(path, Some(&admin), body).await.expect(201);
    // Numbers must not be what holds them together: on the other hub they are others.
    for name in ["first", "second"] {
        world.service(&admin, json!({"name": name, "base_url": "https://gone.example"})).await;
    }
    let auth = json!({"type": "bearer", "token": "hunter2"});
    world.service(&admin, json!({"name": "zone", "base_url": "https://zone.example", "auth": auth, "group": "core"})).await;
    world.service(&admin, json!({"name": "shop", "base_url": "https://shop.example", "depends_on": ["zone"], "tags": ["paid"]})).await;
    for id in [1, 2] {
        world.send(Method::Delete, &format!("/api/monitor/services/{id}/"), Some(&admin), None).await.expect(204);
    }
    let hook = |url: &str| json!({"url": url, "secret": "0123456789abcdef"});
    let channel = |name: &str| json!({"name": name, "kind": "webhook", "config": hook("http://127.0.0.1:9/hook"), "save_anyway": true});
    for name in ["on call", "boss"] {
        post("/api/v1/alerts/channels/", channel(name)).await;
    }
    let steps = json!([{"after_s": 900, "channels": ["boss"]}]);
    post("/api/v1/alerts/rules/", json!({"name": "shop is down", "services": ["shop"], "channels": ["on call"], "escalations": steps}))
        .await;
    let nightly = json!({"title": "nightly", "services": ["zone"], "cron": "30 2 * * *", "duration_s": 3600, "from": "2026-01-01T00:00:00Z", "reason": "backups"});
    post("/api/v1/maintenance-windows/", nightly).await;
    post("/api/v1/maintenance-windows/", json!({"title": "by hand", "kind": "manual", "tags": ["paid"], "start": false})).await;
    post("/api/v1/slos/", json!({"name": "shop answers", "service": "shop", "objective": 99.5})).await;
    post("/api/v1/users/", json!({"username": "ada", "password": "a long enough one", "role": "operator"})).await;
    world
}

/// What became of each thing that is not as it was, by kind and name.
fn told(done: &Value) -> Vec<String> {
    let items = done["items"].as_array().expect("a list").iter();
    let text = |item: &Value| format!("{} {} {}", item["kind"], item["name"], item["outcome"]).replace('"', "");
    items.filter(|item| item["outcome"] != "unchanged").map(text).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn another_hub_is_made_of_a_backup_with_its_secrets() {
    let (world, other) = (furnished().await, World::new().await);
    let backup = world.get(WHOLE, Some(&local(&world))).await.expect(200);
    let (token, admin) = (local(&other), other.token("admin").await);
    let plan = other.post(&format!("{BACKUP}?dry_run=true"), Some(&token), backup.clone()).await.expect(200);
    assert_eq!((&plan["dry_run"], plan["counts"].get("refused")), (&json!(true), None), "{plan:#}");
    assert!(other.services.list().is_empty() && other.channels.list().is_empty());

    let done = other.post(BACKUP, Some(&token), backup.clone()).await.expect(200);
    assert_eq!(told(&done), told(&plan));
    assert_eq!(done["counts"].get("refused"), None, "{done:#}");
    let restored = other.get(WHOLE, Some(&token)).await.expect(200);
    for list in LISTS.iter().filter(|list| **list != "users") {
        assert_eq!(restored[list], backup[list], "{list}");
    }
    // Not by number: two services were gone.
    let rules = other.get("/api/v1/alerts/rules/", Some(&admin)).await.expect(200);
    let rule = rules["results"].as_array().expect("a list").iter().find(|rule| rule["name"] == "shop is down").expect("it is there");
    assert_eq!((&rule["service_names"], &rule["channel_names"]), (&json!(["shop"]), &json!(["on call"])), "{rule:#}");
    assert!(other.services.find_by_name("shop").expect("it is there").id.0 < 3);
    // No window that begins by hand has begun, and whoever could log in can.
    let windows = other.get("/api/v1/maintenance-windows/", Some(&admin)).await.expect(200);
    let by_hand = windows["results"].as_array().expect("a list").iter().find(|window| window["title"] == "by hand").expect("it is there");
    assert_eq!((&by_hand["current"], &by_hand["state"]), (&Value::Null, &json!("upcoming")));
    other.post("/api/token/", None, json!({"username": "ada", "password": "a long enough one"})).await.expect(200);

    let again = other.post(&format!("{BACKUP}?update=true"), Some(&token), backup).await.expect(200);
    assert!(told(&again).iter().all(|line| line.starts_with("user ")), "{again:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_differs_is_kept_or_changed_and_nothing_is_deleted() {
    let world = furnished().await;
    let admin = world.token("admin").await;
    let backup = world.get(BACKUP, Some(&admin)).await.expect(200);
    assert_eq!(told(&world.post(BACKUP, Some(&admin), backup.clone()).await.expect(200)), Vec::<String>::new());
    world.send(Method::Patch, "/api/monitor/services/3/", Some(&admin), Some(json!({"timeout_s": 7}))).await.expect(200);
    world.send(Method::Patch, "/api/v1/slos/1/", Some(&admin), Some(json!({"objective": 90}))).await.expect(200);
    world.service(&admin, json!({"name": "new since", "base_url": "https://new.example"})).await;

    let kept = world.post(BACKUP, Some(&admin), backup.clone()).await.expect(200);
    assert_eq!(told(&kept), ["service zone kept", "slo shop answers kept"]);
    let changed = world.post(&format!("{BACKUP}?update=true"), Some(&admin), backup).await.expect(200);
    assert_eq!(told(&changed), ["service zone changed", "slo shop answers changed"]);
    let zone = world.services.find_by_name("zone").expect("it is there");
    let document = serde_json::to_value(&zone.document).expect("it is JSON");
    assert_eq!((zone.id.0, &document["timeout_s"], &document["auth"]["token"]), (3, &Value::Null, &json!("hunter2")), "{document:#}");
    assert!(world.services.find_by_name("new since").is_some());
    let log = world.get("/api/v1/audit?action=slo.update", Some(&admin)).await.expect(200);
    assert!(log["results"].as_array().expect("a list").len() >= 2, "{log:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_is_named_and_the_rest_is_taken() {
    let (world, other) = (furnished().await, World::new().await);
    let (admin, over_there) = (world.token("admin").await, other.token("admin").await);
    let mut backup = world.get(BACKUP, Some(&admin)).await.expect(200);
    for secret in ["hunter2", "0123456789abcdef", "argon2", PASSWORD] {
        assert!(!backup.to_string().contains(secret), "{secret} in {backup:#}");
    }
    backup["slos"][0]["objective"] = json!(101);
    let done = other.post(BACKUP, Some(&over_there), backup.clone()).await.expect(200);
    let refused = |kind: &str| -> Vec<String> {
        let items = done["items"].as_array().expect("a list").iter().filter(|item| item["kind"] == kind && item["outcome"] == "refused");
        items.map(|item| format!("{}: {}", item["name"], item["errors"][0]["field"]).replace('"', "")).collect()
    };
    // A mask stands for nothing there; what leans on that is refused, too, and says on what.
    assert_eq!(refused("service"), ["zone: auth.token", "shop: depends_on[0]"]);
    assert_eq!(refused("channel"), ["on call: config.url", "boss: config.url"]);
    assert_eq!(refused("user"), ["ada: password_hash"]);
    assert!(!refused("alert_rule").is_empty() && !refused("slo").is_empty(), "{done:#}");
    assert!(other.services.list().is_empty());

    let wrong = [
        (json!([]), ""),
        (json!({"services": []}), "format"),
        (json!({"format": 1}), "format"),
        (json!({"format": 2, "service": []}), "service"),
        (json!({"format": 2, "slos": {}}), "slos"),
        (json!({"format": 2, "users": [{"role": "admin"}]}), "users[0].username"),
        (json!({"format": 2, "channels": [7]}), "channels[0]"),
    ];
    for (body, field) in wrong {
        assert_eq!(other.post(BACKUP, Some(&over_there), body.clone()).await.problem(422), [field], "{body}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_commands_carry_a_hub_to_another_machine() {
    let (here, there) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
    let services = json!([{"name": "shop", "base_url": "http://127.0.0.1:9", "headers": {"Authorization": "Bearer hunter2"}}]);
    std::fs::write(here.path().join("services.json"), services.to_string()).expect("it is written");
    let (port, other_port) = (free_port(), free_port());
    let refused = run(here.path(), port, &["export"]);
    assert!(!refused.status.success() && String::from_utf8_lossy(&refused.stderr).contains("no hub runs here"));
    let (hub, mut other) = (Binary::start(here.path(), port).await, Binary::start(there.path(), other_port).await);

    let masked = run(here.path(), port, &["export"]);
    assert!(masked.status.success() && !String::from_utf8_lossy(&masked.stdout).contains("hunter2"));
    let said = run(here.path(), port, &["export", "--secrets", "--file", "kept.json"]);
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
    let file = here.path().join("kept.json");
    assert_eq!(std::fs::metadata(&file).expect("it is there").permissions().mode() & 0o777, 0o600);
    let path = file.to_str().expect("it is a text");
    let plan = run(there.path(), other_port, &["import", path, "--dry-run"]);
    let text = String::from_utf8_lossy(&plan.stdout).into_owned();
    assert!(plan.status.success() && text.contains("created   service            shop") && text.contains("nothing was stored"), "{text}");
    let done = run(there.path(), other_port, &["import", path]);
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let page = other.get("/api/monitor/services/?search=shop").await;
    assert_eq!(page["count"], 1, "{page:#}");
    // A mask cannot be taken there: the exit code says so, and the words name the field.
    std::fs::write(&file, String::from_utf8_lossy(&masked.stdout).replace("\"shop\"", "\"second shop\"")).expect("it is written");
    let refused = run(there.path(), other_port, &["import", path]);
    let text = String::from_utf8_lossy(&refused.stdout).into_owned();
    assert!(refused.status.code() == Some(1) && text.contains("headers.Authorization"), "{text}");
    hub.end();
    other.end();
}
