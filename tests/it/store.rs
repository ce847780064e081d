//! The store of results, held against a plain list of the same results; on the embedded engine and on a server.

use std::collections::HashMap;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use probemesh::clock::Clock;
use probemesh::config::sections::StoreSettings;
use probemesh::model::check::{Attempt, Certificate, CheckResult, Evidence, Failure, HttpVersion, Phase, Phases, Reason, TlsVersion};
use probemesh::model::id::{Boot, CheckId, NodeName, RegionName, ServiceId};
use probemesh::model::time::Timestamp;
use probemesh::store::Store;
use probemesh::store::codec::{self, Block, Packable};
use probemesh::store::connection::{Database, StoreError};
use probemesh::store::migrate::{self, Migration};
use probemesh::store::query::{Cursor, ResultId, ResultQuery};
use probemesh::store::results::Results;
use probemesh::wire::batch::{self, BatchHead};
use proptest::prelude::*;
use proptest::test_runner::Config;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::server::{on_server, shared_url};

const START: i64 = 1_767_225_600_000_000;
const SECOND: i64 = 1_000_000;
const HOUR: i64 = 3600 * SECOND;

fn settings(folder: &Path) -> StoreSettings {
    StoreSettings {
        url: None,
        username: None,
        password: None,
        ca: None,
        data_dir: folder.to_owned(),
        memtable_bytes: 8 << 20,
        block_cache_bytes: 4 << 20,
        block_results: 240,
        block_span: Duration::from_secs(3600),
        journal_max_bytes: 16 << 20,
        retain_results: Duration::from_secs(30 * 86_400),
        retain_details: Duration::from_secs(90 * 86_400),
        retain_minutes: Duration::from_secs(30 * 86_400),
        details_per_hour: 20,
    }
}

fn in_memory() -> StoreSettings {
    StoreSettings { url: Some("mem://".to_owned()), ..settings(Path::new("unused")) }
}

/// What a test of the store runs on.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Engine {
    Embedded,
    Server,
}

impl Engine {
    /// A store that is there for this test alone.
    fn fresh(self) -> StoreSettings {
        match self {
            Engine::Embedded => in_memory(),
            Engine::Server => on_server(in_memory(), &shared_url()),
        }
    }

    /// One that outlives its closing, in a folder where it needs one.
    fn lasting(self, folder: &Path) -> StoreSettings {
        match self {
            Engine::Embedded => settings(folder),
            Engine::Server => on_server(settings(folder), &shared_url()),
        }
    }
}

