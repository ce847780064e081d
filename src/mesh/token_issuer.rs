//! Makes join tokens: what the store knows of one, with where the hub is and whose authority it has.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use crate::config::sections::MeshSettings;
use crate::mesh::authority::Authority;
use crate::mesh::token::JoinToken;
use crate::model::id::{NodeName, RegionName};
use crate::store::nodes::{Nodes, NodesError};
use crate::store::services::Author;

/// How long a token is good, unless somebody says otherwise, and how long at most.
pub const LIFETIME: Duration = Duration::from_secs(86_400);
pub const LONGEST_LIFETIME: Duration = Duration::from_secs(30 * 86_400);

/// What a token is wanted for.
#[derive(Clone, Debug)]
pub struct TokenOrder {
    pub region: RegionName,
    pub node: Option<NodeName>,
    pub lifetime: Duration,
    /// Where nodes reach the hub, if not at the usual address.
    pub address: Option<String>,
}

pub struct TokenIssuer {
    pub nodes: Arc<Nodes>,
    address: String,
    fingerprint: [u8; 32],
}

impl TokenIssuer {
    /// `None` where the hub takes no nodes.
    pub fn new(mesh: &MeshSettings, authority: &Authority, nodes: Arc<Nodes>) -> Option<TokenIssuer> {
        let listen = mesh.listen?;
        let address = mesh.address.clone().unwrap_or_else(|| reachable(listen).to_string());
        Some(TokenIssuer { nodes, address, fingerprint: authority.fingerprint() })
    }

    pub async fn issue(&self, order: &TokenOrder, author: &Author) -> Result<JoinToken, NodesError> {
        let new = self.nodes.add_token(&order.region, order.node.as_ref(), order.lifetime, author).await?;
        Ok(JoinToken {
            address: order.address.clone().unwrap_or_else(|| self.address.clone()),
            region: order.region.clone(),
            node: order.node.clone(),
            id: new.id,
            secret: new.secret,
            expires_at: new.expires_at,
            fingerprint: self.fingerprint,
        })
    }
}

/// What a person types on the machine that joins.
pub fn commands(token: &JoinToken) -> [String; 2] {
    [format!("probemesh join {}", token.line()), format!("probemesh region --config regions/{}.toml", token.region)]
}

/// An address others can dial: for one that stands for all of the machine's, the one the machine would send from.
fn reachable(listen: SocketAddr) -> SocketAddr {
    if !listen.ip().is_unspecified() {
        return listen;
    }
    let (own, far): (&str, &str) = if listen.is_ipv4() { ("0.0.0.0:0", "192.0.2.1:9") } else { ("[::]:0", "[2001:db8::1]:9") };
    // Connecting a datagram socket sends nothing; it only asks for the route.
    let route = UdpSocket::bind(own).and_then(|socket| socket.connect(far).and_then(|()| socket.local_addr()));
    let ip = route.map_or(IpAddr::V4(Ipv4Addr::LOCALHOST), |address| address.ip());
    SocketAddr::new(ip, listen.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_never_names_the_address_that_stands_for_all() {
        let named = "192.0.2.7:4697".parse().expect("an address");
        assert_eq!(reachable(named), named);
        for all in ["0.0.0.0:4697", "[::]:4697"] {
            let found = reachable(all.parse().expect("an address"));
            assert!(!found.ip().is_unspecified() && found.port() == 4697, "{found}");
        }
    }
}
