//! API keys: what each scope lets a program do, how long a key holds, and where it never shows.

use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use probemesh::store::api_keys::ApiKeys;
use probemesh::store::users::Role;
use rocket::http::Method;
use serde_json::{Value, json};

use super::access::ROLES;
use super::{SERVICES, service};
use crate::api_world::{PASSWORD, World, author};

const KEYS: &str = "/api/v1/api-keys";
const SCOPES: [&str; 7] = ["read", "results", "services", "incidents", "issues", "alerts", "admin"];

/// Makes a key as somebody who logged in; the key and what is said of it.
async fn made(world: &World, username: &str, body: Value) -> (String, Value) {
    let token = world.token(username).await;
    let answer = world.post(KEYS, Some(&token), body).await.expect(201);
    (answer["key"].as_str().expect("it is shown").to_owned(), answer)
}

/// The routes of each scope: what it may read and change, by the beginning of the path.
const OWN: [(&str, &[&str]); 5] = [
    (
        "results",
        &[
            "/api/monitor/results",
            "/api/monitor/health/summary",
            "/api/monitor/digests",
            "/api/v1/rollups",
            "/api/v1/maintenance/performance",
            "/api/v1/maintenance/metrics/collect",
            "/metrics",
        ],
    ),
    ("services", &["/api/monitor/services", "/api/monitor/checks"]),
    ("incidents", &["/api/v1/incidents", "/api/v1/findings"]),
    ("issues", &["/api/v1/maintenance/issues"]),
    ("alerts", &["/api/v1/alerts", "/api/v1/maintenance-windows", "/api/v1/slos"]),
];
/// Of role admin, and so of scope admin.
const ADMINS: [&str; 12] = [
    "/api/v1/users",
    "/api/v1/audit",
    "/api/v1/logs",
    "/api/v1/settings",
    "/api/v1/backup",
    "/api/v1/alerts/channels",
    "/api/v1/regions/tokens",
    "/api/v1/regions/<region>/tokens",
    "/api/v1/nodes/<name>/revoke",
    "/api/v1/maintenance/issues/import",
    "/api/v1/users/<username>/second-factor",
    "/api/v1/status/subscribers",
];
/// Of no key at all.
const PERSONS: [&str; 2] = ["/api/v1/api-keys", "/api/v1/local"];

fn may(scope: &str, method: Method, path: &str) -> bool {
    let among = |places: &[&str]| places.iter().any(|place| path.starts_with(place));
    if among(&PERSONS) {
        return false;
    }
    if among(&ADMINS) {
        return scope == "admin";
    }
    let own = OWN.iter().any(|(name, places)| *name == scope && among(places));
    own || scope == "read" && method == Method::Get
}

