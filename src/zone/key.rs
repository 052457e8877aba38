//! Reversed owner names, the order of every table of records.
//!
//! A [`Key`] is the lower-cased owner with its labels from the right, each ended by a zero octet:
//! `router.example.com` is `com 00 example 00 router 00`. Inside a label the octets 00 and 01 are written
//! `01 01` and `01 02`, so that comparing keys octet by octet is DNSSEC canonical order (RFC 4034
//! section 6.1) and everything at or below a name is one range: the keys that start with the name's key.

use crate::wire::{Name, NameRef};
use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

/// The end of each label in a key.
const END: u8 = 0;
/// Announces an escaped octet.
const ESCAPE: u8 = 1;

/// A reversed owner name on the heap, as the tables hold it. Records of one owner share it: cloning copies nothing.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(Arc<[u8]>);

/// A reversed owner name on the stack, as a query builds it.
///
/// The room comes in two sizes, for nearly all names are short and room has to be cleared.
pub struct KeyBuf {
    /// Where in the room the key begins and ends.
    start: usize,
    end: usize,
    room: Room,
}

enum Room {
    Short([u8; STEP + SHORT]),
    Long([u8; LONG]),
}

/// Every octet of a name could need two.
const LONG: usize = 2 * Name::MAX;

/// Names of so many octets or fewer, reverse names of IPv6 among them, have their keys written in steps.
const SHORT: usize = 80;

/// So many octets are a step: one of a known length takes two instructions where a call takes twenty.
const STEP: usize = 16;

impl KeyBuf {
    /// The key of `name`.
    pub fn new<'n>(name: impl Into<NameRef<'n>>) -> KeyBuf {
        let name = name.into().as_bytes();
        let mut key = KeyBuf { start: STEP, end: STEP, room: Room::Short([0; STEP + SHORT]) };
        key.fill(name);
        key
    }

    fn fill(&mut self, name: &[u8]) {
        if let Room::Short(room) = &mut self.room
            && let Some(len) = write(name, room)
        {
            self.end += len;
        } else {
            self.fill_long(name);
        }
    }

    #[cold]
    fn fill_long(&mut self, name: &[u8]) {
        let mut room = [0; LONG];
        let end = write_escaped(name, &mut room);
        *self = KeyBuf { start: 0, end, room: Room::Long(room) };
    }

    /// The octets.
    pub fn as_bytes(&self) -> &[u8] {
        let room: &[u8] = match &self.room {
            Room::Short(room) => room,
            Room::Long(room) => room,
        };
        room.get(self.start..self.end).unwrap_or_default()
    }
}

/// Writes the key of a name to the room after its first [`STEP`] octets; returns its length. `None` where the name has
/// more than [`SHORT`] octets, or one to be escaped: then what is written is no key.
fn write(name: &[u8], room: &mut [u8; STEP + SHORT]) -> Option<usize> {
    // The name in lower case, with as much before it as a step may read.
    let mut copy = [0; STEP + SHORT];
    let octets = copy.get_mut(STEP..STEP + name.len())?;
    // How many octets are below two: length octets and those that must be escaped.
    let mut low = 0;
    let mut take = |to: &mut [u8; STEP], from: &[u8; STEP], new: usize| {
        let mut step = *from;
        // Length octets are no letters, for they are below 64.
        step.make_ascii_lowercase();
        *to = step;
        let is_new = |index: u8| usize::from(index) + new >= STEP;
        low += step.iter().zip(0..).fold(0, |low, (octet, index)| low + u8::from(*octet <= ESCAPE && is_new(index)));
    };
    let (steps, rest) = name.as_chunks::<STEP>();
    octets.as_chunks_mut().0.iter_mut().zip(steps).for_each(|(to, from)| take(to, from, STEP));
    // The last step ends where the name does, and begins before the end of the one before it.
    match (octets.last_chunk_mut(), name.last_chunk()) {
        (Some(to), Some(from)) => take(to, from, rest.len()),
        _ => {
            let (mut to, mut from) = ([0; STEP], [b' '; STEP]);
            from.iter_mut().zip(name).for_each(|(to, from)| *to = *from);
            take(&mut to, &from, STEP);
            octets.iter_mut().zip(to).for_each(|(to, from)| *to = from);
        }
    }
    // How many of them are length octets; the root's is one.
    let mut lengths = 1;
    let len = name.len().checked_sub(1)?;
    let mut end = STEP + len;
    let mut at = STEP;
    // The labels from the left, the last of the key first. What a step writes before its label is overwritten by the label
    // that comes there, or lies before the key.
    while let Some(&length) = copy.get(at)
        && length > 0
    {
        lengths += u8::from(length <= ESCAPE);
        at += 1 + usize::from(length);
        end = end.checked_sub(1)?;
        *room.get_mut(end)? = END;
        for done in (0..usize::from(length)).step_by(STEP) {
            *room.get_mut(..end - done)?.last_chunk_mut()? = *copy.get(..at - done)?.last_chunk::<STEP>()?;
        }
        end = end.checked_sub(usize::from(length))?;
    }
    (low == lengths).then_some(len)
}

