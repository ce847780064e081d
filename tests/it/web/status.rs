//! The status page: what anyone sees, in each of its forms, and what nobody does.

use std::time::Duration;

use probemesh::model::check::{Failure, Phase, Phases, Reason};
use probemesh::model::id::{RegionName, ServiceId};
use probemesh::model::incident::{EntryKind, Incident, IncidentId, Severity, Sighting, TimelineEntry};
use rocket::http::Header;
use serde_json::json;

use super::browser::Browser;
use crate::api_world::{World, bad, good};

const EVIL: &str = "<script>alert('x')</script>\"&";
/// What must be on none of the forms.
const PRIVATE: [&str; 9] =
    ["Vault", "hidden.example", "s3cret", "Authorization", "10.9.8.7", "local-test", "the cable was cut", "operator", "expected 200-299"];

fn incident(name: &str, service: u32, id: &str, world: &World) -> Incident {
    let at = world.clock.now();
    Incident {
        id: IncidentId(id.into()),
        service: ServiceId(service),
        name: name.into(),
        severity: Severity::Critical,
        opened_at: at,
        closed_at: None,
        unwatched: false,
        first_line: format!("{name} 10.9.8.7 expected 200-299"),
        regions: vec![Sighting {
            region: RegionName::from("local"),
            status: "down".to_owned(),
            since: at,
            result: "local-test:1:1".to_owned(),
            checked_at: at,
            status_code: Some(503),
            latency_us: 1,
            phases: Phases::default(),
            address: Some("10.9.8.7".to_owned()),
            failure: Some(Failure { reason: Reason::Status, phase: Phase::Expect, message: "s3cret at 10.9.8.7".to_owned() }),
        }],
    }
}

/// A public service with an evil name and an incident, another one that is well, and one nobody is to know of, with an incident too.
async fn world() -> World {
    let world = World::new().await;
    let operator = world.token("operator").await;
    for (name, public) in [(EVIL, true), ("Shop", true), ("Vault", false)] {
        let document = json!({"name": name, "base_url": "https://hidden.example/s3cret", "headers": {"Authorization": "s3cret"}, "group": "Web", "public": public});
        world.service(&operator, document).await;
    }
    world.show_services();
    let results = [bad(1, 1, 0), good(2, 2, 0), bad(3, 3, 0)];
    world.append(&results).await;
    world.clock.advance(Duration::from_secs(30)).await;
    world.board.fold(&results, world.clock.now());
    for (name, service, id) in [(EVIL, 1, "first-1"), ("Vault", 3, "hidden-1")] {
        let incident = incident(name, service, id, &world);
        let opened = TimelineEntry { at: incident.opened_at, kind: EntryKind::Opened, text: incident.first_line.clone(), who: None };
        world.incidents.save(&incident, &[opened]).await.expect("it is stored");
    }
    let mut browser = Browser::of(&world, "operator").await;
    assert_eq!(browser.send_form("/incidents/first-1/acknowledge", &[]).await.status, 303);
    assert_eq!(browser.send_form("/incidents/first-1/notes", &[("text", "the cable was cut")]).await.status, 303);
    let (from, until) =
        (world.clock.now().plus(Duration::from_secs(3_600)).rfc3339(), world.clock.now().plus(Duration::from_secs(7_200)).rfc3339());
    for (title, service) in [("Database moves", "Shop"), ("Vault work", "Vault")] {
        let window =
            json!({"title": title, "reason": "the cable was cut", "kind": "once", "from": from, "until": until, "services": [service]});
        world.post("/api/v1/maintenance-windows", Some(&operator), window).await.expect(201);
    }
    world
}

