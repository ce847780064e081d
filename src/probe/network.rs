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

/// Every network that is not the internet (the special-purpose registries of IANA): this machine, private and local ones, those
/// that are for no host, and those of IPv6 that lead to any of IPv4.
const NOT_PUBLIC: [&str; 29] = [
    "0.0.0.0/8",
    "10.0.0.0/8",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.0.0.0/24",
    "192.0.2.0/24",
    "192.88.99.0/24",
    "192.168.0.0/16",
    "198.18.0.0/15",
    "198.51.100.0/24",
    "203.0.113.0/24",
    "224.0.0.0/4",
    "240.0.0.0/4",
    // The unspecified address, loopback, and IPv4 in the old form.
    "::/96",
    "64:ff9b::/96",
    "64:ff9b:1::/48",
    "100::/64",
    "2001::/23",
    "2001:db8::/32",
    "2002::/16",
    "3fff::/20",
    "5f00::/16",
    "fc00::/7",
    "fe80::/10",
    "fec0::/10",
    "ff00::/8",
    // Where IPv4 lies within the numbers of IPv6 when it was not told from it before.
    "::ffff:0:0:0/96",
];

impl BlockedNetworks {
    /// Reads networks such as `169.254.0.0/16`, or single addresses; the error is the entry that is neither.
    pub fn parse(entries: &[String]) -> Result<BlockedNetworks, String> {
        entries.iter().map(|entry| parse(entry).ok_or_else(|| entry.clone())).collect::<Result<_, _>>().map(BlockedNetworks)
    }

    /// The same with everything that is not the internet.
    pub fn with_private(self) -> BlockedNetworks {
        let mut networks = self.0;
        networks.extend(NOT_PUBLIC.iter().map(|entry| parse(entry).expect("each is a network")));
        BlockedNetworks(networks)
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
    fn what_is_not_public_is_held_in_every_spelling() {
        let wall = BlockedNetworks::default().with_private();
        let inner = [
            "127.0.0.1",
            "10.1.2.3",
            "172.31.255.255",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "0.0.0.0",
            "::",
            "::1",
            "fe80::1",
            "fd12::1",
            "::ffff:10.0.0.1",
            "::10.0.0.1",
            "64:ff9b::7f00:1",
            "2002:7f00:1::",
            "224.0.0.1",
            "255.255.255.255",
        ];
        for address in inner {
            assert!(wall.holds(address.parse().expect("an address")), "{address}");
        }
        for address in ["1.1.1.1", "8.8.8.8", "172.32.0.1", "192.169.0.1", "2606:4700::1111", "2a00:1450::1"] {
            assert!(!wall.holds(address.parse().expect("an address")), "{address}");
        }
        // What was blocked besides stays so.
        let more = BlockedNetworks::parse(&["1.1.1.0/24".to_owned()]).expect("it is one").with_private();
        assert!(more.holds("1.1.1.1".parse().expect("an address")));
    }

    #[test]
    fn what_is_no_network_is_named() {
        for wrong in ["10.0.0.0/33", "example.com", "10.0.0.0/", ""] {
            assert_eq!(BlockedNetworks::parse(&[wrong.to_owned()]).expect_err("it is wrong"), wrong);
        }
    }
}
