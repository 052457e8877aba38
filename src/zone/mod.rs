//! Zones: their records, how a name is looked up in them, and what changes them.
//!
//! A zone is a value: a change makes a new one that shares what did not change, and readers keep
//! the old one for as long as they need it.

mod build;
mod changes;
mod draft;
mod key;
mod lookup;
mod rrset;
mod seed;
mod serial;
mod set;
pub mod text;
mod tree;

pub use build::{Builder, Unchecked};
pub use changes::{Changes, Record};
pub use draft::Draft;
pub use key::{Key, KeyBuf, name_of, parent_of};
pub use lookup::{Answer, Lookup};
pub use rrset::{Node, NodeBuf, Rdatas, Rrset, RrsetBuf, Rrsets};
pub use seed::seed;
pub use serial::Serial;
pub use set::ZoneSet;

use crate::wire::rdata::Soa;
use crate::wire::{Name, Rtype};
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;
use tree::Tree;

/// One zone: every record at and below its apex down to the zones it delegates, glue included.
///
/// Cloning shares everything. There is always an SOA at the apex.
#[derive(Debug, Clone)]
pub struct Zone {
    apex: Name,
    apex_key: Key,
    serial: Serial,
    /// A copy of the apex's SOA, which every negative answer has.
    soa: Option<Arc<RrsetBuf>>,
    tree: Tree,
    special: Special,
}

/// How many owners below the apex have NS records, and how many owners have DNAME records: while there are
/// none, a lookup need not look for them on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Special {
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
        let mut builder = Builder::new(apex);
        for record in records {
            builder.record(&record.owner, record.rtype, record.ttl, &record.rdata)?;
        }
        builder.finish().zone()
    }

    /// This zone after `changes`; itself it stays as it is. Takes time in proportion to the changes.
    ///
    /// Errors: changes that were made for another state of the zone, or that leave no zone.
    pub fn with(&self, changes: &Changes) -> Result<Zone, ZoneError> {
        let mut zone = self.clone();
        zone.change(changes)?;
        Ok(zone)
    }

    /// Carries out `changes`, as [`Zone::with`] does, in this very zone: what no other zone shares is changed in place.
    /// On an error it stays as it was.
    pub fn change(&mut self, changes: &Changes) -> Result<(), ZoneError> {
        let missing = |record: &Record| Err(ZoneError::Missing(record.owner.name(), record.rtype));
        let nodes = self.after(changes, missing)?;
        if let Some(apex) = nodes.get(&self.apex_key) {
            self.read_soa(apex.as_node())?;
        }
        nodes.iter().for_each(|(owner, node)| self.put(owner, node));
        Ok(())
    }

    /// What the owners that `changes` touch have after them; `missing` says what it means that a record to be removed is
    /// not there.
    fn after<'k>(
        &self,
        changes: &'k Changes,
        missing: impl Fn(&Record) -> Result<(), ZoneError>,
    ) -> Result<BTreeMap<&'k Key, NodeBuf>, ZoneError> {
        let mut nodes: BTreeMap<&Key, NodeBuf> = BTreeMap::new();
        for record in &changes.removed {
            if self.relative(record.owner.as_bytes()).is_none() {
                missing(record)?;
                continue;
            }
            let node = self.touched(&mut nodes, &record.owner)?;
            match node.as_node().rrset(record.rtype).filter(|rrset| rrset.has(&record.rdata)) {
                Some(rrset) => *node = node.as_node().with(rrset.minus(&record.rdata).as_rrset()),
                None => missing(record)?,
            }
        }
        for record in &changes.added {
            build::add(self.touched(&mut nodes, &record.owner)?, record.rtype, record.ttl, &record.rdata);
        }
        Ok(nodes)
    }

    /// What an owner is to have, to be changed.
    fn touched<'n, 'k>(
        &self,
        nodes: &'n mut BTreeMap<&'k Key, NodeBuf>,
        owner: &'k Key,
    ) -> Result<&'n mut NodeBuf, ZoneError> {
        Ok(match nodes.entry(owner) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => entry.insert(self.held(owner)?),
        })
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
    pub fn soa(&self) -> Option<Rrset<'_>> {
        self.soa.as_deref().map(RrsetBuf::as_rrset)
    }

    /// The SOA record.
    pub fn soa_record(&self) -> Option<Record> {
        let rrset = self.soa()?;
        let rdata = rrset.rdatas().next()?.into();
        Some(Record { owner: self.apex_key.clone(), rtype: Rtype::SOA, ttl: rrset.ttl, rdata })
    }

    /// What stands at exactly this owner; `None` where nothing does, empty non-terminals included.
    pub fn node(&self, owner: &[u8]) -> Option<Node<'_>> {
        self.tree.get(self.relative(owner)?).filter(|node| !node.is_empty())
    }

    /// The way of a lookup of this owner; `None` where it is not in the zone.
    fn ahead(&self, owner: &[u8]) -> Option<tree::Ahead<'_>> {
        self.relative(owner).map(|key| self.tree.ahead(key))
    }

    /// How many owners have records.
    pub fn owners(&self) -> usize {
        self.tree.owners()
    }

    /// Every record in key order, the apex first. Takes time to put them in order before the first.
    pub fn records(&self) -> impl Iterator<Item = Record> + Clone + '_ {
        self.nodes().flat_map(|(owner, node)| {
            node.rrsets().flat_map(move |rrset| {
                let owner = owner.clone();
                rrset.rdatas().map(move |rdata| Record {
                    owner: owner.clone(),
                    rtype: rrset.rtype,
                    ttl: rrset.ttl,
                    rdata: rdata.into(),
                })
            })
        })
    }

    /// Every owner that has records, in key order. Takes time to put them in order before the first.
    pub fn nodes(&self) -> impl Iterator<Item = (Key, Node<'_>)> + Clone {
        self.tree.sorted().into_iter().map(|(key, node)| (self.apex_key.child(key), node))
    }

    /// The key from the apex on; `None` where the owner is not in the zone.
    fn relative<'k>(&self, owner: &'k [u8]) -> Option<&'k [u8]> {
        owner.strip_prefix(self.apex_key.as_bytes())
    }

    /// A copy of what an owner has.
    fn held(&self, owner: &Key) -> Result<NodeBuf, ZoneError> {
        let outside = || ZoneError::OutOfZone(owner.name(), self.apex);
        let key = self.relative(owner.as_bytes()).ok_or_else(outside)?;
        Ok(self.tree.get(key).map(NodeBuf::from).unwrap_or_default())
    }

    fn put(&mut self, owner: &Key, new: &NodeBuf) {
        let Some(key) = owner.as_bytes().strip_prefix(self.apex_key.as_bytes()) else { return };
        let old = self.tree.get(key).unwrap_or(Node::EMPTY);
        self.special.recount(key.is_empty(), old, new.as_node());
        self.tree.set(key, new.as_node());
    }

    /// Takes over the SOA of the apex, whose records are given. On an error nothing has changed.
    fn read_soa(&mut self, apex: Node<'_>) -> Result<(), ZoneError> {
        let rrset = apex.rrset(Rtype::SOA).ok_or(ZoneError::NoSoa(self.apex))?;
        self.serial = Serial(soa_of(rrset).ok_or(ZoneError::NoSoa(self.apex))?.serial);
        self.soa = Some(Arc::new(RrsetBuf::pack(rrset.rtype, rrset.ttl, rrset.rdatas())));
        Ok(())
    }
}

