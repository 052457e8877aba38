//! How much of the journal is kept.
//!
//! Segments go whole and the oldest first, each name's removal synced before the next, so that what is left is always one
//! unbroken piece. One goes when it is older than a time or all of them are larger than a size, never one with a commit
//! that the table has not kept durably or that the older of the two newest checkpoints lacks. Without two checkpoints
//! nothing goes. A segment's age is that of its file: its last write.

use super::{Journal, Segment};
use crate::store::StoreError;
use std::fs;
use std::io;
use std::time::UNIX_EPOCH;

/// How much of the past is kept beyond what is needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// How old a segment of the journal may become, in seconds.
    pub age: u64,
    /// How many octets all segments may have.
    pub size: u64,
}

impl Retention {
    /// All of it.
    pub const ALL: Retention = Retention { age: u64::MAX, size: u64::MAX };
}

impl Default for Retention {
    /// 90 days, and at most 1 GiB.
    fn default() -> Retention {
        Retention { age: 90 * 86_400, size: 1 << 30 }
    }
}

/// How many segments go at once, so that no group of updates waits long for them.
const AT_ONCE: usize = 4;

impl Journal {
    /// Removes the oldest segments that `keep` lets go, of those whose commits are all at or before `free`; a few at a
    /// time. Returns how many; `now` is in seconds since 1970.
    pub(in crate::store) fn retire(&mut self, keep: &Retention, free: u64, now: u64) -> Result<usize, StoreError> {
        let mut gone = 0;
        while gone < AT_ONCE && self.segments.len() > 1 && self.end_of(0) <= free.saturating_add(1) {
            let size: u64 = self.segments.iter().map(|segment| segment.size).sum();
            let Some(oldest) = self.segments.first() else { break };
            if size <= keep.size && oldest.written()?.saturating_add(keep.age) >= now {
                break;
            }
            match self.disk.remove(&oldest.path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(StoreError::io("remove", &oldest.path)(error));
                }
                _ => {}
            }
            self.segments.remove(0);
            gone += 1;
            // One by one: two removals that reach the disk in the other order would leave a hole.
            self.disk.sync_dir(&self.dir).map_err(StoreError::io("sync", &self.dir))?;
        }
        Ok(gone)
    }
}

impl Segment {
    /// When it was last written to, in seconds since 1970.
    fn written(&self) -> Result<u64, StoreError> {
        let time =
            fs::metadata(&self.path).and_then(|file| file.modified()).map_err(StoreError::io("read", &self.path))?;
        Ok(time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()))
    }
}
