//! The store on disk, and what a start does: take the lock; read the table and, beside it, the journal; bring the zones,
//! in memory, to the end of the journal. Then they can be served; the table follows in a thread of its own.
//!
//! The state directory holds `lock`, `journal/` and `table/`. Nothing is ever deleted from the journal, so that a table
//! that is missing, damaged, or of another journal can always be made anew.
//!
//! # What the table has, and what the journal adds
//!
//! A table's mark names two commits. Every commit up to `done` is in it whole. `begun` is `done`, or the one commit after
//! it, of which any part may be there. That commit is of one zone; all others are as they were after `done`. So a start
//! takes every zone as the table has it, applies `begun` over its own half, and the commits after it upon that:
//!
//! - a create: what the table has of the zone is thrown away;
//! - a delete: likewise;
//! - a change: what it removes may be gone already and what it adds may be there, as in [`Table::follow`]. Both name
//!   whole records, and all removals come before the additions, so the outcome is that of doing it in one go.
//!
//! Until then the zone may lack its SOA; it is looked for at the end. Where the table is of another journal, ahead of
//! this one, or not what was written to it, its zones are dropped, it is set aside, and the zones are made from the
//! journal alone, while a new table begins to follow it.

use super::disk::{Disk, SystemDisk};
use super::encode::{self, Unreadable};
use super::follower::Follower;
use super::journal::Journal;
use super::table::{Mark, Step, Table, TableError};
use super::{Commit, CommitKind, History, RecoveryNote, Store, StoreError};
use crate::wire::Name;
use crate::zone::{self, Changes, Key, Serial, Unchecked};
use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{Read, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::thread;

/// The store on disk.
pub struct DiskStore {
    journal: Journal,
    follower: Follower,
    table: PathBuf,
    /// Held as long as the store: declared last, so that it is dropped when the table has closed its files.
    _lock: File,
}

/// How the store is laid out; the default suits everything but tests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoreOptions {
    /// How large a segment of the journal is made, in octets.
    pub segment_size: usize,
    /// How much of the table sled keeps in memory, in octets.
    pub table_cache: u64,
}

/// A zone as the store holds it.
#[derive(Debug)]
pub struct LoadedZone {
    /// The apex, in the case it was given.
    pub apex: Name,
    /// Its records, which commits made; the store does not ask whether they are a zone.
    pub zone: Unchecked,
}

/// What a start found.
#[derive(Debug)]
pub struct Opened<S> {
    /// The store, ready for more.
    pub store: S,
    /// Every zone, in the order of their keys.
    pub zones: Vec<LoadedZone>,
    /// What was found amiss and mended; for the log.
    pub notes: Vec<RecoveryNote>,
}

impl Default for StoreOptions {
    fn default() -> StoreOptions {
        // Of 1 M keys sled alone held 211 MB after reading them all with a cache of 64 MiB, 69 MB with 8 MiB and 51 MB
        // with 1 MiB; the reading took 0.7, 0.9 and 0.9 s.
        StoreOptions { segment_size: 4 << 20, table_cache: 8 << 20 }
    }
}

impl DiskStore {
    /// Opens the store in the state directory `dir`, or begins one.
    pub fn open(dir: &Path, options: &StoreOptions) -> Result<Opened<DiskStore>, StoreError> {
        DiskStore::open_on(Box::new(SystemDisk), dir, options)
    }

    /// [`DiskStore::open`] with the journal on any disk.
    pub(super) fn open_on(
        disk: Box<dyn Disk>,
        dir: &Path,
        options: &StoreOptions,
    ) -> Result<Opened<DiskStore>, StoreError> {
        // Whatever the umask: the records of a zone, and who changed them, are the operator's to show.
        DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(StoreError::io("create", dir))?;
        let lock = lock(dir)?;
        let mut notes = Vec::new();
        let path = dir.join("table");
        let fresh = !path.exists();
        // Side by side: neither needs the other until both are read.
        let (journal, table) = thread::scope(|scope| {
            let reading = scope.spawn(|| open_table(&path, options));
            let journal = Journal::open(&dir.join("journal"), options.segment_size, disk, &mut notes);
            let broken = || Err(TableError::Unusable("reading it panicked".into()));
            (journal, reading.join().unwrap_or_else(|_| broken()))
        });
        let journal = journal?;
        let start = Start { path: &path, options, journal: &journal };
        let (table, zones) = start.catch_up(table, fresh, &mut notes).map_err(|trouble| start.error(trouble))?;
        let parts = journal.parts(table.mark().done.seq + 1);
        let follower = Follower::start(table, parts).map_err(StoreError::io("start a thread for", &path))?;
        let store = DiskStore { journal, follower, table: path, _lock: lock };
        Ok(Opened { store, zones: zones.into_values().collect(), notes })
    }

