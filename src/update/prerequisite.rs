//! Prerequisites: what the requester says must hold (RFC 2136 section 3.2).
//!
//! Names are taken as they stand: no wildcard is expanded and no CNAME followed, and an empty non-terminal is
//! not "in use" (section 2.4.4: a name is in use if it owns at least one RR).

use super::{Entry, Refusal};
use crate::wire::{Class, Name, Rcode, Rtype, rdata};
use crate::zone::{Key, KeyBuf, Rrset, Zone};
use std::collections::{BTreeMap, BTreeSet};

/// Checks every prerequisite, in order; the first that fails is the answer.
pub(super) fn check(zone: &Zone, prerequisites: &[Entry]) -> Result<(), Refusal> {
    for entry in prerequisites {
        check_one(zone, entry)?;
    }
    // Section 3.2.3: the value-dependent ones are collected first and compared as whole RRsets then.
    let mut wanted: BTreeMap<(Key, Rtype), BTreeSet<Vec<u8>>> = BTreeMap::new();
    for entry in prerequisites.iter().filter(|entry| entry.class == Class::IN) {
        if let Ok(rdata) = &entry.rdata {
            let set = wanted.entry((Key::new(&entry.owner), entry.rtype)).or_default();
            set.insert(rdata::canonical(entry.rtype, rdata));
        }
    }
    for ((owner, rtype), wanted) in wanted {
        let rrset = zone.node(owner.as_bytes()).and_then(|node| node.rrset(rtype));
        if !rrset.is_some_and(|rrset| equal(rrset, &wanted)) {
            return Err(unmet(Rcode::NXRRSET, owner.name(), rtype));
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
fn equal(rrset: Rrset<'_>, wanted: &BTreeSet<Vec<u8>>) -> bool {
    let held: BTreeSet<Vec<u8>> = rrset.rdatas().map(|rdata| rdata::canonical(rrset.rtype, rdata)).collect();
    held == *wanted
}

fn unmet(rcode: Rcode, owner: Name, rtype: Rtype) -> Refusal {
    Refusal::Prerequisite { rcode, owner, rtype }
}
