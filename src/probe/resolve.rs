//! Names to addresses: asked of the system's name servers or of those that were named, filtered by address family and by the blocked networks.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use futures_util::future::BoxFuture;
use hickory_resolver::TokioResolver;
use hickory_resolver::config::{LookupIpStrategy, NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::system_conf::read_system_conf;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use crate::clock::Clock;
use crate::model::check::Reason;
use crate::model::service::IpFamily;
use crate::probe::network::BlockedNetworks;
use crate::probe::recorder;

/// The files of the system's resolver are looked at so often at most.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// Whoever knows the addresses of names: the system, or a test. The error is a sentence for a person.
pub trait Lookup: Send + Sync + 'static {
    fn lookup<'a>(&'a self, name: &'a str, family: IpFamily) -> BoxFuture<'a, Result<Vec<IpAddr>, String>>;
}

/// Asks as the system is set up to ask: its hosts file first, then its name servers, or those a person named instead. Where the
/// system's are changed, as networks come and go, it follows within some seconds.
pub struct SystemLookup {
    cache: Duration,
    servers: Vec<SocketAddr>,
    clock: Clock,
    known: Mutex<Known>,
}

struct Known {
    resolvers: Arc<Resolvers>,
    written: Written,
    looked: Duration,
}

struct Resolvers {
    any: TokioResolver,
    v4: TokioResolver,
    v6: TokioResolver,
}

/// When the files the resolver is made from were last written.
type Written = [Option<SystemTime>; 2];

impl SystemLookup {
    /// An answer is used again for `cache` at most, and never longer than it says itself. Without `servers` the system's are asked.
    pub fn new(cache: Duration, servers: &[SocketAddr], clock: Clock) -> Result<SystemLookup, NetError> {
        let written = written();
        let known = Known { resolvers: Arc::new(Resolvers::new(cache, servers)?), written, looked: clock.steady() };
        Ok(SystemLookup { cache, servers: servers.to_owned(), clock, known: Mutex::new(known) })
    }

    fn resolvers(&self) -> Arc<Resolvers> {
        let now = self.clock.steady();
        let mut known = self.known.lock().expect("no holder panics");
        if now.saturating_sub(known.looked) >= LOOK_AGAIN {
            known.looked = now;
            let written = written();
            if written != known.written
                && let Ok(resolvers) = Resolvers::new(self.cache, &self.servers)
            {
                tracing::info!("the resolver's configuration changed, following it");
                (known.resolvers, known.written) = (Arc::new(resolvers), written);
            }
        }
        known.resolvers.clone()
    }
}

fn written() -> Written {
    ["/etc/resolv.conf", "/etc/hosts"].map(|path| std::fs::metadata(path).and_then(|file| file.modified()).ok())
}

impl Resolvers {
    fn new(cache: Duration, servers: &[SocketAddr]) -> Result<Resolvers, NetError> {
        let (config, options) = if servers.is_empty() {
            read_system_conf().unwrap_or_else(|err| {
                tracing::warn!("no usable resolver configuration ({err}), asking a name server on this machine");
                let local = NameServerConfig::udp_and_tcp(IpAddr::V4(Ipv4Addr::LOCALHOST));
                (ResolverConfig::from_name_servers(vec![local]), ResolverOpts::default())
            })
        } else {
            let named = servers.iter().map(|server| name_server(*server)).collect();
            (ResolverConfig::from_name_servers(named), ResolverOpts::default())
        };
        let build = |strategy| {
            let mut builder = TokioResolver::builder_with_config(config.clone(), TokioRuntimeProvider::default());
            let chosen = builder.options_mut();
            *chosen = options.clone();
            chosen.ip_strategy = strategy;
            chosen.use_hosts_file = ResolveHosts::Always;
            chosen.cache_size = if cache.is_zero() { 0 } else { 4096 };
            chosen.positive_max_ttl = Some(cache);
            chosen.negative_max_ttl = Some(cache);
            builder.build()
        };
        Ok(Resolvers {
            any: build(LookupIpStrategy::Ipv4AndIpv6)?,
            v4: build(LookupIpStrategy::Ipv4Only)?,
            v6: build(LookupIpStrategy::Ipv6Only)?,
        })
    }
}

fn name_server(at: SocketAddr) -> NameServerConfig {
    let mut server = NameServerConfig::udp_and_tcp(at.ip());
    server.connections.iter_mut().for_each(|connection| connection.port = at.port());
    server
}