    /// Waits until the table holds every commit. Never needed for durability; it spares the next start work.
    pub fn sync_table(&self) -> Result<(), StoreError> {
        match self.follower.sync(self.journal.last(), None) {
            0 => Ok(()),
            _ => Err(StoreError::TableStopped { path: self.table.clone(), why: "see the log".into() }),
        }
    }

    /// Closes the store: gives the table a moment to catch up. Returns how many commits it lacks then, which the next
    /// start takes from the journal.
    pub fn close(mut self) -> u64 {
        self.follower.close(self.journal.last())
    }
}

#[cfg(test)]
impl DiskStore {
    /// Ends the table's thread where it is, as a kill would.
    fn abandon(mut self) {
        self.follower.abandon();
    }
}

impl Store for DiskStore {
    fn append(&mut self, commits: &[Commit]) -> Result<u64, StoreError> {
        self.follower.wait_for_room();
        self.journal.append(commits)?;
        // Only what is durable: a table that knew more than the journal would be thrown away at the next start.
        if let Some((path, end)) = self.journal.newest() {
            self.follower.durable(path, end);
        }
        Ok(self.journal.last())
    }

    fn last_seq(&self) -> u64 {
        self.journal.last()
    }

    fn history(&self, zone: &Name, since: Option<Serial>, max: usize) -> Result<History, StoreError> {
        self.journal.history(zone, since, max)
    }

    fn table_fault(&mut self) -> Option<StoreError> {
        let path = || self.table.clone();
        match self.follower.fault() {
            Some(why) => Some(StoreError::TableStopped { path: path(), why }),
            None => self.follower.overloaded().then(|| StoreError::TableOverloaded { path: path() }),
        }
    }
}

/// Every zone, by the key of its apex.
type Zones = BTreeMap<Vec<u8>, LoadedZone>;

/// A start that has read the table and the journal.
struct Start<'a> {
    path: &'a Path,
    options: &'a StoreOptions,
    journal: &'a Journal,
}

enum Trouble {
    Store(StoreError),
    Table(TableError),
}

fn open_table(path: &Path, options: &StoreOptions) -> Result<(Table, Zones), TableError> {
    let table = Table::open(path, options.table_cache)?;
    match table.read() {
        Ok(zones) => Ok((table, zones)),
        Err(error) => {
            table.close();
            Err(error)
        }
    }
}

