//! A zone under change: what an update or an import builds before it becomes [`Changes`].

use super::{Changes, Key, Node, NodeBuf, Record, RrsetBuf, Serial, Zone};
use crate::wire::{Rtype, Ttl};
use std::collections::{BTreeMap, HashSet};

/// How long an RRset may grow, in octets of an answer: a message of 65,535 with room for a question, an OPT and a TSIG
/// record.
const RRSET: usize = 64_000;

/// How much an owner may grow to hold, in octets. Each operation upon an owner copies all of it, and so does a change of
/// one that lies beside it in the tree: at 3.5 megabytes a message of 3,900 operations held up all others for over five
/// seconds.
const NODE: usize = 1 << 17;

/// A zone and the owners that differ from it so far. The zone itself stays as it is.
#[derive(Debug)]
pub struct Draft<'z> {
    base: &'z Zone,
    touched: BTreeMap<Key, NodeBuf>,
}

impl<'z> Draft<'z> {
    /// A draft that does not differ from `base` yet.
    pub fn new(base: &'z Zone) -> Draft<'z> {
        Draft { base, touched: BTreeMap::new() }
    }

    /// A draft in which the zone holds what `wanted` holds. The SOA's serial stays the base's, to be moved on by
    /// [`Draft::finish`], unless the wanted one comes after it (RFC 1982).
    pub fn towards(base: &'z Zone, wanted: &Zone) -> Draft<'z> {
        let mut draft = Draft::new(base);
        for (owner, _) in base.nodes().filter(|(owner, _)| wanted.node(owner.as_bytes()).is_none()) {
            draft.set(&owner, NodeBuf::default());
        }
        for (owner, node) in wanted.nodes().filter(|(owner, node)| base.node(owner.as_bytes()) != Some(*node)) {
            draft.set(&owner, node.into());
        }
        let soa = wanted.soa().and_then(|rrset| Some((rrset.ttl, super::soa_of(rrset)?)));
        if let Some((ttl, soa)) = soa.filter(|_| !wanted.serial().is_after(base.serial())) {
            let apex = base.apex_key().clone();
            let kept = RrsetBuf::one(Rtype::SOA, ttl, &soa.with_serial(base.serial().0).to_rdata());
            let node = draft.node(apex.as_bytes()).with(kept.as_rrset());
            draft.set(&apex, node);
        }
        draft
    }

    /// What `owner` has in the draft.
    pub fn node(&self, owner: &[u8]) -> Node<'_> {
        let touched = self.touched.get(owner).map(NodeBuf::as_node);
        touched.or_else(|| self.base.node(owner)).unwrap_or(Node::EMPTY)
    }

    /// Gives `owner` other records.
    pub fn set(&mut self, owner: &Key, node: NodeBuf) {
        self.touched.insert(owner.clone(), node);
    }

    /// Adds one record, or replaces the one of equal data; the whole RRset takes the TTL (RFC 2181 section 5.2).
    pub fn add(&mut self, owner: &Key, rtype: Rtype, ttl: Ttl, rdata: &[u8]) {
        let node = self.node(owner.as_bytes());
        let rrset = match node.rrset(rtype) {
            Some(rrset) => rrset.plus(ttl, rdata),
            None => RrsetBuf::one(rtype, ttl, rdata),
        };
        let node = node.with(rrset.as_rrset());
        self.set(owner, node);
    }

    /// Whether an owner has grown beyond what one may hold.
    pub fn is_too_large(&self, owner: &Key) -> bool {
        let len = self.touched.get(owner).map_or(0, |node| node.as_node().as_bytes().len());
        len > NODE && self.base.node(owner.as_bytes()).is_none_or(|base| base.as_bytes().len() < len)
    }

    /// An RRset that has grown beyond what any answer can hold: its owner and type. Of type ANY it is all that the owner
    /// has.
    pub fn overgrown(&self) -> Option<(&Key, Rtype)> {
        if let Some(owner) = self.touched.keys().find(|owner| self.is_too_large(owner)) {
            return Some((owner, Rtype::ANY));
        }
        let mut rrsets =
            self.touched.iter().flat_map(|(owner, node)| node.as_node().rrsets().map(move |rrset| (owner, rrset)));
        let grown = rrsets.find(|(owner, rrset)| {
            let base = || self.base.node(owner.as_bytes()).and_then(|node| node.rrset(rrset.rtype));
            rrset.wire_len() > RRSET && base().is_none_or(|base| base.wire_len() < rrset.wire_len())
        });
        grown.map(|(owner, rrset)| (owner, rrset.rtype))
    }

    /// The difference to the base. Where there is one and the SOA was not set to another serial, the serial
    /// moves on by one (RFC 2136 section 3.6), past 0: it comes after 4294967295 by RFC 1982 like any other, but
    /// section 7 there advises against it, for there are secondaries that take it for "no zone yet".
    pub fn finish(mut self) -> Changes {
        let differs = |(owner, new): (&Key, &NodeBuf)| {
            let old = self.base.node(owner.as_bytes()).unwrap_or(Node::EMPTY);
            is_missing(old, new.as_node()) || is_missing(new.as_node(), old)
        };
        if !self.touched.iter().any(differs) {
            return Changes::default();
        }
        let apex = self.base.apex_key().clone();
        let node = self.node(apex.as_bytes());
        if let Some((rrset, mut soa)) = node.rrset(Rtype::SOA).and_then(|rrset| Some((rrset, super::soa_of(rrset)?)))
            && soa.serial == self.base.serial().0
        {
            soa.serial = Serial(soa.serial).next().0.max(1);
            let moved = RrsetBuf::one(Rtype::SOA, rrset.ttl, &soa.to_rdata());
            let node = node.with(moved.as_rrset());
            self.set(&apex, node);
        }
        self.difference()
    }

    /// Record by record, what the touched owners lost and gained.
    fn difference(&self) -> Changes {
        let mut changes = Changes::default();
        for (owner, new) in &self.touched {
            let old = self.base.node(owner.as_bytes()).unwrap_or(Node::EMPTY);
            let record = |(rtype, ttl, rdata): (Rtype, Ttl, &[u8])| Record {
                owner: owner.clone(),
                rtype,
                ttl,
                rdata: rdata.into(),
            };
            missing(old, new.as_node(), &mut |found| changes.removed.push(record(found)));
            missing(new.as_node(), old, &mut |found| changes.added.push(record(found)));
        }
        changes.removed.sort();
        changes.added.sort();
        changes
    }
}

/// Whether `from` has a record that `other` has not.
fn is_missing(from: Node<'_>, other: Node<'_>) -> bool {
    let mut found = false;
    missing(from, other, &mut |_| found = true);
    found
}

/// So many records are compared each with each; more by a set, so that the time of a long RRset does not grow with its
/// square.
const FEW: usize = 16;

/// Calls `found` with the records of `from` that `other` has not, to the letter and with the same TTL.
fn missing<'n>(from: Node<'n>, other: Node<'_>, found: &mut dyn FnMut((Rtype, Ttl, &'n [u8]))) {
    for rrset in from.rrsets() {
        let theirs = other.rrset(rrset.rtype).filter(|theirs| theirs.ttl == rrset.ttl);
        let count = theirs.map_or(0, |theirs| theirs.rdatas().take(FEW + 1).count());
        let set: HashSet<&[u8]> = match theirs {
            Some(theirs) if count > FEW => theirs.rdatas().collect(),
            _ => HashSet::new(),
        };
        for rdata in rrset.rdatas() {
            let known = match count > FEW {
                true => set.contains(rdata),
                false => theirs.is_some_and(|theirs| theirs.rdatas().any(|other| other == rdata)),
            };
            if !known {
                found((rrset.rtype, rrset.ttl, rdata));
            }
        }
    }
}

