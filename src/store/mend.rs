//! What a start, or `dyndns zone repair`, does about a journal that is damaged: what was answered counts, and nothing is
//! deleted. A start finds the damage to what it reads, which is what came after the table's mark; `zone repair` reads all of
//! the journal.
//!
//! The base is whichever holds the most, the table or a checkpoint. What the damaged part did is in it, unless the damage
//! comes after the base. From the base on every frame is looked for, also behind octets that are none: each is known by its
//! checksum, which no client can foresee, and by the chain to the base. Where no commit after the base is missing, nothing
//! answered is lost but history, and this is done, each step durable before the next:
//!
//! 1. a checkpoint of all zones as the journal's last commit left them;
//! 2. where a segment is damaged before frames that are whole, these are written once more, as a segment of their own;
//! 3. all segments before that, and the checkpoints that the journal does not lead from any more, are moved to
//!    `journal.damaged-N` in the state directory.
//!
//! What is left is a journal that begins later, as after [`super::Retention`]: whoever reads one, from the chain's check to
//! IXFR, relies on it being one unbroken piece, so what stands before the damage is kept for people alone. A start that ends amid this finds the same
//! damage and does it again; or it is whole, but for an old segment that no start reads: see `zone repair` above.
//!
//! Before all that, each bit is put right that is known: see [`bits`].
//!
//! Where a commit after the base is missing, something answered would be lost, and the start is refused. `dyndns zone
//! repair --without` does the same as above with all commits but those, if the operator names them: the later ones upon what the
//! zone is without them, its SOA that of the newest. A zone of which no later commit tells may have been further on: its
//! serial is moved past any that the lost commits may have given it, by one each (RFC 2136 section 3.6), or secondaries would
//! take what comes next for old (RFC 1982). A lost commit that set the serial by itself may have gone further: then the
//! operator imports a zone file with a later one.

mod bits;
mod walk;

pub(super) use bits::put_bits_right;

use super::checkpoint::{self, Checkpoint};
use super::disk::{Disk, SystemDisk};
use super::journal::{self, Extent};
use super::mark::Step;
use super::recovery::{DiskStore, StoreOptions, lock};
use super::restore;
use super::segment::{Frames, HEADER, Header, seal};
use super::start::{self, Zones, open_table};
use super::table::TableError;
use super::{RecoveryNote, StoreError};
use crate::wire::{Name, Rtype};
use crate::zone::{Draft, RrsetBuf, Serial, Zone, ZoneSet, soa_of};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::fs::{self, DirBuilder};
use std::io::ErrorKind;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use walk::{Run, Stop, Walk};

/// Commits that follow each other, the first and the last of them: `7` or `7-9`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Commits {
    /// The sequence number of the first.
    pub first: u64,
    /// That of the last.
    pub last: u64,
}

/// A journal that is damaged.
pub(super) struct Damage<'a> {
    /// The state directory.
    pub(super) dir: &'a Path,
    pub(super) options: &'a StoreOptions,
    /// What was found first.
    pub(super) found: StoreError,
    /// What the operator does without.
    pub(super) without: Option<Commits>,
}

/// Mends the state in `dir`, which no server uses: all of the journal, old segments among it that no start reads, and then
/// what a start mends. Returns what was found and done.
///
/// Errors: commits would be lost, as after a start; something cannot be read or written.
pub fn repair(dir: &Path, options: &StoreOptions) -> Result<Vec<RecoveryNote>, StoreError> {
    let mut notes = alone(dir, || {
        let mut notes = put_bits_right(dir, &mut SystemDisk)?;
        if let Some(found) = damage(dir)? {
            notes.push(Damage { dir, options, found, without: None }.mend(&mut SystemDisk)?);
        }
        Ok(notes)
    })?;
    let opened = DiskStore::open(dir, options)?;
    notes.extend(opened.notes);
    opened.store.close();
    restore::give_to_owner_of(dir, dir)?;
    Ok(notes)
}

/// Mends the journal of a state that no server uses, without some commits that cannot be read.
///
/// Errors: other commits would be lost than these; nothing is damaged; nothing can be written.
pub fn repair_without(dir: &Path, options: &StoreOptions, without: Commits) -> Result<RecoveryNote, StoreError> {
    alone(dir, || {
        put_bits_right(dir, &mut SystemDisk)?;
        let found = damage(dir)?.unwrap_or(StoreError::Undamaged);
        Damage { dir, options, found, without: Some(without) }.mend(&mut SystemDisk)
    })
}

