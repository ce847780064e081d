//! From the document to the service that runs: defaults, ranges and what belongs together.
//!
//! **Invariant**: every mistake is told, not the first alone. So each check answers with some value after a mistake, and the
//! service made of them is given out only if there was none.

use std::collections::BTreeMap;
use std::time::Duration;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use url::Url;

use crate::config::mistake::Mistake;
use crate::config::service::expect::check_expectations;
use crate::config::service::{AuthDocument, QuorumDocument, ServiceDocument, TlsDocument, parse_cron};
use crate::model::id::ServiceId;
use crate::model::service::{Auth, Backoff, HttpChoice, IpFamily, Kind, Quorum, Schedule, Service, Target, TlsOptions};
use crate::model::time::Timestamp;

const LONGEST_GROUP: usize = 100;
const LONGEST_TAG: usize = 100;

impl ServiceDocument {
    /// The same for what someone writes now, who can still mend it. What is kept from before does without: a service must not stop
    /// being checked because the rules have become stricter.
    pub fn check_written(&self, id: ServiceId, default_schedule: &Schedule) -> Result<Service, Vec<Mistake>> {
        let mut wrong = Vec::new();
        if let Some(group) = &self.group {
            check_label("group", group, LONGEST_GROUP, &mut wrong);
        }
        for (index, tag) in self.tags.iter().enumerate() {
            check_label(&format!("tags[{index}]"), tag, LONGEST_TAG, &mut wrong);
        }
        if let Some(tls) = &self.tls {
            check_pems(tls, &mut wrong);
        }
        match self.check(id, default_schedule) {
            Ok(service) if wrong.is_empty() => Ok(service),
            Ok(_) => Err(wrong),
            Err(mut mistakes) => {
                mistakes.append(&mut wrong);
                Err(mistakes)
            }
        }
    }

    /// The service that runs, or all that is wrong. `default_schedule` serves those that name neither interval nor cron.
    pub fn check(&self, id: ServiceId, default_schedule: &Schedule) -> Result<Service, Vec<Mistake>> {
        let mut wrong = Vec::new();
        let name = required(&self.name, "name", &mut wrong);
        if name.chars().count() > 200 {
            wrong.push(Mistake::new("name", "must be at most 200 characters"));
        }
        if name.chars().any(char::is_control) {
            wrong.push(Mistake::new("name", "must not hold control characters"));
        }
        let kind = check_kind(self.kind.as_deref(), &mut wrong);
        let base = required(&self.base_url, "base_url", &mut wrong);
        let target = check_target(kind, &base, self.health_path.as_deref().unwrap_or(""), &mut wrong);
        self.check_fields(kind, &mut wrong);
        let method = check_method(self.method.as_deref(), &mut wrong);
        let timeout = seconds("timeout_s", self.timeout_s.unwrap_or(10.0), 0.001, 300.0, &mut wrong);
        let schedule = self.check_schedule(default_schedule, &mut wrong);
        let backoff = self.backoff.clone().unwrap_or_default();
        let initial = millis("backoff.initial_ms", backoff.initial_ms.unwrap_or(250.0), 0.0, 60_000.0, &mut wrong);
        let max = millis("backoff.max_ms", backoff.max_ms.unwrap_or(5_000.0), 0.0, 300_000.0, &mut wrong);
        let mut expect = check_expectations(&self.expect.clone().unwrap_or_default(), &mut wrong);
        if !kind.is_http() {
            expect.status.clear();
        }
        let regions = self.check_regions(&mut wrong);
        let service = Service {
            id,
            name: name.as_str().into(),
            enabled: self.enabled.unwrap_or(true),
            kind,
            target,
            method,
            headers: check_headers(&self.headers, &mut wrong),
            body: self.body.clone(),
            auth: check_auth(self.auth.as_ref(), &mut wrong),
            http_version: choose(
                "http_version",
                self.http_version.as_deref(),
                "any",
                &[("any", HttpChoice::Any), ("1", HttpChoice::Http1), ("2", HttpChoice::Http2)],
                &mut wrong,
            ),
            timeout,
            schedule,
            retries: whole("retries", self.retries.unwrap_or(1), 0, 10, &mut wrong) as u8,
            backoff: Backoff { initial, max },
            expect,
            tls: check_tls(&self.tls.clone().unwrap_or_default(), &mut wrong),
            redirects: whole("redirects", self.redirects.unwrap_or(10), 0, 20, &mut wrong) as u8,
            ip_family: choose(
                "ip_family",
                self.ip_family.as_deref(),
                "any",
                &[("any", IpFamily::Any), ("4", IpFamily::V4), ("6", IpFamily::V6), ("ipv4", IpFamily::V4), ("ipv6", IpFamily::V6)],
                &mut wrong,
            ),
            proxy: check_proxy(self.proxy.as_deref(), &mut wrong),
            max_body_bytes: whole("max_body_bytes", self.max_body_bytes.unwrap_or(1 << 20), 0, 64 << 20, &mut wrong),
            reuse_connection: self.reuse_connection.unwrap_or(false),
            regions,
            quorum: check_quorum(self.quorum.as_ref(), &mut wrong),
            failure_threshold: whole("failure_threshold", self.failure_threshold.unwrap_or(1), 1, 100, &mut wrong) as u32,
            success_threshold: whole("success_threshold", self.success_threshold.unwrap_or(1), 1, 100, &mut wrong) as u32,
            degraded_after: self.degraded_after_ms.map(|ms| millis("degraded_after_ms", ms, 0.001, 300_000.0, &mut wrong)),
            incident_on_degraded: self.incident_on_degraded.unwrap_or(false),
            tags: self.tags.clone(),
            group: self.group.clone(),
            depends_on: self.depends_on.clone(),
            public: self.public.unwrap_or(false),
        };
        if wrong.is_empty() { Ok(service) } else { Err(wrong) }
    }

