//! The store on disk, and what a start does: take the lock; read the table, and then the journal; bring the zones, in
//! memory, to the end of the journal. Then they can be served; the table follows in a thread of its own.
//!
//! The state directory holds `lock`, `journal/`, `table/` and `checkpoint/`.
//!
//! One on a read-only file system is served from as it is: the zones come from the checkpoint and the journal, for sled
//! cannot even open a table there, and the journal's newest segment is in doubt until something can be written.

use super::checkpoint;
use super::checkpoints::{CheckpointRule, Checkpoints};
use super::disk::{Disk, SystemDisk};
use super::follower::{Follower, Place};
use super::journal::{Journal, Retention};
use super::mend::{Damage, put_bits_right};
use super::restore;
use super::start::{Base, Start, Zones, open_table};
use super::table::{Table, TableError};
use super::verify::{Files, Findings};
use super::{Commit, Health, History, Instant, RecoveryNote, Since, Store, StoreError, Told};
use crate::wire::Name;
use crate::zone::{Unchecked, ZoneSet};
use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::thread;

/// The store on disk.
pub struct DiskStore {
    journal: Journal,
    follower: Follower,
    dir: PathBuf,
    health: Arc<Health>,
    checkpoints: Checkpoints,
    keep: Retention,
    /// The newest commit's time: what counts as now.
    now: u64,
    /// The first commit of the newest segment when segments were last let go.
    retired_at: u64,
    /// Whether the last append failed.
    refused: bool,
    /// Whether letting go of a segment failed: told once.
    stuck: bool,
    /// Whether the journal is much larger than wanted: told once.
    grown: bool,
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
    /// When a checkpoint is written.
    pub checkpoints: CheckpointRule,
    /// How much of the journal is kept.
    pub keep: Retention,
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
        StoreOptions {
            segment_size: 4 << 20,
            table_cache: 8 << 20,
            checkpoints: CheckpointRule::default(),
            keep: Retention::default(),
        }
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
        let (lock, access) = lock(dir)?;
        let restored = restore::is_unfinished(dir);
        if restored {
            restore::finish(dir)?;
        }
        let mut notes = Vec::new();
        let held = || Ok((lock.try_clone().map_err(StoreError::io("lock", dir))?, access));
        let mut loaded = DiskStore::load(disk.again(), dir, options, held()?, &mut notes);
        if access == Access::Write && matches!(loaded, Err(StoreError::Damaged { .. })) {
            let right = put_bits_right(dir, disk.again().as_mut())?;
            if !right.is_empty() {
                notes = right;
                loaded = DiskStore::load(disk.again(), dir, options, held()?, &mut notes);
            }
        }
        let (store, zones) = match loaded {
            Err(found @ StoreError::Damaged { .. }) if access == Access::Write => {
                let mended = Damage { dir, options, found, without: None }.mend(disk.again().as_mut())?;
                notes.retain(|note| matches!(note, RecoveryNote::BitPutRight { .. }));
                notes.push(mended);
                DiskStore::load(disk, dir, options, held()?, &mut notes)?
            }
            loaded => loaded?,
        };
        if restored {
            notes.insert(0, RecoveryNote::RestoreFinished);
        }
        Ok(Opened { store, zones: zones.into_values().collect(), notes })
    }

    /// Reads what there is. The journal's damage, wherever it is needed, is an error.
    fn load(
        disk: Box<dyn Disk>,
        dir: &Path,
        options: &StoreOptions,
        (lock, access): (File, Access),
        notes: &mut Vec<RecoveryNote>,
    ) -> Result<(DiskStore, Zones), StoreError> {
        let path = dir.join("table");
        let fresh = !path.exists();
        let checkpoint_disk = disk.again();
        // The table first: the journal is to tell a write that was never finished from one that was answered.
        let table = match access {
            Access::Write => open_table(&path, options),
            Access::Read => Err(TableError::Disk(ErrorKind::ReadOnlyFilesystem.into())),
        };
        // What it holds in part was answered like what it holds whole: it never hears of anything else.
        let followed = table.as_ref().map_or(0, |(table, _)| table.mark().begun.seq);
        let checkpoints = dir.join("checkpoint");
        let newest = checkpoint::list(&checkpoints)?.first().map_or(0, |(seq, _)| *seq);
        let answered = followed.max(newest);
        let journal = Journal::open(&dir.join("journal"), options.segment_size, disk, answered, notes)?;
        let last = journal.last();
        if newest > last {
            return Err(StoreError::JournalShort { path: dir.join("journal"), last, checkpoint: newest });
        }
        let (health, refused) = (Arc::new(Health::default()), journal.is_doubtful());
        if refused {
            let note = RecoveryNote::ReadOnly { dir: dir.to_owned() };
            health.set_refusing(Some(note.to_string()));
            notes.push(note);
        }
        health.set_last(last);
        health.set_octets(journal.octets_after(0));
        let gathered = (journal.octets_after(newest), last - newest);
        let start = Start { path: &path, checkpoints: &checkpoints, options, journal: &journal };
        let Base { table, zones, from } = start.catch_up(table, fresh, notes)?;
        let (begun, begins) = match table {
            None => (Err("it was not opened at the start; see the log".to_owned()), 0),
            Some(table) => {
                let begins = from.as_ref().map_or(table.mark().done, |checkpoint| checkpoint.step).seq;
                (Ok((table, from)), begins)
            }
        };
        let place = Place { path: path.clone(), cache: options.table_cache, checkpoints: checkpoints.clone() };
        let follower = Follower::start(begun, place, journal.parts(begins + 1), Arc::clone(&health))
            .map_err(StoreError::io("start a thread for", &path))?;
        let checkpoints = Checkpoints::open(checkpoints, checkpoint_disk, options.checkpoints, gathered)?;
        let store = DiskStore {
            journal,
            follower,
            dir: dir.to_owned(),
            health,
            checkpoints,
            keep: options.keep,
            now: 0,
            refused,
            retired_at: 0,
            stuck: false,
            grown: false,
            _lock: lock,
        };
        Ok((store, zones))
    }

    /// Waits until the table holds every commit. Never needed for durability; it spares the next start work.
    pub fn sync_table(&self) -> Result<(), StoreError> {
        match self.follower.sync(self.journal.last(), None) {
            0 => Ok(()),
            _ => Err(StoreError::TableStopped { path: self.dir.join("table"), why: "see the log".into() }),
        }
    }

    /// Closes the store: gives the table a moment to catch up. Returns how many commits it lacks then, which the next
    /// start takes from the journal.
    pub fn close(mut self) -> u64 {
        self.follower.close(self.journal.last())
    }

    /// Lets go of journal that is too old or too much, once for each new segment.
    fn retire(&mut self) {
        let newest = self.journal.newest_first();
        if newest == self.retired_at {
            return;
        }
        self.retired_at = newest;
        let outcome = self.checkpoints.free().and_then(|free| {
            let free = free.min(self.follower.flushed(free));
            self.journal.retire(&self.keep, free, self.now)
        });
        match outcome {
            Ok(0) => self.stuck = false,
            Ok(segments) => {
                self.stuck = false;
                self.follower.forget_before(self.journal.first());
                tracing::debug!(segments, first = self.journal.first(), "old journal let go");
            }
            Err(error) if !self.stuck => {
                self.stuck = true;
                tracing::warn!("old journal not let go: {error}");
            }
            Err(_) => {}
        }
        let octets = self.journal.octets_after(0);
        self.health.set_octets(octets);
        let grown = octets / 2 > self.keep.size.max(self.checkpoints.due().saturating_mul(2));
        if grown && !std::mem::replace(&mut self.grown, grown) {
            tracing::warn!(
                "journal has {octets} octets and grows: its older part has to wait for two checkpoints and for the table; \
                 check the disk, see dyndns status"
            );
        }
        self.grown = grown;
    }
}