/// Does this to a state that is this process's meanwhile. Whoever mends may be root, and the server another user.
fn alone<T>(dir: &Path, mend: impl FnOnce() -> Result<T, StoreError>) -> Result<T, StoreError> {
    let (_lock, _) = lock(dir)?;
    restore::finish(dir)?;
    let mended = mend();
    // Also where that failed: what was done by then stays.
    let given = restore::give_to_owner_of(dir, dir);
    mended.and_then(|mended| given.map(|()| mended))
}

/// The first damage anywhere in the journal of the state in `dir`.
fn damage(dir: &Path) -> Result<Option<StoreError>, StoreError> {
    let faults = journal::check(&dir.join("journal"), None, &mut BTreeMap::new())?.faults;
    match faults.into_iter().next() {
        None => Ok(None),
        Some(found @ StoreError::Damaged { .. }) => Ok(Some(found)),
        // Of a later version, or the disk fails: nothing is to be set aside for that.
        Some(other) => Err(other),
    }
}

/// What is given up.
struct Loss {
    lost: Commits,
    /// How many commits that may be.
    at_most: u64,
    /// The zones with later ones.
    told: HashSet<Name>,
}

impl Loss {
    /// The zone with a serial past any that it may have had, where no later commit tells its serial.
    fn past(&self, zone: &Zone) -> Option<Zone> {
        if self.told.contains(zone.apex()) {
            return None;
        }
        let (soa, serial) = (zone.soa()?, zone.serial().0);
        // Never so far that a secondary somewhat behind would take it for older.
        let by = u32::try_from(self.at_most).unwrap_or(u32::MAX).min(1 << 30) + 1;
        let next = serial.wrapping_add(by);
        // Zero is passed over, so that it takes one more to wrap.
        let next = if next < serial { next + 1 } else { next };
        let rdata = soa_of(soa)?.with_serial(next).to_rdata();
        let mut draft = Draft::new(zone);
        let node = draft.node(zone.apex_key().as_bytes()).with(RrsetBuf::one(Rtype::SOA, soa.ttl, &rdata).as_rrset());
        draft.set(zone.apex_key(), node);
        zone.with(&draft.finish()).ok()
    }
}

/// What is certain, up to a commit.
struct Base {
    step: Step,
    /// A commit that it holds in part, or that of `step`.
    begun: u64,
    zones: Zones,
}

/// Where a base comes from.
enum Source {
    Table(Base),
    Checkpoint(PathBuf),
    /// The journal's first segment: before it there were no zones.
    Beginning(PathBuf),
}

