//! From what was observed and what a target holds to what has to be written.
//!
//! Each family stands for itself: an address that is not observed changes nothing, so IPv4 that goes away never
//! erases IPv6, nor the other way round. A change replaces one RRset whole, so whoever carries it out can bring the
//! new address and take the old one in one step.

use crate::wire::Name;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What a name's RRset of one family is to hold from now on: this address and no other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The host.
    pub name: Name,
    /// Its address; the family says which RRset.
    pub address: IpAddr,
}

/// A name to keep right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host {
    /// The host.
    pub name: Name,
    /// How its addresses follow from those observed.
    pub rule: Rule,
}

/// How a host's addresses follow from those observed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// It has them itself.
    Same,
    /// It has the IPv4 address alone.
    V4,
    /// It has the IPv6 address alone.
    V6,
    /// It has no IPv4 address of its own; its IPv6 address has the first `prefix` bits of the one observed and the
    /// rest of `suffix`.
    Derived {
        /// The bits that the network shares: at most 128.
        prefix: u8,
        /// The bits that are the host's own.
        suffix: Ipv6Addr,
    },
}

/// The addresses that this machine has now, as far as they are known.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Observed {
    /// The IPv4 address.
    pub v4: Option<Ipv4Addr>,
    /// The IPv6 address.
    pub v6: Option<Ipv6Addr>,
}

/// The addresses that a target holds for one name, in any order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Held {
    /// What its A records and AAAA records say.
    pub addresses: Vec<IpAddr>,
    /// Those of them that have another TTL than the operator wants. A target that does not tell, and an operator who
    /// does not say, find none.
    pub other_ttl: Vec<IpAddr>,
}

/// What the hosts are to have: the addresses that follow from those observed and, in a family of which none is
/// observed now, those that `pending` says are still to be written.
pub fn wanted(hosts: &[Host], observed: Observed, pending: &[Change]) -> Vec<Change> {
    let mut wanted = Vec::new();
    for host in hosts {
        let fresh = host.rule.apply(observed).map(|address| Change { name: host.name, address });
        let begin = wanted.len();
        wanted.extend(fresh);
        for change in pending.iter().filter(|change| change.name == host.name) {
            let known = wanted.iter().skip(begin).any(|known| known.address.is_ipv4() == change.address.is_ipv4());
            if !known {
                wanted.push(change.clone());
            }
        }
    }
    wanted
}

/// Of what is wanted, what has to be written; nothing where all is right. A host that `held` knows nothing of holds
/// nothing.
pub fn plan(wanted: &[Change], held: impl Fn(&Name) -> Held) -> Vec<Change> {
    wanted.iter().filter(|change| !change.is_in(&held(&change.name))).cloned().collect()
}

impl Change {
    /// Whether the target holds just this address in its family, with the right TTL.
    pub fn is_in(&self, held: &Held) -> bool {
        self.is_address_of(held) && !held.other_ttl.contains(&self.address)
    }

    /// Whether the target holds just this address in its family, with whatever TTL.
    pub fn is_address_of(&self, held: &Held) -> bool {
        let mut family = held.addresses.iter().filter(|held| held.is_ipv4() == self.address.is_ipv4()).peekable();
        family.peek().is_some() && family.all(|held| *held == self.address)
    }
}

impl Rule {
    /// Whether a host may have an address of this family.
    pub fn has(self, address: IpAddr) -> bool {
        match self {
            Rule::Same => true,
            Rule::V4 => address.is_ipv4(),
            Rule::V6 | Rule::Derived { .. } => address.is_ipv6(),
        }
    }

    /// The addresses of a host.
    pub fn apply(self, observed: Observed) -> impl Iterator<Item = IpAddr> {
        let (v4, v6) = match self {
            Rule::Same => (observed.v4, observed.v6),
            Rule::V4 => (observed.v4, None),
            Rule::V6 => (None, observed.v6),
            Rule::Derived { prefix, suffix } => (None, observed.v6.map(|address| joined(address, prefix, suffix))),
        };
        v4.map(IpAddr::V4).into_iter().chain(v6.map(IpAddr::V6))
    }
}

impl Observed {
    /// Takes the addresses, at most one of each family; the second of a family comes back.
    pub fn gather(addresses: impl IntoIterator<Item = IpAddr>) -> Result<Observed, IpAddr> {
        let mut observed = Observed::default();
        for address in addresses {
            let before = match address {
                IpAddr::V4(address) => observed.v4.replace(address).map(IpAddr::V4),
                IpAddr::V6(address) => observed.v6.replace(address).map(IpAddr::V6),
            };
            if before.is_some_and(|before| before != address) {
                return Err(address);
            }
        }
        Ok(observed)
    }
}

