//! Who lives, and where.
//!
//! At each heartbeat a node asks the next [`AT_A_TIME`] peers of its round. One that does not answer is asked again
//! at the next address known of it; after [`FAILURES`] failures some peers are asked where it is now, and
//! they look for it themselves. With no answer either it is suspected, which all hear, itself included if it lives:
//! then it signs a new record, which nobody else can. Otherwise it is gone when the suspicion ends. So what one
//! member says of another is never more than a suspicion.
//!
//! From silence to gone: at most some heartbeats until somebody asks, 3 times 5 s, 5 s, 30 s; under 90 s.

use super::identity::NodeId;
use super::message::{Beat, Message, News};
use super::news::AT_ONCE;
use super::node::{Life, Node};
use super::record::Role;
use super::table::State;
use super::ticket::Contact;
use sha2::{Digest, Sha256};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// A peer that was asked and has not answered.
#[derive(Debug)]
pub(super) struct Probe {
    failures: u32,
    /// It was asked in the other family first, and at its first place after that.
    other_first: bool,
    pub(super) deadline: Duration,
}

/// When what is to be done next.
#[derive(Debug, Default)]
pub(super) struct Due {
    pub(super) beat: Duration,
    pub(super) announce: Duration,
    pub(super) full: Duration,
    pub(super) minute: Duration,
    /// News waits a moment, so that what comes together goes together.
    pub(super) flush: Option<Duration>,
    /// A new record is signed.
    pub(super) publish: Option<Duration>,
    /// Until then it asks in both families where it is seen.
    pub(super) settled: Duration,
    /// Until then it has moved lately.
    pub(super) moved: Duration,
    /// Not before this is there another heartbeat out of turn.
    pub(super) hurry: Duration,
    /// Not before this is another exchange begun.
    pub(super) exchange: Duration,
}

/// How many peers a node asks at each heartbeat: all of a small mesh, and in a large one each is asked within two.
const AT_A_TIME: usize = 3;
/// After how many failures others are asked.
const FAILURES: u32 = 3;
/// How many are asked where a lost peer is.
const ASKED: usize = 3;
/// With how many a node compares at once.
const COMPARED: usize = 2;
/// How many may wait for news of one peer.
const ASKERS: usize = 8;
/// For how long a node that came or moved asks peers in both families where they see it.
pub(super) const SETTLING: Duration = Duration::from_secs(60);
/// A family in which nobody has seen this node for so long is no more among its addresses: as soon as a silent node is gone
/// from all views. Peers are asked in it from a third of that on.
const LOST: Duration = Duration::from_secs(90);
/// The same in heartbeats, where these are far apart.
const LOST_BEATS: u32 = 6;
/// So far apart are heartbeats out of turn at the least: a peer that says something new each time gains little.
const BETWEEN_HURRIES: Duration = Duration::from_secs(5);
/// How long news waits for more.
const GATHER: Duration = Duration::from_millis(500);
/// A gone peer is dropped after this, unless there is nobody else.
const FORGOTTEN: Duration = Duration::from_secs(3600);

impl Node {
    pub(super) fn do_what_is_due(&mut self) {
        let now = self.now.ticks;
        self.join_if_due();
        if self.life != Life::Inside {
            return;
        }
        let late: Vec<NodeId> =
            self.probes.iter().filter(|(_, probe)| probe.deadline <= now).map(|(id, _)| *id).collect();
        for id in late {
            self.unanswered(id);
        }
        while let Some((_, id, sequence)) = self.suspicions.front().copied().filter(|(until, _, _)| *until <= now) {
            self.suspicions.pop_front();
            let still = self.table.peer(&id).is_some_and(|peer| peer.record.claim.sequence == sequence);
            if still && self.state_of(&id) == Some(State::Suspect) {
                self.bury(&id);
            }
        }
        if self.due.beat <= now {
            // What one who has moved asks first, in one family, may go by connections that ended with the move.
            let pause = self.settings.heartbeat.checked_div(if self.due.moved > now { 2 } else { 1 });
            self.due.beat = now.saturating_add(pause.unwrap_or(self.settings.heartbeat));
            self.heartbeat();
        }
        if self.due.minute <= now {
            self.due.minute = now.saturating_add(Duration::from_secs(60));
            self.look_after();
        }
        if self.due.publish.is_some_and(|at| at <= now) {
            self.republish();
        }
        if self.due.flush.is_some_and(|at| at <= now) {
            self.due.flush = None;
            self.flush();
        }
    }

