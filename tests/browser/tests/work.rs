//! What a team does all day: an issue goes its way, a machine joins, a digest is written, results are taken home, and the
//! public looks on.

use probemesh_browser::driver::{Driver, Page, Window, free_port};
use probemesh_browser::hub::{Hub, Node, PASSWORD};
use probemesh_browser::judge::is_usable_by_all;
use probemesh_browser::target::Target;
use probemesh_browser::until;
use serde_json::{Value, json};

fn hub(target: &Target, settings: &[(&str, &str)]) -> Hub {
    let service = |name: &str, public: bool| json!({"name": name, "base_url": target.address(), "health_path": "/health", "interval_s": 2, "public": public});
    Hub::start_with(&json!([service("Shop", true), service("Ledger", false)]), settings)
}

fn logged_in(driver: &Driver, hub: &Hub) -> Page {
    let page = driver.open(Window::DESK);
    page.log_in(&hub.address(), PASSWORD);
    page.sees("All 2 services up");
    page
}

#[test]
fn an_issue_is_filed_talked_about_and_moved_to_its_end() {
    let (driver, target) = (Driver::start(), Target::start());
    let hub = hub(&target, &[]);
    let page = logged_in(&driver, &hub);
    page.go(&format!("{}/issues", hub.address()));
    page.click(".empty a.button, .actions a.primary");
    page.fill("input[name=title]", "Shop is slow at noon");
    page.fill("textarea[name=description]", "Since **Monday**; <script>alert(1)</script>");
    page.click("button[value=save]:not(.sr), form .primary");
    page.sees("Shop is slow at noon");
    assert!(page.has(".prose strong"), "Markdown is shown as text with emphasis");
    assert!(!page.has(".prose script"));
    page.fill("textarea[name=body]", "It is the cache.");
    page.click(".note button");
    page.sees("It is the cache.");
    let step = |status: &str, word: &str| {
        page.fill("input[name=reason]", &format!("on to {status}"));
        page.click(&format!(".moves button[value={status}]"));
        page.sees(word);
    };
    step("triaged", "on to triaged");
    page.run("document.querySelector('select[name=assignee]').value = 'admin'");
    step("assigned", "on to assigned");
    for status in ["in_progress", "testing", "resolved", "verified", "closed"] {
        step(status, &format!("on to {status}"));
    }
    let issue = hub.call("GET", "/api/v1/maintenance/issues/1", None);
    assert_eq!((&issue["status"], &issue["assignee"]), (&json!("closed"), &json!("admin")));
    assert_eq!(page.complaints(), Vec::<String>::new());

    // On the board a card goes by the same steps.
    hub.call("POST", "/api/v1/maintenance/issues", Some(json!({"title": "Second", "issue_type": "bug"})));
    page.go(&format!("{}/issues", hub.address()));
    page.click("[data-id='2'] summary");
    page.click("[data-id='2'] button[value=triaged]");
    until("the card has moved", || page.has("[data-status=triaged] [data-id='2']").then_some(()));
}

