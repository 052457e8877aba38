//! A zone of its own making: what a new zone without a zone file begins with.

use super::{Key, Record};
use crate::wire::rdata::Soa;
use crate::wire::{Name, NameError, Rtype, Ttl};

/// The SOA and NS records of a new zone; its name server is `ns` in the zone.
///
/// The negative TTL is a minute, so that a name that is about to be added is soon found (RFC 2308 section 5);
/// the other times are those RFC 1912 section 2.2 recommends for a zone that changes often.
///
/// Errors: a name too long to have `hostmaster` before it.
pub fn seed(apex: &Name) -> Result<Vec<Record>, NameError> {
    let server = apex.child(b"ns")?;
    let soa = Soa {
        mname: server,
        rname: apex.child(b"hostmaster")?,
        serial: 1,
        refresh: 1200,
        retry: 180,
        expire: 1_209_600,
        minimum: 60,
    };
    let owner = Key::new(apex);
    let ttl = Ttl::new(3600);
    Ok(vec![
        Record { owner: owner.clone(), rtype: Rtype::SOA, ttl, rdata: soa.to_rdata() },
        Record { owner, rtype: Rtype::NS, ttl, rdata: server.as_bytes().into() },
    ])
}