    fn heartbeat(&mut self) {
        let now = self.now.ticks;
        let announce = self.due.announce <= now;
        if announce {
            self.due.announce = now.saturating_add(self.settings.announce);
        }
        // Where the last answer showed other knowledge the next comparison does not wait for the announcement.
        let mut compare = announce || self.differs;
        self.differs = false;
        for id in self.table.next_in_round(AT_A_TIME, &mut self.chance) {
            let waits = self.probes.contains_key(&id);
            let asked = if waits { None } else { self.probe(id, None, std::mem::take(&mut compare)) };
            self.ask_in_the_other_family(id, asked);
        }
        self.ask_contacts_of_the_other_family();
        self.ask_in_the_silent_family();
        // Lost peers are looked for, each in its turn: by that a mesh that was split finds itself again, and a node
        // with nobody left never gives up.
        let alone = self.table.len() <= 1;
        if announce || alone {
            self.look_for_the_lost(if alone { AT_A_TIME } else { 1 });
        }
        // All may have moved at once, and then only those that stay where they are can tell.
        if alone && !(self.contacts.is_empty() && self.nearby.is_empty()) && self.joining.is_none() {
            self.begin_joining(true);
        }
        if self.due.full <= now {
            self.due.full = now.saturating_add(self.settings.full);
            self.look_nearby();
            for id in self.table.pick(1, &self.id.clone(), &mut self.chance) {
                let place = self.table.peer(&id).and_then(|peer| peer.places().first().copied());
                place.into_iter().for_each(|at| self.send_known(id, at, u64::MAX));
            }
        }
    }

    fn look_for_the_lost(&mut self, count: usize) {
        let lost = self.table.lost();
        for _ in 0..count.min(lost.len()) {
            self.look = self.look.wrapping_add(1);
            let Some(id) = self.look.checked_rem(lost.len()).and_then(|at| lost.get(at)) else { return };
            let Some(peer) = self.table.peer(id) else { return };
            let (places, sequence) = (peer.places(), peer.record.claim.sequence);
            places.into_iter().for_each(|to| self.look_for(*id, sequence, to));
        }
    }

    /// Asks one that is lost. It is told that it is thought gone: if it lives it signs a new record.
    pub(super) fn look_for(&mut self, id: NodeId, sequence: u64, to: SocketAddr) {
        self.number = self.number.wrapping_add(1);
        let mut beat = self.beat(self.number, to, true);
        beat.news.push(News::Suspect(id, sequence));
        self.send(Some(id), to, &Message::Ping(beat));
    }

    /// Asks a peer whether it lives, at the address whose turn it is after the `last` try. Returns that.
    fn probe(&mut self, id: NodeId, last: Option<Probe>, compare: bool) -> Option<SocketAddr> {
        let peer = self.table.peer(&id)?;
        let mut places = peer.places();
        // Of a peer with both families each is used in turn, so that both see this node's addresses.
        let other = places.iter().position(|at| places.first().is_some_and(|first| first.is_ipv4() != at.is_ipv4()));
        let failures = last.as_ref().map_or(0, |last| last.failures);
        let other_first = match last {
            Some(last) => last.other_first,
            None => (self.addresses.len() > 1 || self.chance.below(8) == 0) && self.chance.below(2) == 0,
        };
        // The first place comes right after it: a whole family may be gone.
        let turned = other.filter(|_| other_first).and_then(|other| places.get_mut(..=other));
        turned.into_iter().for_each(|places| places.rotate_right(1));
        let turn = usize::try_from(failures).unwrap_or(0).checked_rem(places.len());
        let deadline = self.now.ticks.saturating_add(self.settings.timeout);
        self.probes.insert(id, Probe { failures, other_first, deadline });
        // A peer that nobody has seen yet has no address; it will be asked for like any that is lost.
        let to = turn.and_then(|turn| places.get(turn)).copied()?;
        self.number = self.number.wrapping_add(1);
        let beat = self.beat(self.number, to, compare);
        self.send(Some(id), to, &Message::Ping(beat));
        Some(to)
    }

    /// A node that has just come, or moved, asks a peer in the family that it did not ask in, too; in both, where it waits
    /// for an answer from before. That nobody answers there says nothing of the peer.
    fn ask_in_the_other_family(&mut self, id: NodeId, asked: Option<SocketAddr>) {
        let settled = self.due.settled <= self.now.ticks || !self.settings.advertise.is_empty();
        let Some(peer) = self.table.peer(&id).filter(|_| !settled) else { return };
        let places = peer.places();
        for v4 in [true, false].into_iter().filter(|v4| asked.is_none_or(|asked| asked.is_ipv4() != *v4)) {
            let to = places.iter().find(|at| at.is_ipv4() == v4).copied();
            to.into_iter().for_each(|to| self.ask(Some(id), to));
        }
    }

