//! Zones made of records that come in key order, as a table, a zone file and a commit have them; and what a start does
//! to a zone before it is whole.
//!
//! Nothing here holds a zone as records: it takes little more memory on the way than at the end.

use super::tree::{Bulk, Taken};
use super::{Changes, Key, Node, NodeBuf, Record, RrsetBuf, Serial, Zone, ZoneError};
use crate::wire::{Name, Rtype, Ttl};

/// A zone in the making. What comes in key order, an owner's records by type, costs little; what comes otherwise is
/// kept aside and put in at the end.
#[derive(Debug)]
pub struct Builder {
    zone: Zone,
    bulk: Bulk,
    /// The owner that records are coming of.
    owner: Option<Key>,
    node: NodeBuf,
    /// What came out of order.
    late: Vec<(Key, NodeBuf)>,
}

/// A zone that may still lack its SOA: a start reads it from a table that was following a commit, and has the rest of
/// that commit, and those after it, from the journal.
#[derive(Debug)]
pub struct Unchecked {
    zone: Zone,
}

impl Builder {
    /// A zone without records.
    pub fn new(apex: &Name) -> Builder {
        let zone = Zone {
            apex: apex.to_lowercase(),
            apex_key: Key::new(apex),
            serial: Serial(0),
            soa: None,
            tree: Default::default(),
            special: Default::default(),
        };
        Builder { zone, bulk: Bulk::default(), owner: None, node: NodeBuf::default(), late: Vec::new() }
    }

    /// Takes the next record.
    ///
    /// Errors: it is outside the zone.
    pub fn record(&mut self, owner: &Key, rtype: Rtype, ttl: Ttl, rdata: &[u8]) -> Result<(), ZoneError> {
        if self.owner.as_ref() != Some(owner) {
            if self.zone.relative(owner.as_bytes()).is_none() {
                return Err(ZoneError::OutOfZone(owner.name(), self.zone.apex));
            }
            self.end_owner();
            self.owner = Some(owner.clone());
        }
        add(&mut self.node, rtype, ttl, rdata);
        Ok(())
    }

    /// Takes a whole owner: the key from the apex on, and runs of records of one type.
    pub fn owner<'r, R: IntoIterator<Item = &'r [u8]>>(
        &mut self,
        below: &[u8],
        runs: impl IntoIterator<Item = (Rtype, Ttl, R)>,
    ) {
        self.end_owner();
        for (rtype, ttl, rdatas) in runs {
            if self.node.as_node().rrsets().last().is_none_or(|last| last.rtype < rtype) {
                self.node.push(RrsetBuf::pack(rtype, ttl, rdatas.into_iter()).as_rrset());
            } else {
                rdatas.into_iter().for_each(|rdata| add(&mut self.node, rtype, ttl, rdata));
            }
        }
        self.put(below, None);
    }

    /// The zone, with or without an SOA.
    pub fn finish(mut self) -> Unchecked {
        self.end_owner();
        let Builder { mut zone, bulk, late, .. } = self;
        zone.tree = bulk.finish();
        for (owner, node) in late {
            // Its owner was found to be in the zone.
            let Ok(mut held) = zone.held(&owner) else { continue };
            for rrset in node.as_node().rrsets() {
                rrset.rdatas().for_each(|rdata| add(&mut held, rrset.rtype, rrset.ttl, rdata));
            }
            zone.put(&owner, &held);
        }
        Unchecked { zone }
    }

    fn end_owner(&mut self) {
        if let Some(owner) = self.owner.take() {
            let below = self.zone.relative(owner.as_bytes()).unwrap_or_default().to_vec();
            self.put(&below, Some(owner));
        }
    }

    /// Puts what has gathered at an owner.
    fn put(&mut self, below: &[u8], owner: Option<Key>) {
        let mut node = std::mem::take(&mut self.node);
        if node.as_node().is_empty() {
            return;
        }
        match self.bulk.push(below, node.as_node()) {
            Taken::Yes => {
                self.zone.special.recount(below.is_empty(), Node::EMPTY, node.as_node());
                // Its octets are used again for the next owner.
                node.clear();
                self.node = node;
            }
            Taken::OutOfOrder => {
                let owner = owner.unwrap_or_else(|| self.zone.apex_key.child(below));
                self.late.push((owner, node));
            }
        }
    }
}

