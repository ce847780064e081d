//! Services tried before they are kept: by the hub, by regions the test plays, and by regions that cannot.

use std::sync::{Arc, Mutex};

use probemesh::hub::membership::{Arrival, Seat};
use probemesh::probe::expect::Verdict;
use probemesh::probe::trial::Trial;
use serde_json::{Value, json};

use crate::api_world::{World, bad};

const TRY: &str = "/api/monitor/checks/try";

/// Takes a node in.
pub fn join(world: &World, node: &str, region: &str) -> Seat {
    let (node, region) = (node.into(), region.into());
    world.membership.join(Arrival { node, region, local: false, address: None, build: None, boot: None, clock_offset_us: None })
}

/// A node that finds every service it is to try failing, and keeps what it was sent.
pub fn failing(world: &World, node: &str, region: &'static str) -> Arc<Mutex<Vec<String>>> {
    let (mut seat, seen) = (join(world, node, region), Arc::new(Mutex::new(Vec::new())));
    let sent = seen.clone();
    tokio::spawn(async move {
        while let Some(wanted) = seat.tries.recv().await {
            sent.lock().unwrap().push(wanted.document.to_string());
            let mut result = bad(0, 1, 0);
            result.region = region.into();
            let verdict = Verdict { what: "status 200-299".to_owned(), failure: result.failure.clone() };
            let _ = wanted.answer.send(Ok(Trial { result, verdicts: vec![verdict] }));
        }
    });
    seen
}

fn shop() -> Value {
    json!({"name": "Shop", "base_url": "https://shop.example", "headers": {"Authorization": "Bearer s3cret"}})
}

#[tokio::test(flavor = "multi_thread")]
async fn each_region_says_what_it_saw_and_one_that_is_away_is_told_at_once() {
    let world = World::new().await;
    let operator = world.token("operator").await;
    let seen = failing(&world, "eu-1", "eu");
    let gone = join(&world, "us-1", "us");
    world.membership.leave(&"us-1".into(), gone.session, "silent for 8 s");

    let by_hub = world.post(TRY, Some(&operator), shop()).await.expect(200);
    assert_eq!((&by_hub["ok"], &by_hub["results"][0]["region"]), (&json!(true), &json!("hub")), "{by_hub:#}");
    assert_eq!(by_hub["results"][0]["expectations"], json!([{"what": "status 200-299", "ok": true, "message": null}]));

    let answer = world.post(&format!("{TRY}?regions=us,eu,nowhere"), Some(&operator), shop()).await;
    assert!(!answer.text.contains("s3cret"), "{}", answer.text);
    let answer = answer.expect(200);
    assert_eq!((&answer["ok"], &answer["service_name"]), (&json!(false), &json!("Shop")));
    let results = answer["results"].as_array().expect("a list");
    assert_eq!(results.len(), 1, "{answer:#}");
    assert_eq!((&results[0]["region"], &results[0]["reason"]), (&json!("eu"), &json!("status")));
    assert_eq!(results[0]["expectations"], json!([{"what": "status 200-299", "ok": false, "message": "expected 200-299, got 503"}]));
    let reasons = json!([
        {"region": "nowhere", "reason": "there is no region nowhere: no node of it has joined"},
        {"region": "us", "reason": "region us is not connected: silent for 8 s"},
    ]);
    assert_eq!(answer["unanswered"], reasons);
    // The node is sent what it needs, and no more than it was asked for.
    let sent = seen.lock().unwrap().clone();
    assert!(sent.len() == 1 && sent[0].contains("Bearer s3cret"), "{sent:?}");

    // The regions a service names are where it is tried, unless the request says otherwise.
    let mut named = shop();
    named["regions"] = json!(["eu"]);
    let answer = world.post(TRY, Some(&operator), named).await.expect(200);
    assert_eq!((&answer["results"][0]["region"], &answer["unanswered"]), (&json!("eu"), &json!([])));
    let answer = world.post(&format!("{TRY}?regions=all"), Some(&operator), shop()).await.expect(200);
    assert_eq!((answer["results"].as_array().map(Vec::len), answer["unanswered"][0]["region"].as_str()), (Some(1), Some("us")));
    assert!(world.services.list().is_empty(), "nothing is kept");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_region_that_does_not_answer_is_not_waited_for_beyond_the_limit() {
    let world = World::new().await;
    let operator = world.token("operator").await;
    let (silent, mut lost) = (join(&world, "ap-1", "ap"), join(&world, "eu-1", "eu"));
    let cut = tokio::spawn(async move { drop(lost.tries.recv().await) });
    let answer = world.post(&format!("{TRY}?regions=ap,eu&timeout_s=0.3"), Some(&operator), shop()).await.expect(200);
    cut.await.expect("it was asked");
    let reasons = json!([
        {"region": "ap", "reason": "no answer within 300 ms"},
        {"region": "eu", "reason": "node eu-1 of region eu was lost while it tried the service"},
    ]);
    assert_eq!((&answer["unanswered"], &answer["ok"]), (&reasons, &Value::Null), "{answer:#}");
    drop(silent);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_tried_is_refused_by_name() {
    let world = World::new().await;
    let operator = world.token("operator").await;
    let _eu = failing(&world, "eu-1", "eu");
    let of_hub = json!({"name": "hub", "base_url": "self"});
    let answer = world.post(&format!("{TRY}?regions=eu"), Some(&operator), of_hub).await.expect(200);
    assert_eq!(answer["unanswered"][0]["reason"], "self is this hub's own address, which no other region can check");
    for query in ["regions=,", "region=eu", "timeout_s=0"] {
        let field = query.split('=').next().expect("it has a name");
        assert_eq!(world.post(&format!("{TRY}?{query}"), Some(&operator), shop()).await.problem(400), [field], "{query}");
    }
    let wrong = json!({"name": "x", "base_url": "https://a.example", "timeout_s": 0});
    assert_eq!(world.post(&format!("{TRY}?regions=eu"), Some(&operator), wrong).await.problem(422), ["timeout_s"]);
    let viewer = world.token("viewer").await;
    world.post(&format!("{TRY}?regions=eu"), Some(&viewer), shop()).await.problem(403);
}
