//! Findings on pages: the list with its filters, one with its figures, and a person's word on it.

use std::time::Duration;

use probemesh::model::finding::{FindingId, Learning, Signal};
use serde_json::json;

use super::browser::Browser;
use crate::api_world::{World, good};
use crate::findings::finding;

async fn some() -> World {
    let world = World::new().await;
    let operator = world.token("operator").await;
    world.service(&operator, json!({"name": "Shop", "base_url": "https://a.example"})).await;
    let mut odd = finding(3, 2, 30, Signal::Errors, false);
    (odd.observed, odd.expected, odd.learning) = (0.25, Some(0.01), Some(Learning { have: 12, need: 40 }));
    odd.evidence[0].observed = 0.25;
    odd.summary = "<script>alert(1)</script>".to_owned();
    let findings = [finding(0, 1, 0, Signal::Latency, true), finding(2, 1, 20, Signal::Connect, false), odd];
    world.findings.save(&findings).await.expect("they are stored");
    world
}

#[tokio::test(flavor = "multi_thread")]
async fn anomalies_are_found_by_filters_and_bad_ones_are_named() {
    let world = World::new().await;
    let mut browser = Browser::of(&world, "viewer").await;
    assert!(browser.page("/findings").await.contains("Nothing odd so far"));
    let world = some().await;
    let mut browser = Browser::of(&world, "viewer").await;
    let list = browser.page("/findings").await;
    assert!(list.contains("3 anomalies") && list.contains("&#60;script&#62;") && !list.contains("<script>alert"), "{list}");
    assert!(!list.contains("/feedback"), "a viewer has no say: {list}");
    let shown = |page: &str| ["1-latency-0", "1-connect-2", "2-errors-3"].map(|id| page.contains(&format!("href=\"/findings/{id}\"")));
    for (query, expected) in [
        ("service=1&region=&signal=&shape=&open=", [true, true, false]),
        ("signal=errors", [false, false, true]),
        ("open=true", [false, true, true]),
        ("shape=drift", [false, false, false]),
        ("region=us-east", [false, false, true]),
        ("page=2", [false, false, false]),
    ] {
        assert_eq!(shown(&browser.page(&format!("/findings?{query}")).await), expected, "{query}");
    }
    let wrong = browser.get("/findings?signal=noise").await;
    assert_eq!((wrong.status, wrong.text.contains("must be one of latency")), (400, true), "{}", wrong.text);
    // The overview says how many go on.
    assert!(browser.page("/").await.contains("2 anomalies go on"));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_shows_its_figures_in_their_unit_and_what_it_touches() {
    let world = some().await;
    let mut browser = Browser::of(&world, "operator").await;
    let page = browser.page("/findings/1-latency-0").await;
    for part in [
        "latency is slow",
        "40 ms",
        "10 ms",
        "4.0 times the usual",
        "latency p50",
        "href=\"/services/1\"",
        "href=\"/issues/new?finding=1-latency-0\"",
    ] {
        assert!(page.contains(part), "{part} in {page}");
    }
    let page = browser.page("/findings/2-errors-3").await;
    for part in ["25.0 %", "1.0 %", "12 of 40 samples", "&#60;script&#62;"] {
        assert!(page.contains(part), "{part} in {page}");
    }
    assert_eq!(browser.get("/findings/none").await.status, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_word_on_it_is_kept_taken_back_and_leads_back() {
    let world = some().await;
    let mut browser = Browser::of(&world, "operator").await;
    let path = "/findings/1-connect-2/feedback";
    let back = "/findings?service=1";
    let said = browser.send_form(path, &[("anomaly", "false"), ("note", "a load test"), ("back", back)]).await;
    assert_eq!((said.status, said.header("Location")), (303, Some(back)), "{}", said.text);
    let page = browser.page("/findings/1-connect-2").await;
    for part in ["a load test", ">operator<", "dismissed"] {
        assert!(page.contains(part), "{part} in {page}");
    }
    let link = "href=\"/findings/1-connect-2\"";
    assert!(!browser.page("/findings").await.contains(link));
    assert!(browser.page("/findings?dismissed=true").await.contains(link));
    // From the service it leads back there; from nowhere else's page anywhere.
    let again = browser.send_form(path, &[("anomaly", "true")]).await;
    assert_eq!(again.header("Location"), Some("/services/1#findings"));
    assert!(browser.page("/findings").await.contains(link));
    let outside = browser.send_form(path, &[("anomaly", "true"), ("back", "//evil.example")]).await;
    assert_eq!(outside.header("Location"), Some("/"));

    let mut viewer = Browser::of(&world, "viewer").await;
    assert_eq!(viewer.send_form(path, &[("anomaly", "false")]).await.status, 403);
    assert_eq!(browser.send_raw(path, &[("anomaly", "false")]).await.status, 403);
    let kept = world.findings.one(&FindingId("1-connect-2".into())).await.expect("it is read").expect("it is there");
    assert!(kept.feedback.is_some_and(|word| word.anomaly));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_shows_how_it_went_before_it_and_since() {
    let world = some().await;
    let mut browser = Browser::of(&world, "viewer").await;
    assert!(!browser.page("/findings/1-connect-2").await.contains("How it went"), "nothing was measured");
    let results: Vec<_> = (0..10).map(|place| good(1, place + 1, place * 60)).collect();
    world.append(&results).await;
    world.clock.advance(Duration::from_secs(600)).await;
    let page = browser.page("/findings/1-connect-2").await;
    for part in [
        "How it went",
        "class=\"chart\"",
        "data-keys=\"median:p50",
        "class=\"odd\"",
        // It goes on since 07:20, and as much is shown before it.
        "href=\"/services/1?from=2026-11-22T06:30:00.000Z",
    ] {
        assert!(page.contains(part), "{part} in {page}");
    }
}