#[cfg(test)]
impl DiskStore {
    /// Waits until nothing goes on but what is asked for.
    pub(super) fn settle(&mut self) {
        self.checkpoints.wait();
        self.sync_table().unwrap();
    }

    /// The first commit that the journal still has.
    pub(super) fn first_kept(&self) -> u64 {
        self.journal.first()
    }

    /// Ends the table's thread where it is, as a kill would.
    fn abandon(mut self) {
        self.follower.abandon();
    }
}

impl Store for DiskStore {
    fn append(&mut self, commits: &[Commit]) -> Result<u64, StoreError> {
        self.follower.wait_for_room();
        let group = self.journal.append(commits).inspect_err(|error| {
            self.health.set_refusing(Some(error.to_string()));
            self.refused = true;
        })?;
        if std::mem::take(&mut self.refused) {
            self.health.set_refusing(None);
        }
        self.health.set_last(self.journal.last());
        self.checkpoints.gathered(group.octets.len() as u64, group.frames.len() as u64);
        self.now = commits.last().map_or(self.now, |commit| commit.time);
        // Only what is durable: a table that knew more than the journal would be thrown away at the next start.
        if let Some((path, end)) = self.journal.newest() {
            self.follower.durable(path, end, group.octets.len());
        }
        Ok(self.journal.last())
    }

