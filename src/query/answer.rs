//! The answer to one question of class IN (RFC 1034 section 4.3.2, RFC 2308, RFC 4592, RFC 6672, RFC 8482).

use super::{Reason, Transport};
use crate::wire::rdata::{self, Soa};
use crate::wire::{Class, Composer, Flags, Full, Name, NameRef, Owner, Place, Question, Rcode, Rtype, Ttl};
use crate::zone::{Answer, KeyBuf, Lookup, Node, Rrset, Zone, ZoneSet};
use std::sync::Arc;

/// What was written, beside the records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Outcome {
    pub(super) rcode: Rcode,
    pub(super) reason: Reason,
    /// Whether the first owner in the answer is ours (RFC 1035 section 4.1.1).
    pub(super) authoritative: bool,
}

/// How many CNAME and DNAME steps an answer follows; from there the resolver goes on by itself.
const CHAIN: usize = 16;

/// Of how many hosts an answer brings the addresses along, unasked.
const HOSTS: usize = 16;

/// Writes the answer to `question` into `composer`, whose question section is written.
pub(super) fn answer(
    zones: &ZoneSet,
    question: &Question<NameRef<'_>>,
    transport: Transport,
    composer: &mut Composer<'_>,
) -> Outcome {
    let key = KeyBuf::new(question.name);
    let Some(zone) = nearest(zones, key.as_bytes(), question.rtype) else {
        return Outcome { rcode: Rcode::REFUSED, reason: Reason::OutOfZone, authoritative: false };
    };
    let start = composer.mark();
    let mut writer = Writer { zone, question, transport, composer, authoritative: true, asked: None, steps: 0 };
    match writer.chain(&key) {
        Ok((rcode, reason)) => Outcome { rcode, reason, authoritative: writer.authoritative },
        // Over TCP nothing larger can be sent: the zone holds what DNS cannot carry. No part of it may look like
        // the whole.
        Err(Full) if transport == Transport::Tcp => {
            writer.composer.rewind(start);
            Outcome { rcode: Rcode::SERVFAIL, reason: Reason::ServerFailure, authoritative: false }
        }
        Err(Full) => {
            writer.composer.set(Flags::TC);
            Outcome { rcode: Rcode::NOERROR, reason: Reason::Truncated, authoritative: writer.authoritative }
        }
    }
}

/// The zone that answers for a name. A DS question at a zone's own apex goes to the zone above it, where
/// that is served here too (RFC 4035 section 3.1.4.1).
fn nearest<'z>(zones: &'z ZoneSet, key: &[u8], rtype: Rtype) -> Option<&'z Arc<Zone>> {
    let zone = zones.nearest(key)?;
    if rtype == Rtype::DS && zone.apex_key().as_bytes() == key {
        let above = crate::zone::parent_of(key).and_then(|parent| zones.nearest(parent));
        return Some(above.unwrap_or(zone));
    }
    Some(zone)
}

struct Writer<'a, 'z, 'b> {
    zone: &'z Zone,
    question: &'a Question<NameRef<'a>>,
    transport: Transport,
    composer: &'a mut Composer<'b>,
    authoritative: bool,
    /// The names that led elsewhere. Only a chain pays for the room.
    asked: Option<[Name; CHAIN]>,
    steps: usize,
}