impl Damage<'_> {
    /// Mends it; returns what is to be told.
    pub(super) fn mend(self, disk: &mut dyn Disk) -> Result<RecoveryNote, StoreError> {
        let extents = self.extents()?;
        for source in self.sources(&extents)? {
            let Some(Base { step, begun, mut zones }) = source.load()? else { continue };
            let mut walk = Walk::new(step, &mut zones);
            match walk.segments(&extents) {
                Err(Stop::Foreign) => continue,
                Err(Stop::Error(error)) => return Err(error),
                Ok(()) => {}
            }
            if begun >= walk.expected {
                walk.lose_end(begun);
            }
            let Walk { expected, chain, lost, at_most, told, run, serials, .. } = walk;
            if lost.is_some() && self.without != lost {
                return Err(self.lost(lost));
            }
            if lost.is_none() && self.without.is_some() {
                return Err(StoreError::Undamaged);
            }
            let lost = lost.map(|lost| Loss { lost, at_most, told });
            return self.put_right(disk, Step { seq: expected - 1, chain }, zones, lost, &run, &serials);
        }
        Err(self.lost(None))
    }

    /// What would be lost: some commits, or all that there was.
    fn lost(self, lost: Option<Commits>) -> StoreError {
        StoreError::Lost { found: Box::new(self.found), lost, dir: self.dir.to_owned() }
    }

    /// The segments that count, the oldest first.
    fn extents(&self) -> Result<Vec<Extent>, StoreError> {
        let mut extents = journal::extents(&self.dir.join("journal"), None)?;
        extents.retain(|extent| extent.end != Some(extent.first));
        Ok(extents)
    }

    /// What there is to begin from, the highest sequence number first.
    fn sources(&self, extents: &[Extent]) -> Result<Vec<Source>, StoreError> {
        let checkpoints = checkpoint::list(&self.dir.join("checkpoint"))?;
        let mut sources: Vec<_> = checkpoints.into_iter().map(|(seq, path)| (seq, Source::Checkpoint(path))).collect();
        sources.extend(self.table()?.map(|base| (base.step.seq, Source::Table(base))));
        let first = extents.first().filter(|extent| extent.first == 1);
        sources.extend(first.map(|first| (0, Source::Beginning(first.path.clone()))));
        sources.sort_by_key(|(seq, _)| std::cmp::Reverse(*seq));
        Ok(sources.into_iter().map(|(_, source)| source).collect())
    }

    /// The table, where there is a good one.
    fn table(&self) -> Result<Option<Base>, StoreError> {
        let path = self.dir.join("table");
        if !path.exists() {
            return Ok(None);
        }
        match open_table(&path, self.options) {
            Ok((table, zones)) => {
                let mark = table.mark();
                table.close();
                let base = Base { step: mark.done, begun: mark.begun.seq, zones };
                Ok(Some(base).filter(|base| base.step.seq > 0))
            }
            Err(TableError::Unusable(_) | TableError::Commit(..) | TableError::Stopped) => Ok(None),
            Err(TableError::Disk(error)) => Err(StoreError::io("open", path)(error)),
        }
    }

    /// Makes what was found a state that a start can use.
    fn put_right(
        self,
        disk: &mut dyn Disk,
        last: Step,
        zones: Zones,
        loss: Option<Loss>,
        run: &Run,
        serials: &HashMap<Name, Serial>,
    ) -> Result<RecoveryNote, StoreError> {
        let (mut set, mut gone, mut moved) = (ZoneSet::default(), Vec::new(), Vec::new());
        let lost = loss.as_ref().map(|loss| loss.lost);
        for loaded in zones.into_values() {
            match loaded.zone.zone() {
                Ok(zone) => {
                    let next = loss.as_ref().and_then(|loss| loss.past(&zone));
                    moved.extend(next.as_ref().map(|next| (*zone.apex(), zone.serial(), next.serial())));
                    set.insert(Arc::new(next.unwrap_or(zone)));
                }
                // Made by a commit that is lost, or defective before: a start says the same of it.
                Err(_) if lost.is_some() => gone.push(loaded.apex),
                Err(error) => {
                    let why = format!("zone {}: {error}", loaded.apex);
                    return Err(StoreError::Damaged { path: self.dir.join("journal"), offset: 0, why });
                }
            }
        }
        let checkpoints = self.dir.join("checkpoint");
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&checkpoints)
            .map_err(StoreError::io("create", &checkpoints))?;
        disk.sync_dir(self.dir).map_err(StoreError::io("sync", self.dir))?;
        checkpoint::write(disk, &checkpoints, last, &set, &AtomicBool::new(false))?;
        let aside = self.aside()?;
        let table = self.dir.join("table");
        if !moved.is_empty() && table.exists() {
            // It may end with the same commit, and has the serials from before.
            move_to(disk, &table, &aside)?;
        }
        self.copy_run(disk, run, &aside)?;
        self.set_aside(disk, run, &aside)?;
        let begin = |apex: &Name, now: Serial| (*apex, serials.get(apex).copied().unwrap_or(now));
        let begins = set.iter().map(|zone| begin(zone.apex(), zone.serial())).collect();
        let (found, kept) = (self.found.damage(), run.first);
        Ok(RecoveryNote::JournalMended { found, aside, kept, lost, gone, moved, begins })
    }

    /// Writes the frames that stay once more, where they are not the beginning of a segment.
    fn copy_run(&self, disk: &mut dyn Disk, run: &Run, aside: &Path) -> Result<(), StoreError> {
        let header = Header { first: run.first, chain: run.chain };
        let mut octets = header.octets();
        if let Some((path, at)) = &run.at {
            if *at == HEADER {
                return Ok(());
            }
            let old = fs::read(path).map_err(StoreError::io("read", path))?;
            let old_header = Header::read(&old).map_err(|error| journal::of_header(error, path))?;
            let mut frames = Frames::resume(old.get(*at..).unwrap_or_default(), old_header, run.first, run.chain);
            while frames.next().is_some() {}
            let length = frames.at;
            octets.extend_from_slice(old.get(*at..*at + length).unwrap_or_default());
            seal(octets.get_mut(HEADER..).unwrap_or_default(), &header);
        }
        let size = octets.len().max(self.options.segment_size);
        let path = self.dir.join("journal").join(journal::name_of(run.first, 0));
        if path.exists() {
            // Its header is damaged, and nothing of it stays.
            move_to(disk, &path, aside)?;
        }
        journal::make(disk, &path, size, &octets).map(drop)
    }

    /// Makes a directory for what is set aside.
    fn aside(&self) -> Result<PathBuf, StoreError> {
        let mut number = 1u32;
        loop {
            let aside = self.dir.join(format!("{ASIDE}{number}"));
            match DirBuilder::new().mode(0o700).create(&aside) {
                Err(error) if error.kind() == ErrorKind::AlreadyExists => number += 1,
                made => return made.map(|()| aside.clone()).map_err(StoreError::io("create", aside)),
            }
        }
    }

    /// Moves what stands before the frames that stay out of the way, the oldest first.
    fn set_aside(&self, disk: &mut dyn Disk, run: &Run, aside: &Path) -> Result<(), StoreError> {
        let (journal, checkpoints) = (self.dir.join("journal"), self.dir.join("checkpoint"));
        let segments = journal::extents(&journal, Some(run.first))?.into_iter().map(|extent| extent.path);
        let old = checkpoint::list(&checkpoints)?.into_iter().filter(|(seq, _)| seq + 1 < run.first);
        for path in segments.chain(old.map(|(_, path)| path)) {
            move_to(disk, &path, aside)?;
        }
        for dir in [aside, self.dir, &journal, &checkpoints] {
            disk.sync_dir(dir).map_err(StoreError::io("sync", dir))?;
        }
        Ok(())
    }
}

