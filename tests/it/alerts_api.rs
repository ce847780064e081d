//! Alerts through the API: rules as people write them, what services depend on, deliveries, causes and drills.

use probemesh::model::alert::CauseMove;
use probemesh::model::held::Held;
use probemesh::store::alerts::Commit;
use rocket::http::Method;
use serde_json::{Value, json};

use crate::alerts_world::cause;
use crate::api_world::{World, bad, good};

const RULES: &str = "/api/v1/alerts/rules/";
const SERVICES: &str = "/api/monitor/services/";

fn service(name: &str, parents: &[&str]) -> Value {
    json!({"name": name, "base_url": "http://192.0.2.1", "depends_on": parents})
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_is_made_read_changed_and_ended_by_operators() {
    let world = World::new().await;
    let operator = world.token("operator").await;
    let token = Some(operator.as_str());
    let shop = world.service(&operator, service("shop", &[])).await;
    let made =
        world.post(RULES, token, json!({"name": "on call", "channels": ["mail"], "services": ["shop"], "repeat_s": 600})).await.expect(201);
    assert_eq!((&made["services"], &made["channels"], &made["kinds"]), (&json!([shop]), &json!([1]), &json!(["incident"])), "{made}");
    assert_eq!((&made["channel_names"], &made["service_names"]), (&json!(["mail"]), &json!(["shop"])));
    let path = format!("{RULES}{}/", made["id"]);
    let patch = json!({"repeat_s": null, "quiet": {"timezone": "Europe/Berlin", "from": "22:00", "to": "07:00"}, "revision": 1});
    let patched = world.send(Method::Patch, &path, token, Some(patch)).await.expect(200);
    assert_eq!((&patched["repeat_s"], &patched["quiet"]["to"], &patched["revision"]), (&Value::Null, &json!("07:00"), &json!(2)));
    // What is read can be sent back as it is.
    let back = world.send(Method::Put, &path, token, Some(patched.clone())).await.expect(200);
    assert_eq!(back, patched);
    world.send(Method::Put, &path, token, Some(json!({"name": "a", "channels": [1], "revision": 1}))).await.problem(409);
    let wrong = json!({"name": "on call", "channels": ["pager"], "kinds": ["incidents"], "services": [99], "quiet": {"from": "22:00"}});
    let fields = world.post(RULES, token, wrong).await.problem(422);
    assert_eq!(fields, ["services[0]", "channels[0]", "kinds[0]", "quiet.to", "name"]);
    assert_eq!(world.post(RULES, token, json!({"name": "b", "chanels": [1]})).await.problem(422), ["chanels"]);
    assert_eq!(world.get(RULES, token).await.expect(200)["count"], 1);
    world.send(Method::Delete, &path, token, None).await.expect(204);
    world.get(&path, token).await.problem(404);
    let admin = world.token("admin").await;
    let log = world.get("/api/v1/audit", Some(&admin)).await.expect(200).to_string();
    for action in ["alert_rule.create", "alert_rule.update", "alert_rule.delete"] {
        assert!(log.contains(action), "{action} is not in {log}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn loops_and_names_of_nobody_are_refused_and_parents_are_not_deleted_by_accident() {
    let world = World::new().await;
    let operator = world.token("operator").await;
    let token = Some(operator.as_str());
    let database = world.service(&operator, service("database", &[])).await;
    let users = world.service(&operator, service("users", &["database"])).await;
    let shop = world.service(&operator, service("shop", &["users", "database"])).await;
    let refused = world.post(SERVICES, token, service("blog", &["databse"])).await;
    assert_eq!(refused.problem(422), ["depends_on[0]"]);
    assert!(refused.text.contains("did you mean database?"), "{}", refused.text);
    let at = |id: u32| format!("{SERVICES}{id}/");
    let refused = world.send(Method::Patch, &at(database), token, Some(json!({"depends_on": ["shop"]}))).await;
    assert_eq!(refused.problem(422), ["depends_on[0]"]);
    assert!(refused.text.contains("makes a loop: database → shop → database"), "{}", refused.text);
    assert_eq!(world.post(SERVICES, token, service("self", &["self"])).await.problem(422), ["depends_on[0]"]);
    // Whoever depends on it follows it to its new name.
    world.send(Method::Patch, &at(database), token, Some(json!({"name": "postgres"}))).await.expect(200);
    assert_eq!(world.get(&at(shop), token).await.expect(200)["depends_on"], json!(["users", "postgres"]));
    let refused = world.send(Method::Delete, &at(database), token, None).await;
    refused.problem(409);
    assert!(refused.text.contains("users, shop"), "{}", refused.text);
    world.send(Method::Delete, &format!("{}?force=true", at(database)), token, None).await.expect(204);
    assert_eq!(world.get(&at(users), token).await.expect(200)["depends_on"], Value::Null);
}

#[tokio::test(flavor = "multi_thread")]
async fn causes_and_deliveries_are_listed_and_filtered_and_incidents_say_what_they_follow_from() {
    let world = World::new().await;
    let operator = world.token("operator").await;
    let token = Some(operator.as_str());
    let shop = probemesh::model::id::ServiceId(world.service(&operator, service("shop", &[])).await);
    let root = Held::new(cause("incident-root", shop), world.clock.now());
    let follows = Held { consequence_of: Some("incident-root".to_owned()), ..Held::new(cause("incident-child", shop), world.clock.now()) };
    let commits = [root, follows].map(|held| Commit { held, settled: false, deliveries: Vec::new() });
    world.alerts.commit(&commits).await.unwrap();
    let causes = world.get("/api/v1/alerts/causes/?open=true&kind=incident&service=1", token).await.expect(200);
    assert_eq!(causes["count"], 2);
    let child = world.get("/api/v1/alerts/causes/incident-child", token).await.expect(200);
    assert_eq!((&child["consequence_of"], &child["service_name"]), (&json!("incident-root"), &json!("shop")));
    assert_eq!(world.get("/api/v1/alerts/causes/?kind=war", token).await.problem(400), ["kind"]);
    for (query, field) in [("state=lost", "state"), ("channel=pigeon", "channel"), ("cursor=x", "cursor"), ("colour=red", "colour")] {
        assert_eq!(world.get(&format!("/api/v1/alerts/deliveries/?{query}"), token).await.problem(400), [field]);
    }
    assert_eq!(world.get("/api/v1/alerts/deliveries/?channel=mail&state=dead", token).await.expect(200)["count"], 0);
    world.get("/api/v1/alerts/deliveries/nobody", token).await.problem(404);
    world.post("/api/v1/alerts/deliveries/nobody/retry", token, Value::Null).await.problem(404);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drill_goes_through_the_verdict_and_says_who_would_be_told() {
    let world = World::new().await;
    let operator = world.token("operator").await;
    let token = Some(operator.as_str());
    let shop = world.service(&operator, service("shop", &[])).await;
    let drill = "/api/v1/alerts/drill/";
    assert_eq!(world.post(drill, token, json!({"service": "shp"})).await.problem(422), ["service"]);
    world.show_services();
    // Nobody has checked it yet: there is nothing to make a verdict of.
    world.post(drill, token, json!({"service": "shop"})).await.problem(409);
    let now = world.clock.now();
    for (index, region) in ["ap", "eu", "us"].into_iter().enumerate() {
        let mut result = good(shop, index as u64 + 1, 0);
        result.region = region.into();
        world.board.fold(&[result], now);
    }
    world.post(RULES, token, json!({"name": "on call", "channels": ["chat"], "for_s": 300})).await.expect(201);
    world.post(RULES, token, json!({"name": "others", "channels": ["chat"], "tags": ["other"]})).await.expect(201);
    world.post(RULES, token, json!({"name": "slow", "channels": ["chat"], "kinds": ["degraded"]})).await.expect(201);
    let all = world.post(drill, token, json!({"service": "shop"})).await.expect(201);
    assert_eq!((&all["kind"], &all["severity"], &all["rules"]), (&json!("incident"), &json!("critical"), &json!(["on call"])), "{all}");
    assert!(all["headline"].as_str().unwrap().ends_with("in 3 of 3 regions"), "{all}");
    let one = world.post(drill, token, json!({"service": shop, "region": "eu"})).await.expect(201);
    assert_eq!((&one["kind"], &one["severity"], &one["rules"]), (&json!("degraded"), &json!("warning"), &json!(["slow"])), "{one}");
    let refused = world.post(drill, token, json!({"service": shop, "region": "mars"})).await;
    refused.problem(409);
    assert!(refused.text.contains("known: ap, eu, us"), "{}", refused.text);
    // It is said as a cause and as nothing else: the service is as up as it was.
    let said = world.said.lock().unwrap().try_recv().unwrap();
    assert!(matches!(said, CauseMove::Raised(cause) if cause.drill && cause.key.starts_with("drill-1-")), "not a drill");
    assert_eq!(world.board.service(probemesh::model::id::ServiceId(shop), now).unwrap().verdict.name(), "up");
    // One that is down already is rehearsed from health all the same.
    world.board.fold(&[bad(shop, 9, 0)], now);
    world.post(drill, token, json!({"service": "shop"})).await.expect(201);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_channel_brings_a_rule_and_a_channel_in_use_is_not_deleted_by_accident() {
    let world = World::new().await;
    let admin = world.token("admin").await;
    let token = Some(admin.as_str());
    let channels = "/api/v1/alerts/channels/";
    let channel = |name: &str| json!({"name": name, "kind": "webhook", "config": {"url": "http://127.0.0.1:1/"}, "save_anyway": true});
    let first = world.post(channels, token, channel("hook")).await.expect(201);
    let rules = world.get(RULES, token).await.expect(200);
    let rule = &rules["results"][0];
    assert_eq!((&rules["count"], &rule["name"], &rule["channels"]), (&json!(1), &json!("everything that is wrong"), &json!([first["id"]])));
    assert_eq!(rule["kinds"], json!(["incident", "certificate", "burn", "node", "system"]));
    let path = format!("{channels}{}/", first["id"]);
    let refused = world.send(Method::Delete, &path, token, None).await;
    refused.problem(409);
    assert!(refused.text.contains("everything that is wrong"), "{}", refused.text);
    world.send(Method::Delete, &format!("{path}?force=true"), token, None).await.expect(204);
    // A rule that was deleted does not come back with the next channel.
    world.send(Method::Delete, &format!("{RULES}{}/", rule["id"]), token, None).await.expect(204);
    world.post(channels, token, channel("another")).await.expect(201);
    assert_eq!(world.get(RULES, token).await.expect(200)["count"], 0);
}

#[tokio::test]
async fn the_command_drills_the_hub_that_runs_and_tells_when_each_stage_was_reached() {
    let (folder, port) = (tempfile::tempdir().unwrap(), crate::binary::free_port());
    let services = json!([{"name": "probemesh", "base_url": "self", "health_path": "/healthz", "interval_s": 1}]);
    std::fs::write(folder.path().join("services.json"), services.to_string()).unwrap();
    let mut hub = crate::binary::Binary::start(folder.path(), port).await;
    while hub.get("api/monitor/results/?page_size=1").await["results"].as_array().unwrap().is_empty() {
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    let drill = |arguments: &[&str]| {
        let output = crate::binary::run(folder.path(), port, &[&["drill"], arguments].concat());
        let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        (output.status.code(), said)
    };
    let (code, said) = drill(&["--service", "probemesh"]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.starts_with("DRILL probemesh (critical): ") && said.contains("no rule tells of it"), "{said}");
    let url = format!("http://127.0.0.1:{port}/healthz");
    let channel = json!({"name": "hook", "kind": "webhook", "config": {"url": url, "method": "GET"}});
    let (status, made) = hub.ask("POST", "api/v1/alerts/channels/", Some(channel)).await;
    assert_eq!(status, 201, "{made}");
    let (code, said) = drill(&["--service", "probemesh", "--region", "local", "--json"]);
    assert_eq!(code, Some(0), "{said}");
    let told: Value = serde_json::from_str(&said).unwrap();
    let stages = told["deliveries"].as_array().unwrap();
    let tellings: Vec<&str> = stages.iter().map(|stage| stage["telling"].as_str().unwrap()).collect();
    assert_eq!(tellings, ["raised", "recovered"], "{told:#}");
    for stage in stages {
        let [planned, first, delivered] = ["planned_ms", "first_attempt_ms", "delivered_ms"].map(|name| stage[name].as_f64().unwrap());
        assert!(planned <= first && first <= delivered && delivered < 5_000.0, "{stage}");
    }
    // It counts nowhere.
    assert_eq!(hub.get("api/v1/incidents/").await["count"], 0);
    assert_eq!(hub.get("api/v1/alerts/deliveries/?drill=true&state=delivered").await["count"], 2);
    let metrics = hub.ask("GET", "metrics", None).await.1;
    assert!(metrics.to_string().contains("probemesh_alert_queue{channel=\\\"hook\\\"} 0"), "{metrics}");
    let (code, said) = drill(&["--service", "nobody"]);
    assert_eq!((code, said.contains("there is no service \"nobody\"")), (Some(1), true), "{said}");
    assert!(hub.end().0.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn who_an_issue_is_assigned_to_is_told_by_a_channel_of_their_own() {
    let folder = tempfile::tempdir().unwrap();
    let mut hub = crate::binary::Binary::start(folder.path(), crate::binary::free_port()).await;
    let receiver = crate::target::Target::plain(|_| crate::target::Reply::text(200, "thanks")).await;
    let told = async |count: usize| loop {
        let asked = receiver.asked();
        let words: Vec<Value> = asked.iter().filter_map(|asked| serde_json::from_str(&asked.body).ok()).collect();
        let mut words: Vec<Value> = words.into_iter().filter(|told| told["telling"] == "word").collect();
        if words.len() >= count {
            break words.swap_remove(count - 1);
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    };
    let made = |name: &str| json!({"name": name, "kind": "webhook", "config": {"url": receiver.url("http", "127.0.0.1")}});
    for name in ["ops", "ada alone"] {
        assert_eq!(hub.ask("POST", "api/v1/alerts/channels/", Some(made(name))).await.0, 201);
    }
    let user = json!({"username": "ada", "password": "correct horse", "role": "operator"});
    assert_eq!(hub.ask("POST", "api/v1/users", Some(user)).await.0, 201);
    let (status, wrong) = hub.ask("PATCH", "api/v1/users/ada", Some(json!({"channel": "pigeon"}))).await;
    assert_eq!((status, &wrong["errors"][0]["field"]), (422, &json!("channel")), "{wrong}");
    let (_, user) = hub.ask("PATCH", "api/v1/users/ada", Some(json!({"channel": "ada alone"}))).await;
    assert_eq!(user["channel"], "ada alone");
    let issue = json!({"title": "Pool runs empty", "issue_type": "bug", "assignee": "ada"});
    assert_eq!(hub.ask("POST", "api/v1/maintenance/issues", Some(issue)).await.0, 201);
    assert_eq!(told(1).await["title"], json!("admin assigned issue 1 to you: Pool runs empty"));
    let (_, said) = hub.ask("POST", "api/v1/maintenance/issues/1/comments", Some(json!({"body": "@ada is it the nightly job?"}))).await;
    assert_eq!(said["author"], "admin", "{said}");
    assert_eq!(told(2).await["title"], "admin mentioned you in comment 1 of issue 1: Pool runs empty");
    let mut words = async || {
        let delivered = hub.get("api/v1/alerts/deliveries/?state=delivered").await;
        delivered["results"].as_array().map_or(0, |all| all.iter().filter(|one| one["telling"] == "word").count())
    };
    while words().await < 2 {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }

    // The channel is somebody's: it is not deleted by accident, and the user is told by none afterwards.
    let (status, refused) = hub.ask("DELETE", "api/v1/alerts/channels/2/", None).await;
    assert_eq!((status, refused["detail"].to_string().contains("user ada")), (409, true), "{refused}");
    assert_eq!(hub.ask("DELETE", "api/v1/alerts/channels/2/?force=true", None).await.0, 204);
    let users = hub.get("api/v1/users").await;
    let ada = users["results"].as_array().unwrap().iter().find(|user| user["username"] == "ada").unwrap();
    assert_eq!(ada["channel"], Value::Null);
    assert!(hub.end().0.success());
}
