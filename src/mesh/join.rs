//! How a node gets in, and how it lets others in.
//!
//! A new node tries one contact, three more times, and then the next. One that is too busy names others; the
//! new node goes there by itself, but never twice to the same, so that busy nodes cannot send it round in circles. Those
//! that were found on the local link (`nearby`) come last: who announced them is less sure than who named the others.
//! A node that was a member before starts again from the first contact; a new one gives up and says whom it tried.

use super::address::publishable;
use super::event::Action;
use super::identity::NodeId;
use super::message::{Message, Refusal};
use super::nearby::TRIED;
use super::node::{Life, Node};
use super::record::Role;
use super::table::Peer;
use super::ticket::{Contact, EdictKind, Ticket};
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

/// On the way in.
#[derive(Debug)]
pub(super) struct Joining {
    waiting: VecDeque<Contact>,
    /// Where this node went, or was about to go; the first is the one that is being tried.
    current: Option<Contact>,
    visited: Vec<SocketAddr>,
    tries: u32,
    /// How many more of those that are announced nearby are tried.
    nearby: usize,
    for_ever: bool,
    /// Somebody answered, and had no time.
    busy: bool,
    pub(super) deadline: Duration,
}

/// How often a contact is tried.
const TRIES: u32 = 4;
/// The most watchers at once.
const WATCHERS: usize = 4096;
/// The most places a new node goes to.
const PLACES: usize = 64;
/// After how long, and as much again by chance, a new node asks others what its host did not know.
const SOON: Duration = Duration::from_secs(1);
/// How long a new node is told what there is, at most.
const SESSION: Duration = Duration::from_secs(30);

impl Node {
    pub(super) fn begin_joining(&mut self, for_ever: bool) {
        let waiting = self.contacts.iter().copied().collect();
        self.join_at(waiting, TRIED, for_ever);
    }

    /// Of a member: just there.
    pub(super) fn begin_joining_at(&mut self, contact: Contact) {
        self.join_at(VecDeque::from([contact]), 0, true);
    }

    fn join_at(&mut self, waiting: VecDeque<Contact>, nearby: usize, for_ever: bool) {
        let deadline = self.now.ticks;
        let (current, visited) = (None, Vec::new());
        self.joining =
            Some(Joining { waiting, current, visited, tries: TRIES, nearby, for_ever, busy: false, deadline });
    }

    pub(super) fn join_if_due(&mut self) {
        let now = self.now.ticks;
        let Some(mut joining) = self.joining.take_if(|joining| joining.deadline <= now) else { return };
        joining.deadline = now.saturating_add(self.settings.timeout);
        joining.tries = joining.tries.saturating_add(1);
        if joining.tries > TRIES || joining.current.is_none() {
            joining.tries = 1;
            joining.current = joining.waiting.pop_front();
            if let (None, Some(left)) = (joining.current, joining.nearby.checked_sub(1)) {
                joining.nearby = left;
                joining.current = self.next_nearby(&joining.visited);
            }
            joining.visited.extend(joining.current.map(|contact| contact.address));
        }
        match joining.current {
            Some(contact) => {
                let record = self.own.clone();
                self.send(contact.id, contact.address, &Message::Join(record));
                self.joining = Some(joining);
            }
            None if joining.for_ever => {}
            None => {
                let visited = joining.visited;
                self.life = Life::Over;
                self.out.push(if joining.busy { Action::AllBusy(visited) } else { Action::GaveUp(visited) });
            }
        }
    }

    /// Whether a peer is one of the mesh, so that what it says counts.
    pub fn knows(&self, id: &NodeId) -> bool {
        self.table.peer(id).is_some() || self.watchers.contains_key(id) || self.host == Some(*id)
    }

    /// Whether `from` is the contact that is being tried.
    fn is_tried(&self, from: NodeId) -> bool {
        let current = self.joining.as_ref().and_then(|joining| joining.current);
        current.is_some_and(|contact| contact.id.is_none_or(|id| id == from))
    }

    pub(super) fn welcomed(&mut self, from: NodeId, at: SocketAddr, seen: SocketAddr) {
        if self.is_tried(from) {
            let homeless = self.addresses().is_empty();
            self.seen_at(from, seen);
            if homeless && !self.addresses().is_empty() {
                // Now it knows where it is, and says so in the record by which it comes in.
                let record = self.own.clone();
                self.send(Some(from), at, &Message::Join(record));
                return;
            }
            self.joining = None;
            self.host = Some(from);
            if self.life == Life::Outside {
                self.life = Life::Inside;
                self.member = true;
                // Others came at the same time, perhaps, and whoever let it in may know little; and it asks where it is
                // seen in the other family.
                self.differs = true;
                let wait = SOON.saturating_add(self.part_of(SOON)).min(self.settings.heartbeat);
                self.due.beat = self.now.ticks.saturating_add(wait);
                self.out.push(Action::Joined);
            }
        } else if self.table.peer(&from).is_none() {
            return;
        }
        self.seen_at(from, seen);
        self.hear(from, at);
        self.send_known(from, at, u64::MAX);
    }

