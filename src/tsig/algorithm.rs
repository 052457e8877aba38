//! The algorithms of RFC 8945 section 6.

use crate::wire::Name;
use std::fmt;

/// How a key signs: a keyed hash, and how much of it is sent (RFC 8945 section 6).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Algorithm {
    /// `hmac-md5`, for keys of older devices that know nothing else.
    HmacMd5,
    /// `hmac-sha1`.
    HmacSha1,
    /// `hmac-sha224`.
    HmacSha224,
    /// `hmac-sha256`, the one to use.
    #[default]
    HmacSha256,
    /// `hmac-sha256-128`: the first 16 octets of hmac-sha256.
    HmacSha256_128,
    /// `hmac-sha384`.
    HmacSha384,
    /// `hmac-sha384-192`: the first 24 octets of hmac-sha384.
    HmacSha384_192,
    /// `hmac-sha512`.
    HmacSha512,
    /// `hmac-sha512-256`: the first 32 octets of hmac-sha512.
    HmacSha512_256,
}

/// One algorithm's text name, wire name in lower case, MAC octets sent, and the whole of the hash.
struct Row(Algorithm, &'static str, &'static [u8], usize, Algorithm);

const MD5: Row =
    Row(Algorithm::HmacMd5, "hmac-md5", b"\x08hmac-md5\x07sig-alg\x03reg\x03int\0", 16, Algorithm::HmacMd5);
const SHA1: Row = Row(Algorithm::HmacSha1, "hmac-sha1", b"\x09hmac-sha1\0", 20, Algorithm::HmacSha1);
const SHA224: Row = Row(Algorithm::HmacSha224, "hmac-sha224", b"\x0bhmac-sha224\0", 28, Algorithm::HmacSha224);
const SHA256: Row = Row(Algorithm::HmacSha256, "hmac-sha256", b"\x0bhmac-sha256\0", 32, Algorithm::HmacSha256);
const SHA256_128: Row =
    Row(Algorithm::HmacSha256_128, "hmac-sha256-128", b"\x0fhmac-sha256-128\0", 16, Algorithm::HmacSha256);
const SHA384: Row = Row(Algorithm::HmacSha384, "hmac-sha384", b"\x0bhmac-sha384\0", 48, Algorithm::HmacSha384);
const SHA384_192: Row =
    Row(Algorithm::HmacSha384_192, "hmac-sha384-192", b"\x0fhmac-sha384-192\0", 24, Algorithm::HmacSha384);
const SHA512: Row = Row(Algorithm::HmacSha512, "hmac-sha512", b"\x0bhmac-sha512\0", 64, Algorithm::HmacSha512);
const SHA512_256: Row =
    Row(Algorithm::HmacSha512_256, "hmac-sha512-256", b"\x0fhmac-sha512-256\0", 32, Algorithm::HmacSha512);

const ROWS: [&Row; 9] = [&MD5, &SHA1, &SHA224, &SHA256, &SHA256_128, &SHA384, &SHA384_192, &SHA512, &SHA512_256];

impl Algorithm {
    /// All of them, weakest first.
    pub fn all() -> impl Iterator<Item = Algorithm> {
        ROWS.iter().map(|row| row.0)
    }

    /// Reads the name as key files and `nsupdate -y` write it: `hmac-sha256`, in any case. MD5 may come under
    /// its long name, `hmac-md5.sig-alg.reg.int`.
    pub fn parse(text: &str) -> Option<Algorithm> {
        let text = text.strip_suffix('.').unwrap_or(text);
        if text.eq_ignore_ascii_case("hmac-md5.sig-alg.reg.int") {
            return Some(Algorithm::HmacMd5);
        }
        ROWS.iter().find(|row| text.eq_ignore_ascii_case(row.1)).map(|row| row.0)
    }

    /// The algorithm that a TSIG record names.
    pub fn from_wire(name: &Name) -> Option<Algorithm> {
        ROWS.iter().find(|row| name.as_bytes().eq_ignore_ascii_case(row.2)).map(|row| row.0)
    }

    /// The name in key files.
    pub fn name(self) -> &'static str {
        self.row().1
    }

    /// The name in TSIG records, in lower case, as an uncompressed domain name.
    pub fn wire_name(self) -> &'static [u8] {
        self.row().2
    }

    /// How many octets of MAC are sent.
    pub fn mac_len(self) -> usize {
        self.row().3
    }

    /// How many octets the hash gives before truncation.
    pub fn full_len(self) -> usize {
        self.hash().row().3
    }

    /// The algorithm without truncation.
    pub fn hash(self) -> Algorithm {
        self.row().4
    }

    fn row(self) -> &'static Row {
        match self {
            Algorithm::HmacMd5 => &MD5,
            Algorithm::HmacSha1 => &SHA1,
            Algorithm::HmacSha224 => &SHA224,
            Algorithm::HmacSha256 => &SHA256,
            Algorithm::HmacSha256_128 => &SHA256_128,
            Algorithm::HmacSha384 => &SHA384,
            Algorithm::HmacSha384_192 => &SHA384_192,
            Algorithm::HmacSha512 => &SHA512,
            Algorithm::HmacSha512_256 => &SHA512_256,
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_algorithm_is_found_by_its_text_and_its_wire_name() {
        for algorithm in Algorithm::all() {
            assert_eq!(Algorithm::parse(algorithm.name()), Some(algorithm));
            assert_eq!(Algorithm::parse(&algorithm.name().to_uppercase()), Some(algorithm));
            let wire = Name::from_wire(algorithm.wire_name()).unwrap();
            assert_eq!(Algorithm::from_wire(&wire), Some(algorithm));
            assert!(wire.same_case(&wire.to_lowercase()));
            assert!(algorithm.mac_len() <= algorithm.full_len());
            // RFC 8945 section 5.2.2.1: no form is cut below half the hash or 10 octets.
            assert!(algorithm.mac_len() >= (algorithm.full_len() / 2).max(10));
        }
    }

    #[test]
    fn md5_has_a_long_name() {
        assert_eq!(Algorithm::parse("HMAC-MD5.SIG-ALG.REG.INT."), Some(Algorithm::HmacMd5));
        assert_eq!(Algorithm::parse("hmac-md6"), None);
        assert_eq!(Algorithm::from_wire(&Name::parse("hmac-md5").unwrap()), None);
    }
}
