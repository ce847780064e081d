//! What a browser makes of the pages.
//!
//! - Pictures of every page into a folder, light, dark and on a phone:
//!   `cargo run --manifest-path tests/browser/Cargo.toml -- docs/screenshots`
//! - How soon the overview of a hub that runs can be used, and what its live updates cost:
//!   `cargo run --manifest-path tests/browser/Cargo.toml -- speed http://127.0.0.1:8000 PASSWORD`

mod speed;

use std::path::PathBuf;
use std::time::Duration;

use probemesh_browser::driver::{Driver, Window, free_port};
use probemesh_browser::hub::{Hub, PASSWORD};
use probemesh_browser::target::Target;
use probemesh_browser::until;
use serde_json::{Value, json};

/// How long the services are watched before the pictures, so that there is something on them.
const WATCHED: Duration = Duration::from_secs(75);

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["speed", hub, password] => speed::measure(hub, password),
        [] => pictures(PathBuf::from("docs/screenshots")),
        [folder] if *folder != "speed" => pictures(PathBuf::from(folder)),
        _ => panic!("either a folder for the pictures, or: speed ADDRESS PASSWORD"),
    }
}

fn pictures(folder: PathBuf) {
    std::fs::create_dir_all(&folder).expect("the folder is made");
    let (driver, well, slow, ill) = (Driver::start(), Target::start(), Target::start(), Target::start());
    slow.set_delay_ms(180);
    let listen = format!("127.0.0.1:{}", free_port());
    let hub = Hub::start_with(&services(&well, &slow, &ill), &[("PROBEMESH_MESH__LISTEN", &listen)]);
    let _nodes = ["eu-west", "us-east"].map(|region| hub.join(region));
    std::thread::sleep(WATCHED);
    ill.set_broken(true);
    let incident = until("an incident", || {
        let found = hub.call("GET", "/api/v1/incidents", None);
        found["results"][0]["id"].as_str().map(str::to_owned)
    });
    std::thread::sleep(Duration::from_secs(8));
    let payments = 1;
    let make = |path: &str, body: Value| drop(hub.call("POST", path, Some(body)));
    for (title, kind, priority, labels) in [
        ("Cart loses items when the session ends", "bug", "high", json!(["web"])),
        ("Show prices without tax", "feature", "low", json!(["web", "money"])),
        ("A customer cannot log in", "support", "critical", json!([])),
    ] {
        let description = "Seen on **Monday** by two customers.\n\n- [x] found\n- [ ] mended";
        make(
            "/api/v1/maintenance/issues",
            json!({"title": title, "issue_type": kind, "priority": priority, "labels": labels, "description": description, "service": 2}),
        );
    }
    make("/api/v1/maintenance/issues/1/comments", json!({"body": "It is the *cache*: see `session.rs`."}));
    make("/api/v1/alerts/channels", json!({"name": "On call", "kind": "webhook", "config": {"url": well.address()}}));
    make("/api/v1/maintenance-windows", json!({"title": "New database", "kind": "manual", "start": true, "services": ["Reports"]}));
    make("/api/v1/slos", json!({"name": "Payments are taken", "service": "Payments", "objective": 99.9, "least_coverage": 0}));
    make(
        "/api/v1/slos",
        json!({"name": "Search is there", "service": "Search", "objective": 99, "least_coverage": 0, "period": {"calendar": "month"}}),
    );
    make(
        "/api/v1/slos",
        json!({"name": "Reports are quick", "service": "Reports", "objective": 95, "kind": "latency", "latency_ms": 200, "least_coverage": 0}),
    );
    let digest = hub.call("POST", "/api/monitor/digests/run/", Some(json!({"period_hours": 1})));
    let digest = digest["id"].as_str().expect("it has an id").to_owned();
    make(
        "/api/v1/maintenance-windows",
        json!({"title": "Nightly restart", "kind": "recurring", "cron": "0 3 * * *", "duration_s": 900, "groups": ["Shop"]}),
    );
    make("/api/v1/users", json!({"username": "ada", "password": "a long password", "role": "operator"}));
    make("/api/v1/api-keys", json!({"name": "deploy pipeline", "scopes": ["read", "services"], "expires_days": 90}));
    make("/api/v1/api-keys", json!({"name": "dashboards", "owner": "ada", "role": "viewer", "scopes": ["results"]}));
    let pages = [
        ("digests", "/digests".to_owned()),
        ("digest", format!("/digests/{digest}")),
        ("findings", "/findings".to_owned()),
        ("performance", "/performance?hours=1".to_owned()),
        ("objectives", "/slos".to_owned()),
        ("objective", "/slos/1".to_owned()),
        ("admin", "/admin/".to_owned()),
        ("overview", "/".to_owned()),
        ("service", format!("/services/{payments}?range=1h")),
        ("incidents", "/incidents".to_owned()),
        ("incident", format!("/incidents/{incident}")),
        ("status", "/status".to_owned()),
        ("subscribe", "/status/subscribe".to_owned()),
        ("subscribe", "/status/subscribe".to_owned()),
        ("subscribers", "/alerts/subscribers".to_owned()),
        ("regions", "/regions".to_owned()),
        ("results", "/results".to_owned()),
        ("new", "/services/new".to_owned()),
        ("issues", "/issues".to_owned()),
        ("issue", "/issues/1".to_owned()),
        ("issue-new", "/issues/new".to_owned()),
        ("alerts", "/alerts".to_owned()),
        ("rules", "/alerts/rules".to_owned()),
        ("rule", "/alerts/rules/new".to_owned()),
        ("channels", "/alerts/channels".to_owned()),
        ("channel", "/alerts/channels/new?kind=email".to_owned()),
        ("deliveries", "/alerts/deliveries".to_owned()),
        ("windows", "/alerts/windows".to_owned()),
        ("window", "/alerts/windows/new".to_owned()),
        ("subscribers", "/alerts/subscribers".to_owned()),
        ("edit", format!("/services/{payments}/edit")),
        ("import", "/services/import".to_owned()),
        ("delete", format!("/services/{payments}/delete")),
        ("account", "/account".to_owned()),
        ("second-factor", "/account/second-factor".to_owned()),
        ("system", "/system?hours=1".to_owned()),
        ("system-actors", "/system/actors".to_owned()),
        ("system-logs", "/system/logs".to_owned()),
        ("system-settings", "/system/settings".to_owned()),
        ("system-users", "/system/users".to_owned()),
        ("system-user", "/system/users/ada".to_owned()),
        ("system-keys", "/system/keys".to_owned()),
        ("system-key", "/system/keys/new".to_owned()),
        ("system-audit", "/system/audit".to_owned()),
        ("system-backup", "/system/backup".to_owned()),
        ("not-found", "/no/such/page".to_owned()),
    ];
    for (kind, window) in [("light", Window::DESK), ("dark", Window::DARK), ("phone", Window::PHONE)] {
        let page = driver.open(window);
        page.go(&format!("{}/login", hub.address()));
        page.picture(&folder.join(format!("login-{kind}.webp")));
        page.log_in(&hub.address(), PASSWORD);
        page.sees("Payments");
        for (name, path) in &pages {
            page.go(&format!("{}{path}", hub.address()));
            // A page draws itself anew once when it begins to listen.
            std::thread::sleep(Duration::from_millis(600));
            page.picture(&folder.join(format!("{name}-{kind}.webp")));
        }
        if kind == "light" {
            page.go(&hub.address());
            page.click("button[value=fa]");
            std::thread::sleep(Duration::from_millis(900));
            page.picture(&folder.join("overview-persian.webp"));
            for (name, path) in pages.iter().filter(|(name, _)| ["performance", "objectives", "digest"].contains(name)) {
                page.go(&format!("{}{path}", hub.address()));
                std::thread::sleep(Duration::from_millis(600));
                page.picture(&folder.join(format!("{name}-persian.webp")));
            }
        }
    }
    println!("pictures are in {}", folder.display());
}

