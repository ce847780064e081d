//! HTTP clients, made once and shared by all services that want the same of them.
//!
//! A client never follows redirects, retries or asks the system for a proxy: each request it sends is one hop, seen by the
//! recorder. Unless a service wants its connection kept, no client keeps one.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use url::{Host, Url};

use crate::clock::Clock;
use crate::model::check::{Failure, Phase, Reason};
use crate::model::id::ServiceId;
use crate::model::service::{HttpChoice, IpFamily, Service, TlsOptions};
use crate::probe::network::BlockedNetworks;
use crate::probe::recorder;
use crate::probe::resolve::{Lookup, Names};
use crate::probe::tls::TlsGround;

/// Beyond so many, those not used for a while go.
const CLIENTS: usize = 512;
const UNUSED: Duration = Duration::from_secs(600);
/// Files named in the TLS options are read again after so long, since certificates are renewed in place.
const FILES_FRESH: Duration = Duration::from_secs(60);

#[derive(Clone, PartialEq, Eq, Hash)]
struct ClientKey {
    tls: TlsOptions,
    version: HttpChoice,
    proxy: Option<Url>,
    /// Kept connections are shared with nobody, and not beyond a change of what they were made for.
    kept: Option<(ServiceId, IpFamily, Option<Host>)>,
}

struct Entry {
    client: reqwest::Client,
    made: Duration,
    used: Duration,
}

pub struct ClientBook {
    ground: Arc<TlsGround>,
    names: Arc<Names>,
    blocked: Arc<BlockedNetworks>,
    clock: Clock,
    clients: Mutex<HashMap<ClientKey, Entry>>,
}

impl ClientBook {
    pub fn new(ground: Arc<TlsGround>, lookup: Arc<dyn Lookup>, blocked: Arc<BlockedNetworks>, clock: Clock) -> ClientBook {
        let names = Arc::new(Names { lookup, blocked: blocked.clone() });
        ClientBook { ground, names, blocked, clock, clients: Mutex::default() }
    }

    pub fn blocked(&self) -> &BlockedNetworks {
        &self.blocked
    }

    /// The client for a service whose first hop goes to `url`.
    pub fn get(&self, service: &Service, url: &Url) -> Result<reqwest::Client, Failure> {
        let kept = service.reuse_connection.then(|| (service.id, service.ip_family, url.host().map(|host| host.to_owned())));
        let key = ClientKey { tls: service.tls.clone(), version: service.http_version, proxy: service.proxy.clone(), kept };
        let now = self.clock.steady();
        if let Some(entry) = self.clients.lock().expect("no holder panics").get_mut(&key)
            && !(reads_files(&key.tls) && now.saturating_sub(entry.made) > FILES_FRESH)
        {
            entry.used = now;
            return Ok(entry.client.clone());
        }
        let client = self.build(&key)?;
        let mut clients = self.clients.lock().expect("no holder panics");
        if clients.len() >= CLIENTS {
            clients.retain(|_, entry| now.saturating_sub(entry.used) < UNUSED);
        }
        if clients.len() >= CLIENTS
            && let Some(oldest) = clients.iter().min_by_key(|(_, entry)| entry.used).map(|(key, _)| key.clone())
        {
            clients.remove(&oldest);
        }
        clients.insert(key, Entry { client: client.clone(), made: now, used: now });
        Ok(client)
    }

    fn build(&self, key: &ClientKey) -> Result<reqwest::Client, Failure> {
        let failed = |reason, message| Failure { reason, phase: Phase::Tls, message };
        let protocols: &[&[u8]] = match key.version {
            // A name of its own for the server needs the Host header, which HTTP/2 has replaced.
            HttpChoice::Any if key.tls.server_name.is_some() => &[b"http/1.1"],
            HttpChoice::Any => &[b"h2", b"http/1.1"],
            HttpChoice::Http1 => &[b"http/1.1"],
            HttpChoice::Http2 => &[b"h2"],
        };
        // What the check itself was given cannot be used: that says nothing of the service.
        let tls = self.ground.config(&key.tls, protocols).map_err(|message| failed(Reason::Internal, message))?;
        let mut builder = reqwest::Client::builder()
            .no_proxy()
            .retry(reqwest::retry::never())
            .redirect(reqwest::redirect::Policy::none())
            .referer(false)
            .tcp_keepalive(None)
            .tcp_user_timeout(None)
            .tls_backend_preconfigured(tls)
            .dns_resolver(self.names.clone())
            .connector_layer(StampLayer);
        builder = match key.version {
            HttpChoice::Any => builder,
            HttpChoice::Http1 => builder.http1_only(),
            HttpChoice::Http2 => builder.http2_prior_knowledge(),
        };
        if key.kept.is_none() {
            builder = builder.pool_max_idle_per_host(0);
        }
        if let Some(proxy) = &key.proxy {
            // The error would quote the address with its password.
            let proxy = reqwest::Proxy::all(proxy.clone()).map_err(|_| failed(Reason::Internal, "the proxy cannot be used".to_owned()))?;
            builder = builder.proxy(proxy);
        }
        builder.build().map_err(|err| failed(Reason::Internal, format!("the HTTP client cannot be made: {}", err.without_url())))
    }
}

fn reads_files(tls: &TlsOptions) -> bool {
    [&tls.ca, &tls.client_cert, &tls.client_key].into_iter().flatten().any(|given| !given.contains("-----BEGIN"))
}

/// Marks the start and the end of everything a connection takes: name, TCP, proxy and TLS.
#[derive(Clone)]
struct StampLayer;

#[derive(Clone)]
struct Stamp<S>(S);

impl<S> tower_layer::Layer<S> for StampLayer {
    type Service = Stamp<S>;

    fn layer(&self, inner: S) -> Stamp<S> {
        Stamp(inner)
    }
}

// Generic over the request, since the client's own type for it cannot be named.
impl<S, R> tower_service::Service<R> for Stamp<S>
where
    S: tower_service::Service<R>,
    S::Future: Send + 'static,
    S::Response: 'static,
    S::Error: 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, request: R) -> Self::Future {
        let recorder = recorder::current();
        if let Some(recorder) = &recorder {
            recorder.mark(|hop, now| hop.connect_start = Some(now));
        }
        let connecting = self.0.call(request);
        Box::pin(async move {
            let connection = connecting.await;
            if let (Some(recorder), true) = (&recorder, connection.is_ok()) {
                recorder.mark(|hop, now| hop.connected = Some(now));
            }
            connection
        })
    }
}
