//! Networks: addresses by their first bits.

use crate::mesh::names::reverse_name;
use crate::wire::Name;
use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

/// The addresses that begin with the same bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    /// An IPv4 network is kept in the form of ::ffff:0:0/96, so that one comparison does for both.
    bits: u128,
    length: u8,
}

/// Where IPv4 begins in the form of IPv6 (RFC 4291 section 2.5.5.2).
const V4: u8 = 96;

impl Network {
    /// Reads `192.0.2.0/24`, `2001:db8::/32`, or an address that stands for itself.
    pub fn parse(text: &str) -> Result<Network, String> {
        let wrong = || "no address or network; write one such as 192.0.2.1, 192.0.2.0/24 or 2001:db8::/32".to_string();
        let (address, length) = match text.split_once('/') {
            Some((address, length)) => (address, Some(length)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| wrong())?;
        let before = if address.is_ipv4() { V4 } else { 0 };
        let length = match length {
            None => 128,
            Some(length) => {
                let length: u8 = length.parse().map_err(|_| wrong())?;
                length.checked_add(before).filter(|length| *length <= 128).ok_or_else(wrong)?
            }
        };
        // Bits beyond the length are of no account: some write their own address and the length.
        Ok(Network { bits: bits(address) & mask(length), length })
    }

    /// Whether the address is in it. IPv4 in the form of IPv6 is IPv4.
    pub fn contains(&self, address: IpAddr) -> bool {
        bits(address) & mask(self.length) == self.bits
    }
}

impl Network {
    /// The zone with the reverse names of its addresses and no others.
    ///
    /// Errors: no label of a reverse name ends where the network's bits do.
    pub fn reverse_zone(&self) -> Result<Name, String> {
        let address = Ipv6Addr::from_bits(self.bits).to_canonical();
        let (length, per_label) = match address {
            IpAddr::V4(_) if self.length >= V4 => (self.length - V4, 8),
            _ => (self.length, 4),
        };
        if length == 0 || length % per_label != 0 {
            return Err(format!("/{length} has no reverse zone of its own; write a multiple of {per_label}"));
        }
        let labels = usize::from(length / per_label);
        let mut name = reverse_name(address).map_err(|error| error.to_string())?;
        // in-addr.arpa and ip6.arpa have two labels.
        while name.label_count() > labels.saturating_add(2) {
            name = name.parent().ok_or("no reverse name")?;
        }
        Ok(name)
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match Ipv6Addr::from_bits(self.bits).to_canonical() {
            IpAddr::V4(address) if self.length >= V4 => write!(f, "{address}/{}", self.length - V4),
            _ => write!(f, "{}/{}", Ipv6Addr::from_bits(self.bits), self.length),
        }
    }
}

fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().to_bits(),
        IpAddr::V6(address) => address.to_bits(),
    }
}

fn mask(length: u8) -> u128 {
    u128::MAX.checked_shl(128 - u32::from(length)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_holds_the_addresses_that_begin_like_it() {
        for (network, inside, outside) in [
            ("192.0.2.0/24", "192.0.2.255", "192.0.3.0"),
            ("192.0.2.0/24", "::ffff:192.0.2.1", "::192.0.2.1"),
            ("192.0.2.7", "192.0.2.7", "192.0.2.6"),
            ("0.0.0.0/0", "203.0.113.1", "2001:db8::1"),
            ("2001:db8::/32", "2001:db8:ffff::1", "2001:db9::"),
            ("::/0", "2001:db8::1", ""),
            ("::1", "::1", "::2"),
        ] {
            let network = Network::parse(network).unwrap();
            assert!(network.contains(inside.parse().unwrap()), "{network} {inside}");
            assert!(outside.parse().map_or(true, |outside| !network.contains(outside)), "{network} {outside}");
        }
    }

    #[test]
    fn what_is_no_network_says_what_to_write() {
        for text in ["", "192.0.2", "192.0.2.0/33", "2001:db8::/129", "192.0.2.0/-1", "host"] {
            assert!(Network::parse(text).unwrap_err().contains("; write one such as"), "{text}");
        }
        assert_eq!(Network::parse("192.0.2.1/24").unwrap().to_string(), "192.0.2.0/24");
        assert_eq!(Network::parse("2001:db8::1/32").unwrap().to_string(), "2001:db8::/32");
    }

    #[test]
    fn a_network_that_ends_with_a_label_has_a_reverse_zone() {
        let zone = |text| Network::parse(text).unwrap().reverse_zone();
        for (network, name) in [
            ("10.0.0.0/8", "10.in-addr.arpa"),
            ("192.0.2.77/24", "2.0.192.in-addr.arpa"),
            ("192.0.2.7/32", "7.2.0.192.in-addr.arpa"),
            ("fd00::/8", "d.f.ip6.arpa"),
            ("2001:db8::/32", "8.b.d.0.1.0.0.2.ip6.arpa"),
        ] {
            assert_eq!(zone(network), Ok(Name::parse(name).unwrap()));
        }
        assert_eq!(zone("10.0.0.0/12"), Err("/12 has no reverse zone of its own; write a multiple of 8".to_string()));
        assert!(zone("::/0").is_err() && zone("0.0.0.0/0").is_err() && zone("fd00::/7").is_err());
    }
}
