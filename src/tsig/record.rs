//! The TSIG record in octets, and what of it and of its message is hashed (RFC 8945 sections 4.2 and 4.3).

use super::Algorithm;
use super::key::TsigKey;
use super::mac::{Hasher, Mac};
use crate::wire::{Class, Name};
use std::fmt;

/// The type of TSIG records (RFC 8945 section 4.1).
const TYPE: u16 = 250;
/// Octets of a message's header (RFC 1035 section 4.1.1).
const HEADER: usize = 12;
/// Octets of a TSIG record besides its two names, its MAC and its other data.
const FIXED: usize = 26;
/// Times have 48 bits.
const TIME_MASK: u64 = 0xFFFF_FFFF_FFFF;

/// The value of a TSIG record's error field when all is well.
pub(super) const NOERROR: u16 = 0;
/// The MAC is wrong.
pub(super) const BADSIG: u16 = 16;
/// The key is unknown, or not of this algorithm.
pub(super) const BADKEY: u16 = 17;
/// The time is too far off.
pub(super) const BADTIME: u16 = 18;
/// The MAC is shorter than the key allows.
pub(super) const BADTRUNC: u16 = 22;

/// A TSIG record as received.
pub(super) struct Received<'a> {
    pub(super) owner: Name,
    pub(super) algorithm: Name,
    pub(super) stamp: Stamp,
    pub(super) mac: &'a [u8],
    original_id: u16,
    pub(super) error: u16,
    pub(super) other: &'a [u8],
}

/// When a message was signed, and how far from then it is still good: the "timers".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp {
    /// Seconds since 1970, 48 bits.
    pub(super) signed: u64,
    /// Seconds.
    pub(super) fudge: u16,
}

/// How much of the TSIG record the MAC covers besides the message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Coverage {
    /// All variables (RFC 8945 section 4.3.3).
    Variables,
    /// The timers only, from the second message of a transfer on (RFC 8945 section 5.3.1).
    Timers,
}

/// Why a message cannot be signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignError {
    /// The buffer ends before the TSIG record does.
    NoRoom,
    /// What stands in the buffer is no message, or its additional section is full.
    NoMessage,
}

impl Stamp {
    pub(super) fn new(now: u64, fudge: u16) -> Stamp {
        Stamp { signed: now & TIME_MASK, fudge }
    }

    /// Whether `now` is within the fudge (RFC 8945 section 5.2.3).
    pub(super) fn allows(&self, now: u64) -> bool {
        now.abs_diff(self.signed) <= u64::from(self.fudge)
    }
}

impl<'a> Received<'a> {
    /// Reads the record at `at`, which must be the last of the message; else says what is wrong.
    pub(super) fn read(message: &'a [u8], at: usize) -> Result<Received<'a>, &'static str> {
        const SHORT: &str = "it is cut off";
        if at < HEADER || arcount(message).is_none_or(|count| count == 0) {
            return Err("it is not in the additional section");
        }
        let (owner, at) = Name::read(message, at).map_err(|_| "its name is broken")?;
        let mut rest = Reader { message, at };
        if rest.u16().ok_or(SHORT)? != TYPE {
            return Err("it is of another type");
        }
        if rest.u16().ok_or(SHORT)? != Class::ANY.0 || rest.take(4).ok_or(SHORT)? != [0; 4] {
            return Err("its class is not ANY or its TTL not 0");
        }
        let rdlength = usize::from(rest.u16().ok_or(SHORT)?);
        if rest.at + rdlength != message.len() {
            return Err("the message does not end with it");
        }
        let (algorithm, end) = Name::read(message, rest.at).map_err(|_| "its algorithm's name is broken")?;
        // RFC 3597 section 4: only the types of RFC 1035 may hold compressed names.
        if end - rest.at != algorithm.as_bytes().len() {
            return Err("its algorithm's name is compressed");
        }
        rest.at = end;
        let received = rest.fields(owner, algorithm).ok_or(SHORT)?;
        if rest.at == message.len() { Ok(received) } else { Err("octets are left over in it") }
    }

    /// Hashes the message before the record at `at`, as it was when it was signed: with its original ID and
    /// without this record in its count (RFC 8945 section 4.3.2).
    pub(super) fn hash_message(&self, hasher: &mut Hasher, message: &[u8], at: usize) {
        hasher.update(&self.original_id.to_be_bytes());
        hasher.update(message.get(2..10).unwrap_or_default());
        hasher.update(&arcount(message).unwrap_or_default().saturating_sub(1).to_be_bytes());
        hasher.update(message.get(HEADER..at).unwrap_or_default());
    }

