//! Blocks as they lie on disk: those of earlier programs are read for ever, and a page unpacks no more of them than it needs.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use probemesh::clock::Clock;
use probemesh::config::sections::StoreSettings;
use probemesh::model::check::{Certificate, CheckResult, Failure, HttpVersion, Phase, Phases, Reason};
use probemesh::model::id::{Boot, CheckId, ServiceId};
use probemesh::model::time::Timestamp;
use probemesh::store::Store;
use probemesh::store::codec::{self, Block, Packable};
use probemesh::store::directory;
use probemesh::store::query::ResultQuery;
use probemesh::wire::batch::{BatchHead, encode};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

const START: i64 = 1_767_225_600_000_000;

/// The results that lie in the block of an earlier program.
fn old_results() -> Vec<CheckResult> {
    let certificate = Arc::new(Certificate {
        subject: "CN=old.example.com".to_owned(),
        issuer: "CN=authority".to_owned(),
        not_before: Timestamp(START - 1_000_000),
        not_after: Timestamp(START + 1_000_000),
        fingerprint: "00ff".repeat(16),
    });
    let result = |row: i64| {
        let failed = row % 5 == 2;
        let latency = Duration::from_micros(9000 + (row * 37 % 50) as u64);
        CheckResult {
            id: CheckId { node: if row % 4 == 3 { "b" } else { "a" }.into(), boot: Boot(5), seq: 100 + row as u64 },
            service: ServiceId(7),
            region: "eu".into(),
            scheduled_at: Timestamp(START + row * 1_000_000 - 300),
            started_at: Timestamp(START + row * 1_000_000 + row * row * 7919 % 1013),
            latency,
            elapsed: latency + Duration::from_micros(40),
            status_code: Some(if failed { 503 } else { 200 }),
            failure: failed.then(|| Failure { reason: Reason::Status, phase: Phase::Expect, message: "got 503".to_owned() }),
            phases: Phases {
                connect: Some(Duration::from_micros(180 + row as u64)),
                first_byte: (row != 4).then_some(Duration::from_micros(8000)),
                ..Phases::default()
            },
            address: Some(IpAddr::from([10, 0, 0, (row % 2) as u8])),
            http_version: Some(HttpVersion::Http11),
            tls_version: None,
            certificate: Some(certificate.clone()),
            body_bytes: 15,
            redirects: 0,
            attempt_count: 1,
            attempts: Vec::new(),
            evidence: None,
            clock_offset: 0,
        }
    };
    (0..12).map(result).collect()
}

fn packed(results: Vec<CheckResult>) -> Vec<u8> {
    let mut rows: Vec<Packable> = results.into_iter().enumerate().map(|(row, result)| Packable { result, omitted: row == 7 }).collect();
    rows.sort_by(|one, other| codec::order(&one.result).cmp(&codec::order(&other.result)));
    codec::encode(&rows)
}

/// `old_results` as the first program packed them, the eighth without its details; and the directory's record of it.
const OLD_BLOCK: &str = "010c01a8463001060228020401100101800aa00700000000c00500402046484706806705c0a022423911c16266c121a2b4001f02040100\
    10006009000000000000540000f01c515a4fe0f61a0d3c49b3aee41202040100100000000000000000000c008808180204011001018000\
    000000000000400064000000000000802602040100240060b10200000000004082a8170000000000003a00ddc518110040400400111101\
    0a0190030202ee0704ee072502040100240070980100000000004003808a0000000000000200393341a01a235286ca3900020050001602\
    0401001000a00500000000000024001032547698ba000300807d0002001e0200000200021202040100100000000000000000000c00aa0a\
    02000003008c180200000201610501620502040a000000040a0000010112434e3d6f6c642e6578616d706c652e636f6d0c434e3d617574\
    686f7269747980f787e188d2a3068089fce288d2a306012000ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00\
    ff0107676f7420353033";
const OLD_DIRECTORY: &str = "0101026575010700a4f1c0ec88d2a306a4f1be0a030c00a84630010602";

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

