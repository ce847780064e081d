//! What pages show, and what they must never carry.

use std::time::Duration;

use probemesh::model::check::{Failure, Phase, Phases, Reason};
use probemesh::model::id::{RegionName, ServiceId};
use probemesh::model::incident::{EntryKind, Incident, IncidentId, Severity, Sighting, TimelineEntry};
use rocket::http::{Header, Method};
use serde_json::json;

use super::browser::Browser;
use crate::api_world::{World, answer, bad, good};

const EVIL: &str = "<script>alert('x')</script>\"&";

/// A service with an evil name, some results and an open incident.
async fn evil() -> World {
    let world = World::new().await;
    let operator = world.token("operator").await;
    let document =
        json!({"name": EVIL, "base_url": "https://shop.example", "group": EVIL, "tags": [EVIL], "expect": {"body_contains": EVIL}});
    world.service(&operator, document).await;
    world.show_services();
    let mut results = vec![good(1, 1, 0), good(1, 2, 60), bad(1, 3, 120)];
    if let Some(failure) = &mut results[2].failure {
        failure.message = EVIL.to_owned();
    }
    world.append(&results).await;
    world.strips.add(&results, &world.board);
    world.clock.advance(Duration::from_secs(130)).await;
    world.board.fold(&results, world.clock.now());
    let incident = Incident {
        id: IncidentId("evil-1".into()),
        service: ServiceId(1),
        name: EVIL.into(),
        severity: Severity::Critical,
        opened_at: results[2].started_at,
        closed_at: None,
        unwatched: false,
        first_line: EVIL.to_owned(),
        regions: vec![Sighting {
            region: RegionName::from("local"),
            status: "down".to_owned(),
            since: results[2].started_at,
            result: probemesh::store::query::ResultId::of(&results[2]).to_string(),
            checked_at: results[2].started_at,
            status_code: Some(503),
            latency_us: 12_345,
            phases: Phases { connect: Some(Duration::from_micros(900)), ..Phases::default() },
            address: Some("127.0.0.1".to_owned()),
            failure: Some(Failure { reason: Reason::Status, phase: Phase::Expect, message: EVIL.to_owned() }),
        }],
    };
    let opened = TimelineEntry { at: incident.opened_at, kind: EntryKind::Opened, text: EVIL.to_owned(), who: None };
    world.incidents.save(&incident, &[opened]).await.expect("it is stored");
    world
}

const PAGES: [&str; 14] = [
    "/",
    "/overview/head",
    "/overview/rows?ids=1",
    "/services/1",
    "/services/1/now",
    "/services/1/edit",
    "/services/1/delete",
    "/services/1/charts?range=1h",
    "/incidents",
    "/incidents/evil-1",
    "/digests",
    "/findings",
    "/performance?hours=1",
    "/slos/new",
];

