//! The connections of a node, and how many there may be.
//!
//! Anybody can make a key, so a proved identity says nothing yet: until a member has spoken through it a connection is a
//! stranger's, and strangers together, and those of one network, get a small part. Where there are too many the one
//! that was used least lately goes.

use crate::mesh::NodeId;
use quinn::{Connection, VarInt};
use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use tokio::time::{Duration, Instant};

/// All connections, by whose they are.
#[derive(Debug, Default)]
pub(super) struct Links {
    peers: HashMap<NodeId, Peer>,
    /// Networks whose handshakes are under way.
    begun: Vec<IpAddr>,
    /// How many each network has begun in this while, and when that ends.
    counted: HashMap<IpAddr, usize>,
    counted_until: Option<Instant>,
    /// Peers that were cut off, and until when.
    muted: HashMap<NodeId, Instant>,
    uses: u64,
}

#[derive(Debug, Default)]
struct Peer {
    /// The newest last.
    links: Vec<Link>,
    member: bool,
}

#[derive(Debug)]
struct Link {
    connection: Connection,
    /// In the order of uses.
    used: u64,
}

/// Where a message goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Target {
    /// Whose key has to be at the other end; any, if it is not known.
    pub(super) id: Option<NodeId>,
    /// Where.
    pub(super) to: SocketAddr,
}

/// Why a connection was closed, for the other end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Code {
    /// It is not needed, or the node ends.
    Done,
    /// What came is no message, or too much of it.
    Offence,
    /// Another key was expected here.
    Stranger,
    /// There are too many.
    Crowd,
}

/// The most connections.
const MOST: usize = 4096;
/// The most with strangers, and with those of one network: a new node is a stranger only until its record is known.
const STRANGERS: usize = 256;
const OF_ONE_NETWORK: usize = 64;
/// The most with one peer: one for each of its addresses.
const OF_ONE_PEER: usize = 4;
/// The most handshakes at once, and with one network.
const HANDSHAKES: usize = 128;
const HANDSHAKES_OF_ONE: usize = 32;
/// The most handshakes with one network in a while: each costs signatures, and even a campus behind one address does not
/// start so many machines at once.
const HANDSHAKES_IN_A_WHILE: usize = 200;
const WHILE: Duration = Duration::from_secs(10);
/// Of how many networks they are counted; more than have so many in a while are not refused for it.
const NETWORKS: usize = 4096;
/// For how long a peer stays cut off, and how many such are remembered.
const MUTE: Duration = Duration::from_secs(60);
const MUTED: usize = 4096;

impl Code {
    pub(super) fn close(self, connection: &Connection) {
        let (code, why): (u32, &[u8]) = match self {
            Code::Done => (0, b""),
            Code::Offence => (1, b"malformed or too much"),
            Code::Stranger => (2, b"another node was expected"),
            Code::Crowd => (3, b"too many connections"),
        };
        connection.close(VarInt::from_u32(code), why);
    }
}

impl Links {
    /// Takes a connection whose peer is proved; closes another, or this one, where there are too many.
    pub(super) fn add(&mut self, id: NodeId, connection: Connection) -> bool {
        if self.is_muted(&id) {
            Code::Offence.close(&connection);
            return false;
        }
        self.uses += 1;
        let used = self.uses;
        let network = network(connection.remote_address().ip());
        let peer = self.peers.entry(id).or_default();
        peer.links.push(Link { connection, used });
        if peer.links.len() > OF_ONE_PEER {
            Code::Done.close(&peer.links.remove(0).connection);
        }
        if !peer.member {
            self.thin(OF_ONE_NETWORK, |peer, link| !peer.member && link.network() == network);
            self.thin(STRANGERS, |peer, _| !peer.member);
        }
        self.thin(MOST, |_, _| true);
        true
    }

    /// Closes what was used least lately of those that `counts`, where they are more than `most`.
    fn thin(&mut self, most: usize, counts: impl Fn(&Peer, &Link) -> bool) {
        let all = self.peers.iter().flat_map(|(id, peer)| peer.links.iter().map(move |link| (id, peer, link)));
        let counted: Vec<(u64, NodeId)> =
            all.filter(|(_, peer, link)| counts(peer, link)).map(|(id, _, link)| (link.used, *id)).collect();
        if counted.len() <= most {
            return;
        }
        let Some((used, id)) = counted.into_iter().min() else { return };
        if let Some(peer) = self.peers.get_mut(&id) {
            peer.links.iter().filter(|link| link.used == used).for_each(|link| Code::Crowd.close(&link.connection));
            peer.links.retain(|link| link.used != used);
        }
    }

    /// A connection that leads there.
    pub(super) fn find(&mut self, target: &Target) -> Option<Connection> {
        self.uses += 1;
        let leads = |link: &&mut Link| link.place() == target.to && link.connection.close_reason().is_none();
        let link = match &target.id {
            Some(id) => self.peers.get_mut(id)?.links.iter_mut().rev().find(leads),
            None => self.peers.values_mut().flat_map(|peer| peer.links.iter_mut().rev()).find(leads),
        }?;
        link.used = self.uses;
        Some(link.connection.clone())
    }

