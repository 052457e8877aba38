//! One node: events and the time go in, actions come out.

use super::address::Voices;
use super::budget::Budget;
use super::chance::Chance;
use super::event::{Action, Event, Host, Now, Offence, Saved, Settings};
use super::heartbeat::{Due, Probe, SETTLING};
use super::identity::{NodeId, SecretKey};
use super::join::Joining;
use super::message::{Beat, Message, News, Refusal, Summary};
use super::news::Queue;
use super::record::{Claim, Notary, Record, Role};
use super::table::{Peer, State, Table};
use super::ticket::{Admission, Contact, Edict, EdictKind};
use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

/// A member of a mesh, without its sockets.
pub struct Node {
    pub(super) id: NodeId,
    pub(super) key: SecretKey,
    pub(super) mesh: NodeId,
    pub(super) admission: Admission,
    pub(super) settings: Settings,
    pub(super) notary: Box<dyn Notary>,
    pub(super) chance: Chance,
    pub(super) now: Now,
    pub(super) table: Table,
    pub(super) voices: Voices,
    pub(super) addresses: Vec<IpAddr>,
    pub(super) sequence: u64,
    pub(super) since: u64,
    /// Its own record as it was signed last.
    pub(super) own: Vec<u8>,
    pub(super) issued: u64,
    /// Until when the records that it has signed suffice.
    pub(super) published: Duration,
    pub(super) queue: Queue,
    pub(super) edicts: BTreeMap<(EdictKind, NodeId), Edict>,
    pub(super) probes: BTreeMap<NodeId, Probe>,
    /// Who waits for news of whom.
    pub(super) askers: BTreeMap<NodeId, Vec<(NodeId, SocketAddr)>>,
    /// Until when a suspected node with which record may say that it lives; in the order of time.
    pub(super) suspicions: VecDeque<(Duration, NodeId, u64)>,
    pub(super) budgets: BTreeMap<NodeId, Budget>,
    /// New nodes that are being told what there is, and since when.
    pub(super) sessions: BTreeMap<NodeId, Duration>,
    pub(super) watchers: BTreeMap<NodeId, Duration>,
    pub(super) joining: Option<Joining>,
    /// Whom to try when nobody answers.
    pub(super) contacts: Vec<Contact>,
    /// Where nodes were announced on the local link and are not known to be, the newest last.
    pub(super) nearby: VecDeque<Contact>,
    /// Who let this node in: it may speak before its record is known.
    pub(super) host: Option<NodeId>,
    pub(super) due: Due,
    pub(super) number: u32,
    /// A peer's last answer showed that it knows something else.
    pub(super) differs: bool,
    /// Which of the lost is looked for next.
    pub(super) look: usize,
    pub(super) life: Life,
    /// It is in the mesh, or was when it ended.
    pub(super) member: bool,
    told: Option<NodeId>,
    view_changed: bool,
    pub(super) out: Vec<Action>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Life {
    Outside,
    Inside,
    Over,
}

/// A record from a node's clock may be this far ahead or behind.
pub(super) const SKEW: u64 = 600;
/// For how long a record of a node that left is good, in seconds.
pub(super) const LEFT: u64 = 7200;
/// The longest lease that is accepted, in seconds.
const LONGEST_LEASE: u32 = 86_400;
/// Between two records, of which two may follow each other at once, as when both families change; far less than a suspicion
/// lasts.
const BETWEEN_RECORDS: Duration = Duration::from_secs(5);
/// From how many peers words are counted at the same time.
const SPEAKERS: usize = 65_536;
/// The most edicts that are kept.
const EDICTS: usize = 4096;

impl Node {
    /// A node that has not started. `seed` is its chance; nothing secret comes from it.
    pub fn new(
        settings: Settings,
        key: SecretKey,
        mesh: NodeId,
        admission: Admission,
        notary: Box<dyn Notary>,
        memory: Saved,
        seed: u64,
    ) -> Node {
        let id = key.id();
        let mut node = Node {
            id,
            key,
            mesh,
            admission,
            settings,
            notary,
            chance: Chance::new(seed),
            now: Now::default(),
            table: Table::new(id),
            voices: Voices::default(),
            addresses: memory.addresses.clone(),
            sequence: memory.sequence,
            since: memory.since,
            own: Vec::new(),
            issued: 0,
            published: Duration::ZERO,
            queue: Queue::default(),
            edicts: BTreeMap::new(),
            probes: BTreeMap::new(),
            askers: BTreeMap::new(),
            suspicions: VecDeque::new(),
            budgets: BTreeMap::new(),
            sessions: BTreeMap::new(),
            watchers: BTreeMap::new(),
            joining: None,
            contacts: Vec::new(),
            nearby: VecDeque::new(),
            host: None,
            due: Due::default(),
            number: 0,
            differs: false,
            look: 0,
            life: Life::Outside,
            member: memory.member,
            told: None,
            view_changed: false,
            out: Vec::new(),
        };
        node.remember(memory);
        node
    }