#[test]
fn a_machine_joins_and_is_seen_to_turn_green() {
    let (driver, target) = (Driver::start(), Target::start());
    let listen = format!("127.0.0.1:{}", free_port());
    let hub = hub(&target, &[("PROBEMESH_MESH__LISTEN", listen.as_str())]);
    let page = logged_in(&driver, &hub);
    page.go(&format!("{}/regions", hub.address()));
    page.fill("#region", "eu-west");
    page.click("form.quick button");
    page.sees("eu-west");
    let commands = page.run("return [...document.querySelectorAll('pre.command')].map((one) => one.textContent)");
    let commands: Vec<String> =
        commands.as_array().map(|all| all.iter().filter_map(Value::as_str).map(str::to_owned).collect()).unwrap_or_default();
    assert_eq!(commands.len(), 2, "{commands:?}");
    page.run("window.still = true");

    // What the page says is typed on the other machine, as it stands there.
    let _node = Node::start([&commands[0], &commands[1]]);
    let green = "return [...document.querySelectorAll('[data-live] section')].some((one) => one.textContent.includes('eu-west') && one.querySelector('h2 .up') !== null)";
    until("the region is green", || (page.run(green) == json!(true)).then_some(()));
    page.sees("of eu-west is here");
    assert_eq!(page.run("return window.still"), json!(true), "the page was not loaded again");
    page.go(&hub.address());
    page.sees("All 2 services up in 2 regions");
    assert_eq!(page.complaints(), Vec::<String>::new());

    // A service is tried from there before it is kept.
    page.go(&format!("{}/services/new", hub.address()));
    page.fill("input[name=base_url]", &target.address());
    page.fill("input[name=name]", "Unsaved");
    page.fill("textarea[name=json]", "$.status = \"fine\"");
    page.run("document.querySelector('#try-from').value = 'eu-west'");
    page.click("button[value=try]");
    page.sees("What the regions saw just now");
    let tried = page.run("return document.querySelector('#tried').innerText.replace(/\\s+/g, ' ')");
    let tried = tried.as_str().unwrap_or_default();
    assert!(tried.contains("eu-west") && tried.contains("status 200-299") && tried.contains("$.status"), "{tried}");
    assert_eq!(page.run("return document.querySelector('#try-from').value"), json!("eu-west"));
    is_usable_by_all(&page);

    // It is sent away: who does so is asked, and told what that means.
    page.go(&format!("{}/regions", hub.address()));
    page.click("a.quiet-link");
    page.sees("Nobody watches from eu-west any more");
    is_usable_by_all(&page);
    page.click("button.danger");
    let away = "return [...document.querySelectorAll('[data-live] section')].every((one) => !one.textContent.includes('eu-west') || one.querySelector('h2 .up') === null)";
    until("the region is not green", || (page.run(away) == json!(true)).then_some(()));
    assert_eq!(page.complaints(), Vec::<String>::new());
}

#[test]
fn what_was_typed_outlives_its_session_and_a_page_hears_that_its_service_is_gone() {
    let (driver, target) = (Driver::start(), Target::start());
    let hub = hub(&target, &[]);
    let page = logged_in(&driver, &hub);
    page.go(&format!("{}/services/2/edit", hub.address()));
    page.fill("input[name=name]", "Ledger of all");
    // The session ends elsewhere, as the log-out in another tab ends it.
    let end = "const done = arguments[arguments.length - 1]; const form_token = document.querySelector('input[name=form_token]').value;
        fetch('/logout', { method: 'POST', body: new URLSearchParams({ form_token }), redirect: 'manual' }).then(() => done(true))";
    page.run_async(end);
    page.click(".actions.end button[value=save]");
    page.sees("Your session has ended");
    is_usable_by_all(&page);
    assert_eq!(page.run("return document.querySelector('input[name=name]').value"), json!("Ledger of all"));
    // Back in another tab, it is sent as it stands.
    let back = "const done = arguments[arguments.length - 1];
        fetch('/login').then((answer) => answer.text()).then((text) => {
            const token = new DOMParser().parseFromString(text, 'text/html').querySelector('input[name=form_token]').value;
            const body = new URLSearchParams({ form_token: token, next: '/', username: 'admin', password: 'PASSWORD' });
            return fetch('/login', { method: 'POST', body, redirect: 'manual' });
        }).then(() => done(true))";
    page.run_async(&back.replace("PASSWORD", PASSWORD));
    page.click(".actions.end button[value=save]");
    until("the service is stored", || page.address().ends_with("/services/2").then_some(()));
    page.sees("Ledger of all");

    page.run("window.still = true");
    hub.call("DELETE", "/api/monitor/services/2", None);
    page.sees("This service was deleted");
    assert_eq!(page.run("return window.still"), json!(true), "the page was not loaded again");
}

