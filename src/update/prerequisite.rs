//! Prerequisites: what the requester says must hold (RFC 2136 section 3.2).
//!
//! Names are taken as they stand: no wildcard is expanded and no CNAME followed, and an empty non-terminal is
//! not "in use" (section 2.4.4: a name is in use if it owns at least one RR).

use super::{Entry, Refusal};
use crate::wire::rdata;
use crate::wire::{Class, Name, Rcode, Rtype};
use crate::zone::{KeyBuf, Rrset, Zone};

/// Checks every prerequisite, in order; the first that fails is the answer.
pub(super) fn check(zone: &Zone, prerequisites: &[Entry]) -> Result<(), Refusal> {
    for entry in prerequisites {
        check_one(zone, entry)?;
    }
    // Section 3.2.3: the value-dependent ones are collected first and compared as whole RRsets then.
    for (index, entry) in prerequisites.iter().enumerate().filter(|(_, entry)| entry.class == Class::IN) {
        let same_set =
            |other: &&Entry| other.class == Class::IN && other.owner == entry.owner && other.rtype == entry.rtype;
        if prerequisites.iter().take(index).any(|earlier| same_set(&earlier)) {
            continue;
        }
        let wanted: Vec<&[u8]> =
            prerequisites.iter().filter(same_set).filter_map(|other| other.rdata.as_deref().ok()).collect();
        let key = KeyBuf::new(&entry.owner);
        let rrset = zone.node(key.as_bytes()).and_then(|node| node.rrset(entry.rtype));
        if !rrset.is_some_and(|rrset| equal(rrset, &wanted)) {
            return Err(unmet(Rcode::NXRRSET, entry.owner, entry.rtype));
        }
    }
    Ok(())
}

/// The checks of one entry by itself (section 3.2.5), all but the comparison of values.
fn check_one(zone: &Zone, entry: &Entry) -> Result<(), Refusal> {
    let malformed = |rule| Err(Refusal::Malformed { owner: Some(entry.owner), rule });
    if entry.ttl != 0 {
        return malformed("a prerequisite's TTL must be 0 (RFC 2136 section 3.2.5)");
    }
    if !entry.owner.is_in(zone.apex()) {
        return Err(Refusal::NotZone(entry.owner));
    }
    let key = KeyBuf::new(&entry.owner);
    let node = zone.node(key.as_bytes());
    let has = |rtype| node.is_some_and(|node| node.rrset(rtype).is_some());
    if entry.class == Class::ANY || entry.class == Class::NONE {
        if !entry.has_no_data() {
            return malformed("a prerequisite without a value must have no data (RFC 2136 section 3.2.5)");
        }
        if entry.rtype != Rtype::ANY && entry.rtype.is_meta() {
            return malformed("a prerequisite cannot ask for this type (RFC 2136 section 2.4)");
        }
    }
    let (holds, rcode) = match (entry.class, entry.rtype) {
        (Class::ANY, Rtype::ANY) => (node.is_some(), Rcode::NXDOMAIN),
        (Class::ANY, rtype) => (has(rtype), Rcode::NXRRSET),
        (Class::NONE, Rtype::ANY) => (node.is_none(), Rcode::YXDOMAIN),
        (Class::NONE, rtype) => (!has(rtype), Rcode::YXRRSET),
        (Class::IN, rtype) if rtype.is_meta() => {
            return malformed("a prerequisite cannot ask for this type (RFC 2136 section 2.4)");
        }
        (Class::IN, _) if entry.rdata.is_err() => return malformed("its data is not data of its type"),
        (Class::IN, _) => return Ok(()),
        _ => return malformed("a prerequisite's class must be ANY, NONE or the zone's (RFC 2136 section 3.2.5)"),
    };
    if holds { Ok(()) } else { Err(unmet(rcode, entry.owner, entry.rtype)) }
}

/// Whether an RRset holds exactly the wanted records, whatever their order and their TTL.
fn equal(rrset: &Rrset, wanted: &[&[u8]]) -> bool {
    wanted.iter().all(|rdata| rrset.has(rdata))
        && rrset.rdatas().all(|mine| wanted.iter().any(|rdata| rdata::eq(rrset.rtype, mine, rdata)))
}

fn unmet(rcode: Rcode, owner: Name, rtype: Rtype) -> Refusal {
    Refusal::Prerequisite { rcode, owner, rtype }
}
