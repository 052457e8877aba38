//! Updates: prerequisites, prescan, application, and who may change what (RFC 2136).
//!
//! [`apply_update`] takes a zone and a request and returns what the request changes, or why it is refused. The
//! zone stays as it is: the caller makes the changes durable first and publishes them then.

mod apply;
mod message;
pub mod policy;
mod prerequisite;
mod prescan;

pub use message::{Entry, UpdateMessage};

use crate::wire::{Name, Rcode, Rtype};
use crate::zone::{Changes, KeyBuf, Zone};
use policy::{Denied, UpdatePolicy};

/// What `update` changes in `zone`, asked for by the holder of `key` (RFC 2136 section 3).
///
/// In the RFC's order: prerequisites (3.2), then the request itself (3.4.1), then rights (3.3), so that a right is
/// asked only for what can be carried out; then each operation in turn (3.4.2). No changes is a success.
pub fn apply_update(
    zone: &Zone,
    update: &UpdateMessage,
    policy: &UpdatePolicy,
    key: &Name,
) -> Result<Changes, Refusal> {
    prerequisite::check(zone, &update.prerequisites)?;
    prescan::check(zone, &update.operations)?;
    for operation in &update.operations {
        permit(zone, operation, policy, key).map_err(Refusal::Denied)?;
    }
    apply::apply(zone, &update.operations)
}

/// Section 3.3. To delete a whole name, rights to the types it has will do; what an earlier operation of
/// the same update adds was permitted with that operation.
fn permit(zone: &Zone, operation: &Entry, policy: &UpdatePolicy, key: &Name) -> Result<(), Denied> {
    if operation.rtype != Rtype::ANY {
        return policy.decide(key, &operation.owner, operation.rtype);
    }
    let node = zone.node(KeyBuf::new(&operation.owner).as_bytes());
    let stays = |rtype| operation.owner == *zone.apex() && matches!(rtype, Rtype::SOA | Rtype::NS);
    let types = node.into_iter().flat_map(|node| node.rrsets()).map(|rrset| rrset.rtype);
    policy.decide_all(key, &operation.owner, types.filter(|rtype| !stays(*rtype)))
}

/// Why an update is refused as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// The message or an entry of it is malformed.
    Malformed {
        /// The owner, where an entry is at fault.
        owner: Option<Name>,
        /// What is wrong, with the RFC section.
        rule: &'static str,
    },
    /// A prerequisite does not hold (RFC 2136 section 3.2).
    Prerequisite {
        /// YXDOMAIN, NXDOMAIN, YXRRSET or NXRRSET.
        rcode: Rcode,
        /// The owner.
        owner: Name,
        /// The type, ANY for the whole name.
        rtype: Rtype,
    },
    /// An owner outside the zone (RFC 2136 sections 3.2.1 and 3.4.1.3).
    NotZone(Name),
    /// An RRset would grow longer than any answer can be, or all that an owner has too long.
    TooLong {
        /// The owner.
        owner: Name,
        /// The type, ANY for all.
        rtype: Rtype,
    },
    /// The zone is not served here, and the key's holder may not make it.
    NoNewZone(Name, Denied),
    /// The key's holder has no right to it (RFC 2136 section 3.3).
    Denied(Denied),
    /// The update carries no signature (RFC 3007 section 3).
    Unsigned,
    /// The zone is not served here (RFC 2136 section 3.1.2).
    NotAuth(Name),
    /// The change could not be made durable.
    Storage,
}

impl Refusal {
    /// The response code (RFC 2136 section 2.2).
    pub fn rcode(&self) -> Rcode {
        match self {
            Refusal::Malformed { .. } => Rcode::FORMERR,
            Refusal::Prerequisite { rcode, .. } => *rcode,
            Refusal::NotZone(_) => Rcode::NOTZONE,
            Refusal::Denied(_) | Refusal::Unsigned | Refusal::TooLong { .. } => Rcode::REFUSED,
            Refusal::NotAuth(_) | Refusal::NoNewZone(..) => Rcode::NOTAUTH,
            Refusal::Storage => Rcode::SERVFAIL,
        }
    }
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Refusal::Malformed { owner: None, rule } => write!(f, "malformed: {rule}"),
            Refusal::Malformed { owner: Some(owner), rule } => write!(f, "malformed entry for {owner}: {rule}"),
            Refusal::Prerequisite { rcode, owner, rtype } => match *rcode {
                Rcode::YXDOMAIN => write!(f, "prerequisite not met: {owner} is in use and must not be"),
                Rcode::NXDOMAIN => write!(f, "prerequisite not met: {owner} is not in use and must be"),
                Rcode::YXRRSET => write!(f, "prerequisite not met: {owner} has {rtype} records and must not"),
                _ => write!(f, "prerequisite not met: {owner} does not have the {rtype} records it must have"),
            },
            Refusal::NotZone(owner) => write!(f, "{owner} is not in the zone; send it to its own zone"),
            Refusal::TooLong { owner, rtype: Rtype::ANY } => {
                write!(f, "the records of {owner} would be more than 128 KiB; delete some first")
            }
            Refusal::TooLong { owner, rtype } => {
                write!(
                    f,
                    "the {rtype} records of {owner} would no longer fit an answer of 65,535 octets; delete some first"
                )
            }
            Refusal::NoNewZone(zone, denied) => write!(f, "zone {zone} is not served here, and {denied}"),
            Refusal::Denied(denied) => write!(f, "{denied}"),
            Refusal::Unsigned => f.write_str("the update is not signed; sign it with a TSIG key (nsupdate -k FILE)"),
            Refusal::NotAuth(zone) => {
                write!(f, "zone {zone} is not served here; add it with --zone or in the configuration")
            }
            Refusal::Storage => f.write_str("the change could not be made durable; see the storage error in the log"),
        }
    }
}

impl std::error::Error for Refusal {}

#[cfg(test)]
mod tests;
