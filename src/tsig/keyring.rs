//! All keys that a server knows.

use super::TsigKey;
use crate::wire::Name;
use std::collections::HashMap;
use std::sync::Arc;

/// Keys by name, without case. One name has one key, and a key one algorithm: who asks with another is
/// answered BADKEY (RFC 8945 section 5.2.1).
#[derive(Debug, Clone, Default)]
pub struct Keyring {
    keys: HashMap<Name, Arc<TsigKey>>,
}

impl Keyring {
    /// A keyring without keys.
    pub fn new() -> Keyring {
        Keyring::default()
    }

    /// Adds a key; returns the one of the same name that it replaces.
    pub fn insert(&mut self, key: TsigKey) -> Option<Arc<TsigKey>> {
        self.keys.insert(key.name, Arc::new(key))
    }

    /// Takes a key away.
    pub fn remove(&mut self, name: &Name) -> Option<Arc<TsigKey>> {
        self.keys.remove(name)
    }

    /// The key of this name.
    pub fn get(&self, name: &Name) -> Option<&Arc<TsigKey>> {
        self.keys.get(name)
    }

    /// The keys, in no order.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<TsigKey>> {
        self.keys.values()
    }

    /// How many keys.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether there is no key.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }
}

impl FromIterator<TsigKey> for Keyring {
    fn from_iter<I: IntoIterator<Item = TsigKey>>(keys: I) -> Keyring {
        let mut keyring = Keyring::new();
        for key in keys {
            keyring.insert(key);
        }
        keyring
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_found_without_case_and_replaced_by_name() {
        let mut keyring: Keyring = [TsigKey::parse("Laptop:c2VjcmV0").unwrap()].into_iter().collect();
        assert!(keyring.insert(TsigKey::parse("router:c2VjcmV0").unwrap()).is_none());
        let old = keyring.insert(TsigKey::parse("hmac-sha1:LAPTOP:c2VjcmV0").unwrap()).unwrap();
        assert_eq!(old.algorithm, super::super::Algorithm::HmacSha256);
        assert_eq!((keyring.len(), keyring.is_empty(), keyring.iter().count()), (2, false, 2));
        assert!(keyring.get(&Name::parse("laptop").unwrap()).is_some());
        assert!(keyring.remove(&Name::parse("ROUTER").unwrap()).is_some());
        assert!(keyring.get(&Name::parse("router").unwrap()).is_none());
    }
}
