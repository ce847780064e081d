//! Alerts from cause to channel: what is told to whom, in which order, and what becomes of it when channels fail and processes die.

use std::time::{Duration, Instant};

use probemesh::hub::membership::Arrival;
use probemesh::model::alert::{CauseMove, Telling};
use probemesh::model::check::{Certificate, CheckResult};
use probemesh::model::finding::{Finding, FindingId, Shape, Signal};
use probemesh::model::id::ServiceId;
use probemesh::model::incident::Incident;
use serde_json::json;

use crate::alerts_world::{Mood, World, cause, failure, settings};
use crate::api_world::author;

#[tokio::test(flavor = "multi_thread")]
async fn an_incident_is_told_with_all_that_is_known_and_so_is_its_end() {
    let mut world = World::new(&["mail"]).await;
    let shop = world.service(json!({"name": "shop"})).await;
    world.rule(json!({"name": "on call", "channels": ["mail"]})).await;
    world.deliver();
    let raised = world.raised("incident-a", shop);
    assert_eq!(world.round(vec![raised.clone()]).await, 1);
    world.told("mail", 1).await;
    // Said again, looked at again: it is one cause, and told.
    assert_eq!(world.round(vec![raised]).await, 0);
    world.pass(3).await;
    world.clock.advance(Duration::from_secs(57)).await;
    let cleared = world.cleared("incident-a");
    world.round(vec![cleared.clone()]).await;
    assert_eq!(world.told("mail", 2).await, ["raised incident-a broke", "recovered incident-a broke"]);
    let taken = world.recorder.taken("mail");
    assert_eq!((taken[0].service.as_deref(), taken[0].rule.as_str()), (Some("shop"), "on call"));
    assert_eq!(taken[0].link.as_deref(), Some("https://hub.example/incidents/incident-a"));
    assert_eq!(taken[1].recovered_at.unwrap().since(taken[1].since), Duration::from_secs(60));
    assert_eq!((taken[0].cause.as_str(), &taken[0].cause), ("incident-a", &taken[1].cause));
    assert_ne!(taken[0].key, taken[1].key);
    // The name of a cause is never used again.
    let again = world.raised("incident-a", shop);
    assert_eq!(world.round(vec![cleared, again]).await, 0);
    world.restart_desk();
    let again = world.raised("incident-a", shop);
    assert_eq!(world.round(vec![again]).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_looks_at_any_more_is_over_and_has_not_recovered() {
    let mut world = World::new(&["mail"]).await;
    let shop = world.service(json!({"name": "shop"})).await;
    world.rule(json!({"name": "on call", "channels": ["mail"]})).await;
    world.deliver();
    let raised = world.raised("incident-a", shop);
    world.round(vec![raised]).await;
    world.told("mail", 1).await;
    let over = CauseMove::Unwatched { key: "incident-a".to_owned(), at: world.clock.now() };
    world.round(vec![over]).await;
    assert_eq!(world.told("mail", 2).await, ["raised incident-a broke", "recovered incident-a broke"]);
    let told = &world.recorder.taken("mail")[1];
    assert_eq!(told.recovered_at, None);
    let parts = probemesh::alert::message::Parts::of(told, world.clock.now());
    assert_eq!(parts.first_line, "No longer watched: shop: incident-a broke");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_is_about_the_services_and_kinds_it_names() {
    let mut world = World::new(&["all", "web", "group", "one", "critical"]).await;
    let shop = world.service(json!({"name": "shop", "tags": ["web"], "group": "sales"})).await;
    let blog = world.service(json!({"name": "blog", "tags": ["web"]})).await;
    let mail = world.service(json!({"name": "mail"})).await;
    world.rule(json!({"name": "all", "channels": ["all"], "kinds": ["incident", "system"]})).await;
    world.rule(json!({"name": "web", "channels": ["web"], "tags": ["web"]})).await;
    world.rule(json!({"name": "group", "channels": ["group"], "groups": ["sales"]})).await;
    world.rule(json!({"name": "one", "channels": ["one"], "services": [mail.0]})).await;
    world.rule(json!({"name": "critical", "channels": ["critical"], "min_severity": "critical"})).await;
    world.rule(json!({"name": "off", "channels": ["all"], "enabled": false})).await;
    world.deliver();
    let mut moves: Vec<CauseMove> =
        [("shop", shop), ("blog", blog), ("mail", mail)].iter().map(|(key, service)| world.raised(key, *service)).collect();
    if let CauseMove::Raised(cause) = &mut moves[1] {
        cause.severity = probemesh::model::incident::Severity::Warning;
    }
    let system = probemesh::model::alert::Cause { kind: probemesh::model::alert::CauseKind::System, service: None, ..cause("disk", shop) };
    moves.push(CauseMove::Raised(system));
    world.round(moves).await;
    let table: [(&str, &[&str]); 5] = [
        ("all", &["blog", "disk", "mail", "shop"]),
        ("web", &["blog", "shop"]),
        ("group", &["shop"]),
        ("one", &["mail"]),
        ("critical", &["mail", "shop"]),
    ];
    for (channel, keys) in table {
        world.told(channel, keys.len()).await;
        let mut told: Vec<String> = world.recorder.taken(channel).into_iter().map(|message| message.cause).collect();
        told.sort();
        assert_eq!(told, keys, "{channel}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_told_the_same_twice_because_two_rules_say_so() {
    let mut world = World::new(&["mail", "chat"]).await;
    let shop = world.service(json!({"name": "shop"})).await;
    world.rule(json!({"name": "first", "channels": ["mail"]})).await;
    world.rule(json!({"name": "second", "channels": ["mail", "chat"], "repeat_s": 60})).await;
    world.deliver();
    let raised = world.raised("incident-a", shop);
    world.round(vec![raised]).await;
    world.pass(61).await;
    let cleared = world.cleared("incident-a");
    world.round(vec![cleared]).await;
    let told = ["raised incident-a broke", "repeated incident-a broke", "recovered incident-a broke"];
    assert_eq!(world.told("chat", 3).await, told);
    // The first rule repeats nothing, so the second does.
    assert_eq!(world.told("mail", 3).await, told);
    let rules: Vec<String> = world.recorder.taken("mail").into_iter().map(|message| message.rule).collect();
    assert_eq!(rules, ["first", "second", "first"]);
}

/// The parent, and its children's numbers.
async fn family(world: &World, children: u32) -> (ServiceId, Vec<ServiceId>) {
    let parent = world.service(json!({"name": "database"})).await;
    let mut ids = Vec::new();
    for index in 0..children {
        ids.push(world.service(json!({"name": format!("service {index:03}"), "depends_on": ["database"]})).await);
    }
    (parent, ids)
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_services_behind_one_dead_parent_are_one_alert_whatever_the_order() {
    for order in ["parent first", "children first", "in between"] {
        let mut world = World::new(&["mail"]).await;
        let (parent, children) = family(&world, 200).await;
        world.rule(json!({"name": "on call", "channels": ["mail"], "repeat_s": 600})).await;
        world.deliver();
        let mut moves: Vec<CauseMove> = children.iter().map(|id| world.raised(&format!("incident-{id}"), *id)).collect();
        let root = world.raised("incident-root", parent);
        moves.insert(
            match order {
                "parent first" => 0,
                "children first" => 200,
                _ => 77,
            },
            root,
        );
        // Over four seconds, a part at a time.
        for part in moves.chunks(51) {
            world.round(part.to_vec()).await;
            world.pass(1).await;
        }
        world.pass(10).await;
        world.told("mail", 1).await;
        let taken = world.recorder.taken("mail");
        assert_eq!(taken.len(), 1, "{order}: {:?}", world.recorder.told("mail"));
        assert_eq!((taken[0].cause.as_str(), taken[0].consequences.len()), ("incident-root", 200), "{order}");
        assert_eq!((taken[0].consequences[0].as_str(), taken[0].service.as_deref()), ("service 000", Some("database")));
        // Parent up, then its children: one end, and nothing else.
        let cleared = world.cleared("incident-root");
        world.round(vec![cleared]).await;
        world.pass(5).await;
        let cleared = children.iter().map(|id| world.cleared(&format!("incident-{id}"))).collect();
        world.round(cleared).await;
        world.pass(60).await;
        assert_eq!(world.told("mail", 2).await, ["raised incident-root broke", "recovered incident-root broke"], "{order}");
        assert_eq!(world.alerts.causes.unsettled().await.unwrap(), [], "{order}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_child_that_stays_down_when_its_parent_is_up_is_told_as_its_own() {
    let mut world = World::new(&["mail"]).await;
    let (parent, children) = family(&world, 2).await;
    world.rule(json!({"name": "on call", "channels": ["mail"]})).await;
    world.deliver();
    let moves = vec![world.raised("incident-child", children[0]), world.raised("incident-other", children[1])];
    world.round(moves).await;
    // Those it may follow from are looked at at once.
    assert_eq!(*world.asked.lock().unwrap(), [parent]);
    world.pass(1).await;
    let raised = world.raised("incident-root", parent);
    world.round(vec![raised]).await;
    assert_eq!(world.alerts.causes.consequence_of("incident-child").as_deref(), Some("incident-root"));
    assert_eq!(world.alerts.causes.consequences("incident-root").len(), 2);
    world.pass(10).await;
    let moves = vec![world.cleared("incident-root"), world.cleared("incident-other")];
    world.round(moves).await;
    // It has some time to get well, and is looked at again.
    assert!(world.asked.lock().unwrap().ends_with(&[children[0]]));
    world.pass(29).await;
    assert_eq!(world.told("mail", 2).await.len(), 2);
    world.pass(2).await;
    assert_eq!(world.told("mail", 3).await[2], "raised incident-child broke");
    assert_eq!(world.alerts.causes.consequence_of("incident-child"), None);
    // One that closed as a consequence stays one.
    assert_eq!(world.alerts.causes.consequence_of("incident-other").as_deref(), Some("incident-root"));
}

#[tokio::test(flavor = "multi_thread")]
async fn where_a_rule_does_not_cover_the_parent_it_tells_it_for_its_children() {
    let mut world = World::new(&["sales", "bystanders"]).await;
    let (parent, children) = family(&world, 3).await;
    let alone = world.service(json!({"name": "alone", "tags": ["other"]})).await;
    world.rule(json!({"name": "sales", "channels": ["sales"], "services": [children[0].0, children[1].0]})).await;
    world.rule(json!({"name": "others", "channels": ["bystanders"], "tags": ["other"]})).await;
    world.deliver();
    let moves = vec![
        world.raised("incident-1", children[0]),
        world.raised("incident-2", children[1]),
        world.raised("incident-root", parent),
        world.raised("incident-alone", alone),
    ];
    world.round(moves).await;
    world.pass(8).await;
    assert_eq!(world.told("sales", 1).await, ["raised incident-root broke"]);
    assert_eq!(world.told("bystanders", 1).await, ["raised incident-alone broke"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_in_maintenance_is_not_told_nor_is_what_follows_from_it() {
    let mut world = World::new(&["mail"]).await;
    let (parent, children) = family(&world, 2).await;
    world.rule(json!({"name": "on call", "channels": ["mail"]})).await;
    world.deliver();
    world.in_maintenance.lock().unwrap().push(parent);
    let moves = vec![world.raised("incident-root", parent), world.raised("incident-1", children[0])];
    world.round(moves).await;
    world.pass(30).await;
    assert_eq!(world.deliveries().await, Vec::<String>::new());
    // The window ends, and it still fails.
    world.in_maintenance.lock().unwrap().clear();
    world.pass(1).await;
    assert_eq!(world.told("mail", 1).await, ["raised incident-root broke"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_opened_and_closed_while_the_dispatcher_was_dead_is_told_in_order() {
    let mut world = World::new(&["mail"]).await;
    let shop = world.service(json!({"name": "shop"})).await;
    world.rule(json!({"name": "on call", "channels": ["mail"]})).await;
    world.round(Vec::new()).await;
    world.clock.advance(Duration::from_secs(60)).await;
    // Nobody says so to the dispatcher: all there is is in the store of incidents.
    let first = world.incident("first", shop);
    world.incidents.save(&first, &[]).await.unwrap();
    world.clock.advance(Duration::from_secs(60)).await;
    world.incidents.save(&Incident { closed_at: Some(world.clock.now()), ..first }, &[]).await.unwrap();
    world.clock.advance(Duration::from_secs(60)).await;
    let second = world.incident("second", shop);
    world.incidents.save(&second, &[]).await.unwrap();
    world.restart_desk();
    world.deliver();
    assert_eq!(world.round(Vec::new()).await, 3);
    let told = world.told("mail", 3).await;
    assert_eq!(told, ["raised first broke", "recovered first broke", "raised second broke"]);
    assert_eq!(world.recorder.taken("mail")[1].recovered_at.unwrap(), second.opened_at.minus(Duration::from_secs(60)));
    // Acknowledged while it was dead again: nothing is repeated.
    world.incidents.acknowledge(&second.id, &author()).await.unwrap();
    world.restart_desk();
    assert_eq!(world.round(Vec::new()).await, 0);
    assert!(world.alerts.causes.one("incident-second").await.unwrap().unwrap().acknowledged.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_round_that_could_not_be_written_is_written_once_by_the_next() {
    let mut world = World::new(&["mail"]).await;
    let shop = world.service(json!({"name": "shop"})).await;
    world.rule(json!({"name": "on call", "channels": ["mail"]})).await;
    let raised = world.raised("incident-a", shop);
    assert_eq!(world.round(vec![raised.clone()]).await, 1);
    // The dispatcher dies before it knows that it has written: the next one plans the same anew.
    world.restart().await;
    world.round(vec![raised]).await;
    assert_eq!(world.deliveries().await, ["r1-raised-c1-incident-a pending 0"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_channel_that_hangs_delays_no_other() {
    let slow = probemesh::config::sections::AlertSettings { attempt_timeout: Duration::from_secs(120), ..settings() };
    let mut world = World::with(&["mail", "chat"], slow).await;
    let shop = world.service(json!({"name": "shop"})).await;
    world.rule(json!({"name": "on call", "channels": ["mail", "chat"]})).await;
    world.recorder.mood("mail", Mood::Hangs(Duration::from_secs(60)));
    world.deliver();
    for number in 0..20 {
        let began = Instant::now();
        let raised = world.raised(&format!("incident-{number}"), shop);
        world.round(vec![raised]).await;
        world.told("chat", number + 1).await;
        assert!(began.elapsed() < Duration::from_secs(20), "{number} took {:?}", began.elapsed());
    }
    assert_eq!((world.recorder.tried("mail").len(), world.recorder.taken("mail").len()), (1, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failing_channel_is_tried_again_with_growing_waits_until_it_takes_it() {
    let mut world = World::new(&["mail"]).await;
    let shop = world.service(json!({"name": "shop"})).await;
    world.rule(json!({"name": "on call", "channels": ["mail"]})).await;
    world.recorder.mood("mail", Mood::Fails(3, failure(false, None)));
    world.deliver();
    let raised = world.raised("incident-a", shop);
    world.round(vec![raised]).await;
    let mut waits = Vec::new();
    for attempt in 1..=3u32 {
        world.until("an attempt", |world| (world.recorder.tried("mail").len() == attempt as usize).then_some(())).await;
        let id = "r1-raised-c1-incident-a";
        // Until its outcome is written the time of this attempt stands there, which is over.
        let ahead = |world: &World| world.alerts.deliveries.figures(id).filter(|of| of.next_at.is_some_and(|at| at > world.clock.now()));
        let waiting = world.until("its outcome", ahead).await;
        let wait = waiting.next_at.unwrap().since(world.clock.now());
        let ceiling = Duration::from_secs(5 * (1 << (attempt - 1)));
        assert!(wait >= ceiling / 2 && wait <= ceiling, "{attempt}: {wait:?}");
        waits.push(wait);
        // Not a moment before.
        world.clock.advance(wait - Duration::from_millis(1)).await;
        assert_eq!(world.recorder.tried("mail").len(), attempt as usize);
        world.clock.advance(Duration::from_millis(2)).await;
    }
    assert_eq!(world.told("mail", 1).await, ["raised incident-a broke"]);
    let keys: Vec<String> = world.recorder.tried("mail").into_iter().map(|message| message.key).collect();
    assert!(keys.len() == 4 && keys.iter().all(|key| *key == keys[0]), "each attempt has the same key: {keys:?}");
    assert!(world.metric("probemesh_alert_deliveries_total{channel=\"mail\",outcome=\"failed\"} 3"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_for_good_is_a_dead_letter_that_a_person_may_send_again() {
    let mut world = World::new(&["mail"]).await;
    let shop = world.service(json!({"name": "shop"})).await;
    world.rule(json!({"name": "on call", "channels": ["mail"]})).await;
    world.recorder.mood("mail", Mood::Fails(1, failure(true, None)));
    world.deliver();
    let raised = world.raised("incident-a", shop);
    world.round(vec![raised]).await;
    let id = "r1-raised-c1-incident-a";
    let dead = |world: &World| world.alerts.deliveries.figures(id).filter(|of| of.state.name() == "dead");
    world.until("it is given up", dead).await;
    let kept = world.alerts.deliveries.one(id).await.unwrap().unwrap();
    assert_eq!((kept.error.as_deref(), kept.attempts), (Some("401: no such token"), 1));
    assert!(world.alerts.deliveries.retry(id, &author()).await.unwrap());
    world.told("mail", 1).await;
    let delivered = |world: &World| world.alerts.deliveries.figures(id).filter(|of| of.state.name() == "delivered");
    world.until("it is delivered", delivered).await;
    assert!(!world.alerts.deliveries.retry(id, &author()).await.unwrap(), "only what is dead is sent again");
}

#[tokio::test(flavor = "multi_thread")]
async fn after_hours_of_failing_it_is_given_up() {
    let mut world = World::new(&["mail"]).await;
    let shop = world.service(json!({"name": "shop"})).await;
    world.rule(json!({"name": "on call", "channels": ["mail"]})).await;
    world.recorder.mood("mail", Mood::Fails(1_000, failure(false, None)));
    world.deliver();
    let raised = world.raised("incident-a", shop);
    world.round(vec![raised]).await;
    let state = |world: &World| world.alerts.deliveries.figures("r1-raised-c1-incident-a").unwrap().state.name();
    let mut minutes = 0;
    while state(&world) != "dead" {
        world.clock.advance(Duration::from_secs(60)).await;
        tokio::time::sleep(Duration::from_millis(3)).await;
        minutes += 1;
        assert!(minutes < 120, "it never gives up");
    }
    assert!(minutes >= 60 && world.recorder.tried("mail").len() < 20, "{minutes} min, {} tries", world.recorder.tried("mail").len());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_far_side_is_left_alone_for_as_long_as_it_asks_and_no_faster_than_it_allows() {
    let mut world = World::new(&["mail", "chat"]).await;
    let shop = world.service(json!({"name": "shop"})).await;
    world.rule(json!({"name": "on call", "channels": ["mail", "chat"]})).await;
    world.recorder.mood("mail", Mood::Fails(1, failure(false, Some(300))));
    world.recorder.rate("chat", 2, Duration::from_secs(60));
    world.deliver();
    let moves = ["a", "b", "c"].map(|key| world.raised(key, shop)).to_vec();
    world.round(moves).await;
    assert_eq!(world.told("chat", 2).await.len(), 2);
    world.until("the first try", |world| (world.recorder.tried("mail").len() == 1).then_some(())).await;
    world.until("its outcome", |world| world.alerts.deliveries.figures("r1-raised-c1-a").filter(|of| of.next_at.is_some())).await;
    for _ in 0..59 {
        world.clock.advance(Duration::from_secs(1)).await;
    }
    assert_eq!((world.recorder.tried("mail").len(), world.recorder.taken("chat").len()), (1, 2));
    world.clock.advance(Duration::from_secs(2)).await;
    world.told("chat", 3).await;
    world.clock.advance(Duration::from_secs(230)).await;
    assert_eq!(world.recorder.tried("mail").len(), 1, "the others wait, too");
    world.clock.advance(Duration::from_secs(60)).await;
    world.clock.advance(Duration::from_secs(60)).await;
    assert_eq!(world.told("mail", 3).await.len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_never_overtakes_the_beginning_and_what_is_out_of_date_is_left_out() {
    let mut world = World::new(&["mail"]).await;
    let (shop, blog) = (world.service(json!({"name": "shop"})).await, world.service(json!({"name": "blog"})).await);
    world.rule(json!({"name": "on call", "channels": ["mail"], "repeat_s": 60})).await;
    world.recorder.mood("mail", Mood::Fails(1, failure(false, None)));
    world.deliver();
    let raised = world.raised("incident-a", shop);
    world.round(vec![raised]).await;
    let id = "r1-raised-c1-incident-a";
    world.until("it failed", |world| world.alerts.deliveries.figures(id).filter(|of| of.next_at.is_some())).await;
    // Others are not held up by it.
    let raised = world.raised("incident-b", blog);
    world.round(vec![raised]).await;
    assert_eq!(world.told("mail", 1).await, ["raised incident-b broke"]);
    let cleared = vec![world.cleared("incident-a"), world.cleared("incident-b")];
    world.round(cleared).await;
    let told = world.told("mail", 3).await;
    // Tried in vain and over: the end tells both.
    assert_eq!(told.iter().filter(|told| told.contains("incident-a")).collect::<Vec<_>>(), ["recovered incident-a broke"]);
    assert_eq!(told.iter().filter(|told| told.contains("incident-b")).count(), 2);
    assert_eq!(world.alerts.deliveries.figures(id).unwrap().state.name(), "folded");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_under_way_at_a_kill_is_sent_again_and_counted_only_where_it_may_come_twice() {
    let mut world = World::new(&["webhook", "mail"]).await;
    world.recorder.without_key("mail");
    let shop = world.service(json!({"name": "shop"})).await;
    world.rule(json!({"name": "on call", "channels": ["webhook", "mail"]})).await;
    let raised = world.raised("incident-a", shop);
    world.round(vec![raised]).await;
    for id in ["r1-raised-c1-incident-a", "r1-raised-c2-incident-a"] {
        // As a lane does before it sends; then the process dies.
        let figures = world.alerts.deliveries.figures(id).unwrap();
        world.alerts.deliveries.begin(&figures).await.unwrap();
    }
    world.restart().await;
    world.deliver();
    world.told("webhook", 1).await;
    world.told("mail", 1).await;
    let delivered = |world: &World| (world.alerts.deliveries.waiting_channels().is_empty()).then_some(());
    world.until("both are delivered", delivered).await;
    let mut duplicates = Vec::new();
    for id in ["r1-raised-c1-incident-a", "r1-raised-c2-incident-a"] {
        let delivery = world.alerts.deliveries.one(id).await.unwrap().unwrap();
        duplicates.push((delivery.attempts, delivery.possible_duplicates));
        assert_eq!(delivery.message.key, id);
    }
    assert_eq!(duplicates, [(2, 0), (2, 1)]);
    assert!(world.metric("probemesh_alert_possible_duplicates_total{channel=\"mail\"} 1"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_channel_that_panics_is_one_that_failed() {
    let mut world = World::new(&["mail"]).await;
    let shop = world.service(json!({"name": "shop"})).await;
    world.rule(json!({"name": "on call", "channels": ["mail"]})).await;
    world.recorder.mood("mail", Mood::Panics);
    world.deliver();
    let raised = world.raised("incident-a", shop);
    world.round(vec![raised]).await;
    let id = "r1-raised-c1-incident-a";
    world.until("it failed", |world| world.alerts.deliveries.figures(id).filter(|of| of.next_at.is_some())).await;
    world.recorder.mood("mail", Mood::Well);
    world.clock.advance(Duration::from_secs(6)).await;
    assert_eq!(world.told("mail", 1).await, ["raised incident-a broke"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn acknowledging_stops_repeats_and_steps_across_a_restart() {
    let mut world = World::new(&["mail", "boss"]).await;
    let shop = world.service(json!({"name": "shop"})).await;
    let escalations = json!([{"after_s": 120, "channels": ["boss"]}]);
    world
        .rule(json!({"name": "on call", "channels": ["mail"], "repeat_s": 60, "escalations": escalations, "tell_acknowledged": true}))
        .await;
    world.deliver();
    let raised = world.raised("incident-a", shop);
    world.round(vec![raised]).await;
    world.pass(61).await;
    let (by, at) = ("ada".to_owned(), world.clock.now());
    world.round(vec![CauseMove::Acknowledged { key: "incident-a".to_owned(), by, note: "on it".to_owned(), at }]).await;
    world.restart_desk();
    world.pass(300).await;
    let told = world.told("mail", 3).await;
    assert_eq!(told, ["raised incident-a broke", "repeated incident-a broke", "acknowledged incident-a broke"]);
    let last = world.recorder.taken("mail").pop().unwrap();
    assert_eq!((last.telling, last.acknowledged_by.as_deref()), (Telling::Acknowledged, Some("ada: on it")));
    assert!(world.recorder.taken("boss").is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_degraded_service_is_told_where_a_rule_asks_and_an_incident_takes_its_place() {
    let mut world = World::new(&["mail", "other"]).await;
    let shop = world.service(json!({"name": "shop", "degraded_after_ms": 100})).await;
    world.rule(json!({"name": "slow", "channels": ["mail"], "kinds": ["degraded"]})).await;
    world.rule(json!({"name": "down", "channels": ["other"]})).await;
    world.deliver();
    world.show_services();
    world.check(shop, 1, |result| result.latency = Duration::from_millis(250));
    world.pass(6).await;
    world.told("mail", 1).await;
    let first = world.recorder.taken("mail").remove(0);
    assert_eq!((first.telling, first.service.as_deref(), first.regions.len()), (Telling::Raised, Some("shop"), 1));
    // Looked at again and again, across a restart, it is the same.
    world.restart_desk();
    world.pass(12).await;
    world.check(shop, 2, |_| ());
    world.pass(6).await;
    assert_eq!(world.told("mail", 2).await.len(), 2);
    assert_eq!(world.recorder.taken("mail")[1].telling, Telling::Recovered);
    // Slow again it is another cause; while an incident is open there is none beside it.
    world.check(shop, 3, |result| result.latency = Duration::from_millis(250));
    world.pass(6).await;
    world.told("mail", 3).await;
    let raised = world.raised("incident-a", shop);
    world.round(vec![raised]).await;
    world.pass(6).await;
    assert_eq!(world.told("mail", 4).await.len(), 4);
    let causes: Vec<String> = world.recorder.taken("mail").into_iter().map(|message| message.cause).collect();
    assert!(causes[0] == causes[1] && causes[2] == causes[3] && causes[0] != causes[2], "{causes:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_ends_soon_is_told_at_each_number_of_days_and_when_it_is_renewed() {
    let mut world = World::new(&["mail"]).await;
    let shop = world.service(json!({"name": "shop"})).await;
    world.rule(json!({"name": "certificates", "channels": ["mail"], "kinds": ["certificate"], "certificate_days": [14, 3]})).await;
    world.deliver();
    world.show_services();
    let now = world.clock.now();
    let shown = |fingerprint: &str, days: u64| {
        let not_after = now.plus(Duration::from_secs(days * 86_400));
        let names = ("CN=shop.example".to_owned(), "CN=Some CA".to_owned());
        let certificate = Certificate { subject: names.0, issuer: names.1, not_before: now, not_after, fingerprint: fingerprint.repeat(8) };
        move |result: &mut CheckResult| result.certificate = Some(std::sync::Arc::new(certificate))
    };
    world.check(shop, 1, shown("aaaaaaaa", 20));
    world.pass(6).await;
    assert!(world.recorder.taken("mail").is_empty());
    for (day, expected) in [(7u64, 1), (8, 1), (18, 2), (19, 2)] {
        let target = now.plus(Duration::from_secs(day * 86_400));
        world.clock.advance(target.since(world.clock.now())).await;
        world.pass(6).await;
        world.told("mail", expected).await;
        assert_eq!(world.recorder.taken("mail").len(), expected, "after {day} days");
    }
    world.check(shop, 2, shown("bbbbbbbb", 400));
    world.pass(6).await;
    let told = world.told("mail", 3).await;
    assert!(told[0].starts_with("raised certificate CN=shop.example ends in 12 days, on 2026-12-12"), "{told:?}");
    assert!(told[1].starts_with("repeated certificate CN=shop.example ends in ") && told[2].starts_with("recovered"), "{told:?}");
    let severities: Vec<&str> = world.recorder.taken("mail").iter().map(|message| message.severity.name()).collect();
    assert_eq!(severities, ["warning", "critical", "critical"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_lost_is_told_and_one_that_is_back_at_once_is_not() {
    let mut world = World::new(&["mail"]).await;
    world.rule(json!({"name": "nodes", "channels": ["mail"], "kinds": ["node"]})).await;
    world.deliver();
    let arrival = || Arrival {
        node: "eu-1".into(),
        region: "eu".into(),
        local: false,
        address: None,
        build: None,
        boot: None,
        clock_offset_us: None,
    };
    let seat = world.membership.join(arrival());
    world.pass(6).await;
    world.membership.leave(&"eu-1".into(), seat.session, "silent for 8 s");
    world.pass(10).await;
    let seat = world.membership.join(arrival());
    world.pass(20).await;
    assert!(world.recorder.taken("mail").is_empty());
    world.membership.leave(&"eu-1".into(), seat.session, "silent for 8 s");
    world.pass(30).await;
    let told = world.told("mail", 1).await;
    assert_eq!(told, ["raised node eu-1 is lost: silent for 8 s; region eu has none left that sees"]);
    assert_eq!(world.recorder.taken("mail")[0].severity.name(), "critical");
    world.membership.join(arrival());
    world.pass(6).await;
    world.told("mail", 2).await;
    assert_eq!(world.recorder.taken("mail")[1].telling, Telling::Recovered);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_finding_is_told_when_it_is_large_enough_and_its_end_too() {
    let mut world = World::new(&["mail"]).await;
    let shop = world.service(json!({"name": "shop"})).await;
    world.rule(json!({"name": "findings", "channels": ["mail"], "kinds": ["finding"], "min_size": 3.0})).await;
    world.deliver();
    let found = |id: &str, observed: f64| Finding {
        id: FindingId(id.into()),
        service: Some(shop),
        name: "shop".into(),
        region: None,
        regions: vec!["eu".into()],
        signal: Signal::Latency,
        shape: Shape::LevelUp,
        since: world.clock.now(),
        last: world.clock.now(),
        ended: None,
        observed,
        expected: Some(10_000.0),
        score: 0.9,
        confidence: 0.9,
        samples: 5,
        learning: None,
        summary: format!("{id} is slow"),
        evidence: Vec::new(),
        feedback: None,
    };
    let (large, small) = (found("large", 50_000.0), found("small", 20_000.0));
    world.findings.save(&[large.clone(), small]).await.unwrap();
    world.pass(6).await;
    assert_eq!(world.told("mail", 1).await, ["raised large is slow"]);
    let ended = Some(world.clock.now());
    world.findings.save(&[Finding { ended, ..large }]).await.unwrap();
    world.pass(6).await;
    assert_eq!(world.told("mail", 2).await, ["raised large is slow", "recovered large is slow"]);
}
