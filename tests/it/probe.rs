//! The probe against real servers on loopback: what a check of each kind of target comes back with.

mod evidence;
mod phases;
mod reasons;
mod requests;
mod secure;

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use probemesh::clock::Clock;
use probemesh::config::sections::ProbeSettings;
use probemesh::config::service::ServiceDocument;
use probemesh::model::check::{CheckResult, Reason};
use probemesh::model::id::{Boot, CheckId, ServiceId};
use probemesh::model::service::{IpFamily, Schedule, Service};
use probemesh::model::time::Timestamp;
use probemesh::probe::resolve::Lookup;
use probemesh::probe::{CheckOrder, Probes};
use serde_json::Value;

/// Names a test gives out itself, each with its addresses and the time it takes to find them.
#[derive(Default)]
pub struct Hosts(HashMap<&'static str, (Vec<IpAddr>, Duration)>);

impl Hosts {
    pub fn with(mut self, name: &'static str, addresses: &[&str], delay: Duration) -> Hosts {
        self.0.insert(name, (addresses.iter().map(|address| address.parse().expect("an address")).collect(), delay));
        self
    }
}

impl Lookup for Hosts {
    fn lookup<'a>(&'a self, name: &'a str, _: IpFamily) -> BoxFuture<'a, Result<Vec<IpAddr>, String>> {
        Box::pin(async move {
            let Some((addresses, delay)) = self.0.get(name) else { return Err(format!("there is no host {name}")) };
            tokio::time::sleep(*delay).await;
            Ok(addresses.clone())
        })
    }
}

pub fn settings() -> ProbeSettings {
    ProbeSettings {
        check_header: true,
        user_agent: "probemesh/test".to_owned(),
        dns_cache: Duration::ZERO,
        blocked_networks: Vec::new(),
        name_servers: Vec::new(),
    }
}

pub fn probes() -> Probes {
    probes_with(Hosts::default().with("web.test", &["127.0.0.1"], Duration::ZERO))
}

pub fn probes_with(hosts: Hosts) -> Probes {
    Probes::with_lookup(&settings(), Clock::real(), Arc::new(hosts)).expect("the settings are sound")
}

/// A service from what its document says, with no retries unless it asks for them.
pub fn service(document: Value) -> Service {
    let mut document = ServiceDocument::read(&document).expect("a service document");
    document.name.get_or_insert_with(|| "target".to_owned());
    document.retries.get_or_insert(0);
    document.check(ServiceId(7), &Schedule::Interval(Duration::from_secs(60))).expect("a sound service")
}

pub fn order() -> CheckOrder {
    CheckOrder {
        id: CheckId { node: "node-1".into(), boot: Boot(3), seq: 42 },
        region: "local".into(),
        scheduled_at: Timestamp(1_000_000),
        hub_url: None,
    }
}

pub async fn check(document: Value) -> CheckResult {
    probes().check(&service(document), order()).await
}

pub fn reason(result: &CheckResult) -> Option<Reason> {
    result.failure.as_ref().map(|failure| failure.reason)
}

pub fn message(result: &CheckResult) -> &str {
    result.failure.as_ref().map_or("", |failure| failure.message.as_str())
}
