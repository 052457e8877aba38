//! The table against the zones as they should be.

use super::super::row::{owners, rows_of, value_of};
use super::super::start::Zones;
use super::{MARK, Table, TableError, guard, prefix_of, unusable, weight};
use crate::wire::Name;
use crate::zone::{Key, Record};

/// How many differences are told one by one.
const TOLD: usize = 10;

/// What comparing found.
#[derive(Debug, Default)]
pub(in crate::store) struct Compared {
    /// How many owners the table holds.
    pub(in crate::store) owners: u64,
    /// The differences, up to some number; each a line.
    pub(in crate::store) told: Vec<String>,
    /// How many there are.
    pub(in crate::store) differences: u64,
}

impl Compared {
    pub(in crate::store) fn differs(&mut self, line: impl FnOnce() -> String) {
        self.differences += 1;
        if self.told.len() < TOLD {
            self.told.push(line());
        }
    }
}

impl Compared {
    /// What is to be told, line by line.
    pub(in crate::store) fn lines(&self) -> impl Iterator<Item = String> {
        let more = self.differences.saturating_sub(self.told.len() as u64);
        self.told.iter().cloned().chain((more > 0).then(|| format!("{more} more differences")))
    }
}

impl Table {
    /// Compares every owner with what `zones` has: what the journal makes of them up to the table's mark.
    pub(in crate::store) fn compare(&self, zones: &Zones) -> Result<Compared, TableError> {
        guard(|| {
            let mut compared = Compared::default();
            for (apex, name) in self.zones.iter().filter(|(apex, _)| !zones.contains_key(*apex)) {
                compared.differs(|| format!("it has zone {name}, which is not there by the journal"));
                for entry in self.db.scan_prefix(prefix_of(apex)) {
                    entry?;
                    compared.owners += 1;
                }
            }
            for (apex, loaded) in zones {
                if !self.zones.contains_key(apex) {
                    compared.differs(|| format!("it lacks zone {}", loaded.apex));
                    continue;
                }
                self.compare_zone(apex, loaded.zone.records(), &mut compared)?;
            }
            Ok(compared)
        })
    }

    /// Whether it still holds what was written to it.
    pub(in crate::store) fn check(&self) -> Result<(), TableError> {
        guard(|| {
            let mut sum = 0u64;
            for entry in self.db.iter() {
                let (key, value) = entry?;
                if key != MARK {
                    sum = sum.wrapping_add(weight(&key, &value));
                }
            }
            if sum == self.mark.sum { Ok(()) } else { Err(unusable("it lost or changed records")) }
        })
    }

    /// Compares the owners of one zone, both in the order of their keys.
    fn compare_zone(
        &self,
        apex: &[u8],
        records: impl Iterator<Item = Record>,
        compared: &mut Compared,
    ) -> Result<(), TableError> {
        let mut expected = owners(records);
        let mut next = expected.next();
        let prefix = prefix_of(apex);
        for entry in self.db.scan_prefix(&prefix) {
            let (key, value) = entry?;
            compared.owners += 1;
            let below = key.get(prefix.len()..).unwrap_or_default();
            let owner = Key::from_bytes(&[apex, below].concat()).ok_or_else(|| unusable("a key is no name"))?;
            while let Some((lacking, _)) = next.as_ref().filter(|(expected, _)| *expected < owner) {
                compared.differs(|| format!("it lacks {}", plain(lacking)));
                next = expected.next();
            }
            match next.take_if(|(expected, _)| *expected == owner) {
                Some((_, records)) => {
                    if value_of(rows_of(&records)).as_deref() != Some(&*value) {
                        compared.differs(|| format!("it has other records of {}", plain(&owner)));
                    }
                    next = expected.next();
                }
                None => compared.differs(|| format!("it has {}, which is not there by the journal", plain(&owner))),
            }
        }
        while let Some((lacking, _)) = next {
            compared.differs(|| format!("it lacks {}", plain(&lacking)));
            next = expected.next();
        }
        Ok(())
    }
}

fn plain(owner: &Key) -> Name {
    owner.name()
}
