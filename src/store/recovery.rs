//! The store on disk, and what a start does: take the lock, read the journal, bring the table up to it, load the zones.
//!
//! The state directory holds `lock`, `journal/` and `table/`. Nothing is ever deleted from the journal, so that a table
//! that is missing, damaged, or of another journal can always be made anew.

use super::disk::{Disk, SystemDisk};
use super::follower::Follower;
use super::journal::Journal;
use super::table::{Step, Table, TableError};
use super::{Commit, History, RecoveryNote, Store, StoreError};
use crate::wire::Name;
use crate::zone::{Record, Serial};
use std::collections::HashSet;
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{Read, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

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
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoadedZone {
    /// The apex, in the case it was given.
    pub apex: Name,
    /// The records, owners in key order, types in numeric order.
    pub records: Vec<Record>,
}

impl Default for StoreOptions {
    fn default() -> StoreOptions {
        StoreOptions { segment_size: 4 << 20, table_cache: 64 << 20 }
    }
}

impl DiskStore {
    /// Opens the store in the state directory `dir`, or begins one, and hands every zone to `load`, each once: a zone's
    /// records are given away before the next zone's are read, so that no two zones need be in memory twice.
    ///
    /// The notes say what was found amiss and mended; they are for the log.
    pub fn open(
        dir: &Path,
        options: &StoreOptions,
        load: &mut dyn FnMut(LoadedZone),
    ) -> Result<(DiskStore, Vec<RecoveryNote>), StoreError> {
        DiskStore::open_on(Box::new(SystemDisk), dir, options, load)
    }

    /// [`DiskStore::open`] with the journal on any disk.
    pub(super) fn open_on(
        disk: Box<dyn Disk>,
        dir: &Path,
        options: &StoreOptions,
        load: &mut dyn FnMut(LoadedZone),
    ) -> Result<(DiskStore, Vec<RecoveryNote>), StoreError> {
        // Whatever the umask: the records of a zone, and who changed them, are the operator's to show.
        DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(StoreError::io("create", dir))?;
        let lock = lock(dir)?;
        let mut notes = Vec::new();
        let journal = Journal::open(&dir.join("journal"), options.segment_size, disk, &mut notes)?;
        let path = dir.join("table");
        let table = Start { path: &path, options, journal: &journal, given: HashSet::new() }.table(load, &mut notes)?;
        let follower = Follower::start(table).map_err(StoreError::io("start a thread for", &path))?;
        Ok((DiskStore { journal, follower, table: path, _lock: lock }, notes))
    }

    /// Waits until the table holds every commit. Never needed for durability; it spares the next start work.
    pub fn sync_table(&self) -> Result<(), StoreError> {
        if self.follower.sync() {
            return Ok(());
        }
        Err(StoreError::TableStopped { path: self.table.clone(), why: "see the log".into() })
    }
}

impl Store for DiskStore {
    fn append(&mut self, commits: &[Commit]) -> Result<u64, StoreError> {
        let group = self.journal.append(commits)?;
        // Only what is durable: a table that knew more than the journal would be thrown away at the next start.
        if !group.frames.is_empty() {
            self.follower.push(group);
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
        let why = self.follower.fault()?;
        Some(StoreError::TableStopped { path: self.table.clone(), why })
    }
}

/// The start of a table.
struct Start<'a> {
    path: &'a Path,
    options: &'a StoreOptions,
    journal: &'a Journal,
    /// The zones that were handed out already. Should reading fail halfway, the rebuilt table holds the same.
    given: HashSet<Name>,
}

enum Trouble {
    Store(StoreError),
    Table(TableError),
}

impl Start<'_> {
    /// A table that holds what the journal does, after its zones went to `load`.
    fn table(mut self, load: &mut dyn FnMut(LoadedZone), notes: &mut Vec<RecoveryNote>) -> Result<Table, StoreError> {
        match self.attempt(load, notes) {
            Err(Trouble::Table(TableError::Unusable(why))) => {
                let to = set_aside(self.path)?;
                notes.push(RecoveryNote::TableSetAside { to, why });
                self.attempt(load, notes).map_err(|trouble| self.error(trouble))
            }
            outcome => outcome.map_err(|trouble| self.error(trouble)),
        }
    }

    fn attempt(&mut self, load: &mut dyn FnMut(LoadedZone), notes: &mut Vec<RecoveryNote>) -> Result<Table, Trouble> {
        let fresh = !self.path.exists();
        let mut table = Table::open(self.path, self.options.table_cache)?;
        match self.catch_up(&mut table, fresh, load, notes) {
            Ok(()) => Ok(table),
            Err(trouble) => {
                table.close();
                Err(trouble)
            }
        }
    }

    /// Checks an open table, brings it up to the journal, and hands out its zones.
    fn catch_up(
        &mut self,
        table: &mut Table,
        fresh: bool,
        load: &mut dyn FnMut(LoadedZone),
        notes: &mut Vec<RecoveryNote>,
    ) -> Result<(), Trouble> {
        table.verify()?;
        let (mark, last) = (table.mark(), self.journal.last());
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
                table.follow(step, frame.payload)?;
            }
            Ok::<_, Trouble>(())
        })?;
        let commits = last - mark.done.seq;
        if commits > 0 {
            table.flush()?;
            notes.push(match fresh {
                true => RecoveryNote::TableRebuilt { commits },
                false => RecoveryNote::TableBehind { commits },
            });
        }
        for apex in table.zones()? {
            if self.given.contains(&apex) {
                continue;
            }
            let records = table.records(&apex)?;
            self.given.insert(apex);
            load(LoadedZone { apex, records });
        }
        Ok(())
    }

    fn error(&self, trouble: Trouble) -> StoreError {
        match trouble {
            Trouble::Store(error) => error,
            Trouble::Table(TableError::Unusable(why)) => StoreError::Table { path: self.path.to_owned(), why },
            Trouble::Table(TableError::Disk(error)) => StoreError::io("write", self.path)(error),
            Trouble::Table(TableError::Commit(seq, why)) => self.journal.unreadable(seq, why),
        }
    }
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
