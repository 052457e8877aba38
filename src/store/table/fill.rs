//! A table that is made from a checkpoint.

use super::{Table, TableError, guard, unusable, zone_key};
use crate::store::StoreError;
use crate::store::checkpoint::{Checkpoint, Part};
use crate::store::mark::Step;
use crate::wire::Name;
use crate::zone::Key;
use std::sync::atomic::AtomicBool;

impl Table {
    /// Fills an empty table with what a checkpoint holds. Until all of it is in, the mark says so. Between batches it may
    /// be told to `stop`.
    pub(in crate::store) fn fill(&mut self, checkpoint: Checkpoint, stop: &AtomicBool) -> Result<(), TableError> {
        guard(|| {
            self.followed = self.take(checkpoint, stop)?;
            self.write_group(self.followed, self.followed, stop)
        })
    }

    /// Takes the records of a checkpoint over; returns its last commit.
    fn take(&mut self, checkpoint: Checkpoint, stop: &AtomicBool) -> Result<Step, TableError> {
        let step = checkpoint.step;
        let mut apex = Key::new(&Name::root());
        checkpoint.read::<TableError>(|part| match part {
            Part::Zone(name) => {
                apex = Key::new(&name);
                self.zones.insert(apex.as_bytes().to_vec(), name);
                self.put(step, &zone_key(apex.as_bytes()), None, Some(name.as_bytes().to_vec())).map(drop)
            }
            Part::Owner { key, node } => {
                let owner = Key::from_bytes(key).ok_or_else(|| unusable("a checkpoint's key is no name"))?;
                for rrset in node.rrsets() {
                    for rdata in rrset.rdatas() {
                        self.gather(step, apex.as_bytes(), (&owner, rrset.rtype, Some(rrset.ttl), rdata), stop)?;
                    }
                }
                Ok(())
            }
        })?;
        Ok(step)
    }

    /// Fills it, and does not come to say that it is whole, as where it is killed.
    #[cfg(test)]
    pub(in crate::store) fn fill_in_part(&mut self, checkpoint: Checkpoint) {
        let stop = AtomicBool::new(false);
        assert!(self.take(checkpoint, &stop).and_then(|step| self.write_group(Step::default(), step, &stop)).is_ok());
    }
}

impl From<StoreError> for TableError {
    fn from(error: StoreError) -> TableError {
        // Of a checkpoint that was read once before, whole.
        TableError::Unusable(error.to_string())
    }
}
