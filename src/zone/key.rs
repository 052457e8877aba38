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
    len: usize,
    room: Room,
}

enum Room {
    Short([u8; SHORT + STEP]),
    Long([u8; LONG + STEP]),
}

/// Every octet of a name could need two.
const LONG: usize = 2 * Name::MAX;
const SHORT: usize = 128;

/// Labels are copied in steps of so many octets. What is copied beyond a label's end is overwritten by the next one, or
/// lies beyond the key's: a step of a known length takes two instructions where a call takes twenty.
const STEP: usize = 16;

impl KeyBuf {
    /// The key of `name`.
    pub fn new<'n>(name: impl Into<NameRef<'n>>) -> KeyBuf {
        let name = name.into();
        if name.as_bytes().len() <= SHORT / 2 {
            let mut room = [0; SHORT + STEP];
            KeyBuf { len: write::<{ SHORT / 2 + STEP }, { SHORT / 4 }>(name, &mut room), room: Room::Short(room) }
        } else {
            let mut room = [0; LONG + STEP];
            KeyBuf { len: write::<{ LONG / 2 + STEP }, { LONG / 4 + 1 }>(name, &mut room), room: Room::Long(room) }
        }
    }

    /// The octets.
    pub fn as_bytes(&self) -> &[u8] {
        let room: &[u8] = match &self.room {
            Room::Short(room) => room,
            Room::Long(room) => room,
        };
        room.get(..self.len).unwrap_or_default()
    }
}

/// Writes the key of `name` to the beginning of `room`; returns its length. The name has at most `NAME` less [`STEP`]
/// octets and `LABELS` labels.
fn write<const NAME: usize, const LABELS: usize>(name: NameRef<'_>, room: &mut [u8]) -> usize {
    let octets = name.as_bytes();
    // A copy of a length that the compiler knows, filled up with what is neither a letter nor escaped.
    let mut copy = [b' '; NAME];
    if let Some(front) = copy.get_mut(..octets.len()) {
        front.copy_from_slice(octets);
    }
    // Length octets are no letters, for they are below 64.
    copy.make_ascii_lowercase();
    // Length octets below two are among these, so some names are then looked at in vain; a name has at most 255 octets.
    let escapes = copy.iter().fold(0u8, |sum, octet| sum + u8::from(*octet <= ESCAPE)) > 1;
    // Where each label's length octet stands: a name has at most 255 octets.
    let mut labels = [0u8; LABELS];
    let mut count = 0;
    let mut at = 0u8;
    while let (Some(&length), Some(label)) = (copy.get(usize::from(at)), labels.get_mut(count)) {
        if length == 0 {
            break;
        }
        *label = at;
        count += 1;
        at = at.saturating_add(length + 1);
    }
    let mut end = 0;
    for &label in labels.get(..count).unwrap_or_default().iter().rev() {
        let start = usize::from(label) + 1;
        let len = copy.get(start - 1).copied().map_or(0, usize::from);
        end = if escapes {
            put_escaped(room, end, copy.get(start..start + len))
        } else {
            put(room, end, &copy, start, len)
        };
        if let Some(octet) = room.get_mut(end) {
            *octet = END;
        }
        end += 1;
    }
    end
}

/// Copies a label to `at`; returns its end.
fn put(room: &mut [u8], at: usize, name: &[u8], start: usize, len: usize) -> usize {
    let mut done = 0;
    while done < len {
        let from = name.get(start + done..).and_then(|rest| rest.first_chunk::<STEP>());
        let to = room.get_mut(at + done..).and_then(|rest| rest.first_chunk_mut::<STEP>());
        if let (Some(from), Some(to)) = (from, to) {
            *to = *from;
        }
        done += STEP;
    }
    at + len
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
        match octet {
            END | ESCAPE => {
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
