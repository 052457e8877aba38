//! The members as one node knows them: their records, whether they live, who has which name, and the numbers that
//! tell whether two nodes know the same.
//!
//! The node itself is in it. Live and suspected members count, in the view, in the numbers and in exchanges; those
//! that are gone are kept apart, so that they can be looked for and are not taken for new when another tells of them.

use super::chance::Chance;
use super::identity::NodeId;
use super::message::BUCKETS;
use super::record::{Label, Record, Role};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

/// The members.
#[derive(Debug)]
pub(super) struct Table {
    own: NodeId,
    peers: BTreeMap<NodeId, Peer>,
    /// Claims of those that count: the first of a name's has it.
    names: BTreeSet<(Label, u64, NodeId)>,
    buckets: Box<[u64; BUCKETS]>,
    counted: u32,
    /// The order in which peers are asked whether they live: each once in a round, so that none is overlooked.
    round: Vec<NodeId>,
    at: usize,
    /// Who was a member and was forgotten: it comes back after its ticket's end.
    once: BTreeSet<NodeId>,
}

/// One member.
#[derive(Debug)]
pub(super) struct Peer {
    pub(super) record: Arc<Record>,
    pub(super) state: State,
    /// When and where it was last heard by this node itself.
    pub(super) heard: Option<(Duration, SocketAddr)>,
    /// Where it was before, the newest last.
    earlier: Vec<SocketAddr>,
}

/// Whether a member lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Live,
    /// Somebody got no answer; the member has until the suspicion's end to say otherwise.
    Suspect,
    Gone {
        since: Duration,
    },
}

impl State {
    pub(super) fn counts(self) -> bool {
        !matches!(self, State::Gone { .. })
    }
}

/// The most members, gone ones included.
const MOST: usize = 32_768;
/// How many earlier places of a peer are kept.
const EARLIER: usize = 4;
/// How many former members are remembered.
const ONCE: usize = 65_536;

impl Table {
    pub(super) fn new(own: NodeId) -> Table {
        Table {
            own,
            peers: BTreeMap::new(),
            names: BTreeSet::new(),
            buckets: Box::new([0; BUCKETS]),
            counted: 0,
            round: Vec::new(),
            at: 0,
            once: BTreeSet::new(),
        }
    }

    pub(super) fn peer(&self, id: &NodeId) -> Option<&Peer> {
        self.peers.get(id)
    }

    pub(super) fn peers(&self) -> impl Iterator<Item = &Peer> {
        self.peers.values()
    }

    /// Those that count, this node included.
    pub(super) fn counted(&self) -> impl Iterator<Item = &Peer> {
        self.peers.values().filter(|peer| peer.state.counts())
    }

    /// All in some buckets, in the order of ids.
    pub(super) fn in_buckets(&self, buckets: u64) -> impl Iterator<Item = &Peer> {
        let wanted = (0u8..64).filter(move |bucket| (buckets >> bucket) & 1 == 1);
        wanted.flat_map(|bucket| {
            let (mut from, mut to) = ([0; 32], [255; 32]);
            from.first_mut().into_iter().for_each(|octet| *octet = bucket << 2);
            to.first_mut().into_iter().for_each(|octet| *octet = (bucket << 2) | 3);
            self.peers.range(NodeId(from)..=NodeId(to)).map(|(_, peer)| peer)
        })
    }

    pub(super) fn counts(&self, id: &NodeId) -> bool {
        self.peers.get(id).is_some_and(|peer| peer.state.counts())
    }

    /// How many count, this node included.
    pub(super) fn len(&self) -> u32 {
        self.counted
    }

    pub(super) fn is_full(&self) -> bool {
        self.peers.len() >= MOST
    }

    pub(super) fn was_member(&self, id: &NodeId) -> bool {
        self.peers.contains_key(id) || self.once.contains(id)
    }

    /// A former member.
    pub(super) fn was_once(&mut self, id: NodeId) {
        if self.once.len() < ONCE {
            self.once.insert(id);
        }
    }

    /// The former members.
    pub(super) fn former(&self) -> impl Iterator<Item = NodeId> {
        self.once.iter().copied()
    }