    /// Hashes what the MAC covers of this record itself. `algorithm` is the one that the record names.
    pub(super) fn hash_self(&self, hasher: &mut Hasher, key: &TsigKey, algorithm: Algorithm, coverage: Coverage) {
        match coverage {
            Coverage::Variables => hash_variables(hasher, key, algorithm, self.stamp, self.error, self.other),
            Coverage::Timers => hash_timers(hasher, self.stamp),
        }
    }

    /// The algorithm that the record names, if it is one that `key` serves: its own, or for a truncated
    /// one also the whole hash's name, with which BIND sends a MAC that it has cut (RFC 8945 section 5.2.2.1).
    pub(super) fn served_by(&self, key: &TsigKey) -> Option<Algorithm> {
        Algorithm::from_wire(&self.algorithm).filter(|&named| named == key.algorithm || named == key.algorithm.hash())
    }

    /// Whether the MAC's length is one that truncation may give: at most all, at least half the hash and 10
    /// octets (RFC 8945 section 5.2.2.1).
    pub(super) fn has_mac_of(&self, named: Algorithm) -> bool {
        (10.max(named.full_len() / 2)..=named.mac_len()).contains(&self.mac.len())
    }
}

/// A TSIG record to be written.
pub(super) struct Record<'a> {
    pub(super) owner: &'a [u8],
    pub(super) algorithm: &'a [u8],
    pub(super) stamp: Stamp,
    pub(super) mac: &'a [u8],
    pub(super) error: u16,
    pub(super) other: &'a [u8],
}

impl Record<'_> {
    /// Writes the record after the message in `buf[..len]` and counts it; returns the new length.
    pub(super) fn append(&self, buf: &mut [u8], len: usize) -> Result<usize, SignError> {
        let id = buf.get(..len).and_then(|message| message.first_chunk::<2>()).copied().ok_or(SignError::NoMessage)?;
        let count = buf.get(..len).and_then(arcount).and_then(|count| count.checked_add(1));
        let count = count.ok_or(SignError::NoMessage)?;
        let rdlength = FIXED - 10 + self.algorithm.len() + self.mac.len() + self.other.len();
        let mut writer = Writer { buf, at: len };
        writer.put(self.owner)?;
        writer.put(&TYPE.to_be_bytes())?;
        writer.put(&Class::ANY.0.to_be_bytes())?;
        writer.put(&[0; 4])?;
        writer.put_len(rdlength)?;
        writer.put(self.algorithm)?;
        writer.put(&time(self.stamp.signed))?;
        writer.put(&self.stamp.fudge.to_be_bytes())?;
        writer.put_len(self.mac.len())?;
        writer.put(self.mac)?;
        writer.put(&id)?;
        writer.put(&self.error.to_be_bytes())?;
        writer.put_len(self.other.len())?;
        writer.put(self.other)?;
        let end = writer.at;
        // The count moves last, so that a message that had no room stays whole.
        if let Some(place) = buf.get_mut(10..HEADER) {
            place.copy_from_slice(&count.to_be_bytes());
        }
        Ok(end)
    }
}

/// How many octets a TSIG record has.
pub(super) fn record_len(owner: usize, algorithm: usize, mac: usize, other: usize) -> usize {
    FIXED + owner + algorithm + mac + other
}

/// What is signed and with what: the way to every MAC that we send.
pub(super) struct Seal<'a> {
    pub(super) key: &'a TsigKey,
    /// The algorithm as the record names it.
    pub(super) named: Algorithm,
    pub(super) mac_len: usize,
    /// The request's MAC, or that of the message before (RFC 8945 sections 5.3 and 5.3.1).
    pub(super) prior: Option<&'a Mac>,
    pub(super) coverage: Coverage,
    pub(super) stamp: Stamp,
    pub(super) error: u16,
    pub(super) other: &'a [u8],
}

