//! A node's own address, from what its peers say they see.
//!
//! A node never asks its network card, a router or a web site. Of each family the newest five peers to say something
//! have a voice, one each. An address counts if more than a third of them name it, so with three or more voices one
//! liar cannot make an address up; among those that count a public one goes before a private one (a peer in the same
//! network sees the private one, a peer beyond a router the public one), then the one that more name. A tie leaves
//! things as they are, and so does silence of all. A family in which nobody has seen the node for a while, though peers
//! see it in the other, is lost and no address of its own any more; before that peers are asked in just that family
//! (`heartbeat`), so that neither a few lost messages nor few peers that have it take it away.

use super::identity::NodeId;
use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

/// What peers say.
#[derive(Debug, Default)]
pub(super) struct Voices {
    v4: Family,
    v6: Family,
}

#[derive(Debug, Default)]
struct Family {
    voices: VecDeque<Voice>,
    /// When a peer said last that it sees this node there; at first, when the node started.
    heard: Duration,
}

#[derive(Debug)]
struct Voice {
    peer: NodeId,
    address: IpAddr,
    at: Duration,
}

/// How many peers have a voice. After a change of address a heartbeat's three answers are the majority of five.
const VOICES: usize = 5;
/// How long a voice counts. It is longer than two nodes need for a heartbeat, its failures and the next.
const LASTS: Duration = Duration::from_secs(90);

impl Voices {
    /// Voices of a node that starts: silence is counted from now.
    pub(super) fn since(now: Duration) -> Voices {
        let family = || Family { voices: VecDeque::new(), heard: now };
        Voices { v4: family(), v6: family() }
    }

    /// `peer` sees this node at `address`. Returns whether no voice named that before.
    pub(super) fn say(&mut self, peer: NodeId, address: IpAddr, now: Duration) -> bool {
        let address = address.to_canonical();
        if !publishable(address) {
            return false;
        }
        let family = if address.is_ipv4() { &mut self.v4 } else { &mut self.v6 };
        family.heard = now;
        let voices = &mut family.voices;
        let news = !voices.iter().any(|voice| voice.address == address);
        voices.retain(|voice| voice.peer != peer);
        voices.push_back(Voice { peer, address, at: now });
        while voices.len() > VOICES {
            voices.pop_front();
        }
        news
    }

    /// For how long nobody has said that it sees this node in a family.
    pub(super) fn silence(&self, v4: bool, now: Duration) -> Duration {
        now.saturating_sub(if v4 { self.v4.heard } else { self.v6.heard })
    }

    /// The addresses, at most one of each family; `current` are those before. A family that was silent for longer than
    /// `lost` is dropped where the other was not.
    pub(super) fn addresses(&self, current: &[IpAddr], now: Duration, lost: Duration) -> Vec<IpAddr> {
        let of = |v4: bool| {
            let voices = if v4 { &self.v4.voices } else { &self.v6.voices };
            elect(voices, current.iter().copied().find(|address| address.is_ipv4() == v4), now)
        };
        let silent = |v4| self.silence(v4, now) > lost;
        let (v4, v6) = (of(true), of(false));
        let stays = |v4: bool, other: Option<IpAddr>| !silent(v4) || silent(!v4) || other.is_none();
        [v4.filter(|_| stays(true, v6)), v6.filter(|_| stays(false, v4))].into_iter().flatten().collect()
    }
}

fn elect(voices: &VecDeque<Voice>, current: Option<IpAddr>, now: Duration) -> Option<IpAddr> {
    let fresh: Vec<IpAddr> =
        voices.iter().filter(|voice| now.saturating_sub(voice.at) <= LASTS).map(|voice| voice.address).collect();
    let count = |address: IpAddr| fresh.iter().filter(|named| **named == address).count();
    fresh
        .iter()
        .copied()
        .filter(|address| count(*address).saturating_mul(3) > fresh.len())
        .max_by_key(|address| (public(*address), count(*address), Some(*address) == current, *address))
        .or(current)
}

/// Whether others can be sent there at all: no loopback, link-local (RFC 3927, RFC 4291 section 2.5.6), multicast or
/// unspecified address, and no IPv4 address in IPv6's clothes.
pub fn publishable(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(ip) => {
            let here = ip.octets().first() == Some(&0);
            !(here || ip.is_loopback() || ip.is_link_local() || ip.is_multicast() || ip.is_broadcast())
        }
        IpAddr::V6(ip) => {
            let mapped = ip.to_ipv4_mapped().is_some();
            !(mapped || ip.is_unspecified() || ip.is_loopback() || ip.is_unicast_link_local() || ip.is_multicast())
        }
    }
}

