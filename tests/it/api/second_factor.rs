//! The second factor of a log-in: real codes of the same standard, at the hours of a clock that is moved by hand.

use std::time::Duration;

use probemesh::store::second_factors::{FactorError, SecondFactors};
use probemesh::store::users::User;
use rocket::http::Method;
use serde_json::{Value, json};
use totp_rs::{Algorithm, Secret, TOTP};

use super::SERVICES;
use crate::api_world::{Answer, PASSWORD, World, author};

/// What an authenticator with this secret shows now.
pub fn code(world: &World, secret: &str) -> String {
    let bytes = Secret::Encoded(secret.replace(' ', "")).to_bytes().expect("it is base 32");
    let totp = TOTP::new(Algorithm::SHA1, 6, 1, 30, bytes).expect("it is long enough");
    totp.generate(world.clock.now().0 as u64 / 1_000_000)
}

fn user(world: &World) -> User {
    world.users.get("operator").expect("there is one")
}

/// Turns it on for the operator; the secret and the recovery codes.
async fn on(world: &World) -> (String, Vec<String>) {
    let user = user(world);
    let shown = world.second_factors.begin(&user).expect("it begins");
    let codes = world.second_factors.confirm(&user, &code(world, &shown.secret), &author()).await.expect("the code is right");
    world.clock.advance(Duration::from_secs(30)).await;
    (shown.secret, codes)
}

async fn log_in(world: &World, code: Option<&str>) -> Answer {
    let mut body = json!({"username": "operator", "password": PASSWORD});
    if let Some(code) = code {
        body["code"] = Value::from(code);
    }
    world.post("/api/token", None, body).await
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_on_only_after_a_right_code_and_then_a_password_is_not_enough() {
    let world = World::new().await;
    let operator = user(&world);
    let shown = world.second_factors.begin(&operator).expect("it begins");
    assert!(shown.url.starts_with("otpauth://totp/probemesh:operator?secret=") && shown.url.contains(&shown.secret), "{}", shown.url);
    assert_eq!(world.second_factors.begin(&operator).expect("it begins").secret, shown.secret, "looking twice changes nothing");
    let wrong = world.second_factors.confirm(&operator, "000000", &author()).await;
    assert!(matches!(wrong, Err(FactorError::Wrong)), "{wrong:?}");
    log_in(&world, None).await.expect(200);
    let codes = world.second_factors.confirm(&operator, &code(&world, &shown.secret), &author()).await.expect("it is right");
    assert_eq!(codes.len(), 8);

    let wanted = log_in(&world, None).await;
    assert_eq!(wanted.problem(401), ["code"]);
    assert!(wanted.text.contains("second factor"), "{}", wanted.text);
    world.clock.advance(Duration::from_secs(30)).await;
    let pair = log_in(&world, Some(&code(&world, &shown.secret))).await.expect(200);
    world.get(SERVICES, Some(pair["access"].as_str().expect("a token"))).await.expect(200);
    // Whoever has no second factor is asked for none, and a code does no harm.
    world.post("/api/token", None, json!({"username": "viewer", "password": PASSWORD, "code": "1"})).await.expect(200);
    // What a restart reads asks for it, too, and nothing of the secret lies open in the store.
    let database = world.store.database.clone();
    let again = SecondFactors::open(database.clone(), world.secrets.clone(), world.audit.clone(), world.clock.clone()).await;
    assert_eq!(again.expect("it opens").of(&operator).expect("it is on").recovery_left, 8);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_code_and_a_recovery_code_are_each_good_once() {
    let world = World::new().await;
    let (secret, recovery) = on(&world).await;
    let now = code(&world, &secret);
    log_in(&world, Some(&now)).await.expect(200);
    assert_eq!(log_in(&world, Some(&now)).await.problem(401), ["code"]);
    log_in(&world, Some(&recovery[0].to_uppercase().replace('-', " "))).await.expect(200);
    assert_eq!(log_in(&world, Some(&recovery[0])).await.problem(401), ["code"]);
    log_in(&world, Some(&recovery[7])).await.expect(200);
    assert_eq!(world.second_factors.of(&user(&world)).expect("it is on").recovery_left, 6);
    world.clock.advance(Duration::from_secs(30)).await;
    log_in(&world, Some(&code(&world, &secret))).await.expect(200);
    let admin = world.token("admin").await;
    let log = world.get("/api/v1/audit?page_size=100", Some(&admin)).await.expect(200).to_string();
    assert!(log.contains("second_factor.on") && log.contains("second_factor.recovery") && log.contains("login.failed"), "{log}");
    assert!(!log.contains(&recovery[1]) && !log.contains(&secret));
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_codes_lock_the_user_and_a_right_password_forgives_none() {
    let world = World::new().await;
    let (secret, _) = on(&world).await;
    for _ in 0..6 {
        log_in(&world, Some("000000")).await.problem(401);
        let status = log_in(&world, None).await.status;
        assert!(status == 401 || status == 429, "{status}");
    }
    let locked = log_in(&world, Some(&code(&world, &secret))).await;
    locked.problem(429);
    assert_eq!(locked.header("Retry-After"), Some("1"));
    world.clock.advance(Duration::from_secs(1)).await;
    log_in(&world, Some(&code(&world, &secret))).await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_admin_turns_it_off_and_a_user_made_anew_has_none() {
    let world = World::new().await;
    on(&world).await;
    let admin = world.token("admin").await;
    let path = "/api/v1/users/operator/second-factor";
    let list = world.get("/api/v1/users", Some(&admin)).await.expect(200);
    let of = |name: &str| {
        list["results"].as_array().expect("a list").iter().find(|user| user["username"] == name).cloned().expect("it is there")
    };
    assert_eq!((&of("operator")["second_factor"], &of("viewer")["second_factor"]), (&json!(true), &json!(false)));
    world.send(Method::Delete, path, Some(&admin), None).await.expect(204);
    world.send(Method::Delete, path, Some(&admin), None).await.problem(404);
    log_in(&world, None).await.expect(200);
    let log = world.get("/api/v1/audit?action=second_factor.", Some(&admin)).await.expect(200);
    let actions: Vec<&str> = log["results"].as_array().expect("rows").iter().filter_map(|row| row["action"].as_str()).collect();
    assert_eq!(actions, ["second_factor.off", "second_factor.on"]);
    assert_eq!(log["count"], Value::Null);

    on(&world).await;
    world.users.delete("operator", &author()).await.expect("it is gone");
    let role = probemesh::store::users::Role::Operator;
    world.users.create("operator", PASSWORD, role, &author()).await.expect("it is made");
    log_in(&world, None).await.expect(200);
}
