//! What every request gets: an id, a line in the log, a place in the metrics and in the figures of its endpoint, and headers that keep browsers careful.
//!
//! **Invariant.** The log names the route, not the address: queries and ids of requests may hold what is nobody's business.

use std::sync::Arc;
use std::time::Duration;

use rocket::fairing::{Fairing, Info, Kind};
use rocket::http::{Header, Status};
use rocket::{Data, Request, Response};

use crate::aggregate::endpoint::{Endpoint, EndpointKind, UNMATCHED};
use crate::api::metrics::Metrics;
use crate::api::state::ApiState;
use crate::clock::Clock;
use crate::store::endpoints::EndpointHours;
use crate::store::secrets::random;

/// Routes whose answer waits for a check of what is watched or depended on, or for whoever takes a message.
const WAITING: [&str; 12] = [
    "/login/oidc?<next>",
    "/login/oidc/callback",
    "/account/oidc",
    "/api/monitor/services/<id>/check",
    "/api/monitor/checks/run",
    "/api/monitor/checks/try",
    "/services/<id>/check?<part>",
    "/digests/run",
    "/api/v1/maintenance/metrics/collect",
    "/system/collect",
    "/api/v1/alerts/channels/<id>/test",
    "/api/v1/alerts/channels/test",
];
/// Routes asked for by machines, again and again: worth a line only when they fail. Open pages ask for their parts.
const OFTEN: [&str; 12] = [
    "/healthz",
    "/readyz",
    "/metrics",
    "/assets/<name>",
    "/overview/head",
    "/overview/rows?<ids>",
    "/services/<id>/now",
    "/regions/now",
    "/services/<id>/checks",
    "/services/<id>/charts",
    "/system/actors/tree",
    "/system/logs/lines",
];

/// What a page of ours may load and do: its own files and addresses, nothing inline, nothing from elsewhere.
const PAGES: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; form-action 'self'; \
                     base-uri 'none'; frame-ancestors 'none'";

/// Attached by `mount`.
pub struct Access {
    clock: Clock,
    metrics: Arc<Metrics>,
    endpoints: Arc<EndpointHours>,
}

struct Begun {
    at: Duration,
    id: String,
}

impl Access {
    pub fn new(state: &ApiState) -> Access {
        Access { clock: state.clock.clone(), metrics: state.metrics.clone(), endpoints: state.endpoints.clone() }
    }

    fn begun<'r>(&self, request: &'r Request<'_>) -> &'r Begun {
        request.local_cache(|| Begun { at: self.clock.steady(), id: request_id(request) })
    }
}

#[rocket::async_trait]
impl Fairing for Access {
    fn info(&self) -> Info {
        Info { name: "access log", kind: Kind::Request | Kind::Response }
    }

    async fn on_request(&self, request: &mut Request<'_>, _: &mut Data<'_>) {
        self.begun(request);
    }

    async fn on_response<'r>(&self, request: &'r Request<'_>, response: &mut Response<'r>) {
        let begun = self.begun(request);
        let took = self.clock.steady().saturating_sub(begun.at);
        let route = request.route().map_or_else(|| UNMATCHED.to_owned(), |route| route.uri.to_string());
        let status = response.status().code;
        self.metrics.request(&route, status, took);
        let method = request.method().as_str();
        self.endpoints.note(Endpoint { method: method.to_owned(), route: route.clone(), kind: kind(&route, response) }, status, took);
        let took_ms = took.as_micros() as f64 / 1e3;
        match status {
            ..400 if OFTEN.contains(&route.as_str()) => tracing::debug!(method, route, status, took_ms, request = begun.id, "api request"),
            500.. => tracing::warn!(method, route, status, took_ms, request = begun.id, "api request"),
            _ => tracing::info!(method, route, status, took_ms, request = begun.id, "api request"),
        }
        response.set_header(Header::new("X-Request-Id", begun.id.clone()));
        response.set_header(Header::new("Referrer-Policy", "same-origin"));
        let policy = match response.content_type().is_some_and(|kind| kind.is_html()) {
            // The viewer of the documentation styles its parts from its own script.
            true if request.uri().path().starts_with("/docs") => {
                "default-src 'self'; img-src 'self' data:; style-src 'self' 'unsafe-inline'; frame-ancestors 'none'"
            }
            true => PAGES,
            false => "default-src 'none'; frame-ancestors 'none'",
        };
        // A page may say its own; and what has not changed keeps the one it came with: a browser takes over what is said here.
        let unchanged = response.status() == Status::NotModified;
        if !unchanged && !response.headers().contains("Content-Security-Policy") {
            response.set_header(Header::new("Content-Security-Policy", policy));
        }
        response.set_header(Header::new("X-Frame-Options", "DENY"));
        response.set_header(Header::new("Cross-Origin-Opener-Policy", "same-origin"));
        response.set_header(Header::new("Permissions-Policy", "camera=(), geolocation=(), microphone=(), payment=(), usb=()"));
        if request.rocket().config().tls_enabled() {
            response.set_header(Header::new("Strict-Transport-Security", "max-age=31536000"));
        }
        if request.uri().path().starts_with("/api/") {
            response.set_header(Header::new("Cache-Control", "no-store"));
        }
    }
}

/// What the latency of an answer means.
fn kind(route: &str, response: &Response<'_>) -> EndpointKind {
    if WAITING.contains(&route) {
        return EndpointKind::Waits;
    }
    match response.content_type() {
        Some(kind) if kind.top() == "text" && kind.sub() == "event-stream" => EndpointKind::Stream,
        Some(kind) if kind.is_html() || kind.is_css() || kind.is_javascript() => EndpointKind::Page,
        Some(kind) if kind.top() == "image" || kind.top() == "font" => EndpointKind::Page,
        _ => EndpointKind::Answer,
    }
}

/// The id the client gave, if it is one that can be logged; else a new one.
fn request_id(request: &Request<'_>) -> String {
    let given = request.headers().get_one("X-Request-Id").filter(|id| {
        (1..=64).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
    });
    given.map_or_else(|| random::<8>().iter().map(|byte| format!("{byte:02x}")).collect(), str::to_owned)
}
