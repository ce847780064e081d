//! The first hour of a person with the pages, in a real browser on a real hub, without a mouse where that matters.

use probemesh_browser::driver::{Driver, Window};
use probemesh_browser::hub::{Hub, PASSWORD};
use probemesh_browser::judge::{is_usable_by_all, nothing_is_wrong_with};
use probemesh_browser::target::Target;
use probemesh_browser::until;
use serde_json::{Value, json};

#[test]
fn from_the_first_log_in_to_an_incident_taken_on() {
    let (driver, target) = (Driver::start(), Target::start());
    let hub = Hub::start(&json!([]));
    let page = driver.open(Window::DESK);

    page.go(&hub.address());
    page.sees("Log in");
    is_usable_by_all(&page);
    page.fill("input[name=username]", "admin");
    page.fill("input[name=password]", "wrong password");
    page.click("form.stack button");
    page.sees("User name or password is wrong");
    // That answer is an error by its number, which the browser notes.
    page.complaints();
    page.log_in(&hub.address(), PASSWORD);
    page.sees("Add the first service");
    is_usable_by_all(&page);

    // The empty page leads to the form, which knows the address already.
    page.fill("#quick-url", &format!("{}/health", target.address()));
    page.click(".quick button");
    page.sees("Add a service");
    is_usable_by_all(&page);
    page.fill("input[name=name]", "Payments");
    page.fill("input[name=interval_s]", "2");
    page.fill("textarea[name=json]", "$.status = \"ok\"");
    page.click("button[value=try]:not(.sr)");
    page.sees("What the hub saw just now");
    page.sees("Passed");
    is_usable_by_all(&page);
    page.click("button[value=save]:not(.sr)");

    // It turns green before one's eyes, without loading the page.
    page.sees("Payments is up in 1 region");
    nothing_is_wrong_with(&page);
    page.go(&format!("{}/", hub.address()));
    page.sees("Payments is up in 1 region");
    page.run("window.still = true");

    target.set_broken(true);
    page.sees("Payments down: status code, since");
    assert_eq!(page.run("return window.still"), json!(true), "the page was not loaded again");
    page.sees("Down 1");
    is_usable_by_all(&page);
    nothing_is_wrong_with(&page);

    page.click(".open-incidents a");
    page.sees("Where it broke");
    page.sees("expected status 200-299, got 503");
    is_usable_by_all(&page);
    page.click("#acknowledge");
    page.sees("Acknowledged by admin");
    page.fill(".note textarea", "The database is being restarted.");
    page.click(".note button");
    page.sees("The database is being restarted.");

    target.set_broken(false);
    page.sees("lasted");
    page.go(&format!("{}/", hub.address()));
    page.sees("Payments is up in 1 region");
    nothing_is_wrong_with(&page);

    page.click(".me button");
    page.sees("Log in");
    page.go(&format!("{}/services/1", hub.address()));
    page.sees("Log in");
}

/// A hub with some services, each with its verdict.
fn some_services(target: &Target) -> Hub {
    let service = |name: &str, group: &str, path: &str| json!({"name": name, "base_url": target.address(), "health_path": path, "group": group, "interval_s": 4, "tags": ["demo"], "public": true});
    let mut services = vec![service("Shop", "Web", "/shop"), service("Search", "Web", "/search"), service("Mail", "Core", "/mail")];
    services.push(json!({"name": "Closed", "base_url": "http://127.0.0.1:9", "interval_s": 4}));
    let hub = Hub::start(&Value::Array(services));
    until("every verdict", || {
        let summary = hub.call("GET", "/api/monitor/health/summary/", None);
        let verdicts: Vec<String> =
            summary["services"].as_array()?.iter().map(|one| one["verdict"].as_str().unwrap_or_default().to_owned()).collect();
        (verdicts == ["up", "up", "up", "down"]).then_some(())
    });
    hub
}

