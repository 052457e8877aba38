//! The octets of a commit: the payload of a journal frame.
//!
//! All numbers are big-endian. A commit, form 1:
//!
//! | octets        | content                                                               |
//! |---------------|-----------------------------------------------------------------------|
//! | 1             | form: 1                                                               |
//! | 1             | kind: 0 create, 1 change, 2 delete                                    |
//! | 1             | actor: 0 key, 1 http, 2 mesh, 3 lease, 4 operator, 5 seed             |
//! | 2 + n         | the actor's name: its length, then a wire-form name (key) or UTF-8 (http, mesh) or nothing |
//! | 1 + n         | source address: its length, 0, 4 or 16, then the address              |
//! | 8             | time, in seconds since 1970                                           |
//! | 1 (+ 4)       | serial before: 0, or 1 and the serial                                 |
//! | 4             | serial after                                                          |
//! | 2 + n         | zone: its length, then its wire-form name in the case it was given    |
//! | 4 + n         | removed records: their length in octets, then the records             |
//! | to the end    | added records                                                         |
//!
//! A record:
//!
//! | octets | content                                                                             |
//! |--------|-------------------------------------------------------------------------------------|
//! | 2      | how many octets the owner's key shares with the key of the record before it; the first record of each list compares with the apex's key |
//! | 2 + n  | the rest of the key: its length, then its octets                                    |
//! | 2      | type                                                                                |
//! | 4      | time to live                                                                        |
//! | 2 + n  | the data: its length, then its octets                                               |
//!
//! Reading takes any octets: it fails, but neither panics nor allocates more than the input accounts for.

use super::{Actor, Commit, CommitKind, StoreError};
use crate::wire::{Name, Rtype, Ttl};
use crate::zone::{Changes, Key, KeyBuf, Record, Serial};
use std::net::IpAddr;

/// The form that this module writes.
const FORM: u8 = 1;

/// A commit whose records are still octets, so that a zone of a million names need not be in memory to be read.
pub(super) struct Encoded<'a> {
    /// The commit without its changes.
    pub(super) commit: Commit,
    /// The records that go.
    pub(super) removed: Records<'a>,
    /// The records that come.
    pub(super) added: Records<'a>,
}

/// Why octets are no commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unreadable {
    /// They break the form above.
    Broken,
    /// They have a later form.
    Newer(u8),
}

/// Appends the octets of `commit` to `out`.
pub(super) fn encode(commit: &Commit, out: &mut Vec<u8>) -> Result<(), StoreError> {
    let too_large = |what| StoreError::TooLarge { zone: commit.zone.into(), what };
    out.push(FORM);
    out.push(match commit.kind {
        CommitKind::Create => 0,
        CommitKind::Change => 1,
        CommitKind::Delete => 2,
    });
    let (tag, actor) = match &commit.actor {
        Actor::Key(name) => (0, name.as_bytes()),
        Actor::Http(user) => (1, user.as_bytes()),
        Actor::Mesh(node) => (2, node.as_bytes()),
        Actor::Lease => (3, &[][..]),
        Actor::Operator => (4, &[][..]),
        Actor::Seed => (5, &[][..]),
    };
    out.push(tag);
    push_short(out, actor).ok_or_else(|| too_large("the actor's name is over 65535 octets"))?;
    match commit.source {
        None => out.push(0),
        Some(IpAddr::V4(address)) => {
            out.push(4);
            out.extend_from_slice(&address.octets());
        }
        Some(IpAddr::V6(address)) => {
            out.push(16);
            out.extend_from_slice(&address.octets());
        }
    }
    out.extend_from_slice(&commit.time.to_be_bytes());
    match commit.from {
        None => out.push(0),
        Some(serial) => {
            out.push(1);
            out.extend_from_slice(&serial.0.to_be_bytes());
        }
    }
    out.extend_from_slice(&commit.to.0.to_be_bytes());
    push_short(out, commit.zone.as_bytes()).ok_or_else(|| too_large("the zone's name is over 65535 octets"))?;
    let length_at = out.len();
    out.extend_from_slice(&[0; 4]);
    let apex = Key::new(&commit.zone);
    let data_too_long = "a record's data is over 65535 octets";
    push_records(out, &apex, &commit.changes.removed).ok_or_else(|| too_large(data_too_long))?;
    let length = u32::try_from(out.len() - length_at - 4).map_err(|_| too_large("its records are over 4 GiB"))?;
    if let Some(place) = out.get_mut(length_at..length_at + 4) {
        place.copy_from_slice(&length.to_be_bytes());
    }
    push_records(out, &apex, &commit.changes.added).ok_or_else(|| too_large(data_too_long))
}