    /// Those that are gone are so since now, for a node that starts.
    pub(super) fn gone_since(&mut self, now: Duration) {
        for peer in self.peers.values_mut().filter(|peer| !peer.state.counts()) {
            peer.state = State::Gone { since: now };
        }
    }

    /// Whoever of those that count claimed the name first; of two at the same time the one with the lower id.
    pub(super) fn holder(&self, name: &Label) -> Option<NodeId> {
        let from = (name.clone(), 0, NodeId([0; 32]));
        self.names.range(from..).next().filter(|(found, _, _)| found == name).map(|(_, _, id)| *id)
    }

    pub(super) fn buckets(&self) -> &[u64; BUCKETS] {
        &self.buckets
    }

    /// The exclusive or of all fingerprints.
    pub(super) fn fingerprint(&self) -> u64 {
        self.buckets.iter().fold(0, |all, bucket| all ^ bucket)
    }

    /// Takes a record that is newer than what is known; says whether the view changed.
    pub(super) fn put(&mut self, record: Arc<Record>, now: Duration, chance: &mut Chance) -> bool {
        let id = record.claim.id;
        let state = if record.claim.lease == 0 { State::Gone { since: now } } else { State::Live };
        let Some(before) = self.peers.remove(&id) else {
            if id != self.own {
                self.enlist(id, chance);
            }
            let peer = Peer { record, state, heard: None, earlier: Vec::new() };
            self.count(&peer);
            let changed = peer.state.counts();
            self.peers.insert(id, peer);
            return changed;
        };
        self.uncount(&before);
        let (old, new) = (&before.record.claim, &record.claim);
        let changed = before.state.counts() != state.counts()
            || (state.counts() && (old.addresses != new.addresses || old.name != new.name || old.since != new.since));
        let moved: Vec<SocketAddr> =
            old.addresses.iter().map(|ip| SocketAddr::new(*ip, old.port)).filter(|at| !lists(new, at)).collect();
        let back = !before.state.counts();
        let mut peer = Peer { record, state, ..before };
        moved.into_iter().for_each(|at| peer.was_at(at));
        if back && id != self.own && !self.round.contains(&id) {
            self.enlist(id, chance);
        }
        self.count(&peer);
        self.peers.insert(id, peer);
        changed
    }

    fn enlist(&mut self, id: NodeId, chance: &mut Chance) {
        self.round.push(id);
        let last = self.round.len().saturating_sub(1);
        let place = chance.below(self.round.len());
        self.round.swap(place, last);
    }

    fn count(&mut self, peer: &Peer) {
        if peer.state.counts() {
            let claim = &peer.record.claim;
            self.counted = self.counted.saturating_add(1);
            self.names.insert((claim.name.clone(), claim.since, claim.id));
            self.mix(peer);
        }
    }

    fn uncount(&mut self, peer: &Peer) {
        if peer.state.counts() {
            let claim = &peer.record.claim;
            self.counted = self.counted.saturating_sub(1);
            self.names.remove(&(claim.name.clone(), claim.since, claim.id));
            self.mix(peer);
        }
    }

    fn mix(&mut self, peer: &Peer) {
        if let Some(bucket) = self.buckets.get_mut(bucket_of(&peer.record.claim.id)) {
            *bucket ^= peer.record.fingerprint();
        }
    }

    /// A peer was heard; says whether that ended a suspicion. One that is gone stays so until its next record, which
    /// others can believe.
    pub(super) fn heard(&mut self, id: &NodeId, at: SocketAddr, now: Duration) -> bool {
        let Some(peer) = self.peers.get_mut(id) else { return false };
        if let Some((_, before)) = peer.heard.filter(|(_, before)| *before != at) {
            peer.was_at(before);
        }
        peer.heard = Some((now, at));
        let suspected = peer.state == State::Suspect;
        if suspected {
            peer.state = State::Live;
        }
        suspected
    }