#[cfg(test)]
mod import_tests {
    use super::*;
    use crate::wire::Name;
    use crate::zone::text;

    fn zone(text: &str) -> Zone {
        let apex = Name::parse("home.example").unwrap();
        let text = format!("$ORIGIN home.example.\n$TTL 60\n@ NS ns\nns A 192.0.2.1\n{text}");
        let parsed = text::parse(&text, "test", None, &mut |_| Err("no".into())).unwrap();
        Zone::new(&apex, parsed.records).unwrap()
    }

    fn moved(base: &str, wanted: &str) -> (Changes, Zone) {
        let base = zone(base);
        let changes = Draft::towards(&base, &zone(wanted)).finish();
        let next = base.with(&changes).unwrap();
        (changes, next)
    }

    #[test]
    fn an_import_moves_the_serial_on_once_and_only_where_something_changes() {
        let soa = |serial: u32| format!("@ SOA ns hostmaster {serial} 1 1 1 1\n");
        let (changes, next) = moved(&format!("{}a A 192.0.2.2\n", soa(7)), &format!("{}b A 192.0.2.3\n", soa(3)));
        assert_eq!(next.serial(), Serial(8));
        // The SOA and `a` go, the SOA and `b` come.
        assert_eq!((changes.removed.len(), changes.added.len()), (2, 2));
        assert!(moved(&soa(7), &soa(7)).0.is_empty());
        assert!(moved(&soa(7), &soa(3)).0.is_empty());
        assert_eq!(moved(&soa(7), &soa(9)).1.serial(), Serial(9));
    }
}
