//! Records as text (RFC 1035 section 5, RFC 3597 section 5).

use super::encode::{base32, base64, hex, quoted, time};
use super::rdata::rdata_from_text;
use super::{location, prefixes, service};
use crate::wire::rdata::{Field, shape};
use crate::wire::{Name, Rtype};
use crate::zone::Record;
use std::borrow::Borrow;
use std::fmt::{self, Write};
use std::net::{Ipv4Addr, Ipv6Addr};

/// Writes a zone file: `$ORIGIN`, the SOA, then the other records in the order given, each on one line with its
/// owner, TTL and class.
pub fn write_zone<R, I>(out: &mut impl Write, apex: &Name, records: I) -> fmt::Result
where
    R: Borrow<Record>,
    I: IntoIterator<Item = R, IntoIter: Clone>,
{
    let records = records.into_iter();
    writeln!(out, "$ORIGIN {apex:#}")?;
    for record in records.clone().filter(|record| record.borrow().rtype == Rtype::SOA) {
        write_record(out, apex, record.borrow())?;
    }
    for record in records.filter(|record| record.borrow().rtype != Rtype::SOA) {
        write_record(out, apex, record.borrow())?;
    }
    Ok(())
}

fn write_record(out: &mut impl Write, apex: &Name, record: &Record) -> fmt::Result {
    let owner = record.owner.name();
    match owner.prefix_before(apex).map(|prefix| Name::root().prefixed(prefix)) {
        Some(Ok(relative)) if relative.is_root() => out.write_char('@')?,
        // Without its final dot the name is relative to the apex.
        Some(Ok(relative)) => write!(out, "{relative}")?,
        _ => write!(out, "{owner:#}")?,
    }
    writeln!(out, "\t{}\tIN\t{}\t{}", record.ttl, record.rtype, rdata_to_text(record.rtype, &record.rdata))
}

/// The text of record data; [`rdata_from_text`] reads the same octets from it. Data that its type's text form
/// cannot give exactly is written as `\#` and hex digits (RFC 3597 section 5).
pub fn rdata_to_text(rtype: Rtype, rdata: &[u8]) -> String {
    let text = fields_text(rtype, rdata);
    match text {
        Some(text) if rdata_from_text(rtype, &text, None).is_ok_and(|read| *read == *rdata) => text,
        _ if rdata.is_empty() => "\\# 0".to_owned(),
        _ => format!("\\# {} {}", rdata.len(), hex(rdata)),
    }
}

fn fields_text(rtype: Rtype, rdata: &[u8]) -> Option<String> {
    let mut words = Vec::new();
    let mut at = 0;
    for &field in shape(rtype).fields {
        let (before, rest) = rdata.split_at_checked(at)?;
        let size = field.len(before, rest).ok()?;
        field_text(field, before, rest.get(..size)?, &mut words)?;
        at += size;
    }
    words.retain(|word| !word.is_empty());
    (at == rdata.len()).then(|| words.join(" "))
}

/// Appends the words of one field; `None` where it has no text form.
fn field_text(field: Field, before: &[u8], octets: &[u8], words: &mut Vec<String>) -> Option<()> {
    let word = match field {
        Field::Name => name(octets)?,
        Field::U8 | Field::Algorithm => octets.first()?.to_string(),
        Field::U16 | Field::CertificateType => u16::from_be_bytes(octets.try_into().ok()?).to_string(),
        Field::Type => Rtype(u16::from_be_bytes(octets.try_into().ok()?)).to_string(),
        Field::U32 | Field::Seconds => u32::from_be_bytes(octets.try_into().ok()?).to_string(),
        Field::Time => time(u32::from_be_bytes(octets.try_into().ok()?)),
        Field::Ipv4 => Ipv4Addr::from(<[u8; 4]>::try_from(octets).ok()?).to_string(),
        Field::Ipv6 => Ipv6Addr::from(<[u8; 16]>::try_from(octets).ok()?).to_string(),
        Field::String | Field::OptionalString | Field::Strings => {
            let mut strings = octets;
            while let Some((&length, rest)) = strings.split_first() {
                let (string, rest) = rest.split_at_checked(usize::from(length))?;
                words.push(quoted(string));
                strings = rest;
            }
            String::new()
        }
        Field::Text(_) => quoted(octets),
        Field::Tag => std::str::from_utf8(octets.get(1..)?).ok()?.to_owned(),
        Field::Hex(_) | Field::Digest(_) => hex(octets),
        Field::Base64(_) => base64(octets),
        Field::Salt if octets.len() == 1 => "-".to_owned(),
        Field::Salt => hex(octets.get(1..)?),
        Field::Hash => base32(octets.get(1..)?),
        Field::Bitmap => bitmap(octets),
        Field::Eui(_) => octets.iter().map(|octet| format!("{octet:02x}")).collect::<Vec<_>>().join("-"),
        Field::Groups => octets.chunks(2).map(hex).collect::<Vec<_>>().join(":").to_lowercase(),
        Field::Relay => octets.first().map(|octet| format!("{} {}", octet >> 7, octet & 0x7F))?,
        Field::Gateway => match before.get(1)? & 0x7F {
            0 => ".".to_owned(),
            1 => return field_text(Field::Ipv4, before, octets, words),
            2 => return field_text(Field::Ipv6, before, octets, words),
            _ => name(octets)?,
        },
        Field::Params => service::text(octets)?.join(" "),
        Field::Hip => return hip(octets, words),
        Field::Prefixes => prefixes::text(octets)?.join(" "),
        Field::Location => location::text(octets)?,
        Field::A6 | Field::OptionalName | Field::Any(_) => return None,
    };
    words.push(word);
    Some(())
}

fn name(octets: &[u8]) -> Option<String> {
    Name::from_wire(octets).ok().map(|name| format!("{name:#}"))
}

fn bitmap(mut windows: &[u8]) -> String {
    let mut types = Vec::new();
    while let [window, length, after @ ..] = windows {
        let (bits, rest) = after.split_at_checked(usize::from(*length)).unwrap_or((after, &[]));
        let numbers = (u16::from(*window) << 8..).step_by(8).zip(bits).flat_map(|(first, &octet)| {
            (0u16..8).filter(move |bit| octet << bit & 0x80 != 0).map(move |bit| Rtype(first + bit).to_string())
        });
        types.extend(numbers);
        windows = rest;
    }
    types.join(" ")
}

/// RFC 8005 section 6.
fn hip(octets: &[u8], words: &mut Vec<String>) -> Option<()> {
    let [tag, algorithm, high, low, rest @ ..] = octets else { return None };
    let (tag, rest) = rest.split_at_checked(usize::from(*tag))?;
    let (key, mut servers) = rest.split_at_checked(usize::from(u16::from_be_bytes([*high, *low])))?;
    words.extend([algorithm.to_string(), hex(tag), base64(key)]);
    while !servers.is_empty() {
        let size = Field::Name.len(&[], servers).ok()?;
        words.push(name(servers.get(..size)?)?);
        servers = servers.get(size..)?;
    }
    Some(())
}
