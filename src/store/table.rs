//! The table: the records of every zone in sled, following the journal.
//!
//! The only file that names sled. Nothing here makes an answer durable: the table holds what the journal made durable
//! before, knows how far it has come, and knows a checksum of all that it should hold, so that a start can tell
//! a table that lost something from a good one.
//!
//! One sled tree. A record's key is the zone's apex as a [`Key`], an octet 00, and the rest of the owner's key behind the
//! apex: `router.example.com` in `example.com` is `com 00 example 00` `00` `router 00`. No label is empty, so the first
//! empty one ends the apex: a zone is one range, a subtree in it is one range, in canonical order, and a zone
//! below another does not mix with it.
//!
//! A value is what [`super::row`] writes.
//!
//! Keys of the table's own begin with 01 FF, which no reversed name does: `01 FF 'z'` and an apex is a zone that
//! exists, its value the apex in wire form and in the case it was given; `01 FF 'm'` is the mark, as [`super::mark`]
//! writes it.
//!
//! Every batch holds the mark, and sled applies a batch whole or not at all. Commits gather before they are written, owner by
//! owner: see [`group`]. Removals and additions name whole records, and all removals of a commit go before its
//! additions, so commits applied again over a part of what they and those after them did give what they would have given in
//! one go: whether a record is there, and its TTL, is the word of the last commit that names it.

mod compare;
mod fill;
mod group;
mod read;

pub(super) use compare::Compared;

use super::encode;
use super::error::plain;
use super::mark::{Mark, Step};
use super::{Commit, CommitKind};
use crate::wire::{Name, Rtype, Ttl};
use crate::zone::Key;
use group::Group;
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::fmt;
use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// The table, open.
pub(super) struct Table {
    dir: PathBuf,
    db: sled::Db,
    /// As it is in the table.
    mark: Mark,
    /// The last commit that was followed, which is in the table or in what has gathered.
    followed: Step,
    /// The zones that exist: the key of each apex, and the apex in the case it was given.
    zones: HashMap<Vec<u8>, Name>,
    /// What commits do to records, not written yet.
    group: Group,
    /// What goes into the next batch, how many keys that is, and the sum of all weights with it.
    batch: sled::Batch,
    in_batch: usize,
    sum: u64,
    /// Keys written since the last flush.
    unflushed: usize,
    bounds: Bounds,
}

/// How much goes together.
struct Bounds {
    /// Keys in one batch, the mark among them. Batches of 10,000 keys have been seen to cost gigabytes of memory in sled, and
    /// batches of 64 none.
    batch: usize,
    /// Octets of what commits do that are gathered, with what tells them apart: some 250,000 changed addresses.
    group: usize,
    /// After so many batches it fails, as where it is killed.
    #[cfg(test)]
    batches: usize,
}

/// Why the table cannot be used.
#[derive(Debug)]
pub(super) enum TableError {
    /// It is at fault itself: a new one may do.
    Unusable(String),
    /// The disk is full or forbidden: a new one would fare no better.
    Disk(std::io::Error),
    /// A commit in the journal cannot be read.
    Commit(u64),
    /// It was told to stop, and holds the commit in part.
    Stopped,
}

/// Keys written before sled is told to flush, were there no pause before.
const FLUSH: usize = 1 << 16;
const MARK: &[u8] = b"\x01\xffm";
const ZONE: &[u8] = b"\x01\xffz";

