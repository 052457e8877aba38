//! A tree made in one go of entries in key order: each leaf is packed once, where [`Tree::set`] would pack it at each
//! of its entries.

use super::{Branch, Node, Slot, Tree, bits, fan, grown, hash, is_wildcard, pack_entry, tag, way};

/// Gathers the entries of a tree. While the last key and its ancestors are open, what is below them may still come.
#[derive(Debug, Default)]
pub(in crate::zone) struct Bulk {
    tree: Tree,
    /// The last key; those of its ancestors are its beginnings.
    key: Vec<u8>,
    /// The ancestors of the last key and then itself.
    open: Vec<Open>,
    /// What the open entries have, one after the other.
    nodes: Vec<u8>,
    /// Entries that are whole, by the root's ways: each behind its length in four octets. One way at a time becomes
    /// leaves at the end, so that little more than the tree is in memory at any time.
    ways: Vec<Vec<u8>>,
}

#[derive(Debug)]
struct Open {
    /// How long the key is.
    key: usize,
    below: u32,
    /// Where in `nodes` its records begin; they end where those of the next begin.
    node: usize,
}

/// What became of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub(in crate::zone) enum Taken {
    /// It is in the tree.
    Yes,
    /// Its key does not come after the last one.
    OutOfOrder,
}

impl Bulk {
    /// Takes the next entry, with at least one record.
    pub(in crate::zone) fn push(&mut self, key: &[u8], node: Node<'_>) -> Taken {
        if !self.open.is_empty() && key <= self.key.as_slice() {
            return Taken::OutOfOrder;
        }
        while self.open.last().is_some_and(|open| !key.starts_with(self.key.get(..open.key).unwrap_or_default())) {
            self.close();
        }
        let known = self.open.last().map_or(0, |open| open.key);
        if self.open.is_empty() && !key.is_empty() {
            self.open(&[], Node::EMPTY);
        }
        // Every label but the last ends an ancestor; one that has not come by itself has no records.
        for (at, _) in key.iter().enumerate().skip(known).filter(|(_, octet)| **octet == 0) {
            if let Some(ancestor) = key.get(..=at).filter(|ancestor| ancestor.len() < key.len()) {
                self.open(ancestor, Node::EMPTY);
            }
        }
        self.open(key, node);
        self.tree.owners += 1;
        Taken::Yes
    }

    /// The tree.
    pub(in crate::zone) fn finish(mut self) -> Tree {
        while !self.open.is_empty() {
            self.close();
        }
        let Bulk { mut tree, ways, .. } = self;
        let count: usize = ways.iter().map(|way| entries(way).count()).sum();
        tree.root = match count {
            0 => Slot::Empty,
            _ if count <= super::LEAF => {
                let all = ways.iter().flat_map(|way| entries(way));
                grown(0, all.collect())
            }
            // Each way's octets go as soon as its leaves are made.
            _ => Slot::Branch(Branch(ways.into_iter().map(|way| grown(bits(0), entries(&way).collect())).collect())),
        };
        tree
    }

    fn open(&mut self, key: &[u8], node: Node<'_>) {
        if let Some(parent) = self.open.last_mut() {
            parent.below = parent.below.saturating_add(1);
            self.tree.wildcards += usize::from(is_wildcard(key));
        }
        self.key.clear();
        self.key.extend_from_slice(key);
        self.open.push(Open { key: key.len(), below: 0, node: self.nodes.len() });
        self.nodes.extend_from_slice(node.as_bytes());
    }

    /// Nothing more comes below the last open entry.
    fn close(&mut self) {
        let Some(open) = self.open.pop() else { return };
        let key = self.key.get(..open.key).unwrap_or_default();
        let node = Node::new(self.nodes.get(open.node..).unwrap_or_default());
        let entry = pack_entry(key, open.below, node);
        self.ways.resize_with(fan(0), Vec::new);
        if let Some(way) = self.ways.get_mut(way(hash(key), 0)) {
            way.extend_from_slice(&u32::try_from(entry.len()).unwrap_or(u32::MAX).to_le_bytes());
            way.extend_from_slice(&entry);
        }
        self.nodes.truncate(open.node);
    }
}

/// The entries of one way, each with its tag.
fn entries(mut octets: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    std::iter::from_fn(move || {
        let (length, rest) = octets.split_first_chunk()?;
        let (entry, rest) = rest.split_at_checked(usize::try_from(u32::from_le_bytes(*length)).ok()?)?;
        octets = rest;
        let key = super::read_entry(entry)?.key;
        Some((tag(hash(key)), entry))
    })
}

#[cfg(test)]
mod tests {
    use super::super::tests::{entries as all_entries, node};
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn a_tree_made_in_one_go_is_the_tree_made_entry_by_entry() {
        let mut state = 7u64;
        let mut random = |below: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % below
        };
        for size in [0, 1, 2, 31, 32, 33, 300, 3000] {
            let mut keys = BTreeSet::new();
            for _ in 0..size {
                let labels = random(4);
                let label = |number| if number == 0 { "*\0".to_owned() } else { format!("n{number}\0") };
                keys.insert((0..labels).map(|_| label(random(30))).collect::<String>().into_bytes());
            }
            let (mut bulk, mut tree) = (Bulk::default(), Tree::default());
            for key in &keys {
                let text = String::from_utf8_lossy(key);
                assert_eq!(bulk.push(key, node(&text).as_node()), Taken::Yes);
                assert_eq!(bulk.push(key, node(&text).as_node()), Taken::OutOfOrder);
                tree.set(key, node(&text).as_node());
            }
            let made = bulk.finish();
            assert_eq!(made.sorted(), tree.sorted());
            let mut expected = all_entries(&tree);
            if !expected.is_empty() {
                expected.entry(Vec::new()).or_default();
            }
            assert_eq!(all_entries(&made), expected);
            assert_eq!((made.owners, made.wildcards), (tree.owners, tree.wildcards));
            assert!(keys.iter().all(|key| made.get(key).is_some()));
        }
    }
}
