//! What the monitor opens by itself: real incidents of regions played by the test, nodes that go, a prober that panics, findings.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use probemesh::clock::Clock;
use probemesh::config::sections::TrackerSettings;
use probemesh::hub::membership::{Arrival, Hooks, Membership};
use probemesh::model::finding::{Finding, FindingId, Shape, Signal};
use probemesh::model::id::{NodeName, RegionName, ServiceId};
use probemesh::model::incident::Severity;
use probemesh::model::time::Timestamp;
use probemesh::tracker::rounds::{Looked, Rounds, Wanted};
use probemesh::wire::envelope::NodeStatus;
use rocket::http::{Method, Status};
use serde_json::{Value, json};

use super::{Desk, ISSUES};
use crate::api_world::at;
use crate::regions_world::{self, REGIONS, good, refused, shop, start};
use crate::target::{Reply, Target};
use crate::world;

/// Lets time pass until the issues are as wanted.
async fn until(world: &regions_world::World, clock: &Clock, what: &str, wanted: impl Fn(&[Value]) -> bool) -> Vec<Value> {
    let began = Instant::now();
    loop {
        let found = world.get(&format!("{ISSUES}?ordering=id")).await["results"].as_array().unwrap().clone();
        if wanted(&found) {
            return found;
        }
        assert!(began.elapsed() < Duration::from_secs(90), "never came: {what}; {found:#?} {:#}", world.get("/api/v1/cluster").await);
        clock.advance(Duration::from_millis(500)).await;
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Lets the opener look some times more.
async fn looks(world: &regions_world::World, clock: &Clock) {
    let looks = || world.hub.tree.opener.lock().unwrap().looks;
    let (before, began) = (looks(), Instant::now());
    while looks() < before + 3 {
        assert!(began.elapsed() < Duration::from_secs(90), "nobody looks");
        clock.advance(Duration::from_millis(500)).await;
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn comments(world: &regions_world::World, id: &Value) -> Vec<String> {
    let found = world.get(&format!("{ISSUES}/{id}/comments?page_size=500")).await;
    found["results"].as_array().unwrap().iter().map(|comment| comment["body"].as_str().unwrap().to_owned()).collect()
}

/// All regions see it fail, or be good, now.
async fn seen(world: &mut regions_world::World, clock: &Clock, service: u64, is_good: bool) {
    let seconds = clock.now().since(regions_world::at(0)).as_secs();
    for region in REGIONS {
        let result = if is_good { good(service, region, seconds) } else { refused(service, region, seconds) };
        world.feed(region, &[result]).await;
    }
}

async fn open(folder: &Path, clock: &Clock, boot: u64) -> regions_world::World {
    regions_world::World::open(folder, clock, boot).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_incident_opens_one_issue_which_tells_how_it_goes_on_over_restarts() {
    let folder = tempfile::tempdir().unwrap();
    let clock = start();
    let mut world = open(folder.path(), &clock, 1).await;
    let shop = world.add(shop()).await;
    seen(&mut world, &clock, shop, true).await;
    clock.advance(Duration::from_secs(60)).await;
    seen(&mut world, &clock, shop, false).await;
    let incident =
        world.until("the incident", |found| found.len() == 1 && found[0]["first_line"] == "connect refused in 3 of 3 regions").await;
    let incident = incident[0]["id"].as_str().unwrap().to_owned();
    // A blip opens none: it has to last a minute.
    for _ in 0..5 {
        clock.advance(Duration::from_secs(10)).await;
        looks(&world, &clock).await;
        if clock.now().since(regions_world::at(60)) < Duration::from_secs(55) {
            assert_eq!(world.get(ISSUES).await["count"], 0);
        }
    }
    let found = until(&world, &clock, "the issue", |found| found.len() == 1).await;
    let issue = world.get(&format!("{ISSUES}/{}", found[0]["id"])).await;
    assert_eq!(issue["title"], "shop: connect refused in 3 of 3 regions");
    for (field, expected) in [
        ("issue_type", json!("incident")),
        ("priority", json!("critical")),
        ("reporter", json!("probemesh")),
        ("service", json!(shop)),
        ("incident", json!(incident)),
        ("labels", json!(["automatic"])),
        ("cause", json!(format!("incident/{incident}"))),
    ] {
        assert_eq!(issue[field], expected, "{field}");
    }
    let html = issue["description_html"].as_str().unwrap();
    for evidence in ["connect refused in 3 of 3 regions", "<td>eu-west</td>", "connection refused", "(192.0.2.1)", "/api/v1/incidents/"] {
        assert!(html.contains(evidence), "no {evidence} in {html}");
    }
    let result = html.split("/api/monitor/results/").nth(1).unwrap().split('"').next().unwrap();
    assert_eq!(world.get(&format!("/api/monitor/results/{result}")).await["ok"], false, "the evidence can be looked up");

    let (status, _) = world.ask(Method::Post, &format!("/api/v1/incidents/{incident}/acknowledge"), None).await;
    assert_eq!(status, Status::Ok);
    let id = found[0]["id"].clone();
    until(&world, &clock, "a word on who took it on", |found| found[0]["comments"] == 1).await;
    assert!(comments(&world, &id).await[0].contains("acknowledged by admin"));

    world.stop().await;
    let mut world = open(folder.path(), &clock, 2).await;
    looks(&world, &clock).await;
    assert_eq!(world.get(ISSUES).await["count"], 1, "a restart opens nothing again");
    clock.advance(Duration::from_secs(60)).await;
    seen(&mut world, &clock, shop, true).await;
    until(&world, &clock, "a word on its end", |found| found[0]["comments"] == 2).await;
    let last = comments(&world, &id).await.pop().unwrap();
    assert!(last.contains("is over since") && last.contains(" min "), "{last}");

    // Down again within the day, a minute long: the same issue, since nobody has closed it.
    clock.advance(Duration::from_secs(600)).await;
    seen(&mut world, &clock, shop, false).await;
    let found = until(&world, &clock, "told again", |found| found[0]["comments"] == 3).await;
    assert_eq!(found.len(), 1);
    assert!(comments(&world, &id).await[2].starts_with("Down again."), "{:?}", comments(&world, &id).await);
    seen(&mut world, &clock, shop, true).await;
    until(&world, &clock, "over again", |found| found[0]["comments"] == 4).await;

    // Once it is closed the next one is another's.
    world.log_in().await;
    let (status, answer) =
        world.ask(Method::Patch, &format!("{ISSUES}/{id}/status"), Some(json!({"status": "wont_do", "reason": "a test"}))).await;
    assert_eq!(status, Status::Ok, "{answer}");
    clock.advance(Duration::from_secs(600)).await;
    seen(&mut world, &clock, shop, false).await;
    let found = until(&world, &clock, "another issue", |found| found.len() == 2).await;
    assert_eq!((&found[1]["status"], &found[0]["comments"]), (&json!("reported"), &json!(4)));
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_happened_while_nobody_looked_is_told_later_and_a_blip_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let clock = start();
    let off = [("PROBEMESH_TRACKER__OPEN_ISSUES", "false")];
    let mut world = regions_world::World::open_with(folder.path(), &clock, 1, &off).await;
    let shop = world.add(shop()).await;
    let blip = world.add(json!({"name": "blip", "base_url": "http://192.0.2.2", "interval_s": 60})).await;
    seen(&mut world, &clock, shop, false).await;
    seen(&mut world, &clock, blip, false).await;
    world.until("both", |found| found.len() == 2).await;
    clock.advance(Duration::from_secs(20)).await;
    seen(&mut world, &clock, blip, true).await;
    clock.advance(Duration::from_secs(100)).await;
    seen(&mut world, &clock, shop, true).await;
    world.until("both over", |found| found.iter().all(|incident| incident["open"] == false)).await;
    looks(&world, &clock).await;
    assert_eq!(world.get(ISSUES).await["count"], 0, "it was told not to");
    world.stop().await;
    let world = open(folder.path(), &clock, 2).await;
    let found = until(&world, &clock, "the one that lasted", |found| !found.is_empty()).await;
    looks(&world, &clock).await;
    assert_eq!(world.get(ISSUES).await["count"], 1);
    assert_eq!((&found[0]["service"], &found[0]["comments"]), (&json!(shop), &json!(0)), "its end stands in the issue itself");
    let text = world.get(&format!("{ISSUES}/{}", found[0]["id"])).await["description"].as_str().unwrap().to_owned();
    assert!(text.contains("over since") && text.contains("after 2 min"), "{text}");
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_lost_or_blind_for_long_is_one_issue_until_it_is_back() {
    let folder = tempfile::tempdir().unwrap();
    let clock = start();
    let world = open(folder.path(), &clock, 1).await;
    let (node, region) = (NodeName::from("far-1"), RegionName::from("far"));
    let arrival = || Arrival {
        node: node.clone(),
        region: region.clone(),
        local: false,
        address: None,
        build: None,
        boot: Some(7),
        clock_offset_us: None,
    };
    let members = world.hub.membership.clone();
    let seat = members.join(arrival());
    members.leave(&node, seat.session, "the line is cut");
    clock.advance(Duration::from_secs(200)).await;
    looks(&world, &clock).await;
    assert_eq!(world.get(ISSUES).await["count"], 0, "that happens");
    clock.advance(Duration::from_secs(100)).await;
    let found = until(&world, &clock, "lost", |found| found.len() == 1).await;
    assert_eq!((&found[0]["title"], &found[0]["priority"]), (&json!("Node far-1 of region far is lost"), &json!("high")));
    let text = world.get(&format!("{ISSUES}/{}", found[0]["id"])).await["description_html"].as_str().unwrap().to_owned();
    assert!(text.contains("the line is cut"), "{text}");
    let seat = members.join(arrival());
    until(&world, &clock, "back", |found| found[0]["comments"] == 1).await;
    assert!(comments(&world, &found[0]["id"]).await[0].contains("connected again"));
    // Lost again while the issue is open: told there.
    members.leave(&node, seat.session, "cut again");
    clock.advance(Duration::from_secs(300)).await;
    let found = until(&world, &clock, "again", |found| found[0]["comments"] == 2).await;
    assert_eq!(found.len(), 1);
    let seat = members.join(arrival());
    until(&world, &clock, "back again", |found| found[0]["comments"] == 3).await;

    let status =
        |blind: Option<&str>, quarantined: u64| NodeStatus { blind: blind.map(str::to_owned), quarantined, ..NodeStatus::default() };
    members.heard_status(&node, seat.session, status(Some("no witness answers"), 0));
    looks(&world, &clock).await;
    clock.advance(Duration::from_secs(300)).await;
    let found = until(&world, &clock, "blind", |found| found.len() == 2).await;
    assert_eq!(found[1]["title"], "Node far-1 of region far is blind");
    members.heard_status(&node, seat.session, status(None, 0));
    until(&world, &clock, "it sees", |found| found[1]["comments"] == 1).await;
    members.heard_status(&node, seat.session, status(None, 2));
    let found = until(&world, &clock, "probers in quarantine there", |found| found.len() == 3).await;
    assert_eq!(found[2]["title"], "far-1: a prober is in quarantine");
    looks(&world, &clock).await;
    assert_eq!(world.get(ISSUES).await["count"], 3);
    drop(members);
    world.stop().await;
}

#[cfg(debug_assertions)]
#[rocket::async_test]
async fn a_prober_in_quarantine_is_an_issue_of_its_service() {
    let world = world::World::start().await;
    let target = Target::plain(|_| Reply::text(200, "fine")).await;
    let bad = world.add(json!({"name": "bad", "base_url": target.url("http", "127.0.0.1"), "interval_s": 1, "kind": "panic"})).await;
    let step = Duration::from_millis(250);
    let issue = world
        .until(step, "the issue", async |world| {
            let found = world.get(ISSUES).await;
            (found["count"] == 1).then(|| found["results"][0].clone())
        })
        .await;
    assert_eq!((&issue["service"], &issue["issue_type"]), (&json!(bad), &json!("bug")));
    let detail = world.get(&format!("{ISSUES}/{}", issue["id"])).await;
    assert!(detail["description"].as_str().unwrap().contains("panicked"), "{detail}");
    // An edit is a new chance, and told.
    world.ask(Method::Patch, &format!("/api/monitor/services/{bad}/"), Some(json!({"kind": "http"}))).await;
    world.until(step, "a word on it", async |world| (world.get(ISSUES).await["results"][0]["comments"] == 1).then_some(())).await;
    assert_eq!(world.get(ISSUES).await["count"], 1);
    world.finish().await;
}

fn rounds(desk: &Desk) -> Rounds {
    let nobody = Hooks { silence: Box::new(|_, _| {}), node: Box::new(|_| {}), last_round: Box::new(|_, _| None) };
    Rounds {
        explained: Arc::new(|_, _| false),
        tracker: desk.world.tracker.clone(),
        settings: TrackerSettings {
            open_issues: true,
            open_for_severity: Some(Severity::Critical),
            open_after: Duration::from_secs(60),
            node_after: Duration::from_secs(300),
            repeated_findings: 3,
            repeated_within: Duration::from_secs(7 * 86_400),
        },
        membership: Arc::new(Membership::new(desk.world.clock.clone(), nobody)),
        region: Arc::default(),
        clock: desk.world.clock.clone(),
        seen: Mutex::new(BTreeMap::new()),
    }
}

fn finding(number: u32, since: Timestamp, shape: Shape) -> Finding {
    Finding {
        id: FindingId(format!("finding-{number}").into()),
        service: Some(ServiceId(1)),
        name: "shop".into(),
        region: None,
        regions: vec![RegionName::from("local")],
        signal: Signal::Latency,
        shape,
        since,
        last: since,
        ended: Some(since.plus(Duration::from_secs(600))),
        observed: 90_000.0,
        expected: Some(10_000.0),
        score: 0.9,
        confidence: 0.9,
        samples: 10,
        learning: None,
        summary: format!("latency p50 9 × its habit, number {number}"),
        evidence: Vec::new(),
        feedback: None,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_finding_time_and_again_is_one_issue() {
    let desk = Desk::open().await;
    desk.world.service(&desk.operator, json!({"name": "shop", "base_url": "https://shop.example"})).await;
    let all = Wanted { all: true, ..Wanted::default() };
    let (rounds, findings) = (rounds(&desk), desk.world.findings.clone());
    let day = |day: u32| at("2026-11-22T07:00:00Z").minus(Duration::from_secs(u64::from(day) * 86_400));
    // Two of a kind within the week, one long past, one of another kind, one that a person called none.
    let old = [
        finding(1, day(20), Shape::Spike),
        finding(2, day(5), Shape::Spike),
        finding(3, day(3), Shape::LevelUp),
        finding(4, day(2), Shape::Dip),
    ];
    findings.save(&old).await.unwrap();
    findings.save(&[finding(5, day(1), Shape::Spike)]).await.unwrap();
    findings.feedback(&FindingId("finding-5".into()), false, None, &crate::api_world::author()).await.unwrap();
    assert_eq!(rounds.look(&all).await.unwrap(), Looked::default());
    findings.save(&[finding(6, day(0), Shape::Spike)]).await.unwrap();
    assert_eq!(rounds.look(&all).await.unwrap(), Looked { opened: 1, commented: 0 });
    assert_eq!(rounds.look(&all).await.unwrap(), Looked::default());
    let issue = desk.get("/1").await;
    assert_eq!(issue["title"], "shop: latency spike found 3 times within 7 days");
    let text = issue["description_html"].as_str().unwrap();
    for number in [2, 3, 6] {
        assert!(text.contains(&format!("number {number}")), "{text}");
    }
    assert!(!text.contains("number 1") && !text.contains("number 5"), "{text}");
    // One more is told there; once it is closed it takes three more.
    findings.save(&[finding(7, day(0).plus(Duration::from_secs(60)), Shape::Spike)]).await.unwrap();
    assert_eq!(rounds.look(&all).await.unwrap(), Looked { opened: 0, commented: 1 });
    desk.step(1, "wont_do").await.expect(200);
    let more: Vec<Finding> = (8..10).map(|number| finding(number, day(0).plus(Duration::from_secs(number.into())), Shape::Spike)).collect();
    findings.save(&more).await.unwrap();
    assert_eq!(rounds.look(&all).await.unwrap(), Looked::default());
    findings.save(&[finding(10, day(0).plus(Duration::from_secs(100)), Shape::Spike)]).await.unwrap();
    // Another look at the same time from elsewhere, as after a kill: the store lets one of them open it.
    let other = super::opener::rounds(&desk);
    let (one, two) = tokio::join!(rounds.look(&all), other.look(&all));
    assert_eq!(one.unwrap().opened + two.unwrap().opened, 1);
    assert_eq!(desk.get("").await["count"], 2);
}
