//! Which answers of a batch can leave together: those that are equally long and go the same way.

use super::SLOTS;
use crate::sys::datagrams::Asked;

/// The answers of a batch in groups. An answer that is on its own is a group too.
#[derive(Debug)]
pub(super) struct Groups {
    answers: [(Answer, u8); SLOTS],
    groups: [Group; SLOTS],
    /// How many answers there are; at most [`SLOTS`].
    answered: usize,
    /// How many groups there are; no more than answers.
    grouped: usize,
    /// For each hash the newest group, from 1 on.
    newest: [u8; HASHES],
}

/// An answer that waits to be sent.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Answer {
    /// Which datagram it answers.
    pub(super) slot: usize,
    /// Where it begins.
    pub(super) at: usize,
    /// How long it is.
    pub(super) len: usize,
}

/// What the answers of a group have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Key {
    /// The address as the kernel has it, and zeros behind it.
    pub(super) peer: [u64; 4],
    /// Where it comes from.
    pub(super) asked: Option<Asked>,
    /// How long it is.
    pub(super) len: usize,
}

/// Some answers that leave together.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Group {
    pub(super) key: Key,
    /// A datagram that one of them answers.
    pub(super) slot: usize,
    /// The place of the first of them.
    pub(super) begin: usize,
    /// How many they are.
    pub(super) count: usize,
    /// The group of the same hash before, from 1 on.
    older: u8,
}

/// Twice as many as there can be groups, so that hardly two share one.
const HASHES: usize = 2 * SLOTS;

impl Default for Groups {
    fn default() -> Groups {
        Groups {
            answers: [Default::default(); SLOTS],
            groups: [Group::default(); SLOTS],
            answered: 0,
            grouped: 0,
            newest: [0; HASHES],
        }
    }
}

impl Groups {
    pub(super) fn clear(&mut self) {
        if self.answered > 0 {
            (self.answered, self.grouped, self.newest) = (0, 0, [0; HASHES]);
        }
    }

    /// How many groups there are.
    pub(super) fn len(&self) -> usize {
        self.grouped
    }

    pub(super) fn is_full(&self) -> bool {
        self.answered >= SLOTS
    }

    /// Adds an answer: to the group with this key where it may go together with others, else as a group of its own.
    /// What does not fit is left out.
    pub(super) fn add(&mut self, key: Key, answer: Answer, together: bool) {
        let newest = self.newest.get_mut(hash(&key)).filter(|_| together);
        let mut found = newest.as_deref().copied().unwrap_or(0);
        while let Some(group) = place(found).and_then(|index| self.groups.get_mut(index)) {
            if group.key == key {
                break;
            }
            found = group.older;
        }
        if found == 0 {
            let Ok(number) = u8::try_from(self.grouped + 1) else { return };
            let older = newest.map_or(0, |newest| std::mem::replace(newest, number));
            let Some(group) = self.groups.get_mut(self.grouped) else { return };
            *group = Group { key, slot: answer.slot, begin: 0, count: 0, older };
            self.grouped += 1;
            found = number;
        }
        let group = place(found).and_then(|index| self.groups.get_mut(index));
        if let Some((group, place)) = group.zip(self.answers.get_mut(self.answered)) {
            group.count += 1;
            *place = (answer, found);
            self.answered += 1;
        }
    }

    /// Gives each answer a place, those of a group one behind the other.
    pub(super) fn place(&mut self, mut put: impl FnMut(usize, &Answer)) {
        let mut next = 0;
        for group in self.groups.iter_mut().take(self.grouped) {
            group.begin = next;
            next += group.count;
            group.count = 0;
        }
        for (answer, number) in self.answers.iter().take(self.answered) {
            if let Some(group) = place(*number).and_then(|index| self.groups.get_mut(index)) {
                put(group.begin + group.count, answer);
                group.count += 1;
            }
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Group> {
        self.groups.iter().take(self.grouped)
    }
}

/// Where the group of this number is; none has the number 0.
fn place(number: u8) -> Option<usize> {
    usize::from(number).checked_sub(1)
}

/// Who chooses addresses and lengths that share a hash makes 64 comparisons for each answer, and no more.
fn hash(key: &Key) -> usize {
    const MIX: u64 = 0x9E37_79B9_7F4A_7C15;
    let words = key.peer.iter().fold(key.len as u64, |mixed, word| (mixed ^ word).wrapping_mul(MIX).rotate_left(29));
    usize::try_from(words.wrapping_mul(MIX) >> 57).unwrap_or(0)
}

// The hash has seven bits.
const _: () = assert!(HASHES == 128);
