//! Results made up, through the real writer.

use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use probemesh::model::check::{CheckResult, Failure, HttpVersion, Phase, Phases, Reason};
use probemesh::model::id::{Boot, CheckId, NodeName, RegionName, ServiceId};
use probemesh::model::time::Timestamp;
use probemesh::store::Store;
use probemesh::wire::batch::{BatchHead, encode};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

const BATCH: usize = 500;

/// Writes results as a region's come in, in the order of their times, and packs them as the hub does.
pub struct Loader<'s> {
    store: &'s Store,
    random: StdRng,
    /// How many were made.
    pub count: u64,
    batches: u64,
    pending: Vec<CheckResult>,
    /// Until they were stored.
    pub appending: Duration,
}

impl Loader<'_> {
    pub fn new(store: &Store) -> Loader<'_> {
        let random = StdRng::seed_from_u64(7);
        Loader { store, random, count: 0, batches: 0, pending: Vec::with_capacity(BATCH), appending: Duration::ZERO }
    }

    pub async fn add(&mut self, service: u32, at: Timestamp) -> anyhow::Result<()> {
        self.count += 1;
        self.pending.push(result(self.count, service, at, &mut self.random));
        if self.pending.len() == BATCH {
            self.write(at).await?;
        }
        Ok(())
    }

    /// What is not yet written, too.
    pub async fn finish(&mut self, now: Timestamp) -> anyhow::Result<()> {
        self.write(now).await
    }

    async fn write(&mut self, now: Timestamp) -> anyhow::Result<()> {
        if !self.pending.is_empty() {
            self.batches += 1;
            let head = BatchHead::new(&NodeName::from("bench"), &RegionName::from("local"), Boot(1), self.batches, 0);
            let batch = encode(&head, &self.pending);
            let sent = Instant::now();
            self.store.results.append(&batch).await?;
            self.appending += sent.elapsed();
            self.pending.clear();
        }
        // As the sealer would, by the time of the results.
        while self.store.results.seal(now).await?.more {}
        Ok(())
    }
}

/// Looks like a healthy https-free service on a near network: noise in every phase, one failure in two hundred.
fn result(seq: u64, service: u32, at: Timestamp, random: &mut StdRng) -> CheckResult {
    let mut noise = |most: u64| Duration::from_micros(random.random_range(0..most));
    let phases = Phases {
        dns: None,
        connect: Some(Duration::from_micros(180) + noise(120)),
        tls: None,
        first_byte: Some(Duration::from_micros(9_000) + noise(6_000)),
        transfer: Some(noise(90)),
    };
    let latency = phases.connect.unwrap_or_default() + phases.first_byte.unwrap_or_default() + phases.transfer.unwrap_or_default();
    let started_at = at.plus(noise(1_500));
    let failure = match random.random_range(0..1000) {
        0..=3 => Some(Failure { reason: Reason::Status, phase: Phase::Expect, message: "expected status 200-299, got 503".to_owned() }),
        4 => Some(Failure {
            reason: Reason::Timeout,
            phase: Phase::FirstByte,
            message: "no answer within 10 s (waiting for first byte)".to_owned(),
        }),
        _ => None,
    };
    CheckResult {
        id: CheckId { node: NodeName::from("bench"), boot: Boot(1), seq },
        service: ServiceId(service),
        region: RegionName::from("local"),
        scheduled_at: at,
        started_at,
        latency,
        elapsed: latency + Duration::from_micros(40),
        status_code: Some(if failure.is_some() { 503 } else { 200 }),
        failure,
        phases,
        address: Some(IpAddr::V4(Ipv4Addr::new(10, 0, (service / 250) as u8, (service % 250) as u8))),
        http_version: Some(HttpVersion::Http11),
        tls_version: None,
        certificate: None,
        body_bytes: 15,
        redirects: 0,
        attempt_count: 1,
        attempts: Vec::new(),
        evidence: None,
        clock_offset: 0,
    }
}