#[tokio::test(flavor = "multi_thread")]
async fn nothing_anyone_wrote_becomes_markup() {
    let world = evil().await;
    let mut browser = Browser::of(&world, "operator").await;
    for path in PAGES {
        let page = browser.page(path).await;
        assert!(!page.contains("<script>alert") && !page.contains("alert('x')"), "{path}: {page}");
        let told = page.contains("alert(") || path.contains("charts");
        assert!(told, "{path} shows the name at least: {page}");
    }
    let text = browser.get("/incidents/evil-1/markdown").await;
    assert_eq!(text.kind, "text/plain");
    assert!(text.text.contains("\\<script>"), "{}", text.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_run_and_style_nothing_inline_and_load_nothing_from_elsewhere() {
    let world = evil().await;
    let mut browser = Browser::of(&world, "operator").await;
    for path in PAGES.iter().chain(&["/services/new", "/services/import", "/incidents?open=false", "/no/such/page"]) {
        let page = browser.get(path).await;
        let policy = page.header("Content-Security-Policy").expect("there is a policy").to_owned();
        for part in [
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self'",
            "base-uri 'none'",
            "frame-ancestors 'none'",
            "form-action 'self'",
        ] {
            assert!(policy.contains(part), "{path}: {policy}");
        }
        assert!(!policy.contains("unsafe"), "{policy}");
        for (name, value) in [
            ("X-Content-Type-Options", "nosniff"),
            ("X-Frame-Options", "DENY"),
            ("Cache-Control", "no-store"),
            ("Cross-Origin-Opener-Policy", "same-origin"),
        ] {
            assert_eq!(page.header(name), Some(value), "{path}: {name}");
        }
        let text = page.text.to_lowercase();
        for inline in [" style=", "<style", " onclick=", " onload=", " onsubmit=", "javascript:"] {
            assert!(!text.contains(inline), "{path} holds {inline}");
        }
        for script in text.split("<script").skip(1) {
            assert!(script.trim_start().starts_with("src=\"/assets/"), "{path}: <script{}", &script[..60.min(script.len())]);
        }
        for loaded in ["src=\"http", "href=\"http", "url(http"] {
            assert!(!text.contains(loaded), "{path} holds {loaded}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn files_of_the_pages_are_kept_for_ever_under_a_name_of_their_content() {
    let world = World::new().await;
    let mut browser = Browser::new(&world);
    let page = browser.page("/login").await;
    let style = page.split("href=\"").find(|part| part.starts_with("/assets/app-") && part.contains(".css")).expect("it has a style sheet");
    let path = style.split('"').next().expect("it ends").to_owned();
    let first = browser.get(&path).await;
    assert_eq!((first.status, first.kind.as_str()), (200, "text/css"));
    assert_eq!(first.header("Cache-Control"), Some("public, max-age=31536000, immutable"));
    let tag = first.header("ETag").expect("it has a tag").to_owned();
    let again = world.client.get(path.clone()).header(Header::new("If-None-Match", tag)).dispatch().await;
    assert_eq!(again.status().code, 304);
    let packed = world.client.get(path.clone()).header(Header::new("Accept-Encoding", "br;q=1.0, gzip;q=0.8")).dispatch().await;
    assert_eq!(packed.headers().get_one("Content-Encoding"), Some("gzip"));
    let packed = packed.into_bytes().await.expect("a body");
    let mut unpacked = String::new();
    std::io::Read::read_to_string(&mut flate2::read::GzDecoder::new(&packed[..]), &mut unpacked).expect("it is gzip");
    assert!(unpacked == first.text && packed.len() * 3 < unpacked.len());
    assert_eq!(browser.get("/assets/app-000000000000.css").await.status, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_goes_wrong_is_a_page_for_people_and_a_problem_for_programs() {
    let world = World::with(|settings| settings.requests_per_minute = 30).await;
    let mut browser = Browser::of(&world, "viewer").await;
    for (path, status, says) in [
        ("/no/such/page", 404, "There is nothing here"),
        ("/services/4711", 404, "there is no service 4711"),
        ("/services/new", 403, "operator"),
    ] {
        let page = browser.get(path).await;
        assert_eq!((page.status, page.kind.as_str()), (status, "text/html"), "{path}");
        assert!(page.text.contains(says), "{path}: {}", page.text);
        assert!(page.text.contains("href=\"/\""), "it leads on: {path}");
    }
    world.get("/no/such/page", None).await.problem(404);
    let api = browser.ask(Method::Get, "/api/monitor/services/4711", None).await;
    api.problem(404);
    let mut last = browser.get("/").await;
    for _ in 0..40 {
        last = browser.get("/").await;
    }
    assert_eq!((last.status, last.kind.as_str()), (429, "text/html"));
    assert!(last.header("Retry-After").is_some() && last.text.contains("Too many requests"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_away_takes_no_more_from_the_pages_than_it_must() {
    let world = evil().await;
    let mut browser = Browser::of(&world, "operator").await;
    world.store.shutdown().await.expect("it closes");
    let overview = browser.page("/").await;
    assert!(overview.contains("alert(") && overview.contains("class=\"sentence down\""), "the overview is drawn from memory");
    assert!(overview.contains("href=\"/incidents/evil-1\""), "and so are the incidents that are open");
    let page = browser.get("/services/1").await;
    assert!(page.status >= 500 && page.kind == "text/html", "{} {}", page.status, page.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_overview_tells_how_everything_stands() {
    let world = World::new().await;
    let mut browser = Browser::of(&world, "operator").await;
    let empty = browser.page("/").await;
    assert!(
        empty.contains("Nothing is watched yet") && empty.contains("Add the first service") && empty.contains("/services/import"),
        "{empty}"
    );
    let operator = world.token("operator").await;
    for (name, group, tag) in [("Shop", "web", "money"), ("Mail", "", "core"), ("Search", "web", "core")] {
        let document = json!({"name": name, "base_url": "https://a.example", "group": (!group.is_empty()).then_some(group), "tags": [tag]});
        world.service(&operator, document).await;
    }
    world.show_services();
    let waiting = browser.page("/").await;
    assert!(waiting.contains("Nothing is known of 3 services yet") && waiting.contains("No result yet"), "{waiting}");
    let results = [good(1, 1, 0), good(2, 2, 0), good(3, 3, 0)];
    world.strips.add(&results, &world.board);
    world.board.fold(&results, world.clock.now());
    let up = browser.page("/").await;
    assert!(up.contains("All 3 services up in 1 region"), "{up}");
    assert!(up.contains("2 of 2 up") && up.contains("Without a group"), "{up}");
    assert!(up.contains("12 ms") && up.contains("class=\"u\""), "{up}");
    // Of what has just come the last hour is shown, and one check is seen in it.
    assert!(up.contains("data-step=\"60000\" data-note=\"Last hour\"") && up.contains("<span class=\"strip\">Last hour</span>"), "{up}");
    assert!(up.contains("class=\"spark\" viewBox=\"0 0 240 20\"") && !up.contains("of 48 half hours"), "{up}");
    let results = [bad(1, 4, 60)];
    world.clock.advance(Duration::from_secs(60)).await;
    world.strips.add(&results, &world.board);
    world.board.fold(&results, world.clock.now());
    let down = browser.page("/").await;
    assert!(down.contains("Shop down: status code, since <time datetime=\"2026-11-22T08:01:00.000Z\""), "{down}");
    assert!(down.contains("expected 200-299, got 503"), "{down}");
    // Without a script the form filters as well.
    let shown = |page: &str| -> Vec<u32> {
        let rows =
            page.split("<li class=\"row\" data-id=\"").skip(1).filter(|row| !row.split('>').next().expect("it ends").ends_with(" hidden"));
        rows.map(|row| row.split('"').next().expect("it ends").parse().expect("a number")).collect()
    };
    assert_eq!(shown(&down), [1, 3, 2], "what is down comes first in its group");
    for (query, rows) in [
        ("q=sEa", vec![3]),
        ("verdict=down", vec![1]),
        ("tag=core", vec![3, 2]),
        ("group=web", vec![1, 3]),
        ("region=local", vec![1, 3, 2]),
        ("region=mars", vec![]),
    ] {
        assert_eq!(shown(&browser.page(&format!("/?{query}")).await), rows, "{query}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_page_shows_its_past_its_checks_and_what_is_odd() {
    let world = evil().await;
    let mut browser = Browser::of(&world, "operator").await;
    for range in ["1h", "24h", "7d", "30d", "nonsense"] {
        let page = browser.page(&format!("/services/1?range={range}")).await;
        assert!(page.contains("svg class=\"chart\"") && page.contains("p95"), "{range}");
        assert!(page.contains("class=\"incident\""), "{range}: the incident is on the chart");
        assert!(!page.contains("NaN") && !page.contains("inf"), "{range}");
    }
    let page = browser.page("/services/1").await;
    for part in ["Check now", "Last checks", "Passed", "Failed", "503", "How it is checked", "by the hub", "92.3 %", "Uptime"] {
        assert!(page.contains(part), "{part} in {page}");
    }
    let operator = world.token("operator").await;
    let fresh = world.service(&operator, json!({"name": "fresh", "base_url": "https://a.example"})).await;
    world.show_services();
    let page = browser.page(&format!("/services/{fresh}")).await;
    assert!(page.contains("No check is in this range so far") && page.contains("No check yet"), "{page}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_incident_is_taken_on_noted_and_told() {
    let world = evil().await;
    let mut listening = world.events.subscribe();
    let mut browser = Browser::of(&world, "operator").await;
    let page = browser.page("/incidents/evil-1").await;
    assert!(page.contains("Where it broke") && page.contains("class=\"cell bad\"") && page.contains("Acknowledge"), "{page}");
    assert_eq!(browser.send_form("/incidents/evil-1/acknowledge", &[]).await.status, 303);
    assert!(listening.try_recv().is_ok(), "who listens is told");
    assert_eq!(browser.send_form("/incidents/evil-1/notes", &[("text", "it was\nthe cable")]).await.status, 303);
    let empty = browser.send_form("/incidents/evil-1/notes", &[("text", "  ")]).await;
    assert!(empty.text.contains("must have 1 to 10000 characters"), "{}", empty.text);
    let page = browser.page("/incidents/evil-1").await;
    assert!(page.contains("Acknowledged by") && page.contains("the cable") && !page.contains("id=\"acknowledge\""), "{page}");
    let list = browser.page("/incidents?open=true").await;
    assert!(list.contains("operator is on it") && list.contains("/incidents/evil-1"), "{list}");
    assert!(browser.page("/incidents?open=false").await.contains("No incident"));
    let text = browser.get("/incidents/evil-1/markdown").await.text;
    assert!(!text.contains("acknowledged by"), "it says once who took it on: {text}");
    assert!(text.starts_with("## ") && text.contains("| local (down) |") && text.contains("  > it was  \n  > the cable  \n"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn language_and_look_are_as_one_chose_or_as_the_browser_says() {
    let world = World::new().await;
    let persian =
        world.client.get("/login").header(Header::new("Accept", "text/html")).header(Header::new("Accept-Language", "fa-IR,en;q=0.5"));
    let persian = answer(persian.dispatch().await).await.text;
    assert!(persian.contains("lang=\"fa\" dir=\"rtl\"") && persian.contains("گذرواژه"), "{persian}");
    let mut browser = Browser::of(&world, "viewer").await;
    let chosen = browser.send_raw("/look", &[("lang", "fa"), ("theme", "dark"), ("view", "compact"), ("back", "/incidents")]).await;
    assert_eq!((chosen.status, chosen.header("Location")), (303, Some("/incidents")));
    let page = browser.page("/").await;
    assert!(page.contains("dir=\"rtl\" data-theme=\"dark\" class=\"compact\"") && page.contains("هنوز چیزی پایش نمی‌شود"), "{page}");
    let foreign = browser.send_raw("/look", &[("lang", "xx"), ("theme", "\"><script>"), ("back", "//evil.example")]).await;
    assert_eq!(foreign.header("Location"), Some("/"));
    assert!(browser.set.is_empty(), "what is not known is not kept: {:?}", browser.set);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_record_is_filtered_and_downloaded() {
    let world = evil().await;
    let mut browser = Browser::of(&world, "viewer").await;
    let page = browser.page("/results?service=1&ok=false&region=&reason=").await;
    assert_eq!(page.matches("<details class=\"check\"").count(), 1, "{page}");
    assert!(browser.page("/results?since=yesterday").await.contains("must be a time such as"));
    for (filter, count) in [("status_code=503", 1), ("status_code=201", 0), ("min_latency_ms=12", 3), ("min_latency_ms=5000", 0)] {
        let page = browser.page(&format!("/results?service=1&{filter}&ordering=checked_at")).await;
        assert_eq!(page.matches("<details class=\"check\"").count(), count, "{filter}");
        let (name, value) = filter.split_once('=').expect("it is a pair");
        let field = page.split(&format!("name=\"{name}\"")).nth(1).expect("it is in the form");
        assert!(field.starts_with(&format!(" value=\"{value}\"")) && page.contains("<option value=\"checked_at\" selected>"), "{filter}");
    }
    let csv = browser.get("/results.csv?service=1").await;
    assert_eq!((csv.status, csv.kind.as_str()), (200, "text/csv"));
    let lines: Vec<&str> = csv.text.lines().collect();
    assert_eq!(lines.len(), 4, "{}", csv.text);
    assert!(lines[1].starts_with("2026-11-22T08:02:00.000Z,1,"), "{}", lines[1]);
    assert!(lines[1].contains(",false,503,12.345,1,status,"), "{}", lines[1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_admin_lets_a_machine_join() {
    let world = World::new().await;
    let mut browser = Browser::of(&world, "admin").await;
    assert!(browser.page("/regions").await.contains("No region yet"));
    let made = browser.send_form("/regions", &[("region", "eu-west")]).await;
    assert_eq!(made.status, 200);
    assert!(made.text.contains("probemesh join ") && made.text.contains("regions/eu-west.toml"), "{}", made.text);
    let wrong = browser.send_form("/regions", &[("region", "EU West!")]).await;
    assert_eq!(wrong.status, 422);
    assert!(wrong.text.contains("value=\"EU West!\"") && wrong.text.contains("lower-case"), "{}", wrong.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_status_page_shows_public_services_to_anyone_and_no_other() {
    let world = World::new().await;
    let mut stranger = Browser::new(&world);
    assert!(stranger.page("/status").await.contains("No service is shown in public yet"));
    let operator = world.token("operator").await;
    for (name, public) in [("Shop", true), ("Vault", false)] {
        world.service(&operator, json!({"name": name, "base_url": "https://hidden.example", "public": public})).await;
    }
    world.show_services();
    let results = [bad(1, 1, 0), bad(2, 2, 0)];
    world.strips.add(&results, &world.board);
    world.board.fold(&results, world.clock.now());
    let page = stranger.page("/status").await;
    assert!(page.contains("Shop down: status code") && page.contains("class=\"d\""), "{page}");
    for private in ["Vault", "hidden.example", "expected 200-299", "/services/"] {
        assert!(!page.contains(private), "{private} in {page}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_is_slow_is_not_shown_as_well_and_a_day_old_one_has_its_day() {
    let world = World::new().await;
    let operator = world.token("operator").await;
    let mut browser = Browser::of(&world, "viewer").await;
    world.service(&operator, json!({"name": "slow", "base_url": "https://a.example", "degraded_after_ms": 10, "public": true})).await;
    world.show_services();
    let results: Vec<_> = (1..=20).map(|number| good(1, number, number * 10)).collect();
    world.clock.advance(Duration::from_secs(201)).await;
    world.strips.add(&results, &world.board);
    world.board.fold(&results, world.clock.now());
    world.append(&results).await;
    let page = browser.page("/").await;
    assert!(page.contains("<path class=\"p\"") && !page.contains("class=\"u\" d=\"M3"), "{page}");
    assert!(page.contains("some failed or slow"), "{page}");
    let day = browser.page("/status").await;
    assert!(day.contains("degraded") && day.contains("class=\"p\" d=\"M535 10h4\""), "{day}");
    let json = browser.get("/status.json").await.text;
    assert!(json.contains("\"state\":\"degraded\""), "{json}");
    let page = browser.page("/services/1").await;
    assert!(page.contains("aria-current=\"true\">1 h</a>"), "of what is new the last hour is shown: {page}");
    world.clock.advance(Duration::from_secs(4 * 3600)).await;
    let page = browser.page("/").await;
    assert!(page.contains("Last 24 hours: failed or slow checks in 1 of 48 half hours") && !page.contains("data-note"), "{page}");
    assert!(browser.page("/services/1").await.contains("aria-current=\"true\">24 h</a>"));
}
