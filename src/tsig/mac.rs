//! The keyed hashes, which overwrite what they hold of the secret when dropped, and the MACs that they give.

use super::{Algorithm, Secret};
use hmac::{Hmac, KeyInit, Mac as _};
use subtle::ConstantTimeEq;

/// A MAC as it stands in a message: up to 64 octets, cut to what is sent.
#[derive(Debug, Clone, Copy)]
pub struct Mac {
    len: usize,
    octets: [u8; Mac::MAX],
}

impl Mac {
    /// The longest, that of SHA-512.
    const MAX: usize = 64;

    /// Takes a MAC out of a message; one that no hash can have given is cut.
    pub(super) fn new(octets: &[u8]) -> Mac {
        let mut mac = Mac { len: octets.len().min(Mac::MAX), octets: [0; Mac::MAX] };
        for (to, from) in mac.octets.iter_mut().zip(octets) {
            *to = *from;
        }
        mac
    }

    /// The octets.
    pub(super) fn as_bytes(&self) -> &[u8] {
        self.octets.get(..self.len).unwrap_or_default()
    }

    /// The first `len` octets (RFC 8945 section 5.2.2.1).
    pub(super) fn truncated(self, len: usize) -> Mac {
        Mac { len: self.len.min(len), ..self }
    }

    /// Whether a received MAC is the beginning of this one, in constant time.
    pub(super) fn begins_with(&self, received: &[u8]) -> bool {
        self.truncated(received.len()).as_bytes().ct_eq(received).into()
    }
}

/// A hash under way.
#[derive(Clone)]
pub(super) enum Hasher {
    Md5(Hmac<md5::Md5>),
    Sha1(Hmac<sha1::Sha1>),
    Sha224(Hmac<sha2::Sha224>),
    Sha256(Hmac<sha2::Sha256>),
    Sha384(Hmac<sha2::Sha384>),
    Sha512(Hmac<sha2::Sha512>),
}

impl Hasher {
    pub(super) fn new(algorithm: Algorithm, secret: &Secret) -> Hasher {
        match algorithm {
            Algorithm::HmacMd5 => Hasher::Md5(keyed(secret)),
            Algorithm::HmacSha1 => Hasher::Sha1(keyed(secret)),
            Algorithm::HmacSha224 => Hasher::Sha224(keyed(secret)),
            Algorithm::HmacSha256 | Algorithm::HmacSha256_128 => Hasher::Sha256(keyed(secret)),
            Algorithm::HmacSha384 | Algorithm::HmacSha384_192 => Hasher::Sha384(keyed(secret)),
            Algorithm::HmacSha512 | Algorithm::HmacSha512_256 => Hasher::Sha512(keyed(secret)),
        }
    }

    pub(super) fn update(&mut self, octets: &[u8]) {
        match self {
            Hasher::Md5(hash) => hash.update(octets),
            Hasher::Sha1(hash) => hash.update(octets),
            Hasher::Sha224(hash) => hash.update(octets),
            Hasher::Sha256(hash) => hash.update(octets),
            Hasher::Sha384(hash) => hash.update(octets),
            Hasher::Sha512(hash) => hash.update(octets),
        }
    }

    /// Adds an earlier MAC, its length before it (RFC 8945 sections 4.3.1 and 5.3.1).
    pub(super) fn update_mac(&mut self, mac: &Mac) {
        // A MAC has at most 64 octets.
        self.update(&u16::try_from(mac.len).unwrap_or_default().to_be_bytes());
        self.update(mac.as_bytes());
    }

    /// The whole MAC, not truncated.
    pub(super) fn finish(self) -> Mac {
        match self {
            Hasher::Md5(hash) => Mac::new(&hash.finalize().into_bytes()),
            Hasher::Sha1(hash) => Mac::new(&hash.finalize().into_bytes()),
            Hasher::Sha224(hash) => Mac::new(&hash.finalize().into_bytes()),
            Hasher::Sha256(hash) => Mac::new(&hash.finalize().into_bytes()),
            Hasher::Sha384(hash) => Mac::new(&hash.finalize().into_bytes()),
            Hasher::Sha512(hash) => Mac::new(&hash.finalize().into_bytes()),
        }
    }
}

fn keyed<H: KeyInit>(secret: &Secret) -> H {
    match H::new_from_slice(secret.as_bytes()) {
        Ok(hash) => hash,
        Err(_) => unreachable!("an HMAC takes a key of any length (RFC 2104 section 3)"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(mac: &Mac) -> String {
        mac.as_bytes().iter().map(|octet| format!("{octet:02x}")).collect()
    }

    #[test]
    fn hashes_are_those_of_the_published_test_cases() {
        // Test case 2 of RFC 2202 sections 2 and 3, and of RFC 4231 section 4.3.
        for (algorithm, expected) in [
            (Algorithm::HmacMd5, "750c783e6ab0b503eaa86e310a5db738"),
            (Algorithm::HmacSha1, "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79"),
            (Algorithm::HmacSha224, "a30e01098bc6dbbf45690f3a7e9e6d0f8bbea2a39e6148008fd05e44"),
            (Algorithm::HmacSha256, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"),
            (
                Algorithm::HmacSha384,
                "af45d2e376484031617f78d2b58a6b1b9c7ef464f5a01b47e42ec3736322445e8e2240ca5e69e2c78b3239ecfab21649",
            ),
            (
                Algorithm::HmacSha512,
                "164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd610270cd7ea2505549758bf75c05a994a6d034f65f8f0e6fd\
                 caeab1a34d4a6b4b636e070a38bce737",
            ),
        ] {
            let mut hasher = Hasher::new(algorithm, &Secret::new(b"Jefe".to_vec()));
            hasher.update(b"what do ya want ");
            hasher.update(b"for nothing?");
            let mac = hasher.finish();
            assert_eq!(hex(&mac), expected, "{algorithm}");
            assert_eq!(mac.as_bytes().len(), algorithm.full_len());
        }
    }

    #[test]
    fn hashes_overwrite_what_they_hold_of_the_secret() {
        // An HMAC is two of these hashes, keyed, and nothing else.
        fn overwrites<T: zeroize::ZeroizeOnDrop>() {}
        overwrites::<md5::Md5>();
        overwrites::<sha1::Sha1>();
        overwrites::<sha2::Sha256>();
        overwrites::<sha2::Sha512>();
    }

    #[test]
    fn a_received_mac_may_be_the_beginning_only() {
        let mac = Mac::new(b"0123456789");
        assert!(mac.begins_with(b"0123456789"));
        assert!(mac.begins_with(b"01234"));
        assert!(!mac.begins_with(b"01235"));
        assert!(!mac.begins_with(b"0123456789a"));
    }
}
