//! One attempt of a check that speaks no HTTP: a bare connection (`tcp`), Redis or MongoDB, by the clients of [`protocol`].
//!
//! [`protocol`]: crate::probe::protocol

use std::sync::Arc;

use http::HeaderMap;
use url::Url;

use crate::model::check::{Evidence, Failure, Phase, Reason};
use crate::model::service::{Auth, Kind, Service, Target};
use crate::probe::Probes;
use crate::probe::expect::{Answer, first_failure, verdicts};
use crate::probe::http::Outcome;
use crate::probe::protocol::{Login, Server, Step, Steps, Trouble, mongodb, redis, within};
use crate::probe::recorder::{HopRules, RECORDER, Recorder};

pub async fn attempt(probes: &Probes, service: &Service, verbose: bool) -> Outcome {
    let recorder = Arc::new(Recorder::new(probes.clock.clone()));
    recorder.begin_hop(HopRules { family: service.ip_family, ..HopRules::default() });
    let steps = Steps::default();
    let began = recorder.now();
    let talking = RECORDER.scope(recorder.clone(), within(service.timeout, &steps, talk(probes, service, &steps)));
    let talked = talking.await;
    if talked.is_ok() {
        recorder.mark(|hop, now| (hop.headers, hop.done) = (Some(now), Some(now)));
    }
    let now = recorder.now();
    let latency = now.saturating_sub(began);
    let hop = recorder.hop();
    let certificate = hop.chain.as_ref().and_then(|chain| chain.leaf.clone());
    let answer = Answer {
        status: 0,
        headers: &HeaderMap::new(),
        body: &[],
        cut_at: None,
        certificate: certificate.as_deref(),
        now: probes.clock.now(),
        latency,
    };
    let failure = match &talked {
        Ok(()) => first_failure(&service.expect, &answer),
        Err(trouble) => Some(failure(trouble, hop.refusal.as_ref())),
    };
    let evidence = failure.is_some().then(|| {
        let chain = hop.chain.as_ref().map_or_else(Vec::new, |chain| chain.certificates());
        Box::new(Evidence { chain, addresses: hop.addresses.clone(), ..Evidence::default() })
    });
    Outcome {
        latency,
        phases: hop.phases(now),
        status_code: None,
        address: match hop.addresses.as_slice() {
            [only] => Some(*only),
            _ => None,
        },
        http_version: None,
        tls_version: hop.tls_version,
        certificate: certificate.clone(),
        body_bytes: 0,
        redirects: 0,
        failure,
        evidence,
        verdicts: if verbose && talked.is_ok() { verdicts(&service.expect, &answer) } else { Vec::new() },
    }
}

async fn talk(probes: &Probes, service: &Service, steps: &Steps) -> Result<(), Trouble> {
    let Target::Url(url) = &service.target else { return Err(Trouble::protocol("the hub itself is asked by http alone")) };
    let server = server(service, url)?;
    let login = login(service);
    let dialer = probes.dialer();
    match service.kind {
        Kind::Redis => {
            let database = url.path().trim_matches('/').parse().ok();
            redis::greet(dialer, &server, &login, database, steps).await.map(drop)
        }
        Kind::MongoDb => {
            let source = url.query_pairs().find(|(name, _)| name == "authSource").map_or_else(|| "admin".into(), |(_, source)| source);
            mongodb::greet(dialer, &server, &login, &source, steps).await.map(drop)
        }
        // A connection that stands is all there is to see.
        Kind::Tcp | Kind::Http | Kind::Panic => dialer.line(&server, steps).await.map(drop),
    }
}

fn server(service: &Service, url: &Url) -> Result<Server, Trouble> {
    let usual = match service.kind {
        Kind::Redis => Some(6379),
        Kind::MongoDb => Some(27017),
        _ => None,
    };
    let nowhere = || Trouble::new(Step::Connect, "the address names no host and port");
    let secured = url.scheme() == "rediss" || url.query_pairs().any(|(name, value)| name == "tls" && value == "true");
    Ok(Server {
        host: url.host_str().ok_or_else(nowhere)?.to_owned(),
        port: url.port().or(usual).ok_or_else(nowhere)?,
        tls: secured.then(|| service.tls.clone()),
        family: service.ip_family,
    })
}

fn login(service: &Service) -> Login {
    match &service.auth {
        Some(Auth::Basic { username, password }) => {
            Login { user: Some(username.clone()).filter(|user| !user.is_empty()), password: Some(password.clone()) }
        }
        _ => Login::default(),
    }
}

fn failure(trouble: &Trouble, refusal: Option<&(Reason, String)>) -> Failure {
    let (reason, phase) = match trouble.step {
        Step::Dns => (Reason::Dns, Phase::Dns),
        Step::Blocked => (Reason::Blocked, Phase::Connect),
        Step::Connect => (Reason::Connect, Phase::Connect),
        // The verifier knows whether it was the certificate.
        Step::Tls => (refusal.map_or(Reason::Tls, |(reason, _)| *reason), Phase::Tls),
        Step::Auth | Step::Protocol => (Reason::Protocol, Phase::FirstByte),
    };
    let message = match refusal {
        Some((_, message)) if trouble.step == Step::Tls => message.clone(),
        _ => trouble.message.clone(),
    };
    Failure { reason: if trouble.timed_out { Reason::Timeout } else { reason }, phase, message }
}
