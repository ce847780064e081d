//! Rollups, held against a plain recount of the same results: whatever order, repeats and restarts they came through.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use probemesh::aggregate::ledger::Piece;
use probemesh::aggregate::rollup::{DAY, HOUR, MINUTE, Rule, floor};
use probemesh::clock::Clock;
use probemesh::config::sections::StoreSettings;
use probemesh::model::check::{CheckResult, Failure, Phase, Phases, Reason};
use probemesh::model::id::{Boot, CheckId, NodeName, RegionName, ServiceId};
use probemesh::model::span::{Span, clipped, total, without};
use probemesh::model::time::Timestamp;
use probemesh::store::Store;
use probemesh::store::roll::Rules;
use probemesh::store::rollups::{Bucket, Resolution, RollupQuery};
use probemesh::wire::batch::{BatchHead, encode};
use proptest::prelude::*;
use proptest::test_runner::Config;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};

/// Five to midnight: the hours lie on two days.
const START: i64 = 1_767_225_600_000_000 + DAY - 5 * MINUTE - HOUR;
const SECOND: i64 = 1_000_000;
const RULE: Rule = Rule { gap: Duration::from_secs(30), failure: 1, success: 1 };
/// Three gaps, and what is allowed for the check itself.
const HOLDS: i64 = 95 * SECOND;
const REGIONS: [&str; 2] = ["eu", "us"];

fn settings(folder: &Path) -> StoreSettings {
    StoreSettings {
        url: None,
        username: None,
        password: None,
        ca: None,
        data_dir: folder.to_owned(),
        memtable_bytes: 8 << 20,
        block_cache_bytes: 4 << 20,
        block_results: 40,
        block_span: Duration::from_secs(600),
        journal_max_bytes: 16 << 20,
        retain_results: Duration::from_secs(30 * 86_400),
        retain_details: Duration::from_secs(90 * 86_400),
        retain_minutes: Duration::from_secs(30 * 86_400),
        details_per_hour: 20,
    }
}

fn rules() -> Rules {
    Arc::new(|_, _| Some(RULE))
}

fn result(region: &str, seq: u64, started: i64, rng: &mut StdRng) -> CheckResult {
    let latency = Duration::from_micros(rng.random_range(300..90_000));
    let reason = [Reason::Status, Reason::Timeout, Reason::Dns][rng.random_range(0..3)];
    let failed = rng.random_bool(0.15);
    CheckResult {
        id: CheckId { node: NodeName::from(format!("{region}-1").as_str()), boot: Boot(1), seq },
        service: ServiceId(rng.random_range(1..3)),
        region: RegionName::from(region),
        scheduled_at: Timestamp(started),
        started_at: Timestamp(started),
        latency,
        elapsed: latency,
        clock_offset: 0,
        status_code: None,
        failure: failed.then(|| Failure { reason, phase: Phase::Expect, message: "not as expected".to_owned() }),
        phases: Phases { connect: rng.random_bool(0.8).then_some(latency / 3), ..Phases::default() },
        address: None,
        http_version: None,
        tls_version: None,
        certificate: None,
        body_bytes: 1,
        redirects: 0,
        attempt_count: rng.random_range(1..4),
        attempts: Vec::new(),
        evidence: None,
    }
}

/// One region's checks: about every half minute, with gaps longer than a state holds.
fn record(region: &str, rng: &mut StdRng) -> Vec<CheckResult> {
    let mut at = START + rng.random_range(0..MINUTE);
    let mut all = Vec::new();
    for seq in 0..220 {
        all.push(result(region, seq, at, rng));
        at += if rng.random_bool(0.04) { rng.random_range(2 * MINUTE..12 * MINUTE) } else { rng.random_range(5 * SECOND..40 * SECOND) };
    }
    all
}

/// What a span came to, counted plainly.
#[derive(Debug, Default, PartialEq)]
struct Plain {
    checks: u64,
    attempts: u64,
    failures: BTreeMap<Reason, u64>,
    passed_us: Vec<u64>,
    connects: u64,
    up: i64,
    down: i64,
}

