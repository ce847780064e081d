//! One check of one service → `CheckResult`.
//!
//! A check is one or more attempts, each within the service's time limit, with growing waits between them. Whatever goes wrong
//! with a target is in the result; nothing here fails.
//!
//! **Invariants**: no lock is held across an await; no secret of a service is in a result; with nothing wrong, no text is made
//! but the check's own header.

pub mod certificate;
pub mod classify;
pub mod client;
pub mod expect;
pub mod http;
pub mod network;
pub mod oauth;
pub mod progress;
pub mod protocol;
pub mod recorder;
pub mod redact;
pub mod request;
pub mod resolve;
pub mod talk;
pub mod tls;
pub mod trial;

use std::sync::Arc;
use std::time::Duration;

use ::http::HeaderValue;
use url::Url;

use crate::clock::Clock;
use crate::config::sections::ProbeSettings;
use crate::model::check::{Attempt, CheckResult};
use crate::model::id::{CheckId, RegionName};
use crate::model::service::{Backoff, Kind, Service};
use crate::model::time::Timestamp;
use crate::probe::client::ClientBook;
use crate::probe::expect::Verdict;
use crate::probe::http::{Outcome, attempt};
use crate::probe::network::BlockedNetworks;
use crate::probe::oauth::TokenBook;
use crate::probe::protocol::Dialer;
use crate::probe::resolve::{Lookup, SystemLookup};
use crate::probe::tls::TlsGround;

/// What makes one check of a service this check.
#[derive(Clone, Debug)]
pub struct CheckOrder {
    pub id: CheckId,
    pub region: RegionName,
    pub scheduled_at: Timestamp,
    /// The hub's own address for `Target::Hub`.
    pub hub_url: Option<Url>,
}

#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    #[error("blocked_networks: {0:?} is not a network such as 169.254.0.0/16")]
    Network(String),
    #[error("user_agent holds characters a header cannot carry")]
    UserAgent,
    #[error("the resolver cannot be set up: {0}")]
    Resolver(String),
    #[error("TLS cannot be set up")]
    Tls(#[source] rustls::Error),
}

/// All that checks share: clients, resolver, tokens, certificates. Cheap to share by `Arc`.
pub struct Probes {
    clients: ClientBook,
    dialer: Dialer,
    tokens: TokenBook,
    clock: Clock,
    user_agent: HeaderValue,
    check_header: bool,
}

impl Probes {
    pub fn new(settings: &ProbeSettings, clock: Clock) -> Result<Probes, ProbeError> {
        let lookup = SystemLookup::new(settings.dns_cache, &settings.name_servers, clock.clone())
            .map_err(|err| ProbeError::Resolver(err.to_string()))?;
        Probes::with_lookup(settings, clock, Arc::new(lookup))
    }

    /// The same with a resolver of the caller's.
    pub fn with_lookup(settings: &ProbeSettings, clock: Clock, lookup: Arc<dyn Lookup>) -> Result<Probes, ProbeError> {
        let blocked = Arc::new(BlockedNetworks::parse(&settings.blocked_networks).map_err(ProbeError::Network)?);
        let ground = Arc::new(TlsGround::new().map_err(ProbeError::Tls)?);
        Ok(Probes {
            dialer: Dialer::new(lookup.clone(), ground.clone(), blocked.clone()),
            clients: ClientBook::new(ground, lookup, blocked, clock.clone()),
            tokens: TokenBook::new(clock.clone()),
            clock,
            user_agent: HeaderValue::try_from(&settings.user_agent).map_err(|_| ProbeError::UserAgent)?,
            check_header: settings.check_header,
        })
    }

    /// For conversations that are no checks.
    pub fn dialer(&self) -> &Dialer {
        &self.dialer
    }

    /// Never fails: what goes wrong is in the result. `Kind::Panic` panics, in debug builds.
    pub async fn check(&self, service: &Service, order: CheckOrder) -> CheckResult {
        self.run(service, order, false).await.0
    }

    /// The same, and the verdict of each expectation on the last attempt's answer; none where no answer came.
    pub async fn check_verbosely(&self, service: &Service, order: CheckOrder) -> (CheckResult, Vec<Verdict>) {
        self.run(service, order, true).await
    }

    async fn run(&self, service: &Service, order: CheckOrder, verbose: bool) -> (CheckResult, Vec<Verdict>) {
        if service.kind == Kind::Panic && cfg!(debug_assertions) {
            panic!("service {} panics at every check, as it was told to", service.id);
        }
        let started_at = self.clock.now();
        let began = self.clock.steady();
        let mut attempts = Vec::new();
        let mut evidence = None;
        let mut number: u8 = 1;
        let last = loop {
            let offset = self.clock.steady().saturating_sub(began);
            progress::attempt(number);
            let mut outcome = match service.kind {
                Kind::Http | Kind::Panic => attempt(self, service, &order, number, verbose).await,
                Kind::Tcp | Kind::Redis | Kind::MongoDb => talk::attempt(self, service, verbose).await,
            };
            if outcome.failure.is_some() || number > 1 {
                attempts.push(entry(&outcome, offset));
            }
            // Of a check that recovers, what it recovered from is worth seeing.
            if outcome.evidence.is_some() {
                evidence = outcome.evidence.take();
            }
            if outcome.failure.is_none() || number > service.retries {
                break outcome;
            }
            self.clock.sleep(wait(service.backoff, number)).await;
            number += 1;
        };
        let result = CheckResult {
            id: order.id,
            service: service.id,
            region: order.region,
            scheduled_at: order.scheduled_at,
            started_at,
            latency: last.latency,
            elapsed: self.clock.steady().saturating_sub(began),
            status_code: last.status_code,
            failure: last.failure,
            phases: last.phases,
            address: last.address,
            http_version: last.http_version,
            tls_version: last.tls_version,
            certificate: last.certificate,
            body_bytes: last.body_bytes,
            redirects: last.redirects,
            attempt_count: number,
            attempts,
            evidence,
            clock_offset: 0,
        };
        (result, last.verdicts)
    }
}

fn entry(outcome: &Outcome, offset: Duration) -> Attempt {
    Attempt {
        offset,
        latency: outcome.latency,
        phases: outcome.phases,
        status_code: outcome.status_code,
        address: outcome.address,
        failure: outcome.failure.clone(),
    }
}

/// Full jitter: drawn evenly from zero to what the backoff has grown to after `failures` attempts.
fn wait(backoff: Backoff, failures: u8) -> Duration {
    let doubled = 1_u32.checked_shl(u32::from(failures) - 1).unwrap_or(u32::MAX);
    backoff.initial.saturating_mul(doubled).min(backoff.max).mul_f64(rand::random::<f64>())
}