impl Seal<'_> {
    /// Signs the message in `buf[..len]` and appends the record; returns the new length and the MAC.
    pub(super) fn append(&self, buf: &mut [u8], len: usize) -> Result<(usize, Mac), SignError> {
        let mut hasher = Hasher::new(self.named, &self.key.secret);
        if let Some(prior) = self.prior {
            hasher.update_mac(prior);
        }
        hasher.update(buf.get(..len).ok_or(SignError::NoMessage)?);
        match self.coverage {
            Coverage::Variables => {
                hash_variables(&mut hasher, self.key, self.named, self.stamp, self.error, self.other);
            }
            Coverage::Timers => hash_timers(&mut hasher, self.stamp),
        }
        let mac = hasher.finish().truncated(self.mac_len);
        let record = Record {
            owner: self.key.name.as_bytes(),
            algorithm: self.named.wire_name(),
            stamp: self.stamp,
            mac: mac.as_bytes(),
            error: self.error,
            other: self.other,
        };
        Ok((record.append(buf, len)?, mac))
    }
}

/// RFC 8945 section 4.3.3: names in canonical form, so the case in which they came does not matter.
fn hash_variables(hasher: &mut Hasher, key: &TsigKey, algorithm: Algorithm, stamp: Stamp, error: u16, other: &[u8]) {
    hasher.update(key.name.to_lowercase().as_bytes());
    hasher.update(&Class::ANY.0.to_be_bytes());
    hasher.update(&[0; 4]);
    hasher.update(algorithm.wire_name());
    hash_timers(hasher, stamp);
    hasher.update(&error.to_be_bytes());
    // Other data comes out of a record, whose length has 16 bits, or is a time.
    hasher.update(&u16::try_from(other.len()).unwrap_or_default().to_be_bytes());
    hasher.update(other);
}

fn hash_timers(hasher: &mut Hasher, stamp: Stamp) {
    hasher.update(&time(stamp.signed));
    hasher.update(&stamp.fudge.to_be_bytes());
}

/// A time in its 48 bits.
pub(super) fn time(seconds: u64) -> [u8; 6] {
    let [_, _, octets @ ..] = seconds.to_be_bytes();
    octets
}

/// The time in 48 bits of other data, if it is one.
pub(super) fn time_of(octets: &[u8]) -> Option<u64> {
    let &[a, b, c, d, e, f] = octets else { return None };
    Some(u64::from_be_bytes([0, 0, a, b, c, d, e, f]))
}

fn arcount(message: &[u8]) -> Option<u16> {
    message.get(10..HEADER)?.first_chunk().copied().map(u16::from_be_bytes)
}

struct Reader<'a> {
    message: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    /// What follows the algorithm's name (RFC 8945 section 4.2).
    fn fields(&mut self, owner: Name, algorithm: Name) -> Option<Received<'a>> {
        let signed = time_of(self.take(6)?)?;
        let fudge = self.u16()?;
        let mac = self.run()?;
        let original_id = self.u16()?;
        let error = self.u16()?;
        let other = self.run()?;
        Some(Received { owner, algorithm, stamp: Stamp { signed, fudge }, mac, original_id, error, other })
    }

    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let taken = self.message.get(self.at..self.at.checked_add(len)?)?;
        self.at += len;
        Some(taken)
    }

    fn u16(&mut self) -> Option<u16> {
        self.take(2)?.first_chunk().copied().map(u16::from_be_bytes)
    }

    /// Octets with their length before them.
    fn run(&mut self) -> Option<&'a [u8]> {
        let len = self.u16()?;
        self.take(usize::from(len))
    }
}

struct Writer<'a> {
    buf: &'a mut [u8],
    at: usize,
}

impl Writer<'_> {
    fn put(&mut self, octets: &[u8]) -> Result<(), SignError> {
        let end = self.at.checked_add(octets.len()).ok_or(SignError::NoRoom)?;
        self.buf.get_mut(self.at..end).ok_or(SignError::NoRoom)?.copy_from_slice(octets);
        self.at = end;
        Ok(())
    }

    fn put_len(&mut self, len: usize) -> Result<(), SignError> {
        self.put(&u16::try_from(len).map_err(|_| SignError::NoRoom)?.to_be_bytes())
    }
}

impl fmt::Display for SignError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            SignError::NoRoom => {
                "cannot sign the message: no room for its TSIG record; leave as much as `reserve` says"
            }
            SignError::NoMessage => "cannot sign the message: it has no header, or its additional section is full",
        })
    }
}

impl std::error::Error for SignError {}