/// By span and counted result by result; states by walking from each result to the next.
fn recount(all: &[CheckResult], service: u32, span: i64, now: i64) -> BTreeMap<i64, Plain> {
    let mut spans: BTreeMap<i64, Plain> = BTreeMap::new();
    for region in REGIONS {
        let mut series: Vec<&CheckResult> =
            all.iter().filter(|result| result.service.0 == service && &*result.region.0 == region).collect();
        series.sort_by_key(|result| (result.started_at, result.id.seq));
        for (index, result) in series.iter().enumerate() {
            let at = result.started_at.0;
            let plain = spans.entry(at.div_euclid(span) * span).or_default();
            plain.checks += 1;
            plain.attempts += u64::from(result.attempt_count);
            match &result.failure {
                Some(failure) => *plain.failures.entry(failure.reason).or_default() += 1,
                None => {
                    plain.passed_us.push(result.latency.as_micros() as u64);
                    plain.connects += u64::from(result.phases.connect.is_some());
                }
            }
            let end = series.get(index + 1).map_or(now, |next| next.started_at.0).min(at + HOLDS).min(now);
            let mut from = at;
            while from < end {
                let start = from.div_euclid(span) * span;
                let to = end.min(start + span);
                let plain = spans.entry(start).or_default();
                if result.ok() {
                    plain.up += to - from
                } else {
                    plain.down += to - from
                }
                from = to;
            }
        }
    }
    spans
}

fn check(found: &[Bucket], mut expected: BTreeMap<i64, Plain>, what: &str) {
    for bucket in found {
        let mut plain = expected.remove(&bucket.start.0).unwrap_or_else(|| panic!("{what}: nothing was at {}", bucket.start));
        let rollup = &bucket.rollup;
        let counts = (rollup.checks, rollup.attempts, &rollup.failures, rollup.latency.count(), rollup.phases[1].count());
        assert_eq!(
            counts,
            (plain.checks, plain.attempts, &plain.failures, plain.passed_us.len() as u64, plain.connects),
            "{what} {}",
            bucket.start
        );
        assert_eq!(rollup.latency.sum_us(), plain.passed_us.iter().sum::<u64>(), "{what} {}", bucket.start);
        assert_eq!((bucket.times.up, bucket.times.down), (plain.up, plain.down), "{what} {}", bucket.start);
        plain.passed_us.sort_unstable();
        for at in [0.5, 0.9, 0.99] {
            let place = (at * plain.passed_us.len() as f64 - 1e-6).ceil().max(1.0) as usize - 1;
            let Some(exact) = plain.passed_us.get(place) else { continue };
            let (exact, found) = (*exact as f64, rollup.latency.quantile_us(at).unwrap());
            assert!((found - exact).abs() <= exact * 0.0101, "{what}: {found} for {exact}");
        }
    }
    assert!(expected.is_empty(), "{what}: missing {:?}", expected.keys());
}

async fn check_all(store: &Store, all: &[CheckResult], now: Timestamp, what: &str) {
    for service in [1, 2] {
        for resolution in Resolution::ALL {
            let (since, until, service) = (Timestamp(START - HOUR), now, ServiceId(service));
            let query = RollupQuery { service, region: None, resolution, since, until, rule: RULE };
            let found = store.results.rollups(&query, now).await.unwrap();
            check(&found, recount(all, service.0, resolution.span(), now.0), &format!("{what}, {}", resolution.name()));
        }
        let hours = recount(all, service, HOUR, now.0);
        let (up, down) = hours.values().fold((0, 0), |(up, down), plain| (up + plain.up, down + plain.down));
        for window in [Duration::from_secs(2 * 86_400), Duration::from_secs(90 * 86_400)] {
            let known = store.results.uptime(ServiceId(service), &[window], RULE, &[], now).await.unwrap().remove(0);
            assert_eq!(known.ratio, Some(up as f64 / (up + down) as f64), "{what}");
            let whole = 2 * (now.0 - (now.0 - window.as_micros() as i64).div_euclid(HOUR) * HOUR);
            assert!((known.coverage - (up + down) as f64 / whole as f64).abs() < 1e-9, "{what}");
        }
        without_maintenance(store, all, service, now, what).await;
    }
    let counted = store.results.statistics(Timestamp(START - HOUR), now).await.unwrap();
    assert_eq!(counted.checks, all.len() as u64, "{what}");
    assert_eq!(counted.services.iter().map(|of| of.failures).sum::<u64>(), all.iter().filter(|result| !result.ok()).count() as u64);
}

