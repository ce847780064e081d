//! One attempt of an HTTP check: its hops, from the name to the last byte, and what the expectations say.

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, COOKIE, HOST, LOCATION, USER_AGENT};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Version};
use rustls::pki_types::ServerName;
use url::{Host, Url};

use crate::model::check::{Certificate, Evidence, Failure, HttpVersion, Phase, Phases, Reason, TlsVersion};
use crate::model::service::{Auth, IpFamily, Service, Target};
use crate::probe::expect::{Answer, Verdict, first_failure, verdicts};
use crate::probe::oauth::Credentials;
use crate::probe::recorder::{Alias, HopRules, RECORDER, Recorder};
use crate::probe::redact::{self, Received, Secrets, sounds_secret};
use crate::probe::{CheckOrder, Probes, classify};

const CHECK_HEADER: HeaderName = HeaderName::from_static("x-probemesh-check");
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

/// The hop to come.
struct Next<'a> {
    url: Cow<'a, Url>,
    method: Method,
    with_body: bool,
    /// It leads away from where the service is: what is secret stays behind.
    foreign: bool,
}

fn address_of<'a>(service: &'a Service, order: &CheckOrder) -> Result<Cow<'a, Url>, Failure> {
    let internal = |message: &str| Failure { reason: Reason::Internal, phase: Phase::Dns, message: message.to_owned() };
    match &service.target {
        Target::Url(url) => Ok(Cow::Borrowed(url)),
        Target::Hub { path } => {
            let base = order.hub_url.as_ref().ok_or_else(|| internal("the hub's own address is not known yet"))?;
            let url = base.join(path).map_err(|_| internal("the path does not fit the hub's own address"))?;
            Ok(Cow::Owned(url))
        }
    }
}

fn credentials(service: &Service) -> Option<Credentials> {
    match service.auth.clone()? {
        Auth::ClientCredentials { token_url, client_id, client_secret, scope } => {
            Some(Credentials { token_url, client_id, client_secret, scope })
        }
        Auth::Basic { .. } | Auth::Bearer { .. } => None,
    }
}

/// Addresses written out are never resolved, so the resolver's rules are kept here for them.
fn refuse_literal(probes: &Probes, url: &Url, family: IpFamily) -> Result<(), Failure> {
    let Some(address) = literal(url) else { return Ok(()) };
    let refused = |reason, phase, message| Err(Failure { reason, phase, message });
    if probes.clients.blocked().holds(address) {
        return refused(Reason::Blocked, Phase::Connect, format!("{address} is in a network that checks may not reach"));
    }
    if !family.allows(address) {
        let (is, wanted) = if address.is_ipv4() { ("IPv4", "IPv6") } else { ("IPv6", "IPv4") };
        let message = format!("{address} is an {is} address, but this service is checked over {wanted} alone");
        return refused(Reason::Dns, Phase::Dns, message);
    }
    Ok(())
}

/// The address a URL has for its host, where that is no name.
fn literal(url: &Url) -> Option<IpAddr> {
    match url.host()? {
        Host::Ipv4(address) => Some(IpAddr::V4(address)),
        Host::Ipv6(address) => Some(IpAddr::V6(address)),
        Host::Domain(_) => None,
    }
}

/// How a server is asked for by `tls.server_name`. The client takes the name it asks for from the address alone, so the address
/// is given that name and the resolver leads it to the true host. A proxy would be led astray by that: there, only the
/// certificate is held against the name, as it is for a name that is an IP address and so cannot be asked for.
fn alias(service: &Service, hop: &Next<'_>) -> Result<Option<Arc<Alias>>, Failure> {
    let (Some(name), Some(host)) = (&service.tls.server_name, hop.url.host_str()) else { return Ok(None) };
    if hop.foreign || hop.url.scheme() != "https" {
        return Ok(None);
    }
    let message = format!("{name:?} is not a server name");
    let verify = ServerName::try_from(name.clone()).map_err(|_| Failure { reason: Reason::Tls, phase: Phase::Tls, message })?;
    let renamed = matches!(verify, ServerName::DnsName(_)) && service.proxy.is_none();
    let asked = if renamed { name.as_str() } else { host.trim_matches(['[', ']']) };
    Ok(Some(Arc::new(Alias { asked: asked.to_ascii_lowercase(), host: host.to_owned(), verify })))
}

