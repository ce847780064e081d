//! What is asked for at each hop: where, how, with which headers and credentials; and where an answer leads on.

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;

use base64::Engine;
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, COOKIE, HOST, LOCATION, USER_AGENT};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use rustls::pki_types::ServerName;
use url::{Host, Url};

use crate::model::check::{Failure, Phase, Reason};
use crate::model::service::{Auth, IpFamily, Service, Target};
use crate::probe::oauth::Credentials;
use crate::probe::recorder::Alias;
use crate::probe::redact::{Received, sounds_secret};
use crate::probe::{CheckOrder, Probes};

const CHECK_HEADER: HeaderName = HeaderName::from_static("x-probemesh-check");

/// The hop to come.
pub struct Next<'a> {
    pub url: Cow<'a, Url>,
    pub method: Method,
    pub with_body: bool,
    /// It leads away from where the service is: what is secret stays behind.
    pub foreign: bool,
}

/// Where the first hop goes.
pub fn address_of<'a>(service: &'a Service, order: &CheckOrder) -> Result<Cow<'a, Url>, Failure> {
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

/// What a token is asked for with, where the service takes one.
pub fn credentials(service: &Service) -> Option<Credentials> {
    match service.auth.clone()? {
        Auth::ClientCredentials { token_url, client_id, client_secret, scope } => {
            Some(Credentials { token_url, client_id, client_secret, scope })
        }
        Auth::Basic { .. } | Auth::Bearer { .. } => None,
    }
}

/// Addresses written out are never resolved, so the resolver's rules are kept here for them.
pub fn refuse_literal(probes: &Probes, url: &Url, family: IpFamily) -> Result<(), Failure> {
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
pub fn literal(url: &Url) -> Option<IpAddr> {
    match url.host()? {
        Host::Ipv4(address) => Some(IpAddr::V4(address)),
        Host::Ipv6(address) => Some(IpAddr::V6(address)),
        Host::Domain(_) => None,
    }
}

/// How a server is asked for by `tls.server_name`. The client takes the name it asks for from the address alone, so the address
/// is given that name and the resolver leads it to the true host. A proxy would be led astray by that: there, only the
/// certificate is held against the name, as it is for a name that is an IP address and so cannot be asked for.
pub fn alias(service: &Service, hop: &Next<'_>) -> Result<Option<Arc<Alias>>, Failure> {
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

/// The request of one hop.
pub fn request(
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
pub fn redirect<'a>(received: &Received, hop: &Next<'_>, first: &Url) -> Result<Option<Next<'a>>, Failure> {
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

/// An address without what may be secret in it.
pub fn place(url: &Url) -> String {
    format!("{}{}", url.origin().ascii_serialization(), url.path())
}