#[test]
fn the_overview_is_searched_filtered_and_walked_by_keys() {
    let (driver, target) = (Driver::start(), Target::start());
    let hub = some_services(&target);
    let page = driver.open(Window::DESK);
    page.log_in(&hub.address(), PASSWORD);
    page.sees("Closed down: connection, since");
    let shown = || page.run("return [...document.querySelectorAll('.rows .row:not([hidden]) a')].map((a) => a.textContent)");
    assert_eq!(shown(), json!(["Closed", "Mail", "Search", "Shop"]), "what is down comes first");
    page.press("/");
    page.press("sh");
    until("one row", || (shown() == json!(["Shop"])).then_some(()));
    assert!(page.address().ends_with("/?q=sh"), "{}", page.address());
    page.press("\u{e00c}");
    until("all rows", || (shown().as_array().map(Vec::len) == Some(4)).then_some(()));
    page.click(".chip.down");
    until("the one that is down", || (shown() == json!(["Closed"])).then_some(()));
    page.press("\u{e00c}");
    page.press("jjjk");
    assert_eq!(page.run("return document.activeElement.textContent"), json!("Mail"));
    page.press("j\u{e007}");
    page.sees("Search is up in 1 region");
    page.click("#check-now button");
    page.sees("Checked just now");
    nothing_is_wrong_with(&page);
}

#[test]
fn every_page_is_usable_by_all_in_light_dark_phone_and_right_to_left() {
    let (driver, target) = (Driver::start(), Target::start());
    let hub = some_services(&target);
    let incident = until("an incident", || {
        let found = hub.call("GET", "/api/v1/incidents", None);
        found["results"][0]["id"].as_str().map(str::to_owned)
    });
    let made = |path: &str, body: Value| drop(hub.call("POST", path, Some(body)));
    made(
        "/api/v1/maintenance/issues",
        json!({"title": "Closed does not answer", "issue_type": "bug", "priority": "high", "labels": ["web"], "description": "Since **Monday**", "service": 4}),
    );
    made("/api/v1/maintenance/issues/1/comments", json!({"body": "I look at it"}));
    made("/api/v1/alerts/channels", json!({"name": "Desk", "kind": "webhook", "config": {"url": target.address()}}));
    made("/api/v1/api-keys", json!({"name": "deploy pipeline", "scopes": ["read", "services"], "expires_days": 90}));
    made("/api/v1/maintenance-windows", json!({"title": "By hand", "kind": "manual", "start": true, "services": ["Mail"]}));
    made("/api/v1/slos", json!({"name": "Shop is up", "service": "Shop", "objective": 99.9, "least_coverage": 0}));
    made("/api/v1/slos", json!({"name": "Closed is up", "service": "Closed", "objective": 99, "least_coverage": 0}));
    let digest = hub.call("POST", "/api/monitor/digests/run/", Some(json!({"period_hours": 1})));
    let digest = format!("/digests/{}", digest["id"].as_str().expect("it has an id"));
    let pages = [
        "/admin/",
        "/digests",
        &digest,
        "/findings",
        "/performance",
        "/performance?hours=1",
        "/performance?region=nowhere",
        "/slos",
        "/slos/new",
        "/slos/1",
        "/slos/1/delete",
        "/status",
        "/status/subscribe",
        "/status/confirm/nobody",
        "/issues",
        "/issues?view=list",
        "/issues/new",
        "/issues/1",
        "/issues/1/edit",
        "/alerts",
        "/alerts/rules",
        "/alerts/rules/new",
        "/alerts/rules/1",
        "/alerts/channels",
        "/alerts/channels/new",
        "/alerts/channels/new?kind=email",
        "/alerts/channels/1",
        "/alerts/channels/1/delete",
        "/alerts/deliveries",
        "/alerts/windows",
        "/alerts/windows/new",
        "/alerts/windows/1",
        "/alerts/subscribers",
        "/",
        "/services/1",
        "/services/1?range=1h",
        "/services/1?from=2026-01-01T00:00&to=2026-01-02T00:00",
        "/services/1?from=nonsense",
        "/services/4",
        "/services/1/edit",
        "/services/1/delete",
        "/services/new",
        "/services/import",
        "/incidents",
        &format!("/incidents/{incident}"),
        "/no/such/page",
        "/account",
        "/account/keys",
        "/account/keys/new",
        "/account/second-factor",
        "/system",
        "/system/actors",
        "/system/logs",
        "/system/settings",
        "/system/users",
        "/system/users/new",
        "/system/users/admin",
        "/system/keys",
        "/system/keys/new",
        "/system/audit",
        "/system/backup",
    ];
    for window in [Window::DESK, Window::DARK, Window::PHONE] {
        let page = driver.open(window);
        page.log_in(&hub.address(), PASSWORD);
        page.sees("Closed down");
        for path in pages {
            page.go(&format!("{}{path}", hub.address()));
            is_usable_by_all(&page);
            let wide = page.run("return document.documentElement.scrollWidth - document.documentElement.clientWidth");
            assert_eq!(wide, json!(0), "{path} is as wide as the window {window:?}");
            let expected = |line: &String| line.contains("404") || line.contains("400");
            let complaints: Vec<String> = page.complaints().into_iter().filter(|line| !expected(line)).collect();
            assert_eq!(complaints, Vec::<String>::new(), "{path}");
        }
        page.go(&hub.address());
        page.run("document.querySelector('.menu').open = true");
        page.click("button[value=fa]");
        page.sees("از کار افتاده");
        for path in pages {
            page.go(&format!("{}{path}", hub.address()));
            assert_eq!(page.run("return getComputedStyle(document.body).direction"), json!("rtl"));
            is_usable_by_all(&page);
            let wide = page.run("return document.documentElement.scrollWidth - document.documentElement.clientWidth");
            assert_eq!(wide, json!(0), "{path} is as wide as the window {window:?}, right to left");
        }
    }
}

