//! RRsets and nodes: the records of one owner, packed.
//!
//! A [`Rrset`] is the records of one owner and type, which share one TTL (RFC 2181 section 5.2); a [`Node`] is all
//! RRsets of one owner in the order of their types' numbers. Both are views of packed octets, which lie in a zone or in
//! a [`RrsetBuf`] or [`NodeBuf`]:
//!
//! ```text
//! a node: for each RRset
//!   2  the type
//!   4  the TTL
//!   4  how many octets of records follow
//!   for each record
//!     2  how long its data is
//!     n  the data, in wire form with names uncompressed
//! ```

use crate::wire::{Rtype, Ttl, rdata};

/// The records of one owner and type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rrset<'a> {
    /// The type.
    pub rtype: Rtype,
    /// The TTL of every record (RFC 2181 section 5.2).
    pub ttl: Ttl,
    packed: &'a [u8],
}

/// An RRset with octets of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RrsetBuf {
    rtype: Rtype,
    ttl: Ttl,
    packed: Vec<u8>,
}

/// The octets of an RRset in a node before its records.
const RRSET_HEAD: usize = 10;

impl<'a> Rrset<'a> {
    /// The data of each record, in the order they came.
    pub fn rdatas(self) -> Rdatas<'a> {
        Rdatas { rest: self.packed }
    }

    /// The same records at another TTL.
    pub fn with_ttl(self, ttl: Ttl) -> Rrset<'a> {
        Rrset { ttl, ..self }
    }

    /// Whether there is no record.
    pub fn is_empty(self) -> bool {
        self.packed.is_empty()
    }

    /// How many octets its records take in an answer, their owner as a pointer (RFC 1035 section 4.1.4).
    pub fn wire_len(self) -> usize {
        // Packed, a record has two octets of length before its data; in an answer it has twelve.
        self.packed.len() + 10 * self.rdatas().count()
    }

    /// Whether a record has this data, names in it compared without case (RFC 2136 section 1.1.1).
    pub fn has(self, rdata: &[u8]) -> bool {
        self.rdatas().any(|mine| rdata::eq(self.rtype, mine, rdata))
    }

    /// This RRset with one record more, all at `ttl`. Where a record has equal data already, only the TTL changes
    /// (RFC 2136 section 3.4.2.2).
    pub fn plus(self, ttl: Ttl, rdata: &[u8]) -> RrsetBuf {
        let mut packed = Vec::with_capacity(self.packed.len() + 2 + rdata.len());
        packed.extend_from_slice(self.packed);
        if let (false, Ok(length)) = (self.has(rdata), u16::try_from(rdata.len())) {
            packed.extend_from_slice(&length.to_le_bytes());
            packed.extend_from_slice(rdata);
        }
        RrsetBuf { rtype: self.rtype, ttl, packed }
    }

    /// This RRset without the record of equal data.
    pub fn minus(self, rdata: &[u8]) -> RrsetBuf {
        let mut left = RrsetBuf { rtype: self.rtype, ttl: self.ttl, packed: Vec::with_capacity(self.packed.len()) };
        self.rdatas().filter(|mine| !rdata::eq(self.rtype, mine, rdata)).for_each(|mine| left.push(mine));
        left
    }
}

impl RrsetBuf {
    /// An RRset of one record.
    pub fn one(rtype: Rtype, ttl: Ttl, rdata: &[u8]) -> RrsetBuf {
        let mut one = RrsetBuf { rtype, ttl, packed: Vec::with_capacity(2 + rdata.len()) };
        one.push(rdata);
        one
    }

    /// An RRset of these records; data of more than 65,535 octets is no record and is left out.
    pub fn pack<'r>(rtype: Rtype, ttl: Ttl, rdatas: impl Iterator<Item = &'r [u8]>) -> RrsetBuf {
        let mut rrset = RrsetBuf { rtype, ttl, packed: Vec::new() };
        rdatas.for_each(|rdata| rrset.push(rdata));
        rrset
    }

    fn push(&mut self, rdata: &[u8]) {
        if let Ok(length) = u16::try_from(rdata.len()) {
            self.packed.extend_from_slice(&length.to_le_bytes());
            self.packed.extend_from_slice(rdata);
        }
    }

    /// The RRset.
    pub fn as_rrset(&self) -> Rrset<'_> {
        Rrset { rtype: self.rtype, ttl: self.ttl, packed: &self.packed }
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
        let (rdata, rest) = rest.split_at_checked(usize::from(u16::from_le_bytes(*length)))?;
        self.rest = rest;
        Some(rdata)
    }
}