/// The first `prefix` bits of `network` and the rest of `suffix`.
fn joined(network: Ipv6Addr, prefix: u8, suffix: Ipv6Addr) -> Ipv6Addr {
    let mask = u128::MAX.checked_shr(u32::from(prefix)).unwrap_or(0);
    Ipv6Addr::from_bits(network.to_bits() & !mask | suffix.to_bits() & mask)
}

/// How a host behind the same prefix is written, `::53`, `::53/56` or a MAC such as `34:56:78:9a:bc:de`, of which the
/// suffix follows; the prefix has 64 bits unless it is told, and 32 at least: what is special about an address shows in
/// those, so a derived one can be right if the one observed is.
pub fn derived(text: &str) -> Result<Rule, String> {
    let wrong = || {
        format!(
            "`{text}` is no suffix; write one such as ::53, ::53/56 or the MAC 34:56:78:9a:bc:de; the prefix \
                             has 32 to 128 bits"
        )
    };
    let (suffix, prefix) = match text.split_once('/') {
        Some((suffix, prefix)) => {
            (suffix, prefix.parse().ok().filter(|prefix| (32..=128).contains(prefix)).ok_or_else(wrong)?)
        }
        None => (text, 64),
    };
    let suffix = suffix.parse().ok().or_else(|| Some(suffix_of_mac(mac(suffix)?))).ok_or_else(wrong)?;
    Ok(Rule::Derived { prefix, suffix })
}

/// Six octets in hexadecimal, with colons or hyphens between.
fn mac(text: &str) -> Option<[u8; 6]> {
    let octets = text.split([':', '-']).map(|octet| {
        let octet = Some(octet).filter(|octet| octet.len() == 2 && octet.bytes().all(|c| c.is_ascii_hexdigit()))?;
        u8::from_str_radix(octet, 16).ok()
    });
    octets.collect::<Option<Vec<u8>>>()?.try_into().ok()
}