    pub(super) fn redirected(&mut self, from: NodeId, contacts: &[Contact]) {
        if !self.is_tried(from) {
            return;
        }
        let now = self.now.ticks;
        let wait = self.part_of(self.settings.timeout);
        let Some(joining) = self.joining.as_mut() else { return };
        joining.busy = true;
        let new = contacts.iter().filter(|contact| {
            !joining.visited.contains(&contact.address)
                && !joining.waiting.iter().any(|other| other.address == contact.address)
        });
        let new: Vec<Contact> = new.copied().collect();
        let anywhere = !new.is_empty() && joining.visited.len() < PLACES;
        if anywhere {
            // The busy one comes last again: by then it may have time.
            let busy = joining.current.take();
            new.into_iter().rev().for_each(|contact| joining.waiting.push_front(contact));
            joining
                .waiting
                .extend(busy.filter(|busy| joining.visited.iter().filter(|at| **at == busy.address).count() < 2));
            joining.deadline = now;
        } else {
            joining.deadline = now.saturating_add(wait).saturating_add(Duration::from_secs(1));
        }
    }

    pub(super) fn refused(&mut self, from: NodeId, refusal: Refusal) {
        let (member, tried) = (self.table.peer(&from).is_some(), self.is_tried(from));
        if tried && self.life == Life::Outside {
            self.joining = None;
            self.life = Life::Over;
            self.out.push(Action::Refused(refusal));
        } else if let (true, Refusal::NameTaken(holder)) = (member, refusal) {
            self.out.push(Action::NameTaken(holder));
        } else if member || tried {
            self.out.push(Action::KeptOut(refusal));
        }
    }

    /// A node wants in.
    pub(super) fn admit(&mut self, from: NodeId, at: SocketAddr, octets: &[u8]) {
        if self.life != Life::Inside {
            return;
        }
        match self.judge(from, at, octets) {
            Err(refusal) => self.send(Some(from), at, &Message::Refused(refusal)),
            Ok(_) if !self.has_time_for(from) => {
                let contacts = self.others(&from);
                self.send(Some(from), at, &Message::Redirect(contacts));
            }
            Ok(fresh) => {
                self.sessions.insert(from, self.now.ticks);
                if fresh {
                    self.spread(from);
                }
                self.hear(from, at);
                self.send(Some(from), at, &Message::Welcome(at));
            }
        }
    }

    /// Whether a node may come in; it is in the table then. Says whether its record is new.
    fn judge(&mut self, from: NodeId, at: SocketAddr, octets: &[u8]) -> Result<bool, Refusal> {
        let record = self.notary.admit(octets).map_err(|_| Refusal::Invalid)?;
        let claim = &record.claim;
        if claim.id != from {
            return Err(Refusal::Invalid);
        }
        if !self.is_timely(claim) {
            return Err(Refusal::Clock);
        }
        let pass = claim.admission.pass;
        if !self.table.was_member(&from) {
            if self.edicts.contains_key(&(EdictKind::Revoke, pass.ticket)) {
                return Err(Refusal::Revoked);
            }
            if pass.expires < self.now.unix {
                return Err(Refusal::Expired);
            }
            if self.table.is_full() {
                return Err(Refusal::Full);
            }
            if let Some(holder) = self.table.holder(&claim.name).filter(|_| claim.role != Role::Watcher) {
                return Err(Refusal::NameTaken(holder));
            }
        }
        if !self.has_time_for(from) {
            return Ok(false);
        }
        // A node that does not know where it is hears that first, and joins again with a record that says so: one
        // record less for all.
        let homeless = claim.addresses.is_empty() && publishable(at.ip().to_canonical());
        if homeless && !self.table.was_member(&from) && !self.sessions.contains_key(&from) {
            return Ok(false);
        }
        if claim.role == Role::Watcher {
            if self.watchers.len() >= WATCHERS && !self.watchers.contains_key(&from) {
                return Err(Refusal::Full);
            }
            self.watchers.insert(from, self.now.ticks);
            return Ok(false);
        }
        let stale = self.table.peer(&from).is_some_and(|peer| peer.record.claim.sequence >= claim.sequence);
        if !stale && self.table.put(record, self.now.ticks, &mut self.chance) {
            self.view_is_new();
        }
        Ok(!stale)
    }

    /// Whether one more can be told what there is.
    fn has_time_for(&mut self, from: NodeId) -> bool {
        let now = self.now.ticks;
        if self.sessions.len() >= self.settings.sessions {
            self.sessions.retain(|_, since| now.saturating_sub(*since) < SESSION);
        }
        self.sessions.contains_key(&from) || self.sessions.len() < self.settings.sessions
    }

    /// Whom a node could ask instead: servers first.
    fn others(&mut self, than: &NodeId) -> Vec<Contact> {
        let contact = |peer: &Peer| {
            let address = peer.places().first().copied()?;
            Some(Contact { id: Some(peer.record.claim.id), address })
        };
        let own = self.id;
        let servers = self.table.servers().filter(|peer| peer.record.claim.id != own && peer.record.claim.id != *than);
        let mut contacts: Vec<Contact> = servers.filter_map(contact).collect();
        self.chance.shuffle(&mut contacts);
        for id in self.table.pick(Ticket::CONTACTS, than, &mut self.chance) {
            if !contacts.iter().any(|contact| contact.id == Some(id)) {
                contacts.extend(self.table.peer(&id).and_then(contact));
            }
        }
        contacts.truncate(Ticket::CONTACTS);
        contacts
    }
}