    /// Who it is.
    pub fn id(&self) -> NodeId {
        self.id
    }

    /// Carries an event out. Every event does what is due by then, too.
    pub fn handle(&mut self, event: Event, now: Now) -> Vec<Action> {
        self.now = now;
        if self.life != Life::Over {
            match event {
                Event::Start(contacts) => self.start(contacts),
                Event::Timer => {}
                Event::Received { from, at, octets } => self.received(from, at, &octets),
                Event::Found(contact) => self.found(contact),
                Event::Edict(edict) => self.obey(edict),
                Event::Leave => self.leave(),
            }
        }
        if self.life != Life::Over {
            self.do_what_is_due();
        }
        if std::mem::take(&mut self.view_changed) {
            self.out.push(Action::ViewChanged);
            self.tell_if_name_is_taken();
        }
        std::mem::take(&mut self.out)
    }

    /// When it wants [`Event::Timer`] at the latest, on the clock of [`Now::ticks`].
    pub fn wake(&self) -> Option<Duration> {
        if self.life == Life::Over {
            return None;
        }
        let joining = self.joining.as_ref().map(|joining| joining.deadline);
        if self.life == Life::Outside {
            return joining;
        }
        let probe = self.probes.values().map(|probe| probe.deadline).min();
        let suspicion = self.suspicions.front().map(|(until, _, _)| *until);
        let beat = Some(self.due.beat.min(self.due.minute));
        [joining, probe, suspicion, beat, self.due.flush, self.due.publish].into_iter().flatten().min()
    }

    /// Who lives, this node included, in the order of ids.
    pub fn hosts(&self) -> impl Iterator<Item = Host<'_>> {
        self.table.counted().map(|peer| self.host_of(peer))
    }

