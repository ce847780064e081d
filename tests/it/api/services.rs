//! Services: changes, bad input, secrets, lists, seeding and checks made now.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use probemesh::config::service::ServiceDocument;
use probemesh::model::id::ServiceId;
use probemesh::store::audit::Audit;
use probemesh::store::secrets::Secrets;
use probemesh::store::services::Services;
use rocket::http::{ContentType, Method};
use serde_json::{Value, json};

use super::{SERVICES, path, service};
use crate::api_world::{World, bad, good};

#[tokio::test(flavor = "multi_thread")]
async fn a_service_is_created_read_changed_and_deleted() {
    let world = World::new().await;
    let operator = world.token("operator").await;
    let token = Some(operator.as_str());
    let created = world.post(SERVICES, token, service("users")).await;
    assert_eq!(created.header("Location"), Some("/api/monitor/services/1/"));
    let created = created.expect(201);
    let expected = json!({
        "id": 1, "name": "users", "base_url": "https://api.example.com", "health_path": "/health", "method": "GET",
        "headers": {}, "timeout_s": 10.0, "enabled": true, "revision": 1,
        "created_at": "2026-11-22T08:00:00.000Z", "updated_at": "2026-11-22T08:00:00.000Z",
    });
    assert_eq!(created, expected);
    let mut read = world.get("/api/monitor/services/1", token).await.expect(200);
    // Read, it tells its up-time too, which nobody can send.
    let uptime = read.as_object_mut().and_then(|read| read.shift_remove("uptime")).expect("it tells its up-time");
    assert_eq!(uptime["90d"], json!({"ratio": null, "coverage": 0.0, "maintenance_s": 0.0}));
    assert_eq!(read, expected);

    world.clock.advance(Duration::from_secs(60)).await;
    let patch = json!({"interval_s": 5, "tags": ["money"], "health_path": null});
    let patched = world.send(Method::Patch, "/api/monitor/services/1/", token, Some(patch)).await.expect(200);
    assert_eq!(patched["revision"], 2);
    assert_eq!(patched["interval_s"], 5.0);
    assert_eq!(patched["health_path"], "");
    assert_eq!(patched["updated_at"], "2026-11-22T08:01:00.000Z");

    // What was read can be sent back as it is.
    let same = world.send(Method::Put, "/api/monitor/services/1/", token, Some(patched)).await.expect(200);
    assert_eq!(same["interval_s"], 5.0);
    let nudges = world.nudges.load(Ordering::Relaxed);
    assert!(nudges >= 2);
    let again = world.send(Method::Put, "/api/monitor/services/1/", token, Some(same.clone())).await.expect(200);
    assert_eq!(again, same);
    assert_eq!(world.nudges.load(Ordering::Relaxed), nudges, "nobody is nudged for nothing");

    let put = world.send(Method::Put, "/api/monitor/services/1/", token, Some(service("users"))).await.expect(200);
    assert!(put.get("interval_s").is_none() && put.get("tags").is_none(), "{put}");
    let stale = json!({"name": "users", "base_url": "https://api.example.com", "revision": 1});
    world.send(Method::Put, "/api/monitor/services/1/", token, Some(stale)).await.problem(409);

    world.send(Method::Delete, "/api/monitor/services/1/", token, None).await.expect(204);
    world.get("/api/monitor/services/1/", token).await.problem(404);
    assert_eq!(world.service(&operator, service("users")).await, 2, "a number is never given again");
    assert_eq!(world.services.list().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_mistake_of_a_service_is_named_at_once_and_nothing_is_stored() {
    let world = World::new().await;
    let operator = world.token("operator").await;
    world.service(&operator, service("taken")).await;
    world.service(&operator, service("own")).await;
    let before = world.services.list();
    let with = |field: &str, value: Value| {
        let mut body = service("new");
        body[field] = value;
        body
    };
    let wrong: Vec<(Value, Vec<&str>)> = vec![
        (json!({}), vec!["base_url", "name"]),
        (json!([]), vec![""]),
        (with("base_url", json!("not a url")), vec!["base_url"]),
        (with("base_url", json!("ftp://example.com")), vec!["base_url"]),
        (with("base_url", json!("https://u:p@example.com")), vec!["base_url"]),
        (with("base_url", json!(7)), vec!["base_url"]),
        (with("method", json!("FETCH")), vec!["method"]),
        (with("expect", json!({"body_regex": "("})), vec!["expect.body_regex"]),
        (with("expect", json!({"json": [{"path": "not a path", "equals": 1}]})), vec!["expect.json[0].path"]),
        (with("expect", json!({"status": 99})), vec!["expect.status"]),
        (with("cron", json!("every day")), vec!["cron"]),
        (with("timeout_s", json!(-1)), vec!["timeout_s"]),
        (with("interval_s", json!(-5)), vec!["interval_s"]),
        (with("retries", json!(-1)), vec!["retries"]),
        (with("retries", json!(11)), vec!["retries"]),
        (with("headers", json!({"bad name": "x"})), vec!["headers.bad name"]),
        (with("shoe_size", json!(43)), vec!["shoe_size"]),
        (with("name", json!("taken")), vec!["name"]),
        (with("name", json!("  taken ")), vec!["name"]),
        (with("id", json!(9)), vec!["id"]),
        (
            json!({"name": "taken", "base_url": "nowhere", "method": "FETCH", "timeout_s": "soon", "shoe": 1, "retries": 99}),
            vec!["base_url", "method", "name", "retries", "shoe", "timeout_s"],
        ),
    ];
    for (body, expected) in wrong {
        for (method, path) in [(Method::Post, SERVICES), (Method::Put, "/api/monitor/services/2/")] {
            let mut found = world.send(method, path, Some(&operator), Some(body.clone())).await.problem(422);
            found.sort();
            assert_eq!(found, expected, "{method} {body}");
        }
    }
    let patch = json!({"expect": {"status": "none"}, "retries": 99});
    let mut found = world.send(Method::Patch, "/api/monitor/services/2/", Some(&operator), Some(patch)).await.problem(422);
    found.sort();
    assert_eq!(found, ["expect.status", "retries"]);
    assert_eq!(world.services.list(), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_is_broken_too_large_or_of_another_kind_is_refused() {
    let world = World::new().await;
    let operator = world.token("operator").await;
    let token = Some(operator.as_str());
    let post = async |body: String, kind: ContentType| world.send_text(Method::Post, SERVICES, token, Some(body), kind).await;
    let broken = post("{\n  \"name\": \"x\",\n  oops\n}".to_owned(), ContentType::JSON).await;
    broken.problem(400);
    assert!(broken.text.contains("line 3, column 3"), "{}", broken.text);
    post(format!("{{\"name\": \"{}\"}}", "x".repeat(10 << 20)), ContentType::JSON).await.problem(413);
    post("name=x".to_owned(), ContentType::Form).await.problem(415);
    post("[".repeat(100_000), ContentType::JSON).await.problem(400);
    post(String::new(), ContentType::JSON).await.problem(400);
    assert!(world.services.list().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_are_masked_sealed_in_the_store_and_kept_when_the_mask_comes_back() {
    let world = World::new().await;
    let (operator, viewer) = (world.token("operator").await, world.token("viewer").await);
    let body = json!({
        "name": "secretive", "base_url": "https://api.example.com", "body": "in the b0dy",
        "headers": {"Authorization": "Bearer s3cret", "X-Api-Key": "s3cret", "Accept": "text/html"},
        "auth": {"type": "basic", "username": "u", "password": "s3cret"},
        "proxy": "http://p:s3cret@proxy.example:3128/",
        "tls": {"client_cert": "/etc/cert.pem", "client_key": "/etc/s3cret.pem"},
    });
    let created = world.post(SERVICES, Some(&operator), body).await.expect(201);
    for token in [&operator, &viewer] {
        for path in ["/api/monitor/services/1/", SERVICES] {
            let shown = world.get(path, Some(token)).await;
            assert!(shown.text.contains("secretive") && !shown.text.contains("s3cret"), "{}", shown.text);
        }
    }
    assert_eq!(created["headers"], json!({"Authorization": "********", "X-Api-Key": "********", "Accept": "text/html"}));
    assert_eq!(created["auth"]["password"], "********");
    assert_eq!(created["proxy"], "http://p:********@proxy.example:3128/");

    let kept = world.services.get(ServiceId(1)).expect("it is kept");
    let mut back = created;
    back["timeout_s"] = json!(3.0);
    world.send(Method::Put, "/api/monitor/services/1/", Some(&operator), Some(back)).await.expect(200);
    let now = world.services.get(ServiceId(1)).expect("it is kept");
    let mut expected = kept.document.clone();
    expected.timeout_s = Some(3.0);
    // Sent back, the defaults that were shown are given.
    expected.method = Some("GET".to_owned());
    expected.enabled = Some(true);
    expected.health_path = Some(String::new());
    assert_eq!(now.document, expected);
    let patch = json!({"headers": {"X-Api-Key": "n3w"}});
    world.send(Method::Patch, "/api/monitor/services/1/", Some(&operator), Some(patch)).await.expect(200);
    let now = world.services.get(ServiceId(1)).expect("it is kept");
    assert_eq!(now.document.headers["X-Api-Key"], "n3w");
    assert_eq!(now.document.headers["Authorization"], "Bearer s3cret");

    // Whoever may edit but not read must not have the secrets sent to a host of their own.
    let elsewhere = json!({"base_url": "https://evil.example"});
    let refused = world.send(Method::Patch, "/api/monitor/services/1/", Some(&operator), Some(elsewhere)).await.problem(422);
    assert_eq!(refused, ["headers.Authorization", "headers.X-Api-Key", "auth.password", "proxy", "tls.client_key"]);

    let mask = json!({"name": "other", "base_url": "https://a.example", "headers": {"Cookie": "********"}});
    assert_eq!(world.post(SERVICES, Some(&operator), mask).await.problem(422), ["headers.Cookie"]);

    let mut raw = world.store.database.query("SELECT * FROM service; SELECT * FROM audit", vec![]).await.expect("it is read");
    let text = format!("{:?}{:?}", raw.take::<surrealdb::types::Value>(0), raw.take::<surrealdb::types::Value>(1));
    assert!(text.contains("secretive"), "{text}");
    for secret in ["s3cret", "n3w", "b0dy"] {
        assert!(!text.contains(secret), "{secret} in {text}");
    }

    // Another start with the same key reads the same; one with another key reads nothing and says so.
    let reopen = |key: u8| {
        let database = world.store.database.clone();
        let audit = Arc::new(Audit::new(database.clone(), world.clock.clone()));
        Services::open(database, Arc::new(Secrets::from_key(&[key; 32])), audit, world.clock.clone())
    };
    assert_eq!(reopen(7).await.expect("the key fits").list(), world.services.list());
    let refused = reopen(8).await.expect_err("the key does not fit");
    assert_eq!(refused.to_string(), "secret of service:1 cannot be opened with this secret.key");
}

#[tokio::test(flavor = "multi_thread")]
async fn services_are_listed_by_page_and_filter() {
    let world = World::new().await;
    let operator = world.token("operator").await;
    for index in 1..=7 {
        let mut body = service(&format!("service {index}"));
        body["enabled"] = json!(index % 2 == 1);
        body["group"] = json!(if index < 4 { "a" } else { "b" });
        body["tags"] = json!([format!("tag{index}")]);
        world.service(&operator, body).await;
    }
    let ids = |page: &Value| -> Vec<u64> {
        page["results"].as_array().expect("a list").iter().map(|service| service["id"].as_u64().unwrap_or(0)).collect()
    };
    let mut seen = Vec::new();
    let mut next = Some(format!("{SERVICES}?page_size=3"));
    while let Some(address) = next {
        let page = world.get(&address, Some(&operator)).await.expect(200);
        assert_eq!(page["count"], 7);
        assert_eq!(page["previous"].is_null(), seen.is_empty());
        seen.extend(ids(&page));
        next = path(&page["next"]);
    }
    assert_eq!(seen, [1, 2, 3, 4, 5, 6, 7]);
    for (filter, expected) in [
        ("enabled=false", vec![2, 4, 6]),
        ("group=a", vec![1, 2, 3]),
        ("group=a&enabled=true", vec![1, 3]),
        ("tag=tag5", vec![5]),
        ("search=SERVICE%207", vec![7]),
        ("page=9", vec![]),
        ("page=18446744073709551615&page_size=500", vec![]),
    ] {
        let page = world.get(&format!("{SERVICES}?{filter}"), Some(&operator)).await.expect(200);
        assert_eq!(ids(&page), expected, "{filter}");
    }
    for (filter, field) in [
        ("page_size=501", "page_size"),
        ("page_size=0", "page_size"),
        ("page=0", "page"),
        ("enabled=maybe", "enabled"),
        ("colour=red", "colour"),
    ] {
        assert_eq!(world.get(&format!("{SERVICES}?{filter}"), Some(&operator)).await.problem(400), [field]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn seeding_creates_what_is_new_and_updates_only_when_told() {
    let world = World::new().await;
    let document = |value: Value| ServiceDocument::read(&value).expect("it is a service");
    let seeded = world.services.seed(vec![document(service("a")), document(service("b"))], false).await.expect("it seeds");
    assert_eq!(seeded.created, ["a", "b"]);
    let mut other = service("a");
    other["timeout_s"] = json!(2);
    let again = vec![document(other), document(service("b")), document(service("c"))];
    let seeded = world.services.seed(again.clone(), false).await.expect("it seeds");
    assert_eq!((seeded.skipped, seeded.unchanged, seeded.created), (vec!["a".into()], vec!["b".into()], vec!["c".into()]));
    let seeded = world.services.seed(again, true).await.expect("it seeds");
    assert_eq!((seeded.updated, seeded.unchanged.len()), (vec!["a".to_owned()], 2));
    assert_eq!(world.services.find_by_name("a").expect("it is kept").document.timeout_s, Some(2.0));
}

#[tokio::test(flavor = "multi_thread")]
async fn five_hundred_are_seeded_in_a_few_ways_to_the_store_or_not_at_all() {
    let world = World::new().await;
    let document = |value: Value| ServiceDocument::read(&value).expect("it is a service");
    let many = |count: usize| (0..count).map(|number| document(service(&format!("s{number:03}"))));
    let mut broken = service("broken");
    broken["depends_on"] = json!(["nobody"]);
    let refused = world.services.seed(many(500).chain([document(broken)]).collect(), false).await;
    assert!(refused.is_err() && world.services.list().is_empty(), "a mistake stores nothing");
    let rows = world.audit.count().await.expect("it is counted");
    let before = world.store.database.asked();
    // The last one is named twice: the second is one that is known by then.
    let seeded = world.services.seed(many(500).chain(many(1)).collect(), false).await.expect("it seeds");
    let asked = world.store.database.asked() - before;
    assert!(asked <= 8, "{asked} ways to the store for 500 services");
    assert_eq!((seeded.created.len(), seeded.unchanged.as_slice()), (500, ["s000".to_owned()].as_slice()));
    let kept: Vec<(u32, String)> = world.services.list().iter().map(|service| (service.id.0, service.name().to_owned())).collect();
    let wanted: Vec<(u32, String)> = (0..500).map(|number| (number + 1, format!("s{number:03}"))).collect();
    assert_eq!(kept, wanted, "numbers in the order of the file");
    assert!(!world.services.refresh().await.expect("it is read"), "what is stored is what is known");
    assert_eq!(world.audit.count().await.expect("it is counted") - rows, 500);
    let last = world.audit.page(0, 1).await.expect("it is read").1.remove(0);
    assert_eq!((last.action.as_str(), last.subject.as_str(), last.who.as_str()), ("service.create", "service:500", "seed"));
    let token = world.token("operator").await;
    assert_eq!(world.service(&token, service("next")).await, 501);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_now_tells_what_the_region_saw() {
    let mut world = World::new().await;
    let operator = world.token("operator").await;
    for name in ["good", "bad", "unheard"] {
        world.service(&operator, service(name)).await;
    }
    let mut off = service("off");
    off["enabled"] = json!(false);
    world.service(&operator, off).await;
    let mut requests = world.requests.take().expect("nobody took it");
    tokio::spawn(async move {
        let mut kept = Vec::new();
        while let Some(request) = requests.recv().await {
            match request.service {
                ServiceId(1) => drop(request.answer.send(good(1, 1, 1))),
                ServiceId(2) => drop(request.answer.send(bad(2, 2, 1))),
                _ => kept.push(request),
            }
        }
    });
    let answer = world.post("/api/monitor/services/2/check/", Some(&operator), json!({})).await.expect(200);
    assert_eq!(answer["ok"], false);
    assert_eq!(answer["results"][0]["region"], "local");
    assert_eq!(answer["results"][0]["reason"], "status");
    assert_eq!(answer["results"][0]["message"], "expected 200-299, got 503");
    world.post("/api/monitor/services/4/check/", Some(&operator), json!({})).await.problem(409);
    world.post("/api/monitor/services/9/check/", Some(&operator), json!({})).await.problem(404);
    let all = world.post("/api/monitor/checks/run/?timeout_s=0.2", Some(&operator), json!({})).await.expect(200);
    assert_eq!((&all["checked"], &all["ok"], &all["failed"], &all["unanswered"]), (&json!(3), &json!(1), &json!(1), &json!(1)));
    assert_eq!(all["results"][2]["unanswered"], "no answer in time");
    let wrong = world.post("/api/monitor/checks/run/?timeout_s=-1", Some(&operator), json!({})).await;
    assert_eq!(wrong.problem(400), ["timeout_s"]);
}
