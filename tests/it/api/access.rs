//! Tokens, roles, throttling and users.

use std::collections::BTreeSet;
use std::time::Duration;

use probemesh::store::secrets::Secrets;
use rocket::http::Method;
use serde_json::json;

use super::{SERVICES, service};
use crate::api_world::{PASSWORD, World, author};

#[tokio::test(flavor = "multi_thread")]
async fn a_password_gives_a_pair_and_a_refresh_token_the_next_one() {
    let world = World::new().await;
    let pair = world.post("/api/token/", None, json!({"username": "viewer", "password": PASSWORD})).await.expect(200);
    assert_eq!(pair["expires_in"], 900);
    let access = pair["access"].as_str().expect("a token");
    world.get(SERVICES, Some(access)).await.expect(200);
    let next = world.post("/api/token/refresh", None, json!({"refresh": pair["refresh"]})).await.expect(200);
    assert_ne!(next["refresh"], pair["refresh"]);
    world.get(SERVICES, Some(next["access"].as_str().expect("a token"))).await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refresh_token_used_twice_ends_its_whole_session_and_no_other() {
    let world = World::new().await;
    let login = json!({"username": "viewer", "password": PASSWORD});
    let first = world.post("/api/token/", None, login.clone()).await.expect(200);
    let other = world.post("/api/token/", None, login).await.expect(200);
    let second = world.post("/api/token/refresh/", None, json!({"refresh": first["refresh"]})).await.expect(200);
    world.post("/api/token/refresh/", None, json!({"refresh": first["refresh"]})).await.problem(401);
    world.post("/api/token/refresh/", None, json!({"refresh": second["refresh"]})).await.problem(401);
    world.post("/api/token/refresh/", None, json!({"refresh": other["refresh"]})).await.expect(200);
    let admin = world.token("admin").await;
    let log = world.get("/api/v1/audit", Some(&admin)).await.expect(200).to_string();
    assert!(log.contains("session.reuse"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refresh_token_ends_by_time_by_logging_out_and_with_a_new_password() {
    let world = World::new().await;
    let login = json!({"username": "viewer", "password": PASSWORD});
    let pair = world.post("/api/token/", None, login.clone()).await.expect(200);
    world.post("/api/token/revoke/", None, json!({"refresh": pair["refresh"]})).await.expect(204);
    world.post("/api/token/refresh/", None, json!({"refresh": pair["refresh"]})).await.problem(401);

    let pair = world.post("/api/token/", None, login.clone()).await.expect(200);
    world.clock.advance(Duration::from_secs(86_400)).await;
    world.post("/api/token/refresh/", None, json!({"refresh": pair["refresh"]})).await.problem(401);

    let pair = world.post("/api/token/", None, login).await.expect(200);
    let access = pair["access"].as_str().expect("a token");
    world.users.set_password("viewer", "another password", &author()).await.expect("it is set");
    world.post("/api/token/refresh/", None, json!({"refresh": pair["refresh"]})).await.problem(401);
    world.get(SERVICES, Some(access)).await.problem(401);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_access_token_expires() {
    let world = World::new().await;
    let token = world.token("viewer").await;
    world.clock.advance(Duration::from_secs(899)).await;
    world.get(SERVICES, Some(&token)).await.expect(200);
    world.clock.advance(Duration::from_secs(1)).await;
    let refused = world.get(SERVICES, Some(&token)).await;
    refused.problem(401);
    assert!(refused.header("WWW-Authenticate").is_some_and(|challenge| challenge.contains("invalid_token")));
    assert!(refused.text.contains("expired"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_is_not_ours_is_refused() {
    let world = World::new().await;
    let token = world.token("admin").await;
    let parts: Vec<&str> = token.split('.').collect();
    let unsigned = format!("eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0.{}.", parts[1]);
    let changed = format!("{}.{}x.{}", parts[0], parts[1], parts[2]);
    let epoch = world.users.get("admin").expect("it was made").epoch;
    let claims = json!({"sub": "admin", "role": "admin", "epoch": epoch, "iat": 0, "exp": 9_999_999_999i64, "typ": "access"});
    let sign = |key: u8| {
        let key = Secrets::from_key(&[key; 32]);
        let key = jsonwebtoken::EncodingKey::from_secret(key.signing_key());
        jsonwebtoken::encode(&jsonwebtoken::Header::default(), &claims, &key).expect("it encodes")
    };
    // The same claims are good under the hub's key, so it is the key that the next lines are about.
    world.get(SERVICES, Some(&sign(7))).await.expect(200);
    let foreign = sign(8);
    for wrong in ["nonsense", &unsigned, &changed, &foreign] {
        let refused = world.get(SERVICES, Some(wrong)).await;
        refused.problem(401);
        assert!(refused.header("WWW-Authenticate").is_some_and(|challenge| challenge.starts_with("Bearer")), "{wrong}");
    }
    let refused = world.get(SERVICES, None).await;
    refused.problem(401);
    assert!(refused.header("WWW-Authenticate").is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn failed_log_ins_lock_a_name_for_longer_each_time_whether_it_is_known_or_not() {
    let world = World::new().await;
    for name in ["viewer", "nobody"] {
        let wrong = json!({"username": name, "password": "wrong password"});
        for _ in 0..5 {
            world.post("/api/token/", None, wrong.clone()).await.problem(401);
        }
        for wait in [1, 2, 4] {
            world.post("/api/token/", None, wrong.clone()).await.problem(401);
            let refused = world.post("/api/token/", None, wrong.clone()).await;
            refused.problem(429);
            assert_eq!(refused.header("Retry-After"), Some(wait.to_string().as_str()), "{name}");
            world.clock.advance(Duration::from_secs(wait)).await;
        }
    }
    // A log-in that succeeds forgives what was before.
    world.token("viewer").await;
    for _ in 0..5 {
        world.post("/api/token/", None, json!({"username": "viewer", "password": "wrong password"})).await.problem(401);
    }
    world.token("viewer").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn log_ins_from_one_address_are_throttled() {
    let world = World::with(|settings| settings.logins_per_minute = 3).await;
    for _ in 0..3 {
        world.token("viewer").await;
    }
    let refused = world.post("/api/token/", None, json!({"username": "viewer", "password": PASSWORD})).await;
    refused.problem(429);
    assert_eq!(refused.header("Retry-After"), Some("20"));
    world.clock.advance(Duration::from_secs(20)).await;
    world.token("viewer").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_are_throttled_for_each_user_and_for_addresses_without_one() {
    let world = World::with(|settings| settings.requests_per_minute = 6).await;
    let (viewer, operator) = (world.token("viewer").await, world.token("operator").await);
    for _ in 0..6 {
        world.get(SERVICES, Some(&viewer)).await.expect(200);
    }
    let refused = world.get(SERVICES, Some(&viewer)).await;
    refused.problem(429);
    assert_eq!(refused.header("Retry-After"), Some("10"));
    world.get(SERVICES, Some(&operator)).await.expect(200);
    // Logging in took two of the address's six.
    for _ in 0..4 {
        world.get(SERVICES, None).await.problem(401);
    }
    world.get(SERVICES, None).await.problem(429);
    world.get("/healthz", None).await.expect(200);
    world.clock.advance(Duration::from_secs(10)).await;
    world.get(SERVICES, Some(&viewer)).await.expect(200);
}

/// Every route and the least role it takes; `None`: anyone.
pub const ROLES: &[(Method, &str, Option<&str>)] = &[
    (Method::Post, "/api/token", None),
    (Method::Post, "/api/token/refresh", None),
    (Method::Post, "/api/token/revoke", None),
    (Method::Get, "/healthz", None),
    (Method::Get, "/readyz", None),
    (Method::Get, "/openapi.json", None),
    (Method::Get, "/metrics", Some("viewer")),
    (Method::Get, "/api/monitor/services", Some("viewer")),
    (Method::Post, "/api/monitor/services", Some("operator")),
    (Method::Get, "/api/monitor/services/<id>", Some("viewer")),
    (Method::Put, "/api/monitor/services/<id>", Some("operator")),
    (Method::Patch, "/api/monitor/services/<id>", Some("operator")),
    (Method::Delete, "/api/monitor/services/<id>", Some("operator")),
    (Method::Post, "/api/monitor/services/<id>/check", Some("operator")),
    (Method::Post, "/api/monitor/checks/run", Some("operator")),
    (Method::Post, "/api/monitor/checks/try", Some("operator")),
    (Method::Get, "/api/monitor/results", Some("viewer")),
    (Method::Get, "/api/monitor/results/<id>", Some("viewer")),
    (Method::Get, "/api/monitor/results/statistics", Some("viewer")),
    (Method::Get, "/api/monitor/health/summary", Some("viewer")),
    (Method::Get, "/api/v1/rollups", Some("viewer")),
    (Method::Get, "/api/monitor/digests", Some("viewer")),
    (Method::Get, "/api/monitor/digests/latest", Some("viewer")),
    (Method::Get, "/api/monitor/digests/<id>", Some("viewer")),
    (Method::Post, "/api/monitor/digests/run", Some("operator")),
    (Method::Get, "/api/v1/maintenance/performance/analysis", Some("viewer")),
    (Method::Get, "/api/v1/maintenance/performance/bottlenecks", Some("viewer")),
    (Method::Get, "/api/v1/maintenance/performance/recommendations", Some("viewer")),
    (Method::Get, "/api/v1/maintenance/issues", Some("viewer")),
    (Method::Post, "/api/v1/maintenance/issues", Some("operator")),
    (Method::Get, "/api/v1/maintenance/issues/statistics", Some("viewer")),
    (Method::Get, "/api/v1/maintenance/issues/export", Some("viewer")),
    (Method::Post, "/api/v1/maintenance/issues/import", Some("admin")),
    (Method::Get, "/api/v1/maintenance/issues/<id>", Some("viewer")),
    (Method::Patch, "/api/v1/maintenance/issues/<id>", Some("operator")),
    (Method::Patch, "/api/v1/maintenance/issues/<id>/status", Some("operator")),
    (Method::Get, "/api/v1/maintenance/issues/<id>/comments", Some("viewer")),
    (Method::Post, "/api/v1/maintenance/issues/<id>/comments", Some("operator")),
    (Method::Patch, "/api/v1/maintenance/issues/<id>/comments/<number>", Some("operator")),
    (Method::Get, "/api/v1/maintenance/issues/<id>/history", Some("viewer")),
    (Method::Get, "/api/v1/maintenance/health", Some("viewer")),
    (Method::Post, "/api/v1/maintenance/metrics/collect", Some("operator")),
    (Method::Get, "/api/v1/incidents", Some("viewer")),
    (Method::Get, "/api/v1/incidents/<id>", Some("viewer")),
    (Method::Post, "/api/v1/incidents/<id>/acknowledge", Some("operator")),
    (Method::Post, "/api/v1/incidents/<id>/notes", Some("operator")),
    (Method::Get, "/api/v1/alerts/rules", Some("viewer")),
    (Method::Post, "/api/v1/alerts/rules", Some("operator")),
    (Method::Get, "/api/v1/alerts/rules/<id>", Some("viewer")),
    (Method::Put, "/api/v1/alerts/rules/<id>", Some("operator")),
    (Method::Patch, "/api/v1/alerts/rules/<id>", Some("operator")),
    (Method::Delete, "/api/v1/alerts/rules/<id>", Some("operator")),
    (Method::Get, "/api/v1/alerts/deliveries", Some("viewer")),
    (Method::Get, "/api/v1/alerts/deliveries/<id>", Some("viewer")),
    (Method::Post, "/api/v1/alerts/deliveries/<id>/retry", Some("operator")),
    (Method::Get, "/api/v1/alerts/causes", Some("viewer")),
    (Method::Get, "/api/v1/alerts/causes/<key>", Some("viewer")),
    (Method::Post, "/api/v1/alerts/causes/<key>/acknowledge", Some("operator")),
    (Method::Post, "/api/v1/alerts/drill", Some("operator")),
    (Method::Get, "/api/v1/alerts/drill/<id>", Some("viewer")),
    (Method::Post, "/api/v1/alerts/drill/<id>/recover", Some("operator")),
    (Method::Get, "/api/v1/maintenance-windows", Some("viewer")),
    (Method::Post, "/api/v1/maintenance-windows", Some("operator")),
    (Method::Get, "/api/v1/maintenance-windows/<id>", Some("viewer")),
    (Method::Patch, "/api/v1/maintenance-windows/<id>", Some("operator")),
    (Method::Delete, "/api/v1/maintenance-windows/<id>", Some("operator")),
    (Method::Post, "/api/v1/maintenance-windows/<id>/start", Some("operator")),
    (Method::Post, "/api/v1/maintenance-windows/<id>/end", Some("operator")),
    (Method::Get, "/api/v1/status/subscribers", Some("admin")),
    (Method::Get, "/api/v1/status/subscribers/<id>", Some("admin")),
    (Method::Delete, "/api/v1/status/subscribers/<id>", Some("admin")),
    (Method::Post, "/api/v1/status/subscribers/<id>/resume", Some("admin")),
    (Method::Get, "/api/v1/slos", Some("viewer")),
    (Method::Post, "/api/v1/slos", Some("operator")),
    (Method::Get, "/api/v1/slos/<id>", Some("viewer")),
    (Method::Put, "/api/v1/slos/<id>", Some("operator")),
    (Method::Patch, "/api/v1/slos/<id>", Some("operator")),
    (Method::Delete, "/api/v1/slos/<id>", Some("operator")),
    (Method::Get, "/api/v1/slos/<id>/report", Some("viewer")),
    (Method::Get, "/api/v1/findings", Some("viewer")),
    (Method::Get, "/api/v1/findings/habits", Some("viewer")),
    (Method::Get, "/api/v1/findings/<id>", Some("viewer")),
    (Method::Post, "/api/v1/findings/<id>/feedback", Some("operator")),
    (Method::Get, "/api/v1/alerts/channels/kinds", Some("admin")),
    (Method::Get, "/api/v1/alerts/channels", Some("admin")),
    (Method::Post, "/api/v1/alerts/channels", Some("admin")),
    (Method::Get, "/api/v1/alerts/channels/<id>", Some("admin")),
    (Method::Put, "/api/v1/alerts/channels/<id>", Some("admin")),
    (Method::Patch, "/api/v1/alerts/channels/<id>", Some("admin")),
    (Method::Delete, "/api/v1/alerts/channels/<id>", Some("admin")),
    (Method::Post, "/api/v1/alerts/channels/<id>/test", Some("admin")),
    (Method::Post, "/api/v1/alerts/channels/test", Some("admin")),
    (Method::Get, "/api/v1/cluster", Some("viewer")),
    (Method::Get, "/api/v1/nodes", Some("viewer")),
    (Method::Get, "/api/v1/regions", Some("viewer")),
    (Method::Get, "/api/v1/events", Some("viewer")),
    (Method::Get, "/api/v1/users", Some("admin")),
    (Method::Post, "/api/v1/users", Some("admin")),
    (Method::Patch, "/api/v1/users/<username>", Some("admin")),
    (Method::Delete, "/api/v1/users/<username>", Some("admin")),
    (Method::Delete, "/api/v1/users/<username>/second-factor", Some("admin")),
    (Method::Delete, "/api/v1/users/<username>/identity", Some("admin")),
    (Method::Get, "/api/v1/api-keys", Some("viewer")),
    (Method::Post, "/api/v1/api-keys", Some("viewer")),
    (Method::Delete, "/api/v1/api-keys/<id>", Some("viewer")),
    (Method::Get, "/api/v1/audit", Some("admin")),
    (Method::Get, "/api/v1/logs", Some("admin")),
    (Method::Get, "/api/v1/settings", Some("admin")),
    (Method::Get, "/api/v1/backup", Some("admin")),
    (Method::Post, "/api/v1/backup", Some("admin")),
    // No one who logs in: only commands that sign with the data folder's key.
    (Method::Get, "/api/v1/local/documents", Some("local")),
    (Method::Get, "/api/v1/local/backup", Some("local")),
    (Method::Post, "/api/v1/local/seed", Some("local")),
    (Method::Get, "/api/v1/local/nodes", Some("local")),
    (Method::Post, "/api/v1/regions/<region>/tokens", Some("admin")),
    (Method::Get, "/api/v1/regions/tokens", Some("admin")),
    (Method::Delete, "/api/v1/regions/tokens/<id>", Some("admin")),
    (Method::Post, "/api/v1/nodes/<name>/revoke", Some("admin")),
];

#[tokio::test(flavor = "multi_thread")]
async fn each_role_may_what_the_table_says_and_the_table_has_every_route() {
    let world = World::new().await;
    let listed: BTreeSet<String> = ROLES.iter().map(|(method, path, _)| format!("{method} {path}")).collect();
    let mounted: BTreeSet<String> = super::edge::routes(&world).into_iter().map(|(method, path)| format!("{method} {path}")).collect();
    assert_eq!(listed, mounted);
    let ranks = ["viewer", "operator", "admin", "local"];
    let mut tokens = Vec::new();
    for role in &ranks[..3] {
        tokens.push(world.token(role).await);
    }
    for (method, path, least) in ROLES {
        // Neither number nor name is anyone's and the filter is unknown, so whoever is let in changes nothing.
        let path = path
            .replace("<id>", "4711")
            .replace("<username>", "nobody")
            .replace("<region>", "nowhere")
            .replace("<name>", "nobody")
            .replace("<key>", "nobody")
            .replace("<number>", "1")
            + "?colour=red";
        let body = (!matches!(method, Method::Get | Method::Delete)).then(|| json!({"nonsense": 1}));
        let status = world.send(*method, &path, None, body.clone()).await.status;
        assert_eq!(status == 401, least.is_some(), "{method} {path} without a token: {status}");
        let Some(least) = least else { continue };
        for (role, token) in ranks.iter().zip(&tokens) {
            let allowed = ranks.iter().position(|rank| rank == role) >= ranks.iter().position(|rank| rank == least);
            let status = world.send(*method, &path, Some(token), body.clone()).await.status;
            assert_eq!(status != 403, allowed, "{method} {path} as {role}: {status}");
            assert!(status != 401 && status < 500, "{method} {path} as {role}: {status}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn users_are_made_changed_and_ended_by_admins() {
    let world = World::new().await;
    let admin = world.token("admin").await;
    let new = json!({"username": "ada", "password": PASSWORD, "role": "viewer"});
    let made = world.post("/api/v1/users", Some(&admin), new.clone()).await.expect(201);
    assert_eq!((&made["username"], &made["role"]), (&json!("ada"), &json!("viewer")));
    assert_eq!(world.post("/api/v1/users", Some(&admin), new).await.problem(422), ["username"]);
    let wrong = [
        (json!({"username": "b b", "password": PASSWORD, "role": "viewer"}), "username"),
        (json!({"username": "bob", "password": "short", "role": "viewer"}), "password"),
        (json!({"username": "bob", "password": PASSWORD, "role": "king"}), "role"),
        (json!({"username": "bob", "password": PASSWORD, "role": "viewer", "shoe": 43}), "shoe"),
        (json!({"username": "bob", "role": "viewer"}), "password"),
    ];
    for (body, field) in wrong {
        assert_eq!(world.post("/api/v1/users", Some(&admin), body).await.problem(422), [field]);
    }
    let ada = world.token("ada").await;
    world.send(Method::Patch, "/api/v1/users/ada", Some(&admin), Some(json!({"role": "operator"}))).await.expect(200);
    world.get(SERVICES, Some(&ada)).await.problem(401);
    let ada = world.token("ada").await;
    world.service(&ada, service("hers")).await;
    let list = world.get("/api/v1/users", Some(&admin)).await.expect(200);
    assert_eq!(list["count"], 4);
    assert!(!list.to_string().contains("argon2"));
    world.send(Method::Delete, "/api/v1/users/ada", Some(&admin), None).await.expect(204);
    world.get(SERVICES, Some(&ada)).await.problem(401);
    world.send(Method::Delete, "/api/v1/users/admin", Some(&admin), None).await.problem(409);
    world.send(Method::Patch, "/api/v1/users/admin", Some(&admin), Some(json!({"role": "viewer"}))).await.problem(409);
}