    /// One that lives.
    pub fn host(&self, id: &NodeId) -> Option<Host<'_>> {
        self.table.peer(id).filter(|peer| peer.state.counts()).map(|peer| self.host_of(peer))
    }

    fn host_of<'a>(&'a self, peer: &'a Peer) -> Host<'a> {
        let claim = &peer.record.claim;
        Host { claim, holds_name: self.table.holder(&claim.name) == Some(claim.id) }
    }

    /// What it knows, in three numbers.
    pub fn summary(&self) -> Summary {
        Summary {
            members: self.table.len(),
            records: self.table.fingerprint(),
            edicts: self.edicts.values().fold(0, |all, edict| all ^ edict.fingerprint()),
        }
    }

    /// Its own addresses.
    pub fn addresses(&self) -> &[IpAddr] {
        if self.settings.advertise.is_empty() { &self.addresses } else { &self.settings.advertise }
    }

    fn start(&mut self, contacts: Vec<Contact>) {
        self.contacts = contacts;
        let ticks = self.now.ticks;
        self.voices = Voices::since(ticks);
        self.table.gone_since(ticks);
        self.due.minute = ticks.saturating_add(Duration::from_secs(60));
        // The first beats are apart by chance, or nodes that lost power together would speak together for ever.
        self.due.announce = ticks.saturating_add(self.part_of(self.settings.announce));
        self.due.full = ticks.saturating_add(self.part_of(self.settings.full));
        self.due.beat = ticks;
        self.due.settled = ticks.saturating_add(SETTLING);
        if self.since == 0 {
            self.since = self.now.unix;
        }
        if self.is_removed(&self.id) {
            self.life = Life::Over;
            self.out.push(Action::Removed);
            return;
        }
        let alone = self.table.len() == 0;
        self.publish();
        if alone && !self.member && !self.contacts.is_empty() {
            self.begin_joining(false);
        } else {
            self.life = Life::Inside;
            self.member = true;
            if self.settings.role != Role::Watcher {
                self.spread(self.id);
            }
        }
    }

    /// A part of `whole` by chance.
    pub(super) fn part_of(&mut self, whole: Duration) -> Duration {
        let part = u32::try_from(self.chance.below(1000)).unwrap_or(0);
        whole.saturating_mul(part) / 1000
    }

    fn leave(&mut self) {
        if self.life == Life::Inside && self.settings.role != Role::Watcher {
            let record = self.sign(0);
            let news = vec![News::Record(record.octets().to_vec())];
            for id in self.table.pick(8, &self.id, &mut self.chance) {
                self.send_to(&id, &Message::Tell { news: news.clone(), wants: Vec::new() });
            }
        }
        self.life = Life::Over;
    }

    fn sign(&mut self, lease: u32) -> Record {
        // The clock, so that a node that lost its state still goes on above what others have of it.
        self.sequence = self.sequence.saturating_add(1).max(self.now.unix);
        let claim = Claim {
            id: self.id,
            sequence: self.sequence,
            issued: self.now.unix,
            lease,
            since: self.since,
            role: self.settings.role,
            port: self.settings.port,
            name: self.settings.name.clone(),
            addresses: self.addresses().iter().copied().take(Record::ADDRESSES).collect(),
            admission: self.admission,
        };
        Record::sign(claim, self.mesh, &self.key)
    }

    /// Signs a new record of this node.
    pub(super) fn publish(&mut self) {
        let record = self.sign(self.settings.lease);
        self.own = record.octets().to_vec();
        self.issued = self.now.unix;
        self.published = self.published.max(self.now.ticks).saturating_add(BETWEEN_RECORDS);
        self.due.publish = None;
        // A watcher has one only to show it where it joins.
        if self.settings.role != Role::Watcher && self.table.put(Arc::new(record), self.now.ticks, &mut self.chance) {
            self.view_changed = true;
        }
    }

    /// Signs a new record and tells it.
    pub(super) fn republish(&mut self) {
        self.publish();
        if self.settings.role != Role::Watcher {
            self.spread(self.id);
        }
    }

    /// Signs a new record now, or, if it signed one just now, in a moment: each goes to all, and a liar, or another
    /// machine with a copy of the key, could ask for the next at once.
    pub(super) fn republish_soon(&mut self) {
        if self.due.publish.is_none() {
            self.due.publish = Some(self.published.saturating_sub(BETWEEN_RECORDS).max(self.now.ticks));
        }
    }

    /// The view is another one than before.
    pub(super) fn view_is_new(&mut self) {
        self.view_changed = true;
    }

    fn tell_if_name_is_taken(&mut self) {
        let holder = self.table.holder(&self.settings.name).filter(|holder| *holder != self.id);
        if holder != self.told {
            self.told = holder;
            holder.into_iter().for_each(|holder| self.out.push(Action::NameTaken(holder)));
        }
    }

    fn received(&mut self, from: NodeId, at: SocketAddr, octets: &[u8]) {
        let now = self.now.ticks;
        if from == self.id || (self.budgets.len() >= SPEAKERS && !self.budgets.contains_key(&from)) {
            return;
        }
        let budget = self.budgets.entry(from).or_insert_with(|| Budget::new(now));
        if budget.is_muted(now) {
            return;
        }
        if !budget.spend(octets.len(), now) {
            budget.mute(now);
            self.out.push(Action::Close(from, Offence::Flood));
            return;
        }
        let message = match Message::decode(octets) {
            Ok(message) => message,
            Err(malformed) => {
                budget.mute(now);
                self.out.push(Action::Close(from, Offence::Malformed(malformed)));
                return;
            }
        };
        if let Some(edict) = self.edicts.get(&(EdictKind::Remove, from)).copied() {
            // It believes the steward's word, and no one else's.
            let news = vec![News::Edict(edict)];
            self.send(Some(from), at, &Message::Tell { news, wants: Vec::new() });
            self.send(Some(from), at, &Message::Refused(Refusal::Removed));
            self.out.push(Action::Close(from, Offence::Removed));
            return;
        }
        let known = self.knows(&from);
        match message {
            Message::Join(record) => self.admit(from, at, &record),
            Message::Welcome(seen) => self.welcomed(from, at, seen),
            Message::Redirect(contacts) => self.redirected(from, &contacts),
            Message::Refused(refusal) => self.refused(from, refusal),
            Message::Stranger if known => {
                let record = self.own.clone();
                self.send(Some(from), at, &Message::Join(record));
            }
            Message::Stranger => {}
            Message::Tell { news, .. } if !known && self.life == Life::Inside => {
                // A steward's word is as good from anybody; a node that has forgotten its peers hears of its end by it.
                let own = |news: &News| matches!(news, News::Edict(edict) if (edict.kind, edict.subject) == (EdictKind::Remove, self.id));
                match news.into_iter().find(own) {
                    Some(News::Edict(edict)) => self.obey(edict),
                    _ => self.send(Some(from), at, &Message::Stranger),
                }
            }
            _ if !known => self.send(Some(from), at, &Message::Stranger),
            message => {
                self.hear(from, at);
                self.answer(from, at, message);
                // Only now may there be a record to which the place belongs.
                self.table.heard(&from, at, now);
            }
        }
    }

    fn answer(&mut self, from: NodeId, at: SocketAddr, message: Message) {
        match message {
            Message::Ping(beat) => self.pinged(from, at, beat),
            Message::Pong(beat) => self.ponged(from, beat),
            Message::Where(id) => self.asked_where(from, at, id),
            Message::There { id, at, age } => self.told_where(id, at, age),
            Message::Buckets(buckets) => self.compare(from, at, &buckets),
            Message::Known { buckets, entries } => self.tell_the_rest(from, at, buckets, &entries),
            Message::Tell { news, wants } => {
                self.learn(from, news);
                self.send_wanted(from, at, &wants);
            }
            // Taken care of before.
            Message::Join(_) | Message::Welcome(_) | Message::Redirect(_) | Message::Refused(_) => {}
            Message::Stranger => {}
        }
    }

    pub(super) fn send(&mut self, id: Option<NodeId>, to: SocketAddr, message: &Message) {
        self.out.push(Action::Send { to, id, octets: message.encode() });
    }

    /// Sends to where a peer is most likely.
    pub(super) fn send_to(&mut self, id: &NodeId, message: &Message) {
        let place = self.table.peer(id).and_then(|peer| peer.places().first().copied());
        place.into_iter().for_each(|to| self.send(Some(*id), to, message));
    }

    pub(super) fn beat(&mut self, number: u32, seen: SocketAddr, compare: bool) -> Beat {
        let news = self.queue.take(1, &self.table, &self.edicts);
        Beat { number, seen, summary: self.summary(), compare, news }
    }

    pub(super) fn is_removed(&self, id: &NodeId) -> bool {
        self.edicts.contains_key(&(EdictKind::Remove, *id))
    }

    /// A steward took something back.
    pub(super) fn obey(&mut self, edict: Edict) {
        let place = (edict.kind, edict.subject);
        if self.edicts.contains_key(&place) || self.edicts.len() >= EDICTS || !edict.holds(self.mesh) {
            return;
        }
        self.edicts.insert(place, edict);
        self.queue.edict(place);
        self.flush_soon();
        if edict.kind == EdictKind::Remove {
            if edict.subject == self.id {
                self.life = Life::Over;
                self.out.push(Action::Removed);
                return;
            }
            self.probes.remove(&edict.subject);
            self.sessions.remove(&edict.subject);
            self.watchers.remove(&edict.subject);
            if self.table.forget(&edict.subject) {
                self.view_is_new();
            }
            // It is told, so that it can stop; it may not listen.
            self.out.push(Action::Close(edict.subject, Offence::Removed));
        }
    }

    /// Whether the time that a record carries can be right.
    pub(super) fn is_timely(&self, claim: &Claim) -> bool {
        let lease = if claim.lease == 0 { LEFT } else { u64::from(claim.lease) };
        claim.lease <= LONGEST_LEASE
            && claim.issued <= self.now.unix.saturating_add(SKEW)
            && claim.issued.saturating_add(lease).saturating_add(SKEW) >= self.now.unix
            && claim.since <= claim.issued
    }

    /// A peer is gone: it is out of the view, and looked for now and then.
    pub(super) fn bury(&mut self, id: &NodeId) {
        self.probes.remove(id);
        if self.table.bury(id, self.now.ticks) {
            self.view_is_new();
        }
    }

    /// Whether a peer lives, as far as this node knows.
    pub fn counts(&self, id: &NodeId) -> bool {
        self.table.counts(id)
    }

    pub(super) fn state_of(&self, id: &NodeId) -> Option<State> {
        self.table.peer(id).map(|peer| peer.state)
    }
}
