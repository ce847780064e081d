//! Blocks as they lie on disk: those of earlier programs are read for ever, and a page unpacks no more of them than it needs.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use probemesh::model::check::{Certificate, CheckResult, Failure, HttpVersion, Phase, Phases, Reason};
use probemesh::model::id::{Boot, CheckId, ServiceId};
use probemesh::model::time::Timestamp;
use probemesh::store::codec::{self, Packable};

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
    assert!(wrong <= right + 8, "{right} bytes, and {wrong} with an offset");
}
