//! Reversed owner names, the order of every table of records.
//!
//! A [`Key`] is the lower-cased owner with its labels from the right, each ended by a zero octet:
//! `router.example.com` is `com 00 example 00 router 00`. Inside a label the octets 00 and 01 are written
//! `01 01` and `01 02`, so that comparing keys octet by octet is DNSSEC canonical order (RFC 4034
//! section 6.1) and everything at or below a name is one range: the keys that start with the name's key.

use crate::wire::{Name, NameRef};
use std::borrow::Borrow;
use std::fmt;

/// The end of each label in a key.
const END: u8 = 0;
/// Announces an escaped octet.
const ESCAPE: u8 = 1;

/// A reversed owner name on the heap, as the tables hold it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(Box<[u8]>);

/// A reversed owner name on the stack, as a query builds it.
///
/// The room comes in two sizes, for nearly all names are short and room has to be cleared.
pub struct KeyBuf {
    /// The key lies at the end of the octets: it is written from its last label, the name's first.
    start: usize,
    room: Room,
}

enum Room {
    Short([u8; SHORT]),
    Long([u8; LONG]),
}

/// Every octet of a name could need two.
const LONG: usize = 2 * Name::MAX;
const SHORT: usize = 128;

impl KeyBuf {
    /// The key of `name`.
    pub fn new<'n>(name: impl Into<NameRef<'n>>) -> KeyBuf {
        let name = name.into();
        if name.as_bytes().len() <= SHORT / 2 {
            let mut room = [0; SHORT];
            KeyBuf { start: write(name, &mut room), room: Room::Short(room) }
        } else {
            let mut room = [0; LONG];
            KeyBuf { start: write(name, &mut room), room: Room::Long(room) }
        }
    }

    /// The octets.
    pub fn as_bytes(&self) -> &[u8] {
        let room: &[u8] = match &self.room {
            Room::Short(room) => room,
            Room::Long(room) => room,
        };
        room.get(self.start..).unwrap_or_default()
    }
}

/// Writes the key of `name` to the end of a room that is clear; returns where it starts.
fn write<const SIZE: usize>(name: NameRef<'_>, room: &mut [u8; SIZE]) -> usize {
    // Length octets below two are among these, so some labels are then looked at in vain.
    let escapes = name.as_bytes().iter().fold(0, |sum, octet| sum + usize::from(*octet <= ESCAPE)) > 1;
    let mut start = SIZE;
    for label in name.labels() {
        // The room is clear, and END is zero.
        start = start.saturating_sub(1);
        if escapes && label.iter().any(|octet| *octet <= ESCAPE) {
            for &octet in label.iter().rev() {
                match octet {
                    END | ESCAPE => start = write_before(room, start, &[ESCAPE, octet + 1]),
                    other => start = write_before(room, start, &[other]),
                }
            }
        } else {
            start = write_before(room, start, label);
        }
    }
    // All of it at once: the ends and the escapes are no letters.
    room.make_ascii_lowercase();
    start
}

/// Writes octets before `start`; returns where they start. The room is large enough, were every octet escaped.
fn write_before(room: &mut [u8], start: usize, octets: &[u8]) -> usize {
    let before = start.saturating_sub(octets.len());
    if let Some(room) = room.get_mut(before..start).filter(|room| room.len() == octets.len()) {
        room.copy_from_slice(octets);
    }
    before
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