impl Table {
    /// Opens the table in `dir`, or begins one.
    pub(super) fn open(dir: &Path, cache: u64) -> Result<Table, TableError> {
        guard(|| {
            let config = sled::Config::new()
                .path(dir)
                .cache_capacity(cache)
                .mode(sled::Mode::HighThroughput)
                // Flushed by `flush`, at times that the journal does not wait for.
                .flush_every_ms(None);
            let db = open_unlocked(&config)?;
            let mark = match db.get(MARK)? {
                Some(octets) => Mark::read(&octets).ok_or_else(|| unusable("its mark does not follow the format"))?,
                None if db.is_empty() => Mark::default(),
                None => return Err(unusable("it holds records and no mark")),
            };
            let mut zones = HashMap::new();
            for entry in db.scan_prefix(ZONE) {
                let (key, apex) = entry?;
                let apex = Name::from_wire(&apex).map_err(|_| unusable("a zone's name does not follow the format"))?;
                zones.insert(key.get(ZONE.len()..).unwrap_or_default().to_vec(), apex);
            }
            let (batch, group) = (sled::Batch::default(), Group::default());
            let (followed, sum, in_batch, unflushed, bounds) = (mark.done, mark.sum, 0, 0, Bounds::default());
            let dir = dir.to_owned();
            Ok(Table { dir, db, mark, followed, zones, group, batch, in_batch, sum, unflushed, bounds })
        })
    }

    /// Lets go of it without a last write. Also here sled may panic, where its disk fails.
    pub(super) fn close(self) {
        // Nothing depends on the outcome: what counts is in the journal.
        let _ = guard(|| {
            drop(self);
            Ok(())
        });
    }

    /// How far it has come, without what has gathered.
    pub(super) fn mark(&self) -> Mark {
        self.mark
    }

    /// The last commit that was followed; it may not be written yet.
    pub(super) fn followed(&self) -> Step {
        self.followed
    }

    /// Applies the next commit. Changes gather until [`Table::write`], or until they are many; then, and amid a large one,
    /// it may be told to `stop`.
    pub(super) fn follow(&mut self, step: Step, payload: &[u8], stop: &AtomicBool) -> Result<(), TableError> {
        guard(|| {
            let unreadable = |_| TableError::Commit(step.seq);
            let encoded = encode::read(payload).map_err(unreadable)?;
            let Commit { zone, kind, .. } = encoded.commit;
            let apex = Key::new(&zone);
            if kind != CommitKind::Change {
                self.wipe(step, apex.as_bytes(), stop)?;
            }
            if kind != CommitKind::Delete {
                // In the case it was begun with: that is what the sum has.
                if !self.zones.contains_key(apex.as_bytes()) {
                    self.zones.insert(apex.as_bytes().to_vec(), zone);
                    self.put(step, &zone_key(apex.as_bytes()), None, Some(zone.as_bytes().to_vec()))?;
                }
                for record in encoded.removed {
                    let record = record.map_err(unreadable)?;
                    self.gather(step, apex.as_bytes(), (&record.owner, record.rtype, None, &record.rdata), stop)?;
                }
                for record in encoded.added {
                    let record = record.map_err(unreadable)?;
                    let ttl = Some(record.ttl);
                    self.gather(step, apex.as_bytes(), (&record.owner, record.rtype, ttl, &record.rdata), stop)?;
                }
            }
            self.followed = step;
            match kind {
                CommitKind::Change => Ok(()),
                // So that it is not done again from its beginning where the table ends amid what comes next.
                _ => self.write_group(step, step, stop),
            }
        })
    }

    /// Writes what has gathered.
    pub(super) fn write(&mut self, stop: &AtomicBool) -> Result<(), TableError> {
        guard(|| self.write_group(self.followed, self.followed, stop))
    }

    /// Writes what has gathered, and asks the disk to keep it. Only spares the next start work.
    pub(super) fn flush(&mut self, stop: &AtomicBool) -> Result<(), TableError> {
        self.write(stop)?;
        // There is a pause: what it had room for may go.
        self.group = Group::default();
        self.settle()
    }

    /// Asks the disk to keep what was written; what has gathered is in the journal.
    pub(super) fn settle(&mut self) -> Result<(), TableError> {
        guard(|| {
            self.unflushed = 0;
            self.db.flush()?;
            // sled's own flush on Linux is sync_file_range, which writes neither the file's size nor the disk's
            // cache: after power loss the whole table has been seen gone.
            File::open(self.dir.join("db")).and_then(|file| file.sync_data()).map_err(TableError::Disk)
        })
    }

