//! What one knows and the other lacks.
//!
//! A node that announces itself shows three numbers. If the other's are not the same, it answers with 64, one for each
//! bucket of ids; the first then lists ids and sequences of the buckets that differ, and gets only what it lacks, with
//! a list of what the other lacks. The full exchange lists all buckets, whatever the numbers say.

use super::identity::NodeId;
use super::message::{BUCKETS, Message, News};
use super::node::Node;
use super::octets::Reader;
use super::record::Role;
use super::table::State;
use super::ticket::EdictKind;
use std::net::SocketAddr;
use std::time::Duration;

/// From so many new things in one message on they are not passed on one by one: others compare.
const MANY: usize = 8;
/// Between two questions for what a peer knows.
const PAUSE: Duration = Duration::from_secs(1);
/// What a node itself heard so lately is not suspected on another's word.
const JUST_HEARD: Duration = Duration::from_secs(10);

impl Node {
    /// Takes news from a member.
    pub(super) fn learn(&mut self, from: NodeId, news: Vec<News>) {
        let many = news.len() > MANY;
        let mut learned = 0;
        for item in news {
            match item {
                News::Record(octets) => {
                    if let Some(id) = self.learn_record(&octets) {
                        learned += 1;
                        if many { self.queue.compare = true } else { self.spread(id) }
                    }
                }
                News::Suspect(id, sequence) => self.hear_suspicion(from, id, sequence),
                News::Edict(edict) => self.obey(edict),
            }
        }
        if learned > 0 && self.queue.compare {
            self.flush_soon();
        }
    }

    /// Takes a record if it is newer than what is known; says whose it is.
    fn learn_record(&mut self, octets: &[u8]) -> Option<NodeId> {
        let (id, sequence) = peek(octets)?;
        // Signatures are checked last: what is old costs nothing.
        let peer = self.table.peer(&id);
        let stale = peer.is_some_and(|peer| peer.record.claim.sequence >= sequence);
        if stale || self.is_removed(&id) || (peer.is_none() && self.table.is_full()) {
            return None;
        }
        let record = self.notary.admit(octets).ok().filter(|record| record.claim.role != Role::Watcher)?;
        if !self.is_timely(&record.claim) {
            return None;
        }
        if id == self.id {
            // From an earlier life of this node, whose state was lost: it goes on above it.
            self.sequence = sequence;
            self.republish_soon();
            return None;
        }
        let addresses = record.claim.addresses.clone();
        if self.table.put(record, self.now.ticks, &mut self.chance) {
            self.view_is_new();
            self.hurry_where_it_can_tell(&addresses);
        }
        Some(id)
    }

    fn hear_suspicion(&mut self, from: NodeId, id: NodeId, sequence: u64) {
        let now = self.now.ticks;
        if id == self.id {
            if sequence == self.sequence {
                self.republish_soon();
            }
            return;
        }
        let Some(peer) = self.table.peer(&id) else { return };
        let just_heard = peer.heard.is_some_and(|(at, _)| now.saturating_sub(at) < JUST_HEARD);
        let same = peer.state == State::Live && peer.record.claim.sequence == sequence;
        if same && !just_heard && self.budgets.get_mut(&from).is_some_and(|budget| budget.suspect(now)) {
            self.suspect(id, sequence);
        }
    }

    /// Shows what this node knows, in 64 numbers; and the edicts, if the other has others.
    pub(super) fn send_buckets(&mut self, to: NodeId, at: SocketAddr, their_edicts: u64) {
        let buckets = Message::Buckets(Box::new(*self.table.buckets()));
        self.send(Some(to), at, &buckets);
        if self.summary().edicts != their_edicts {
            let news: Vec<News> = self.edicts.values().copied().map(News::Edict).collect();
            self.tell(to, at, news);
        }
    }

    /// Finds the buckets that differ and lists what this node knows of them.
    pub(super) fn compare(&mut self, from: NodeId, at: SocketAddr, theirs: &[u64; BUCKETS]) {
        if !self.may_ask() {
            return;
        }
        let differs = self.table.buckets().iter().zip(theirs).map(|(own, their)| own != their);
        let buckets = differs.rev().fold(0u64, |mask, differs| (mask << 1) | u64::from(differs));
        if buckets != 0 {
            self.send_known(from, at, buckets);
        }
    }

    /// Whether to ask a peer for what it knows: one at a time, or several would send the same.
    fn may_ask(&mut self) -> bool {
        let may = self.due.exchange <= self.now.ticks;
        if may {
            self.due.exchange = self.now.ticks.saturating_add(PAUSE);
        } else {
            self.differs = true;
        }
        may
    }