/// The commit that all of `octets` is.
pub(super) fn decode(octets: &[u8]) -> Result<Commit, Unreadable> {
    let encoded = read(octets)?;
    let removed = encoded.removed.collect::<Result<_, _>>()?;
    let added = encoded.added.collect::<Result<_, _>>()?;
    Ok(Commit { changes: Changes { removed, added }, ..encoded.commit })
}

/// Reads a commit up to its records.
pub(super) fn read(octets: &[u8]) -> Result<Encoded<'_>, Unreadable> {
    match octets.first() {
        Some(&FORM) => {}
        Some(&newer) if newer > FORM => return Err(Unreadable::Newer(newer)),
        _ => return Err(Unreadable::Broken),
    }
    read_form_1(octets).ok_or(Unreadable::Broken)
}

fn read_form_1(octets: &[u8]) -> Option<Encoded<'_>> {
    let mut input = Input(octets.get(1..)?);
    let kind = match input.u8()? {
        0 => CommitKind::Create,
        1 => CommitKind::Change,
        2 => CommitKind::Delete,
        _ => return None,
    };
    let tag = input.u8()?;
    let actor = input.short()?;
    let text = || std::str::from_utf8(actor).ok().map(str::to_owned);
    let actor = match tag {
        0 => Actor::Key(Name::from_wire(actor).ok()?),
        1 => Actor::Http(text()?),
        2 => Actor::Mesh(text()?),
        3 if actor.is_empty() => Actor::Lease,
        4 if actor.is_empty() => Actor::Operator,
        5 if actor.is_empty() => Actor::Seed,
        _ => return None,
    };
    let source = match input.u8()? {
        0 => None,
        4 => Some(IpAddr::from(input.array::<4>()?)),
        16 => Some(IpAddr::from(input.array::<16>()?)),
        _ => return None,
    };
    let time = u64::from_be_bytes(input.array()?);
    let from = match input.u8()? {
        0 => None,
        1 => Some(Serial(input.u32()?)),
        _ => return None,
    };
    let to = Serial(input.u32()?);
    let zone = Name::from_wire(input.short()?).ok()?;
    let length = usize::try_from(input.u32()?).ok()?;
    let removed = input.take(length)?;
    let apex = KeyBuf::new(&zone);
    Some(Encoded {
        commit: Commit { zone, kind, from, to, time, actor, source, changes: Changes::default() },
        removed: Records { input: Input(removed), key: apex.as_bytes().to_vec() },
        added: Records { input, key: apex.as_bytes().to_vec() },
    })
}

/// The records of one list, read one by one.
pub(super) struct Records<'a> {
    input: Input<'a>,
    /// The key of the record before.
    key: Vec<u8>,
}

impl Iterator for Records<'_> {
    type Item = Result<Record, Unreadable>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.input.0.is_empty() {
            return None;
        }
        let record = self.record().ok_or(Unreadable::Broken);
        if record.is_err() {
            // Where one record is broken, no next one can be found.
            self.input = Input(&[]);
        }
        Some(record)
    }
}

impl Records<'_> {
    fn record(&mut self) -> Option<Record> {
        let shared = usize::from(self.input.u16()?);
        let rest = self.input.short()?;
        if shared > self.key.len() {
            return None;
        }
        self.key.truncate(shared);
        self.key.extend_from_slice(rest);
        let owner = Key::from_bytes(&self.key)?;
        let rtype = Rtype(self.input.u16()?);
        let ttl = Ttl::new(self.input.u32()?);
        Some(Record { owner, rtype, ttl, rdata: self.input.short()?.into() })
    }
}

/// Octets that are read from the front.
pub(super) struct Input<'a>(pub(super) &'a [u8]);

impl<'a> Input<'a> {
    pub(super) fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*taken)
    }

    pub(super) fn u8(&mut self) -> Option<u8> {
        self.array().map(u8::from_be_bytes)
    }

    pub(super) fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_be_bytes)
    }

    pub(super) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_be_bytes)
    }

    pub(super) fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_be_bytes)
    }

    /// Octets behind their length in two octets.
    pub(super) fn short(&mut self) -> Option<&'a [u8]> {
        let length = self.u16()?;
        self.take(usize::from(length))
    }
}