impl Start<'_> {
    /// The zones at the end of the journal, and a table that follows it: the one that was read, where it can be used.
    fn catch_up(
        &self,
        read: Result<(Table, Zones), TableError>,
        fresh: bool,
        notes: &mut Vec<RecoveryNote>,
    ) -> Result<(Table, Zones), Trouble> {
        let last = self.journal.last();
        let tried =
            read.map_err(Trouble::Table).and_then(|(table, mut zones)| match self.replay(table.mark(), &mut zones) {
                Ok(()) => Ok((table, zones)),
                Err(trouble) => {
                    table.close();
                    Err(trouble)
                }
            });
        match tried {
            Ok((table, zones)) => {
                match last - table.mark().done.seq {
                    0 => {}
                    commits if fresh => notes.push(RecoveryNote::TableRebuilt { commits }),
                    commits => notes.push(RecoveryNote::TableBehind { commits }),
                }
                Ok((table, zones))
            }
            Err(Trouble::Table(TableError::Unusable(why))) => {
                let to = set_aside(self.path)?;
                notes.push(RecoveryNote::TableSetAside { to, why });
                let table = Table::open(self.path, self.options.table_cache)?;
                let mut zones = Zones::new();
                self.replay(table.mark(), &mut zones)?;
                if last > 0 {
                    notes.push(RecoveryNote::TableRebuilt { commits: last });
                }
                Ok((table, zones))
            }
            Err(trouble) => Err(trouble),
        }
    }

    /// Brings zones that a table with this mark holds to the end of the journal.
    fn replay(&self, mark: Mark, zones: &mut Zones) -> Result<(), Trouble> {
        let last = self.journal.last();
        if mark.begun.seq > last {
            let why = format!("it holds commit {}, but the journal ends with {last}", mark.begun.seq);
            return Err(TableError::Unusable(why).into());
        }
        self.journal.replay(mark.done.seq, |frame| {
            let step = Step { seq: frame.seq, chain: frame.chain };
            if [mark.done, mark.begun].iter().any(|known| known.seq == step.seq && *known != step) {
                return Err(TableError::Unusable("it follows another journal".into()).into());
            }
            if frame.seq > mark.done.seq {
                apply(zones, frame.seq, frame.payload)?;
            }
            Ok(())
        })
    }

    fn error(&self, trouble: Trouble) -> StoreError {
        match trouble {
            Trouble::Store(error) => error,
            Trouble::Table(TableError::Disk(error)) => StoreError::io("write", self.path)(error),
            Trouble::Table(TableError::Commit(seq, why)) => self.journal.unreadable(seq, why),
            Trouble::Table(error) => StoreError::Table { path: self.path.to_owned(), why: error.to_string() },
        }
    }
}

/// Applies a commit to the zones, one of which may hold it in part.
fn apply(zones: &mut Zones, seq: u64, payload: &[u8]) -> Result<(), TableError> {
    let unreadable = |why| TableError::Commit(seq, why);
    let outside = |_| unreadable(Unreadable::Broken);
    let encoded = encode::read(payload).map_err(unreadable)?;
    let apex = encoded.commit.zone;
    let key = Key::new(&apex).as_bytes().to_vec();
    match encoded.commit.kind {
        CommitKind::Delete => {
            zones.remove(&key);
        }
        CommitKind::Create => {
            // What was there goes first, so that a large zone is in memory once.
            zones.remove(&key);
            let mut builder = zone::Builder::new(&apex);
            for record in encoded.added {
                let record = record.map_err(unreadable)?;
                builder.record(&record.owner, record.rtype, record.ttl, &record.rdata).map_err(outside)?;
            }
            zones.insert(key, LoadedZone { apex, zone: builder.finish() });
        }
        CommitKind::Change => {
            let removed = encoded.removed.collect::<Result<_, _>>().map_err(unreadable)?;
            let added = encoded.added.collect::<Result<_, _>>().map_err(unreadable)?;
            let begin = || LoadedZone { apex, zone: zone::Builder::new(&apex).finish() };
            let loaded = zones.entry(key).or_insert_with(begin);
            loaded.zone.replay(&Changes { removed, added }).map_err(outside)?;
        }
    }
    Ok(())
}

impl From<StoreError> for Trouble {
    fn from(error: StoreError) -> Trouble {
        Trouble::Store(error)
    }
}

impl From<TableError> for Trouble {
    fn from(error: TableError) -> Trouble {
        Trouble::Table(error)
    }
}

/// Moves a table out of the way, to the first `table.broken-N` that is free.
fn set_aside(path: &Path) -> Result<PathBuf, StoreError> {
    let mut number = 1u32;
    loop {
        let to = path.with_extension(format!("broken-{number}"));
        if !to.exists() {
            return fs::rename(path, &to).map(|()| to).map_err(StoreError::io("set aside", path));
        }
        number += 1;
    }
}

/// Takes the state directory for this process.
fn lock(dir: &Path) -> Result<File, StoreError> {
    let path = dir.join("lock");
    let open = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
    let mut file = open.map_err(StoreError::io("open", &path))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut process = String::new();
            // The number is for the reader only; without it the message still says what to do.
            let _ = file.read_to_string(&mut process);
            return Err(StoreError::InUse { dir: dir.to_owned(), process: process.trim().to_owned() });
        }
        Err(TryLockError::Error(error)) => return Err(StoreError::io("lock", &path)(error)),
    }
    file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id())).map_err(StoreError::io("write", &path))?;
    Ok(file)
}

#[cfg(test)]
#[path = "recovery_tests.rs"]
mod tests;
