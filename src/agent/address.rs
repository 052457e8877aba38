//! Which addresses cannot be right for a name that the world asks for, by the registries of special addresses
//! (RFC 6890, kept by IANA).

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// Why an address reaches nothing, or another machine, from elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Special {
    /// `0.0.0.0/8` and `::`.
    Unspecified,
    /// `127.0.0.0/8` and `::1`.
    Loopback,
    /// RFC 1918.
    Private,
    /// The provider's side of a shared address: RFC 6598.
    Cgnat,
    /// RFC 3927 and `fe80::/10`.
    LinkLocal,
    /// RFC 5737, RFC 3849 and RFC 9637.
    Documentation,
    /// Unique local: RFC 4193.
    Ula,
    /// `224.0.0.0/4` and `ff00::/8`.
    Multicast,
    /// Set aside for something else: benchmarks, protocols, the future, IPv4 within IPv6.
    Reserved,
}

/// Why an address is not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AddressError {
    /// It is no address at all.
    NoAddress(String),
    /// It cannot be right, unless it is allowed.
    Special(IpAddr, Special),
}

/// Reads an address as people, routers and commands write it: a `%zone` and spaces around it are dropped.
pub fn parse(text: &str) -> Result<IpAddr, AddressError> {
    let trimmed = text.trim();
    let bare = match trimmed.split_once('%') {
        // Only IPv6 has zones (RFC 4007 section 11).
        Some((address, zone)) if !zone.is_empty() && address.contains(':') => address,
        _ => trimmed,
    };
    bare.parse().map_err(|_| AddressError::NoAddress(text.to_string()))
}

/// Takes the address, unless it is special in a way that `allowed` does not have.
pub fn usable(address: IpAddr, allowed: &[Special]) -> Result<IpAddr, AddressError> {
    match special(address) {
        Some(special) if !allowed.contains(&special) => Err(AddressError::Special(address, special)),
        _ => Ok(address),
    }
}

/// What is special about an address; `None` where the world can reach it.
pub fn special(address: IpAddr) -> Option<Special> {
    match address {
        IpAddr::V4(address) => special_v4(address),
        IpAddr::V6(address) => special_v6(address),
    }
}

fn special_v4(address: Ipv4Addr) -> Option<Special> {
    Some(match address.octets() {
        [0, ..] => Special::Unspecified,
        [127, ..] => Special::Loopback,
        [10, ..] | [172, 16..=31, ..] | [192, 168, ..] => Special::Private,
        [100, 64..=127, ..] => Special::Cgnat,
        [169, 254, ..] => Special::LinkLocal,
        [192, 0, 2, _] | [198, 51, 100, _] | [203, 0, 113, _] => Special::Documentation,
        [224..=239, ..] => Special::Multicast,
        [192, 0, 0, _] | [192, 88, 99, _] | [198, 18..=19, ..] | [240..=255, ..] => Special::Reserved,
        _ => return None,
    })
}

fn special_v6(address: Ipv6Addr) -> Option<Special> {
    Some(match address.segments() {
        [0, 0, 0, 0, 0, 0, 0, 0] => Special::Unspecified,
        [0, 0, 0, 0, 0, 0, 0, 1] => Special::Loopback,
        [0xFE80..=0xFEBF, ..] => Special::LinkLocal,
        [0xFC00..=0xFDFF, ..] => Special::Ula,
        [0xFF00..=0xFFFF, ..] => Special::Multicast,
        [0x2001, 0x0DB8, ..] | [0x3FFF, 0..=0x0FFF, ..] => Special::Documentation,
        // Teredo, ORCHID and the like, and 6to4: 2001::/23 and 2002::/16.
        [0x2001, 0..=0x01FF, ..] | [0x2002, ..] => Special::Reserved,
        // Only 2000::/3 is given out as global unicast.
        [0x2000..=0x3FFF, ..] => return None,
        _ => Special::Reserved,
    })
}

/// The names that `allow` knows. What can never be right for a host has none.
const NAMES: [(&str, Special); 6] = [
    ("private", Special::Private),
    ("ula", Special::Ula),
    ("cgnat", Special::Cgnat),
    ("link-local", Special::LinkLocal),
    ("loopback", Special::Loopback),
    ("documentation", Special::Documentation),
];