    /// Suspects a live peer with just this record; says whether that is new.
    pub(super) fn suspect(&mut self, id: &NodeId, sequence: u64) -> bool {
        match self.peers.get_mut(id) {
            Some(peer) if peer.state == State::Live && peer.record.claim.sequence == sequence => {
                peer.state = State::Suspect;
                true
            }
            _ => false,
        }
    }

    /// Takes a peer out of the view; says whether it was there.
    pub(super) fn bury(&mut self, id: &NodeId, now: Duration) -> bool {
        let Some(mut peer) = self.peers.remove(id) else { return false };
        self.uncount(&peer);
        let counted = peer.state.counts();
        if counted {
            peer.state = State::Gone { since: now };
        }
        self.peers.insert(*id, peer);
        counted
    }

    /// Drops a peer; says whether it was in the view.
    pub(super) fn forget(&mut self, id: &NodeId) -> bool {
        let Some(peer) = self.peers.remove(id) else { return false };
        self.uncount(&peer);
        self.round.retain(|other| other != id);
        self.was_once(*id);
        peer.state.counts()
    }

    /// The next `count` peers of the round.
    pub(super) fn next_in_round(&mut self, count: usize, chance: &mut Chance) -> Vec<NodeId> {
        let mut next = Vec::with_capacity(count);
        // A new round may begin on the way; nobody is asked twice at once.
        let mut rounds = 0;
        while next.len() < count && rounds < 2 {
            match self.round.get(self.at).copied() {
                Some(id) => {
                    self.at = self.at.saturating_add(1);
                    if self.counts(&id) && !next.contains(&id) {
                        next.push(id);
                    }
                }
                None => {
                    rounds += 1;
                    self.at = 0;
                    let peers = &self.peers;
                    self.round.retain(|id| peers.get(id).is_some_and(|peer| peer.state.counts()));
                    chance.shuffle(&mut self.round);
                }
            }
        }
        next
    }

    /// Up to `count` peers that count, by chance, without `except`.
    pub(super) fn pick(&self, count: usize, except: &NodeId, chance: &mut Chance) -> Vec<NodeId> {
        let mut picked: Vec<NodeId> = Vec::with_capacity(count);
        // Some of the round may be gone, and the same may come up again; a bound ends it.
        for _ in 0..count.saturating_mul(4) {
            let Some(id) = self.round.get(chance.below(self.round.len())) else { break };
            if picked.len() < count && id != except && self.counts(id) && !picked.contains(id) {
                picked.push(*id);
            }
        }
        picked
    }

    /// Those that are gone but had not left, the longest gone first.
    pub(super) fn lost(&self) -> Vec<NodeId> {
        let mut lost: Vec<(Duration, NodeId)> = self
            .peers
            .values()
            .filter_map(|peer| match peer.state {
                State::Gone { since } if peer.record.claim.lease > 0 => Some((since, peer.record.claim.id)),
                _ => None,
            })
            .collect();
        lost.sort_unstable();
        lost.into_iter().map(|(_, id)| id).collect()
    }

    /// The servers that count.
    pub(super) fn servers(&self) -> impl Iterator<Item = &Peer> {
        self.counted().filter(|peer| peer.record.claim.role == Role::Server)
    }
}

/// Which bucket a node is in.
pub(super) fn bucket_of(id: &NodeId) -> usize {
    id.0.first().map_or(0, |octet| usize::from(octet >> 2))
}

fn lists(claim: &super::record::Claim, at: &SocketAddr) -> bool {
    claim.port == at.port() && claim.addresses.contains(&at.ip())
}

impl Peer {
    fn was_at(&mut self, at: SocketAddr) {
        self.earlier.retain(|other| *other != at);
        self.earlier.push(at);
        if self.earlier.len() > EARLIER {
            self.earlier.remove(0);
        }
    }

    /// Where to try: first where it was heard, then what it says, then where it was before.
    pub(super) fn places(&self) -> Vec<SocketAddr> {
        let claim = &self.record.claim;
        let heard = self.heard.map(|(_, at)| at);
        let said = claim.addresses.iter().map(|ip: &IpAddr| SocketAddr::new(*ip, claim.port));
        let mut places: Vec<SocketAddr> = Vec::new();
        for at in heard.into_iter().chain(said).chain(self.earlier.iter().rev().copied()) {
            if !places.contains(&at) {
                places.push(at);
            }
        }
        places
    }
}