impl Writer<'_, '_, '_> {
    /// Follows CNAMEs and DNAMEs inside the zone from the question's name, whose key is given, to the last answer
    /// (RFC 1034 section 4.3.2, step 3).
    fn chain(&mut self, asked: &KeyBuf) -> Result<(Rcode, Reason), Full> {
        let mut reached: Option<(Name, KeyBuf)> = None;
        for step in 0..CHAIN {
            let here = reached.as_ref();
            let (name, key) =
                here.map_or((self.question.name, asked.as_bytes()), |(name, key)| (name.as_name_ref(), key.as_bytes()));
            let next = match self.zone.lookup(key, self.question.rtype) {
                Lookup::Found(Answer { node, .. }) => {
                    let cname = node.rrset(Rtype::CNAME).filter(|_| !self.wants_cname_itself());
                    match cname {
                        Some(cname) => {
                            self.answer(name, cname)?;
                            let target = cname.rdatas().next().and_then(|rdata| rdata::target(Rtype::CNAME, rdata));
                            target.map(NameRef::to_name)
                        }
                        None => return self.found(name, node),
                    }
                }
                Lookup::Empty => return self.negative(Rcode::NOERROR, Reason::NoData),
                Lookup::NxDomain => return self.negative(Rcode::NXDOMAIN, Reason::NxDomain),
                Lookup::Delegation { below, ns } => {
                    // RFC 1035 section 4.1.1: AA is about the first owner of the answer section.
                    self.authoritative = step > 0;
                    return self.referral(name, below, ns);
                }
                Lookup::Dname { below, dname } => {
                    let owner = name.ancestor(below).unwrap_or(name);
                    self.answer(owner, dname)?;
                    let target = dname.rdatas().next().and_then(|rdata| rdata::target(Rtype::DNAME, rdata));
                    let moved = target.and_then(|target| target.prefixed(name.prefix_before(owner)?).ok());
                    let Some(moved) = moved else {
                        // RFC 6672 section 2.2: the new name would be too long.
                        return Ok((Rcode::YXDOMAIN, Reason::Answered));
                    };
                    let (owner, target) = (self.owner(name), moved.as_bytes());
                    self.composer.record(Place::Answer, owner, Rtype::CNAME, Class::IN, dname.ttl, target)?;
                    Some(moved)
                }
            };
            let name = name.to_name();
            let asked = self.asked.get_or_insert([Name::root(); CHAIN]);
            if let Some(slot) = asked.get_mut(step) {
                *slot = name;
            }
            self.steps = step + 1;
            match next {
                // RFC 1034 section 3.6.2: a loop is no reason to fail, but an error that is signalled.
                Some(target) if self.asked().contains(&target) => return Ok((Rcode::SERVFAIL, Reason::ServerFailure)),
                Some(target) if target.is_in(self.zone.apex()) => {
                    let key = KeyBuf::new(&target);
                    reached = Some((target, key));
                }
                // The rest of the chain is another zone's.
                _ => return Ok((Rcode::NOERROR, Reason::Answered)),
            }
        }
        Ok((Rcode::NOERROR, Reason::Answered))
    }

    /// Whether the question is answered by the owner of a CNAME record itself: by that record (RFC 1034 section
    /// 3.6.2), or by what may stand beside it.
    fn wants_cname_itself(&self) -> bool {
        let rtype = self.question.rtype;
        matches!(rtype, Rtype::CNAME | Rtype::ANY) || rtype.stands_beside_cname()
    }

    /// The name's own records of the type asked for.
    fn found(&mut self, name: NameRef<'_>, node: Node<'_>) -> Result<(Rcode, Reason), Full> {
        if self.question.rtype == Rtype::ANY {
            return self.any(name, node);
        }
        let Some(rrset) = node.rrset(self.question.rtype) else {
            return self.negative(Rcode::NOERROR, Reason::NoData);
        };
        self.answer(name, rrset)?;
        self.addresses(rrset);
        Ok((Rcode::NOERROR, Reason::Answered))
    }

    /// ANY: over UDP one RRset stands for all (RFC 8482 section 4.1), so that small questions make no large
    /// answers; over TCP, where the source is known, all of them (section 4.4), or those that a message can hold.
    fn any(&mut self, name: NameRef<'_>, node: Node<'_>) -> Result<(Rcode, Reason), Full> {
        let few = match self.transport {
            Transport::Udp => 1,
            Transport::Tcp => usize::MAX,
        };
        let mut some = Err(Full);
        for rrset in node.rrsets().take(few) {
            let written = self.answer(name, rrset);
            if self.transport == Transport::Udp {
                written?;
            }
            some = some.or(written);
        }
        some?;
        Ok((Rcode::NOERROR, Reason::Answered))
    }

    /// NXDOMAIN or NODATA: the SOA in the authority section, its TTL at most its minimum (RFC 2308 section 3).
    fn negative(&mut self, rcode: Rcode, reason: Reason) -> Result<(Rcode, Reason), Full> {
        if let Some(soa) = self.zone.soa() {
            let minimum = soa.rdatas().next().and_then(Soa::minimum_of).unwrap_or(0);
            let ttl = soa.ttl.min(Ttl::new(minimum));
            self.rrset(Place::Authority, self.owner(self.zone.apex().into()), soa.with_ttl(ttl))?;
        }
        Ok((rcode, reason))
    }

    /// The NS RRset of the zone below and the addresses of name servers that lie in it (RFC 1034 section
    /// 4.2.1). Those addresses are needed: where they do not fit the reply is truncated (RFC 9471 section 3).
    fn referral(&mut self, name: NameRef<'_>, below: usize, ns: Rrset<'_>) -> Result<(Rcode, Reason), Full> {
        let cut = name.ancestor(below).unwrap_or(name);
        self.rrset(Place::Authority, self.owner(cut), ns)?;
        let targets = || ns.rdatas().filter_map(|rdata| rdata::target(Rtype::NS, rdata));
        for target in targets().filter(|target| target.is_in(cut)) {
            self.glue(target)?;
        }
        for target in targets().filter(|target| !target.is_in(cut) && target.is_in(self.zone.apex())) {
            if self.glue(target).is_err() {
                break;
            }
        }
        Ok((Rcode::NOERROR, Reason::Referral))
    }

    /// The addresses that the zone holds for a name server, whether its own or glue.
    fn glue(&mut self, target: NameRef<'_>) -> Result<(), Full> {
        let Some(node) = self.zone.node(KeyBuf::new(target).as_bytes()) else { return Ok(()) };
        for rrset in [Rtype::A, Rtype::AAAA].iter().filter_map(|rtype| node.rrset(*rtype)) {
            self.rrset(Place::Additional, target.into(), rrset)?;
        }
        Ok(())
    }

    /// The addresses of the hosts that records name (RFC 1035 section 3.3, RFC 1183, RFC 2230, RFC 2782, RFC 9460
    /// section 4.1), as far as they fit: a resolver can ask for them.
    fn addresses(&mut self, rrset: Rrset<'_>) {
        match rrset.rtype {
            Rtype::NS | Rtype::MX | Rtype::SRV => {}
            Rtype::AFSDB | Rtype::RT | Rtype::KX | Rtype::SVCB | Rtype::HTTPS => {}
            _ => return,
        }
        let mut hosts = [None; HOSTS];
        let mut known = 0;
        for target in rrset.rdatas().filter_map(|rdata| rdata::target(rrset.rtype, rdata)) {
            // Services on several ports name one host: its addresses come once.
            if !target.is_in(self.zone.apex()) || hosts.iter().take(known).any(|host| *host == Some(target)) {
                continue;
            }
            let Some(slot) = hosts.get_mut(known) else { return };
            *slot = Some(target);
            known += 1;
            let Lookup::Found(Answer { node, .. }) = self.zone.lookup(KeyBuf::new(target).as_bytes(), Rtype::A) else {
                continue;
            };
            for addresses in [Rtype::A, Rtype::AAAA].iter().filter_map(|rtype| node.rrset(*rtype)) {
                if self.rrset(Place::Additional, target.into(), addresses).is_err() {
                    return;
                }
            }
        }
    }

    /// The names that led elsewhere so far.
    fn asked(&self) -> &[Name] {
        self.asked.as_ref().and_then(|asked| asked.get(..self.steps)).unwrap_or_default()
    }

    /// The owner of records at this name, which is where the chain has come to, or above it.
    fn owner<'n>(&self, name: NameRef<'n>) -> Owner<'n> {
        let before = self.question.name.as_bytes().len().checked_sub(name.as_bytes().len());
        match before.map(u8::try_from) {
            Some(Ok(before)) if self.steps == 0 => Owner::Asked(before),
            _ => Owner::Name(name),
        }
    }

    /// An RRset of the name that the chain has come to, or of one above it.
    fn answer(&mut self, name: NameRef<'_>, rrset: Rrset<'_>) -> Result<(), Full> {
        // A DNAME may lead to its own owner or below it again. Who asked below it has it already, and a record
        // comes once (RFC 2181 section 5).
        let has_it = |asked: &Name| asked.as_name_ref().is_in(name) && *asked != name;
        if rrset.rtype == Rtype::DNAME && self.asked().iter().any(has_it) {
            return Ok(());
        }
        self.rrset(Place::Answer, self.owner(name), rrset)
    }

    /// One RRset, whole or not at all (RFC 2181 section 5.1).
    fn rrset(&mut self, place: Place, owner: Owner<'_>, rrset: Rrset<'_>) -> Result<(), Full> {
        self.composer.records(place, owner, rrset.rtype, Class::IN, rrset.ttl, rrset.rdatas())
    }
}