#[test]
fn what_an_earlier_program_packed_is_read() {
    let bytes = unhex(OLD_BLOCK);
    let expect = old_results();
    let parse = || Block::parse(&bytes).unwrap();
    assert_eq!((parse().summary.checks, parse().summary.failed(), parse().keeps_failures_apart()), (12, 2, false));
    assert_eq!(parse().started().unwrap(), expect.iter().map(|result| result.started_at.0).collect::<Vec<_>>());
    let tally = parse().tally().unwrap();
    for block in [parse().unpack(ServiceId(7), "eu".into()).unwrap(), parse().unpack_failures(ServiceId(7), "eu".into()).unwrap()] {
        for (row, expect) in expect.iter().enumerate() {
            assert_eq!(&block.result(row).unwrap(), expect);
            assert_eq!((block.omitted(row), tally[row].omitted), (row == 7, row == 7));
            assert_eq!(
                (tally[row].started, tally[row].reason),
                (expect.started_at.0, expect.failure.as_ref().map(|failure| failure.reason))
            );
        }
        assert_eq!(block.rows(), 12);
    }
    let entries = directory::decode(&unhex(OLD_DIRECTORY)).unwrap();
    let [entry] = entries.as_slice() else { panic!("{entries:?}") };
    assert_eq!((entry.start, entry.end, entry.serial), (expect[0].started_at.0, expect[11].started_at.0, 3));
    assert_eq!((entry.summary.failed(), &entry.failures), (2, &None), "not listed there");
}

#[test]
fn a_clock_that_is_right_costs_nothing_and_one_that_is_wrong_little() {
    let many = |offset: i64| -> Vec<CheckResult> {
        let results = (0..20).flat_map(|round: i64| {
            let mut results = old_results();
            for (row, result) in results.iter_mut().enumerate() {
                result.id.seq += round as u64 * 12 + row as u64;
                result.started_at.0 += round * 12_000_000;
                result.scheduled_at.0 += round * 12_000_000;
                result.set_clock_offset(offset);
            }
            results
        });
        results.collect()
    };
    let (right, wrong) = (packed(many(0)).len(), packed(many(90_000_000)).len());
    let failing = 20 * 2;
    assert!(wrong <= right + 8 + 3 * failing, "{right} bytes, and {wrong} with an offset");
}

/// A store as the benchmark loads it, smaller: a check a minute of each service, one in two hundred failing, one in a
/// thousand timed out.
async fn loaded() -> (Store, Vec<CheckResult>) {
    let settings = StoreSettings {
        url: Some("mem://".to_owned()),
        username: None,
        password: None,
        ca: None,
        data_dir: "unused".into(),
        memtable_bytes: 8 << 20,
        block_cache_bytes: 4 << 20,
        block_results: 240,
        block_span: Duration::from_secs(3600),
        journal_max_bytes: 16 << 20,
        retain_results: Duration::from_secs(30 * 86_400),
        retain_details: Duration::from_secs(90 * 86_400),
        retain_minutes: Duration::from_secs(30 * 86_400),
        details_per_hour: 20,
    };
    let clock = Clock::manual(Timestamp(START));
    let store = Store::open(&settings, clock.clone()).await.unwrap();
    let mut random = StdRng::seed_from_u64(7);
    let template = old_results().remove(0);
    let mut all: Vec<CheckResult> = Vec::new();
    for round in 0..HOURS * 60 {
        let mut results = Vec::new();
        for service in 1..=SERVICES {
            let mut result = template.clone();
            result.id.seq = (round * SERVICES + service) as u64;
            result.service = ServiceId(service as u32);
            result.scheduled_at = Timestamp(START + round * 60_000_000 + service * 997);
            result.started_at = result.scheduled_at.plus(Duration::from_micros(random.random_range(0..1500)));
            result.latency = Duration::from_micros(random.random_range(9_000..15_000));
            result.phases.first_byte = Some(result.latency - Duration::from_micros(300));
            let (reason, phase) = match random.random_range(0..1000) {
                0..4 => (Reason::Status, Phase::Expect),
                4 => (Reason::Timeout, Phase::FirstByte),
                _ => {
                    results.push(result);
                    continue;
                }
            };
            result.failure = Some(Failure { reason, phase, message: "not as expected".to_owned() });
            results.push(result);
        }
        let head = BatchHead::new(&"a".into(), &"eu".into(), Boot(5), round as u64 + 1, 0);
        store.results.append(&encode(&head, &results)).await.unwrap();
        clock.advance(Duration::from_secs(60)).await;
        while store.results.seal(clock.now()).await.unwrap().more {}
        all.extend(results);
    }
    (store, all)
}

