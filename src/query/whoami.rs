//! The name that answers with the address its question came from, whatever the zones hold there: so a host behind a
//! router learns its own address from the server that it will update.
//!
//! A and AAAA answer in the family of the question's transport, TXT in either. The TTL is 0, and what there is none of
//! comes without a SOA, so nobody keeps another asker's answer (RFC 2308 section 5). Other names pay for one comparison.

use super::Reason;
use super::reply::Reply;
use super::respond::txt;
use crate::wire::{Class, Flags, Full, Owner, Place, Rtype, Ttl};
use std::io::Write;
use std::net::IpAddr;

/// Answers a question for the name, asked from `source`.
pub(super) fn whoami(source: IpAddr, rtype: Rtype, reply: &mut Reply<'_>) -> Reason {
    let mut write = |rtype, rdata: &[u8]| {
        reply.composer.record(Place::Answer, Owner::Asked(0), rtype, Class::IN, Ttl::new(0), rdata)
    };
    let written = match (rtype, source.to_canonical()) {
        (Rtype::A | Rtype::ANY, IpAddr::V4(address)) => write(Rtype::A, &address.octets()),
        (Rtype::AAAA | Rtype::ANY, IpAddr::V6(address)) => write(Rtype::AAAA, &address.octets()),
        (Rtype::TXT, address) => text(address, write),
        _ => return Reason::NoData,
    };
    match written {
        Ok(()) => Reason::Answered,
        Err(Full) => {
            reply.composer.set(Flags::TC);
            Reason::Truncated
        }
    }
}

/// The address in words; on the stack, as all of the query path.
fn text(address: IpAddr, mut write: impl FnMut(Rtype, &[u8]) -> Result<(), Full>) -> Result<(), Full> {
    // The longest IPv6 address in words has 39 octets.
    let mut words = [0; 46];
    let mut room = words.as_mut_slice();
    // It has room.
    let _ = write!(room, "{address}");
    let left = room.len();
    let (rdata, len) = txt(words.get(..words.len() - left).unwrap_or_default());
    write(Rtype::TXT, rdata.get(..len).unwrap_or_default())
}