    /// A node that has just come, or moved, asks the contacts of the family in which it does not know itself: where all
    /// joined in one family nobody would ever learn of the other.
    fn ask_contacts_of_the_other_family(&mut self) {
        // Now and then one that has been there for long does, too: the family may be back.
        let (settled, now_and_then) = (self.due.settled <= self.now.ticks, self.due.full <= self.now.ticks);
        if (settled && !now_and_then) || !self.settings.advertise.is_empty() || self.addresses.is_empty() {
            return;
        }
        let unknown = |contact: &&Contact| self.addresses.iter().all(|own| own.is_ipv4() != contact.address.is_ipv4());
        let contacts: Vec<Contact> = self.contacts.iter().filter(unknown).take(AT_A_TIME).copied().collect();
        for contact in contacts {
            self.ask(contact.id, contact.address);
        }
    }

    /// Asks peers in a family in which nobody has seen this node for a while. They may all have asked in the other, or
    /// few have it; where none of them answers it is lost.
    fn ask_in_the_silent_family(&mut self) {
        if !self.settings.advertise.is_empty() {
            return;
        }
        for v4 in self.addresses.iter().map(IpAddr::is_ipv4).collect::<Vec<_>>() {
            if self.voices.silence(v4, self.now.ticks) < self.lost_after() / 3 {
                continue;
            }
            let claims = self.table.counted().map(|peer| &peer.record.claim).filter(|claim| claim.id != self.id);
            let peers = claims.filter_map(|claim| {
                let ip = claim.addresses.iter().find(|ip| ip.is_ipv4() == v4)?;
                Some((Some(claim.id), SocketAddr::new(*ip, claim.port)))
            });
            let contacts = self.contacts.iter().filter(|contact| contact.address.is_ipv4() == v4);
            let mut places: Vec<(Option<NodeId>, SocketAddr)> =
                peers.chain(contacts.map(|contact| (contact.id, contact.address))).collect();
            self.chance.shuffle(&mut places);
            places.into_iter().take(AT_A_TIME).for_each(|(id, to)| self.ask(id, to));
        }
    }

    /// After how long a silence a family is lost.
    fn lost_after(&self) -> Duration {
        LOST.max(self.settings.heartbeat.saturating_mul(LOST_BEATS))
    }

    /// Asks where it is seen, without news, for that is passed on so many times and no more.
    fn ask(&mut self, id: Option<NodeId>, to: SocketAddr) {
        self.number = self.number.wrapping_add(1);
        let (number, summary) = (self.number, self.summary());
        let beat = Beat { number, seen: to, summary, compare: false, news: Vec::new() };
        self.send(id, to, &Message::Ping(beat));
    }

    fn unanswered(&mut self, id: NodeId) {
        let Some(probe) = self.probes.remove(&id) else { return };
        let failures = probe.failures.saturating_add(1);
        if failures > FAILURES {
            let sequence = self.table.peer(&id).map_or(0, |peer| peer.record.claim.sequence);
            return self.suspect(id, sequence);
        }
        // A node that moved does not wait: what moved it may have moved the other.
        let moved = self.due.settled > self.now.ticks;
        if failures == FAILURES || (moved && failures == 1) {
            for other in self.table.pick(ASKED, &id, &mut self.chance) {
                self.send_to(&other, &Message::Where(id));
            }
        }
        self.probe(id, Some(Probe { failures, ..probe }), false);
        self.ask_nearby(id);
    }

    /// Suspects a peer with just this record, and says so.
    pub(super) fn suspect(&mut self, id: NodeId, sequence: u64) {
        if self.table.suspect(&id, sequence) {
            self.suspicions.push_back((self.now.ticks.saturating_add(self.settings.suspicion), id, sequence));
            self.spread(id);
        }
    }

    /// A member spoke: it lives, and is where it spoke from.
    pub(super) fn hear(&mut self, from: NodeId, at: SocketAddr) {
        let now = self.now.ticks;
        if self.table.heard(&from, at, now) {
            self.suspicions.retain(|(_, id, _)| *id != from);
        }
        self.probes.remove(&from);
        if let Some(until) = self.watchers.get_mut(&from) {
            *until = now;
        }
        for (asker, place) in self.askers.remove(&from).unwrap_or_default() {
            self.send(Some(asker), place, &Message::There { id: from, at, age: 0 });
        }
    }