/// Each of these on either engine, as a test of its own.
macro_rules! on_either_engine {
    ($($test:ident)*) => {
        mod embedded {
            $(#[test] fn $test() { super::run(super::$test(super::Engine::Embedded)); })*
        }
        mod server {
            $(#[test] fn $test() { super::run(super::$test(super::Engine::Server)); })*
        }
    };
}

on_either_engine! {
    a_changed_or_newer_migration_is_refused_by_name
    a_migration_that_fails_leaves_nothing_behind
    calls_after_the_store_was_closed_fail_and_do_not_hang
    what_is_no_batch_no_cursor_or_no_name_is_refused
    batches_appended_together_are_stored_in_their_order_and_once
    a_refused_batch_takes_none_before_it_along_and_lets_none_behind_it_through
    a_failure_of_the_store_in_the_middle_leaves_no_gap
    a_stored_result_takes_few_bytes
    a_reader_sees_every_result_once_while_they_are_packed
    two_that_write_one_store_do_not_mix
    details_are_bounded_by_the_hour_and_the_rest_is_counted
    what_is_past_its_time_is_gone_from_the_disk_too
    a_purged_service_leaves_no_rows_and_does_not_come_back
    failures_are_found_beside_and_in_blocks_of_an_older_program
}

fn run<T>(future: impl Future<Output = T>) -> T {
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.worker_threads(2).enable_all().thread_stack_size(20 << 20).build().unwrap();
    runtime.block_on(future)
}

async fn open(settings: &StoreSettings) -> Store {
    Store::open(settings, Clock::manual(Timestamp(START))).await.unwrap()
}

/// Where a made-up check comes from and when.
struct Origin<'a> {
    node: &'a str,
    region: &'a str,
    boot: u64,
    seq: u64,
    service: u32,
    started: i64,
}

/// A check as a steady HTTPS service gives it, one in `failing` of them failing.
fn realistic(origin: &Origin, failing: f64, rng: &mut StdRng) -> CheckResult {
    let mut noisy = |usual: u64, noise: u64| Some(Duration::from_micros(usual + rng.random_range(0..noise)));
    let phases = Phases {
        dns: noisy(180, 300),
        connect: noisy(900, 800),
        tls: noisy(3100, 1500),
        first_byte: noisy(6000, 4000),
        transfer: noisy(200, 250),
    };
    let spent: Duration = [phases.dns, phases.connect, phases.tls, phases.first_byte, phases.transfer].into_iter().flatten().sum();
    let latency = spent + Duration::from_micros(rng.random_range(20..90));
    let failure = rng.random_bool(failing).then(|| {
        let reason = [Reason::Status, Reason::Timeout, Reason::Body][rng.random_range(0..3)];
        Failure { reason, phase: Phase::Expect, message: format!("{} was not what was expected", reason.name()) }
    });
    let failed = failure.is_some();
    let certificate = Certificate {
        subject: format!("CN=service-{}.example.com", origin.service),
        issuer: "C=US, O=Let's Encrypt, CN=R11".to_owned(),
        not_before: Timestamp(START - 30 * 24 * HOUR),
        not_after: Timestamp(START + 60 * 24 * HOUR),
        fingerprint: format!("{:064x}", u128::from(origin.service) << 70 | 0xabc),
    };
    let attempt = Attempt { offset: Duration::ZERO, latency, phases, status_code: Some(503), address: None, failure: failure.clone() };
    CheckResult {
        id: CheckId { node: origin.node.into(), boot: Boot(origin.boot), seq: origin.seq },
        service: ServiceId(origin.service),
        region: origin.region.into(),
        scheduled_at: Timestamp(origin.started - rng.random_range(50..900)),
        started_at: Timestamp(origin.started),
        latency,
        elapsed: latency + Duration::from_micros(u64::from(failed) * 1500),
        status_code: Some(if failed { 503 } else { 200 }),
        failure,
        phases,
        address: Some(IpAddr::from([10, 0, (origin.service % 3) as u8, rng.random_range(1..3)])),
        http_version: Some(HttpVersion::Http2),
        tls_version: Some(TlsVersion::Tls13),
        certificate: Some(Arc::new(certificate)),
        body_bytes: 612,
        redirects: 0,
        attempt_count: 1 + u8::from(failed),
        attempts: if failed { vec![attempt.clone(), attempt] } else { Vec::new() },
        evidence: failed.then(|| Box::new(Evidence { status_line: "HTTP/2 503".to_owned(), ..Evidence::default() })),
        clock_offset: 0,
    }
}

fn bare(result: &CheckResult) -> CheckResult {
    CheckResult { attempts: Vec::new(), evidence: None, ..result.clone() }
}

fn rank(result: &CheckResult) -> (i64, u32, String, String, u64, u64) {
    let CheckId { node, boot, seq } = &result.id;
    (result.started_at.0, result.service.0, result.region.0.to_string(), node.0.to_string(), boot.0, *seq)
}

/// What a page should hold, from the plain list.
fn expected(query: &ResultQuery, all: &[CheckResult]) -> Vec<CheckResult> {
    let contains = |text: &str, needle: &str| text.to_lowercase().contains(&needle.to_lowercase());
    let mut found: Vec<CheckResult> = all
        .iter()
        .filter(|result| query.service.is_none_or(|service| service == result.service))
        .filter(|result| query.services.as_ref().is_none_or(|services| services.contains(&result.service)))
        .filter(|result| query.since.is_none_or(|since| result.started_at >= since))
        .filter(|result| query.until.is_none_or(|until| result.started_at < until))
        .filter(|result| query.ok.is_none_or(|ok| ok == result.failure.is_none()))
        .filter(|result| query.region.as_ref().is_none_or(|region| **region == *result.region.0))
        .filter(|result| query.reason.is_none_or(|reason| result.failure.as_ref().is_some_and(|failure| failure.reason == reason)))
        .filter(|result| query.status_code.is_none_or(|status| result.status_code == Some(status)))
        .filter(|result| query.min_latency.is_none_or(|least| result.latency >= least))
        .filter(|result| {
            query.search.as_ref().is_none_or(|needle| {
                result.failure.as_ref().is_some_and(|failure| contains(&failure.message, needle))
                    || result.address.is_some_and(|address| contains(&address.to_string(), needle))
                    || contains(&result.region.0, needle)
            })
        })
        .map(bare)
        .collect();
    found.sort_by_key(rank);
    if query.newest_first {
        found.reverse();
    }
    found
}

/// Walks all pages of a query forwards and back again.
async fn check_pages(store: &Store, query: &ResultQuery, all: &[CheckResult]) {
    let expect = expected(query, all);
    let mut pages: Vec<Vec<CheckResult>> = Vec::new();
    let mut query = query.clone();
    let mut last;
    loop {
        let page = store.results.page(&query).await.unwrap();
        assert!(page.results.len() <= query.page_size);
        assert_eq!(page.previous.is_some(), query.cursor.is_some(), "{query:?}");
        pages.push(page.results.iter().map(|stored| stored.result.clone()).collect());
        last = page.clone();
        // Cursors go out as text and come back as text.
        match page.next {
            Some(next) => query.cursor = Some(Cursor::parse(&next.to_string()).unwrap()),
            None => break,
        }
    }
    let found: Vec<CheckResult> = pages.iter().flatten().cloned().collect();
    assert_eq!(found.len(), expect.len(), "{query:?}");
    for (found, expect) in found.iter().zip(&expect) {
        assert_eq!(found, expect, "{query:?}");
    }
    assert!(pages.iter().rev().skip(1).all(|page| page.len() == query.page_size), "only the last page is short");
    for page in pages.iter().rev().skip(1) {
        query.cursor = Some(last.previous.clone().expect("a page after the first leads back"));
        last = store.results.page(&query).await.unwrap();
        let back: Vec<CheckResult> = last.results.iter().map(|stored| stored.result.clone()).collect();
        assert_eq!(&back, page, "{query:?}");
        assert!(last.next.is_some());
    }
    assert!(last.previous.is_none());
}

fn random_query(rng: &mut StdRng, all: &[CheckResult]) -> ResultQuery {
    let mut query = ResultQuery { newest_first: rng.random(), page_size: rng.random_range(1..60), ..ResultQuery::default() };
    let times: Vec<i64> = all.iter().map(|result| result.started_at.0).collect();
    let time = |rng: &mut StdRng| match times.is_empty() {
        true => Timestamp(START),
        // Often the very instant of a result: ends are where mistakes are.
        false => Timestamp(times[rng.random_range(0..times.len())] + rng.random_range(-1..=1)),
    };
    if rng.random_bool(0.5) {
        query.service = Some(ServiceId(rng.random_range(1..5)));
    }
    if rng.random_bool(0.15) {
        query.services = Some((0..rng.random_range(0..3)).map(|_| ServiceId(rng.random_range(1..5))).collect());
    }
    if rng.random_bool(0.3) {
        query.since = Some(time(rng));
    }
    if rng.random_bool(0.3) {
        query.until = Some(time(rng));
    }
    if rng.random_bool(0.2) {
        query.ok = Some(rng.random());
    }
    if rng.random_bool(0.2) {
        query.region = Some(["eu", "us", "nowhere"][rng.random_range(0..3)].to_owned());
    }
    if rng.random_bool(0.15) {
        query.reason = Some([Reason::Status, Reason::Timeout, Reason::Dns][rng.random_range(0..3)]);
    }
    if rng.random_bool(0.15) {
        query.status_code = Some([200, 503][rng.random_range(0..2)]);
    }
    if rng.random_bool(0.15) {
        query.min_latency = Some(Duration::from_micros(rng.random_range(10_000..16_000)));
    }
    if rng.random_bool(0.15) {
        query.search = Some(["TIMEOUT", "10.0.1", "EU", "nothing"][rng.random_range(0..4)].to_owned());
    }
    query
}

async fn check_statistics(store: &Store, since: Timestamp, until: Timestamp, all: &[CheckResult]) {
    let found = store.results.statistics(since, until).await.unwrap();
    let all: Vec<&CheckResult> = all.iter().filter(|result| result.started_at >= since && result.started_at < until).collect();
    let mut reasons: HashMap<Reason, u64> = HashMap::new();
    let mut services: HashMap<ServiceId, (u64, u64)> = HashMap::new();
    for result in &all {
        let (checks, failures) = services.entry(result.service).or_default();
        *checks += 1;
        if let Some(failure) = &result.failure {
            *reasons.entry(failure.reason).or_default() += 1;
            *failures += 1;
        }
    }
    assert_eq!(found.checks, all.len() as u64);
    assert_eq!(found.failures.iter().copied().collect::<HashMap<_, _>>(), reasons);
    assert!(found.services.is_sorted_by_key(|count| std::cmp::Reverse(count.failures)));
    let counts = found.services.iter().map(|count| (count.service, (count.checks, count.failures)));
    assert_eq!(counts.collect::<HashMap<_, _>>(), services);
}

/// What the nodes know of what they made.
#[derive(Default)]
struct Nodes {
    /// Next batch number and next seq of each node's present boot.
    next: HashMap<(&'static str, u64), (u64, u64)>,
    sent: Vec<Vec<u8>>,
    now: i64,
}

impl Nodes {
    fn batch(&mut self, rng: &mut StdRng, count: usize, late: bool) -> (Vec<u8>, Vec<CheckResult>) {
        let node = rng.random_range(0..3);
        self.batch_of(node, rng, count, late)
    }

    fn batch_of(&mut self, node: usize, rng: &mut StdRng, count: usize, late: bool) -> (Vec<u8>, Vec<CheckResult>) {
        let (node, region) = [("a", "eu"), ("b", "us"), ("c", "eu")][node];
        let boot = rng.random_range(1..3);
        let (number, mut seq) = self.next.get(&(node, boot)).copied().unwrap_or((1, 0));
        let mut results = Vec::new();
        for _ in 0..count {
            self.now += rng.random_range(0..20) * SECOND;
            let delay = if late { rng.random_range(0..3 * HOUR) } else { rng.random_range(0..3 * SECOND) };
            let started = START + self.now - delay;
            let origin = Origin { node, region, boot, seq, service: rng.random_range(1..5), started };
            results.push(realistic(&origin, 0.2, rng));
            seq += 1;
        }
        // A number may be left out: the outbox dropped it.
        self.next.insert((node, boot), (number + rng.random_range(1..3), seq));
        let head = BatchHead::new(&NodeName::from(node), &RegionName::from(region), Boot(boot), number, 0);
        let bytes = batch::encode(&head, &results);
        self.sent.push(bytes.clone());
        (bytes, results)
    }
}

#[derive(Clone, Debug)]
enum Step {
    Append { count: usize, late: bool },
    Resend,
    Together,
    Seal,
    Reopen { dropped: bool },
    Retain,
    Purge,
    Look,
    LookAtAll,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        12 => (0usize..25, any::<bool>()).prop_map(|(count, late)| Step::Append { count, late }),
        3 => Just(Step::Resend),
        2 => Just(Step::Together),
        6 => Just(Step::Seal),
        2 => any::<bool>().prop_map(|dropped| Step::Reopen { dropped }),
        1 => Just(Step::Retain),
        1 => Just(Step::Purge),
        4 => Just(Step::Look),
    ];
    prop::collection::vec(step, 20..60)
}

async fn play(seed: u64, steps: Vec<Step>, engine: Engine, lasts: bool) {
    let folder = tempfile::tempdir().unwrap();
    let base = if lasts { engine.lasting(folder.path()) } else { engine.fresh() };
    let settings = StoreSettings {
        block_results: 20,
        block_span: Duration::from_secs(1200),
        journal_max_bytes: 20_000,
        retain_results: Duration::from_secs(3 * 3600),
        details_per_hour: 3,
        ..base
    };
    let mut rng = StdRng::seed_from_u64(seed);
    let mut store = open(&settings).await;
    let mut nodes = Nodes::default();
    let mut all: Vec<CheckResult> = Vec::new();
    // Results before this were to be forgotten, and some of them are.
    let mut floor = i64::MIN;
    let mut purged: Vec<ServiceId> = Vec::new();
    for step in steps.into_iter().chain([Step::Look, Step::Reopen { dropped: false }, Step::Look, Step::LookAtAll]) {
        match step {
            Step::Append { count, late } => {
                // Some clocks are wrong: by too little to matter, by hours, behind.
                let (node, offset) = (rng.random_range(0..3), [None, None, Some(999_999), Some(-90 * SECOND), Some(2 * HOUR)]);
                let offset = offset[rng.random_range(0..5)];
                let made: Vec<_> = (0..rng.random_range(1..4)).map(|_| nodes.batch_of(node, &mut rng, count, late)).collect();
                let batches: Vec<Arc<[u8]>> = made.iter().map(|(bytes, _)| Arc::from(bytes.as_slice())).collect();
                let group = store.results.append_all(&batches, offset).await.unwrap();
                assert!(group.refused.is_none());
                for (appended, (_, mut results)) in group.stored.iter().zip(made) {
                    let applied = offset.filter(|offset| offset.abs() >= SECOND).unwrap_or(0);
                    results.iter_mut().for_each(|result| result.set_clock_offset(applied));
                    assert_eq!(appended.results.as_deref(), Some(&results[..]));
                    assert!(appended.through >= appended.head.number());
                    all.extend(results);
                }
                all.retain(|result| !purged.contains(&result.service));
            }
            Step::Resend if nodes.sent.is_empty() => {}
            Step::Resend => {
                let again: Arc<[u8]> = nodes.sent[rng.random_range(0..nodes.sent.len())].as_slice().into();
                let offset = Some(rng.random_range(-HOUR..HOUR));
                assert!(store.results.append_all(&[again], offset).await.unwrap().stored[0].results.is_none());
            }
            Step::Together => {
                let batches: Vec<_> = (0..5).map(|_| nodes.batch(&mut rng, 3, false)).collect();
                let appends = batches.iter().flat_map(|(bytes, _)| [store.results.append(bytes), store.results.append(bytes)]);
                let appended = futures_util::future::join_all(appends).await;
                let new = appended.into_iter().filter(|appended| appended.as_ref().unwrap().results.is_some()).count();
                assert_eq!(new, 5, "each of them once");
                all.extend(batches.into_iter().flat_map(|(_, results)| results));
                all.retain(|result| !purged.contains(&result.service));
            }
            Step::Seal => {
                nodes.now += rng.random_range(0..600) * SECOND;
                store.results.seal(Timestamp(START + nodes.now)).await.unwrap();
            }
            // An in-memory store forgets when it is closed.
            Step::Reopen { .. } if !lasts => {}
            Step::Reopen { dropped } => {
                store = if dropped { reopen_without_shutdown(store, &settings).await } else { reopen(store, &settings).await };
            }
            Step::Retain => {
                let now = Timestamp(START + nodes.now);
                while store.results.retain(now).await.unwrap() {}
                floor = now.0 - 3 * HOUR;
            }
            Step::Purge => {
                let service = ServiceId(rng.random_range(1..5));
                store.results.purge_service(service).await.unwrap();
                purged.push(service);
                all.retain(|result| result.service != service);
            }
            Step::Look => look(&store, &mut rng, &all, floor).await,
            Step::LookAtAll => look_at_all(&store, &all, floor).await,
        }
    }
    store.shutdown().await.unwrap();
}

async fn look(store: &Store, rng: &mut StdRng, all: &[CheckResult], floor: i64) {
    let kept: Vec<CheckResult> = all.iter().filter(|result| result.started_at.0 >= floor).cloned().collect();
    for _ in 0..4 {
        let mut query = random_query(rng, &kept);
        if floor != i64::MIN {
            query.since = query.since.max(Some(Timestamp(floor)));
        }
        check_pages(store, &query, &kept).await;
    }
    let (one, other) = (rng.random_range(0..4 * HOUR), rng.random_range(0..4 * HOUR));
    for (since, until) in [(one, other), (0, i64::MAX - START), (i64::MIN / 2, i64::MAX - START)] {
        let since = Timestamp((START + since).max(floor));
        check_statistics(store, since, Timestamp(START + until), &kept).await;
    }
    for newest in store.results.newest().await.unwrap() {
        let own = kept.iter().filter(|result| result.service == newest.service && result.region == newest.region);
        if let Some(latest) = own.max_by_key(|result| result.started_at) {
            assert_eq!(newest.newest.unwrap().started_at, latest.started_at);
        }
    }
}

/// Each result by its name; those without their details are as many as the store says it left out.
async fn look_at_all(store: &Store, all: &[CheckResult], floor: i64) {
    let kept: Vec<&CheckResult> = all.iter().filter(|result| result.started_at.0 >= floor).collect();
    let mut stripped = 0;
    for result in kept {
        let id = ResultId::parse(&ResultId::of(result).to_string()).unwrap();
        let found = store.results.one(&id).await.unwrap().expect("what was stored is found by its name");
        if found == *result {
            continue;
        }
        assert_eq!(found, bare(result));
        stripped += 1;
    }
    let statistics = store.results.statistics(Timestamp(floor), Timestamp::LAST).await.unwrap();
    assert_eq!(statistics.omitted_details, stripped);
}

async fn reopen(store: Store, settings: &StoreSettings) -> Store {
    store.shutdown().await.unwrap();
    open(settings).await
}

/// As after a process that stopped without a word: nothing is flushed by hand, and the lock goes when the last handle does.
async fn reopen_without_shutdown(store: Store, settings: &StoreSettings) -> Store {
    drop(store);
    for _ in 0..200 {
        match Store::open(settings, Clock::manual(Timestamp(START))).await {
            Ok(store) => return store,
            Err(StoreError::AlreadyOpen { .. }) => Clock::real().sleep(Duration::from_millis(20)).await,
            Err(error) => panic!("{error}"),
        }
    }
    panic!("the folder stays locked");
}

proptest! {
    #![proptest_config(Config { cases: 6, max_shrink_iters: 20, failure_persistence: None, ..Config::default() })]

    #[test]
    fn every_read_agrees_with_a_plain_list(seed in any::<u64>(), steps in steps()) {
        run(play(seed, steps, Engine::Embedded, false));
    }
}

proptest! {
    #![proptest_config(Config { cases: 3, max_shrink_iters: 10, failure_persistence: None, ..Config::default() })]

    #[test]
    fn nothing_is_lost_or_doubled_when_the_store_is_opened_again(seed in any::<u64>(), steps in steps()) {
        run(play(seed, steps, Engine::Embedded, true));
    }

    #[test]
    fn a_server_gives_and_keeps_what_the_embedded_engine_does(seed in any::<u64>(), steps in steps()) {
        run(play(seed, steps, Engine::Server, true));
    }
}

fn span() -> impl Strategy<Value = Duration> {
    prop_oneof![Just(0u64), 0..2_000_000u64, Just(u64::MAX), any::<u64>()].prop_map(Duration::from_micros)
}

fn offset() -> impl Strategy<Value = i64> {
    prop_oneof![4 => Just(0), 2 => -90 * SECOND..90 * SECOND, 1 => any::<i64>()]
}

fn instant() -> impl Strategy<Value = i64> {
    prop_oneof![START..START + HOUR, Just(0), Just(-1), Just(i64::MAX / 2), Just(i64::MIN / 2)]
}

prop_compose! {
    fn any_phases()(spans in prop::array::uniform5(prop::option::of(span()))) -> Phases {
        let [dns, connect, tls, first_byte, transfer] = spans;
        Phases { dns, connect, tls, first_byte, transfer }
    }
}

prop_compose! {
    fn any_certificate()(
        subject in ".{0,40}", issuer in ".{0,40}", from in instant(), to in instant(),
        fingerprint in prop_oneof!["[0-9a-f]{64}", "[0-9A-F]{7}", Just(String::new()), ".{0,9}"],
    ) -> Certificate {
        Certificate { subject, issuer, not_before: Timestamp(from), not_after: Timestamp(to), fingerprint }
    }
}

prop_compose! {
    fn any_result()(
        node in "[a-z]{0,3}|.{0,5}", boot in any::<u64>(), seq in prop_oneof![any::<u64>(), Just(u64::MAX), 0..9u64],
        times in (instant(), instant()), spans in (span(), span(), offset()), phases in any_phases(),
        answer in (prop::option::of(any::<u16>()), any::<u64>(), any::<u8>(), any::<u8>(), 0u8..4, 0u8..3),
        failure in prop::option::of((0usize..14, 0usize..6, ".{0,60}")),
        address in prop::option::of(any::<IpAddr>()), certificate in prop::option::of(any_certificate()),
    ) -> CheckResult {
        CheckResult {
            id: CheckId { node: node.as_str().into(), boot: Boot(boot), seq },
            service: ServiceId(7),
            region: "eu".into(),
            scheduled_at: Timestamp(times.0),
            started_at: Timestamp(times.1),
            latency: spans.0,
            elapsed: spans.1,
            status_code: answer.0,
            failure: failure.map(|(reason, phase, message)| Failure { reason: Reason::ALL[reason], phase: Phase::ALL[phase], message }),
            phases,
            address,
            http_version: HttpVersion::from_code(answer.4),
            tls_version: TlsVersion::from_code(answer.5),
            certificate: certificate.map(Arc::new),
            body_bytes: answer.1,
            redirects: answer.2,
            attempt_count: answer.3,
            attempts: Vec::new(),
            evidence: None,
            clock_offset: spans.2,
        }
    }
}

proptest! {
    #![proptest_config(Config { cases: 60, failure_persistence: None, ..Config::default() })]

    #[test]
    fn blocks_and_tails_give_results_back_exactly(
        mut results in prop::collection::vec((any_result(), any::<bool>()), 1..120), failing in prop_oneof![Just(1.0), Just(0.1), Just(0.0)], seed in any::<u64>(),
    ) {
        let mut rng = StdRng::seed_from_u64(seed);
        for (result, _) in &mut results {
            result.failure = result.failure.take().filter(|_| rng.random_bool(failing));
        }
        let mut tail = probemesh::store::tail::SeriesTail::default();
        for (position, (result, omitted)) in results.iter().enumerate() {
            tail.push(position as u64, result, *omitted);
        }
        let mut rows: Vec<Packable> = Vec::new();
        for (row, (result, omitted)) in results.iter().enumerate() {
            let found = tail.result(ServiceId(7), &"eu".into(), row);
            prop_assert_eq!((&found.result, found.omitted), (result, *omitted));
            rows.push(found);
        }
        rows.sort_by(|one, other| codec::order(&one.result).cmp(&codec::order(&other.result)));
        let bytes = codec::encode(&rows);
        let block = Block::parse(&bytes).unwrap();
        let failed = rows.iter().filter(|row| row.result.failure.is_some()).count() as u64;
        prop_assert_eq!(block.summary.failed(), failed);
        prop_assert_eq!(block.keeps_failures_apart(), failed * 4 <= rows.len() as u64);
        prop_assert_eq!(block.started().unwrap(), rows.iter().map(|row| row.result.started_at.0).collect::<Vec<_>>());
        let tally: Vec<_> = block.tally().unwrap().into_iter().map(|row| (row.started, row.reason, row.omitted)).collect();
        let reason = |row: &Packable| row.result.failure.as_ref().map(|failure| failure.reason);
        prop_assert_eq!(tally, rows.iter().map(|row| (row.result.started_at.0, reason(row), row.omitted)).collect::<Vec<_>>());
        let failures = Block::parse(&bytes).unwrap().unpack_failures(ServiceId(7), "eu".into()).unwrap();
        let found = (0..failures.rows()).filter(|row| failures.reason(*row).is_some()).map(|row| failures.result(row).unwrap());
        let expect = rows.iter().filter(|row| row.result.failure.is_some()).map(|row| row.result.clone());
        prop_assert_eq!(found.collect::<Vec<_>>(), expect.collect::<Vec<_>>());
        let block = Block::parse(&bytes).unwrap().unpack(ServiceId(7), "eu".into()).unwrap();
        for (row, expect) in rows.iter().enumerate() {
            prop_assert_eq!(&block.result(row).unwrap(), &expect.result);
            prop_assert_eq!(block.omitted(row), expect.omitted);
        }
    }

    #[test]
    fn damaged_blocks_are_errors_and_not_panics(results in prop::collection::vec(any_result(), 1..20), at in any::<u32>(), to in any::<u8>()) {
        let mut rows: Vec<Packable> = results.into_iter().map(|result| Packable { result, omitted: false }).collect();
        rows.sort_by(|one, other| codec::order(&one.result).cmp(&codec::order(&other.result)));
        let mut bytes = codec::encode(&rows);
        let at = at as usize % bytes.len();
        bytes[at] = to;
        let read = |bytes: &[u8]| {
            let block = Block::parse(bytes)?.unpack(ServiceId(7), "eu".into())?;
            (0..block.rows()).map(|row| block.result(row)).collect::<Result<Vec<_>, _>>()
        };
        let _ = read(&bytes);
        let _ = read(&bytes[..at]);
        let failures = |bytes: &[u8]| {
            let block = Block::parse(bytes)?;
            let _ = (block.started(), block.tally());
            let block = block.unpack_failures(ServiceId(7), "eu".into())?;
            (0..block.rows()).map(|row| block.result(row)).collect::<Result<Vec<_>, _>>()
        };
        let _ = failures(&bytes);
    }
}

#[test]
fn a_second_probemesh_is_told_whose_the_folder_is() {
    run(async {
        let folder = tempfile::tempdir().unwrap();
        let settings = settings(folder.path());
        let store = open(&settings).await;
        let error = Store::open(&settings, Clock::real()).await.unwrap_err();
        assert!(matches!(error, StoreError::AlreadyOpen { .. }), "{error:?}");
        let path = folder.path().join("db");
        assert_eq!(error.to_string(), format!("data folder {} is in use by another probemesh", path.display()));
        store.shutdown().await.unwrap();
        open(&settings).await.shutdown().await.unwrap();
    });
}

#[test]
fn a_folder_that_cannot_be_made_is_one_clear_line() {
    run(async {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        std::fs::write(&file, "not a folder").unwrap();
        let error = Database::open(&settings(&file)).await.unwrap_err();
        assert!(matches!(error, StoreError::ReadOnly { .. }), "{error:?}");
        assert_eq!(error.to_string().lines().count(), 1);
    });
}

#[test]
fn a_server_that_is_away_is_unreachable() {
    run(async {
        let settings = StoreSettings { url: Some("ws://127.0.0.1:9".to_owned()), ..in_memory() };
        let error = Database::open(&settings).await.unwrap_err();
        assert!(matches!(error, StoreError::Unreachable { .. }), "{error:?}");
        assert!(error.passing());
    });
}

async fn a_changed_or_newer_migration_is_refused_by_name(engine: Engine) {
    let database = Database::open(&engine.fresh()).await.unwrap();
    let first = Migration { number: 1, name: "0001_first.surql", text: "DEFINE TABLE one SCHEMAFULL;" };
    let second = Migration { number: 2, name: "0002_second.surql", text: "DEFINE TABLE two SCHEMAFULL;" };
    migrate::run(&database, &[first]).await.unwrap();
    migrate::run(&database, &[first, second]).await.unwrap();
    migrate::run(&database, &[first, second]).await.unwrap();
    let changed = Migration { text: "DEFINE TABLE other SCHEMAFULL;", ..second };
    let error = migrate::run(&database, &[first, changed]).await.unwrap_err();
    assert!(matches!(&error, StoreError::Drift { name } if name == "0002_second.surql"), "{error}");
    let error = migrate::run(&database, &[first]).await.unwrap_err();
    assert!(matches!(error, StoreError::Newer { found: 2, known: 1 }), "{error}");
}

async fn a_migration_that_fails_leaves_nothing_behind(engine: Engine) {
    let database = Database::open(&engine.fresh()).await.unwrap();
    let broken = Migration { number: 1, name: "0001_broken.surql", text: "DEFINE TABLE one SCHEMAFULL; THROW 'broken'" };
    let error = migrate::run(&database, &[broken]).await.unwrap_err();
    assert!(error.to_string().contains("broken"), "{error}");
    let fixed = Migration { text: "DEFINE TABLE one SCHEMAFULL", ..broken };
    migrate::run(&database, &[fixed]).await.unwrap();
}

async fn calls_after_the_store_was_closed_fail_and_do_not_hang(engine: Engine) {
    let store = open(&engine.fresh()).await;
    let results = store.results.clone();
    store.shutdown().await.unwrap();
    let head = BatchHead::new(&"a".into(), &"eu".into(), Boot(1), 1, 0);
    let error = results.append(&batch::encode(&head, &[])).await.unwrap_err();
    assert!(matches!(error, StoreError::Closed), "{error}");
}

/// Batches of one node, numbered from `first`, of so many results each.
fn batches(node: &str, first: u64, sizes: &[u64]) -> Vec<Arc<[u8]>> {
    let mut rng = StdRng::seed_from_u64(first);
    let mut batch = |number: u64, size: u64| {
        let head = BatchHead::new(&node.into(), &"eu".into(), Boot(1), number, 0);
        let result = |index| {
            let seq = number * 100 + index;
            realistic(&Origin { node, region: "eu", boot: 1, seq, service: 1, started: START + seq as i64 }, 0.1, &mut rng)
        };
        Arc::from(batch::encode(&head, &(0..size).map(result).collect::<Vec<_>>()))
    };
    (first..).zip(sizes).map(|(number, size)| batch(number, *size)).collect()
}

async fn stored_checks(store: &Store) -> u64 {
    store.results.statistics(Timestamp(0), Timestamp::LAST).await.unwrap().checks
}

async fn batches_appended_together_are_stored_in_their_order_and_once(engine: Engine) {
    let store = open(&engine.fresh()).await;
    let sent = batches("a", 1, &[3; 100]);
    store.results.append_all(&sent[..30], None).await.unwrap();
    // Some of them again, those behind them, and another node's, all at the same time.
    let others = batches("b", 1, &[2; 64]);
    let (again, other) = tokio::join!(store.results.append_all(&sent[20..], None), store.results.append_all(&others, None));
    let (again, other) = (again.unwrap(), other.unwrap());
    let new: Vec<bool> = again.stored.iter().map(|appended| appended.results.is_some()).collect();
    assert_eq!(new, [vec![false; 10], vec![true; 70]].concat());
    assert_eq!((again.stored.last().unwrap().through, other.stored.last().unwrap().through), (100, 64));
    assert!(again.refused.is_none() && other.stored.iter().all(|appended| appended.results.is_some()));
    assert_eq!(stored_checks(&store).await, 300 + 128);
    store.shutdown().await.unwrap();
}

async fn a_refused_batch_takes_none_before_it_along_and_lets_none_behind_it_through(engine: Engine) {
    let store = open(&engine.fresh()).await;
    let mut sent = batches("a", 1, &[3; 5]);
    sent[2] = Arc::from([1, 200, 200]);
    let group = store.results.append_all(&sent, None).await.unwrap();
    assert_eq!(group.stored.iter().map(|appended| appended.head.number()).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(group.refused.unwrap().place, 2);
    assert_eq!(stored_checks(&store).await, 6);
    let rest = store.results.append_all(&sent[3..], None).await.unwrap();
    assert_eq!((rest.stored.len(), rest.stored[1].through), (2, 5));
    let mixed = [&batches("a", 6, &[1])[..], &batches("b", 7, &[1])].concat();
    let group = store.results.append_all(&mixed, None).await.unwrap();
    assert_eq!((group.stored.len(), group.refused.map(|refused| refused.place)), (1, Some(1)));
    assert_eq!(stored_checks(&store).await, 13);
    let nothing = store.results.append_all(&[], None).await.unwrap();
    assert!(nothing.stored.is_empty() && nothing.refused.is_none());
    store.shutdown().await.unwrap();
}

async fn a_failure_of_the_store_in_the_middle_leaves_no_gap(engine: Engine) {
    let store = open(&engine.fresh()).await;
    // This store takes no batch that is so large.
    let picky = "DEFINE FIELD OVERWRITE data ON journal TYPE bytes ASSERT bytes::len($value) < 2000";
    store.database.query(picky, vec![]).await.unwrap();
    let mut sent = batches("a", 1, &[3, 3, 90, 3, 3]);
    sent.push(Arc::from([9]));
    let other = batches("b", 1, &[2; 3]);
    let (group, others) = tokio::join!(store.results.append_all(&sent, None), store.results.append_all(&other, None));
    let group = group.unwrap();
    assert_eq!((group.stored.len(), group.stored[1].through), (2, 2), "those before it are stored, and no other");
    assert!(group.refused.is_none(), "what lies behind a failure is not refused yet");
    assert_eq!(others.unwrap().stored.len(), 3, "another node's are stored");
    let error = store.results.append_all(&sent[2..], None).await.unwrap_err();
    assert!(matches!(error, StoreError::Query { .. }) && error.passing(), "{error}");
    assert_eq!(stored_checks(&store).await, 6 + 6);
    store.database.query("DEFINE FIELD OVERWRITE data ON journal TYPE bytes", vec![]).await.unwrap();
    let group = store.results.append_all(&sent[2..], None).await.unwrap();
    assert_eq!((group.stored.len(), group.stored[2].through), (3, 5));
    assert_eq!(group.refused.map(|refused| refused.place), Some(3));
    assert_eq!(stored_checks(&store).await, 6 + 6 + 96);
    store.shutdown().await.unwrap();
}

async fn what_is_no_batch_no_cursor_or_no_name_is_refused(engine: Engine) {
    let store = open(&engine.fresh()).await;
    assert!(matches!(store.results.append(&[]).await, Err(StoreError::Batch { .. })));
    assert!(matches!(store.results.append(&[1, 200, 200]).await, Err(StoreError::Batch { .. })));
    for text in ["", "?", "AAAA", "AQAA", "AQQAAAAAAAA"] {
        assert!(Cursor::parse(text).is_err(), "{text}");
        assert!(ResultId::parse(text).is_none(), "{text}");
    }
    store.shutdown().await.unwrap();
}

async fn a_stored_result_takes_few_bytes(engine: Engine) {
    let folder = tempfile::tempdir().unwrap();
    let settings = engine.lasting(folder.path());
    let store = open(&settings).await;
    let mut rng = StdRng::seed_from_u64(7);
    let (services, seconds) = (40, 480);
    for second in 0..seconds {
        let mut results = Vec::new();
        for service in 1..=services {
            let started = START + i64::from(second) * SECOND + i64::from(service) * 20_000 + rng.random_range(0..400);
            let seq = u64::from(second * services + service);
            results.push(realistic(&Origin { node: "eu-1", region: "eu-west", boot: 1, seq, service, started }, 0.0, &mut rng));
        }
        let head = BatchHead::new(&"eu-1".into(), &"eu-west".into(), Boot(1), u64::from(second) + 1, 0);
        store.results.append(&batch::encode(&head, &results)).await.unwrap();
    }
    let waiting = store.results.status();
    let count = waiting.tail_results;
    assert_eq!(count, (services * seconds) as usize);
    let in_memory = waiting.tail_bytes as f64 / count as f64;
    let in_journal = waiting.journal_bytes as f64 / count as f64;
    let lying = "RETURN math::sum((SELECT VALUE bytes::len(data) FROM journal))";
    let lying: Option<i64> = store.database.query(lying, vec![]).await.unwrap().take(0).unwrap();
    let lying = lying.unwrap() as f64 / count as f64;
    while store.results.seal(Timestamp(START + HOUR)).await.unwrap().more {}
    while store.results.seal(Timestamp(START + HOUR)).await.unwrap().more {}
    let status = store.results.status();
    assert_eq!((status.tail_results, status.journal_batches), (0, 0), "{status:?}");
    assert_eq!(status.results_sealed as usize, count);
    let packed = status.block_bytes as f64 / count as f64;
    println!(
        "a result takes {packed:.1} bytes in its block, {in_journal:.1} as it comes, {lying:.1} in the journal, {in_memory:.1} in memory while it waits"
    );
    assert!(packed <= 30.0, "{packed}");
    assert!(lying < in_journal, "{lying} of {in_journal}");
    assert!(in_memory <= 75.0, "{in_memory}");
    store.shutdown().await.unwrap();
}

async fn a_reader_sees_every_result_once_while_they_are_packed(engine: Engine) {
    let settings = StoreSettings { block_results: 10, ..engine.fresh() };
    let store = open(&settings).await;
    let mut rng = StdRng::seed_from_u64(3);
    let mut nodes = Nodes::default();
    let mut all = Vec::new();
    for _ in 0..40 {
        let (bytes, results) = nodes.batch(&mut rng, 50, false);
        store.results.append(&bytes).await.unwrap();
        all.extend(results);
    }
    let packing = {
        let results = store.results.clone();
        tokio::spawn(async move { while results.seal(Timestamp(START)).await.unwrap().more {} })
    };
    let mut rounds = 0;
    loop {
        let over = packing.is_finished();
        let query = ResultQuery { newest_first: rounds % 2 == 0, page_size: 3000, ..ResultQuery::default() };
        let page = store.results.page(&query).await.unwrap();
        assert_eq!(page.results.len(), all.len());
        let one = ResultQuery { service: Some(ServiceId(2)), ..query };
        let page = store.results.page(&one).await.unwrap();
        assert_eq!(page.results.len(), all.iter().filter(|result| result.service == ServiceId(2)).count());
        let statistics = store.results.statistics(Timestamp(0), Timestamp::LAST).await.unwrap();
        assert_eq!(statistics.checks, all.len() as u64);
        rounds += 1;
        if over {
            break;
        }
    }
    assert!(store.results.status().results_sealed > 1500, "{:?}", store.results.status());
    packing.await.unwrap();
    store.shutdown().await.unwrap();
}

async fn two_that_write_one_store_do_not_mix(engine: Engine) {
    let settings = engine.fresh();
    let database = Arc::new(Database::open(&settings).await.unwrap());
    migrate::run(&database, migrate::MIGRATIONS).await.unwrap();
    let open = || Results::open(database.clone(), &settings, Clock::manual(Timestamp(START)));
    let (one, other) = (open().await.unwrap(), open().await.unwrap());
    let mut rng = StdRng::seed_from_u64(3);
    let mut nodes = Nodes::default();
    one.append(&nodes.batch(&mut rng, 5, false).0).await.unwrap();
    let error = other.append(&nodes.batch(&mut rng, 5, false).0).await.unwrap_err();
    assert!(matches!(error, StoreError::Foreign), "{error}");
    one.append(&nodes.batch(&mut rng, 5, false).0).await.unwrap();
    assert_eq!(one.statistics(Timestamp(0), Timestamp::LAST).await.unwrap().checks, 10);
}

async fn details_are_bounded_by_the_hour_and_the_rest_is_counted(engine: Engine) {
    let store = open(&StoreSettings { details_per_hour: 4, ..engine.fresh() }).await;
    let mut rng = StdRng::seed_from_u64(3);
    let mut origin = Origin { node: "a", region: "eu", boot: 1, seq: 0, service: 1, started: START };
    let mut results = Vec::new();
    for seq in 0..20 {
        origin.seq = seq;
        origin.started = START + (seq as i64) * HOUR / 10;
        results.push(realistic(&origin, 1.0, &mut rng));
    }
    let head = BatchHead::new(&"a".into(), &"eu".into(), Boot(1), 1, 0);
    store.results.append(&batch::encode(&head, &results)).await.unwrap();
    let mut kept = Vec::new();
    for result in &results {
        let found = store.results.one(&ResultId::of(result)).await.unwrap().unwrap();
        kept.push(found.evidence.is_some());
        assert_eq!(found.evidence.is_some(), !found.attempts.is_empty());
    }
    let hour = [[true; 4].as_slice(), &[false; 6]].concat();
    assert_eq!(kept, [hour.clone(), hour].concat());
    assert_eq!(store.results.statistics(Timestamp(0), Timestamp::LAST).await.unwrap().omitted_details, 12);
    assert_eq!(store.results.status().details_omitted, 12);
    store.shutdown().await.unwrap();
}

async fn what_is_past_its_time_is_gone_from_the_disk_too(engine: Engine) {
    let settings = StoreSettings { block_results: 10, retain_details: Duration::from_secs(3600), ..engine.fresh() };
    let store = open(&settings).await;
    let mut rng = StdRng::seed_from_u64(3);
    let mut nodes = Nodes::default();
    for _ in 0..20 {
        store.results.append(&nodes.batch(&mut rng, 50, false).0).await.unwrap();
    }
    while store.results.seal(Timestamp(START + 100 * HOUR)).await.unwrap().more {}
    store.results.seal(Timestamp(START + 100 * HOUR)).await.unwrap();
    let later = Timestamp(START + 40 * 24 * HOUR);
    while store.results.retain(later).await.unwrap() {}
    for table in ["block", "failing", "directory", "directory_hour", "detail", "journal"] {
        let count = format!("RETURN array::len((SELECT VALUE id FROM {table}))");
        let mut answer = store.database.query(&count, vec![]).await.unwrap();
        assert_eq!(answer.take::<Option<i64>>(0).unwrap(), Some(0), "{table}");
    }
    assert!(store.results.newest().await.unwrap().is_empty());
    store.shutdown().await.unwrap();
}

async fn a_purged_service_leaves_no_rows_and_does_not_come_back(engine: Engine) {
    let folder = tempfile::tempdir().unwrap();
    let settings = StoreSettings { block_results: 10, ..engine.lasting(folder.path()) };
    let store = open(&settings).await;
    let mut rng = StdRng::seed_from_u64(3);
    let mut nodes = Nodes::default();
    for _ in 0..10 {
        store.results.append(&nodes.batch(&mut rng, 50, false).0).await.unwrap();
    }
    store.results.seal(Timestamp(START + 100 * HOUR)).await.unwrap();
    // These are in the journal alone, together with results of other services.
    store.results.append(&nodes.batch(&mut rng, 50, false).0).await.unwrap();
    store.results.purge_service(ServiceId(2)).await.unwrap();
    for table in ["block", "failing", "detail"] {
        let count = format!("RETURN array::len((SELECT VALUE id FROM {table}:[2]..[3]))");
        let mut answer = store.database.query(&count, vec![]).await.unwrap();
        assert_eq!(answer.take::<Option<i64>>(0).unwrap(), Some(0), "{table}");
    }
    // These were on their way meanwhile.
    store.results.append(&nodes.batch(&mut rng, 50, false).0).await.unwrap();
    let store = reopen(store, &settings).await;
    store.results.append(&nodes.batch(&mut rng, 50, false).0).await.unwrap();
    let statistics = store.results.statistics(Timestamp(0), Timestamp::LAST).await.unwrap();
    assert!(statistics.services.iter().all(|count| count.service != ServiceId(2)));
    assert!(statistics.checks > 300);
    store.shutdown().await.unwrap();
}

async fn failures_are_found_beside_and_in_blocks_of_an_older_program(engine: Engine) {
    let folder = tempfile::tempdir().unwrap();
    let settings = StoreSettings { block_results: 10, ..engine.lasting(folder.path()) };
    let mut store = open(&settings).await;
    let mut rng = StdRng::seed_from_u64(5);
    let mut nodes = Nodes::default();
    let mut all = Vec::new();
    for round in 0..3 {
        for _ in 0..8 {
            let (batch, results) = nodes.batch(&mut rng, 50, round == 2);
            store.results.append(&batch).await.unwrap();
            all.extend(results);
        }
        while store.results.seal(Timestamp(START + 1000 * HOUR)).await.unwrap().more {}
        if round == 0 {
            // As a store is that no failures were ever put by themselves in.
            store.database.query("DELETE failing; DELETE failing_head", vec![]).await.unwrap();
            store = reopen(store, &settings).await;
        }
    }
    let mut answer = store.database.query("RETURN array::len((SELECT VALUE id FROM failing WHERE data != NONE))", vec![]).await.unwrap();
    assert!(answer.take::<Option<i64>>(0).unwrap() > Some(20));
    for service in [None, Some(ServiceId(1)), Some(ServiceId(3))] {
        for reason in [None, all.iter().find_map(|result| result.failure.as_ref()).map(|failure| failure.reason)] {
            for newest_first in [true, false] {
                let query = ResultQuery { service, reason, ok: Some(false), newest_first, page_size: 7, ..ResultQuery::default() };
                check_pages(&store, &query, &all).await;
            }
        }
    }
    store.shutdown().await.unwrap();
}