#[test]
fn without_a_script_everything_is_read_and_changed_all_the_same() {
    let (driver, target) = (Driver::start(), Target::start());
    let hub = some_services(&target);
    let page = driver.open_without_scripts(Window::DESK);
    page.log_in(&hub.address(), PASSWORD);
    let source = || page.source();
    until("the overview", || source().contains("Closed down: connection, since").then_some(()));
    assert!(source().contains(" UTC</time>"), "times are told in UTC");
    page.click("a[href='/services/1']");
    until("the service", || source().contains("Last checks").then_some(()));
    page.click("#check-now button");
    until("the check is made", || page.address().ends_with("/services/1#checks").then_some(()));
    page.click("form[action='/services/1/enabled'] button");
    until("it is paused", || source().contains("Shop is paused").then_some(()));
}

#[test]
fn an_issue_is_dragged_and_walked_over_the_board_and_a_digest_is_asked_for() {
    let (driver, target) = (Driver::start(), Target::start());
    let hub = some_services(&target);
    hub.call("POST", "/api/v1/maintenance/issues", Some(json!({"title": "Cart loses items", "issue_type": "bug", "priority": "high"})));
    let page = driver.open(Window::DESK);
    page.log_in(&hub.address(), PASSWORD);
    page.sees("Closed down");
    page.go(&format!("{}/issues", hub.address()));
    page.sees("Cart loses items");
    let status = || hub.call("GET", "/api/v1/maintenance/issues/1", None)["status"].clone();
    let drag = |to: &str| {
        page.run(&format!(
            "const card = document.querySelector('.ticket'), column = document.querySelector('.column[data-status={to}]'), dataTransfer = new DataTransfer();\
             for (const [place, name] of [[card, 'dragstart'], [column, 'dragover'], [column, 'drop'], [card, 'dragend']])\
               place.dispatchEvent(new DragEvent(name, {{dataTransfer, bubbles: true, cancelable: true}}));"
        ));
    };
    // Where it may not go it stays.
    drag("closed");
    drag("triaged");
    until("the step", || (status() == json!("triaged")).then_some(()));
    page.sees("Cart loses items");
    until("the card is in the column", || page.has(".column[data-status=triaged] .ticket").then_some(()));
    // A step back takes a word.
    drag("reported");
    page.fill("#why input", "too early");
    page.click("#why button[value=move]");
    until("the step back", || (status() == json!("reported")).then_some(()));
    until("the card is back", || page.has(".column[data-status=reported] .ticket").then_some(()));
    // By the keyboard alone.
    page.run("document.querySelector('.ticket summary').focus()");
    page.press("\u{e007}\u{e004}\u{e004}\u{e007}");
    until("the step by keys", || (status() == json!("triaged")).then_some(()));
    nothing_is_wrong_with(&page);

    page.go(&format!("{}/digests", hub.address()));
    page.sees("No digest yet");
    page.click("#run button");
    page.sees("How it was written");
    page.sees("Local writer");
    nothing_is_wrong_with(&page);
}
