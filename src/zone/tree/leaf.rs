//! The leaves of a tree: packed octets.
//!
//! # A leaf, octet by octet
//!
//! ```text
//! 4        how many entries; the top bit is set where the ends below take 4 octets
//! 1 each   a tag: eight bits of the owner's hash, so that a lookup compares about one key
//! 2|4 each where the entry ends, counted from the end of this index; it begins where the one before it ends
//! then each entry:
//!   4      how many entries are right below the owner
//!   2      how long the key is
//!   n      the key
//!   rest   the owner's RRsets, packed as in `rrset`
//! ```

use super::super::Node;
use std::sync::Arc;

/// A packed leaf.
#[derive(Clone, Copy)]
pub(super) struct Leaf<'t>(pub(super) &'t [u8]);

/// What stands at one key.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entry<'t> {
    pub(super) key: &'t [u8],
    pub(super) below: u32,
    pub(super) node: Node<'t>,
}

/// The octets of an entry before its key.
const ENTRY_HEAD: usize = 6;
/// The octets of a leaf before its tags.
const LEAF_HEAD: usize = 4;
/// The bit of a leaf's count that says that its ends take four octets.
const WIDE: u32 = 1 << 31;

impl<'t> Leaf<'t> {
    fn head(self) -> u32 {
        self.0.first_chunk().map_or(0, |octets| u32::from_le_bytes(*octets))
    }

    pub(super) fn count(self) -> usize {
        usize::try_from(self.head() & !WIDE).unwrap_or(0)
    }

    pub(super) fn tags(self) -> &'t [u8] {
        self.0.get(LEAF_HEAD..LEAF_HEAD + self.count()).unwrap_or_default()
    }

    /// The entry of a key, and its place.
    pub(super) fn find(self, tag: u8, key: &[u8]) -> Option<(Entry<'t>, usize)> {
        let (eights, rest) = self.tags().as_chunks::<8>();
        let mut index = 0;
        for tags in eights {
            let mut equal = equal_octets(*tags, tag);
            while equal != 0 {
                // Bit 7 of an octet is its mark.
                let place = index + usize::try_from(equal.trailing_zeros() / 8).unwrap_or(0);
                let entry = read_entry(self.octets(place)?)?;
                if entry.key == key {
                    return Some((entry, place));
                }
                equal &= equal - 1;
            }
            index += tags.len();
        }
        for (place, _) in rest.iter().enumerate().filter(|(_, other)| **other == tag) {
            let entry = read_entry(self.octets(index + place)?)?;
            if entry.key == key {
                return Some((entry, index + place));
            }
        }
        None
    }

    /// The octets of the first entry that has this tag.
    pub(super) fn likely(self, tag: u8) -> Option<&'t [u8]> {
        let (eights, rest) = self.tags().as_chunks::<8>();
        let mut marks = eights.iter().map(|tags| equal_octets(*tags, tag)).enumerate();
        let place = match marks.find(|(_, equal)| *equal != 0) {
            Some((eight, equal)) => 8 * eight + usize::try_from(equal.trailing_zeros() / 8).unwrap_or(0),
            None => 8 * eights.len() + rest.iter().position(|other| *other == tag)?,
        };
        self.octets(place)
    }

    /// Each entry with its tag.
    pub(super) fn entries(self) -> impl Iterator<Item = (u8, &'t [u8])> {
        self.tags().iter().enumerate().filter_map(move |(index, tag)| Some((*tag, self.octets(index)?)))
    }

    pub(super) fn octets(self, index: usize) -> Option<&'t [u8]> {
        let (start, end) = self.bounds(index)?;
        self.0.get(start..end)
    }

    /// Where an entry begins and ends.
    pub(super) fn bounds(self, index: usize) -> Option<(usize, usize)> {
        let count = self.count();
        let width = if self.head() & WIDE == 0 { 2 } else { 4 };
        let ends = LEAF_HEAD + count;
        let end = |index: usize| {
            let octets = self.0.get(ends + index * width..ends + (index + 1) * width)?;
            match *octets {
                [a, b] => Some(usize::from(u16::from_le_bytes([a, b]))),
                [a, b, c, d] => usize::try_from(u32::from_le_bytes([a, b, c, d])).ok(),
                _ => None,
            }
        };
        let base = ends + count * width;
        let start = match index.checked_sub(1) {
            Some(before) => end(before)?,
            None => 0,
        };
        Some((base + start, base + end(index)?))
    }

    pub(super) fn pack<'e>(entries: impl Iterator<Item = (u8, &'e [u8])>) -> Arc<[u8]> {
        let entries: Vec<(u8, &[u8])> = entries.collect();
        let total: usize = entries.iter().map(|(_, octets)| octets.len()).sum();
        // Whoever can make names collide is bounded by memory here, not by the format.
        let count = u32::try_from(entries.len()).unwrap_or(u32::MAX) & !WIDE;
        let wide = u16::try_from(total).is_err();
        let width = if wide { 4 } else { 2 };
        let mut leaf = Vec::with_capacity(LEAF_HEAD + entries.len() * (1 + width) + total);
        leaf.extend_from_slice(&(count | if wide { WIDE } else { 0 }).to_le_bytes());
        leaf.extend(entries.iter().map(|(tag, _)| *tag));
        let mut end = 0u32;
        for (_, octets) in &entries {
            end = end.saturating_add(u32::try_from(octets.len()).unwrap_or(u32::MAX));
            leaf.extend_from_slice(end.to_le_bytes().get(..width).unwrap_or_default());
        }
        entries.iter().for_each(|(_, octets)| leaf.extend_from_slice(octets));
        leaf.into()
    }
}

