//! The overview of a thousand services, each with a day behind it, seen from three regions.

use std::time::{Duration, Instant};

use probemesh::aggregate::strip::{CELL, CELLS, Cell, first_start};
use probemesh::api::auth::SESSION_COOKIE;
use probemesh::config::service::ServiceDocument;
use probemesh::model::check::CheckResult;
use probemesh::model::id::{RegionName, ServiceId};
use probemesh::model::time::Timestamp;
use rocket::http::{Cookie, Header};

use super::browser::Browser;
use crate::api_world::{World, bad, good};

const SERVICES: u32 = 1000;
/// Bytes of the page on the wire.
const LARGEST: usize = 200 << 10;

/// Numbers that look like chance and are the same each time (Numerical Recipes' generator).
struct Chance(u64);

impl Chance {
    fn below(&mut self, most: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % most
    }
}

async fn watched() -> World {
    let world = World::new().await;
    let kinds = ["checkout", "search", "login", "mail", "invoices", "images", "reports", "webhooks"];
    let documents = (0..SERVICES).map(|number| ServiceDocument {
        name: Some(format!("{}-{number:04}", kinds[number as usize % kinds.len()])),
        base_url: Some(format!("https://{}-{number}.services.example.com", kinds[number as usize % kinds.len()])),
        health_path: Some("/health".to_owned()),
        group: Some(format!("Team {}", number % 12)),
        tags: vec![kinds[number as usize % kinds.len()].to_owned()],
        ..ServiceDocument::default()
    });
    world.services.seed(documents.collect(), false).await.expect("they are stored");
    assert_eq!(world.services.list().len(), SERVICES as usize);
    world.show_services();
    let mut chance = Chance(7);
    let first = first_start(world.clock.now());
    for service in 1..=SERVICES {
        let usual = 5_000 + chance.below(200_000);
        let cells: Vec<(Timestamp, Cell)> = (0..CELLS as i64)
            .map(|place| {
                let failures = if chance.below(60) == 0 { 1 + chance.below(90) as u32 } else { 0 };
                let mean = usual + chance.below(usual / 3);
                (
                    Timestamp(first.0 + place * CELL),
                    Cell { checks: 90, failures, slow: 0, latency_us: mean * u64::from(90 - failures.min(89)) },
                )
            })
            .collect();
        // One in fifty came a while ago: what was before is not known.
        let known = if service % 50 == 0 { &cells[30..] } else { &cells[..] };
        world.strips.fill(ServiceId(service), known);
    }
    let mut results: Vec<CheckResult> = Vec::new();
    for service in 1..=SERVICES {
        for (place, region) in ["local", "eu-west", "us-east"].into_iter().enumerate() {
            let seq = u64::from(service) * 3 + place as u64;
            let broken = service % 97 == 0 && place > 0;
            let result = if broken { bad(service, seq, 0) } else { good(service, seq, 0) };
            let latency = Duration::from_micros(3_000 + chance.below(150_000));
            results.push(CheckResult { region: RegionName::from(region), latency, ..result });
        }
    }
    world.board.fold(&results, world.clock.now());
    world.clock.advance(Duration::from_secs(20)).await;
    world
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_services_are_one_small_page() {
    let world = watched().await;
    let mut browser = Browser::of(&world, "viewer").await;
    let page = browser.page("/").await;
    assert_eq!(page.matches("<li class=\"row\"").count(), SERVICES as usize);
    assert!(page.contains("10 services down: "), "{}", &page[..2000]);
    let ask = || {
        let request = world.client.get("/").header(Header::new("Accept", "text/html")).header(Header::new("Accept-Encoding", "gzip"));
        request.cookie(Cookie::new(SESSION_COOKIE, browser.cookies[SESSION_COOKIE].clone())).dispatch()
    };
    ask().await;
    let began = Instant::now();
    let packed = ask().await.into_bytes().await.expect("a page");
    let took = began.elapsed();
    println!("overview of {SERVICES}: {} bytes, {} packed, drawn and packed in {took:?} by this build", page.len(), packed.len());
    assert!(packed.len() <= LARGEST, "{} bytes", packed.len());
    let ids: Vec<String> = (1..=60).map(|id| id.to_string()).collect();
    let rows = browser.page(&format!("/overview/rows?ids={}", ids.join(","))).await;
    assert_eq!(rows.matches("<li class=\"row\"").count(), 60);
}