#[tokio::test(flavor = "multi_thread")]
async fn each_scope_may_what_is_its_own_on_every_route_and_nothing_else() {
    let world = World::new().await;
    for scope in SCOPES {
        let (key, _) = made(&world, "admin", json!({"name": scope, "scopes": [scope]})).await;
        for (method, path, least) in ROLES.iter().filter(|(.., least)| least.is_some()) {
            let asked = path
                .replace("<id>", "4711")
                .replace("<username>", "nobody")
                .replace("<region>", "nowhere")
                .replace("<name>", "nobody")
                .replace("<key>", "nobody")
                .replace("<number>", "1")
                + "?colour=red";
            let body = (!matches!(method, Method::Get | Method::Delete)).then(|| json!({"nonsense": 1}));
            let answer = world.send(*method, &asked, Some(&key), body).await;
            assert_eq!(answer.status != 403, may(scope, *method, path), "{scope}: {method} {path} ({least:?}): {}", answer.text);
            assert!(answer.status != 401 && answer.status < 500, "{scope}: {method} {path}: {}", answer.status);
        }
    }
    let (key, _) = made(&world, "admin", json!({"name": "one", "scopes": ["issues"]})).await;
    let refused = world.post(SERVICES, Some(&key), service("shop")).await;
    refused.problem(403);
    assert!(refused.text.contains("this takes a key with scope services; this one has issues"), "{}", refused.text);
    // However the path is spelled, it is the route that counts.
    let (key, _) = made(&world, "admin", json!({"name": "two", "scopes": ["alerts"]})).await;
    for path in ["/api/v1/alerts/channels/", "/api/v1/alerts//channels", "/api/v1/alerts/%63hannels"] {
        let status = world.get(path, Some(&key)).await.status;
        assert!(status == 403 || status == 404, "{path}: {status}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_may_no_more_than_its_role_and_its_owner_of_now() {
    let world = World::new().await;
    let (weak, _) = made(&world, "admin", json!({"name": "weak", "role": "viewer", "scopes": ["services", "read"]})).await;
    world.get(SERVICES, Some(&weak)).await.expect(200);
    assert!(world.post(SERVICES, Some(&weak), service("a")).await.text.contains("this takes role operator; yours is viewer"));

    let (strong, _) = made(&world, "operator", json!({"name": "strong", "scopes": ["services"]})).await;
    world.post(SERVICES, Some(&strong), service("a")).await.expect(201);
    world.users.set_role("operator", Role::Viewer, &author()).await.expect("it is set");
    world.post(SERVICES, Some(&strong), service("b")).await.problem(403);
    world.get(SERVICES, Some(&strong)).await.expect(200);
    // The log says whose doing it was.
    let admin = world.token("admin").await;
    let log = world.get("/api/v1/audit", Some(&admin)).await.expect(200);
    let created = log["results"].as_array().expect("rows").iter().find(|row| row["action"] == "service.create").expect("it is there");
    assert_eq!(created["who"], "operator");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_ends_by_time_by_revocation_and_rests_while_its_owner_is_disabled() {
    let world = World::new().await;
    let (short, view) = made(&world, "viewer", json!({"name": "short", "scopes": ["read"], "expires_days": 1})).await;
    assert_eq!((&view["state"], &view["expires_in_days"], &view["role"]), (&json!("active"), &json!(1.0), &json!("viewer")));
    let (long, long_view) = made(&world, "viewer", json!({"name": "long", "scopes": ["read"]})).await;
    assert!(long.starts_with("pm_") && long.len() >= 3 + 22, "{}", long.len());
    world.clock.advance(Duration::from_secs(86_399)).await;
    world.get(SERVICES, Some(&short)).await.expect(200);
    world.clock.advance(Duration::from_secs(1)).await;
    let over = world.get(SERVICES, Some(&short)).await;
    over.problem(401);
    assert!(over.text.contains("expired") && over.header("WWW-Authenticate").is_some_and(|told| told.contains("invalid_token")));
    world.get(SERVICES, Some(&long)).await.expect(200);

    let admin = world.token("admin").await;
    let patch = |body| world.send(Method::Patch, "/api/v1/users/viewer", Some(&admin), Some(body));
    assert_eq!(patch(json!({"disabled": true})).await.expect(200)["disabled"], true);
    world.get(SERVICES, Some(&long)).await.problem(401);
    world.post("/api/token/", None, json!({"username": "viewer", "password": PASSWORD})).await.problem(401);
    patch(json!({"disabled": false})).await.expect(200);
    world.get(SERVICES, Some(&long)).await.expect(200);
    world.token("viewer").await;
    let last = world.send(Method::Patch, "/api/v1/users/admin", Some(&admin), Some(json!({"disabled": true}))).await;
    assert!(last.text.contains("last admin"), "{}", last.text);

    // What a restart reads still holds what was not revoked.
    let id = long_view["id"].as_str().expect("it has one");
    let again = || ApiKeys::open(world.store.database.clone(), world.audit.clone(), world.clock.clone());
    assert_eq!(again().await.expect("keys open").find(&long).expect("it is kept").id, id);
    let operator = world.token("operator").await;
    world.send(Method::Delete, &format!("{KEYS}/{id}"), Some(&operator), None).await.problem(404);
    let viewer = world.token("viewer").await;
    world.send(Method::Delete, &format!("{KEYS}/{id}"), Some(&viewer), None).await.expect(204);
    world.get(SERVICES, Some(&long)).await.problem(401);
    assert!(again().await.expect("keys open").find(&long).is_none());
    world.send(Method::Delete, &format!("{KEYS}/{id}"), Some(&viewer), None).await.problem(404);

    // A user made anew under the old name does not take the keys over.
    let (orphan, _) = made(&world, "viewer", json!({"name": "orphan", "scopes": ["read"]})).await;
    world.send(Method::Delete, "/api/v1/users/viewer", Some(&admin), None).await.expect(204);
    world.get(SERVICES, Some(&orphan)).await.problem(401);
    world.clock.advance(Duration::from_secs(1)).await;
    world.users.create("viewer", PASSWORD, Role::Admin, &author()).await.expect("it is made");
    world.get(SERVICES, Some(&orphan)).await.problem(401);
}

#[tokio::test(flavor = "multi_thread")]
async fn everybody_sees_their_own_keys_an_admin_all_and_makes_them_for_others() {
    let world = World::new().await;
    made(&world, "viewer", json!({"name": "mine", "scopes": ["read"]})).await;
    let (key, view) =
        made(&world, "admin", json!({"name": "for the viewer", "owner": "viewer", "scopes": ["results", "read", "read"]})).await;
    assert_eq!((&view["owner"], &view["created_by"], &view["role"]), (&json!("viewer"), &json!("admin"), &json!("viewer")));
    assert_eq!(view["scopes"], json!(["read", "results"]));
    world.get(SERVICES, Some(&key)).await.expect(200);
    let names = |list: Value| -> Vec<String> {
        list["results"].as_array().expect("a list").iter().map(|key| key["name"].as_str().expect("a name").to_owned()).collect()
    };
    made(&world, "operator", json!({"name": "other", "scopes": ["issues"]})).await;
    let (viewer, admin) = (world.token("viewer").await, world.token("admin").await);
    let mut own = names(world.get(&format!("{KEYS}?owner=operator"), Some(&viewer)).await.expect(200));
    own.sort();
    assert_eq!(own, ["for the viewer", "mine"]);
    let all = world.get(KEYS, Some(&admin)).await.expect(200);
    assert_eq!(all["count"], 3);
    assert!(!all.to_string().contains(&key), "a key is shown once");
    assert_eq!(names(world.get(&format!("{KEYS}?owner=operator"), Some(&admin)).await.expect(200)), ["other"]);

    for (body, status, field) in [
        (json!({"name": "", "scopes": ["read"]}), 422, "name"),
        (json!({"name": "mine", "scopes": ["read"]}), 422, "name"),
        (json!({"name": "x", "scopes": []}), 422, "scopes"),
        (json!({"name": "x", "scopes": ["read", "everything"]}), 422, "scopes[1]"),
        (json!({"name": "x", "scopes": ["read"], "role": "operator"}), 422, "role"),
        (json!({"name": "x", "scopes": ["read"], "role": "king"}), 422, "role"),
        (json!({"name": "x", "scopes": ["read"], "expires_days": 0}), 422, "expires_days"),
        (json!({"name": "x", "scopes": ["read"], "expires_days": 3651}), 422, "expires_days"),
        (json!({"name": "x", "scopes": ["read"], "owner": "admin"}), 403, "owner"),
    ] {
        assert_eq!(world.post(KEYS, Some(&viewer), body.clone()).await.problem(status), [field], "{body}");
    }
    assert_eq!(world.post(KEYS, Some(&admin), json!({"name": "x", "scopes": ["read"], "owner": "nobody"})).await.problem(422), ["owner"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_use_is_shown_at_once_and_written_once_a_minute() {
    let world = World::new().await;
    let (key, view) = made(&world, "viewer", json!({"name": "one", "scopes": ["read"]})).await;
    assert_eq!(view["used_at"], Value::Null);
    let id = view["id"].as_str().expect("it has one").to_owned();
    let stored = || async {
        let again = ApiKeys::open(world.store.database.clone(), world.audit.clone(), world.clock.clone()).await.expect("keys open");
        again.get(&id).expect("it is kept").used_at.map(|at| at.rfc3339())
    };
    for (wait, shown, written) in [(0, "08:00:00", "08:00:00"), (59, "08:00:59", "08:00:00"), (1, "08:01:00", "08:01:00")] {
        world.clock.advance(Duration::from_secs(wait)).await;
        world.get(SERVICES, Some(&key)).await.expect(200);
        let told = world.api_keys.get(&id).expect("it is there").used_at.expect("it was used").rfc3339();
        assert!(told.contains(shown), "{told}");
        // It is written behind the answer's back.
        for _ in 0..1_000 {
            if stored().await.is_some_and(|at| at.contains(written)) {
                break;
            }
            tokio::task::yield_now().await;
        }
        assert!(stored().await.is_some_and(|at| at.contains(written)), "{wait}: {:?}", stored().await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_keys_are_counted_like_log_ins_and_lock_nobody_out() {
    let world = World::with(|settings| settings.logins_per_minute = 3).await;
    let (key, _) = made(&world, "viewer", json!({"name": "one", "scopes": ["read"]})).await;
    for wrong in ["pm_", "pm_nonsense"] {
        world.get(SERVICES, Some(wrong)).await.problem(401);
    }
    let refused = world.get(SERVICES, Some("pm_guess")).await;
    refused.problem(429);
    assert!(refused.header("Retry-After").is_some());
    world.get(SERVICES, Some(&key)).await.expect(200);
}

#[derive(Clone, Default)]
struct Kept(Arc<Mutex<Vec<u8>>>);

impl Write for Kept {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().expect("no holder panics").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn a_key_is_in_no_log() {
    let kept = Kept::default();
    let writer = kept.clone();
    let subscriber = tracing_subscriber::fmt().with_max_level(tracing::Level::DEBUG).with_writer(move || writer.clone()).finish();
    // With one listener alone, what tests beside this one met first would be taken for what nobody listens to.
    let _second = tracing::Dispatch::new(tracing_subscriber::fmt().with_writer(std::io::sink).finish());
    let _heard = tracing::subscriber::set_default(subscriber);
    let world = World::new().await;
    let (key, _) = made(&world, "viewer", json!({"name": "one", "scopes": ["read"], "expires_days": 1})).await;
    world.get(SERVICES, Some(&key)).await.expect(200);
    world.post(SERVICES, Some(&key), service("a")).await.problem(403);
    world.get(SERVICES, Some(&format!("{key}x"))).await.problem(401);
    world.clock.advance(Duration::from_secs(86_400)).await;
    world.get(SERVICES, Some(&key)).await.problem(401);
    let log = String::from_utf8(kept.0.lock().expect("no holder panics").clone()).expect("it is text");
    assert!(log.contains("an api key was refused") && log.contains("api request"), "the log is heard: {log}");
    assert!(!log.contains(&key) && !log.contains(&key[3..]), "{log}");
    let admin = world.token("admin").await;
    let audit = world.get("/api/v1/audit", Some(&admin)).await.expect(200).to_string();
    assert!(audit.contains("key.create") && !audit.contains(&key[3..]), "{audit}");
}