/// Writes the key of a name to the beginning of the room, whatever octets it has; returns its length.
fn write_escaped(name: &[u8], room: &mut [u8; LONG]) -> usize {
    // Where each label's length octet stands.
    let mut labels = [0; Name::MAX / 2 + 1];
    let mut count = 0;
    let mut at = 0;
    while let (Some(&length), Some(label)) = (name.get(at), labels.get_mut(count))
        && length > 0
    {
        *label = at;
        count += 1;
        at += 1 + usize::from(length);
    }
    let mut end = 0;
    for &at in labels.get(..count).unwrap_or_default().iter().rev() {
        let (length, rest) = name.get(at..).and_then(<[u8]>::split_first).unwrap_or((&0, &[]));
        end = put_escaped(room, end, rest.get(..usize::from(*length)));
        if let Some(octet) = room.get_mut(end) {
            *octet = END;
        }
        end += 1;
    }
    end
}

/// Writes a label to `at`, each octet that needs it escaped; returns its end. The room is large enough, were all escaped.
fn put_escaped(room: &mut [u8], at: usize, label: Option<&[u8]>) -> usize {
    let mut end = at;
    let mut push = |octet: u8| {
        if let Some(slot) = room.get_mut(end) {
            *slot = octet;
        }
        end += 1;
    };
    for &octet in label.unwrap_or_default() {
        match octet.to_ascii_lowercase() {
            octet @ (END | ESCAPE) => {
                push(ESCAPE);
                push(octet + 1);
            }
            other => push(other),
        }
    }
    end
}

impl Key {
    /// The key of `name`.
    pub fn new<'n>(name: impl Into<NameRef<'n>>) -> Key {
        Key(KeyBuf::new(name).as_bytes().into())
    }

    /// Takes octets that [`Key::as_bytes`] gave; `None` where they are no key.
    pub fn from_bytes(bytes: &[u8]) -> Option<Key> {
        name_of(bytes).map(|_| Key(bytes.into()))
    }

    /// The octets.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The key with this one's octets and then those of a key relative to it.
    pub(super) fn child(&self, relative: &[u8]) -> Key {
        Key([self.as_bytes(), relative].concat().into())
    }

    /// The owner name, in lower case.
    pub fn name(&self) -> Name {
        // A key is only made from a name or by `from_bytes`, which has tried this.
        name_of(&self.0).unwrap_or(Name::root())
    }
}

/// The name whose key is `bytes`, in lower case; `None` where there is none.
pub fn name_of(bytes: &[u8]) -> Option<Name> {
    let mut name = Name::root();
    let mut label = [0u8; 63];
    let mut size = 0;
    let mut rest = bytes.iter();
    while let Some(&octet) = rest.next() {
        let octet = match octet {
            END => {
                name = name.child(label.get(..size)?).ok()?;
                size = 0;
                continue;
            }
            ESCAPE => rest.next().filter(|octet| (1..=2).contains(*octet))?.checked_sub(1)?,
            b'A'..=b'Z' => return None,
            other => other,
        };
        *label.get_mut(size)? = octet;
        size += 1;
    }
    (size == 0).then_some(name)
}

