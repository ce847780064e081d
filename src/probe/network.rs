//! Networks no check may reach, so that whoever may edit services cannot look behind the wall the node stands behind.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A network in CIDR form, widened to the IPv6 number space: IPv4 lies there as `::ffff:0:0/96`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Network {
    base: u128,
    mask: u128,
}

#[derive(Clone, Debug, Default)]
pub struct BlockedNetworks(Vec<Network>);

impl BlockedNetworks {
    /// Reads networks such as `169.254.0.0/16`, or single addresses; the error is the entry that is neither.
    pub fn parse(entries: &[String]) -> Result<BlockedNetworks, String> {
        entries.iter().map(|entry| parse(entry).ok_or_else(|| entry.clone())).collect::<Result<_, _>>().map(BlockedNetworks)
    }

    pub fn holds(&self, address: IpAddr) -> bool {
        if self.0.is_empty() {
            return false;
        }
        // Connecting to the unspecified address reaches the machine itself.
        let address = match address.to_canonical() {
            IpAddr::V4(Ipv4Addr::UNSPECIFIED) => IpAddr::V4(Ipv4Addr::LOCALHOST),
            IpAddr::V6(Ipv6Addr::UNSPECIFIED) => IpAddr::V6(Ipv6Addr::LOCALHOST),
            address => address,
        };
        let number = widen(address);
        self.0.iter().any(|network| number & network.mask == network.base)
    }
}

fn parse(entry: &str) -> Option<Network> {
    let (address, length) = match entry.trim().split_once('/') {
        Some((address, length)) => (address, Some(length.parse::<u32>().ok()?)),
        None => (entry.trim(), None),
    };
    let address: IpAddr = address.parse().ok()?;
    let width = if address.is_ipv4() { 32 } else { 128 };
    let length = length.unwrap_or(width);
    if length > width {
        return None;
    }
    let mask = u128::MAX.checked_shl(width - length).unwrap_or(0);
    Some(Network { base: widen(address) & mask, mask })
}

fn widen(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().to_bits(),
        IpAddr::V6(address) => address.to_bits(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blocked(networks: &[&str], address: &str) -> bool {
        let entries: Vec<String> = networks.iter().map(|&network| network.to_owned()).collect();
        BlockedNetworks::parse(&entries).expect("the networks are written well").holds(address.parse().expect("an address"))
    }

    #[test]
    fn a_network_holds_its_addresses_and_no_others() {
        assert!(blocked(&["169.254.0.0/16"], "169.254.169.254"));
        assert!(!blocked(&["169.254.0.0/16"], "169.255.0.1"));
        assert!(blocked(&["10.1.2.3"], "10.1.2.3"));
        assert!(!blocked(&["10.1.2.3"], "10.1.2.4"));
        assert!(blocked(&["fd00::/8"], "fd12::1"));
        assert!(!blocked(&["fd00::/8"], "fe80::1"));
        assert!(blocked(&["0.0.0.0/0"], "8.8.8.8"));
        assert!(!blocked(&["0.0.0.0/0"], "2001:db8::1"));
        assert!(blocked(&["::/0"], "2001:db8::1"));
    }

    #[test]
    fn another_spelling_of_an_address_does_not_get_round_the_wall() {
        assert!(blocked(&["127.0.0.0/8"], "::ffff:127.0.0.1"));
        assert!(blocked(&["127.0.0.0/8"], "0.0.0.0"));
        assert!(blocked(&["::1"], "::"));
    }

    #[test]
    fn what_is_no_network_is_named() {
        for wrong in ["10.0.0.0/33", "example.com", "10.0.0.0/", ""] {
            assert_eq!(BlockedNetworks::parse(&[wrong.to_owned()]).expect_err("it is wrong"), wrong);
        }
    }
}