/// The suffix that a machine with this MAC makes for itself without privacy extensions (RFC 4291 appendix A).
pub fn suffix_of_mac(mac: [u8; 6]) -> Ipv6Addr {
    let [a, b, c, d, e, f] = mac;
    Ipv6Addr::from([0, 0, 0, 0, 0, 0, 0, 0, a ^ 0x02, b, c, 0xFF, 0xFE, d, e, f])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn name(text: &str) -> Name {
        Name::parse(text).unwrap()
    }

    fn held(addresses: &[&str]) -> Held {
        Held { addresses: addresses.iter().map(|text| text.parse().unwrap()).collect(), ..Held::default() }
    }

    fn observed(addresses: &[&str]) -> Observed {
        Observed::gather(addresses.iter().map(|text| text.parse().unwrap())).unwrap()
    }

    fn planned(rule: Rule, now: &[&str], before: &[&str]) -> Vec<String> {
        let host = Host { name: name("h.example"), rule };
        let changes = plan(&wanted(&[host], observed(now), &[]), |_| held(before));
        changes.iter().map(|change| change.address.to_string()).collect()
    }

    #[test]
    fn nothing_is_written_where_all_is_right() {
        assert!(planned(Rule::Same, &["192.0.2.1", "2001:db8::1"], &["2001:db8::1", "192.0.2.1"]).is_empty());
    }

    #[test]
    fn a_family_that_went_away_is_left_as_it_is() {
        assert!(planned(Rule::Same, &["192.0.2.1"], &["192.0.2.1", "2001:db8::1"]).is_empty());
        assert_eq!(planned(Rule::Same, &["2001:db8::2"], &["192.0.2.1", "2001:db8::1"]), ["2001:db8::2"]);
        assert!(planned(Rule::Same, &[], &["192.0.2.1"]).is_empty());
    }

    #[test]
    fn another_address_beside_the_right_one_is_a_difference() {
        assert_eq!(planned(Rule::Same, &["192.0.2.1"], &["192.0.2.1", "192.0.2.9"]), ["192.0.2.1"]);
    }

    #[test]
    fn another_ttl_than_the_operator_wants_is_a_difference_of_its_family() {
        let observed = observed(&["192.0.2.1", "2001:db8::1"]);
        let host = Host { name: name("h.example"), rule: Rule::Same };
        let held = Held { other_ttl: vec!["2001:db8::1".parse().unwrap()], ..held(&["192.0.2.1", "2001:db8::1"]) };
        let changes = plan(&wanted(&[host], observed, &[]), |_| held.clone());
        assert_eq!(changes.iter().map(|change| change.address).collect::<Vec<_>>(), held.other_ttl);
        assert!(changes[0].is_address_of(&held));
    }

    #[test]
    fn a_host_may_have_one_family_alone() {
        assert_eq!(planned(Rule::V4, &["192.0.2.1", "2001:db8::1"], &[]), ["192.0.2.1"]);
        assert_eq!(planned(Rule::V6, &["192.0.2.1", "2001:db8::1"], &["192.0.2.7"]), ["2001:db8::1"]);
    }

    #[test]
    fn what_is_still_to_be_written_counts_until_something_newer_is_observed() {
        let host = Host { name: name("h.example"), rule: Rule::Same };
        let change = |text: &str| Change { name: host.name, address: text.parse().unwrap() };
        let pending =
            [change("192.0.2.1"), change("2001:db8::1"), Change { name: name("gone.example"), ..change("::1") }];
        let wanted = |now: &[&str]| wanted(std::slice::from_ref(&host), observed(now), &pending);
        assert_eq!(wanted(&[]), [change("192.0.2.1"), change("2001:db8::1")]);
        assert_eq!(wanted(&["192.0.2.2"]), [change("192.0.2.2"), change("2001:db8::1")]);
    }

    #[test]
    fn a_derived_host_follows_the_prefix_and_has_no_ipv4() {
        let rule = Rule::Derived { prefix: 64, suffix: "::53".parse().unwrap() };
        assert_eq!(planned(rule, &["192.0.2.1", "2001:db8:7:8:9::1"], &["2001:db8::53"]), ["2001:db8:7:8::53"]);
        assert!(planned(rule, &["192.0.2.1"], &["2001:db8::53"]).is_empty());
    }

    #[test]
    fn a_mac_gives_the_suffix_of_rfc_4291() {
        assert_eq!(suffix_of_mac([0x34, 0x56, 0x78, 0x9A, 0xBC, 0xDE]).to_string(), "::3656:78ff:fe9a:bcde");
    }

    #[test]
    fn a_suffix_is_read_with_its_prefix_or_from_a_mac() {
        let rule = |prefix, suffix: &str| Ok(Rule::Derived { prefix, suffix: suffix.parse().unwrap() });
        assert_eq!(derived("::53"), rule(64, "::53"));
        assert_eq!(derived("::53/56"), rule(56, "::53"));
        assert_eq!(derived("34:56:78:9a:BC:de"), rule(64, "::3656:78ff:fe9a:bcde"));
        assert_eq!(derived("34-56-78-9a-bc-de/48"), rule(48, "::3656:78ff:fe9a:bcde"));
        for text in [
            "",
            "::53/129",
            "::53/0",
            "::53/31",
            "::53/",
            "34:56:78:9a:bc",
            "34:56:78:9a:bc:d",
            "+4:56:78:9a:bc:de",
            "x",
        ] {
            assert!(derived(text).is_err(), "{text}");
        }
    }

    #[test]
    fn two_addresses_of_one_family_are_not_one() {
        let two = ["192.0.2.1", "192.0.2.2"].map(|text| text.parse().unwrap());
        assert_eq!(Observed::gather(two), Err(two[1]));
    }

    proptest! {
        #[test]
        fn what_was_planned_leaves_nothing_to_plan(
            v4: Option<Ipv4Addr>, v6: Option<Ipv6Addr>, before: Vec<IpAddr>, prefix in 0..=128_u8, suffix: Ipv6Addr
        ) {
            let observed = Observed { v4, v6 };
            for rule in [Rule::Same, Rule::V4, Rule::V6, Rule::Derived { prefix, suffix }] {
                let host = Host { name: name("h.example"), rule };
                let mut now = Held { addresses: before.clone(), ..Held::default() };
                for change in plan(&wanted(&[host], observed, &[]), |_| now.clone()) {
                    now.addresses.retain(|held| held.is_ipv4() != change.address.is_ipv4());
                    now.addresses.push(change.address);
                }
                let again = plan(&wanted(&[Host { name: name("h.example"), rule }], observed, &[]), |_| now.clone());
                prop_assert_eq!(again, Vec::new());
                // No family is emptied.
                for is_v4 in [true, false] {
                    let some = |held: &[IpAddr]| held.iter().any(|held| held.is_ipv4() == is_v4);
                    prop_assert!(!some(&before) || some(&now.addresses));
                }
            }
        }

        #[test]
        fn a_derived_address_has_the_bits_of_both(network: Ipv6Addr, prefix in 0..=128_u8, suffix: Ipv6Addr) {
            let result = joined(network, prefix, suffix).to_bits();
            for bit in 0..128_u8 {
                let from = if bit < prefix { network } else { suffix };
                prop_assert_eq!(result >> (127 - bit) & 1, from.to_bits() >> (127 - bit) & 1);
            }
        }
    }
}