/// Everything at one owner: its RRsets in the order of their types' numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Node<'a>(&'a [u8]);

/// A node with octets of its own.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NodeBuf(Vec<u8>);

impl<'a> Node<'a> {
    /// An owner without records.
    pub const EMPTY: Node<'static> = Node(&[]);

    /// A node from octets that [`Node::as_bytes`] gave.
    pub(crate) fn new(octets: &'a [u8]) -> Node<'a> {
        Node(octets)
    }

    /// The octets.
    pub(crate) fn as_bytes(self) -> &'a [u8] {
        self.0
    }

    /// The RRset of a type.
    pub fn rrset(self, rtype: Rtype) -> Option<Rrset<'a>> {
        self.rrsets().find(|rrset| rrset.rtype == rtype)
    }

    /// All RRsets, in the order of their types' numbers.
    pub fn rrsets(self) -> Rrsets<'a> {
        Rrsets { rest: self.0 }
    }

    /// Whether there is no record.
    pub fn is_empty(self) -> bool {
        self.0.is_empty()
    }

    /// This owner with `rrset` in the place of what it had of the type; an empty RRset takes the type away.
    pub fn with(self, rrset: Rrset<'_>) -> NodeBuf {
        let mut node = NodeBuf(Vec::with_capacity(self.0.len() + RRSET_HEAD + rrset.packed.len()));
        self.rrsets().filter(|other| other.rtype < rrset.rtype).for_each(|other| node.push(other));
        if !rrset.is_empty() {
            node.push(rrset);
        }
        self.rrsets().filter(|other| other.rtype > rrset.rtype).for_each(|other| node.push(other));
        node
    }

    /// This owner without the types that `keep` refuses.
    pub fn retain(self, keep: impl Fn(Rtype) -> bool) -> NodeBuf {
        let mut node = NodeBuf(Vec::with_capacity(self.0.len()));
        self.rrsets().filter(|rrset| keep(rrset.rtype)).for_each(|rrset| node.push(rrset));
        node
    }
}

impl NodeBuf {
    /// The node.
    pub fn as_node(&self) -> Node<'_> {
        Node(&self.0)
    }

    /// Takes every RRset away, and keeps the room.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// Adds an RRset whose type comes after those that are there.
    pub(super) fn push(&mut self, rrset: Rrset<'_>) {
        // A message or a journal frame is where records come from: none is near four gigabytes.
        let Ok(size) = u32::try_from(rrset.packed.len()) else { return };
        self.0.reserve(RRSET_HEAD + rrset.packed.len());
        self.0.extend_from_slice(&rrset.rtype.0.to_le_bytes());
        self.0.extend_from_slice(&rrset.ttl.seconds().to_le_bytes());
        self.0.extend_from_slice(&size.to_le_bytes());
        self.0.extend_from_slice(rrset.packed);
    }
}

impl From<Node<'_>> for NodeBuf {
    fn from(node: Node<'_>) -> NodeBuf {
        NodeBuf(node.0.to_vec())
    }
}

/// The RRsets of a node.
#[derive(Debug, Clone)]
pub struct Rrsets<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Rrsets<'a> {
    type Item = Rrset<'a>;

    fn next(&mut self) -> Option<Rrset<'a>> {
        let (&[y0, y1, t0, t1, t2, t3, s0, s1, s2, s3], rest) = self.rest.split_first_chunk::<RRSET_HEAD>()?;
        let size = usize::try_from(u32::from_le_bytes([s0, s1, s2, s3])).ok()?;
        let (packed, rest) = rest.split_at_checked(size)?;
        self.rest = rest;
        let ttl = Ttl::new(u32::from_le_bytes([t0, t1, t2, t3]));
        Some(Rrset { rtype: Rtype(u16::from_le_bytes([y0, y1])), ttl, packed })
    }
}