/// Windows that cut minutes, hours and the day are left out of up-time, coverage and counts.
async fn without_maintenance(store: &Store, all: &[CheckResult], service: u32, now: Timestamp, what: &str) {
    let first = START.div_euclid(MINUTE) * MINUTE;
    let span = |from: i64, until: i64| Span::new(Timestamp(first + from * MINUTE), Timestamp(first + until * MINUTE));
    let holes = [span(3, 4), span(11, 23), span(40, 133), span(150, 151)];
    let whole = Span::new(Timestamp(floor(now.minus(Duration::from_secs(2 * 86_400)), HOUR)), now);
    let out = clipped(&holes, whole);
    let minutes = recount(all, service, MINUTE, now.0);
    let kept = minutes.iter().filter(|(start, _)| !out.iter().any(|hole| hole.holds(Timestamp(**start))));
    let (up, down, checks) =
        kept.fold((0, 0, 0), |(up, down, checks), (_, plain)| (up + plain.up, down + plain.down, checks + plain.checks));
    let window = Duration::from_secs(2 * 86_400);
    let known = store.results.uptime(ServiceId(service), &[window], RULE, &holes, now).await.unwrap().remove(0);
    assert_eq!(known.maintenance.as_micros() as i64, total(&out), "{what}");
    assert_eq!(known.ratio, (up + down > 0).then(|| up as f64 / (up + down) as f64), "{what}");
    let possible = 2 * (whole.length() - total(&out));
    assert!((known.coverage - (up + down) as f64 / possible as f64).abs() < 1e-9, "{what}");
    let kept = without(Span::new(Timestamp(first - HOUR), now), &out);
    let ledgers = store.results.ledgers(ServiceId(service), None, &kept, RULE, now).await.unwrap();
    let pieces: Vec<Piece> = ledgers.values().flat_map(|ledger| kept.iter().flat_map(|span| ledger.pieces(*span, now))).collect();
    let found: (i64, i64) = pieces.iter().fold((0, 0), |(up, down), piece| (up + piece.times.up, down + piece.times.down));
    assert_eq!(found, (up, down), "{what}");
    assert_eq!(pieces.iter().filter_map(|piece| piece.part).map(|part| part.rollup.checks).sum::<u64>(), checks, "{what}");
}

/// Seals and rolls all that is due.
async fn settle(store: &Store, now: Timestamp) {
    while store.results.seal(now).await.unwrap().more {}
    while store.results.roll(now, rules()).await.unwrap().more {}
}

/// After the clock and every result.
fn after(all: &[CheckResult], clock: &Clock) -> Timestamp {
    let newest = all.iter().map(|result| result.started_at).max().unwrap_or_default();
    newest.max(clock.now()).plus(Duration::from_secs(1))
}