fn request(
    probes: &Probes,
    service: &Service,
    order: &CheckOrder,
    number: u8,
    token: Option<&str>,
    hop: &Next<'_>,
    alias: Option<&Alias>,
) -> Result<reqwest::Request, Failure> {
    let mut request = reqwest::Request::new(hop.method.clone(), hop.url.clone().into_owned());
    let headers = request.headers_mut();
    headers.insert(USER_AGENT, probes.user_agent.clone());
    for (name, value) in &service.headers {
        let bound = hop.foreign && (sounds_secret(name.as_str()) || *name == HOST || *name == COOKIE);
        let of_body = !hop.with_body && (*name == CONTENT_TYPE || *name == CONTENT_LENGTH);
        if bound || of_body {
            continue;
        }
        match name {
            &USER_AGENT => headers.insert(name, value.clone()).is_some(),
            name => headers.append(name, value.clone()),
        };
    }
    if probes.check_header
        && let Ok(value) = HeaderValue::try_from(format!("{}/{number}", order.id))
    {
        headers.insert(CHECK_HEADER, value);
    }
    if !hop.foreign {
        authorize(headers, service, token)?;
    }
    if let Some(alias) = alias.filter(|alias| alias.asked != alias.host) {
        if !headers.contains_key(HOST) {
            let port = hop.url.port().map_or_else(String::new, |port| format!(":{port}"));
            headers.extend(HeaderValue::try_from(format!("{}{port}", alias.host)).ok().map(|value| (HOST, value)));
        }
        request.url_mut().set_host(Some(&alias.asked)).map_err(|err| Failure {
            reason: Reason::Tls,
            phase: Phase::Tls,
            message: format!("{:?} is not a server name: {err}", alias.asked),
        })?;
    }
    if hop.with_body
        && let Some(body) = &service.body
    {
        *request.body_mut() = Some(Bytes::copy_from_slice(body.as_bytes()).into());
    }
    Ok(request)
}

fn authorize(headers: &mut HeaderMap, service: &Service, token: Option<&str>) -> Result<(), Failure> {
    let value = match &service.auth {
        None => return Ok(()),
        Some(Auth::Basic { username, password }) => {
            format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(format!("{username}:{password}")))
        }
        Some(Auth::Bearer { token }) => format!("Bearer {token}"),
        Some(Auth::ClientCredentials { .. }) => format!("Bearer {}", token.unwrap_or_default()),
    };
    let mut value = HeaderValue::try_from(value).map_err(|_| Failure {
        reason: Reason::Internal,
        phase: Phase::Dns,
        message: "the credentials hold characters a header cannot carry".to_owned(),
    })?;
    value.set_sensitive(true);
    headers.insert(AUTHORIZATION, value);
    Ok(())
}

/// Where an answer sends the client, if it does.
fn redirect<'a>(received: &Received, hop: &Next<'_>, first: &Url) -> Result<Option<Next<'a>>, Failure> {
    let follows = matches!(
        received.status,
        StatusCode::MOVED_PERMANENTLY
            | StatusCode::FOUND
            | StatusCode::SEE_OTHER
            | StatusCode::TEMPORARY_REDIRECT
            | StatusCode::PERMANENT_REDIRECT
    );
    let Some(location) = received.headers.get(LOCATION).filter(|_| follows) else { return Ok(None) };
    let refused = |message: String| Failure { reason: Reason::Redirect, phase: Phase::FirstByte, message };
    let url = location
        .to_str()
        .ok()
        .and_then(|location| hop.url.join(location).ok())
        .ok_or_else(|| refused("redirected to something that is not an address".to_owned()))?;
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
        return Err(refused(format!("redirected to {}:, which cannot be followed", url.scheme())));
    }
    let to_get = match received.status {
        StatusCode::SEE_OTHER => hop.method != Method::HEAD,
        StatusCode::MOVED_PERMANENTLY | StatusCode::FOUND => hop.method == Method::POST,
        _ => false,
    };
    Ok(Some(Next {
        method: if to_get { Method::GET } else { hop.method.clone() },
        with_body: hop.with_body && !to_get,
        foreign: hop.foreign || url.origin() != first.origin(),
        url: Cow::Owned(url),
    }))
}

fn place(url: &Url) -> String {
    format!("{}{}", url.origin().ascii_serialization(), url.path())
}

fn http_version(version: Version) -> HttpVersion {
    match version {
        Version::HTTP_2 | Version::HTTP_3 => HttpVersion::Http2,
        Version::HTTP_11 => HttpVersion::Http11,
        _ => HttpVersion::Http10,
    }
}