#[test]
fn whoever_looks_on_while_the_hub_is_away_is_told_so() {
    let (driver, target) = (Driver::start(), Target::start());
    let mut hub = hub(&target, &[]);
    let page = logged_in(&driver, &hub);
    page.run("window.still = true");
    hub.kill();
    page.sees("No connection to the hub since");
    is_usable_by_all(&page);
    hub.start_again();
    until("the notice has gone", || (!page.text().contains("No connection to the hub")).then_some(()));
    // What happens after that is seen again, on the same page.
    page.sees("All 2 services up");
    target.set_broken(true);
    let is_down = "return document.querySelector('.sentence').classList.contains('down')";
    until("the sentence says so", || (page.run(is_down) == json!(true)).then_some(()));
    assert_eq!(page.run("return window.still"), json!(true), "the page was not loaded again");
}

#[test]
fn a_digest_is_written_results_are_taken_home_and_the_public_looks_on() {
    let (driver, target) = (Driver::start(), Target::start());
    let hub = hub(&target, &[]);
    let page = logged_in(&driver, &hub);
    page.go(&format!("{}/digests", hub.address()));
    page.click("#run button");
    until("the digest in full", || page.address().contains("/digests/").then_some(()));
    page.sees("Shop");
    page.go(&format!("{}/results", hub.address()));
    let csv = page.run_async(
        "const done = arguments[arguments.length - 1]; fetch(document.querySelector('a[download]').href).then((answer) => answer.text()).then(done)",
    );
    let lines: Vec<&str> = csv.as_str().unwrap_or_default().lines().collect();
    assert!(lines.len() > 2 && lines[1..].iter().all(|line| line.contains("Shop") || line.contains("Ledger")), "{lines:?}");

    // Nobody is logged in here, and only what is public is seen.
    let stranger = driver.open(Window::PHONE);
    stranger.go(&format!("{}/status", hub.address()));
    stranger.sees("Shop is up");
    assert!(!stranger.text().contains("Ledger"), "{}", stranger.text());
    let badge = stranger
        .run_async("const done = arguments[arguments.length - 1]; fetch('/badge/Shop.svg').then((answer) => answer.text()).then(done)");
    assert!(badge.as_str().is_some_and(|svg| svg.starts_with("<svg") && svg.contains(">up<")), "{badge}");
    target.set_broken(true);
    until("the public is told", || {
        stranger.go(&format!("{}/status", hub.address()));
        stranger.text().contains("Shop down").then_some(())
    });
    assert!(!stranger.text().contains("503") && !stranger.text().contains("127.0.0.1"), "{}", stranger.text());
    assert_eq!(stranger.complaints(), Vec::<String>::new());
    stranger.go(&hub.address());
    stranger.sees("Log in");
}

#[test]
fn services_that_come_and_go_are_seen_to_while_one_looks_on() {
    let (driver, target) = (Driver::start(), Target::start());
    let hub = hub(&target, &[]);
    let page = logged_in(&driver, &hub);
    page.sees("All 2 services up");
    page.run("window.still = true");
    let made = hub.call("POST", "/api/monitor/services/", Some(json!({"name": "Newcomer", "base_url": target.address(), "interval_s": 1})));
    let rows = "return [...document.querySelectorAll('#services .row a')].map((one) => one.textContent).join(' ')";
    let names = || page.run(rows).as_str().unwrap_or_default().to_owned();
    until("it is in the list", || names().contains("Newcomer").then_some(()));
    page.sees("All 3 services up");
    let path = format!("/api/monitor/services/{}/", made["id"]);
    let other = Driver::start();
    let beside = other.open(Window::DESK);
    beside.log_in(&hub.address(), PASSWORD);
    beside.go(&format!("{}/services/{}", hub.address(), made["id"]));
    hub.call("DELETE", &path, None);
    until("it has left the list", || (!names().contains("Newcomer")).then_some(()));
    assert_eq!(page.run("return window.still"), json!(true), "the page was not loaded again");
    beside.sees("This service was deleted");
    is_usable_by_all(&beside);
    assert_eq!(page.complaints(), Vec::<String>::new());
}