impl FromStr for Special {
    type Err = String;

    fn from_str(text: &str) -> Result<Special, String> {
        NAMES.iter().find(|(name, _)| *name == text).map(|(_, special)| *special).ok_or_else(|| {
            let names = NAMES.map(|(name, _)| name).join(", ");
            format!("cannot allow {text}: no such kind of address; choose from {names}")
        })
    }
}

impl fmt::Display for Special {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Special::Unspecified => "unspecified",
            Special::Multicast => "multicast",
            Special::Reserved => "reserved",
            named => NAMES.iter().find(|(_, special)| special == named).map_or("", |(name, _)| name),
        })
    }
}

impl fmt::Display for AddressError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AddressError::NoAddress(text) => write!(f, "`{text}` is neither an IPv4 nor an IPv6 address"),
            AddressError::Special(address, special) => {
                write!(f, "{address} cannot be reached from elsewhere: it is {special}")?;
                if NAMES.iter().any(|(_, named)| named == special) {
                    write!(f, "; if it is meant, say --allow {special}, or allow = [\"{special}\"] in [agent]")?;
                }
                Ok(())
            }
        }
    }
}

impl std::error::Error for AddressError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_that_the_world_cannot_reach_are_told_by_kind() {
        for (text, expected) in [
            ("0.0.0.0", Special::Unspecified),
            ("::", Special::Unspecified),
            ("127.0.0.53", Special::Loopback),
            ("::1", Special::Loopback),
            ("10.1.2.3", Special::Private),
            ("172.31.255.255", Special::Private),
            ("192.168.178.1", Special::Private),
            ("100.127.0.1", Special::Cgnat),
            ("169.254.1.1", Special::LinkLocal),
            ("febf::1", Special::LinkLocal),
            ("fd00::1", Special::Ula),
            ("203.0.113.7", Special::Documentation),
            ("2001:db8::1", Special::Documentation),
            ("3fff:fff::1", Special::Documentation),
            ("239.1.1.1", Special::Multicast),
            ("ff02::1", Special::Multicast),
            ("255.255.255.255", Special::Reserved),
            ("::ffff:8.8.8.8", Special::Reserved),
            ("2002:808:808::1", Special::Reserved),
        ] {
            assert_eq!(special(text.parse().unwrap()), Some(expected), "{text}");
        }
    }

    #[test]
    fn neighbours_of_the_special_ranges_are_usable() {
        for text in [
            "1.0.0.1",
            "9.255.255.255",
            "11.0.0.0",
            "100.63.255.255",
            "100.128.0.0",
            "126.255.255.255",
            "172.15.0.1",
            "172.32.0.1",
            "192.0.3.1",
            "198.17.0.1",
            "198.20.0.1",
            "223.255.255.255",
            "2000::1",
            "2001:200::1",
            "2001:db7::1",
            "2001:db9::1",
            "2003::1",
            "3fff:1000::1",
        ] {
            assert_eq!(special(text.parse().unwrap()), None, "{text}");
        }
    }

    #[test]
    fn a_zone_after_an_ipv6_address_is_dropped() {
        assert_eq!(parse(" fe80::1%pppoe0\n"), Ok("fe80::1".parse().unwrap()));
        assert!(parse("192.0.2.1%eth0").is_err());
        assert!(parse("fe80::1%").is_err());
        assert!(parse("").is_err());
    }

    #[test]
    fn what_is_allowed_is_taken_and_the_refusal_says_how() {
        let address: IpAddr = "10.0.0.1".parse().unwrap();
        assert_eq!(usable(address, &["private".parse().unwrap()]), Ok(address));
        assert_eq!(
            usable(address, &[Special::Ula]).unwrap_err().to_string(),
            "10.0.0.1 cannot be reached from elsewhere: it is private; if it is meant, say --allow private, or allow = [\"private\"] in [agent]"
        );
        assert!("multicast".parse::<Special>().is_err());
    }
}
