//! Digests on pages: the list, one in full, and one written now.

use std::pin::pin;
use std::time::Duration;

use probemesh::model::digest::{Digest, DigestId, DigestText, Period, Tokens, Writer as By};
use probemesh::model::finding::Signal;
use probemesh::model::id::ServiceId;
use serde_json::json;

use super::browser::Browser;
use crate::api_world::{World, Writer, at};
use crate::findings::finding;

/// One of the hours until a time.
fn digest(until: &str, hours: u64, service: Option<u32>, headline: &str) -> Digest {
    let until = at(until);
    let period = Period { since: until.minus(Duration::from_secs(hours * 3600)), until };
    let service = service.map(ServiceId);
    let facts = json!({
        "uptime": "99.9 %", "checks": 1440, "failed_checks": 3, "services_watched": 2, "incidents": {"count": 1},
        "causes": [{"where_it_broke": "TLS handshake fails", "services": ["Shop"], "incidents": 1, "only_seen_from": null}],
        "certificates_running_out": [],
    });
    Digest {
        id: DigestId::of(period, service),
        service,
        name: service.map(|_| "Shop".into()),
        period,
        written_at: until,
        text: DigestText {
            headline: headline.to_owned(),
            paragraphs: vec!["It was *quiet* <b>mostly</b>.".to_owned(), "The second paragraph.".to_owned()],
            suggestions: vec!["Look at the certificate".to_owned()],
        },
        writer: if service.is_some() { By::OpenAi } else { By::Local },
        writer_reason: "no key is set".to_owned(),
        model: service.map(|_| "small-model".to_owned()),
        tokens: Tokens { prompt: if service.is_some() { 900 } else { 0 }, completion: 100 * u64::from(service.is_some()) },
        anomaly_count: 2,
        facts: facts.to_string(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn digests_are_listed_filtered_and_read_with_their_facts() {
    let world = World::new().await;
    let operator = world.token("operator").await;
    world.service(&operator, json!({"name": "Shop", "base_url": "https://a.example"})).await;
    let mut browser = Browser::of(&world, "operator").await;
    let empty = browser.page("/digests").await;
    assert!(empty.contains("No digest yet") && empty.contains("action=\"/digests/run\""), "{empty}");
    let (all, of_shop) =
        (digest("2026-11-22T08:00:00Z", 24, None, "A quiet day"), digest("2026-11-22T07:00:00Z", 1, Some(1), "Shop was slow"));
    for digest in [&all, &of_shop] {
        world.digests.save(digest).await.expect("it is stored");
    }
    let list = browser.page("/digests").await;
    for part in
        ["A quiet day", "Shop was slow", "2 digests", "Local writer", "Language model", "small-model", "2 anomalies", "(1 d)", "(1 h)"]
    {
        assert!(list.contains(part), "{part} in {list}");
    }
    assert!(list.contains("It was *quiet* &#60;b&#62;mostly") && !list.contains("The second paragraph"), "the preview is short: {list}");
    for (query, shop, day) in
        [("service=all", false, true), ("service=1", true, false), ("writer=openai", true, false), ("service=&writer=", true, true)]
    {
        let list = browser.page(&format!("/digests?{query}")).await;
        assert_eq!((list.contains("Shop was slow"), list.contains("A quiet day")), (shop, day), "{query}");
    }
    assert!(browser.page("/digests?service=1&writer=local").await.contains("No digest fits"));

    world.findings.save(&[finding(0, 1, 30, Signal::Latency, true)]).await.expect("it is stored");
    let page = browser.page(&format!("/digests/{}", all.id)).await;
    for part in
        ["A quiet day", "The second paragraph.", "Look at the certificate", "99.9 %", "1440", "TLS handshake fails", "no key is set"]
    {
        assert!(page.contains(part), "{part} in {page}");
    }
    assert!(page.contains("It was <em>quiet</em> &lt;b&gt;mostly"), "marked, and safe: {page}");
    assert!(page.contains("href=\"/findings/1-latency-0\"") && page.contains("No incident in this period"), "{page}");
    assert!(!page.contains("Only from"), "a column of nothing is left out: {page}");
    assert!(!page.contains("tokens"), "the local writer costs nothing: {page}");
    let page = browser.page(&format!("/digests/{}", of_shop.id)).await;
    assert!(page.contains("1000 tokens") && page.contains("href=\"/services/1\""), "{page}");
    assert_eq!(browser.get("/digests/20260101T000000Z-20260102T000000Z-all").await.status, 404);
    assert!(browser.page("/services/1").await.contains(&format!("href=\"/digests/{}\"", of_shop.id)), "the service leads to its own");
    assert!(browser.page("/admin/").await.contains("href=\"/digests\""));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_is_written_now_or_told_why_not() {
    let world = World::new().await;
    let mut viewer = Browser::of(&world, "viewer").await;
    let page = viewer.page("/digests").await;
    assert!(page.contains("an operator can have one written now") && !page.contains("/digests/run"), "{page}");
    assert_eq!(viewer.send_form("/digests/run", &[("period_hours", "24")]).await.status, 403);

    let mut browser = Browser::of(&world, "operator").await;
    assert_eq!(browser.send_raw("/digests/run", &[("period_hours", "24")]).await.status, 403, "not from a page of ours");
    let busy = browser.send_form("/digests/run", &[("period_hours", "24"), ("service", "")]).await;
    assert_eq!((busy.status, busy.text.contains("another digest is being written")), (409, true), "{}", busy.text);
    assert_eq!(browser.get("/digests/run").await.header("Location"), Some("/digests"));
    let wrong = browser.send_form("/digests/run", &[("period_hours", "9999"), ("service", "77")]).await;
    assert_eq!(wrong.status, 422);
    assert!(
        wrong.text.contains("period_hours: must be a whole number from 1 to 2160") && wrong.text.contains("there is no service 77"),
        "{}",
        wrong.text
    );

    let made = digest("2026-11-22T08:00:00Z", 24, None, "A quiet day");
    *world.writer.lock().expect("no holder panics") = Writer::Writes(Box::new(made.clone()));
    let answer = browser.send_form("/digests/run", &[("period_hours", "24"), ("service", "")]).await;
    assert_eq!((answer.status, answer.header("Location")), (303, Some(format!("/digests/{}", made.id).as_str())), "{}", answer.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_takes_long_is_waited_for_and_led_to_when_it_is_there() {
    let world = World::new().await;
    let mut browser = Browser::of(&world, "operator").await;
    // One from before is not the one that was asked for.
    world.digests.save(&digest("2026-11-22T07:00:00Z", 24, None, "Of before")).await.expect("it is stored");
    *world.writer.lock().expect("no holder panics") = Writer::Slow;
    let answer = {
        let mut asked = pin!(browser.send_form("/digests/run", &[("period_hours", "24"), ("service", "")]));
        loop {
            tokio::select! {
                answer = &mut asked => break answer,
                () = tokio::time::sleep(Duration::from_millis(5)) => world.clock.advance(Duration::from_secs(1)).await,
            }
        }
    };
    let place = answer.header("Location").expect("it leads to where it will be").to_owned();
    assert!(answer.status == 303 && place.starts_with("/digests?pending="), "{} {place}", answer.status);
    let page = browser.page(&place).await;
    assert!(page.contains("data-pending") && page.contains("http-equiv=\"refresh\"") && page.contains("Of before"), "{page}");
    let mut made = digest("2026-11-22T08:00:00Z", 24, None, "There at last");
    made.written_at = world.clock.now();
    world.digests.save(&made).await.expect("it is stored");
    let there = browser.get(&place).await;
    assert_eq!((there.status, there.header("Location")), (303, Some(format!("/digests/{}", made.id).as_str())));
    // What never comes is not waited for for ever.
    let asked = world.clock.now().0 + 1;
    world.clock.advance(Duration::from_secs(601)).await;
    let page = browser.page(&format!("/digests?pending={asked}&of=")).await;
    assert!(page.contains("It was not written") && !page.contains("data-pending"), "{page}");
}
