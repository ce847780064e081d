//! The system's pages: who sees which, what they show, and what is done by their forms.

use std::time::Duration;

use probemesh::store::audit::Change;
use probemesh::store::users::Role;
use serde_json::json;

use super::browser::{Browser, token_of};
use crate::api::second_factor::code;
use crate::api_world::{PASSWORD, World, author};

const FOR_ALL: [&str; 6] = ["/system", "/system?hours=1", "/system/actors", "/system/actors/tree", "/account/keys", "/account/keys/new"];
const FOR_ADMINS: [&str; 12] = [
    "/system/logs",
    "/system/logs/lines",
    "/system/settings",
    "/system/users",
    "/system/users/new",
    "/system/users/viewer",
    "/system/users/viewer/delete",
    "/system/keys",
    "/system/keys/new",
    "/system/audit",
    "/system/backup",
    "/system/backup.json",
];
const FORMS: [&str; 9] = [
    "/system/users/new",
    "/system/users/operator",
    "/system/users/operator/delete",
    "/system/users/operator/second-factor/off",
    "/system/users/operator/identity/unlink",
    "/system/users/operator/sessions/nobody/end",
    "/system/keys/new",
    "/system/keys/nobody/revoke",
    "/system/collect",
];

#[tokio::test(flavor = "multi_thread")]
async fn everybody_sees_health_and_actors_and_only_admins_the_rest() {
    let world = World::new().await;
    let mut stranger = Browser::new(&world);
    for path in FOR_ALL.iter().chain(&FOR_ADMINS) {
        assert_eq!(stranger.get(path).await.status, 303, "{path}");
    }
    for name in ["viewer", "operator"] {
        let mut browser = Browser::of(&world, name).await;
        for path in FOR_ALL {
            let page = browser.page(path).await;
            assert!(!page.contains("href=\"/system/users\""), "{path} offers {name} what they may not");
        }
        for path in FOR_ADMINS {
            assert_eq!(browser.get(path).await.status, 403, "{path} as {name}");
        }
        for path in FORMS.iter().filter(|path| name == "viewer" || **path != "/system/collect") {
            assert_eq!(browser.send_form(path, &[]).await.status, 403, "{path} as {name}");
        }
    }
    let mut admin = Browser::of(&world, "admin").await;
    for path in FOR_ALL.iter().chain(&FOR_ADMINS) {
        assert_eq!(admin.get(path).await.status, 200, "{path}");
    }
    for path in FORMS.iter().chain(&["/account/keys/new", "/account/second-factor", "/account/second-factor/off"]) {
        assert_eq!(admin.send_raw(path, &[("form_token", "guessed")]).await.status, 403, "{path} without the page's token");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn health_is_told_in_a_word_with_figures_and_trends() {
    let world = World::new().await;
    let mut browser = Browser::of(&world, "operator").await;
    let page = browser.page("/system").await;
    for part in ["healthy", "Nothing speaks against it", "Memory", "mem://", "Look now", "href=\"/system?hours=168\""] {
        assert!(page.contains(part), "{part} in {page}");
    }
    for _ in 0..8 {
        world.clock.advance(Duration::from_secs(120)).await;
        assert_eq!(browser.send_form("/system/collect", &[]).await.header("Location"), Some("/system"));
    }
    let page = browser.page("/system?hours=1").await;
    assert!(page.matches("class=\"trend\"").count() > 5, "{page}");
    assert!(page.contains("steady at about") || page.contains("rising from"), "{page}");
    assert_eq!(browser.get("/system?hours=0").await.status, 400);
    assert!(!Browser::of(&world, "viewer").await.page("/system").await.contains("Look now"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_actor_tree_shows_states_and_the_part_alone_is_drawn_anew() {
    let world = World::new().await;
    let mut browser = Browser::of(&world, "viewer").await;
    let page = browser.page("/system/actors").await;
    for part in ["supervisor", "running", "1 actor", "data-live=\"/system/actors/tree\"", "assignments 3"] {
        assert!(page.contains(part), "{part} in {page}");
    }
    let part = browser.page("/system/actors/tree").await;
    assert!(part.contains("supervisor") && !part.contains("<html"), "{part}");
}

#[tokio::test(flavor = "multi_thread")]
async fn logs_are_filtered_escaped_and_the_newest_is_on_top() {
    let world = World::new().await;
    let lines = [
        json!({"timestamp": "2026-11-22T08:00:00.000Z", "level": "INFO", "message": "first <b>line</b>", "target": "probemesh", "service": 7}),
        json!({"timestamp": "2026-11-22T08:00:01.000Z", "level": "WARN", "message": "second line", "target": "probemesh"}),
        json!({"timestamp": "2026-11-22T08:00:02.000Z", "level": "ERROR", "message": "Third line", "target": "probemesh"}),
    ];
    let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
    std::fs::write(world.logs.path().join("monitor.log"), text + "{\"torn").expect("the log is written");
    let health = "{\"time\": \"2026-11-22T08:00:00.000Z\", \"service\": \"shop\", \"ok\": true}\n{\"time\": \"2026-11-22T08:00:01.000Z\", \"service\": \"cart\", \"ok\": false, \"reason\": \"dns\"}\n";
    std::fs::write(world.logs.path().join("health.log"), health).expect("the log is written");
    let mut browser = Browser::of(&world, "admin").await;
    let page = browser.page("/system/logs").await;
    assert!(page.contains("first &#60;b&#62;line") || page.contains("first &lt;b&gt;line"), "{page}");
    let place = |text: &str| page.find(text).unwrap_or_else(|| panic!("{text} in {page}"));
    assert!(place("Third line") < place("second line") && place("second line") < place("2026-11-22 08:00 UTC"));
    assert!(page.contains("torn") && page.contains("<span>service</span>=7"), "{page}");
    let shown = |page: &str| ["first", "second line", "Third", "shop", "cart"].map(|word| page.contains(word));
    for (query, expected) in [
        ("level=warn", [false, true, true, false, false]),
        ("level=error", [false, false, true, false, false]),
        ("search=THIRD", [false, false, true, false, false]),
        ("log=health", [false, false, false, true, true]),
        ("log=health&level=error", [false, false, false, false, true]),
    ] {
        assert_eq!(shown(&browser.page(&format!("/system/logs/lines?{query}")).await), expected, "{query}");
    }
    assert!(browser.page("/system/logs?search=nothing+of+it").await.contains("No line fits"));
    assert_eq!(browser.get("/system/logs?level=loud").await.status, 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_say_where_they_came_from_and_no_secret() {
    let world = World::new().await;
    let page = Browser::of(&world, "admin").await.page("/system/settings").await;
    for part in ["[store]", "********", "DATABASE_PASSWORD", "Rocket.toml", "default", "PROBEMESH_LOG__LEVEL"] {
        assert!(page.contains(part), "{part} in {page}");
    }
    assert!(!page.contains("hunter2"), "{page}");
}

#[tokio::test(flavor = "multi_thread")]
async fn users_are_made_changed_locked_out_and_ended() {
    let world = World::new().await;
    let mut admin = Browser::of(&world, "admin").await;
    let wrong = admin.send_form("/system/users/new", &[("username", "ada"), ("password", "short"), ("role", "viewer")]).await;
    assert_eq!(wrong.status, 422);
    assert!(
        wrong.text.contains("8 to 1024 bytes") && wrong.text.contains("value=\"ada\"") && !wrong.text.contains("short"),
        "{}",
        wrong.text
    );
    let made = admin.send_form("/system/users/new", &[("username", "ada"), ("password", PASSWORD), ("role", "viewer")]).await;
    assert_eq!(made.header("Location"), Some("/system/users"), "{}", made.text);
    let mut ada = Browser::of(&world, "ada").await;
    let page = admin.page("/system/users/ada").await;
    assert!(page.contains("Test/1.0") && page.contains("viewer"), "{page}");

    // One session ends, then all with the role.
    let name = page.split("/system/users/ada/sessions/").nth(1).and_then(|rest| rest.split('/').next()).expect("it is listed").to_owned();
    assert_eq!(admin.send_form(&format!("/system/users/ada/sessions/{name}/end"), &[]).await.status, 303);
    assert_eq!(ada.get("/").await.status, 303);
    let mut ada = Browser::of(&world, "ada").await;
    admin.send_form("/system/users/ada", &[("role", "operator")]).await;
    assert_eq!((world.users.get("ada").expect("there").role, ada.get("/").await.status), (Role::Operator, 303));
    admin.send_form("/system/users/ada", &[("password", "another password")]).await;
    assert!(world.users.verify("ada", "another password").await.is_some());
    admin.send_form("/system/users/ada", &[("disabled", "true")]).await;
    assert!(world.users.verify("ada", "another password").await.is_none());
    assert!(admin.page("/system/users").await.contains("disabled"));
    admin.send_form("/system/users/ada", &[("disabled", "false")]).await;
    assert!(world.users.verify("ada", "another password").await.is_some());

    let last = admin.send_form("/system/users/admin", &[("role", "viewer")]).await;
    assert_eq!(last.status, 409);
    assert!(last.text.contains("is the last admin"), "{}", last.text);
    let asked = admin.page("/system/users/ada/delete").await;
    assert!(asked.contains("Delete user") && asked.contains("action=\"/system/users/ada/delete\""), "{asked}");
    admin.send_form("/system/users/ada/delete", &[]).await;
    assert!(world.users.get("ada").is_none());
    assert_eq!(admin.get("/system/users/ada").await.status, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_is_given_a_channel_of_their_own_and_rid_of_it() {
    let world = World::new().await;
    let token = world.token("admin").await;
    for name in ["ops", "chat"] {
        let body = json!({"name": name, "kind": "webhook", "config": {"url": "http://127.0.0.1:9/x"}, "save_anyway": true});
        world.post("/api/v1/alerts/channels/", Some(&token), body).await.expect(201);
    }
    let mut admin = Browser::of(&world, "admin").await;
    let mut viewer = Browser::of(&world, "viewer").await;
    assert!(admin.page("/system/users/viewer").await.contains("<option value=\"\">none</option>"));
    assert_eq!(admin.send_form("/system/users/viewer", &[("channel", "chat")]).await.status, 303);
    let told_by = || world.users.channel("viewer").and_then(|id| world.channels.get(id)).map(|channel| channel.name.clone());
    assert_eq!(told_by().as_deref(), Some("chat"));
    let page = admin.page("/system/users/viewer").await;
    assert!(page.contains("<option value=\"chat\" selected>") && page.contains("<option value=\"ops\">"), "{page}");
    let wrong = admin.send_form("/system/users/viewer", &[("channel", "pigeon")]).await;
    assert_eq!(wrong.status, 422);
    assert!(wrong.text.contains("there is no channel") && told_by().as_deref() == Some("chat"), "{}", wrong.text);
    assert_eq!(admin.send_form("/system/users/viewer", &[("channel", "")]).await.status, 303);
    assert_eq!(told_by(), None);
    viewer.page("/").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_made_by_a_form_shown_once_and_revoked() {
    let world = World::new().await;
    let mut viewer = Browser::of(&world, "viewer").await;
    assert!(viewer.page("/account").await.contains("href=\"/account/keys\""));
    let mistyped = viewer.send_form("/account/keys/new", &[("name", "x"), ("scopes", "read"), ("expires_days", "abc")]).await;
    let days = mistyped.text.split("name=\"expires_days\"").nth(1).and_then(|rest| rest.split("</label>").next()).unwrap_or_default();
    assert!(mistyped.status == 422 && days.contains("must be a number, not"), "{}", mistyped.text);
    let form = viewer.page("/account/keys/new").await;
    assert!(form.contains("value=\"read\" checked") && !form.contains("value=\"admin\"") && !form.contains("name=\"owner\""), "{form}");
    let wrong = viewer.send_form("/account/keys/new", &[("name", ""), ("role", "operator"), ("expires_days", "soon")]).await;
    assert_eq!(wrong.status, 422, "{}", wrong.text);
    let fields = [("name", "pipeline"), ("role", "viewer"), ("scopes", "read"), ("scopes", "results"), ("expires_days", "7")];
    let made = viewer.send_form("/account/keys/new", &fields).await;
    assert_eq!(made.status, 200, "{}", made.text);
    let key = made.text.split("id=\"made-key\">").nth(1).and_then(|rest| rest.split('<').next()).expect("it is shown").to_owned();
    world.get("/api/monitor/services/", Some(&key)).await.expect(200);
    let page = viewer.page("/account/keys").await;
    assert!(page.contains("pipeline") && page.contains(&key[..8]) && !page.contains(&key), "{page}");

    let mut admin = Browser::of(&world, "admin").await;
    assert!(!admin.page("/account/keys").await.contains("pipeline"), "one's own");
    assert!(admin.page("/system/keys").await.contains("pipeline"), "those of all");
    let other =
        admin.send_form("/system/keys/new", &[("name", "theirs"), ("owner", "operator"), ("role", "operator"), ("scopes", "issues")]).await;
    assert_eq!(other.status, 200, "{}", other.text);
    let theirs = world.api_keys.list(Some("operator"));
    assert_eq!((theirs.len(), theirs[0].created_by.as_str()), (1, "admin"));
    assert_eq!(viewer.send_form(&format!("/account/keys/{}/revoke", theirs[0].id), &[]).await.status, 404);
    let own = world.api_keys.list(Some("viewer"));
    assert_eq!(viewer.send_form(&format!("/account/keys/{}/revoke", own[0].id), &[]).await.status, 303);
    world.get("/api/monitor/services/", Some(&key)).await.problem(401);
    assert_eq!(admin.send_form(&format!("/system/keys/{}/revoke", theirs[0].id), &[]).await.status, 303);
    assert!(world.api_keys.list(None).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_factor_is_turned_on_asked_for_and_turned_off() {
    let world = World::new().await;
    let mut browser = Browser::of(&world, "viewer").await;
    assert!(browser.page("/account").await.contains("Turn on"));
    let page = browser.page("/account/second-factor").await;
    assert!(page.contains("class=\"qr\"") && !page.contains("<img"), "the picture is drawn here: {page}");
    let secret = page.split("id=\"secret\">").nth(1).and_then(|rest| rest.split('<').next()).expect("it is shown").to_owned();
    let wrong = browser.send_form("/account/second-factor", &[("code", "000000")]).await;
    assert_eq!(wrong.status, 422);
    assert!(wrong.text.contains("The code is wrong") && wrong.text.contains(&secret), "the same secret again: {}", wrong.text);
    let on = browser.send_form("/account/second-factor", &[("code", &code(&world, &secret))]).await;
    assert_eq!(on.status, 200, "{}", on.text);
    let recovery: Vec<String> = on
        .text
        .split("id=\"recovery\">")
        .nth(1)
        .and_then(|rest| rest.split("</pre>").next())
        .expect("shown")
        .split_whitespace()
        .map(str::to_owned)
        .collect();
    assert_eq!(recovery.len(), 8);
    assert!(browser.page("/account").await.contains("recovery codes left: 8"));

    // A password leads to a second step, and no further.
    world.clock.advance(Duration::from_secs(30)).await;
    let mut other = Browser::new(&world);
    let form = token_of(&other.page("/login?next=/regions").await);
    let step =
        other.send_raw("/login", &[("form_token", &form), ("next", "/regions"), ("username", "viewer"), ("password", PASSWORD)]).await;
    assert_eq!(step.status, 200);
    assert!(step.text.contains("name=\"code\"") && !step.text.contains("name=\"password\""), "{}", step.text);
    assert_eq!(other.get("/").await.status, 303, "not in yet");
    let ticket =
        step.text.split("name=\"ticket\" value=\"").nth(1).and_then(|rest| rest.split('"').next()).expect("it is there").to_owned();
    let second = |code: String| {
        let fields = [("form_token", form.as_str()), ("next", "/regions"), ("ticket", &ticket), ("username", "viewer"), ("code", &code)];
        fields.map(|(name, value)| (name, value.to_owned()))
    };
    async fn sent(browser: &mut Browser<'_>, fields: [(&str, String); 5]) -> crate::api_world::Answer {
        let fields: Vec<(&str, &str)> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
        browser.send_raw("/login", &fields).await
    }
    let refused = sent(&mut other, second("111111".to_owned())).await;
    assert_eq!(refused.status, 401);
    assert!(refused.text.contains("The code is wrong") && refused.text.contains("name=\"ticket\""), "{}", refused.text);
    let entered = sent(&mut other, second(code(&world, &secret))).await;
    assert_eq!((entered.status, entered.header("Location")), (303, Some("/regions")), "{}", entered.text);

    // A ticket lets nobody in by itself, and not for long.
    let mut thief = Browser::new(&world);
    let form = token_of(&thief.page("/login").await);
    for ticket in ["nonsense", ticket.as_str()] {
        world.clock.advance(Duration::from_secs(150)).await;
        let refused = thief.send_raw("/login", &[("form_token", &form), ("ticket", ticket), ("code", &recovery[1])]).await;
        assert_eq!(refused.status, 401, "{}", refused.text);
        assert!(refused.text.contains("name=\"password\""), "{}", refused.text);
    }

    let kept = browser.send_form("/account/second-factor/off", &[("code", "111111")]).await;
    assert_eq!(kept.status, 422);
    assert!(world.second_factors.of(&world.users.get("viewer").expect("there")).is_some());
    assert_eq!(browser.send_form("/account/second-factor/off", &[("code", &recovery[0])]).await.status, 303);
    Browser::of(&world, "viewer").await.page("/").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_admin_helps_whoever_lost_their_phone() {
    let world = World::new().await;
    let user = world.users.get("operator").expect("there");
    let shown = world.second_factors.begin(&user).expect("it begins");
    world.second_factors.confirm(&user, &code(&world, &shown.secret), &author()).await.expect("it is on");
    let mut admin = Browser::of(&world, "admin").await;
    let page = admin.page("/system/users/operator").await;
    assert!(page.contains("/system/users/operator/second-factor/off"), "{page}");
    assert_eq!(admin.send_form("/system/users/operator/second-factor/off", &[]).await.status, 303);
    Browser::of(&world, "operator").await.page("/").await;
    let log = admin.page("/system/audit?action=second_factor").await;
    assert!(log.contains("second_factor.off") && log.contains("user:operator"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_audit_log_is_filtered_and_paged() {
    let world = World::new().await;
    let mut admin = Browser::of(&world, "admin").await;
    for number in 0..60 {
        let subject = format!("user:user{number:02}");
        let change = Change { who: "test".to_owned(), address: None, action: "user.create", subject, fields: Vec::new() };
        world.audit.record(&change).await.expect("it is recorded");
    }
    let first = admin.page("/system/audit").await;
    assert!(first.contains("user:user59") && !first.contains("user:user00"), "{first}");
    let next = first
        .split("href=\"/system/audit?")
        .nth(1)
        .and_then(|rest| rest.split('"').next())
        .expect("there is more")
        .replace("&#38;", "&")
        .replace("&amp;", "&");
    let second = admin.page(&format!("/system/audit?{next}")).await;
    assert!(second.contains("user:user00") && !second.contains("user:user59"), "{second}");
    let one = admin.page("/system/audit?subject=user31&action=user.&who=").await;
    assert!(one.contains("user:user31") && !one.contains("user:user30"), "{one}");
    let own = admin.page("/system/audit?who=admin").await;
    assert!(own.contains("login.succeeded") && !own.contains("user:user31"), "{own}");
    assert!(admin.page("/system/audit?until=2026-01-01T00:00:00Z").await.contains("Nothing fits"));
    assert!(admin.page("/system/audit?since=yesterday").await.contains("must be a time"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_holds_no_secret_and_its_services_come_back() {
    let world = World::new().await;
    let operator = world.token("operator").await;
    let service = json!({"name": "shop", "base_url": "https://shop.example", "headers": {"Authorization": "Bearer hunter2"}});
    world.service(&operator, service).await;
    let mut admin = Browser::of(&world, "admin").await;
    assert!(admin.page("/system/backup").await.contains("href=\"/system/backup.json\""));
    let answer = admin.get("/system/backup.json").await;
    assert_eq!(answer.header("Content-Disposition"), Some("attachment; filename=\"probemesh-2026-11-22.json\""));
    let backup = answer.json();
    assert_eq!(
        (&backup["format"], &backup["services"][0]["name"], &backup["users"][0]["username"]),
        (&json!(2), &json!("shop"), &json!("admin"))
    );
    for secret in ["hunter2", "argon2", PASSWORD] {
        assert!(!answer.text.contains(secret), "{secret} in {}", answer.text);
    }
    let empty = admin.send_form("/system/backup", &[("text", " "), ("do", "look")]).await;
    assert!(empty.status == 422 && empty.text.contains("Choose a file or paste its text first"), "{}", empty.text);
    // Changed meanwhile, and brought back: the mask stands for the secret that is kept.
    let changed = json!({"base_url": "https://shop.example/v2"});
    world.send(rocket::http::Method::Patch, "/api/monitor/services/1/", Some(&operator), Some(changed)).await.expect(200);
    let sent = admin.send_form("/services/import", &[("text", answer.text.as_str()), ("update", "true"), ("do", "import")]).await;
    assert_eq!(sent.status, 303, "{}", sent.text);
    let kept = world.services.find_by_name("shop").expect("it is there");
    let document = serde_json::to_value(&kept.document).expect("it is JSON");
    assert_eq!((&document["base_url"], &document["headers"]["Authorization"]), (&json!("https://shop.example"), &json!("Bearer hunter2")));
    // On another hub there is nothing it could stand for.
    let other = World::new().await;
    let mut admin = Browser::of(&other, "admin").await;
    let sent = admin.send_form("/services/import", &[("text", answer.text.as_str()), ("do", "import")]).await;
    assert_eq!(sent.status, 422);
    assert!(sent.text.contains("headers") && sent.text.contains("is a mask"), "{}", sent.text);
    assert!(other.services.list().is_empty());
}