/// The key one label up: `com 00` for `com 00 example 00`; `None` for the root's empty key.
pub fn parent_of(key: &[u8]) -> Option<&[u8]> {
    let (_, inner) = key.split_last()?;
    // An END inside a label is escaped, so the last END but one ends the parent.
    let cut = inner.iter().rposition(|&octet| octet == END).map_or(0, |at| at + 1);
    key.get(..cut)
}

impl Borrow<[u8]> for Key {
    fn borrow(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({:#})", self.name())
    }
}

impl fmt::Debug for KeyBuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyBuf({:?})", self.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &str) -> Key {
        Key::new(&Name::parse(text).unwrap())
    }

    #[test]
    fn labels_are_reversed_and_lower_cased() {
        assert_eq!(key("Router.Example.COM").as_bytes(), b"com\0example\0router\0");
        assert_eq!(key("Router.Example.COM").name(), Name::parse("router.example.com").unwrap());
        assert_eq!(key(".").as_bytes(), b"");
    }

    /// However long labels are and wherever they lie in a step, and whatever is in them.
    #[test]
    fn keys_written_in_steps_are_those_written_octet_by_octet() {
        let mut state = 1u64;
        let mut random = |below: usize| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            usize::try_from(state >> 33).unwrap() % below
        };
        let mut in_steps = 0;
        for turn in 0..60_000 {
            let longest = [2, 5, 20, 64][turn % 4];
            let mut name = Name::root();
            for _ in 0..random(40) {
                let octet = |choice: usize, octet: usize| match choice {
                    0 if turn % 8 == 0 => [0, 1, 2, 255][octet % 4],
                    _ => b"abcXYZ019-_@[`{"[octet % 15],
                };
                let label: Vec<u8> = (0..1 + random(longest - 1)).map(|_| octet(random(9), random(60))).collect();
                match name.child(&label) {
                    Ok(longer) => name = longer,
                    Err(_) => break,
                }
            }
            let mut expected = Vec::new();
            for label in name.labels().collect::<Vec<_>>().iter().rev() {
                for octet in label.to_ascii_lowercase() {
                    match octet {
                        0 => expected.extend([1, 1]),
                        1 => expected.extend([1, 2]),
                        other => expected.push(other),
                    }
                }
                expected.push(0);
            }
            let key = KeyBuf::new(&name);
            assert_eq!(key.as_bytes(), expected, "{name}");
            in_steps += usize::from(matches!(key.room, Room::Short(_)));
        }
        assert!((20_000..50_000).contains(&in_steps), "{in_steps}");
        let reverse = format!("{}ip6.arpa", "f.".repeat(32));
        assert!(matches!(KeyBuf::new(&Name::parse(&reverse).unwrap()).room, Room::Short(_)));
    }

    #[test]
    fn octet_order_is_canonical_order() {
        // The list of RFC 4034 section 6.1, in its order.
        let sorted = [
            "example",
            "a.example",
            "yljkjljk.a.example",
            "Z.a.example",
            "zABC.a.EXAMPLE",
            "z.example",
            "\\001.z.example",
            "*.z.example",
            "\\200.z.example",
        ];
        for pair in sorted.windows(2) {
            assert!(key(pair[0]) < key(pair[1]), "{} before {}", pair[0], pair[1]);
        }
        assert!(key("\\000.z") < key("\\000\\000.z"));
        assert!(key("\\000\\001.z") < key("\\001.z"));
    }

    #[test]
    fn odd_octets_come_back() {
        for text in ["\\000\\001\\002.a", "\\000.\\001", "a.b.c", "\\255"] {
            let name = Name::parse(text).unwrap();
            assert_eq!(key(text).name(), name);
            assert_eq!(parent_of(key(text).as_bytes()).unwrap(), Key::new(&name.parent().unwrap()).as_bytes());
        }
        assert_eq!(parent_of(b""), None);
        assert_eq!(name_of(b"a"), None);
        assert_eq!(name_of(b"\x01\x03\0"), None);
        assert_eq!(name_of(b"\0"), None);
    }
}
