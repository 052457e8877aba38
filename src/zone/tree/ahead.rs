//! Lookups and changes that are prepared side by side.

use super::leaf::Leaf;
use super::{Branch, Slot, bits, tag, way};

/// So many octets come from memory at a time.
const LINE: usize = 64;

/// The way to a key. A tree that is larger than the processor's caches answers several lookups sooner where all of them
/// first go this way side by side: each step waits for memory, and so they wait together.
#[derive(Debug, Clone, Copy)]
pub(in crate::zone) struct Ahead<'t> {
    slot: &'t Slot,
    /// Above the slot.
    branch: Option<&'t Branch>,
    hash: u64,
    /// How many bits of the hash have chosen ways.
    used: u32,
}

impl<'t> Ahead<'t> {
    pub(super) fn new(root: &'t Slot, hash: u64) -> Ahead<'t> {
        Ahead { slot: root, branch: None, hash, used: 0 }
    }

    /// Goes one branch further; says whether there was one.
    pub(in crate::zone) fn step(&mut self) -> bool {
        match self.slot {
            Slot::Branch(branch) => {
                if let Some(next) = branch.0.get(way(self.hash, self.used)) {
                    self.slot = next;
                }
                self.branch = Some(branch);
                self.used += bits(self.used);
                true
            }
            _ => false,
        }
    }

    /// Reads the head of the leaf that the way has led to.
    pub(in crate::zone) fn leaf(&self) -> u8 {
        match self.slot {
            Slot::Leaf(leaf) => leaf.first().copied().unwrap_or(0),
            _ => 0,
        }
    }

    /// The entry that the key most likely has, of which nothing is read.
    pub(in crate::zone) fn entry(&self) -> &[u8] {
        let Slot::Leaf(leaf) = self.slot else { return &[] };
        Leaf(leaf).likely(tag(self.hash)).unwrap_or_default()
    }

    /// Reads all that a change of the key will copy and count.
    pub(in crate::zone) fn all(&self) -> u8 {
        let Slot::Leaf(leaf) = self.slot else { return 0 };
        let counts = self.branch.map_or(0, Branch::counts);
        let lines = leaf.iter().step_by(LINE).fold(0, |sum, octet| sum ^ octet);
        counts.to_le_bytes()[0] ^ lines
    }
}
