//! The fields of each record type's data, in one table: what reading, comparing, compressing and writing
//! a record needs to know about its type.

use super::check::name_len;
use crate::wire::Rtype;

/// How the data of a type is built.
pub(crate) struct Shape {
    /// What may be done to the names inside.
    pub(crate) names: Names,
    /// The fields in their order; together they are all of the data.
    pub(crate) fields: &'static [Field],
}

/// What may be done to the names inside a type's data.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Names {
    /// Compressed on output, decompressed on input, compared without case: the types of RFC 1035, which
    /// every implementation knows (RFC 3597 section 4).
    Compressed,
    /// Never compressed on output, decompressed on input (the list of RFC 3597 section 4), compared without case.
    Decompressed,
    /// Never compressed, yet compared without case (RFC 4034 section 6.2, less NSEC by RFC 6840 section 5.1).
    Folded,
    /// Octets like any others (RFC 3597 section 6).
    Opaque,
}

/// One field of a record's data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Field {
    /// A domain name.
    Name,
    /// A domain name, or nothing more.
    OptionalName,
    /// A number of 8 bits.
    U8,
    /// A number of 16 bits.
    U16,
    /// A number of 32 bits.
    U32,
    /// Seconds in 32 bits, written like a TTL.
    Seconds,
    /// Seconds since 1970 in 32 bits, written `YYYYMMDDHHmmSS` (RFC 4034 section 3.2).
    Time,
    /// A record type.
    Type,
    /// A DNSSEC algorithm number, or its mnemonic (RFC 4034 appendix A.1).
    Algorithm,
    /// The kind of certificate in a CERT, a number or a mnemonic (RFC 4398 section 2.1).
    CertificateType,
    /// An IPv4 address.
    Ipv4,
    /// An IPv6 address.
    Ipv6,
    /// A character-string (RFC 1035 section 3.3).
    String,
    /// A character-string, or nothing more.
    OptionalString,
    /// One or more character-strings, to the end.
    Strings,
    /// All that is left, at least so many octets, written as one quoted string.
    Text(usize),
    /// The tag of a CAA: a character-string of letters and digits (RFC 8659 section 4.1).
    Tag,
    /// All that is left, at least so many octets, written as hexadecimal digits.
    Hex(usize),
    /// All that is left, written as hexadecimal digits: at least one octet, and of the kinds that are listed here, which
    /// the octet before it tells, so many.
    Digest(&'static [(u8, usize)]),
    /// All that is left, at least so many octets, written as base64.
    Base64(usize),
    /// A length octet and as many octets, written as hexadecimal digits or `-` (RFC 5155 section 3.3).
    Salt,
    /// A length octet and as many octets, at least one, written as base32 (RFC 5155 section 3.3).
    Hash,
    /// A type bitmap, to the end (RFC 4034 section 4.1.2).
    Bitmap,
    /// An EUI-48 or EUI-64 of so many octets (RFC 7043).
    Eui(usize),
    /// 64 bits in four groups of hexadecimal digits (RFC 6742 section 2.1.2).
    Groups,
    /// AMTRELAY's discovery bit and kind of relay in one octet, written apart (RFC 8777 section 4.3.1).
    Relay,
    /// Nothing, an address or a name, as the low bits of the data's second octet say (RFC 4025 section 2.5,
    /// RFC 8777 section 4.2.4).
    Gateway,
    /// The parameters of SVCB and HTTPS, to the end (RFC 9460 section 2.2).
    Params,
    /// The data of a HIP record (RFC 8005 section 5).
    Hip,
    /// A list of address prefixes, to the end (RFC 3123 section 4).
    Prefixes,
    /// A location (RFC 1876 section 2).
    Location,
    /// The prefix length and suffix of an A6 (RFC 2874 section 3.1).
    A6,
    /// All that is left, at least so many octets, with no text form but `\#`.
    Any(usize),
}

