//! Record types, classes and times to live.

use std::fmt;

/// A record type, known or not (RFC 3597).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Rtype(pub u16);

/// A class (RFC 1035 section 3.2.4). Zones hold IN; the rest have meaning in queries and updates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Class(pub u16);

/// A time to live in seconds: 0 to 2^31 - 1 (RFC 2181 section 8).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Ttl(u32);

impl Class {
    /// The Internet.
    pub const IN: Class = Class(1);
    /// CHAOS, where servers tell their version.
    pub const CH: Class = Class(3);
    /// "Does not exist", in prerequisites and deletions (RFC 2136 section 2.4).
    pub const NONE: Class = Class(254);
    /// Any class.
    pub const ANY: Class = Class(255);
}

impl Ttl {
    /// The longest.
    pub const MAX: Ttl = Ttl(0x7FFF_FFFF);

    /// A TTL from its 32 bits; one with the top bit set counts as zero (RFC 2181 section 8).
    pub const fn new(seconds: u32) -> Ttl {
        if seconds > Ttl::MAX.0 { Ttl(0) } else { Ttl(seconds) }
    }

    /// The seconds.
    pub const fn seconds(self) -> u32 {
        self.0
    }
}

impl fmt::Display for Ttl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Declares the types with a mnemonic: the constants, and the two directions between number and text.
macro_rules! rtypes {
    ($($name:ident $number:literal)*) => {
        impl Rtype {
            $(#[doc = concat!("Type ", stringify!($number), ", ", stringify!($name), ".")]
            pub const $name: Rtype = Rtype($number);)*

            /// The mnemonic of a type that has one.
            pub fn mnemonic(self) -> Option<&'static str> {
                match self.0 {
                    $($number => Some(mnemonic(stringify!($name))),)*
                    _ => None,
                }
            }

            /// The type of this mnemonic, in any case, or of `TYPE123` (RFC 3597 section 5).
            pub fn parse(text: &str) -> Option<Rtype> {
                $(if text.eq_ignore_ascii_case(mnemonic(stringify!($name))) {
                    return Some(Rtype::$name);
                })*
                let (word, number) = text.split_at_checked(4)?;
                let plain = word.eq_ignore_ascii_case("TYPE") && number.bytes().all(|byte| byte.is_ascii_digit());
                plain.then(|| number.parse().ok().map(Rtype)).flatten()
            }
        }
    };
}

/// `NSAP-PTR` is the one mnemonic that is no identifier.
const fn mnemonic(name: &'static str) -> &'static str {
    match name.as_bytes() {
        b"NSAP_PTR" => "NSAP-PTR",
        _ => name,
    }
}

rtypes! {
    A 1 NS 2 MD 3 MF 4 CNAME 5 SOA 6 MB 7 MG 8 MR 9 NULL 10 WKS 11 PTR 12 HINFO 13 MINFO 14 MX 15 TXT 16 RP 17
    AFSDB 18 X25 19 ISDN 20 RT 21 NSAP 22 NSAP_PTR 23 SIG 24 KEY 25 PX 26 GPOS 27 AAAA 28 LOC 29 NXT 30 EID 31
    NIMLOC 32 SRV 33 ATMA 34 NAPTR 35 KX 36 CERT 37 A6 38 DNAME 39 SINK 40 OPT 41 APL 42 DS 43 SSHFP 44 IPSECKEY 45
    RRSIG 46 NSEC 47 DNSKEY 48 DHCID 49 NSEC3 50 NSEC3PARAM 51 TLSA 52 SMIMEA 53 HIP 55 NINFO 56 RKEY 57 TALINK 58
    CDS 59 CDNSKEY 60 OPENPGPKEY 61 CSYNC 62 ZONEMD 63 SVCB 64 HTTPS 65 DSYNC 66 SPF 99 UINFO 100 UID 101 GID 102
    UNSPEC 103 NID 104 L32 105 L64 106 LP 107 EUI48 108 EUI64 109 NXNAME 128 TKEY 249 TSIG 250 IXFR 251 AXFR 252 MAILB 253
    MAILA 254 ANY 255 URI 256 CAA 257 AVC 258 DOA 259 AMTRELAY 260 RESINFO 261 WALLET 262 CLA 263 IPN 264 TA 32768 DLV 32769
}

impl Rtype {
    /// Whether the number names a question or a message's own record, never data in a zone: OPT, and 128 to
    /// 255, the range of meta-types and query types (RFC 6895 section 3.1).
    pub fn is_meta(self) -> bool {
        self == Rtype::OPT || self.0 == 0 || (128..=255).contains(&self.0)
    }
}

impl Rtype {
    /// Whether records of this type may have the owner of a CNAME: what signs and proves it, and the keys
    /// (RFC 2181 section 10.1, RFC 4035 section 2.5).
    pub fn stands_beside_cname(self) -> bool {
        matches!(self, Rtype::SIG | Rtype::KEY | Rtype::NXT | Rtype::RRSIG | Rtype::NSEC)
    }
}

impl fmt::Display for Rtype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.mnemonic() {
            Some(mnemonic) => f.write_str(mnemonic),
            None => write!(f, "TYPE{}", self.0),
        }
    }
}

impl std::str::FromStr for Rtype {
    type Err = String;

    fn from_str(text: &str) -> Result<Rtype, String> {
        Rtype::parse(text)
            .ok_or_else(|| format!("unknown record type {text}; write a name such as A or TYPE followed by its number"))
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Class::IN => f.write_str("IN"),
            Class::CH => f.write_str("CH"),
            Class::NONE => f.write_str("NONE"),
            Class::ANY => f.write_str("ANY"),
            Class(number) => write!(f, "CLASS{number}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mnemonics_and_numbers_agree() {
        assert_eq!(Rtype::parse("aaaa"), Some(Rtype::AAAA));
        assert_eq!(Rtype::parse("type28"), Some(Rtype::AAAA));
        assert_eq!(Rtype::parse("TYPE65280"), Some(Rtype(65280)));
        assert_eq!(Rtype::parse("NSAP-PTR"), Some(Rtype(23)));
        assert_eq!(Rtype::parse("TYPE65536"), None);
        assert_eq!(Rtype::parse("TYPE+1"), None);
        assert_eq!(Rtype::parse("BOGUS"), None);
        assert_eq!(Rtype(65280).to_string(), "TYPE65280");
        assert_eq!(Rtype::DHCID.to_string(), "DHCID");
    }

    #[test]
    fn a_ttl_with_the_top_bit_is_zero() {
        assert_eq!(Ttl::new(0x8000_0000).seconds(), 0);
        assert_eq!(Ttl::new(0x7FFF_FFFF), Ttl::MAX);
    }
}