    fn check_schedule(&self, default: &Schedule, wrong: &mut Vec<Mistake>) -> Schedule {
        let spread = self.spread_s.map(|s| seconds("spread_s", s, 0.0, 3600.0, wrong));
        match (self.interval_s, &self.cron) {
            (Some(_), Some(_)) => {
                wrong.push(Mistake::new("cron", "give either interval_s or cron, not both"));
                default.clone()
            }
            (Some(interval), None) => Schedule::Interval(seconds("interval_s", interval, 0.1, 86_400.0, wrong)),
            (None, Some(cron)) => match parse_cron(cron, self.timezone.as_deref(), spread) {
                // Whether it ever comes does not depend on the day it is asked.
                Ok(schedule) if schedule.ever_due(Timestamp(0)) => schedule,
                Ok(_) => {
                    wrong.push(Mistake::new("cron", format!("{cron:?} names a time that never comes")));
                    default.clone()
                }
                Err(mistakes) => {
                    wrong.extend(mistakes);
                    default.clone()
                }
            },
            (None, None) => match (default.clone(), spread) {
                (Schedule::Cron { expression, pattern, zone, .. }, Some(spread)) => {
                    Schedule::Cron { expression, pattern, zone, spread: Some(spread) }
                }
                (schedule, _) => schedule,
            },
        }
    }

    /// Refuses what a kind without HTTP would pass over in silence.
    fn check_fields(&self, kind: Kind, wrong: &mut Vec<Mistake>) {
        if kind.is_http() {
            return;
        }
        let expect = self.expect.clone().unwrap_or_default();
        let given = [
            ("health_path", self.health_path.as_ref().is_some_and(|path| !path.is_empty())),
            ("method", self.method.is_some()),
            ("headers", !self.headers.is_empty()),
            ("body", self.body.is_some()),
            ("redirects", self.redirects.is_some()),
            ("http_version", self.http_version.is_some()),
            ("proxy", self.proxy.is_some()),
            ("max_body_bytes", self.max_body_bytes.is_some()),
            ("reuse_connection", self.reuse_connection.is_some()),
            ("expect.status", expect.status.is_some()),
            ("expect.body_contains", expect.body_contains.is_some()),
            ("expect.body_not_contains", expect.body_not_contains.is_some()),
            ("expect.body_regex", expect.body_regex.is_some()),
            ("expect.json", !expect.json.is_empty()),
            ("expect.headers", !expect.headers.is_empty()),
            ("auth", !matches!((&self.auth, kind), (None, _) | (Some(AuthDocument::Basic { .. }), Kind::Redis | Kind::MongoDb))),
        ];
        for (field, _) in given.into_iter().filter(|(_, given)| *given) {
            let message = match (field, kind) {
                ("auth", Kind::Redis | Kind::MongoDb) => format!("of kind {} must be basic: a user name and a password", kind.name()),
                _ => format!("means nothing to kind {}", kind.name()),
            };
            wrong.push(Mistake::new(field, message));
        }
    }

    fn check_regions(&self, wrong: &mut Vec<Mistake>) -> Option<Vec<String>> {
        let own = self.base_url.as_deref() == Some("self");
        match &self.regions {
            None if own => Some(vec!["local".to_owned()]),
            Some(regions) if own && regions != &["local"] => {
                wrong.push(Mistake::new("regions", "a service whose base_url is \"self\" is checked from region \"local\" alone"));
                None
            }
            Some(regions) if regions.is_empty() => {
                wrong.push(Mistake::new("regions", "name at least one region, or leave the field out for all"));
                None
            }
            other => other.clone(),
        }
    }
}