    fn last_seq(&self) -> u64 {
        self.journal.last()
    }

    fn history(&self, zone: &Name, since: Option<Since>, max: usize) -> Result<History, StoreError> {
        self.journal.history(zone, since, max)
    }

    fn published(&mut self, zones: &ZoneSet) {
        self.checkpoints.offer(self.journal.end(), zones);
        self.retire();
    }

    fn checkpoint(&mut self, zones: &ZoneSet, told: Told<Instant>) {
        let step = self.journal.end();
        if step.seq == 0 {
            return told(Err(StoreError::Nothing));
        }
        let instant = Instant { seq: step.seq, chain: step.chain };
        let told: Told<()> = Box::new(move |outcome| told(outcome.map(|()| instant)));
        self.checkpoints.begin(step, zones, Some(told));
    }

    fn verify(&self, told: Box<dyn FnOnce(Findings) + Send>) {
        let end = self.journal.last() + 1;
        let (files, inspector) = (Files::new(&self.dir, Some(end)), self.follower.inspector());
        let run = move || {
            // Answers come first; where the system forbids even this, it is only slower for them.
            let _ = rustix::process::nice(19);
            let mut findings = files.check();
            let (sender, compared) = sync_channel(1);
            let look = move |table: &Table| {
                let mut findings = Findings::default();
                files.compare(table, &mut findings);
                // Whoever asked may have gone.
                let _ = sender.send(findings);
            };
            inspector.inspect(end - 1, Box::new(look));
            match compared.recv() {
                Ok(table) => findings.append(table),
                Err(_) => findings.table_fault("it stopped following the journal"),
            }
            told(findings);
        };
        if let Err(error) = thread::Builder::new().name("verify".into()).spawn(run) {
            // `told` is dropped, which tells as well.
            tracing::warn!("state not verified: cannot start a thread: {error}");
        }
    }

    fn health(&self) -> Arc<Health> {
        Arc::clone(&self.health)
    }

    fn table_fault(&mut self) -> Option<StoreError> {
        let path = || self.dir.join("table");
        match self.follower.fault() {
            Some(why) => Some(StoreError::TableStopped { path: path(), why }),
            None => self.follower.overloaded().then(|| StoreError::TableOverloaded { path: path() }),
        }
    }
}

/// What a state directory can be used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    Write,
    /// Its file system is read-only.
    Read,
}

/// Takes the state directory for this process.
///
/// Where its file system is read-only, a lock that lies there is taken all the same: it may become writable. Without
/// one there never was a state.
pub(super) fn lock(dir: &Path) -> Result<(File, Access), StoreError> {
    let path = dir.join("lock");
    let open = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
    let (mut file, access) = match open {
        Err(error) if error.kind() == ErrorKind::ReadOnlyFilesystem && path.exists() => {
            (File::open(&path).map_err(StoreError::io("open", &path))?, Access::Read)
        }
        open => (open.map_err(StoreError::io("open", &path))?, Access::Write),
    };
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
    // A courtesy to whoever comes second. On a full disk there is no room for it, and the start goes on all the same.
    match file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id())) {
        // A kernel that found an error in a file system still opens files there.
        Err(error) if error.kind() == ErrorKind::ReadOnlyFilesystem => Ok((file, Access::Read)),
        _ => Ok((file, access)),
    }
}

#[cfg(test)]
#[path = "recovery_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "rebuild_tests.rs"]
pub(super) mod rebuild_tests;
