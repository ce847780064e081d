//! Performance on a page: the API's figures, in words and pictures.

use std::time::Duration;

use probemesh::model::check::{CheckResult, Phases};
use probemesh::web::moment::latency;
use serde_json::{Value, json};

use super::browser::Browser;
use crate::api_world::{World, bad, good};

/// An hour of two services, a check a minute; the second waits long for the first byte every other time.
async fn hour() -> World {
    let world = World::new().await;
    let operator = world.token("operator").await;
    for name in ["Fast", "Slow <b>"] {
        world.service(&operator, json!({"name": name, "base_url": "https://a.example"})).await;
    }
    let took = |result: CheckResult, ms: u64| {
        let first_byte = Some(Duration::from_millis(ms));
        CheckResult { latency: Duration::from_millis(ms), phases: Phases { first_byte, ..Phases::default() }, ..result }
    };
    let mut results = Vec::new();
    for minute in 0..60 {
        results.push(good(1, minute * 2, minute * 60));
        let slow = if minute % 2 == 0 { 20 } else { 3_000 };
        results.push(if minute == 7 { bad(2, minute * 2 + 1, minute * 60) } else { took(good(2, minute * 2 + 1, minute * 60), slow) });
    }
    world.append(&results).await;
    world.clock.advance(Duration::from_secs(3_600)).await;
    world
}

fn ms(value: &Value) -> String {
    latency(value.as_f64().expect("it is a number") * 1e3)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_shows_what_the_api_says() {
    let world = hour().await;
    let token = world.token("viewer").await;
    let base = "/api/v1/maintenance/performance";
    let analysis = world.get(&format!("{base}/analysis?hours=1"), Some(&token)).await.expect(200);
    let places = world.get(&format!("{base}/bottlenecks?hours=1"), Some(&token)).await.expect(200);
    let advice = world.get(&format!("{base}/recommendations?hours=1"), Some(&token)).await.expect(200);
    let mut browser = Browser::of(&world, "viewer").await;
    let page = browser.page("/performance?hours=1").await;
    for service in analysis["services"].as_array().expect("there are services") {
        let row = page.split("id=\"services\"").nth(1).expect("the table is there");
        let row = row.split(&format!("href=\"/services/{}\"", service["service_id"])).nth(1).expect("it has a row");
        let row = row.split("</tr>").next().expect("it ends");
        for name in ["median_ms", "p95_ms"] {
            let shown = ms(&service["latency"][name]);
            assert!(row.contains(&format!(">{shown}<")), "{name} {shown} in {row}");
        }
        assert!(row.contains(&format!(">{}<", service["checks"])), "{row}");
        assert!(row.contains("class=\"course\"") && row.contains("class=\"phases\""), "{row}");
    }
    assert!(page.contains("Slow &#60;b&#62;") && !page.contains("Slow <b>"), "{page}");
    // The slowest is first, and its first byte is where time is lost.
    let order = |page: &str| {
        let table = page.split("id=\"services\"").nth(1).expect("the table is there");
        table.find("href=\"/services/2\"").expect("Slow") < table.find("href=\"/services/1\"").expect("Fast")
    };
    assert!(order(&page) && !order(&browser.page("/performance?hours=1&sort=name").await));
    let place = &places["results"][0];
    assert_eq!((&place["service_id"], &place["phase"]), (&json!(2), &json!("first_byte")), "{places:#}");
    let table = page.split("id=\"places\"").nth(1).expect("the table is there").split("</section>").next().expect("it ends");
    for part in [&ms(&place["mean_ms"]), &ms(&place["floor_ms"]), "First byte", "a day"] {
        assert!(table.contains(part), "{part} in {table}");
    }
    let told = page.split("id=\"advice\"").nth(1).expect("it is there").split("</section>").next().expect("it ends");
    let advice = advice["results"].as_array().expect("a list");
    match advice.first() {
        Some(first) => {
            assert!(told.contains(&format!("{:.0} %", (first["sure"].as_f64().expect("a share") * 100.0).floor())[..2]), "{told}")
        }
        None => assert!(told.contains("Nothing was found"), "{told}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_service_region_or_period_is_asked_for_and_nothing_says_what_to_do() {
    let world = hour().await;
    let mut browser = Browser::of(&world, "viewer").await;
    let one = browser.page("/performance?hours=24&service=1&region=local&sort=").await;
    let table = one.split("id=\"services\"").nth(1).expect("the table is there");
    assert!(table.contains("href=\"/services/1\"") && !table.contains("href=\"/services/2\""), "{table}");
    assert!(one.contains("hours=168") && one.contains("<option selected>local</option>"), "what was chosen stays: {one}");
    let empty = browser.page("/performance?region=nowhere").await;
    assert!(empty.contains("Nothing was measured in this period") && empty.contains("Choose a longer period"), "{empty}");
    for wrong in ["service=77", "hours=0", "hours=many"] {
        assert_eq!(browser.get(&format!("/performance?{wrong}")).await.status, 400, "{wrong}");
    }
}