fn required(field: &Option<String>, path: &str, wrong: &mut Vec<Mistake>) -> String {
    let text = field.as_deref().unwrap_or("").trim().to_owned();
    if text.is_empty() {
        wrong.push(Mistake::new(path, "is required"));
    }
    text
}

fn check_kind(kind: Option<&str>, wrong: &mut Vec<Mistake>) -> Kind {
    match kind {
        None | Some("http") => Kind::Http,
        Some("tcp") => Kind::Tcp,
        Some("redis") => Kind::Redis,
        Some("mongodb") => Kind::MongoDb,
        Some("panic") if cfg!(debug_assertions) => Kind::Panic,
        Some(other) => {
            wrong.push(Mistake::new("kind", format!("{other:?} is not a kind of check; known: http, tcp, redis, mongodb")));
            Kind::Http
        }
    }
}

fn check_target(kind: Kind, base: &str, path: &str, wrong: &mut Vec<Mistake>) -> Target {
    if base == "self" && kind.is_http() {
        return Target::Hub { path: format!("/{}", path.trim_start_matches('/')) };
    }
    let nowhere = Target::Hub { path: String::new() };
    if base.is_empty() {
        return nowhere;
    }
    let mut url = match Url::parse(base) {
        Ok(url) => url,
        Err(err) => {
            wrong.push(Mistake::new("base_url", no_url(kind, base, err)));
            return nowhere;
        }
    };
    let schemes = schemes(kind);
    if !schemes.contains(&url.scheme()) {
        let message = match kind.is_http() {
            // `shop.example:8080` is read as if its host were the scheme.
            _ if !base.contains("://") => needs_scheme(kind, base),
            true => format!("{:?} is not a scheme that can be checked; use http or https", url.scheme()),
            false => format!("{:?} is not a scheme of kind {}; use {}", url.scheme(), kind.name(), schemes.join(" or ")),
        };
        wrong.push(Mistake::new("base_url", message));
    } else if !kind.is_http() {
        check_place(kind, &url, wrong);
    }
    if !url.username().is_empty() || url.password().is_some() {
        wrong.push(Mistake::new("base_url", "must not hold a user name or password; use auth"));
    }
    if !path.is_empty() && kind.is_http() {
        // Joined as text, not as a relative reference: `https://host/v1` and `/health` mean `https://host/v1/health`.
        let (path, query) = path.split_once('?').map_or((path, None), |(path, query)| (path, Some(query)));
        let joined = format!("{}/{}", url.path().trim_end_matches('/'), path.trim_start_matches('/'));
        url.set_path(&joined);
        if query.is_some() {
            url.set_query(query);
        }
    }
    url.set_fragment(None);
    Target::Url(url)
}

fn schemes(kind: Kind) -> &'static [&'static str] {
    match kind {
        Kind::Http | Kind::Panic => &["https", "http"],
        Kind::Tcp => &["tcp"],
        Kind::Redis => &["redis", "rediss"],
        Kind::MongoDb => &["mongodb"],
    }
}

/// People write addresses as browsers take them. A parser calls those relative, which says nothing to them.
fn no_url(kind: Kind, base: &str, err: url::ParseError) -> String {
    if err != url::ParseError::RelativeUrlWithoutBase {
        return format!("{base:?} is not a URL: {err}; it looks like {}", example(kind));
    }
    needs_scheme(kind, base)
}

fn needs_scheme(kind: Kind, base: &str) -> String {
    let fronts: Vec<String> = schemes(kind).iter().map(|scheme| format!("{scheme}://")).collect();
    format!("{base:?} needs {} in front, as in {}", fronts.join(" or "), example(kind))
}

fn example(kind: Kind) -> &'static str {
    match kind {
        Kind::Http | Kind::Panic => "https://api.example.com",
        Kind::Tcp => "tcp://db.example.com:5432",
        Kind::Redis => "redis://cache.example.com",
        Kind::MongoDb => "mongodb://db.example.com",
    }
}

