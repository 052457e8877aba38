//! Looking a name up in a zone (RFC 1034 section 4.3.2 step 3, RFC 4592, RFC 6672).

use super::key::parent_of;
use super::{Node, Rrset, Zone};
use crate::wire::{Name, Rtype};

/// What a zone holds for a name.
#[derive(Debug, Clone, Copy)]
pub enum Lookup<'z> {
    /// The name exists, or a wildcard stands for it.
    Found(Answer<'z>),
    /// The name exists and has no records itself: an empty non-terminal (RFC 4592 section 2.2.2), or a
    /// wildcard that is one.
    Empty,
    /// The name is at or below a delegation: the owner of the NS RRset, as labels taken from the name.
    Delegation {
        /// How many of the looked-up name's labels lie below the cut.
        below: usize,
        /// The NS RRset at the cut.
        ns: &'z Rrset,
    },
    /// An owner above the name has a DNAME (RFC 6672 section 2.3).
    Dname {
        /// How many of the looked-up name's labels lie below the DNAME's owner.
        below: usize,
        /// The DNAME RRset.
        dname: &'z Rrset,
    },
    /// The name does not exist.
    NxDomain,
}

/// The records that answer for a name.
#[derive(Debug, Clone, Copy)]
pub struct Answer<'z> {
    /// The records.
    pub node: &'z Node,
    /// Whether they are a wildcard's (RFC 4592 section 3.3.1).
    pub wildcard: bool,
}

impl Zone {
    /// Looks up the owner whose key is `owner`, which must be in the zone.
    ///
    /// `rtype` matters in one place: at a delegation point itself a DS question is the parent's to answer (RFC
    /// 4035 section 3.1.4.1).
    pub fn lookup(&self, owner: &[u8], rtype: Rtype) -> Lookup<'_> {
        if self.cuts > 0 || self.dnames > 0 {
            if let Some(redirect) = self.redirect(owner, rtype) {
                return redirect;
            }
        }
        if let Some(node) = self.nodes.get(owner) {
            return Lookup::Found(Answer { node, wildcard: false });
        }
        if self.has_below(owner) {
            return Lookup::Empty;
        }
        // RFC 4592 section 3.3.1: the closest encloser is the longest existing ancestor; only the
        // wildcard right below it can be the source of synthesis.
        let Some(encloser) = self.closest_encloser(owner) else { return Lookup::NxDomain };
        let mut wildcard = [0; 2 * Name::MAX + 2];
        let Some((room, star)) = wildcard.split_at_mut_checked(encloser.len()) else { return Lookup::NxDomain };
        room.copy_from_slice(encloser);
        if let Some(star) = star.first_chunk_mut() {
            *star = *b"*\0";
        }
        let wildcard = wildcard.get(..encloser.len() + 2).unwrap_or_default();
        match self.nodes.get(wildcard) {
            Some(node) => Lookup::Found(Answer { node, wildcard: true }),
            None if self.has_below(wildcard) => Lookup::Empty,
            None => Lookup::NxDomain,
        }
    }

    /// The highest delegation or DNAME that takes the name out of this zone's own data, if any.
    fn redirect(&self, owner: &[u8], rtype: Rtype) -> Option<Lookup<'_>> {
        let mut found = None;
        let mut key = owner;
        let mut below = 0;
        // From the name up to the apex; what is found higher up replaces what was found below it.
        loop {
            let at_apex = key.len() <= self.apex_key.as_bytes().len();
            if let Some(node) = self.nodes.get(key) {
                if let Some(dname) = node.rrset(Rtype::DNAME).filter(|_| below > 0) {
                    found = Some(Lookup::Dname { below, dname });
                }
                if let Some(ns) = node.rrset(Rtype::NS).filter(|_| !at_apex) {
                    if below > 0 || rtype != Rtype::DS {
                        found = Some(Lookup::Delegation { below, ns });
                    }
                }
            }
            if at_apex {
                return found;
            }
            key = parent_of(key)?;
            below += 1;
        }
    }

    /// Whether some owner lies below this one.
    fn has_below(&self, owner: &[u8]) -> bool {
        self.nodes
            .range::<_, [u8]>((std::ops::Bound::Excluded(owner), std::ops::Bound::Unbounded))
            .next()
            .is_some_and(|(key, _)| key.as_bytes().starts_with(owner))
    }

    /// The key of the longest ancestor that exists, empty non-terminals included; the apex at the least.
    fn closest_encloser<'k>(&self, owner: &'k [u8]) -> Option<&'k [u8]> {
        // The keys below any ancestor are one range, and this name's place is in it: if there are any, its
        // neighbours are among them.
        let before =
            self.nodes.range::<_, [u8]>((std::ops::Bound::Unbounded, std::ops::Bound::Excluded(owner))).next_back();
        let after = self.nodes.range::<_, [u8]>((std::ops::Bound::Excluded(owner), std::ops::Bound::Unbounded)).next();
        let mut ancestor = parent_of(owner)?;
        loop {
            let encloses = |neighbour: Option<(&super::Key, &Node)>| {
                neighbour.is_some_and(|(key, _)| key.as_bytes().starts_with(ancestor))
            };
            if encloses(before) || encloses(after) || ancestor.len() <= self.apex_key.as_bytes().len() {
                return Some(ancestor);
            }
            ancestor = parent_of(ancestor)?;
        }
    }
}
