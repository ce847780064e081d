//! The log-in by an identity provider: who comes in as what, who stays out, and what is never believed.

use std::time::Duration;

use probemesh::api::auth::{SESSION_COOKIE, access_token};
use probemesh::api::state::ApiState;
use probemesh::config::oidc::{ClientSecret, OidcSettings};
use probemesh::store::api_keys::{NewKey, Scope};
use probemesh::store::audit::AuditEntry;
use probemesh::store::users::identities::Identity;
use probemesh::store::users::{Role, Users};
use rocket::http::uri::{Authority, Host};
use rocket::http::{Header, Method};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use url::Url;

use super::browser::{Browser, token_of};
use crate::api::second_factor::code as second_factor_code;
use crate::api_world::{Answer, PASSWORD, World, at, author};
use crate::oidc_provider::{CLIENT_ID, CLIENT_SECRET, Inner, Mode, Provider, Signed};

const FLOW_COOKIE: &str = "probemesh_oidc";

fn settings(issuer: String) -> OidcSettings {
    let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
    OidcSettings {
        issuer,
        client_id: CLIENT_ID.to_owned(),
        client_secret: Some(ClientSecret(CLIENT_SECRET.to_owned())),
        name: "Example & Co".to_owned(),
        scopes: texts(&["openid", "profile"]),
        username_claim: "preferred_username".to_owned(),
        role_claim: "groups".to_owned(),
        admins: texts(&["root"]),
        operators: texts(&["ops"]),
        viewers: texts(&["staff"]),
        default_role: None,
        email_domains: Vec::new(),
        create_users: true,
        second_factor: false,
        leeway: Duration::from_secs(60),
        timeout: Duration::from_secs(30),
        ca: None,
    }
}

async fn start(alter: impl FnOnce(&mut OidcSettings)) -> (World, Provider) {
    let provider = Provider::start(at("2026-11-22T08:00:00Z")).await;
    let mut settings = settings(provider.issuer());
    alter(&mut settings);
    (World::made(|_| (), Some(settings)).await, provider)
}

/// Goes to the provider and logs in there; the path it leads this browser back to.
async fn away(browser: &mut Browser<'_>, provider: &Provider, from: &str) -> String {
    let sent = browser.get(from).await;
    assert_eq!(sent.status, 303, "{}", sent.text);
    let back = provider.log_in(sent.header("Location").expect("it leads away")).await;
    back.strip_prefix("https://hub.example").unwrap_or_else(|| panic!("{back} is not ours")).to_owned()
}

async fn log_in(browser: &mut Browser<'_>, provider: &Provider) -> Answer {
    let back = away(browser, provider, "/login/oidc").await;
    browser.get(&back).await
}

/// Stays out, with these words and for the log.
async fn stays_out(world: &World, provider: &Provider, status: u16, words: &str) {
    let mut browser = Browser::new(world);
    let answer = log_in(&mut browser, provider).await;
    assert_refused(&browser, &answer, status, words);
}

fn assert_refused(browser: &Browser<'_>, answer: &Answer, status: u16, words: &str) {
    assert_eq!((answer.status, answer.kind.as_str()), (status, "text/html"), "{words}: {}", answer.text);
    assert!(answer.text.contains(words), "{words} in {}", answer.text);
    assert!(answer.text.contains("name=\"password\""), "a password is still asked for: {}", answer.text);
    assert!(!browser.cookies.contains_key(SESSION_COOKIE), "{words}: somebody is in");
}

async fn audit(world: &World) -> Vec<AuditEntry> {
    world.audit.page(0, 500).await.expect("the log is read").1
}