const SERVICES: i64 = 60;
const HOURS: i64 = 12;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_of_failures_unpacks_only_blocks_that_hold_them() {
    let (store, all) = loaded().await;
    let base = ResultQuery { newest_first: true, page_size: 50, ..ResultQuery::default() };
    let mut random = StdRng::seed_from_u64(9);
    let mut since = || Timestamp(START + random.random_range(0..(HOURS - 2) * 3600) * 1_000_000);
    let queries: Vec<(&str, Vec<ResultQuery>)> = vec![
        (
            "failures of a service",
            (1..=20).map(|service| ResultQuery { service: Some(ServiceId(service)), ok: Some(false), ..base.clone() }).collect(),
        ),
        ("time-outs of all", vec![ResultQuery { reason: Some(Reason::Timeout), ..base.clone() }]),
        (
            "failures of all, ten minutes in the past",
            (0..20)
                .map(|_| {
                    let since = since();
                    ResultQuery { ok: Some(false), since: Some(since), until: Some(since.plus(Duration::from_secs(600))), ..base.clone() }
                })
                .collect(),
        ),
        ("newest failures of all", vec![ResultQuery { ok: Some(false), ..base.clone() }]),
    ];
    for (what, queries) in queries {
        let before = store.results.status();
        let (mut found, count) = (0, queries.len() as u64);
        for query in queries {
            let page = store.results.page(&query).await.unwrap();
            let mut expect: Vec<&CheckResult> = all.iter().filter(|result| wanted(&query, result)).collect();
            expect.sort_by_key(|result| std::cmp::Reverse((result.started_at, result.service)));
            let expect: Vec<_> = expect.into_iter().take(50).map(|result| result.id.seq).collect();
            assert_eq!(page.results.iter().map(|stored| stored.result.id.seq).collect::<Vec<_>>(), expect, "{query:?}");
            found += page.results.len() as u64;
        }
        let after = store.results.status();
        let read = after.blocks_read - before.blocks_read;
        let (unpacked, skimmed) = (after.blocks_unpacked - before.blocks_unpacked, after.blocks_skimmed - before.blocks_skimmed);
        let mean = |sum: u64| sum as f64 / count as f64;
        println!(
            "{what}: {:.1} results, {:.1} blocks read, {:.1} unpacked, failures of {:.1}",
            mean(found),
            mean(read),
            mean(unpacked),
            mean(skimmed)
        );
        assert_eq!(unpacked, 0, "{what}: no block of these holds many failures");
        // One more than the page tells whether there is another.
        assert!(skimmed <= found + count, "{what}: {skimmed} blocks for {found} failures");
        assert!(what == "failures of a service" || read <= found + 10 * count, "{what}: {read} blocks for {found} failures");
    }
    store.shutdown().await.unwrap();
}

fn wanted(query: &ResultQuery, result: &CheckResult) -> bool {
    let reason = result.failure.as_ref().map(|failure| failure.reason);
    reason.is_some()
        && query.reason.is_none_or(|wanted| reason == Some(wanted))
        && query.service.is_none_or(|service| service == result.service)
        && query.since.is_none_or(|since| result.started_at >= since)
        && query.until.is_none_or(|until| result.started_at < until)
}