impl Lookup for SystemLookup {
    fn lookup<'a>(&'a self, name: &'a str, family: IpFamily) -> BoxFuture<'a, Result<Vec<IpAddr>, String>> {
        let resolvers = self.resolvers();
        Box::pin(async move {
            let resolver = match family {
                IpFamily::Any => &resolvers.any,
                IpFamily::V4 => &resolvers.v4,
                IpFamily::V6 => &resolvers.v6,
            };
            match resolver.lookup_ip(name).await {
                Ok(found) => Ok(found.iter().collect()),
                Err(err) => Err(sentence(name, family, &err)),
            }
        })
    }
}

fn sentence(name: &str, family: IpFamily, err: &NetError) -> String {
    match err {
        _ if err.is_nx_domain() => format!("there is no host {name}"),
        _ if err.is_no_records_found() => format!("{name} has no {}", wanted(family)),
        NetError::Timeout => format!("no name server answered for {name}"),
        NetError::NoConnections | NetError::Io(_) => format!("no name server could be reached to ask for {name}: {err}"),
        NetError::Dns(DnsError::ResponseCode(code)) => format!("the name server answered {code} for {name}"),
        err => format!("{name} could not be resolved: {err}"),
    }
}

fn wanted(family: IpFamily) -> &'static str {
    match family {
        IpFamily::Any => "address",
        IpFamily::V4 => "IPv4 address",
        IpFamily::V6 => "IPv6 address",
    }
}

/// The resolver the HTTP client is given. What the hop under way wants of it, it reads from the recorder.
pub struct Names {
    pub lookup: Arc<dyn Lookup>,
    pub blocked: Arc<BlockedNetworks>,
}

#[derive(Debug, thiserror::Error)]
#[error("the name was not resolved")]
struct Unresolved;

impl Resolve for Names {
    fn resolve(&self, name: Name) -> Resolving {
        let lookup = self.lookup.clone();
        let blocked = self.blocked.clone();
        let recorder = recorder::current();
        Box::pin(async move {
            let rules = recorder.as_ref().map(|recorder| recorder.hop().rules.clone()).unwrap_or_default();
            let asked = match &rules.alias {
                Some(alias) if alias.asked == name.as_str() => alias.host.as_str(),
                _ => name.as_str(),
            };
            let found = match asked.trim_matches(['[', ']']).parse::<IpAddr>() {
                Ok(literal) => Ok(vec![literal]),
                Err(_) => {
                    if let Some(recorder) = &recorder {
                        recorder.mark(|hop, now| hop.dns_start = Some(now));
                    }
                    let found = lookup.lookup(asked, rules.family).await;
                    if let Some(recorder) = &recorder {
                        recorder.mark(|hop, now| hop.dns_end = Some(now));
                    }
                    found.map_err(|message| (Reason::Dns, message))
                }
            };
            let usable = found.and_then(|found| {
                if let Some(recorder) = &recorder {
                    recorder.hop().addresses.clone_from(&found);
                }
                let usable = choose(asked, &found, rules.family)?;
                if rules.unblocked { Ok(usable) } else { reachable(asked, usable, &blocked) }
            });
            match usable {
                Ok(usable) => Ok(Box::new(usable.into_iter().map(|address| SocketAddr::new(address, 0))) as Addrs),
                Err(refusal) => {
                    if let Some(recorder) = &recorder {
                        recorder.hop().refusal = Some(refusal);
                    }
                    Err(Unresolved.into())
                }
            }
        })
    }
}

fn choose(name: &str, found: &[IpAddr], family: IpFamily) -> Result<Vec<IpAddr>, (Reason, String)> {
    let usable: Vec<IpAddr> = found.iter().copied().filter(|address| family.allows(*address)).collect();
    match (usable.is_empty(), found.first()) {
        (false, _) => Ok(usable),
        (true, None) => Err((Reason::Dns, format!("{name} has no {}", wanted(family)))),
        (true, Some(other)) => Err((Reason::Dns, format!("{name} has no {}, only {other}", wanted(family)))),
    }
}

fn reachable(name: &str, mut usable: Vec<IpAddr>, blocked: &BlockedNetworks) -> Result<Vec<IpAddr>, (Reason, String)> {
    let first = usable[0];
    usable.retain(|address| !blocked.holds(*address));
    if usable.is_empty() {
        return Err((Reason::Blocked, format!("{name} is {first}, in a network that checks may not reach")));
    }
    Ok(usable)
}
