//! Zones: their records, how a name is looked up in them, and what changes them.
//!
//! A zone is a value: a change makes a new one that shares what did not change, and readers keep
//! the old one for as long as they need it.

mod changes;
mod draft;
mod key;
mod lookup;
mod rrset;
mod seed;
mod serial;
mod set;
pub mod text;

pub use changes::{Changes, Record};
pub use draft::Draft;
pub use key::{Key, KeyBuf, name_of, parent_of};
pub use lookup::{Answer, Lookup};
pub use rrset::{Node, Rdatas, Rrset};
pub use seed::seed;
pub use serial::Serial;
pub use set::ZoneSet;

use crate::wire::rdata::Soa;
use crate::wire::{Name, Rtype};
use imbl::OrdMap;

/// One zone: every record at and below its apex down to the zones it delegates, glue included.
///
/// Cloning shares everything. There is always an SOA at the apex.
#[derive(Debug, Clone)]
pub struct Zone {
    apex: Name,
    apex_key: Key,
    serial: Serial,
    nodes: OrdMap<Key, Node>,
    /// How many owners below the apex have NS records, and how many owners have DNAME records: while there are
    /// none, a lookup need not look for them on its way.
    cuts: usize,
    dnames: usize,
}

/// Records or changes that would leave no zone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ZoneError {
    /// No SOA at the apex, or one that cannot be read (RFC 1035 section 5.2).
    NoSoa(Name),
    /// A record that is not at or below the apex.
    OutOfZone(Name, Name),
    /// A record to be removed that is not there: the changes belong to another state of the zone.
    Missing(Name, Rtype),
}

impl Zone {
    /// A zone of these records.
    ///
    /// Errors: a record outside the zone, no SOA at the apex.
    pub fn new(apex: &Name, records: impl IntoIterator<Item = Record>) -> Result<Zone, ZoneError> {
        let mut zone = Zone {
            apex: apex.to_lowercase(),
            apex_key: Key::new(apex),
            serial: Serial(0),
            nodes: OrdMap::new(),
            cuts: 0,
            dnames: 0,
        };
        for record in records {
            zone.insert(&record)?;
        }
        zone.read_serial()?;
        Ok(zone)
    }

    /// This zone after `changes`; itself it stays as it is. Takes time in proportion to the changes.
    ///
    /// Errors: changes that were made for another state of the zone, or that leave no zone.
    pub fn with(&self, changes: &Changes) -> Result<Zone, ZoneError> {
        let mut zone = self.clone();
        for record in &changes.removed {
            zone.remove(record)?;
        }
        for record in &changes.added {
            zone.insert(record)?;
        }
        zone.read_serial()?;
        Ok(zone)
    }

    /// The name of the zone, in lower case.
    pub fn apex(&self) -> &Name {
        &self.apex
    }

    /// The key of the apex.
    pub fn apex_key(&self) -> &Key {
        &self.apex_key
    }

    /// The SOA's serial.
    pub fn serial(&self) -> Serial {
        self.serial
    }

    /// The SOA RRset.
    pub fn soa(&self) -> Option<&Rrset> {
        self.node(self.apex_key.as_bytes())?.rrset(Rtype::SOA)
    }

    /// What stands at exactly this owner; `None` where nothing does, empty non-terminals included.
    pub fn node(&self, owner: &[u8]) -> Option<&Node> {
        self.nodes.get(owner)
    }

    /// How many owners have records.
    pub fn owners(&self) -> usize {
        self.nodes.len()
    }

    /// Every record in key order, the apex first.
    pub fn records(&self) -> impl Iterator<Item = Record> + Clone + '_ {
        self.nodes.iter().flat_map(|(owner, node)| {
            node.rrsets().flat_map(move |rrset| {
                rrset.rdatas().map(move |rdata| Record {
                    owner: owner.clone(),
                    rtype: rrset.rtype,
                    ttl: rrset.ttl,
                    rdata: rdata.into(),
                })
            })
        })
    }

    /// Every owner that has records, in key order.
    pub fn nodes(&self) -> impl Iterator<Item = (&Key, &Node)> {
        self.nodes.iter()
    }

    fn insert(&mut self, record: &Record) -> Result<(), ZoneError> {
        if !record.owner.as_bytes().starts_with(self.apex_key.as_bytes()) {
            return Err(ZoneError::OutOfZone(record.owner.name(), self.apex));
        }
        let node = self.nodes.get(record.owner.as_bytes()).cloned().unwrap_or(Node::empty());
        let rrset = match node.rrset(record.rtype) {
            Some(rrset) => rrset.plus(record.ttl, &record.rdata),
            None => Rrset::one(record.rtype, record.ttl, &record.rdata),
        };
        self.put(&record.owner, &node, node.with(rrset));
        Ok(())
    }

    fn remove(&mut self, record: &Record) -> Result<(), ZoneError> {
        let missing = || ZoneError::Missing(record.owner.name(), record.rtype);
        let node = self.nodes.get(record.owner.as_bytes()).cloned().ok_or_else(missing)?;
        let rrset = node.rrset(record.rtype).filter(|rrset| rrset.has(&record.rdata)).ok_or_else(missing)?;
        let without = node.with(rrset.minus(&record.rdata));
        self.put(&record.owner, &node, without);
        Ok(())
    }

    fn put(&mut self, owner: &Key, old: &Node, new: Node) {
        let has = |node: &Node, rtype| usize::from(node.rrset(rtype).is_some());
        if *owner != self.apex_key {
            self.cuts = self.cuts + has(&new, Rtype::NS) - has(old, Rtype::NS);
        }
        self.dnames = self.dnames + has(&new, Rtype::DNAME) - has(old, Rtype::DNAME);
        if new.is_empty() {
            self.nodes.remove(owner.as_bytes());
        } else {
            self.nodes.insert(owner.clone(), new);
        }
    }

    fn read_serial(&mut self) -> Result<(), ZoneError> {
        let soa = self.soa().and_then(soa_of).ok_or(ZoneError::NoSoa(self.apex))?;
        self.serial = Serial(soa.serial);
        Ok(())
    }
}