async fn play(seed: u64) {
    let mut rng = StdRng::seed_from_u64(seed);
    let folder = tempfile::tempdir().unwrap();
    let settings = settings(folder.path());
    let clock = Clock::manual(Timestamp(START));
    let mut store = Store::open(&settings, clock.clone()).await.unwrap();
    let mut batches: Vec<(&str, Vec<CheckResult>)> = Vec::new();
    for region in REGIONS {
        let mut all = record(region, &mut rng);
        // Late by up to everything: half of it in any order.
        let half = all.len() / 2;
        all[half..].shuffle(&mut rng);
        while !all.is_empty() {
            let rest = all.split_off(rng.random_range(1..60).min(all.len()));
            batches.push((region, std::mem::replace(&mut all, rest)));
        }
    }
    // Each node's own batches keep their order; those of the two come as they come.
    let mut numbers = BTreeMap::from(REGIONS.map(|region| (region, 0)));
    let mut mixed: Vec<_> = batches.into_iter().map(|batch| (rng.random::<u32>(), batch)).collect();
    mixed.sort_by_key(|(order, _)| *order);
    let mut all: Vec<CheckResult> = Vec::new();
    let mut sent: Vec<Vec<u8>> = Vec::new();
    let last = mixed.len() - 1;
    for (index, (_, (region, results))) in mixed.into_iter().enumerate() {
        let number = numbers.get_mut(region).unwrap();
        *number += 1;
        let node = NodeName::from(format!("{region}-1").as_str());
        let batch = encode(&BatchHead::new(&node, &RegionName::from(region), Boot(1), *number, 0), &results);
        assert!(store.results.append(&batch).await.unwrap().results.is_some());
        sent.push(batch);
        all.extend(results);
        if rng.random_bool(0.3) {
            let again = &sent[rng.random_range(0..sent.len())];
            assert!(store.results.append(again).await.unwrap().results.is_none());
        }
        clock.advance(Duration::from_secs(rng.random_range(60..1500))).await;
        if rng.random_bool(0.4) {
            settle(&store, clock.now()).await;
        }
        if rng.random_bool(0.15) {
            store.shutdown().await.unwrap();
            store = Store::open(&settings, clock.clone()).await.unwrap();
        }
        if index == last / 2 {
            check_all(&store, &all, after(&all, &clock), "half-way").await;
        }
    }
    let end = after(&all, &clock);
    check_all(&store, &all, end, "before settling").await;
    let later = Timestamp(end.0 + 3 * HOUR);
    clock.advance(later.since(clock.now())).await;
    settle(&store, later).await;
    check_all(&store, &all, later, "settled").await;
    store.shutdown().await.unwrap();
    let store = Store::open(&settings, clock.clone()).await.unwrap();
    check_all(&store, &all, later, "opened again").await;
    assert_eq!(store.results.roll(later, rules()).await.unwrap().hours, 0, "nothing is due any more");
    store.shutdown().await.unwrap();
}

proptest! {
    #![proptest_config(Config { cases: 6, failure_persistence: None, ..Config::default() })]
    #[test]
    fn rollups_equal_a_plain_recount_whatever_order_they_came_in(seed in any::<u64>()) {
        let mut runtime = tokio::runtime::Builder::new_multi_thread();
        let runtime = runtime.worker_threads(2).enable_all().thread_stack_size(20 << 20).build().unwrap();
        runtime.block_on(play(seed));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn minutes_are_forgotten_and_hours_are_kept() {
    let folder = tempfile::tempdir().unwrap();
    let settings = StoreSettings { retain_minutes: Duration::from_secs(86_400), ..settings(folder.path()) };
    let clock = Clock::manual(Timestamp(START));
    let store = Store::open(&settings, clock.clone()).await.unwrap();
    let all = record("eu", &mut StdRng::seed_from_u64(7));
    let head = BatchHead::new(&NodeName::from("eu-1"), &RegionName::from("eu"), Boot(1), 1, 0);
    store.results.append(&encode(&head, &all)).await.unwrap();
    clock.advance(Duration::from_secs(3 * 86_400)).await;
    let now = clock.now();
    settle(&store, now).await;
    let count = async |resolution: Resolution| -> u64 {
        let (since, until) = (Timestamp(START - HOUR), Timestamp(START + DAY));
        let query = RollupQuery { service: ServiceId(1), region: Some("eu".to_owned()), resolution, since, until, rule: RULE };
        store.results.rollups(&query, now).await.unwrap().iter().map(|bucket| bucket.rollup.checks).sum()
    };
    let made = all.iter().filter(|result| result.service.0 == 1).count() as u64;
    assert_eq!((count(Resolution::Minute).await, count(Resolution::Hour).await), (made, made));
    while store.results.retain(now).await.unwrap() {}
    assert_eq!((count(Resolution::Minute).await, count(Resolution::Hour).await, count(Resolution::Day).await), (0, made, made));
    // A span within an hour whose minutes are gone is reckoned by its share of it.
    let minute = |minute: i64| Timestamp(START.div_euclid(MINUTE) * MINUTE + minute * MINUTE);
    let ten = Span::new(minute(20), minute(30));
    let ledgers = store.results.ledgers(ServiceId(1), None, &[ten], RULE, now).await.unwrap();
    let pieces = ledgers[&RegionName::from("eu")].pieces(ten, now);
    assert!(pieces.iter().all(|piece| piece.share < 1.0) && !pieces.is_empty(), "{pieces:?}");
    store.shutdown().await.unwrap();
}