    /// Lists ids and sequences of some buckets, whole buckets in each message.
    pub(super) fn send_known(&mut self, to: NodeId, at: SocketAddr, buckets: u64) {
        let mut parts: Vec<(u64, Vec<(NodeId, u64)>)> = vec![(0, Vec::new())];
        for number in 0..64 {
            let mask = buckets & (1 << number);
            if mask == 0 {
                continue;
            }
            let counted = self.table.in_buckets(mask).filter(|peer| peer.state.counts());
            // A bucket that does not fit is cut: the other then sends some records in vain.
            let mut list: Vec<(NodeId, u64)> =
                counted.map(|peer| (peer.record.claim.id, peer.record.claim.sequence)).take(Message::ENTRIES).collect();
            if parts.last().is_none_or(|(_, entries)| entries.len().saturating_add(list.len()) > Message::ENTRIES) {
                parts.push((0, Vec::new()));
            }
            if let Some((part, entries)) = parts.last_mut() {
                *part |= mask;
                entries.append(&mut list);
            }
        }
        for (buckets, entries) in parts {
            self.send(Some(to), at, &Message::Known { buckets, entries });
        }
    }

    /// Gives what another lacks of some buckets, and asks for what this node lacks.
    pub(super) fn tell_the_rest(&mut self, to: NodeId, at: SocketAddr, buckets: u64, entries: &[(NodeId, u64)]) {
        // Whoever keeps to the order sends them sorted.
        let mut theirs = entries.to_vec();
        theirs.sort_unstable();
        let sequence_of = |id: &NodeId| {
            let at = theirs.binary_search_by_key(id, |(id, _)| *id).ok()?;
            theirs.get(at).map(|(_, sequence)| *sequence)
        };
        let mut news = Vec::new();
        let mut wants = Vec::new();
        for peer in self.table.in_buckets(buckets) {
            let claim = &peer.record.claim;
            if claim.id == to {
                continue;
            }
            let record = || News::Record(peer.record.octets().to_vec());
            match (sequence_of(&claim.id), peer.state) {
                (Some(sequence), State::Gone { .. }) if sequence == claim.sequence => {
                    news.push(News::Suspect(claim.id, claim.sequence));
                }
                (Some(sequence), _) if sequence < claim.sequence => news.push(record()),
                (None, State::Live | State::Suspect) => news.push(record()),
                _ => {}
            }
        }
        for (id, sequence) in &theirs {
            if let Some(edict) = self.edicts.get(&(EdictKind::Remove, *id)) {
                news.push(News::Edict(*edict));
            } else if self.table.peer(id).is_none_or(|peer| peer.record.claim.sequence < *sequence) {
                wants.push(*id);
            }
        }
        self.tell(to, at, news);
        if !wants.is_empty() && self.may_ask() {
            self.send(Some(to), at, &Message::Tell { news: Vec::new(), wants });
        }
        // What a new node came for it has.
        self.sessions.remove(&to);
    }

    /// Tells news in as many messages as it takes, as far as the other has not asked for too much.
    fn tell(&mut self, to: NodeId, at: SocketAddr, news: Vec<News>) {
        let mut news = news.into_iter().peekable();
        while news.peek().is_some() {
            let mut part = Vec::new();
            let mut octets = 0usize;
            while let Some(item) = news.next_if(|item| octets.saturating_add(item.len()) <= Message::NEWS) {
                octets = octets.saturating_add(item.len());
                part.push(item);
            }
            if !self.budgets.get_mut(&to).is_some_and(|budget| budget.owe(octets, self.now.ticks)) {
                return;
            }
            self.send(Some(to), at, &Message::Tell { news: part, wants: Vec::new() });
        }
    }

    pub(super) fn send_wanted(&mut self, to: NodeId, at: SocketAddr, wants: &[NodeId]) {
        let wanted = wants.iter().filter_map(|id| self.table.peer(id));
        let news = wanted.map(|peer| News::Record(peer.record.octets().to_vec())).collect();
        self.tell(to, at, news);
    }
}

/// Whose record it is and which, unchecked; [`super::record`] has the offsets.
fn peek(octets: &[u8]) -> Option<(NodeId, u64)> {
    let mut reader = Reader::new(octets, "a record");
    reader.u8().ok()?;
    Some((NodeId(reader.array().ok()?), reader.u64().ok()?))
}