fn move_to(disk: &mut dyn Disk, path: &Path, dir: &Path) -> Result<(), StoreError> {
    let to = dir.join(path.file_name().unwrap_or_default());
    disk.rename(path, &to).map_err(StoreError::io("set aside", path))
}

/// What was damaged is kept in directories of this name and a number.
pub(super) const ASIDE: &str = "journal.damaged-";

impl Source {
    /// `None` where it is no good.
    fn load(self) -> Result<Option<Base>, StoreError> {
        match self {
            Source::Table(base) => Ok(Some(base)),
            Source::Checkpoint(path) => {
                let read = Checkpoint::open(&path).and_then(|checkpoint| {
                    let step = checkpoint.step;
                    Ok(Base { step, begun: step.seq, zones: start::read_checkpoint(checkpoint)? })
                });
                match read {
                    Err(StoreError::Checkpoint { .. }) => Ok(None),
                    read => read.map(Some),
                }
            }
            Source::Beginning(path) => {
                let octets = fs::read(&path).map_err(StoreError::io("read", &path))?;
                let chain = Header::read(&octets).ok().map(|header| header.chain);
                Ok(chain.map(|chain| Base { step: Step { seq: 0, chain }, begun: 0, zones: Zones::new() }))
            }
        }
    }
}

impl Commits {
    /// `commit 7` or `commits 7-9`.
    pub(super) fn words(&self) -> String {
        let word = if self.first == self.last { "commit" } else { "commits" };
        format!("{word} {self}")
    }
}

impl fmt::Display for Commits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Commits { first, last } if first == last => write!(f, "{first}"),
            Commits { first, last } => write!(f, "{first}-{last}"),
        }
    }
}

impl FromStr for Commits {
    type Err = String;

    fn from_str(text: &str) -> Result<Commits, String> {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        let number = |text: &str| text.parse().map_err(|_| format!("{text} is no number of a commit"));
        Ok(Commits { first: number(first)?, last: number(last)? })
    }
}

#[cfg(test)]
#[path = "mend_tests.rs"]
mod tests;
