//! Keys: a name, an algorithm and a secret that both sides hold.

use super::Algorithm;
use crate::wire::{Name, NameError};
use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use std::fmt;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// A TSIG key. Its name and algorithm are public; its secret is never printed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TsigKey {
    /// What both sides call the key; compared without case.
    pub name: Name,
    /// The one algorithm that the key serves (RFC 8945 section 5.2.1).
    pub algorithm: Algorithm,
    /// What both sides hold.
    pub secret: Secret,
}

/// The octets that both sides hold; overwritten when dropped.
#[derive(Clone)]
pub struct Secret(Zeroizing<Vec<u8>>);

/// Why a text is not a key. Holds nothing of the text, which may be or contain the secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyError {
    /// Not of the form `[ALGORITHM:]NAME:SECRET`.
    Form,
    /// The key's name is not a domain name.
    Name(NameError),
    /// None of the known algorithms.
    Algorithm,
    /// The secret has no octets.
    EmptySecret,
    /// The secret is not base64 (RFC 4648 section 4).
    Base64,
}

impl TsigKey {
    /// Reads `[ALGORITHM:]NAME:SECRET`, the form of `nsupdate -y`; without an algorithm it is hmac-sha256.
    pub fn parse(text: &str) -> Result<TsigKey, KeyError> {
        let mut parts = text.trim().split(':');
        let (algorithm, name, secret) = match (parts.next(), parts.next(), parts.next(), parts.next()) {
            (Some(name), Some(secret), None, None) => (Algorithm::default(), name, secret),
            (Some(algorithm), Some(name), Some(secret), None) => {
                (Algorithm::parse(algorithm).ok_or(KeyError::Algorithm)?, name, secret)
            }
            _ => return Err(KeyError::Form),
        };
        let name = Name::parse(name).map_err(KeyError::Name)?;
        Ok(TsigKey { name, algorithm, secret: Secret::from_base64(secret)? })
    }

    /// Makes a key with a new secret as long as the hash (RFC 8945 section 8), of octets that `fill` takes
    /// from a source of randomness.
    pub fn random<E>(
        name: Name,
        algorithm: Algorithm,
        fill: impl FnOnce(&mut [u8]) -> Result<(), E>,
    ) -> Result<TsigKey, E> {
        Ok(TsigKey { name, algorithm, secret: Secret::random(algorithm.full_len(), fill)? })
    }
}

impl Secret {
    /// Takes the octets.
    pub fn new(octets: Vec<u8>) -> Secret {
        Secret(Zeroizing::new(octets))
    }

    /// Reads base64, with or without its padding.
    pub fn from_base64(text: &str) -> Result<Secret, KeyError> {
        let octets = Zeroizing::new(BASE64.decode(text.trim()).map_err(|_| KeyError::Base64)?);
        if octets.is_empty() { Err(KeyError::EmptySecret) } else { Ok(Secret(octets)) }
    }

    /// A secret of `len` octets that `fill` takes from a source of randomness.
    pub fn random<E>(len: usize, fill: impl FnOnce(&mut [u8]) -> Result<(), E>) -> Result<Secret, E> {
        let mut octets = Zeroizing::new(vec![0; len]);
        fill(&mut octets)?;
        Ok(Secret(octets))
    }

    /// The secret in base64, for key files and nothing else.
    pub fn to_base64(&self) -> Zeroizing<String> {
        Zeroizing::new(BASE64.encode(self.0.as_slice()))
    }

    /// How many octets.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// The octets, to key a hash with.
    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// The alphabet of RFC 4648 section 4; people lose the padding when they copy.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

impl PartialEq for Secret {
    fn eq(&self, other: &Secret) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for Secret {}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            KeyError::Form => f.write_str("a key is written [ALGORITHM:]NAME:SECRET, with one or two colons"),
            KeyError::Name(error) => write!(f, "the key's name is no domain name: {error}"),
            KeyError::Algorithm => {
                f.write_str("unknown TSIG algorithm; use hmac-sha256, or one of")?;
                for (index, algorithm) in Algorithm::all().filter(|&other| other != Algorithm::HmacSha256).enumerate() {
                    write!(f, "{} {algorithm}", if index > 0 { "," } else { "" })?;
                }
                Ok(())
            }
            KeyError::EmptySecret => f.write_str("the secret is empty; make one with `dyndns key generate`"),
            KeyError::Base64 => {
                f.write_str("the secret is not base64; copy all of it, from the key file that `dyndns key` wrote")
            }
        }
    }
}

impl std::error::Error for KeyError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_form_of_nsupdate_y_is_read() {
        let key = TsigKey::parse("laptop.Example:c2VjcmV0").unwrap();
        assert_eq!(key.name, Name::parse("laptop.example.").unwrap());
        assert_eq!(key.algorithm, Algorithm::HmacSha256);
        assert_eq!(key.secret.as_bytes(), b"secret");
        assert_eq!(*key.secret.to_base64(), "c2VjcmV0");

        assert_eq!(TsigKey::parse("HMAC-MD5:router:c2VjcmV0").unwrap().algorithm, Algorithm::HmacMd5);
        assert_eq!(TsigKey::parse("hmac-sha512-256:r.:YWI=").unwrap().algorithm, Algorithm::HmacSha512_256);
    }

    #[test]
    fn padding_of_base64_may_be_lost() {
        assert_eq!(Secret::from_base64("YWI").unwrap(), Secret::from_base64("YWI=\n").unwrap());
        assert_ne!(Secret::from_base64("YWI=").unwrap(), Secret::from_base64("YWE=").unwrap());
    }

    #[test]
    fn texts_that_are_no_key_are_refused() {
        assert_eq!(TsigKey::parse("c2VjcmV0"), Err(KeyError::Form));
        assert_eq!(TsigKey::parse("a:b:c:d"), Err(KeyError::Form));
        assert_eq!(TsigKey::parse("a..b:c2VjcmV0"), Err(KeyError::Name(NameError::EmptyLabel)));
        assert_eq!(TsigKey::parse("hmac-sha3:a:c2VjcmV0"), Err(KeyError::Algorithm));
        assert_eq!(TsigKey::parse("a:"), Err(KeyError::EmptySecret));
        assert_eq!(TsigKey::parse("a:c2Vjcm!0"), Err(KeyError::Base64));
    }

    #[test]
    fn no_debug_output_or_error_shows_the_secret() {
        let key = TsigKey::parse("laptop:c2VjcmV0").unwrap();
        let shown = format!("{key:?} {key:#?}");
        assert!(!shown.contains("c2Vj") && !shown.contains("secret\"") && !shown.contains("115"), "{shown}");
        for text in ["c2VjcmV0", "laptop:c2VjcmV0:laptop", "a:c2VjcmV0!", "c2VjcmV0..:a:b"] {
            let error = TsigKey::parse(text).unwrap_err();
            assert!(!format!("{error} {error:?}").contains("c2Vj"), "{error}");
        }
    }

    #[test]
    fn a_new_secret_is_as_long_as_the_hash() {
        let name = Name::parse("laptop").unwrap();
        let key = TsigKey::random(name, Algorithm::HmacSha512_256, |octets| {
            octets.fill(7);
            Ok::<(), ()>(())
        });
        assert_eq!(key.unwrap().secret.as_bytes(), [7; 64]);
        assert_eq!(TsigKey::random(name, Algorithm::HmacSha256, |_| Err("no entropy")), Err("no entropy"));
    }
}