async fn count(world: &World, who: &str, action: &str) -> usize {
    audit(world).await.iter().filter(|entry| entry.who == who && entry.action == action).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn somebody_new_comes_in_by_the_provider_as_what_their_groups_say() {
    let (world, provider) = start(|_| ()).await;
    let mut browser = Browser::new(&world);
    let page = browser.page("/login?next=%2Fregions").await;
    assert!(page.contains("Log in with Example &#38; Co") && page.contains("href=\"/login/oidc?next=%2Fregions\""), "{page}");
    assert_eq!(provider.asked("/.well-known/openid-configuration"), 0, "nothing is asked before somebody wants in");

    let sent = browser.get("/login/oidc?next=%2Fregions").await;
    let kept = browser.set.iter().find(|line| line.starts_with(FLOW_COOKIE)).expect("the browser keeps something").clone();
    for part in ["HttpOnly", "SameSite=Lax", "Path=/login/oidc", "Max-Age=600"] {
        assert!(kept.contains(part), "{part} in {kept}");
    }
    let to = Url::parse(sent.header("Location").expect("it leads away")).expect("an address");
    let asked = |name: &str| to.query_pairs().find(|(other, _)| other == name).map(|(_, value)| value.into_owned()).unwrap_or_default();
    assert_eq!((asked("redirect_uri").as_str(), asked("scope").as_str()), ("https://hub.example/login/oidc/callback", "openid profile"));
    assert_ne!(asked("state"), asked("nonce"));

    let back = provider.log_in(to.as_str()).await;
    let entered = browser.get(back.strip_prefix("https://hub.example").expect("ours")).await;
    assert_eq!((entered.status, entered.header("Location")), (303, Some("/regions")), "{}", entered.text);
    let session = browser.set.iter().find(|line| line.starts_with(SESSION_COOKIE)).expect("a session begins");
    assert!(session.contains("HttpOnly") && session.contains("SameSite=Lax"), "{session}");
    assert!(!browser.cookies.contains_key(FLOW_COOKIE), "what is used is taken back");
    assert!(browser.page("/regions").await.contains("ada"));

    let ada = world.users.get("ada").expect("a user was made");
    assert_eq!((ada.role, world.users.has_password("ada")), (Role::Viewer, false));
    assert!(world.users.verify("ada", "!").await.is_none() && world.users.verify("ada", "").await.is_none());
    assert_eq!((count(&world, "identity provider", "user.create").await, count(&world, "ada", "login.succeeded").await), (1, 1));

    // Once more, by the other kind of key: the same user, and nothing is asked twice that is known.
    provider.set(|inner| inner.signed = Signed::Ec);
    let mut second = Browser::new(&world);
    assert_eq!(log_in(&mut second, &provider).await.header("Location"), Some("/"));
    assert_eq!(world.users.list().len(), 4);
    browser.page("/regions").await;
    assert_eq!((provider.asked("/.well-known/openid-configuration"), provider.asked("/keys"), provider.asked("/token")), (1, 1, 2));
    // What a restart reads knows them, too; and whoever is in already is led on.
    let again = Users::open(world.store.database.clone(), world.audit.clone(), world.clock.clone()).await.expect("it opens");
    let identity = Identity { issuer: provider.issuer(), subject: "person-1".to_owned() };
    assert_eq!(again.of_identity(&identity).map(|user| user.username), Some("ada".to_owned()));
    assert!(!again.has_password("ada"));
    assert_eq!(second.get("/login/oidc?next=%2Fissues").await.header("Location"), Some("/issues"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_role_follows_the_groups_at_each_log_in_and_the_audit_log_tells_it() {
    let (world, provider) = start(|_| ()).await;
    let role = || world.users.get("ada").map(|user| user.role);
    let mut before = Browser::new(&world);
    log_in(&mut before, &provider).await;
    for (groups, expected) in [
        (json!(["ops", "staff"]), Role::Operator),
        (json!(["staff", "root", "ops"]), Role::Admin),
        (json!(["staff"]), Role::Viewer),
        (json!("ops"), Role::Operator),
    ] {
        provider.set(|inner| inner.claims = json!({"groups": groups}));
        let mut browser = Browser::new(&world);
        assert_eq!(log_in(&mut browser, &provider).await.status, 303);
        assert_eq!(role(), Some(expected), "{groups}");
        assert_eq!(before.get("/").await.status, 303, "sessions of another role end");
        browser.page("/").await;
        before = browser;
    }
    assert_eq!(count(&world, "identity provider", "user.update").await, 4);
    // The same again changes nothing and ends nothing.
    assert_eq!(log_in(&mut Browser::new(&world), &provider).await.status, 303);
    before.page("/").await;
    assert_eq!(count(&world, "identity provider", "user.update").await, 4);
    for groups in [json!(["others"]), json!([]), json!(null)] {
        provider.set(|inner| inner.claims = json!({"groups": groups}));
        stays_out(&world, &provider, 403, "you have no role here").await;
        assert_eq!(role(), Some(Role::Viewer));
    }
    assert_eq!(before.get("/").await.status, 303, "and what was begun ends");
    assert_eq!(count(&world, "ada", "login.failed").await, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn whom_the_provider_gives_nothing_any_more_loses_role_sessions_and_keys() {
    for (claims, words) in [
        (json!({"groups": ["others"], "email": "ada@example.com", "email_verified": true}), "you have no role here"),
        (json!({"groups": ["root"], "email": "ada@elsewhere.example", "email_verified": true}), "Your mail address"),
    ] {
        let (world, provider) = start(|settings| settings.email_domains = vec!["example.com".to_owned()]).await;
        let good = json!({"groups": ["root"], "email": "ada@example.com", "email_verified": true});
        provider.set(|inner| inner.claims = good);
        let mut browser = Browser::new(&world);
        assert_eq!(log_in(&mut browser, &provider).await.status, 303);
        let ada = world.users.get("ada").expect("she is in");
        let new = NewKey { name: "robot".to_owned(), role: Role::Admin, scopes: vec![Scope::Read, Scope::Admin], lifetime: None };
        let (key, _) = world.api_keys.create(&ada, new, &author()).await.expect("it is made");
        let token = access_token(world.client.rocket().state::<ApiState>().expect("managed"), &ada);
        world.get("/api/v1/users", Some(&token)).await.expect(200);
        world.get("/api/monitor/services/", Some(&key)).await.expect(200);

        provider.set(|inner| inner.claims = claims.clone());
        stays_out(&world, &provider, 403, words).await;
        assert_eq!(world.users.get("ada").map(|user| user.role), Some(Role::Viewer), "{claims}");
        assert_eq!(browser.get("/").await.status, 303, "sessions end: {claims}");
        world.get("/api/v1/users", Some(&token)).await.problem(401);
        world.get("/api/monitor/services/", Some(&key)).await.problem(401);
        assert_eq!(count(&world, "identity provider", "user.update").await, 1);
        assert_eq!(count(&world, "identity provider", "key.revoke").await, 1);
    }
    // The last admin stays one, and what they began ends.
    let (world, provider) = start(|_| ()).await;
    let identity = Identity { issuer: provider.issuer(), subject: "person-1".to_owned() };
    world.users.link("admin", &identity, &author()).await.expect("it is linked");
    let mut browser = Browser::of(&world, "admin").await;
    provider.set(|inner| inner.claims = json!({"groups": []}));
    stays_out(&world, &provider, 403, "you have no role here").await;
    assert_eq!(world.users.get("admin").map(|user| user.role), Some(Role::Admin));
    assert_eq!(browser.get("/").await.status, 303);
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_made_a_user_under_a_name_that_is_taken_for_another() {
    let (world, provider) = start(|_| ()).await;
    for name in [".", "..", "...", "visitor", "Seed", "subscribers", "hub", "COMMAND", "local", "probemesh"] {
        provider.set(|inner| inner.claims = json!({"preferred_username": name}));
        stays_out(&world, &provider, 403, "no user here can have that name").await;
    }
    provider.set(|inner| inner.claims = json!({"preferred_username": "Viewer"}));
    stays_out(&world, &provider, 403, "There is a user viewer here already").await;
    assert_eq!(world.users.list().len(), 3);
    provider.set(|inner| inner.claims = json!({"preferred_username": "..ada"}));
    assert_eq!(log_in(&mut Browser::new(&world), &provider).await.status, 303);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_does_not_hold_lets_nobody_in() {
    let (world, provider) = start(|_| ()).await;
    type Change = fn(&mut Inner);
    let now = world.clock.now().0 / 1_000_000;
    let bad: [(&str, Change); 4] = [
        ("unsigned", |inner| inner.signed = Signed::Not),
        ("signed by the public key", |inner| inner.signed = Signed::ByPublicKey),
        ("signed by the client's secret", |inner| inner.signed = Signed::BySecret),
        ("signed by a foreign key", |inner| inner.signed = Signed::Foreign),
    ];
    for (what, change) in bad {
        provider.set(change);
        println!("{what}");
        stays_out(&world, &provider, 502, "does not hold").await;
    }
    provider.set(|inner| inner.signed = Signed::Rsa);
    for claims in [
        json!({"nonce": "another"}),
        json!({"nonce": null}),
        json!({"aud": "another client"}),
        json!({"aud": [CLIENT_ID, "another client"]}),
        json!({"azp": "another client"}),
        json!({"iss": "https://login.evil.example"}),
        json!({"exp": now - 61}),
        json!({"exp": null}),
        json!({"iat": now + 61}),
        json!({"sub": null}),
    ] {
        provider.set(|inner| inner.claims = claims.clone());
        println!("{claims}");
        stays_out(&world, &provider, 502, "does not hold").await;
    }
    assert_eq!(world.users.list().len(), 3, "nobody was made");
    assert_eq!(count(&world, "unknown user", "login.failed").await, 14);
    let page = audit(&world).await;
    assert!(page.iter().filter(|entry| entry.action == "login.failed").all(|entry| entry.subject == "oidc"), "{page:?}");
    // Clocks may be apart by the leeway; and it was the changes that kept people out.
    for claims in [json!({"exp": now - 59}), json!({"iat": now + 59}), json!({"aud": [CLIENT_ID, "x"], "azp": CLIENT_ID}), json!({})] {
        provider.set(|inner| inner.claims = claims.clone());
        assert_eq!(log_in(&mut Browser::new(&world), &provider).await.status, 303, "{claims}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_counts_once_in_the_browser_that_asked_and_not_for_long() {
    let (world, provider) = start(|_| ()).await;
    let stale = "Please begin again";
    // Of another browser: with nothing of its own, and with a log-in of its own under way.
    let mut victim = Browser::new(&world);
    let mut attacker = Browser::new(&world);
    let foreign = away(&mut attacker, &provider, "/login/oidc").await;
    let answer = victim.get(&foreign).await;
    assert_refused(&victim, &answer, 403, stale);
    away(&mut victim, &provider, "/login/oidc").await;
    let answer = victim.get(&foreign).await;
    assert_refused(&victim, &answer, 403, stale);

    // Changed on the way.
    for change in [
        |back: &str| back.replace("state=", "state=x"),
        |back: &str| back.replace("state=", "other="),
        |back: &str| back.replace("code=", "other="),
    ] {
        let back = away(&mut victim, &provider, "/login/oidc").await;
        let answer = victim.get(&change(&back)).await;
        assert_refused(&victim, &answer, 403, stale);
    }
    for garbage in ["", "x", "AAAA"] {
        let back = away(&mut victim, &provider, "/login/oidc").await;
        victim.cookies.insert(FLOW_COOKIE.to_owned(), garbage.to_owned());
        let answer = victim.get(&back).await;
        assert_refused(&victim, &answer, 403, stale);
    }
    let back = away(&mut victim, &provider, "/login/oidc").await;
    let answer = victim.get(&back.replace("iss=http", "iss=https")).await;
    assert_refused(&victim, &answer, 502, "does not hold");
    let back = away(&mut victim, &provider, "/login/oidc").await;
    let answer = victim.get(&back.replace("code=code", "code=guessed")).await;
    assert_refused(&victim, &answer, 403, "invalid_grant");

    // A code whose verifier is another's is worth nothing: it was stolen on its way.
    let stolen = away(&mut attacker, &provider, "/login/oidc").await;
    let code = |back: &str| {
        Url::parse("https://hub.example")
            .unwrap()
            .join(back)
            .unwrap()
            .query_pairs()
            .find(|(name, _)| name == "code")
            .unwrap()
            .1
            .into_owned()
    };
    let back = away(&mut victim, &provider, "/login/oidc").await;
    let answer = victim.get(&back.replace(&format!("code={}", code(&back)), &format!("code={}", code(&stolen)))).await;
    assert_refused(&victim, &answer, 403, "invalid_grant");

    // Twice: without what the browser kept, and with it.
    let back = away(&mut victim, &provider, "/login/oidc").await;
    let kept = victim.cookies[FLOW_COOKIE].clone();
    assert_eq!(victim.get(&back).await.status, 303);
    let mut again = Browser::new(&world);
    let answer = again.get(&back).await;
    assert_refused(&again, &answer, 403, stale);
    again.cookies.insert(FLOW_COOKIE.to_owned(), kept);
    let answer = again.get(&back).await;
    assert_refused(&again, &answer, 403, "invalid_grant");

    // Too late; a moment before it is not.
    let mut late = Browser::new(&world);
    let back = away(&mut late, &provider, "/login/oidc").await;
    world.clock.advance(Duration::from_secs(600)).await;
    provider.set(|inner| inner.now = world.clock.now());
    let answer = late.get(&back).await;
    assert_refused(&late, &answer, 403, stale);
    let back = away(&mut late, &provider, "/login/oidc").await;
    world.clock.advance(Duration::from_secs(599)).await;
    provider.set(|inner| inner.now = world.clock.now());
    assert_eq!(late.get(&back).await.status, 303);
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_that_were_changed_are_asked_for_once() {
    let (world, provider) = start(|_| ()).await;
    assert_eq!(log_in(&mut Browser::new(&world), &provider).await.status, 303);
    provider.rotate();
    for signed in [Signed::Rsa, Signed::Ec, Signed::Rsa] {
        provider.set(|inner| inner.signed = signed);
        assert_eq!(log_in(&mut Browser::new(&world), &provider).await.status, 303, "{signed:?}");
    }
    assert_eq!(provider.asked("/keys"), 2);
    provider.set(|inner| inner.signed = Signed::Foreign);
    stays_out(&world, &provider, 502, "does not hold").await;
    assert_eq!(provider.asked("/keys"), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_is_away_or_broken_is_told_and_passwords_still_work() {
    let (world, provider) = start(|_| ()).await;
    let issuer = provider.issuer();
    let lacking = json!({"issuer": issuer, "authorization_endpoint": format!("{issuer}/authorize"), "token_endpoint": issuer});
    let mut elsewhere = lacking.clone();
    elsewhere["issuer"] = json!("https://login.evil.example");
    elsewhere["jwks_uri"] = json!(format!("{issuer}/keys"));
    let mut script = elsewhere.clone();
    script["issuer"] = json!(issuer);
    script["authorization_endpoint"] = json!("javascript:alert(1)");
    let (away_words, wrong_words) = ("cannot be reached now", "does not hold");
    for (mode, status, words) in [
        (Mode::Status(500), 503, away_words),
        (Mode::Status(404), 503, away_words),
        (Mode::Drops, 503, away_words),
        (Mode::Garbage, 502, wrong_words),
        (Mode::Says(lacking), 502, wrong_words),
        (Mode::Says(elsewhere), 502, wrong_words),
        (Mode::Says(script), 502, wrong_words),
    ] {
        provider.set(|inner| inner.discovery = mode.clone());
        let mut browser = Browser::new(&world);
        let answer = browser.get("/login/oidc?next=%2Fregions").await;
        assert_refused(&browser, &answer, status, words);
        assert!(answer.text.contains("href=\"/login/oidc?next=%2Fregions\""), "it can be tried again: {}", answer.text);
        let asked = provider.asked("/.well-known/openid-configuration");
        let answer = browser.get("/login/oidc").await;
        assert_refused(&browser, &answer, status, words);
        assert_eq!(provider.asked("/.well-known/openid-configuration"), asked, "nobody waits for it again at once: {mode:?}");
        world.clock.advance(Duration::from_secs(5)).await;
    }
    Browser::of(&world, "viewer").await.page("/").await;
    provider.set(|inner| (inner.discovery, inner.keys) = (Mode::Well, Mode::Garbage));
    let mut browser = Browser::new(&world);
    let answer = browser.get("/login/oidc").await;
    assert_refused(&browser, &answer, 502, wrong_words);
    world.clock.advance(Duration::from_secs(5)).await;
    provider.set(|inner| inner.keys = Mode::Well);
    for (mode, status, words) in [
        (Mode::Status(500), 503, away_words),
        (Mode::Drops, 503, away_words),
        (Mode::Garbage, 502, wrong_words),
        (Mode::Says(json!({"access_token": "access-1"})), 502, wrong_words),
        (Mode::Says(json!({"id_token": "a.b.c"})), 502, wrong_words),
        (Mode::Says(json!({"id_token": 7})), 502, wrong_words),
    ] {
        provider.set(|inner| inner.token = mode.clone());
        println!("{mode:?}");
        stays_out(&world, &provider, status, words).await;
    }
    // What is known stays good while it is away, also after the hour.
    provider.set(|inner| (inner.token, inner.discovery) = (Mode::Well, Mode::Status(500)));
    world.clock.advance(Duration::from_secs(3_600)).await;
    provider.set(|inner| inner.now = world.clock.now());
    assert_eq!(log_in(&mut Browser::new(&world), &provider).await.status, 303);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_never_answers_is_given_up() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let issuer = format!("http://{}", listener.local_addr().expect("it is bound"));
    tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok((stream, _)) = listener.accept().await {
            held.push(stream);
        }
    });
    let silent = OidcSettings { timeout: Duration::from_millis(200), ..settings(issuer) };
    let world = World::made(|_| (), Some(silent)).await;
    let mut browser = Browser::new(&world);
    let answer = browser.get("/login/oidc").await;
    assert_refused(&browser, &answer, 503, "cannot be reached now");
    Browser::of(&world, "viewer").await.page("/").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_not_come_in_is_told_why_and_stays_out() {
    let (world, provider) = start(|_| ()).await;
    // A name is never taken over, whatever the provider says of it.
    for name in ["viewer", "admin"] {
        provider.set(|inner| inner.claims = json!({"preferred_username": name, "groups": ["root"]}));
        stays_out(&world, &provider, 403, &format!("There is a user {name} here already")).await;
        assert!(world.users.identity(name).is_none());
        assert!(world.users.verify(name, PASSWORD).await.is_some());
    }
    assert_eq!(world.users.get("viewer").map(|user| user.role), Some(Role::Viewer));

    // Who is disabled stays out, and comes in again afterwards.
    provider.set(|inner| inner.claims = json!({}));
    assert_eq!(log_in(&mut Browser::new(&world), &provider).await.status, 303);
    world.users.set_disabled("ada", true, &author()).await.expect("it is set");
    stays_out(&world, &provider, 403, "Your user is disabled").await;
    world.users.set_disabled("ada", false, &author()).await.expect("it is set");
    assert_eq!(log_in(&mut Browser::new(&world), &provider).await.status, 303);

    // Another person of the same name is not that user; the same person under another name is.
    provider.set(|inner| inner.claims = json!({"sub": "person-2"}));
    stays_out(&world, &provider, 403, "There is a user ada here already").await;
    provider.set(|inner| inner.claims = json!({"preferred_username": "ada.lovelace"}));
    let mut browser = Browser::new(&world);
    assert_eq!(log_in(&mut browser, &provider).await.status, 303);
    assert!(browser.page("/account").await.contains(">ada ") && world.users.get("ada.lovelace").is_none());

    // Deleted, they are somebody new; the last admin is not made less.
    world.users.delete("ada", &author()).await.expect("it is deleted");
    assert_eq!(browser.get("/").await.status, 303);
    assert_eq!(log_in(&mut Browser::new(&world), &provider).await.status, 303);
    assert!(world.users.get("ada.lovelace").is_some());
    let identity = Identity { issuer: provider.issuer(), subject: "person-9".to_owned() };
    world.users.link("admin", &identity, &author()).await.expect("it is linked");
    provider.set(|inner| inner.claims = json!({"sub": "person-9"}));
    stays_out(&world, &provider, 403, "you are the last admin here").await;
    assert_eq!(world.users.get("admin").map(|user| user.role), Some(Role::Admin));

    // The provider itself says no; its words are shown as words.
    provider.set(|inner| inner.turns_away = true);
    let mut browser = Browser::new(&world);
    let answer = log_in(&mut browser, &provider).await;
    assert_refused(&browser, &answer, 403, "did not let you in: access_denied (not &#60;b&#62;you&#60;/b&#62;)");
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_say_who_is_made_a_user_and_from_which_domains() {
    let (world, provider) = start(|settings| settings.create_users = false).await;
    stays_out(&world, &provider, 403, "there is no user here for you yet").await;
    let identity = Identity { issuer: provider.issuer(), subject: "person-1".to_owned() };
    world.users.link("viewer", &identity, &author()).await.expect("it is linked");
    assert_eq!(log_in(&mut Browser::new(&world), &provider).await.status, 303);
    assert_eq!(world.users.list().len(), 3);

    let (world, provider) = start(|settings| {
        settings.email_domains = vec!["example.com".to_owned()];
        settings.default_role = Some("operator".to_owned());
    })
    .await;
    for claims in [json!({}), json!({"email": "ada@example.com"}), json!({"email": "ada@evil.example", "email_verified": true})] {
        provider.set(|inner| inner.claims = claims);
        stays_out(&world, &provider, 403, "Your mail address").await;
    }
    provider.set(|inner| inner.claims = json!({"email": "ada@example.com", "email_verified": true, "groups": null}));
    assert_eq!(log_in(&mut Browser::new(&world), &provider).await.status, 303);
    assert_eq!(world.users.get("ada").map(|user| user.role), Some(Role::Operator));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_id_token_leaves_out_is_taken_from_the_user_info_of_the_same_person() {
    let (world, provider) = start(|_| ()).await;
    provider.set(|inner| {
        inner.claims = json!({"groups": null, "preferred_username": null});
        inner.user_info = Some(json!({"sub": "person-2", "groups": ["root"], "preferred_username": "eve"}));
    });
    stays_out(&world, &provider, 502, "does not hold").await;
    provider.set(|inner| inner.user_info = Some(json!({"sub": "person-1", "groups": ["ops"], "preferred_username": "ada"})));
    assert_eq!(log_in(&mut Browser::new(&world), &provider).await.status, 303);
    assert_eq!(world.users.get("ada").map(|user| user.role), Some(Role::Operator));
    // What is signed is stronger, and nothing is asked that is told.
    let asked = provider.asked("/user");
    provider.set(|inner| inner.claims = json!({}));
    assert_eq!(log_in(&mut Browser::new(&world), &provider).await.status, 303);
    assert_eq!((world.users.get("ada").map(|user| user.role), provider.asked("/user")), (Some(Role::Viewer), asked));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_client_shows_its_secret_as_the_provider_takes_it() {
    let (world, provider) = start(|_| ()).await;
    provider.set(|inner| inner.methods = Some(json!(["client_secret_post"])));
    assert_eq!(log_in(&mut Browser::new(&world), &provider).await.status, 303);

    let (world, provider) = start(|settings| settings.client_secret = None).await;
    stays_out(&world, &provider, 403, "invalid_client").await;
    provider.set(|inner| inner.has_secret = false);
    assert_eq!(log_in(&mut Browser::new(&world), &provider).await.status, 303);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_links_themselves_and_only_with_who_they_just_were() {
    let (world, provider) = start(|_| ()).await;
    let mut viewer = Browser::of(&world, "viewer").await;
    let page = viewer.page("/account").await;
    assert!(page.contains("Link with Example &#38; Co") && page.contains("href=\"/account/oidc\""), "{page}");
    let back = away(&mut viewer, &provider, "/account/oidc").await;
    let kept = viewer.cookies[FLOW_COOKIE].clone();
    // In the browser of somebody else it is worth nothing, logged in or not.
    let mut operator = Browser::of(&world, "operator").await;
    operator.cookies.insert(FLOW_COOKIE.to_owned(), kept.clone());
    assert_eq!(operator.get(&back).await.status, 403);
    let mut stranger = Browser::new(&world);
    stranger.cookies.insert(FLOW_COOKIE.to_owned(), kept);
    let refused = stranger.get(&back).await;
    assert_refused(&stranger, &refused, 403, "Please begin again");

    let asked = viewer.get(&back).await;
    assert_eq!(asked.status, 200, "{}", asked.text);
    assert!(asked.text.contains("you are ada") && asked.text.contains("user viewer"), "{}", asked.text);
    assert!(world.users.identity("viewer").is_none() && world.users.get("ada").is_none(), "nothing is linked or made before they say so");
    let sealed =
        asked.text.split("name=\"identity\" value=\"").nth(1).and_then(|rest| rest.split('"').next()).expect("it is there").to_owned();
    for wrong in ["", "x"] {
        assert_eq!(viewer.send_form("/account/oidc", &[("identity", wrong)]).await.status, 403);
    }
    assert_eq!(operator.send_form("/account/oidc", &[("identity", &sealed)]).await.status, 403, "it is for the viewer alone");
    let token = token_of(&asked.text);
    let linked = viewer.send_raw("/account/oidc", &[("form_token", &token), ("identity", &sealed)]).await;
    assert_eq!((linked.status, linked.header("Location")), (303, Some("/account")), "{}", linked.text);
    let page = viewer.page("/account").await;
    assert!(page.contains("person-1") && page.contains("action=\"/account/oidc/unlink\""), "{page}");

    // From now on the provider lets them in, with the role it gives.
    provider.set(|inner| inner.claims = json!({"groups": ["ops"]}));
    let mut browser = Browser::new(&world);
    assert_eq!(log_in(&mut browser, &provider).await.status, 303);
    assert_eq!((world.users.get("viewer").map(|user| user.role), world.users.list().len()), (Some(Role::Operator), 3));
    // The same person is no second user, and a user no second person.
    let back = away(&mut operator, &provider, "/account/oidc").await;
    let asked = operator.get(&back).await.text;
    let sealed = asked.split("name=\"identity\" value=\"").nth(1).and_then(|rest| rest.split('"').next()).expect("it is there").to_owned();
    let taken = operator.send_form("/account/oidc", &[("identity", &sealed)]).await;
    assert_eq!(taken.status, 409);
    assert!(taken.text.contains("viewer"), "{}", taken.text);
    // A page left open for too long links nobody any more.
    assert_eq!(browser.send_form("/account/oidc/unlink", &[]).await.status, 303);
    assert!(world.users.identity("viewer").is_none());
    world.clock.advance(Duration::from_secs(600)).await;
    assert_eq!(operator.send_form("/account/oidc", &[("identity", &sealed)]).await.status, 403);
    let changes = audit(&world).await;
    let of_viewer = |entry: &&AuditEntry| entry.who == "viewer" && entry.subject == "user:viewer" && entry.fields == ["identity"];
    assert_eq!(changes.iter().filter(of_viewer).count(), 2, "{changes:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_left_without_a_way_in_but_by_an_admin() {
    let (world, provider) = start(|_| ()).await;
    let mut ada = Browser::new(&world);
    log_in(&mut ada, &provider).await;
    assert!(ada.page("/account").await.contains("it is the only way in"));
    assert_eq!(ada.send_form("/account/oidc/unlink", &[]).await.status, 409);
    let mut admin = Browser::of(&world, "admin").await;
    let page = admin.page("/system/users/ada").await;
    assert!(page.contains("person-1") && page.contains("it is the only way in"), "{page}");
    let token = world.token("admin").await;
    let users = world.get("/api/v1/users", Some(&token)).await.expect(200);
    let of = |name: &str| users["results"].as_array().unwrap().iter().find(|user| user["username"] == name).unwrap().clone();
    assert_eq!((&of("ada")["identity"]["subject"], &of("ada")["has_password"]), (&json!("person-1"), &json!(false)));
    assert_eq!((&of("viewer")["identity"], &of("viewer")["has_password"]), (&Value::Null, &json!(true)));

    // With a password from an admin they may.
    admin.send_form("/system/users/ada", &[("password", PASSWORD)]).await;
    let mut ada = Browser::of(&world, "ada").await;
    assert_eq!(ada.send_form("/account/oidc/unlink", &[]).await.status, 303);
    assert_eq!(ada.send_form("/account/oidc/unlink", &[]).await.status, 404);
    stays_out(&world, &provider, 403, "There is a user ada here already").await;
    // An admin takes anybody apart, by the page or the API.
    let identity = Identity { issuer: provider.issuer(), subject: "person-1".to_owned() };
    world.users.link("ada", &identity, &author()).await.expect("it is linked");
    assert_eq!(admin.send_form("/system/users/ada/identity/unlink", &[]).await.status, 303);
    world.users.link("ada", &identity, &author()).await.expect("it is linked");
    world.send(Method::Delete, "/api/v1/users/ada/identity", Some(&token), None).await.expect(204);
    world.send(Method::Delete, "/api/v1/users/ada/identity", Some(&token), None).await.problem(404);
    assert!(world.users.identity("ada").is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_second_factor_of_this_hub_is_asked_for_only_where_the_settings_say_so() {
    for wanted in [false, true] {
        let (world, provider) = start(|settings| settings.second_factor = wanted).await;
        let user = world.users.get("viewer").expect("there");
        let shown = world.second_factors.begin(&user).expect("it begins");
        world.second_factors.confirm(&user, &second_factor_code(&world, &shown.secret), &author()).await.expect("it is on");
        world.clock.advance(Duration::from_secs(30)).await;
        provider.set(|inner| inner.now = world.clock.now());
        let identity = Identity { issuer: provider.issuer(), subject: "person-1".to_owned() };
        world.users.link("viewer", &identity, &author()).await.expect("it is linked");
        let mut browser = Browser::new(&world);
        let back = away(&mut browser, &provider, "/login/oidc?next=%2Fregions").await;
        let answer = browser.get(&back).await;
        if !wanted {
            assert_eq!((answer.status, answer.header("Location")), (303, Some("/regions")));
            continue;
        }
        assert_eq!(answer.status, 200);
        assert!(answer.text.contains("name=\"code\"") && !browser.cookies.contains_key(SESSION_COOKIE), "{}", answer.text);
        let ticket = answer.text.split("name=\"ticket\" value=\"").nth(1).and_then(|rest| rest.split('"').next()).expect("it is there");
        let code = second_factor_code(&world, &shown.secret);
        let token = token_of(&answer.text);
        let fields = [("form_token", token.as_str()), ("next", "/regions"), ("ticket", ticket), ("username", "viewer"), ("code", &code)];
        let entered = browser.send_raw("/login", &fields).await;
        assert_eq!((entered.status, entered.header("Location")), (303, Some("/regions")), "{}", entered.text);
        browser.page("/regions").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_address_leads_to_another_host_afterwards() {
    let (world, provider) = start(|_| ()).await;
    let long = format!("%2Fresults%3Fsearch%3D{}", "x".repeat(2_000));
    for next in ["%2F%2Fevil.example", "https%3A%2F%2Fevil.example", "%2F%5Cevil.example", long.as_str()] {
        let mut browser = Browser::new(&world);
        let back = away(&mut browser, &provider, &format!("/login/oidc?next={next}")).await;
        let answer = browser.get(&format!("{back}&next=https%3A%2F%2Fevil.example")).await;
        assert_eq!((answer.status, answer.header("Location")), (303, Some("/")), "{next}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_way_back_is_the_public_address_or_the_one_that_was_asked() {
    let provider = Provider::start(at("2026-11-22T08:00:00Z")).await;
    for (host, proto, proxied, expected, secure) in [
        (Some("hub.internal:8000"), None, false, "http://hub.internal:8000/login/oidc/callback", false),
        (Some("hub.internal:8000"), Some("https"), false, "http://hub.internal:8000/login/oidc/callback", false),
        (Some("hub.example"), Some("https"), true, "https://hub.example/login/oidc/callback", true),
        (None, None, false, "", false),
        // Behind a proxy that says nothing of how the client came.
        (Some("public:hub.internal:8000"), None, false, "https://status.example.com/login/oidc/callback", true),
    ] {
        let is_public = host.is_some_and(|host| host.starts_with("public:"));
        let host = host.map(|host| host.trim_start_matches("public:"));
        let alter = move |settings: &mut probemesh::config::sections::ApiSettings| {
            settings.public_url = is_public.then(|| "https://status.example.com/".to_owned());
            settings.proxy_header = proxied.then(|| "X-Real-IP".to_owned());
        };
        let world = World::made(alter, Some(settings(provider.issuer()))).await;
        let mut request = world.client.get("/login/oidc").header(Header::new("Accept", "text/html"));
        if let Some(host) = host {
            request.inner_mut().set_host(Host::from(Authority::parse(host).expect("a host")));
        }
        if let Some(proto) = proto {
            request.add_header(Header::new("X-Forwarded-Proto", proto));
        }
        let response = request.dispatch().await;
        let kept = response.headers().get("Set-Cookie").find(|line| line.starts_with(FLOW_COOKIE)).unwrap_or_default().to_owned();
        let to = response.headers().get_one("Location").map(|to| Url::parse(to).expect("an address"));
        let redirect = to.and_then(|to| to.query_pairs().find(|(name, _)| name == "redirect_uri").map(|(_, value)| value.into_owned()));
        assert_eq!(redirect.unwrap_or_default(), expected, "{host:?} {proto:?}");
        assert_eq!(kept.contains("Secure"), secure, "{kept}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn log_ins_by_the_provider_are_throttled_by_address() {
    let provider = Provider::start(at("2026-11-22T08:00:00Z")).await;
    let world = World::made(|settings| settings.logins_per_minute = 2, Some(settings(provider.issuer()))).await;
    provider.set(|inner| inner.claims = json!({"groups": []}));
    for _ in 0..2 {
        stays_out(&world, &provider, 403, "you have no role here").await;
    }
    let asked = provider.asked("/token");
    stays_out(&world, &provider, 429, "Too many attempts").await;
    assert_eq!(provider.asked("/token"), asked, "the provider is spared");
    world.clock.advance(Duration::from_secs(30)).await;
    stays_out(&world, &provider, 403, "you have no role here").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_speaks_persian_sends_no_form_elsewhere_and_offers_nothing_where_there_is_no_provider() {
    let (world, _provider) = start(|_| ()).await;
    let mut browser = Browser::new(&world);
    browser.cookies.insert("probemesh_lang".to_owned(), "fa".to_owned());
    let answer = browser.get("/login").await;
    assert!(answer.text.contains("ورود با \u{2068}Example &#38; Co\u{2069}"), "{}", answer.text);
    let policy = answer.header("Content-Security-Policy").expect("a policy");
    assert!(policy.contains("form-action 'self'"), "{policy}");
    assert!(answer.text.split("<form").skip(1).all(|form| !form.split("</form").next().unwrap_or_default().contains("oidc")));

    let without = World::new().await;
    let mut browser = Browser::new(&without);
    let page = browser.page("/login").await;
    assert!(!page.contains("oidc"), "{page}");
    for path in ["/login/oidc", "/login/oidc/callback?code=x&state=y"] {
        assert_eq!(browser.get(path).await.status, 404, "{path}");
    }
    let mut viewer = Browser::of(&without, "viewer").await;
    assert!(!viewer.page("/account").await.contains("oidc"));
    assert_eq!(viewer.get("/account/oidc").await.status, 404);
}
