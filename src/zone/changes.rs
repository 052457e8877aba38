//! What one commit does to a zone: the records it takes away and the records it brings.

use super::Key;
use crate::wire::{Rtype, Ttl};

/// One resource record of class IN.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Record {
    /// The owner.
    pub owner: Key,
    /// The type.
    pub rtype: Rtype,
    /// The time to live.
    pub ttl: Ttl,
    /// The data in wire form, names uncompressed and in the case they were given.
    pub rdata: Box<[u8]>,
}

/// The difference between two states of a zone, in the form IXFR has it (RFC 1995 section 4): first every
/// record of `removed` goes, with the TTL it had, then every record of `added` comes. A serial that moves
/// shows as the old SOA in `removed` and the new one in `added`.
///
/// Owners are in key order and types in numeric order, so equal differences are equal values.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Changes {
    /// The records that go, each with the TTL it had.
    pub removed: Vec<Record>,
    /// The records that come.
    pub added: Vec<Record>,
}

impl Changes {
    /// Whether nothing changes.
    pub fn is_empty(&self) -> bool {
        self.removed.is_empty() && self.added.is_empty()
    }

    /// The changes that undo these.
    pub fn inverse(self) -> Changes {
        Changes { removed: self.added, added: self.removed }
    }
}