/// The first SOA of an RRset, read.
pub fn soa_of(rrset: &Rrset) -> Option<Soa> {
    Soa::parse(rrset.rdatas().next()?).ok()
}

impl std::fmt::Display for ZoneError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            ZoneError::NoSoa(apex) => write!(f, "zone {apex} has no SOA record at its apex; add one"),
            ZoneError::OutOfZone(owner, apex) => write!(f, "{owner} is not in zone {apex}"),
            ZoneError::Missing(owner, rtype) => {
                write!(f, "the {rtype} record of {owner} that the change removes is not there")
            }
        }
    }
}

impl std::error::Error for ZoneError {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Ttl;

    fn record(owner: &str, rtype: Rtype, ttl: u32, text: &str) -> Record {
        let apex = Name::parse("example").unwrap();
        let owner = Key::new(&Name::parse(owner).unwrap());
        Record { owner, rtype, ttl: Ttl::new(ttl), rdata: text::rdata_from_text(rtype, text, Some(&apex)).unwrap() }
    }

    fn zone() -> Zone {
        let records = [
            record("example", Rtype::SOA, 60, "ns admin 7 1 1 1 60"),
            record("example", Rtype::NS, 60, "ns"),
            record("a.example", Rtype::A, 60, "192.0.2.1"),
        ];
        Zone::new(&Name::parse("Example").unwrap(), records).unwrap()
    }

    #[test]
    fn a_zone_has_an_soa_and_nothing_from_outside() {
        let apex = Name::parse("example").unwrap();
        let soa = || record("example", Rtype::SOA, 60, "ns admin 7 1 1 1 60");
        assert_eq!(Zone::new(&apex, []).unwrap_err(), ZoneError::NoSoa(apex));
        let below = record("a.example", Rtype::SOA, 60, "ns admin 7 1 1 1 60");
        assert_eq!(Zone::new(&apex, [below]).unwrap_err(), ZoneError::NoSoa(apex));
        for outside in ["xexample", "test", "."] {
            let error = Zone::new(&apex, [soa(), record(outside, Rtype::A, 60, "192.0.2.1")]).unwrap_err();
            assert_eq!(error, ZoneError::OutOfZone(Name::parse(outside).unwrap(), apex));
        }
        let damaged = Record { rdata: Box::from(&b"\0\0"[..]), ..soa() };
        assert_eq!(Zone::new(&apex, [damaged]).unwrap_err(), ZoneError::NoSoa(apex));
    }

    #[test]
    fn changes_for_another_state_of_the_zone_are_refused() {
        let zone = zone();
        let removed = vec![record("a.example", Rtype::A, 60, "192.0.2.2")];
        let error = zone.with(&Changes { removed, added: Vec::new() }).unwrap_err();
        assert_eq!(error, ZoneError::Missing(Name::parse("a.example").unwrap(), Rtype::A));
        let removed = vec![record("b.example", Rtype::A, 60, "192.0.2.1")];
        assert!(zone.with(&Changes { removed, added: Vec::new() }).is_err());
        let removed = vec![record("example", Rtype::SOA, 60, "ns admin 7 1 1 1 60")];
        assert!(matches!(zone.with(&Changes { removed, added: Vec::new() }), Err(ZoneError::NoSoa(_))));
    }

    #[test]
    fn an_owner_without_records_is_gone() {
        let zone = zone();
        let gone = Changes { removed: vec![record("a.example", Rtype::A, 60, "192.0.2.1")], added: Vec::new() };
        let after = zone.with(&gone).unwrap();
        assert_eq!((zone.owners(), after.owners()), (2, 1));
        assert!(after.node(Key::new(&Name::parse("a.example").unwrap()).as_bytes()).is_none());
        assert_eq!((after.serial(), *after.apex()), (Serial(7), Name::parse("example").unwrap()));
    }

    #[test]
    fn a_draft_moves_the_serial_once_and_only_for_a_change() {
        let zone = zone();
        let owner = Key::new(&Name::parse("b.example").unwrap());
        let mut draft = Draft::new(&zone);
        draft.add(&owner, Rtype::A, Ttl::new(60), &[192, 0, 2, 1]);
        draft.add(&owner, Rtype::A, Ttl::new(60), &[192, 0, 2, 2]);
        let changes = draft.finish();
        assert_eq!((changes.removed.len(), changes.added.len()), (1, 3), "two addresses and the SOA");
        assert_eq!(zone.with(&changes).unwrap().serial(), Serial(8));
        let mut draft = Draft::new(&zone);
        draft.add(&owner, Rtype::A, Ttl::new(60), &[192, 0, 2, 1]);
        draft.set(&owner, Node::empty());
        assert!(draft.finish().is_empty(), "what was added went again");
    }
}