#[tokio::test(flavor = "multi_thread")]
async fn anyone_sees_public_services_and_nothing_of_any_other() {
    let world = world().await;
    let mut stranger = Browser::new(&world);
    for path in ["/status", "/status.json", "/status/feed.atom", "/badge/1.svg", "/badge/2.svg?show=uptime"] {
        let answer = stranger.get(path).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text);
        for private in PRIVATE {
            assert!(!answer.text.contains(private), "{path} tells {private}: {}", answer.text);
        }
        // JSON is no markup, and nobody takes it for that.
        let markup = path != "/status.json";
        assert!(!(markup && answer.text.contains("<script>alert")), "{path}: {}", answer.text);
        assert_eq!(answer.header("X-Content-Type-Options"), Some("nosniff"), "{path}");
        assert!(answer.header("Set-Cookie").is_none(), "{path} sets no cookie");
    }
    let page = stranger.page("/status").await;
    for part in [
        "Example status",
        "Shop",
        "Web",
        "Open incidents",
        "status code",
        "Being worked on",
        "Database moves",
        "Planned",
        "90 days ago",
        "Up",
        "Down",
    ] {
        assert!(page.contains(part), "{part} in {page}");
    }
    assert_eq!(page.matches("<title>2026-").count(), 2 * 90, "a word for each day of each service");
    assert!(!page.contains("Log out") && !page.contains("form_token"), "{page}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_is_there_for_programs() {
    let world = world().await;
    let mut stranger = Browser::new(&world);
    let answer = stranger.get("/status.json").await;
    assert_eq!((answer.kind.as_str(), answer.header("Access-Control-Allow-Origin")), ("application/json", Some("*")));
    let told = answer.json();
    assert_eq!((&told["title"], &told["state"]), (&json!("Example status"), &json!("down")));
    assert_eq!(told["services"].as_array().map(Vec::len), Some(2));
    let shop = told["services"].as_array().and_then(|all| all.iter().find(|one| one["name"] == "Shop")).expect("it is there").clone();
    assert_eq!((&shop["verdict"], &shop["uptime"], &shop["badge"]), (&json!("up"), &json!(1.0), &json!("/badge/2.svg")));
    let days = shop["days"].as_array().expect("days");
    assert_eq!(
        (days.len(), &days[89]["date"], &days[89]["state"], &days[0]["state"]),
        (90, &json!("2026-11-22"), &json!("up"), &json!("unknown"))
    );
    // It came half a minute ago, and all of that is known.
    assert!(shop["coverage"].as_f64().is_some_and(|covered| covered > 0.9), "{shop}");
    let incidents = told["incidents"].as_array().expect("incidents");
    assert_eq!((incidents.len(), &incidents[0]["reasons"]), (1, &json!(["status"])));
    assert_eq!((told["maintenance"].as_array().map(Vec::len), &told["maintenance"][0]["services"]), (Some(1), &json!(["Shop"])));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_feed_is_atom() {
    let world = world().await;
    let mut stranger = Browser::new(&world);
    let answer = stranger.get("/status/feed.atom").await;
    assert_eq!(answer.kind, "application/atom+xml");
    let elements = elements(&answer.text);
    assert_eq!(elements[0], "feed");
    assert_eq!(elements.iter().filter(|name| *name == "entry").count(), 2, "{}", answer.text);
    // What RFC 4287 asks of a feed and of each entry.
    for (name, count) in [("id", 3), ("title", 3), ("updated", 3), ("author", 1)] {
        assert_eq!(elements.iter().filter(|other| *other == name).count(), count, "{name} in {}", answer.text);
    }
    assert!(answer.text.contains("&lt;script&gt;") || answer.text.contains("&#60;script"), "{}", answer.text);
    assert!(answer.text.contains("Maintenance: Database moves"), "{}", answer.text);
}

/// The names of the elements of a document, which must be well formed.
fn elements(text: &str) -> Vec<String> {
    let (mut open, mut all) = (Vec::new(), Vec::new());
    let text = text.strip_prefix("<?xml version=\"1.0\" encoding=\"utf-8\"?>").expect("it says what it is");
    for (place, part) in text.split('<').enumerate() {
        if place == 0 {
            assert!(part.trim().is_empty(), "{part} before the first element");
            continue;
        }
        let (tag, content) = part.split_once('>').unwrap_or_else(|| panic!("<{part} does not end"));
        for after in tag.split('&').skip(1).chain(content.split('&').skip(1)) {
            let entity = after.split_once(';').unwrap_or_else(|| panic!("a bare & before {after}")).0;
            assert!(["amp", "lt", "gt", "quot", "apos"].contains(&entity) || entity.starts_with('#'), "&{entity};");
        }
        assert_eq!(tag.matches('"').count() % 2, 0, "{tag}");
        match tag.strip_prefix('/') {
            Some(name) => assert_eq!(open.pop().as_deref(), Some(name), "elements are nested"),
            None => {
                let name = tag.split([' ', '/', '\n']).next().unwrap_or_default().to_owned();
                all.push(name.clone());
                if !tag.ends_with('/') {
                    open.push(name);
                }
            }
        }
    }
    assert!(open.is_empty(), "{open:?} is not closed");
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn badges_are_of_public_services_alone() {
    let world = world().await;
    let mut stranger = Browser::new(&world);
    let shop = stranger.get("/badge/2.svg").await;
    assert_eq!((shop.kind.as_str(), shop.text.contains(">up</text>")), ("image/svg+xml", true), "{}", shop.text);
    elements(&format!("<?xml version=\"1.0\" encoding=\"utf-8\"?>{}", shop.text));
    assert!(stranger.get("/badge/Shop.svg?show=uptime").await.text.contains(">100 %</text>"));
    let hidden = stranger.get("/badge/3.svg").await;
    let none = stranger.get("/badge/4711.svg").await;
    assert_eq!((hidden.status, none.status), (404, 404));
    assert_eq!(hidden.text.replace('3', ""), none.text.replace("4711", "").replace('3', ""), "nobody learns which numbers there are");
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_kept_for_seconds_and_gone_at_once_when_it_is_no_longer_public() {
    let world = world().await;
    let mut stranger = Browser::new(&world);
    let first = stranger.get("/status").await;
    assert_eq!(first.header("Cache-Control"), Some("public, max-age=5"));
    let tag = first.header("ETag").expect("it has a tag").to_owned();
    let again =
        world.client.get("/status").header(Header::new("Accept", "text/html")).header(Header::new("If-None-Match", tag)).dispatch().await;
    assert_eq!(again.status().code, 304);
    // What it said there a browser would hold against the page it has.
    assert_eq!(again.headers().get_one("Content-Security-Policy"), None);
    // News of results waits for the next few seconds…
    let result = [bad(2, 9, 60)];
    world.append(&result).await;
    world.board.fold(&result, world.clock.now());
    assert_eq!(stranger.get("/status.json").await.json()["services"][1]["verdict"], "up");
    world.clock.advance(Duration::from_secs(6)).await;
    assert_eq!(stranger.get("/status.json").await.json()["services"][1]["verdict"], "down");
    // …that a service is private does not.
    let operator = world.token("operator").await;
    world.send(rocket::http::Method::Patch, "/api/monitor/services/2", Some(&operator), Some(json!({"public": false}))).await.expect(200);
    let page = stranger.page("/status").await;
    assert!(!page.contains("Shop") && !page.contains("Database moves"), "{page}");
    assert_eq!(stranger.get("/badge/2.svg").await.status, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_away_leaves_the_page_and_says_so() {
    let world = world().await;
    world.store.shutdown().await.expect("it closes");
    let page = Browser::new(&world).page("/status").await;
    assert!(page.contains("The past cannot be read right now") && page.contains("Shop"), "{page}");
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_asks_too_often_is_told_to_wait() {
    let world = World::with(|settings| settings.requests_per_minute = 5).await;
    let mut stranger = Browser::new(&world);
    for _ in 0..8 {
        stranger.get("/status.json").await;
    }
    assert_eq!(stranger.get("/status.json").await.status, 429);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_has_the_colour_that_was_set() {
    let world = World::new().await;
    let mut stranger = Browser::new(&world);
    assert!(stranger.page("/status").await.contains("href=\"/status/theme.css\""));
    let style = stranger.get("/status/theme.css").await;
    assert_eq!((style.kind.as_str(), style.text.contains("--brand: #0b6e63")), ("text/css", true), "{}", style.text);
    assert_eq!(stranger.get("/status/logo").await.status, 404);
}