/// What a URL of a kind without HTTP must say, and what it may not.
fn check_place(kind: Kind, url: &Url, wrong: &mut Vec<Mistake>) {
    if url.host_str().is_none_or(str::is_empty) {
        wrong.push(Mistake::new("base_url", "names no host"));
    }
    if kind == Kind::Tcp && url.port().is_none() {
        wrong.push(Mistake::new("base_url", "names no port; it looks like tcp://db.example.com:5432"));
    }
    let path = url.path().trim_matches('/');
    if !path.is_empty() && (kind != Kind::Redis || path.parse::<u32>().is_err()) {
        let what = if kind == Kind::Redis { "; the databases of Redis are numbers" } else { "" };
        wrong.push(Mistake::new("base_url", format!("has {path:?} behind the host, which means nothing to kind {}{what}", kind.name())));
    }
    let known =
        |name: &str, value: &str| kind == Kind::MongoDb && (name == "authSource" || (name == "tls" && matches!(value, "true" | "false")));
    if let Some((name, _)) = url.query_pairs().find(|(name, value)| !known(name, value)) {
        wrong.push(Mistake::new("base_url", format!("has the parameter {name:?}, which means nothing to kind {}", kind.name())));
    }
}

fn check_method(method: Option<&str>, wrong: &mut Vec<Mistake>) -> http::Method {
    let known = [
        http::Method::GET,
        http::Method::HEAD,
        http::Method::POST,
        http::Method::PUT,
        http::Method::PATCH,
        http::Method::DELETE,
        http::Method::OPTIONS,
    ];
    let method = method.unwrap_or("GET");
    known.into_iter().find(|known| known.as_str().eq_ignore_ascii_case(method)).unwrap_or_else(|| {
        wrong.push(Mistake::new("method", format!("{method:?} is not one of GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS")));
        http::Method::GET
    })
}

fn check_headers(headers: &BTreeMap<String, String>, wrong: &mut Vec<Mistake>) -> Vec<(http::HeaderName, http::HeaderValue)> {
    let mut checked = Vec::with_capacity(headers.len());
    for (name, value) in headers {
        match (http::HeaderName::try_from(name.as_str()), http::HeaderValue::try_from(value.as_str())) {
            (Ok(name), Ok(value)) => checked.push((name, value)),
            (Err(_), _) => wrong.push(Mistake::new(format!("headers.{name}"), "is not a header name")),
            (_, Err(_)) => wrong.push(Mistake::new(format!("headers.{name}"), "holds characters a header value cannot carry")),
        }
    }
    checked
}

fn check_auth(auth: Option<&AuthDocument>, wrong: &mut Vec<Mistake>) -> Option<Auth> {
    match auth?.clone() {
        AuthDocument::Basic { username, password } => Some(Auth::Basic { username, password }),
        AuthDocument::Bearer { token } => {
            if http::HeaderValue::try_from(&token).is_err() {
                wrong.push(Mistake::new("auth.token", "holds characters a header value cannot carry"));
            }
            Some(Auth::Bearer { token })
        }
        AuthDocument::Oauth2 { token_url, client_id, client_secret, scope } => match Url::parse(&token_url) {
            Ok(token_url) if matches!(token_url.scheme(), "http" | "https") => {
                Some(Auth::ClientCredentials { token_url, client_id, client_secret, scope })
            }
            _ => {
                wrong.push(Mistake::new("auth.token_url", format!("{token_url:?} is not an http or https URL")));
                None
            }
        },
    }
}

fn check_tls(tls: &TlsDocument, wrong: &mut Vec<Mistake>) -> TlsOptions {
    if tls.client_cert.is_some() != tls.client_key.is_some() {
        wrong.push(Mistake::new("tls", "client_cert and client_key belong together"));
    }
    if let Some(name) = &tls.server_name
        && rustls::pki_types::ServerName::try_from(name.as_str()).is_err()
    {
        wrong.push(Mistake::new("tls.server_name", format!("{name:?} is not a host name")));
    }
    TlsOptions {
        insecure_skip_verify: tls.insecure_skip_verify.unwrap_or(false),
        ca: tls.ca.clone(),
        client_cert: tls.client_cert.clone(),
        client_key: tls.client_key.clone(),
        server_name: tls.server_name.clone(),
    }
}

/// PEM text must hold what it is for. A file is on the node and is read there; here it can only be said that a value is no path.
fn check_pems(tls: &TlsDocument, wrong: &mut Vec<Mistake>) {
    for (path, value) in [("tls.ca", &tls.ca), ("tls.client_cert", &tls.client_cert)] {
        if let Some(given) = value
            && let Some(message) =
                if is_pem(given) { certificate_mistake(given, path == "tls.ca") } else { path_mistake(given, "CERTIFICATE") }
        {
            wrong.push(Mistake::new(path, message));
        }
    }
    // Nothing of a key is repeated, not even where it is none.
    if let Some(key) = &tls.client_key {
        match is_pem(key) {
            true if PrivateKeyDer::from_pem_slice(key.as_bytes()).is_ok() => {}
            true => wrong.push(Mistake::new("tls.client_key", "holds no private key in PEM form")),
            false => wrong.extend(path_mistake(key, "PRIVATE KEY").map(|message| Mistake::new("tls.client_key", message))),
        }
    }
}

