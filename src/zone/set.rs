//! All zones of a server, and which of them a name belongs to.

use super::{Changes, Key, Zone, ZoneError, parent_of};
use crate::wire::{Name, NameRef};
use imbl::OrdMap;
use std::sync::Arc;

/// The zones a server is authoritative for. Cloning shares them.
#[derive(Debug, Clone, Default)]
pub struct ZoneSet {
    zones: OrdMap<Key, Arc<Zone>>,
    /// How long the longest of their keys is: what is longer need not be looked for.
    longest: usize,
}

impl ZoneSet {
    /// The zone nearest above the owner with this key: the one with the longest apex (RFC 1034 section
    /// 4.3.2, step 2).
    pub fn nearest(&self, owner: &[u8]) -> Option<&Arc<Zone>> {
        let mut key = owner;
        loop {
            if key.len() <= self.longest
                && let Some(zone) = self.zones.get(key)
            {
                return Some(zone);
            }
            key = parent_of(key)?;
        }
    }

    /// The zone of exactly this name.
    pub fn zone<'n>(&self, apex: impl Into<NameRef<'n>>) -> Option<&Arc<Zone>> {
        self.zones.get(super::KeyBuf::new(apex).as_bytes())
    }

    /// Puts a zone in, in the place of one with the same apex.
    pub fn insert(&mut self, zone: Arc<Zone>) {
        self.longest = self.longest.max(zone.apex_key().as_bytes().len());
        self.zones.insert(zone.apex_key().clone(), zone);
    }

    /// Carries out changes of the zone of this name. Snapshots that share it keep it as it was.
    pub fn change(&mut self, apex: &Name, changes: &Changes) -> Result<(), ZoneError> {
        match self.zones.get_mut(super::KeyBuf::new(apex).as_bytes()) {
            Some(zone) => Arc::make_mut(zone).change(changes),
            None => Err(ZoneError::NoSoa(*apex)),
        }
    }

    /// Takes a zone out.
    pub fn remove(&mut self, apex: &Name) {
        self.zones.remove(super::KeyBuf::new(apex).as_bytes());
        self.longest = self.zones.keys().map(|key| key.as_bytes().len()).max().unwrap_or(0);
    }

    /// Every zone, in the order of their keys.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Zone>> {
        self.zones.values()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.zones.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.zones.is_empty()
    }
}