    /// Writes what has gathered but for the last batch, as where it is killed.
    #[cfg(test)]
    pub(super) fn write_in_part(&mut self) -> Result<(), TableError> {
        self.put_group(self.followed, &AtomicBool::new(false))
    }

    /// Takes the last key away behind the checksum's back, as a fault of sled would.
    #[cfg(test)]
    pub(super) fn lose_a_record(&mut self) -> Result<(), TableError> {
        self.db.pop_max()?;
        self.settle()
    }

    /// Gathers what a commit does to a record.
    fn gather(
        &mut self,
        step: Step,
        apex: &[u8],
        (owner, rtype, ttl, rdata): (&Key, Rtype, Option<Ttl>, &[u8]),
        stop: &AtomicBool,
    ) -> Result<(), TableError> {
        if self.group.size() >= self.bounds.group {
            self.write_group(self.followed, step, stop)?;
        }
        let below = owner.as_bytes().strip_prefix(apex);
        let gathered = below.and_then(|below| self.group.push([apex, &[0], below], rtype, ttl, rdata));
        gathered.ok_or(TableError::Commit(step.seq))
    }

    /// Takes every record of a zone away, and the zone itself.
    fn wipe(&mut self, step: Step, apex: &[u8], stop: &AtomicBool) -> Result<(), TableError> {
        self.write_group(self.followed, self.followed, stop)?;
        let prefix = prefix_of(apex);
        loop {
            let entries: Vec<_> = self.db.scan_prefix(&prefix).take(self.bounds.batch - 2).collect::<Result<_, _>>()?;
            if entries.is_empty() {
                break;
            }
            for (key, old) in &entries {
                self.put(step, key, Some(old), None)?;
            }
            self.write_batch(self.followed, step)?;
            not_stopped(stop)?;
        }
        if let Some(name) = self.zones.remove(apex) {
            self.put(step, &zone_key(apex), Some(name.as_bytes()), None)?;
        }
        Ok(())
    }

    /// Writes all that was gathered, owner by owner in the order of their keys, after which the table holds everything up to
    /// the commit `done`, and `begun` in part. Before that it holds any part of all the commits that were gathered.
    fn write_group(&mut self, done: Step, begun: Step, stop: &AtomicBool) -> Result<(), TableError> {
        self.put_group(begun, stop)?;
        if self.in_batch > 0 || (self.mark.done, self.mark.begun) != (done, begun) {
            self.write_batch(done, begun)?;
        }
        Ok(())
    }

    /// Writes all but the last batch of it.
    fn put_group(&mut self, begun: Step, stop: &AtomicBool) -> Result<(), TableError> {
        let mut group = std::mem::take(&mut self.group);
        for (key, operations) in group.owners() {
            let old = self.db.get(key)?;
            let malformed = || unusable("a record does not follow the format");
            let new = operations.upon(old.as_deref()).ok_or_else(malformed)?;
            if new.as_deref() != old.as_deref() && self.put(begun, key, old.as_deref(), new)? {
                not_stopped(stop)?;
            }
        }
        group.clear();
        self.group = group;
        Ok(())
    }

    /// Gives a key another value, with the next batch, which belongs to the commit `begun` or to those before it. Says whether a
    /// batch was written to make room.
    fn put(&mut self, begun: Step, key: &[u8], old: Option<&[u8]>, new: Option<Vec<u8>>) -> Result<bool, TableError> {
        // One place is the mark's.
        let full = self.in_batch + 1 >= self.bounds.batch;
        if full {
            self.write_batch(self.mark.done, begun)?;
        }
        self.in_batch += 1;
        if let Some(old) = old {
            self.sum = self.sum.wrapping_sub(weight(key, old));
        }
        match new {
            Some(new) => {
                self.sum = self.sum.wrapping_add(weight(key, &new));
                self.batch.insert(key, new);
            }
            None => self.batch.remove(key),
        }
        Ok(full)
    }

