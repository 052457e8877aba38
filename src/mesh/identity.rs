//! Who is who: a node is its ed25519 key (RFC 8032), and so is the mesh.

use ring::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use std::fmt;

/// A public key: a node's identity, which the transport proves, or a mesh's.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub [u8; 32]);

/// A signature in its 64 octets.
pub type Signature = [u8; 64];

/// A secret key.
pub struct SecretKey(Ed25519KeyPair);

impl SecretKey {
    /// The key of a seed of 32 random octets; every seed is one.
    pub fn from_seed(seed: &[u8; 32]) -> Option<SecretKey> {
        Ed25519KeyPair::from_seed_unchecked(seed).ok().map(SecretKey)
    }

    /// The public half.
    pub fn id(&self) -> NodeId {
        NodeId(self.0.public_key().as_ref().try_into().unwrap_or([0; 32]))
    }

    /// Signs `parts`, one after the other. The first names what is signed, so that no signature serves for
    /// something else.
    pub(super) fn sign(&self, parts: &[&[u8]]) -> Signature {
        self.0.sign(&parts.concat()).as_ref().try_into().unwrap_or([0; 64])
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretKey({}, ...)", self.id())
    }
}

impl NodeId {
    /// Whether the holder of this key signed `parts`.
    pub(super) fn signed(&self, parts: &[&[u8]], signature: &Signature) -> bool {
        UnparsedPublicKey::new(&ED25519, &self.0).verify(&parts.concat(), signature).is_ok()
    }
}

impl fmt::Display for NodeId {
    /// The first eight octets in hexadecimal: enough to tell apart, short enough to read out.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().take(8).try_for_each(|octet| write!(f, "{octet:02x}"))
    }
}

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
