//! Getting in and out: cookies, tokens of forms, throttling, roles.

use std::time::Duration;

use probemesh::api::auth::SESSION_COOKIE;
use rocket::http::{Cookie, Header, Method, Status};
use serde_json::json;

use super::browser::{Browser, token_of};
use crate::api_world::{PASSWORD, World, author};

/// Pages everyone sees who is logged in, with a service and no incident there.
const PAGES: [&str; 34] = [
    "/digests",
    "/digests/4711",
    "/findings",
    "/performance",
    "/slos",
    "/regions/now",
    "/regions/joined",
    "/system",
    "/system/actors",
    "/system/actors/tree",
    "/account/keys",
    "/account/keys/new",
    "/account/second-factor",
    "/",
    "/regions",
    "/results",
    "/results.csv",
    "/account",
    "/overview/head",
    "/overview/rows?ids=1",
    "/services/1",
    "/services/1/now",
    "/services/1/checks",
    "/services/1/charts",
    "/incidents",
    "/incidents/4711",
    "/issues",
    "/issues/4711",
    "/alerts",
    "/alerts/deliveries",
    "/alerts/channels",
    "/alerts/rules",
    "/alerts/windows",
    "/alerts/subscribers",
];
/// Pages for operators.
const OPERATORS: [&str; 8] = [
    "/slos/new",
    "/services/new",
    "/services/1/edit",
    "/services/1/delete",
    "/services/import",
    "/issues/new",
    "/alerts/rules/new",
    "/alerts/windows/new",
];
/// Forms that take role admin.
const ADMINS: [&str; 17] = [
    "/regions/nodes/nobody/revoke",
    "/system/backup",
    "/regions",
    "/alerts/channels/new",
    "/alerts/channels/4711",
    "/alerts/channels/4711/test",
    "/alerts/channels/4711/delete",
    "/system/users/new",
    "/system/users/operator",
    "/system/users/operator/delete",
    "/system/users/operator/second-factor/off",
    "/system/users/operator/identity/unlink",
    "/system/users/operator/sessions/nobody/end",
    "/system/keys/new",
    "/system/keys/4711/revoke",
    "/alerts/subscribers/4711/remove",
    "/alerts/subscribers/4711/resume",
];
/// Forms of one's own things.
const OWN: [&str; 8] = [
    "/account/keys/new",
    "/account/keys/4711/revoke",
    "/account/oidc",
    "/account/oidc/unlink",
    "/account/password",
    "/account/sessions/end",
    "/account/second-factor",
    "/account/second-factor/off",
];
/// For whoever has no log-in: each has a token of its own, or is the token of a link, or takes JSON alone.
const PUBLIC: [&str; 4] = ["/status/subscribe", "/status/subscriptions", "/status/confirm/<token>", "/status/unsubscribe/<token>"];
/// Forms that change something; each takes role operator.
const FORMS: [&str; 30] = [
    "/digests/run",
    "/slos/new",
    "/slos/4711",
    "/slos/4711/delete",
    "/system/collect",
    "/services/new",
    "/services/1/edit",
    "/services/1/delete",
    "/services/1/check",
    "/services/1/check/live",
    "/services/1/enabled",
    "/services/import",
    "/incidents/4711/acknowledge",
    "/incidents/4711/notes",
    "/findings/4711/feedback",
    "/issues/new",
    "/issues/4711/edit",
    "/issues/4711/step",
    "/issues/4711/comments",
    "/alerts/causes/nobody/acknowledge",
    "/alerts/deliveries/4711/retry",
    "/alerts/rules/new",
    "/alerts/rules/4711",
    "/alerts/rules/4711/enabled",
    "/alerts/rules/4711/delete",
    "/alerts/windows/new",
    "/alerts/windows/4711",
    "/alerts/windows/4711/start",
    "/alerts/windows/4711/end",
    "/alerts/windows/4711/delete",
];