impl Unchecked {
    /// Applies a commit, which may be in the zone in part already: what it removes need not be there, and what it adds
    /// may be.
    ///
    /// Errors: a record outside the zone.
    pub fn replay(&mut self, changes: &Changes) -> Result<(), ZoneError> {
        let nodes = self.zone.after(changes, |_| Ok(()))?;
        nodes.iter().for_each(|(owner, node)| self.zone.put(owner, node));
        Ok(())
    }

    /// The records, in key order.
    pub fn records(&self) -> impl Iterator<Item = Record> + '_ {
        self.zone.records()
    }

    /// The zone.
    ///
    /// Errors: it has no SOA.
    pub fn zone(mut self) -> Result<Zone, ZoneError> {
        let apex = self.zone.tree.get(&[]).map(NodeBuf::from).unwrap_or_default();
        self.zone.read_soa(apex.as_node())?;
        Ok(self.zone)
    }
}

/// Adds a record to what its owner has.
pub(super) fn add(node: &mut NodeBuf, rtype: Rtype, ttl: Ttl, rdata: &[u8]) {
    if node.as_node().rrsets().last().is_none_or(|last| last.rtype < rtype) {
        node.push(RrsetBuf::one(rtype, ttl, rdata).as_rrset());
        return;
    }
    let rrset = match node.as_node().rrset(rtype) {
        Some(rrset) => rrset.plus(ttl, rdata),
        None => RrsetBuf::one(rtype, ttl, rdata),
    };
    *node = node.as_node().with(rrset.as_rrset());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::zone::tests::record;

    #[test]
    fn the_order_in_which_records_come_does_not_matter() {
        let apex = Name::parse("Example").unwrap();
        let sorted = [
            record("example", Rtype::NS, 60, "ns"),
            record("example", Rtype::SOA, 60, "ns admin 7 1 1 1 60"),
            record("a.b.example", Rtype::A, 60, "192.0.2.1"),
            record("a.b.example", Rtype::AAAA, 60, "2001:db8::1"),
            record("d.example", Rtype::DNAME, 60, "elsewhere.test."),
            record("sub.example", Rtype::NS, 60, "ns"),
            record("*.sub.example", Rtype::A, 60, "192.0.2.1"),
        ];
        let zone = Zone::new(&apex, sorted.clone()).unwrap();
        for turn in 0..sorted.len() {
            let mut mixed = sorted.to_vec();
            mixed.rotate_left(turn);
            for records in [mixed.clone(), mixed.into_iter().rev().collect()] {
                let other = Zone::new(&apex, records).unwrap();
                assert!(zone.records().eq(other.records()));
                let counts =
                    |zone: &Zone| (zone.special.cuts, zone.special.dnames, zone.owners(), zone.tree.has_wildcards());
                assert_eq!(counts(&other), counts(&zone));
                assert_eq!(counts(&zone), (1, 1, 5, true));
            }
        }
    }

    #[test]
    fn a_commit_that_is_in_the_zone_in_part_is_finished() {
        let apex = Name::parse("example").unwrap();
        let soa = |serial: u32| record("example", Rtype::SOA, 60, &format!("ns admin {serial} 1 1 1 60"));
        let a = |owner, address| record(owner, Rtype::A, 60, address);
        let removed = vec![soa(1), a("a.example", "192.0.2.1"), a("b.example", "192.0.2.2")];
        let added = vec![soa(2), a("c.example", "192.0.2.3"), a("b.example", "192.0.2.4")];
        let changes = Changes { removed: removed.clone(), added: added.clone() };
        let whole = Zone::new(&apex, removed.clone()).unwrap().with(&changes).unwrap();
        for gone in 0..=removed.len() {
            for come in 0..=if gone < removed.len() { 0 } else { added.len() } {
                let mut builder = Builder::new(&apex);
                for record in removed[gone..].iter().chain(&added[..come]) {
                    builder.record(&record.owner, record.rtype, record.ttl, &record.rdata).unwrap();
                }
                let mut half = builder.finish();
                half.replay(&changes).unwrap();
                assert!(half.zone().unwrap().records().eq(whole.records()), "{gone} gone, {come} come");
            }
        }
        assert_eq!(Builder::new(&apex).finish().zone().unwrap_err(), ZoneError::NoSoa(apex));
    }
}
