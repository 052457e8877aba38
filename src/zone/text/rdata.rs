//! Record data from its text form, by the fields of its type.

use super::encode::{unbase32, unbase64, unhex, unquoted, untime};
use super::lexer::{Lexer, Token};
use super::{location, parse, prefixes, service};
use crate::wire::rdata::{self, Field, shape};
use crate::wire::{Name, Rtype};
use std::net::{Ipv4Addr, Ipv6Addr};

/// Reads record data as it stands in a zone file after the type. Relative names continue with `origin`. The error
/// says what is wrong and what to write.
pub fn rdata_from_text(rtype: Rtype, text: &str, origin: Option<&Name>) -> Result<Box<[u8]>, String> {
    let mut lexer = Lexer::new(text);
    let mut tokens = Vec::new();
    if let Some(Err(error)) = lexer.entry(&mut tokens) {
        return Err(error.what.to_owned());
    }
    let data = from_tokens(rtype, &tokens, origin)?;
    match lexer.entry(&mut tokens) {
        None => Ok(data),
        Some(_) => Err(format!("{rtype} data goes on in a second line; put it between ( and )")),
    }
}

/// Reads record data from its tokens.
pub(super) fn from_tokens(rtype: Rtype, tokens: &[Token<'_>], origin: Option<&Name>) -> Result<Box<[u8]>, String> {
    let mut words = Words { rtype, rest: tokens, origin };
    let octets = match tokens.split_first() {
        // RFC 3597 section 5: known types may be written so too.
        Some((first, rest)) if first.text == "\\#" && !first.quoted => generic(rest)?,
        _ => {
            let mut octets = Vec::new();
            for &field in shape(rtype).fields {
                words.field(field, &mut octets)?;
            }
            if let Some(extra) = words.rest.first() {
                let extra = extra.text;
                return Err(format!("{extra} is more than {rtype} data has; remove it, or put a ; before a comment"));
            }
            octets
        }
    };
    rdata::validate(rtype, &octets).map_err(|error| format!("{error}; check it, or write it as \\# and hex digits"))?;
    Ok(octets.into())
}

/// A name, completed with the origin.
pub(super) fn name(text: &str, origin: Option<&Name>) -> Result<Name, String> {
    Name::parse_with(text, origin).map_err(|error| match error {
        crate::wire::NameError::Relative => {
            format!("{text} is relative to no origin; end it with a dot, add $ORIGIN, or name the file after the zone")
        }
        error => format!("{text} is no name: {error}"),
    })
}

/// `\# 4 C0000201` (RFC 3597 section 5), after the `\#`.
fn generic(tokens: &[Token<'_>]) -> Result<Vec<u8>, String> {
    let wrong = || "after \\# come the number of octets and as many octets in hex; write \\# 4 C0000201".to_owned();
    let (length, digits) = tokens.split_first().ok_or_else(wrong)?;
    let octets = unhex(&joined(digits)).ok_or_else(wrong)?;
    if length.text.parse() != Ok(octets.len()) {
        return Err(format!("\\# {} is followed by {} octets; make them agree", length.text, octets.len()));
    }
    Ok(octets)
}

/// The tokens in one, for hex and base64 that span several.
fn joined(tokens: &[Token<'_>]) -> String {
    tokens.iter().map(|token| token.text).collect()
}

/// The tokens still to be read.
pub(super) struct Words<'a> {
    rtype: Rtype,
    rest: &'a [Token<'a>],
    origin: Option<&'a Name>,
}

impl<'a> Words<'a> {
    fn next(&mut self, expected: &str) -> Result<Token<'a>, String> {
        let rtype = self.rtype;
        let (first, rest) =
            self.rest.split_first().ok_or_else(|| format!("{rtype} data ends too soon; add {expected}"))?;
        self.rest = rest;
        Ok(*first)
    }

    /// Reads one token by `read`, or says what was expected.
    fn one<T>(&mut self, expected: &str, read: impl FnOnce(&str) -> Option<T>) -> Result<T, String> {
        let text = self.next(expected)?.text;
        read(text).ok_or_else(|| format!("{text} is not what {} data has here; write {expected}", self.rtype))
    }

    /// Reads all tokens left as one.
    fn all<T>(&mut self, expected: &str, read: impl FnOnce(&str) -> Option<T>) -> Result<T, String> {
        let text = joined(std::mem::take(&mut self.rest));
        read(&text).ok_or_else(|| format!("{text} is not what {} data has here; write {expected}", self.rtype))
    }

    fn name(&mut self) -> Result<Name, String> {
        name(self.next("a name")?.text, self.origin)
    }

    fn u8(&mut self) -> Result<u8, String> {
        self.one("a number up to 255", number)
    }

    fn u16(&mut self) -> Result<u16, String> {
        self.one("a number up to 65535", number)
    }

    /// A character-string: up to 255 octets after their number.
    fn string(&mut self, octets: &mut Vec<u8>) -> Result<(), String> {
        let text = self.one("a string", unquoted)?;
        octets.push(u8::try_from(text.len()).map_err(|_| "a string is longer than 255 octets; split it into several")?);
        octets.extend_from_slice(&text);
        Ok(())
    }

    fn field(&mut self, field: Field, octets: &mut Vec<u8>) -> Result<(), String> {
        match field {
            Field::Name => octets.extend_from_slice(self.name()?.as_bytes()),
            Field::U8 => octets.push(self.u8()?),
            Field::U16 => octets.extend_from_slice(&self.u16()?.to_be_bytes()),
            Field::U32 => {
                let number: u32 = self.one("a number up to 4294967295", number)?;
                octets.extend_from_slice(&number.to_be_bytes());
            }
            Field::Seconds => {
                let seconds = |text: &str| parse::seconds(text).and_then(|seconds| u32::try_from(seconds).ok());
                octets.extend_from_slice(&self.one("seconds, or a time such as 1h30m", seconds)?.to_be_bytes());
            }
            Field::Time => {
                octets.extend_from_slice(&self.one("a time as YYYYMMDDHHmmSS", untime)?.to_be_bytes());
            }
            Field::Type => {
                let rtype = self.one("a record type", Rtype::parse)?;
                octets.extend_from_slice(&rtype.0.to_be_bytes());
            }
            Field::Algorithm => octets.push(self.one("an algorithm number", algorithm)?),
            Field::CertificateType => {
                let kind = self.one("a kind of certificate such as PKIX or 1", certificate_type)?;
                octets.extend_from_slice(&kind.to_be_bytes());
            }
            Field::Ipv4 => {
                let address: Ipv4Addr = self.one("an IPv4 address such as 192.0.2.1", |text| text.parse().ok())?;
                octets.extend_from_slice(&address.octets());
            }
            Field::Ipv6 => {
                let address: Ipv6Addr = self.one("an IPv6 address such as 2001:db8::1", |text| text.parse().ok())?;
                octets.extend_from_slice(&address.octets());
            }
            Field::String => self.string(octets)?,
            Field::OptionalString if self.rest.is_empty() => {}
            Field::OptionalString => self.string(octets)?,
            Field::Strings => {
                self.string(octets)?;
                while !self.rest.is_empty() {
                    self.string(octets)?;
                }
            }
            Field::Text(_) => octets.extend(self.one("a quoted string", unquoted)?),
            Field::Tag => self.string(octets)?,
            Field::Hex(_) | Field::Digest(_) => octets.extend(self.all("hex digits", unhex)?),
            Field::Base64(_) => octets.extend(self.all("base64", unbase64)?),
            Field::Salt => {
                let hex = |text: &str| if text == "-" { Some(Vec::new()) } else { unhex(text) };
                counted(self.one("hex digits, or - for none", hex)?, octets)?;
            }
            Field::Hash => counted(self.one("a hash in base32", unbase32)?, octets)?,
            Field::Bitmap => self.bitmap(octets)?,
            Field::Eui(size) => {
                let pairs = |text: &str| grouped(text, '-', size, 2).filter(|_| text.len() == 3 * size - 1);
                octets.extend(self.one("pairs of hex digits joined by -", pairs)?);
            }
            Field::Groups => {
                let groups = |text: &str| grouped(text, ':', 4, 4);
                octets.extend(self.one("four groups of up to four hex digits joined by :", groups)?);
            }
            Field::Relay => {
                let optional: u8 = self.one("0 or 1", |text| number(text).filter(|&bit: &u8| bit <= 1))?;
                let kind: u8 = self.one("a number up to 127", |text| number(text).filter(|&kind: &u8| kind <= 127))?;
                octets.push(optional << 7 | kind);
            }
            Field::Gateway => match octets.get(1).map(|kind| kind & 0x7F) {
                Some(1) => self.field(Field::Ipv4, octets)?,
                Some(2) => self.field(Field::Ipv6, octets)?,
                Some(3) => self.field(Field::Name, octets)?,
                _ => self.one("a dot, since the kind is 0", |text| (text == ".").then_some(()))?,
            },
            Field::Params => {
                octets.extend(service::params(std::mem::take(&mut self.rest))?);
            }
            Field::Hip => self.hip(octets)?,
            Field::Prefixes => {
                for token in std::mem::take(&mut self.rest) {
                    prefixes::read(token.text, octets)?;
                }
            }
            Field::Location => {
                let words: Vec<&str> = std::mem::take(&mut self.rest).iter().map(|token| token.text).collect();
                octets.extend(location::read(&words)?);
            }
            Field::A6 | Field::OptionalName | Field::Any(_) => {
                let rtype = self.rtype;
                return Err(format!(
                    "{rtype} data has no text form here; write \\#, the number of octets and their hex"
                ));
            }
        }
        Ok(())
    }

    /// RFC 4034 section 4.1.2.
    fn bitmap(&mut self, octets: &mut Vec<u8>) -> Result<(), String> {
        let mut types = Vec::new();
        while !self.rest.is_empty() {
            types.push(self.one("record types", Rtype::parse)?.0.to_be_bytes());
        }
        types.sort_unstable();
        for window in types.chunk_by(|a, b| a.first() == b.first()) {
            let mut bits = [0u8; 32];
            let mut length = 0u8;
            for &[_, low] in window {
                if let Some(octet) = bits.get_mut(usize::from(low / 8)) {
                    *octet |= 0x80 >> (low % 8);
                    length = low / 8 + 1;
                }
            }
            octets.extend(window.first().map(|[high, _]| *high));
            octets.push(length);
            octets.extend(bits.iter().take(usize::from(length)));
        }
        Ok(())
    }

    /// RFC 8005 section 6: algorithm, HIT, key, rendezvous servers.
    fn hip(&mut self, octets: &mut Vec<u8>) -> Result<(), String> {
        let algorithm = self.u8()?;
        let tag = self.one("a host identity tag in hex", unhex)?;
        let key = self.one("a public key in base64", unbase64)?;
        octets
            .push(u8::try_from(tag.len()).map_err(|_| "the host identity tag is longer than 255 octets; shorten it")?);
        octets.push(algorithm);
        let length = u16::try_from(key.len()).map_err(|_| "the public key is longer than 65535 octets; shorten it")?;
        octets.extend_from_slice(&length.to_be_bytes());
        octets.extend(tag);
        octets.extend(key);
        while !self.rest.is_empty() {
            octets.extend_from_slice(self.name()?.as_bytes());
        }
        Ok(())
    }
}

