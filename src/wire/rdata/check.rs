//! How long each field is, and whether its octets can stand there.

use super::Fault;
use super::shape::Field;
use crate::wire::{NameError, NameRef};

impl Field {
    /// The octets that this field takes of `rest`, which follows the data `before` it; an error where they
    /// are not a valid field.
    pub(crate) fn len(self, before: &[u8], rest: &[u8]) -> Result<usize, Fault> {
        let all = rest.len();
        match self {
            Field::Name => name_len(rest),
            Field::OptionalName if rest.is_empty() => Ok(0),
            Field::OptionalName => name_len(rest),
            Field::U8 | Field::Algorithm | Field::Relay => fixed(rest, 1),
            Field::U16 | Field::Type | Field::CertificateType => fixed(rest, 2),
            Field::U32 | Field::Seconds | Field::Time | Field::Ipv4 => fixed(rest, 4),
            Field::Groups => fixed(rest, 8),
            Field::Ipv6 => fixed(rest, 16),
            Field::Eui(size) => fixed(rest, size),
            Field::Hex(least) | Field::Base64(least) | Field::Text(least) | Field::Any(least) => {
                fixed(rest, least).map(|_| all)
            }
            Field::String | Field::Salt => counted(rest),
            Field::OptionalString if rest.is_empty() => Ok(0),
            Field::OptionalString => counted(rest),
            Field::Strings => strings(rest),
            Field::Tag => tag(rest),
            Field::Hash => counted(rest).and_then(|size| valid(size > 1, size, "an empty hash")),
            Field::Bitmap => bitmap(rest),
            Field::Gateway => gateway(before, rest),
            Field::Params => params(rest),
            Field::Hip => hip(rest),
            Field::Prefixes => prefixes(rest),
            Field::Location => location(rest),
            Field::Digest(lengths) => digest(before, rest, lengths),
            Field::A6 => a6(rest),
        }
    }
}

/// The length of the uncompressed name at the start of `rest`.
pub(super) fn name_len(rest: &[u8]) -> Result<usize, Fault> {
    match NameRef::read(rest, 0) {
        Ok((_, len)) => Ok(len),
        Err(NameError::Pointer) => Err(Fault::Compressed),
        Err(error) => Err(Fault::Name(error)),
    }
}

fn fixed(rest: &[u8], size: usize) -> Result<usize, Fault> {
    if rest.len() < size { Err(Fault::Short) } else { Ok(size) }
}

fn valid(holds: bool, size: usize, otherwise: &'static str) -> Result<usize, Fault> {
    if holds { Ok(size) } else { Err(Fault::Value(otherwise)) }
}

/// A length octet and what it counts.
fn counted(rest: &[u8]) -> Result<usize, Fault> {
    let &length = rest.first().ok_or(Fault::Short)?;
    fixed(rest, usize::from(length) + 1)
}

/// One or more character-strings to the end (RFC 1035 section 3.3.14).
fn strings(rest: &[u8]) -> Result<usize, Fault> {
    let mut at = counted(rest)?;
    while at < rest.len() {
        at += counted(rest.get(at..).unwrap_or_default())?;
    }
    Ok(at)
}

fn tag(rest: &[u8]) -> Result<usize, Fault> {
    let size = counted(rest)?;
    let tag = rest.get(1..size).unwrap_or_default();
    let plain = !tag.is_empty() && tag.iter().all(u8::is_ascii_alphanumeric);
    valid(plain, size, "a tag that is not letters and digits")
}

/// RFC 4034 section 4.1.2: windows ascend, have 1 to 32 octets, and do not end in a zero octet.
fn bitmap(rest: &[u8]) -> Result<usize, Fault> {
    let mut windows = rest;
    let mut lowest = 0;
    while let [window, length, after @ ..] = windows {
        let (bits, after) = after.split_at_checked(usize::from(*length)).ok_or(Fault::Short)?;
        let ordered = u16::from(*window) >= lowest;
        let trimmed = bits.len() <= 32 && bits.last().is_some_and(|&last| last != 0);
        valid(ordered && trimmed, 0, "a malformed type bitmap")?;
        lowest = u16::from(*window) + 1;
        windows = after;
    }
    if windows.is_empty() { Ok(rest.len()) } else { Err(Fault::Short) }
}

/// The low seven bits, since the top bit of the second octet is AMTRELAY's discovery flag; IPSECKEY
/// knows no kind beyond 3 either.
fn gateway(before: &[u8], rest: &[u8]) -> Result<usize, Fault> {
    match before.get(1).ok_or(Fault::Short)? & 0x7F {
        0 => Ok(0),
        1 => fixed(rest, 4),
        2 => fixed(rest, 16),
        3 => name_len(rest),
        _ => Err(Fault::Value("an unknown kind of gateway")),
    }
}

/// How many octets the digest of a DS (RFC 4034 section 5.1.4, RFC 4509, RFC 5933, RFC 6605) or the fingerprint of an
/// SSHFP (RFC 4255 section 3.1.2, RFC 6594) has, where its kind is known. Servers that check it take no transfer of a
/// zone that holds another.
fn digest(before: &[u8], rest: &[u8], lengths: &[(u8, usize)]) -> Result<usize, Fault> {
    let kind = before.last().ok_or(Fault::Short)?;
    let length = lengths.iter().find(|(known, _)| known == kind).map(|(_, length)| *length);
    valid(length.is_none_or(|length| length == rest.len()), rest.len(), "a digest that is not as long as its kind")?;
    fixed(rest, 1).map(|_| rest.len())
}