    pub(super) fn pinged(&mut self, from: NodeId, at: SocketAddr, beat: Beat) {
        self.see(from, &beat);
        let compare = beat.compare && beat.summary != self.summary();
        self.learn(from, beat.news);
        let mut pong = self.beat(beat.number, at, false);
        if let Some(peer) = self.table.peer(&from).filter(|peer| matches!(peer.state, State::Gone { .. })) {
            pong.news.push(News::Suspect(from, peer.record.claim.sequence));
        }
        self.send(Some(from), at, &Message::Pong(pong));
        if compare {
            self.send_buckets(from, at, beat.summary.edicts);
        }
    }

    pub(super) fn ponged(&mut self, from: NodeId, beat: Beat) {
        self.see(from, &beat);
        self.learn(from, beat.news);
        if beat.summary != self.summary() {
            self.differs = true;
            // A new one, or one that has moved, has more to hear than it can wait for.
            if self.due.settled > self.now.ticks {
                self.hurry();
            }
        }
        // A gone peer that answers is told; its next record brings it back.
        if let Some(peer) = self.table.peer(&from).filter(|peer| matches!(peer.state, State::Gone { .. })) {
            let news = vec![News::Suspect(from, peer.record.claim.sequence)];
            self.send_to(&from, &Message::Tell { news, wants: Vec::new() });
        }
    }

    fn see(&mut self, from: NodeId, beat: &Beat) {
        self.seen_at(from, beat.seen);
    }

    /// A new node, or one that has moved, hears of a peer: where that has a family in which this node does not know itself
    /// it can tell, now rather than at the next heartbeat.
    pub(super) fn hurry_where_it_can_tell(&mut self, addresses: &[IpAddr]) {
        let knows = |v4| self.addresses.iter().any(|own| own.is_ipv4() == v4);
        let tells = addresses.iter().any(|ip| !knows(ip.is_ipv4()));
        if tells && self.due.settled > self.now.ticks && self.settings.advertise.is_empty() {
            self.hurry();
        }
    }

    /// A heartbeat out of turn, as soon as the last such one is not just over.
    fn hurry(&mut self) {
        let at = self.due.hurry.max(self.now.ticks);
        if at < self.due.beat && !self.addresses.is_empty() {
            self.due.hurry = at.saturating_add(BETWEEN_HURRIES);
            self.due.beat = at;
        }
    }

    /// A peer sees this node at an address.
    pub(super) fn seen_at(&mut self, by: NodeId, at: SocketAddr) {
        let now = self.now.ticks;
        let news = self.voices.say(by, at.ip(), now) && !self.addresses.contains(&at.ip().to_canonical());
        if news && self.settings.advertise.is_empty() {
            // What one peer says counts for little: the others are asked now.
            self.due.settled = now.saturating_add(SETTLING);
            if !self.addresses.is_empty() {
                self.due.moved = now.saturating_add(self.settings.heartbeat.saturating_mul(2));
            }
            self.hurry();
        }
        let addresses = self.voices.addresses(&self.addresses, now, self.lost_after());
        if addresses != self.addresses {
            let homeless = self.addresses.is_empty();
            self.addresses = addresses;
            if self.settings.advertise.is_empty() {
                self.out.push(super::event::Action::Addresses(self.addresses.clone()));
                if homeless { self.republish() } else { self.republish_soon() }
            }
        }
    }

    pub(super) fn asked_where(&mut self, from: NodeId, at: SocketAddr, id: NodeId) {
        let now = self.now.ticks;
        let Some(peer) = self.table.peer(&id).filter(|_| id != self.id) else { return };
        if let Some((heard, place)) = peer.heard {
            let age = u16::try_from(now.saturating_sub(heard).as_secs()).unwrap_or(u16::MAX);
            self.send(Some(from), at, &Message::There { id, at: place, age });
        }
        // It may have moved since: whoever is asked looks for it, too.
        let askers = self.askers.entry(id).or_default();
        if askers.len() < ASKERS && !askers.iter().any(|(asker, _)| *asker == from) {
            askers.push((from, at));
        }
        if !self.probes.contains_key(&id) && self.table.counts(&id) {
            self.probe(id, None, false);
        }
    }

    /// Another heard a lost peer: it is tried there. A false address costs one ping, for only the peer can answer it.
    pub(super) fn told_where(&mut self, id: NodeId, at: SocketAddr, _age: u16) {
        if !self.probes.contains_key(&id) || !super::address::publishable(at.ip()) {
            return;
        }
        self.number = self.number.wrapping_add(1);
        let beat = self.beat(self.number, at, false);
        self.send(Some(id), at, &Message::Ping(beat));
    }

