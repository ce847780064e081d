//! One attempt of an HTTP check: its hops, from the name to the last byte, and what the expectations say.

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use http::Version;

use crate::model::check::{Certificate, Evidence, Failure, HttpVersion, Phase, Phases, Reason, TlsVersion};
use crate::model::service::{IpFamily, Service, Target};
use crate::probe::expect::{Answer, Verdict, first_failure, verdicts};
use crate::probe::recorder::{HopRules, RECORDER, Recorder};
use crate::probe::redact::{self, Received, Secrets};
use crate::probe::request::{Next, address_of, alias, credentials, literal, place, redirect, refuse_literal, request};
use crate::probe::{CheckOrder, Probes, classify};

/// Kept of a body nobody asks for, so that evidence can be cut cleanly where a failing expectation wants some.
const KEPT_BYTES: u64 = 16 << 10;

/// What became of one attempt.
#[derive(Debug)]
pub struct Outcome {
    pub latency: Duration,
    pub phases: Phases,
    pub status_code: Option<u16>,
    pub address: Option<IpAddr>,
    pub http_version: Option<HttpVersion>,
    pub tls_version: Option<TlsVersion>,
    pub certificate: Option<Arc<Certificate>>,
    pub body_bytes: u64,
    pub redirects: u8,
    pub failure: Option<Failure>,
    /// Of an attempt that failed.
    pub evidence: Option<Box<Evidence>>,
    /// Where they were asked for, and an answer came.
    pub verdicts: Vec<Verdict>,
}

/// What is known so far; it outlives an attempt that is cut off.
#[derive(Default)]
struct Progress {
    received: Option<Received>,
    address: Option<IpAddr>,
    body_bytes: u64,
    cut_at: Option<u64>,
    redirects: u8,
    token: Option<Arc<str>>,
    fetching_token: bool,
}

/// Attempt `number`, from 1.
pub async fn attempt(probes: &Probes, service: &Service, order: &CheckOrder, number: u8, verbose: bool) -> Outcome {
    let recorder = Arc::new(Recorder::new(probes.clock.clone()));
    let mut progress = Progress::default();
    let began = recorder.now();
    let running = RECORDER.scope(recorder.clone(), run(probes, service, order, number, &recorder, &mut progress));
    let ran = match tokio::time::timeout(service.timeout, running).await {
        Ok(ran) => ran,
        Err(_) => {
            let mut failure = classify::timeout(service.timeout, recorder.hop().phase());
            if progress.fetching_token {
                failure.message = format!("no OAuth2 token: {}", failure.message);
            }
            Err(failure)
        }
    };
    let now = recorder.now();
    let latency = now.saturating_sub(began);
    conclude(probes, service, &recorder, progress, ran, now, latency, verbose)
}

#[expect(clippy::too_many_arguments, reason = "the loose ends of one attempt, tied up in one place")]
fn conclude(
    probes: &Probes,
    service: &Service,
    recorder: &Recorder,
    progress: Progress,
    ran: Result<(), Failure>,
    now: Duration,
    latency: Duration,
    verbose: bool,
) -> Outcome {
    let hop = recorder.hop();
    let mut outcome = Outcome {
        latency,
        phases: hop.phases(now),
        status_code: progress.received.as_ref().map(|received| received.status.as_u16()),
        address: progress.address.or(match hop.addresses.as_slice() {
            [only] => Some(*only),
            _ => None,
        }),
        http_version: progress.received.as_ref().map(|received| received.version),
        tls_version: hop.tls_version,
        certificate: hop.chain.as_ref().and_then(|chain| chain.leaf.clone()),
        body_bytes: progress.body_bytes,
        redirects: progress.redirects,
        failure: ran.err(),
        evidence: None,
        verdicts: Vec::new(),
    };
    if outcome.failure.is_none()
        && let Some(received) = &progress.received
    {
        let body: Cow<'_, [u8]> = match received.body.as_slice() {
            [] => Cow::Borrowed(&[]),
            [only] => Cow::Borrowed(only),
            chunks => Cow::Owned(chunks.concat()),
        };
        let answer = Answer {
            status: received.status.as_u16(),
            headers: &received.headers,
            body: &body,
            cut_at: progress.cut_at,
            certificate: outcome.certificate.as_deref(),
            now: probes.clock.now(),
            latency,
        };
        if verbose {
            outcome.verdicts = verdicts(&service.expect, &answer);
        }
        outcome.failure = first_failure(&service.expect, &answer);
    }
    if let Some(failure) = &mut outcome.failure {
        let secrets = Secrets::of(service, progress.token.as_deref());
        failure.message = secrets.hide(&failure.message);
        for verdict in outcome.verdicts.iter_mut() {
            verdict.what = secrets.hide(&verdict.what);
            if let Some(failure) = &mut verdict.failure {
                failure.message = secrets.hide(&failure.message);
            }
        }
        outcome.evidence = Some(Box::new(redact::evidence(progress.received.as_ref(), &hop, &secrets)));
        if failure.reason == Reason::Status
            && outcome.status_code == Some(401)
            && let Some(credentials) = credentials(service)
        {
            probes.tokens.forget(&credentials);
        }
    }
    outcome
}

