//! The prescan: every operation is looked at before any is carried out (RFC 2136 section 3.4.1).

use super::{Entry, Refusal};
use crate::wire::{Class, Rtype};
use crate::zone::Zone;

/// Checks the form of every operation.
pub(super) fn check(zone: &Zone, operations: &[Entry]) -> Result<(), Refusal> {
    operations.iter().try_for_each(|entry| check_one(zone, entry))
}

fn check_one(zone: &Zone, entry: &Entry) -> Result<(), Refusal> {
    let malformed = |rule| Err(Refusal::Malformed { owner: Some(entry.owner), rule });
    if !entry.owner.is_in(zone.apex()) {
        return Err(Refusal::NotZone(entry.owner));
    }
    match entry.class {
        Class::IN if entry.rtype.is_meta() => {
            malformed("records of this type cannot be added (RFC 2136 section 3.4.1.2)")
        }
        Class::IN if entry.rdata.is_err() => malformed("its data is not data of its type"),
        Class::IN => Ok(()),
        Class::ANY | Class::NONE if entry.ttl != 0 => {
            malformed("a deletion's TTL must be 0 (RFC 2136 section 3.4.1.2)")
        }
        Class::ANY if !entry.has_no_data() => malformed("deleting an RRset takes no data (RFC 2136 section 3.4.1.2)"),
        Class::ANY if entry.rtype != Rtype::ANY && entry.rtype.is_meta() => {
            malformed("records of this type cannot be deleted (RFC 2136 section 3.4.1.2)")
        }
        Class::NONE if entry.rtype.is_meta() => {
            malformed("records of this type cannot be deleted (RFC 2136 section 3.4.1.2)")
        }
        Class::NONE if entry.rdata.is_err() => malformed("its data is not data of its type"),
        Class::ANY | Class::NONE => Ok(()),
        _ => malformed("an update's class must be ANY, NONE or the zone's (RFC 2136 section 3.4.1.2)"),
    }
}