async fn with_service() -> World {
    let world = World::new().await;
    let operator = world.token("operator").await;
    world.service(&operator, json!({"name": "shop", "base_url": "https://shop.example"})).await;
    world.show_services();
    world
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_not_logged_in_is_led_to_the_log_in_and_back_again() {
    let world = with_service().await;
    let mut browser = Browser::new(&world);
    for path in PAGES.iter().chain(&OPERATORS) {
        let answer = browser.get(path).await;
        assert_eq!(answer.status, 303, "{path}");
        assert!(answer.header("Location").is_some_and(|to| to.starts_with("/login")), "{path}: {:?}", answer.header("Location"));
    }
    let asked = browser.get("/services/1?range=7d").await;
    assert_eq!(asked.header("Location"), Some("/login?next=%2Fservices%2F1%3Frange%3D7d"));
    let form = browser.page("/login?next=%2Fservices%2F1%3Frange%3D7d").await;
    let token = token_of(&form);
    let fields = [("form_token", token.as_str()), ("next", "/services/1?range=7d"), ("username", "viewer"), ("password", PASSWORD)];
    let entered = browser.send_raw("/login", &fields).await;
    assert_eq!((entered.status, entered.header("Location")), (303, Some("/services/1?range=7d")));
    assert!(browser.page("/services/1?range=7d").await.contains("shop"));
    // Who is in already has nothing to do here; and no form leads to another host.
    assert_eq!(browser.get("/login?next=//evil.example").await.header("Location"), Some("/"));
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_sends_a_form_without_a_session_is_told_so_and_led_back_to_its_page() {
    let world = with_service().await;
    let mut browser = Browser::new(&world);
    let edit = "/login?next=%2Fservices%2F1%2Fedit&ended=true";
    let sent = browser.send_raw("/services/1/edit", &[("name", "much that was typed")]).await;
    assert_eq!((sent.status, sent.header("Location")), (303, Some(edit)));
    // Nothing is shown where a service is paused: the browser says from where it was.
    assert_eq!(browser.send_raw("/services/1/enabled", &[]).await.header("Location"), Some("/login?ended=true"));
    for (from, expected) in [
        ("PUBLIC/services/1?range=7d", "/login?next=%2Fservices%2F1%3Frange%3D7d&ended=true"),
        ("https://evil.example/services/1", "/login?ended=true"),
        ("PUBLIC.evil.example/services/1", "/login?ended=true"),
        ("PUBLIC/login", "/login?ended=true"),
    ] {
        let from = from.replace("PUBLIC", "https://hub.example");
        let request = world.client.post("/services/1/enabled").header(Header::new("Accept", "text/html"));
        let answer = request.header(rocket::http::ContentType::Form).header(Header::new("Referer", from.clone())).dispatch().await;
        assert_eq!(answer.headers().get_one("Location"), Some(expected), "{from}");
    }
    let page = browser.page(edit).await;
    assert!(page.contains("Your session has ended. Nothing was stored.") && page.contains("value=\"/services/1/edit\""), "{page}");
    // A service that went meanwhile is told as such.
    let mut operator = Browser::of(&world, "operator").await;
    let gone = operator.send_form("/services/4711/enabled", &[("enabled", "false")]).await;
    assert!(gone.status == 404 && gone.text.contains("This service was deleted meanwhile"), "{}", gone.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_cookie_of_a_session_is_out_of_reach_of_scripts_and_other_sites() {
    let world = World::new().await;
    let mut browser = Browser::new(&world);
    browser.get("/login").await;
    let answer = browser.send_form("/login", &[("username", "viewer"), ("password", PASSWORD)]).await;
    assert_eq!(answer.status, 303);
    let set = browser.set.iter().find(|line| line.starts_with(SESSION_COOKIE)).expect("a session begins").clone();
    assert!(set.contains("HttpOnly") && set.contains("SameSite=Lax") && set.contains("Path=/") && set.contains("Expires="), "{set}");
    assert!(set.contains("Secure"), "people reach this hub by https, whatever a proxy says of that: {set}");

    let plain = World::with(|settings| settings.public_url = None).await;
    let mut browser = Browser::new(&plain);
    browser.get("/login").await;
    browser.send_form("/login", &[("username", "viewer"), ("password", PASSWORD)]).await;
    let set = browser.set.iter().find(|line| line.starts_with(SESSION_COOKIE)).expect("a session begins");
    assert!(!set.contains("Secure"), "plain HTTP could not keep it: {set}");
    let proxied = World::with(|settings| (settings.public_url, settings.proxy_header) = (None, Some("X-Real-IP".to_owned()))).await;
    let request = |path: &'static str| proxied.client.get(path).header(Header::new("Accept", "text/html"));
    let told = request("/login").header(Header::new("X-Forwarded-Proto", "https")).dispatch().await;
    assert!(told.headers().get("Set-Cookie").all(|line| line.contains("Secure")), "a trusted proxy is believed");
    let direct = plain.client.get("/login").header(Header::new("Accept", "text/html")).header(Header::new("X-Forwarded-Proto", "https"));
    let direct = direct.dispatch().await;
    assert!(direct.headers().get("Set-Cookie").all(|line| !line.contains("Secure")), "nobody else is");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_ends_by_logging_out_by_time_with_the_password_and_never_by_a_restart() {
    let world = World::new().await;
    let mut first = Browser::of(&world, "viewer").await;
    let mut second = Browser::of(&world, "viewer").await;
    let stolen = first.cookies.clone();
    assert_eq!(first.send_form("/logout", &[]).await.header("Location"), Some("/login"));
    let mut thief = Browser::new(&world);
    thief.cookies = stolen;
    assert_eq!(thief.get("/").await.status, 303, "what was logged out is worth nothing");
    second.page("/").await;

    // A person ends what they left open elsewhere, and only their own.
    let third = Browser::of(&world, "viewer").await;
    let page = second.page("/account").await;
    assert!(page.contains("Test/1.0") && page.contains("198.51.100.7"), "{page}");
    let name = page.split("/account/sessions/").nth(1).and_then(|rest| rest.split('/').next()).expect("another is listed").to_owned();
    let mut admin = Browser::of(&world, "admin").await;
    assert_eq!(admin.send_form(&format!("/account/sessions/{name}/end"), &[]).await.status, 404);
    assert_eq!(second.send_form(&format!("/account/sessions/{name}/end"), &[]).await.status, 303);
    let mut ended = Browser { cookies: third.cookies.clone(), ..Browser::new(&world) };
    assert_eq!(ended.get("/").await.status, 303);
    let mut others = [Browser::of(&world, "viewer").await, Browser::of(&world, "viewer").await];
    assert_eq!(second.send_form("/account/sessions/end", &[]).await.status, 303);
    for other in &mut others {
        assert_eq!(other.get("/").await.status, 303);
    }
    assert!(!second.page("/account").await.contains("/account/sessions/"), "nothing else is left to end");
    assert_eq!(admin.get("/").await.status, 200, "other people's sessions go on");

    // What a restart would read from the store still holds the one and not the other.
    let again =
        probemesh::store::web_sessions::WebSessions::open(world.store.database.clone(), world.clock.clone(), Duration::from_secs(60)).await;
    let again = again.expect("sessions open");
    assert_eq!(again.list("viewer").len(), 1);
    assert!(again.find(&second.cookies[SESSION_COOKIE]).is_some());

    world.users.set_password("viewer", "another password", &author()).await.expect("it is set");
    assert_eq!(second.get("/").await.status, 303);

    let mut operator = Browser::of(&world, "operator").await;
    world.clock.advance(Duration::from_secs(86_400)).await;
    assert_eq!(operator.get("/").await.status, 303);
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_passwords_are_told_counted_and_slowed_down() {
    let world = World::new().await;
    let mut browser = Browser::new(&world);
    browser.get("/login").await;
    for _ in 0..6 {
        let refused = browser.send_form("/login", &[("username", "viewer"), ("password", "wr0ng")]).await;
        assert_eq!(refused.status, 401);
        assert!(refused.text.contains("User name or password is wrong") && !refused.text.contains("wr0ng"), "{}", refused.text);
    }
    let slowed = browser.send_form("/login", &[("username", "viewer"), ("password", PASSWORD)]).await;
    assert_eq!(slowed.status, 429);
    assert!(slowed.text.contains("Too many attempts"));
    world.clock.advance(Duration::from_secs(1)).await;
    assert_eq!(browser.send_form("/login", &[("username", "viewer"), ("password", PASSWORD)]).await.status, 303);
    let admin = world.token("admin").await;
    let log = world.get("/api/v1/audit", Some(&admin)).await.expect(200).to_string();
    assert!(log.contains("login.failed") && log.contains("\"page\"") && !log.contains("wr0ng"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_form_without_the_token_of_its_session_changes_nothing() {
    let world = with_service().await;
    let mut operator = Browser::of(&world, "operator").await;
    let mut other = Browser::of(&world, "admin").await;
    let foreign = token_of(&other.page("/").await);
    let mounted = world.client.rocket().routes().filter(|route| route.method == Method::Post && !route.uri.path().starts_with("/api/"));
    let mut mounted: Vec<String> = mounted
        .map(|route| {
            let id = if route.uri.path().starts_with("/services") { "1" } else { "4711" };
            let path = route.uri.path().replace("<id>", id).replace("<key>", "nobody");
            if path.starts_with("/regions/") {
                return path.replace("<name>", "nobody");
            }
            if path.starts_with("/system/") { path.replace("<name>", "operator").replace("<session>", "nobody") } else { path }
        })
        .collect();
    mounted.sort();
    let others = ["/login", "/logout", "/look", "/account/sessions/<name>/end"];
    let mut known: Vec<&str> = FORMS.iter().chain(&ADMINS).chain(&OWN).chain(&others).chain(&PUBLIC).copied().collect();
    known.sort_unstable();
    assert_eq!(mounted, known, "every form is in these lists");
    for path in FORMS.iter().chain(&ADMINS).chain(&OWN).chain(&["/logout"]) {
        for fields in [vec![], vec![("form_token", ""), ("do", "save")], vec![("form_token", foreign.as_str())]] {
            let answer = operator.send_raw(path, &fields).await;
            assert_eq!((answer.status, answer.kind.as_str()), (403, "text/html"), "{path} with {fields:?}");
        }
    }
    // The log-in has a token of its own, so that nobody is logged in as somebody else by another site.
    let mut stranger = Browser::new(&world);
    let answer = stranger.send_raw("/login", &[("form_token", foreign.as_str()), ("username", "viewer"), ("password", PASSWORD)]).await;
    assert_eq!(answer.status, 403);
    assert!(!stranger.cookies.contains_key(SESSION_COOKIE));
    assert_eq!(world.services.list().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_viewer_reads_and_an_operator_changes() {
    let world = with_service().await;
    let mut viewer = Browser::of(&world, "viewer").await;
    for path in PAGES.iter().filter(|path| !path.ends_with("/4711")) {
        assert_eq!(viewer.get(path).await.status, 200, "{path}");
    }
    let overview = viewer.page("/").await;
    assert!(!overview.contains("/services/new"), "what one may not do is not offered");
    assert!(!viewer.page("/services/1").await.contains("Check now"));
    for path in OPERATORS {
        let refused = viewer.get(path).await;
        assert_eq!((refused.status, refused.kind.as_str()), (403, "text/html"), "{path}");
        assert!(refused.text.contains("operator"), "{path}: {}", refused.text);
    }
    for path in FORMS {
        assert_eq!(viewer.send_form(path, &[("do", "save"), ("text", "x")]).await.status, 403, "{path}");
    }
    let mut operator = Browser::of(&world, "operator").await;
    for path in ADMINS {
        assert_eq!(operator.send_form(path, &[("region", "eu-west")]).await.status, 403, "{path}: for admins");
    }
    for path in OPERATORS {
        operator.page(path).await;
    }
    assert!(operator.page("/").await.contains("/services/new"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_api_takes_the_cookie_to_read_and_the_token_with_it_to_change() {
    let world = with_service().await;
    let mut browser = Browser::of(&world, "operator").await;
    let token = token_of(&browser.page("/").await);
    let session = browser.cookies[SESSION_COOKIE].clone();
    let cookie = || Cookie::new(SESSION_COOKIE, session.clone());
    let read = world.client.get("/api/monitor/services/1").cookie(cookie()).dispatch().await;
    assert_eq!(read.status(), Status::Ok);
    let patch = |token: Option<&str>| {
        let request = world
            .client
            .patch("/api/monitor/services/1")
            .cookie(cookie())
            .header(rocket::http::ContentType::JSON)
            .body("{\"timeout_s\": 2}");
        match token {
            Some(token) => request.header(Header::new("X-CSRF-Token", token.to_owned())),
            None => request,
        }
    };
    assert_eq!(patch(None).dispatch().await.status(), Status::Forbidden);
    assert_eq!(patch(Some("nonsense")).dispatch().await.status(), Status::Forbidden);
    assert_eq!(patch(Some(&token)).dispatch().await.status(), Status::Ok);
    // Whoever sends a token of the API is known by that alone.
    let wrong = world.client.get("/api/monitor/services/1").cookie(cookie()).header(Header::new("Authorization", "Bearer nonsense"));
    assert_eq!(wrong.dispatch().await.status(), Status::Unauthorized);
}

#[tokio::test(flavor = "multi_thread")]
async fn everyone_changes_their_own_password_and_only_this_browser_stays_logged_in() {
    let world = with_service().await;
    let mut browser = Browser::of(&world, "viewer").await;
    let mut elsewhere = Browser::of(&world, "viewer").await;
    assert!(browser.page("/account").await.contains("Present password"));
    let new = "a new one, and longer";
    for (present, wanted, again, field, told) in [
        ("not it at all", new, new, "present", "This is not your present password."),
        ("", new, new, "present", "Your present password is needed."),
        (PASSWORD, "short", "short", "new", "At least 8 characters."),
        (PASSWORD, new, "another one", "again", "The two new passwords are not the same."),
        (PASSWORD, PASSWORD, PASSWORD, "new", "It is the present one."),
    ] {
        let refused = browser.send_form("/account/password", &[("present", present), ("new", wanted), ("again", again)]).await;
        assert_eq!(refused.status, 422, "{field}");
        let beside =
            refused.text.split(&format!("name=\"{field}\"")).nth(1).and_then(|rest| rest.split("</label>").next()).expect("it is there");
        assert!(beside.contains(told) && beside.contains("aria-invalid") && !beside.contains(PASSWORD), "{beside}");
    }
    let audited = world.audit.page(0, 1).await.expect("it is read").1.remove(0);
    assert_eq!((audited.action.as_str(), audited.subject.as_str()), ("login.failed", "password"), "the wrong one counts");
    let done = browser.send_form("/account/password", &[("present", PASSWORD), ("new", new), ("again", new)]).await;
    assert_eq!((done.status, done.header("Location")), (303, Some("/account?password=set")), "{}", done.text);
    assert!(browser.page("/account?password=set").await.contains("Your password is changed."));
    assert_eq!(elsewhere.get("/account").await.status, 303, "the other session has ended");
    assert!(!browser.page("/account").await.contains("/account/sessions/"), "and is listed no more");
    let audited = world.audit.page(0, 1).await.expect("it is read").1.remove(0);
    assert_eq!((audited.action.as_str(), audited.who.as_str(), audited.fields), ("user.update", "viewer", vec!["password".to_owned()]));
    let mut stranger = Browser::new(&world);
    stranger.get("/login").await;
    assert_eq!(stranger.send_form("/login", &[("username", "viewer"), ("password", PASSWORD)]).await.status, 401);
    assert_eq!(stranger.send_form("/login", &[("username", "viewer"), ("password", new)]).await.status, 303);
    // Whoever tries the present password at an open browser is held up like at the log-in.
    for _ in 0..6 {
        browser.send_form("/account/password", &[("present", "guess"), ("new", new), ("again", new)]).await;
    }
    let held = browser.send_form("/account/password", &[("present", new), ("new", PASSWORD), ("again", PASSWORD)]).await;
    assert_eq!(held.status, 429, "{}", held.text);
}
