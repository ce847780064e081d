//! Performance at the edge: weeks of results with trouble in them are fed to the real hub, which is asked what is the matter.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use probemesh::aggregate::endpoint::{Endpoint, EndpointKind};
use probemesh::aggregate::rollup::Rule;
use probemesh::clock::Clock;
use probemesh::model::check::{CheckResult, Failure, Phase, Phases, Reason};
use probemesh::model::id::{Boot, CheckId, NodeName, RegionName, ServiceId};
use probemesh::model::time::Timestamp;
use probemesh::store::Store;
use probemesh::store::connection::StoreError;
use probemesh::store::endpoints::EndpointHours;
use probemesh::wire::batch::{BatchHead, encode};
use rocket::http::{Method, Status};
use serde_json::{Value, json};

use crate::api_world::store_settings;
use crate::world::World;

const BASE: &str = "/api/v1/maintenance/performance";
const REGIONS: [&str; 3] = ["ap-south", "eu-west", "us-east"];
const GAP: Duration = Duration::from_secs(3 * 3600);
/// Checks a day.
const A_DAY: u64 = 8;
const DAYS: u64 = 15;
const CHECKS: u64 = DAYS * A_DAY;

/// What a check came to: milliseconds by phase, and whether it failed.
type Check = ([f64; 5], Option<Reason>);

fn healthy(index: u64) -> Check {
    let ease = 1.0 + 0.1 * ((index * 7919 % 101) as f64 / 50.0 - 1.0);
    ([4.0, 10.0, 12.0, 30.0, 2.0].map(|ms| ms * ease), None)
}

fn result(service: u64, region: &str, seq: u64, at: Timestamp, (phases, failure): Check) -> CheckResult {
    let span = |ms: f64| Duration::from_micros((ms * 1000.0) as u64);
    let [dns, connect, tls, first_byte, transfer] = phases.map(|ms| Some(span(ms)));
    let latency = span(phases.iter().sum());
    CheckResult {
        id: CheckId { node: NodeName::from(format!("{region}-1").as_str()), boot: Boot(1), seq },
        service: ServiceId(service as u32),
        region: RegionName::from(region),
        scheduled_at: at,
        started_at: at,
        latency,
        elapsed: latency,
        clock_offset: 0,
        status_code: Some(if failure.is_some() { 503 } else { 200 }),
        failure: failure.map(|reason| Failure { reason, phase: Phase::Expect, message: "not as expected".to_owned() }),
        phases: Phases { dns, connect, tls, first_byte, transfer },
        address: None,
        http_version: None,
        tls_version: None,
        certificate: None,
        body_bytes: 1,
        redirects: 0,
        attempt_count: 1,
        attempts: Vec::new(),
        evidence: None,
    }
}

/// A hub whose services have been checked on these of fifteen days until now, as `check` says by service, region, day and number. The
/// first so many of them are packed and rolled up before the next comes.
async fn fed(
    services: &[&str],
    days: Range<u64>,
    packed: u64,
    check: impl Fn(&str, &str, f64, u64) -> Check,
) -> (World, BTreeMap<String, u64>) {
    let world = World::start().await;
    let mut ids = BTreeMap::new();
    for name in services {
        // Disabled: the hub's own region leaves it alone.
        let service = json!({"name": name, "base_url": "https://api.example", "interval_s": 10800, "enabled": false, "retries": 0,
            "degraded_after_ms": 600});
        ids.insert((*name).to_owned(), world.add(service).await);
    }
    let start = world.clock.now().minus(GAP * CHECKS as u32);
    let results = &world.hub.store.results;
    for day in days.clone() {
        if (1..=packed).contains(&(day - days.start)) {
            settle(&world).await;
        }
        for region in REGIONS {
            let node = NodeName::from(format!("{region}-1").as_str());
            let of = |index: u64| ids.iter().map(move |(name, id)| (index, name, *id));
            let batch: Vec<CheckResult> = (day * A_DAY..(day + 1) * A_DAY)
                .flat_map(of)
                .enumerate()
                .map(|(place, (index, name, id))| {
                    let seq = day * 10_000 + place as u64;
                    result(id, region, seq, start.plus(GAP * index as u32), check(name, region, index as f64 / A_DAY as f64, index))
                })
                .collect();
            let head = BatchHead::new(&node, &RegionName::from(region), Boot(1), day + 1, 0);
            results.append(&encode(&head, &batch)).await.expect("a batch is stored");
        }
    }
    (world, ids)
}

