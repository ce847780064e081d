//! The span a service's page shows: chosen by its ends, drawn by finer buckets, moved in time, and told when it is none.

use std::time::Duration;

use serde_json::json;

use super::browser::Browser;
use crate::api_world::{World, bad, good};

/// A service that was checked every ten seconds from eight o'clock to ten past.
async fn measured() -> World {
    let world = World::new().await;
    let operator = world.token("operator").await;
    world.service(&operator, json!({"name": "Shop", "base_url": "https://shop.example", "interval_s": 10})).await;
    world.show_services();
    let mut results: Vec<_> = (0..60).map(|place| good(1, place + 1, place * 10)).collect();
    results[40] = bad(1, 41, 400);
    world.append(&results).await;
    world.clock.advance(Duration::from_secs(3600)).await;
    world
}

/// An attribute of the first chart of a page.
fn of_chart(page: &str, attribute: &str) -> String {
    let chart = page.split("class=\"chart\"").nth(1).unwrap_or_else(|| panic!("no chart in {page}"));
    let value = chart.split(&format!("{attribute}=\"")).nth(1).expect("it has the attribute");
    value.split('"').next().expect("it ends").to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_span_is_chosen_by_its_ends_and_drawn_by_buckets_as_fine_as_the_checks() {
    let world = measured().await;
    let mut browser = Browser::of(&world, "viewer").await;
    let hour = browser.page("/services/1?range=1h").await;
    assert_eq!(of_chart(&hour, "data-step"), "60000");
    let minutes = browser.page("/services/1?from=2026-11-22T08:05:00Z&to=2026-11-22T08:10:00Z").await;
    assert_eq!((of_chart(&minutes, "data-step").as_str(), of_chart(&minutes, "data-from").as_str()), ("15000", "1795334700000"));
    let tips = of_chart(&minutes, "data-tips");
    let tips: Vec<&str> = tips.lines().collect();
    assert_eq!(tips.len(), 20, "{tips:?}");
    assert!(tips[6].starts_with("1 of 2 checks failed"), "{tips:?}");
    assert!(tips[0].contains("12 ms") && of_chart(&minutes, "data-keys").starts_with("median:p50|p95:p95"), "{tips:?}");
    assert!(
        minutes.contains("checks <b>30</b>") && minutes.contains("failed <b>1</b>"),
        "what is told of it is of this span alone: {minutes}"
    );
    // Without a script one goes on by links, and by the form.
    for part in [
        "from=2026-11-22T08:00:00.000Z",
        "to=2026-11-22T08:15:00.000Z",
        "Back to 1 h",
        "?range=1h#charts",
        "type=\"datetime-local\"",
        "value=\"2026-11-22T08:05:00\"",
    ] {
        assert!(minutes.contains(part), "{part} in {minutes}");
    }
    let by_form = browser.page("/services/1?from=2026-11-22T08:05&to=2026-11-22T08:10").await;
    assert_eq!(of_chart(&by_form, "data-from"), of_chart(&minutes, "data-from"), "a form names no zone: it is UTC");
    let part = browser.page("/services/1/charts?from=2026-11-22T08:05:00Z&to=2026-11-22T08:10:00Z").await;
    assert_eq!(of_chart(&part, "data-tips"), of_chart(&minutes, "data-tips"), "what a script asks for is the same");
    let before = browser.page("/services/1?from=2026-11-20T08:00&to=2026-11-20T09:00").await;
    assert!(before.contains("Nothing was measured in this range") && before.contains("Back to 1 h"), "{before}");
}

#[tokio::test(flavor = "multi_thread")]
async fn ends_that_make_no_span_are_told_beside_their_field_and_take_nothing_else_from_the_page() {
    let world = measured().await;
    let mut browser = Browser::of(&world, "viewer").await;
    for (query, says) in [
        ("from=2026-11-22T08:10&to=2026-11-22T08:05", "The end, 2026-11-22T08:05, is not after the beginning"),
        ("from=yesterday", "yesterday is not a time such as"),
        ("from=2027-01-01T00:00&to=2027-01-02T00:00", "2027-01-01T00:00 is yet to come"),
        ("from=2026-11-22T08:10:00&to=2026-11-22T08:10:30", "is less than a minute"),
        ("from=2001-01-01T00:00&to=2026-01-01T00:00", "more than two years"),
        ("from=%3Cscript%3Ealert(1)%3C/script%3E", "alert(1)"),
    ] {
        let page = browser.get(&format!("/services/1?{query}")).await;
        assert_eq!((page.status, page.kind.as_str()), (400, "text/html"), "{query}");
        let told = page.text.split("class=\"wrong\"").nth(1).and_then(|rest| rest.split("</span>").next()).unwrap_or_default();
        assert!(told.contains(says), "{query}: {told}");
        assert!(page.text.contains("aria-invalid=\"true\"") && page.text.contains("Last checks") && !page.text.contains("<script>alert"));
        assert_eq!(of_chart(&page.text, "data-step"), "60000", "the last hour is shown instead, of a service that is new");
        assert_eq!(browser.get(&format!("/services/1/charts?{query}")).await.status, 400);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn maintenance_is_marked_and_takes_nothing_from_uptime_and_coverage() {
    let world = measured().await;
    let operator = world.token("operator").await;
    let mut browser = Browser::of(&world, "viewer").await;
    let address = "/services/1?from=2026-11-22T08:00:00Z&to=2026-11-22T08:10:00Z";
    let before = browser.page(address).await;
    assert!(before.contains("Uptime <b>98."), "one failure counts: {before}");
    // The sixth minute and the seventh, in which one failed, were worked on.
    let window = json!({"title": "New disk", "kind": "once", "from": "2026-11-22T08:06:00Z", "until": "2026-11-22T08:08:00Z", "services": [1], "reason": "told late"});
    assert_eq!(world.post("/api/v1/maintenance-windows", Some(&operator), window).await.status, 201);
    let after = browser.page(address).await;
    assert!(after.contains("Uptime <b>100 %</b>"), "{after}");
    assert!(after.contains("<rect class=\"maintenance\"") && of_chart(&after, "data-marks").contains("Maintenance"), "{after}");
    let coverage =
        |page: &str| page.split("measured <b>").nth(1).and_then(|rest| rest.split(" %").next()).and_then(|share| share.parse::<f64>().ok());
    assert!(coverage(&after) > Some(95.0), "{:?}", coverage(&after));
    let strip = after.split("class=\"strip\"").nth(1).and_then(|rest| rest.split("</svg>").next()).expect("a strip");
    assert!(strip.contains("class=\"m\""), "{strip}");
}