    fn write_batch(&mut self, done: Step, begun: Step) -> Result<(), TableError> {
        #[cfg(test)]
        self.bounds.count()?;
        // What an earlier run has begun stays in part until all of it is whole.
        let begun = if self.mark.begun.seq > begun.seq { self.mark.begun } else { begun };
        let mark = Mark { done, begun, sum: self.sum };
        let mut batch = std::mem::take(&mut self.batch);
        batch.insert(MARK, mark.octets());
        self.unflushed += std::mem::take(&mut self.in_batch) + 1;
        self.db.apply_batch(batch)?;
        self.mark = mark;
        if self.unflushed >= FLUSH {
            self.unflushed = 0;
            self.db.flush()?;
        }
        Ok(())
    }
}

impl Default for Bounds {
    fn default() -> Bounds {
        Bounds {
            batch: 64,
            group: 24 << 20,
            #[cfg(test)]
            batches: usize::MAX,
        }
    }
}

impl From<sled::Error> for TableError {
    fn from(error: sled::Error) -> TableError {
        use std::io::ErrorKind::{PermissionDenied, QuotaExceeded, ReadOnlyFilesystem, StorageFull};
        match error {
            sled::Error::Io(error)
                if matches!(error.kind(), StorageFull | QuotaExceeded | ReadOnlyFilesystem | PermissionDenied) =>
            {
                TableError::Disk(error)
            }
            other => TableError::Unusable(other.to_string()),
        }
    }
}

impl fmt::Display for TableError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TableError::Unusable(why) => f.write_str(why),
            TableError::Disk(error) => f.write_str(&plain(error)),
            TableError::Commit(seq) => write!(f, "commit {seq} does not follow the format"),
            TableError::Stopped => f.write_str("it was told to stop"),
        }
    }
}

/// Runs what touches sled. On damaged files sled 0.34 does not always return an error: some damage it finds by
/// failed assertions. A panic here is such a finding, and says no more than that the table is unusable.
fn guard<T>(run: impl FnOnce() -> Result<T, TableError>) -> Result<T, TableError> {
    catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no reason given");
        Err(TableError::Unusable(format!("sled panicked: {}", text.lines().next().unwrap_or_default())))
    })
}

/// Opens sled's files. sled keeps its own lock for a moment after a database was dropped, and gives no sign when it lets
/// go, so a store that is opened again in the same process has to try more than once. No other process can hold
/// it: this one holds the state directory.
fn open_unlocked(config: &sled::Config) -> Result<sled::Db, TableError> {
    let mut tries = 500;
    loop {
        match config.open() {
            Err(sled::Error::Io(error)) if error.to_string().contains("could not acquire lock") => {
                if tries == 0 {
                    return Err(TableError::Disk(error));
                }
                tries -= 1;
                std::thread::sleep(Duration::from_millis(10));
            }
            outcome => return Ok(outcome?),
        }
    }
}

fn not_stopped(stop: &AtomicBool) -> Result<(), TableError> {
    if stop.load(Ordering::Relaxed) { Err(TableError::Stopped) } else { Ok(()) }
}

fn unusable(why: &str) -> TableError {
    TableError::Unusable(why.to_owned())
}

fn prefix_of(apex: &[u8]) -> Vec<u8> {
    [apex, &[0]].concat()
}

fn zone_key(apex: &[u8]) -> Vec<u8> {
    [ZONE, apex].concat()
}

/// What one key and its value add to the sum.
fn weight(key: &[u8], value: &[u8]) -> u64 {
    let mut hash = Sha256::new();
    // The length keeps an octet from passing from the key to the value unseen.
    hash.update((key.len() as u64).to_be_bytes());
    hash.update(key);
    hash.update(value);
    hash.finalize().iter().take(8).fold(0, |sum, octet| sum << 8 | u64::from(*octet))
}

#[cfg(test)]
#[path = "table_tests.rs"]
mod tests;