/// Puts an entry in the place of another of the same key. Where it is as long, as most are that replace one, a leaf that no
/// other tree shares is changed in place, and another is copied as it is.
pub(super) fn replace(leaf: &mut Arc<[u8]>, place: usize, entry: &[u8]) {
    let bounds = Leaf(leaf).bounds(place);
    if let Some((start, end)) = bounds.filter(|(start, end)| end - start == entry.len()) {
        if let Some(octets) = Arc::make_mut(leaf).get_mut(start..end) {
            octets.copy_from_slice(entry);
        }
        return;
    }
    let entries = Leaf(leaf).entries().enumerate();
    *leaf = Leaf::pack(entries.map(|(index, (tag, kept))| (tag, if index == place { entry } else { kept })));
}

pub(super) fn pack_entry(key: &[u8], below: u32, node: Node<'_>) -> Vec<u8> {
    let mut octets = Vec::with_capacity(ENTRY_HEAD + key.len() + node.as_bytes().len());
    octets.extend_from_slice(&below.to_le_bytes());
    // A key has at most 510 octets.
    octets.extend_from_slice(&u16::try_from(key.len()).unwrap_or(u16::MAX).to_le_bytes());
    octets.extend_from_slice(key);
    octets.extend_from_slice(node.as_bytes());
    octets
}

pub(super) fn read_entry(octets: &[u8]) -> Option<Entry<'_>> {
    let (&[b0, b1, b2, b3, k0, k1], rest) = octets.split_first_chunk::<ENTRY_HEAD>()?;
    let (key, node) = rest.split_at_checked(usize::from(u16::from_le_bytes([k0, k1])))?;
    Some(Entry { key, below: u32::from_le_bytes([b0, b1, b2, b3]), node: Node::new(node) })
}

/// Bit 7 of each octet that equals `octet`, the first octet lowest; now and then also of an octet after such a one.
fn equal_octets(octets: [u8; 8], octet: u8) -> u64 {
    const ONES: u64 = 0x0101_0101_0101_0101;
    let differ = u64::from_le_bytes(octets) ^ (ONES * u64::from(octet));
    differ.wrapping_sub(ONES) & !differ & (ONES << 7)
}

#[cfg(test)]
mod tests {
    use super::super::tests::node;
    use super::super::{Bulk, Taken, hash};
    use crate::zone::NodeBuf;

    /// A leaf's count had fifteen bits: more names than that, made to collide, would have been lost.
    #[test]
    fn names_that_collide_by_the_ten_thousands_are_all_there() {
        // The second word undoes what the first has done to the hash.
        let key = |number: u64| {
            let first = 0x0101_0101_0101_0101 + number * 0x0001_0000_0001;
            let undone = hash_of_word(first) ^ 0x5555_5555_5555_5555;
            let mut key = [first.to_le_bytes(), undone.to_le_bytes(), *b"collide-"].concat();
            key.push(0);
            key
        };
        let mut keys: Vec<Vec<u8>> = (0..100_000).map(key).filter(|key| !key[..24].contains(&0)).collect();
        keys.sort();
        keys.truncate(40_000);
        assert_eq!(keys.len(), 40_000);
        assert!(keys.iter().all(|key| hash(key) == hash(&keys[0])));
        let mut bulk = Bulk::default();
        keys.iter().for_each(|key| assert_eq!(bulk.push(key, node("x").as_node()), Taken::Yes));
        let mut tree = bulk.finish();
        assert_eq!(tree.sorted().len(), 40_000);
        for key in keys.iter().step_by(9_999) {
            tree.set(key, node("y").as_node());
            assert_eq!(tree.get(key).map(NodeBuf::from), Some(node("y")));
        }
        assert_eq!(tree.sorted().len(), 40_000);
    }

    /// What the first word of such a key of 25 octets makes of the hash.
    fn hash_of_word(word: u64) -> u64 {
        let product = u128::from(25 ^ 0xD1B5_4A32_D192_ED03 ^ word) * 0x9E37_79B9_7F4A_7C15;
        u64::try_from(product >> 64 ^ product & u128::from(u64::MAX)).unwrap()
    }
}