    /// Passes on what is new about a member.
    pub(super) fn spread(&mut self, id: NodeId) {
        self.queue.peer(id);
        self.flush_soon();
    }

    pub(super) fn flush_soon(&mut self) {
        if self.due.flush.is_none() {
            let wait = GATHER.saturating_add(self.part_of(GATHER));
            self.due.flush = Some(self.now.ticks.saturating_add(wait));
        }
    }

    fn flush(&mut self) {
        let compare = std::mem::take(&mut self.queue.compare);
        let news = self.queue.take(AT_ONCE, &self.table, &self.edicts);
        for (number, id) in self.table.pick(AT_ONCE, &self.id.clone(), &mut self.chance).into_iter().enumerate() {
            if compare && number < COMPARED {
                let Some(to) = self.table.peer(&id).and_then(|peer| peer.places().first().copied()) else { continue };
                self.number = self.number.wrapping_add(1);
                let summary = self.summary();
                let beat = Beat { number: self.number, seen: to, summary, compare, news: news.clone() };
                self.send(Some(id), to, &Message::Ping(beat));
            } else if !news.is_empty() {
                self.send_to(&id, &Message::Tell { news: news.clone(), wants: Vec::new() });
            }
        }
    }

    /// What is done once a minute: renew what ends, drop what is over, and as a server ask the quiet.
    fn look_after(&mut self) {
        let (now, unix) = (self.now.ticks, self.now.unix);
        self.budgets.retain(|_, budget| !budget.is_idle(now));
        self.askers.clear();
        let fresh = |since: &Duration| now.saturating_sub(*since) < Duration::from_secs(300);
        self.watchers.retain(|_, since| fresh(since));
        let third = u64::from(self.settings.lease / 3);
        if self.issued.saturating_add(third) <= unix {
            self.republish();
        }
        let ended: Vec<NodeId> = self
            .table
            .counted()
            .map(|peer| &peer.record.claim)
            .filter(|claim| claim.id != self.id && !self.is_timely(claim))
            .map(|claim| claim.id)
            .collect();
        for id in ended {
            self.bury(&id);
        }
        if self.table.len() > 1 {
            let old = |state| matches!(state, State::Gone { since } if now.saturating_sub(since) > FORGOTTEN);
            let old: Vec<NodeId> =
                self.table.peers().filter(|peer| old(peer.state)).map(|peer| peer.record.claim.id).collect();
            for id in old {
                self.table.forget(&id);
            }
        }
        if self.settings.role == Role::Server {
            for id in self.quiet_hosts() {
                self.probe(id, None, false);
            }
        }
    }

    /// The hosts without interaction that are this server's to ask.
    fn quiet_hosts(&self) -> Vec<NodeId> {
        let servers: Vec<NodeId> = self.table.servers().map(|peer| peer.record.claim.id).collect();
        let quiet = Duration::from_secs(self.settings.quiet);
        self.table
            .counted()
            .filter(|peer| {
                let heard = peer.heard.is_some_and(|(at, _)| self.now.ticks.saturating_sub(at) < quiet);
                let claim = &peer.record.claim;
                !heard && claim.issued.saturating_add(self.settings.quiet) <= self.now.unix
            })
            .map(|peer| peer.record.claim.id)
            .filter(|id| *id != self.id && !self.probes.contains_key(id) && whose(id, &servers) == Some(self.id))
            .collect()
    }
}

/// Which server looks after a host: rendezvous hashing, so that a server's end moves only its own hosts.
fn whose(host: &NodeId, servers: &[NodeId]) -> Option<NodeId> {
    let weight = |server: &NodeId| Sha256::new().chain_update(server.0).chain_update(host.0).finalize();
    servers.iter().copied().max_by_key(weight)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_servers_end_moves_only_its_own_hosts() {
        let servers: Vec<NodeId> = (1..=5).map(|octet| NodeId([octet; 32])).collect();
        let hosts: Vec<NodeId> = (0..=200).map(|octet| NodeId([octet; 32])).collect();
        for host in &hosts {
            let before = whose(host, &servers).unwrap();
            let after = whose(host, &servers[1..]).unwrap();
            assert!(before == after || before == servers[0]);
        }
        for server in &servers {
            let share = hosts.iter().filter(|host| whose(host, &servers) == Some(*server)).count();
            assert!((15..=75).contains(&share), "{share}");
        }
    }
}
