//! Record data of every type: read from messages, checked, compared, and taken apart for an answer.
//!
//! Data is held as octets, its names uncompressed and in the case they were given. The table in
//! `shape` says of each known type what its fields are; types that are not in it are any octets
//! (RFC 3597). Data that passed [`read`] or [`validate`] is well formed for its type; the other functions
//! take any octets all the same, and never panic.

mod check;
mod shape;
mod soa;

pub(crate) use shape::{Field, shape};
pub use shape::{Part, Parts};
pub use soa::Soa;

use super::{Name, NameError, NameRef, Rtype};
use shape::Names;
use std::fmt;

/// Why octets are not the data of a record of this type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RdataError {
    rtype: Rtype,
    fault: Fault,
}

/// What is wrong with the data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    Short,
    Trailing,
    TooLong,
    Compressed,
    Name(NameError),
    Value(&'static str),
}

/// Reads the data of `len` octets at `at` in `message` and returns it with its names uncompressed.
///
/// Names may be compressed in the types of RFC 3597 section 4 only; elsewhere a pointer is an error.
pub fn read(message: &[u8], at: usize, len: usize, rtype: Rtype) -> Result<Box<[u8]>, RdataError> {
    let fail = |fault| RdataError { rtype, fault };
    let end = at.checked_add(len).ok_or(fail(Fault::Short))?;
    let given = message.get(at..end).ok_or(fail(Fault::Short))?;
    let shape = shape(rtype);
    if !matches!(shape.names, Names::Compressed | Names::Decompressed) {
        validate(rtype, given)?;
        return Ok(given.into());
    }
    let mut rdata = Vec::with_capacity(len + 64);
    let mut at = at;
    for &field in shape.fields {
        if field == Field::Name {
            let (name, next) = Name::read(message, at).map_err(|error| fail(Fault::Name(error)))?;
            if next > end {
                return Err(fail(Fault::Short));
            }
            rdata.extend_from_slice(name.as_bytes());
            at = next;
        } else {
            let rest = message.get(at..end).unwrap_or_default();
            let size = field.len(&rdata, rest).map_err(fail)?;
            rdata.extend_from_slice(rest.get(..size).unwrap_or_default());
            at += size;
        }
    }
    if at != end {
        return Err(fail(Fault::Trailing));
    }
    // A name may grow by 250 octets, so data that filled the message may no longer fit one.
    if rdata.len() > usize::from(u16::MAX) {
        return Err(fail(Fault::TooLong));
    }
    Ok(rdata.into())
}

/// Checks uncompressed data.
pub fn validate(rtype: Rtype, rdata: &[u8]) -> Result<(), RdataError> {
    let fail = |fault| RdataError { rtype, fault };
    if rdata.len() > usize::from(u16::MAX) {
        return Err(fail(Fault::TooLong));
    }
    let mut at = 0;
    for &field in shape(rtype).fields {
        let (before, rest) = rdata.split_at_checked(at).ok_or(fail(Fault::Short))?;
        at += field.len(before, rest).map_err(fail)?;
    }
    if at == rdata.len() { Ok(()) } else { Err(fail(Fault::Trailing)) }
}

/// Whether two records of this type have the same data (RFC 2136 section 1.1): names without case in the
/// types of RFC 4034 section 6.2, all else octet by octet.
pub fn eq(rtype: Rtype, a: &[u8], b: &[u8]) -> bool {
    if a == b {
        return true;
    }
    // Cheap before dear: what differs by more than case is equal in no type, and an update may compare each record of a
    // long RRset with each other.
    if !a.eq_ignore_ascii_case(b) {
        return false;
    }
    let mut b = b;
    named_parts(rtype, a).all(|part| {
        let (Part::Name(octets) | Part::Octets(octets)) = part;
        let Some((same, rest)) = b.split_at_checked(octets.len()) else { return false };
        b = rest;
        match part {
            // Length octets are below 'A', so folding cannot confuse them with letters.
            Part::Name(name) => name.eq_ignore_ascii_case(same),
            Part::Octets(octets) => octets == same,
        }
    })
}

/// The data in canonical form (RFC 4034 section 6.2), so that [`eq`] data have equal octets.
pub fn canonical(rtype: Rtype, rdata: &[u8]) -> Vec<u8> {
    let mut canonical = Vec::with_capacity(rdata.len());
    for part in named_parts(rtype, rdata) {
        match part {
            Part::Name(name) => canonical.extend(name.iter().map(u8::to_ascii_lowercase)),
            Part::Octets(octets) => canonical.extend_from_slice(octets),
        }
    }
    canonical
}

/// The data as names that may be compressed in a message and octets that go as they are (RFC 3597
/// section 4).
pub fn parts(rtype: Rtype, rdata: &[u8]) -> Parts<'_> {
    let shape = shape(rtype);
    Parts::new(if shape.names == Names::Compressed { shape.fields } else { &[] }, rdata)
}

/// The name that the data leads to: where a CNAME or DNAME points, and the host whose addresses go with an NS,
/// MX, SRV or the like (RFC 1034 section 4.3.2, RFC 2782, RFC 9460 section 4.1).
pub fn target(rtype: Rtype, rdata: &[u8]) -> Option<NameRef<'_>> {
    let at = match rtype {
        Rtype::NS | Rtype::CNAME | Rtype::DNAME | Rtype::PTR | Rtype::MD | Rtype::MF | Rtype::MB => 0,
        Rtype::MX | Rtype::AFSDB | Rtype::RT | Rtype::KX | Rtype::LP | Rtype::SVCB | Rtype::HTTPS => 2,
        Rtype::SRV => 6,
        Rtype::NAPTR => {
            let mut at = 4;
            for _ in 0..3 {
                at += usize::from(*rdata.get(at)?) + 1;
            }
            at
        }
        _ => return None,
    };
    NameRef::read(rdata, at).ok().map(|(name, _)| name)
}

/// Whether data of this type is more than one part for [`parts`]: it holds names that may be compressed.
pub(crate) fn has_compressed_names(rtype: Rtype) -> bool {
    shape(rtype).names == Names::Compressed
}

/// As [`parts`], but with every name that compares without case.
fn named_parts(rtype: Rtype, rdata: &[u8]) -> Parts<'_> {
    let shape = shape(rtype);
    Parts::new(if shape.names == Names::Opaque { &[] } else { shape.fields }, rdata)
}

impl fmt::Display for RdataError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "malformed {} data: ", self.rtype)?;
        match self.fault {
            Fault::Short => f.write_str("too short"),
            Fault::Trailing => f.write_str("octets left over at its end"),
            Fault::TooLong => f.write_str("longer than 65535 octets"),
            Fault::Compressed => f.write_str("a compressed name, which this type cannot have"),
            Fault::Name(error) => error.fmt(f),
            Fault::Value(what) => f.write_str(what),
        }
    }
}

impl std::error::Error for RdataError {}

#[cfg(test)]
mod tests;