    /// A connection has ended.
    pub(super) fn remove(&mut self, id: &NodeId, connection: &Connection) {
        if let Some(peer) = self.peers.get_mut(id) {
            peer.links.retain(|link| link.connection.stable_id() != connection.stable_id());
            if peer.links.is_empty() {
                self.peers.remove(id);
            }
        }
    }

    /// Something came from a peer: whether it is a member.
    pub(super) fn heard(&mut self, id: &NodeId, member: bool) {
        self.uses += 1;
        if let Some(peer) = self.peers.get_mut(id) {
            peer.member = member;
            peer.links.last_mut().into_iter().for_each(|link| link.used = self.uses);
        }
    }

    /// All connections with a peer.
    pub(super) fn of(&self, id: &NodeId) -> Vec<Connection> {
        self.peers.get(id).into_iter().flat_map(|peer| &peer.links).map(|link| link.connection.clone()).collect()
    }

    /// Takes nothing more from a peer for a while.
    pub(super) fn mute(&mut self, id: NodeId) {
        let now = Instant::now();
        self.muted.retain(|_, until| *until > now);
        if self.muted.len() < MUTED {
            self.muted.insert(id, now + MUTE);
        }
        self.of(&id).iter().for_each(|connection| Code::Offence.close(connection));
    }

    pub(super) fn is_muted(&self, id: &NodeId) -> bool {
        self.muted.get(id).is_some_and(|until| *until > Instant::now())
    }

    /// Whether a handshake with this address may begin; [`Links::end_handshake`] ends it.
    pub(super) fn begin_handshake(&mut self, ip: IpAddr) -> bool {
        let network = network(ip);
        let same = self.begun.iter().filter(|other| **other == network).count();
        let may = same < HANDSHAKES_OF_ONE && self.begun.len() < HANDSHAKES && self.count(network);
        if may {
            self.begun.push(network);
        }
        may
    }

    /// Counts a handshake; says whether the network has begun few enough in this while.
    fn count(&mut self, network: IpAddr) -> bool {
        let now = Instant::now();
        if self.counted_until.is_none_or(|until| until <= now) {
            self.counted.clear();
            self.counted_until = Some(now + WHILE);
        }
        if self.counted.len() >= NETWORKS && !self.counted.contains_key(&network) {
            return true;
        }
        let count = self.counted.entry(network).or_default();
        *count = count.saturating_add(1);
        *count <= HANDSHAKES_IN_A_WHILE
    }

    pub(super) fn end_handshake(&mut self, ip: IpAddr) {
        let network = network(ip);
        if let Some(at) = self.begun.iter().position(|other| *other == network) {
            self.begun.swap_remove(at);
        }
    }
}

impl Link {
    fn place(&self) -> SocketAddr {
        place_of(&self.connection)
    }

    fn network(&self) -> IpAddr {
        network(self.connection.remote_address().ip())
    }
}

/// Where the other end is: an IPv4 address as such, whatever the socket calls it.
pub(super) fn place_of(connection: &Connection) -> SocketAddr {
    let at = connection.remote_address();
    SocketAddr::new(at.ip().to_canonical(), at.port())
}

/// What one machine can have many addresses of: an IPv4 address is alone, of IPv6 the first 64 bits are.
fn network(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V6(ip) => {
            let [a, b, c, d, ..] = ip.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn handshakes_of_one_network_leave_room_for_others() {
        let mut links = Links::default();
        let begun =
            (0u16..100).filter(|n| links.begin_handshake(Ipv6Addr::new(0x2001, 0x470, 1, 1, 0, 0, 0, *n).into()));
        assert_eq!(begun.count(), HANDSHAKES_OF_ONE);
        assert!(links.begin_handshake("192.0.2.1".parse().unwrap()));
        assert!(links.begin_handshake("::ffff:192.0.2.1".parse().unwrap()), "it is the same address");
        links.end_handshake("2001:470:1:1::7".parse().unwrap());
        assert!(links.begin_handshake("2001:470:1:1::9".parse().unwrap()));
        assert!(!links.begin_handshake("2001:470:1:1::9".parse().unwrap()));
    }

    #[test]
    fn one_network_begins_only_so_many_handshakes_in_a_while() {
        let mut links = Links::default();
        let mut begin = |ip: &str| {
            let ip = ip.parse().unwrap();
            let begun = links.begin_handshake(ip);
            if begun {
                links.end_handshake(ip);
            }
            begun
        };
        // On a slow machine a while may end amid them.
        let begun = (0..1000).filter(|_| begin("192.0.2.1")).count();
        assert!((HANDSHAKES_IN_A_WHILE..1000).contains(&begun), "{begun}");
        assert!(begin("192.0.2.2"));
    }

    #[test]
    fn handshakes_are_bounded_whoever_begins_them() {
        let mut links = Links::default();
        let begun =
            (0u16..400).filter(|n| links.begin_handshake(Ipv6Addr::new(0x2001, 0x470, 1, *n, 0, 0, 0, 1).into()));
        assert_eq!(begun.count(), HANDSHAKES);
    }
}