/// Packs what was fed, and rolls it up.
async fn settle(world: &World) {
    // Past the span a block may be open for.
    let later = world.clock.now().plus(Duration::from_secs(3700));
    let results = &world.hub.store.results;
    let rule = Rule { gap: GAP, failure: 1, success: 1 };
    // On a machine with much else to do a call may run out of time; whoever packs tries again.
    let again = |outcome: Result<bool, StoreError>| match outcome {
        Err(error) if error.away() => true,
        outcome => outcome.unwrap(),
    };
    while again(results.seal(later).await.map(|sealed| sealed.more)) {}
    while again(results.roll(world.clock.now(), Arc::new(move |_, _| Some(rule))).await.map(|rolled| rolled.more)) {}
}

fn rules(answer: &Value) -> Vec<(String, String)> {
    let results = answer["results"].as_array().unwrap().iter();
    let mut rules: Vec<(String, String)> =
        results.map(|one| (one["rule"].as_str().unwrap().to_owned(), one["what"].as_str().unwrap().to_owned())).collect();
    rules.sort();
    rules
}

#[tokio::test(flavor = "multi_thread")]
async fn injected_trouble_is_named_ranked_and_nothing_else() {
    let services = ["blog", "catalog", "checkout", "docs", "search"];
    let (world, ids) = fed(&services, 0..DAYS, 2, |name, region, day, index| {
        let (mut phases, mut failure) = healthy(index);
        if region == "ap-south" {
            phases[0] = 150.0;
        }
        match name {
            "catalog" => phases[3] = 60.0 + 25.0 * day + phases[3] / 10.0,
            "checkout" => phases[2] = 140.0,
            "search" if index.is_multiple_of(16) => failure = Some(Reason::Status),
            _ => {}
        }
        (phases, failure)
    })
    .await;
    let analysis = world.get(&format!("{BASE}/analysis?hours=168")).await;
    let of = |name: &str| analysis["services"].as_array().unwrap().iter().find(|service| service["service_name"] == name).unwrap().clone();
    let (docs, catalog, search) = (of("docs"), of("catalog"), of("search"));
    // Seven days of eight checks in each of three regions, but for the one at their very start.
    assert_eq!(docs["checks"], 3 * (7 * A_DAY - 1), "{docs:#}");
    let eu = docs["regions"].as_array().unwrap().iter().find(|region| region["region"] == "eu-west").unwrap();
    let mean = eu["latency"]["mean_ms"].as_f64().unwrap();
    assert!(
        (mean - 58.0).abs() < 1.0 && eu["phases"]["first_byte"]["median_ms"].as_f64().is_some_and(|ms| (ms - 30.0).abs() < 1.0),
        "{eu:#}"
    );
    assert_eq!((&docs["trend"]["direction"], &docs["error_rate"]), (&json!("steady"), &json!(0.0)), "{docs:#}");
    assert_eq!(catalog["trend"]["direction"], "slower", "{catalog:#}");
    assert_eq!(catalog["phases"]["first_byte"]["trend"]["direction"], "slower");
    assert_eq!(catalog["phases"]["tls"]["trend"]["direction"], "steady");
    assert_eq!(search["failures"], 9, "{search:#}");
    assert_eq!(search["failures_by_reason"]["status"], search["failures"]);

    let found = world.get(&format!("{BASE}/bottlenecks?days=7")).await;
    let places: Vec<(Value, Value)> =
        found["results"].as_array().unwrap().iter().map(|one| (one["service_name"].clone(), one["phase"].clone())).collect();
    let first: Vec<(Value, Value)> = vec![(json!("checkout"), json!("tls")), (json!("catalog"), json!("first_byte"))];
    // Names cost each service the same, in ap-south alone.
    assert_eq!(places[..2], first, "{found:#}");
    let dns = found["results"].as_array().unwrap().iter().filter(|one| one["phase"] == "dns").collect::<Vec<_>>();
    assert!(dns.len() == 5 && dns.iter().all(|one| one["region"] == "ap-south"), "{found:#}");
    let costs: Vec<f64> = found["results"].as_array().unwrap().iter().map(|one| one["cost_s_per_day"].as_f64().unwrap()).collect();
    assert!(costs.windows(2).all(|pair| pair[0] >= pair[1]), "{costs:?}");

    let advice = world.get(&format!("{BASE}/recommendations?days=7")).await;
    let said = rules(&advice);
    let expected = [
        ("dns_slow_in_region", "ap-south alone"),
        ("errors", "search fails"),
        ("limit_ahead", "catalog grows by 25 ms a day"),
        ("tls_share_high", "checkout"),
    ];
    assert_eq!(said.len(), expected.len(), "{advice:#}");
    for ((rule, what), (wanted, part)) in said.iter().zip(expected) {
        assert!(rule == wanted && what.contains(part), "{rule}: {what}");
    }
    // 60 ms at the start, 25 more each of 15 days, and about 80 around it: some 85 to go to 600.
    let ahead = said.iter().find(|(rule, _)| rule == "limit_ahead").unwrap();
    assert!(ahead.1.contains("in about 3 days (") || ahead.1.contains("in about 4 days ("), "{ahead:?}");
    for one in advice["results"].as_array().unwrap() {
        assert!(one["why"].as_array().is_some_and(|why| !why.is_empty()) && one["sure"].as_f64().is_some_and(|sure| sure > 0.3), "{one:#}");
    }

    // One service, one region.
    let one = world.get(&format!("{BASE}/analysis?hours=24&service={}&region=eu-west", ids["docs"])).await;
    assert_eq!((one["services"].as_array().unwrap().len(), one["regions"].as_array().unwrap().len()), (1, 1));
    assert!(one["endpoints"].as_array().unwrap().is_empty());
    let alone = world.get(&format!("{BASE}/recommendations?days=7&service={}", ids["checkout"])).await;
    assert!(rules(&alone).iter().any(|(rule, _)| rule == "tls_share_high"), "{alone:#}");
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_to_be_packed_is_read_as_what_is_packed() {
    let (world, _) = fed(&["docs"], 13..DAYS, 1, |_, _, _, index| healthy(index)).await;
    let waiting = world.get(&format!("{BASE}/analysis?hours=24")).await;
    settle(&world).await;
    // Past what is answered again, within the same hour.
    world.clock.advance(Duration::from_secs(16)).await;
    let packed = world.get(&format!("{BASE}/analysis?hours=24")).await;
    assert_eq!(waiting["services"][0]["checks"], 3 * (A_DAY - 1), "{waiting:#}");
    assert_eq!((&waiting["services"], &waiting["regions"]), (&packed["services"], &packed["regions"]));
    assert_ne!(waiting["generated_at"], packed["generated_at"]);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_healthy_set_nothing_is_said_at_any_length() {
    let (world, _) = fed(&["blog", "docs", "search"], 0..DAYS, 0, |_, _, _, index| healthy(index)).await;
    for query in ["hours=2", "hours=24", "days=7", "days=30", "days=90"] {
        let advice = world.get(&format!("{BASE}/recommendations?{query}")).await;
        assert_eq!(rules(&advice), vec![], "{query}");
    }
    let month = world.get(&format!("{BASE}/analysis?hours=720")).await;
    assert_eq!(month["whole"]["checks"], 3 * 3 * CHECKS);
    // A month before it there was nothing to hold it against.
    assert_eq!(month["whole"]["trend"]["missing"], "not enough data (have 0, need 8 pairs of blocks)");
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn too_little_is_said_and_wrong_questions_are_refused_by_name() {
    let world = World::start().await;
    let empty = world.get(&format!("{BASE}/analysis")).await;
    assert_eq!((&empty["whole"]["checks"], &empty["whole"]["latency"]), (&json!(0), &Value::Null));
    assert_eq!(empty["whole"]["error_trend"]["missing"], "not enough data (have 0, need 30 checks)");
    let advice = world.get(&format!("{BASE}/recommendations")).await;
    assert_eq!(advice["missing"], "not enough data (have 0, need 20 checks of a service that passed)");
    for (query, field) in [
        ("analysis?hours=0", "hours"),
        ("analysis?hours=2161", "hours"),
        ("analysis?hours=a%20day", "hours"),
        ("analysis?hours=-1", "hours"),
        ("analysis?days=1", "days"),
        ("analysis?service=99", "service"),
        ("analysis?service=one", "service"),
        ("bottlenecks?days=91", "days"),
        ("bottlenecks?days=0", "days"),
        ("recommendations?days=1&hours=24", "hours"),
        ("recommendations?days=1&days=2", "days"),
        ("recommendations?since=now", "since"),
    ] {
        let (status, problem) = world.ask(Method::Get, &format!("{BASE}/{query}"), None).await;
        assert_eq!((status, &problem["errors"][0]["field"]), (Status::BadRequest, &json!(field)), "{query}: {problem}");
    }
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_api_measures_its_own_endpoints_by_route() {
    let world = World::start().await;
    for _ in 0..7 {
        world.get("/api/monitor/services/").await;
    }
    for service in [41, 42, 43] {
        let (status, _) = world.ask(Method::Get, &format!("/api/monitor/services/{service}/"), None).await;
        assert_eq!(status, Status::NotFound);
    }
    let (status, _) = world.ask(Method::Get, "/nowhere/secret", None).await;
    assert_eq!(status, Status::NotFound);
    world.get("/api/v1/cluster").await;
    let answer = world.get(&format!("{BASE}/analysis?hours=1")).await;
    let endpoints = answer["endpoints"].as_array().unwrap();
    let of = |method: &str, route: &str| {
        let found = endpoints.iter().find(|one| one["method"] == method && one["route"] == route);
        found.unwrap_or_else(|| panic!("no {method} {route}: {endpoints:#?}")).clone()
    };
    let list = of("GET", "/api/monitor/services");
    assert_eq!((&list["requests"], &list["answers"], &list["kind"]), (&json!(7), &json!({"2xx": 7}), &json!("answer")), "{list:#}");
    assert_eq!(list["latency"]["missing"], "not enough data for p95 and p99 (have 7, need 20)");
    // By the template: no number of a service is kept, and no address that is none.
    assert_eq!(of("GET", "/api/monitor/services/<id>")["answers"], json!({"4xx": 3}));
    assert_eq!(of("GET", "unmatched")["requests"], 1);
    assert!(!answer.to_string().contains("secret"));
    // A minute later it is in the store.
    let stored = EndpointHours::new(world.hub.store.database.clone(), world.clock.clone());
    let hour = Timestamp(world.clock.now().0.div_euclid(3_600_000_000) * 3_600_000_000);
    let requests = async || -> u64 {
        let hours = stored.read(hour, hour.plus(Duration::from_secs(3600))).await.unwrap();
        hours.values().flatten().map(|(_, rollup)| rollup.requests()).sum()
    };
    assert_eq!(requests().await, 0);
    world.until(Duration::from_secs(10), "figures are written", async |_| (requests().await >= 12).then_some(())).await;
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn figures_of_endpoints_outlive_a_restart_and_a_crash_costs_a_minute() {
    let folder = tempfile::tempdir().unwrap();
    let clock = Clock::manual(Timestamp::parse("2026-11-22T10:30:00Z").unwrap());
    let open = async |path: &Path| {
        let settings = probemesh::config::sections::StoreSettings { url: None, data_dir: path.to_owned(), ..store_settings() };
        let store = Store::open(&settings, clock.clone()).await.unwrap();
        let endpoints = EndpointHours::new(store.database.clone(), clock.clone());
        (store, endpoints)
    };
    let endpoint = Endpoint { method: "GET".to_owned(), route: "/a/<id>".to_owned(), kind: EndpointKind::Answer };
    let totals = async |endpoints: &EndpointHours| {
        let hours = endpoints.read(clock.now().minus(Duration::from_secs(7200)), clock.now().plus(Duration::from_secs(1))).await.unwrap();
        hours
            .into_values()
            .map(|endpoints| endpoints[&endpoint].clone())
            .map(|rollup| (rollup.classes, rollup.latency.count()))
            .collect::<Vec<_>>()
    };
    let (store, endpoints) = open(folder.path()).await;
    endpoints.note(endpoint.clone(), 200, Duration::from_millis(5));
    endpoints.note(endpoint.clone(), 503, Duration::from_millis(50));
    endpoints.flush().await.unwrap();
    endpoints.flush().await.unwrap();
    // Not written when it crashes.
    endpoints.note(endpoint.clone(), 200, Duration::from_millis(5));
    store.shutdown().await.unwrap();
    assert!(endpoints.flush().await.is_err(), "a store that is closed takes nothing");
    drop(endpoints);
    let (store, endpoints) = open(folder.path()).await;
    assert_eq!(totals(&endpoints).await, vec![([0, 1, 0, 0, 1], 2)]);
    // The same hour goes on, and the next begins.
    endpoints.note(endpoint.clone(), 404, Duration::from_millis(7));
    assert_eq!(totals(&endpoints).await, vec![([0, 1, 0, 1, 1], 3)]);
    endpoints.flush().await.unwrap();
    clock.advance(Duration::from_secs(1900)).await;
    endpoints.note(endpoint.clone(), 200, Duration::from_millis(7));
    endpoints.flush().await.unwrap();
    assert_eq!(totals(&endpoints).await, vec![([0, 1, 0, 1, 1], 3), ([0, 1, 0, 0, 0], 1)]);
    // Past their time they are forgotten.
    clock.advance(Duration::from_secs(93 * 86_400)).await;
    endpoints.flush().await.unwrap();
    let all = endpoints.read(Timestamp(0), clock.now()).await.unwrap();
    assert!(all.is_empty(), "{all:?}");
    store.shutdown().await.unwrap();
}