/// Whether the world could reach it: not RFC 1918, RFC 6598 or RFC 4193.
fn public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(ip) => !(ip.is_private() || shared(ip)),
        IpAddr::V6(ip) => !unique_local(ip),
    }
}

fn shared(ip: Ipv4Addr) -> bool {
    matches!(ip.octets(), [100, second, _, _] if (64..128).contains(&second))
}

fn unique_local(ip: Ipv6Addr) -> bool {
    ip.is_unique_local()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOST: Duration = Duration::from_secs(90);

    fn heard(said: &[(u8, &str)], current: &[&str]) -> Vec<String> {
        let mut voices = Voices::default();
        for (peer, address) in said {
            voices.say(NodeId([*peer; 32]), address.parse().unwrap(), Duration::from_secs(1));
        }
        let current: Vec<IpAddr> = current.iter().map(|text| text.parse().unwrap()).collect();
        voices.addresses(&current, Duration::from_secs(2), LOST).iter().map(IpAddr::to_string).collect()
    }

    #[test]
    fn both_families_are_learned_alike() {
        assert_eq!(heard(&[(1, "10.0.0.1"), (1, "2001:470::1")], &[]), ["10.0.0.1", "2001:470::1"]);
    }

    #[test]
    fn one_liar_among_three_changes_nothing() {
        assert_eq!(heard(&[(1, "10.0.0.1"), (2, "10.0.0.1"), (3, "8.8.8.8")], &["10.0.0.1"]), ["10.0.0.1"]);
    }

    #[test]
    fn a_public_address_that_counts_goes_before_a_private_one() {
        let said = [(1, "10.0.0.1"), (2, "10.0.0.1"), (3, "10.0.0.1"), (4, "203.0.114.7"), (5, "203.0.114.7")];
        assert_eq!(heard(&said, &[]), ["203.0.114.7"]);
        assert_eq!(heard(&[(1, "fd00::1"), (2, "2001:470::9")], &[]), ["2001:470::9"]);
        assert_eq!(heard(&[(1, "100.64.0.1"), (2, "1.2.3.4")], &[]), ["1.2.3.4"]);
    }

    #[test]
    fn loopback_and_link_local_addresses_have_no_voice() {
        assert_eq!(heard(&[(1, "127.0.0.1"), (2, "169.254.1.1"), (3, "::1"), (4, "fe80::1")], &[]), [""; 0]);
        assert_eq!(heard(&[(1, "::ffff:127.0.0.1"), (2, "::ffff:10.0.0.1")], &[]), ["10.0.0.1"]);
    }

    #[test]
    fn a_tie_and_silence_leave_the_address_as_it_is() {
        assert_eq!(heard(&[(1, "10.0.0.9"), (2, "10.0.0.1")], &["10.0.0.1"]), ["10.0.0.1"]);
        assert_eq!(heard(&[], &["10.0.0.1"]), ["10.0.0.1"]);
    }

    #[test]
    fn three_new_voices_outdo_the_old_ones() {
        let old = (1..=5).map(|peer| (peer, "10.0.0.1"));
        let said: Vec<(u8, &str)> = old.chain([(6, "10.0.0.2"), (7, "10.0.0.2"), (1, "10.0.0.2")]).collect();
        assert_eq!(heard(&said, &["10.0.0.1"]), ["10.0.0.2"]);
    }

    #[test]
    fn old_voices_fall_silent() {
        let mut voices = Voices::default();
        for peer in 1..=3 {
            voices.say(NodeId([peer; 32]), "10.0.0.1".parse().unwrap(), Duration::ZERO);
        }
        voices.say(NodeId([4; 32]), "10.0.0.2".parse().unwrap(), Duration::from_secs(95));
        let current = ["10.0.0.1".parse().unwrap()];
        assert_eq!(voices.addresses(&current, Duration::from_secs(96), LOST), ["10.0.0.2".parse::<IpAddr>().unwrap()]);
    }

    #[test]
    fn a_family_that_is_silent_while_the_other_is_not_is_lost_and_the_last_one_stays() {
        let at = Duration::from_secs;
        let both: [IpAddr; 2] = ["10.0.0.1".parse().unwrap(), "2001:470::1".parse().unwrap()];
        let mut voices = Voices::since(at(0));
        voices.say(NodeId([1; 32]), both[0], at(80));
        assert_eq!(voices.addresses(&both, at(90), LOST), both);
        assert_eq!(voices.addresses(&both, at(91), LOST), [both[0]]);
        // With both silent nobody is there who could tell.
        assert_eq!(voices.addresses(&both, at(400), LOST), both);
        assert_eq!(voices.addresses(&both[1..], at(400), LOST), [both[1]]);
        voices.say(NodeId([1; 32]), both[1], at(400));
        assert_eq!(voices.addresses(&both, at(401), LOST), [both[1]]);
    }
}