fn services(well: &Target, slow: &Target, ill: &Target) -> Value {
    let service = |name: &str, target: &Target, group: &str, tags: &[&str]| {
        let path = format!("/{}", name.to_lowercase().replace(' ', "-"));
        json!({"name": name, "base_url": target.address(), "health_path": path, "group": group, "tags": tags, "interval_s": 1, "public": group != "Back office",
            "expect": {"status": 200, "json": [{"path": "$.status", "equals": "ok"}]}})
    };
    let mut slowly = service("Reports", slow, "Back office", &["batch"]);
    slowly["degraded_after_ms"] = json!(150);
    let mut paused = service("Old API", well, "Shop", &["legacy"]);
    paused["enabled"] = json!(false);
    json!([
        service("Payments", ill, "Shop", &["money", "critical"]),
        service("Cart", well, "Shop", &["critical"]),
        service("Search", well, "Shop", &[]),
        paused,
        service("Login", well, "Accounts", &["critical"]),
        service("Profile", well, "Accounts", &[]),
        service("سرویس پیامک", well, "Accounts", &["sms"]),
        service("Invoices", well, "Back office", &["money"]),
        slowly,
        {"name": "The hub itself", "base_url": "self", "health_path": "/healthz", "interval_s": 5, "group": "Back office"}
    ])
}