impl Special {
    /// An owner, the apex or another, has other records than before.
    fn recount(&mut self, apex: bool, old: Node<'_>, new: Node<'_>) {
        let has = |node: Node<'_>, rtype| usize::from(node.rrset(rtype).is_some());
        if !apex {
            self.cuts = self.cuts + has(new, Rtype::NS) - has(old, Rtype::NS);
        }
        self.dnames = self.dnames + has(new, Rtype::DNAME) - has(old, Rtype::DNAME);
    }
}

/// The first SOA of an RRset, read.
pub fn soa_of(rrset: Rrset<'_>) -> Option<Soa> {
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

    /// A record of the zone `example`.
    pub(super) fn record(owner: &str, rtype: Rtype, ttl: u32, text: &str) -> Record {
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
    fn a_change_in_place_leaves_older_snapshots_and_after_an_error_the_zone_as_they_were() {
        let mut zone = zone();
        let before = zone.clone();
        let add = |owner: &str| Changes { removed: Vec::new(), added: vec![record(owner, Rtype::A, 60, "192.0.2.7")] };
        let has = |zone: &Zone, owner: &str| zone.node(Key::new(&Name::parse(owner).unwrap()).as_bytes()).is_some();
        zone.change(&add("b.example")).unwrap();
        let between = zone.clone();
        zone.change(&add("c.example")).unwrap();
        assert_eq!([&before, &between, &zone].map(|zone| has(zone, "b.example")), [false, true, true]);
        assert_eq!([&before, &between, &zone].map(|zone| has(zone, "c.example")), [false, false, true]);
        let removed = vec![record("example", Rtype::SOA, 60, "ns admin 7 1 1 1 60")];
        let added = vec![record("d.example", Rtype::A, 60, "192.0.2.7")];
        assert!(matches!(zone.change(&Changes { removed, added }), Err(ZoneError::NoSoa(_))));
        assert!(!has(&zone, "d.example") && zone.soa().is_some() && zone.serial() == Serial(7));
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
        draft.set(&owner, NodeBuf::default());
        assert!(draft.finish().is_empty(), "what was added went again");
    }
}
