//! Objectives on pages: made, read, changed and ended, and what of them a service shows.

use std::time::Duration;

use serde_json::json;

use super::browser::Browser;
use crate::api_world::{World, bad, good};

const FIELDS: [(&str, &str); 8] = [
    ("name", "Shop is up"),
    ("service", "1"),
    ("kind", "availability"),
    ("objective", "99"),
    ("period.calendar", ""),
    ("period.days", "7"),
    ("least_coverage", "0.1"),
    ("burn", "14.4, 1 h, 5 min, critical\n1, 3 d, 6 h, warning"),
];

/// A service that was up for an hour but for six minutes.
async fn shop() -> World {
    let world = World::new().await;
    let operator = world.token("operator").await;
    world.service(&operator, json!({"name": "Shop", "base_url": "https://a.example"})).await;
    world.show_services();
    let results: Vec<_> =
        (0..60).map(|minute| if (20..26).contains(&minute) { bad(1, minute, minute * 60) } else { good(1, minute, minute * 60) }).collect();
    world.append(&results).await;
    world.clock.advance(Duration::from_secs(3_600)).await;
    world
}

#[tokio::test(flavor = "multi_thread")]
async fn an_objective_is_made_shown_changed_and_ended_by_forms() {
    let world = shop().await;
    let operator = world.token("operator").await;
    let mut browser = Browser::of(&world, "operator").await;
    let empty = browser.page("/slos").await;
    assert!(empty.contains("No objective yet") && empty.contains("href=\"/slos/new\""), "{empty}");
    let form = browser.page("/slos/new?service=1").await;
    assert!(
        form.contains("value=\"99.9\"")
            && form.contains("<option value=\"1\" selected>Shop")
            && form.contains("14.4, 1 h, 5 min, critical"),
        "{form}"
    );
    let made = browser.send_form("/slos/new", &FIELDS).await;
    assert_eq!((made.status, made.header("Location")), (303, Some("/slos")), "{}", made.text);
    let kept = world.get("/api/v1/slos/1", Some(&operator)).await.expect(200);
    assert_eq!((&kept["objective"], &kept["period"], &kept["least_coverage"]), (&json!(99.0), &json!({"days": 7}), &json!(0.1)));
    assert_eq!(kept["burn"][1], json!({"factor": 1.0, "long_s": 259_200.0, "short_s": 21_600.0, "severity": "warning"}));

    // Six of sixty minutes are ten times what one per cent allows.
    let list = browser.page("/slos").await;
    let left = kept["status"]["budget"]["left_percent"].as_f64().expect("there is a budget");
    assert!(left < -500.0, "{kept:#}");
    for part in [
        "Shop is up",
        "last 7 days",
        "99 % up",
        "Missed",
        "<b class=\"down\"><bdi>none</bdi>",
        "that the time measured so far allows",
        "report?format=html",
        "report?format=csv",
    ] {
        assert!(list.contains(part), "{part} in {list}");
    }
    assert!(list.contains("class=\"down\" width=\"0\""), "the bar is empty: {list}");
    let page = browser.page("/services/1").await;
    for part in ["Error budget", "Missed", "href=\"/slos?service=1\"", "href=\"/alerts/windows/new?service=1\""] {
        assert!(page.contains(part), "{part} in {page}");
    }
    let report = browser.get("/api/v1/slos/1/report?format=html").await;
    assert!(report.status == 200 && report.text.contains("Shop is up"), "the cookie opens the report: {}", report.status);

    // What the form shows, sent back, changes nothing but what was changed.
    let form = browser.page("/slos/1").await;
    for part in [
        "value=\"Shop is up\"",
        "value=\"99\"",
        "value=\"7\"",
        "14.4, 1 h, 5 min, critical\n1, 3 d, 6 h, warning",
        "name=\"revision\" value=\"1\"",
    ] {
        assert!(form.contains(part), "{part} in {form}");
    }
    let mut changed = FIELDS.to_vec();
    changed[2] = ("kind", "latency");
    changed[4] = ("period.calendar", "month");
    changed.extend([("latency_ms", "300"), ("period.timezone", "Asia/Tehran"), ("revision", "1")]);
    assert_eq!(browser.send_form("/slos/1", &changed).await.status, 303);
    let now = world.get("/api/v1/slos/1", Some(&operator)).await.expect(200);
    assert_eq!((&now["kind"], &now["latency_ms"], &now["burn"]), (&json!("latency"), &json!(300.0), &kept["burn"]));
    assert_eq!(now["period"], json!({"calendar": "month", "timezone": "Asia/Tehran"}));
    assert!(browser.page("/slos").await.contains("99 % within 300 ms"));
    let late = browser.send_form("/slos/1", &changed).await;
    assert_eq!(late.status, 409, "someone was faster");

    let sure = browser.page("/slos/1/delete").await;
    assert!(sure.contains("Its error budget") && sure.contains("action=\"/slos/1/delete\""), "{sure}");
    assert_eq!(browser.send_form("/slos/1/delete", &[]).await.status, 303);
    assert_eq!(world.get("/api/v1/slos/1", Some(&operator)).await.status, 404);
    assert!(browser.page("/services/1").await.contains("href=\"/slos/new?service=1\""));
}

#[tokio::test(flavor = "multi_thread")]
async fn mistakes_stand_beside_their_fields_and_nothing_typed_is_lost() {
    let world = shop().await;
    let mut browser = Browser::of(&world, "operator").await;
    let fields = [
        ("name", "x"),
        ("service", ""),
        ("kind", "latency"),
        ("objective", "most of it"),
        ("period.calendar", ""),
        ("period.days", "0"),
        ("burn", "14.4, 1 h, 2 h, critical\nfast"),
    ];
    let refused = browser.send_form("/slos/new", &fields).await;
    assert_eq!(refused.status, 422, "{}", refused.text);
    for (name, says) in [
        ("service", "is required"),
        ("objective", "must be a number"),
        ("latency_ms", "is required"),
        ("period.days", "1"),
        ("burn", "[0].short_s: must be less than long_s"),
        ("burn", "[1].factor"),
    ] {
        let field = refused.text.split(&format!("name=\"{name}\"")).nth(1).unwrap_or_else(|| panic!("{name} in {}", refused.text));
        let field = field.split("</label>").next().expect("it ends");
        assert!(field.contains("class=\"wrong\"") && field.contains(says), "{name}: {field}");
    }
    assert!(refused.text.contains("value=\"most of it\"") && refused.text.contains("\nfast</textarea>"), "{}", refused.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_viewer_reads_objectives_and_changes_none() {
    let world = shop().await;
    let mut operator = Browser::of(&world, "operator").await;
    assert_eq!(operator.send_form("/slos/new", &FIELDS).await.status, 303);
    assert_eq!(operator.send_raw("/slos/1/delete", &[]).await.status, 403, "not from a page of ours");
    let mut viewer = Browser::of(&world, "viewer").await;
    let list = viewer.page("/slos").await;
    assert!(list.contains("Shop is up") && !list.contains("/slos/1/delete") && !list.contains("href=\"/slos/new\""), "{list}");
    for path in ["/slos/new", "/slos/1", "/slos/1/delete"] {
        assert_eq!(viewer.get(path).await.status, 403, "{path}");
    }
    for path in ["/slos/new", "/slos/1", "/slos/1/delete"] {
        assert_eq!(viewer.send_form(path, &FIELDS).await.status, 403, "{path}");
    }
    let page = viewer.page("/services/1").await;
    assert!(page.contains("Error budget") && !page.contains("/alerts/windows/new"), "{page}");
}