async fn run(
    probes: &Probes,
    service: &Service,
    order: &CheckOrder,
    number: u8,
    recorder: &Arc<Recorder>,
    progress: &mut Progress,
) -> Result<(), Failure> {
    let first = address_of(service, order)?;
    let client = probes.clients.get(service, &first)?;
    if let Some(proxy) = &service.proxy {
        refuse_literal(probes, proxy, IpFamily::Any)?;
    }
    if let Some(credentials) = credentials(service) {
        progress.token = Some(match probes.tokens.known(&credentials) {
            Some(token) => token,
            None => {
                refuse_literal(probes, &credentials.token_url, IpFamily::Any)?;
                progress.fetching_token = true;
                let token = probes.tokens.fetch(&credentials, &client, recorder).await?;
                progress.fetching_token = false;
                token
            }
        });
    }
    let mut hop = Next { url: Cow::Borrowed(&*first), method: service.method.clone(), with_body: true, foreign: false };
    loop {
        let own = matches!(service.target, Target::Hub { .. }) && !hop.foreign;
        if !own {
            refuse_literal(probes, &hop.url, service.ip_family)?;
        }
        let alias = alias(service, &hop)?;
        let request = request(probes, service, order, number, progress.token.as_deref(), &hop, alias.as_deref())?;
        let family = if service.proxy.is_some() { IpFamily::Any } else { service.ip_family };
        recorder.begin_hop(HopRules { family, unblocked: own, alias });
        // What the hop before brought says nothing of this one.
        (progress.received, progress.address) = (None, None);
        let mut response = client.execute(request).await.map_err(|err| blame(&err, recorder, service, &hop, progress.redirects))?;
        recorder.mark(|hop, now| hop.headers = Some(now));
        progress.address = response.remote_addr().map(|address| address.ip().to_canonical());
        let received = progress.received.insert(Received {
            version: http_version(response.version()),
            status: response.status(),
            headers: std::mem::take(response.headers_mut()),
            body: Vec::new(),
        });
        if service.redirects > 0
            && let Some(next) = redirect(received, &hop, &first)?
        {
            if progress.redirects >= service.redirects {
                let message = format!("more than {} redirects, the last to {}", service.redirects, place(&next.url));
                return Err(Failure { reason: Reason::Redirect, phase: Phase::FirstByte, message });
            }
            progress.redirects += 1;
            hop = next;
            continue;
        }
        let kept = if service.expect.needs_body() { service.max_body_bytes } else { KEPT_BYTES };
        let mut read: u64 = 0;
        while let Some(chunk) = response.chunk().await.map_err(|err| classify::failure(&err, &recorder.hop()))? {
            let length = chunk.len() as u64;
            let fits = length.min(service.max_body_bytes - read);
            let room = kept.saturating_sub(read).min(fits);
            if room > 0 {
                received.body.push(chunk.slice(..room as usize));
            }
            read += fits;
            progress.body_bytes = read;
            if fits < length {
                progress.cut_at = Some(service.max_body_bytes);
                break;
            }
        }
        recorder.mark(|hop, now| hop.done = Some(now));
        return Ok(());
    }
}

/// Why a hop brought no answer; where it was not the first, with the place it led to.
fn blame(err: &reqwest::Error, recorder: &Recorder, service: &Service, hop: &Next<'_>, redirects: u8) -> Failure {
    let mut marks = recorder.hop();
    if marks.addresses.is_empty() && service.proxy.is_none() {
        marks.addresses.extend(literal(&hop.url));
    }
    let failure = classify::failure(err, &marks);
    match redirects {
        0 => failure,
        _ => Failure { message: format!("redirected to {}: {}", place(&hop.url), failure.message), ..failure },
    }
}

fn http_version(version: Version) -> HttpVersion {
    match version {
        Version::HTTP_2 | Version::HTTP_3 => HttpVersion::Http2,
        Version::HTTP_11 => HttpVersion::Http11,
        _ => HttpVersion::Http10,
    }
}