#[cfg(test)]
mod tests {
    use super::super::identity::SecretKey;
    use super::super::record::tests::{claim, steward};
    use super::*;

    fn record(seed: u8, name: &str, sequence: u64, since: u64) -> Arc<Record> {
        let key = SecretKey::from_seed(&[seed; 32]).unwrap();
        let claim = super::super::record::Claim { sequence, since, ..claim(&key, name) };
        Arc::new(Record::sign(claim, steward().mesh(), &key))
    }

    fn table(records: &[Arc<Record>]) -> Table {
        let mut table = Table::new(NodeId([0; 32]));
        for record in records {
            table.put(record.clone(), Duration::ZERO, &mut Chance::new(1));
        }
        table
    }

    #[test]
    fn the_fingerprint_depends_on_what_counts_and_not_on_the_way_there() {
        let (a, b, c) = (record(1, "a", 1, 1), record(2, "b", 1, 1), record(3, "c", 1, 1));
        let one = table(&[a.clone(), b.clone()]);
        let mut other = table(&[c.clone(), record(2, "b", 0, 1), a]);
        other.put(b, Duration::ZERO, &mut Chance::new(1));
        assert!(other.fingerprint() != one.fingerprint() && other.len() == 3);
        assert!(other.bury(&c.claim.id, Duration::ZERO));
        assert!(!other.bury(&c.claim.id, Duration::ZERO));
        assert_eq!((other.fingerprint(), other.buckets(), other.len()), (one.fingerprint(), one.buckets(), 2));
    }

    #[test]
    fn a_name_belongs_to_the_first_claimant_while_it_lives() {
        let (first, second) = (record(1, "nas", 1, 10), record(2, "nas", 1, 20));
        let mut table = table(&[second.clone(), first.clone()]);
        let name = Label::new("nas").unwrap();
        assert_eq!(table.holder(&name), Some(first.claim.id));
        table.bury(&first.claim.id, Duration::ZERO);
        assert_eq!(table.holder(&name), Some(second.claim.id));
        table.forget(&second.claim.id);
        assert_eq!(table.holder(&name), None);
    }

    #[test]
    fn a_round_asks_each_peer_once() {
        let records: Vec<Arc<Record>> = (1..=7).map(|seed| record(seed, &format!("n{seed}"), 1, 1)).collect();
        let mut table = table(&records);
        let mut chance = Chance::new(5);
        table.next_in_round(7, &mut chance);
        let mut asked: Vec<NodeId> = (0..7).flat_map(|_| table.next_in_round(1, &mut chance)).collect();
        asked.sort_unstable();
        asked.dedup();
        assert_eq!(asked.len(), 7);
        assert_eq!(table.next_in_round(20, &mut chance).len(), 7);
    }

    #[test]
    fn a_suspicion_of_another_record_changes_nothing() {
        let peer = record(1, "a", 5, 1);
        let mut table = table(std::slice::from_ref(&peer));
        assert!(!table.suspect(&peer.claim.id, 4) && !table.suspect(&peer.claim.id, 6));
        assert!(table.suspect(&peer.claim.id, 5) && !table.suspect(&peer.claim.id, 5));
    }

    #[test]
    fn a_peer_is_tried_where_it_was_heard_then_where_it_says_then_where_it_was() {
        let peer = record(1, "a", 5, 1);
        let mut table = table(std::slice::from_ref(&peer));
        for at in ["192.168.1.8:7", "192.168.1.9:7"] {
            table.heard(&peer.claim.id, at.parse().unwrap(), Duration::ZERO);
        }
        let places: Vec<String> =
            table.peer(&peer.claim.id).unwrap().places().iter().map(|at| at.to_string()).collect();
        assert_eq!(places, ["192.168.1.9:7", "192.168.1.7:5399", "[2001:470::7]:5399", "192.168.1.8:7"]);
    }
}