/// RFC 9460 section 2.2: keys ascend strictly; sections 7 and 8 say what the known ones hold.
fn params(rest: &[u8]) -> Result<usize, Fault> {
    let mut params = rest;
    let mut lowest = 0u32;
    // Keys that must be there (section 8); `mandatory` comes first, for its number is 0, and names them in order.
    let mut wanted: &[u8] = &[];
    while let [key_high, key_low, high, low, after @ ..] = params {
        let key = u16::from_be_bytes([*key_high, *key_low]);
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        let (value, after) = after.split_at_checked(length).ok_or(Fault::Short)?;
        valid(u32::from(key) >= lowest, 0, "service parameters out of order")?;
        lowest = u32::from(key) + 1;
        wanted = wanted.strip_prefix(&key.to_be_bytes()).unwrap_or(wanted);
        let holds = match key {
            0 => {
                wanted = value;
                mandatory(value)
            }
            1 => strings(value).is_ok() && !has_empty_string(value),
            2 => value.is_empty(),
            3 => length == 2,
            4 => length > 0 && length % 4 == 0,
            6 => length > 0 && length % 16 == 0,
            _ => true,
        };
        valid(holds, 0, "a malformed service parameter")?;
        params = after;
    }
    valid(wanted.is_empty(), 0, "a mandatory service parameter that is not there")?;
    if params.is_empty() { Ok(rest.len()) } else { Err(Fault::Short) }
}

/// RFC 9460 section 8: one or more keys in strictly ascending order, `mandatory` itself not among them.
fn mandatory(value: &[u8]) -> bool {
    let mut previous = 0;
    !value.is_empty()
        && value.chunks(2).all(|pair| match pair {
            [high, low] => {
                let key = u16::from_be_bytes([*high, *low]);
                std::mem::replace(&mut previous, key) < key
            }
            _ => false,
        })
}

fn has_empty_string(mut strings: &[u8]) -> bool {
    while let Some((&length, rest)) = strings.split_first() {
        if length == 0 {
            return true;
        }
        strings = rest.get(usize::from(length)..).unwrap_or_default();
    }
    false
}

/// RFC 8005 section 5: length of the HIT, algorithm, length of the key, HIT, key, rendezvous servers.
fn hip(rest: &[u8]) -> Result<usize, Fault> {
    let [hit, _, high, low, ..] = rest else { return Err(Fault::Short) };
    let key = usize::from(u16::from_be_bytes([*high, *low]));
    valid(*hit > 0 && key > 0, 0, "an empty host identity")?;
    let mut at = fixed(rest, 4 + usize::from(*hit) + key)?;
    while at < rest.len() {
        at += name_len(rest.get(at..).unwrap_or_default())?;
    }
    Ok(at)
}

/// RFC 3123 section 4: family, prefix length, negation and length, address without trailing zero octets.
fn prefixes(rest: &[u8]) -> Result<usize, Fault> {
    let mut items = rest;
    while let [high, low, prefix, length, after @ ..] = items {
        let (address, after) = after.split_at_checked(usize::from(length & 0x7F)).ok_or(Fault::Short)?;
        let (bits, octets) = match u16::from_be_bytes([*high, *low]) {
            1 => (32, 4),
            2 => (128, 16),
            _ => (u8::MAX, usize::MAX),
        };
        let holds = *prefix <= bits && address.len() <= octets && address.last() != Some(&0);
        valid(holds, 0, "a malformed address prefix")?;
        items = after;
    }
    if items.is_empty() { Ok(rest.len()) } else { Err(Fault::Short) }
}

/// RFC 1876 section 2: version 0 has 16 octets, sizes as two decimal digits and angles within the globe; of other
/// versions only the first octet is known.
fn location(rest: &[u8]) -> Result<usize, Fault> {
    let &[version, size, horizontal, vertical, ref places @ ..] = rest else {
        return match rest.first().ok_or(Fault::Short)? {
            0 => Err(Fault::Short),
            _ => Ok(rest.len()),
        };
    };
    if version != 0 {
        return Ok(rest.len());
    }
    let decimal = |octet: u8| octet >> 4 <= 9 && octet & 0x0F <= 9;
    // Angles are in thousandths of a second of arc, counted from 2^31.
    let within = |octets: Option<&[u8; 4]>, degrees: u32| {
        octets.is_some_and(|octets| u32::from_be_bytes(*octets).abs_diff(1 << 31) <= degrees * 3_600_000)
    };
    fixed(places, 12)?;
    let (angles, _) = places.as_chunks::<4>();
    let sizes = [size, horizontal, vertical].into_iter().all(decimal);
    valid(sizes && within(angles.first(), 90) && within(angles.get(1), 180), 16, "a place that is not on the globe")
}

/// RFC 2874 section 3.1: the suffix has as many octets as the bits after the prefix fill.
fn a6(rest: &[u8]) -> Result<usize, Fault> {
    let &prefix = rest.first().ok_or(Fault::Short)?;
    let bits = 128u8.checked_sub(prefix).ok_or(Fault::Value("a prefix of more than 128 bits"))?;
    fixed(rest, 1 + usize::from(bits).div_ceil(8))
}