fn is_pem(given: &str) -> bool {
    given.contains("-----BEGIN")
}

/// `trusted`: it is to be an authority.
fn certificate_mistake(given: &str, trusted: bool) -> Option<String> {
    let found: Result<Vec<CertificateDer<'static>>, _> = CertificateDer::pem_slice_iter(given.as_bytes()).collect();
    let Ok(found) = found else { return Some("is not well-formed PEM".to_owned()) };
    if found.is_empty() {
        return Some("holds no certificate".to_owned());
    }
    if !trusted {
        return None;
    }
    let mut roots = rustls::RootCertStore::empty();
    let refused = found.into_iter().find_map(|certificate| roots.add(certificate).err());
    refused.map(|err| format!("holds a certificate that cannot be used: {err}"))
}

/// A path has a folder or an ending, on one line.
fn path_mistake(given: &str, what: &str) -> Option<String> {
    let ending = given.rsplit_once('.').map_or("", |(_, ending)| ending);
    let ends = (1..=10).contains(&ending.len()) && ending.chars().all(|letter| letter.is_ascii_alphanumeric());
    let fits = !given.chars().any(char::is_control) && (given.contains(['/', '\\']) || ends);
    (!fits).then(|| {
        format!("must be PEM text, beginning with -----BEGIN {what}-----, or the path of such a file on the node: /etc/ssl/own.pem")
    })
}

fn check_label(path: &str, text: &str, most: usize, wrong: &mut Vec<Mistake>) {
    if text.chars().count() > most {
        wrong.push(Mistake::new(path, format!("must be at most {most} characters")));
    }
    if text.chars().any(char::is_control) {
        wrong.push(Mistake::new(path, "must not hold control characters"));
    }
}

fn check_proxy(proxy: Option<&str>, wrong: &mut Vec<Mistake>) -> Option<Url> {
    let text = proxy?;
    match Url::parse(text) {
        Ok(url) if matches!(url.scheme(), "http" | "https" | "socks5" | "socks5h") => Some(url),
        _ => {
            wrong.push(Mistake::new("proxy", "must be a URL with scheme http, https, socks5 or socks5h"));
            None
        }
    }
}

fn check_quorum(quorum: Option<&QuorumDocument>, wrong: &mut Vec<Mistake>) -> Quorum {
    match quorum {
        None => Quorum::Majority,
        Some(QuorumDocument::Count(count)) => Quorum::Count(whole("quorum", *count, 1, 1000, wrong) as u32),
        Some(QuorumDocument::Name(name)) => {
            choose("quorum", Some(name), "majority", &[("any", Quorum::Any), ("majority", Quorum::Majority), ("all", Quorum::All)], wrong)
        }
    }
}
fn choose<T: Copy>(path: &str, given: Option<&str>, default: &str, known: &[(&str, T)], wrong: &mut Vec<Mistake>) -> T {
    let given = given.unwrap_or(default);
    match known.iter().find(|(name, _)| *name == given) {
        Some((_, value)) => *value,
        None => {
            let names: Vec<&str> = known.iter().map(|(name, _)| *name).collect();
            wrong.push(Mistake::new(path, format!("{given:?} is not one of {}", names.join(", "))));
            known[0].1
        }
    }
}

fn whole(path: &str, given: u64, least: u64, most: u64, wrong: &mut Vec<Mistake>) -> u64 {
    if !(least..=most).contains(&given) {
        wrong.push(Mistake::new(path, format!("must be from {least} to {most}, not {given}")));
    }
    given.clamp(least, most)
}

fn seconds(path: &str, given: f64, least: f64, most: f64, wrong: &mut Vec<Mistake>) -> Duration {
    if !(given >= least && given <= most) {
        wrong.push(Mistake::new(path, format!("must be from {least} to {most} seconds, not {given}")));
        return Duration::from_secs_f64(least);
    }
    Duration::from_secs_f64(given)
}

pub(super) fn millis(path: &str, given: f64, least: f64, most: f64, wrong: &mut Vec<Mistake>) -> Duration {
    if !(given >= least && given <= most) {
        wrong.push(Mistake::new(path, format!("must be from {least} to {most} milliseconds, not {given}")));
        return Duration::from_secs_f64(least / 1e3);
    }
    Duration::from_secs_f64(given / 1e3)
}

#[cfg(test)]
mod tests;