/// Appends `octets` behind their length in two octets; `None` where they are too many.
pub(super) fn push_short(out: &mut Vec<u8>, octets: &[u8]) -> Option<()> {
    out.extend_from_slice(&u16::try_from(octets.len()).ok()?.to_be_bytes());
    out.extend_from_slice(octets);
    Some(())
}

fn push_records(out: &mut Vec<u8>, apex: &Key, records: &[Record]) -> Option<()> {
    let mut before = apex;
    for record in records {
        let key = record.owner.as_bytes();
        let shared = key.iter().zip(before.as_bytes()).take_while(|(a, b)| a == b).count();
        out.extend_from_slice(&u16::try_from(shared).ok()?.to_be_bytes());
        push_short(out, key.get(shared..)?)?;
        out.extend_from_slice(&record.rtype.0.to_be_bytes());
        out.extend_from_slice(&record.ttl.seconds().to_be_bytes());
        push_short(out, &record.rdata)?;
        before = &record.owner;
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::super::samples;
    use super::*;
    use proptest::prelude::*;

    fn encoded(commit: &Commit) -> Vec<u8> {
        let mut out = Vec::new();
        encode(commit, &mut out).unwrap();
        out
    }

    #[test]
    fn every_field_comes_back() {
        let name = |text: &str| Name::parse(text).unwrap();
        let mut commit = samples::change("Example.COM", 7, &[("a.example.com", 60, "192.0.2.1")]);
        let actors = [
            Actor::Key(name("Laptop.home")),
            Actor::Http("Zoë".into()),
            Actor::Mesh("node-1".into()),
            Actor::Lease,
            Actor::Operator,
            Actor::Seed,
        ];
        let sources = [None, Some("192.0.2.7".parse().unwrap()), Some("2001:db8::7".parse().unwrap())];
        for kind in [CommitKind::Create, CommitKind::Change, CommitKind::Delete] {
            for actor in &actors {
                for source in sources {
                    for from in [None, Some(Serial(0)), Some(Serial(u32::MAX))] {
                        commit = Commit { kind, actor: actor.clone(), source, from, time: u64::MAX - 1, ..commit };
                        let back = decode(&encoded(&commit)).unwrap();
                        assert_eq!(back, commit);
                        assert!(back.zone.same_case(&commit.zone));
                    }
                }
            }
        }
    }

    #[test]
    fn a_commit_has_these_octets() {
        let mut commit = samples::change("ab", 1, &[("c.ab", 60, "192.0.2.1")]);
        commit.actor = Actor::Lease;
        commit.changes.removed.clear();
        assert_eq!(
            encoded(&commit),
            b"\x01\x01\x03\0\0\0\0\0\0\0\0\0\0\x01\x01\0\0\0\0\0\0\0\x01\0\x04\x02ab\0\0\0\0\0\
              \0\x03\0\x02c\0\0\x01\0\0\0\x3c\0\x04\xc0\0\x02\x01"
        );
    }

    #[test]
    fn a_commit_cut_off_or_of_a_later_form_is_not_read() {
        let whole = encoded(&samples::change("example.com", 7, &[("a.example.com", 60, "192.0.2.1")]));
        for length in 0..whole.len() {
            // Where the cut falls between two lists or records, what is left is a commit, but not this one: the
            // frame's length and checks tell them apart.
            if let Ok(commit) = decode(&whole[..length]) {
                assert!(commit.changes.added.is_empty(), "cut at {length}");
            }
        }
        let mut newer = whole;
        newer[0] = 2;
        assert_eq!(decode(&newer), Err(Unreadable::Newer(2)));
    }

    proptest! {
        #[test]
        fn no_octets_make_it_panic(mut octets in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode(&octets);
            if let Some(first) = octets.first_mut() {
                *first = FORM;
            }
            let _ = decode(&octets);
        }

        #[test]
        fn no_changed_octet_makes_it_panic(at in 0..200usize, to: u8) {
            let mut octets = encoded(&samples::change("example.com", 7, &[
                ("a.example.com", 60, "192.0.2.1"), ("b.example.com", 60, "192.0.2.2")]));
            let at = at % octets.len();
            octets[at] = to;
            if let Ok(commit) = decode(&octets) {
                let mut again = Vec::new();
                encode(&commit, &mut again).unwrap();
                prop_assert_eq!(decode(&again), Ok(commit));
            }
        }
    }
}