/// Digits only: no sign, no blank.
pub(super) fn number<T: std::str::FromStr>(text: &str) -> Option<T> {
    text.parse().ok().filter(|_| text.bytes().all(|byte| byte.is_ascii_digit()))
}

/// Appends octets after their number.
fn counted(text: Vec<u8>, octets: &mut Vec<u8>) -> Result<(), String> {
    octets.push(u8::try_from(text.len()).map_err(|_| "more than 255 octets; shorten it")?);
    octets.extend(text);
    Ok(())
}

/// `count` groups of up to `digits` hex digits.
fn grouped(text: &str, separator: char, count: usize, digits: usize) -> Option<Vec<u8>> {
    let groups: Vec<&str> = text.split(separator).collect();
    let whole = groups.len() == count && groups.iter().all(|group| (1..=digits).contains(&group.len()));
    let padded: String = groups.iter().map(|group| format!("{group:0>digits$}")).collect();
    whole.then(|| unhex(&padded)).flatten()
}

/// A DNSSEC algorithm number, or its mnemonic.
fn algorithm(text: &str) -> Option<u8> {
    const ALGORITHMS: [(&str, u8); 19] = [
        ("RSAMD5", 1),
        ("DH", 2),
        ("DSA", 3),
        ("RSASHA1", 5),
        ("DSA-NSEC3-SHA1", 6),
        ("NSEC3DSA", 6),
        ("RSASHA1-NSEC3-SHA1", 7),
        ("NSEC3RSASHA1", 7),
        ("RSASHA256", 8),
        ("RSASHA512", 10),
        ("ECC-GOST", 12),
        ("ECCGOST", 12),
        ("ECDSAP256SHA256", 13),
        ("ECDSAP384SHA384", 14),
        ("ED25519", 15),
        ("ED448", 16),
        ("INDIRECT", 252),
        ("PRIVATEDNS", 253),
        ("PRIVATEOID", 254),
    ];
    number(text).or_else(|| mnemonic(&ALGORITHMS, text))
}

/// RFC 4398 section 2.1.
fn certificate_type(text: &str) -> Option<u16> {
    const TYPES: [(&str, u16); 10] = [
        ("PKIX", 1),
        ("SPKI", 2),
        ("PGP", 3),
        ("IPKIX", 4),
        ("ISPKI", 5),
        ("IPGP", 6),
        ("ACPKIX", 7),
        ("IACPKIX", 8),
        ("URI", 253),
        ("OID", 254),
    ];
    number(text).or_else(|| mnemonic(&TYPES, text))
}

fn mnemonic<T: Copy>(names: &[(&str, T)], text: &str) -> Option<T> {
    names.iter().find(|(name, _)| name.eq_ignore_ascii_case(text)).map(|&(_, value)| value)
}
