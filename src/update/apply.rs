//! Carrying out operations, each upon what the one before it left (RFC 2136 section 3.4.2).

use super::{Entry, Refusal};
use crate::wire::rdata::Soa;
use crate::wire::{Class, Rtype, Ttl};
use crate::zone::{Changes, Draft, Key, Node, NodeBuf, RrsetBuf, Serial, Zone, soa_of};

/// What the operations change, the serial moved on if anything is (section 3.6).
///
/// An RRset that no answer could hold is refused: a server must be able to return what it holds.
pub(super) fn apply(zone: &Zone, operations: &[Entry]) -> Result<Changes, Refusal> {
    let mut draft = Draft::new(zone);
    for entry in operations {
        let Ok(rdata) = &entry.rdata else { continue };
        let owner = Key::new(&entry.owner);
        let at_apex = owner == *zone.apex_key();
        let node = draft.node(owner.as_bytes());
        let changed = match entry.class {
            Class::IN if entry.rtype == Rtype::SOA && !follows(zone.serial(), rdata) => None,
            Class::IN => add(node, at_apex, entry.rtype, Ttl::new(entry.ttl), rdata),
            Class::ANY => delete_rrsets(node, at_apex, entry.rtype),
            _ => delete_record(node, at_apex, entry.rtype, rdata),
        };
        if let Some(changed) = changed {
            draft.set(&owner, changed);
            // At once, whatever would come after: each operation upon it copies all of it.
            if draft.is_too_large(&owner) {
                break;
            }
        }
    }
    match draft.overgrown() {
        Some((owner, rtype)) => Err(Refusal::TooLong { owner: owner.name(), rtype }),
        None => Ok(draft.finish()),
    }
}

/// Section 3.4.2.2: adds a record, unless it may not stand beside what is there; then it is silently ignored.
fn add(node: Node<'_>, at_apex: bool, rtype: Rtype, ttl: Ttl, rdata: &[u8]) -> Option<NodeBuf> {
    let beside_cname = |other: Rtype| other.stands_beside_cname() || other == Rtype::CNAME;
    let refused = match rtype {
        Rtype::CNAME => node.rrsets().any(|rrset| !beside_cname(rrset.rtype)),
        other => !other.stands_beside_cname() && node.rrset(Rtype::CNAME).is_some(),
    };
    if refused {
        return None;
    }
    match rtype {
        // An SOA belongs to the apex, and must come after the one that is there by serial arithmetic.
        Rtype::SOA => {
            let old = node.rrset(Rtype::SOA).filter(|_| at_apex).and_then(soa_of)?;
            let new = Soa::parse(rdata).ok()?;
            Serial(new.serial)
                .is_after(Serial(old.serial))
                .then(|| node.with(RrsetBuf::one(rtype, ttl, rdata).as_rrset()))
        }
        // There is never more than one CNAME (RFC 2181 section 10.1) or DNAME (RFC 6672 section 2.4).
        Rtype::CNAME | Rtype::DNAME => match node.rrset(rtype) {
            Some(rrset) if rrset.has(rdata) => Some(node.with(rrset.plus(ttl, rdata).as_rrset())),
            _ => Some(node.with(RrsetBuf::one(rtype, ttl, rdata).as_rrset())),
        },
        _ => match node.rrset(rtype) {
            // RFC 2136 section 3.4.2.2: a WKS record replaces the one of its address and protocol.
            Some(rrset) if rtype == Rtype::WKS => {
                let same = |mine: &[u8]| mine.get(..5) == rdata.get(..5);
                let others = rrset.rdatas().filter(|mine| !same(mine));
                Some(node.with(RrsetBuf::pack(rtype, ttl, others.chain(std::iter::once(rdata))).as_rrset()))
            }
            Some(rrset) => Some(node.with(rrset.plus(ttl, rdata).as_rrset())),
            None => Some(node.with(RrsetBuf::one(rtype, ttl, rdata).as_rrset())),
        },
    }
}

/// Whether an SOA comes after the serial that the zone had before the update. Several in one update could each
/// come after the one before, and the last of them before the first: a secondary would never ask for it (RFC 1982
/// section 3.2).
fn follows(before: Serial, rdata: &[u8]) -> bool {
    Soa::parse(rdata).is_ok_and(|soa| Serial(soa.serial).is_after(before))
}

/// Section 3.4.2.3: deletes an RRset, or with type ANY all of the name's. The apex keeps its SOA and NS.
fn delete_rrsets(node: Node<'_>, at_apex: bool, rtype: Rtype) -> Option<NodeBuf> {
    let kept = |candidate: Rtype| at_apex && matches!(candidate, Rtype::SOA | Rtype::NS);
    match rtype {
        Rtype::ANY => Some(node.retain(kept)),
        _ if kept(rtype) => None,
        _ => Some(node.retain(|candidate| candidate != rtype)),
    }
}

/// Section 3.4.2.4: deletes one record. The apex must keep its SOA and one NS, so those deletions are
/// skipped, not refused.
fn delete_record(node: Node<'_>, at_apex: bool, rtype: Rtype, rdata: &[u8]) -> Option<NodeBuf> {
    if rtype == Rtype::SOA {
        return None;
    }
    let left = node.rrset(rtype)?.minus(rdata);
    if at_apex && rtype == Rtype::NS && left.as_rrset().is_empty() {
        return None;
    }
    Some(node.with(left.as_rrset()))
}
