//! A table that is made from a checkpoint.

use super::{Table, TableError, Value, guard, unusable, zone_key};
use crate::store::StoreError;
use crate::store::checkpoint::{Checkpoint, Part};
use crate::wire::Name;
use crate::zone::Key;
use std::sync::atomic::AtomicBool;

impl Table {
    /// Fills an empty table with what a checkpoint holds. Until all of it is in, the mark says so. Between batches it may
    /// be told to `stop`.
    pub(in crate::store) fn fill(&mut self, checkpoint: Checkpoint, stop: &AtomicBool) -> Result<(), TableError> {
        guard(|| {
            let step = checkpoint.step;
            let mut apex = Key::new(&Name::root());
            checkpoint.read::<TableError>(|part| match part {
                Part::Zone(name) => {
                    apex = Key::new(&name);
                    self.zones.insert(apex.as_bytes().to_vec(), name);
                    self.room(step, stop)?;
                    self.pending.insert(zone_key(apex.as_bytes()), Value::Octets(name.as_bytes().to_vec()));
                    Ok(())
                }
                Part::Owner { key, node } => {
                    let owner = Key::from_bytes(key).ok_or_else(|| unusable("a checkpoint's key is no name"))?;
                    let records = self.owner(step, apex.as_bytes(), &owner, stop)?;
                    for rrset in node.rrsets() {
                        records.extend(rrset.rdatas().map(|rdata| ((rrset.rtype, rdata.into()), rrset.ttl)));
                    }
                    Ok(())
                }
            })?;
            (self.mark.done, self.mark.begun) = (step, step);
            Ok(())
        })
    }

    /// Fills it and forgets what the last batch would have written, as a kill does.
    #[cfg(test)]
    pub(in crate::store) fn fill_in_part(&mut self, checkpoint: Checkpoint) {
        assert!(self.fill(checkpoint, &AtomicBool::new(false)).is_ok());
        self.pending.clear();
    }
}

impl From<StoreError> for TableError {
    fn from(error: StoreError) -> TableError {
        // Of a checkpoint that was read once before, whole.
        TableError::Unusable(error.to_string())
    }
}