/// The shape of a type's data. Unknown types, and those that never stand in a zone, are any octets.
pub(crate) fn shape(rtype: Rtype) -> Shape {
    use Field::*;
    use Names::*;
    const KEY: &[Field] = &[U16, U8, Algorithm, Base64(0)];
    const DIGEST: &[Field] = &[U16, Algorithm, U8, Digest(&[(1, 20), (2, 32), (3, 32), (4, 48)])];
    const SIGNATURE: &[Field] = &[Type, Algorithm, U8, Seconds, Time, Time, U16, Name, Base64(1)];
    let (names, fields): (Names, &'static [Field]) = match rtype {
        Rtype::A => (Opaque, &[Ipv4]),
        Rtype::AAAA => (Opaque, &[Ipv6]),
        Rtype::NS | Rtype::CNAME | Rtype::PTR | Rtype::MD | Rtype::MF | Rtype::MB | Rtype::MG | Rtype::MR => {
            (Compressed, &[Name])
        }
        Rtype::SOA => (Compressed, &[Name, Name, U32, Seconds, Seconds, Seconds, Seconds]),
        Rtype::MINFO => (Compressed, &[Name, Name]),
        Rtype::MX => (Compressed, &[U16, Name]),
        Rtype::RP => (Decompressed, &[Name, Name]),
        Rtype::AFSDB | Rtype::RT => (Decompressed, &[U16, Name]),
        Rtype::SIG => (Decompressed, SIGNATURE),
        Rtype::PX => (Decompressed, &[U16, Name, Name]),
        Rtype::NXT => (Decompressed, &[Name, Any(1)]),
        Rtype::NAPTR => (Decompressed, &[U16, U16, String, String, String, Name]),
        Rtype::SRV => (Decompressed, &[U16, U16, U16, Name]),
        Rtype::KX => (Folded, &[U16, Name]),
        Rtype::DNAME => (Folded, &[Name]),
        Rtype::A6 => (Folded, &[A6, OptionalName]),
        Rtype::RRSIG => (Folded, SIGNATURE),
        Rtype::TXT | Rtype::SPF | Rtype::NINFO | Rtype::AVC | Rtype::RESINFO | Rtype::WALLET | Rtype::CLA => {
            (Opaque, &[Strings])
        }
        Rtype::WKS => (Opaque, &[Ipv4, U8, Any(0)]),
        Rtype::HINFO => (Opaque, &[String, String]),
        Rtype::X25 => (Opaque, &[String]),
        Rtype::ISDN => (Opaque, &[String, OptionalString]),
        Rtype::GPOS => (Opaque, &[String, String, String]),
        Rtype::NSAP_PTR => (Opaque, &[Name]),
        Rtype::NSAP | Rtype::EID | Rtype::NIMLOC | Rtype::ATMA => (Opaque, &[Any(1)]),
        Rtype::KEY | Rtype::DNSKEY | Rtype::CDNSKEY | Rtype::RKEY => (Opaque, KEY),
        Rtype::DS | Rtype::CDS | Rtype::DLV | Rtype::TA => (Opaque, DIGEST),
        Rtype::LOC => (Opaque, &[Location]),
        Rtype::CERT => (Opaque, &[CertificateType, U16, Algorithm, Base64(0)]),
        Rtype::SINK => (Opaque, &[Any(2)]),
        Rtype::APL => (Opaque, &[Prefixes]),
        Rtype::SSHFP => (Opaque, &[U8, U8, Digest(&[(1, 20), (2, 32)])]),
        Rtype::IPSECKEY => (Opaque, &[U8, U8, U8, Gateway, Base64(0)]),
        Rtype::NSEC => (Opaque, &[Name, Bitmap]),
        Rtype::DHCID => (Opaque, &[Base64(3)]),
        Rtype::NSEC3 => (Opaque, &[U8, U8, U16, Salt, Hash, Bitmap]),
        Rtype::NSEC3PARAM => (Opaque, &[U8, U8, U16, Salt]),
        Rtype::TLSA | Rtype::SMIMEA => (Opaque, &[U8, U8, U8, Hex(1)]),
        Rtype::HIP => (Opaque, &[Hip]),
        Rtype::TALINK => (Opaque, &[Name, Name]),
        Rtype::OPENPGPKEY => (Opaque, &[Base64(1)]),
        Rtype::CSYNC => (Opaque, &[U32, U16, Bitmap]),
        Rtype::ZONEMD => (Opaque, &[U32, U8, U8, Hex(12)]),
        Rtype::SVCB | Rtype::HTTPS => (Opaque, &[U16, Name, Params]),
        Rtype::DSYNC => (Opaque, &[Type, U8, U16, Name]),
        Rtype::NID | Rtype::L64 => (Opaque, &[U16, Groups]),
        Rtype::L32 => (Opaque, &[U16, Ipv4]),
        Rtype::LP => (Opaque, &[U16, Name]),
        Rtype::EUI48 => (Opaque, &[Eui(6)]),
        Rtype::EUI64 => (Opaque, &[Eui(8)]),
        Rtype::URI => (Opaque, &[U16, U16, Text(1)]),
        Rtype::CAA => (Opaque, &[U8, Tag, Text(0)]),
        Rtype::AMTRELAY => (Opaque, &[U8, Relay, Gateway]),
        Rtype::DOA => (Opaque, &[U32, U32, U8, String, Any(0)]),
        _ => (Opaque, &[Any(0)]),
    };
    Shape { names, fields }
}

/// A run of a record's data: a name, or the octets between names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part<'a> {
    /// A name in uncompressed wire form.
    Name(&'a [u8]),
    /// Anything else.
    Octets(&'a [u8]),
}

/// The runs of a record's data; put together they are the data, whatever the data is.
#[derive(Debug, Clone)]
pub struct Parts<'a> {
    fields: std::slice::Iter<'static, Field>,
    /// The length of a name that stands at the start of `rest`.
    name: Option<usize>,
    rest: &'a [u8],
}

impl<'a> Parts<'a> {
    /// The runs by these fields; with none, all is octets.
    pub(super) fn new(fields: &'static [Field], rdata: &'a [u8]) -> Parts<'a> {
        Parts { fields: fields.iter(), name: None, rest: rdata }
    }

    fn take(&mut self, size: usize) -> &'a [u8] {
        let (taken, rest) = self.rest.split_at_checked(size).unwrap_or((self.rest, &[]));
        self.rest = rest;
        taken
    }
}

impl<'a> Iterator for Parts<'a> {
    type Item = Part<'a>;

    fn next(&mut self) -> Option<Part<'a>> {
        if let Some(size) = self.name.take() {
            return Some(Part::Name(self.take(size)));
        }
        let mut octets = 0;
        let is_name = |field: &Field| matches!(field, Field::Name | Field::OptionalName);
        while let Some(&field) = self.fields.clone().any(is_name).then(|| self.fields.next()).flatten() {
            let rest = self.rest.get(octets..).unwrap_or_default();
            let named = match field {
                Field::Name => true,
                Field::OptionalName => !rest.is_empty(),
                _ => false,
            };
            let size = if named { name_len(rest) } else { field.len(&[], rest) };
            match size {
                Ok(size) if named && octets == 0 => return Some(Part::Name(self.take(size))),
                Ok(size) if named => {
                    self.name = Some(size);
                    return Some(Part::Octets(self.take(octets)));
                }
                Ok(size) => octets += size,
                // Data that was not validated: the rest is octets.
                Err(_) => self.fields = [].iter(),
            }
        }
        match self.rest.len() {
            0 => None,
            all => Some(Part::Octets(self.take(all))),
        }
    }
}
