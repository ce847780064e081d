//! Whether a far side is there at all, asked without sending it anything.

use std::net::IpAddr;
use std::time::Duration;

use tokio::net::TcpStream;
use url::{Host, Url};

use crate::alert::channel::call::addresses;
use crate::alert::channel::sender::{BLOCKED_BY, Sender};
use crate::config::mistake::Mistake;

/// A person waits for it.
const WITHIN: Duration = Duration::from_secs(4);

/// What speaks against an address: that it is plain beyond this machine, that nothing is there.
pub async fn address(sender: &Sender, field: &str, url: &Url) -> Vec<Mistake> {
    let mut doubts = Vec::new();
    let loopback = match url.host() {
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    };
    if url.scheme() == "http" && !loopback {
        doubts.push(Mistake::new(field, "is plain http: whoever is on the way reads the messages and what is secret in the address"));
    }
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    let port = url.port_or_known_default().unwrap_or(443);
    doubts.extend(place(sender, field, host, port).await);
    doubts
}

/// Whether something takes connections there.
pub async fn place(sender: &Sender, field: &str, host: &str, port: u16) -> Option<Mistake> {
    let within = WITHIN.min(sender.timeout);
    let late = || Mistake::new(field, format!("{host}:{port} did not take a connection within {} s", within.as_secs_f64()));
    let reached = async {
        let found = match host.parse::<IpAddr>() {
            Ok(address) if sender.blocked.holds(address) => {
                return Some(Mistake::new(field, format!("{address} lies in a network that is blocked by {BLOCKED_BY}")));
            }
            _ => addresses(host, port, &sender.blocked, BLOCKED_BY).await,
        };
        match found {
            Err(error) => Some(Mistake::new(field, format!("host {host} cannot be found: {error}"))),
            Ok(found) => TcpStream::connect(&*found)
                .await
                .err()
                .map(|error| Mistake::new(field, format!("{host}:{port} cannot be reached: {error}"))),
        }
    };
    tokio::time::timeout(within, reached).await.unwrap_or_else(|_| Some(late()))
}
