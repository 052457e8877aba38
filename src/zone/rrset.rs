//! RRsets: the records of one owner and type, which share one TTL (RFC 2181 section 5.2).

use crate::wire::{Rtype, Ttl, rdata};
use std::sync::Arc;

/// The records of one owner and type. Cloning shares them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rrset {
    /// The type.
    pub rtype: Rtype,
    /// The TTL of every record (RFC 2181 section 5.2).
    pub ttl: Ttl,
    /// Each record's data, two octets of length before it.
    packed: Arc<[u8]>,
}

impl Rrset {
    /// An RRset of one record.
    pub fn one(rtype: Rtype, ttl: Ttl, rdata: &[u8]) -> Rrset {
        Rrset::pack(rtype, ttl, std::iter::once(rdata))
    }

    /// An RRset of these records; data of more than 65,535 octets is no record and is left out.
    pub fn pack<'a>(rtype: Rtype, ttl: Ttl, rdatas: impl Iterator<Item = &'a [u8]>) -> Rrset {
        let mut packed = Vec::new();
        for rdata in rdatas {
            if let Ok(length) = u16::try_from(rdata.len()) {
                packed.extend_from_slice(&length.to_be_bytes());
                packed.extend_from_slice(rdata);
            }
        }
        Rrset { rtype, ttl, packed: packed.into() }
    }

    /// The data of each record, in the order they came.
    pub fn rdatas(&self) -> Rdatas<'_> {
        Rdatas { rest: &self.packed }
    }

    /// Whether there is no record left.
    pub fn is_empty(&self) -> bool {
        self.packed.is_empty()
    }

    /// Whether a record has this data, names in it compared without case (RFC 2136 section 1.1.1).
    pub fn has(&self, rdata: &[u8]) -> bool {
        self.rdatas().any(|mine| rdata::eq(self.rtype, mine, rdata))
    }

    /// This RRset with one record more, all at `ttl`. Where a record has equal data already, only the TTL changes
    /// (RFC 2136 section 3.4.2.2).
    pub fn plus(&self, ttl: Ttl, rdata: &[u8]) -> Rrset {
        if self.has(rdata) {
            return Rrset { ttl, ..self.clone() };
        }
        Rrset::pack(self.rtype, ttl, self.rdatas().chain(std::iter::once(rdata)))
    }

    /// This RRset without the record of equal data.
    pub fn minus(&self, rdata: &[u8]) -> Rrset {
        Rrset::pack(self.rtype, self.ttl, self.rdatas().filter(|mine| !rdata::eq(self.rtype, mine, rdata)))
    }
}

/// The data of each record of an RRset.
#[derive(Debug, Clone)]
pub struct Rdatas<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Rdatas<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let (length, rest) = self.rest.split_first_chunk()?;
        let (rdata, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
        self.rest = rest;
        Some(rdata)
    }
}

/// Everything at one owner: its RRsets in the order of their types' numbers. Cloning shares them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node(Arc<[Rrset]>);

impl Node {
    /// An owner without records.
    pub fn empty() -> Node {
        Node(Arc::new([]))
    }

    /// The RRset of a type.
    pub fn rrset(&self, rtype: Rtype) -> Option<&Rrset> {
        self.0.iter().find(|rrset| rrset.rtype == rtype)
    }

    /// All RRsets, in the order of their types' numbers.
    pub fn rrsets(&self) -> std::slice::Iter<'_, Rrset> {
        self.0.iter()
    }

    /// Whether there is no record.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// This owner with `rrset` in the place of what it had of the type; an empty RRset takes the type away.
    pub fn with(&self, rrset: Rrset) -> Node {
        let before = self.0.iter().filter(|other| other.rtype < rrset.rtype).cloned();
        let after = self.0.iter().filter(|other| other.rtype > rrset.rtype).cloned();
        let middle = (!rrset.is_empty()).then(|| rrset.clone());
        Node(before.chain(middle).chain(after).collect())
    }

    /// This owner without the types that `keep` refuses.
    pub fn retain(&self, keep: impl Fn(Rtype) -> bool) -> Node {
        Node(self.0.iter().filter(|rrset| keep(rrset.rtype)).cloned().collect())
    }
}
